/* db: real files in a directory of the test's own, a disk that fails on order, children that hold the lock or die. */
#include "dbfix.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const struct db_migration plain[] = { { 1, "init", "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)" }, { 0, NULL, NULL } };

static struct db *open_it(struct fix *f)
{
	struct db *d;

	buf_clear(&f->err);
	d = db_open(&f->env, f->path, plain, &f->err);
	if (!d)
		fail_msg("%s", f->err.data);
	return d;
}

static void refused(struct fix *f, const char *path, const char *why)
{
	buf_clear(&f->err);
	assert_null(db_open(&f->env, path, plain, &f->err));
	assert_non_null(f->err.data);
	assert_null(strchr(f->err.data, '\n'));
	if (!strstr(f->err.data, why))
		fail_msg("\"%s\" does not say \"%s\"", f->err.data, why);
}

static void insert(struct db *d, int64_t a, const char *b)
{
	sqlite3_stmt *q;

	db_begin(d);
	q = db_sql(d, "INSERT INTO t (a, b) VALUES (?1, ?2)");
	db_bind_int(q, 1, a);
	db_bind_text(q, 2, b);
	db_run(d, q);
}

static int64_t count(struct db *d)
{
	sqlite3_stmt *q = db_sql(d, "SELECT count(*) FROM t");
	int64_t n;

	assert_int_equal(db_step(d, q), SQLITE_ROW);
	n = sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	return n;
}

static const char *pragma_of(struct db *d, const char *sql, char out[64])
{
	sqlite3_stmt *q;

	assert_int_equal(sqlite3_prepare_v2(db_handle(d), sql, -1, &q, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	snprintf(out, 64, "%s", (const char *)sqlite3_column_text(q, 0));
	assert_int_equal(sqlite3_finalize(q), SQLITE_OK);
	return out;
}

/* opening */

static void makes_private_files(void **state)
{
	struct fix *f = *state;
	mode_t before = umask(0);
	struct db *d = open_it(f);

	insert(d, 1, "one");
	assert_int_equal(db_commit(d), DB_OK);
	assert_int_equal(fix_mode(f, ""), 0600);
	assert_int_equal(fix_mode(f, ".lock"), 0600);
	assert_int_equal(fix_mode(f, "-wal"), 0600);
	assert_int_equal(fix_mode(f, "-shm"), 0600);
	db_close(d);
	umask(before);
}

static void makes_a_wide_file_private(void **state)
{
	struct fix *f = *state;

	db_close(open_it(f));
	assert_int_equal(chmod(f->path, 0644), 0);
	db_close(open_it(f));
	assert_int_equal(fix_mode(f, ""), 0600);
}

static void sets_its_pragmas(void **state)
{
	static const char *const want[][2] = { { "journal_mode", "wal" }, { "synchronous", "2" }, { "fullfsync", "1" }, { "checkpoint_fullfsync", "1" }, { "locking_mode", "normal" },
		{ "cache_size", "-4000" }, { "temp_store", "2" }, { "cell_size_check", "1" }, { "trusted_schema", "0" }, { "busy_timeout", "0" }, { "user_version", "1" } };
	struct fix *f = *state;
	struct db *d = open_it(f);
	char sql[64], got[64];

	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		snprintf(sql, sizeof sql, "PRAGMA %s", want[i][0]);
		assert_string_equal(pragma_of(d, sql, got), want[i][1]);
	}
	assert_string_equal(fix_ask(f->path, "PRAGMA journal_mode"), "wal");
	db_close(d);
}

static void keeps_a_test_world_to_itself(void **state)
{
	struct fix *f = *state;
	struct db *d;
	char got[64];

	fix_disk(f);
	f->env.exclusive = true;
	d = open_it(f);
	assert_string_equal(pragma_of(d, "PRAGMA locking_mode", got), "exclusive");
	assert_string_equal(pragma_of(d, "PRAGMA journal_mode", got), "wal");
	assert_false(fix_exists(f, ".lock"));
	assert_false(fix_exists(f, "-shm"));
	db_close(d);
}

static void refuses_what_is_no_plain_file(void **state)
{
	struct fix *f = *state;
	char target[256], name[256];
	static const char *const ends[] = { "", "-wal", "-shm", "-journal" };

	snprintf(target, sizeof target, "%s/elsewhere", f->dir);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		fix_name(f, ends[i], name);
		assert_int_equal(symlink(target, name), 0);
		refused(f, f->path, "symbolic link");
		assert_int_equal(access(target, F_OK), -1);
		assert_int_equal(unlink(name), 0);
	}
	db_close(open_it(f));
	fix_name(f, ".link", name);
	assert_int_equal(symlink(f->path, name), 0);
	refused(f, name, "symbolic link");
	fix_name(f, ".dir", name);
	assert_int_equal(mkdir(name, 0700), 0);
	refused(f, name, "regular file");
	fix_name(f, ".fifo", name);
	assert_int_equal(mkfifo(name, 0600), 0);
	refused(f, name, "regular file");
	fix_name(f, ".none/test.db", name);
	refused(f, name, "No such file");
}

static void refuses_a_lock_that_is_a_link(void **state)
{
	struct fix *f = *state;
	char target[256], name[256];

	snprintf(target, sizeof target, "%s/elsewhere", f->dir);
	fix_name(f, ".lock", name);
	assert_int_equal(symlink(target, name), 0);
	refused(f, f->path, ".lock");
	assert_int_equal(access(target, F_OK), -1);
}

static void refuses_a_directory_open_to_others(void **state)
{
	struct fix *f = *state;

	assert_int_equal(chmod(f->dir, 0777), 0);
	refused(f, f->path, "others may write");
	assert_false(fix_exists(f, ""));
	assert_int_equal(chmod(f->dir, 01777), 0);
	db_close(open_it(f));
}

static void refuses_what_is_no_database(void **state)
{
	struct fix *f = *state;
	FILE *out = fopen(f->path, "w");

	assert_non_null(out);
	for (int i = 0; i < 1000; i++)
		fputs("these are no pages\n", out);
	assert_int_equal(fclose(out), 0);
	refused(f, f->path, "not a database");
}

/* whose file it is */

static void leaves_a_file_of_another_kind_as_it_is(void **state)
{
	static const struct db_migration other[] = { { 1, "init", "CREATE TABLE other (a)" }, { 0, NULL, NULL } };
	struct fix *f = *state;
	sqlite3 *foreign;
	char path[256];

	db_close(open_it(f));
	buf_clear(&f->err);
	assert_null(db_open(&f->env, f->path, other, &f->err));
	assert_non_null(strstr(f->err.data, "is no server's database"));
	assert_null(db_open_reader(&f->env, f->path, other, &f->err));
	db_close(open_it(f));
	fix_name(f, ".foreign", path);
	assert_int_equal(sqlite3_open(path, &foreign), SQLITE_OK);
	assert_int_equal(sqlite3_exec(foreign, "CREATE TABLE theirs (a)", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(foreign), SQLITE_OK);
	refused(f, path, "is no server's database");
	assert_string_equal(fix_ask(path, "SELECT count(*) FROM sqlite_master"), "1");
	assert_string_equal(fix_ask(path, "PRAGMA journal_mode"), "delete");
}

/* the lock */

static void hold(void *arg, int fd)
{
	struct fix *f = arg;

	must(db_open(&f->env, f->path, plain, &f->err));
	must(write(fd, "x", 1) == 1);
}

static void refuses_a_second_process(void **state)
{
	struct fix *f = *state;
	struct db *d;
	char why[256];
	int fd, pid = fix_child_start(hold, f, &fd);

	snprintf(why, sizeof why, "%s is in use by another process (pid %d)", f->path, pid);
	refused(f, f->path, why);
	assert_int_equal(db_holder(f->path), pid);
	d = db_open_reader(&f->env, f->path, plain, &f->err);
	assert_non_null(d);
	assert_int_equal(count(d), 0);
	db_close(d);
	refused(f, f->path, why);
	fix_child_kill(pid, fd);
	assert_int_equal(db_holder(f->path), 0);
	db_close(open_it(f));
}

static void child_must_not_open(void *arg)
{
	struct fix *f = arg;

	must(!db_open(&f->env, f->path, plain, &f->err));
}

static void keeps_the_lock_while_others_come_and_go(void **state)
{
	struct fix *f = *state;
	struct db *d = open_it(f), *r = db_open_reader(&f->env, f->path, plain, &f->err);
	char copy[256];
	struct buf out = {0};

	assert_non_null(r);
	db_close(r);
	fix_name(f, ".copy", copy);
	assert_true(db_backup(&f->env, f->path, copy, NULL, &f->err));
	assert_true(db_check(&f->env, f->path, plain, &out));
	buf_free(&out);
	assert_int_equal(fix_child(child_must_not_open, f), 0);
	db_close(d);
}

/* transactions */

static void a_commit_is_synced_before_it_says_so(void **state)
{
	struct fix *f = *state;
	struct db *d;

	fix_disk(f);
	d = open_it(f);
	for (int i = 0; i < 50; i++) {
		long syncs = faultvfs_syncs(f->disk);
		insert(d, i, "some text");
		assert_int_equal(db_commit(d), DB_OK);
		assert_true(faultvfs_syncs(f->disk) > syncs);
		assert_int_equal(faultvfs_unsynced(f->disk), 0);
		db_checkpoint(d);
	}
	db_close(d);
}

static void a_transaction_begins_once_and_ends_once(void **state)
{
	struct fix *f = *state;
	struct db *d = open_it(f);

	assert_int_equal(db_commit(d), DB_OK);
	assert_false(db_within(d));
	db_begin(d);
	db_begin(d);
	assert_true(db_within(d));
	insert(d, 1, "x");
	db_rollback(d);
	assert_false(db_within(d));
	assert_int_equal(count(d), 0);
	insert(d, 1, "x");
	assert_int_equal(db_commit(d), DB_OK);
	assert_int_equal(count(d), 1);
	db_rollback(d);
	db_close(d);
}

/* Kinds of "no room". */
static const struct { int code, os_errno; } no_room[] = { { SQLITE_FULL, ENOSPC }, { SQLITE_IOERR_WRITE, EDQUOT }, { SQLITE_IOERR_WRITE, EFBIG }, { SQLITE_READONLY, EROFS },
	{ SQLITE_CANTOPEN, EACCES } };

/* A transaction of a few pages, the disk full from the n-th write on: DB_FULL until n is beyond its last. */
static long full_at(struct fix *f, struct db *d, size_t kind)
{
	char text[3000];
	int64_t before = count(d);
	long n = 0;

	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = 0;
	for (;; n++) {
		faultvfs_fail_writes(f->disk, n, no_room[kind].code, no_room[kind].os_errno);
		for (int i = 0; i < 5; i++)
			insert(d, before + i, text);
		if (db_commit(d) == DB_OK)
			break;
		assert_false(db_within(d));
		assert_false(db_broken(d));
		assert_int_equal(sqlite3_get_autocommit(db_handle(d)), 1);
		assert_int_equal(count(d), before);
		faultvfs_fail_writes(f->disk, -1, 0, 0);
		db_checkpoint(d);
	}
	faultvfs_fail_writes(f->disk, -1, 0, 0);
	assert_int_equal(count(d), before + 5);
	return n;
}

static void a_full_disk_undoes_all_and_later_works(void **state)
{
	struct fix *f = *state;
	struct db *d;
	int64_t rows;

	fix_disk(f);
	d = open_it(f);
	for (size_t kind = 0; kind < sizeof no_room / sizeof *no_room; kind++)
		assert_true(full_at(f, d, kind) >= 5);
	rows = count(d);
	db_close(d);
	d = open_it(f);
	assert_int_equal(count(d), rows);
	assert_string_equal(fix_ask(f->path, "PRAGMA integrity_check"), "ok");
	db_close(d);
}

/* More than the cache holds is written before the commit: a statement in the middle fails. */
static void break_in_the_middle(struct fix *f, struct db *d, size_t kind)
{
	int64_t before = count(d);
	char text[4000];

	memset(text, 'y', sizeof text);
	text[sizeof text - 1] = 0;
	faultvfs_fail_writes(f->disk, 100, no_room[kind].code, no_room[kind].os_errno);
	for (int i = 2; i < 5000 && !db_broken(d); i++)
		insert(d, 100 + i, text);
	assert_true(db_broken(d));
	assert_true(db_within(d));
	faultvfs_fail_writes(f->disk, -1, 0, 0);
	insert(d, 9000, "goes nowhere, though there is room again");
	assert_int_equal(db_commit(d), DB_FULL);
	assert_int_equal(sqlite3_get_autocommit(db_handle(d)), 1);
	assert_int_equal(count(d), before);
}

static void a_disk_that_fills_in_mid_transaction_undoes_all(void **state)
{
	struct fix *f = *state;
	struct db *d;

	fix_disk(f);
	d = open_it(f);
	for (size_t kind = 0; kind < sizeof no_room / sizeof *no_room; kind++) {
		break_in_the_middle(f, d, kind);
		insert(d, (int64_t)kind, "stays");
		assert_int_equal(db_commit(d), DB_OK);
		assert_int_equal(count(d), (int64_t)kind + 1);
	}
	db_close(d);
}

static void commit_now(void *arg) { (void)db_commit(arg); }
static void checkpoint_now(void *arg) { db_checkpoint(arg); }

static void a_failed_sync_is_the_end(void **state)
{
	struct fix *f = *state;
	struct db *d;

	fix_disk(f);
	for (int i = 0; i < 3; i++) {
		d = open_it(f);
		insert(d, i * 2, "before");
		assert_int_equal(db_commit(d), DB_OK);
		insert(d, i * 2 + 1, "unknown");
		faultvfs_fail_sync(f->disk, 0);
		assert_true(fix_fatal(f, commit_now, d));
		assert_non_null(strstr(f->said.data, f->path));
		assert_non_null(strstr(f->said.data, "look at the disk"));
		db_close(d);
		d = open_it(f);
		assert_true(count(d) > i);
		db_close(d);
	}
}

static void a_failed_write_is_the_end(void **state)
{
	struct fix *f = *state;
	struct db *d;

	fix_disk(f);
	d = open_it(f);
	insert(d, 1, "x");
	faultvfs_fail_writes(f->disk, 0, SQLITE_IOERR_WRITE, EIO);
	assert_true(fix_fatal(f, commit_now, d));
	faultvfs_fail_writes(f->disk, -1, 0, 0);
	db_close(d);
	d = open_it(f);
	assert_int_equal(count(d), 0);
	db_close(d);
}

static void fill(struct db *d, int pages)
{
	char text[3500];
	int64_t at = count(d);

	memset(text, 'z', sizeof text);
	text[sizeof text - 1] = 0;
	for (int i = 0; i < pages; i++)
		insert(d, at + i, text);
	assert_int_equal(db_commit(d), DB_OK);
}

static void the_log_is_copied_when_it_has_grown(void **state)
{
	struct fix *f = *state;
	struct db *d = open_it(f);
	char log[256];
	struct stat st;

	fix_name(f, "-wal", log);
	for (int i = 0; i < 60; i++) {
		fill(d, 100);
		db_checkpoint(d);
	}
	assert_int_equal(stat(log, &st), 0);
	assert_true(st.st_size > 1000 * 4096);
	assert_true(st.st_size < 1400 * 4120);
	assert_int_equal(stat(f->path, &st), 0);
	assert_true(st.st_size > 4500 * 4096);
	db_close(d);
}

static void a_commit_copies_nothing(void **state)
{
	struct fix *f = *state;
	struct db *d;
	struct stat before, after;

	d = open_it(f);
	fill(d, 1);
	assert_int_equal(stat(f->path, &before), 0);
	for (int i = 0; i < 15; i++)
		fill(d, 100);
	insert(d, -1, "open");
	db_checkpoint(d);
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(db_commit(d), DB_OK);
	db_checkpoint(d);
	assert_int_equal(stat(f->path, &after), 0);
	assert_true(after.st_size > before.st_size);
	db_close(d);
}

static void a_full_disk_only_delays_the_copying(void **state)
{
	struct fix *f = *state;
	struct db *d;

	fix_disk(f);
	d = open_it(f);
	fill(d, 1200);
	faultvfs_fail_writes(f->disk, 3, SQLITE_FULL, ENOSPC);
	db_checkpoint(d);
	faultvfs_fail_writes(f->disk, -1, 0, 0);
	assert_int_equal(count(d), 1200);
	fill(d, 10);
	assert_int_equal(count(d), 1210);
	db_close(d);
}

static void a_failed_sync_while_copying_is_the_end(void **state)
{
	struct fix *f = *state;
	struct db *d;

	fix_disk(f);
	d = open_it(f);
	fill(d, 1200);
	faultvfs_fail_sync(f->disk, 0);
	assert_true(fix_fatal(f, checkpoint_now, d));
	db_close(d);
}

static void a_reader_in_the_way_delays_and_harms_nothing(void **state)
{
	struct fix *f = *state;
	struct db *d = open_it(f), *r;
	sqlite3_stmt *q;

	fill(d, 10);
	r = db_open_reader(&f->env, f->path, plain, &f->err);
	assert_non_null(r);
	q = db_sql(r, "SELECT a FROM t");
	assert_int_equal(db_step(r, q), SQLITE_ROW);
	for (int i = 0; i < 25; i++) {
		fill(d, 100);
		db_checkpoint(d);
	}
	for (int i = 1; i < 10; i++)
		assert_int_equal(db_step(r, q), SQLITE_ROW);
	assert_int_equal(db_step(r, q), SQLITE_DONE);
	db_close(r);
	assert_int_equal(count(d), 2510);
	db_close(d);
}

static void somebody_elses_write_lock_is_no_room(void **state)
{
	struct fix *f = *state;
	struct db *d = open_it(f);
	sqlite3 *other;

	assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	insert(d, 1, "x");
	assert_true(db_broken(d));
	assert_int_equal(db_commit(d), DB_FULL);
	assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	insert(d, 1, "x");
	assert_int_equal(db_commit(d), DB_OK);
	assert_int_equal(sqlite3_close(other), SQLITE_OK);
	db_close(d);
}

static void look_now(void *arg)
{
	db_checkpoint(arg);
}

static void insert_and_commit(void *arg)
{
	insert(arg, 9, "x");
	db_commit(arg);
}

static void a_file_deleted_or_replaced_is_the_end(void **state)
{
	struct fix *f = *state;
	char copy[256];

	for (int replaced = 0; replaced < 2; replaced++) {
		struct db *d = open_it(f);
		insert(d, replaced, "x");
		assert_int_equal(db_commit(d), DB_OK);
		f->later_us += 3000000;
		db_checkpoint(d);
		fix_name(f, replaced ? ".other" : ".gone", copy);
		assert_int_equal(rename(f->path, copy), 0);
		if (replaced)
			assert_int_equal(close(open(f->path, O_CREAT | O_WRONLY, 0600)), 0);
		f->later_us += replaced ? 0 : 3000000;                    /* a commit looks at once */
		assert_true(fix_fatal(f, replaced ? insert_and_commit : look_now, d));
		assert_non_null(strstr(f->said.data, "deleted or replaced"));
		db_close(d);
		(void)unlink(f->path);
		fix_name(f, "-wal", copy);
		(void)unlink(copy);
	}
}

static void read_all(void *arg)
{
	struct db *d = arg;
	sqlite3_stmt *q = db_sql(d, "SELECT length(b) FROM t");

	while (db_step(d, q) == SQLITE_ROW)
		;
}

/* Overwrites the middle of the file, which is at rest. */
static void damage(struct fix *f)
{
	char noise[4096];
	int fd = open(f->path, O_WRONLY);
	struct stat st;

	memset(noise, 0xa5, sizeof noise);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t at = 8192; at < st.st_size; at += 4096)
		assert_int_equal(pwrite(fd, noise, sizeof noise, at), (int)sizeof noise);
	assert_int_equal(close(fd), 0);
	fd = 0;
}

static void damage_is_found(void **state)
{
	struct fix *f = *state;
	struct db *d = open_it(f);
	struct buf out = {0};
	char log[256];

	fill(d, 50);
	db_close(d);
	assert_true(db_check(&f->env, f->path, plain, &out));
	assert_non_null(strstr(out.data, "ok"));
	buf_clear(&out);
	damage(f);
	fix_name(f, "-wal", log);
	(void)unlink(log);
	assert_false(db_check(&f->env, f->path, plain, &out));
	assert_non_null(strstr(out.data, f->path));
	buf_free(&out);
	d = open_it(f);
	assert_true(fix_fatal(f, read_all, d));
	assert_non_null(strstr(f->said.data, "restore it from a backup"));
	db_close(d);
}

/* Its own file size limit stands for a quota: the signal must not kill it. */
static void fill_to_the_limit(void *arg)
{
	struct fix *f = arg;
	struct db *d = db_open(&f->env, f->path, plain, &f->err);
	struct rlimit limit = { 300000, 300000 };
	char text[3500];
	int good = 0;

	must(d && setrlimit(RLIMIT_FSIZE, &limit) == 0);
	memset(text, 'q', sizeof text);
	text[sizeof text - 1] = 0;
	for (insert(d, good, text); db_commit(d) == DB_OK; insert(d, good, text))
		must(++good < 1000);
	must(good > 10 && count(d) == good);
	_exit(0);
}

static void a_file_size_limit_is_no_room(void **state)
{
	struct fix *f = *state;
	struct db *d;

	assert_int_equal(fix_child(fill_to_the_limit, f), 0);
	d = open_it(f);
	assert_true(count(d) > 10);
	db_close(d);
}

static void commit_and_tell(void *arg, int fd)
{
	struct fix *f = arg;
	struct db *d = db_open(&f->env, f->path, plain, &f->err);

	must(d);
	for (int i = 0; i < 7; i++) {
		insert(d, i, "committed");
		must(db_commit(d) == DB_OK);
	}
	insert(d, 100, "not committed");
	must(write(fd, "x", 1) == 1);
}

static void what_was_committed_survives_a_kill(void **state)
{
	struct fix *f = *state;
	struct db *d;
	int fd, pid = fix_child_start(commit_and_tell, f, &fd);

	fix_child_kill(pid, fd);
	d = open_it(f);
	assert_int_equal(count(d), 7);
	db_close(d);
}

/* statements */

static void one_literal_is_one_statement(void **state)
{
	static char sql[200][32];
	struct fix *f = *state;
	struct db *d = open_it(f);
	sqlite3_stmt *all[200];

	for (int i = 0; i < 200; i++) {
		snprintf(sql[i], sizeof sql[i], "SELECT %d, ?1", i);
		all[i] = db_sql(d, sql[i]);
		db_bind_int(all[i], 1, 7);
		assert_int_equal(db_step(d, all[i]), SQLITE_ROW);
	}
	for (int i = 0; i < 200; i++) {
		assert_ptr_equal(db_sql(d, sql[i]), all[i]);
		assert_int_equal(db_step(d, all[i]), SQLITE_ROW);
		assert_int_equal(sqlite3_column_int(all[i], 0), i);
		assert_int_equal(sqlite3_column_type(all[i], 1), SQLITE_NULL);
	}
	db_close(d);
}

static void prepare_nonsense(void *arg) { db_sql(arg, "SELECT nonsense FROM nowhere"); }

static void a_statement_that_is_none_is_the_end(void **state)
{
	struct fix *f = *state;
	struct db *d = open_it(f);

	assert_true(fix_fatal(f, prepare_nonsense, d));
	assert_non_null(strstr(f->said.data, "nowhere"));
	db_close(d);
}

static void binds_nothing_as_null_and_bytes_as_text(void **state)
{
	struct fix *f = *state;
	struct db *d = open_it(f);
	sqlite3_stmt *q = db_sql(d, "SELECT typeof(?1), typeof(?2), typeof(?3), typeof(?4), ?5, length(CAST(?6 AS BLOB))");

	db_bind_text(q, 1, NULL);
	db_bind_bytes(q, 2, "", 0);
	db_bind_null_or_int(q, 3, true, 5);
	db_bind_null_or_int(q, 4, false, 5);
	db_bind_int(q, 5, INT64_MIN);
	db_bind_bytes(q, 6, "a\0b", 3);
	assert_int_equal(db_step(d, q), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(q, 0), "null");
	assert_string_equal((const char *)sqlite3_column_text(q, 1), "text");
	assert_string_equal((const char *)sqlite3_column_text(q, 2), "null");
	assert_string_equal((const char *)sqlite3_column_text(q, 3), "integer");
	assert_true(sqlite3_column_int64(q, 4) == INT64_MIN);
	assert_int_equal(sqlite3_column_int(q, 5), 3);
	db_close(d);
}

/* readers, copies, setting aside */

static void change_through_reader(void *arg) { insert(arg, 50, "x"); }

static void a_reader_only_looks(void **state)
{
	struct fix *f = *state;
	struct db *d, *r;

	assert_null(db_open_reader(&f->env, f->path, plain, &f->err));
	assert_false(fix_exists(f, ""));
	d = open_it(f);
	r = db_open_reader(&f->env, f->path, plain, &f->err);
	assert_non_null(r);
	insert(d, 1, "x");
	assert_int_equal(count(r), 0);
	assert_int_equal(db_commit(d), DB_OK);
	assert_int_equal(count(r), 1);
	assert_true(fix_fatal(f, change_through_reader, r));
	db_close(r);
	db_close(d);
}

static void a_copy_is_whole_private_and_marked(void **state)
{
	struct fix *f = *state;
	struct db *d = open_it(f), *c;
	char copy[256];

	fill(d, 1500);
	insert(d, -1, "not committed yet");
	fix_name(f, ".copy", copy);
	assert_true(db_backup(&f->env, f->path, copy, "INSERT INTO t VALUES (-7, 'a copy')", &f->err));
	assert_int_equal(fix_mode(f, ".copy"), 0600);
	assert_false(fix_exists(f, ".copy-wal") || fix_exists(f, ".copy-shm") || fix_exists(f, ".copy-journal"));
	assert_string_equal(fix_ask(copy, "PRAGMA integrity_check"), "ok");
	assert_string_equal(fix_ask(copy, "PRAGMA journal_mode"), "delete");
	assert_string_equal(fix_ask(copy, "SELECT count(*) FROM t"), "1501");
	assert_string_equal(fix_ask(copy, "SELECT b FROM t WHERE a = -7"), "a copy");
	assert_false(db_backup(&f->env, f->path, copy, NULL, &f->err));
	assert_string_equal(fix_ask(copy, "SELECT count(*) FROM t"), "1501");
	assert_int_equal(db_commit(d), DB_OK);
	db_close(d);
	c = db_open(&f->env, copy, plain, &f->err);
	assert_non_null(c);
	assert_int_equal(count(c), 1501);
	db_close(c);
}

static void a_copy_that_fails_leaves_nothing(void **state)
{
	struct fix *f = *state;
	char copy[256], none[256];

	db_close(open_it(f));
	fix_name(f, ".copy", copy);
	buf_clear(&f->err);
	assert_false(db_backup(&f->env, f->path, copy, "this is not SQL", &f->err));
	assert_true(f->err.len > 0);
	assert_false(fix_exists(f, ".copy") || fix_exists(f, ".copy-wal") || fix_exists(f, ".copy-shm") || fix_exists(f, ".copy-journal"));
	fix_name(f, ".none", none);
	assert_false(db_backup(&f->env, none, copy, NULL, &f->err));
	assert_false(fix_exists(f, ".copy") || fix_exists(f, ".none"));
}

static void set_aside_takes_the_log_along(void **state)
{
	struct fix *f = *state;
	char old[256];
	struct db *d;
	int fd, pid = fix_child_start(commit_and_tell, f, &fd);

	buf_clear(&f->err);
	assert_false(db_set_aside(&f->env, f->path, &f->err));
	assert_non_null(strstr(f->err.data, "in use"));
	fix_child_kill(pid, fd);
	assert_true(db_set_aside(&f->env, f->path, &f->err));
	assert_false(fix_exists(f, "") || fix_exists(f, "-wal") || fix_exists(f, "-shm"));
	fix_name(f, ".old-1", old);
	assert_string_equal(fix_ask(old, "SELECT count(*) FROM t"), "7");
	d = open_it(f);
	assert_int_equal(count(d), 0);
	db_close(d);
	assert_true(db_set_aside(&f->env, f->path, &f->err));
	assert_true(fix_exists(f, ".old-2"));
	assert_string_equal(fix_ask(old, "SELECT count(*) FROM t"), "7");
	assert_true(db_set_aside(&f->env, f->path, &f->err));
	assert_false(fix_exists(f, ".old-3"));
}

static void set_aside_overwrites_nothing(void **state)
{
	struct fix *f = *state;
	char old[256];

	for (int i = 1; i <= 3; i++) {
		struct stat st;
		FILE *out = fopen(f->path, "w");
		assert_true(out && fprintf(out, "%*d", i, i) == i && fclose(out) == 0);
		assert_true(db_set_aside(&f->env, f->path, &f->err));
		for (int k = 1; k <= i; k++) {
			snprintf(old, sizeof old, "%s.old-%d", f->path, k);
			assert_true(stat(old, &st) == 0 && st.st_size == k);
		}
	}
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fix_enter, fix_leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(makes_private_files), CASE(makes_a_wide_file_private), CASE(sets_its_pragmas), CASE(keeps_a_test_world_to_itself),
		CASE(refuses_what_is_no_plain_file), CASE(refuses_a_lock_that_is_a_link), CASE(refuses_a_directory_open_to_others), CASE(refuses_what_is_no_database),
		CASE(leaves_a_file_of_another_kind_as_it_is), CASE(keeps_the_lock_while_others_come_and_go),
		CASE(refuses_a_second_process), CASE(keeps_the_lock_while_others_come_and_go),
		CASE(a_commit_is_synced_before_it_says_so), CASE(a_transaction_begins_once_and_ends_once), CASE(a_full_disk_undoes_all_and_later_works),
		CASE(a_disk_that_fills_in_mid_transaction_undoes_all), CASE(a_failed_sync_is_the_end), CASE(a_failed_write_is_the_end),
		CASE(the_log_is_copied_when_it_has_grown), CASE(a_commit_copies_nothing), CASE(a_full_disk_only_delays_the_copying), CASE(a_failed_sync_while_copying_is_the_end),
		CASE(a_reader_in_the_way_delays_and_harms_nothing), CASE(somebody_elses_write_lock_is_no_room), CASE(a_file_deleted_or_replaced_is_the_end),
		CASE(damage_is_found), CASE(a_file_size_limit_is_no_room), CASE(what_was_committed_survives_a_kill),
		CASE(one_literal_is_one_statement), CASE(a_statement_that_is_none_is_the_end), CASE(binds_nothing_as_null_and_bytes_as_text),
		CASE(a_reader_only_looks), CASE(a_copy_is_whole_private_and_marked), CASE(a_copy_that_fails_leaves_nothing), CASE(set_aside_takes_the_log_along), CASE(set_aside_overwrites_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
