/* call: the client's side of HTTP, one request and its answer as a small state machine over loop. Bounded in time and memory whatever the other side sends. */
#ifndef CALL_H
#define CALL_H
#include "guard.h"
#include "http.h"
#include "loop.h"

struct call;
struct call_link;                                              /* a kept connection to one place, for calls one after another */
struct tls;                                                    /* https; NULL where it is not built in */

struct call_spec {
	const char *method;
	const struct http_url *url;                                /* copied */
	const char *fields;                                        /* further header lines, each ended by CRLF, or NULL */
	const char *body; size_t body_len;                         /* NULL: none; copied */
	int64_t deadline_us;                                       /* mono instant by which the whole call has ended: lookup, connect, send, answer */
	size_t body_max;                                           /* of the answer */
	bool cut;                                                  /* an answer's body over body_max: keep that much, truncated, and end well; else an error */
	struct call_link *link;                                    /* reuse its connection if it is open and to the same place; NULL: fresh, closed after */
	const struct call_guard *guard;                            /* NULL: any address */
	struct tls *tls;
};
struct call_answer {
	const char *error;                                         /* NULL: a whole answer is here; else what went wrong, in words (valid during the callback) */
	bool timeout;                                              /* the error is the deadline */
	bool sent;                                                 /* a byte of the request may have left */
	int status;
	const struct http_head *head;                              /* the final one (1xx skipped); NULL on error */
	const char *body; size_t body_len;
	bool truncated;
};
typedef void call_done(void *arg, const struct call_answer *);

/* Never calls back from within; done is called once, in a later turn, and the call is gone after it. A kept connection that turns out closed before any byte of
 * the answer came is replaced by a fresh one once, since the server closed it while idle; a call without a link is never resent. Another address of the name is
 * tried only if connect() failed. */
struct call *call_start(struct loop *, const struct env *, const struct call_spec *, call_done *, void *arg);
void call_cancel(struct call *);                               /* closes; done is not called */

struct call_link *call_link_new(struct loop *, const struct env *);
void call_link_close(struct call_link *);                      /* drops its connection, keeps the link usable */
void call_link_free(struct call_link *);
#endif
