"""What keys may do at most: requests, tokens and runs at once, counted together by all servers of one store.

Requests and tokens are counters that begin anew with every minute and every day of UTC. Of runs at once each takes a
place, an entry whose `due` is a lease: whoever runs it prolongs that, and the places of a server that dies are free
again when it is over. Places are numbered below the limit and each is taken by one write that only one server can make,
so two servers never let one too many in.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import msgspec

from antiphon import wire
from antiphon.keyring import Keyring, Limits
from antiphon.ports import Entry, Ledger, Record, Store

logger = logging.getLogger("antiphon.limits")

PLACE = "run_place"
COUNT = "key_count"
LEASE_SECONDS = 30.0
_COME_BACK_SECONDS = 2.0  # when one of the runs may have ended
_TRIES = 8  # at a place that another server takes at the same moment
_MINUTE, _DAY = 60, 86400
_encode = msgspec.json.Encoder().encode


class Allowance:
    """A watcher: refuses what is over a key's limits, and counts what is within."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        *,
        clock: Callable[[], float] = time.time,
        lease: float = LEASE_SECONDS,
    ) -> None:
        self._store = store
        self._ledger: Ledger = store.ledger
        self._keyring = keyring
        self._clock = clock
        self._lease = lease
        self._held: dict[str, tuple[Entry, float]] = {}  # by interaction: its place, and when it took it
        self._seen: set[str] = set()  # interactions whose places were looked for when they came from elsewhere
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._prolonging: asyncio.Task[None] | None = None
        self._live: Callable[[str], bool] = lambda id: True

    def start(self, live: Callable[[str], bool]) -> None:
        """Prolong the places that are held; `live` tells whether an interaction runs in this process."""
        self._live = live
        self._prolonging = asyncio.create_task(self._go_on())

    async def aclose(self) -> None:
        """Write down what was used, and free the places that are still held."""
        if self._prolonging is not None:
            self._prolonging.cancel()
            await asyncio.wait([self._prolonging])
        await self.settle()
        for id in list(self._held):
            try:
                await self._free(id)
            except wire.ApiError:
                break  # the lease runs out without us

    async def settle(self) -> None:
        """Wait until what has ended so far is written down."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------------ what the engine tells

    async def begins(self, record: Record) -> None:
        """Raises RateLimited."""
        limits = await self._limits(record)
        if limits is None:
            return
        # The place first: who waits for one, and asks again and again, does not use up the requests of a minute.
        if limits.concurrent_runs is not None:
            await self._take(record, limits.concurrent_runs)
        counted = False
        try:
            await self._count(record, limits)
            counted = True
        finally:
            if not counted:
                self.refused(record)

    def refused(self, record: Record) -> None:
        """It was not begun after all: its place is free."""
        if record.id in self._held:
            self._do(self._free(record.id))

    def ends(self, record: Record, status: wire.InteractionStatus, usage: wire.Usage | None) -> None:
        """What it used is added to what its key has used, and its place is free."""
        if not self._keyring.is_unlimited(record.key):
            self._do(self._ended(record, usage))

    def around(self, record: Record, kind: Literal["chat", "execute_tool"], name: str) -> AbstractContextManager[Any]:
        """A run that another server began has its place there: from now on it is prolonged here."""
        new = record.id not in self._held and record.id not in self._seen
        if new and not self._keyring.is_unlimited(record.key):
            self._seen.add(record.id)
            self._do(self._adopt(record))
        return nullcontext({})

    async def _limits(self, record: Record) -> Limits | None:
        if self._keyring.is_unlimited(record.key):
            return None
        key = await self._keyring.get(record.key)
        return key.limits if key is not None else None

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside what is going on. Nobody waits for it, so a fault of the store is only told."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("what a key used could not be written down", exc_info=error)

    # ------------------------------------------------------------------ counters

    async def _count(self, record: Record, limits: Limits) -> None:
        """One more request; all counters are asked at once. Raises RateLimited."""
        now = self._clock()
        asked = (
            ("requests", _MINUTE, 1, limits.requests_per_minute, "requests a minute"),
            ("tokens", _MINUTE, 0, limits.tokens_per_minute, "tokens a minute"),
            ("tokens", _DAY, 0, limits.tokens_per_day, "tokens a day"),
        )
        wanted = [row for row in asked if row[3] is not None]
        sums = await asyncio.gather(*(self._add(record, what, span, more, now) for what, span, more, *_ in wanted))
        for (_, span, more, most, words), reached in zip(wanted, sums, strict=True):
            if most is not None and reached - more >= most:
                raise _over(f"This API key may use {most} {words}.", span, span - now % span)

    async def _add(self, record: Record, what: str, span: int, more: float, now: float) -> float:
        began = int(now // span) * span
        name = f"{record.key}/{what}/{span}/{began}"
        return await self._ledger.add(COUNT, record.project, name, more, began + 2 * span)

    async def _ended(self, record: Record, usage: wire.Usage | None) -> None:
        self._seen.discard(record.id)
        limits = await self._limits(record)
        used = (usage.total_tokens or 0) if usage is not None else 0
        now = self._clock()
        for span, most in ((_MINUTE, limits and limits.tokens_per_minute), (_DAY, limits and limits.tokens_per_day)):
            if used and most is not None:
                await self._add(record, "tokens", span, used, now)
        if record.id in self._held:
            await self._free(record.id)
        elif limits is not None and limits.concurrent_runs is not None:
            place = await self._place_of(record)
            if place is not None:
                await self._ledger.remove(PLACE, place.project, place.id)

    # ------------------------------------------------------------------ places of runs at once

    async def _take(self, record: Record, most: int) -> None:
        """Raises RateLimited where all are taken."""
        if record.id in self._held:
            return
        async with self._locks.setdefault(record.key, asyncio.Lock()):  # at once, they would want the same one
            for _ in range(_TRIES):
                now = self._clock()
                places = {entry.id: entry for entry in await self._places(record)}
                taken = [entry for entry in places.values() if (entry.due or 0.0) > now]
                if len(taken) >= most:
                    break
                names = (f"{record.key}/{number:04}" for number in range(most))
                free = next(name for name in names if name not in {entry.id for entry in taken})
                if await self._put(record, places.get(free), free, now):
                    return
        why = f"This API key may run {most} interaction{'s' if most > 1 else ''} at once."
        raise wire.RateLimited(why, retry_after=_COME_BACK_SECONDS)

    async def _put(self, record: Record, lapsed: Entry | None, name: str, now: float) -> bool:
        due = now + self._lease
        place = Entry(kind=PLACE, project=record.project, id=name, body=_encode(record.id), due=due)
        if lapsed is None:
            done = await self._ledger.put(place)
        else:
            done = await self._ledger.change(msgspec.structs.replace(place, version=lapsed.version))
            place = msgspec.structs.replace(place, version=lapsed.version + 1)
        if done:
            self._held[record.id] = place, now
        return done

    async def _places(self, record: Record) -> list[Entry]:
        return await self._ledger.entries(PLACE, record.project, prefix=f"{record.key}/", size=2000)

    async def _place_of(self, record: Record) -> Entry | None:
        body = _encode(record.id)
        return next((entry for entry in await self._places(record) if entry.body == body), None)

    async def _adopt(self, record: Record) -> None:
        """Hold the place of a run that was begun elsewhere; where it has lapsed, any that is free, else none."""
        limits = await self._limits(record)
        if limits is None or limits.concurrent_runs is None or record.id in self._held:
            return
        place, now = await self._place_of(record), self._clock()
        if place is None:
            try:
                await self._take(record, limits.concurrent_runs)
            except wire.RateLimited:
                logger.info("%s goes on without a place among its key's runs", record.id)
        elif await self._put(record, place, place.id, now):
            logger.debug("%s is now run here", record.id)

    async def _free(self, id: str) -> None:
        if (held := self._held.pop(id, None)) is not None:
            place, _ = held
            await self._ledger.remove(PLACE, place.project, place.id, place.version)

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                await self.prolong()
            except wire.ApiError as error:
                logger.warning("the places of runs could not be prolonged: %s", error.message)

    async def prolong(self) -> None:
        """Keep the places of what still runs, here or elsewhere; free those of what never came to its end."""
        now = self._clock()
        self._seen = {id for id in self._seen if self._live(id)}
        quiet = [id for id, (_, since) in self._held.items() if not self._live(id) and since + self._lease / 3 <= now]
        reached = await self._store.reached(quiet) if quiet else {}
        for id, (place, since) in list(self._held.items()):
            if id in quiet and reached.get(id, (0, True))[1]:
                await self._free(id)
                continue
            longer = msgspec.structs.replace(place, due=now + self._lease)
            if await self._ledger.change(longer):
                if id in self._held:
                    self._held[id] = msgspec.structs.replace(longer, version=place.version + 1), since
                else:  # it ended meanwhile, and could not free what was just being changed
                    await self._ledger.remove(PLACE, place.project, place.id, place.version + 1)
            else:
                self._held.pop(id, None)  # another server runs it now, or has taken the place of a lease that ran out


def _over(why: str, span: int, wait: float) -> wire.RateLimited:
    """Official clients sleep for as long as they are told, and say nothing: over a day's limit they are not told."""
    if span == _DAY:
        return wire.RateLimited(f"{why} The day ends at midnight UTC.")
    return wire.RateLimited(why, retry_after=math.ceil(wait))
