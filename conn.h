/* conn: the server's side of HTTP connections, as small state machines over loop. Reads requests with caps and deadlines, hands them up one at a time
 * a connection and turn, and holds every reply back until conns_release: nothing leaves before the commit that holds it (G1). Knows no routes. */
#ifndef CONN_H
#define CONN_H
#include "http.h"
#include "loop.h"

struct conns;                                                  /* a listener and its connections */
struct conn;

struct conns_limits {
	size_t body_bytes;                                         /* one request's body; over: 413 */
	size_t bodies_bytes;                                       /* all large bodies in flight; the rest wait unread */
	size_t answers_bytes;                                      /* all answers that have not left; beyond, those are given up whose peers do not read */
	int connections;                                           /* 0: what FD_SETSIZE and the process's limit allow, less 64 */
	int64_t head_us, body_us, write_us, idle_us;               /* deadlines: the whole head, the whole body, a write that stalls, idle between requests */
	const char *fields;                                        /* header lines for every answer, or NULL; must outlive it */
};

struct conns_hooks {
	void *arg;
	/* The head is in, the body is not. May answer at once with conn_reply (a refusal: then the body is not read and the connection closes), or do nothing. NULL: never. */
	void (*head)(void *arg, struct conn *, const struct http_head *);
	/* The request is whole. Must call conn_reply now, or later (a parked poll). head and body are valid only during the call. */
	void (*request)(void *arg, struct conn *, const struct http_head *, const char *body, size_t body_len);
	/* The peer of an unanswered request is gone; conn is no longer valid after this. NULL: never. */
	void (*gone)(void *arg, struct conn *);
	/* Replies for what conn itself refuses (malformed, too large, too slow, too many): fills body (problem+json) and sets *reply. NULL: plain. */
	void (*refuse)(void *arg, int status, const char *why, struct buf *body, struct http_reply *reply);
};

struct conns *conns_new(struct loop *, const struct env *, const struct conns_limits *, const struct conns_hooks *);   /* copies both */
bool conns_listen(struct conns *, const struct sockaddr *, socklen_t, struct sockaddr_storage *bound, socklen_t *bound_len);   /* false: errno */
void conns_stop(struct conns *);                               /* accepts no more, closes idle connections; answered ones close */
int conns_count(const struct conns *);                         /* connections open */
void conns_free(struct conns *);                               /* closes all; calls no hook */

/* Answers the request at hand; formatted now, sent after conns_release. Copies everything. */
void conn_reply(struct conn *, const struct http_reply *);
void conns_release(struct conns *);                            /* the commit is done: lets this turn's replies go */
void conns_refuse_held(struct conns *, const struct http_reply *);   /* the commit failed: every reply held by a hook since the last release becomes this one */
bool conn_alive(struct conn *);                                /* asks the kernel now: false when the peer has closed. Then gone follows by itself in a later turn */
void conn_set(struct conn *, void *own);                       /* the caller's own pointer, NULL at first and after each answer */
void *conn_get(const struct conn *);
bool conn_idle_poll(struct conn *, bool parked);               /* marks a parked poll: given up last when connections run out, no deadline */
#endif
