/* checker: see the header.
 *   G1  a create that was acknowledged is never unknown again          (gone, missing at the end)
 *   G2  every acknowledged command is in the last list, one an index   (lost, unexpected)
 *   G3  starts of a non-idempotent command <= 1 + RETRYs; hits <= starts; no attempt begins twice; starts <= maxAttempts + RETRYs
 *   G4  an attempt whose FINISHED was answered 200 is the last one, RETRY aside
 *   G5  what is settled stays as it is, RETRY aside
 *   G6  COMPLETED was begun (or an operator said so); a FAILED in review says why
 *   G7  is judged by whoever asks for the last list: it comes within a bound, with nothing PENDING or RUNNING in it
 *   G8  no lease ends early; nothing is begun later than a lease after it was handed out */
#include "checker.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STARTS_MAX 64

struct shown { enum status status; int failure; bool review; int64_t attempt; uint64_t content; };
struct cmd {
	bool asked, acked, listed, is_idempotent, settled, missing;
	char id[ID_TEXT];
	int64_t max_attempts, retries, retries_over, completes, hits, starts, finished, finished_retries, settled_retries, handed_us, heard_us, handed_attempt;
	int64_t attempts[STARTS_MAX];
	struct shown last, end;
};
struct checker { checker_wrong *wrong; void *arg; struct cmd cmds[CHECKER_MAX]; int64_t unexpected, duplicated, started_late, never_wrong; bool at_end; };

struct checker *checker_new(checker_wrong *wrong, void *arg)
{
	struct checker *c = mem_new(sizeof *c);

	c->wrong = wrong;
	c->arg = arg;
	return c;
}

void checker_free(struct checker *c) { free(c); }

UTIL_PRINTF(4, 5) static void wrong(struct checker *c, int guarantee, const struct cmd *cmd, const char *fmt, ...)
{
	struct buf text = {0};
	va_list args;

	va_start(args, fmt);
	buf_vfmt(&text, fmt, args);
	va_end(args);
	c->wrong(c->arg, guarantee, cmd ? (int)(cmd - c->cmds) : -1, text.data);
	buf_free(&text);
}

int checker_index(const struct checker *c, const char *id)
{
	for (int i = 0; i < CHECKER_MAX; i++)
		if (c->cmds[i].id[0] && strcmp(c->cmds[i].id, id) == 0)
			return i;
	return -1;
}

const char *checker_id(const struct checker *c, int index) { return c->cmds[index].id; }
bool checker_idempotent(const struct checker *c, int index) { return c->cmds[index].is_idempotent; }

static struct cmd *known(struct checker *c, const char *id)
{
	int i = checker_index(c, id);

	return i < 0 ? NULL : &c->cmds[i];
}

/* what was asked */

void checker_asked(struct checker *c, int index, bool is_idempotent, int64_t max_attempts)
{
	must(index >= 0 && index < CHECKER_MAX);
	c->cmds[index].asked = true;
	c->cmds[index].is_idempotent = is_idempotent;
	c->cmds[index].max_attempts = max_attempts;
}

void checker_retry(struct checker *c, const char *id, int change)
{
	struct cmd *cmd = known(c, id);

	if (!cmd)
		return;
	cmd->retries += change;
	cmd->retries_over += change == 0;
}

void checker_complete(struct checker *c, const char *id)
{
	struct cmd *cmd = known(c, id);

	if (cmd)
		cmd->completes++;
}

/* what left the server */

static bool text_of(const struct json *object, const char *name, char *out, size_t room)
{
	struct json v;
	struct buf text = {0};

	out[0] = '\0';
	if (!json_find(object, name, &v) || v.type != JSON_STRING)
		return false;
	json_text(&v, &text);
	snprintf(out, room, "%s", text.data ? text.data : "");
	buf_free(&text);
	return true;
}

/* DELAY: ms modulo CHECKER_MAX; HTTP_GET_JSON: the number behind the last slash. */
int checker_payload_index(const struct json *command)
{
	struct json payload, v;
	char url[128];
	int64_t n;
	const char *at;

	if (!json_find(command, "payload", &payload))
		return -1;
	if (json_find(&payload, "ms", &v) && json_int(&v, &n))
		return (int)(n % CHECKER_MAX);
	if (!text_of(&payload, "url", url, sizeof url) || (at = strrchr(url, '/')) == NULL || !num_parse(at + 1, strlen(at + 1), 0, CHECKER_MAX - 1, &n))
		return -1;
	return (int)n;
}

/* One index, one id. NULL: unexpected, and told. */
static struct cmd *meet(struct checker *c, int index, const char *id)
{
	struct cmd *cmd = index < 0 ? NULL : &c->cmds[index];

	if (cmd && cmd->asked && (cmd->id[0] == '\0' || strcmp(cmd->id, id) == 0)) {
		snprintf(cmd->id, sizeof cmd->id, "%s", id);
		return cmd;
	}
	c->unexpected++;
	wrong(c, 2, cmd, "unexpected: command %s, which nobody asked for%s%s", id, cmd && cmd->asked ? ", beside " : "", cmd ? cmd->id : "");
	return NULL;
}

void checker_acked(struct checker *c, int index, const char *id)
{
	struct cmd *cmd = meet(c, index, id);

	if (cmd)
		cmd->acked = true;
}

static uint64_t content_of(const struct json *command, const char *name, uint64_t seed)
{
	struct json v;

	return json_find(command, name, &v) ? hash_bytes(v.text, v.len, seed) : seed;
}

static bool read_shown(const struct json *command, struct shown *out)
{
	char status[32], failure[64];
	struct json v;
	int s;

	if (!text_of(command, "status", status, sizeof status) || (s = status_read(status, strlen(status))) < 0)
		return false;
	out->status = (enum status)s;
	out->failure = text_of(command, "failureCode", failure, sizeof failure) ? failure_read(failure, strlen(failure)) : FAILURE_NONE;
	if (!json_find(command, "needsReview", &v) || !json_bool(&v, &out->review) || !json_find(command, "attempt", &v) || !json_int(&v, &out->attempt))
		return false;
	out->content = content_of(command, "error", content_of(command, "result", 7));
	return true;
}

static bool is_settled(const struct shown *s)
{
	return s->status == STATUS_COMPLETED || (s->status == STATUS_FAILED && !s->review);
}

static void judge_outcome(struct checker *c, struct cmd *cmd, const struct shown *s)
{
	static const bool says_why[FAILURE_COUNT] = { [FAILURE_OUTCOME_UNKNOWN] = true, [FAILURE_EVIDENCE_LOST] = true, [FAILURE_AGENT_LOST] = true,
		[FAILURE_NEVER_STARTED] = true, [FAILURE_ATTEMPTS_EXHAUSTED] = true };

	if (s->status == STATUS_COMPLETED && cmd->starts == 0 && cmd->completes == 0)
		wrong(c, 6, cmd, "COMPLETED, and it never began");
	if (s->status == STATUS_FAILED && s->failure <= 0)
		wrong(c, 6, cmd, "FAILED without a failureCode");
	if (s->status == STATUS_FAILED && s->review && s->failure > 0 && !says_why[s->failure])
		wrong(c, 6, cmd, "in review with a failureCode that is no doubt: %s", failure_text((enum failure)s->failure));
	if (s->status == STATUS_FAILED && s->failure == FAILURE_EXECUTION_FAILED && cmd->starts == 0)
		wrong(c, 6, cmd, "EXECUTION_FAILED, and it never began");
	if (s->status != STATUS_FAILED && s->review)
		wrong(c, 6, cmd, "needsReview of a command that is %s", status_text(s->status));
}

static void judge_settled(struct checker *c, struct cmd *cmd, const struct shown *s)
{
	const struct shown *e = &cmd->end;

	if (!cmd->settled || cmd->retries > cmd->settled_retries)
		return;
	if (s->status != e->status || s->failure != e->failure || s->review != e->review || s->content != e->content || s->attempt != e->attempt)
		wrong(c, 5, cmd, "settled as %s %s at attempt %lld, and then shown as %s %s at attempt %lld%s", status_text(e->status),
			e->failure > 0 ? failure_text((enum failure)e->failure) : "", (long long)e->attempt, status_text(s->status),
			s->failure > 0 ? failure_text((enum failure)s->failure) : "", (long long)s->attempt, s->content != e->content ? ", other result" : "");
}

void checker_shown(struct checker *c, const struct json *command)
{
	struct shown s;
	char id[ID_TEXT + 8];
	struct cmd *cmd;

	if (!text_of(command, "id", id, sizeof id) || (cmd = meet(c, checker_payload_index(command), id)) == NULL)
		return;
	if (!read_shown(command, &s)) {
		wrong(c, 2, cmd, "a command without status, needsReview or attempt");
		return;
	}
	cmd->listed = true;
	judge_settled(c, cmd, &s);
	judge_outcome(c, cmd, &s);
	if (s.attempt < cmd->last.attempt)
		wrong(c, 1, cmd, "attempt went back from %lld to %lld", (long long)cmd->last.attempt, (long long)s.attempt);
	if (s.status == STATUS_FAILED && s.failure == FAILURE_NEVER_STARTED && cmd->last.failure != FAILURE_NEVER_STARTED)
		for (int64_t i = 0; i < cmd->starts; i++)
			c->never_wrong += cmd->attempts[i] == s.attempt;
	cmd->last = s;
	cmd->settled = is_settled(&s);
	cmd->settled_retries = cmd->retries_over;
	cmd->end = s;
}

void checker_handed_out(struct checker *c, const char *id, int64_t attempt, int64_t now_us)
{
	struct cmd *cmd = known(c, id);

	if (!cmd)
		return;
	cmd->handed_us = cmd->heard_us = now_us;
	cmd->handed_attempt = attempt;
	if (cmd->finished && attempt > cmd->finished && cmd->retries <= cmd->finished_retries)
		wrong(c, 4, cmd, "attempt %lld was handed out after attempt %lld had finished", (long long)attempt, (long long)cmd->finished);
}

void checker_reported(struct checker *c, const char *id, enum report report, int64_t attempt, int64_t now_us)
{
	struct cmd *cmd = known(c, id);

	if (!cmd)
		return;
	if (report == REPORT_RUNNING)
		cmd->heard_us = now_us;
	/* A repeat of what an operator has overruled is 200 too, and settles nothing. */
	if (!cmd->settled || (report != REPORT_COMPLETED && report != REPORT_FAILED) || cmd->last.status != (report == REPORT_COMPLETED ? STATUS_COMPLETED : STATUS_FAILED))
		return;
	if (attempt && attempt != cmd->last.attempt)
		wrong(c, 5, cmd, "a report of attempt %lld was taken at attempt %lld", (long long)attempt, (long long)cmd->last.attempt);
	cmd->finished = cmd->last.attempt;
	cmd->finished_retries = cmd->retries_over;
}

void checker_gone(struct checker *c, const char *id)
{
	struct cmd *cmd = known(c, id);

	if (!cmd || !cmd->listed)
		return;
	cmd->missing = true;
	wrong(c, 1, cmd, "lost: shown before, and 404 now");
}

void checker_lease_ended(struct checker *c, const char *id, int64_t now_us, int64_t lease_ms)
{
	struct cmd *cmd = known(c, id);

	if (cmd && cmd->heard_us && now_us - cmd->heard_us < lease_ms * 1000)
		wrong(c, 8, cmd, "its lease ended %lld us after its agent was heard", (long long)(now_us - cmd->heard_us));
}

/* what happened */

static void judge_start(struct checker *c, struct cmd *cmd, int64_t attempt)
{
	if (!cmd->is_idempotent && cmd->starts > 1 + cmd->retries) {
		c->duplicated++;
		wrong(c, 3, cmd, "duplicated: start %lld of a non-idempotent command with %lld RETRYs", (long long)cmd->starts, (long long)cmd->retries);
	}
	if (cmd->is_idempotent && cmd->starts > cmd->max_attempts + cmd->retries)
		wrong(c, 3, cmd, "start %lld, and maxAttempts is %lld with %lld RETRYs", (long long)cmd->starts, (long long)cmd->max_attempts, (long long)cmd->retries);
	if (cmd->finished && attempt > cmd->finished && cmd->retries <= cmd->finished_retries)
		wrong(c, 4, cmd, "attempt %lld begins after attempt %lld had finished", (long long)attempt, (long long)cmd->finished);
}

void checker_start(struct checker *c, const char *id, int64_t attempt, int64_t now_us, int64_t freshness_ms)
{
	struct cmd *cmd = known(c, id);

	if (!cmd) {
		wrong(c, 3, NULL, "unexpected: a start of %s, which the server never handed out", id);
		return;
	}
	for (int64_t i = 0; i < cmd->starts && i < STARTS_MAX; i++)
		if (cmd->attempts[i] == attempt)
			wrong(c, 3, cmd, "attempt %lld begins a second time", (long long)attempt);
	if (cmd->starts < STARTS_MAX)
		cmd->attempts[cmd->starts] = attempt;
	cmd->starts++;
	judge_start(c, cmd, attempt);
	if (freshness_ms && attempt == cmd->handed_attempt && now_us - cmd->handed_us > freshness_ms * 1000)
		wrong(c, 8, cmd, "attempt %lld begins %lld us after it was handed out: later than its lease", (long long)attempt, (long long)(now_us - cmd->handed_us));
	if (cmd->settled && cmd->retries <= cmd->settled_retries)
		c->started_late++;
}

void checker_hit(struct checker *c, int index)
{
	struct cmd *cmd;

	if (index < 0 || index >= CHECKER_MAX || !c->cmds[index].asked) {
		wrong(c, 3, NULL, "unexpected: a request for /c/%d, which nobody asked for", index);
		return;
	}
	cmd = &c->cmds[index];
	cmd->hits++;
	if (cmd->hits > cmd->starts)
		wrong(c, 3, cmd, "%lld requests arrived at the target, and it began %lld times", (long long)cmd->hits, (long long)cmd->starts);
	if (!cmd->is_idempotent && cmd->hits > 1 + cmd->retries) {
		c->duplicated++;
		wrong(c, 3, cmd, "duplicated: request %lld at the target with %lld RETRYs", (long long)cmd->hits, (long long)cmd->retries);
	}
}

/* the end */

void checker_last(struct checker *c)
{
	for (int i = 0; i < CHECKER_MAX; i++)
		c->cmds[i].listed = false;
}

void checker_end(struct checker *c)
{
	c->at_end = true;
	for (int i = 0; i < CHECKER_MAX; i++) {
		struct cmd *cmd = &c->cmds[i];
		if (cmd->acked && !cmd->listed) {
			cmd->missing = true;
			wrong(c, 2, cmd, "lost: acknowledged, and not in the last list");
		}
	}
}

void checker_count(const struct checker *c, struct checker_counts *n)
{
	for (int i = 0; i < CHECKER_MAX; i++) {
		const struct cmd *cmd = &c->cmds[i];
		n->commands += cmd->asked;
		n->acknowledged += cmd->acked;
		n->lost += cmd->missing;
		n->recovered += !cmd->acked && cmd->id[0] != '\0';
		n->settled += cmd->settled;
		n->in_review += cmd->listed && cmd->last.review;
		n->starts += cmd->starts;
		n->hits += cmd->hits;
		n->retries += cmd->retries;
	}
	n->unexpected += c->unexpected;
	n->duplicated += c->duplicated;
	n->started_late += c->started_late;
	n->never_started_wrong += c->never_wrong;
}
