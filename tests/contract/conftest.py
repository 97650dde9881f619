"""What the contracts run over: each store, opened as a server would open it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from antiphon import app
from antiphon.ports import Store
from buckets import S3, s3
from records import PLACES, STORES, Clock, Use


@pytest.fixture(scope="session")
def store_of_objects() -> Iterator[S3]:
    """An S3 store of this session's own."""
    with s3() as started:
        yield started


@pytest.fixture
def bucket(store_of_objects: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in it where nothing is; the keys are in the environment."""
    for name, value in store_of_objects.environment.items():
        monkeypatch.setenv(name, value)
    return store_of_objects.source()


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
