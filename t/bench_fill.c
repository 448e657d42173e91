/* bench_fill: databases of a given size, made through SQLite in a few large statements instead of a few million requests. The schema is the server's own
 * (--migrate made it); what stands in the rows is what the server would have written. */
#include "bench.h"
#include <sqlite3.h>
#include <stdio.h>

#define BASE_MS INT64_C(1760000000000)

void fill_id(int64_t row, char out[ID_TEXT])
{
	id_text(row, row * 7919 % ID_NONCE_MAX, BASE_MS + row, out);
}

static void run(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		die(sql, sqlite3_errmsg(db));
}

/* n rows behind those there; `columns` are the 17 from status to error, in SQL, of the counter i. */
static void rows(sqlite3 *db, long n, const char *columns)
{
	struct buf sql = {0};

	if (n == 0)
		return;
	buf_fmt(&sql, "WITH RECURSIVE base(b) AS (SELECT coalesce(max(row), 0) FROM commands), n(i) AS (SELECT b + 1 FROM base UNION ALL SELECT i + 1 FROM n, base WHERE i < b + %ld) "
		"INSERT INTO commands (row, nonce, created_at, type, is_idempotent, max_attempts, not_started, redelivered, cancel_requested, updated_at, payload, "
		"status, attempt, evidence, agent_id, journal_id, boot_id, failure_code, needs_review, started_at, finished_at, result, error) "
		"SELECT i, i * 7919 %% %lld, %lld + i, 'DELAY', 0, 5, 0, 0, 0, %lld + i, '{\"ms\":0}', %s FROM n", n, (long long)ID_NONCE_MAX, (long long)BASE_MS,
		(long long)BASE_MS, columns);
	run(db, sql.data);
	buf_free(&sql);
}

/* One settled command in twenty failed, one in a thousand waits for review. */
void fill_database(const struct fill *f)
{
	sqlite3 *db;

	if (sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		die(f->path, sqlite3_errmsg(db));
	run(db, "PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF; PRAGMA journal_mode=OFF; PRAGMA cache_size=-64000; BEGIN");
	rows(db, f->settled, "CASE WHEN i % 20 THEN 'COMPLETED' ELSE 'FAILED' END, 1, CASE WHEN i % 1000 = 0 THEN 0 WHEN i % 20 THEN 2 ELSE 3 END, 'fleet/' || (i % 997), "
		"'01890a5d-ac96-774b-bcce-b302099a8057', '7-89abcdef', CASE WHEN i % 1000 = 0 THEN 'AGENT_LOST' WHEN i % 20 THEN NULL ELSE 'EXECUTION_FAILED' END, i % 1000 = 0, "
		"1760000000100 + i, 1760000000200 + i, CASE WHEN i % 20 THEN '{\"ok\":true,\"tookMs\":0}' END, CASE WHEN i % 20 THEN NULL ELSE 'it did not go well' END");
	rows(db, f->running, "'RUNNING', 1, 0, 'fleet/' || i, '01890a5d-ac96-774b-bcce-b302099a8057', '7-89abcdef', NULL, 0, 1760000000100 + i, NULL, NULL, NULL");
	rows(db, f->pending, "'PENDING', 0, 0, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL");
	run(db, "COMMIT");
	if (sqlite3_close(db) != SQLITE_OK)
		die(f->path, "cannot be closed");
}
