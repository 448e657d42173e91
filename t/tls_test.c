/* tls: GETs over https from servers in child processes, each with a certificate made for it at run time: what is accepted, and in what words the rest is not;
 * and the real programs: a command's https, and an agent whose server stands behind a proxy that speaks it.
 * Compiled without WITH_TLS it tests that https says that it is not there. */
#include "../run.h"
#include "../tls.h"
#include "proc.h"
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define MS 1000

struct bench { struct env env; struct loop *loop; struct call_guard *guard; };
struct outcome { bool over, completed; enum failure failure; char error[400], result[2000]; };

static int set_up(void **state)
{
	struct bench *b = mem_new(sizeof *b);
	const char *why;

	env_real(&b->env);
	b->loop = loop_new(&b->env);
	b->guard = call_guard_new(NULL, NULL, &why);
	loop_children(b->loop);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	loop_free(b->loop);
	call_guard_free(b->guard);
	free(b);
	return 0;
}

static void told(void *arg, const struct run_end *end)
{
	struct outcome *o = arg;

	o->over = true;
	o->completed = end->completed;
	o->failure = end->failure;
	snprintf(o->error, sizeof o->error, "%s", end->error ? end->error : "");
	snprintf(o->result, sizeof o->result, "%.*s", (int)end->result_len, end->result);
}

static void get(struct bench *b, const char *url, struct tls *tls, int64_t ms, struct outcome *o)
{
	struct run_limits limits = { ms * MS, 262144, b->guard, tls };
	char payload[320];

	*o = (struct outcome){ false, false, FAILURE_NONE, "", "" };
	snprintf(payload, sizeof payload, "{\"url\":\"%s\"}", url);
	run_start(b->loop, &b->env, &limits, TYPE_HTTP_GET_JSON, payload, strlen(payload), told, o);
	while (!o->over)
		loop_turn(b->loop, INT64_MAX);
}

#ifndef WITH_TLS

static void https_says_that_it_is_not_built_in(void **state)
{
	struct outcome o;
	struct buf err = {0};

	assert_false(tls_built_in());
	assert_null(tls_new(NULL, &err));
	assert_string_equal(err.data, "https is not built into this agent");
	buf_free(&err);
	get(*state, "https://127.0.0.1:1/", NULL, 1000, &o);
	assert_false(o.completed);
	assert_string_equal(o.error, "https is not built into this agent");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(https_says_that_it_is_not_built_in, set_up, tear_down) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* certificates */

struct paper { X509 *cert; EVP_PKEY *key; };
struct wish { const char *name, *names, *usage; long from_s, to_s; bool ca; const struct paper *issuer; };   /* names: subjectAltName; issuer NULL: itself */

static struct paper ca, other_ca;
static char ca_file[64], other_file[64], empty_file[64];

static EVP_PKEY *make_key(void)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
	EVP_PKEY *key = NULL;

	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, NID_X9_62_prime256v1), 1);
	assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static void extend(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *e;
	X509V3_CTX ctx;
	char *copy = mem_dup(value);

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, copy);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(cert, e, -1), 1);
	X509_EXTENSION_free(e);
	free(copy);
}

static struct paper make_paper(const struct wish *w)
{
	static long serial = 1;
	struct paper p = { X509_new(), make_key() };
	X509_NAME *name = X509_get_subject_name(p.cert);

	assert_int_equal(X509_set_version(p.cert, 2), 1);
	ASN1_INTEGER_set(X509_get_serialNumber(p.cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(p.cert), w->from_s);
	X509_gmtime_adj(X509_getm_notAfter(p.cert), w->to_s);
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)w->name, -1, -1, 0), 1);
	X509_set_issuer_name(p.cert, w->issuer ? X509_get_subject_name(w->issuer->cert) : name);
	X509_set_pubkey(p.cert, p.key);
	extend(p.cert, NID_basic_constraints, w->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	if (w->names)
		extend(p.cert, NID_subject_alt_name, w->names);
	if (w->usage)
		extend(p.cert, NID_ext_key_usage, w->usage);
	assert_true(X509_sign(p.cert, w->issuer ? w->issuer->key : p.key, EVP_sha256()) > 0);
	return p;
}

static void free_paper(struct paper *p)
{
	X509_free(p->cert);
	EVP_PKEY_free(p->key);
}

static void write_file(char name[64], const struct paper *p)
{
	strcpy(name, "/tmp/tls_test.XXXXXX");
	int fd = mkstemp(name);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;

	assert_non_null(f);
	assert_true(!p || PEM_write_X509(f, p->cert) == 1);
	assert_int_equal(fclose(f), 0);
}

#define DAY 86400L
static int make_all(void **state)
{
	const struct wish root = { "Test root", NULL, NULL, -DAY, DAY, true, NULL }, other = { "Another root", NULL, NULL, -DAY, DAY, true, NULL };

	(void)state;
	ca = make_paper(&root);
	other_ca = make_paper(&other);
	write_file(ca_file, &ca);
	write_file(other_file, &other_ca);
	write_file(empty_file, NULL);
	/* The system's own certificates are none of this test's business. */
	return setenv("SSL_CERT_FILE", other_file, 1);
}

static int drop_all(void **state)
{
	(void)state;
	free_paper(&ca);
	free_paper(&other_ca);
	return unlink(ca_file) + unlink(other_file) + unlink(empty_file);
}

/* servers, in a child */

struct server {
	int listener;
	struct paper paper;
	int max_version;                                           /* 0: any */
	bool weak;                                                 /* speaks what is long outdated */
	void (*speak)(struct server *, SSL *, int fd);             /* after the handshake and the request */
	void (*instead)(int fd);                                   /* of TLS */
	const char *sni;                                           /* expected; "": none */
};

static int check_name(SSL *ssl, int *alert, void *arg)
{
	const struct server *s = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	return strcmp(name ? name : "", s->sni) == 0 ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *server_ctx(struct server *s)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (s->weak) {
		SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
		SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0");
	}
	if (s->max_version)
		SSL_CTX_set_max_proto_version(ctx, s->max_version);
	if (s->sni) {
		SSL_CTX_set_tlsext_servername_callback(ctx, check_name);
		SSL_CTX_set_tlsext_servername_arg(ctx, s);
	}
	if (SSL_CTX_use_certificate(ctx, s->paper.cert) != 1 || SSL_CTX_use_PrivateKey(ctx, s->paper.key) != 1)
		_exit(9);
	return ctx;
}

/* Reads a request's head; false: the client is gone. */
static bool hear(SSL *ssl)
{
	char text[4096];
	int n = 0, got;

	do {
		got = SSL_read(ssl, text + n, (int)sizeof text - 1 - n);
		n += got > 0 ? got : 0;
		text[n] = '\0';
	} while (got > 0 && !strstr(text, "\r\n\r\n"));
	return got > 0;
}

static void handle(struct server *s, SSL_CTX *ctx, int fd)
{
	SSL *ssl = SSL_new(ctx);

	SSL_set_fd(ssl, fd);
	if (s->instead)
		s->instead(fd);
	else if (SSL_accept(ssl) == 1 && hear(ssl))
		s->speak(s, ssl, fd);
	SSL_free(ssl);
	close(fd);
}

UTIL_NORETURN static void serve(struct server *s)
{
	SSL_CTX *ctx = server_ctx(s);
	int fd, flags = fcntl(s->listener, F_GETFL);

	(void)fcntl(s->listener, F_SETFL, flags & ~O_NONBLOCK);
	(void)alarm(60);
	while ((fd = accept(s->listener, NULL, NULL)) >= 0) {
		(void)fcntl(fd, F_SETFL, 0);
		handle(s, ctx, fd);
	}
	_exit(0);
}

#define HEAD "HTTP/1.1 200 OK\r\n"
static void say(SSL *ssl, const char *text) { (void)SSL_write(ssl, text, (int)strlen(text)); }

static void speak_well(struct server *s, SSL *ssl, int fd)
{
	(void)s;
	(void)fd;
	say(ssl, HEAD "Content-Length: 4\r\n\r\ntrue");
	(void)SSL_shutdown(ssl);
}

static void speak_to_close(struct server *s, SSL *ssl, int fd)
{
	(void)s;
	(void)fd;
	say(ssl, HEAD "\r\ntrue");
	(void)SSL_shutdown(ssl);
}

static void speak_and_tear(struct server *s, SSL *ssl, int fd)
{
	(void)s;
	(void)fd;
	say(ssl, HEAD "\r\ntrue");
}

static void speak_half_and_tear(struct server *s, SSL *ssl, int fd)
{
	(void)s;
	(void)fd;
	say(ssl, HEAD "Content-Length: 9\r\n\r\ntrue");
}

static void speak_half(struct server *s, SSL *ssl, int fd)
{
	(void)s;
	(void)fd;
	say(ssl, HEAD "Content-Length: 9\r\n\r\ntrue");
	(void)SSL_shutdown(ssl);
}

static void speak_in_single_bytes(struct server *s, SSL *ssl, int fd)
{
	(void)s;
	(void)fd;
	for (const char *p = HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\ntr\r\n2\r\nue\r\n0\r\n\r\n"; *p; p++)
		(void)SSL_write(ssl, p, 1);
	(void)SSL_shutdown(ssl);
}

static void speak_at_length(struct server *s, SSL *ssl, int fd)
{
	char body[16384];

	(void)s;
	(void)fd;
	memset(body, ' ', sizeof body);
	say(ssl, HEAD "Content-Length: 163844\r\n\r\ntrue");
	for (int i = 0; i < 10; i++)
		(void)SSL_write(ssl, body, sizeof body);
	(void)SSL_shutdown(ssl);
}

/* Half a record, then the end. */
static void speak_garbage(struct server *s, SSL *ssl, int fd)
{
	(void)s;
	(void)ssl;
	(void)!write(fd, "\x17\x03\x03\x00\x20garbagegarbagegarbagegarbagegarbage", 37);
}

/* Asks for a new handshake, and goes on only when the client answers with an alert (21), not with a hello (22). */
static void speak_after_renegotiation(struct server *s, SSL *ssl, int fd)
{
	char type = 0;

	(void)s;
	say(ssl, HEAD "Content-Length: 4\r\n\r\ntr");
	(void)SSL_renegotiate(ssl);
	(void)SSL_do_handshake(ssl);
	if (recv(fd, &type, 1, MSG_PEEK) != 1 || type != 21)
		return;
	say(ssl, "ue");
	(void)SSL_shutdown(ssl);
}

static void speak_of_http(struct server *s, SSL *ssl, int fd)
{
	(void)s;
	(void)fd;
	say(ssl, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
	(void)SSL_shutdown(ssl);
}

static void plain_http(int fd)
{
	static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

	(void)!write(fd, text, sizeof text - 1);
	(void)shutdown(fd, SHUT_WR);
	(void)!read(fd, (char[512]){ 0 }, 512);
}

static void hang(int fd)
{
	char piece[512];

	while (read(fd, piece, sizeof piece) > 0)
		;
}

static void close_at_once(int fd)
{
	(void)!read(fd, (char[2000]){ 0 }, 2000);
}

/* fetching */

static int listen_here(struct bench *b, int *port)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_storage bound;
	socklen_t len;
	int fd;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = b->env.listen(b->env.world, (struct sockaddr *)&in, sizeof in, &bound, &len);
	assert_true(fd >= 0);
	memcpy(&in, &bound, sizeof in);
	*port = ntohs(in.sin_port);
	return fd;
}

/* A server for one GET, killed after it. trusted: a CA file beside the system's, or NULL. */
static void fetch(struct bench *b, struct server *s, const char *host, const char *trusted, int64_t ms, struct outcome *o)
{
	struct buf err = {0};
	struct tls *tls = tls_new(trusted, &err);
	char url[300];
	int port;

	assert_non_null(tls);
	s->listener = listen_here(b, &port);
	snprintf(url, sizeof url, "https://%s:%d/", host, port);
	pid_t pid = fork();
	if (pid == 0)
		serve(s);
	assert_true(pid > 0);
	b->env.close(b->env.world, s->listener);
	get(b, url, tls, ms, o);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	tls_free(tls);
	buf_free(&err);
}

static void expect_true(const struct outcome *o, int bytes)
{
	char want[200];

	snprintf(want, sizeof want, "{\"status\":200,\"body\":true,\"truncated\":false,\"bytesReturned\":%d,\"error\":null}", bytes);
	assert_string_equal(o->error, "");
	assert_string_equal(o->result, want);
}

static void expect_error(const struct outcome *o, const char *host, const char *words)
{
	char want[400];

	snprintf(want, sizeof want, "https to %s failed: %s", host, words);
	assert_string_equal(o->error, want);
	assert_false(o->completed);
}

static const struct wish good_wish = { "server", "DNS:localhost,IP:127.0.0.1", NULL, -DAY, DAY, false, &ca };

/* tests: certificates */

static void a_good_certificate_is_accepted_by_name_and_by_address(void **state)
{
	struct server s = { .paper = make_paper(&good_wish), .speak = speak_well };
	struct outcome o;

	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		s.max_version = version;
		s.sni = "";
		fetch(*state, &s, "127.0.0.1", ca_file, 20000, &o);
		expect_true(&o, 4);
		s.sni = "localhost";
		fetch(*state, &s, "localhost", ca_file, 20000, &o);
		expect_true(&o, 4);
	}
	free_paper(&s.paper);
}

static void bad_certificates_are_refused_in_words(void **state)
{
	static const struct { struct wish wish; const char *trusted, *words; } cases[] = {
		{ { "x", "IP:127.0.0.1", NULL, -DAY, -60, false, &ca }, ca_file, "the certificate, or one it rests on, has expired" },
		{ { "x", "IP:127.0.0.1", NULL, DAY, 2 * DAY, false, &ca }, ca_file, "the certificate is not valid yet (is this machine's clock right?)" },
		{ { "x", "IP:127.0.0.2", NULL, -DAY, DAY, false, &ca }, ca_file, "the certificate is for another host: it does not name this address" },
		{ { "127.0.0.1", "DNS:127.0.0.1", NULL, -DAY, DAY, false, &ca }, ca_file, "the certificate is for another host: it does not name this address" },
		{ { "x", "IP:127.0.0.1", NULL, -DAY, DAY, false, NULL }, ca_file, "the certificate is self-signed" },
		{ { "x", "IP:127.0.0.1", NULL, -DAY, DAY, false, &ca }, NULL, "the certificate's issuer is unknown" },
		{ { "x", "IP:127.0.0.1", NULL, -DAY, DAY, false, &ca }, other_file, "the certificate's issuer is unknown" },
		{ { "x", "IP:127.0.0.1", "clientAuth", -DAY, DAY, false, &ca }, ca_file, "the certificate is not meant for servers" },
	};
	struct outcome o;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct server s = { .paper = make_paper(&cases[i].wish), .speak = speak_well };
		fetch(*state, &s, "127.0.0.1", cases[i].trusted, 20000, &o);
		expect_error(&o, "127.0.0.1", cases[i].words);
		free_paper(&s.paper);
	}
}

static void a_name_must_be_the_right_one(void **state)
{
	static const struct { const char *name, *names; bool good; } cases[] = {
		{ "x", "DNS:localhost", true }, { "localhost", "DNS:example.org", false }, { "localhost", NULL, false }, { "x", "DNS:*.localhost", false },
		{ "x", "DNS:*", false }, { "x", "DNS:local*", false }, { "x", "DNS:LOCALHOST", true }, { "x", "IP:127.0.0.1", false },
	};
	struct outcome o;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct wish wish = { cases[i].name, cases[i].names, NULL, -DAY, DAY, false, &ca };
		struct server s = { .paper = make_paper(&wish), .speak = speak_well };
		fetch(*state, &s, "localhost", ca_file, 20000, &o);
		if (cases[i].good != o.completed)
			fail_msg("%zu: %s", i, o.error);
		if (cases[i].good)
			expect_true(&o, 4);
		else
			expect_error(&o, "localhost", "the certificate is for another host");
		free_paper(&s.paper);
	}
}

static void a_certificate_of_no_authority_issues_nothing(void **state)
{
	const struct wish leaf = { "leaf", "DNS:leaf", NULL, -DAY, DAY, false, &ca };
	struct paper middle = make_paper(&leaf);
	const struct wish below = { "below", "IP:127.0.0.1", NULL, -DAY, DAY, false, &middle };
	struct server s = { .paper = make_paper(&below), .speak = speak_well };
	char file[64];
	struct outcome o;

	write_file(file, &middle);
	fetch(*state, &s, "127.0.0.1", file, 20000, &o);
	assert_false(o.completed);
	assert_non_null(strstr(o.error, "https to 127.0.0.1 failed: the certificate's issuer"));
	assert_int_equal(unlink(file), 0);
	free_paper(&middle);
	free_paper(&s.paper);
}

static void a_file_without_certificates_is_refused(void **state)
{
	struct buf err = {0};
	struct tls_conn *c;
	struct tls *tls;

	(void)state;
	assert_null(tls_new("/nonexistent/ca.pem", &err));
	assert_string_equal(err.data, "CA certificates cannot be read from /nonexistent/ca.pem: No such file or directory");
	buf_clear(&err);
	assert_null(tls_new(empty_file, &err));
	assert_non_null(strstr(err.data, empty_file));
	assert_int_equal(setenv("SSL_CERT_FILE", "/nonexistent/system.pem", 1), 0);
	buf_clear(&err);
	assert_null(tls_new(ca_file, &err));
	assert_non_null(strstr(err.data, "/nonexistent/system.pem"));
	tls = tls_new(NULL, &err);                                 /* reads nothing yet: the first connection hears of it */
	assert_non_null(tls);
	buf_clear(&err);
	assert_false(tls_ready(tls, &err));
	assert_non_null(strstr(err.data, "/nonexistent/system.pem"));
	c = tls_start(tls, 0, "127.0.0.1");
	assert_int_equal(tls_handshake(c), TLS_ERROR);
	assert_non_null(strstr(tls_error(c), "/nonexistent/system.pem"));
	tls_end(c);
	tls_free(tls);
	assert_int_equal(setenv("SSL_CERT_FILE", other_file, 1), 0);
	buf_free(&err);
}

static void the_environment_names_the_trusted(void **state)
{
	struct server s = { .paper = make_paper(&good_wish), .speak = speak_well };
	struct outcome o;

	assert_int_equal(setenv("SSL_CERT_FILE", ca_file, 1), 0);
	fetch(*state, &s, "127.0.0.1", NULL, 20000, &o);
	expect_true(&o, 4);
	assert_int_equal(setenv("SSL_CERT_FILE", other_file, 1), 0);
	free_paper(&s.paper);
}

/* tests: servers */

static void answers_come_through_however_they_are_sent(void **state)
{
	static const struct { void (*speak)(struct server *, SSL *, int); int bytes; } cases[] = {
		{ speak_well, 4 }, { speak_to_close, 4 }, { speak_in_single_bytes, 4 }, { speak_at_length, 163844 },
	};
	struct server s = { .paper = make_paper(&good_wish) };
	struct outcome o;

	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
			s.max_version = version;
			s.speak = cases[i].speak;
			fetch(*state, &s, "127.0.0.1", ca_file, 20000, &o);
			expect_true(&o, cases[i].bytes);
		}
	free_paper(&s.paper);
}

static void an_end_that_anyone_may_have_made_is_an_error(void **state)
{
	struct server s = { .paper = make_paper(&good_wish), .speak = speak_and_tear };
	struct outcome o;

	fetch(*state, &s, "127.0.0.1", ca_file, 20000, &o);
	expect_error(&o, "127.0.0.1", "connection closed without TLS's end of data");
	s.speak = speak_half_and_tear;
	fetch(*state, &s, "127.0.0.1", ca_file, 20000, &o);
	expect_error(&o, "127.0.0.1", "connection closed without TLS's end of data");
	s.speak = speak_half;
	fetch(*state, &s, "127.0.0.1", ca_file, 20000, &o);
	assert_string_equal(o.error, "connection closed after 4 of 9 bytes");
	s.speak = speak_garbage;
	fetch(*state, &s, "127.0.0.1", ca_file, 20000, &o);
	assert_int_equal(strncmp(o.error, "https to 127.0.0.1 failed: ", 27), 0);
	free_paper(&s.paper);
}

static void old_versions_are_not_spoken(void **state)
{
	struct server s = { .paper = make_paper(&good_wish), .speak = speak_well, .weak = true };
	struct outcome o;

	for (int version = TLS1_VERSION; version <= TLS1_1_VERSION; version++) {
		s.max_version = version;
		fetch(*state, &s, "127.0.0.1", ca_file, 20000, &o);
		expect_error(&o, "127.0.0.1", "the other side speaks no TLS 1.2 or later");
	}
	free_paper(&s.paper);
}

static void a_handshake_that_never_is_says_so(void **state)
{
	struct server s = { .paper = make_paper(&good_wish), .instead = plain_http };
	struct outcome o;

	fetch(*state, &s, "127.0.0.1", ca_file, 20000, &o);
	expect_error(&o, "127.0.0.1", "the other side does not speak TLS here");
	s.instead = close_at_once;
	fetch(*state, &s, "127.0.0.1", ca_file, 20000, &o);
	expect_error(&o, "127.0.0.1", "connection closed during the TLS handshake");
	s.instead = hang;
	fetch(*state, &s, "127.0.0.1", ca_file, 300, &o);
	assert_int_equal(o.failure, FAILURE_TIMEOUT);
	assert_non_null(strstr(o.error, "no TLS connection to 127.0.0.1:"));
	assert_non_null(strstr(o.error, " within "));
	free_paper(&s.paper);
}

static void a_renegotiation_is_not_taken_part_in(void **state)
{
	struct server s = { .paper = make_paper(&good_wish), .speak = speak_after_renegotiation, .max_version = TLS1_2_VERSION };
	struct outcome o;

	fetch(*state, &s, "127.0.0.1", ca_file, 20000, &o);
	expect_true(&o, 4);
	free_paper(&s.paper);
}

static void a_redirect_from_https_to_http_is_refused(void **state)
{
	struct server s = { .paper = make_paper(&good_wish), .speak = speak_of_http };
	struct outcome o;

	fetch(*state, &s, "127.0.0.1", ca_file, 20000, &o);
	assert_string_equal(o.error, "a redirect from https to http, which is not followed");
	free_paper(&s.paper);
}

/* A kept connection: two calls, one handshake; TLS's own messages, which come between them, do not end it. */

static void speak_twice(struct server *s, SSL *ssl, int fd)
{
	(void)s;
	(void)fd;
	say(ssl, HEAD "Content-Length: 3\r\n\r\none");
#ifdef SSL_KEY_UPDATE_NOT_REQUESTED
	(void)SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
	(void)SSL_do_handshake(ssl);
#endif
	if (hear(ssl))
		say(ssl, HEAD "Content-Length: 3\r\n\r\ntwo");
	(void)SSL_shutdown(ssl);
	hang(fd);
}

struct word { bool over; char text[200]; };

static void heard(void *arg, const struct call_answer *a)
{
	struct word *w = arg;

	w->over = true;
	snprintf(w->text, sizeof w->text, "%s", a->error ? a->error : a->body);
}

static void a_link_keeps_its_tls(void **state)
{
	struct bench *b = *state;
	struct server s = { .paper = make_paper(&good_wish), .speak = speak_twice };
	struct buf err = {0};
	struct tls *tls = tls_new(ca_file, &err);
	struct call_link *link = call_link_new(b->loop, &b->env);
	int port;

	s.listener = listen_here(b, &port);
	pid_t pid = fork();
	if (pid == 0)
		serve(&s);
	b->env.close(b->env.world, s.listener);
	for (int i = 0; i < 2; i++) {
		struct http_url url = { .tls = true, .host = "127.0.0.1", .port = port, .target = mem_dup("/") };
		struct call_spec spec = { .method = "GET", .url = &url, .deadline_us = b->env.mono_us(b->env.world) + 20000 * MS, .body_max = 100, .link = link, .tls = tls };
		struct word w = { false, "" };
		call_start(b->loop, &b->env, &spec, heard, &w);
		while (!w.over)
			loop_turn(b->loop, INT64_MAX);
		assert_string_equal(w.text, i == 0 ? "one" : "two");
		loop_turn(b->loop, b->env.mono_us(b->env.world) + 200 * MS);
		http_url_free(&url);
	}
	call_link_free(link);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	tls_free(tls);
	free_paper(&s.paper);
}

/* The real programs. */

/* Bytes of whichever side has some; false: one has ended. */
static bool pass_on(SSL *ssl, int client, int server)
{
	char piece[16384];
	fd_set set;
	ssize_t n;

	FD_ZERO(&set);
	FD_SET(client, &set);
	FD_SET(server, &set);
	if (!SSL_pending(ssl) && select((client > server ? client : server) + 1, &set, NULL, NULL, NULL) < 0)
		return false;
	if (SSL_pending(ssl) || FD_ISSET(client, &set)) {
		n = SSL_read(ssl, piece, sizeof piece);
		return n > 0 && write(server, piece, (size_t)n) == n;
	}
	n = read(server, piece, sizeof piece);
	return n > 0 && SSL_write(ssl, piece, (int)n) == n;
}

/* A reverse proxy: TLS towards the client, plain towards the server; one exchange a connection. */
UTIL_NORETURN static void relay(struct server *s, const char *address)
{
	SSL_CTX *ctx = server_ctx(s);
	int client;

	signal(SIGCHLD, SIG_IGN);
	(void)alarm(60);
	while ((client = accept(s->listener, NULL, NULL)) >= 0) {
		SSL *ssl;
		int server;
		if (fork() != 0) {
			close(client);
			continue;
		}
		(void)alarm(60);
		ssl = SSL_new(ctx);
		SSL_set_fd(ssl, client);
		server = SSL_accept(ssl) == 1 ? proc_dial(address) : -1;
		while (server >= 0 && pass_on(ssl, client, server))
			;
		_exit(0);
	}
	_exit(0);
}

static void commands_and_polls_go_over_https(struct scene *s)
{
	struct server secure = { .paper = make_paper(&good_wish), .speak = speak_well }, proxy = { .paper = make_paper(&good_wish) };
	char target[64], front[64], payload[128], flags[256], good[ID_TEXT], bad[ID_TEXT];
	struct proc stranger;

	server_start(s, "");
	secure.listener = proc_listen(s, target);
	proxy.listener = proc_listen(s, front);
	if (proc_fork(s, "secure", NULL).pid == 0)
		serve(&secure);
	if (proc_fork(s, "front", NULL).pid == 0)
		relay(&proxy, s->server);
	snprintf(payload, sizeof payload, "{\"url\":\"https://%s/\"}", target);
	create(s, good, "HTTP_GET_JSON", payload, false);
	snprintf(flags, sizeof flags, "--server-url=https://%s --agent-id=a --journal-path=a.db --tls-ca-file=%s", front, ca_file);
	program_start(s, "a", "agent", flags);
	await(s, good, "status", "COMPLETED");
	expect(s, body_has(s, "\"result\":{\"status\":200,\"body\":true,") && body_is(s, "agentId", "a"));
	create(s, bad, "HTTP_GET_JSON", "{\"url\":\"https://127.0.0.1:1/\"}", false);
	await(s, bad, "status", "FAILED");
	expect(s, body_has(s, "connection refused"));
	/* Without the CA nothing is sent, and the reason is said. */
	snprintf(flags, sizeof flags, "--server-url=https://%s --agent-id=b --journal-path=b.db", front);
	stranger = program_start(s, "b", "agent", flags);
	await_log(s, "b", "the certificate's issuer is unknown");
	expect(s, !proc_ended(&stranger));
	ask_server(s, "GET", "/api/agents", NULL);
	expect(s, !body_has(s, "\"agentId\":\"b\""));
}

#define with_bench(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_bench(a_good_certificate_is_accepted_by_name_and_by_address), with_bench(bad_certificates_are_refused_in_words),
		with_bench(a_name_must_be_the_right_one), with_bench(a_certificate_of_no_authority_issues_nothing), with_bench(a_file_without_certificates_is_refused),
		with_bench(the_environment_names_the_trusted), with_bench(answers_come_through_however_they_are_sent),
		with_bench(an_end_that_anyone_may_have_made_is_an_error), with_bench(old_versions_are_not_spoken), with_bench(a_handshake_that_never_is_says_so),
		with_bench(a_renegotiation_is_not_taken_part_in), with_bench(a_redirect_from_https_to_http_is_refused), with_bench(a_link_keeps_its_tls),
		PROC_CASE(commands_and_polls_go_over_https),
	};

	return cmocka_run_group_tests(tests, make_all, drop_all);
}

#endif
