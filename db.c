/* db: one SQLite file, opened the one safe way, and what store and journal share of it. Holds no SQL of theirs.
 *
 * What a crash may leave behind: in WAL mode with synchronous=FULL every COMMIT syncs the log before it returns. A kill, a power cut or a full disk
 * leaves all commits that returned and none that did not, but for one: a commit whose sync failed is unknown, so the program ends there (env_fatal).
 * Checkpoints copy the log into the database outside the commit path; the log file is kept and overwritten, since syncing an overwrite is cheaper
 * than syncing an append.
 *   D1  One process a file: a record lock on FILE.lock, held for life on a descriptor that is never doubled.
 *   D2  The database itself is opened by SQLite only: closing another descriptor of it would drop SQLite's locks.
 *   D3  After any error that undid a statement, nothing of that transaction is kept (db_broken until db_commit). */
#include "db.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef S_ISVTX
#define S_ISVTX 01000                  /* outside plain POSIX; the value is the same everywhere */
#endif
#define CHECKPOINT_PAGES 1000
#define OPEN_BUSY_MS 5000
#define LOOK_US INT64_C(1000000)       /* how often it is asked whether the file is still there */

struct statement { const char *sql; sqlite3_stmt *q; };

struct db {
	const struct env *env;
	sqlite3 *handle;
	char *path;
	int lock;                          /* -1: none */
	struct statement *statements;      /* open addressing by the literal's address */
	size_t count, size;
	bool within, broken, reader;
	long undone;
	int log_pages, checkpoint_at;
	int64_t looked_us;
	dev_t dev;
	ino_t ino;
};

/* Errors. */

/* What the system said about the log or the file. SQLite's own record of it is not kept up by a failing commit. */
static int os_error(sqlite3 *handle)
{
	sqlite3_file *log = NULL;
	int code = 0;

	if (sqlite3_file_control(handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log && log->pMethods
		&& log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &code) == SQLITE_OK && code)
		return code;
	if (sqlite3_file_control(handle, "main", SQLITE_FCNTL_LAST_ERRNO, &code) == SQLITE_OK && code)
		return code;
	return sqlite3_system_errno(handle);
}

/* No room, or not to be written: the transaction is undone and the program goes on. SHMSIZE: no room for the index of the log, which holds nothing durable. */
static bool no_room(sqlite3 *handle, int code)
{
	int base = code & 0xff, os;

	if (code == SQLITE_READONLY_DBMOVED)
		return false;
	if (base == SQLITE_FULL || base == SQLITE_READONLY || base == SQLITE_BUSY || base == SQLITE_CANTOPEN || code == SQLITE_IOERR_SHMSIZE)
		return true;
	os = os_error(handle);
	return code == SQLITE_IOERR_WRITE && (os == ENOSPC || os == EDQUOT || os == EFBIG);
}

static void failed(struct db *d, const char *doing)
{
	int code = sqlite3_extended_errcode(d->handle);
	const char *advice = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB ? "the file is damaged: restore it from a backup"
		: code == SQLITE_READONLY_DBMOVED ? "the file was deleted or replaced while it was open" : "what the disk holds is not known: look at the disk, then start again";

	if (!d->reader && no_room(d->handle, code)) {
		d->broken = true;
		return;
	}
	env_fatal(d->env, "%s: %s failed: %s (%d, errno %d); %s", d->path, doing, sqlite3_errmsg(d->handle), code, os_error(d->handle), advice);
}

/* Where the file may stand. */

static bool directory_safe(const char *path, struct buf *err)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? mem_dupn(path, slash == path ? 1 : (size_t)(slash - path)) : mem_dup(".");
	struct stat st;
	bool safe = false;

	if (stat(dir, &st) != 0)
		buf_fmt(err, "%s: %s", dir, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		buf_fmt(err, "%s is no directory", dir);
	else if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
		buf_fmt(err, "%s: others may write in this directory: whoever can replace %s could make commands run twice", dir, path);
	else
		safe = true;
	free(dir);
	return safe;
}

static bool file_safe(const char *path, struct buf *err)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return errno == ENOENT || (buf_fmt(err, "%s: %s", path, strerror(errno)), false);
	if (!S_ISREG(st.st_mode)) {
		buf_fmt(err, "%s is %s, and must be a regular file", path, S_ISLNK(st.st_mode) ? "a symbolic link" : "something else");
		return false;
	}
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) && chmod(path, S_IRUSR | S_IWUSR) != 0) {
		buf_fmt(err, "%s: others may use this file, and it cannot be made private: %s", path, strerror(errno));
		return false;
	}
	return true;
}

/* The file and its companions: SQLite would follow a link put in the place of any of them. */
static bool path_safe(const char *path, struct buf *err)
{
	static const char *const ends[] = { "", "-wal", "-shm", "-journal" };
	struct buf name = {0};
	bool safe = directory_safe(path, err);

	for (size_t i = 0; safe && i < sizeof ends / sizeof *ends; i++) {
		buf_clear(&name);
		buf_fmt(&name, "%s%s", path, ends[i]);
		safe = file_safe(name.data, err);
	}
	buf_free(&name);
	return safe;
}

/* D1. */

static char *lock_name(const char *path)
{
	struct buf name = {0};

	buf_fmt(&name, "%s.lock", path);
	return name.data;
}

static struct flock whole_file(short type)
{
	struct flock l;

	memset(&l, 0, sizeof l);
	l.l_type = type;
	l.l_whence = SEEK_SET;
	return l;
}

static bool take_lock(struct db *d, struct buf *err)
{
	char *name = lock_name(d->path);
	struct flock want = whole_file(F_WRLCK), held = whole_file(F_WRLCK);

	d->lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock < 0)
		buf_fmt(err, "%s: %s", name, strerror(errno));
	else if (fcntl(d->lock, F_SETLK, &want) == 0) {
		free(name);
		return true;
	} else if (fcntl(d->lock, F_GETLK, &held) == 0 && held.l_type != F_UNLCK)
		buf_fmt(err, "%s is in use by another process (pid %ld)", d->path, (long)held.l_pid);
	else
		buf_fmt(err, "%s: cannot be locked: %s", name, strerror(errno));
	free(name);
	return false;
}

/* In the holder itself this would drop the lock: a record lock goes with the first descriptor that is closed. */
long db_holder(const char *path)
{
	char *name = lock_name(path);
	int fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct flock held = whole_file(F_WRLCK);
	long pid = 0;

	free(name);
	if (fd < 0)
		return 0;
	if (fcntl(fd, F_GETLK, &held) == 0 && held.l_type != F_UNLCK)
		pid = (long)held.l_pid;
	close(fd);
	return pid;
}

/* Opening. */

/* The first column of the first row of a query without parameters, as text appended to out. */
static bool ask(sqlite3 *handle, const char *sql, struct buf *out)
{
	sqlite3_stmt *q;
	bool row = false;

	buf_clear(out);
	if (sqlite3_prepare_v2(handle, sql, -1, &q, NULL) != SQLITE_OK)
		return false;
	if (sqlite3_step(q) == SQLITE_ROW && sqlite3_column_text(q, 0)) {
		buf_str(out, (const char *)sqlite3_column_text(q, 0));
		row = true;
	}
	return sqlite3_finalize(q) == SQLITE_OK && row;
}

/* Sets a pragma and reads it back: what was asked for must be what is. */
static bool pragma(struct db *d, const char *set, const char *get, const char *want, struct buf *err)
{
	struct buf got = {0};
	bool good = sqlite3_exec(d->handle, set, NULL, NULL, NULL) == SQLITE_OK && ask(d->handle, get, &got) && strcmp(got.data, want) == 0;

	if (!good)
		buf_fmt(err, "%s: %s is refused: %s", d->path, set, sqlite3_errmsg(d->handle));
	buf_free(&got);
	return good;
}

static int count_log(void *arg, sqlite3 *handle, const char *name, int pages)
{
	(void)handle;
	(void)name;
	((struct db *)arg)->log_pages = pages;
	return SQLITE_OK;
}

static int version_of(struct db *d)
{
	struct buf text = {0};
	int64_t version = -1;

	if (ask(d->handle, "PRAGMA user_version", &text))
		num_parse(text.data, text.len, 0, 1000000, &version);
	buf_free(&text);
	return (int)version;
}

static int newest_of(const struct db_migration *m)
{
	int newest = 0;

	for (; m->version; m++)
		newest = m->version;
	return newest;
}

/* The table that the first migration makes is the sign of whose file it is; a file that is yet to become one holds no table at all. */
static bool is_of(struct db *d, const struct db_migration *m, int version)
{
	const char *table = strstr(m->sql, "CREATE TABLE ");
	struct buf sql = {0}, found = {0};
	bool good;

	must(table);
	table += strlen("CREATE TABLE ");
	buf_str(&sql, "SELECT count(*) FROM sqlite_master");
	if (version > 0)
		buf_fmt(&sql, " WHERE type = 'table' AND name = '%.*s'", (int)strcspn(table, " ("), table);
	good = ask(d->handle, sql.data, &found) && (strcmp(found.data, "0") != 0) == (version > 0);
	buf_free(&sql);
	buf_free(&found);
	return good;
}

/* Asked before anything is changed: a file of another kind, or of another program, stays as it is. */
static bool known(struct db *d, const struct db_migration *m, struct buf *err)
{
	int version = version_of(d), newest = newest_of(m);

	if (version < 0)
		buf_fmt(err, "%s: %s", d->path, sqlite3_errmsg(d->handle));
	else if (version > newest)
		buf_fmt(err, "%s is at version %d, newer than this program knows (%d): use a newer program", d->path, version, newest);
	else if (!is_of(d, m, version))
		buf_fmt(err, "%s is no %s", d->path, m == db_agent_migrations ? "agent's journal" : "server's database");
	else
		return true;
	return false;
}

static bool set_up(struct db *d, const struct db_migration *migrations, struct buf *err)
{
	static const char *const wanted[][3] = {
		{ "PRAGMA journal_mode=WAL", "PRAGMA journal_mode", "wal" }, { "PRAGMA synchronous=FULL", "PRAGMA synchronous", "2" },
		{ "PRAGMA fullfsync=1", "PRAGMA fullfsync", "1" }, { "PRAGMA checkpoint_fullfsync=1", "PRAGMA checkpoint_fullfsync", "1" },
		{ "PRAGMA wal_autocheckpoint=0", "PRAGMA wal_autocheckpoint", "0" }, { "PRAGMA cell_size_check=1", "PRAGMA cell_size_check", "1" },
		{ "PRAGMA cache_size=-4000", "PRAGMA cache_size", "-4000" }, { "PRAGMA temp_store=MEMORY", "PRAGMA temp_store", "2" },
		{ "PRAGMA secure_delete=0", "PRAGMA secure_delete", "0" },   /* what is deleted here was never a secret: index entries, answered journal entries */
		{ "PRAGMA trusted_schema=0", "SELECT 0", "0" },   /* not known to every SQLite we take */
	};

	if (d->env->exclusive && !pragma(d, "PRAGMA locking_mode=EXCLUSIVE", "PRAGMA locking_mode", "exclusive", err))
		return false;
	if (!known(d, migrations, err))
		return false;
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
		if (!pragma(d, wanted[i][0], wanted[i][1], wanted[i][2], err))
			return false;
	sqlite3_wal_hook(d->handle, count_log, d);
	d->checkpoint_at = CHECKPOINT_PAGES;
	return true;
}

static bool migrate_one(struct db *d, const struct db_migration *m, struct buf *err)
{
	struct buf version = {0};
	bool good;

	buf_fmt(&version, "PRAGMA user_version=%d", m->version);
	good = sqlite3_exec(d->handle, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK && sqlite3_exec(d->handle, m->sql, NULL, NULL, NULL) == SQLITE_OK
		&& sqlite3_exec(d->handle, version.data, NULL, NULL, NULL) == SQLITE_OK && sqlite3_exec(d->handle, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
	if (!good) {
		buf_fmt(err, "%s: migration %04d_%s failed and was undone: %s", d->path, m->version, m->name, sqlite3_errmsg(d->handle));
		sqlite3_exec(d->handle, "ROLLBACK", NULL, NULL, NULL);
	}
	buf_free(&version);
	return good;
}

static bool migrate(struct db *d, const struct db_migration *m, struct buf *err)
{
	int version = version_of(d);

	if (version < 0) {
		buf_fmt(err, "%s: %s", d->path, sqlite3_errmsg(d->handle));
		return false;
	}
	for (; m->version; m++) {
		if (m->version <= version)
			continue;
		if (m->version != version + 1) {
			buf_fmt(err, "%s: there is no migration from version %d to %d", d->path, version, m->version);
			return false;
		}
		if (!migrate_one(d, m, err))
			return false;
		version = m->version;
	}
	return true;
}

/* The process has one thread: SQLite needs no locks within it, and nobody asks how much memory it took. Refused, and of no account, once it has begun. */
static void alone(void)
{
	(void)sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static bool connect_file(struct db *d, int flags, struct buf *err)
{
	alone();
	if (sqlite3_open_v2(d->path, &d->handle, flags, d->env->vfs) != SQLITE_OK) {
		buf_fmt(err, "%s: %s", d->path, d->handle ? sqlite3_errmsg(d->handle) : "out of memory");
		return false;
	}
	sqlite3_extended_result_codes(d->handle, 1);
	sqlite3_busy_timeout(d->handle, OPEN_BUSY_MS);
	return true;
}

static struct db *make(const struct env *env, const char *path)
{
	struct db *d = mem_new(sizeof *d);

	d->env = env;
	d->path = mem_dup(path);
	d->lock = -1;
	return d;
}

static void know_file(struct db *d)
{
	struct stat st;

	if (!d->env->vfs && stat(d->path, &st) == 0) {
		d->dev = st.st_dev;
		d->ino = st.st_ino;
	}
}

struct db *db_open(const struct env *env, const char *path, const struct db_migration *migrations, struct buf *err)
{
	struct db *d = make(env, path);

	if (!env->vfs) {
		umask(S_IRWXG | S_IRWXO);
		signal(SIGXFSZ, SIG_IGN);
	}
	if ((env->vfs || (path_safe(path, err) && take_lock(d, err))) && connect_file(d, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err)
		&& set_up(d, migrations, err) && migrate(d, migrations, err)) {
		sqlite3_busy_timeout(d->handle, 0);
		know_file(d);
		return d;
	}
	db_close(d);
	return NULL;
}

struct db *db_open_reader(const struct env *env, const char *path, const struct db_migration *migrations, struct buf *err)
{
	struct db *d = make(env, path);
	int version;

	d->reader = true;
	if (connect_file(d, SQLITE_OPEN_READONLY, err)) {
		version = version_of(d);
		if (version == newest_of(migrations) && is_of(d, migrations, version))
			return d;
		if (version < 0 || version == newest_of(migrations))
			known(d, migrations, err);
		else
			buf_fmt(err, "%s is at version %d, this program reads version %d", path, version, newest_of(migrations));
	}
	db_close(d);
	return NULL;
}

void db_close(struct db *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->size; i++)
		sqlite3_finalize(d->statements[i].q);
	must(sqlite3_close(d->handle) == SQLITE_OK);
	if (d->lock >= 0)
		close(d->lock);
	free(d->statements);
	free(d->path);
	free(d);
}

sqlite3 *db_handle(struct db *d) { return d->handle; }
const struct env *db_env(const struct db *d) { return d->env; }

/* Statements. */

static struct statement *place_of(struct db *d, const char *sql)
{
	size_t i = (size_t)((uintptr_t)sql >> 3) * 2654435761u;

	for (i %= d->size; d->statements[i].sql && d->statements[i].sql != sql; i = (i + 1) % d->size)
		;
	return &d->statements[i];
}

static void grow(struct db *d)
{
	struct statement *old = d->statements;
	size_t size = d->size;

	d->size = size ? size * 2 : 64;
	d->statements = mem_new(d->size * sizeof *d->statements);
	for (size_t i = 0; i < size; i++)
		if (old[i].sql)
			*place_of(d, old[i].sql) = old[i];
	free(old);
}

sqlite3_stmt *db_sql(struct db *d, const char *sql)
{
	struct statement *s;

	if (d->count * 2 >= d->size)
		grow(d);
	s = place_of(d, sql);
	if (!s->sql) {
		if (sqlite3_prepare_v3(d->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &s->q, NULL) != SQLITE_OK)
			env_fatal(d->env, "%s: %s: %s", d->path, sqlite3_errmsg(d->handle), sql);
		s->sql = sql;
		d->count++;
	} else {
		sqlite3_reset(s->q);
		sqlite3_clear_bindings(s->q);
	}
	return s->q;
}

int db_step(struct db *d, sqlite3_stmt *q)
{
	int code;

	if (d->broken)
		return SQLITE_DONE;
	code = sqlite3_step(q);
	if (code == SQLITE_ROW || code == SQLITE_DONE)
		return code;
	failed(d, "a statement");
	return SQLITE_DONE;
}

void db_run(struct db *d, sqlite3_stmt *q)
{
	must(db_step(d, q) == SQLITE_DONE);
	sqlite3_reset(q);
}

/* Transactions. */

void db_begin(struct db *d)
{
	if (d->within)
		return;
	d->within = true;
	db_run(d, db_sql(d, "BEGIN IMMEDIATE"));
}

bool db_within(const struct db *d) { return d->within; }
bool db_broken(const struct db *d) { return d->broken; }
long db_undone(const struct db *d) { return d->undone; }

void db_rollback(struct db *d)
{
	bool open = !sqlite3_get_autocommit(d->handle);

	d->broken = d->within = false;
	d->undone++;
	if (open)
		db_run(d, db_sql(d, "ROLLBACK"));
	must(!d->broken);
}

/* A file that is gone, or another one by now, keeps nothing that is promised. age_us: how old an earlier look may be. */
static void look(struct db *d, int64_t age_us)
{
	struct stat st;
	int64_t now_us = d->env->mono_us(d->env->world);

	if (d->env->vfs || d->reader || now_us - d->looked_us < age_us)
		return;
	d->looked_us = now_us;
	if (stat(d->path, &st) != 0 || st.st_dev != d->dev || st.st_ino != d->ino)
		env_fatal(d->env, "%s was deleted or replaced while it was open: nothing more can be kept in it", d->path);
}

enum db_result db_commit(struct db *d)
{
	if (!d->within && !d->broken)
		return DB_OK;
	if (!d->broken) {
		look(d, 0);
		sqlite3_stmt *q = db_sql(d, "COMMIT");
		if (sqlite3_step(q) != SQLITE_DONE)
			failed(d, "a commit");
		sqlite3_reset(q);
	}
	d->within = false;
	if (!d->broken)
		return DB_OK;
	db_rollback(d);
	return DB_FULL;
}

void db_checkpoint(struct db *d)
{
	int code, log = 0, copied = 0;

	look(d, LOOK_US);
	if (d->log_pages < d->checkpoint_at || d->within)
		return;
	code = sqlite3_wal_checkpoint_v2(d->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, &log, &copied);
	if (code != SQLITE_OK && !no_room(d->handle, sqlite3_extended_errcode(d->handle)))
		failed(d, "a checkpoint");
	/* all copied: the next commit starts the log again; else a reader is in the way, or the disk is full: not at every turn */
	d->checkpoint_at = code == SQLITE_OK && copied == log ? CHECKPOINT_PAGES : d->log_pages + CHECKPOINT_PAGES;
	d->log_pages = 0;
}

/* Binding. */

void db_bind_int(sqlite3_stmt *q, int at, int64_t v) { must(sqlite3_bind_int64(q, at, v) == SQLITE_OK); }

void db_bind_bytes(sqlite3_stmt *q, int at, const char *p, size_t n)
{
	if (p)
		must(sqlite3_bind_text64(q, at, p, n, SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK);
	else
		must(sqlite3_bind_null(q, at) == SQLITE_OK);
}

void db_bind_text(sqlite3_stmt *q, int at, const char *text) { db_bind_bytes(q, at, text, text ? strlen(text) : 0); }

void db_bind_null_or_int(sqlite3_stmt *q, int at, bool null, int64_t v)
{
	if (null)
		must(sqlite3_bind_null(q, at) == SQLITE_OK);
	else
		db_bind_int(q, at, v);
}

/* Copies and checks. */

static bool sync_path(const char *path, struct buf *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool good = fd >= 0 && fsync(fd) == 0;

	if (!good)
		buf_fmt(err, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return good;
}

static bool sync_directory(const char *path, struct buf *err)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? mem_dupn(path, slash == path ? 1 : (size_t)(slash - path)) : mem_dup(".");
	bool good = sync_path(dir, err);

	free(dir);
	return good;
}

static bool copy(sqlite3 *from, sqlite3 *to, const char *mark, struct buf *err)
{
	sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
	int code = b ? sqlite3_backup_step(b, -1) : SQLITE_ERROR;

	if (b && sqlite3_backup_finish(b) == SQLITE_OK && code == SQLITE_DONE
		&& sqlite3_exec(to, "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL", NULL, NULL, NULL) == SQLITE_OK && sqlite3_exec(to, mark, NULL, NULL, NULL) == SQLITE_OK)
		return true;
	buf_fmt(err, "the copy failed: %s", sqlite3_errmsg(to));
	return false;
}

static void remove_copy(const char *file)
{
	static const char *const ends[] = { "-journal", "-wal", "-shm", "" };
	struct buf name = {0};

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		buf_clear(&name);
		buf_fmt(&name, "%s%s", file, ends[i]);
		(void)unlink(name.data);
	}
	buf_free(&name);
}

static bool make_file(const char *file, struct buf *err)
{
	int fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0 && close(fd) == 0)
		return true;
	buf_fmt(err, "%s: %s", file, strerror(errno));
	return false;
}

bool db_backup(const struct env *env, const char *path, const char *file, const char *mark, struct buf *err)
{
	struct db from = {0}, to = {0};
	bool good;

	if (!env->vfs && !make_file(file, err))
		return false;
	from.env = to.env = env;
	from.path = mem_dup(path);
	to.path = mem_dup(file);
	good = connect_file(&from, SQLITE_OPEN_READONLY, err) && connect_file(&to, SQLITE_OPEN_READWRITE | (env->vfs ? SQLITE_OPEN_CREATE : 0), err) && copy(from.handle, to.handle, mark, err);
	must(sqlite3_close(from.handle) == SQLITE_OK && sqlite3_close(to.handle) == SQLITE_OK);
	good = good && (env->vfs || (sync_path(file, err) && sync_directory(file, err)));
	if (!good && !env->vfs)
		remove_copy(file);
	free(from.path);
	free(to.path);
	return good;
}

bool db_check(const struct env *env, const char *path, const struct db_migration *migrations, struct buf *out)
{
	struct db *d = db_open_reader(env, path, migrations, out);
	sqlite3_stmt *q;
	bool good = false;

	if (!d)
		return false;
	if (sqlite3_prepare_v2(d->handle, "PRAGMA integrity_check", -1, &q, NULL) == SQLITE_OK) {
		while (sqlite3_step(q) == SQLITE_ROW) {
			good = strcmp((const char *)sqlite3_column_text(q, 0), "ok") == 0;
			buf_fmt(out, "%s%s: %s", out->len ? "\n" : "", path, (const char *)sqlite3_column_text(q, 0));
		}
		if (sqlite3_finalize(q) != SQLITE_OK) {
			buf_fmt(out, "%s%s: %s", out->len ? "\n" : "", path, sqlite3_errmsg(d->handle));
			good = false;
		}
	} else
		buf_fmt(out, "%s: %s", path, sqlite3_errmsg(d->handle));
	db_close(d);
	return good;
}

/* Setting aside. */

/* A name that is taken by no file and no file's log. */
static void free_name(const char *path, struct buf *out)
{
	struct buf log = {0};
	struct stat st;
	int n = 1;

	do {
		buf_clear(out);
		buf_clear(&log);
		buf_fmt(out, "%s.old-%d", path, n++);
		buf_fmt(&log, "%s-wal", out->data);
	} while (lstat(out->data, &st) == 0 || lstat(log.data, &st) == 0);
	buf_free(&log);
}

/* The log gets its second name before the file gets its new one, so that a crash between leaves file and log side by side under one of the two names. */
static bool move_aside(const char *path, struct buf *err)
{
	struct buf to = {0}, log = {0}, to_log = {0}, shared = {0};
	struct stat st;
	bool good;

	if (lstat(path, &st) != 0)
		return true;
	free_name(path, &to);
	buf_fmt(&log, "%s-wal", path);
	buf_fmt(&to_log, "%s-wal", to.data);
	buf_fmt(&shared, "%s-shm", path);
	good = (link(log.data, to_log.data) == 0 || errno == ENOENT || rename(log.data, to_log.data) == 0) && rename(path, to.data) == 0
		&& (unlink(log.data) == 0 || errno == ENOENT) && (unlink(shared.data) == 0 || errno == ENOENT);
	if (!good)
		buf_fmt(err, "%s cannot be moved to %s: %s", path, to.data, strerror(errno));
	buf_free(&to);
	buf_free(&log);
	buf_free(&to_log);
	buf_free(&shared);
	return good;
}

bool db_set_aside(const struct env *env, const char *path, struct buf *err)
{
	struct db *d;
	bool good;

	if (env->vfs)
		return true;
	d = make(env, path);
	good = path_safe(path, err) && take_lock(d, err) && move_aside(path, err) && sync_directory(path, err);
	db_close(d);
	return good;
}
