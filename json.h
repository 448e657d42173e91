/* json: text to values and back (RFC 8259). A strict reader over the caller's bytes that allocates nothing: json_read checks
 * the whole text once, then values are slices of it, walked with json_next. A writer with a sticky error. Knows no field names. */
#ifndef JSON_H
#define JSON_H
#include "util.h"

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* A value: its text as received, without outer white space; a string's with its quotes. Lives as long as the caller's bytes. */
struct json { enum json_type type; const char *text; size_t len; };
struct json_error { size_t offset; const char *what; };       /* where and, in static words, why the text was refused */

#define JSON_DEPTH 64                                          /* arrays and objects one inside another, at most */

/* Reads exactly one value from all len bytes. False: refused, *err says why (err may be NULL). Refuses: depth over max_depth (at most
 * JSON_DEPTH), bad UTF-8, lone surrogates (written as \u escapes), raw control characters, BOM, NaN, trailing bytes. Doubled members pass. */
bool json_read(const char *text, size_t len, int max_depth, struct json *out, struct json_error *err);

/* Walks the members of an object or the elements of an array that json_read has accepted. key is left alone for an array and may be NULL. */
struct json_iter { const char *p, *end; bool object, first; };
struct json_iter json_iter(const struct json *);
bool json_next(struct json_iter *, struct json *key, struct json *value);

bool json_find(const struct json *object, const char *name, struct json *value);   /* the first member of that name; false: none, or no object */
bool json_same(const struct json *string, const char *text);  /* a string value that decodes to text */
bool json_int(const struct json *, int64_t *out);             /* exact: a number whose value is whole and fits (5, 5.0, 5e2); false else */
bool json_bool(const struct json *, bool *out);
void json_text(const struct json *string, struct buf *out);   /* appends the decoded string, UTF-8; may hold NUL bytes */

/* Writer: compact JSON to the end of out. Commas and colons are its business. Misuse (a key outside an object, a value where a key is due, too
 * deep, bad UTF-8 in a string, text for json_put_raw that is no JSON is NOT checked) makes it bad and it stays so: ask json_good once, at the end. */
struct json_writer { struct buf *out; uint64_t objects; int depth; bool comma, keyed, bad, done; };
struct json_writer json_writer(struct buf *out);
void json_open_object(struct json_writer *);
void json_open_array(struct json_writer *);
void json_close(struct json_writer *);                        /* whichever is open */
void json_key(struct json_writer *, const char *name);
void json_put_null(struct json_writer *);
void json_put_bool(struct json_writer *, bool);
void json_put_int(struct json_writer *, int64_t);
void json_put_text(struct json_writer *, const char *text);   /* NULL writes null */
void json_put_bytes(struct json_writer *, const char *p, size_t n);   /* a string of n bytes of UTF-8 */
void json_put_raw(struct json_writer *, const char *p, size_t n);     /* text that json_read has accepted, as it is; p NULL writes null */
bool json_good(const struct json_writer *);                   /* whole and well-formed: nothing open, never misused */
#endif
