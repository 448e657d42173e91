/* tls: https for a client, non-blocking, over a descriptor that belongs to the caller. Verification is always on: chain, dates, name. TLS 1.2 and later.
 * Built in with -DWITH_TLS; without it tls_new always fails and nothing else is ever called. */
#ifndef TLS_H
#define TLS_H
#include "util.h"

struct tls;                                                    /* whom to trust; shared by all connections */
struct tls_conn;

/* How one step ended. call uses the same words for its own plain reads and writes. */
enum tls_step { TLS_DONE, TLS_WANT_READ, TLS_WANT_WRITE, TLS_EOF, TLS_ERROR };

bool tls_built_in(void);
/* ca_file: PEM certificates trusted beside the system's, or NULL. The system's: SSL_CERT_FILE, else the first well-known bundle there is. NULL: *err says why.
 * A ca_file is read at once; without one nothing is, until the first tls_start or tls_ready: a bundle is 3 MB of memory that an agent without https does not need. */
struct tls *tls_new(const char *ca_file, struct buf *err);
bool tls_ready(struct tls *, struct buf *err);                 /* everything read now; false: *err says why not */
void tls_free(struct tls *);

/* host: a name, or an address as text (IPv6 without brackets). Never fails at once: what is wrong comes out of tls_handshake. The tls must outlive it. */
struct tls_conn *tls_start(struct tls *, int fd, const char *host);
enum tls_step tls_handshake(struct tls_conn *);
enum tls_step tls_read(struct tls_conn *, void *, size_t n, size_t *got);    /* TLS_EOF: the other side said that it ends; an end without a word is an error */
enum tls_step tls_write(struct tls_conn *, const void *, size_t n, size_t *put);
const char *tls_error(const struct tls_conn *);                /* after TLS_ERROR: in words a person can act on */
void tls_end(struct tls_conn *);                               /* says good-bye if that is possible at once; does not close fd. NULL is allowed */
#endif
