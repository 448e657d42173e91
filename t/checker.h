/* checker: judges a history of the world by what left the server, what began and what arrived; it never asks the server's tables. Commands are known by
 * an index that their creator put into the payload. Each wrong is told once, with the number of the guarantee (DESIGN section 2) that it breaks.
 * The order of the answers is the order in which they left the server. Safety is judged at every call, the rest at checker_end. */
#ifndef CHECKER_H
#define CHECKER_H
#include "../command.h"

#define CHECKER_MAX 64                                         /* indexes: 0 .. CHECKER_MAX - 1 */
struct checker;
typedef void checker_wrong(void *arg, int guarantee, int index, const char *what);   /* index -1: no command */

struct checker *checker_new(checker_wrong *, void *arg);
void checker_free(struct checker *);

/* What was asked, as it was sent. */
void checker_asked(struct checker *, int index, bool is_idempotent, int64_t max_attempts);
void checker_retry(struct checker *, const char *id, int change);      /* +1: a RETRY reached the server; -1: it was refused; 0: whatever it did, it has done */
void checker_complete(struct checker *, const char *id);               /* an operator's COMPLETE reached it */

/* What left the server. */
void checker_acked(struct checker *, int index, const char *id);       /* 201 or 200 to a create */
void checker_shown(struct checker *, const struct json *command);      /* any command in any answer */
void checker_handed_out(struct checker *, const char *id, int64_t attempt, int64_t now_us);
void checker_reported(struct checker *, const char *id, enum report, int64_t attempt, int64_t now_us);   /* a report that was answered 200 */
void checker_gone(struct checker *, const char *id);                   /* 404 for it */
void checker_lease_ended(struct checker *, const char *id, int64_t now_us, int64_t lease_ms);

/* What happened. freshness_ms: an agent that checks starts nothing older; 0: it does not check. */
void checker_start(struct checker *, const char *id, int64_t attempt, int64_t now_us, int64_t freshness_ms);
void checker_hit(struct checker *, int index);

/* The end: the server's whole list has been shown since checker_last. */
void checker_last(struct checker *);
void checker_end(struct checker *);

struct checker_counts { int64_t commands, acknowledged, lost, duplicated, unexpected, recovered, settled, in_review, starts, hits, retries, started_late, never_started_wrong; };
void checker_count(const struct checker *, struct checker_counts *);   /* added to what is there */
int checker_index(const struct checker *, const char *id);             /* -1: not known */
int checker_payload_index(const struct json *command);                 /* -1: none of ours */
bool checker_idempotent(const struct checker *, int index);
const char *checker_id(const struct checker *, int index);             /* "" : not known */
#endif
