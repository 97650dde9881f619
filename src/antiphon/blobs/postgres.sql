-- settings: a database that acknowledges before its disk has it is asked to wait
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';

-- found: whether the tables are there
SELECT to_regclass('antiphon.blob_hold') IS NOT NULL;

-- lock_schema: let one server at a time make them; the store takes the same lock
SELECT pg_advisory_xact_lock(1095652432, 1);

-- create_schema: the store's place in the database, where the store has not been yet
CREATE SCHEMA IF NOT EXISTS antiphon;

-- create_blob: contents; whoever wants to hold or to delete one locks its row
CREATE TABLE antiphon.blob (
  sha256 text COLLATE "C" PRIMARY KEY
);

-- create_piece: the bytes, in pieces of one size but for the last
CREATE TABLE antiphon.blob_piece (
  sha256 text COLLATE "C" NOT NULL REFERENCES antiphon.blob ON DELETE CASCADE,
  number integer NOT NULL,
  body   bytea NOT NULL,
  PRIMARY KEY (sha256, number)
);

-- plain: media are packed already
ALTER TABLE antiphon.blob_piece ALTER COLUMN body SET STORAGE EXTERNAL;

-- create_hold: who holds what, and since when
CREATE TABLE antiphon.blob_hold (
  owner  text COLLATE "C" NOT NULL,
  sha256 text COLLATE "C" NOT NULL REFERENCES antiphon.blob,
  since  double precision NOT NULL,
  PRIMARY KEY (owner, sha256)
);

-- create_index: who holds a content
CREATE INDEX blob_hold_of ON antiphon.blob_hold (sha256);

-- claim: a row for each content, locked until the end of the transaction; says which are new. Names come in order, so that
-- two that want the same do not wait for each other in a circle
INSERT INTO antiphon.blob (sha256) SELECT * FROM unnest($1::text[]) ON CONFLICT (sha256) DO UPDATE SET sha256 = excluded.sha256
RETURNING sha256, xmax = 0 AS new;

-- lock: those of some contents that are there, locked until the end of the transaction
SELECT sha256 FROM antiphon.blob WHERE sha256 = ANY($1::text[]) ORDER BY sha256 FOR UPDATE;

-- write: a piece of a content
INSERT INTO antiphon.blob_piece (sha256, number, body) VALUES ($1, $2, $3);

-- hold: let an owner hold contents
INSERT INTO antiphon.blob_hold (owner, sha256, since) SELECT $1, sha256, $3 FROM unnest($2::text[]) AS t (sha256)
ON CONFLICT (owner, sha256) DO UPDATE SET since = excluded.since;

-- held: what owners hold
SELECT DISTINCT sha256 FROM antiphon.blob_hold WHERE owner = ANY($1::text[]);

-- let_go: owners hold nothing any more
DELETE FROM antiphon.blob_hold WHERE owner = ANY($1::text[]);

-- erase: delete those of some contents that nobody holds
DELETE FROM antiphon.blob b WHERE b.sha256 = ANY($1::text[])
  AND NOT EXISTS (SELECT 1 FROM antiphon.blob_hold h WHERE h.sha256 = b.sha256);

-- there: whether a content is there
SELECT 1 FROM antiphon.blob WHERE sha256 = $1;

-- bodies: all pieces of some contents
SELECT sha256, body FROM antiphon.blob_piece WHERE sha256 = ANY($1::text[]) ORDER BY sha256, number;

-- pieces: some pieces of a content
SELECT body FROM antiphon.blob_piece WHERE sha256 = $1 AND number BETWEEN $2 AND $3 ORDER BY number;

-- owners: who has held all that they hold for some time
SELECT owner FROM antiphon.blob_hold WHERE owner > $1 AND starts_with(owner, $2)
GROUP BY owner HAVING max(since) <= $3 ORDER BY owner LIMIT $4;
