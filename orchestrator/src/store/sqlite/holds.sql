-- Segments that moderation holds back, as JSON.

ALTER TABLE segments ADD COLUMN hold TEXT;
ALTER TABLE streams ADD COLUMN withheld_segments INTEGER NOT NULL DEFAULT 0;
CREATE INDEX segments_held ON segments (stream, seq) WHERE hold IS NOT NULL;

PRAGMA user_version = 11;
