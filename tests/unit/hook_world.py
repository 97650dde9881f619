"""Deliveries over a ledger, a clock that is turned, and interactions that end when a test says so."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from antiphon import wire
from antiphon.addresses import Guard, look_up
from antiphon.ports import Ledger
from antiphon.stores.memory_ledger import MemoryLedger
from antiphon.webhooks.deliveries import Deliveries, Limits
from antiphon.wire.webhooks import CreateWebhook, Webhook
from receiver import Receiver
from records import Clock, record

KEY = b"k" * 32
ALL = ["interaction.completed", "interaction.failed", "interaction.cancelled", "interaction.requires_action"]


class World:
    """One server's deliveries. What `ended` has is what the store has; `now` is a real time, as receivers check it."""

    def __init__(self, *receivers: Receiver, ledger: Ledger | None = None, clock: Clock | None = None, **more: Any):
        self.clock = clock or Clock()
        if clock is None:
            self.clock.now = float(int(time.time()))
        self.ledger = ledger or MemoryLedger(self.clock)
        guard = Guard([receiver.allow for receiver in receivers], look_up=more.pop("look_up", look_up))
        self.deliveries = Deliveries(
            self.ledger, more.pop("key", KEY), guard.resolve, limits=Limits(**more), clock=self.clock
        )
        self.deliveries.look = self.look
        self.store: dict[str, wire.Interaction] = {}

    async def look(self, project: str, id: str) -> wire.Interaction:
        if id not in self.store:
            raise wire.NotFound(id)
        return self.store[id]

    async def hook(self, uri: str, *events: Any, project: str = "p") -> Webhook:
        request = CreateWebhook(uri=uri, subscribed_events=list(events or ALL), name="mine")
        return await self.deliveries.webhooks.create(project, request)

    async def begin(self, project: str = "p", *, background: bool = True, **config: Any) -> Any:
        request = wire.CreateInteraction(
            model="m", background=background, webhook_config=wire.WebhookConfig(**config) if config else None
        )
        made = record(project=project, background=background, request=request, created=self.clock.now)
        await self.deliveries.begins(made)
        self.store[made.id] = wire.Interaction(status="in_progress", object="interaction", id=made.id)
        return made

    def end(self, made: Any, status: Any = "completed", error: wire.Error | None = None, *, told: bool = True) -> str:
        """`told` is False where the server dies before its watchers hear of it."""
        self.store[made.id] = wire.Interaction(status=status, object="interaction", id=made.id, error=error)
        if told:
            self.deliveries.ends(made, status, None)
        return str(made.id)

    async def run(self, project: str = "p", status: Any = "completed", **config: Any) -> str:
        return self.end(await self.begin(project, **config), status)

    async def deliver(self) -> None:
        """All that is due."""
        await self.deliveries.settle()
        while await self.deliveries.take():
            await self.deliveries.settle()

    async def wait(self, seconds: float) -> None:
        """Turn the clock, a quarter of a minute at a time, and deliver what comes due."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now = min(until, self.clock.now + 15)
            await self.deliver()


def going(body: Any) -> None:
    """Run a test's coroutine."""
    asyncio.run(body)
