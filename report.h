/* report: what the agent tells the server about an attempt, as PATCH calls. A record is sent again until it is answered, whatever the server does;
 * a heartbeat is sent once. Knows no journal and no slots. */
#ifndef REPORT_H
#define REPORT_H
#include "call.h"
#include "command.h"

/* Where and as whom. Strings and url must outlive what is sent with it. */
struct server_place {
	const struct http_url *url;
	const char *token;                                         /* or NULL */
	const char *journal_id, *boot_id;
	int64_t lease_ms;                                          /* the last lease the server spoke of; bounds the pauses */
	struct tls *tls;
};
struct report_content {
	const char *id; int64_t attempt; const char *agent_id;
	enum report report;
	enum failure failure;
	const char *result; size_t result_len;                     /* or NULL */
	const char *error;                                         /* or NULL */
};

struct report_call;
enum report_fate { REPORT_ANSWERED, REPORT_ORPHANED };
typedef void report_done(void *arg, enum report_fate);
/* Sends a record until it is answered (DESIGN section 3, what counts as answered); copies the content. done is called once, in a later turn. link: NULL or free for it until done. */
struct report_call *report_send(struct loop *, const struct env *, const struct server_place *, struct call_link *, const struct report_content *, report_done *, void *arg);

enum beat { BEAT_UNHEARD, BEAT_GO_ON, BEAT_CANCEL, BEAT_STOP };  /* STOP: settled, or a newer attempt exists */
typedef void report_beat_done(void *arg, enum beat);
struct report_call *report_beat(struct loop *, const struct env *, const struct server_place *, struct call_link *, const struct report_content *, report_beat_done *, void *arg);
void report_cancel(struct report_call *);                      /* NULL is allowed; done is not called */

int64_t report_pause_us(const struct env *, const struct server_place *, int tries);   /* capped exponential backoff with full jitter */
void server_target(const struct server_place *, const char *path, struct http_url *out);   /* the server's URL with this path; http_url_free it */
void server_fields(const struct server_place *, bool body, struct buf *out);
#endif
