/* audit: holds a server's database against agents' journals, command by command: proven, violated or unproven. Reads only, offline or live. */
#ifndef AUDIT_H
#define AUDIT_H
#include "journal.h"
#include "store.h"

enum audit_result { AUDIT_PROVEN = 0, AUDIT_VIOLATED = 1, AUDIT_UNPROVEN = 3, AUDIT_UNREADABLE = 2 };   /* the exit statuses of server --audit */
/* Writes the report, for people or as one JSON object, to the end of out. UNREADABLE: out holds one line saying why. */
enum audit_result audit_run(const struct env *, const char *database, const char *const *journals, int journals_count, bool json, struct buf *out);
#endif
