/* conf: the four sources and their order, what is refused and in which words, and the documents that are made from the table.
 * Started in the repository's root (it reads .env.example); each test runs in a directory of its own with an environment without settings. */
#include "../conf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(a) (sizeof (a) / sizeof *(a))
#define ARGS_MAX 8

struct place { char root[4096], dir[64]; struct buf example, warnings, err; int status; };

/* the place */

static void clear_environment(void)
{
	struct buf name = {0};
	struct conf_row row;

	for (size_t i = 0; conf_walk(i, &row); i++) {
		buf_clear(&name);
		conf_env_name(row.name, &name);
		unsetenv(name.data);
	}
	buf_free(&name);
}

static void read_example(struct buf *out)
{
	FILE *f = fopen(".env.example", "r");
	int c;

	buf_room(out, 0);
	while (f && (c = getc(f)) != EOF)
		buf_char(out, (char)c);
	if (f)
		fclose(f);
}

static int enter(void **state)
{
	struct place *p = mem_new(sizeof *p);

	*state = p;
	if (!getcwd(p->root, sizeof p->root))
		return -1;
	read_example(&p->example);
	strcpy(p->dir, "/tmp/conf_test.XXXXXX");
	clear_environment();
	return mkdtemp(p->dir) && chdir(p->dir) == 0 ? 0 : -1;
}

static int leave(void **state)
{
	struct place *p = *state;
	int bad;

	unlink(".env");
	rmdir(".env");
	unlink("token");
	clear_environment();
	bad = chdir(p->root) | rmdir(p->dir);
	buf_free(&p->example);
	buf_free(&p->warnings);
	buf_free(&p->err);
	free(p);
	return bad;
}

static void write_file(const char *name, const char *text, size_t n)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static void write_dotenv(const char *text)
{
	write_file(".env", text, strlen(text));
}

/* args: words with blanks between. */
static struct conf *read_conf(struct place *p, enum conf_program program, const char *args)
{
	char *argv[ARGS_MAX] = { (char *)"program" }, *text = mem_dup(args);
	struct conf *c;
	int argc = 1;

	for (char *word = strtok(text, " "); word && argc < ARGS_MAX; word = strtok(NULL, " "))
		argv[argc++] = word;
	buf_clear(&p->warnings);
	buf_clear(&p->err);
	buf_room(&p->warnings, 0);
	buf_room(&p->err, 0);
	c = conf_read(program, argc, argv, &p->warnings, &p->err, &p->status);
	free(text);
	return c;
}

static struct conf *must_read(struct place *p, enum conf_program program, const char *args)
{
	struct conf *c = read_conf(p, program, args);

	assert_string_equal(p->err.data, "");
	assert_non_null(c);
	return c;
}

static void must_refuse(struct place *p, enum conf_program program, const char *args, int status, const char *why)
{
	assert_null(read_conf(p, program, args));
	assert_string_equal(p->err.data, why);
	assert_int_equal(p->status, status);
}

/* the sources */

static void without_any_source_the_defaults_hold(void **state)
{
	struct conf *c = must_read(*state, CONF_SERVER, "");

	assert_string_equal(conf_text(c, "listen"), "127.0.0.1:3000");
	assert_string_equal(conf_text(c, "db-path"), "commands.db");
	assert_int_equal(conf_int(c, "lease-ms"), 30000);
	assert_int_equal(conf_int(c, "max-attempts"), 5);
	assert_int_equal(conf_int(c, "max-connections"), 0);
	assert_false(conf_on(c, "insecure"));
	assert_false(conf_on(c, "migrate"));
	assert_null(conf_text(c, "api-token-file"));
	assert_false(conf_given(c, "lease-ms"));
	assert_int_equal(conf_operands(c), 0);
	conf_free(c);
	c = must_read(*state, CONF_AGENT, "");
	assert_string_equal(conf_text(c, "server-url"), "http://127.0.0.1:3000");
	assert_null(conf_text(c, "agent-id"));
	assert_string_equal(conf_text(c, "http-deny"), "169.254.0.0/16,fe80::/10,fd00:ec2::254/128");
	assert_true(conf_real(c, "random-failure-rate") > 0.299999 && conf_real(c, "random-failure-rate") < 0.300001);   /* x87 compares more bits */
	assert_string_equal(conf_text(c, "log-format"), "text");
	conf_free(c);
	conf_free(NULL);
}

static void a_flag_goes_before_the_environment_before_dotenv_before_the_default(void **state)
{
	static const struct { const char *flag, *environment, *file; int64_t slots; } cases[] = {
		{ "--slots=2", "3", "SLOTS=4\n", 2 }, { "--slots=2", NULL, "SLOTS=4\n", 2 }, { "--slots=2", "3", NULL, 2 }, { "--slots=2", NULL, NULL, 2 },
		{ "", "3", "SLOTS=4\n", 3 }, { "", "3", NULL, 3 }, { "", NULL, "SLOTS=4\n", 4 }, { "", NULL, NULL, 1 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		unlink(".env");
		unsetenv("SLOTS");
		if (cases[i].file)
			write_dotenv(cases[i].file);
		if (cases[i].environment)
			assert_int_equal(setenv("SLOTS", cases[i].environment, 1), 0);
		struct conf *c = must_read(*state, CONF_AGENT, cases[i].flag);
		assert_int_equal(conf_int(c, "slots"), cases[i].slots);
		assert_int_equal(conf_given(c, "slots"), cases[i].slots != 1);
		conf_free(c);
	}
}

static void an_empty_value_is_none_but_a_flag_may_empty_a_list(void **state)
{
	struct conf *c;

	setenv("LEASE_MS", "", 1);
	setenv("HTTP_DENY", "", 1);
	write_dotenv("LEASE_MS=70\nHTTP_DENY=''\nHTTP_ALLOW=\n");
	c = must_read(*state, CONF_SERVER, "");
	assert_int_equal(conf_int(c, "lease-ms"), 70);
	conf_free(c);
	c = must_read(*state, CONF_AGENT, "");
	assert_string_equal(conf_text(c, "http-deny"), "169.254.0.0/16,fe80::/10,fd00:ec2::254/128");
	assert_false(conf_given(c, "http-deny"));
	assert_null(conf_text(c, "http-allow"));
	conf_free(c);
	c = must_read(*state, CONF_AGENT, "--http-deny=");
	assert_string_equal(conf_text(c, "http-deny"), "");
	assert_true(conf_given(c, "http-deny"));
	conf_free(c);
}

static void switches_stand_alone_or_say_true_or_false(void **state)
{
	static const struct { const char *args; bool on; } cases[] = {
		{ "--insecure", true }, { "--insecure=true", true }, { "--insecure=1", true }, { "--insecure=false", false }, { "--insecure=0", false },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct conf *c = must_read(*state, CONF_SERVER, cases[i].args);
		assert_int_equal(conf_on(c, "insecure"), cases[i].on);
		assert_true(conf_given(c, "insecure"));
		conf_free(c);
	}
	setenv("RANDOM_FAILURES", "true", 1);
	struct conf *c = must_read(*state, CONF_AGENT, "--random-failures=false");
	assert_false(conf_on(c, "random-failures"));
	conf_free(c);
}

static void actions_come_from_argv_alone(void **state)
{
	struct conf *c;

	setenv("MIGRATE", "true", 1);
	setenv("HELP", "1", 1);
	write_dotenv("CHECK=true\n");
	c = must_read(*state, CONF_SERVER, "");
	assert_false(conf_on(c, "migrate"));
	assert_false(conf_on(c, "help"));
	assert_false(conf_on(c, "check"));
	assert_string_equal(((struct place *)*state)->warnings.data, ".env:1: unknown key CHECK, ignored\n");
	conf_free(c);
	c = must_read(*state, CONF_SERVER, "--migrate");
	assert_true(conf_on(c, "migrate"));
	conf_free(c);
	c = must_read(*state, CONF_AGENT, "--once --new-journal");
	assert_true(conf_on(c, "once") && conf_on(c, "new-journal"));
	conf_free(c);
}

static void operands_stand_behind_the_action_that_takes_them(void **state)
{
	struct conf *c = must_read(*state, CONF_SERVER, "--audit a.db --json b.db c.db");

	assert_int_equal(conf_operands(c), 3);
	assert_string_equal(conf_operand(c, 0), "a.db");
	assert_string_equal(conf_operand(c, 2), "c.db");
	assert_true(conf_on(c, "json"));
	conf_free(c);
	c = must_read(*state, CONF_SERVER, "--db-path=x --backup copy.db");
	assert_int_equal(conf_operands(c), 1);
	assert_string_equal(conf_operand(c, 0), "copy.db");
	conf_free(c);
}

static void help_is_there_for_those_whose_settings_are_wrong(void **state)
{
	struct conf *c;

	setenv("LEASE_MS", "abc", 1);
	write_dotenv("what\n");
	c = must_read(*state, CONF_SERVER, "--help");
	assert_true(conf_on(c, "help"));
	conf_free(c);
}

/* what is refused */

static void refuses_bad_flags_by_name(void **state)
{
	static const struct { enum conf_program program; const char *args, *why; } cases[] = {
		{ CONF_SERVER, "--lease-ms=abc", "--lease-ms=abc: a whole number of milliseconds from 50 to 3600000, not \"abc\"" },
		{ CONF_SERVER, "--lease-ms=49", "--lease-ms=49: a whole number of milliseconds from 50 to 3600000, not \"49\"" },
		{ CONF_SERVER, "--lease-ms=3600001", "--lease-ms=3600001: a whole number of milliseconds from 50 to 3600000, not \"3600001\"" },
		{ CONF_SERVER, "--lease-ms=", "--lease-ms=: a whole number of milliseconds from 50 to 3600000, not \"\"" },
		{ CONF_SERVER, "--lease-ms=\033[1m", "--lease-ms=\\x1b[1m: a whole number of milliseconds from 50 to 3600000, not \"\\x1b[1m\"" },
		{ CONF_SERVER, "--max-attempts=0", "--max-attempts=0: a whole number from 1 to 1000000, not \"0\"" },
		{ CONF_SERVER, "--lease-ms", "--lease-ms: a value is needed, behind '='" },
		{ CONF_SERVER, "--lease-ms 50", "--lease-ms: a value is needed, behind '='" },
		{ CONF_SERVER, "--db-path=", "--db-path=: a value is needed" },
		{ CONF_SERVER, "--insecure=yes", "--insecure=yes: true or false, 1 or 0, not \"yes\"" },
		{ CONF_SERVER, "--log-format=xml", "--log-format=xml: text or json, not \"xml\"" },
		{ CONF_SERVER, "--log-format=js", "--log-format=js: text or json, not \"js\"" },
		{ CONF_SERVER, "--log-format=text|json", "--log-format=text|json: text or json, not \"text|json\"" },
		{ CONF_AGENT, "--random-failure-rate=1.01", "--random-failure-rate=1.01: a number from 0 to 1, not \"1.01\"" },
		{ CONF_AGENT, "--random-failure-rate=-0.1", "--random-failure-rate=-0.1: a number from 0 to 1, not \"-0.1\"" },
		{ CONF_SERVER, "--lease-ms=60 --lease-ms=60", "--lease-ms is given twice" },
		{ CONF_SERVER, "--insecure --insecure=false", "--insecure is given twice" },
		{ CONF_SERVER, "--migrate --migrate", "--migrate is given twice" },
		{ CONF_SERVER, "--what=7", "unknown flag --what" },
		{ CONF_SERVER, "--wh\nat", "unknown flag --wh\\x0aat" },
		{ CONF_SERVER, "--", "unknown flag --" },
		{ CONF_SERVER, "--=x", "unknown flag --" },
		{ CONF_SERVER, "-h", "unknown flag -h" },
		{ CONF_SERVER, "-", "unknown flag -" },
		{ CONF_SERVER, "--lease", "unknown flag --lease" },
		{ CONF_SERVER, "--LEASE-MS=60", "unknown flag --LEASE-MS" },
		{ CONF_SERVER, "--slots=1", "unknown flag --slots: it is the agent's" },
		{ CONF_AGENT, "--audit x", "unknown flag --audit: it is the server's" },
		{ CONF_SERVER, "--api-token=hunter2", "--api-token: a secret is not given as a flag, where others can read it: use --api-token-file=FILE, or API_TOKEN in the environment or in .env" },
		{ CONF_AGENT, "--agent-token", "--agent-token: a secret is not given as a flag, where others can read it: use --agent-token-file=FILE, or AGENT_TOKEN in the environment or in .env" },
		{ CONF_SERVER, "--migrate=true", "--migrate takes no value behind '='" },
		{ CONF_SERVER, "--backup=file", "--backup takes no value behind '='" },
		{ CONF_SERVER, "--backup", "--backup FILE: a file is needed" },
		{ CONF_SERVER, "--audit", "--audit DB JOURNAL...: a file is needed" },
		{ CONF_SERVER, "--backup a b", "unexpected word \"b\": settings are --name=value" },
		{ CONF_SERVER, "--check a", "unexpected word \"a\": settings are --name=value" },
		{ CONF_SERVER, "run", "unexpected word \"run\": settings are --name=value" },
		{ CONF_SERVER, "--json", "--json goes with --audit only" },
		{ CONF_SERVER, "--check --migrate", "--migrate and --check do not go together" },
		{ CONF_AGENT, "--once --log", "--once and --log do not go together" },
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		must_refuse(*state, cases[i].program, cases[i].args, 2, cases[i].why);
}

static void reals_are_digits_and_a_point(void **state)
{
	static const struct { const char *text; bool good; double value; } cases[] = {
		{ "0", true, 0 }, { "1", true, 1 }, { "0.5", true, 0.5 }, { "0.25", true, 0.25 }, { "1.000", true, 1 }, { "00.5", true, 0.5 }, { "0.", false, 0 }, { ".5", false, 0 },
		{ "", false, 0 }, { ".", false, 0 }, { "1e-1", false, 0 }, { "0x0", false, 0 }, { "nan", false, 0 }, { "inf", false, 0 }, { "0,5", false, 0 }, { "0.5.0", false, 0 },
		{ "+0.5", false, 0 }, { "0.50000000000000000000000000", false, 0 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		char arg[80];
		snprintf(arg, sizeof arg, "--random-failure-rate=%s", cases[i].text);
		struct conf *c = read_conf(*state, CONF_AGENT, arg);
		if (!c != !cases[i].good || (c && conf_real(c, "random-failure-rate") != cases[i].value))
			fail_msg("%s", cases[i].text);
		conf_free(c);
	}
}

static void refuses_bad_values_of_the_environment_and_of_dotenv_by_name(void **state)
{
	setenv("SLOTS", "257", 1);
	must_refuse(*state, CONF_AGENT, "", 2, "SLOTS=257: a whole number from 1 to 256, not \"257\"");
	/* Even where another value wins. */
	must_refuse(*state, CONF_AGENT, "--slots=1", 2, "SLOTS=257: a whole number from 1 to 256, not \"257\"");
	conf_free(must_read(*state, CONF_SERVER, ""));
	unsetenv("SLOTS");
	write_dotenv("# slots\n\nSLOTS=none\n");
	must_refuse(*state, CONF_AGENT, "", 2, ".env:3: SLOTS=none: a whole number from 1 to 256, not \"none\"");
	must_refuse(*state, CONF_AGENT, "--slots=1", 2, ".env:3: SLOTS=none: a whole number from 1 to 256, not \"none\"");
	conf_free(must_read(*state, CONF_SERVER, ""));
	write_dotenv("SLOTS=2\nLEASE_MS=60\nexport SLOTS=2\n");
	must_refuse(*state, CONF_AGENT, "", 2, ".env:3: SLOTS is set already, in line 1");
}

static void a_long_bad_value_is_shown_in_part(void **state)
{
	struct place *p = *state;
	char arg[300] = "--slots=";

	memset(arg + 8, '9', 200);
	assert_null(read_conf(p, CONF_AGENT, arg));
	assert_true(p->err.len < 250);
	assert_non_null(strstr(p->err.data, "999..."));
}

static void unknown_keys_give_one_warning_each_and_those_of_the_other_program_none(void **state)
{
	struct place *p = *state;

	write_dotenv("SLOTS=1\nFOO=1\nLEASE_MS=50\nlease_ms=1\nFOO=2\n");
	conf_free(must_read(p, CONF_SERVER, ""));
	assert_string_equal(p->warnings.data, ".env:2: unknown key FOO, ignored\n.env:4: unknown key lease_ms, ignored\n.env:5: unknown key FOO, ignored\n");
}

static void a_dotenv_that_cannot_be_read_is_no_usage_error(void **state)
{
	assert_int_equal(mkdir(".env", 0700), 0);
	must_refuse(*state, CONF_SERVER, "", 1, ".env cannot be read: Is a directory");
}

static void a_dotenv_has_a_greatest_size(void **state)
{
	struct buf text = {0};

	while (text.len < 65536)
		buf_str(&text, "# 16 bytes more\n");
	write_file(".env", text.data, text.len);
	conf_free(must_read(*state, CONF_SERVER, ""));
	buf_char(&text, '\n');
	write_file(".env", text.data, text.len);
	must_refuse(*state, CONF_SERVER, "", 2, ".env is longer than 65536 bytes");
	buf_free(&text);
}

/* the grammar of .env */

static bool note_pair(void *arg, int line, const char *key, const char *value)
{
	buf_fmt(arg, "%d %s=[%s];", line, key, value);
	return strcmp(key, "STOP") != 0;
}

static void dotenv_lines_are_pairs_comments_or_nothing(void **state)
{
	static const struct { const char *text, *pairs; } cases[] = {
		{ "", "" }, { "\n\n", "" }, { "# a=b", "" }, { "   \t\n  # x\n", "" }, { "A=b", "1 A=[b];" }, { "A=b\n", "1 A=[b];" }, { "A=b\r\nB=c\r\n", "1 A=[b];2 B=[c];" },
		{ "\n\nA=b", "3 A=[b];" }, { "A=", "1 A=[];" }, { "A=   ", "1 A=[];" }, { "A= b c \t", "1 A=[b c];" }, { "A=b#c", "1 A=[b#c];" }, { "A=b #c", "1 A=[b];" },
		{ "A=#c", "1 A=[#c];" }, { "A= #c", "1 A=[];" }, { "A=b=c", "1 A=[b=c];" }, { "A=''", "1 A=[];" }, { "A=\"\"", "1 A=[];" }, { "A=' b '", "1 A=[ b ];" },
		{ "A='\\n\"#'", "1 A=[\\n\"#];" }, { "A=\"x\\ny\\\"z\\\\'\"", "1 A=[x\ny\"z\\'];" }, { "A=\"b\" # c", "1 A=[b];" }, { "A='b'  ", "1 A=[b];" },
		{ "A=b'c'", "1 A=[b'c'];" }, { "export A=b", "1 A=[b];" }, { "  export\t A='b'", "1 A=[b];" }, { "export=b", "1 export=[b];" }, { "exported=b", "1 exported=[b];" },
		{ "_a9=b", "1 _a9=[b];" }, { "A=$B", "1 A=[$B];" }, { "\xef\xbb\xbf" "A=b", "1 A=[b];" }, { "A=\\n", "1 A=[\\n];" }, { "A='b'\r\n", "1 A=[b];" },
		{ "A=b\r\r\n", "1 A=[b\r];" }, { "A=\xc3\xa9", "1 A=[\xc3\xa9];" },
	};
	struct buf pairs = {0}, err = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		buf_clear(&pairs);
		buf_room(&pairs, 0);
		if (!conf_pairs(cases[i].text, strlen(cases[i].text), note_pair, &pairs, &err) || strcmp(pairs.data, cases[i].pairs) != 0)
			fail_msg("%s gives %s, not %s; %s", cases[i].text, pairs.data, cases[i].pairs, err.data ? err.data : "");
	}
	buf_free(&pairs);
	buf_free(&err);
}

static void dotenv_errors_name_the_line(void **state)
{
	static const struct { const char *text; size_t n; const char *why; } cases[] = {
		{ "A", 0, ".env:1: KEY=VALUE is needed" }, { "=b", 0, ".env:1: KEY=VALUE is needed" }, { "\nA =b", 0, ".env:2: KEY=VALUE is needed" },
		{ "9A=b", 0, ".env:1: KEY=VALUE is needed" }, { "A-B=c", 0, ".env:1: KEY=VALUE is needed" }, { "A: b", 0, ".env:1: KEY=VALUE is needed" },
		{ "export", 0, ".env:1: KEY=VALUE is needed" }, { "export ", 0, ".env:1: KEY=VALUE is needed" }, { "export export A=b", 0, ".env:1: KEY=VALUE is needed" },
		{ "A='b", 0, ".env:1: a quote is not closed" }, { "A=\"b", 0, ".env:1: a quote is not closed" }, { "A=\"b\\", 0, ".env:1: a quote is not closed" },
		{ "A=\"b\\\"", 0, ".env:1: a quote is not closed" }, { "A='b\nc'", 0, ".env:1: a quote is not closed" }, { "A='b'c", 0, ".env:1: more stands behind the closing quote" },
		{ "A='b'#c", 0, ".env:1: more stands behind the closing quote" }, { "A=\"\\t\"", 0, ".env:1: in double quotes only \\n, \\\" and \\\\ are known" },
		{ "A=b\0c\n", 6, ".env:1: a NUL byte stands there" }, { "#b\n\0", 4, ".env:2: a NUL byte stands there" }, { "#\0", 2, ".env:1: a NUL byte stands there" },
		{ "\xef\xbb\xbf\xef\xbb\xbf" "A=b", 0, ".env:1: KEY=VALUE is needed" },
	};
	struct buf pairs = {0}, err = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		buf_clear(&err);
		assert_false(conf_pairs(cases[i].text, cases[i].n ? cases[i].n : strlen(cases[i].text), note_pair, &pairs, &err));
		assert_string_equal(err.data, cases[i].why);
	}
	assert_int_equal(pairs.len, 0);
	buf_free(&pairs);
	buf_free(&err);
}

static void a_dotenv_line_has_a_greatest_length(void **state)
{
	struct buf text = {0}, pairs = {0}, err = {0};

	(void)state;
	buf_str(&text, "A=");
	while (text.len < 4096)
		buf_char(&text, 'x');
	buf_str(&text, "\r\n");
	assert_true(conf_pairs(text.data, text.len, note_pair, &pairs, &err));
	text.data[4096] = 'x';
	assert_false(conf_pairs(text.data, text.len, note_pair, &pairs, &err));
	assert_string_equal(err.data, ".env:1: the line is longer than 4096 bytes");
	buf_free(&text);
	buf_free(&pairs);
	buf_free(&err);
}

static void a_refused_pair_ends_the_reading(void **state)
{
	struct buf pairs = {0}, err = {0};
	const char *text = "A=b\nSTOP=1\nC=d\n";

	(void)state;
	assert_false(conf_pairs(text, strlen(text), note_pair, &pairs, &err));
	assert_string_equal(pairs.data, "1 A=[b];2 STOP=[1];");
	assert_int_equal(err.len, 0);
	buf_free(&pairs);
}

/* tokens */

static void a_value_is_placed_where_it_came_from(void **state)
{
	static const char *const names[] = { "lease-ms", "max-attempts", "db-path", "listen" };
	static const char *const places[] = { "--lease-ms=70", "MAX_ATTEMPTS=7", ".env:2: DB_PATH=x.db", "--listen=127.0.0.1:3000" };
	struct buf out = {0};
	struct conf *c;

	write_file(".env", "\nDB_PATH=x.db\n", 14);
	setenv("MAX_ATTEMPTS", "7", 1);
	c = must_read(*state, CONF_SERVER, "--lease-ms=70");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		buf_clear(&out);
		conf_place(c, names[i], &out);
		assert_string_equal(out.data, places[i]);
	}
	conf_free(c);
	buf_free(&out);
}

static void a_token_comes_from_a_setting_or_a_file(void **state)
{
	struct buf token = {0};
	struct conf *c;

	c = must_read(*state, CONF_SERVER, "");
	assert_true(conf_token(c, "api-token", &token, &token));
	assert_int_equal(token.len, 0);
	conf_free(c);
	write_dotenv("API_TOKEN='s3cret'\n");
	c = must_read(*state, CONF_SERVER, "");
	assert_true(conf_token(c, "api-token", &token, &token));
	assert_string_equal(token.data, "s3cret");
	conf_free(c);
	buf_clear(&token);
	write_file("token", "from-file\r\n", 11);
	assert_int_equal(chmod("token", 0600), 0);
	c = must_read(*state, CONF_AGENT, "--agent-token-file=token");
	assert_true(conf_token(c, "agent-token", &token, &token));
	assert_string_equal(token.data, "from-file");
	conf_free(c);
	buf_free(&token);
}

static void refuses_what_is_no_token(void **state)
{
	static const struct { const char *text; mode_t mode; const char *why; } cases[] = {
		{ "", 0600, "--api-token-file=token: one line of visible ASCII characters, at most 4096, is needed" },
		{ "\n\n", 0600, "--api-token-file=token: one line of visible ASCII characters, at most 4096, is needed" },
		{ "two words", 0600, "--api-token-file=token: one line of visible ASCII characters, at most 4096, is needed" },
		{ "a\nb\n", 0600, "--api-token-file=token: one line of visible ASCII characters, at most 4096, is needed" },
		{ "fine", 0604, "--api-token-file=token: everybody on this machine can read or write it: chmod 600 it" },
		{ "fine", 0602, "--api-token-file=token: everybody on this machine can read or write it: chmod 600 it" },
	};
	struct conf *c = must_read(*state, CONF_SERVER, "--api-token-file=token");
	struct buf token = {0}, err = {0};

	for (size_t i = 0; i < COUNT(cases); i++) {
		buf_clear(&token);
		buf_clear(&err);
		write_file("token", cases[i].text, strlen(cases[i].text));
		assert_int_equal(chmod("token", cases[i].mode), 0);
		assert_false(conf_token(c, "api-token", &token, &err));
		assert_string_equal(err.data, cases[i].why);
	}
	unlink("token");
	buf_clear(&err);
	assert_false(conf_token(c, "api-token", &token, &err));
	assert_string_equal(err.data, "--api-token-file=token: No such file or directory");
	conf_free(c);
	setenv("API_TOKEN", "x", 1);
	c = must_read(*state, CONF_SERVER, "--api-token-file=token");
	buf_clear(&err);
	assert_false(conf_token(c, "api-token", &token, &err));
	assert_string_equal(err.data, "--api-token-file=token: a token and a file with one are both given");
	conf_free(c);
	setenv("API_TOKEN", "caf\xc3\xa9", 1);
	c = must_read(*state, CONF_SERVER, "");
	buf_clear(&err);
	assert_false(conf_token(c, "api-token", &token, &err));
	assert_string_equal(err.data, "API_TOKEN=: one line of visible ASCII characters, at most 4096, is needed");
	conf_free(c);
	buf_free(&token);
	buf_free(&err);
}

/* documents */

static void the_committed_example_is_what_the_table_says(void **state)
{
	struct place *p = *state;
	struct buf want = {0};

	conf_example(&want);
	assert_string_equal(p->example.data, want.data);
	buf_free(&want);
}

/* The example with every '#' before a key taken away sets what is the default anyway, and warns of nothing. */
static void the_example_made_active_changes_nothing(void **state)
{
	struct place *p = *state;
	struct buf text = {0}, active = {0};
	struct conf *c;

	conf_example(&text);
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] != '#' || text.data[i + 1] == ' ')
			buf_char(&active, text.data[i]);
	assert_non_null(strstr(active.data, "\nLEASE_MS=30000\n"));
	write_dotenv(active.data);
	c = must_read(p, CONF_SERVER, "");
	assert_int_equal(conf_int(c, "lease-ms"), 30000);
	assert_true(conf_given(c, "lease-ms"));
	conf_free(c);
	conf_free(must_read(p, CONF_AGENT, ""));
	assert_string_equal(p->warnings.data, "");
	buf_free(&text);
	buf_free(&active);
}

static void check_help(enum conf_program program, const char *end)
{
	struct buf out = {0}, word = {0};
	struct conf_row row;

	conf_help(program, &out);
	for (const char *line = out.data; *line; line = strchr(line, '\n') + 1)
		if (strcspn(line, "\n") >= 100)
			fail_msg("too wide: %s", line);
	for (size_t i = 0; conf_walk(i, &row); i++) {
		buf_clear(&word);
		bool bare = row.action || (row.fallback && strcmp(row.fallback, "false") == 0);
		buf_fmt(&word, "\n  --%s%s%s ", row.name, bare ? "" : "=", bare || !row.fallback ? "" : row.fallback);
		if (row.secret) {
			buf_clear(&word);
			conf_env_name(row.name, &word);
			buf_char(&word, ' ');
		}
		const char *at = strstr(out.data, word.data);
		if (!at != !(row.programs & (unsigned)program))
			fail_msg("--%s", row.name);
		if (at && row.unit && !memchr(at + 1, '(', strcspn(at + 1, "\n")))
			fail_msg("--%s: no unit", row.name);
	}
	assert_string_equal(out.data + out.len - strlen(end), end);
	buf_free(&out);
	buf_free(&word);
}

static void help_has_a_line_for_each_row_and_ends_with_the_exit_status(void **state)
{
	(void)state;
	check_help(CONF_SERVER, "--audit: 0 proven, 1 violated, 3 not proven; 2 also where a file cannot be read.\n");
	check_help(CONF_AGENT, "137 died on purpose.\n");
}

static void every_row_has_a_name_of_its_own_and_a_default_within_its_range(void **state)
{
	struct conf_row row, other;
	size_t count = 0;

	(void)state;
	for (; conf_walk(count, &row); count++) {
		assert_true(row.help && row.programs && strspn(row.name, "abcdefghijklmnopqrstuvwxyz-") == strlen(row.name));
		for (size_t i = 0; i < count; i++)
			if (conf_walk(i, &other) && strcmp(other.name, row.name) == 0)
				fail_msg("%s", row.name);
	}
	assert_int_equal(count, 39);
}

#define case_of(test) cmocka_unit_test_setup_teardown(test, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		case_of(without_any_source_the_defaults_hold),
		case_of(a_flag_goes_before_the_environment_before_dotenv_before_the_default),
		case_of(an_empty_value_is_none_but_a_flag_may_empty_a_list),
		case_of(switches_stand_alone_or_say_true_or_false),
		case_of(actions_come_from_argv_alone),
		case_of(operands_stand_behind_the_action_that_takes_them),
		case_of(help_is_there_for_those_whose_settings_are_wrong),
		case_of(refuses_bad_flags_by_name),
		case_of(reals_are_digits_and_a_point),
		case_of(refuses_bad_values_of_the_environment_and_of_dotenv_by_name),
		case_of(a_long_bad_value_is_shown_in_part),
		case_of(unknown_keys_give_one_warning_each_and_those_of_the_other_program_none),
		case_of(a_dotenv_that_cannot_be_read_is_no_usage_error),
		case_of(a_dotenv_has_a_greatest_size),
		case_of(dotenv_lines_are_pairs_comments_or_nothing),
		case_of(dotenv_errors_name_the_line),
		case_of(a_dotenv_line_has_a_greatest_length),
		case_of(a_refused_pair_ends_the_reading),
		case_of(a_value_is_placed_where_it_came_from),
		case_of(a_token_comes_from_a_setting_or_a_file),
		case_of(refuses_what_is_no_token),
		case_of(the_committed_example_is_what_the_table_says),
		case_of(the_example_made_active_changes_nothing),
		case_of(help_has_a_line_for_each_row_and_ends_with_the_exit_status),
		case_of(every_row_has_a_name_of_its_own_and_a_default_within_its_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
