/* claim: polls. A poll is checked for identity (DESIGN section 4), then what its agent still holds is recovered, then it waits in a line for the
 * turn's end, where ready work meets waiting polls inside the same transaction: a command posted in this turn is handed out in this turn.
 *   C1  one poll an agentId: a newer one ends the older with 204;
 *   C2  nothing is claimed for a connection that is already gone;
 *   C3  a refused poll does not count as hearing the name. */
#include "claim.h"
#include <stdlib.h>
#include <string.h>

#define WAIT_MS_MAX 20000

/* A poll in line. Its strings are its own. */
struct waiter {
	struct waiter *prev, *next;
	struct claim *home;
	struct conn *conn;
	struct heard *heard;
	struct who who;
	int64_t lease_ms;
	bool patient;                      /* false: 204 at this turn's end */
	struct loop_timer timer;
	char agent_id[AGENT_ID_MAX + 1], journal_id[65], boot_id[32];
};

/* A RUNNING row that an older boot of a journal held: any slot of a newer boot may have it again. */
struct stray { int64_t row; char journal_id[65]; };

struct claim {
	struct loop *loop;
	const struct env *env;
	struct store *store;
	struct dispatch *dispatch;
	int64_t lease_ms, start_us;        /* start_us: on the lease clock */
	struct waiter *first, *last;
	int impatient;
	struct stray *strays;
	size_t strays_count, strays_room;
	bool stopped;
	char *paused;                      /* the restore's name: nothing is handed out */
};

static int64_t now_ms(const struct claim *m) { return m->env->wall_ms(m->env->world); }

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Line. */

static void leave(struct waiter *w)
{
	struct claim *m = w->home;

	loop_timer_off(m->loop, &w->timer);
	if (w->heard->parked == w)
		w->heard->parked = NULL;
	m->impatient -= !w->patient;
	*(w->prev ? &w->prev->next : &m->first) = w->next;
	*(w->next ? &w->next->prev : &m->last) = w->prev;
	free(w);
}

static void end_empty(struct waiter *w)
{
	struct buf fields = {0};

	if (w->home->paused)
		buf_fmt(&fields, "Onlyonce-Paused: %s\r\n", w->home->paused);
	answer_empty(w->conn, 204, fields.data);
	buf_free(&fields);
	leave(w);
}

static void wait_over(void *arg) { end_empty(arg); }

static void copy_who(struct waiter *w, const struct who *who)
{
	strcpy(w->agent_id, who->agent_id);
	strcpy(w->journal_id, who->journal_id ? who->journal_id : "");
	strcpy(w->boot_id, who->boot_id ? who->boot_id : "");
	w->who.agent_id = w->agent_id;
	w->who.journal_id = who->journal_id ? w->journal_id : NULL;
	w->who.boot_id = who->boot_id ? w->boot_id : NULL;
	w->who.boot = who->boot;
}

static void join(struct claim *m, struct conn *conn, struct heard *heard, const struct claim_poll *p)
{
	struct waiter *w = mem_new(sizeof *w);
	int64_t lease = p->lease_ms ? p->lease_ms : m->lease_ms, wait = p->wait_ms;

	wait = wait > WAIT_MS_MAX ? WAIT_MS_MAX : wait;
	wait = wait > lease / 3 ? lease / 3 : wait;
	w->home = m;
	w->conn = conn;
	w->heard = heard;
	w->lease_ms = p->lease_ms;
	w->patient = wait > 0 && !m->stopped;
	copy_who(w, &p->who);
	m->impatient += !w->patient;
	w->prev = m->last;
	*(m->last ? &m->last->next : &m->first) = w;
	m->last = w;
	heard->parked = w;
	conn_set(conn, w);
	if (w->patient) {
		conn_idle_poll(conn, true);
		loop_timer_set(m->loop, &w->timer, loop_now_us(m->loop) + wait * 1000, wait_over, w);
	}
}

/* Who polls. */

static void refuse(struct claim *m, struct conn *conn, const struct who *who, const char *detail, int64_t retry_after_ms)
{
	struct problem p = { 409, CODE_AGENT_CONFLICT, detail, NULL, NULL, retry_after_ms, NULL };

	env_log(m->env, "agent conflict", "%s, journal %s, boot %s: %s", who->agent_id, who->journal_id ? who->journal_id : "none", who->boot_id ? who->boot_id : "none", detail);
	answer_problem(conn, &p);
}

/* Another journal under a live name: how long until the name is free, 0: it is. A server start counts as hearing every name it knows. */
static int64_t name_taken_ms(struct claim *m, const struct who *who, const struct heard *h)
{
	struct agent_row row;
	int64_t heard_us, left_us;

	if (h) {
		if (same(h->journal_id[0] ? h->journal_id : NULL, who->journal_id))
			return 0;
		heard_us = h->at_us;
	} else {
		if (!store_agent(m->store, who->agent_id, &row) || same(row.journal_id, who->journal_id))
			return 0;
		heard_us = m->start_us;
	}
	left_us = heard_us + m->lease_ms * 1000 - dispatch_clock_us(m->dispatch);
	return left_us > 0 ? left_us / 1000 + 1 : 0;
}

static void find_stray(void *arg, int64_t row, int64_t lease_ms, const char *journal_id, const char *boot_id);

/* The journal's newest boot is known and durable before anything is handed out under it. False: refused. */
static bool boot_accepted(struct claim *m, struct conn *conn, const struct who *who)
{
	int64_t boot;
	const char *boot_id;

	if (!who->journal_id)
		return true;
	if (store_journal(m->store, who->journal_id, &boot, &boot_id)) {
		if (boot == who->boot && same(boot_id, who->boot_id))
			return true;
		if (boot >= who->boot) {
			refuse(m, conn, who, "this journal has been seen at a later start: it was put back to an older state, or copied. The agent stays stopped until it is given a new journal", 0);
			return false;
		}
	}
	db_begin(store_db(m->store));
	store_journal_put(m->store, who->journal_id, who->boot, who->boot_id);
	store_running(m->store, find_stray, m);
	return true;
}

static void put_agent(struct claim *m, const struct agent_row *row, struct heard *h)
{
	db_begin(store_db(m->store));
	store_agent_put(m->store, row);
	h->stored = true;
}

/* An agent without a log is written down only when it is handed something. */
static void remember(struct claim *m, const struct who *who, struct heard *h)
{
	struct agent_row row = { who->agent_id, who->journal_id, who->boot_id, now_ms(m) }, old;
	bool known = same(h->journal_id[0] ? h->journal_id : NULL, who->journal_id) && same(h->boot_id[0] ? h->boot_id : NULL, who->boot_id), found;

	strcpy(h->journal_id, who->journal_id ? who->journal_id : "");
	strcpy(h->boot_id, who->boot_id ? who->boot_id : "");
	h->at_us = dispatch_clock_us(m->dispatch);
	h->seen_ms = row.last_seen_at;
	if (known && h->stored)
		return;
	found = store_agent(m->store, who->agent_id, &old);
	h->stored = found && same(old.journal_id, who->journal_id) && same(old.boot_id, who->boot_id);
	if (h->stored || (!found && !who->journal_id))
		return;
	put_agent(m, &row, h);
}

void claim_hear(struct claim *m, const struct who *who)
{
	struct heard *h = dispatch_heard(m->dispatch, who->agent_id, false);

	if (!h || !same(h->journal_id[0] ? h->journal_id : NULL, who->journal_id))
		return;
	h->at_us = dispatch_clock_us(m->dispatch);
	h->seen_ms = now_ms(m);
}

/* What it held before. */

static void stray_add(struct claim *m, int64_t row, const char *journal_id)
{
	if (m->strays_count == m->strays_room) {
		m->strays_room = m->strays_room ? m->strays_room * 2 : 16;
		m->strays = mem_resize(m->strays, m->strays_room * sizeof *m->strays);
	}
	m->strays[m->strays_count].row = row;
	strcpy(m->strays[m->strays_count++].journal_id, journal_id);
}

static void find_stray(void *arg, int64_t row, int64_t lease_ms, const char *journal_id, const char *boot_id)
{
	struct claim *m = arg;
	const char *newest;
	int64_t boot;

	(void)lease_ms;
	if (!journal_id || !boot_id || !store_journal(m->store, journal_id, &boot, &newest) || strcmp(boot_id, newest) == 0)
		return;
	for (size_t i = 0; i < m->strays_count; i++)
		if (m->strays[i].row == row)
			return;
	stray_add(m, row, journal_id);
}

static bool stray_take(struct claim *m, const struct who *who, struct command *out)
{
	for (size_t i = 0; who->journal_id && i < m->strays_count; i++) {
		if (strcmp(m->strays[i].journal_id, who->journal_id) != 0)
			continue;
		int64_t row = m->strays[i].row;
		m->strays[i--] = m->strays[--m->strays_count];
		if (store_get(m->store, row, out) && out->status == STATUS_RUNNING && same(out->journal_id, who->journal_id) && !same(out->boot_id, who->boot_id))
			return true;
	}
	return false;
}

static void give(struct claim *m, struct conn *conn, const struct command *c)
{
	dispatch_note(m->dispatch, c);
	dispatch_renew(m->dispatch, c);
	answer_command(conn, 200, c, c->lease_ms ? c->lease_ms : m->lease_ms, NULL);
}

/* A RUNNING command that the poll bears on. True: it was given again and the poll is answered. */
static bool recover_one(struct claim *m, struct conn *conn, const struct who *who, struct command *c)
{
	bool again;

	db_begin(store_db(m->store));
	again = recover_poll(m->store, c, who, now_ms(m));
	env_log(m->env, again ? "redelivered" : "recovered", "command row %lld, attempt %lld, agent %s: now %s", (long long)c->row, (long long)c->attempt,
		who->agent_id, status_text(c->status));
	if (again)
		give(m, conn, c);
	else
		dispatch_note(m->dispatch, c);
	return again;
}

static bool recover_own(struct claim *m, struct conn *conn, const struct who *who)
{
	int64_t rows[64];
	struct command c;
	int n;

	while ((n = store_lost(m->store, who->agent_id, rows, 64)) > 0) {
		if (!conn_alive(conn))
			return false;
		db_begin(store_db(m->store));
		for (int i = 0; i < n; i++)
			if (store_get(m->store, rows[i], &c))
				recover_poll_lost(m->store, &c, who, now_ms(m));
		if (db_broken(store_db(m->store)))
			break;
	}
	n = store_held(m->store, who->agent_id, rows, 64);
	if ((n > 0 || m->strays_count > 0) && !conn_alive(conn))
		return false;
	for (int i = 0; i < n; i++)
		if (store_get(m->store, rows[i], &c) && c.status == STATUS_RUNNING && recover_one(m, conn, who, &c))
			return true;
	while (stray_take(m, who, &c))
		if (recover_one(m, conn, who, &c))
			return true;
	return false;
}

void claim_ask(struct claim *m, struct conn *conn, const struct claim_poll *p)
{
	struct heard *h = dispatch_heard(m->dispatch, p->who.agent_id, false);
	int64_t taken_ms = name_taken_ms(m, &p->who, h);

	if (taken_ms > 0) {
		refuse(m, conn, &p->who, "another agent of this name, with another journal, was heard within one lease", taken_ms);
		return;
	}
	if (!boot_accepted(m, conn, &p->who))
		return;
	h = dispatch_heard(m->dispatch, p->who.agent_id, true);
	if (h->parked)
		end_empty(h->parked);
	remember(m, &p->who, h);
	if (!m->paused && recover_own(m, conn, &p->who))
		return;
	join(m, conn, h, p);
}

/* The turn's end. */

static bool next_pending(struct claim *m, struct command *c)
{
	int64_t row;

	while ((row = dispatch_take(m->dispatch)) != 0)
		if (store_get(m->store, row, c) && c->status == STATUS_PENDING)
			return true;
	return false;
}

static void hand_out(struct claim *m, struct waiter *w, struct command *c)
{
	struct agent_row row = { w->agent_id, NULL, NULL, now_ms(m) };

	db_begin(store_db(m->store));
	if (!w->who.journal_id && !w->heard->stored)
		put_agent(m, &row, w->heard);
	recover_hand_out(m->store, c, &w->who, w->lease_ms, row.last_seen_at);
	give(m, w->conn, c);
	leave(w);
}

void claim_match(struct claim *m)
{
	struct waiter *w, *next;
	struct command c;
	bool work = !m->paused && m->first && next_pending(m, &c);

	for (w = m->first; w && work; w = next) {
		next = w->next;
		if (!conn_alive(w->conn))
			continue;
		hand_out(m, w, &c);
		work = next && next_pending(m, &c);
	}
	if (work)
		dispatch_note(m->dispatch, &c);
	for (w = m->first; w && m->impatient; w = next) {
		next = w->next;
		if (!w->patient)
			end_empty(w);
	}
}

void claim_gone(struct claim *m, struct conn *conn)
{
	struct waiter *w = conn_get(conn);

	(void)m;
	if (w)
		leave(w);
}

void claim_stop(struct claim *m)
{
	m->stopped = true;
	while (m->first)
		end_empty(m->first);
}

void claim_pause(struct claim *m, const char *restore)
{
	free(m->paused);
	m->paused = mem_dup(restore);
}

/* Making, loading, ending. */

struct claim *claim_new(struct loop *loop, const struct env *env, struct store *store, struct dispatch *dispatch, int64_t lease_ms)
{
	struct claim *m = mem_new(sizeof *m);

	m->loop = loop;
	m->env = env;
	m->store = store;
	m->dispatch = dispatch;
	m->lease_ms = lease_ms;
	m->start_us = dispatch_clock_us(dispatch);
	claim_load(m);
	return m;
}

void claim_load(struct claim *m)
{
	m->strays_count = 0;
	store_running(m->store, find_stray, m);
}

void claim_free(struct claim *m)
{
	if (!m)
		return;
	while (m->first)
		leave(m->first);
	free(m->strays);
	free(m->paused);
	free(m);
}
