"""One SQLite file: a connection that writes, one that reads, each held by one thread at a time.

The calls are made on threads, since a search or the insertion of a book takes too long for the loop's own. A reader sees
the last commit and does not wait for the writer (WAL).
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from antiphon import sql, wire

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class Database:
    """The file `path`, made with `schema` where it is new; `safe` is whether a commit survives a power cut.

    Errors of the disk are `wire.Unavailable`; a transaction is then undone.
    """

    def __init__(self, path: Path, schema: str, *, safe: bool = True) -> None:
        self._path = path
        self._schema = schema
        self._safe = safe
        self._writer = _Held(self._connect)
        self._reader = _Held(self._connect)

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sql.connected(self._path, f"synchronous={'FULL' if self._safe else 'NORMAL'}")
        _make(connection, self._schema)
        return connection

    async def write(self, work: Work[T]) -> T:
        """Do `work` in one transaction; whatever it raises undoes it."""
        return await asyncio.to_thread(self._writer.do, work, begin="IMMEDIATE")

    async def read(self, work: Work[T]) -> T:
        """Do `work` on one state of the file."""
        return await asyncio.to_thread(self._reader.do, work, begin="DEFERRED")

    async def aclose(self) -> None:
        """Wait for what is under way, and close. The next call opens it again."""
        for held in (self._writer, self._reader):
            await asyncio.to_thread(held.close)


class _Held:
    """A connection that one thread has at a time, opened when it is first asked for."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def do(self, work: Work[T], *, begin: Literal["IMMEDIATE", "DEFERRED"]) -> T:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                return _transaction(self._connection, work, begin)
            except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as error:
                if isinstance(error, sqlite3.IntegrityError):
                    raise
                raise wire.Unavailable(f"The library cannot be read or written: {error}.") from error

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _transaction(connection: sqlite3.Connection, work: Work[T], begin: str) -> T:
    connection.execute(f"BEGIN {begin}")
    try:
        done = work(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:  # something was raised
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
    return done


def _make(connection: sqlite3.Connection, schema: str) -> None:
    """Make the tables where they are not there yet, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone() == (0,):
        for statement in sql.statements(schema):
            connection.execute(statement)
        connection.execute("PRAGMA user_version = 1")
    connection.execute("COMMIT")
