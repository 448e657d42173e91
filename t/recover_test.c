/* recover_test: the verdict cell by cell, the order of evidence, and its application to stored commands (DESIGN section 3). */
#include "../recover.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* The verdict. */

#define OK(s) { s, FAILURE_NONE, false, false }
#define AGAIN { STATUS_RUNNING, FAILURE_NONE, false, true }
#define REVIEW(f) { STATUS_FAILED, f, true, false }
#define ENDED(f) { STATUS_FAILED, f, false, false }

static void assert_verdict(const struct question *q, const struct verdict *want, const char *where)
{
	struct verdict v = recover_verdict(q);

	if (v.status != want->status || v.failure != want->failure || v.review != want->review || v.again != want->again)
		fail_msg("%s, %s, %s: got %s %s review %d again %d", where, evidence_text(q->evidence), q->is_idempotent ? "idempotent" : "not idempotent",
			status_text(v.status), failure_text(v.failure) ? failure_text(v.failure) : "-", v.review, v.again);
}

/* [evidence] = { idempotent, not idempotent } */
static const struct verdict plain[EVIDENCE_COUNT][2] = {
	[EVIDENCE_COMPLETED] = { OK(STATUS_COMPLETED), OK(STATUS_COMPLETED) },
	[EVIDENCE_FAILED] = { ENDED(FAILURE_EXECUTION_FAILED), ENDED(FAILURE_EXECUTION_FAILED) },
	[EVIDENCE_HEARTBEAT] = { OK(STATUS_RUNNING), OK(STATUS_RUNNING) },
	[EVIDENCE_NOT_STARTED] = { OK(STATUS_PENDING), OK(STATUS_PENDING) },
	[EVIDENCE_NO_ENTRY] = { AGAIN, AGAIN },
	[EVIDENCE_INTERRUPTED] = { OK(STATUS_PENDING), REVIEW(FAILURE_OUTCOME_UNKNOWN) },
	[EVIDENCE_NO_LOG] = { OK(STATUS_PENDING), REVIEW(FAILURE_EVIDENCE_LOST) },
	[EVIDENCE_SILENT] = { OK(STATUS_PENDING), REVIEW(FAILURE_AGENT_LOST) },
};
/* the same with no attempt left (and as many redeliveries) */
static const struct verdict exhausted[EVIDENCE_COUNT][2] = {
	[EVIDENCE_COMPLETED] = { OK(STATUS_COMPLETED), OK(STATUS_COMPLETED) },
	[EVIDENCE_FAILED] = { ENDED(FAILURE_EXECUTION_FAILED), ENDED(FAILURE_EXECUTION_FAILED) },
	[EVIDENCE_HEARTBEAT] = { OK(STATUS_RUNNING), OK(STATUS_RUNNING) },
	[EVIDENCE_NOT_STARTED] = { REVIEW(FAILURE_ATTEMPTS_EXHAUSTED), REVIEW(FAILURE_ATTEMPTS_EXHAUSTED) },
	[EVIDENCE_NO_ENTRY] = { REVIEW(FAILURE_NEVER_STARTED), REVIEW(FAILURE_NEVER_STARTED) },
	[EVIDENCE_INTERRUPTED] = { REVIEW(FAILURE_ATTEMPTS_EXHAUSTED), REVIEW(FAILURE_OUTCOME_UNKNOWN) },
	[EVIDENCE_NO_LOG] = { REVIEW(FAILURE_ATTEMPTS_EXHAUSTED), REVIEW(FAILURE_EVIDENCE_LOST) },
	[EVIDENCE_SILENT] = { REVIEW(FAILURE_ATTEMPTS_EXHAUSTED), REVIEW(FAILURE_AGENT_LOST) },
};
static const struct verdict cancelled[EVIDENCE_COUNT][2] = {
	[EVIDENCE_COMPLETED] = { OK(STATUS_COMPLETED), OK(STATUS_COMPLETED) },
	[EVIDENCE_FAILED] = { ENDED(FAILURE_EXECUTION_FAILED), ENDED(FAILURE_EXECUTION_FAILED) },
	[EVIDENCE_HEARTBEAT] = { OK(STATUS_RUNNING), OK(STATUS_RUNNING) },
	[EVIDENCE_NOT_STARTED] = { ENDED(FAILURE_CANCELLED), ENDED(FAILURE_CANCELLED) },
	[EVIDENCE_NO_ENTRY] = { ENDED(FAILURE_CANCELLED), ENDED(FAILURE_CANCELLED) },
	[EVIDENCE_INTERRUPTED] = { ENDED(FAILURE_CANCELLED), REVIEW(FAILURE_OUTCOME_UNKNOWN) },
	[EVIDENCE_NO_LOG] = { ENDED(FAILURE_CANCELLED), REVIEW(FAILURE_EVIDENCE_LOST) },
	[EVIDENCE_SILENT] = { ENDED(FAILURE_CANCELLED), REVIEW(FAILURE_AGENT_LOST) },
};

static void walk(const struct verdict table[EVIDENCE_COUNT][2], int64_t attempt, int64_t redelivered, bool cancel, const char *where)
{
	for (int e = 0; e < EVIDENCE_COUNT; e++) {
		for (int i = 0; i < 2; i++) {
			struct question q = { (enum evidence)e, i == 0, attempt, 5, redelivered, cancel };
			assert_verdict(&q, &table[e][i], where);
		}
	}
}

static void every_cell_says_what_the_table_says(void **state)
{
	(void)state;
	walk(plain, 1, 0, false, "first attempt");
	walk(plain, 4, 4, false, "last but one");
}

static void no_attempt_left_is_said(void **state)
{
	(void)state;
	walk(exhausted, 5, 5, false, "at the limit");
	walk(exhausted, 6, 6, false, "beyond it");
}

static void a_cancel_ends_what_would_go_round_again(void **state)
{
	(void)state;
	walk(cancelled, 1, 0, true, "cancelled");
	walk(cancelled, 5, 5, true, "cancelled at the limit");
}

/* Application: a store in a directory of the test's own. */

struct fixture { struct env env; struct store *store; char dir[64], path[96]; };
static const struct who A = { "a", "j1", "1-aaaaaaaa", 1 }, A2 = { "a", "j1", "2-bbbbbbbb", 2 }, OTHER_JOURNAL = { "a", "j2", "1-cccccccc", 1 }, B = { "b", "j3", "1-dddddddd", 1 },
	SEED = { "default", NULL, NULL, 0 };

static int set_up(void **state)
{
	struct fixture *f = mem_new(sizeof *f);
	struct buf err = {0};

	strcpy(f->dir, "/tmp/recover_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/c.db", f->dir);
	env_real(&f->env);
	f->store = store_open(&f->env, f->path, &err);
	if (!f->store)
		fail_msg("%s", err.data);
	db_begin(store_db(f->store));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	static const char *const suffixes[] = { "", "-wal", "-shm", ".lock" };
	struct fixture *f = *state;
	char path[128];

	assert_int_equal(db_commit(store_db(f->store)), DB_OK);
	store_close(f->store);
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "%s%s", f->path, suffixes[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static struct command pending(struct fixture *f, bool idempotent)
{
	struct command c = {0};

	c.type = TYPE_DELAY;
	c.payload = "{\"ms\":1}";
	c.payload_len = 8;
	c.is_idempotent = idempotent;
	c.max_attempts = 3;
	c.created_at = 1000;
	store_insert(f->store, &c);
	return c;
}

static struct command running(struct fixture *f, bool idempotent, const struct who *who)
{
	struct command c = pending(f, idempotent);

	recover_hand_out(f->store, &c, who, 0, 2000);
	return c;
}

/* Of the command as the store gives it now. */
static enum recover_answer tell(struct fixture *f, struct command *c, const struct who *who, int64_t attempt, enum report report)
{
	struct report_in in = { *who, attempt, report, FAILURE_NONE, NULL, 0, NULL };
	bool renew;

	assert_true(store_get(f->store, c->row, c));
	return recover_report(f->store, c, &in, 3000, &renew);
}

static void assert_state(struct fixture *f, const struct command *c, enum status status, enum failure failure, bool review)
{
	struct command stored;

	assert_true(store_get(f->store, c->row, &stored));
	assert_string_equal(status_text(stored.status), status_text(status));
	assert_int_equal(stored.failure, failure);
	assert_int_equal(stored.needs_review, review);
	assert_int_equal(stored.status, c->status);
}

/* All that may change of a command is in the file: what the store knows after a restart is what it knew before. */
static void a_command_comes_back_whole_after_a_restart(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, true, &A), d;
	struct buf err = {0};

	c.attempt = 3, c.max_attempts = 4, c.not_started = 5, c.redelivered = 6, c.lease_ms = 7, c.started_at = 8, c.finished_at = 9, c.updated_at = 10;
	c.status = STATUS_FAILED, c.held = HELD_INTERRUPTED, c.failure = FAILURE_AGENT_LOST, c.needs_review = c.cancel_requested = true;
	c.result = "{}", c.result_len = 2, c.error = "why";
	store_save(f->store, &c);
	assert_int_equal(db_commit(store_db(f->store)), DB_OK);
	store_close(f->store);
	f->store = store_open(&f->env, f->path, &err);
	assert_true(f->store && store_get(f->store, c.row, &d));
	assert_true(d.attempt == 3 && d.max_attempts == 4 && d.not_started == 5 && d.redelivered == 6 && d.lease_ms == 7);
	assert_true(d.started_at == 8 && d.finished_at == 9 && d.updated_at == 10 && d.created_at == c.created_at && d.nonce == c.nonce);
	assert_true(d.status == c.status && d.held == c.held && d.failure == c.failure && d.needs_review && d.cancel_requested && d.is_idempotent && d.type == c.type);
	assert_true(d.result_len == 2 && strcmp(d.result, "{}") == 0 && strcmp(d.error, "why") == 0 && strcmp(d.payload, "{\"ms\":1}") == 0);
	assert_true(strcmp(d.agent_id, A.agent_id) == 0 && strcmp(d.journal_id, A.journal_id) == 0 && strcmp(d.boot_id, A.boot_id) == 0);
}

/* A put-back database gives a row's number away again: an id names the command of its row, instant and nonce, and no other. */
static void an_id_names_one_command_only(void **state)
{
	struct fixture *f = *state;
	struct command c = pending(f, false), found;
	char id[ID_TEXT];

	c.nonce = 77;
	store_id(&c, id);
	assert_false(store_find(f->store, id, strlen(id), &found));
	c.nonce = 0;
	store_id(&c, id);
	assert_true(store_find(f->store, id, strlen(id), &found) && found.row == c.row);
	c.created_at++;
	store_id(&c, id);
	assert_false(store_find(f->store, id, strlen(id), &found));
}

static void a_finished_report_settles_and_its_repeat_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A);

	assert_int_equal(tell(f, &c, &A, 1, REPORT_COMPLETED), RECOVER_OK);
	assert_state(f, &c, STATUS_COMPLETED, FAILURE_NONE, false);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_COMPLETED), RECOVER_OK);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_FAILED), RECOVER_ALREADY_SETTLED);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_INTERRUPTED), RECOVER_ALREADY_SETTLED);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_NOT_STARTED), RECOVER_ALREADY_SETTLED);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_RUNNING), RECOVER_ALREADY_SETTLED);
	assert_state(f, &c, STATUS_COMPLETED, FAILURE_NONE, false);
}

/* The order of evidence: every report after every other of the same attempt. What is refused changes nothing. */
static void weaker_evidence_is_refused_and_a_repeat_is_not(void **state)
{
	static const enum recover_answer want[REPORT_COUNT][REPORT_COUNT] = {                     /* RUNNING, COMPLETED, FAILED, INTERRUPTED, NOT_STARTED */
		[REPORT_COMPLETED] = { RECOVER_ALREADY_SETTLED, RECOVER_OK, RECOVER_ALREADY_SETTLED, RECOVER_ALREADY_SETTLED, RECOVER_ALREADY_SETTLED },
		[REPORT_FAILED] = { RECOVER_ALREADY_SETTLED, RECOVER_ALREADY_SETTLED, RECOVER_OK, RECOVER_ALREADY_SETTLED, RECOVER_ALREADY_SETTLED },
		[REPORT_INTERRUPTED] = { RECOVER_STALE_ATTEMPT, RECOVER_OK, RECOVER_OK, RECOVER_OK, RECOVER_STALE_ATTEMPT },
		[REPORT_NOT_STARTED] = { RECOVER_STALE_ATTEMPT, RECOVER_STALE_ATTEMPT, RECOVER_STALE_ATTEMPT, RECOVER_STALE_ATTEMPT, RECOVER_OK },
	};
	struct fixture *f = *state;

	for (int idempotent = 0; idempotent < 2; idempotent++) {
		for (int first = REPORT_COMPLETED; first < REPORT_COUNT; first++) {
			for (int second = 0; second < REPORT_COUNT; second++) {
				struct command c = running(f, idempotent, &A), before;
				assert_int_equal(tell(f, &c, &A, 1, (enum report)first), RECOVER_OK);
				before = c;
				assert_int_equal(tell(f, &c, &A, 1, (enum report)second), want[first][second]);
				if (want[first][second] != RECOVER_OK || first == second)
					assert_state(f, &before, before.status, before.failure, before.needs_review);
			}
		}
	}
}

static void interrupted_is_doubt_unless_twice_is_safe(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A), d = running(f, true, &A);

	tell(f, &c, &A, 1, REPORT_INTERRUPTED);
	assert_state(f, &c, STATUS_FAILED, FAILURE_OUTCOME_UNKNOWN, true);
	assert_non_null(c.error);
	tell(f, &d, &A, 1, REPORT_INTERRUPTED);
	assert_state(f, &d, STATUS_PENDING, FAILURE_NONE, false);
}

static void a_heartbeat_never_revives_what_was_reported_over(void **state)
{
	static const enum report over[] = { REPORT_INTERRUPTED, REPORT_NOT_STARTED };
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		struct command c = running(f, true, &A);
		assert_int_equal(tell(f, &c, &A, 1, over[i]), RECOVER_OK);
		assert_int_equal(tell(f, &c, &A, 1, REPORT_RUNNING), RECOVER_STALE_ATTEMPT);
		assert_state(f, &c, STATUS_PENDING, FAILURE_NONE, false);
	}
}

static void a_late_heartbeat_revives_what_was_only_silent(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A), d = running(f, true, &B);

	recover_silent(f->store, &c, 2500);
	assert_state(f, &c, STATUS_FAILED, FAILURE_AGENT_LOST, true);
	assert_int_equal(tell(f, &c, &A2, 1, REPORT_RUNNING), RECOVER_NOT_HOLDER);     /* another boot */
	assert_int_equal(tell(f, &c, &A, 1, REPORT_RUNNING), RECOVER_OK);
	assert_state(f, &c, STATUS_RUNNING, FAILURE_NONE, false);
	recover_silent(f->store, &d, 2500);
	assert_state(f, &d, STATUS_PENDING, FAILURE_NONE, false);
	assert_int_equal(tell(f, &d, &B, 1, REPORT_RUNNING), RECOVER_OK);
	assert_state(f, &d, STATUS_RUNNING, FAILURE_NONE, false);
}

static void a_heartbeat_revives_nothing_for_an_agent_that_holds_something_else(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A), d;

	recover_silent(f->store, &c, 2500);
	d = running(f, false, &A);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_RUNNING), RECOVER_NOT_HOLDER);
	assert_state(f, &c, STATUS_FAILED, FAILURE_AGENT_LOST, true);
	assert_state(f, &d, STATUS_RUNNING, FAILURE_NONE, false);
}

static void a_heartbeat_revives_nothing_that_a_poll_has_judged(void **state)
{
	struct fixture *f = *state;
	struct command lost = running(f, false, &A), never = running(f, false, &A);

	recover_poll(f->store, &lost, &OTHER_JOURNAL, 2500);
	assert_int_equal(tell(f, &lost, &A, 1, REPORT_RUNNING), RECOVER_NOT_HOLDER);
	assert_state(f, &lost, STATUS_FAILED, FAILURE_EVIDENCE_LOST, true);
	recover_silent(f->store, &never, 2500);
	recover_poll_lost(f->store, &never, &A, 2600);
	assert_int_equal(tell(f, &never, &A, 1, REPORT_RUNNING), RECOVER_NOT_HOLDER);
	assert_state(f, &never, STATUS_FAILED, FAILURE_NEVER_STARTED, true);
}

static void late_evidence_wins_while_nothing_else_happened(void **state)
{
	struct fixture *f = *state;
	struct command lost = running(f, false, &A), requeued = running(f, true, &B), unrun = running(f, false, &A);

	recover_silent(f->store, &lost, 2500);
	assert_int_equal(tell(f, &lost, &A, 1, REPORT_INTERRUPTED), RECOVER_OK);
	assert_state(f, &lost, STATUS_FAILED, FAILURE_OUTCOME_UNKNOWN, true);
	assert_int_equal(tell(f, &lost, &A, 1, REPORT_COMPLETED), RECOVER_OK);
	assert_state(f, &lost, STATUS_COMPLETED, FAILURE_NONE, false);
	recover_silent(f->store, &requeued, 2500);
	assert_int_equal(tell(f, &requeued, &B, 1, REPORT_FAILED), RECOVER_OK);
	assert_state(f, &requeued, STATUS_FAILED, FAILURE_EXECUTION_FAILED, false);
	recover_silent(f->store, &unrun, 2500);
	assert_int_equal(tell(f, &unrun, &A, 1, REPORT_NOT_STARTED), RECOVER_OK);
	assert_state(f, &unrun, STATUS_PENDING, FAILURE_NONE, false);
}

static void an_older_attempt_is_stale_and_a_higher_one_is_believed(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, true, &A);

	recover_silent(f->store, &c, 2500);
	recover_hand_out(f->store, &c, &B, 0, 2600);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_COMPLETED), RECOVER_STALE_ATTEMPT);
	assert_state(f, &c, STATUS_RUNNING, FAILURE_NONE, false);
	assert_int_equal(tell(f, &c, &A2, 7, REPORT_COMPLETED), RECOVER_OK);
	assert_state(f, &c, STATUS_COMPLETED, FAILURE_NONE, false);
	assert_int_equal(c.attempt, 7);
	assert_string_equal(c.agent_id, "a");
	assert_string_equal(c.boot_id, A2.boot_id);
}

/* What the put-back database holds of an older attempt says nothing about it; but nothing ever comes after COMPLETED. */
static void a_higher_attempt_is_judged_by_its_own_evidence(void **state)
{
	static const enum report old[] = { REPORT_FAILED, REPORT_INTERRUPTED, REPORT_NOT_STARTED };
	struct fixture *f = *state;
	struct command c;

	for (int i = 0; i < 3; i++) {
		c = running(f, false, &A);
		tell(f, &c, &A, 1, old[i]);
		assert_int_equal(tell(f, &c, &B, 2, REPORT_RUNNING), RECOVER_OK);
		assert_state(f, &c, STATUS_RUNNING, FAILURE_NONE, false);
		assert_int_equal(tell(f, &c, &B, 2, REPORT_COMPLETED), RECOVER_OK);
		assert_state(f, &c, STATUS_COMPLETED, FAILURE_NONE, false);
	}
	assert_int_equal(tell(f, &c, &A, 3, REPORT_FAILED), RECOVER_ALREADY_SETTLED);
	assert_state(f, &c, STATUS_COMPLETED, FAILURE_NONE, false);
	assert_int_equal(c.attempt, 2);
}

/* The starts of journals went back with the database: the report of one raises its own, and lowers none. */
static void a_higher_attempt_teaches_the_start_of_its_journal(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A), d = running(f, false, &A);
	const char *boot_id;
	int64_t boot;

	assert_false(store_journal(f->store, A.journal_id, &boot, &boot_id));
	assert_int_equal(tell(f, &c, &A2, 2, REPORT_RUNNING), RECOVER_OK);
	assert_true(store_journal(f->store, A.journal_id, &boot, &boot_id) && boot == A2.boot);
	assert_string_equal(boot_id, A2.boot_id);
	assert_int_equal(tell(f, &d, &A, 2, REPORT_RUNNING), RECOVER_OK);
	assert_true(store_journal(f->store, A.journal_id, &boot, &boot_id) && boot == A2.boot);
}

static void only_the_holder_is_heard(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A), p = pending(f, false);

	assert_int_equal(tell(f, &c, &B, 1, REPORT_COMPLETED), RECOVER_NOT_HOLDER);
	assert_int_equal(tell(f, &c, &OTHER_JOURNAL, 1, REPORT_COMPLETED), RECOVER_NOT_HOLDER);
	assert_state(f, &c, STATUS_RUNNING, FAILURE_NONE, false);
	assert_int_equal(tell(f, &p, &SEED, 0, REPORT_COMPLETED), RECOVER_NOT_HOLDER);
	assert_state(f, &p, STATUS_PENDING, FAILURE_NONE, false);
}

static void a_poll_with_the_same_journal_gets_the_same_attempt_again(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A);

	for (int i = 0; i < 3; i++) {
		assert_true(recover_poll(f->store, &c, &A2, 2500));
		assert_int_equal(c.attempt, 1);
		assert_string_equal(c.boot_id, A2.boot_id);
	}
	assert_false(recover_poll(f->store, &c, &A2, 2600));
	assert_state(f, &c, STATUS_FAILED, FAILURE_NEVER_STARTED, true);
	/* handed out anew it is counted anew */
	recover_resolve(f->store, &c, RESOLVE_RETRY, NULL, NULL, 0, 2700);
	recover_hand_out(f->store, &c, &A2, 0, 2800);
	assert_true(recover_poll(f->store, &c, &A2, 2900));
	assert_int_equal(c.redelivered, 1);
}

static void a_poll_without_the_journal_is_lost_evidence(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A), d = running(f, true, &A), s = running(f, false, &SEED);

	assert_false(recover_poll(f->store, &c, &OTHER_JOURNAL, 2500));
	assert_state(f, &c, STATUS_FAILED, FAILURE_EVIDENCE_LOST, true);
	assert_false(recover_poll(f->store, &d, &OTHER_JOURNAL, 2500));
	assert_state(f, &d, STATUS_PENDING, FAILURE_NONE, false);
	assert_false(recover_poll(f->store, &s, &SEED, 2500));
	assert_state(f, &s, STATUS_FAILED, FAILURE_EVIDENCE_LOST, true);
}

static void a_poll_never_starts_a_lost_command_but_says_that_it_never_began(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A), d = running(f, false, &A);

	recover_silent(f->store, &c, 2500);
	recover_poll_lost(f->store, &c, &A2, 2600);
	assert_state(f, &c, STATUS_FAILED, FAILURE_NEVER_STARTED, true);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_COMPLETED), RECOVER_OK);
	assert_state(f, &c, STATUS_COMPLETED, FAILURE_NONE, false);
	recover_silent(f->store, &d, 2500);
	recover_poll_lost(f->store, &d, &OTHER_JOURNAL, 2600);
	assert_state(f, &d, STATUS_FAILED, FAILURE_EVIDENCE_LOST, true);
}

static void handing_back_does_not_count_as_an_attempt(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, true, &A);

	for (int i = 1; i <= 10; i++) {
		assert_int_equal(tell(f, &c, &A, i, REPORT_NOT_STARTED), RECOVER_OK);
		assert_state(f, &c, STATUS_PENDING, FAILURE_NONE, false);
		recover_hand_out(f->store, &c, &A, 0, 2500);
	}
	for (int i = 11; i <= 12; i++) {
		tell(f, &c, &A, i, REPORT_INTERRUPTED);
		assert_state(f, &c, STATUS_PENDING, FAILURE_NONE, false);
		recover_hand_out(f->store, &c, &A, 0, 2500);
	}
	tell(f, &c, &A, 13, REPORT_INTERRUPTED);
	assert_state(f, &c, STATUS_FAILED, FAILURE_ATTEMPTS_EXHAUSTED, true);
}

static void an_operator_retries_once_and_the_overruled_report_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A);

	tell(f, &c, &A, 1, REPORT_INTERRUPTED);
	assert_int_equal(recover_resolve(f->store, &c, RESOLVE_RETRY, "saw it was not done", NULL, 0, 4000), RESOLVE_OK);
	assert_state(f, &c, STATUS_PENDING, FAILURE_NONE, false);
	assert_int_equal(c.max_attempts, 4);
	assert_int_equal(recover_resolve(f->store, &c, RESOLVE_RETRY, NULL, NULL, 0, 4000), RESOLVE_NOT_FAILED);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_INTERRUPTED), RECOVER_OK);
	assert_state(f, &c, STATUS_PENDING, FAILURE_NONE, false);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_RUNNING), RECOVER_STALE_ATTEMPT);
}

/* The operator has said that it may be done again: to learn that the process is gone says nothing new. A finished record does. */
static void a_retry_stands_until_something_is_known_to_be_finished(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A);

	recover_silent(f->store, &c, 2500);
	assert_int_equal(recover_resolve(f->store, &c, RESOLVE_RETRY, NULL, NULL, 0, 2600), RESOLVE_OK);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_INTERRUPTED), RECOVER_OK);
	assert_state(f, &c, STATUS_PENDING, FAILURE_NONE, false);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_RUNNING), RECOVER_STALE_ATTEMPT);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_COMPLETED), RECOVER_OK);
	assert_state(f, &c, STATUS_COMPLETED, FAILURE_NONE, false);
}

static void a_retry_forgets_the_cancel_of_before(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A);

	recover_cancel(f->store, &c, 2500);
	recover_silent(f->store, &c, 2600);
	assert_state(f, &c, STATUS_FAILED, FAILURE_AGENT_LOST, true);
	assert_int_equal(recover_resolve(f->store, &c, RESOLVE_RETRY, NULL, NULL, 0, 2700), RESOLVE_OK);
	recover_hand_out(f->store, &c, &A, 0, 2800);
	assert_int_equal(tell(f, &c, &A, 2, REPORT_NOT_STARTED), RECOVER_OK);
	assert_state(f, &c, STATUS_PENDING, FAILURE_NONE, false);
}

static void an_operator_settles_for_good(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, false, &A);
	int64_t updated_at;

	recover_silent(f->store, &c, 2500);
	assert_int_equal(recover_resolve(f->store, &c, RESOLVE_FAIL, "no", NULL, 0, 4000), RESOLVE_OK);
	assert_state(f, &c, STATUS_FAILED, FAILURE_OPERATOR_FAILED, false);
	assert_string_equal(c.error, "no");
	updated_at = c.updated_at;
	assert_int_equal(recover_resolve(f->store, &c, RESOLVE_COMPLETE, NULL, NULL, 0, 4100), RESOLVE_SETTLED);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_COMPLETED), RECOVER_ALREADY_SETTLED);
	assert_state(f, &c, STATUS_FAILED, FAILURE_OPERATOR_FAILED, false);
	assert_int_equal(c.updated_at, updated_at);
	/* the refused report was kept: after a RETRY its attempt cannot come back to life */
	assert_int_equal(recover_resolve(f->store, &c, RESOLVE_RETRY, NULL, NULL, 0, 4200), RESOLVE_OK);
	assert_int_equal(tell(f, &c, &A, 1, REPORT_RUNNING), RECOVER_STALE_ATTEMPT);
	assert_state(f, &c, STATUS_PENDING, FAILURE_NONE, false);
}

static void a_cancel_is_done_asked_or_too_late(void **state)
{
	struct fixture *f = *state;
	struct command p = pending(f, false), r = running(f, false, &A), d = running(f, false, &B);

	assert_int_equal(recover_cancel(f->store, &p, 4000), CANCEL_DONE);
	assert_state(f, &p, STATUS_FAILED, FAILURE_CANCELLED, false);
	assert_int_equal(recover_cancel(f->store, &r, 4000), CANCEL_ASKED);
	assert_int_equal(recover_cancel(f->store, &r, 4000), CANCEL_ASKED);
	assert_state(f, &r, STATUS_RUNNING, FAILURE_NONE, false);
	assert_true(r.cancel_requested);
	assert_false(recover_poll(f->store, &r, &A2, 4100));
	assert_state(f, &r, STATUS_FAILED, FAILURE_CANCELLED, false);
	recover_silent(f->store, &d, 4000);
	assert_int_equal(recover_cancel(f->store, &d, 4100), CANCEL_TOO_LATE);
}

static void add_event(void *arg, const struct event *e)
{
	assert_non_null(e->verdict);
	buf_fmt(arg, " %s", e->kind);
}

static void assert_story(struct fixture *f, const struct command *c, const char *want)
{
	struct buf kinds = {0};

	store_events(f->store, c->row, add_event, &kinds);
	assert_string_equal(kinds.data, want);
	buf_free(&kinds);
}

static void the_story_is_told_and_repeats_are_not(void **state)
{
	struct fixture *f = *state;
	struct command c = running(f, true, &A);

	recover_silent(f->store, &c, 2500);
	recover_hand_out(f->store, &c, &B, 0, 2600);
	for (int i = 0; i < 5; i++)
		tell(f, &c, &A, 1, REPORT_RUNNING);
	assert_story(f, &c, " LEASE_ENDED STALE_REPORT");
	c = running(f, false, &A);
	recover_silent(f->store, &c, 2500);
	tell(f, &c, &A, 1, REPORT_RUNNING);
	recover_silent(f->store, &c, 2600);
	recover_poll_lost(f->store, &c, &A2, 2700);
	tell(f, &c, &A, 1, REPORT_COMPLETED);
	tell(f, &c, &A, 1, REPORT_FAILED);
	assert_story(f, &c, " LEASE_ENDED REVIVED LEASE_ENDED RECOVERED LATE_EVIDENCE CONTRADICTION");
	c = running(f, false, &A);
	recover_poll(f->store, &c, &A2, 2500);
	tell(f, &c, &A, 1, REPORT_NOT_STARTED);
	recover_hand_out(f->store, &c, &A2, 0, 2600);
	recover_cancel(f->store, &c, 2700);
	tell(f, &c, &A2, 2, REPORT_INTERRUPTED);
	recover_resolve(f->store, &c, RESOLVE_RETRY, NULL, NULL, 0, 2800);
	tell(f, &c, &B, 5, REPORT_FAILED);
	assert_story(f, &c, " REDELIVERED HANDED_BACK CANCEL RECOVERED RETRY DATABASE_PUT_BACK");
	c = running(f, false, &A);
	recover_silent(f->store, &c, 2500);
	recover_resolve(f->store, &c, RESOLVE_FAIL, NULL, NULL, 0, 2600);
	tell(f, &c, &A, 1, REPORT_COMPLETED);
	assert_story(f, &c, " LEASE_ENDED FAIL LATE_EVIDENCE");
}

int main(void)
{
#define WITH_STORE(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cell_says_what_the_table_says),
		cmocka_unit_test(no_attempt_left_is_said),
		cmocka_unit_test(a_cancel_ends_what_would_go_round_again),
		WITH_STORE(a_command_comes_back_whole_after_a_restart),
		WITH_STORE(an_id_names_one_command_only),
		WITH_STORE(a_finished_report_settles_and_its_repeat_changes_nothing),
		WITH_STORE(weaker_evidence_is_refused_and_a_repeat_is_not),
		WITH_STORE(interrupted_is_doubt_unless_twice_is_safe),
		WITH_STORE(a_heartbeat_never_revives_what_was_reported_over),
		WITH_STORE(a_late_heartbeat_revives_what_was_only_silent),
		WITH_STORE(a_heartbeat_revives_nothing_for_an_agent_that_holds_something_else),
		WITH_STORE(a_heartbeat_revives_nothing_that_a_poll_has_judged),
		WITH_STORE(late_evidence_wins_while_nothing_else_happened),
		WITH_STORE(an_older_attempt_is_stale_and_a_higher_one_is_believed),
		WITH_STORE(a_higher_attempt_is_judged_by_its_own_evidence),
		WITH_STORE(a_higher_attempt_teaches_the_start_of_its_journal),
		WITH_STORE(only_the_holder_is_heard),
		WITH_STORE(a_poll_with_the_same_journal_gets_the_same_attempt_again),
		WITH_STORE(a_poll_without_the_journal_is_lost_evidence),
		WITH_STORE(a_poll_never_starts_a_lost_command_but_says_that_it_never_began),
		WITH_STORE(handing_back_does_not_count_as_an_attempt),
		WITH_STORE(an_operator_retries_once_and_the_overruled_report_changes_nothing),
		WITH_STORE(a_retry_stands_until_something_is_known_to_be_finished),
		WITH_STORE(a_retry_forgets_the_cancel_of_before),
		WITH_STORE(an_operator_settles_for_good),
		WITH_STORE(a_cancel_is_done_asked_or_too_late),
		WITH_STORE(the_story_is_told_and_repeats_are_not),
	};

	return cmocka_run_group_tests_name("recover", tests, NULL, NULL);
}
