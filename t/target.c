/* target: a small HTTP server for tests and the demonstration: what commands fetch. It counts each arrival under its key, so that what really was executed is
 * known from outside. One select loop, one answer a connection, up to 1000 connections. Prints "listening on http://127.0.0.1:PORT", runs until killed.
 *   /hit/KEY          counts, answers {"hit":"KEY","n":N}        /count/KEY  the number, without counting       /counts       all of them
 *   /slow/KEY?ms=N    counts at once, answers after N ms         /hold/KEY   counts, answers only when released  /release/KEY  lets all that hold KEY go
 *   /status/NNN       answers with that status                   /size/N     a JSON string N bytes long          /to/PATH      a redirect to /PATH */
#include "../util.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNS 1000
#define HEAD_MAX 8192
#define SIZE_MAX_BYTES 16777216
#define FOREVER INT64_MAX

struct key { struct key *next; char *name; long n; };
struct conn { int fd; char in[HEAD_MAX]; size_t have; bool answered; int64_t due_us; const struct key *held; struct buf out; size_t sent; };
struct target { int listener; struct key *keys; struct conn *conns[CONNS]; int n; };
struct route { const char *prefix; void (*answer)(struct target *, struct conn *, char *rest, const char *query); };

static void die(const char *what)
{
	fprintf(stderr, "target: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_us(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
		die("clock_gettime");
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static struct key *key_of(struct target *t, const char *name)
{
	struct key *k = t->keys;

	while (k && strcmp(k->name, name) != 0)
		k = k->next;
	if (k)
		return k;
	k = mem_new(sizeof *k);
	k->name = mem_dup(name);
	k->next = t->keys;
	t->keys = k;
	return k;
}

/* Answers. due_us says when they leave. */

static void answer(struct conn *c, int status, const char *more, const char *body)
{
	buf_fmt(&c->out, "HTTP/1.1 %d Told\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n%s", status, strlen(body), more, body);
	c->answered = true;
}

static void answer_number(struct conn *c, const char *word, const struct key *k)
{
	struct buf body = {0};

	buf_fmt(&body, "{\"%s\":\"%s\",\"n\":%ld}", word, k->name, k->n);
	answer(c, 200, "", body.data);
	buf_free(&body);
}

static void hit(struct target *t, struct conn *c, char *rest, const char *query)
{
	struct key *k = key_of(t, rest);

	(void)query;
	k->n++;
	answer_number(c, "hit", k);
}

static void slow(struct target *t, struct conn *c, char *rest, const char *query)
{
	const char *ms = strncmp(query, "ms=", 3) == 0 ? query + 3 : "0";
	int64_t wait = 0;

	num_parse(ms, strlen(ms), 0, 86400000, &wait);
	hit(t, c, rest, query);
	c->due_us = now_us() + wait * 1000;
}

static void hold(struct target *t, struct conn *c, char *rest, const char *query)
{
	hit(t, c, rest, query);
	c->held = key_of(t, rest);
	c->due_us = FOREVER;
}

static void release(struct target *t, struct conn *c, char *rest, const char *query)
{
	const struct key *k = key_of(t, rest);

	(void)query;
	for (int i = 0; i < t->n; i++)
		if (t->conns[i]->held == k)
			t->conns[i]->due_us = 0;
	answer_number(c, "released", k);
}

static void count(struct target *t, struct conn *c, char *rest, const char *query)
{
	(void)query;
	answer_number(c, "count", key_of(t, rest));
}

static void counts(struct target *t, struct conn *c, char *rest, const char *query)
{
	struct buf body = {0};

	(void)rest;
	(void)query;
	buf_char(&body, '{');
	for (const struct key *k = t->keys; k; k = k->next)
		if (k->n > 0)
			buf_fmt(&body, "%s\"%s\":%ld", body.len > 1 ? "," : "", k->name, k->n);
	buf_char(&body, '}');
	answer(c, 200, "", body.data);
	buf_free(&body);
}

static void status(struct target *t, struct conn *c, char *rest, const char *query)
{
	int64_t n = 0;
	char body[32];

	(void)t;
	(void)query;
	if (!num_parse(rest, strlen(rest), 200, 599, &n))
		n = 400;
	snprintf(body, sizeof body, "{\"status\":%d}", (int)n);
	answer(c, (int)n, "", body);
}

static void size(struct target *t, struct conn *c, char *rest, const char *query)
{
	struct buf body = {0};
	int64_t n = 2;

	(void)t;
	(void)query;
	num_parse(rest, strlen(rest), 2, SIZE_MAX_BYTES, &n);
	memset(buf_room(&body, (size_t)n), 'x', (size_t)n);
	body.len = (size_t)n;
	body.data[0] = body.data[n - 1] = '"';
	body.data[n] = '\0';
	answer(c, 200, "", body.data);
	buf_free(&body);
}

static void to(struct target *t, struct conn *c, char *rest, const char *query)
{
	struct buf field = {0};

	(void)t;
	buf_fmt(&field, "Location: /%s%s%s\r\n", rest, *query ? "?" : "", query);
	answer(c, 302, field.data, "{}");
	buf_free(&field);
}

static const struct route routes[] = {
	{ "/hit/", hit }, { "/slow/", slow }, { "/hold/", hold }, { "/release/", release }, { "/count/", count }, { "/counts", counts }, { "/status/", status },
	{ "/size/", size }, { "/to/", to },
};

/* A key goes into JSON as it is, so nothing that would need an escape gets in. */
static bool plain(const char *text)
{
	for (; *text; text++)
		if (*text < '!' || *text > '~' || *text == '"' || *text == '\\')
			return false;
	return true;
}

static void dispatch(struct target *t, struct conn *c)
{
	char *path = strchr(c->in, ' '), *end, *query;

	if (!path || strncmp(c->in, "GET ", 4) != 0 || !(end = strchr(++path, ' '))) {
		answer(c, 400, "", "{\"error\":\"a GET is expected\"}");
		return;
	}
	*end = '\0';
	query = strchr(path, '?');
	if (query)
		*query++ = '\0';
	for (size_t i = 0; i < sizeof routes / sizeof *routes && plain(path); i++)
		if (strncmp(path, routes[i].prefix, strlen(routes[i].prefix)) == 0) {
			routes[i].answer(t, c, path + strlen(routes[i].prefix), query ? query : "");
			return;
		}
	answer(c, 404, "", "{\"error\":\"no such path\"}");
}

/* Connections. Each step: false when the connection is over. */

static bool read_some(struct target *t, struct conn *c)
{
	char over[512];
	ssize_t n = c->answered ? recv(c->fd, over, sizeof over, 0) : recv(c->fd, c->in + c->have, sizeof c->in - 1 - c->have, 0);

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	if (c->answered)
		return true;
	c->have += (size_t)n;
	c->in[c->have] = '\0';
	if (strstr(c->in, "\r\n\r\n"))
		dispatch(t, c);
	return c->answered || c->have < sizeof c->in - 1;
}

static bool write_some(struct conn *c)
{
	ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->sent += (size_t)n;
	return c->sent < c->out.len;
}

static void take(struct target *t)
{
	struct conn *c;
	int fd = accept(t->listener, NULL, NULL);

	if (fd < 0)
		return;
	if (t->n == CONNS || fd >= FD_SETSIZE || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
		close(fd);
		return;
	}
	c = mem_new(sizeof *c);
	c->fd = fd;
	t->conns[t->n++] = c;
}

static void drop(struct target *t, int i)
{
	close(t->conns[i]->fd);
	buf_free(&t->conns[i]->out);
	free(t->conns[i]);
	t->conns[i] = t->conns[--t->n];
}

static bool leaving(const struct conn *c, int64_t now) { return c->answered && c->due_us <= now; }

/* Waits until something can be done; the sets say what. */
static void wait_ready(const struct target *t, fd_set *rd, fd_set *wr)
{
	int64_t now = now_us(), next = FOREVER;
	struct timeval left;
	int top = t->listener;

	FD_ZERO(rd);
	FD_ZERO(wr);
	FD_SET(t->listener, rd);
	for (int i = 0; i < t->n; i++) {
		const struct conn *c = t->conns[i];
		FD_SET(c->fd, rd);
		if (leaving(c, now))
			FD_SET(c->fd, wr);
		else if (c->answered && c->due_us < next)
			next = c->due_us;
		top = c->fd > top ? c->fd : top;
	}
	left.tv_sec = (time_t)((next - now) / 1000000);
	left.tv_usec = (suseconds_t)((next - now) % 1000000);
	if (select(top + 1, rd, wr, NULL, next == FOREVER ? NULL : &left) < 0)
		die("select");
}

static void turn(struct target *t)
{
	fd_set rd, wr;

	wait_ready(t, &rd, &wr);
	for (int i = t->n - 1; i >= 0; i--) {
		struct conn *c = t->conns[i];
		bool stays = !FD_ISSET(c->fd, &rd) || read_some(t, c);
		if (stays && leaving(c, now_us()))
			stays = write_some(c);
		if (!stays)
			drop(t, i);
	}
	if (FD_ISSET(t->listener, &rd))
		take(t);
}

int main(void)
{
	struct target t = {0};
	struct sockaddr_in a = {0};
	socklen_t len = sizeof a;

	signal(SIGPIPE, SIG_IGN);
	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	t.listener = socket(AF_INET, SOCK_STREAM, 0);
	if (t.listener < 0 || bind(t.listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(t.listener, 1024) != 0 || getsockname(t.listener, (struct sockaddr *)&a, &len) != 0
		|| fcntl(t.listener, F_SETFL, O_NONBLOCK) != 0)
		die("listen");
	if (printf("listening on http://127.0.0.1:%d\n", ntohs(a.sin_port)) < 0 || fflush(stdout) != 0)
		die("stdout");
	for (;;)
		turn(&t);
}
