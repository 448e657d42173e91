-- entries: what this agent began, or gave back unrun, and how it ended. (command_id, attempt) is the fencing token: never begun twice.
CREATE TABLE entries (
	entry INTEGER PRIMARY KEY,
	command_id TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	agent_id TEXT NOT NULL,                -- the slot it was given to, and whose name it is answered under
	type TEXT NOT NULL,
	is_idempotent INTEGER NOT NULL,
	state TEXT NOT NULL CHECK (state = 'STARTED' OR state = 'FINISHED' OR state = 'NOT_STARTED'),
	answer TEXT NOT NULL CHECK (answer = 'OPEN' OR answer = 'ANSWERED' OR answer = 'ORPHAN'),
	status TEXT CHECK (status IN ('COMPLETED', 'FAILED')),
	failure_code TEXT,
	result TEXT,
	error TEXT,
	boot INTEGER NOT NULL,
	started_at INTEGER,
	finished_at INTEGER,
	answered_at INTEGER,
	UNIQUE (command_id, attempt)
);
CREATE INDEX entries_open ON entries (entry) WHERE answer = 'OPEN';

-- meta: journal_id (made once), boot (raised and synced at each start), name, fenced, restore.
CREATE TABLE meta (
	name TEXT PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;
