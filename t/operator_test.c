/* operator: what people do to the real programs: settle doubt, cancel, audit, back up and restore, copy journals, start things twice, write settings wrong. */
#include "proc.h"
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHORT_LEASE "--lease-ms=700"

/* A process that no longer runs the scene's agent: by hand, without a journal. */
static void take(struct scene *s, const char *id)
{
	ask_server(s, "GET", "/api/commands/next", NULL);
	expect(s, s->status == 200 && body_is(s, "id", id));
}

static void tell(struct scene *s, const char *id, const char *status)
{
	char path[96], body[64];

	command_path(id, "", path);
	snprintf(body, sizeof body, "{\"status\":\"%s\"}", status);
	ask_server(s, "PATCH", path, body);
}

static void order(struct scene *s, const char *id, const char *what, const char *body, int status, const char *code)
{
	char path[96];

	command_path(id, what, path);
	ask_server(s, "POST", path, body);
	expect(s, s->status == status);
	expect(s, !code || (body_is(s, "code", code) && body_has(s, "\"currentStatus\":") && body_has(s, "\"currentAttempt\":")));
}

static void doubt(struct scene *s, char *id)
{
	create(s, id, "DELAY", "{\"ms\":0}", false);
	take(s, id);
	tell(s, id, "INTERRUPTED");
	expect(s, s->status == 200 && body_is(s, "failureCode", "OUTCOME_UNKNOWN") && body_is(s, "needsReview", "true"));
}

/* Settling doubt. */

#define RETRY "{\"action\":\"RETRY\",\"note\":\"looked\"}"
#define COMPLETE "{\"action\":\"COMPLETE\",\"result\":[1.50]}"
#define FAIL "{\"action\":\"FAIL\",\"note\":\"not worth it\"}"

static void settles_doubt_once(struct scene *s)
{
	char id[ID_TEXT];

	server_start(s, "");
	doubt(s, id);
	order(s, id, "/cancel", NULL, 409, "ALREADY_SETTLED");
	order(s, id, "/resolve", COMPLETE, 200, NULL);
	expect(s, body_is(s, "status", "COMPLETED") && body_has(s, "\"result\":[1.50]") && body_is(s, "error", "null"));
	order(s, id, "/resolve", RETRY, 409, "NOT_FAILED");
	doubt(s, id);
	order(s, id, "/resolve", FAIL, 200, NULL);
	expect(s, body_is(s, "failureCode", "OPERATOR_FAILED") && body_is(s, "needsReview", "false") && body_is(s, "error", "not worth it"));
	order(s, id, "/resolve", COMPLETE, 409, "ALREADY_SETTLED");
	order(s, id, "/resolve", RETRY, 200, NULL);
	expect(s, body_is(s, "status", "PENDING") && body_is(s, "maxAttempts", "6"));
	order(s, id, "/resolve", FAIL, 409, "NOT_FAILED");
	tell(s, id, "INTERRUPTED");
	expect(s, s->status == 200 && body_is(s, "status", "PENDING"));
	take(s, id);
	expect(s, body_is(s, "attempt", "2"));
	order(s, id, "/resolve", FAIL, 409, "NOT_FAILED");
	expect(s, events_say(s, id, "\"kind\":\"RETRY\",\"actor\":\"operator\",\"attempt\":1,\"evidence\":null,\"verdict\":\"PENDING\",\"detail\":\"looked\""));
	expect(s, body_has(s, "\"kind\":\"RECOVERED\",\"actor\":\"default\",\"attempt\":1,\"evidence\":\"INTERRUPTED\",\"verdict\":\"FAILED OUTCOME_UNKNOWN, needs review\""));
}

static void cancels_in_every_state(struct scene *s)
{
	char id[ID_TEXT];

	server_start(s, "");
	create(s, id, "DELAY", "{\"ms\":0}", false);
	order(s, id, "/cancel", NULL, 200, NULL);
	expect(s, body_is(s, "failureCode", "CANCELLED") && body_is(s, "needsReview", "false") && body_is(s, "cancelRequested", "true"));
	order(s, id, "/cancel", NULL, 409, "ALREADY_SETTLED");
	create(s, id, "DELAY", "{\"ms\":0}", false);
	take(s, id);
	order(s, id, "/cancel", NULL, 202, NULL);
	order(s, id, "/cancel", NULL, 202, NULL);
	tell(s, id, "RUNNING");
	expect(s, s->status == 200 && body_is(s, "cancelRequested", "true"));
	tell(s, id, "NOT_STARTED");
	expect(s, body_is(s, "failureCode", "CANCELLED"));
	create(s, id, "DELAY", "{\"ms\":0}", false);
	take(s, id);
	order(s, id, "/cancel", NULL, 202, NULL);
	tell(s, id, "COMPLETED");
	expect(s, body_is(s, "status", "COMPLETED") && body_is(s, "needsReview", "false"));
	order(s, id, "/cancel", NULL, 409, "ALREADY_SETTLED");
}

static void stops_a_running_command_that_is_cancelled(struct scene *s)
{
	char id[ID_TEXT], path[96];

	target_start(s);
	server_start(s, SHORT_LEASE);
	agent_start(s, "a", "");
	create_get(s, id, "/hold/k", false);
	await_ran(s, "k", 1);
	command_path(id, "/cancel", path);
	ask_server(s, "POST", path, NULL);
	expect(s, s->status == 202 && body_is(s, "cancelRequested", "true"));
	await(s, id, "status", "FAILED");
	expect(s, body_is(s, "failureCode", "CANCELLED") && ran(s, "k") == 1);
}

/* An operator of its own process; its exit status says what it got. */
static struct proc operator_start(struct scene *s, const char *id, const char *body)
{
	struct proc p = proc_fork(s, "operator", NULL);
	char path[96];

	if (p.pid > 0)
		return p;
	command_path(id, "/resolve", path);
	ask_server(s, "POST", path, body);
	_exit(s->status == 200 ? 10 : s->status == 409 ? 20 : 30);
}

static void lets_one_of_two_operators_win(struct scene *s)
{
	static const char *const orders[][2] = { { RETRY, COMPLETE }, { FAIL, COMPLETE }, { COMPLETE, COMPLETE }, { RETRY, RETRY } };
	char id[ID_TEXT];

	server_start(s, "");
	for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
		struct proc a, b;
		doubt(s, id);
		a = operator_start(s, id, orders[i][0]);
		b = operator_start(s, id, orders[i][1]);
		int first = proc_wait(s, &a), second = proc_wait(s, &b);
		expect(s, WEXITSTATUS(first) + WEXITSTATUS(second) == 30 && first != second);
		if (is(s, id, "status", "PENDING"))
			order(s, id, "/cancel", NULL, 200, NULL);
	}
}

/* Strangers. */

static void refuses_what_a_call_does_not_know(struct scene *s)
{
	static const char *const calls[][2] = { { "GET", "/health" }, { "GET", "/api/agents" }, { "POST", "/api/commands" }, { "GET", "/api/commands" },
		{ "GET", "/api/commands/next" }, { "GET", "/api/commands/x" }, { "PATCH", "/api/commands/x" }, { "POST", "/api/commands/x/resolve" },
		{ "POST", "/api/commands/x/cancel" }, { "GET", "/api/commands/x/events" } };
	char path[64];

	server_start(s, "");
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		snprintf(path, sizeof path, "%s?what=1", calls[i][1]);
		ask_server(s, calls[i][0], path, calls[i][0][0] == 'P' ? "{}" : NULL);
		expect(s, s->status == 400 && body_is(s, "code", "VALIDATION") && body_has(s, "\"field\":\"what\""));
		expect(s, strstr(s->head.data, "Cache-Control: no-store\r\n") && strstr(s->head.data, "Content-Type: application/problem+json\r\n"));
	}
}

/* What listens at the server's address says the same to everybody. */
static struct proc stranger_start(struct scene *s, const char *reply)
{
	char in[4096];
	int listener = proc_listen(s, s->server), client;
	struct proc p = proc_fork(s, "stranger", NULL);

	while (p.pid == 0 && (client = accept(listener, NULL, NULL)) >= 0) {
		(void)!(recv(client, in, sizeof in, 0) > 0 && send(client, reply, strlen(reply), MSG_NOSIGNAL) > 0);
		close(client);
	}
	close(listener);
	return p;
}

static void is_stopped_by_no_stranger(struct scene *s)
{
	static const char *const replies[] = {
		"HTTP/1.1 409 Conflict\r\nContent-Length: 16\r\n\r\n{\"code\":\"OTHER\"}", "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"id\":5}", "HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n",
	};
	char id[ID_TEXT], name[8];

	for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
		struct proc stranger = stranger_start(s, replies[i]), server, agent;
		snprintf(name, sizeof name, "a%zu", i);
		agent = agent_start(s, name, "");
		await_log(s, name, "server away");
		proc_kill(&stranger);
		server = server_start(s, "");
		create(s, id, "DELAY", "{\"ms\":0}", false);
		await(s, id, "status", "COMPLETED");
		expect(s, body_is(s, "agentId", name));
		proc_kill(&agent);
		proc_kill(&server);
	}
}

static void takes_no_bad_setting(struct scene *s)
{
	static const struct { const char *program, *flags, *named; } cases[] = {
		{ "server", "--listen=nowhere", "server: --listen=nowhere: an address" }, { "server", "--health --listen=nowhere", "server: --listen=nowhere: an address" },
		{ "agent", "--server-url=ftp://x/", "agent: --server-url=ftp://x/: " },
		{ "agent", "--server-url=http://u:p/@w@h:1/", "agent: --server-url=http://...@h:1/: " }, { "agent", "--http-deny=zzz", "agent: --http-deny=zzz: " },
		{ "agent", "--http-allow=1.2.3.4/99", "agent: --http-allow=1.2.3.4/99: " }, { "agent", "--agent-id=a@b", "agent: --agent-id=a@b: " },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		expect(s, program_run(s, cases[i].program, cases[i].flags) == 2);
		expect(s, log_says(s, "out", cases[i].named));
	}
}

static void makes_nothing_where_nothing_was(struct scene *s)
{
	static const char *const cases[][2] = { { "server", "--db-path=none.db --resume" }, { "server", "--db-path=none.db --check" }, { "server", "--db-path=none.db --backup copy.db" },
		{ "server", "--audit none.db" }, { "agent", "--journal-path=none.db --log" } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		expect(s, program_run(s, cases[i][0], cases[i][1]) == (strstr(cases[i][1], "audit") ? 2 : 1));
		expect(s, log_says(s, "out", "none.db") && !file_there("none.db") && !file_there("copy.db"));
	}
}

static void tells_a_journal_from_a_database(struct scene *s)
{
	expect(s, program_run(s, "server", "--migrate --db-path=s.db") == 0);
	expect(s, program_run(s, "agent", "--migrate --journal-path=a.db") == 0);
	expect(s, program_run(s, "server", "--migrate --db-path=a.db") == 1 && log_says(s, "out", "a.db is no server's database"));
	expect(s, program_run(s, "agent", "--once --journal-path=s.db") == 1 && log_says(s, "out", "s.db is no agent's journal"));
	expect(s, program_run(s, "server", "--audit a.db s.db") == 2);
	expect(s, program_run(s, "server", "--audit s.db s.db") == 2);
}

/* Audits. */

static void plant(struct scene *s, const char *file, const char *sql)
{
	sqlite3 *db;

	expect(s, sqlite3_open(file, &db) == SQLITE_OK && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
	expect(s, sqlite3_close(db) == SQLITE_OK);
}

/* One command that must run once, one that may run twice, one in review: all of one agent, all known. */
static void make_history(struct scene *s, char ids[3][ID_TEXT])
{
	struct proc server, agent;

	target_start(s);
	server = server_start(s, "");
	agent = agent_start(s, "a", "");
	create_get(s, ids[0], "/hit/once", false);
	create_get(s, ids[1], "/hit/again", true);
	create_get(s, ids[2], "/hold/doubt", false);
	await_ran(s, "doubt", 1);
	expect_audit(s, "a.db");
	proc_kill(&agent);
	agent = agent_start(s, "a", "");
	await(s, ids[2], "failureCode", "OUTCOME_UNKNOWN");
	proc_signal(&agent, SIGTERM);
	proc_wait(s, &agent);
	proc_signal(&server, SIGTERM);
	proc_wait(s, &server);
}

static void finds_what_was_planted(struct scene *s)
{
	static const struct { const char *file, *sql, *says; } cases[] = {
		{ "c.db", "UPDATE commands SET status = 'RUNNING', agent_id = NULL WHERE row = 3", "A3" },
		{ "c.db", "UPDATE commands SET status = 'PENDING' WHERE row = 1", "A3" },
		{ "c.db", "DELETE FROM commands WHERE row = 1", "A3" },
		{ "c.db", "UPDATE commands SET status = 'COMPLETED', needs_review = 0 WHERE row = 3", "neither a report nor an operator" },
		{ "j.db", "UPDATE entries SET state = 'STARTED' WHERE entry = 1", "holds no end of it" },
		{ "j.db", "UPDATE entries SET status = 'FAILED' WHERE entry = 1", "another outcome" },
		{ "j.db", "DELETE FROM entries WHERE entry = 2", "holds no record of it" },
		{ "j.db", "INSERT INTO entries (command_id, attempt, agent_id, type, is_idempotent, state, answer, boot, started_at) "
			"SELECT command_id, 2, agent_id, type, 0, 'STARTED', 'OPEN', 9, started_at + 1 FROM entries WHERE entry = 1", "A1" },
		{ "b.db", "UPDATE meta SET value = 'another' WHERE name = 'journal_id'", "A1" },
		{ "b.db", "UPDATE entries SET started_at = started_at + 5", "A1" },
	};
	char ids[3][ID_TEXT];

	make_history(s, ids);
	expect(s, program_run(s, "server", "--audit commands.db a.db") == 0 && log_says(s, "out", "PROVEN: 3 commands against 3 entries of 1 journals: 0 violations, 0 unproven"));
	expect(s, program_run(s, "server", "--audit --json commands.db a.db") == 0 && log_says(s, "out", "{\"result\":\"PROVEN\",\"commands\":3,"));
	expect(s, program_run(s, "server", "--audit commands.db") == 3 && log_says(s, "out", "was not given"));
	expect(s, program_run(s, "server", "--audit commands.db gone.db") == 2);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		expect(s, system("cp commands.db c.db; cp a.db j.db; cp a.db b.db") == 0);
		expect(s, program_run(s, "server", "--audit c.db j.db b.db") == 0);
		plant(s, cases[i].file, cases[i].sql);
		expect(s, program_run(s, "server", strcmp(cases[i].file, "b.db") == 0 ? "--audit c.db j.db b.db" : "--audit c.db j.db") == 1);
		expect(s, log_says(s, "out", cases[i].says) && log_says(s, "out", "VIOLATED"));
	}
}

static void does_not_guess_about_an_agent_without_a_journal(struct scene *s)
{
	char id[ID_TEXT];

	server_start(s, "");
	create(s, id, "DELAY", "{\"ms\":0}", false);
	take(s, id);
	tell(s, id, "COMPLETED");
	expect(s, program_run(s, "server", "--audit commands.db") == 3 && log_says(s, "out", id) && log_says(s, "out", "keeps no journal"));
	expect(s, program_run(s, "server", "--audit --json commands.db") == 3 && log_says(s, "out", "\"verdict\":\"UNPROVEN\""));
}

/* Two of one. */

static void refuses_a_second_server_on_a_database(struct scene *s)
{
	struct proc first = server_start(s, "");

	expect(s, program_run(s, "server", "--listen=127.0.0.1:0 --db-path=commands.db") == 1);
	expect(s, log_says(s, "out", "commands.db") && !proc_ended(&first));
	ask_server(s, "GET", "/health", NULL);
	expect(s, s->status == 200);
}

static void refuses_a_second_agent_on_a_journal(struct scene *s)
{
	struct proc first;
	char flags[256], id[ID_TEXT];

	server_start(s, "");
	first = agent_start(s, "a", "");
	create(s, id, "DELAY", "{\"ms\":0}", false);
	await(s, id, "status", "COMPLETED");
	snprintf(flags, sizeof flags, "--server-url=http://%s --journal-path=a.db --agent-id=b", s->server);
	expect(s, program_run(s, "agent", flags) == 1);
	expect(s, log_says(s, "out", "a.db") && !proc_ended(&first));
}

/* A journal put back to an older state is found by its start counter. */
static void fences_a_journal_that_was_put_back(struct scene *s)
{
	char id[ID_TEXT];
	struct proc agent;

	target_start(s);
	server_start(s, SHORT_LEASE);          /* the new journal waits until the name is free */
	agent = agent_start(s, "a", "");
	create_get(s, id, "/hit/k", false);
	await(s, id, "status", "COMPLETED");
	proc_signal(&agent, SIGTERM);
	proc_wait(s, &agent);
	expect(s, system("cp a.db copy.db") == 0);
	for (int i = 0; i < 2; i++) {
		agent = agent_start(s, "a", "");
		create(s, id, "DELAY", "{\"ms\":0}", false);
		await(s, id, "status", "COMPLETED");
		proc_signal(&agent, SIGTERM);
		proc_wait(s, &agent);
	}
	expect(s, system("cp copy.db a.db") == 0);
	create_get(s, id, "/hit/k", false);
	agent = agent_start(s, "a", "");
	expect(s, proc_wait(s, &agent) != 0);
	await_log(s, "a", "fenced");
	expect(s, is(s, id, "status", "PENDING") && ran(s, "k") == 1);
	agent_start(s, "a", "--new-journal");
	await(s, id, "status", "COMPLETED");
}

/* A database put back to a backup: the agents' journals say what it has forgotten. */
static void runs_nothing_again_after_a_restore(struct scene *s)
{
	char before[ID_TEXT], after[ID_TEXT];
	struct proc server, agent;

	target_start(s);
	server = server_start(s, "");
	create_get(s, before, "/hit/k", false);
	create_get(s, after, "/hit/k", false);
	expect(s, program_run(s, "server", "--db-path=commands.db --backup saved.db") == 0);
	agent = agent_start(s, "a", "");
	await_all_ended(s);
	expect(s, ran(s, "k") == 2);
	proc_kill(&server);
	proc_kill(&agent);
	expect(s, system("rm -f commands.db*; cp saved.db commands.db") == 0);
	server_start(s, "");
	agent_start(s, "a", "");
	await(s, before, "status", "COMPLETED");
	await(s, after, "status", "COMPLETED");
	expect(s, program_run(s, "server", "--db-path=commands.db --resume") == 0);
	create_get(s, after, "/hit/new", false);
	await(s, after, "status", "COMPLETED");
	expect(s, ran(s, "k") == 2 && ran(s, "new") == 1);
	expect_audit(s, "a.db");
}

/* A copy made by hand knows nothing of pauses: the server hands out again what was done since, and the journal is asked before anything begins. */
static void answers_from_the_journal_when_a_plain_copy_was_put_back(struct scene *s)
{
	char once[ID_TEXT], again[ID_TEXT];
	struct proc server, agent;

	target_start(s);
	server = server_start(s, "");
	create_get(s, once, "/hit/once", false);
	create_get(s, again, "/hold/again", true);
	proc_signal(&server, SIGTERM);
	expect(s, proc_wait(s, &server) == 0 && system("cp commands.db saved.db") == 0);
	server = server_start(s, "");
	agent = agent_start(s, "a", "");
	await_ran(s, "again", 1);
	proc_kill(&agent);
	agent = agent_start(s, "a", "");
	await_ran(s, "again", 2);
	release(s, "again");
	await_all_ended(s);
	proc_signal(&agent, SIGTERM);      /* every mark is written: nothing is owed at the next start */
	expect(s, proc_wait(s, &agent) == 0);
	proc_kill(&server);
	expect(s, system("rm -f commands.db*; cp saved.db commands.db") == 0);
	server_start(s, "");
	expect(s, is(s, once, "attempt", "0") && is(s, again, "attempt", "0"));
	agent_start(s, "a", "");
	await(s, once, "status", "COMPLETED");
	await(s, again, "status", "COMPLETED");
	expect(s, body_is(s, "attempt", "2") && ran(s, "once") == 1 && ran(s, "again") == 2);
	expect_audit(s, "a.db");
}

/* The copy starts with the count the true one has too, but not with its digits. */
static void fences_a_journal_that_was_cloned(struct scene *s)
{
	char id[ID_TEXT];
	struct proc one, other;

	server_start(s, "");
	one = agent_start(s, "a", "");
	create(s, id, "DELAY", "{\"ms\":0}", false);
	await(s, id, "status", "COMPLETED");
	proc_signal(&one, SIGTERM);
	proc_wait(s, &one);
	expect(s, system("cp a.db b.db") == 0);
	one = agent_start(s, "a", "");
	create(s, id, "DELAY", "{\"ms\":0}", false);
	await(s, id, "status", "COMPLETED");
	other = agent_start(s, "b", "");
	expect(s, proc_wait(s, &other) != 0 && log_says(s, "b", "fenced"));
	other = agent_start(s, "b", "");
	expect(s, proc_wait(s, &other) != 0);
	create(s, id, "DELAY", "{\"ms\":0}", false);
	await(s, id, "status", "COMPLETED");
	expect(s, body_is(s, "agentId", "a") && !proc_ended(&one));
}

static void lets_the_second_of_one_name_wait_until_the_first_is_gone(struct scene *s)
{
	char id[ID_TEXT], flags[256];
	struct proc first;

	server_start(s, SHORT_LEASE);
	first = agent_start(s, "a", "");
	create(s, id, "DELAY", "{\"ms\":0}", false);
	await(s, id, "status", "COMPLETED");
	snprintf(flags, sizeof flags, "--server-url=http://%s --agent-id=a --journal-path=b.db --poll-interval-ms=200", s->server);
	program_start(s, "b", "agent", flags);
	await_log(s, "b", "alive at this server");
	create(s, id, "DELAY", "{\"ms\":0}", false);
	await(s, id, "status", "COMPLETED");
	expect_audit(s, "a.db");
	proc_kill(&first);
	create(s, id, "DELAY", "{\"ms\":0}", false);
	await(s, id, "status", "COMPLETED");
	expect_audit(s, "a.db b.db");
}

/* At the backup one command waits, one runs, one has ended. All go on; then the copy is put back while the agent lives. */
static void goes_on_after_a_restore_in_the_middle_of_a_run(struct scene *s)
{
	char ended[ID_TEXT], running[ID_TEXT], waiting[ID_TEXT];
	struct proc server;

	target_start(s);
	server = server_start(s, SHORT_LEASE);
	agent_start(s, "a", "");
	create_get(s, ended, "/hit/ended", false);
	await(s, ended, "status", "COMPLETED");
	create_get(s, running, "/hold/running", false);
	create_get(s, waiting, "/hit/waiting", false);
	await_ran(s, "running", 1);
	expect(s, program_run(s, "server", "--db-path=commands.db --backup saved.db") == 0);
	release(s, "running");
	await(s, waiting, "status", "COMPLETED");
	proc_kill(&server);
	expect(s, system("rm -f commands.db*; cp saved.db commands.db") == 0);
	server_start(s, SHORT_LEASE);
	await(s, running, "status", "COMPLETED");
	await(s, waiting, "status", "COMPLETED");
	expect(s, is(s, ended, "status", "COMPLETED") && events_say(s, waiting, "DATABASE_PUT_BACK"));
	create_get(s, ended, "/hit/new", false);
	expect(s, is(s, ended, "status", "PENDING"));
	expect(s, program_run(s, "server", "--db-path=commands.db --resume") == 0);
	await(s, ended, "status", "COMPLETED");
	expect(s, ran(s, "ended") == 1 && ran(s, "running") == 1 && ran(s, "waiting") == 1 && ran(s, "new") == 1);
	expect_audit(s, "a.db");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROC_CASE(settles_doubt_once),
		PROC_CASE(cancels_in_every_state),
		PROC_CASE(stops_a_running_command_that_is_cancelled),
		PROC_CASE(lets_one_of_two_operators_win),
		PROC_CASE(refuses_what_a_call_does_not_know),
		PROC_CASE(is_stopped_by_no_stranger),
		PROC_CASE(takes_no_bad_setting),
		PROC_CASE(makes_nothing_where_nothing_was),
		PROC_CASE(tells_a_journal_from_a_database),
		PROC_CASE(finds_what_was_planted),
		PROC_CASE(does_not_guess_about_an_agent_without_a_journal),
		PROC_CASE(refuses_a_second_server_on_a_database),
		PROC_CASE(refuses_a_second_agent_on_a_journal),
		PROC_CASE(fences_a_journal_that_was_put_back),
		PROC_CASE(runs_nothing_again_after_a_restore),
		PROC_CASE(answers_from_the_journal_when_a_plain_copy_was_put_back),
		PROC_CASE(fences_a_journal_that_was_cloned),
		PROC_CASE(lets_the_second_of_one_name_wait_until_the_first_is_gone),
		PROC_CASE(goes_on_after_a_restore_in_the_middle_of_a_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
