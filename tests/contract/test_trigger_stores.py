"""Triggers over each store, and over one PostgreSQL that two servers share."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from antiphon import app
from antiphon.ports import Store
from antiphon.wire import triggers as types
from records import STORES, Clock
from triggering import LOOK, Interactions, Machine


async def goes_through_its_day(machines: list[Machine], interactions: Interactions, clock: Clock) -> None:
    """Ten triggers, ten ticks, on however many machines: each tick runs once, and all of it is listed."""
    made = [await machines[0].create("* * * * *", display_name=f"n{number}") for number in range(10)]
    for minute in range(1, 11):
        clock.now = 1_800_000_000.0 + 60 * minute
        await asyncio.gather(*(machine.round() for machine in machines))
        interactions.end("failed" if minute == 5 else "completed")
        clock.now += LOOK + 1
        await asyncio.gather(*(machine.round() for machine in machines))
    assert len(interactions.made) == 100
    for id in made:
        assert await machines[-1].statuses(id) == ["completed"] * 4 + ["failed"] + ["completed"] * 5
    triggers = machines[-1].triggers
    await triggers.update("p", made[0], types.UpdateTrigger(status="paused"))
    page = await triggers.page("p", "status=active", 5, "")
    assert [trigger.id for trigger in page.triggers or []] == sorted(made[1:])[:5]
    assert page.next_page_token is not None
    execution = await triggers.run("p", made[0])
    assert execution.interaction_id in interactions.made
    interactions.end()
    await machines[0].later()
    await triggers.delete("p", made[0])
    assert len(await machines[0].statuses(made[0])) == 11
    assert len((await triggers.page("p", "", 100, "")).triggers or []) == 9


def test_triggers_are_kept_and_run_over_any_store(use):
    async def body(store: Store, clock: Clock) -> None:
        interactions = Interactions()
        machines = [Machine(store.ledger, interactions, clock) for _ in range(2)]
        await goes_through_its_day(machines, interactions, clock)

    use(body)


def test_two_servers_on_one_postgresql_run_every_tick_once(database):
    async def body() -> None:
        clock, interactions = Clock(), Interactions()
        async with AsyncExitStack() as stack:
            machines = []
            for _ in range(2):
                store = app.load(STORES, "stores", "postgres")(database, clock)
                stack.push_async_callback(store.aclose)
                machines.append(Machine(store.ledger, interactions, clock))
            await goes_through_its_day(machines, interactions, clock)

    asyncio.run(body())
