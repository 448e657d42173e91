/* hostile: the real programs against servers that answer with anything, disks that are full, damaged or open to others, and an end in the middle of a
 * crowd; and what their log lines look like meanwhile. The flood of peers is flood_test's. */
#include "proc.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __has_feature
#define SANITIZED __has_feature(address_sanitizer)
#elif defined __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
#define ADDRESS_SPACE (96L * 1024 * 1024)
#define MANNER_SECONDS 20

/* Servers that answer with anything. */

enum manner { CLOSES, HANGS, DRIPS, RESETS, FOR_EVER };
#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"
#define TO(place) CLOSES, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " place "\r\n\r\n", NULL
#define DENIED "is an address that this agent may not connect to"

/* What is said first, and what then for ever; exit status 0: an answer came. */
static const struct evil { enum manner manner; const char *first, *more; int status; const char *says; } evils[] = {
	{ FOR_EVER, "HTTP/1.1 200 ", "x", 1, "the answer is malformed: the start line is longer than 8192 bytes" },
	{ FOR_EVER, "", "x", 1, "the answer is malformed: the start line is longer than 8192 bytes" },
	{ FOR_EVER, OK, "X-A: b\r\n", 1, "the answer is malformed: the header section is longer than 16384 bytes" },
	{ FOR_EVER, OK "X-A: ", "b", 1, "the answer is malformed: the header section is longer than 16384 bytes" },
	{ FOR_EVER, "", "HTTP/1.1 100 Continue\r\n\r\n", 1, "more than 10 interim answers" },
	{ FOR_EVER, "", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 1, "more than 10 interim answers" },
	{ FOR_EVER, CHUNKED, "1\r\nx\r\n", 0, "\"truncated\":true,\"bytesReturned\":5000" },
	{ FOR_EVER, CHUNKED "fffffffffffffff\r\n", "x", 0, "\"truncated\":true,\"bytesReturned\":5000" },
	{ FOR_EVER, CHUNKED "1;", "a", 1, "the answer is malformed: a chunk's size line is longer than 1024 bytes" },
	{ FOR_EVER, CHUNKED "0\r\n", "A: b\r\n", 1, "the answer is malformed: the trailers are longer than 8192 bytes" },
	{ FOR_EVER, CHUNKED, "0", 1, "the answer is malformed: a chunk's size has more than 16 digits" },
	{ FOR_EVER, OK "\r\n", "x", 0, "\"truncated\":true,\"bytesReturned\":5000" },
	{ FOR_EVER, OK "\r\n", "\xff", 0, "\"truncated\":true" },
	{ FOR_EVER, OK "Content-Length: 9000000000000000000\r\n\r\n", "[", 0, "\"truncated\":true,\"bytesReturned\":5000" },
	{ FOR_EVER, OK "Content-Length: 2\r\n\r\n12", "x", 0, "\"body\":12," },
	{ DRIPS, "", "H", 1, "no answer within " },
	{ DRIPS, OK "X-A: ", "b", 1, "no answer within " },
	{ DRIPS, OK "\r\n", "b", 1, "the answer was not complete within " },
	{ HANGS, "", NULL, 1, "no answer within " },
	{ HANGS, "HTTP/1.1 200 O", NULL, 1, "no answer within " },
	{ HANGS, "HTTP/1.1 100 Continue\r\n\r\n", NULL, 1, "no answer within " },
	{ HANGS, OK "Content-Length: 3\r\n\r\n12", NULL, 1, "ms: 2 bytes of its body had come" },
	{ HANGS, CHUNKED "3\r\n12", NULL, 1, "ms: 2 bytes of its body had come" },
	{ HANGS, OK "Content-Length: 2\r\n\r\n12", NULL, 0, "\"body\":12,\"truncated\":false" },
	{ CLOSES, "", NULL, 1, "before an answer" },
	{ CLOSES, OK "A: ", NULL, 1, "in the middle of the answer's head" },
	{ CLOSES, OK "Content-Length: 10\r\n\r\n12", NULL, 1, "after 2 of 10 bytes" },
	{ CLOSES, CHUNKED "5\r\n12345\r\n", NULL, 1, "after 5 bytes of a body that had not ended" },
	{ CLOSES, OK "Content-Length: 2\r\n\r\n12 and more", NULL, 0, "\"body\":12," },
	{ CLOSES, OK "Content-Length: 2\r\nContent-Length: 3\r\n\r\n12", NULL, 1, "the answer is malformed: more than one Content-Length" },
	{ CLOSES, OK "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n12", NULL, 1, "the answer is malformed: both Content-Length and Transfer-Encoding" },
	{ CLOSES, OK "Transfer-Encoding: gzip\r\n\r\n12", NULL, 1, "the answer is malformed: a transfer coding other than chunked" },
	{ CLOSES, OK "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", NULL, 1, "the answer is encoded (gzip), which was not asked for" },
	{ CLOSES, OK "Content-Encoding: br\r\n\r\n", NULL, 1, "the answer is encoded (br), which was not asked for" },
	{ CLOSES, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", NULL, 1, "it switches to a protocol" },
	{ CLOSES, "SSH-2.0-OpenSSH_9.2p1\r\n", NULL, 1, "the answer is malformed" },
	{ CLOSES, "\x15\x03\x01\x01\x02\x02\x46\r\n", NULL, 1, "the answer is malformed" },
	{ CLOSES, "220 mail ESMTP\r\n", NULL, 1, "the answer is malformed" },
	{ CLOSES, OK "\r\n[1,2", NULL, 0, "the body is not JSON: the text ends too soon at byte 4" },
	{ CLOSES, OK "\r\n\x1f\x8b\x08", NULL, 0, "the body is not JSON" },
	{ CLOSES, OK "\r\n", NULL, 0, "the body is empty" },
	{ RESETS, "", NULL, 1, "connection reset" },
	{ RESETS, OK "Content-Length: 10\r\n\r\n12", NULL, 1, "connection reset after" },
	{ TO("?again"), 1, "more than 5 redirects" },
	{ TO("file:///etc/passwd"), 1, "a redirect to nowhere: not an http or https URL" },
	{ TO("ftp://127.0.0.1/"), 1, "a redirect to nowhere: not an http or https URL" },
	{ TO("javascript:alert(1)"), 1, "a redirect to nowhere" },
	{ TO("http://user:secret@127.0.0.1/"), 1, "a redirect to nowhere: the URL has user info" },
	{ TO("http://169.254.169.254/latest/meta-data/"), 1, DENIED },
	{ TO("//169.254.169.254/"), 1, DENIED },
	{ TO("http://[::ffff:169.254.169.254]/"), 1, DENIED },
	{ TO("http://[::ffff:a9fe:a9fe]/"), 1, DENIED },
	{ TO("http://[64:ff9b::a9fe:a9fe]/"), 1, DENIED },
	{ TO("http://2852039166/"), 1, DENIED },
	{ TO("http://0xa9fea9fe/"), 1, DENIED },
	{ TO("http://0251.0376.0251.0376/"), 1, DENIED },
	{ TO("http://169.16689662/"), 1, DENIED },
};

static void say_for_ever(int fd, const char *more)
{
	char piece[8192];
	size_t len = 0, one = strlen(more);

	while (len + one <= sizeof piece) {
		memcpy(piece + len, more, one);
		len += one;
	}
	while (send(fd, piece, len, MSG_NOSIGNAL) > 0)
		;
}

static void behave(int fd, const struct evil *e)
{
	struct linger now = { 1, 0 };
	char byte;

	(void)send(fd, e->first, strlen(e->first), MSG_NOSIGNAL);
	switch (e->manner) {
	case FOR_EVER:
		say_for_ever(fd, e->more);
		break;
	case DRIPS:
		while (send(fd, e->more, 1, MSG_NOSIGNAL) == 1)
			nap();
		break;
	case HANGS:
		while (recv(fd, &byte, 1, 0) > 0)
			;
		break;
	case RESETS:
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
		break;
	case CLOSES:
		(void)shutdown(fd, SHUT_WR);
		while (recv(fd, &byte, 1, 0) > 0)
			;
		break;
	}
	close(fd);
}

/* One process that behaves as the path's number says, one client after another. */
static UTIL_NORETURN void serve_evil(int listener)
{
	char request[2048];
	size_t len, which;

	for (;;) {
		int fd = accept(listener, NULL, NULL);
		ssize_t n;
		len = 0;
		while (fd >= 0 && len < sizeof request - 1 && (n = recv(fd, request + len, sizeof request - 1 - len, 0)) > 0) {
			len += (size_t)n;
			request[len] = '\0';
			if (strstr(request, "\r\n\r\n"))
				break;
		}
		which = len > 5 ? (size_t)strtoul(request + 5, NULL, 10) : 0;
		if (fd >= 0)
			behave(fd, &evils[which % (sizeof evils / sizeof *evils)]);
	}
}

static void evil_start(struct scene *s, char address[64])
{
	int listener = proc_listen(s, address);
	struct proc p = proc_fork(s, "evil", NULL);

	if (p.pid == 0)
		serve_evil(listener);
	close(listener);
}

static void set_limit(struct scene *s, int which, rlim_t n)
{
	struct rlimit limit;

	expect(s, getrlimit(which, &limit) == 0);
	limit.rlim_cur = n < limit.rlim_max ? n : limit.rlim_max;
	expect(s, setrlimit(which, &limit) == 0);
}

static void every_answer_ends_in_words_within_time_and_memory(struct scene *s)
{
	char address[64];

	evil_start(s, address);
#ifdef RLIMIT_AS
	if (!SANITIZED)
		set_limit(s, RLIMIT_AS, ADDRESS_SPACE);
#endif
	for (size_t i = 0; i < sizeof evils / sizeof *evils; i++) {
		int64_t began = clock_ms();
		char flags[256];
		int status;
		snprintf(flags, sizeof flags, "--max-bytes=5000 --timeout-ms=400 --deny=169.254.0.0/16 http://%s/%zu", address, i);
		if (evils[i].manner != DRIPS && evils[i].manner != HANGS)
			snprintf(flags, sizeof flags, "--max-bytes=5000 --deny=169.254.0.0/16 http://%s/%zu", address, i);
		status = program_run(s, "t/httpget", flags);
		if (status != evils[i].status || !log_says(s, "out", evils[i].says) || clock_ms() - began > MANNER_SECONDS * 1000) {
			fprintf(stderr, "row %zu: status %d after %lld ms\n", i, status, (long long)(clock_ms() - began));
			scene_fail(s, __FILE__, __LINE__, evils[i].says);
		}
	}
}

/* Disks. */

static int mode_of(struct scene *s, const char *path)
{
	struct stat st;

	expect(s, lstat(path, &st) == 0);
	return (int)(st.st_mode & 07777);
}

static void refuses(struct scene *s, const char *flags, const char *says)
{
	char agents[512];

	expect(s, program_run(s, "server", flags) == 1 && log_says(s, "out", says));
	snprintf(agents, sizeof agents, "--once --journal-path=%s", strchr(flags, '=') + 1);
	expect(s, program_run(s, "agent", agents) == 1 && log_says(s, "out", says));
}

static void trusts_no_file_that_others_could_change(struct scene *s)
{
	struct proc server, agent;

	umask(0);
	server = server_start(s, "");
	agent = agent_start(s, "a", "");
	await_log(s, "a", "a");
	ask_server(s, "GET", "/health", NULL);
	expect(s, mode_of(s, "commands.db") == 0600 && mode_of(s, "commands.db-wal") == 0600 && mode_of(s, "commands.db.lock") == 0600);
	expect(s, mode_of(s, "a.db") == 0600);
	expect(s, symlink("commands.db", "link.db") == 0 && symlink("nothing", "dangling.db") == 0);
	refuses(s, "--db-path=link.db", "link.db");
	refuses(s, "--db-path=dangling.db", "dangling.db");
	expect(s, !file_there("nothing"));
	expect(s, mkdir("open", 0777) == 0 && mkdir("sticky", 01777) == 0 && chmod("sticky", 01777) == 0);
	refuses(s, "--db-path=open/x.db", "open");
	expect(s, !file_there("open/x.db"));
	expect(s, program_run(s, "server", "--migrate --db-path=sticky/x.db") == 0 && mode_of(s, "sticky/x.db") == 0600);
	refuses(s, "--db-path=open", "open");
	refuses(s, "--db-path=absent/x.db", "absent");
	proc_kill(&agent);
	proc_kill(&server);
}

static bool post(struct scene *s, char *id)
{
	struct json v;

	ask_server(s, "POST", "/api/commands", "{\"type\":\"DELAY\",\"payload\":{\"ms\":0}}");
	if (s->status != 201)
		return false;
	expect(s, json_find(&s->json, "id", &v) && v.len == ID_TEXT + 1);
	memcpy(id, v.text + 1, ID_TEXT - 1);
	id[ID_TEXT - 1] = '\0';
	return true;
}

#define MANY 4000

/* A file may not grow beyond a size: 503 for changes, reads go on; what was acknowledged is there when there is room again. */
static void a_full_disk_is_503_and_forgets_nothing(struct scene *s)
{
	char (*ids)[ID_TEXT] = mem_new(MANY * sizeof *ids), path[96];
	struct proc server;
	int n = 0;

	set_limit(s, RLIMIT_FSIZE, 300000);
	server = server_start(s, "");
	while (n < MANY && post(s, ids[n]))
		n++;
	expect(s, n > 10 && n < MANY && s->status == 503 && body_is(s, "code", "STORAGE") && strstr(s->head.data, "Retry-After: "));
	ask_server(s, "GET", "/health", NULL);
	expect(s, s->status == 200);
	for (int i = 0; i < n; i += 7) {
		command_path(ids[i], "", path);
		ask_server(s, "GET", path, NULL);
		expect(s, s->status == 200);
	}
	proc_kill(&server);
	set_limit(s, RLIMIT_FSIZE, RLIM_INFINITY);
	server_start(s, "");
	for (int i = 0; i < n; i++)
		expect(s, is(s, ids[i], "status", "PENDING"));
	expect(s, post(s, ids[0]));
	free(ids);
}

/* Acknowledging into a file that nobody will find again would be a lie. */
static void a_deleted_database_ends_the_server(struct scene *s)
{
	struct proc server = server_start(s, "");
	char id[ID_TEXT];

	expect(s, post(s, id) && unlink("commands.db") == 0);
	expect(s, !post(s, id));
	expect(s, proc_wait(s, &server) == 1 << 8 && log_says(s, "server", "commands.db"));
}

static void check_finds_damaged_pages(struct scene *s)
{
	struct proc server = server_start(s, "");
	char id[ID_TEXT], junk[600];
	int fd;

	for (int i = 0; i < 100; i++)
		expect(s, post(s, id));
	expect(s, program_run(s, "server", "--check --db-path=commands.db") == 0);          /* of a server at work */
	proc_signal(&server, SIGTERM);
	expect(s, proc_wait(s, &server) == 0 && program_run(s, "server", "--check --db-path=commands.db") == 0);
	memset(junk, 0x5a, sizeof junk);
	fd = open("commands.db", O_WRONLY);
	expect(s, fd >= 0);
	for (off_t at = 2 * 4096 + 100; at < 40000; at += 4096)
		expect(s, pwrite(fd, junk, sizeof junk, at) > 0);
	expect(s, close(fd) == 0 && program_run(s, "server", "--check --db-path=commands.db") == 1);
	expect(s, log_says(s, "out", "commands.db"));
}

/* Logs. */

static int lines_of(struct scene *s, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[4096];
	struct json v, member;
	int n = 0;

	expect(s, f != NULL);
	for (; fgets(line, sizeof line, f); n++) {
		size_t len = strcspn(line, "\n");
		if (strncmp(line, "listening on", 12) == 0)
			continue;
		if (!json_read(line, len, JSON_DEPTH, &v, NULL) || !json_find(&v, "at", &member) || !json_find(&v, "event", &member) || !json_find(&v, "text", &member))
			scene_fail(s, path, n + 1, line);
		for (size_t i = 0; i < len; i++)
			expect(s, (unsigned char)line[i] >= 0x20);
	}
	fclose(f);
	return n;
}

/* Every line is one JSON object, whatever happens, and no token and no password of a URL is in any of them. */
static void log_lines_are_json_and_hold_no_secrets(struct scene *s)
{
	static const char tokens[] = "--log-format=json --agent-token-file=agent.token";
	struct proc server, agent;
	char id[ID_TEXT], flags[256];
	int fd = open("agent.token", O_WRONLY | O_CREAT, 0600);

	expect(s, fd >= 0 && write(fd, "s3cret-token\n", 13) == 13 && close(fd) == 0);
	snprintf(flags, sizeof flags, "%s --lease-ms=500", tokens);
	server = server_start(s, flags);
	agent = agent_start(s, "a", tokens);
	create(s, id, "DELAY", "{\"ms\":600000}", false);
	await(s, id, "status", "RUNNING");
	ask(s, s->server, "GET", "/api/commands/next?agentId=a&journalId=other&bootId=1-00000000", "Authorization: Bearer wrong-s3cret\r\n", NULL);
	expect(s, s->status == 401);
	ask(s, s->server, "GET", "/api/commands/next?agentId=a&journalId=other&bootId=1-00000000", "Authorization: Bearer s3cret-token\r\n", NULL);
	expect(s, s->status == 409);
	ask(s, s->server, "GET", "/api/commands/next?agentId=%0a%22%1b", "Authorization: Bearer s3cret-token\r\n", NULL);
	expect(s, s->status == 400);
	proc_kill(&agent);
	await(s, id, "failureCode", "AGENT_LOST");
	create(s, id, "HTTP_GET_JSON", "{\"url\":\"http://127.0.0.1:1/\"}", false);
	agent = agent_start(s, "a", tokens);
	await(s, id, "status", "FAILED");
	proc_kill(&server);
	await_log(s, "a", "server away");
	server = server_start(s, flags);
	await_log(s, "a", "server answers");
	proc_signal(&agent, SIGTERM);
	proc_signal(&server, SIGTERM);
	expect(s, proc_wait(s, &agent) == 0 && proc_wait(s, &server) == 0);
	expect(s, lines_of(s, "server.log") >= 3 && lines_of(s, "a.log") >= 3);
	expect(s, !log_says(s, "server", "s3cret") && !log_says(s, "a", "s3cret"));
}

/* The end in the middle of a crowd. */

#define WRITERS 4

/* Creates until nobody answers; a line for each acknowledged id. */
static UTIL_NORETURN void write_on(struct scene *s, int n)
{
	char path[32], id[ID_TEXT + 1];
	int fd;

	snprintf(path, sizeof path, "acked-%d", n);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	while (fd >= 0 && post(s, id)) {
		id[ID_TEXT - 1] = '\n';
		if (write(fd, id, ID_TEXT) != ID_TEXT)
			_exit(2);
	}
	_exit(s->status == 0 ? 0 : 1);
}

static int check_acked(struct scene *s, int n)
{
	char path[32], id[ID_TEXT + 1];
	FILE *f;
	int count = 0;

	snprintf(path, sizeof path, "acked-%d", n);
	f = fopen(path, "r");
	expect(s, f != NULL);
	for (; fgets(id, sizeof id, f); count++) {
		id[ID_TEXT - 1] = '\0';
		expect(s, is(s, id, "status", "PENDING"));
	}
	fclose(f);
	return count;
}

static void a_stop_in_the_middle_of_a_crowd_loses_nothing(struct scene *s)
{
	struct proc server = server_start(s, ""), writers[WRITERS];
	int count = 0;

	for (int i = 0; i < WRITERS; i++) {
		writers[i] = proc_fork(s, "writer", NULL);
		if (writers[i].pid == 0)
			write_on(s, i);
	}
	for (int i = 0; i < WRITERS; i++) {
		char path[32];
		struct stat st = {0};
		snprintf(path, sizeof path, "acked-%d", i);
		for (int64_t until = clock_ms() + PROC_PATIENCE_MS; st.st_size < 20 * ID_TEXT && clock_ms() < until; nap())
			(void)stat(path, &st);
	}
	proc_signal(&server, SIGTERM);
	expect(s, proc_wait(s, &server) == 0);
	for (int i = 0; i < WRITERS; i++)
		expect(s, proc_wait(s, &writers[i]) == 0);                     /* none heard half an answer, or a refusal */
	server_start(s, "");
	for (int i = 0; i < WRITERS; i++)
		count += check_acked(s, i);
	expect(s, count >= WRITERS * 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROC_CASE(every_answer_ends_in_words_within_time_and_memory),
		PROC_CASE(trusts_no_file_that_others_could_change),
		PROC_CASE(a_full_disk_is_503_and_forgets_nothing),
		PROC_CASE(a_deleted_database_ends_the_server),
		PROC_CASE(check_finds_damaged_pages),
		PROC_CASE(log_lines_are_json_and_hold_no_secrets),
		PROC_CASE(a_stop_in_the_middle_of_a_crowd_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
