/* json: text to values and back (RFC 8259). Owns the grammar in both directions; knows no member names and keeps nothing but slices of the
 * caller's bytes.
 * 1. Nothing recurses: what is open is one bit a level (set: an object), so the stack needed does not grow with the text.
 * 2. json_read is the only judge. All that walks or decodes afterwards relies on its verdict and aborts where the text belies it.
 * 3. What a writer that is json_good has written json_read accepts, except for what json_put_raw was given. */
#include "json.h"
#include <string.h>

/* What a byte means inside a string; the rest is ordinary, DEL included. */
enum { PLAIN = 0, HIGH, QUOTE, ESCAPE, CONTROL };
#define FOUR(c) c, c, c, c
#define SIXTEEN(c) FOUR(c), FOUR(c), FOUR(c), FOUR(c)
static const unsigned char classes[256] = {
	SIXTEEN(CONTROL), SIXTEEN(CONTROL), [0x22] = QUOTE, [0x5c] = ESCAPE,
	[0x80] = SIXTEEN(HIGH), SIXTEEN(HIGH), SIXTEEN(HIGH), SIXTEEN(HIGH), SIXTEEN(HIGH), SIXTEEN(HIGH), SIXTEEN(HIGH), SIXTEEN(HIGH),
};

static unsigned char class_of(char c) { return classes[(unsigned char)c]; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/* what reader and writer share: nesting, and the ordinary stretches of strings */

static bool in_object(uint64_t objects, int depth)
{
	return depth > 0 && (objects >> (depth - 1) & 1) != 0;
}

static uint64_t nest(uint64_t objects, int depth, bool object)
{
	uint64_t bit = UINT64_C(1) << (depth - 1);
	return object ? objects | bit : objects & ~bit;
}

/* How many bytes the well-formed UTF-8 sequence at p has; 0: there is none. */
static size_t sequence(const char *p, const char *end)
{
	unsigned char lead = (unsigned char)*p;
	size_t n = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	return (size_t)(end - p) >= n && utf8_valid(p, n) ? n : 0;
}

/* The first byte that a string cannot hold as it is: a quote, a backslash, a control byte, bad UTF-8; or end. */
static const char *ordinary(const char *p, const char *end)
{
	for (;;) {
		while (end - p >= 4 && (class_of(p[0]) | class_of(p[1]) | class_of(p[2]) | class_of(p[3])) == PLAIN)
			p += 4;
		while (p < end && class_of(*p) == PLAIN)
			p++;
		size_t n = p < end && class_of(*p) == HIGH ? sequence(p, end) : 0;
		if (n == 0)
			return p;
		p += n;
	}
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && is_space(*p))
		p++;
	return p;
}

static enum json_type type_at(char first)
{
	switch (first) {
	case '{': return JSON_OBJECT;
	case '[': return JSON_ARRAY;
	case '"': return JSON_STRING;
	case 't': case 'f': return JSON_BOOL;
	case 'n': return JSON_NULL;
	default: return JSON_NUMBER;
	}
}

/* the reader: p stands before what is due */

enum due { DUE_VALUE, DUE_MEMBER, DUE_SEPARATOR, DUE_NOTHING, REFUSED };

struct reader {
	const char *p, *end;
	uint64_t objects;
	int depth, max_depth;
	const char *what;
};

static bool refuse(struct reader *r, const char *at, const char *what)
{
	r->what = at == r->end ? "the text ends too soon" : what;
	r->p = at;
	return false;
}

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The unit written at p as \uXXXX; -1: none is. *bad is then the first byte that does not fit. */
static long unit_at(const char *p, const char *end, const char **bad)
{
	long unit = 0;
	for (int i = 0; i < 6; i++, p++) {
		*bad = p;
		if (p == end)
			return -1;
		int digit = i >= 2 ? hex_digit(*p) : *p == "\\u"[i] ? 0 : -1;
		if (digit < 0)
			return -1;
		unit = unit * 16 + digit;
	}
	return unit;
}

static bool is_high(long unit) { return unit >= 0xd800 && unit <= 0xdbff; }
static bool is_low(long unit) { return unit >= 0xdc00 && unit <= 0xdfff; }

/* RFC 8259 section 7: outside the basic plane two units make one character; either alone means nothing (section 8.2). */
static bool read_unicode(struct reader *r)
{
	const char *start = r->p, *bad;
	long unit = unit_at(start, r->end, &bad);
	if (unit < 0)
		return refuse(r, bad, "\\u needs four hexadecimal digits");
	if (is_low(unit))
		return refuse(r, start, "a lone surrogate");
	r->p += 6;
	if (!is_high(unit))
		return true;
	unit = unit_at(r->p, r->end, &bad);
	if (unit < 0 && bad == r->end)
		return refuse(r, bad, NULL);
	if (!is_low(unit))
		return refuse(r, start, "a lone surrogate");
	r->p += 6;
	return true;
}

static bool read_escape(struct reader *r)
{
	const char *kind = r->p + 1;
	if (kind < r->end && *kind == 'u')
		return read_unicode(r);
	if (kind == r->end || *kind == 0 || !strchr("\"\\/bfnrt", *kind))
		return refuse(r, kind, "no such escape");
	r->p = kind + 1;
	return true;
}

static bool read_string(struct reader *r)
{
	for (r->p++;;) {
		r->p = ordinary(r->p, r->end);
		if (r->p == r->end)
			return refuse(r, r->p, NULL);
		switch (class_of(*r->p)) {
		case QUOTE:
			r->p++;
			return true;
		case ESCAPE:
			if (!read_escape(r))
				return false;
			break;
		case CONTROL:
			return refuse(r, r->p, "a raw control byte in a string");
		default:
			return refuse(r, r->p, "bad UTF-8");
		}
	}
}

static bool read_digits(struct reader *r)
{
	if (r->p == r->end || !is_digit(*r->p))
		return refuse(r, r->p, "a digit expected");
	while (r->p < r->end && is_digit(*r->p))
		r->p++;
	return true;
}

static bool read_number(struct reader *r)
{
	if (*r->p == '-')
		r->p++;
	const char *whole = r->p;
	if (!read_digits(r))
		return false;
	if (*whole == '0' && r->p > whole + 1)
		return refuse(r, whole, "a leading zero");
	if (r->p < r->end && *r->p == '.') {
		r->p++;
		if (!read_digits(r))
			return false;
	}
	if (r->p == r->end || (*r->p != 'e' && *r->p != 'E'))
		return true;
	r->p++;
	if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
		r->p++;
	return read_digits(r);
}

static bool read_word(struct reader *r, const char *word)
{
	for (; *word; word++, r->p++)
		if (r->p == r->end || *r->p != *word)
			return refuse(r, r->p, "a value expected");
	return true;
}

static bool read_scalar(struct reader *r)
{
	switch (*r->p) {
	case '"': return read_string(r);
	case 't': return read_word(r, "true");
	case 'f': return read_word(r, "false");
	case 'n': return read_word(r, "null");
	default:
		return *r->p == '-' || is_digit(*r->p) ? read_number(r) : refuse(r, r->p, "a value expected");
	}
}

static enum due read_opening(struct reader *r)
{
	bool object = *r->p == '{';
	if (r->depth >= r->max_depth) {
		refuse(r, r->p, "nested too deeply");
		return REFUSED;
	}
	r->objects = nest(r->objects, ++r->depth, object);
	r->p = skip_space(r->p + 1, r->end);
	if (r->p == r->end || *r->p != (object ? '}' : ']'))
		return object ? DUE_MEMBER : DUE_VALUE;
	r->p++;
	r->depth--;
	return DUE_SEPARATOR;
}

static enum due read_value(struct reader *r)
{
	r->p = skip_space(r->p, r->end);
	if (r->p == r->end) {
		refuse(r, r->p, NULL);
		return REFUSED;
	}
	if (*r->p == '{' || *r->p == '[')
		return read_opening(r);
	return read_scalar(r) ? DUE_SEPARATOR : REFUSED;
}

static enum due read_member(struct reader *r)
{
	r->p = skip_space(r->p, r->end);
	if (r->p == r->end || *r->p != '"') {
		refuse(r, r->p, "a member's name expected");
		return REFUSED;
	}
	if (!read_string(r))
		return REFUSED;
	r->p = skip_space(r->p, r->end);
	if (r->p == r->end || *r->p != ':') {
		refuse(r, r->p, "a colon expected");
		return REFUSED;
	}
	r->p++;
	return DUE_VALUE;
}

static enum due read_separator(struct reader *r)
{
	if (r->depth == 0)
		return DUE_NOTHING;
	bool object = in_object(r->objects, r->depth);
	r->p = skip_space(r->p, r->end);
	if (r->p < r->end && *r->p == ',') {
		r->p++;
		return object ? DUE_MEMBER : DUE_VALUE;
	}
	if (r->p == r->end || *r->p != (object ? '}' : ']')) {
		refuse(r, r->p, object ? "a comma or } expected" : "a comma or ] expected");
		return REFUSED;
	}
	r->p++;
	r->depth--;
	return DUE_SEPARATOR;
}

static bool read_text(struct reader *r, struct json *out)
{
	const char *start = skip_space(r->p, r->end);
	if (r->end - r->p >= 3 && memcmp(r->p, "\xef\xbb\xbf", 3) == 0)
		return refuse(r, r->p, "a byte order mark");
	for (enum due due = DUE_VALUE; due != DUE_NOTHING;) {
		switch (due) {
		case DUE_VALUE: due = read_value(r); break;
		case DUE_MEMBER: due = read_member(r); break;
		case DUE_SEPARATOR: due = read_separator(r); break;
		default: return false;
		}
	}
	const char *stop = r->p;
	r->p = skip_space(r->p, r->end);
	if (r->p < r->end)
		return refuse(r, r->p, "more text after the value");
	*out = (struct json){ type_at(*start), start, (size_t)(stop - start) };
	return true;
}

bool json_read(const char *text, size_t len, int max_depth, struct json *out, struct json_error *err)
{
	const char *start = len ? text : "";
	struct reader r = { .p = start, .end = start + len, .max_depth = max_depth < JSON_DEPTH ? max_depth : JSON_DEPTH };
	if (read_text(&r, out))
		return true;
	if (err)
		*err = (struct json_error){ (size_t)(r.p - start), r.what };
	return false;
}

/* walking: the text is known to be good */

/* p is at the opening quote; a backslash takes the quote behind it out of account, unless another one takes the backslash's own meaning. */
static const char *skip_string(const char *p, const char *end)
{
	for (const char *body = p + 1;;) {
		const char *quote = memchr(body, '"', (size_t)(end - body));
		must(quote != NULL);
		const char *run = quote;
		while (run > body && run[-1] == '\\')
			run--;
		if ((quote - run) % 2 == 0)
			return quote + 1;
		body = quote + 1;
	}
}

static const char *skip_nest(const char *p, const char *end)
{
	int depth = 0;
	do {
		must(p < end);
		char c = *p;
		if (c == '"') {
			p = skip_string(p, end);
			continue;
		}
		depth += (c == '{' || c == '[') - (c == '}' || c == ']');
		p++;
	} while (depth > 0);
	return p;
}

static const char *skip_value(const char *p, const char *end)
{
	if (*p == '"')
		return skip_string(p, end);
	if (*p == '{' || *p == '[')
		return skip_nest(p, end);
	while (p < end && *p != ',' && !is_space(*p))
		p++;
	return p;
}

struct json_iter json_iter(const struct json *v)
{
	if (v->type != JSON_OBJECT && v->type != JSON_ARRAY)
		return (struct json_iter){ .p = v->text, .end = v->text };
	return (struct json_iter){ v->text + 1, v->text + v->len - 1, v->type == JSON_OBJECT, true };
}

static struct json take_value(struct json_iter *it)
{
	const char *start = it->p = skip_space(it->p, it->end);
	must(start < it->end);
	it->p = skip_value(start, it->end);
	return (struct json){ type_at(*start), start, (size_t)(it->p - start) };
}

static void take_mark(struct json_iter *it, char mark)
{
	it->p = skip_space(it->p, it->end);
	must(it->p < it->end && *it->p == mark);
	it->p++;
}

bool json_next(struct json_iter *it, struct json *key, struct json *value)
{
	it->p = skip_space(it->p, it->end);
	if (it->p == it->end)
		return false;
	if (!it->first)
		take_mark(it, ',');
	it->first = false;
	if (it->object) {
		struct json name = take_value(it);
		if (key)
			*key = name;
		take_mark(it, ':');
	}
	*value = take_value(it);
	return true;
}

bool json_find(const struct json *object, const char *name, struct json *value)
{
	struct json key, v;
	struct json_iter it = json_iter(object);
	if (object->type != JSON_OBJECT)
		return false;
	while (json_next(&it, &key, &v)) {
		if (json_same(&key, name)) {
			*value = v;
			return true;
		}
	}
	return false;
}

/* decoding */

static size_t encode(long code, char out[4])
{
	static const unsigned char leads[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	for (size_t i = n; i-- > 1; code >>= 6)
		out[i] = (char)(0x80 | (code & 0x3f));
	out[0] = (char)(leads[n] | code);
	return n;
}

/* The character the escape at *p stands for; *p moves behind it. */
static size_t take_escape(const char **p, const char *end, char out[4])
{
	static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	const char *bad, *letter = strchr(letters, (*p)[1]);
	if (letter) {
		*p += 2;
		out[0] = bytes[letter - letters];
		return 1;
	}
	long code = unit_at(*p, end, &bad);
	must(code >= 0);
	*p += 6;
	if (is_high(code)) {
		long low = unit_at(*p, end, &bad);
		must(is_low(low));
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
		*p += 6;
	}
	return encode(code, out);
}

bool json_same(const struct json *string, const char *text)
{
	if (string->type != JSON_STRING)
		return false;
	const char *p = string->text + 1, *end = string->text + string->len - 1;
	char piece[4];
	while (p < end) {
		size_t n = 1;
		if (*p == '\\')
			n = take_escape(&p, end, piece);
		else
			piece[0] = *p++;
		for (size_t i = 0; i < n; i++, text++)
			if (*text == 0 || *text != piece[i])
				return false;
	}
	return *text == 0;
}

void json_text(const struct json *string, struct buf *out)
{
	must(string->type == JSON_STRING);
	const char *p = string->text + 1, *end = string->text + string->len - 1;
	char piece[4];
	buf_room(out, (size_t)(end - p));                      /* an escape never grows */
	for (;;) {
		const char *escape = memchr(p, '\\', (size_t)(end - p));
		buf_add(out, p, (size_t)((escape ? escape : end) - p));
		if (!escape)
			return;
		p = escape;
		size_t n = take_escape(&p, end, piece);
		buf_add(out, piece, n);
	}
}

bool json_bool(const struct json *v, bool *out)
{
	if (v->type != JSON_BOOL)
		return false;
	*out = v->text[0] == 't';
	return true;
}

/* A number is digits * 10^scale, and digits does not end in 0: so it is whole just where scale >= 0, and 0 just where digits is 0. */
struct decimal { uint64_t digits; int64_t scale; };

#define INT_MAGNITUDE (UINT64_C(1) << 63)                      /* of INT64_MIN, the largest of all */

static bool append_digits(uint64_t *n, int64_t zeros, unsigned digit)
{
	for (; zeros > 0; zeros--) {
		if (*n > INT_MAGNITUDE / 10)
			return false;
		*n *= 10;
	}
	if (*n > (INT_MAGNITUDE - digit) / 10)
		return false;
	*n = *n * 10 + digit;
	return true;
}

/* False: more digits than any int64_t has. *p moves behind the digits and the point. */
static bool take_mantissa(const char **p, const char *end, struct decimal *d)
{
	bool fraction = false;
	int64_t zeros = 0;                                     /* met, and not yet known to be inside the number */
	for (; *p < end && (is_digit(**p) || **p == '.'); ++*p) {
		unsigned digit = (unsigned)(unsigned char)**p - '0';
		if (**p == '.') {
			fraction = true;
			continue;
		}
		d->scale -= fraction;
		if (digit == 0) {
			zeros += d->digits != 0;
			continue;
		}
		if (!append_digits(&d->digits, zeros, digit))
			return false;
		zeros = 0;
	}
	d->scale += zeros;
	return true;
}

/* The exponent, held where no text in memory has the digits to make up for it. */
static int64_t exponent(const char *p, const char *end)
{
	const int64_t most = INT64_C(1000000000000000000);
	bool negative = false;
	int64_t n = 0;
	for (; p < end; p++) {
		negative = negative || *p == '-';
		if (is_digit(*p))
			n = n > most / 10 ? most : n * 10 + (*p - '0');
	}
	return negative ? -n : n;
}

bool json_int(const struct json *v, int64_t *out)
{
	if (v->type != JSON_NUMBER)
		return false;
	bool negative = v->text[0] == '-';
	const char *p = v->text + negative, *end = v->text + v->len;
	struct decimal d = { 0, 0 };
	if (!take_mantissa(&p, end, &d))
		return false;
	d.scale += exponent(p, end);
	if (d.digits == 0) {
		*out = 0;
		return true;
	}
	if (d.scale < 0 || d.scale > 18)
		return false;
	if (d.scale > 0 && !append_digits(&d.digits, d.scale - 1, 0))
		return false;
	if (d.digits > INT_MAGNITUDE - !negative)
		return false;
	*out = negative ? -(int64_t)(d.digits - 1) - 1 : (int64_t)d.digits;
	return true;
}

/* the writer: nothing is written any more once it is bad */

struct json_writer json_writer(struct buf *out)
{
	return (struct json_writer){ .out = out };
}

/* Says whether a value may stand here, and parts it from the one before. */
static bool begin(struct json_writer *w)
{
	w->bad = w->bad || w->done || in_object(w->objects, w->depth) != w->keyed;
	if (w->bad)
		return false;
	if (w->comma && !w->keyed)
		buf_char(w->out, ',');
	w->keyed = false;
	return true;
}

static void finish(struct json_writer *w)
{
	w->comma = true;
	w->done = w->depth == 0;
}

static void put(struct json_writer *w, const char *p, size_t n)
{
	if (!begin(w))
		return;
	buf_add(w->out, p, n);
	finish(w);
}

static void put_escape(struct buf *out, char c)
{
	static const char bytes[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt", digits[] = "0123456789abcdef";
	const char *found = memchr(bytes, c, sizeof bytes - 1);
	char unit[6] = { '\\', 'u', '0', '0', digits[(unsigned char)c >> 4], digits[(unsigned char)c & 15] };
	if (!found) {
		buf_add(out, unit, sizeof unit);
		return;
	}
	unit[1] = letters[found - bytes];
	buf_add(out, unit, 2);
}

/* Most strings: quotes around what needs no escape. */
static void put_plain(struct buf *out, const char *p, size_t n)
{
	char *at = buf_room(out, n + 2);
	at[0] = '"';
	memcpy(at + 1, p, n);
	at[n + 1] = '"';
	at[n + 2] = '\0';
	out->len += n + 2;
}

static void put_string(struct json_writer *w, const char *p, size_t n)
{
	const char *start = n ? p : "", *end = start + n, *stop = ordinary(start, end);
	if (stop == end) {
		put_plain(w->out, start, n);
		return;
	}
	buf_char(w->out, '"');
	for (;; stop = ordinary(start, end)) {
		buf_add(w->out, start, (size_t)(stop - start));
		if (stop == end)
			break;
		w->bad = w->bad || class_of(*stop) == HIGH;
		if (w->bad)
			return;
		put_escape(w->out, *stop);
		start = stop + 1;
	}
	buf_char(w->out, '"');
}

static void open_nest(struct json_writer *w, bool object)
{
	w->bad = w->bad || w->depth == JSON_DEPTH;
	if (!begin(w))
		return;
	w->objects = nest(w->objects, ++w->depth, object);
	w->comma = false;
	buf_char(w->out, object ? '{' : '[');
}

void json_open_object(struct json_writer *w)
{
	open_nest(w, true);
}

void json_open_array(struct json_writer *w)
{
	open_nest(w, false);
}

void json_close(struct json_writer *w)
{
	w->bad = w->bad || w->depth == 0 || w->keyed;
	if (w->bad)
		return;
	buf_char(w->out, in_object(w->objects, w->depth) ? '}' : ']');
	w->depth--;
	finish(w);
}

void json_key(struct json_writer *w, const char *name)
{
	w->bad = w->bad || w->keyed || !in_object(w->objects, w->depth);
	if (w->bad)
		return;
	if (w->comma)
		buf_char(w->out, ',');
	put_string(w, name, strlen(name));
	buf_char(w->out, ':');
	w->keyed = true;
}

void json_put_null(struct json_writer *w)
{
	put(w, "null", 4);
}

void json_put_bool(struct json_writer *w, bool on)
{
	put(w, on ? "true" : "false", on ? 4 : 5);
}

void json_put_int(struct json_writer *w, int64_t n)
{
	if (!begin(w))
		return;
	buf_int(w->out, n);
	finish(w);
}

void json_put_text(struct json_writer *w, const char *text)
{
	if (text)
		json_put_bytes(w, text, strlen(text));
	else
		json_put_null(w);
}

void json_put_bytes(struct json_writer *w, const char *p, size_t n)
{
	if (!begin(w))
		return;
	put_string(w, p, n);
	finish(w);
}

void json_put_raw(struct json_writer *w, const char *p, size_t n)
{
	w->bad = w->bad || (p && n == 0);                      /* no text is no value */
	if (p)
		put(w, p, n);
	else
		json_put_null(w);
}

bool json_good(const struct json_writer *w)
{
	return w->done && !w->bad;
}
