/* world: one seeded world for several nodes in one process: a clock that moves from event to event, a network of streams that delays, stalls, cuts and
 * refuses, and for each node the doors of env, a disk, and an end that may come at any write, sync, send or point. The same seed gives the same history.
 * Knows no commands and no HTTP. Between events the caller is alone: nodes run only inside world_run. */
#ifndef WORLD_H
#define WORLD_H
#include "../loop.h"
#include "simdisk.h"

struct world;
struct node;

enum world_op { OP_WRITE, OP_SYNC, OP_SEND, OP_POINT, OP_COUNT = OP_POINT + POINT_COUNT };   /* where a node may die; OP_POINT + an env_point */
enum world_fault { FAULT_REFUSED, FAULT_UNANSWERED, FAULT_CUT_RESET, FAULT_CUT_END, FAULT_CUT_SILENT, FAULT_LATE, FAULT_PARTITION, FAULT_PAUSE, FAULT_WALL_JUMP,
	FAULT_DISK_FULL, FAULT_SYNC_FAILED, FAULT_SYNC_SLOW, FAULT_POWER_CUT, FAULT_KILLED, FAULT_REPLAY, FAULT_JOURNAL_LOST, FAULT_JOURNAL_PUT_BACK, FAULT_JOURNAL_COPIED,
	FAULT_TWINS, FAULT_DATABASE_COPIED, FAULT_DATABASE_PUT_BACK, FAULT_RESUMED, FAULT_STOPPED, FAULT_COUNT };
const char *world_op_text(int op);
const char *world_fault_text(enum world_fault);

struct world_hooks {
	void *arg;
	void (*died)(void *arg, struct node *);                    /* its loop will not be turned again; torn down by the caller now */
	void (*point)(void *arg, struct node *, enum env_point, const char *id, int64_t attempt);
	void (*log)(void *arg, struct node *, const char *line);
	void (*heard)(void *arg, struct node *, int64_t stream, const void *p, size_t n);   /* bytes that a node has read, */
	void (*said)(void *arg, struct node *, int64_t stream, const void *p, size_t n);    /* handed to the network, */
	void (*hung)(void *arg, struct node *, int64_t stream);                             /* and a stream that it has closed */
	void (*broken)(void *arg, const char *what);               /* the world itself finds fault: a node that spins, or ends for no reason */
};

struct world *world_new(uint64_t seed, const struct world_hooks *);
void world_free(struct world *);                               /* nodes and disks too; loops are the caller's */
int64_t world_now_us(const struct world *);
uint64_t world_any(struct world *);
int64_t world_between(struct world *, int64_t least, int64_t most);
bool world_chance(struct world *, int per_mille);
void world_trouble(struct world *, int per_mille);             /* how bad the network is; 0: healthy from now on */
void world_count(struct world *, enum world_fault);
void world_counts(const struct world *, int64_t crashes[OP_COUNT], int64_t faults[FAULT_COUNT]);   /* added to what is there */

typedef void world_event(void *arg, int64_t n);
void world_at(struct world *, int64_t when_us, world_event *, void *arg, int64_t n);
bool world_run(struct world *, int64_t until_us);              /* false: world_stop was called */
void world_stop(struct world *);

struct node *world_node(struct world *, const char *name);     /* name must outlive it */
const char *node_name(const struct node *);
int node_number(const struct node *);
const struct env *node_env(const struct node *);
struct simdisk *node_disk(struct node *);
int64_t node_now_us(const struct node *);
bool node_up(const struct node *);
bool node_begin(struct node *, void (*make)(void *arg), void *arg);   /* runs make under the node's name; false: it died in it (died was not called) */
bool node_leave(struct node *, void (*unmake)(void *arg), void *arg);   /* takes apart what a dead node left; false: not to the end */
void node_do(struct node *, void (*act)(void *arg), void *arg);   /* something is asked of a living node from outside, as by a signal */
void node_live(struct node *, struct loop *);                  /* from now on its loop is turned */
void node_wake(struct node *);                                 /* something was asked of it from outside: it is given a turn */
void node_end(struct node *, bool power);                      /* its sockets are gone; power: without a word */
void node_shut(struct node *);                                 /* dead, and nobody is told: for the end of a world */
void node_kill(struct node *);                                 /* dies now; died is called */
void node_die_in(struct node *, int64_t ops);                  /* at the so manieth write, sync, send or point from now; 0: never */
void node_fail_sync_in(struct node *, int64_t syncs);          /* 0: never */
void node_pause(struct node *, int64_t us);
void node_cut_off(struct node *, int64_t us);                  /* what goes to it or comes from it waits that long */
void node_wall(struct node *, int64_t ms);                     /* its wall clock jumps */
void node_disk_full(struct node *, bool);
void node_slow(struct node *, int64_t us);                     /* one sync in a hundred takes up to that long; 0: none */
int node_died_at(const struct node *);                         /* the op, or -1: killed, or by itself */
bool node_sync_failed(const struct node *);
int64_t node_syncs(const struct node *);                        /* done so far, over all its lives; */
int64_t node_refusals(const struct node *);                     /* and writes for which there was no room */
int64_t node_deaf_us(const struct node *);                     /* how long it was not turned while it had meant to be, all in all */
#endif
