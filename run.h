/* run: the command types at work: start one, stop it, hear how it ended. No journal, no reports. */
#ifndef RUN_H
#define RUN_H
#include "call.h"
#include "command.h"

struct run_limits { int64_t http_timeout_us; size_t http_max_bytes; const struct call_guard *guard; struct tls *tls; };
struct run;
struct run_end { bool completed; enum failure failure; const char *result; size_t result_len; const char *error; };   /* strings live during the callback */
typedef void run_done(void *arg, const struct run_end *);

/* Begins the effect. done is called once, never from within. payload: JSON text of a checked payload; copied as needed. */
struct run *run_start(struct loop *, const struct env *, const struct run_limits *, enum type, const char *payload, size_t payload_len, run_done *, void *arg);
/* Ends it now: done is called in a later turn with FAILED and that failure (FAILURE_CANCELLED) and error. */
void run_stop(struct run *, enum failure, const char *error);
void run_drop(struct run *);                                   /* forgets it without a word: done is not called */
#endif
