/* checker: judges a history of the world by what left the server, what began and what arrived; it never asks the server's tables. Commands are known by
 * an index that their creator put into the payload. Each wrong is told once, with the number of the guarantee (DESIGN section 2) that it breaks.
 * The order of the answers is the order in which they left the server. Safety is judged at every call, the rest at checker_end.
 *
 * A database or a journal that is put back to an older state, and a journal that is copied, may hide a start from whoever decides about the next one: a
 * limit that DESIGN states. The checker knows which records stand in which journal's file and which attempts the server's database knows of: a further
 * start is within the limits only where the record of an earlier one was hidden from both sides, and is counted apart; any other is a violation. */
#ifndef CHECKER_H
#define CHECKER_H
#include "../command.h"

#define CHECKER_MAX 64                                         /* indexes: 0 .. CHECKER_MAX - 1 */
struct checker;
typedef void checker_wrong(void *arg, int guarantee, int index, const char *what);   /* index -1: no command */

struct checker *checker_new(checker_wrong *, void *arg);
void checker_free(struct checker *);

void checker_old_polls(struct checker *);                              /* from now on a poll may arrive a second time, late */

/* What was asked, as it was sent. */
void checker_asked(struct checker *, int index, bool is_idempotent, int64_t max_attempts, const char *payload, size_t payload_len);
void checker_recovered(struct checker *, int index);                   /* its creator asked again for want of an answer, and it was there */
void checker_retry(struct checker *, const char *id, int change);      /* +1: a RETRY reached the server; -1: it was refused; 0: whatever it did, it has done */
enum checker_wish { WISH_COMPLETE, WISH_FAIL, WISH_CANCEL, WISHES };
void checker_wished(struct checker *, const char *id, enum checker_wish);    /* an operator's call reached it */
void checker_polled(struct checker *, const char *agent_id, const char *journal_id);   /* journal_id "": none */

/* What left the server. */
struct checker_boot { const char *journal_id, *boot_id; };             /* "": none */
void checker_acked(struct checker *, int index, const char *id);       /* 201 or 200 to a create */
void checker_shown(struct checker *, const struct json *command);      /* any command in any answer */
void checker_handed_out(struct checker *, const char *id, int64_t attempt, const struct checker_boot *, int64_t now_us, int64_t deaf_us);
void checker_waited(struct checker *, const char *journal_id, const char *boot_id);   /* a poll that ended empty */
void checker_reported(struct checker *, const char *id, enum report, int64_t attempt, const struct checker_boot *, int64_t now_us, int64_t deaf_us);   /* one that was answered 200 */
void checker_answered(struct checker *, const char *id, int64_t attempt, const char *journal_id);   /* a report of the attempt's end, with anything but "try again" */
void checker_gone(struct checker *, const char *id);                   /* 404 for it */
void checker_lease_ended(struct checker *, const char *id, int64_t attempt, int64_t now_us, int64_t deaf_us, int64_t lease_ms);   /* deaf_us: how long the server stood still so far */

/* Journals' files. A new one holds what `from` held at that stamp (-1: nothing) and takes the place of `replaces` (-1: none); its number. */
int checker_file(struct checker *, int replaces, int from, int64_t stamp);
int64_t checker_stamp(const struct checker *);

/* The server's database: copied, and put back. */
struct checker_copy;
struct checker_copy *checker_copy(const struct checker *);
void checker_put_back(struct checker *, const struct checker_copy *);
void checker_paused(struct checker *, bool);                           /* until an operator says so nothing may be handed out, anew or again */

/* What happened. file -1: an agent without a journal. freshness_ms: an agent that checks starts nothing older; 0: it does not check. */
struct checker_agent { int file; struct checker_boot boot; };
void checker_began(struct checker *, const char *id, int64_t attempt);                 /* STARTED is on its way into the journal */
void checker_start(struct checker *, const char *id, int64_t attempt, const struct checker_agent *, int64_t now_us, int64_t freshness_ms);
void checker_ended(struct checker *, const char *id, int64_t attempt, const struct checker_agent *);    /* the effect is over */
void checker_kept(struct checker *, const char *id, int64_t attempt, const struct checker_agent *);     /* FINISHED is in the journal */
void checker_marked(struct checker *, const char *id, int64_t attempt, const struct checker_agent *);   /* its record has been answered, as its agent knows */
void checker_told(struct checker *, int file);                         /* told that the database was put back, the agent of that journal polls again */
void checker_hit(struct checker *, int index);

/* The end: the server's whole list has been shown since checker_last. */
void checker_last(struct checker *);
void checker_end(struct checker *);
bool checker_double_in(const struct checker *, const int *files, int n);   /* these files hold more starts of a non-idempotent command than it may have */
bool checker_retried(const struct checker *);                          /* any command */

struct checker_counts { int64_t commands, acknowledged, lost, duplicated, unexpected, recovered, settled, in_review, starts, hits, retries, started_late, never_started_wrong,
	rolled_back, hidden_by_database, hidden_by_journal, overruled; };
void checker_count(const struct checker *, struct checker_counts *);   /* added to what is there */
int checker_payload_index(const struct json *command);                 /* -1: none of ours */
int checker_index(struct checker *, const char *id);                   /* -1: not known */
bool checker_idempotent(const struct checker *, int index);
const char *checker_id(const struct checker *, int index);             /* "" : not known */
#endif
