"""The embedded model, with real weights in its real process."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon import weights, wire
from antiphon.models.llamacpp import LlamaCpp
from antiphon.ports import Call, Delta, Finish, Text, ToolChoice, Turn

pytestmark = pytest.mark.model

TINY, SMALL = "smollm2-135m", "qwen2.5-coder-1.5b"
WEATHER = wire.Function(
    name="get_weather",
    description="Get the current weather in a city.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["city"],
    },
)


@asynccontextmanager
async def model(name: str = TINY, **options: Any) -> AsyncIterator[LlamaCpp]:
    made = LlamaCpp(weights.fetch(name), **{"context": 2048, "slots": 2, **options})
    try:
        yield made
    finally:
        await made.aclose()


def turn(*steps: wire.Step | str, **options: Any) -> Turn:
    said = [wire.UserInputStep(content=step) if isinstance(step, str) else step for step in steps]
    return Turn(model="m", steps=said, conversation="c", **{"temperature": 0.0, **options})


async def ask(made: LlamaCpp, asked: Turn) -> tuple[str, list[Call], Finish]:
    deltas: list[Delta] = [delta async for delta in made.stream(asked)]
    assert isinstance(deltas[-1], Finish)
    text = "".join(delta.text for delta in deltas if isinstance(delta, Text))
    return text, [delta for delta in deltas if isinstance(delta, Call)], deltas[-1]


def output(text: str) -> wire.ModelOutputStep:
    return wire.ModelOutputStep(content=[wire.TextContent(text=text)])


def test_it_answers_streamed_and_whole_alike() -> None:
    async def scenario() -> None:
        async with model() as made:
            text, _, finish = await ask(made, turn("Say hello.", max_output_tokens=60))
            whole, _, _ = await ask(made, turn("Say hello.", max_output_tokens=60, followed=False))
            assert text == whole != ""
            assert finish.tokens.input > 10
            assert finish.tokens.output > 2

    asyncio.run(scenario())


def test_the_second_turn_reads_only_what_is_new() -> None:
    async def scenario() -> None:
        async with model() as made:
            question = "Tell me about the sea. " * 20
            text, _, first = await ask(made, turn(question, max_output_tokens=40))
            _, _, second = await ask(made, turn(question, output(text), "And the sky?", max_output_tokens=5))
            # All of the first prompt and of its answer, but for the answer's last token or two.
            assert second.tokens.cached >= first.tokens.input + first.tokens.output - 2

    asyncio.run(scenario())


def test_conversations_that_take_turns_keep_what_was_read_of_each() -> None:
    async def scenario() -> None:
        async with model(slots=2) as made:
            questions = [f"My name is {name}. " * 30 for name in ("Ada", "Bob", "Cleo", "Dora")]
            answers = [await ask(made, turn(question, max_output_tokens=8)) for question in questions]
            for question, (text, _, first) in zip(questions, answers, strict=True):
                _, _, second = await ask(made, turn(question, output(text), "Who am I?", max_output_tokens=4))
                assert second.tokens.cached >= first.tokens.input

    asyncio.run(scenario())


def test_a_schema_holds_the_answer() -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }

    async def scenario() -> None:
        async with model() as made:
            text, _, finish = await ask(made, turn("Invent a person.", schema=schema, max_output_tokens=120))
            assert finish.reason == "stop"
            assert {type(value) for value in json.loads(text).values()} == {str, int}
            # Free in what it writes, so tiny a model may not come to an end; that it is an object is settled at once.
            some, _, _ = await ask(made, turn("Invent a person.", json_object=True, max_output_tokens=20))
            assert some.startswith("{")

    asyncio.run(scenario())


def test_a_call_can_be_forced_even_from_a_model_that_knows_nothing_of_calls() -> None:
    async def scenario() -> None:
        async with model() as made:
            forced = turn(
                "Weather in Paris?", functions=(WEATHER,), tool_choice=ToolChoice("any"), max_output_tokens=100
            )
            text, calls, _ = await ask(made, forced)
            assert text == ""
            assert {call.name for call in calls} == {"get_weather"}
            assert all("city" in json.loads(call.arguments) for call in calls)

    asyncio.run(scenario())


def test_it_stops_at_a_stop_sequence_and_at_its_limit() -> None:
    async def scenario() -> None:
        async with model() as made:
            asked = "Count from one to ten, in digits: 1, 2, 3,"
            whole, _, long = await ask(made, turn(asked, max_output_tokens=6))
            assert long.reason == "length"
            assert long.tokens.output == 6
            stop = whole[3:6]
            short, _, finish = await ask(made, turn(asked, max_output_tokens=30, stop_sequences=(stop,)))
            assert finish.reason == "stop"
            assert short == whole[: whole.index(stop)]

    asyncio.run(scenario())


def test_the_same_seed_gives_the_same_answer() -> None:
    async def scenario() -> None:
        async with model() as made:
            asked = [turn("Invent a word.", temperature=1.5, seed=seed, max_output_tokens=20) for seed in (7, 7, 8)]
            one, two, three = [(await ask(made, each))[0] for each in asked]
            assert one == two != three

    asyncio.run(scenario())


def test_a_conversation_that_is_too_long_is_refused_with_its_length() -> None:
    async def scenario() -> None:
        async with model(context=512, slots=1) as made:
            with pytest.raises(wire.InvalidRequest, match=r"is \d{4} tokens long, and the model reads at most 512"):
                await ask(made, turn("word " * 2000))

    asyncio.run(scenario())


def test_a_process_that_dies_fails_its_requests_clearly_and_comes_back() -> None:
    async def scenario() -> None:
        async with model() as made:
            await made.start()
            answer = made.stream(turn("Tell me a long story.", max_output_tokens=1500))
            await anext(answer)
            killed = made.pid
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            with pytest.raises(wire.Unavailable, match=r"ended \(signal 9 SIGKILL\); it is being started again"):
                async for _ in answer:
                    pass
            text, _, _ = await ask(made, turn("Say hello.", max_output_tokens=5))
            assert text
            assert made.pid != killed

    asyncio.run(scenario())


def test_a_file_that_is_no_model_is_given_up_with_the_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF, but not really")

    async def scenario() -> None:
        made = LlamaCpp(broken)
        with pytest.raises(wire.Unavailable, match="3 times in a row"):
            await made.start()
        with pytest.raises(wire.Unavailable, match="3 times in a row"):
            await ask(made, turn("Hi"))
        await made.aclose()

    asyncio.run(scenario())


def test_the_process_is_gone_when_the_model_is_closed() -> None:
    async def scenario() -> None:
        async with model() as made:
            await made.start()
            pid = made.pid
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(scenario())


def test_the_process_dies_with_its_parent() -> None:
    program = f"""
import asyncio
from antiphon.models.llamacpp import LlamaCpp

async def main():
    made = LlamaCpp({str(weights.fetch(TINY))!r}, context=512, slots=1)
    await made.start()
    print(made.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    gone, _, _ = select.select([child], [], [], 10)
    os.close(child)
    assert gone


def test_a_start_that_is_given_up_leaves_nobody_waiting() -> None:
    async def scenario() -> None:
        made = LlamaCpp(weights.fetch(TINY))
        waiting = asyncio.create_task(made.start())
        await asyncio.sleep(0)  # let it begin
        await made.aclose()
        with pytest.raises(wire.Unavailable, match="closed"):
            await waiting

    asyncio.run(scenario())


def test_a_small_model_calls_functions_by_itself_and_reads_their_results() -> None:
    async def scenario() -> None:
        async with model(SMALL) as made:
            asked = "What's the weather like in Lisbon right now?"
            text, calls, first = await ask(made, turn(asked, functions=(WEATHER,), max_output_tokens=100))
            assert text == ""
            assert [call.name for call in calls] == ["get_weather"]
            arguments = json.loads(calls[0].arguments)
            assert arguments["city"].startswith("Lisbon")
            called = wire.FunctionCallStep(id="1", name="get_weather", arguments=arguments)
            result = wire.FunctionResultStep(call_id="1", result={"degrees": 31, "sky": "thunderstorm"})
            text, calls, second = await ask(
                made, turn(asked, called, result, functions=(WEATHER,), max_output_tokens=100)
            )
            assert calls == []
            assert "31" in text or "thunder" in text
            assert second.tokens.cached >= first.tokens.input
            plain, calls, _ = await ask(made, turn("What is 17 plus 25?", functions=(WEATHER,), max_output_tokens=60))
            assert calls == []
            assert "42" in plain

    asyncio.run(scenario())
