/* simdisk: a node's disk in memory, as a VFS of SQLite: each write and sync may be let through, refused, or be the node's last act, and what was
 * written since the last sync may be lost when the power goes. One connection a file, so no locks. */
#ifndef SIMDISK_H
#define SIMDISK_H
#include "../util.h"

struct simdisk;
struct simdisk_image;                                          /* all files as they stood */
enum simdisk_op { SIMDISK_WRITE, SIMDISK_SYNC };
enum simdisk_fate { SIMDISK_DO, SIMDISK_FULL, SIMDISK_FAIL, SIMDISK_DIE };   /* FULL: no room; FAIL: an I/O error; DIE: the last act, done in part or not at all */
enum simdisk_loss { SIMDISK_KEEP, SIMDISK_DROP, SIMDISK_MIX }; /* of what no sync covers: each sector (512 bytes) stays, goes, or either, perhaps torn */

struct simdisk_doors {
	void *arg;
	enum simdisk_fate (*ask)(void *arg, enum simdisk_op, bool extends);
	void (*random)(void *arg, void *out, size_t n);
	int64_t (*wall_ms)(void *arg);
};

struct simdisk *simdisk_new(const char *vfs, const struct simdisk_doors *);   /* registers the VFS under that name; the newest one is SQLite's default */
void simdisk_free(struct simdisk *);
void simdisk_kill(struct simdisk *);                           /* from now on everything fails */
void simdisk_revive(struct simdisk *, enum simdisk_loss);      /* for the next start; every connection is closed by then */
void simdisk_wipe(struct simdisk *);
void simdisk_keep(struct simdisk *, const char *as, const char *name);   /* that file, under another name, and nothing else */
struct simdisk_image *simdisk_save(const struct simdisk *);
void simdisk_put_back(struct simdisk *, const struct simdisk_image *);
void simdisk_image_free(struct simdisk_image *);
bool simdisk_copy(struct simdisk *to, const char *as, struct simdisk *from, const char *name);   /* a database and its log under another name; false: there is none */
#endif
