/* tap: reads along at the server's connections: whole requests as they have been read, whole answers as they have left, paired, and handed to the
 * checker. What an answer says is a promise from the moment it left, whether or not anybody got it. */
#ifndef TAP_H
#define TAP_H
#include "checker.h"

enum ask_kind { ASK_CREATE, ASK_NEXT, ASK_REPORT, ASK_LOOK, ASK_LIST, ASK_RESOLVE, ASK_CANCEL, ASK_OTHER, ASK_COUNT };
enum tap_answer { TAP_200, TAP_STALE_ATTEMPT, TAP_NOT_HOLDER, TAP_ALREADY_SETTLED, TAP_404, TAP_STORAGE, TAP_OTHER, TAP_ANSWERS };
struct tap_counts { int64_t asks[ASK_COUNT], reports[REPORT_COUNT][TAP_ANSWERS], settled[REPORT_COUNT][2]; };   /* settled: reports answered 200, by isIdempotent */

struct tap;
struct tap *tap_new(struct checker *, void (*note)(void *arg, const char *text), void *arg);
void tap_free(struct tap *);
void tap_heard(struct tap *, int64_t stream, const void *p, size_t n);
void tap_said(struct tap *, int64_t stream, const void *p, size_t n, int64_t now_us, int64_t deaf_us);   /* deaf_us: how long the server stood still so far */
void tap_hung(struct tap *, int64_t stream);
void tap_died(struct tap *);                                   /* the server is gone, and every stream with it */
const struct tap_counts *tap_counts(const struct tap *);
#endif
