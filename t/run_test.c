/* run: how each command type ends and what its result says, with a small server and a clock in memory. */
#include "fakeworld.h"
#include "../run.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MS 1000
#define LIMIT 100000

struct bench {
	struct fakeworld *world;
	struct env env;
	struct loop *loop;
	struct run_limits limits;
	int listener, fd;                                          /* one connection at a time: the agent's GETs follow one another */
	struct buf request, requests;                              /* the one coming in; the targets of all, each with a newline */
	const char *answer;                                        /* to every request, where the target names none */
	size_t answer_len;
	int calls;
	bool completed;
	enum failure failure;
	struct buf result, error;
};

static int set_up(void **state)
{
	struct bench *b = mem_new(sizeof *b);
	int port;

	b->world = fakeworld_new(1);
	fakeworld_env(b->world, &b->env);
	b->loop = loop_new(&b->env);
	b->listener = fakeworld_listen(b->world, 3000, &port);
	b->fd = -1;
	b->limits = (struct run_limits){ 30000 * MS, 262144, NULL, NULL };
	*state = b;
	return 0;
}

static void hang_up(struct bench *b)
{
	if (b->fd >= 0)
		b->env.close(b->world, b->fd);
	b->fd = -1;
	buf_clear(&b->request);
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	hang_up(b);
	b->env.close(b->world, b->listener);
	assert_int_equal(fakeworld_open(b->world), 0);
	assert_int_equal(loop_due_us(b->loop), INT64_MAX);
	loop_free(b->loop);
	fakeworld_free(b->world);
	buf_free(&b->request);
	buf_free(&b->requests);
	buf_free(&b->result);
	buf_free(&b->error);
	free(b);
	return 0;
}

/* the server */

#define REDIRECT(status, to) "HTTP/1.1 " status " Moved\r\nLocation: " to "\r\nContent-Length: 4\r\n\r\ngone"
static const struct { const char *target, *answer; } pages[] = {
	{ "/here", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n[true]" },
	{ "/r1", REDIRECT("302", "/here") }, { "/r2", REDIRECT("301", "r1") }, { "/r3", REDIRECT("307", "?x") }, { "/r3?x", REDIRECT("308", "/r2") },
	{ "/r5", REDIRECT("303", "http://127.0.0.1:3000/r3#frag") }, { "/r6", REDIRECT("302", "//127.0.0.1:3000/r5") }, { "/loop", REDIRECT("302", "/loop") },
	{ "/ftp", REDIRECT("302", "ftp://127.0.0.1/") }, { "/space", REDIRECT("302", "/a b") }, { "/empty", REDIRECT("302", "") },
	{ "/secure", REDIRECT("302", "https://127.0.0.1:3000/") }, { "/away", REDIRECT("302", "http://127.0.0.2:3000/here") },
	{ "/nowhere", REDIRECT("302", "http://127.0.0.1:1/") }, { "/user", REDIRECT("302", "http://u:p@127.0.0.1:3000/") },
	{ "/noplace", "HTTP/1.1 302 Found\r\nContent-Length: 4\r\n\r\ngone" }, { "/choices", REDIRECT("300", "/here") },
	{ "/long", "HTTP/1.1 302 Found\r\nLocation: /here\r\n\r\nthis goes on" },
};

static void answer_one(struct bench *b)
{
	const char *p = b->request.data + 4, *text = b->answer;
	size_t n = strcspn(p, " "), len = b->answer_len;

	buf_add(&b->requests, p, n);
	buf_char(&b->requests, '\n');
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		if (strlen(pages[i].target) == n && memcmp(pages[i].target, p, n) == 0)
			text = pages[i].answer;
	if (text != b->answer)
		len = strlen(text);
	buf_clear(&b->request);
	while (text && len > 0) {
		ssize_t put = b->env.send(b->world, b->fd, text, len);
		if (put <= 0 && errno != EAGAIN)
			break;
		text += put > 0 ? put : 0;
		len -= put > 0 ? (size_t)put : 0;
		fakeworld_pass(b->world, 1);
		loop_turn(b->loop, 0);
	}
	if (text)
		hang_up(b);
}

static void serve(struct bench *b)
{
	struct sockaddr_storage peer;
	socklen_t len;
	char piece[4096];
	ssize_t n;

	if (b->fd < 0)
		b->fd = b->env.accept(b->world, b->listener, &peer, &len);
	if (b->fd < 0)
		return;
	n = b->env.recv(b->world, b->fd, piece, sizeof piece);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		hang_up(b);
	else if (n > 0)
		buf_add(&b->request, piece, (size_t)n);
	if (b->request.len && strstr(b->request.data, "\r\n\r\n"))
		answer_one(b);
}

static void turns(struct bench *b, int n)
{
	for (; n > 0; n--) {
		fakeworld_pass(b->world, 1);
		loop_turn(b->loop, 0);
		serve(b);
	}
}

/* runs */

static void told(void *arg, const struct run_end *end)
{
	struct bench *b = arg;

	b->calls++;
	b->completed = end->completed;
	b->failure = end->failure;
	buf_clear(&b->result);
	buf_clear(&b->error);
	buf_add(&b->result, end->result ? end->result : "", end->result ? end->result_len : 0);
	buf_str(&b->error, end->error ? end->error : "");
	assert_int_equal(end->completed, end->failure == FAILURE_NONE);
	assert_int_equal(end->completed, end->error == NULL);
	assert_true(end->result_len <= COMMAND_RESULT_MAX);
}

static struct run *begin(struct bench *b, enum type type, const char *payload)
{
	char *copy = mem_dup(payload);
	struct run *r;

	b->calls = 0;
	buf_clear(&b->requests);
	r = run_start(b->loop, &b->env, &b->limits, type, copy, strlen(copy), told, b);
	memset(copy, 'x', strlen(copy));
	free(copy);
	assert_int_equal(b->calls, 0);
	return r;
}

static void finish(struct bench *b)
{
	for (int i = 0; i < LIMIT && b->calls == 0; i++)
		turns(b, 1);
	assert_int_equal(b->calls, 1);
}

static struct run *begin_get(struct bench *b, const char *target)
{
	char payload[300];

	snprintf(payload, sizeof payload, "{\"url\":\"http://127.0.0.1:3000%s\"}", target);
	return begin(b, TYPE_HTTP_GET_JSON, payload);
}

static void get(struct bench *b, const char *target)
{
	begin_get(b, target);
	finish(b);
	hang_up(b);
}

/* A 200 with this body, of known length. */
static void get_body(struct bench *b, const char *body, size_t n)
{
	struct buf text = {0};

	buf_fmt(&text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
	buf_add(&text, body, n);
	b->answer = text.data;
	b->answer_len = text.len;
	get(b, "/");
	b->answer = NULL;
	buf_free(&text);
}

static void get_text(struct bench *b, const char *answer)
{
	b->answer = answer;
	b->answer_len = strlen(answer);
	get(b, "/");
	b->answer = NULL;
}

static void expect(struct bench *b, bool completed, const char *result)
{
	assert_string_equal(b->result.data ? b->result.data : "", result);
	assert_int_equal(b->completed, completed);
}

/* The words of a GET that got no answer, in both places. */
static void expect_failure(struct bench *b, enum failure failure, const char *words)
{
	struct buf want = {0};

	buf_fmt(&want, "{\"status\":0,\"body\":null,\"truncated\":false,\"bytesReturned\":0,\"error\":\"%s\"}", words);
	expect(b, false, want.data);
	assert_string_equal(b->error.data, words);
	assert_int_equal(b->failure, failure);
	buf_free(&want);
}

/* DELAY */

static void a_delay_takes_its_time(void **state)
{
	struct bench *b = *state;

	begin(b, TYPE_DELAY, "{\"ms\":1500}");
	turns(b, 3);
	fakeworld_pass(b->world, 1499 * MS);
	turns(b, 3);
	assert_int_equal(b->calls, 0);
	fakeworld_wall(b->world, 100000);
	fakeworld_pass(b->world, 1 * MS);
	finish(b);
	expect(b, true, "{\"ok\":true,\"tookMs\":1500}");
}

static void a_delay_of_nothing_ends_at_once(void **state)
{
	begin(*state, TYPE_DELAY, "{\"ms\":0}");
	finish(*state);
	expect(*state, true, "{\"ok\":true,\"tookMs\":0}");
}

static void a_stopped_delay_says_why(void **state)
{
	struct bench *b = *state;
	struct run *r = begin(b, TYPE_DELAY, "{\"ms\":1500}");

	turns(b, 2);
	run_stop(r, FAILURE_CANCELLED, "enough");
	assert_int_equal(b->calls, 0);
	loop_turn(b->loop, 0);
	assert_int_equal(b->calls, 0);                             /* a later turn: the clock has not moved */
	run_stop(r, FAILURE_TIMEOUT, "a second word");
	finish(b);
	expect(b, false, "");
	assert_int_equal(b->failure, FAILURE_CANCELLED);
	assert_string_equal(b->error.data, "enough");
}

static void a_dropped_run_is_silent(void **state)
{
	struct bench *b = *state;

	run_drop(begin(b, TYPE_DELAY, "{\"ms\":1}"));
	run_drop(begin_get(b, "/here"));
	struct run *r = begin_get(b, "/here");
	turns(b, 2);
	run_drop(r);
	run_drop(NULL);
	fakeworld_pass(b->world, 60000 * MS);
	turns(b, 5);
	assert_int_equal(b->calls, 0);
}

static void a_run_that_has_ended_cannot_be_stopped(void **state)
{
	struct bench *b = *state;
	struct run *r = begin(b, TYPE_DELAY, "{\"ms\":0}");

	fakeworld_pass(b->world, 1);
	loop_turn(b->loop, 0);
	run_stop(r, FAILURE_CANCELLED, "too late");
	finish(b);
	assert_true(b->completed);
}

/* HTTP_GET_JSON: answers */

static const struct { const char *answer, *result; } answers[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n {\"a\": [1e400]}\n",
		"{\"status\":200,\"body\":{\"a\": [1e400]},\"truncated\":false,\"bytesReturned\":15,\"error\":null}" },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nnu\r\n2\r\nll\r\n0\r\n\r\n",
		"{\"status\":200,\"body\":null,\"truncated\":false,\"bytesReturned\":4,\"error\":null}" },
	{ "HTTP/1.1 404 Nix\r\nContent-Length: 2\r\n\r\n{}", "{\"status\":404,\"body\":{},\"truncated\":false,\"bytesReturned\":2,\"error\":\"HTTP 404 Not Found\"}" },
	{ "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno",
		"{\"status\":500,\"body\":\"no\",\"truncated\":false,\"bytesReturned\":2,\"error\":\"HTTP 500 Internal Server Error; "
		"the body is not JSON: not a JSON value at byte 0\"}" },
	{ "HTTP/1.1 204 No Content\r\n\r\n", "{\"status\":204,\"body\":null,\"truncated\":false,\"bytesReturned\":0,\"error\":null}" },
	{ "HTTP/1.1 304 Not Modified\r\n\r\n", "{\"status\":304,\"body\":null,\"truncated\":false,\"bytesReturned\":0,\"error\":\"HTTP 304 Not Modified\"}" },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "{\"status\":200,\"body\":null,\"truncated\":false,\"bytesReturned\":0,\"error\":\"the body is empty\"}" },
	{ "HTTP/1.1 200 OK\r\n\r\n", "{\"status\":200,\"body\":null,\"truncated\":false,\"bytesReturned\":0,\"error\":\"the body is empty\"}" },
};

static void any_whole_answer_is_a_completed_command(void **state)
{
	struct bench *b = *state;

	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		get_text(b, answers[i].answer);
		assert_true(b->completed);
		if (!strstr(answers[i].answer, "\r\n\r\nno"))
			expect(b, true, answers[i].result);
		else
			assert_int_equal(strncmp(b->result.data, answers[i].result, strcspn(answers[i].result, ";")), 0);
	}
}

static void what_is_not_json_becomes_a_string(void **state)
{
	struct bench *b = *state;

	static const char text[] = "a\xff\0\xc3\xa9\"\n\xe2\x82", want[] = "{\"status\":200,\"body\":\"a\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9\\\"\\n\xef\xbf\xbd\",\"truncated\":false,"
		"\"bytesReturned\":9,\"error\":\"the body is not JSON: ";

	get_body(b, text, sizeof text - 1);
	assert_int_equal(strncmp(b->result.data, want, sizeof want - 1), 0);
	get_body(b, "{\"a\":1}}", 8);
	assert_non_null(strstr(b->result.data, "\"body\":\"{\\\"a\\\":1}}\""));
	get_body(b, "\xef\xbb\xbf{}", 5);
	assert_non_null(strstr(b->result.data, "the body is not JSON: "));
}

static void a_result_can_still_be_read_inside_a_list(void **state)
{
	struct bench *b = *state;
	char deep[2 * JSON_DEPTH + 1];
	struct buf list = {0};
	struct json v;

	for (int depth = JSON_DEPTH - 6; depth <= JSON_DEPTH; depth++) {
		memset(deep, '[', (size_t)depth);
		memset(deep + depth, ']', (size_t)depth);
		get_body(b, deep, 2 * (size_t)depth);
		buf_clear(&list);
		buf_fmt(&list, "{\"items\":[{\"result\":%s}]}", b->result.data);
		assert_true(json_read(list.data, list.len, JSON_DEPTH, &v, NULL));
		assert_int_equal(strstr(b->result.data, "\"body\":[") != NULL, depth <= JSON_DEPTH - 4);
	}
	buf_free(&list);
}

static void a_long_body_is_cut_between_characters(void **state)
{
	struct bench *b = *state;

	b->limits.http_max_bytes = 4;
	get_body(b, "[1,2]", 5);
	expect(b, true, "{\"status\":200,\"body\":\"[1,2\",\"truncated\":true,\"bytesReturned\":4,\"error\":\"the body was cut at 4 bytes\"}");
	get_body(b, "abc\xc3\xa9", 5);
	expect(b, true, "{\"status\":200,\"body\":\"abc\",\"truncated\":true,\"bytesReturned\":3,\"error\":\"the body was cut at 3 bytes\"}");
	get_body(b, "a\xf0\x9f\x98\x80", 5);
	expect(b, true, "{\"status\":200,\"body\":\"a\",\"truncated\":true,\"bytesReturned\":1,\"error\":\"the body was cut at 1 bytes\"}");
	get_body(b, "ab\xc3\xa9 ", 5);
	expect(b, true, "{\"status\":200,\"body\":\"ab\xc3\xa9\",\"truncated\":true,\"bytesReturned\":4,\"error\":\"the body was cut at 4 bytes\"}");
	get_body(b, "[12]", 4);
	expect(b, true, "{\"status\":200,\"body\":[12],\"truncated\":false,\"bytesReturned\":4,\"error\":null}");
}

static void a_result_never_outgrows_its_limit(void **state)
{
	static const char kinds[] = { '\x01', '"', '\0', '\xff', '\n', 'x', '\x7f' };
	struct bench *b = *state;
	size_t n = 1000000;
	char *body = mem_new(n);
	struct json v;

	b->limits.http_max_bytes = COMMAND_RESULT_MAX;
	for (size_t i = 0; i < sizeof kinds; i++) {
		memset(body, kinds[i], n);
		get_body(b, body, n);
		assert_in_range(b->result.len, COMMAND_RESULT_MAX / 3 * 2, COMMAND_RESULT_MAX);
		assert_true(json_read(b->result.data, b->result.len, JSON_DEPTH, &v, NULL));
		assert_int_equal(strstr(b->result.data, "\"truncated\":true") != NULL, kinds[i] != 'x' && kinds[i] != '\x7f');
	}
	free(body);
}

static void json_too_long_for_a_result_is_cut(void **state)
{
	struct bench *b = *state;
	size_t n = COMMAND_RESULT_MAX;
	char *body = mem_new(n);

	memset(body, ' ', n);
	body[0] = '1';
	b->limits.http_max_bytes = n;
	get_body(b, body, n);
	assert_true(b->completed && strstr(b->result.data, "\"truncated\":true"));
	free(body);
}

static void says_who_asks_and_for_what(void **state)
{
	struct bench *b = *state;
	struct run *r = begin_get(b, "/x?y=1");
	char piece[1000];
	ssize_t n;

	for (int i = 0; i < 5; i++) {
		fakeworld_pass(b->world, 1);
		loop_turn(b->loop, 0);
	}
	b->fd = b->env.accept(b->world, b->listener, &(struct sockaddr_storage){ .ss_family = 0 }, &(socklen_t){ 0 });
	n = b->env.recv(b->world, b->fd, piece, sizeof piece - 1);
	assert_true(n > 0);
	piece[n] = '\0';
	assert_string_equal(piece, "GET /x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUser-Agent: onlyonce\r\nAccept: application/json\r\n"
		"Accept-Encoding: identity\r\nConnection: close\r\n\r\n");
	run_drop(r);
}

/* HTTP_GET_JSON: redirects */

static void follows_five_redirects_on_fresh_connections(void **state)
{
	struct bench *b = *state;

	get(b, "/r5");
	expect(b, true, "{\"status\":200,\"body\":[true],\"truncated\":false,\"bytesReturned\":6,\"error\":null}");
	assert_string_equal(b->requests.data, "/r5\n/r3\n/r3?x\n/r2\n/r1\n/here\n");
	get(b, "/long");
	assert_string_equal(b->requests.data, "/long\n/here\n");
	get(b, "/r6");
	expect_failure(b, FAILURE_EXECUTION_FAILED, "more than 5 redirects");
	get(b, "/loop");
	expect_failure(b, FAILURE_EXECUTION_FAILED, "more than 5 redirects");
	assert_string_equal(b->requests.data, "/loop\n/loop\n/loop\n/loop\n/loop\n/loop\n");
}

static void refuses_redirects_to_nowhere(void **state)
{
	struct bench *b = *state;

	get(b, "/ftp");
	expect_failure(b, FAILURE_EXECUTION_FAILED, "a redirect to nowhere: not an http or https URL");
	get(b, "/space");
	expect_failure(b, FAILURE_EXECUTION_FAILED, "a redirect to nowhere: the URL has a space");
	get(b, "/user");
	expect_failure(b, FAILURE_EXECUTION_FAILED, "a redirect to nowhere: the URL has user info, which is not sent");
	get(b, "/nowhere");
	expect_failure(b, FAILURE_EXECUTION_FAILED, "connection refused by 127.0.0.1:1");
	get(b, "/secure");
	assert_false(b->completed);
	assert_non_null(strstr(b->error.data, "https is not"));
}

static void a_redirect_without_a_place_is_an_answer(void **state)
{
	struct bench *b = *state;

	get(b, "/noplace");
	assert_true(b->completed && strstr(b->result.data, "\"error\":\"HTTP 302 Found; the body is not JSON: "));
	get(b, "/choices");
	assert_true(b->completed && strstr(b->result.data, "{\"status\":300,"));
	assert_string_equal(b->requests.data, "/choices\n");
}

static void every_hop_is_guarded(void **state)
{
	struct bench *b = *state;
	const char *why;
	struct call_guard *g = call_guard_new("127.0.0.2", NULL, &why);

	b->limits.guard = g;
	get(b, "/away");
	expect_failure(b, FAILURE_EXECUTION_FAILED, "127.0.0.2:3000 is an address that this agent may not connect to (--http-deny)");
	assert_string_equal(b->requests.data, "/away\n");
	call_guard_free(g);
	b->limits.guard = NULL;
	get(b, "/away");
	assert_true(b->completed);
}

/* HTTP_GET_JSON: no answer */

static void no_answer_is_a_failure_in_words(void **state)
{
	struct bench *b = *state;

	get_text(b, "SSH-2.0-x\r\n");
	expect_failure(b, FAILURE_EXECUTION_FAILED, "the answer is malformed: the HTTP version is malformed");
	get_text(b, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}");
	expect_failure(b, FAILURE_EXECUTION_FAILED, "connection closed after 2 of 9 bytes");
	get_text(b, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}");
	expect_failure(b, FAILURE_EXECUTION_FAILED, "the answer is encoded (gzip), which was not asked for");
}

static void a_get_is_never_sent_twice(void **state)
{
	struct bench *b = *state;

	get_text(b, "");
	expect_failure(b, FAILURE_EXECUTION_FAILED, "connection closed by 127.0.0.1:3000 before an answer");
	assert_string_equal(b->requests.data, "/\n");
}

static void all_hops_share_one_deadline(void **state)
{
	struct bench *b = *state;

	begin_get(b, "/r1");
	fakeworld_pass(b->world, 29000 * MS);
	b->answer = NULL;
	turns(b, 10);
	assert_int_equal(b->calls, 1);
	assert_true(b->completed);
	begin_get(b, "/silent");
	turns(b, 5);
	fakeworld_pass(b->world, 30000 * MS);
	finish(b);
	expect_failure(b, FAILURE_TIMEOUT, "no answer within 30000 ms");
}

static void a_slow_first_hop_leaves_less_for_the_second(void **state)
{
	struct bench *b = *state;
	static const char to_silence[] = "HTTP/1.1 302 Found\r\nLocation: /silent\r\nContent-Length: 0\r\n\r\n";

	begin_get(b, "/silent");
	turns(b, 4);
	fakeworld_pass(b->world, 20000 * MS);
	assert_int_equal(b->env.send(b->world, b->fd, to_silence, sizeof to_silence - 1), (ssize_t)sizeof to_silence - 1);
	for (int i = 0; i < 6; i++) {
		fakeworld_pass(b->world, 1);
		loop_turn(b->loop, 0);
		hang_up(b);
		if (i == 0)
			continue;
		serve(b);
		if (b->fd >= 0)
			break;
	}
	turns(b, 3);
	fakeworld_pass(b->world, 9999 * MS);
	turns(b, 2);
	assert_int_equal(b->calls, 0);
	fakeworld_pass(b->world, 1 * MS);
	finish(b);
	assert_int_equal(b->failure, FAILURE_TIMEOUT);
	assert_string_equal(b->error.data, "no answer within 10000 ms");
}

static void a_stopped_get_closes_and_says_why(void **state)
{
	struct bench *b = *state;
	struct run *r = begin_get(b, "/silent");
	char byte;

	turns(b, 5);
	run_stop(r, FAILURE_CANCELLED, "the command was cancelled\xff");
	assert_int_equal(b->env.recv(b->world, b->fd, &byte, 1), 0);
	finish(b);
	expect_failure(b, FAILURE_CANCELLED, "the command was cancelled\xef\xbf\xbd");
}

#define with_bench(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_bench(a_delay_takes_its_time), with_bench(a_delay_of_nothing_ends_at_once), with_bench(a_stopped_delay_says_why),
		with_bench(a_dropped_run_is_silent), with_bench(a_run_that_has_ended_cannot_be_stopped), with_bench(any_whole_answer_is_a_completed_command),
		with_bench(what_is_not_json_becomes_a_string), with_bench(a_result_can_still_be_read_inside_a_list),
		with_bench(a_long_body_is_cut_between_characters), with_bench(a_result_never_outgrows_its_limit), with_bench(json_too_long_for_a_result_is_cut),
		with_bench(says_who_asks_and_for_what), with_bench(follows_five_redirects_on_fresh_connections), with_bench(refuses_redirects_to_nowhere),
		with_bench(a_redirect_without_a_place_is_an_answer), with_bench(every_hop_is_guarded), with_bench(no_answer_is_a_failure_in_words),
		with_bench(a_get_is_never_sent_twice), with_bench(all_hops_share_one_deadline), with_bench(a_slow_first_hop_leaves_less_for_the_second),
		with_bench(a_stopped_get_closes_and_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
