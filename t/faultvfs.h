/* faultvfs: the machine's own file system with a hand on it: counts writes and syncs, and fails those it is told to. Files, locks and shared memory are real. */
#ifndef FAULTVFS_H
#define FAULTVFS_H
#include <sqlite3.h>

struct faultvfs;
struct faultvfs *faultvfs_new(const char *name);               /* registers it under that name, which must outlive it; not as the default */
void faultvfs_free(struct faultvfs *);
void faultvfs_fail_writes(struct faultvfs *, long after, int code, int os_errno);   /* every write from the so manieth on; -1: none any more */
void faultvfs_fail_reads(struct faultvfs *, int code);         /* every read; SQLITE_OK: none */
void faultvfs_fail_sync(struct faultvfs *, long after);        /* that one sync, with EIO; -1: none */
long faultvfs_writes(const struct faultvfs *);
long faultvfs_syncs(const struct faultvfs *);
long faultvfs_unsynced(const struct faultvfs *);               /* writes to a log since its last sync */
#endif
