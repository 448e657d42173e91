/* bench: how fast the two programs are here, and how fast the machine would allow. A table, or JSON with --json.
 * It starts the real binaries on port 0 in a directory of its own, over loopback only, each figure bounded in count or time.
 * Usage: bench [--json] [--full] [--rounds=N] [--ms=N] [--sizes=N,N,...] [--only=SECTION] [DIRECTORY-OF-PROGRAMS]
 * Rates are medians over the rounds, percentiles are over all rounds together; rounds are interleaved, so that the machine's moods meet every figure. */
#include "bench.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS_MAX 50
#define SIZES_MAX 8
#define PARKED 900
#define SIZE_ROUNDS 300
#define WARM_LOOKS 2000                /* so that the upper pages of a large table are in memory, as they are in a server that has been at work */
#define DELAY_PAYLOAD "{\"ms\":0}"

struct options { bool json, full; int rounds, ms; long sizes[SIZES_MAX]; int nsizes; const char *only, *programs; };
struct bench { struct options o; const char *section; bool comma; };

/* Output: one row a figure; what does not apply is left out. */

struct row { const char *name; double value; const char *unit; double p50_us, p99_us; };

static void put(struct bench *b, const struct row *r)
{
	if (!b->o.json) {
		printf("%-46s %12.*f %-10s", r->name, r->value < 100 ? 2 : 0, r->value, r->unit);
		if (r->p99_us > 0)
			printf(" p50 %9.0f us  p99 %9.0f us", r->p50_us, r->p99_us);
		printf("\n");
	} else {
		printf("%s\n  {\"section\":\"%s\",\"name\":\"%s\",\"value\":%.3f,\"unit\":\"%s\"", b->comma ? "," : "", b->section, r->name, r->value, r->unit);
		if (r->p99_us > 0)
			printf(",\"p50Us\":%.1f,\"p99Us\":%.1f", r->p50_us, r->p99_us);
		printf("}");
		b->comma = true;
	}
	fflush(stdout);
}

static void put_value(struct bench *b, const char *name, double value, const char *unit)
{
	struct row r = { name, value, unit, 0, 0 };

	put(b, &r);
}

/* A rate's rounds and its latencies. */
static void put_rate(struct bench *b, const char *name, double *rates, int n, struct series *s)
{
	struct row r = { name, median(rates, n), "/s", series_at(s, 0.5), series_at(s, 0.99) };

	put(b, &r);
	series_free(s);
}

static void put_latency(struct bench *b, const char *name, struct series *s)
{
	struct row r = { name, series_at(s, 0.5), "us", series_at(s, 0.5), series_at(s, 0.99) };

	put(b, &r);
	series_free(s);
}

static void section(struct bench *b, const char *title)
{
	b->section = title;
	if (!b->o.json)
		printf("\n%s\n", title);
	fflush(stdout);
}

/* Load. */

static const int conns_of[] = { 1, 16, 64, 256 };
#define NCONNS ((int)(sizeof conns_of / sizeof *conns_of))
enum kind { KIND_CREATE, KIND_CLAIM, KIND_COMPLETE, KIND_LIFE, KIND_COUNT };
struct measured { double per_s[ROUNDS_MAX]; struct series latency; };

static struct load make_load(int port, int conns, enum op first, enum op last, struct job *jobs)
{
	struct load l = { port, conns, first, last, true, 0, 0, jobs, "DELAY", DELAY_PAYLOAD, { NULL, 0, 0 }, 0, 0 };

	return l;
}

/* One kind of call alone: `ops` of it, by agents that hold nothing else, since one that holds a command gets that again. */
static void measure_step(struct load *l, enum op op, long ops, struct measured *m, int round)
{
	l->first = l->last = op;
	l->fixed = false;
	l->ops = ops;
	l->rounds = m->latency;
	load_run(l);
	m->latency = l->rounds;
	m->per_s[round] = l->per_s;
}

static void measure_life(struct load *l, int ms, struct measured *m, int round)
{
	l->first = OP_CREATE;
	l->last = OP_COMPLETE;
	l->fixed = true;
	l->ops = 0;
	l->ms = ms;
	l->rounds = m->latency;
	load_run(l);
	m->latency = l->rounds;
	m->per_s[round] = l->per_s;
}

struct limits { struct measured append, overwrite; double acks_append[ROUNDS_MAX], acks_overwrite[ROUNDS_MAX]; };

static void load_round(struct bench *b, int port, struct measured m[][KIND_COUNT], struct limits *lim, struct job *jobs, int round)
{
	lim->append.per_s[round] = raw_sync(true, 250, &lim->append.latency);
	lim->overwrite.per_s[round] = raw_sync(false, 250, &lim->overwrite.latency);
	for (int i = 0; i < NCONNS; i++) {
		struct load l = make_load(port, conns_of[i], OP_CREATE, OP_COMPLETE, jobs);
		long ops = conns_of[i] == 1 ? 500 : 2000;
		measure_life(&l, b->o.ms, &m[i][KIND_LIFE], round);
		measure_step(&l, OP_CREATE, ops, &m[i][KIND_CREATE], round);
		measure_step(&l, OP_CLAIM, ops, &m[i][KIND_CLAIM], round);
		measure_step(&l, OP_COMPLETE, ops, &m[i][KIND_COMPLETE], round);
	}
	lim->acks_append[round] = 3 * m[0][KIND_LIFE].per_s[round] / lim->append.per_s[round];
	lim->acks_overwrite[round] = 3 * m[0][KIND_LIFE].per_s[round] / lim->overwrite.per_s[round];
}

static void put_load(struct bench *b, struct measured m[][KIND_COUNT], struct limits *lim)
{
	static const char *const names[] = { "create", "claim", "complete", "lifecycle" };
	char name[128];

	section(b, "The disk, in the same rounds as what follows");
	put_rate(b, "append 4 KiB + fdatasync", lim->append.per_s, b->o.rounds, &lim->append.latency);
	put_rate(b, "overwrite 4 KiB + fdatasync", lim->overwrite.per_s, b->o.rounds, &lim->overwrite.latency);
	section(b, "Load: connections with one request in flight each");
	for (int k = 0; k < KIND_COUNT; k++) {
		for (int i = 0; i < NCONNS; i++) {
			snprintf(name, sizeof name, "%s, %d connection%s", names[k], conns_of[i], conns_of[i] > 1 ? "s" : "");
			put_rate(b, name, m[i][k].per_s, b->o.rounds, &m[i][k].latency);
		}
	}
	put_value(b, "acks per appending sync, 1 connection", median(lim->acks_append, b->o.rounds), "ratio");
	put_value(b, "acks per overwriting sync, 1 connection", median(lim->acks_overwrite, b->o.rounds), "ratio");
}

static long commands_in(int port)
{
	struct client c;
	char id[ID_TEXT];
	int64_t row = 0, nonce, at;

	client_open(&c, port);
	client_ask(&c, "POST", "/api/commands", "{\"type\":\"DELAY\",\"payload\":" DELAY_PAYLOAD "}");
	if (c.status != 201 || !client_find(&c, "id", id, sizeof id) || !id_parse(id, strlen(id), &row, &nonce, &at))
		die("cannot create", c.in.data);
	client_close(&c);
	return (long)row;
}

static void bench_load(struct bench *b)
{
	struct measured (*m)[KIND_COUNT] = mem_new(NCONNS * sizeof *m);
	struct limits *lim = mem_new(sizeof *lim);
	struct job *jobs = mem_new(2000 * sizeof *jobs);
	struct program p = server_start("load.db", "--lease-ms=600000");
	long idle_kb = rss_kb(p.pid), busy_kb, n;
	struct load warm = make_load(p.port, 16, OP_CREATE, OP_COMPLETE, jobs);

	warm.fixed = false;
	warm.ops = 2000;               /* each agent's name is known from here on */
	load_run(&warm);
	series_free(&warm.rounds);
	for (int r = 0; r < b->o.rounds; r++)
		load_round(b, p.port, m, lim, jobs, r);
	n = commands_in(p.port);
	busy_kb = rss_kb(p.pid);
	program_end(p.pid);
	put_load(b, m, lim);
	put_value(b, "server memory, fresh", (double)idle_kb, "KiB");
	put_value(b, "server memory, after all that", (double)busy_kb, "KiB");
	put_value(b, "bytes on disk per command", (double)file_bytes("load.db") / (double)n, "bytes");
	free(m);
	free(lim);
	free(jobs);
}

static void bench_machine(struct bench *b)
{
	struct program p = target_start();

	section(b, "The machine: a bare select() loop that answers 200, the same clients");
	for (int i = 0; i < NCONNS; i++) {
		double rates[ROUNDS_MAX];
		struct series s = { NULL, 0, 0 };
		char name[128];
		for (int r = 0; r < b->o.rounds; r++) {
			struct job jobs[256];
			struct load l = make_load(p.port, conns_of[i], OP_BARE, OP_BARE, jobs);
			l.ms = 100;
			l.rounds = s;
			load_run(&l);
			s = l.rounds;
			rates[r] = l.per_s;
		}
		snprintf(name, sizeof name, "bare loop, %d connection%s", conns_of[i], i ? "s" : "");
		put_rate(b, name, rates, b->o.rounds, &s);
	}
	program_end(p.pid);
}

/* Pickup: a poll is parked, then a command comes. */

struct pickup { struct series from_answer, from_send, raw; };

static void complete(struct client *poller, struct client *other, const char *agent)
{
	char id[ID_TEXT], attempt[24], path[100], body[200];

	if (poller->status != 200 || !client_find(poller, "id", id, sizeof id) || !client_find(poller, "attempt", attempt, sizeof attempt))
		die("a poll got no command", poller->in.data);
	snprintf(path, sizeof path, "/api/commands/%s", id);
	snprintf(body, sizeof body, "{\"agentId\":\"%s\",\"attempt\":%s,\"status\":\"COMPLETED\",\"result\":{\"ok\":true,\"tookMs\":0}}", agent, attempt);
	client_ask(other, "PATCH", path, body);
	if (other->status != 200)
		die("cannot complete", other->in.data);
}

/* Reads both until both have their answer. */
static void await_two(struct client *creator, struct client *poller, int64_t *ack_ns, int64_t *job_ns)
{
	struct pollfd p[2] = { { creator->fd, POLLIN, 0 }, { poller->fd, POLLIN, 0 } };

	*ack_ns = *job_ns = 0;
	while (!*ack_ns || !*job_ns) {
		if (poll(p, 2, 10000) <= 0)
			die("no answer within its time", "pickup");
		if (p[0].revents && client_read(creator)) {
			*ack_ns = now_ns();
			p[0].fd = -1;
		}
		if (p[1].revents && client_read(poller)) {
			*job_ns = now_ns();
			p[1].fd = -1;
		}
	}
}

static void pickup_once(struct client *creator, struct client *poller, const char *poll_path, struct pickup *out)
{
	int64_t ack_ns, job_ns;

	client_send(poller, "GET", poll_path, NULL);
	client_ask(creator, "GET", "/health", NULL);           /* answered after the poll was seen */
	client_send(creator, "POST", "/api/commands", "{\"type\":\"DELAY\",\"payload\":" DELAY_PAYLOAD "}");
	await_two(creator, poller, &ack_ns, &job_ns);
	series_add(&out->from_answer, job_ns - ack_ns);
	series_add(&out->from_send, job_ns - creator->sent_ns);
}

static void bench_pickup(struct bench *b)
{
	struct program p = server_start("pickup.db", NULL);
	struct client creator, poller;
	struct pickup out;
	struct raw raw;

	memset(&out, 0, sizeof out);
	raw_open(&raw);
	client_open(&creator, p.port);
	client_open(&poller, p.port);
	for (int i = 0; i < 1000; i++) {
		pickup_once(&creator, &poller, "/api/commands/next?agentId=p&waitMs=10000", &out);
		complete(&poller, &creator, "p");
		series_add(&out.raw, raw_one(&raw));
	}
	client_close(&creator);
	client_close(&poller);
	close(raw.fd);
	unlink("raw");
	program_end(p.pid);
	section(b, "Pickup by a parked poll");
	put_latency(b, "from the create's answer to the command", &out.from_answer);
	put_latency(b, "from the create's sending to the command", &out.from_send);
	put_latency(b, "raw append + fdatasync between them", &out.raw);
}

/* 900 parked agents. One that got a command completes it and parks again. */

static void park(struct client *c, int i)
{
	char path[100];

	snprintf(path, sizeof path, "/api/commands/next?agentId=many/%d&waitMs=20000", i);
	client_send(c, "GET", path, NULL);
}

/* Whoever is given the command; answers that are empty are parked again. */
static int await_any(struct client *agents, struct pollfd *polls)
{
	for (;;) {
		if (poll(polls, PARKED + 1, 20000) <= 0)
			die("no answer within its time", "900 parked");
		for (int i = 0; i < PARKED; i++) {
			if (!polls[i].revents || !client_read(&agents[i]))
				continue;
			if (agents[i].status == 200)
				return i;
			park(&agents[i], i);
		}
	}
}

static void many_round(struct client *agents, struct pollfd *polls, struct client *creator, struct series *s)
{
	char name[32];
	int64_t sent_ns;
	int got;

	client_send(creator, "POST", "/api/commands", "{\"type\":\"DELAY\",\"payload\":" DELAY_PAYLOAD "}");
	sent_ns = creator->sent_ns;
	got = await_any(agents, polls);
	series_add(s, now_ns() - sent_ns);
	while (!client_read(creator))
		;
	snprintf(name, sizeof name, "many/%d", got);
	complete(&agents[got], creator, name);
	park(&agents[got], got);
}

static void bench_many(struct bench *b)
{
	struct program p = server_start("many.db", "--lease-ms=120000");
	struct client *agents = mem_new(PARKED * sizeof *agents), creator;
	struct pollfd *polls = mem_new((PARKED + 1) * sizeof *polls);
	struct series s = { NULL, 0, 0 };
	double cpu;
	long kb;

	for (int i = 0; i < PARKED; i++) {
		client_open(&agents[i], p.port);
		park(&agents[i], i);
		polls[i].fd = agents[i].fd;
		polls[i].events = POLLIN;
	}
	polls[PARKED].fd = -1;
	client_open(&creator, p.port);
	client_ask(&creator, "GET", "/health", NULL);
	cpu = cpu_ms(p.pid);
	poll(NULL, 0, 5000);
	cpu = cpu_ms(p.pid) - cpu;
	for (int i = 0; i < 300; i++)
		many_round(agents, polls, &creator, &s);
	kb = rss_kb(p.pid);
	program_end(p.pid);
	section(b, "900 agents connected, all parked");
	put_latency(b, "from the create's sending to the command", &s);
	put_value(b, "processor, idle for 5 s", cpu / 50, "percent");
	put_value(b, "server memory", (double)kb, "KiB");
	for (int i = 0; i < PARKED; i++)
		client_close(&agents[i]);
	client_close(&creator);
	free(agents);
	free(polls);
}

/* Through a real agent. */

static bool is_completed(struct client *c, const char *id)
{
	char path[100], status[24];

	snprintf(path, sizeof path, "/api/commands/%s", id);
	client_ask(c, "GET", path, NULL);
	if (!client_find(c, "status", status, sizeof status) || strcmp(status, "FAILED") == 0)
		die("a command failed", c->in.data);
	return strcmp(status, "COMPLETED") == 0;
}

static int64_t await_completed(struct client *c, const char *id)
{
	int64_t by = now_ns() + INT64_C(30000000000);

	while (!is_completed(c, id)) {
		if (now_ns() > by)
			die("the agent does not get on", c->in.data);
		poll(NULL, 0, 2);
	}
	return now_ns();
}

/* `ops` commands wait; the agent starts; from its first completion to the last. */
static double agent_round(int port, int slots, const char *type, const char *payload, long ops, const char *name)
{
	struct job *jobs = mem_new((size_t)ops * sizeof *jobs);
	struct load l = make_load(port, 64, OP_CREATE, OP_CREATE, jobs);
	struct client c;
	int64_t began, ended;
	pid_t agent;
	long first = 0;

	l.fixed = false;
	l.ops = ops;
	l.type = type;
	l.payload = payload;
	load_run(&l);
	series_free(&l.rounds);
	for (long i = 1; i < ops; i++)
		first = memcmp(jobs[i].id, jobs[first].id, ID_TEXT) < 0 ? i : first;
	client_open(&c, port);
	agent = agent_start(port, slots, name);
	began = await_completed(&c, jobs[first].id);
	for (long i = 0; i < ops; i++)
		while (i % 64 == 0 && !is_completed(&c, jobs[i].id))
			poll(NULL, 0, 2);
	ended = await_completed(&c, jobs[ops - 1].id);
	program_end(agent);
	client_close(&c);
	free(jobs);
	return (double)(ops - 1) * 1e9 / (double)(ended - began);
}

static void bench_agent(struct bench *b)
{
	static const int slots_of[] = { 1, 16 };
	struct program server = server_start("agent.db", NULL), target = target_start();
	char payload[100], name[80];
	double rates[2][2][ROUNDS_MAX];

	snprintf(payload, sizeof payload, "{\"url\":\"http://127.0.0.1:%d/\"}", target.port);
	for (int r = 0; r < b->o.rounds; r++) {
		for (int i = 0; i < 2; i++) {
			snprintf(name, sizeof name, "bench%d", slots_of[i]);
			rates[0][i][r] = agent_round(server.port, slots_of[i], "DELAY", DELAY_PAYLOAD, i ? 3000 : 500, name);
			rates[1][i][r] = agent_round(server.port, slots_of[i], "HTTP_GET_JSON", payload, i ? 2000 : 400, name);
		}
	}
	program_end(server.pid);
	program_end(target.pid);
	section(b, "Through a real agent");
	for (int k = 0; k < 2; k++) {
		for (int i = 0; i < 2; i++) {
			snprintf(name, sizeof name, "%s, %d slot%s", k ? "HTTP_GET_JSON" : "DELAY 0", slots_of[i], i ? "s" : "");
			put_value(b, name, median(rates[k][i], b->o.rounds), "/s");
		}
	}
}

/* Sizes: all servers at once, asked in turn, so that they meet the same disk. */

struct size { struct fill fill; char path[24], label[64]; struct program p; struct client c; double start_ms; struct series s[5]; long kb; };
enum { ASK_POST, ASK_NEXT, ASK_GET, ASK_LIST, ASK_FAILED };

static void ask(struct size *z, int what, const char *path, const char *body, int want)
{
	int64_t ns = client_ask(&z->c, body ? "POST" : "GET", path, body);

	if (z->c.status != want)
		die(path, z->c.in.data);
	series_add(&z->s[what], ns);
}

static void look_at_one(struct size *z, int i)
{
	char id[ID_TEXT], path[100];

	fill_id((int64_t)i * 7368787 % (z->fill.settled + z->fill.pending) + 1, id);
	snprintf(path, sizeof path, "/api/commands/%s", id);
	ask(z, ASK_GET, path, NULL, 200);
}

static void size_round(struct size *z, int i)
{
	struct client other;

	ask(z, ASK_POST, "/api/commands", "{\"type\":\"DELAY\",\"payload\":" DELAY_PAYLOAD "}", 201);
	ask(z, ASK_NEXT, "/api/commands/next?agentId=size", NULL, 200);
	other = z->c;
	memset(&other.in, 0, sizeof other.in);
	memset(&other.out, 0, sizeof other.out);
	complete(&z->c, &other, "size");
	buf_free(&other.in);
	buf_free(&other.out);
	look_at_one(z, i);
	ask(z, ASK_LIST, "/api/commands", NULL, 200);
	ask(z, ASK_FAILED, "/api/commands?status=FAILED", NULL, 200);
}

static void size_open(struct size *z, long settled, long pending, int number)
{
	struct program made;

	snprintf(z->path, sizeof z->path, "size%d.db", number);
	snprintf(z->label, sizeof z->label, "%ld settled + %ld pending", settled, pending);
	made = server_start(z->path, NULL);
	program_end(made.pid);
	z->fill.path = z->path;
	z->fill.settled = settled;
	z->fill.pending = pending;
	fill_database(&z->fill);
	made = server_start(z->path, NULL);            /* the first start after the fill also makes its log, and waits for the file's own writing */
	program_end(made.pid);
	z->p = server_start(z->path, NULL);
	z->start_ms = (double)z->p.start_ns / 1e6;
	client_open(&z->c, z->p.port);
	for (int i = 1; i <= WARM_LOOKS; i++)
		look_at_one(z, SIZE_ROUNDS + i);
	series_free(&z->s[ASK_GET]);
}

static void put_size(struct bench *b, struct size *z)
{
	static const char *const names[] = { "create", "next", "look at one", "list of 50", "list of 50 FAILED" };
	char name[128];
	long n = z->fill.settled + z->fill.pending;

	section(b, z->label);
	snprintf(name, sizeof name, "start, %s", z->label);
	put_value(b, name, z->start_ms, "ms");
	for (int k = 0; k < 5; k++) {
		snprintf(name, sizeof name, "%s, %s", names[k], z->label);
		put_latency(b, name, &z->s[k]);
	}
	snprintf(name, sizeof name, "memory, %s", z->label);
	put_value(b, name, (double)z->kb, "KiB");
	snprintf(name, sizeof name, "bytes on disk per command, %s", z->label);
	put_value(b, name, (double)file_bytes(z->path) / (double)n, "bytes");
}

static void bench_sizes(struct bench *b)
{
	struct size *sizes = mem_new(SIZES_MAX * 2 * sizeof *sizes);
	int n = 0;

	for (int i = 0; i < b->o.nsizes; i++, n++)
		size_open(&sizes[n], b->o.sizes[i] / 5 * 4, b->o.sizes[i] / 5, n);
	size_open(&sizes[n], b->o.sizes[b->o.nsizes - 1], 0, n);
	n++;
	for (int r = 0; r < SIZE_ROUNDS; r++)
		for (int i = 0; i < n; i++)
			size_round(&sizes[i], r);
	for (int i = 0; i < n; i++) {
		sizes[i].kb = rss_kb(sizes[i].p.pid);
		client_close(&sizes[i].c);
		program_end(sizes[i].p.pid);
		put_size(b, &sizes[i]);
		unlink(sizes[i].path);
	}
	free(sizes);
}

/* Recovery: 100,000 RUNNING commands, each with an agent that never comes back. */

static void bench_recovery(struct bench *b)
{
	struct fill f = { "recovery.db", 0, 100000, 1 };
	struct program p = server_start(f.path, NULL);
	struct client c;
	struct buf last = {0};
	char id[ID_TEXT];
	int64_t began, next_ns;
	double start_ms;

	program_end(p.pid);
	fill_database(&f);
	fill_id(99999, id);                            /* fleet/99999: the last in the order of names, in which leases are set */
	buf_fmt(&last, "/api/commands/%s", id);
	p = server_start(f.path, NULL);
	program_end(p.pid);
	began = now_ns();
	p = server_start(f.path, "--lease-ms=2000");
	start_ms = (double)p.start_ns / 1e6;
	client_open(&c, p.port);
	next_ns = client_ask(&c, "GET", "/api/commands/next?agentId=fresh", NULL);
	for (;;) {
		poll(NULL, 0, 20);
		client_ask(&c, "GET", last.data, NULL);
		if (!strstr(c.body, "\"status\":\"RUNNING\""))
			break;
		if (now_ns() - began > INT64_C(60000000000))
			die("leases do not end", c.in.data);
	}
	section(b, "Recovery with 100,000 RUNNING");
	put_value(b, "start", start_ms, "ms");
	put_value(b, "first next", (double)next_ns / 1e6, "ms");
	put_value(b, "from the end of the lease to the last verdict", (double)(now_ns() - began) / 1e6 - 2000, "ms");
	put_value(b, "server memory", (double)rss_kb(p.pid), "KiB");
	client_close(&c);
	buf_free(&last);
	program_end(p.pid);
}

/* The whole. */

static const struct { const char *name; void (*run)(struct bench *); } sections[] = {
	{ "machine", bench_machine }, { "load", bench_load }, { "pickup", bench_pickup }, { "many", bench_many }, { "agent", bench_agent },
	{ "sizes", bench_sizes }, { "recovery", bench_recovery },
};

static int run(void *arg)
{
	struct bench *b = arg;

	if (b->o.json)
		printf("[");
	for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
		if (!b->o.only || strcmp(b->o.only, sections[i].name) == 0)
			sections[i].run(b);
	if (b->o.json)
		printf("\n]\n");
	return fflush(stdout) != 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: bench [--json] [--full] [--rounds=1..%d] [--ms=N] [--sizes=N,N,...] [--only=SECTION] [DIRECTORY-OF-PROGRAMS]\nsections:", ROUNDS_MAX);
	for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
		fprintf(stderr, " %s", sections[i].name);
	fprintf(stderr, "\n");
	return 2;
}

static bool read_sizes(struct options *o, const char *text)
{
	o->nsizes = 0;
	for (const char *p = text; *p; p += *p == ',') {
		size_t n = strcspn(p, ",");
		int64_t v;
		if (o->nsizes == SIZES_MAX || !num_parse(p, n, 10, 50000000, &v))
			return false;
		o->sizes[o->nsizes++] = (long)v;
		p += n;
	}
	return o->nsizes > 0;
}

static bool read_number(const char *text, int64_t max, int *out)
{
	int64_t v;

	if (!num_parse(text, strlen(text), 1, max, &v))
		return false;
	*out = (int)v;
	return true;
}

static bool read_option(struct options *o, const char *a)
{
	if (strcmp(a, "--json") == 0)
		return o->json = true;
	if (strcmp(a, "--full") == 0)
		return o->full = true;
	if (strncmp(a, "--rounds=", 9) == 0)
		return read_number(a + 9, ROUNDS_MAX, &o->rounds);
	if (strncmp(a, "--ms=", 5) == 0)
		return read_number(a + 5, 60000, &o->ms);
	if (strncmp(a, "--sizes=", 8) == 0)
		return read_sizes(o, a + 8);
	if (strncmp(a, "--only=", 7) == 0)
		o->only = a + 7;
	else if (a[0] != '-')
		o->programs = a;
	return strncmp(a, "--only=", 7) == 0 || a[0] != '-';
}

int main(int argc, char **argv)
{
	struct bench b;

	memset(&b, 0, sizeof b);
	b.o.rounds = 5;
	b.o.ms = 800;
	b.o.programs = ".";
	for (int i = 1; i < argc; i++)
		if (!read_option(&b.o, argv[i]))
			return usage();
	if (b.o.nsizes == 0)
		read_sizes(&b.o, b.o.full ? "1000,100000,1000000,5000000" : "1000,100000");
	return bench_guard(b.o.programs, b.o.full ? 3600 : 600, run, &b);
}
