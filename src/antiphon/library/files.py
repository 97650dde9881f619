"""Files that callers leave for two days, to be named in requests."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from typing import Literal

import msgspec

from antiphon import wire
from antiphon.index.database import Work
from antiphon.library.shelf import Shelf, new_id, rows

LIFETIME = 48 * 3600.0  # seconds, as with the service
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_URI = re.compile(r"(?:^|/)files/([a-z0-9-]{1,40})(?::download)?(?:\?[^/]*)?$")


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as the library has it; times are seconds since 1970."""

    seq: int
    project: str
    id: str
    display_name: str | None
    file_name: str | None
    mime_type: str
    size: int
    sha256: str
    created: float
    expires: float
    source: Literal["UPLOADED", "GENERATED"] = "UPLOADED"

    @property
    def unique(self) -> str:
        """What no other file is called, in whatever project and at whatever time."""
        return hashlib.sha256(f"{self.project}\0{self.id}\0{self.created!r}".encode()).hexdigest()[:32]

    @property
    def shown(self) -> str:
        """What to call it."""
        return self.display_name or self.file_name or self.id


class Files:
    """The files of all projects; each project has only its own."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def get(self, project: str, id: str) -> StoredFile:
        """One file. Raises NotFound for what is unknown, expired or another project's."""
        query = "SELECT * FROM file WHERE project = ? AND id = ? AND expires > ?"
        values = (project, id, self._shelf.clock())
        found = await self._shelf.database.read(lambda connection: rows(connection, StoredFile, query, values))
        if not found:
            raise wire.NotFound(f"There is no file 'files/{id}'.")
        return found[0]

    async def page(self, project: str, before: int | None, size: int) -> list[StoredFile]:
        """Up to `size` files, the newest first, older than number `before`."""
        query = "SELECT * FROM file WHERE project = ? AND expires > ? AND seq < ? ORDER BY seq DESC LIMIT ?"
        values = (project, self._shelf.clock(), before if before is not None else 2**62, size)
        return await self._shelf.database.read(lambda connection: rows(connection, StoredFile, query, values))

    async def delete(self, project: str, id: str) -> None:
        """Take it away. Raises NotFound."""
        file = await self.get(project, id)
        await self._erase([file])

    async def sweep(self, now: float) -> int:
        """Take away what expired by `now`; how many."""
        query = "SELECT * FROM file WHERE expires <= ?"
        expired = await self._shelf.database.read(lambda connection: rows(connection, StoredFile, query, (now,)))
        await self._erase(expired)
        return len(expired)

    async def _erase(self, files: list[StoredFile]) -> None:
        for file in files:
            await self._shelf.database.write(_deletion(file))
            await self._shelf.blobs.drop([self.owner(file)])

    def owner(self, file: StoredFile) -> str:
        """Who holds its bytes."""
        return self._shelf.owner("file", file.unique)

    async def all_owners(self) -> dict[str, str]:
        """Who should hold what, of all projects."""
        query = "SELECT * FROM file"
        found = await self._shelf.database.read(lambda connection: rows(connection, StoredFile, query))
        return {self.owner(file): file.sha256 for file in found}


def _deletion(file: StoredFile) -> Work[None]:
    # A number may have been given to another since: all of it says whether it is still this one.
    query = "DELETE FROM file WHERE seq = ? AND project = ? AND id = ? AND created = ?"
    return lambda connection: connection.execute(query, (file.seq, file.project, file.id, file.created)).close()


def check_name(name: str | None) -> str | None:
    """The id in a name a caller chose, `files/ID`. Raises InvalidRequest."""
    if not name:
        return None
    id = name.removeprefix("files/")
    if not _ID.fullmatch(id):
        raise wire.InvalidRequest(
            f"'{name[:100]}' at 'file.name' is no name: 'files/' and up to 40 lower-case letters, digits and dashes, "
            "with no dash at either end."
        )
    return id


def id_of(uri: str) -> str | None:
    """The id in a URI or a name of a file, None where it is none."""
    found = _URI.search(uri)
    return found[1] if found else None


def insert(connection: sqlite3.Connection, file: StoredFile) -> None:
    """Keep a new file; one of that name that has expired makes room. Raises AlreadyExists."""
    gone = "DELETE FROM file WHERE project = ? AND id = ? AND expires <= ?"
    connection.execute(gone, (file.project, file.id, file.created)).close()
    query = (
        "INSERT INTO file (project, id, display_name, file_name, mime_type, size, sha256, created, expires, source) "
        "VALUES (:project, :id, :display_name, :file_name, :mime_type, :size, :sha256, :created, :expires, :source)"
    )
    try:
        connection.execute(query, msgspec.structs.asdict(file)).close()
    except sqlite3.IntegrityError:
        raise wire.AlreadyExists(f"There is a file 'files/{file.id}' already.") from None


def free_id() -> str:
    """A name for a file whose caller chose none."""
    return new_id()
