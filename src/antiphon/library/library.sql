-- Files, stores and documents of all projects. Their bytes are elsewhere, under their SHA-256.
CREATE TABLE itself (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id  TEXT NOT NULL            -- of this library among those that keep their bytes in the same place
);
CREATE TABLE file (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  project TEXT NOT NULL,
  id TEXT NOT NULL,
  display_name TEXT,
  file_name TEXT,           -- as the client's disk has it, where it said so
  mime_type TEXT NOT NULL,
  size INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  created REAL NOT NULL,
  expires REAL NOT NULL,
  source TEXT NOT NULL DEFAULT 'UPLOADED',  -- or GENERATED
  UNIQUE (project, id)
);
CREATE INDEX file_of_blob ON file (sha256);
CREATE INDEX file_expires ON file (expires);
CREATE TABLE store (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  project TEXT NOT NULL,
  id TEXT NOT NULL UNIQUE,
  display_name TEXT,
  created REAL NOT NULL,
  updated REAL NOT NULL
);
CREATE INDEX store_of_project ON store (project, seq);
CREATE TABLE document (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  store INTEGER NOT NULL REFERENCES store (seq),
  id TEXT NOT NULL,
  display_name TEXT NOT NULL,
  mime_type TEXT NOT NULL,
  size INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  metadata BLOB NOT NULL,   -- JSON: key -> text, number or list of texts
  max_tokens INTEGER NOT NULL,
  overlap INTEGER NOT NULL,
  state TEXT NOT NULL,      -- pending -> active | failed
  error TEXT,               -- why it failed
  attempts INTEGER NOT NULL DEFAULT 0,
  created REAL NOT NULL,
  updated REAL NOT NULL,
  UNIQUE (store, id)
);
CREATE INDEX document_of_blob ON document (sha256);
CREATE INDEX document_pending ON document (seq) WHERE state = 'pending';
CREATE TABLE operation (
  id TEXT PRIMARY KEY,
  store INTEGER NOT NULL,
  document INTEGER NOT NULL,  -- may be gone
  document_id TEXT NOT NULL,
  kind TEXT NOT NULL,         -- upload | import
  created REAL NOT NULL
);
CREATE INDEX operation_of_store ON operation (store);
CREATE TABLE upload (
  id TEXT PRIMARY KEY,        -- a secret: whoever has it may go on with the upload
  project TEXT NOT NULL,
  store TEXT,                 -- a store's id, or none for a file
  request BLOB NOT NULL,      -- JSON: what was said about the bytes
  size INTEGER,               -- how many were announced
  file_name TEXT,
  state TEXT NOT NULL,        -- active -> final | cancelled
  result TEXT,                -- the id of the file, or of the operation
  created REAL NOT NULL
);
