/* proc: scenes with real processes. Each scene is played in a forked child with a directory and a process group of its own: servers, agents, a target that
 * counts, a proxy that loses messages. Afterwards the whole group is killed; alarms end what might escape. The directory is kept when the scene failed.
 * A crash is always SIGKILL. Nothing is waited for by sleeping a while: conditions are asked for until they hold or PROC_PATIENCE_MS is over. */
#ifndef PROC_H
#define PROC_H
#include "../json.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <sys/types.h>
#include <cmocka.h>

#define PROC_PATIENCE_MS 20000
#define SCENE_SECONDS 60

struct scene {
	char top[512], dir[512];                                   /* where the programs are; where the scene is played, its working directory */
	char server[64], target[64];                               /* "127.0.0.1:PORT"; a server started again takes the port it had */
	int status;                                                /* the last answer: 0, there was none */
	struct buf head, body;
	struct json json;                                          /* the body where it is JSON, else null */
	const void *arg;                                           /* the case's */
};
struct proc { pid_t pid; char name[32]; int status; };                 /* pid 0: it has ended; status: waitpid's */

/* A case for cmocka's table: PROC_CASE(play) where play is void play(struct scene *). */
struct proc_case { void (*play)(struct scene *); const void *arg; };
void proc_play(void **state);
#define PROC_CASE(f) { #f, proc_play, NULL, NULL, &(struct proc_case){ f, NULL } }
bool proc_scene(const struct proc_case *, char dir[512]);              /* the same outside cmocka; false: it failed, and dir is kept (empty: there was none) */
void dir_remove(const char *dir);

/* What a scene expects; when it is not so, the scene has failed here. */
#define expect(s, cond) ((cond) ? (void)0 : scene_fail(s, __FILE__, __LINE__, #cond))
UTIL_NORETURN void scene_fail(struct scene *, const char *file, int line, const char *what);
UTIL_NORETURN void scene_end(struct scene *);                          /* it has been played, before its end */

/* Processes. flags: words parted by blanks, or "". Started ones have said that they listen. */
struct proc server_start(struct scene *, const char *flags);           /* on commands.db */
struct proc target_start(struct scene *);
struct proc agent_start(struct scene *, const char *name, const char *flags);  /* journal NAME.db, log NAME.log; polls s->server */
struct proc agent_start_at(struct scene *, const char *address, const char *name, const char *flags);
struct proc program_start(struct scene *, const char *name, const char *program, const char *flags);   /* any other; no line is awaited */
struct proc program_start_heard(struct scene *, const char *name, const char *program, const char *flags, int *out);   /* its stdout is the pipe *out */
int program_run(struct scene *, const char *program, const char *flags);       /* to its end; its exit status. out.log holds what the last one printed */
struct proc proc_fork(struct scene *, const char *name, int *out);     /* pid 0: in the child, with stderr in NAME.log, and stdout too, or in the pipe *out */
bool proc_read_address(struct scene *, int out, char address[64]);     /* from the line "listening on http://ADDRESS"; false: it ended without one */
void proc_kill(struct proc *);                                         /* SIGKILL, reaped */
void proc_signal(struct proc *, int signo);
int proc_wait(struct scene *, struct proc *);                          /* waits for its end: waitpid's status */
bool proc_ended(struct proc *);                                        /* has it? Reaped then */
bool log_says(struct scene *, const char *name, const char *text);     /* NAME.log holds text */
bool file_there(const char *path);
int64_t clock_ms(void);
void nap(void);                                                        /* between two looks at a condition */

/* Sockets on loopback, blocking. */
int proc_listen(struct scene *, char address[64]);                     /* at a port of the kernel's choice, which may be taken again at once */
int proc_dial(const char *address);                                    /* a read waits PROC_PATIENCE_MS at most; -1: nobody listens there */

/* HTTP. Fills in status, head, body, json. */
void ask(struct scene *, const char *address, const char *method, const char *path, const char *fields, const char *body);
void ask_server(struct scene *, const char *method, const char *path, const char *body);
bool body_is(struct scene *, const char *member, const char *text);    /* a member of the last body; a string without its quotes, else as JSON text */
bool body_has(struct scene *, const char *text);

/* Commands. ids are ID_TEXT long. */
void create(struct scene *, char *id, const char *type, const char *payload, bool idempotent);
void create_get(struct scene *, char *id, const char *path, bool idempotent);          /* HTTP_GET_JSON of the target's path */
void command_path(const char *id, const char *more, char out[96]);     /* "/api/commands/ID/cancel" for "/cancel" */
bool events_say(struct scene *, const char *id, const char *text);
bool is(struct scene *, const char *id, const char *member, const char *text);
void await(struct scene *, const char *id, const char *member, const char *text);
void await_log(struct scene *, const char *name, const char *text);
long ran(struct scene *, const char *key);                             /* how often the target was asked for it */
void await_ran(struct scene *, const char *key, long n);
void release(struct scene *, const char *key);
void await_all_ended(struct scene *);                                  /* nothing is PENDING or RUNNING */
void expect_audit(struct scene *, const char *journals);               /* server --audit says PROVEN; the server may run */

/* A proxy before the server that does harm to the first `times` exchanges whose request begins with `request` and holds `text` (or NULL), and, when the reply
 * counts (LOSE_REPLY, HOLD_REPLY), whose reply has `status`. A reply is held until release_held. MARK does none: it tells that the request has been sent on. */
enum harm { LOSE_REQUEST, LOSE_REPLY, HOLD_REPLY, SEND_TWICE, MARK };
struct rule { enum harm harm; const char *request, *text; int status, times; };
struct proc proxy_start(struct scene *, const struct rule *, char address[64]);
bool harmed(struct scene *, int n);                                    /* the n-th harm has been done (from 1) */
void await_harm(struct scene *, int n);
void release_held(struct scene *);
#endif
