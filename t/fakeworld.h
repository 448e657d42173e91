/* fakeworld: an env in memory for deterministic tests: a clock that moves only when told, stream sockets with byte-level cuts, capacities and resets.
 * Ports are the only addresses. wait returns at once: whoever tests decides when a loop has its turn. Knows no disk and no death. */
#ifndef FAKEWORLD_H
#define FAKEWORLD_H
#include "../env.h"

struct fakeworld;
struct fakeworld *fakeworld_new(uint64_t seed);
void fakeworld_free(struct fakeworld *);                       /* with all sockets still open */
void fakeworld_env(struct fakeworld *, struct env *);          /* fills in the doors; several nodes may share one world */

int64_t fakeworld_now_us(const struct fakeworld *);
void fakeworld_pass(struct fakeworld *, int64_t us);           /* both clocks move on */
void fakeworld_wall(struct fakeworld *, int64_t ms);           /* the wall clock alone jumps */

int fakeworld_listen(struct fakeworld *, int port, int *bound); /* a server's end, at that port (0: any), which goes to *bound */
int fakeworld_connect(struct fakeworld *, int port);           /* a client's end; -1: nobody listens */
int fakeworld_port(const struct sockaddr_storage *);
void fakeworld_address(int port, struct sockaddr_storage *, socklen_t *);
void fakeworld_capacity(struct fakeworld *, int fd, size_t bytes);   /* how much may lie unread at fd before its peer's send says EAGAIN; 65536 at first */
void fakeworld_cut(struct fakeworld *, size_t bytes);          /* no recv or send moves more than this; 0: no cut */
void fakeworld_reset(struct fakeworld *, int fd);              /* the peer sees ECONNRESET, and what lay unread is lost */
int fakeworld_open(const struct fakeworld *);                  /* descriptors in use */

void fakeworld_accept_error(struct fakeworld *, int error);    /* every accept fails so, until set to 0 */
void fakeworld_interrupt(struct fakeworld *, int waits);       /* so many waits end with EINTR */
void fakeworld_late(struct fakeworld *, int64_t us);           /* the next wait takes that long */
int64_t fakeworld_timeout(const struct fakeworld *);           /* what the last wait was asked for */
int fakeworld_accepts(const struct fakeworld *);               /* calls of accept so far */
#endif
