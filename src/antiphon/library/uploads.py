"""Bytes on their way in: begun, continued where they broke off, and ended as a file or as a document.

An upload is a row and a file that grows, so that it survives a restart. Its name is a secret that stands for the
project: clients send no key with the bytes.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Literal, ParamSpec, TypeVar

import msgspec

from antiphon import wire
from antiphon.index.chunks import Chunking
from antiphon.index.collection import Value
from antiphon.library import files
from antiphon.library.blobs import AT_ONCE
from antiphon.library.files import LIFETIME, Files, StoredFile
from antiphon.library.shelf import Shelf, rows
from antiphon.library.stores import Arrival, Operation, Stores

P = ParamSpec("P")
T = TypeVar("T")
_DEFAULT_TYPE = "application/octet-stream"
_DROPPED_AFTER = 7 * 86400.0  # seconds without an end


class About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said about the bytes; `id` is for files, `metadata` and the last two for documents."""

    id: str | None = None
    display_name: str | None = None
    mime_type: str | None = None
    metadata: Mapping[str, Value] = {}
    max_tokens: int = Chunking().max_tokens
    overlap: int = Chunking().overlap


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload as the library has it."""

    id: str
    project: str
    store: str | None
    request: bytes
    size: int | None
    file_name: str | None
    state: Literal["active", "final", "cancelled"]
    result: str | None
    created: float

    @property
    def about(self) -> About:
        """What was said at its start."""
        return msgspec.json.decode(self.request, type=About)


class Uploads:
    """All uploads. A mistake in the middle of one leaves it as it was; too many bytes end it."""

    def __init__(self, shelf: Shelf, kept: Files, stores: Stores) -> None:
        self._shelf = shelf
        self._files = kept
        self._stores = stores
        self._writing: set[str] = set()

    async def start(
        self, project: str, store: str | None, about: About, *, size: int | None = None, file_name: str | None = None
    ) -> str:
        """Begin one, for a file or for a document of `store`; its secret name. Raises NotFound, InvalidRequest."""
        if store is not None:
            await self._stores.get(project, store)
        await self._check_size(project, store, size or 0)
        id, now = secrets.token_urlsafe(32), self._shelf.clock()
        query = (
            "INSERT INTO upload (id, project, store, request, size, file_name, state, created) "
            "VALUES (?, ?, ?, ?, ?, ?, 'active', ?)"
        )
        values = (id, project, store, msgspec.json.encode(about), size, file_name, now)
        await self._shelf.database.write(lambda connection: connection.execute(query, values).close())
        await _on_disk(self._shelf.blobs.begin, id)
        return id

    async def get(self, id: str) -> Upload:
        """One upload. Raises NotFound."""
        query = "SELECT * FROM upload WHERE id = ?"
        found = await self._shelf.database.read(lambda connection: rows(connection, Upload, query, (id,)))
        if not found:
            raise wire.NotFound("There is no such upload, or no longer.")
        return found[0]

    async def received(self, id: str) -> int:
        """How many bytes have come."""
        return await asyncio.to_thread(self._shelf.blobs.received, id)

    async def receive(self, id: str, offset: int | None, parts: AsyncIterator[bytes]) -> int:
        """Take more bytes, from `offset` on; how many have come in all. What came before a break is kept."""
        upload = await self.get(id)
        if upload.state != "active":
            raise wire.FailedPrecondition(f"The upload is {upload.state}.")
        async with self._alone(id):
            there = await self.received(id)
            if offset is not None and offset != there:
                raise wire.InvalidRequest(f"The offset {offset} is wrong: {there} bytes have come.")
            most = upload.size if upload.size is not None else self._most(upload.store)
            gathered: list[bytes] = []
            waiting = 0
            try:
                async for part in parts:
                    gathered.append(part)
                    waiting += len(part)
                    if there + waiting > most:
                        gathered.clear()
                        await self.cancel(id)
                        raise wire.InvalidRequest(f"The upload is longer than {most} bytes.")
                    if waiting >= AT_ONCE:
                        there += await self._append(id, gathered)
                        waiting = 0
            finally:
                there += await asyncio.shield(self._append(id, gathered))
        return there

    async def finish(self, id: str) -> StoredFile | Operation:
        """All has come: a file, or the operation that makes the document. The same again for one that has ended."""
        upload = await self.get(id)
        if upload.state == "final" and upload.result is not None:
            return await self._result(upload, upload.result)
        if upload.state != "active":
            raise wire.FailedPrecondition(f"The upload is {upload.state}.")
        async with self._alone(id):
            there = await self.received(id)
            if upload.size is not None and there != upload.size:
                raise wire.InvalidRequest(f"{there} bytes have come, {upload.size} were announced.")
            try:
                await self._check_size(upload.project, upload.store, there)
                result = await self._keep(upload)
            except wire.ApiError:
                await self.cancel(id)
                raise
        if upload.store is not None:
            self._stores.arrived()
        return await self._result(upload, result)

    async def cancel(self, id: str) -> None:
        """Forget it."""
        query = "UPDATE upload SET state = 'cancelled' WHERE id = ? AND state = 'active'"
        await self._shelf.database.write(lambda connection: connection.execute(query, (id,)).close())
        await asyncio.to_thread(self._shelf.blobs.drop, id)

    async def sweep(self, now: float) -> int:
        """Forget uploads that were begun long ago, and bytes that belong to none; how many."""
        query = "DELETE FROM upload WHERE created <= ? RETURNING id"
        values = (now - _DROPPED_AFTER,)
        old = await self._shelf.database.write(lambda connection: connection.execute(query, values).fetchall())
        there = await asyncio.to_thread(self._shelf.blobs.uploads)  # first: what begins meanwhile is not among them
        known = await self._shelf.database.read(
            lambda connection: {id for (id,) in connection.execute("SELECT id FROM upload WHERE state = 'active'")}
        )
        for id in there - known - self._writing:
            await asyncio.to_thread(self._shelf.blobs.drop, id)
        return len(old)

    # ------------------------------------------------------------------ inside

    @asynccontextmanager
    async def _alone(self, id: str) -> AsyncIterator[None]:
        if id in self._writing:
            raise wire.FailedPrecondition("Another request is sending this upload.")
        self._writing.add(id)
        try:
            yield
        finally:
            self._writing.discard(id)

    async def _append(self, id: str, parts: list[bytes]) -> int:
        data = b"".join(parts)
        parts.clear()
        if data:
            await _on_disk(self._shelf.blobs.append, id, data)
        return len(data)

    def _most(self, store: str | None) -> int:
        return self._shelf.quotas.file if store is None else self._shelf.quotas.document

    async def _check_size(self, project: str, store: str | None, size: int) -> None:
        most = self._most(store)
        if size > most:
            what = "file" if store is None else "document"
            raise wire.InvalidRequest(f"The {what} has {size} bytes; at most {most} are taken.")
        if store is None:
            query = "SELECT coalesce(sum(size), 0) FROM file WHERE project = ? AND expires > ?"
            values = (project, self._shelf.clock())
            (used,) = await self._shelf.database.read(lambda connection: connection.execute(query, values).fetchone())
            if used + size > self._shelf.quotas.project:
                raise wire.RateLimited(
                    f"The files of a project have at most {self._shelf.quotas.project} bytes together."
                )

    async def _keep(self, upload: Upload) -> str:
        """The bytes go to their place and the row that has them is made, as one; the id of what came of it."""
        async with self._shelf.lock:
            sha256, size = await _on_disk(self._shelf.blobs.keep, upload.id)

            def work(connection: sqlite3.Connection) -> str:
                result = self._insert(connection, upload, sha256, size)
                query = "UPDATE upload SET state = 'final', result = ? WHERE id = ?"
                connection.execute(query, (result, upload.id)).close()
                return result

            try:
                return await self._shelf.database.write(work)
            except wire.ApiError:
                await self._shelf.forget(sha256)
                raise

    def _insert(self, connection: sqlite3.Connection, upload: Upload, sha256: str, size: int) -> str:
        about, now = upload.about, self._shelf.clock()
        mime_type = about.mime_type or _DEFAULT_TYPE
        if upload.store is not None:
            arrival = Arrival(
                display_name=about.display_name or upload.file_name or "Untitled",
                mime_type=mime_type,
                size=size,
                sha256=sha256,
                metadata=about.metadata,
                chunking=Chunking(about.max_tokens, about.overlap),
            )
            return self._stores.insert(connection, upload.store, arrival, "upload")
        file = StoredFile(
            seq=0,
            project=upload.project,
            id=about.id or files.free_id(),
            display_name=about.display_name,
            file_name=upload.file_name,
            mime_type=mime_type,
            size=size,
            sha256=sha256,
            created=now,
            expires=now + LIFETIME,
        )
        files.insert(connection, file)
        return file.id

    async def _result(self, upload: Upload, result: str) -> StoredFile | Operation:
        if upload.store is None:
            return await self._files.get(upload.project, result)
        return await self._stores.operation(upload.project, upload.store, result, "upload")


async def _on_disk(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Work on a thread. Raises Unavailable with the disk's words."""
    try:
        return await asyncio.to_thread(work, *arguments, **named)
    except OSError as error:
        raise wire.Unavailable(f"The library's disk: {error.strerror or error}.") from error
