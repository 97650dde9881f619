"""What the contracts run over: each store, opened as a server would open it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from antiphon import app
from antiphon.ports import Store
from records import PLACES, STORES, Clock, Use


@pytest.fixture(params=PLACES)
def use(request: pytest.FixtureRequest) -> Use:
    """Run a test's body over each store."""
    place = PLACES[request.param](request)

    @asynccontextmanager
    async def opened(clock: Clock) -> AsyncIterator[Store]:
        store = app.load(STORES, "stores", request.param)(*place, clock)
        try:
            yield store
        finally:
            await store.aclose()

    def run(body: Callable[[Store, Clock], Awaitable[None]]) -> None:
        async def inside() -> None:
            clock = Clock()
            async with opened(clock) as store:
                await body(store, clock)

        asyncio.run(inside())

    return run
