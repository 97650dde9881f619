"""One machine's store: SQLite in WAL mode, one writer at a time.

Writes that arrive together are committed together by a thread (synchronous=FULL: on disk when the call returns, at the
price of one fsync for all of them); one that comes alone, while the disk is quick, is made at once. Reads are short
look-ups by key on a second connection, made on the loop's own thread: handing them to another would cost more than they
take.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from antiphon import log, sql, wire
from antiphon.ports import Fenced, Record, Segment, Stored
from antiphon.stores.sqlite_ledger import SqliteLedger

T = TypeVar("T")
_Job = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]
_PRAGMAS = (
    "synchronous=FULL",
    "wal_autocheckpoint=4000",  # 16 MB: the pages that every write touches are then copied a quarter as often
)
_BATCH = 256
# A write that comes alone is made where it comes from, as long as the disk is quick: waking a thread takes as long as that.
_QUICK_SECONDS = 0.001
# A commit takes as much of the processor as several writes. Where some came at once, the next waits a moment for more.
_MANY = 3
_GATHER_SECONDS = 0.001
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class SqliteStore:
    """Interactions in the file `path`. Errors of the disk are `Unavailable`; nothing is then half written."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._queries = sql.queries("sqlite") | sql.queries(SqliteLedger.QUERIES)
        self.ledger = SqliteLedger(self._write, self._read, self._queries, clock)
        self._clock = clock
        self._path = path
        self._jobs: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._gathered: list[_Job] = []  # what one turn of the loop wants written
        self._small = False  # whether that is one record or one segment
        self._handed, self._done = 0, 0  # how many times the thread was given something, and has done it
        self._took = 0.0  # seconds, the last commit
        self._tell_erased: Callable[[Sequence[str]], None] = lambda ids: None
        self._writing = threading.Lock()
        self._writer = self._connect()
        _migrate(self._writer)
        self._reader = self._connect()
        self._quick = self._connect()
        self._quick.execute("PRAGMA busy_timeout=0").close()
        self._thread = threading.Thread(target=self._write_all, name="sqlite-writer", daemon=True)
        self._thread.start()

    def _connect(self) -> sqlite3.Connection:
        return sql.connected(self._path, *_PRAGMAS)

    # ------------------------------------------------------------------ the writing thread

    def _write_all(self) -> None:
        stop, busy = False, False
        while not stop and (batch := self._jobs.get()) is not None:
            if busy:
                time.sleep(_GATHER_SECONDS)
            taken = 1
            while len(batch) < _BATCH and not self._jobs.empty():
                following = self._jobs.get()
                if following is None:
                    stop = True
                    break
                batch += following
                taken += 1
            with self._writing:
                began = time.perf_counter()
                outcomes = _commit(self._writer, batch)
                self._took = time.perf_counter() - began
                self._done += taken
            _deliver(outcomes)
            busy = len(batch) >= _MANY
        self._writer.close()

    async def _write(self, work: Callable[[sqlite3.Connection], T], *, small: bool = False) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._gathered.append((work, future))
        self._small = small
        if len(self._gathered) == 1:
            loop.call_soon(self._hand_over)  # waking the thread costs more than most writes: once for all of them
        return await future

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        if not gathered or (len(gathered) == 1 and self._small and self._at_once(gathered[0])):
            return
        self._handed += 1
        self._jobs.put(gathered)

    def _at_once(self, job: _Job) -> bool:
        """Make one small write here and now; False, with nothing done, where that might take a while."""
        if self._took > _QUICK_SECONDS or self._handed != self._done or not self._writing.acquire(blocking=False):
            return False
        try:
            began = time.perf_counter()
            self._quick.execute("BEGIN IMMEDIATE").close()
            outcomes = _commit(self._quick, [job], begun=True)
            self._took = time.perf_counter() - began
        except sqlite3.Error:
            return (
                False  # another program is writing, or the disk is at fault: the thread can wait, and says what it is
            )
        finally:
            self._writing.release()
        _settle(outcomes)
        return True

    def _read(self, query: str, **values: Any) -> list[Any]:
        try:
            return self._reader.execute(self._queries[query], values).fetchall()
        except sqlite3.Error as error:
            raise wire.Unavailable(f"The store cannot read: {error}.") from error

    # ------------------------------------------------------------------ the store

    async def create(
        self,
        record: Record,
        status: wire.InteractionStatus,
        segment: Segment | None = None,
        *,
        waits: bool = False,
    ) -> None:
        row = _row(record, status, self._clock(), segment.frames if segment is not None else b"", waits)
        query = self._queries["insert_interaction"]
        await self._write(lambda connection: connection.execute(query, row).close(), small=True)

    async def bring_in(self, chain: Sequence[Stored]) -> None:
        rows = [_row(stored.record, stored.status, stored.updated, stored.frames) for stored in chain]
        query = self._queries["insert_interaction"]
        await self._write(lambda connection: connection.executemany(query, rows).close())

    def _insert(self, connection: sqlite3.Connection, id: str, segment: Segment) -> None:
        row = {"id": id, "last": segment.last, "frames": segment.frames}
        connection.execute(self._queries["insert_segment"], row)

    async def append(self, id: str, attempt: int, status: wire.InteractionStatus, segment: Segment) -> None:
        row = {"id": id, "attempt": attempt, "status": status, "updated": self._clock()}

        def work(connection: sqlite3.Connection) -> None:
            if connection.execute(self._queries["advance"], row).rowcount != 1:
                raise Fenced(id)
            self._insert(connection, id, segment)

        await self._write(work, small=True)

    async def claim(self, id: str) -> Stored | None:
        def work(connection: sqlite3.Connection) -> list[Any] | None:
            if connection.execute(self._queries["claim"], {"id": id}).rowcount != 1:
                return None
            return connection.execute(self._queries["get_claimed"], {"id": id}).fetchall()

        rows = await self._write(work)
        return next(_stored(rows), None) if rows else None

    async def release(self, id: str, attempt: int) -> None:
        row = {"id": id, "attempt": attempt}
        await self._write(lambda connection: connection.execute(self._queries["release"], row).close())

    async def exists(self, id: str) -> bool:
        return bool(self._read("exists", id=id))

    async def unfinished(self, quiet_since: float | None = None) -> list[str]:
        until = float("inf") if quiet_since is None else quiet_since
        return [row[0] for row in self._read("unfinished", until=until)]

    async def reached(self, ids: Sequence[str]) -> dict[str, tuple[int, bool]]:
        found = [row for id in ids for row in self._read("reached", id=id)]
        return {id: (log.reach(frames), status != "in_progress") for id, status, frames in found}

    async def get(self, project: str, id: str, after: int = 0) -> Stored | None:
        return next(_stored(self._read("get", id=id, project=project, now=self._clock(), after=after)), None)

    async def lineage(self, project: str, id: str) -> list[Stored]:
        return list(_stored(self._read("lineage", id=id, project=project, now=self._clock())))

    async def page(self, project: str, before: str | None, size: int) -> list[Stored]:
        # "~" sorts after every character of an id.
        rows = self._read("page", project=project, now=self._clock(), before=before or "~", size=size)
        return list(_stored(rows))

    async def delete(self, project: str, id: str) -> bool:
        row = {"id": id, "project": project, "now": self._clock()}

        def work(connection: sqlite3.Connection) -> list[str] | None:
            hidden = connection.execute(self._queries["hide"], row).rowcount == 1
            return self._erase(connection, id) if hidden else None

        erased = await self._write(work)
        self._tell_erased(erased or ())
        return erased is not None

    def on_erased(self, tell: Callable[[Sequence[str]], None]) -> None:
        """Let `tell` know the ids of interactions that a delete or a sweep has erased, once they are gone."""
        self._tell_erased = tell

    def _erase(self, connection: sqlite3.Connection, id: str | None) -> list[str]:
        """Erase a hidden interaction and, going back, the hidden turns that nothing needs any more; which."""
        erased: list[str] = []
        while id is not None:
            found = connection.execute(self._queries["erase_leaf"], {"id": id}).fetchall()
            erased += [id] if found else []
            id = found[0][0] if found else None
        return erased

    async def sweep(self, now: float, compact_before: float) -> int:
        touched = 0
        while expired := self._read("expired", now=now, size=_BATCH):
            touched += len(expired)
            self._tell_erased(await self._write(lambda connection, rows=expired: self._expire(connection, rows)))  # type: ignore[misc]
        while ended := self._read("uncompacted", before=compact_before, size=16):
            touched += len(ended)
            for (id,) in ended:
                await self._write(lambda connection, id=id: self._compact(connection, id))  # type: ignore[misc]
        if touched:
            # What was deleted is overwritten in the file (secure_delete); here it is also taken out of the journal.
            self._reader.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        return touched

    def _expire(self, connection: sqlite3.Connection, rows: Iterable[tuple[str]]) -> list[str]:
        erased: list[str] = []
        for (id,) in rows:
            connection.execute(self._queries["hide_expired"], {"id": id})
            erased += self._erase(connection, id)
        return erased

    def _compact(self, connection: sqlite3.Connection, id: str) -> None:
        for stored in _stored(connection.execute(self._queries["get_claimed"], {"id": id}).fetchall()):
            merged = log.compact(log.decode(stored.frames))
            frames = b"".join(log.encode(event, seq) for seq, event in merged)
            connection.execute(self._queries["erase_segments"], {"id": id})
            connection.execute(self._queries["set_compacted"], {"id": id, "frames": frames})

    async def alone(self, *, shared: bool = False) -> None:
        """A data directory is locked by its server (`app.py`)."""

    async def secret(self) -> bytes:
        fresh = {"name": "thoughts", "value": secrets.token_bytes(32)}
        await self._write(lambda connection: connection.execute(self._queries["insert_secret"], fresh).close())
        value: bytes = self._read("secret", name="thoughts")[0][0]
        return value

    async def aclose(self) -> None:
        self._hand_over()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._quick.close()
        self._reader.close()


def _row(record: Record, status: str, updated: float, frames: bytes, waits: bool = False) -> tuple[Any, ...]:
    # With a delta a step there is nothing to merge: the sweeper need not come by.
    compact = bool(frames) and frames.count(b"event: step.delta") <= frames.count(b"event: step.start")
    return (
        record.id,
        record.project,
        record.previous_interaction_id,
        status,
        updated,
        record.expires,
        compact,
        _encode(record),
        frames,
        -1 if waits else 0,
    )


def _commit(
    connection: sqlite3.Connection, batch: list[_Job], *, begun: bool = False
) -> list[tuple[asyncio.Future[Any], Any]]:
    """Do a batch in one transaction. Work that refuses has changed nothing; any other error undoes it all."""
    done: list[tuple[asyncio.Future[Any], Any]] = []
    try:
        if not begun:
            connection.execute("BEGIN IMMEDIATE")
        for work, future in batch:
            try:
                done.append((future, work(connection)))
            except Fenced as refusal:
                done.append((future, refusal))
        connection.execute("COMMIT")
    except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever waits, and must not end this thread
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        # Where the disk or a lock is at fault, one more try for each would only be as much longer a wait for all.
        if len(batch) > 1 and not isinstance(error, sqlite3.OperationalError):
            return [outcome for job in batch for outcome in _commit(connection, [job])]
        return [(future, _fault(error)) for _, future in batch]
    return done


def _fault(error: Exception) -> Exception:
    if isinstance(error, sqlite3.IntegrityError):
        return wire.AlreadyExists(f"An interaction of that id is already here ({error}).")
    if isinstance(error, sqlite3.Error):
        return wire.Unavailable(f"The store cannot write: {error}.")
    return error


def _deliver(outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
    loops = {future.get_loop() for future, _ in outcomes}
    for loop in loops:
        mine = [(future, outcome) for future, outcome in outcomes if future.get_loop() is loop]
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, mine)


def _settle(outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in outcomes:
        if future.cancelled():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _stored(rows: list[Any]) -> Iterator[Stored]:
    """Rows of one interaction are neighbours, its segments in order."""
    for _, group in groupby(rows, key=lambda row: row[0]):
        segments = list(group)
        _, record, status, updated, attempt, compacted, hidden, crashes, first, _ = segments[0]
        frames = b"".join([first, *(row[-1] for row in segments if row[-1] is not None)])
        yield Stored(_decode(record), status, updated, attempt, frames, bool(compacted), bool(hidden), crashes)


def _migrate(connection: sqlite3.Connection) -> None:
    """Apply the migrations that this file has not seen yet, each in a transaction, under SQLite's own lock."""
    for number, script in sql.migrations("sqlite"):
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < number:
            for statement in sql.statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
