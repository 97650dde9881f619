-- One index: documents, their pieces, the words of the pieces. What is here can be made again from the documents.
CREATE TABLE document (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  title TEXT NOT NULL,
  url TEXT NOT NULL,
  metadata TEXT NOT NULL,   -- JSON: key -> text, number or list of texts
  embedder TEXT NOT NULL    -- whose vectors the pieces have, '' where they have none
);
CREATE TABLE chunk (
  id INTEGER PRIMARY KEY,
  document INTEGER NOT NULL REFERENCES document (id),
  page INTEGER,
  text TEXT NOT NULL,
  vector BLOB               -- float16, of length 1
);
CREATE INDEX chunk_of_document ON chunk (document);
-- Without a copy of the text: what a row said is given again when it is taken out.
CREATE VIRTUAL TABLE words USING fts5 (title, text, content = '', tokenize = 'porter unicode61 remove_diacritics 2');
