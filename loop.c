/* loop: select(), timers, signals, children. Owns who waits for what; owns no descriptor, reads and writes nothing.
 * L1  A turn is: wait, input and output, signals, children, timers that are due, the hooks of loop_after. Input goes first, since it may be the very
 *     news that a timer is about to miss (G8); so an interrupted wait is asked again, for select then says nothing of descriptors.
 * L2  A watch made during a turn is not called in it: a descriptor closed and opened again under its number gets no readiness of the old one.
 * L3  Of equal timers the one set first fires first. A timer set while timers fire is the next turn's; so is what is due beyond TIMERS_MAX, lest
 *     a hundred thousand leases that end together keep everybody waiting.
 * L4  The lease clock, loop_now_us - loop_deaf_us, never goes back: what is added to the deaf time is never more than passed since. */
#include "loop.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define AFTER_MAX 4
#define TIMERS_MAX 512                 /* fired a turn: some 10 ms when each is a lease */
#define SIGNALS_MAX 8
#define SIGNO_MAX 64
#define NEVER INT64_MAX

struct watch {
	loop_ready *ready;                                         /* NULL: nobody watches */
	void *arg;
	unsigned want;
	uint64_t since;                                            /* the turn it was made in (L2) */
};
struct entry { int64_t due_us; uint64_t order; struct loop_timer *timer; };
struct hook { loop_fire *fire; void *arg; };
struct taken { int signo; struct hook hook; };
struct child { pid_t pid; loop_exited *exited; void *arg; };

struct loop {
	const struct env *env;
	struct watch watches[FD_SETSIZE];
	int top;                                                   /* one above the highest watched descriptor */
	fd_set rd, wr;                                             /* what all watches want */
	struct entry *heap;                                        /* from 1 on: place 0 means off */
	size_t heap_count, heap_room;
	uint64_t order, turn;
	bool firing, again;
	int64_t now_us, deaf_us;
	int64_t planned_us, ended_us;                              /* of the turn before: when it meant to wake, and when its work was done */
	struct hook after[AFTER_MAX];
	int after_count;
	struct taken signals[SIGNALS_MAX];
	int signals_count;
	struct child *children;
	size_t children_count, children_room;
};

/* Signals are the process's, so is this. */
static volatile sig_atomic_t caught[SIGNO_MAX + 1];

struct loop *loop_new(const struct env *env)
{
	struct loop *l = mem_new(sizeof *l);

	l->env = env;
	l->now_us = env->mono_us(env->world);
	l->planned_us = NEVER;
	l->ended_us = l->now_us;
	FD_ZERO(&l->rd);
	FD_ZERO(&l->wr);
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	free(l->heap);
	free(l->children);
	free(l);
}

/* descriptors */

static void want_bit(fd_set *set, int fd, bool on)
{
	if (on)
		FD_SET(fd, set);
	else
		FD_CLR(fd, set);
}

void loop_watch(struct loop *l, int fd, unsigned want, loop_ready *ready, void *arg)
{
	must(fd >= 0 && fd < FD_SETSIZE && ready);
	struct watch *w = &l->watches[fd];

	if (!w->ready)
		w->since = l->turn;
	w->ready = ready;
	w->arg = arg;
	w->want = want;
	want_bit(&l->rd, fd, want & LOOP_READ);
	want_bit(&l->wr, fd, want & LOOP_WRITE);
	if (fd >= l->top)
		l->top = fd + 1;
}

void loop_forget(struct loop *l, int fd)
{
	must(fd >= 0 && fd < FD_SETSIZE);
	l->watches[fd] = (struct watch){0};
	want_bit(&l->rd, fd, false);
	want_bit(&l->wr, fd, false);
	while (l->top > 0 && !l->watches[l->top - 1].ready)
		l->top--;
}

/* One descriptor's callback; what it wants may have changed since the wait. */
static void call_ready(struct loop *l, int fd, unsigned what)
{
	struct watch *w = &l->watches[fd];

	what &= w->want;
	if (what && w->ready && w->since < l->turn)
		w->ready(w->arg, what);
}

static void run_ready(struct loop *l, int count, const fd_set *rd, const fd_set *wr)
{
	for (int fd = 0; fd < l->top && count > 0; fd++) {
		unsigned what = (FD_ISSET(fd, rd) ? LOOP_READ : 0) | (FD_ISSET(fd, wr) ? LOOP_WRITE : 0);

		count -= (what & LOOP_READ ? 1 : 0) + (what & LOOP_WRITE ? 1 : 0);
		if (what)
			call_ready(l, fd, what);
	}
}

/* timers */

static bool sooner(const struct entry *a, const struct entry *b)
{
	return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void put(struct loop *l, size_t place, struct entry e)
{
	l->heap[place] = e;
	e.timer->place = place;
}

/* Moves e up or down from a free place to where it belongs. */
static void settle(struct loop *l, size_t place, struct entry e)
{
	size_t child;

	for (; place > 1 && sooner(&e, &l->heap[place / 2]); place /= 2)
		put(l, place, l->heap[place / 2]);
	while ((child = 2 * place) <= l->heap_count) {
		if (child < l->heap_count && sooner(&l->heap[child + 1], &l->heap[child]))
			child++;
		if (!sooner(&l->heap[child], &e))
			break;
		put(l, place, l->heap[child]);
		place = child;
	}
	put(l, place, e);
}

void loop_timer_off(struct loop *l, struct loop_timer *t)
{
	size_t place = t->place;

	if (place == 0)
		return;
	must(place <= l->heap_count && l->heap[place].timer == t);
	t->place = 0;
	struct entry last = l->heap[l->heap_count--];
	if (last.timer != t)
		settle(l, place, last);
}

void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t due_us, loop_fire *fire, void *arg)
{
	/* While timers fire nothing new may stand before those that were due already (L3). */
	struct entry e = { l->firing && due_us < l->now_us ? l->now_us : due_us, l->order++, t };

	loop_timer_off(l, t);
	t->due_us = due_us;
	t->fire = fire;
	t->arg = arg;
	if (l->heap_count + 1 >= l->heap_room) {
		l->heap_room = l->heap_room ? l->heap_room * 2 : 64;
		l->heap = mem_resize(l->heap, l->heap_room * sizeof *l->heap);
	}
	settle(l, ++l->heap_count, e);
}

static void run_timers(struct loop *l)
{
	uint64_t fresh = l->order;
	int left = TIMERS_MAX;

	l->firing = true;
	while (left-- > 0 && l->heap_count > 0 && l->heap[1].due_us <= l->now_us && l->heap[1].order < fresh) {
		struct loop_timer *t = l->heap[1].timer;
		loop_timer_off(l, t);
		t->fire(t->arg);
	}
	l->firing = false;
}

/* signals and children */

static void catch(int signo)
{
	caught[signo] = 1;
}

void loop_signal(struct loop *l, int signo, loop_fire *fire, void *arg)
{
	struct sigaction action;
	sigset_t set;

	must(signo > 0 && signo <= SIGNO_MAX && l->signals_count < SIGNALS_MAX);
	l->signals[l->signals_count++] = (struct taken){ signo, { fire, arg } };
	memset(&action, 0, sizeof action);
	action.sa_handler = catch;
	sigfillset(&action.sa_mask);
	sigemptyset(&set);
	must(sigaddset(&set, signo) == 0);
	must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	must(sigaction(signo, &action, NULL) == 0);
}

/* A select() that finds a descriptor ready need not take pending signals: under steady load they would never come. */
static void take_pending(struct loop *l)
{
	sigset_t pending, ours, before;
	bool any = false;

	must(sigpending(&pending) == 0);
	sigemptyset(&ours);
	for (int i = 0; i < l->signals_count; i++) {
		if (sigismember(&pending, l->signals[i].signo) != 1)
			continue;
		any = true;
		must(sigaddset(&ours, l->signals[i].signo) == 0);
	}
	if (!any)
		return;
	must(sigprocmask(SIG_UNBLOCK, &ours, &before) == 0);
	must(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
}

static void run_signals(struct loop *l)
{
	if (l->signals_count > 0)
		take_pending(l);
	for (int i = 0; i < l->signals_count; i++) {
		struct taken *s = &l->signals[i];
		if (!caught[s->signo])
			continue;
		caught[s->signo] = 0;
		s->hook.fire(s->hook.arg);
	}
}

static struct child *child_find(struct loop *l, pid_t pid)
{
	for (size_t i = 0; i < l->children_count; i++)
		if (l->children[i].pid == pid)
			return &l->children[i];
	return NULL;
}

void loop_child(struct loop *l, pid_t pid, loop_exited *exited, void *arg)
{
	struct child *c = child_find(l, pid);

	must(pid > 0);
	if (!c && l->children_count == l->children_room) {
		l->children_room = l->children_room ? l->children_room * 2 : 8;
		l->children = mem_resize(l->children, l->children_room * sizeof *l->children);
	}
	if (!c)
		c = &l->children[l->children_count++];
	*c = (struct child){ pid, exited, arg };
}

/* The callback may register others, so the list is looked at anew each time. */
static void run_children(void *arg)
{
	struct loop *l = arg;

	for (size_t i = 0; i < l->children_count; ) {
		struct child c = l->children[i];
		int status = 0;
		pid_t got = waitpid(c.pid, &status, WNOHANG);
		must(got == 0 || got == c.pid);
		if (got == 0) {
			i++;
			continue;
		}
		l->children[i] = l->children[--l->children_count];
		if (c.exited)
			c.exited(c.arg, status);
	}
}

void loop_children(struct loop *l)
{
	loop_signal(l, SIGCHLD, run_children, l);
}

/* turns */

void loop_after(struct loop *l, loop_fire *fire, void *arg)
{
	must(l->after_count < AFTER_MAX);
	l->after[l->after_count++] = (struct hook){ fire, arg };
}

void loop_again(struct loop *l)
{
	l->again = true;
}

int64_t loop_due_us(const struct loop *l)
{
	if (l->again)
		return l->now_us;
	return l->heap_count ? l->heap[1].due_us : NEVER;
}

int64_t loop_now_us(const struct loop *l)
{
	return l->now_us;
}

int64_t loop_deaf_us(const struct loop *l)
{
	return l->deaf_us;
}

static int wait_ready(struct loop *l, int64_t until_us, fd_set *rd, fd_set *wr)
{
	int64_t due_us = loop_due_us(l), now_us = l->env->mono_us(l->env->world), timeout_us = -1;
	int count;

	if (until_us < due_us)
		due_us = until_us;
	if (due_us != NEVER)
		timeout_us = due_us > now_us ? due_us - now_us : 0;
	if (l->again)
		timeout_us = 0;
	do {
		*rd = l->rd;
		*wr = l->wr;
		count = l->env->wait(l->env->world, l->top, rd, wr, timeout_us);
		timeout_us = 0;
	} while (count < 0 && errno == EINTR);
	must(count >= 0);
	return count;
}

/* At the wake: the time since the plan of the turn before, and that turn's work if it was long (G8, L4). */
static void count_deaf(struct loop *l, int64_t until_us)
{
	int64_t meant_us = l->planned_us < until_us ? l->planned_us : until_us, worked_us = l->ended_us - l->now_us;

	l->now_us = l->env->mono_us(l->env->world);
	if (meant_us < l->ended_us)
		meant_us = l->ended_us;
	if (l->now_us > meant_us)
		l->deaf_us += l->now_us - meant_us;
	if (worked_us > LOOP_WORK_US)
		l->deaf_us += worked_us;
}

void loop_turn(struct loop *l, int64_t until_us)
{
	fd_set rd, wr;
	int count = wait_ready(l, until_us, &rd, &wr);

	count_deaf(l, until_us);
	l->again = false;
	l->turn++;
	run_ready(l, count, &rd, &wr);
	run_signals(l);
	run_timers(l);
	for (int i = 0; i < l->after_count; i++)
		l->after[i].fire(l->after[i].arg);
	/* Kept now, not looked at when the next turn begins: whoever calls may be the one who is late. */
	l->planned_us = loop_due_us(l);
	l->ended_us = l->env->mono_us(l->env->world);
}
