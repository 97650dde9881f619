-- What is kept beside interactions: keys, webhooks, deliveries, triggers …; `body` is JSON, as its kind has it.
CREATE TABLE entry (
  kind    TEXT NOT NULL,
  project TEXT NOT NULL,
  id      TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1,  -- raised by every change, which must name the one it was made to
  due     REAL,                        -- when something is to be done about it; null for never
  body    BLOB NOT NULL,
  PRIMARY KEY (kind, project, id)
) WITHOUT ROWID;
CREATE INDEX entry_by_id ON entry (kind, id, project);
CREATE INDEX entry_by_due ON entry (kind, due) WHERE due IS NOT NULL;

CREATE TABLE counter (
  kind    TEXT NOT NULL,
  project TEXT NOT NULL,
  id      TEXT NOT NULL,
  amount  REAL NOT NULL,
  expires REAL NOT NULL,               -- from then on it begins anew, or is swept away
  PRIMARY KEY (kind, project, id)
) WITHOUT ROWID;
CREATE INDEX counter_by_expiry ON counter (expires);
