/* run: the command types at work, one row of a table each. Owns the effect between its begin and its end; writes nothing down.
 * R1  done is called once, from ended() alone, by a timer: never from within run_start or run_stop.
 * R2  A result is never over COMMAND_RESULT_MAX, whatever an answer's bytes grow to when they are written as JSON.
 * R3  A GET goes out on a fresh connection and is never sent twice; a redirect is another GET, under the same deadline. */
#include "run.h"
#include "tls.h"
#include <stdlib.h>
#include <string.h>

#define REDIRECTS_MAX 5
#define RESULT_ROOM (COMMAND_RESULT_MAX - 8192)                /* for a body: the rest is the other members, error words above all */
#define BODY_DEPTH (JSON_DEPTH - 4)                            /* a result is carried inside a command, and that inside a list */
#define ERROR_WORDS_MAX 1024

struct run {
	struct loop *loop;
	const struct env *env;
	struct run_limits limits;
	const struct kind *kind;
	struct loop_timer timer;                                   /* the delay, then the end */
	int64_t begun_us;
	bool over, completed, stopped;
	enum failure failure;
	struct buf result, error;
	/* HTTP_GET_JSON */
	struct call *call;
	struct http_url url;
	int redirects;
	int64_t deadline_us;
	run_done *done;
	void *arg;
};

struct kind {
	void (*start)(struct run *, const struct json *payload);
	void (*stop)(struct run *);                                /* lets go of what it waits for, and writes the result of a failure in r->error */
};

static void delay_start(struct run *r, const struct json *payload), delay_stop(struct run *r);
static void http_start(struct run *r, const struct json *payload), http_stop(struct run *r);

static const struct kind kinds[TYPE_COUNT] = {
	[TYPE_DELAY] = { delay_start, delay_stop },
	[TYPE_HTTP_GET_JSON] = { http_start, http_stop },
};

/* ending */

static void ended(void *arg)
{
	struct run *r = arg;
	struct run_end end = { r->completed, r->completed ? FAILURE_NONE : r->failure, r->result.data, r->result.len, r->completed ? NULL : r->error.data };

	r->done(r->arg, &end);
	run_drop(r);
}

static void end_later(struct run *r)
{
	must(!r->over && r->result.len <= COMMAND_RESULT_MAX);
	r->over = true;
	/* A timer that is due now may fire in this very turn: after run_stop that is too soon. */
	loop_timer_set(r->loop, &r->timer, loop_now_us(r->loop) + r->stopped, ended, r);
}

static void complete(struct run *r)
{
	r->completed = true;
	end_later(r);
}

/* The words are in r->error. */
static void fail(struct run *r, enum failure failure)
{
	if (r->error.len > COMMAND_ERROR_MAX)
		r->error.len = COMMAND_ERROR_MAX;
	r->failure = failure;
	r->kind->stop(r);
	end_later(r);
}

/* DELAY */

static void delay_over(void *arg)
{
	struct run *r = arg;
	struct json_writer w = json_writer(&r->result);

	json_open_object(&w);
	json_key(&w, "ok");
	json_put_bool(&w, true);
	json_key(&w, "tookMs");
	json_put_int(&w, (r->env->mono_us(r->env->world) - r->begun_us) / 1000);
	json_close(&w);
	must(json_good(&w));
	complete(r);
}

static void delay_start(struct run *r, const struct json *payload)
{
	loop_timer_set(r->loop, &r->timer, r->begun_us + payload_delay_ms(payload) * 1000, delay_over, r);
}

static void delay_stop(struct run *r)
{
	loop_timer_off(r->loop, &r->timer);
}

/* HTTP_GET_JSON: results */

/* The answer's body as the result will hold it. */
struct body { const char *p; size_t n; bool raw, null, truncated; struct json value; };

static void write_result(struct run *r, int status, const struct body *b, const struct buf *error)
{
	struct json_writer w = json_writer(&r->result);
	struct buf text = {0};

	buf_clear(&r->result);
	json_open_object(&w);
	json_key(&w, "status");
	json_put_int(&w, status);
	json_key(&w, "body");
	if (b->raw) {
		json_put_raw(&w, b->value.text, b->value.len);
	} else if (b->null) {
		json_put_null(&w);
	} else {
		utf8_clean(&text, b->p, b->n);
		json_put_bytes(&w, text.data, text.len);
	}
	json_key(&w, "truncated");
	json_put_bool(&w, b->truncated);
	json_key(&w, "bytesReturned");
	json_put_int(&w, (int64_t)b->n);
	json_key(&w, "error");
	json_put_text(&w, error->len ? error->data : NULL);
	json_close(&w);
	must(json_good(&w));
	buf_free(&text);
}

/* What a byte grows to in a JSON string, at most: a NUL and, where there is bad UTF-8, any high byte may become U+FFFD. */
static size_t growth(unsigned char c, size_t high)
{
	if (c == 0)
		return 3;
	if (strchr("\"\\\b\f\n\r\t", c))
		return 2;
	return c >= 0x80 ? high : c < 0x20 ? 6 : 1;
}

/* How many bytes of p become at most max bytes of a JSON string. */
static size_t fitting(const char *p, size_t n, size_t max)
{
	size_t high = utf8_valid(p, n) ? 1 : 3, used = 0;

	for (size_t i = 0; i < n; i++) {
		used += growth((unsigned char)p[i], high);
		if (used > max)
			return i;
	}
	return n;
}

/* A cut may fall inside a character: its bytes are left out then. Three bytes are the most that a good one can lack. */
static size_t whole_characters(const char *p, size_t n)
{
	for (size_t back = 1; back <= 3 && back <= n; back++) {
		unsigned char c = (unsigned char)p[n - back];
		size_t want = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
		if (c >= 0xc0)
			return want > back ? n - back : n;
		if (c < 0x80)
			return n;
	}
	return n;
}

static void add_words(struct buf *error, const char *fmt, ...) UTIL_PRINTF(2, 3);

static void add_words(struct buf *error, const char *fmt, ...)
{
	va_list args;

	if (error->len)
		buf_str(error, "; ");
	va_start(args, fmt);
	buf_vfmt(error, fmt, args);
	va_end(args);
}

static void cut_body(struct body *b, size_t n, struct buf *error)
{
	b->truncated = true;
	b->n = whole_characters(b->p, n);
	add_words(error, "the body was cut at %zu bytes", b->n);
}

static void read_body(const struct call_answer *a, struct body *b, struct buf *error)
{
	struct json_error wrong = {0};
	size_t fits;

	*b = (struct body){ .p = a->body, .n = a->body_len };
	b->null = a->body_len == 0 && !a->truncated;
	if (b->null) {
		if (a->status != 204 && a->status != 304)
			add_words(error, "the body is empty");
		return;
	}
	b->raw = !a->truncated && a->body_len <= RESULT_ROOM && json_read(a->body, a->body_len, BODY_DEPTH, &b->value, &wrong);
	if (b->raw)
		return;
	fits = fitting(b->p, b->n, RESULT_ROOM);
	if (a->truncated || fits < b->n)
		cut_body(b, fits, error);
	else
		add_words(error, "the body is not JSON: %s at byte %zu", wrong.what, wrong.offset);
}

static void http_answered(struct run *r, const struct call_answer *a)
{
	struct body b;
	struct buf error = {0};

	if (a->status < 200 || a->status > 299)
		add_words(&error, "HTTP %d %s", a->status, http_reason(a->status));
	read_body(a, &b, &error);
	write_result(r, a->status, &b, &error);
	buf_free(&error);
	complete(r);
}

/* No answer: stop is asked for by fail(), with the words. */
static void http_stop(struct run *r)
{
	const struct body none = { .null = true };

	call_cancel(r->call);
	r->call = NULL;
	write_result(r, 0, &none, &r->error);
}

/* HTTP_GET_JSON: the calls */

static void http_done(void *arg, const struct call_answer *a);

static void http_get(struct run *r)
{
	struct call_spec spec = {
		.method = "GET", .url = &r->url, .fields = "User-Agent: onlyonce\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n",
		.deadline_us = r->deadline_us, .body_max = r->limits.http_max_bytes, .cut = true, .guard = r->limits.guard, .tls = r->limits.tls,
	};

	r->call = call_start(r->loop, r->env, &spec, http_done, r);
}

/* Where a redirect leads; p NULL: the answer is none. */
static struct http_text location_of(const struct call_answer *a)
{
	int s = a->status;
	struct http_text none = { NULL, 0 };

	return s == 301 || s == 302 || s == 303 || s == 307 || s == 308 ? http_field(a->head, "location") : none;
}

static void http_follow(struct run *r, struct http_text location)
{
	struct http_url next;
	const char *why = NULL;
	bool read = false;

	if (++r->redirects > REDIRECTS_MAX) {
		buf_fmt(&r->error, "more than %d redirects", REDIRECTS_MAX);
	} else if ((why = http_url_join(&r->url, location.p, location.n, &next)) != NULL) {
		buf_fmt(&r->error, "a redirect to nowhere: %s", why);
	} else {
		read = true;
		if (r->url.tls && !next.tls)
			buf_str(&r->error, "a redirect from https to http, which is not followed");
		http_url_free(&r->url);
		r->url = next;
	}
	if (!read || r->error.len)
		fail(r, FAILURE_EXECUTION_FAILED);
	else
		http_get(r);
}

static void http_done(void *arg, const struct call_answer *a)
{
	struct run *r = arg;
	struct http_text location;

	r->call = NULL;
	if (a->error) {
		utf8_clean(&r->error, a->error, strnlen(a->error, ERROR_WORDS_MAX));
		fail(r, a->timeout ? FAILURE_TIMEOUT : FAILURE_EXECUTION_FAILED);
		return;
	}
	location = location_of(a);
	if (location.p)
		http_follow(r, location);
	else
		http_answered(r, a);
}

static void http_start(struct run *r, const struct json *payload)
{
	struct buf text = {0};
	const char *why;

	payload_url(payload, &text);
	why = http_url_read(text.data ? text.data : "", text.len, &r->url);
	must(!why);
	buf_free(&text);
	r->deadline_us = r->begun_us + r->limits.http_timeout_us;
	http_get(r);
}

/* for all */

struct run *run_start(struct loop *loop, const struct env *env, const struct run_limits *limits, enum type type, const char *payload, size_t payload_len,
	run_done *done, void *arg)
{
	struct run *r = mem_new(sizeof *r);
	struct json value;

	r->loop = loop;
	r->env = env;
	r->limits = *limits;
	r->kind = &kinds[type];
	r->begun_us = env->mono_us(env->world);
	r->done = done;
	r->arg = arg;
	must(json_read(payload, payload_len, JSON_DEPTH, &value, NULL));
	r->kind->start(r, &value);
	return r;
}

void run_stop(struct run *r, enum failure failure, const char *error)
{
	/* It has ended by itself, and is about to say so: that is the truth. */
	if (r->over)
		return;
	r->stopped = true;
	buf_clear(&r->error);
	utf8_clean(&r->error, error, strnlen(error, ERROR_WORDS_MAX));
	fail(r, failure);
}

void run_drop(struct run *r)
{
	if (!r)
		return;
	loop_timer_off(r->loop, &r->timer);
	call_cancel(r->call);
	http_url_free(&r->url);
	buf_free(&r->result);
	buf_free(&r->error);
	free(r);
}
