/* answer: the shapes of the server's answers. One function writes a command, one a problem; every route uses them, so that a member has one place. */
#include "answer.h"
#include <string.h>

#define COMMAND_USUAL 768                                      /* bytes that most commands fill, payload and result aside */
#define PROBLEM_TYPE "application/problem+json"

static const char *const codes[CODE_COUNT] = {
	[CODE_MALFORMED] = "MALFORMED", [CODE_VALIDATION] = "VALIDATION", [CODE_NOT_FOUND] = "NOT_FOUND", [CODE_METHOD] = "METHOD",
	[CODE_MEDIA_TYPE] = "MEDIA_TYPE", [CODE_STALE_ATTEMPT] = "STALE_ATTEMPT", [CODE_NOT_HOLDER] = "NOT_HOLDER",
	[CODE_ALREADY_SETTLED] = "ALREADY_SETTLED", [CODE_AGENT_CONFLICT] = "AGENT_CONFLICT", [CODE_KEY_REUSED] = "KEY_REUSED",
	[CODE_NOT_FAILED] = "NOT_FAILED", [CODE_UNAUTHORIZED] = "UNAUTHORIZED", [CODE_FORBIDDEN] = "FORBIDDEN", [CODE_STORAGE] = "STORAGE",
	[CODE_BUSY] = "BUSY", [CODE_TOO_LARGE] = "TOO_LARGE", [CODE_TIMEOUT] = "TIMEOUT",
};

static const struct { int status; enum code code; } of_status[] = {
	{ 400, CODE_MALFORMED }, { 401, CODE_UNAUTHORIZED }, { 403, CODE_FORBIDDEN }, { 404, CODE_NOT_FOUND }, { 405, CODE_METHOD }, { 408, CODE_TIMEOUT },
	{ 413, CODE_TOO_LARGE }, { 414, CODE_TOO_LARGE }, { 415, CODE_MEDIA_TYPE }, { 421, CODE_FORBIDDEN }, { 431, CODE_TOO_LARGE }, { 503, CODE_BUSY },
};

enum code code_of(int status)
{
	for (size_t i = 0; i < sizeof of_status / sizeof *of_status; i++)
		if (of_status[i].status == status)
			return of_status[i].code;
	return CODE_MALFORMED;
}

/* Problems. */

void fault(struct faults *f, const char *field, const char *detail)
{
	struct json_writer w = json_writer(&f->json);

	if (f->count++)
		buf_char(&f->json, ',');
	json_open_object(&w);
	json_key(&w, "field");
	json_put_text(&w, field);
	json_key(&w, "detail");
	json_put_text(&w, detail);
	json_close(&w);
}

void faults_free(struct faults *f)
{
	buf_free(&f->json);
	f->count = 0;
}

static void put_errors(struct json_writer *w, const struct faults *f)
{
	struct buf list = {0};

	buf_char(&list, '[');
	buf_add(&list, f->json.data, f->json.len);
	buf_char(&list, ']');
	json_key(w, "errors");
	json_put_raw(w, list.data, list.len);
	buf_free(&list);
}

void problem_json(const struct problem *p, struct buf *out)
{
	struct json_writer w = json_writer(out);

	json_open_object(&w);
	json_key(&w, "type");
	json_put_text(&w, "about:blank");
	json_key(&w, "title");
	json_put_text(&w, http_reason(p->status));
	json_key(&w, "status");
	json_put_int(&w, p->status);
	json_key(&w, "detail");
	json_put_text(&w, p->detail);
	json_key(&w, "code");
	json_put_text(&w, codes[p->code]);
	if (p->faults)
		put_errors(&w, p->faults);
	if (p->current) {
		json_key(&w, "currentStatus");
		json_put_text(&w, status_text(p->current->status));
		json_key(&w, "currentAttempt");
		json_put_int(&w, p->current->attempt);
	}
	if (p->retry_after_ms) {
		json_key(&w, "retryAfterMs");
		json_put_int(&w, p->retry_after_ms);
	}
	json_close(&w);
	must(json_good(&w));
}

void answer_problem(struct conn *c, const struct problem *p)
{
	struct buf body = {0};
	struct http_reply reply = { p->status, PROBLEM_TYPE, p->fields, NULL, 0, false };

	problem_json(p, &body);
	reply.body = body.data;
	reply.body_len = body.len;
	conn_reply(c, &reply);
	buf_free(&body);
}

/* Commands. */

static void put_instant(struct json_writer *w, const char *name, int64_t ms)
{
	char text[TIME_TEXT];

	json_key(w, name);
	if (ms)
		time_text(ms, text);
	json_put_text(w, ms ? text : NULL);
}

static void put_text(struct json_writer *w, const char *name, const char *text)
{
	json_key(w, name);
	json_put_text(w, text);
}

static void put_int(struct json_writer *w, const char *name, int64_t n)
{
	json_key(w, name);
	json_put_int(w, n);
}

static void put_bool(struct json_writer *w, const char *name, bool on)
{
	json_key(w, name);
	json_put_bool(w, on);
}

void command_json(struct json_writer *w, const struct command *c, int64_t lease_ms)
{
	char id[ID_TEXT];

	store_id(c, id);
	json_open_object(w);
	put_text(w, "id", id);
	put_text(w, "type", type_text(c->type));
	json_key(w, "payload");
	json_put_raw(w, c->payload, c->payload_len);
	put_bool(w, "isIdempotent", c->is_idempotent);
	put_text(w, "status", status_text(c->status));
	put_int(w, "attempt", c->attempt);
	put_int(w, "maxAttempts", c->max_attempts);
	put_text(w, "agentId", c->agent_id);
	json_key(w, "result");
	json_put_raw(w, c->result, c->result_len);
	put_text(w, "error", c->error);
	put_text(w, "failureCode", failure_text(c->failure));
	put_bool(w, "needsReview", c->needs_review);
	put_bool(w, "cancelRequested", c->cancel_requested);
	put_instant(w, "createdAt", c->created_at);
	put_instant(w, "startedAt", c->started_at);
	put_instant(w, "finishedAt", c->finished_at);
	put_instant(w, "updatedAt", c->updated_at);
	if (lease_ms)
		put_int(w, "leaseMs", lease_ms);
	json_close(w);
}

/* Replies. */

void answer_json(struct conn *c, int status, const struct buf *json, const char *fields)
{
	struct http_reply reply = { status, "application/json", fields, json->data, json->len, false };

	conn_reply(c, &reply);
}

void answer_command(struct conn *c, int status, const struct command *command, int64_t lease_ms, const char *fields)
{
	struct buf json = {0};
	struct json_writer w = json_writer(&json);

	buf_room(&json, COMMAND_USUAL + command->payload_len + command->result_len);
	command_json(&w, command, lease_ms);
	must(json_good(&w));
	answer_json(c, status, &json, fields);
	buf_free(&json);
}

void answer_empty(struct conn *c, int status, const char *fields)
{
	struct http_reply reply = { status, NULL, fields, NULL, 0, false };

	conn_reply(c, &reply);
}
