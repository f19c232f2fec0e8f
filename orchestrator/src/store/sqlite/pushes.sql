-- Segments that came over HTTP, by the number that the app gave them. `first_seq` is set once cutting has begun,
-- `end_seq` when all that can be made of it is durable.

CREATE TABLE pushes (
    stream      TEXT NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    first_seq   INTEGER,
    tail        TEXT,
    end_seq     INTEGER,
    reason      TEXT,
    PRIMARY KEY (stream, number)
);
CREATE INDEX pushes_open ON pushes (stream, number) WHERE end_seq IS NULL;

PRAGMA user_version = 2;
