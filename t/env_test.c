/* env: the real doors, on loopback and in forked children. */
#include "../env.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static volatile sig_atomic_t terms;

static void count_term(int signo)
{
	(void)signo;
	terms = terms + 1;
}

static int enter(void **state)
{
	*state = mem_new(sizeof(struct env));
	env_real(*state);
	return 0;
}

static int leave(void **state)
{
	struct buf b = { *state, 0, 0 };

	buf_free(&b);
	return 0;
}

/* sockets */

static int listen_somewhere(const struct env *env, struct sockaddr_storage *bound, socklen_t *len)
{
	struct sockaddr_in any = {0};

	any.sin_family = AF_INET;
	any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return env->listen(NULL, (struct sockaddr *)&any, sizeof any, bound, len);
}

static int wait_one(const struct env *env, int fd, bool write)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return env->wait(NULL, fd + 1, write ? NULL : &set, write ? &set : NULL, 5000000);
}

/* Two ends of one connection, and the listener. */
static void join(const struct env *env, int fds[3])
{
	struct sockaddr_storage bound, peer;
	socklen_t len, peer_len;

	fds[2] = listen_somewhere(env, &bound, &len);
	assert_true(fds[2] >= 0);
	fds[0] = env->connect(NULL, (struct sockaddr *)&bound, len);
	assert_true(fds[0] >= 0);
	assert_int_equal(wait_one(env, fds[2], false), 1);
	fds[1] = env->accept(NULL, fds[2], &peer, &peer_len);
	assert_true(fds[1] >= 0);
	assert_int_equal(wait_one(env, fds[0], true), 1);
	assert_int_equal(env->connected(NULL, fds[0]), 0);
}

static void every_socket_is_nonblocking_and_closed_on_exec(void **state)
{
	struct env *env = *state;
	int fds[3], on = 0;
	socklen_t len = sizeof on;
	char c;

	join(env, fds);
	for (int i = 0; i < 3; i++) {
		assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		assert_true(i == 2 || (getsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, &len) == 0 && on));
	}
	assert_int_equal(env->recv(NULL, fds[1], &c, 1), -1);
	assert_true(errno == EAGAIN || errno == EWOULDBLOCK);
	assert_int_equal(env->send(NULL, fds[0], "x", 1), 1);
	assert_int_equal(wait_one(env, fds[1], false), 1);
	assert_int_equal(env->recv(NULL, fds[1], &c, 1), 1);
	assert_int_equal(c, 'x');
	for (int i = 0; i < 3; i++)
		env->close(NULL, fds[i]);
}

static void writing_to_a_dead_peer_is_an_error_and_no_signal(void **state)
{
	struct env *env = *state;
	int fds[3];
	ssize_t sent = 0;

	join(env, fds);
	env->close(NULL, fds[1]);
	for (int i = 0; i < 100 && sent >= 0; i++) {
		assert_int_equal(wait_one(env, fds[0], true), 1);
		sent = env->send(NULL, fds[0], "x", 1);
	}
	assert_int_equal(sent, -1);
	assert_true(errno == EPIPE || errno == ECONNRESET);
	env->close(NULL, fds[0]);
	env->close(NULL, fds[2]);
}

static void a_refused_connect_is_told_when_it_ends(void **state)
{
	struct env *env = *state;
	struct sockaddr_storage bound;
	socklen_t len;
	int fd = listen_somewhere(env, &bound, &len);

	env->close(NULL, fd);
	fd = env->connect(NULL, (struct sockaddr *)&bound, len);
	if (fd < 0) {
		assert_int_equal(errno, ECONNREFUSED);
		return;
	}
	assert_int_equal(wait_one(env, fd, true), 1);
	assert_int_equal(env->connected(NULL, fd), ECONNREFUSED);
	env->close(NULL, fd);
}

static void a_port_can_be_taken_again_at_once(void **state)
{
	struct env *env = *state;
	struct sockaddr_storage bound, again;
	socklen_t len, again_len;
	char c;
	int fds[3], fd;

	join(env, fds);
	len = sizeof bound;
	assert_int_equal(getsockname(fds[2], (struct sockaddr *)&bound, &len), 0);
	/* The server's side closes first, so its end is what stays behind in TIME_WAIT. */
	env->close(NULL, fds[1]);
	env->close(NULL, fds[2]);
	assert_int_equal(wait_one(env, fds[0], false), 1);
	assert_int_equal(env->recv(NULL, fds[0], &c, 1), 0);
	env->close(NULL, fds[0]);
	fd = env->listen(NULL, (struct sockaddr *)&bound, len, &again, &again_len);
	assert_true(fd >= 0);
	env->close(NULL, fd);
}

static void a_number_too_high_for_select_is_emfile(void **state)
{
	struct env *env = *state;
	struct rlimit old, high;
	struct sockaddr_storage bound;
	socklen_t len;
	static int taken[FD_SETSIZE];
	int count = 0, fd, error;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	high = old;
	high.rlim_cur = FD_SETSIZE + 16;
	if (setrlimit(RLIMIT_NOFILE, &high) != 0)
		skip();
	while ((fd = fcntl(2, F_DUPFD, 3)) >= 0 && fd < FD_SETSIZE)
		taken[count++] = fd;
	close(fd);
	fd = listen_somewhere(env, &bound, &len);
	error = errno;
	while (count > 0)
		close(taken[--count]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(fd, -1);
	assert_int_equal(error, EMFILE);
	assert_int_equal(fcntl(FD_SETSIZE, F_GETFD), -1);
}

/* time, random, signals */

static void clocks_and_random_are_there(void **state)
{
	struct env *env = *state;
	int64_t last = env->mono_us(NULL), now;
	unsigned char a[600] = {0}, b[600] = {0};

	for (int i = 0; i < 1000; i++, last = now) {
		now = env->mono_us(NULL);
		assert_true(now >= last);
	}
	assert_true(env->wall_ms(NULL) > INT64_C(1700000000000));
	env->random(NULL, a, sizeof a);
	env->random(NULL, b, sizeof b);
	for (size_t i = 0; i + 16 <= sizeof a; i += 8)
		if (memcmp(a + i, b + i, 16) == 0)
			fail_msg("the same bytes at %d", (int)i);
	env->random(NULL, a, 0);
}

static void a_wait_ends_in_time(void **state)
{
	struct env *env = *state;
	int64_t begin = env->mono_us(NULL);

	assert_int_equal(env->wait(NULL, 0, NULL, NULL, 20000), 0);
	assert_in_range(env->mono_us(NULL) - begin, 20000, 5000000);
	assert_int_equal(env->wait(NULL, 0, NULL, NULL, 0), 0);
}

static void blocked_signals_are_let_in_by_wait_alone(void **state)
{
	struct env *env = *state;
	struct sigaction action, old;
	sigset_t set, before;

	memset(&action, 0, sizeof action);
	action.sa_handler = count_term;
	assert_int_equal(sigaction(SIGTERM, &action, &old), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &set, &before), 0);
	assert_int_equal(raise(SIGTERM), 0);
	assert_int_equal(terms, 0);
	assert_int_equal(env->wait(NULL, 0, NULL, NULL, 5000000), -1);
	assert_int_equal(errno, EINTR);
	assert_int_equal(terms, 1);
	assert_int_equal(raise(SIGTERM), 0);
	assert_int_equal(terms, 1);
	assert_int_equal(env->wait(NULL, 0, NULL, NULL, 5000000), -1);
	assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
	assert_int_equal(sigaction(SIGTERM, &old, NULL), 0);
}

/* log lines and death */

static void note_line(void *world, const char *line)
{
	buf_clear(world);
	buf_str(world, line);
}

static int64_t some_time(void *world)
{
	(void)world;
	return INT64_C(1795527497123);
}

static void an_event_is_one_line_of_text_or_json(void **state)
{
	struct buf line = {0};
	struct env env = { .world = &line, .wall_ms = some_time, .log = note_line };

	(void)state;
	env_log(&env, "lease ended", "a\nb \\ \"%s\" %d", "\xff", 7);
	assert_string_equal(line.data, "2026-11-24T13:38:17.123Z lease ended: a\\x0ab \\\\ \"\\xff\" 7");
	env_log(&env, "stop", "%s", "");
	assert_string_equal(line.data, "2026-11-24T13:38:17.123Z stop: ");
	env.log_json = true;
	env_log(&env, "lease ended", "a\nb \\ \"%s\" %d\x7f", "\xff", 7);
	assert_string_equal(line.data, "{\"at\":\"2026-11-24T13:38:17.123Z\",\"event\":\"lease ended\",\"text\":\"a\\u000ab \\\\ \\\"\xef\xbf\xbd\\\" 7\\u007f\"}");
	buf_free(&line);
}

/* What a child writes to stderr, and its wait status. */
static int child_says(void (*act)(struct env *), struct env *env, struct buf *said)
{
	int pipes[2], status = 0;
	ssize_t got;

	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (dup2(pipes[1], 2) != 2)
			_exit(99);
		act(env);
		_exit(0);
	}
	close(pipes[1]);
	while ((got = read(pipes[0], buf_room(said, 4096), 4096)) > 0)
		said->len += (size_t)got;
	buf_room(said, 0);
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void act_fatal(struct env *env)
{
	env->log(NULL, "first");
	env_fatal(env, "no more of %s", "this\n");
}

static void fatal_says_why_on_one_line_and_exits_1(void **state)
{
	struct buf said = {0};
	int status = child_says(act_fatal, *state, &said);

	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_memory_equal(said.data, "first\n20", 8);
	assert_string_equal(said.data + 6 + 24, " fatal: no more of this\\x0a\n");
	buf_free(&said);
}

/* A process that was started with 0 closed and 7 and 900 open. */
static void act_inherited(struct env *env)
{
	bool right;

	(void)env;
	close(0);
	dup2(1, 7);
	dup2(1, 900);
	env_close_inherited();
	right = fcntl(0, F_GETFD) >= 0 && fcntl(1, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0;
	for (int fd = 3; fd < 1000; fd++)
		right = right && fcntl(fd, F_GETFD) < 0;
	_exit(right && write(0, "x", 1) == 1 ? 42 : 1);
}

static void inherited_descriptors_are_closed_and_the_first_three_open(void **state)
{
	struct buf said = {0};
	int status = child_says(act_inherited, *state, &said);

	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	buf_free(&said);
}

static void note_point(void *world, enum env_point point, const char *id, int64_t attempt)
{
	buf_fmt(world, "%d %s %d", (int)point, id, (int)attempt);
}

static void points_are_told_to_whoever_asks(void **state)
{
	struct buf told = {0};
	struct env env = { .world = &told };

	(void)state;
	env_point(&env, POINT_EFFECT, "x", 2);
	assert_int_equal(told.len, 0);
	env.point = note_point;
	env_point(&env, POINT_EFFECT, "x", 2);
	assert_string_equal(told.data, "2 x 2");
	buf_free(&told);
}

#define case_of(test) cmocka_unit_test_setup_teardown(test, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		case_of(every_socket_is_nonblocking_and_closed_on_exec),
		case_of(writing_to_a_dead_peer_is_an_error_and_no_signal),
		case_of(a_refused_connect_is_told_when_it_ends),
		case_of(a_port_can_be_taken_again_at_once),
		case_of(a_number_too_high_for_select_is_emfile),
		case_of(clocks_and_random_are_there),
		case_of(a_wait_ends_in_time),
		case_of(blocked_signals_are_let_in_by_wait_alone),
		case_of(an_event_is_one_line_of_text_or_json),
		case_of(fatal_says_why_on_one_line_and_exits_1),
		case_of(inherited_descriptors_are_closed_and_the_first_three_open),
		case_of(points_are_told_to_whoever_asks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
