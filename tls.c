/* tls: a thin face before OpenSSL 1.1.1, 3 or LibreSSL, and what stands in for it where none is built in. Owns sessions and trust, never descriptors.
 * T1  There is no way to a connection whose chain, dates and name were not verified: SSL_VERIFY_PEER is set once, for all, and nothing unsets it.
 * T2  Every step that fails leaves words behind, and the connection is not used again, not even for a good-bye.
 * T3  No configuration file of the library's is read: a static program must not depend on one, and none may lower what is asked for here. */
#include "tls.h"

#ifndef WITH_TLS

bool tls_built_in(void) { return false; }

struct tls *tls_new(const char *ca_file, struct buf *err)
{
	(void)ca_file;
	buf_str(err, "https is not built into this agent");
	return NULL;
}

bool tls_ready(struct tls *t, struct buf *err) { (void)t; (void)err; return false; }
void tls_free(struct tls *t) { must(!t); }
struct tls_conn *tls_start(struct tls *t, int fd, const char *host) { (void)t; (void)fd; (void)host; return NULL; }
enum tls_step tls_handshake(struct tls_conn *c) { (void)c; return TLS_ERROR; }
enum tls_step tls_read(struct tls_conn *c, void *p, size_t n, size_t *got) { (void)c; (void)p; (void)n; *got = 0; return TLS_ERROR; }
enum tls_step tls_write(struct tls_conn *c, const void *p, size_t n, size_t *put) { (void)c; (void)p; (void)n; *put = 0; return TLS_ERROR; }
const char *tls_error(const struct tls_conn *c) { (void)c; return "https is not built into this agent"; }
void tls_end(struct tls_conn *c) { must(!c); }

#else

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST_MAX 256

struct tls { SSL_CTX *ctx; char *ca_file; bool no_store; };    /* ctx NULL: not loaded yet; no_store: no CA certificates of the system's were found */
struct tls_conn { SSL *ssl; bool shaken, broken, no_store; struct buf error; };

/* Where systems keep their CA certificates in one file. */
static const char *const bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt",                      /* Debian, Ubuntu, Alpine, Arch, Gentoo */
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",       /* Fedora, RHEL */
	"/etc/pki/tls/certs/ca-bundle.crt",                        /* older ones of these */
	"/etc/ssl/ca-bundle.pem",                                  /* openSUSE */
	"/var/lib/ca-certificates/ca-bundle.pem",
	"/etc/ssl/cert.pem",                                       /* OpenBSD, macOS, FreeBSD */
	"/usr/local/etc/ssl/cert.pem",                             /* FreeBSD */
	"/usr/local/share/certs/ca-root-nss.crt",
	"/etc/openssl/certs/ca-certificates.crt",                  /* NetBSD */
};

/* What a certificate is refused for, and what the library has to say, for people. */
struct words { int code; const char *text; };

static const struct words refusals[] = {
	{ X509_V_ERR_CERT_HAS_EXPIRED, "the certificate, or one it rests on, has expired" },
	{ X509_V_ERR_CERT_NOT_YET_VALID, "the certificate is not valid yet (is this machine's clock right?)" },
	{ X509_V_ERR_HOSTNAME_MISMATCH, "the certificate is for another host" },
	{ X509_V_ERR_IP_ADDRESS_MISMATCH, "the certificate is for another host: it does not name this address" },
	{ X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "the certificate is self-signed" },
	{ X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "the certificate's issuer is unknown: its root is not trusted here" },
	{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, "the certificate's issuer is unknown" },
	{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "the certificate's issuer is unknown" },
	{ X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, "the certificate's issuer is unknown" },
	{ X509_V_ERR_CERT_SIGNATURE_FAILURE, "the certificate's signature is wrong" },
	{ X509_V_ERR_INVALID_CA, "the certificate's issuer may not issue certificates" },
	{ X509_V_ERR_INVALID_PURPOSE, "the certificate is not meant for servers" },
#ifdef X509_V_ERR_EE_KEY_TOO_SMALL
	{ X509_V_ERR_EE_KEY_TOO_SMALL, "the certificate's key is too short" },
	{ X509_V_ERR_CA_KEY_TOO_SMALL, "the key of the certificate's issuer is too short" },
	{ X509_V_ERR_CA_MD_TOO_WEAK, "the certificate is signed with a weak hash" },
#endif
};

static const struct words reasons[] = {
	{ SSL_R_WRONG_VERSION_NUMBER, "the other side does not speak TLS here" },
	{ SSL_R_UNSUPPORTED_PROTOCOL, "the other side speaks no TLS 1.2 or later" },
	{ SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the other side speaks no TLS 1.2 or later" },
	{ SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "the other side found no cipher that both know" },
	{ SSL_R_NO_PROTOCOLS_AVAILABLE, "no version of TLS is left to speak" },
#ifdef SSL_R_TLSV1_UNRECOGNIZED_NAME
	{ SSL_R_TLSV1_UNRECOGNIZED_NAME, "the other side does not know this host name" },
#endif
#ifdef SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED
	{ SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "the other side wants a client's certificate, and there is none" },
#endif
};

bool tls_built_in(void) { return true; }

static const char *look_up(const struct words *table, size_t n, int code)
{
	for (size_t i = 0; i < n; i++)
		if (table[i].code == code)
			return table[i].text;
	return NULL;
}

/* trust */

static bool load(SSL_CTX *ctx, const char *file, struct buf *err)
{
	const char *why = NULL;
	unsigned long code;

	ERR_clear_error();
	errno = 0;
	if (SSL_CTX_load_verify_locations(ctx, file, NULL) == 1)
		return true;
	code = ERR_peek_error();
	why = errno ? strerror(errno) : code ? ERR_reason_error_string(code) : NULL;
	buf_fmt(err, "CA certificates cannot be read from %s: %s", file, why ? why : "there are none in it");
	ERR_clear_error();
	return false;
}

/* The first bundle that can be read is the system's. */
static bool load_system(struct tls *t, SSL_CTX *ctx, struct buf *err)
{
	const char *file = getenv("SSL_CERT_FILE");

	if (file && *file)
		return load(ctx, file, err);
	for (size_t i = 0; i < sizeof bundles / sizeof *bundles; i++)
		if (access(bundles[i], R_OK) == 0)
			return load(ctx, bundles[i], err);
	t->no_store = true;
	return true;
}

static bool set_rules(SSL_CTX *ctx)
{
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
		return false;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION);
#ifdef SSL_OP_NO_RENEGOTIATION
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
#endif
	return true;
}

bool tls_ready(struct tls *t, struct buf *err)
{
	SSL_CTX *ctx = NULL;

	if (t->ctx)
		return true;
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1)
		ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx || !set_rules(ctx))
		buf_str(err, "the TLS library cannot be started");
	else if (load_system(t, ctx, err) && (!t->ca_file || load(ctx, t->ca_file, err)))
		t->ctx = ctx;
	if (!t->ctx)
		SSL_CTX_free(ctx);
	return t->ctx != NULL;
}

struct tls *tls_new(const char *ca_file, struct buf *err)
{
	struct tls *t = mem_new(sizeof *t);

	t->ca_file = mem_dup(ca_file);
	if (!ca_file || tls_ready(t, err))
		return t;
	tls_free(t);
	return NULL;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->ctx);
	free(t->ca_file);
	free(t);
}

/* connections */

/* Whom the certificate must name. SNI is for names only (RFC 6066 section 3), and has no dot at the end. */
static bool set_host(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	unsigned char address[16];
	char name[HOST_MAX];
	size_t n = strlen(host);

	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
	if (n > 0 && host[n - 1] == '.')
		n--;
	if (n == 0 || n >= sizeof name)
		return false;
	memcpy(name, host, n);
	name[n] = '\0';
	/* The subject's common name names no host any more (RFC 9110 section 4.3.4). */
	unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
#ifdef X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
	flags |= X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
#endif
	X509_VERIFY_PARAM_set_hostflags(param, flags);
	return X509_VERIFY_PARAM_set1_host(param, name, n) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

struct tls_conn *tls_start(struct tls *t, int fd, const char *host)
{
	struct tls_conn *c = mem_new(sizeof *c);

	buf_str(&c->error, "");
	c->broken = true;
	if (!tls_ready(t, &c->error))
		return c;
	c->no_store = t->no_store;
	c->ssl = SSL_new(t->ctx);
	c->broken = !(c->ssl && SSL_set_fd(c->ssl, fd) == 1 && set_host(c->ssl, host));
	if (c->broken)
		buf_str(&c->error, "the TLS library refused this host");
	return c;
}

/* T2. The library's own queue says why, the certificate's verdict first. */
static enum tls_step wrong(struct tls_conn *c)
{
	long verdict = c->shaken ? X509_V_OK : SSL_get_verify_result(c->ssl);
	unsigned long code = ERR_peek_error();
	const char *text = NULL;

	c->broken = true;
	buf_clear(&c->error);
	if (verdict != X509_V_OK) {
		text = look_up(refusals, sizeof refusals / sizeof *refusals, (int)verdict);
		buf_str(&c->error, text ? text : X509_verify_cert_error_string(verdict));
		if (c->no_store)
			buf_str(&c->error, " (no CA certificates were found on this machine)");
		return TLS_ERROR;
	}
	if (ERR_GET_LIB(code) == ERR_LIB_SSL)
		text = look_up(reasons, sizeof reasons / sizeof *reasons, ERR_GET_REASON(code));
	if (!text)
		text = code ? ERR_reason_error_string(code) : NULL;
	buf_str(&c->error, text ? text : "TLS failed");
	return TLS_ERROR;
}

/* The connection beneath has ended, though TLS had not: its bytes may have been cut off by anyone (RFC 8446 section 6.1). */
static enum tls_step torn(struct tls_conn *c, int error)
{
	c->broken = true;
	buf_clear(&c->error);
	buf_fmt(&c->error, "%s %s", error == 0 ? "connection closed" : error == ECONNRESET || error == EPIPE ? "connection reset" : strerror(error),
		c->shaken ? "without TLS's end of data" : "during the TLS handshake");
	return TLS_ERROR;
}

static bool is_end_of_file(void)
{
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
	return ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
#else
	return false;
#endif
}

/* What the result of an SSL_ call means; errno is as the call left it. */
static enum tls_step judge(struct tls_conn *c, int result)
{
	int error = errno;

	switch (SSL_get_error(c->ssl, result)) {
	case SSL_ERROR_NONE:
		return TLS_DONE;
	case SSL_ERROR_WANT_READ:
		return TLS_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		c->broken = true;
		return TLS_EOF;
	case SSL_ERROR_SYSCALL:
		return torn(c, error);
	default:
		return is_end_of_file() ? torn(c, 0) : wrong(c);
	}
}

static void prepare(void)
{
	ERR_clear_error();
	errno = 0;
}

enum tls_step tls_handshake(struct tls_conn *c)
{
	enum tls_step s;

	if (c->broken)
		return TLS_ERROR;
	prepare();
	s = judge(c, SSL_connect(c->ssl));
	c->shaken = s == TLS_DONE;
	return s;
}

enum tls_step tls_read(struct tls_conn *c, void *p, size_t n, size_t *got)
{
	int result;

	*got = 0;
	if (c->broken)
		return TLS_ERROR;
	must(c->shaken);
	prepare();
	result = SSL_read(c->ssl, p, n < INT_MAX ? (int)n : INT_MAX);
	*got = result > 0 ? (size_t)result : 0;
	return judge(c, result);
}

enum tls_step tls_write(struct tls_conn *c, const void *p, size_t n, size_t *put)
{
	int result;

	*put = 0;
	if (c->broken)
		return TLS_ERROR;
	must(c->shaken && n > 0);
	prepare();
	result = SSL_write(c->ssl, p, n < INT_MAX ? (int)n : INT_MAX);
	*put = result > 0 ? (size_t)result : 0;
	return judge(c, result);
}

const char *tls_error(const struct tls_conn *c)
{
	return c->error.data;
}

void tls_end(struct tls_conn *c)
{
	if (!c)
		return;
	if (c->shaken && !c->broken)
		(void)SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	ERR_clear_error();
	buf_free(&c->error);
	free(c);
}

#endif
