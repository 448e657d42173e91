/* lookup: children that answer, hang, crash and lie, with a getaddrinfo of the test's own: this file includes lookup.c and is linked without it.
 * Real processes and sockets; also what call does with several addresses of one name. */
#include <netdb.h>
#include <sys/socket.h>
#include <sys/types.h>
static int fake_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out);
#define getaddrinfo fake_getaddrinfo
#include "../lookup.c"
#undef getaddrinfo
#include "../call.h"
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/wait.h>
#include <cmocka.h>

#define MS 1000

/* in the child */

static struct addrinfo *address(const char *text, struct addrinfo *next)
{
	struct addrinfo *a = calloc(1, sizeof *a);
	struct lookup_address *l = calloc(1, sizeof *l);

	if (!a || !l || !lookup_numeric(text, 7, l))
		_exit(9);
	a->ai_family = l->addr.ss_family;
	a->ai_addr = (struct sockaddr *)&l->addr;
	a->ai_addrlen = l->len;
	a->ai_next = next;
	return a;
}

/* 127.0.0.1 when only 0, 1 and 2 are open, else 127.0.0.9. */
static struct addrinfo *count_descriptors(void)
{
	int open = 0;

	for (int fd = 0; fd < 256; fd++)
		open += fcntl(fd, F_GETFD) >= 0;
	return address(open == 3 ? "127.0.0.1" : "127.0.0.9", NULL);
}

/* 127.0.0.1 when nothing is blocked, SIGCHLD is plain and an alarm is set. */
static struct addrinfo *look_at_signals(void)
{
	struct sigaction a;
	sigset_t set;
	bool good = sigprocmask(SIG_BLOCK, NULL, &set) == 0 && !sigismember(&set, SIGTERM) && !sigismember(&set, SIGCHLD) && !sigismember(&set, SIGALRM);

	good = good && sigaction(SIGCHLD, NULL, &a) == 0 && a.sa_handler == SIG_DFL && sigaction(SIGTERM, NULL, &a) == 0 && a.sa_handler == SIG_IGN;
	return address(good && alarm(0) > 0 ? "127.0.0.1" : "127.0.0.9", NULL);
}

static struct addrinfo *list_for(const char *host)
{
	struct addrinfo *list = NULL;

	if (strcmp(host, "hang") == 0)
		for (;;)
			pause();
	if (strcmp(host, "crash") == 0)
		(void)kill(getpid(), SIGKILL);
	if (strcmp(host, "half") == 0) {
		(void)!write(1, "0123456789", 10);
		_exit(0);
	}
	if (strcmp(host, "descriptors") == 0)
		return count_descriptors();
	if (strcmp(host, "signals") == 0)
		return look_at_signals();
	for (int i = 0; strcmp(host, "many") == 0 && i < 40; i++)
		list = address("::1", list);
	if (strcmp(host, "two") == 0)
		return address("127.0.0.2", address("127.0.0.1", NULL));
	if (strcmp(host, "silent") == 0)
		return address("127.0.0.3", address("127.0.0.1", NULL));
	if (strcmp(host, "one") == 0)
		return address("127.0.0.1", NULL);
	return list;
}

/* A child that lies: the count and a length are not true. */
static void lie(void)
{
	struct message m;

	memset(&m, 0xff, sizeof m);
	m.failed = 0;
	m.count = INT_MAX;
	(void)!write(1, &m, sizeof m);
	_exit(0);
}

static int fake_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	if (service || hints->ai_socktype != SOCK_STREAM)
		_exit(9);
	if (strcmp(host, "lie") == 0)
		lie();
	errno = EIO;
	if (strcmp(host, "broken") == 0)
		return EAI_SYSTEM;
	*out = list_for(host);
	return *out || strcmp(host, "empty") == 0 ? 0 : EAI_NONAME;
}

/* in the parent */

struct bench { struct env env; struct loop *loop; };
struct answer { int calls, count; char error[300], first[80]; };

static int set_up(void **state)
{
	struct bench *b = mem_new(sizeof *b);

	env_real(&b->env);
	b->loop = loop_new(&b->env);
	loop_children(b->loop);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	while (children > 0)
		loop_turn(b->loop, INT64_MAX);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	loop_free(b->loop);
	free(b);
	return 0;
}

static int64_t in_ms(struct bench *b, int64_t ms)
{
	return b->env.mono_us(b->env.world) + ms * MS;
}

static void told(void *arg, const struct lookup_answer *a)
{
	struct answer *r = arg;
	struct buf text = {0};

	r->calls++;
	r->count = a->count;
	snprintf(r->error, sizeof r->error, "%s", a->error ? a->error : "");
	if (!a->error) {
		lookup_text(&a->addresses[0], &text);
		snprintf(r->first, sizeof r->first, "%s", text.data);
	}
	buf_free(&text);
}

static void ask_for(struct bench *b, const char *host, int64_t ms, struct answer *r)
{
	*r = (struct answer){ 0, 0, "", "" };
	lookup_start(b->loop, host, 80, in_ms(b, ms), told, r);
	assert_int_equal(r->calls, 0);
	while (r->calls == 0)
		loop_turn(b->loop, INT64_MAX);
	assert_int_equal(r->calls, 1);
}

static void tells_what_came_of_it(void **state)
{
	static const struct { const char *host, *error, *first; int count; } cases[] = {
		{ "one", "", "127.0.0.1:80", 1 }, { "two", "", "127.0.0.2:80", 2 }, { "many", "", "[::1]:80", LOOKUP_MAX },
		{ "descriptors", "", "127.0.0.1:80", 1 }, { "signals", "", "127.0.0.1:80", 1 },
		{ "crash", "name lookup of crash failed: the process that asked ended without an answer", "", 0 },
		{ "half", "name lookup of half failed: the process that asked ended without an answer", "", 0 },
		{ "lie", "name lookup of lie failed: the name has no address", "", 0 },
		{ "empty", "name lookup of empty failed: the name has no address", "", 0 },
	};
	struct answer r;
	char broken[80];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ask_for(*state, cases[i].host, 10000, &r);
		assert_string_equal(r.error, cases[i].error);
		assert_string_equal(r.first, cases[i].first);
		assert_int_equal(r.count, cases[i].count);
	}
	snprintf(broken, sizeof broken, "name lookup of broken failed: %s", strerror(EIO));
	ask_for(*state, "broken", 10000, &r);
	assert_string_equal(r.error, broken);
	ask_for(*state, "unknown", 10000, &r);
	assert_int_equal(strncmp(r.error, "name lookup of unknown failed: ", 31), 0);
}

static void a_hanging_child_is_killed_at_the_deadline(void **state)
{
	struct bench *b = *state;
	struct answer r;
	int64_t before_us = in_ms(b, 0);

	ask_for(b, "hang", 100, &r);
	assert_string_equal(r.error, "name lookup of hang failed: no answer in time");
	assert_in_range(in_ms(b, 0) - before_us, 100 * MS, 5000 * MS);
}

static void a_cancelled_lookup_ends_its_child_and_is_silent(void **state)
{
	struct bench *b = *state;
	struct answer r = { 0, 0, "", "" };
	struct lookup *l = lookup_start(b->loop, "hang", 80, in_ms(b, 60000), told, &r);

	while (children == 0)
		loop_turn(b->loop, INT64_MAX);
	lookup_cancel(l);
	while (children > 0)
		loop_turn(b->loop, INT64_MAX);
	assert_int_equal(r.calls, 0);
}

static void runs_thirty_two_at_a_time_and_the_rest_wait(void **state)
{
	struct bench *b = *state;
	struct lookup *l[CHILDREN_MAX];
	struct answer r = { 0, 0, "", "" }, waits = { 0, 0, "", "" };

	for (int i = 0; i < CHILDREN_MAX; i++)
		l[i] = lookup_start(b->loop, "hang", 80, in_ms(b, 60000), told, &r);
	lookup_start(b->loop, "one", 80, in_ms(b, 60000), told, &waits);
	for (int64_t until_us = in_ms(b, 100); in_ms(b, 0) < until_us; )
		loop_turn(b->loop, until_us);
	assert_int_equal(children, CHILDREN_MAX);
	assert_int_equal(waits.calls, 0);
	lookup_cancel(l[0]);
	while (waits.calls == 0)
		loop_turn(b->loop, INT64_MAX);
	assert_string_equal(waits.first, "127.0.0.1:80");
	for (int i = 1; i < CHILDREN_MAX; i++)
		lookup_cancel(l[i]);
	assert_int_equal(r.calls, 0);
}

static void only_strict_addresses_are_taken_as_they_stand(void **state)
{
	static const char *const names[] = { "127.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "127.0.0.01", "127.0.0.1.", " 127.0.0.1",
		"127.0.0.1 ", "127.0.0.256", "[::1]", "::g", "1::2::3", "fe80::1%lo", "" };
	struct lookup_address a;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		assert_false(lookup_numeric(names[i], 80, &a));
	assert_true(lookup_numeric("127.0.0.1", 80, &a) && a.len == sizeof(struct sockaddr_in));
	assert_true(lookup_numeric("::ffff:1.2.3.4", 80, &a) && a.len == sizeof(struct sockaddr_in6));
}

/* call with names */

static int silent_end = -1;                                    /* the other end of a connection that never comes about */

/* 127.0.0.3 never answers: a socket whose way out is full stands for it. */
static int connect_door(void *world, const struct sockaddr *a, socklen_t len)
{
	struct sockaddr_in in;
	struct env real;
	char full[4096] = "";
	int ends[2];

	memcpy(&in, a, sizeof in);
	env_real(&real);
	if (ntohl(in.sin_addr.s_addr) != 0x7f000003)
		return real.connect(world, a, len);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0)
		return -1;
	while (send(ends[0], full, sizeof full, 0) > 0)
		;
	silent_end = ends[1];
	return ends[0];
}

struct fetched { bool over, timeout; int status; char error[300]; };

static void fetched(void *arg, const struct call_answer *a)
{
	struct fetched *f = arg;

	f->over = true;
	f->timeout = a->timeout;
	f->status = a->status;
	snprintf(f->error, sizeof f->error, "%s", a->error ? a->error : "");
}

static int listen_on_loopback(struct bench *b, int *port)
{
	struct lookup_address a;
	struct sockaddr_storage bound;
	struct sockaddr_in in;
	socklen_t len;
	int fd;

	assert_true(lookup_numeric("127.0.0.1", 0, &a));
	fd = b->env.listen(b->env.world, (struct sockaddr *)&a.addr, a.len, &bound, &len);
	assert_true(fd >= 0);
	memcpy(&in, &bound, sizeof in);
	*port = ntohs(in.sin_port);
	return fd;
}

/* A call to this name at a port where 127.0.0.1 alone is listened on; the server says what it has to say as soon as it is reached. */
static void fetch(struct bench *b, const char *host, const char *deny, int64_t ms, struct fetched *f)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	struct sockaddr_storage peer;
	socklen_t len;
	int port, listener = listen_on_loopback(b, &port), fd = -1;
	struct http_url url = { .target = mem_dup("/"), .port = port };
	const char *why;
	struct call_guard *guard = call_guard_new(deny, NULL, &why);
	struct call_spec spec = { .method = "GET", .url = &url, .deadline_us = in_ms(b, ms), .guard = guard };

	snprintf(url.host, sizeof url.host, "%s", host);
	b->env.connect = connect_door;
	*f = (struct fetched){ false, false, 0, "" };
	call_start(b->loop, &b->env, &spec, fetched, f);
	while (!f->over) {
		loop_turn(b->loop, in_ms(b, 5));
		if (fd < 0 && (fd = b->env.accept(b->env.world, listener, &peer, &len)) >= 0)
			assert_int_equal(send(fd, text, sizeof text - 1, 0), sizeof text - 1);
	}
	if (fd >= 0)
		b->env.close(b->env.world, fd);
	b->env.close(b->env.world, listener);
	http_url_free(&url);
	call_guard_free(guard);
}

static void another_address_is_tried_when_the_first_refuses(void **state)
{
	struct fetched f;

	fetch(*state, "two", NULL, 10000, &f);
	assert_string_equal(f.error, "");
	assert_int_equal(f.status, 200);
}

static void a_silent_address_gets_its_share_of_the_time_only(void **state)
{
	struct fetched f;

	fetch(*state, "silent", NULL, 1000, &f);
	assert_string_equal(f.error, "");
	assert_int_equal(f.status, 200);
	assert_int_equal(close(silent_end), 0);
}

static void every_address_of_a_name_is_guarded(void **state)
{
	struct fetched f;

	fetch(*state, "two", "127.0.0.2", 10000, &f);
	assert_int_equal(f.status, 200);
	fetch(*state, "one", "127.0.0.0/8", 10000, &f);
	assert_non_null(strstr(f.error, "is an address that this agent may not connect to"));
	fetch(*state, "two", "127.0.0.1", 10000, &f);
	assert_int_equal(strncmp(f.error, "connection refused by 127.0.0.2", 31), 0);
}

static void a_lookup_that_hangs_ends_with_the_call(void **state)
{
	struct fetched f;

	fetch(*state, "hang", NULL, 100, &f);
	assert_true(f.timeout);
	assert_string_equal(f.error, "name lookup of hang took longer than 100 ms");
}

#define with_bench(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_bench(tells_what_came_of_it), with_bench(a_hanging_child_is_killed_at_the_deadline),
		with_bench(a_cancelled_lookup_ends_its_child_and_is_silent), with_bench(runs_thirty_two_at_a_time_and_the_rest_wait),
		cmocka_unit_test(only_strict_addresses_are_taken_as_they_stand), with_bench(another_address_is_tried_when_the_first_refuses),
		with_bench(a_silent_address_gets_its_share_of_the_time_only), with_bench(every_address_of_a_name_is_guarded),
		with_bench(a_lookup_that_hangs_ends_with_the_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
