-- An interaction: its request as JSON (`record`), and what queries need to see of it.
CREATE TABLE interaction (
  id          TEXT PRIMARY KEY,             -- begins with the time, so the order of ids is the order of creation
  project     TEXT NOT NULL,
  previous_id TEXT,                         -- the turn before; its row stays while this one does
  status      TEXT NOT NULL,                -- in_progress -> one of the ended ones, once
  attempt     INTEGER NOT NULL DEFAULT 1,   -- who may append: raised when a run is taken over
  hidden      INTEGER NOT NULL DEFAULT 0,   -- 0 -> 1 when deleted or expired while a later turn still needs it
  compacted   INTEGER NOT NULL DEFAULT 0,   -- 0 -> 1 when the deltas of the ended log have been merged
  updated     REAL NOT NULL,
  expires     REAL NOT NULL,
  record      BLOB NOT NULL,
  frames      BLOB NOT NULL                 -- the log as far as it was when the row was made: mostly the whole of it
);
CREATE INDEX interaction_by_project ON interaction (project, id) WHERE hidden = 0;
CREATE INDEX interaction_by_previous ON interaction (previous_id) WHERE previous_id IS NOT NULL;
CREATE INDEX interaction_by_expiry ON interaction (expires) WHERE hidden = 0;
CREATE INDEX interaction_unfinished ON interaction (id) WHERE status = 'in_progress';
CREATE INDEX interaction_uncompacted ON interaction (updated) WHERE compacted = 0;

-- What came to a log afterwards: frames as clients are sent them, many events to a row; `last` is the number of the last.
CREATE TABLE segment (
  interaction_id TEXT NOT NULL REFERENCES interaction (id) ON DELETE CASCADE,
  last           INTEGER NOT NULL,
  frames         BLOB NOT NULL,
  PRIMARY KEY (interaction_id, last)
);

CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL);
