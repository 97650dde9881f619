"""What an agent works at: one run, the engine's models and tools, and what is done so far.

A stage is a thought step: clients see its summary where they ask for summaries, and its signature seals what came of it,
as the service's signatures hold what it thought. So what an agent has found out stands in the log, goes with an export,
and is there for the attempt that goes on after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from antiphon import signature, wire
from antiphon.perform import Performer
from antiphon.ports import Answer, Outcome, Question, Record, Stage, Store, Text, Tokens, Turn
from antiphon.resource import usage
from antiphon.run import Run, Said
from antiphon.watchers import Watchers

MOST = 64_000  # characters of one result of a tool: the agent itself chooses what of it the model reads


class RunDesk:
    """A run as an agent sees it."""

    def __init__(
        self,
        run: Run,
        performer: Performer,
        store: Store,
        watchers: Watchers,
        key: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._run = run
        self._performer = performer
        self._store = store
        self._watchers = watchers
        self._key = key
        self._clock = clock
        self._stages = stages(run.state.steps, key)
        self._working: set[asyncio.Task[Any]] = set()
        self._closed = False
        config = run.record.request.agent_config
        self._summaries = getattr(config, "thinking_summaries", None) == "auto"

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Whoever does something here is known, so that it ends with the run."""
        if self._closed:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None
        self._working.add(task)
        try:
            yield
        finally:
            self._working.discard(task)

    async def aclose(self) -> None:
        """The agent has ended: nothing more is done here, and what others still do in its name ends."""
        self._closed = True
        others = self._working - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    @property
    def record(self) -> Record:
        """What was asked for."""
        return self._run.record

    @property
    def steps(self) -> Sequence[wire.Step]:
        """The conversation up to this request's input, with it."""
        return self._run.turn.steps

    @property
    def stages(self) -> Sequence[Stage]:
        """What is done."""
        return self._stages

    @property
    def written(self) -> int:
        """How many pieces of output are done."""
        return sum(isinstance(step, wire.ModelOutputStep) and step.error is None for step in self._run.state.steps)

    @property
    def tokens(self) -> int:
        """How many tokens were used."""
        used = self._run.usage
        return used.input + used.output + used.thought

    @property
    def room(self) -> int:
        """How many characters the model can be given to read at one time."""
        return self._performer.room(self._run)

    def seconds(self) -> float:
        """How long ago the interaction began."""
        return self._clock() - self._run.record.created

    def offers(self, type: str) -> bool:
        """Whether a tool of this type can be used."""
        return any(tool.__struct_config__.tag == type for tool in self._run.record.tools or ())

    async def functions(self) -> Mapping[str, Sequence[wire.Function]]:
        """What the tools can be used for, by their types."""
        tools = self._run.tools
        if tools is None:
            return {}
        self._run.turn = await tools.open(self._run.record, self._run.turn, MOST)
        return tools.functions()

    async def done(self, name: str, result: str, summary: str) -> None:
        """Record a stage."""
        run, store, index = self._run, self._store, len(self._run.state.steps)
        stage = Stage(name, result, self._clock())
        sealed = signature.seal(self._key, msgspec.json.encode(stage).decode(), signature.STAGE)
        await run.append(store, wire.StepStart(index=index, step=wire.ThoughtStep()), hold=True)
        if self._summaries and summary:
            told = wire.ThoughtSummaryDelta(content=wire.TextContent(text=summary))
            await run.append(store, wire.StepDelta(index=index, delta=told), hold=True)
        await run.append(
            store, wire.StepDelta(index=index, delta=wire.ThoughtSignatureDelta(signature=sealed)), hold=True
        )
        # What is done is known to be: its stop is written with it, and with what has been used so far.
        await run.append(store, wire.StepStop(index=index, usage=usage(run.usage)))
        self._stages.append(stage)

    async def ask(self, question: Question) -> Answer:
        """Ask the model. Raises ApiError."""
        run = self._run
        turn = Turn(
            model=run.turn.model,
            steps=[wire.UserInputStep(content=list(question.parts))],
            conversation=f"{run.record.id} {question.instructions[:40]}",
            followed=True,  # piece by piece: a silence is then one between pieces, not the time of a whole answer
            system_instruction=question.instructions or None,
            schema=question.schema,
            max_output_tokens=question.most,
            temperature=question.temperature,
            seed=question.seed,
            digests=run.readings.digests,
        )
        pieces: list[str] = []

        async def take(delta: Said) -> None:
            if isinstance(delta, Text):
                pieces.append(delta.text)

        with self._at_work():
            finish = await self._performer.listen(run, turn, take, self._count)
        return Answer("".join(pieces), finish.reason == "length")

    def _count(self, tokens: Tokens) -> None:
        """Each question is one of its own: what they took is added up."""
        used = self._run.usage
        self._run.usage = Tokens(*(getattr(used, field) + getattr(tokens, field) for field in Tokens.__struct_fields__))

    async def use(self, name: str, arguments: Mapping[str, Any], *, about: str = "") -> Outcome:
        """Use a function of a tool."""
        run = self._run
        assert run.tools is not None
        run.turn = await run.tools.open(run.record, run.turn, MOST)
        with self._at_work(), self._watchers.around(run.record, "execute_tool", run.tools.type_of(name)) as told:
            asked = [*self.steps, wire.UserInputStep(content=[wire.TextContent(text=about)])] if about else ()
            outcome = await run.tools.use(name, arguments, asked)
            if run.tools.type_of(name) == "google_search":
                searched = run.usage.searched + len(arguments.get("queries") or ())
                run.usage = msgspec.structs.replace(run.usage, searched=searched)
            told["error"] = "error" if getattr(outcome.step, "is_error", None) else None
        return outcome

    async def write(self, text: str, annotations: Sequence[wire.Annotation] = ()) -> None:
        """Write a piece of the output, as one step."""
        run, store, index = self._run, self._store, len(self._run.state.steps)
        await run.append(store, wire.StepStart(index=index, step=wire.ModelOutputStep()), hold=True)
        await run.append(store, wire.StepDelta(index=index, delta=wire.TextDelta(text=text)), hold=True)
        if annotations:
            cited = wire.TextAnnotationDelta(annotations=list(annotations))
            await run.append(store, wire.StepDelta(index=index, delta=cited), hold=True)
        await run.append(store, wire.StepStop(index=index, usage=usage(run.usage)))

    async def show(self, figures: Sequence[wire.ImageContent]) -> None:
        """Write pictures into the output, as one step."""
        await self._performer.show(self._run, figures, hold=False)


def stages(steps: Sequence[wire.Step], key: bytes) -> list[Stage]:
    """The stages that stand in an interaction's steps."""
    found = []
    for step in steps:
        if isinstance(step, wire.ThoughtStep) and step.error is None and step.signature:
            try:
                found.append(msgspec.json.decode(signature.unseal(key, step.signature, signature.STAGE), type=Stage))
            except (ValueError, msgspec.MsgspecError):
                continue  # the thought of a model
    return found
