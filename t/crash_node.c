/* crash_node: the doors of a program that is to die: build/crash_server and build/crash_agent are server.c and agent.c with env_real under another name, which is
 * crash_env here, and with every other object as it is shipped. Everything is real; but each write, truncation, sync, deletion, connect and send is counted, and at
 * the one that the file crash.plan ("N LOSS SEED") names the process kills itself before it is done, or half done. What the disk keeps then:
 *   keep  all of it: a kill                  drop  nothing that no sync covers: a power cut
 *   cut   the newest acts are undone, back   mix   each sector (512 bytes) of an unsynced write is old, new or torn, each new or deleted name there or not
 *         to any earlier one
 * A sync covers one file; a log's first sync, and a deletion that asks for it, cover the names in the directory. So nothing is really synced here that need be. */
#include "../env.h"
#include "faultvfs.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512

enum kind { MADE, CHANGED, DELETED };
/* An act that no sync covers yet, and what stood there before. */
struct undo { enum kind kind; char *path; off_t at, end, old_size; unsigned char *old; size_t old_n; };
struct crash {
	struct env real;
	long acts, die_at;
	char loss[8];
	unsigned long seed;
	uint64_t random;                                           /* from seed */
	struct undo *undos;
	size_t count, room;
};

void crash_env(struct env *env);

static UTIL_NORETURN void wrong(const char *what)
{
	fprintf(stderr, "crash_node: %s: %s\n", what, strerror(errno));
	_exit(3);
}

static void want(bool good, const char *what)
{
	if (!good)
		wrong(what);
}

static uint64_t any(struct crash *c, uint64_t below)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return c->random % below;
}

/* What could be lost. */

static struct undo *undo_add(struct crash *c, enum kind kind, const char *path)
{
	struct undo *u;

	if (c->count == c->room) {
		c->room = c->room ? c->room * 2 : 64;
		c->undos = mem_resize(c->undos, c->room * sizeof *c->undos);
	}
	u = &c->undos[c->count++];
	*u = (struct undo){ kind, mem_dup(path), 0, 0, 0, NULL, 0 };
	return u;
}

/* Bytes of [at, end) are about to change, or to go. */
static void undo_change(struct crash *c, const struct faultvfs_event *e, off_t at, off_t end)
{
	struct undo *u = undo_add(c, CHANGED, e->path);
	sqlite3_int64 size;
	int code;

	want(e->file->pMethods->xFileSize(e->file, &size) == SQLITE_OK, e->path);
	u->at = at;
	u->end = end;
	u->old_size = (off_t)size;
	if (u->old_size <= at)
		return;
	u->old_n = (size_t)((end < u->old_size ? end : u->old_size) - at);
	u->old = mem_new(u->old_n);
	code = e->file->pMethods->xRead(e->file, u->old, (int)u->old_n, at);
	want(code == SQLITE_OK, e->path);
}

static unsigned char *read_all(const char *path, size_t *n)
{
	unsigned char *bytes;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	want(fd >= 0 && fstat(fd, &st) == 0, path);
	*n = (size_t)st.st_size;
	bytes = mem_new(*n + 1);
	want(read(fd, bytes, *n) == (ssize_t)*n, path);
	close(fd);
	return bytes;
}

static void undo_delete(struct crash *c, const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0) {
		struct undo *u = undo_add(c, DELETED, path);
		u->old = read_all(path, &u->old_n);
	}
}

static void undo_make(struct crash *c, const char *path)
{
	struct stat st;

	if (path && stat(path, &st) != 0)
		(void)undo_add(c, MADE, path);
}

/* path: its bytes are safe. names: so is the directory. */
static void safe(struct crash *c, const char *path, bool names)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->count; i++) {
		struct undo *u = &c->undos[i];
		bool done = u->kind == CHANGED ? path && strcmp(u->path, path) == 0 : names;
		if (done) {
			free(u->path);
			free(u->old);
		} else {
			c->undos[kept++] = *u;
		}
	}
	c->count = kept;
}

/* Losing it. The process ends afterwards, so that locks which go with a second descriptor do no harm. */

static int reopen(const char *path, int flags)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);

	want(fd >= 0, path);
	return fd;
}

static void put_back(const struct undo *u)
{
	int fd;

	if (u->kind == MADE) {
		want(unlink(u->path) == 0 || errno == ENOENT, u->path);
		return;
	}
	fd = reopen(u->path, u->kind == DELETED ? O_CREAT | O_TRUNC : 0);
	want(pwrite(fd, u->old, u->old_n, u->at) == (ssize_t)u->old_n, u->path);
	want(u->kind == DELETED || ftruncate(fd, u->old_size) == 0, u->path);
	close(fd);
}

static void put_back_from(struct crash *c, size_t first)
{
	while (c->count > first)
		put_back(&c->undos[--c->count]);
}

/* A sector that was written is old by now: it stays so, or becomes new, or new in its first bytes. */
static void renew_sector(struct crash *c, int fd, const char *path, const unsigned char *new, size_t size, size_t at)
{
	size_t n = size - at < SECTOR ? size - at : SECTOR;
	uint64_t how = any(c, 3);

	if (how == 1)
		n = (size_t)any(c, n + 1);
	want(how == 0 || pwrite(fd, new + at, n, (off_t)at) == (ssize_t)n, path);
}

static bool touches(const struct crash *c, const char *path, size_t at)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct undo *u = &c->undos[i];
		if (u->kind == CHANGED && strcmp(u->path, path) == 0 && u->at < (off_t)(at + SECTOR) && u->end > (off_t)at)
			return true;
	}
	return false;
}

static void mix_file(struct crash *c, const char *path)
{
	struct stat st;
	unsigned char *new;
	size_t size;
	int fd;

	if (stat(path, &st) != 0)
		return;                        /* deleted meanwhile */
	new = read_all(path, &size);
	for (size_t i = c->count; i-- > 0;)
		if (c->undos[i].kind == CHANGED && strcmp(c->undos[i].path, path) == 0)
			put_back(&c->undos[i]);
	fd = reopen(path, 0);
	for (size_t at = 0; at < size; at += SECTOR)
		if (touches(c, path, at))
			renew_sector(c, fd, path, new, size, at);
	close(fd);
	free(new);
}

static void mix(struct crash *c)
{
	struct stat st;

	for (size_t i = 0; i < c->count; i++) {
		bool first = c->undos[i].kind == CHANGED;
		for (size_t j = 0; j < i; j++)
			first = first && !(c->undos[j].kind == CHANGED && strcmp(c->undos[j].path, c->undos[i].path) == 0);
		if (first)
			mix_file(c, c->undos[i].path);
	}
	for (size_t i = c->count; i-- > 0;)
		if (c->undos[i].kind != CHANGED && any(c, 2) && (c->undos[i].kind == MADE || stat(c->undos[i].path, &st) != 0))
			put_back(&c->undos[i]);
}

static UTIL_NORETURN void die(struct crash *c, const char *doing, const char *what)
{
	size_t open = c->count;

	fprintf(stderr, "crash %lu: act %ld, %s %s: %s\n", c->seed, c->acts, doing, what, c->loss);
	if (open && strcmp(c->loss, "keep") != 0)
		fprintf(stderr, "image %lu: without all or some of %lu unsynced acts\n", c->seed, (unsigned long)open);
	if (strcmp(c->loss, "drop") == 0)
		put_back_from(c, 0);
	else if (strcmp(c->loss, "cut") == 0 && open)
		put_back_from(c, (size_t)any(c, open));
	else if (strcmp(c->loss, "mix") == 0)
		mix(c);
	kill(getpid(), SIGKILL);
	_exit(137);
}

static bool due(struct crash *c) { return ++c->acts == c->die_at; }

/* The doors. */

static void watch_change(struct crash *c, const struct faultvfs_event *e)
{
	bool write = e->act == FAULTVFS_WRITE;
	sqlite3_int64 size = 0;
	int part;

	want(e->file->pMethods->xFileSize(e->file, &size) == SQLITE_OK, e->path);
	undo_change(c, e, (off_t)e->at, (off_t)(write ? e->at + e->n : size > e->at ? size : e->at));
	if (!due(c))
		return;
	part = write && strcmp(c->loss, "mix") == 0 ? (int)any(c, (uint64_t)e->n + 1) : 0;
	if (part > 0)
		want(e->file->pMethods->xWrite(e->file, e->bytes, part, e->at) == SQLITE_OK, e->path);
	else
		c->count--;                    /* nothing was done */
	die(c, write ? "write" : "truncate", e->path);
}

static void watch(void *arg, const struct faultvfs_event *e)
{
	struct crash *c = arg;

	switch (e->act) {
	case FAULTVFS_OPEN:
		undo_make(c, e->path);
		return;
	case FAULTVFS_WRITE:
	case FAULTVFS_TRUNCATE:
		if (e->path)
			watch_change(c, e);
		return;
	case FAULTVFS_SYNC:
		if (due(c))
			die(c, "sync", e->path ? e->path : "");
		safe(c, e->path, e->is_log);
		return;
	case FAULTVFS_DELETE:
		if (due(c))
			die(c, "delete", e->path);
		if (e->n)
			safe(c, NULL, true);
		else
			undo_delete(c, e->path);
		return;
	}
}

/* The half of what was to be sent may be on its way. */
static ssize_t send_or_die(void *world, int fd, const void *p, size_t n)
{
	struct crash *c = world;

	if (due(c)) {
		(void)c->real.send(c->real.world, fd, p, (size_t)any(c, n + 1));
		die(c, "send", "");
	}
	return c->real.send(c->real.world, fd, p, n);
}

static int connect_or_die(void *world, const struct sockaddr *addr, socklen_t len)
{
	struct crash *c = world;

	if (due(c))
		die(c, "connect", "");
	return c->real.connect(c->real.world, addr, len);
}

static void read_plan(struct crash *c)
{
	FILE *f = fopen("crash.plan", "r");

	want(f && fscanf(f, "%ld %7s %lu", &c->die_at, c->loss, &c->seed) == 3, "crash.plan");
	fclose(f);
	c->random = UINT64_C(88172645463325252) ^ ((uint64_t)c->seed * UINT64_C(2654435761));
	for (int i = 0; i < 8; i++)
		(void)any(c, 2);
}

void crash_env(struct env *env)
{
	struct crash *c = mem_new(sizeof *c);
	struct faultvfs *disk = faultvfs_new("crash");

	env_real(env);
	c->real = *env;
	read_plan(c);
	faultvfs_watch(disk, watch, c);
	faultvfs_be_default(disk);
	env->world = c;
	env->send = send_or_die;
	env->connect = connect_or_die;
}
