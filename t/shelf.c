/* shelf: see the header. */
#include "shelf.h"
#include "../store.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATES 3                                               /* of one node: the oldest goes */
#define NODES 16
#define AGENTS 8

struct state { struct simdisk_image *disk; int file; int64_t stamp; struct checker_copy *copy; bool paused; };
struct states { struct state state[STATES]; int count; };
struct shelf { struct world *world; struct checker *checker; struct node *node; struct states states[NODES]; };

struct shelf *shelf_new(struct world *w, struct checker *checker)
{
	struct shelf *s = mem_new(sizeof *s);

	s->world = w;
	s->checker = checker;
	s->node = world_node(w, "shelf");
	return s;
}

static void state_free(struct state *st)
{
	simdisk_image_free(st->disk);
	free(st->copy);
	memset(st, 0, sizeof *st);
}

static void forget(struct states *of)
{
	while (of->count > 0)
		state_free(&of->state[--of->count]);
}

void shelf_free(struct shelf *s)
{
	if (!s)
		return;
	for (int i = 0; i < NODES; i++)
		forget(&s->states[i]);
	free(s);
}

static struct states *states_of(struct shelf *s, const struct node *n)
{
	must(node_number(n) < NODES);
	return &s->states[node_number(n)];
}

static void add(struct states *to, struct state st)
{
	if (to->count == STATES) {
		state_free(&to->state[0]);
		memmove(to->state, to->state + 1, (STATES - 1) * sizeof to->state[0]);
		to->count--;
	}
	to->state[to->count++] = st;
}

/* journals */

void shelf_keep(struct shelf *s, struct node *n, int file)
{
	struct state st = { .disk = simdisk_save(node_disk(n)), .file = file, .stamp = checker_stamp(s->checker) };

	add(states_of(s, n), st);
}

bool shelf_put_back(struct shelf *s, struct node *n, int *file)
{
	struct states *of = states_of(s, n);
	const struct state *st;

	if (of->count < 2)
		return false;
	st = &of->state[world_any(s->world) % (uint64_t)(of->count - 1)];
	simdisk_put_back(node_disk(n), st->disk);
	*file = checker_file(s->checker, *file, st->file, st->stamp);
	return true;
}

void shelf_copy(struct shelf *s, struct node *to, int *file, struct node *from, int from_file)
{
	struct simdisk_image *disk = simdisk_save(node_disk(from));

	forget(states_of(s, to));
	simdisk_put_back(node_disk(to), disk);
	simdisk_image_free(disk);
	*file = checker_file(s->checker, *file, from_file, checker_stamp(s->checker));
}

void shelf_renew(struct shelf *s, struct node *n, int *file)
{
	forget(states_of(s, n));
	simdisk_wipe(node_disk(n));
	*file = checker_file(s->checker, *file, -1, 0);
}

/* databases */

static void empty(void *arg) { (void)arg; }

/* Runs an act on the shelf's own node, whose disk holds what the caller laid there. */
static void look(struct shelf *s, void (*act)(void *arg), void *arg)
{
	must(node_begin(s->node, empty, NULL));
	node_do(s->node, act, arg);
	node_end(s->node, false);
}

static void back_up(void *arg)
{
	struct shelf *s = arg;
	struct buf err = {0};

	if (!db_backup(node_env(s->node), "commands.db", "backup.db", store_pause_sql(), &err))
		util_broken(err.data, __FILE__, __LINE__);
}

void shelf_keep_database(struct shelf *s, struct node *n, bool paused)
{
	struct state st = { .copy = checker_copy(s->checker), .paused = paused };
	struct simdisk *own = node_disk(s->node);

	simdisk_wipe(own);
	simdisk_copy(own, "commands.db", node_disk(n), "commands.db");
	if (paused) {
		look(s, back_up, s);
		simdisk_keep(own, "commands.db", "backup.db");
	}
	st.disk = simdisk_save(own);
	add(states_of(s, n), st);
}

bool shelf_put_back_database(struct shelf *s, struct node *n, bool *paused)
{
	struct states *of = states_of(s, n);
	const struct state *st;

	if (of->count == 0)
		return false;
	st = &of->state[world_any(s->world) % (uint64_t)of->count];
	simdisk_put_back(node_disk(n), st->disk);
	checker_put_back(s->checker, st->copy);
	*paused = st->paused;
	return true;
}

/* the audit */

struct audit_job { struct shelf *shelf; const char *const *journals; int count; struct buf *out; enum audit_result result; };

static void run_audit(void *arg)
{
	struct audit_job *job = arg;

	job->result = audit_run(node_env(job->shelf->node), "commands.db", job->journals, job->count, false, job->out);
}

enum audit_result shelf_audit(struct shelf *s, struct node *server, struct node *const *agents, int agents_count, struct buf *out)
{
	char names[AGENTS][32];
	const char *journals[AGENTS];
	struct audit_job job = { s, journals, agents_count, out, AUDIT_UNREADABLE };
	struct simdisk *own = node_disk(s->node);

	must(agents_count <= AGENTS);
	simdisk_wipe(own);
	simdisk_copy(own, "commands.db", node_disk(server), "commands.db");
	for (int i = 0; i < agents_count; i++) {
		snprintf(names[i], sizeof names[i], "%s.db", node_name(agents[i]));
		must(simdisk_copy(own, names[i], node_disk(agents[i]), "agent.db"));
		journals[i] = names[i];
	}
	look(s, run_audit, &job);
	return job.result;
}
