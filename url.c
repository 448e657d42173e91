/* url: URLs and percent-encoding. A URL that comes out of here holds nothing but visible ASCII, a host of [a-z0-9.-_~] or an IPv6 address,
 * and a port of 1 to 65535, so it can be written into a request line as it is. The target's own escapes are never touched.
 * Knows no addresses and resolves nothing: which hosts may be asked is the caller's business. */
#include "url.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HOST_MAX 253                                           /* RFC 1035 section 2.3.4, as text without the root's dot */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }
static bool is_unreserved(char c) { return is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~'; }

/* slices */

bool http_is(struct http_text t, const char *text)
{
	return t.n == strlen(text) && (t.n == 0 || memcmp(t.p, text, t.n) == 0);
}

bool http_is_nocase(struct http_text t, const char *text)
{
	if (t.n != strlen(text))
		return false;
	for (size_t i = 0; i < t.n; i++)
		if (lower(t.p[i]) != lower(text[i]))
			return false;
	return true;
}

static struct http_text slice(const char *p, size_t n)
{
	return (struct http_text){ p, n };
}

/* The part of *rest before the first of the stop bytes; *rest begins with that byte then, or is empty. */
static struct http_text take_until(struct http_text *rest, const char *stops)
{
	size_t n = 0, stops_count = strlen(stops);
	while (n < rest->n && !memchr(stops, rest->p[n], stops_count))
		n++;
	struct http_text head = slice(rest->p, n);
	*rest = slice(rest->p + n, rest->n - n);
	return head;
}

/* percent-encoding */

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	c = lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One escape at p: its byte, or -1. */
static int unescape(const char *p, size_t n)
{
	int high = n >= 3 ? hex_digit(p[1]) : -1, low = n >= 3 ? hex_digit(p[2]) : -1;
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool decode(struct http_text from, struct buf *out)
{
	buf_clear(out);
	buf_str(out, "");                                          /* data is a string even when it is empty */
	for (size_t i = 0; i < from.n; i++) {
		int c = (unsigned char)from.p[i];
		if (c == '%') {
			c = unescape(from.p + i, from.n - i);
			i += 2;
		} else if (c == '+') {
			c = ' ';
		}
		if (c <= 0)                                            /* NUL is no byte of a text */
			return false;
		buf_char(out, (char)c);
	}
	return true;
}

int http_query_next(struct http_text *rest, struct buf *name, struct buf *value)
{
	if (rest->n == 0)
		return 0;
	struct http_text pair = take_until(rest, "&");
	if (rest->n > 0)
		*rest = slice(rest->p + 1, rest->n - 1);
	struct http_text left = take_until(&pair, "=");
	if (pair.n > 0)
		pair = slice(pair.p + 1, pair.n - 1);
	bool good_name = decode(left, name), good_value = decode(pair, value);
	return good_name && good_value ? 1 : -1;
}

void http_escape(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (is_unreserved(*text))
			buf_char(out, *text);
		else
			buf_fmt(out, "%%%02X", (unsigned)(unsigned char)*text);
	}
}

/* host and port */

static const char *read_name(struct http_text name, struct http_url *out)
{
	if (name.n == 0)
		return "the host is empty";
	if (name.n > HOST_MAX)
		return "the host is longer than 253 bytes";
	for (size_t i = 0; i < name.n; i++) {
		if (!is_unreserved(name.p[i]))
			return "the host has a character that no host name has";
		out->host[i] = lower(name.p[i]);
	}
	out->host[name.n] = '\0';
	return NULL;
}

/* [address]: *rest behind the bracket then. Zone identifiers (RFC 6874) are refused, they mean nothing to anyone else. */
static const char *read_literal(struct http_text *rest, struct http_url *out)
{
	struct in6_addr address;
	*rest = slice(rest->p + 1, rest->n - 1);
	struct http_text text = take_until(rest, "]");
	if (rest->n == 0)
		return "the bracket of an IPv6 address is not closed";
	*rest = slice(rest->p + 1, rest->n - 1);
	if (text.n == 0 || text.n >= INET6_ADDRSTRLEN)
		return "not an IPv6 address";
	for (size_t i = 0; i < text.n; i++)
		out->host[i] = lower(text.p[i]);
	out->host[text.n] = '\0';
	if (strlen(out->host) != text.n || inet_pton(AF_INET6, out->host, &address) != 1)
		return "not an IPv6 address";
	out->literal6 = true;
	return NULL;
}

/* ":port"; an empty port is the scheme's own (RFC 3986 section 3.2.3). */
static const char *read_port(struct http_text text, struct http_url *out)
{
	int64_t port = 0;
	if (text.n > 0 && text.p[0] != ':')
		return "a character behind the host's bracket";
	if (text.n <= 1)
		return NULL;
	if (!is_digit(text.p[1]) || !num_parse(text.p + 1, text.n - 1, 1, 65535, &port))
		return "the port is not a number from 1 to 65535";
	out->port = (int)port;
	return NULL;
}

const char *http_host_read(struct http_text text, struct http_url *out)
{
	memset(out, 0, sizeof *out);
	const char *why = NULL;
	if (text.n > 0 && text.p[0] == '[')
		why = read_literal(&text, out);
	else
		why = read_name(take_until(&text, ":"), out);
	if (!why)
		why = read_port(text, out);
	if (why)
		memset(out, 0, sizeof *out);
	return why;
}

/* whole URLs */

static const char *check_bytes(const char *text, size_t n)
{
	if (n > HTTP_URL_MAX)
		return "the URL is longer than 8000 bytes";
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == ' ')
			return "the URL has a space";
		if (c < ' ' || c == 0x7f)
			return "the URL has a control character";
		if (c > 0x7f)
			return "the URL has a byte that is not ASCII";
		if (c == '\\')
			return "the URL has a backslash";
	}
	return NULL;
}

/* The scheme before "://", of the two that are spoken; *rest behind it then. */
static const char *read_scheme(struct http_text *rest, bool *tls)
{
	struct http_text scheme = take_until(rest, ":/?#");
	*tls = http_is_nocase(scheme, "https");
	if (rest->n == 0 || rest->p[0] != ':' || (!*tls && !http_is_nocase(scheme, "http")))
		return "not an http or https URL";
	if (rest->n < 3 || rest->p[1] != '/' || rest->p[2] != '/')
		return "the URL has no // behind its scheme";
	*rest = slice(rest->p + 3, rest->n - 3);
	return NULL;
}

/* The path and query without the fragment; a path that is empty is "/" (RFC 9110 section 4.2.3). */
static char *make_target(struct http_text rest)
{
	struct buf target = { 0 };
	struct http_text kept = take_until(&rest, "#");
	if (kept.n == 0 || kept.p[0] != '/')
		buf_char(&target, '/');
	buf_add(&target, kept.p, kept.n);
	return target.data;
}

const char *http_url_read(const char *text, size_t n, struct http_url *out)
{
	struct http_text rest = slice(text, n);
	bool tls = false;
	memset(out, 0, sizeof *out);
	const char *why = check_bytes(text, n);
	if (!why)
		why = read_scheme(&rest, &tls);
	if (why)
		return why;
	struct http_text authority = take_until(&rest, "/?#");
	if (authority.n > 0 && memchr(authority.p, '@', authority.n))
		return "the URL has user info, which is not sent";
	why = http_host_read(authority, out);
	if (why)
		return why;
	out->tls = tls;
	if (out->port == 0)
		out->port = tls ? 443 : 80;
	out->target = make_target(rest);
	return NULL;
}

void http_url_free(struct http_url *url)
{
	free(url->target);
	memset(url, 0, sizeof *url);
}

void http_url_authority(const struct http_url *url, struct buf *out)
{
	buf_fmt(out, url->literal6 ? "[%s]" : "%s", url->host);
	if (url->port != (url->tls ? 443 : 80))
		buf_fmt(out, ":%d", url->port);
}

void http_url_text(const struct http_url *url, struct buf *out)
{
	buf_str(out, url->tls ? "https://" : "http://");
	http_url_authority(url, out);
	buf_str(out, url->target);
}

/* references */

/* RFC 3986 section 5.2.4 on a path that begins with '/', in place: the new length. */
static size_t drop_dots(char *p, size_t n)
{
	size_t kept = 0, end;
	for (size_t at = 0; at < n; at = end) {
		for (end = at + 1; end < n && p[end] != '/'; end++)
			;
		size_t len = end - at;
		bool up = len == 3 && memcmp(p + at, "/..", 3) == 0, here = len == 2 && p[at + 1] == '.';
		if (!up && !here) {
			memmove(p + kept, p + at, len);
			kept += len;
			continue;
		}
		while (up && kept > 0 && p[--kept] != '/')
			;
		if (end == n)
			p[kept++] = '/';
	}
	return kept;
}

static bool has_scheme(const char *ref, size_t n)
{
	size_t i = 0;
	while (i < n && (is_alpha(ref[i]) || (i > 0 && (is_digit(ref[i]) || ref[i] == '+' || ref[i] == '-' || ref[i] == '.'))))
		i++;
	return i > 0 && i < n && ref[i] == ':';
}

/* The target that a reference without an authority means (RFC 3986 section 5.2.2), dots still in. */
static void merge(const struct http_url *base, struct http_text ref, struct buf *out)
{
	struct http_text old = slice(base->target, strlen(base->target));
	struct http_text path = take_until(&old, "?");
	if (ref.n == 0) {
		buf_str(out, base->target);
		return;
	}
	if (ref.p[0] == '?') {
		buf_add(out, path.p, path.n);
	} else if (ref.p[0] != '/') {
		while (path.n > 0 && path.p[path.n - 1] != '/')
			path.n--;
		buf_add(out, path.p, path.n);
	}
	buf_add(out, ref.p, ref.n);
}

static void normalise(struct buf *target)
{
	struct buf query = { 0 };
	struct http_text rest = slice(target->data, target->len);
	struct http_text path = take_until(&rest, "?");
	buf_add(&query, rest.p, rest.n);
	target->len = drop_dots(target->data, path.n);
	buf_add(target, query.data, query.len);
	buf_free(&query);
}

/* The whole text that a reference stands for, before its path is normalised. */
static void resolve(const struct http_url *base, struct http_text ref, struct buf *text)
{
	struct buf target = { 0 };
	if (has_scheme(ref.p, ref.n)) {
		buf_add(text, ref.p, ref.n);
		return;
	}
	buf_str(text, base->tls ? "https:" : "http:");
	if (ref.n >= 2 && memcmp(ref.p, "//", 2) == 0) {
		buf_add(text, ref.p, ref.n);
		return;
	}
	merge(base, ref, &target);
	buf_str(text, "//");
	http_url_authority(base, text);
	buf_add(text, target.data, target.len);
	buf_free(&target);
}

const char *http_url_join(const struct http_url *base, const char *ref, size_t n, struct http_url *out)
{
	struct buf text = { 0 }, target = { 0 };
	struct http_text rest = slice(ref, n);
	must(base != out);
	memset(out, 0, sizeof *out);
	const char *why = check_bytes(ref, n);
	if (why)
		return why;
	resolve(base, take_until(&rest, "#"), &text);
	why = http_url_read(text.data, text.len, out);
	buf_free(&text);
	if (why)
		return why;
	buf_str(&target, out->target);
	normalise(&target);
	free(out->target);
	out->target = target.data;
	return NULL;
}
