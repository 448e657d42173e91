/* journal: the agent's write-ahead log of what it began and how it ended (DESIGN section 3). The only file with the agent's SQL.
 * Changes made between two journal_commit calls share one transaction and one sync; none of them counts until journal_commit said DB_OK. */
#ifndef JOURNAL_H
#define JOURNAL_H
#include "command.h"
#include "db.h"

struct journal;
enum journal_state { JOURNAL_STARTED, JOURNAL_FINISHED, JOURNAL_NOT_STARTED };
enum journal_answer { ANSWER_OPEN, ANSWER_ANSWERED, ANSWER_ORPHAN };

struct journal_entry {
	char id[ID_TEXT];                                          /* the command's */
	int64_t attempt;
	const char *agent_id;                                      /* the slot it was given to */
	const char *type;
	bool is_idempotent;
	enum journal_state state;
	enum journal_answer answer;
	bool completed;                                            /* FINISHED: COMPLETED or FAILED */
	enum failure failure;                                      /* of a FAILED */
	const char *result; size_t result_len;                     /* JSON text or NULL */
	const char *error;                                         /* or NULL */
	int64_t boot;                                              /* the start counter of the boot that wrote it */
	int64_t started_at, finished_at, answered_at;              /* wall ms; 0: not yet */
};

/* Opens or makes the journal: journal_id made once with the file; boot counter raised by one and synced before this returns, with eight random hex digits. renew: --new-journal: the old
 * file and its companions are moved aside to PATH.old-N, never deleted. NULL: *err is one line. */
struct journal *journal_open(const struct env *, const char *path, bool renew, struct buf *err);
void journal_close(struct journal *);
const char *journal_id(const struct journal *);
const char *journal_boot_id(const struct journal *);           /* "N-xxxxxxxx" */
int64_t journal_boot(const struct journal *);
bool journal_fenced(const struct journal *);
void journal_fence(struct journal *);                          /* durable at the next commit; stays until --new-journal */
const char *journal_name(struct journal *, const char *fallback);  /* the agent's default name: what is kept, else fallback, kept from now on */

/* Look one up: the entry of the highest attempt held for the command. Strings live until the next call of any journal function but the getters above. */
bool journal_highest(struct journal *, const char *id, struct journal_entry *out);
bool journal_get(struct journal *, const char *id, int64_t attempt, struct journal_entry *out);
typedef void journal_each(void *arg, const struct journal_entry *);   /* may not call journal functions */
void journal_open_entries(struct journal *, journal_each *, void *arg);    /* unanswered, oldest first */
void journal_list(struct journal *, int64_t limit, journal_each *, void *arg);   /* all, newest first: --log */

void journal_start(struct journal *, const struct journal_entry *);    /* STARTED; id, attempt, agent_id, type, is_idempotent are read. must() when (id, attempt) is held */
void journal_finish(struct journal *, const char *id, int64_t attempt, bool completed, enum failure, const char *result, size_t result_len, const char *error);
void journal_not_started(struct journal *, const struct journal_entry *);  /* a tombstone: new, or over STARTED */
void journal_answered(struct journal *, const char *id, int64_t attempt, enum journal_answer);
void journal_give(struct journal *, const char *id, int64_t attempt, const char *agent_id);   /* the record is answered under another slot's name from now on, and open again */
bool journal_reopen(struct journal *, const char *restore);    /* every answered or orphaned entry is open again, once for each restore's name; false: done before. Durable at the next commit */
int64_t journal_prune(struct journal *, int64_t before_ms);    /* answered and orphaned ones last touched before then; how many went */
bool journal_dirty(const struct journal *);                    /* changes wait for a commit */
enum db_result journal_commit(struct journal *);               /* DB_FULL: all changes since the last commit are undone */

/* For looking from outside (--log on a live journal, --audit): no lock, no boot. */
struct journal *journal_open_reader(const struct env *, const char *path, struct buf *err);
#endif
