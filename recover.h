/* recover: section 3 of the design. The verdict as a pure function over one table, and its application to a command within the caller's transaction.
 * Knows commands and evidence; knows no connections, leases or queues: whoever calls tells those of the command's new state. */
#ifndef RECOVER_H
#define RECOVER_H
#include "store.h"

enum evidence {
	EVIDENCE_COMPLETED, EVIDENCE_FAILED,                       /* log: FINISHED */
	EVIDENCE_HEARTBEAT,                                        /* log: started, still processing */
	EVIDENCE_NOT_STARTED,                                      /* log: a tombstone */
	EVIDENCE_NO_ENTRY,                                         /* no entry in the very journal it was given to: the agent polls */
	EVIDENCE_INTERRUPTED,                                      /* log: started, not finished, process gone */
	EVIDENCE_NO_LOG,                                           /* no log to look at: none kept, or another journal now */
	EVIDENCE_SILENT,                                           /* silent past the lease */
	EVIDENCE_COUNT
};
const char *evidence_text(enum evidence);

struct question { enum evidence evidence; bool is_idempotent; int64_t attempt, max_attempts, redelivered; bool cancel_requested; };   /* attempt: those that count */
struct verdict { enum status status; enum failure failure; bool review, again; };   /* again: the same attempt, to the same agent (RUNNING) */
struct verdict recover_verdict(const struct question *);

/* Who speaks. journal_id and boot_id NULL: an agent without a log. */
struct who { const char *agent_id, *journal_id, *boot_id; int64_t boot; };

/* A report, checked for form. attempt 0: left out, the current one. failure: of a FAILED. */
struct report_in { struct who who; int64_t attempt; enum report report; enum failure failure; const char *result; size_t result_len; const char *error; };
enum recover_answer { RECOVER_OK, RECOVER_STALE_ATTEMPT, RECOVER_NOT_HOLDER, RECOVER_ALREADY_SETTLED };
/* Applies it; *c is the command as it now is, saved when it changed. *renew: its lease is to be renewed. */
enum recover_answer recover_report(struct store *, struct command *c, const struct report_in *, int64_t now_ms, bool *renew);

/* PENDING: handed out anew, attempt + 1. */
void recover_hand_out(struct store *, struct command *c, const struct who *, int64_t lease_ms, int64_t now_ms);
/* RUNNING, and its holder (or a newer boot of its journal) polls: true when the same attempt is to be given again to who, false when the command was put elsewhere. */
bool recover_poll(struct store *, struct command *c, const struct who *, int64_t now_ms);
/* AGENT_LOST in review, and its agent polls. */
void recover_poll_lost(struct store *, struct command *c, const struct who *, int64_t now_ms);
/* RUNNING, and its lease has ended. */
void recover_silent(struct store *, struct command *c, int64_t now_ms);

enum resolve_action { RESOLVE_RETRY, RESOLVE_COMPLETE, RESOLVE_FAIL };
enum resolve_answer { RESOLVE_OK, RESOLVE_NOT_FAILED, RESOLVE_SETTLED };   /* SETTLED: FAILED and not in review; only RETRY may touch it */
enum resolve_answer recover_resolve(struct store *, struct command *c, enum resolve_action, const char *note, const char *result, size_t result_len, int64_t now_ms);
enum cancel_answer { CANCEL_DONE, CANCEL_ASKED, CANCEL_TOO_LATE };
enum cancel_answer recover_cancel(struct store *, struct command *c, int64_t now_ms);
#endif
