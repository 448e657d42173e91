/* bench_world: the machine's own limits, the programs under test as child processes, and the guard that ends and removes everything.
 * The worker works in a new directory and leads a process group; the guard, its parent, survives every end of it. */
#include "bench.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define OVERWRITE_BYTES (4 * 1024 * 1024)
#define START_MS 60000
#define END_MS 10000

static volatile sig_atomic_t told_to_end;

void die(const char *what, const char *detail)
{
	fprintf(stderr, "bench: %s: %s\n", what, detail ? detail : "");
	exit(1);
}

int64_t now_ns(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
		die("clock_gettime", strerror(errno));
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Latencies. */

void series_add(struct series *s, int64_t ns)
{
	if (s->n == s->room) {
		s->room = s->room ? s->room * 2 : 1024;
		s->us10 = mem_resize(s->us10, s->room * sizeof *s->us10);
	}
	s->us10[s->n++] = ns < 0 ? 0 : (uint32_t)(ns / 100 > UINT32_MAX ? UINT32_MAX : ns / 100);
}

static int by_size(const void *a, const void *b)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return (x > y) - (x < y);
}

double series_at(struct series *s, double share)
{
	if (!s->n)
		return 0;
	qsort(s->us10, s->n, sizeof *s->us10, by_size);
	return s->us10[(size_t)((double)(s->n - 1) * share + 0.5)] / 10.0;
}

void series_free(struct series *s)
{
	free(s->us10);
	memset(s, 0, sizeof *s);
}

static int by_value(const void *a, const void *b)
{
	double x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return (x > y) - (x < y);
}

double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof *values, by_value);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* The disk. */

static int open_block_file(void)
{
	int fd = open("raw", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		die("raw", strerror(errno));
	return fd;
}

static void write_block(int fd, off_t at)
{
	char block[BLOCK];

	memset(block, 'x', sizeof block);
	if (pwrite(fd, block, sizeof block, at) != sizeof block)
		die("pwrite", strerror(errno));
}

static int64_t synced_block(int fd, off_t at)
{
	int64_t began = now_ns();

	write_block(fd, at);
	if (fdatasync(fd) != 0)
		die("fdatasync", strerror(errno));
	return now_ns() - began;
}

double raw_sync(bool append, int ms, struct series *s)
{
	int fd = open_block_file();
	int64_t began, end, now;
	off_t at = 0;
	long n = 0;

	for (; !append && at < OVERWRITE_BYTES; at += BLOCK)
		write_block(fd, at);
	if (fsync(fd) != 0)
		die("fsync", strerror(errno));
	at = 0;
	began = now = now_ns();
	for (end = began + (int64_t)ms * 1000000; now < end; now = now_ns(), n++) {
		series_add(s, synced_block(fd, at));
		at += BLOCK;
		if (!append && at >= OVERWRITE_BYTES)
			at = 0;
	}
	close(fd);
	unlink("raw");
	return (double)n * 1e9 / (double)(now - began);
}

void raw_open(struct raw *r)
{
	r->fd = open_block_file();
	r->at = 0;
}

int64_t raw_one(struct raw *r)
{
	int64_t ns = synced_block(r->fd, r->at);

	r->at += BLOCK;
	return ns;
}

long file_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (long)st.st_size : 0;
}

/* Processes. */

/* Runs argv with stdout in a pipe whose reading end is *out, stderr in the log. */
static pid_t spawn(char *const argv[], int *out)
{
	int ends[2], log;
	pid_t pid;

	if (pipe(ends) != 0 || (pid = fork()) < 0)
		die("fork", strerror(errno));
	if (pid == 0) {
		log = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
		if (log < 0 || dup2(log, 2) < 0 || dup2(ends[1], 1) < 0)
			_exit(126);
		close(ends[0]);
		execv(argv[0], argv);
		_exit(127);
	}
	close(ends[1]);
	*out = ends[0];
	return pid;
}

static int port_said(int out)
{
	struct pollfd p = { out, POLLIN, 0 };
	char line[200];
	size_t n = 0;
	const char *colon;

	while (n < sizeof line - 1 && (n == 0 || line[n - 1] != '\n')) {
		if (poll(&p, 1, START_MS) <= 0 || read(out, line + n, 1) != 1)
			die("a program did not start", "see the log");
		n++;
	}
	line[n] = '\0';
	colon = strrchr(line, ':');
	if (strncmp(line, "listening on ", 13) != 0 || !colon)
		die("a program did not say where it listens", line);
	return atoi(colon + 1);
}

/* The line is awaited on a pipe that stays open: nothing more is written to it. */
struct program server_start(const char *db, const char *flags)
{
	struct program p;
	struct buf path = {0};
	char more[64], listen_at[] = "--listen=127.0.0.1:0", server[] = "./server";
	char *argv[] = { server, listen_at, NULL, more, NULL };
	int64_t began = now_ns();
	int out;

	buf_fmt(&path, "--db-path=%s", db);
	snprintf(more, sizeof more, "%s", flags ? flags : "--max-attempts=5");
	argv[2] = path.data;
	p.pid = spawn(argv, &out);
	p.port = port_said(out);
	p.start_ns = now_ns() - began;
	buf_free(&path);
	return p;
}

pid_t agent_start(int port, int slots, const char *name)
{
	char url[64], count[32], journal[64], id[64], interval[] = "--poll-interval-ms=1000", agent[] = "./agent";
	char *argv[] = { agent, url, count, journal, id, interval, NULL };
	int out;

	snprintf(url, sizeof url, "--server-url=http://127.0.0.1:%d", port);
	snprintf(count, sizeof count, "--slots=%d", slots);
	snprintf(journal, sizeof journal, "--journal-path=%s.journal", name);
	snprintf(id, sizeof id, "--agent-id=%s", name);
	return spawn(argv, &out);
}

void program_end(pid_t pid)
{
	int64_t by = now_ns() + (int64_t)END_MS * 1000000;

	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (now_ns() > by)
			kill(pid, SIGKILL);
		poll(NULL, 0, 2);
	}
}

/* What Linux tells of a process; elsewhere nothing. field: from 1, as proc(5) counts them in stat. */
static long stat_field(pid_t pid, int field)
{
	char name[64], text[1024], *p;
	FILE *f;
	size_t n;

	snprintf(name, sizeof name, "/proc/%ld/stat", (long)pid);
	f = fopen(name, "r");
	if (!f)
		return -1;
	n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	p = strrchr(text, ')');
	for (int at = 2; p && at < field; at++)
		p = strchr(p + 1, ' ');
	return p ? atol(p) : -1;
}

long rss_kb(pid_t pid)
{
	long pages = stat_field(pid, 24);

	return pages < 0 ? -1 : pages * (sysconf(_SC_PAGESIZE) / 1024);
}

double cpu_ms(pid_t pid)
{
	return (double)(stat_field(pid, 14) + stat_field(pid, 15)) * 1000.0 / (double)sysconf(_SC_CLK_TCK);
}

/* The target: the barest server there can be, one select loop. */

struct target { int listener, most; fd_set all; };

static int listen_any(int *port)
{
	struct sockaddr_in a;
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(&a, 0, sizeof a);
	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 256) != 0 || getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		die("listen", strerror(errno));
	*port = ntohs(a.sin_port);
	return fd;
}

static void target_accept(struct target *t)
{
	int fd = accept(t->listener, NULL, NULL), one = 1;

	if (fd < 0)
		return;
	if (fd >= FD_SETSIZE || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
		close(fd);
		return;
	}
	FD_SET(fd, &t->all);
	t->most = fd > t->most ? fd : t->most;
}

/* Requests have no bodies here and come in one piece; what is asked for does not matter. */
static void target_answer(struct target *t, int fd)
{
	static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 23\r\n\r\n{\"ok\":true,\"value\":1450}";
	char in[4096];
	ssize_t n = recv(fd, in, sizeof in - 1, 0);
	bool last;

	in[n > 0 ? n : 0] = '\0';
	last = n <= 0 || strstr(in, "Connection: close") || strstr(in, "connection: close");
	if (n > 0 && send(fd, reply, sizeof reply - 1, MSG_NOSIGNAL) < 0)
		last = true;
	if (!last)
		return;
	close(fd);
	FD_CLR(fd, &t->all);
}

static void target_run(struct target *t)
{
	fd_set ready;

	FD_ZERO(&t->all);
	FD_SET(t->listener, &t->all);
	t->most = t->listener;
	for (;;) {
		ready = t->all;
		if (select(t->most + 1, &ready, NULL, NULL, NULL) < 0)
			die("select", strerror(errno));
		for (int fd = 0; fd <= t->most; fd++)
			if (fd != t->listener && FD_ISSET(fd, &ready))
				target_answer(t, fd);
		if (FD_ISSET(t->listener, &ready))
			target_accept(t);
	}
}

struct program target_start(void)
{
	struct program p = { 0, 0, 0 };
	struct target t;

	t.listener = listen_any(&p.port);
	p.pid = fork();
	if (p.pid < 0)
		die("fork", strerror(errno));
	if (p.pid == 0)
		target_run(&t);
	close(t.listener);
	return p;
}

/* The guard. */

static void remember(int signo) { told_to_end = signo; }

static void remove_directory(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	struct buf path = {0};

	while (d && (e = readdir(d)) != NULL) {
		buf_clear(&path);
		buf_fmt(&path, "%s/%s", dir, e->d_name);
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			unlink(path.data);
	}
	if (d)
		closedir(d);
	if (rmdir(dir) != 0)
		fprintf(stderr, "bench: %s stays: %s\n", dir, strerror(errno));
	buf_free(&path);
}

static void link_program(const char *dir, const char *programs, const char *name)
{
	char cwd[2048];
	struct buf from = {0}, to = {0};

	if (!getcwd(cwd, sizeof cwd))
		die("getcwd", strerror(errno));
	buf_fmt(&from, "%s%s%s/%s", programs[0] == '/' ? "" : cwd, programs[0] == '/' ? "" : "/", programs, name);
	buf_fmt(&to, "%s/%s", dir, name);
	if (access(from.data, X_OK) != 0 || symlink(from.data, to.data) != 0)
		die(from.data, strerror(errno));
	buf_free(&from);
	buf_free(&to);
}

static int work(const char *dir, int (*worker)(void *), void *arg)
{
	if (setpgid(0, 0) != 0 || chdir(dir) != 0)
		die(dir, strerror(errno));
	return worker(arg);
}

static int await_worker(pid_t pid)
{
	int status = 0;
	pid_t got;

	while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR && !told_to_end)
		;
	if (got == pid)
		return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	fprintf(stderr, "bench: %s\n", told_to_end == SIGALRM ? "its time is over" : "ended by a signal");
	return 1;
}

int bench_guard(const char *programs, int seconds, int (*worker)(void *), void *arg)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGALRM };
	const char *tmp = getenv("TMPDIR");
	struct sigaction sa;
	struct buf dir = {0};
	pid_t pid;
	int status;

	buf_fmt(&dir, "%s/bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(dir.data))
		die(dir.data, strerror(errno));
	link_program(dir.data, programs, "server");
	link_program(dir.data, programs, "agent");
	pid = fork();
	if (pid < 0)
		die("fork", strerror(errno));
	if (pid == 0)
		exit(work(dir.data, worker, arg));
	(void)setpgid(pid, pid);
	memset(&sa, 0, sizeof sa);
	sa.sa_handler = remember;
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		if (sigaction(signals[i], &sa, NULL) != 0)
			die("sigaction", strerror(errno));
	alarm((unsigned)seconds);
	status = await_worker(pid);
	kill(-pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	remove_directory(dir.data);
	buf_free(&dir);
	return status;
}
