-- settings: what every connection starts with; a database that acknowledges before its disk has it is asked to wait, and
-- none is to compile queries (jit), which takes longer than any of these
SELECT set_config('statement_timeout', $1::text, false),
       set_config('jit', 'off', false),
       set_config('idle_in_transaction_session_timeout', $2::text, false),
       set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                                        ELSE current_setting('synchronous_commit') END, false);

-- lock_schema: let one server at a time look at the schema, and change it
SELECT pg_advisory_xact_lock(1095652432, 1);

-- found: whether the schema is there (somebody else may have made it for us), and whether a server has been here before
SELECT to_regnamespace('antiphon') IS NOT NULL AS schema, to_regclass('antiphon.version') IS NOT NULL AS version;

-- create_schema: a place of our own in the database
CREATE SCHEMA antiphon;

-- create_version: where the number of the last migration stands
CREATE TABLE antiphon.version (number integer NOT NULL);

-- version: the number of the last migration
SELECT number FROM antiphon.version;

-- insert_version: none yet
INSERT INTO antiphon.version (number) VALUES (0);

-- set_version: this one was the last
UPDATE antiphon.version SET number = $1;

-- create: keep new interactions; says which were not there before
INSERT INTO antiphon.interaction
  (id, project, conversation, previous_id, status, last, compacted, updated, ended, expires, record, frames, crashes)
SELECT t.* FROM unnest(
  $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
  $7::boolean[], $8::float8[], $9::float8[], $10::float8[], $11::bytea[], $12::bytea[], $13::integer[]) t
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- record: what an interaction was created with
SELECT record FROM antiphon.interaction WHERE id = $1;

-- append: let current attempts, and no others, go on from exactly where their logs end; says which did
WITH input AS (
  SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[], $7::float8[])
    AS t (id, attempt, status, first, last, frames, now)
  ORDER BY id
), advanced AS (
  UPDATE antiphon.interaction i
  SET status = t.status, last = t.last, updated = t.now, ended = CASE WHEN t.status <> 'in_progress' THEN t.now END
  FROM input t
  WHERE i.id = t.id AND i.attempt = t.attempt AND i.last = t.first - 1 AND i.ended IS NULL AND NOT i.hidden
  RETURNING i.id, t.last, t.frames
)
INSERT INTO antiphon.segment (interaction_id, last, frames) SELECT id, last, frames FROM advanced
RETURNING interaction_id;

-- tail: how far a log has come, and what stands in it from event $2 on
SELECT i.attempt, i.hidden, i.last,
  (SELECT string_agg(s.frames, ''::bytea ORDER BY s.last) FROM antiphon.segment s
   WHERE s.interaction_id = i.id AND s.last >= $2) AS frames
FROM antiphon.interaction i WHERE i.id = $1;

-- claim: begin a new attempt at what has not ended; says which
UPDATE antiphon.interaction SET attempt = attempt + 1, crashes = crashes + 1
WHERE id = $1 AND ended IS NULL AND NOT hidden RETURNING attempt;

-- release: give an attempt back: it writes nothing more, and was no crash
UPDATE antiphon.interaction SET attempt = attempt + 1, crashes = crashes - 1
WHERE id = $1 AND attempt = $2 AND ended IS NULL;

-- exists: whether an id is taken
SELECT 1 FROM antiphon.interaction WHERE id = $1;

-- unfinished: what has not ended and was last written to by then, oldest first
SELECT id FROM antiphon.interaction WHERE ended IS NULL AND NOT hidden AND updated <= $1 ORDER BY id;

-- reached: how far logs have come
SELECT id, last, ended IS NOT NULL AS ended FROM antiphon.interaction WHERE id = ANY($1::text[]) AND NOT hidden;

-- get: one interaction that its project may see
SELECT i.record, i.status, i.updated, i.attempt, i.compacted, i.hidden, i.crashes, i.frames,
  (SELECT string_agg(s.frames, ''::bytea ORDER BY s.last) FROM antiphon.segment s WHERE s.interaction_id = i.id AND s.last > $4) AS more
FROM antiphon.interaction i
WHERE i.id = $1 AND i.project = $2 AND NOT i.hidden AND i.expires > $3;

-- get_claimed: the same for whoever holds the attempt
SELECT i.record, i.status, i.updated, i.attempt, i.compacted, i.hidden, i.crashes, i.frames,
  (SELECT string_agg(s.frames, ''::bytea ORDER BY s.last) FROM antiphon.segment s WHERE s.interaction_id = i.id) AS more
FROM antiphon.interaction i
WHERE i.id = $1;

-- lineage: the chain that ends with an interaction its project may see, oldest first, hidden ancestors too
WITH RECURSIVE chain (id, previous_id, depth) AS (
  SELECT id, previous_id, 0 FROM antiphon.interaction WHERE id = $1 AND project = $2 AND NOT hidden AND expires > $3
  UNION ALL
  SELECT i.id, i.previous_id, depth + 1 FROM chain JOIN antiphon.interaction i ON i.id = chain.previous_id
)
SELECT i.record, i.status, i.updated, i.attempt, i.compacted, i.hidden, i.crashes, i.frames,
  (SELECT string_agg(s.frames, ''::bytea ORDER BY s.last) FROM antiphon.segment s WHERE s.interaction_id = i.id) AS more
FROM chain JOIN antiphon.interaction i ON i.id = chain.id
ORDER BY depth DESC;

-- page: a project's interactions, newest first
SELECT i.record, i.status, i.updated, i.attempt, i.compacted, i.hidden, i.crashes, i.frames,
  (SELECT string_agg(s.frames, ''::bytea ORDER BY s.last) FROM antiphon.segment s WHERE s.interaction_id = i.id) AS more
FROM antiphon.interaction i
WHERE i.project = $1 AND NOT i.hidden AND i.expires > $2 AND i.id < $3
ORDER BY i.id DESC LIMIT $4;

-- lock_conversations: delete in these interactions' conversations alone; always in the same order, so that nobody waits in a circle
SELECT pg_advisory_xact_lock(key) FROM (
  SELECT DISTINCT hashtextextended(conversation, 0) AS key FROM antiphon.interaction WHERE id = ANY($1::text[]) ORDER BY key
) conversations;

-- hide: delete for everyone but the later turns that need it; says if there was something to hide
UPDATE antiphon.interaction SET hidden = true
WHERE id = $1 AND project = $2 AND NOT hidden AND expires > $3
RETURNING id;

-- erase: erase what is hidden and has no later turn and, going back, what was only kept for it; says which, and what stood
-- before those
WITH RECURSIVE gone (id, previous_id) AS (
  SELECT i.id, i.previous_id FROM antiphon.interaction i
  WHERE i.id = ANY($1::text[]) AND i.hidden
    AND NOT EXISTS (SELECT 1 FROM antiphon.interaction c WHERE c.previous_id = i.id)
  UNION
  SELECT p.id, p.previous_id FROM gone JOIN antiphon.interaction p ON p.id = gone.previous_id
  WHERE p.hidden AND NOT EXISTS (SELECT 1 FROM antiphon.interaction c WHERE c.previous_id = p.id AND c.id <> gone.id)
)
DELETE FROM antiphon.interaction i USING gone WHERE i.id = gone.id RETURNING i.id, i.previous_id;

-- lock_sweep: whether this server is to sweep; while another does, there is nothing to do
SELECT pg_try_advisory_xact_lock(1095652432, 2);

-- expired: what has outlived its retention
SELECT id FROM antiphon.interaction WHERE NOT hidden AND expires <= $1 AND ended IS NOT NULL ORDER BY expires LIMIT $2;

-- hide_expired: the same as hide, for those; says which were not hidden meanwhile
UPDATE antiphon.interaction SET hidden = true WHERE id = ANY($1::text[]) AND NOT hidden RETURNING id;

-- patience: how long a transaction may wait for this server while it compacts
SELECT set_config('idle_in_transaction_session_timeout', $1::text, true);

-- uncompacted: ended logs that nobody is expected to resume any more
SELECT i.id, i.frames,
  (SELECT string_agg(s.frames, ''::bytea ORDER BY s.last) FROM antiphon.segment s WHERE s.interaction_id = i.id) AS more
FROM antiphon.interaction i
WHERE NOT i.compacted AND i.ended <= $1 ORDER BY i.ended LIMIT $2;

-- erase_segments: forget what came to these logs afterwards, since they are written anew
DELETE FROM antiphon.segment WHERE interaction_id = ANY($1::text[]);

-- set_compacted: keep logs that have been merged
UPDATE antiphon.interaction i SET compacted = true, frames = t.frames
FROM unnest($1::text[], $2::bytea[]) AS t (id, frames) WHERE i.id = t.id;

-- insert_secret: keep a secret, the first one of its name
INSERT INTO antiphon.secret (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING;

-- secret: a secret
SELECT value FROM antiphon.secret WHERE name = $1;

-- take_alone: whether this server now is the only one here; of the session, so that it goes with the connection
SELECT pg_try_advisory_lock(1095652432, 3);

-- take_shared: whether this server is one of several here that know of each other
SELECT pg_try_advisory_lock_shared(1095652432, 3);
