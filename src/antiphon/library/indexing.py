"""Documents become searchable in the background, one after another, in the order they came.

What a stop cuts short is begun again at the next start. What has ended the process twice is not tried a third time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Sequence
from typing import Any

from antiphon import wire
from antiphon.index.chunks import Chunking
from antiphon.library.indexes import Indexes
from antiphon.library.shelf import Shelf, rows
from antiphon.library.stores import StoredDocument
from antiphon.ports import Leaf, Read, Unreadable

logger = logging.getLogger("antiphon.library")
_PAUSE = 30.0  # seconds, while the library cannot be written
_MOST_ATTEMPTS = 2


class Indexing:
    """One task that indexes what is pending. A document is read within `seconds`."""

    def __init__(self, shelf: Shelf, indexes: Indexes, read: Read, seconds: float) -> None:
        self._shelf = shelf
        self._indexes = indexes
        self._read = read
        self._seconds = seconds
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with what is left from before."""
        self._arrived.set()
        self._task = asyncio.create_task(self._run())

    def arrived(self) -> None:
        """There is something to do."""
        self._arrived.set()

    async def aclose(self) -> None:
        """Stop; what is under way is begun again at the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        await self._refresh()
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while (document := await self._next()) is not None:
                await self._one(document)
                await self._indexes.trim()

    async def _next(self) -> StoredDocument | None:
        query = "SELECT * FROM document WHERE state = 'pending' ORDER BY seq LIMIT 1"
        try:
            found = await self._shelf.database.read(lambda connection: rows(connection, StoredDocument, query))
        except wire.Unavailable:
            logger.exception("the library cannot be read; indexing waits for the next document")
            return None
        return found[0] if found else None

    async def _one(self, document: StoredDocument) -> None:
        """Index a document, or say in it why it cannot be."""
        try:
            if document.attempts >= _MOST_ATTEMPTS:
                raise Unreadable("Indexing it has ended the server more than once.")
            await self._set(document, attempts=document.attempts + 1)
            await self._index(document)
        except asyncio.CancelledError:
            with contextlib.suppress(wire.Unavailable):
                await asyncio.shield(self._set(document, attempts=document.attempts))  # stopped in good order
            raise
        except (Unreadable, wire.ApiError, TimeoutError, OSError) as error:
            await self._fail(document, str(error) or "Reading it took too long.")
        except Exception:
            logger.exception("indexing %s failed", document.id)
            await self._fail(document, "Internal error encountered.")

    async def _index(self, document: StoredDocument) -> None:
        (body,) = await self._shelf.blobs.get([document.sha256])
        async with asyncio.timeout(self._seconds):
            read = await self._read(body, document.mime_type, document.display_name)
        if not _has_text(read.leaves):
            raise Unreadable("There is no text in it.")
        store = await self._store(document)
        if store is None:
            return
        index = self._indexes.of(store)
        await index.add(
            document.id,
            title=document.display_name,
            url=f"fileSearchStores/{store}/documents/{document.id}",
            leaves=read.leaves,
            metadata=document.values,
            chunking=Chunking(document.max_tokens, document.overlap),
        )
        if not await self._set(document, state="active"):  # deleted meanwhile
            await index.remove(document.id)

    async def _store(self, document: StoredDocument) -> str | None:
        query = "SELECT store.id FROM store JOIN document ON document.store = store.seq WHERE document.seq = ?"
        found = await self._shelf.database.read(
            lambda connection: connection.execute(query, (document.seq,)).fetchone()
        )
        return found[0] if found else None

    async def _fail(self, document: StoredDocument, reason: str) -> None:
        try:
            await self._set(document, state="failed", error=reason)
        except wire.Unavailable:
            logger.exception("it cannot be kept that %s failed: %s", document.id, reason)
            await asyncio.sleep(_PAUSE)  # what cannot be written now is tried again, not at once

    async def _set(self, document: StoredDocument, **fields: Any) -> bool:
        fields["updated"] = self._shelf.clock()
        assignments = ", ".join(f"{name} = :{name}" for name in fields)
        query = f"UPDATE document SET {assignments} WHERE seq = :seq"  # noqa: S608 - names of this file
        values = fields | {"seq": document.seq}

        def work(connection: sqlite3.Connection) -> bool:
            return connection.execute(query, values).rowcount == 1

        return await self._shelf.database.write(work)

    async def _refresh(self) -> None:
        """Where the embedder is another than before, the vectors are made anew."""
        if self._indexes.embedder is None:
            return
        try:
            query = (
                "SELECT DISTINCT store.id FROM store JOIN document ON document.store = store.seq WHERE state = 'active'"
            )
            stores = await self._shelf.database.read(lambda connection: connection.execute(query).fetchall())
            for (store,) in stores:
                if count := await self._indexes.of(store).refresh():
                    logger.info("%d documents of %s have new vectors", count, store)
                await self._indexes.trim()
        except wire.Unavailable:
            logger.exception("the vectors of another embedder stay; they are not searched")


def _has_text(leaves: Sequence[Leaf]) -> bool:
    return any(not leaf.text.isspace() for leaf in leaves if leaf.text)
