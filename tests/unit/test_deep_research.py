"""Deep Research over a real engine: from a question to a report whose sentences all have sources that were fetched."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from antiphon import log, wire
from antiphon.agents.deep_research import DeepResearch, exhaustive, fast
from antiphon.agents.research_state import EXHAUSTIVE, FAST, PARTS, Looked, hashed
from antiphon.bus.local import LocalBus
from antiphon.desk import stages
from antiphon.engine import Engine
from antiphon.models.scripted import Script, Scripted
from antiphon.ports import Agent, Outcome, Passage, Segment, Session, Tool, Use
from antiphon.stores.memory import MemoryStore
from antiphon.tools.scripted import ScriptedTool, ToolScript

KEY = b"k" * 32
NAME = "deep-research-preview-04-2026"
QUESTION = "How many days after Python 2.0 did Python 3.0 come? End with a line that begins with 'Answer:'."
TWO = Passage(
    "Python 2.0 was released on 16 October 2000. It introduced list comprehensions and a garbage collector.",
    wire.UrlCitation(url="https://example.org/two", title="Python 2.0"),
)
THREE = Passage(
    "Python 3.0 was released on 3 December 2008. It is not backward-compatible. Größe is “a valid identifier”.",
    wire.UrlCitation(url="https://example.org/three", title="Python 3.0"),
)


def turn(when: str, **says: Any) -> dict[str, Any]:
    return {"when": when, "text": json.dumps(says)}


PLAN = turn(
    "Split the research question",
    title="Python releases",
    parts=[
        {"question": "When was Python 2.0 released?", "queries": ["Python 2.0 release"]},
        {"question": "When was Python 3.0 released?", "queries": ["Python 3.0 release"]},
    ],
)
TURNS = [
    PLAN,
    turn(
        "Write down what the sources say .*Python 2",
        notes=[
            {"source": 1, "fact": "Python 2.0 was released on 16 October 2000."},
            {"source": 1, "fact": "Python 2.0 was released in 1999."},
            {"source": 1, "fact": "Python 2.0 introduced list comprehensions."},
            {"source": 1, "fact": "Python 2.0 introduced a garbage collector."},
        ],
    ),
    turn(
        "Write down what the sources say .*Python 3",
        notes=[
            {"source": 1, "fact": "Python 3.0 was released on 3 December 2008."},
            {"source": 1, "fact": "Python 3.0 is not backward-compatible."},
        ],
    ),
    turn("something still missing", missing=[{"question": "When was Python 3.0 released?", "queries": ["again"]}]),
    turn(
        "Must something be calculated",
        calculations=[{"about": "days between", "expression": "date(2008, 12, 3) - date(2000, 10, 16)"}],
    ),
    turn(
        "Answer the research question directly",
        sentences=[
            {"text": "Python 3.0 came 2970 days after Python 2.0 [1].", "sources": [1, 2]},
            {"text": "Python 2.0 was released on 16 October 2000.", "sources": [2]},
        ],
        closing="Answer: 2970",
    ),
    turn("Arrange the notes", sections=[{"title": "Two", "notes": [1, 2, 3]}, {"title": "Three", "notes": [4, 5]}]),
    turn(
        "Write the section “Two”",
        sentences=[
            {"form": "run", "text": 'Python 2.0 introduced "list comprehensions".', "sources": [1]},
            {"form": "item", "text": "It was “the most popular language” of 2001.", "sources": [1]},
            {
                "form": "item",
                "text": "Python 2.0 has been “fondly remembered” for its garbage collector.",
                "sources": [1],
            },
        ],
    ),
    turn(
        "Write the section “Three”",
        sentences=[
            {"form": "run", "text": "Größe is “a valid identifier” in Python 3.0.", "sources": [2]},
            {"form": "paragraph", "text": "Python 3.0 was released on 3 December 2008.", "sources": [1]},
        ],
    ),
    turn("Does the source state", supported="yes"),
    turn("This sentence says something that the source does not", sentence=""),
]


class Resolved(msgspec.Struct):
    """An agent's name, answered by the model `m`."""

    served_as: str
    target: str = "m"
    substituted_for: str | None = None


class Tracker:
    """An MCP server's tool that knows of releases; it is its own session."""

    type = "mcp_server"
    rerunnable = True
    instructions = ""
    functions = (wire.Function(name="releases", description="Releases of a program.", parameters={"type": "object"}),)

    async def check(self, declared: wire.Tool, project: str, path: str) -> None:
        return

    async def open(self, use: Use) -> Session:
        return self

    def call(self, id: str, name: str, arguments: Mapping[str, Any]) -> wire.ToolCallStep:
        return wire.McpServerToolCallStep(id=id, name=name, server_name="Release Tracker", arguments=dict(arguments))

    def owns(self, call: wire.ToolCallStep) -> bool:
        return True

    async def run(self, call: wire.ToolCallStep) -> Outcome:
        assert isinstance(call, wire.McpServerToolCallStep) and call.arguments == {"of": "Python"}
        step = wire.McpServerToolResultStep(
            call_id=call.id, name=call.name, server_name=call.server_name, result=THREE.text
        )
        return Outcome(step=step)

    async def aclose(self) -> None:
        return


def engine(
    store: MemoryStore | None = None,
    agent: Agent | None = None,
    turns: Sequence[dict[str, Any]] = TURNS,
    tools: Sequence[str] = ("google_search", "url_context"),
    passages: tuple[Passage, ...] = (TWO, THREE),
    delay: float = 0,
    others: Sequence[Tool] = (),
    model: type[Scripted] = Scripted,
    **script: Any,
) -> Engine:
    found = ToolScript(result=[], passages=passages, **script)
    return Engine(
        store=store or MemoryStore(),
        bus=LocalBus(),
        models={"m": model(msgspec.convert({"turns": turns, "delay": delay}, Script))},
        resolve=Resolved,
        key=KEY,
        tools={type: ScriptedTool(type, found) for type in tools} | {other.type: other for other in others},
        agents={NAME: agent or fast()},
    )


def request(input: Any = QUESTION, **fields: Any) -> wire.CreateInteraction:
    asked = {"agent": NAME, "input": input, "background": True} | fields
    return msgspec.convert(asked, wire.CreateInteraction)


def run_async(body: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await body()

    asyncio.run(limited())


async def made(on: Engine, input: Any = QUESTION, **fields: Any) -> wire.Interaction:
    run = await on.create("p", request(input, **fields))
    assert run.task is not None
    await asyncio.wait([run.task])
    return await on.archive.get("p", run.record.id)


def outputs(interaction: wire.Interaction) -> list[wire.TextContent]:
    """The texts of a report, in order."""
    steps = [step for step in interaction.steps or () if isinstance(step, wire.ModelOutputStep) and step.error is None]
    return [part for step in steps for part in step.content or () if isinstance(part, wire.TextContent)]


def report(interaction: wire.Interaction) -> str:
    assert interaction.status == "completed", interaction.error
    return "".join(part.text for part in outputs(interaction))


def cited(interaction: wire.Interaction) -> list[tuple[str, str | None]]:
    """What is cited, and where it stands."""
    return [
        (part.text.encode()[note.start_index or 0 : note.end_index].decode(), note.url)
        for part in outputs(interaction)
        for note in part.annotations or ()
        if isinstance(note, wire.UrlCitation)
    ]


REPORT = """# Python releases

Python 3.0 came 2970 days after Python 2.0. [1][2] Python 2.0 was released on 16 October 2000. [1] 2008-12-03 - \
2000-10-16 = 2970 days. [1][2]

## Two

Python 2.0 introduced "list comprehensions". [1]

- Python 2.0 has been fondly remembered for its garbage collector. [1]

## Three

Größe is “a valid identifier” in Python 3.0. [2]

Python 3.0 was released on 3 December 2008. [2]

Answer: 2970

**Sources**

1. [Python 2.0](https://example.org/two)
2. [Python 3.0](https://example.org/three)
"""


def test_a_question_becomes_a_report_whose_sentences_have_their_sources() -> None:
    """What no source says is left out, a quotation that stands nowhere loses its marks, a wrong number is put right."""

    async def body() -> None:
        on = engine()
        done = await made(on)
        assert report(done) == REPORT
        two, three = "https://example.org/two", "https://example.org/three"
        assert cited(done) == [
            ("Python 3.0 came 2970 days after Python 2.0.", two),
            ("Python 3.0 came 2970 days after Python 2.0.", three),
            ("Python 2.0 was released on 16 October 2000.", two),
            ("2008-12-03 - 2000-10-16 = 2970 days.", two),
            ("2008-12-03 - 2000-10-16 = 2970 days.", three),
            ('Python 2.0 introduced "list comprehensions".', two),
            ("Python 2.0 has been fondly remembered for its garbage collector.", two),
            ("Größe is “a valid identifier” in Python 3.0.", three),
            ("Python 3.0 was released on 3 December 2008.", three),
        ]
        await on.aclose()

    run_async(body)


def test_what_was_read_stands_in_the_log_with_its_time_and_hash() -> None:
    async def body() -> None:
        on = engine()
        done = {stage.name: stage for stage in stages((await made(on)).steps or (), KEY)}
        looked = msgspec.json.decode(done["round 1 part 1 search"].result, type=Looked)
        assert looked.asked == ("Python 2.0 release", "When was Python 2.0 released?")
        assert [(read.place, read.status) for read in looked.read] == [
            ("https://example.org/two", "success"),
            ("https://example.org/three", "success"),
        ]
        assert looked.read[0].sha256 == hashed(TWO.text) and looked.read[0].at > 1.7e9
        assert "1999" not in done["round 1 part 1 notes"].result, "a number that the passage lacks"
        assert json.loads(done["round 2"].result) == {"leads": []}, "what was asked before is not asked again"
        dropped = json.loads(done["section 1"].result)["dropped"]
        assert [gone["text"] for gone in dropped] == ["It was the most popular language of 2001."]
        await on.aclose()

    run_async(body)


def test_summaries_tell_what_is_done_while_it_is_done() -> None:
    async def body() -> None:
        on = engine()
        config = {"type": "deep-research", "thinking_summaries": "auto"}
        done = await made(on, agent_config=config)
        thoughts = [step for step in done.steps or () if isinstance(step, wire.ThoughtStep)]
        told = [part.text for step in thoughts for part in step.summary or () if isinstance(part, wire.TextContent)]
        assert told[0] == (
            "***Generating research plan***\n\n1. When was Python 2.0 released?\n2. When was Python 3.0 released?\n\n"
        )
        titles = [text.split("***")[1] for text in told]
        assert titles[1:3] == ["Searching", "Searching"] and titles[-1] == "Checking citations"
        assert all(not step.summary for step in (await made(on)).steps or () if isinstance(step, wire.ThoughtStep))
        await on.aclose()

    run_async(body)


def test_cut_short_at_any_event_it_goes_on_and_the_report_is_the_same() -> None:
    async def body() -> None:
        first = engine()
        run = await first.create("p", request())
        assert run.task is not None
        await asyncio.wait([run.task])
        stored = await first.store.get("p", run.record.id)
        assert stored is not None
        await first.aclose()
        pieces = log.split(stored.frames)
        for number in range(0, len(pieces), 3):
            store = MemoryStore()
            kept = b"".join(pieces[:number])
            await store.create(run.record, "in_progress", Segment(1, number, kept) if number else None)
            on = engine(store)
            assert await on.recover() == 1
            _ = [piece async for piece in await on.archive.follow("p", run.record.id)]
            assert report(await on.archive.get("p", run.record.id)) == REPORT, number
            await on.aclose()

    run_async(body)


def test_when_the_time_is_up_the_report_is_what_was_found_by_then() -> None:
    async def body() -> None:
        hurried = DeepResearch(msgspec.structs.replace(FAST, tokens=1))
        on = engine(agent=hurried)
        text = report(await made(on, "When was Python 3.0 released?"))
        assert "Nothing was found that answers this." in text
        await on.aclose()

    run_async(body)


def test_a_model_that_says_nothing_of_use_leaves_the_passages_to_speak() -> None:
    async def body() -> None:
        on = engine(turns=[{"when": ".", "text": "I am a small model."}])
        done = await made(on, "When was Python 3.0 released?")
        assert "Python 3.0 was released on 3 December 2008. [1]" in report(done)
        assert {url for _, url in cited(done)} <= {"https://example.org/two", "https://example.org/three"}
        await on.aclose()

    run_async(body)


def test_the_exhaustive_one_asks_the_model_of_every_sentence() -> None:
    async def body() -> None:
        refusing = [turn("Does the source state", supported="no"), *TURNS]
        on = engine(agent=exhaustive(), turns=refusing)
        text = report(await made(on))
        assert "Größe" not in text and "fondly" not in text
        assert "list comprehensions. [2]" in text, "a note, in the words of its source"
        await on.aclose()

    run_async(body)


def test_when_it_may_ask_no_more_words_alone_decide() -> None:
    async def body() -> None:
        on = engine(agent=DeepResearch(msgspec.structs.replace(EXHAUSTIVE, doubts=0, rewrites=0)))
        text = report(await made(on))
        assert 'Python 2.0 introduced "list comprehensions". [1]' in text and "fondly" not in text
        await on.aclose()

    run_async(body)


def test_a_calculation_that_the_answer_does_not_use_is_not_shown() -> None:
    async def body() -> None:
        sentences = [{"text": "Python 2.0 was released on 16 October 2000.", "sources": [1]}]
        on = engine(turns=[turn("Answer the research question directly", sentences=sentences, closing=""), *TURNS])
        text = report(await made(on))
        assert "Python 2.0 was released on 16 October 2000. [1]\n\n## Two" in text and "2970" not in text
        await on.aclose()

    run_async(body)


@pytest.mark.parametrize(("verdict", "kept"), [("yes", True), ("no", False)])
def test_a_note_in_doubt_stands_if_the_model_finds_it_in_its_source(verdict: str, kept: bool) -> None:
    async def body() -> None:
        facts = ["Python 2.0 was released on 16 October 2000.", "Python 2.0 appeared one autumn day."]
        noted = turn(
            "Write down what the sources say .*Python 2", notes=[{"source": 1, "fact": fact} for fact in facts]
        )
        on = engine(turns=[turn("Does the source state", supported=verdict), noted, *TURNS])
        found = {stage.name: stage.result for stage in stages((await made(on)).steps or (), KEY)}
        assert facts[0] in found["round 1 part 1 notes"] and (facts[1] in found["round 1 part 1 notes"]) is kept
        await on.aclose()

    run_async(body)


def test_half_a_character_on_a_page_ends_nothing() -> None:
    async def body() -> None:
        odd = Passage(f"{THREE.text} \ud800", wire.UrlCitation(url="https://example.org/o", title="\udfff"))
        on = engine(passages=(odd,))
        assert "3 December 2008" in report(await made(on, "When was Python 3.0 released?"))
        await on.aclose()

    run_async(body)


def test_a_report_that_holds_nothing_says_so() -> None:
    async def body() -> None:
        noted = [turn("Write down what the sources say", notes=[{"source": 1, "fact": "Elves wrote Python."}])]
        on = engine(turns=[*noted, turn("Does the source state", supported=None), *TURNS[3:4], PLAN])
        text = report(await made(on))
        assert "Elves" not in text and "Nothing was found that answers this." in text
        await on.aclose()

    run_async(body)


def test_nothing_to_be_found_is_said_and_a_search_that_fails_fails() -> None:
    async def body() -> None:
        empty = engine(passages=())
        text = report(await made(empty))
        assert text.startswith("# Python releases\n\n**Not found**\n\n- When was Python 2.0 released?")
        assert "Nothing was found that answers this." in text and "Sources" not in text
        await empty.aclose()
        broken = engine(passages=(), is_error=True, reading="The search is down.")
        failed = await made(broken)
        assert failed.status == "failed" and failed.error is not None
        assert "The search is down." in (failed.error.message or "")
        await broken.aclose()
        nowhere = engine(tools=("url_context",))
        lost = await made(nowhere)
        assert lost.error is not None and "nowhere to look things up" in (lost.error.message or "")
        assert lost.error.code == "failed_precondition"
        assert "3 December 2008" in report(
            await made(nowhere, "When was Python 3.0 released? See https://example.org/three.")
        )
        await nowhere.aclose()

    run_async(body)


def test_a_plan_is_made_changed_and_approved() -> None:
    async def body() -> None:
        changed = turn(
            "Change the plan",
            title="Python 3",
            parts=[{"question": "When was Python 3.0 released?", "queries": ["p3"]}],
        )
        on = engine(turns=[changed, *TURNS])
        planning = {"type": "deep-research", "collaborative_planning": True}
        plan = await made(on, agent_config=planning)
        assert report(plan) == (
            "# Research plan: Python releases\n\n1. When was Python 2.0 released?\n2. When was Python 3.0 released?\n\n"
            "*Say what to change, or approve the plan to have the research done.*\n"
        )
        refined = await made(on, "Leave out part 1.", agent_config=planning, previous_interaction_id=plan.id)
        assert report(refined).startswith("# Research plan: Python 3\n\n1. When was Python 3.0 released?\n\n*")
        done = await made(on, "Plan looks good!", previous_interaction_id=refined.id)
        assert report(done).startswith("# Python 3\n\n")
        assert "released on 3 December 2008. [" in report(done)
        await on.aclose()

    run_async(body)


@pytest.mark.parametrize(
    ("verdict", "title"), [("no", "Python releases"), ("yes", "Python 3"), (None, "Python releases")]
)
def test_a_reply_in_other_words_changes_the_plan_only_if_the_model_says_so(verdict: str | None, title: str) -> None:
    async def body() -> None:
        parts = [{"question": "When was Python 3.0 released?", "queries": ["p3"]}]
        changed = turn("Change the plan", title="Python 3", parts=parts)
        on = engine(turns=[turn("(?s)Näyttää.*Does the user's reply ask", change=verdict), changed, *TURNS])
        plan = await made(on, agent_config={"type": "deep-research", "collaborative_planning": True})
        done = await made(on, "Näyttää hyvältä", previous_interaction_id=plan.id)
        assert report(done).startswith(f"# {title}\n\n")
        await on.aclose()

    run_async(body)


def test_a_planned_follow_up_is_understood_from_what_was_said() -> None:
    async def body() -> None:
        question = "When was Python 3.0, the successor of 2.0, released?"
        on = engine(turns=[turn("The user now says: And its successor?", question=question), *TURNS])
        planning = {"type": "deep-research", "collaborative_planning": True}
        first = await made(on)
        plan = await made(on, "And its successor?", previous_interaction_id=first.id, agent_config=planning)
        done = await made(on, "ok", previous_interaction_id=plan.id)
        for one in (plan, done):
            found = {stage.name: stage.result for stage in stages(one.steps or (), KEY)}
            assert json.loads(found["question"]) == question
        await on.aclose()

    run_async(body)


def test_a_follow_up_is_understood_from_what_was_said() -> None:
    async def body() -> None:
        asked = turn(
            "The user now says: And its successor?", question="When was Python 3.0, the successor of 2.0, released?"
        )
        on = engine(turns=[asked, *TURNS])
        first = await made(on)
        done = await made(on, "And its successor?", previous_interaction_id=first.id)
        found = {stage.name: stage.result for stage in stages(done.steps or (), KEY)}
        assert json.loads(found["question"]) == "When was Python 3.0, the successor of 2.0, released?"
        assert "3 December 2008" in report(done)
        await on.aclose()

    run_async(body)


CHART = turn(
    "worth a chart",
    charts=[
        {
            "title": "When Python was released",
            "kind": "bar",
            "unit": "year",
            "points": [
                {"label": "Python 2.0", "value": 2000, "source": 1},
                {"label": "Python 3.0", "value": 2008, "source": 2},
                {"label": "Python 4.0", "value": 2020, "source": 2},
            ],
        }
    ],
)


def test_figures_are_drawn_by_the_sandbox_or_stand_in_a_table() -> None:
    async def body() -> None:
        on = engine(turns=[CHART, *TURNS], tools=("google_search", "url_context", "code_execution"), figures=("AAAA",))
        done = await made(on)
        kinds = [
            str(part.__struct_config__.tag)
            for step in done.steps or ()
            if isinstance(step, wire.ModelOutputStep)
            for part in step.content or ()
        ]
        assert kinds == ["text", "text", "text", "image", "text", "text"]
        assert ("When Python was released", "https://example.org/two") in cited(done)
        off = await made(on, agent_config={"type": "deep-research", "visualization": "off"})
        assert report(off) == REPORT
        await on.aclose()
        undrawn = engine(turns=[CHART, *TURNS], tools=("google_search", "url_context", "code_execution"))
        assert (
            "**When Python was released** [1][2]\n\n| | year |\n|---|--:|\n| Python 2.0 | 2000 |\n| Python 3.0 | 2008 |\n"
            in report(await made(undrawn))
        )
        await undrawn.aclose()

    run_async(body)


class SmallRoom(Scripted):
    """A scripted model that is given little to read at one time."""

    room = 4000


def test_a_small_model_thinks_aloud_over_single_sentences() -> None:
    async def body() -> None:
        aloud = turn(
            "'thinking': in one to three short sentences.*",
            thinking="Python 2.0 was released on 16 October 2000. It is 2008-12-03 - 2000-10-16 = 2900 days.",
            answer="2900 days",
        )
        again = {"question": "How many days after Python 2.0 did Python 3.0 come?", "queries": ["days"]}
        parts = json.loads(PLAN["text"])["parts"]
        plan = turn("Split the research question", title="Python releases", parts=[*parts, again])
        on = engine(turns=[plan, aloud, *TURNS], model=SmallRoom)
        done = await made(on)
        text = report(done)
        assert "Answer: 2970 days" in text, "the server's own arithmetic"
        assert "2008-12-03 - 2000-10-16 = 2970 days. [1][2]" in text
        assert "Python 2.0 was released on 16 October 2000. [1]" in text
        planned = json.loads({stage.name: stage.result for stage in stages(done.steps or (), KEY)}["plan"])
        assert len(planned["leads"]) == 2, "the question itself is no part of it"
        await on.aclose()

    run_async(body)


@pytest.mark.parametrize("model", [Scripted, SmallRoom])
@pytest.mark.parametrize("part", PARTS)
def test_it_finds_something_without_any_one_of_its_parts(part: str, model: type[Scripted]) -> None:
    async def body() -> None:
        on = engine(agent=DeepResearch(FAST, (part,)), model=model)
        done = await made(on)
        assert "3 December 2008" in report(done) and cited(done)
        await on.aclose()

    run_async(body)


def test_a_slow_model_is_asked_less() -> None:
    async def body() -> None:
        hurried = DeepResearch(msgspec.structs.replace(FAST, seconds=5))
        on = engine(agent=hurried, delay=0.2)
        assert "## " not in report(await made(on)), "no question for an outline"
        await on.aclose()

    run_async(body)


def test_pictures_are_looked_at_once_and_go_with_the_question() -> None:
    async def body() -> None:
        seen = {"when": "what the attached material shows", "text": "A snake wound around the number 3."}
        planned = {**PLAN, "when": "Split"}
        on = engine(turns=[seen, planned, *TURNS])
        picture = {"type": "image", "data": "AAAA", "mime_type": "image/png"}
        done = await made(on, [{"type": "text", "text": "When was this released?"}, picture])
        found = {stage.name: stage.result for stage in stages(done.steps or (), KEY)}
        assert json.loads(found["material"]) == "A snake wound around the number 3."
        assert "3 December 2008" in report(done)
        await on.aclose()

    run_async(body)


def test_documents_of_stores_are_cited_as_files() -> None:
    async def body() -> None:
        page = wire.FileCitation(file_name="python.pdf", document_uri="stores/s/documents/d", page_number=7)
        on = engine(tools=("file_search",), passages=(Passage(THREE.text, page),))
        stores = [{"type": "file_search", "file_search_store_names": ["stores/s"]}]
        done = await made(on, "When was Python 3.0 released?", tools=stores)
        notes = [note for part in outputs(done) for note in part.annotations or ()]
        assert notes and all(isinstance(note, wire.FileCitation) and note.page_number == 7 for note in notes)
        assert report(done).endswith("1. python.pdf (stores/s/documents/d#page=7)\n")
        await on.aclose()

    run_async(body)


def test_tools_of_other_servers_are_called_and_cited() -> None:
    async def body() -> None:
        calls = [{"name": "releases", "arguments": {"of": "Python"}}, {"name": "rm", "arguments": {}}]
        on = engine(turns=[turn("Call the tools that can help", calls=calls), *TURNS], others=(Tracker(),))
        server = {"type": "mcp_server", "name": "Release Tracker", "url": "https://releases.example/mcp"}
        done = await made(on, "When was Python 3.0 released?", tools=[server])
        assert "Python 3.0 was released on 3 December 2008. [1]" in report(done)
        assert "1. [Release Tracker: releases](https://releases.example/mcp)" in report(done)
        await on.aclose()

    run_async(body)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"background": False}, "background=true is required"),
        ({"system_instruction": "Be short."}, "Please include any specific instructions in the input prompt instead."),
        ({"generation_config": {"temperature": 0}}, "'generation_config'"),
        ({"response_format": {"type": "object"}}, "'response_format' is not supported"),
        ({"response_mime_type": "application/json"}, "'response_mime_type' is not supported"),
        ({"tools": [{"type": "google_search"}, {"type": "function", "name": "f"}]}, "'function' at 'tools[1]'"),
        ({"tools": [{"type": "code_execution"}]}, "needs something to look up"),
        ({"agent_config": {"type": "antigravity"}}, "'antigravity' is not supported for 'agent_config.type'"),
        ({"agent_config": {"type": "deep-research", "enable_bigquery_tool": True}}, "enable_bigquery_tool"),
        ({"input": [{"type": "audio", "data": "AAAA", "mime_type": "audio/wav"}]}, "'audio' is not supported"),
        (
            {"input": [{"type": "text", "text": "a"}, {"type": "video", "uri": "https://x/y"}]},
            "'video' is not supported",
        ),
        ({"input": " "}, "Missing input"),
    ],
)
def test_what_it_cannot_do_is_refused_with_its_place(fields: dict[str, Any], words: str) -> None:
    async def body() -> None:
        on = engine()
        with pytest.raises(wire.InvalidRequest) as refused:
            await on.create("p", request(**fields))
        assert words in refused.value.message
        await on.aclose()

    run_async(body)
