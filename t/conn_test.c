/* conn: whole conversations in memory: order, holding back, deadlines, caps, pressure. The owner here answers by path and keeps what it saw. */
#include "fakeworld.h"
#include "../conn.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SECONDS 1000000
#define CLIENTS 16
#define BIG 5000

struct bench {
	struct fakeworld *world;
	struct env env;
	struct loop *loop;
	struct conns *conns;
	struct conns_limits limits;
	struct conns_hooks hooks;
	int port;
	bool hold;                                                 /* the hook does not release */
	bool broken;                                               /* the commit fails: every held reply becomes 503 */
	struct buf told;                                           /* what the hooks saw */
	struct conn *parked[CLIENTS];
	int parked_count;
	struct buf got;                                            /* what a client read */
};

static void reply(struct conn *c, int status, const char *body)
{
	struct http_reply r = { .status = status, .type = "text/plain", .body = body, .body_len = strlen(body) };

	conn_reply(c, &r);
}

/* /bad: refused by the head alone. */
static void on_head(void *arg, struct conn *c, const struct http_head *head)
{
	(void)arg;
	if (http_is(head->path, "/bad"))
		reply(c, 401, "no");
}

/* /big: BIG bytes before the path; /park: later; /owe: later too, but no poll; /alive: asks the kernel in between; /ask: about the first parked one; else the body comes back, or the path. */
static void on_request(void *arg, struct conn *c, const struct http_head *head, const char *body, size_t body_len)
{
	struct bench *b = arg;
	struct buf text = {0};

	assert_null(conn_get(c));
	conn_set(c, b);
	buf_add(&b->told, head->path.p, head->path.n);
	buf_char(&b->told, ' ');
	if (http_is(head->path, "/park")) {
		conn_idle_poll(c, true);
		b->parked[b->parked_count++] = c;
		return;
	}
	if (http_is(head->path, "/owe")) {
		assert_false(conn_idle_poll(c, false));
		return;
	}
	if (http_is(head->path, "/ask"))
		buf_str(&b->told, conn_alive(b->parked[0]) ? "" : "dead ");
	if (http_is(head->path, "/alive") && !conn_alive(c)) {
		buf_str(&b->told, "dead ");
		return;
	}
	buf_str(&text, "");
	for (int i = 0; http_is(head->path, "/big") && i < BIG; i++)
		buf_char(&text, 'b');
	buf_add(&text, body_len ? body : head->path.p, body_len ? body_len : head->path.n);
	reply(c, 200, text.data);
	buf_free(&text);
}

static void on_gone(void *arg, struct conn *c)
{
	struct bench *b = arg;

	assert_ptr_equal(conn_get(c), b);
	buf_str(&b->told, "gone ");
}

static void on_after(void *arg)
{
	struct bench *b = arg;
	struct http_reply broken = { .status = 503, .body = "disk", .body_len = 4 };

	if (b->broken)
		conns_refuse_held(b->conns, &broken);
	if (!b->hold)
		conns_release(b->conns);
}

static void begin(struct bench *b)
{
	struct sockaddr_storage a;
	socklen_t len;

	fakeworld_address(0, &a, &len);
	b->conns = conns_new(b->loop, &b->env, &b->limits, &b->hooks);
	assert_true(conns_listen(b->conns, (struct sockaddr *)&a, len, &a, &len));
	b->port = fakeworld_port(&a);
}

static int setup_unlistened(void **state)
{
	struct bench *b = mem_new(sizeof *b);

	b->world = fakeworld_new(7);
	fakeworld_env(b->world, &b->env);
	b->loop = loop_new(&b->env);
	b->limits = (struct conns_limits){ 100000, 300000, 1000000, 0, 10 * SECONDS, 30 * SECONDS, 20 * SECONDS, 60 * SECONDS, "X-Every: yes\r\n" };
	b->hooks = (struct conns_hooks){ b, on_head, on_request, on_gone, NULL };
	loop_after(b->loop, on_after, b);
	*state = b;
	return 0;
}

static int setup(void **state)
{
	setup_unlistened(state);
	begin(*state);
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	conns_free(b->conns);
	loop_free(b->loop);
	fakeworld_free(b->world);
	buf_free(&b->told);
	buf_free(&b->got);
	free(b);
	return 0;
}

/* hands */

static void turn(struct bench *b)
{
	loop_turn(b->loop, fakeworld_now_us(b->world));
}

static void turns(struct bench *b, int n)
{
	while (n-- > 0)
		turn(b);
}

/* Time goes on, and the loop has its turn where it asked for one. */
static void pass(struct bench *b, int64_t us)
{
	int64_t until = fakeworld_now_us(b->world) + us;

	for (;;) {
		int64_t now = fakeworld_now_us(b->world), due = loop_due_us(b->loop);
		turn(b);
		if (due > until)
			break;
		fakeworld_pass(b->world, due > now ? due - now : 0);
	}
	fakeworld_pass(b->world, until - fakeworld_now_us(b->world));
	turns(b, 2);
}

static int dial(struct bench *b)
{
	int fd = fakeworld_connect(b->world, b->port);

	assert_true(fd >= 0);
	return fd;
}

static void say(struct bench *b, int fd, const char *text)
{
	size_t n = strlen(text);

	assert_int_equal(b->env.send(b->world, fd, text, n), (ssize_t)n);
}

static int dial_say(struct bench *b, const char *text)
{
	int fd = dial(b);

	say(b, fd, text);
	return fd;
}

/* All that is there for the client, into b->got. 'o': open, 'c': closed, 'r': reset. */
static char hear(struct bench *b, int fd)
{
	char bytes[4096];
	ssize_t n;

	buf_clear(&b->got);
	buf_str(&b->got, "");
	while ((n = b->env.recv(b->world, fd, bytes, sizeof bytes)) > 0)
		buf_add(&b->got, bytes, (size_t)n);
	return n == 0 ? 'c' : errno == ECONNRESET ? 'r' : 'o';
}

static int count(const char *text, const char *what)
{
	int n = 0;

	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

/* The client has heard exactly one answer of this status ending in body, and the connection is in that state. */
static void heard(struct bench *b, int fd, int status, const char *body, char end)
{
	char line[40];
	char state = hear(b, fd);
	size_t n = strlen(body);

	snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
	if (strncmp(b->got.data, line, strlen(line)) != 0 || b->got.len < n || strcmp(b->got.data + b->got.len - n, body) != 0 || state != end)
		fail_msg("expected %d \"%s\" %c, got %c \"%s\"", status, body, end, state, b->got.data);
	assert_int_equal(count(b->got.data, "HTTP/1.1 "), 1);
}

static void told(struct bench *b, const char *text)
{
	assert_string_equal(b->told.data ? b->told.data : "", text);
	buf_clear(&b->told);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST(length) "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: " length "\r\n\r\n"
#define CHUNKED "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

/* requests and answers */

static void answers_and_keeps_the_connection(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, GET("/one"));

	turns(b, 2);
	heard(b, fd, 200, "/one", 'o');
	assert_non_null(strstr(b->got.data, "\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\nX-Every: yes\r\n"));
	assert_null(strstr(b->got.data, "Connection:"));
	say(b, fd, POST("5") "hello");
	turn(b);
	heard(b, fd, 200, "hello", 'o');
	told(b, "/one /p ");
	pass(b, SECONDS);
	say(b, fd, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	turn(b);
	heard(b, fd, 200, "/a", 'o');
	assert_non_null(strstr(b->got.data, "\r\nConnection: keep-alive\r\n"));
	assert_null(strstr(b->got.data, "22:13:20"));
}

static const struct { const char *what, *request, *answer; int status; char end; } shapes[] = {
	{ "asked to close", "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "\r\n\r\n/a", 200, 'c' },
	{ "HTTP/1.0", "GET /a HTTP/1.0\r\n\r\n", "\r\n\r\n/a", 200, 'c' },
	{ "HTTP/1.0 kept alive", "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "\r\n\r\n/a", 200, 'o' },
	{ "HEAD", "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", "Content-Length: 2\r\n\r\n", 200, 'o' },
	{ "no body", POST("0"), "\r\n\r\n/p", 200, 'o' },
	{ "a body", POST("3") "abc", "\r\n\r\nabc", 200, 'o' },
	{ "chunks", CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "\r\n\r\nabcde", 200, 'o' },
	{ "chunks with extension and trailer", CHUNKED "1;x=y\r\na\r\n0\r\nT: v\r\n\r\n", "\r\n\r\na", 200, 'o' },
	{ "malformed", "GET / HTTP/1.1\r\nbad\r\n\r\n", "colon\n", 400, 'o' },
	{ "malformed chunk", CHUNKED "zz\r\n", "\n", 400, 'o' },
	{ "another major version", "GET / HTTP/2.0\r\n\r\n", "\n", 505, 'o' },
	{ "length over the cap", POST("100001"), "too large\n", 413, 'o' },
	{ "no chunk but the last", CHUNKED "0\r\n\r\n", "\r\n\r\n/p", 200, 'o' },
	{ "refused by its head", "GET /bad HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\nno", 401, 'o' },
	{ "refused before its body", "POST /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", "\r\n\r\nno", 401, 'o' },
};

static void requests_of_every_shape_are_answered_however_they_are_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		size_t n = strlen(shapes[i].request);
		for (size_t first = 0; first <= n; first++) {
			struct bench *b;
			setup((void **)&b);
			int fd = dial(b);
			for (size_t at = 0; at < n; ) {                        /* first 0: byte by byte */
				size_t len = first == 0 ? 1 : at == 0 ? first : n - at;
				(void)b->env.send(b->world, fd, shapes[i].request + at, len);
				at += len;
				turn(b);
			}
			turns(b, 2);
			heard(b, fd, shapes[i].status, shapes[i].answer, shapes[i].end);
			teardown((void **)&b);
		}
	}
}

static void answers_cut_to_single_bytes_arrive_whole(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, CHUNKED "3\r\nabc\r\n0\r\n\r\n" GET("/two"));

	fakeworld_cut(b->world, 1);
	turns(b, 800);
	fakeworld_cut(b->world, 0);
	assert_int_equal(hear(b, fd), 'o');
	assert_int_equal(count(b->got.data, "HTTP/1.1 200 OK"), 2);
	told(b, "/p /two ");
}

static void pipelined_requests_are_answered_in_order_one_a_turn(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, GET("/1") POST("2") "bb" CHUNKED "2\r\ncc\r\n0\r\n\r\n" GET("/4"));

	turn(b);
	told(b, "/1 ");
	assert_true(loop_due_us(b->loop) <= fakeworld_now_us(b->world));
	turn(b);
	told(b, "/p ");
	b->hold = true;
	turns(b, 3);
	told(b, "/p ");
	b->hold = false;
	turns(b, 2);
	told(b, "/4 ");
	assert_int_equal(hear(b, fd), 'o');
	const char *at = strstr(b->got.data, "/1HTTP/1.1 ");
	assert_true(at && (at = strstr(at, "bbHTTP/1.1 ")) && (at = strstr(at, "ccHTTP/1.1 ")) && strstr(at, "\r\n\r\n/4"));
}

static void a_refused_body_is_never_taken_for_a_request(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, "POST /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n" GET("/1")), bare = dial_say(b, GET("/bad") GET("/2"));

	turns(b, 2);
	say(b, fd, GET("/1"));
	turns(b, 2);
	told(b, "/2 ");
	heard(b, fd, 401, "no", 'o');
	assert_non_null(strstr(b->got.data, "\r\nConnection: close\r\n"));
	assert_int_equal(hear(b, bare), 'o');
	assert_int_equal(count(b->got.data, "HTTP/1.1 "), 2);
}

static void requests_behind_a_last_one_are_read_away(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" GET("/b"));

	turns(b, 3);
	told(b, "/a ");
	heard(b, fd, 200, "/a", 'o');
	b->env.close(b->world, fd);
	turn(b);
	assert_int_equal(conns_count(b->conns), 0);
}

static void a_flood_of_requests_is_not_taken_in_beforehand(void **state)
{
	struct bench *b = *state;
	int fd = dial(b), sent = 0;

	fakeworld_capacity(b->world, fd, 1000000);
	for (int i = 0; i < 3000; i++) {
		for (int k = 0; k < 8; k++)
			sent += b->env.send(b->world, fd, GET("/x"), strlen(GET("/x"))) > 0 ? 1 : 0;
		turn(b);
	}
	hear(b, fd);
	assert_true((size_t)(sent - count(b->got.data, "HTTP/1.1 ")) * strlen(GET("/x")) < 65536 + 2 * 16384);
}

static void on_timer(void *arg)
{
	buf_str(arg, "timer ");
}

static void buffered_requests_go_before_timers(void **state)
{
	struct bench *b = *state;
	struct loop_timer t = {0};

	dial_say(b, GET("/1") GET("/2"));
	turn(b);
	loop_timer_set(b->loop, &t, fakeworld_now_us(b->world) - SECONDS / 2, on_timer, &b->told);   /* due long ago, and still second */
	turn(b);
	told(b, "/1 /2 timer ");
}

static void nothing_leaves_before_the_release(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, GET("/a")), bad = dial_say(b, "junk\r\n\r\n");

	b->hold = true;
	turns(b, 5);
	told(b, "/a ");
	assert_int_equal(hear(b, fd), 'o');
	assert_int_equal(b->got.len, 0);
	assert_int_equal(hear(b, bad), 'o');
	assert_int_equal(b->got.len, 0);
	b->hold = false;
	turn(b);
	heard(b, fd, 200, "/a", 'o');
	heard(b, bad, 400, "\n", 'o');
}

static void a_failed_commit_replaces_what_hooks_held_and_no_more(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, GET("/a")), head = dial_say(b, "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n"), bad = dial_say(b, "junk\r\n\r\n");
	int close = dial_say(b, "GET /c HTTP/1.0\r\n\r\n"), park = dial_say(b, GET("/park"));

	b->broken = true;
	turns(b, 2);
	heard(b, fd, 503, "disk", 'o');
	heard(b, head, 503, "\r\n\r\n", 'o');
	heard(b, bad, 400, "\n", 'o');
	heard(b, close, 503, "disk", 'c');
	b->broken = false;
	say(b, fd, GET("/b"));
	reply(b->parked[0], 200, "late");
	turn(b);
	heard(b, fd, 200, "/b", 'o');
	heard(b, park, 200, "late", 'o');
}

static void a_hundred_continue_comes_only_for_a_body_that_is_wanted(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, "POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	int bad = dial_say(b, "POST /bad HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	int eager = dial_say(b, "POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\na");

	turns(b, 2);
	heard(b, fd, 100, "Continue\r\n\r\n", 'o');
	heard(b, bad, 401, "no", 'o');
	hear(b, eager);
	assert_int_equal(b->got.len, 0);
	say(b, fd, "abc");
	say(b, eager, "bc");
	turns(b, 2);
	heard(b, fd, 200, "abc", 'o');
	heard(b, eager, 200, "abc", 'o');
}

/* peers that go, or do not read */

static void the_end_of_a_parked_peer_is_told_once(void **state)
{
	struct bench *b = *state;
	int a = dial_say(b, GET("/park")), r = dial_say(b, GET("/park"));

	turns(b, 2);
	told(b, "/park /park ");
	b->env.close(b->world, a);
	turns(b, 3);
	told(b, "gone ");
	fakeworld_reset(b->world, r);
	turns(b, 3);
	told(b, "gone ");
	assert_int_equal(conns_count(b->conns), 0);
}

static void asking_finds_the_end_at_once_and_gone_follows_in_a_later_turn(void **state)
{
	struct bench *b = *state;
	int a = dial_say(b, GET("/alive")), p = dial_say(b, GET("/park"));

	b->env.close(b->world, a);
	turn(b);
	told(b, "/alive dead /park ");
	assert_true(conn_alive(b->parked[0]));
	b->env.close(b->world, p);
	assert_false(conn_alive(b->parked[0]));
	assert_false(conn_alive(b->parked[0]));
	told(b, "");
	pass(b, 10);
	told(b, "gone gone ");
	assert_int_equal(conns_count(b->conns), 0);
}

static void the_end_found_by_asking_is_not_told_in_the_same_turn(void **state)
{
	struct bench *b = *state;
	int asker = dial(b), p;

	turn(b);
	p = dial_say(b, GET("/park"));
	turns(b, 2);
	say(b, asker, GET("/ask"));
	b->env.close(b->world, p);
	turn(b);
	told(b, "/park /ask dead ");
	pass(b, 10);
	told(b, "gone ");
}

static void asking_keeps_the_bytes_of_the_request_and_of_the_next(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, "GET /alive HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");

	/* arrives between the read and the question: recv gives the first part only */
	fakeworld_cut(b->world, strlen("GET /alive HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"));
	say(b, fd, GET("/next"));
	turns(b, 3);
	told(b, "/alive /next ");
	assert_int_equal(hear(b, fd), 'o');
	assert_non_null(strstr(b->got.data, "\r\n\r\nabcHTTP/1.1 200"));
}

static void a_parked_peer_may_pipeline_only_a_little(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, GET("/park")), other = dial(b), sent = 0;
	char junk[1024];

	memset(junk, 'x', sizeof junk);
	for (int i = 0; i < 200; i++) {
		ssize_t n = b->env.send(b->world, fd, junk, sizeof junk);
		sent += n > 0 ? (int)n : 0;
		turn(b);
	}
	assert_true(sent <= 65536 + 3 * 16384);
	assert_true(conn_alive(b->parked[0]));
	say(b, other, GET("/park"));
	turns(b, 2);
	memset(junk, 'x', sizeof junk);
	for (int i = 0; i < 60; i++)
		assert_int_equal(b->env.send(b->world, other, junk, sizeof junk), (ssize_t)sizeof junk);
	assert_true(conn_alive(b->parked[1]));
	for (sent = 0; b->env.send(b->world, other, junk, sizeof junk) > 0; sent++)
		;
	assert_true(sent <= 4 + 4);                                /* what there was room for, and the little that was taken in */
	reply(b->parked[0], 200, "done");
	turn(b);
	heard(b, fd, 200, "done", 'o');
}

static void a_peer_that_reads_nothing_is_not_read_and_in_the_end_closed(void **state)
{
	struct bench *b = *state;
	int fd = dial(b), asked = 0;

	fakeworld_capacity(b->world, fd, 100);
	for (int i = 0; i < 5000; i++) {
		asked += b->env.send(b->world, fd, GET("/x"), strlen(GET("/x"))) > 0 ? 1 : 0;
		turn(b);
	}
	assert_true((size_t)asked * strlen(GET("/x")) < 65536 + 16384 + 4096);
	told(b, "/x ");
	pass(b, 19 * SECONDS);
	assert_int_equal(conns_count(b->conns), 1);
	pass(b, 2 * SECONDS);
	assert_int_equal(conns_count(b->conns), 0);
}

/* Whoever has just come may need a moment for its first byte: it does not go before those who have had theirs. */
static void a_fresh_connection_is_no_idle_one(void **state)
{
	struct bench *b = *state;
	int slow[2], fresh, late;

	for (int i = 0; i < 2; i++) {
		slow[i] = dial_say(b, "GET /s HTTP");
		turns(b, 2);
		pass(b, SECONDS);
	}
	fresh = dial(b);
	turns(b, 2);
	late = dial_say(b, GET("/late"));
	turns(b, 2);
	heard(b, late, 200, "/late", 'o');
	assert_int_equal(hear(b, slow[0]), 'c');
	say(b, fresh, GET("/fresh"));
	turns(b, 2);
	heard(b, fresh, 200, "/fresh", 'o');
	assert_int_equal(hear(b, slow[1]), 'o');
}

/* A new connection is worth more than an answer that has not been taken for two seconds. */
static void under_pressure_slow_readers_go_like_the_unfinished(void **state)
{
	struct bench *b = *state;
	int fds[3], late;

	for (int i = 0; i < 3; i++) {
		fds[i] = dial_say(b, GET("/x"));
		fakeworld_capacity(b->world, fds[i], 10);
		turns(b, 2);
	}
	late = dial(b);
	turns(b, 2);
	heard(b, late, 503, "too many connections\n", 'o');
	pass(b, 2 * SECONDS);
	late = dial_say(b, GET("/late"));
	turns(b, 2);
	heard(b, late, 200, "/late", 'o');
	assert_int_equal(hear(b, fds[0]), 'c');
	assert_int_equal(hear(b, fds[1]), 'o');
}

static void an_early_refusal_is_read_by_a_peer_that_is_still_sending(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, POST("100001"));
	char junk[8192];

	memset(junk, 'x', sizeof junk);
	turns(b, 2);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(b->env.send(b->world, fd, junk, sizeof junk), (ssize_t)sizeof junk);
		turn(b);
	}
	heard(b, fd, 413, "too large\n", 'o');
	pass(b, SECONDS + 1);
	assert_int_equal(hear(b, fd), 'c');
	int endless = dial_say(b, POST("100001"));
	for (int i = 0; i < 1100 && conns_count(b->conns) > 0; i++) {
		assert_true(i <= 1024 + 4);            /* 8 MiB of it */
		(void)b->env.send(b->world, endless, junk, sizeof junk);
		turn(b);
	}
	assert_int_equal(conns_count(b->conns), 0);
}

/* deadlines */

static const struct { const char *what, *sends; int64_t within_us; int status; } patience[] = {
	{ "idle", "", 60 * SECONDS, 0 },
	{ "half a head", "GET / HT", 10 * SECONDS, 408 },
	{ "half a body", POST("9") "abc", 30 * SECONDS, 408 },
	{ "half a chunk", CHUNKED "9\r\nabc", 30 * SECONDS, 408 },
	{ "idle after an answer", GET("/x"), 60 * SECONDS, 200 },
};

static void patience_ends_when_it_was_said_to(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof patience / sizeof patience[0]; i++) {
		struct bench *b;
		setup((void **)&b);
		int fd = dial_say(b, patience[i].sends);
		turns(b, 2);
		if (patience[i].status == 200)
			heard(b, fd, 200, "/x", 'o');
		pass(b, patience[i].within_us - SECONDS);
		hear(b, fd);
		assert_int_equal(b->got.len, 0);
		assert_int_equal(conns_count(b->conns), 1);
		pass(b, SECONDS);
		if (patience[i].status == 408)
			heard(b, fd, 408, "\n", 'o');
		pass(b, 2 * SECONDS);
		assert_int_equal(hear(b, fd), 'c');
		assert_int_equal(b->got.len, 0);
		assert_int_equal(conns_count(b->conns), 0);
		teardown((void **)&b);
	}
}

static void a_head_dripping_in_does_not_extend_its_deadline(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, "GET / HTTP/1.1\r\n");

	for (int i = 0; i < 9; i++) {
		pass(b, SECONDS);
		say(b, fd, "A: b\r\n");
	}
	pass(b, SECONDS / 2);
	assert_int_equal(hear(b, fd), 'o');
	assert_int_equal(b->got.len, 0);
	pass(b, SECONDS);
	heard(b, fd, 408, "\n", 'o');
}

static void a_head_has_its_own_time_after_idling(void **state)
{
	struct bench *b = *state;
	int fd = dial(b);

	turn(b);
	pass(b, 55 * SECONDS);
	say(b, fd, "GET /a HT");
	pass(b, 9 * SECONDS);
	say(b, fd, "TP/1.1\r\nHost: x\r\n\r\n");
	turn(b);
	heard(b, fd, 200, "/a", 'o');
}

static void a_parked_poll_has_no_deadline(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, GET("/park"));

	pass(b, 1000 * SECONDS);
	reply(b->parked[0], 204, "");
	turn(b);
	heard(b, fd, 204, "\r\n\r\n", 'o');
}

/* caps */

static void say_much(struct bench *b, int fd, size_t n)
{
	char *bytes = mem_new(n);

	memset(bytes, 'y', n);
	assert_int_equal(b->env.send(b->world, fd, bytes, n), (ssize_t)n);
	free(bytes);
}

/* Some bytes now and then are borne for as long as a whole answer of that length may take, and no longer. */
static void a_slow_reader_is_borne_for_a_while(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, POST("100000")), i;                   /* which comes back: 6 s at the slowest rate, and the 20 of every write */
	char bytes[10];

	fakeworld_capacity(b->world, fd, 10);
	say_much(b, fd, 60000);
	turns(b, 5);
	say_much(b, fd, 40000);
	turns(b, 3);
	for (i = 0; i < 40 && conns_count(b->conns) == 1; i++) {
		pass(b, SECONDS);
		(void)b->env.recv(b->world, fd, bytes, sizeof bytes);
	}
	assert_in_range(i, 25, 28);
}

static void chunks_over_the_cap_are_refused_as_they_come(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, CHUNKED "fffff\r\n");

	turns(b, 2);
	say_much(b, fd, 60000);
	turns(b, 5);
	assert_int_equal(hear(b, fd), 'o');
	assert_int_equal(b->got.len, 0);
	say_much(b, fd, 40001);
	turns(b, 5);
	heard(b, fd, 413, "too large\n", 'o');
}

static void a_body_of_exactly_the_cap_is_taken(void **state)
{
	struct bench *b = *state;
	int fd = dial_say(b, POST("100000"));

	turn(b);
	fakeworld_capacity(b->world, fd + 1, 200000);              /* the server's end, the next descriptor */
	fakeworld_capacity(b->world, fd, 200000);
	say_much(b, fd, 60000);
	turns(b, 10);
	say_much(b, fd, 40000);
	turns(b, 10);
	heard(b, fd, 200, "yyyy", 'o');
	say(b, fd, CHUNKED "186a0\r\n");
	say_much(b, fd, 100000);
	say(b, fd, "\r\n0\r\n\r\n");
	turns(b, 20);
	heard(b, fd, 200, "yyyy", 'o');
}

/* A body of n bytes is begun, and so much of it is sent that it needs room: the peer's end. */
static int begin_large(struct bench *b, const char *head)
{
	int fd = dial_say(b, head);

	say_much(b, fd, 17000);
	turns(b, 4);
	return fd;
}

static void bodies_beyond_the_memory_wait_unread_in_line(void **state)
{
	struct bench *b = *state;
	int fds[5];

	for (int i = 0; i < 5; i++)
		fds[i] = begin_large(b, POST("100000"));
	b->env.close(b->world, fds[0]);                            /* one place is free: the first in line has it */
	turns(b, 3);
	for (int i = 3; i <= 4; i++) {
		say_much(b, fds[i], 60000);
		turns(b, 10);
	}
	say_much(b, fds[3], 23000);
	turns(b, 10);
	heard(b, fds[3], 200, "yyy", 'o');
	say_much(b, fds[4], 23000);                                /* which passes the place on */
	turns(b, 10);
	heard(b, fds[4], 200, "yyy", 'o');
	told(b, "/p /p ");
}

static void a_medium_body_does_not_overtake_a_large_one_that_waits(void **state)
{
	struct bench *b = *state;
	int fds[3], last;

	fds[0] = begin_large(b, POST("100000"));
	fds[1] = begin_large(b, POST("90000"));
	fds[2] = begin_large(b, POST("50000"));
	begin_large(b, POST("100000"));
	last = begin_large(b, POST("20000"));
	say_much(b, last, 3000);
	turns(b, 2);
	told(b, "");
	b->env.close(b->world, fds[1]);
	turns(b, 3);
	heard(b, last, 200, "yy", 'o');
}

/* An announcement takes nothing from others, nor does what waits: a body that is small goes by. */
static void small_bodies_need_no_room(void **state)
{
	struct bench *b = *state;
	int small;

	for (int i = 0; i < 5; i++)
		dial_say(b, POST("100000"));
	turns(b, 2);
	small = begin_large(b, POST("100000"));
	say_much(b, small, 60000);
	turns(b, 5);
	say_much(b, small, 23000);
	turns(b, 5);
	heard(b, small, 200, "yy", 'o');
	for (int i = 0; i < 4; i++)
		begin_large(b, POST("100000"));
	small = dial_say(b, POST("2") "a");
	turns(b, 2);
	say(b, small, "b");
	turns(b, 2);
	heard(b, small, 200, "ab", 'o');
}

static void a_body_larger_than_all_memory_is_taken_alone(void **state)
{
	struct bench *b;
	int fd, other;

	(void)state;
	setup_unlistened((void **)&b);
	b->limits.bodies_bytes = 1000;
	begin(b);
	fd = begin_large(b, POST("20000"));
	other = begin_large(b, POST("18000"));
	say_much(b, other, 1000);
	turns(b, 2);
	told(b, "");
	say_much(b, fd, 3000);
	turns(b, 4);
	heard(b, fd, 200, "yy", 'o');
	heard(b, other, 200, "yy", 'o');
	teardown((void **)&b);
}

/* Clients that take nothing of a big answer, one after another. */
static int dial_deaf(struct bench *b)
{
	int fd = dial(b);

	fakeworld_capacity(b->world, fd, 100);
	say(b, fd, GET("/big"));
	return fd;
}

static void who_does_not_read_is_given_up_when_answers_fill_the_memory(void **state)
{
	struct bench *b;
	int fds[3];

	(void)state;
	setup_unlistened((void **)&b);
	b->limits.answers_bytes = 12000;
	begin(b);
	for (int i = 0; i < 3; i++) {
		fds[i] = dial_deaf(b);
		fakeworld_pass(b->world, 1000);
		turns(b, 2);
	}
	assert_int_equal(hear(b, fds[0]), 'c');                    /* the longest without a byte taken */
	assert_true(b->got.len <= 100);
	assert_int_equal(hear(b, fds[1]), 'o');
	assert_int_equal(conns_count(b->conns), 2);
	int small = dial_say(b, GET("/small"));
	turns(b, 2);
	heard(b, small, 200, "/small", 'o');
	teardown((void **)&b);
}

static void no_more_answers_are_made_in_a_turn_than_there_is_memory_for(void **state)
{
	struct bench *b;
	int fds[10];

	(void)state;
	setup_unlistened((void **)&b);
	b->limits.answers_bytes = 12000;
	begin(b);
	for (int i = 0; i < 10; i++)
		fds[i] = dial_deaf(b);
	b->hold = true;
	turns(b, 2);
	assert_int_equal(count(b->told.data, "/big"), 3);
	b->hold = false;
	for (int i = 0; i < 12; i++) {
		fakeworld_pass(b->world, 1000);
		turn(b);
	}
	assert_int_equal(count(b->told.data, "/big"), 10);         /* the rest had their turn, at the cost of those who do not read */
	assert_int_equal(hear(b, fds[0]), 'c');
	assert_true(conns_count(b->conns) <= 4);
	teardown((void **)&b);
}

static void what_has_a_body_is_refused_when_answers_are_far_over_the_memory(void **state)
{
	struct bench *b;
	int fds[10], refused = 0;

	(void)state;
	setup_unlistened((void **)&b);
	b->limits.answers_bytes = 12000;
	begin(b);
	for (int i = 0; i < 10; i++) {
		fds[i] = dial_say(b, POST("5000"));
		say_much(b, fds[i], 5000);
	}
	b->hold = true;
	turns(b, 2);
	assert_int_equal(count(b->told.data, "/p"), 5);
	b->hold = false;
	turns(b, 2);
	for (int i = 0; i < 10; i++) {
		hear(b, fds[i]);
		refused += strstr(b->got.data, "HTTP/1.1 503 ") && strstr(b->got.data, "wait for their readers") ? 1 : 0;
	}
	assert_int_equal(refused, 5);
	teardown((void **)&b);
}

static void who_waits_for_memory_too_long_is_told_to_come_again(void **state)
{
	struct bench *b;
	int fds[7];

	(void)state;
	setup_unlistened((void **)&b);
	b->limits.body_bytes = 700000;
	b->limits.bodies_bytes = 2100000;
	begin(b);
	for (int i = 0; i < 7; i++)
		fds[i] = begin_large(b, POST("700000"));
	for (int i = 0; i < 30; i++) {                             /* those before it are not slow */
		hear(b, fds[6]);
		assert_int_equal(b->got.len, 0);
		for (int k = 0; k < 3; k++)
			say_much(b, fds[k], 20000);
		pass(b, SECONDS);
	}
	pass(b, SECONDS / 2);
	heard(b, fds[6], 503, "no room for the body now\n", 'o');
	for (int i = 0; i < 3; i++)
		heard(b, fds[i], 408, "\n", 'o');
	hear(b, fds[3]);                                           /* in line before it: has room now */
	assert_int_equal(b->got.len, 0);
	teardown((void **)&b);
}

static void slow_bodies_are_given_up_when_others_wait(void **state)
{
	struct bench *b = *state;
	int fds[4];

	for (int i = 0; i < 3; i++)
		fds[i] = begin_large(b, POST("100000"));
	pass(b, 20 * SECONDS);
	for (int i = 0; i < 3; i++) {                              /* nobody else wants the room */
		hear(b, fds[i]);
		assert_int_equal(b->got.len, 0);
		b->env.close(b->world, fds[i]);
	}
	turns(b, 2);
	for (int i = 0; i < 4; i++)
		fds[i] = begin_large(b, POST("100000"));
	pass(b, 3 * SECONDS / 2);
	for (int i = 0; i < 3; i++) {
		hear(b, fds[i]);
		assert_int_equal(b->got.len, 0);
	}
	pass(b, 2 * SECONDS);
	for (int i = 0; i < 3; i++)
		heard(b, fds[i], 408, "while others waited\n", 'c');
	say_much(b, fds[3], 60000);
	turns(b, 5);
	say_much(b, fds[3], 23000);
	turns(b, 5);
	heard(b, fds[3], 200, "yy", 'o');
}

/* pressure */

static int setup_three(void **state)
{
	setup_unlistened(state);
	((struct bench *)*state)->limits.connections = 3;
	begin(*state);
	return 0;
}

static void pressure_closes_idle_then_unfinished_then_parked_then_refuses(void **state)
{
	struct bench *b = *state;
	int park = dial_say(b, GET("/park")), fds[6];

	turn(b);
	pass(b, SECONDS);
	fds[0] = dial_say(b, POST("9"));                           /* unfinished */
	pass(b, SECONDS);
	fds[1] = dial_say(b, GET("/1"));                           /* idle after its answer, though the youngest */
	pass(b, SECONDS);
	fds[2] = dial_say(b, GET("/park"));
	turns(b, 2);
	heard(b, fds[1], 200, "/1", 'c');
	assert_int_equal(hear(b, fds[0]), 'o');
	pass(b, SECONDS);
	fds[3] = dial_say(b, GET("/park"));
	turns(b, 2);
	assert_int_equal(hear(b, fds[0]), 'c');
	assert_int_equal(hear(b, park), 'o');
	told(b, "/park /1 /park /park ");
	pass(b, SECONDS);
	fds[4] = dial_say(b, GET("/4"));
	turns(b, 2);
	told(b, "gone /4 ");
	assert_int_equal(hear(b, park), 'c');
	heard(b, fds[4], 200, "/4", 'o');
	assert_int_equal(conns_count(b->conns), 3);
}

static void the_longest_idle_goes_first_and_an_owed_answer_never(void **state)
{
	struct bench *b = *state;
	int a = dial_say(b, GET("/a")), o = dial_say(b, GET("/park")), c = dial_say(b, GET("/c"));

	turns(b, 2);
	reply(b->parked[0], 200, "");
	pass(b, SECONDS);
	say(b, a, GET("/a2"));
	say(b, o, GET("/owe"));                                    /* parked before, not now */
	turns(b, 2);
	dial_say(b, GET("/owe"));
	turns(b, 2);
	assert_int_equal(hear(b, c), 'c');
	dial_say(b, GET("/owe"));
	turns(b, 2);
	assert_int_equal(hear(b, a), 'c');
	int late = dial(b);
	turns(b, 2);
	heard(b, late, 503, "too many connections\n", 'o');
	assert_int_equal(hear(b, o), 'o');
	told(b, "/a /park /c /a2 /owe /owe /owe ");
}

static void without_anything_to_give_up_the_new_one_is_refused(void **state)
{
	struct bench *b = *state;
	int fds[40], refused = 0;

	b->hold = true;
	for (int i = 0; i < 40; i++)
		fds[i] = dial_say(b, GET("/x"));
	turns(b, 3);
	told(b, "/x /x /x ");
	assert_true(conns_count(b->conns) <= 3 + 32);
	b->hold = false;
	turn(b);
	for (int i = 0; i < 3; i++)
		heard(b, fds[i], 200, "/x", 'o');
	for (int i = 3; i < 40; i++) {
		hear(b, fds[i]);
		refused += strstr(b->got.data, "HTTP/1.1 503 ") && strstr(b->got.data, "\r\nRetry-After: 1\r\n") ? 1 : 0;
	}
	assert_int_equal(refused, 32);
	pass(b, 2 * SECONDS);
	assert_int_equal(conns_count(b->conns), 3);
}

static void a_lack_of_descriptors_does_not_spin(void **state)
{
	struct bench *b = *state;
	int old = dial_say(b, GET("/old")), fd;

	turns(b, 2);
	fakeworld_accept_error(b->world, EMFILE);
	fd = dial_say(b, GET("/new"));
	int before = fakeworld_accepts(b->world);
	turns(b, 50);
	assert_int_equal(fakeworld_accepts(b->world) - before, 1);
	pass(b, SECONDS / 10);
	assert_int_equal(fakeworld_accepts(b->world) - before, 2);
	fakeworld_accept_error(b->world, 0);
	b->env.close(b->world, old);                               /* one that closes ends the pause */
	turns(b, 3);
	heard(b, fd, 200, "/new", 'o');
}

/* the end */

static void stopping_closes_the_idle_and_lets_the_others_finish(void **state)
{
	struct bench *b = *state;
	int idle = dial_say(b, GET("/1")), half = dial_say(b, "GET /2 HT"), park = dial_say(b, GET("/park"));

	turns(b, 2);
	heard(b, idle, 200, "/1", 'o');
	conns_stop(b->conns);
	turn(b);
	assert_int_equal(hear(b, idle), 'c');
	assert_int_equal(fakeworld_connect(b->world, b->port), -1);
	say(b, half, "TP/1.1\r\nHost: x\r\n\r\n");
	reply(b->parked[0], 200, "bye");
	turns(b, 2);
	heard(b, half, 200, "/2", 'c');
	assert_non_null(strstr(b->got.data, "Connection: close\r\n"));
	heard(b, park, 200, "bye", 'c');
	assert_int_equal(conns_count(b->conns), 0);
}

static void freeing_closes_all_and_calls_no_hook(void **state)
{
	struct bench *b = *state;

	dial_say(b, GET("/park"));
	dial_say(b, "half");
	dial_say(b, POST("9") "abc");
	turns(b, 2);
	told(b, "/park ");
	conns_free(b->conns);
	b->conns = NULL;
	told(b, "");
	assert_int_equal(fakeworld_open(b->world), 3);             /* the clients' own ends */
	b->hold = true;
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		IN_WORLD(answers_and_keeps_the_connection),
		cmocka_unit_test(requests_of_every_shape_are_answered_however_they_are_cut),
		IN_WORLD(answers_cut_to_single_bytes_arrive_whole),
		IN_WORLD(a_refused_body_is_never_taken_for_a_request),
		IN_WORLD(requests_behind_a_last_one_are_read_away),
		IN_WORLD(a_flood_of_requests_is_not_taken_in_beforehand),
		IN_WORLD(pipelined_requests_are_answered_in_order_one_a_turn),
		IN_WORLD(buffered_requests_go_before_timers),
		IN_WORLD(nothing_leaves_before_the_release),
		IN_WORLD(a_failed_commit_replaces_what_hooks_held_and_no_more),
		IN_WORLD(a_hundred_continue_comes_only_for_a_body_that_is_wanted),
		IN_WORLD(the_end_of_a_parked_peer_is_told_once),
		IN_WORLD(asking_finds_the_end_at_once_and_gone_follows_in_a_later_turn),
		IN_WORLD(the_end_found_by_asking_is_not_told_in_the_same_turn),
		IN_WORLD(asking_keeps_the_bytes_of_the_request_and_of_the_next),
		IN_WORLD(a_parked_peer_may_pipeline_only_a_little),
		IN_WORLD(a_peer_that_reads_nothing_is_not_read_and_in_the_end_closed),
		cmocka_unit_test_setup_teardown(under_pressure_slow_readers_go_like_the_unfinished, setup_three, teardown),
		cmocka_unit_test_setup_teardown(a_fresh_connection_is_no_idle_one, setup_three, teardown),
		IN_WORLD(an_early_refusal_is_read_by_a_peer_that_is_still_sending),
		cmocka_unit_test(patience_ends_when_it_was_said_to),
		IN_WORLD(a_head_dripping_in_does_not_extend_its_deadline),
		IN_WORLD(a_head_has_its_own_time_after_idling),
		IN_WORLD(a_parked_poll_has_no_deadline),
		IN_WORLD(a_slow_reader_is_borne_for_a_while),
		IN_WORLD(chunks_over_the_cap_are_refused_as_they_come),
		IN_WORLD(a_body_of_exactly_the_cap_is_taken),
		IN_WORLD(bodies_beyond_the_memory_wait_unread_in_line),
		IN_WORLD(a_medium_body_does_not_overtake_a_large_one_that_waits),
		IN_WORLD(small_bodies_need_no_room),
		cmocka_unit_test(a_body_larger_than_all_memory_is_taken_alone),
		IN_WORLD(who_waits_for_memory_too_long_is_told_to_come_again),
		IN_WORLD(slow_bodies_are_given_up_when_others_wait),
		cmocka_unit_test(what_has_a_body_is_refused_when_answers_are_far_over_the_memory),
		cmocka_unit_test(who_does_not_read_is_given_up_when_answers_fill_the_memory),
		cmocka_unit_test(no_more_answers_are_made_in_a_turn_than_there_is_memory_for),
		cmocka_unit_test_setup_teardown(pressure_closes_idle_then_unfinished_then_parked_then_refuses, setup_three, teardown),
		cmocka_unit_test_setup_teardown(the_longest_idle_goes_first_and_an_owed_answer_never, setup_three, teardown),
		cmocka_unit_test_setup_teardown(without_anything_to_give_up_the_new_one_is_refused, setup_three, teardown),
		IN_WORLD(a_lack_of_descriptors_does_not_spin),
		IN_WORLD(stopping_closes_the_idle_and_lets_the_others_finish),
		IN_WORLD(freeing_closes_all_and_calls_no_hook),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
