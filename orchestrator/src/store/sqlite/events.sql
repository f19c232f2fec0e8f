-- What happened to streams. A number is never given twice, also when the newest event is gone: apps remember up to where
-- they have read. Events outlive their stream.

CREATE TABLE events (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    stream     TEXT NOT NULL,
    kind       TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    body       TEXT NOT NULL
);
CREATE INDEX events_by_stream ON events (stream, number);

PRAGMA user_version = 9;
