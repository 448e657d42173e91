/* store: the server's tables. One function a step of a transaction; the only file with the server's SQL. Decides nothing: recover does.
 * What it hands out lives in the store's arena until store_forget, which the owner calls at the end of each turn. */
#ifndef STORE_H
#define STORE_H
#include "command.h"
#include "db.h"

/* The strongest report received for the latest attempt, durable, whatever was answered (G3): NONE and heartbeats < INTERRUPTED < FINISHED; NOT_STARTED excludes all. */
enum held { HELD_NONE, HELD_INTERRUPTED, HELD_COMPLETED, HELD_FAILED, HELD_NOT_STARTED };

struct command {
	int64_t row, nonce, created_at;                            /* row 0: not stored yet */
	enum type type;
	bool is_idempotent;
	enum status status;
	int64_t attempt, max_attempts, not_started, redelivered;
	enum held held;
	const char *agent_id, *journal_id, *boot_id;               /* the latest holder; NULL: none, or an agent without a log */
	int64_t lease_ms;                                          /* 0: the server's */
	enum failure failure;
	bool needs_review, cancel_requested;
	int64_t started_at, finished_at, updated_at;               /* wall ms; 0: none */
	const char *payload; size_t payload_len;                   /* JSON text as received */
	const char *result; size_t result_len;                     /* JSON text or NULL */
	const char *error;                                         /* or NULL */
};

struct store;
struct store *store_open(const struct env *, const char *path, struct buf *err);   /* NULL: *err is one line */
struct store *store_open_reader(const struct env *, const char *path, struct buf *err);
void store_close(struct store *);
struct db *store_db(struct store *);                           /* for transactions: db_begin, db_commit, db_rollback, db_broken */
void *store_room(struct store *, size_t n);                    /* n bytes of the arena, zeroed */
const char *store_keep(struct store *, const char *p, size_t n);   /* a NUL-terminated copy in the arena; p NULL stays NULL */
void store_forget(struct store *);

/* Commands. */
void store_insert(struct store *, struct command *);           /* a new one: sets row */
bool store_get(struct store *, int64_t row, struct command *out);
bool store_find(struct store *, const char *id, size_t len, struct command *out);
void store_save(struct store *, const struct command *);       /* all that may change, of a stored one */
void store_id(const struct command *, char out[ID_TEXT]);
bool store_key(struct store *, const char *key, struct command *out, int64_t *max_attempts);   /* max_attempts: as it was asked for */
void store_key_add(struct store *, const char *key, const struct command *);

/* Row numbers in rising order into rows[]; how many. */
int store_pending(struct store *, int64_t after_row, int64_t *rows, int max);
int store_held(struct store *, const char *agent_id, int64_t *rows, int max);      /* RUNNING with that agent */
int store_lost(struct store *, const char *agent_id, int64_t *rows, int max);      /* AGENT_LOST and in review */
typedef void store_running_each(void *arg, int64_t row, int64_t lease_ms, const char *journal_id, const char *boot_id);
void store_running(struct store *, store_running_each *, void *arg);

/* The newest first, rows below `before`; looks at no more than STORE_SCAN_MAX rows, so a page may be short: *next is where to go on, 0 at the end. */
#define STORE_SCAN_MAX 5000
struct store_filter { int status, type, needs_review; const char *agent_id; int64_t before; int limit; };   /* -1, NULL: any */
typedef bool store_each(void *arg, const struct command *);    /* false: the page is full */
int64_t store_list(struct store *, const struct store_filter *, store_each *, void *arg);

void store_walk(struct store *, store_each *, void *arg);      /* every command, oldest first; each may call store_forget */
void store_snapshot(struct store *);                           /* a reader: what is read from now on is of this instant, until the next call */

/* Events: the story of a command beyond the plain path. A repeat of the newest one is not written again. */
struct event { int64_t at; const char *kind, *actor; int64_t attempt; const char *evidence, *verdict, *detail; };
void store_event_add(struct store *, int64_t row, const struct event *);
typedef void store_event_each(void *arg, const struct event *);
void store_events(struct store *, int64_t row, store_event_each *, void *arg);

/* Agents and journals. boot_id and journal_id may be NULL: an agent without a log. */
struct agent_row { const char *agent_id, *journal_id, *boot_id; int64_t last_seen_at; };
bool store_agent(struct store *, const char *agent_id, struct agent_row *out);
void store_agent_put(struct store *, const struct agent_row *);
typedef void store_agent_each(void *arg, const struct agent_row *);
void store_agents(struct store *, int64_t limit, store_agent_each *, void *arg);
bool store_journal(struct store *, const char *journal_id, int64_t *boot, const char **boot_id);
void store_journal_put(struct store *, const char *journal_id, int64_t boot, const char *boot_id);

bool store_fact(struct store *, const char *name, const char **value);
void store_fact_put(struct store *, const char *name, const char *value);      /* NULL: takes it away */
const char *store_pause_sql(void);                             /* what marks a copy as one: its fact 'paused' */
bool store_answers(struct store *);                            /* the database can be read now */
#endif
