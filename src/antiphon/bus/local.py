"""The bus of one process: runs and followers are in the same memory, and nobody else is there to run anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from antiphon.channel import LocalChannel
from antiphon.ports import Segment


class LocalBus:
    """A channel is all there is, and the engine knows which run has which."""

    shared = False

    def open(self, id: str, log: Segment | None = None) -> LocalChannel:
        """The channel of a run that begins here; `log` is what it already wrote before."""
        return LocalChannel(log)

    async def submit(self, id: str) -> bool:
        """There is nobody else to run it."""
        return True

    async def watch(self, id: str) -> AsyncGenerator[Segment | None, None]:
        """There is no elsewhere: one look into the store is all there is to see."""
        yield None

    def answer(self, id: str, attempt: int, stop: Callable[[], object]) -> Callable[[], None]:
        """Nobody asks."""
        return _nothing

    async def running(self, id: str) -> bool:
        """What is not run here is not run at all."""
        return False

    async def queued(self, id: str) -> bool:
        """There is no queue."""
        return False

    async def stop(self, id: str, attempt: int) -> None:
        """There is nobody to be told."""

    async def work(self, take: Callable[[str], Awaitable[float | None]], slots: int) -> None:
        """Nothing ever comes."""
        await asyncio.Event().wait()

    async def look(self) -> None:
        """It is always here."""

    async def depth(self) -> int:
        """There is no queue."""
        return 0

    async def aclose(self) -> None:
        """There is nothing to close."""


def _nothing() -> None:
    pass
