/* http: HTTP/1.1 messages and URLs on memory (RFC 9110, 9112, 3986). No sockets, no routes, no allocation but struct buf.
 * Framing is strict: whatever another parser could read differently is refused and the connection closed. */
#ifndef HTTP_H
#define HTTP_H
#include "util.h"

#define HTTP_LINE_MAX 8192                                     /* request line; over: 414 */
#define HTTP_HEAD_MAX 16384                                    /* all header lines with the start line; over: 431 */
#define HTTP_FIELDS_MAX 100                                    /* over: 431 */

struct http_text { const char *p; size_t n; };                 /* a slice of the caller's bytes */
struct http_field { struct http_text name, value; };           /* value without the white space around it */

/* The head of a message: start line and fields, slices of the bytes it was read from. */
struct http_head {
	struct http_text method, target;                           /* a request's; target as sent */
	struct http_text path, query;                              /* of the target; path is "*" for OPTIONS *; query without '?', p NULL when there is none */
	struct http_text host;                                     /* Host's value, or the authority of an absolute-form target */
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
 * a head sent byte by byte costs linear time. Result: bytes of the head (> 0), 0: need more, or -status for the answer before closing
 * (400, 414, 431, 501 a transfer coding other than chunked, 505 another major version; for a response any negative value is "malformed" and *why says how).
 * *why (may be NULL) points to static words. Bad bytes are refused as soon as they are seen in a completed line. */
int http_read_request(const char *p, size_t n, size_t *seen, struct http_head *out, const char **why);
int http_read_response(const char *p, size_t n, size_t *seen, struct http_head *out, const char **why);

/* A field's value by lower-case or any-case name: the first one, or p NULL. */
struct http_text http_field(const struct http_head *, const char *name);
bool http_is(struct http_text, const char *text);              /* equal bytes */
bool http_is_nocase(struct http_text, const char *text);       /* equal but for ASCII case */
bool http_media_is(struct http_text content_type, const char *type);   /* "application/json", parameters aside */

/* Takes a chunked body apart, in place (RFC 9112 section 7.1). All zero to begin. Feeds n bytes: the decoded ones are moved to p[0 .. *kept),
 * *used says how many were read (less than n only when the body ended: the rest is the next message). 1: body complete with its trailers, 0: more, -1: malformed. */
struct http_chunks { int state; uint64_t left; size_t line; };
int http_chunks_feed(struct http_chunks *, char *p, size_t n, size_t *kept, size_t *used, const char **why);

/* Query and percent-encoding. Walks name=value pairs separated by '&'; both are decoded (percent, '+' as space) and appended to the buffers after clearing them.
 * 1: a pair, 0: the end, -1: a bad escape or a NUL. */
int http_query_next(struct http_text *rest, struct buf *name, struct buf *value);
void http_escape(struct buf *out, const char *text);           /* percent-encodes all but unreserved characters (RFC 3986 section 2.3) */

/* An http or https URL, taken apart and checked. Strings are its own: host in lower case without brackets, target with path and query, at least "/". */
struct http_url { bool tls, literal6; char host[256]; int port; char *target; };
const char *http_url_read(const char *text, size_t n, struct http_url *out);          /* NULL: good; else static words why not. User info, fragments kept out (fragment dropped, user info refused) */
const char *http_url_join(const struct http_url *base, const char *ref, size_t n, struct http_url *out);   /* a redirect's Location (RFC 3986 section 5) */
void http_url_free(struct http_url *);
void http_url_text(const struct http_url *, struct buf *out);

/* Formatting. fields: further whole header lines, each ended by CRLF, or NULL. */
const char *http_reason(int status);
void http_date(int64_t wall_ms, char out[30]);                 /* IMF-fixdate (RFC 9110 section 5.6.7) */
struct http_reply { int status; const char *type; const char *fields; const char *body; size_t body_len; bool close; };
/* Writes a whole response. minor: the request's; head_only: answer to HEAD; common: header lines for every answer (Date, security), or NULL. 204 and 304 carry no length. */
void http_put_reply(struct buf *, const struct http_reply *, int minor, bool head_only, const char *common);
/* Writes a whole request; Host from url, Content-Length when body is not NULL, "Connection: close" when close. */
void http_put_request(struct buf *, const char *method, const struct http_url *, const char *fields, const char *body, size_t body_len, bool close);
#endif
