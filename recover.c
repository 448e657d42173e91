/* recover: what is to be believed after a crash, and what follows. One pure function over one table (recover_verdict) and its application
 * to a command inside the caller's transaction. No clock decides here but for timestamps (G8); no memory is kept.
 *
 * Crash windows: who is killed where, what is left behind, what we do.
 *   server, before the commit of a create      nothing                          the client got no 2xx and asks again (Idempotency-Key)
 *   server, after it, before the 201           PENDING                          the same: the key finds the command
 *   server, before the commit of a hand-out    PENDING                          the agent got nothing and polls again
 *   server, after it, reply lost               RUNNING, nothing in the journal  its poll says so (NO_ENTRY): the same attempt again
 *   agent, reply read, before STARTED          RUNNING, nothing in the journal  the same
 *   agent, after STARTED, before the effect    STARTED                          INTERRUPTED at its next start: nobody can know
 *   agent, in the effect                       STARTED                          the same
 *   agent, effect done, before FINISHED        STARTED                          the same
 *   agent, after FINISHED, before the report   FINISHED                         reported at its next start; late evidence settles
 *   server, before the commit of a report      RUNNING                          the agent got no answer and repeats
 *   server, after it, reply lost               settled                          the repeat is 200 again
 *   agent, after the answer, before its mark   settled, an open entry           the repeat is 200 again
 *   agent, never back                          RUNNING                          its lease ends (SILENT)
 *   either, disk put back to an older state    anything                         higher attempts are believed, lower boots are fenced
 *
 * Command states; every arrow is taken in the function it names:
 *
 *            recover_hand_out               settle
 *   PENDING ------------------> RUNNING ---------------> COMPLETED | FAILED
 *    ^  |  ^                     |   ^ \                              ^ |
 *    |  |  +---------------------+   |  \ recover_silent              | | recover_resolve
 *    |  |   judge: PENDING           |   \ recover_poll               | | COMPLETE, FAIL
 *    |  |   again: RUNNING     revive|    v judge                     | v
 *    |  |                            +-- FAILED, needsReview ---------+ settle (late evidence)
 *    |  +-- recover_cancel: FAILED CANCELLED    |
 *    +------------ recover_resolve RETRY -------+  not_started (late)
 */
#include "recover.h"
#include <string.h>

/* The verdict. */

static const char *const evidences[EVIDENCE_COUNT] = {
	[EVIDENCE_COMPLETED] = "FINISHED COMPLETED", [EVIDENCE_FAILED] = "FINISHED FAILED", [EVIDENCE_HEARTBEAT] = "HEARTBEAT",
	[EVIDENCE_NOT_STARTED] = "NOT_STARTED", [EVIDENCE_NO_ENTRY] = "NO_ENTRY", [EVIDENCE_INTERRUPTED] = "INTERRUPTED",
	[EVIDENCE_NO_LOG] = "NO_LOG", [EVIDENCE_SILENT] = "SILENT",
};

const char *evidence_text(enum evidence e) { return evidences[e]; }

/* The table of DESIGN section 3. `doubt`: what a non-idempotent command fails with when the effect may have happened; NONE: it cannot be in doubt. */
static const struct { enum status status; bool again, requeue; enum failure doubt; } table[EVIDENCE_COUNT] = {
	[EVIDENCE_COMPLETED]   = { STATUS_COMPLETED, false, false, FAILURE_NONE },
	[EVIDENCE_FAILED]      = { STATUS_FAILED,    false, false, FAILURE_NONE },
	[EVIDENCE_HEARTBEAT]   = { STATUS_RUNNING,   false, false, FAILURE_NONE },
	[EVIDENCE_NOT_STARTED] = { STATUS_PENDING,   false, true,  FAILURE_NONE },
	[EVIDENCE_NO_ENTRY]    = { STATUS_RUNNING,   true,  false, FAILURE_NONE },
	[EVIDENCE_INTERRUPTED] = { STATUS_PENDING,   false, true,  FAILURE_OUTCOME_UNKNOWN },
	[EVIDENCE_NO_LOG]      = { STATUS_PENDING,   false, true,  FAILURE_EVIDENCE_LOST },
	[EVIDENCE_SILENT]      = { STATUS_PENDING,   false, true,  FAILURE_AGENT_LOST },
};

static struct verdict failed(enum failure failure, bool review)
{
	struct verdict v = { STATUS_FAILED, failure, review, false };

	return v;
}

struct verdict recover_verdict(const struct question *q)
{
	struct verdict v = { table[q->evidence].status, FAILURE_NONE, false, table[q->evidence].again };

	if (q->evidence == EVIDENCE_FAILED)
		v.failure = FAILURE_EXECUTION_FAILED;
	if (table[q->evidence].doubt != FAILURE_NONE && !q->is_idempotent)
		return failed(table[q->evidence].doubt, true);
	if (!table[q->evidence].requeue && !v.again)
		return v;
	if (q->cancel_requested)
		return failed(FAILURE_CANCELLED, false);
	if (v.again && q->redelivered >= q->max_attempts)
		return failed(FAILURE_NEVER_STARTED, true);
	if (!v.again && q->attempt >= q->max_attempts)
		return failed(FAILURE_ATTEMPTS_EXHAUSTED, true);
	return v;
}

/* Applying it. */

static const char *const errors[FAILURE_COUNT] = {
	[FAILURE_NONE] = "",
	[FAILURE_EXECUTION_FAILED] = "the agent reported a failure without saying why",
	[FAILURE_TIMEOUT] = "the command ran out of time",
	[FAILURE_OUTCOME_UNKNOWN] = "the agent ended while the command was running; whether its effect happened is not known",
	[FAILURE_EVIDENCE_LOST] = "the agent came back without the journal that would tell what happened",
	[FAILURE_AGENT_LOST] = "the agent fell silent while it held the command",
	[FAILURE_NEVER_STARTED] = "the command was handed out and never begun",
	[FAILURE_ATTEMPTS_EXHAUSTED] = "the command was begun as often as it may be, and never finished",
	[FAILURE_CANCELLED] = "the command was cancelled",
	[FAILURE_OPERATOR_FAILED] = "an operator failed the command",
};

static bool settled(const struct command *c)
{
	return c->status == STATUS_COMPLETED || (c->status == STATUS_FAILED && !c->needs_review);
}

static void become(struct command *c, const struct verdict *v, int64_t now_ms)
{
	bool ended = v->status == STATUS_FAILED || v->status == STATUS_COMPLETED;

	c->status = v->status;
	c->failure = v->failure;
	c->needs_review = v->review;
	c->result = NULL;
	c->result_len = 0;
	c->error = v->status == STATUS_FAILED ? errors[v->failure] : NULL;
	c->finished_at = ended ? now_ms : 0;
	c->updated_at = now_ms;
}

static void judge(struct command *c, enum evidence evidence, int64_t now_ms)
{
	struct question q = { evidence, c->is_idempotent, c->attempt - c->not_started, c->max_attempts, c->redelivered, c->cancel_requested };
	struct verdict v = recover_verdict(&q);

	become(c, &v, now_ms);
}

/* One line of the command's story: who, what was seen, what it became. */
static void tell(struct store *s, const struct command *c, const char *kind, const char *actor, int64_t attempt, const char *evidence, const char *detail, int64_t now_ms)
{
	struct event e = { now_ms, kind, actor, attempt, evidence, NULL, detail };
	struct buf verdict = {0};

	buf_str(&verdict, status_text(c->status));
	if (c->failure != FAILURE_NONE)
		buf_fmt(&verdict, " %s", failure_text(c->failure));
	if (c->needs_review)
		buf_str(&verdict, ", needs review");
	e.verdict = verdict.data;
	store_event_add(s, c->row, &e);
	buf_free(&verdict);
}

static void change(struct store *s, struct command *c, const char *kind, const char *actor, const char *evidence, const char *detail, int64_t now_ms)
{
	store_save(s, c);
	tell(s, c, kind, actor, c->attempt, evidence, detail, now_ms);
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Reports. */

static const struct { enum held held; enum evidence evidence; } report_means[REPORT_COUNT] = {
	[REPORT_RUNNING] = { HELD_NONE, EVIDENCE_HEARTBEAT },
	[REPORT_COMPLETED] = { HELD_COMPLETED, EVIDENCE_COMPLETED },
	[REPORT_FAILED] = { HELD_FAILED, EVIDENCE_FAILED },
	[REPORT_INTERRUPTED] = { HELD_INTERRUPTED, EVIDENCE_INTERRUPTED },
	[REPORT_NOT_STARTED] = { HELD_NOT_STARTED, EVIDENCE_NOT_STARTED },
};

/* The order of evidence: heartbeat < INTERRUPTED < FINISHED, and NOT_STARTED excludes all three. */
static bool counts(enum held held, enum report report)
{
	if (held == HELD_NONE)
		return true;
	return held == HELD_INTERRUPTED && (report == REPORT_COMPLETED || report == REPORT_FAILED);
}

static void settle(struct store *s, struct command *c, const struct report_in *in, int64_t now_ms)
{
	bool late = c->status != STATUS_RUNNING;

	judge(c, report_means[in->report].evidence, now_ms);
	c->result = in->result;
	c->result_len = in->result_len;
	if (in->report == REPORT_FAILED) {
		c->failure = in->failure != FAILURE_NONE ? in->failure : FAILURE_EXECUTION_FAILED;
		c->error = in->error ? in->error : errors[c->failure];
	}
	store_save(s, c);
	if (late)
		tell(s, c, "LATE_EVIDENCE", in->who.agent_id, c->attempt, evidence_text(report_means[in->report].evidence), "its record came after the wait for it had ended, and settles it", now_ms);
}

static void not_started(struct store *s, struct command *c, const struct report_in *in, int64_t now_ms)
{
	c->not_started++;
	judge(c, EVIDENCE_NOT_STARTED, now_ms);
	change(s, c, "HANDED_BACK", in->who.agent_id, evidence_text(EVIDENCE_NOT_STARTED), in->error ? in->error : "the agent gave the attempt back without beginning it", now_ms);
}

/* Of a command in review it can only say more: a process is known to be gone that was merely silent, or thought never to have begun. */
static void interrupted(struct store *s, struct command *c, const struct report_in *in, int64_t now_ms)
{
	bool in_doubt = c->status == STATUS_FAILED && !c->is_idempotent
		&& (c->failure == FAILURE_AGENT_LOST || c->failure == FAILURE_EVIDENCE_LOST || c->failure == FAILURE_NEVER_STARTED);

	if (c->status == STATUS_RUNNING || in_doubt)
		judge(c, EVIDENCE_INTERRUPTED, now_ms);
	else
		c->updated_at = now_ms;
	change(s, c, "RECOVERED", in->who.agent_id, evidence_text(EVIDENCE_INTERRUPTED), "the agent's journal holds its beginning and no end, and the process is gone", now_ms);
}

/* A heartbeat brings a command back only where nothing else can have happened: from AGENT_LOST or requeued, from the boot it was given to, to an agent that holds nothing else. */
static bool may_revive(struct store *s, const struct command *c, const struct who *who)
{
	int64_t row;

	if (c->status != STATUS_PENDING && !(c->status == STATUS_FAILED && c->failure == FAILURE_AGENT_LOST))
		return false;
	return same(c->boot_id, who->boot_id) && store_held(s, who->agent_id, &row, 1) == 0;
}

static enum recover_answer heartbeat(struct store *s, struct command *c, const struct report_in *in, int64_t now_ms, bool *renew)
{
	if (settled(c))
		return RECOVER_ALREADY_SETTLED;
	if (c->held != HELD_NONE)
		return RECOVER_STALE_ATTEMPT;
	if (c->status != STATUS_RUNNING) {
		if (!may_revive(s, c, &in->who))
			return RECOVER_NOT_HOLDER;
		judge(c, EVIDENCE_HEARTBEAT, now_ms);
		change(s, c, "REVIVED", in->who.agent_id, evidence_text(EVIDENCE_HEARTBEAT), "the agent was only late: it still runs the command", now_ms);
	}
	*renew = true;
	return RECOVER_OK;
}

static enum recover_answer current(struct store *s, struct command *c, const struct report_in *in, int64_t now_ms, bool *renew)
{
	enum held held = report_means[in->report].held;
	const char *evidence = evidence_text(report_means[in->report].evidence);

	if (in->report == REPORT_RUNNING)
		return heartbeat(s, c, in, now_ms, renew);
	if (c->held == held)
		return RECOVER_OK;
	if (!counts(c->held, in->report)) {
		tell(s, c, "CONTRADICTION", in->who.agent_id, c->attempt, evidence, "refused: a stronger record of this attempt is held", now_ms);
		return settled(c) ? RECOVER_ALREADY_SETTLED : RECOVER_STALE_ATTEMPT;
	}
	c->held = held;
	if (settled(c)) {
		change(s, c, "LATE_EVIDENCE", in->who.agent_id, evidence, "kept for the record: the command was settled before", now_ms);
		return RECOVER_ALREADY_SETTLED;
	}
	if (in->report == REPORT_NOT_STARTED)
		not_started(s, c, in, now_ms);
	else if (in->report == REPORT_INTERRUPTED)
		interrupted(s, c, in, now_ms);
	else
		settle(s, c, in, now_ms);
	return RECOVER_OK;
}

/* A put-back database knows no start of the journal as late as this one: without it an older state of the journal would pass for a restart. */
static void learn_boot(struct store *s, const struct who *who)
{
	const char *boot_id;
	int64_t boot;

	if (who->journal_id && (!store_journal(s, who->journal_id, &boot, &boot_id) || boot < who->boot))
		store_journal_put(s, who->journal_id, who->boot, who->boot_id);
}

/* An attempt this database has not handed out: it was put back to an older state. The agent's word is all there is. */
static enum recover_answer adopt(struct store *s, struct command *c, const struct report_in *in, int64_t now_ms, bool *renew)
{
	struct verdict running = { STATUS_RUNNING, FAILURE_NONE, false, false };

	if (c->status == STATUS_COMPLETED)
		return RECOVER_ALREADY_SETTLED;
	become(c, &running, now_ms);
	c->attempt = in->attempt;
	c->redelivered = 0;
	c->held = HELD_NONE;
	learn_boot(s, &in->who);
	c->agent_id = in->who.agent_id;
	c->journal_id = in->who.journal_id;
	c->boot_id = in->who.boot_id;
	c->lease_ms = 0;
	if (c->started_at == 0)
		c->started_at = now_ms;
	change(s, c, "DATABASE_PUT_BACK", in->who.agent_id, evidence_text(report_means[in->report].evidence), "a report of an attempt that this database never handed out", now_ms);
	return current(s, c, in, now_ms, renew);
}

enum recover_answer recover_report(struct store *s, struct command *c, const struct report_in *in, int64_t now_ms, bool *renew)
{
	int64_t attempt = in->attempt ? in->attempt : c->attempt;

	*renew = false;
	if (attempt > c->attempt)
		return adopt(s, c, in, now_ms, renew);
	if (attempt < c->attempt) {
		tell(s, c, "STALE_REPORT", in->who.agent_id, attempt, evidence_text(report_means[in->report].evidence), "refused: a newer attempt exists", now_ms);
		return RECOVER_STALE_ATTEMPT;
	}
	if (c->attempt == 0 || !same(c->agent_id, in->who.agent_id) || !same(c->journal_id, in->who.journal_id))
		return RECOVER_NOT_HOLDER;
	return current(s, c, in, now_ms, renew);
}

/* Polls and silence. */

void recover_hand_out(struct store *s, struct command *c, const struct who *who, int64_t lease_ms, int64_t now_ms)
{
	must(c->status == STATUS_PENDING);
	c->status = STATUS_RUNNING;
	c->attempt++;
	c->redelivered = 0;
	c->held = HELD_NONE;
	c->agent_id = who->agent_id;
	c->journal_id = who->journal_id;
	c->boot_id = who->boot_id;
	c->lease_ms = lease_ms;
	c->started_at = c->updated_at = now_ms;
	store_save(s, c);
}

static bool same_journal(const struct command *c, const struct who *who)
{
	return who->journal_id && same(c->journal_id, who->journal_id);
}

bool recover_poll(struct store *s, struct command *c, const struct who *who, int64_t now_ms)
{
	enum evidence evidence = same_journal(c, who) ? EVIDENCE_NO_ENTRY : EVIDENCE_NO_LOG;

	must(c->status == STATUS_RUNNING);
	judge(c, evidence, now_ms);
	if (c->status != STATUS_RUNNING) {
		change(s, c, "RECOVERED", who->agent_id, evidence_text(evidence), evidence == EVIDENCE_NO_LOG
			? "the agent polls, and has no journal that could tell of this attempt" : "the agent polls, and its journal holds nothing of this attempt", now_ms);
		return false;
	}
	c->redelivered++;
	c->agent_id = who->agent_id;
	c->boot_id = who->boot_id;
	c->started_at = now_ms;
	change(s, c, "REDELIVERED", who->agent_id, evidence_text(evidence), "the agent polls, and its journal holds nothing of this attempt: the same attempt again", now_ms);
	return true;
}

/* A poll never starts a FAILED command; it can only tell more about it. */
void recover_poll_lost(struct store *s, struct command *c, const struct who *who, int64_t now_ms)
{
	bool never = same_journal(c, who);
	struct verdict v = { STATUS_FAILED, never ? FAILURE_NEVER_STARTED : FAILURE_EVIDENCE_LOST, true, false };

	must(c->status == STATUS_FAILED && c->needs_review && c->failure == FAILURE_AGENT_LOST);
	become(c, &v, now_ms);
	change(s, c, "RECOVERED", who->agent_id, evidence_text(never ? EVIDENCE_NO_ENTRY : EVIDENCE_NO_LOG), never
		? "the agent is back, and its journal proves that the command never began: a RETRY is safe" : "the agent is back without the journal that would tell", now_ms);
}

void recover_silent(struct store *s, struct command *c, int64_t now_ms)
{
	must(c->status == STATUS_RUNNING);
	judge(c, EVIDENCE_SILENT, now_ms);
	change(s, c, "LEASE_ENDED", c->agent_id, evidence_text(EVIDENCE_SILENT), "nothing was heard of the agent for one lease", now_ms);
}

/* Operators. */

enum resolve_answer recover_resolve(struct store *s, struct command *c, enum resolve_action action, const char *note, const char *result, size_t result_len, int64_t now_ms)
{
	static const char *const kinds[] = { [RESOLVE_RETRY] = "RETRY", [RESOLVE_COMPLETE] = "COMPLETE", [RESOLVE_FAIL] = "FAIL" };
	struct verdict v = { action == RESOLVE_RETRY ? STATUS_PENDING : action == RESOLVE_COMPLETE ? STATUS_COMPLETED : STATUS_FAILED,
		action == RESOLVE_FAIL ? FAILURE_OPERATOR_FAILED : FAILURE_NONE, false, false };

	if (c->status != STATUS_FAILED)
		return RESOLVE_NOT_FAILED;
	if (!c->needs_review && action != RESOLVE_RETRY)
		return RESOLVE_SETTLED;
	become(c, &v, now_ms);
	if (action == RESOLVE_RETRY) {
		c->max_attempts++;
		c->cancel_requested = false;
	} else if (action == RESOLVE_COMPLETE) {
		c->result = result;
		c->result_len = result_len;
	} else if (note) {
		c->error = note;
	}
	change(s, c, kinds[action], "operator", NULL, note, now_ms);
	return RESOLVE_OK;
}

enum cancel_answer recover_cancel(struct store *s, struct command *c, int64_t now_ms)
{
	struct verdict v = { STATUS_FAILED, FAILURE_CANCELLED, false, false };

	if (c->status != STATUS_PENDING && c->status != STATUS_RUNNING)
		return CANCEL_TOO_LATE;
	if (c->status == STATUS_RUNNING && c->cancel_requested)
		return CANCEL_ASKED;
	c->cancel_requested = true;
	c->updated_at = now_ms;
	if (c->status == STATUS_PENDING)
		become(c, &v, now_ms);
	change(s, c, "CANCEL", "operator", NULL, c->status == STATUS_RUNNING ? "asked; the agent hears of it at its next report" : "cancelled before it was handed out", now_ms);
	return c->status == STATUS_RUNNING ? CANCEL_ASKED : CANCEL_DONE;
}
