-- What is to be seen in a stream for a while, as the timeline tells it: ranges of moderation, appearances of things.
--
-- `changed` is the number of the window that wrote it last. A chain's `carry` is what its next window goes on with.

CREATE TABLE marks (
    stream   TEXT NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
    kind     TEXT NOT NULL,
    track    TEXT NOT NULL,
    number   INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms   INTEGER NOT NULL,
    changed  INTEGER NOT NULL,
    entry    TEXT NOT NULL,
    looks    BLOB NOT NULL,
    PRIMARY KEY (stream, kind, track, number)
);
CREATE INDEX marks_by_time ON marks (stream, kind, track, end_ms);
CREATE INDEX marks_by_change ON marks (stream, kind, track, changed);

ALTER TABLE chains ADD COLUMN carry TEXT;

PRAGMA user_version = 8;
