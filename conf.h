/* conf: the settings table. One row a setting: flag, environment, .env, default; in that order. --help and .env.example come from the table. */
#ifndef CONF_H
#define CONF_H
#include "util.h"

enum conf_program { CONF_SERVER = 1, CONF_AGENT = 2 };
struct conf;

/* Reads argv, the environment and the .env file of the working directory. NULL: *err holds one line without newline, to be printed after the
 * program's name, *exit_status is 2 (usage) or 1 (a file that cannot be read). Warnings (unknown keys in .env) are appended to *warnings, one a line. */
struct conf *conf_read(enum conf_program, int argc, char *const *argv, struct buf *warnings, struct buf *err, int *exit_status);
void conf_free(struct conf *);

int64_t conf_int(const struct conf *, const char *name);       /* by flag name without dashes; must() on a name the table does not hold */
double conf_real(const struct conf *, const char *name);
bool conf_on(const struct conf *, const char *name);           /* switches and actions */
const char *conf_text(const struct conf *, const char *name);  /* NULL where unset and without default */
bool conf_given(const struct conf *, const char *name);        /* set by anything but its default */
void conf_place(const struct conf *, const char *name, struct buf *out);       /* "--slots=4", "SLOTS=4", ".env:3: SLOTS=4": for complaints about a value */
int conf_operands(const struct conf *);                        /* words behind an action that takes them (--backup FILE) */
const char *conf_operand(const struct conf *, int i);

/* The secret of that name ("api-token"), from its setting or from the file that the setting NAME-file names; appended, *out stays empty where neither is given.
 * False: *err says why it cannot be had. */
bool conf_token(const struct conf *, const char *name, struct buf *out, struct buf *err);

void conf_help(enum conf_program, struct buf *out);            /* --help, whole */
void conf_example(struct buf *out);                            /* .env.example, whole: both programs, each key commented with help, unit, range */
/* Walks the table: false at the end. For tests that hold documents against it. */
struct conf_row { const char *name, *fallback, *unit, *help; unsigned programs; int64_t min, max; bool action, secret; };
bool conf_walk(size_t i, struct conf_row *out);
/* The reader of .env over memory: calls pair for each KEY=VALUE; false as soon as pair says so (and has filled *err itself) or at a bad line (".env:3: why"). */
typedef bool conf_pair(void *arg, int line, const char *key, const char *value);
bool conf_pairs(const char *p, size_t n, conf_pair *, void *arg, struct buf *err);
void conf_env_name(const char *name, struct buf *out);         /* "lease-ms" to "LEASE_MS" */
#endif
