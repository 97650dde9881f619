"""A store that forgets everything when the process ends: for tests, and for servers that must keep nothing."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

import msgspec

from antiphon import log, wire
from antiphon.ports import Fenced, Record, Segment, Stored
from antiphon.stores.memory_ledger import MemoryLedger


class MemoryStore:
    """The same promises as the others, over a dictionary."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._rows: dict[str, Stored] = {}
        self._hidden: set[str] = set()
        self._children: dict[str, set[str]] = {}
        self._secret = secrets.token_bytes(32)
        self._tell_erased: Callable[[Sequence[str]], None] = lambda ids: None
        self.ledger = MemoryLedger(clock)

    async def create(
        self,
        record: Record,
        status: wire.InteractionStatus,
        segment: Segment | None = None,
        *,
        waits: bool = False,
    ) -> None:
        if record.id in self._rows:
            raise wire.AlreadyExists("An interaction of that id is already here.")
        frames = segment.frames if segment is not None else b""
        self._rows[record.id] = Stored(record, status, self._clock(), 1, frames, crashes=-1 if waits else 0)
        if record.previous_interaction_id is not None:
            self._children.setdefault(record.previous_interaction_id, set()).add(record.id)

    async def append(self, id: str, attempt: int, status: wire.InteractionStatus, segment: Segment) -> None:
        row = self._rows.get(id)
        if row is None or id in self._hidden or row.attempt != attempt or row.status != "in_progress":
            raise Fenced(id)
        row.frames += segment.frames
        row.status = status
        row.updated = self._clock()

    async def claim(self, id: str) -> Stored | None:
        row = self._rows.get(id)
        if row is None or id in self._hidden or row.status != "in_progress":
            return None
        row.attempt += 1
        row.crashes += 1
        return msgspec.structs.replace(row)

    async def release(self, id: str, attempt: int) -> None:
        row = self._rows.get(id)
        if row is not None and row.attempt == attempt and row.status == "in_progress":
            row.attempt += 1
            row.crashes -= 1

    async def bring_in(self, chain: Sequence[Stored]) -> None:
        for stored in chain:
            if stored.record.id in self._rows:
                raise wire.AlreadyExists(f"Interaction '{stored.record.id}' is already here.")
        for stored in chain:
            await self.create(stored.record, stored.status)
            self._rows[stored.record.id] = msgspec.structs.replace(stored)

    async def exists(self, id: str) -> bool:
        return id in self._rows

    async def unfinished(self, quiet_since: float | None = None) -> list[str]:
        until = float("inf") if quiet_since is None else quiet_since
        rows = ((id, row) for id, row in self._rows.items() if id not in self._hidden)
        return sorted(id for id, row in rows if row.status == "in_progress" and row.updated <= until)

    async def reached(self, ids: Sequence[str]) -> dict[str, tuple[int, bool]]:
        rows = {id: self._rows[id] for id in ids if id in self._rows and id not in self._hidden}
        return {id: (log.reach(row.frames), row.status != "in_progress") for id, row in rows.items()}

    def _visible(self, project: str, id: str) -> Stored | None:
        row = self._rows.get(id)
        if row is None or id in self._hidden or row.record.project != project or row.record.expires <= self._clock():
            return None
        return row

    async def get(self, project: str, id: str, after: int = 0) -> Stored | None:
        row = self._visible(project, id)
        return None if row is None else msgspec.structs.replace(row)

    async def lineage(self, project: str, id: str) -> list[Stored]:
        row = self._visible(project, id)
        chain: list[Stored] = []
        while row is not None:
            chain.append(msgspec.structs.replace(row, hidden=row.record.id in self._hidden))
            row = self._rows.get(row.record.previous_interaction_id or "")
        return chain[::-1]

    async def page(self, project: str, before: str | None, size: int) -> list[Stored]:
        ids = sorted((id for id in self._rows if before is None or id < before), reverse=True)
        rows = [row for id in ids if (row := self._visible(project, id)) is not None]
        return [msgspec.structs.replace(row) for row in rows[:size]]

    async def delete(self, project: str, id: str) -> bool:
        if self._visible(project, id) is None:
            return False
        self._hide(id)
        return True

    def _hide(self, id: str) -> None:
        self._hidden.add(id)
        current: str | None = id
        while current is not None and current in self._hidden and not self._children.get(current):
            row = self._rows.pop(current)
            self._tell_erased([current])
            self._hidden.discard(current)
            self._children.pop(current, None)
            previous = row.record.previous_interaction_id
            if previous is not None:
                self._children.get(previous, set()).discard(current)
            current = previous

    async def sweep(self, now: float, compact_before: float) -> int:
        ended = {id: row for id, row in self._rows.items() if row.status != "in_progress" and id not in self._hidden}
        expired = [id for id, row in ended.items() if row.record.expires <= now]
        for id in sorted(expired, reverse=True):
            self._hide(id)
        long = [row for row in ended.values() if row.updated <= compact_before and not row.compacted]
        for row in long:
            merged = log.compact(log.decode(row.frames))
            row.frames = b"".join(log.encode(event, seq) for seq, event in merged)
            row.compacted = True
        return len(expired) + len(long)

    def on_erased(self, tell: Callable[[Sequence[str]], None]) -> None:
        """Let `tell` know the ids of interactions that are erased."""
        self._tell_erased = tell

    async def alone(self, *, shared: bool = False) -> None:
        """Nobody else can see it."""

    async def secret(self) -> bytes:
        return self._secret

    async def aclose(self) -> None:
        self._rows.clear()
