/* loop: order of a turn, timers, deaf time, on a clock and sockets in memory; signals and children on the real ones. */
#include "fakeworld.h"
#include "../loop.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define MS 1000
#define LATE INT64_MAX

struct bench {
	struct fakeworld *world;
	struct env env;
	struct loop *loop;
	struct buf told;                                           /* one letter a callback */
	int listener, port;
};

/* A callback with a letter, and what it does besides. */
struct act {
	struct bench *b;
	char letter;
	int fd;                                                    /* read from when not 0 */
	int forgets;                                               /* forgotten and closed when not 0 */
	bool opens;
	struct act *hushes;                                        /* its descriptor is watched for nothing from now on */
	struct loop_timer *sets, *stops;
	int64_t set_us, works_us;
	struct act *then;
	struct loop_timer timer;
};

static loop_ready on_ready;

static void act(struct act *a)
{
	struct bench *b = a->b;
	char byte;

	buf_char(&b->told, a->letter);
	if (a->fd)
		(void)b->env.recv(b->world, a->fd, &byte, 1);
	if (a->forgets) {
		loop_forget(b->loop, a->forgets);
		b->env.close(b->world, a->forgets);
	}
	if (a->opens) {
		int fd = fakeworld_connect(b->world, b->port);
		assert_int_equal(fd, a->forgets);
		loop_watch(b->loop, fd, LOOP_WRITE | LOOP_READ, on_ready, a->then);
	}
	if (a->hushes)
		loop_watch(b->loop, a->hushes->fd, 0, on_ready, a->hushes);
	if (a->stops)
		loop_timer_off(b->loop, a->stops);
	fakeworld_pass(b->world, a->works_us);
}

static void on_fire(void *arg)
{
	struct act *a = arg;

	act(a);
	if (a->sets)
		loop_timer_set(a->b->loop, a->sets, a->set_us, on_fire, a->then);
}

static void on_ready(void *arg, unsigned what)
{
	(void)what;
	act(arg);
}

static int setup(void **state)
{
	struct bench *b = mem_new(sizeof *b);

	b->world = fakeworld_new(1);
	fakeworld_env(b->world, &b->env);
	b->loop = loop_new(&b->env);
	b->listener = fakeworld_listen(b->world, 0, &b->port);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	loop_free(b->loop);
	fakeworld_free(b->world);
	buf_free(&b->told);
	free(b);
	return 0;
}

static void told(struct bench *b, const char *letters)
{
	assert_string_equal(b->told.data ? b->told.data : "", letters);
	buf_clear(&b->told);
}

static void timer(struct act *a, int64_t in_us)
{
	loop_timer_set(a->b->loop, &a->timer, fakeworld_now_us(a->b->world) + in_us, on_fire, a);
}

/* A connected pair; the near end has a byte to read. */
static int pair(struct bench *b, int *far)
{
	struct sockaddr_storage a;
	socklen_t len;
	int fd;

	*far = fakeworld_connect(b->world, b->port);
	fd = b->env.accept(b->world, b->listener, &a, &len);
	assert_true(fd >= 0 && b->env.send(b->world, *far, "x", 1) == 1);
	return fd;
}

static void turn(struct bench *b)
{
	loop_turn(b->loop, INT64_MAX);
}

static void input_goes_before_a_timer_that_is_due(void **state)
{
	struct bench *b = *state;
	struct act t = { .b = b, .letter = 't' }, in = { .b = b, .letter = 'i' }, hook = { .b = b, .letter = 'h' };
	int far;

	in.fd = pair(b, &far);
	timer(&t, 5 * MS);
	loop_after(b->loop, on_fire, &hook);
	loop_watch(b->loop, in.fd, LOOP_READ, on_ready, &in);
	fakeworld_pass(b->world, 5 * MS);
	turn(b);
	told(b, "ith");
	turn(b);
	told(b, "h");
}

static void an_interrupted_wait_does_not_let_a_timer_beat_the_input(void **state)
{
	struct bench *b = *state;
	struct act t = { .b = b, .letter = 't' }, in = { .b = b, .letter = 'i' };
	int far;

	in.fd = pair(b, &far);
	timer(&t, 0);
	loop_watch(b->loop, in.fd, LOOP_READ, on_ready, &in);
	fakeworld_interrupt(b->world, 2);
	turn(b);
	told(b, "it");
	assert_int_equal(fakeworld_timeout(b->world), 0);
}

static void hooks_run_last_and_in_the_order_given(void **state)
{
	struct bench *b = *state;
	struct act h[3] = { { .b = b, .letter = '1' }, { .b = b, .letter = '2' }, { .b = b, .letter = '3' } }, t = { .b = b, .letter = 't' };

	for (int i = 0; i < 3; i++)
		loop_after(b->loop, on_fire, &h[i]);
	timer(&t, 0);
	turn(b);
	told(b, "t123");
}

static void timers_fire_in_order_of_due_then_of_setting(void **state)
{
	struct bench *b = *state;
	struct act t[5];
	static const int64_t due[] = { 30, 10, 20, 10, 40 };

	for (int i = 0; i < 5; i++) {
		t[i] = (struct act){ .b = b, .letter = (char)('a' + i) };
		timer(&t[i], due[i]);
	}
	fakeworld_pass(b->world, 30);
	turn(b);
	told(b, "bdca");
	fakeworld_pass(b->world, 9);
	turn(b);
	told(b, "");
	fakeworld_pass(b->world, 1);
	turn(b);
	told(b, "e");
	assert_true(loop_due_us(b->loop) == INT64_MAX);
}

static void equal_timers_fire_as_they_were_set(void **state)
{
	struct bench *b = *state;
	struct act t[9];

	for (int i = 0; i < 9; i++) {
		t[i] = (struct act){ .b = b, .letter = (char)('1' + i) };
		timer(&t[i], 0);
	}
	timer(&t[0], 0);
	turn(b);
	told(b, "234567891");
}

/* Input that comes meanwhile is handled before the rest of them. */
static void many_timers_that_are_due_share_their_turns_with_input(void **state)
{
	enum { MANY = 3000 };
	struct bench *b = *state;
	struct act *t = mem_new(MANY * sizeof *t), input = { .b = b, .letter = '!' };
	size_t before;
	int far;

	for (int i = 0; i < MANY; i++) {
		t[i] = (struct act){ .b = b, .letter = (char)('a' + i % 26) };
		timer(&t[i], 0);
	}
	turn(b);
	before = b->told.len;
	assert_true(before > 0 && before < MANY);
	input.fd = pair(b, &far);
	loop_watch(b->loop, input.fd, LOOP_READ, on_ready, &input);
	for (int turns = 0; b->told.len < MANY + 1; turns++) {
		assert_true(turns < MANY);
		turn(b);
		assert_int_equal(fakeworld_timeout(b->world), 0);
	}
	assert_int_equal(b->told.data[before], '!');
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(b->told.data[i + (i >= before)], 'a' + (int)(i % 26));
	free(t);
}

static void a_timer_set_while_timers_fire_is_the_next_turns(void **state)
{
	struct bench *b = *state;
	struct act fresh = { .b = b, .letter = 'f' }, late = { .b = b, .letter = 'l' };
	struct act first = { .b = b, .letter = '1', .sets = &fresh.timer, .set_us = 0, .then = &fresh };

	timer(&first, 0);
	timer(&late, 10);
	fakeworld_pass(b->world, 10);
	turn(b);
	told(b, "1l");
	turn(b);
	told(b, "f");
	assert_int_equal(fakeworld_timeout(b->world), 0);
}

static void a_timer_may_stop_another_that_is_due(void **state)
{
	struct bench *b = *state;
	struct act second = { .b = b, .letter = '2' }, first = { .b = b, .letter = '1', .stops = &second.timer };

	timer(&first, 0);
	timer(&second, 0);
	turn(b);
	told(b, "1");
	assert_true(second.timer.place == 0 && first.timer.place == 0);
}

/* Against a plain array: after any mixture of set, move and off the next one due is the least. */
static void the_heap_agrees_with_a_plain_list(void **state)
{
	struct bench *b = *state;
	struct act t[64];
	int64_t start = fakeworld_now_us(b->world);
	unsigned char dice[2];

	for (int i = 0; i < 64; i++)
		t[i] = (struct act){ .b = b, .letter = 'x' };
	for (int step = 0; step < 4000; step++) {
		int64_t least = INT64_MAX;
		b->env.random(b->world, dice, sizeof dice);
		struct act *a = &t[dice[0] % 64];
		if (dice[0] >= 192)
			loop_timer_off(b->loop, &a->timer);
		else
			loop_timer_set(b->loop, &a->timer, start + 1000 + dice[1], on_fire, a);
		for (int i = 0; i < 64; i++)
			if (t[i].timer.place && t[i].timer.due_us < least)
				least = t[i].timer.due_us;
		assert_true(loop_due_us(b->loop) == least);
	}
	size_t on = 0;
	for (int i = 0; i < 64; i++)
		on += t[i].timer.place ? 1 : 0;
	fakeworld_pass(b->world, 2000);
	turn(b);
	assert_int_equal(b->told.len, on);
}

static void a_watch_forgotten_in_the_turn_is_silent(void **state)
{
	struct bench *b = *state;
	struct act one = { .b = b, .letter = '1' }, two = { .b = b, .letter = '2' };
	int far;

	one.fd = pair(b, &far);
	one.forgets = two.fd = pair(b, &far);
	assert_true(two.fd > one.fd);
	loop_watch(b->loop, one.fd, LOOP_READ, on_ready, &one);
	loop_watch(b->loop, two.fd, LOOP_READ, on_ready, &two);
	turn(b);
	told(b, "1");
}

static void a_descriptor_opened_again_gets_no_old_readiness(void **state)
{
	struct bench *b = *state;
	struct act fresh = { .b = b, .letter = 'f' }, two = { .b = b, .letter = '2' }, one = { .b = b, .letter = '1', .opens = true, .then = &fresh };
	int far;

	one.fd = pair(b, &far);
	one.forgets = two.fd = pair(b, &far);
	loop_watch(b->loop, one.fd, LOOP_READ, on_ready, &one);
	loop_watch(b->loop, two.fd, LOOP_READ | LOOP_WRITE, on_ready, &two);
	turn(b);
	told(b, "1");
	one.forgets = 0;
	one.opens = false;
	turn(b);
	told(b, "f");
}

static void a_watch_for_nothing_stays_silent(void **state)
{
	struct bench *b = *state;
	struct act in = { .b = b, .letter = 'i' };
	int far;

	in.fd = pair(b, &far);
	loop_watch(b->loop, in.fd, 0, on_ready, &in);
	turn(b);
	told(b, "");
	loop_watch(b->loop, in.fd, LOOP_READ, on_ready, &in);
	turn(b);
	told(b, "i");
}

static void a_watch_that_wants_less_since_the_wait_gets_less(void **state)
{
	struct bench *b = *state;
	struct act two = { .b = b, .letter = '2' }, one = { .b = b, .letter = '1', .hushes = &two };
	int far;

	one.fd = pair(b, &far);
	two.fd = pair(b, &far);
	loop_watch(b->loop, one.fd, LOOP_READ, on_ready, &one);
	loop_watch(b->loop, two.fd, LOOP_READ, on_ready, &two);
	turn(b);
	told(b, "1");
}

static void waits_for_the_earliest_of_timer_bound_and_work(void **state)
{
	struct bench *b = *state;
	struct act t = { .b = b, .letter = 't' };

	turn(b);
	assert_int_equal(fakeworld_timeout(b->world), -1);
	loop_turn(b->loop, fakeworld_now_us(b->world) + 700);
	assert_int_equal(fakeworld_timeout(b->world), 700);
	timer(&t, 300);
	loop_turn(b->loop, fakeworld_now_us(b->world) + 700);
	assert_int_equal(fakeworld_timeout(b->world), 300);
	loop_again(b->loop);
	assert_true(loop_due_us(b->loop) == loop_now_us(b->loop));
	turn(b);
	assert_int_equal(fakeworld_timeout(b->world), 0);
	turn(b);
	assert_int_equal(fakeworld_timeout(b->world), 300);
}

/* Two turns: a timer planned ahead, work in the first, then time before or in the second's wait. */
struct deaf_case { const char *what; int64_t planned_us, work_us, until_us, before_us, in_wait_us; bool again; int64_t deaf_us; };
static const struct deaf_case deaf_cases[] = {
	{ "woken in time", 1000, 0, LATE, 0, 1000, false, 0 },
	{ "woken early, by input", 1000, 0, LATE, 0, 400, false, 0 },
	{ "stopped while waiting", 1000, 0, LATE, 0, 61000, false, 60000 },
	{ "its turn was given late", 1000, 0, LATE, 61000, 0, false, 60000 },
	{ "late, though the caller's bound is now", 1000, 0, 0, 61000, 0, false, 60000 },
	{ "over the caller's bound", 50000, 0, 2000, 0, 9000, false, 7000 },
	{ "no plan at all", LATE, 0, LATE, 0, 999999, false, 0 },
	{ "a little work", 1000, 100000, LATE, 0, 0, false, 0 },
	{ "much work", 1000, 100001, LATE, 0, 0, false, 100001 },
	{ "much work, then late: each once", 1000, 200000, LATE, 0, 500, false, 200500 },
	{ "work left: the plan was now", 50000, 0, LATE, 0, 300, true, 300 },
};

static void time_without_ears_is_counted(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof deaf_cases / sizeof deaf_cases[0]; i++) {
		const struct deaf_case *c = &deaf_cases[i];
		struct bench *b;
		setup((void **)&b);
		struct act t = { .b = b, .letter = 't' }, work = { .b = b, .letter = 'w', .works_us = c->work_us };
		int64_t start = fakeworld_now_us(b->world);

		timer(&work, 0);
		if (c->planned_us != LATE)
			timer(&t, c->planned_us);
		turn(b);
		if (c->again) {
			struct act again = { .b = b, .letter = 'a', .sets = &work.timer };
			again.then = &work;
			timer(&again, 0);
			turn(b);                                           /* a turn whose plan is "now", since it set a timer for now */
		}
		fakeworld_pass(b->world, c->before_us);
		fakeworld_late(b->world, c->in_wait_us);
		loop_turn(b->loop, c->until_us == LATE ? LATE : c->until_us == 0 ? fakeworld_now_us(b->world) : start + c->until_us);
		if (loop_deaf_us(b->loop) != c->deaf_us)
			fail_msg("%s: deaf for %lld us", c->what, (long long)loop_deaf_us(b->loop));
		teardown((void **)&b);
	}
}

static void the_lease_clock_never_goes_back(void **state)
{
	struct bench *b = *state;
	struct act t = { .b = b, .letter = 't' };
	int64_t last = loop_now_us(b->loop) - loop_deaf_us(b->loop);
	unsigned char dice[4];

	for (int step = 0; step < 2000; step++) {
		b->env.random(b->world, dice, sizeof dice);
		t.works_us = dice[0] > 200 ? dice[1] * 2000 : dice[1];
		timer(&t, dice[2] * 500);
		fakeworld_pass(b->world, dice[3] * 300);
		fakeworld_late(b->world, dice[0] * 700);
		loop_turn(b->loop, dice[1] & 1 ? INT64_MAX : fakeworld_now_us(b->world));
		int64_t lease = loop_now_us(b->loop) - loop_deaf_us(b->loop);
		assert_true(lease >= last);
		last = lease;
	}
}

/* the real ones */

static int64_t real_mono(void *world)
{
	(void)world;
	return 0;
}

static int real_wait(void *world, int nfds, fd_set *rd, fd_set *wr, int64_t timeout_us)
{
	struct timespec t = { (time_t)(timeout_us / 1000000), (long)(timeout_us % 1000000) * 1000 };
	sigset_t none;

	(void)world;
	sigemptyset(&none);
	return pselect(nfds, rd, wr, NULL, timeout_us < 0 ? NULL : &t, &none);
}

struct ended { int calls, status; struct loop *loop; pid_t second; };

static void on_signal(void *arg)
{
	++*(int *)arg;
}

static void on_due(void *arg)
{
	*(int *)arg *= 10;
}

static void on_always(void *arg, unsigned what)
{
	(void)arg;
	(void)what;
}

static void on_exited(void *arg, int status)
{
	struct ended *e = arg;

	e->calls++;
	e->status = status;
}

static pid_t child(int status)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(status);
	assert_true(pid > 0);
	return pid;
}

/* One loop for both: signals are the process's. */
static void signals_and_children_come_only_through_the_wait(void **state)
{
	struct env env = { .mono_us = real_mono, .wait = real_wait };
	struct loop *loop = loop_new(&env);
	struct ended a = {0}, b = {0};
	struct loop_timer timer_due = {0};
	int signals = 0;

	(void)state;
	loop_signal(loop, SIGUSR1, on_signal, &signals);
	loop_children(loop);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(signals, 0);
	loop_timer_set(loop, &timer_due, 0, on_due, &signals);
	loop_turn(loop, INT64_MAX);                                /* the signal goes before the timer */
	assert_int_equal(signals, 10);

	int ends[2];
	assert_int_equal(pipe(ends), 0);
	loop_watch(loop, ends[1], LOOP_WRITE, on_always, NULL);    /* ready at every wait, and still no hindrance */
	signals = 0;
	assert_int_equal(raise(SIGUSR1), 0);
	loop_turn(loop, INT64_MAX);
	assert_int_equal(signals, 1);
	loop_forget(loop, ends[1]);
	assert_true(close(ends[0]) == 0 && close(ends[1]) == 0);
	loop_turn(loop, 0);
	assert_int_equal(signals, 1);

	loop_child(loop, child(7), on_exited, &a);
	loop_child(loop, child(8), on_exited, &b);
	pid_t forgotten = child(9);
	loop_child(loop, forgotten, on_exited, &b);
	loop_child(loop, forgotten, NULL, NULL);
	while (a.calls + b.calls < 2 || kill(forgotten, 0) == 0)   /* a zombie still counts: only reaping ends it */
		loop_turn(loop, INT64_MAX);
	assert_true(a.calls == 1 && b.calls == 1 && WEXITSTATUS(a.status) == 7 && WEXITSTATUS(b.status) == 8);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(input_goes_before_a_timer_that_is_due, setup, teardown),
		cmocka_unit_test_setup_teardown(an_interrupted_wait_does_not_let_a_timer_beat_the_input, setup, teardown),
		cmocka_unit_test_setup_teardown(hooks_run_last_and_in_the_order_given, setup, teardown),
		cmocka_unit_test_setup_teardown(timers_fire_in_order_of_due_then_of_setting, setup, teardown),
		cmocka_unit_test_setup_teardown(equal_timers_fire_as_they_were_set, setup, teardown),
		cmocka_unit_test_setup_teardown(many_timers_that_are_due_share_their_turns_with_input, setup, teardown),
		cmocka_unit_test_setup_teardown(a_timer_set_while_timers_fire_is_the_next_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(a_timer_may_stop_another_that_is_due, setup, teardown),
		cmocka_unit_test_setup_teardown(the_heap_agrees_with_a_plain_list, setup, teardown),
		cmocka_unit_test_setup_teardown(a_watch_forgotten_in_the_turn_is_silent, setup, teardown),
		cmocka_unit_test_setup_teardown(a_descriptor_opened_again_gets_no_old_readiness, setup, teardown),
		cmocka_unit_test_setup_teardown(a_watch_for_nothing_stays_silent, setup, teardown),
		cmocka_unit_test_setup_teardown(a_watch_that_wants_less_since_the_wait_gets_less, setup, teardown),
		cmocka_unit_test_setup_teardown(waits_for_the_earliest_of_timer_bound_and_work, setup, teardown),
		cmocka_unit_test(time_without_ears_is_counted),
		cmocka_unit_test_setup_teardown(the_lease_clock_never_goes_back, setup, teardown),
		cmocka_unit_test(signals_and_children_come_only_through_the_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
