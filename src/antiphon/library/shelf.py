"""What the parts of the library share: the database, the bytes on the disk, the clock and the quotas."""

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

from antiphon.index.database import Database
from antiphon.library.blobs import Blobs

T = TypeVar("T")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """The most of each, in bytes: one file, one document, a project's files together, a store's documents together."""

    file: int = 2 * 2**30
    document: int = 100 * 2**20
    project: int = 20 * 2**30
    store: int = 10 * 2**30


class Shelf:
    """The folder `data`, or one that goes with the process.

    `lock` is held while bytes come under a name and while they lose their last one, so that neither misses the other.
    """

    def __init__(self, data: Path | None, quotas: Quotas, clock: Callable[[], float] = time.time) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="antiphon-library-") if data is None else None
        self.folder = Path(self._temporary.name) if self._temporary is not None else data or Path()
        schema = files("antiphon.library").joinpath("library.sql").read_text(encoding="utf-8")
        self.database = Database(self.folder / "library.db", schema)
        self.blobs = Blobs(self.folder)
        self.quotas = quotas
        self.clock = clock
        self.lock = asyncio.Lock()

    async def forget(self, sha256: str) -> None:
        """Take bytes from the disk that no file and no document has any more. The lock must be held."""
        query = (
            "SELECT EXISTS (SELECT 1 FROM file WHERE sha256 = :sha) "
            "OR EXISTS (SELECT 1 FROM document WHERE sha256 = :sha)"
        )
        if not await self.database.read(lambda connection: connection.execute(query, {"sha": sha256}).fetchone()[0]):
            await asyncio.to_thread(self.blobs.remove, sha256)

    async def aclose(self) -> None:
        """Close the database; a folder of its own goes."""
        await self.database.aclose()
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
