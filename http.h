/* http: HTTP/1.1 messages on memory (RFC 9110, 9112); URLs are url's. No sockets, no routes, no allocation but struct buf.
 * Framing is strict: whatever another parser could read differently is refused and the connection closed. */
#ifndef HTTP_H
#define HTTP_H
#include "url.h"

#define HTTP_LINE_MAX 8192                                     /* request line; over: 414 */
#define HTTP_HEAD_MAX 16384                                    /* all header lines with the start line; over: 431 */
#define HTTP_FIELDS_MAX 100                                    /* over: 431 */

struct http_field { struct http_text name, value; };           /* value without the white space around it */

/* The head of a message: start line and fields, slices of the bytes it was read from (or of static ones). */
struct http_head {
	struct http_text method, target;                           /* a request's; target as sent */
	struct http_text path, query;                              /* of the target; path is "*" for OPTIONS *, empty for CONNECT; query without '?', p NULL when there is none */
	struct http_text host;                                     /* Host's value, or the authority of an absolute-form or CONNECT target */
	int status;                                                /* a response's */
	int minor;                                                 /* HTTP/1.minor: 0 or 1 (higher minors count as 1) */
	bool chunked;                                              /* Transfer-Encoding: chunked, alone */
	int64_t length;                                            /* Content-Length; -1: not given */
	bool close;                                                /* the connection ends after this message */
	bool expect_continue;
	int fields_count;
	struct http_field fields[HTTP_FIELDS_MAX];
};

/* Reads a head from the first n bytes. seen: how far an earlier call with fewer of the same bytes looked (start at 0), kept by the caller, so that
 * a head sent byte by byte costs linear time; it is 0 again with every result but 0. Result: bytes of the head (> 0), 0: need more, or -status for the
 * answer before closing (400, 414, 417, 431, 501 a transfer coding other than chunked or a method over 32 bytes, 505 another major version; for a response
 * any negative value is "malformed" and *why says how). *why (may be NULL) points to static words. Bad bytes are refused as soon as their line is complete.
 * out means something only with a result > 0. A response of status 1xx, 204 or 304, or to HEAD, has no body whatever its fields say: the caller's business. */
int http_read_request(const char *p, size_t n, size_t *seen, struct http_head *out, const char **why);
int http_read_response(const char *p, size_t n, size_t *seen, struct http_head *out, const char **why);

/* A field's value by lower-case or any-case name: the first one, or p NULL. */
struct http_text http_field(const struct http_head *, const char *name);
bool http_media_is(struct http_text content_type, const char *type);   /* "application/json", parameters aside */

/* Takes a chunked body apart, in place (RFC 9112 section 7.1). All zero to begin. Feeds n bytes: the decoded ones are moved to p[0 .. *kept),
 * *used says how many were read (less than n only when the body ended: the rest is the next message). 1: body complete with its trailers, 0: more, -1: malformed. */
struct http_chunks { int state; uint64_t left; size_t line; };
int http_chunks_feed(struct http_chunks *, char *p, size_t n, size_t *kept, size_t *used, const char **why);

/* Formatting. fields: further whole header lines, each ended by CRLF, or NULL. */
const char *http_reason(int status);
void http_date(int64_t wall_ms, char out[30]);                 /* IMF-fixdate (RFC 9110 section 5.6.7) */
struct http_reply { int status; const char *type; const char *fields; const char *body; size_t body_len; bool close; };
void http_put_fields(struct buf *, const char *fields);        /* whole header lines, each ended by CRLF, checked; NULL adds nothing */
/* Writes a whole response. minor: the request's; head_only: answer to HEAD; common: lines for every answer (Date, security) as http_put_fields wrote them, or NULL.
 * 204 and 304 carry no length. */
void http_put_reply(struct buf *, const struct http_reply *, int minor, bool head_only, const struct buf *common);
/* Writes a whole request; Host from url, Content-Length when body is not NULL, "Connection: close" when close. */
void http_put_request(struct buf *, const char *method, const struct http_url *, const char *fields, const char *body, size_t body_len, bool close);
#endif
