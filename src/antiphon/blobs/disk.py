"""A folder of this machine's: each content is a file named by its SHA-256, who holds what stands in a small SQLite beside.

Whoever puts bytes holds them first and writes them then; whoever lets go of them removes the file while no other can
begin to hold it. So what is held is there, whatever several processes do at once, and whenever one of them is killed.
"""

from __future__ import annotations

import asyncio
import errno
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
        names = await asyncio.to_thread(lambda: [name_of(body) for body in bodies])
        await self._hold(owner, names)
        await _on_disk(self._write, dict(zip(names, bodies, strict=True)))
        return names

    async def take(self, owner: str, path: Path) -> str:
        name, _ = await _on_disk(name_of_file, path)
        await self._hold(owner, [name])
        await _on_disk(self._move, path, name)
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

    async def _hold(self, owner: str, names: Sequence[str]) -> None:
        rows = [(owner, name, self._clock()) for name in names]
        await self._database.write(lambda connection: connection.executemany(_HOLD, rows).close())

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    def _write(self, bodies: dict[str, bytes]) -> None:
        for name, body in bodies.items():
            if not self._path(name).exists():
                coming = self._room()
                with coming.open("xb") as file:
                    file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                self._keep(coming, name)

    def _move(self, path: Path, name: str) -> None:
        if self._path(name).exists():
            path.unlink()
            return
        _sync(path)
        try:
            self._keep(path, name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            coming = self._room()  # from another disk
            shutil.copyfile(path, coming)
            _sync(coming)
            self._keep(coming, name)
            path.unlink()

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
