/* faultvfs: the machine's own file system with a hand on it: counts writes and syncs, fails those it is told to, and tells a watcher of each act before it is
 * done. Files, locks and shared memory are real. */
#ifndef FAULTVFS_H
#define FAULTVFS_H
#include <sqlite3.h>
#include <stdbool.h>

struct faultvfs;
struct faultvfs *faultvfs_new(const char *name);               /* registers it under that name, which must outlive it; not as the default */
void faultvfs_free(struct faultvfs *);
void faultvfs_be_default(struct faultvfs *);                   /* from now on what is opened without a name of a VFS goes through it */
void faultvfs_fail_writes(struct faultvfs *, long after, int code, int os_errno);   /* every write from the so manieth on; -1: none any more */
void faultvfs_fail_reads(struct faultvfs *, int code);         /* every read; SQLITE_OK: none */
void faultvfs_fail_sync(struct faultvfs *, long after);        /* that one sync, with EIO; -1: none */
long faultvfs_writes(const struct faultvfs *);
long faultvfs_syncs(const struct faultvfs *);
long faultvfs_unsynced(const struct faultvfs *);               /* writes to a log since its last sync */

enum faultvfs_act { FAULTVFS_OPEN, FAULTVFS_WRITE, FAULTVFS_TRUNCATE, FAULTVFS_SYNC, FAULTVFS_DELETE };
struct faultvfs_event {
	enum faultvfs_act act;
	const char *path;                                          /* NULL: a temporary file */
	sqlite3_file *file;                                        /* the real one, for a look at it as it is; NULL at OPEN and DELETE */
	bool is_log;                                               /* a log or a rollback journal: its first sync syncs the directory too */
	const void *bytes;                                         /* WRITE: n of them go to `at`. TRUNCATE: to the length `at`. DELETE: n is 1 when the directory is synced */
	int n;
	sqlite3_int64 at;
};
void faultvfs_watch(struct faultvfs *, void (*)(void *arg, const struct faultvfs_event *), void *arg);
#endif
