-- insert_interaction: keep a new interaction
INSERT INTO interaction (id, project, previous_id, status, updated, expires, compacted, record, frames, crashes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- insert_segment: keep more of a log
INSERT INTO segment (interaction_id, last, frames) VALUES (:id, :last, :frames);

-- advance: let the current attempt, and no other, go on
UPDATE interaction SET status = :status, updated = :updated
WHERE id = :id AND attempt = :attempt AND status = 'in_progress' AND hidden = 0;

-- claim: begin a new attempt at what has not ended
UPDATE interaction SET attempt = attempt + 1, crashes = crashes + 1
WHERE id = :id AND status = 'in_progress' AND hidden = 0;

-- release: give an attempt back: it writes nothing more, and was no crash
UPDATE interaction SET attempt = attempt + 1, crashes = crashes - 1
WHERE id = :id AND attempt = :attempt AND status = 'in_progress';

-- exists: whether an id is taken
SELECT 1 FROM interaction WHERE id = :id;

-- unfinished: what has not ended and was last written to by then, oldest first
SELECT id FROM interaction WHERE status = 'in_progress' AND hidden = 0 AND updated <= :until ORDER BY id;

-- reached: how far a log has come: its last frames
SELECT i.id, i.status, coalesce(s.frames, i.frames)
FROM interaction i LEFT JOIN segment s ON s.interaction_id = i.id
WHERE i.id = :id AND i.hidden = 0
ORDER BY s.last DESC LIMIT 1;

-- get: one interaction that its project may see, a row for each segment
SELECT i.id, i.record, i.status, i.updated, i.attempt, i.compacted, i.hidden, i.crashes, i.frames, s.frames
FROM interaction i LEFT JOIN segment s ON s.interaction_id = i.id AND s.last > :after
WHERE i.id = :id AND i.project = :project AND i.hidden = 0 AND i.expires > :now
ORDER BY s.last;

-- get_claimed: the same for whoever holds the attempt
SELECT i.id, i.record, i.status, i.updated, i.attempt, i.compacted, i.hidden, i.crashes, i.frames, s.frames
FROM interaction i LEFT JOIN segment s ON s.interaction_id = i.id
WHERE i.id = :id
ORDER BY s.last;

-- lineage: the chain that ends with an interaction its project may see, oldest first, hidden ancestors too
WITH RECURSIVE chain (id, depth) AS (
  SELECT id, 0 FROM interaction WHERE id = :id AND project = :project AND hidden = 0 AND expires > :now
  UNION ALL
  SELECT i.previous_id, depth + 1 FROM chain JOIN interaction i USING (id) WHERE i.previous_id IS NOT NULL
)
SELECT i.id, i.record, i.status, i.updated, i.attempt, i.compacted, i.hidden, i.crashes, i.frames, s.frames
FROM chain JOIN interaction i USING (id) LEFT JOIN segment s ON s.interaction_id = i.id
ORDER BY depth DESC, s.last;

-- page: a project's interactions, newest first
SELECT i.id, i.record, i.status, i.updated, i.attempt, i.compacted, i.hidden, i.crashes, i.frames, s.frames
FROM (
  SELECT * FROM interaction
  WHERE project = :project AND hidden = 0 AND expires > :now AND id < :before ORDER BY id DESC LIMIT :size
) i LEFT JOIN segment s ON s.interaction_id = i.id
ORDER BY i.id DESC, s.last;

-- hide: delete for everyone but the later turns that need it
UPDATE interaction SET hidden = 1 WHERE id = :id AND project = :project AND hidden = 0 AND expires > :now;

-- expired: what has outlived its retention, youngest first
SELECT id FROM interaction WHERE hidden = 0 AND expires <= :now AND status <> 'in_progress' ORDER BY id DESC LIMIT :size;

-- hide_expired: the same as hide, for one of those
UPDATE interaction SET hidden = 1 WHERE id = :id;

-- erase_leaf: erase what is hidden and has no later turn; says which turn came before it
DELETE FROM interaction
WHERE id = :id AND hidden = 1 AND NOT EXISTS (SELECT 1 FROM interaction c WHERE c.previous_id = interaction.id)
RETURNING previous_id;

-- uncompacted: ended logs that nobody is expected to resume any more
SELECT id FROM interaction
WHERE compacted = 0 AND updated <= :before AND status <> 'in_progress' ORDER BY updated LIMIT :size;

-- erase_segments: forget what came to a log afterwards, to write the log anew
DELETE FROM segment WHERE interaction_id = :id;

-- set_compacted: keep a log that has been merged
UPDATE interaction SET compacted = 1, frames = :frames WHERE id = :id;

-- insert_secret: keep a secret, the first one of its name
INSERT OR IGNORE INTO secret (name, value) VALUES (:name, :value);

-- secret: a secret
SELECT value FROM secret WHERE name = :name;
