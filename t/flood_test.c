/* flood: the real server with hundreds of peers that are slow, silent, broken or gone, and one that is none of these and must not notice. What it waited
 * and what the server held is printed; asserted is what no noise of the machine can excuse. */
#include "proc.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define AT_ONCE 900
#define WAVES 10                           /* of a thousand connections that are opened and left */
#define WAVE 1000
#define LOOKS 200
#define SLACK_KB 2048
#define CACHE_KB 2048                       /* SQLite's pages: now these, now those */
#ifdef __has_feature
#define KEEPS_FREED __has_feature(address_sanitizer)
#elif defined __SANITIZE_ADDRESS__
#define KEEPS_FREED 1
#else
#define KEEPS_FREED 0
#endif

static const char *const opening[] = {
	"",                                                                                          /* says nothing */
	"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",                                       /* a head without end */
	"POST /api/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",      /* a body without end */
	"POST /api/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ty",
	"GET /api/commands HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/commands HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/commands HTTP/1.1\r\nHost: localhost\r\n\r\n",   /* never reads */
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",                                              /* another protocol */
	"GET /health HTTP/1.0\r\n\r\n",
	"GET /api/commands/next?agentId=parked&waitMs=20000 HTTP/1.1\r\nHost: localhost\r\n\r\n",
};
#define KINDS (sizeof opening / sizeof *opening)

static int knock(struct scene *s, size_t kind)
{
	int fd = proc_dial(s->server);

	expect(s, fd >= 0);
	if (*opening[kind % KINDS])
		(void)send(fd, opening[kind % KINDS], strlen(opening[kind % KINDS]), MSG_NOSIGNAL);
	if (kind % 16 == 9)
		(void)shutdown(fd, SHUT_WR);
	return fd;
}

static long memory_kb(const struct proc *p)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/status", (long)p->pid);
	f = fopen(path, "r");
	while (f && kb < 0 && fgets(line, sizeof line, f))
		if (sscanf(line, "VmRSS: %ld", &kb) != 1)
			kb = -1;
	if (f)
		fclose(f);
	return kb;
}

/* Gone peers leave nothing behind; under a sanitizer, which keeps what has been freed, that is not asked. */
static void await_memory(struct scene *s, struct proc *p, long before)
{
	int64_t until = clock_ms() + PROC_PATIENCE_MS;

	while (!KEEPS_FREED && memory_kb(p) > before + SLACK_KB && clock_ms() < until)
		nap();
	expect(s, !proc_ended(p) && (KEEPS_FREED || memory_kb(p) <= before + SLACK_KB));
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* A byte more from some of those that say little. */
static void drip(const int *fds, size_t n, size_t first)
{
	for (size_t i = first % 10; i < n; i += 10)
		if (i % KINDS == 1 || i % KINDS == 2)
			(void)send(fds[i], " ", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Another client, while it lasts and n others drip. Its median and its worst wait, in ms. */
static void look_around(struct scene *s, const char *when, const int *fds, size_t n)
{
	int64_t waits[LOOKS], began;

	for (int i = 0; i < LOOKS; i++) {
		drip(fds, n, (size_t)i);
		began = clock_ms();
		ask_server(s, "GET", "/api/commands?limit=1", NULL);
		expect(s, s->status == 200);
		waits[i] = clock_ms() - began;
	}
	qsort(waits, LOOKS, sizeof *waits, by_size);
	fprintf(stderr, "  %s: another client waits %lld ms in the median, %lld at most\n", when, (long long)waits[LOOKS / 2], (long long)waits[LOOKS - 1]);
	expect(s, waits[LOOKS / 2] < 1000);
}

static void may_open(struct scene *s, rlim_t n)
{
	struct rlimit limit;

	expect(s, getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = limit.rlim_max < n ? limit.rlim_max : n;
	expect(s, setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void serves_others_while_hundreds_are_slow(struct scene *s)
{
	struct proc server = server_start(s, "");
	int fds[AT_ONCE];
	long before, during;

	may_open(s, AT_ONCE + 100);
	look_around(s, "alone", NULL, 0);
	before = memory_kb(&server);
	for (size_t i = 0; i < AT_ONCE; i++)
		fds[i] = knock(s, i);
	look_around(s, "900 slow, silent or broken at once", fds, AT_ONCE);
	during = memory_kb(&server);
	for (size_t i = 0; i < AT_ONCE; i++)
		close(fds[i]);
	for (size_t i = 0; i < (size_t)WAVES * WAVE; i++)
		close(knock(s, i));
	look_around(s, "after 10,000 more that left at once", NULL, 0);
	await_memory(s, &server, before);
	fprintf(stderr, "  memory: %ld KB before, %ld during, %ld after\n", before, during, memory_kb(&server));
}

/* Results of a megabyte, and peers that ask for them and never read. */
static void holds_little_for_those_who_do_not_read(struct scene *s)
{
	enum { RESULTS = 8, DEAF = 200, RESULT = 900000, MOST_KB = 64 * 1024 };
	struct proc server = server_start(s, "");
	struct buf body = {0};
	char id[ID_TEXT], path[64];
	int fds[DEAF], small = 4096;
	long before;

	for (int i = 0; i < RESULTS; i++) {
		create(s, id, "DELAY", "{\"ms\":0}", false);
		ask_server(s, "GET", "/api/commands/next", NULL);
		buf_clear(&body);
		buf_str(&body, "{\"status\":\"COMPLETED\",\"result\":\"");
		for (int n = 0; n < RESULT; n++)
			buf_char(&body, 'x');
		buf_str(&body, "\"}");
		snprintf(path, sizeof path, "/api/commands/%s", id);
		ask_server(s, "PATCH", path, body.data);
		expect(s, s->status == 200);
	}
	buf_free(&body);
	for (int i = 0; i < 20; i++)                                   /* what is read often is kept by SQLite */
		ask_server(s, "GET", "/api/commands", NULL);
	before = memory_kb(&server);
	for (size_t i = 0; i < DEAF; i++) {
		fds[i] = knock(s, 0);
		expect(s, setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
		(void)send(fds[i], opening[4], strlen(opening[4]), MSG_NOSIGNAL);
	}
	for (int i = 0; i < 20; i++) {
		ask_server(s, "GET", "/health", NULL);
		expect(s, s->status == 200);
	}
	fprintf(stderr, "  memory: %ld KB before, %ld with %d peers that do not read answers of a megabyte\n", before, memory_kb(&server), DEAF);
	expect(s, KEEPS_FREED || memory_kb(&server) < before + MOST_KB);
	for (size_t i = 0; i < DEAF; i++)
		close(fds[i]);
	await_memory(s, &server, before + CACHE_KB);
	fprintf(stderr, "  memory: %ld KB after\n", memory_kb(&server));
}

/* More than there are descriptors for: who only waits makes room, and everybody who asks is answered. */
static void makes_room_when_all_places_are_taken(struct scene *s)
{
	enum { ROOM = 40, MANY = 300 };
	int fds[MANY];
	char id[ID_TEXT];

	may_open(s, MANY + 100);
	server_start(s, "--max-connections=40");
	for (size_t i = 0; i < MANY; i++) {
		fds[i] = knock(s, 0);
		if (i % 10 == 0) {
			create(s, id, "DELAY", "{\"ms\":0}", false);
			expect(s, s->status == 201);
		}
	}
	look_around(s, "seven times as many as there are places", NULL, 0);
	for (size_t i = 0; i < MANY; i++)
		close(fds[i]);
}

/* Large bodies that are begun and left hold the memory for bodies. A report of some size waits its turn, and that is seconds; a small one does not notice. */
static void takes_large_reports_while_others_are_left_half_sent(struct scene *s)
{
	enum { HALVES = 40, SENT = 40000, RESULT = 300000 };
	struct buf body = {0}, half = {0};
	char id[ID_TEXT], path[96];
	int fds[HALVES];
	int64_t began;

	server_start(s, "");
	buf_str(&half, "POST /api/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\n\r\n");
	while (half.len < SENT)
		buf_char(&half, ' ');
	for (size_t i = 0; i < HALVES; i++) {
		fds[i] = knock(s, 0);
		expect(s, send(fds[i], half.data, half.len, MSG_NOSIGNAL) == (ssize_t)half.len);
	}
	create(s, id, "DELAY", "{\"ms\":0}", false);
	ask_server(s, "GET", "/api/commands/next", NULL);
	look_around(s, "with 40 large bodies half sent", NULL, 0);
	buf_str(&body, "{\"status\":\"COMPLETED\",\"result\":\"");
	for (int i = 0; i < RESULT; i++)
		buf_char(&body, 'x');
	buf_str(&body, "\"}");
	command_path(id, "", path);
	began = clock_ms();
	ask_server(s, "PATCH", path, body.data);
	expect(s, s->status == 200);
	fprintf(stderr, "  a report of %d bytes took %lld ms\n", RESULT, (long long)(clock_ms() - began));
	for (size_t i = 0; i < HALVES; i++)
		close(fds[i]);
	buf_free(&body);
	buf_free(&half);
}

/* 'o': nothing is there to be read; 'c': the end; else the first byte that is. */
static char look(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);

	return n > 0 ? byte : n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 'o' : 'c';
}

static void await_look(struct scene *s, int fd, char due)
{
	int64_t until = clock_ms() + PROC_PATIENCE_MS;

	while (look(fd) != due) {
		expect(s, clock_ms() < until);
		nap();
	}
}

static int knock_with(struct scene *s, const char *text)
{
	int fd = knock(s, 0);

	expect(s, send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
	return fd;
}

static int knock_to_park(struct scene *s, int n)
{
	char text[128];

	snprintf(text, sizeof text, "GET /api/commands/next?agentId=a%d&waitMs=20000 HTTP/1.1\r\nHost: localhost\r\n\r\n", n);
	return knock_with(s, text);
}

/* A refused peer hears the end at once, and what it still sends is read for a while, so that no reset overtakes the answer (RFC 9112 section 9.6). */
static void ends_its_side_first(struct scene *s)
{
	char text[4096];
	bool borne = false;

	server_start(s, "");
	for (int i = 0; i < 10 && !borne; i++) {                       /* of a machine that sleeps longer than the second that is borne */
		int fd = knock_with(s, "GET /a b HTTP/1.1\r\n");
		await_look(s, fd, 'H');
		expect(s, recv(fd, text, sizeof text, 0) > 0 && strncmp(text, "HTTP/1.1 400 ", 13) == 0);
		await_look(s, fd, 'c');
		for (int k = 0; k < 5 && send(fd, "x", 1, MSG_NOSIGNAL) == 1; k++) {
			nap();
			borne = k == 4;
		}
		close(fd);
	}
	expect(s, borne);
}

/* Six places: two parked, two unfinished, two idle. Whoever comes then takes the place of the next in this order. */
static void gives_up_the_idle_then_the_unfinished_then_the_parked(struct scene *s)
{
	static const int order[] = { 4, 5, 2, 3, 0, 1 };
	int fds[6];

	server_start(s, "--max-connections=6 --lease-ms=60000");
	for (int i = 0; i < 6; i++) {
		if (i < 2)
			fds[i] = knock_to_park(s, i);
		else
			fds[i] = knock_with(s, i < 4 ? "GET /health HTTP/1.1\r\nHo" : "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
		if (i >= 4)
			await_look(s, fds[i], 'H');
	}
	for (int i = 4; i < 6; i++) {
		char text[1024];
		expect(s, recv(fds[i], text, sizeof text, 0) > 0);
	}
	for (int i = 0; i < 6; i++) {
		knock_to_park(s, 10 + i);
		await_look(s, fds[order[i]], 'c');
		for (int k = i + 1; k < 6; k++)
			expect(s, look(fds[order[k]]) == 'o');
	}
}

/* Those who do not read large answers have all places. False: they were looked at too soon, between two answers that the kernel took, or too late, when
 * they had had their time. */
static bool refused_with_503(struct scene *s, const char *request, int naps)
{
	enum { PLACES = 3 };
	int fds[PLACES], small = 4096;
	bool refused;

	for (int i = 0; i < PLACES; i++) {
		fds[i] = knock(s, 0);
		expect(s, setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
		expect(s, send(fds[i], request, strlen(request), MSG_NOSIGNAL) > 0);
		await_look(s, fds[i], 'H');
	}
	while (naps-- > 0)
		nap();
	ask_server(s, "GET", "/health", NULL);
	refused = s->status == 503;
	if (refused) {
		expect(s, strstr(s->head.data, "Retry-After: 1\r\n") && strstr(s->head.data, "Connection: close\r\n") && body_is(s, "code", "BUSY"));
		for (int64_t until = clock_ms() + PROC_PATIENCE_MS; s->status != 200 && clock_ms() < until; nap())
			ask_server(s, "GET", "/health", NULL);                 /* they have had their time */
		expect(s, s->status == 200);
	}
	for (int i = 0; i < PLACES; i++)
		close(fds[i]);
	return refused;
}

static void refuses_with_503_when_nobody_can_be_given_up(struct scene *s)
{
	struct buf body = {0};
	char id[ID_TEXT], path[96];
	bool refused = false;

	server_start(s, "--max-connections=3");
	create(s, id, "DELAY", "{\"ms\":0}", false);
	ask_server(s, "GET", "/api/commands/next", NULL);
	buf_str(&body, "{\"status\":\"COMPLETED\",\"result\":\"");
	for (int i = 0; i < 1000000; i++)
		buf_char(&body, 'x');
	buf_str(&body, "\"}");
	command_path(id, "", path);
	ask_server(s, "PATCH", path, body.data);
	expect(s, s->status == 200);
	buf_clear(&body);
	for (int i = 0; i < 8; i++)                                    /* more than the kernel takes off the server's hands */
		buf_fmt(&body, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
	for (int i = 1; i < 8 && !refused; i++)
		refused = refused_with_503(s, body.data, 10 * i);
	expect(s, refused);
	buf_free(&body);
}

/* A server that may open no more than `most` descriptors. False: it does not even start. */
static bool start_with_few(struct scene *s, struct proc *server, rlim_t most)
{
	struct rlimit few = { most, most };
	char path[600];
	bool good;
	int out;

	*server = proc_fork(s, "server", &out);
	if (server->pid == 0) {
		snprintf(path, sizeof path, "%s/server", s->top);
		if (setrlimit(RLIMIT_NOFILE, &few) == 0)
			execl(path, path, "--listen=127.0.0.1:0", "--db-path=commands.db", (char *)NULL);
		_exit(127);
	}
	good = proc_read_address(s, out, s->server);
	close(out);
	return good;
}

static int64_t spent_ms(struct scene *s, struct proc *p)
{
	struct rusage before, after;

	expect(s, getrusage(RUSAGE_CHILDREN, &before) == 0);
	proc_kill(p);
	expect(s, getrusage(RUSAGE_CHILDREN, &after) == 0);
	return (int64_t)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000 +
		(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1000;
}

/* Nobody waits in vain, and nothing spins: with every descriptor of the process taken, the processor is idle and the next one is served once there is one. */
static void does_not_spin_without_descriptors(struct scene *s)
{
	enum { MANY = 120 };
	struct proc server;
	int fds[MANY];
	int64_t ms;

	may_open(s, MANY + 100);
	expect(s, start_with_few(s, &server, 90));
	for (size_t i = 0; i < MANY; i++)
		fds[i] = knock(s, 7);
	look_around(s, "more polls than descriptors", NULL, 0);
	for (size_t i = 0; i < MANY; i++)
		close(fds[i]);
	ms = spent_ms(s, &server);
	fprintf(stderr, "  the server's processor time: %lld ms\n", (long long)ms);
	expect(s, ms < 5000);
}

/* With not one descriptor left for a connection (EMFILE) accept is asked ten times a second, and no more. */
static void does_not_spin_with_no_descriptor_at_all(struct scene *s)
{
	struct proc server = {0};
	int64_t until, ms;
	rlim_t most = 6;
	int fd;

	while (!start_with_few(s, &server, most)) {
		expect(s, proc_wait(s, &server) != 0 && most < 40);
		most++;
	}
	fd = knock(s, 6);
	for (until = clock_ms() + 1000; clock_ms() < until; nap())
		expect(s, look(fd) == 'o');
	ms = spent_ms(s, &server);
	fprintf(stderr, "  of a second without a descriptor to accept with: %lld ms of processor time, start included\n", (long long)ms);
	expect(s, ms < 300);
	close(fd);
}

/* Descriptors that came with the process are closed: what held their other ends hears of it. */
static void closes_what_came_with_the_process(struct scene *s)
{
	int ends[2], high = 99;
	char none;

	expect(s, pipe(ends) == 0 && dup2(ends[1], high) == high);
	s->server[0] = '\0';
	server_start(s, "");
	agent_start(s, "a", "");
	await_log(s, "a", "a");
	close(ends[1]);
	close(high);
	expect(s, read(ends[0], &none, 1) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROC_CASE(serves_others_while_hundreds_are_slow),
		PROC_CASE(holds_little_for_those_who_do_not_read),
		PROC_CASE(makes_room_when_all_places_are_taken),
		PROC_CASE(takes_large_reports_while_others_are_left_half_sent),
		PROC_CASE(ends_its_side_first),
		PROC_CASE(gives_up_the_idle_then_the_unfinished_then_the_parked),
		PROC_CASE(refuses_with_503_when_nobody_can_be_given_up),
		PROC_CASE(does_not_spin_without_descriptors),
		PROC_CASE(does_not_spin_with_no_descriptor_at_all),
		PROC_CASE(closes_what_came_with_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
