"""Interactions that triggers begin, as a test wants them to go, and the machine that stops between any two steps."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

from antiphon import wire
from antiphon.ports import Ledger
from antiphon.triggers import Triggers
from antiphon.triggers.kept import held
from antiphon.wire import triggers as types
from records import Clock

LOOK = 5.0


class Interactions:
    """Interactions without an engine: they go on until a test ends them. `refusal` is raised by `start` and `check`."""

    def __init__(self) -> None:
        self.made: dict[str, wire.Interaction] = {}
        self.asked: list[tuple[str, wire.CreateInteraction, str]] = []  # project, request and key
        self.starts = 0
        self.refusal: wire.ApiError | None = None
        self.begun = asyncio.Event()

    async def check(self, project: str, request: wire.CreateInteraction) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def start(self, project: str, request: wire.CreateInteraction, *, id: str, key: str) -> None:
        self.starts += 1
        if self.refusal is not None:
            raise self.refusal
        if id in self.made:
            raise wire.AlreadyExists(f"Interaction '{id}' exists.")
        self.made[id] = wire.Interaction(status="in_progress", object="interaction", id=id)
        self.asked.append((project, request, key))
        self.begun.set()

    async def look(self, project: str, id: str) -> wire.Interaction | None:
        return self.made.get(id)

    async def cancel(self, project: str, id: str) -> None:
        if id in self.made and self.made[id].status == "in_progress":
            self.made[id].status = "cancelled"

    def end(self, status: wire.InteractionStatus = "completed", error: str | None = None) -> None:
        """End whatever goes on."""
        for made in self.made.values():
            if made.status == "in_progress":
                made.status = status
                made.errors = [wire.Error(code="api_error", message=error)] if error else None


class Machine:
    """A server: its triggers, over a ledger and interactions that are everybody's."""

    def __init__(self, ledger: Any, interactions: Any, clock: Clock) -> None:
        self.clock = clock
        self.interactions = interactions
        self.kept: Ledger = ledger
        self.triggers = Triggers(ledger, interactions, clock=clock, look=LOOK, retention=1000.0)

    async def create(
        self, schedule: str = "*/5 * * * *", time_zone: str = "UTC", *, project: str = "p", **fields: Any
    ) -> str:
        """A trigger's id."""
        request = types.CreateTrigger(
            interaction=wire.CreateInteraction(model="m", input="hi"), schedule=schedule, time_zone=time_zone, **fields
        )
        return (await self.triggers.create(project, request)).id

    async def round(self) -> None:
        """One round of the scheduler, and all that it begins."""
        await self.triggers.scheduler.round()
        await self.triggers.scheduler.settle()

    async def at_next(self, id: str) -> None:
        """Let the next tick come, and no more."""
        entry = await self.kept.read("trigger", "p", id)
        assert entry is not None and entry.due is not None
        tick = held(entry).trigger.next_run
        assert tick is not None
        self.clock.now = tick
        await self.round()

    async def later(self, seconds: float = LOOK + 0.1) -> None:
        """Let some time pass, and see what there is to do."""
        self.clock.now += seconds
        await self.round()

    async def statuses(self, id: str) -> list[str]:
        """Of the executions as they are kept, the oldest first."""
        found = await self.triggers._shelf.executions("p", id, "", 1000)
        return [execution.status for _, execution in reversed(found)]


class Crash(BaseException):
    """The machine stops here."""


class Fragile:
    """Passes calls on, until the `at`-th, at which the machine stops: before it is done, or right after."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.at = at
        self._after = after
        self._calls = itertools.count(1)
        self.broken = False

    def around(self, inner: Any) -> Any:
        """The same thing, as breakable as this."""
        fragile = self

        class Around:
            def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
                async def call(*arguments: Any, **named: Any) -> Any:
                    number = next(fragile._calls)
                    if fragile.broken or (number == fragile.at and not fragile._after):
                        fragile.broken = True
                        raise Crash
                    result = await getattr(inner, name)(*arguments, **named)
                    if number == fragile.at:
                        fragile.broken = True
                        raise Crash
                    return result

                return call

        return Around()


class Jumbled:
    """A ledger whose answers come in any order: between any two steps of one server others may take some."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self._ledger = ledger
        self._random = random.Random(seed)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **named: Any) -> Any:
            await self._turn()
            result = await getattr(self._ledger, name)(*arguments, **named)
            await self._turn()
            return result

        return call

    async def _turn(self) -> None:
        for _ in range(self._random.randrange(6)):
            await asyncio.sleep(0)
