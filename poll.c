/* poll: the agent's slots. Every record goes to the journal before it counts: a slot's change waits in one list of writes, the turn's end puts all of
 * them into one transaction and one sync (group commit), and only then what depends on them happens: the effect, the report, the next poll.
 *   P1  STARTED is synced before the effect begins, FINISHED before it is reported, NOT_STARTED before it is handed back.
 *   P2  Nothing is started that the journal holds, nor anything older than what it holds: the record is the answer.
 *   P3  A slot polls only when every entry it wrote has been answered; at the start all open entries of all slots come first.
 *   P4  An assignment older than its lease is not started; asked when it is read and again after the sync of STARTED.
 *   P5  No room: STARTED becomes NOT_STARTED and is written when there is room; FINISHED is reported from memory; no slot polls until all is written.
 *
 * A slot's states, each arrow taken in the function it names:
 *   RESTING --ask--> ASKING --asked--> WRITING (STARTED) --started--> RUNNING --run_over--> WRITING (FINISHED) --finished--> REPORTING --reported--> RESTING
 *                       |                  |  stale, no room                                                                    ^
 *                       +--- nothing ------+--> WRITING (NOT_STARTED) --not_started-------------------------------------------+
 *                       +--- held: the journal's record is the answer (answer_held) ------------------------------------------+ */
#include "poll.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS_MAX 20000
#define POLL_SLACK_US INT64_C(10000000)
#define ANSWER_MAX (4u * 1024 * 1024)
#define LAZY_US INT64_C(1000000)       /* an ANSWERED mark waits this long for other writes to go with */
#define RETRY_US INT64_C(1000000)      /* no room: how often it is tried again */
#define DEBTS_FLYING 8                /* reports of open entries in flight at a time */
#define DAY_US INT64_C(86400000000)
#define LEASE_MS_FIRST 30000           /* until the server has spoken of one */

enum slot_state { SLOT_RESTING, SLOT_ASKING, SLOT_WRITING, SLOT_RUNNING, SLOT_REPORTING };
enum write_kind { WRITE_START, WRITE_FINISH, WRITE_NOT_STARTED, WRITE_ANSWERED, WRITE_GIVE };

struct slot {
	struct poll *home;
	char name[AGENT_ID_MAX + 1];
	enum slot_state state;
	struct loop_timer rest, beat;
	struct call_link *link;
	struct call *call;
	struct report_call *report, *heartbeat;
	struct run *run;
	int64_t asked_us;                  /* when the poll at hand was sent */
	int tries;                         /* polls without an answer in a row */
	bool rested;                       /* the next poll waits out the interval */
	/* the attempt at hand */
	char id[ID_TEXT], agent_id[AGENT_ID_MAX + 1];      /* agent_id: whom it is answered as; another slot's name only after a put-back database gave it there */
	int64_t attempt, lease_ms;
	bool is_idempotent, completed, unwritten;          /* unwritten: FINISHED is in memory only */
	enum type type;
	enum failure failure;
	struct buf payload, result, error;
	struct slot *waits_for;            /* the slot that runs what this one was handed */
};

/* A journal write on its way into the turn's transaction. */
struct write { struct write *next; enum write_kind kind; struct slot *slot; char id[ID_TEXT]; int64_t attempt; enum journal_answer answer; };

/* An entry that must be answered before anything else is asked for. */
struct debt { struct debt *next; struct poll *home; struct report_call *report; char id[ID_TEXT]; int64_t attempt; };

struct poll {
	struct loop *loop;
	const struct env *env;
	struct journal *journal;
	struct poll_settings set;
	struct server_place place;
	struct slot *slots;
	struct debt *debts;
	struct write *writes, **writes_end;
	bool eager, full, draining, fencing, fenced, failed, quiet;    /* eager: a write waits that something depends on */
	bool reopening;                    /* the server's database was put back: every entry is owed again once that is written */
	struct loop_timer lazy, prune;
};

static void ask(void *arg);

static int64_t now_us(const struct poll *p) { return p->env->mono_us(p->env->world); }

/* Writes. */

static void commit_now(void *arg) { ((struct poll *)arg)->eager = true; }

static void write_add(struct poll *p, enum write_kind kind, struct slot *s, const char *id, int64_t attempt, enum journal_answer answer)
{
	struct write *w = mem_new(sizeof *w);

	w->kind = kind;
	w->slot = s;
	w->attempt = attempt;
	w->answer = answer;
	strcpy(w->id, id);
	*p->writes_end = w;
	p->writes_end = &w->next;
	if (kind != WRITE_ANSWERED || p->draining)
		p->eager = true;
	else if (!p->full)
		loop_timer_set(p->loop, &p->lazy, loop_now_us(p->loop) + LAZY_US, commit_now, p);
}

static struct journal_entry entry_of(const struct slot *s)
{
	struct journal_entry e = {0};

	strcpy(e.id, s->id);
	e.attempt = s->attempt;
	e.agent_id = s->agent_id;
	e.type = type_text(s->type);
	e.is_idempotent = s->is_idempotent;
	return e;
}

static void apply(struct poll *p, const struct write *w)
{
	struct slot *s = w->slot;
	struct journal_entry e;

	switch (w->kind) {
	case WRITE_START:
		e = entry_of(s);
		journal_start(p->journal, &e);
		return;
	case WRITE_NOT_STARTED:
		e = entry_of(s);
		journal_not_started(p->journal, &e);
		return;
	case WRITE_FINISH:
		journal_finish(p->journal, w->id, w->attempt, s->completed, s->failure, s->result.data, s->result.len, s->error.data);
		return;
	case WRITE_ANSWERED:
		journal_answered(p->journal, w->id, w->attempt, w->answer);
		return;
	case WRITE_GIVE:
		journal_give(p->journal, w->id, w->attempt, s->agent_id);
		return;
	}
}

/* Rest and polls. */

static bool owes(const struct poll *p) { return p->debts != NULL; }

static void rest(struct slot *s, int64_t due_us)
{
	s->state = SLOT_RESTING;
	loop_timer_set(s->home->loop, &s->rest, due_us, ask, s);
}

/* When the slot asks again: at once after work; else one poll an interval, counted from the last one. */
static void rest_on(struct slot *s)
{
	int64_t now = loop_now_us(s->home->loop), due = s->asked_us + s->home->set.interval_ms * 1000;

	rest(s, s->rested && due > now ? due : now);
	s->rested = false;
}

static void went_quiet(struct slot *s, const char *why)
{
	struct poll *p = s->home;

	if (!p->quiet)
		env_log(p->env, "server away", "%s%s", why, p->set.once ? "" : "; asking on until it answers");
	p->quiet = true;
	if (p->set.once)
		p->failed = true;
	rest(s, loop_now_us(p->loop) + report_pause_us(p->env, &p->place, s->tries++));
}

/* The attempt at hand and its records. */

static void report_record(struct slot *s, enum report report);

static void not_start(struct slot *s, const char *why)
{
	buf_clear(&s->error);
	buf_str(&s->error, why);
	s->state = SLOT_WRITING;
	s->rested = true;
	env_log(s->home->env, "not started", "%s, attempt %lld: %s", s->id, (long long)s->attempt, why);
	write_add(s->home, WRITE_NOT_STARTED, s, s->id, s->attempt, ANSWER_OPEN);
}

static bool stale(const struct slot *s)
{
	return now_us(s->home) - s->asked_us > s->lease_ms * 1000;
}

static void beat_later(struct slot *s);

static void beat_heard(void *arg, enum beat beat)
{
	struct slot *s = arg;

	s->heartbeat = NULL;
	if (s->state != SLOT_RUNNING || !s->run)
		return;
	if (beat == BEAT_CANCEL)
		run_stop(s->run, FAILURE_CANCELLED, "the command was cancelled while it ran");
	else if (beat == BEAT_STOP)
		run_stop(s->run, FAILURE_CANCELLED, "stopped: the server has settled the command or begun a newer attempt");
	else
		beat_later(s);
}

static void send_beat(void *arg)
{
	struct slot *s = arg;
	struct report_content c = { s->id, s->attempt, s->agent_id, REPORT_RUNNING, FAILURE_NONE, NULL, 0, NULL };

	s->heartbeat = report_beat(s->home->loop, s->home->env, &s->home->place, s->link, &c, beat_heard, s);
}

static void beat_later(struct slot *s)
{
	loop_timer_set(s->home->loop, &s->beat, loop_now_us(s->home->loop) + s->lease_ms * 1000 / 3, send_beat, s);
}

/* The effect is over: FINISHED is written before anybody hears of it. */
static void run_over(void *arg, const struct run_end *end)
{
	struct slot *s = arg;

	s->run = NULL;
	loop_timer_off(s->home->loop, &s->beat);
	report_cancel(s->heartbeat);
	s->heartbeat = NULL;
	s->completed = end->completed;
	s->failure = end->completed ? FAILURE_NONE : end->failure;
	buf_free(&s->result);
	buf_free(&s->error);
	if (end->result)
		buf_add(&s->result, end->result, end->result_len);
	if (end->error)
		buf_add(&s->error, end->error, strnlen(end->error, COMMAND_ERROR_MAX));
	env_point(s->home->env, POINT_BEFORE_FINISHED, s->id, s->attempt);
	s->state = SLOT_WRITING;
	s->unwritten = true;
	write_add(s->home, WRITE_FINISH, s, s->id, s->attempt, ANSWER_OPEN);
}

/* STARTED is synced. The last look at the clock is here, just before the effect (P4). */
static void started(struct slot *s)
{
	struct poll *p = s->home;

	env_point(p->env, POINT_STARTED, s->id, s->attempt);
	if (stale(s)) {
		not_start(s, "the assignment is older than its lease");
		return;
	}
	s->state = SLOT_RUNNING;
	env_point(p->env, POINT_EFFECT, s->id, s->attempt);
	s->run = run_start(p->loop, p->env, &p->set.run, s->type, s->payload.data, s->payload.len, run_over, s);
	beat_later(s);
}

static void finished(struct slot *s)
{
	s->unwritten = false;
	if (s->state == SLOT_WRITING)
		report_record(s, s->completed ? REPORT_COMPLETED : REPORT_FAILED);
}

static void release_waiters(struct slot *s)
{
	for (int i = 0; i < s->home->set.slots; i++) {
		struct slot *o = &s->home->slots[i];
		if (o->waits_for != s)
			continue;
		o->waits_for = NULL;
		rest_on(o);
	}
}

static void reported(void *arg, enum report_fate fate)
{
	struct slot *s = arg;

	s->report = NULL;
	env_point(s->home->env, POINT_ANSWERED, s->id, s->attempt);
	write_add(s->home, WRITE_ANSWERED, NULL, s->id, s->attempt, fate == REPORT_ORPHANED ? ANSWER_ORPHAN : ANSWER_ANSWERED);
	release_waiters(s);
	if (s->home->set.once)
		poll_drain(s->home);
	rest_on(s);
}

static void report_record(struct slot *s, enum report report)
{
	struct poll *p = s->home;
	bool failed = report == REPORT_FAILED, ended = failed || report == REPORT_COMPLETED;
	struct report_content c = { s->id, s->attempt, s->agent_id, report, failed ? s->failure : FAILURE_NONE, ended && s->result.len ? s->result.data : NULL, s->result.len,
		s->error.len && report != REPORT_COMPLETED ? s->error.data : NULL };

	s->state = SLOT_REPORTING;
	env_point(p->env, POINT_BEFORE_REPORT, s->id, s->attempt);
	s->report = report_send(p->loop, p->env, &p->place, s->link, &c, reported, s);
}

/* The slot of this process that is at work on that attempt, or a newer one, of the command; NULL: none. */
static struct slot *worker_of(struct slot *s)
{
	for (int i = 0; i < s->home->set.slots; i++) {
		struct slot *o = &s->home->slots[i];
		if (o != s && o->state >= SLOT_WRITING && !o->waits_for && o->attempt >= s->attempt && strcmp(o->id, s->id) == 0)
			return o;
	}
	return NULL;
}

/* A put-back database handed out what another slot is at work on: that slot goes on, under this one's name, and this one waits for it. */
static void wait_for(struct slot *s, struct slot *worker)
{
	strcpy(worker->agent_id, s->name);
	s->waits_for = worker;
	s->state = SLOT_REPORTING;
	write_add(s->home, WRITE_GIVE, worker, worker->id, worker->attempt, ANSWER_OPEN);
}

/* What the journal says already is the answer, under the name that was just handed the attempt (P2). */
static void answer_held(struct slot *s, const struct journal_entry *e)
{
	struct poll *p = s->home;

	env_log(p->env, "held", "%s, attempt %lld: the journal holds it, so it is answered, not started", e->id, (long long)e->attempt);
	s->attempt = e->attempt;
	s->completed = e->completed;
	s->failure = e->failure;
	buf_clear(&s->result);
	buf_clear(&s->error);
	if (e->result)
		buf_add(&s->result, e->result, e->result_len);
	if (e->error)
		buf_str(&s->error, e->error);
	write_add(p, WRITE_GIVE, s, s->id, s->attempt, ANSWER_OPEN);
	s->rested = true;
	report_record(s, e->state == JOURNAL_NOT_STARTED ? REPORT_NOT_STARTED : e->state == JOURNAL_STARTED ? REPORT_INTERRUPTED
		: e->completed ? REPORT_COMPLETED : REPORT_FAILED);
}

/* Assignments. */

static void payload_wrong(void *arg, const char *field, const char *detail)
{
	struct buf *why = arg;

	if (why->len == 0)
		buf_fmt(why, "this agent cannot run it: %s %s", field, detail);
}

/* Takes an assignment apart. False: it is none, and there is nothing to answer for. *why stays empty where it can be run. */
static bool read_assignment(struct slot *s, const struct json *body, struct buf *why)
{
	struct json id, v;
	struct buf text = {0};
	int type;
	bool good;

	if (!json_find(body, "id", &id) || id.type != JSON_STRING || id.len != ID_TEXT + 1 || !json_find(body, "attempt", &v) || !json_int(&v, &s->attempt) || s->attempt < 1)
		return false;
	memcpy(s->id, id.text + 1, ID_TEXT - 1);
	s->id[ID_TEXT - 1] = '\0';
	strcpy(s->agent_id, s->name);
	s->lease_ms = s->home->place.lease_ms;
	if (json_find(body, "leaseMs", &v) && json_int(&v, &s->lease_ms) && s->lease_ms > 0)
		s->home->place.lease_ms = s->lease_ms;
	s->is_idempotent = false;
	if (json_find(body, "isIdempotent", &v))
		json_bool(&v, &s->is_idempotent);
	if (json_find(body, "type", &v) && v.type == JSON_STRING)
		json_text(&v, &text);
	type = text.data ? type_read(text.data, text.len) : -1;
	buf_free(&text);
	buf_clear(&s->payload);
	good = type >= 0 && json_find(body, "payload", &v);
	s->type = (enum type)(type < 0 ? 0 : type);
	if (!good)
		buf_str(why, "this agent cannot run a command of that type");
	else if (payload_check(s->type, &v, payload_wrong, why))
		buf_add(&s->payload, v.text, v.len);
	return true;
}

static void was_answered(struct slot *s)
{
	if (s->home->quiet)
		env_log(s->home->env, "server answers", "polls are answered again");
	s->home->quiet = false;
	s->tries = 0;
}

static void assigned(struct slot *s, const struct json *body)
{
	struct poll *p = s->home;
	struct journal_entry held;
	struct buf why = {0};
	struct slot *worker;

	if (!read_assignment(s, body, &why)) {
		went_quiet(s, "the server's answer to a poll is no command");
		buf_free(&why);
		return;
	}
	was_answered(s);
	if ((worker = worker_of(s)) != NULL) {
		wait_for(s, worker);
	} else if (journal_highest(p->journal, s->id, &held) && held.attempt >= s->attempt) {
		answer_held(s, &held);
	} else if (why.len) {
		not_start(s, why.data);
	} else if (p->draining || p->fencing) {
		not_start(s, "the agent is stopping");
	} else if (stale(s)) {
		not_start(s, "the assignment is older than its lease");
	} else {
		env_point(p->env, POINT_BEFORE_STARTED, s->id, s->attempt);
		s->state = SLOT_WRITING;
		write_add(p, WRITE_START, s, s->id, s->attempt, ANSWER_OPEN);
	}
	buf_free(&why);
}

static void conflict(struct slot *s, const struct json *body)
{
	struct poll *p = s->home;
	struct json v;
	int64_t wait_ms = 0;

	if (json_find(body, "retryAfterMs", &v) && json_int(&v, &wait_ms) && wait_ms > 0) {
		if (!p->quiet)
			env_log(p->env, "agent conflict", "another agent named %s is alive at this server; waiting for %lld ms", s->name, (long long)wait_ms);
		p->quiet = true;
		rest(s, loop_now_us(p->loop) + (wait_ms > 60000 ? 60000 : wait_ms) * 1000);
		return;
	}
	env_log(p->env, "fenced", "the server has seen a later start of this journal: it was put back to an older state, or copied. "
		"No more work is taken; start again with --new-journal when you know which copy is the true one");
	p->fencing = p->draining = p->eager = true;
	s->state = SLOT_RESTING;
}

/* A server that hands out nothing because its database came from a backup names the restore: it is told once all this journal knows. */
static void hear_of_restore(struct poll *p, const struct http_head *head)
{
	struct http_text text = http_field(head, "onlyonce-paused");
	char *restore = text.p && text.n <= 64 ? mem_dupn(text.p, text.n) : NULL;

	if (restore && !p->reopening && !owes(p) && journal_reopen(p->journal, restore)) {
		env_log(p->env, "restore", "the server's database came from a backup: sending it all that this journal knows");
		p->reopening = p->eager = true;
	}
	free(restore);
}

static void asked(void *arg, const struct call_answer *a)
{
	struct slot *s = arg;
	struct poll *p = s->home;
	struct json body, code;
	bool json = !a->error && json_read(a->body ? a->body : "", a->body_len, JSON_DEPTH, &body, NULL) && body.type == JSON_OBJECT;
	char why[64];

	s->call = NULL;
	snprintf(why, sizeof why, "a poll was answered with status %d", a->status);
	if (!a->error && (a->status == 204 || (a->status == 200 && json))) {
		hear_of_restore(p, a->head);
		s->rested = a->status == 204;
		if (a->status == 200) {
			assigned(s, &body);
			return;
		}
		was_answered(s);
		if (p->set.once)
			poll_drain(p);
		rest_on(s);
	} else if (!a->error && a->status == 409 && json && json_find(&body, "code", &code) && json_same(&code, "AGENT_CONFLICT")) {
		conflict(s, &body);
	} else {
		went_quiet(s, a->error ? a->error : why);
	}
}

static bool may_ask(const struct slot *s)
{
	const struct poll *p = s->home;

	return !p->draining && !p->full && !p->reopening && !owes(p) && !(p->set.once && (s != p->slots || p->failed));
}

static void send_poll(struct slot *s, int64_t wait_ms)
{
	struct poll *p = s->home;
	struct http_url url;
	struct buf path = {0}, fields = {0};
	struct call_spec spec = {0};

	buf_str(&path, "/api/commands/next?agentId=");
	http_escape(&path, s->name);
	buf_fmt(&path, "&journalId=%s&bootId=%s&waitMs=%lld", p->place.journal_id, p->place.boot_id, (long long)wait_ms);
	server_target(&p->place, path.data, &url);
	server_fields(&p->place, false, &fields);
	s->asked_us = now_us(p);
	spec.method = "GET";
	spec.url = &url;
	spec.fields = fields.data;
	spec.deadline_us = s->asked_us + wait_ms * 1000 + POLL_SLACK_US;
	spec.body_max = ANSWER_MAX;
	spec.link = s->link;
	spec.tls = p->set.tls;
	s->state = SLOT_ASKING;
	s->call = call_start(p->loop, p->env, &spec, asked, s);
	http_url_free(&url);
	buf_free(&path);
	buf_free(&fields);
}

static void ask(void *arg)
{
	struct slot *s = arg;
	int64_t interval_ms = s->home->set.interval_ms;

	if (may_ask(s))
		send_poll(s, s->home->set.once ? 0 : interval_ms > WAIT_MS_MAX ? WAIT_MS_MAX : interval_ms);
}

static void wake_all(struct poll *p)
{
	for (int i = 0; i < p->set.slots; i++)
		if (p->slots[i].state == SLOT_RESTING)
			rest(&p->slots[i], loop_now_us(p->loop));
}

/* Debts: what was open at the start, and all that was ever answered when the server's database was put back. */

static void debt_paid(void *arg, enum report_fate fate);

static void debt_send(struct debt *d)
{
	struct poll *p = d->home;
	struct journal_entry e;
	bool held = journal_get(p->journal, d->id, d->attempt, &e), done = held && e.state == JOURNAL_FINISHED;
	struct report_content c = { d->id, d->attempt, e.agent_id, done ? (e.completed ? REPORT_COMPLETED : REPORT_FAILED)
		: e.state == JOURNAL_STARTED ? REPORT_INTERRUPTED : REPORT_NOT_STARTED, done && !e.completed ? e.failure : FAILURE_NONE,
		done ? e.result : NULL, e.result_len, done && !e.completed ? e.error : NULL };

	must(held);
	env_log(p->env, "open entry", "%s, attempt %lld: reporting %s", d->id, (long long)d->attempt, report_text(c.report));
	d->report = report_send(p->loop, p->env, &p->place, NULL, &c, debt_paid, d);
}

static void debts_send(struct poll *p)
{
	int flying = 0;

	for (struct debt *d = p->debts; d && flying < DEBTS_FLYING; d = d->next, flying++)
		if (!d->report)
			debt_send(d);
}

static void debt_paid(void *arg, enum report_fate fate)
{
	struct debt *d = arg, **at;
	struct poll *p = d->home;

	write_add(p, WRITE_ANSWERED, NULL, d->id, d->attempt, fate == REPORT_ORPHANED ? ANSWER_ORPHAN : ANSWER_ANSWERED);
	for (at = &p->debts; *at != d; at = &(*at)->next)
		;
	*at = d->next;
	free(d);
	debts_send(p);
	if (!p->debts)
		wake_all(p);
}

static bool at_work(const struct poll *p, const struct journal_entry *e)
{
	for (int i = 0; i < p->set.slots; i++)
		if (p->slots[i].state >= SLOT_WRITING && p->slots[i].attempt == e->attempt && strcmp(p->slots[i].id, e->id) == 0)
			return true;
	return false;
}

static void debt_add(void *arg, const struct journal_entry *e)
{
	struct poll *p = arg;
	struct debt *d;

	if (at_work(p, e))
		return;
	d = mem_new(sizeof *d);
	d->home = p;
	strcpy(d->id, e->id);
	d->attempt = e->attempt;
	d->next = p->debts;
	p->debts = d;
}

static void owe_all_open(struct poll *p)
{
	must(!p->debts);
	journal_open_entries(p->journal, debt_add, p);
	debts_send(p);
}

/* All is owed again; or nothing was, and a slot whose time to ask came meanwhile has no timer any more. */
static void reopened(struct poll *p)
{
	p->reopening = false;
	owe_all_open(p);
	if (!owes(p))
		wake_all(p);
}

/* The turn's end: one transaction for all slots. */

static void written(struct poll *p, struct write *w)
{
	struct slot *s = w->slot;

	switch (w->kind) {
	case WRITE_START:
		started(s);
		return;
	case WRITE_FINISH:
		finished(s);
		return;
	case WRITE_NOT_STARTED:
		report_record(s, REPORT_NOT_STARTED);
		return;
	case WRITE_ANSWERED:
	case WRITE_GIVE:
		return;
	}
	(void)p;
}

/* No room (P5): the write stays in the list; a start turns into a tombstone, a result is reported from memory. */
static void not_written(struct poll *p, struct write *w)
{
	struct slot *s = w->slot;

	if (w->kind == WRITE_START) {
		w->kind = WRITE_NOT_STARTED;
		s->rested = true;
		buf_clear(&s->error);
		buf_str(&s->error, "there is no room for the agent's journal");
	} else if (w->kind == WRITE_FINISH && s->state == SLOT_WRITING) {
		report_record(s, s->completed ? REPORT_COMPLETED : REPORT_FAILED);
	}
	(void)p;
}

static void room_again(struct poll *p)
{
	if (!p->full)
		return;
	p->full = false;
	env_log(p->env, "journal", "there is room for the journal again");
	wake_all(p);
}

static void no_room(struct poll *p)
{
	if (!p->full)
		env_log(p->env, "journal", "there is no room for the journal: no more work is taken until there is");
	p->full = true;
	loop_timer_set(p->loop, &p->lazy, loop_now_us(p->loop) + RETRY_US, commit_now, p);
}

static void commit(struct poll *p)
{
	struct write *list = p->writes, *next;
	bool good, fence = p->fencing && !p->fenced;

	p->writes = NULL;
	p->writes_end = &p->writes;
	p->eager = false;
	loop_timer_off(p->loop, &p->lazy);
	/* An answer that waits here to be marked was given by the database as it was before the restore: it stays owed. */
	for (struct write *w = list; w; w = w->next)
		if (!p->reopening || w->kind != WRITE_ANSWERED)
			apply(p, w);
	if (fence)
		journal_fence(p->journal);
	good = journal_commit(p->journal) == DB_OK;
	p->fenced = p->fenced || (fence && good);
	for (struct write *w = list; w; w = next) {
		next = w->next;
		w->next = NULL;
		if (good) {
			written(p, w);
			free(w);
			continue;
		}
		not_written(p, w);
		*p->writes_end = w;
		p->writes_end = &w->next;
	}
	if (good && p->reopening)
		reopened(p);
	p->reopening = false;
	if (good)
		room_again(p);
	else
		no_room(p);
}

/* The hook of every turn: commits when something waits for it. */
static void turn_end(void *arg)
{
	struct poll *p = arg;

	if (p->eager)
		commit(p);
	if (p->eager)
		loop_again(p->loop);           /* what the commit gave rise to: a start that came too late is a tombstone to be written */
}

static void prune(void *arg)
{
	struct poll *p = arg;
	int64_t before = p->env->wall_ms(p->env->world) - p->set.keep_days * 86400000;

	journal_prune(p->journal, before);
	p->eager = true;
	loop_timer_set(p->loop, &p->prune, loop_now_us(p->loop) + DAY_US, prune, p);
}

/* Making and ending. */

static void slot_make(struct poll *p, int i)
{
	struct slot *s = &p->slots[i];

	s->home = p;
	if (p->set.slots == 1)
		snprintf(s->name, sizeof s->name, "%s", p->set.name);
	else
		snprintf(s->name, sizeof s->name, "%s/%d", p->set.name, i + 1);
	s->link = call_link_new(p->loop, p->env);
	rest(s, loop_now_us(p->loop));
}

struct poll *poll_new(struct loop *loop, const struct env *env, struct journal *journal, const struct poll_settings *set)
{
	struct poll *p = mem_new(sizeof *p);
	struct server_place place = { set->server, set->token, journal_id(journal), journal_boot_id(journal), LEASE_MS_FIRST, set->tls };

	p->loop = loop;
	p->env = env;
	p->journal = journal;
	p->set = *set;
	p->place = place;
	p->writes_end = &p->writes;
	p->slots = mem_new((size_t)set->slots * sizeof *p->slots);
	owe_all_open(p);
	for (int i = 0; i < set->slots; i++)
		slot_make(p, i);
	loop_after(loop, turn_end, p);
	loop_timer_set(loop, &p->prune, loop_now_us(loop), prune, p);
	return p;
}

/* A parked poll is put in the place of one that waits for nothing: what the server may just have handed to the first comes with its answer. */
void poll_drain(struct poll *p)
{
	for (int i = 0; i < p->set.slots && !p->draining; i++) {
		struct slot *s = &p->slots[i];
		if (s->state != SLOT_ASKING || !s->call)
			continue;
		call_cancel(s->call);
		send_poll(s, 0);
	}
	p->draining = true;
	p->eager = p->writes != NULL;
	loop_again(p->loop);
}

int poll_busy(const struct poll *p)
{
	int busy = 0;

	for (int i = 0; i < p->set.slots; i++)
		busy += p->slots[i].state >= SLOT_ASKING;
	for (const struct debt *d = p->debts; d; d = d->next)
		busy++;
	return busy;
}

bool poll_ended(const struct poll *p)
{
	return (p->draining || p->failed) && poll_busy(p) == 0 && !p->writes && (!p->fencing || p->fenced);
}

bool poll_failed(const struct poll *p) { return p->fenced || p->failed; }

static void slot_free(struct slot *s)
{
	if (s->call)
		call_cancel(s->call);
	report_cancel(s->report);
	report_cancel(s->heartbeat);
	if (s->run)
		run_drop(s->run);
	loop_timer_off(s->home->loop, &s->rest);
	loop_timer_off(s->home->loop, &s->beat);
	call_link_free(s->link);
	buf_free(&s->payload);
	buf_free(&s->result);
	buf_free(&s->error);
}

void poll_free(struct poll *p)
{
	if (!p)
		return;
	for (int i = 0; i < p->set.slots; i++)
		slot_free(&p->slots[i]);
	for (struct debt *d = p->debts, *next; d; d = next) {
		next = d->next;
		report_cancel(d->report);
		free(d);
	}
	for (struct write *w = p->writes, *next; w; w = next) {
		next = w->next;
		free(w);
	}
	loop_timer_off(p->loop, &p->lazy);
	loop_timer_off(p->loop, &p->prune);
	free(p->slots);
	free(p);
}
