/* turn: the server's turn, whole and in one process: 64 connections in memory, a real database, every sync of its log seen.
 * What is asked is G1 and group commit: no answer leaves before its sync, who is ready together shares one, and nobody spoils his neighbour. */
#include "dbfix.h"
#include "fakeworld.h"
#include "../api.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define CLIENTS 64
#define QUEUE (83 * CLIENTS)                                   /* more than READY_MAX and READY_FETCH together */
#define NAMES 16400                                            /* more than HEARD_MAX */
#define CREATE "{\"type\":\"DELAY\",\"payload\":{\"ms\":0},\"isIdempotent\":true}"

struct client { int fd, status; struct buf in; char id[ID_TEXT]; };

struct bench {
	struct fix *fix;                                           /* the directory and the disk */
	struct fakeworld *world;
	struct env env;
	struct loop *loop;
	struct api *api;
	int port;
	struct client clients[CLIENTS];
	int early;                                                 /* answers that were there before their sync */
};

static void no_log(void *world, const char *line)
{
	(void)world;
	(void)line;
}

/* What has come in of an answer. */
static void take(struct bench *b, struct client *c)
{
	char piece[4096];
	ssize_t n;

	if (c->fd < 0)
		return;
	while ((n = b->env.recv(b->env.world, c->fd, piece, sizeof piece)) > 0)
		buf_add(&c->in, piece, (size_t)n);
}

/* The turn's writes and its sync are about to happen: nobody may have an answer yet. Copying the log into the database comes after the answers. */
static void at_act(void *arg, const struct faultvfs_event *e)
{
	struct bench *b = arg;

	for (int i = 0; e->is_log && i < CLIENTS; i++) {
		take(b, &b->clients[i]);
		b->early += b->clients[i].in.len > 0;
	}
}

/* A server on the database, and its clients. */
static void serve(struct bench *b, const struct api_settings *set, const char *paused)
{
	struct store *store = store_open(&b->env, b->fix->path, &b->fix->err);
	struct sockaddr_storage a;
	socklen_t len;

	must(store);
	if (paused) {
		db_begin(store_db(store));
		store_fact_put(store, "paused", paused);
		must(db_commit(store_db(store)) == DB_OK);
	}
	b->loop = loop_new(&b->env);
	b->api = api_new(b->loop, &b->env, store, set);
	fakeworld_address(0, &a, &len);
	must(api_listen(b->api, (struct sockaddr *)&a, len, &a, &len));
	b->port = fakeworld_port(&a);
	for (int i = 0; i < CLIENTS; i++)
		must((b->clients[i].fd = fakeworld_connect(b->world, b->port)) >= 0);
	for (int i = 0; i < 4; i++)
		loop_turn(b->loop, 0);
	must(api_connections(b->api) == CLIENTS);
}

static int setup_with(void **state, const struct api_settings *set)
{
	struct bench *b = mem_new(sizeof *b);
	void *fix;

	must(fix_enter(&fix) == 0);
	b->fix = fix;
	fix_disk(b->fix);
	b->world = fakeworld_new(3);
	fakeworld_env(b->world, &b->env);
	b->env.vfs = b->fix->env.vfs;
	b->env.log = no_log;
	serve(b, set, NULL);
	*state = b;
	return 0;
}

static const struct api_settings plain = { .lease_ms = 30000, .max_attempts = 5 };

static int setup(void **state) { return setup_with(state, &plain); }

static int setup_guarded(void **state)
{
	struct api_settings set = { .lease_ms = 30000, .max_attempts = 5, .api_token = "api-secret", .agent_token = "agent-secret" };

	return setup_with(state, &set);
}

static int teardown(void **state)
{
	struct bench *b = *state;
	void *fix = b->fix;

	api_free(b->api);
	loop_free(b->loop);
	fakeworld_free(b->world);
	for (int i = 0; i < CLIENTS; i++)
		buf_free(&b->clients[i].in);
	fix_leave(&fix);
	free(b);
	return 0;
}

/* Time that the server sleeps through: leases run. (What fakeworld_pass adds between two turns is time without ears, and they do not.) */
static void sleep_well(struct bench *b, int64_t us)
{
	for (; us > 0; us -= 100000) {
		fakeworld_late(b->world, 100000);
		loop_turn(b->loop, fakeworld_now_us(b->world) + 100000);
	}
}

static void say_with(struct bench *b, int i, const char *fields, const char *method, const char *path, const char *body)
{
	struct client *c = &b->clients[i];
	struct buf out = {0};

	buf_clear(&c->in);
	c->status = 0;
	buf_fmt(&out, "%s %s HTTP/1.1\r\n%sContent-Length: %zu\r\n\r\n%s", method, path, fields, strlen(body), body);
	assert_int_equal(b->env.send(b->env.world, c->fd, out.data, out.len), out.len);
	buf_free(&out);
}

static void say(struct bench *b, int i, const char *method, const char *path, const char *body)
{
	say_with(b, i, "Host: localhost\r\nContent-Type: application/json\r\n", method, path, body);
}

/* One turn; then every client reads its answer. How many have one. */
static int turn(struct bench *b)
{
	int answers = 0;

	loop_turn(b->loop, 0);
	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &b->clients[i];
		const char *id;

		take(b, c);
		if (c->in.len == 0 || c->status)
			continue;
		c->status = atoi(c->in.data + 9);
		id = strstr(c->in.data, "\"id\":\"");
		snprintf(c->id, sizeof c->id, "%.36s", id ? id + 6 : "");
		answers++;
	}
	return answers;
}

static void say_step(struct bench *b, int i, int step)
{
	struct buf path = {0}, body = {0};

	buf_str(&body, "");
	if (step == 0) {
		say(b, i, "POST", "/api/commands", CREATE);
	} else if (step == 1) {
		buf_fmt(&path, "/api/commands/next?agentId=w%d", i);
		say(b, i, "GET", path.data, "");
	} else {
		buf_fmt(&path, "/api/commands/%s", b->clients[i].id);
		buf_fmt(&body, "{\"agentId\":\"w%d\",\"attempt\":1,\"status\":\"COMPLETED\",\"result\":{\"ok\":true}}", i);
		say(b, i, "PATCH", path.data, body.data);
	}
	buf_free(&path);
	buf_free(&body);
}

/* The first n clients say their step; all are answered within one turn, and the sync came between. */
static void step_together(struct bench *b, int n, int step)
{
	static const int status[] = { 201, 200, 200 };
	long syncs = faultvfs_syncs(b->fix->disk);

	for (int i = 0; i < n; i++)
		say_step(b, i, step);
	assert_int_equal(turn(b), n);
	assert_int_equal(faultvfs_unsynced(b->fix->disk), 0);
	assert_true(faultvfs_syncs(b->fix->disk) > syncs);
	assert_int_equal(b->early, 0);
	for (int i = 0; i < n; i++)
		assert_int_equal(b->clients[i].status, status[step]);
}

static void no_answer_leaves_before_its_sync(void **state)
{
	struct bench *b = *state;

	faultvfs_watch(b->fix->disk, at_act, b);
	for (int n = 1; n <= CLIENTS; n += 9)
		for (int step = 0; step < 3; step++)
			step_together(b, n, step);
}

static void who_is_ready_together_shares_a_sync(void **state)
{
	struct bench *b = *state;
	long syncs = faultvfs_syncs(b->fix->disk), changes = 0;

	for (int round = 0; round < 20; round++) {
		for (int step = 0; step < 3; step++) {
			step_together(b, CLIENTS, step);
			changes += CLIENTS;
		}
	}
	syncs = faultvfs_syncs(b->fix->disk) - syncs;
	print_message("%d at once: %ld acknowledged changes, %ld syncs, %.4f a change\n", CLIENTS, changes, syncs, (double)syncs / (double)changes);
	assert_true(syncs * 50 < changes);
}

static void one_refused_request_spoils_no_neighbour(void **state)
{
	struct bench *b = *state;

	for (int i = 0; i < CLIENTS; i++)
		say(b, i, "POST", "/api/commands", i % 3 == 1 ? "{\"type\":\"NO\"}" : i % 3 == 2 ? "{" : CREATE);
	assert_int_equal(turn(b), CLIENTS);
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(b->clients[i].status, i % 3 == 1 ? 422 : i % 3 == 2 ? 400 : 201);
	assert_string_equal(fix_ask(b->fix->path, "SELECT count(*) FROM commands"), "22");
}

/* And what memory held of it is forgotten: the work is handed out and the agent written down when there is room again. */
static void a_full_disk_refuses_the_whole_turn(void **state)
{
	struct bench *b = *state;
	const char *poll = "/api/commands/next?agentId=a&journalId=j&bootId=1-00000000";

	step_together(b, 2, 0);
	step_together(b, 1, 1);
	faultvfs_fail_writes(b->fix->disk, 0, SQLITE_FULL, ENOSPC);
	say_step(b, 0, 2);
	for (int i = 1; i < 4; i++)
		say_step(b, i, 0);
	say(b, 4, "GET", poll, "");
	assert_int_equal(turn(b), 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(b->clients[i].status, 503);
	faultvfs_fail_writes(b->fix->disk, -1, SQLITE_OK, 0);
	say(b, 0, "GET", "/api/commands?status=RUNNING", "");
	assert_int_equal(turn(b), 1);
	assert_non_null(strstr(b->clients[0].in.data, "\"status\":\"RUNNING\",\"attempt\":1"));
	say(b, 4, "GET", poll, "");
	assert_int_equal(turn(b), 1);
	assert_int_equal(b->clients[4].status, 200);
	assert_string_equal(fix_ask(b->fix->path, "SELECT count(*) FROM commands"), "2");
	assert_string_equal(fix_ask(b->fix->path, "SELECT agent_id || journal_id FROM agents WHERE agent_id = 'a'"), "aj");
	say(b, 5, "GET", "/api/commands/next?agentId=b", "");
	assert_int_equal(turn(b), 1);
	assert_int_equal(b->clients[5].status, 204);
}

/* It says its request and is gone before the server hears of either. */
static void say_and_go(struct bench *b, int i, const char *path)
{
	say(b, i, "GET", path, "");
	b->env.close(b->env.world, b->clients[i].fd);
	b->clients[i].fd = -1;
}

static void nothing_is_given_to_who_has_gone(void **state)
{
	struct bench *b = *state;
	const char *poll = "/api/commands/next?agentId=a&journalId=j&bootId=1-00000000";

	step_together(b, 1, 0);
	say_and_go(b, 1, poll);
	assert_int_equal(turn(b), 0);
	assert_string_equal(fix_ask(b->fix->path, "SELECT status FROM commands"), "PENDING");
	say(b, 2, "GET", poll, "");
	assert_int_equal(turn(b), 1);
	say_and_go(b, 3, poll);
	assert_int_equal(turn(b), 0);
	assert_string_equal(fix_ask(b->fix->path, "SELECT status || redelivered FROM commands"), "RUNNING0");
	say(b, 4, "GET", poll, "");
	assert_int_equal(turn(b), 1);
	assert_string_equal(fix_ask(b->fix->path, "SELECT status || redelivered FROM commands"), "RUNNING1");
}

/* C1 of claim.c. */
static void a_newer_poll_of_a_name_ends_the_older(void **state)
{
	struct bench *b = *state;
	const char *poll = "/api/commands/next?agentId=a&waitMs=9000";

	for (int i = 0; i < 3; i++) {
		say(b, i, "GET", poll, "");
		assert_int_equal(turn(b), i > 0);
	}
	assert_int_equal(b->clients[0].status, 204);
	assert_int_equal(b->clients[1].status, 204);
	say(b, 3, "POST", "/api/commands", CREATE);
	assert_int_equal(turn(b), 2);
	assert_int_equal(b->clients[2].status, 200);
	assert_int_equal(b->clients[3].status, 201);
}

static int poll_as(struct bench *b, int i, const char *agent_id, int boot)
{
	char path[128];

	snprintf(path, sizeof path, "/api/commands/next?agentId=%s&journalId=j&bootId=%d-00000000", agent_id, boot);
	say(b, i, "GET", path, "");
	assert_int_equal(turn(b), 1);
	return b->clients[i].status;
}

/* The connection of before has idled too long by now. */
static void connect_anew(struct bench *b, int i)
{
	b->clients[i].fd = fakeworld_connect(b->world, b->port);
	loop_turn(b->loop, 0);
}

/* A server's start counts as hearing every name it knows; a refused poll does not (C3). */
static void a_name_is_free_one_lease_after_the_start(void **state)
{
	static const struct { int64_t after_us; int status; } polls[] = { { 0, 409 }, { 15000000, 409 }, { 14000000, 409 }, { 2000000, 204 } };
	struct bench *b = *state;

	say(b, 0, "GET", "/api/commands/next?agentId=a&journalId=j&bootId=1-00000000", "");
	assert_int_equal(turn(b), 1);
	sleep_well(b, 40000000);
	api_free(b->api);
	loop_free(b->loop);
	serve(b, &plain, NULL);
	for (int i = 0; i < 4; i++) {
		sleep_well(b, polls[i].after_us);
		connect_anew(b, 0);
		say(b, 0, "GET", "/api/commands/next?agentId=a&journalId=k&bootId=1-00000000", "");
		assert_int_equal(turn(b), 1);
		assert_int_equal(b->clients[0].status, polls[i].status);
		assert_true((strstr(b->clients[0].in.data, "\"retryAfterMs\":") != NULL) == (polls[i].status == 409));
	}
}

/* Whoever runs something does not poll: its heartbeats keep its name, and its lease. */
static void a_heartbeat_keeps_name_and_lease(void **state)
{
	struct bench *b = *state;
	char path[64];

	step_together(b, 1, 0);
	assert_int_equal(poll_as(b, 1, "a", 1), 200);
	snprintf(path, sizeof path, "/api/commands/%s", b->clients[1].id);
	for (int i = 0; i < 3; i++) {
		sleep_well(b, 20000000);
		connect_anew(b, 2);
		say(b, 2, "PATCH", path, "{\"agentId\":\"a\",\"journalId\":\"j\",\"bootId\":\"1-00000000\",\"attempt\":1,\"status\":\"RUNNING\"}");
		assert_int_equal(turn(b), 1);
		assert_int_equal(b->clients[2].status, 200);
	}
	sleep_well(b, 28000000);
	connect_anew(b, 3);
	say(b, 3, "GET", "/api/commands/next?agentId=a&journalId=k&bootId=1-00000000", "");
	assert_int_equal(turn(b), 1);
	assert_int_equal(b->clients[3].status, 409);
	assert_string_equal(fix_ask(b->fix->path, "SELECT status FROM commands"), "RUNNING");
	sleep_well(b, 4000000);
	assert_string_equal(fix_ask(b->fix->path, "SELECT status FROM commands"), "PENDING");
}

/* An agent without a log sends no heartbeats and may ask for a longer lease; a start begins it anew, at its own length. */
static void a_longer_lease_is_kept_over_a_start(void **state)
{
	struct bench *b = *state;

	step_together(b, 1, 0);
	say(b, 1, "GET", "/api/commands/next?agentId=a&leaseMs=90000", "");
	assert_int_equal(turn(b), 1);
	assert_non_null(strstr(b->clients[1].in.data, "\"leaseMs\":90000"));
	sleep_well(b, 80000000);
	api_free(b->api);
	loop_free(b->loop);
	serve(b, &plain, NULL);
	sleep_well(b, 80000000);
	assert_string_equal(fix_ask(b->fix->path, "SELECT status FROM commands"), "RUNNING");
	sleep_well(b, 12000000);
	assert_string_equal(fix_ask(b->fix->path, "SELECT status FROM commands"), "PENDING");
}

/* min(waitMs, 20 s, a third of the lease). */
static void a_poll_is_parked_no_longer_than_a_third_of_the_lease(void **state)
{
	static const struct { const char *path; int64_t us; } polls[] = {
		{ "/api/commands/next?agentId=a&waitMs=9000", 9000000 }, { "/api/commands/next?agentId=a&waitMs=20000", 10000000 },
		{ "/api/commands/next?agentId=a&waitMs=60000&leaseMs=45000", 15000000 }, { "/api/commands/next?agentId=a&waitMs=60000&leaseMs=600000", 20000000 },
	};
	struct bench *b = *state;

	for (int i = 0; i < 4; i++) {
		connect_anew(b, 0);
		say(b, 0, "GET", polls[i].path, "");
		assert_int_equal(turn(b), 0);
		fakeworld_pass(b->world, polls[i].us - 1000);
		turn(b);
		assert_int_equal(b->clients[0].status, 0);
		fakeworld_pass(b->world, 2000);
		turn(b);
		turn(b);
		assert_int_equal(b->clients[0].status, 204);
		b->env.close(b->world, b->clients[0].fd);
	}
}

/* What the slots of an older boot held is given again, the same attempt, to slots of the newer one: to one's own name first, else to whoever asks, and once. */
static void pass_on(struct bench *b, bool disk_full)
{
	step_together(b, 2, 0);
	assert_int_equal(poll_as(b, 2, "a/1", 1), 200);
	assert_int_equal(poll_as(b, 3, "a/2", 1), 200);
	assert_int_equal(poll_as(b, 4, "a/1", 2), 200);
	assert_string_equal(b->clients[4].id, b->clients[2].id);
	if (disk_full) {
		faultvfs_fail_writes(b->fix->disk, 0, SQLITE_FULL, ENOSPC);
		assert_int_equal(poll_as(b, 5, "a/3", 2), 503);
		faultvfs_fail_writes(b->fix->disk, -1, SQLITE_OK, 0);
	}
	assert_int_equal(poll_as(b, 5, "a/3", 2), 200);
	assert_string_equal(b->clients[5].id, b->clients[3].id);
	assert_non_null(strstr(b->clients[5].in.data, "\"status\":\"RUNNING\",\"attempt\":1,"));
	assert_int_equal(poll_as(b, 6, "a/2", 2), 204);
	assert_int_equal(poll_as(b, 7, "a/4", 2), 204);
	assert_string_equal(fix_ask(b->fix->path, "SELECT group_concat(agent_id || redelivered) FROM commands"), "a/11,a/31");
}

static void what_a_vanished_slot_held_goes_to_another_once(void **state) { pass_on(*state, false); }
static void what_a_vanished_slot_held_outlives_a_failed_commit(void **state) { pass_on(*state, true); }

/* A database from a backup: nothing is handed out, again or anew, and each poll is told so, until somebody resumes it for good. Each start has a name of
 * its own, for the same copy may be put back twice. */
static void a_paused_server_hands_nothing_out(void **state)
{
	static const char field[] = "\r\nOnlyonce-Paused: ";
	struct bench *b = *state;
	char names[2][17];
	const char *at;

	step_together(b, 2, 0);
	assert_int_equal(poll_as(b, 2, "a/1", 1), 200);
	for (int life = 0; life < 2; life++) {
		api_free(b->api);
		loop_free(b->loop);
		serve(b, &plain, life == 0 ? "00ff" : NULL);
		assert_true(api_paused(b->api));
		assert_int_equal(poll_as(b, 3, "a/1", 2 + life), 204);
		at = strstr(b->clients[3].in.data, field);
		assert_true(at && strspn(at + sizeof field - 1, "0123456789abcdef") == 16);
		snprintf(names[life], sizeof names[life], "%s", at + sizeof field - 1);
		assert_int_equal(poll_as(b, 4, "a/2", 2 + life), 204);
	}
	assert_string_not_equal(names[0], names[1]);
	assert_string_equal(fix_ask(b->fix->path, "SELECT group_concat(status || redelivered) FROM commands"), "RUNNING0,PENDING0");
	api_resume(b->api);
	turn(b);
	assert_int_equal(poll_as(b, 3, "a/1", 3), 200);
	assert_int_equal(poll_as(b, 4, "a/2", 3), 200);
	api_free(b->api);
	loop_free(b->loop);
	serve(b, &plain, NULL);
	assert_false(api_paused(b->api));
}

/* What a page in somebody's browser can send is not obeyed: another name for this host, another origin, a form. */
static void what_a_browser_may_be_made_to_send_is_refused(void **state)
{
#define JSON "Content-Type: application/json\r\n"
	static const struct { const char *fields; int status; } heads[] = {
		{ "Host: localhost:3000\r\n" JSON, 201 }, { "Host: 127.0.0.1\r\n" JSON, 201 }, { "Host: [::1]:3000\r\n" JSON, 201 },
		{ "Host: evil.example\r\n" JSON, 421 }, { "Host: localhost.evil.example\r\n" JSON, 421 }, { "Host: evil.example:3000\r\n" JSON, 421 },
		{ "Host: localhost\r\nOrigin: http://localhost\r\n" JSON, 201 }, { "Host: localhost\r\nSec-Fetch-Site: same-origin\r\n" JSON, 201 },
		{ "Host: localhost\r\nOrigin: http://evil.example\r\n" JSON, 403 }, { "Host: localhost\r\nOrigin: null\r\n" JSON, 403 },
		{ "Host: localhost\r\nOrigin: http://localhost:8080\r\n" JSON, 403 }, { "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n" JSON, 403 },
		{ "Host: localhost\r\n", 415 }, { "Host: localhost\r\nContent-Type: text/plain\r\n", 415 }, { "Host: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n", 415 },
	};
	struct bench *b = *state;
	char created[16];
	int good = 0;

	for (int i = 0; i < (int)(sizeof heads / sizeof *heads); i++) {
		say_with(b, i, heads[i].fields, "POST", "/api/commands", CREATE);
		turn(b);
		turn(b);
		if (b->clients[i].status != heads[i].status)
			fail_msg("%s: %d", heads[i].fields, b->clients[i].status);
		good += heads[i].status == 201;
	}
	snprintf(created, sizeof created, "%d", good);
	assert_string_equal(fix_ask(b->fix->path, "SELECT count(*) FROM commands"), created);
#undef JSON
}

/* The whole token, and the one of the call: agents may poll and report, and nothing else. */
static void a_call_takes_its_own_token_only(void **state)
{
	static const struct { const char *token, *method, *path; int status; } calls[] = {
		{ NULL, "GET", "/health", 200 }, { NULL, "POST", "/api/commands", 401 }, { NULL, "GET", "/api/commands/next", 401 }, { NULL, "GET", "/nowhere", 401 },
		{ "Bearer api-secret", "POST", "/api/commands", 201 }, { "bearer api-secret", "GET", "/api/commands", 200 }, { "Bearer api-secret", "GET", "/api/commands/next", 200 },
		{ "Bearer agent-secret", "GET", "/api/commands/next?agentId=b", 204 }, { "Bearer agent-secret", "PATCH", "/api/commands/x", 422 },
		{ "Bearer agent-secret", "POST", "/api/commands", 401 }, { "Bearer agent-secret", "GET", "/api/commands", 401 }, { "Bearer agent-secret", "POST", "/api/commands/x/cancel", 401 },
		{ "Bearer agent-secret", "POST", "/api/commands/x/resolve", 401 }, { "Bearer agent-secret", "GET", "/api/agents", 401 },
		{ "Bearer api-secre", "POST", "/api/commands", 401 }, { "Bearer api-secretx", "POST", "/api/commands", 401 }, { "Bearer api-secretapi-secret", "POST", "/api/commands", 401 },
		{ "Bearer api-sEcret", "POST", "/api/commands", 401 }, { "Bearer ", "POST", "/api/commands", 401 }, { "Bearer", "POST", "/api/commands", 401 },
		{ "Basic api-secret", "POST", "/api/commands", 401 }, { "api-secret", "POST", "/api/commands", 401 },
	};
	struct bench *b = *state;
	char fields[160];

	for (int i = 0; i < (int)(sizeof calls / sizeof *calls); i++) {
		snprintf(fields, sizeof fields, "Host: localhost\r\nContent-Type: application/json\r\n%s%s%s", calls[i].token ? "Authorization: " : "",
			calls[i].token ? calls[i].token : "", calls[i].token ? "\r\n" : "");
		say_with(b, i, fields, calls[i].method, calls[i].path, strcmp(calls[i].method, "GET") == 0 ? "" : strcmp(calls[i].method, "PATCH") == 0 ? "{}" : CREATE);
		turn(b);
		turn(b);
		if (b->clients[i].status != calls[i].status)
			fail_msg("%s %s, %s: %d", calls[i].method, calls[i].path, calls[i].token ? calls[i].token : "no token", b->clients[i].status);
	}
	assert_string_equal(fix_ask(b->fix->path, "SELECT count(*) FROM commands"), "1");
}

/* One key, one request: all of it counts but what is left out and means the same. */
static void a_key_belongs_to_one_request(void **state)
{
#define KEYED(rest) "{\"type\":\"DELAY\",\"payload\":" rest "}"
	static const struct { const char *body; int status; } bodies[] = {
		{ KEYED("{\"ms\":10}"), 201 }, { KEYED("{\"ms\":10}"), 200 }, { KEYED("{\"ms\":10},\"isIdempotent\":false,\"maxAttempts\":5"), 200 },
		{ KEYED("{\"ms\":11}"), 422 }, { KEYED("{\"ms\":100}"), 422 }, { KEYED("{\"ms\":10},\"isIdempotent\":true"), 422 }, { KEYED("{\"ms\":10},\"maxAttempts\":4"), 422 },
		{ "{\"type\":\"HTTP_GET_JSON\",\"payload\":{\"url\":\"http://127.0.0.1/\"}}", 422 },
	};
	struct bench *b = *state;

	for (int i = 0; i < (int)(sizeof bodies / sizeof *bodies); i++) {
		say_with(b, i, "Host: localhost\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n", "POST", "/api/commands", bodies[i].body);
		assert_int_equal(turn(b), 1);
		if (b->clients[i].status != bodies[i].status)
			fail_msg("%s: %d", bodies[i].body, b->clients[i].status);
	}
	assert_string_equal(fix_ask(b->fix->path, "SELECT count(*) FROM commands"), "1");
#undef KEYED
}

/* A body says each thing once, and a create says nothing that is not known. */
static void doubled_and_unknown_members_are_refused(void **state)
{
#define PAYLOAD "\"type\":\"DELAY\",\"payload\":{\"ms\":0}"
	static const struct { const char *body; int status; } bodies[] = {
		{ "{" PAYLOAD "}", 201 }, { "{" PAYLOAD ",\"isIdempotent\":false,\"isIdempotent\":true}", 422 }, { "{" PAYLOAD ",\"type\":\"DELAY\"}", 422 },
		{ "{" PAYLOAD ",\"typ\\u0065\":\"DELAY\"}", 422 }, { "{" PAYLOAD ",\"idempotent\":true}", 422 }, { "{" PAYLOAD ",\"\":1}", 422 }, { "[]", 422 }, { "{" PAYLOAD, 400 },
	};
	struct bench *b = *state;
	char path[64];

	for (int i = (int)(sizeof bodies / sizeof *bodies) - 1; i >= 0; i--) {
		say(b, i, "POST", "/api/commands", bodies[i].body);
		assert_int_equal(turn(b), 1);
		if (b->clients[i].status != bodies[i].status)
			fail_msg("%s: %d", bodies[i].body, b->clients[i].status);
	}
	assert_string_equal(fix_ask(b->fix->path, "SELECT count(*) FROM commands"), "1");
	snprintf(path, sizeof path, "/api/commands/%s", b->clients[0].id);
	say_step(b, 0, 1);
	assert_int_equal(turn(b), 1);
	say(b, 1, "PATCH", path, "{\"agentId\":\"w0\",\"status\":\"RUNNING\",\"status\":\"COMPLETED\"}");
	say(b, 2, "PATCH", path, "{\"agentId\":\"w0\",\"status\":\"RUNNING\",\"mood\":\"good\"}");
	assert_int_equal(turn(b), 2);
	assert_int_equal(b->clients[1].status, 422);
	assert_int_equal(b->clients[2].status, 200);
	assert_string_equal(fix_ask(b->fix->path, "SELECT status FROM commands"), "RUNNING");
#undef PAYLOAD
}

/* Memory holds the head of the queue only (READY_MAX of dispatch.c), and fetches more of it READY_FETCH at a time: what stands beyond comes in its turn. */
static void what_waits_beyond_memory_comes_in_its_turn(void **state)
{
	struct bench *b = *state;
	int64_t row, nonce, created_at;

	say(b, 0, "GET", "/api/commands/next?agentId=first", "");      /* from now on memory holds all there is, until it is full */
	assert_int_equal(turn(b), 1);
	for (int round = 0; round < QUEUE / CLIENTS; round++)
		step_together(b, CLIENTS, 0);
	for (int64_t round = 0; round < QUEUE / CLIENTS; round++) {
		step_together(b, CLIENTS, 1);
		for (int i = 0; i < CLIENTS; i++) {
			assert_true(id_parse(b->clients[i].id, strlen(b->clients[i].id), &row, &nonce, &created_at));
			assert_in_range(row, round * CLIENTS + 1, (round + 1) * CLIENTS);
		}
		step_together(b, CLIENTS, 2);
	}
}

static void poll_together(struct bench *b, int round)
{
	char path[64];

	for (int i = 0; i < CLIENTS; i++) {
		snprintf(path, sizeof path, "/api/commands/next?agentId=n%d", round * CLIENTS + i);
		say(b, i, "GET", path, "");
	}
	assert_int_equal(turn(b), CLIENTS);
}

/* Memory holds only so many names (HEARD_MAX of dispatch.c); those who are alive are not among the forgotten. */
static void a_live_name_is_kept_however_many_there_are(void **state)
{
	struct bench *b = *state;

	for (int i = 0; i < 4; i++) {
		sleep_well(b, 9000000);                                /* the start, which counts as hearing every name, is a lease ago */
		poll_together(b, 0);
	}
	say(b, 0, "GET", "/api/commands/next?agentId=a&journalId=j&bootId=1-00000000", "");
	assert_int_equal(turn(b), 1);
	assert_int_equal(b->clients[0].status, 204);
	for (int round = 1; round <= NAMES / CLIENTS; round++)
		poll_together(b, round);
	say(b, 0, "GET", "/api/commands/next?agentId=a&journalId=k&bootId=1-00000000", "");
	assert_int_equal(turn(b), 1);
	assert_int_equal(b->clients[0].status, 409);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(no_answer_leaves_before_its_sync), CASE(who_is_ready_together_shares_a_sync), CASE(one_refused_request_spoils_no_neighbour),
		CASE(a_full_disk_refuses_the_whole_turn), CASE(nothing_is_given_to_who_has_gone), CASE(a_newer_poll_of_a_name_ends_the_older),
		CASE(a_name_is_free_one_lease_after_the_start), CASE(a_heartbeat_keeps_name_and_lease), CASE(a_longer_lease_is_kept_over_a_start),
		CASE(a_poll_is_parked_no_longer_than_a_third_of_the_lease), CASE(what_a_vanished_slot_held_goes_to_another_once),
		CASE(what_a_vanished_slot_held_outlives_a_failed_commit), CASE(a_paused_server_hands_nothing_out),
		CASE(what_a_browser_may_be_made_to_send_is_refused), CASE(doubled_and_unknown_members_are_refused), CASE(a_key_belongs_to_one_request),
		cmocka_unit_test_setup_teardown(a_call_takes_its_own_token_only, setup_guarded, teardown), CASE(what_waits_beyond_memory_comes_in_its_turn),
		CASE(a_live_name_is_kept_however_many_there_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
