/* dispatch: the server's memory: which rows are ready, whose lease ends when, who was heard when. Nothing here is the truth: the store is, and
 * dispatch_load makes all of it anew. The ready queue is bounded:
 *   D1  it holds every PENDING row up to `horizon`; rows beyond stand in the store only and are fetched in row order;
 *   D2  it may hold rows that are no longer PENDING: whoever takes one looks at the row itself.
 * Leases run on a clock that stops while the server is deaf, so a timer may fire early: then it is set again. */
#include "dispatch.h"
#include <stdlib.h>
#include <string.h>

#define READY_MAX 4096
#define READY_FETCH 1024
#define HEARD_MAX 16384                /* beyond, those silent for a lease and holding no poll are forgotten */

struct link { struct link *next; uint64_t hash; };
struct table { struct link **heads; size_t size, count; };
struct lease { struct link link; int64_t row, end_us; struct loop_timer timer; struct dispatch *home; };
struct heard_link { struct link link; struct heard heard; };

struct dispatch {
	struct loop *loop;
	struct store *store;
	int64_t lease_us;
	dispatch_expired *expired;
	void *arg;
	uint64_t seed;
	int64_t *ready;                    /* a binary heap, smallest row first */
	size_t ready_count, ready_room;
	int64_t horizon, newest;           /* newest: the largest row ever put in */
	struct table leases, heard;
};

/* Hash tables of links that stand in what they hold. */

static void table_grow(struct table *t)
{
	size_t size = t->size ? t->size * 2 : 64;
	struct link **heads = mem_new(size * sizeof *heads);

	for (size_t i = 0; i < t->size; i++) {
		for (struct link *l = t->heads[i], *next; l; l = next) {
			next = l->next;
			l->next = heads[l->hash % size];
			heads[l->hash % size] = l;
		}
	}
	free(t->heads);
	t->heads = heads;
	t->size = size;
}

static void table_add(struct table *t, struct link *l, uint64_t hash)
{
	if (t->count >= t->size)
		table_grow(t);
	l->hash = hash;
	l->next = t->heads[hash % t->size];
	t->heads[hash % t->size] = l;
	t->count++;
}

static struct link *table_first(const struct table *t, uint64_t hash)
{
	return t->size ? t->heads[hash % t->size] : NULL;
}

static void table_remove(struct table *t, struct link *l)
{
	struct link **at = &t->heads[l->hash % t->size];

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	t->count--;
}

/* The ready queue. */

static void ready_push(struct dispatch *d, int64_t row)
{
	size_t i = d->ready_count++;

	if (d->ready_count > d->ready_room) {
		d->ready_room = d->ready_room ? d->ready_room * 2 : 256;
		d->ready = mem_resize(d->ready, d->ready_room * sizeof *d->ready);
	}
	for (; i > 0 && d->ready[(i - 1) / 2] > row; i = (i - 1) / 2)
		d->ready[i] = d->ready[(i - 1) / 2];
	d->ready[i] = row;
	if (row > d->newest)
		d->newest = row;
}

static int64_t ready_pop(struct dispatch *d)
{
	int64_t least = d->ready[0], last = d->ready[--d->ready_count];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < d->ready_count) {
		if (child + 1 < d->ready_count && d->ready[child + 1] < d->ready[child])
			child++;
		if (d->ready[child] >= last)
			break;
		d->ready[i] = d->ready[child];
		i = child;
	}
	d->ready[i] = last;
	return least;
}

/* A new row beyond a full queue stays in the store (D1); an older one that is requeued always finds room. */
static void ready_add(struct dispatch *d, int64_t row)
{
	if (row > d->horizon)
		return;
	if (d->ready_count >= READY_MAX && row > d->newest) {
		d->horizon = row - 1;
		return;
	}
	ready_push(d, row);
}

static void ready_fetch(struct dispatch *d)
{
	int64_t rows[READY_FETCH];
	int n = store_pending(d->store, d->horizon, rows, READY_FETCH);

	for (int i = 0; i < n; i++)
		ready_push(d, rows[i]);
	d->horizon = n == READY_FETCH ? rows[n - 1] : INT64_MAX;
}

int64_t dispatch_take(struct dispatch *d)
{
	if (d->ready_count == 0 && d->horizon != INT64_MAX)
		ready_fetch(d);
	return d->ready_count ? ready_pop(d) : 0;
}

/* Leases. */

int64_t dispatch_clock_us(const struct dispatch *d)
{
	return loop_now_us(d->loop) - loop_deaf_us(d->loop);
}

static uint64_t row_hash(const struct dispatch *d, int64_t row)
{
	return hash_bytes(&row, sizeof row, d->seed);
}

static struct lease *lease_find(struct dispatch *d, int64_t row)
{
	for (struct link *l = table_first(&d->leases, row_hash(d, row)); l; l = l->next)
		if (((struct lease *)l)->row == row)
			return (struct lease *)l;
	return NULL;
}

static void lease_drop(struct lease *l)
{
	loop_timer_off(l->home->loop, &l->timer);
	table_remove(&l->home->leases, &l->link);
	free(l);
}

static void lease_due(void *arg)
{
	struct lease *l = arg;
	struct dispatch *d = l->home;
	int64_t row = l->row;

	if (dispatch_clock_us(d) < l->end_us) {
		loop_timer_set(d->loop, &l->timer, l->end_us + loop_deaf_us(d->loop), lease_due, l);
		return;
	}
	lease_drop(l);
	d->expired(d->arg, row);
}

static void lease_set(struct dispatch *d, int64_t row, int64_t lease_ms)
{
	struct lease *l = lease_find(d, row);

	if (!l) {
		l = mem_new(sizeof *l);
		l->row = row;
		l->home = d;
		table_add(&d->leases, &l->link, row_hash(d, row));
	}
	l->end_us = dispatch_clock_us(d) + (lease_ms ? lease_ms * 1000 : d->lease_us);
	loop_timer_set(d->loop, &l->timer, l->end_us + loop_deaf_us(d->loop), lease_due, l);
}

void dispatch_renew(struct dispatch *d, const struct command *c)
{
	must(c->status == STATUS_RUNNING);
	lease_set(d, c->row, c->lease_ms);
}

void dispatch_note(struct dispatch *d, const struct command *c)
{
	struct lease *l = lease_find(d, c->row);

	if (l && c->status != STATUS_RUNNING)
		lease_drop(l);
	if (!l && c->status == STATUS_RUNNING)
		lease_set(d, c->row, c->lease_ms);
	if (c->status == STATUS_PENDING)
		ready_add(d, c->row);
}

static void leases_clear(struct dispatch *d)
{
	for (size_t i = 0; i < d->leases.size; i++)
		while (d->leases.heads[i])
			lease_drop((struct lease *)d->leases.heads[i]);
}

/* Who was heard. */

static struct heard_link *heard_find(struct dispatch *d, const char *agent_id, uint64_t hash)
{
	for (struct link *l = table_first(&d->heard, hash); l; l = l->next)
		if (l->hash == hash && strcmp(((struct heard_link *)l)->heard.agent_id, agent_id) == 0)
			return (struct heard_link *)l;
	return NULL;
}

static void heard_prune(struct dispatch *d)
{
	for (size_t i = 0; i < d->heard.size; i++) {
		for (struct link *l = d->heard.heads[i], *next; l; l = next) {
			struct heard_link *h = (struct heard_link *)l;
			next = l->next;
			if (h->heard.parked || dispatch_live(d, &h->heard))
				continue;
			table_remove(&d->heard, l);
			free(h);
		}
	}
}

struct heard *dispatch_heard(struct dispatch *d, const char *agent_id, bool make)
{
	size_t n = strlen(agent_id);
	uint64_t hash = hash_bytes(agent_id, n, d->seed);
	struct heard_link *h = heard_find(d, agent_id, hash);

	if (h || !make)
		return h ? &h->heard : NULL;
	if (d->heard.count >= HEARD_MAX && d->heard.count == d->heard.size)
		heard_prune(d);
	h = mem_new(sizeof *h + n + 1);
	h->heard.agent_id = memcpy((char *)(h + 1), agent_id, n + 1);
	table_add(&d->heard, &h->link, hash);
	return &h->heard;
}

void dispatch_heard_walk(struct dispatch *d, dispatch_heard_each *each, void *arg)
{
	for (size_t i = 0; i < d->heard.size; i++)
		for (struct link *l = d->heard.heads[i]; l; l = l->next)
			each(arg, &((struct heard_link *)l)->heard);
}

bool dispatch_live(const struct dispatch *d, const struct heard *h)
{
	return dispatch_clock_us(d) - h->at_us < d->lease_us;
}

/* Making, loading, ending. */

struct dispatch *dispatch_new(struct loop *loop, const struct env *env, struct store *store, int64_t lease_ms, dispatch_expired *expired, void *arg)
{
	struct dispatch *d = mem_new(sizeof *d);

	d->loop = loop;
	d->store = store;
	d->lease_us = lease_ms * 1000;
	d->expired = expired;
	d->arg = arg;
	env->random(env->world, &d->seed, sizeof d->seed);
	dispatch_load(d);
	return d;
}

static void load_lease(void *arg, int64_t row, int64_t lease_ms, const char *journal_id, const char *boot_id)
{
	(void)journal_id;
	(void)boot_id;
	lease_set(arg, row, lease_ms);
}

void dispatch_load(struct dispatch *d)
{
	for (size_t i = 0; i < d->heard.size; i++)
		for (struct link *l = d->heard.heads[i]; l; l = l->next)
			((struct heard_link *)l)->heard.stored = false;
	d->ready_count = 0;
	d->horizon = d->newest = 0;
	leases_clear(d);
	store_running(d->store, load_lease, d);
}

void dispatch_free(struct dispatch *d)
{
	if (!d)
		return;
	leases_clear(d);
	for (size_t i = 0; i < d->heard.size; i++) {
		for (struct link *l = d->heard.heads[i], *next; l; l = next) {
			next = l->next;
			free(l);
		}
	}
	free(d->leases.heads);
	free(d->heard.heads);
	free(d->ready);
	free(d);
}
