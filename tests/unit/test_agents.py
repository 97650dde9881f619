"""What the engine gives an agent to work with: stages that stand in the log, questions, tools, and pieces of output."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from antiphon import log, wire
from antiphon.bus.local import LocalBus
from antiphon.desk import stages
from antiphon.engine import Engine
from antiphon.models.scripted import Script, Scripted
from antiphon.ports import Desk, Digest, Medium, Question, Segment, Wanted
from antiphon.processing import Processing
from antiphon.stores.memory import MemoryStore
from antiphon.tools.scripted import ScriptedTool, ToolScript

KEY = b"k" * 32
AGENT = "deep-research-preview-04-2026"


class Resolved(msgspec.Struct):
    """An agent's name, answered by the model `m`."""

    served_as: str
    target: str = "m"
    substituted_for: str | None = None


class Clerk:
    """Asks, searches and writes, a stage each; notes what it did itself, and what it found done."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def check(self, request: wire.CreateInteraction, steps: Sequence[wire.Step]) -> None:
        if not request.background:
            raise wire.InvalidRequest("background=true is required for agent interactions.")

    def tools(self, request: wire.CreateInteraction) -> Sequence[wire.Tool]:
        return [wire.GoogleSearch(), wire.UrlContext()]

    async def run(self, desk: Desk) -> wire.InteractionStatus:
        done = {stage.name for stage in desk.stages}
        if "asked" not in done:
            self.did.append("ask")
            part = wire.TextContent(text="Which words?")
            answer = await desk.ask(Question(instructions="Be short.", parts=(part,)))
            await desk.done("asked", msgspec.json.encode(answer.text).decode(), "**Asking**")
        if "searched" not in done:
            self.did.append("search")
            outcome = await desk.use("google_search", {"queries": ["words"]})
            await desk.done("searched", msgspec.json.encode(outcome.reading).decode(), "**Searching**")
        if desk.written == 0:
            self.did.append("write")
            cited = wire.UrlCitation(url="https://example.org/", start_index=0, end_index=5)
            await desk.write("Words. ", [cited])
        if desk.written == 1:
            self.did.append("show")
            await desk.show([wire.ImageContent(data="AAAA", mime_type="image/png")])
        return "completed"


def engine(store: MemoryStore, agent: Clerk, **more: Any) -> Engine:
    search = ScriptedTool("google_search", ToolScript(result=[{"title": "Words", "url": "https://example.org/"}]))
    return Engine(
        store=store,
        bus=LocalBus(),
        models={"m": Scripted(msgspec.convert({"turns": [{"text": "These words."}]}, Script))},
        resolve=lambda name: Resolved(name.removeprefix("models/")),
        key=KEY,
        tools={"google_search": search},
        agents={AGENT: agent},
        **more,
    )


def request(**fields: Any) -> wire.CreateInteraction:
    return msgspec.convert({"agent": AGENT, "input": "hi", "background": True} | fields, wire.CreateInteraction)


def run_async(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(body())  # type: ignore[arg-type]


async def whole(on: Engine, **fields: Any) -> tuple[Any, wire.Interaction, bytes]:
    run = await on.create("p", request(**fields))
    async with asyncio.timeout(5):
        await asyncio.wait([run.task])
    stored = await on.store.get("p", run.record.id)
    assert stored is not None
    return run, await on.archive.get("p", run.record.id), stored.frames


def test_an_agents_work_is_thoughts_and_output_and_its_tools_are_not_seen() -> None:
    async def body() -> None:
        on = engine(MemoryStore(), Clerk())
        config = {"type": "deep-research", "thinking_summaries": "auto"}
        run, made, frames = await whole(on, agent_config=config)
        assert (made.status, made.agent, made.model) == ("completed", AGENT, None)
        kinds = [str(step.__struct_config__.tag) for step in made.steps or ()]
        assert kinds == ["user_input", "thought", "thought", "model_output", "model_output"]
        thoughts = [step for step in made.steps or () if isinstance(step, wire.ThoughtStep)]
        assert [thought.summary[0].text for thought in thoughts if thought.summary] == ["**Asking**", "**Searching**"]
        assert msgspec.structs.astuple(stages(made.steps or (), KEY)[0])[:2] == ("asked", '"These words."')
        assert made.usage is not None and (made.usage.total_output_tokens or 0) > 0
        assert run.record.tools == [wire.GoogleSearch()], "of the agent's own tools those that can be had"
        created = next(event for _, event in log.decode(frames))
        assert isinstance(created, wire.InteractionCreated) and created.interaction.agent == AGENT
        await on.aclose()

    run_async(body)


def test_without_summaries_a_thought_has_its_seal_alone() -> None:
    async def body() -> None:
        on = engine(MemoryStore(), Clerk())
        _, made, _ = await whole(on)
        thoughts = [step for step in made.steps or () if isinstance(step, wire.ThoughtStep)]
        assert len(thoughts) == 2 and not any(thought.summary for thought in thoughts)
        assert all(thought.signature for thought in thoughts)
        await on.aclose()

    run_async(body)


def test_an_agent_cut_short_at_any_event_goes_on_from_the_last_stage_that_is_done() -> None:
    async def body() -> None:
        first = engine(MemoryStore(), Clerk())
        run, _, frames = await whole(first)
        await first.aclose()
        pieces = log.split(frames)
        for number in range(len(pieces)):
            store, clerk = MemoryStore(), Clerk()
            kept = b"".join(pieces[:number])
            await store.create(run.record, "in_progress", Segment(1, number, kept) if number else None)
            done = log.fold(log.decode(kept)).steps
            on = engine(store, clerk)
            assert await on.recover() == 1
            async with asyncio.timeout(5):
                entries = b"".join([piece async for piece in await on.archive.follow("p", run.record.id)])
            state = log.fold(log.decode(entries.removesuffix(log.DONE)))
            assert state.status == "completed"
            thoughts = sum(isinstance(step, wire.ThoughtStep) for step in done)
            outputs = sum(isinstance(step, wire.ModelOutputStep) for step in done)
            assert clerk.did == [*["ask", "search"][thoughts:], *["write", "show"][outputs:]]
            texts = [step for step in state.steps if isinstance(step, wire.ModelOutputStep) and step.error is None]
            assert len(texts) == 2
            await on.aclose()

    run_async(body)


def test_a_later_turn_by_a_model_reads_the_report_and_a_client_may_replay_it() -> None:
    async def body() -> None:
        on = engine(MemoryStore(), Clerk())
        _, made, _ = await whole(on)
        later = await on.create(
            "p",
            msgspec.convert(
                {"model": "m", "input": "more", "previous_interaction_id": made.id}, wire.CreateInteraction
            ),
        )
        said = [step for step in later.turn.steps if isinstance(step, wire.ModelOutputStep)]
        assert said[0].content and said[0].content[0].text == "Words. "  # type: ignore[union-attr]
        replayed = [*(made.steps or ()), wire.UserInputStep(content=[wire.TextContent(text="more")])]
        await on.prepare("p", wire.CreateInteraction(model="m", input=replayed))
        await on.aclose()

    run_async(body)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"background": False}, wire.InvalidRequest, "background=true"),
        ({"agent": "nobody"}, wire.NotFound, AGENT),
        ({"agent": None, "model": AGENT}, wire.InvalidRequest, "ask for it with 'agent'"),
        ({"agent": None, "model": f"models/{AGENT}"}, wire.InvalidRequest, "ask for it with 'agent'"),
        ({"agent": None, "model": "m", "agent_config": {"type": "deep-research"}}, wire.InvalidRequest, "agent_config"),
        ({"generation_config": {"seed": 1}}, wire.InvalidRequest, "generation_config"),
        ({"tools": [{"type": "url_context"}]}, wire.InvalidRequest, "tools[0]"),
    ],
)
def test_what_an_agent_cannot_do_is_refused(fields: dict[str, Any], error: type[wire.ApiError], words: str) -> None:
    async def body() -> None:
        on = engine(MemoryStore(), Clerk())
        with pytest.raises(error) as refused:
            await on.create("p", request(**fields))
        assert words in refused.value.message
        await on.aclose()

    run_async(body)


def test_an_agent_that_is_no_longer_served_ends_its_interaction_failed() -> None:
    async def body() -> None:
        first = engine(MemoryStore(), Clerk())
        run, _, _ = await whole(first)
        await first.aclose()
        store = MemoryStore()
        await store.create(run.record, "in_progress")
        on = engine(store, Clerk())
        on._agents.clear()
        await on.recover()
        made = await on.archive.get("p", run.record.id)
        assert made.status == "failed" and made.error is not None and AGENT in (made.error.message or "")
        await on.aclose()

    run_async(body)


class Hasty(Clerk):
    """Asks two things at the same time, and fails over the first."""

    async def run(self, desk: Desk) -> wire.InteractionStatus:
        slow = Question(parts=(wire.TextContent(text="slow"),))
        async with asyncio.timeout(5):
            asked = asyncio.create_task(desk.ask(slow))
            while not desk.record.background or not getattr(desk, "_working"):  # noqa: ASYNC110, B009 - until it is asked
                await asyncio.sleep(0)
            self.left = asked
            raise wire.Internal("The first has failed.")


def test_what_an_agent_left_running_ends_with_it_and_is_counted() -> None:
    async def body() -> None:
        clerk = Hasty()
        on = engine(MemoryStore(), clerk)
        on.models["m"] = Scripted(  # type: ignore[index]
            msgspec.convert({"turns": [{"text": "a b c", "fault": {"kind": "stall", "after": 1}}]}, Script)
        )
        _, made, _ = await whole(on)
        assert made.status == "failed" and clerk.left.cancelled()
        assert made.usage is not None and (made.usage.total_tokens or 0) > 0, "it has cost something"
        await on.aclose()

    run_async(body)


class Reader(Clerk):
    """Puts what came with the question before the model."""

    async def run(self, desk: Desk) -> wire.InteractionStatus:
        parts = [part for step in desk.steps if isinstance(step, wire.UserInputStep) for part in step.content or ()]
        answer = await desk.ask(Question(parts=tuple(parts)))  # type: ignore[arg-type]
        await desk.write(answer.text)
        return "completed"


class Writes:
    """A digester: whatever it is given says `swordfish`."""

    async def __call__(self, medium: Medium, wanted: Wanted) -> Digest:
        return Digest(parts=(wire.TextContent(text="[document] swordfish"),))

    async def aclose(self) -> None:
        pass


def test_an_agents_model_reads_the_documents_that_came_with_the_question() -> None:
    async def body() -> None:
        processing = Processing({"document": Writes()})
        on = engine(MemoryStore(), Reader(), processing=processing)
        script = {"modalities": ["text"], "turns": [{"when": "swordfish", "text": "I see a fish."}]}
        on.models["m"] = Scripted(msgspec.convert(script, Script))  # type: ignore[index]
        paper = {"type": "document", "data": "AAAA", "mime_type": "application/pdf"}
        run = await on.create("p", request(input=[paper]))
        assert run.task is not None
        await asyncio.wait([run.task])
        await on.aclose()
        kinds = [str(step.__struct_config__.tag) for step in run.state.steps]
        assert kinds == ["processing_call", "processing_result", "model_output"]
        assert run.state.steps[-1].content == [wire.TextContent(text="I see a fish.")]  # type: ignore[union-attr]

    asyncio.run(body())


@pytest.mark.parametrize("cut", [None, 6, 8, 10])
def test_what_an_agent_searched_for_is_counted_wherever_a_crash_cuts_it_short(cut: int | None) -> None:
    async def body() -> None:
        store = MemoryStore()
        on = engine(store, Clerk())
        run = await on.create("p", request())
        assert run.task is not None
        await asyncio.wait([run.task])
        await on.aclose()
        if cut is not None:
            whole = await store.get("p", run.record.id)
            assert whole is not None
            store = MemoryStore()
            frames = b"".join(log.split(whole.frames)[:cut])
            await store.create(whole.record, "in_progress", Segment(1, cut, frames))
            on = engine(store, Clerk())
            await on.recover()
            await asyncio.gather(*(live.task for live in on._live.values() if live.task is not None))
            await on.aclose()
        made = await store.get("p", run.record.id)
        assert made is not None
        usage = log.fold(log.decode(made.frames)).interaction.usage  # type: ignore[union-attr]
        assert usage is not None and usage.grounding_tool_count is not None
        assert [(one.type, one.count) for one in usage.grounding_tool_count] == [("google_search", 1)]

    asyncio.run(body())
