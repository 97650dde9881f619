"""The one task of a server that lets triggers run: it asks the ledger what is due, which no other server then gets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from antiphon import wire
from antiphon.ports import Entry, Record
from antiphon.triggers.kept import EXECUTION, TRIGGER
from antiphon.triggers.runs import Runs

logger = logging.getLogger("antiphon.triggers")

_BATCH = 40  # triggers at a time
_AT_ONCE = 8  # of them
_FORGET_EVERY = 60.0  # seconds


class Scheduler:
    """`run()` is the task. It is a `ports.Watcher` too: what ends here is seen at once, what ends elsewhere at a look."""

    def __init__(self, runs: Runs, *, clock: Callable[[], float], every: float = 1.0) -> None:
        self._runs = runs
        self._ledger = runs.shelf.ledger
        self._clock = clock
        self._every = every
        self._forgot = 0.0
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            self._runs.woken.clear()
            if not await self._kept(self.round()):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._every):
                        await self._runs.woken.wait()

    async def round(self) -> bool:
        """Do what is due now; True where there may be more of it."""
        while self._runs.ended:
            found = await self._runs.shelf.read(*self._runs.ended.pop())
            if found is not None:
                await self._kept(self._runs.handle(found))
        now = self._clock()
        taken = await self._ledger.due(TRIGGER, now, self._runs.look, _BATCH)
        await asyncio.gather(*(self._one(entry) for entry in taken))
        if now >= self._forgot + _FORGET_EVERY:
            self._forgot = now
            await self._forget(now)
        return len(taken) == _BATCH

    async def _forget(self, now: float) -> None:
        """Remove the executions that have been kept long enough."""
        old = _BATCH
        while old == _BATCH:
            found = await self._ledger.due(EXECUTION, now, _FORGET_EVERY, _BATCH)
            for entry in found:
                await self._ledger.remove(EXECUTION, entry.project, entry.id, entry.version)
            old = len(found)

    async def _one(self, entry: Entry) -> None:
        async with self._room:
            await self._kept(self._runs.take(entry))

    async def _kept(self, work: Awaitable[bool | None]) -> bool:
        """One trigger that cannot be handled comes up again, and keeps neither the others nor the schedule from going on."""
        try:
            return bool(await work)
        except wire.ApiError as error:
            logger.warning("a trigger waits: %s", error.message)
        except Exception:
            logger.exception("a trigger could not be handled")
        return False

    # ------------------------------------------------------------------ as a watcher

    async def begins(self, record: Record) -> None:
        """Nothing is refused here."""

    def ends(self, record: Record, status: wire.InteractionStatus, usage: wire.Usage | None) -> None:
        """An interaction has ended on this server."""
        self._runs.tell(record.id)

    def around(self, record: Record, kind: Literal["chat", "execute_tool"], name: str) -> AbstractContextManager[Any]:
        """Nothing is measured here."""
        return nullcontext({})
