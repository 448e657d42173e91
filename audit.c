/* audit: proves or refutes the promise from what was written down on both sides. Every journal's entries go into one table by command; every
 * command of the database is then judged against its entries:
 *   A1  a non-idempotent command was begun at most once, plus once for each operator's RETRY (G3);
 *   A2  an outcome an agent settled has its FINISHED record, with the same outcome (G4, G5);
 *   A3  nothing is RUNNING without a holder, and no answered record is missing from the database (G1, G2, G7).
 * What cannot be judged, since an agent kept no journal or its journal was not given, is said to be unproven, never guessed. */
#include "audit.h"
#include <stdlib.h>
#include <string.h>

struct mark { struct mark *next; uint64_t hash; char id[ID_TEXT]; int64_t attempt, started_at; int journal; enum journal_state state; enum journal_answer answer; bool completed, known; };
struct source { const char *path; char id[65]; int64_t oldest_ms; };

struct audit {
	const struct env *env;
	struct store *store;
	struct source *sources;
	int sources_count, loading;
	struct mark **heads;
	size_t size, count;
	bool json;
	struct buf findings;
	int64_t commands, entries, violations, unproven;
};

/* The table of entries. */

static const struct source *source_of(const struct audit *a, const char *journal_id)
{
	for (int i = 0; journal_id && i < a->sources_count; i++)
		if (strcmp(a->sources[i].id, journal_id) == 0)
			return &a->sources[i];
	return NULL;
}

static void grow(struct audit *a)
{
	size_t size = a->size ? a->size * 2 : 1024;
	struct mark **heads = mem_new(size * sizeof *heads);

	for (size_t i = 0; i < a->size; i++) {
		for (struct mark *m = a->heads[i], *next; m; m = next) {
			next = m->next;
			m->next = heads[m->hash % size];
			heads[m->hash % size] = m;
		}
	}
	free(a->heads);
	a->heads = heads;
	a->size = size;
}

static struct mark *first_of(const struct audit *a, const char *id)
{
	return a->size ? a->heads[hash_bytes(id, strlen(id), 0) % a->size] : NULL;
}

/* The same record in a copy of a journal that was given too: one start, told twice. */
static struct mark *told_before(const struct audit *a, const struct journal_entry *e)
{
	struct mark *m = first_of(a, e->id);

	while (m && (m->journal != a->loading || m->attempt != e->attempt || m->started_at != e->started_at || strcmp(m->id, e->id) != 0))
		m = m->next;
	return m;
}

static void add_entry(void *arg, const struct journal_entry *e)
{
	struct audit *a = arg;
	struct mark *m = told_before(a, e);
	struct source *s = &a->sources[a->loading];

	if (!m) {
		m = mem_new(sizeof *m);
		if (a->count >= a->size)
			grow(a);
		strcpy(m->id, e->id);
		m->hash = hash_bytes(m->id, strlen(m->id), 0);
		m->attempt = e->attempt;
		m->started_at = e->started_at;
		m->journal = a->loading;
		m->next = a->heads[m->hash % a->size];
		a->heads[m->hash % a->size] = m;
		a->count++;
		a->entries++;
	} else if (e->state == JOURNAL_STARTED) {
		return;
	}
	m->state = e->state;
	m->answer = m->answer == ANSWER_ANSWERED ? m->answer : e->answer;
	m->completed = e->completed;
	if (e->started_at && (s->oldest_ms == 0 || e->started_at < s->oldest_ms))
		s->oldest_ms = e->started_at;
}

/* Findings. */

static void finding(struct audit *a, bool violation, const char *id, int64_t attempt, const char *rule, const char *text)
{
	struct json_writer w = json_writer(&a->findings);

	*(violation ? &a->violations : &a->unproven) += 1;
	if (!a->json) {
		buf_fmt(&a->findings, "%s  %s  attempt %lld  %s: %s\n", violation ? "VIOLATED" : "unproven", id, (long long)attempt, rule, text);
		return;
	}
	if (a->findings.len)
		buf_char(&a->findings, ',');
	json_open_object(&w);
	json_key(&w, "verdict");
	json_put_text(&w, violation ? "VIOLATED" : "UNPROVEN");
	json_key(&w, "id");
	json_put_text(&w, id);
	json_key(&w, "attempt");
	json_put_int(&w, attempt);
	json_key(&w, "rule");
	json_put_text(&w, rule);
	json_key(&w, "detail");
	json_put_text(&w, text);
	json_close(&w);
}

#define TOLD_MAX 64
struct story { int64_t retries; uint64_t never_began, interrupted; bool by_operator; };       /* attempts up to TOLD_MAX of which the events say so, by bits */

static bool same(const char *a, const char *b) { return a && strcmp(a, b) == 0; }

static uint64_t bit(int64_t attempt) { return attempt >= 1 && attempt <= TOLD_MAX ? UINT64_C(1) << (attempt - 1) : 0; }

static void read_event(void *arg, const struct event *e)
{
	struct story *s = arg;

	s->retries += strcmp(e->kind, "RETRY") == 0;
	if (strcmp(e->kind, "HANDED_BACK") == 0 || (strcmp(e->kind, "RECOVERED") == 0 && same(e->evidence, "NO_ENTRY")))
		s->never_began |= bit(e->attempt);
	else if (strcmp(e->kind, "CONTRADICTION") == 0 && same(e->evidence, "INTERRUPTED"))
		s->interrupted |= bit(e->attempt);
	s->by_operator = s->by_operator || strcmp(e->kind, "COMPLETE") == 0 || strcmp(e->kind, "FAIL") == 0;
}

/* Is each attempt before the latest one in a journal, or known never to have begun? */
static bool accounted(const struct audit *a, const struct command *c, const char *id, const struct story *story)
{
	for (int64_t attempt = 1; attempt < c->attempt; attempt++) {
		const struct mark *m = first_of(a, id);
		while (m && (m->attempt != attempt || strcmp(m->id, id) != 0))
			m = m->next;
		if (!m && !(story->never_began & bit(attempt)))
			return false;
	}
	return true;
}

/* A1. What is not begun by any journal that was given, but may have been by another, is unproven. */
static void judge_starts(struct audit *a, const struct command *c, const char *id, const struct story *story)
{
	int64_t starts = 0;

	for (struct mark *m = first_of(a, id); m; m = m->next)
		starts += strcmp(m->id, id) == 0 && m->state != JOURNAL_NOT_STARTED;
	if (c->is_idempotent)
		return;
	if (starts > 1 + story->retries)
		finding(a, true, id, c->attempt, "A1", "a command that is not idempotent was begun more often than once and each RETRY");
	else if (c->attempt > 0 && !c->journal_id)
		finding(a, false, id, c->attempt, "A1", "its agent keeps no journal");
	else if (c->attempt > 0 && !source_of(a, c->journal_id))
		finding(a, false, id, c->attempt, "A1", "the journal of its agent was not given");
	else if (!accounted(a, c, id, story))
		finding(a, false, id, c->attempt, "A1", "the journals given do not hold all of its attempts");
}

/* A cancelled command's COMPLETED came when a cancel had settled it already, and was kept for the record. */
static bool settled_by_agent(const struct command *c, const struct story *story)
{
	if (story->by_operator || c->needs_review)
		return false;
	if (c->status == STATUS_FAILED && failure_by_agent(c->failure))
		return c->held == HELD_FAILED || (c->held == HELD_COMPLETED && c->failure != FAILURE_CANCELLED);
	return c->status == STATUS_COMPLETED;
}

static bool settled_by_nobody(const struct command *c, const struct story *story)
{
	if (story->by_operator || c->needs_review)
		return false;
	return c->status == STATUS_COMPLETED ? c->held != HELD_COMPLETED : c->status == STATUS_FAILED && c->failure != FAILURE_CANCELLED && c->held != HELD_FAILED;
}

/* A2. */
static void judge_outcome(struct audit *a, const struct command *c, const char *id, const struct story *story)
{
	const struct source *s = source_of(a, c->journal_id);
	struct mark *m;

	if (settled_by_nobody(c, story)) {
		finding(a, true, id, c->attempt, "A2", "it is settled, and neither a report nor an operator settled it");
		return;
	}
	if (!settled_by_agent(c, story) || !s) {
		if (settled_by_agent(c, story) && c->is_idempotent)
			finding(a, false, id, c->attempt, "A2", c->journal_id ? "the journal of its agent was not given" : "its agent keeps no journal");
		return;
	}
	for (m = first_of(a, id); m; m = m->next)
		if (strcmp(m->id, id) == 0 && m->attempt == c->attempt && m->journal == (int)(s - a->sources))
			break;
	if (!m && s->oldest_ms != 0 && s->oldest_ms < c->started_at)
		finding(a, true, id, c->attempt, "A2", "it is settled, and its agent's journal holds no record of it");
	else if (!m)
		finding(a, false, id, c->attempt, "A2", "its agent's journal does not reach back so far");
	else if (m->state == JOURNAL_STARTED && (m->answer == ANSWER_OPEN || (story->interrupted & bit(c->attempt))))
		finding(a, false, id, c->attempt, "A2", "its agent's journal had no room for its end");
	else if (m->state != JOURNAL_FINISHED)
		finding(a, true, id, c->attempt, "A2", "it is settled, and its agent's journal holds no end of it");
	else if (m->completed != (c->status == STATUS_COMPLETED))
		finding(a, true, id, c->attempt, "A2", "its agent's journal holds another outcome");
}

/* A3. */
static void judge_holder(struct audit *a, const struct command *c, const char *id, const struct story *story)
{
	bool settled = c->status == STATUS_COMPLETED || (c->status == STATUS_FAILED && !c->needs_review);

	if (c->status == STATUS_RUNNING && (!c->agent_id || c->attempt < 1))
		finding(a, true, id, c->attempt, "A3", "it is RUNNING and nobody holds it");
	for (struct mark *m = first_of(a, id); m; m = m->next) {
		if (strcmp(m->id, id) != 0)
			continue;
		m->known = true;
		if (m->answer != ANSWER_ANSWERED)
			continue;
		if (m->attempt > c->attempt)
			finding(a, true, id, m->attempt, "A3", "a journal holds an answered attempt that the database does not know");
		else if (m->attempt == c->attempt && m->state == JOURNAL_FINISHED && !settled && !story->retries)
			finding(a, true, id, m->attempt, "A3", "its finished record was answered, and the database does not have it");
	}
}

static bool judge_settled(void *arg, const struct command *c)
{
	struct audit *a = arg;
	struct story story = {0};
	char id[ID_TEXT];

	store_id(c, id);
	store_events(a->store, c->row, read_event, &story);
	judge_outcome(a, c, id, &story);
	store_forget(a->store);
	return true;
}

static bool judge_rest(void *arg, const struct command *c)
{
	struct audit *a = arg;
	struct story story = {0};
	char id[ID_TEXT];

	a->commands++;
	store_id(c, id);
	store_events(a->store, c->row, read_event, &story);
	judge_starts(a, c, id, &story);
	judge_holder(a, c, id, &story);
	store_forget(a->store);
	return true;
}

/* Entries of commands that the database does not hold: another server's, or this one lost them. */
static void judge_unknown(struct audit *a)
{
	for (size_t i = 0; i < a->size; i++)
		for (struct mark *m = a->heads[i]; m; m = m->next)
			if (!m->known && m->answer == ANSWER_ANSWERED)
				finding(a, true, m->id, m->attempt, "A3", "a journal holds an answered record of a command that the database does not hold");
}

/* The whole. */

static bool load(struct audit *a, int i, const char *path, struct buf *out)
{
	struct journal *j = journal_open_reader(a->env, path, out);

	if (!j)
		return false;
	a->sources[i].path = path;
	strncpy(a->sources[i].id, journal_id(j), sizeof a->sources[i].id - 1);
	a->loading = (int)(source_of(a, a->sources[i].id) - a->sources);       /* an earlier one of that id: they are copies */
	journal_list(j, INT64_MAX, add_entry, a);
	journal_close(j);
	return true;
}

static enum audit_result summary(struct audit *a, struct buf *out)
{
	enum audit_result result = a->violations ? AUDIT_VIOLATED : a->unproven ? AUDIT_UNPROVEN : AUDIT_PROVEN;
	const char *word = a->violations ? "VIOLATED" : a->unproven ? "UNPROVEN" : "PROVEN";

	if (a->json)
		buf_fmt(out, "{\"result\":\"%s\",\"commands\":%lld,\"journals\":%d,\"entries\":%lld,\"violations\":%lld,\"unproven\":%lld,\"findings\":[%s]}\n", word,
			(long long)a->commands, a->sources_count, (long long)a->entries, (long long)a->violations, (long long)a->unproven, a->findings.data ? a->findings.data : "");
	else
		buf_fmt(out, "%s%s: %lld commands against %lld entries of %d journals: %lld violations, %lld unproven\n", a->findings.data ? a->findings.data : "", word,
			(long long)a->commands, (long long)a->entries, a->sources_count, (long long)a->violations, (long long)a->unproven);
	return result;
}

static void forget(struct audit *a)
{
	for (size_t i = 0; i < a->size; i++) {
		for (struct mark *m = a->heads[i], *next; m; m = next) {
			next = m->next;
			free(m);
		}
	}
	free(a->heads);
	free(a->sources);
	buf_free(&a->findings);
	store_close(a->store);
}

enum audit_result audit_run(const struct env *env, const char *database, const char *const *journals, int journals_count, bool json, struct buf *out)
{
	struct audit a = {0};
	enum audit_result result = AUDIT_UNREADABLE;
	bool good = true;

	a.env = env;
	a.json = json;
	a.sources = mem_new(((size_t)journals_count + 1) * sizeof *a.sources);
	a.sources_count = journals_count;
	/* Live, both sides move on. What the database holds as settled at first must be in the journals read after; what those hold as answered must be in the database read last. */
	a.store = store_open_reader(env, database, out);
	good = a.store != NULL;
	if (good)
		store_snapshot(a.store);
	for (int i = 0; good && i < journals_count; i++)
		good = load(&a, i, journals[i], out);
	if (good) {
		store_walk(a.store, judge_settled, &a);
		store_snapshot(a.store);
		store_walk(a.store, judge_rest, &a);
		judge_unknown(&a);
		result = summary(&a, out);
	}
	forget(&a);
	return result;
}
