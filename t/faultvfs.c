/* faultvfs: see the header. A shim: each file stands before the real one, which follows it in memory. */
#include "faultvfs.h"
#include "../util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct faultvfs {
	sqlite3_vfs vfs;                   /* first: a vfs is its faultvfs */
	sqlite3_vfs *real;
	long writes, syncs, unsynced;
	long write_after, sync_after;
	int write_code, write_errno, read_code, last_errno;
	void (*watch)(void *arg, const struct faultvfs_event *);
	void *watch_arg;
};
struct handle { sqlite3_file base; struct faultvfs *disk; const char *path; bool is_wal, is_log; };

static sqlite3_file *real_of(sqlite3_file *f) { return (sqlite3_file *)((struct handle *)f + 1); }
static struct faultvfs *disk_of(sqlite3_file *f) { return ((struct handle *)f)->disk; }

/* Counts down to the failure that was ordered; then it is due. */
static bool due(long *after)
{
	if (*after < 0)
		return false;
	if (*after == 0)
		return true;
	--*after;
	return false;
}

static void tell(sqlite3_file *f, enum faultvfs_act act, const void *bytes, int n, sqlite3_int64 at)
{
	const struct handle *h = (const struct handle *)f;

	if (h->disk->watch)
		h->disk->watch(h->disk->watch_arg, &(struct faultvfs_event){ act, h->path, real_of(f), h->is_log, bytes, n, at });
}

static int write_file(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	struct faultvfs *d = disk_of(f);

	if (due(&d->write_after)) {
		d->last_errno = d->write_errno;
		return d->write_code;
	}
	tell(f, FAULTVFS_WRITE, p, n, at);
	d->writes++;
	d->unsynced += ((struct handle *)f)->is_wal;
	return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
}

static int sync_file(sqlite3_file *f, int flags)
{
	struct faultvfs *d = disk_of(f);

	if (due(&d->sync_after)) {
		d->sync_after = -1;
		d->last_errno = EIO;
		return SQLITE_IOERR_FSYNC;
	}
	tell(f, FAULTVFS_SYNC, NULL, 0, 0);
	d->syncs++;
	if (((struct handle *)f)->is_wal)
		d->unsynced = 0;
	return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int close_file(sqlite3_file *f) { return real_of(f)->pMethods->xClose(real_of(f)); }
static int read_file(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	int code = disk_of(f)->read_code;

	return code != SQLITE_OK ? code : real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

static int truncate_file(sqlite3_file *f, sqlite3_int64 n)
{
	tell(f, FAULTVFS_TRUNCATE, NULL, 0, n);
	return real_of(f)->pMethods->xTruncate(real_of(f), n);
}

static int size_file(sqlite3_file *f, sqlite3_int64 *n) { return real_of(f)->pMethods->xFileSize(real_of(f), n); }
static int lock_file(sqlite3_file *f, int how) { return real_of(f)->pMethods->xLock(real_of(f), how); }
static int unlock_file(sqlite3_file *f, int how) { return real_of(f)->pMethods->xUnlock(real_of(f), how); }
static int reserved(sqlite3_file *f, int *out) { return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out); }
static int sector(sqlite3_file *f) { return real_of(f)->pMethods->xSectorSize(real_of(f)); }
static int traits(sqlite3_file *f) { return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f)); }
static int shm_map(sqlite3_file *f, int at, int n, int grow, void volatile **out) { return real_of(f)->pMethods->xShmMap(real_of(f), at, n, grow, out); }
static int shm_lock(sqlite3_file *f, int at, int n, int flags) { return real_of(f)->pMethods->xShmLock(real_of(f), at, n, flags); }
static void shm_barrier(sqlite3_file *f) { real_of(f)->pMethods->xShmBarrier(real_of(f)); }
static int shm_unmap(sqlite3_file *f, int gone) { return real_of(f)->pMethods->xShmUnmap(real_of(f), gone); }

static int control(sqlite3_file *f, int op, void *arg)
{
	if (op != SQLITE_FCNTL_LAST_ERRNO || !disk_of(f)->last_errno)
		return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
	*(int *)arg = disk_of(f)->last_errno;
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = { 2, close_file, read_file, write_file, truncate_file, sync_file, size_file, lock_file, unlock_file, reserved, control,
	sector, traits, shm_map, shm_lock, shm_barrier, shm_unmap, NULL, NULL };

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
	struct faultvfs *d = (struct faultvfs *)vfs;
	struct handle *h = (struct handle *)f;
	int code;

	h->disk = d;
	h->path = name;
	h->is_wal = (flags & SQLITE_OPEN_WAL) != 0;
	h->is_log = (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
	h->base.pMethods = NULL;
	if (d->watch)
		d->watch(d->watch_arg, &(struct faultvfs_event){ FAULTVFS_OPEN, name, NULL, h->is_log, NULL, 0, 0 });
	code = d->real->xOpen(d->real, name, real_of(f), flags, out);
	if (code == SQLITE_OK)
		h->base.pMethods = &methods;
	return code;
}

static int delete_file(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	struct faultvfs *d = (struct faultvfs *)vfs;

	if (d->watch)
		d->watch(d->watch_arg, &(struct faultvfs_event){ FAULTVFS_DELETE, name, NULL, true, NULL, sync_dir != 0, 0 });
	return d->real->xDelete(d->real, name, sync_dir);
}

static int last_error(sqlite3_vfs *vfs, int n, char *out)
{
	struct faultvfs *d = (struct faultvfs *)vfs;

	return d->last_errno ? d->last_errno : d->real->xGetLastError(d->real, n, out);
}

struct faultvfs *faultvfs_new(const char *name)
{
	struct faultvfs *d = mem_new(sizeof *d);

	d->real = sqlite3_vfs_find(NULL);
	must(d->real);
	d->vfs = *d->real;
	d->vfs.pNext = NULL;
	d->vfs.zName = name;
	d->vfs.szOsFile = (int)sizeof(struct handle) + d->real->szOsFile;
	d->vfs.xOpen = open_file;
	d->vfs.xDelete = delete_file;
	d->vfs.xGetLastError = last_error;
	d->write_after = d->sync_after = -1;
	must(sqlite3_vfs_register(&d->vfs, 0) == SQLITE_OK);
	return d;
}

void faultvfs_free(struct faultvfs *d)
{
	if (!d)
		return;
	must(sqlite3_vfs_unregister(&d->vfs) == SQLITE_OK);
	free(d);
}

void faultvfs_be_default(struct faultvfs *d) { must(sqlite3_vfs_register(&d->vfs, 1) == SQLITE_OK); }

void faultvfs_watch(struct faultvfs *d, void (*watch)(void *arg, const struct faultvfs_event *), void *arg)
{
	d->watch = watch;
	d->watch_arg = arg;
}

void faultvfs_fail_writes(struct faultvfs *d, long after, int code, int os_errno)
{
	d->write_after = after;
	d->write_code = code;
	d->write_errno = os_errno;
	d->last_errno = 0;
}

void faultvfs_fail_reads(struct faultvfs *d, int code) { d->read_code = code; }

void faultvfs_fail_sync(struct faultvfs *d, long after)
{
	d->sync_after = after;
	d->last_errno = 0;
}

long faultvfs_writes(const struct faultvfs *d) { return d->writes; }
long faultvfs_syncs(const struct faultvfs *d) { return d->syncs; }
long faultvfs_unsynced(const struct faultvfs *d) { return d->unsynced; }
