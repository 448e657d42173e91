/* fakeworld: see the header. A stream is an object of its own; descriptors are slots that point at one, lowest free number first, as a kernel gives them.
 * Like TCP: closing with unread bytes resets, a reset loses what the peer had not read, and bytes sent to a closed peer end in EPIPE. */
#include "fakeworld.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FDS 512
#define FIRST_FD 3
#define BACKLOG 256
#define CAPACITY 65536

struct stream {
	struct stream *peer;                                       /* NULL: closed */
	struct buf in;
	size_t capacity;
	bool eof, reset;
	int refused;                                               /* the errno of a failed connect */
};
struct slot { struct stream *stream; int port; struct stream *queue[BACKLOG]; int queued; };   /* port: a listener's */

struct fakeworld {
	int64_t mono_us, wall_ms, late_us, timeout_us;
	uint64_t seed;
	struct slot slots[FDS];
	size_t cut;
	int accept_error, accepts, interrupts, next_port;
};

struct fakeworld *fakeworld_new(uint64_t seed)
{
	struct fakeworld *w = mem_new(sizeof *w);

	w->seed = seed;
	w->mono_us = 1000000;
	w->wall_ms = INT64_C(1700000000000);
	w->next_port = 3000;
	return w;
}

static void stream_close(struct stream *s)
{
	if (s->peer) {
		s->peer->eof = true;
		s->peer->peer = NULL;
		if (s->in.len > 0) {
			s->peer->reset = true;
			buf_clear(&s->peer->in);
		}
	}
	buf_free(&s->in);
	free(s);
}

static void slot_close(struct slot *s)
{
	if (s->stream)
		stream_close(s->stream);
	for (int i = 0; i < s->queued; i++)
		stream_close(s->queue[i]);
	*s = (struct slot){0};
}

void fakeworld_free(struct fakeworld *w)
{
	for (int fd = 0; fd < FDS; fd++)
		slot_close(&w->slots[fd]);
	free(w);
}

static struct slot *slot_of(struct fakeworld *w, int fd)
{
	must(fd >= FIRST_FD && fd < FDS && (w->slots[fd].stream || w->slots[fd].port));
	return &w->slots[fd];
}

static int slot_take(struct fakeworld *w)
{
	for (int fd = FIRST_FD; fd < FDS; fd++)
		if (!w->slots[fd].stream && !w->slots[fd].port)
			return fd;
	errno = EMFILE;
	return -1;
}

static int listener_of(struct fakeworld *w, int port)
{
	for (int fd = FIRST_FD; fd < FDS; fd++)
		if (port && w->slots[fd].port == port)
			return fd;
	return -1;
}

/* addresses */

int fakeworld_port(const struct sockaddr_storage *a)
{
	struct sockaddr_in in;

	memcpy(&in, a, sizeof in);
	return ntohs(in.sin_port);
}

void fakeworld_address(int port, struct sockaddr_storage *a, socklen_t *len)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	memset(a, 0, sizeof *a);
	memcpy(a, &in, sizeof in);
	*len = sizeof in;
}

static int port_of(const struct sockaddr *a, socklen_t len)
{
	struct sockaddr_storage s = {0};

	must(len <= sizeof s);
	memcpy(&s, a, len);
	return fakeworld_port(&s);
}

/* doors */

static int64_t door_mono(void *world) { return ((struct fakeworld *)world)->mono_us; }
static int64_t door_wall(void *world) { return ((struct fakeworld *)world)->wall_ms; }

static void door_random(void *world, void *out, size_t n)      /* splitmix64's step, a byte each */
{
	struct fakeworld *w = world;
	unsigned char *p = out;

	for (size_t i = 0; i < n; i++) {
		uint64_t z = w->seed += UINT64_C(0x9e3779b97f4a7c15);
		z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		p[i] = (unsigned char)(z >> 56);
	}
}

static int door_listen(void *world, const struct sockaddr *a, socklen_t len, struct sockaddr_storage *bound, socklen_t *bound_len)
{
	struct fakeworld *w = world;
	int port = port_of(a, len), fd = slot_take(w);

	if (fd < 0)
		return -1;
	if (port == 0)
		port = w->next_port++;
	if (listener_of(w, port) >= 0) {
		errno = EADDRINUSE;
		return -1;
	}
	w->slots[fd].port = port;
	if (bound)
		fakeworld_address(port, bound, bound_len);
	return fd;
}

static int door_accept(void *world, int fd, struct sockaddr_storage *peer, socklen_t *peer_len)
{
	struct fakeworld *w = world;
	struct slot *s = slot_of(w, fd);
	int got = slot_take(w);

	w->accepts++;
	errno = w->accept_error ? w->accept_error : EAGAIN;
	if (w->accept_error || got < 0 || s->queued == 0)
		return -1;
	w->slots[got].stream = s->queue[0];
	memmove(s->queue, s->queue + 1, (size_t)--s->queued * sizeof s->queue[0]);
	fakeworld_address(1, peer, peer_len);
	return got;
}

static struct stream *stream_new(void)
{
	struct stream *s = mem_new(sizeof *s);

	s->capacity = CAPACITY;
	return s;
}

static int door_connect(void *world, const struct sockaddr *a, socklen_t len)
{
	struct fakeworld *w = world;
	int fd = slot_take(w), to = listener_of(w, port_of(a, len));
	struct stream *s;

	if (fd < 0)
		return -1;
	s = w->slots[fd].stream = stream_new();
	if (to < 0 || w->slots[to].queued == BACKLOG) {
		s->refused = ECONNREFUSED;
		return fd;
	}
	s->peer = stream_new();
	s->peer->peer = s;
	w->slots[to].queue[w->slots[to].queued++] = s->peer;
	return fd;
}

static int door_connected(void *world, int fd)
{
	return slot_of(world, fd)->stream->refused;
}

static size_t cut(const struct fakeworld *w, size_t n)
{
	return w->cut && n > w->cut ? w->cut : n;
}

static ssize_t door_recv(void *world, int fd, void *out, size_t n)
{
	struct fakeworld *w = world;
	struct stream *s = slot_of(w, fd)->stream;

	errno = s->reset ? ECONNRESET : EAGAIN;
	if (s->in.len == 0)
		return s->eof && !s->reset ? 0 : -1;
	n = cut(w, n < s->in.len ? n : s->in.len);
	if (n > 0)
		memcpy(out, s->in.data, n);
	buf_drop(&s->in, n);
	return (ssize_t)n;
}

static ssize_t door_send(void *world, int fd, const void *p, size_t n)
{
	struct fakeworld *w = world;
	struct stream *s = slot_of(w, fd)->stream;
	size_t space = s->peer && s->peer->in.len < s->peer->capacity ? s->peer->capacity - s->peer->in.len : 0;

	errno = s->reset ? ECONNRESET : s->peer ? EAGAIN : EPIPE;
	if (!s->peer || s->reset || space == 0)
		return -1;
	n = cut(w, n < space ? n : space);
	buf_add(&s->peer->in, p, n);
	return (ssize_t)n;
}

static void door_close(void *world, int fd)
{
	slot_close(slot_of(world, fd));
}

static bool readable(const struct slot *s)
{
	if (s->port)
		return s->queued > 0;
	return s->stream->in.len > 0 || s->stream->eof || s->stream->reset;
}

static bool writable(const struct slot *s)
{
	const struct stream *peer = s->port ? NULL : s->stream->peer;

	return !s->port && (!peer || s->stream->reset || peer->in.len < peer->capacity);
}

static int door_wait(void *world, int nfds, fd_set *rd, fd_set *wr, int64_t timeout_us)
{
	struct fakeworld *w = world;
	int count = 0;

	w->timeout_us = timeout_us;
	w->mono_us += w->late_us;
	w->wall_ms += w->late_us / 1000;
	w->late_us = 0;
	if (w->interrupts > 0) {
		w->interrupts--;
		errno = EINTR;
		return -1;
	}
	for (int fd = 0; fd < nfds; fd++) {
		if (FD_ISSET(fd, rd) && !readable(slot_of(w, fd)))
			FD_CLR(fd, rd);
		if (FD_ISSET(fd, wr) && !writable(slot_of(w, fd)))
			FD_CLR(fd, wr);
		count += (FD_ISSET(fd, rd) ? 1 : 0) + (FD_ISSET(fd, wr) ? 1 : 0);
	}
	return count;
}

static void door_fatal(void *world, const char *why)
{
	(void)world;
	util_broken(why, __FILE__, __LINE__);
}

static void door_log(void *world, const char *line)
{
	(void)world;
	(void)line;
}

void fakeworld_env(struct fakeworld *w, struct env *env)
{
	*env = (struct env){ .world = w, .mono_us = door_mono, .wall_ms = door_wall, .random = door_random, .listen = door_listen, .accept = door_accept,
		.connect = door_connect, .connected = door_connected, .recv = door_recv, .send = door_send, .close = door_close, .wait = door_wait,
		.fatal = door_fatal, .log = door_log };
}

/* the tester's hands */

int64_t fakeworld_now_us(const struct fakeworld *w) { return w->mono_us; }
void fakeworld_wall(struct fakeworld *w, int64_t ms) { w->wall_ms += ms; }
void fakeworld_cut(struct fakeworld *w, size_t bytes) { w->cut = bytes; }
void fakeworld_accept_error(struct fakeworld *w, int error) { w->accept_error = error; }
void fakeworld_interrupt(struct fakeworld *w, int waits) { w->interrupts = waits; }
void fakeworld_late(struct fakeworld *w, int64_t us) { w->late_us = us; }
int64_t fakeworld_timeout(const struct fakeworld *w) { return w->timeout_us; }
int fakeworld_accepts(const struct fakeworld *w) { return w->accepts; }

void fakeworld_pass(struct fakeworld *w, int64_t us)
{
	w->mono_us += us;
	w->wall_ms += us / 1000;
}

int fakeworld_listen(struct fakeworld *w, int port, int *bound)
{
	struct sockaddr_storage a, at;
	socklen_t len, at_len;
	int fd;

	fakeworld_address(port, &a, &len);
	fd = door_listen(w, (struct sockaddr *)&a, len, &at, &at_len);
	must(fd >= 0);
	*bound = fakeworld_port(&at);
	return fd;
}

int fakeworld_connect(struct fakeworld *w, int port)
{
	struct sockaddr_storage a;
	socklen_t len;
	int fd;

	fakeworld_address(port, &a, &len);
	fd = door_connect(w, (struct sockaddr *)&a, len);
	if (fd >= 0 && door_connected(w, fd)) {
		door_close(w, fd);
		return -1;
	}
	return fd;
}

void fakeworld_capacity(struct fakeworld *w, int fd, size_t bytes)
{
	slot_of(w, fd)->stream->capacity = bytes;
}

void fakeworld_reset(struct fakeworld *w, int fd)
{
	struct stream *s = slot_of(w, fd)->stream;

	if (s->peer) {
		s->peer->reset = true;
		buf_clear(&s->peer->in);
	}
}

int fakeworld_open(const struct fakeworld *w)
{
	int open = 0;

	for (int fd = 0; fd < FDS; fd++)
		open += w->slots[fd].stream || w->slots[fd].port ? 1 : 0;
	return open;
}
