"""Stages of an agent: done once, within a budget, and not given up for a fault that passes."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from antiphon import wire
from antiphon.agents.research_state import FAST
from antiphon.agents.stages import RESEARCH, WRITING, Stages
from antiphon.ports import Answer, Question, Stage

QUESTION = Question(parts=(wire.TextContent(text="?"),))


class Table:
    """The part of a desk that stages need: what is done, how long it took, and a model that answers from a list."""

    def __init__(self, answers: Sequence[Any] = (), done: Sequence[Stage] = ()) -> None:
        self.answers = list(answers)
        self.stages = list(done)
        self.told: list[str] = []
        self.tokens = 0
        self.past = 0.0

    def seconds(self) -> float:
        return self.past

    async def done(self, name: str, result: str, summary: str) -> None:
        self.stages.append(Stage(name, result, 0.0))
        self.told.append(summary)

    async def ask(self, question: Question) -> Answer:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        return Answer(answer)


def over(table: Table, **budget: Any) -> Stages:
    desk: Any = table
    return Stages(desk, msgspec.structs.replace(FAST, **budget))


async def number() -> int:
    return 7


def test_a_stage_is_done_once_and_then_read() -> None:
    async def body() -> None:
        table = Table(done=[Stage("old", "[1, 2]", 0.0)])
        stages = over(table)

        async def never() -> list[int]:
            raise AssertionError("it is done")

        assert await stages.once("old", list[int], never) == [1, 2]
        assert await stages.once("new", int, number, "{} found".format) == 7
        assert await stages.once("new", int, number) == 7
        assert table.told == ["7 found"] and stages.known("new") and not stages.known("other")

    asyncio.run(body())


def test_a_fault_that_passes_is_tried_again_and_others_are_not() -> None:
    async def body() -> None:
        busy = wire.RateLimited("Later.", retry_after=0.001)
        silent, wrong = wire.DeadlineExceeded("Silence."), wire.InvalidRequest("No.")
        table = Table([busy, busy, '{"a": 1}', *[busy] * 5, wrong, silent, '{"a": 2}'])
        stages = over(table)
        assert await stages.ask(QUESTION) == {"a": 1}
        with pytest.raises(wire.RateLimited):
            await stages.ask(QUESTION)
        with pytest.raises(wire.InvalidRequest):
            await stages.ask(QUESTION)
        assert not stages.slow
        assert await stages.ask(QUESTION) == {} and stages.slow, "a model that is silent has no answer"
        assert len(table.answers) == 1

    asyncio.run(body())


def test_nothing_is_asked_when_its_share_of_the_budget_is_used_up() -> None:
    async def body() -> None:
        table = Table(['{"a": 1}'])
        stages = over(table, seconds=100, tokens=1000)
        table.past = 61
        assert stages.spent(RESEARCH) and stages.stopped == "time" and not stages.spent(WRITING)
        assert await stages.ask(QUESTION) == {}
        assert await stages.ask(QUESTION, WRITING) == {"a": 1}
        table.past, table.tokens = 0, 900
        assert stages.spent(WRITING) and stages.stopped == "tokens"

    asyncio.run(body())


def test_a_model_that_is_silent_past_its_share_is_not_waited_for() -> None:
    async def body() -> None:
        stages = over(Table([None]), seconds=0.05)
        assert await stages.ask(QUESTION) == {} and stages.stopped == "time"

    asyncio.run(body())


def test_what_is_not_done_when_its_share_is_used_up_is_ended() -> None:
    async def body() -> None:
        stages = over(Table(), seconds=0.1)
        ended: list[str] = []

        async def endless() -> int:
            try:
                return await asyncio.Event().wait() and 1
            finally:
                ended.append("endless")

        assert await stages.within([number(), endless()]) == [7, None]
        assert ended == ["endless"] and stages.stopped == "time"
        assert await stages.within([]) == []

    asyncio.run(body())


def test_a_fault_of_one_ends_the_others() -> None:
    async def body() -> None:
        async def faulty() -> int:
            raise wire.Unavailable("No.")

        with pytest.raises(wire.Unavailable):
            await over(Table()).within([number(), faulty()])

    asyncio.run(body())
