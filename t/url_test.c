/* url_test: URLs, references and percent-encoding. Every text is read from memory that ends where it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../url.h"

#define COUNT(table) (sizeof table / sizeof table[0])

static const char *read_copy(const char *text, size_t n, struct http_url *out)
{
	char *copy = malloc(n ? n : 1);
	assert_non_null(copy);
	memcpy(copy, text, n);
	const char *why = http_url_read(copy, n, out);
	free(copy);
	return why;
}

/* URLs */

struct good_url { const char *text, *host; int port; const char *target, *again; };
static const struct good_url good_urls[] = {
	{ "http://h", "h", 80, "/", "http://h/" },
	{ "https://h", "h", 443, "/", "https://h/" },
	{ "HTTP://ExAmple.COM/A", "example.com", 80, "/A", "http://example.com/A" },
	{ "hTTps://h:443/", "h", 443, "/", "https://h/" },
	{ "http://h:443/", "h", 443, "/", "http://h:443/" },
	{ "https://h:80/", "h", 80, "/", "https://h:80/" },
	{ "http://h:/x", "h", 80, "/x", "http://h/x" },
	{ "http://h:00080/", "h", 80, "/", "http://h/" },
	{ "http://h:1", "h", 1, "/", "http://h:1/" },
	{ "http://h:65535/", "h", 65535, "/", "http://h:65535/" },
	{ "http://h?a=b", "h", 80, "/?a=b", "http://h/?a=b" },
	{ "http://h#f", "h", 80, "/", "http://h/" },
	{ "http://h/a?b#c?d#e", "h", 80, "/a?b", "http://h/a?b" },
	{ "http://h/a%2Fb%zz/../c/./?x=%20", "h", 80, "/a%2Fb%zz/../c/./?x=%20", "http://h/a%2Fb%zz/../c/./?x=%20" },
	{ "http://h/@:[]{}|^`\"<>", "h", 80, "/@:[]{}|^`\"<>", "http://h/@:[]{}|^`\"<>" },
	{ "http://127.0.0.1:8080/", "127.0.0.1", 8080, "/", "http://127.0.0.1:8080/" },
	{ "http://a-b_c~d.e./", "a-b_c~d.e.", 80, "/", "http://a-b_c~d.e./" },
	{ "http://[::1]", "::1", 80, "/", "http://[::1]/" },
	{ "http://[2001:DB8::A]:8/x", "2001:db8::a", 8, "/x", "http://[2001:db8::a]:8/x" },
	{ "https://[::ffff:1.2.3.4]:443/", "::ffff:1.2.3.4", 443, "/", "https://[::ffff:1.2.3.4]/" },
};

static void takes_good_urls_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(good_urls); i++) {
		const struct good_url *row = &good_urls[i];
		struct http_url url;
		struct buf text = { 0 };
		const char *why = read_copy(row->text, strlen(row->text), &url);
		if (why)
			fail_msg("%s: %s", row->text, why);
		assert_string_equal(url.host, row->host);
		assert_int_equal(url.port, row->port);
		assert_string_equal(url.target, row->target);
		assert_int_equal(url.tls, row->again[4] == 's');
		assert_int_equal(url.literal6, strchr(row->text, '[') && strchr(row->host, ':'));
		http_url_text(&url, &text);
		assert_string_equal(text.data, row->again);
		buf_free(&text);
		http_url_free(&url);
		assert_null(url.target);
	}
}

#define BAD(why, text) { why, text, sizeof text - 1 }
static const struct { const char *why; const char *text; size_t n; } bad_urls[] = {
	BAD("not an http or https URL", ""), BAD("not an http or https URL", "http"), BAD("not an http or https URL", "h"),
	BAD("not an http or https URL", "ftp://h/"), BAD("not an http or https URL", "file:///etc/passwd"), BAD("not an http or https URL", "javascript:x"),
	BAD("not an http or https URL", "://h/"), BAD("not an http or https URL", "//h/"), BAD("not an http or https URL", "/a"),
	BAD("not an http or https URL", "httpx://h"), BAD("not an http or https URL", "xhttp://h"), BAD("not an http or https URL", "http+x://h"),
	BAD("the URL has no // behind its scheme", "http:"), BAD("the URL has no // behind its scheme", "http:/"),
	BAD("the URL has no // behind its scheme", "http:h"), BAD("the URL has no // behind its scheme", "http:/h"),
	BAD("the host is empty", "http://"), BAD("the host is empty", "http:///"), BAD("the host is empty", "http://?q"), BAD("the host is empty", "http://#f"),
	BAD("the host is empty", "http://:80/"), BAD("the host is empty", "http://:"),
	BAD("the URL has user info, which is not sent", "http://u@h/"), BAD("the URL has user info, which is not sent", "http://u:p@h/"),
	BAD("the URL has user info, which is not sent", "http://@h/"), BAD("the URL has user info, which is not sent", "http://a@b@h/"),
	BAD("the URL has user info, which is not sent", "http://u:p@[::1]/"),
	BAD("the host has a character that no host name has", "http://a%62/"), BAD("the host has a character that no host name has", "http://a,b/"),
	BAD("the host has a character that no host name has", "http://a;b/"), BAD("the host has a character that no host name has", "http://a*/"),
	BAD("the host has a character that no host name has", "http://a!/"), BAD("the host has a character that no host name has", "http://a]/"),
	BAD("the host has a character that no host name has", "http://a[::1]/"), BAD("the host has a character that no host name has", "http://\"h\"/"),
	BAD("the port is not a number from 1 to 65535", "http://h:0/"), BAD("the port is not a number from 1 to 65535", "http://h:65536/"),
	BAD("the port is not a number from 1 to 65535", "http://h:-1/"), BAD("the port is not a number from 1 to 65535", "http://h:+1/"),
	BAD("the port is not a number from 1 to 65535", "http://h:8x/"), BAD("the port is not a number from 1 to 65535", "http://h:0x50/"),
	BAD("the port is not a number from 1 to 65535", "http://h:80:80/"), BAD("the port is not a number from 1 to 65535", "http://h::/"),
	BAD("the port is not a number from 1 to 65535", "http://h:99999999999999999999/"), BAD("the host is empty", "http://::1/"),
	BAD("the bracket of an IPv6 address is not closed", "http://[::1/"), BAD("the bracket of an IPv6 address is not closed", "http://["),
	BAD("not an IPv6 address", "http://[]/"), BAD("not an IPv6 address", "http://[h]/"), BAD("not an IPv6 address", "http://[1.2.3.4]/"),
	BAD("not an IPv6 address", "http://[:::1]/"), BAD("not an IPv6 address", "http://[1:2]/"), BAD("not an IPv6 address", "http://[fe80::1%25lo]/"),
	BAD("not an IPv6 address", "http://[::1::]/"), BAD("not an IPv6 address", "http://[v1.x]/"),
	BAD("not an IPv6 address", "http://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]/"),
	BAD("a character behind the host's bracket", "http://[::1]x"), BAD("a character behind the host's bracket", "http://[::1]80/"),
	BAD("a character behind the host's bracket", "http://[::1]x80/"), BAD("the port is not a number from 1 to 65535", "http://[::1]:x/"),
	BAD("the URL has a space", " http://h/"), BAD("the URL has a space", "http://h/ "), BAD("the URL has a space", "http://h /"), BAD("the URL has a space", "http://h/#a b"),
	BAD("the URL has a control character", "http://h/\r\nX: y"), BAD("the URL has a control character", "http://h/\t"), BAD("the URL has a control character", "\nhttp://h/"),
	BAD("the URL has a control character", "http://h/\0"), BAD("the URL has a control character", "http://h\0.x/"), BAD("the URL has a control character", "http://h/\x7f"),
	BAD("the URL has a byte that is not ASCII", "http://\xc3\xa9/"), BAD("the URL has a byte that is not ASCII", "http://h/\xff"),
	BAD("the URL has a backslash", "http:\\\\h\\"), BAD("the URL has a backslash", "http://h/\\"), BAD("the URL has a backslash", "http://h\\@x/"),
};

static void refuses_bad_urls_with_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bad_urls); i++) {
		static const struct http_url empty;
		struct http_url url;
		const char *why = read_copy(bad_urls[i].text, bad_urls[i].n, &url);
		if (!why || strcmp(why, bad_urls[i].why) != 0)
			fail_msg("%s: '%s' instead of '%s'", bad_urls[i].text, why ? why : "taken", bad_urls[i].why);
		assert_memory_equal(&url, &empty, sizeof url);
	}
}

static void caps_hosts_and_urls(void **state)
{
	(void)state;
	struct buf text = { 0 };
	struct http_url url;
	buf_str(&text, "http://");
	for (int i = 0; i < 253; i++)
		buf_char(&text, 'h');
	assert_null(read_copy(text.data, text.len, &url));
	assert_int_equal(strlen(url.host), 253);
	http_url_free(&url);
	buf_char(&text, 'h');
	assert_string_equal(read_copy(text.data, text.len, &url), "the host is longer than 253 bytes");
	buf_clear(&text);
	buf_str(&text, "http://h/");
	while (text.len < HTTP_URL_MAX)
		buf_char(&text, 'p');
	assert_null(read_copy(text.data, text.len, &url));
	http_url_free(&url);
	buf_char(&text, 'p');
	assert_string_equal(read_copy(text.data, text.len, &url), "the URL is longer than 8000 bytes");
	buf_free(&text);
}

/* references; the first block is RFC 3986 section 5.4's table for another base path of the same shape */

static const struct { const char *base, *ref, *expected; } joins[] = {
	{ "http://a/b/c/d;p?q", "g:h", NULL }, { "http://a/b/c/d;p?q", "g", "http://a/b/c/g" }, { "http://a/b/c/d;p?q", "./g", "http://a/b/c/g" },
	{ "http://a/b/c/d;p?q", "g/", "http://a/b/c/g/" }, { "http://a/b/c/d;p?q", "/g", "http://a/g" }, { "http://a/b/c/d;p?q", "//g", "http://g/" },
	{ "http://a/b/c/d;p?q", "?y", "http://a/b/c/d;p?y" }, { "http://a/b/c/d;p?q", "g?y", "http://a/b/c/g?y" }, { "http://a/b/c/d;p?q", "#s", "http://a/b/c/d;p?q" },
	{ "http://a/b/c/d;p?q", "g#s", "http://a/b/c/g" }, { "http://a/b/c/d;p?q", "g?y#s", "http://a/b/c/g?y" }, { "http://a/b/c/d;p?q", ";x", "http://a/b/c/;x" },
	{ "http://a/b/c/d;p?q", "g;x?y#s", "http://a/b/c/g;x?y" }, { "http://a/b/c/d;p?q", "", "http://a/b/c/d;p?q" }, { "http://a/b/c/d;p?q", ".", "http://a/b/c/" },
	{ "http://a/b/c/d;p?q", "./", "http://a/b/c/" }, { "http://a/b/c/d;p?q", "..", "http://a/b/" }, { "http://a/b/c/d;p?q", "../", "http://a/b/" },
	{ "http://a/b/c/d;p?q", "../g", "http://a/b/g" }, { "http://a/b/c/d;p?q", "../..", "http://a/" }, { "http://a/b/c/d;p?q", "../../", "http://a/" },
	{ "http://a/b/c/d;p?q", "../../g", "http://a/g" }, { "http://a/b/c/d;p?q", "../../../g", "http://a/g" }, { "http://a/b/c/d;p?q", "/./g", "http://a/g" },
	{ "http://a/b/c/d;p?q", "/../g", "http://a/g" }, { "http://a/b/c/d;p?q", "g.", "http://a/b/c/g." }, { "http://a/b/c/d;p?q", ".g", "http://a/b/c/.g" },
	{ "http://a/b/c/d;p?q", "g..", "http://a/b/c/g.." }, { "http://a/b/c/d;p?q", "..g", "http://a/b/c/..g" }, { "http://a/b/c/d;p?q", "./../g", "http://a/b/g" },
	{ "http://a/b/c/d;p?q", "./g/.", "http://a/b/c/g/" }, { "http://a/b/c/d;p?q", "g/./h", "http://a/b/c/g/h" }, { "http://a/b/c/d;p?q", "g/../h", "http://a/b/c/h" },
	{ "http://a/b/c/d;p?q", "g;x=1/./y", "http://a/b/c/g;x=1/y" }, { "http://a/b/c/d;p?q", "g;x=1/../y", "http://a/b/c/y" },
	{ "http://a/b/c/d;p?q", "g?y/./x", "http://a/b/c/g?y/./x" }, { "http://a/b/c/d;p?q", "g?y/../x", "http://a/b/c/g?y/../x" },
	{ "http://a/b/c/d;p?q", "http:g", NULL },
	{ "https://h:8/x", "//o/y", "https://o/y" }, { "https://h:8/x", "/y", "https://h:8/y" }, { "https://[::1]:8/x", "y", "https://[::1]:8/y" },
	{ "https://h/x", "http://o:443/a/../b", "http://o:443/b" }, { "http://h/", "HTTPS://O/..", "https://o/" }, { "http://h/a?b/c", "d", "http://h/d" },
	{ "http://h/a//b", "../c", "http://h/a/c" }, { "http://h/", "//o:9?x/../y", "http://o:9/?x/../y" }, { "http://h/a", "?", "http://h/a?" },
	{ "http://h/a", "b:c", NULL }, { "http://h/a", "./b:c", "http://h/b:c" }, { "http://h/a", "b/c:d", "http://h/b/c:d" }, { "http://h/a", "1:c", "http://h/1:c" },
	{ "http://h/a", "%2e%2e/b", "http://h/%2e%2e/b" }, { "http://h/a", "//u@o/", NULL }, { "http://h/a", "//", NULL }, { "http://h/a", "///b", NULL },
	{ "http://h/a", "b c", NULL }, { "http://h/a", "b\\c", NULL }, { "http://h/a", "b\r\nc", NULL }, { "http://h/a", "\xc3\xa9", NULL },
	{ "http://h/a", "ftp://h/", NULL }, { "http://h/a", "javascript:alert(1)", NULL }, { "http://h/a", "/b#c\\", NULL }, { "http://h/a", "http://o#//", "http://o/" },
};

static void joins_references_as_the_rfc_does(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(joins); i++) {
		struct http_url base, url;
		struct buf text = { 0 };
		assert_null(read_copy(joins[i].base, strlen(joins[i].base), &base));
		const char *why = http_url_join(&base, joins[i].ref, strlen(joins[i].ref), &url);
		if (!why)
			http_url_text(&url, &text);
		if (!why != !!joins[i].expected || (!why && strcmp(text.data, joins[i].expected) != 0))
			fail_msg("%s against %s: %s", joins[i].ref, joins[i].base, why ? why : text.data);
		http_url_free(&url);
		http_url_free(&base);
		buf_free(&text);
	}
}

static void caps_joined_urls(void **state)
{
	(void)state;
	struct buf ref = { 0 };
	struct http_url base, url;
	assert_null(read_copy("http://example/aaaaaaaaaa/b", 27, &base));
	while (ref.len < HTTP_URL_MAX - 5)
		buf_char(&ref, 'p');
	assert_non_null(http_url_join(&base, ref.data, ref.len, &url));
	assert_null(url.target);
	http_url_free(&base);
	buf_free(&ref);
}

/* hosts */

static void reads_a_host_field(void **state)
{
	(void)state;
	struct http_url host;
	assert_null(http_host_read((struct http_text){ "LocalHost:80", 12 }, &host));
	assert_string_equal(host.host, "localhost");
	assert_int_equal(host.port, 80);
	assert_null(http_host_read((struct http_text){ "[::1]", 5 }, &host));
	assert_true(host.literal6 && host.port == 0);
	assert_string_equal(host.host, "::1");
	assert_non_null(http_host_read((struct http_text){ "h\0:1", 4 }, &host));
	assert_non_null(http_host_read((struct http_text){ "[::1\0]", 6 }, &host));
	assert_non_null(http_host_read((struct http_text){ "", 0 }, &host));
}

/* queries */

struct pair { const char *name, *value; };
static const struct { const char *query; size_t n; int end; struct pair pairs[4]; } queries[] = {
	{ "", 0, 0, { { NULL, NULL } } },
	{ "a=b", 3, 0, { { "a", "b" } } },
	{ "a", 1, 0, { { "a", "" } } },
	{ "a=", 2, 0, { { "a", "" } } },
	{ "=a", 2, 0, { { "", "a" } } },
	{ "a=b&c=d&", 8, 0, { { "a", "b" }, { "c", "d" } } },
	{ "&a=b", 4, 0, { { "", "" }, { "a", "b" } } },
	{ "a=b=c&d", 7, 0, { { "a", "b=c" }, { "d", "" } } },
	{ "a+b=c+d%2b", 10, 0, { { "a b", "c d+" } } },
	{ "%41%3d=%26%C3%a9", 16, 0, { { "A=", "&\xc3\xa9" } } },
	{ "a=b&c=%", 7, -1, { { "a", "b" } } },
	{ "%4", 2, -1, { { NULL, NULL } } }, { "a=%4g", 5, -1, { { NULL, NULL } } }, { "a=%g4", 5, -1, { { NULL, NULL } } }, { "a=%+1", 5, -1, { { NULL, NULL } } },
	{ "a=%00", 5, -1, { { NULL, NULL } } }, { "%00=a", 5, -1, { { NULL, NULL } } }, { "a=\0", 3, -1, { { NULL, NULL } } }, { "a=%&b=c", 7, -1, { { NULL, NULL } } },
};

static void walks_queries(void **state)
{
	(void)state;
	struct buf name = { 0 }, value = { 0 };
	for (size_t i = 0; i < COUNT(queries); i++) {
		char *copy = malloc(queries[i].n ? queries[i].n : 1);
		assert_non_null(copy);
		memcpy(copy, queries[i].query, queries[i].n);
		struct http_text rest = { copy, queries[i].n };
		for (const struct pair *p = queries[i].pairs; p->name; p++) {
			assert_int_equal(http_query_next(&rest, &name, &value), 1);
			assert_string_equal(name.data, p->name);
			assert_string_equal(value.data, p->value);
		}
		assert_int_equal(http_query_next(&rest, &name, &value), queries[i].end);
		free(copy);
	}
	buf_free(&name);
	buf_free(&value);
}

static void escapes_what_it_can_read_again(void **state)
{
	(void)state;
	struct buf out = { 0 }, name = { 0 }, value = { 0 };
	char all[256];
	for (int i = 1; i < 256; i++)
		all[i - 1] = (char)i;
	all[255] = '\0';
	http_escape(&out, "aZ09-._~ /+&=%\xc3\xa9");
	assert_string_equal(out.data, "aZ09-._~%20%2F%2B%26%3D%25%C3%A9");
	buf_clear(&out);
	http_escape(&out, all);
	struct http_text rest = { out.data, out.len };
	assert_int_equal(http_query_next(&rest, &name, &value), 1);
	assert_string_equal(name.data, all);
	buf_free(&out);
	buf_free(&name);
	buf_free(&value);
}

static void compares_slices(void **state)
{
	(void)state;
	assert_true(http_is((struct http_text){ "abc", 2 }, "ab"));
	assert_false(http_is((struct http_text){ "abc", 2 }, "aB"));
	assert_false(http_is((struct http_text){ "abc", 2 }, "abc"));
	assert_true(http_is((struct http_text){ NULL, 0 }, ""));
	assert_true(http_is_nocase((struct http_text){ "a-Z", 3 }, "A-z"));
	assert_false(http_is_nocase((struct http_text){ "[", 1 }, "{"));
	assert_false(http_is_nocase((struct http_text){ "ab", 2 }, "a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_good_urls_apart),
		cmocka_unit_test(refuses_bad_urls_with_words),
		cmocka_unit_test(caps_hosts_and_urls),
		cmocka_unit_test(joins_references_as_the_rfc_does),
		cmocka_unit_test(caps_joined_urls),
		cmocka_unit_test(reads_a_host_field),
		cmocka_unit_test(walks_queries),
		cmocka_unit_test(escapes_what_it_can_read_again),
		cmocka_unit_test(compares_slices),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
