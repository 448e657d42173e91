/* call: one request and its answer. Owns its connection from connect to close, or to the link that keeps it; knows no routes and follows no redirects.
 *
 *   LOOKING_UP --looked_up--> CONNECTING --connected--> [SHAKING --shaken-->] SENDING --sent--> READING_HEAD --begin_body--> READING_LENGTH
 *                                                                                                                        | READING_CHUNKS
 *   any --fail, finish--> DONE --ended--> gone                                                                          | READING_TO_CLOSE
 *
 * C1  A step makes one I/O call at most. obey() alone turns its outcome into what the loop watches.
 * C2  done is called from ended() alone, by a timer, and nothing of the call is used after it.
 * C3  Whatever the other side sends, memory is bounded by the head's cap, the body's and one piece; time by the deadline.
 * C4  What may have reached the server is sent again only on a kept connection that ended before any byte of the answer. */
#include "call.h"
#include "lookup.h"
#include "tls.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE 16384                                            /* bytes read at a time */
#define STEPS_MAX 32                                           /* in one turn, so that a fast sender leaves time for others */
#define INTERIMS_MAX 10

enum state { LOOKING_UP, CONNECTING, SHAKING, SENDING, READING_HEAD, READING_LENGTH, READING_CHUNKS, READING_TO_CLOSE, DONE };
enum step { STEP_ON, STEP_READ, STEP_WRITE, STEP_OVER };

struct wire { int fd, error; struct tls_conn *tls; struct lookup_address peer; };
struct call_link { struct loop *loop; const struct env *env; struct http_url place; struct wire wire; int calls; };

struct call {
	struct loop *loop;
	const struct env *env;
	struct http_url url;
	struct buf request;
	size_t request_sent;
	int64_t begun_us, deadline_us, budget_us;                  /* begun: the loop's turn; budget: the time there was, for words */
	size_t body_max;
	bool cut, no_body, reused, renewed, sent, timeout, truncated, keep;
	struct call_link *link;
	const struct call_guard *guard;
	struct tls *tls;
	enum state state;
	struct wire wire;
	struct lookup *lookup;
	struct lookup_answer found;
	int tried;                                                 /* of the addresses found */
	struct loop_timer deadline, wake;                          /* wake: on with the work, the next address, or the end */
	struct buf in, body, error;                                /* in: the head's bytes and what came with it */
	size_t seen;
	int interims;
	struct http_head head;
	struct http_chunks chunks;
	uint64_t left;                                             /* of a body of known length */
	call_done *done;
	void *arg;
};

/* ending */
static enum step fail(struct call *c, const char *fmt, ...) UTIL_PRINTF(2, 3);
static enum step finish(struct call *c);
static enum step lost(struct call *c);
static loop_fire ended, out_of_time;
/* connecting */
static enum step connect_next(struct call *c);
static enum step reach(struct call *c);
/* going on */
static void obey(struct call *c, enum step s);
static loop_ready ready;

/* wires */

static void wire_close(struct loop *loop, const struct env *env, struct wire *w)
{
	if (w->fd < 0)
		return;
	tls_end(w->tls);
	loop_forget(loop, w->fd);
	env->close(env->world, w->fd);
	w->tls = NULL;
	w->fd = -1;
}

static enum tls_step plain_step(struct wire *w, ssize_t n, enum tls_step again, size_t *moved)
{
	*moved = n > 0 ? (size_t)n : 0;
	if (n > 0)
		return TLS_DONE;
	if (n == 0)
		return TLS_EOF;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return again;
	w->error = errno;
	return TLS_ERROR;
}

static enum tls_step wire_get(const struct env *env, struct wire *w, void *p, size_t n, size_t *got)
{
	return w->tls ? tls_read(w->tls, p, n, got) : plain_step(w, env->recv(env->world, w->fd, p, n), TLS_WANT_READ, got);
}

static enum tls_step wire_put(const struct env *env, struct wire *w, const void *p, size_t n, size_t *put)
{
	return w->tls ? tls_write(w->tls, p, n, put) : plain_step(w, env->send(env->world, w->fd, p, n), TLS_WANT_WRITE, put);
}

/* links */

/* Nothing is due on an idle connection but its end, and TLS's own messages. */
static void idle_ready(void *arg, unsigned what)
{
	struct call_link *l = arg;
	char byte;
	size_t got;

	(void)what;
	if (wire_get(l->env, &l->wire, &byte, 1, &got) != TLS_WANT_READ)
		call_link_close(l);
}

struct call_link *call_link_new(struct loop *loop, const struct env *env)
{
	struct call_link *l = mem_new(sizeof *l);

	l->loop = loop;
	l->env = env;
	l->wire.fd = -1;
	return l;
}

void call_link_close(struct call_link *l)
{
	wire_close(l->loop, l->env, &l->wire);
	http_url_free(&l->place);
}

void call_link_free(struct call_link *l)
{
	if (!l)
		return;
	must(l->calls == 0);
	call_link_close(l);
	free(l);
}

static void copy_url(struct http_url *to, const struct http_url *from)
{
	*to = *from;
	to->target = mem_dup(from->target);
}

static bool link_take(struct call_link *l, const struct http_url *url, struct wire *out)
{
	if (!l || l->wire.fd < 0)
		return false;
	if (strcmp(l->place.host, url->host) != 0 || l->place.port != url->port || l->place.tls != url->tls) {
		call_link_close(l);
		return false;
	}
	*out = l->wire;
	l->wire.fd = -1;
	l->wire.tls = NULL;
	http_url_free(&l->place);
	loop_forget(l->loop, out->fd);
	return true;
}

static void link_give(struct call_link *l, const struct http_url *url, struct wire *w)
{
	l->wire = *w;
	copy_url(&l->place, url);
	w->fd = -1;
	w->tls = NULL;
	loop_watch(l->loop, l->wire.fd, LOOP_READ, idle_ready, l);
}

/* ending */

static enum step finish(struct call *c)
{
	int64_t now_us = loop_now_us(c->loop);

	c->state = DONE;
	loop_timer_off(c->loop, &c->deadline);
	lookup_cancel(c->lookup);
	c->lookup = NULL;
	if (c->keep && c->link->wire.fd < 0)
		link_give(c->link, &c->url, &c->wire);
	wire_close(c->loop, c->env, &c->wire);
	/* One instant on, when this is still the turn of call_start: done is a later turn's. */
	loop_timer_set(c->loop, &c->wake, now_us + (now_us == c->begun_us), ended, c);
	return STEP_OVER;
}

static enum step fail(struct call *c, const char *fmt, ...)
{
	va_list args;

	buf_clear(&c->error);
	va_start(args, fmt);
	buf_vfmt(&c->error, fmt, args);
	va_end(args);
	c->keep = false;
	return finish(c);
}

static void forget(struct call *c)
{
	if (c->link)
		c->link->calls--;
	loop_timer_off(c->loop, &c->deadline);
	loop_timer_off(c->loop, &c->wake);
	lookup_cancel(c->lookup);
	wire_close(c->loop, c->env, &c->wire);
	http_url_free(&c->url);
	buf_free(&c->request);
	buf_free(&c->in);
	buf_free(&c->body);
	buf_free(&c->error);
	free(c);
}

static void ended(void *arg)
{
	struct call *c = arg;
	bool good = c->error.len == 0;
	struct call_answer a = { .error = good ? NULL : c->error.data, .timeout = c->timeout, .sent = c->sent, .truncated = good && c->truncated };

	if (good) {
		a.status = c->head.status;
		a.head = &c->head;
		a.body = c->body.data ? c->body.data : "";
		a.body_len = c->body.len;
	}
	/* done may free the link, and it may start the next call on it. */
	if (c->link)
		c->link->calls--;
	c->link = NULL;
	c->done(c->arg, &a);
	forget(c);
}

void call_cancel(struct call *c)
{
	if (c)
		forget(c);
}

static void add_peer(const struct call *c, struct buf *out)
{
	lookup_text(&c->wire.peer, out);
}

static void out_of_time(void *arg)
{
	struct call *c = arg;
	long long ms = (long long)((c->budget_us + 500) / 1000);
	struct buf peer = {0};

	c->timeout = true;
	add_peer(c, &peer);
	switch (c->state) {
	case LOOKING_UP:
		fail(c, "name lookup of %s took longer than %lld ms", c->url.host, ms);
		break;
	case CONNECTING:
		fail(c, "no connection to %s within %lld ms", peer.data, ms);
		break;
	case SHAKING:
		fail(c, "no TLS connection to %s within %lld ms", peer.data, ms);
		break;
	case SENDING:
	case READING_HEAD:
		fail(c, "no answer within %lld ms", ms);
		break;
	case READING_LENGTH:
	case READING_CHUNKS:
	case READING_TO_CLOSE:
		fail(c, "the answer was not complete within %lld ms: %zu bytes of its body had come", ms, c->body.len);
		break;
	case DONE:
		must(c->state != DONE);
	}
	buf_free(&peer);
}

/* How a connection ended, as the beginning of a sentence. */
static const char *end_words(const struct call *c)
{
	if (c->wire.error == 0)
		return "connection closed";
	return c->wire.error == ECONNRESET || c->wire.error == EPIPE ? "connection reset" : strerror(c->wire.error);
}

static enum step lost_anew(struct call *c)
{
	wire_close(c->loop, c->env, &c->wire);
	c->wire.error = 0;
	c->reused = false;
	c->renewed = true;
	c->request_sent = 0;
	return reach(c);
}

/* The connection has ended, or TLS has, where it should not have. */
static enum step lost(struct call *c)
{
	struct buf peer = {0};
	enum step s;

	if (c->reused && !c->renewed && c->in.len == 0 && c->interims == 0)
		return lost_anew(c);
	if (c->wire.tls && *tls_error(c->wire.tls))
		return fail(c, "https to %s failed: %s", c->url.host, tls_error(c->wire.tls));
	add_peer(c, &peer);
	if (c->state == READING_LENGTH)
		s = fail(c, "%s after %zu of %llu bytes", end_words(c), c->body.len, (unsigned long long)(c->body.len + c->left));
	else if (c->state == READING_CHUNKS || c->state == READING_TO_CLOSE)
		s = fail(c, "%s after %zu bytes of a body that had not ended", end_words(c), c->body.len);
	else if (c->in.len > 0)
		s = fail(c, "%s by %s in the middle of the answer's head", end_words(c), peer.data);
	else
		s = fail(c, "%s by %s before an answer", end_words(c), peer.data);
	buf_free(&peer);
	return s;
}

/* connecting */

static void connect_late(void *arg);

/* What went wrong with the address tried last; it stays when no other one does better. */
static void note_refusal(struct call *c, int error)
{
	struct buf peer = {0};

	add_peer(c, &peer);
	buf_clear(&c->error);
	if (error == ECONNREFUSED)
		buf_fmt(&c->error, "connection refused by %s", peer.data);
	else if (error == ETIMEDOUT)
		buf_fmt(&c->error, "%s does not answer", peer.data);
	else if (error == ENETUNREACH || error == EHOSTUNREACH)
		buf_fmt(&c->error, "there is no route to %s", peer.data);
	else
		buf_fmt(&c->error, "cannot connect to %s: %s", peer.data, strerror(error));
	buf_free(&peer);
}

static bool allowed(struct call *c, const struct lookup_address *a)
{
	struct buf text = {0};

	if (!c->guard || call_guard_lets(c->guard, (const struct sockaddr *)&a->addr))
		return true;
	lookup_text(a, &text);
	if (c->error.len == 0)
		buf_fmt(&c->error, "%s is an address that this agent may not connect to (--http-deny)", text.data);
	buf_free(&text);
	return false;
}

/* Begins with the next address that may be tried. A silent one gets its share of the time only, while there are others. */
static enum step connect_next(struct call *c)
{
	int64_t now_us = loop_now_us(c->loop);

	while (c->tried < c->found.count) {
		const struct lookup_address *a = &c->found.addresses[c->tried++];
		int left = c->found.count - c->tried;
		if (!allowed(c, a))
			continue;
		c->wire.peer = *a;
		c->wire.fd = c->env->connect(c->env->world, (const struct sockaddr *)&a->addr, a->len);
		if (c->wire.fd < 0) {
			note_refusal(c, errno);
			continue;
		}
		c->state = CONNECTING;
		if (left > 0)
			loop_timer_set(c->loop, &c->wake, now_us + (c->deadline_us - now_us) / (left + 1), connect_late, c);
		return STEP_WRITE;
	}
	must(c->error.len > 0);
	c->keep = false;
	return finish(c);
}

static enum step connect_failed(struct call *c, int error)
{
	loop_timer_off(c->loop, &c->wake);
	note_refusal(c, error);
	wire_close(c->loop, c->env, &c->wire);
	return connect_next(c);
}

static void connect_late(void *arg)
{
	obey(arg, connect_failed(arg, ETIMEDOUT));
}

static void looked_up(void *arg, const struct lookup_answer *a)
{
	struct call *c = arg;

	c->lookup = NULL;
	if (a->error) {
		fail(c, "%s", a->error);
		return;
	}
	c->found = *a;
	obey(c, connect_next(c));
}

/* A fresh connection: to the address that the host is, or those that its name has. */
static enum step reach(struct call *c)
{
	c->tried = 0;
	c->found.count = 1;
	if (lookup_numeric(c->url.host, c->url.port, &c->found.addresses[0]))
		return connect_next(c);
	c->state = LOOKING_UP;
	c->lookup = lookup_start(c->loop, c->url.host, c->url.port, c->deadline_us, looked_up, c);
	return STEP_OVER;
}

static enum step connected(struct call *c)
{
	int error = c->env->connected(c->env->world, c->wire.fd);

	if (error)
		return connect_failed(c, error);
	loop_timer_off(c->loop, &c->wake);
	buf_clear(&c->error);
	c->state = SENDING;
	if (c->url.tls) {
		c->wire.tls = tls_start(c->tls, c->wire.fd, c->url.host);
		c->state = SHAKING;
	}
	return STEP_ON;
}

/* What to do about a transfer that did not move anything. */
static enum step hindered(struct call *c, enum tls_step t)
{
	if (t == TLS_WANT_READ)
		return STEP_READ;
	return t == TLS_WANT_WRITE ? STEP_WRITE : lost(c);
}

static enum step shake(struct call *c)
{
	enum tls_step t = tls_handshake(c->wire.tls);

	if (t != TLS_DONE)
		return hindered(c, t);
	c->state = SENDING;
	return STEP_ON;
}

/* sending */

/* A server may refuse a large request before it has read it all, and close: its answer lies there to be read. */
static enum step send_failed(struct call *c, enum tls_step t)
{
	if (t != TLS_ERROR || c->wire.tls || c->reused || (c->wire.error != EPIPE && c->wire.error != ECONNRESET))
		return hindered(c, t);
	c->state = READING_HEAD;
	return STEP_ON;
}

static enum step send_request(struct call *c)
{
	size_t put;
	enum tls_step t;

	c->sent = true;
	t = wire_put(c->env, &c->wire, c->request.data + c->request_sent, c->request.len - c->request_sent, &put);
	if (t != TLS_DONE)
		return send_failed(c, t);
	c->request_sent += put;
	if (c->request_sent == c->request.len)
		c->state = READING_HEAD;
	return STEP_ON;
}

/* the answer's body */

/* Keeps n bytes of the body; a body over its cap ends here. */
static enum step keep_bytes(struct call *c, const char *p, size_t n)
{
	size_t room = c->body_max - c->body.len;

	buf_add(&c->body, p, n < room ? n : room);
	if (n <= room)
		return STEP_ON;
	if (!c->cut)
		return fail(c, "the answer's body is longer than %zu bytes", c->body_max);
	c->truncated = true;
	c->keep = false;
	return finish(c);
}

static enum step eat_length(struct call *c, const char *p, size_t n)
{
	size_t mine = n < c->left ? n : (size_t)c->left;
	enum step s = keep_bytes(c, p, mine);

	if (s != STEP_ON)
		return s;
	c->left -= mine;
	/* Bytes behind the answer belong to nothing: such a connection is not kept. */
	c->keep = c->keep && n == mine;
	if (c->left == 0)
		return finish(c);
	if (c->body.len == c->body_max)
		return keep_bytes(c, "", 1);
	return STEP_ON;
}

static enum step eat_chunks(struct call *c, char *p, size_t n)
{
	const char *why = NULL;
	size_t kept, used;
	int result = http_chunks_feed(&c->chunks, p, n, &kept, &used, &why);
	enum step s = keep_bytes(c, p, kept);

	if (s != STEP_ON)
		return s;
	if (result < 0)
		return fail(c, "the answer is malformed: %s", why);
	c->keep = c->keep && used == n;
	return result > 0 ? finish(c) : STEP_ON;
}

static enum step eat(struct call *c, char *p, size_t n)
{
	if (n == 0)
		return STEP_ON;
	if (c->state == READING_LENGTH)
		return eat_length(c, p, n);
	return c->state == READING_CHUNKS ? eat_chunks(c, p, n) : keep_bytes(c, p, n);
}

static enum step read_body(struct call *c)
{
	char piece[PIECE];
	size_t got;
	enum tls_step t = wire_get(c->env, &c->wire, piece, sizeof piece, &got);

	if (t == TLS_DONE)
		return eat(c, piece, got);
	if (t == TLS_EOF && c->state == READING_TO_CLOSE)
		return finish(c);
	return hindered(c, t);
}

/* the answer's head */

static bool has_body(const struct call *c)
{
	return !c->no_body && c->head.status != 204 && c->head.status != 304;   /* RFC 9112 section 6.3 */
}

static enum step encoded(struct call *c, struct http_text coding)
{
	struct buf words = {0};
	enum step s;

	text_escape(&words, coding.p, coding.n < 64 ? coding.n : 64);
	s = fail(c, "the answer is encoded (%s), which was not asked for", words.data ? words.data : "");
	buf_free(&words);
	return s;
}

/* The head is whole and takes the first n bytes: what ends the body (RFC 9112 section 6.3)? */
static enum step begin_body(struct call *c, size_t n)
{
	struct http_text coding = http_field(&c->head, "content-encoding");

	c->keep = c->link && !c->head.close;
	if (!has_body(c)) {
		c->keep = c->keep && c->in.len == n;
		return finish(c);
	}
	if (coding.n > 0 && !http_is_nocase(coding, "identity"))
		return encoded(c, coding);
	if (!c->cut && c->head.length > 0 && (uint64_t)c->head.length > c->body_max)
		return fail(c, "the answer's body is longer than %zu bytes", c->body_max);
	if (c->head.chunked) {
		c->state = READING_CHUNKS;
	} else if (c->head.length >= 0) {
		c->state = READING_LENGTH;
		c->left = (uint64_t)c->head.length;
		if (c->left == 0)
			return eat_length(c, c->in.data + n, c->in.len - n);
	} else {
		c->state = READING_TO_CLOSE;
		c->keep = false;
	}
	return eat(c, c->in.data + n, c->in.len - n);
}

static enum step parse_head(struct call *c)
{
	const char *why = NULL;

	while (c->in.len > 0) {
		int n = http_read_response(c->in.data, c->in.len, &c->seen, &c->head, &why);
		if (n == 0)
			return STEP_ON;
		if (n < 0)
			return fail(c, "the answer is malformed: %s", why);
		if (c->head.status >= 200)
			return begin_body(c, (size_t)n);
		if (c->head.status == 101)
			return fail(c, "the answer is malformed: it switches to a protocol that nobody asked for");
		if (++c->interims > INTERIMS_MAX)
			return fail(c, "more than %d interim answers", INTERIMS_MAX);
		buf_drop(&c->in, (size_t)n);
	}
	return STEP_ON;
}

static enum step read_head(struct call *c)
{
	size_t got;
	enum tls_step t = wire_get(c->env, &c->wire, buf_room(&c->in, PIECE), PIECE, &got);

	if (t != TLS_DONE)
		return hindered(c, t);
	c->in.len += got;
	return parse_head(c);
}

/* going on */

static enum step step(struct call *c)
{
	switch (c->state) {
	case CONNECTING:
		return connected(c);
	case SHAKING:
		return shake(c);
	case SENDING:
		return send_request(c);
	case READING_HEAD:
		return read_head(c);
	case READING_LENGTH:
	case READING_CHUNKS:
	case READING_TO_CLOSE:
		return read_body(c);
	case LOOKING_UP:
	case DONE:
		break;
	}
	must(c->wire.fd >= 0);                                     /* neither of the two has a connection to step on */
	return STEP_OVER;
}

static void go(void *arg)
{
	struct call *c = arg;
	enum step s = STEP_ON;

	for (int i = 0; i < STEPS_MAX && s == STEP_ON; i++)
		s = step(c);
	obey(c, s);
}

static void ready(void *arg, unsigned what)
{
	(void)what;
	go(arg);
}

static void obey(struct call *c, enum step s)
{
	switch (s) {
	case STEP_ON:
		loop_watch(c->loop, c->wire.fd, 0, ready, c);
		loop_timer_set(c->loop, &c->wake, loop_now_us(c->loop), go, c);
		return;
	case STEP_READ:
		loop_watch(c->loop, c->wire.fd, LOOP_READ, ready, c);
		return;
	case STEP_WRITE:
		loop_watch(c->loop, c->wire.fd, LOOP_WRITE, ready, c);
		return;
	case STEP_OVER:
		return;
	}
}

static enum step begin(struct call *c)
{
	if (c->url.tls && !c->tls)
		return fail(c, "https is not built into this agent");
	c->reused = link_take(c->link, &c->url, &c->wire);
	if (!c->reused)
		return reach(c);
	c->wire.error = 0;
	c->state = SENDING;
	return STEP_WRITE;
}

struct call *call_start(struct loop *loop, const struct env *env, const struct call_spec *spec, call_done *done, void *arg)
{
	struct call *c = mem_new(sizeof *c);

	c->loop = loop;
	c->env = env;
	copy_url(&c->url, spec->url);
	http_put_request(&c->request, spec->method, spec->url, spec->fields, spec->body, spec->body_len, !spec->link);
	c->begun_us = loop_now_us(loop);
	c->deadline_us = spec->deadline_us;
	c->budget_us = spec->deadline_us - env->mono_us(env->world);
	c->body_max = spec->body_max;
	c->cut = spec->cut;
	c->no_body = strcmp(spec->method, "HEAD") == 0;
	c->link = spec->link;
	c->guard = spec->guard;
	c->tls = spec->tls;
	c->wire.fd = -1;
	c->done = done;
	c->arg = arg;
	if (c->link)
		c->link->calls++;
	loop_timer_set(loop, &c->deadline, c->deadline_us, out_of_time, c);
	obey(c, begin(c));
	return c;
}
