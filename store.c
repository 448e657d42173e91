/* store: the server's tables (migrations/server). One function a step of the caller's transaction; the only file with the server's SQL.
 * It keeps no decision, an arena for what one turn hands out (strings there live until store_forget), and the rows it wrote lately as it wrote
 * them, so that the next step of a command need not read: nobody else writes this file (db: D1), and what was rolled back is forgotten.
 * The plain path (insert, hand out, settle) is one statement each; payloads over PAYLOAD_APART bytes stand in a table of their own,
 * so that a change of state does not write them again. */
#include "store.h"
#include <stdlib.h>
#include <string.h>

#define PAYLOAD_APART 1024
#define ARENA_CHUNK 65536
#define EVENTS_MAX 1000
#define RECENT 512
#define RECENT_BYTES 2048              /* texts of a row that is worth it */
#define TEXTS 6

struct chunk { struct chunk *next; size_t used, size; };
struct recent { struct command c; struct buf text; };         /* c.row 0: none */
struct text { const char **p; size_t n; };                     /* one of a command's */
struct store { struct db *db; struct chunk *chunks; struct recent recent[RECENT]; long undone; };

/* Opening, closing, the arena. */

static struct store *wrap(struct db *db)
{
	struct store *s;

	if (!db)
		return NULL;
	s = mem_new(sizeof *s);
	s->db = db;
	return s;
}

struct store *store_open(const struct env *env, const char *path, struct buf *err)
{
	return wrap(db_open(env, path, db_server_migrations, err));
}

struct store *store_open_reader(const struct env *env, const char *path, struct buf *err)
{
	return wrap(db_open_reader(env, path, db_server_migrations, err));
}

struct db *store_db(struct store *s) { return s->db; }

void *store_room(struct store *s, size_t n)
{
	size_t need = (n + 15) & ~(size_t)15, head = (sizeof(struct chunk) + 15) & ~(size_t)15;
	struct chunk *c = s->chunks;

	if (!c || c->size - c->used < need) {
		size_t size = head + (need > ARENA_CHUNK ? need : ARENA_CHUNK);
		c = mem_new(size);
		c->size = size;
		c->used = head;
		c->next = s->chunks;
		s->chunks = c;
	}
	c->used += need;
	return memset((char *)c + c->used - need, 0, need);
}

const char *store_keep(struct store *s, const char *p, size_t n)
{
	char *copy;

	if (!p)
		return NULL;
	copy = store_room(s, n + 1);
	memcpy(copy, p, n);
	return copy;
}

/* Keeps the oldest chunk, which is of the usual size, for the next turn. */
void store_forget(struct store *s)
{
	while (s->chunks && (s->chunks->next || s->chunks->size > 2 * ARENA_CHUNK)) {
		struct chunk *c = s->chunks;
		s->chunks = c->next;
		free(c);
	}
	if (s->chunks)
		s->chunks->used = (sizeof(struct chunk) + 15) & ~(size_t)15;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	store_forget(s);
	if (s->chunks)
		free(s->chunks);
	for (int i = 0; i < RECENT; i++)
		buf_free(&s->recent[i].text);
	db_close(s->db);
	free(s);
}

static const char *column(struct store *s, sqlite3_stmt *q, int at)
{
	return store_keep(s, (const char *)sqlite3_column_text(q, at), (size_t)sqlite3_column_bytes(q, at));
}

static int word(sqlite3_stmt *q, int at, int (*read)(const char *, size_t))
{
	const char *p = (const char *)sqlite3_column_text(q, at);

	return p ? read(p, (size_t)sqlite3_column_bytes(q, at)) : -1;
}

static void bind_instant(sqlite3_stmt *q, int at, int64_t ms)
{
	db_bind_null_or_int(q, at, ms == 0, ms);
}

/* Rows written lately. */

static void texts_of(struct command *c, struct text t[TEXTS])
{
	const char **plain[] = { &c->agent_id, &c->journal_id, &c->boot_id, &c->error };

	for (int i = 0; i < 4; i++)
		t[i] = (struct text){ plain[i], *plain[i] ? strlen(*plain[i]) : 0 };
	t[4] = (struct text){ &c->payload, c->payload_len };
	t[5] = (struct text){ &c->result, c->result_len };
}

static void recent_put(struct store *s, const struct command *c)
{
	struct recent *r = &s->recent[c->row % RECENT];
	struct text t[TEXTS];
	size_t bytes = 0;

	r->c = *c;
	texts_of(&r->c, t);
	for (int i = 0; i < TEXTS; i++)
		bytes += t[i].n + 1;
	if (bytes > RECENT_BYTES) {
		r->c.row = 0;
		return;
	}
	buf_clear(&r->text);
	buf_room(&r->text, bytes);                                 /* so that it does not move while it is filled */
	for (int i = 0; i < TEXTS; i++) {
		const char *at = r->text.data + r->text.len;
		if (!*t[i].p)
			continue;
		buf_add(&r->text, *t[i].p, t[i].n);
		buf_char(&r->text, '\0');
		*t[i].p = at;
	}
}

static void recent_forget(struct store *s)
{
	for (int i = 0; i < RECENT; i++)
		s->recent[i].c.row = 0;
	s->undone = db_undone(s->db);
}

static bool recent_get(struct store *s, int64_t row, struct command *out)
{
	struct recent *r = &s->recent[row % RECENT];
	struct text t[TEXTS];

	if (s->undone != db_undone(s->db))
		recent_forget(s);
	if (row == 0 || r->c.row != row)
		return false;
	*out = r->c;
	texts_of(out, t);
	for (int i = 0; i < TEXTS; i++)
		*t[i].p = store_keep(s, *t[i].p, t[i].n);
	return true;
}

/* Commands. */

#define SELECT_COMMAND "SELECT row, nonce, created_at, type, is_idempotent, status, attempt, max_attempts, not_started, redelivered, evidence, agent_id, " \
	"journal_id, boot_id, lease_ms, failure_code, needs_review, cancel_requested, started_at, finished_at, updated_at, payload, result, error FROM commands "

static void read_payload(struct store *s, struct command *c)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT payload FROM payloads WHERE row = ?1");

	db_bind_int(q, 1, c->row);
	if (db_step(s->db, q) == SQLITE_ROW) {
		c->payload = column(s, q, 0);
		c->payload_len = (size_t)sqlite3_column_bytes(q, 0);
	}
	sqlite3_reset(q);
}

static void read_command(struct store *s, sqlite3_stmt *q, struct command *c)
{
	int failure;

	memset(c, 0, sizeof *c);
	c->row = sqlite3_column_int64(q, 0);
	c->nonce = sqlite3_column_int64(q, 1);
	c->created_at = sqlite3_column_int64(q, 2);
	c->type = (enum type)word(q, 3, type_read);
	c->is_idempotent = sqlite3_column_int(q, 4) != 0;
	c->status = (enum status)word(q, 5, status_read);
	c->attempt = sqlite3_column_int64(q, 6);
	c->max_attempts = sqlite3_column_int64(q, 7);
	c->not_started = sqlite3_column_int64(q, 8);
	c->redelivered = sqlite3_column_int64(q, 9);
	c->held = (enum held)sqlite3_column_int(q, 10);
	c->agent_id = column(s, q, 11);
	c->journal_id = column(s, q, 12);
	c->boot_id = column(s, q, 13);
	c->lease_ms = sqlite3_column_int64(q, 14);
	failure = word(q, 15, failure_read);
	c->failure = failure < 0 ? FAILURE_NONE : (enum failure)failure;
	c->needs_review = sqlite3_column_int(q, 16) != 0;
	c->cancel_requested = sqlite3_column_int(q, 17) != 0;
	c->started_at = sqlite3_column_int64(q, 18);
	c->finished_at = sqlite3_column_int64(q, 19);
	c->updated_at = sqlite3_column_int64(q, 20);
	c->payload = column(s, q, 21);
	c->payload_len = (size_t)sqlite3_column_bytes(q, 21);
	c->result = column(s, q, 22);
	c->result_len = (size_t)sqlite3_column_bytes(q, 22);
	c->error = column(s, q, 23);
	must((int)c->type >= 0 && (int)c->status >= 0);
}

void store_insert(struct store *s, struct command *c)
{
	bool apart = c->payload_len > PAYLOAD_APART;
	sqlite3_stmt *q = db_sql(s->db, "INSERT INTO commands (nonce, created_at, type, is_idempotent, status, attempt, max_attempts, not_started, redelivered, "
		"evidence, needs_review, cancel_requested, updated_at, payload) VALUES (?1, ?2, ?3, ?4, 'PENDING', 0, ?5, 0, 0, 0, 0, 0, ?2, ?6)");

	db_bind_int(q, 1, c->nonce);
	db_bind_int(q, 2, c->created_at);
	db_bind_text(q, 3, type_text(c->type));
	db_bind_int(q, 4, c->is_idempotent);
	db_bind_int(q, 5, c->max_attempts);
	db_bind_bytes(q, 6, apart ? NULL : c->payload, c->payload_len);
	db_run(s->db, q);
	c->row = sqlite3_last_insert_rowid(db_handle(s->db));
	c->status = STATUS_PENDING;
	c->updated_at = c->created_at;
	recent_put(s, c);
	if (!apart)
		return;
	q = db_sql(s->db, "INSERT INTO payloads (row, payload) VALUES (?1, ?2)");
	db_bind_int(q, 1, c->row);
	db_bind_bytes(q, 2, c->payload, c->payload_len);
	db_run(s->db, q);
}

bool store_get(struct store *s, int64_t row, struct command *out)
{
	sqlite3_stmt *q;
	bool found;

	if (recent_get(s, row, out))
		return true;
	q = db_sql(s->db, SELECT_COMMAND "WHERE row = ?1");
	db_bind_int(q, 1, row);
	found = db_step(s->db, q) == SQLITE_ROW;
	if (found)
		read_command(s, q, out);
	sqlite3_reset(q);
	if (found && !out->payload)
		read_payload(s, out);
	return found;
}

/* The row number inside an id finds the command; nonce and instant tell whether it is the one meant: a put-back database reuses numbers. */
bool store_find(struct store *s, const char *id, size_t len, struct command *out)
{
	int64_t row, nonce, created_at;

	return id_parse(id, len, &row, &nonce, &created_at) && store_get(s, row, out) && out->nonce == nonce && out->created_at == created_at;
}

void store_save(struct store *s, const struct command *c)
{
	sqlite3_stmt *q = db_sql(s->db, "UPDATE commands SET status = ?2, attempt = ?3, max_attempts = ?4, not_started = ?5, redelivered = ?6, evidence = ?7, "
		"agent_id = ?8, journal_id = ?9, boot_id = ?10, lease_ms = ?11, failure_code = ?12, needs_review = ?13, cancel_requested = ?14, "
		"started_at = ?15, finished_at = ?16, updated_at = ?17, result = ?18, error = ?19 WHERE row = ?1");

	db_bind_int(q, 1, c->row);
	db_bind_text(q, 2, status_text(c->status));
	db_bind_int(q, 3, c->attempt);
	db_bind_int(q, 4, c->max_attempts);
	db_bind_int(q, 5, c->not_started);
	db_bind_int(q, 6, c->redelivered);
	db_bind_int(q, 7, c->held);
	db_bind_text(q, 8, c->agent_id);
	db_bind_text(q, 9, c->journal_id);
	db_bind_text(q, 10, c->boot_id);
	db_bind_null_or_int(q, 11, c->lease_ms == 0, c->lease_ms);
	db_bind_text(q, 12, failure_text(c->failure));
	db_bind_int(q, 13, c->needs_review);
	db_bind_int(q, 14, c->cancel_requested);
	bind_instant(q, 15, c->started_at);
	bind_instant(q, 16, c->finished_at);
	bind_instant(q, 17, c->updated_at);
	db_bind_bytes(q, 18, c->result, c->result_len);
	db_bind_text(q, 19, c->error);
	db_run(s->db, q);
	recent_put(s, c);
}

void store_id(const struct command *c, char out[ID_TEXT])
{
	id_text(c->row, c->nonce, c->created_at, out);
}

bool store_key(struct store *s, const char *key, struct command *out, int64_t *max_attempts)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT row, max_attempts FROM idempotency_keys WHERE key = ?1");
	int64_t row = 0;

	db_bind_text(q, 1, key);
	if (db_step(s->db, q) == SQLITE_ROW) {
		row = sqlite3_column_int64(q, 0);
		*max_attempts = sqlite3_column_int64(q, 1);
	}
	sqlite3_reset(q);
	return row != 0 && store_get(s, row, out);
}

void store_key_add(struct store *s, const char *key, const struct command *c)
{
	sqlite3_stmt *q = db_sql(s->db, "INSERT INTO idempotency_keys (key, row, max_attempts) VALUES (?1, ?2, ?3)");

	db_bind_text(q, 1, key);
	db_bind_int(q, 2, c->row);
	db_bind_int(q, 3, c->max_attempts);
	db_run(s->db, q);
}

/* Row numbers. */

static int rows_of(struct store *s, sqlite3_stmt *q, int64_t *rows, int max)
{
	int n = 0;

	while (n < max && db_step(s->db, q) == SQLITE_ROW)
		rows[n++] = sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	return n;
}

int store_pending(struct store *s, int64_t after_row, int64_t *rows, int max)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT row FROM commands INDEXED BY commands_pending WHERE status = 'PENDING' AND row > ?1 ORDER BY row");

	db_bind_int(q, 1, after_row);
	return rows_of(s, q, rows, max);
}

int store_held(struct store *s, const char *agent_id, int64_t *rows, int max)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT row FROM commands INDEXED BY commands_running WHERE status = 'RUNNING' AND agent_id = ?1 ORDER BY row");

	db_bind_text(q, 1, agent_id);
	return rows_of(s, q, rows, max);
}

int store_lost(struct store *s, const char *agent_id, int64_t *rows, int max)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT row FROM commands INDEXED BY commands_lost WHERE needs_review = 1 AND failure_code = 'AGENT_LOST' "
		"AND agent_id = ?1 ORDER BY row");

	db_bind_text(q, 1, agent_id);
	return rows_of(s, q, rows, max);
}

void store_running(struct store *s, store_running_each *each, void *arg)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT row, lease_ms, journal_id, boot_id FROM commands INDEXED BY commands_running WHERE status = 'RUNNING'");

	while (db_step(s->db, q) == SQLITE_ROW)
		each(arg, sqlite3_column_int64(q, 0), sqlite3_column_int64(q, 1), (const char *)sqlite3_column_text(q, 2), (const char *)sqlite3_column_text(q, 3));
	sqlite3_reset(q);
}

/* Lists. */

/* The narrowest way to the rows a filter may hold, newest first; which of them match is judged row by row. */
static sqlite3_stmt *path_of(struct store *s, const struct store_filter *f)
{
#define LIST "SELECT row, status, type, agent_id, needs_review FROM commands "
	if (f->needs_review == 1)
		return db_sql(s->db, LIST "INDEXED BY commands_review WHERE needs_review = 1 AND row < ?1 ORDER BY row DESC");
	switch (f->status) {
	case STATUS_PENDING:
		return db_sql(s->db, LIST "INDEXED BY commands_pending WHERE status = 'PENDING' AND row < ?1 ORDER BY row DESC");
	case STATUS_RUNNING:
		return db_sql(s->db, LIST "INDEXED BY commands_running WHERE status = 'RUNNING' AND row < ?1 ORDER BY row DESC");
	case STATUS_FAILED:
		return db_sql(s->db, LIST "INDEXED BY commands_failed WHERE status = 'FAILED' AND row < ?1 ORDER BY row DESC");
	default:
		return db_sql(s->db, LIST "WHERE row < ?1 ORDER BY row DESC");
	}
#undef LIST
}

static bool matches(sqlite3_stmt *q, const struct store_filter *f)
{
	const char *agent = (const char *)sqlite3_column_text(q, 3);

	if (f->status >= 0 && word(q, 1, status_read) != f->status)
		return false;
	if (f->type >= 0 && word(q, 2, type_read) != f->type)
		return false;
	if (f->needs_review >= 0 && sqlite3_column_int(q, 4) != f->needs_review)
		return false;
	return !f->agent_id || (agent && strcmp(agent, f->agent_id) == 0);
}

int64_t store_list(struct store *s, const struct store_filter *f, store_each *each, void *arg)
{
	sqlite3_stmt *q = path_of(s, f);
	int64_t row, last = 0;
	struct command c;
	int found = 0, seen = 0;
	bool more = false;

	db_bind_int(q, 1, f->before);
	while (db_step(s->db, q) == SQLITE_ROW) {
		bool match = matches(q, f);
		row = sqlite3_column_int64(q, 0);
		if ((match && found == f->limit) || seen == STORE_SCAN_MAX) {
			more = true;
			break;
		}
		seen++;
		last = row;
		if (!match || !store_get(s, row, &c))
			continue;
		found++;
		if (!each(arg, &c)) {
			more = true;
			break;
		}
	}
	sqlite3_reset(q);
	return more ? last : 0;
}

void store_walk(struct store *s, store_each *each, void *arg)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT row FROM commands ORDER BY row");
	struct command c;

	while (db_step(s->db, q) == SQLITE_ROW)
		if (store_get(s, sqlite3_column_int64(q, 0), &c) && !each(arg, &c))
			break;
	sqlite3_reset(q);
}

void store_snapshot(struct store *s)
{
	if (!sqlite3_get_autocommit(db_handle(s->db)))
		db_run(s->db, db_sql(s->db, "COMMIT"));
	db_run(s->db, db_sql(s->db, "BEGIN"));
	store_answers(s);
}

/* Events. */

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* A peer that repeats itself for ever fills no disk. */
static bool repeats(struct store *s, int64_t row, const struct event *e)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT kind, actor, attempt, evidence FROM events WHERE row = ?1 ORDER BY event DESC LIMIT 1");
	bool same;

	db_bind_int(q, 1, row);
	same = db_step(s->db, q) == SQLITE_ROW && same_text((const char *)sqlite3_column_text(q, 0), e->kind)
		&& same_text((const char *)sqlite3_column_text(q, 1), e->actor) && sqlite3_column_int64(q, 2) == e->attempt
		&& same_text((const char *)sqlite3_column_text(q, 3), e->evidence);
	sqlite3_reset(q);
	return same;
}

void store_event_add(struct store *s, int64_t row, const struct event *e)
{
	sqlite3_stmt *q;

	if (repeats(s, row, e))
		return;
	q = db_sql(s->db, "INSERT INTO events (row, at, kind, actor, attempt, evidence, verdict, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
	db_bind_int(q, 1, row);
	db_bind_int(q, 2, e->at);
	db_bind_text(q, 3, e->kind);
	db_bind_text(q, 4, e->actor);
	db_bind_int(q, 5, e->attempt);
	db_bind_text(q, 6, e->evidence);
	db_bind_text(q, 7, e->verdict);
	db_bind_text(q, 8, e->detail);
	db_run(s->db, q);
}

void store_events(struct store *s, int64_t row, store_event_each *each, void *arg)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT at, kind, actor, attempt, evidence, verdict, detail FROM "
		"(SELECT * FROM events WHERE row = ?1 ORDER BY event DESC LIMIT ?2) ORDER BY event");

	db_bind_int(q, 1, row);
	db_bind_int(q, 2, EVENTS_MAX);
	while (db_step(s->db, q) == SQLITE_ROW) {
		struct event e = { sqlite3_column_int64(q, 0), column(s, q, 1), column(s, q, 2), sqlite3_column_int64(q, 3), column(s, q, 4), column(s, q, 5), column(s, q, 6) };
		each(arg, &e);
	}
	sqlite3_reset(q);
}

/* Agents and journals. */

static struct agent_row read_agent(struct store *s, sqlite3_stmt *q)
{
	struct agent_row a = { column(s, q, 0), column(s, q, 1), column(s, q, 2), sqlite3_column_int64(q, 3) };

	return a;
}

bool store_agent(struct store *s, const char *agent_id, struct agent_row *out)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT agent_id, journal_id, boot_id, last_seen_at FROM agents WHERE agent_id = ?1");
	bool found;

	db_bind_text(q, 1, agent_id);
	found = db_step(s->db, q) == SQLITE_ROW;
	if (found)
		*out = read_agent(s, q);
	sqlite3_reset(q);
	return found;
}

void store_agent_put(struct store *s, const struct agent_row *a)
{
	sqlite3_stmt *q = db_sql(s->db, "INSERT INTO agents (agent_id, journal_id, boot_id, last_seen_at) VALUES (?1, ?2, ?3, ?4) "
		"ON CONFLICT (agent_id) DO UPDATE SET journal_id = ?2, boot_id = ?3, last_seen_at = ?4");

	db_bind_text(q, 1, a->agent_id);
	db_bind_text(q, 2, a->journal_id);
	db_bind_text(q, 3, a->boot_id);
	db_bind_int(q, 4, a->last_seen_at);
	db_run(s->db, q);
}

void store_agents(struct store *s, int64_t limit, store_agent_each *each, void *arg)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT agent_id, journal_id, boot_id, last_seen_at FROM agents ORDER BY agent_id LIMIT ?1");

	db_bind_int(q, 1, limit);
	while (db_step(s->db, q) == SQLITE_ROW) {
		struct agent_row a = read_agent(s, q);
		each(arg, &a);
	}
	sqlite3_reset(q);
}

bool store_journal(struct store *s, const char *journal_id, int64_t *boot, const char **boot_id)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT boot, boot_id FROM journals WHERE journal_id = ?1");
	bool found;

	db_bind_text(q, 1, journal_id);
	found = db_step(s->db, q) == SQLITE_ROW;
	if (found) {
		*boot = sqlite3_column_int64(q, 0);
		*boot_id = column(s, q, 1);
	}
	sqlite3_reset(q);
	return found;
}

void store_journal_put(struct store *s, const char *journal_id, int64_t boot, const char *boot_id)
{
	sqlite3_stmt *q = db_sql(s->db, "INSERT INTO journals (journal_id, boot, boot_id) VALUES (?1, ?2, ?3) "
		"ON CONFLICT (journal_id) DO UPDATE SET boot = ?2, boot_id = ?3");

	db_bind_text(q, 1, journal_id);
	db_bind_int(q, 2, boot);
	db_bind_text(q, 3, boot_id);
	db_run(s->db, q);
}

/* Facts. */

bool store_fact(struct store *s, const char *name, const char **value)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT value FROM facts WHERE name = ?1");
	bool found;

	db_bind_text(q, 1, name);
	found = db_step(s->db, q) == SQLITE_ROW;
	if (found)
		*value = column(s, q, 0);
	sqlite3_reset(q);
	return found;
}

void store_fact_put(struct store *s, const char *name, const char *value)
{
	sqlite3_stmt *q = value ? db_sql(s->db, "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2")
		: db_sql(s->db, "DELETE FROM facts WHERE name = ?1");

	db_bind_text(q, 1, name);
	if (value)
		db_bind_text(q, 2, value);
	db_run(s->db, q);
}

const char *store_pause_sql(void) { return "INSERT OR REPLACE INTO facts (name, value) VALUES ('paused', 'a copy')"; }

bool store_answers(struct store *s)
{
	sqlite3_stmt *q = db_sql(s->db, "SELECT count(*) FROM facts");
	bool row = db_step(s->db, q) == SQLITE_ROW;

	sqlite3_reset(q);
	return row;
}
