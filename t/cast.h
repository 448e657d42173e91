/* cast: who plays in the world besides the server and the agents: clients who are their own operators, an agent of the seed's kind (no journal), the target
 * that counts, and a proxy that sends requests again, late. Each is a node with a loop; all of it is scripted by the world's chance. */
#ifndef CAST_H
#define CAST_H
#include "checker.h"
#include "world.h"

#define SERVER_PORT 3000
#define TARGET_PORT 8080

struct client;
struct client_orders {
	int commands;                                              /* indexes are taken from *next up to this */
	int *next;
	int64_t pause_us, delay_ms_most;                           /* between two calls; of a DELAY */
	int meddling;                                              /* per mille: an operator's call in place of a look */
};
struct client *client_new(struct world *, struct checker *, const char *name, const struct client_orders *);
void client_calm(struct client *);                             /* no operators from now on; what is left to create is created, and asked for until it is answered */
bool client_done(const struct client *);                       /* every create has been acknowledged */
void client_audit(struct client *, int64_t pause_us, void (*done)(void *arg), void *arg);   /* asks until nothing is PENDING or RUNNING, then lists all, once */
void client_free(struct client *);

struct script;                                                 /* the agent without a journal; dies and starts again as its node does */
struct script *script_new(struct world *, struct checker *, const char *name, int64_t interval_us);
struct node *script_node(struct script *);
void script_start(struct script *);
void script_died(struct script *);
void script_free(struct script *);

struct target;
struct target *target_new(struct world *, struct checker *);
void target_free(struct target *);

struct proxy;
struct proxy *proxy_new(struct world *);
void proxy_send(struct proxy *, const void *bytes, size_t n, int64_t when_us);   /* a whole request to the server, sent again then */
struct node *proxy_node(struct proxy *);
void proxy_free(struct proxy *);
#endif
