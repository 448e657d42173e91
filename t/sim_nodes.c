/* sim_nodes: see the header. A node that ends, by whatever end, comes here; its disk keeps what its end left of it; then journals and databases get lost,
 * put back and copied; then it starts again, and may be doomed again to die some writes, syncs and sends later. */
#include "sim_nodes.h"
#include <netinet/in.h>
#include <string.h>

/* the server */

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
		sim_note(s, "server", "* does not start: %s", err.data);
		buf_free(&err);
		return;
	}
	v->loop = loop_new(env);
	v->api = api_new(v->loop, env, v->store, &set);
	memset(&a, 0, sizeof a);
	a.sin_family = AF_INET;
	a.sin_port = htons(SERVER_PORT);
	must(api_listen(v->api, (struct sockaddr *)&a, sizeof a, &bound, &len));
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
	struct poll_settings set = { .server = &s->url, .name = a->as, .slots = a->slots, .interval_ms = s->interval_ms, .keep_days = 30,
		.run = { .http_timeout_us = 5000000, .http_max_bytes = 65536 } };
	struct buf err = {0};

	a->poll = NULL;
	a->journal = journal_open(env, "agent.db", false, &err);
	if (!a->journal) {
		sim_note(s, a->name, "* does not start: %s", err.data);
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
		sim_note(a->sim, a->name, "the slots could not be taken apart");
	if (!node_leave(a->node, agent_unmake_journal, a))
		sim_note(a->sim, a->name, "the journal could not be closed");
	a->poll = NULL;
	a->journal = NULL;
	loop_free(a->loop);
	a->loop = NULL;
}

/* deaths and starts */

struct agent *sim_agent(struct sim *s, const struct node *n)
{
	for (int i = 0; i < s->agents_count; i++)
		if (s->agents[i].node == n)
			return &s->agents[i];
	return NULL;
}

/* Journals get lost, put back and copied while their agent is down. A put-back one shows at its next poll, unless it has been started so often by then
 * that it looks like a restart: a limit of G3, kept to some worlds. */
static void harm_journal(struct agent *a)
{
	struct sim *s = a->sim;
	struct agent *other = &s->agents[world_any(s->world) % (uint64_t)s->agents_count];

	shelf_keep(s->shelf, a->node, a->file);
	if (s->healed || a->put_back || a->was_fenced)
		return;
	if (world_chance(s->world, 50)) {
		sim_note(s, a->name, "* its journal is lost");
		world_count(s->world, FAULT_JOURNAL_LOST);
		s->lost = true;
		shelf_renew(s->shelf, a->node, &a->file);
	} else if (world_chance(s->world, 40) && shelf_put_back(s->shelf, a->node, &a->file)) {
		sim_note(s, a->name, "* its journal is put back to an older state");
		world_count(s->world, FAULT_JOURNAL_PUT_BACK);
		s->lost = true;
		a->put_back = !s->copies;
		s->copied = s->copied || s->copies;
	} else if (s->copies && other != a && world_chance(s->world, 60)) {
		sim_note(s, a->name, "* its journal is replaced by a copy of the one of %s", other->name);
		world_count(s->world, FAULT_JOURNAL_COPIED);
		s->lost = s->copied = true;
		shelf_copy(s->shelf, a->node, &a->file, other->node, other->file);
	}
}

/* The server's database is put back to an older state: a copy made by --backup is paused until an operator thinks that all agents have been heard. */
static void harm_database(struct sim *s)
{
	bool paused;

	if (s->healed || !s->put_backs || !world_chance(s->world, 250) || !shelf_put_back_database(s->shelf, s->server.node, &paused))
		return;
	sim_note(s, "server", "* its database is put back to an older state, %s", paused ? "made by --backup" : "a plain copy");
	world_count(s->world, FAULT_DATABASE_PUT_BACK);
	s->put_back = true;
	s->put_backs_count++;
}

void sim_start_later(struct sim *s, struct node *n)
{
	int64_t lease_us = s->lease_ms * 1000, pause = world_between(s->world, 10000, 800000);

	if (s->healed)
		pause = world_between(s->world, 10000, 100000);
	else if (world_chance(s->world, n == s->server.node ? 50 : 200))
		pause = world_between(s->world, 10000, lease_us * 5 / 2);
	world_at(s->world, node_now_us(n) + pause, sim_start, s, node_number(n));
}

static void count_crash(struct sim *s, const struct node *n)
{
	if (n == s->server.node && node_died_at(n) >= 0)
		s->cover->server_crashes[node_died_at(n)]++;
}

static void fallen(struct sim *s, struct node *n)
{
	struct agent *a = sim_agent(s, n);
	bool power = world_chance(s->world, 400);
	enum simdisk_loss loss = !power && !node_sync_failed(n) ? SIMDISK_KEEP : world_chance(s->world, 400) ? SIMDISK_DROP : SIMDISK_MIX;

	sim_note(s, node_name(n), "* dies%s at %s", power ? " (power cut)" : "", node_died_at(n) >= 0 ? world_op_text(node_died_at(n)) : "no point of its own");
	count_crash(s, n);
	if (power)
		world_count(s->world, FAULT_POWER_CUT);
	node_end(n, power);
	if (n == s->server.node) {
		tap_died(s->tap);
		if (!node_leave(n, server_unmake, &s->server))
			sim_note(s, "server", "could not be taken apart");
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
	else if (n == s->server.node)
		harm_database(s);
	sim_start_later(s, n);
}

void sim_died(void *arg, struct node *n) { fallen(arg, n); }

/* An operator gives a fenced agent a new journal; one that was stopped is started again. */
static void agent_over(void *arg, int64_t n)
{
	struct agent *a = arg;
	struct sim *s = a->sim;
	bool fenced = a->journal && journal_fenced(a->journal);

	(void)n;
	if (!node_up(a->node) || !a->over)
		return;
	sim_note(s, a->name, "* ends: %s", fenced ? "fenced" : "stopped");
	world_count(s->world, FAULT_STOPPED);
	agent_take_apart(a);
	node_end(a->node, false);
	simdisk_revive(node_disk(a->node), SIMDISK_KEEP);
	if (fenced && !s->healed && !a->was_fenced && world_chance(s->world, 300)) {
		a->was_fenced = true;
	} else if (fenced) {
		a->put_back = a->was_fenced = false;
		sim_note(s, a->name, "* is given a new journal");
		shelf_renew(s->shelf, a->node, &a->file);
	}
	sim_start_later(s, a->node);
}

static void doom(struct sim *s, struct node *n)
{
	if (s->healed || !world_chance(s->world, s->crashing))
		return;
	node_die_in(n, world_between(s->world, 1, n == s->server.node ? 150 : 60));
}

static void hand_out_again(void *arg) { api_resume(((struct server *)arg)->api); }

static bool all_up(const struct sim *s)
{
	bool up = node_up(s->server.node) && s->server.api;

	for (int i = 0; i < s->agents_count; i++)
		up = up && node_up(s->agents[i].node);
	return up;
}

/* wait_ms: how long everybody must have been there before an operator dares; 0: at once. */
static void resume(void *arg, int64_t wait_ms)
{
	struct sim *s = arg;
	struct server *v = &s->server;
	bool there = node_up(v->node) && v->api;

	if (there && !api_paused(v->api)) {
		s->resuming = false;
		return;
	}
	if (there && (wait_ms == 0 || (all_up(s) && world_now_us(s->world) - s->started_us > wait_ms * 1000))) {
		sim_note(s, "server", "* is told to hand out again");
		world_count(s->world, FAULT_RESUMED);
		checker_paused(s->checker, false);
		node_do(v->node, hand_out_again, v);
	}
	world_at(s->world, world_now_us(s->world) + 300000, resume, s, wait_ms);
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
	sim_note(s, "server", "* starts%s", api_paused(v->api) ? ", paused" : "");
	checker_paused(s->checker, api_paused(v->api));
	node_live(v->node, v->loop);
	if (api_paused(v->api) && !s->resuming) {
		s->resuming = true;
		world_at(s->world, world_now_us(s->world) + 1000000, resume, s, world_chance(s->world, 700) ? s->lease_ms * 3 : world_between(s->world, 0, s->lease_ms));
	}
}

static void start_agent(struct sim *s, struct agent *a)
{
	a->loop = NULL;
	a->over = false;
	a->told = 0;
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
	sim_note(s, a->name, "* starts, journal %.8s, boot %s%s", journal_id(a->journal), journal_boot_id(a->journal), a->over ? ", fenced" : "");
	node_live(a->node, a->loop);
	if (a->over)
		world_at(s->world, world_now_us(s->world) + 200000, agent_over, a, 0);
}

void sim_start(void *arg, int64_t number)
{
	struct sim *s = arg;

	s->started_us = world_now_us(s->world);
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

void sim_keep_database(void *arg, int64_t n)
{
	struct sim *s = arg;

	(void)n;
	if (s->healed)
		return;
	if (node_up(s->server.node) && s->server.api) {
		bool paused = world_chance(s->world, 700);
		sim_note(s, "server", "* its database is copied%s", paused ? " (--backup)" : "");
		world_count(s->world, FAULT_DATABASE_COPIED);
		shelf_keep_database(s->shelf, s->server.node, paused);
	}
	world_at(s->world, world_now_us(s->world) + world_between(s->world, 1000000, 12000000), sim_keep_database, s, 0);
}

void sim_end(struct sim *s)
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
	}
}
