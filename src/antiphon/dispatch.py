"""What one of many servers does for all of them: run what was submitted, and find what nobody runs.

The bus hands work out and notices who falls silent. What it loses, as a message in a power cut, is found here: an
interaction that is in progress in the store, has not been written to for a while, waits on no queue and is run by
nobody that answers, is submitted again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

from antiphon import wire
from antiphon.engine import Engine
from antiphon.ports import Bus, Store

logger = logging.getLogger("antiphon.dispatch")

QUIET_SECONDS = 6.0  # without a write, after which it is asked who runs an interaction
EVERY_SECONDS = 2.0
_AT_ONCE = 64


class Dispatch:
    """`slots` is how many submitted interactions this server runs at once; 0 only looks after what is lost."""

    def __init__(
        self, engine: Engine, store: Store, bus: Bus, *, slots: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._engine = engine
        self._store = store
        self._bus = bus
        self._slots = slots
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._look_after())]
        if self._slots:
            self._tasks.append(asyncio.create_task(self._bus.work(self._engine.work, self._slots)))

    async def aclose(self) -> None:
        """Take nothing more, and give back what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look_after(self) -> None:
        while True:
            # Not all servers at the same moment: the second then finds what the first has done.
            await asyncio.sleep(EVERY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            try:
                await self.rescue()
            except wire.ApiError as error:
                logger.warning("what nobody runs cannot be looked for: %s", error.message)

    async def rescue(self) -> int:
        """Submit again what nobody runs. How many there were."""
        quiet = await self._store.unfinished(self._clock() - QUIET_SECONDS)
        found = 0
        for place in range(0, len(quiet), _AT_ONCE):
            found += sum(await asyncio.gather(*map(self._rescue, quiet[place : place + _AT_ONCE])))
        return found

    async def _rescue(self, id: str) -> bool:
        if await self._bus.queued(id) or await self._bus.running(id):
            return False
        logger.info("nobody runs %s: it is submitted again", id)
        await self._bus.submit(id)
        return True
