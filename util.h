/* util: growing buffer, checked allocation, time formats, ids, strict numbers, UTF-8. Knows nothing of the rest. */
#ifndef UTIL_H
#define UTIL_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define UTIL_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define UTIL_NORETURN __attribute__((noreturn))
#else
#define UTIL_PRINTF(f, a)
#define UTIL_NORETURN
#endif

/* A broken invariant, in release builds too: one line on stderr, abort(). */
#define must(cond) ((cond) ? (void)0 : util_broken(#cond, __FILE__, __LINE__))
UTIL_NORETURN void util_broken(const char *what, const char *file, int line);

/* Growing bytes. All zero is empty. data is NULL until the first add, then always NUL-terminated behind len. */
struct buf { char *data; size_t len, cap; };
char *buf_room(struct buf *, size_t n);                    /* n writable bytes behind len (one more for the NUL); does not move len */
void buf_add(struct buf *, const void *p, size_t n);
void buf_str(struct buf *, const char *text);
void buf_char(struct buf *, char c);
void buf_int(struct buf *, int64_t);                       /* in decimal */
void buf_fmt(struct buf *, const char *fmt, ...) UTIL_PRINTF(2, 3);
void buf_vfmt(struct buf *, const char *fmt, va_list) UTIL_PRINTF(2, 0);
void buf_drop(struct buf *, size_t n);                     /* removes the first n bytes */
void buf_clear(struct buf *);                              /* length 0; keeps the memory */
void buf_free(struct buf *);                               /* back to all zero */

/* Memory. Out of memory is one line on stderr and exit status 1: recovery is what this program is for. */
void *mem_new(size_t n);                                   /* zeroed; n 0 is allowed */
void *mem_resize(void *p, size_t n);
char *mem_dup(const char *text);                           /* NULL stays NULL */
char *mem_dupn(const char *p, size_t n);                   /* NUL-terminated copy */

/* Instants: milliseconds since 1970 UTC to and from RFC 3339 with three decimals and Z. */
#define TIME_TEXT 25
void time_text(int64_t wall_ms, char out[TIME_TEXT]);      /* "2026-11-24T13:38:17.123Z" */
bool time_parse(const char *text, int64_t *wall_ms);

/* A command's id: UUIDv7 (RFC 9562 section 5.7) whose random bits carry the row number (40 bits) beside a nonce (34 bits),
 * so that no text index is needed. */
#define ID_TEXT 37
#define ID_ROW_MAX ((INT64_C(1) << 40) - 1)
#define ID_NONCE_MAX ((INT64_C(1) << 34) - 1)
void id_text(int64_t row, int64_t nonce, int64_t created_ms, char out[ID_TEXT]);
bool id_parse(const char *text, size_t len, int64_t *row, int64_t *nonce, int64_t *created_ms);   /* lower or upper case; false: no id of ours */

/* Decimal digits only, an optional '-', nothing else, within [min, max]. */
bool num_parse(const char *text, size_t len, int64_t min, int64_t max, int64_t *out);
void hex_text(const void *bytes, size_t n, char *out);     /* 2n lower-case digits and a NUL */

bool utf8_valid(const char *p, size_t n);                  /* RFC 3629: no surrogates, no overlong forms */
void utf8_clean(struct buf *out, const char *p, size_t n); /* appends; each maximal bad part and each NUL becomes U+FFFD */
void text_escape(struct buf *out, const char *p, size_t n);/* appends for one log line: control bytes, DEL and bad UTF-8 as \xHH, '\' doubled */
uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);  /* a keyed hash good enough against chosen keys when seed is random */
#endif
