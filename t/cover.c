/* cover: see the header. */
#include "cover.h"
#include <stdio.h>
#include <string.h>

static const char *const kinds[COVER_KINDS] = { "LATE_EVIDENCE", "HANDED_BACK", "RECOVERED", "REVIVED", "CONTRADICTION", "DATABASE_PUT_BACK", "STALE_REPORT", "REDELIVERED",
	"LEASE_ENDED", "RETRY", "COMPLETE", "FAIL", "CANCEL" };
static const char *const audits[4] = { [AUDIT_PROVEN] = "PROVEN", [AUDIT_VIOLATED] = "VIOLATED", [AUDIT_UNREADABLE] = "unreadable", [AUDIT_UNPROVEN] = "UNPROVEN" };

/* The cells that must be reached: evidence, idempotent or not, verdict. */
#define F(name) (3 + FAILURE_##name)
static const struct { enum evidence evidence; bool idempotent; int verdict; } cells[] = {
	{ EVIDENCE_COMPLETED, false, STATUS_COMPLETED }, { EVIDENCE_COMPLETED, true, STATUS_COMPLETED },
	{ EVIDENCE_FAILED, false, F(EXECUTION_FAILED) }, { EVIDENCE_FAILED, true, F(EXECUTION_FAILED) },
	{ EVIDENCE_HEARTBEAT, false, STATUS_RUNNING }, { EVIDENCE_HEARTBEAT, true, STATUS_RUNNING },
	{ EVIDENCE_NOT_STARTED, false, STATUS_PENDING }, { EVIDENCE_NOT_STARTED, true, STATUS_PENDING },
	{ EVIDENCE_NOT_STARTED, false, F(CANCELLED) }, { EVIDENCE_NOT_STARTED, true, F(CANCELLED) },
	{ EVIDENCE_NO_ENTRY, false, STATUS_RUNNING }, { EVIDENCE_NO_ENTRY, true, STATUS_RUNNING },
	{ EVIDENCE_NO_ENTRY, false, F(CANCELLED) }, { EVIDENCE_NO_ENTRY, true, F(CANCELLED) },
	{ EVIDENCE_NO_ENTRY, false, F(NEVER_STARTED) }, { EVIDENCE_NO_ENTRY, true, F(NEVER_STARTED) },
	{ EVIDENCE_INTERRUPTED, false, F(OUTCOME_UNKNOWN) }, { EVIDENCE_INTERRUPTED, true, STATUS_PENDING },
	{ EVIDENCE_INTERRUPTED, true, F(ATTEMPTS_EXHAUSTED) }, { EVIDENCE_INTERRUPTED, true, F(CANCELLED) },
	{ EVIDENCE_NO_LOG, false, F(EVIDENCE_LOST) }, { EVIDENCE_NO_LOG, true, STATUS_PENDING },
	{ EVIDENCE_NO_LOG, true, F(ATTEMPTS_EXHAUSTED) }, { EVIDENCE_NO_LOG, true, F(CANCELLED) },
	{ EVIDENCE_SILENT, false, F(AGENT_LOST) }, { EVIDENCE_SILENT, true, STATUS_PENDING },
	{ EVIDENCE_SILENT, true, F(ATTEMPTS_EXHAUSTED) }, { EVIDENCE_SILENT, true, F(CANCELLED) },
};
#define CELLS (sizeof cells / sizeof *cells)

/* counting */

static int verdict_of(const char *text)
{
	for (int i = 1; i < FAILURE_COUNT; i++)
		if (strstr(text, failure_text((enum failure)i)))
			return 3 + i;
	for (int i = 0; i < 3; i++)
		if (strncmp(text, status_text((enum status)i), strlen(status_text((enum status)i))) == 0)
			return i;
	return -1;
}

/* Events of these kinds name an evidence that decided nothing, or not by the table. */
static bool decided(const char *kind) { return strcmp(kind, "LATE_EVIDENCE") != 0 && strcmp(kind, "CONTRADICTION") != 0 && strcmp(kind, "STALE_REPORT") != 0; }

void cover_event(struct cover *c, const struct event *e, bool is_idempotent)
{
	int verdict = e->verdict ? verdict_of(e->verdict) : -1;

	for (int i = 0; i < COVER_KINDS; i++)
		c->kinds[i] += strcmp(kinds[i], e->kind) == 0;
	for (int i = 0; e->evidence && verdict >= 0 && decided(e->kind) && i < EVIDENCE_COUNT; i++)
		c->cells[i][is_idempotent][verdict] += strcmp(e->evidence, evidence_text((enum evidence)i)) == 0;
}

void cover_tap(struct cover *c, const struct tap_counts *n)
{
	static const struct { enum report report; enum evidence evidence; int verdict; } plain[] = { { REPORT_RUNNING, EVIDENCE_HEARTBEAT, STATUS_RUNNING },
		{ REPORT_COMPLETED, EVIDENCE_COMPLETED, STATUS_COMPLETED }, { REPORT_FAILED, EVIDENCE_FAILED, F(EXECUTION_FAILED) } };

	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		for (int k = 0; k < 2; k++)
			c->cells[plain[i].evidence][k][plain[i].verdict] += n->settled[plain[i].report][k];
	for (int i = 0; i < ASK_COUNT; i++)
		c->tap.asks[i] += n->asks[i];
	for (int i = 0; i < REPORT_COUNT; i++)
		for (int k = 0; k < TAP_ANSWERS; k++)
			c->tap.reports[i][k] += n->reports[i][k];
}

void cover_add(struct cover *to, const struct cover *from)
{
	uint64_t *a = (uint64_t *)to;                                  /* a history's hash among them goes over the top */
	const uint64_t *b = (const uint64_t *)from;

	for (size_t i = 0; i < sizeof *to / sizeof *a; i++)
		a[i] += b[i];
}

/* printing; each line counts what it shows as never reached */

static const char *fault_text(int i) { return world_fault_text((enum world_fault)i); }
static const char *kind_text(int i) { return kinds[i]; }

static int print_counts(const char *title, const int64_t *counts, int n, const char *(*text)(int))
{
	int holes = 0;

	printf("%s:", title);
	for (int i = 0; i < n; i++) {
		printf("%s %s %lld", i ? "," : "", text(i), (long long)counts[i]);
		holes += counts[i] == 0;
	}
	printf("\n");
	return holes;
}

static const char *verdict_text(int v)
{
	return v < 3 ? status_text((enum status)v) : v == 3 ? "FAILED" : failure_text((enum failure)(v - 3));
}

static int print_cells(const struct cover *c)
{
	int missed = 0;

	printf("verdict table:\n");
	for (size_t i = 0; i < CELLS; i++) {
		int64_t n = c->cells[cells[i].evidence][cells[i].idempotent][cells[i].verdict];
		printf("  %-18s %-14s -> %-18s %8lld%s\n", evidence_text(cells[i].evidence), cells[i].idempotent ? "idempotent" : "not idempotent",
			verdict_text(cells[i].verdict), (long long)n, n ? "" : "  never reached");
		missed += n == 0;
	}
	return missed;
}

static int print_reports(const struct cover *c)
{
	static const char *const answers[TAP_ANSWERS] = { "200", "STALE_ATTEMPT", "NOT_HOLDER", "ALREADY_SETTLED", "404", "503", "other" };
	int64_t all[TAP_ANSWERS] = {0};
	int holes = 0;

	printf("reports and their answers:\n");
	for (int i = 0; i < REPORT_COUNT; i++) {
		printf("  %-12s", report_text((enum report)i));
		for (int k = 0; k < TAP_ANSWERS; k++) {
			printf(" %s %lld", answers[k], (long long)c->tap.reports[i][k]);
			all[k] += c->tap.reports[i][k];
		}
		printf("\n");
		holes += (c->tap.reports[i][TAP_200] == 0) + (c->tap.reports[i][TAP_STALE_ATTEMPT] == 0);
	}
	for (int k = 0; k < TAP_ANSWERS; k++)
		holes += k != TAP_OTHER && all[k] == 0;
	return holes;
}

static void print_checked(const struct checker_counts *c, int64_t virtual_ms)
{
	printf("%lld virtual seconds, %lld starts, %lld requests at the target, %lld RETRYs, %lld settled, %lld in review; %lld begun late, %lld NEVER_STARTED too early\n",
		(long long)(virtual_ms / 1000), (long long)c->starts, (long long)c->hits, (long long)c->retries, (long long)c->settled, (long long)c->in_review,
		(long long)c->started_late, (long long)c->never_started_wrong);
	printf("within the stated limits: %lld acknowledged commands went with a database put back, %lld outcomes were overruled by what it did not know; "
		"%lld starts again since their record was hidden by a database put back, %lld by a journal put back or copied\n", (long long)c->rolled_back,
		(long long)c->overruled, (long long)c->hidden_by_database, (long long)c->hidden_by_journal);
}

bool cover_print(const struct cover *c)
{
	const struct checker_counts *n = &c->checked;
	int holes = 0, cells_missed;

	holes += print_counts("crashes at", c->crashes, OP_COUNT, world_op_text);
	holes += print_counts("  of the server at", c->server_crashes, OP_POINT, world_op_text);
	holes += print_counts("faults", c->faults, FAULT_COUNT, fault_text);
	holes += print_reports(c);
	holes += print_counts("events", c->kinds, COVER_KINDS, kind_text);
	holes += cells_missed = print_cells(c);
	printf("audits:");
	for (int i = 0; i < 4; i++)
		printf("%s %s %lld", i ? "," : "", audits[i], (long long)c->audits[i]);
	printf("\n");
	print_checked(n, c->virtual_ms);
	printf("%lld runs were repeated with other wall clocks, and decided the same\n", (long long)c->wall_twins);
	printf("%lld commands: %lld acknowledged, %lld recovered, %lld lost, %lld duplicated, %lld unexpected; %d of %d cells reached\n", (long long)n->commands,
		(long long)n->acknowledged, (long long)n->recovered, (long long)n->lost, (long long)n->duplicated, (long long)n->unexpected, (int)CELLS - cells_missed, (int)CELLS);
	printf("history %016llx\n", (unsigned long long)c->hash);
	if (holes && c->runs >= COVER_RUNS)
		printf("%d holes: so many runs reach everything, or something cannot be reached any more\n", holes);
	printf("%lld passed, %lld failed\n", (long long)(c->runs - c->failed), (long long)c->failed);
	return !holes || c->runs < COVER_RUNS;
}
