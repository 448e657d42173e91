/* command: the vocabulary of both programs. Every enum has one table of texts, indexed by the enum itself, and one table of types
 * says what each payload may be. A word here is the same word in column, JSON member, flag and man page. */
#include "command.h"
#include "http.h"
#include <string.h>

static const char *const statuses[STATUS_COUNT] = {
	[STATUS_PENDING] = "PENDING", [STATUS_RUNNING] = "RUNNING", [STATUS_COMPLETED] = "COMPLETED", [STATUS_FAILED] = "FAILED",
};
static const char *const reports[REPORT_COUNT] = {
	[REPORT_RUNNING] = "RUNNING", [REPORT_COMPLETED] = "COMPLETED", [REPORT_FAILED] = "FAILED",
	[REPORT_INTERRUPTED] = "INTERRUPTED", [REPORT_NOT_STARTED] = "NOT_STARTED",
};
static const char *const failures[FAILURE_COUNT] = {
	[FAILURE_EXECUTION_FAILED] = "EXECUTION_FAILED", [FAILURE_TIMEOUT] = "TIMEOUT", [FAILURE_OUTCOME_UNKNOWN] = "OUTCOME_UNKNOWN",
	[FAILURE_EVIDENCE_LOST] = "EVIDENCE_LOST", [FAILURE_AGENT_LOST] = "AGENT_LOST", [FAILURE_NEVER_STARTED] = "NEVER_STARTED",
	[FAILURE_ATTEMPTS_EXHAUSTED] = "ATTEMPTS_EXHAUSTED", [FAILURE_CANCELLED] = "CANCELLED", [FAILURE_OPERATOR_FAILED] = "OPERATOR_FAILED",
};

static bool delay_check(const struct json *payload, payload_bad *bad, void *arg);
static bool http_check(const struct json *payload, payload_bad *bad, void *arg);

static const struct {
	const char *text;
	bool (*check)(const struct json *payload, payload_bad *, void *arg);
} types[TYPE_COUNT] = {
	[TYPE_DELAY] = { "DELAY", delay_check },
	[TYPE_HTTP_GET_JSON] = { "HTTP_GET_JSON", http_check },
};

/* texts */

static int find(const char *const *table, int count, const char *p, size_t n)
{
	for (int i = 0; i < count; i++)
		if (table[i] && strlen(table[i]) == n && memcmp(table[i], p, n) == 0)
			return i;
	return -1;
}

const char *status_text(enum status s) { return statuses[s]; }
const char *report_text(enum report r) { return reports[r]; }
const char *failure_text(enum failure f) { return failures[f]; }
const char *type_text(enum type t) { return types[t].text; }
int status_read(const char *p, size_t n) { return find(statuses, STATUS_COUNT, p, n); }
int report_read(const char *p, size_t n) { return find(reports, REPORT_COUNT, p, n); }
int failure_read(const char *p, size_t n) { return find(failures, FAILURE_COUNT, p, n); }

int type_read(const char *p, size_t n)
{
	for (int i = 0; i < TYPE_COUNT; i++)
		if (find(&types[i].text, 1, p, n) == 0)
			return i;
	return -1;
}

bool failure_by_agent(enum failure f)
{
	return f == FAILURE_EXECUTION_FAILED || f == FAILURE_TIMEOUT || f == FAILURE_CANCELLED;
}

/* names */

static bool letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool made_of(const char *p, size_t n, size_t max, const char *others)
{
	for (size_t i = 0; i < n; i++)
		if (!letter_or_digit(p[i]) && (p[i] == '\0' || !strchr(others, p[i])))
			return false;
	return n >= 1 && n <= max;
}

bool agent_id_good(const char *p, size_t n) { return made_of(p, n, AGENT_ID_MAX, "._/-"); }
bool journal_id_good(const char *p, size_t n) { return made_of(p, n, 64, "._-"); }

bool boot_id_read(const char *p, size_t n, int64_t *boot_n)
{
	if (n < 10 || p[n - 9] != '-' || p[0] == '0')
		return false;
	for (size_t i = n - 8; i < n; i++)
		if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
			return false;
	return num_parse(p, n - 9, 1, INT64_C(1) << 53, boot_n);
}

/* payloads */

/* Exactly one member of this name and no other; what is wrong goes to bad by field. */
static bool only_member(const struct json *payload, const char *name, struct json *value, payload_bad *bad, void *arg)
{
	struct json_iter it;
	struct json key, v;
	struct buf field = {0}, member = {0};
	int found = 0;
	bool good = true;

	if (payload->type != JSON_OBJECT) {
		bad(arg, "payload", "must be an object");
		return false;
	}
	it = json_iter(payload);
	while (json_next(&it, &key, &v)) {
		if (json_same(&key, name)) {
			*value = v;
			if (++found == 2) {
				buf_clear(&field);
				buf_fmt(&field, "payload.%s", name);
				bad(arg, field.data, "is given twice");
				good = false;
			}
			continue;
		}
		buf_clear(&member);
		buf_clear(&field);
		json_text(&key, &member);
		buf_str(&field, "payload.");
		utf8_clean(&field, member.data ? member.data : "", member.len > 64 ? 64 : member.len);
		bad(arg, field.data, "is not a member of this type's payload");
		good = false;
	}
	if (found == 0) {
		buf_clear(&field);
		buf_fmt(&field, "payload.%s", name);
		bad(arg, field.data, "is missing");
	}
	buf_free(&field);
	buf_free(&member);
	return good && found == 1;
}

static bool delay_check(const struct json *payload, payload_bad *bad, void *arg)
{
	struct json ms;
	int64_t n;

	if (!only_member(payload, "ms", &ms, bad, arg))
		return false;
	if (json_int(&ms, &n) && n >= 0 && n <= DELAY_MS_MAX)
		return true;
	bad(arg, "payload.ms", "must be a whole number from 0 to 86400000");
	return false;
}

static bool http_check(const struct json *payload, payload_bad *bad, void *arg)
{
	struct json url;
	struct buf text = {0};
	struct http_url parts;
	const char *why;

	if (!only_member(payload, "url", &url, bad, arg))
		return false;
	if (url.type != JSON_STRING) {
		bad(arg, "payload.url", "must be a string");
		return false;
	}
	json_text(&url, &text);
	why = http_url_read(text.data ? text.data : "", text.len, &parts);
	if (!why)
		http_url_free(&parts);
	else
		bad(arg, "payload.url", why);
	buf_free(&text);
	return why == NULL;
}

bool payload_check(enum type type, const struct json *payload, payload_bad *bad, void *arg)
{
	return types[type].check(payload, bad, arg);
}

int64_t payload_delay_ms(const struct json *payload)
{
	struct json ms;
	int64_t n = 0;

	must(json_find(payload, "ms", &ms) && json_int(&ms, &n));
	return n;
}

void payload_url(const struct json *payload, struct buf *out)
{
	struct json url;

	must(json_find(payload, "url", &url));
	json_text(&url, out);
}
