/* conn: the server's side of HTTP connections. Owns the listener, the connections, their bytes and deadlines; knows no routes and no store.
 * C1  Nothing is sent but what conns_release let go: the bytes of `out` up to `allowed` (G1).
 * C2  One request at a time and turn: the next one is parsed after the former's answer has left, however many are here already.
 * C3  Memory is bounded by what peers have sent, not by what they announce: a head, and READ_MAX of a body; a body that goes on beyond that reserves its
 *     length of bodies_bytes, which all share. Who finds no room waits unread, first come first served; meanwhile those that have room and are slow are
 *     given up. Answers that do not leave share answers_bytes: beyond, no more are made, and who has longest taken no byte is given up. An idle
 *     connection owns no buffer.
 * C4  A connection ends only in end(): never inside conn_reply, conn_alive or another call of the owner but conns_release, conns_stop and conns_free.
 *
 *              welcome                           written
 *     accept ------------> HEAD <---------------------------------------------- WRITING
 *                          | ask_head                                           |  ^
 *                          v                                                    |  |
 *                        JUDGED ----------------- conn_reply --------> HELD ----|--+ conns_release
 *            begin_body /      \ deliver                               ^  ^     |
 *                      v        v                                      |  |     | written: closing, and the
 *     WAITING <-----> BODY --> ASKED ---- conn_reply ------------------+  |     | peer may still be sending
 *         want_room,    deliver                                           |     v
 *         unreserve                                                       |   LINGER
 *                                                                         |
 *     HEAD, WAITING, BODY ---------------- refuse ------------------------+        any state --- end ---> (freed)
 */
#include "conn.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define READ_MAX 16384                                         /* one recv */
#define PIPELINE_MAX 4096                                      /* bytes taken in behind an unanswered request */
#define LINGER_US 1000000
#define LINGER_BYTES (8 * 1024 * 1024)
#define SLOW_US 2000000                                        /* the patience of all with one, once others wait: for a body's memory, for a place */
#define SLOW_BYTES 16384                                       /* a second: less is slow */
#define ACCEPT_MAX 32                                          /* a turn; and so many connections over the cap are told why they are refused */
#define ACCEPT_PAUSE_US 100000
#define SPARE_FDS 64                                           /* left for databases, lookups and the like */
#define ANSWERS_FACTOR 2                                       /* what has a body is answered beyond answers_bytes, but not for ever */
#define AT_ONCE 0                                              /* before any deadline, so that buffered input goes before a lease is judged (G8) */

enum state {
	CONN_HEAD,                                                 /* reading a head; idle while no byte of it is here */
	CONN_JUDGED,                                               /* inside the head hook */
	CONN_WAITING,                                              /* for body memory */
	CONN_BODY,
	CONN_ASKED,                                                /* the owner has the request and owes the answer */
	CONN_HELD,                                                 /* answered, not released */
	CONN_WRITING,
	CONN_LINGER                                                /* reading what nobody wants, so that a reset does not overtake the answer */
};

struct link { struct link *prev, *next; struct conn *conn; };  /* of a ring; prev NULL: in none */

struct conn {
	struct conns *home;
	int fd;
	enum state state;
	unsigned want;
	struct link all, held, waiting;
	struct loop_timer timer;                                   /* the one deadline, or AT_ONCE */
	int64_t since_us;                                          /* idle, unfinished or parked since; of an answer: when a byte was taken last */
	int64_t flow_us;                                           /* since when its body may flow, or waits; since when its answer leaves */
	bool poked;                                                /* the timer is not a deadline: bytes are here to be looked at */
	bool dead;                                                 /* conn_alive saw the end; the timer will say so */
	bool parked;
	bool served;                                               /* one request at least; before, it is not idle but unfinished */
	void *own;

	struct buf in;                                             /* head, decoded body, what follows */
	size_t seen, head_len, body_len;
	int64_t length;                                            /* -1: chunked */
	struct http_chunks chunks;
	size_t reserved;
	int minor;
	bool head_only, expects, close, linger;

	struct buf out;
	size_t sent, allowed, reply_at, counted;                   /* counted: in the sum of what is unsent */
	bool by_hook;                                              /* what stands at reply_at is the owner's word, not a refusal of ours */
	size_t drained;
};

struct conns {
	struct loop *loop;
	const struct env *env;
	struct conns_limits limits;
	struct conns_hooks hooks;
	int listener, cap, count;
	bool stopping, paused;                                     /* paused: the listener is not watched, for want of descriptors */
	struct loop_timer accept_timer;
	struct link all, held, waiting;
	size_t bodies;                                             /* bytes reserved */
	size_t unsent;                                             /* bytes of answers that have not left */
	struct buf common;
	int64_t common_s;
	char scratch[READ_MAX];
};

/* input: false, or void: the connection may be gone after it */
static loop_ready on_ready;
static void on_readable(struct conn *c);
static loop_fire on_timer;
static void begin_head(struct conn *c);
static void read_head(struct conn *c);
static void read_body(struct conn *c, size_t fresh, const struct http_head *head);
static void begin_body(struct conn *c);
/* output */
static bool push(struct conn *c);
static void refuse(struct conn *c, int status, const char *why);
static void end(struct conn *c);
/* the listener */
static loop_ready on_accept;
static void listen_again(void *arg);

/* rings */

static void ring_init(struct link *ring)
{
	ring->prev = ring->next = ring;
}

static void ring_put(struct link *ring, struct link *l, struct conn *c)
{
	if (l->prev)
		return;
	l->conn = c;
	l->prev = ring->prev;
	l->next = ring;
	ring->prev->next = l;
	ring->prev = l;
}

static void ring_cut(struct link *l)
{
	if (!l->prev)
		return;
	l->prev->next = l->next;
	l->next->prev = l->prev;
	l->prev = l->next = NULL;
}

/* what a connection waits for */

static bool may_read(const struct conn *c)
{
	switch (c->state) {
	case CONN_HEAD: case CONN_BODY: case CONN_LINGER:
		return !c->poked;
	case CONN_ASKED:
		return c->in.len < PIPELINE_MAX;
	case CONN_JUDGED: case CONN_WAITING: case CONN_HELD: case CONN_WRITING:
		return false;
	}
	util_broken("a state of a connection", __FILE__, __LINE__);
}

static void rewatch(struct conn *c)
{
	unsigned want = (may_read(c) ? LOOP_READ : 0) | (c->sent < c->allowed ? LOOP_WRITE : 0);

	if (c->dead)
		want = 0;
	if (want == c->want)
		return;
	c->want = want;
	loop_watch(c->home->loop, c->fd, want, on_ready, c);
}

static void deadline(struct conn *c, int64_t due_us)
{
	c->poked = false;
	loop_timer_set(c->home->loop, &c->timer, due_us, on_timer, c);
}

static void no_deadline(struct conn *c)
{
	c->poked = false;
	loop_timer_off(c->home->loop, &c->timer);
}

static bool transient(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* body memory */

static bool fits(const struct conns *s, size_t need)
{
	return s->bodies == 0 || (need <= s->limits.bodies_bytes && s->bodies <= s->limits.bodies_bytes - need);
}

static size_t body_need(const struct conn *c)
{
	return c->length < 0 ? c->home->limits.body_bytes : (size_t)c->length;
}

static void reserve(struct conn *c)
{
	c->reserved = body_need(c);
	c->home->bodies += c->reserved;
}

/* A body with room that has had its time and comes below the slowest rate. */
static bool slow_body(const struct conn *c)
{
	int64_t age_us = loop_now_us(c->home->loop) - c->flow_us;

	return c->reserved > 0 && c->state == CONN_BODY && age_us >= SLOW_US && c->body_len - READ_MAX < (uint64_t)age_us * SLOW_BYTES / 1000000;
}

/* Somebody waits: so nobody has room for dripping. */
static void refuse_slow_bodies(struct conns *s)
{
	for (struct link *l = s->all.next; l != &s->all; l = l->next)
		if (slow_body(l->conn))
			refuse(l->conn, 408, "the body came too slowly while others waited");
}

static void unreserve(struct conn *c)
{
	struct conns *s = c->home;

	if (c->reserved == 0)
		return;
	s->bodies -= c->reserved;
	c->reserved = 0;
	while (s->waiting.next != &s->waiting && fits(s, body_need(s->waiting.next->conn))) {
		struct conn *next = s->waiting.next->conn;
		ring_cut(&next->waiting);
		reserve(next);
		begin_body(next);
	}
}

/* answer memory */

static void count_unsent(struct conn *c)
{
	size_t unsent = c->out.len - c->sent;

	c->home->unsent += unsent - c->counted;
	c->counted = unsent;
}

/* Who has longest taken no byte of an answer of an earlier turn. */
static struct conn *most_stalled(const struct conns *s)
{
	struct conn *worst = NULL;

	for (struct link *l = s->all.next; l != &s->all; l = l->next)
		if (l->conn->state == CONN_WRITING && l->conn->since_us < (worst ? worst->since_us : loop_now_us(s->loop)))
			worst = l->conn;
	return worst;
}

/* Too much is unsent: those who do not read are given up. */
static void shed(struct conns *s)
{
	struct conn *worst;

	while (s->unsent > s->limits.answers_bytes && (worst = most_stalled(s)) != NULL)
		end(worst);
}

/* ends */

static void end(struct conn *c)
{
	struct conns *s = c->home;

	s->unsent -= c->counted;
	loop_timer_off(s->loop, &c->timer);
	loop_forget(s->loop, c->fd);
	s->env->close(s->env->world, c->fd);
	ring_cut(&c->all);
	ring_cut(&c->held);
	ring_cut(&c->waiting);
	buf_free(&c->in);
	buf_free(&c->out);
	unreserve(c);
	s->count--;
	free(c);
	if (s->paused)
		listen_again(s);
}

/* The peer has gone, or is given up. */
static void lose(struct conn *c)
{
	const struct conns_hooks *h = &c->home->hooks;

	if (c->state == CONN_ASKED && h->gone)
		h->gone(h->arg, c);
	end(c);
}

/* answers */

/* The lines of every answer, with a Date made once a second. */
static const struct buf *common(struct conns *s)
{
	int64_t wall_ms = s->env->wall_ms(s->env->world), second = wall_ms / 1000;
	char date[30];

	if (s->common.len > 0 && second == s->common_s)
		return &s->common;
	http_date(wall_ms, date);
	s->common_s = second;
	buf_clear(&s->common);
	buf_fmt(&s->common, "Date: %s\r\n", date);
	http_put_fields(&s->common, s->limits.fields);
	return &s->common;
}

static void put_reply(struct conn *c, const struct http_reply *reply)
{
	struct http_reply r = *reply;

	r.close = c->close = r.close || c->close || c->home->stopping;
	http_put_reply(&c->out, &r, c->minor, c->head_only, common(c->home));
	count_unsent(c);
}

static void hold(struct conn *c, const struct http_reply *reply, bool by_hook)
{
	c->reply_at = c->out.len;
	c->by_hook = by_hook;
	put_reply(c, reply);
	c->state = CONN_HELD;
	if (!c->dead)
		no_deadline(c);
	ring_put(&c->home->held, &c->held, c);
	rewatch(c);
}

void conn_reply(struct conn *c, const struct http_reply *reply)
{
	must(c->state == CONN_ASKED || c->state == CONN_JUDGED);
	hold(c, reply, true);
	c->own = NULL;
	c->parked = false;
}

/* A refusal of our own: the connection's framing or patience is at its end, so it closes after it. */
static void refuse(struct conn *c, int status, const char *why)
{
	const struct conns_hooks *h = &c->home->hooks;
	struct http_reply reply = { .status = status, .type = "text/plain" };
	struct buf body = {0};

	must(c->state == CONN_HEAD || c->state == CONN_WAITING || c->state == CONN_BODY);
	if (h->refuse)
		h->refuse(h->arg, status, why, &body, &reply);
	else
		buf_fmt(&body, "%s\n", why);
	if (!reply.body) {
		reply.body = body.data;
		reply.body_len = body.len;
	}
	if (status == 503 && !reply.fields)
		reply.fields = "Retry-After: 1\r\n";
	reply.close = c->linger = true;
	ring_cut(&c->waiting);
	buf_free(&c->in);
	hold(c, &reply, false);
	buf_free(&body);
	unreserve(c);
}

void conns_refuse_held(struct conns *s, const struct http_reply *reply)
{
	for (struct link *l = s->held.next; l != &s->held; l = l->next) {
		struct conn *c = l->conn;
		if (c->state != CONN_HELD || !c->by_hook)
			continue;
		c->out.len = c->reply_at;
		put_reply(c, reply);
	}
}

void conns_release(struct conns *s)
{
	while (s->held.next != &s->held) {
		struct conn *c = s->held.next->conn;
		ring_cut(&c->held);
		if (c->state == CONN_HELD) {
			c->state = CONN_WRITING;
			c->flow_us = loop_now_us(s->loop);
		}
		c->allowed = c->out.len;
		push(c);
	}
	shed(s);
}

/* output */

/* The answer has left. False: and the connection with it. */
static bool written(struct conn *c)
{
	if (!c->close && !c->dead) {
		c->served = true;
		begin_head(c);
		return true;
	}
	if (c->dead || (!c->linger && c->in.len == 0)) {
		end(c);
		return false;
	}
	buf_free(&c->in);
	if (c->home->env->shut)
		c->home->env->shut(c->home->env->world, c->fd);
	c->state = CONN_LINGER;
	c->since_us = loop_now_us(c->home->loop);
	deadline(c, c->since_us + LINGER_US);
	rewatch(c);
	return true;
}

/* Some time for each piece, and for the whole answer as much as its length asks for. */
static int64_t write_due(const struct conn *c)
{
	int64_t write_us = c->home->limits.write_us, piece_us = loop_now_us(c->home->loop) + write_us;
	int64_t whole_us = c->flow_us + write_us + (int64_t)(c->out.len / SLOW_BYTES) * 1000000;

	return piece_us < whole_us ? piece_us : whole_us;
}

/* Sends once. False: the connection is gone. */
static bool push(struct conn *c)
{
	const struct conns *s = c->home;
	ssize_t n = s->env->send(s->env->world, c->fd, c->out.data + c->sent, c->allowed - c->sent);

	if (n < 0 && !transient(errno)) {
		lose(c);
		return false;
	}
	c->sent += n > 0 ? (size_t)n : 0;
	count_unsent(c);
	if (c->sent == c->out.len) {
		buf_free(&c->out);
		c->sent = c->allowed = 0;
		if (c->state == CONN_WRITING)
			return written(c);
	}
	if (c->state == CONN_WRITING && !c->dead && (n > 0 || c->timer.place == 0)) {
		c->since_us = loop_now_us(s->loop);
		deadline(c, write_due(c));
	}
	rewatch(c);
	return true;
}

/* requests */

/* Ready for a request; its first bytes may be here already, and are looked at in the next turn (C2). */
static void begin_head(struct conn *c)
{
	struct conns *s = c->home;

	c->state = CONN_HEAD;
	c->seen = 0;
	c->minor = 1;
	c->head_only = c->expects = c->close = c->linger = false;
	c->since_us = loop_now_us(s->loop);
	if (c->in.len == 0)
		buf_free(&c->in);
	deadline(c, c->in.len > 0 ? AT_ONCE : c->since_us + s->limits.idle_us);
	c->poked = c->in.len > 0;
	rewatch(c);
}

/* The whole request goes up. The bytes from rest_at on are the next one's. The owner may call conn_alive, which reads into `in`:
 * so this request's leave it. */
static void deliver(struct conn *c, const struct http_head *head, size_t rest_at)
{
	const struct conns_hooks *h = &c->home->hooks;
	struct buf whole;

	if (c->home->unsent / ANSWERS_FACTOR > c->home->limits.answers_bytes) {
		refuse(c, 503, "too many answers wait for their readers");
		return;
	}
	whole = c->in;
	c->in = (struct buf){0};
	if (whole.len > rest_at)
		buf_add(&c->in, whole.data + rest_at, whole.len - rest_at);
	c->state = CONN_ASKED;
	no_deadline(c);
	h->request(h->arg, c, head, whole.data + c->head_len, c->body_len);
	rewatch(c);
	buf_free(&whole);
	unreserve(c);
}

/* The body came in several pieces and `in` has moved since: the head is read again. */
static void deliver_later(struct conn *c, size_t rest_at)
{
	struct http_head head;
	size_t seen = 0;

	must(http_read_request(c->in.data, c->head_len, &seen, &head, NULL) == (int)c->head_len);
	deliver(c, &head, rest_at);
}

/* Asks the owner about the head alone. False: it has answered, and a body, if there is one, stays unread. */
static bool ask_head(struct conn *c, const struct http_head *head, bool has_body)
{
	const struct conns_hooks *h = &c->home->hooks;
	bool close = c->close;

	if (!h->head)
		return true;
	c->state = CONN_JUDGED;
	c->close = close || has_body;
	h->head(h->arg, c, head);
	if (c->state == CONN_HELD) {
		c->linger = has_body;
		buf_drop(&c->in, has_body ? c->in.len : c->head_len);
		return false;
	}
	c->state = CONN_HEAD;
	c->close = close;
	return true;
}

static void wait_on(struct conn *c)
{
	int64_t again_us = loop_now_us(c->home->loop) + SLOW_US / 2, due_us = c->flow_us + c->home->limits.body_us;

	deadline(c, again_us < due_us ? again_us : due_us);
}

/* More of the body is to come than is free. Keeps its place in line when there is no room. */
static void want_room(struct conn *c)
{
	struct conns *s = c->home;

	if (s->waiting.next == &s->waiting && fits(s, body_need(c))) {
		reserve(c);
		if (c->state == CONN_HEAD)
			begin_body(c);
		return;
	}
	c->state = CONN_WAITING;
	c->flow_us = loop_now_us(s->loop);
	ring_put(&s->waiting, &c->waiting, c);
	wait_on(c);
	rewatch(c);
}

/* Too long in line? Else those before it are looked at. */
static void still_waiting(struct conn *c)
{
	if (loop_now_us(c->home->loop) >= c->flow_us + c->home->limits.body_us) {
		refuse(c, 503, "no room for the body now");
		return;
	}
	wait_on(c);
	refuse_slow_bodies(c->home);
}

static void begin_body(struct conn *c)
{
	static const struct http_reply go_on = { .status = 100 };
	struct conns *s = c->home;

	c->state = CONN_BODY;
	c->flow_us = loop_now_us(s->loop);
	if (c->expects && c->in.len == c->head_len) {
		http_put_reply(&c->out, &go_on, c->minor, false, NULL);
		ring_put(&s->held, &c->held, c);
	}
	c->expects = false;
	deadline(c, c->flow_us + s->limits.body_us);
	rewatch(c);
}

/* What came without a body asks for an answer, and there is no room for more of those. A heartbeat has a body, so no lease is missed for it (G8). */
static void wait_a_turn(struct conn *c)
{
	c->seen = 0;
	deadline(c, AT_ONCE);
	c->poked = true;
	rewatch(c);
}

/* Looks at the head in `in`, and at as much of the body as came with it. */
static void read_head(struct conn *c)
{
	struct conns *s = c->home;
	struct http_head head;
	const char *why = NULL;
	int n = c->in.len > 0 ? http_read_request(c->in.data, c->in.len, &c->seen, &head, &why) : 0;

	if (n < 0) {
		refuse(c, -n, why);
		return;
	}
	if (n == 0) {
		deadline(c, c->since_us + s->limits.head_us);
		rewatch(c);
		return;
	}
	c->head_len = (size_t)n;
	c->minor = head.minor;
	c->head_only = http_is(head.method, "HEAD");
	c->close = head.close;
	c->expects = head.expect_continue;
	c->length = head.chunked ? -1 : head.length > 0 ? head.length : 0;
	c->chunks = (struct http_chunks){0};
	c->body_len = 0;
	if (c->length == 0 && s->unsent > s->limits.answers_bytes) {
		wait_a_turn(c);
		return;
	}
	if (!ask_head(c, &head, c->length != 0))
		return;
	if (c->length > 0 && (uint64_t)c->length > s->limits.body_bytes)
		refuse(c, 413, "the body is too large");
	else if (c->length == 0)
		deliver(c, &head, c->head_len);
	else
		read_body(c, c->in.len - c->head_len, &head);
}

/* Takes the last `fresh` bytes of `in` for the body. 1: it is whole, and the bytes from *rest_at on are the next request's; 0: more; else -status. */
static int take_body(struct conn *c, size_t fresh, size_t *rest_at, const char **why)
{
	size_t at = c->in.len - fresh, kept = fresh, used = fresh;
	int whole;

	if (c->length >= 0) {
		c->body_len = c->in.len - c->head_len;
		if (c->body_len < (size_t)c->length)
			return 0;
		c->body_len = (size_t)c->length;
		*rest_at = c->head_len + c->body_len;
		return 1;
	}
	whole = fresh > 0 ? http_chunks_feed(&c->chunks, c->in.data + at, fresh, &kept, &used, why) : 0;
	c->body_len += kept;
	if (whole >= 0 && c->body_len > c->home->limits.body_bytes) {
		*why = "the body is too large";
		return -413;
	}
	*rest_at = at + used;
	if (whole == 0)
		c->in.len = c->head_len + c->body_len;
	return whole < 0 ? -400 : whole;
}

/* head: NULL when `in` has moved since it was read. */
static void read_body(struct conn *c, size_t fresh, const struct http_head *head)
{
	const char *why = NULL;
	size_t rest_at = 0;
	int whole = take_body(c, fresh, &rest_at, &why);

	if (whole < 0)
		refuse(c, -whole, why);
	else if (whole > 0 && head)
		deliver(c, head, rest_at);
	else if (whole > 0)
		deliver_later(c, rest_at);
	else if (c->reserved == 0 && c->body_len >= READ_MAX)
		want_room(c);
	else if (c->state == CONN_HEAD)
		begin_body(c);
}

/* input */

static size_t room(const struct conn *c)
{
	size_t left = READ_MAX;

	if (c->state == CONN_ASKED)
		return c->in.len < PIPELINE_MAX ? PIPELINE_MAX - c->in.len : 0;
	if (c->state == CONN_BODY && c->length > 0)
		left = (size_t)c->length - c->body_len;
	return left < READ_MAX ? left : READ_MAX;
}

/* One recv into `in`. Bytes read; 0: none now; -1: the peer has gone. */
static ssize_t fill(struct conn *c)
{
	const struct conns *s = c->home;
	ssize_t n = s->env->recv(s->env->world, c->fd, c->home->scratch, room(c));

	if (n < 0 && transient(errno))
		return 0;
	if (n <= 0)
		return -1;
	if (c->state == CONN_HEAD && c->in.len == 0)
		c->since_us = loop_now_us(s->loop);
	buf_add(&c->in, s->scratch, (size_t)n);
	return n;
}

/* Everything of no interest is read away, within bounds. */
static void drain(struct conn *c)
{
	struct conns *s = c->home;
	ssize_t n = s->env->recv(s->env->world, c->fd, s->scratch, READ_MAX);

	if (n < 0 && transient(errno))
		return;
	c->drained += n > 0 ? (size_t)n : 0;
	if (n <= 0 || c->drained >= LINGER_BYTES)
		end(c);
}

static void on_readable(struct conn *c)
{
	ssize_t n = c->state == CONN_LINGER ? 0 : fill(c);

	if (n < 0) {
		lose(c);
		return;
	}
	switch (c->state) {
	case CONN_HEAD:
		if (n > 0)
			read_head(c);
		break;
	case CONN_BODY:
		if (n > 0)
			read_body(c, (size_t)n, NULL);
		break;
	case CONN_ASKED:
		rewatch(c);
		break;
	case CONN_LINGER:
		drain(c);
		break;
	case CONN_JUDGED: case CONN_WAITING: case CONN_HELD: case CONN_WRITING:
		util_broken("a state that reads", __FILE__, __LINE__);
	}
}

static void on_ready(void *arg, unsigned what)
{
	struct conn *c = arg;

	if ((what & LOOP_WRITE) && c->sent < c->allowed && !push(c))
		return;
	if ((what & LOOP_READ) && may_read(c))
		on_readable(c);
}

static void on_timer(void *arg)
{
	struct conn *c = arg;
	bool poked = c->poked;

	c->poked = false;
	if (c->dead)
		lose(c);
	else if (poked)
		read_head(c);
	else if (c->state == CONN_HEAD && c->in.len > 0)
		refuse(c, 408, "the head of the request took too long");
	else if (c->state == CONN_BODY)
		refuse(c, 408, "the body of the request took too long");
	else if (c->state == CONN_WAITING)
		still_waiting(c);
	else
		end(c);
}

bool conn_alive(struct conn *c)
{
	ssize_t n = 1;

	if (c->dead || c->state != CONN_ASKED)
		return !c->dead;
	while (n > 0 && room(c) > 0)
		n = fill(c);
	if (n < 0) {
		c->dead = true;
		deadline(c, loop_now_us(c->home->loop) + 1);           /* not in this turn: the caller is still at work with it */
	}
	rewatch(c);
	return n >= 0;
}

void conn_set(struct conn *c, void *own)
{
	c->own = own;
}

void *conn_get(const struct conn *c)
{
	return c->own;
}

bool conn_idle_poll(struct conn *c, bool parked)
{
	bool before = c->parked;

	must(c->state == CONN_ASKED || !parked);
	if (c->state == CONN_ASKED) {
		c->parked = parked;
		c->since_us = loop_now_us(c->home->loop);
	}
	return before;
}

/* the listener */

/* How gladly a connection is given up for a new one; 0: not at all. */
static int rank(const struct conn *c)
{
	if (c->state == CONN_LINGER || (c->state == CONN_HEAD && c->in.len == 0 && c->served))
		return 3;
	if (c->state == CONN_HEAD || c->state == CONN_WAITING || c->state == CONN_BODY)
		return 2;
	if (c->state == CONN_WRITING && loop_now_us(c->home->loop) - c->since_us >= SLOW_US)
		return 2;
	return c->state == CONN_ASKED && c->parked ? 1 : 0;
}

static bool make_room(struct conns *s)
{
	struct conn *worst = NULL;

	for (struct link *l = s->all.next; l != &s->all; l = l->next) {
		struct conn *c = l->conn;
		int r = rank(c), least = worst ? rank(worst) : 0;
		if (r > least || (worst && r == least && c->since_us < worst->since_us))
			worst = c;
	}
	if (worst)
		lose(worst);
	return worst != NULL;
}

static void pause_accept(struct conns *s)
{
	s->paused = true;
	loop_watch(s->loop, s->listener, 0, on_accept, s);
	loop_timer_set(s->loop, &s->accept_timer, loop_now_us(s->loop) + ACCEPT_PAUSE_US, listen_again, s);
}

static void listen_again(void *arg)
{
	struct conns *s = arg;

	s->paused = false;
	loop_timer_off(s->loop, &s->accept_timer);
	if (s->listener >= 0)
		loop_watch(s->loop, s->listener, LOOP_READ, on_accept, s);
}

static void welcome(struct conns *s, int fd)
{
	struct conn *c;

	while (s->count >= s->cap && make_room(s))
		;
	if (s->count >= s->cap + ACCEPT_MAX) {
		s->env->close(s->env->world, fd);
		return;
	}
	c = mem_new(sizeof *c);
	c->home = s;
	c->fd = fd;
	ring_put(&s->all, &c->all, c);
	begin_head(c);
	if (++s->count > s->cap)
		refuse(c, 503, "too many connections");
	else
		on_readable(c);                                        /* what it brought along is input like any other: before a lease is judged (G8) */
}

/* False: no more now. */
static bool accept_one(struct conns *s)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof peer;
	int fd = s->env->accept(s->env->world, s->listener, &peer, &len);

	if (fd >= 0) {
		welcome(s, fd);
		return true;
	}
	if (errno == ECONNABORTED || errno == EINTR)
		return true;
	if (!transient(errno))
		pause_accept(s);
	return false;
}

static void on_accept(void *arg, unsigned what)
{
	(void)what;
	for (int i = 0; i < ACCEPT_MAX && accept_one(arg); i++)
		;
}

/* Descriptors there are for connections; a wish for more is cut to that. */
static int descriptors(int wish)
{
	struct rlimit limit;
	int most = FD_SETSIZE;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FD_SETSIZE)
		most = (int)limit.rlim_cur;
	most = most > SPARE_FDS ? most - SPARE_FDS : 1;
	return wish > 0 && wish < most ? wish : most;
}

struct conns *conns_new(struct loop *loop, const struct env *env, const struct conns_limits *limits, const struct conns_hooks *hooks)
{
	struct conns *s = mem_new(sizeof *s);

	must(hooks->request);
	s->loop = loop;
	s->env = env;
	s->limits = *limits;
	s->hooks = *hooks;
	s->listener = -1;
	s->cap = descriptors(limits->connections);
	ring_init(&s->all);
	ring_init(&s->held);
	ring_init(&s->waiting);
	return s;
}

bool conns_listen(struct conns *s, const struct sockaddr *address, socklen_t len, struct sockaddr_storage *bound, socklen_t *bound_len)
{
	int fd;

	must(s->listener < 0);
	fd = s->env->listen(s->env->world, address, len, bound, bound_len);
	if (fd < 0)
		return false;
	s->listener = fd;
	loop_watch(s->loop, fd, LOOP_READ, on_accept, s);
	return true;
}

static void close_listener(struct conns *s)
{
	if (s->listener < 0)
		return;
	loop_timer_off(s->loop, &s->accept_timer);
	loop_forget(s->loop, s->listener);
	s->env->close(s->env->world, s->listener);
	s->listener = -1;
}

void conns_stop(struct conns *s)
{
	s->stopping = true;
	close_listener(s);
	for (struct link *l = s->all.next, *next; l != &s->all; l = next) {
		struct conn *c = l->conn;
		next = l->next;
		if (c->state == CONN_HELD || c->state == CONN_WRITING)
			c->close = true;
		if (c->state == CONN_HEAD && c->in.len == 0)
			end(c);
	}
}

int conns_count(const struct conns *s)
{
	return s->count;
}

void conns_free(struct conns *s)
{
	if (!s)
		return;
	close_listener(s);
	while (s->all.next != &s->all)
		end(s->all.next->conn);
	buf_free(&s->common);
	free(s);
}
