/* util: what is read strictly, what is written exactly, and that the two undo each other. */
#include "../util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof (a) / sizeof *(a))

/* buffers */

static void a_buffer_is_terminated_after_every_call(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_room(&b, 0);
	assert_int_equal(b.data[0], '\0');
	buf_add(&b, NULL, 0);
	buf_str(&b, "one");
	buf_char(&b, ' ');
	buf_fmt(&b, "%s %d", "two", 3);
	assert_string_equal(b.data, "one two 3");
	assert_int_equal(b.len, 9);
	buf_drop(&b, 4);
	assert_string_equal(b.data, "two 3");
	buf_drop(&b, 5);
	assert_string_equal(b.data, "");
	buf_clear(&b);
	assert_non_null(b.data);
	buf_free(&b);
	assert_null(b.data);
	assert_int_equal(b.cap, 0);
	buf_clear(&b);
	buf_drop(&b, 0);
	buf_free(&b);
}

static void a_buffer_keeps_every_byte_while_it_grows(void **state)
{
	struct buf b = {0};

	(void)state;
	for (int i = 0; i < 70000; i++)
		buf_char(&b, (char)(i % 251));
	assert_int_equal(b.len, 70000);
	for (int i = 0; i < 70000; i++)
		if (b.data[i] != (char)(i % 251))
			fail_msg("byte %d", i);
	buf_clear(&b);
	buf_fmt(&b, "%*d", 300, 7);
	assert_int_equal(b.len, 300);
	assert_int_equal(strlen(b.data), 300);
	buf_free(&b);
}

static void room_does_not_move_the_length(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_str(&b, "ab");
	memset(buf_room(&b, 1000), 'x', 1000);
	assert_int_equal(b.len, 2);
	assert_true(b.cap >= 1003);
	buf_char(&b, 'c');
	assert_string_equal(b.data, "abc");
	buf_free(&b);
}

static void copies_are_terminated_and_null_stays_null(void **state)
{
	char *a = mem_dupn("abcdef", 3), *b = mem_dup("xyz"), *c = mem_dupn(NULL, 0);

	(void)state;
	assert_string_equal(a, "abc");
	assert_string_equal(b, "xyz");
	assert_string_equal(c, "");
	assert_null(mem_dup(NULL));
	a = mem_resize(a, 100);
	assert_string_equal(a, "abc");
	for (struct buf all[] = { { a, 0, 0 }, { b, 0, 0 }, { c, 0, 0 }, { mem_new(0), 0, 0 } }, *at = all; at < all + COUNT(all); at++)
		buf_free(at);
}

/* numbers */

static void numbers_are_digits_within_bounds(void **state)
{
	static const struct { const char *text; int64_t min, max; bool good; int64_t value; } cases[] = {
		{ "0", 0, 9, true, 0 }, { "9", 0, 9, true, 9 }, { "10", 0, 9, false, 0 }, { "-1", 0, 9, false, 0 }, { "-1", -1, 9, true, -1 },
		{ "-2", -1, 9, false, 0 }, { "", 0, 9, false, 0 }, { "-", -9, 9, false, 0 }, { "+1", 0, 9, false, 0 }, { " 1", 0, 9, false, 0 },
		{ "1 ", 0, 9, false, 0 }, { "1.0", 0, 9, false, 0 }, { "1e1", 0, 99, false, 0 }, { "0x1", 0, 99, false, 0 }, { "--1", -9, 9, false, 0 },
		{ "007", 0, 9, true, 7 }, { "1-", 0, 9, false, 0 }, { "/", 0, 99, false, 0 }, { ":", 0, 99, false, 0 }, { "\xd9\xa1", 0, 99, false, 0 },
		{ "9223372036854775807", INT64_MIN, INT64_MAX, true, INT64_MAX }, { "9223372036854775808", INT64_MIN, INT64_MAX, false, 0 },
		{ "-9223372036854775808", INT64_MIN, INT64_MAX, true, INT64_MIN }, { "-9223372036854775809", INT64_MIN, INT64_MAX, false, 0 },
		{ "92233720368547758070", INT64_MIN, INT64_MAX, false, 0 }, { "99999999999999999999999999", INT64_MIN, INT64_MAX, false, 0 },
		{ "9223372036854775810", INT64_MIN, INT64_MAX, false, 0 }, { "00000000000000000000000000001", 0, 1, true, 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int64_t value = 77;
		bool good = num_parse(cases[i].text, strlen(cases[i].text), cases[i].min, cases[i].max, &value);
		if (good != cases[i].good || value != (good ? cases[i].value : 77))
			fail_msg("%s", cases[i].text);
	}
}

static void a_number_ends_where_its_length_says(void **state)
{
	int64_t value;

	(void)state;
	assert_true(num_parse("123", 2, 0, 999, &value));
	assert_int_equal(value, 12);
	assert_false(num_parse("1\0" "2", 3, 0, 999, &value));
	assert_false(num_parse("-5", 1, -9, 9, &value));
}

static void hex_is_lower_case_and_terminated(void **state)
{
	char out[9] = "zzzzzzzz";

	(void)state;
	hex_text("\x00\xff\x1a\x7f", 4, out);
	assert_string_equal(out, "00ff1a7f");
	hex_text("", 0, out);
	assert_string_equal(out, "");
}

/* instants */

static const struct { int64_t ms; const char *text; } instants[] = {
	{ 0, "1970-01-01T00:00:00.000Z" }, { 1, "1970-01-01T00:00:00.001Z" }, { -1, "1969-12-31T23:59:59.999Z" },
	{ INT64_C(951782400000), "2000-02-29T00:00:00.000Z" }, { INT64_C(951868800000), "2000-03-01T00:00:00.000Z" },
	{ INT64_C(4107542399999), "2100-02-28T23:59:59.999Z" }, { INT64_C(4107542400000), "2100-03-01T00:00:00.000Z" },
	{ INT64_C(1709251199999), "2024-02-29T23:59:59.999Z" }, { INT64_C(1735689599999), "2024-12-31T23:59:59.999Z" },
	{ INT64_C(1795527497123), "2026-11-24T13:38:17.123Z" }, { INT64_C(253402300799999), "9999-12-31T23:59:59.999Z" },
	{ INT64_C(-62167219200000), "0000-01-01T00:00:00.000Z" }, { INT64_C(-2203891200001), "1900-02-28T23:59:59.999Z" },
};

static void instants_are_written_and_read_back(void **state)
{
	char text[TIME_TEXT];
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < COUNT(instants); i++) {
		time_text(instants[i].ms, text);
		assert_string_equal(text, instants[i].text);
		assert_true(time_parse(text, &ms));
		assert_true(ms == instants[i].ms);
	}
}

static void every_day_of_four_centuries_comes_back(void **state)
{
	char text[TIME_TEXT], before[TIME_TEXT] = "";
	int64_t ms;

	(void)state;
	for (int64_t day = -146097; day < 146097; day += 1) {
		time_text(day * 86400000, text);
		if (strcmp(before, text) >= 0 || !time_parse(text, &ms) || ms != day * 86400000)
			fail_msg("%s after %s", text, before);
		memcpy(before, text, sizeof text);
	}
}

static void an_instant_beyond_the_calendar_is_its_end(void **state)
{
	char text[TIME_TEXT];

	(void)state;
	time_text(INT64_MAX, text);
	assert_string_equal(text, "9999-12-31T23:59:59.999Z");
	time_text(INT64_MIN, text);
	assert_string_equal(text, "0000-01-01T00:00:00.000Z");
}

static void refuses_what_is_no_instant(void **state)
{
	static const char *const cases[] = {
		"", "2026-11-24", "2026-11-24T13:38:17Z", "2026-11-24T13:38:17.12Z", "2026-11-24T13:38:17.1234Z", "2026-11-24T13:38:17.123", "2026-11-24T13:38:17.123z",
		"2026-11-24t13:38:17.123Z", "2026-11-24 13:38:17.123Z", "2026-11-24T13:38:17,123Z", "2026-11-24T13:38:17.123+00:00", "2026-13-24T13:38:17.123Z",
		"2026-00-24T13:38:17.123Z", "2026-11-00T13:38:17.123Z", "2026-11-31T13:38:17.123Z", "2026-02-29T13:38:17.123Z", "2100-02-29T00:00:00.000Z",
		"2026-11-24T24:00:00.000Z", "2026-11-24T13:60:17.123Z", "2026-12-31T23:59:60.000Z", "2026-11-24T13:38:-1.123Z", "-026-11-24T13:38:17.123Z",
		"2026/11-24T13:38:17.123Z", "2026-11/24T13:38:17.123Z", "2026-11-24T13.38:17.123Z", "2026-11-24T13:38.17.123Z", "2026-11-24T13:38:17.-23Z",
		"2026-1 -24T13:38:17.123Z", "2026-11-24T13:38:17.123Z ", " 2026-11-24T13:38:17.123Z",
	};
	int64_t ms = 77;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (time_parse(cases[i], &ms) || ms != 77)
			fail_msg("%s", cases[i]);
}

/* ids */

static void an_id_carries_row_nonce_and_instant(void **state)
{
	static const struct { int64_t row, nonce, ms; const char *text; } cases[] = {
		{ 0, 0, 0, "00000000-0000-7000-8000-000000000000" }, { 1, 0, 0, "00000000-0000-7000-8000-000000000001" },
		{ ID_ROW_MAX, 0, 0, "00000000-0000-7000-8000-00ffffffffff" }, { 0, 1, 0, "00000000-0000-7000-8000-010000000000" },
		{ 0, ID_NONCE_MAX, 0, "00000000-0000-7fff-bfff-ff0000000000" }, { 0, INT64_C(1) << 22, 0, "00000000-0000-7001-8000-000000000000" },
		{ 0, 0, (INT64_C(1) << 48) - 1, "ffffffff-ffff-7000-8000-000000000000" },
		{ 0x123456789a, 0x3deadbeef, INT64_C(1795527497123), "01a20dc7-55a3-7f7a-adbe-ef123456789a" },
	};
	char text[ID_TEXT];
	int64_t row, nonce, ms;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		id_text(cases[i].row, cases[i].nonce, cases[i].ms, text);
		assert_string_equal(text, cases[i].text);
		assert_true(id_parse(text, strlen(text), &row, &nonce, &ms));
		assert_true(row == cases[i].row && nonce == cases[i].nonce && ms == cases[i].ms);
	}
}

static void an_id_may_be_upper_case(void **state)
{
	int64_t row, nonce, ms;

	(void)state;
	assert_true(id_parse("01A20DC7-55A3-7F7A-ADBE-EF123456789A", 36, &row, &nonce, &ms));
	assert_true(row == 0x123456789a && nonce == 0x3deadbeef && ms == INT64_C(1795527497123));
}

static void refuses_what_is_no_id_of_ours(void **state)
{
	static const char *const cases[] = {
		"", "1", "01a20dc7-55a3-7f7a-adbe-ef123456789", "01a20dc7-55a3-7f7a-adbe-ef123456789ab", "01a20dc7-55a3-4f7a-adbe-ef123456789a",
		"01a20dc7-55a3-7f7a-2dbe-ef123456789a", "01a20dc7-55a3-7f7a-edbe-ef123456789a", "01a20dc7-55a3-7f7a-6dbe-ef123456789a",
		"01a20dc7+55a3-7f7a-adbe-ef123456789a", "01a20dc7-55a3-7f7a-adbe-ef123456789g", "01a20dc7-55a3-7f7a-adbe-ef12345678-a",
		"01a20dc7055a3-7f7a-adbe-ef123456789a", "{1a20dcb-4da3-7f7a-adbe-ef123456789}", "01a20dc7-55a3-7f7a-adbeef-123456789a", "01a20dc7-55a3-7f7a-adbe-ef12345678\xc3\xa9",
	};
	int64_t row = 77, nonce = 77, ms = 77;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (id_parse(cases[i], strlen(cases[i]), &row, &nonce, &ms) || row != 77 || nonce != 77 || ms != 77)
			fail_msg("%s", cases[i]);
}

static void ids_of_later_commands_sort_later(void **state)
{
	char a[ID_TEXT], b[ID_TEXT];

	(void)state;
	id_text(9, ID_NONCE_MAX, 1000, a);
	id_text(1, 0, 1001, b);
	assert_true(strcmp(a, b) < 0);
}

/* UTF-8 */

/* What the cleaned text is: equal to the bytes where they are valid and without NUL. */
static const struct { const char *bytes, *clean; } texts[] = {
	{ "", "" }, { "plain", "plain" }, { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" }, { "\xc2\x80\xdf\xbf", "\xc2\x80\xdf\xbf" },
	{ "\xe0\xa0\x80\xef\xbf\xbf", "\xe0\xa0\x80\xef\xbf\xbf" }, { "\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80" },
	{ "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf" }, { "\x80", "?" }, { "\xbf", "?" }, { "\xc3", "?" }, { "a\xc3z", "a?z" }, { "\xc0\x80", "??" },
	{ "\xc1\xbf", "??" }, { "\xe0\x80\x80", "???" }, { "\xe0\x9f\xbf", "???" }, { "\xed\xa0\x80", "???" }, { "\xed\xbf\xbf", "???" }, { "\xf0\x80\x80\x80", "????" },
	{ "\xf0\x8f\xbf\xbf", "????" }, { "\xf4\x90\x80\x80", "????" }, { "\xf5\x80\x80\x80", "????" }, { "\xff\xfe", "??" }, { "\xe2\x82", "?" }, { "\xe2\x82z", "?z" },
	{ "\xf0\x9f\x98", "?" }, { "\xf0\x9f\x98\xc3\xa9", "?\xc3\xa9" }, { "\xe2\xe2\x82\xac", "?\xe2\x82\xac" }, { "\xf1\x80\x80\xe1\x80\xc2z", "???z" },
};

static void bad_utf8_is_found_and_each_maximal_part_replaced(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct buf want = {0}, got = {0};
		size_t n = strlen(texts[i].bytes);
		for (const char *p = texts[i].clean; *p; p++)
			if (*p == '?')
				buf_str(&want, "\xef\xbf\xbd");
			else
				buf_char(&want, *p);
		buf_room(&want, 0);
		utf8_clean(&got, texts[i].bytes, n);
		buf_room(&got, 0);
		if (strcmp(want.data, got.data) != 0 || utf8_valid(texts[i].bytes, n) != (strcmp(texts[i].bytes, texts[i].clean) == 0) || !utf8_valid(got.data, got.len))
			fail_msg("text %d", (int)i);
		buf_free(&want);
		buf_free(&got);
	}
}

static void a_nul_is_valid_but_cleaned_away(void **state)
{
	struct buf out = {0};

	(void)state;
	assert_true(utf8_valid("a\0b", 3));
	utf8_clean(&out, "a\0b", 3);
	assert_string_equal(out.data, "a\xef\xbf\xbd" "b");
	buf_free(&out);
}

static void a_log_line_holds_no_control_byte(void **state)
{
	static const struct { const char *from, *to; } cases[] = {
		{ "plain \xc3\xa9", "plain \xc3\xa9" }, { "a\nb\r\tc", "a\\x0ab\\x0d\\x09c" }, { "\x1b[31m", "\\x1b[31m" }, { "\x7f", "\\x7f" }, { "C:\\x0a", "C:\\\\x0a" },
		{ "\xff\xc3", "\\xff\\xc3" }, { "\xc2\x9b" "31m", "\\xc2\\x9b31m" }, { "\xc2\xa0", "\xc2\xa0" }, { "\xe2\x82z", "\\xe2\\x82z" },
	};
	struct buf out = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		buf_clear(&out);
		text_escape(&out, cases[i].from, strlen(cases[i].from));
		assert_string_equal(out.data, cases[i].to);
	}
	buf_clear(&out);
	text_escape(&out, "a\0b", 3);
	assert_string_equal(out.data, "a\\x00b");
	buf_free(&out);
}

/* the hash */

static void the_hash_depends_on_every_byte_the_length_and_the_seed(void **state)
{
	unsigned char text[40] = {0};
	uint64_t seen[1000];
	size_t count = 0;

	(void)state;
	for (size_t n = 0; n <= sizeof text; n++)
		seen[count++] = hash_bytes(text, n, 1);
	for (size_t bit = 0; bit < sizeof text * 8; bit++) {
		text[bit / 8] ^= (unsigned char)(1u << bit % 8);
		seen[count++] = hash_bytes(text, sizeof text, 1);
		text[bit / 8] ^= (unsigned char)(1u << bit % 8);
	}
	for (int bit = 1; bit < 64; bit++)
		seen[count++] = hash_bytes(text, sizeof text, (UINT64_C(1) << bit) | 1);
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < i; k++)
			if (seen[i] == seen[k])
				fail_msg("%d and %d collide", (int)i, (int)k);
	assert_true(hash_bytes("abc", 3, 5) == hash_bytes("abcd", 3, 5));
}

static void the_hash_spreads_over_small_tables(void **state)
{
	int hits[64] = {0};

	(void)state;
	for (int i = 0; i < 6400; i++)
		hits[hash_bytes(&i, sizeof i, 42) % 64]++;
	for (int i = 0; i < 64; i++)
		assert_in_range(hits[i], 50, 160);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_buffer_is_terminated_after_every_call),
		cmocka_unit_test(a_buffer_keeps_every_byte_while_it_grows),
		cmocka_unit_test(room_does_not_move_the_length),
		cmocka_unit_test(copies_are_terminated_and_null_stays_null),
		cmocka_unit_test(numbers_are_digits_within_bounds),
		cmocka_unit_test(a_number_ends_where_its_length_says),
		cmocka_unit_test(hex_is_lower_case_and_terminated),
		cmocka_unit_test(instants_are_written_and_read_back),
		cmocka_unit_test(every_day_of_four_centuries_comes_back),
		cmocka_unit_test(an_instant_beyond_the_calendar_is_its_end),
		cmocka_unit_test(refuses_what_is_no_instant),
		cmocka_unit_test(an_id_carries_row_nonce_and_instant),
		cmocka_unit_test(an_id_may_be_upper_case),
		cmocka_unit_test(refuses_what_is_no_id_of_ours),
		cmocka_unit_test(ids_of_later_commands_sort_later),
		cmocka_unit_test(bad_utf8_is_found_and_each_maximal_part_replaced),
		cmocka_unit_test(a_nul_is_valid_but_cleaned_away),
		cmocka_unit_test(a_log_line_holds_no_control_byte),
		cmocka_unit_test(the_hash_depends_on_every_byte_the_length_and_the_seed),
		cmocka_unit_test(the_hash_spreads_over_small_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
