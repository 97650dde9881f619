"""What becomes of a trigger: its ticks, its runs and how they end, told by a clock that a test turns."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from antiphon import logs, wire
from antiphon.ports import Entry
from antiphon.stores.memory_ledger import MemoryLedger
from antiphon.wire import triggers as types
from records import Clock, record
from triggering import Interactions, Jumbled, Machine


def told(body: Callable[..., Any]) -> Callable[[], None]:
    """Run a test's body on one machine."""

    @functools.wraps(body)
    def test() -> None:
        clock = Clock()
        asyncio.run(body(Machine(MemoryLedger(clock), Interactions(), clock)))

    del test.__wrapped__  # type: ignore[attr-defined]  # pytest would ask for its arguments
    return test


# ---------------------------------------------------------------------------------------------------- ticks


@told
async def test_a_tick_begins_the_interaction_once_and_its_end_completes_the_execution(machine):
    id = await machine.create(display_name="report")
    assert (await machine.triggers.get("p", id)).next_run_time == "2027-01-15T08:05:00Z"
    await machine.later(299)
    assert machine.interactions.made == {}
    await machine.later(1)
    await machine.later(60)
    (name,) = machine.interactions.made
    machine.interactions.end()
    await machine.later()
    page = await machine.triggers.executions("p", id, 10, "")
    assert page == types.TriggerExecutionList(
        trigger_executions=[
            types.TriggerExecution(
                id=page.trigger_executions[0].id,
                trigger_id=id,
                status="completed",
                scheduled_time="2027-01-15T08:05:00Z",
                start_time="2027-01-15T08:05:00Z",
                end_time="2027-01-15T08:06:05Z",
                interaction_id=name,
            )
        ]
    )
    shown = await machine.triggers.get("p", id)
    assert (shown.status, shown.consecutive_failure_count, shown.previous_interaction_id) == ("active", 0, name)
    assert (shown.last_run_time, shown.next_run_time) == ("2027-01-15T08:05:00Z", "2027-01-15T08:10:00Z")


@told
async def test_an_execution_ended_when_its_interaction_did_not_when_somebody_looked(machine):
    id = await machine.create()
    await machine.at_next(id)
    machine.interactions.end()
    (made,) = machine.interactions.made.values()
    made.updated = "2027-01-15T08:05:03Z"
    await machine.later(60)
    (execution,) = (await machine.triggers.executions("p", id, 10, "")).trigger_executions
    assert (execution.start_time, execution.end_time) == ("2027-01-15T08:05:00Z", made.updated)


@told
async def test_a_run_asks_in_the_background_for_the_key_that_made_the_trigger(machine):
    request = types.CreateTrigger(
        interaction=wire.CreateInteraction(model="m", input="hi", labels={"a": "b"}),
        schedule="* * * * *",
        time_zone="UTC",
    )
    await machine.triggers.create("p", request, "key7")
    await machine.later(60)
    ((project, asked, key),) = machine.interactions.asked
    assert (project, key, asked.background, asked.labels) == ("p", "key7", True, {"a": "b"})


@told
async def test_an_interaction_that_ends_on_this_server_is_seen_at_once(machine):
    id = await machine.create()
    await machine.at_next(id)
    (name,) = machine.interactions.made
    machine.interactions.end()
    machine.triggers.scheduler.ends(record(id="v1_another"), "completed", None)
    await machine.round()
    assert await machine.statuses(id) == ["in_progress"]
    machine.triggers.scheduler.ends(record(id=name), "completed", None)
    await machine.round()
    assert await machine.statuses(id) == ["completed"]


@told
async def test_whoever_asks_is_told_of_an_end_at_once(machine):
    id = await machine.create()
    await machine.at_next(id)
    machine.interactions.end("failed")
    assert (await machine.triggers.get("p", id)).consecutive_failure_count == 1
    (execution,) = (await machine.triggers.executions("p", id, 10, "")).trigger_executions
    assert execution.status == "failed"


@told
async def test_the_scheduler_wakes_up_for_an_end_and_goes_on_after_trouble(machine):
    """Its task, with a ledger that fails once: nothing waits for the clock here but the test's patience."""
    id = await machine.create("* * * * *")
    ledger = machine.triggers._shelf.ledger
    due, failed = ledger.due, asyncio.Event()

    async def fails(*arguments: Any) -> list[Entry]:
        ledger.due = due
        failed.set()
        raise wire.Unavailable("The database is away.")

    ledger.due = fails
    machine.clock.now += 60
    task = asyncio.create_task(machine.triggers.scheduler.run())
    try:
        async with asyncio.timeout(30):
            await failed.wait()
            await machine.interactions.begun.wait()
            machine.interactions.end()
            (name,) = machine.interactions.made
            while await machine.statuses(id) != ["completed"]:
                machine.triggers.scheduler.ends(record(id=name), "completed", None)
                await asyncio.sleep(0)
    finally:
        task.cancel()


@told
async def test_a_trigger_that_cannot_be_read_does_not_keep_the_others(machine):
    broken = Entry(kind="trigger", project="a", id="t", body=b"{}", due=1.0)
    await machine.triggers._shelf.ledger.put(broken)
    id = await machine.create()
    await machine.at_next(id)
    assert len(machine.interactions.made) == 1


# ---------------------------------------------------------------------------------------------------- overlaps and gaps


@told
async def test_a_tick_while_the_run_before_goes_on_is_skipped(machine):
    id = await machine.create(execution_timeout_seconds=3600)
    await machine.at_next(id)
    await machine.at_next(id)
    assert await machine.statuses(id) == ["in_progress", "skipped"]
    machine.interactions.end()
    await machine.at_next(id)
    assert await machine.statuses(id) == ["completed", "skipped", "in_progress"]
    page = await machine.triggers.executions("p", id, 10, "")
    skipped = page.trigger_executions[1]
    assert skipped.error == "The run before this one was still in progress." and skipped.interaction_id is None
    assert (await machine.triggers.get("p", id)).consecutive_failure_count == 0


@told
async def test_a_run_that_has_ended_unseen_does_not_make_the_next_tick_skip(machine):
    id = await machine.create()
    await machine.at_next(id)
    machine.interactions.end()
    await machine.at_next(id)
    assert await machine.statuses(id) == ["completed", "in_progress"]


@told
async def test_of_the_ticks_that_were_missed_the_last_one_runs(machine):
    id = await machine.create()
    await machine.later(7 * 86400 + 200)
    page = await machine.triggers.executions("p", id, 10, "")
    (execution,) = page.trigger_executions
    assert (execution.scheduled_time, execution.start_time) == ("2027-01-22T08:00:00Z", "2027-01-22T08:03:20Z")
    assert (await machine.triggers.get("p", id)).next_run_time == "2027-01-22T08:05:00Z"


# ---------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("status", ["failed", "cancelled", "budget_exceeded"])
def test_an_interaction_that_fails_is_a_failure_and_says_why(status):
    async def body(machine: Machine) -> None:
        id = await machine.create()
        await machine.at_next(id)
        machine.interactions.end(status, "The model has left." if status == "failed" else None)
        await machine.later()
        (execution,) = (await machine.triggers.executions("p", id, 10, "")).trigger_executions
        says = {"failed": "The model has left.", "cancelled": "The interaction was cancelled."}
        assert execution.status == "failed"
        assert execution.error == says.get(status, "The interaction ended with status 'budget_exceeded'.")
        assert (await machine.triggers.get("p", id)).consecutive_failure_count == 1

    told(body)()


@pytest.mark.parametrize("status", ["incomplete", "requires_action"])
def test_an_interaction_that_its_caller_may_go_on_from_is_no_failure(status):
    async def body(machine: Machine) -> None:
        id = await machine.create()
        await machine.at_next(id)
        machine.interactions.end(status)
        await machine.later()
        assert await machine.statuses(id) == ["completed"]

    told(body)()


@told
async def test_an_interaction_that_was_deleted_is_a_failure_and_is_not_begun_again(machine):
    id = await machine.create()
    await machine.at_next(id)
    machine.interactions.made.clear()
    await machine.later()
    assert await machine.statuses(id) == ["failed"] and machine.interactions.starts == 1


@told
async def test_too_many_failures_in_a_row_stop_a_trigger_until_it_is_resumed(machine):
    id = await machine.create(max_consecutive_failures=2)
    for end in ("failed", "completed", "failed", "failed"):
        await machine.at_next(id)
        machine.interactions.end(end)
        await machine.later()
    shown = await machine.triggers.get("p", id)
    assert (shown.status, shown.consecutive_failure_count, shown.next_run_time) == ("error", 2, None)
    await machine.later(3600)
    assert len(machine.interactions.made) == 4
    shown = await machine.triggers.update("p", id, types.UpdateTrigger(status="active"))
    assert (shown.status, shown.consecutive_failure_count) == ("active", 0)
    await machine.at_next(id)
    assert len(machine.interactions.made) == 5


@told
async def test_an_interaction_that_is_refused_is_a_failure_without_an_interaction(machine):
    id = await machine.create()
    machine.interactions.refusal = wire.ModelNotFound("The model 'm' is no longer configured.")
    await machine.at_next(id)
    (execution,) = (await machine.triggers.executions("p", id, 10, "")).trigger_executions
    assert (execution.status, execution.interaction_id) == ("failed", None)
    assert execution.error == "The model 'm' is no longer configured."
    assert (await machine.triggers.get("p", id)).previous_interaction_id is None


@pytest.mark.parametrize("refusal", [wire.RateLimited("Slow down.", retry_after=2.0), wire.Unavailable("Later.")])
def test_what_cannot_be_started_now_is_tried_again_until_its_time_is_over(refusal):
    async def body(machine: Machine) -> None:
        id = await machine.create(execution_timeout_seconds=20)
        machine.interactions.refusal = refusal
        await machine.at_next(id)
        await machine.later()
        machine.interactions.refusal = None
        await machine.later()
        assert await machine.statuses(id) == ["in_progress"] and len(machine.interactions.made) == 1
        machine.interactions.end()
        await machine.later()
        machine.interactions.refusal = refusal
        await machine.at_next(id)
        for _ in range(5):
            await machine.later()
        assert await machine.statuses(id) == ["completed", "timed_out"]

    told(body)()


@told
async def test_a_run_over_a_limit_waits_as_long_as_it_is_told_to(machine):
    id = await machine.create(execution_timeout_seconds=3600)
    machine.interactions.refusal = wire.RateLimited("Slow down.", retry_after=45)
    await machine.at_next(id)
    for _ in range(8):  # 40 s in which it could only be refused, and be counted, again
        await machine.later()
        await machine.triggers.get("p", id)
    assert (await machine.triggers.run("p", id)).status == "skipped"
    assert machine.interactions.starts == 1
    machine.interactions.refusal = wire.RateLimited("No more today.")
    await machine.later()
    assert machine.interactions.starts == 2
    machine.interactions.refusal = None
    await machine.later(59)
    assert machine.interactions.starts == 2
    await machine.later(2)
    assert len(machine.interactions.made) == 1
    assert await machine.statuses(id) == ["in_progress", "skipped"]


@told
async def test_a_run_over_a_limit_is_over_at_its_time_whatever_it_was_told(machine):
    id = await machine.create(execution_timeout_seconds=20)
    machine.interactions.refusal = wire.RateLimited("Slow down.", retry_after=45)
    await machine.at_next(id)
    await machine.later(20)
    assert await machine.statuses(id) == ["timed_out"]


@told
async def test_what_waits_for_a_limit_is_not_begun_when_its_trigger_is_deleted(machine):
    id = await machine.create(execution_timeout_seconds=3600)
    machine.interactions.refusal = wire.RateLimited("Slow down.", retry_after=45)
    await machine.at_next(id)
    await machine.triggers.delete("p", id)
    machine.interactions.refusal = None
    await machine.later()
    await machine.later()
    assert machine.interactions.made == {}
    (execution,) = (await machine.triggers.executions("p", id, 10, "")).trigger_executions
    assert (execution.status, execution.error) == ("failed", "The trigger was deleted before it was started.")
    assert await machine.triggers._shelf.read("p", id) is None


@told
async def test_what_a_server_that_stopped_had_begun_goes_on_when_its_trigger_is_deleted(machine):
    id = await machine.create(execution_timeout_seconds=3600)
    machine.interactions.refusal = wire.Unavailable("Later.")
    await machine.at_next(id)
    run = (await machine.triggers._shelf.read("p", id)).trigger.run
    machine.interactions.refusal = None
    await machine.interactions.start("p", wire.CreateInteraction(model="m"), id=run.interaction, key="")
    await machine.triggers.delete("p", id)
    await machine.later()
    assert await machine.statuses(id) == ["in_progress"]
    machine.interactions.end()
    await machine.later()
    assert await machine.statuses(id) == ["completed"]


@told
async def test_what_ends_elsewhere_leaves_nothing_behind_here(machine):
    """A server that only answers begins runs whose ends it never sees."""
    runs = machine.triggers._runs
    id = await machine.create()
    for number in range(20_000):
        runs._here[f"v1_{number}"] = ("p", id)
    await machine.at_next(id)
    assert len(runs._here) == 10_000 and next(reversed(runs._here)) in machine.interactions.made


@told
async def test_a_project_has_a_hundred_triggers_also_where_many_are_made_at_once(machine):
    jumbled = Machine(Jumbled(machine.kept, seed=1), machine.interactions, machine.clock)
    for _ in range(95):
        await machine.create()
    made = await asyncio.gather(*(jumbled.create() for _ in range(20)), return_exceptions=True)
    refused = [one for one in made if isinstance(one, wire.FailedPrecondition)]
    kept = await machine.kept.entries("trigger", "p", size=200)
    assert len(kept) == 95 + 20 - len(refused) <= 100


# ---------------------------------------------------------------------------------------------------- many projects


@told
async def test_starts_that_take_long_hold_up_their_own_project_only(machine):
    """A project whose every start hangs, and another's tick in the same round."""
    scheduler, start = machine.triggers.scheduler, machine.interactions.start
    hanging: list[str] = []
    go_on = asyncio.Event()

    async def slow(project: str, *arguments: Any, **named: Any) -> None:
        if project == "slow":
            hanging.append(named["id"])
            await go_on.wait()
        await start(project, *arguments, **named)

    machine.interactions.start = slow
    for _ in range(60):
        await machine.create(project="slow")
    quick = await machine.create()
    machine.clock.now += 300
    async with asyncio.timeout(20):
        while await scheduler.round():
            pass
        await machine.interactions.begun.wait()
    assert len(hanging) == 4 and await machine.statuses(quick) == ["in_progress"]
    machine.clock.now += 6  # the lease of those that wait in line runs out: they come up again
    await scheduler.round()
    go_on.set()
    async with asyncio.timeout(20):
        await scheduler.settle()
    assert len(machine.interactions.made) == 61 and machine.interactions.starts == 61


@told
async def test_nothing_that_is_begun_is_left_when_the_scheduler_stops(machine):
    scheduler, started = machine.triggers.scheduler, asyncio.Event()

    async def hangs(*arguments: Any, **named: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    machine.interactions.start = hangs
    await machine.create()
    machine.clock.now += 300
    task = asyncio.create_task(scheduler.run())
    async with asyncio.timeout(20):
        await started.wait()
        task.cancel()
        await asyncio.wait([task])
    assert scheduler._in_hand == {} and scheduler._of_one == {}


@told
async def test_what_is_said_of_one_run_is_not_said_of_the_next(machine):
    """The engine binds a run's id to the task that it is begun in."""
    start = machine.interactions.start

    async def bound(project: str, *arguments: Any, **named: Any) -> None:
        logs.bind(interaction=named["id"])
        await start(project, *arguments, **named)

    machine.interactions.start = bound
    id = await machine.create()
    await machine.at_next(id)
    (name,) = machine.interactions.made
    machine.interactions.end()
    machine.clock.now += 300
    machine.triggers.scheduler.ends(record(id=name), "completed", None)  # its end and the next tick in one round
    await machine.round()
    assert len(machine.interactions.made) == 2 and "interaction" not in logs._bound.get()


@told
async def test_a_run_that_takes_too_long_is_cancelled(machine):
    id = await machine.create(execution_timeout_seconds=30)
    await machine.at_next(id)
    await machine.later(29)
    assert await machine.statuses(id) == ["in_progress"]
    await machine.later(1)
    (made,) = machine.interactions.made.values()
    assert made.status == "cancelled"
    (execution,) = (await machine.triggers.executions("p", id, 10, "")).trigger_executions
    assert (execution.status, execution.error) == ("timed_out", "It took longer than 30 s and was cancelled.")
    assert (await machine.triggers.get("p", id)).consecutive_failure_count == 1


@told
async def test_a_run_whose_cancellation_fails_is_cancelled_at_the_next_look(machine):
    id = await machine.create(execution_timeout_seconds=30)
    await machine.at_next(id)
    cancel = machine.interactions.cancel

    async def away(*arguments: Any) -> None:
        raise wire.Unavailable("Later.")

    machine.interactions.cancel = away
    await machine.later(30)
    assert await machine.statuses(id) == ["in_progress"]
    machine.interactions.cancel = cancel
    await machine.later()
    assert await machine.statuses(id) == ["timed_out"]


# ---------------------------------------------------------------------------------------------------- what callers do


@told
async def test_a_paused_trigger_has_no_ticks_and_a_resumed_one_the_next(machine):
    id = await machine.create()
    shown = await machine.triggers.update("p", id, types.UpdateTrigger(status="paused"))
    assert (shown.status, shown.next_run_time, shown.last_pause_time) == ("paused", None, "2027-01-15T08:00:00Z")
    await machine.later(3600)
    assert machine.interactions.made == {}
    shown = await machine.triggers.update("p", id, types.UpdateTrigger(status="active", display_name="again"))
    assert (shown.next_run_time, shown.last_resume_time) == ("2027-01-15T09:05:00Z", "2027-01-15T09:00:00Z")
    assert (shown.display_name, shown.update_time) == ("again", "2027-01-15T09:00:00Z")
    again = await machine.triggers.update("p", id, types.UpdateTrigger(status="active"))
    assert again == shown
    with pytest.raises(wire.InvalidRequest, match="at 'status'"):
        await machine.triggers.update("p", id, types.UpdateTrigger(status="error"))


@told
async def test_a_run_goes_on_to_its_end_while_its_trigger_is_paused(machine):
    id = await machine.create()
    await machine.at_next(id)
    await machine.triggers.update("p", id, types.UpdateTrigger(status="paused"))
    machine.interactions.end()
    await machine.later()
    assert await machine.statuses(id) == ["completed"]


@told
async def test_a_paused_trigger_can_be_run_now(machine):
    id = await machine.create()
    await machine.triggers.update("p", id, types.UpdateTrigger(status="paused"))
    execution = await machine.triggers.run("p", id)
    assert (execution.status, execution.trigger_id) == ("in_progress", id)
    assert execution.interaction_id in machine.interactions.made
    machine.interactions.end()
    await machine.later()
    assert await machine.statuses(id) == ["completed"]
    assert (await machine.triggers.get("p", id)).status == "paused"


@told
async def test_a_trigger_that_is_running_is_not_run_again(machine):
    id = await machine.create()
    first = await machine.triggers.run("p", id)
    second = await machine.triggers.run("p", id)
    assert (second.status, second.interaction_id) == ("skipped", None)
    machine.interactions.end()
    third = await machine.triggers.run("p", id)
    assert third.status == "in_progress" and len({first.id, second.id, third.id}) == 3
    assert await machine.statuses(id) == ["completed", "skipped", "in_progress"] or len(machine.interactions.made) == 2


@told
async def test_a_run_now_does_not_move_the_schedule(machine):
    id = await machine.create()
    await machine.triggers.run("p", id)
    machine.interactions.end()
    await machine.at_next(id)
    assert len(machine.interactions.made) == 2


@told
async def test_a_deleted_trigger_is_gone_and_its_runs_stay_listed(machine):
    id = await machine.create()
    await machine.at_next(id)
    await machine.triggers.delete("p", id)
    for call in (machine.triggers.get, machine.triggers.delete, machine.triggers.run):
        with pytest.raises(wire.NotFound):
            await call("p", id)
    with pytest.raises(wire.NotFound):
        await machine.triggers.update("p", id, types.UpdateTrigger(status="paused"))
    assert (await machine.triggers.page("p", "", 10, "")).triggers is None
    machine.interactions.end()
    await machine.later()
    await machine.later()
    assert await machine.statuses(id) == ["completed"]
    assert await machine.triggers._shelf.read("p", id) is None


@told
async def test_what_ended_is_forgotten_in_time(machine):
    id = await machine.create("0 0 1 1 *")
    await machine.triggers.run("p", id)
    machine.interactions.end()
    await machine.later()
    await machine.later(990)
    assert await machine.statuses(id) == ["completed"]
    await machine.later(70)
    assert await machine.statuses(id) == []


@told
async def test_triggers_are_listed_by_page_and_by_filter_the_newest_first(machine):
    made = []
    for number in range(5):
        machine.clock.now += 1
        made.append(await machine.create(display_name=f"n{number % 2}"))
    await machine.triggers.update("p", made[1], types.UpdateTrigger(status="paused"))

    async def listed(filter: str = "", size: int = 2) -> list[str]:
        found: list[str] = []
        after = ""
        while True:
            page = await machine.triggers.page("p", filter, size, after)
            found += [trigger.id for trigger in page.triggers or []]
            assert len(page.triggers or []) <= size
            if page.next_page_token is None:
                return found
            after = page.next_page_token

    newest = made[::-1]
    assert await listed() == newest == await listed(size=5) == await listed(size=1)
    assert await listed("status=paused") == [made[1]] == await listed('state = "PAUSED"')
    assert await listed("status=active", 1) == [id for id in newest if id != made[1]]
    assert await listed('display_name="n1" AND status=active') == [made[3]]
    assert (await machine.triggers.page("another", "", 10, "")).triggers is None
    for filter in ("status=odd", "schedule=1", "status", "status=active OR status=paused"):
        with pytest.raises(wire.InvalidRequest, match="at 'filter'"):
            await machine.triggers.page("p", filter, 10, "")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"store": True}, "'interaction.store'"),
        ({"store": False}, "'interaction.store'"),
        ({"stream": True}, "'interaction.stream'"),
        ({"background": False}, "'interaction.background'"),
    ],
)
def test_an_interaction_that_is_not_in_the_background_is_refused(fields, says):
    async def body(machine: Machine) -> None:
        request = wire.CreateInteraction(model="m", input="hi", **fields)
        with pytest.raises(wire.InvalidRequest, match=says):
            await machine.triggers.create(
                "p", types.CreateTrigger(interaction=request, schedule="* * * * *", time_zone="UTC")
            )

    told(body)()


@told
async def test_what_the_engine_would_refuse_is_refused_when_the_trigger_is_made(machine):
    machine.interactions.refusal = wire.NotFound("Agent 'a' is not served here.")
    with pytest.raises(wire.NotFound) as refused:
        await machine.create()
    assert refused.value.message == "In 'interaction': Agent 'a' is not served here."
    machine.interactions.refusal = None
    with pytest.raises(wire.InvalidRequest, match="'environment_id'"):
        await machine.create(environment_id="e")
