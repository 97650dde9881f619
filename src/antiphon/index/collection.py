"""An index over documents: one SQLite file, searched by words (BM25), by meaning (cosine of vectors), or by both.

Vectors are read once into a matrix and compared exactly: at 100,000 pieces that takes some 10 ms, and needs no other
index. What is found by words and by meaning is joined by rank, since BM25 and a cosine cannot be added.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from antiphon import wire
from antiphon.index import chunks, ranking, terms
from antiphon.index.chunks import Chunking
from antiphon.index.database import Database, Work
from antiphon.index.embedders import Embedder
from antiphon.index.filters import Filter
from antiphon.index.matrix import Matrix
from antiphon.ports import Leaf

if TYPE_CHECKING:
    from antiphon.index.embedders import Vectors

T = TypeVar("T")
Mode = Literal["hybrid", "lexical", "dense"]
Value = str | float | list[str]
_COMMON = 0.5  # a word in more than this part of the pieces is looked for only where there is no rarer one
_FEW = 50  # and never, if it is in fewer than these
_DEPTH = 60  # how far down each order counts
_BATCH = 256  # pieces embedded at a time
_RANK = "bm25(4.0, 1.0)"  # what a word is worth in the title, and in the text
logger = logging.getLogger("antiphon.index")
_encode = msgspec.json.encode
_metadata = msgspec.json.Decoder(dict[str, str | float | list[str]]).decode


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A piece that was found; `page` counts from 1, `score` is only good for comparing hits of one search."""

    key: str
    title: str
    url: str
    text: str
    page: int | None = None
    score: float
    metadata: Mapping[str, Value] = {}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A document that is in an index."""

    key: str
    title: str
    url: str
    chunks: int
    metadata: Mapping[str, Value] = {}


class Index:
    """The documents of one collection in the file `path`; without one, in a folder that goes with the index."""

    def __init__(self, path: Path | None, embedder: Embedder | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="antiphon-index-") if path is None else None
        path = Path(self._temporary.name) / "index.db" if self._temporary is not None else path
        assert path is not None
        schema = files("antiphon.index").joinpath("index.sql").read_text(encoding="utf-8")
        # A commit that a power cut takes away is indexed again: whoever fills an index knows what should be in it.
        self._database = Database(path, schema, safe=False)
        self._embedder = embedder
        self._matrix: Matrix | None = None
        self._size: int | None = None
        self._changes = 0

    async def add(
        self,
        key: str,
        *,
        title: str = "",
        url: str = "",
        leaves: Sequence[Leaf],
        metadata: Mapping[str, Value] | None = None,
        chunking: Chunking = Chunking(),  # noqa: B008 - frozen
    ) -> int:
        """Put a document in, in place of what `key` had; how many pieces it makes. Raises wire.Unavailable."""
        pieces = list(chunks.split(leaves, chunking))
        vectors = await self._embed(title, [piece.text for piece in pieces])
        row = (key, title, url, _encode(metadata or {}).decode(), self._name)

        def work(connection: sqlite3.Connection) -> None:
            _remove(connection, key)
            insert = "INSERT INTO document (key, title, url, metadata, embedder) VALUES (?, ?, ?, ?, ?)"
            document = connection.execute(insert, row).lastrowid
            for piece, vector in zip(pieces, vectors, strict=True):
                values = (document, piece.page, piece.text, vector)
                insert = "INSERT INTO chunk (document, page, text, vector) VALUES (?, ?, ?, ?)"
                id = connection.execute(insert, values).lastrowid
                said = (id, terms.spaced(title), terms.spaced(piece.text))
                connection.execute("INSERT INTO words (rowid, title, text) VALUES (?, ?, ?)", said)

        await self._change(work)
        return len(pieces)

    async def remove(self, key: str) -> bool:
        """Take a document out; False where it was not in."""
        return await self._change(lambda connection: _remove(connection, key))

    async def entries(self) -> list[Entry]:
        """All documents, by key."""
        query = (
            "SELECT key, title, url, metadata, (SELECT count(*) FROM chunk WHERE document = document.id) "
            "FROM document ORDER BY key"
        )
        rows = await self._database.read(lambda connection: connection.execute(query).fetchall())
        return [
            Entry(key=key, title=title, url=url, chunks=count, metadata=_metadata(metadata))
            for key, title, url, metadata, count in rows
        ]

    async def search(
        self, query: str, top_k: int = 10, filter: Filter | None = None, mode: Mode = "hybrid"
    ) -> list[Hit]:
        """The best pieces for a query, best first; `filter` is asked about each document's metadata."""
        return await search([self], query, top_k, filter, mode)

    async def refresh(self) -> int:
        """Make the vectors anew that another embedder made; of how many documents."""
        query = "SELECT id, title FROM document WHERE embedder <> ? AND id IN (SELECT document FROM chunk)"
        stale = await self._database.read(lambda connection: connection.execute(query, (self._name,)).fetchall())
        for document, title in stale if self._embedder is not None else ():
            await self._embed_again(document, title)
        return len(stale)

    async def aclose(self) -> None:
        """Close the file. The next call opens it again, unless it was a temporary one."""
        await self._database.aclose()
        self._matrix = None
        if self._temporary is not None:
            self._temporary.cleanup()

    # ------------------------------------------------------------------ inside

    @property
    def _name(self) -> str:
        return self._embedder.name if self._embedder is not None else ""

    async def _change(self, work: Work[T]) -> T:
        try:
            return await self._database.write(work)
        finally:
            self._matrix, self._size, self._changes = None, None, self._changes + 1

    async def _embed(self, title: str, texts: Sequence[str]) -> list[bytes | None]:
        """The vector of each piece, as it is kept. A title says what a piece from the middle does not."""
        if self._embedder is None:
            return [None] * len(texts)
        vectors: list[bytes | None] = []
        for start in range(0, len(texts), _BATCH):
            batch = [f"{title}\n{text}" for text in texts[start : start + _BATCH]]
            vectors += [row.tobytes() for row in (await self._embedder.embed(batch)).astype("float16")]
        return vectors

    async def _embed_again(self, document: int, title: str) -> None:
        query = "SELECT id, text FROM chunk WHERE document = ? ORDER BY id"
        rows = await self._database.read(lambda connection: connection.execute(query, (document,)).fetchall())
        vectors = await self._embed(title, [text for _, text in rows])

        def work(connection: sqlite3.Connection) -> None:
            pairs = [(vector, id) for (id, _), vector in zip(rows, vectors, strict=True)]
            connection.executemany("UPDATE chunk SET vector = ? WHERE id = ?", pairs)
            connection.execute("UPDATE document SET embedder = ? WHERE id = ?", (self._name, document))

        await self._change(work)

    async def _ranked(self, words: Sequence[str], vector: Vectors | None, depth: int, filter: Filter | None) -> _Ranked:
        def work(connection: sqlite3.Connection) -> _Ranked:
            allowed = _allowed(connection, filter) if filter is not None else None
            lexical = _lexical(connection, words, depth, allowed, self._pieces(connection)) if words else []
            dense = self._vectors(connection).nearest(vector, depth, allowed) if vector is not None else []
            return _Ranked(lexical, dense)

        return await self._database.read(work)

    def _pieces(self, connection: sqlite3.Connection) -> int:
        size, changes = self._size, self._changes
        if size is None:
            (size,) = connection.execute("SELECT count(*) FROM chunk").fetchone()
            self._size = size if changes == self._changes else None
        return size

    def _vectors(self, connection: sqlite3.Connection) -> Matrix:
        matrix, changes = self._matrix, self._changes
        if matrix is None:
            query = (
                "SELECT chunk.id, document, vector FROM chunk JOIN document ON document.id = document "
                "WHERE embedder = ? AND vector IS NOT NULL"
            )
            matrix = Matrix(connection.execute(query, (self._name,)).fetchall())
            self._matrix = matrix if changes == self._changes else None  # something may have changed meanwhile
        return matrix

    async def _hits(self, scores: Mapping[int, float]) -> dict[int, Hit]:
        query = (
            "SELECT chunk.id, key, title, url, text, page, metadata FROM chunk JOIN document ON document.id = document "
            "WHERE chunk.id IN (SELECT value FROM json_each(?))"
        )
        ids = (_encode(list(scores)).decode(),)
        rows = await self._database.read(lambda connection: connection.execute(query, ids).fetchall())
        return {
            id: Hit(key=key, title=title, url=url, text=text, page=page, metadata=_metadata(metadata), score=scores[id])
            for id, key, title, url, text, page, metadata in rows
        }


async def search(
    indexes: Sequence[Index], query: str, top_k: int = 10, filter: Filter | None = None, mode: Mode = "hybrid"
) -> list[Hit]:
    """The best pieces of several indexes that have one embedder, best first."""
    words = terms.words(query) if mode != "dense" else []
    embedder = indexes[0]._embedder if indexes else None
    vector = await _query_vector(embedder, query) if mode != "lexical" else None
    depth = max(_DEPTH, 3 * top_k)
    ranked = [await index._ranked(words, vector, depth, filter) for index in indexes]
    orders = [_joined([one.lexical for one in ranked]), _joined([one.dense for one in ranked])]
    weight = embedder.weight if embedder is not None else 1.0
    best = ranking.fuse(orders, (1.0, weight))[:top_k]
    hits: dict[tuple[int, int], Hit] = {}
    for place, index in enumerate(indexes):
        found = await index._hits({id: score for (where, id), score in best if where == place})
        hits |= {(place, id): hit for id, hit in found.items()}
    return [hits[piece] for piece, _ in best if piece in hits]


def _joined(orders: Sequence[Sequence[tuple[float, int]]]) -> list[tuple[int, int]]:
    """What several indexes found, best first, as (number of the index, number of the piece)."""
    found = [(score, place, id) for place, order in enumerate(orders) for score, id in order]
    return [(place, id) for _, place, id in sorted(found, key=lambda item: -item[0])]


async def _query_vector(embedder: Embedder | None, query: str) -> Vectors | None:
    if embedder is None or not query.strip():
        return None
    try:
        vector: Vectors = (await embedder.embed([query], query=True))[0]
    except wire.Unavailable:
        logger.warning("searching by words only: the embedder does not answer", exc_info=True)
        return None
    return vector


class _Ranked(msgspec.Struct, frozen=True):
    """What was found by words and by meaning, best first: scores, the higher the better, and pieces."""

    lexical: list[tuple[float, int]]
    dense: list[tuple[float, int]]


def _lexical(
    connection: sqlite3.Connection, words: Sequence[str], depth: int, allowed: str | None, pieces: int
) -> list[tuple[float, int]]:
    common = max(_FEW, int(pieces * _COMMON))

    def occurrences(word: str) -> int:
        query = "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)"
        count: int = connection.execute(query, (terms.match([word]), common)).fetchone()[0]
        return count

    query = "SELECT rank, rowid FROM words WHERE words MATCH ? AND rank MATCH ?"
    values: list[Any] = [terms.match(terms.telling(words, occurrences, common)), _RANK]
    if allowed is not None:
        query += " AND rowid IN (SELECT id FROM chunk WHERE document IN (SELECT value FROM json_each(?)))"
        values.append(allowed)
    rows = connection.execute(f"{query} ORDER BY rank LIMIT ?", [*values, depth]).fetchall()
    return [(-rank, id) for rank, id in rows]


def _allowed(connection: sqlite3.Connection, filter: Filter) -> str:
    """The documents that a filter lets through, as a JSON list of their numbers."""
    rows = connection.execute("SELECT id, metadata FROM document").fetchall()
    return _encode([id for id, metadata in rows if filter(_metadata(metadata))]).decode()


def _remove(connection: sqlite3.Connection, key: str) -> bool:
    found = connection.execute("SELECT id, title FROM document WHERE key = ?", (key,)).fetchone()
    if found is None:
        return False
    document, title = found
    for id, text in connection.execute("SELECT id, text FROM chunk WHERE document = ?", (document,)).fetchall():
        said = (id, terms.spaced(title), terms.spaced(text))
        connection.execute("INSERT INTO words (words, rowid, title, text) VALUES ('delete', ?, ?, ?)", said)
    connection.execute("DELETE FROM chunk WHERE document = ?", (document,))
    connection.execute("DELETE FROM document WHERE id = ?", (document,))
    return True
