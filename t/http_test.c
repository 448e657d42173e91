/* http_test: heads, chunked bodies and formatting. Every message of every table is also fed byte by byte and in every two-piece cut,
 * each time from memory that ends where the message does, so that a sanitizer sees a read too far. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "../http.h"

struct message { int expected; const char *text; size_t n; };
#define MSG(expected, text) { expected, text, sizeof text - 1 }
#define COUNT(table) (sizeof table / sizeof table[0])

/* feeding */

static void dump_text(struct buf *out, struct http_text t)
{
	buf_fmt(out, "%d:", t.p ? (int)t.n : -1);
	buf_add(out, t.p ? t.p : "", t.p ? t.n : 0);
	buf_char(out, '\n');
}

static void dump_head(struct buf *out, const struct http_head *h)
{
	const struct http_text *const parts[] = { &h->method, &h->target, &h->path, &h->query, &h->host };
	for (size_t i = 0; i < COUNT(parts); i++)
		dump_text(out, *parts[i]);
	buf_fmt(out, "%d %d %d %lld %d %d\n", h->status, h->minor, h->chunked, (long long)h->length, h->close, h->expect_continue);
	for (int i = 0; i < h->fields_count; i++) {
		dump_text(out, h->fields[i].name);
		dump_text(out, h->fields[i].value);
	}
}

/* One call on a copy of its own; what it said goes to dump. */
static int read_copy(bool request, const char *text, size_t n, size_t *seen, struct buf *dump)
{
	struct http_head head;
	const char *why = NULL;
	char *copy = malloc(n ? n : 1);
	assert_non_null(copy);
	memcpy(copy, text, n);
	int result = request ? http_read_request(copy, n, seen, &head, &why) : http_read_response(copy, n, seen, &head, &why);
	buf_clear(dump);
	buf_str(dump, why ? why : "");
	assert_true((result < 0) == (why != NULL));
	assert_int_equal(*seen, result == 0 ? n : 0);
	if (result > 0)
		dump_head(dump, &head);
	free(copy);
	return result;
}

static int read_whole(bool request, const char *text, size_t n, struct buf *dump)
{
	size_t seen = 0;
	return read_copy(request, text, n, &seen, dump);
}

static int read_cut(bool request, const char *text, size_t n, size_t cut, struct buf *dump)
{
	size_t seen = 0;
	int result = read_copy(request, text, cut, &seen, dump);
	return result ? result : read_copy(request, text, n, &seen, dump);
}

static int read_bytes(bool request, const char *text, size_t n, struct buf *dump)
{
	size_t seen = 0;
	int result = 0;
	for (size_t i = 0; i <= n && !result; i++)
		result = read_copy(request, text, i, &seen, dump);
	return result;
}

/* The result, the same however the message is cut. */
static int read_all_ways(bool request, const char *text, size_t n)
{
	struct buf whole = { 0 }, other = { 0 };
	int result = read_whole(request, text, n, &whole);
	for (size_t cut = 0; cut <= n; cut++) {
		assert_int_equal(read_cut(request, text, n, cut, &other), result);
		assert_string_equal(other.data, whole.data);
	}
	assert_int_equal(read_bytes(request, text, n, &other), result);
	assert_string_equal(other.data, whole.data);
	buf_free(&whole);
	buf_free(&other);
	return result;
}

static void check_table(bool request, const struct message *table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int expected = table[i].expected == 0 ? (int)table[i].n : -table[i].expected;
		int result = read_all_ways(request, table[i].text, table[i].n);
		if (!request && result < 0 && expected < 0)
			continue;                                          /* for a response any refusal will do */
		if (result != expected)
			fail_msg("row %zu: %d instead of %d: %s", i, result, expected, table[i].text);
	}
}

static bool is_token_byte(int c)
{
	return c != 0 && strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", c) != NULL;
}

/* requests */

#define HOST "Host: h\r\n"
#define GET(fields) "GET / HTTP/1.1\r\n" HOST fields "\r\n"
#define LINE(line) line "\r\n" HOST "\r\n"

static const struct message good_requests[] = {
	MSG(0, GET("")),
	MSG(0, "\r\n" GET("")),
	MSG(0, GET("A:\r\n")),
	MSG(0, GET("A: \t b \t \r\n")),
	MSG(0, GET("A: a\tb c\r\n")),
	MSG(0, GET("A: \x80\xff\r\n")),
	MSG(0, GET("!#$%&'*+-.^_`|~09azAZ: x\r\n")),
	MSG(0, GET("Content-Length: 0\r\n")),
	MSG(0, GET("Content-Length: 007\r\n")),
	MSG(0, GET("Content-Length: 9223372036854775807\r\n")),
	MSG(0, GET("content-LENGTH:5\r\n")),
	MSG(0, GET("Transfer-Encoding: CHUNKed\r\n")),
	MSG(0, GET("Expect: 100-Continue\r\n")),
	MSG(0, GET("Connection: ,keep-alive,, foo\r\n")),
	MSG(0, "GET / HTTP/1.0\r\n\r\n"),
	MSG(0, "GET / HTTP/1.0\r\nContent-Length: 3\r\n\r\n"),
	MSG(0, "GET / HTTP/1.9\r\n" HOST "\r\n"),
	MSG(0, "GET / HTTP/1.1\r\nhost:h\r\n\r\n"),
	MSG(0, "GET / HTTP/1.1\r\nHost: a-b.example:8080\r\n\r\n"),
	MSG(0, "GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n"),
	MSG(0, "GET / HTTP/1.1\r\nHost: [::1]:65535\r\n\r\n"),
	MSG(0, "GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\n\r\n"),
	MSG(0, LINE("GET /a/b?c=d&e=%20f? HTTP/1.1")),
	MSG(0, LINE("GET http://example.com:80/x?y HTTP/1.1")),
	MSG(0, LINE("GET HTTPS://[::1] HTTP/1.1")),
	MSG(0, LINE("GET http://h?q HTTP/1.1")),
	MSG(0, LINE("OPTIONS * HTTP/1.1")),
	MSG(0, LINE("OPTIONS http://h HTTP/1.1")),
	MSG(0, LINE("CONNECT h:443 HTTP/1.1")),
	MSG(0, LINE("M-SEARCH / HTTP/1.1")),
	MSG(0, LINE("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1")),
};

static const struct message bad_requests[] = {
	/* start line */
	MSG(400, "\r\n\r\n" GET("")),
	MSG(400, "\n" GET("")),
	MSG(400, "\r\r\n" GET("")),
	MSG(400, " \r\n" GET("")),
	MSG(400, LINE(" GET / HTTP/1.1")),
	MSG(400, LINE("\tGET / HTTP/1.1")),
	MSG(400, LINE("GET  / HTTP/1.1")),
	MSG(400, LINE("GET /  HTTP/1.1")),
	MSG(400, LINE("GET\t/\tHTTP/1.1")),
	MSG(400, LINE("GET / HTTP/1.1 ")),
	MSG(400, LINE("GET / HTTP/1.1\t")),
	MSG(400, LINE("GET / HTTP/1.1 x")),
	MSG(400, LINE("GET / HTTP/1.1x")),
	MSG(400, LINE("GET / http/1.1")),
	MSG(400, LINE("GET / Http/1.1")),
	MSG(400, LINE("GET / HTTP/1.")),
	MSG(400, LINE("GET / HTTP/1")),
	MSG(400, LINE("GET / HTTP/.1")),
	MSG(400, LINE("GET / HTTP/1.10")),
	MSG(400, LINE("GET / HTTP/11.1")),
	MSG(400, LINE("GET / HTTP/1,1")),
	MSG(400, LINE("GET / HTTP/a.b")),
	MSG(400, LINE("GET / HTTP 1.1")),
	MSG(400, LINE("GET / HTTPS/1.1")),
	MSG(400, LINE("GET / ")),
	MSG(400, LINE("GET /")),
	MSG(400, LINE("GET")),
	MSG(400, LINE("GET ")),
	MSG(400, LINE("GET  HTTP/1.1")),
	MSG(400, LINE("GET HTTP/1.1")),
	MSG(400, LINE(" / HTTP/1.1")),
	MSG(400, LINE("/ HTTP/1.1")),
	MSG(400, LINE("HTTP/1.1 200 OK")),
	MSG(400, LINE("G:T / HTTP/1.1")),
	MSG(400, LINE("G\0T / HTTP/1.1")),
	MSG(400, LINE("G\xc3\xa9T / HTTP/1.1")),
	MSG(400, LINE("(GET) / HTTP/1.1")),
	MSG(400, LINE("GET / HTTP/1.1\r")),
	MSG(400, LINE("\rGET / HTTP/1.1")),
	MSG(400, "GET / HTTP/1.1\n" HOST "\r\n"),
	MSG(400, "GET / HTTP/1.1\n" "Host: h\n\n"),
	MSG(400, "GET / HTTP/1.1\r" HOST "\r\n"),
	MSG(400, "GET /\r\n\r\n"),
	MSG(400, "\x16\x03\x01\x02\r\n"),
	MSG(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	MSG(505, LINE("GET / HTTP/2.0")),
	MSG(505, LINE("GET / HTTP/3.0")),
	MSG(505, LINE("GET / HTTP/0.9")),
	MSG(505, LINE("GET / HTTP/9.9")),
	MSG(501, LINE("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1")),
	/* targets */
	MSG(400, LINE("GET /a b HTTP/1.1")),
	MSG(400, LINE("GET /a\tb HTTP/1.1")),
	MSG(400, LINE("GET /a\0b HTTP/1.1")),
	MSG(400, LINE("GET /a\rb HTTP/1.1")),
	MSG(400, LINE("GET /\x7f HTTP/1.1")),
	MSG(400, LINE("GET /\xc3\xa9 HTTP/1.1")),
	MSG(400, LINE("GET /a#b HTTP/1.1")),
	MSG(400, LINE("GET # HTTP/1.1")),
	MSG(400, LINE("GET /a\\b HTTP/1.1")),
	MSG(400, LINE("GET a HTTP/1.1")),
	MSG(400, LINE("GET ?a HTTP/1.1")),
	MSG(400, LINE("GET * HTTP/1.1")),
	MSG(400, LINE("POST * HTTP/1.1")),
	MSG(400, LINE("OPTIONS ** HTTP/1.1")),
	MSG(400, LINE("OPTIONS *?a HTTP/1.1")),
	MSG(400, LINE("GET h:443 HTTP/1.1")),
	MSG(400, LINE("GET ftp://h/ HTTP/1.1")),
	MSG(400, LINE("GET http:/h/ HTTP/1.1")),
	MSG(400, LINE("GET http:h HTTP/1.1")),
	MSG(400, LINE("GET http: HTTP/1.1")),
	MSG(400, LINE("GET http HTTP/1.1")),
	MSG(400, LINE("GET http:/ HTTP/1.1")),
	MSG(400, LINE("GET http:// HTTP/1.1")),
	MSG(400, LINE("GET http:///a HTTP/1.1")),
	MSG(400, LINE("GET http://?a HTTP/1.1")),
	MSG(400, LINE("GET http://u@h/ HTTP/1.1")),
	MSG(400, LINE("GET http://h:0/ HTTP/1.1")),
	MSG(400, LINE("GET http://h:65536/ HTTP/1.1")),
	MSG(400, LINE("GET http://[::1/ HTTP/1.1")),
	MSG(400, LINE("CONNECT / HTTP/1.1")),
	MSG(400, LINE("CONNECT h HTTP/1.1")),
	MSG(400, LINE("CONNECT h: HTTP/1.1")),
	MSG(400, LINE("CONNECT h:443/ HTTP/1.1")),
	MSG(400, LINE("CONNECT http://h:443 HTTP/1.1")),
	/* Host */
	MSG(400, "GET / HTTP/1.1\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHosts: h\r\n\r\n"),
	MSG(400, LINE("GET http://h/ HTTP/1.1\r\nHost: h")),
	MSG(400, "GET http://h/ HTTP/1.1\r\n\r\n"),
	MSG(400, GET(HOST)),
	MSG(400, GET("hOST: other\r\n")),
	MSG(400, "GET / HTTP/1.0\r\n" HOST HOST "\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: \r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: a%62\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: h\\\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: h:x\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: h:0\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: h:-1\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: h:99999\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: h:80:80\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: :80\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: []\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost: http://h\r\n\r\n"),
	/* field lines */
	MSG(400, "GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\n\tHost: h\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\n \r\n" HOST "\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost : h\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\nHost\t: h\r\n\r\n"),
	MSG(400, GET("A: b\r\n c\r\n")),
	MSG(400, GET("A: b\r\n\tc\r\n")),
	MSG(400, GET("A: b\r\n \r\n")),
	MSG(400, GET("A\r\n")),
	MSG(400, GET("A b\r\n")),
	MSG(400, GET(": b\r\n")),
	MSG(400, GET(":\r\n")),
	MSG(400, GET("A B: c\r\n")),
	MSG(400, GET("A(B): c\r\n")),
	MSG(400, GET("A\0: c\r\n")),
	MSG(400, GET("\xc3\xa9: c\r\n")),
	MSG(400, GET("A: b\0c\r\n")),
	MSG(400, GET("A: b\rc\r\n")),
	MSG(400, GET("A: b\r\r\n")),
	MSG(400, GET("A:\r\r\n")),
	MSG(400, GET("A: b\n")),
	MSG(400, GET("A: b\nC: d\r\n")),
	MSG(400, GET("A: b\x0b\r\n")),
	MSG(400, GET("A: b\x7f\r\n")),
	MSG(400, GET("A: \x1b[2J\r\n")),
	MSG(400, "GET / HTTP/1.1\r\n" HOST "\n"),
	MSG(400, "GET / HTTP/1.1\r\n" HOST "\r\r\n"),
	/* lengths */
	MSG(400, GET("Content-Length:\r\n")),
	MSG(400, GET("Content-Length: \t\r\n")),
	MSG(400, GET("Content-Length: +5\r\n")),
	MSG(400, GET("Content-Length: -5\r\n")),
	MSG(400, GET("Content-Length: -0\r\n")),
	MSG(400, GET("Content-Length: 5 5\r\n")),
	MSG(400, GET("Content-Length: 5,5\r\n")),
	MSG(400, GET("Content-Length: 5, 6\r\n")),
	MSG(400, GET("Content-Length: 5;\r\n")),
	MSG(400, GET("Content-Length: 5.0\r\n")),
	MSG(400, GET("Content-Length: 0x5\r\n")),
	MSG(400, GET("Content-Length: 5a\r\n")),
	MSG(400, GET("Content-Length: a\r\n")),
	MSG(400, GET("Content-Length: 1e1\r\n")),
	MSG(400, GET("Content-Length: 1_0\r\n")),
	MSG(400, GET("Content-Length: \"5\"\r\n")),
	MSG(400, GET("Content-Length: 9223372036854775808\r\n")),
	MSG(400, GET("Content-Length: 18446744073709551616\r\n")),
	MSG(400, GET("Content-Length: 18446744073709551621\r\n")),
	MSG(400, GET("Content-Length: 99999999999999999999999999999999\r\n")),
	MSG(400, GET("Content-Length: 5\r\nContent-Length: 5\r\n")),
	MSG(400, GET("Content-Length: 5\r\nContent-Length: 6\r\n")),
	MSG(400, GET("Content-Length: 5\r\ncontent-length: 5\r\n")),
	MSG(400, GET("Content-Length : 5\r\n")),
	MSG(400, GET("Content-Length\0: 5\r\n")),
	/* codings */
	MSG(400, GET("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
	MSG(400, GET("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")),
	MSG(400, GET("Transfer-Encoding: identity\r\nContent-Length: 5\r\n")),
	MSG(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
	MSG(400, "POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n"),
	MSG(400, GET("Transfer-Encoding : chunked\r\n")),
	MSG(400, GET("Transfer-Encoding: chunked\x0b\r\n")),
	MSG(400, GET("Transfer-Encoding:\r\n chunked\r\n")),
	MSG(400, GET("Transfer-Encoding: \0chunked\r\n")),
	MSG(501, GET("Transfer-Encoding:\r\n")),
	MSG(501, GET("Transfer-Encoding: identity\r\n")),
	MSG(501, GET("Transfer-Encoding: gzip\r\n")),
	MSG(501, GET("Transfer-Encoding: gzip, chunked\r\n")),
	MSG(501, GET("Transfer-Encoding: chunked, gzip\r\n")),
	MSG(501, GET("Transfer-Encoding: chunked, chunked\r\n")),
	MSG(501, GET("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
	MSG(501, GET("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")),
	MSG(501, GET("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n")),
	MSG(501, GET("Transfer-Encoding: xchunked\r\n")),
	MSG(501, GET("Transfer-Encoding: chunkedx\r\n")),
	MSG(501, GET("Transfer-Encoding: chunked;q=1\r\n")),
	MSG(501, GET("Transfer-Encoding: ,chunked\r\n")),
	MSG(501, GET("Transfer-Encoding: \"chunked\"\r\n")),
	/* expectations */
	MSG(417, GET("Expect: 200-ok\r\n")),
	MSG(417, GET("Expect:\r\n")),
	MSG(417, GET("Expect: 100-continue, x\r\n")),
	MSG(417, GET("Expect: 100-continuex\r\n")),
};

static void accepts_what_the_rfc_allows(void **state)
{
	(void)state;
	check_table(true, good_requests, COUNT(good_requests));
}

static void refuses_each_malformed_request_with_its_status(void **state)
{
	(void)state;
	assert_true(COUNT(bad_requests) >= 150);
	check_table(true, bad_requests, COUNT(bad_requests));
}

static void waits_for_the_end_of_every_good_head(void **state)
{
	(void)state;
	struct buf dump = { 0 };
	for (size_t i = 0; i < COUNT(good_requests); i++)
		for (size_t n = 0; n < good_requests[i].n; n++)
			assert_int_equal(read_whole(true, good_requests[i].text, n, &dump), 0);
	buf_free(&dump);
}

/* Each byte value at a place of a message; good says whether it may stand there. */
static void check_every_byte(const char *before, const char *after, bool (*good)(int), int refusal)
{
	for (int c = 0; c < 256; c++) {
		struct buf text = { 0 }, dump = { 0 };
		buf_str(&text, before);
		buf_char(&text, (char)c);
		buf_str(&text, after);
		int result = read_whole(true, text.data, text.len, &dump);
		if (result != (good(c) ? (int)text.len : -refusal))
			fail_msg("byte %d between '%s' and '%s': %d", c, before, after, result);
		buf_free(&text);
		buf_free(&dump);
	}
}

static bool good_in_value(int c) { return c == '\t' || (c >= ' ' && c != 0x7f); }
static bool good_in_name(int c) { return c == ':' || is_token_byte(c); }   /* a colon there ends the name sooner */
static bool good_in_target(int c) { return c > ' ' && c < 0x7f && c != '#' && c != '\\'; }
static bool good_in_host(int c) { return c != 0 && strchr("-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", c) != NULL; }

static void judges_every_byte_at_every_place(void **state)
{
	(void)state;
	check_every_byte("GET / HTTP/1.1\r\n" HOST "A: b", "c\r\n\r\n", good_in_value, 400);
	check_every_byte("GET / HTTP/1.1\r\n" HOST "A", "B: c\r\n\r\n", good_in_name, 400);
	check_every_byte("GET / HTTP/1.1\r\n" HOST, "B: c\r\n\r\n", is_token_byte, 400);
	check_every_byte("G", "T / HTTP/1.1\r\n" HOST "\r\n", is_token_byte, 400);
	check_every_byte("GET /a", "b HTTP/1.1\r\n" HOST "\r\n", good_in_target, 400);
	check_every_byte("GET / HTTP/1.1\r\nHost: a", "b\r\n\r\n", good_in_host, 400);
}

static void refuses_a_bad_line_without_waiting_for_the_rest(void **state)
{
	(void)state;
	struct buf dump = { 0 };
	assert_int_equal(read_whole(true, "GET /\r\n", 7, &dump), -400);
	assert_int_equal(read_whole(true, "GET / HTTP/2.0\r\n", 16, &dump), -505);
	assert_int_equal(read_whole(true, "GET / HTTP/1.1\r\nA : b\r\n", 23, &dump), -400);
	assert_int_equal(read_whole(true, "GET / HTTP/1.1\r\n\n", 17, &dump), -400);
	assert_int_equal(read_whole(false, "HTTP/1.1 20\r\n", 13, &dump), -400);
	buf_free(&dump);
}

static void reads_all_parts_of_a_request(void **state)
{
	(void)state;
	static const char text[] = "PATCH /api/x?a=b&c HTTP/1.1\r\nHost: example.com:80\r\nX-A:  one \t\r\nx-a: two\r\n"
		"Content-Type: application/json ; charset=utf-8\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: x, CLOSE\r\n\r\n";
	struct http_head h;
	size_t seen = 0;
	assert_int_equal(http_read_request(text, sizeof text - 1, &seen, &h, NULL), sizeof text - 1);
	assert_true(http_is(h.method, "PATCH") && http_is(h.target, "/api/x?a=b&c") && http_is(h.path, "/api/x") && http_is(h.query, "a=b&c"));
	assert_true(http_is(h.host, "example.com:80") && http_is(http_field(&h, "X-a"), "one"));
	assert_int_equal(h.fields_count, 7);
	assert_true(h.chunked && h.expect_continue && h.close && h.minor == 1 && h.length == -1);
	assert_true(http_media_is(http_field(&h, "content-type"), "Application/JSON"));
	assert_false(http_media_is(http_field(&h, "content-type"), "application/jso"));
	assert_false(http_media_is(http_field(&h, "none"), "application/json"));
	assert_null(http_field(&h, "none").p);
}

struct target_case { const char *line, *path, *query, *host; };
static const struct target_case targets[] = {
	{ "GET / HTTP/1.1", "/", NULL, "h" },
	{ "GET /? HTTP/1.1", "/", "", "h" },
	{ "GET //x/?a?b HTTP/1.1", "//x/", "a?b", "h" },
	{ "GET http://o:1/p?q HTTP/1.1", "/p", "q", "o:1" },
	{ "GET http://o HTTP/1.1", "/", NULL, "o" },
	{ "GET http://o?q HTTP/1.1", "/", "q", "o" },
	{ "OPTIONS * HTTP/1.1", "*", NULL, "h" },
	{ "OPTIONS http://o HTTP/1.1", "*", NULL, "o" },
	{ "OPTIONS http://o/ HTTP/1.1", "/", NULL, "o" },
	{ "CONNECT o:1 HTTP/1.1", "", NULL, "o:1" },
};

static void takes_every_form_of_target_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(targets); i++) {
		struct buf text = { 0 };
		struct http_head h;
		size_t seen = 0;
		buf_fmt(&text, "%s\r\n" HOST "\r\n", targets[i].line);
		assert_int_equal(http_read_request(text.data, text.len, &seen, &h, NULL), text.len);
		assert_true(http_is(h.path, targets[i].path) && http_is(h.host, targets[i].host));
		assert_true(targets[i].query ? h.query.p && http_is(h.query, targets[i].query) : !h.query.p);
		buf_free(&text);
	}
}

struct close_case { int minor; const char *fields; bool close; };
static const struct close_case closes[] = {
	{ 1, "", false }, { 1, "Connection: close\r\n", true }, { 1, "Connection: keep-alive, Close\r\n", true }, { 1, "Connection: closed\r\n", false },
	{ 1, "Connection: a\r\nConnection: b ,close\r\n", true }, { 1, "Connection: close close\r\n", false }, { 0, "", true },
	{ 0, "Connection: Keep-Alive\r\n", false }, { 0, "Connection: x\r\nConnection: y,keep-alive\r\n", false },
	{ 0, "Connection: keep-alive, close\r\n", true }, { 0, "Connection: keep-alives\r\n", true },
};

static void knows_when_the_connection_ends(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(closes); i++) {
		struct buf text = { 0 };
		struct http_head h;
		size_t seen = 0;
		buf_fmt(&text, "GET / HTTP/1.%d\r\n" HOST "%s\r\n", closes[i].minor, closes[i].fields);
		assert_int_equal(http_read_request(text.data, text.len, &seen, &h, NULL), text.len);
		assert_int_equal(h.close, closes[i].close);
		buf_free(&text);
	}
}

static void ignores_100_continue_from_http_1_0(void **state)
{
	(void)state;
	static const char text[] = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
	struct http_head h;
	size_t seen = 0;
	assert_int_equal(http_read_request(text, sizeof text - 1, &seen, &h, NULL), sizeof text - 1);
	assert_false(h.expect_continue);
	assert_int_equal(h.length, 1);
}

static void ends_the_first_of_pipelined_requests_exactly(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(good_requests); i++) {
		for (size_t j = 0; j < COUNT(good_requests) + COUNT(bad_requests); j++) {
			const struct message *next = j < COUNT(good_requests) ? &good_requests[j] : &bad_requests[j - COUNT(good_requests)];
			struct buf text = { 0 }, dump = { 0 };
			buf_add(&text, good_requests[i].text, good_requests[i].n);
			buf_add(&text, next->text, next->n);
			assert_int_equal(read_whole(true, text.data, text.len, &dump), good_requests[i].n);
			buf_free(&text);
			buf_free(&dump);
		}
	}
}

/* caps */

/* A request whose start line is line_len bytes, and whose head is head_len (0: as it comes). */
static void make_request(struct buf *out, const char *first, size_t line_len, size_t head_len)
{
	buf_clear(out);
	buf_str(out, first);
	buf_str(out, "GET /");
	while (out->len < strlen(first) + line_len - 9)
		buf_char(out, 'a');
	buf_str(out, " HTTP/1.1\r\n" HOST);
	while (head_len > out->len + 2) {
		size_t left = head_len - out->len - 2, len = left > 2000 ? 1000 : left;
		buf_str(out, "X:");
		for (size_t i = 4; i < len; i++)
			buf_char(out, 'x');
		buf_str(out, "\r\n");
	}
	buf_str(out, "\r\n");
}

/* The same by whole, by byte and for cuts around the places that matter. */
static int read_large(const struct buf *text)
{
	static const size_t places[] = { 0, 2, HTTP_LINE_MAX, HTTP_HEAD_MAX };
	struct buf whole = { 0 }, other = { 0 };
	int result = read_whole(true, text->data, text->len, &whole);
	for (size_t i = 0; i < COUNT(places); i++)
		for (size_t cut = places[i] > 8 ? places[i] - 8 : 0; cut <= text->len && cut < places[i] + 9; cut++) {
			assert_int_equal(read_cut(true, text->data, text->len, cut, &other), result);
			assert_string_equal(other.data, whole.data);
		}
	assert_int_equal(read_bytes(true, text->data, text->len, &other), result);
	assert_string_equal(other.data, whole.data);
	buf_free(&whole);
	buf_free(&other);
	return result;
}

static void caps_the_request_line_with_414(void **state)
{
	(void)state;
	struct buf text = { 0 };
	for (int empty = 0; empty < 2; empty++) {
		const char *first = empty ? "\r\n" : "";
		make_request(&text, first, HTTP_LINE_MAX, 0);
		assert_int_equal(read_large(&text), text.len);
		make_request(&text, first, HTTP_LINE_MAX + 1, 0);
		assert_int_equal(read_large(&text), -414);
		make_request(&text, first, HTTP_LINE_MAX + 2, 0);
		assert_int_equal(read_large(&text), -414);
		make_request(&text, first, 3 * HTTP_LINE_MAX, 0);
		assert_int_equal(read_large(&text), -414);
	}
	buf_free(&text);
}

static void caps_a_line_that_never_ends(void **state)
{
	(void)state;
	struct buf dump = { 0 };
	char *text = malloc(HTTP_LINE_MAX + 2);
	assert_non_null(text);
	memset(text, 'a', HTTP_LINE_MAX + 2);
	assert_int_equal(read_whole(true, text, HTTP_LINE_MAX + 1, &dump), 0);
	assert_int_equal(read_whole(true, text, HTTP_LINE_MAX + 2, &dump), -414);
	assert_true(read_whole(false, text, HTTP_LINE_MAX + 2, &dump) < 0);
	free(text);
	buf_free(&dump);
}

static void caps_the_head_with_431(void **state)
{
	(void)state;
	struct buf text = { 0 }, dump = { 0 };
	make_request(&text, "", 100, HTTP_HEAD_MAX);
	assert_int_equal(text.len, HTTP_HEAD_MAX);
	assert_int_equal(read_large(&text), HTTP_HEAD_MAX);
	make_request(&text, "\r\n", 100, HTTP_HEAD_MAX + 1);
	assert_int_equal(read_large(&text), -431);
	make_request(&text, "", HTTP_LINE_MAX, 3 * HTTP_HEAD_MAX);
	assert_int_equal(read_large(&text), -431);
	assert_int_equal(read_whole(true, text.data, HTTP_HEAD_MAX - 1, &dump), 0);
	assert_int_equal(read_whole(true, text.data, HTTP_HEAD_MAX, &dump), -431);
	buf_free(&text);
	buf_free(&dump);
}

static void caps_the_fields_with_431(void **state)
{
	(void)state;
	for (int count = HTTP_FIELDS_MAX - 1; count <= HTTP_FIELDS_MAX + 2; count++) {
		struct buf text = { 0 };
		buf_str(&text, "GET / HTTP/1.1\r\n" HOST);
		for (int i = 1; i < count; i++)
			buf_str(&text, "A:b\r\n");
		buf_str(&text, "\r\n");
		assert_int_equal(read_all_ways(true, text.data, text.len), count <= HTTP_FIELDS_MAX ? (int)text.len : -431);
		buf_free(&text);
	}
}

/* responses */

#define OK(fields) "HTTP/1.1 200 OK\r\n" fields "\r\n"

static const struct message responses[] = {
	MSG(0, OK("")),
	MSG(0, OK("Content-Length: 5\r\n")),
	MSG(0, OK("Transfer-Encoding: chunked\r\n")),
	MSG(0, OK("Host: a b\r\nHost: c\r\nExpect: x\r\n")),
	MSG(0, "HTTP/1.1 200\r\n\r\n"),
	MSG(0, "HTTP/1.1 200 \r\n\r\n"),
	MSG(0, "HTTP/1.0 404 Not \xc3\xa9 Found\tx\r\n\r\n"),
	MSG(0, "HTTP/1.7 999 x\r\n\r\n"),
	MSG(0, "HTTP/1.1 100 Continue\r\n\r\n"),
	MSG(400, "\r\n" OK("")),
	MSG(400, " " OK("")),
	MSG(400, "HTTP/1.1 20 OK\r\n\r\n"),
	MSG(400, "HTTP/1.1 2000 OK\r\n\r\n"),
	MSG(400, "HTTP/1.1 2x0 OK\r\n\r\n"),
	MSG(400, "HTTP/1.1 -20 OK\r\n\r\n"),
	MSG(400, "HTTP/1.1 099 OK\r\n\r\n"),
	MSG(400, "HTTP/1.1 000 OK\r\n\r\n"),
	MSG(400, "HTTP/1.1 200OK\r\n\r\n"),
	MSG(400, "HTTP/1.1 200\tOK\r\n\r\n"),
	MSG(400, "HTTP/1.1  200 OK\r\n\r\n"),
	MSG(400, "HTTP/1.1\t200 OK\r\n\r\n"),
	MSG(400, "HTTP/1.1200 OK\r\n\r\n"),
	MSG(400, "HTTP/1.1\r\n\r\n"),
	MSG(400, "HTTP/1.1 \r\n\r\n"),
	MSG(400, "HTTP/2.0 200 OK\r\n\r\n"),
	MSG(400, "HTTP/2 200\r\n\r\n"),
	MSG(400, "HTTP/0.9 200 OK\r\n\r\n"),
	MSG(400, "http/1.1 200 OK\r\n\r\n"),
	MSG(400, "ICY 200 OK\r\n\r\n"),
	MSG(400, "HTTP 200 OK\r\n\r\n"),
	MSG(400, "GET / HTTP/1.1\r\n\r\n"),
	MSG(400, "<html>\r\n\r\n"),
	MSG(400, "SSH-2.0-x\r\n"),
	MSG(400, "\r\n\r\n"),
	MSG(400, "HTTP/1.1 200 O\0K\r\n\r\n"),
	MSG(400, "HTTP/1.1 200 O\rK\r\n\r\n"),
	MSG(400, "HTTP/1.1 200 O\x1bK\r\n\r\n"),
	MSG(400, "HTTP/1.1 200 OK\n\n"),
	MSG(400, "HTTP/1.1 200 OK\r\nA: b\n\r\n"),
	MSG(400, OK(" A: b\r\n")),
	MSG(400, OK("A: b\r\n c\r\n")),
	MSG(400, OK("A : b\r\n")),
	MSG(400, OK("A\r\n")),
	MSG(400, OK(": b\r\n")),
	MSG(400, OK("A: b\0\r\n")),
	MSG(400, OK("A: \x7f\r\n")),
	MSG(400, OK("Content-Length: 5\r\nContent-Length: 5\r\n")),
	MSG(400, OK("Content-Length: 5\r\nContent-Length: 6\r\n")),
	MSG(400, OK("Content-Length: 5, 5\r\n")),
	MSG(400, OK("Content-Length: -1\r\n")),
	MSG(400, OK("Content-Length: +1\r\n")),
	MSG(400, OK("Content-Length:\r\n")),
	MSG(400, OK("Content-Length: 0x10\r\n")),
	MSG(400, OK("Content-Length: 9223372036854775808\r\n")),
	MSG(400, OK("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
	MSG(400, OK("Transfer-Encoding: gzip\r\n")),
	MSG(400, OK("Transfer-Encoding: gzip, chunked\r\n")),
	MSG(400, OK("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
	MSG(400, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
};

static void judges_each_response(void **state)
{
	(void)state;
	check_table(false, responses, COUNT(responses));
}

static void reads_all_parts_of_a_response(void **state)
{
	(void)state;
	static const char text[] = "HTTP/1.0 302 Found\r\nLocation: /x\r\nContent-Length: 12\r\n\r\nbody";
	struct http_head h;
	size_t seen = 0;
	assert_int_equal(http_read_response(text, sizeof text - 1, &seen, &h, NULL), sizeof text - 5);
	assert_true(h.status == 302 && h.minor == 0 && h.close && h.length == 12 && !h.chunked && h.fields_count == 2);
	assert_true(http_is(http_field(&h, "location"), "/x"));
	assert_null(h.host.p);
}

/* chunks */

struct chunk_case { int expected; const char *text; size_t n; const char *body; size_t rest; };
#define CHUNKED(text, body, rest) { 1, text, sizeof text - 1, body, rest }
#define MORE(text, body) { 0, text, sizeof text - 1, body, 0 }
#define WRONG(text) { -1, text, sizeof text - 1, "", 0 }
#define LAST "0\r\n\r\n"

static const struct chunk_case chunks[] = {
	CHUNKED(LAST, "", 0),
	CHUNKED("000\r\n\r\n", "", 0),
	CHUNKED("0000000000000000\r\n\r\n", "", 0),
	CHUNKED("5\r\nhello\r\n" LAST, "hello", 0),
	CHUNKED("0000000000000005\r\nhello\r\n" LAST, "hello", 0),
	CHUNKED("5\r\nhello\r\n1\r\n,\r\n6\r\n world\r\n" LAST, "hello, world", 0),
	CHUNKED("a\r\n0123456789\r\nA\r\n0123456789\r\n" LAST, "01234567890123456789", 0),
	CHUNKED("2\r\n\r\n\r\n" LAST, "\r\n", 0),
	CHUNKED("1;a\r\nx\r\n0;b=c\r\n\r\n", "x", 0),
	CHUNKED("1 ;a=\"b;\\\"c\"\t; d\r\nx\r\n" LAST, "x", 0),
	CHUNKED("1\t;a\r\nx\r\n" LAST, "x", 0),
	CHUNKED("1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", "x", 0),
	CHUNKED(LAST "GET / HTTP/1.1\r\n", "", 16),
	CHUNKED("1\r\nx\r\n" LAST LAST, "x", 5),
	CHUNKED(LAST "\r\n", "", 2),
	MORE("", ""), MORE("5", ""), MORE("5;x", ""), MORE("5\r", ""), MORE("5\r\n", ""), MORE("5\r\nhel", "hel"), MORE("5\r\nhello", "hello"),
	MORE("5\r\nhello\r", "hello"), MORE("5\r\nhello\r\n", "hello"), MORE("5\r\nhello\r\n0\r\n", "hello"), MORE("0\r\n\r", ""), MORE("0\r\nA: b\r\n", ""),
	MORE("ffffffffffffffff\r\nabc", "abc"),
	WRONG("\r\n"), WRONG("\n"), WRONG(" 5\r\n"), WRONG("-1\r\n"), WRONG("+1\r\n"), WRONG("0x1\r\n"), WRONG("x\r\n"), WRONG("g\r\n"), WRONG(";a\r\n"),
	WRONG("1_0\r\n"), WRONG("1.0\r\n"), WRONG("1,0\r\n"), WRONG("5h\r\n"), WRONG("\0" "5\r\n"), WRONG("5\0\r\n"),
	WRONG("10000000000000000\r\n"), WRONG("fffffffffffffffff\r\n"), WRONG("00000000000000005\r\n"), WRONG("00000000000000000\r\n"),
	WRONG("5\n"), WRONG("5\nhello\n0\n\n"), WRONG("5\r\r\n"), WRONG("5\rhello"), WRONG("5 \r\n"), WRONG("5\t\r\n"), WRONG("5 5\r\n"), WRONG("5 x\r\n"), WRONG("5  =\r\n"),
	WRONG("5;a\nhello"), WRONG("5;\x01\r\n"), WRONG("5;a\0\r\n"), WRONG("5;\x7f\r\n"), WRONG("5;a\rb\r\n"),
	WRONG("5\r\nhellox"), WRONG("5\r\nhello\n"), WRONG("5\r\nhello\rx"), WRONG("5\r\nhello 0\r\n"), WRONG("5\r\nhello0\r\n\r\n"), WRONG("5\r\nhello\r\n\r\n"),
	WRONG("1\r\nx\r\r\n"), WRONG("4\r\nhello\r\n" LAST),
	WRONG("0\r\n\n"), WRONG("0\n\r\n"), WRONG("0\r\nx\r\n"), WRONG("0\r\n: b\r\n"), WRONG("0\r\nA : b\r\n"), WRONG("0\r\nA b: c\r\n"),
	WRONG("0\r\n A: b\r\n"), WRONG("0\r\nA: b\n\r\n"), WRONG("0\r\nA: b\r\n c\r\n"), WRONG("0\r\nA: \0\r\n"), WRONG("0\r\nA: b\rc\r\n"),
	WRONG("0\r\nA: b\r\n\n"), WRONG("0\r\n\r\r"), WRONG("0\r\nA\r\n"),
};

/* Feeds text in pieces that end at cut (and, with step, every step bytes): the result; the body is appended, *used counts what was read. */
static int feed(const char *text, size_t n, size_t cut, size_t step, struct buf *body, size_t *used)
{
	struct http_chunks c = { 0 };
	int result = 0;
	*used = 0;
	for (size_t at = 0; at <= n && result == 0; ) {
		size_t kept, took, len = step ? step : at < cut ? cut - at : n - at;
		len = len > n - at ? n - at : len;
		char *copy = malloc(len ? len : 1);
		assert_non_null(copy);
		memcpy(copy, text + at, len);
		result = http_chunks_feed(&c, copy, len, &kept, &took, NULL);
		assert_true(kept <= took && took <= len && (result != 0 || took == len));
		buf_add(body, copy, kept);
		free(copy);
		*used += took;
		at += len;
		if (len == 0)
			break;
	}
	return result;
}

static void check_feed(const struct chunk_case *row, size_t cut, size_t step)
{
	struct buf body = { 0 };
	size_t used = 0;
	int result = feed(row->text, row->n, cut, step, &body, &used);
	if (result != row->expected)
		fail_msg("'%s' cut at %zu: %d instead of %d", row->text, cut, result, row->expected);
	if (result >= 0) {
		assert_int_equal(used, row->n - row->rest);
		assert_string_equal(body.data ? body.data : "", row->body);
	}
	buf_free(&body);
}

static void takes_chunks_apart_however_they_are_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(chunks); i++) {
		for (size_t cut = 0; cut <= chunks[i].n; cut++)
			check_feed(&chunks[i], cut, 0);
		check_feed(&chunks[i], 0, 1);
	}
}

static void stays_with_a_verdict_on_chunks(void **state)
{
	(void)state;
	struct http_chunks c = { 0 };
	size_t kept, used;
	const char *why = NULL;
	char bad[] = "x", good[] = LAST, more[] = "5\r\n";
	assert_int_equal(http_chunks_feed(&c, bad, 1, &kept, &used, &why), -1);
	assert_non_null(why);
	assert_int_equal(http_chunks_feed(&c, good, 5, &kept, &used, &why), -1);
	assert_int_equal(http_chunks_feed(&c, good, 0, &kept, &used, &why), -1);
	c = (struct http_chunks){ 0 };
	assert_int_equal(http_chunks_feed(&c, good, 5, &kept, &used, &why), 1);
	assert_int_equal(http_chunks_feed(&c, more, 3, &kept, &used, &why), 1);
	assert_int_equal(used, 0);
}

/* before, len times 'a', after: the verdict. */
static int feed_long(const char *before, size_t len, const char *after)
{
	struct buf text = { 0 }, body = { 0 };
	size_t used;
	buf_str(&text, before);
	for (size_t i = 0; i < len; i++)
		buf_char(&text, 'a');
	buf_str(&text, after);
	int result = feed(text.data, text.len, 0, 0, &body, &used);
	struct buf again = { 0 };
	assert_int_equal(feed(text.data, text.len, 0, 7, &again, &used), result);
	buf_free(&text);
	buf_free(&body);
	buf_free(&again);
	return result;
}

static void caps_size_lines_and_trailers(void **state)
{
	(void)state;
	assert_int_equal(feed_long("0;", 1021, "\r\n\r\n"), 1);
	assert_int_equal(feed_long("0;", 1022, "\r\n\r\n"), -1);
	assert_int_equal(feed_long("1;", 1000, "\r\nx\r\n0;bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n"), 1);
	assert_int_equal(feed_long("0\r\nT:", 8000, "\r\n\r\n"), 1);
	assert_int_equal(feed_long("0\r\nT:", 8188, "\r\n\r\n"), 1);
	assert_int_equal(feed_long("0\r\nT:", 8189, "\r\n\r\n"), -1);
	assert_int_equal(feed_long("0\r\n", 9000, ":\r\n\r\n"), -1);
	assert_int_equal(feed_long("0\r\nA:b\r\nA:b\r\nT:", 8190, "\r\n\r\n"), -1);
}

/* writing */

static void assert_text(struct buf *got, const char *expected)
{
	assert_string_equal(got->data, expected);
	assert_int_equal(got->len, strlen(expected));
	buf_free(got);
}

static void writes_whole_replies(void **state)
{
	(void)state;
	struct buf out = { 0 }, common = { 0 };
	struct http_reply r = { .status = 200, .type = "text/plain", .fields = "A: b\r\nC: d\r\n", .body = "hello", .body_len = 5 };
	http_put_fields(&common, "Date: x\r\n");
	http_put_reply(&out, &r, 1, false, &common);
	assert_text(&out, "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Type: text/plain\r\nA: b\r\nC: d\r\nContent-Length: 5\r\n\r\nhello");
	http_put_reply(&out, &r, 1, true, NULL);
	assert_text(&out, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nA: b\r\nC: d\r\nContent-Length: 5\r\n\r\n");
	r = (struct http_reply){ .status = 201, .close = true };
	http_put_reply(&out, &r, 0, false, NULL);
	assert_text(&out, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	r.close = false;
	http_put_reply(&out, &r, 0, false, NULL);
	assert_text(&out, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n");
	buf_free(&common);
}

static void writes_no_length_and_no_body_where_there_is_none(void **state)
{
	(void)state;
	struct buf out = { 0 };
	struct http_reply r = { .status = 204, .type = "text/plain", .body = "x", .body_len = 1 };
	http_put_reply(&out, &r, 1, false, NULL);
	assert_text(&out, "HTTP/1.1 204 No Content\r\n\r\n");
	r.status = 304;
	http_put_reply(&out, &r, 1, false, NULL);
	assert_text(&out, "HTTP/1.1 304 Not Modified\r\n\r\n");
	r.status = 100;
	http_put_reply(&out, &r, 0, false, NULL);
	assert_text(&out, "HTTP/1.1 100 Continue\r\n\r\n");
}

static void writes_whole_requests(void **state)
{
	(void)state;
	struct buf out = { 0 };
	struct http_url url;
	assert_null(http_url_read("http://[::1]:8080/a?b", 21, &url));
	http_put_request(&out, "POST", &url, "A: b\r\n", "hello", 5, true);
	assert_text(&out, "POST /a?b HTTP/1.1\r\nHost: [::1]:8080\r\nA: b\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
	http_put_request(&out, "POST", &url, NULL, "", 0, false);
	assert_text(&out, "POST /a?b HTTP/1.1\r\nHost: [::1]:8080\r\nContent-Length: 0\r\n\r\n");
	http_url_free(&url);
	assert_null(http_url_read("https://h:443", 13, &url));
	http_put_request(&out, "GET", &url, NULL, NULL, 0, false);
	assert_text(&out, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
	http_url_free(&url);
}

static void reads_what_it_writes(void **state)
{
	(void)state;
	for (int status = 100; status <= 599; status++) {
		struct buf out = { 0 };
		struct buf common = { .data = "D: e\r\n", .len = 6 };
		struct http_head h;
		size_t seen = 0;
		struct http_reply r = { .status = status, .type = "a/b", .body = "x", .body_len = 1, .close = status % 2 };
		bool bare = status < 200 || status == 204 || status == 304;
		http_put_reply(&out, &r, 1, false, &common);
		assert_int_equal(http_read_response(out.data, out.len, &seen, &h, NULL), out.len - !bare);
		assert_true(h.status == status && h.length == (bare ? -1 : 1) && h.close == (status % 2 && status >= 200));
		buf_free(&out);
	}
}

/* What must not be written ends the process: true when it did. */
static bool breaks(const struct http_reply *reply, const char *fields)
{
	int status = 0;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct buf out = { 0 }, common = { 0 };
		close(STDERR_FILENO);
		http_put_fields(&common, fields);
		http_put_reply(&out, reply, 1, false, &common);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void never_writes_a_line_end_into_a_field(void **state)
{
	(void)state;
	static const char *const bad[] = { "A: b", "A: b\n", "A: b\r", "A: b\r\n\r\n", "A: b\r\nC", "\r\n", "A: b\rc\r\n", " A: b\r\n", "A b\r\n", "A : b\r\n", "A: b\r\n c\r\n" };
	struct http_reply r = { .status = 200, .fields = "A: b\r\n", .type = "a/b" };
	assert_false(breaks(&r, "C: d\r\n"));
	assert_false(breaks(&r, ""));
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_true(breaks(&r, bad[i]));
		r.fields = bad[i];
		assert_true(breaks(&r, NULL));
		r.fields = NULL;
	}
	r.type = "a/b\r\nX: y";
	assert_true(breaks(&r, NULL));
	r = (struct http_reply){ .status = 99 };
	assert_true(breaks(&r, NULL));
}

static void writes_dates_as_the_rfc_does(void **state)
{
	(void)state;
	static const struct { int64_t ms; const char *text; } rows[] = {
		{ INT64_C(784111777000), "Sun, 06 Nov 1994 08:49:37 GMT" }, { 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
		{ 999, "Thu, 01 Jan 1970 00:00:00 GMT" }, { INT64_C(951782400000), "Tue, 29 Feb 2000 00:00:00 GMT" },
		{ INT64_C(1798761599999), "Thu, 31 Dec 2026 23:59:59 GMT" }, { INT64_MIN, "Thu, 01 Jan 1970 00:00:00 GMT" },
		{ INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT" },
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		char out[30];
		http_date(rows[i].ms, out);
		assert_string_equal(out, rows[i].text);
	}
}

static void knows_its_reasons(void **state)
{
	(void)state;
	assert_string_equal(http_reason(421), "Misdirected Request");
	assert_string_equal(http_reason(431), "Request Header Fields Too Large");
	assert_string_equal(http_reason(299), "Unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_what_the_rfc_allows),
		cmocka_unit_test(refuses_each_malformed_request_with_its_status),
		cmocka_unit_test(waits_for_the_end_of_every_good_head),
		cmocka_unit_test(judges_every_byte_at_every_place),
		cmocka_unit_test(refuses_a_bad_line_without_waiting_for_the_rest),
		cmocka_unit_test(reads_all_parts_of_a_request),
		cmocka_unit_test(takes_every_form_of_target_apart),
		cmocka_unit_test(knows_when_the_connection_ends),
		cmocka_unit_test(ignores_100_continue_from_http_1_0),
		cmocka_unit_test(ends_the_first_of_pipelined_requests_exactly),
		cmocka_unit_test(caps_the_request_line_with_414),
		cmocka_unit_test(caps_a_line_that_never_ends),
		cmocka_unit_test(caps_the_head_with_431),
		cmocka_unit_test(caps_the_fields_with_431),
		cmocka_unit_test(judges_each_response),
		cmocka_unit_test(reads_all_parts_of_a_response),
		cmocka_unit_test(takes_chunks_apart_however_they_are_cut),
		cmocka_unit_test(stays_with_a_verdict_on_chunks),
		cmocka_unit_test(caps_size_lines_and_trailers),
		cmocka_unit_test(writes_whole_replies),
		cmocka_unit_test(writes_no_length_and_no_body_where_there_is_none),
		cmocka_unit_test(writes_whole_requests),
		cmocka_unit_test(reads_what_it_writes),
		cmocka_unit_test(never_writes_a_line_end_into_a_field),
		cmocka_unit_test(writes_dates_as_the_rfc_does),
		cmocka_unit_test(knows_its_reasons),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
