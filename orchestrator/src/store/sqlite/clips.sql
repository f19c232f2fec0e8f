-- Clips of streams. `from_seq` is the first segment that a pending one needs: it is kept meanwhile.

CREATE TABLE clips (
    stream     TEXT NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
    id         TEXT NOT NULL,
    rendition  TEXT NOT NULL,
    start_ns   INTEGER NOT NULL,
    end_ns     INTEGER NOT NULL,
    from_seq   INTEGER NOT NULL,
    to_seq     INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    state      TEXT NOT NULL,
    reason     TEXT,
    bytes      INTEGER NOT NULL,
    PRIMARY KEY (stream, id)
);
CREATE INDEX clips_pending ON clips (created_ms) WHERE state = 'pending';

PRAGMA user_version = 4;
