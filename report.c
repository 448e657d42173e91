/* report: records and heartbeats on their way to the server. One call in flight a report; a record that is not answered waits (capped exponential
 * backoff, full jitter) and goes again, for ever. What an answer means is said in one table. */
#include "report.h"
#include <stdlib.h>
#include <string.h>

#define CALL_US INT64_C(10000000)
#define ANSWER_MAX (4u * 1024 * 1024)
#define PAUSE_FIRST_US INT64_C(100000)
#define PAUSE_MAX_US INT64_C(5000000)

struct report_call {
	struct loop *loop;
	const struct env *env;
	const struct server_place *place;
	struct call_link *link;
	struct call *call;
	struct loop_timer timer;
	struct buf body;
	char id[ID_TEXT];
	enum report report;
	int tries;
	report_done *done;
	report_beat_done *beat;
	void *arg;
};

int64_t report_pause_us(const struct env *env, const struct server_place *place, int tries)
{
	int64_t cap = place->lease_ms * 1000 / 3, pause = PAUSE_FIRST_US << (tries > 10 ? 10 : tries);
	uint64_t random;

	cap = cap > PAUSE_MAX_US ? PAUSE_MAX_US : cap;
	pause = pause > cap ? cap : pause;
	env->random(env->world, &random, sizeof random);
	return (int64_t)(random % (uint64_t)(pause + 1));
}

void server_target(const struct server_place *place, const char *path, struct http_url *out)
{
	struct buf target = {0};
	size_t base = strlen(place->url->target);

	while (base > 0 && place->url->target[base - 1] == '/')
		base--;
	buf_add(&target, place->url->target, base);
	buf_str(&target, path);
	*out = *place->url;
	out->target = target.data;
}

void server_fields(const struct server_place *place, bool body, struct buf *out)
{
	buf_str(out, "User-Agent: onlyonce\r\nAccept: application/json\r\n");
	if (body)
		buf_str(out, "Content-Type: application/json\r\n");
	if (place->token)
		buf_fmt(out, "Authorization: Bearer %s\r\n", place->token);
}

static void put_text(struct json_writer *w, const char *name, const char *text)
{
	if (!text)
		return;
	json_key(w, name);
	json_put_text(w, text);
}

static void write_body(struct report_call *r, const struct report_content *c)
{
	struct json_writer w = json_writer(&r->body);

	json_open_object(&w);
	put_text(&w, "agentId", c->agent_id);
	put_text(&w, "journalId", r->place->journal_id);
	put_text(&w, "bootId", r->place->boot_id);
	json_key(&w, "attempt");
	json_put_int(&w, c->attempt);
	put_text(&w, "status", report_text(c->report));
	if (c->result) {
		json_key(&w, "result");
		json_put_raw(&w, c->result, c->result_len);
	}
	put_text(&w, "error", c->error);
	put_text(&w, "failureCode", failure_text(c->failure));
	json_close(&w);
	must(json_good(&w));
}

/* What an answer means. */

enum meaning { MEANS_HEARD, MEANS_OVERRULED, MEANS_AGAIN, MEANS_ORPHAN };

/* A 200 counts only when it is this command's: a page of some proxy is no answer. */
static bool is_command(const struct report_call *r, const struct json *body)
{
	struct json id;

	return json_find(body, "id", &id) && json_same(&id, r->id);
}

static bool has_code(const struct json *body, const char *code)
{
	struct json value;

	return json_find(body, "code", &value) && json_same(&value, code);
}

static enum meaning meaning_of(const struct report_call *r, const struct call_answer *a, struct json *body)
{
	bool json = !a->error && !a->truncated && json_read(a->body ? a->body : "", a->body_len, JSON_DEPTH, body, NULL) && body->type == JSON_OBJECT;

	if (a->error)
		return MEANS_AGAIN;
	if (a->status == 200)
		return json && is_command(r, body) ? MEANS_HEARD : MEANS_AGAIN;
	if (a->status == 409 && json && (has_code(body, "STALE_ATTEMPT") || has_code(body, "ALREADY_SETTLED")))
		return MEANS_OVERRULED;
	if (a->status == 401 || a->status == 403 || a->status == 408 || a->status == 429)
		return MEANS_AGAIN;
	return a->status >= 400 && a->status <= 499 ? MEANS_ORPHAN : MEANS_AGAIN;
}

static void forget(struct report_call *r)
{
	loop_timer_off(r->loop, &r->timer);
	buf_free(&r->body);
	free(r);
}

static void transmit(void *arg);

static void send_later(struct report_call *r, const struct call_answer *a)
{
	if (r->tries == 3 || r->tries % 100 == 99)
		env_log(r->env, "report waits", "%s of %s: %s (status %d), trying on", report_text(r->report), r->id, a->error ? a->error : "not the answer expected", a->status);
	loop_timer_set(r->loop, &r->timer, loop_now_us(r->loop) + report_pause_us(r->env, r->place, r->tries++), transmit, r);
}

static void record_answered(struct report_call *r, const struct call_answer *a)
{
	struct json body;
	enum meaning m = meaning_of(r, a, &body);
	report_done *done = r->done;
	void *arg = r->arg;

	if (m == MEANS_AGAIN) {
		send_later(r, a);
		return;
	}
	if (m == MEANS_ORPHAN)
		env_log(r->env, "orphan", "%s of %s was refused with %d: the record is kept, and not sent again", report_text(r->report), r->id, a->status);
	forget(r);
	done(arg, m == MEANS_ORPHAN ? REPORT_ORPHANED : REPORT_ANSWERED);
}

static void beat_answered(struct report_call *r, const struct call_answer *a)
{
	struct json body, cancel;
	enum meaning m = meaning_of(r, a, &body);
	report_beat_done *beat = r->beat;
	void *arg = r->arg;
	bool asked = false;

	if (m == MEANS_HEARD && json_find(&body, "cancelRequested", &cancel))
		json_bool(&cancel, &asked);
	forget(r);
	beat(arg, m == MEANS_OVERRULED ? BEAT_STOP : m != MEANS_HEARD ? BEAT_UNHEARD : asked ? BEAT_CANCEL : BEAT_GO_ON);
}

static void answered(void *arg, const struct call_answer *a)
{
	struct report_call *r = arg;

	r->call = NULL;
	(r->beat ? beat_answered : record_answered)(r, a);
}

static void transmit(void *arg)
{
	struct report_call *r = arg;
	struct http_url url;
	struct buf path = {0}, fields = {0};
	struct call_spec spec = {0};

	buf_fmt(&path, "/api/commands/%s", r->id);
	server_target(r->place, path.data, &url);
	server_fields(r->place, true, &fields);
	spec.method = "PATCH";
	spec.url = &url;
	spec.fields = fields.data;
	spec.body = r->body.data;
	spec.body_len = r->body.len;
	spec.deadline_us = r->env->mono_us(r->env->world) + CALL_US;
	spec.body_max = ANSWER_MAX;
	spec.link = r->link;
	spec.tls = r->place->tls;
	r->call = call_start(r->loop, r->env, &spec, answered, r);
	http_url_free(&url);
	buf_free(&path);
	buf_free(&fields);
}

static struct report_call *start(struct loop *loop, const struct env *env, const struct server_place *place, struct call_link *link, const struct report_content *content)
{
	struct report_call *r = mem_new(sizeof *r);

	r->loop = loop;
	r->env = env;
	r->place = place;
	r->link = link;
	r->report = content->report;
	must(strlen(content->id) < sizeof r->id);
	strcpy(r->id, content->id);
	write_body(r, content);
	transmit(r);
	return r;
}

struct report_call *report_send(struct loop *loop, const struct env *env, const struct server_place *place, struct call_link *link,
	const struct report_content *content, report_done *done, void *arg)
{
	struct report_call *r = start(loop, env, place, link, content);

	r->done = done;
	r->arg = arg;
	return r;
}

struct report_call *report_beat(struct loop *loop, const struct env *env, const struct server_place *place, struct call_link *link,
	const struct report_content *content, report_beat_done *beat, void *arg)
{
	struct report_call *r = start(loop, env, place, link, content);

	r->beat = beat;
	r->arg = arg;
	return r;
}

void report_cancel(struct report_call *r)
{
	if (!r)
		return;
	if (r->call)
		call_cancel(r->call);
	forget(r);
}
