/* shelf: older states of disks, kept to be put back later, each with what the checker knew of it: journals as their boots left them, databases as
 * server --backup copies them or as a plain copy. Copies are made and looked at on a node of its own, by the programs' own code. */
#ifndef SHELF_H
#define SHELF_H
#include "checker.h"
#include "world.h"
#include "../audit.h"

struct shelf;
struct shelf *shelf_new(struct world *, struct checker *);
void shelf_free(struct shelf *);

/* Journals. *file: the checker's number of the file that the node has, and from now on. */
void shelf_keep(struct shelf *, struct node *, int file);
bool shelf_put_back(struct shelf *, struct node *, int *file);  /* any but the newest; false: there is none */
void shelf_copy(struct shelf *, struct node *to, int *file, struct node *from, int from_file);
void shelf_renew(struct shelf *, struct node *, int *file);     /* nothing is left of it, nor on the shelf */

/* Databases. paused: made by --backup, so that a server on it hands nothing out until --resume; else a plain copy. */
void shelf_keep_database(struct shelf *, struct node *, bool paused);
bool shelf_put_back_database(struct shelf *, struct node *, bool *paused);   /* any; false: there is none */

enum audit_result shelf_audit(struct shelf *, struct node *server, struct node *const *agents, int agents_count, struct buf *out);
#endif
