"""The library: files, stores of documents, uploads and search, wired to one folder."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from antiphon import wire
from antiphon.blobs import Depot, Gone
from antiphon.index.chunks import Chunking
from antiphon.index.collection import Hit, Mode, Value
from antiphon.index.embedders import Embedder
from antiphon.library.files import LIFETIME, Files, StoredFile, free_id, id_of, insert
from antiphon.library.indexes import Indexes
from antiphon.library.indexing import Indexing
from antiphon.library.obtaining import Obtaining
from antiphon.library.shelf import Quotas, Shelf, new_id
from antiphon.library.stores import Arrival, Operation, Stores, parse_filter
from antiphon.library.stores import id_of as store_id
from antiphon.library.uploads import Uploads
from antiphon.ports import Fetch, Read

logger = logging.getLogger("antiphon.library")
_OPERATIONS_KEPT = 30 * 86400.0  # seconds


class Library:
    """What callers leave in the folder `data`; without one, in a folder that goes with the process.

    `read` makes text of documents, `embedder` vectors of text (None searches by words only). Bytes are kept in `blobs`,
    which others may use as well and which is not closed here; without it in the same folder. `fetch` is the way to the web
    for media. `start` comes before all else.
    """

    def __init__(
        self,
        data: Path | None,
        read: Read,
        *,
        embedder: Embedder | None = None,
        quotas: Quotas = Quotas(),  # noqa: B008 - frozen
        reading: float = 600.0,
        clock: Callable[[], float] = time.time,
        blobs: Depot | None = None,
        fetch: Fetch | None = None,
        largest: int = 100 * 2**20,
    ) -> None:
        self._shelf = Shelf(data, quotas, clock, blobs)
        self._indexes = Indexes(self._shelf.folder / "indexes", embedder)
        self._indexing = Indexing(self._shelf, self._indexes, read, reading)
        self.files = Files(self._shelf)
        self.stores = Stores(self._shelf, self._indexes, self._indexing.arrived)
        self.uploads = Uploads(self._shelf, self.files, self.stores)
        self._adopted = False
        self.obtain = Obtaining(self._shelf, self.files, fetch, largest)

    @property
    def embedding_model(self) -> str:
        """The name of what makes vectors, or `none`."""
        return self._indexes.embedder.name if self._indexes.embedder is not None else "none"

    async def start(self) -> None:
        """Go on with what the last stop cut short."""
        await self._shelf.start()
        await self.uploads.recall()
        try:
            await self.sweep(self._shelf.clock())
        except wire.Unavailable as error:  # where bytes are kept elsewhere: the next sweep may have more luck
            logger.warning("the library was not swept at the start: %s", error)
        self._indexing.start()

    async def import_file(
        self, project: str, store: str, file_name: str, metadata: dict[str, Value], chunking: Chunking
    ) -> Operation:
        """Make a document of a file, in the background. Raises NotFound, InvalidRequest."""
        id = id_of(file_name)
        if id is None:
            raise wire.InvalidRequest(f"'{file_name[:100]}' at 'fileName' is no name of a file: 'files/ID'.")
        file = await self.files.get(project, id)
        if file.size > self._shelf.quotas.document:
            raise wire.InvalidRequest(
                f"The file has {file.size} bytes; a document has at most {self._shelf.quotas.document}."
            )
        arrival = Arrival(
            id=new_id(file.shown),
            display_name=file.shown,
            mime_type=file.mime_type,
            size=file.size,
            sha256=file.sha256,
            metadata=metadata,
            chunking=chunking,
        )
        return await self.stores.add(project, store, arrival)

    async def search(
        self,
        project: str,
        store_names: Sequence[str],
        query: str,
        top_k: int = 10,
        metadata_filter: str | None = None,
        mode: Mode = "hybrid",
    ) -> list[Hit]:
        """The best pieces of the documents of these stores, best first. Raises NotFound, InvalidRequest."""
        return await self.stores.search(project, store_names, query, top_k, metadata_filter, mode)

    async def check_store(self, project: str, name: str) -> None:
        """Whether there is a store `fileSearchStores/ID`. Raises NotFound, InvalidRequest."""
        await self.stores.get(project, store_id(name))

    def check_filter(self, text: str) -> None:
        """Whether a metadata filter can be read. Raises InvalidRequest, with the place of the fault."""
        parse_filter(text)

    async def content(self, project: str, uri: str, largest: int = 100 * 2**20) -> tuple[str, str, bytes]:
        """Name, media type and bytes of the file that a URI `…/files/ID` names. Raises NotFound, InvalidRequest."""
        id = id_of(uri)
        if id is None:
            raise wire.NotFound(f"'{uri[:200]}' names no file of this server.")
        file = await self.files.get(project, id)
        if file.size > largest:
            raise wire.InvalidRequest(
                f"The file 'files/{id}' has {file.size} bytes; at most {largest} can be read here."
            )
        try:
            (body,) = await self._shelf.blobs.get([file.sha256])
        except Gone:  # deleted meanwhile
            raise wire.NotFound(f"There is no file 'files/{id}'.") from None
        return file.shown, file.mime_type, body

    async def part(self, sha256: str, first: int, size: int) -> bytes:
        """Up to `size` bytes of a file or a document, from `first` on. Raises Unavailable."""
        return await self._shelf.blobs.part(sha256, first, size)

    async def keep(self, project: str, body: bytes, mime_type: str, name: str) -> str:
        """Make a file of what a model made; its URI, which is its name: `files/ID`. Raises RateLimited, Unavailable."""
        now = self._shelf.clock()
        file = StoredFile(
            seq=0,
            project=project,
            id=free_id(),
            display_name=name or None,
            file_name=None,
            mime_type=mime_type,
            size=len(body),
            sha256="",
            created=now,
            expires=now + LIFETIME,
            source="GENERATED",
        )
        owner = self.files.owner(file)
        (sha256,) = await self._shelf.blobs.put(owner, [body])

        def work(connection: sqlite3.Connection) -> None:
            self.uploads.check_room(connection, project, None, file.size)
            insert(connection, msgspec.structs.replace(file, sha256=sha256))

        try:
            await self._shelf.database.write(work)
        except wire.ApiError:
            await self._shelf.blobs.drop([owner])
            raise
        return f"files/{file.id}"

    async def sweep(self, now: float) -> int:
        """Take away expired files, abandoned uploads and old operations; how many."""
        if not self._adopted:
            await self._adopt()
            self._adopted = True
        query = (
            "DELETE FROM operation WHERE created <= ? "
            "AND document NOT IN (SELECT seq FROM document WHERE state = 'pending')"
        )
        values = (now - _OPERATIONS_KEPT,)
        old = await self._shelf.database.write(lambda connection: connection.execute(query, values).rowcount)
        swept = old + await self.files.sweep(now) + await self.uploads.sweep(now)
        await self._tidy()
        return swept

    async def _adopt(self) -> None:
        """Hold what has a row: where bytes were once kept by an older version, and after a backup was restored."""
        for kind, rows in (("file", await self.files.all_owners()), ("document", await self.stores.all_owners())):
            for owner in rows.keys() - await self._shelf.held(kind, settled=False):
                try:
                    await self._shelf.blobs.hold(owner, [rows[owner]])
                except Gone as error:
                    # Until now all were kept in this folder, wherever new ones go.
                    older = self._shelf.folder / "blobs" / rows[owner][:2] / rows[owner]
                    if await asyncio.to_thread(older.exists):
                        await self._shelf.blobs.take(owner, older)
                    else:
                        logger.warning("a %s has lost its bytes: %s", kind, error)

    async def _tidy(self) -> None:
        """Let go of what no row names any more: a crash may have left it there."""
        for kind, owners in (("file", self.files.all_owners), ("document", self.stores.all_owners)):
            held = await self._shelf.held(kind, settled=True)  # first: a row may go meanwhile, and none of these come
            if lost := sorted(held - (await owners()).keys()):
                await self._shelf.blobs.drop(lost)
        indexes_there = await asyncio.to_thread(self._indexes.kept)  # first: a store has its row before its index
        for store in indexes_there - await self._named("SELECT id FROM store"):
            await self._indexes.erase(store)

    async def _named(self, query: str) -> set[str]:
        return await self._shelf.database.read(lambda connection: {name for (name,) in connection.execute(query)})

    async def aclose(self) -> None:
        """Stop indexing and close everything."""
        await self._indexing.aclose()
        await self._indexes.aclose()
        await self._shelf.aclose()
