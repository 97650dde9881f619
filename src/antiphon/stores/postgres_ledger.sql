-- put_entry: keep a new one; says whether its name was free
INSERT INTO antiphon.entry (kind, project, id, body, due) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING version;

-- read_entry: one of them
SELECT kind, project, id, body, version, due FROM antiphon.entry WHERE kind = $1 AND project = $2 AND id = $3;

-- change_entry: put something else in its place, if it is still what was read; says whether it was
UPDATE antiphon.entry SET body = $4, due = $5, version = version + 1
WHERE kind = $1 AND project = $2 AND id = $3 AND version = $6 RETURNING version;

-- remove_entry: remove one, whatever its version or only if it is still that; says whether it was there
DELETE FROM antiphon.entry
WHERE kind = $1 AND project = $2 AND id = $3 AND ($4::bigint IS NULL OR version = $4) RETURNING version;

-- entries: a project's, in the order of ids; those with a prefix come before it and the last character there can be
SELECT kind, project, id, body, version, due FROM antiphon.entry
WHERE kind = $1 AND project = $2 AND id >= $3 AND id < $3 || chr(1114111) AND id > $4
ORDER BY id LIMIT $5;

-- all_entries: the same, whosever they are
SELECT kind, project, id, body, version, due FROM antiphon.entry
WHERE kind = $1 AND id >= $2 AND id < $2 || chr(1114111) AND id > $3
ORDER BY id, project LIMIT $4;

-- take_due: let nobody else find what is due for a while; passes over what another server is just taking
WITH found AS (
  SELECT kind, project, id, due FROM antiphon.entry
  WHERE kind = $1 AND due <= $2
  ORDER BY due, id, project LIMIT $4 FOR UPDATE SKIP LOCKED
), taken AS (
  UPDATE antiphon.entry e SET due = $2::float8 + $3::float8, version = version + 1
  FROM found f WHERE e.kind = f.kind AND e.project = f.project AND e.id = f.id
  RETURNING e.kind, e.project, e.id, e.body, e.version, e.due, f.due AS was
)
SELECT kind, project, id, body, version, due FROM taken ORDER BY was, id, project;

-- add: add to a counter, which begins anew once it has expired
INSERT INTO antiphon.counter AS c (kind, project, id, amount, expires) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (kind, project, id) DO UPDATE SET
  amount = CASE WHEN c.expires <= $6 THEN 0 ELSE c.amount END + excluded.amount,
  expires = CASE WHEN c.expires <= $6 THEN excluded.expires ELSE greatest(c.expires, excluded.expires) END
RETURNING amount;

-- forget_counters: remove those that have expired; says which
DELETE FROM antiphon.counter WHERE expires <= $1 RETURNING id;
