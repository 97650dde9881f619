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
from antiphon.triggers.kept import EXECUTION, TRIGGER, held
from antiphon.triggers.runs import Runs

logger = logging.getLogger("antiphon.triggers")

_BATCH = 40  # triggers taken at a time
_MOST = 400  # in hand
_AT_ONCE = 32  # of them
_OF_ONE = 4  # of one project: its starts may take long, and then only its own wait for them
_FORGET_EVERY = 60.0  # seconds

Name = tuple[str, str]  # of a trigger: its project, and its id


class Scheduler:
    """`run()` is the task. It is a `ports.Watcher` too: what ends here is seen at once, what ends elsewhere at a look."""

    def __init__(self, runs: Runs, *, clock: Callable[[], float], every: float = 1.0) -> None:
        self._runs = runs
        self._ledger = runs.shelf.ledger
        self._clock = clock
        self._every = every
        self._forgot = 0.0
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._of_one: dict[str, asyncio.Semaphore] = {}  # by project
        self._in_hand: dict[Name, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Go on until cancelled."""
        try:
            while True:
                self._runs.woken.clear()
                if not await self._kept(self.round()):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._every):
                            await self._runs.woken.wait()
        finally:
            for task in (rest := set(self._in_hand.values())):
                task.cancel()
            if rest:
                await asyncio.wait(rest)

    async def round(self) -> bool:
        """Begin with what is due now, as far as there is room; True where there may be more of it."""
        for name in self._runs.ended - self._in_hand.keys():
            self._runs.ended.discard(name)
            self._begin(name, None)
        now = self._clock()
        size = min(_BATCH, _MOST - len(self._in_hand))
        taken = await self._ledger.due(TRIGGER, now, self._runs.look, size) if size > 0 else []
        for entry in taken:
            if (entry.project, entry.id) not in self._in_hand:
                self._begin((entry.project, entry.id), entry)
        if now >= self._forgot + _FORGET_EVERY:
            self._forgot = now
            await self._forget(now)
        return 0 < len(taken) == size

    async def settle(self) -> None:
        """Wait for what is in hand."""
        while self._in_hand:
            await asyncio.gather(*self._in_hand.values())

    def _begin(self, name: Name, entry: Entry | None) -> None:
        # A task of its own, also for what its lines say they are about (`logs.bind`).
        task = self._in_hand[name] = asyncio.create_task(self._one(name, entry))
        task.add_done_callback(lambda _: self._left(name))

    def _left(self, name: Name) -> None:
        del self._in_hand[name]
        if all(project != name[0] for project, _ in self._in_hand):
            self._of_one.pop(name[0], None)
        if name in self._runs.ended or len(self._in_hand) == _MOST - _BATCH:
            self._runs.woken.set()

    async def _one(self, name: Name, entry: Entry | None) -> None:
        line = self._of_one.setdefault(name[0], asyncio.Semaphore(_OF_ONE))
        waits = line.locked() or self._room.locked()
        async with line, self._room:
            # Who has waited looks anew: what was taken came up again meanwhile, here or elsewhere.
            await self._kept(self._handle(name, None if waits else entry))

    async def _handle(self, name: Name, entry: Entry | None) -> None:
        found = held(entry) if entry is not None else await self._runs.shelf.read(*name)
        if found is not None:
            await self._runs.handle(found)

    async def _forget(self, now: float) -> None:
        """Remove the executions that have been kept long enough."""
        old = _BATCH
        while old == _BATCH:
            found = await self._ledger.due(EXECUTION, now, _FORGET_EVERY, _BATCH)
            for entry in found:
                await self._ledger.remove(EXECUTION, entry.project, entry.id, entry.version)
            old = len(found)

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

    def refused(self, record: Record) -> None:
        """Nothing was made of it here."""

    def ends(self, record: Record, status: wire.InteractionStatus, usage: wire.Usage | None) -> None:
        """An interaction has ended on this server."""
        self._runs.tell(record.id)

    def around(self, record: Record, kind: Literal["chat", "execute_tool"], name: str) -> AbstractContextManager[Any]:
        """Nothing is measured here."""
        return nullcontext({})
