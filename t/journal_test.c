/* journal: every change of an entry's state, what a kill, a full disk and a failed sync leave, the start counter, the fence. */
#include "../journal.h"
#include "dbfix.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define ID_A "01931a2b-0000-7000-8000-00000000000a"
#define ID_B "01931a2b-0000-7000-8000-00000000000b"

static struct journal *open_it(struct fix *f)
{
	struct journal *j;

	buf_clear(&f->err);
	j = journal_open(&f->env, f->path, false, &f->err);
	if (!j)
		fail_msg("%s", f->err.data);
	return j;
}

static struct journal_entry entry(const char *id, int64_t attempt)
{
	struct journal_entry e;

	memset(&e, 0, sizeof e);
	strcpy(e.id, id);
	e.attempt = attempt;
	e.agent_id = "host/1";
	e.type = "DELAY";
	return e;
}

static void start(struct journal *j, const char *id, int64_t attempt)
{
	struct journal_entry e = entry(id, attempt);

	journal_start(j, &e);
}

static void tombstone(struct journal *j, const char *id, int64_t attempt)
{
	struct journal_entry e = entry(id, attempt);

	journal_not_started(j, &e);
}

static void finish(struct journal *j, const char *id, int64_t attempt)
{
	journal_finish(j, id, attempt, true, FAILURE_NONE, "{\"ok\":true}", 11, NULL);
}

static void commit(struct journal *j) { assert_int_equal(journal_commit(j), DB_OK); }

static struct journal_entry get(struct journal *j, const char *id, int64_t attempt)
{
	struct journal_entry e;

	assert_true(journal_get(j, id, attempt, &e));
	return e;
}

static void count_one(void *arg, const struct journal_entry *e)
{
	(void)e;
	++*(int *)arg;
}

static int count(struct journal *j)
{
	int n = 0;

	journal_list(j, INT64_MAX, count_one, &n);
	return n;
}

static int count_open(struct journal *j)
{
	int n = 0;

	journal_open_entries(j, count_one, &n);
	return n;
}

static bool aborted(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT; }

/* identity */

static void the_id_is_made_once_and_the_boot_counts(void **state)
{
	struct fix *f = *state;
	char id[65] = "", digits[16] = "";

	f->wall_ms = 1700000000000;
	for (int n = 1; n <= 5; n++) {
		struct journal *j = open_it(f);
		int64_t read_n;
		if (n == 1)
			strcpy(id, journal_id(j));
		assert_string_equal(journal_id(j), id);
		assert_int_equal(strlen(id), 32);
		assert_int_equal(journal_boot(j), n);
		assert_true(boot_id_read(journal_boot_id(j), strlen(journal_boot_id(j)), &read_n));
		assert_int_equal(read_n, n);
		assert_string_not_equal(strchr(journal_boot_id(j), '-') + 1, digits);
		strcpy(digits, strchr(journal_boot_id(j), '-') + 1);
		assert_false(journal_fenced(j));
		assert_false(journal_dirty(j));
		journal_close(j);
	}
}

static void two_journals_of_one_instant_differ(void **state)
{
	struct fix *f = *state;
	char other[256], id[65], boot[32];
	struct journal *j;

	f->wall_ms = 1700000000000;
	j = open_it(f);
	strcpy(id, journal_id(j));
	strcpy(boot, journal_boot_id(j));
	journal_close(j);
	fix_name(f, ".other", other);
	j = journal_open(&f->env, other, false, &f->err);
	assert_non_null(j);
	assert_string_not_equal(journal_id(j), id);
	assert_string_not_equal(journal_boot_id(j), boot);
	journal_close(j);
}

static void open_and_tell(void *arg, int fd)
{
	struct fix *f = arg;

	must(journal_open(&f->env, f->path, false, &f->err));
	must(write(fd, "x", 1) == 1);
}

static void the_boot_is_durable_before_anybody_hears_of_it(void **state)
{
	struct fix *f = *state;

	for (int n = 1; n <= 6; n += 2) {
		int fd, pid = fix_child_start(open_and_tell, f, &fd);
		struct journal *j;
		fix_child_kill(pid, fd);
		j = open_it(f);
		assert_int_equal(journal_boot(j), n + 1);
		journal_close(j);
	}
}

static void the_boot_is_synced_or_the_journal_stays_shut(void **state)
{
	struct fix *f = *state;
	struct journal *j;
	long writes, n = 0;

	fix_disk(f);
	journal_close(open_it(f));
	writes = faultvfs_syncs(f->disk);
	j = open_it(f);
	assert_true(faultvfs_syncs(f->disk) > writes);
	assert_int_equal(faultvfs_unsynced(f->disk), 0);
	journal_close(j);
	for (;; n++) {
		buf_clear(&f->err);
		faultvfs_fail_writes(f->disk, n, SQLITE_FULL, ENOSPC);
		j = journal_open(&f->env, f->path, false, &f->err);
		faultvfs_fail_writes(f->disk, -1, 0, 0);
		if (j)
			break;
		assert_true(f->err.len > 0);
		assert_null(strchr(f->err.data, '\n'));
	}
	assert_true(n > 0);
	assert_int_equal(journal_boot(j), 3);
	journal_close(j);
}

static void a_damaged_counter_is_refused(void **state)
{
	struct fix *f = *state;
	sqlite3 *h;

	journal_close(open_it(f));
	assert_int_equal(sqlite3_open(f->path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, "UPDATE meta SET value = 'many' WHERE name = 'boot'", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(h), SQLITE_OK);
	assert_null(journal_open(&f->env, f->path, false, &f->err));
	assert_non_null(strstr(f->err.data, "many"));
}

static void the_fence_stays_until_a_new_journal(void **state)
{
	struct fix *f = *state;
	struct journal *j = open_it(f);
	char id[65], old[256];

	strcpy(id, journal_id(j));
	start(j, ID_A, 1);
	commit(j);
	journal_fence(j);
	assert_true(journal_dirty(j));
	journal_close(j);
	j = open_it(f);
	assert_false(journal_fenced(j));
	journal_fence(j);
	commit(j);
	assert_true(journal_fenced(j));
	journal_close(j);
	j = open_it(f);
	assert_true(journal_fenced(j));
	journal_close(j);
	j = journal_open(&f->env, f->path, true, &f->err);
	assert_non_null(j);
	assert_false(journal_fenced(j));
	assert_string_not_equal(journal_id(j), id);
	assert_int_equal(journal_boot(j), 1);
	assert_int_equal(count(j), 0);
	journal_close(j);
	fix_name(f, ".old-1", old);
	j = journal_open_reader(&f->env, old, &f->err);
	assert_non_null(j);
	assert_string_equal(journal_id(j), id);
	assert_true(journal_fenced(j));
	assert_int_equal(count(j), 1);
	journal_close(j);
}

static void a_damaged_journal_can_be_set_aside(void **state)
{
	struct fix *f = *state;
	struct journal *j;
	FILE *out = fopen(f->path, "w");

	for (int i = 0; i < 500; i++)
		fputs("noise and more noise\n", out);
	assert_int_equal(fclose(out), 0);
	assert_null(journal_open(&f->env, f->path, false, &f->err));
	j = journal_open(&f->env, f->path, true, &f->err);
	assert_non_null(j);
	journal_close(j);
	assert_true(fix_exists(f, ".old-1"));
}

static void the_name_is_kept(void **state)
{
	struct fix *f = *state;
	struct journal *j = open_it(f);

	assert_string_equal(journal_name(j, "first-host"), "first-host");
	assert_string_equal(journal_name(j, "second-host"), "first-host");
	journal_close(j);
	j = open_it(f);
	assert_string_equal(journal_name(j, "third-host"), "first-host");
	journal_close(j);
}

/* an entry's life */

static void a_start_holds_all_it_was_given(void **state)
{
	struct fix *f = *state;
	struct journal *j = open_it(f);
	struct journal_entry e = entry(ID_A, 3), got;

	f->wall_ms = 1700000000001;
	e.is_idempotent = true;
	e.type = "HTTP_GET_JSON";
	journal_start(j, &e);
	assert_true(journal_dirty(j));
	commit(j);
	assert_false(journal_dirty(j));
	got = get(j, ID_A, 3);
	assert_string_equal(got.id, ID_A);
	assert_int_equal(got.attempt, 3);
	assert_string_equal(got.agent_id, "host/1");
	assert_string_equal(got.type, "HTTP_GET_JSON");
	assert_true(got.is_idempotent);
	assert_int_equal(got.state, JOURNAL_STARTED);
	assert_int_equal(got.answer, ANSWER_OPEN);
	assert_null(got.result);
	assert_null(got.error);
	assert_int_equal(got.boot, 1);
	assert_true(got.started_at == 1700000000001 && got.finished_at == 0 && got.answered_at == 0);
	assert_false(journal_get(j, ID_A, 2, &got));
	assert_false(journal_get(j, ID_B, 3, &got));
	journal_close(j);
}

static void an_end_is_kept_as_it_came(void **state)
{
	static const struct { bool completed; enum failure failure; const char *result; size_t len; const char *error; } ends[] = {
		{ true, FAILURE_NONE, "{\"ok\":true,\"tookMs\":5}", 22, NULL }, { true, FAILURE_NONE, "\"gr\xc3\xbc\xc3\x9f\"", 8, "HTTP 404" }, { true, FAILURE_NONE, NULL, 0, NULL },
		{ false, FAILURE_EXECUTION_FAILED, "{\"status\":0}", 12, "connection refused" }, { false, FAILURE_TIMEOUT, NULL, 0, "too late" }, { false, FAILURE_CANCELLED, NULL, 0, "" },
	};
	struct fix *f = *state;
	struct journal *j = open_it(f);

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		struct journal_entry e;
		start(j, ID_A, (int64_t)i + 1);
		commit(j);
		f->wall_ms = 1700000000000 + (int64_t)i;
		journal_finish(j, ID_A, (int64_t)i + 1, ends[i].completed, ends[i].failure, ends[i].result, ends[i].len, ends[i].error);
		commit(j);
		e = get(j, ID_A, (int64_t)i + 1);
		assert_int_equal(e.state, JOURNAL_FINISHED);
		assert_int_equal(e.answer, ANSWER_OPEN);
		assert_int_equal(e.completed, ends[i].completed);
		assert_int_equal(e.failure, ends[i].failure);
		assert_int_equal(e.result_len, ends[i].len);
		assert_true(ends[i].result ? memcmp(e.result, ends[i].result, ends[i].len) == 0 : !e.result);
		assert_true(ends[i].error ? strcmp(e.error, ends[i].error) == 0 : !e.error);
		assert_true(e.finished_at == f->wall_ms);
	}
	journal_close(j);
}

static void a_large_result_comes_back_whole(void **state)
{
	struct fix *f = *state;
	struct journal *j = open_it(f);
	char *text = mem_new(COMMAND_RESULT_MAX);
	struct journal_entry e;

	for (size_t i = 0; i < COMMAND_RESULT_MAX; i++)
		text[i] = (char)('a' + i % 26);
	start(j, ID_A, 1);
	journal_finish(j, ID_A, 1, true, FAILURE_NONE, text, COMMAND_RESULT_MAX, NULL);
	commit(j);
	e = get(j, ID_A, 1);
	assert_int_equal(e.result_len, COMMAND_RESULT_MAX);
	assert_memory_equal(e.result, text, COMMAND_RESULT_MAX);
	free(text);
	journal_close(j);
}

/* Every state with every change: what it becomes, or that the program refuses it (must). */
enum { NONE = -1, REFUSED = -2 };
enum change { START, FINISH, TOMBSTONE, ANSWERED, ORPHANED, GIVE, CHANGES };

static void reach(struct journal *j, int state)
{
	if (state == JOURNAL_STARTED || state == JOURNAL_FINISHED)
		start(j, ID_A, 1);
	if (state == JOURNAL_FINISHED)
		finish(j, ID_A, 1);
	if (state == JOURNAL_NOT_STARTED)
		tombstone(j, ID_A, 1);
	commit(j);
}

static void make_change(struct journal *j, enum change c)
{
	switch (c) {
	case START: start(j, ID_A, 1); return;
	case FINISH: finish(j, ID_A, 1); return;
	case TOMBSTONE: tombstone(j, ID_A, 1); return;
	case ANSWERED: journal_answered(j, ID_A, 1, ANSWER_ANSWERED); return;
	case ORPHANED: journal_answered(j, ID_A, 1, ANSWER_ORPHAN); return;
	case GIVE: journal_give(j, ID_A, 1, "host/2"); return;
	case CHANGES: break;
	}
	fail();
}

struct refusal { struct fix *f; enum change c; };

static void change_in_child(void *arg)
{
	struct refusal *r = arg;
	struct journal *j = journal_open(&r->f->env, r->f->path, false, &r->f->err);

	must(j);
	make_change(j, r->c);
}

static void every_state_takes_what_it_may(void **state)
{
	static const struct { int from; int to[CHANGES]; } table[] = {
		{ NONE, { JOURNAL_STARTED, REFUSED, JOURNAL_NOT_STARTED, REFUSED, REFUSED, REFUSED } },
		{ JOURNAL_STARTED, { REFUSED, JOURNAL_FINISHED, JOURNAL_NOT_STARTED, JOURNAL_STARTED, JOURNAL_STARTED, JOURNAL_STARTED } },
		{ JOURNAL_FINISHED, { REFUSED, REFUSED, REFUSED, JOURNAL_FINISHED, JOURNAL_FINISHED, JOURNAL_FINISHED } },
		{ JOURNAL_NOT_STARTED, { REFUSED, REFUSED, REFUSED, JOURNAL_NOT_STARTED, JOURNAL_NOT_STARTED, JOURNAL_NOT_STARTED } },
	};
	static const enum journal_answer answers[CHANGES] = { ANSWER_OPEN, ANSWER_OPEN, ANSWER_OPEN, ANSWER_ANSWERED, ANSWER_ORPHAN, ANSWER_OPEN };
	struct fix *f = *state;

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		for (int c = 0; c < CHANGES; c++) {
			struct journal *j = journal_open(&f->env, f->path, true, &f->err);
			struct refusal r = { f, (enum change)c };
			struct journal_entry e;
			assert_non_null(j);
			reach(j, table[i].from);
			if (table[i].to[c] == REFUSED) {
				journal_close(j);
				if (!aborted(fix_child(change_in_child, &r)))
					fail_msg("state %d takes change %d", table[i].from, c);
				continue;
			}
			make_change(j, (enum change)c);
			commit(j);
			e = get(j, ID_A, 1);
			assert_int_equal(e.state, table[i].to[c]);
			assert_int_equal(e.answer, answers[c]);
			assert_string_equal(e.agent_id, c == GIVE ? "host/2" : "host/1");
			journal_close(j);
		}
}

static void an_answer_closes_and_a_gift_opens_again(void **state)
{
	struct fix *f = *state;
	struct journal *j = open_it(f);
	struct journal_entry e;

	f->wall_ms = 1700000000000;
	start(j, ID_A, 1);
	finish(j, ID_A, 1);
	tombstone(j, ID_B, 1);
	commit(j);
	assert_int_equal(count_open(j), 2);
	f->wall_ms = 1700000000500;
	journal_answered(j, ID_A, 1, ANSWER_ANSWERED);
	journal_answered(j, ID_B, 1, ANSWER_ORPHAN);
	commit(j);
	assert_int_equal(count_open(j), 0);
	assert_true(get(j, ID_A, 1).answered_at == 1700000000500);
	journal_give(j, ID_A, 1, "host/7");
	commit(j);
	assert_int_equal(count_open(j), 1);
	e = get(j, ID_A, 1);
	assert_string_equal(e.agent_id, "host/7");
	assert_int_equal(e.state, JOURNAL_FINISHED);
	assert_memory_equal(e.result, "{\"ok\":true}", 11);
	journal_close(j);
}

static void the_highest_attempt_is_found_whatever_the_order(void **state)
{
	static const int64_t attempts[] = { 5, 2, 9, 1, 10, 7 };
	struct fix *f = *state;
	struct journal *j = open_it(f);
	struct journal_entry e;
	int64_t highest = 0;

	assert_false(journal_highest(j, ID_A, &e));
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
		start(j, ID_A, attempts[i]);
		start(j, ID_B, 100 + attempts[i]);
		highest = attempts[i] > highest ? attempts[i] : highest;
		assert_true(journal_highest(j, ID_A, &e));
		assert_int_equal(e.attempt, highest);
	}
	tombstone(j, ID_A, COMMAND_ATTEMPT_MAX);
	commit(j);
	assert_true(journal_highest(j, ID_A, &e));
	assert_int_equal(e.attempt, COMMAND_ATTEMPT_MAX);
	assert_int_equal(e.state, JOURNAL_NOT_STARTED);
	assert_true(journal_highest(j, ID_B, &e));
	assert_int_equal(e.attempt, 110);
	journal_close(j);
}

struct order { int64_t attempts[32]; int n; };

static void note(void *arg, const struct journal_entry *e)
{
	struct order *o = arg;

	o->attempts[o->n++] = e->attempt;
}

static void open_ones_come_oldest_first_and_the_list_newest_first(void **state)
{
	struct fix *f = *state;
	struct journal *j = open_it(f);
	struct order open = {0}, all = {0}, some = {0};

	f->wall_ms = 1700000000000;
	for (int64_t i = 1; i <= 8; i++) {
		f->wall_ms -= 1000;                       /* a clock that runs back decides nothing */
		start(j, ID_A, 9 - i);
		if (i % 2)
			journal_answered(j, ID_A, 9 - i, ANSWER_ANSWERED);
	}
	commit(j);
	journal_open_entries(j, note, &open);
	assert_int_equal(open.n, 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(open.attempts[i], 7 - 2 * i);
	journal_list(j, INT64_MAX, note, &all);
	assert_int_equal(all.n, 8);
	for (int i = 0; i < 8; i++)
		assert_int_equal(all.attempts[i], i + 1);
	journal_list(j, 3, note, &some);
	assert_int_equal(some.n, 3);
	assert_int_equal(some.attempts[0], 1);
	journal_close(j);
}

static void a_restore_opens_what_was_answered_once(void **state)
{
	struct fix *f = *state;
	struct journal *j = open_it(f);

	start(j, ID_A, 1);
	journal_answered(j, ID_A, 1, ANSWER_ANSWERED);
	start(j, ID_A, 2);
	journal_answered(j, ID_A, 2, ANSWER_ORPHAN);
	commit(j);
	assert_true(journal_reopen(j, "aaaa"));
	commit(j);
	assert_int_equal(count_open(j), 2);
	journal_answered(j, ID_A, 1, ANSWER_ANSWERED);
	journal_answered(j, ID_A, 2, ANSWER_ORPHAN);
	commit(j);
	assert_false(journal_reopen(j, "aaaa"));
	journal_close(j);
	j = open_it(f);
	assert_false(journal_reopen(j, "aaaa"));
	assert_int_equal(count_open(j), 0);
	assert_true(journal_reopen(j, "bbbb"));
	commit(j);
	assert_int_equal(count_open(j), 2);
	journal_close(j);
}

static void only_old_answered_entries_are_pruned(void **state)
{
	struct fix *f = *state;
	struct journal *j = open_it(f);
	struct journal_entry e;

	for (int64_t i = 1; i <= 10; i++) {
		f->wall_ms = 1000 * i;
		start(j, ID_A, i);
		if (i == 4)
			tombstone(j, ID_A, i);
		if (i != 2 && i != 8)                     /* 2 and 8 stay open */
			journal_answered(j, ID_A, i, i == 3 ? ANSWER_ORPHAN : ANSWER_ANSWERED);
	}
	tombstone(j, ID_B, 1);
	commit(j);
	f->wall_ms = 20000;
	journal_give(j, ID_A, 1, "host/2");
	journal_answered(j, ID_A, 1, ANSWER_ANSWERED);    /* touched again */
	commit(j);
	assert_int_equal(journal_prune(j, 1000), 0);
	assert_int_equal(journal_prune(j, 6000), 3);      /* 3, 4, 5 */
	commit(j);
	assert_int_equal(count(j), 8);
	assert_true(journal_get(j, ID_A, 1, &e) && journal_get(j, ID_A, 2, &e) && journal_get(j, ID_A, 6, &e));
	assert_false(journal_get(j, ID_A, 5, &e));
	journal_give(j, ID_A, 6, "host/2");               /* open again */
	assert_int_equal(journal_prune(j, INT64_C(30000)), 4);
	commit(j);
	assert_int_equal(count(j), 4);
	assert_true(journal_get(j, ID_A, 2, &e) && journal_get(j, ID_A, 6, &e) && journal_get(j, ID_A, 8, &e) && journal_get(j, ID_B, 1, &e));
	journal_close(j);
}

/* what is durable */

static void nothing_is_said_to_be_kept_before_its_sync(void **state)
{
	struct fix *f = *state;
	struct journal *j;

	fix_disk(f);
	j = open_it(f);
	for (int64_t i = 1; i <= 30; i++) {
		long syncs = faultvfs_syncs(f->disk);
		start(j, ID_A, i);
		assert_int_equal(faultvfs_syncs(f->disk), syncs);
		commit(j);
		assert_int_equal(faultvfs_syncs(f->disk), syncs + 1);
		assert_int_equal(faultvfs_unsynced(f->disk), 0);
		finish(j, ID_A, i);
		journal_answered(j, ID_A, i, ANSWER_ANSWERED);
		commit(j);
		assert_int_equal(faultvfs_syncs(f->disk), syncs + 2);
		assert_int_equal(faultvfs_unsynced(f->disk), 0);
		commit(j);
		assert_int_equal(faultvfs_syncs(f->disk), syncs + 2);
	}
	journal_close(j);
}

static void a_full_disk_undoes_all_changes_together(void **state)
{
	struct fix *f = *state;
	struct journal *j;
	long n = 0;

	fix_disk(f);
	j = open_it(f);
	start(j, ID_A, 1);
	tombstone(j, ID_A, 2);
	commit(j);
	for (;; n++) {
		faultvfs_fail_writes(f->disk, n, SQLITE_FULL, ENOSPC);
		start(j, ID_B, 1);
		finish(j, ID_A, 1);
		journal_answered(j, ID_A, 2, ANSWER_ANSWERED);
		if (journal_commit(j) == DB_OK)
			break;
		faultvfs_fail_writes(f->disk, -1, 0, 0);
		assert_false(journal_dirty(j));
		assert_int_equal(count(j), 2);
		assert_int_equal(count_open(j), 2);
		assert_int_equal(get(j, ID_A, 1).state, JOURNAL_STARTED);
	}
	assert_true(n >= 3);
	assert_int_equal(count(j), 3);
	assert_int_equal(get(j, ID_A, 1).state, JOURNAL_FINISHED);
	assert_int_equal(count_open(j), 2);
	journal_close(j);
}

static void commit_now(void *arg) { (void)journal_commit(arg); }

static void a_failed_sync_is_the_end(void **state)
{
	struct fix *f = *state;
	struct journal *j;

	fix_disk(f);
	j = open_it(f);
	start(j, ID_A, 1);
	faultvfs_fail_sync(f->disk, 0);
	assert_true(fix_fatal(f, commit_now, j));
	journal_close(j);
}

/* A journal in which a change has failed: a look at it is no answer. */
static void highest_now(void *arg)
{
	struct journal_entry e;

	(void)journal_highest(arg, ID_A, &e);
}

static void what_cannot_be_read_is_never_nothing_held(void **state)
{
	struct fix *f = *state;
	struct journal *j;
	sqlite3 *other;

	j = open_it(f);
	start(j, ID_A, 1);
	commit(j);
	assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	start(j, ID_B, 1);
	assert_true(fix_fatal(f, highest_now, j));
	assert_int_equal(journal_commit(j), DB_FULL);
	highest_now(j);
	assert_int_equal(sqlite3_close(other), SQLITE_OK);
	journal_close(j);
}

static void get_now(void *arg)
{
	struct journal_entry e;

	(void)journal_get(arg, ID_A, 1, &e);
}

static void open_ones_now(void *arg) { (void)count_open(arg); }

static void a_file_that_cannot_be_read_is_the_end(void **state)
{
	static void (*const looks[])(void *) = { highest_now, get_now, open_ones_now };
	static const int codes[] = { SQLITE_CANTOPEN, SQLITE_IOERR_READ };
	struct fix *f = *state;
	struct journal *j;

	fix_disk(f);
	j = open_it(f);
	for (int64_t i = 1; i <= 200; i++)
		start(j, ID_A, i);
	commit(j);
	journal_close(j);
	for (size_t i = 0; i < 6; i++) {
		j = open_it(f);
		faultvfs_fail_reads(f->disk, codes[i / 3]);
		assert_true(fix_fatal(f, looks[i % 3], j));
		faultvfs_fail_reads(f->disk, SQLITE_OK);
		journal_close(j);
	}
}

/* An entry that was looked at must not hold the log: the copying would find it in use. */
static void a_look_at_an_entry_ends_with_the_commit(void **state)
{
	struct fix *f = *state;
	struct journal *j = open_it(f);
	char *text = mem_new(COMMAND_RESULT_MAX);

	memset(text, '1', COMMAND_RESULT_MAX);
	for (int64_t i = 1; i <= 12; i++) {
		start(j, ID_A, i);
		journal_finish(j, ID_A, i, true, FAILURE_NONE, text, COMMAND_RESULT_MAX, NULL);
		assert_int_equal(get(j, ID_A, i).result_len, COMMAND_RESULT_MAX);
		commit(j);
	}
	free(text);
	journal_close(j);
}

/* One life of a command, killed after `steps` of it. */
struct life { struct fix *f; int steps; };

static void live(void *arg, int fd)
{
	struct life *l = arg;
	struct journal *j = journal_open(&l->f->env, l->f->path, false, &l->f->err);

	must(j);
	for (int i = 0; i < l->steps; i++) {
		switch (i) {
		case 0: start(j, ID_A, 1); break;
		case 2: finish(j, ID_A, 1); break;
		case 4: journal_answered(j, ID_A, 1, ANSWER_ANSWERED); break;
		default: must(journal_commit(j) == DB_OK); break;
		}
	}
	must(write(fd, "x", 1) == 1);
}

static void a_kill_leaves_what_was_committed(void **state)
{
	static const struct { int state; enum journal_answer answer; } left[] = { { NONE, ANSWER_OPEN }, { NONE, ANSWER_OPEN }, { JOURNAL_STARTED, ANSWER_OPEN },
		{ JOURNAL_STARTED, ANSWER_OPEN }, { JOURNAL_FINISHED, ANSWER_OPEN }, { JOURNAL_FINISHED, ANSWER_OPEN }, { JOURNAL_FINISHED, ANSWER_ANSWERED } };
	struct fix *f = *state;

	for (int steps = 0; steps < 7; steps++) {
		struct life l = { f, steps };
		struct journal_entry e;
		struct journal *j;
		int fd, pid;
		journal_close(journal_open(&f->env, f->path, true, &f->err));
		pid = fix_child_start(live, &l, &fd);
		fix_child_kill(pid, fd);
		j = open_it(f);
		assert_int_equal(journal_boot(j), 3);
		assert_int_equal(journal_get(j, ID_A, 1, &e), left[steps].state != NONE);
		if (left[steps].state != NONE) {
			assert_int_equal(e.state, left[steps].state);
			assert_int_equal(e.answer, left[steps].answer);
			assert_int_equal(e.boot, 2);
			assert_int_equal(count_open(j), left[steps].answer == ANSWER_OPEN);
		}
		journal_close(j);
	}
}

static void a_reader_sees_a_live_journal_and_raises_no_boot(void **state)
{
	struct fix *f = *state;
	struct life l = { f, 4 };
	struct journal *r, *j;
	int fd, pid = fix_child_start(live, &l, &fd);

	r = journal_open_reader(&f->env, f->path, &f->err);
	assert_non_null(r);
	assert_int_equal(strlen(journal_id(r)), 32);
	assert_int_equal(count(r), 1);
	assert_int_equal(get(r, ID_A, 1).state, JOURNAL_FINISHED);
	journal_close(r);
	fix_child_kill(pid, fd);
	j = open_it(f);
	assert_int_equal(journal_boot(j), 2);
	journal_close(j);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fix_enter, fix_leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_id_is_made_once_and_the_boot_counts), CASE(two_journals_of_one_instant_differ), CASE(the_boot_is_durable_before_anybody_hears_of_it),
		CASE(the_boot_is_synced_or_the_journal_stays_shut), CASE(a_damaged_counter_is_refused), CASE(the_fence_stays_until_a_new_journal),
		CASE(a_damaged_journal_can_be_set_aside), CASE(the_name_is_kept),
		CASE(a_start_holds_all_it_was_given), CASE(an_end_is_kept_as_it_came), CASE(a_large_result_comes_back_whole), CASE(every_state_takes_what_it_may),
		CASE(an_answer_closes_and_a_gift_opens_again), CASE(the_highest_attempt_is_found_whatever_the_order), CASE(open_ones_come_oldest_first_and_the_list_newest_first),
		CASE(a_restore_opens_what_was_answered_once), CASE(only_old_answered_entries_are_pruned),
		CASE(nothing_is_said_to_be_kept_before_its_sync), CASE(a_full_disk_undoes_all_changes_together), CASE(a_failed_sync_is_the_end),
		CASE(what_cannot_be_read_is_never_nothing_held), CASE(a_file_that_cannot_be_read_is_the_end), CASE(a_look_at_an_entry_ends_with_the_commit), CASE(a_kill_leaves_what_was_committed), CASE(a_reader_sees_a_live_journal_and_raises_no_boot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
