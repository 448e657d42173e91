/* url: slices of text, http and https URLs (RFC 3986) and percent-encoding. Memory only; looks no name up. */
#ifndef URL_H
#define URL_H
#include "util.h"

#define HTTP_URL_MAX 8000                                      /* bytes of a URL; over: refused */

struct http_text { const char *p; size_t n; };                 /* a slice of the caller's bytes */
bool http_is(struct http_text, const char *text);              /* equal bytes */
bool http_is_nocase(struct http_text, const char *text);       /* equal but for ASCII case */

/* Query and percent-encoding. Walks name=value pairs separated by '&'; both are decoded (percent, '+' as space) and appended to the buffers after clearing them.
 * 1: a pair, 0: the end, -1: a bad escape or a NUL. */
int http_query_next(struct http_text *rest, struct buf *name, struct buf *value);
void http_escape(struct buf *out, const char *text);           /* percent-encodes all but unreserved characters (RFC 3986 section 2.3) */

/* An http or https URL, taken apart and checked. Strings are its own: host in lower case without brackets, target with path and query, at least "/". */
struct http_url { bool tls, literal6; char host[256]; int port; char *target; };

/* Reads a URL; NULL: good, to be freed; else static words why not, and out is all zero. A fragment is dropped, user info refused. */
const char *http_url_read(const char *text, size_t n, struct http_url *out);
/* The same for a redirect's Location against the URL that answered (RFC 3986 section 5). out must not be base. */
const char *http_url_join(const struct http_url *base, const char *ref, size_t n, struct http_url *out);
void http_url_free(struct http_url *);                         /* back to all zero */
void http_url_text(const struct http_url *, struct buf *out);  /* appends the whole URL */
void http_url_authority(const struct http_url *, struct buf *out);   /* appends host[:port] as in a Host field: the scheme's own port is left out */

/* Reads host[:port] as in a URL or a Host field into host, literal6 and port (0: not given). NULL: good; else static words. */
const char *http_host_read(struct http_text, struct http_url *out);
#endif
