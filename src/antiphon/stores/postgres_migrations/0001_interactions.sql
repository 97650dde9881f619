-- An interaction: its request as JSON (`record`), and what queries need to see of it.
CREATE TABLE antiphon.interaction (
  id           text COLLATE "C" PRIMARY KEY,   -- begins with the time, so the order of ids is the order of creation
  project      text COLLATE "C" NOT NULL,
  conversation text COLLATE "C" NOT NULL,      -- the chain's first id: deletes of one conversation come one by one
  previous_id  text COLLATE "C",               -- the turn before; its row stays while this one does
  status       text COLLATE "C" NOT NULL,      -- in_progress -> one of the ended ones, once
  attempt      integer NOT NULL DEFAULT 1,     -- who may append: raised when a run is taken over
  last         bigint NOT NULL,                -- the number of the last event; the next append begins behind it
  hidden       boolean NOT NULL DEFAULT false, -- -> true when deleted or expired while a later turn still needs it
  compacted    boolean NOT NULL,               -- -> true when the deltas of the ended log have been merged
  updated      double precision NOT NULL,
  ended        double precision,               -- null while in progress
  expires      double precision NOT NULL,
  record       bytea NOT NULL,
  frames       bytea NOT NULL                  -- the log as far as it was when the row was made: mostly the whole of it
) WITH (fillfactor = 90);
-- An append changes `last` and `updated` only. No index knows these, so it writes no index (a heap-only update).
CREATE INDEX interaction_by_project ON antiphon.interaction (project, id) WHERE NOT hidden;
CREATE INDEX interaction_by_previous ON antiphon.interaction (previous_id) WHERE previous_id IS NOT NULL;
CREATE INDEX interaction_by_expiry ON antiphon.interaction (expires) WHERE NOT hidden;
CREATE INDEX interaction_unfinished ON antiphon.interaction (id) WHERE ended IS NULL;
CREATE INDEX interaction_uncompacted ON antiphon.interaction (ended) WHERE NOT compacted;

-- What came to a log afterwards: frames as clients are sent them, many events to a row; `last` is the number of the last.
CREATE TABLE antiphon.segment (
  interaction_id text COLLATE "C" NOT NULL REFERENCES antiphon.interaction (id) ON DELETE CASCADE,
  last           bigint NOT NULL,
  frames         bytea NOT NULL,
  PRIMARY KEY (interaction_id, last)
);

CREATE TABLE antiphon.secret (name text PRIMARY KEY, value bytea NOT NULL);
