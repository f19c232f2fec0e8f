-- Schema of the embedded store. Structured columns are JSON text; what is searched for has columns of its own.

CREATE TABLE streams (
    id                 TEXT PRIMARY KEY,
    name               TEXT NOT NULL,
    source             TEXT NOT NULL,
    profile            TEXT NOT NULL,
    listed             INTEGER NOT NULL,
    created_ms         INTEGER NOT NULL,
    key_sha256         TEXT,
    state              TEXT NOT NULL,
    state_since_ms     INTEGER NOT NULL,
    reason             TEXT,
    grace_ends_ms      INTEGER NOT NULL,
    next_seq           INTEGER NOT NULL,
    first_seq          INTEGER NOT NULL DEFAULT 0,
    listed_seq         INTEGER NOT NULL,
    failed_segments    INTEGER NOT NULL,
    tail               TEXT,
    rungs              TEXT NOT NULL,
    target_duration_s  INTEGER NOT NULL,
    variants           TEXT NOT NULL,
    source_bytes       INTEGER NOT NULL,
    source_bytes_total INTEGER
);
CREATE INDEX streams_by_age ON streams (created_ms DESC, id DESC);
CREATE INDEX streams_by_state ON streams (state);

CREATE TABLE segments (
    stream        TEXT NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
    seq           INTEGER NOT NULL,
    discontinuity INTEGER NOT NULL,
    start_ns      INTEGER NOT NULL,
    duration_ns   INTEGER NOT NULL,
    wall_ms       INTEGER,
    arrived_ms    INTEGER NOT NULL,
    video         TEXT,
    audio         TEXT,
    state         TEXT NOT NULL,
    renditions    TEXT NOT NULL,
    PRIMARY KEY (stream, seq)
);

-- `ready_ms` is set while a task waits, `due_ms` while it is leased, `checking_ms` while it is checked. Settled
-- tasks have none and fall out of the indexes, so work on a long stream costs the same as on a short one.
CREATE TABLE tasks (
    id          TEXT PRIMARY KEY,
    stream      TEXT NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
    version     INTEGER NOT NULL,
    live        INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    ready_ms    INTEGER,
    due_ms      INTEGER,
    checking_ms INTEGER,
    record      TEXT NOT NULL
);
CREATE INDEX tasks_ready ON tasks (live DESC, created_ms, seq) WHERE ready_ms IS NOT NULL;
CREATE INDEX tasks_due ON tasks (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX tasks_checking ON tasks (checking_ms) WHERE checking_ms IS NOT NULL;
CREATE INDEX tasks_by_stream ON tasks (stream);
CREATE INDEX tasks_open ON tasks (stream)
    WHERE ready_ms IS NOT NULL OR due_ms IS NOT NULL OR checking_ms IS NOT NULL;

CREATE TABLE leases (
    worker TEXT NOT NULL,
    task   TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    PRIMARY KEY (worker, task)
);
CREATE INDEX leases_by_task ON leases (task);

CREATE TABLE workers (
    address  TEXT PRIMARY KEY,
    offer    TEXT NOT NULL,
    seen_ms  INTEGER NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0,
    failed   INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE health (checks INTEGER NOT NULL);
INSERT INTO health VALUES (0);

PRAGMA user_version = 1;
