/* claim: the server's side of a poll: who polls, what it held before, what it gets now, and the polls that are parked until there is work. */
#ifndef CLAIM_H
#define CLAIM_H
#include "answer.h"
#include "dispatch.h"
#include "recover.h"

struct claim;
struct claim_poll { struct who who; int64_t wait_ms, lease_ms; };  /* a poll, checked for form; lease_ms 0: the server's */

struct claim *claim_new(struct loop *, const struct env *, struct store *, struct dispatch *, int64_t lease_ms);
void claim_free(struct claim *);
void claim_load(struct claim *);                               /* after a failed commit: what it remembers of the store is made anew */
void claim_ask(struct claim *, struct conn *, const struct claim_poll *);      /* answers now, or at this turn's end, or parks */
void claim_match(struct claim *);                              /* at the turn's end, before the commit: ready work to polls, oldest to longest waiting */
void claim_gone(struct claim *, struct conn *);                /* a parked poll's connection is gone */
void claim_stop(struct claim *);                               /* ends every parked poll with 204 and parks no more */
void claim_hear(struct claim *, const struct who *);           /* a report came from it */
void claim_pause(struct claim *, const char *restore);         /* nothing is handed out, and polls hear the restore's name; NULL: go on */
#endif
