/* tls: stubs */
#include "tls.h"
#ifndef WITH_TLS
bool tls_built_in(void) { return false; }

struct tls *tls_new(const char *ca_file, struct buf *err)
{
	(void)ca_file;
	buf_str(err, "https is not built into this agent");
	return NULL;
}

void tls_free(struct tls *t) { must(!t); }
struct tls_conn *tls_start(struct tls *t, int fd, const char *host) { (void)t; (void)fd; (void)host; return NULL; }
enum tls_step tls_handshake(struct tls_conn *c) { (void)c; return TLS_ERROR; }
enum tls_step tls_read(struct tls_conn *c, void *p, size_t n, size_t *got) { (void)c; (void)p; (void)n; *got = 0; return TLS_ERROR; }
enum tls_step tls_write(struct tls_conn *c, const void *p, size_t n, size_t *put) { (void)c; (void)p; (void)n; *put = 0; return TLS_ERROR; }
const char *tls_error(const struct tls_conn *c) { (void)c; return "https is not built into this agent"; }
void tls_end(struct tls_conn *c) { must(!c); }
#endif
