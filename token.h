/* token: a bearer token from a file or from the environment, never from the command line. */
#ifndef TOKEN_H
#define TOKEN_H
#include "util.h"

/* file wins over value; both NULL: out stays empty and that is well. A file must be a regular one that only its owner can read; surrounding white space is dropped;
 * what is left must be 1 to 512 visible ASCII characters. False: *err is one line, and names neither the token nor a part of it. */
bool token_read(const char *file, const char *value, struct buf *out, struct buf *err);
#endif
