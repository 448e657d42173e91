/* http: HTTP/1.1 messages (RFC 9110, 9112) on memory: heads of requests and responses, chunked bodies, and the writing of both.
 * Owns the framing rules; allocates nothing, keeps nothing, reads nothing behind the bytes it is given. URLs are url's, routes are api's.
 * H1  A line is judged when its LF is there, in order, so a message means the same however it was cut on its way.
 * H2  What two parsers may frame differently is refused: bare CR or LF, folding, blanks before a colon, two lengths, a length beside a coding.
 * H3  Nothing written here holds a line end or NUL that its caller put into a field: must() stands before it. */
#include "http.h"
#include <string.h>

#define METHOD_MAX 32                                          /* longer than any method there is: 501 (RFC 9112 section 3) */
#define CHUNK_LINE_MAX 1024                                    /* a chunk's size with its extensions */
#define CHUNK_DIGITS_MAX 16                                    /* 64 bits */
#define TRAILERS_MAX 8192
#define REPLY_HEAD_USUAL 480                                   /* room for most, so that a reply is one allocation */

typedef int read_start(struct http_text line, struct http_head *out, const char **why);

/* A head on its way in. */
struct reader {
	const char *p;
	size_t first;                                              /* where the start line begins: behind an empty line or at 0 */
	bool request;
	struct http_head *out;
	const char *why;
};

/* What the fields said about framing, until all of them are known. */
struct framing {
	struct http_head *out;
	int hosts, lengths, codings;
	bool other_coding, keep;
	const char *why;
};

/* start lines */
static read_start read_request_line, read_status_line;
static int read_target(struct http_head *out, const char **why);
/* fields */
static int read_field(struct http_text line, struct http_field *out, const char **why);
static bool split_field(struct http_text line, struct http_field *out);
static int apply_fields(struct http_head *out, bool request, const char **why);

static int bad(const char **why, int status, const char *words)
{
	*why = words;
	return -status;
}

/* characters and slices */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static bool is_token_char(char c)                              /* RFC 9110 section 5.6.2 */
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || (c != '\0' && strchr("!#$%&'*+.^_`|~", c));
}

static bool is_field_char(char c)                              /* RFC 9110 section 5.5: visible, blank or obs-text */
{
	unsigned char u = (unsigned char)c;
	return (u >= ' ' && u != 0x7f) || c == '\t';
}

static bool is_token(struct http_text t)
{
	for (size_t i = 0; i < t.n; i++)
		if (!is_token_char(t.p[i]))
			return false;
	return t.n > 0;
}

static bool all_field_chars(struct http_text t)
{
	for (size_t i = 0; i < t.n; i++)
		if (!is_field_char(t.p[i]))
			return false;
	return true;
}

static struct http_text slice(const char *p, size_t n)
{
	return (struct http_text){ p, n };
}

static struct http_text trim(struct http_text t)
{
	while (t.n > 0 && is_blank(t.p[t.n - 1]))
		t.n--;
	while (t.n > 0 && is_blank(t.p[0]))
		t = slice(t.p + 1, t.n - 1);
	return t;
}

/* Takes the part before the first stop off *rest, and the stop with it; all of *rest when there is none. False: *rest has no stop. */
static bool split(struct http_text *rest, char stop, struct http_text *part)
{
	const char *at = rest->n > 0 ? memchr(rest->p, stop, rest->n) : NULL;
	size_t n = at ? (size_t)(at - rest->p) : rest->n, used = at ? n + 1 : n;
	*part = slice(rest->p, n);
	if (used > 0)
		*rest = slice(rest->p + used, rest->n - used);
	return at != NULL;
}

/* the head: lines */

/* Where the line that holds the byte at `at` begins. */
static size_t line_begin(const struct reader *r, size_t at)
{
	while (at > 0 && r->p[at - 1] != '\n')
		at--;
	return at;
}

/* All lines are known to be well-formed: reads them into out, whose fields then decide about framing. */
static int finish(struct reader *r, size_t end)
{
	struct http_text rest = slice(r->p + r->first, end - r->first), line;
	struct http_head *out = r->out;
	memset(out, 0, sizeof *out);
	out->length = -1;
	must(split(&rest, '\n', &line));
	int result = (r->request ? read_request_line : read_status_line)(slice(line.p, line.n - 1), out, &r->why);
	must(result == 0);
	while (split(&rest, '\n', &line) && line.n > 1) {
		if (out->fields_count == HTTP_FIELDS_MAX)
			return bad(&r->why, 431, "more than 100 header fields");
		must(split_field(slice(line.p, line.n - 1), &out->fields[out->fields_count++]));
	}
	result = apply_fields(out, r->request, &r->why);
	return result ? result : (int)end;
}

/* One completed line: 0 to go on, the head's length, or a refusal. */
static int judge_line(struct reader *r, size_t begin, size_t lf)
{
	struct http_text line = slice(r->p + begin, lf - begin);
	struct http_field field;
	struct http_head start;
	if (line.n == 0 || line.p[line.n - 1] != '\r')
		return bad(&r->why, 400, "a line ends without CR");
	line.n--;
	if (begin < r->first)
		return 0;
	if (begin == r->first)
		return (r->request ? read_request_line : read_status_line)(line, &start, &r->why);
	if (line.n == 0)
		return finish(r, lf + 1);
	return read_field(line, &field, &r->why);
}

/* The start line has no LF where its longest form must have had one: looked at once, when that byte comes in. */
static bool start_too_long(const struct reader *r, size_t seen, size_t n)
{
	size_t last = r->first + HTTP_LINE_MAX + 1;
	return seen <= last && n > last && !memchr(r->p + r->first, '\n', HTTP_LINE_MAX + 2);
}

static int read_head(struct reader *r, size_t n, size_t *seen)
{
	size_t at = *seen, limit = n < HTTP_HEAD_MAX ? n : HTTP_HEAD_MAX;
	must(at <= n);
	*seen = 0;
	/* One empty line before a request is an old client's (RFC 9112 section 2.2). */
	r->first = r->request && n >= 2 && memcmp(r->p, "\r\n", 2) == 0 ? 2 : 0;
	if (start_too_long(r, at, n))
		return bad(&r->why, 414, "the start line is longer than 8192 bytes");
	while (at < limit) {
		const char *lf = memchr(r->p + at, '\n', limit - at);
		int result = lf ? judge_line(r, line_begin(r, at), (size_t)(lf - r->p)) : 0;
		if (result)
			return result;
		at = lf ? (size_t)(lf - r->p) + 1 : limit;
	}
	if (limit == HTTP_HEAD_MAX)
		return bad(&r->why, 431, "the header section is longer than 16384 bytes");
	*seen = n;
	return 0;
}

static int read_either(bool request, const char *p, size_t n, size_t *seen, struct http_head *out, const char **why)
{
	struct reader r = { .p = p, .request = request, .out = out };
	int result = read_head(&r, n, seen);
	if (why && result < 0)
		*why = r.why;
	return result;
}

int http_read_request(const char *p, size_t n, size_t *seen, struct http_head *out, const char **why)
{
	return read_either(true, p, n, seen, out, why);
}

int http_read_response(const char *p, size_t n, size_t *seen, struct http_head *out, const char **why)
{
	return read_either(false, p, n, seen, out, why);
}

/* the head: start lines */

static int read_version(struct http_text t, int *minor, const char **why)
{
	if (t.n != 8 || memcmp(t.p, "HTTP/", 5) != 0 || !is_digit(t.p[5]) || t.p[6] != '.' || !is_digit(t.p[7]))
		return bad(why, 400, "the HTTP version is malformed");
	if (t.p[5] != '1')
		return bad(why, 505, "only HTTP/1.x is spoken here");
	*minor = t.p[7] == '0' ? 0 : 1;
	return 0;
}

static int read_request_line(struct http_text line, struct http_head *out, const char **why)
{
	struct http_text rest = line;
	if (!split(&rest, ' ', &out->method) || !split(&rest, ' ', &out->target) || out->target.n == 0)
		return bad(why, 400, "a request line is a method, a target and a version, one space apart");
	if (!is_token(out->method))
		return bad(why, 400, "the method has a character that no method has");
	int result = read_version(rest, &out->minor, why);
	if (result)
		return result;
	if (out->method.n > METHOD_MAX)
		return bad(why, 501, "the method is longer than any known one");
	return read_target(out, why);
}

static int read_status_line(struct http_text line, struct http_head *out, const char **why)
{
	struct http_text rest = line, version;
	split(&rest, ' ', &version);
	int result = read_version(version, &out->minor, why);
	if (result)
		return result;
	const char *p = rest.p;
	if (rest.n < 3 || !is_digit(p[0]) || !is_digit(p[1]) || !is_digit(p[2]) || p[0] == '0' || (rest.n > 3 && p[3] != ' '))
		return bad(why, 400, "the status is not three digits");
	out->status = (p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0');
	return all_field_chars(rest) ? 0 : bad(why, 400, "a control character in the status line");
}

/* the head: targets (RFC 9112 section 3.2) */

static void set_path(struct http_head *out, struct http_text text)
{
	bool has_query = split(&text, '?', &out->path);
	out->query = has_query ? text : slice(NULL, 0);
}

static int read_absolute(struct http_head *out, const char **why)
{
	struct http_text rest = out->target, scheme, part;
	struct http_url url;
	size_t n = 0;
	split(&rest, ':', &scheme);
	if (!http_is_nocase(scheme, "http") && !http_is_nocase(scheme, "https"))
		return bad(why, 400, "the target is neither a path nor an http URL");
	if (rest.n < 2 || memcmp(rest.p, "//", 2) != 0)
		return bad(why, 400, "the target's scheme has no // behind it");
	rest = slice(rest.p + 2, rest.n - 2);
	while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
		n++;
	part = slice(rest.p, n);
	if (http_host_read(part, &url))
		return bad(why, 400, "the target's host is malformed");
	out->host = part;
	set_path(out, slice(rest.p + n, rest.n - n));
	if (out->path.n == 0)
		out->path = http_is(out->method, "OPTIONS") && !out->query.p ? slice("*", 1) : slice("/", 1);
	return 0;
}

static int read_authority(struct http_head *out, const char **why)
{
	struct http_url url;
	if (http_host_read(out->target, &url) || url.port == 0)
		return bad(why, 400, "the target of CONNECT is not host:port");
	out->host = out->target;
	out->path = slice(out->target.p, 0);
	out->query = slice(NULL, 0);
	return 0;
}

static int read_target(struct http_head *out, const char **why)
{
	out->host = slice(NULL, 0);
	for (size_t i = 0; i < out->target.n; i++) {
		unsigned char c = (unsigned char)out->target.p[i];
		/* A fragment is never sent, and a backslash is a slash to some. */
		if (c <= ' ' || c >= 0x7f || c == '#' || c == '\\')
			return bad(why, 400, "the target has a character that no target has");
	}
	if (http_is(out->method, "CONNECT"))
		return read_authority(out, why);
	if (out->target.p[0] != '/' && !http_is(out->target, "*"))
		return read_absolute(out, why);
	set_path(out, out->target);
	if (http_is(out->target, "*") && !http_is(out->method, "OPTIONS"))
		return bad(why, 400, "only OPTIONS has the target *");
	return 0;
}

/* the head: fields */

/* False: there is no colon. */
static bool split_field(struct http_text line, struct http_field *out)
{
	bool found = split(&line, ':', &out->name);
	out->value = trim(line);
	return found;
}

static int read_field(struct http_text line, struct http_field *out, const char **why)
{
	if (is_blank(line.p[0]))
		return bad(why, 400, "a header line begins with a blank");
	if (!split_field(line, out))
		return bad(why, 400, "a header line without a colon");
	if (!is_token(out->name))
		return bad(why, 400, "a header name is empty or has a character that no name has");
	return all_field_chars(out->value) ? 0 : bad(why, 400, "a control character in a header field");
}

static int take_host(struct framing *f, struct http_text value)
{
	struct http_url url;
	if (f->hosts++ > 0)
		return bad(&f->why, 400, "more than one Host");
	if (http_host_read(value, &url))
		return bad(&f->why, 400, "Host is malformed");
	if (!f->out->host.p)                                       /* else the target's authority stands (RFC 9112 section 3.2.2) */
		f->out->host = value;
	return 0;
}

/* Two lengths are refused even when they are equal: the sender is confused, and a proxy before us may have taken another one. */
static int take_length(struct framing *f, struct http_text value)
{
	if (f->lengths++ > 0)
		return bad(&f->why, 400, "more than one Content-Length");
	if (value.n == 0 || !is_digit(value.p[0]) || !num_parse(value.p, value.n, 0, INT64_MAX, &f->out->length))
		return bad(&f->why, 400, "Content-Length is not a number");
	return 0;
}

static int take_coding(struct framing *f, struct http_text value)
{
	if (f->codings++ > 0 || !http_is_nocase(value, "chunked"))
		f->other_coding = true;
	f->out->chunked = !f->other_coding;
	return 0;
}

static int take_connection(struct framing *f, struct http_text value)
{
	while (value.n > 0) {
		struct http_text option;
		split(&value, ',', &option);
		option = trim(option);
		if (http_is_nocase(option, "close"))
			f->out->close = true;
		if (http_is_nocase(option, "keep-alive"))
			f->keep = true;
	}
	return 0;
}

static int take_expect(struct framing *f, struct http_text value)
{
	if (!http_is_nocase(value, "100-continue"))
		return bad(&f->why, 417, "the only expectation that is met is 100-continue");
	f->out->expect_continue = f->out->minor > 0;               /* ignored from HTTP/1.0 (RFC 9110 section 10.1.1) */
	return 0;
}

static const struct {
	const char *name;
	bool requests_only;
	int (*take)(struct framing *, struct http_text value);
} known_fields[] = {
	{ "host", true, take_host },
	{ "content-length", false, take_length },
	{ "transfer-encoding", false, take_coding },
	{ "connection", false, take_connection },
	{ "expect", true, take_expect },
};

static int take_field(struct framing *f, const struct http_field *field, bool request)
{
	for (size_t i = 0; i < sizeof known_fields / sizeof known_fields[0]; i++)
		if ((request || !known_fields[i].requests_only) && http_is_nocase(field->name, known_fields[i].name))
			return known_fields[i].take(f, field->value);
	return 0;
}

/* RFC 9112 section 6: which rule ends the body, or none that everybody would agree on. */
static int judge_framing(struct framing *f, bool request)
{
	if (request && f->out->minor > 0 && f->hosts == 0)
		return bad(&f->why, 400, "HTTP/1.1 needs a Host");
	if (f->codings > 0 && f->lengths > 0)
		return bad(&f->why, 400, "both Content-Length and Transfer-Encoding");
	if (f->codings > 0 && f->out->minor == 0)
		return bad(&f->why, 400, "Transfer-Encoding in HTTP/1.0");
	if (f->other_coding)
		return bad(&f->why, 501, "a transfer coding other than chunked");
	if (f->out->minor == 0 && !f->keep)
		f->out->close = true;
	return 0;
}

static int apply_fields(struct http_head *out, bool request, const char **why)
{
	struct framing f = { .out = out };
	int result = 0;
	for (int i = 0; i < out->fields_count && !result; i++)
		result = take_field(&f, &out->fields[i], request);
	if (!result)
		result = judge_framing(&f, request);
	*why = f.why;
	return result;
}

struct http_text http_field(const struct http_head *head, const char *name)
{
	for (int i = 0; i < head->fields_count; i++)
		if (http_is_nocase(head->fields[i].name, name))
			return head->fields[i].value;
	return slice(NULL, 0);
}

bool http_media_is(struct http_text content_type, const char *type)
{
	struct http_text essence;
	split(&content_type, ';', &essence);
	return http_is_nocase(trim(essence), type);
}

/* chunked bodies (RFC 9112 section 7.1), a byte at a time but for the data */

enum {
	CHUNK_SIZE, CHUNK_BLANK, CHUNK_EXTENSION, CHUNK_SIZE_LF, CHUNK_DATA, CHUNK_DATA_CR, CHUNK_DATA_LF,
	TRAILER_START, TRAILER_NAME, TRAILER_VALUE, TRAILER_LF, CHUNK_LAST_LF, CHUNK_DONE, CHUNK_BAD
};

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The size line: line counts its bytes. Extensions are skipped, which takes no quoting into account: no line end can be quoted. */
static const char *step_size(struct http_chunks *c, char byte)
{
	if (++c->line > CHUNK_LINE_MAX)
		return "a chunk's size line is longer than 1024 bytes";
	if (c->state == CHUNK_SIZE && hex_value(byte) >= 0) {
		if (c->line > CHUNK_DIGITS_MAX)
			return "a chunk's size has more than 16 digits";
		c->left = c->left * 16 + (unsigned)hex_value(byte);
		return NULL;
	}
	if (c->state == CHUNK_SIZE && c->line == 1)
		return "a chunk without a size";
	if (c->state != CHUNK_BLANK && byte == '\r')
		c->state = CHUNK_SIZE_LF;
	else if (c->state != CHUNK_EXTENSION && is_blank(byte))
		c->state = CHUNK_BLANK;
	else if (c->state != CHUNK_EXTENSION && byte == ';')
		c->state = CHUNK_EXTENSION;
	else if (c->state != CHUNK_EXTENSION || !is_field_char(byte))
		return "a bad character in a chunk's size line";
	return NULL;
}

/* line counts on through all trailers. */
static const char *step_trailer(struct http_chunks *c, char byte)
{
	if (++c->line > TRAILERS_MAX)
		return "the trailers are longer than 8192 bytes";
	if (c->state == TRAILER_START && byte == '\r')
		c->state = CHUNK_LAST_LF;
	else if (c->state == TRAILER_NAME && byte == ':')
		c->state = TRAILER_VALUE;
	else if (c->state == TRAILER_VALUE && byte == '\r')
		c->state = TRAILER_LF;
	else if (c->state == TRAILER_VALUE ? !is_field_char(byte) : !is_token_char(byte))
		return "a bad character in a trailer";
	else if (c->state == TRAILER_START)
		c->state = TRAILER_NAME;
	return NULL;
}

/* A byte with only one right value, and the state behind it. */
static const char *step_exact(struct http_chunks *c, char byte, char expected, int next)
{
	if (byte != expected)
		return "a chunk's line end is not CR LF, or its data is longer than its size";
	c->state = next;
	return NULL;
}

static const char *step(struct http_chunks *c, char byte)
{
	switch (c->state) {
	case CHUNK_SIZE: case CHUNK_BLANK: case CHUNK_EXTENSION:
		return step_size(c, byte);
	case CHUNK_SIZE_LF:
		c->line = 0;
		return step_exact(c, byte, '\n', c->left > 0 ? CHUNK_DATA : TRAILER_START);
	case CHUNK_DATA_CR:
		return step_exact(c, byte, '\r', CHUNK_DATA_LF);
	case CHUNK_DATA_LF:
		return step_exact(c, byte, '\n', CHUNK_SIZE);
	case TRAILER_START: case TRAILER_NAME: case TRAILER_VALUE:
		return step_trailer(c, byte);
	case TRAILER_LF:
		return step_exact(c, byte, '\n', TRAILER_START);
	case CHUNK_LAST_LF:
		return step_exact(c, byte, '\n', CHUNK_DONE);
	default:
		util_broken("a state that reads bytes", __FILE__, __LINE__);
	}
}

/* Moves what is here of a chunk's data to p + *kept: how many bytes. */
static size_t move_data(struct http_chunks *c, char *p, size_t at, size_t n, size_t *kept)
{
	size_t len = c->left < n - at ? (size_t)c->left : n - at;
	memmove(p + *kept, p + at, len);
	*kept += len;
	c->left -= len;
	if (c->left == 0)
		c->state = CHUNK_DATA_CR;
	return len;
}

int http_chunks_feed(struct http_chunks *c, char *p, size_t n, size_t *kept, size_t *used, const char **why)
{
	size_t at = 0;
	const char *wrong = c->state == CHUNK_BAD ? "the chunked body was malformed before" : NULL;
	*kept = 0;
	while (at < n && !wrong && c->state != CHUNK_DONE) {
		if (c->state == CHUNK_DATA)
			at += move_data(c, p, at, n, kept);
		else
			wrong = step(c, p[at++]);
	}
	*used = at;
	if (!wrong)
		return c->state == CHUNK_DONE ? 1 : 0;
	c->state = CHUNK_BAD;
	if (why)
		*why = wrong;
	return -1;
}

/* writing */

static const struct { int status; const char *text; } reasons[] = {
	{ 100, "Continue" }, { 101, "Switching Protocols" },
	{ 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" }, { 206, "Partial Content" },
	{ 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" }, { 304, "Not Modified" }, { 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" }, { 408, "Request Timeout" }, { 409, "Conflict" }, { 410, "Gone" }, { 411, "Length Required" },
	{ 412, "Precondition Failed" }, { 413, "Content Too Large" }, { 414, "URI Too Long" }, { 415, "Unsupported Media Type" },
	{ 417, "Expectation Failed" }, { 421, "Misdirected Request" }, { 422, "Unprocessable Content" }, { 426, "Upgrade Required" },
	{ 428, "Precondition Required" }, { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" }, { 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" }, { 505, "HTTP Version Not Supported" }, { 507, "Insufficient Storage" },
};

const char *http_reason(int status)
{
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Unknown";
}

/* Names of its own: strftime's are the locale's. */
void http_date(int64_t wall_ms, char out[30])
{
	static const char days[] = "ThuFriSatSunMonTueWed", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char at[TIME_TEXT];

	time_text(wall_ms < 0 ? 0 : wall_ms, at);                  /* 2026-11-24T13:38:17.123Z; 1970 began on a Thursday */
	memcpy(out, "Day, 00 Mon 0000 00:00:00 GMT", 30);
	must(time_parse(at, &wall_ms));                          /* within what four digits of a year hold */
	memcpy(out, days + 3 * (wall_ms / 86400000 % 7), 3);
	memcpy(out + 5, at + 8, 2);
	memcpy(out + 8, months + 3 * ((at[5] - '0') * 10 + at[6] - '0' - 1), 3);
	memcpy(out + 12, at, 4);
	memcpy(out + 17, at + 11, 8);
}

/* Whole header lines from a caller: nothing but well-formed fields, each ended by CRLF (H3). */
void http_put_fields(struct buf *out, const char *fields)
{
	const char *ignored;
	struct http_text rest = slice(fields, fields ? strlen(fields) : 0), line;
	struct http_field field;
	while (rest.n > 0) {
		must(split(&rest, '\n', &line) && line.n > 1 && line.p[line.n - 1] == '\r');
		must(read_field(slice(line.p, line.n - 1), &field, &ignored) == 0);
	}
	if (fields)
		buf_str(out, fields);
}

static void put_field(struct buf *out, const char *name, const char *value)
{
	must(all_field_chars(slice(value, strlen(value))));
	buf_str(out, name);
	buf_str(out, value);
	buf_str(out, "\r\n");
}

void http_put_reply(struct buf *out, const struct http_reply *reply, int minor, bool head_only, const struct buf *common)
{
	bool interim = reply->status < 200, bare = interim || reply->status == 204 || reply->status == 304;
	must(reply->status >= 100 && reply->status <= 599);
	buf_room(out, REPLY_HEAD_USUAL + reply->body_len);
	buf_str(out, "HTTP/1.1 ");
	buf_int(out, reply->status);
	buf_char(out, ' ');
	buf_str(out, http_reason(reply->status));
	buf_str(out, "\r\n");
	if (common)
		buf_add(out, common->data, common->len);
	if (reply->type && !bare)
		put_field(out, "Content-Type: ", reply->type);
	http_put_fields(out, reply->fields);
	if (!bare) {
		buf_str(out, "Content-Length: ");
		buf_int(out, (int64_t)reply->body_len);
		buf_str(out, "\r\n");
	}
	if (reply->close && !interim)
		buf_str(out, "Connection: close\r\n");
	else if (minor == 0 && !interim)
		buf_str(out, "Connection: keep-alive\r\n");
	buf_str(out, "\r\n");
	if (!bare && !head_only && reply->body_len > 0)
		buf_add(out, reply->body, reply->body_len);
}

void http_put_request(struct buf *out, const char *method, const struct http_url *url, const char *fields, const char *body, size_t body_len, bool close)
{
	must(is_token(slice(method, strlen(method))));
	must(url->host[0] && url->target[0] == '/' && !strpbrk(url->host, " \t\r\n/") && !strpbrk(url->target, " \t\r\n"));
	buf_fmt(out, "%s %s HTTP/1.1\r\nHost: ", method, url->target);
	http_url_authority(url, out);
	buf_str(out, "\r\n");
	http_put_fields(out, fields);
	if (body)
		buf_fmt(out, "Content-Length: %zu\r\n", body_len);
	if (close)
		buf_str(out, "Connection: close\r\n");
	buf_str(out, "\r\n");
	if (body && body_len > 0)
		buf_add(out, body, body_len);
}
