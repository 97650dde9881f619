"""When the parts around the engine fail: nothing is lost, nothing is doubled, nothing stays open for ever."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from test_engine import (
    RUN,
    SEARCH_TOOL,
    ask,
    cut_after,
    ended,
    engine,
    read,
    request,
    run_async,
    script,
    text_of,
    whole_log,
)

from antiphon import log, transfer, wire
from antiphon.ports import Delta, Finish, Outcome, Record, Segment, Session, Stored, Text, Tokens, Turn, Use
from antiphon.run import Limits
from antiphon.stores.memory import MemoryStore
from antiphon.tools.scripted import ScriptedSession, ScriptedTool, ToolScript

WORDS = " ".join(f"w{n}" for n in range(30))


class Away(MemoryStore):
    """Fails the given calls of `append` and `create`, counted from 1."""

    def __init__(self, *failing: int, error: wire.ApiError | None = None) -> None:
        super().__init__()
        self.failing = failing
        self.error = error or wire.Unavailable("The store is away.")
        self.calls = 0

    def _maybe_fail(self) -> None:
        self.calls += 1
        if self.calls in self.failing:
            raise self.error

    async def append(self, id: str, attempt: int, status: wire.InteractionStatus, segment: Segment) -> None:
        self._maybe_fail()
        await super().append(id, attempt, status, segment)

    async def create(
        self,
        record: Record,
        status: wire.InteractionStatus,
        segment: Segment | None = None,
        *,
        waits: bool = False,
    ) -> None:
        if segment is not None:
            self._maybe_fail()
        await super().create(record, status, segment, waits=waits)


class Slow:
    """Says its words with a pause after each, so that they are written by the timer."""

    modalities = frozenset({"text"})

    async def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        for number in range(6):
            yield Text(f"w{number} ")
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        yield Finish("stop", Tokens(1, 6))

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("failing", [(1,), (2,), (3,), (1, 2, 3), (4, 5)])
@pytest.mark.parametrize("model", [script(turns=[{"thought": "hm", "text": WORDS}]), Slow()])
def test_a_store_that_is_away_for_a_moment_costs_no_event(failing: tuple[int, ...], model: Any) -> None:
    async def body() -> None:
        store = Away(*failing)
        async with engine(model, store=store) as on:
            run = await on.create("p", request(background=True))
            live = await read(run.channel.follow(0))
            await ended(run)
            stored = await store.get("p", run.record.id)
            assert stored is not None and list(log.decode(stored.frames)) == live
            assert [number for number, _ in live] == list(range(1, len(live) + 1))
            assert log.fold(live).status == "completed"

    run_async(body)


def test_the_answer_of_a_foreground_run_waits_for_a_store_that_is_away_for_a_moment() -> None:
    async def body() -> None:
        async with engine(store=Away(1, 2)) as on:
            made = await ask(on)
            assert made.status == "completed" and (await on.archive.get("p", made.id or "")).status == "completed"

    run_async(body)


def test_a_foreground_run_that_cannot_be_kept_says_so_and_is_not_there() -> None:
    async def body() -> None:
        async with engine(store=Away(1, error=wire.Internal("The store is broken."))) as on:
            run = await on.create("p", request(stream=True))
            frames = b"".join([piece async for piece in run.channel.follow(0)])
            assert b"event: error" in frames and b"api_error" in frames and frames.endswith(log.DONE)
            assert b"interaction.completed" not in frames
            with pytest.raises(wire.NotFound):
                await on.archive.get("p", run.record.id)

    run_async(body)


def test_what_nobody_runs_any_more_can_be_cancelled() -> None:
    async def body() -> None:
        record, frames = await whole_log({"google_search": _tool([])})
        store = MemoryStore()
        await store.create(record, "in_progress", cut_after(frames, 5))
        async with engine(store=store) as on:
            unended = b"".join([piece async for piece in await on.archive.follow("p", record.id)])
            assert not unended.endswith(log.DONE), "a stream that has not ended does not say that it has"
            made = await on.cancel("p", record.id)
            assert made.status == "cancelled"
            state = log.fold(await read(await on.archive.follow("p", record.id)))
            assert state.status == "cancelled"

    run_async(body)


def _tool(result: Any, **fields: Any) -> Any:
    return ScriptedTool("google_search", ToolScript(result=result, **fields))


class Broken(ScriptedTool):
    """A tool that hangs, or raises."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__("google_search", ToolScript(result=[]))
        self._error = error

    async def open(self, use: Use) -> Session:
        return BrokenSession(self._error)


class BrokenSession(ScriptedSession):
    def __init__(self, error: Exception | None) -> None:
        super().__init__("google_search", ToolScript(result=[]))
        self._error = error

    async def run(self, call: wire.ToolCallStep) -> Outcome:
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("error", [None, RuntimeError("out of order")])
def test_a_tool_that_hangs_or_breaks_is_an_error_that_the_model_sees(error: Exception | None) -> None:
    async def body() -> None:
        limits = Limits(tool=0.05)
        async with engine(script(turns=RUN), tools={"google_search": Broken(error)}, limits=limits) as on:
            made = await ask(on, tools=[SEARCH_TOOL])
            results = [step for step in made.steps or () if isinstance(step, wire.ToolResultStep)]
            assert [result.is_error for result in results] == [True]
            assert (made.status, text_of(made)) == ("completed", "Found it.")

    run_async(body)


def test_a_recovered_run_remembers_what_was_used_before() -> None:
    async def body() -> None:
        tools = {"google_search": _tool([])}
        record, frames = await whole_log(tools)
        whole = log.fold(log.decode(frames)).interaction
        started = next(n for n, event in log.decode(frames) if b"google_search_result" in log.encode(event, n))
        store = MemoryStore()
        await store.create(record, "in_progress", cut_after(frames, started))
        async with engine(script(turns=RUN), store=store, tools=tools) as on:
            await on.recover()
            await read(await on.archive.follow("p", record.id))
            made = await on.archive.get("p", record.id)
        assert made.usage is not None and whole is not None and whole.usage is not None
        assert made.usage.total_output_tokens == whole.usage.total_output_tokens

    run_async(body)


def test_restarts_in_good_order_are_no_crashes() -> None:
    async def body() -> None:
        store = MemoryStore()
        stalls = script(turns=[{"text": "a b", "fault": {"kind": "stall", "after": 1}}])
        async with engine(stalls, store=store) as on:
            run = await on.create("p", request(background=True))
        for _ in range(10):
            async with engine(stalls, store=store) as on:
                await on.recover()
        async with engine(script(turns=[{"text": "done"}]), store=store) as on:
            await on.recover()
            await read(await on.archive.follow("p", run.record.id))
            assert text_of(await on.archive.get("p", run.record.id)) == "done"

    run_async(body)


def test_a_run_that_cannot_be_read_does_not_keep_the_others_from_going_on() -> None:
    async def body() -> None:
        record, frames = await whole_log({"google_search": _tool([])})
        store = MemoryStore()
        torn = msgspec.structs.replace(record, id="v1_torn00000")
        await store.create(torn, "in_progress", Segment(1, 1, frames[:40] + b"\n\n"))
        await store.create(record, "in_progress", cut_after(frames, 3))
        async with engine(script(turns=RUN), store=store, tools={"google_search": _tool([])}) as on:
            assert await on.recover() == 2
            assert log.fold(await read(await on.archive.follow("p", record.id))).status == "completed"

    run_async(body)


def exported(stored: Stored, **changes: Any) -> bytes:
    """An exported line with some of its fields changed; a dotted name is a field of the record."""
    line = msgspec.json.decode(transfer.lines([stored]))
    for name, value in changes.items():
        if name in line:
            line[name] = value
        else:
            line["record"][name] = value
    return msgspec.json.encode(line)


@pytest.mark.parametrize(
    "changes",
    [
        {"created": 1e300},
        {"created": -1e17},
        {"updated": 1e300},
        {"numbers": [2**63] * 8},
        {"numbers": [1]},
        {"colour": "blue"},
        {"antiphon": 2},
        {"id": "../etc"},
    ],
)
def test_a_line_that_could_not_have_been_exported_is_refused(changes: dict[str, Any]) -> None:
    async def body() -> None:
        async with engine() as on:
            made = await ask(on)
            stored = await on.store.get("p", made.id or "")
            assert stored is not None
            await on.delete("p", made.id or "")
            with pytest.raises(wire.InvalidRequest):
                await on.bring_in("p", exported(stored, **changes))
            assert (await on.archive.page("p", None, 10)).interactions is None

    run_async(body)


def test_lines_are_brought_in_all_or_none() -> None:
    async def body() -> None:
        async with engine() as on, engine() as other:
            first = await ask(on, input="one")
            second = await ask(on, input="two", previous_interaction_id=first.id)
            lines = await on.archive.export("p", second.id or "")
            await other.bring_in("p", lines.splitlines(keepends=True)[0])
            with pytest.raises(wire.AlreadyExists):
                await other.bring_in("p", lines)
            with pytest.raises(wire.NotFound):
                await other.archive.get("p", second.id or "")

    run_async(body)


def test_a_deleted_turn_is_not_exported_with_those_that_follow_it() -> None:
    async def body() -> None:
        async with engine() as on:
            first = await ask(on, input="secret")
            second = await ask(on, input="two", previous_interaction_id=first.id)
            await on.delete("p", first.id or "")
            lines = await on.archive.export("p", second.id or "")
            assert b"secret" not in lines and lines.count(b"\n") == 1

    run_async(body)
