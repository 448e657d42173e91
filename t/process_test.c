/* process: the real programs from POST to result: the plain path, restarts of each side in each state, leases, late and stale reports, lost and doubled
 * messages, many agents. What was executed is counted at the target, not in our own tables. */
#include "proc.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHORT_LEASE "--lease-ms=700"

/* The plain path. */

static void carries_both_types_from_post_to_result(struct scene *s)
{
	char delay[ID_TEXT], get[ID_TEXT];

	target_start(s);
	server_start(s, "");
	agent_start(s, "a", "");
	create(s, delay, "DELAY", "{\"ms\":50}", false);
	create_get(s, get, "/hit/k", false);
	await(s, delay, "status", "COMPLETED");
	expect(s, body_is(s, "attempt", "1") && body_is(s, "needsReview", "false") && body_has(s, "\"result\":{\"ok\":true,\"tookMs\":"));
	await(s, get, "status", "COMPLETED");
	expect(s, body_has(s, "\"result\":{\"status\":200,\"body\":{\"hit\":\"k\",\"n\":1},\"truncated\":false,") && body_is(s, "error", "null"));
	expect(s, body_is(s, "agentId", "a") && ran(s, "k") == 1);
	expect_audit(s, "a.db");
}

static void calls_a_404_an_answer_and_a_refused_connection_a_failure(struct scene *s)
{
	char answered[ID_TEXT], refused[ID_TEXT], moved[ID_TEXT];

	target_start(s);
	server_start(s, "");
	agent_start(s, "a", "");
	create_get(s, answered, "/status/404", false);
	create_get(s, moved, "/to/hit/k", false);
	create(s, refused, "HTTP_GET_JSON", "{\"url\":\"http://127.0.0.1:1/\"}", false);
	await(s, answered, "status", "COMPLETED");
	expect(s, body_has(s, "\"result\":{\"status\":404,"));
	await(s, moved, "status", "COMPLETED");
	expect(s, ran(s, "k") == 1);
	await(s, refused, "status", "FAILED");
	expect(s, body_is(s, "failureCode", "EXECUTION_FAILED") && body_is(s, "needsReview", "false") && body_has(s, "\"result\":{\"status\":0,"));
}

static void post_with_key(struct scene *s, const char *key, const char *path)
{
	struct buf fields = {0}, body = {0};

	buf_fmt(&fields, "Idempotency-Key: %s\r\n", key);
	buf_fmt(&body, "{\"type\":\"HTTP_GET_JSON\",\"payload\":{\"url\":\"http://%s%s\"}}", s->target, path);
	ask(s, s->server, "POST", "/api/commands", fields.data, body.data);
	buf_free(&fields);
	buf_free(&body);
}

static void creates_once_for_an_idempotency_key_over_crashes(struct scene *s)
{
	char id[ID_TEXT];
	struct json v;
	struct proc server;

	target_start(s);
	server = server_start(s, "");
	agent_start(s, "a", "");
	post_with_key(s, "order-1", "/hit/k");
	expect(s, s->status == 201 && json_find(&s->json, "id", &v));
	snprintf(id, sizeof id, "%.*s", ID_TEXT - 1, v.text + 1);
	await(s, id, "status", "COMPLETED");
	proc_kill(&server);
	server = server_start(s, "");
	post_with_key(s, "order-1", "/hit/k");
	expect(s, s->status == 200 && body_is(s, "id", id) && body_is(s, "status", "COMPLETED"));
	expect(s, strstr(s->head.data, "Idempotency-Replayed: true") != NULL);
	post_with_key(s, "order-1", "/hit/other");
	expect(s, s->status == 422 && body_is(s, "code", "KEY_REUSED"));
	expect(s, ran(s, "k") == 1 && ran(s, "other") == 0);
}

static void waits_quietly_for_a_server_that_is_not_there_yet(struct scene *s)
{
	char id[ID_TEXT];
	struct proc server, agent;

	server = server_start(s, "");
	proc_kill(&server);
	agent = agent_start(s, "a", "");
	await_log(s, "a", "server away");
	expect(s, !proc_ended(&agent));
	server_start(s, "");
	create(s, id, "DELAY", "{\"ms\":0}", false);
	await(s, id, "status", "COMPLETED");
}

static void runs_as_many_at_a_time_as_it_has_slots(struct scene *s)
{
	char ids[5][ID_TEXT];
	struct proc agent;

	target_start(s);
	server_start(s, "");
	agent = agent_start(s, "a", "--slots=4");
	for (int i = 0; i < 5; i++)
		create_get(s, ids[i], "/hold/k", false);
	await_ran(s, "k", 4);
	expect(s, is(s, ids[4], "status", "PENDING") && ran(s, "k") == 4);
	release(s, "k");
	await_ran(s, "k", 5);
	release(s, "k");
	await_all_ended(s);
	expect(s, ran(s, "k") == 5);
	proc_signal(&agent, SIGTERM);
	expect(s, proc_wait(s, &agent) == 0);
	expect_audit(s, "a.db");
}

static void ends_cleanly_after_what_it_runs(struct scene *s)
{
	char running[ID_TEXT], waiting[ID_TEXT];
	struct proc server, agent;

	target_start(s);
	server = server_start(s, "");
	agent = agent_start(s, "a", "");
	create_get(s, running, "/hold/k", false);
	await_ran(s, "k", 1);
	create_get(s, waiting, "/hit/k", false);
	proc_signal(&agent, SIGTERM);
	await_log(s, "a", "taking no more work");
	release(s, "k");
	expect(s, proc_wait(s, &agent) == 0);
	expect(s, is(s, running, "status", "COMPLETED") && is(s, waiting, "status", "PENDING") && ran(s, "k") == 1);
	proc_signal(&server, SIGTERM);
	expect(s, proc_wait(s, &server) == 0);
}

/* The poll is parked for 20 s; half of that would do as a proof. */
static void ends_at_once_out_of_a_parked_poll(struct scene *s)
{
	char id[ID_TEXT], flags[256];
	struct proc agent;
	int64_t told_ms;

	server_start(s, "--lease-ms=600000");
	snprintf(flags, sizeof flags, "--server-url=http://%s --agent-id=a --journal-path=a.db --poll-interval-ms=3600000", s->server);
	agent = program_start(s, "a", "agent", flags);
	create(s, id, "DELAY", "{\"ms\":0}", false);
	await(s, id, "status", "COMPLETED");
	told_ms = clock_ms();
	proc_signal(&agent, SIGTERM);
	expect(s, proc_wait(s, &agent) == 0 && clock_ms() - told_ms < 10000);
	create(s, id, "DELAY", "{\"ms\":0}", false);
	expect(s, is(s, id, "status", "PENDING") && body_is(s, "attempt", "0"));
}

static void runs_one_and_ends_with_once(struct scene *s)
{
	char id[ID_TEXT], other[ID_TEXT], flags[256];

	target_start(s);
	server_start(s, "");
	snprintf(flags, sizeof flags, "--server-url=http://%s --agent-id=a --journal-path=a.db --once", s->server);
	expect(s, program_run(s, "agent", flags) == 0);
	create_get(s, id, "/hit/k", false);
	create_get(s, other, "/hit/k", false);
	expect(s, program_run(s, "agent", flags) == 0);
	expect(s, is(s, id, "status", "COMPLETED") && is(s, other, "status", "PENDING") && ran(s, "k") == 1);
}

/* Restarts. */

static void keeps_what_waits_over_a_crash_of_the_server(struct scene *s)
{
	char id[ID_TEXT];
	struct proc server;

	target_start(s);
	server = server_start(s, "");
	create_get(s, id, "/hit/k", false);
	proc_kill(&server);
	server_start(s, "");
	expect(s, is(s, id, "status", "PENDING") && body_is(s, "attempt", "0"));
	agent_start(s, "a", "");
	await(s, id, "status", "COMPLETED");
	expect(s, ran(s, "k") == 1);
}

static void hears_the_end_of_what_ran_while_the_server_was_gone(struct scene *s)
{
	char id[ID_TEXT];
	struct proc server;

	target_start(s);
	server = server_start(s, "");
	agent_start(s, "a", "");
	create_get(s, id, "/hold/k", false);
	await_ran(s, "k", 1);
	proc_kill(&server);
	release(s, "k");
	server_start(s, "");
	await(s, id, "status", "COMPLETED");
	expect(s, body_is(s, "attempt", "1") && ran(s, "k") == 1);
	expect_audit(s, "a.db");
}

static void leaves_what_runs_alone_over_a_crash_of_the_server(struct scene *s)
{
	char id[ID_TEXT], silent[ID_TEXT];
	struct proc server;

	target_start(s);
	server = server_start(s, SHORT_LEASE);
	agent_start(s, "a", "");
	create_get(s, id, "/hold/k", false);
	await_ran(s, "k", 1);
	create(s, silent, "DELAY", "{\"ms\":0}", false);
	ask_server(s, "GET", "/api/commands/next?agentId=silent", NULL);
	expect(s, s->status == 200);
	proc_kill(&server);
	server_start(s, SHORT_LEASE);
	expect(s, is(s, id, "status", "RUNNING") && is(s, silent, "status", "RUNNING"));
	await(s, silent, "failureCode", "AGENT_LOST");
	expect(s, is(s, id, "status", "RUNNING"));
	release(s, "k");
	await(s, id, "status", "COMPLETED");
	expect(s, body_is(s, "attempt", "1") && ran(s, "k") == 1);
}

static void changes_nothing_settled_when_both_crash(struct scene *s)
{
	char id[ID_TEXT];
	struct buf before = {0};
	struct proc server, agent;

	target_start(s);
	server = server_start(s, "");
	agent = agent_start(s, "a", "");
	create_get(s, id, "/hit/k", false);
	await(s, id, "status", "COMPLETED");
	buf_add(&before, s->body.data, s->body.len);
	proc_kill(&server);
	proc_kill(&agent);
	server_start(s, "");
	agent_start(s, "a", "");
	create(s, id, "DELAY", "{\"ms\":0}", false);
	await(s, id, "status", "COMPLETED");
	ask_server(s, "GET", "/api/commands?type=HTTP_GET_JSON", NULL);
	expect(s, body_has(s, before.data) && ran(s, "k") == 1);
	buf_free(&before);
}

static void asks_a_person_when_an_agent_died_in_the_middle(struct scene *s)
{
	char once[ID_TEXT], again[ID_TEXT], path[96];
	struct proc agent;

	target_start(s);
	server_start(s, "");
	agent = agent_start(s, "a", "--slots=2");
	create_get(s, once, "/hold/once", false);
	create_get(s, again, "/hold/again", true);
	await_ran(s, "once", 1);
	await_ran(s, "again", 1);
	proc_kill(&agent);
	agent_start(s, "a", "--slots=2");
	await_ran(s, "again", 2);
	release(s, "again");
	await(s, again, "status", "COMPLETED");
	expect(s, body_is(s, "attempt", "2"));
	await(s, once, "failureCode", "OUTCOME_UNKNOWN");
	expect(s, body_is(s, "status", "FAILED") && body_is(s, "needsReview", "true") && ran(s, "once") == 1);
	command_path(once, "/resolve", path);
	ask_server(s, "POST", path, "{\"action\":\"RETRY\",\"note\":\"looked: it had not happened\"}");
	expect(s, s->status == 200);
	await_ran(s, "once", 2);
	release(s, "once");
	await(s, once, "status", "COMPLETED");
	expect(s, body_is(s, "needsReview", "false") && ran(s, "once") == 2);
	expect_audit(s, "a.db");
}

static void kills_itself_when_told_to(struct scene *s)
{
	char id[ID_TEXT];
	struct proc agent;
	int status;

	target_start(s);
	server_start(s, "");
	agent = agent_start(s, "a", "--kill-after=1");
	create_get(s, id, "/hold/k", false);
	await_ran(s, "k", 1);
	status = proc_wait(s, &agent);
	expect(s, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	agent_start(s, "a", "");
	await(s, id, "failureCode", "OUTCOME_UNKNOWN");
	expect(s, ran(s, "k") == 1);
}

static void gives_up_a_command_that_kills_every_agent(struct scene *s)
{
	char id[ID_TEXT], other[ID_TEXT];
	struct proc agent;

	target_start(s);
	server_start(s, "--max-attempts=3");
	create_get(s, id, "/hold/poison", true);
	for (int i = 1; i <= 3; i++) {
		agent = agent_start(s, "a", "");
		await_ran(s, "poison", i);
		proc_kill(&agent);
	}
	agent_start(s, "a", "");
	await(s, id, "failureCode", "ATTEMPTS_EXHAUSTED");
	expect(s, body_is(s, "status", "FAILED") && body_is(s, "needsReview", "true") && body_is(s, "attempt", "3"));
	create_get(s, other, "/hit/k", false);
	await(s, other, "status", "COMPLETED");
	expect(s, ran(s, "poison") == 3);
}

/* Crash windows: the agent, in the order of an attempt's life. */

static void begins_once_what_an_agent_died_with_before_it_began(struct scene *s)
{
	char id[ID_TEXT], proxy[64];
	struct proc agent;

	target_start(s);
	server_start(s, "");
	proxy_start(s, &(struct rule){ HOLD_REPLY, "GET /api/commands/next", NULL, 200, 1 }, proxy);
	create_get(s, id, "/hit/k", false);
	agent = agent_start_at(s, proxy, "a", "");
	await_harm(s, 1);
	proc_kill(&agent);
	expect(s, is(s, id, "status", "RUNNING") && ran(s, "k") == 0);
	agent_start(s, "a", "");
	await(s, id, "status", "COMPLETED");
	expect(s, body_is(s, "attempt", "1") && ran(s, "k") == 1 && events_say(s, id, "REDELIVERED"));
	expect_audit(s, "a.db");
}

/* The effect is over, its answer lies at the agent's socket, and nothing of it is written. */
static void asks_a_person_when_an_agent_died_before_it_wrote_the_end(struct scene *s)
{
	char once[ID_TEXT], again[ID_TEXT];
	struct proc agent;

	target_start(s);
	server_start(s, "");
	agent = agent_start(s, "a", "--slots=2");
	create_get(s, once, "/hold/once", false);
	create_get(s, again, "/hold/again", true);
	await_ran(s, "once", 1);
	await_ran(s, "again", 1);
	proc_signal(&agent, SIGSTOP);
	release(s, "once");
	release(s, "again");
	proc_kill(&agent);
	agent_start(s, "a", "");
	await(s, once, "failureCode", "OUTCOME_UNKNOWN");
	await_ran(s, "again", 2);
	release(s, "again");
	await(s, again, "status", "COMPLETED");
	expect(s, body_is(s, "attempt", "2") && is(s, once, "needsReview", "true") && ran(s, "once") == 1);
	expect_audit(s, "a.db");
}

static void reports_what_an_agent_had_finished_before_it_died(struct scene *s)
{
	char id[ID_TEXT], proxy[64];
	struct proc agent;

	target_start(s);
	server_start(s, "");
	proxy_start(s, &(struct rule){ LOSE_REQUEST, "PATCH ", "\"COMPLETED\"", 0, 99 }, proxy);
	create_get(s, id, "/hit/k", false);
	agent = agent_start_at(s, proxy, "a", "");
	await_harm(s, 1);
	proc_kill(&agent);
	expect(s, is(s, id, "status", "RUNNING"));
	agent_start(s, "a", "");
	await(s, id, "status", "COMPLETED");
	expect(s, body_is(s, "attempt", "1") && ran(s, "k") == 1);
	expect_audit(s, "a.db");
}

/* Crash windows: the server. Stopped, it has not yet read what is sent to it (MARK): killed before the commit. Its reply on its way (HOLD_REPLY): killed after it. */

static void crash(struct scene *s, struct proc *server)
{
	await_harm(s, 1);
	proc_kill(server);
	*server = server_start(s, "");
	release_held(s);
}

static void create_around_a_crash(struct scene *s, enum harm harm)
{
	char id[ID_TEXT], proxy[64];
	struct proc server, client;
	struct json v;

	target_start(s);
	server = server_start(s, "");
	proxy_start(s, &(struct rule){ harm, "POST /api/commands", NULL, 201, 1 }, proxy);
	if (harm == MARK)
		proc_signal(&server, SIGSTOP);
	client = proc_fork(s, "client", NULL);
	if (client.pid == 0) {
		strcpy(s->server, proxy);
		post_with_key(s, "order-1", "/hit/k");
		_exit(s->status == (harm == MARK ? 0 : 201) ? 0 : 1);
	}
	crash(s, &server);
	expect(s, proc_wait(s, &client) == 0);
	ask_server(s, "GET", "/api/commands", NULL);
	expect(s, body_has(s, "\"items\":[]") == (harm == MARK));
	post_with_key(s, "order-1", "/hit/k");
	expect(s, s->status == (harm == MARK ? 201 : 200) && json_find(&s->json, "id", &v));
	snprintf(id, sizeof id, "%.*s", ID_TEXT - 1, v.text + 1);
	agent_start(s, "a", "");
	await(s, id, "status", "COMPLETED");
	expect(s, ran(s, "k") == 1);
}

static void hand_out_around_a_crash(struct scene *s, enum harm harm)
{
	char id[ID_TEXT], proxy[64];
	struct proc server;

	target_start(s);
	server = server_start(s, "");
	create_get(s, id, "/hit/k", false);
	proxy_start(s, &(struct rule){ harm, "GET /api/commands/next", NULL, 200, 1 }, proxy);
	if (harm == MARK)
		proc_signal(&server, SIGSTOP);
	agent_start_at(s, proxy, "a", "");
	crash(s, &server);
	await(s, id, "status", "COMPLETED");
	expect(s, body_is(s, "attempt", "1") && ran(s, "k") == 1);
	expect_audit(s, "a.db");
}

static void report_around_a_crash(struct scene *s, enum harm harm)
{
	char id[ID_TEXT], after[ID_TEXT], proxy[64];
	struct proc server;

	target_start(s);
	server = server_start(s, "");
	proxy_start(s, &(struct rule){ harm, "PATCH ", "\"COMPLETED\"", 200, 1 }, proxy);
	agent_start_at(s, proxy, "a", "");
	create_get(s, id, "/hold/k", false);
	await_ran(s, "k", 1);
	if (harm == MARK)
		proc_signal(&server, SIGSTOP);
	release(s, "k");
	crash(s, &server);
	expect(s, harm == MARK || is(s, id, "status", "COMPLETED"));
	await(s, id, "status", "COMPLETED");
	create(s, after, "DELAY", "{\"ms\":0}", false);
	await(s, after, "status", "COMPLETED");
	expect(s, is(s, id, "attempt", "1") && ran(s, "k") == 1);
	expect_audit(s, "a.db");
}

static void knows_no_command_whose_commit_it_did_not_live_to_see(struct scene *s) { create_around_a_crash(s, MARK); }
static void knows_a_command_that_it_died_over_acknowledging(struct scene *s) { create_around_a_crash(s, HOLD_REPLY); }
static void hands_out_once_what_it_died_over_handing_out(struct scene *s) { hand_out_around_a_crash(s, MARK); }
static void lets_run_once_what_it_handed_out_before_it_died(struct scene *s) { hand_out_around_a_crash(s, HOLD_REPLY); }
static void hears_again_the_report_that_it_died_over(struct scene *s) { report_around_a_crash(s, MARK); }
static void keeps_the_report_that_it_died_over_answering(struct scene *s) { report_around_a_crash(s, HOLD_REPLY); }

/* Leases. */

static void ends_the_claim_of_an_agent_that_never_comes_back(struct scene *s)
{
	char once[ID_TEXT], again[ID_TEXT];
	struct proc agent;

	target_start(s);
	server_start(s, SHORT_LEASE);
	agent = agent_start(s, "a", "--slots=2");
	create_get(s, once, "/hold/once", false);
	create_get(s, again, "/hold/again", true);
	await_ran(s, "once", 1);
	await_ran(s, "again", 1);
	proc_kill(&agent);
	await(s, once, "failureCode", "AGENT_LOST");
	expect(s, body_is(s, "status", "FAILED") && body_is(s, "needsReview", "true"));
	agent_start(s, "b", "");
	await_ran(s, "again", 2);
	release(s, "again");
	await(s, again, "status", "COMPLETED");
	expect(s, body_is(s, "agentId", "b") && body_is(s, "attempt", "2") && ran(s, "once") == 1);
}

static void lets_a_late_report_settle_what_was_lost(struct scene *s)
{
	char id[ID_TEXT];
	struct proc agent;

	target_start(s);
	server_start(s, SHORT_LEASE);
	agent = agent_start(s, "a", "");
	create_get(s, id, "/hold/k", false);
	await_ran(s, "k", 1);
	proc_signal(&agent, SIGSTOP);
	await(s, id, "failureCode", "AGENT_LOST");
	release(s, "k");
	proc_signal(&agent, SIGCONT);
	await(s, id, "status", "COMPLETED");
	expect(s, body_is(s, "needsReview", "false") && body_is(s, "failureCode", "null") && ran(s, "k") == 1);
	expect_audit(s, "a.db");
}

/* Its poll would say that its journal holds nothing of what it began. */
static void does_not_poll_before_what_it_owes_is_answered(struct scene *s)
{
	char id[ID_TEXT], proxy[64];
	struct proc agent;

	target_start(s);
	server_start(s, SHORT_LEASE);
	agent = agent_start(s, "a", "");
	create_get(s, id, "/hold/k", false);
	await_ran(s, "k", 1);
	proc_kill(&agent);
	await(s, id, "failureCode", "AGENT_LOST");
	proxy_start(s, &(struct rule){ LOSE_REQUEST, "PATCH", "INTERRUPTED", 0, 4 }, proxy);
	agent_start_at(s, proxy, "a", "");
	await(s, id, "failureCode", "OUTCOME_UNKNOWN");
	expect(s, harmed(s, 4) && !events_say(s, id, "NEVER_STARTED"));
}

static void refuses_the_report_of_an_older_attempt(struct scene *s)
{
	char id[ID_TEXT], after[ID_TEXT];
	struct proc slow;

	target_start(s);
	server_start(s, SHORT_LEASE);
	slow = agent_start(s, "slow", "");
	create_get(s, id, "/hold/k", true);
	await_ran(s, "k", 1);
	proc_signal(&slow, SIGSTOP);
	agent_start(s, "fast", "");
	await_ran(s, "k", 2);
	release(s, "k");
	await(s, id, "status", "COMPLETED");
	expect(s, body_is(s, "agentId", "fast") && body_is(s, "attempt", "2"));
	proc_signal(&slow, SIGCONT);
	while (!events_say(s, id, "slow"))
		nap();
	expect(s, is(s, id, "agentId", "fast") && body_is(s, "attempt", "2") && body_is(s, "status", "COMPLETED"));
	create(s, after, "DELAY", "{\"ms\":0}", false);
	await(s, after, "status", "COMPLETED");
	expect(s, ran(s, "k") == 2);
}

/* Messages lost and doubled on the way. */

static void redelivers_when_the_reply_to_a_poll_was_lost(struct scene *s)
{
	char id[ID_TEXT], proxy[64];

	target_start(s);
	server_start(s, SHORT_LEASE);
	proxy_start(s, &(struct rule){ LOSE_REPLY, "GET /api/commands/next", NULL, 200, 1 }, proxy);
	create_get(s, id, "/hit/k", false);
	agent_start_at(s, proxy, "a", "");
	await(s, id, "status", "COMPLETED");
	expect(s, harmed(s, 1) && body_is(s, "attempt", "1") && ran(s, "k") == 1);
	expect_audit(s, "a.db");
}

static void does_not_start_what_comes_later_than_its_lease(struct scene *s)
{
	char id[ID_TEXT], proxy[64];

	target_start(s);
	server_start(s, SHORT_LEASE);
	proxy_start(s, &(struct rule){ HOLD_REPLY, "GET /api/commands/next", NULL, 200, 1 }, proxy);
	create_get(s, id, "/hit/k", false);
	agent_start_at(s, proxy, "a", "");
	await(s, id, "failureCode", "AGENT_LOST");
	expect(s, harmed(s, 1) && ran(s, "k") == 0);
	release_held(s);
	await(s, id, "status", "COMPLETED");
	expect(s, body_is(s, "needsReview", "false") && ran(s, "k") == 1);
	expect(s, log_says(s, "a", "not started"));
	expect_audit(s, "a.db");
}

static void reports_again_until_it_is_heard(struct scene *s)
{
	char id[ID_TEXT], proxy[64];

	target_start(s);
	server_start(s, "");
	proxy_start(s, &(struct rule){ LOSE_REQUEST, "PATCH ", "\"COMPLETED\"", 0, 3 }, proxy);
	create_get(s, id, "/hit/k", false);
	agent_start_at(s, proxy, "a", "");
	await(s, id, "status", "COMPLETED");
	expect(s, harmed(s, 3) && body_is(s, "attempt", "1") && ran(s, "k") == 1);
}

static void takes_a_report_whose_answer_was_lost_once(struct scene *s)
{
	char id[ID_TEXT], after[ID_TEXT], proxy[64];

	target_start(s);
	server_start(s, "");
	proxy_start(s, &(struct rule){ LOSE_REPLY, "PATCH ", "\"COMPLETED\"", 200, 2 }, proxy);
	create_get(s, id, "/hit/k", false);
	agent_start_at(s, proxy, "a", "");
	create(s, after, "DELAY", "{\"ms\":0}", false);
	await(s, after, "status", "COMPLETED");
	expect(s, harmed(s, 2) && is(s, id, "status", "COMPLETED") && body_is(s, "attempt", "1") && ran(s, "k") == 1);
	expect_audit(s, "a.db");
}

static void answers_from_its_journal_when_it_died_before_the_answer(struct scene *s)
{
	char id[ID_TEXT], after[ID_TEXT], proxy[64];
	struct proc agent;

	target_start(s);
	server_start(s, "");
	proxy_start(s, &(struct rule){ HOLD_REPLY, "PATCH ", "\"COMPLETED\"", 200, 1 }, proxy);
	create_get(s, id, "/hit/k", false);
	agent = agent_start_at(s, proxy, "a", "");
	await(s, id, "status", "COMPLETED");
	proc_kill(&agent);
	agent_start_at(s, s->server, "a", "");
	await_log(s, "a", "open entry");
	create(s, after, "DELAY", "{\"ms\":0}", false);
	await(s, after, "status", "COMPLETED");
	expect(s, is(s, id, "status", "COMPLETED") && ran(s, "k") == 1);
	expect_audit(s, "a.db");
}

static void starts_once_when_polls_and_reports_arrive_twice(struct scene *s)
{
	char ids[6][ID_TEXT], proxy[64], proxy_of_polls[64];

	target_start(s);
	server_start(s, "");
	proxy_start(s, &(struct rule){ SEND_TWICE, "PATCH ", NULL, 0, 5 }, proxy);
	for (int i = 0; i < 6; i++)
		create_get(s, ids[i], "/hit/k", false);
	agent_start_at(s, proxy, "a", "");
	await_all_ended(s);
	expect(s, harmed(s, 5) && ran(s, "k") == 6);
	expect(s, unlink("harm-1") == 0 && unlink("harm-2") == 0 && unlink("harm-3") == 0);
	proxy_start(s, &(struct rule){ SEND_TWICE, "GET /api/commands/next", NULL, 0, 3 }, proxy_of_polls);
	for (int i = 0; i < 6; i++)
		create_get(s, ids[i], "/hit/polled", false);
	agent_start_at(s, proxy_of_polls, "b", "");
	await_all_ended(s);
	expect(s, ran(s, "polled") == 6);
}

/* Many. */

static long all_started_once(struct scene *s, const char *prefix, int n)
{
	char key[32];
	long once = 0;

	for (int i = 0; i < n; i++) {
		snprintf(key, sizeof key, "%s%d", prefix, i);
		once += ran(s, key) == 1;
	}
	return once;
}

static void runs_500_commands_once_each_with_5_agents_of_4_slots(struct scene *s)
{
	char id[ID_TEXT], path[32], name[8];

	target_start(s);
	server_start(s, "");
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof name, "a%d", i);
		agent_start(s, name, "--slots=4");
	}
	for (int i = 0; i < 500; i++) {
		snprintf(path, sizeof path, "/hit/k%d", i);
		create_get(s, id, path, false);
	}
	await_all_ended(s);
	expect(s, all_started_once(s, "k", 500) == 500);
	ask_server(s, "GET", "/api/commands?limit=500&status=COMPLETED", NULL);
	expect(s, body_is(s, "nextCursor", "null"));
	expect(s, !body_has(s, "\"attempt\":2"));
	expect_audit(s, "a0.db a1.db a2.db a3.db a4.db");
}

/* Starts agents again as they die, until nothing is left to do. */
static void nurse(struct scene *s, struct proc agents[], int n)
{
	static const char *const names[] = { "a", "b", "c" };
	int64_t until = clock_ms() + 2 * PROC_PATIENCE_MS;
	bool busy = true;

	while (busy) {
		for (int i = 0; i < n; i++)
			if (proc_ended(&agents[i]))
				agents[i] = agent_start(s, names[i], "--slots=3 --random-failures --random-failure-rate=0.2");
		expect(s, clock_ms() < until);
		nap();
		ask_server(s, "GET", "/api/commands?limit=1&status=PENDING", NULL);
		busy = s->status != 200 || body_has(s, "\"id\"");
		ask_server(s, "GET", "/api/commands?limit=1&status=RUNNING", NULL);
		busy = busy || s->status != 200 || body_has(s, "\"id\"");
	}
}

static void loses_nothing_and_doubles_nothing_while_agents_die_at_random(struct scene *s)
{
	char ids[60][ID_TEXT], path[32];
	struct proc agents[3] = { { 0, "", 0 }, { 0, "", 0 }, { 0, "", 0 } };

	target_start(s);
	server_start(s, "");
	for (int i = 0; i < 60; i++) {
		snprintf(path, sizeof path, "/slow/k%d?ms=20", i);
		create_get(s, ids[i], path, i % 3 == 0);
	}
	nurse(s, agents, 3);
	for (int i = 0; i < 60; i++) {
		bool completed = is(s, ids[i], "status", "COMPLETED"), review = is(s, ids[i], "needsReview", "true");
		snprintf(path, sizeof path, "k%d", i);
		expect(s, completed || review);
		expect(s, i % 3 == 0 || ran(s, path) <= 1);
		expect(s, !completed || ran(s, path) >= 1);
	}
	expect_audit(s, "a.db b.db c.db");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROC_CASE(carries_both_types_from_post_to_result),
		PROC_CASE(calls_a_404_an_answer_and_a_refused_connection_a_failure),
		PROC_CASE(creates_once_for_an_idempotency_key_over_crashes),
		PROC_CASE(waits_quietly_for_a_server_that_is_not_there_yet),
		PROC_CASE(runs_as_many_at_a_time_as_it_has_slots),
		PROC_CASE(ends_cleanly_after_what_it_runs),
		PROC_CASE(ends_at_once_out_of_a_parked_poll),
		PROC_CASE(runs_one_and_ends_with_once),
		PROC_CASE(keeps_what_waits_over_a_crash_of_the_server),
		PROC_CASE(hears_the_end_of_what_ran_while_the_server_was_gone),
		PROC_CASE(leaves_what_runs_alone_over_a_crash_of_the_server),
		PROC_CASE(changes_nothing_settled_when_both_crash),
		PROC_CASE(asks_a_person_when_an_agent_died_in_the_middle),
		PROC_CASE(kills_itself_when_told_to),
		PROC_CASE(gives_up_a_command_that_kills_every_agent),
		PROC_CASE(begins_once_what_an_agent_died_with_before_it_began),
		PROC_CASE(asks_a_person_when_an_agent_died_before_it_wrote_the_end),
		PROC_CASE(reports_what_an_agent_had_finished_before_it_died),
		PROC_CASE(knows_no_command_whose_commit_it_did_not_live_to_see),
		PROC_CASE(knows_a_command_that_it_died_over_acknowledging),
		PROC_CASE(hands_out_once_what_it_died_over_handing_out),
		PROC_CASE(lets_run_once_what_it_handed_out_before_it_died),
		PROC_CASE(hears_again_the_report_that_it_died_over),
		PROC_CASE(keeps_the_report_that_it_died_over_answering),
		PROC_CASE(ends_the_claim_of_an_agent_that_never_comes_back),
		PROC_CASE(lets_a_late_report_settle_what_was_lost),
		PROC_CASE(does_not_poll_before_what_it_owes_is_answered),
		PROC_CASE(refuses_the_report_of_an_older_attempt),
		PROC_CASE(redelivers_when_the_reply_to_a_poll_was_lost),
		PROC_CASE(does_not_start_what_comes_later_than_its_lease),
		PROC_CASE(reports_again_until_it_is_heard),
		PROC_CASE(takes_a_report_whose_answer_was_lost_once),
		PROC_CASE(answers_from_its_journal_when_it_died_before_the_answer),
		PROC_CASE(starts_once_when_polls_and_reports_arrive_twice),
		PROC_CASE(runs_500_commands_once_each_with_5_agents_of_4_slots),
		PROC_CASE(loses_nothing_and_doubles_nothing_while_agents_die_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
