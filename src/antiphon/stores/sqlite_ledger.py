"""What is kept beside interactions, in the same SQLite file: see `ports.Ledger`. Writes are the store's (`sqlite.py`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from msgspec.structs import asdict, replace

from antiphon.ports import Entry

T = TypeVar("T")


class _Write(Protocol):
    def __call__(self, work: Callable[[sqlite3.Connection], T], *, small: bool = ...) -> Awaitable[T]: ...


class SqliteLedger:
    """`write` and `read` are the store's, `queries` those it reads with: these (`QUERIES`) among them."""

    QUERIES = "sqlite_ledger"

    def __init__(
        self,
        write: _Write,
        read: Callable[..., list[Any]],
        queries: Mapping[str, str],
        clock: Callable[[], float],
    ) -> None:
        self._write = write
        self._read = read
        self._queries = queries
        self._clock = clock

    async def _changes(self, query: str, values: dict[str, Any]) -> int:
        """How many rows a statement changed."""
        text = self._queries[query]

        def work(connection: sqlite3.Connection) -> int:
            return connection.execute(text, values).rowcount

        return await self._write(work, small=True)

    async def put(self, entry: Entry) -> bool:
        return await self._changes("put_entry", asdict(entry)) == 1

    async def read(self, kind: str, project: str, id: str) -> Entry | None:
        rows = self._read("read_entry", kind=kind, project=project, id=id)
        return _entry(rows[0]) if rows else None

    async def change(self, entry: Entry) -> bool:
        return await self._changes("change_entry", asdict(entry)) == 1

    async def remove(self, kind: str, project: str, id: str, version: int | None = None) -> bool:
        values = {"kind": kind, "project": project, "id": id, "version": version}
        return await self._changes("remove_entry", values) == 1

    async def entries(
        self, kind: str, project: str | None = None, *, prefix: str = "", after: str = "", size: int = 100
    ) -> list[Entry]:
        values = {"kind": kind, "prefix": prefix, "after": after, "size": size}
        if project is None:
            return [_entry(row) for row in self._read("all_entries", **values)]
        return [_entry(row) for row in self._read("entries", project=project, **values)]

    async def due(self, kind: str, now: float, lease: float, size: int = 100) -> list[Entry]:
        wanted = {"kind": kind, "now": now, "size": size}
        if not self._read("due_entries", **wanted):
            return []  # mostly; a look costs a thousandth of a write

        def work(connection: sqlite3.Connection) -> list[Entry]:
            found = [_entry(row) for row in connection.execute(self._queries["due_entries"], wanted).fetchall()]
            taken = [replace(entry, due=now + lease, version=entry.version + 1) for entry in found]
            names = [{"kind": kind, "project": entry.project, "id": entry.id, "until": entry.due} for entry in taken]
            connection.executemany(self._queries["take_entry"], names).close()
            return taken

        return await self._write(work)

    async def add(self, kind: str, project: str, id: str, amount: float, expires: float) -> float:
        values = {"kind": kind, "project": project, "id": id, "amount": amount, "expires": expires}
        values["now"] = self._clock()

        def work(connection: sqlite3.Connection) -> float:
            return float(connection.execute(self._queries["add"], values).fetchall()[0][0])

        return await self._write(work, small=True)

    async def sweep(self, now: float) -> int:
        return await self._changes("forget_counters", {"now": now})


def _entry(row: Any) -> Entry:
    kind, project, id, body, version, due = row
    return Entry(kind=kind, project=project, id=id, body=body, version=version, due=due)
