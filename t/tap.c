/* tap: see the header. One stream carries one request at a time, so its next answer belongs to its last request. */
#include "tap.h"
#include "../http.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAMS_MAX 128

struct ask { enum ask_kind kind; char id[ID_TEXT], agent_id[AGENT_ID_MAX + 1], journal_id[65], boot_id[32]; int index; int report; int64_t attempt; bool retry; };
struct stream { int64_t number; struct buf in, out; bool asked; struct ask ask; };
struct tap { struct checker *checker; void (*note)(void *, const char *); void *arg; struct stream streams[STREAMS_MAX]; struct tap_counts counts; };

static const char *const kinds[ASK_COUNT] = { "create", "next", "report", "look", "list", "resolve", "cancel", "other" };

struct tap *tap_new(struct checker *checker, void (*note)(void *arg, const char *text), void *arg)
{
	struct tap *t = mem_new(sizeof *t);

	t->checker = checker;
	t->note = note;
	t->arg = arg;
	return t;
}

static void stream_end(struct tap *t, struct stream *s)
{
	if (s->asked && s->ask.retry)
		checker_retry(t->checker, s->ask.id, 0);
	buf_free(&s->in);
	buf_free(&s->out);
	memset(s, 0, sizeof *s);
}

void tap_died(struct tap *t)
{
	for (int i = 0; i < STREAMS_MAX; i++)
		stream_end(t, &t->streams[i]);
}

void tap_free(struct tap *t)
{
	tap_died(t);
	free(t);
}

const struct tap_counts *tap_counts(const struct tap *t) { return &t->counts; }

static struct stream *stream_of(struct tap *t, int64_t number, bool make)
{
	struct stream *unused = NULL;

	for (int i = 0; i < STREAMS_MAX; i++) {
		if (t->streams[i].number == number)
			return &t->streams[i];
		if (t->streams[i].number == 0)
			unused = &t->streams[i];
	}
	if (!make)
		return NULL;
	must(unused);
	unused->number = number;
	return unused;
}

void tap_hung(struct tap *t, int64_t stream)
{
	struct stream *s = stream_of(t, stream, false);

	if (s)
		stream_end(t, s);
}

static void note(struct tap *t, const struct stream *s, const char *what, const char *more)
{
	struct buf text = {0};

	buf_fmt(&text, "%s %s%s %s%s", what, kinds[s->ask.kind], s->ask.retry ? " RETRY" : "", s->ask.id, more);
	t->note(t->arg, text.data);
	buf_free(&text);
}

/* requests */

static bool member_text(const struct json *object, const char *name, char *out, size_t room)
{
	struct json v;
	struct buf text = {0};

	out[0] = '\0';
	if (!json_find(object, name, &v) || v.type != JSON_STRING)
		return false;
	json_text(&v, &text);
	snprintf(out, room, "%s", text.data ? text.data : "");
	buf_free(&text);
	return true;
}

static void read_body(struct tap *t, struct ask *a, const struct json *body)
{
	char word[64];
	struct json v;

	if (a->kind == ASK_REPORT) {
		member_text(body, "status", word, sizeof word);
		member_text(body, "journalId", a->journal_id, sizeof a->journal_id);
		member_text(body, "bootId", a->boot_id, sizeof a->boot_id);
		a->report = report_read(word, strlen(word));
		if (json_find(body, "attempt", &v))
			json_int(&v, &a->attempt);
	} else if (a->kind == ASK_RESOLVE) {
		member_text(body, "action", word, sizeof word);
		a->retry = strcmp(word, "RETRY") == 0;
		if (!a->retry)
			checker_wished(t->checker, a->id, strcmp(word, "COMPLETE") == 0 ? WISH_COMPLETE : WISH_FAIL);
	} else if (a->kind == ASK_CREATE) {
		a->index = checker_payload_index(body);
	}
}

static void read_query(struct ask *a, struct http_text query)
{
	struct buf name = {0}, value = {0};

	strcpy(a->agent_id, "default");
	while (query.p && http_query_next(&query, &name, &value) > 0) {
		if (strcmp(name.data, "agentId") == 0)
			snprintf(a->agent_id, sizeof a->agent_id, "%s", value.data ? value.data : "");
		else if (strcmp(name.data, "journalId") == 0)
			snprintf(a->journal_id, sizeof a->journal_id, "%s", value.data ? value.data : "");
		else if (strcmp(name.data, "bootId") == 0)
			snprintf(a->boot_id, sizeof a->boot_id, "%s", value.data ? value.data : "");
	}
	buf_free(&name);
	buf_free(&value);
}

static enum ask_kind kind_of(const struct http_head *head, char id[ID_TEXT])
{
	static const char base[] = "/api/commands";
	struct http_text rest = head->path;

	id[0] = '\0';
	if (rest.n < sizeof base - 1 || memcmp(rest.p, base, sizeof base - 1) != 0)
		return ASK_OTHER;
	rest.p += sizeof base - 1;
	rest.n -= sizeof base - 1;
	if (rest.n == 0)
		return http_is(head->method, "POST") ? ASK_CREATE : ASK_LIST;
	if (http_is(rest, "/next"))
		return ASK_NEXT;
	if (rest.n < ID_TEXT)
		return ASK_OTHER;
	memcpy(id, rest.p + 1, ID_TEXT - 1);
	id[ID_TEXT - 1] = '\0';
	rest.p += ID_TEXT;
	rest.n -= ID_TEXT;
	if (rest.n == 0)
		return http_is(head->method, "PATCH") ? ASK_REPORT : ASK_LOOK;
	return http_is(rest, "/resolve") ? ASK_RESOLVE : http_is(rest, "/cancel") ? ASK_CANCEL : ASK_OTHER;
}

static void request_whole(struct tap *t, struct stream *s, const struct http_head *head, const char *body, size_t body_len)
{
	struct json json;
	char more[96];

	s->ask = (struct ask){ .index = -1, .report = -1 };
	s->ask.kind = kind_of(head, s->ask.id);
	if (body_len > 0 && json_read(body, body_len, JSON_DEPTH, &json, NULL) && json.type == JSON_OBJECT)
		read_body(t, &s->ask, &json);
	s->asked = true;
	t->counts.asks[s->ask.kind]++;
	if (s->ask.retry)
		checker_retry(t->checker, s->ask.id, 1);
	else if (s->ask.kind == ASK_CANCEL)
		checker_wished(t->checker, s->ask.id, WISH_CANCEL);
	if (s->ask.kind == ASK_NEXT) {
		read_query(&s->ask, head->query);
		checker_polled(t->checker, s->ask.agent_id, s->ask.journal_id);
	}
	if (s->ask.kind == ASK_LIST || s->ask.kind == ASK_NEXT || s->ask.kind == ASK_OTHER)
		return;
	snprintf(more, sizeof more, " %s attempt %lld", s->ask.kind == ASK_REPORT && s->ask.report >= 0 ? report_text((enum report)s->ask.report) : "", (long long)s->ask.attempt);
	note(t, s, "asked:", s->ask.kind == ASK_REPORT ? more : "");
}

void tap_heard(struct tap *t, int64_t stream, const void *p, size_t n)
{
	struct stream *s = stream_of(t, stream, true);
	struct http_head head;
	size_t seen = 0, body;
	int got;

	buf_add(&s->in, p, n);
	if (s->asked || (got = http_read_request(s->in.data, s->in.len, &seen, &head, NULL)) <= 0)
		return;
	body = head.length > 0 ? (size_t)head.length : 0;
	if (s->in.len < (size_t)got + body)
		return;
	buf_clear(&s->out);
	request_whole(t, s, &head, s->in.data + got, body);
	buf_drop(&s->in, (size_t)got + body);
}

/* answers */

static enum tap_answer answer_of(int status, const struct json *body)
{
	char code[64];

	if (status == 200 || status == 404)
		return status == 200 ? TAP_200 : TAP_404;
	if (status == 503)
		return TAP_STORAGE;
	member_text(body, "code", code, sizeof code);
	if (strcmp(code, "STALE_ATTEMPT") == 0)
		return TAP_STALE_ATTEMPT;
	if (strcmp(code, "NOT_HOLDER") == 0)
		return TAP_NOT_HOLDER;
	return strcmp(code, "ALREADY_SETTLED") == 0 ? TAP_ALREADY_SETTLED : TAP_OTHER;
}

static void shown(struct tap *t, const struct stream *s, const struct json *command)
{
	char status[32], failure[64], more[160];
	struct json v;
	int64_t attempt = 0;

	member_text(command, "status", status, sizeof status);
	member_text(command, "failureCode", failure, sizeof failure);
	if (json_find(command, "attempt", &v))
		json_int(&v, &attempt);
	snprintf(more, sizeof more, " %s %s attempt %lld", status, failure, (long long)attempt);
	if (s->ask.kind != ASK_LIST)
		note(t, s, "answered:", more);
	checker_shown(t->checker, command);
}

static void shown_all(struct tap *t, const struct stream *s, const struct json *body)
{
	struct json items, item;
	struct json_iter it;

	if (!json_find(body, "items", &items))
		return;
	it = json_iter(&items);
	while (json_next(&it, NULL, &item))
		shown(t, s, &item);
}

static void report_answered(struct tap *t, const struct stream *s, int status, const struct json *body, int64_t now_us, int64_t deaf_us)
{
	const struct checker_boot by = { s->ask.journal_id, s->ask.boot_id };
	struct json v;
	bool idempotent = false;

	if (s->ask.report < 0)
		return;
	t->counts.reports[s->ask.report][answer_of(status, body)]++;
	if (s->ask.report != REPORT_RUNNING && status != 503)
		checker_answered(t->checker, s->ask.id, s->ask.attempt, s->ask.journal_id);
	if (status != 200)
		return;
	checker_reported(t->checker, s->ask.id, (enum report)s->ask.report, s->ask.attempt, &by, now_us, deaf_us);
	if (json_find(body, "isIdempotent", &v) && json_bool(&v, &idempotent))
		t->counts.settled[s->ask.report][idempotent]++;
}

static void handed_out(struct tap *t, const struct stream *s, const struct json *body, int64_t now_us, int64_t deaf_us)
{
	const struct checker_boot by = { s->ask.journal_id, s->ask.boot_id };
	char id[ID_TEXT];
	struct json v;
	int64_t attempt = 0;

	member_text(body, "id", id, sizeof id);
	if (json_find(body, "attempt", &v) && json_int(&v, &attempt))
		checker_handed_out(t->checker, id, attempt, &by, now_us, deaf_us);
}

static void answer_whole(struct tap *t, struct stream *s, int status, const struct json *body, int64_t now_us, int64_t deaf_us)
{
	char id[ID_TEXT], more[32];
	bool good = status >= 200 && status <= 202;

	if (!good && s->ask.kind != ASK_NEXT) {
		snprintf(more, sizeof more, " %d", status);
		note(t, s, "refused:", more);
	}
	if (status == 404 && s->ask.id[0])
		checker_gone(t->checker, s->ask.id);
	if (good && s->ask.kind == ASK_LIST)
		shown_all(t, s, body);
	else if (good && s->ask.kind != ASK_OTHER)
		shown(t, s, body);
	if (good && s->ask.kind == ASK_CREATE && member_text(body, "id", id, sizeof id))
		checker_acked(t->checker, s->ask.index, id);
	if (good && s->ask.kind == ASK_NEXT)
		handed_out(t, s, body, now_us, deaf_us);
	if (s->ask.retry)
		checker_retry(t->checker, s->ask.id, good ? 0 : -1);
	if (s->ask.kind == ASK_REPORT)
		report_answered(t, s, status, body, now_us, deaf_us);
}

void tap_said(struct tap *t, int64_t stream, const void *p, size_t n, int64_t now_us, int64_t deaf_us)
{
	struct stream *s = stream_of(t, stream, true);
	struct http_head head;
	struct json body = { JSON_NULL, "null", 4 };
	size_t seen = 0, length;
	int got;

	buf_add(&s->out, p, n);
	if (!s->asked || (got = http_read_response(s->out.data, s->out.len, &seen, &head, NULL)) <= 0)
		return;
	length = head.length > 0 ? (size_t)head.length : 0;
	if (s->out.len < (size_t)got + length)
		return;
	s->asked = false;
	if (s->ask.kind == ASK_NEXT && head.status == 204)
		checker_waited(t->checker, s->ask.journal_id, s->ask.boot_id);
	if (head.status == 204)
		return;
	must(length == 0 || json_read(s->out.data + got, length, JSON_DEPTH, &body, NULL));
	answer_whole(t, s, head.status, &body, now_us, deaf_us);
}
