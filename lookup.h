/* lookup: a name's addresses, found by getaddrinfo in a forked child, so that neither a hang nor a crash in it costs more than that lookup.
 * Real processes only: a test world has numeric addresses. Needs loop_children. */
#ifndef LOOKUP_H
#define LOOKUP_H
#include "loop.h"

#define LOOKUP_MAX 16                                          /* addresses of one name */

struct lookup;
struct lookup_address { struct sockaddr_storage addr; socklen_t len; };
struct lookup_answer { const char *error; int count; struct lookup_address addresses[LOOKUP_MAX]; };   /* error: in words, or NULL and count > 0 */
typedef void lookup_done(void *arg, const struct lookup_answer *);

/* Calls done once, never from within; the lookup is gone after it. It runs until until_us at most, and 32 run at a time: more wait. */
struct lookup *lookup_start(struct loop *, const char *host, int port, int64_t until_us, lookup_done *, void *arg);
void lookup_cancel(struct lookup *);                           /* ends the child; done is not called */

/* An address as it stands: a strict dotted quad, or IPv6 without brackets. False: a name, to be looked up. */
bool lookup_numeric(const char *host, int port, struct lookup_address *out);
void lookup_text(const struct lookup_address *, struct buf *out);   /* appends "127.0.0.1:80" or "[::1]:80" */
#endif
