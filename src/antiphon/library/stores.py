"""Stores of documents, their documents, and the operations that make them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from antiphon import wire
from antiphon.blobs import Gone
from antiphon.index import collection, filters
from antiphon.index.chunks import Chunking
from antiphon.index.collection import Hit, Mode, Value
from antiphon.library.indexes import Indexes
from antiphon.library.shelf import Shelf, new_id, rows

State = Literal["pending", "active", "failed"]
_metadata = msgspec.json.Decoder(dict[str, str | float | list[str]]).decode


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """A store, with how many documents of each state and how many bytes it has."""

    seq: int
    project: str
    id: str
    display_name: str | None
    created: float
    updated: float
    active: int = 0
    pending: int = 0
    failed: int = 0
    size: int = 0


class StoredDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document of a store; `error` is why it failed."""

    seq: int
    store: int
    id: str
    display_name: str
    mime_type: str
    size: int
    sha256: str
    metadata: bytes
    max_tokens: int
    overlap: int
    state: State
    error: str | None
    attempts: int
    created: float
    updated: float

    @property
    def values(self) -> dict[str, Value]:
        """The metadata."""
        return _metadata(self.metadata)


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become a document: bytes that are there, and what is said about them."""

    id: str  # of the document: nobody else has it
    display_name: str
    mime_type: str
    size: int
    sha256: str
    metadata: Mapping[str, Value]
    chunking: Chunking


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """How far a document is; `state` is None where it was deleted."""

    id: str
    kind: str
    document_id: str
    state: State | None
    error: str | None


_STORE = """
SELECT store.*,
  (SELECT count(*) FROM document WHERE store = store.seq AND state = 'active') AS active,
  (SELECT count(*) FROM document WHERE store = store.seq AND state = 'pending') AS pending,
  (SELECT count(*) FROM document WHERE store = store.seq AND state = 'failed') AS failed,
  (SELECT coalesce(sum(size), 0) FROM document WHERE store = store.seq) AS size
FROM store
"""
_OPERATION = """
SELECT operation.id, kind, document_id, state, error
FROM operation LEFT JOIN document ON document.seq = operation.document
WHERE operation.id = ? AND operation.store = ? AND kind = ?
"""


class Stores:
    """The stores of all projects; `arrived` is called when there is a document to index."""

    def __init__(self, shelf: Shelf, indexes: Indexes, arrived: Callable[[], None]) -> None:
        self._shelf = shelf
        self._indexes = indexes
        self._arrived = arrived

    # ------------------------------------------------------------------ stores

    async def create(self, project: str, display_name: str | None) -> Store:
        """A new, empty one."""
        id, now = new_id(display_name or ""), self._shelf.clock()
        query = "INSERT INTO store (project, id, display_name, created, updated) VALUES (?, ?, ?, ?, ?)"
        await self._shelf.database.write(
            lambda connection: connection.execute(query, (project, id, display_name, now, now)).close()
        )
        return await self.get(project, id)

    async def get(self, project: str, id: str) -> Store:
        """One store. Raises NotFound."""
        query, values = f"{_STORE} WHERE project = ? AND id = ?", (project, id)
        found = await self._shelf.database.read(lambda connection: rows(connection, Store, query, values))
        if not found:
            raise wire.NotFound(f"There is no store 'fileSearchStores/{id}'.")
        return found[0]

    async def page(self, project: str, after: int, size: int) -> list[Store]:
        """Up to `size` stores, the oldest first, younger than number `after`."""
        query, values = f"{_STORE} WHERE project = ? AND seq > ? ORDER BY seq LIMIT ?", (project, after, size)
        return await self._shelf.database.read(lambda connection: rows(connection, Store, query, values))

    async def delete(self, project: str, id: str, *, force: bool) -> None:
        """Take it away with its documents. Raises FailedPrecondition where it has some and `force` is False."""
        store = await self.get(project, id)

        def work(connection: sqlite3.Connection) -> list[str]:
            # A number may have been given to another since: the name says whether it is still this one.
            same = connection.execute("SELECT 1 FROM store WHERE seq = ? AND id = ?", (store.seq, id)).fetchone()
            if same is None:
                raise wire.NotFound(f"There is no store 'fileSearchStores/{id}'.")
            found = connection.execute("SELECT id FROM document WHERE store = ?", (store.seq,)).fetchall()
            if found and not force:
                raise wire.FailedPrecondition("Cannot delete non-empty FileSearchStore.")
            connection.execute("DELETE FROM document WHERE store = ?", (store.seq,))
            connection.execute("DELETE FROM operation WHERE store = ?", (store.seq,))
            connection.execute("DELETE FROM store WHERE seq = ?", (store.seq,))
            return [self.owner(document) for (document,) in found]

        await self._shelf.blobs.drop(await self._shelf.database.write(work))
        await self._indexes.erase(id)

    # ------------------------------------------------------------------ documents

    async def document(self, project: str, store: str, id: str) -> StoredDocument:
        """One document. Raises NotFound."""
        seq = (await self.get(project, store)).seq
        query = "SELECT * FROM document WHERE store = ? AND id = ?"
        found = await self._shelf.database.read(lambda connection: rows(connection, StoredDocument, query, (seq, id)))
        if not found:
            raise wire.NotFound(f"There is no document 'fileSearchStores/{store}/documents/{id}'.")
        return found[0]

    async def documents(self, project: str, store: str, after: int, size: int) -> list[StoredDocument]:
        """Up to `size` documents, the oldest first, younger than number `after`."""
        seq = (await self.get(project, store)).seq
        query, values = "SELECT * FROM document WHERE store = ? AND seq > ? ORDER BY seq LIMIT ?", (seq, after, size)
        return await self._shelf.database.read(lambda connection: rows(connection, StoredDocument, query, values))

    async def delete_document(self, project: str, store: str, id: str, *, force: bool) -> None:
        """Take it away. Raises FailedPrecondition where it can be searched and `force` is False."""
        document = await self.document(project, store, id)
        if document.state == "active" and not force:
            raise wire.FailedPrecondition("Cannot delete non-empty Document.")

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM document WHERE seq = ?", (document.seq,))
            connection.execute("UPDATE store SET updated = ? WHERE seq = ?", (self._shelf.clock(), document.store))

        await self._shelf.database.write(work)
        await self._shelf.blobs.drop([self.owner(document.id)])
        await self._indexes.of(store).remove(id)

    async def add(self, project: str, store: str, arrival: Arrival) -> Operation:
        """Make a document of bytes that another already has, in the background."""
        await self.get(project, store)
        owner = self.owner(arrival.id)
        try:
            await self._shelf.blobs.hold(owner, [arrival.sha256])
        except Gone:
            raise wire.NotFound("The file has just been deleted.") from None
        try:
            id = await self._shelf.database.write(lambda connection: self.insert(connection, store, arrival, "import"))
        except wire.ApiError:
            await self._shelf.blobs.drop([owner])
            raise
        self._arrived()
        return await self.operation(project, store, id, "import")

    def insert(self, connection: sqlite3.Connection, store: str, arrival: Arrival, kind: str) -> str:
        """Keep a new document and its operation, in a transaction of the caller's; the operation's id."""
        found = connection.execute("SELECT seq FROM store WHERE id = ?", (store,)).fetchone()
        if found is None:
            raise wire.NotFound(f"There is no store 'fileSearchStores/{store}'.")
        seq, now = found[0], self._shelf.clock()
        self.check_room(connection, seq, arrival.size)
        id, operation = arrival.id, new_id()
        fields = {
            "store": seq, "id": id, "display_name": arrival.display_name, "mime_type": arrival.mime_type,
            "size": arrival.size, "sha256": arrival.sha256, "metadata": msgspec.json.encode(arrival.metadata),
            "max_tokens": arrival.chunking.max_tokens, "overlap": arrival.chunking.overlap, "state": "pending",
            "created": now, "updated": now,
        }  # fmt: skip
        names = ", ".join(fields)
        places = ", ".join(f":{name}" for name in fields)
        document = connection.execute(f"INSERT INTO document ({names}) VALUES ({places})", fields).lastrowid  # noqa: S608
        values = (operation, seq, document, id, kind, now)
        connection.execute(
            "INSERT INTO operation (id, store, document, document_id, kind, created) VALUES (?, ?, ?, ?, ?, ?)", values
        )
        connection.execute("UPDATE store SET updated = ? WHERE seq = ?", (now, seq))
        return operation

    def check_room(self, connection: sqlite3.Connection, seq: int, size: int) -> None:
        """Whether so many bytes more fit into a store. Raises RateLimited."""
        query = "SELECT coalesce(sum(size), 0) FROM document WHERE store = ?"
        (used,) = connection.execute(query, (seq,)).fetchone()
        if used + size > self._shelf.quotas.store:
            raise wire.RateLimited(f"A store has at most {self._shelf.quotas.store} bytes; this one has {used}.")

    def owner(self, document: str) -> str:
        """Who holds the bytes of a document."""
        return self._shelf.owner("document", document)

    async def all_owners(self) -> dict[str, str]:
        """Who should hold what, of all stores."""
        query = "SELECT id, sha256 FROM document"
        found = await self._shelf.database.read(lambda connection: connection.execute(query).fetchall())
        return {self.owner(id): sha256 for id, sha256 in found}

    def arrived(self) -> None:
        """There is a document to index."""
        self._arrived()

    async def operation(self, project: str, store: str, id: str, kind: str) -> Operation:
        """How far a document is. Raises NotFound."""
        values = (id, (await self.get(project, store)).seq, kind)
        found = await self._shelf.database.read(lambda connection: rows(connection, Operation, _OPERATION, values))
        if not found:
            raise wire.NotFound(f"There is no operation '{id}' of 'fileSearchStores/{store}'.")
        return found[0]

    # ------------------------------------------------------------------ searching

    async def search(
        self,
        project: str,
        names: Sequence[str],
        query: str,
        top_k: int = 10,
        metadata_filter: str | None = None,
        mode: Mode = "hybrid",
    ) -> list[Hit]:
        """The best pieces of the documents of these stores, best first; `url` is a document's name.

        Raises NotFound, InvalidRequest.
        """
        stores = [await self.get(project, id_of(name)) for name in dict.fromkeys(names)]
        filter = parse_filter(metadata_filter) if metadata_filter else None
        indexes = [self._indexes.of(store.id) for store in stores]
        hits = await collection.search(indexes, query, top_k, filter, mode)
        await self._indexes.trim()
        there = await self._shelf.database.read(lambda connection: _active(connection, [store.seq for store in stores]))
        return [hit for hit in hits if hit.key in there]  # a document that is being deleted is not found any more


def _active(connection: sqlite3.Connection, stores: Sequence[int]) -> set[str]:
    places: Any = ", ".join("?" * len(stores))
    query = f"SELECT id FROM document WHERE state = 'active' AND store IN ({places})"  # noqa: S608 - only marks
    return {id for (id,) in connection.execute(query, stores)}


def id_of(name: str) -> str:
    """The id in the name of a store. Raises InvalidRequest."""
    prefix, _, id = name.rpartition("/")
    if prefix != "fileSearchStores" or not id:
        raise wire.InvalidRequest(f"'{name[:100]}' is no name of a store: 'fileSearchStores/ID'.")
    return id


def parse_filter(text: str) -> filters.Filter:
    """A filter over metadata. Raises InvalidRequest, with the place of the fault."""
    try:
        return filters.parse(text)
    except filters.BadFilter as error:
        raise wire.InvalidRequest(f"The metadata filter cannot be read. {error}.") from None
