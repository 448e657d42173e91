/* lookup: getaddrinfo in a forked child that writes what it found into a pipe. Owns the pipe and the child until it is reaped.
 * K1  The child has no descriptor but 0, 1, 2, and 1 is the pipe: it holds no socket, no database, no lock of the program's.
 * K2  The child ends: by itself, by the parent's SIGKILL at the deadline, or by its own alarm when the parent is gone.
 * K3  What comes through the pipe is read as from a stranger: the child may have crashed in the middle of it.
 * K4  Signals that end the program gently pass the child by: an agent that drains needs its lookups. */
#include "lookup.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHILDREN_MAX 32
#define RETRY_US 20000                                         /* between looks whether a child may be started */

/* What the child writes, whole. */
struct message { int failed, error, count; struct lookup_address addresses[LOOKUP_MAX]; };

struct lookup {
	struct loop *loop;
	struct loop_timer timer;                                   /* for a place among the children, then the deadline */
	char *host;
	int port, fd;
	pid_t pid;
	int64_t until_us;
	struct message message;
	size_t got;
	lookup_done *done;
	void *arg;
};

/* Children are the process's, as signals are, so their count is too. */
static volatile sig_atomic_t children;

static void launch(void *arg);

/* addresses */

static void set_port(struct lookup_address *a, int port)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (a->addr.ss_family == AF_INET) {
		memcpy(&in, &a->addr, sizeof in);
		in.sin_port = htons((uint16_t)port);
		memcpy(&a->addr, &in, sizeof in);
		return;
	}
	memcpy(&in6, &a->addr, sizeof in6);
	in6.sin6_port = htons((uint16_t)port);
	memcpy(&a->addr, &in6, sizeof in6);
}

bool lookup_numeric(const char *host, int port, struct lookup_address *out)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	memset(out, 0, sizeof *out);
	if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
		memcpy(&out->addr, &in, sizeof in);
		out->len = sizeof in;
	} else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1) {
		memcpy(&out->addr, &in6, sizeof in6);
		out->len = sizeof in6;
	} else {
		return false;
	}
	set_port(out, port);
	return true;
}

void lookup_text(const struct lookup_address *a, struct buf *out)
{
	char text[INET6_ADDRSTRLEN] = "?";
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (a->addr.ss_family == AF_INET) {
		memcpy(&in, &a->addr, sizeof in);
		(void)inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
		buf_fmt(out, "%s:%d", text, (int)ntohs(in.sin_port));
		return;
	}
	memcpy(&in6, &a->addr, sizeof in6);
	(void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof text);
	buf_fmt(out, "[%s]:%d", text, (int)ntohs(in6.sin6_port));
}

/* the child */

static void reset_signals(void)
{
	static const int plain[] = { SIGCHLD, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2 }, deaf[] = { SIGTERM, SIGINT, SIGHUP };
	struct sigaction action;
	sigset_t none;

	memset(&action, 0, sizeof action);
	action.sa_handler = SIG_DFL;
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		(void)sigaction(plain[i], &action, NULL);
	action.sa_handler = SIG_IGN;
	for (size_t i = 0; i < sizeof deaf / sizeof *deaf; i++)
		(void)sigaction(deaf[i], &action, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void ask(const char *host, struct message *m)
{
	struct addrinfo hints, *list = NULL;

	memset(&hints, 0, sizeof hints);
	hints.ai_family = AF_UNSPEC;
	hints.ai_socktype = SOCK_STREAM;
	m->failed = getaddrinfo(host, NULL, &hints, &list);
	m->error = errno;
	for (struct addrinfo *a = m->failed ? NULL : list; a && m->count < LOOKUP_MAX; a = a->ai_next) {
		if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) || a->ai_addrlen > sizeof m->addresses[0].addr)
			continue;
		memcpy(&m->addresses[m->count].addr, a->ai_addr, a->ai_addrlen);
		m->addresses[m->count++].len = a->ai_addrlen;
	}
}

UTIL_NORETURN static void child(int out, const char *host, int64_t left_us)
{
	struct message m;
	const char *p = (const char *)&m;
	int64_t seconds = left_us / 1000000 + 2;

	memset(&m, 0, sizeof m);
	reset_signals();
	(void)alarm(seconds < 86400 ? (unsigned)seconds : 86400u);
	if (dup2(out, 1) != 1)
		_exit(1);
	env_close_inherited();
	ask(host, &m);
	for (size_t at = 0; at < sizeof m; ) {
		ssize_t put = write(1, p + at, sizeof m - at);
		if (put <= 0)
			_exit(1);
		at += (size_t)put;
	}
	_exit(0);
}

/* the parent */

static void reaped(void *arg, int status)
{
	struct lookup *l = arg;

	(void)status;
	children = children - 1;
	if (l)
		l->pid = 0;                                            /* another process may bear that number now */
}

static void release(struct lookup *l)
{
	loop_timer_off(l->loop, &l->timer);
	if (l->fd >= 0) {
		loop_forget(l->loop, l->fd);
		must(close(l->fd) == 0 || errno != EBADF);
	}
	if (l->pid > 0) {
		(void)kill(l->pid, SIGKILL);
		loop_child(l->loop, l->pid, reaped, NULL);
	}
	free(l->host);
	free(l);
}

static void finish(struct lookup *l, struct lookup_answer *answer)
{
	lookup_done *done = l->done;
	void *arg = l->arg;

	release(l);
	done(arg, answer);
}

static void fail(struct lookup *l, const char *why)
{
	struct lookup_answer answer;
	struct buf words = {0};

	buf_fmt(&words, "name lookup of %s failed: %s", l->host, why);
	memset(&answer, 0, sizeof answer);
	answer.error = words.data;
	finish(l, &answer);
	buf_free(&words);
}

static bool is_sound(const struct lookup_address *a)
{
	return (a->addr.ss_family == AF_INET && a->len == sizeof(struct sockaddr_in)) || (a->addr.ss_family == AF_INET6 && a->len == sizeof(struct sockaddr_in6));
}

static void read_message(struct lookup *l)
{
	const struct message *m = &l->message;
	struct lookup_answer answer;

	if (l->got < sizeof *m) {
		fail(l, "the process that asked ended without an answer");
		return;
	}
	if (m->failed) {
		fail(l, m->failed == EAI_SYSTEM ? strerror(m->error) : gai_strerror(m->failed));
		return;
	}
	memset(&answer, 0, sizeof answer);
	for (int i = 0; i < m->count && i < LOOKUP_MAX; i++) {
		if (!is_sound(&m->addresses[i]))
			continue;
		answer.addresses[answer.count] = m->addresses[i];
		set_port(&answer.addresses[answer.count++], l->port);
	}
	if (answer.count == 0)
		fail(l, "the name has no address");
	else
		finish(l, &answer);
}

static void readable(void *arg, unsigned what)
{
	struct lookup *l = arg;
	ssize_t n = read(l->fd, (char *)&l->message + l->got, sizeof l->message - l->got);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (n > 0)
		l->got += (size_t)n;
	if (n <= 0 || l->got == sizeof l->message)
		read_message(l);
}

static void too_late(void *arg)
{
	fail(arg, "no answer in time");
}

/* Two descriptors, as loop wants them; false: errno. */
static bool make_pipe(int ends[2])
{
	if (pipe(ends) != 0)
		return false;
	int flags = fcntl(ends[0], F_GETFL);
	if (ends[0] < FD_SETSIZE && flags >= 0 && fcntl(ends[0], F_SETFL, flags | O_NONBLOCK) == 0 && fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0)
		return true;
	if (ends[0] >= FD_SETSIZE)
		errno = EMFILE;
	(void)close(ends[0]);
	(void)close(ends[1]);
	return false;
}

/* All signals wait while the child begins: a handler of the program's must not run in it. */
static pid_t start_child(int out, const char *host, int64_t left_us)
{
	sigset_t all, old;
	pid_t pid;

	sigfillset(&all);
	must(sigprocmask(SIG_SETMASK, &all, &old) == 0);
	pid = fork();
	if (pid == 0)
		child(out, host, left_us);
	must(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
	return pid;
}

static void launch(void *arg)
{
	struct lookup *l = arg;
	int64_t now_us = loop_now_us(l->loop);
	int ends[2];

	if (now_us >= l->until_us) {
		too_late(l);
		return;
	}
	if (children >= CHILDREN_MAX) {
		loop_timer_set(l->loop, &l->timer, now_us + RETRY_US < l->until_us ? now_us + RETRY_US : l->until_us, launch, l);
		return;
	}
	if (!make_pipe(ends)) {
		fail(l, strerror(errno));
		return;
	}
	l->fd = ends[0];
	loop_watch(l->loop, l->fd, LOOP_READ, readable, l);
	l->pid = start_child(ends[1], l->host, l->until_us - now_us);
	int error = errno;
	must(close(ends[1]) == 0);
	if (l->pid < 0) {
		fail(l, strerror(error));
		return;
	}
	children = children + 1;
	loop_child(l->loop, l->pid, reaped, l);
	loop_timer_set(l->loop, &l->timer, l->until_us, too_late, l);
}

struct lookup *lookup_start(struct loop *loop, const char *host, int port, int64_t until_us, lookup_done *done, void *arg)
{
	struct lookup *l = mem_new(sizeof *l);

	l->loop = loop;
	l->host = mem_dup(host);
	l->port = port;
	l->fd = -1;
	l->until_us = until_us;
	l->done = done;
	l->arg = arg;
	loop_timer_set(loop, &l->timer, loop_now_us(loop), launch, l);
	return l;
}

void lookup_cancel(struct lookup *l)
{
	if (l)
		release(l);
}
