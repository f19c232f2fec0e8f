-- Pushed segments know where in them began what was made of them: so it can be given back at their own times.

ALTER TABLE pushes ADD COLUMN starts TEXT;

PRAGMA user_version = 6;
