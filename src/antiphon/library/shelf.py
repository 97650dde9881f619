"""What the parts of the library share: the database, the bytes, the clock and the quotas."""

from __future__ import annotations

import asyncio
import re
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from antiphon.blobs import Depot, make
from antiphon.index.database import Database
from antiphon.library.partial import Partial

T = TypeVar("T")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_SETTLED = 3600.0  # seconds after which what is held without a row will get none any more
_ITSELF = "CREATE TABLE IF NOT EXISTS itself (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL)"


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """The most of each, in bytes: one file, one document, a project's files together, a store's documents together.

    `uploads` is how many a project may have begun and not ended.
    """

    file: int = 2 * 2**30
    document: int = 100 * 2**20
    project: int = 20 * 2**30
    store: int = 10 * 2**30
    uploads: int = 1000


class Shelf:
    """The folder `data`, or one that goes with the process; the bytes of what is whole are in `blobs`, or in that folder."""

    def __init__(
        self, data: Path | None, quotas: Quotas, clock: Callable[[], float] = time.time, blobs: Depot | None = None
    ) -> None:
        from_us = tempfile.TemporaryDirectory(prefix="antiphon-library-") if data is None else None
        self._temporary = from_us
        self.folder = Path(from_us.name) if from_us is not None else data or Path()
        schema = files("antiphon.library").joinpath("library.sql").read_text(encoding="utf-8")
        self.database = Database(self.folder / "library.db", schema)
        self.partial = Partial(self.folder)
        self._own = blobs is None
        self.blobs = blobs if blobs is not None else make(str(self.folder / "blobs"), clock=clock)
        self.quotas = quotas
        self.clock = clock
        self._id = ""

    async def start(self) -> None:
        """Bring a database up to date that an older version has made."""

        def work(connection: sqlite3.Connection) -> str:
            columns = {row[1] for row in connection.execute("PRAGMA table_info(file)")}
            if "source" not in columns:
                connection.execute("ALTER TABLE file ADD COLUMN source TEXT NOT NULL DEFAULT 'UPLOADED'")
            connection.execute(_ITSELF)
            connection.execute("INSERT OR IGNORE INTO itself VALUES (1, ?)", (secrets.token_hex(8),))
            id: str = connection.execute("SELECT id FROM itself").fetchone()[0]
            return id

        self._id = await self.database.write(work)

    def owner(self, kind: str, id: str) -> str:
        """Who holds bytes: a `file` or a `document` of this library; others may have theirs in the same place."""
        assert self._id, "start comes first"
        return f"{kind}:{self._id}:{id}"

    async def held(self, kind: str, *, settled: bool) -> set[str]:
        """The owners of a kind that hold bytes; with `settled` only those that nobody is still busy with."""
        found: list[str] = []
        before = self.clock() - _SETTLED if settled else self.clock() + _SETTLED
        prefix = self.owner(kind, "")
        while more := await self.blobs.owners(prefix, before, found[-1] if found else ""):
            found += more
        return set(found)

    async def aclose(self) -> None:
        """Close the database; a folder of its own goes."""
        await self.database.aclose()
        if self._own:
            await self.blobs.aclose()
        if self._temporary is not None:
            await asyncio.to_thread(self._temporary.cleanup)


def new_id(name: str = "") -> str:
    """Twelve letters and digits, as the service has them; behind a name, as far as that can stand in one."""
    suffix = "".join(secrets.choice(_LETTERS) for _ in range(12))
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:27].rstrip("-")
    return f"{slug}-{suffix}" if slug else suffix


def rows(connection: sqlite3.Connection, kind: type[T], query: str, values: Any = ()) -> list[T]:
    """What a query finds, as structs whose fields are named like its columns."""
    cursor = connection.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [kind(**dict(zip(names, row, strict=True))) for row in cursor]
