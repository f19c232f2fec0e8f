-- Streams that are fetched: from where, and what the URL turned out to be.

ALTER TABLE streams ADD COLUMN url TEXT;
ALTER TABLE streams ADD COLUMN fetched TEXT;

PRAGMA user_version = 3;
