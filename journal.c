/* journal: the agent's write-ahead log over db (migrations/agent). The database is the truth; nothing of it is kept in memory but its names.
 * Changes gather in one transaction until journal_commit; a full disk undoes all of them together.
 *
 * An entry's states; each arrow names its function:
 *
 *   (none) --journal_start--> STARTED --journal_finish--> FINISHED
 *     |                          |
 *     +--journal_not_started-----+--journal_not_started--> NOT_STARTED
 *
 *   its answer: OPEN --journal_answered--> ANSWERED | ORPHAN --journal_prune--> (none)
 *                 ^--journal_give, journal_reopen--+
 *
 * What a kill leaves: STARTED without its end is INTERRUPTED at the next start; FINISHED or NOT_STARTED and OPEN is reported again. */
#include "journal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct journal {
	struct db *db;
	const struct env *env;
	char id[65], boot_id[32];
	int64_t boot;
	bool fenced;
	struct buf name;
	sqlite3_stmt *reading;             /* whose row the last entry handed out points into */
};

static const char *const states[] = { [JOURNAL_STARTED] = "STARTED", [JOURNAL_FINISHED] = "FINISHED", [JOURNAL_NOT_STARTED] = "NOT_STARTED" };
static const char *const answers[] = { [ANSWER_OPEN] = "OPEN", [ANSWER_ANSWERED] = "ANSWERED", [ANSWER_ORPHAN] = "ORPHAN" };

/* The entry handed out last is let go. */
static void let_go(struct journal *j)
{
	if (j->reading)
		sqlite3_reset(j->reading);
	j->reading = NULL;
}

static sqlite3_stmt *sql(struct journal *j, const char *text)
{
	let_go(j);
	return db_sql(j->db, text);
}

static sqlite3_stmt *change(struct journal *j, const char *text)
{
	let_go(j);
	db_begin(j->db);
	return db_sql(j->db, text);
}

/* A change of exactly one entry. */
static void change_one(struct journal *j, sqlite3_stmt *q)
{
	db_run(j->db, q);
	must(db_broken(j->db) || sqlite3_changes(db_handle(j->db)) == 1);
}

/* The next row. What cannot be read is not "nothing held": that answer would start a command again. Within a broken transaction nothing is kept anyway. */
static bool row(struct journal *j, sqlite3_stmt *q)
{
	bool found = db_step(j->db, q) == SQLITE_ROW;

	if (db_broken(j->db) && !db_within(j->db))
		env_fatal(j->env, "the journal cannot be read: %s", sqlite3_errmsg(db_handle(j->db)));
	return found;
}

static int64_t now_ms(const struct journal *j) { return j->env->wall_ms(j->env->world); }

/* Meta. */

static bool meta_get(struct journal *j, const char *name, struct buf *out)
{
	sqlite3_stmt *q = sql(j, "SELECT value FROM meta WHERE name = ?1");
	bool found;

	buf_clear(out);
	db_bind_text(q, 1, name);
	found = row(j, q);
	if (found)
		buf_str(out, (const char *)sqlite3_column_text(q, 0));
	sqlite3_reset(q);
	return found;
}

static void meta_put(struct journal *j, const char *name, const char *value)
{
	sqlite3_stmt *q = change(j, "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2");

	db_bind_text(q, 1, name);
	db_bind_text(q, 2, value);
	db_run(j->db, q);
}

/* Opening. */

static void make_id(struct journal *j)
{
	unsigned char random[16];

	j->env->random(j->env->world, random, sizeof random);
	hex_text(random, sizeof random, j->id);
	meta_put(j, "journal_id", j->id);
}

/* Raises the start counter, durably, before anybody hears of it: a lower one than the server knows is a journal put back. */
static bool boot(struct journal *j, struct buf *err)
{
	struct buf text = {0};
	unsigned char random[4];
	char digits[9];

	if (meta_get(j, "journal_id", &text))
		snprintf(j->id, sizeof j->id, "%s", text.data);
	else
		make_id(j);
	if (meta_get(j, "boot", &text) && !num_parse(text.data, text.len, 0, INT64_C(1) << 52, &j->boot)) {
		buf_fmt(err, "the journal's start counter is damaged: %s", text.data);
		buf_free(&text);
		return false;
	}
	j->boot++;
	buf_clear(&text);
	buf_fmt(&text, "%lld", (long long)j->boot);
	meta_put(j, "boot", text.data);
	j->env->random(j->env->world, random, sizeof random);
	hex_text(random, sizeof random, digits);
	snprintf(j->boot_id, sizeof j->boot_id, "%lld-%s", (long long)j->boot, digits);
	j->fenced = meta_get(j, "fenced", &text);
	buf_free(&text);
	if (journal_commit(j) == DB_OK)
		return true;
	buf_str(err, "there is no room for the journal's start counter");
	return false;
}

static struct journal *wrap(const struct env *env, struct db *db)
{
	struct journal *j;

	if (!db)
		return NULL;
	j = mem_new(sizeof *j);
	j->db = db;
	j->env = env;
	return j;
}

struct journal *journal_open(const struct env *env, const char *path, bool renew, struct buf *err)
{
	struct journal *j = !renew || db_set_aside(env, path, err) ? wrap(env, db_open(env, path, db_agent_migrations, err)) : NULL;

	if (j && !boot(j, err)) {
		journal_close(j);
		return NULL;
	}
	return j;
}

struct journal *journal_open_reader(const struct env *env, const char *path, struct buf *err)
{
	struct journal *j = wrap(env, db_open_reader(env, path, db_agent_migrations, err));
	struct buf text = {0};

	if (!j)
		return NULL;
	if (meta_get(j, "journal_id", &text))
		snprintf(j->id, sizeof j->id, "%s", text.data);
	j->fenced = meta_get(j, "fenced", &text);
	buf_free(&text);
	return j;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	buf_free(&j->name);
	db_close(j->db);
	free(j);
}

const char *journal_id(const struct journal *j) { return j->id; }
const char *journal_boot_id(const struct journal *j) { return j->boot_id; }
int64_t journal_boot(const struct journal *j) { return j->boot; }
bool journal_fenced(const struct journal *j) { return j->fenced; }

void journal_fence(struct journal *j)
{
	meta_put(j, "fenced", "1");
	j->fenced = true;
}

const char *journal_name(struct journal *j, const char *fallback)
{
	if (!meta_get(j, "name", &j->name)) {
		meta_put(j, "name", fallback);
		buf_clear(&j->name);
		buf_str(&j->name, fallback);
		journal_commit(j);
	}
	return j->name.data;
}

/* Reading. */

#define SELECT_ENTRY "SELECT command_id, attempt, agent_id, type, is_idempotent, state, answer, status, failure_code, result, error, boot, started_at, finished_at, " \
	"answered_at FROM entries "

static int word(sqlite3_stmt *q, int at, const char *const *table, int count)
{
	const char *text = (const char *)sqlite3_column_text(q, at);

	for (int i = 0; text && i < count; i++)
		if (strcmp(text, table[i]) == 0)
			return i;
	return 0;
}

static void read_entry(sqlite3_stmt *q, struct journal_entry *e)
{
	const char *status = (const char *)sqlite3_column_text(q, 7), *failure = (const char *)sqlite3_column_text(q, 8);
	int code = failure ? failure_read(failure, strlen(failure)) : FAILURE_NONE;

	memset(e, 0, sizeof *e);
	snprintf(e->id, sizeof e->id, "%s", (const char *)sqlite3_column_text(q, 0));
	e->attempt = sqlite3_column_int64(q, 1);
	e->agent_id = (const char *)sqlite3_column_text(q, 2);
	e->type = (const char *)sqlite3_column_text(q, 3);
	e->is_idempotent = sqlite3_column_int(q, 4) != 0;
	e->state = (enum journal_state)word(q, 5, states, 3);
	e->answer = (enum journal_answer)word(q, 6, answers, 3);
	e->completed = status && strcmp(status, "COMPLETED") == 0;
	e->failure = code < 0 ? FAILURE_EXECUTION_FAILED : (enum failure)code;
	e->result = (const char *)sqlite3_column_text(q, 9);
	e->result_len = (size_t)sqlite3_column_bytes(q, 9);
	e->error = (const char *)sqlite3_column_text(q, 10);
	e->boot = sqlite3_column_int64(q, 11);
	e->started_at = sqlite3_column_int64(q, 12);
	e->finished_at = sqlite3_column_int64(q, 13);
	e->answered_at = sqlite3_column_int64(q, 14);
}

/* The row stays current until the next call, so that its strings live. */
static bool one(struct journal *j, sqlite3_stmt *q, struct journal_entry *out)
{
	if (!row(j, q)) {
		sqlite3_reset(q);
		return false;
	}
	read_entry(q, out);
	j->reading = q;
	return true;
}

bool journal_highest(struct journal *j, const char *id, struct journal_entry *out)
{
	sqlite3_stmt *q = sql(j, SELECT_ENTRY "WHERE command_id = ?1 ORDER BY attempt DESC LIMIT 1");

	db_bind_text(q, 1, id);
	if (one(j, q, out))
		return true;
	if (db_broken(j->db))
		env_fatal(j->env, "the journal cannot be read after a change to it failed");
	return false;
}

bool journal_get(struct journal *j, const char *id, int64_t attempt, struct journal_entry *out)
{
	sqlite3_stmt *q = sql(j, SELECT_ENTRY "WHERE command_id = ?1 AND attempt = ?2");

	db_bind_text(q, 1, id);
	db_bind_int(q, 2, attempt);
	return one(j, q, out);
}

static void all(struct journal *j, sqlite3_stmt *q, journal_each *each, void *arg)
{
	struct journal_entry e;

	while (row(j, q)) {
		read_entry(q, &e);
		each(arg, &e);
	}
	sqlite3_reset(q);
}

void journal_open_entries(struct journal *j, journal_each *each, void *arg)
{
	all(j, sql(j, SELECT_ENTRY "INDEXED BY entries_open WHERE answer = 'OPEN' ORDER BY entry"), each, arg);
}

void journal_list(struct journal *j, int64_t limit, journal_each *each, void *arg)
{
	sqlite3_stmt *q = sql(j, SELECT_ENTRY "ORDER BY entry DESC LIMIT ?1");

	db_bind_int(q, 1, limit);
	all(j, q, each, arg);
}

/* Changes. */

static void bind_new(struct journal *j, sqlite3_stmt *q, const struct journal_entry *e)
{
	db_bind_text(q, 1, e->id);
	db_bind_int(q, 2, e->attempt);
	db_bind_text(q, 3, e->agent_id);
	db_bind_text(q, 4, e->type);
	db_bind_int(q, 5, e->is_idempotent);
	db_bind_int(q, 6, j->boot);
	db_bind_int(q, 7, now_ms(j));
}

void journal_start(struct journal *j, const struct journal_entry *e)
{
	struct journal_entry held;
	sqlite3_stmt *q;

	must(!journal_get(j, e->id, e->attempt, &held));
	q = change(j, "INSERT INTO entries (command_id, attempt, agent_id, type, is_idempotent, state, answer, boot, started_at) VALUES (?1, ?2, ?3, ?4, ?5, 'STARTED', 'OPEN', ?6, ?7)");
	bind_new(j, q, e);
	db_run(j->db, q);
}

void journal_not_started(struct journal *j, const struct journal_entry *e)
{
	sqlite3_stmt *q = change(j, "INSERT INTO entries (command_id, attempt, agent_id, type, is_idempotent, state, answer, boot, finished_at) "
		"VALUES (?1, ?2, ?3, ?4, ?5, 'NOT_STARTED', 'OPEN', ?6, ?7) ON CONFLICT (command_id, attempt) DO UPDATE SET state = 'NOT_STARTED', finished_at = ?7 "
		"WHERE state = 'STARTED' AND answer = 'OPEN'");

	bind_new(j, q, e);
	change_one(j, q);
}

void journal_finish(struct journal *j, const char *id, int64_t attempt, bool completed, enum failure failure, const char *result, size_t result_len, const char *error)
{
	sqlite3_stmt *q = change(j, "UPDATE entries SET state = 'FINISHED', status = ?3, failure_code = ?4, result = ?5, error = ?6, finished_at = ?7 "
		"WHERE command_id = ?1 AND attempt = ?2 AND state = 'STARTED'");

	db_bind_text(q, 1, id);
	db_bind_int(q, 2, attempt);
	db_bind_text(q, 3, completed ? "COMPLETED" : "FAILED");
	db_bind_text(q, 4, completed ? NULL : failure_text(failure));
	db_bind_bytes(q, 5, result, result_len);
	db_bind_text(q, 6, error);
	db_bind_int(q, 7, now_ms(j));
	change_one(j, q);
}

void journal_answered(struct journal *j, const char *id, int64_t attempt, enum journal_answer answer)
{
	sqlite3_stmt *q = change(j, "UPDATE entries SET answer = ?3, answered_at = ?4 WHERE command_id = ?1 AND attempt = ?2");

	db_bind_text(q, 1, id);
	db_bind_int(q, 2, attempt);
	db_bind_text(q, 3, answers[answer]);
	db_bind_int(q, 4, now_ms(j));
	change_one(j, q);
}

void journal_give(struct journal *j, const char *id, int64_t attempt, const char *agent_id)
{
	sqlite3_stmt *q = change(j, "UPDATE entries SET answer = 'OPEN', agent_id = ?3 WHERE command_id = ?1 AND attempt = ?2");

	db_bind_text(q, 1, id);
	db_bind_int(q, 2, attempt);
	db_bind_text(q, 3, agent_id);
	change_one(j, q);
}

bool journal_reopen(struct journal *j, const char *restore)
{
	struct buf last = {0};
	bool done = meta_get(j, "restore", &last) && strcmp(last.data, restore) == 0;

	buf_free(&last);
	if (done)
		return false;
	meta_put(j, "restore", restore);
	db_run(j->db, change(j, "UPDATE entries SET answer = 'OPEN' WHERE answer <> 'OPEN'"));
	return true;
}

/* Entries are written in order of time, so the search ends at the first one that is too young: no index is kept for it. A clock set back only delays. */
int64_t journal_prune(struct journal *j, int64_t before_ms)
{
	sqlite3_stmt *q = change(j, "DELETE FROM entries WHERE entry < IFNULL((SELECT entry FROM entries WHERE IFNULL(started_at, finished_at) >= ?1 ORDER BY entry LIMIT 1), ?2) "
		"AND answer <> 'OPEN' AND answered_at < ?1");

	db_bind_int(q, 1, before_ms);
	db_bind_int(q, 2, INT64_MAX);
	db_run(j->db, q);
	return db_broken(j->db) ? 0 : sqlite3_changes(db_handle(j->db));
}

bool journal_dirty(const struct journal *j) { return db_within(j->db) || db_broken(j->db); }

enum db_result journal_commit(struct journal *j)
{
	enum db_result result;

	let_go(j);
	result = db_commit(j->db);
	if (result == DB_OK)
		db_checkpoint(j->db);
	return result;
}
