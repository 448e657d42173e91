/* sim_nodes: the nodes of a run that are under test: the server and the agents are made, die at any point, lose or get back their disks, and start again. What
 * is shared by the two files of a run stands here: the run itself. */
#ifndef SIM_NODES_H
#define SIM_NODES_H
#include "cast.h"
#include "shelf.h"
#include "sim.h"
#include "../api.h"
#include "../poll.h"

#define AGENTS_MAX 4
#define CLIENTS_MAX 3
#define COMMANDS 50

struct sim;
struct server { struct sim *sim; struct node *node; struct loop *loop; struct store *store; struct api *api; };
struct agent {
	struct sim *sim;
	struct node *node;
	char name[24];
	const char *as;                                            /* the name it polls under */
	int slots, file;                                           /* file: its journal's, as the checker counts them */
	struct loop *loop;
	struct journal *journal;
	struct poll *poll;
	int64_t syncs[CHECKER_MAX], refusals[CHECKER_MAX];         /* by command: the disk's when a record of it was about to be written */
	int told;                                                  /* which putting back of the database its process has heard of; 0: of none */
	int64_t told_refusals;                                     /* what its disk had refused by then */
	bool over;                                                 /* its turns are at their end: stopped, or fenced */
	bool was_fenced;                                           /* it has ended so, and is started again without a new journal */
	bool put_back;                                             /* its journal is an old one: left alone until it is fenced */
};

struct sim {
	uint64_t seed;
	bool verbose, still, healed, failed;                       /* still: the same world, and no wall clock jumps */
	struct world *world;
	struct checker *checker;
	struct tap *tap;
	struct shelf *shelf;
	struct server server;
	struct agent agents[AGENTS_MAX];
	int agents_count;
	struct client *clients[CLIENTS_MAX];
	int clients_count;
	struct script *script;
	struct target *target;
	struct proxy *proxy;
	struct http_url url;
	int64_t lease_ms, interval_ms, max_attempts, heal_us;
	int next, trouble, crashing, replays, put_backs_count, restore_of;
	uint64_t restore;                                          /* what the server calls the state that it is in, and after how many put back */
	bool replay_polls, put_backs, copies, twins, lost, full, put_back, copied, resuming;   /* what may happen, and what has */
	int64_t started_us;                                        /* when the last node started */
	struct buf history;
	struct cover *cover;
};

void sim_note(struct sim *, const char *who, const char *fmt, ...) UTIL_PRINTF(3, 4);
struct agent *sim_agent(struct sim *, const struct node *);    /* NULL: it is none */
void sim_died(void *sim, struct node *);                       /* takes it apart, and starts it later */
void sim_start_later(struct sim *, struct node *);
void sim_start(void *sim, int64_t number);                     /* a world_event: the node of that number, if it is down */
void sim_keep_database(void *sim, int64_t n);                  /* a world_event: now and again the server's database is copied */
void sim_end(struct sim *);                                    /* nothing of the server and the agents is left */
#endif
