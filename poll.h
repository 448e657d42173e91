/* poll: a whole agent node: its slots. Poll, write STARTED, begin, beat, write FINISHED, report, mark: one state machine a slot, one transaction a turn. */
#ifndef POLL_H
#define POLL_H
#include "journal.h"
#include "report.h"
#include "run.h"

struct poll;
struct poll_settings {
	const struct http_url *server;
	const char *token;                                         /* or NULL */
	const char *name;                                          /* the agent's; one slot: NAME, more: NAME/1 .. NAME/N */
	int slots;
	int64_t interval_ms;                                       /* an idle slot polls once in this time, parked at the server for it (at most 20000) */
	int64_t keep_days;                                         /* answered entries older than that are pruned */
	bool once;                                                 /* one poll with waitMs=0, run what is given, end */
	struct run_limits run;
	struct tls *tls;
};

/* Answers first for every open entry, then polls. Settings' strings must outlive it. Does not own the journal. */
struct poll *poll_new(struct loop *, const struct env *, struct journal *, const struct poll_settings *);
void poll_drain(struct poll *);                                /* takes no more; what runs is finished and reported */
bool poll_ended(const struct poll *);                          /* drained, or once and done, or fenced and idle */
bool poll_failed(const struct poll *);                         /* ended, and not well: fenced, or --once without an answer */
int poll_busy(const struct poll *);                            /* slots that run or still owe a report */
void poll_free(struct poll *);                                 /* at any time; forgets without a word what is in flight */
#endif
