"""Limits of keys, over each store: counted once for all servers, and never left taken by one that died."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from antiphon import app, wire
from antiphon.keyring import Key, Keyring, Limits
from antiphon.limits import LEASE_SECONDS, PLACE, Allowance
from antiphon.ports import Record, Store
from records import STORES, WHOLE, Clock, Use, ending, opening, record, segment

USED = wire.Usage(total_tokens=70, total_input_tokens=50, total_output_tokens=20)


class Server:
    """What one server knows of keys."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.keyring = Keyring(store.ledger, clock=clock, ticks=clock)
        self.allowance = Allowance(store, self.keyring, clock=clock)
        self.live: set[str] = set()
        self.allowance._live = self.live.__contains__  # as `start` does, without the clock that prolongs

    async def key(self, **limits: int) -> Key:
        key, _ = await self.keyring.create("p", limits=Limits(**limits))
        return key

    async def begin(self, key: Key) -> Record:
        made = record(key=key.id)
        await self.allowance.begins(made)
        self.live.add(made.id)
        return made

    async def end(self, made: Record, usage: wire.Usage | None = USED) -> None:
        self.live.discard(made.id)
        self.allowance.ends(made, "completed", usage)
        await self.allowance.settle()

    async def take_over(self, made: Record) -> None:
        self.live.add(made.id)
        with self.allowance.around(made, "chat", "m"):
            pass
        await self.allowance.settle()


async def refused(server: Server, key: Key) -> wire.RateLimited:
    with pytest.raises(wire.RateLimited) as found:
        await server.begin(key)
    return found.value


async def places(store: Store) -> int:
    return len(await store.ledger.entries(PLACE))


def test_a_key_without_limits_leaves_no_trace(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        server = Server(store, clock)
        key = await server.key()
        for _ in range(9):
            await server.end(await server.begin(key))
        await server.end(await server.begin(Key(id="static-1", project="p", digest="", created=0.0)))
        assert await places(store) == 0
        assert await store.ledger.sweep(clock.now + 1e9) == 0

    use(body)


def test_requests_are_counted_by_the_minute_for_all_servers(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        clock.now = 1_800_000_000.0 - 1_800_000_000.0 % 60 + 15
        one, other = Server(store, clock), Server(store, clock)
        key, free = await one.key(requests_per_minute=4), await one.key(requests_per_minute=1)
        for server in (one, other, one, other):
            await server.begin(key)
        for server in (one, other):
            error = await refused(server, key)
            assert error.retry_after == 45 and error.message == "This API key may use 4 requests a minute."
        await other.begin(free)  # each key for itself
        clock.now += 45
        await one.begin(key)

    use(body)


@pytest.mark.parametrize(("limit", "span"), [("tokens_per_minute", 60), ("tokens_per_day", 86400)])
def test_tokens_are_counted_when_a_run_has_ended(use: Use, limit: str, span: int) -> None:
    async def body(store: Store, clock: Clock) -> None:
        clock.now -= clock.now % span
        one, other = Server(store, clock), Server(store, clock)
        key = await one.key(**{limit: 140})
        first, second, third = [await one.begin(key) for _ in range(3)]
        await one.end(first)
        await other.end(second)  # 140 of 140
        error = await refused(one, key)
        if span == 60:
            assert error.retry_after == 60
        else:
            assert error.retry_after is None and "midnight UTC" in error.message
        await refused(other, key)
        clock.now += span
        await one.begin(key)
        await one.end(third)  # counts where it ends
        await one.begin(key)

    use(body)


def test_a_run_without_usage_costs_nothing(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        server = Server(store, clock)
        key = await server.key(tokens_per_day=1)
        for usage in (None, wire.Usage(), wire.Usage(total_tokens=0)):
            await server.end(await server.begin(key), usage)
        await server.begin(key)

    use(body)


def test_so_many_runs_at_once_and_no_more(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        one, other = Server(store, clock), Server(store, clock)
        key = await one.key(concurrent_runs=2)
        first = await one.begin(key)
        await other.begin(key)
        for server in (one, other):
            assert (await refused(server, key)).message == "This API key may run 2 interactions at once."
        await one.end(first)
        await other.begin(key)
        await refused(one, key)

    use(body)


async def burst(servers: Sequence[Server], key: Key) -> int:
    """How many of forty that come at the same moment get in."""
    begun = await asyncio.gather(*(servers[n % len(servers)].begin(key) for n in range(40)), return_exceptions=True)
    assert all(isinstance(made, Record | wire.RateLimited) for made in begun)
    return sum(isinstance(made, Record) for made in begun)


def test_of_a_burst_exactly_as_many_get_in(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        servers = [Server(store, clock), Server(store, clock)]
        assert await burst(servers, await servers[0].key(concurrent_runs=5)) == 5

    use(body)


def test_of_a_burst_over_two_machines_exactly_as_many_get_in(database: str) -> None:
    async def inside() -> None:
        clock = Clock()
        async with AsyncExitStack() as stack:
            servers = []
            for _ in range(2):
                store: Store = app.load(STORES, "stores", "postgres")(database, clock)
                stack.push_async_callback(store.aclose)
                servers.append(Server(store, clock))
            assert await burst(servers, await servers[0].key(concurrent_runs=5)) == 5
            assert await burst(servers, await servers[0].key(requests_per_minute=7)) == 7

    asyncio.run(inside())


def test_the_places_of_a_server_that_died_are_free_after_the_lease(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        dead, alive = Server(store, clock), Server(store, clock)
        key = await dead.key(concurrent_runs=1)
        await dead.begin(key)
        clock.now += LEASE_SECONDS - 1
        await refused(alive, key)
        clock.now += 1
        await alive.begin(key)
        await refused(dead, key)
        assert await places(store) == 1

    use(body)


def test_whoever_lives_keeps_its_places(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        server, other = Server(store, clock), Server(store, clock)
        key = await server.key(concurrent_runs=1)
        made = await server.begin(key)
        for _ in range(12):
            clock.now += LEASE_SECONDS / 3
            await server.allowance.prolong()
        await refused(other, key)
        await server.end(made)
        assert await places(store) == 0

    use(body)


def test_a_place_goes_with_the_run_to_another_server(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        api, worker = Server(store, clock), Server(store, clock)
        key = await api.key(concurrent_runs=1)
        made = await api.begin(key)
        await store.create(made, "in_progress", segment(1, *opening()))
        api.live.discard(made.id)  # it was handed over, and the server that took it is gone
        await worker.take_over(made)
        for _ in range(12):
            clock.now += LEASE_SECONDS / 3
            await worker.allowance.prolong()
        await api.allowance.prolong()
        await refused(api, key)
        await worker.end(made)
        assert await places(store) == 0
        await api.begin(key)

    use(body)


def test_a_run_that_ends_elsewhere_frees_its_place(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        api, worker = Server(store, clock), Server(store, clock)
        key = await api.key(concurrent_runs=1)
        made = await api.begin(key)
        await worker.end(made)
        assert await places(store) == 0
        await api.allowance.prolong()  # and finds that it has none any more
        await api.begin(key)

    use(body)


def test_a_run_whose_place_lapsed_takes_another_or_goes_on_without(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        api, worker = Server(store, clock), Server(store, clock)
        key = await api.key(concurrent_runs=1)
        first = await api.begin(key)
        clock.now += LEASE_SECONDS
        await worker.begin(key)
        await worker.take_over(first)  # neither raises nor waits
        assert await places(store) == 1

    use(body)


def test_what_waits_for_a_worker_keeps_its_place_and_what_never_ended_does_not(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        server = Server(store, clock)
        key = await server.key(concurrent_runs=3)
        waiting, ended, refused_later = [await server.begin(key) for _ in range(3)]
        await store.create(waiting, "in_progress", segment(1, *opening()))
        await store.create(ended, "completed", WHOLE)
        for made in (waiting, ended, refused_later):
            server.live.discard(made.id)
        clock.now += LEASE_SECONDS / 4
        await server.allowance.prolong()
        assert await places(store) == 3  # it may only just begin
        clock.now += LEASE_SECONDS / 4
        await server.allowance.prolong()
        assert await places(store) == 1
        await store.append(waiting.id, 1, "completed", segment(3, *ending()))
        await server.allowance.prolong()
        assert await places(store) == 0

    use(body)


def test_a_server_that_stops_in_good_order_frees_its_places(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        server = Server(store, clock)
        key = await server.key(concurrent_runs=3, tokens_per_day=1000)
        made = [await server.begin(key) for _ in range(3)]
        server.allowance.ends(made[0], "completed", USED)
        await server.allowance.aclose()
        assert await places(store) == 0
        assert await store.ledger.sweep(clock.now + 1e9) == 1

    use(body)


def test_every_limit_counts_where_there_are_several(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        server = Server(store, clock)
        key = await server.key(requests_per_minute=3, tokens_per_minute=1000, tokens_per_day=1000, concurrent_runs=1)
        made = await server.begin(key)
        for _ in range(9):  # who waits for a place is not counted: the runs are the limit, not the requests
            assert "at once" in (await refused(server, key)).message
        await server.end(made)
        await server.end(await server.begin(key))
        await server.end(await server.begin(key))
        assert "requests a minute" in (await refused(server, key)).message
        await server.allowance.settle()
        assert await places(store) == 0

    use(body)


def test_what_is_not_begun_after_all_gives_its_place_back(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        server = Server(store, clock)
        key = await server.key(concurrent_runs=1)
        made = await server.begin(key)
        server.live.discard(made.id)
        server.allowance.refused(made)
        server.allowance.refused(made)
        await server.allowance.settle()
        await server.begin(key)

    use(body)
