/* migrations: from every older version with rows in it, what is refused, what a failure leaves; and embed.sh, which compiles them in. Run in the top directory. */
#include "../journal.h"
#include "../store.h"
#include "dbfix.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* Rows as version 1 had them. A later migration that changes what they mean says so by a change to what is asked for at the end. */
static const char server_rows[] =
	"INSERT INTO commands (row, nonce, created_at, type, is_idempotent, status, attempt, max_attempts, not_started, redelivered, evidence, needs_review, cancel_requested, "
	"updated_at, payload) VALUES (1, 11, 1700000000000, 'DELAY', 1, 'PENDING', 0, 5, 0, 0, 0, 0, 0, 1700000000000, '{\"ms\":1}');"
	"INSERT INTO commands (row, nonce, created_at, type, is_idempotent, status, attempt, max_attempts, not_started, redelivered, evidence, agent_id, journal_id, boot_id, "
	"needs_review, cancel_requested, started_at, updated_at) VALUES (2, 12, 1700000000001, 'HTTP_GET_JSON', 0, 'RUNNING', 3, 5, 1, 2, 0, 'host/1', 'j1', '4-0badcafe', 0, 1, "
	"1700000000002, 1700000000002);"
	"INSERT INTO payloads VALUES (2, '{\"url\":\"http://127.0.0.1/\"}');"
	"INSERT INTO commands (row, nonce, created_at, type, is_idempotent, status, attempt, max_attempts, not_started, redelivered, evidence, failure_code, needs_review, "
	"cancel_requested, finished_at, updated_at, payload, result, error) VALUES (3, 13, 1700000000003, 'DELAY', 0, 'FAILED', 1, 5, 0, 0, 1, 'OUTCOME_UNKNOWN', 1, 0, "
	"1700000000004, 1700000000004, '{\"ms\":2}', NULL, 'the agent was killed');"
	"INSERT INTO idempotency_keys VALUES ('a key', 1, 5);"
	"INSERT INTO events (event, row, at, kind, actor, attempt) VALUES (1, 3, 1700000000004, 'report', 'host/1', 1);"
	"INSERT INTO agents VALUES ('host/1', 'j1', '4-0badcafe', 1700000000002);"
	"INSERT INTO journals VALUES ('j1', 4, '4-0badcafe');"
	"INSERT INTO facts VALUES ('paused', 'restore-1');";

static const char agent_rows[] =
	"INSERT INTO meta VALUES ('journal_id', '0123456789abcdef0123456789abcdef'), ('boot', '41'), ('fenced', '1'), ('name', 'old-host');"
	"INSERT INTO entries VALUES (1, '01931a2b-0000-7000-8000-00000000000a', 1, 'host/1', 'DELAY', 0, 'STARTED', 'OPEN', NULL, NULL, NULL, NULL, 40, 1700000000000, NULL, NULL);"
	"INSERT INTO entries VALUES (2, '01931a2b-0000-7000-8000-00000000000b', 2, 'host/2', 'HTTP_GET_JSON', 1, 'FINISHED', 'ANSWERED', 'FAILED', 'TIMEOUT', '{\"status\":0}', 'late', 40, "
	"1700000000000, 1700000000001, 1700000000002);"
	"INSERT INTO entries VALUES (3, '01931a2b-0000-7000-8000-00000000000c', 1, 'host/1', 'DELAY', 0, 'NOT_STARTED', 'ORPHAN', NULL, NULL, NULL, NULL, 41, NULL, 1700000000003, 1700000000004);";

static int newest(const struct db_migration *m)
{
	int n = 0;

	while (m[n].version)
		n++;
	return n;
}

static void run(sqlite3 *h, const char *sql)
{
	char *why = NULL;

	if (sqlite3_exec(h, sql, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s: %s", why, sql);
}

/* A database of that version, made by the migrations up to it, with the rows put in at version 1. */
static void make_old(const char *path, const struct db_migration *m, int version, const char *rows)
{
	char sql[64];
	sqlite3 *h;

	(void)unlink(path);
	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	run(h, "PRAGMA journal_mode=WAL");
	for (int i = 0; i < version; i++) {
		run(h, m[i].sql);
		if (i == 0)
			run(h, rows);
		snprintf(sql, sizeof sql, "PRAGMA user_version=%d", i + 1);
		run(h, sql);
	}
	assert_int_equal(sqlite3_close(h), SQLITE_OK);
}

static void check_server(struct store *s, bool rows)
{
	struct command c;
	int64_t max, boot;
	const char *text;

	assert_int_equal(store_get(s, 1, &c), rows);
	if (!rows)
		return;
	assert_true(c.status == STATUS_PENDING && c.is_idempotent && c.max_attempts == 5);
	assert_true(c.payload_len == 8 && memcmp(c.payload, "{\"ms\":1}", 8) == 0);
	assert_true(store_get(s, 2, &c));
	assert_true(c.status == STATUS_RUNNING && c.attempt == 3 && c.not_started == 1 && c.redelivered == 2 && c.cancel_requested && c.nonce == 12);
	assert_string_equal(c.agent_id, "host/1");
	assert_true(c.payload_len == 27);
	assert_true(store_get(s, 3, &c));
	assert_true(c.status == STATUS_FAILED && c.failure == FAILURE_OUTCOME_UNKNOWN && c.needs_review && c.held == HELD_INTERRUPTED);
	assert_string_equal(c.error, "the agent was killed");
	assert_true(store_key(s, "a key", &c, &max) && c.row == 1 && max == 5);
	assert_true(store_journal(s, "j1", &boot, &text) && boot == 4);
	assert_true(store_fact(s, "paused", &text));
	assert_string_equal(text, "restore-1");
}

static void the_server_comes_from_every_older_version(void **state)
{
	struct fix *f = *state;

	for (int version = 0; version <= newest(db_server_migrations); version++) {
		struct store *s;
		make_old(f->path, db_server_migrations, version, server_rows);
		s = store_open(&f->env, f->path, &f->err);
		if (!s)
			fail_msg("from version %d: %s", version, f->err.data);
		check_server(s, version > 0);
		store_close(s);
		assert_int_equal(atoi(fix_ask(f->path, "PRAGMA user_version")), newest(db_server_migrations));
		assert_string_equal(fix_ask(f->path, "PRAGMA integrity_check"), "ok");
		s = store_open_reader(&f->env, f->path, &f->err);
		assert_non_null(s);
		store_close(s);
	}
}

static void check_agent(struct journal *j, bool rows)
{
	struct journal_entry e;

	assert_int_equal(journal_boot(j), rows ? 42 : 1);
	assert_int_equal(journal_fenced(j), rows);
	assert_int_equal(journal_get(j, "01931a2b-0000-7000-8000-00000000000a", 1, &e), rows);
	if (!rows)
		return;
	assert_string_equal(journal_id(j), "0123456789abcdef0123456789abcdef");
	assert_true(e.state == JOURNAL_STARTED && e.answer == ANSWER_OPEN && e.boot == 40 && e.started_at == 1700000000000 && !e.is_idempotent);
	assert_true(journal_highest(j, "01931a2b-0000-7000-8000-00000000000b", &e));
	assert_true(e.attempt == 2 && e.state == JOURNAL_FINISHED && e.answer == ANSWER_ANSWERED && !e.completed && e.failure == FAILURE_TIMEOUT && e.is_idempotent);
	assert_string_equal(e.error, "late");
	assert_memory_equal(e.result, "{\"status\":0}", 12);
	assert_true(journal_get(j, "01931a2b-0000-7000-8000-00000000000c", 1, &e));
	assert_true(e.state == JOURNAL_NOT_STARTED && e.answer == ANSWER_ORPHAN);
	assert_string_equal(journal_name(j, "new-host"), "old-host");
}

static void the_agent_comes_from_every_older_version(void **state)
{
	struct fix *f = *state;

	for (int version = 0; version <= newest(db_agent_migrations); version++) {
		struct journal *j;
		make_old(f->path, db_agent_migrations, version, agent_rows);
		j = journal_open(&f->env, f->path, false, &f->err);
		if (!j)
			fail_msg("from version %d: %s", version, f->err.data);
		check_agent(j, version > 0);
		journal_close(j);
		assert_int_equal(atoi(fix_ask(f->path, "PRAGMA user_version")), newest(db_agent_migrations));
		assert_string_equal(fix_ask(f->path, "PRAGMA integrity_check"), "ok");
	}
}

/* What is compiled in is what the files say, numbered from 1. */
static void compiled_in_is_what_the_files_hold(void **state)
{
	static const struct { const char *dir; const struct db_migration *all; } kinds[] = { { "server", db_server_migrations }, { "agent", db_agent_migrations } };

	(void)state;
	for (size_t k = 0; k < 2; k++)
		for (int i = 0; kinds[k].all[i].version; i++) {
			char name[256], text[16384];
			FILE *in;
			size_t n;
			assert_int_equal(kinds[k].all[i].version, i + 1);
			snprintf(name, sizeof name, "migrations/%s/%04d_%s.sql", kinds[k].dir, i + 1, kinds[k].all[i].name);
			in = fopen(name, "r");
			assert_non_null(in);
			n = fread(text, 1, sizeof text - 1, in);
			text[n] = 0;
			assert_int_equal(fclose(in), 0);
			assert_string_equal(text, kinds[k].all[i].sql);
		}
}

/* refusals, on migrations of the test's own */

#define ONE { 1, "one", "CREATE TABLE a (x); INSERT INTO a VALUES (1)" }
#define TWO { 2, "two", "CREATE TABLE b (y); UPDATE a SET x = x + 1" }
#define THREE { 3, "three", "ALTER TABLE a ADD COLUMN z DEFAULT 7; DROP TABLE b" }
#define BAD_THREE { 3, "three", "CREATE TABLE c (x); INSERT INTO a VALUES (9); INSERT INTO nowhere VALUES (1)" }
#define END { 0, NULL, NULL }
static const struct db_migration up_to_1[] = { ONE, END }, up_to_2[] = { ONE, TWO, END }, up_to_3[] = { ONE, TWO, THREE, END }, bad[] = { ONE, TWO, BAD_THREE, END },
	gap[] = { ONE, THREE, END }, late[] = { TWO, END }, twice[] = { ONE, ONE, TWO, END };

static bool opens(struct fix *f, const struct db_migration *m, const char *why)
{
	struct db *d;

	buf_clear(&f->err);
	d = db_open(&f->env, f->path, m, &f->err);
	if (d) {
		db_close(d);
		return true;
	}
	assert_null(strchr(f->err.data, '\n'));
	if (!strstr(f->err.data, why))
		fail_msg("\"%s\" does not say \"%s\"", f->err.data, why);
	return false;
}

static void each_is_applied_once(void **state)
{
	struct fix *f = *state;

	assert_true(opens(f, up_to_1, ""));
	assert_true(opens(f, up_to_1, ""));
	assert_string_equal(fix_ask(f->path, "SELECT count(*) || ' ' || sum(x) FROM a"), "1 1");
	assert_true(opens(f, up_to_3, ""));
	assert_true(opens(f, up_to_3, ""));
	assert_string_equal(fix_ask(f->path, "SELECT count(*) || ' ' || sum(x) || ' ' || sum(z) FROM a"), "1 2 7");
	assert_string_equal(fix_ask(f->path, "PRAGMA user_version"), "3");
}

static void a_newer_database_is_refused_untouched(void **state)
{
	struct fix *f = *state;

	assert_true(opens(f, up_to_3, ""));
	assert_false(opens(f, up_to_2, "version 3, newer than this program knows (2)"));
	assert_string_equal(fix_ask(f->path, "PRAGMA user_version"), "3");
	assert_string_equal(fix_ask(f->path, "SELECT sum(z) FROM a"), "7");
	assert_true(opens(f, up_to_3, ""));
}

static void a_reader_takes_the_newest_version_only(void **state)
{
	struct fix *f = *state;
	struct db *d;

	assert_true(opens(f, up_to_2, ""));
	assert_null(db_open_reader(&f->env, f->path, up_to_1, &f->err));
	assert_null(db_open_reader(&f->env, f->path, up_to_3, &f->err));
	assert_string_equal(fix_ask(f->path, "PRAGMA user_version"), "2");
	d = db_open_reader(&f->env, f->path, up_to_2, &f->err);
	assert_non_null(d);
	db_close(d);
}

static void a_gap_is_refused(void **state)
{
	struct fix *f = *state;

	assert_false(opens(f, late, "no migration from version 0 to 2"));
	assert_false(opens(f, gap, "no migration from version 1 to 3"));
	assert_string_equal(fix_ask(f->path, "PRAGMA user_version"), "1");
	assert_true(opens(f, twice, ""));                 /* a number that is already there is passed over, not run again */
	assert_string_equal(fix_ask(f->path, "SELECT sum(x) FROM a"), "2");
}

static void a_failed_migration_leaves_the_older_version(void **state)
{
	struct fix *f = *state;

	assert_false(opens(f, bad, "0003_three failed and was undone: no such table: nowhere"));
	assert_string_equal(fix_ask(f->path, "PRAGMA user_version"), "2");
	assert_string_equal(fix_ask(f->path, "SELECT count(*) || ' ' || sum(x) FROM a"), "1 2");
	assert_string_equal(fix_ask(f->path, "SELECT count(*) FROM sqlite_master WHERE name = 'c'"), "0");
	assert_true(opens(f, up_to_3, ""));
	assert_string_equal(fix_ask(f->path, "SELECT sum(z) FROM a"), "7");
}

/* The disk is full, or the sync fails, at the n-th time during an upgrade: the version and the rows of before or of after it, nothing between. */
static void an_upgrade_that_is_cut_short_is_whole_or_not_there(void **state)
{
	struct fix *f = *state;
	int done = 0;

	fix_disk(f);
	for (long n = 0; done < 2; n++) {
		bool sync = done == 1;
		make_old(f->path, up_to_1, 1, "");
		if (sync)
			faultvfs_fail_sync(f->disk, n);
		else
			faultvfs_fail_writes(f->disk, n, SQLITE_FULL, ENOSPC);
		if (opens(f, up_to_3, f->path)) {
			done++;
			assert_true(n > 0);
			n = -1;
		}
		faultvfs_fail_writes(f->disk, -1, 0, 0);
		faultvfs_fail_sync(f->disk, -1);
		assert_true(opens(f, up_to_3, ""));
		assert_string_equal(fix_ask(f->path, "SELECT count(*) || ' ' || sum(x) || ' ' || sum(z) FROM a"), "1 2 7");
	}
}

/* embed.sh */

static bool embeds(struct fix *f, const char *const *files)
{
	struct buf line = {0};
	char top[512];
	int status;

	assert_non_null(getcwd(top, sizeof top));
	buf_fmt(&line, "cd '%s' && rm -rf m && mkdir m && cd m && mkdir -p migrations/server migrations/agent && echo 'SELECT 1;' >migrations/agent/0001_init.sql", f->dir);
	for (; *files; files++)
		buf_fmt(&line, " && echo 'SELECT \"%s\\n\";' >'migrations/server/%s'", *files, *files);
	buf_fmt(&line, " && sh '%s/t/embed.sh' out.c 2>log", top);
	status = system(line.data);
	buf_clear(&line);
	buf_fmt(&line, "cd '%s/m' && test %s -f out.c && test ! -f out.c.new && test %s -s log", f->dir, status == 0 ? "" : "!", status == 0 ? "!" : "");
	assert_int_equal(system(line.data), 0);
	buf_clear(&line);
	buf_fmt(&line, "rm -rf '%s/m'", f->dir);
	assert_int_equal(system(line.data), 0);
	buf_free(&line);
	return status == 0;
}

static void embedding_refuses_gaps_and_bad_names(void **state)
{
	static const struct { bool good; const char *files[5]; } cases[] = {
		{ true, { "0001_init.sql" } }, { true, { "0001_init.sql", "0002_a_b2.sql", "0003_c.sql" } },
		{ false, { NULL } }, { false, { "0002_init.sql" } }, { false, { "0000_init.sql" } }, { false, { "0001_init.sql", "0003_c.sql" } },
		{ false, { "0001_init.sql", "0001_other.sql" } }, { false, { "0001_init.sql", "0002_b.sql", "0002_c.sql" } }, { false, { "init.sql" } }, { false, { "1_init.sql" } },
		{ false, { "001_init.sql" } }, { false, { "00001_init.sql" } }, { false, { "0001-init.sql" } }, { false, { "0001_.sql" } }, { false, { "0001.sql" } },
		{ false, { "0001_init" } }, { false, { "0001_init.SQL" } }, { false, { "0001_Init.sql" } }, { false, { "0001_in it.sql" } }, { false, { "0001_init.sql.sql" } },
		{ false, { "0001_init.sql", "README" } }, { false, { "0001_init.sql", "0002_b.sql~" } }, { false, { "0001_in\"it.sql" } },
	};
	struct fix *f = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (embeds(f, cases[i].files) != cases[i].good)
			fail_msg("%s ... is %s", cases[i].files[0] ? cases[i].files[0] : "nothing", cases[i].good ? "refused" : "taken");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fix_enter, fix_leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_server_comes_from_every_older_version), CASE(the_agent_comes_from_every_older_version), CASE(compiled_in_is_what_the_files_hold),
		CASE(each_is_applied_once), CASE(a_newer_database_is_refused_untouched), CASE(a_reader_takes_the_newest_version_only), CASE(a_gap_is_refused),
		CASE(a_failed_migration_leaves_the_older_version), CASE(an_upgrade_that_is_cut_short_is_whole_or_not_there), CASE(embedding_refuses_gaps_and_bad_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
