/* agent: the agent's main. Settings, wiring, the journal for people, and the ways to die on purpose; only this file ends the process. */
#include "conf.h"
#include "poll.h"
#include "tls.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIE_WITHIN_US 1000000

/* --random-failures: one command in so many meets its death at one of these points. */
struct fate { struct env *env; struct loop *loop; double rate; enum env_point point; bool doomed; struct loop_timer timer; };

struct node { struct env env; struct loop *loop; struct poll *poll; struct fate fate; struct loop_timer kill, drain; int64_t drain_us; bool draining, over; };

static int complain(int status, const char *text)
{
	fprintf(stderr, "agent: %s\n", text);
	return status;
}

/* The end of an action that prints. */
static int printed(void)
{
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : complain(1, "cannot write to standard output");
}

/* Dying on purpose. */

/* As process 1 of a container a SIGKILL to self is ignored: then the exit status says what it would have been. */
static void die(void *arg)
{
	(void)arg;
	kill(getpid(), SIGKILL);
	_exit(137);
}

static uint64_t any(const struct env *env)
{
	uint64_t n;

	env->random(env->world, &n, sizeof n);
	return n;
}

/* POINT_EFFECT means during it: some time after its beginning. */
static void meet_fate(void *world, enum env_point point, const char *id, int64_t attempt)
{
	struct fate *f = world;

	(void)id;
	(void)attempt;
	if (point == POINT_BEFORE_STARTED) {
		f->doomed = (double)(any(f->env) % 1000000) < f->rate * 1000000.0;
		f->point = (enum env_point)(any(f->env) % POINT_COUNT);
	}
	if (!f->doomed || point != f->point)
		return;
	env_log(f->env, "random failure", "this agent dies now, by its own hand");
	if (point != POINT_EFFECT)
		die(NULL);
	loop_timer_set(f->loop, &f->timer, loop_now_us(f->loop) + (int64_t)(any(f->env) % DIE_WITHIN_US), die, NULL);
}

/* The journal for people. */

static void print_cell(const char *text, int width)
{
	printf("%-*.*s ", width, width, text);
}

static void print_entry(void *arg, const struct journal_entry *e)
{
	static const char *const states[] = { [JOURNAL_STARTED] = "STARTED", [JOURNAL_FINISHED] = "FINISHED", [JOURNAL_NOT_STARTED] = "NOT_STARTED" };
	static const char *const answers[] = { [ANSWER_OPEN] = "open", [ANSWER_ANSWERED] = "answered", [ANSWER_ORPHAN] = "orphan" };
	char at[TIME_TEXT] = "";
	struct buf text = {0};

	(void)arg;
	if (e->started_at || e->finished_at)
		time_text(e->started_at ? e->started_at : e->finished_at, at);
	print_cell(at, TIME_TEXT - 1);
	print_cell(e->id, ID_TEXT - 1);
	printf("%7lld ", (long long)e->attempt);
	print_cell(states[e->state], 11);
	print_cell(e->state != JOURNAL_FINISHED ? "" : e->completed ? "COMPLETED" : failure_text(e->failure), 16);
	print_cell(answers[e->answer], 8);
	print_cell(e->type, 13);
	if (e->error)
		text_escape(&text, e->error, strlen(e->error));
	else if (e->result)
		text_escape(&text, e->result, e->result_len > 120 ? 120 : e->result_len);
	printf("%s\n", text.data ? text.data : "");
	buf_free(&text);
}

static int show_log(const struct env *env, const char *path)
{
	struct buf err = {0};
	struct journal *j = journal_open_reader(env, path, &err);

	if (!j)
		return complain(1, err.data);
	printf("%-24s %-36s attempt %-11s %-16s %-8s %-13s %s\n", "began", "command", "state", "outcome", "server", "type", "result or error");
	journal_list(j, 1000, print_entry, NULL);
	journal_close(j);
	return printed();
}

/* Running. */

static void drain_over(void *arg)
{
	struct node *n = arg;

	env_log(&n->env, "stop", "--drain-ms is over with %d slots at work: the next start reports what the journal holds of it", poll_busy(n->poll));
	n->over = true;
}

static void stop(void *arg)
{
	struct node *n = arg;

	if (n->draining)
		_exit(0);
	n->draining = true;
	env_log(&n->env, "stop", "taking no more work; finishing what runs");
	poll_drain(n->poll);
	loop_timer_set(n->loop, &n->drain, loop_now_us(n->loop) + n->drain_us, drain_over, n);
}

/* A host's name made fit for an agentId. */
static void host_name(char out[AGENT_ID_MAX + 1])
{
	size_t n;

	if (gethostname(out, AGENT_ID_MAX - 8) != 0)
		strcpy(out, "agent");
	out[AGENT_ID_MAX - 8] = '\0';
	n = strlen(out);
	for (size_t i = 0; i < n; i++)
		if (!agent_id_good(out + i, 1))
			out[i] = '-';
	if (n == 0)
		strcpy(out, "agent");
}

static int run(struct node *n, const struct conf *conf, struct journal *journal, struct poll_settings *set)
{
	int status;

	n->loop = loop_new(&n->env);
	n->fate.env = &n->env;
	n->fate.loop = n->loop;
	n->fate.rate = conf_real(conf, "random-failure-rate");
	n->drain_us = conf_int(conf, "drain-ms") * 1000;
	loop_children(n->loop);
	loop_signal(n->loop, SIGTERM, stop, n);
	loop_signal(n->loop, SIGINT, stop, n);
	if (conf_int(conf, "kill-after") > 0)
		loop_timer_set(n->loop, &n->kill, n->env.mono_us(n->env.world) + conf_int(conf, "kill-after") * 1000000, die, NULL);
	if (!set->once)
		env_log(&n->env, "start", "agent %s, %d slots, start %s of %s; asking %s", set->name, set->slots, journal_boot_id(journal), conf_text(conf, "journal-path"),
			conf_text(conf, "server-url"));
	n->poll = poll_new(n->loop, &n->env, journal, set);
	while (!n->over && !poll_ended(n->poll))
		loop_turn(n->loop, INT64_MAX);
	status = poll_failed(n->poll) ? 1 : 0;
	poll_free(n->poll);
	loop_timer_off(n->loop, &n->kill);
	loop_timer_off(n->loop, &n->drain);
	loop_free(n->loop);
	return status;
}

/* What the settings ask for, made ready. 0; else the exit status, and *err says why not. */
struct outfit { struct http_url url; struct buf token; struct call_guard *guard; struct tls *tls; char host[AGENT_ID_MAX + 1]; };

static int bad_setting(const struct conf *conf, const char *name, const char *why, struct buf *err)
{
	conf_place(conf, name, err);
	buf_fmt(err, ": %s", why);
	return 2;
}

static bool name_fits(const char *name, int slots)
{
	size_t n = strlen(name);

	return agent_id_good(name, n) && (slots == 1 || n + 4 <= AGENT_ID_MAX);
}

static int dress(struct outfit *o, const struct conf *conf, struct poll_settings *set, struct buf *err)
{
	const char *why, *server = conf_text(conf, "server-url"), *name = conf_text(conf, "agent-id"), *deny = conf_text(conf, "http-deny");
	struct buf tls_err = {0};
	bool good;

	if (name && !name_fits(name, set->slots))
		return bad_setting(conf, "agent-id", "1 to 128 of A-Z a-z 0-9 . _ / - are needed, with room for the slot's number", err);
	if ((why = http_url_read(server, strlen(server), &o->url)) != NULL)
		return bad_setting(conf, "server-url", why, err);
	for (int i = 0; i < 2; i++) {
		call_guard_free(o->guard);
		o->guard = call_guard_new(deny, i ? conf_text(conf, "http-allow") : NULL, &why);
		if (!o->guard)
			return bad_setting(conf, i ? "http-allow" : "http-deny", why, err);
	}
	if (!conf_token(conf, "agent-token", &o->token, err))
		return 1;
	o->tls = tls_new(conf_text(conf, "tls-ca-file"), &tls_err);
	good = (o->tls || !conf_text(conf, "tls-ca-file")) && (!o->url.tls || (o->tls && tls_ready(o->tls, &tls_err)));
	if (!good)
		buf_str(err, tls_err.data);
	buf_free(&tls_err);
	if (!good)
		return 1;
	set->server = &o->url;
	set->token = o->token.len ? o->token.data : NULL;
	set->tls = o->tls;
	set->run.guard = o->guard;
	set->run.tls = o->tls;
	return 0;
}

static int undress(struct outfit *o, struct buf *err, int status)
{
	call_guard_free(o->guard);
	tls_free(o->tls);
	buf_free(&o->token);
	http_url_free(&o->url);
	buf_free(err);
	return status;
}

static int start(struct env *env, const struct conf *conf)
{
	struct node n = { *env, NULL, NULL, { NULL, NULL, 0, POINT_COUNT, false, { 0, 0, NULL, NULL } }, { 0, 0, NULL, NULL }, { 0, 0, NULL, NULL }, 0, false, false };
	struct outfit outfit = {0};
	struct poll_settings set = {0};
	struct buf err = {0};
	struct journal *journal;
	int status;

	set.slots = (int)conf_int(conf, "slots");
	set.interval_ms = conf_int(conf, "poll-interval-ms");
	set.keep_days = conf_int(conf, "journal-keep-days");
	set.once = conf_on(conf, "once");
	set.run.http_timeout_us = conf_int(conf, "http-timeout-ms") * 1000;
	set.run.http_max_bytes = (size_t)conf_int(conf, "http-max-bytes");
	status = dress(&outfit, conf, &set, &err);
	if (status != 0)
		return undress(&outfit, &err, complain(status, err.data));
	journal = journal_open(&n.env, conf_text(conf, "journal-path"), conf_on(conf, "new-journal"), &err);
	if (!journal)
		return undress(&outfit, &err, complain(1, err.data));
	host_name(outfit.host);
	set.name = conf_text(conf, "agent-id") ? conf_text(conf, "agent-id") : journal_name(journal, outfit.host);
	if (conf_on(conf, "random-failures")) {
		n.env.world = &n.fate;
		n.env.point = meet_fate;
	}
	if (journal_fenced(journal))
		status = complain(1, "this journal is fenced: the server has seen a later start of it, so it was put back to an older state, or copied. --new-journal begins a new one");
	else
		status = run(&n, conf, journal, &set);
	journal_close(journal);
	return undress(&outfit, &err, status);
}

static int migrate(const struct env *env, const char *path)
{
	struct buf err = {0};
	struct journal *j = journal_open(env, path, false, &err);

	if (!j)
		return complain(1, err.data);
	journal_close(j);
	printf("%s is at the newest version\n", path);
	return printed();
}

static int act(struct env *env, const struct conf *conf)
{
	struct buf text = {0};

	if (conf_on(conf, "help")) {
		conf_help(CONF_AGENT, &text);
		fputs(text.data, stdout);
		buf_free(&text);
		return printed();
	}
	if (conf_on(conf, "version")) {
		puts("onlyonce-agent " ONLYONCE_VERSION);
		return printed();
	}
	if (conf_on(conf, "log"))
		return show_log(env, conf_text(conf, "journal-path"));
	if (conf_on(conf, "migrate"))
		return migrate(env, conf_text(conf, "journal-path"));
	return start(env, conf);
}

int main(int argc, char **argv)
{
	struct env env;
	struct buf warnings = {0}, err = {0};
	struct conf *conf;
	int status = 2;

	env_close_inherited();
	env_real(&env);
	conf = conf_read(CONF_AGENT, argc, argv, &warnings, &err, &status);
	if (warnings.len)
		fputs(warnings.data, stderr);
	buf_free(&warnings);
	if (!conf)
		return complain(status, err.data);
	env.log_json = strcmp(conf_text(conf, "log-format"), "json") == 0;
	status = act(&env, conf);
	conf_free(conf);
	return status;
}
