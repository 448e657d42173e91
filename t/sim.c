/* sim: a server, agents, clients and targets in one seeded world, with faults on and then off, judged by the checker. A run is one seed:
 * the same seed gives the same history (its hash is printed with --verbose). What is tested is the programs' own code over the world's doors. */
#include "cast.h"
#include "tap.h"
#include "../api.h"
#include "../poll.h"
#include "../recover.h"
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define AGENTS_MAX 4
#define CLIENTS_MAX 3
#define COMMANDS 50
#define IMAGES 3
#define VERDICTS (3 + FAILURE_COUNT)
#define KINDS 16

/* What the runs covered; sums over processes, so nothing but numbers. */
struct totals {
	int64_t runs, failed, virtual_ms;
	int64_t crashes[OP_COUNT], server_crashes[OP_COUNT], faults[FAULT_COUNT];
	int64_t cells[EVIDENCE_COUNT][2][VERDICTS], kinds[KINDS];
	struct tap_counts tap;
	struct checker_counts checked;
	uint64_t hash;
};

struct sim;
struct server { struct sim *sim; struct node *node; struct loop *loop; struct store *store; struct api *api; };
struct agent {
	struct sim *sim;
	struct node *node;
	char name[24];
	int slots;
	struct loop *loop;
	struct journal *journal;
	struct poll *poll;
	struct simdisk_image *images[IMAGES];
	int images_count;
	int64_t syncs[CHECKER_MAX], refusals[CHECKER_MAX];         /* by command: the disk's when a record of it was about to be written */
	bool over;                                                 /* its turns are at their end: stopped, or fenced */
	bool put_back;                                             /* its journal is an old one: left alone until it is fenced, for a second start would hide it (a limit of G3) */
};

struct sim {
	uint64_t seed;
	bool verbose, healed, failed;
	struct world *world;
	struct checker *checker;
	struct tap *tap;
	struct server server;
	struct agent agents[AGENTS_MAX];
	int agents_count;
	struct client *clients[CLIENTS_MAX];
	int clients_count;
	struct script *script;
	struct target *target;
	struct proxy *proxy;
	struct http_url url;
	int64_t lease_ms, interval_ms, max_attempts, heal_us;
	int next, trouble, crashing, replays;
	bool replay_polls;
	struct buf history;
	struct totals *totals;
};

static const char *const kinds[KINDS] = { "LATE_EVIDENCE", "HANDED_BACK", "RECOVERED", "REVIVED", "CONTRADICTION", "DATABASE_PUT_BACK", "STALE_REPORT", "REDELIVERED",
	"LEASE_ENDED", "RETRY", "COMPLETE", "FAIL", "CANCEL" };

/* history */

UTIL_PRINTF(3, 4) static void note(struct sim *s, const char *who, const char *fmt, ...)
{
	int64_t now = world_now_us(s->world);
	va_list args;

	buf_fmt(&s->history, "%6lld.%06lld %-8s ", (long long)(now / 1000000), (long long)(now % 1000000), who);
	va_start(args, fmt);
	buf_vfmt(&s->history, fmt, args);
	va_end(args);
	buf_char(&s->history, '\n');
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
		if (s->verbose || index < 0 || concerns(p, (size_t)(end - p), checker_id(s->checker, index), key))
			printf("%.*s\n", (int)(end - p), p);
	}
}

static void fail(struct sim *s, const char *guarantee, int index, const char *what)
{
	note(s, "checker", "* %s violated: %s", guarantee, what);
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
	if (first)
		print_history(s, index);
}

static void broken(void *arg, const char *what)
{
	struct sim *s = arg;
	bool first = !s->failed;

	fail(s, "the world", -1, what);
	if (first)
		print_history(s, -1);
}

static void tap_note(void *arg, const char *text) { note(arg, "server", "%s", text); }

/* the server */

static void server_turned(void *arg)
{
	(void)arg;
}

static void server_make(void *arg)
{
	struct server *v = arg;
	struct sim *s = v->sim;
	const struct env *env = node_env(v->node);
	struct api_settings set = { s->lease_ms, s->max_attempts, 60, "127.0.0.1", NULL, NULL, NULL };
	struct sockaddr_in a;
	struct sockaddr_storage bound;
	socklen_t len;
	struct buf err = {0};

	v->api = NULL;
	v->store = store_open(env, "commands.db", &err);
	if (!v->store) {
		note(s, "server", "* does not start: %s", err.data);
		buf_free(&err);
		return;
	}
	v->loop = loop_new(env);
	v->api = api_new(v->loop, env, v->store, &set);
	memset(&a, 0, sizeof a);
	a.sin_family = AF_INET;
	a.sin_port = htons(SERVER_PORT);
	must(api_listen(v->api, (struct sockaddr *)&a, sizeof a, &bound, &len));
	loop_after(v->loop, server_turned, v);
}

static void server_unmake(void *arg)
{
	struct server *v = arg;

	if (v->api)
		api_free(v->api);
	else
		store_close(v->store);
	v->api = NULL;
	v->store = NULL;
}

/* agents */

static void agent_over(void *arg, int64_t n);

/* An agent's process ends when its slots have: noticed after its turn, from outside. */
static void agent_turned(void *arg)
{
	struct agent *a = arg;

	if (!a->poll || a->over || !poll_ended(a->poll))
		return;
	a->over = true;
	world_at(a->sim->world, node_now_us(a->node), agent_over, a, 0);
}

static void agent_make(void *arg)
{
	struct agent *a = arg;
	struct sim *s = a->sim;
	const struct env *env = node_env(a->node);
	struct poll_settings set = { .server = &s->url, .name = a->name, .slots = a->slots, .interval_ms = s->interval_ms, .keep_days = 30,
		.run = { .http_timeout_us = 5000000, .http_max_bytes = 65536 } };
	struct buf err = {0};

	a->poll = NULL;
	a->journal = journal_open(env, "agent.db", false, &err);
	if (!a->journal) {
		note(s, a->name, "* does not start: %s", err.data);
		buf_free(&err);
		return;
	}
	a->over = journal_fenced(a->journal);
	a->loop = loop_new(env);
	if (a->over)
		return;
	a->poll = poll_new(a->loop, env, a->journal, &set);
	loop_after(a->loop, agent_turned, a);
}

static void agent_unmake_poll(void *arg)
{
	struct agent *a = arg;

	poll_free(a->poll);
}

static void agent_unmake_journal(void *arg)
{
	struct agent *a = arg;

	if (a->journal)
		journal_close(a->journal);
}

static void agent_take_apart(struct agent *a)
{
	if (!node_leave(a->node, agent_unmake_poll, a))
		note(a->sim, a->name, "the slots could not be taken apart");
	if (!node_leave(a->node, agent_unmake_journal, a))
		note(a->sim, a->name, "the journal could not be closed");
	a->poll = NULL;
	a->journal = NULL;
	loop_free(a->loop);
	a->loop = NULL;
}

/* deaths and starts */

static void start_node(void *arg, int64_t n);

static struct agent *agent_of(struct sim *s, const struct node *n)
{
	for (int i = 0; i < s->agents_count; i++)
		if (s->agents[i].node == n)
			return &s->agents[i];
	return NULL;
}

/* The journal as this boot left it, for a later boot to find. */
static void keep_image(struct agent *a)
{
	if (a->images_count == IMAGES) {
		simdisk_image_free(a->images[0]);
		memmove(a->images, a->images + 1, (IMAGES - 1) * sizeof a->images[0]);
		a->images_count--;
	}
	a->images[a->images_count++] = simdisk_save(node_disk(a->node));
}

/* Journals get lost and put back while their agent is down. */
static void harm_journal(struct agent *a)
{
	struct sim *s = a->sim;

	keep_image(a);
	if (s->healed || a->put_back)
		return;
	if (world_chance(s->world, 50)) {
		note(s, a->name, "* its journal is lost");
		world_count(s->world, FAULT_JOURNAL_LOST);
		simdisk_wipe(node_disk(a->node));
	} else if (a->images_count >= 2 && world_chance(s->world, 40)) {
		note(s, a->name, "* its journal is put back to an older state");
		world_count(s->world, FAULT_JOURNAL_PUT_BACK);
		a->put_back = true;
		simdisk_put_back(node_disk(a->node), a->images[world_any(s->world) % (uint64_t)(a->images_count - 1)]);
	}
}

static void start_later(struct sim *s, struct node *n)
{
	int64_t lease_us = s->lease_ms * 1000, pause = world_between(s->world, 10000, 800000);

	if (s->healed)
		pause = world_between(s->world, 10000, 100000);
	else if (world_chance(s->world, n == s->server.node ? 50 : 200))
		pause = world_between(s->world, 10000, lease_us * 5 / 2);
	world_at(s->world, node_now_us(n) + pause, start_node, s, node_number(n));
}

static void count_crash(struct sim *s, const struct node *n)
{
	if (n == s->server.node && node_died_at(n) >= 0)
		s->totals->server_crashes[node_died_at(n)]++;
}

static void fallen(struct sim *s, struct node *n)
{
	struct agent *a = agent_of(s, n);
	bool power = world_chance(s->world, 400);
	enum simdisk_loss loss = !power && !node_sync_failed(n) ? SIMDISK_KEEP : world_chance(s->world, 400) ? SIMDISK_DROP : SIMDISK_MIX;

	note(s, node_name(n), "* dies%s at %s", power ? " (power cut)" : "", node_died_at(n) >= 0 ? world_op_text(node_died_at(n)) : "no point of its own");
	count_crash(s, n);
	if (power)
		world_count(s->world, FAULT_POWER_CUT);
	node_end(n, power);
	if (n == s->server.node) {
		tap_died(s->tap);
		if (!node_leave(n, server_unmake, &s->server))
			note(s, "server", "could not be taken apart");
		loop_free(s->server.loop);
		s->server.loop = NULL;
	} else if (a) {
		agent_take_apart(a);
	} else {
		script_died(s->script);
	}
	simdisk_revive(node_disk(n), loss);
	if (a)
		harm_journal(a);
	start_later(s, n);
}

static void died(void *arg, struct node *n) { fallen(arg, n); }

/* An operator gives a fenced agent a new journal; one that was stopped is started again. */
static void agent_over(void *arg, int64_t n)
{
	struct agent *a = arg;
	struct sim *s = a->sim;
	bool fenced = a->journal && journal_fenced(a->journal);

	(void)n;
	if (!node_up(a->node) || !a->over)
		return;
	note(s, a->name, "* ends: %s", fenced ? "fenced" : "stopped");
	world_count(s->world, FAULT_STOPPED);
	agent_take_apart(a);
	node_end(a->node, false);
	simdisk_revive(node_disk(a->node), SIMDISK_KEEP);
	if (fenced) {
		a->put_back = false;
		note(s, a->name, "* is given a new journal");
		simdisk_wipe(node_disk(a->node));
		while (a->images_count > 0)
			simdisk_image_free(a->images[--a->images_count]);
	}
	start_later(s, a->node);
}

static void doom(struct sim *s, struct node *n)
{
	if (s->healed || !world_chance(s->world, s->crashing))
		return;
	node_die_in(n, world_between(s->world, 1, n == s->server.node ? 150 : 60));
}

static void start_server(struct sim *s)
{
	struct server *v = &s->server;

	v->loop = NULL;
	doom(s, v->node);
	if (!node_begin(v->node, server_make, v) || !v->api) {
		if (node_up(v->node))
			node_kill(v->node);
		else
			fallen(s, v->node);
		return;
	}
	note(s, "server", "* starts");
	node_live(v->node, v->loop);
}

static void start_agent(struct sim *s, struct agent *a)
{
	a->loop = NULL;
	a->over = false;
	if (a->put_back) {
		node_die_in(a->node, 0);
		node_fail_sync_in(a->node, 0);
	} else {
		doom(s, a->node);
	}
	if (!node_begin(a->node, agent_make, a) || !a->journal) {
		if (node_up(a->node))
			node_kill(a->node);
		else
			fallen(s, a->node);
		return;
	}
	note(s, a->name, "* starts, journal %.8s, boot %s%s", journal_id(a->journal), journal_boot_id(a->journal), a->over ? ", fenced" : "");
	node_live(a->node, a->loop);
	if (a->over)
		world_at(s->world, world_now_us(s->world) + 200000, agent_over, a, 0);
}

static void start_node(void *arg, int64_t number)
{
	struct sim *s = arg;

	if (!node_up(s->server.node) && node_number(s->server.node) == number)
		start_server(s);
	for (int i = 0; i < s->agents_count; i++)
		if (!node_up(s->agents[i].node) && node_number(s->agents[i].node) == number)
			start_agent(s, &s->agents[i]);
	if (s->script && !node_up(script_node(s->script)) && node_number(script_node(s->script)) == number) {
		doom(s, script_node(s->script));
		script_start(s->script);
	}
}

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
	struct agent *a = agent_of(s, n);
	int index = checker_index(s->checker, id);

	note(s, node_name(n), "%s %s attempt %lld", world_op_text(OP_POINT + (int)at), id, (long long)attempt);
	if (at == POINT_EFFECT)
		checker_start(s->checker, id, attempt, node_now_us(n), s->lease_ms);
	if (a && index >= 0)
		judge_order(s, a, at, index);
}

static void lease_ended(struct sim *s, const struct node *n, const char *line)
{
	const char *at = strstr(line, "lease ended: command ");
	char id[ID_TEXT] = "";

	if (at && strlen(at) > 21 + ID_TEXT) {
		memcpy(id, at + 21, ID_TEXT - 1);
		id[ID_TEXT - 1] = '\0';
		checker_lease_ended(s->checker, id, node_now_us(n), s->lease_ms);
	}
}

static void logged(void *arg, struct node *n, const char *line)
{
	struct sim *s = arg;
	const char *text = strchr(line, ' ');

	note(s, node_name(n), "%s", text ? text + 1 : line);
	if (n == s->server.node)
		lease_ended(s, n, line);
}

static void heard(void *arg, struct node *n, int64_t stream, const void *p, size_t len)
{
	struct sim *s = arg;

	if (n == s->server.node)
		tap_heard(s->tap, stream, p, len);
}

static bool begins(const char *p, size_t n, const char *with)
{
	return n > strlen(with) && memcmp(p, with, strlen(with)) == 0;
}

/* Requests that a proxy may send again: all of the agents' and the clients', polls only where the seed says so. */
static void said(void *arg, struct node *n, int64_t stream, const void *p, size_t len)
{
	struct sim *s = arg;

	if (n == s->server.node) {
		tap_said(s->tap, stream, p, len, node_now_us(n));
		return;
	}
	if (s->healed || n == proxy_node(s->proxy) || (s->script && n == script_node(s->script)) || !world_chance(s->world, s->replays))
		return;
	if (begins(p, len, "PATCH /api") || begins(p, len, "POST /api") || (s->replay_polls && begins(p, len, "GET /api/commands/next"))) {
		world_count(s->world, FAULT_REPLAY);
		note(s, node_name(n), "* this request will be sent again: %.*s", 66, (const char *)p);
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
	struct agent *a = agent_of(s, n);

	switch (world_any(s->world) % 9) {
	case 0:
		world_count(s->world, FAULT_KILLED);
		node_kill(n);
		return;
	case 1:
		world_count(s->world, FAULT_PAUSE);
		note(s, node_name(n), "* stands still for %lld ms", (long long)(us / 1000));
		node_pause(n, us);
		return;
	case 2:
		world_count(s->world, FAULT_PARTITION);
		note(s, node_name(n), "* is cut off for %lld ms", (long long)(us / 1000));
		node_cut_off(n, us);
		return;
	case 3:
		world_count(s->world, FAULT_WALL_JUMP);
		node_wall(n, world_between(s->world, -86400000, 86400000));
		return;
	case 4:
		note(s, node_name(n), "* its disk is full for %lld ms", (long long)(us / 1000));
		node_disk_full(n, true);
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
	a = agent_of(s, v);
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
		start_later(s, n);
}

static void all_done(void *arg) { world_stop(((struct sim *)arg)->world); }

static void heal(void *arg, int64_t n)
{
	struct sim *s = arg;

	(void)n;
	note(s, "world", "* faults off");
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
	s->agents_count = (int)world_between(w, 1, AGENTS_MAX);
	s->clients_count = (int)world_between(w, 1, CLIENTS_MAX);
	note(s, "world", "seed %llu: lease %lld ms, interval %lld ms, %d agents, %d clients, trouble %d, crashing %d, replays %d%s", (unsigned long long)s->seed,
		(long long)s->lease_ms, (long long)s->interval_ms, s->agents_count, s->clients_count, s->trouble, s->crashing, s->replays, s->replay_polls ? " with polls" : "");
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
		a->slots = world_chance(w, 600) ? 1 : (int)world_between(w, 2, 3);
		a->node = world_node(w, a->name);
	}
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
	start_node(s, node_number(s->server.node));
	for (int i = 0; i < s->agents_count; i++)
		start_later(s, s->agents[i].node);
	if (s->script)
		start_later(s, script_node(s->script));
	world_at(w, world_now_us(w) + 1000000, trouble, s, 0);
	world_at(w, s->heal_us, heal, s, 0);
	world_at(w, s->heal_us + 1000, audit_when_acked, s, 0);
}

struct story { struct sim *sim; bool idempotent; };

static void count_event(void *arg, const struct event *e)
{
	struct story *st = arg;
	struct totals *t = st->sim->totals;
	int verdict = -1;

	for (int i = 0; i < KINDS; i++)
		t->kinds[i] += kinds[i] && strcmp(kinds[i], e->kind) == 0;
	for (int i = 0; e->verdict && i < 3; i++)
		if (strncmp(e->verdict, status_text((enum status)i), strlen(status_text((enum status)i))) == 0)
			verdict = i;
	for (int i = 1; e->verdict && i < FAILURE_COUNT; i++)
		if (strstr(e->verdict, failure_text((enum failure)i)))
			verdict = 3 + i;
	for (int i = 0; e->evidence && verdict >= 0 && i < EVIDENCE_COUNT; i++)
		if (strcmp(e->evidence, evidence_text((enum evidence)i)) == 0 && strcmp(e->kind, "LATE_EVIDENCE") != 0 && strcmp(e->kind, "CONTRADICTION") != 0
			&& strcmp(e->kind, "STALE_REPORT") != 0)
			t->cells[i][st->idempotent][verdict]++;
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
	static const struct { enum report report; enum evidence evidence; int verdict; } plain[] = { { REPORT_RUNNING, EVIDENCE_HEARTBEAT, STATUS_RUNNING },
		{ REPORT_COMPLETED, EVIDENCE_COMPLETED, STATUS_COMPLETED }, { REPORT_FAILED, EVIDENCE_FAILED, 3 + FAILURE_EXECUTION_FAILED } };
	struct totals *t = s->totals;
	const struct tap_counts *n = tap_counts(s->tap);
	struct story st = { s, false };

	t->runs++;
	t->failed += s->failed;
	t->virtual_ms += world_now_us(s->world) / 1000;
	t->hash = t->hash * 31 + hash_bytes(s->history.data, s->history.len, 1);
	world_counts(s->world, t->crashes, t->faults);
	checker_count(s->checker, &t->checked);
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		for (int k = 0; k < 2; k++)
			t->cells[plain[i].evidence][k][plain[i].verdict] += n->settled[plain[i].report][k];
	for (int i = 0; i < ASK_COUNT; i++)
		t->tap.asks[i] += n->asks[i];
	for (int i = 0; i < REPORT_COUNT; i++)
		for (int k = 0; k < TAP_ANSWERS; k++)
			t->tap.reports[i][k] += n->reports[i][k];
	if (s->server.store && node_up(s->server.node))
		store_walk(s->server.store, count_story, &st);
}

static void end_run(struct sim *s)
{
	if (node_up(s->server.node)) {
		node_shut(s->server.node);
		node_leave(s->server.node, server_unmake, &s->server);
	}
	loop_free(s->server.loop);
	for (int i = 0; i < s->agents_count; i++) {
		struct agent *a = &s->agents[i];
		node_shut(a->node);
		agent_take_apart(a);
		while (a->images_count > 0)
			simdisk_image_free(a->images[--a->images_count]);
	}
	for (int i = 0; i < s->clients_count; i++)
		client_free(s->clients[i]);
	script_free(s->script);
	target_free(s->target);
	proxy_free(s->proxy);
	world_free(s->world);
	tap_free(s->tap);
	checker_free(s->checker);
	http_url_free(&s->url);
	buf_free(&s->history);
}

static void run_seed(uint64_t seed, bool verbose, struct totals *totals)
{
	struct sim s = { .seed = seed, .verbose = verbose, .totals = totals };
	struct world_hooks hooks = { &s, died, point, logged, heard, said, hung, broken };
	static const char url[] = "http://127.0.0.1:3000";

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
	count_run(&s);
	if (verbose && !s.failed)
		print_history(&s, -1);
	if (s.failed)
		printf("replay: make sim SEED=%llu RUNS=1\n", (unsigned long long)seed);
	if (verbose)
		printf("seed %llu: history of %zu bytes, hash %016llx\n", (unsigned long long)seed, s.history.len, (unsigned long long)hash_bytes(s.history.data, s.history.len, 1));
	end_run(&s);
	fflush(stdout);
}

/* the report */

static void print_counts(const char *title, const int64_t *counts, int n, const char *(*text)(int))
{
	printf("%s:", title);
	for (int i = 0; i < n; i++)
		printf("%s %s %lld", i ? "," : "", text(i), (long long)counts[i]);
	printf("\n");
}

static const char *fault_text(int i) { return world_fault_text((enum world_fault)i); }

static const char *verdict_text(int v)
{
	return v < 3 ? status_text((enum status)v) : v == 3 ? "FAILED" : failure_text((enum failure)(v - 3));
}

/* The cells that must be reached: evidence, idempotent or not, verdict. */
#define F(name) (3 + FAILURE_##name)
static const struct { enum evidence evidence; bool idempotent; int verdict; } cells[] = {
	{ EVIDENCE_COMPLETED, false, STATUS_COMPLETED }, { EVIDENCE_COMPLETED, true, STATUS_COMPLETED },
	{ EVIDENCE_FAILED, false, F(EXECUTION_FAILED) }, { EVIDENCE_FAILED, true, F(EXECUTION_FAILED) },
	{ EVIDENCE_HEARTBEAT, false, STATUS_RUNNING }, { EVIDENCE_HEARTBEAT, true, STATUS_RUNNING },
	{ EVIDENCE_NOT_STARTED, false, STATUS_PENDING }, { EVIDENCE_NOT_STARTED, true, STATUS_PENDING },
	{ EVIDENCE_NOT_STARTED, false, F(CANCELLED) }, { EVIDENCE_NOT_STARTED, true, F(CANCELLED) },
	{ EVIDENCE_NO_ENTRY, false, STATUS_RUNNING }, { EVIDENCE_NO_ENTRY, true, STATUS_RUNNING },
	{ EVIDENCE_NO_ENTRY, false, F(CANCELLED) }, { EVIDENCE_NO_ENTRY, true, F(CANCELLED) },
	{ EVIDENCE_NO_ENTRY, false, F(NEVER_STARTED) }, { EVIDENCE_NO_ENTRY, true, F(NEVER_STARTED) },
	{ EVIDENCE_INTERRUPTED, false, F(OUTCOME_UNKNOWN) }, { EVIDENCE_INTERRUPTED, true, STATUS_PENDING },
	{ EVIDENCE_INTERRUPTED, true, F(ATTEMPTS_EXHAUSTED) }, { EVIDENCE_INTERRUPTED, true, F(CANCELLED) },
	{ EVIDENCE_NO_LOG, false, F(EVIDENCE_LOST) }, { EVIDENCE_NO_LOG, true, STATUS_PENDING },
	{ EVIDENCE_NO_LOG, true, F(ATTEMPTS_EXHAUSTED) }, { EVIDENCE_NO_LOG, true, F(CANCELLED) },
	{ EVIDENCE_SILENT, false, F(AGENT_LOST) }, { EVIDENCE_SILENT, true, STATUS_PENDING },
	{ EVIDENCE_SILENT, true, F(ATTEMPTS_EXHAUSTED) }, { EVIDENCE_SILENT, true, F(CANCELLED) },
};
#define CELLS (sizeof cells / sizeof *cells)

static size_t print_cells(const struct totals *t)
{
	size_t missed = 0;

	printf("verdict table:\n");
	for (size_t i = 0; i < CELLS; i++) {
		int64_t n = t->cells[cells[i].evidence][cells[i].idempotent][cells[i].verdict];
		printf("  %-18s %-14s -> %-18s %8lld%s\n", evidence_text(cells[i].evidence), cells[i].idempotent ? "idempotent" : "not idempotent",
			verdict_text(cells[i].verdict), (long long)n, n ? "" : "  never reached");
		missed += n == 0;
	}
	return missed;
}

static void print_reports(const struct totals *t)
{
	static const char *const answers[TAP_ANSWERS] = { "200", "STALE_ATTEMPT", "NOT_HOLDER", "ALREADY_SETTLED", "404", "503", "other" };

	printf("reports and their answers:\n");
	for (int i = 0; i < REPORT_COUNT; i++) {
		printf("  %-12s", report_text((enum report)i));
		for (int k = 0; k < TAP_ANSWERS; k++)
			printf(" %s %lld", answers[k], (long long)t->tap.reports[i][k]);
		printf("\n");
	}
	printf("events:");
	for (int i = 0; i < KINDS && kinds[i]; i++)
		printf("%s %s %lld", i ? "," : "", kinds[i], (long long)t->kinds[i]);
	printf("\n");
}

static void print_totals(const struct totals *t)
{
	const struct checker_counts *c = &t->checked;
	size_t missed;

	print_counts("crashes at", t->crashes, OP_COUNT, world_op_text);
	print_counts("  of the server at", t->server_crashes, OP_POINT, world_op_text);
	print_counts("faults", t->faults, FAULT_COUNT, fault_text);
	print_reports(t);
	missed = print_cells(t);
	printf("%lld virtual seconds, %lld starts, %lld requests at the target, %lld RETRYs, %lld settled, %lld in review; %lld begun late, %lld NEVER_STARTED too early\n", (long long)(t->virtual_ms / 1000),
		(long long)c->starts, (long long)c->hits, (long long)c->retries, (long long)c->settled, (long long)c->in_review, (long long)c->started_late, (long long)c->never_started_wrong);
	printf("%lld commands: %lld acknowledged, %lld recovered, %lld lost, %lld duplicated, %lld unexpected; %zu of %zu cells reached\n", (long long)c->commands,
		(long long)c->acknowledged, (long long)c->recovered, (long long)c->lost, (long long)c->duplicated, (long long)c->unexpected, CELLS - missed, CELLS);
	printf("history %016llx\n", (unsigned long long)t->hash);
	printf("%lld passed, %lld failed\n", (long long)(t->runs - t->failed), (long long)t->failed);
}

/* processes: seeds are split over two of them; a total is nothing but 64-bit numbers */

static void add_totals(struct totals *to, const struct totals *from)
{
	uint64_t *a = (uint64_t *)to;                                  /* a history's hash among them goes over the top */
	const uint64_t *b = (const uint64_t *)from;

	for (size_t i = 0; i < sizeof *to / sizeof *a; i++)
		a[i] += b[i];
}

static bool write_whole(int fd, const void *p, size_t n)
{
	const char *at = p;
	ssize_t put;

	for (; n > 0; at += put, n -= (size_t)put)
		if ((put = write(fd, at, n)) <= 0)
			return false;
	return true;
}

static bool read_whole(int fd, void *p, size_t n)
{
	char *at = p;
	ssize_t got;

	for (; n > 0; at += got, n -= (size_t)got)
		if ((got = read(fd, at, n)) <= 0)
			return false;
	return true;
}

static void run_seeds(uint64_t seed, int64_t runs, int64_t step, bool verbose, struct totals *t)
{
	for (int64_t i = 0; i < runs; i += step)
		run_seed(seed + (uint64_t)i, verbose, t);
}

static bool run_split(uint64_t seed, int64_t runs, struct totals *t)
{
	struct totals other;
	int ends[2], status = 0;
	pid_t pid;
	bool good;

	memset(&other, 0, sizeof other);
	fflush(stdout);
	if (pipe(ends) != 0 || (pid = fork()) < 0)
		return false;
	if (pid == 0) {
		run_seeds(seed + 1, runs - 1, 2, false, &other);
		_exit(write_whole(ends[1], &other, sizeof other) ? 0 : 1);
	}
	close(ends[1]);
	run_seeds(seed, runs, 2, false, t);
	good = read_whole(ends[0], &other, sizeof other);
	close(ends[0]);
	good = waitpid(pid, &status, 0) == pid && status == 0 && good;
	add_totals(t, &other);
	return good;
}

int main(int argc, char **argv)
{
	int64_t seed = 1, runs = 1;
	bool verbose = false, good = true;
	struct totals totals;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--verbose") == 0)
			verbose = true;
		else if (!(strncmp(argv[i], "--seed=", 7) == 0 && num_parse(argv[i] + 7, strlen(argv[i] + 7), 0, INT64_MAX, &seed))
			&& !(strncmp(argv[i], "--runs=", 7) == 0 && num_parse(argv[i] + 7, strlen(argv[i] + 7), 1, 1000000000, &runs))) {
			fprintf(stderr, "usage: sim [--seed=N] [--runs=N] [--verbose]\n");
			return 2;
		}
	}
	memset(&totals, 0, sizeof totals);
	if (runs > 1 && !verbose)
		good = run_split((uint64_t)seed, runs, &totals);
	else
		run_seeds((uint64_t)seed, runs, 1, verbose, &totals);
	print_totals(&totals);
	if (!good)
		fprintf(stderr, "sim: one of the two processes did not come to its end\n");
	return good && totals.failed == 0 ? 0 : 1;
}
