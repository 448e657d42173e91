/* crash: the real programs die at every write, sync, deletion, connect and send, one after another, and what comes after is judged. For each story, for the server and
 * for the agent, for n = 1, 2, 3 ... the program kills itself at its n-th act (crash_node.c), is started again as it is shipped, and everything must come to rest; until a run
 * ends without a death. Each death leaves the disk as a kill does, or as a power cut may: what no sync covers is lost, cut off, or mixed. Then:
 *   nothing acknowledged is lost; the target saw a non-idempotent command at most once, and once more for a RETRY; what was seen settled stays as it was;
 *   all is settled, or in review with a reason; what may be done twice is COMPLETED; server --audit says PROVEN.
 * The last cases put synchronous=NORMAL in place of FULL, and must find commands executed twice, and commands lost.
 * Without words every n, each with one loss. --all: with every loss, several times, and a second death at every act of the life after. --all STORY: that one only. */
#include "proc.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4
#define POINTS_MAX 1000
#define SEEDS 3
#define BAD_MAX 3
#define CUT 2                              /* of losses */
#define LOG_BYTES 985L * 4120              /* just short of what db.c lets the log grow to */
#define SERVER_FLAGS "--db-path=commands.db --lease-ms=600"

static const char *const losses[] = { "keep", "drop", "cut", "mix" };
#define LOSSES 4

struct tale;
/* begin: with programs as they are shipped. act: the program under test may die at any time. */
struct story {
	const char *name;
	void (*begin)(struct tale *), (*act)(struct tale *);
	bool idempotent;
	int retries;                                               /* executions allowed beyond one */
	enum { SERVER_ONLY, ALWAYS, NEVER } completes;             /* nothing is in doubt, so that it must end COMPLETED: while the agent lives; whatever dies; not at all */
};
/* Dies at act n; and, when started again, at its act `again` (0: not again). */
struct point { const struct story *story; const char *program; bool normal; int n, again, loss, seed, out; };
struct outcome { int died, images, twice, lost; };

struct tale {
	struct scene *s;
	const struct point *at;
	struct proc server, agent;
	bool armed;                                                /* the next start of the program under test is the one that dies */
	struct outcome outcome;
	char proxy[64];                                            /* where the agent finds the server; empty: itself */
	char id[ID_TEXT];                                          /* empty: no answer to the POST was read */
	bool retried;                                              /* a RETRY was acknowledged */
	struct buf settled;                                        /* as it was first seen settled */
};

#define FILLER "http://127.0.0.1:1/x"          /* what other commands are for */

/* The two programs. */

static bool under_test(const struct tale *t, const char *program) { return strcmp(t->at->program, program) == 0; }

static UTIL_NORETURN void tell(struct tale *t)
{
	if (write(t->at->out, &t->outcome, sizeof t->outcome) != (ssize_t)sizeof t->outcome)
		scene_fail(t->s, __FILE__, __LINE__, "a pipe to the judge");
	scene_end(t->s);
}

static int seed_now(const struct tale *t) { return 2 * t->at->seed + t->outcome.died; }

/* The next start of the program under test is one that dies. */
static void arm(struct tale *t)
{
	FILE *plan = fopen("crash.plan", "w");

	expect(t->s, plan && fprintf(plan, "%d %s %d\n", t->outcome.died ? t->at->again : t->at->n, losses[t->at->loss], seed_now(t)) > 0 && fclose(plan) == 0);
	t->armed = true;
}

static const char *program_now(struct tale *t, const char *program, char path[64])
{
	if (!under_test(t, program) || !t->armed)
		return program;
	t->armed = false;
	snprintf(path, 64, "build/crash_%s%s", program, t->at->normal ? "_normal" : "");
	return path;
}

/* It was killed by itself, and not by a failure of its own. With NORMAL a cut disk may well be one it refuses to run on: that is no bad image. */
static void mourn(struct tale *t, const char *program)
{
	const char *log = strcmp(program, "agent") == 0 ? "a" : program;
	char crash[32], image[32];

	snprintf(crash, sizeof crash, "crash %d:", seed_now(t));
	snprintf(image, sizeof image, "image %d:", seed_now(t));
	if (!under_test(t, program) || !log_says(t->s, log, crash)) {
		if (t->at->normal)
			tell(t);
		scene_fail(t->s, __FILE__, __LINE__, "that no program ends but by the plan");
	}
	t->outcome.images += log_says(t->s, log, image);
	t->outcome.died++;
	if (t->outcome.died == 1 && t->at->again)
		arm(t);
}

static void start_server(struct tale *t)
{
	char path[64], flags[256];
	const char *program = program_now(t, "server", path);
	int out;

	snprintf(flags, sizeof flags, "--listen=%s %s", t->s->server[0] ? t->s->server : "127.0.0.1:0", SERVER_FLAGS);
	t->server = program_start_heard(t->s, "server", program, flags, &out);
	if (!proc_read_address(t->s, out, t->s->server)) {
		proc_wait(t->s, &t->server);
		mourn(t, "server");
		close(out);
		start_server(t);
		return;
	}
	close(out);
}

static void start_agent(struct tale *t)
{
	char path[64], flags[256];
	const char *program = program_now(t, "agent", path);

	snprintf(flags, sizeof flags, "--server-url=http://%s --agent-id=a --journal-path=a.db --poll-interval-ms=100", t->proxy[0] ? t->proxy : t->s->server);
	t->agent = program_start(t->s, "a", program, flags);
}

/* Whoever died is started again. */

static void look_at_server(struct tale *t)
{
	if (t->server.pid && proc_ended(&t->server)) {
		mourn(t, "server");
		start_server(t);
	}
}

static void look(struct tale *t)
{
	look_at_server(t);
	if (t->agent.pid && proc_ended(&t->agent)) {
		mourn(t, "agent");
		start_agent(t);
	}
}

static int64_t patience(const struct tale *t) { return clock_ms() + (t->at->normal ? 3000 : PROC_PATIENCE_MS); }

static void too_long(struct tale *t, const char *what)
{
	if (t->at->normal)
		tell(t);
	scene_fail(t->s, "in time", 0, what);
}

#define until(t, cond) \
	do { \
		int64_t end_ = patience(t); \
		while (!(cond)) { \
			look(t); \
			if (clock_ms() > end_) \
				too_long(t, #cond); \
			nap(); \
		} \
	} while (0)

/* One that was told to end does so, or dies by the plan. */
static void await_end(struct tale *t, const char *program, struct proc *p)
{
	int64_t end = patience(t);

	while (!proc_ended(p)) {
		if (p == &t->agent)
			look_at_server(t);
		if (clock_ms() > end)
			too_long(t, "the end of a program that was told to end");
		nap();
	}
	if (p->status != 0 && !(WIFSIGNALED(p->status) && WTERMSIG(p->status) == SIGTERM))   /* that: before it had begun to listen to signals */
		mourn(t, program);
}

static void stop(struct tale *t, const char *program, struct proc *p)
{
	proc_signal(p, SIGTERM);
	await_end(t, program, p);
}

/* Requests. The server may die of one: status 0, and it is up again. */

static int request(struct tale *t, const char *method, const char *path, const char *fields, const char *body)
{
	look(t);
	ask(t->s, t->s->server, method, path, fields, body);
	if (t->s->status == 0)
		until(t, t->outcome.died || t->at->normal);
	look(t);
	return t->s->status;
}

static void get(struct tale *t, const char *path)
{
	until(t, request(t, "GET", path, "", NULL) != 0);
}

static void take_id(struct tale *t)
{
	struct json v;

	expect(t->s, json_find(&t->s->json, "id", &v) && v.len == ID_TEXT + 1);
	memcpy(t->id, v.text + 1, ID_TEXT - 1);
	t->id[ID_TEXT - 1] = '\0';
}

static void post(struct tale *t, const char *type, const char *payload, const char *fields)
{
	struct buf body = {0};

	buf_fmt(&body, "{\"type\":\"%s\",\"payload\":%s,\"isIdempotent\":%s}", type, payload, t->at->story->idempotent ? "true" : "false");
	if (request(t, "POST", "/api/commands", fields, body.data) != 0) {
		expect(t->s, t->s->status == 201 || (*fields && t->s->status == 200));
		take_id(t);
	}
	buf_free(&body);
}

static void post_get(struct tale *t, const char *path, const char *fields)
{
	char payload[256];

	snprintf(payload, sizeof payload, "{\"url\":\"http://%s%s\"}", t->s->target, path);
	post(t, "HTTP_GET_JSON", payload, fields);
}

static bool within(const struct json *v, const char *text)
{
	struct buf copy = {0};
	bool found;

	buf_add(&copy, v->text, v->len);
	buf_char(&copy, '\0');
	found = strstr(copy.data, text) != NULL;
	buf_free(&copy);
	return found;
}

/* A command whose POST was not answered may be there all the same: the only one that is no filler. */
static bool find_id(struct tale *t)
{
	struct json items, item, id, key;
	struct json_iter it;

	if (t->id[0])
		return true;
	get(t, "/api/commands?limit=500");
	expect(t->s, json_find(&t->s->json, "items", &items));
	it = json_iter(&items);
	while (json_next(&it, &key, &item)) {
		expect(t->s, json_find(&item, "id", &id) && id.len == ID_TEXT + 1);
		if (!within(&item, FILLER))
			snprintf(t->id, sizeof t->id, "%.*s", ID_TEXT - 1, id.text + 1);
	}
	return t->id[0] != '\0';
}

static bool command_is(struct tale *t, const char *member, const char *text)
{
	char path[64];

	snprintf(path, sizeof path, "/api/commands/%s", t->id);
	get(t, path);
	return body_is(t->s, member, text);
}

static bool ended(struct tale *t)
{
	if (!command_is(t, "status", "COMPLETED") && !body_is(t->s, "status", "FAILED"))
		return t->s->status == 404;
	if (t->settled.len == 0 && body_is(t->s, "needsReview", "false"))
		buf_add(&t->settled, t->s->body.data, t->s->body.len);
	return true;
}

/* Has what is held at the target arrived, or can it never? */
static bool held(struct tale *t, long n) { return ran(t->s, "k") >= n || ended(t); }

static void resolve(struct tale *t, const char *what, const char *body)
{
	char path[96];

	snprintf(path, sizeof path, "/api/commands/%s/%s", t->id, what);
	request(t, "POST", path, "", body);
}

/* Stories: how they begin. */

static void from_nothing(struct tale *t)
{
	target_start(t->s);
	arm(t);
	start_server(t);
	start_agent(t);
}

static void from_plain_files(struct tale *t)
{
	target_start(t->s);
	expect(t->s, program_run(t->s, "server", "--migrate --db-path=commands.db") == 0);
	expect(t->s, program_run(t->s, "agent", "--migrate --journal-path=a.db") == 0);
}

static void from_files(struct tale *t)
{
	from_plain_files(t);
	arm(t);
}

static void from_both(struct tale *t)
{
	from_files(t);
	start_server(t);
	start_agent(t);
}

/* The agent is gone while it runs the command: STARTED is open. */
static void from_started(struct tale *t)
{
	target_start(t->s);
	start_server(t);
	start_agent(t);
	post_get(t, "/hold/k", "");
	await_ran(t->s, "k", 1);
	proc_kill(&t->agent);
	proc_kill(&t->server);
	arm(t);
}

/* The server went first: FINISHED is open. */
static void from_finished(struct tale *t)
{
	target_start(t->s);
	start_server(t);
	start_agent(t);
	post_get(t, "/hold/k", "");
	await_ran(t->s, "k", 1);
	proc_kill(&t->server);
	release(t->s, "k");
	while (program_run(t->s, "agent", "--log --journal-path=a.db") != 0 || !log_says(t->s, "out", "FINISHED"))
		nap();
	proc_kill(&t->agent);
	arm(t);
}

/* The database is an older copy, made while the command ran; the journal knows its end. */
static void from_backup(struct tale *t)
{
	target_start(t->s);
	start_server(t);
	start_agent(t);
	post_get(t, "/hold/k", "");
	await_ran(t->s, "k", 1);
	expect(t->s, program_run(t->s, "server", "--db-path=commands.db --backup copy.db") == 0);
	release(t->s, "k");
	until(t, command_is(t, "status", "COMPLETED"));
	proc_kill(&t->agent);
	proc_kill(&t->server);
	expect(t->s, unlink("commands.db") == 0 && unlink("commands.db-wal") == 0 && unlink("commands.db-shm") == 0 && rename("copy.db", "commands.db") == 0);
	arm(t);
}

static off_t file_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : 0;
}

/* Some pages more for the log. */
static void fill(struct tale *t)
{
	struct json id;
	char path[96];

	if (request(t, "POST", "/api/commands", "", "{\"type\":\"HTTP_GET_JSON\",\"payload\":{\"url\":\"" FILLER "\"}}") != 201)
		return;
	expect(t->s, json_find(&t->s->json, "id", &id));
	snprintf(path, sizeof path, "/api/commands/%.*s/cancel", ID_TEXT - 1, id.text + 1);
	request(t, "POST", path, "", NULL);
}

/* The log is nearly as long as it is let grow: soon it is copied into the file, and begun anew. */
static void from_full_log(struct tale *t)
{
	target_start(t->s);
	start_server(t);
	while (file_bytes("commands.db-wal") < LOG_BYTES)
		fill(t);
	proc_kill(&t->server);
	arm(t);
}

/* Stories: what happens. */

static void delay(struct tale *t) { post(t, "DELAY", "{\"ms\":5}", ""); }
static void hit(struct tale *t) { post_get(t, "/hit/k", ""); }

static void hit_and_fill(struct tale *t)
{
	off_t before = file_bytes("commands.db");

	start_server(t);
	hit(t);
	until(t, (fill(t), file_bytes("commands.db") > before));
	start_agent(t);
}

static void hit_with_key(struct tale *t)
{
	char first[ID_TEXT];

	until(t, (post_get(t, "/hit/k", "Idempotency-Key: order-1\r\n"), t->id[0]));
	memcpy(first, t->id, sizeof first);
	t->id[0] = '\0';
	until(t, (post_get(t, "/hit/k", "Idempotency-Key: order-1\r\n"), t->id[0]));
	expect(t->s, strcmp(first, t->id) == 0);
}

/* Whatever the answer to a cancel was: what was acknowledged is seen at the end. */
static void cancel_running(struct tale *t)
{
	post_get(t, "/hold/k", "");
	if (!find_id(t))
		return;
	until(t, held(t, 1));
	resolve(t, "cancel", NULL);
	if (t->s->status == 202 || t->s->status == 200)
		until(t, command_is(t, "cancelRequested", "true") || ended(t));
	else
		release(t->s, "k");
}

static void cancel_waiting(struct tale *t)
{
	bool cancelled = false;

	start_server(t);
	post_get(t, "/hit/k", "");
	if (find_id(t)) {
		resolve(t, "cancel", NULL);
		cancelled = t->s->status == 200;
	}
	start_agent(t);
	if (!cancelled)
		return;
	until(t, ended(t));
	expect(t->s, body_is(t->s, "failureCode", "CANCELLED") && body_is(t->s, "needsReview", "false") && ran(t->s, "k") == 0);
}

/* The agent is told to end while its poll is out: what the poll brings it hands back. */
static void hand_back(struct tale *t)
{
	start_server(t);
	proxy_start(t->s, &(struct rule){ HOLD_REPLY, "GET /api/commands/next", NULL, 200, 1 }, t->proxy);
	post_get(t, "/hit/k", "");
	start_agent(t);
	if (!find_id(t))
		return;
	until(t, harmed(t->s, 1));
	proc_signal(&t->agent, SIGTERM);
	release_held(t->s);
	await_end(t, "agent", &t->agent);
	start_agent(t);
}

static void retry(struct tale *t)
{
	until(t, command_is(t, "failureCode", "OUTCOME_UNKNOWN"));
	resolve(t, "resolve", "{\"action\":\"RETRY\",\"note\":\"it was not done\"}");
	t->retried = t->s->status == 200;
}

static void go_on(struct tale *t)
{
	start_server(t);
	start_agent(t);
}

static void go_on_and_retry(struct tale *t)
{
	go_on(t);
	retry(t);
}

static bool resumed(struct tale *t) { return program_run(t->s, "server", "--resume --db-path=commands.db") == 0; }

/* Whoever dies in between, it is settled before anything is handed out. */
static void resume(struct tale *t)
{
	go_on(t);
	until(t, command_is(t, "status", "COMPLETED"));
	until(t, resumed(t));
}

static void end_both(struct tale *t)
{
	hit(t);
	if (find_id(t))
		until(t, ended(t));
	stop(t, "agent", &t->agent);
	stop(t, "server", &t->server);
	go_on(t);
}

/* The copy is of no worth before --backup has ended well; what it was made of is as it was. */
static void back_up(struct tale *t)
{
	char path[64];
	struct proc p;

	go_on(t);
	hit(t);
	until(t, ended(t));
	arm(t);
	p = program_start(t->s, "server", program_now(t, "server", path), "--db-path=commands.db --backup copy.db");
	await_end(t, "server", &p);
	expect(t->s, t->outcome.died || program_run(t->s, "server", "--check --db-path=copy.db") == 0);
	proc_kill(&t->server);
	start_server(t);
}

/* What it must come to. */

static bool must_complete(const struct tale *t)
{
	const struct story *story = t->at->story;

	if (t->at->normal || (story->retries && !t->retried))
		return false;
	return story->idempotent || story->completes == ALWAYS || (story->completes == SERVER_ONLY && (under_test(t, "server") || !t->outcome.died));
}

static bool at_rest(struct tale *t)
{
	release(t->s, "k");
	return !find_id(t) || (ended(t) && (t->s->status == 404 || body_is(t->s, "status", "COMPLETED") || !must_complete(t)));
}

/* Its journal is there for the audit. */
static bool agent_heard(struct tale *t)
{
	get(t, "/api/agents");
	return body_has(t->s, "\"agentId\":\"a\"");
}

static bool cancelled(struct tale *t)
{
	return (t->at->story->act == cancel_running || t->at->story->act == cancel_waiting) && body_is(t->s, "failureCode", "CANCELLED");
}

static void judge_count(struct tale *t, bool completed)
{
	const struct story *story = t->at->story;
	long times = ran(t->s, "k");

	if (!story->idempotent && times > 1 + story->retries)
		t->outcome.twice++;
	if (completed && times == 0 && story->act != delay)
		t->outcome.lost++;
}

static void judge_command(struct tale *t)
{
	bool completed;

	ended(t);
	if (t->s->status == 404) {
		t->outcome.lost++;
		return;
	}
	completed = body_is(t->s, "status", "COMPLETED");
	if (t->settled.len && (t->settled.len != t->s->body.len || memcmp(t->settled.data, t->s->body.data, t->settled.len) != 0))
		t->outcome.lost++;
	if (t->retried && !body_is(t->s, "attempt", "2"))
		t->outcome.lost++;
	if (!completed)
		expect(t->s, body_is(t->s, "status", "FAILED") && !body_is(t->s, "failureCode", "null") && (body_is(t->s, "needsReview", "true") || cancelled(t)));
	judge_count(t, completed);
}

static void play(struct scene *s)
{
	struct tale t = {0};

	t.s = s;
	t.at = s->arg;
	t.at->story->begin(&t);
	t.at->story->act(&t);
	until(&t, at_rest(&t) && agent_heard(&t));
	if (find_id(&t))
		judge_command(&t);
	if (!t.at->normal) {
		expect(s, t.outcome.twice == 0);
		expect(s, t.outcome.lost == 0);
		expect_audit(s, "a.db");
	}
	tell(&t);
}

/* One story, one program: all its points, by several workers. */

struct sums { int points, images, bad; struct outcome with_normal; };
struct job { const struct story *story; const char *program; bool normal, all; struct sums *sums; };
struct record { struct outcome outcome; bool bad; };

/* One point in a scene of its own; what it came to is read from the pipe when the scene has ended. */
static struct record play_point(struct point *p)
{
	struct record r = { { 0, 0, 0, 0 }, true };
	struct proc_case c = { play, p };
	char dir[512];
	int ends[2];

	if (pipe(ends) != 0 || fcntl(ends[0], F_SETFD, FD_CLOEXEC) != 0 || fcntl(ends[1], F_SETFD, FD_CLOEXEC) != 0)
		return r;
	p->out = ends[1];
	r.bad = !proc_scene(&c, dir);
	close(ends[1]);
	if (read(ends[0], &r.outcome, sizeof r.outcome) != (ssize_t)sizeof r.outcome)
		r.bad = true;
	close(ends[0]);
	if (r.bad && p->normal)
		dir_remove(dir);
	else if (r.bad)
		fprintf(stderr, "bad: %s, the %s dies at its act %d, then at %d, %s; see %s\n", p->story->name, p->program, p->n, p->again, losses[p->loss], dir);
	return r;
}

static int play_and_tell(struct point p, int out, int *bad)
{
	struct record r = play_point(&p);

	*bad += r.bad && !p.normal;
	if (write(out, &r, sizeof r) != (ssize_t)sizeof r)
		_exit(1);
	return r.outcome.died;
}

/* Dies at n. With `all` each way, several times, and once more at every act of its second life; with NORMAL several cuts. Did it die at all? */
static bool work_at(const struct job *job, int n, int out, int *bad)
{
	struct point p = { job->story, job->program, job->normal, n, 0, 0, n, -1 };
	bool died = false;

	if (!job->all && !job->normal) {
		p.loss = (n / LOSSES + n) % LOSSES;
		return play_and_tell(p, out, bad) > 0;
	}
	for (p.seed = n; p.seed < SEEDS * POINTS_MAX; p.seed += POINTS_MAX)
		for (p.loss = job->normal ? CUT : 0; p.loss < (job->normal ? CUT + 1 : LOSSES); p.loss++)
			died = play_and_tell(p, out, bad) > 0 || died;
	for (p.again = 1; job->all && !job->normal && died && *bad < BAD_MAX && p.again < POINTS_MAX; p.again++) {
		p.seed = n * POINTS_MAX + p.again;
		p.loss = (n + p.again) % LOSSES;
		if (play_and_tell(p, out, bad) < 2)
			break;
	}
	return died;
}

/* Every WORKERS-th point, until none dies any more. */
static void work(const struct job *job, int worker, int out)
{
	int bad = 0;

	for (int n = 1 + worker; n < POINTS_MAX && bad < BAD_MAX && work_at(job, n, out, &bad); n += WORKERS)
		;
	_exit(0);
}

static void add_up(struct sums *sums, const struct job *job, const struct record *r)
{
	if (job->normal) {
		sums->with_normal.twice += r->outcome.twice;
		sums->with_normal.lost += r->outcome.lost;
		sums->with_normal.died += r->outcome.died;
		return;
	}
	sums->points += r->outcome.died;
	sums->images += r->outcome.images;
	sums->bad += r->bad;
}

static void run_job(const struct job *job, struct sums *sums)
{
	struct record r;
	int ends[2];

	assert_true(pipe(ends) == 0 && fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(ends[1], F_SETFD, FD_CLOEXEC) == 0);
	fflush(NULL);
	for (int i = 0; i < WORKERS; i++) {
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			if (job->normal && !freopen("/dev/null", "w", stderr))
				_exit(1);
			work(job, i, ends[1]);
		}
	}
	close(ends[1]);
	while (read(ends[0], &r, sizeof r) == (ssize_t)sizeof r)
		add_up(sums, job, &r);
	close(ends[0]);
	for (int i = 0; i < WORKERS; i++) {
		int status;
		assert_true(wait(&status) > 0 && status == 0);
	}
}

/* Cases. */

static void survives(void **state)
{
	const struct job *job = *state;
	struct sums sums = {0};

	run_job(job, &sums);
	job->sums->points += sums.points;
	job->sums->images += sums.images;
	job->sums->bad += sums.bad;
	printf("%-26s %-7s %4d points, %4d images, %d bad\n", job->story->name, job->program, sums.points, sums.images, sums.bad);
	assert_int_equal(sums.bad, 0);
	assert_true(sums.points > 0);
}

static void finds_what_normal_does(void **state)
{
	const struct job *job = *state;
	struct sums sums = {0};

	run_job(job, &sums);
	job->sums->with_normal.died += sums.with_normal.died;
	job->sums->with_normal.twice += sums.with_normal.twice;
	job->sums->with_normal.lost += sums.with_normal.lost;
	printf("%-26s %-7s synchronous=NORMAL: %d images, %d executed twice, %d lost\n", job->story->name, job->program, sums.with_normal.died,
		sums.with_normal.twice, sums.with_normal.lost);
	assert_true((strcmp(job->program, "agent") == 0 ? sums.with_normal.twice : sums.with_normal.lost) > 0);
}

static const struct story stories[] = {
	{ "first start, DELAY", from_nothing, delay, false, 0, SERVER_ONLY },
	{ "first start, GET", from_nothing, hit, false, 0, SERVER_ONLY },
	{ "GET", from_both, hit, false, 0, SERVER_ONLY },
	{ "idempotent GET", from_both, hit, true, 0, ALWAYS },
	{ "Idempotency-Key", from_both, hit_with_key, false, 0, SERVER_ONLY },
	{ "cancel, waiting", from_files, cancel_waiting, false, 0, NEVER },
	{ "cancel, running", from_both, cancel_running, false, 0, NEVER },
	{ "NOT_STARTED", from_files, hand_back, false, 0, SERVER_ONLY },
	{ "open STARTED", from_started, go_on, false, 0, NEVER },
	{ "open FINISHED", from_finished, go_on, false, 0, ALWAYS },
	{ "restored backup", from_backup, resume, false, 0, ALWAYS },
	{ "RETRY", from_started, go_on_and_retry, false, 1, SERVER_ONLY },
	{ "clean end", from_both, end_both, false, 0, SERVER_ONLY },
	{ "full log", from_full_log, hit_and_fill, false, 0, SERVER_ONLY },
	{ "backup", from_plain_files, back_up, false, 0, ALWAYS },
};
#define STORIES (sizeof stories / sizeof *stories)
#define JOBS (2 * STORIES + 2)

/* The agent does nothing of its own in these. */
static bool server_alone(const struct story *story) { return story->begin == from_full_log || story->act == back_up || story->act == cancel_waiting; }

static size_t list_jobs(struct job *jobs, bool all, const char *only, struct sums *sums)
{
	size_t n = 0;

	for (size_t i = 0; i < STORIES; i++) {
		if (only && strcmp(stories[i].name, only) != 0)
			continue;
		jobs[n++] = (struct job){ &stories[i], "server", false, all, sums };
		if (!server_alone(&stories[i]))
			jobs[n++] = (struct job){ &stories[i], "agent", false, all, sums };
	}
	if (!only || strcmp(only, "NORMAL") == 0) {
		jobs[n++] = (struct job){ &stories[2], "server", true, all, sums };
		jobs[n++] = (struct job){ &stories[2], "agent", true, all, sums };
	}
	return n;
}

int main(int argc, char **argv)
{
	struct sums sums = {0};
	struct job jobs[JOBS];
	struct CMUnitTest tests[JOBS];
	bool all = argc > 1 && strcmp(argv[1], "--all") == 0;
	size_t n = list_jobs(jobs, all, argc > 1 + all ? argv[1 + all] : NULL, &sums);
	int status;

	if (n == 0) {
		fprintf(stderr, "usage: t/crash_test [--all] [STORY | NORMAL]\n");
		return 2;
	}
	for (size_t i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){ jobs[i].story->name, jobs[i].normal ? finds_what_normal_does : survives, NULL, NULL, &jobs[i] };
	status = _cmocka_run_group_tests("crash", tests, n, NULL, NULL);
	printf("%d points, %d of them power-cut images, %d bad; with synchronous=NORMAL %d of %d points executed a command twice, %d lost one\n", sums.points, sums.images, sums.bad,
		sums.with_normal.twice, sums.with_normal.died, sums.with_normal.lost);
	return status;
}
