-- What is kept beside interactions: keys, webhooks, deliveries, triggers …; `body` is JSON, as its kind has it.
CREATE TABLE antiphon.entry (
  kind    text COLLATE "C" NOT NULL,
  project text COLLATE "C" NOT NULL,
  id      text COLLATE "C" NOT NULL,
  version bigint NOT NULL DEFAULT 1,  -- raised by every change, which must name the one it was made to
  due     double precision,           -- when something is to be done about it; null for never
  body    bytea NOT NULL,
  PRIMARY KEY (kind, project, id)
);
CREATE INDEX entry_by_id ON antiphon.entry (kind, id, project);
CREATE INDEX entry_by_due ON antiphon.entry (kind, due) WHERE due IS NOT NULL;

CREATE TABLE antiphon.counter (
  kind    text COLLATE "C" NOT NULL,
  project text COLLATE "C" NOT NULL,
  id      text COLLATE "C" NOT NULL,
  amount  double precision NOT NULL,
  expires double precision NOT NULL,  -- from then on it begins anew, or is swept away
  PRIMARY KEY (kind, project, id)
) WITH (fillfactor = 50);             -- a count is mostly added to: that finds room beside it
CREATE INDEX counter_by_expiry ON antiphon.counter (expires);
