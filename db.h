/* db: one SQLite file: lock, open, pragmas read back, migrations, statements, transactions. Shared by store and journal. Holds no SQL of theirs.
 * A failed sync or an I/O error in a commit is unknown, not undone: env_fatal, for a retry that "succeeds" would lie. */
#ifndef DB_H
#define DB_H
#include "env.h"
#include <sqlite3.h>

struct db;
struct db_migration { int version; const char *name; const char *sql; };   /* made from migrations/ at build time; the last row has version 0 */
extern const struct db_migration db_server_migrations[], db_agent_migrations[];

enum db_result {
	DB_OK,
	DB_FULL                                                    /* no room (disk, quota, file size), or read-only: the whole transaction is rolled back, nothing happened */
};

/* Opens path, creating it (0600, never through a symlink as last component, in a directory others cannot write unless it is sticky), takes the lock on path.lock,
 * WAL and synchronous=FULL read back, applies migrations, one transaction each with user_version. NULL: *err is one line. A newer database and a gap in the numbers are refused. */
struct db *db_open(const struct env *, const char *path, const struct db_migration *, struct buf *err);
/* The same file for looking only: no lock, no migration, read-only; the version must be the newest. */
struct db *db_open_reader(const struct env *, const char *path, const struct db_migration *, struct buf *err);
void db_close(struct db *);
sqlite3 *db_handle(struct db *);
const struct env *db_env(const struct db *);

/* Prepared once for each place that asks: sql must be a string literal, its address is the key. Reset and with bindings cleared. */
sqlite3_stmt *db_sql(struct db *, const char *sql);
/* Steps: SQLITE_ROW or SQLITE_DONE. Anything else: DB_FULL conditions make the transaction broken (db_commit will say DB_FULL; until then every step answers SQLITE_DONE
 * for changes and reads are not to be trusted); everything worse is env_fatal. */
int db_step(struct db *, sqlite3_stmt *);
void db_run(struct db *, sqlite3_stmt *);                      /* a statement without rows: step, must be DONE, reset */

void db_begin(struct db *);                                    /* BEGIN IMMEDIATE unless already within; cheap to call twice */
bool db_within(const struct db *);
bool db_broken(const struct db *);
enum db_result db_commit(struct db *);                         /* nothing open: DB_OK at once. DB_FULL: rolled back */
void db_rollback(struct db *);
long db_undone(const struct db *);                             /* how many transactions were rolled back so far: what was remembered of them did not happen */
void db_checkpoint(struct db *);                               /* outside the commit path: copies the log into the database when it has grown enough; cheap to call often */

/* Binding and reading, by position from 1 and from 0. NULL text binds NULL. Text bound is not copied: it must live until the statement is reset. */
void db_bind_int(sqlite3_stmt *, int at, int64_t);
void db_bind_text(sqlite3_stmt *, int at, const char *);
void db_bind_bytes(sqlite3_stmt *, int at, const char *, size_t);      /* as TEXT; p NULL binds NULL */
void db_bind_null_or_int(sqlite3_stmt *, int at, bool null, int64_t);

long db_holder(const char *path);                              /* the other process that has the file open through db_open; 0: none. Never to be asked while holding it */
/* A consistent copy of a live or resting database into a file that must not exist yet (0600), synced. mark: SQL run in the copy at the end. False: *err is one line, no file is left. */
bool db_backup(const struct env *, const char *path, const char *file, const char *mark, struct buf *err);
/* Moves the file and its log, as they are, to PATH.old-N: the next db_open makes a new one. Refused while it is in use. Nothing there: true. */
bool db_set_aside(const struct env *, const char *path, struct buf *err);
bool db_check(const struct env *, const char *path, const struct db_migration *, struct buf *out);   /* integrity_check; out says what was found */
#endif
