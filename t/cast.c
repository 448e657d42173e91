/* cast: see the header. Clients, the script and the proxy speak through call or through bare sockets; the target is conn with three answers. */
#include "cast.h"
#include "../call.h"
#include "../conn.h"
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_US INT64_C(3000000)
#define OPEN_MAX 16
#define SHOT_US INT64_C(20000000)

static void address(int port, struct sockaddr_in *out)
{
	memset(out, 0, sizeof *out);
	out->sin_family = AF_INET;
	out->sin_port = htons((uint16_t)port);
	out->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

/* A call to the server with what all callers share. */
static struct call *ask_server(struct loop *loop, const struct env *env, struct call_link *link, const char *method, const char *target, const char *fields,
	const struct buf *body, int64_t within_us, call_done *done, void *arg)
{
	struct http_url url;
	struct buf text = {0};
	struct call_spec spec = {0};
	struct call *call;

	buf_fmt(&text, "http://127.0.0.1:%d%s", SERVER_PORT, target);
	must(http_url_read(text.data, text.len, &url) == NULL);
	spec.method = method;
	spec.url = &url;
	spec.fields = fields;
	spec.body = body ? body->data : NULL;
	spec.body_len = body ? body->len : 0;
	spec.deadline_us = env->mono_us(env->world) + within_us;
	spec.body_max = 4u * 1024 * 1024;
	spec.link = link;
	call = call_start(loop, env, &spec, done, arg);
	http_url_free(&url);
	buf_free(&text);
	return call;
}

/* clients */

struct open { int index; struct buf body; };
enum audit_step { AUDIT_NONE, AUDIT_PENDING, AUDIT_RUNNING, AUDIT_LIST };
struct client {
	struct world *world;
	struct checker *checker;
	struct node *node;
	struct loop *loop;
	struct call_link *link;
	struct call *call;
	struct loop_timer timer;
	struct client_orders orders;
	struct open open[OPEN_MAX];
	int open_count, asked;                                     /* asked: whose create is in flight, -1: none */
	bool calm;
	enum audit_step audit;
	void (*done)(void *arg);
	void *arg;
};

static void client_act(void *arg);

static void client_rest(struct client *c)
{
	int64_t pause = c->orders.pause_us;

	loop_timer_set(c->loop, &c->timer, loop_now_us(c->loop) + world_between(c->world, pause / 4, pause * 3 / 2), client_act, c);
}

/* Late evidence may have brought something back between the questions. */
static bool all_ended(const struct call_answer *a)
{
	struct json body, items, item, status;
	struct json_iter it;

	if (a->error || a->status != 200 || !json_read(a->body, a->body_len, JSON_DEPTH, &body, NULL) || !json_find(&body, "items", &items))
		return false;
	it = json_iter(&items);
	while (json_next(&it, NULL, &item))
		if (!json_find(&item, "status", &status) || json_same(&status, "PENDING") || json_same(&status, "RUNNING"))
			return false;
	return true;
}

static bool nothing_in(const struct call_answer *a)
{
	struct json body, items, item;
	struct json_iter it;

	if (a->error || a->status != 200 || !json_read(a->body, a->body_len, JSON_DEPTH, &body, NULL) || !json_find(&body, "items", &items))
		return false;
	it = json_iter(&items);
	return !json_next(&it, NULL, &item);
}

static void audited(struct client *c, const struct call_answer *a)
{
	if (c->audit == AUDIT_PENDING && nothing_in(a))
		c->audit = AUDIT_RUNNING;
	else if (c->audit == AUDIT_RUNNING && nothing_in(a)) {
		c->audit = AUDIT_LIST;
		checker_last(c->checker);
	} else if (c->audit == AUDIT_LIST && all_ended(a)) {
		c->done(c->arg);
		c->audit = AUDIT_NONE;
	} else
		c->audit = AUDIT_PENDING;
}

static void client_answered(void *arg, const struct call_answer *a)
{
	struct client *c = arg;

	c->call = NULL;
	if (c->asked >= 0 && !a->error && (a->status == 200 || a->status == 201)) {
		if (a->status == 200)
			checker_recovered(c->checker, c->open[c->asked].index);
		buf_free(&c->open[c->asked].body);
		c->open[c->asked] = c->open[--c->open_count];
		c->open[c->open_count] = (struct open){0};
	} else if (c->asked < 0 && c->audit != AUDIT_NONE) {
		audited(c, a);
	}
	c->asked = -1;
	client_rest(c);
}

static void client_call(struct client *c, const char *method, const char *target, const char *fields, const struct buf *body)
{
	c->call = ask_server(c->loop, node_env(c->node), world_chance(c->world, 700) ? c->link : NULL, method, target, fields, body, CALL_US, client_answered, c);
}

static void client_create(struct client *c, int i)
{
	struct buf fields = {0};

	buf_fmt(&fields, "Content-Type: application/json\r\nIdempotency-Key: k-%d\r\n", c->open[i].index);
	c->asked = i;
	client_call(c, "POST", "/api/commands", fields.data, &c->open[i].body);
	buf_free(&fields);
}

static void client_invent(struct client *c)
{
	struct open *o = &c->open[c->open_count++];
	struct buf payload = {0};
	bool idempotent = world_chance(c->world, 500), delay;
	int64_t most = world_chance(c->world, 500) ? 5 : world_between(c->world, 1, 3);
	int64_t ms = world_chance(c->world, 650) ? world_between(c->world, 0, 300) : world_between(c->world, 0, c->orders.delay_ms_most);

	o->index = (*c->orders.next)++;
	ms = ms / CHECKER_MAX * CHECKER_MAX + o->index;
	delay = world_chance(c->world, 600);
	if (delay)
		buf_fmt(&payload, "{\"ms\":%lld}", (long long)ms);
	else
		buf_fmt(&payload, "{\"url\":\"http://127.0.0.1:%d/c/%d\"}", TARGET_PORT, o->index);
	buf_fmt(&o->body, "{\"type\":\"%s\",\"payload\":%s,\"isIdempotent\":%s", delay ? "DELAY" : "HTTP_GET_JSON", payload.data, idempotent ? "true" : "false");
	if (most != 5)
		buf_fmt(&o->body, ",\"maxAttempts\":%lld", (long long)most);
	buf_str(&o->body, "}");
	checker_asked(c->checker, o->index, idempotent, most, payload.data, payload.len);
	buf_free(&payload);
	client_create(c, c->open_count - 1);
}

static void client_meddle(struct client *c, const char *id)
{
	static const char *const actions[] = { "{\"action\":\"RETRY\"}", "{\"action\":\"RETRY\",\"note\":\"again\"}", "{\"action\":\"COMPLETE\",\"result\":{\"by\":\"hand\"}}", "{\"action\":\"FAIL\"}" };
	struct buf target = {0}, body = {0};
	bool cancel = world_chance(c->world, 400);

	buf_fmt(&target, "/api/commands/%s/%s", id, cancel ? "cancel" : "resolve");
	if (!cancel)
		buf_str(&body, actions[world_any(c->world) % 4]);
	client_call(c, "POST", target.data, cancel ? NULL : "Content-Type: application/json\r\n", cancel ? NULL : &body);
	buf_free(&target);
	buf_free(&body);
}

static void client_look(struct client *c)
{
	int back = (int)world_between(c->world, 0, world_chance(c->world, 600) ? 4 : *c->orders.next), at = *c->orders.next - back;
	const char *id = checker_id(c->checker, at < 0 ? 0 : at);
	struct buf target = {0};

	if (id[0] && !c->calm && world_chance(c->world, c->orders.meddling)) {
		client_meddle(c, id);
		return;
	}
	if (id[0] && world_chance(c->world, 800))
		buf_fmt(&target, "/api/commands/%s%s", id, world_chance(c->world, 100) ? "/events" : "");
	else
		buf_str(&target, world_chance(c->world, 500) ? "/api/commands?needsReview=true&limit=10" : world_chance(c->world, 500) ? "/api/commands?limit=5" : "/api/agents");
	client_call(c, "GET", target.data, NULL, NULL);
	buf_free(&target);
}

static void client_audit_ask(struct client *c)
{
	static const char *const targets[] = { [AUDIT_PENDING] = "/api/commands?status=PENDING&limit=1", [AUDIT_RUNNING] = "/api/commands?status=RUNNING&limit=1",
		[AUDIT_LIST] = "/api/commands?limit=500" };

	client_call(c, "GET", targets[c->audit], NULL, NULL);
}

static void client_act(void *arg)
{
	struct client *c = arg;
	bool more = *c->orders.next < c->orders.commands && c->open_count < OPEN_MAX;

	if (c->open_count > 0 && (c->calm || world_chance(c->world, 600)))
		client_create(c, (int)(world_any(c->world) % (uint64_t)c->open_count));
	else if (more && world_chance(c->world, 600))
		client_invent(c);
	else if (c->audit != AUDIT_NONE)
		client_audit_ask(c);
	else
		client_look(c);
}

static void client_make(void *arg)
{
	struct client *c = arg;

	c->loop = loop_new(node_env(c->node));
	c->link = call_link_new(c->loop, node_env(c->node));
	client_rest(c);
}

struct client *client_new(struct world *w, struct checker *checker, const char *name, const struct client_orders *orders)
{
	struct client *c = mem_new(sizeof *c);

	c->world = w;
	c->checker = checker;
	c->orders = *orders;
	c->asked = -1;
	c->node = world_node(w, name);
	must(node_begin(c->node, client_make, c));
	node_live(c->node, c->loop);
	return c;
}

void client_calm(struct client *c) { c->calm = true; }
bool client_done(const struct client *c) { return c->open_count == 0 && *c->orders.next == c->orders.commands; }

void client_audit(struct client *c, int64_t pause_us, void (*done)(void *arg), void *arg)
{
	c->orders.pause_us = pause_us;
	c->audit = AUDIT_PENDING;
	c->done = done;
	c->arg = arg;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	call_cancel(c->call);
	call_link_free(c->link);
	for (int i = 0; i < c->open_count; i++)
		buf_free(&c->open[i].body);
	loop_free(c->loop);
	free(c);
}

/* the script: polls, takes what it is given for granted, waits a while, reports until it is answered */

struct script {
	struct world *world;
	struct checker *checker;
	struct node *node;
	struct loop *loop;
	struct call *call;
	struct loop_timer timer;
	int64_t interval_us;
	char name[16], id[ID_TEXT];
	int64_t attempt;
};

static void script_poll(void *arg);
static void script_report(void *arg);

static void script_after(struct script *s, int64_t us, loop_fire *next)
{
	loop_timer_set(s->loop, &s->timer, loop_now_us(s->loop) + us, next, s);
}

static void script_polled(void *arg, const struct call_answer *a)
{
	struct script *s = arg;
	const struct checker_agent by = { -1, { "", "" } };
	struct json body, v;
	struct buf id = {0};

	s->call = NULL;
	if (a->error || a->status != 200 || !json_read(a->body, a->body_len, JSON_DEPTH, &body, NULL) || !json_find(&body, "id", &v)) {
		script_after(s, world_between(s->world, s->interval_us / 2, s->interval_us * 2), script_poll);
		return;
	}
	json_text(&v, &id);
	snprintf(s->id, sizeof s->id, "%s", id.data);
	buf_free(&id);
	must(json_find(&body, "attempt", &v) && json_int(&v, &s->attempt));
	checker_start(s->checker, s->id, s->attempt, &by, node_now_us(s->node), 0);
	script_after(s, world_between(s->world, 0, 2000000), script_report);
}

static void script_poll(void *arg)
{
	struct script *s = arg;
	struct buf target = {0};

	buf_fmt(&target, "/api/commands/next?agentId=%s&waitMs=%d%s", s->name, world_chance(s->world, 500) ? 0 : 500, world_chance(s->world, 300) ? "&leaseMs=20000" : "");
	s->call = ask_server(s->loop, node_env(s->node), NULL, "GET", target.data, NULL, NULL, CALL_US, script_polled, s);
	buf_free(&target);
}

static void script_reported(void *arg, const struct call_answer *a)
{
	struct script *s = arg;
	bool again = a->error || a->status == 503;

	s->call = NULL;
	script_after(s, world_between(s->world, 0, s->interval_us), again ? script_report : script_poll);
}

static void script_report(void *arg)
{
	struct script *s = arg;
	struct buf target = {0}, body = {0};

	buf_fmt(&target, "/api/commands/%s", s->id);
	buf_fmt(&body, "{\"agentId\":\"%s\",\"status\":\"%s\",\"result\":{\"by\":\"script\"}", s->name, world_chance(s->world, 800) ? "COMPLETED" : "FAILED");
	if (world_chance(s->world, 500))
		buf_fmt(&body, ",\"attempt\":%lld", (long long)s->attempt);
	buf_str(&body, "}");
	s->call = ask_server(s->loop, node_env(s->node), NULL, "PATCH", target.data, "Content-Type: application/json\r\n", &body, CALL_US, script_reported, s);
	buf_free(&target);
	buf_free(&body);
}

static void script_make(void *arg)
{
	struct script *s = arg;

	s->loop = loop_new(node_env(s->node));
	s->call = NULL;
	memset(&s->timer, 0, sizeof s->timer);
	script_after(s, world_between(s->world, 0, s->interval_us), script_poll);
}

void script_start(struct script *s)
{
	must(node_begin(s->node, script_make, s));
	node_live(s->node, s->loop);
}

struct script *script_new(struct world *w, struct checker *checker, const char *name, int64_t interval_us)
{
	struct script *s = mem_new(sizeof *s);

	s->world = w;
	s->checker = checker;
	s->interval_us = interval_us;
	snprintf(s->name, sizeof s->name, "%s", name);
	s->node = world_node(w, s->name);
	return s;
}

struct node *script_node(struct script *s) { return s->node; }

void script_died(struct script *s)
{
	call_cancel(s->call);
	loop_free(s->loop);
	s->call = NULL;
	s->loop = NULL;
}

void script_free(struct script *s)
{
	if (!s)
		return;
	if (s->loop)
		script_died(s);
	free(s);
}

/* the target: counts, then answers well, with nonsense, late, or not at all */

struct target { struct world *world; struct checker *checker; struct node *node; struct loop *loop; struct conns *conns; };
struct pending { struct target *target; struct conn *conn; struct loop_timer timer; };

static void target_reply(struct conn *conn, struct world *w)
{
	static const struct http_reply replies[] = {
		{ .status = 200, .type = "application/json", .body = "{\"hello\":[1,2,3]}", .body_len = 17 },
		{ .status = 404, .type = "application/json", .body = "{\"no\":true}", .body_len = 11 },
		{ .status = 500, .type = "text/plain", .body = "it broke", .body_len = 8 },
	};

	conn_reply(conn, &replies[world_chance(w, 800) ? 0 : world_any(w) % 3]);
}

static void target_late(void *arg)
{
	struct pending *p = arg;

	target_reply(p->conn, p->target->world);
	free(p);
}

static void target_asked(void *arg, struct conn *conn, const struct http_head *head, const char *body, size_t body_len)
{
	struct target *t = arg;
	struct pending *p;
	int64_t index = -1;

	(void)body;
	(void)body_len;
	if (head->path.n > 3)
		num_parse(head->path.p + 3, head->path.n - 3, 0, 1000000, &index);
	checker_hit(t->checker, (int)index);
	if (world_chance(t->world, 700)) {
		target_reply(conn, t->world);
		return;
	}
	p = mem_new(sizeof *p);
	p->target = t;
	p->conn = conn;
	conn_set(conn, p);
	loop_timer_set(t->loop, &p->timer, loop_now_us(t->loop) + world_between(t->world, 0, world_chance(t->world, 200) ? 20000000 : 2000000), target_late, p);
}

static void target_left(void *arg, struct conn *conn)
{
	struct target *t = arg;
	struct pending *p = conn_get(conn);

	if (!p)
		return;
	loop_timer_off(t->loop, &p->timer);
	free(p);
}

static void target_turned(void *arg) { conns_release(((struct target *)arg)->conns); }

static void target_make(void *arg)
{
	struct target *t = arg;
	struct conns_limits limits = { 1024, 65536, 65536, 60, 10000000, 10000000, 10000000, 10000000, NULL };
	struct conns_hooks hooks = { t, NULL, target_asked, target_left, NULL };
	struct sockaddr_in a;
	struct sockaddr_storage bound;
	socklen_t len;

	address(TARGET_PORT, &a);
	t->loop = loop_new(node_env(t->node));
	t->conns = conns_new(t->loop, node_env(t->node), &limits, &hooks);
	must(conns_listen(t->conns, (struct sockaddr *)&a, sizeof a, &bound, &len));
	loop_after(t->loop, target_turned, t);
}

struct target *target_new(struct world *w, struct checker *checker)
{
	struct target *t = mem_new(sizeof *t);

	t->world = w;
	t->checker = checker;
	t->node = world_node(w, "target");
	must(node_begin(t->node, target_make, t));
	node_live(t->node, t->loop);
	return t;
}

void target_free(struct target *t)
{
	if (!t)
		return;
	conns_free(t->conns);
	loop_free(t->loop);
	free(t);
}

/* the proxy */

struct shot { struct shot *next; struct proxy *proxy; struct buf bytes; int fd; bool sent; struct loop_timer timer; };
struct proxy { struct world *world; struct node *node; struct loop *loop; struct shot *shots; };

static void shot_end(void *arg)
{
	struct shot *s = arg, **at;
	const struct env *env = node_env(s->proxy->node);

	for (at = &s->proxy->shots; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	loop_timer_off(s->proxy->loop, &s->timer);
	if (s->fd >= 0) {
		loop_forget(s->proxy->loop, s->fd);
		env->close(env->world, s->fd);
	}
	buf_free(&s->bytes);
	free(s);
}

static void shot_ready(void *arg, unsigned what)
{
	struct shot *s = arg;
	const struct env *env = node_env(s->proxy->node);
	char bytes[4096];

	(void)what;
	if (s->sent && env->recv(env->world, s->fd, bytes, sizeof bytes) > 0)
		return;
	if (s->sent || env->connected(env->world, s->fd) != 0 || env->send(env->world, s->fd, s->bytes.data, s->bytes.len) < 0) {
		shot_end(s);
		return;
	}
	s->sent = true;
	loop_watch(s->proxy->loop, s->fd, LOOP_READ, shot_ready, s);
}

static void shot_fire(void *arg, int64_t n)
{
	struct shot *s = arg;
	const struct env *env = node_env(s->proxy->node);
	struct sockaddr_in a;

	(void)n;
	address(SERVER_PORT, &a);
	s->fd = env->connect(env->world, (struct sockaddr *)&a, sizeof a);
	loop_timer_set(s->proxy->loop, &s->timer, world_now_us(s->proxy->world) + SHOT_US, shot_end, s);
	if (s->fd >= 0)
		loop_watch(s->proxy->loop, s->fd, LOOP_WRITE, shot_ready, s);
	node_wake(s->proxy->node);
}

void proxy_send(struct proxy *p, const void *bytes, size_t n, int64_t when_us)
{
	struct shot *s = mem_new(sizeof *s);

	s->proxy = p;
	s->fd = -1;
	buf_add(&s->bytes, bytes, n);
	s->next = p->shots;
	p->shots = s;
	world_at(p->world, when_us, shot_fire, s, 0);
}

static void proxy_make(void *arg)
{
	struct proxy *p = arg;

	p->loop = loop_new(node_env(p->node));
}

struct proxy *proxy_new(struct world *w)
{
	struct proxy *p = mem_new(sizeof *p);

	p->world = w;
	p->node = world_node(w, "proxy");
	must(node_begin(p->node, proxy_make, p));
	node_live(p->node, p->loop);
	return p;
}

struct node *proxy_node(struct proxy *p) { return p->node; }

void proxy_free(struct proxy *p)
{
	if (!p)
		return;
	while (p->shots)
		shot_end(p->shots);
	loop_free(p->loop);
	free(p);
}
