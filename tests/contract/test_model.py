"""What every back-end promises, whoever is behind it: the scripted double, a real OpenAI-compatible server, real weights."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from antiphon import schemas, weights, wire
from antiphon.models.llamacpp import LlamaCpp
from antiphon.models.llamacpp_process import Config
from antiphon.models.openai_chat import OpenAIChat
from antiphon.models.scripted import Scripted
from antiphon.ports import Call, Delta, Finish, Model, Text, ToolChoice, Turn

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "enum": ["Ann", "Bob"]}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
FUNCTION = wire.Function(name="save_person", description="Save a person.", parameters=PERSON)
Make = Callable[[], Model]


@pytest.fixture(scope="module")
def upstream() -> Iterator[tuple[str, str]]:
    """A real OpenAI-compatible server, llama.cpp's own: its URL and its key."""
    key = secrets.token_urlsafe(8)
    config = Config(
        path=str(weights.fetch(weights.TEST_MODEL)),
        api_key=key,
        parent=os.getpid(),
        context=2048,
        slots=1,
        threads=2,
        cache_mib=64,
        repeatable=True,
    )
    command = [sys.executable, "-m", "antiphon.models.llamacpp_process"]
    quiet = os.environ | {"OMP_WAIT_POLICY": "passive"}  # threads that spin would fight for the cores with the tests
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=quiet
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(msgspec.json.encode(config) + b"\n")
        child.stdin.flush()
        yield msgspec.json.decode(child.stdout.readline())["address"], key


@pytest.fixture(
    params=[
        "scripted",
        pytest.param("openai_chat", marks=pytest.mark.model),
        pytest.param("llamacpp", marks=pytest.mark.model),
    ]
)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes the back-end, inside the loop that will use it."""
    if request.param == "scripted":
        return Scripted
    if request.param == "openai_chat":
        url, key = request.getfixturevalue("upstream")
        return lambda: OpenAIChat(url, "default", key, server="llama-server")
    path = weights.fetch(weights.TEST_MODEL)
    return lambda: LlamaCpp(path, context=2048, slots=1, repeatable=True)


def ask(make: Make, text: str = "Say hello.", **fields: Any) -> list[Delta]:
    said = wire.UserInputStep(content=[wire.TextContent(text=text)])
    turn = Turn(model="m", steps=[said], conversation="c", **({"max_output_tokens": 40, "temperature": 0.0} | fields))

    async def inside() -> list[Delta]:
        model = make()
        try:
            async with asyncio.timeout(120):
                return [delta async for delta in model.stream(turn)]
        finally:
            await model.aclose()

    return asyncio.run(inside())


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


def finish_of(deltas: list[Delta]) -> Finish:
    last = deltas[-1]
    assert isinstance(last, Finish)
    return last


@pytest.mark.parametrize("followed", [True, False])
def test_an_answer_is_text_that_ends_with_its_finish(make: Make, followed: bool) -> None:
    deltas = ask(make, followed=followed)
    assert text_of(deltas)
    finish = finish_of(deltas)
    assert not any(isinstance(delta, Finish) for delta in deltas[:-1])
    assert finish.tokens.input > 0 and finish.tokens.output > 0


def test_an_answer_longer_than_its_limit_says_so(make: Make) -> None:
    finish = finish_of(ask(make, "Count from one to one hundred in words.", max_output_tokens=3))
    assert finish.reason == "length" and finish.tokens.output <= 3


def test_an_answer_stops_before_a_stop_sequence(make: Make) -> None:
    deltas = ask(make, "Repeat: alpha beta gamma.", stop_sequences=("a",))
    assert "a" not in text_of(deltas) and finish_of(deltas).reason == "stop"


def test_an_answer_fits_the_schema_asked_for(make: Make) -> None:
    deltas = ask(make, "Describe Ann, who is 30.", schema=PERSON, max_output_tokens=200)
    assert schemas.violation(msgspec.json.decode(text_of(deltas)), PERSON) is None


def test_a_call_that_must_be_is_made_and_fits_its_function(make: Make) -> None:
    deltas = ask(make, "Save Bob, 41.", functions=(FUNCTION,), tool_choice=ToolChoice("any"), max_output_tokens=200)
    calls = [delta for delta in deltas if isinstance(delta, Call)]
    assert calls and calls[0].name == "save_person" and calls[0].index == 0
    arguments = "".join(call.arguments for call in calls if call.index == 0)
    assert schemas.violation(msgspec.json.decode(arguments), PERSON) is None


def test_no_call_is_made_where_none_may_be(make: Make) -> None:
    deltas = ask(make, "Save Bob, 41.", functions=(FUNCTION,), tool_choice=ToolChoice("none"))
    assert not any(isinstance(delta, Call) for delta in deltas)


def test_the_same_seed_gives_the_same_answer_where_that_is_wanted(make: Make) -> None:
    first, second = (text_of(ask(make, "Tell me a story.", seed=7, temperature=0.9)) for _ in range(2))
    assert first == second
