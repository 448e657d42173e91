/* json_test: the grammar, walking, decoding, whole numbers, the writer, and the writer's trees read back. Every text is read from memory that
 * ends where it does, so that a sanitizer sees any step beyond it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../json.h"

#define COUNT(table) (sizeof table / sizeof table[0])
#define TEXT(literal) literal, sizeof literal - 1

static char *exact(const char *text, size_t n)
{
	char *copy = malloc(n ? n : 1);
	assert_non_null(copy);
	memcpy(copy, text, n);
	return copy;
}

static bool accepted(const char *text, size_t n, struct json_error *err)
{
	struct json v;
	char *copy = exact(text, n);
	bool ok = json_read(copy, n, JSON_DEPTH, &v, err);
	free(copy);
	return ok;
}

static struct json read_good(const char *text)
{
	struct json v;
	assert_true(json_read(text, strlen(text), JSON_DEPTH, &v, NULL));
	return v;
}

static char *repeat(const char *open, const char *middle, const char *close, int times)
{
	struct buf out = { 0 };
	for (int i = 0; i < times; i++)
		buf_str(&out, open);
	buf_str(&out, middle);
	for (int i = 0; i < times; i++)
		buf_str(&out, close);
	return out.data;
}

/* the grammar */

struct good { const char *text; size_t n; enum json_type type; };
static const struct good goods[] = {
	{ TEXT("null"), JSON_NULL }, { TEXT("true"), JSON_BOOL }, { TEXT("false"), JSON_BOOL },
	{ TEXT(" \t\r\nnull \t\r\n"), JSON_NULL },
	{ TEXT("0"), JSON_NUMBER }, { TEXT("-0"), JSON_NUMBER }, { TEXT("-0.0"), JSON_NUMBER }, { TEXT("7"), JSON_NUMBER },
	{ TEXT("1234567890"), JSON_NUMBER }, { TEXT("-1"), JSON_NUMBER }, { TEXT("0.0"), JSON_NUMBER }, { TEXT("0e0"), JSON_NUMBER },
	{ TEXT("0E+01"), JSON_NUMBER }, { TEXT("1e5"), JSON_NUMBER }, { TEXT("1E-5"), JSON_NUMBER }, { TEXT("1.25e+10"), JSON_NUMBER },
	{ TEXT("1e007"), JSON_NUMBER }, { TEXT("1e400"), JSON_NUMBER }, { TEXT("-1e-99999999999999999999"), JSON_NUMBER },
	{ TEXT("123456789012345678901234567890"), JSON_NUMBER }, { TEXT("0.000000000000000000000000000001"), JSON_NUMBER },
	{ TEXT("\"\""), JSON_STRING }, { TEXT("\"a\""), JSON_STRING }, { TEXT(" \"a\" "), JSON_STRING },
	{ TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), JSON_STRING }, { TEXT("\"\\u0000\""), JSON_STRING }, { TEXT("\"\\u001f\""), JSON_STRING },
	{ TEXT("\"\\uAbCd\""), JSON_STRING }, { TEXT("\"\\uD7FF\\uE000\\uFFFF\""), JSON_STRING },
	{ TEXT("\"\\ud800\\udc00\""), JSON_STRING }, { TEXT("\"\\uDBFF\\uDFFF\""), JSON_STRING }, { TEXT("\"\\uD83D\\ude00\\uD83D\\ude01\""), JSON_STRING },
	{ TEXT("\"\\\\ud800\""), JSON_STRING }, { TEXT("\"\\\\\\\\\""), JSON_STRING }, { TEXT("\"\x7f\""), JSON_STRING },
	{ TEXT("\"\xc2\x80\xdf\xbf\""), JSON_STRING }, { TEXT("\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\""), JSON_STRING },
	{ TEXT("\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""), JSON_STRING }, { TEXT("\"\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf\""), JSON_STRING },
	{ TEXT("\"// no /* comment */ # here\""), JSON_STRING }, { TEXT("\"[{,:}]\""), JSON_STRING },
	{ TEXT("[]"), JSON_ARRAY }, { TEXT("[ \n]"), JSON_ARRAY }, { TEXT("[1]"), JSON_ARRAY }, { TEXT("[ 1 , 2 ]"), JSON_ARRAY },
	{ TEXT("[null,true,false,0,\"\",[],{}]"), JSON_ARRAY }, { TEXT("[[[]],[[]]]"), JSON_ARRAY }, { TEXT("[1e1,-1]"), JSON_ARRAY },
	{ TEXT("[{}]"), JSON_ARRAY }, { TEXT("[[],{}]"), JSON_ARRAY }, { TEXT("[\"]\"]"), JSON_ARRAY },
	{ TEXT("{}"), JSON_OBJECT }, { TEXT("{ \t}"), JSON_OBJECT }, { TEXT("{\"a\":1}"), JSON_OBJECT }, { TEXT("{ \"a\" : 1 , \"b\" : [ ] }"), JSON_OBJECT },
	{ TEXT("{\"\":0}"), JSON_OBJECT }, { TEXT("{\"a\":1,\"a\":2}"), JSON_OBJECT }, { TEXT("{\"a\":{\"a\":{\"a\":{}}}}"), JSON_OBJECT },
	{ TEXT("{\"\\u0000\":[]}"), JSON_OBJECT }, { TEXT("{\"a\":[{\"b\":[{}]}],\"c\":{}}"), JSON_OBJECT }, { TEXT("{\"}\":\"{\"}"), JSON_OBJECT },
	{ TEXT("{\"\xc3\xa9\":\"\xe2\x82\xac\"}"), JSON_OBJECT },
};

static void accepts_the_grammar_and_drops_outer_space(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(goods); i++) {
		const struct good *g = &goods[i];
		struct json v;
		char *copy = exact(g->text, g->n);
		if (!json_read(copy, g->n, JSON_DEPTH, &v, NULL))
			fail_msg("refused: %s", g->text);
		assert_int_equal(v.type, g->type);
		size_t before = strspn(g->text, " \t\r\n"), after = g->n;
		while (strchr(" \t\r\n", g->text[after - 1]))
			after--;
		assert_ptr_equal(v.text, copy + before);
		assert_int_equal(v.len, after - before);
		free(copy);
	}
}

static void refuses_every_prefix_that_is_not_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(goods); i++) {
		const struct good *g = &goods[i];
		size_t whole = g->n;
		struct json_error err;
		while (strchr(" \t\r\n", g->text[whole - 1]))
			whole--;
		for (size_t n = 0; g->type != JSON_NUMBER && n < whole; n++) {
			if (accepted(g->text, n, &err))
				fail_msg("accepted the first %zu bytes of %s", n, g->text);
			assert_true(err.offset <= n);
		}
	}
}

static void names_the_end_where_a_prefix_of_ascii_stops(void **state)
{
	(void)state;
	static const char text[] = "{\"a\" : [1.5e+3, true, null, \"\\ud83d\\ude00\\n\", {\"b\":[]}], \"c\":{\"d\":-1}}";
	for (size_t n = 0; n < sizeof text - 1; n++) {
		struct json_error err;
		assert_false(accepted(text, n, &err));
		assert_int_equal(err.offset, n);
		assert_string_equal(err.what, "the text ends too soon");
	}
	assert_true(accepted(TEXT(text), NULL));
}

#define ENDS "the text ends too soon"
#define VALUE "a value expected"
#define MORE "more text after the value"
#define DIGIT "a digit expected"
#define NAME "a member's name expected"
#define COLON "a colon expected"
#define IN_OBJECT "a comma or } expected"
#define IN_ARRAY "a comma or ] expected"
#define UTF8 "bad UTF-8"
#define LONE "a lone surrogate"
#define HEX "\\u needs four hexadecimal digits"
#define RAW "a raw control byte in a string"
#define ESCAPES "no such escape"
#define BOM "a byte order mark"
#define ZERO "a leading zero"

struct bad { const char *text; size_t n, offset; const char *what; };
static const struct bad bads[] = {
	/* nothing, or not only JSON */
	{ TEXT(""), 0, ENDS }, { TEXT(" \n"), 2, ENDS }, { TEXT("\0"), 0, VALUE }, { TEXT("1\0"), 1, MORE }, { TEXT("[]\0"), 2, MORE },
	{ TEXT("1 2"), 2, MORE }, { TEXT("{}{}"), 2, MORE }, { TEXT("[]]"), 2, MORE }, { TEXT("{}}"), 2, MORE }, { TEXT("null,"), 4, MORE },
	{ TEXT("nullx"), 4, MORE }, { TEXT("\"\"\"\""), 2, MORE }, { TEXT(","), 0, VALUE }, { TEXT(":"), 0, VALUE }, { TEXT("]"), 0, VALUE }, { TEXT("}"), 0, VALUE },
	/* byte order marks and UTF-16 */
	{ TEXT("\xef\xbb\xbf"), 0, BOM }, { TEXT("\xef\xbb\xbf{}"), 0, BOM }, { TEXT(" \xef\xbb\xbf{}"), 1, VALUE }, { TEXT("\xef\xbb"), 0, VALUE },
	{ TEXT("\xff\xfe[\0]\0"), 0, VALUE }, { TEXT("\xfe\xff\0[\0]"), 0, VALUE }, { TEXT("[\0]\0"), 1, VALUE }, { TEXT("\0[\0]"), 0, VALUE },
	/* white space of other languages */
	{ TEXT("\v1"), 0, VALUE }, { TEXT("\f1"), 0, VALUE }, { TEXT("\xc2\xa0" "1"), 0, VALUE }, { TEXT("[\xe2\x80\xa8]"), 1, VALUE }, { TEXT("1\v"), 1, MORE },
	{ TEXT("[1\f]"), 2, IN_ARRAY },
	/* words */
	{ TEXT("True"), 0, VALUE }, { TEXT("NULL"), 0, VALUE }, { TEXT("nul"), 3, ENDS }, { TEXT("nulL"), 3, VALUE }, { TEXT("tru"), 3, ENDS }, { TEXT("trux"), 3, VALUE },
	{ TEXT("fals "), 4, VALUE }, { TEXT("NaN"), 0, VALUE }, { TEXT("-NaN"), 1, DIGIT }, { TEXT("nan"), 1, VALUE }, { TEXT("Infinity"), 0, VALUE },
	{ TEXT("-Infinity"), 1, DIGIT }, { TEXT("undefined"), 0, VALUE }, { TEXT("[nul]"), 4, VALUE }, { TEXT("[truefalse]"), 5, IN_ARRAY },
	/* numbers */
	{ TEXT("-"), 1, ENDS }, { TEXT("+1"), 0, VALUE }, { TEXT("--1"), 1, DIGIT }, { TEXT("- 1"), 1, DIGIT }, { TEXT(".5"), 0, VALUE }, { TEXT("-.5"), 1, DIGIT },
	{ TEXT("1."), 2, ENDS }, { TEXT("[1.]"), 3, DIGIT }, { TEXT("1.e5"), 2, DIGIT }, { TEXT("1e"), 2, ENDS }, { TEXT("[1e]"), 3, DIGIT }, { TEXT("1e+"), 3, ENDS },
	{ TEXT("1E-x"), 3, DIGIT }, { TEXT("1e1.5"), 3, MORE }, { TEXT("1e+-1"), 3, DIGIT }, { TEXT("1.2.3"), 3, MORE }, { TEXT("00"), 0, ZERO }, { TEXT("01"), 0, ZERO },
	{ TEXT("-01"), 1, ZERO }, { TEXT("-00.1"), 1, ZERO }, { TEXT("[012]"), 1, ZERO }, { TEXT("0x10"), 1, MORE }, { TEXT("1_000"), 1, MORE }, { TEXT("1f"), 1, MORE },
	{ TEXT("1e5e5"), 3, MORE }, { TEXT("1 e5"), 2, MORE }, { TEXT("\xef\xbc\x91"), 0, VALUE }, { TEXT("1,000"), 1, MORE }, { TEXT("$1"), 0, VALUE },
	/* strings */
	{ TEXT("\""), 1, ENDS }, { TEXT("\"abc"), 4, ENDS }, { TEXT("\"\\\""), 3, ENDS }, { TEXT("\"\\"), 2, ENDS }, { TEXT("'a'"), 0, VALUE }, { TEXT("a"), 0, VALUE },
	{ TEXT("\"\n\""), 1, RAW }, { TEXT("\"a\tb\""), 2, RAW }, { TEXT("\"\0\""), 1, RAW }, { TEXT("\"\x1f\""), 1, RAW }, { TEXT("\"\r\""), 1, RAW },
	{ TEXT("\"\\\n\""), 2, ESCAPES }, { TEXT("\"\\a\""), 2, ESCAPES }, { TEXT("\"\\'\""), 2, ESCAPES }, { TEXT("\"\\0\""), 2, ESCAPES }, { TEXT("\"\\\0\""), 2, ESCAPES },
	{ TEXT("\"\\x41\""), 2, ESCAPES }, { TEXT("\"\\U0041\""), 2, ESCAPES }, { TEXT("\"\\v\""), 2, ESCAPES }, { TEXT("\"\\\xc3\xa9\""), 2, ESCAPES },
	{ TEXT("\"\\u\""), 3, HEX }, { TEXT("\"\\u12\""), 5, HEX }, { TEXT("\"\\u123\""), 6, HEX }, { TEXT("\"\\u123g\""), 6, HEX }, { TEXT("\"\\u+123\""), 3, HEX },
	{ TEXT("\"\\u 123\""), 3, HEX }, { TEXT("\"\\u{41}\""), 3, HEX }, { TEXT("\"\\u004"), 6, ENDS }, { TEXT("\"\\u0041"), 7, ENDS },
	/* surrogates */
	{ TEXT("\"\\ud800\""), 1, LONE }, { TEXT("\"\\uDBFFx\""), 1, LONE }, { TEXT("\"\\udc00\""), 1, LONE }, { TEXT("\"x\\uDFFF\""), 2, LONE },
	{ TEXT("\"\\udc00\\ud800\""), 1, LONE }, { TEXT("\"\\ud800\\ud800\""), 1, LONE }, { TEXT("\"\\ud800\\ud800\\udc00\""), 1, LONE },
	{ TEXT("\"\\ud800\\udc00\\udc00\""), 13, LONE }, { TEXT("\"\\ud800\\u0041\""), 1, LONE }, { TEXT("\"\\ud800\\n\""), 1, LONE }, { TEXT("\"\\ud800\\udbff\""), 1, LONE },
	{ TEXT("\"\\ud800\\ue000\""), 1, LONE }, { TEXT("\"\\ud800\\udc0g\""), 1, LONE }, { TEXT("\"\\ud800 \\udc00\""), 1, LONE }, { TEXT("\"\\ud800\\udc0"), 12, ENDS },
	{ TEXT("\"\xed\xa0\x80\""), 1, UTF8 }, { TEXT("\"\xed\xbf\xbf\""), 1, UTF8 }, { TEXT("\"\xed\xa0\xbd\xed\xb8\x80\""), 1, UTF8 },
	/* UTF-8 */
	{ TEXT("\"\x80\""), 1, UTF8 }, { TEXT("\"\xbf\""), 1, UTF8 }, { TEXT("\"\xc0\x80\""), 1, UTF8 }, { TEXT("\"\xc0\xaf\""), 1, UTF8 }, { TEXT("\"\xc1\xbf\""), 1, UTF8 },
	{ TEXT("\"\xe0\x80\xaf\""), 1, UTF8 }, { TEXT("\"\xe0\x9f\xbf\""), 1, UTF8 }, { TEXT("\"\xf0\x80\x80\xaf\""), 1, UTF8 }, { TEXT("\"\xf0\x8f\xbf\xbf\""), 1, UTF8 },
	{ TEXT("\"\xf4\x90\x80\x80\""), 1, UTF8 }, { TEXT("\"\xf5\x80\x80\x80\""), 1, UTF8 }, { TEXT("\"\xf8\x88\x80\x80\x80\""), 1, UTF8 }, { TEXT("\"\xfe\""), 1, UTF8 },
	{ TEXT("\"\xff\""), 1, UTF8 }, { TEXT("\"\xc3\""), 1, UTF8 }, { TEXT("\"\xe2\x82\""), 1, UTF8 }, { TEXT("\"\xf0\x9f\x98\""), 1, UTF8 }, { TEXT("\"\xc3\xc3\xa9\""), 1, UTF8 },
	{ TEXT("\"ok \xc3\xa9\xa9\""), 6, UTF8 }, { TEXT("\"\xe9\""), 1, UTF8 }, { TEXT("\"\xf0\x9f\x98"), 1, UTF8 }, { TEXT("{\"\xff\":1}"), 2, UTF8 }, { TEXT("\xff"), 0, VALUE },
	/* arrays */
	{ TEXT("["), 1, ENDS }, { TEXT("[1"), 2, ENDS }, { TEXT("[1,"), 3, ENDS }, { TEXT("[1,]"), 3, VALUE }, { TEXT("[,1]"), 1, VALUE }, { TEXT("[,]"), 1, VALUE },
	{ TEXT("[1,,2]"), 3, VALUE }, { TEXT("[1 2]"), 3, IN_ARRAY }, { TEXT("[1;2]"), 2, IN_ARRAY }, { TEXT("[1}"), 2, IN_ARRAY }, { TEXT("[}"), 1, VALUE },
	{ TEXT("[\"a\":1]"), 4, IN_ARRAY }, { TEXT("[[]"), 3, ENDS }, { TEXT("[[]}"), 3, IN_ARRAY }, { TEXT("[{]}"), 2, NAME }, { TEXT("[\"\",]"), 4, VALUE }, { TEXT("[\"a\"\"b\"]"), 4, IN_ARRAY },
	{ TEXT("[][]"), 2, MORE }, { TEXT("[1]x"), 3, MORE }, { TEXT("(1)"), 0, VALUE }, { TEXT("[...]"), 1, VALUE }, { TEXT("[*]"), 1, VALUE },
	/* objects */
	{ TEXT("{"), 1, ENDS }, { TEXT("{\"a\""), 4, ENDS }, { TEXT("{\"a\":"), 5, ENDS }, { TEXT("{\"a\":1"), 6, ENDS }, { TEXT("{\"a\":1,"), 7, ENDS },
	{ TEXT("{\"a\":1,}"), 7, NAME }, { TEXT("{,\"a\":1}"), 1, NAME }, { TEXT("{,}"), 1, NAME }, { TEXT("{\"a\":1,,\"b\":2}"), 7, NAME }, { TEXT("{\"a\"}"), 4, COLON },
	{ TEXT("{\"a\":}"), 5, VALUE }, { TEXT("{\"a\"::1}"), 5, VALUE }, { TEXT("{\"a\" 1}"), 5, COLON }, { TEXT("{\"a\"=1}"), 4, COLON }, { TEXT("{\"a\",1}"), 4, COLON },
	{ TEXT("{a:1}"), 1, NAME }, { TEXT("{'a':1}"), 1, NAME }, { TEXT("{1:1}"), 1, NAME }, { TEXT("{null:1}"), 1, NAME }, { TEXT("{[]:1}"), 1, NAME }, { TEXT("{:1}"), 1, NAME },
	{ TEXT("{\"a\":1 \"b\":2}"), 7, IN_OBJECT }, { TEXT("{\"a\":1;\"b\":2}"), 6, IN_OBJECT }, { TEXT("{\"a\":1]"), 6, IN_OBJECT }, { TEXT("{]"), 1, NAME },
	{ TEXT("{\"a\":{}"), 7, ENDS }, { TEXT("{\"a\":[}]"), 6, VALUE }, { TEXT("{\"a\":1}#"), 7, MORE }, { TEXT("{\"a\":1:2}"), 6, IN_OBJECT }, { TEXT("{{}}"), 1, NAME },
	/* comments */
	{ TEXT("//\n1"), 0, VALUE }, { TEXT("/**/1"), 0, VALUE }, { TEXT("1//"), 1, MORE }, { TEXT("[1/**/]"), 2, IN_ARRAY }, { TEXT("[#\n1]"), 1, VALUE },
	{ TEXT("{/**/}"), 1, NAME }, { TEXT("{\"a\"/**/:1}"), 4, COLON }, { TEXT("<null>"), 0, VALUE },
};

static void refuses_what_is_not_json_and_says_where_and_why(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bads); i++) {
		const struct bad *b = &bads[i];
		struct json_error err;
		if (accepted(b->text, b->n, &err))
			fail_msg("accepted: %s", b->text);
		if (err.offset != b->offset || strcmp(err.what, b->what))
			fail_msg("%s: byte %zu, %s; got byte %zu, %s", b->text, b->offset, b->what, err.offset, err.what);
		assert_false(accepted(b->text, b->n, NULL));
	}
}

static void refuses_bad_texts_inside_good_ones(void **state)
{
	(void)state;
	static const char *const around[][2] = { { "[0,", "]" }, { "{\"a\":", "}" }, { "[{\"a\":[[],", "]}]" } };
	for (size_t i = 0; i < COUNT(bads); i++) {
		for (size_t k = 0; k < COUNT(around); k++) {
			struct buf text = { 0 };
			buf_str(&text, around[k][0]);
			buf_add(&text, bads[i].text, bads[i].n);
			buf_str(&text, around[k][1]);
			bool list = strcmp(bads[i].what, MORE) == 0;  /* 1,000 is two elements */
			if (!list && accepted(text.data, text.len, NULL))
				fail_msg("accepted: %s", text.data);
			buf_free(&text);
		}
	}
}

static void every_byte_stands_in_a_string_or_does_not(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		char text[3] = { '"', (char)c, '"' };
		bool plain = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
		assert_int_equal(accepted(text, sizeof text, NULL), plain);
	}
}

static bool nests(const char *open, const char *middle, const char *close, int depth, int max_depth)
{
	struct json v;
	struct json_error err = { 0, NULL };
	char *text = repeat(open, middle, close, depth);
	bool ok = json_read(text, strlen(text), max_depth, &v, &err);
	if (!ok)
		assert_string_equal(err.what, "nested too deeply");
	free(text);
	return ok;
}

static void counts_depth_exactly(void **state)
{
	(void)state;
	static const int caps[] = { 1, 2, 31, 32, 33, 63, 64 };
	for (size_t i = 0; i < COUNT(caps); i++) {
		int cap = caps[i];
		assert_true(nests("[", "0", "]", cap - 1, cap));
		assert_true(nests("[", "", "]", cap, cap));
		assert_false(nests("[", "", "]", cap + 1, cap));
		assert_true(nests("{\"a\":", "0", "}", cap, cap));
		assert_false(nests("{\"a\":", "0", "}", cap + 1, cap));
		assert_true(nests("[[],{},{\"a\":", "{}", "}]", (cap - 1) / 2, cap));
		assert_false(nests("[{\"a\":", "{}", "}]", (cap + 1) / 2, cap));
	}
}

static void the_cap_itself_is_capped(void **state)
{
	(void)state;
	struct json v;
	assert_true(nests("[", "", "]", 64, 1000));
	assert_false(nests("[", "", "]", 65, 1000));
	assert_false(nests("[", "", "]", 100000, 64));
	assert_false(nests("[", "", "", 100000, 64));
	assert_false(nests("[{\"\":", "", "", 50000, 64));
	for (int cap = -1; cap <= 0; cap++) {
		assert_false(nests("[", "", "]", 1, cap));
		assert_true(json_read("\"[\"", 3, cap, &v, NULL));
	}
}

static void closed_levels_do_not_count(void **state)
{
	(void)state;
	char *text = repeat("[[]],", "0", "", 5000);
	struct buf list = { 0 };
	buf_str(&list, "[");
	buf_str(&list, text);
	buf_str(&list, "]");
	struct json v;
	assert_true(json_read(list.data, list.len, 3, &v, NULL));
	assert_false(json_read(list.data, list.len, 2, &v, NULL));
	buf_free(&list);
	free(text);
}

static void refuses_no_bytes_at_no_address(void **state)
{
	(void)state;
	struct json v;
	assert_false(json_read(NULL, 0, JSON_DEPTH, &v, NULL));
}

/* walking */

static void assert_slice(const struct json *v, enum json_type type, const char *text)
{
	assert_int_equal(v->type, type);
	assert_int_equal(v->len, strlen(text));
	assert_memory_equal(v->text, text, v->len);
}

static void walks_members_in_order_without_their_space(void **state)
{
	(void)state;
	static const struct { const char *key; enum json_type type; const char *text; } due[] = {
		{ "\"a\"", JSON_NUMBER, "-1.5e3" }, { "\"b\\\"\"", JSON_STRING, "\"}\\\\\"" }, { "\"c\"", JSON_ARRAY, "[ [1,\"]\"] , {} ]" },
		{ "\"\"", JSON_OBJECT, "{\"x\":{\"y\":\"\\\"}\"}}" }, { "\"d\"", JSON_BOOL, "false" }, { "\"d\"", JSON_NULL, "null" },
	};
	static const char text[] = "\n{ \"a\" :\t-1.5e3 ,\"b\\\"\":\"}\\\\\",\r\n\"c\":[ [1,\"]\"] , {} ] , \"\":{\"x\":{\"y\":\"\\\"}\"}}, \"d\":false,\"d\":null } ";
	char *copy = exact(TEXT(text));
	struct json v, key, value;
	assert_true(json_read(copy, sizeof text - 1, JSON_DEPTH, &v, NULL));
	struct json_iter it = json_iter(&v);
	for (size_t i = 0; i < COUNT(due); i++) {
		assert_true(json_next(&it, &key, &value));
		assert_slice(&key, JSON_STRING, due[i].key);
		assert_slice(&value, due[i].type, due[i].text);
	}
	assert_false(json_next(&it, &key, &value));
	assert_false(json_next(&it, &key, &value));
	free(copy);
}

static void walks_elements_and_leaves_the_key_alone(void **state)
{
	(void)state;
	struct json v = read_good("[1, \"a\" ,[],true\n]"), value, key = { JSON_BOOL, "kept", 4 };
	static const char *const due[] = { "1", "\"a\"", "[]", "true" };
	static const enum json_type types[] = { JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_BOOL };
	struct json_iter with = json_iter(&v), without = json_iter(&v);
	for (size_t i = 0; i < COUNT(due); i++) {
		assert_true(json_next(&with, &key, &value));
		assert_slice(&value, types[i], due[i]);
		assert_true(json_next(&without, NULL, &value));
		assert_slice(&value, types[i], due[i]);
	}
	assert_false(json_next(&with, &key, &value));
	assert_slice(&key, JSON_BOOL, "kept");
}

static void a_member_may_be_walked_without_its_name(void **state)
{
	(void)state;
	struct json v = read_good("{\"a\":1,\"b\":2}"), value;
	struct json_iter it = json_iter(&v);
	assert_true(json_next(&it, NULL, &value));
	assert_true(json_next(&it, NULL, &value));
	assert_slice(&value, JSON_NUMBER, "2");
	assert_false(json_next(&it, NULL, &value));
}

static void nothing_to_walk_ends_at_once(void **state)
{
	(void)state;
	static const char *const texts[] = { "[]", "{}", " [ ] ", "{\n}", "1", "\"[1]\"", "null" };
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct json v = read_good(texts[i]), value;
		struct json_iter it = json_iter(&v);
		assert_false(json_next(&it, NULL, &value));
	}
}

static void finds_the_first_member_of_a_name(void **state)
{
	(void)state;
	struct json v = read_good("{\"x\":{\"b\":0},\"a\":1,\"\\u0062\":2,\"b\":3,\"a\":4,\"\":5,\"c\\u0000\":6}"), found;
	assert_true(json_find(&v, "a", &found));
	assert_slice(&found, JSON_NUMBER, "1");
	assert_true(json_find(&v, "b", &found));
	assert_slice(&found, JSON_NUMBER, "2");
	assert_true(json_find(&v, "", &found));
	assert_slice(&found, JSON_NUMBER, "5");
	assert_false(json_find(&v, "c", &found));
	assert_false(json_find(&v, "A", &found));
	v = read_good("[\"a\",1]");
	assert_false(json_find(&v, "a", &found));
	v = read_good("\"a\"");
	assert_false(json_find(&v, "a", &found));
}

/* decoding */

struct decoded { const char *text, *plain; size_t n; };
static const struct decoded decodeds[] = {
	{ "\"\"", TEXT("") }, { "\"abc\"", TEXT("abc") }, { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", TEXT("\"\\/\b\f\n\r\t") }, { "\"a\\nb\"", TEXT("a\nb") },
	{ "\"\\u0041\\u007f\"", TEXT("A\x7f") }, { "\"\\u0080\\u07FF\"", TEXT("\xc2\x80\xdf\xbf") }, { "\"\\u0800\\uffff\"", TEXT("\xe0\xa0\x80\xef\xbf\xbf") },
	{ "\"\\ud7ff\\ue000\"", TEXT("\xed\x9f\xbf\xee\x80\x80") }, { "\"\\ud800\\udc00\"", TEXT("\xf0\x90\x80\x80") }, { "\"\\uDBFF\\uDFFF\"", TEXT("\xf4\x8f\xbf\xbf") },
	{ "\"x\\ud83d\\ude00y\"", TEXT("x\xf0\x9f\x98\x80y") }, { "\"\\u20AC\xe2\x82\xac\"", TEXT("\xe2\x82\xac\xe2\x82\xac") }, { "\"a\\u0000b\"", TEXT("a\0b") },
	{ "\"\\u0000\"", TEXT("\0") }, { "\"\\\\u0041\"", TEXT("\\u0041") }, { "\"\\u005cn\"", TEXT("\\n") }, { "\"\x7f\"", TEXT("\x7f") },
};

static void decodes_escapes_to_utf8_behind_what_is_there(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(decodeds); i++) {
		struct buf out = { 0 };
		struct json v = read_good(decodeds[i].text);
		json_text(&v, &out);
		assert_non_null(out.data);
		assert_int_equal(out.len, decodeds[i].n);
		assert_memory_equal(out.data, decodeds[i].plain, out.len + 1);
		json_text(&v, &out);
		assert_int_equal(out.len, 2 * decodeds[i].n);
		assert_memory_equal(out.data + decodeds[i].n, decodeds[i].plain, decodeds[i].n);
		buf_free(&out);
	}
}

static void the_same_is_what_decodes_to_the_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(decodeds); i++) {
		struct json v = read_good(decodeds[i].text);
		for (size_t k = 0; k < COUNT(decodeds); k++) {
			bool nul = strlen(decodeds[i].plain) != decodeds[i].n;
			bool equal = !nul && strcmp(decodeds[i].plain, decodeds[k].plain) == 0;
			assert_int_equal(json_same(&v, decodeds[k].plain), equal);
		}
	}
	struct json v = read_good("\"abc\"");
	assert_false(json_same(&v, "ab"));
	assert_false(json_same(&v, "abcd"));
	v = read_good("true");
	assert_false(json_same(&v, "rue"));
}

/* whole numbers */

struct whole { const char *text; bool ok; int64_t n; };
static const struct whole wholes[] = {
	{ "0", true, 0 }, { "-0", true, 0 }, { "-0.0", true, 0 }, { "0e99999999999", true, 0 }, { "-0.000e-99999999999999999999999", true, 0 }, { "5", true, 5 },
	{ "5.0", true, 5 }, { "5e2", true, 500 }, { "50e-1", true, 5 }, { "-7", true, -7 }, { "0.5e1", true, 5 }, { "0.05E+2", true, 5 }, { "1.5", false, 0 },
	{ "5e-1", false, 0 }, { "50e-2", false, 0 }, { "1e400", false, 0 }, { "-1e400", false, 0 }, { "1e-400", false, 0 }, { "1e99999999999999999999999999", false, 0 },
	{ "1e18", true, INT64_C(1000000000000000000) }, { "1e19", false, 0 }, { "9e18", true, INT64_C(9000000000000000000) }, { "10e18", false, 0 },
	{ "9223372036854775807", true, INT64_MAX }, { "9223372036854775808", false, 0 }, { "-9223372036854775808", true, INT64_MIN }, { "-9223372036854775809", false, 0 },
	{ "9223372036854775807.0", true, INT64_MAX }, { "9223372036854775807.5", false, 0 }, { "9223372036854775.807e3", true, INT64_MAX }, { "9223372036854775.808e3", false, 0 },
	{ "-9223372036854775.808e3", true, INT64_MIN }, { "0.9223372036854775807e19", true, INT64_MAX }, { "92233720368547758070e-1", true, INT64_MAX },
	{ "18446744073709551616", false, 0 }, { "18446744073709551621", false, 0 }, { "100000000000000000000000000000000000e-35", true, 1 },
	{ "100000000000000000000000000000000001e-35", false, 0 }, { "0.00000000000000000000000000000000001e35", true, 1 }, { "9007199254740993", true, INT64_C(9007199254740993) },
	{ "9007199254740993.0000000000000000000000000000001", false, 0 }, { "123.4560e2", false, 0 }, { "123.4500e2", true, 12345 }, { "1e0", true, 1 }, { "1e-0", true, 1 },
	{ "1e0000000000000000000000000000002", true, 100 }, { "1e18446744073709551618", false, 0 }, { "true", false, 0 }, { "\"5\"", false, 0 }, { "null", false, 0 }, { "[5]", false, 0 },
};

static void whole_numbers_are_exact_or_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(wholes); i++) {
		struct json v = read_good(wholes[i].text);
		int64_t n = -12345;
		if (json_int(&v, &n) != wholes[i].ok)
			fail_msg("%s should %sfit", wholes[i].text, wholes[i].ok ? "" : "not ");
		assert_true(n == (wholes[i].ok ? wholes[i].n : -12345));
	}
}

static void a_huge_mantissa_meets_its_exponent(void **state)
{
	(void)state;
	struct buf text = { 0 };
	int64_t n = 0;
	buf_char(&text, '7');
	for (int i = 0; i < 100000; i++)
		buf_char(&text, '0');
	buf_str(&text, "e-99999");
	struct json v = read_good(text.data);
	assert_true(json_int(&v, &n));
	assert_int_equal(n, 70);
	buf_free(&text);
}

static void truth_is_read_from_words_only(void **state)
{
	(void)state;
	bool on = false;
	struct json v = read_good("true");
	assert_true(json_bool(&v, &on) && on);
	v = read_good(" false");
	assert_true(json_bool(&v, &on) && !on);
	v = read_good("\"true\"");
	assert_false(json_bool(&v, &on));
	v = read_good("1");
	assert_false(json_bool(&v, &on));
}

/* the writer */

static void assert_written(struct buf *out, const struct json_writer *w, const char *due)
{
	assert_true(json_good(w));
	assert_string_equal(out->data, due);
	assert_int_equal(out->len, strlen(due));
	assert_true(accepted(out->data, out->len, NULL) || due[0] == 'x');
	buf_free(out);
}

static void writes_compact_text_behind_what_is_there(void **state)
{
	(void)state;
	struct buf out = { 0 };
	buf_str(&out, "x");
	struct json_writer w = json_writer(&out);
	json_open_object(&w);
	json_key(&w, "a");
	json_put_int(&w, -5);
	json_key(&w, "b\"");
	json_open_array(&w);
	json_put_null(&w);
	json_put_bool(&w, true);
	json_open_object(&w);
	json_close(&w);
	json_put_bool(&w, false);
	json_open_array(&w);
	json_close(&w);
	json_put_text(&w, NULL);
	json_put_raw(&w, NULL, 0);
	json_close(&w);
	json_key(&w, "");
	json_put_raw(&w, "[1, 2]", 6);
	json_key(&w, "c");
	json_put_text(&w, "t");
	assert_false(json_good(&w));
	json_close(&w);
	assert_written(&out, &w, "x{\"a\":-5,\"b\\\"\":[null,true,{},false,[],null,null],\"\":[1, 2],\"c\":\"t\"}");
}

static void writes_whole_numbers_to_the_limits(void **state)
{
	(void)state;
	static const int64_t numbers[] = { 0, 1, -1, 9, 10, -10, 99, 100, 1500, INT32_MAX, INT64_MAX, INT64_MIN, INT64_MIN + 1 };
	for (size_t i = 0; i < COUNT(numbers); i++) {
		struct buf out = { 0 };
		char due[32];
		int64_t back = 0;
		struct json_writer w = json_writer(&out);
		json_put_int(&w, numbers[i]);
		snprintf(due, sizeof due, "%lld", (long long)numbers[i]);
		struct json v = read_good(out.data);
		assert_true(json_int(&v, &back) && back == numbers[i]);
		assert_written(&out, &w, due);
	}
}

static void escapes_only_what_must_be(void **state)
{
	(void)state;
	static const struct { const char *plain; size_t n; const char *due; } cases[] = {
		{ TEXT(""), "\"\"" }, { TEXT("abc/'<>&"), "\"abc/'<>&\"" }, { TEXT("\"\\"), "\"\\\"\\\\\"" }, { TEXT("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"" },
		{ TEXT("a\0b"), "\"a\\u0000b\"" }, { TEXT("\x01\x0b\x1f\x7f"), "\"\\u0001\\u000b\\u001f\x7f\"" }, { TEXT("\xc3\xa9\xf0\x9f\x98\x80"), "\"\xc3\xa9\xf0\x9f\x98\x80\"" },
		{ TEXT("\xe2\x80\xa8"), "\"\xe2\x80\xa8\"" }, { TEXT("long enough\nto be written in two"), "\"long enough\\nto be written in two\"" },
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf out = { 0 };
		struct json_writer w = json_writer(&out);
		char *copy = exact(cases[i].plain, cases[i].n);
		json_put_bytes(&w, copy, cases[i].n);
		assert_written(&out, &w, cases[i].due);
		free(copy);
	}
}

static void writes_no_bytes_at_no_address_as_an_empty_string(void **state)
{
	(void)state;
	struct buf out = { 0 };
	struct json_writer w = json_writer(&out);
	json_put_bytes(&w, NULL, 0);
	assert_written(&out, &w, "\"\"");
}

/* Each character is a call: { [ ) open and close, k a key, v a value, r raw text, n raw null, e empty raw text, u bad UTF-8, U a key of it. */
static void play(struct json_writer *w, const char *calls)
{
	for (; *calls; calls++) {
		switch (*calls) {
		case '{': json_open_object(w); break;
		case '[': json_open_array(w); break;
		case ')': json_close(w); break;
		case 'k': json_key(w, "k"); break;
		case 'v': json_put_int(w, 1); break;
		case 'r': json_put_raw(w, "[]", 2); break;
		case 'n': json_put_raw(w, NULL, 0); break;
		case 'e': json_put_raw(w, "", 0); break;
		case 'u': json_put_bytes(w, "a\xc3", 2); break;
		case 'U': json_key(w, "\xff"); break;
		default: fail_msg("no call %c", *calls);
		}
	}
}

static void is_good_only_when_whole(void **state)
{
	(void)state;
	static const char *const good[] = { "v", "r", "n", "{)", "[)", "[vv)", "{kv)", "{k{))", "{k[rn)kv)", "[[[))[)v)" };
	static const char *const open[] = { "", "{", "[", "{k", "{kv", "[v", "[[)", "{k{)" };
	for (size_t i = 0; i < COUNT(good) + COUNT(open); i++) {
		struct buf out = { 0 };
		struct json_writer w = json_writer(&out);
		play(&w, i < COUNT(good) ? good[i] : open[i - COUNT(good)]);
		assert_int_equal(json_good(&w), i < COUNT(good));
		if (i < COUNT(good))
			assert_true(accepted(out.data, out.len, NULL));
		buf_free(&out);
	}
}

static void misuse_makes_it_bad_for_ever(void **state)
{
	(void)state;
	static const char *const misuses[] = {
		"k", "kv", ")", "v)", "vv", "v{", "v[", "vk", "{)v", "{v", "{{", "{[", "{r", "{n", "{kk", "{k)", "{kvv", "{kv{", "[k", "[kv", "[vk", "[))",
		"{))", "{k[k", "{k{v", "{[)", "{k[)v", "u", "[u", "{ku", "{U", "e", "[e", "{ke", "[v)v", "[{)k", "rr", "n)",
	};
	for (size_t i = 0; i < COUNT(misuses); i++) {
		struct buf out = { 0 };
		struct json_writer w = json_writer(&out);
		play(&w, misuses[i]);
		if (!w.bad)
			fail_msg("not bad: %s", misuses[i]);
		size_t len = out.len;
		play(&w, "v)k)v{[)r)n)");
		assert_true(w.bad);
		assert_false(json_good(&w));
		assert_int_equal(out.len, len);
		buf_free(&out);
	}
}

static void the_writer_opens_as_many_as_the_reader_takes(void **state)
{
	(void)state;
	for (int depth = JSON_DEPTH; depth <= JSON_DEPTH + 1; depth++) {
		struct buf out = { 0 };
		struct json_writer w = json_writer(&out);
		for (int i = 0; i < depth; i++)
			play(&w, i == 0 ? "[" : i % 2 ? "{" : "k[");
		for (int i = 0; i < depth; i++)
			play(&w, i == 0 && depth % 2 == 0 ? "kv)" : ")");
		assert_int_equal(json_good(&w), depth == JSON_DEPTH);
		if (depth == JSON_DEPTH)
			assert_true(accepted(out.data, out.len, NULL));
		buf_free(&out);
	}
}

/* random trees: the same seed writes a tree and says again what must be read */

static uint64_t draw(uint64_t *seed)
{
	uint64_t x = *seed += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static void draw_character(uint64_t *seed, struct buf *out, bool nul)
{
	static const char *const wide[] = { "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xe2\x82\xac", "\xef\xbf\xbf", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\\", "\"", "\x7f" };
	uint64_t pick = draw(seed) % 16;
	if (pick < 10)
		buf_str(out, wide[pick]);
	else
		buf_char(out, (char)(draw(seed) % (nul ? 128 : 127) + !nul));
}

static void draw_string(uint64_t *seed, struct buf *out, bool nul)
{
	buf_clear(out);
	buf_add(out, "", 0);
	for (uint64_t n = draw(seed) % 12; n > 0; n--)
		draw_character(seed, out, nul);
}

static int64_t draw_int(uint64_t *seed)
{
	uint64_t bits = draw(seed) >> draw(seed) % 64;
	return bits & 1 ? -(int64_t)(bits >> 1) - 1 : (int64_t)(bits >> 1);
}

enum { BRANCHES = 6 };

static void write_tree(struct json_writer *w, uint64_t *seed, int depth)
{
	struct buf text = { 0 };
	enum json_type type = (enum json_type)(draw(seed) % (depth > 0 ? 6 : 4));
	switch (type) {
	case JSON_NULL: json_put_null(w); break;
	case JSON_BOOL: json_put_bool(w, draw(seed) & 1); break;
	case JSON_NUMBER: json_put_int(w, draw_int(seed)); break;
	case JSON_STRING:
		draw_string(seed, &text, true);
		json_put_bytes(w, text.data, text.len);
		break;
	default:
		(type == JSON_OBJECT ? json_open_object : json_open_array)(w);
		for (uint64_t n = draw(seed) % BRANCHES; n > 0; n--) {
			draw_string(seed, &text, false);
			if (type == JSON_OBJECT)
				json_key(w, text.data);
			write_tree(w, seed, depth - 1);
		}
		json_close(w);
	}
	buf_free(&text);
}

static void check_string(const struct json *v, const struct buf *due)
{
	struct buf text = { 0 };
	json_text(v, &text);
	assert_int_equal(text.len, due->len);
	assert_memory_equal(text.data, due->data, due->len);
	assert_int_equal(json_same(v, due->data), strlen(due->data) == due->len);
	buf_free(&text);
}

static void check_tree(const struct json *v, uint64_t *seed, int depth);

static void check_branches(const struct json *v, uint64_t *seed, int depth)
{
	struct buf name = { 0 };
	struct json key, value, found;
	struct json_iter it = json_iter(v);
	for (uint64_t n = draw(seed) % BRANCHES; n > 0; n--) {
		draw_string(seed, &name, false);
		assert_true(json_next(&it, &key, &value));
		if (v->type == JSON_OBJECT) {
			check_string(&key, &name);
			assert_true(json_find(v, name.data, &found) && found.text <= value.text);
		}
		check_tree(&value, seed, depth - 1);
	}
	assert_false(json_next(&it, &key, &value));
	buf_free(&name);
}

static void check_tree(const struct json *v, uint64_t *seed, int depth)
{
	struct buf text = { 0 };
	int64_t n = 0;
	bool on = false;
	assert_int_equal(v->type, draw(seed) % (depth > 0 ? 6 : 4));
	switch (v->type) {
	case JSON_NULL: assert_slice(v, JSON_NULL, "null"); break;
	case JSON_BOOL: assert_true(json_bool(v, &on) && on == (draw(seed) & 1)); break;
	case JSON_NUMBER: assert_true(json_int(v, &n) && n == draw_int(seed)); break;
	case JSON_STRING:
		draw_string(seed, &text, true);
		check_string(v, &text);
		break;
	default: check_branches(v, seed, depth);
	}
	buf_free(&text);
}

static void what_is_written_is_read_back_as_it_was(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		struct buf out = { 0 };
		struct json v;
		uint64_t writing = seed, reading = seed;
		struct json_writer w = json_writer(&out);
		write_tree(&w, &writing, 6);
		assert_true(json_good(&w));
		char *copy = exact(out.data, out.len);
		if (!json_read(copy, out.len, JSON_DEPTH, &v, NULL))
			fail_msg("seed %d: refused %s", (int)seed, out.data);
		assert_int_equal(v.len, out.len);
		check_tree(&v, &reading, 6);
		assert_true(writing == reading);
		free(copy);
		buf_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_the_grammar_and_drops_outer_space),
		cmocka_unit_test(refuses_every_prefix_that_is_not_whole),
		cmocka_unit_test(names_the_end_where_a_prefix_of_ascii_stops),
		cmocka_unit_test(refuses_what_is_not_json_and_says_where_and_why),
		cmocka_unit_test(refuses_bad_texts_inside_good_ones),
		cmocka_unit_test(every_byte_stands_in_a_string_or_does_not),
		cmocka_unit_test(counts_depth_exactly),
		cmocka_unit_test(the_cap_itself_is_capped),
		cmocka_unit_test(closed_levels_do_not_count),
		cmocka_unit_test(refuses_no_bytes_at_no_address),
		cmocka_unit_test(walks_members_in_order_without_their_space),
		cmocka_unit_test(walks_elements_and_leaves_the_key_alone),
		cmocka_unit_test(a_member_may_be_walked_without_its_name),
		cmocka_unit_test(nothing_to_walk_ends_at_once),
		cmocka_unit_test(finds_the_first_member_of_a_name),
		cmocka_unit_test(decodes_escapes_to_utf8_behind_what_is_there),
		cmocka_unit_test(the_same_is_what_decodes_to_the_text),
		cmocka_unit_test(whole_numbers_are_exact_or_refused),
		cmocka_unit_test(a_huge_mantissa_meets_its_exponent),
		cmocka_unit_test(truth_is_read_from_words_only),
		cmocka_unit_test(writes_compact_text_behind_what_is_there),
		cmocka_unit_test(writes_whole_numbers_to_the_limits),
		cmocka_unit_test(escapes_only_what_must_be),
		cmocka_unit_test(writes_no_bytes_at_no_address_as_an_empty_string),
		cmocka_unit_test(is_good_only_when_whole),
		cmocka_unit_test(misuse_makes_it_bad_for_ever),
		cmocka_unit_test(the_writer_opens_as_many_as_the_reader_takes),
		cmocka_unit_test(what_is_written_is_read_back_as_it_was),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
