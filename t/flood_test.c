/* flood: the real server with hundreds of peers that are slow, silent, broken or gone, and one that is none of these and must not notice. What it waited
 * and what the server held is printed; asserted is what no noise of the machine can excuse. */
#include "proc.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
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
	struct sockaddr_in a = {0};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	expect(s, fd >= 0);
	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((uint16_t)atoi(strchr(s->server, ':') + 1));
	expect(s, connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
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

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Another client, while it lasts. Its median and its worst wait, in ms. */
static void look_around(struct scene *s, const char *when)
{
	int64_t waits[LOOKS], began;

	for (int i = 0; i < LOOKS; i++) {
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
	int64_t until;

	may_open(s, AT_ONCE + 100);
	look_around(s, "alone");
	before = memory_kb(&server);
	for (size_t i = 0; i < AT_ONCE; i++)
		fds[i] = knock(s, i);
	look_around(s, "900 slow, silent or broken at once");
	during = memory_kb(&server);
	for (size_t i = 0; i < AT_ONCE; i++)
		close(fds[i]);
	for (size_t i = 0; i < (size_t)WAVES * WAVE; i++)
		close(knock(s, i));
	look_around(s, "after 10,000 more that left at once");
	until = clock_ms() + PROC_PATIENCE_MS;
	while (memory_kb(&server) > before + SLACK_KB && clock_ms() < until)
		nap();
	fprintf(stderr, "  memory: %ld KB before, %ld during, %ld after\n", before, during, memory_kb(&server));
	expect(s, !proc_ended(&server) && memory_kb(&server) <= before + SLACK_KB);
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
	expect(s, memory_kb(&server) < before + MOST_KB);
	for (size_t i = 0; i < DEAF; i++)
		close(fds[i]);
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
	look_around(s, "seven times as many as there are places");
	for (size_t i = 0; i < MANY; i++)
		close(fds[i]);
}

/* Nobody waits in vain, and nothing spins: with every descriptor of the process taken, the processor is idle and the next one is served once there is one. */
static void does_not_spin_without_descriptors(struct scene *s)
{
	enum { MANY = 120 };
	struct rlimit few = { 90, 90 };
	struct rusage used;
	struct proc server;
	int fds[MANY];
	int64_t spent_ms;

	may_open(s, MANY + 100);
	server = proc_fork(s, "server", NULL);
	if (server.pid == 0) {
		char path[600];
		snprintf(path, sizeof path, "%s/server", s->top);
		if (setrlimit(RLIMIT_NOFILE, &few) == 0)
			execl(path, path, "--listen=127.0.0.1:0", "--db-path=commands.db", (char *)NULL);
		_exit(127);
	}
	await_log(s, "server", "listening on http://");
	FILE *f = fopen("server.log", "r");
	expect(s, f && fscanf(f, "listening on http://%63s", s->server) == 1 && fclose(f) == 0);
	for (size_t i = 0; i < MANY; i++)
		fds[i] = knock(s, 7);
	look_around(s, "more polls than descriptors");
	for (size_t i = 0; i < MANY; i++)
		close(fds[i]);
	proc_kill(&server);
	expect(s, getrusage(RUSAGE_CHILDREN, &used) == 0);
	spent_ms = (int64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
	fprintf(stderr, "  the server's processor time: %lld ms\n", (long long)spent_ms);
	expect(s, spent_ms < 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROC_CASE(serves_others_while_hundreds_are_slow),
		PROC_CASE(holds_little_for_those_who_do_not_read),
		PROC_CASE(makes_room_when_all_places_are_taken),
		PROC_CASE(does_not_spin_without_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
