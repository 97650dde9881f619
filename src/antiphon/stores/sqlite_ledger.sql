-- put_entry: keep a new one; nothing happens where its name is taken
INSERT INTO entry (kind, project, id, body, due) VALUES (:kind, :project, :id, :body, :due) ON CONFLICT DO NOTHING;

-- read_entry: one of them
SELECT kind, project, id, body, version, due FROM entry WHERE kind = :kind AND project = :project AND id = :id;

-- change_entry: put something else in its place, if it is still what was read
UPDATE entry SET body = :body, due = :due, version = version + 1
WHERE kind = :kind AND project = :project AND id = :id AND version = :version;

-- remove_entry: remove one, whatever its version or only if it is still that
DELETE FROM entry
WHERE kind = :kind AND project = :project AND id = :id AND (:version IS NULL OR version = :version);

-- entries: a project's, in the order of ids; those with a prefix come before it and the last character there can be
SELECT kind, project, id, body, version, due FROM entry
WHERE kind = :kind AND project = :project AND id >= :prefix AND id < :prefix || char(1114111) AND id > :after
ORDER BY id LIMIT :size;

-- all_entries: the same, whosever they are
SELECT kind, project, id, body, version, due FROM entry
WHERE kind = :kind AND id >= :prefix AND id < :prefix || char(1114111) AND id > :after
ORDER BY id, project LIMIT :size;

-- due_entries: what is due, the longest due first
SELECT kind, project, id, body, version, due FROM entry
WHERE kind = :kind AND due <= :now
ORDER BY due, id, project LIMIT :size;

-- take_entry: let nobody else find one due for a while
UPDATE entry SET due = :until, version = version + 1 WHERE kind = :kind AND project = :project AND id = :id;

-- add: add to a counter, which begins anew once it has expired
INSERT INTO counter (kind, project, id, amount, expires) VALUES (:kind, :project, :id, :amount, :expires)
ON CONFLICT (kind, project, id) DO UPDATE SET
  amount = iif(expires <= :now, 0, amount) + excluded.amount,
  expires = iif(expires <= :now, excluded.expires, max(expires, excluded.expires))
RETURNING amount;

-- forget_counters: remove those that have expired
DELETE FROM counter WHERE expires <= :now;
