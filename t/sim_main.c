/* sim_main: many seeds, split over two processes, and the sum of what they covered. --hours: seeds from the clock, until the time is over or one fails. --still: wall clocks
 * that do not jump. */
#include "sim.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STILL_EACH 16                                          /* so many seeds in one are run once more, with wall clocks that stand */
#define HOURS_RUNS 2000                                        /* of one round of --hours */
#define FAILED_MAX 10                                          /* so many failures say enough */

/* A broken invariant of the programs ends the process: its seed is said all the same. */

static volatile sig_atomic_t seed_high, seed_low;              /* of the run at hand, 30 bits each */

static void fell(int signo)
{
	static const char before[] = "a broken invariant; replay: make sim MORE=--verbose RUNS=1 SEED=";
	uint64_t seed = (uint64_t)seed_high << 30 | (uint64_t)seed_low;
	char text[sizeof before + 24], *at = text + sizeof text;

	*--at = '\n';
	do
		*--at = (char)('0' + seed % 10);
	while ((seed /= 10) > 0);
	at -= sizeof before - 1;
	memcpy(at, before, sizeof before - 1);
	(void)!write(STDOUT_FILENO, at, (size_t)(text + sizeof text - at));
	raise(signo);
}

static uint64_t run(uint64_t seed, bool verbose, bool still, struct cover *c)
{
	seed_high = (sig_atomic_t)(seed >> 30);
	seed_low = (sig_atomic_t)(seed & ((1u << 30) - 1));
	return sim_run(seed, verbose, still, c);
}

static void say_seed_when_it_falls(void)
{
	static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE };
	struct sigaction a;

	memset(&a, 0, sizeof a);
	a.sa_handler = fell;
	a.sa_flags = (int)SA_RESETHAND;
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &a, NULL);
}

static bool write_whole(int fd, const void *p, size_t n)
{
	const char *at = p;
	ssize_t put;

	for (; n > 0; at += put, n -= (size_t)put)
		if ((put = write(fd, at, n)) <= 0)
			return false;
	return true;
}

static bool read_whole(int fd, void *p, size_t n)
{
	char *at = p;
	ssize_t got;

	for (; n > 0; at += got, n -= (size_t)got)
		if ((got = read(fd, at, n)) <= 0)
			return false;
	return true;
}

/* G8: the same seed with wall clocks that stand decides the same; and a run leaves nothing behind that the next one could see. */
static void run_still(uint64_t seed, uint64_t decided, struct cover *c)
{
	struct cover apart = {0};

	c->wall_twins++;
	if (run(seed, false, true, &apart) == decided)
		return;
	c->failed++;
	printf("seed %llu: G8 violated: with wall clocks that do not jump the same run decides otherwise\n", (unsigned long long)seed);
	printf("replay: make sim SEED=%llu RUNS=1; and with MORE=--verbose, and MORE=\"--verbose --still\"\n", (unsigned long long)seed);
}

static void run_seeds(uint64_t seed, int64_t runs, int64_t step, bool verbose, bool still, struct cover *c)
{
	for (int64_t i = 0; i < runs && c->failed < FAILED_MAX; i += step) {
		int64_t failed = c->failed;
		uint64_t decided = run(seed + (uint64_t)i, verbose, still, c);
		if (c->failed == failed && !still && (runs == 1 || (seed + (uint64_t)i) % STILL_EACH == 0))
			run_still(seed + (uint64_t)i, decided, c);
	}
}

static bool run_split(uint64_t seed, int64_t runs, struct cover *c)
{
	struct cover other = {0};
	int ends[2], status = 0;
	pid_t pid;
	bool good;

	fflush(stdout);
	if (pipe(ends) != 0 || (pid = fork()) < 0)
		return false;
	if (pid == 0) {
		run_seeds(seed + 1, runs - 1, 2, false, false, &other);
		_exit(write_whole(ends[1], &other, sizeof other) ? 0 : 1);
	}
	close(ends[1]);
	run_seeds(seed, runs, 2, false, false, c);
	good = read_whole(ends[0], &other, sizeof other);
	close(ends[0]);
	good = waitpid(pid, &status, 0) == pid && status == 0 && good;
	cover_add(c, &other);
	if (!good)
		fprintf(stderr, "sim: one of the two processes did not come to its end\n");
	return good;
}

static bool run_hours(int64_t hours, struct cover *c)
{
	time_t began = time(NULL);
	uint64_t seed = (uint64_t)began;
	bool good = true;

	for (; good && c->failed == 0 && time(NULL) - began < hours * 3600; seed += HOURS_RUNS) {
		printf("seeds %llu to %llu\n", (unsigned long long)seed, (unsigned long long)seed + HOURS_RUNS - 1);
		good = run_split(seed, HOURS_RUNS, c);
	}
	return good;
}

static bool setting(const char *arg, const char *name, int64_t most, int64_t *out)
{
	size_t n = strlen(name);

	return strncmp(arg, name, n) == 0 && num_parse(arg + n, strlen(arg + n), 0, most, out);
}

int main(int argc, char **argv)
{
	struct cover cover = {0};
	int64_t seed = 1, runs = 1, hours = 0;
	bool verbose = false, still = false, good = true;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--verbose") == 0)
			verbose = true;
		else if (strcmp(argv[i], "--still") == 0)
			still = true;
		else if (!setting(argv[i], "--seed=", INT64_MAX, &seed) && !setting(argv[i], "--runs=", 1000000000, &runs) && !setting(argv[i], "--hours=", 1000, &hours)) {
			fprintf(stderr, "usage: sim [--seed=N] [--runs=N] [--verbose] [--still] | --hours=N\n");
			return 2;
		}
	}
	if (verbose)
		setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	say_seed_when_it_falls();
	if (hours > 0)
		good = run_hours(hours, &cover);
	else if (runs > 1 && !verbose && !still)
		good = run_split((uint64_t)seed, runs, &cover);
	else
		run_seeds((uint64_t)seed, runs, 1, verbose, still, &cover);
	good = cover_print(&cover) && good;
	return good && cover.failed == 0 ? 0 : 1;
}
