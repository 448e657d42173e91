/* cover: what the runs of the world covered: how often each point of death, fault, answer, event and cell of the verdict table was reached. What a whole
 * set of runs never reached is a hole. Nothing but sums, so that those of two processes can be added. */
#ifndef COVER_H
#define COVER_H
#include "tap.h"
#include "world.h"
#include "../audit.h"
#include "../recover.h"

#define COVER_VERDICTS (3 + FAILURE_COUNT)                     /* PENDING, RUNNING, COMPLETED, FAILED without a code of its own, then the failureCodes */
#define COVER_KINDS 13
#define COVER_RUNS 1000                                        /* so many runs reach everything */

struct cover {
	int64_t runs, failed, virtual_ms, wall_twins;
	int64_t crashes[OP_COUNT], server_crashes[OP_COUNT], faults[FAULT_COUNT];
	int64_t cells[EVIDENCE_COUNT][2][COVER_VERDICTS], kinds[COVER_KINDS], audits[4];
	struct tap_counts tap;
	struct checker_counts checked;
	uint64_t hash;
};

void cover_event(struct cover *, const struct event *, bool is_idempotent);
void cover_tap(struct cover *, const struct tap_counts *);     /* added, and the cells that leave no event */
void cover_add(struct cover *to, const struct cover *from);
bool cover_print(const struct cover *);                        /* false: there are holes, and there were enough runs to have none */
#endif
