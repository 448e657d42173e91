/* env: the real doors (clock, random, sockets, the wait, death, log lines) and the format of a log line.
 * Owns no descriptor: whoever opened one through a door closes it through one. Holds no state, so a struct env may be copied.
 * E1  Every socket that comes through here is non-blocking, close-on-exec and below FD_SETSIZE.
 * E2  A log line is one write(2), so that lines of several processes do not mix.
 * E3  Signals that loop holds back are let in by wait alone; a process that never blocked any is not changed by it. */
#include "env.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG (SOMAXCONN > 511 ? SOMAXCONN : 511)
#define FATAL_MAX 8192
#define WAIT_MAX_US INT64_C(1000000000000)                     /* some systems refuse more than 10^8 s; an early wake does no harm */
#define DESCRIPTORS_MAX 65536                                  /* where the system cannot list them, no higher one is looked for */

/* The one place for what POSIX of 2008 does not name: the clock that counts suspend, getentropy (POSIX of 2024), and where glibc takes large blocks from:
 * else it learns to take them from its heap, which does not shrink when the flood that wanted them is over. */
#ifdef __GLIBC__
#include <malloc.h>
#define LARGE_BLOCK 65536
#endif
#if !defined(CLOCK_BOOTTIME) && defined(__linux__)
#define CLOCK_BOOTTIME 7
#endif
#if defined(__linux__) || defined(__APPLE__) || defined(__OpenBSD__) || defined(__FreeBSD__)
#define HAVE_GETENTROPY 1
int getentropy(void *, size_t);
#endif

static ssize_t write_all(int fd, const char *p, size_t n);

/* clocks and random */

static int64_t real_mono_us(void *world)
{
	struct timespec t;

	(void)world;
#ifdef CLOCK_BOOTTIME
	/* A kernel that lacks it lacks it for the whole life of this process, so the two clocks never mix. */
	if (clock_gettime(CLOCK_BOOTTIME, &t) == 0)
		return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
#endif
	must(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* A clock before 1970 or beyond an id's 48 bits is nonsense; it must not end the program (G8). */
static int64_t real_wall_ms(void *world)
{
	const int64_t max_ms = (INT64_C(1) << 48) - 1;
	struct timespec t;

	(void)world;
	must(clock_gettime(CLOCK_REALTIME, &t) == 0);
	if (t.tv_sec < 0)
		return 0;
	return (int64_t)t.tv_sec > max_ms / 1000 - 1 ? max_ms : (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

UTIL_NORETURN static void die(const char *line)
{
	struct buf text = {0};

	buf_fmt(&text, "%s\n", line);
	(void)write_all(2, text.data, text.len);
	_exit(1);
}

static bool read_urandom(unsigned char *out, size_t n)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return false;
	while (n > 0) {
		got = read(fd, out, n);
		if (got == 0 || (got < 0 && errno != EINTR))
			break;
		if (got > 0) {
			out += got;
			n -= (size_t)got;
		}
	}
	return close(fd) == 0 && n == 0;
}

static void real_random(void *world, void *out, size_t n)
{
	unsigned char *p = out;

	(void)world;
#ifdef HAVE_GETENTROPY
	/* At most 256 bytes a call. */
	for (size_t part; n > 0; p += part, n -= part) {
		part = n < 256 ? n : 256;
		if (getentropy(p, part) != 0)
			break;
	}
#endif
	if (n > 0 && !read_urandom(p, n))
		die("no source of random numbers: getentropy and /dev/urandom both failed");
}

/* sockets */

static void real_close(void *world, int fd)
{
	(void)world;
	/* A socket's close may report what the peer did; only a wrong descriptor is our own fault. */
	must(close(fd) == 0 || errno != EBADF);
}

static void real_shut(void *world, int fd)
{
	(void)world;
	/* May fail on a peer that has gone already; reading will tell. */
	(void)shutdown(fd, SHUT_WR);
}

static int close_with(int fd, int error)
{
	real_close(NULL, fd);
	errno = error;
	return -1;
}

static bool set_flag(int fd, int level, int option)
{
	int on = 1;

	return setsockopt(fd, level, option, &on, sizeof on) == 0;
}

/* Makes E1 true of a new descriptor, or closes it. */
static int tame(int fd)
{
	if (fd < 0)
		return -1;
	if (fd >= FD_SETSIZE)
		return close_with(fd, EMFILE);
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return close_with(fd, errno);
	return fd;
}

/* [::] means IPv6 alone, on every system: what is named is what is bound. */
static int real_listen(void *world, const struct sockaddr *addr, socklen_t len, struct sockaddr_storage *bound, socklen_t *bound_len)
{
	int fd = tame(socket(addr->sa_family, SOCK_STREAM, 0));

	(void)world;
	if (fd < 0)
		return -1;
	if (!set_flag(fd, SOL_SOCKET, SO_REUSEADDR) || (addr->sa_family == AF_INET6 && !set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY)))
		return close_with(fd, errno);
	*bound_len = sizeof *bound;
	if (bind(fd, addr, len) != 0 || listen(fd, BACKLOG) != 0 || getsockname(fd, (struct sockaddr *)bound, bound_len) != 0)
		return close_with(fd, errno);
	return fd;
}

static int real_accept(void *world, int fd, struct sockaddr_storage *peer, socklen_t *peer_len)
{
	(void)world;
	*peer_len = sizeof *peer;
	int got = tame(accept(fd, (struct sockaddr *)peer, peer_len));
	/* May fail on a peer that has gone already; reading will tell. */
	if (got >= 0)
		(void)set_flag(got, IPPROTO_TCP, TCP_NODELAY);
	return got;
}

static int real_connect(void *world, const struct sockaddr *addr, socklen_t len)
{
	int fd = tame(socket(addr->sa_family, SOCK_STREAM, 0));

	(void)world;
	if (fd < 0)
		return -1;
	(void)set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
	/* An interrupted connect goes on by itself (POSIX, connect). */
	if (connect(fd, addr, len) != 0 && errno != EINPROGRESS && errno != EINTR)
		return close_with(fd, errno);
	return fd;
}

static int real_connected(void *world, int fd)
{
	int error = 0;
	socklen_t len = sizeof error;

	(void)world;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

static ssize_t real_recv(void *world, int fd, void *p, size_t n)
{
	ssize_t got;

	(void)world;
	do
		got = recv(fd, p, n, 0);
	while (got < 0 && errno == EINTR);
	return got;
}

/* env_real has SIGPIPE ignored, which holds where MSG_NOSIGNAL is missing too. */
static ssize_t real_send(void *world, int fd, const void *p, size_t n)
{
	ssize_t sent;

	(void)world;
	do
		sent = send(fd, p, n, 0);
	while (sent < 0 && errno == EINTR);
	return sent;
}

static int real_wait(void *world, int nfds, fd_set *rd, fd_set *wr, int64_t timeout_us)
{
	int64_t us = timeout_us < WAIT_MAX_US ? timeout_us : WAIT_MAX_US;
	struct timespec t = { 0, 0 };
	static const int let_in[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	sigset_t mask;

	(void)world;
	if (us > 0) {
		t.tv_sec = (time_t)(us / 1000000);
		t.tv_nsec = (long)(us % 1000000 * 1000);
	}
	must(sigprocmask(SIG_BLOCK, NULL, &mask) == 0);
	for (size_t i = 0; i < sizeof let_in / sizeof *let_in; i++)
		must(sigdelset(&mask, let_in[i]) == 0);
	return pselect(nfds, rd, wr, NULL, timeout_us < 0 ? NULL : &t, &mask);
}

/* log lines and death */

/* Short writes happen on full pipes only; what cannot be written has nowhere to be complained about. */
static ssize_t write_all(int fd, const char *p, size_t n)
{
	size_t done = 0;
	ssize_t put;

	while (done < n) {
		put = write(fd, p + done, n - done);
		if (put < 0 && errno != EINTR)
			return -1;
		if (put > 0)
			done += (size_t)put;
	}
	return (ssize_t)done;
}

static void real_log(void *world, const char *line)
{
	struct buf text = {0};
	int saved = errno;

	(void)world;
	buf_fmt(&text, "%s\n", line);
	(void)write_all(2, text.data, text.len);
	buf_free(&text);
	errno = saved;
}

static void real_fatal(void *world, const char *why)
{
	(void)world;
	die(why);
}

/* A JSON string (RFC 8259 section 7) of any bytes: bad UTF-8 becomes U+FFFD. */
static void add_json(struct buf *out, const char *name, const char *p, size_t n)
{
	struct buf clean = {0};

	utf8_clean(&clean, p, n);
	buf_fmt(out, "%s\"%s\":\"", out->len ? "," : "{", name);
	for (size_t i = 0; i < clean.len; i++) {
		unsigned char c = (unsigned char)clean.data[i];
		if (c < 0x20 || c == 0x7f)
			buf_fmt(out, "\\u%04x", (unsigned)c);
		else if (c == '"' || c == '\\')
			buf_fmt(out, "\\%c", (int)c);
		else
			buf_char(out, (char)c);
	}
	buf_char(out, '"');
	buf_free(&clean);
}

static void add_line(const struct env *env, struct buf *line, const char *event, const struct buf *text)
{
	const char *body = text->data ? text->data : "";
	char at[TIME_TEXT];

	time_text(env->wall_ms(env->world), at);
	if (env->log_json) {
		add_json(line, "at", at, strlen(at));
		add_json(line, "event", event, strlen(event));
		add_json(line, "text", body, text->len);
		buf_char(line, '}');
		return;
	}
	buf_fmt(line, "%s %s: ", at, event);
	text_escape(line, body, text->len);
}

void env_log(const struct env *env, const char *event, const char *fmt, ...)
{
	struct buf text = {0}, line = {0};
	va_list args;

	va_start(args, fmt);
	buf_vfmt(&text, fmt, args);
	va_end(args);
	add_line(env, &line, event, &text);
	env->log(env->world, line.data);
	buf_free(&text);
	buf_free(&line);
}

void env_fatal(const struct env *env, const char *fmt, ...)
{
	struct buf text = {0}, line = {0};
	char words[FATAL_MAX];
	va_list args;

	va_start(args, fmt);
	buf_vfmt(&text, fmt, args);
	va_end(args);
	add_line(env, &line, "fatal", &text);
	snprintf(words, sizeof words, "%s", line.data);
	buf_free(&text);
	buf_free(&line);
	env->fatal(env->world, words);                                 /* a test's goes on elsewhere */
	util_broken("a fatal door does not return", __FILE__, __LINE__);
}

void env_point(const struct env *env, enum env_point point, const char *id, int64_t attempt)
{
	if (env->point)
		env->point(env->world, point, id, attempt);
}

/* a process's beginning */

static bool close_listed(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int64_t fd;

	if (!dir)
		return false;
	while ((entry = readdir(dir)) != NULL)
		if (num_parse(entry->d_name, strlen(entry->d_name), 3, INT_MAX, &fd) && fd != dirfd(dir))
			(void)close((int)fd);
	return closedir(dir) == 0;
}

/* /dev/fd is not asked: on some systems it lists 0, 1 and 2 whatever is open. */
void env_close_inherited(void)
{
	long max = sysconf(_SC_OPEN_MAX);
	int fd;

	/* A closed 0, 1 or 2 would be the next file opened: a log line into the database. */
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd >= 0)
		(void)close(fd);
	else if (fcntl(0, F_GETFD) < 0 || fcntl(1, F_GETFD) < 0 || fcntl(2, F_GETFD) < 0)
		die("a standard descriptor is closed and /dev/null cannot be opened");
	if (close_listed("/proc/self/fd"))
		return;
	for (fd = 3; fd < DESCRIPTORS_MAX && (max < 0 || fd < max); fd++)
		(void)close(fd);
}

void env_real(struct env *env)
{
	struct sigaction ignore;

	memset(&ignore, 0, sizeof ignore);
	ignore.sa_handler = SIG_IGN;
	must(sigaction(SIGPIPE, &ignore, NULL) == 0);
#ifdef __GLIBC__
	(void)mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
#endif
	*env = (struct env){
		.mono_us = real_mono_us, .wall_ms = real_wall_ms, .random = real_random,
		.listen = real_listen, .accept = real_accept, .connect = real_connect, .connected = real_connected,
		.recv = real_recv, .send = real_send, .close = real_close, .shut = real_shut, .wait = real_wait,
		.fatal = real_fatal, .log = real_log,
	};
}
