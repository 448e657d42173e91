/* dbfix: see the header. */
#include "dbfix.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void door_fatal(void *world, const char *why)
{
	struct fix *f = world;

	buf_clear(&f->said);
	buf_str(&f->said, why);
	if (f->watching)
		longjmp(f->out, 1);
	fprintf(stderr, "fatal: %s\n", why);
	abort();
}

static void door_log(void *world, const char *line)
{
	(void)world;
	(void)line;
}

static int64_t door_mono(void *world)
{
	struct env real;

	env_real(&real);
	return real.mono_us(NULL) + ((struct fix *)world)->later_us;
}

static int64_t door_wall(void *world)
{
	struct fix *f = world;
	struct env real;

	env_real(&real);
	return f->wall_ms ? f->wall_ms : real.wall_ms(NULL);
}

int fix_enter(void **state)
{
	struct fix *f = mem_new(sizeof *f);
	const char *tmp = getenv("TMPDIR");

	env_real(&f->env);
	f->env.world = f;
	f->env.fatal = door_fatal;
	f->env.log = door_log;
	f->env.mono_us = door_mono;
	f->env.wall_ms = door_wall;
	snprintf(f->dir, sizeof f->dir, "%s/onlyonce-db-XXXXXX", tmp && strlen(tmp) < 80 ? tmp : "/tmp");
	must(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/test.db", f->dir);
	*state = f;
	return 0;
}

/* Everything in the directory, and below it one level. */
static void remove_all(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char name[512];

	if (!d)
		return;
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		must(snprintf(name, sizeof name, "%s/%s", dir, e->d_name) < (int)sizeof name);
		if (unlink(name) != 0)
			remove_all(name);
	}
	closedir(d);
	rmdir(dir);
}

int fix_leave(void **state)
{
	struct fix *f = *state;

	remove_all(f->dir);
	faultvfs_free(f->disk);
	buf_free(&f->err);
	buf_free(&f->said);
	free(f);
	return 0;
}

void fix_disk(struct fix *f)
{
	f->disk = faultvfs_new("fault");
	f->env.vfs = "fault";
}

bool fix_fatal(struct fix *f, void (*act)(void *arg), void *arg)
{
	bool fatal;

	f->watching = true;
	if (setjmp(f->out) == 0)
		act(arg);
	else
		f->watching = false;
	fatal = !f->watching;
	f->watching = false;
	return fatal;
}

int fix_child(void (*act)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		must(freopen("/dev/null", "w", stderr));
		signal(SIGABRT, SIG_DFL);
		alarm(20);
		act(arg);
		_exit(0);
	}
	must(waitpid(pid, &status, 0) == pid);
	return status;
}

int fix_child_start(void (*act)(void *arg, int fd), void *arg, int *fd)
{
	int ends[2];
	char byte;
	pid_t pid;

	fflush(NULL);
	must(pipe(ends) == 0);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		close(ends[0]);
		alarm(20);
		act(arg, ends[1]);
		for (;;)
			pause();
	}
	close(ends[1]);
	must(read(ends[0], &byte, 1) == 1);
	*fd = ends[0];
	return (int)pid;
}

void fix_child_kill(int pid, int fd)
{
	int status;

	must(kill((pid_t)pid, SIGKILL) == 0 && waitpid((pid_t)pid, &status, 0) == (pid_t)pid);
	must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(fd);
}

void fix_name(const struct fix *f, const char *end, char out[256])
{
	must(snprintf(out, 256, "%s%s", f->path, end) < 256);
}

bool fix_exists(const struct fix *f, const char *end) { return fix_mode(f, end) >= 0; }

int fix_mode(const struct fix *f, const char *end)
{
	char name[256];
	struct stat st;

	fix_name(f, end, name);
	return lstat(name, &st) == 0 ? (int)(st.st_mode & 07777) : -1;
}

const char *fix_ask(const char *path, const char *sql)
{
	static char answer[256];
	sqlite3 *h;
	sqlite3_stmt *q;

	answer[0] = 0;
	must(sqlite3_open_v2(path, &h, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
	if (sqlite3_prepare_v2(h, sql, -1, &q, NULL) != SQLITE_OK)
		snprintf(answer, sizeof answer, "error: %s", sqlite3_errmsg(h));
	else if (sqlite3_step(q) == SQLITE_ROW && sqlite3_column_text(q, 0))
		snprintf(answer, sizeof answer, "%s", (const char *)sqlite3_column_text(q, 0));
	sqlite3_finalize(q);
	must(sqlite3_close(h) == SQLITE_OK);
	return answer;
}
