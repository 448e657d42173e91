/* simdisk: see the header. A file keeps its bytes as they are now and, for each sector touched since the last sync, what stood there before:
 * a power cut puts some or all of those back. A file that was never synced may go with its name. Deleting is durable at once. */
#include "simdisk.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512
#define FILES_MAX 16
#define NAME_MAX_ 64
#define SHARED_MAX 4

struct old { size_t sector; unsigned char bytes[SECTOR]; };
struct file {
	char name[NAME_MAX_];                                      /* empty: a temporary one, gone when closed */
	bool used, named;                                          /* named: its name is durable */
	unsigned char *bytes;
	size_t len, room, synced_len;
	uint32_t *stamps, epoch;                                   /* sectors saved since the last sync carry its epoch */
	size_t stamps_count;
	struct old *olds;
	size_t olds_count, olds_room;
	void *shared[SHARED_MAX];                                  /* a log's index, for connections that only look */
};
struct simdisk { sqlite3_vfs vfs; struct simdisk_doors doors; bool dead; struct file files[FILES_MAX]; };
struct saved { char name[NAME_MAX_]; unsigned char *bytes; size_t len; };
struct simdisk_image { struct saved files[FILES_MAX]; int count; };
struct handle { sqlite3_file base; struct simdisk *disk; struct file *file; };

static uint64_t any(struct simdisk *d)
{
	uint64_t n;

	d->doors.random(d->doors.arg, &n, sizeof n);
	return n;
}

/* files */

static void share_nothing(struct file *f)
{
	for (int i = 0; i < SHARED_MAX; i++) {
		free(f->shared[i]);
		f->shared[i] = NULL;
	}
}

static void file_free(struct file *f)
{
	share_nothing(f);
	free(f->bytes);
	free(f->stamps);
	free(f->olds);
	memset(f, 0, sizeof *f);
}

static struct file *file_find(struct simdisk *d, const char *name)
{
	for (int i = 0; i < FILES_MAX; i++)
		if (d->files[i].used && strcmp(d->files[i].name, name) == 0)
			return &d->files[i];
	return NULL;
}

static struct file *file_make(struct simdisk *d, const char *name)
{
	for (int i = 0; i < FILES_MAX; i++) {
		struct file *f = &d->files[i];
		if (f->used)
			continue;
		must(strlen(name) < NAME_MAX_);
		strcpy(f->name, name);
		f->used = true;
		f->epoch = 1;
		return f;
	}
	util_broken("too many files on a disk", __FILE__, __LINE__);
}

static void file_room(struct file *f, size_t len)
{
	size_t room = f->room ? f->room : 65536, count;

	if (len <= f->room)
		return;
	while (room < len)
		room *= 2;
	f->bytes = mem_resize(f->bytes, room);
	memset(f->bytes + f->room, 0, room - f->room);
	f->room = room;
	count = room / SECTOR;
	f->stamps = mem_resize(f->stamps, count * sizeof *f->stamps);
	memset(f->stamps + f->stamps_count, 0, (count - f->stamps_count) * sizeof *f->stamps);
	f->stamps_count = count;
}

/* Keeps what stood in the sectors of [from, to) at the last sync. Beyond the length of then there was nothing. */
static void remember(struct file *f, size_t from, size_t to)
{
	for (size_t s = from / SECTOR; s * SECTOR < to; s++) {
		if (f->stamps[s] == f->epoch)
			continue;
		f->stamps[s] = f->epoch;
		if (f->olds_count == f->olds_room) {
			f->olds_room = f->olds_room ? f->olds_room * 2 : 64;
			f->olds = mem_resize(f->olds, f->olds_room * sizeof *f->olds);
		}
		f->olds[f->olds_count].sector = s;
		memcpy(f->olds[f->olds_count++].bytes, f->bytes + s * SECTOR, SECTOR);
	}
}

static void forget_olds(struct file *f)
{
	f->epoch++;
	f->olds_count = 0;
	f->synced_len = f->len;
}

static void file_write(struct file *f, const void *p, size_t at, size_t n)
{
	if (n == 0)
		return;
	file_room(f, (at + n + SECTOR - 1) / SECTOR * SECTOR);
	remember(f, at, at + n);
	memcpy(f->bytes + at, p, n);
	if (at + n > f->len)
		f->len = at + n;
}

static void file_truncate(struct file *f, size_t len)
{
	if (len >= f->len)
		return;
	remember(f, len, f->len);
	memset(f->bytes + len, 0, f->len - len);
	f->len = len;
}

/* A write that was cut off: the first bytes of a sector are new and the rest is old. */
static void tear(struct simdisk *d, struct file *f, const struct old *o)
{
	size_t cut = (size_t)(any(d) % (SECTOR + 1));

	memcpy(f->bytes + o->sector * SECTOR + cut, o->bytes + cut, SECTOR - cut);
}

static void lose(struct simdisk *d, struct file *f, enum simdisk_loss loss)
{
	size_t end = f->synced_len;

	if (!f->named && (loss == SIMDISK_DROP || any(d) % 2)) {
		file_free(f);
		return;
	}
	for (size_t i = 0; i < f->olds_count; i++) {
		const struct old *o = &f->olds[i];
		uint64_t how = loss == SIMDISK_DROP ? 0 : any(d) % 3;
		size_t sector_end = (o->sector + 1) * SECTOR;

		if (how == 0)
			memcpy(f->bytes + o->sector * SECTOR, o->bytes, SECTOR);
		else if (how == 1)
			tear(d, f, o);
		if (how != 0 && sector_end > end)
			end = sector_end < f->len ? sector_end : f->len > end ? f->len : end;
	}
	if (end < f->room)
		memset(f->bytes + end, 0, f->room - end);
	f->len = end;
}

/* io methods */

static int io_close(sqlite3_file *base)
{
	struct handle *h = (struct handle *)base;

	if (h->file->name[0] == '\0')
		file_free(h->file);
	return SQLITE_OK;
}

static int io_read(sqlite3_file *base, void *out, int amount, sqlite3_int64 at)
{
	struct handle *h = (struct handle *)base;
	size_t n = (size_t)amount, from = (size_t)at, have = from < h->file->len ? h->file->len - from : 0;

	if (h->disk->dead)
		return SQLITE_IOERR_READ;
	if (have > n)
		have = n;
	if (have > 0)
		memcpy(out, h->file->bytes + from, have);
	if (have == n)
		return SQLITE_OK;
	memset((char *)out + have, 0, n - have);
	return SQLITE_IOERR_SHORT_READ;
}

static int io_write(sqlite3_file *base, const void *p, int amount, sqlite3_int64 at)
{
	struct handle *h = (struct handle *)base;
	size_t n = (size_t)amount, from = (size_t)at;

	if (h->disk->dead)
		return SQLITE_IOERR_WRITE;
	switch (h->disk->doors.ask(h->disk->doors.arg, SIMDISK_WRITE, from + n > h->file->len)) {
	case SIMDISK_FULL:
		return SQLITE_FULL;
	case SIMDISK_FAIL:
		return SQLITE_IOERR_WRITE;
	case SIMDISK_DIE:
		file_write(h->file, p, from, (size_t)(any(h->disk) % (n + 1)));
		h->disk->dead = true;
		return SQLITE_IOERR_WRITE;
	case SIMDISK_DO:
		break;
	}
	file_write(h->file, p, from, n);
	return SQLITE_OK;
}

static int io_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	struct handle *h = (struct handle *)base;

	if (h->disk->dead)
		return SQLITE_IOERR_TRUNCATE;
	file_truncate(h->file, (size_t)size);
	return SQLITE_OK;
}

static int io_sync(sqlite3_file *base, int flags)
{
	struct handle *h = (struct handle *)base;

	(void)flags;
	if (h->disk->dead)
		return SQLITE_IOERR_FSYNC;
	switch (h->disk->doors.ask(h->disk->doors.arg, SIMDISK_SYNC, false)) {
	case SIMDISK_FULL:
	case SIMDISK_FAIL:
		return SQLITE_IOERR_FSYNC;
	case SIMDISK_DIE:
		h->disk->dead = true;
		return SQLITE_IOERR_FSYNC;
	case SIMDISK_DO:
		break;
	}
	h->file->named = true;
	forget_olds(h->file);
	return SQLITE_OK;
}

static int io_size(sqlite3_file *base, sqlite3_int64 *size)
{
	struct handle *h = (struct handle *)base;

	*size = (sqlite3_int64)h->file->len;
	return h->disk->dead ? SQLITE_IOERR_FSTAT : SQLITE_OK;
}

static int io_lock(sqlite3_file *base, int level)
{
	(void)level;
	return ((struct handle *)base)->disk->dead ? SQLITE_IOERR_LOCK : SQLITE_OK;
}

static int io_unlock(sqlite3_file *base, int level)
{
	(void)base;
	(void)level;
	return SQLITE_OK;
}

static int io_reserved(sqlite3_file *base, int *out)
{
	(void)base;
	*out = 0;
	return SQLITE_OK;
}

static int io_control(sqlite3_file *base, int op, void *arg)
{
	(void)base;
	(void)op;
	(void)arg;
	return SQLITE_NOTFOUND;
}

static int io_sector(sqlite3_file *base)
{
	(void)base;
	return SECTOR;
}

/* Powersafe overwrite, as SQLite assumes of every file system unless told otherwise: bytes outside a torn write stay. */
static int io_traits(sqlite3_file *base)
{
	(void)base;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* One connection a file: whatever it locks is its own. */
static int io_shared(sqlite3_file *base, int region, int size, int extend, void volatile **out)
{
	struct file *f = ((struct handle *)base)->file;

	must(region < SHARED_MAX);
	if (!f->shared[region] && extend)
		f->shared[region] = mem_new((size_t)size);
	*out = f->shared[region];
	return SQLITE_OK;
}

static int io_shared_lock(sqlite3_file *base, int offset, int n, int flags)
{
	(void)base;
	(void)offset;
	(void)n;
	(void)flags;
	return SQLITE_OK;
}

static void io_shared_barrier(sqlite3_file *base) { (void)base; }

static int io_shared_end(sqlite3_file *base, int delete)
{
	(void)delete;
	share_nothing(((struct handle *)base)->file);
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
	.iVersion = 2, .xShmMap = io_shared, .xShmLock = io_shared_lock, .xShmBarrier = io_shared_barrier, .xShmUnmap = io_shared_end, .xClose = io_close, .xRead = io_read, .xWrite = io_write, .xTruncate = io_truncate, .xSync = io_sync, .xFileSize = io_size,
	.xLock = io_lock, .xUnlock = io_unlock, .xCheckReservedLock = io_reserved, .xFileControl = io_control, .xSectorSize = io_sector,
	.xDeviceCharacteristics = io_traits,
};

/* the vfs */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out_flags)
{
	struct simdisk *d = vfs->pAppData;
	struct handle *h = (struct handle *)base;
	struct file *f = name ? file_find(d, name) : NULL;

	h->base.pMethods = NULL;
	if (d->dead || (!f && !(flags & SQLITE_OPEN_CREATE)))
		return SQLITE_CANTOPEN;
	h->disk = d;
	h->file = f ? f : file_make(d, name ? name : "");
	h->base.pMethods = &methods;
	if (out_flags)
		*out_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	struct simdisk *d = vfs->pAppData;
	struct file *f = file_find(d, name);

	(void)sync_dir;
	if (d->dead)
		return SQLITE_IOERR_DELETE;
	if (!f)
		return SQLITE_IOERR_DELETE_NOENT;
	file_free(f);
	return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
	struct simdisk *d = vfs->pAppData;
	const struct file *f = file_find(d, name);

	(void)flags;
	*out = f && f->len > 0;
	return d->dead ? SQLITE_IOERR_ACCESS : SQLITE_OK;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int room, char *out)
{
	(void)vfs;
	if (strlen(name) >= (size_t)room)
		return SQLITE_CANTOPEN;
	strcpy(out, name);
	return SQLITE_OK;
}

static int vfs_random(sqlite3_vfs *vfs, int n, char *out)
{
	struct simdisk *d = vfs->pAppData;

	d->doors.random(d->doors.arg, out, (size_t)n);
	return n;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	return us;
}

static int vfs_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *out)   /* since noon, 24 November 4714 BC */
{
	struct simdisk *d = vfs->pAppData;

	*out = d->doors.wall_ms(d->doors.arg) + INT64_C(210866760000000);
	return SQLITE_OK;
}

static int vfs_time(sqlite3_vfs *vfs, double *out)
{
	sqlite3_int64 ms;
	int rc = vfs_time_ms(vfs, &ms);

	*out = (double)ms / 86400000.0;
	return rc;
}

static int vfs_last_error(sqlite3_vfs *vfs, int n, char *out)
{
	(void)vfs;
	if (n > 0)
		out[0] = '\0';
	return 0;
}

/* disks */

struct simdisk *simdisk_new(const char *vfs, const struct simdisk_doors *doors)
{
	struct simdisk *d = mem_new(sizeof *d);

	d->doors = *doors;
	d->vfs = (sqlite3_vfs){ .iVersion = 2, .szOsFile = sizeof(struct handle), .mxPathname = NAME_MAX_ - 1, .zName = vfs, .pAppData = d, .xOpen = vfs_open,
		.xDelete = vfs_delete, .xAccess = vfs_access, .xFullPathname = vfs_full_name, .xRandomness = vfs_random, .xSleep = vfs_sleep,
		.xCurrentTime = vfs_time, .xGetLastError = vfs_last_error, .xCurrentTimeInt64 = vfs_time_ms };
	must(sqlite3_vfs_register(&d->vfs, 1) == SQLITE_OK);
	return d;
}

void simdisk_wipe(struct simdisk *d)
{
	for (int i = 0; i < FILES_MAX; i++)
		file_free(&d->files[i]);
}

void simdisk_free(struct simdisk *d)
{
	if (!d)
		return;
	must(sqlite3_vfs_unregister(&d->vfs) == SQLITE_OK);
	simdisk_wipe(d);
	free(d);
}

void simdisk_kill(struct simdisk *d) { d->dead = true; }

void simdisk_revive(struct simdisk *d, enum simdisk_loss loss)
{
	for (int i = 0; i < FILES_MAX; i++) {
		struct file *f = &d->files[i];
		if (!f->used)
			continue;
		if (f->name[0] == '\0')
			file_free(f);
		else if (loss != SIMDISK_KEEP)
			lose(d, f, loss);
		if (f->used) {
			f->named = true;
			forget_olds(f);
		}
	}
	d->dead = false;
}

void simdisk_keep(struct simdisk *d, const char *as, const char *name)
{
	for (int i = 0; i < FILES_MAX; i++)
		if (d->files[i].used && strcmp(d->files[i].name, name) != 0)
			file_free(&d->files[i]);
	strcpy(file_find(d, name)->name, as);
}

/* images */

struct simdisk_image *simdisk_save(const struct simdisk *d)
{
	struct simdisk_image *image = mem_new(sizeof *image);

	for (int i = 0; i < FILES_MAX; i++) {
		const struct file *f = &d->files[i];
		struct saved *s = &image->files[image->count];
		if (!f->used || f->len == 0)
			continue;
		strcpy(s->name, f->name);
		s->len = f->len;
		s->bytes = mem_new(f->len);
		memcpy(s->bytes, f->bytes, f->len);
		image->count++;
	}
	return image;
}

static void place(struct simdisk *d, const char *name, const unsigned char *bytes, size_t len)
{
	struct file *f = file_make(d, name);

	file_write(f, bytes, 0, len);
	f->named = true;
	forget_olds(f);
}

void simdisk_put_back(struct simdisk *d, const struct simdisk_image *image)
{
	simdisk_wipe(d);
	for (int i = 0; i < image->count; i++)
		place(d, image->files[i].name, image->files[i].bytes, image->files[i].len);
}

bool simdisk_copy(struct simdisk *to, const char *as, struct simdisk *from, const char *name)
{
	static const char *const ends[] = { "", "-wal" };
	char source[NAME_MAX_], target[NAME_MAX_];

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		const struct file *f;
		snprintf(source, sizeof source, "%s%s", name, ends[i]);
		snprintf(target, sizeof target, "%s%s", as, ends[i]);
		f = file_find(from, source);
		if (f && f->len > 0)
			place(to, target, f->bytes, f->len);
	}
	return file_find(to, as) != NULL;
}

void simdisk_image_free(struct simdisk_image *image)
{
	if (!image)
		return;
	for (int i = 0; i < image->count; i++)
		free(image->files[i].bytes);
	free(image);
}
