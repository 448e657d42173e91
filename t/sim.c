/* sim: a server, agents, clients and targets in one seeded world, with faults on and then off, judged by the checker. A run is one seed:
 * the same seed gives the same history (its hash is printed with --verbose). What is tested is the programs' own code over the world's doors. */
#include "sim_nodes.h"
#include <stdio.h>
#include <string.h>

/* history */

void sim_note(struct sim *s, const char *who, const char *fmt, ...)
{
	int64_t now = world_now_us(s->world);
	size_t from = s->history.len;
	va_list args;

	buf_fmt(&s->history, "%6lld.%06lld %-8s ", (long long)(now / 1000000), (long long)(now % 1000000), who);
	va_start(args, fmt);
	buf_vfmt(&s->history, fmt, args);
	va_end(args);
	buf_char(&s->history, '\n');
	if (s->verbose)
		fputs(s->history.data + from, stdout);
}

static bool concerns(const char *line, size_t n, const char *id, const char *key)
{
	struct buf text = {0};
	bool yes;

	buf_add(&text, line, n);
	yes = strstr(text.data, " * ") || (id[0] && strstr(text.data, id)) || strstr(text.data, key);
	buf_free(&text);
	return yes;
}

/* The lines of one command, and every fault and crash. */
static void print_history(const struct sim *s, int index)
{
	const char *p = s->history.data ? s->history.data : "", *end;
	char key[16];

	snprintf(key, sizeof key, "k-%d", index);
	for (; *p; p = end + 1) {
		end = strchr(p, '\n');
		if (index < 0 || concerns(p, (size_t)(end - p), checker_id(s->checker, index), key))
			printf("%.*s\n", (int)(end - p), p);
	}
}

static void fail(struct sim *s, const char *guarantee, int index, const char *what)
{
	sim_note(s, "checker", "* %s violated: %s", guarantee, what);
	if (s->failed)
		return;
	s->failed = true;
	printf("seed %llu: %s violated: %s\n", (unsigned long long)s->seed, guarantee, what);
	if (index >= 0)
		printf("command %d, %s, %s:\n", index, checker_id(s->checker, index), checker_idempotent(s->checker, index) ? "idempotent" : "not idempotent");
	world_stop(s->world);
}

static void wrong(void *arg, int guarantee, int index, const char *what)
{
	struct sim *s = arg;
	char name[8];
	bool first = !s->failed;

	snprintf(name, sizeof name, "G%d", guarantee);
	fail(s, name, index, what);
	if (first && !s->verbose)
		print_history(s, index);
}

static void broken(void *arg, const char *what)
{
	struct sim *s = arg;
	bool first = !s->failed;

	fail(s, "the world", -1, what);
	if (first && !s->verbose)
		print_history(s, -1);
}

static void tap_note(void *arg, const char *text) { sim_note(arg, "server", "%s", text); }

/* what the world tells */

/* STARTED is on the disk before the effect, FINISHED before it is told, or there was no room for it (poll.c, P1). */
static void judge_order(struct sim *s, struct agent *a, enum env_point at, int index)
{
	int64_t syncs = node_syncs(a->node), refusals = node_refusals(a->node);

	if (at == POINT_EFFECT && syncs == a->syncs[index])
		wrong(s, 3, index, "an effect begins before its beginning is synced");
	if (at == POINT_BEFORE_REPORT && syncs == a->syncs[index] && refusals == a->refusals[index])
		wrong(s, 4, index, "an end is told before it is synced");
	if (at != POINT_BEFORE_STARTED && at != POINT_BEFORE_FINISHED)
		return;
	a->syncs[index] = syncs;
	a->refusals[index] = refusals;
}

static void point(void *arg, struct node *n, enum env_point at, const char *id, int64_t attempt)
{
	struct sim *s = arg;
	struct agent *a = sim_agent(s, n);
	const struct checker_agent by = { a->file, { journal_id(a->journal), journal_boot_id(a->journal) } };
	int index = checker_index(s->checker, id);

	sim_note(s, node_name(n), "%s %s attempt %lld", world_op_text(OP_POINT + (int)at), id, (long long)attempt);
	if (at == POINT_BEFORE_STARTED)
		checker_began(s->checker, id, attempt);
	else if (at == POINT_EFFECT)
		checker_start(s->checker, id, attempt, &by, node_now_us(n), s->lease_ms);
	else if (at == POINT_BEFORE_FINISHED)
		checker_ended(s->checker, id, attempt, &by);
	else if (at == POINT_BEFORE_REPORT && index >= 0 && node_refusals(n) == a->refusals[index])
		checker_kept(s->checker, id, attempt, &by);
	else if (at == POINT_ANSWERED)
		checker_marked(s->checker, id, attempt, &by);
	if (index >= 0)
		judge_order(s, a, at, index);
}

static void lease_ended(struct sim *s, const struct node *n, const char *line)
{
	static const char before[] = "lease ended: command ", between[] = ", attempt ";
	const char *at = strstr(line, before), *end;
	char id[ID_TEXT] = "";
	int64_t attempt = 0;

	if (!at || strlen(at) < sizeof before + ID_TEXT + sizeof between)
		return;
	at += sizeof before - 1;
	memcpy(id, at, ID_TEXT - 1);
	id[ID_TEXT - 1] = '\0';
	at += ID_TEXT - 1 + sizeof between - 1;
	end = strchr(at, ',');
	must(end && num_parse(at, (size_t)(end - at), 1, INT64_MAX, &attempt));
	checker_lease_ended(s->checker, id, attempt, node_now_us(n), node_deaf_us(n), s->lease_ms);
}

static void logged(void *arg, struct node *n, const char *line)
{
	struct sim *s = arg;
	const char *text = strchr(line, ' ');

	sim_note(s, node_name(n), "%s", text ? text + 1 : line);
	if (n == s->server.node)
		lease_ended(s, n, line);
}

/* The name of the restore in an answer's head, 0: there is none. */
static uint64_t restore_in(const char *p, size_t n)
{
	static const char field[] = "Onlyonce-Paused: ";

	for (; n >= sizeof field + 15; p++, n--)
		if (memcmp(p, field, sizeof field - 1) == 0)
			return hash_bytes(p + sizeof field - 1, 16, 1);
	return 0;
}

/* Of an agent of several slots another one's poll may be on its way already. */
static void tell(struct sim *s, struct agent *a, uint64_t restore)
{
	if (restore == 0 || restore != s->restore || a->slots > 1)
		return;
	a->told = s->restore_of;
	a->told_refusals = node_refusals(a->node);
}

static void heard(void *arg, struct node *n, int64_t stream, const void *p, size_t len)
{
	struct sim *s = arg;
	struct agent *a;

	if (n == s->server.node)
		tap_heard(s->tap, stream, p, len);
	else if ((a = sim_agent(s, n)) != NULL)
		tell(s, a, restore_in(p, len));
}

static bool begins(const char *p, size_t n, const char *with)
{
	return n > strlen(with) && memcmp(p, with, strlen(with)) == 0;
}

/* Requests that a proxy may send again: all of the agents' and the clients', polls only where the seed says so. */
static void said(void *arg, struct node *n, int64_t stream, const void *p, size_t len)
{
	struct sim *s = arg;
	const struct agent *a;

	if (n == s->server.node) {
		tap_said(s->tap, stream, p, len, node_now_us(n), node_deaf_us(n));
		if (restore_in(p, len)) {
			s->restore = restore_in(p, len);
			s->restore_of = s->put_backs_count;
		}
		return;
	}
	a = sim_agent(s, n);
	if (a && a->was_fenced && begins(p, len, "GET /api/commands/next"))
		fail(s, "G3", -1, "an agent whose journal is fenced polls");
	if (a && a->told && a->told == s->put_backs_count && a->told_refusals == node_refusals(n) && begins(p, len, "GET /api/commands/next"))
		checker_told(s->checker, a->file);
	if (s->healed || n == proxy_node(s->proxy) || (s->script && n == script_node(s->script)) || !world_chance(s->world, s->replays))
		return;
	if (begins(p, len, "PATCH /api") || begins(p, len, "POST /api") || (s->replay_polls && begins(p, len, "GET /api/commands/next"))) {
		world_count(s->world, FAULT_REPLAY);
		sim_note(s, node_name(n), "* this request will be sent again: %.*s", 66, (const char *)p);
		proxy_send(s->proxy, p, len, world_now_us(s->world) + world_between(s->world, 0, world_chance(s->world, 300) ? 40000000 : 2000000));
	}
}

static void hung(void *arg, struct node *n, int64_t stream)
{
	struct sim *s = arg;

	if (n == s->server.node)
		tap_hung(s->tap, stream);
}

/* faults */

static struct node *victim(struct sim *s)
{
	int count = 1 + s->agents_count + (s->script != NULL), i = (int)(world_any(s->world) % (uint64_t)(count + 1));

	if (i >= count || i == 0)
		return s->server.node;
	return i <= s->agents_count ? s->agents[i - 1].node : script_node(s->script);
}

static void room_again(void *arg, int64_t number)
{
	struct sim *s = arg;

	if (number == node_number(s->server.node))
		node_disk_full(s->server.node, false);
	for (int i = 0; i < s->agents_count; i++)
		if (number == node_number(s->agents[i].node))
			node_disk_full(s->agents[i].node, false);
}

static void trouble_one(struct sim *s, struct node *n)
{
	int64_t lease_us = s->lease_ms * 1000, us = world_between(s->world, 1000, world_chance(s->world, 300) ? lease_us * 3 : lease_us / 2);
	struct agent *a = sim_agent(s, n);

	switch (world_any(s->world) % 9) {
	case 0:
		world_count(s->world, FAULT_KILLED);
		node_kill(n);
		return;
	case 1:
		world_count(s->world, FAULT_PAUSE);
		sim_note(s, node_name(n), "* stands still for %lld ms", (long long)(us / 1000));
		node_pause(n, us);
		return;
	case 2:
		world_count(s->world, FAULT_PARTITION);
		sim_note(s, node_name(n), "* is cut off for %lld ms", (long long)(us / 1000));
		node_cut_off(n, us);
		return;
	case 3:
		world_count(s->world, FAULT_WALL_JUMP);
		us = world_between(s->world, -86400000, 86400000);
		node_wall(n, s->still ? 0 : us);
		return;
	case 4:
		sim_note(s, node_name(n), "* its disk is full for %lld ms", (long long)(us / 1000));
		node_disk_full(n, true);
		s->full = s->full || a;
		world_at(s->world, world_now_us(s->world) + us, room_again, s, node_number(n));
		return;
	case 5:
		if (world_chance(s->world, 300))
			node_fail_sync_in(n, world_between(s->world, 1, 10));
		return;
	case 6:
		if (a && node_up(n) && a->poll && !a->over)
			poll_drain(a->poll);
		return;
	default:
		node_die_in(n, world_between(s->world, 1, 40));
	}
}

static void trouble(void *arg, int64_t n)
{
	struct sim *s = arg;
	struct node *v = victim(s);
	const struct agent *a;

	(void)n;
	if (s->healed)
		return;
	a = sim_agent(s, v);
	if (s->crashing > 0 && !(a && a->put_back))
		trouble_one(s, v);
	world_at(s->world, world_now_us(s->world) + world_between(s->world, 100000, 2500000), trouble, s, 0);
}

static void heal_node(struct sim *s, struct node *n)
{
	node_die_in(n, 0);
	node_fail_sync_in(n, 0);
	node_disk_full(n, false);
	node_slow(n, 0);
	node_pause(n, 0);
	node_cut_off(n, 0);
	if (!node_up(n))
		sim_start_later(s, n);
}

static void all_done(void *arg) { world_stop(((struct sim *)arg)->world); }

static void heal(void *arg, int64_t n)
{
	struct sim *s = arg;

	(void)n;
	sim_note(s, "world", "* faults off");
	s->healed = true;
	world_trouble(s->world, 0);
	heal_node(s, s->server.node);
	for (int i = 0; i < s->agents_count; i++)
		heal_node(s, s->agents[i].node);
	if (s->script)
		heal_node(s, script_node(s->script));
	for (int i = 0; i < s->clients_count; i++)
		client_calm(s->clients[i]);
}

/* Once all creates are acknowledged, one client asks until all is done. */
static void audit_when_acked(void *arg, int64_t n)
{
	struct sim *s = arg;
	bool all = s->healed;

	(void)n;
	for (int i = 0; i < s->clients_count; i++)
		all = all && client_done(s->clients[i]);
	if (all)
		client_audit(s->clients[0], 500000, all_done, s);
	else
		world_at(s->world, world_now_us(s->world) + 500000, audit_when_acked, s, 0);
}

/* a run */

static void make_plan(struct sim *s)
{
	struct world *w = s->world;
	bool quiet = world_chance(w, 30);                          /* now and then a run without faults: the plain path must hold too */

	s->lease_ms = world_between(w, 800, 6000);
	s->interval_ms = world_between(w, 300, 1500);
	s->max_attempts = 5;
	s->heal_us = world_now_us(w) + world_between(w, 20000000, 50000000);
	s->trouble = quiet ? 0 : world_chance(w, 200) ? 0 : (int)world_between(w, 5, 120);
	s->crashing = quiet ? 0 : (int)world_between(w, 200, 900);
	s->replays = quiet ? 0 : (int)world_between(w, 0, 60);
	s->replay_polls = world_chance(w, 250);
	if (s->replay_polls)
		checker_old_polls(s->checker);
	s->put_backs = !quiet && world_chance(w, 250);
	s->copies = !quiet && world_chance(w, 200);
	s->agents_count = (int)world_between(w, 1, AGENTS_MAX);
	s->twins = !quiet && s->agents_count > 1 && world_chance(w, 100);
	s->clients_count = (int)world_between(w, 1, CLIENTS_MAX);
	sim_note(s, "world", "seed %llu: lease %lld ms, interval %lld ms, %d agents, %d clients, trouble %d, crashing %d, replays %d%s%s%s%s", (unsigned long long)s->seed,
		(long long)s->lease_ms, (long long)s->interval_ms, s->agents_count, s->clients_count, s->trouble, s->crashing, s->replays, s->replay_polls ? " with polls" : "", s->put_backs ? ", databases put back" : "", s->copies ? ", journals copied" : "",
		s->twins ? ", two of a name" : "");
}

static void make_nodes(struct sim *s)
{
	static const char *const names[] = { "client-1", "client-2", "client-3" };
	struct world *w = s->world;
	struct client_orders orders = { COMMANDS, &s->next, (s->heal_us - world_now_us(w)) * s->clients_count / 150, s->lease_ms * 3 / 2, world_chance(w, 300) ? 900 : (int)world_between(w, 0, 400) };

	s->server.sim = s;
	s->server.node = world_node(w, "server");
	for (int i = 0; i < s->agents_count; i++) {
		struct agent *a = &s->agents[i];
		a->sim = s;
		snprintf(a->name, sizeof a->name, "agent-%d", i + 1);
		a->as = a->name;
		a->slots = world_chance(w, 600) ? 1 : (int)world_between(w, 2, 3);
		a->node = world_node(w, a->name);
		a->file = checker_file(s->checker, -1, -1, 0);
	}
	if (s->twins) {
		world_count(w, FAULT_TWINS);
		s->agents[1].as = s->agents[0].as;
	}
	s->shelf = shelf_new(w, s->checker);
	if (world_chance(w, 350))
		s->script = script_new(w, s->checker, "script", s->interval_ms * 1000);
	s->target = target_new(w, s->checker);
	s->proxy = proxy_new(w);
	for (int i = 0; i < s->clients_count; i++)
		s->clients[i] = client_new(w, s->checker, names[i], &orders);
}

static void set_off(struct sim *s)
{
	struct world *w = s->world;

	world_trouble(w, s->trouble);
	for (int i = 0; i < s->agents_count; i++)
		node_slow(s->agents[i].node, s->crashing && world_chance(w, 300) ? s->lease_ms * 1500 : 0);
	node_slow(s->server.node, s->crashing && world_chance(w, 300) ? s->lease_ms * 1500 : 0);
	sim_start(s, node_number(s->server.node));
	for (int i = 0; i < s->agents_count; i++)
		sim_start_later(s, s->agents[i].node);
	if (s->script)
		sim_start_later(s, script_node(s->script));
	world_at(w, world_now_us(w) + 1000000, trouble, s, 0);
	if (s->put_backs)
		world_at(w, world_now_us(w) + world_between(w, 1000000, 10000000), sim_keep_database, s, 0);
	world_at(w, s->heal_us, heal, s, 0);
	world_at(w, s->heal_us + 1000, audit_when_acked, s, 0);
}

struct story { struct sim *sim; bool idempotent; };

static void count_event(void *arg, const struct event *e)
{
	struct story *st = arg;

	cover_event(st->sim->cover, e, st->idempotent);
}

static bool count_story(void *arg, const struct command *c)
{
	struct story *st = arg;

	st->idempotent = c->is_idempotent;
	store_events(st->sim->server.store, c->row, count_event, st);
	return true;
}

static void count_run(struct sim *s)
{
	struct cover *c = s->cover;
	struct story st = { s, false };

	c->runs++;
	c->failed += s->failed;
	c->virtual_ms += world_now_us(s->world) / 1000;
	c->hash = c->hash * 31 + hash_bytes(s->history.data, s->history.len, 1);
	world_counts(s->world, c->crashes, c->faults);
	checker_count(s->checker, &c->checked);
	cover_tap(c, tap_counts(s->tap));
	if (s->server.store && node_up(s->server.node))
		store_walk(s->server.store, count_story, &st);
}

/* The audit has its own way to the truth: what both sides wrote down. It proves nothing that the checker saw broken, and refutes nothing that it saw kept,
 * where no database and no copy of a journal was put in its way. Where all journals are there, it leaves nothing unproven but an attempt of which
 * nothing was heard for a lease, and then an operator's RETRY. */
static void audit(struct sim *s)
{
	struct node *nodes[AGENTS_MAX];
	int files[AGENTS_MAX], count = 0;
	struct buf out = {0};
	enum audit_result result;
	bool twice, unseen = s->put_back || s->copied;

	for (int i = 0; i < s->agents_count; i++) {
		unseen = unseen || s->agents[i].put_back;
		if (!node_up(s->agents[i].node) || !s->agents[i].journal)
			continue;
		nodes[count] = s->agents[i].node;
		files[count++] = s->agents[i].file;
	}
	twice = checker_double_in(s->checker, files, count);
	result = shelf_audit(s->shelf, s->server.node, nodes, count, &out);
	sim_note(s, "audit", "%s", out.data ? out.data : "");
	s->cover->audits[result]++;
	if (result == AUDIT_UNREADABLE || (result == AUDIT_PROVEN && twice))
		fail(s, "the audit", -1, twice ? "it calls proven what the journals show to have begun twice" : "it could not read");
	else if (result == AUDIT_VIOLATED && !unseen)
		fail(s, "the audit", -1, out.data);
	else if (result == AUDIT_UNPROVEN && !s->lost && !s->full && !s->put_back && !s->script && count == s->agents_count && !checker_retried(s->checker))
		fail(s, "the audit", -1, out.data);
	buf_free(&out);
}

static void end_run(struct sim *s)
{
	sim_end(s);
	for (int i = 0; i < s->clients_count; i++)
		client_free(s->clients[i]);
	script_free(s->script);
	target_free(s->target);
	proxy_free(s->proxy);
	shelf_free(s->shelf);
	world_free(s->world);
	tap_free(s->tap);
	checker_free(s->checker);
	http_url_free(&s->url);
	buf_free(&s->history);
}

/* What was decided and when, whatever the ids, which are made of the wall clock. */
static uint64_t decisions(const struct buf *history)
{
	const char *p = history->data, *end = p + history->len;
	uint64_t hash = 1;

	for (; p < end; p++) {
		if (end - p >= ID_TEXT - 1 && p[8] == '-' && p[13] == '-' && p[14] == '7' && p[18] == '-' && p[23] == '-')
			p += ID_TEXT - 2;
		else
			hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
	}
	return hash;
}

uint64_t sim_run(uint64_t seed, bool verbose, bool still, struct cover *cover)
{
	struct sim s = { .seed = seed, .verbose = verbose, .still = still, .cover = cover };
	struct world_hooks hooks = { &s, sim_died, point, logged, heard, said, hung, broken };
	static const char url[] = "http://127.0.0.1:3000";
	uint64_t hash;

	s.world = world_new(seed, &hooks);
	s.checker = checker_new(wrong, &s);
	s.tap = tap_new(s.checker, tap_note, &s);
	must(http_url_read(url, sizeof url - 1, &s.url) == NULL);
	make_plan(&s);
	make_nodes(&s);
	sqlite3_randomness(0, NULL);
	set_off(&s);
	if (world_run(s.world, s.heal_us + (60 + COMMANDS) * INT64_C(1000000) + s.lease_ms * 1000 * COMMANDS))
		wrong(&s, 7, -1, "not everything has ended within the bound after the faults");
	else if (!s.failed)
		checker_end(s.checker);
	hash = decisions(&s.history);
	if (!s.failed)
		audit(&s);
	count_run(&s);
	if (s.failed)
		printf("replay: make sim SEED=%llu RUNS=1 MORE=--verbose\n", (unsigned long long)seed);
	if (verbose)
		printf("seed %llu: history of %zu bytes, hash %016llx\n", (unsigned long long)seed, s.history.len, (unsigned long long)hash_bytes(s.history.data, s.history.len, 1));
	end_run(&s);
	fflush(stdout);
	return hash;
}
