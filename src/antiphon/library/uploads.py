"""Bytes on their way in: begun, continued where they broke off, and ended as a file or as a document.

An upload is a row and a file that grows, so that it survives a restart. Its name is a secret that stands for the
project: clients send no key with the bytes. What it was announced with, or what has come of it, counts towards the quotas
from the start; one that gets no more bytes for a day is forgotten.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, ParamSpec, TypeVar

import msgspec

from antiphon import wire
from antiphon.index.chunks import Chunking
from antiphon.index.collection import Value
from antiphon.library import files
from antiphon.library.files import LIFETIME, Files, StoredFile
from antiphon.library.partial import AT_ONCE
from antiphon.library.shelf import Shelf, new_id, rows
from antiphon.library.stores import Arrival, Operation, Stores

P = ParamSpec("P")
T = TypeVar("T")
_DEFAULT_TYPE = "application/octet-stream"
_ABANDONED = 86400.0  # seconds without another byte
_FORGOTTEN = 7 * 86400.0  # seconds after which nobody asks what became of one


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
        self._writing: dict[str, _Writing] = {}
        self._came: dict[str, int] = {}  # bytes of those that have not ended
        self._last: dict[str, float] = {}  # when the last of them did

    async def recall(self) -> None:
        """Learn what had come before the last stop."""
        now = self._shelf.clock()
        for id, (size, last) in (await _on_disk(self._shelf.partial.uploads)).items():
            self._came[id], self._last[id] = size, min(last, now)

    async def start(
        self, project: str, store: str | None, about: About, *, size: int | None = None, file_name: str | None = None
    ) -> str:
        """Begin one, for a file or for a document of `store`; its secret name.

        Raises NotFound, InvalidRequest, and RateLimited where `size` bytes more would be too many.
        """
        if store is not None:
            await self._stores.get(project, store)
        self._check_size(store, size or 0)
        id, now = secrets.token_urlsafe(32), self._shelf.clock()
        query = (
            "INSERT INTO upload (id, project, store, request, size, file_name, state, created) "
            "VALUES (?, ?, ?, ?, ?, ?, 'active', ?)"
        )
        values = (id, project, store, msgspec.json.encode(about), size, file_name, now)

        def work(connection: sqlite3.Connection) -> None:
            self._check_number(connection, project)
            self.check_room(connection, project, store, size or 0)
            connection.execute(query, values).close()

        await self._shelf.database.write(work)
        self._came[id] = 0
        await _on_disk(self._shelf.partial.begin, id)
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
        return await asyncio.to_thread(self._shelf.partial.received, id)

    async def receive(self, id: str, offset: int | None, parts: AsyncIterator[bytes]) -> int:
        """Take more bytes, from `offset` on; how many have come in all. What came before a break is kept."""
        upload = await self.get(id)
        if upload.state != "active":
            raise wire.FailedPrecondition(f"The upload is {upload.state}.")
        async with self._alone(id):
            there = await self.received(id)
            if offset is not None and offset != there:
                raise wire.InvalidRequest(f"The offset {offset} is wrong: {there} bytes have come.")
            try:
                return await self._receive(upload, there, parts)
            except _TooMuch as refused:
                await self._end(id)
                raise refused.why from None

    async def _receive(self, upload: Upload, there: int, parts: AsyncIterator[bytes]) -> int:
        most = upload.size if upload.size is not None else self._most(upload.store)
        gathered: list[bytes] = []
        waiting = 0
        try:
            async for part in parts:
                gathered.append(part)
                waiting += len(part)
                if there + waiting > most:
                    gathered.clear()
                    raise _TooMuch(wire.InvalidRequest(f"The upload is longer than {most} bytes."))
                if waiting >= AT_ONCE:
                    if upload.size is None:
                        await self._check_coming(upload, there + waiting)
                    there += await self._append(upload.id, gathered)
                    waiting = 0
        finally:
            there += await asyncio.shield(self._append(upload.id, gathered))
        return there

    async def finish(self, id: str) -> StoredFile | Operation:
        """All has come: a file, or the operation that makes the document. The same again for one that has ended."""
        upload = await self.get(id)
        if upload.state == "final" and upload.result is not None:
            return await self._result(upload, upload.result)
        if upload.state != "active":
            raise wire.FailedPrecondition(f"The upload is {upload.state}.")
        async with self._alone(id, stoppable=False):
            there = await self.received(id)
            if upload.size is not None and there != upload.size:
                raise wire.InvalidRequest(f"{there} bytes have come, {upload.size} were announced.")
            try:
                self._check_size(upload.store, there)
                result = await self._keep(upload, there)
            except wire.Unavailable:  # it may be tried again
                raise
            except wire.ApiError:
                await self._end(id)
                raise
        if upload.store is not None:
            self._stores.arrived()
        return await self._result(upload, result)

    async def cancel(self, id: str) -> None:
        """Forget it; a request that is sending it is stopped. One that is just being ended is not forgotten any more."""
        writing = self._writing.get(id)
        if writing is not None and writing.task is None:
            await writing.over.wait()
            writing = None
        await self._mark(id)
        if writing is not None:
            writing.stop()
            await writing.over.wait()
        await self._clear(id)

    async def _end(self, id: str) -> None:
        await self._mark(id)
        await self._clear(id)

    async def _mark(self, id: str) -> None:
        query = "UPDATE upload SET state = 'cancelled' WHERE id = ? AND state = 'active'"
        await self._shelf.database.write(lambda connection: connection.execute(query, (id,)).close())

    async def _clear(self, id: str) -> None:
        self._forget(id)
        await asyncio.to_thread(self._shelf.partial.drop, id)

    def _forget(self, id: str) -> None:
        self._came.pop(id, None)
        self._last.pop(id, None)

    async def sweep(self, now: float) -> int:
        """Forget uploads that were given up, or ended long ago, and bytes that belong to none; how many."""
        there = await _on_disk(self._shelf.partial.uploads)  # first: what begins meanwhile is not among them
        query = "SELECT id, state, created FROM upload"
        known = await self._shelf.database.read(lambda connection: connection.execute(query).fetchall())
        old = {id for id, state, created in known if created <= now - _FORGOTTEN and state != "active"}
        for id, state, created in known:
            last = self._last.get(id, created)
            if state == "active" and last <= now - _ABANDONED and id not in self._writing:
                old.add(id)
        forgotten = [(id,) for id in old]
        query = "DELETE FROM upload WHERE id = ?"
        if forgotten:
            await self._shelf.database.write(lambda connection: connection.executemany(query, forgotten).close())
        active = {id for id, state, _ in known if state == "active"} - old
        for id in there.keys() - active - self._writing.keys():
            self._forget(id)
            await asyncio.to_thread(self._shelf.partial.drop, id)
        return len(old)

    # ------------------------------------------------------------------ quotas

    def check_room(
        self, connection: sqlite3.Connection, project: str, store: str | None, size: int, besides: str = ""
    ) -> None:
        """Whether so many bytes more fit, what is on its way counted too (but for the upload `besides`).

        Raises RateLimited.
        """
        query = "SELECT id, size FROM upload WHERE project = ? AND store IS ? AND state = 'active' AND id <> ?"
        coming = connection.execute(query, (project, store, besides)).fetchall()
        waiting = sum(max(announced or 0, self._came.get(id, 0)) for id, announced in coming)
        if store is not None:
            found = connection.execute("SELECT seq FROM store WHERE id = ?", (store,)).fetchone()
            if found is not None:
                self._stores.check_room(connection, found[0], size + waiting)
            return
        query = "SELECT coalesce(sum(size), 0) FROM file WHERE project = ? AND expires > ?"
        (used,) = connection.execute(query, (project, self._shelf.clock())).fetchone()
        if used + waiting + size > self._shelf.quotas.project:
            raise wire.RateLimited(
                f"The files of a project have at most {self._shelf.quotas.project} bytes together; "
                f"there are {used}, and {waiting} are being uploaded."
            )

    def _check_number(self, connection: sqlite3.Connection, project: str) -> None:
        query = "SELECT count(*) FROM upload WHERE project = ? AND state = 'active'"
        (begun,) = connection.execute(query, (project,)).fetchone()
        if begun >= self._shelf.quotas.uploads:
            raise wire.RateLimited(f"{begun} uploads have begun and not ended: end or cancel some of them.")

    async def _check_coming(self, upload: Upload, size: int) -> None:
        """The same for one that was begun without a size, while it comes. Raises _TooMuch."""
        try:
            await self._shelf.database.read(
                lambda connection: self.check_room(connection, upload.project, upload.store, size, upload.id)
            )
        except wire.RateLimited as error:
            raise _TooMuch(error) from None

    def _most(self, store: str | None) -> int:
        return self._shelf.quotas.file if store is None else self._shelf.quotas.document

    def _check_size(self, store: str | None, size: int) -> None:
        most = self._most(store)
        if size > most:
            what = "file" if store is None else "document"
            raise wire.InvalidRequest(f"The {what} has {size} bytes; at most {most} are taken.")

    # ------------------------------------------------------------------ inside

    @asynccontextmanager
    async def _alone(self, id: str, *, stoppable: bool = True) -> AsyncIterator[None]:
        if id in self._writing:
            raise wire.FailedPrecondition("Another request is sending this upload.")
        writing = self._writing[id] = _Writing(asyncio.current_task() if stoppable else None)
        try:
            yield
        except asyncio.CancelledError:
            if writing.task is None or not writing.stopped:
                raise
            writing.task.uncancel()
            raise wire.FailedPrecondition("The upload was cancelled.") from None
        finally:
            del self._writing[id]
            writing.over.set()

    async def _append(self, id: str, parts: list[bytes]) -> int:
        data = b"".join(parts)
        parts.clear()
        if data:
            await _on_disk(self._shelf.partial.append, id, data)
            self._came[id] = self._came.get(id, 0) + len(data)
            self._last[id] = self._shelf.clock()
        return len(data)

    async def _keep(self, upload: Upload, size: int) -> str:
        """The bytes go to their place, then the row that has them is made; the id of what came of it."""
        file, arrival = self._described(upload, size)
        owner = self._files.owner(file) if file is not None else self._stores.owner(arrival.id)
        sha256 = await self._shelf.blobs.take(owner, self._shelf.partial.path(upload.id))

        def work(connection: sqlite3.Connection) -> str:
            self.check_room(connection, upload.project, upload.store, size, upload.id)
            if file is not None:
                files.insert(connection, msgspec.structs.replace(file, sha256=sha256))
                result = file.id
            else:
                whole = msgspec.structs.replace(arrival, sha256=sha256)
                result = self._stores.insert(connection, upload.store or "", whole, "upload")
            query = "UPDATE upload SET state = 'final', result = ? WHERE id = ?"
            connection.execute(query, (result, upload.id)).close()
            return result

        try:
            result = await self._shelf.database.write(work)
        except wire.ApiError:
            await self._shelf.blobs.drop([owner])
            raise
        self._forget(upload.id)
        return result

    def _described(self, upload: Upload, size: int) -> tuple[StoredFile | None, Arrival]:
        """What is to be made of an upload, but for the name of its bytes."""
        about, now = upload.about, self._shelf.clock()
        mime_type = about.mime_type or _DEFAULT_TYPE
        shown = about.display_name or upload.file_name or "Untitled"
        arrival = Arrival(
            id=new_id(shown),
            display_name=shown,
            mime_type=mime_type,
            size=size,
            sha256="",
            metadata=about.metadata,
            chunking=Chunking(about.max_tokens, about.overlap),
        )
        if upload.store is not None:
            return None, arrival
        file = StoredFile(
            seq=0,
            project=upload.project,
            id=about.id or files.free_id(),
            display_name=about.display_name,
            file_name=upload.file_name,
            mime_type=mime_type,
            size=size,
            sha256="",
            created=now,
            expires=now + LIFETIME,
        )
        return file, arrival

    async def _result(self, upload: Upload, result: str) -> StoredFile | Operation:
        if upload.store is None:
            return await self._files.get(upload.project, result)
        return await self._stores.operation(upload.project, upload.store, result, "upload")


class _Writing:
    """A request that is at an upload."""

    def __init__(self, task: asyncio.Task[Any] | None) -> None:
        self.task = task  # None where it cannot be stopped
        self.stopped = False
        self.over = asyncio.Event()

    def stop(self) -> None:
        if self.task is not None and not self.stopped:
            self.stopped = True
            self.task.cancel()


class _TooMuch(Exception):
    """Why an upload is over before its end."""

    def __init__(self, why: wire.ApiError) -> None:
        super().__init__(why.message)
        self.why = why


async def _on_disk(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Work on a thread. Raises Unavailable with the disk's words, FailedPrecondition where an upload's file is gone."""
    try:
        return await asyncio.to_thread(work, *arguments, **named)
    except FileNotFoundError:
        raise wire.FailedPrecondition("The upload is over.") from None
    except OSError as error:
        raise wire.Unavailable(f"The library's disk: {error.strerror or error}.") from error
