-- What workers found in windows of streams, beside renditions: captions and their like.
--
-- A chain is one track's windows, each of which begins where the one before is settled: `number` is the next one's. A
-- report is what came of a window: the bytes in the media store, or the reason why there are none.

CREATE TABLE chains (
    stream      TEXT NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
    kind        TEXT NOT NULL,
    track       TEXT NOT NULL,
    number      INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    position_ms INTEGER NOT NULL,
    seen_ms     INTEGER NOT NULL,
    context     TEXT NOT NULL,
    label       TEXT,
    open        INTEGER NOT NULL,
    PRIMARY KEY (stream, kind, track)
);
CREATE INDEX chains_open ON chains (stream) WHERE open = 1;

CREATE TABLE reports (
    stream     TEXT NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
    kind       TEXT NOT NULL,
    track      TEXT NOT NULL,
    number     INTEGER NOT NULL,
    start_ms   INTEGER NOT NULL,
    end_ms     INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    found      TEXT,
    reason     TEXT,
    PRIMARY KEY (stream, kind, track, number)
);
CREATE INDEX reports_by_time ON reports (stream, kind, track, end_ms);

PRAGMA user_version = 7;
