-- `attempt` only ever goes up, so that who was given back cannot write; what counts towards giving up stands apart.
ALTER TABLE interaction ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
UPDATE interaction SET crashes = attempt - 1 WHERE status = 'in_progress';
