/* loop: select(), timers, signals, children. Raw readiness only: who owns a descriptor reads and writes it.
 * A turn: wait; input and output callbacks; timers that are due; then the hooks given to loop_after, which commit and let go (G1).
 * Readable input is always handled before a timer fires (G8). */
#ifndef LOOP_H
#define LOOP_H
#include "env.h"

#define LOOP_READ 1u
#define LOOP_WRITE 2u
struct loop;
typedef void loop_ready(void *arg, unsigned what);             /* what: LOOP_READ | LOOP_WRITE */
typedef void loop_fire(void *arg);

struct loop *loop_new(const struct env *);                     /* env must outlive it */
void loop_free(struct loop *);                                 /* closes nothing it does not own */

/* Watches fd for what is in want (0: nothing for now), or changes that. fd must be below FD_SETSIZE. One watch a descriptor. */
void loop_watch(struct loop *, int fd, unsigned want, loop_ready *, void *arg);
void loop_forget(struct loop *, int fd);                       /* before closing it; a callback may forget any descriptor, its own too */

/* Timers live in their owners: all zero is off. Instants are env's mono_us. A timer is off while it fires; setting one again moves it. */
struct loop_timer { int64_t due_us; size_t place; loop_fire *fire; void *arg; };
void loop_timer_set(struct loop *, struct loop_timer *, int64_t due_us, loop_fire *, void *arg);
void loop_timer_off(struct loop *, struct loop_timer *);

void loop_after(struct loop *, loop_fire *, void *arg);        /* at the end of every turn, in the order given; at most 4 */
void loop_again(struct loop *);                                /* the next turn does not wait: there is work left */

void loop_turn(struct loop *, int64_t until_us);               /* one turn; waits no longer than until_us (INT64_MAX: no bound) */
int64_t loop_due_us(const struct loop *);                      /* when it would wake by itself; INT64_MAX: never */
int64_t loop_now_us(const struct loop *);                      /* env's clock, read when this turn's wait ended */
/* Lease time stops while this process is deaf (G8): how long it has been so, in all. Counted: waking later than intended (stopped, starved), and any
 * turn's work over LOOP_WORK_US. A lease's end is judged on loop_now_us - loop_deaf_us. */
#define LOOP_WORK_US 100000
int64_t loop_deaf_us(const struct loop *);

void loop_signal(struct loop *, int signo, loop_fire *, void *arg);   /* the process's signals: for one loop a process. Taken only while waiting */
typedef void loop_exited(void *arg, int status);               /* waitpid's status */
void loop_child(struct loop *, pid_t, loop_exited *, void *arg);      /* reaps it, calls once; fn NULL: reap and forget. Needs loop_signals_children first */
void loop_children(struct loop *);                             /* takes SIGCHLD; once, in programs that fork */
#endif
