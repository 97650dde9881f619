"""What the contracts run over: each store, opened as a server would open it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from antiphon import app
from antiphon.ports import Store
from postgres import NotHere, Postgres, cluster
from records import PLACES, STORES, Clock, Use


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this session's own."""
    try:
        with cluster() as started:
            yield started
    except NotHere as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def _database(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture
def database(postgres: Postgres, _database: str) -> Iterator[str]:
    """The URL of an empty database."""
    yield _database
    postgres.empty(_database)


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
