/* answer: what the server's answers look like: a command as JSON, problems (RFC 9457), pages. No store, no routes. */
#ifndef ANSWER_H
#define ANSWER_H
#include "conn.h"
#include "store.h"

enum code { CODE_MALFORMED, CODE_VALIDATION, CODE_NOT_FOUND, CODE_METHOD, CODE_MEDIA_TYPE, CODE_STALE_ATTEMPT, CODE_NOT_HOLDER, CODE_ALREADY_SETTLED,
	CODE_AGENT_CONFLICT, CODE_KEY_REUSED, CODE_NOT_FAILED, CODE_UNAUTHORIZED, CODE_FORBIDDEN, CODE_STORAGE, CODE_BUSY, CODE_TOO_LARGE, CODE_TIMEOUT, CODE_COUNT };

/* What was found wrong with a request, field by field. All zero: nothing. */
struct faults { struct buf json; int count; };
void fault(struct faults *, const char *field, const char *detail);
void faults_free(struct faults *);

struct problem {
	int status;
	enum code code;
	const char *detail;
	const struct faults *faults;                               /* or NULL */
	const struct command *current;                             /* a 409's currentStatus and currentAttempt, or NULL */
	int64_t retry_after_ms;                                    /* 0: none */
	const char *fields;                                        /* header lines, or NULL */
};
enum code code_of(int status);                                 /* for what is refused before a route is known */
void problem_json(const struct problem *, struct buf *out);
void answer_problem(struct conn *, const struct problem *);

void command_json(struct json_writer *, const struct command *, int64_t lease_ms);   /* lease_ms 0: without the member */
void answer_command(struct conn *, int status, const struct command *, int64_t lease_ms, const char *fields);
void answer_json(struct conn *, int status, const struct buf *json, const char *fields);
void answer_empty(struct conn *, int status, const char *fields);
#endif
