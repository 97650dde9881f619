"""Work in stages: each is done once, however often a run is begun again, and all of them within one budget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import msgspec

from antiphon import wire
from antiphon.agents.research_answers import read
from antiphon.agents.research_state import Budget
from antiphon.ports import Answer, Desk, Question

T = TypeVar("T")

RESEARCH = 0.6  # the share of the budget after which nothing more is looked up
WRITING = 0.85  # after which nothing more is written by the model
CHECKING = 0.97  # after which it is not asked at all
_AT_ONCE = 8  # questions to the model
_TRIES = 5  # over a minute and a half: hours of work are not given up for less
_PACE = 8  # questions whose time counts
_QUESTIONS = 120  # that a model at ease can be asked within the budget
_TRANSIENT = (wire.Unavailable, wire.RateLimited)


class Stages:
    """A desk, with what was done there and how much is left of the budget."""

    def __init__(self, desk: Desk, budget: Budget) -> None:
        self.desk = desk
        self.budget = budget
        self._done = {stage.name: stage.result for stage in desk.stages}
        self._recording = asyncio.Lock()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self.stopped = ""
        self._asked: list[float] = []  # how long questions took, in seconds

    @property
    def pace(self) -> float:
        """How long a question takes at present, in seconds; 0 before the first."""
        latest = self._asked[-_PACE:]
        return sum(latest) / len(latest) if latest else 0.0

    @property
    def slow(self) -> bool:
        """Whether the model takes so long that what can be done without is not asked, and one thing after the other."""
        return self.pace > self.budget.seconds / _QUESTIONS

    def known(self, name: str) -> bool:
        """Whether a stage is done."""
        return name in self._done

    async def once(
        self, name: str, kind: type[T], work: Callable[[], Awaitable[T]], told: Callable[[T], str] = lambda _: ""
    ) -> T:
        """What came of a stage: as the log has it, or else of `work`, which is then recorded. `told` is its summary."""
        if name in self._done:
            return msgspec.json.decode(self._done[name], type=kind)
        found = await work()
        result = msgspec.json.encode(found).decode()
        async with self._recording:  # one after the other, since each is a step of its own
            await self.desk.done(name, result, told(found))
        self._done[name] = result
        return found

    # ------------------------------------------------------------------ budget

    def spent(self, share: float = RESEARCH) -> bool:
        """Whether so much of the time or of the tokens is used up."""
        if self.desk.seconds() >= share * self.budget.seconds:
            self.stopped = "time"
        elif self.desk.tokens >= share * self.budget.tokens:
            self.stopped = "tokens"
        else:
            return False
        return True

    async def within(self, works: Iterable[Coroutine[Any, Any, T]], until: float = RESEARCH) -> list[T | None]:
        """What came of works that are done side by side; None of those that were not done when `until` came."""
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            if tasks:
                left = until * self.budget.seconds - self.desk.seconds()
                await asyncio.wait(tasks, timeout=max(left, 0.0), return_when=asyncio.FIRST_EXCEPTION)
        finally:
            late = [task for task in tasks if not task.done()]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if failed := next((task for task in tasks if task.done() and not task.cancelled() and task.exception()), None):
            failed.result()
        if late:
            self.stopped = "time"
        return [None if task.cancelled() else task.result() for task in tasks]

    async def ask(self, question: Question, until: float = RESEARCH) -> dict[str, Any]:
        """The object that the model answers with; {} where `until`, a share of the budget, comes first."""
        answer = await self.hear(question, until)
        return read(answer) if answer is not None else {}

    async def hear(self, question: Question, until: float = RESEARCH) -> Answer | None:
        """The model's answer; None where `until` comes first, or the model is silent for longer than the server waits.

        What passes by itself is tried again. Raises ApiError.
        """
        if self.spent(until):
            return None
        try:
            async with asyncio.timeout(until * self.budget.seconds - self.desk.seconds()), self._places:
                return await self._try(question)
        except TimeoutError:
            self.stopped = "time"
        except wire.DeadlineExceeded:
            self._asked.append(self.budget.seconds)
        return None

    async def _try(self, question: Question) -> Answer:
        for attempt in range(_TRIES):
            began = asyncio.get_running_loop().time()
            try:
                answer = await self.desk.ask(question)
                self._asked.append(asyncio.get_running_loop().time() - began)
                return answer
            except _TRANSIENT as error:
                if attempt == _TRIES - 1:
                    raise
                await asyncio.sleep(min(error.retry_after or 2.0 * 4**attempt, 60.0))
        raise AssertionError("the last try returns or raises")
