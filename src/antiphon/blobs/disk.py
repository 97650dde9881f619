"""A folder of this machine's: each content is a file named by its SHA-256, who holds what stands in a small SQLite beside.

Bytes are written and flushed under no name yet; they get it, and somebody who holds them, in one transaction. Whoever lets
go of them removes the file within a transaction too. So what somebody was given is there, whatever several processes do at
once, and whenever one of them is killed. At worst a file is left that nobody holds, until the same bytes come again; or
somebody who was letting go still stands here, and must let go again.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from antiphon import wire
from antiphon.blobs.depot import gone, name_of, name_of_file
from antiphon.index.database import Database

P = ParamSpec("P")
T = TypeVar("T")
_SCHEMA = """
CREATE TABLE hold (
  owner  TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  since  REAL NOT NULL,  -- when it was last asked for
  PRIMARY KEY (owner, sha256)
) WITHOUT ROWID;
CREATE INDEX hold_of ON hold (sha256);
"""
_HOLD = "INSERT INTO hold (owner, sha256, since) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET since = excluded.since"
_LEFT_BEHIND = 86400.0  # seconds after which what was being written is known to have been given up


class DiskBlobs:
    """Bytes below `folder`."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._arriving = folder / "arriving"
        self._clock = clock
        self._database = Database(folder / "holds.db", _SCHEMA)
        self._tidied = False

    async def put(self, owner: str, bodies: Sequence[bytes]) -> list[str]:
        if not bodies:
            return []
        names, coming = await _on_disk(self._write, bodies)
        contents = dict(zip(names, bodies, strict=True))

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_HOLD, [(owner, name, self._clock()) for name in contents]).close()
            for name, body in contents.items():
                if not self._path(name).exists():  # it was, and went meanwhile, where nothing is coming
                    self._keep(coming.pop(name) if name in coming else self._come(body), name)

        try:
            await self._database.write(work)
        finally:
            for left in coming.values():
                await asyncio.to_thread(left.unlink, missing_ok=True)
        return names

    async def take(self, owner: str, path: Path) -> str:
        name = await _on_disk(self._flushed, path)
        here = path if await _on_disk(self._is_near, path) else await _on_disk(self._copied, path)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_HOLD, (owner, name, self._clock())).close()
            if not self._path(name).exists():
                self._keep(here, name)

        await self._database.write(work)
        for left in (path, here):
            await asyncio.to_thread(left.unlink, missing_ok=True)
        return name

    async def hold(self, owner: str, names: Sequence[str]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            for name in names:
                if not self._path(name).exists():
                    raise gone(name)
            connection.executemany(_HOLD, [(owner, name, self._clock()) for name in names]).close()

        await self._database.write(work)  # while it writes, nobody removes a file

    async def get(self, names: Sequence[str]) -> list[bytes]:
        return await _on_disk(lambda: [self._read(name, 0, -1) for name in names])

    async def part(self, name: str, first: int, size: int) -> bytes:
        return await _on_disk(self._read, name, first, size)

    async def drop(self, owners: Sequence[str]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            names: set[str] = set()
            for owner in owners:
                query = "DELETE FROM hold WHERE owner = ? RETURNING sha256"
                names.update(name for (name,) in connection.execute(query, (owner,)).fetchall())
            for name in names:
                query = "SELECT 1 FROM hold WHERE sha256 = ?"
                if connection.execute(query, (name,)).fetchone() is None:
                    self._path(name).unlink(missing_ok=True)

        await self._database.write(work)

    async def owners(self, prefix: str, before: float, after: str = "", size: int = 1000) -> list[str]:
        query = (
            "SELECT owner FROM hold WHERE owner > :after AND owner >= :prefix AND owner < :end "
            "GROUP BY owner HAVING max(since) <= :before ORDER BY owner LIMIT :size"
        )
        # "~" with another behind it sorts after every owner that begins with the prefix.
        values = {"after": after, "prefix": prefix, "end": f"{prefix}~~", "before": before, "size": size}
        return await self._database.read(lambda connection: [owner for (owner,) in connection.execute(query, values)])

    async def aclose(self) -> None:
        await self._database.aclose()

    # ------------------------------------------------------------------ inside

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    def _write(self, bodies: Sequence[bytes]) -> tuple[list[str], dict[str, Path]]:
        """The names of bytes, and where those are that are not here yet."""
        names = [name_of(body) for body in bodies]
        coming: dict[str, Path] = {}
        for name, body in zip(names, bodies, strict=True):
            if name not in coming and not self._path(name).exists():
                coming[name] = self._come(body)
        return names, coming

    def _come(self, body: bytes) -> Path:
        coming = self._room()
        with coming.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        return coming

    def _flushed(self, path: Path) -> str:
        _sync(path)
        return name_of_file(path)

    def _is_near(self, path: Path) -> bool:
        return path.stat().st_dev == self._room().parent.stat().st_dev

    def _copied(self, path: Path) -> Path:
        """From another disk."""
        coming = self._room()
        shutil.copyfile(path, coming)
        _sync(coming)
        return coming

    def _room(self) -> Path:
        """Where the next bytes are written to, before they have a name."""
        self._arriving.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._tidied:
            self._tidied = True
            for left in self._arriving.iterdir():  # by a crash
                if left.stat().st_mtime < time.time() - _LEFT_BEHIND:
                    left.unlink(missing_ok=True)
        return self._arriving / secrets.token_hex(8)

    def _keep(self, coming: Path, name: str) -> None:
        target = self._path(name)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        coming.chmod(0o600)
        coming.replace(target)
        _sync(target.parent)

    def _read(self, name: str, first: int, size: int) -> bytes:
        try:
            with self._path(name).open("rb") as file:
                file.seek(first)
                return file.read(size)
        except FileNotFoundError:
            raise gone(name) from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


async def _on_disk(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Work on a thread. Raises Unavailable with the disk's words."""
    try:
        return await asyncio.to_thread(work, *arguments, **named)
    except OSError as error:
        raise wire.Unavailable(f"The disk that media are kept on: {error.strerror or error}.") from error
