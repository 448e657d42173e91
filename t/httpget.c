/* httpget: one GET as the agent makes it; prints the result JSON. For outside test suites of clients.
 *   httpget [--max-bytes=N] [--timeout-ms=N] [--deny=RANGES] [--allow=RANGES] [--ca-file=FILE] URL
 * Exit status: 0 an answer came, 1 none did, 2 wrong use. */
#include "../run.h"
#include "../tls.h"
#include <stdio.h>
#include <string.h>

struct options { int64_t max_bytes, timeout_ms; const char *deny, *allow, *ca_file, *url; };
struct outcome { bool over, completed; };

static const char *value_of(const char *arg, const char *name)
{
	size_t n = strlen(name);

	return strncmp(arg, name, n) == 0 ? arg + n : NULL;
}

static bool read_option(struct options *o, const char *arg)
{
	const char *v;

	if ((v = value_of(arg, "--max-bytes=")) != NULL)
		return num_parse(v, strlen(v), 1, COMMAND_RESULT_MAX, &o->max_bytes);
	if ((v = value_of(arg, "--timeout-ms=")) != NULL)
		return num_parse(v, strlen(v), 1, 86400000, &o->timeout_ms);
	if ((v = value_of(arg, "--deny=")) != NULL)
		o->deny = v;
	else if ((v = value_of(arg, "--allow=")) != NULL)
		o->allow = v;
	else if ((v = value_of(arg, "--ca-file=")) != NULL)
		o->ca_file = v;
	else if (arg[0] == '-' || o->url)
		return false;
	else
		o->url = arg;
	return true;
}

static int complain(int status, const char *why)
{
	fprintf(stderr, "httpget: %s\n", why);
	return status;
}

static void told(void *arg, const struct run_end *end)
{
	struct outcome *out = arg;

	out->over = true;
	out->completed = end->completed;
	printf("%.*s\n", (int)end->result_len, end->result);
}

static int get(const struct options *o, const struct run_limits *limits)
{
	struct outcome out = { false, false };
	struct buf payload = {0};
	struct json_writer w = json_writer(&payload);
	struct env env;
	struct loop *loop;

	env_real(&env);
	loop = loop_new(&env);
	loop_children(loop);
	json_open_object(&w);
	json_key(&w, "url");
	json_put_text(&w, o->url);
	json_close(&w);
	run_start(loop, &env, limits, TYPE_HTTP_GET_JSON, payload.data, payload.len, told, &out);
	while (!out.over)
		loop_turn(loop, INT64_MAX);
	loop_free(loop);
	buf_free(&payload);
	return fflush(stdout) == 0 && out.completed ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct options o = { 262144, 30000, NULL, NULL, NULL, NULL };
	struct run_limits limits = {0};
	struct call_guard *guard;
	struct http_url url;
	struct buf err = {0};
	struct tls *tls;
	const char *why;
	int status;

	for (int i = 1; i < argc; i++)
		if (!read_option(&o, argv[i]))
			return complain(2, "usage: httpget [--max-bytes=N] [--timeout-ms=N] [--deny=RANGES] [--allow=RANGES] [--ca-file=FILE] URL");
	if (!o.url || (why = http_url_read(o.url, strlen(o.url), &url)) != NULL)
		return complain(2, o.url ? why : "a URL is needed");
	guard = call_guard_new(o.deny, o.allow, &why);
	if (!guard)
		return complain(2, why);
	tls = tls_new(o.ca_file, &err);
	if (!tls && url.tls && tls_built_in())
		return complain(1, err.data);
	limits = (struct run_limits){ o.timeout_ms * 1000, (size_t)o.max_bytes, guard, tls };
	status = get(&o, &limits);
	call_guard_free(guard);
	tls_free(tls);
	http_url_free(&url);
	buf_free(&err);
	return status;
}
