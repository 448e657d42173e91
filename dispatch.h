/* dispatch: what the server keeps in memory, all of it rebuilt from the store at will: the ready queue, the leases, and who was heard when.
 * Leases are judged on a clock that stops while the server is deaf (G8). */
#ifndef DISPATCH_H
#define DISPATCH_H
#include "loop.h"
#include "store.h"

struct dispatch;
typedef void dispatch_expired(void *arg, int64_t row);         /* a lease has ended; the row's lease is off already */
struct dispatch *dispatch_new(struct loop *, const struct env *, struct store *, int64_t lease_ms, dispatch_expired *, void *arg);
void dispatch_free(struct dispatch *);
void dispatch_load(struct dispatch *);                         /* from the store: at start, and after a failed commit. Every lease starts anew */

void dispatch_note(struct dispatch *, const struct command *); /* after each save: puts it in the ready queue or takes its lease away, as its state asks */
void dispatch_renew(struct dispatch *, const struct command *);/* RUNNING: its lease starts now */
int64_t dispatch_take(struct dispatch *);                      /* the oldest PENDING row, out of the queue; 0: none */
int64_t dispatch_clock_us(const struct dispatch *);            /* the lease clock */

/* Agents heard since this server started. Strings are its own. at_us: lease clock; stored: the store has it with this journal and boot. */
struct heard { const char *agent_id; char journal_id[65], boot_id[32]; int64_t at_us, seen_ms; bool stored; void *parked; };
struct heard *dispatch_heard(struct dispatch *, const char *agent_id, bool make);   /* NULL: not heard */
typedef void dispatch_heard_each(void *arg, struct heard *);
void dispatch_heard_walk(struct dispatch *, dispatch_heard_each *, void *arg);
bool dispatch_live(const struct dispatch *, const struct heard *);  /* within one lease */
#endif
