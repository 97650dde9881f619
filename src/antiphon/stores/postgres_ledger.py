"""What is kept beside interactions, in the same database: see `ports.Ledger`. Connections are the store's (`postgres.py`).

A write is never sent twice: where a connection breaks before its answer came, nobody knows whether it was done, and the
caller is told so (Unavailable) rather than that somebody else was first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from antiphon.ports import Entry


class _Fetch(Protocol):
    def __call__(self, query: str, *values: Any, again: bool = ...) -> Awaitable[list[Any]]: ...


class PostgresLedger:
    """`fetch` is the store's: the rows of a named query, `QUERIES` among them."""

    QUERIES = "postgres_ledger"

    def __init__(self, fetch: _Fetch, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock

    async def _write(self, query: str, *values: Any) -> list[Any]:
        return await self._fetch(query, *values, again=False)

    async def put(self, entry: Entry) -> bool:
        return bool(await self._write("put_entry", entry.kind, entry.project, entry.id, entry.body, entry.due))

    async def read(self, kind: str, project: str, id: str) -> Entry | None:
        rows = await self._fetch("read_entry", kind, project, id)
        return _entry(rows[0]) if rows else None

    async def change(self, entry: Entry) -> bool:
        name = entry.kind, entry.project, entry.id
        return bool(await self._write("change_entry", *name, entry.body, entry.due, entry.version))

    async def remove(self, kind: str, project: str, id: str, version: int | None = None) -> bool:
        return bool(await self._write("remove_entry", kind, project, id, version))

    async def entries(
        self, kind: str, project: str | None = None, *, prefix: str = "", after: str = "", size: int = 100
    ) -> list[Entry]:
        wanted = prefix, after, size
        if project is None:
            return [_entry(row) for row in await self._fetch("all_entries", kind, *wanted)]
        return [_entry(row) for row in await self._fetch("entries", kind, project, *wanted)]

    async def due(self, kind: str, now: float, lease: float, size: int = 100) -> list[Entry]:
        return [_entry(row) for row in await self._write("take_due", kind, now, lease, size)]

    async def add(self, kind: str, project: str, id: str, amount: float, expires: float) -> float:
        rows = await self._write("add", kind, project, id, amount, expires, self._clock())
        return float(rows[0][0])

    async def sweep(self, now: float) -> int:
        return len(await self._write("forget_counters", now))


def _entry(row: Any) -> Entry:
    kind, project, id, body, version, due = row
    return Entry(kind=kind, project=project, id=id, body=body, version=version, due=due)
