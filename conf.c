/* conf: the settings table and its four sources. One row a setting; reading, --help and .env.example are loops over the table.
 * Owns the copies it makes of every value; opens .env and token files, nothing else. What a value means is its user's business.
 * S1  Precedence: flag, environment, .env, default. A bad value is refused by name wherever it stands, even where another one wins.
 * S2  An empty value in the environment or in .env is no value: that is how compose files hand on what is not set.
 * S3  A secret never comes from argv, where every user of the machine can read it, and is never shown.
 * S4  Actions come from argv alone. */
#include "conf.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 65536
#define LINE_MAX_BYTES 4096
#define TOKEN_MAX 4096
#define SHOWN_MAX 60
#define BOTH (CONF_SERVER | CONF_AGENT)
#define DENIED "169.254.0.0/16,fe80::/10,fd00:ec2::254/128"

/* LIST: text that a flag may set to nothing. SECRET: text under the rule S3. MODE: an action that goes together with other modes. */
enum kind { TEXT, LIST, SECRET, WHOLE, REAL, CHOICE, SWITCH, ACTION, MODE };

/* more: a CHOICE's words; an ACTION's operands, where "..." means one or more and else there is one; or "--x", the action it goes with. */
struct row {
	const char *name;
	enum kind kind;
	unsigned programs;
	const char *fallback, *unit;
	int64_t min, max;
	const char *more, *help;
};

static const struct row rows[] = {
	{ "listen", TEXT, CONF_SERVER, "127.0.0.1:3000", NULL, 0, 0, NULL, "address and port" },
	{ "db-path", TEXT, CONF_SERVER, "commands.db", NULL, 0, 0, NULL, "the database" },
	{ "lease-ms", WHOLE, CONF_SERVER, "30000", "milliseconds", 50, 3600000, NULL, "silence that ends a claim" },
	{ "max-attempts", WHOLE, CONF_SERVER, "5", NULL, 1, 1000000, NULL, "starts of one command at most" },
	{ "allow-host", LIST, CONF_SERVER, NULL, NULL, 0, 0, NULL, "further Host names, by commas" },
	{ "max-connections", WHOLE, CONF_SERVER, "0", NULL, 0, 100000, NULL, "connections at a time; 0: as many as fit" },
	{ "insecure", SWITCH, CONF_SERVER, "false", NULL, 0, 1, NULL, "serve other hosts without tokens" },
	{ "api-token-file", TEXT, CONF_SERVER, NULL, NULL, 0, 0, NULL, "file with the clients' token" },
	{ "api-token", SECRET, CONF_SERVER, NULL, NULL, 0, 0, NULL, "the clients' token itself" },
	{ "agent-token-file", TEXT, BOTH, NULL, NULL, 0, 0, NULL, "file with the agents' token" },
	{ "agent-token", SECRET, BOTH, NULL, NULL, 0, 0, NULL, "the agents' token itself" },
	{ "log-format", CHOICE, BOTH, "text", NULL, 0, 0, "text|json", "form of a log line: text or json" },
	{ "server-url", TEXT, CONF_AGENT, "http://127.0.0.1:3000", NULL, 0, 0, NULL, "the server" },
	{ "agent-id", TEXT, CONF_AGENT, NULL, NULL, 0, 0, NULL, "name; else the journal's or the host's" },
	{ "journal-path", TEXT, CONF_AGENT, "agent.db", NULL, 0, 0, NULL, "the journal" },
	{ "slots", WHOLE, CONF_AGENT, "1", NULL, 1, 256, NULL, "commands run at a time" },
	{ "poll-interval-ms", WHOLE, CONF_AGENT, "1000", "milliseconds", 10, 3600000, NULL, "between polls when idle" },
	{ "http-timeout-ms", WHOLE, CONF_AGENT, "30000", "milliseconds", 1, 86400000, NULL, "for a whole GET" },
	{ "http-max-bytes", WHOLE, CONF_AGENT, "262144", "bytes", 1, 786432, NULL, "kept of an answer's body" },
	{ "http-deny", LIST, CONF_AGENT, DENIED, NULL, 0, 0, NULL, "never connected to" },
	{ "http-allow", LIST, CONF_AGENT, NULL, NULL, 0, 0, NULL, "exceptions from --http-deny" },
	{ "tls-ca-file", TEXT, CONF_AGENT, NULL, NULL, 0, 0, NULL, "CA certificates to trust, PEM" },
	{ "drain-ms", WHOLE, CONF_AGENT, "30000", "milliseconds", 0, 86400000, NULL, "for work to end at SIGTERM" },
	{ "journal-keep-days", WHOLE, CONF_AGENT, "30", "days", 0, 36500, NULL, "answered records are kept" },
	{ "kill-after", WHOLE, CONF_AGENT, "0", "seconds", 0, 86400, NULL, "until its own SIGKILL; 0: never" },
	{ "random-failures", SWITCH, CONF_AGENT, "false", NULL, 0, 1, NULL, "die at random points of commands" },
	{ "random-failure-rate", REAL, CONF_AGENT, "0.3", NULL, 0, 1, NULL, "how probable, for each command" },

	{ "migrate", ACTION, BOTH, NULL, NULL, 0, 0, NULL, "bring the database or journal to the newest version" },
	{ "audit", ACTION, CONF_SERVER, NULL, NULL, 0, 0, "DB JOURNAL...", "hold a database against journals: was anything started twice?" },
	{ "json", ACTION, CONF_SERVER, NULL, NULL, 0, 0, "--audit", "with --audit: findings as JSON" },
	{ "backup", ACTION, CONF_SERVER, NULL, NULL, 0, 0, "FILE", "copy the database, in use or not" },
	{ "check", ACTION, CONF_SERVER, NULL, NULL, 0, 0, NULL, "check the database's integrity" },
	{ "resume", ACTION, CONF_SERVER, NULL, NULL, 0, 0, NULL, "let a restored database hand out commands again" },
	{ "health", ACTION, CONF_SERVER, NULL, NULL, 0, 0, NULL, "ask the running server whether it is well" },
	{ "once", MODE, CONF_AGENT, NULL, NULL, 0, 0, NULL, "poll once, run what is given, report, end" },
	{ "log", ACTION, CONF_AGENT, NULL, NULL, 0, 0, NULL, "print the journal, newest first" },
	{ "new-journal", MODE, CONF_AGENT, NULL, NULL, 0, 0, NULL, "put the journal aside and begin a new one" },
	{ "version", ACTION, BOTH, NULL, NULL, 0, 0, NULL, "print the version" },
	{ "help", ACTION, BOTH, NULL, NULL, 0, 0, NULL, "print this" },
};
#define ROWS (sizeof rows / sizeof *rows)

enum from { FROM_FLAG, FROM_ENVIRONMENT, FROM_FILE, FROM_TABLE };
struct source { enum from from; int line; };

struct value {
	struct source source;
	char *text;                                                /* NULL: unset */
	int64_t whole;
	double real;
};

struct conf {
	enum conf_program program;
	struct value values[ROWS];
	char **operands;
	int operand_count;
};

struct reader {
	struct conf *conf;
	struct buf *warnings, *err;
	int env_line[ROWS];                                        /* where .env set it; 0: nowhere */
};

/* the table */

static bool is_action(const struct row *row)
{
	return row->kind == ACTION || row->kind == MODE;
}

static bool is_text(enum kind kind)
{
	return kind == TEXT || kind == LIST || kind == SECRET || kind == CHOICE;
}

/* "--audit" in json's more: no action of its own. */
static bool is_addition(const struct row *row)
{
	return row->kind == ACTION && row->more && row->more[0] == '-';
}

static size_t row_find(const char *name, size_t len)
{
	size_t i = 0;

	while (i < ROWS && (strlen(rows[i].name) != len || memcmp(rows[i].name, name, len) != 0))
		i++;
	return i;
}

void conf_env_name(const char *name, struct buf *out)
{
	for (; *name; name++)
		buf_char(out, *name == '-' ? '_' : (char)(*name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name));
}

static size_t row_find_key(const char *key)
{
	struct buf name = {0};
	size_t i = 0;

	for (; i < ROWS; i++) {
		buf_clear(&name);
		conf_env_name(rows[i].name, &name);
		if (!is_action(&rows[i]) && strcmp(name.data, key) == 0)
			break;
	}
	buf_free(&name);
	return i;
}

bool conf_walk(size_t i, struct conf_row *out)
{
	if (i >= ROWS)
		return false;
	const struct row *r = &rows[i];
	*out = (struct conf_row){ r->name, r->fallback, r->unit, r->help, r->programs, r->min, r->max, is_action(r), r->kind == SECRET };
	return true;
}

/* values */

/* Digits, with or without a point among them: no sign, no exponent, none of strtod's words, whatever the locale. */
static bool read_real(const char *text, double *out)
{
	double value = 0, unit = 1;
	bool point = false;
	size_t digits = 0;

	for (; *text && digits < 18; text++) {
		if (*text == '.' && !point && digits > 0) {
			point = true;
			continue;
		}
		if (*text < '0' || *text > '9')
			return false;
		digits++;
		value = value * 10 + (*text - '0');
		unit *= point ? 10 : 1;
	}
	*out = value / unit;
	return *text == '\0' && digits > 0 && text[-1] != '.';
}

static bool read_switch(const char *text, int64_t *out)
{
	*out = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
	return *out || strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
}

static bool is_choice(const char *words, const char *text)
{
	size_t len = strlen(text), word;

	for (;; words += word + 1) {
		word = strcspn(words, "|");
		if (word == len && memcmp(words, text, len) == 0)
			return true;
		if (words[word] == '\0')
			return false;
	}
}

static bool read_value(const struct row *row, const char *text, struct value *v)
{
	switch (row->kind) {
	case WHOLE:
		return num_parse(text, strlen(text), row->min, row->max, &v->whole);
	case REAL:
		return read_real(text, &v->real) && v->real >= (double)row->min && v->real <= (double)row->max;
	case SWITCH:
		return read_switch(text, &v->whole);
	case CHOICE:
		return is_choice(row->more, text);
	case TEXT:
	case SECRET:
		return *text != '\0';
	case LIST:
	case ACTION:
	case MODE:
		break;
	}
	return true;
}

static void add_need(struct buf *out, const struct row *row)
{
	if (row->kind == WHOLE)
		buf_fmt(out, "a whole number%s%s from %lld to %lld", row->unit ? " of " : "", row->unit ? row->unit : "", (long long)row->min, (long long)row->max);
	else if (row->kind == REAL)
		buf_fmt(out, "a number from %lld to %lld", (long long)row->min, (long long)row->max);
	else if (row->kind == SWITCH)
		buf_str(out, "true or false, 1 or 0");
	else
		for (const char *word = row->kind == CHOICE ? row->more : "a value"; *word; word++)
			buf_fmt(out, *word == '|' ? " or " : "%c", *word);
}

static void add_shown(struct buf *out, const char *value)
{
	const char *slashes = strstr(value, "//"), *at = slashes ? strrchr(slashes, '@') : NULL;
	size_t len;

	/* What may be a URL's user and password is nobody's. */
	if (at) {
		text_escape(out, value, (size_t)(slashes + 2 - value));
		buf_str(out, "...");
		value = at;
	}
	len = strlen(value);
	text_escape(out, value, len < SHOWN_MAX ? len : SHOWN_MAX);
	if (len > SHOWN_MAX)
		buf_str(out, "...");
}

/* "--lease-ms=abc", "LEASE_MS=abc", ".env:3: LEASE_MS=abc" */
static void add_place(struct buf *out, const struct row *row, struct source source, const char *value)
{
	if (source.from == FROM_FILE)
		buf_fmt(out, ".env:%d: ", source.line);
	if (source.from == FROM_FLAG || source.from == FROM_TABLE)
		buf_fmt(out, "--%s", row->name);
	else
		conf_env_name(row->name, out);
	buf_char(out, '=');
	if (row->kind != SECRET)
		add_shown(out, value);
}

/* The sources come in order of precedence, so the first one stays (S1). */
static bool take(struct reader *r, size_t i, struct source source, const char *text)
{
	struct value v = {0}, *kept = &r->conf->values[i];

	if (!read_value(&rows[i], text, &v)) {
		add_place(r->err, &rows[i], source, text);
		buf_str(r->err, ": ");
		add_need(r->err, &rows[i]);
		if (rows[i].kind == TEXT)
			buf_str(r->err, " is needed");
		else if (rows[i].kind != SECRET) {
			buf_str(r->err, ", not \"");
			add_shown(r->err, text);
			buf_char(r->err, '"');
		}
		return false;
	}
	if (kept->text)
		return true;
	v.text = mem_dup(text);
	v.source = source;
	*kept = v;
	return true;
}

/* argv */

static bool refuse(struct reader *r, const char *before, const char *word, size_t len, const char *after)
{
	buf_str(r->err, before);
	text_escape(r->err, word, len);
	buf_str(r->err, after);
	return false;
}

static bool refuse_secret(struct reader *r, const struct row *row)
{
	buf_fmt(r->err, "--%s: a secret is not given as a flag, where others can read it: use --%s-file=FILE, or ", row->name, row->name);
	conf_env_name(row->name, r->err);
	buf_str(r->err, " in the environment or in .env");
	return false;
}

static bool take_flag(struct reader *r, const char *word)
{
	size_t len = strcspn(word, "="), i = row_find(word + 2, len - 2);
	const char *value = word[len] ? word + len + 1 : NULL;

	if (i == ROWS)
		return refuse(r, "unknown flag ", word, len, "");
	if (!(rows[i].programs & r->conf->program))
		return refuse(r, "unknown flag ", word, len, r->conf->program == CONF_SERVER ? ": it is the agent's" : ": it is the server's");
	if (rows[i].kind == SECRET)
		return refuse_secret(r, &rows[i]);
	if (r->conf->values[i].text)
		return refuse(r, "", word, len, " is given twice");
	if (is_action(&rows[i]) && value)
		return refuse(r, "", word, len, " takes no value behind '='");
	if (!value && !is_action(&rows[i]) && rows[i].kind != SWITCH)
		return refuse(r, "", word, len, ": a value is needed, behind '='");
	return take(r, i, (struct source){ FROM_FLAG, 0 }, value ? value : "true");
}

static void take_operand(struct conf *conf, const char *word)
{
	conf->operands = mem_resize(conf->operands, ((size_t)conf->operand_count + 1) * sizeof *conf->operands);
	conf->operands[conf->operand_count++] = mem_dup(word);
}

/* One action at a time, with the words it takes; none without it. */
static bool check_actions(struct reader *r)
{
	const struct row *action = NULL;
	struct conf *c = r->conf;

	for (size_t i = 0; i < ROWS; i++) {
		if (!is_action(&rows[i]) || !c->values[i].text)
			continue;
		if (is_addition(&rows[i]) && !c->values[row_find(rows[i].more + 2, strlen(rows[i].more + 2))].text) {
			buf_fmt(r->err, "--%s goes with %s only", rows[i].name, rows[i].more);
			return false;
		}
		if (is_addition(&rows[i]))
			continue;
		if (action && !(action->kind == MODE && rows[i].kind == MODE)) {
			buf_fmt(r->err, "--%s and --%s do not go together", action->name, rows[i].name);
			return false;
		}
		action = &rows[i];
	}
	const char *wanted = action ? action->more : NULL;
	if (wanted && c->operand_count == 0) {
		buf_fmt(r->err, "--%s %s: a file is needed", action->name, wanted);
		return false;
	}
	int most = !wanted ? 0 : strstr(wanted, "...") ? INT_MAX : 1;
	if (c->operand_count > most)
		return refuse(r, "unexpected word \"", c->operands[most], strlen(c->operands[most]), "\": settings are --name=value");
	return true;
}

static bool read_args(struct reader *r, int argc, char *const *argv)
{
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "--", 2) == 0) {
			if (!take_flag(r, argv[i]))
				return false;
		} else if (argv[i][0] == '-') {
			return refuse(r, "unknown flag ", argv[i], strlen(argv[i]), "");
		} else {
			take_operand(r->conf, argv[i]);
		}
	}
	return check_actions(r);
}

/* the environment and .env */

static bool read_environment(struct reader *r)
{
	struct buf name = {0};
	const char *text;
	bool good = true;

	for (size_t i = 0; i < ROWS && good; i++) {
		if (is_action(&rows[i]) || !(rows[i].programs & r->conf->program))
			continue;
		buf_clear(&name);
		conf_env_name(rows[i].name, &name);
		text = getenv(name.data);
		if (text && *text)
			good = take(r, i, (struct source){ FROM_ENVIRONMENT, 0 }, text);
	}
	buf_free(&name);
	return good;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && is_blank(*p))
		p++;
	return p;
}

/* A key's end; p itself where none begins. */
static const char *skip_key(const char *p, const char *end)
{
	const char *from = p;

	while (p < end && (*p == '_' || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || (p > from && *p >= '0' && *p <= '9')))
		p++;
	return p;
}

/* '..' is taken as it stands; in ".." a backslash changes what follows. Answers what is wrong, or NULL and *at behind the closing quote. */
static const char *read_quoted(const char **at, const char *end, struct buf *value)
{
	const char *p = *at;
	char quote = *p++;

	for (; p < end && *p != quote; p++) {
		if (quote == '\'' || *p != '\\') {
			buf_char(value, *p);
			continue;
		}
		if (++p == end)
			break;
		if (*p != 'n' && *p != '"' && *p != '\\')
			return "in double quotes only \\n, \\\" and \\\\ are known";
		buf_char(value, *p == 'n' ? '\n' : *p);
	}
	if (p == end)
		return "a quote is not closed";
	*at = p + 1;
	return NULL;
}

/* Up to the line's end or a '#' that follows a blank, without the blanks around. */
static void read_plain(const char *p, const char *end, struct buf *value)
{
	const char *stop = p;

	while (stop < end && !(*stop == '#' && is_blank(stop[-1])))
		stop++;
	while (stop > p && is_blank(stop[-1]))
		stop--;
	buf_add(value, p, (size_t)(stop - p));
}

/* Behind the '='. Answers what is wrong, or NULL. */
static const char *read_line_value(const char *p, const char *end, struct buf *value)
{
	const char *why, *rest;

	buf_clear(value);
	buf_room(value, 0);
	p = skip_blanks(p, end);
	if (p == end || (*p != '\'' && *p != '"')) {
		read_plain(p, end, value);
		return NULL;
	}
	why = read_quoted(&p, end, value);
	if (why)
		return why;
	rest = skip_blanks(p, end);
	return rest == end || (rest > p && *rest == '#') ? NULL : "more stands behind the closing quote";
}

/* One line. Answers what is wrong, or NULL; an empty key means that the line sets nothing. */
static const char *read_line(const char *p, const char *end, struct buf *key, struct buf *value)
{
	const char *stop;

	buf_clear(key);
	p = skip_blanks(p, end);
	if (p == end || *p == '#')
		return NULL;
	stop = skip_key(p, end);
	if (stop - p == 6 && memcmp(p, "export", 6) == 0 && stop < end && is_blank(*stop)) {
		p = skip_blanks(stop, end);
		stop = skip_key(p, end);
	}
	if (stop == p || stop == end || *stop != '=')
		return "KEY=VALUE is needed";
	buf_add(key, p, (size_t)(stop - p));
	return read_line_value(stop + 1, end, value);
}

static const char *check_line(const char *p, size_t len, struct buf *key, struct buf *value)
{
	if (len > 0 && p[len - 1] == '\r')
		len--;
	if (len > LINE_MAX_BYTES)
		return "the line is longer than 4096 bytes";
	if (memchr(p, '\0', len))
		return "a NUL byte stands there";
	return read_line(p, p + len, key, value);
}

bool conf_pairs(const char *p, size_t n, conf_pair *pair, void *arg, struct buf *err)
{
	/* Some editors put a byte order mark first. */
	size_t at = n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0, len;
	struct buf key = {0}, value = {0};
	bool good = true;

	for (int line = 1; at < n && good; line++, at += len + 1) {
		const char *end = memchr(p + at, '\n', n - at), *why;
		len = end ? (size_t)(end - p) - at : n - at;
		why = check_line(p + at, len, &key, &value);
		if (why)
			buf_fmt(err, ".env:%d: %s", line, why);
		good = !why && (key.len == 0 || pair(arg, line, key.data, value.data));
	}
	buf_free(&key);
	buf_free(&value);
	return good;
}

static bool take_pair(void *arg, int line, const char *key, const char *value)
{
	struct reader *r = arg;
	size_t i = row_find_key(key);

	if (i == ROWS) {
		buf_fmt(r->warnings, ".env:%d: unknown key %s, ignored\n", line, key);
		return true;
	}
	if (r->env_line[i] > 0) {
		buf_fmt(r->err, ".env:%d: %s is set already, in line %d", line, key, r->env_line[i]);
		return false;
	}
	r->env_line[i] = line;
	if (!(rows[i].programs & r->conf->program) || *value == '\0')
		return true;
	return take(r, i, (struct source){ FROM_FILE, line }, value);
}

/* At most max bytes of a file, and one more where there are more. Answers false and errno where it cannot be read. */
static bool read_file(int fd, size_t max, struct buf *out)
{
	ssize_t got = 1;

	while (got != 0 && out->len <= max) {
		got = read(fd, buf_room(out, max + 1 - out->len), max + 1 - out->len);
		if (got < 0 && errno != EINTR)
			return false;
		out->len += got > 0 ? (size_t)got : 0;
	}
	buf_room(out, 0);
	return true;
}

/* Not blocking: a FIFO under that name is then as good as empty. */
static bool read_dotenv(struct reader *r, int *exit_status)
{
	struct buf text = {0};
	int fd = open(".env", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool read_well = fd >= 0 && read_file(fd, FILE_MAX, &text), good = false;
	int error = errno;

	if (fd >= 0 && close(fd) != 0 && read_well) {
		error = errno;
		read_well = false;
	}
	if (fd < 0 && error == ENOENT)
		return true;
	if (!read_well) {
		*exit_status = 1;
		buf_fmt(r->err, ".env cannot be read: %s", strerror(error));
	} else if (text.len > FILE_MAX) {
		buf_str(r->err, ".env is longer than 65536 bytes");
	} else {
		good = conf_pairs(text.data, text.len, take_pair, r, r->err);
	}
	buf_free(&text);
	return good;
}

/* reading them all */

struct conf *conf_read(enum conf_program program, int argc, char *const *argv, struct buf *warnings, struct buf *err, int *exit_status)
{
	struct conf *c = mem_new(sizeof *c);
	struct reader r = { c, warnings, err, {0} };
	bool good;

	c->program = program;
	*exit_status = 2;
	good = read_args(&r, argc, argv);
	/* Help is for those whose settings are wrong. */
	if (good && !conf_on(c, "help") && !conf_on(c, "version"))
		good = read_environment(&r) && read_dotenv(&r, exit_status);
	for (size_t i = 0; i < ROWS && good; i++)
		if (rows[i].fallback)
			must(take(&r, i, (struct source){ FROM_TABLE, 0 }, rows[i].fallback));
	if (good)
		return c;
	conf_free(c);
	return NULL;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < ROWS; i++)
		free(c->values[i].text);
	for (int i = 0; i < c->operand_count; i++)
		free(c->operands[i]);
	free(c->operands);
	free(c);
}

/* asking */

static const struct value *find(const struct conf *c, const char *name, enum kind *kind)
{
	size_t i = row_find(name, strlen(name));

	must(i < ROWS && (rows[i].programs & c->program));
	*kind = rows[i].kind;
	return &c->values[i];
}

int64_t conf_int(const struct conf *c, const char *name)
{
	enum kind kind;
	const struct value *v = find(c, name, &kind);

	must(kind == WHOLE);
	return v->whole;
}

double conf_real(const struct conf *c, const char *name)
{
	enum kind kind;
	const struct value *v = find(c, name, &kind);

	must(kind == REAL);
	return v->real;
}

bool conf_on(const struct conf *c, const char *name)
{
	enum kind kind;
	const struct value *v = find(c, name, &kind);

	must(kind == SWITCH || kind == ACTION || kind == MODE);
	return kind == SWITCH ? v->whole != 0 : v->text != NULL;
}

const char *conf_text(const struct conf *c, const char *name)
{
	enum kind kind;
	const struct value *v = find(c, name, &kind);

	must(is_text(kind));
	return v->text;
}

bool conf_given(const struct conf *c, const char *name)
{
	enum kind kind;
	const struct value *v = find(c, name, &kind);

	return v->text && v->source.from != FROM_TABLE;
}

void conf_place(const struct conf *c, const char *name, struct buf *out)
{
	enum kind kind;
	const struct value *v = find(c, name, &kind);

	add_place(out, &rows[row_find(name, strlen(name))], v->source, v->text ? v->text : "");
}

int conf_operands(const struct conf *c)
{
	return c->operand_count;
}

const char *conf_operand(const struct conf *c, int i)
{
	must(i >= 0 && i < c->operand_count);
	return c->operands[i];
}

/* tokens */

/* NULL, or why the file gives no token. */
static const char *read_token_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	const char *why = NULL;
	struct stat st;

	if (fd < 0)
		return strerror(errno);
	if (fstat(fd, &st) != 0)
		why = strerror(errno);
	else if (st.st_mode & (S_IROTH | S_IWOTH))
		why = "everybody on this machine can read or write it: chmod 600 it";
	else if (!read_file(fd, TOKEN_MAX, out))
		why = strerror(errno);
	if (close(fd) != 0 && !why)
		why = strerror(errno);
	while (out->len > 0 && (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
		out->data[--out->len] = '\0';
	return why;
}

/* What an Authorization header can carry (RFC 9110 section 5.5), blanks left out. */
static bool is_token(const struct buf *text)
{
	for (size_t i = 0; i < text->len; i++)
		if (text->data[i] < 0x21 || text->data[i] > 0x7e)
			return false;
	return text->len > 0 && text->len <= TOKEN_MAX;
}

bool conf_token(const struct conf *c, const char *name, struct buf *out, struct buf *err)
{
	const char *text = conf_text(c, name), *path, *why = NULL;
	struct buf file = {0};

	buf_fmt(&file, "%s-file", name);
	path = conf_text(c, file.data);
	if (text && path)
		why = "a token and a file with one are both given";
	else if (text)
		buf_str(out, text);
	else if (path)
		why = read_token_file(path, out);
	if (!why && (text || path) && !is_token(out))
		why = "one line of visible ASCII characters, at most 4096, is needed";
	if (why) {
		conf_place(c, text && !path ? name : file.data, err);
		buf_fmt(err, ": %s", why);
	}
	buf_free(&file);
	return !why;
}

/* documents */

static void pad(struct buf *out, size_t from, size_t width)
{
	do
		buf_char(out, ' ');
	while (out->len - from < width);
}

static void help_setting(struct buf *out, const struct row *row)
{
	size_t from = out->len;

	if (row->kind == SECRET)
		buf_str(out, "  (no flag)");
	else
		buf_fmt(out, "  --%s", row->name);
	if (row->kind != SECRET && row->kind != SWITCH)
		buf_fmt(out, "=%s", row->fallback ? row->fallback : "");
	pad(out, from, 37);
	from = out->len;
	conf_env_name(row->name, out);
	pad(out, from, 21);
	buf_str(out, row->help);
	if (row->unit)
		buf_fmt(out, " (%s)", row->unit);
	buf_char(out, '\n');
}

static void help_action(struct buf *out, const struct row *row)
{
	size_t from = out->len;

	buf_fmt(out, "  --%s", row->name);
	if (row->more && !is_addition(row))
		buf_fmt(out, " %s", row->more);
	pad(out, from, 25);
	buf_fmt(out, "%s\n", row->help);
}

void conf_help(enum conf_program program, struct buf *out)
{
	const char *name = program == CONF_SERVER ? "server" : "agent";

	buf_fmt(out, "usage: %s [--setting=value ...] [--action]\n", name);
	buf_str(out, "\nSettings: as a flag, in the environment, in .env of the working directory, else as shown.\n");
	for (size_t i = 0; i < ROWS; i++)
		if ((rows[i].programs & program) && !is_action(&rows[i]))
			help_setting(out, &rows[i]);
	buf_fmt(out, "\nActions: without one the %s runs until SIGTERM or SIGINT.\n", name);
	for (size_t i = 0; i < ROWS; i++)
		if ((rows[i].programs & program) && is_action(&rows[i]))
			help_action(out, &rows[i]);
	buf_str(out, "\nExit status: 0 all went well; 1 it did not, one line on stderr says why; 2 wrong usage");
	buf_str(out, program == CONF_SERVER ? ";\n--audit: 0 proven, 1 violated, 3 not proven; 2 also where a file cannot be read.\n" : ";\n137 died on purpose.\n");
}

void conf_example(struct buf *out)
{
	static const char *const whose[] = { [CONF_SERVER] = "server", [CONF_AGENT] = "agent", [BOTH] = "server and agent" };

	buf_str(out, "# Settings of both programs. To change one: copy this file to .env, take the # before its key away, give a value.\n"
		"# A flag or the environment goes before what stands there; the values here are the defaults.\n");
	for (size_t i = 0; i < ROWS; i++) {
		const struct row *row = &rows[i];
		if (is_action(row))
			continue;
		buf_fmt(out, "\n# %s: %s", whose[row->programs], row->help);
		if (row->kind == WHOLE || row->kind == REAL || row->kind == SWITCH) {
			buf_str(out, "; ");
			add_need(out, row);
		}
		buf_str(out, "\n#");
		conf_env_name(row->name, out);
		buf_fmt(out, "=%s\n", row->fallback ? row->fallback : "");
	}
}
