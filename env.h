/* env: a node's doors to the world. Time, randomness, network, disk, death and log lines come through here and nowhere else,
 * so that a test can run a server and several agents in one seeded process. env.c holds the real doors.
 * Names are looked up and signals taken outside (lookup, loop): a test world uses neither. */
#ifndef ENV_H
#define ENV_H
#include "util.h"
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>

/* The places in a command's life where an agent may be told to die (--random-failures), and where a test world counts. */
enum env_point { POINT_BEFORE_STARTED, POINT_STARTED, POINT_EFFECT, POINT_BEFORE_FINISHED, POINT_BEFORE_REPORT, POINT_ANSWERED, POINT_COUNT };

struct env {
	void *world;                                                   /* handed to every door */
	int64_t (*mono_us)(void *world);                               /* never goes back; counts suspend where the system can (CLOCK_BOOTTIME) */
	int64_t (*wall_ms)(void *world);                               /* for timestamps only: decides nothing (G8) */
	void (*random)(void *world, void *out, size_t n);              /* good enough for nonces and tokens */
	/* sockets: non-blocking, close-on-exec, below FD_SETSIZE; -1 and errno as the system calls do (EMFILE where the number is too high) */
	int (*listen)(void *world, const struct sockaddr *, socklen_t, struct sockaddr_storage *bound, socklen_t *bound_len);
	int (*accept)(void *world, int fd, struct sockaddr_storage *peer, socklen_t *peer_len);
	int (*connect)(void *world, const struct sockaddr *, socklen_t);   /* a new descriptor, connecting or connected */
	int (*connected)(void *world, int fd);                         /* when writable: 0, or the errno of the failed connect */
	ssize_t (*recv)(void *world, int fd, void *, size_t);
	ssize_t (*send)(void *world, int fd, const void *, size_t);    /* never raises SIGPIPE */
	void (*close)(void *world, int fd);
	void (*shut)(void *world, int fd);                         /* nothing more will be sent; NULL: the peer learns it from the close */
	int (*wait)(void *world, int nfds, fd_set *rd, fd_set *wr, int64_t timeout_us);   /* as select(); timeout -1: none; signals are let in only here */
	const char *vfs;                                               /* SQLite's VFS by name; NULL: the default one */
	bool exclusive;                                                /* SQLite exclusive locking: in a test world only */
	void (*fatal)(void *world, const char *why);                   /* says why (one whole log line) and ends this node; never returns to its caller */
	void (*log)(void *world, const char *line);                    /* one whole line without its newline */
	bool log_json;                                                 /* --log-format=json */
	void (*point)(void *world, enum env_point, const char *id, int64_t attempt);   /* may not return; NULL: nobody asks */
};

void env_real(struct env *);                                   /* fills in the real doors; opens nothing. Writes of a dead peer never raise SIGPIPE */
void env_close_inherited(void);                                /* closes every descriptor above 2 that came with the process; opens /dev/null for a closed 0, 1 or 2 */
/* One event, one line: time, event (a short fixed word or two), text with control bytes escaped. */
void env_log(const struct env *, const char *event, const char *fmt, ...) UTIL_PRINTF(3, 4);
UTIL_NORETURN void env_fatal(const struct env *, const char *fmt, ...) UTIL_PRINTF(2, 3);
void env_point(const struct env *, enum env_point, const char *id, int64_t attempt);
#endif
