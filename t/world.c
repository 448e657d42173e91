/* world: see the header. One heap of events, one list of nodes; the earliest of all comes next, events before nodes, nodes in their order.
 * W1  A node's clock is the world's or, while it works longer than an instant (a slow sync), ahead of it: then it is not turned until the world has caught up.
 * W2  Death: from that act on every door of the node is shut (sends go nowhere, the disk answers errors, points and logs are not heard), so whatever its code
 *     still does in that turn is undone by being unheard. env.fatal, which a shut disk leads to, jumps out of the turn.
 * W3  Streams are in order; a stream's bytes may come late, in pieces, or end anywhere, never changed. */
#include "world.h"
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 16
#define FDS 128
#define FIRST_FD 3
#define BACKLOG 64
#define CAPACITY (256u * 1024)
#define LATENCY_US 300
#define SPINS_MAX 3000

struct sock {
	int refs;
	int64_t stream;
	struct node *owner;                                        /* NULL: closed */
	int fd, port;                                              /* port: a listener's */
	struct sock *peer, *queue[BACKLOG];
	int queued;
	struct buf in;
	size_t flying;                                             /* sent to it, not there yet */
	bool connected, eof, reset;
	int refused;
	int64_t last_us;                                           /* the latest arrival planned for it */
	int64_t cut_after;                                         /* bytes it may still send before the stream breaks; -1: no end */
	enum world_fault cut;
	bool silent;                                               /* nothing it sends arrives any more */
};

enum kind { EVENT_CALL, EVENT_SYN, EVENT_ANSWER, EVENT_DATA, EVENT_END, EVENT_RESET };
struct event { int64_t when_us; uint64_t order; enum kind kind; struct sock *sock, *from; char *bytes; size_t n; world_event *call; void *arg; int64_t value; };

struct node {
	struct world *world;
	const char *name;
	int number;
	struct env env;
	struct simdisk *disk;
	char vfs[32];
	struct loop *loop;
	bool up, inside, dying, poked, disk_full, sync_failed;
	jmp_buf back;
	struct sock *socks[FDS];
	int64_t ahead_us, paused_us, cut_off_us, wall_ms, die_in, fail_sync_in, slow_us, syncs, refusals;
	int64_t deaf_us, turned_us, planned_us, ended_us;          /* of its latest turn: when it began, what the loop then slept for, when it was done */
	int died_at, spins;
	int64_t spin_us;
	uint64_t random;
};

struct world {
	uint64_t random, order;
	int64_t now_us, streams;
	int trouble;
	bool stopped;
	struct world_hooks hooks;
	struct node *nodes[NODES_MAX];
	int nodes_count;
	struct event *heap;
	size_t heap_count, heap_room;
	int64_t crashes[OP_COUNT], faults[FAULT_COUNT];
};

static const char *const ops[OP_COUNT] = { "write", "sync", "send", "before STARTED", "STARTED written", "effect begun", "before FINISHED", "before report", "answered" };
static const char *const faults[FAULT_COUNT] = { "connect refused", "connect unanswered", "cut by reset", "cut by end", "cut in silence", "late packet", "cut off", "paused",
	"wall clock jump", "disk full", "sync failed", "slow sync", "power cut", "killed", "request replayed", "journal lost", "journal put back", "journal copied", "two of a name",
	"database copied", "database put back", "resumed", "stopped cleanly" };

const char *world_op_text(int op) { return ops[op]; }
const char *world_fault_text(enum world_fault f) { return faults[f]; }

/* chance */

static uint64_t step(uint64_t *state)                          /* splitmix64 */
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t world_any(struct world *w) { return step(&w->random); }
int64_t world_between(struct world *w, int64_t least, int64_t most) { return least + (int64_t)(world_any(w) % (uint64_t)(most - least + 1)); }
bool world_chance(struct world *w, int per_mille) { return (int)(world_any(w) % 1000) < per_mille; }
void world_trouble(struct world *w, int per_mille) { w->trouble = per_mille; }
void world_count(struct world *w, enum world_fault f) { w->faults[f]++; }
int64_t world_now_us(const struct world *w) { return w->now_us; }
void world_stop(struct world *w) { w->stopped = true; }

void world_counts(const struct world *w, int64_t crashes[OP_COUNT], int64_t counts[FAULT_COUNT])
{
	for (int i = 0; i < OP_COUNT; i++)
		crashes[i] += w->crashes[i];
	for (int i = 0; i < FAULT_COUNT; i++)
		counts[i] += w->faults[i];
}

/* events */

static bool sooner(const struct event *a, const struct event *b)
{
	return a->when_us != b->when_us ? a->when_us < b->when_us : a->order < b->order;
}

static void event_add(struct world *w, struct event e)
{
	size_t i = w->heap_count++;

	if (w->heap_count > w->heap_room) {
		w->heap_room = w->heap_room ? w->heap_room * 2 : 256;
		w->heap = mem_resize(w->heap, w->heap_room * sizeof *w->heap);
	}
	e.order = w->order++;
	if (e.when_us < w->now_us)
		e.when_us = w->now_us;
	if (e.sock)
		e.sock->refs++;
	if (e.from)
		e.from->refs++;
	for (; i > 0 && sooner(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = e;
}

static struct event event_take(struct world *w)
{
	struct event first = w->heap[0], last = w->heap[--w->heap_count];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < w->heap_count) {
		if (child + 1 < w->heap_count && sooner(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!sooner(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	if (w->heap_count > 0)
		w->heap[i] = last;
	return first;
}

void world_at(struct world *w, int64_t when_us, world_event *call, void *arg, int64_t n)
{
	struct event e = { .when_us = when_us, .kind = EVENT_CALL, .call = call, .arg = arg, .value = n };

	event_add(w, e);
}

/* streams */

int64_t node_now_us(const struct node *n) { return n->ahead_us > n->world->now_us ? n->ahead_us : n->world->now_us; }

static void unref(struct sock *s)
{
	if (--s->refs > 0)
		return;
	buf_free(&s->in);
	free(s);
}

static struct sock *sock_new(struct node *n, int fd, int64_t stream)
{
	struct sock *s = mem_new(sizeof *s);

	s->refs = 1;
	s->stream = stream;
	s->owner = n;
	s->fd = fd;
	s->cut_after = -1;
	n->socks[fd] = s;
	return s;
}

static int fd_take(struct node *n)
{
	for (int fd = FIRST_FD; fd < FDS; fd++)
		if (!n->socks[fd])
			return fd;
	errno = EMFILE;
	return -1;
}

static int64_t latency(struct world *w)
{
	int64_t us = world_between(w, LATENCY_US / 2, LATENCY_US * 2);

	if (!w->trouble || !world_chance(w, w->trouble / 4))
		return us;
	w->faults[FAULT_LATE]++;
	return us + world_between(w, 0, world_chance(w, 100) ? 8000000 : 400000);
}

/* When something sent now from a to b arrives: behind all that was sent before. */
static int64_t arrival(struct node *from, struct node *to, struct sock *at)
{
	int64_t when = node_now_us(from) + latency(from->world);

	if (from->cut_off_us > when)
		when = from->cut_off_us;
	if (to && to->cut_off_us > when)
		when = to->cut_off_us;
	if (at->last_us > when)
		when = at->last_us;
	at->last_us = when;
	return when;
}

static void post(struct node *from, struct sock *to, enum kind kind, const char *bytes, size_t n)
{
	struct event e = { .when_us = arrival(from, to->owner, to), .kind = kind, .sock = to, .from = kind == EVENT_DATA ? to->peer : NULL, .n = n };

	if (n > 0) {
		e.bytes = mem_new(n);
		memcpy(e.bytes, bytes, n);
		to->flying += n;
	}
	event_add(from->world, e);
}

/* The stream's bytes end here, as its cut says. */
static void cut(struct node *n, struct sock *s)
{
	n->world->faults[s->cut]++;
	s->silent = true;
	if (s->peer && s->cut == FAULT_CUT_RESET) {
		post(n, s->peer, EVENT_RESET, NULL, 0);
		post(n, s, EVENT_RESET, NULL, 0);
	} else if (s->peer && s->cut == FAULT_CUT_END) {
		post(n, s->peer, EVENT_END, NULL, 0);
	}
}

/* A bad stream breaks somewhere: in its first bytes, in the middle of a message, or between two. */
static void plan_cut(struct world *w, struct sock *s)
{
	static const enum world_fault cuts[] = { FAULT_CUT_RESET, FAULT_CUT_END, FAULT_CUT_SILENT };

	if (!w->trouble || !world_chance(w, w->trouble))
		return;
	s->cut_after = world_between(w, 0, world_chance(w, 500) ? 700 : 6000);
	s->cut = cuts[world_any(w) % 3];
}

static void sock_close(struct sock *s, bool power)
{
	struct node *n = s->owner;

	n->socks[s->fd] = NULL;
	for (int i = 0; i < s->queued; i++) {
		struct sock *q = s->queue[i];
		if (q->peer && !power)
			post(n, q->peer, EVENT_RESET, NULL, 0);
		if (q->peer)
			unref(q->peer);
		q->peer = NULL;
		q->owner = NULL;
		unref(q);
	}
	s->queued = 0;
	if (s->peer) {
		if (!power && !s->silent)
			post(n, s->peer, s->in.len > 0 ? EVENT_RESET : EVENT_END, NULL, 0);
		unref(s->peer);
		s->peer = NULL;
	}
	s->owner = NULL;
	unref(s);
}

static struct sock *listener_of(struct world *w, int port)
{
	for (int i = 0; i < w->nodes_count; i++)
		for (int fd = FIRST_FD; fd < FDS; fd++)
			if (w->nodes[i]->up && w->nodes[i]->socks[fd] && w->nodes[i]->socks[fd]->port == port)
				return w->nodes[i]->socks[fd];
	return NULL;
}

/* arrivals */

static void arrive_syn(struct world *w, struct sock *s, int port)
{
	struct sock *l = listener_of(w, port), *t;
	struct event e = { .kind = EVENT_ANSWER, .sock = s };

	if (!s->owner)
		return;
	e.when_us = w->now_us + latency(w);
	s->last_us = e.when_us;
	if (!l || l->queued == BACKLOG) {
		s->refused = ECONNREFUSED;
		event_add(w, e);
		return;
	}
	t = mem_new(sizeof *t);
	t->refs = 2;                                               /* the queue's, and its peer's */
	t->stream = s->stream;
	t->connected = true;
	t->cut_after = -1;
	t->peer = s;
	t->last_us = w->now_us;
	s->refs++;
	s->peer = t;
	plan_cut(w, t);
	l->queue[l->queued++] = t;
	l->owner->poked = true;
	event_add(w, e);
}

/* A process that closed its end answers further bytes with a reset. */
static void reset_sender(struct world *w, struct sock *sender)
{
	struct event e = { .when_us = w->now_us + latency(w), .kind = EVENT_RESET, .sock = sender };

	if (sender && sender->owner)
		event_add(w, e);
}

static void arrive(struct world *w, const struct event *e)
{
	struct sock *s = e->sock;

	if (e->kind == EVENT_DATA)
		s->flying -= e->n;
	if (e->kind == EVENT_SYN) {
		arrive_syn(w, s, (int)e->value);
		return;
	}
	if (e->kind == EVENT_DATA && !s->owner && !s->peer) {
		reset_sender(w, e->from);
		return;
	}
	if (s->reset)
		return;
	if (e->kind == EVENT_ANSWER)
		s->connected = true;
	else if (e->kind == EVENT_DATA && !s->eof)
		buf_add(&s->in, e->bytes, e->n);
	else if (e->kind == EVENT_END)
		s->eof = true;
	else if (e->kind == EVENT_RESET) {
		s->reset = true;
		buf_clear(&s->in);
	}
	if (s->owner)
		s->owner->poked = true;
}

/* doors */

static bool shut(const struct node *n) { return n->dying; }

static void die(struct node *n, int op)
{
	n->dying = true;
	n->died_at = op;
	simdisk_kill(n->disk);
	if (op >= 0)
		n->world->crashes[op]++;
}

/* True: this act is the node's last. */
static bool last_act(struct node *n, int op)
{
	if (n->die_in == 0 || --n->die_in > 0)
		return false;
	die(n, op);
	return true;
}

static int64_t door_mono(void *world) { return node_now_us(world); }

static int64_t door_wall(void *world)
{
	struct node *n = world;

	return INT64_C(1700000000000) + node_now_us(n) / 1000 + n->wall_ms;
}

static void door_random(void *world, void *out, size_t n)
{
	struct node *node = world;
	unsigned char *p = out;

	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(step(&node->random) >> 56);
}

static int port_of(const struct sockaddr *a, socklen_t len)
{
	struct sockaddr_in in;

	must(len >= sizeof in);
	memcpy(&in, a, sizeof in);
	return ntohs(in.sin_port);
}

static int door_listen(void *world, const struct sockaddr *a, socklen_t len, struct sockaddr_storage *bound, socklen_t *bound_len)
{
	struct node *n = world;
	int fd = fd_take(n);

	if (fd < 0)
		return -1;
	sock_new(n, fd, 0)->port = port_of(a, len);
	memset(bound, 0, sizeof *bound);
	memcpy(bound, a, len);
	*bound_len = len;
	return fd;
}

static struct sock *sock_of(struct node *n, int fd)
{
	must(fd >= FIRST_FD && fd < FDS && n->socks[fd]);
	return n->socks[fd];
}

static int door_accept(void *world, int fd, struct sockaddr_storage *peer, socklen_t *peer_len)
{
	struct node *n = world;
	struct sock *l = sock_of(n, fd), *s;
	int got = fd_take(n);

	errno = EAGAIN;
	if (got < 0 || l->queued == 0 || shut(n))
		return -1;
	s = l->queue[0];
	memmove(l->queue, l->queue + 1, (size_t)--l->queued * sizeof l->queue[0]);
	s->owner = n;
	s->fd = got;
	n->socks[got] = s;
	memset(peer, 0, sizeof *peer);
	*peer_len = sizeof(struct sockaddr_in);
	return got;
}

static int door_connect(void *world, const struct sockaddr *a, socklen_t len)
{
	struct node *n = world;
	struct world *w = n->world;
	int fd = fd_take(n);
	struct event e = { .kind = EVENT_SYN, .value = port_of(a, len) };
	struct sock *s;

	if (fd < 0)
		return -1;
	s = sock_new(n, fd, ++w->streams);
	plan_cut(w, s);
	e.sock = s;
	e.when_us = arrival(n, NULL, s);
	if (w->trouble && world_chance(w, w->trouble / 4)) {
		w->faults[FAULT_UNANSWERED]++;
		return fd;
	}
	if (w->trouble && world_chance(w, w->trouble / 4)) {
		w->faults[FAULT_REFUSED]++;
		s->refused = ECONNREFUSED;
		e.kind = EVENT_ANSWER;
	}
	event_add(w, e);
	return fd;
}

static int door_connected(void *world, int fd) { return sock_of(world, fd)->refused; }

static ssize_t door_recv(void *world, int fd, void *out, size_t n)
{
	struct node *node = world;
	struct sock *s = sock_of(node, fd);

	errno = s->reset ? ECONNRESET : EAGAIN;
	if (s->in.len == 0)
		return s->eof && !s->reset ? 0 : -1;
	if (n > s->in.len)
		n = s->in.len;
	memcpy(out, s->in.data, n);
	buf_drop(&s->in, n);
	if (!shut(node) && n > 0)
		node->world->hooks.heard(node->world->hooks.arg, node, s->stream, out, n);
	return (ssize_t)n;
}

/* In one to three pieces. */
static void send_pieces(struct node *n, struct sock *s, const char *p, size_t len)
{
	while (len > 0) {
		size_t part = n->world->trouble && world_chance(n->world, 200) ? (size_t)world_between(n->world, 1, (int64_t)len) : len;
		post(n, s->peer, EVENT_DATA, p, part);
		p += part;
		len -= part;
	}
}

static ssize_t door_send(void *world, int fd, const void *p, size_t n)
{
	struct node *node = world;
	struct sock *s = sock_of(node, fd);
	size_t held = s->peer ? s->peer->flying + s->peer->in.len : 0, goes = n;

	errno = s->reset ? ECONNRESET : EPIPE;
	if (shut(node) || s->reset || !s->peer)
		return -1;
	errno = EAGAIN;
	if (held >= CAPACITY)
		return -1;
	if (goes > CAPACITY - held)
		goes = n = CAPACITY - held;
	if (last_act(node, OP_SEND))
		goes = n = (size_t)world_between(node->world, 0, (int64_t)n);
	if (s->cut_after >= 0 && (int64_t)goes >= s->cut_after)
		goes = (size_t)s->cut_after;
	if (!s->silent)
		send_pieces(node, s, p, goes);
	if (s->cut_after >= 0 && (s->cut_after -= (int64_t)goes) == 0 && !s->silent)
		cut(node, s);
	if (!shut(node))
		node->world->hooks.said(node->world->hooks.arg, node, s->stream, p, n);
	return (ssize_t)n;
}

static void door_close(void *world, int fd)
{
	struct node *n = world;
	struct sock *s;

	/* What a dead node holds is closed by node_end. */
	if (shut(n))
		return;
	s = sock_of(n, fd);
	if (!s->port)
		n->world->hooks.hung(n->world->hooks.arg, n, s->stream);
	sock_close(s, false);
}

static bool readable(const struct sock *s)
{
	return s->port ? s->queued > 0 : s->in.len > 0 || s->eof || s->reset;
}

static bool writable(const struct sock *s)
{
	if (s->port || !s->connected)
		return false;
	return !s->peer || s->reset || s->refused || s->peer->flying + s->peer->in.len < CAPACITY;
}

static int door_wait(void *world, int nfds, fd_set *rd, fd_set *wr, int64_t timeout_us)
{
	struct node *n = world;
	int count = 0;

	(void)timeout_us;
	for (int fd = 0; fd < nfds; fd++) {
		if (FD_ISSET(fd, rd) && !readable(sock_of(n, fd)))
			FD_CLR(fd, rd);
		if (FD_ISSET(fd, wr) && !writable(sock_of(n, fd)))
			FD_CLR(fd, wr);
		count += (FD_ISSET(fd, rd) ? 1 : 0) + (FD_ISSET(fd, wr) ? 1 : 0);
	}
	n->poked = count > 0;
	return count;
}

static void door_fatal(void *world, const char *why)
{
	struct node *n = world;

	must(n->inside);
	if (!n->dying) {
		n->world->hooks.log(n->world->hooks.arg, n, why);
		die(n, -1);
		if (!n->sync_failed)
			n->world->hooks.broken(n->world->hooks.arg, why);
	}
	longjmp(n->back, 1);
}

static void door_log(void *world, const char *line)
{
	struct node *n = world;

	if (!shut(n))
		n->world->hooks.log(n->world->hooks.arg, n, line);
}

static void door_point(void *world, enum env_point point, const char *id, int64_t attempt)
{
	struct node *n = world;

	if (shut(n))
		return;
	n->world->hooks.point(n->world->hooks.arg, n, point, id, attempt);
	last_act(n, OP_POINT + (int)point);
}

/* the disk's questions */

static void slow_down(struct node *n)
{
	int64_t us;
	char line[64];

	if (!n->slow_us || !world_chance(n->world, 10))
		return;
	us = world_between(n->world, 0, n->slow_us);
	n->world->faults[FAULT_SYNC_SLOW]++;
	n->ahead_us = node_now_us(n) + us;
	snprintf(line, sizeof line, " * a sync takes %lld ms", (long long)(us / 1000));
	n->world->hooks.log(n->world->hooks.arg, n, line);
}

static enum simdisk_fate disk_ask(void *arg, enum simdisk_op op, bool extends)
{
	struct node *n = arg;

	if (!n->inside || shut(n))
		return SIMDISK_FAIL;
	if (last_act(n, op == SIMDISK_WRITE ? OP_WRITE : OP_SYNC))
		return SIMDISK_DIE;
	if (op == SIMDISK_WRITE) {
		if (n->disk_full && extends) {
			n->world->faults[FAULT_DISK_FULL]++;
			n->refusals++;
		}
		return n->disk_full && extends ? SIMDISK_FULL : SIMDISK_DO;
	}
	if (n->fail_sync_in && --n->fail_sync_in == 0) {
		n->world->faults[FAULT_SYNC_FAILED]++;
		n->sync_failed = true;
		return SIMDISK_FAIL;
	}
	slow_down(n);
	n->syncs++;
	return SIMDISK_DO;
}

/* nodes */

struct node *world_node(struct world *w, const char *name)
{
	struct node *n = mem_new(sizeof *n);
	struct simdisk_doors doors = { n, disk_ask, door_random, door_wall };

	must(w->nodes_count < NODES_MAX);
	n->world = w;
	n->name = name;
	n->number = w->nodes_count;
	n->random = world_any(w);
	snprintf(n->vfs, sizeof n->vfs, "sim-%d", n->number);
	n->disk = simdisk_new(n->vfs, &doors);
	n->env = (struct env){ .world = n, .mono_us = door_mono, .wall_ms = door_wall, .random = door_random, .listen = door_listen, .accept = door_accept,
		.connect = door_connect, .connected = door_connected, .recv = door_recv, .send = door_send, .close = door_close, .wait = door_wait,
		.vfs = n->vfs, .exclusive = true, .fatal = door_fatal, .log = door_log, .point = door_point };
	w->nodes[w->nodes_count++] = n;
	return n;
}

const char *node_name(const struct node *n) { return n->name; }
int node_number(const struct node *n) { return n->number; }
const struct env *node_env(const struct node *n) { return &n->env; }
struct simdisk *node_disk(struct node *n) { return n->disk; }
bool node_up(const struct node *n) { return n->up; }
int node_died_at(const struct node *n) { return n->died_at; }
bool node_sync_failed(const struct node *n) { return n->sync_failed; }
int64_t node_syncs(const struct node *n) { return n->syncs; }
int64_t node_refusals(const struct node *n) { return n->refusals; }
void node_die_in(struct node *n, int64_t acts) { n->die_in = acts; }
void node_fail_sync_in(struct node *n, int64_t syncs) { n->fail_sync_in = syncs; }
void node_wall(struct node *n, int64_t ms) { n->wall_ms += ms; }
void node_disk_full(struct node *n, bool full) { n->disk_full = full; }
void node_slow(struct node *n, int64_t us) { n->slow_us = us; }
void node_wake(struct node *n) { n->poked = true; }

void node_pause(struct node *n, int64_t us)
{
	n->paused_us = n->world->now_us + us;
}

void node_cut_off(struct node *n, int64_t us)
{
	n->cut_off_us = n->world->now_us + us;
}

bool node_begin(struct node *n, void (*make)(void *arg), void *arg)
{
	bool good;

	must(!n->inside && !n->up);
	n->up = true;
	n->dying = n->sync_failed = n->poked = false;
	n->died_at = -1;
	n->paused_us = n->ahead_us = 0;
	n->planned_us = INT64_MAX;
	n->inside = true;
	if (setjmp(n->back) == 0)
		make(arg);
	n->inside = false;
	good = !n->dying;
	if (!good)
		n->up = false;
	return good;
}

void node_live(struct node *n, struct loop *loop)
{
	n->loop = loop;
	n->poked = true;
}

void node_end(struct node *n, bool power)
{
	n->up = false;
	n->loop = NULL;
	for (int fd = FIRST_FD; fd < FDS; fd++)
		if (n->socks[fd])
			sock_close(n->socks[fd], power);
}

bool node_leave(struct node *n, void (*unmake)(void *arg), void *arg)
{
	volatile bool whole = false;

	must(!n->inside);
	n->inside = true;
	if (setjmp(n->back) == 0) {
		unmake(arg);
		whole = true;
	}
	n->inside = false;
	return whole;
}

static void died(struct node *n)
{
	n->up = false;
	n->world->hooks.died(n->world->hooks.arg, n);
}

void node_do(struct node *n, void (*act)(void *arg), void *arg)
{
	must(n->up && !n->inside);
	n->inside = true;
	if (setjmp(n->back) == 0)
		act(arg);
	n->inside = false;
	n->poked = true;
	if (n->dying)
		died(n);
}

void node_shut(struct node *n)
{
	die(n, -1);
	node_end(n, true);
}

static void kill_later(void *arg, int64_t n)
{
	(void)n;
	node_kill(arg);
}

/* A node that is ahead has lived on to that instant already (W1). */
void node_kill(struct node *n)
{
	must(!n->inside);
	if (!n->up)
		return;
	if (n->ahead_us > n->world->now_us) {
		world_at(n->world, n->ahead_us, kill_later, n, 0);
		return;
	}
	die(n, -1);
	died(n);
}

/* A node that is turned again and again in one instant and never done. */
static bool spins(struct node *n)
{
	n->spins = n->spin_us == n->world->now_us ? n->spins + 1 : 0;
	n->spin_us = n->world->now_us;
	return n->spins > SPINS_MAX;
}

static int64_t worked_us(const struct node *n)
{
	int64_t us = node_now_us(n) - n->turned_us;

	return us > LOOP_WORK_US ? us : 0;
}

int64_t node_deaf_us(const struct node *n) { return n->deaf_us + (n->inside ? worked_us(n) : 0); }

/* What the loop under test finds out for itself is found out here once more: how much later than it meant to it is turned. */
static void turn_begins(struct node *n)
{
	int64_t meant = n->planned_us > n->ended_us ? n->planned_us : n->ended_us;

	n->turned_us = node_now_us(n);
	if (n->turned_us > meant)
		n->deaf_us += n->turned_us - meant;
}

static void turn_ended(struct node *n)
{
	n->deaf_us += worked_us(n);
	n->planned_us = n->dying ? INT64_MAX : loop_due_us(n->loop);
	n->ended_us = node_now_us(n);
}

/* Turned until a turn has had nothing to do: what a turn begins to watch may be ready at once. */
static void turn(struct node *n)
{
	volatile bool timed = loop_due_us(n->loop) <= node_now_us(n);

	turn_begins(n);
	n->inside = true;
	if (setjmp(n->back) == 0)
		loop_turn(n->loop, INT64_MAX);
	n->inside = false;
	turn_ended(n);
	n->poked = n->poked || timed;
	if (!n->dying && n->sync_failed)
		n->world->hooks.broken(n->world->hooks.arg, "a node lived on after a failed sync");
	if (n->dying)
		died(n);
	else if (spins(n))
		n->world->hooks.broken(n->world->hooks.arg, "a node spins");
}

/* When its next turn is due. */
static int64_t due(const struct node *n)
{
	int64_t when = n->poked ? n->world->now_us : loop_due_us(n->loop);

	if (when < n->paused_us)
		when = n->paused_us;
	return when < n->ahead_us ? n->ahead_us : when;
}

/* worlds */

struct world *world_new(uint64_t seed, const struct world_hooks *hooks)
{
	struct world *w = mem_new(sizeof *w);

	w->random = seed * UINT64_C(0xd1342543de82ef95) + 1;
	w->now_us = 1000000;
	w->hooks = *hooks;
	return w;
}

static void event_free(struct event *e)
{
	free(e->bytes);
	if (e->sock)
		unref(e->sock);
	if (e->from)
		unref(e->from);
}

static void event_run(struct world *w)
{
	struct event e = event_take(w);

	w->now_us = e.when_us;
	if (e.kind == EVENT_CALL) {
		e.call(e.arg, e.value);
		return;
	}
	arrive(w, &e);
	event_free(&e);
}

static struct node *next_node(struct world *w, int64_t *when)
{
	struct node *best = NULL;

	*when = INT64_MAX;
	for (int i = 0; i < w->nodes_count; i++) {
		struct node *n = w->nodes[i];
		int64_t at = n->up && n->loop ? due(n) : INT64_MAX;
		if (at >= *when)
			continue;
		*when = at;
		best = n;
	}
	return best;
}

bool world_run(struct world *w, int64_t until_us)
{
	int64_t when, event_us;

	while (!w->stopped) {
		struct node *n = next_node(w, &when);
		event_us = w->heap_count ? w->heap[0].when_us : INT64_MAX;
		if (when > until_us && event_us > until_us)
			break;
		if (event_us <= when) {
			event_run(w);
			continue;
		}
		if (when > w->now_us)
			w->now_us = when;
		turn(n);
	}
	if (!w->stopped && w->now_us < until_us)
		w->now_us = until_us;
	return !w->stopped;
}

void world_free(struct world *w)
{
	for (int i = 0; i < w->nodes_count; i++)
		node_end(w->nodes[i], true);
	while (w->heap_count > 0) {
		struct event e = event_take(w);
		event_free(&e);
	}
	for (int i = 0; i < w->nodes_count; i++) {
		simdisk_free(w->nodes[i]->disk);
		free(w->nodes[i]);
	}
	free(w->heap);
	free(w);
}
