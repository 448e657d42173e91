/* checker: see the header.
 *   G1  a create that was acknowledged is never unknown again, and stays as it was asked for; attempts and cancels never go back  (gone, judge_content, judge_order)
 *   G2  every acknowledged command is in the last list, one an index   (lost, unexpected)
 *   G3  starts of a non-idempotent command <= 1 + RETRYs; hits <= starts; no attempt begins twice; starts <= maxAttempts + RETRYs; what is hidden, above
 *   G4  an attempt whose FINISHED was answered 200 is the last one, RETRY aside; so is one whose FINISHED is in a journal, while its lease has not ended
 *   G5  what is settled stays as it is, RETRY aside; a report is taken from the latest attempt only
 *   G6  each outcome and each doubt has its ground: COMPLETED and EXECUTION_FAILED that very attempt's start (or an operator's word), OUTCOME_UNKNOWN its
 *       beginning, EVIDENCE_LOST a poll under that name without that journal, AGENT_LOST its lease's end, NEVER_STARTED no start, CANCELLED a cancel
 *   G7  is judged by whoever asks for the last list: it comes within a bound, with nothing PENDING or RUNNING in it
 *   G8  no lease ends early, the time the server stood still not counted; nothing is begun later than a lease after it was handed out */
#include "checker.h"
#include "../loop.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STARTS_MAX 64
#define FILES_MAX 256
#define NAMES_MAX 32
#define LEASES_MAX 256
#define KNOWN_MAX 48
#define HANDS_MAX 128
#define BOOTS_MAX 64
#define ATTEMPTS_MAX 256

/* One start: by whom, and how it went on. hidden: at the latest hand-out the server's database knew nothing of it. marked: its record was answered; owed:
 * but by a database that was put back since. */
struct boot { uint64_t journal, text; int64_t n; };            /* one start of a journal's agent */
struct start { int64_t attempt, stamp, handed, kept_retries; int file; uint64_t agent; struct boot boot; bool hidden, ended, kept, marked, owed; };
struct known { int64_t attempt; uint64_t journal; };
struct hand { int64_t attempt, stamp; struct boot boot; };        /* a hand-out */
struct shown { enum status status; int failure; bool review, cancel; int64_t attempt; uint64_t agent, content; };

/* What the server is bound to: it goes back with its database. */
struct word {
	bool acked, settled;
	char id[ID_TEXT];
	struct shown last, end;
	int64_t finished, finished_retries, settled_retries, cancel_retries;
	struct known known[KNOWN_MAX];                             /* the attempts that the database knows, and whose they were */
	int known_count;
};

struct cmd {
	int index;
	bool asked, listed, is_idempotent, missing, recovered, rolled_back;
	int64_t max_attempts, retries, retries_over, wishes[WISHES], starts, excused, attempt_most, handed_us, heard_us, heard_deaf_us, handed_attempt;
	uint64_t payload, created;
	struct start start[STARTS_MAX];
	bool began[ATTEMPTS_MAX], back[ATTEMPTS_MAX];              /* attempts on their way into a journal; given back unrun */
	struct hand hands[HANDS_MAX];
	int hands_count;
	struct word word;
};
struct file { int from; int64_t stamp; bool gone; };
struct lease { char id[ID_TEXT]; int64_t attempt; };            /* the latest attempt whose lease has ended */
struct name { uint64_t agent, journal; bool changed; };        /* an agentId that polled: with which journal first, and whether ever without it */
struct checker {
	checker_wrong *wrong;
	void *arg;
	struct cmd cmds[CHECKER_MAX], *old;                        /* old: those that a put-back database forgot */
	int old_count, files_count, names_count, leases_count, boots_count, put_backs;
	struct file files[FILES_MAX];
	struct name names[NAMES_MAX];
	struct lease leases[LEASES_MAX];
	struct boot boots[BOOTS_MAX];                              /* the newest of each journal, as the server's database knows it */
	bool paused;                                               /* nothing may be handed out */
	bool old_polls;                                            /* polls may arrive a second time, late */
	bool copied;                                               /* a journal: then one agent may call interrupted what another still runs, and so stop it */
	int64_t hits[CHECKER_MAX], stamp;
	struct checker_counts n;                                   /* what is counted as it happens */
};
struct checker_copy { struct word words[CHECKER_MAX]; struct boot boots[BOOTS_MAX]; int boots_count; };

struct checker *checker_new(checker_wrong *wrong, void *arg)
{
	struct checker *c = mem_new(sizeof *c);

	c->wrong = wrong;
	c->arg = arg;
	for (int i = 0; i < CHECKER_MAX; i++)
		c->cmds[i].index = i;
	return c;
}

void checker_free(struct checker *c)
{
	free(c->old);
	free(c);
}

UTIL_PRINTF(4, 5) static void wrong(struct checker *c, int guarantee, const struct cmd *cmd, const char *fmt, ...)
{
	struct buf text = {0};
	va_list args;

	va_start(args, fmt);
	buf_vfmt(&text, fmt, args);
	va_end(args);
	c->wrong(c->arg, guarantee, cmd ? cmd->index : -1, text.data);
	buf_free(&text);
}

const char *checker_id(const struct checker *c, int index) { return c->cmds[index].word.id; }
bool checker_idempotent(const struct checker *c, int index) { return c->cmds[index].is_idempotent; }

static uint64_t hash_text(const char *text) { return text && text[0] ? hash_bytes(text, strlen(text), 11) : 0; }

static struct cmd *known(struct checker *c, const char *id)
{
	for (int i = 0; i < CHECKER_MAX; i++)
		if (c->cmds[i].word.id[0] && strcmp(c->cmds[i].word.id, id) == 0)
			return &c->cmds[i];
	for (int i = 0; i < c->old_count; i++)
		if (strcmp(c->old[i].word.id, id) == 0)
			return &c->old[i];
	return NULL;
}

int checker_index(struct checker *c, const char *id)
{
	const struct cmd *cmd = known(c, id);

	return cmd ? cmd->index : -1;
}

/* what was asked */

void checker_asked(struct checker *c, int index, bool is_idempotent, int64_t max_attempts, const char *payload, size_t payload_len)
{
	must(index >= 0 && index < CHECKER_MAX);
	c->cmds[index].asked = true;
	c->cmds[index].is_idempotent = is_idempotent;
	c->cmds[index].max_attempts = max_attempts;
	c->cmds[index].payload = hash_bytes(payload, payload_len, 3);
}

void checker_paused(struct checker *c, bool paused) { c->paused = paused; }
void checker_old_polls(struct checker *c) { c->old_polls = true; }

void checker_recovered(struct checker *c, int index) { c->cmds[index].recovered = true; }

void checker_retry(struct checker *c, const char *id, int change)
{
	struct cmd *cmd = known(c, id);

	if (!cmd)
		return;
	cmd->retries += change;
	cmd->retries_over += change == 0;
}

void checker_wished(struct checker *c, const char *id, enum checker_wish wish)
{
	struct cmd *cmd = known(c, id);

	if (cmd)
		cmd->wishes[wish]++;
}

/* Whoever polls under a holder's name without the holder's journal has no record to show for what it holds. */
void checker_polled(struct checker *c, const char *agent_id, const char *journal_id)
{
	uint64_t agent = hash_text(agent_id), journal = hash_text(journal_id);
	struct name *n = c->names, *end = c->names + c->names_count;

	while (n < end && n->agent != agent)
		n++;
	if (n == end) {
		must(c->names_count++ < NAMES_MAX);
		*n = (struct name){ agent, journal, false };
	}
	n->changed = n->changed || !journal || n->journal != journal;
}

static bool lost_its_log(const struct checker *c, uint64_t agent)
{
	for (int i = 0; i < c->names_count; i++)
		if (c->names[i].agent == agent)
			return c->names[i].changed;
	return false;
}

static struct lease *lease_of(struct checker *c, const char *id)
{
	for (int i = 0; i < c->leases_count; i++)
		if (strcmp(c->leases[i].id, id) == 0)
			return &c->leases[i];
	return NULL;
}

static int64_t lease_over(struct checker *c, const struct cmd *cmd)
{
	const struct lease *l = lease_of(c, cmd->word.id);

	return l ? l->attempt : 0;
}

/* journals' files, and the server's database */

int checker_file(struct checker *c, int replaces, int from, int64_t stamp)
{
	must(c->files_count < FILES_MAX);
	if (replaces >= 0)
		c->files[replaces].gone = true;
	c->copied = c->copied || from >= 0;
	c->files[c->files_count] = (struct file){ from, stamp, false };
	return c->files_count++;
}

int64_t checker_stamp(const struct checker *c) { return c->stamp; }

static bool holds(const struct checker *c, int file, const struct start *s)
{
	int64_t until = INT64_MAX;

	for (; file >= 0 && s->file >= 0; file = c->files[file].from) {
		if (s->file == file)
			return s->stamp <= until;
		if (c->files[file].stamp < until)
			until = c->files[file].stamp;
	}
	return false;
}

static bool database_knows(const struct cmd *cmd, const struct start *s)
{
	for (int i = 0; i < cmd->word.known_count; i++)
		if (cmd->word.known[i].attempt == s->attempt && cmd->word.known[i].journal == s->boot.journal)
			return true;
	return false;
}

static struct boot boot_of(const struct checker_boot *b)
{
	struct boot out = { hash_text(b->journal_id), hash_text(b->boot_id), 0 };

	if (b->boot_id[0])
		must(boot_id_read(b->boot_id, strlen(b->boot_id), &out.n));
	return out;
}

static struct boot *newest_boot(struct checker *c, uint64_t journal)
{
	for (int i = 0; i < c->boots_count; i++)
		if (c->boots[i].journal == journal)
			return &c->boots[i];
	return NULL;
}

static void boot_learnt(struct checker *c, const struct boot *b)
{
	struct boot *newest = newest_boot(c, b->journal);

	if (!b->journal || (newest && newest->n > b->n))
		return;
	if (!newest) {
		must(c->boots_count < BOOTS_MAX);
		newest = &c->boots[c->boots_count++];
	}
	*newest = *b;
}

/* Would the server turn away an older state of that journal, or a copy, by its start? */
static bool boot_known(struct checker *c, const struct boot *b)
{
	const struct boot *newest = newest_boot(c, b->journal);

	return newest && (newest->n > b->n || newest->text == b->text);
}

/* False: it knew. */
static bool database_learns(struct cmd *cmd, int64_t attempt, uint64_t journal)
{
	struct start s = { .attempt = attempt, .boot.journal = journal };

	if (database_knows(cmd, &s) || cmd->word.known_count == KNOWN_MAX)
		return false;
	cmd->word.known[cmd->word.known_count++] = (struct known){ attempt, journal };
	if (attempt > cmd->attempt_most)
		cmd->attempt_most = attempt;
	return true;
}

struct checker_copy *checker_copy(const struct checker *c)
{
	struct checker_copy *copy = mem_new(sizeof *copy);

	for (int i = 0; i < CHECKER_MAX; i++)
		copy->words[i] = c->cmds[i].word;
	memcpy(copy->boots, c->boots, sizeof copy->boots);
	copy->boots_count = c->boots_count;
	return copy;
}

/* What was answered before is owed again. */
static void owe(struct cmd *cmd)
{
	for (int64_t i = 0; i < cmd->starts && i < STARTS_MAX; i++)
		cmd->start[i].owed = cmd->start[i].marked;
}

/* As far as is known here, the database knows nothing of it any more: if it is asked for again, that is another command. */
static void forgotten(struct checker *c, struct cmd *cmd)
{
	struct cmd anew = { .index = cmd->index, .asked = cmd->asked, .is_idempotent = cmd->is_idempotent, .max_attempts = cmd->max_attempts, .payload = cmd->payload };

	c->n.rolled_back += cmd->word.acked;
	c->old = mem_resize(c->old, (size_t)(c->old_count + 1) * sizeof *c->old);
	cmd->rolled_back = true;
	c->old[c->old_count++] = *cmd;
	*cmd = anew;
}

/* The put-back database knew it after all: it had been made when the copy was, and not been shown. */
static void remembered(struct checker *c, struct cmd *cmd, const char *id)
{
	for (int i = 0; i < c->old_count; i++) {
		if (strcmp(c->old[i].word.id, id) != 0)
			continue;
		*cmd = c->old[i];
		c->old[i] = c->old[--c->old_count];
		c->n.rolled_back -= cmd->word.acked;
		cmd->rolled_back = false;
		cmd->word = (struct word){ .acked = cmd->word.acked };
		return;
	}
}

void checker_put_back(struct checker *c, const struct checker_copy *copy)
{
	c->put_backs++;
	memcpy(c->boots, copy->boots, sizeof c->boots);
	c->boots_count = copy->boots_count;
	for (int i = 0; i < c->old_count; i++)
		owe(&c->old[i]);
	for (int i = 0; i < CHECKER_MAX; i++) {
		struct cmd *cmd = &c->cmds[i];
		const struct word *w = &copy->words[i];
		owe(cmd);
		if (strcmp(cmd->word.id, w->id) != 0) {
			if (cmd->word.id[0])
				forgotten(c, cmd);
			if (w->id[0])
				remembered(c, cmd, w->id);
		}
		cmd->word = *w;
		cmd->listed = false;
	}
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

	if (cmd && cmd->word.id[0] == '\0')
		remembered(c, cmd, id);
	if (cmd && cmd->asked && (cmd->word.id[0] == '\0' || strcmp(cmd->word.id, id) == 0)) {
		snprintf(cmd->word.id, sizeof cmd->word.id, "%s", id);
		return cmd;
	}
	c->n.unexpected++;
	wrong(c, 2, cmd, "unexpected: command %s, which nobody asked for%s%s", id, cmd && cmd->asked ? ", beside " : "", cmd ? cmd->word.id : "");
	return NULL;
}

void checker_acked(struct checker *c, int index, const char *id)
{
	struct cmd *cmd = meet(c, index, id);

	if (cmd)
		cmd->word.acked = true;
}

static uint64_t content_of(const struct json *command, const char *name, uint64_t seed)
{
	struct json v;

	return json_find(command, name, &v) ? hash_bytes(v.text, v.len, seed) : seed;
}

static bool flag_of(const struct json *command, const char *name, bool *out)
{
	struct json v;

	return json_find(command, name, &v) && json_bool(&v, out);
}

static bool number_of(const struct json *command, const char *name, int64_t *out)
{
	struct json v;

	return json_find(command, name, &v) && json_int(&v, out);
}

static bool read_shown(const struct json *command, struct shown *out)
{
	char status[32], failure[64], agent[AGENT_ID_MAX + 1];
	int s;

	if (!text_of(command, "status", status, sizeof status) || (s = status_read(status, strlen(status))) < 0)
		return false;
	out->status = (enum status)s;
	out->failure = text_of(command, "failureCode", failure, sizeof failure) ? failure_read(failure, strlen(failure)) : FAILURE_NONE;
	text_of(command, "agentId", agent, sizeof agent);
	out->agent = hash_text(agent);
	out->content = content_of(command, "error", content_of(command, "result", 7));
	return flag_of(command, "needsReview", &out->review) && flag_of(command, "cancelRequested", &out->cancel) && number_of(command, "attempt", &out->attempt);
}

static bool is_settled(const struct shown *s)
{
	return s->status == STATUS_COMPLETED || (s->status == STATUS_FAILED && !s->review);
}

/* G1: it is what was asked for. */
static void judge_content(struct checker *c, struct cmd *cmd, const struct json *command)
{
	uint64_t created = content_of(command, "createdAt", 5);
	bool idempotent = !cmd->is_idempotent;
	int64_t most = -1;

	if (content_of(command, "payload", 3) != cmd->payload || !flag_of(command, "isIdempotent", &idempotent) || idempotent != cmd->is_idempotent)
		wrong(c, 1, cmd, "shown with another payload or isIdempotent than was asked for");
	if (!number_of(command, "maxAttempts", &most) || most < cmd->max_attempts || most > cmd->max_attempts + cmd->retries)
		wrong(c, 1, cmd, "shown with maxAttempts %lld: %lld was asked for, and %lld RETRYs", (long long)most, (long long)cmd->max_attempts, (long long)cmd->retries);
	if (cmd->created && created != cmd->created)
		wrong(c, 1, cmd, "createdAt has changed");
	cmd->created = created;
}

/* G1: what an answer said is not taken back. */
static void judge_order(struct checker *c, struct cmd *cmd, const struct shown *s)
{
	const struct shown *l = &cmd->word.last;

	if (s->attempt < l->attempt)
		wrong(c, 1, cmd, "attempt went back from %lld to %lld", (long long)l->attempt, (long long)s->attempt);
	if (l->cancel && !s->cancel && cmd->retries <= cmd->word.cancel_retries)
		wrong(c, 1, cmd, "cancelRequested was taken back");
	if (s->cancel)
		cmd->word.cancel_retries = cmd->retries_over;
}

static bool started_at(const struct cmd *cmd, int64_t attempt)
{
	for (int64_t i = 0; i < cmd->starts && i < STARTS_MAX; i++)
		if (cmd->start[i].attempt == attempt)
			return true;
	return false;
}

static int64_t given_back(const struct cmd *cmd)
{
	int64_t n = 0;

	for (int i = 0; i < ATTEMPTS_MAX; i++)
		n += cmd->back[i];
	return n;
}

/* G6: NULL, or why this failureCode has no ground at that attempt. */
static const char *groundless(struct checker *c, const struct cmd *cmd, const struct shown *s)
{
	switch ((enum failure)s->failure) {
	case FAILURE_NONE:
	case FAILURE_COUNT:
		return "FAILED without a failureCode";
	case FAILURE_EXECUTION_FAILED:
	case FAILURE_TIMEOUT:
		return s->review ? "in review, and it is no doubt" : started_at(cmd, s->attempt) ? NULL : "that attempt never began";
	case FAILURE_OUTCOME_UNKNOWN:
		return s->attempt < ATTEMPTS_MAX && cmd->began[s->attempt] ? NULL : "that attempt never reached a journal";
	case FAILURE_EVIDENCE_LOST:
		return lost_its_log(c, s->agent) ? NULL : "nobody polled in its holder's name without its journal";
	case FAILURE_AGENT_LOST:
		return lease_over(c, cmd) >= s->attempt ? NULL : "its lease has not ended";
	case FAILURE_NEVER_STARTED:
		return s->review ? NULL : "it is a doubt, and not in review";
	case FAILURE_ATTEMPTS_EXHAUSTED:
		return s->attempt - given_back(cmd) >= cmd->max_attempts || c->put_backs ? NULL : "there are attempts left";
	case FAILURE_CANCELLED:
		return cmd->wishes[WISH_CANCEL] || (c->copied && started_at(cmd, s->attempt)) ? NULL : "nobody cancelled it";
	case FAILURE_OPERATOR_FAILED:
		return cmd->wishes[WISH_FAIL] ? NULL : "no operator failed it";
	}
	return "no failureCode that is known";
}

static void judge_outcome(struct checker *c, struct cmd *cmd, const struct shown *s)
{
	static const bool is_doubt[FAILURE_COUNT] = { [FAILURE_OUTCOME_UNKNOWN] = true, [FAILURE_EVIDENCE_LOST] = true, [FAILURE_AGENT_LOST] = true,
		[FAILURE_NEVER_STARTED] = true, [FAILURE_ATTEMPTS_EXHAUSTED] = true };
	const char *why;

	if (s->status != STATUS_FAILED && s->review)
		wrong(c, 6, cmd, "needsReview of a command that is %s", status_text(s->status));
	if (s->status == STATUS_COMPLETED && !started_at(cmd, s->attempt) && cmd->wishes[WISH_COMPLETE] == 0)
		wrong(c, 6, cmd, "COMPLETED at attempt %lld, which never began", (long long)s->attempt);
	if (s->status != STATUS_FAILED)
		return;
	if ((why = groundless(c, cmd, s)) != NULL)
		wrong(c, 6, cmd, "%s at attempt %lld: %s", s->failure > 0 ? failure_text((enum failure)s->failure) : "FAILED", (long long)s->attempt, why);
	else if (s->review != is_doubt[s->failure])
		wrong(c, 6, cmd, "%s %s review", failure_text((enum failure)s->failure), s->review ? "in" : "without");
	if (s->failure != FAILURE_NEVER_STARTED || cmd->word.last.failure == FAILURE_NEVER_STARTED || !started_at(cmd, s->attempt))
		return;
	/* A put-back database does not know what was answered to it before; a copy's poll speaks for itself only, and an old poll sent again for the past. */
	c->n.never_started_wrong++;
	if (!c->put_backs && !c->copied && !c->old_polls)
		wrong(c, 6, cmd, "NEVER_STARTED, and attempt %lld has begun", (long long)s->attempt);
}

/* A report of an attempt that a put-back database has not handed out yet overrules what was settled in its place: DESIGN says so, section 3. */
static bool overruled(struct checker *c, const struct cmd *cmd, const struct shown *s)
{
	if (!c->put_backs || s->attempt <= cmd->word.end.attempt || s->attempt > cmd->attempt_most)
		return false;
	c->n.overruled++;
	return true;
}

static void judge_settled(struct checker *c, struct cmd *cmd, const struct shown *s)
{
	const struct shown *e = &cmd->word.end;

	if (!cmd->word.settled || cmd->retries > cmd->word.settled_retries)
		return;
	if (s->status == e->status && s->failure == e->failure && s->review == e->review && s->content == e->content && s->attempt == e->attempt)
		return;
	if (!overruled(c, cmd, s))
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
		wrong(c, 2, cmd, "a command without status, needsReview, cancelRequested or attempt");
		return;
	}
	cmd->listed = true;
	judge_content(c, cmd, command);
	judge_settled(c, cmd, &s);
	judge_order(c, cmd, &s);
	judge_outcome(c, cmd, &s);
	cmd->word.last = s;
	cmd->word.settled = is_settled(&s);
	cmd->word.settled_retries = cmd->retries_over;
	cmd->word.end = s;
}

/* G4: an attempt that has finished, as the server knows or as a journal says that is still there, while its lease has not ended. */
static void judge_finished(struct checker *c, struct cmd *cmd, int64_t attempt, const char *what)
{
	if (cmd->word.finished && attempt > cmd->word.finished && cmd->retries <= cmd->word.finished_retries)
		wrong(c, 4, cmd, "attempt %lld %s after attempt %lld had finished", (long long)attempt, what, (long long)cmd->word.finished);
	for (int64_t i = 0; i < cmd->starts && i < STARTS_MAX; i++) {
		const struct start *s = &cmd->start[i];
		if (c->copied || !s->kept || s->attempt >= attempt || c->files[s->file].gone || cmd->retries > s->kept_retries || lease_over(c, cmd) >= s->attempt || lost_its_log(c, s->agent))
			continue;
		if (database_knows(cmd, s))
			wrong(c, 4, cmd, "attempt %lld %s while a journal holds the end of attempt %lld, whose lease has not ended", (long long)attempt, what, (long long)s->attempt);
	}
}

void checker_handed_out(struct checker *c, const char *id, int64_t attempt, const struct checker_boot *by, int64_t now_us, int64_t deaf_us)
{
	struct cmd *cmd = known(c, id);
	struct boot boot = boot_of(by);
	int64_t hands = 0;

	if (!cmd)
		return;
	for (int64_t i = 0; i < cmd->starts && i < STARTS_MAX; i++)
		cmd->start[i].hidden = !database_knows(cmd, &cmd->start[i]);
	if (cmd->hands_count < HANDS_MAX)
		cmd->hands[cmd->hands_count++] = (struct hand){ attempt, ++c->stamp, boot };
	if (c->paused)
		wrong(c, 3, cmd, "attempt %lld was handed out while the put-back database is paused", (long long)attempt);
	for (int i = 0; i < cmd->hands_count; i++)
		hands += cmd->hands[i].attempt == attempt;
	if (!c->put_backs && hands > 1 + cmd->max_attempts + cmd->retries)
		wrong(c, 7, cmd, "attempt %lld was handed out %lld times", (long long)attempt, (long long)hands);
	boot_learnt(c, &boot);
	database_learns(cmd, attempt, boot.journal);
	cmd->handed_us = cmd->heard_us = now_us;
	cmd->heard_deaf_us = deaf_us;
	cmd->handed_attempt = attempt;
	judge_finished(c, cmd, attempt, "was handed out");
}

void checker_waited(struct checker *c, const char *journal_id, const char *boot_id)
{
	struct checker_boot by = { journal_id, boot_id };
	struct boot boot = boot_of(&by);

	boot_learnt(c, &boot);
}

void checker_reported(struct checker *c, const char *id, enum report report, int64_t attempt, const struct checker_boot *by, int64_t now_us, int64_t deaf_us)
{
	struct cmd *cmd = known(c, id);
	struct boot boot = boot_of(by);
	const struct shown *last;

	if (!cmd)
		return;
	last = &cmd->word.last;
	if (database_learns(cmd, attempt ? attempt : last->attempt, boot.journal))
		boot_learnt(c, &boot);
	if (report == REPORT_NOT_STARTED && attempt < ATTEMPTS_MAX)
		cmd->back[attempt] = true;
	if (report == REPORT_RUNNING) {
		cmd->heard_us = now_us;
		cmd->heard_deaf_us = deaf_us;
	}
	/* A repeat of what an operator has overruled is 200 too, and settles nothing. */
	if (!cmd->word.settled || (report != REPORT_COMPLETED && report != REPORT_FAILED) || last->status != (report == REPORT_COMPLETED ? STATUS_COMPLETED : STATUS_FAILED))
		return;
	if (attempt && attempt != last->attempt)
		wrong(c, 5, cmd, "a report of attempt %lld was taken at attempt %lld", (long long)attempt, (long long)last->attempt);
	cmd->word.finished = last->attempt;
	cmd->word.finished_retries = cmd->retries_over;
}

void checker_answered(struct checker *c, const char *id, int64_t attempt, const char *journal_id)
{
	struct cmd *cmd = known(c, id);
	uint64_t journal = hash_text(journal_id);

	for (int64_t i = 0; cmd && i < cmd->starts && i < STARTS_MAX; i++)
		if (cmd->start[i].attempt == attempt && cmd->start[i].boot.journal == journal)
			cmd->start[i].owed = false;
}

void checker_gone(struct checker *c, const char *id)
{
	struct cmd *cmd = known(c, id);

	if (!cmd || !cmd->listed || cmd->rolled_back)
		return;
	cmd->missing = true;
	wrong(c, 1, cmd, "lost: shown before, and 404 now");
}

void checker_lease_ended(struct checker *c, const char *id, int64_t attempt, int64_t now_us, int64_t deaf_us, int64_t lease_ms)
{
	struct cmd *cmd = known(c, id);
	struct lease *l = lease_of(c, id);

	if (!l) {
		must(c->leases_count < LEASES_MAX);
		l = &c->leases[c->leases_count++];
		snprintf(l->id, sizeof l->id, "%s", id);
	}
	l->attempt = attempt;
	if (cmd && cmd->heard_us && now_us - cmd->heard_us - (deaf_us - cmd->heard_deaf_us) < lease_ms * 1000 - LOOP_WORK_US)
		wrong(c, 8, cmd, "its lease ended %lld us after its agent was heard, %lld us of which the server stood still", (long long)(now_us - cmd->heard_us),
			(long long)(deaf_us - cmd->heard_deaf_us));
}

/* what happened */

void checker_began(struct checker *c, const char *id, int64_t attempt)
{
	struct cmd *cmd = known(c, id);

	if (cmd && attempt < ATTEMPTS_MAX)
		cmd->began[attempt] = true;
}

/* Was that very attempt handed once more to another start of its journal? A copy of the journal speaks for the start then, and has no record of it. */
static bool spoken_for(const struct checker *c, const struct cmd *cmd, const struct start *s)
{
	for (int i = 0; c->copied && i < cmd->hands_count; i++)
		if (cmd->hands[i].attempt == s->attempt && cmd->hands[i].stamp > s->handed && cmd->hands[i].boot.journal == s->boot.journal && cmd->hands[i].boot.text != s->boot.text)
			return true;
	return false;
}

/* May this start not know of that earlier one? Its own journal's file does not hold it, or only as an older attempt, as before a RETRY; and the server's
 * database did not know it when it handed out (put back), or took the one's file for the other's (a copy, or an older state, that looked like a restart). */
static bool hidden_from(struct checker *c, const struct cmd *cmd, const struct start *earlier, const struct start *s)
{
	const struct start *first = earlier->handed < s->handed ? earlier : s, *then = first == s ? earlier : s;
	bool database = earlier->hidden, journal = s->file >= 0 && first->boot.journal == then->boot.journal && (then->boot.n > first->boot.n || !boot_known(c, &first->boot));

	journal = journal || spoken_for(c, cmd, earlier);
	if ((holds(c, s->file, earlier) && (s->attempt <= earlier->attempt || !database)) || (!database && !journal))
		return false;
	c->n.hidden_by_database += database;
	c->n.hidden_by_journal += !database;
	return true;
}

/* When it was handed to that start of its agent; before everything that is known, if that is not. */
static int64_t handed(const struct cmd *cmd, const struct start *s)
{
	for (int i = cmd->hands_count; i-- > 0;)
		if (cmd->hands[i].attempt == s->attempt && cmd->hands[i].boot.text == s->boot.text)
			return cmd->hands[i].stamp;
	return 0;
}

/* One earlier start that is hidden from this one makes room for it. */
static void judge_start(struct checker *c, struct cmd *cmd, const struct start *s, int64_t earlier)
{
	int64_t most = cmd->is_idempotent ? cmd->max_attempts : 1, twice = -1;
	bool excused = false;

	for (int64_t i = 0; i < earlier && i < STARTS_MAX; i++)
		if (cmd->start[i].attempt == s->attempt)
			twice = i;
	if (twice >= 0 || cmd->starts > most + cmd->retries + cmd->excused)
		for (int64_t i = 0; i < earlier && i < STARTS_MAX && !excused; i++)
			excused = (twice < 0 || cmd->start[i].attempt == s->attempt) && hidden_from(c, cmd, &cmd->start[i], s);
	cmd->excused += excused;
	if (twice >= 0 && !excused)
		wrong(c, 3, cmd, "attempt %lld begins a second time", (long long)s->attempt);
	if (cmd->starts <= most + cmd->retries + cmd->excused)
		return;
	c->n.duplicated += !cmd->is_idempotent;
	wrong(c, 3, cmd, "%s: start %lld, with %lld RETRYs and maxAttempts %lld", cmd->is_idempotent ? "begun too often" : "duplicated", (long long)cmd->starts,
		(long long)cmd->retries, (long long)cmd->max_attempts);
}

void checker_start(struct checker *c, const char *id, int64_t attempt, const struct checker_agent *by, int64_t now_us, int64_t freshness_ms)
{
	struct cmd *cmd = known(c, id);
	struct start s = { .attempt = attempt, .boot = boot_of(&by->boot), .stamp = ++c->stamp, .file = by->file, .agent = cmd ? cmd->word.last.agent : 0 };

	if (!cmd) {
		wrong(c, 3, NULL, "unexpected: a start of %s, which the server never handed out", id);
		return;
	}
	s.hidden = !database_knows(cmd, &s);
	s.handed = handed(cmd, &s);
	if (cmd->starts < STARTS_MAX)
		cmd->start[cmd->starts] = s;
	cmd->starts++;
	judge_start(c, cmd, &s, cmd->starts - 1);
	judge_finished(c, cmd, attempt, "begins");
	if (freshness_ms && attempt == cmd->handed_attempt && now_us - cmd->handed_us > freshness_ms * 1000)
		wrong(c, 8, cmd, "attempt %lld begins %lld us after it was handed out: later than its lease", (long long)attempt, (long long)(now_us - cmd->handed_us));
	if (cmd->word.settled && cmd->retries <= cmd->word.settled_retries)
		c->n.started_late++;
}

static struct start *start_of(struct checker *c, const char *id, int64_t attempt, const struct checker_agent *by)
{
	struct cmd *cmd = known(c, id);

	for (int64_t i = cmd ? cmd->starts : 0; i-- > 0;)
		if (i < STARTS_MAX && cmd->start[i].attempt == attempt && cmd->start[i].file == by->file && cmd->start[i].boot.text == hash_text(by->boot.boot_id))
			return &cmd->start[i];
	return NULL;
}

void checker_ended(struct checker *c, const char *id, int64_t attempt, const struct checker_agent *by)
{
	struct start *s = start_of(c, id, attempt, by);

	if (s)
		s->ended = true;
}

void checker_kept(struct checker *c, const char *id, int64_t attempt, const struct checker_agent *by)
{
	struct start *s = start_of(c, id, attempt, by);

	if (!s || !s->ended || s->kept)
		return;
	s->kept = true;
	s->kept_retries = known(c, id)->retries_over;
}

void checker_marked(struct checker *c, const char *id, int64_t attempt, const struct checker_agent *by)
{
	struct start *s = start_of(c, id, attempt, by);

	if (s)
		s->marked = true;
}

static void told_one(struct checker *c, const struct cmd *cmd, int file)
{
	for (int64_t i = 0; i < cmd->starts && i < STARTS_MAX; i++)
		if (cmd->start[i].owed && holds(c, file, &cmd->start[i]))
			wrong(c, 3, cmd, "an agent was told that the database was put back, and polls without having told it of attempt %lld", (long long)cmd->start[i].attempt);
}

void checker_told(struct checker *c, int file)
{
	for (int i = 0; i < CHECKER_MAX; i++)
		told_one(c, &c->cmds[i], file);
	for (int i = 0; i < c->old_count; i++)
		told_one(c, &c->old[i], file);
}

/* Over all commands of one index: those of a database that was put back, too. */
void checker_hit(struct checker *c, int index)
{
	struct cmd *cmd;
	int64_t starts, may;

	if (index < 0 || index >= CHECKER_MAX || !c->cmds[index].asked) {
		wrong(c, 3, NULL, "unexpected: a request for /c/%d, which nobody asked for", index);
		return;
	}
	cmd = &c->cmds[index];
	starts = cmd->starts;
	may = 1 + cmd->retries + cmd->excused;
	for (int i = 0; i < c->old_count; i++) {
		if (c->old[i].index != index)
			continue;
		starts += c->old[i].starts;
		may += 1 + c->old[i].retries + c->old[i].excused;
	}
	if (++c->hits[index] > starts)
		wrong(c, 3, cmd, "%lld requests arrived at the target, and it began %lld times", (long long)c->hits[index], (long long)starts);
	if (!cmd->is_idempotent && c->hits[index] > may) {
		c->n.duplicated++;
		wrong(c, 3, cmd, "duplicated: request %lld at the target, and %lld are allowed", (long long)c->hits[index], (long long)may);
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
	for (int i = 0; i < CHECKER_MAX; i++) {
		struct cmd *cmd = &c->cmds[i];
		if (cmd->word.acked && !cmd->listed) {
			cmd->missing = true;
			wrong(c, 2, cmd, "lost: acknowledged, and not in the last list");
		}
	}
}

static int64_t starts_in(const struct checker *c, const struct cmd *cmd, const int *files, int n)
{
	int64_t found = 0;

	for (int64_t i = 0; i < cmd->starts && i < STARTS_MAX; i++) {
		bool held = false;
		for (int k = 0; k < n; k++)
			held = held || holds(c, files[k], &cmd->start[i]);
		found += held;
	}
	return found;
}

bool checker_double_in(const struct checker *c, const int *files, int n)
{
	for (int i = 0; i < CHECKER_MAX; i++)
		if (c->cmds[i].word.id[0] && !c->cmds[i].is_idempotent && starts_in(c, &c->cmds[i], files, n) > 1 + c->cmds[i].retries)
			return true;
	return false;
}

bool checker_retried(const struct checker *c)
{
	for (int i = 0; i < CHECKER_MAX; i++)
		if (c->cmds[i].retries > 0)
			return true;
	return false;
}

void checker_count(const struct checker *c, struct checker_counts *n)
{
	const int64_t *from = (const int64_t *)&c->n;
	int64_t *to = (int64_t *)n;

	for (size_t i = 0; i < sizeof *n / sizeof *to; i++)
		to[i] += from[i];
	for (int i = 0; i < CHECKER_MAX + c->old_count; i++) {
		const struct cmd *cmd = i < CHECKER_MAX ? &c->cmds[i] : &c->old[i - CHECKER_MAX];
		n->commands += cmd->asked && i < CHECKER_MAX;
		n->acknowledged += cmd->word.acked;
		n->lost += cmd->missing;
		n->recovered += cmd->recovered || (!cmd->word.acked && cmd->word.id[0] != '\0' && !cmd->rolled_back);
		n->settled += cmd->word.settled && !cmd->rolled_back;
		n->in_review += cmd->listed && cmd->word.last.review && !cmd->rolled_back;
		n->starts += cmd->starts;
		n->retries += cmd->retries;
		n->hits += i < CHECKER_MAX ? c->hits[i] : 0;
	}
}
