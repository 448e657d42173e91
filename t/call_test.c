/* call, guard: answers good and hostile, deadlines, kept connections, on sockets and a clock in memory: whole, byte by byte, and cut in every two pieces. */
#include "fakeworld.h"
#include "../call.h"
#include "../lookup.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define MS 1000
#define BODY_MAX 1000
#define LIMIT 100000                                           /* turns after which a test has hung */

struct bench {
	struct fakeworld *world;
	struct env env;
	struct loop *loop;
	int listener, port;
	struct call_spec spec;
	struct http_url url;
	/* the last answer */
	int calls, status;
	bool timeout, sent, truncated;
	struct buf error, body;
	struct call *then;                                         /* started from within done when again is set */
	bool again;
};

static void read_url(struct bench *b, const char *path)
{
	char text[300];

	snprintf(text, sizeof text, "http://127.0.0.1:%d%s", b->port, path);
	http_url_free(&b->url);
	assert_null(http_url_read(text, strlen(text), &b->url));
}

static int set_up(void **state)
{
	struct bench *b = mem_new(sizeof *b);

	b->world = fakeworld_new(1);
	fakeworld_env(b->world, &b->env);
	b->loop = loop_new(&b->env);
	b->listener = fakeworld_listen(b->world, 0, &b->port);
	read_url(b, "/a?b");
	b->spec = (struct call_spec){ .method = "GET", .url = &b->url, .deadline_us = fakeworld_now_us(b->world) + 30000 * MS, .body_max = BODY_MAX };
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
	buf_free(&b->error);
	buf_free(&b->body);
	free(b);
	return 0;
}

static void turn(struct bench *b)
{
	fakeworld_pass(b->world, 1);
	loop_turn(b->loop, 0);
}

static void turns(struct bench *b, int n)
{
	while (n-- > 0)
		turn(b);
}

static void done(void *arg, const struct call_answer *a)
{
	struct bench *b = arg;

	b->calls++;
	b->status = a->status;
	b->timeout = a->timeout;
	b->sent = a->sent;
	b->truncated = a->truncated;
	buf_clear(&b->error);
	buf_clear(&b->body);
	buf_str(&b->error, a->error ? a->error : "");
	buf_add(&b->body, a->body, a->body_len);
	assert_true(a->error ? !a->head && a->status == 0 : a->head->status == a->status);
	if (b->again) {
		b->again = false;
		b->then = call_start(b->loop, &b->env, &b->spec, done, b);
	}
}

static struct call *start(struct bench *b)
{
	b->calls = 0;
	return call_start(b->loop, &b->env, &b->spec, done, b);
}

static int accept_one(struct bench *b)
{
	struct sockaddr_storage peer;
	socklen_t len;

	return b->env.accept(b->world, b->listener, &peer, &len);
}

/* The server's side of a connection, once the whole head of the request is in *request. -1: the call ended first. */
static int take(struct bench *b, struct buf *request)
{
	char piece[4096];
	int fd = -1;

	buf_clear(request);
	for (int i = 0; i < LIMIT && b->calls == 0; i++) {
		turn(b);
		fd = fd < 0 ? accept_one(b) : fd;
		ssize_t n = fd < 0 ? 0 : b->env.recv(b->world, fd, piece, sizeof piece);
		if (n > 0)
			buf_add(request, piece, (size_t)n);
		if (request->len && strstr(request->data, "\r\n\r\n"))
			return fd;
	}
	return fd;
}

static int take_any(struct bench *b)
{
	struct buf request = {0};
	int fd = take(b, &request);

	buf_free(&request);
	return fd;
}

/* Sends as much as the call takes before it ends. */
static void say(struct bench *b, int fd, const char *p, size_t n)
{
	for (int i = 0; i < LIMIT && n > 0 && b->calls == 0; i++) {
		ssize_t put = b->env.send(b->world, fd, p, n);
		if (put > 0) {
			p += put;
			n -= (size_t)put;
		}
		turn(b);
	}
}

static void say_text(struct bench *b, int fd, const char *text)
{
	say(b, fd, text, strlen(text));
}

static void finish(struct bench *b)
{
	for (int i = 0; i < LIMIT && b->calls == 0; i++)
		turn(b);
	assert_int_equal(b->calls, 1);
}

/* One answer on a fresh connection, whole or in pieces; the server closes at once, or only after the call has ended. */
static void play(struct bench *b, const char *p, size_t n, size_t first, bool closes)
{
	int fd;

	start(b);
	fd = take_any(b);
	assert_true(fd >= 0);
	say(b, fd, p, first);
	turns(b, 2);
	say(b, fd, p + first, n - first);
	if (closes)
		b->env.close(b->world, fd);
	finish(b);
	if (!closes)
		b->env.close(b->world, fd);
}

/* good answers */

static const struct { const char *text; int status; const char *body; bool closes; } good[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more", 200, "hi", false },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", false },
	{ "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false },
	{ "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", 404, "no", false },
	{ "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 204, "", false },
	{ "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, "", false },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nT: x\r\n\r\n", 200, "hi", false },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", 200, "hi", false },
	{ "HTTP/1.1 200 OK\r\n\r\nhi", 200, "hi", true },
	{ "HTTP/1.0 200 OK\r\n\r\nhi", 200, "hi", true },
	{ "HTTP/1.1 200 OK\r\n\r\n", 200, "", true },
	{ "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false },
	{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false },
	{ "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nhi", 302, "hi", false },
	{ "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", 500, "hi", true },
};

static void check_good(struct bench *b, size_t i)
{
	assert_string_equal(b->error.data, "");
	assert_int_equal(b->status, good[i].status);
	assert_string_equal(b->body.data ? b->body.data : "", good[i].body);
	assert_false(b->truncated);
	assert_true(b->sent);
}

static void reads_good_answers_in_every_two_pieces(void **state)
{
	struct bench *b = *state;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		for (size_t first = 0, n = strlen(good[i].text); first <= n; first++) {
			play(b, good[i].text, n, first, good[i].closes);
			check_good(b, i);
		}
}

static void reads_good_answers_byte_by_byte(void **state)
{
	struct bench *b = *state;

	fakeworld_cut(b->world, 1);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		play(b, good[i].text, strlen(good[i].text), 0, good[i].closes);
		check_good(b, i);
	}
}

/* bad answers */

#define HEAD "HTTP/1.1 200 OK\r\n"
static const struct { const char *text, *error; } bad[] = {
	{ "", "connection closed by 127.0.0.1:3000 before an answer" },
	{ "HTTP/1.1 200 OK\r\nA: b", "connection closed by 127.0.0.1:3000 in the middle of the answer's head" },
	{ "HTTP/1.1 100 Continue\r\n\r\n", "connection closed by 127.0.0.1:3000 before an answer" },
	{ HEAD "Content-Length: 10\r\n\r\nhi", "connection closed after 2 of 10 bytes" },
	{ HEAD "Content-Length: 10\r\n\r\n", "connection closed after 0 of 10 bytes" },
	{ HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhi", "connection closed after 2 bytes of a body that had not ended" },
	{ HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", "connection closed after 2 bytes of a body that had not ended" },
	{ HEAD "Transfer-Encoding: chunked\r\n\r\n-1\r\nhi", "the answer is malformed" },
	{ HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nhi!", "the answer is malformed" },
	{ HEAD "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "the answer is malformed" },
	{ HEAD "Transfer-Encoding: gzip\r\n\r\nhi", "the answer is malformed: a transfer coding other than chunked" },
	{ HEAD "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi", "the answer is malformed" },
	{ HEAD "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "the answer is malformed: more than one Content-Length" },
	{ HEAD "Content-Length: -2\r\n\r\nhi", "the answer is malformed: Content-Length is not a number" },
	{ HEAD "Content-Length: 99999999999999999999\r\n\r\nhi", "the answer is malformed" },
	{ HEAD "Content-Length: 1001\r\n\r\nhi", "the answer's body is longer than 1000 bytes" },
	{ HEAD "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi", "the answer is encoded (gzip), which was not asked for" },
	{ HEAD "Content-Encoding: \x80\r\nContent-Length: 2\r\n\r\nhi", "the answer is encoded (\\x80), which was not asked for" },
	{ "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "the answer is malformed: it switches to a protocol" },
	{ "SSH-2.0-OpenSSH_9.2\r\n", "the answer is malformed" },
	{ "HTTP/2.0 200 OK\r\n\r\n", "the answer is malformed" },
	{ "HTTP/1.1 99 OK\r\n\r\n", "the answer is malformed" },
	{ "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", "the answer is malformed: a line ends without CR" },
	{ HEAD "Content-Length : 2\r\n\r\nhi", "the answer is malformed" },
	{ HEAD " Folded: 2\r\n\r\nhi", "the answer is malformed" },
	{ "\r\n\r\n\r\n", "the answer is malformed" },
};

static void check_bad(struct bench *b, size_t i)
{
	assert_non_null(b->error.data);
	if (strncmp(b->error.data, bad[i].error, strlen(bad[i].error)) != 0)
		fail_msg("%zu: \"%s\" is not \"%s\"", i, b->error.data, bad[i].error);
	assert_false(b->timeout);
}

static void says_what_is_wrong_with_bad_answers(void **state)
{
	struct bench *b = *state;

	for (size_t cut = 0; cut < 2; cut++)
		for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
			fakeworld_cut(b->world, cut);
			play(b, bad[i].text, strlen(bad[i].text), 0, true);
			check_bad(b, i);
		}
}

static void refuses_a_nul_in_the_head(void **state)
{
	static const char text[] = HEAD "A: b\0c\r\n\r\n";

	play(*state, text, sizeof text - 1, 0, true);
	assert_non_null(strstr(((struct bench *)*state)->error.data, "malformed"));
}

/* Repeats a piece until the call has had enough; how many bytes that took. */
static size_t flood(struct bench *b, const char *head, const char *piece)
{
	size_t bytes = 0;
	int fd;

	start(b);
	fd = take_any(b);
	say_text(b, fd, head);
	for (int i = 0; i < LIMIT && b->calls == 0; i++) {
		ssize_t put = b->env.send(b->world, fd, piece, strlen(piece));
		bytes += put > 0 ? (size_t)put : 0;
		if (i % 16 == 0 || put < 0)
			turn(b);
	}
	assert_int_equal(b->calls, 1);
	b->env.close(b->world, fd);
	return bytes;
}

static void bounds_what_never_ends(void **state)
{
	struct bench *b = *state;

	assert_in_range(flood(b, "HTTP/1.1 200 ", "OOOOOOOOOOOOOOOO"), 8000, 40000);
	assert_non_null(strstr(b->error.data, "the start line is longer"));
	assert_in_range(flood(b, HEAD, "A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
		"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n"), 15000, 60000);
	assert_non_null(strstr(b->error.data, "the header section is longer"));
	assert_in_range(flood(b, "", "HTTP/1.1 100 Continue\r\n\r\n"), 250, 2000);
	assert_string_equal(b->error.data, "more than 10 interim answers");
	assert_in_range(flood(b, HEAD "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), 5000, 40000);
	assert_string_equal(b->error.data, "the answer's body is longer than 1000 bytes");
	assert_in_range(flood(b, HEAD "\r\n", "xxxxxxxxxxxxxxxx"), 1000, 40000);
	assert_string_equal(b->error.data, "the answer's body is longer than 1000 bytes");
	assert_in_range(flood(b, HEAD "Transfer-Encoding: chunked\r\n\r\n1;", "xxxxxxxxxxxxxxxx"), 1000, 40000);
	assert_non_null(strstr(b->error.data, "malformed"));
	assert_in_range(flood(b, HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\n", "T: xxxxxxxxxxxxxxx\r\n"), 1000, 40000);
	assert_non_null(strstr(b->error.data, "malformed"));
}

static void takes_ten_interim_answers_and_no_more(void **state)
{
	struct bench *b = *state;
	struct buf text = {0};

	for (int count = 10; count <= 11; count++) {
		buf_clear(&text);
		for (int i = 0; i < count; i++)
			buf_str(&text, "HTTP/1.1 100 Continue\r\n\r\n");
		buf_str(&text, HEAD "Content-Length: 0\r\n\r\n");
		play(b, text.data, text.len, 0, false);
		assert_int_equal(b->status, count == 10 ? 200 : 0);
	}
	buf_free(&text);
}

static void cuts_a_long_body_where_that_is_asked_for(void **state)
{
	static const char *const heads[] = { HEAD "\r\n", HEAD "Content-Length: 5000\r\n\r\n", HEAD "Content-Length: 1001\r\n\r\n" };
	struct bench *b = *state;

	b->spec.cut = true;
	for (size_t i = 0; i < 3; i++) {
		flood(b, heads[i], "xxxxxxxxxxxxxxxx");
		assert_string_equal(b->error.data, "");
		assert_true(b->truncated);
		assert_int_equal(b->body.len, BODY_MAX);
	}
	flood(b, HEAD "Transfer-Encoding: chunked\r\n\r\n", "3\r\nxyz\r\n");
	assert_true(b->truncated);
	assert_int_equal(b->body.len, BODY_MAX);
}

static void a_body_of_just_the_limit_is_whole(void **state)
{
	struct bench *b = *state;
	struct buf text = {0};

	for (int cut = 0; cut < 2; cut++) {
		b->spec.cut = cut;
		buf_clear(&text);
		buf_fmt(&text, HEAD "Content-Length: 1000\r\n\r\n%01000d", 0);
		play(b, text.data, text.len, 0, false);
		assert_string_equal(b->error.data, "");
		assert_false(b->truncated);
		assert_int_equal(b->body.len, BODY_MAX);
	}
	buf_free(&text);
}

static void a_cut_does_not_wait_for_more_than_it_keeps(void **state)
{
	struct bench *b = *state;
	struct buf text = {0};

	b->spec.cut = true;
	buf_fmt(&text, HEAD "Content-Length: 1001\r\n\r\n%01000d", 0);
	play(b, text.data, text.len, 0, false);
	assert_true(b->truncated);
	assert_false(b->timeout);
	buf_free(&text);
}

static void a_reset_is_told_from_a_close(void **state)
{
	struct bench *b = *state;
	int fd;

	start(b);
	fd = take_any(b);
	say_text(b, fd, HEAD "Content-Length: 10\r\n\r\nhi");
	fakeworld_reset(b->world, fd);
	finish(b);
	assert_string_equal(b->error.data, "connection reset after 2 of 10 bytes");
	b->env.close(b->world, fd);
}

/* time */

static void one_deadline_ends_every_wait(void **state)
{
	static const struct { const char *text, *error; } waits[] = {
		{ "", "no answer within 30000 ms" },
		{ "HTTP/1.1 2", "no answer within 30000 ms" },
		{ HEAD "Content-Length: 9\r\n\r\nhi", "the answer was not complete within 30000 ms: 2 bytes of its body had come" },
		{ HEAD "Transfer-Encoding: chunked\r\n\r\n9\r\nhi", "the answer was not complete within 30000 ms: 2 bytes of its body had come" },
		{ HEAD "\r\nhi", "the answer was not complete within 30000 ms: 2 bytes of its body had come" },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
		b->spec.deadline_us = fakeworld_now_us(b->world) + 30000 * MS;
		start(b);
		int fd = take_any(b);
		say_text(b, fd, waits[i].text);
		turns(b, 3);
		fakeworld_pass(b->world, 29990 * MS);
		turns(b, 3);
		assert_int_equal(b->calls, 0);
		fakeworld_pass(b->world, 11 * MS);
		finish(b);
		assert_true(b->timeout && b->sent);
		assert_string_equal(b->error.data, waits[i].error);
		b->env.close(b->world, fd);
	}
}

static void a_drip_does_not_outlive_the_deadline(void **state)
{
	struct bench *b = *state;
	int fd, i;

	start(b);
	fd = take_any(b);
	say_text(b, fd, HEAD "Content-Length: 900\r\n\r\n");
	for (i = 0; i < 100 && b->calls == 0; i++) {
		(void)b->env.send(b->world, fd, "x", 1);
		fakeworld_pass(b->world, 1000 * MS);
		turns(b, 2);
	}
	assert_in_range(i, 29, 32);
	assert_true(b->timeout);
	b->env.close(b->world, fd);
}

static void a_deadline_in_the_past_ends_at_once(void **state)
{
	struct bench *b = *state;

	b->spec.deadline_us = 1;
	start(b);
	finish(b);
	assert_true(b->timeout);
}

/* the request */

static void sends_the_request_whole(void **state)
{
	struct bench *b = *state;
	struct buf request = {0};
	int fd;

	b->spec.fields = "A: b\r\n";
	start(b);
	fd = take(b, &request);
	assert_string_equal(request.data, "GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nA: b\r\nConnection: close\r\n\r\n");
	say_text(b, fd, HEAD "Content-Length: 0\r\n\r\n");
	finish(b);
	b->env.close(b->world, fd);
	buf_free(&request);
}

static void sends_a_large_body_as_the_server_takes_it(void **state)
{
	struct bench *b = *state;
	char *body = mem_new(300000), piece[1000];
	size_t got = 0;
	int fd;

	memset(body, 'x', 300000);
	b->spec.method = "PATCH";
	b->spec.body = body;
	b->spec.body_len = 300000;
	start(b);
	memset(body, 'y', 300000);                                 /* it was copied */
	turns(b, 2);
	fd = accept_one(b);
	for (int i = 0; i < LIMIT && got < 300000; i++) {
		ssize_t n = b->env.recv(b->world, fd, piece, sizeof piece);
		got += n > 0 ? (size_t)n : 0;
		turn(b);
		assert_true(n <= 0 || !memchr(piece, 'y', (size_t)n));
	}
	say_text(b, fd, HEAD "Content-Length: 0\r\n\r\n");
	finish(b);
	assert_int_equal(b->status, 200);
	b->env.close(b->world, fd);
	free(body);
}

static void an_answer_to_half_a_request_is_heard(void **state)
{
	struct bench *b = *state;
	char *body = mem_new(300000), piece[65536];
	int fd;

	b->spec.method = "PATCH";
	b->spec.body = body;
	b->spec.body_len = 300000;
	start(b);
	turns(b, 2);
	fd = accept_one(b);
	while (b->env.recv(b->world, fd, piece, sizeof piece) > 0)
		;
	say_text(b, fd, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
	while (b->env.recv(b->world, fd, piece, sizeof piece) > 0)
		;
	b->env.close(b->world, fd);
	finish(b);
	assert_int_equal(b->status, 413);
	free(body);
}

static void a_refused_connection_is_said_and_nothing_was_sent(void **state)
{
	struct bench *b = *state;
	const char *text = "http://127.0.0.1:1/";

	http_url_free(&b->url);
	assert_null(http_url_read(text, strlen(text), &b->url));
	start(b);
	assert_int_equal(b->calls, 0);
	finish(b);
	assert_string_equal(b->error.data, "connection refused by 127.0.0.1:1");
	assert_false(b->sent || b->timeout);
}

static void never_calls_back_before_a_later_turn(void **state)
{
	struct bench *b = *state;

	/* Denied: known at once, and still not said before the clock and the loop have moved. */
	b->spec.guard = call_guard_new("127.0.0.0/8", NULL, &(const char *){ NULL });
	start(b);
	assert_int_equal(b->calls, 0);
	loop_turn(b->loop, 0);
	assert_int_equal(b->calls, 0);
	finish(b);
	assert_string_equal(b->error.data, "127.0.0.1:3000 is an address that this agent may not connect to (--http-deny)");
	assert_int_equal(accept_one(b), -1);
	call_guard_free((struct call_guard *)(uintptr_t)b->spec.guard);
}

static void a_cancelled_call_is_silent_in_every_state(void **state)
{
	static const char *const texts[] = { NULL, "", "HTTP/1.1 2", HEAD "Content-Length: 9\r\n\r\nhi", HEAD "Content-Length: 2\r\n\r\nhi" };
	struct bench *b = *state;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct call *c = start(b);
		int fd = texts[i] ? take_any(b) : -1;
		if (texts[i] && *texts[i])
			(void)b->env.send(b->world, fd, texts[i], strlen(texts[i]));
		call_cancel(c);
		turns(b, 5);
		assert_int_equal(b->calls, 0);
		b->env.close(b->world, fd >= 0 ? fd : accept_one(b));
	}
}

static void https_that_is_not_built_in_fails_at_once(void **state)
{
	struct bench *b = *state;

	b->url.tls = true;
	start(b);
	finish(b);
	assert_int_equal(strncmp(b->error.data, "https is not ", 13), 0);
	assert_int_equal(accept_one(b), -1);
	b->url.tls = false;
}

/* links */

#define KEPT HEAD "Content-Length: 2\r\n\r\nhi"

/* Reads what came on a connection that stays; false: nothing within some turns. */
static bool heard(struct bench *b, int fd)
{
	char piece[4096];

	for (int i = 0; i < 10; i++) {
		if (b->env.recv(b->world, fd, piece, sizeof piece) > 0)
			return true;
		turn(b);
	}
	return false;
}

/* A first call on the link, well ended; the server's end of its connection. */
static int warm(struct bench *b, const char *text)
{
	int fd;

	if (!b->spec.link)
		b->spec.link = call_link_new(b->loop, &b->env);
	start(b);
	fd = take_any(b);
	say_text(b, fd, text);
	finish(b);
	assert_int_equal(b->status, 200);
	return fd;
}

static void end_link(struct bench *b, int fd)
{
	call_link_free(b->spec.link);
	b->env.close(b->world, fd);
}

static void a_link_keeps_its_connection(void **state)
{
	struct bench *b = *state;
	int fd = warm(b, KEPT);

	for (int i = 0; i < 3; i++) {
		start(b);
		assert_true(heard(b, fd));
		say_text(b, fd, KEPT);
		finish(b);
		assert_int_equal(b->status, 200);
		assert_int_equal(accept_one(b), -1);
	}
	end_link(b, fd);
}

static void a_call_started_in_done_reuses_the_connection(void **state)
{
	struct bench *b = *state;
	int fd;

	b->again = true;
	fd = warm(b, KEPT);
	b->calls = 0;
	assert_true(heard(b, fd));
	say_text(b, fd, KEPT);
	finish(b);
	assert_int_equal(accept_one(b), -1);
	end_link(b, fd);
}

static void a_connection_is_not_kept_when_that_is_not_safe(void **state)
{
	static const char *const texts[] = {
		HEAD "Content-Length: 2\r\nConnection: close\r\n\r\nhi", KEPT "!", HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n!",
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", HEAD "Content-Length: 0\r\n\r\n!",
	};
	struct bench *b = *state;
	char byte;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		int fd = warm(b, texts[i]);
		ssize_t n = b->env.recv(b->world, fd, &byte, 1);
		assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
		b->env.close(b->world, fd);
	}
	call_link_free(b->spec.link);
}

static void another_place_gets_a_connection_of_its_own(void **state)
{
	struct bench *b = *state;
	int fd = warm(b, KEPT);
	char byte;
	const char *text = "http://127.0.0.1:1/";

	http_url_free(&b->url);
	assert_null(http_url_read(text, strlen(text), &b->url));
	start(b);
	finish(b);
	assert_string_equal(b->error.data, "connection refused by 127.0.0.1:1");
	assert_int_equal(b->env.recv(b->world, fd, &byte, 1), 0);
	end_link(b, fd);
}

static void an_idle_connection_that_ends_or_speaks_is_dropped(void **state)
{
	struct bench *b = *state;
	int fd = warm(b, KEPT);

	b->env.close(b->world, fd);
	turns(b, 2);
	assert_int_equal(fakeworld_open(b->world), 1);             /* the listener */
	fd = warm(b, KEPT);
	(void)b->env.send(b->world, fd, "x", 1);
	turns(b, 2);
	assert_int_equal(fakeworld_open(b->world), 2);
	end_link(b, fd);
}

static void a_connection_closed_while_idle_is_replaced_once(void **state)
{
	struct bench *b = *state;
	int fd = warm(b, KEPT);

	start(b);
	b->env.close(b->world, fd);
	fd = take_any(b);
	assert_true(fd >= 0);
	b->env.close(b->world, fd);
	finish(b);
	assert_string_equal(b->error.data, "connection closed by 127.0.0.1:3000 before an answer");
	assert_int_equal(accept_one(b), -1);
	call_link_free(b->spec.link);
}

static void a_connection_closed_within_an_answer_is_not_replaced(void **state)
{
	struct bench *b = *state;
	int fd = warm(b, KEPT);

	start(b);
	assert_true(heard(b, fd));
	say_text(b, fd, "H");
	b->env.close(b->world, fd);
	finish(b);
	assert_non_null(strstr(b->error.data, "in the middle of the answer's head"));
	assert_int_equal(accept_one(b), -1);
	call_link_free(b->spec.link);
}

static void a_call_without_a_link_is_never_sent_again(void **state)
{
	struct bench *b = *state;

	start(b);
	b->env.close(b->world, take_any(b));
	finish(b);
	assert_string_equal(b->error.data, "connection closed by 127.0.0.1:3000 before an answer");
	assert_int_equal(accept_one(b), -1);
}

/* guard */

static bool lets(const char *deny, const char *allow, const char *address)
{
	struct lookup_address a;
	const char *why;
	struct call_guard *g = call_guard_new(deny, allow, &why);
	bool result;

	assert_non_null(g);
	assert_true(lookup_numeric(address, 80, &a));
	result = call_guard_lets(g, (struct sockaddr *)&a.addr);
	call_guard_free(g);
	return result;
}

static void judges_addresses_in_every_form(void **state)
{
	static const struct { const char *deny, *allow, *address; bool lets; } cases[] = {
		{ NULL, NULL, "169.254.169.254", true }, { "", "", "::1", true },
		{ "169.254.0.0/16", NULL, "169.254.169.254", false }, { "169.254.0.0/16", NULL, "169.253.255.255", true },
		{ "169.254.0.0/16", NULL, "169.255.0.0", true }, { "169.254.0.0/16", NULL, "::ffff:169.254.169.254", false },
		{ "169.254.0.0/16", NULL, "::ffff:a9fe:a9fe", false }, { "169.254.0.0/16", NULL, "::169.254.1.1", false },
		{ "169.254.0.0/16", NULL, "64:ff9b::169.254.1.1", false }, { "169.254.0.0/16", NULL, "64:ff9b::169.253.1.1", true },
		{ "169.254.0.0/16", NULL, "64:ff9c::169.254.1.1", true },
		{ "::ffff:169.254.0.0/112", NULL, "169.254.1.1", false }, { "64:ff9b::/96", NULL, "64:ff9b::1.2.3.4", false },
		{ "127.0.0.0/8", NULL, "0.0.0.0", false }, { "127.0.0.0/8", NULL, "::ffff:0.0.0.0", false }, { "::1", NULL, "::", false },
		{ "0.0.0.0/8", NULL, "::1", true }, { "::1", NULL, "::1", false }, { "::1", NULL, "::2", true },
		{ "fe80::/10", NULL, "febf::1", false }, { "fe80::/10", NULL, "fec0::1", true },
		{ "0.0.0.0/0", NULL, "9.9.9.9", false }, { "0.0.0.0/0", NULL, "2001:db8::1", true }, { "::/0", NULL, "9.9.9.9", false },
		{ "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", true }, { "10.0.0.0/8", "10.1.0.0/16", "10.2.2.3", false },
		{ "10.0.0.0/8", "10.1.0.0/16", "::ffff:10.1.2.3", true }, { "1.2.3.4", NULL, "1.2.3.4", false }, { "1.2.3.4/31", NULL, "1.2.3.5", false },
		{ "1.2.3.4/31", NULL, "1.2.3.6", true }, { " 1.1.1.1 , 2.2.2.2", NULL, "2.2.2.2", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (lets(cases[i].deny, cases[i].allow, cases[i].address) != cases[i].lets)
			fail_msg("%zu: %s against %s", i, cases[i].address, cases[i].deny);
}

static void refuses_bad_ranges(void **state)
{
	static const char *const ranges[] = { "x", "1.2.3", "1.2.3.4.5", "01.2.3.4", "0x7f.0.0.1", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/+8", "1.2.3.4/", "1.2.3.4/08",
		"1.2.3.4/8", "fe80::1/10", "::/129", "::/1 2", "1.1.1.1,,2.2.2.2", "1.1.1.1,", ",", " ", "/8", "localhost", "[::1]", "1.1.1.1 2.2.2.2",
		"1111111111111111111111111111111111111111111111111111111111111111111111111111", "fe80::1%eth0" };
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
		why = NULL;
		if (call_guard_new(ranges[i], NULL, &why) || !why || call_guard_new(NULL, ranges[i], &why))
			fail_msg("%s was taken", ranges[i]);
	}
}

static void lets_no_address_of_another_kind(void **state)
{
	struct sockaddr_storage a = { .ss_family = AF_UNIX };
	const char *why;
	struct call_guard *g = call_guard_new(NULL, NULL, &why);

	(void)state;
	assert_false(call_guard_lets(g, (struct sockaddr *)&a));
	call_guard_free(g);
}

/* the real world: names */

struct real { bool over; char error[300]; };

static void heard_of(void *arg, const struct call_answer *a)
{
	struct real *r = arg;

	r->over = true;
	snprintf(r->error, sizeof r->error, "%s", a->error ? a->error : "");
}

static void fetch(const char *text, const char *deny, struct real *r)
{
	struct env env;
	struct http_url url;
	const char *why;
	struct call_guard *g = call_guard_new(deny, NULL, &why);
	struct call_spec spec = { .method = "GET", .url = &url, .body_max = 100, .guard = g };
	struct loop *loop;

	env_real(&env);
	loop = loop_new(&env);
	loop_children(loop);
	assert_null(http_url_read(text, strlen(text), &url));
	spec.deadline_us = env.mono_us(env.world) + 20000 * MS;
	*r = (struct real){ false, "" };
	call_start(loop, &env, &spec, heard_of, r);
	while (!r->over)
		loop_turn(loop, INT64_MAX);
	http_url_free(&url);
	call_guard_free(g);
	loop_free(loop);
}

static void no_spelling_of_an_address_slips_through(void **state)
{
	static const char *const urls[] = { "http://127.0.0.1:1/", "http://2130706433:1/", "http://0x7f.1:1/", "http://0x7f000001:1/", "http://017700000001:1/",
		"http://127.1:1/", "http://0:1/", "http://0.0.0.0:1/", "http://[::ffff:127.0.0.1]:1/", "http://[::ffff:7f00:1]:1/", "http://[::]:1/", "http://[::1]:1/",
		"http://localhost:1/", "http://LOCALHOST:1/" };
	struct real r;

	(void)state;
	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
		fetch(urls[i], "127.0.0.0/8,::1", &r);
		if (!strstr(r.error, "may not connect to") && !strstr(r.error, "name lookup of"))
			fail_msg("%s: %s", urls[i], r.error);
	}
	fetch("http://127.0.0.1:1/", "169.254.0.0/16", &r);
	assert_string_equal(r.error, "connection refused by 127.0.0.1:1");
	fetch("http://localhost:1/", NULL, &r);
	assert_non_null(strstr(r.error, ":1"));
	assert_non_null(strstr(r.error, "connection refused by"));
}

#define with_bench(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_bench(reads_good_answers_in_every_two_pieces), with_bench(reads_good_answers_byte_by_byte), with_bench(says_what_is_wrong_with_bad_answers),
		with_bench(refuses_a_nul_in_the_head), with_bench(bounds_what_never_ends), with_bench(takes_ten_interim_answers_and_no_more),
		with_bench(cuts_a_long_body_where_that_is_asked_for), with_bench(a_body_of_just_the_limit_is_whole), with_bench(a_cut_does_not_wait_for_more_than_it_keeps),
		with_bench(a_reset_is_told_from_a_close), with_bench(one_deadline_ends_every_wait), with_bench(a_drip_does_not_outlive_the_deadline),
		with_bench(a_deadline_in_the_past_ends_at_once), with_bench(sends_the_request_whole), with_bench(sends_a_large_body_as_the_server_takes_it),
		with_bench(an_answer_to_half_a_request_is_heard), with_bench(a_refused_connection_is_said_and_nothing_was_sent),
		with_bench(never_calls_back_before_a_later_turn), with_bench(a_cancelled_call_is_silent_in_every_state),
		with_bench(https_that_is_not_built_in_fails_at_once), with_bench(a_link_keeps_its_connection),
		with_bench(a_call_started_in_done_reuses_the_connection), with_bench(a_connection_is_not_kept_when_that_is_not_safe),
		with_bench(another_place_gets_a_connection_of_its_own), with_bench(an_idle_connection_that_ends_or_speaks_is_dropped),
		with_bench(a_connection_closed_while_idle_is_replaced_once), with_bench(a_connection_closed_within_an_answer_is_not_replaced),
		with_bench(a_call_without_a_link_is_never_sent_again),
		cmocka_unit_test(judges_addresses_in_every_form), cmocka_unit_test(refuses_bad_ranges), cmocka_unit_test(lets_no_address_of_another_kind),
		cmocka_unit_test(no_spelling_of_an_address_slips_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
