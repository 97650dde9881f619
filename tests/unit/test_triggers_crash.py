"""Exactly one run a tick: whatever is cut off between any two steps, and however many servers there are."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from antiphon import wire
from antiphon.stores.memory_ledger import MemoryLedger
from antiphon.triggers.kept import held
from antiphon.wire import triggers as types
from records import Clock
from triggering import LOOK, Crash, Fragile, Interactions, Jumbled, Machine

Life = Callable[[Machine, Machine, str], Awaitable[None]]


async def completes(machine: Machine, whole: Machine, id: str) -> None:
    await machine.at_next(id)
    machine.interactions_end("completed")
    await machine.later()


async def fails(machine: Machine, whole: Machine, id: str) -> None:
    await machine.at_next(id)
    machine.interactions_end("failed")
    await machine.later()


async def takes_too_long(machine: Machine, whole: Machine, id: str) -> None:
    await machine.at_next(id)
    await machine.later(60)


async def is_run_now(machine: Machine, whole: Machine, id: str) -> None:
    await machine.triggers.run("p", id)
    machine.interactions_end("completed")
    await machine.later()


async def is_deleted(machine: Machine, whole: Machine, id: str) -> None:
    await machine.at_next(id)
    await machine.triggers.delete("p", id)
    machine.interactions_end("completed")
    await machine.later()
    await machine.later()


async def is_skipped(machine: Machine, whole: Machine, id: str) -> None:
    await whole.at_next(id)
    await machine.later(300)
    machine.interactions_end("completed")


class Breakable(Machine):
    """A machine between whose steps a test may cut; the interactions themselves are everybody's."""

    def __init__(self, ledger: MemoryLedger, interactions: Interactions, clock: Clock, fragile: Fragile) -> None:
        super().__init__(fragile.around(ledger), fragile.around(interactions), clock)
        self.kept = ledger
        self.interactions_end = interactions.end


LIVES: dict[Life, list[list[str]]] = {  # and what the executions of each may come to, wherever it was cut
    completes: [["completed"]],
    fails: [["failed"]],
    takes_too_long: [["timed_out"]],
    is_run_now: [["completed"], []],
    is_deleted: [["completed"]],
    is_skipped: [["completed", "skipped"]],
}


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_server_that_stops_at_any_step_leaves_what_another_goes_on_from(life, after):
    async def cut(at: int) -> bool:
        """Let a server stop at one of its steps, and another go on; False where the first never came so far."""
        clock = Clock()
        ledger, interactions = MemoryLedger(clock), Interactions()
        whole = Machine(ledger, interactions, clock)
        fragile = Fragile(10**9, after=after)
        machine = Breakable(ledger, interactions, clock, fragile)
        id = await whole.create(execution_timeout_seconds=60 if life is takes_too_long else 600)
        fragile.at = at
        with contextlib.suppress(Crash):
            await life(machine, whole, id)
        for _ in range(4):
            await whole.later(LOOK + 1)
            interactions.end("failed" if life is fails else "completed") if life is not takes_too_long else None
        if life is takes_too_long:
            await whole.later(60)
        await whole.later(LOOK + 1)
        await check(whole, interactions, id)
        return fragile.broken

    async def check(whole: Machine, interactions: Interactions, id: str) -> None:
        try:
            executions = (await whole.triggers.executions("p", id, 100, "")).trigger_executions or []
        except wire.NotFound:
            executions = []  # it was deleted before anything ran
        assert [execution.status for execution in reversed(executions)] in LIVES[life]
        begun = {execution.interaction_id for execution in executions if execution.status != "skipped"}
        assert begun == set(interactions.made), "an interaction for each execution that began"
        assert {made.status for made in interactions.made.values()} <= {"completed", "failed", "cancelled"}
        entry = await whole.kept.read("trigger", "p", id)
        if entry is None:
            assert life is is_deleted
        else:
            trigger = held(entry).trigger
            assert not trigger.deleted and trigger.run is None and trigger.due(0.0, LOOK) == trigger.next_run
            assert trigger.failures == (1 if life in (fails, takes_too_long) else 0)

    async def everywhere() -> int:
        at = 1
        while await cut(at):
            at += 1
        return at - 1

    steps = asyncio.run(everywhere())
    assert steps >= 5, "there was something to cut"


@pytest.mark.parametrize("seed", range(20))
def test_several_servers_at_once_run_every_tick_once(seed):
    async def body() -> None:
        clock = Clock()
        ledger, interactions = MemoryLedger(clock), Interactions()
        machines = [Machine(Jumbled(ledger, seed * 10 + number), interactions, clock) for number in range(3)]
        made = [await machines[0].create("* * * * *") for _ in range(5)]
        for minute in range(1, 13):
            clock.now = 1_800_000_000.0 + 60 * minute
            calls = [machine.round() for machine in machines]
            if minute % 3 == 0:
                change = types.UpdateTrigger(display_name=f"in minute {minute}")
                calls += [machines[minute % 3].triggers.update("p", id, change) for id in made]
            await asyncio.gather(*calls)
            await machines[0].round()  # what a change of the trigger had taken from a server is due again
            interactions.end("failed" if minute == 6 else "completed")
            clock.now += LOOK + 1
            await asyncio.gather(*(machine.round() for machine in machines))
        assert len(interactions.made) == 12 * len(made)
        for id in made:
            assert await machines[1].statuses(id) == ["completed"] * 5 + ["failed"] + ["completed"] * 6
            assert (await machines[2].triggers.get("p", id)).display_name == "in minute 12"

    asyncio.run(body())


@pytest.mark.parametrize("seed", range(20))
def test_runs_that_are_asked_for_at_once_and_a_tick_never_go_on_together(seed):
    async def body() -> None:
        clock = Clock()
        ledger, interactions = MemoryLedger(clock), Interactions()
        machines = [Machine(Jumbled(ledger, seed * 10 + number), interactions, clock) for number in range(3)]
        id = await machines[0].create("* * * * *")
        clock.now += 60
        calls = [machine.triggers.run("p", id) for machine in machines] + [machine.round() for machine in machines]
        await asyncio.gather(*calls)
        assert len(interactions.made) == 1
        statuses = await machines[0].statuses(id)
        assert sorted(statuses) == ["in_progress", *["skipped"] * (len(statuses) - 1)] and len(statuses) >= 3

    asyncio.run(body())


def test_a_server_that_slept_past_its_lease_changes_nothing():
    """It took the trigger, slept, and wakes when another has run that tick and the next."""

    async def body() -> None:
        clock = Clock()
        ledger, interactions = MemoryLedger(clock), Interactions()
        sleepy, other = (Machine(ledger, interactions, clock) for _ in range(2))
        id = await other.create("* * * * *")
        clock.now += 60
        (entry,) = await ledger.due("trigger", clock.now, LOOK)
        await other.later()
        interactions.end()
        await other.at_next(id)
        await sleepy.triggers._runs.handle(held(entry))
        await other.later()
        assert len(interactions.made) == 2
        assert await other.statuses(id) == ["completed", "in_progress"]

    asyncio.run(body())


def test_a_refusal_that_comes_after_a_crash_still_ends_the_run():
    async def body() -> None:
        clock = Clock()
        ledger, interactions = MemoryLedger(clock), Interactions()
        fragile = Fragile(10**9, after=True)
        machine = Breakable(ledger, interactions, clock, fragile)
        whole = Machine(ledger, interactions, clock)
        id = await whole.create(execution_timeout_seconds=30)
        fragile.at = 4
        with pytest.raises(Crash):
            await machine.at_next(id)
        interactions.refusal = wire.ModelNotFound("The model is gone.")
        await whole.later(40)
        assert await whole.statuses(id) in (["timed_out"], ["failed"])
        assert interactions.made == {}

    asyncio.run(body())
