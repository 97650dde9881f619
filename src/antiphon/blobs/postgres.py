"""Tables in the database that has the conversations: for several servers that share nothing else.

A content is cut into pieces, so that a part of it can be read alone and no statement is large. Whoever begins to hold a
content and whoever deletes it lock its row first: one of them comes after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from antiphon import sql, wire
from antiphon.blobs.depot import gone, name_of, name_of_file

T = TypeVar("T")
_PIECE = 2**20  # bytes
_MAKE = ("create_schema", "create_blob", "create_piece", "plain", "create_hold", "create_index")
_FROZEN = "60s"  # a server that stands still within a transaction loses it


class PostgresBlobs:
    """Bytes in the database at `url`, in tables of their own. While it is away every method is `Unavailable`.

    `patience` is how long a statement may take, in seconds.
    """

    def __init__(
        self,
        url: str,
        clock: Callable[[], float] = time.time,
        *,
        connections: int = 4,
        patience: float = 30.0,
    ) -> None:
        try:
            import asyncpg  # loaded by those who use it
        except ImportError as error:
            raise ImportError("PostgreSQL needs one more package: pip install 'antiphon[postgres]'") from error
        self._driver: Any = asyncpg  # it has no types
        broken = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)
        self._broken: tuple[type[Exception], ...] = broken  # the connection is gone, or is no use any more
        self._faults = (*self._broken, asyncpg.PostgresError, asyncpg.InternalClientError)
        self._url = url
        self._clock = clock
        self._connections = connections
        self._patience = patience
        self._queries = sql.queries("postgres", "antiphon.blobs")
        self._opening = asyncio.Lock()
        self._pool: Any = None

    async def put(self, owner: str, bodies: Sequence[bytes]) -> list[str]:
        names = await asyncio.to_thread(lambda: [name_of(body) for body in bodies])
        contents = dict(zip(names, bodies, strict=True))
        await self._on(lambda connection: self._keep(connection, owner, contents))
        return names

    async def _keep(self, connection: Any, owner: str, contents: dict[str, bytes] | dict[str, Path]) -> None:
        async with connection.transaction():
            for name in await self._claimed(connection, owner, list(contents)):
                for number, piece in enumerate(_pieces(contents[name])):
                    await connection.execute(self._queries["write"], name, number, piece)

    async def _claimed(self, connection: Any, owner: str, names: list[str]) -> list[str]:
        """Let `owner` hold contents; those that were not there before."""
        rows = await connection.fetch(self._queries["claim"], sorted(set(names)))
        await connection.execute(self._queries["hold"], owner, sorted(set(names)), self._clock())
        return [row["sha256"] for row in rows if row["new"]]

    async def take(self, owner: str, path: Path) -> str:
        name = await asyncio.to_thread(name_of_file, path)
        await self._on(lambda connection: self._keep(connection, owner, {name: path}))
        await asyncio.to_thread(path.unlink)
        return name

    async def hold(self, owner: str, names: Sequence[str]) -> None:
        async def work(connection: Any) -> None:
            async with connection.transaction():
                there = {row[0] for row in await connection.fetch(self._queries["lock"], list(names))}
                for name in names:
                    if name not in there:
                        raise gone(name)
                await connection.execute(self._queries["hold"], owner, list(there), self._clock())

        await self._on(work)

    async def get(self, names: Sequence[str]) -> list[bytes]:
        found: dict[str, list[bytes]] = {}
        query = self._queries["bodies"]
        for row in await self._on(lambda connection: connection.fetch(query, list(names))):
            found.setdefault(row["sha256"], []).append(row["body"])
        # What has no piece is empty, or is not there.
        return [b"".join(found[name]) if name in found else await self._read(name, 0, 0) for name in names]

    async def part(self, name: str, first: int, size: int) -> bytes:
        if size <= 0:
            return b""
        number = first // _PIECE
        pieces = await self._read(name, number, (first + size - 1) // _PIECE)
        return pieces[first - number * _PIECE :][:size]

    async def _read(self, name: str, first: int, last: int) -> bytes:
        async def work(connection: Any) -> tuple[list[Any], Any]:
            rows = await connection.fetch(self._queries["pieces"], name, first, last)
            return rows, rows or await connection.fetchval(self._queries["there"], name)

        rows, there = await self._on(work)
        if not there:
            raise gone(name)
        return b"".join(row[0] for row in rows)

    async def drop(self, owners: Sequence[str]) -> None:
        async def work(connection: Any) -> None:
            async with connection.transaction():
                names = [row[0] for row in await connection.fetch(self._queries["held"], list(owners))]
                if names:
                    await connection.fetch(self._queries["lock"], names)
                    await connection.execute(self._queries["let_go"], list(owners))
                    await connection.execute(self._queries["erase"], names)

        await self._on(work)

    async def owners(self, prefix: str, before: float, after: str = "", size: int = 1000) -> list[str]:
        query = self._queries["owners"]
        rows = await self._on(lambda connection: connection.fetch(query, after, prefix, before, size))
        return [row[0] for row in rows]

    async def aclose(self) -> None:
        if self._pool is not None:
            with contextlib.suppress(*self._faults):
                async with asyncio.timeout(self._patience):
                    await self._pool.close()
            self._pool.terminate()
            self._pool = None

    # ------------------------------------------------------------------ connections

    async def _on(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do `work` with a connection, once more where that was broken: all of it may be done twice."""
        try:
            try:
                return await self._once(work)
            except self._broken as error:
                if isinstance(error, TimeoutError):
                    raise
                return await self._once(work)
        except self._faults as error:
            raise wire.Unavailable(f"The database cannot be used at present ({type(error).__name__}).") from error

    async def _once(self, work: Callable[[Any], Awaitable[T]]) -> T:
        async with self._connection() as connection:
            try:
                return await work(connection)
            except self._broken:
                connection.terminate()
                raise

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._open()
        async with self._pool.acquire(timeout=self._patience) as connection:
            yield connection

    async def _open(self) -> Any:
        pool = self._driver.create_pool(
            self._url,
            min_size=0,
            max_size=self._connections,
            timeout=self._patience,
            command_timeout=self._patience,
            server_settings={"jit": "off", "idle_in_transaction_session_timeout": _FROZEN},
            init=self._greet,
            reset=_leave,
        )
        with contextlib.ExitStack() as failing:
            failing.callback(pool.terminate)
            await pool
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(self._queries["lock_schema"])
                if not await connection.fetchval(self._queries["found"]):
                    for query in _MAKE:
                        await connection.execute(self._queries[query])
            failing.pop_all()
        return pool

    async def _greet(self, connection: Any) -> None:
        await connection.execute(self._queries["settings"])


async def _leave(connection: Any) -> None:
    """Nothing is undone when a connection is given back."""


def _pieces(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        for start in range(0, len(content), _PIECE):
            yield content[start : start + _PIECE]
        return
    with content.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
