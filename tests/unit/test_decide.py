"""decide, as a table."""

import pytest

from antiphon import wire
from antiphon.decide import CallModel, Done, RunTools, decide

CUT = wire.Status(code=14, message="cut short")
SAID = wire.ModelOutputStep(content=[wire.TextContent(text="hello")])
THOUGHT = wire.ThoughtStep(signature="c2ln")
CALL = wire.FunctionCallStep(id="f1", name="f", arguments={})
SEARCH = wire.GoogleSearchCallStep(id="s1")
FOUND = wire.GoogleSearchResultStep(call_id="s1")

TABLE = {
    "nothing yet": ([], CallModel()),
    "an answer": ([SAID], Done("completed")),
    "a thought and an answer": ([THOUGHT, SAID], Done("completed")),
    "an answer that was cut short": ([wire.ModelOutputStep(error=CUT)], CallModel()),
    "a thought that was cut short": ([wire.ThoughtStep(error=CUT)], CallModel()),
    "a call of the caller's function": ([CALL], Done("requires_action")),
    "words and a call": ([SAID, CALL], Done("requires_action")),
    "a call that was cut short": ([wire.FunctionCallStep(id="f1", name="f", arguments={}, error=CUT)], CallModel()),
    "a call of a server tool": ([SEARCH], RunTools((SEARCH,))),
    "a server tool's call and the caller's: the server's first": ([SEARCH, CALL], RunTools((SEARCH,))),
    "both, the server's answered": ([SEARCH, CALL, FOUND], Done("requires_action")),
    "a server tool's result": ([SEARCH, FOUND], CallModel()),
    "a result that was cut short": (
        [SEARCH, wire.GoogleSearchResultStep(call_id="s1", error=CUT)],
        RunTools((SEARCH,)),
    ),
    "an answer after a result": ([SEARCH, FOUND, SAID], Done("completed")),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_comes_next_after(case: str) -> None:
    steps, expected = TABLE[case]
    assert decide(steps) == expected


def test_a_token_limit_ends_it_as_incomplete() -> None:
    assert decide([SAID], cut=True) == Done("incomplete")


def test_a_model_that_never_stops_calling_is_stopped() -> None:
    calls = [step for n in range(3) for step in (
        wire.GoogleSearchCallStep(id=f"s{n}"), wire.GoogleSearchResultStep(call_id=f"s{n}"))]  # fmt: skip
    assert wire.TooManyToolCalls.status < 500, "official clients send anew what answers 5xx: all the rounds"
    with pytest.raises(wire.TooManyToolCalls):
        decide([*calls, wire.GoogleSearchCallStep(id="again")], rounds=3)
