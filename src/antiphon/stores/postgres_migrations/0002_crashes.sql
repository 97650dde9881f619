-- `attempt` only ever goes up, so that who was given back cannot write; what counts towards giving up stands apart.
ALTER TABLE antiphon.interaction ADD COLUMN crashes integer NOT NULL DEFAULT 0;
UPDATE antiphon.interaction SET crashes = attempt - 1 WHERE ended IS NULL;
