"""Many machines' store: PostgreSQL, through asyncpg.

Any number of servers share one database. What arrives together is written together (`postgres_lane.py`); every write is
one transaction, on disk when the call returns. Times come from the servers' clocks, which should agree within a second.

A connection may break after a write was sent and before its answer came: nobody knows then whether it was done. So
creates and appends may be sent again, by this file and by the run that writes (`run.py`). A create that finds its very
record in place is done. An append must begin where the log ends; where some of it is there already, byte for byte, only
the rest is written. Nothing is lost, nothing doubled, and an append that would leave a gap is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from antiphon import log, sql, wire
from antiphon.ports import Fenced, Record, Segment, Stored
from antiphon.stores.postgres_alone import Alone
from antiphon.stores.postgres_lane import Lane
from antiphon.stores.postgres_ledger import PostgresLedger

try:
    import asyncpg
except ImportError as error:
    raise ImportError("PostgreSQL needs one more package: pip install 'antiphon[postgres]'") from error

logger = logging.getLogger("antiphon.stores.postgres")

T = TypeVar("T")
_Row = tuple[Any, ...]
_Outcome = bool | wire.Unavailable

_EXPIRED = 256  # interactions in a transaction that deletes what has outlived its retention
_LONG = 16  # logs in a transaction that compacts
_CONNECT_SECONDS = 5.0
_FROZEN_SECONDS = 5.0  # a server that stands still within a transaction loses it, so that the others can go on
_COMPACT_SECONDS = 60.0  # the same while it compacts, which holds nothing that others wait for
_MIGRATE_SECONDS = 3600.0

_FAULTS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)  # OSError: time-outs too
# The connection is gone, or is no use any more.
_BROKEN = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,  # the other end has become a standby
)

_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d{1,5})?")  # one of several, separated by commas; none means a socket

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class PostgresStore:
    """Interactions in the database at `url`, in a schema of their own. While it is away every method is `Unavailable`.

    Nothing is connected before the first call, which also brings the schema up to date. `patience` is how long a
    statement may take, and how long a call waits for one of the `connections`, in seconds.
    """

    def __init__(
        self,
        url: str,
        clock: Callable[[], float] = time.time,
        *,
        connections: int = 10,
        patience: float = 10.0,
    ) -> None:
        _check(url)
        self._url = url
        self._clock = clock
        self._connections = connections
        self._patience = patience
        self._queries = sql.queries("postgres") | sql.queries(PostgresLedger.QUERIES)
        self.ledger = PostgresLedger(self._fetch, clock)
        self._opening = asyncio.Lock()
        self._pool: Any = None  # asyncpg has no types
        self._away = False
        self._tell_erased: Callable[[Sequence[str]], None] = lambda ids: None
        self._alone: Alone | None = None
        self._creates: Lane[_Row, _Outcome] = Lane(lambda rows: self._write_together("create", rows))
        self._appends: Lane[_Row, _Outcome] = Lane(lambda rows: self._write_together("append", rows))

    # ------------------------------------------------------------------ connections

    async def _open(self) -> Any:
        """The pool; the first call makes it, and brings the schema up to date."""
        if self._pool is not None:
            return self._pool
        async with asyncio.timeout(self._patience):
            await self._opening.acquire()
        try:
            if self._pool is None:
                self._pool = await self._make_pool()
            return self._pool
        finally:
            self._opening.release()

    async def _make_pool(self) -> Any:
        pool = asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._connections,
            timeout=_CONNECT_SECONDS,
            command_timeout=self._patience + 1.0,  # where not even the database's own time-out is heard of
            init=self._greet,
            reset=_leave,
        )
        with contextlib.ExitStack() as failing:
            failing.callback(pool.terminate)
            await pool
            async with pool.acquire(timeout=self._patience) as connection:
                await self._migrate(connection)
            failing.pop_all()
        return pool

    async def _greet(self, connection: Any) -> None:
        frozen = f"{min(_FROZEN_SECONDS, self._patience)}s"
        await connection.execute(self._queries["settings"], f"{self._patience}s", frozen)

    async def _migrate(self, connection: Any) -> None:
        """Apply the migrations that this database has not seen yet, all or none; servers that start together take turns."""
        queries, known = self._queries, sql.migrations("postgres")
        async with connection.transaction():
            await connection.execute(f"SET LOCAL statement_timeout = '{_MIGRATE_SECONDS}s'")
            await connection.execute(queries["lock_schema"], timeout=_MIGRATE_SECONDS)
            found = await connection.fetchrow(queries["found"])
            if not found["schema"]:
                await connection.execute(queries["create_schema"])
            if not found["version"]:
                await connection.execute(queries["create_version"])
                await connection.execute(queries["insert_version"])
            version = await connection.fetchval(queries["version"])
            newest = known[-1][0]
            if version > newest:
                raise wire.FailedPrecondition(
                    f"A newer Antiphon has been at this database: it has version {version} of the schema, "
                    f"and this one knows versions up to {newest}."
                )
            for number, script in known:
                if number > version:
                    await connection.execute(script, timeout=_MIGRATE_SECONDS)
                    await connection.execute(queries["set_version"], number)

    async def _on(self, work: Callable[[Any], Awaitable[T]], *, again: bool = False) -> T:
        """Do `work` with a connection. With `again` a connection that has broken is replaced by a new one, once."""
        try:
            try:
                done = await self._once(work)
            except _BROKEN as error:
                if not again or isinstance(error, TimeoutError):
                    raise
                done = await self._once(work)
        except _FAULTS as error:
            if not self._away:
                logger.warning("the database cannot be used: %s: %s", type(error).__name__, error)
            self._away = True
            raise wire.Unavailable(f"The database cannot be used at present ({type(error).__name__}).") from error
        if self._away:
            logger.warning("the database can be used again")
            self._away = False
        return done

    async def _once(self, work: Callable[[Any], Awaitable[T]]) -> T:
        pool = await self._open()
        async with pool.acquire(timeout=self._patience) as connection:
            try:
                return await work(connection)
            except _BROKEN:
                connection.terminate()
                raise

    async def _fetch(self, query: str, *values: Any, again: bool = True) -> list[Any]:
        """The rows of a query that may be sent twice, unless `again` says that it may not."""
        text = self._queries[query]
        said = [_sayable(value) if isinstance(value, str) else value for value in values]
        rows: list[Any] = await self._on(lambda connection: connection.fetch(text, *said), again=again)
        return rows

    # ------------------------------------------------------------------ writing

    async def _write_together(self, query: str, rows: list[_Row]) -> list[_Outcome]:
        """For each row, whether it was written, or why that is not known; the id comes first in it."""
        try:
            written = {row[0] for row in await self._fetch(query, *map(list, zip(*rows, strict=True)))}
        except wire.Unavailable as error:
            if len(rows) == 1 or isinstance(error.__cause__, _BROKEN):
                return [error] * len(rows)
            # One row is at fault, or two servers stood in each other's way: then one by one.
            return [outcome for row in rows for outcome in await self._write_together(query, [row])]
        return [row[0] in written for row in rows]

    async def create(
        self,
        record: Record,
        status: wire.InteractionStatus,
        segment: Segment | None = None,
        *,
        waits: bool = False,
    ) -> None:
        last, frames = (segment.last, segment.frames) if segment is not None else (0, b"")
        row = _row(record, status, self._clock(), last, frames, waits)
        if await _written(self._creates, row):
            return
        found = await self._fetch("record", record.id)
        if not found or found[0][0] != _encode(record):
            raise _taken()

    async def append(self, id: str, attempt: int, status: wire.InteractionStatus, segment: Segment) -> None:
        now = self._clock()
        row = (id, attempt, status, segment.first, segment.last, segment.frames, now)
        if await _written(self._appends, row):
            return
        rest = await self._missing(id, attempt, segment)
        if rest is None:
            return
        row = (id, attempt, status, rest.first, rest.last, rest.frames, now)
        if not await _written(self._appends, row):
            raise Fenced(id)

    async def _missing(self, id: str, attempt: int, segment: Segment) -> Segment | None:
        """What the log lacks of a segment that it did not take, since an earlier try wrote some of it. Raises Fenced."""
        found = await self._fetch("tail", id, segment.first)
        if not found or found[0]["attempt"] != attempt or found[0]["hidden"]:
            raise Fenced(id)
        last, there = found[0]["last"], found[0]["frames"] or b""
        if not segment.first <= last <= segment.last or not segment.frames.startswith(there):
            raise Fenced(id)
        return Segment(last + 1, segment.last, segment.frames[len(there) :]) if last < segment.last else None

    async def claim(self, id: str) -> Stored | None:
        query = self._queries["claim"]
        attempt = await self._on(lambda connection: connection.fetchval(query, _sayable(id)))
        if attempt is None:
            return None
        # A look of its own: what an older attempt wrote at the last moment is seen by no look that began before.
        found = await self._fetch("get_claimed", id)
        return msgspec.structs.replace(_stored(found[0]), attempt=attempt) if found else None

    async def release(self, id: str, attempt: int) -> None:
        await self._appends.settle()  # else a last append could come after the next one's claim
        query = self._queries["release"]
        await self._on(lambda connection: connection.execute(query, _sayable(id), attempt), again=True)

    async def bring_in(self, chain: Sequence[Stored]) -> None:
        rows = [
            _row(stored.record, stored.status, stored.updated, log.number(log.split(stored.frames)[-1]), stored.frames)
            for stored in chain
        ]

        async def work(connection: Any) -> None:
            async with connection.transaction():
                kept = await connection.fetch(self._queries["create"], *map(list, zip(*rows, strict=True)))
                if len(kept) != len(rows):
                    raise _taken()

        if rows:
            await self._on(work)

    async def delete(self, project: str, id: str) -> bool:
        async def work(connection: Any) -> list[str] | None:
            async with connection.transaction():
                await connection.execute(self._queries["lock_conversations"], [_sayable(id)])
                hidden = await connection.fetch(self._queries["hide"], _sayable(id), project, self._clock())
                return await self._erase(connection, [id]) if hidden else None

        erased = await self._on(work)
        self._tell_erased(erased or ())
        return erased is not None

    def on_erased(self, tell: Callable[[Sequence[str]], None]) -> None:
        """Let `tell` know the ids of interactions that a delete or a sweep of this server has erased, once they are gone."""
        self._tell_erased = tell

    async def _erase(self, connection: Any, ids: list[str]) -> list[str]:
        """Erase hidden interactions and, going back, the hidden turns that nothing needs any more; which."""
        erased: list[str] = []
        while ids:
            found = await connection.fetch(self._queries["erase"], ids)
            erased += [row["id"] for row in found]
            # Where two branches ended at once, each kept the turn they share.
            ids = [row["previous_id"] for row in found if row["previous_id"] is not None]
        return erased

    # ------------------------------------------------------------------ reading

    async def exists(self, id: str) -> bool:
        return bool(await self._fetch("exists", id))

    async def unfinished(self, quiet_since: float | None = None) -> list[str]:
        until = float("inf") if quiet_since is None else quiet_since
        return [row[0] for row in await self._fetch("unfinished", until)]

    async def reached(self, ids: Sequence[str]) -> dict[str, tuple[int, bool]]:
        found = await self._fetch("reached", [_sayable(id) for id in ids])
        return {row["id"]: (row["last"], row["ended"]) for row in found}

    async def get(self, project: str, id: str, after: int = 0) -> Stored | None:
        found = await self._fetch("get", id, project, self._clock(), after)
        return _stored(found[0]) if found else None

    async def lineage(self, project: str, id: str) -> list[Stored]:
        return [_stored(row) for row in await self._fetch("lineage", id, project, self._clock())]

    async def page(self, project: str, before: str | None, size: int) -> list[Stored]:
        # "~" sorts after every character of an id.
        return [_stored(row) for row in await self._fetch("page", project, self._clock(), before or "~", size)]

    async def alone(self, *, shared: bool = False) -> None:
        """Hold a lock in the database, on a connection of its own; those that share it have a shared one."""
        self._alone = Alone(
            partial(asyncpg.connect, self._url, timeout=_CONNECT_SECONDS),
            self._queries["take_shared" if shared else "take_alone"],
            "A server that has no --nats is using this database alone."
            if shared
            else "Another server is using this database: several need --nats.",
            _FAULTS,
        )
        await self._alone.start()

    async def secret(self) -> bytes:
        await self._fetch("insert_secret", "thoughts", secrets.token_bytes(32))
        value: bytes = (await self._fetch("secret", "thoughts"))[0][0]
        return value

    # ------------------------------------------------------------------ retention

    async def sweep(self, now: float, compact_before: float) -> int:
        """As the contract says; a batch is a transaction, and one server at a time sweeps.

        Who finds another one at it leaves: that one goes on until nothing is left, or leaves it to a third.
        """
        touched = 0
        for batch, before in ((self._expire, now), (self._compact, compact_before)):
            while count := await self._on(partial(batch, before=before)):
                touched += count
            if count is None:
                break
        return touched

    async def _expire(self, connection: Any, before: float) -> int | None:
        """How many interactions; None where another server sweeps."""
        queries = self._queries
        async with connection.transaction():
            if not await connection.fetchval(queries["lock_sweep"]):
                return None
            ids = [row[0] for row in await connection.fetch(queries["expired"], before, _EXPIRED)]
            erased: list[str] = []
            if ids:
                await connection.execute(queries["lock_conversations"], ids)
                await connection.execute(queries["hide_expired"], ids)
                erased = await self._erase(connection, ids)
        self._tell_erased(erased)
        return len(ids)

    async def _compact(self, connection: Any, before: float) -> int | None:
        queries = self._queries
        async with connection.transaction():
            await connection.execute(queries["patience"], f"{_COMPACT_SECONDS}s")
            if not await connection.fetchval(queries["lock_sweep"]):
                return None
            rows = await connection.fetch(queries["uncompacted"], before, _LONG)
            if rows:
                ids = [row["id"] for row in rows]
                merged = await asyncio.to_thread(_merge, [row["frames"] + (row["more"] or b"") for row in rows])
                await connection.execute(queries["set_compacted"], ids, merged)
                await connection.execute(queries["erase_segments"], ids)
            return len(rows)

    async def aclose(self) -> None:
        await self._creates.settle()
        await self._appends.settle()
        if self._alone is not None:
            await self._alone.aclose()
        if self._pool is not None:
            with contextlib.suppress(*_FAULTS):
                async with asyncio.timeout(self._patience):
                    await self._pool.close()
            self._pool.terminate()


async def _leave(connection: Any) -> None:
    """What asyncpg would tell the database when a connection is given back; nothing here needs it, and it is a wait."""


def _check(url: str) -> None:
    """Raises ValueError for what is no URL of a database; its words never have the URL in them, which has the password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        sound = False
    else:
        hosts = parts.netloc.rpartition("@")[2].split(",")
        sound = parts.scheme in ("postgresql", "postgres") and all(map(_HOST.fullmatch, hosts))
    if not sound:
        raise ValueError(
            "The database's URL must look like postgresql://user:password@host:port/name; "
            "special characters in the password are written as %XX."
        )


def _sayable(text: str) -> str:
    """PostgreSQL's text has neither NUL nor half characters. Nor has any id: '?' makes one that nobody has."""
    return text if text.isascii() and "\0" not in text else text.encode(errors="replace").decode().replace("\0", "?")


async def _written(lane: Lane[_Row, _Outcome], row: _Row) -> bool:
    outcome = await lane.write(row[0], row, sum(len(value) for value in row if isinstance(value, bytes)))
    if isinstance(outcome, wire.Unavailable):
        raise wire.Unavailable(outcome.message) from outcome
    return outcome


def _taken() -> wire.AlreadyExists:
    return wire.AlreadyExists("An interaction of that id is already here.")


def _row(record: Record, status: str, updated: float, last: int, frames: bytes, waits: bool = False) -> _Row:
    # With a delta a step there is nothing to merge: the sweeper need not come by.
    compact = bool(frames) and frames.count(b"event: step.delta") <= frames.count(b"event: step.start")
    return (
        record.id,
        record.project,
        record.conversation,
        record.previous_interaction_id,
        status,
        last,
        compact,
        updated,
        updated if status != "in_progress" else None,
        record.expires,
        _encode(record),
        frames,
        -1 if waits else 0,
    )


def _stored(row: Any) -> Stored:
    record, status, updated, attempt, compacted, hidden, crashes, frames, more = row
    return Stored(_decode(record), status, updated, attempt, frames + (more or b""), compacted, hidden, crashes)


def _merge(logs: Iterable[bytes]) -> list[bytes]:
    return [b"".join(log.encode(event, seq) for seq, event in log.compact(log.decode(frames))) for frames in logs]
