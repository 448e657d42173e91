/* command: the vocabulary both programs share: states, reports, codes and their texts, the command types and what a payload may be. One table each, no state. */
#ifndef COMMAND_H
#define COMMAND_H
#include "json.h"

#define ONLYONCE_VERSION "0.1.0"

enum status { STATUS_PENDING, STATUS_RUNNING, STATUS_COMPLETED, STATUS_FAILED, STATUS_COUNT };
enum report { REPORT_RUNNING, REPORT_COMPLETED, REPORT_FAILED, REPORT_INTERRUPTED, REPORT_NOT_STARTED, REPORT_COUNT };
enum failure { FAILURE_NONE, FAILURE_EXECUTION_FAILED, FAILURE_TIMEOUT, FAILURE_OUTCOME_UNKNOWN, FAILURE_EVIDENCE_LOST, FAILURE_AGENT_LOST,
	FAILURE_NEVER_STARTED, FAILURE_ATTEMPTS_EXHAUSTED, FAILURE_CANCELLED, FAILURE_OPERATOR_FAILED, FAILURE_COUNT };
enum type { TYPE_DELAY, TYPE_HTTP_GET_JSON, TYPE_COUNT };

#define COMMAND_PAYLOAD_MAX (256 * 1024)
#define COMMAND_RESULT_MAX (1024 * 1024)
#define COMMAND_ERROR_MAX 4096                                 /* bytes of an error text or a note */
#define COMMAND_ATTEMPT_MAX INT64_C(1000000000)
#define AGENT_ID_MAX 128
#define DELAY_MS_MAX INT64_C(86400000)

const char *status_text(enum status);
const char *report_text(enum report);
const char *failure_text(enum failure);                        /* NULL for FAILURE_NONE */
const char *type_text(enum type);
/* Text to value; -1: none of them. */
int status_read(const char *p, size_t n);
int report_read(const char *p, size_t n);
int failure_read(const char *p, size_t n);
int type_read(const char *p, size_t n);
bool failure_by_agent(enum failure);                           /* what an agent may set: EXECUTION_FAILED, TIMEOUT, CANCELLED */

bool agent_id_good(const char *p, size_t n);                   /* [A-Za-z0-9._/-]{1,128} */
bool journal_id_good(const char *p, size_t n);                 /* [A-Za-z0-9._-]{1,64} */
bool boot_id_read(const char *p, size_t n, int64_t *boot_n);   /* "N-xxxxxxxx", eight hex digits; N from 1 */

/* Is this payload one of its type? Calls bad once for each wrong field ("payload.ms") with what is wrong; true when it never did. */
typedef void payload_bad(void *arg, const char *field, const char *detail);
bool payload_check(enum type, const struct json *payload, payload_bad *, void *arg);
int64_t payload_delay_ms(const struct json *payload);          /* of a checked DELAY */
void payload_url(const struct json *payload, struct buf *out); /* of a checked HTTP_GET_JSON */
#endif
