/* server: the control server's main. Settings, wiring, the actions that are not serving; only this file ends the process. */
#include "api.h"
#include "audit.h"
#include "call.h"
#include "conf.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRAIN_US INT64_C(5000000)
#define HEALTH_US INT64_C(5000000)
#define LISTEN_NEED "an address and a port are needed, as 127.0.0.1:3000 or [::1]:3000"

struct node { struct env env; struct loop *loop; struct api *api; bool stopping; int64_t stop_by_us; };

static int complain(int status, const char *text)
{
	fprintf(stderr, "server: %s\n", text);
	return status;
}

/* A value that the table could not judge: usage, as any other bad value is. */
static int bad_setting(const struct conf *conf, const char *name, const char *why)
{
	struct buf text = {0};

	conf_place(conf, name, &text);
	buf_fmt(&text, ": %s", why);
	complain(2, text.data);
	buf_free(&text);
	return 2;
}

/* "host:port" or "[v6]:port" into an address; numeric hosts and localhost only, so that nothing is looked up. host gets the name without brackets' port. */
static bool read_listen(const char *text, struct sockaddr_storage *out, socklen_t *len, char host[128])
{
	const char *colon = strrchr(text, ':');
	struct sockaddr_in v4 = {0};
	struct sockaddr_in6 v6 = {0};
	int64_t port;
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (!colon || n == 0 || n >= 120 || !num_parse(colon + 1, strlen(colon + 1), 0, 65535, &port))
		return false;
	memcpy(host, text, n);
	host[n] = '\0';
	memset(out, 0, sizeof *out);
	if (host[0] == '[' && host[n - 1] == ']') {
		char inner[128];
		memcpy(inner, host + 1, n - 2);
		inner[n - 2] = '\0';
		v6.sin6_family = AF_INET6;
		v6.sin6_port = htons((uint16_t)port);
		memcpy(out, &v6, sizeof v6);
		*len = sizeof v6;
		if (inet_pton(AF_INET6, inner, &v6.sin6_addr) != 1)
			return false;
		memcpy(out, &v6, sizeof v6);
		return true;
	}
	v4.sin_family = AF_INET;
	v4.sin_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4.sin_addr) != 1)
		return false;
	memcpy(out, &v4, sizeof v4);
	*len = sizeof v4;
	return true;
}

static bool is_loopback(const struct sockaddr_storage *a)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	memcpy(&v4, a, sizeof v4);
	memcpy(&v6, a, sizeof v6);
	if (a->ss_family == AF_INET)
		return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) != 0;
}

static void address_text(const struct sockaddr_storage *a, char out[96])
{
	char host[INET6_ADDRSTRLEN] = "";
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	memcpy(&v4, a, sizeof v4);
	memcpy(&v6, a, sizeof v6);
	if (a->ss_family == AF_INET6)
		snprintf(out, 96, "[%s]:%u", inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host), (unsigned)ntohs(v6.sin6_port));
	else
		snprintf(out, 96, "%s:%u", inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host), (unsigned)ntohs(v4.sin_port));
}

/* Actions. */

/* The end of an action: what there is to say goes to stdout when all is well, else to stderr. */
static int over(bool good, struct buf *text)
{
	int status = good ? 0 : 1;

	if (!good)
		complain(1, text->data ? text->data : "failed");
	else if (text->data && (puts(text->data) < 0 || fflush(stdout) != 0))
		status = complain(1, "cannot write to standard output");
	buf_free(text);
	return status;
}

static int migrate(const struct env *env, const char *path)
{
	struct buf text = {0};
	struct store *s = store_open(env, path, &text);

	if (s)
		buf_fmt(&text, "%s is at the newest version", path);
	store_close(s);
	return over(s != NULL, &text);
}

/* The copy knows that it is one: a server on it hands nothing out until --resume. */
static int backup(const struct env *env, const char *path, const char *file)
{
	struct buf text = {0};
	bool good = db_backup(env, path, file, store_pause_sql(), &text);

	if (good)
		buf_fmt(&text, "%s: a copy of %s; a server on it hands nothing out until --resume", file, path);
	return over(good, &text);
}

static int check(const struct env *env, const char *path)
{
	struct buf text = {0};

	return over(db_check(env, path, db_server_migrations, &text), &text);
}

/* A running server is told by a signal; a resting database is changed. */
static int resume_database(const struct env *env, const char *path)
{
	struct buf text = {0};
	long pid = db_holder(path);
	struct store *s;

	if (pid > 0) {
		bool told = kill((pid_t)pid, SIGHUP) == 0;
		buf_fmt(&text, "the server (pid %ld) %s", pid, told ? "was told to hand out again" : strerror(errno));
		return over(told, &text);
	}
	if (access(path, F_OK) != 0) {
		buf_fmt(&text, "%s: %s", path, strerror(errno));
		return over(false, &text);
	}
	s = store_open(env, path, &text);
	if (!s)
		return over(false, &text);
	db_begin(store_db(s));
	store_fact_put(s, "paused", NULL);
	if (db_commit(store_db(s)) != DB_OK)
		buf_fmt(&text, "%s: no room to write", path);
	store_close(s);
	if (text.len)
		return over(false, &text);
	buf_fmt(&text, "%s: a server on it hands out", path);
	return over(true, &text);
}

struct health { bool over; int status; struct buf text; };

static void health_answered(void *arg, const struct call_answer *a)
{
	struct health *h = arg;

	h->over = true;
	h->status = a->error ? 0 : a->status;
	buf_str(&h->text, a->error ? a->error : a->body_len ? a->body : "no answer in words");
}

/* Asks the server on this listen address; for container health checks, which have no shell. */
static int health(const struct env *env, const struct conf *conf)
{
	struct health h = {0};
	struct call_spec spec = {0};
	struct loop *loop;
	struct http_url url;
	struct buf text = {0};
	struct sockaddr_storage addr;
	socklen_t len;
	char host[128];
	const char *listen = conf_text(conf, "listen");
	size_t any = strncmp(listen, "0.0.0.0:", 8) == 0 ? 7 : strncmp(listen, "[::]:", 5) == 0 ? 4 : 0;

	buf_fmt(&text, "http://%s%s/health", any == 7 ? "127.0.0.1" : any == 4 ? "[::1]" : "", listen + any);
	if (!read_listen(listen, &addr, &len, host) || http_url_read(text.data, text.len, &url) != NULL) {
		buf_free(&text);
		return bad_setting(conf, "listen", LISTEN_NEED);
	}
	buf_free(&text);
	loop = loop_new(env);
	spec.method = "GET";
	spec.url = &url;
	spec.deadline_us = env->mono_us(env->world) + HEALTH_US;
	spec.body_max = 65536;
	call_start(loop, env, &spec, health_answered, &h);
	while (!h.over)
		loop_turn(loop, INT64_MAX);
	http_url_free(&url);
	loop_free(loop);
	return over(h.status == 200, &h.text);
}

static int audit(const struct env *env, const struct conf *conf)
{
	const char *journals[1024];
	struct buf out = {0};
	int n = conf_operands(conf) - 1;
	enum audit_result result;

	if (n > (int)(sizeof journals / sizeof *journals))
		return complain(2, "--audit: at most 1024 journals at a time");
	for (int i = 0; i < n; i++)
		journals[i] = conf_operand(conf, i + 1);
	result = audit_run(env, conf_operand(conf, 0), journals, n, conf_on(conf, "json"), &out);
	if (result == AUDIT_UNREADABLE)
		complain(AUDIT_UNREADABLE, out.data);
	else if (fputs(out.data, stdout) < 0 || fflush(stdout) != 0)
		result = (enum audit_result)complain(AUDIT_UNREADABLE, "cannot write to standard output");
	buf_free(&out);
	return (int)result;
}

/* Serving. */

static void stop(void *arg)
{
	struct node *n = arg;

	if (n->stopping)
		_exit(0);
	n->stopping = true;
	n->stop_by_us = n->env.mono_us(n->env.world) + DRAIN_US;
	env_log(&n->env, "stop", "no more requests are taken; answering the %d open connections", api_connections(n->api));
	api_stop(n->api);
}

static void resume(void *arg) { api_resume(((struct node *)arg)->api); }

static void run(struct node *n)
{
	while (!n->stopping)
		loop_turn(n->loop, INT64_MAX);
	do
		loop_turn(n->loop, n->stop_by_us);
	while (api_connections(n->api) > 0 && n->env.mono_us(n->env.world) < n->stop_by_us);
}

static bool announce(const struct sockaddr_storage *bound)
{
	char text[96];

	address_text(bound, text);
	return printf("listening on http://%s\n", text) > 0 && fflush(stdout) == 0;
}

static int end(struct node *n, int status)
{
	api_free(n->api);
	loop_free(n->loop);
	return status;
}

/* Opens, listens, serves until told to stop. */
static int serve(struct env *env, const struct conf *conf, struct api_settings *set, const struct sockaddr_storage *addr, socklen_t len)
{
	struct node n = { *env, NULL, NULL, false, 0 };
	struct buf err = {0};
	struct sockaddr_storage bound;
	socklen_t bound_len = sizeof bound;
	struct store *store;

	/* Before the lock can be seen: --resume signals its holder, which may still be reading a large database. */
	n.loop = loop_new(&n.env);
	loop_signal(n.loop, SIGTERM, stop, &n);
	loop_signal(n.loop, SIGINT, stop, &n);
	loop_signal(n.loop, SIGHUP, resume, &n);
	store = store_open(&n.env, conf_text(conf, "db-path"), &err);
	if (!store)
		return end(&n, over(false, &err));
	n.api = api_new(n.loop, &n.env, store, set);
	if (!api_listen(n.api, (const struct sockaddr *)addr, len, &bound, &bound_len)) {
		buf_fmt(&err, "cannot listen on %s: %s", conf_text(conf, "listen"), strerror(errno));
		return end(&n, over(false, &err));
	}
	if (api_paused(n.api))
		env_log(&n.env, "paused", "this database came from a backup: nothing is handed out until server --resume; agents may report what they know");
	if (!announce(&bound))
		return end(&n, complain(1, "cannot write to standard output"));
	run(&n);
	return end(&n, 0);
}

static int start(struct env *env, const struct conf *conf)
{
	struct sockaddr_storage addr;
	socklen_t len;
	char host[128];
	struct api_settings set = { conf_int(conf, "lease-ms"), conf_int(conf, "max-attempts"), (int)conf_int(conf, "max-connections"), host, conf_text(conf, "allow-host"),
		NULL, NULL };
	struct buf api_token = {0}, agent_token = {0}, err = {0};
	int status;

	if (!read_listen(conf_text(conf, "listen"), &addr, &len, host))
		return bad_setting(conf, "listen", LISTEN_NEED);
	if (!conf_token(conf, "api-token", &api_token, &err) || !conf_token(conf, "agent-token", &agent_token, &err))
		return over(false, &err);
	if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "[::]") == 0)
		set.listen_host = NULL;        /* nobody's name */
	set.api_token = api_token.len ? api_token.data : NULL;
	set.agent_token = agent_token.len ? agent_token.data : NULL;
	if (!is_loopback(&addr) && !(set.api_token && set.agent_token) && !conf_on(conf, "insecure"))
		status = complain(1, "--listen: an address that is not loopback needs --api-token-file and --agent-token-file (or --insecure, if you mean it)");
	else
		status = serve(env, conf, &set, &addr, len);
	buf_free(&api_token);
	buf_free(&agent_token);
	buf_free(&err);
	return status;
}

static int act(struct env *env, const struct conf *conf)
{
	struct buf text = {0};

	if (conf_on(conf, "help")) {
		conf_help(CONF_SERVER, &text);
		text.data[--text.len] = '\0';
		return over(true, &text);
	}
	if (conf_on(conf, "version")) {
		buf_str(&text, "onlyonce-server " ONLYONCE_VERSION);
		return over(true, &text);
	}
	if (conf_on(conf, "migrate"))
		return migrate(env, conf_text(conf, "db-path"));
	if (conf_on(conf, "backup"))
		return backup(env, conf_text(conf, "db-path"), conf_operand(conf, 0));
	if (conf_on(conf, "check"))
		return check(env, conf_text(conf, "db-path"));
	if (conf_on(conf, "resume"))
		return resume_database(env, conf_text(conf, "db-path"));
	if (conf_on(conf, "health"))
		return health(env, conf);
	if (conf_on(conf, "audit"))
		return audit(env, conf);
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
	conf = conf_read(CONF_SERVER, argc, argv, &warnings, &err, &status);
	if (warnings.len)
		fputs(warnings.data, stderr);
	buf_free(&warnings);
	if (!conf) {
		complain(status, err.data);
		buf_free(&err);
		return status;
	}
	env.log_json = strcmp(conf_text(conf, "log-format"), "json") == 0;
	status = act(&env, conf);
	conf_free(conf);
	return status;
}
