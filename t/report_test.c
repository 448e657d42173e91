/* report: what each answer means for a record and for a heartbeat, and when it is sent again, over sockets and a clock in memory. */
#include "fakeworld.h"
#include "../report.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ID "018bcfe5-7925-7aa5-8561-8d0000000002"
#define OTHER "018bcfe5-7925-7aa5-8561-8d0000000003"
#define MINE "{\"id\":\"" ID "\",\"cancelRequested\":false}"
#define CODE(code) "{\"title\":\"no\",\"code\":\"" code "\"}"
#define LEASE_MS 30000
#define PAUSE_US 5000000                                       /* the longest, with such a lease */

struct bench {
	struct fakeworld *world;
	struct env env;
	struct loop *loop;
	struct http_url url;
	struct server_place place;
	int listener;
	int fates, beats;                                          /* how many calls of done */
	enum report_fate fate;
	enum beat beat;
};

static void no_log(void *world, const char *line)
{
	(void)world;
	(void)line;
}

static int set_up(void **state)
{
	struct bench *b = mem_new(sizeof *b);
	char text[64];
	int port;

	b->world = fakeworld_new(1);
	fakeworld_env(b->world, &b->env);
	b->env.log = no_log;
	b->loop = loop_new(&b->env);
	b->listener = fakeworld_listen(b->world, 0, &port);
	snprintf(text, sizeof text, "http://127.0.0.1:%d", port);
	assert_null(http_url_read(text, strlen(text), &b->url));
	b->place = (struct server_place){ .url = &b->url, .journal_id = "j", .boot_id = "1-00000000", .lease_ms = LEASE_MS };
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	b->env.close(b->world, b->listener);
	assert_int_equal(fakeworld_open(b->world), 0);
	loop_free(b->loop);
	fakeworld_free(b->world);
	http_url_free(&b->url);
	free(b);
	return 0;
}

static void turns(struct bench *b, int n)
{
	for (; n > 0; n--) {
		fakeworld_pass(b->world, 1);
		loop_turn(b->loop, 0);
	}
}

static void done(void *arg, enum report_fate fate)
{
	struct bench *b = arg;

	b->fates++;
	b->fate = fate;
}

static void beat_done(void *arg, enum beat beat)
{
	struct bench *b = arg;

	b->beats++;
	b->beat = beat;
}

/* The next request at the server: its connection, or -1 where none has come. */
static int take(struct bench *b)
{
	struct sockaddr_storage peer;
	struct buf in = {0};
	char piece[4096];
	socklen_t len;
	ssize_t n;
	int fd;

	turns(b, 20);
	fd = b->env.accept(b->world, b->listener, &peer, &len);
	if (fd < 0)
		return fd;
	turns(b, 20);
	while ((n = b->env.recv(b->world, fd, piece, sizeof piece)) > 0)
		buf_add(&in, piece, (size_t)n);
	assert_non_null(strstr(in.data, "PATCH /api/commands/" ID " HTTP/1.1\r\n"));
	assert_non_null(strstr(in.data, "\"attempt\":7"));
	buf_free(&in);
	return fd;
}

/* Status 0: the connection ends without a word. */
static void answer(struct bench *b, int fd, int status, const char *body)
{
	struct buf out = {0};

	buf_fmt(&out, "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(body), body);
	if (status)
		assert_int_equal(b->env.send(b->world, fd, out.data, out.len), out.len);
	buf_free(&out);
	b->env.close(b->world, fd);
	turns(b, 20);
}

static struct report_content content(enum report report)
{
	return (struct report_content){ .id = ID, .attempt = 7, .agent_id = "a", .report = report, .failure = FAILURE_NONE };
}

/* Only what the server says of this very command ends the repeating. */
static const struct { int status; const char *body; enum { ANSWERED, ORPHANED, AGAIN } means; } answers[] = {
	{ 200, MINE, ANSWERED }, { 200, "{\"id\":\"" OTHER "\"}", AGAIN }, { 200, "{}", AGAIN }, { 200, "[\"" ID "\"]", AGAIN }, { 200, "<html>welcome</html>", AGAIN }, { 200, "", AGAIN },
	{ 409, CODE("STALE_ATTEMPT"), ANSWERED }, { 409, CODE("ALREADY_SETTLED"), ANSWERED }, { 409, CODE("NOT_HOLDER"), ORPHANED }, { 409, "<html>", ORPHANED },
	{ 400, CODE("MALFORMED"), ORPHANED }, { 404, CODE("NOT_FOUND"), ORPHANED }, { 413, "", ORPHANED }, { 422, CODE("VALIDATION"), ORPHANED },
	{ 401, CODE("UNAUTHORIZED"), AGAIN }, { 403, CODE("FORBIDDEN"), AGAIN }, { 408, CODE("TIMEOUT"), AGAIN }, { 429, "", AGAIN },
	{ 500, "", AGAIN }, { 502, "<html>", AGAIN }, { 503, CODE("STORAGE"), AGAIN }, { 202, MINE, AGAIN }, { 204, "", AGAIN }, { 302, MINE, AGAIN }, { 0, "", AGAIN },
};

static void a_record_is_sent_until_it_is_answered(void **state)
{
	struct bench *b = *state;
	struct report_content c = content(REPORT_COMPLETED);

	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		b->fates = 0;
		report_send(b->loop, &b->env, &b->place, NULL, &c, done, b);
		for (int tries = 0; tries < (answers[i].means == AGAIN ? 5 : 1); tries++) {
			assert_int_equal(b->fates, 0);
			answer(b, take(b), answers[i].status, answers[i].body);
			fakeworld_pass(b->world, PAUSE_US);
		}
		if (answers[i].means == AGAIN)
			answer(b, take(b), 200, MINE);
		if (b->fates != 1 || b->fate != (answers[i].means == ORPHANED ? REPORT_ORPHANED : REPORT_ANSWERED))
			fail_msg("%d %s: %d calls, fate %d", answers[i].status, answers[i].body, b->fates, b->fate);
		fakeworld_pass(b->world, PAUSE_US);
		assert_int_equal(take(b), -1);
	}
}

static const struct { int status; const char *body; enum beat beat; } beats[] = {
	{ 200, MINE, BEAT_GO_ON }, { 200, "{\"id\":\"" ID "\",\"cancelRequested\":true}", BEAT_CANCEL }, { 200, "{\"id\":\"" OTHER "\",\"cancelRequested\":true}", BEAT_UNHEARD },
	{ 409, CODE("STALE_ATTEMPT"), BEAT_STOP }, { 409, CODE("ALREADY_SETTLED"), BEAT_STOP }, { 409, CODE("NOT_HOLDER"), BEAT_UNHEARD },
	{ 401, CODE("UNAUTHORIZED"), BEAT_UNHEARD }, { 404, CODE("NOT_FOUND"), BEAT_UNHEARD }, { 503, CODE("STORAGE"), BEAT_UNHEARD }, { 0, "", BEAT_UNHEARD },
};

/* And nothing but the server's own word stops what runs: no outage does. */
static void a_heartbeat_is_sent_once_and_stops_only_what_is_overruled(void **state)
{
	struct bench *b = *state;
	struct report_content c = content(REPORT_RUNNING);

	for (size_t i = 0; i < sizeof beats / sizeof *beats; i++) {
		b->beats = 0;
		report_beat(b->loop, &b->env, &b->place, NULL, &c, beat_done, b);
		answer(b, take(b), beats[i].status, beats[i].body);
		if (b->beats != 1 || b->beat != beats[i].beat)
			fail_msg("%d %s: %d calls, beat %d", beats[i].status, beats[i].body, b->beats, b->beat);
		fakeworld_pass(b->world, PAUSE_US);
		assert_int_equal(take(b), -1);
	}
}

/* Full jitter below a bound that doubles up to min(5 s, lease / 3): all of the range is used, and nothing above it. */
static void pauses_grow_up_to_their_cap(void **state)
{
	static const struct { int64_t lease_ms; int tries; int64_t most_us; } caps[] = {
		{ 30000, 0, 100000 }, { 30000, 1, 200000 }, { 30000, 5, 3200000 }, { 30000, 6, 5000000 }, { 30000, 1000000, 5000000 }, { 600, 5, 200000 }, { 3, 0, 1000 },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
		int64_t least = INT64_MAX, most = 0;
		b->place.lease_ms = caps[i].lease_ms;
		for (int n = 0; n < 1000; n++) {
			int64_t us = report_pause_us(&b->env, &b->place, caps[i].tries);
			least = us < least ? us : least;
			most = us > most ? us : most;
		}
		assert_in_range(least, 0, caps[i].most_us / 20);
		assert_in_range(most, caps[i].most_us * 19 / 20, caps[i].most_us);
	}
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_record_is_sent_until_it_is_answered), CASE(a_heartbeat_is_sent_once_and_stops_only_what_is_overruled), CASE(pauses_grow_up_to_their_cap),
	};

	return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
