"""The engine over the memory store and the scripted model: what a conversation is, and how a run ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from antiphon import log, resource, signature, wire
from antiphon.bus.local import LocalBus
from antiphon.catalog import Catalog, Served
from antiphon.engine import Engine
from antiphon.models.scripted import Script, Scripted
from antiphon.ports import Delta, Finish, Segment, Store, Stored, Text, Tokens, Turn
from antiphon.recovery import Turns
from antiphon.run import Limits, Run
from antiphon.stores.memory import MemoryStore
from antiphon.tools.scripted import ScriptedTool, ToolScript

KEY = b"k" * 32
WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}


class Recorder:
    """A model that remembers what it was asked, and answers `ok`."""

    modalities = frozenset({"text"})

    def __init__(self) -> None:
        self.turns: list[Turn] = []

    async def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        self.turns.append(turn)
        yield Text("ok")
        yield Finish("stop", Tokens(input=1, output=1))

    async def aclose(self) -> None:
        pass


def script(**table: Any) -> Scripted:
    return Scripted(msgspec.convert(table, Script))


@asynccontextmanager
async def engine(
    model: Any = None,
    *,
    store: Store | None = None,
    tools: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    clock: Callable[[], float] | None = None,
    **given: Any,
) -> AsyncIterator[Engine]:
    catalog = Catalog({"m": Served()}, "m")
    more = {"clock": clock} if clock else {}
    made = Engine(
        store=store or MemoryStore(*([clock] if clock else [])),
        bus=LocalBus(),
        models={"m": model or Scripted()},
        resolve=catalog.resolve,
        key=KEY,
        tools=tools,
        limits=limits,
        **more,
        **given,
    )
    try:
        yield made
    finally:
        await made.aclose()


def request(**fields: Any) -> wire.CreateInteraction:
    return msgspec.convert({"model": "gemini-3-flash-preview", "input": "hi"} | fields, wire.CreateInteraction)


async def ask(on: Engine, **fields: Any) -> wire.Interaction:
    """Create, and wait for the end."""
    run = await on.create("p", request(**fields))
    await ended(run)
    return resource.interaction(run.record, run.state, run.updated)


async def ended(run: Run) -> None:
    assert run.task is not None
    async with asyncio.timeout(5):
        await asyncio.wait([run.task])


async def read(frames: AsyncIterator[bytes]) -> list[tuple[int, wire.InteractionEvent]]:
    async with asyncio.timeout(5):
        return list(log.decode(b"".join([piece async for piece in frames]).removesuffix(log.DONE)))


def text_of(interaction: wire.Interaction) -> str:
    last = (interaction.steps or [])[-1]
    assert isinstance(last, wire.ModelOutputStep)
    return "".join(item.text for item in last.content or () if isinstance(item, wire.TextContent))


def run_async(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(body())  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------- conversations


def test_a_chained_turn_sees_what_was_said_before_and_nothing_else() -> None:
    async def body() -> None:
        model = Recorder()
        async with engine(model) as on:
            first = await ask(
                on, input="one", system_instruction="be brief", tools=[WEATHER], generation_config={"seed": 1}
            )
            await ask(on, input="two", previous_interaction_id=first.id)
            turn = model.turns[-1]
            said = [text_in(step) for step in turn.steps]
            assert said == ["one", "ok", "two"]
            assert (turn.system_instruction, turn.functions, turn.seed) == (None, (), None)

    run_async(body)


def text_in(step: Any) -> str:
    return "".join(item.text for item in step.content)


def test_a_turns_prefix_is_the_turn_before_it_and_its_answer() -> None:
    async def body() -> None:
        model = Recorder()
        async with engine(model) as on:
            previous = None
            for number in range(4):
                previous = (await ask(on, input=f"turn {number}", previous_interaction_id=previous)).id
            for earlier, later in zip(model.turns, model.turns[1:], strict=False):
                assert list(later.steps[: len(earlier.steps)]) == list(earlier.steps)
                assert later.conversation == earlier.conversation

    run_async(body)


def test_branches_of_one_parent_do_not_see_each_other() -> None:
    async def body() -> None:
        model = Recorder()
        async with engine(model) as on:
            root = await ask(on, input="root")
            await ask(on, input="left", previous_interaction_id=root.id)
            await ask(on, input="right", previous_interaction_id=root.id)
            assert [text_in(step) for step in model.turns[-1].steps] == ["root", "ok", "right"]

    run_async(body)


def test_children_keep_the_past_of_a_deleted_parent() -> None:
    async def body() -> None:
        model = Recorder()
        async with engine(model) as on:
            parent = await ask(on, input="parent")
            child = await ask(on, input="child", previous_interaction_id=parent.id)
            await on.delete("p", parent.id or "")
            with pytest.raises(wire.NotFound):
                await ask(on, previous_interaction_id=parent.id)
            await ask(on, input="grandchild", previous_interaction_id=child.id)
            assert [text_in(step) for step in model.turns[-1].steps] == ["parent", "ok", "child", "ok", "grandchild"]

    run_async(body)


def test_a_chain_of_a_thousand_turns_is_remembered_from_its_first() -> None:
    async def body() -> None:
        model = Recorder()
        async with engine(model) as on:
            previous = None
            for number in range(1000):
                run = await on.create("p", request(input=f"{number}", previous_interaction_id=previous))
                await ended(run)
                previous = run.record.id
            assert len(model.turns[-1].steps) == 1999
            assert text_in(model.turns[-1].steps[0]) == "0"

    run_async(body)


def test_a_conversation_may_change_its_model_at_any_turn() -> None:
    async def body() -> None:
        async with engine(script(turns=[{"recall": "name is (\\w+)", "text": "You are {0}."}])) as on:
            first = await ask(on, model="gemini-2.5-pro", input="My name is Phil.")
            second = await ask(on, model="gemma-4-31b-it", input="Who am I?", previous_interaction_id=first.id)
            assert (first.model, second.model) == ("gemini-2.5-pro", "gemma-4-31b-it")
            assert text_of(second) == "You are Phil."

    run_async(body)


def test_what_is_not_stored_cannot_be_found_again() -> None:
    async def body() -> None:
        async with engine() as on:
            made = await ask(on, store=False)
            assert made.id is None
            assert (await on.archive.page("p", None, 10)).interactions is None

    run_async(body)


def test_a_client_that_replays_its_steps_needs_no_store() -> None:
    async def body() -> None:
        model = script(turns=[{"thought": "hm", "recall": "name is (\\w+)", "text": "You are {0}."}])
        async with engine(model) as on:
            hello: list[Any] = [{"type": "user_input", "content": [{"type": "text", "text": "My name is Phil."}]}]
            first = await ask(on, input=hello, store=False)
            replayed = [*hello, *msgspec.to_builtins(first.steps)]
            question = {"type": "user_input", "content": "Who am I?"}
            second = await ask(on, input=[*replayed, question], store=False)
            assert text_of(second) == "You are Phil."

    run_async(body)


def test_a_thought_comes_back_to_the_server_that_sealed_it() -> None:
    async def body() -> None:
        async with engine(script(turns=[{"thought": "let me see", "text": "yes"}])) as on:
            made = await ask(on)
            thought = (made.steps or [])[0]
            assert isinstance(thought, wire.ThoughtStep) and thought.summary is None
            assert signature.unseal(KEY, thought.signature or "") == "let me see"

    run_async(body)


@pytest.mark.parametrize("signature", [None, "skip_thought_signature_validator"])
def test_a_thought_without_a_signature_is_tolerated(signature: str | None) -> None:
    async def body() -> None:
        async with engine() as on:
            thought = {"type": "thought"} | ({"signature": signature} if signature else {})
            await ask(
                on, input=[{"type": "user_input", "content": "a"}, thought, {"type": "user_input", "content": "b"}]
            )

    run_async(body)


def test_a_thought_with_a_forged_signature_is_refused_with_its_place() -> None:
    async def body() -> None:
        async with engine() as on:
            steps = [{"type": "user_input", "content": "a"}, {"type": "thought", "signature": "Zm9yZ2Vk"}]
            with pytest.raises(wire.InvalidRequest, match=r"input\[1\]\.signature"):
                await ask(on, input=steps)

    run_async(body)


def test_thoughts_are_summarised_only_when_asked_for() -> None:
    async def body() -> None:
        async with engine(script(turns=[{"thought": "let me see", "text": "yes"}])) as on:
            made = await ask(on, generation_config={"thinking_summaries": "auto"})
            assert (made.steps or [])[0].summary == [wire.TextContent(text="let me see")]  # type: ignore[union-attr]

    run_async(body)


def test_a_chain_is_not_continued_before_its_last_turn_has_ended() -> None:
    async def body() -> None:
        async with engine(script(turns=[{"text": "a b", "fault": {"kind": "stall", "after": 1}}])) as on:
            for background in (True, False):
                run = await on.create("p", request(background=background))
                with pytest.raises(wire.InvalidRequest, match="in progress"):
                    await on.create("p", request(previous_interaction_id=run.record.id))

    run_async(body)


def test_a_conversation_is_exported_and_comes_back_the_same() -> None:
    async def body() -> None:
        model = script(turns=[{"thought": "hm", "recall": "name is (\\w+)", "text": "You are {0}."}])
        async with engine(model) as on, engine(model) as other:
            first = await ask(on, input="My name is Phil.")
            second = await ask(on, input="Who am I?", previous_interaction_id=first.id)
            lines = await on.archive.export("p", second.id or "")
            assert lines.count(b"\n") == 2
            assert await other.bring_in("q", lines) == [first.id, second.id]
            assert await other.archive.get("q", second.id or "") == await on.archive.get("p", second.id or "")
            third = await other.create("q", request(input="And now?", previous_interaction_id=second.id))
            await ended(third)
            assert text_of(resource.interaction(third.record, third.state, 0)) == "You are Phil."
            with pytest.raises(wire.AlreadyExists):
                await other.bring_in("q", lines)

    run_async(body)


@pytest.mark.parametrize("lines", [b"", b"{}", b"not json", b'{"antiphon":1}'])
def test_what_is_no_export_is_refused(lines: bytes) -> None:
    async def body() -> None:
        async with engine() as on:
            with pytest.raises(wire.InvalidRequest):
                await on.bring_in("p", lines)

    run_async(body)


# ---------------------------------------------------------------------------------------------------- functions


CALLS = [
    {"after": "get_weather", "text": "It is sunny."},
    {"text": "", "calls": [{"name": "get_weather", "arguments": {"city": c}} for c in ("Rome", "Oslo")]},
]


def test_parallel_calls_wait_for_the_caller_and_go_on_with_results_in_any_order() -> None:
    async def body() -> None:
        async with engine(script(turns=CALLS)) as on:
            first = await ask(on, tools=[WEATHER])
            assert first.status == "requires_action"
            calls = [step for step in first.steps or () if isinstance(step, wire.FunctionCallStep)]
            assert [call.arguments for call in calls] == [{"city": "Rome"}, {"city": "Oslo"}]
            results = [
                {"type": "function_result", "call_id": calls[1].id, "result": {"sky": "clear"}},
                {"type": "function_result", "call_id": calls[0].id, "result": "sunny"},
            ]
            second = await ask(on, input=results, previous_interaction_id=first.id)
            assert (second.status, text_of(second)) == ("completed", "It is sunny.")

    run_async(body)


def test_only_an_answer_to_a_call_keeps_the_tools_of_the_call() -> None:
    async def body() -> None:
        model = Recorder()
        store = MemoryStore()
        async with engine(script(turns=CALLS), store=store) as on:
            first = await ask(on, tools=[WEATHER])
        calls = [step for step in first.steps or () if isinstance(step, wire.FunctionCallStep)]
        answer = [{"type": "function_result", "call_id": call.id, "result": "x"} for call in calls]
        async with engine(model, store=store) as on:
            await ask(on, input=answer, previous_interaction_id=first.id)
            assert [function.name for function in model.turns[-1].functions] == ["get_weather"]
            await ask(on, input="words instead", previous_interaction_id=first.id)
            assert model.turns[-1].functions == ()

    run_async(body)


@pytest.mark.parametrize("repeat", [1, 2])
def test_a_result_answers_one_call_of_this_conversation_once(repeat: int) -> None:
    async def body() -> None:
        async with engine(script(turns=CALLS)) as on:
            first = await ask(on, tools=[WEATHER])
            known = next(step.id for step in first.steps or () if isinstance(step, wire.FunctionCallStep))
            ids = ["unknown1"] if repeat == 1 else [known, known]
            results = [{"type": "function_result", "call_id": id, "result": "x"} for id in ids]
            with pytest.raises(wire.InvalidRequest, match="call_id"):
                await ask(on, input=results, previous_interaction_id=first.id)

    run_async(body)


def test_a_call_that_is_no_json_fails_with_its_own_code() -> None:
    async def body() -> None:
        turns = [
            {"calls": [{"name": "get_weather", "arguments": {"city": "Rome"}}], "fault": {"kind": "malformed_call"}}
        ]
        async with engine(script(turns=turns)) as on:
            made = await ask(on, tools=[WEATHER])
            assert made.status == "failed"
            assert made.error is not None and made.error.code == "malformed_function_call"

    run_async(body)


def test_an_answer_that_breaks_its_schema_fails_and_says_where() -> None:
    async def body() -> None:
        schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
        async with engine(script(turns=[{"text": '{"age": "old"}'}])) as on:
            made = await ask(on, response_format=schema)
            assert made.status == "failed" and made.error is not None and "age" in (made.error.message or "")

    run_async(body)


def test_a_token_limit_leaves_the_interaction_incomplete() -> None:
    async def body() -> None:
        async with engine(script(turns=[{"text": "one two three"}])) as on:
            made = await ask(on, generation_config={"max_output_tokens": 2})
            assert (made.status, text_of(made)) == ("incomplete", "one two ")

    run_async(body)


# ---------------------------------------------------------------------------------------------------- server tools


SEARCHES = [
    {"after": "google_search", "text": "Found."},
    {"calls": [{"name": "google_search", "arguments": {"queries": ["a"]}}]},
]
SEARCH_TOOL = {"type": "google_search"}


def test_a_server_tool_is_run_and_shown_as_two_steps() -> None:
    async def body() -> None:
        tool = ScriptedTool("google_search", ToolScript(result=[{"title": "T", "url": "https://a.example"}]))
        async with engine(script(turns=SEARCHES), tools={"google_search": tool}) as on:
            made = await ask(on, tools=[SEARCH_TOOL])
            kinds = [str(step.__struct_config__.tag) for step in made.steps or ()]
            assert kinds == ["google_search_call", "google_search_result", "model_output"]
            assert made.status == "completed"

    run_async(body)


def test_a_tool_that_is_not_served_is_refused_with_those_that_are() -> None:
    async def body() -> None:
        async with engine() as on:
            with pytest.raises(wire.InvalidRequest, match=r"'google_search'.*tools\[0\].*Supported values: 'function'"):
                await ask(on, tools=[SEARCH_TOOL])

    run_async(body)


def test_a_model_that_only_calls_tools_is_stopped() -> None:
    async def body() -> None:
        tool = ScriptedTool("google_search", ToolScript(result=[]))
        turns = [
            {"calls": [{"name": "google_search"}], "after": "google_search"},
            {"calls": [{"name": "google_search"}]},
        ]
        limits = Limits(rounds=3)
        async with engine(script(turns=turns), tools={"google_search": tool}, limits=limits) as on:
            made = await ask(on, tools=[SEARCH_TOOL])
            assert made.status == "failed" and made.error is not None and made.error.code == "too_many_tool_calls"

    run_async(body)


# ---------------------------------------------------------------------------------------------------- ends


def test_a_model_that_fails_in_the_middle_ends_the_stream_with_an_error_and_a_status() -> None:
    async def body() -> None:
        fault = {"kind": "error", "after": 1, "code": "rate_limit_exceeded", "message": "slow down"}
        async with engine(script(turns=[{"text": "a b", "fault": fault}])) as on:
            run = await on.create("p", request(stream=True))
            entries = await read(run.channel.follow(0))
            kinds = [type(event).__name__ for _, event in entries]
            assert kinds[-3:] == ["StepStop", "ErrorEvent", "InteractionCompleted"]
            made = await on.archive.get("p", run.record.id)
            assert made.status == "failed" and made.error == wire.Error(code="rate_limit_exceeded", message="slow down")
            assert made.errors == [made.error]
            assert isinstance((made.steps or [])[-1], wire.ModelOutputStep) and (made.steps or [])[-1].error is not None

    run_async(body)


def test_what_a_failed_step_said_is_no_part_of_the_conversation() -> None:
    async def body() -> None:
        store, model = MemoryStore(), Recorder()
        async with engine(script(turns=[{"text": "a b", "fault": {"kind": "error", "after": 1}}]), store=store) as on:
            failed = await ask(on, input="one")
        async with engine(model, store=store) as on:
            await ask(on, input="two", previous_interaction_id=failed.id)
            assert [text_in(step) for step in model.turns[-1].steps] == ["one", "two"]

    run_async(body)


def test_a_silent_model_fails_the_run_in_time() -> None:
    async def body() -> None:
        stall = {"kind": "stall", "after": 1}
        async with engine(script(turns=[{"text": "a b", "fault": stall}]), limits=Limits(silence=0.05)) as on:
            made = await ask(on)
            assert made.status == "failed" and made.error is not None and made.error.code == "deadline_exceeded"

    run_async(body)


def test_a_background_run_is_on_disk_before_it_is_seen() -> None:
    async def body() -> None:
        store = MemoryStore()
        async with engine(script(turns=[{"text": "a b c", "thought": "x"}]), store=store) as on:
            run = await on.create("p", request(background=True))
            async for piece in run.channel.follow(0):
                stored = await store.get("p", run.record.id)
                assert stored is not None and (piece == log.DONE or piece in stored.frames)

    run_async(body)


def test_a_foreground_run_is_on_disk_before_its_end_is_seen() -> None:
    async def body() -> None:
        store = MemoryStore()
        async with engine(store=store) as on:
            run = await on.create("p", request(stream=True))
            async for piece in run.channel.follow(0):
                if b"interaction.completed" in piece:
                    assert (await store.get("p", run.record.id)) is not None

    run_async(body)


@pytest.mark.parametrize("after", range(10))
def test_a_stream_resumes_after_any_event_with_just_what_follows(after: int) -> None:
    async def body() -> None:
        async with engine(script(turns=[{"text": "a b c", "thought": "x"}])) as on:
            run = await on.create("p", request(background=True))
            live = await read(await on.archive.follow("p", run.record.id))
            await ended(run)
            resumed = await read(await on.archive.follow("p", run.record.id, after))
            assert resumed == live[after:]

    run_async(body)


def test_following_from_beyond_the_end_is_out_of_range() -> None:
    async def body() -> None:
        async with engine() as on:
            made = await ask(on)
            with pytest.raises(wire.OutOfRange):
                await read(await on.archive.follow("p", made.id or "", 99))

    run_async(body)


def test_a_merged_event_is_no_place_to_resume_from() -> None:
    async def body() -> None:
        async with engine(script(turns=[{"text": "a b c"}])) as on:
            made = await ask(on, stream=True)
            await on.sweep(compact_after=-1)
            with pytest.raises(wire.OutOfRange, match="compacted"):
                await read(await on.archive.follow("p", made.id or "", 4))
            assert [number for number, _ in await read(await on.archive.follow("p", made.id or "", 3))] == [6, 7, 8]

    run_async(body)


def test_a_cancelled_run_keeps_what_it_had_said() -> None:
    async def body() -> None:
        async with engine(script(turns=[{"text": "a b", "fault": {"kind": "stall", "after": 1}}])) as on:
            run = await on.create("p", request(background=True))
            async for piece in run.channel.follow(0):
                if b'"text":"a ' in piece:
                    break
            made = await on.cancel("p", run.record.id)
            assert (made.status, text_of(made)) == ("cancelled", "a ")
            assert made.usage is not None and made.usage.total_output_tokens == 1, "what was said has cost something"
            assert await on.cancel("p", run.record.id) == made, "cancelling twice is no error"

    run_async(body)


def test_only_a_running_background_interaction_can_be_cancelled() -> None:
    async def body() -> None:
        async with engine() as on:
            made = await ask(on)
            with pytest.raises(wire.FailedPrecondition):
                await on.cancel("p", made.id or "")

    run_async(body)


class EndsMeanwhile(MemoryStore):
    """Another server ends an interaction, between a look at it and a claim to it."""

    async def claim(self, id: str) -> Stored | None:
        stored = await super().claim(id)
        assert stored is not None
        failed = wire.StreamInteraction(id=id, status="failed")
        last = log.reach(stored.frames) + 1
        frames = log.encode(wire.InteractionCompleted(interaction=failed), last)
        await self.append(id, stored.attempt, "failed", Segment(last, last, frames))
        return None


def test_what_ends_by_itself_while_it_is_being_cancelled_is_not_said_to_be_cancelled() -> None:
    async def body() -> None:
        record, frames = await whole_log({"google_search": ScriptedTool("google_search", ToolScript(result=[]))})
        store = EndsMeanwhile()
        await store.create(record, "in_progress", cut_after(frames, 2))
        async with engine(store=store) as on:
            with pytest.raises(wire.FailedPrecondition, match="its status is 'failed'"):
                await on.cancel("p", record.id)

    run_async(body)


def test_deleting_a_running_interaction_stops_it() -> None:
    async def body() -> None:
        async with engine(script(turns=[{"text": "a b", "fault": {"kind": "stall", "after": 1}}])) as on:
            run = await on.create("p", request(background=True))
            await on.delete("p", run.record.id)
            assert run.task is not None and run.task.done()
            with pytest.raises(wire.NotFound):
                await on.archive.get("p", run.record.id)

    run_async(body)


def test_retention_is_the_operators() -> None:
    async def body() -> None:
        now = [1_800_000_000.0]
        async with engine(limits=Limits(retention=10), clock=lambda: now[0]) as on:
            made = await ask(on)
            await on.archive.get("p", made.id or "")
            now[0] += 11
            with pytest.raises(wire.NotFound):
                await on.archive.get("p", made.id or "")
            assert await on.sweep() == 1

    run_async(body)


# ---------------------------------------------------------------------------------------------------- recovery


def cut_after(frames: bytes, number: int) -> Segment:
    kept = log.split(frames)[:number]
    return Segment(1, number, b"".join(kept))


async def whole_log(tools: Mapping[str, Any], turns: Any = None, declared: Any = None) -> tuple[Any, bytes]:
    """A finished background run; with a thought, words, a server tool and an answer where nothing else is said."""
    store = MemoryStore()
    async with engine(script(turns=turns or RUN), store=store, tools=tools) as on:
        run = await on.create("p", request(background=True, tools=declared or [SEARCH_TOOL]))
        await ended(run)
    stored = await store.get("p", run.record.id)
    assert stored is not None
    return stored.record, stored.frames


RUN = [
    {"after": "google_search", "text": "Found it."},
    {"thought": "hm", "text": "Let me look.", "calls": [{"name": "google_search", "arguments": {"queries": ["a"]}}]},
]


@pytest.mark.parametrize("rerunnable", [True, False])
def test_a_run_cut_short_at_any_event_goes_on_to_a_legal_end(rerunnable: bool) -> None:
    async def body() -> None:
        tools = {"google_search": ScriptedTool("google_search", ToolScript(result=[], rerunnable=rerunnable))}
        record, frames = await whole_log(tools)
        for number, event in [(0, None), *log.decode(frames)][:-1]:
            if isinstance(event, wire.StepStop):
                continue  # never the last thing on disk: see the test after this one
            store = MemoryStore()
            await store.create(record, "in_progress", cut_after(frames, number) if number else None)
            async with engine(script(turns=RUN), store=store, tools=tools) as on:
                assert await on.recover() == 1
                entries = await read(await on.archive.follow("p", record.id))
                assert [seq for seq, _ in entries] == list(range(1, len(entries) + 1))
                state = log.fold(entries)
                assert state.status == "completed" and text_of(await on.archive.get("p", record.id)) == "Found it."
                kept = b"".join(log.split(frames)[:number])
                stored = await store.get("p", record.id)
                assert stored is not None and stored.frames.startswith(kept), "what was seen is never rewritten"

    run_async(body)


class Watched(MemoryStore):
    """Remembers the last event of every write."""

    def __init__(self) -> None:
        super().__init__()
        self.lasts: list[wire.InteractionEvent] = []

    async def append(self, id: str, attempt: int, status: wire.InteractionStatus, segment: Segment) -> None:
        self.lasts.append(list(log.decode(segment.frames))[-1][1])
        await super().append(id, attempt, status, segment)


def test_a_steps_stop_is_written_together_with_what_follows_it() -> None:
    async def body() -> None:
        store = Watched()
        tools = {"google_search": ScriptedTool("google_search", ToolScript(result=[]))}
        async with engine(script(turns=RUN), store=store, tools=tools) as on:
            await ended(await on.create("p", request(background=True, tools=[SEARCH_TOOL])))
        assert store.lasts and not any(isinstance(event, wire.StepStop) for event in store.lasts)

    run_async(body)


def test_a_tool_that_must_not_run_twice_is_reported_lost() -> None:
    async def body() -> None:
        tools = {"google_search": ScriptedTool("google_search", ToolScript(result=[], rerunnable=False))}
        record, frames = await whole_log(tools)
        started = next(n for n, event in log.decode(frames) if b"google_search_result" in log.encode(event, n))
        store = MemoryStore()
        await store.create(record, "in_progress", cut_after(frames, started))
        async with engine(script(turns=RUN), store=store, tools=tools) as on:
            await on.recover()
            await read(await on.archive.follow("p", record.id))
            results = [
                s for s in (await on.archive.get("p", record.id)).steps or () if isinstance(s, wire.ToolResultStep)
            ]
            assert [result.is_error for result in results] == [True]

    run_async(body)


@pytest.mark.parametrize("type", ["code_execution", "url_context", "google_search", "google_maps"])
def test_a_tool_of_any_type_may_be_lost(type: str) -> None:
    async def body() -> None:
        tools = {type: ScriptedTool(type, ToolScript(result="" if type == "code_execution" else [], rerunnable=False))}
        turns = [{"after": type, "text": "Well."}, {"calls": [{"name": type}]}]
        store = MemoryStore()
        async with engine(script(turns=turns), store=store, tools=tools) as on:
            run = await on.create("p", request(background=True, tools=[{"type": type}]))
            await ended(run)
        stored = await store.get("p", run.record.id)
        assert stored is not None
        started = next(n for n, event in log.decode(stored.frames) if f"{type}_result".encode() in log.encode(event, n))
        again = MemoryStore()
        await again.create(run.record, "in_progress", cut_after(stored.frames, started))
        async with engine(script(turns=turns), store=again, tools=tools) as on:
            await on.recover()
            await read(await on.archive.follow("p", run.record.id))
            assert text_of(await on.archive.get("p", run.record.id)) == "Well."

    run_async(body)


def test_what_is_deleted_and_brought_back_changed_is_read_as_it_came_back() -> None:
    async def body() -> None:
        model = Recorder()
        async with engine(model) as on:
            made = await ask(on, input="secret")
            lines = await on.archive.export("p", made.id or "")
            await on.delete("p", made.id or "")
            await on.bring_in("p", lines.replace(b"secret", b"public"))
            await ask(on, input="next", previous_interaction_id=made.id)
            assert [text_in(step) for step in model.turns[-1].steps] == ["public", "ok", "next"]

    run_async(body)


def test_a_run_that_stops_the_server_again_and_again_ends_failed() -> None:
    async def body() -> None:
        record, frames = await whole_log({"google_search": ScriptedTool("google_search", ToolScript(result=[]))})
        store = MemoryStore()
        await store.create(record, "in_progress", cut_after(frames, 3))
        for _ in range(5):
            await store.claim(record.id)
        async with engine(script(turns=RUN), store=store) as on:
            await on.recover()
            made = await on.archive.get("p", record.id)
            assert (
                made.status == "failed" and made.error is not None and "stopped 6 times" in (made.error.message or "")
            )

    run_async(body)


class OneByOne(Recorder):
    """Notes how many it answers at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    async def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(5):
            await asyncio.sleep(0)
        self.now -= 1
        async for delta in super().stream(turn):
            yield delta


@pytest.mark.parametrize(("crashes", "most"), [(0, 3), (1, 1), (2, 1)])
def test_runs_that_may_have_stopped_the_server_are_gone_on_with_one_by_one(crashes: int, most: int) -> None:
    async def body() -> None:
        record, frames = await whole_log({"google_search": ScriptedTool("google_search", ToolScript(result=[]))})
        store, model = MemoryStore(), OneByOne()
        ids = ["v1_a", "v1_b", "v1_c"]
        for id in ids:
            await store.create(msgspec.structs.replace(record, id=id, tools=None), "in_progress", cut_after(frames, 2))
            for _ in range(crashes):
                await store.claim(id)
        async with engine(model, store=store) as on:
            assert await on.recover() == 3
            for id in ids:
                assert (await read(await on.archive.follow("p", id)))[-1][1].interaction.status == "completed"  # type: ignore[union-attr]
            assert model.most == most

    run_async(body)


def test_a_suspect_that_takes_long_lets_the_next_one_in_but_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        record, frames = await whole_log({"google_search": ScriptedTool("google_search", ToolScript(result=[]))})
        store, model = MemoryStore(), Scripted(msgspec.convert({"turns": [STALLS]}, Script))
        ids = ["v1_a", "v1_b", "v1_c", "v1_d"]
        for id in ids:
            await store.create(msgspec.structs.replace(record, id=id, tools=None), "in_progress", cut_after(frames, 2))
            await store.claim(id)
        claimed: list[str] = []
        claim = store.claim

        async def noted(id: str) -> Stored | None:
            claimed.append(id)
            return await claim(id)

        async with engine(model, store=store) as on:
            turns = Turns(0.05)
            monkeypatch.setattr(on, "_suspects", turns)
            await on.recover()
            monkeypatch.setattr(store, "claim", noted)
            async with asyncio.timeout(5):
                while len(claimed) < 2:  # noqa: ASYNC110 - it only lets them go first
                    await asyncio.sleep(0)
            assert len(claimed) == 2, "the third waits for the second, not for the first"
            made = await on.cancel("p", "v1_d")
            assert made.status == "cancelled", "one that waits can be cancelled"

    run_async(body)


STALLS = {"text": "a b", "fault": {"kind": "stall", "after": 1}}


@pytest.mark.parametrize(("crashes", "most"), [(0, 3), (2, 1)])
def test_a_worker_too_goes_on_with_suspects_one_by_one(crashes: int, most: int) -> None:
    """So a run that kills workers takes no other along: a crash is not that of one whose turn has not come."""

    async def body() -> None:
        record, frames = await whole_log({"google_search": ScriptedTool("google_search", ToolScript(result=[]))})
        store, model = MemoryStore(), OneByOne()
        ids = ["v1_a", "v1_b", "v1_c"]
        for id in ids:
            await store.create(msgspec.structs.replace(record, id=id, tools=None), "in_progress", cut_after(frames, 2))
            for _ in range(crashes):
                await store.claim(id)
        async with engine(model, store=store) as on:
            async with asyncio.timeout(5):
                assert await asyncio.gather(*map(on.work, ids)) == [None, None, None]
            assert [(await on.archive.get("p", id)).status for id in ids] == ["completed"] * 3
            assert model.most == most

    run_async(body)


def test_a_run_whose_model_is_gone_ends_failed() -> None:
    async def body() -> None:
        record, frames = await whole_log({"google_search": ScriptedTool("google_search", ToolScript(result=[]))})
        store = MemoryStore()
        await store.create(msgspec.structs.replace(record, target="gone"), "in_progress", cut_after(frames, 3))
        async with engine(store=store) as on:
            await on.recover()
            made = await on.archive.get("p", record.id)
            assert made.status == "failed" and made.error is not None and made.error.code == "model_not_found"

    run_async(body)


def test_a_server_that_stops_leaves_its_background_runs_to_the_next_one() -> None:
    async def body() -> None:
        store = MemoryStore()
        stalls = script(turns=[{"text": "a b", "fault": {"kind": "stall", "after": 1}}])
        async with engine(stalls, store=store) as on:
            run = await on.create("p", request(background=True))
        stored = await store.get("p", run.record.id)
        assert stored is not None and stored.status == "in_progress"
        async with engine(script(turns=[{"text": "done"}]), store=store) as on:
            await on.recover()
            await read(await on.archive.follow("p", run.record.id))
            assert text_of(await on.archive.get("p", run.record.id)) == "done"

    run_async(body)


def test_who_comes_while_an_interaction_is_being_kept_follows_it_to_its_end() -> None:
    class Slow(MemoryStore):
        """One that has it before whoever asked for it knows."""

        def __init__(self) -> None:
            super().__init__()
            self.kept, self.told = asyncio.Event(), asyncio.Event()

        async def create(self, *given: Any, **more: Any) -> None:
            await super().create(*given, **more)
            self.kept.set()
            await self.told.wait()

    async def body() -> None:
        store = Slow()
        async with engine(store=store) as on:
            first = asyncio.create_task(on.create("p", request(background=True), id="v1_once"))
            await store.kept.wait()
            with pytest.raises(wire.AlreadyExists):
                await on.create("p", request(background=True), id="v1_once")
            follower = asyncio.create_task(on.archive.follow("p", "v1_once"))
            await asyncio.sleep(0)
            store.told.set()
            run = await first
            events = await read(await follower)
            assert isinstance(events[-1][1], wire.InteractionCompleted)
            await ended(run)

    run_async(body)
