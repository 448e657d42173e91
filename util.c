/* util: growing buffer, checked allocation, time formats, ids, strict numbers, UTF-8, one hash.
 * Owns no state and knows nothing of the rest.
 * U1  What is read here is read strictly: a text that another writer would have put differently is refused, not guessed at.
 * U2  A buffer that holds memory is NUL-terminated behind its length after every call.
 * U3  Memory is never short for a caller: the process has ended before that. */
#include "util.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)
#define TIME_MIN_MS (INT64_C(-719528) * DAY_MS)                /* 0000-01-01, where RFC 3339's four digits begin */
#define TIME_MAX_MS (INT64_C(2932897) * DAY_MS - 1)            /* 9999-12-31, where they end */
#define ID_TIME_MAX ((INT64_C(1) << 48) - 1)

void util_broken(const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, what);
	abort();
}

/* memory */

UTIL_NORETURN static void out_of_memory(void)
{
	fputs("out of memory\n", stderr);
	exit(1);
}

void *mem_new(size_t n)
{
	void *p = calloc(1, n ? n : 1);

	if (!p)
		out_of_memory();
	return p;
}

void *mem_resize(void *p, size_t n)
{
	p = realloc(p, n ? n : 1);
	if (!p)
		out_of_memory();
	return p;
}

char *mem_dupn(const char *p, size_t n)
{
	if (n == SIZE_MAX)
		out_of_memory();
	char *copy = mem_new(n + 1);

	if (n > 0)
		memcpy(copy, p, n);
	return copy;
}

char *mem_dup(const char *text)
{
	return text ? mem_dupn(text, strlen(text)) : NULL;
}

/* growing buffer */

char *buf_room(struct buf *b, size_t n)
{
	if (n >= SIZE_MAX / 2 - b->len)
		out_of_memory();
	size_t need = b->len + n + 1;

	if (need > b->cap) {
		size_t cap = b->cap ? b->cap : 64;
		while (cap < need)
			cap *= 2;
		b->data = mem_resize(b->data, cap);
		b->cap = cap;
	}
	b->data[b->len] = '\0';
	return b->data + b->len;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	char *end = b->cap - b->len > n ? b->data + b->len : buf_room(b, n);

	if (n > 0)
		memcpy(end, p, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void buf_str(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_char(struct buf *b, char c)
{
	char *end = b->cap - b->len > 1 ? b->data + b->len : buf_room(b, 1);

	end[0] = c;
	end[1] = '\0';
	b->len++;
}

void buf_int(struct buf *b, int64_t n)
{
	char text[20];                                         /* "-9223372036854775808" */
	size_t at = sizeof text;
	uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

	do
		text[--at] = (char)('0' + left % 10);
	while (left /= 10);
	if (n < 0)
		text[--at] = '-';
	buf_add(b, text + at, sizeof text - at);
}

void buf_vfmt(struct buf *b, const char *fmt, va_list args)
{
	va_list again;
	int n;

	must(fmt);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, fmt, args);
	must(n >= 0);
	must(vsnprintf(buf_room(b, (size_t)n), (size_t)n + 1, fmt, again) == n);
	va_end(again);
	b->len += (size_t)n;
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	buf_vfmt(b, fmt, args);
	va_end(args);
}

void buf_drop(struct buf *b, size_t n)
{
	must(n <= b->len);
	if (n == 0)
		return;
	b->len -= n;
	memmove(b->data, b->data + n, b->len + 1);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

/* numbers */

bool num_parse(const char *text, size_t len, int64_t min, int64_t max, int64_t *out)
{
	bool negative = len > 0 && text[0] == '-';
	int64_t value = 0;

	if (len == (negative ? 1u : 0u))
		return false;
	/* Counted downwards, where there is room for INT64_MIN. */
	for (size_t i = negative; i < len; i++) {
		int digit = text[i] - '0';
		if (digit < 0 || digit > 9 || value < (INT64_MIN + digit) / 10)
			return false;
		value = value * 10 - digit;
	}
	if (!negative && value == INT64_MIN)
		return false;
	if (!negative)
		value = -value;
	if (value < min || value > max)
		return false;
	*out = value;
	return true;
}

void hex_text(const void *bytes, size_t n, char *out)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < n; i++) {
		*out++ = "0123456789abcdef"[p[i] >> 4];
		*out++ = "0123456789abcdef"[p[i] & 15];
	}
	*out = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* instants */

static bool is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int month_days(int64_t year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

/* Days from 0000-01-01 to the first of January of that year (0 or later) in the proleptic Gregorian calendar. */
static int64_t days_before(int64_t year)
{
	int64_t past = year - 1;

	return year == 0 ? 0 : 366 + past * 365 + past / 4 - past / 100 + past / 400;
}

static void put_digits(char *out, int count, int n)
{
	for (; count > 0; n /= 10)
		out[--count] = (char)('0' + n % 10);
}

void time_text(int64_t wall_ms, char out[TIME_TEXT])
{
	int64_t since = (wall_ms < TIME_MIN_MS ? TIME_MIN_MS : wall_ms > TIME_MAX_MS ? TIME_MAX_MS : wall_ms) - TIME_MIN_MS;
	int64_t day = since / DAY_MS, year = day * 400 / 146097 + 1;   /* 400 years have 146097 days; never too early */
	int ms = (int)(since % DAY_MS), month = 1;

	while (days_before(year) > day)
		year--;
	day -= days_before(year);
	for (; day >= month_days(year, month); month++)
		day -= month_days(year, month);
	memcpy(out, "0000-00-00T00:00:00.000Z", TIME_TEXT);
	put_digits(out, 4, (int)year);
	put_digits(out + 5, 2, month);
	put_digits(out + 8, 2, (int)day + 1);
	put_digits(out + 11, 2, ms / 3600000);
	put_digits(out + 14, 2, ms / 60000 % 60);
	put_digits(out + 17, 2, ms / 1000 % 60);
	put_digits(out + 20, 3, ms % 1000);
}

bool time_parse(const char *text, int64_t *wall_ms)
{
	static const struct { unsigned char at, len, max; } parts[] = { { 5, 2, 12 }, { 8, 2, 31 }, { 11, 2, 23 }, { 14, 2, 59 }, { 17, 2, 59 } };
	int64_t year, ms, v[5];
	char again[TIME_TEXT];

	if (strlen(text) != TIME_TEXT - 1 || !num_parse(text, 4, 0, 9999, &year) || !num_parse(text + 20, 3, 0, 999, &ms))
		return false;
	for (size_t i = 0; i < 5; i++)
		if (!num_parse(text + parts[i].at, parts[i].len, i < 2 ? 1 : 0, parts[i].max, &v[i]))
			return false;
	int64_t day = days_before(year) + v[1] - 1;
	for (int month = 1; month < v[0]; month++)
		day += month_days(year, month);
	ms += TIME_MIN_MS + day * DAY_MS + (v[2] * 60 + v[3]) * 60000 + v[4] * 1000;
	/* Catches the rest: separators, a minus sign, 30 February. */
	time_text(ms, again);
	if (strcmp(text, again) != 0)
		return false;
	*wall_ms = ms;
	return true;
}

/* ids: RFC 9562 section 5.7. rand_a is the nonce's upper 12 bits, rand_b its lower 22 and then the row. */

void id_text(int64_t row, int64_t nonce, int64_t created_ms, char out[ID_TEXT])
{
	must(row >= 0 && row <= ID_ROW_MAX && nonce >= 0 && nonce <= ID_NONCE_MAX && created_ms >= 0 && created_ms <= ID_TIME_MAX);
	uint64_t half[2] = { (uint64_t)created_ms << 16 | 0x7000 | (uint64_t)nonce >> 22, UINT64_C(1) << 63 | ((uint64_t)nonce & 0x3fffff) << 40 | (uint64_t)row };

	memcpy(out, "00000000-0000-0000-0000-000000000000", ID_TEXT);
	for (int i = ID_TEXT - 2, digit = 31; i >= 0; i--) {
		if (out[i] == '-')
			continue;
		out[i] = "0123456789abcdef"[half[digit / 16] & 15];
		half[digit / 16] >>= 4;
		digit--;
	}
}

bool id_parse(const char *text, size_t len, int64_t *row, int64_t *nonce, int64_t *created_ms)
{
	uint64_t half[2] = { 0, 0 };
	int digits = 0;

	if (len != ID_TEXT - 1)
		return false;
	for (size_t i = 0; i < len; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		int digit = hex_value(text[i]);
		if (dash ? text[i] != '-' : digit < 0)
			return false;
		if (dash)
			continue;
		half[digits / 16] = half[digits / 16] << 4 | (uint64_t)digit;
		digits++;
	}
	if ((half[0] >> 12 & 15) != 7 || half[1] >> 62 != 2)
		return false;
	*created_ms = (int64_t)(half[0] >> 16);
	*nonce = (int64_t)((half[0] & 0xfff) << 22 | (half[1] >> 40 & 0x3fffff));
	*row = (int64_t)(half[1] & (uint64_t)ID_ROW_MAX);
	return true;
}

/* UTF-8 */

/* The length of the character at p, or of the maximal part that can begin none (Unicode 3.9, table 3-7); n is at least 1. */
static size_t step(const unsigned char *p, size_t n, bool *good)
{
	unsigned char lead = p[0], low = 0x80, high = 0xbf;
	size_t want = lead < 0x80 ? 1 : lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) == 0xe0 ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0, got = 1;

	/* RFC 3629 section 4: the second byte is what rules out overlong forms, surrogates and what lies above U+10FFFF. */
	if (lead == 0xe0)
		low = 0xa0;
	else if (lead == 0xed)
		high = 0x9f;
	else if (lead == 0xf0)
		low = 0x90;
	else if (lead == 0xf4)
		high = 0x8f;
	for (; got < want && got < n && p[got] >= low && p[got] <= high; got++) {
		low = 0x80;
		high = 0xbf;
	}
	*good = got == want;
	return got;
}

bool utf8_valid(const char *p, size_t n)
{
	bool good = true;

	for (size_t i = 0; i < n && good; )
		i += step((const unsigned char *)p + i, n - i, &good);
	return good;
}

void utf8_clean(struct buf *out, const char *p, size_t n)
{
	bool good;

	buf_room(out, n);
	for (size_t i = 0, len; i < n; i += len) {
		len = step((const unsigned char *)p + i, n - i, &good);
		if (good && p[i] != '\0')
			buf_add(out, p + i, len);
		else
			buf_str(out, "\xef\xbf\xbd");
	}
}

/* C0, DEL, and C1 as it is written in UTF-8: a terminal obeys all three. */
static bool is_control(const unsigned char *p, size_t len)
{
	return p[0] < 0x20 || p[0] == 0x7f || (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

void text_escape(struct buf *out, const char *p, size_t n)
{
	bool good;

	for (size_t i = 0, len; i < n; i += len) {
		const unsigned char *at = (const unsigned char *)p + i;
		len = step(at, n - i, &good);
		if (at[0] == '\\')
			buf_str(out, "\\\\");
		else if (good && !is_control(at, len))
			buf_add(out, at, len);
		else
			for (size_t k = 0; k < len; k++)
				buf_fmt(out, "\\x%02x", (unsigned)at[k]);
	}
}

/* SipHash with one round a word and three at the end (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012). */

static uint64_t turn_left(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = turn_left(v[1], 13) ^ v[0];
	v[3] = turn_left(v[3], 16) ^ v[2];
	v[0] = turn_left(v[0], 32) + v[3];
	v[2] += v[1];
	v[3] = turn_left(v[3], 21) ^ v[0];
	v[1] = turn_left(v[1], 17) ^ v[2];
	v[2] = turn_left(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
	const unsigned char *at = p;
	/* The paper's key is twice as long; its other half is made from this one. */
	uint64_t other = turn_left(seed, 29) ^ UINT64_C(0x9e3779b97f4a7c15), word = 0;
	uint64_t v[4] = { seed ^ UINT64_C(0x736f6d6570736575), other ^ UINT64_C(0x646f72616e646f6d), seed ^ UINT64_C(0x6c7967656e657261),
		other ^ UINT64_C(0x7465646279746573) };

	for (size_t i = 0; i < n; i++) {
		word |= (uint64_t)at[i] << (i % 8 * 8);
		if (i % 8 == 7) {
			sip_word(v, word);
			word = 0;
		}
	}
	sip_word(v, word | (uint64_t)n << 56);
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
