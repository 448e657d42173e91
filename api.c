/* api: the server's routes. A request goes: head checks (host, origin, token, route, media type), body, one handler that asks the store and answers.
 * The turn is the unit of durability: every handler of a turn works in one transaction, replies are held by conn, and `turn_end` is the one place
 * that commits and then lets them go (G1). A failed commit turns every held reply into 503 and makes memory anew from the store. */
#include "api.h"
#include "answer.h"
#include "claim.h"
#include "dispatch.h"
#include "recover.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX (2u * 1024 * 1024)
#define BODIES_MAX (16u * 1024 * 1024)
#define ANSWERS_MAX (16u * 1024 * 1024)
#define PAGE_BYTES_MAX (1024u * 1024)
#define LEASE_MS_MAX INT64_C(3600000)
#define SECONDS INT64_C(1000000)
#define NONCES 32                      /* 256 bytes: what getentropy gives at once */
#define COMMON_FIELDS "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'\r\nReferrer-Policy: no-referrer\r\n"

struct api {
	struct loop *loop;
	const struct env *env;
	struct store *store;
	struct dispatch *dispatch;
	struct claim *claim;
	struct conns *conns;
	struct api_settings set;
	bool paused, failing;
	uint64_t nonces[NONCES];                                   /* random numbers drawn ahead, NONCES for one system call */
	int nonces_left;
};

struct request { struct api *api; struct conn *conn; const struct http_head *head; struct http_text id; const char *body; size_t body_len; };

/* Routes. */

static void get_health(struct request *);
static void get_agents(struct request *);
static void post_command(struct request *);
static void list_commands(struct request *);
static void next_command(struct request *);
static void get_command(struct request *);
static void patch_command(struct request *);
static void resolve_command(struct request *);
static void cancel_command(struct request *);
static void list_events(struct request *);

enum access { OPEN_TO_ALL, FOR_API, FOR_AGENTS };
/* "*" stands for a command's id. First match wins. */
static const struct route { const char *method, *path; void (*handle)(struct request *); enum access access; bool writes, query; } routes[] = {
	{ "GET", "/health", get_health, OPEN_TO_ALL, false, false },
	{ "GET", "/api/agents", get_agents, FOR_API, false, false },
	{ "POST", "/api/commands", post_command, FOR_API, true, false },
	{ "GET", "/api/commands", list_commands, FOR_API, false, true },
	{ "GET", "/api/commands/next", next_command, FOR_AGENTS, false, true },
	{ "GET", "/api/commands/*", get_command, FOR_API, false, false },
	{ "PATCH", "/api/commands/*", patch_command, FOR_AGENTS, true, false },
	{ "POST", "/api/commands/*/resolve", resolve_command, FOR_API, true, false },
	{ "POST", "/api/commands/*/cancel", cancel_command, FOR_API, true, false },
	{ "GET", "/api/commands/*/events", list_events, FOR_API, false, false },
};
#define ROUTES (sizeof routes / sizeof *routes)

/* Does the path match the pattern? The part at '*' is given back; it holds no '/'. */
static bool path_matches(const char *pattern, struct http_text path, struct http_text *id)
{
	size_t at = 0;

	for (; *pattern; pattern++) {
		if (*pattern != '*') {
			if (at >= path.n || path.p[at++] != *pattern)
				return false;
			continue;
		}
		id->p = path.p + at;
		while (at < path.n && path.p[at] != '/')
			at++;
		id->n = (size_t)(path.p + at - id->p);
		if (id->n == 0)
			return false;
	}
	return at == path.n;
}

/* The route, or NULL; then *allow, unless it is NULL, lists the methods the path knows ("": it knows none). */
static const struct route *find_route(const struct http_head *head, struct http_text *id, struct buf *allow)
{
	bool head_only = http_is(head->method, "HEAD");

	for (size_t i = 0; i < ROUTES; i++) {
		const struct route *r = &routes[i];
		if (!path_matches(r->path, head->path, id))
			continue;
		if (http_is(head->method, r->method) || (head_only && r->handle != next_command && strcmp(r->method, "GET") == 0))
			return r;
		if (allow)
			buf_fmt(allow, "%s%s", allow->len ? ", " : "", r->method);
		if (r->handle == next_command)
			break;
	}
	return NULL;
}

/* Head checks: what is refused before the body is read. */

static void refuse(struct conn *c, int status, enum code code, const char *detail, const char *fields)
{
	struct problem p = { status, code, detail, NULL, NULL, 0, fields };

	answer_problem(c, &p);
}

/* Host without its port, brackets kept. */
static struct http_text host_name(struct http_text host)
{
	size_t n = host.n;

	while (n > 0 && host.p[n - 1] >= '0' && host.p[n - 1] <= '9')
		n--;
	if (n > 0 && host.p[n - 1] == ':' && (host.p[0] != '[' || (n > 1 && host.p[n - 2] == ']')))
		host.n = n - 1;
	return host;
}

static bool host_allowed(const struct api *api, struct http_text host)
{
	static const char *const own[] = { "localhost", "127.0.0.1", "[::1]" };
	const char *p = api->set.allow_hosts;
	struct http_text name = host_name(host);

	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		if (http_is_nocase(name, own[i]))
			return true;
	if (api->set.listen_host && http_is_nocase(name, api->set.listen_host))
		return true;
	while (p && *p) {
		size_t n = strcspn(p, ", ");
		char *one = mem_dupn(p, n);
		bool match = n > 0 && http_is_nocase(name, one);
		free(one);
		if (match)
			return true;
		p += n;
		p += strspn(p, ", ");
	}
	return false;
}

/* A page of another origin in somebody's browser: its Origin names another host, or its fetch metadata says so. */
static bool from_elsewhere(const struct http_head *head)
{
	struct http_text origin = http_field(head, "origin"), site = http_field(head, "sec-fetch-site");

	if (site.p && http_is_nocase(site, "cross-site"))
		return true;
	if (!origin.p)
		return false;
	if (origin.n <= 7 || memcmp(origin.p, "http://", 7) != 0)
		return true;
	return origin.n - 7 != head->host.n || memcmp(origin.p + 7, head->host.p, head->host.n) != 0;
}

/* Time does not tell how much of the token was right. */
static bool token_is(struct http_text given, const char *token)
{
	size_t n = token ? strlen(token) : 0;
	unsigned differ = n == 0 || given.n != n;

	for (size_t i = 0; i < given.n && n; i++)
		differ |= (unsigned)((unsigned char)given.p[i] ^ (unsigned char)token[i % n]);
	return differ == 0;
}

static bool authorized(const struct api *api, const struct http_head *head, enum access access)
{
	struct http_text auth = http_field(head, "authorization"), scheme = { auth.p, 7 };

	if (access == OPEN_TO_ALL || (!api->set.api_token && (access != FOR_AGENTS || !api->set.agent_token)))
		return true;
	if (!auth.p || auth.n < 7 || !http_is_nocase(scheme, "Bearer "))
		return false;
	auth.p += 7;
	auth.n -= 7;
	return token_is(auth, api->set.api_token) || (access == FOR_AGENTS && token_is(auth, api->set.agent_token));
}

static void no_route(struct conn *c, const struct http_head *head)
{
	struct buf fields = {0}, allow = {0};
	struct http_text id;

	find_route(head, &id, &allow);
	if (http_is(head->method, "OPTIONS") && (allow.len || http_is(head->path, "*"))) {
		buf_fmt(&fields, "Allow: %s%sOPTIONS\r\n", allow.len ? allow.data : "", allow.len ? ", " : "");
		answer_empty(c, 204, fields.data);
	} else if (allow.len) {
		buf_fmt(&fields, "Allow: %s\r\n", allow.data);
		refuse(c, 405, CODE_METHOD, "this path does not know that method", fields.data);
	} else {
		refuse(c, 404, CODE_NOT_FOUND, "there is nothing at this path", NULL);
	}
	buf_free(&fields);
	buf_free(&allow);
}

static bool has_body(const struct http_head *head) { return head->chunked || head->length > 0; }

static void check_head(void *arg, struct conn *c, const struct http_head *head)
{
	struct api *api = arg;
	struct http_text id = {0}, media = http_field(head, "content-type");
	const struct route *r = find_route(head, &id, NULL);

	if (head->host.p && !host_allowed(api, head->host))
		refuse(c, 421, CODE_FORBIDDEN, "this server does not answer for that Host (--allow-host)", NULL);
	else if (from_elsewhere(head))
		refuse(c, 403, CODE_FORBIDDEN, "requests from pages of another origin are not served", NULL);
	else if (!authorized(api, head, r ? r->access : FOR_API))
		refuse(c, 401, CODE_UNAUTHORIZED, "a token is needed: Authorization: Bearer ...", "WWW-Authenticate: Bearer\r\n");
	else if (!r)
		no_route(c, head);
	else if (has_body(head) && !http_media_is(media, "application/json"))
		refuse(c, 415, CODE_MEDIA_TYPE, "the body must be application/json", "Accept: application/json\r\n");
}

/* Query and body: named parameters and members into tables. */

/* A name as the client wrote it: made fit to print, and cut. */
static void fault_named(struct faults *faults, const struct buf *name, const char *detail)
{
	struct buf clean = {0};

	utf8_clean(&clean, name->data ? name->data : "", name->len > 64 ? 64 : name->len);
	fault(faults, clean.data ? clean.data : "", detail);
	buf_free(&clean);
}

struct param { const char *name; const char *value; };         /* value NULL: not given */

/* False: 400 was answered. */
static bool read_query(struct request *rq, struct param *params, int count)
{
	struct http_text rest = rq->head->query;
	struct buf name = {0}, value = {0};
	struct faults faults = {0};
	int more = 0;

	while (rest.p && (more = http_query_next(&rest, &name, &value)) > 0) {
		int i = 0;
		while (i < count && strcmp(params[i].name, name.data ? name.data : "") != 0)
			i++;
		if (i == count || params[i].value)
			fault_named(&faults, &name, i == count ? "is not a parameter of this call" : "is given twice");
		else
			params[i].value = store_keep(rq->api->store, value.data ? value.data : "", value.len);
	}
	if (more < 0)
		fault(&faults, "query", "holds a bad percent escape");
	buf_free(&name);
	buf_free(&value);
	if (faults.count) {
		struct problem p = { 400, CODE_VALIDATION, "the query is not one of this call", &faults, NULL, 0, NULL };
		answer_problem(rq->conn, &p);
	}
	more = faults.count;
	faults_free(&faults);
	return more == 0;
}

static void answer_faults(struct request *rq, int status, struct faults *faults)
{
	struct problem p = { status, CODE_VALIDATION, status == 400 ? "the query is not one of this call" : "the request is understood and not acceptable", faults, NULL, 0, NULL };

	answer_problem(rq->conn, &p);
	faults_free(faults);
}

struct member { const char *name; struct json value; bool given; };

/* The body's members. False: 400 was answered. What is wrong otherwise goes to faults. */
static bool read_members(struct request *rq, struct member *members, int count, bool strict, struct faults *faults)
{
	struct json body, key, value;
	struct json_error error;
	struct json_iter it;
	struct buf text = {0};

	if (!json_read(rq->body, rq->body_len, JSON_DEPTH, &body, &error)) {
		buf_fmt(&text, "the body is not JSON: %s at byte %zu", error.what, error.offset);
		refuse(rq->conn, 400, CODE_MALFORMED, text.data, NULL);
		buf_free(&text);
		return false;
	}
	if (body.type != JSON_OBJECT) {
		fault(faults, "", "the body must be an object");
		return true;
	}
	it = json_iter(&body);
	while (json_next(&it, &key, &value)) {
		int i = 0;
		while (i < count && !json_same(&key, members[i].name))
			i++;
		if (i < count && !members[i].given) {
			members[i].value = value;
			members[i].given = true;
		} else if (i < count || strict) {
			buf_clear(&text);
			json_text(&key, &text);
			fault_named(faults, &text, i < count ? "is given twice" : "is not a member of this request");
		}
	}
	buf_free(&text);
	return true;
}

/* A member's string, decoded, NUL-free, into the arena; NULL where it is left out, null, or wrong (then a fault is noted). */
static const char *member_text(struct request *rq, const struct member *m, size_t max, struct faults *faults)
{
	struct buf text = {0}, clean = {0};
	const char *kept = NULL;

	if (!m->given || m->value.type == JSON_NULL)
		return NULL;
	if (m->value.type != JSON_STRING) {
		fault(faults, m->name, "must be a string");
		return NULL;
	}
	json_text(&m->value, &text);
	utf8_clean(&clean, text.data ? text.data : "", text.len);
	if (clean.len > max)
		fault(faults, m->name, "is too long");
	else
		kept = store_keep(rq->api->store, clean.data ? clean.data : "", clean.len);
	buf_free(&text);
	buf_free(&clean);
	return kept;
}

/* Who speaks, from texts that may be missing; checks their form. */
static struct who read_who(const char *agent_id, const char *journal_id, const char *boot_id, struct faults *faults)
{
	struct who w = { agent_id ? agent_id : "default", journal_id, boot_id, 0 };

	if (!agent_id_good(w.agent_id, strlen(w.agent_id)))
		fault(faults, "agentId", "must be 1 to 128 of A-Z a-z 0-9 . _ / -");
	if (journal_id && !journal_id_good(journal_id, strlen(journal_id)))
		fault(faults, "journalId", "must be 1 to 64 of A-Z a-z 0-9 . _ -");
	if (boot_id && !boot_id_read(boot_id, strlen(boot_id), &w.boot))
		fault(faults, "bootId", "must be a number from 1, a hyphen and eight hex digits");
	if (!journal_id != !boot_id)
		fault(faults, journal_id ? "bootId" : "journalId", "is needed: journalId and bootId go together");
	return w;
}

static int64_t wall(const struct request *rq) { return rq->api->env->wall_ms(rq->api->env->world); }

/* The command a path names. False: 404 was answered. */
static bool named_command(struct request *rq, struct command *c)
{
	if (store_find(rq->api->store, rq->id.p, rq->id.n, c))
		return true;
	refuse(rq->conn, 404, CODE_NOT_FOUND, "there is no such command", NULL);
	return false;
}

static void conflict(struct request *rq, enum code code, const char *detail, const struct command *c)
{
	struct problem p = { 409, code, detail, NULL, c, 0, NULL };

	answer_problem(rq->conn, &p);
}

/* Create. */

/* Idempotency-Key: 1 to 255 visible ASCII, outer quotes dropped. False: 400 was answered; *key NULL: none given. */
static bool read_key(struct request *rq, const char **key)
{
	struct http_text text = {0};
	int found = 0;

	*key = NULL;
	for (int i = 0; i < rq->head->fields_count; i++) {
		if (!http_is_nocase(rq->head->fields[i].name, "idempotency-key"))
			continue;
		text = rq->head->fields[i].value;
		found++;
	}
	if (found == 0)
		return true;
	if (text.n >= 2 && text.p[0] == '"' && text.p[text.n - 1] == '"') {
		text.p++;
		text.n -= 2;
	}
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] > '~')
			found = 2;
	if (found > 1 || text.n < 1 || text.n > 255) {
		refuse(rq->conn, 400, CODE_VALIDATION, "Idempotency-Key must be given once, as 1 to 255 visible ASCII characters", NULL);
		return false;
	}
	*key = store_keep(rq->api->store, text.p, text.n);
	return true;
}

static void payload_fault(void *arg, const char *field, const char *detail) { fault(arg, field, detail); }

static void read_create(struct request *rq, struct member *m, struct command *c, struct faults *faults)
{
	struct buf type = {0};
	int known = -1;

	if (m[0].given && m[0].value.type == JSON_STRING) {
		json_text(&m[0].value, &type);
		known = type_read(type.data ? type.data : "", type.len);
	}
	buf_free(&type);
	if (known < 0)
		fault(faults, "type", m[0].given ? "must be one of DELAY, HTTP_GET_JSON" : "is missing");
	if (!m[1].given)
		fault(faults, "payload", "is missing");
	else if (known >= 0)
		payload_check((enum type)known, &m[1].value, payload_fault, faults);
	if (m[2].given && !json_bool(&m[2].value, &c->is_idempotent))
		fault(faults, "isIdempotent", "must be true or false");
	c->max_attempts = rq->api->set.max_attempts;
	if (m[3].given && (!json_int(&m[3].value, &c->max_attempts) || c->max_attempts < 1 || c->max_attempts > 1000000))
		fault(faults, "maxAttempts", "must be a whole number from 1 to 1000000");
	c->type = (enum type)(known < 0 ? 0 : known);
	c->payload = m[1].value.text;
	c->payload_len = m[1].given ? m[1].value.len : 0;
}

/* The same key again. True: answered. */
static bool replayed(struct request *rq, const char *key, const struct command *asked)
{
	struct command held;
	int64_t max_attempts;

	if (!key || !store_key(rq->api->store, key, &held, &max_attempts))
		return false;
	if (held.type != asked->type || held.is_idempotent != asked->is_idempotent || max_attempts != asked->max_attempts
		|| held.payload_len != asked->payload_len || memcmp(held.payload, asked->payload, held.payload_len) != 0)
		refuse(rq->conn, 422, CODE_KEY_REUSED, "this Idempotency-Key was used for another request", NULL);
	else
		answer_command(rq->conn, 200, &held, 0, "Idempotency-Replayed: true\r\n");
	return true;
}

static int64_t draw_nonce(struct api *api)
{
	if (api->nonces_left == 0) {
		api->env->random(api->env->world, api->nonces, sizeof api->nonces);
		api->nonces_left = NONCES;
	}
	return (int64_t)(api->nonces[--api->nonces_left] & (uint64_t)ID_NONCE_MAX);
}

static void post_command(struct request *rq)
{
	struct member members[] = { { "type", {0}, false }, { "payload", {0}, false }, { "isIdempotent", {0}, false }, { "maxAttempts", {0}, false } };
	struct command c = {0};
	struct faults faults = {0};
	struct api *api = rq->api;
	const char *key;
	char location[80], id[ID_TEXT];

	if (!read_key(rq, &key) || !read_members(rq, members, 4, true, &faults))
		return;
	read_create(rq, members, &c, &faults);
	if (faults.count) {
		answer_faults(rq, 422, &faults);
		return;
	}
	if (c.payload_len > COMMAND_PAYLOAD_MAX) {
		refuse(rq->conn, 413, CODE_TOO_LARGE, "a payload may be 256 KiB", NULL);
		return;
	}
	if (replayed(rq, key, &c))
		return;
	c.nonce = draw_nonce(api);
	c.created_at = wall(rq);
	store_insert(api->store, &c);
	if (key)
		store_key_add(api->store, key, &c);
	dispatch_note(api->dispatch, &c);
	store_id(&c, id);
	snprintf(location, sizeof location, "Location: /api/commands/%s\r\n", id);
	answer_command(rq->conn, 201, &c, 0, location);
}

/* Look. */

static void get_command(struct request *rq)
{
	struct command c;

	if (named_command(rq, &c))
		answer_command(rq->conn, 200, &c, 0, NULL);
}

static int enum_param(struct param *p, int (*read)(const char *, size_t), const char *detail, struct faults *faults)
{
	int v = -1;

	if (p->value && (v = read(p->value, strlen(p->value))) < 0)
		fault(faults, p->name, detail);
	return v;
}

static int bool_read(const char *p, size_t n)
{
	(void)n;
	return strcmp(p, "true") == 0 ? 1 : strcmp(p, "false") == 0 ? 0 : -1;
}

static int64_t int_param(struct param *p, int64_t min, int64_t max, int64_t fallback, struct faults *faults)
{
	int64_t v = fallback;

	if (p->value && !num_parse(p->value, strlen(p->value), min, max, &v)) {
		struct buf why = {0};
		buf_fmt(&why, "must be a whole number from %lld to %lld", (long long)min, (long long)max);
		fault(faults, p->name, why.data);
		buf_free(&why);
	}
	return v;
}

struct page { struct buf json; struct json_writer w; };

static struct page *page_open(struct page *p)
{
	memset(&p->json, 0, sizeof p->json);
	p->w = json_writer(&p->json);
	json_open_object(&p->w);
	json_key(&p->w, "items");
	json_open_array(&p->w);
	return p;
}

static bool page_add(void *arg, const struct command *c)
{
	struct page *p = arg;

	command_json(&p->w, c, 0);
	return p->json.len < PAGE_BYTES_MAX;
}

static void page_answer(struct request *rq, struct page *p)
{
	json_close(&p->w);
	must(json_good(&p->w));
	answer_json(rq->conn, 200, &p->json, NULL);
	buf_free(&p->json);
}

static void list_commands(struct request *rq)
{
	struct param q[] = { { "status", NULL }, { "type", NULL }, { "agentId", NULL }, { "needsReview", NULL }, { "limit", NULL }, { "cursor", NULL } };
	struct store_filter f;
	struct faults faults = {0};
	struct page page;
	char cursor[24];
	int64_t next;

	if (!read_query(rq, q, 6))
		return;
	f.status = enum_param(&q[0], status_read, "must be one of PENDING, RUNNING, COMPLETED, FAILED", &faults);
	f.type = enum_param(&q[1], type_read, "must be one of DELAY, HTTP_GET_JSON", &faults);
	f.agent_id = q[2].value;
	if (f.agent_id && !agent_id_good(f.agent_id, strlen(f.agent_id)))
		fault(&faults, "agentId", "must be 1 to 128 of A-Z a-z 0-9 . _ / -");
	f.needs_review = enum_param(&q[3], bool_read, "must be true or false", &faults);
	f.limit = (int)int_param(&q[4], 1, 500, 50, &faults);
	f.before = int_param(&q[5], 1, INT64_MAX, INT64_MAX, &faults);
	if (faults.count) {
		answer_faults(rq, 400, &faults);
		return;
	}
	next = store_list(rq->api->store, &f, page_add, page_open(&page));
	json_close(&page.w);
	json_key(&page.w, "nextCursor");
	snprintf(cursor, sizeof cursor, "%lld", (long long)next);
	json_put_text(&page.w, next ? cursor : NULL);
	page_answer(rq, &page);
}

static void put_text(struct json_writer *w, const char *name, const char *text)
{
	json_key(w, name);
	json_put_text(w, text);
}

static void put_instant(struct json_writer *w, const char *name, int64_t ms)
{
	char text[TIME_TEXT];

	time_text(ms, text);
	put_text(w, name, ms ? text : NULL);
}

static void event_add(void *arg, const struct event *e)
{
	struct json_writer *w = &((struct page *)arg)->w;

	json_open_object(w);
	put_instant(w, "at", e->at);
	put_text(w, "kind", e->kind);
	put_text(w, "actor", e->actor);
	json_key(w, "attempt");
	json_put_int(w, e->attempt);
	put_text(w, "evidence", e->evidence);
	put_text(w, "verdict", e->verdict);
	put_text(w, "detail", e->detail);
	json_close(w);
}

static void list_events(struct request *rq)
{
	struct command c;
	struct page page;

	if (!named_command(rq, &c))
		return;
	store_events(rq->api->store, c.row, event_add, page_open(&page));
	json_close(&page.w);
	page_answer(rq, &page);
}

struct agents_page { struct page page; struct api *api; };

static void agent_add(struct agents_page *p, const char *agent_id, const char *journal_id, const char *boot_id, int64_t seen_ms, const struct heard *h)
{
	struct json_writer *w = &p->page.w;
	int64_t rows[16];
	int n = store_held(p->api->store, agent_id, rows, 16);
	struct command c;
	char id[ID_TEXT];

	json_open_object(w);
	put_text(w, "agentId", agent_id);
	put_text(w, "journalId", journal_id);
	put_text(w, "bootId", boot_id);
	put_instant(w, "lastSeenAt", seen_ms);
	json_key(w, "live");
	json_put_bool(w, h && dispatch_live(p->api->dispatch, h));
	json_key(w, "holds");
	json_open_array(w);
	for (int i = 0; i < n; i++) {
		if (!store_get(p->api->store, rows[i], &c))
			continue;
		store_id(&c, id);
		json_put_text(w, id);
	}
	json_close(w);
	json_close(w);
}

static void agent_stored(void *arg, const struct agent_row *row)
{
	struct agents_page *p = arg;
	struct heard *h = dispatch_heard(p->api->dispatch, row->agent_id, false);

	agent_add(p, row->agent_id, row->journal_id, row->boot_id, h ? h->seen_ms : row->last_seen_at, h);
}

static void agent_heard(void *arg, struct heard *h)
{
	struct agents_page *p = arg;
	struct agent_row row;

	if (p->page.json.len < PAGE_BYTES_MAX && !store_agent(p->api->store, h->agent_id, &row))
		agent_add(p, h->agent_id, h->journal_id[0] ? h->journal_id : NULL, h->boot_id[0] ? h->boot_id : NULL, h->seen_ms, h);
}

static void get_agents(struct request *rq)
{
	struct agents_page p;

	p.api = rq->api;
	page_open(&p.page);
	store_agents(rq->api->store, 10000, agent_stored, &p);
	dispatch_heard_walk(rq->api->dispatch, agent_heard, &p);
	json_close(&p.page.w);
	page_answer(rq, &p.page);
}

static void get_health(struct request *rq)
{
	struct buf json = {0};
	struct json_writer w = json_writer(&json);

	if (!store_answers(rq->api->store)) {
		refuse(rq->conn, 503, CODE_STORAGE, "the database does not answer", NULL);
		return;
	}
	json_open_object(&w);
	put_text(&w, "status", rq->api->failing ? "read-only" : "ok");
	put_text(&w, "version", ONLYONCE_VERSION);
	json_key(&w, "paused");
	json_put_bool(&w, rq->api->paused);
	json_close(&w);
	answer_json(rq->conn, 200, &json, NULL);
	buf_free(&json);
}

/* Agents. */

static void next_command(struct request *rq)
{
	struct param q[] = { { "agentId", NULL }, { "journalId", NULL }, { "bootId", NULL }, { "waitMs", NULL }, { "leaseMs", NULL } };
	struct claim_poll p;
	struct faults faults = {0};

	if (!read_query(rq, q, 5))
		return;
	p.who = read_who(q[0].value, q[1].value, q[2].value, &faults);
	p.wait_ms = int_param(&q[3], 0, INT64_MAX, 0, &faults);
	p.lease_ms = int_param(&q[4], 1, LEASE_MS_MAX, 0, &faults);
	if (faults.count) {
		answer_faults(rq, 400, &faults);
		return;
	}
	if (p.who.journal_id || p.lease_ms < rq->api->set.lease_ms)
		p.lease_ms = 0;
	claim_ask(rq->api->claim, rq->conn, &p);
}

enum { M_AGENT, M_JOURNAL, M_BOOT, M_ATTEMPT, M_STATUS, M_RESULT, M_ERROR, M_FAILURE, M_COUNT };

static bool left_out(const struct member *m) { return !m->given || m->value.type == JSON_NULL; }

static void read_report(struct request *rq, struct member *m, struct report_in *in, struct faults *faults)
{
	const char *status = member_text(rq, &m[M_STATUS], 32, faults), *failure = member_text(rq, &m[M_FAILURE], 64, faults);
	int report = status ? report_read(status, strlen(status)) : -1, code = failure ? failure_read(failure, strlen(failure)) : FAILURE_NONE;

	in->who = read_who(member_text(rq, &m[M_AGENT], 1024, faults), member_text(rq, &m[M_JOURNAL], 1024, faults), member_text(rq, &m[M_BOOT], 1024, faults), faults);
	if (!left_out(&m[M_ATTEMPT]) && (!json_int(&m[M_ATTEMPT].value, &in->attempt) || in->attempt < 1 || in->attempt > COMMAND_ATTEMPT_MAX))
		fault(faults, "attempt", "must be a whole number from 1 to 1000000000");
	if (left_out(&m[M_ATTEMPT]) && in->who.journal_id)
		fault(faults, "attempt", "is missing: only an agent without a log may leave it out");
	if (report < 0)
		fault(faults, "status", left_out(&m[M_STATUS]) ? "is missing" : "must be one of RUNNING, COMPLETED, FAILED, INTERRUPTED, NOT_STARTED");
	if (code < 0 || (code != FAILURE_NONE && !failure_by_agent((enum failure)code)))
		fault(faults, "failureCode", "must be one of EXECUTION_FAILED, TIMEOUT, CANCELLED");
	in->error = member_text(rq, &m[M_ERROR], COMMAND_ERROR_MAX, faults);
	in->report = (enum report)(report < 0 ? 0 : report);
	in->failure = (enum failure)(code < 0 ? 0 : code);
	if (!left_out(&m[M_RESULT])) {
		in->result = m[M_RESULT].value.text;
		in->result_len = m[M_RESULT].value.len;
	}
}

static void answer_report(struct request *rq, enum recover_answer answer, const struct command *c)
{
	switch (answer) {
	case RECOVER_OK:
		answer_command(rq->conn, 200, c, 0, NULL);
		return;
	case RECOVER_STALE_ATTEMPT:
		conflict(rq, CODE_STALE_ATTEMPT, "the report is overruled by a newer attempt or a stronger record", c);
		return;
	case RECOVER_NOT_HOLDER:
		conflict(rq, CODE_NOT_HOLDER, "this agent does not hold the command", c);
		return;
	case RECOVER_ALREADY_SETTLED:
		conflict(rq, CODE_ALREADY_SETTLED, "the command is settled", c);
		return;
	}
}

static void patch_command(struct request *rq)
{
	struct member m[M_COUNT] = { { "agentId", {0}, false }, { "journalId", {0}, false }, { "bootId", {0}, false }, { "attempt", {0}, false },
		{ "status", {0}, false }, { "result", {0}, false }, { "error", {0}, false }, { "failureCode", {0}, false } };
	struct report_in in = {0};
	struct faults faults = {0};
	struct command c;
	enum recover_answer answer;
	bool renew;

	if (!read_members(rq, m, M_COUNT, false, &faults))
		return;
	read_report(rq, m, &in, &faults);
	if (faults.count) {
		answer_faults(rq, 422, &faults);
		return;
	}
	if (in.result_len > COMMAND_RESULT_MAX) {
		refuse(rq->conn, 413, CODE_TOO_LARGE, "a result may be 1 MiB", NULL);
		return;
	}
	if (!named_command(rq, &c))
		return;
	answer = recover_report(rq->api->store, &c, &in, wall(rq), &renew);
	dispatch_note(rq->api->dispatch, &c);
	if (renew)
		dispatch_renew(rq->api->dispatch, &c);
	claim_hear(rq->api->claim, &in.who);
	answer_report(rq, answer, &c);
}

/* Operators. */

static int action_read(const char *text)
{
	static const char *const actions[] = { [RESOLVE_RETRY] = "RETRY", [RESOLVE_COMPLETE] = "COMPLETE", [RESOLVE_FAIL] = "FAIL" };

	for (int i = 0; i < 3; i++)
		if (text && strcmp(text, actions[i]) == 0)
			return i;
	return -1;
}

static void resolve_command(struct request *rq)
{
	struct member m[] = { { "action", {0}, false }, { "note", {0}, false }, { "result", {0}, false } };
	struct faults faults = {0};
	struct command c;
	const char *note;
	int action;

	if (!read_members(rq, m, 3, true, &faults))
		return;
	action = action_read(member_text(rq, &m[0], 32, &faults));
	note = member_text(rq, &m[1], COMMAND_ERROR_MAX, &faults);
	if (action < 0)
		fault(&faults, "action", m[0].given ? "must be one of RETRY, COMPLETE, FAIL" : "is missing");
	if (!left_out(&m[2]) && action != RESOLVE_COMPLETE)
		fault(&faults, "result", "goes with COMPLETE only");
	if (faults.count) {
		answer_faults(rq, 422, &faults);
		return;
	}
	if (m[2].value.len > COMMAND_RESULT_MAX) {
		refuse(rq->conn, 413, CODE_TOO_LARGE, "a result may be 1 MiB", NULL);
		return;
	}
	if (!named_command(rq, &c))
		return;
	switch (recover_resolve(rq->api->store, &c, (enum resolve_action)action, note, left_out(&m[2]) ? NULL : m[2].value.text, m[2].value.len, wall(rq))) {
	case RESOLVE_OK:
		dispatch_note(rq->api->dispatch, &c);
		answer_command(rq->conn, 200, &c, 0, NULL);
		return;
	case RESOLVE_NOT_FAILED:
		conflict(rq, CODE_NOT_FAILED, "only a FAILED command can be resolved", &c);
		return;
	case RESOLVE_SETTLED:
		conflict(rq, CODE_ALREADY_SETTLED, "the command is settled: only RETRY may touch it", &c);
		return;
	}
}

static void cancel_command(struct request *rq)
{
	struct command c;

	if (!named_command(rq, &c))
		return;
	switch (recover_cancel(rq->api->store, &c, wall(rq))) {
	case CANCEL_DONE:
		dispatch_note(rq->api->dispatch, &c);
		answer_command(rq->conn, 200, &c, 0, NULL);
		return;
	case CANCEL_ASKED:
		answer_command(rq->conn, 202, &c, 0, NULL);
		return;
	case CANCEL_TOO_LATE:
		conflict(rq, CODE_ALREADY_SETTLED, c.needs_review ? "the command is in review: resolve it instead" : "the command is settled", &c);
		return;
	}
}

/* The turn. */

static void take_request(void *arg, struct conn *c, const struct http_head *head, const char *body, size_t body_len)
{
	struct request rq = { arg, c, head, {0}, body, body_len };
	const struct route *r = find_route(head, &rq.id, NULL);

	must(r);
	if (!r->query && !read_query(&rq, NULL, 0))
		return;
	if (r->writes)
		db_begin(store_db(rq.api->store));
	r->handle(&rq);
}

static void lease_ended(void *arg, int64_t row)
{
	struct api *api = arg;
	struct command c;
	char id[ID_TEXT];

	db_begin(store_db(api->store));
	if (!store_get(api->store, row, &c) || c.status != STATUS_RUNNING)
		return;
	recover_silent(api->store, &c, api->env->wall_ms(api->env->world));
	dispatch_note(api->dispatch, &c);
	store_id(&c, id);
	env_log(api->env, "lease ended", "command %s, attempt %lld, agent %s: now %s%s", id, (long long)c.attempt, c.agent_id, status_text(c.status), c.needs_review ? ", needs review" : "");
}

static void commit_failed(struct api *api)
{
	struct problem p = { 503, CODE_STORAGE, "no room to write: nothing of this request was kept", NULL, NULL, 0, NULL };
	struct http_reply reply = { 503, "application/problem+json", "Retry-After: 1\r\n", NULL, 0, false };
	struct buf body = {0};

	if (!api->failing)
		env_log(api->env, "storage", "the database cannot be written (no room, or read-only): changes are answered with 503 until it can");
	problem_json(&p, &body);
	reply.body = body.data;
	reply.body_len = body.len;
	conns_refuse_held(api->conns, &reply);
	buf_free(&body);
	dispatch_load(api->dispatch);
	claim_load(api->claim);
	api->failing = true;
}

/* Commit before answering (G1): here, and nowhere else. */
static void turn_end(void *arg)
{
	struct api *api = arg;
	struct db *db = store_db(api->store);
	bool changed;

	claim_match(api->claim);
	changed = db_within(db);
	if (db_commit(db) != DB_OK)
		commit_failed(api);
	else if (changed && api->failing) {
		api->failing = false;
		env_log(api->env, "storage", "the database can be written again");
	}
	conns_release(api->conns);
	store_forget(api->store);
	db_checkpoint(db);
}

static void peer_gone(void *arg, struct conn *c) { claim_gone(((struct api *)arg)->claim, c); }

static void refuse_early(void *arg, int status, const char *why, struct buf *body, struct http_reply *reply)
{
	struct problem p = { status, code_of(status), why, NULL, NULL, 0, NULL };

	(void)arg;
	problem_json(&p, body);
	reply->type = "application/problem+json";
}

/* Making and ending. */

/* Each start on a paused database is a restore of its own to the agents, with a name of its own: the same copy may be put back a second time, and what it
 * was told after the first went with it. */
static void pause_claims(struct api *api)
{
	unsigned char random[8];
	char name[2 * sizeof random + 1];

	api->env->random(api->env->world, random, sizeof random);
	hex_text(random, sizeof random, name);
	claim_pause(api->claim, name);
}

struct api *api_new(struct loop *loop, const struct env *env, struct store *store, const struct api_settings *set)
{
	struct api *api = mem_new(sizeof *api);
	struct conns_limits limits = { BODY_MAX, BODIES_MAX, ANSWERS_MAX, set->connections, 10 * SECONDS, 30 * SECONDS, 30 * SECONDS, 60 * SECONDS, COMMON_FIELDS };
	struct conns_hooks hooks = { api, check_head, take_request, peer_gone, refuse_early };
	const char *mark;

	api->loop = loop;
	api->env = env;
	api->store = store;
	api->set = *set;
	api->paused = store_fact(store, "paused", &mark);
	api->dispatch = dispatch_new(loop, env, store, set->lease_ms, lease_ended, api);
	api->claim = claim_new(loop, env, store, api->dispatch, set->lease_ms);
	if (api->paused)
		pause_claims(api);
	api->conns = conns_new(loop, env, &limits, &hooks);
	loop_after(loop, turn_end, api);
	return api;
}

bool api_listen(struct api *api, const struct sockaddr *addr, socklen_t len, struct sockaddr_storage *bound, socklen_t *bound_len)
{
	return conns_listen(api->conns, addr, len, bound, bound_len);
}

void api_stop(struct api *api)
{
	claim_stop(api->claim);
	conns_stop(api->conns);
	loop_again(api->loop);
}

int api_connections(const struct api *api) { return conns_count(api->conns); }
bool api_paused(const struct api *api) { return api->paused; }

void api_resume(struct api *api)
{
	if (!api->paused)
		return;
	db_begin(store_db(api->store));
	store_fact_put(api->store, "paused", NULL);
	api->paused = false;
	claim_pause(api->claim, NULL);
	env_log(api->env, "resumed", "commands are handed out again");
	loop_again(api->loop);
}

void api_free(struct api *api)
{
	if (!api)
		return;
	conns_free(api->conns);
	claim_free(api->claim);
	dispatch_free(api->dispatch);
	store_close(api->store);
	free(api);
}
