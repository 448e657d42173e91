/* bench: what its files share. bench.c measures and prints, bench_client.c speaks HTTP, bench_world.c has the machine and the processes,
 * bench_fill.c makes large databases. Everything runs in one worker process group with one directory; its parent ends and removes both. */
#ifndef BENCH_H
#define BENCH_H
#include "../util.h"
#include <sys/types.h>

/* One line and the end of the worker; its parent cleans up. */
UTIL_NORETURN void die(const char *what, const char *detail);
int64_t now_ns(void);

/* Latencies. */
struct series { uint32_t *us10; size_t n, room; };             /* tenths of a microsecond */
void series_add(struct series *, int64_t ns);
double series_at(struct series *, double share);               /* microseconds; share 0.5: the median. Sorts. 0 when empty */
void series_free(struct series *);
double median(double *values, int n);                          /* sorts */

/* Clients: a connection each, one request in flight. */
struct client { int fd, step; long ticket; int64_t began_ns, sent_ns; struct buf in, out; int status; const char *body; size_t body_len, whole; };
void client_open(struct client *, int port);
void client_close(struct client *);
void client_send(struct client *, const char *method, const char *path, const char *body);     /* body NULL: none */
bool client_read(struct client *);                             /* reads what is there; true: the whole answer is. Stays until the next client_send */
int64_t client_ask(struct client *, const char *method, const char *path, const char *body);   /* sends, waits for the answer; how long that took, ns */
bool client_find(const struct client *, const char *member, char *out, size_t n);              /* a member's bare text, quotes dropped; the first of that name */

/* Load: conns clients that go through the steps first..last again and again. Tickets: `fixed`, a client has its own for good; else each round takes the next. */
enum op { OP_CREATE, OP_CLAIM, OP_COMPLETE, OP_BARE, OP_COUNT };
struct job { char id[ID_TEXT]; int64_t attempt; };
struct load {
	int port, conns;
	enum op first, last;
	bool fixed;
	long ops;                                                  /* rounds to do; 0: as many as fit in `ms` */
	int ms;
	struct job *jobs;                                          /* by ticket */
	const char *type, *payload;
	struct series rounds;                                      /* added to */
	double per_s;
	long done;
};
void load_run(struct load *);

/* The machine. */
double raw_sync(bool append, int ms, struct series *);         /* write + fdatasync a second, 4 KiB each */
struct raw { int fd; off_t at; };
void raw_open(struct raw *);
int64_t raw_one(struct raw *);                                 /* one append + fdatasync, ns */

/* Processes. Addresses are ports on 127.0.0.1. */
struct program { pid_t pid; int port; int64_t start_ns; };     /* start_ns: from fork to the line that says it listens */
struct program server_start(const char *db, const char *flags);
pid_t agent_start(int port, int slots, const char *name);
struct program target_start(void);                             /* answers every request with a small JSON body */
void program_end(pid_t);                                       /* SIGTERM, waits; SIGKILL after 10 s */
long rss_kb(pid_t);                                            /* -1: not to be known here */
double cpu_ms(pid_t);
long file_bytes(const char *path);
int bench_guard(const char *programs, int seconds, int (*worker)(void *), void *arg);   /* runs worker in its own group and directory, ends and removes both */

/* Databases: commands by kind, in this order; ids can be told from the row. */
struct fill { const char *path; long settled, running, pending; };
void fill_database(const struct fill *);
void fill_id(int64_t row, char out[ID_TEXT]);
#endif
