/* proc: scenes with real processes: directories, process groups, programs, a blocking HTTP client, and a proxy that does harm on purpose. */
#include "proc.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORDS 32
#define PATH_MAX_BYTES 1100
#define ORPHAN_SECONDS 90                  /* alarms of programs: they go over an exec */

/* Scenes. */

int64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void nap(void)
{
	struct timespec t = { 0, 4000000 };

	nanosleep(&t, NULL);
}

/* The group is ended here, by its leader, who can reap what it started: an orphan stays in the group until init has reaped it, and not every init does. */
static UTIL_NORETURN void leave(int status)
{
	pid_t group = getpgrp();

	if (setpgid(0, getpgid(getppid())) == 0) {
		kill(-group, SIGKILL);
		while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
			;
	}
	_exit(status);
}

void scene_fail(struct scene *s, const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: expected %s\n", file, line, what);
	if (s->body.len)
		fprintf(stderr, "  the last answer: %d %.2000s\n", s->status, s->body.data);
	leave(1);
}

void scene_end(struct scene *s)
{
	(void)s;
	leave(0);
}

static void play_and_exit(const char *top, const char *dir, const struct proc_case *c)
{
	struct scene s = {0};

	setpgid(0, 0);
	alarm(SCENE_SECONDS);
	signal(SIGPIPE, SIG_IGN);
	snprintf(s.top, sizeof s.top, "%s", top);
	snprintf(s.dir, sizeof s.dir, "%s", dir);
	s.arg = c->arg;
	if (chdir(dir) != 0)
		_exit(2);
	c->play(&s);
	leave(0);
}

/* What the leader did not start itself holds the pipe's other end until it has ended. */
static void end_group(pid_t group, int alive)
{
	char none;

	kill(-group, SIGKILL);
	while (read(alive, &none, 1) < 0 && errno == EINTR)
		;
	close(alive);
}

void dir_remove(const char *dir)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", dir, (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

bool proc_scene(const struct proc_case *c, char dir[512])
{
	const char *tmp = getenv("TMPDIR");
	char top[512];
	int status = 0, alive[2];
	pid_t pid;

	snprintf(dir, 512, "%s/onlyonce-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!getcwd(top, sizeof top) || !mkdtemp(dir)) {
		dir[0] = '\0';
		return false;
	}
	if (pipe(alive) != 0 || fcntl(alive[1], F_SETFD, FD_CLOEXEC) != 0 || fcntl(alive[0], F_SETFD, FD_CLOEXEC) != 0)
		return false;
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return false;
	if (pid == 0)
		play_and_exit(top, dir, c);
	setpgid(pid, pid);
	close(alive[1]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	end_group(pid, alive[0]);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		fprintf(stderr, "the scene did not end in %d s\n", SCENE_SECONDS);
	if (status == 0)
		dir_remove(dir);
	return status == 0;
}

void proc_play(void **state)
{
	char dir[512];

	if (!proc_scene(*state, dir))
		fail_msg("the scene failed; see %s", dir);
}

/* Processes. */

bool file_there(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

struct proc proc_fork(struct scene *s, const char *name, int *out)
{
	struct proc p = {0};
	char log[64];
	int ends[2] = { -1, -1 }, fd;

	snprintf(p.name, sizeof p.name, "%s", name);
	snprintf(log, sizeof log, "%s.log", name);
	expect(s, !out || pipe(ends) == 0);
	p.pid = fork();
	expect(s, p.pid >= 0);
	if (p.pid > 0) {
		if (out) {
			close(ends[1]);
			*out = ends[0];
		}
		return p;
	}
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd < 0 || dup2(fd, 2) < 0 || dup2(out ? ends[1] : fd, 1) < 0)
		_exit(126);
	alarm(ORPHAN_SECONDS);
	return p;
}

/* Splits flags, which it keeps, into argv behind program. */
static void words(char *flags, char *program, char *argv[WORDS + 2])
{
	int n = 0;

	argv[n++] = program;
	for (char *w = strtok(flags, " "); w && n <= WORDS; w = strtok(NULL, " "))
		argv[n++] = w;
	argv[n] = NULL;
}

/* The environment holds no settings of ours. */
static void become(const struct scene *s, const char *program, const char *flags)
{
	char path[PATH_MAX_BYTES], copy[4096], asan[512], ubsan[512], find[2048];
	char *argv[WORDS + 2], *envp[4] = { find, asan, ubsan, NULL };

	snprintf(path, sizeof path, "%s/%s", s->top, program);
	snprintf(copy, sizeof copy, "%s", flags);
	snprintf(find, sizeof find, "PATH=%s", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	snprintf(asan, sizeof asan, "ASAN_OPTIONS=%s", getenv("ASAN_OPTIONS") ? getenv("ASAN_OPTIONS") : "");
	snprintf(ubsan, sizeof ubsan, "UBSAN_OPTIONS=%s", getenv("UBSAN_OPTIONS") ? getenv("UBSAN_OPTIONS") : "");
	words(copy, path, argv);
	execve(path, argv, envp);
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

bool proc_read_address(struct scene *s, int out, char address[64])
{
	static const char head[] = "listening on http://";
	char line[256] = "";
	size_t n = 0;
	struct pollfd p = { out, POLLIN, 0 };

	while (n < sizeof line - 1 && !strchr(line, '\n')) {
		expect(s, poll(&p, 1, PROC_PATIENCE_MS) == 1);
		if (read(out, line + n, 1) != 1)
			return false;
		line[++n] = '\0';
	}
	expect(s, strncmp(line, head, sizeof head - 1) == 0 && n > sizeof head && n - sizeof head < 64);
	line[n - 1] = '\0';
	memcpy(address, line + sizeof head - 1, n - sizeof head + 1);
	return true;
}

struct proc program_start_heard(struct scene *s, const char *name, const char *program, const char *flags, int *out)
{
	struct proc p = proc_fork(s, name, out);

	if (p.pid == 0)
		become(s, program, flags);
	return p;
}

static struct proc listener_start(struct scene *s, const char *name, const char *program, const char *flags, char address[64])
{
	int out;
	struct proc p = program_start_heard(s, name, program, flags, &out);

	expect(s, proc_read_address(s, out, address));
	return p;
}

struct proc server_start(struct scene *s, const char *flags)
{
	char all[2048];

	snprintf(all, sizeof all, "--listen=%s --db-path=commands.db %s", s->server[0] ? s->server : "127.0.0.1:0", flags);
	return listener_start(s, "server", "server", all, s->server);
}

struct proc target_start(struct scene *s) { return listener_start(s, "target", "build/target", "", s->target); }

struct proc program_start(struct scene *s, const char *name, const char *program, const char *flags)
{
	return program_start_heard(s, name, program, flags, NULL);
}

struct proc agent_start_at(struct scene *s, const char *address, const char *name, const char *flags)
{
	char all[2048];

	snprintf(all, sizeof all, "--server-url=http://%s --agent-id=%s --journal-path=%s.db --poll-interval-ms=200 %s", address, name, name, flags);
	return program_start(s, name, "agent", all);
}

struct proc agent_start(struct scene *s, const char *name, const char *flags) { return agent_start_at(s, s->server, name, flags); }

int program_run(struct scene *s, const char *program, const char *flags)
{
	struct proc p;
	int status;

	(void)unlink("out.log");
	p = program_start(s, "out", program, flags);
	status = proc_wait(s, &p);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void proc_signal(struct proc *p, int signo) { kill(p->pid, signo); }

void proc_kill(struct proc *p)
{
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	p->pid = 0;
}

bool proc_ended(struct proc *p)
{
	if (p->pid && waitpid(p->pid, &p->status, WNOHANG) == p->pid)
		p->pid = 0;
	return p->pid == 0;
}

int proc_wait(struct scene *s, struct proc *p)
{
	int64_t until = clock_ms() + PROC_PATIENCE_MS;

	while (!proc_ended(p)) {
		expect(s, clock_ms() < until);
		nap();
	}
	return p->status;
}

bool log_says(struct scene *s, const char *name, const char *text)
{
	struct buf all = {0};
	char path[64];
	ssize_t n;
	bool found;
	int fd;

	snprintf(path, sizeof path, "%s.log", name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	while ((n = read(fd, buf_room(&all, 65536), 65536)) > 0)
		all.len += (size_t)n;
	expect(s, n == 0);
	close(fd);
	buf_char(&all, '\0');
	found = strstr(all.data, text) != NULL;
	buf_free(&all);
	return found;
}

void await_log(struct scene *s, const char *name, const char *text)
{
	int64_t until = clock_ms() + PROC_PATIENCE_MS;

	while (!log_says(s, name, text)) {
		if (clock_ms() >= until)
			scene_fail(s, name, 0, text);
		nap();
	}
}

/* HTTP: one blocking exchange a connection. */

int proc_dial(const char *address)
{
	struct sockaddr_in a = {0};
	struct timeval patience = { PROC_PATIENCE_MS / 1000, 0 };
	const char *colon = strchr(address, ':');
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((uint16_t)atoi(colon ? colon + 1 : "0"));
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 || connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	close(fd);
	return -1;
}

int proc_listen(struct scene *s, char address[64])
{
	struct sockaddr_in a = {0};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	expect(s, fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
	expect(s, bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 64) == 0);
	expect(s, getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	snprintf(address, 64, "127.0.0.1:%d", ntohs(a.sin_port));
	return fd;
}

static bool send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
		if (sent <= 0)
			return false;
		p += sent;
		n -= (size_t)sent;
	}
	return true;
}

/* Reads a head and as much body as its Content-Length says. The length of the head, or 0 when there is no whole message. */
static size_t read_message(int fd, struct buf *m)
{
	size_t head = 0, body = 0;

	buf_clear(m);
	while (head == 0 || m->len < head + body) {
		ssize_t n = recv(fd, buf_room(m, 65536), 65536, 0);
		if (n <= 0)
			return 0;
		m->len += (size_t)n;
		m->data[m->len] = '\0';
		if (head == 0 && strstr(m->data, "\r\n\r\n")) {
			const char *length = strstr(m->data, "Content-Length: ");
			head = (size_t)(strstr(m->data, "\r\n\r\n") - m->data) + 4;
			body = length && length < m->data + head ? (size_t)strtoul(length + 16, NULL, 10) : 0;
		}
	}
	return head;
}

void ask(struct scene *s, const char *address, const char *method, const char *path, const char *fields, const char *body)
{
	struct buf request = {0}, reply = {0};
	int fd = proc_dial(address);
	size_t head = 0;

	s->status = 0;
	s->json.type = JSON_NULL;
	buf_clear(&s->head);
	buf_clear(&s->body);
	buf_fmt(&request, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s", method, path, address, fields);
	if (body)
		buf_fmt(&request, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
	else
		buf_str(&request, "\r\n");
	if (fd >= 0 && send_all(fd, request.data, request.len))
		head = read_message(fd, &reply);
	if (head > 12) {
		s->status = atoi(reply.data + 9);
		buf_add(&s->head, reply.data, head);
		buf_add(&s->body, reply.data + head, reply.len - head);
		if (!json_read(s->body.data, s->body.len, JSON_DEPTH, &s->json, NULL))
			s->json.type = JSON_NULL;
	}
	if (fd >= 0)
		close(fd);
	buf_free(&request);
	buf_free(&reply);
}

void ask_server(struct scene *s, const char *method, const char *path, const char *body) { ask(s, s->server, method, path, "", body); }

bool body_is(struct scene *s, const char *member, const char *text)
{
	struct json v;

	if (s->json.type != JSON_OBJECT || !json_find(&s->json, member, &v))
		return false;
	return v.type == JSON_STRING ? json_same(&v, text) : v.len == strlen(text) && memcmp(v.text, text, v.len) == 0;
}

bool body_has(struct scene *s, const char *text) { return s->body.len && strstr(s->body.data, text) != NULL; }

/* Commands. */

void create(struct scene *s, char *id, const char *type, const char *payload, bool idempotent)
{
	struct buf body = {0};
	struct json v;

	buf_fmt(&body, "{\"type\":\"%s\",\"payload\":%s,\"isIdempotent\":%s}", type, payload, idempotent ? "true" : "false");
	ask_server(s, "POST", "/api/commands", body.data);
	buf_free(&body);
	expect(s, s->status == 201 && json_find(&s->json, "id", &v) && v.len == ID_TEXT + 1);
	memcpy(id, v.text + 1, ID_TEXT - 1);
	id[ID_TEXT - 1] = '\0';
}

void create_get(struct scene *s, char *id, const char *path, bool idempotent)
{
	char payload[256];

	snprintf(payload, sizeof payload, "{\"url\":\"http://%s%s\"}", s->target, path);
	create(s, id, "HTTP_GET_JSON", payload, idempotent);
}

bool is(struct scene *s, const char *id, const char *member, const char *text)
{
	char path[64];

	snprintf(path, sizeof path, "/api/commands/%s", id);
	ask_server(s, "GET", path, NULL);
	return body_is(s, member, text);
}

void command_path(const char *id, const char *more, char out[96]) { snprintf(out, 96, "/api/commands/%s%s", id, more); }

bool events_say(struct scene *s, const char *id, const char *text)
{
	char path[96];

	command_path(id, "/events", path);
	ask_server(s, "GET", path, NULL);
	return s->status == 200 && body_has(s, text);
}

void await(struct scene *s, const char *id, const char *member, const char *text)
{
	int64_t until = clock_ms() + PROC_PATIENCE_MS;

	while (!is(s, id, member, text)) {
		if (clock_ms() >= until)
			scene_fail(s, member, 0, text);
		nap();
	}
}

long ran(struct scene *s, const char *key)
{
	char path[128];
	struct json n;
	int64_t count = -1;

	snprintf(path, sizeof path, "/count/%s", key);
	ask(s, s->target, "GET", path, "", NULL);
	expect(s, json_find(&s->json, "n", &n) && json_int(&n, &count));
	return (long)count;
}

void await_ran(struct scene *s, const char *key, long n)
{
	int64_t until = clock_ms() + PROC_PATIENCE_MS;

	while (ran(s, key) < n) {
		if (clock_ms() >= until)
			scene_fail(s, "that the target was asked for", 0, key);
		nap();
	}
}

void release(struct scene *s, const char *key)
{
	char path[128];

	snprintf(path, sizeof path, "/release/%s", key);
	ask(s, s->target, "GET", path, "", NULL);
	expect(s, s->status == 200);
}

static bool any_with(struct scene *s, const char *status)
{
	char path[64];

	snprintf(path, sizeof path, "/api/commands?limit=1&status=%s", status);
	ask_server(s, "GET", path, NULL);
	return s->status != 200 || body_has(s, "\"id\"");
}

void await_all_ended(struct scene *s)
{
	int64_t until = clock_ms() + 2 * PROC_PATIENCE_MS;

	while (any_with(s, "PENDING") || any_with(s, "RUNNING")) {
		expect(s, clock_ms() < until);
		nap();
	}
}

void expect_audit(struct scene *s, const char *journals)
{
	char flags[1024];

	snprintf(flags, sizeof flags, "--audit commands.db %s", journals);
	expect(s, program_run(s, "server", flags) == 0);
}

/* The proxy: a process a connection, so that each may block. What has been done is known by files, which all of them see. */

/* True once for each n up to rule->times, over all processes. */
static bool take_turn(const struct rule *r)
{
	char path[32];

	for (int n = 1; n <= r->times; n++) {
		int fd;
		snprintf(path, sizeof path, "harm-%d", n);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
		if (fd < 0)
			continue;
		close(fd);
		return true;
	}
	return false;
}

bool harmed(struct scene *s, int n)
{
	char path[32];

	(void)s;
	snprintf(path, sizeof path, "harm-%d", n);
	return file_there(path);
}

void await_harm(struct scene *s, int n)
{
	int64_t until = clock_ms() + PROC_PATIENCE_MS;

	while (!harmed(s, n)) {
		expect(s, clock_ms() < until);
		nap();
	}
}

void release_held(struct scene *s)
{
	int fd = open("go", O_WRONLY | O_CREAT, 0600);

	expect(s, fd >= 0);
	close(fd);
}

static bool meant(const struct rule *r, const struct buf *request)
{
	return strncmp(request->data, r->request, strlen(r->request)) == 0 && (!r->text || strstr(request->data, r->text));
}

/* The server's answer, or false: none, or the client went away meanwhile; then the server is left at once, as the client would have. */
static bool fetch(struct scene *s, int client, const struct buf *request, struct buf *reply, const struct rule *mark)
{
	struct pollfd p[2] = { { client, POLLIN, 0 }, { proc_dial(s->server), POLLIN, 0 } };
	bool good = p[1].fd >= 0 && send_all(p[1].fd, request->data, request->len);

	if (good && mark)
		take_turn(mark);
	good = good && poll(p, 2, ORPHAN_SECONDS * 1000) > 0 && p[1].revents && read_message(p[1].fd, reply) > 0;

	if (p[1].fd >= 0)
		close(p[1].fd);
	return good;
}

static void carry(struct scene *s, const struct rule *r, int client)
{
	struct buf request = {0}, reply = {0};

	while (read_message(client, &request) > 0) {
		bool mine = meant(r, &request);
		if (mine && r->harm == LOSE_REQUEST && take_turn(r))
			break;
		if (!fetch(s, client, &request, &reply, mine && r->harm == MARK ? r : NULL))
			break;
		if (mine && r->harm == SEND_TWICE && take_turn(r) && !fetch(s, client, &request, &reply, NULL))
			break;
		mine = mine && atoi(reply.data + 9) == r->status;
		if (mine && r->harm == LOSE_REPLY && take_turn(r))
			break;
		if (mine && r->harm == HOLD_REPLY && take_turn(r))
			while (!file_there("go"))
				nap();
		if (!send_all(client, reply.data, reply.len))
			break;
	}
	_exit(0);
}

static void serve_proxy(struct scene *s, const struct rule *r, int listener)
{
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int client = accept(listener, NULL, NULL);
		pid_t pid = client < 0 ? -1 : fork();
		if (pid == 0) {
			alarm(ORPHAN_SECONDS);
			carry(s, r, client);
		}
		if (client >= 0)
			close(client);
	}
}

struct proc proxy_start(struct scene *s, const struct rule *r, char address[64])
{
	int listener = proc_listen(s, address);
	struct proc p = proc_fork(s, "proxy", NULL);

	if (p.pid == 0)
		serve_proxy(s, r, listener);
	close(listener);
	return p;
}
