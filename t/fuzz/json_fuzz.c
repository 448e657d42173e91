/* json_fuzz: any bytes into json_read. A refused text must have a place and a reason. An accepted one is walked to the last value, each value
 * must be a text of its own, and written again it must read back as the same structure. */
#include "../../json.h"
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_alone(const struct json *v)
{
	struct json again;
	must(json_read(v->text, v->len, JSON_DEPTH, &again, NULL));
	must(again.type == v->type && again.text == v->text && again.len == v->len);
}

static void decode(const struct json *string, struct buf *out)
{
	buf_clear(out);
	json_text(string, out);
	must(utf8_valid(out->data, out->len));
	must(json_same(string, out->data) == (strlen(out->data) == out->len));
}

static void put_again(struct json_writer *w, const struct json *v);

static void put_members(struct json_writer *w, const struct json *v)
{
	struct json key, value, first;
	struct buf name = { 0 };
	struct json_iter it = json_iter(v);
	while (json_next(&it, v->type == JSON_OBJECT ? &key : NULL, &value)) {
		if (v->type == JSON_OBJECT) {
			check_alone(&key);
			decode(&key, &name);
			must(!json_same(&key, name.data) || (json_find(v, name.data, &first) && first.text <= value.text));
			json_key(w, name.data);
		}
		put_again(w, &value);
	}
	buf_free(&name);
}

static void put_scalar(struct json_writer *w, const struct json *v)
{
	int64_t n;
	bool on;
	struct buf text = { 0 };
	if (v->type == JSON_STRING) {
		decode(v, &text);
		json_put_bytes(w, text.data, text.len);
	} else if (json_int(v, &n)) {
		json_put_int(w, n);
	} else if (json_bool(v, &on)) {
		json_put_bool(w, on);
	} else if (v->type == JSON_NULL) {
		json_put_null(w);
	} else {
		json_put_raw(w, v->text, v->len);
	}
	buf_free(&text);
}

static void put_again(struct json_writer *w, const struct json *v)
{
	check_alone(v);
	if (v->type != JSON_OBJECT && v->type != JSON_ARRAY) {
		put_scalar(w, v);
		return;
	}
	(v->type == JSON_OBJECT ? json_open_object : json_open_array)(w);
	put_members(w, v);
	json_close(w);
}

/* A name is written up to its first NUL, so that far it is compared. */
static void check_string(const struct json *a, const struct json *b, bool name)
{
	struct buf left = { 0 }, right = { 0 };
	decode(a, &left);
	decode(b, &right);
	size_t n = name ? strlen(left.data) : left.len;
	must(n == right.len && memcmp(left.data, right.data, n) == 0);
	buf_free(&left);
	buf_free(&right);
}

static void check_scalar(const struct json *a, const struct json *b)
{
	int64_t left, right;
	if (a->type == JSON_STRING)
		check_string(a, b, false);
	else if (json_int(a, &left))
		must(json_int(b, &right) && left == right);
	else
		must(a->len == b->len && memcmp(a->text, b->text, a->len) == 0);
}

static void check_same(const struct json *a, const struct json *b)
{
	must(a->type == b->type);
	if (a->type != JSON_OBJECT && a->type != JSON_ARRAY) {
		check_scalar(a, b);
		return;
	}
	struct json key_a, key_b, value_a, value_b;
	struct json_iter left = json_iter(a), right = json_iter(b);
	while (json_next(&left, &key_a, &value_a)) {
		must(json_next(&right, &key_b, &value_b));
		if (a->type == JSON_OBJECT)
			check_string(&key_a, &key_b, true);
		check_same(&value_a, &value_b);
	}
	must(!json_next(&right, &key_b, &value_b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct json v, again;
	struct json_error err = { SIZE_MAX, NULL };
	if (!json_read(text, size, JSON_DEPTH, &v, &err)) {
		must(err.offset <= size && err.what);
		return 0;
	}
	struct buf out = { 0 };
	struct json_writer w = json_writer(&out);
	put_again(&w, &v);
	must(json_good(&w));
	must(json_read(out.data, out.len, JSON_DEPTH, &again, NULL));
	must(again.text == out.data && again.len == out.len);
	check_same(&v, &again);
	buf_free(&out);
	return 0;
}
