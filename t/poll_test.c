/* poll: an agent's slots against a server that is a script: what is begun, what is told, and in which order (P1 to P5 of poll.c). A real journal, whose
 * disk can be full; sockets and a clock in memory. */
#include "dbfix.h"
#include "fakeworld.h"
#include "../poll.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define X "018bcfe5-7925-7aa5-8561-8d0000000002"
#define Y "018bcfe5-7925-7aa5-8561-8d0000000003"
#define LEASE_US 3000000
#define LIMIT 2000                                             /* turns of 10 ms after which what is awaited does not come */

struct bench {
	struct fix *fix;
	struct fakeworld *world;
	struct env env;
	struct loop *loop;
	struct journal *journal;
	struct poll *poll;
	struct http_url url;
	int listener, begun;                                       /* begun: effects */
	struct buf request;                                        /* the last one */
	void (*at[POINT_COUNT])(struct bench *);                   /* what happens there */
};

/* Every door's world is the fake one; what a point needs is found through this. */
static struct bench *here;

static void no_log(void *world, const char *line)
{
	(void)world;
	(void)line;
}

static void point(void *world, enum env_point at, const char *id, int64_t attempt)
{
	(void)world;
	(void)id;
	(void)attempt;
	here->begun += at == POINT_EFFECT;
	if (here->at[at])
		here->at[at](here);
}

static void open_journal(struct bench *b)
{
	b->journal = journal_open(&b->env, b->fix->path, false, &b->fix->err);
	if (!b->journal)
		fail_msg("%s", b->fix->err.data);
}

static int set_up(void **state)
{
	struct bench *b = mem_new(sizeof *b);
	char text[64];
	int port;
	void *fix;

	must(fix_enter(&fix) == 0);
	here = b;
	b->fix = fix;
	fix_disk(b->fix);
	b->world = fakeworld_new(1);
	fakeworld_env(b->world, &b->env);
	b->env.vfs = b->fix->env.vfs;
	b->env.log = no_log;
	b->env.point = point;
	b->loop = loop_new(&b->env);
	b->listener = fakeworld_listen(b->world, 0, &port);
	snprintf(text, sizeof text, "http://127.0.0.1:%d", port);
	assert_null(http_url_read(text, strlen(text), &b->url));
	open_journal(b);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;
	void *fix = b->fix;

	poll_free(b->poll);
	b->env.close(b->world, b->listener);
	loop_free(b->loop);
	journal_close(b->journal);
	fakeworld_free(b->world);
	http_url_free(&b->url);
	buf_free(&b->request);
	fix_leave(&fix);
	free(b);
	return 0;
}

static void start(struct bench *b, int slots)
{
	struct poll_settings set = { .server = &b->url, .name = "a", .slots = slots, .interval_ms = 1000, .keep_days = 30 };

	b->poll = poll_new(b->loop, &b->env, b->journal, &set);
}

/* The server's side. */

static void turn(struct bench *b)
{
	fakeworld_pass(b->world, 10000);
	loop_turn(b->loop, 0);
}

/* The next request, which begins with `line`: its connection. */
static int take(struct bench *b, const char *line)
{
	struct sockaddr_storage peer;
	socklen_t len;
	char piece[4096];
	ssize_t n;
	int fd = -1;

	for (int i = 0; i < LIMIT && fd < 0; i++) {
		turn(b);
		fd = b->env.accept(b->world, b->listener, &peer, &len);
	}
	if (fd < 0)
		fail_msg("no request comes, where one was awaited: %s", line);
	buf_clear(&b->request);
	turn(b);
	while ((n = b->env.recv(b->world, fd, piece, sizeof piece)) > 0)
		buf_add(&b->request, piece, (size_t)n);
	if (strncmp(b->request.data, line, strlen(line)) != 0)
		fail_msg("awaited %s, and got %s", line, b->request.data);
	return fd;
}

static void nothing_comes(struct bench *b)
{
	struct sockaddr_storage peer;
	socklen_t len;

	for (int i = 0; i < LIMIT; i++) {
		turn(b);
		assert_int_equal(b->env.accept(b->world, b->listener, &peer, &len), -1);
	}
}

static void answer(struct bench *b, int fd, int status, const char *body)
{
	struct buf out = {0};

	buf_fmt(&out, "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nConnection: close\r\n", status);
	if (status != 204)
		buf_fmt(&out, "Content-Length: %zu\r\n", strlen(body));
	buf_fmt(&out, "\r\n%s", body);
	assert_int_equal(b->env.send(b->world, fd, out.data, out.len), out.len);
	buf_free(&out);
	b->env.close(b->world, fd);
}

static void give(struct bench *b, int fd, const char *id, int64_t attempt, int64_t delay_ms)
{
	struct buf body = {0};

	buf_fmt(&body, "{\"id\":\"%s\",\"type\":\"DELAY\",\"payload\":{\"ms\":%lld},\"isIdempotent\":false,\"attempt\":%lld,\"leaseMs\":%d}", id, (long long)delay_ms,
		(long long)attempt, LEASE_US / 1000);
	answer(b, fd, 200, body.data);
	buf_free(&body);
}

/* A report of that status and attempt comes; it is answered unless fd is asked for. */
static void told(struct bench *b, const char *id, int64_t attempt, const char *status, int *fd)
{
	char line[80], text[64];
	struct buf body = {0};
	int at;

	snprintf(line, sizeof line, "PATCH /api/commands/%s ", id);
	at = take(b, line);
	snprintf(text, sizeof text, "\"attempt\":%lld,\"status\":\"%s\"", (long long)attempt, status);
	if (!strstr(b->request.data, text))
		fail_msg("awaited %s, and got %s", text, b->request.data);
	buf_fmt(&body, "{\"id\":\"%s\",\"cancelRequested\":false}", id);
	if (fd)
		*fd = at;
	else
		answer(b, at, 200, body.data);
	buf_free(&body);
}

#define POLL "GET /api/commands/next?"

/* An entry of an earlier boot. */
static void write_entry(struct bench *b, const char *id, int64_t attempt, enum journal_state state, bool answered)
{
	struct journal_entry e = { .attempt = attempt, .agent_id = "a", .type = "DELAY" };

	strcpy(e.id, id);
	if (state == JOURNAL_NOT_STARTED)
		journal_not_started(b->journal, &e);
	else
		journal_start(b->journal, &e);
	if (state == JOURNAL_FINISHED)
		journal_finish(b->journal, id, attempt, true, FAILURE_NONE, "{\"ok\":true}", 11, NULL);
	if (answered)
		journal_answered(b->journal, id, attempt, ANSWER_ANSWERED);
	assert_int_equal(journal_commit(b->journal), DB_OK);
}

static const char *entry_state(struct bench *b, const char *id)
{
	struct buf sql = {0};
	const char *text;

	buf_fmt(&sql, "SELECT state FROM entries WHERE command_id = '%s'", id);
	text = fix_ask(b->fix->path, sql.data);
	buf_free(&sql);
	return text;
}

static void full(struct bench *b) { faultvfs_fail_writes(b->fix->disk, 0, SQLITE_FULL, ENOSPC); }
static void roomy(struct bench *b) { faultvfs_fail_writes(b->fix->disk, -1, SQLITE_OK, 0); }

/* Cases. */

static void one_command_goes_its_way(void **state)
{
	struct bench *b = *state;

	start(b, 1);
	give(b, take(b, POLL), X, 1, 0);
	told(b, X, 1, "COMPLETED", NULL);
	assert_string_equal(entry_state(b, X), "FINISHED");
	answer(b, take(b, POLL), 204, "");
	assert_int_equal(b->begun, 1);
}

/* P2: whatever the server says, an attempt that is held, or older than one that is, is answered with what is held. */
static void what_is_held_is_told_and_never_begun(void **state)
{
	static const struct { enum journal_state state; const char *told; } held[] = {
		{ JOURNAL_STARTED, "INTERRUPTED" }, { JOURNAL_FINISHED, "COMPLETED" }, { JOURNAL_NOT_STARTED, "NOT_STARTED" },
	};
	struct bench *b = *state;
	char id[ID_TEXT] = X;

	for (int i = 0; i < 3; i++) {
		id[ID_TEXT - 2] = (char)('3' + i);
		write_entry(b, id, 2, held[i].state, true);
	}
	start(b, 1);
	for (int64_t attempt = 2; attempt > 0; attempt--) {
		for (int i = 0; i < 3; i++) {
			id[ID_TEXT - 2] = (char)('3' + i);
			give(b, take(b, POLL), id, attempt, 0);
			told(b, id, 2, held[i].told, NULL);
		}
	}
	assert_int_equal(b->begun, 0);
}

/* P3. */
static void nothing_is_asked_for_before_all_that_is_owed_is_answered(void **state)
{
	struct bench *b = *state;
	char id[ID_TEXT] = X;
	int fd;

	write_entry(b, X, 1, JOURNAL_STARTED, false);
	start(b, 2);
	for (int i = 0; i < 3; i++) {
		told(b, id, 1, "INTERRUPTED", &fd);
		answer(b, fd, 503, "{}");
	}
	told(b, id, 1, "INTERRUPTED", NULL);
	answer(b, take(b, POLL), 204, "");
	assert_int_equal(b->begun, 0);
}

static void a_lease_goes_by(struct bench *b) { fakeworld_pass(b->world, LEASE_US + 1); }

/* P4, both looks at the clock. */
static void what_is_older_than_its_lease_is_not_begun(void **state)
{
	struct bench *b = *state;
	int fd;

	start(b, 1);
	fd = take(b, POLL);
	a_lease_goes_by(b);
	give(b, fd, X, 1, 0);
	told(b, X, 1, "NOT_STARTED", NULL);
	assert_string_equal(entry_state(b, X), "NOT_STARTED");
	b->at[POINT_STARTED] = a_lease_goes_by;
	give(b, take(b, POLL), Y, 1, 0);
	for (int i = 0; i < LIMIT && strcmp(entry_state(b, Y), "STARTED") != 0; i++)
		turn(b);
	assert_true(loop_due_us(b->loop) <= fakeworld_now_us(b->world));        /* nothing else would wake it to write the tombstone */
	told(b, Y, 1, "NOT_STARTED", NULL);
	assert_string_equal(entry_state(b, Y), "NOT_STARTED");
	assert_int_equal(b->begun, 0);
}

/* P5. */
static void without_room_for_its_beginning_a_command_is_handed_back(void **state)
{
	struct bench *b = *state;

	start(b, 1);
	b->at[POINT_BEFORE_STARTED] = full;
	give(b, take(b, POLL), X, 1, 0);
	nothing_comes(b);
	b->at[POINT_BEFORE_STARTED] = NULL;
	roomy(b);
	told(b, X, 1, "NOT_STARTED", NULL);
	assert_non_null(strstr(b->request.data, "no room"));
	assert_string_equal(entry_state(b, X), "NOT_STARTED");
	assert_int_equal(b->begun, 0);
	give(b, take(b, POLL), Y, 1, 0);
	told(b, Y, 1, "COMPLETED", NULL);
}

static void without_room_for_its_end_a_command_is_told_from_memory(void **state)
{
	struct bench *b = *state;

	start(b, 1);
	b->at[POINT_EFFECT] = full;
	give(b, take(b, POLL), X, 1, 0);
	told(b, X, 1, "COMPLETED", NULL);
	nothing_comes(b);
	assert_string_equal(entry_state(b, X), "STARTED");
	roomy(b);
	answer(b, take(b, POLL), 204, "");
	assert_string_equal(entry_state(b, X), "FINISHED");
	assert_int_equal(b->begun, 1);
}

/* A put-back database gives a second slot what the first is at work on: it goes on once, and is told under the second's name. */
static void two_slots_never_work_on_one_command(void **state)
{
	struct bench *b = *state;
	int first, second;

	start(b, 2);
	first = take(b, POLL);
	second = take(b, POLL "agentId=a%2F2");
	give(b, first, X, 1, 500);
	turn(b);
	turn(b);
	give(b, second, X, 1, 500);
	told(b, X, 1, "COMPLETED", NULL);
	assert_non_null(strstr(b->request.data, "\"agentId\":\"a/2\""));
	answer(b, take(b, POLL), 204, "");
	answer(b, take(b, POLL), 204, "");
	assert_int_equal(b->begun, 1);
}

/* A heartbeat a third of the lease apart; no silence and no refusal stops what runs, but for the three words that mean it. */
static void only_the_servers_word_stops_what_runs(void **state)
{
	static const struct { int status; const char *body; } stops[] = {
		{ 200, "{\"id\":\"" X "\",\"cancelRequested\":true}" }, { 409, "{\"code\":\"STALE_ATTEMPT\"}" }, { 409, "{\"code\":\"ALREADY_SETTLED\"}" },
	};
	static const int refusals[] = { 200, 503, 404, 401, 500 };
	struct bench *b = *state;
	int64_t begun_us;
	int fd;

	start(b, 1);
	for (int i = 0; i < 3; i++) {
		give(b, take(b, POLL), X, i + 1, DELAY_MS_MAX);
		for (int k = 0; k < 5; k++) {
			begun_us = fakeworld_now_us(b->world);
			told(b, X, i + 1, "RUNNING", &fd);
			assert_in_range(fakeworld_now_us(b->world) - begun_us, LEASE_US / 3 - 100000, LEASE_US / 3 + 100000);
			answer(b, fd, refusals[k], "{}");
		}
		told(b, X, i + 1, "RUNNING", &fd);
		answer(b, fd, stops[i].status, stops[i].body);
		told(b, X, i + 1, "FAILED", NULL);
		assert_non_null(strstr(b->request.data, "\"failureCode\":\"CANCELLED\""));
	}
	assert_int_equal(b->begun, 3);
}

static void a_stopping_agent_hands_back_what_it_is_given_now(void **state)
{
	struct bench *b = *state;
	int parked, last;

	start(b, 1);
	parked = take(b, POLL);
	poll_drain(b->poll);
	last = take(b, POLL);
	assert_non_null(strstr(b->request.data, "waitMs=0 "));
	give(b, last, X, 1, 0);
	told(b, X, 1, "NOT_STARTED", NULL);
	nothing_comes(b);
	assert_true(poll_ended(b->poll) && !poll_failed(b->poll));
	assert_int_equal(b->begun, 0);
	b->env.close(b->world, parked);
}

static void a_stopping_agent_ends_what_it_runs_and_asks_for_no_more(void **state)
{
	struct bench *b = *state;

	start(b, 1);
	give(b, take(b, POLL), X, 1, 500);
	turn(b);
	turn(b);
	assert_int_equal(b->begun, 1);
	poll_drain(b->poll);
	told(b, X, 1, "COMPLETED", NULL);
	nothing_comes(b);
	assert_true(poll_ended(b->poll) && !poll_failed(b->poll));
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(one_command_goes_its_way), CASE(what_is_held_is_told_and_never_begun), CASE(nothing_is_asked_for_before_all_that_is_owed_is_answered),
		CASE(what_is_older_than_its_lease_is_not_begun), CASE(without_room_for_its_beginning_a_command_is_handed_back),
		CASE(without_room_for_its_end_a_command_is_told_from_memory), CASE(two_slots_never_work_on_one_command),
		CASE(only_the_servers_word_stops_what_runs),
		CASE(a_stopping_agent_hands_back_what_it_is_given_now), CASE(a_stopping_agent_ends_what_it_runs_and_asks_for_no_more),
	};

	return cmocka_run_group_tests_name("poll", tests, NULL, NULL);
}
