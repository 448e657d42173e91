-- commands: one row each, in order of acceptance. The id is made of created_at, nonce and the row number (util: id_text), so it needs no index.
-- A payload over 1 KiB stands apart, so that a change of state does not write it again.
CREATE TABLE commands (
	row INTEGER PRIMARY KEY,
	nonce INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	type TEXT NOT NULL,
	is_idempotent INTEGER NOT NULL,
	status TEXT NOT NULL CHECK (status = 'PENDING' OR status = 'RUNNING' OR status = 'COMPLETED' OR status = 'FAILED'),
	attempt INTEGER NOT NULL,
	max_attempts INTEGER NOT NULL,
	not_started INTEGER NOT NULL,          -- attempts handed back unrun: they do not count towards max_attempts
	redelivered INTEGER NOT NULL,          -- times the latest attempt was handed out again
	evidence INTEGER NOT NULL,             -- the strongest report received for the latest attempt (recover.h: enum held)
	agent_id TEXT,
	journal_id TEXT,
	boot_id TEXT,
	lease_ms INTEGER,                      -- the lease asked for at the poll; NULL: the server's
	failure_code TEXT,
	needs_review INTEGER NOT NULL,
	cancel_requested INTEGER NOT NULL,
	started_at INTEGER,
	finished_at INTEGER,
	updated_at INTEGER NOT NULL,
	payload TEXT,                          -- NULL: in payloads
	result TEXT,
	error TEXT
);
CREATE INDEX commands_pending ON commands (row) WHERE status = 'PENDING';
CREATE INDEX commands_running ON commands (agent_id) WHERE status = 'RUNNING';
CREATE INDEX commands_failed ON commands (row) WHERE status = 'FAILED';
CREATE INDEX commands_review ON commands (row) WHERE needs_review = 1;
CREATE INDEX commands_lost ON commands (agent_id) WHERE needs_review = 1 AND failure_code = 'AGENT_LOST';

CREATE TABLE payloads (
	row INTEGER PRIMARY KEY,
	payload TEXT NOT NULL
);

-- Idempotency-Key of a create: the same key with the same request finds the same command.
CREATE TABLE idempotency_keys (
	key TEXT PRIMARY KEY,
	row INTEGER NOT NULL,
	max_attempts INTEGER NOT NULL          -- as asked for: a RETRY raises the command's own
) WITHOUT ROWID;

-- What happened beyond the plain path, for people.
CREATE TABLE events (
	event INTEGER PRIMARY KEY,
	row INTEGER NOT NULL,
	at INTEGER NOT NULL,
	kind TEXT NOT NULL,
	actor TEXT,
	attempt INTEGER NOT NULL,
	evidence TEXT,
	verdict TEXT,
	detail TEXT
);
CREATE INDEX events_row ON events (row);

-- The journal each agent name last polled with, and the newest boot of each journal: clones and roll-backs show against them.
CREATE TABLE agents (
	agent_id TEXT PRIMARY KEY,
	journal_id TEXT,
	boot_id TEXT,
	last_seen_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE journals (
	journal_id TEXT PRIMARY KEY,
	boot INTEGER NOT NULL,
	boot_id TEXT NOT NULL
) WITHOUT ROWID;

-- Facts about the database itself: 'paused' when it came from a backup.
CREATE TABLE facts (
	name TEXT PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;
