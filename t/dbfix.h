/* dbfix: what the tests of db, journal and migrations share: a directory of their own, real doors but for the last ones, children that die. */
#ifndef DBFIX_H
#define DBFIX_H
#include "../db.h"
#include "faultvfs.h"
#include <setjmp.h>

struct fix {
	struct env env;
	char dir[128], path[160];                                  /* path: dir/test.db */
	struct buf err, said;                                      /* said: the last fatal line */
	struct faultvfs *disk;                                     /* NULL until fix_disk */
	int64_t later_us;                                          /* added to the monotonic clock */
	int64_t wall_ms;                                           /* what the wall clock says; 0: the real one */
	jmp_buf out;
	bool watching;
};

int fix_enter(void **state);
int fix_leave(void **state);
void fix_disk(struct fix *);                                   /* from now on files are opened through faultvfs */
bool fix_fatal(struct fix *, void (*act)(void *arg), void *arg);   /* does act end the program? what it said is in said */
int fix_child(void (*act)(void *arg), void *arg);              /* runs act in a child; its wait status (act returning: exit 0) */
/* A child that runs act, which writes to the descriptor it is given and then waits to be killed: returns when it has written a byte. */
int fix_child_start(void (*act)(void *arg, int fd), void *arg, int *fd);
void fix_child_kill(int pid, int fd);                          /* SIGKILL, and waits for it */
void fix_name(const struct fix *, const char *end, char out[256]);   /* path with that end */
bool fix_exists(const struct fix *, const char *end);
int fix_mode(const struct fix *, const char *end);
/* The first column of the first row, asked through another connection in a read-only way; "" when there is none. Static memory. */
const char *fix_ask(const char *path, const char *sql);
#endif
