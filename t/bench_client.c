/* bench_client: clients of the measured server over poll(): small, trusting (it is our own server that answers), quick. Not the project's own client, so that
 * its mistakes and its cost are not measured twice. */
#include "bench.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS_MAX 1000
#define STALL_MS 20000

/* One connection. */

void client_open(struct client *c, int port)
{
	struct sockaddr_in a;
	int one = 1;

	memset(c, 0, sizeof *c);
	memset(&a, 0, sizeof a);
	a.sin_family = AF_INET;
	a.sin_port = htons((uint16_t)port);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0 || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
		die("connect", strerror(errno));
}

void client_close(struct client *c)
{
	close(c->fd);
	buf_free(&c->in);
	buf_free(&c->out);
}

void client_send(struct client *c, const char *method, const char *path, const char *body)
{
	size_t sent = 0;

	buf_clear(&c->in);
	c->whole = 0;
	buf_clear(&c->out);
	buf_fmt(&c->out, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", method, path);
	if (body)
		buf_fmt(&c->out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
	buf_str(&c->out, "\r\n");
	if (body)
		buf_str(&c->out, body);
	c->sent_ns = now_ns();
	while (sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + sent, c->out.len - sent, MSG_NOSIGNAL);
		if (n < 0)
			die("send", strerror(errno));
		sent += (size_t)n;
	}
}

static size_t length_of(const char *head, const char *end)
{
	static const char name[] = "content-length:";

	for (const char *p = head; p && p < end; p = strstr(p, "\r\n")) {
		p += *p == '\r' ? 2 : 0;
		if (strncasecmp(p, name, sizeof name - 1) == 0)
			return (size_t)strtoul(p + sizeof name - 1, NULL, 10);
	}
	return 0;
}

static bool whole(struct client *c)
{
	char *end;

	if (!c->whole) {
		end = strstr(c->in.data, "\r\n\r\n");
		if (!end)
			return false;
		c->status = atoi(c->in.data + 9);
		c->body_len = length_of(c->in.data, end);
		c->whole = (size_t)(end + 4 - c->in.data) + c->body_len;
	}
	c->body = c->in.data + c->whole - c->body_len;
	return c->in.len >= c->whole;
}

bool client_read(struct client *c)
{
	char *room = buf_room(&c->in, 16384);
	ssize_t n = recv(c->fd, room, 16384, 0);

	if (n <= 0)
		die("recv", n ? strerror(errno) : "the server closed the connection");
	c->in.len += (size_t)n;
	c->in.data[c->in.len] = '\0';
	return whole(c);
}

static void await(struct client *c)
{
	struct pollfd p = { c->fd, POLLIN, 0 };

	do
		if (poll(&p, 1, STALL_MS) <= 0)
			die("no answer within its time", c->out.data);
	while (!client_read(c));
}

int64_t client_ask(struct client *c, const char *method, const char *path, const char *body)
{
	client_send(c, method, path, body);
	await(c);
	return now_ns() - c->sent_ns;
}

bool client_find(const struct client *c, const char *member, char *out, size_t n)
{
	char key[64];
	const char *p;
	size_t len;

	snprintf(key, sizeof key, "\"%s\":", member);
	p = strstr(c->body, key);
	if (!p)
		return false;
	p += strlen(key);
	p += *p == '"';
	len = strcspn(p, "\",}]");
	if (len >= n)
		return false;
	memcpy(out, p, len);
	out[len] = '\0';
	return true;
}

/* Load. */

struct run { struct load *load; struct client *clients; struct pollfd *polls; long next; int active; int64_t began_ns, stop_ns, last_ns; };

static void step(struct run *r, struct client *c)
{
	struct load *l = r->load;
	struct job *j = &l->jobs[c->ticket];
	char path[160], body[512];

	switch (c->step) {
	case OP_CREATE:
		snprintf(body, sizeof body, "{\"type\":\"%s\",\"payload\":%s,\"isIdempotent\":true}", l->type, l->payload);
		client_send(c, "POST", "/api/commands", body);
		return;
	case OP_CLAIM:
		snprintf(path, sizeof path, "/api/commands/next?agentId=w%ld&waitMs=10000", c->ticket);
		client_send(c, "GET", path, NULL);
		return;
	case OP_COMPLETE:
		snprintf(path, sizeof path, "/api/commands/%s", j->id);
		snprintf(body, sizeof body, "{\"agentId\":\"w%ld\",\"attempt\":%lld,\"status\":\"COMPLETED\",\"result\":{\"ok\":true,\"tookMs\":0}}", c->ticket, (long long)j->attempt);
		client_send(c, "PATCH", path, body);
		return;
	default:
		client_send(c, "GET", "/", NULL);
	}
}

static void take_answer(struct run *r, struct client *c)
{
	static const int wanted[OP_COUNT] = { 201, 200, 200, 200 };
	struct job *j;
	char attempt[24];

	if (c->status != wanted[c->step])
		die("an unexpected answer", c->in.data);
	if (c->step != OP_CREATE && c->step != OP_CLAIM)
		return;
	j = &r->load->jobs[c->ticket];
	if (!client_find(c, "id", j->id, sizeof j->id) || !client_find(c, "attempt", attempt, sizeof attempt))
		die("an answer without id", c->in.data);
	j->attempt = atoll(attempt);
}

static bool again(const struct run *r, int64_t ns)
{
	return r->load->ops ? r->next < r->load->ops : ns < r->stop_ns;
}

static void begin(struct run *r, struct client *c, long own)
{
	c->ticket = r->load->fixed ? own : r->next;
	r->next++;
	c->step = (int)r->load->first;
	step(r, c);
	c->began_ns = c->sent_ns;
}

static void answered(struct run *r, int i)
{
	struct client *c = &r->clients[i];
	int64_t ns = now_ns();

	take_answer(r, c);
	if (c->step < (int)r->load->last) {
		c->step++;
		step(r, c);
		return;
	}
	series_add(&r->load->rounds, ns - c->began_ns);
	r->load->done++;
	r->last_ns = ns;
	if (again(r, ns)) {
		begin(r, c, i);
		return;
	}
	r->polls[i].fd = -1;
	r->active--;
}

void load_run(struct load *l)
{
	struct run r = { l, mem_new((size_t)l->conns * sizeof(struct client)), mem_new((size_t)l->conns * sizeof(struct pollfd)), 0, 0, 0, 0, 0 };

	must(l->conns <= CONNS_MAX);
	for (int i = 0; i < l->conns; i++)
		client_open(&r.clients[i], l->port);
	l->done = 0;
	r.began_ns = r.last_ns = now_ns();
	r.stop_ns = r.began_ns + (int64_t)l->ms * 1000000;
	for (int i = 0; i < l->conns; i++) {
		r.polls[i].fd = again(&r, r.began_ns) ? r.clients[i].fd : -1;
		r.polls[i].events = POLLIN;
		if (r.polls[i].fd >= 0) {
			begin(&r, &r.clients[i], i);
			r.active++;
		}
	}
	while (r.active) {
		if (poll(r.polls, (nfds_t)l->conns, STALL_MS) <= 0)
			die("no answer within its time", "under load");
		for (int i = 0; i < l->conns; i++)
			if (r.polls[i].fd >= 0 && r.polls[i].revents && client_read(&r.clients[i]))
				answered(&r, i);
	}
	l->per_s = (double)l->done * 1e9 / (double)(r.last_ns - r.began_ns);
	for (int i = 0; i < l->conns; i++)
		client_close(&r.clients[i]);
	free(r.clients);
	free(r.polls);
}
