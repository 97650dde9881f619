"""What the engine asks of an agent, and what it gives it to work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from antiphon import wire
from antiphon.ports.stores import Record
from antiphon.ports.tools import Outcome


class Stage(msgspec.Struct, frozen=True):
    """A piece of an agent's work that is done: its name, what came of it as JSON, and when (seconds since 1970)."""

    name: str
    result: str
    at: float


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One bounded question to the model. Questions with the same `instructions` and `shared` have a prefix in common.

    `parts` are the prompt's pieces, in order: text, or pictures and documents for a model that can read them. With
    `schema` the answer is JSON of that shape. `most` is how many tokens it may have.
    """

    instructions: str = ""
    parts: tuple[wire.Content, ...]
    schema: Mapping[str, Any] | None = None
    most: int = 1024
    temperature: float | None = None
    seed: int | None = None


class Answer(msgspec.Struct, frozen=True):
    """What the model said; `cut` where it said as much as it might and had not ended."""

    text: str
    cut: bool = False


class Desk(Protocol):
    """One interaction in the hands of an agent.

    What the agent does between two stages may be done again, after a crash; what a stage has recorded is not: its result
    stands in the log. Pieces of the report are recorded by being written.
    """

    @property
    def record(self) -> Record:
        """What was asked for."""
        ...

    @property
    def steps(self) -> Sequence[wire.Step]:
        """The conversation up to this request's input, with it."""
        ...

    @property
    def stages(self) -> Sequence[Stage]:
        """What is done, by this attempt or an earlier one, in order."""
        ...

    @property
    def written(self) -> int:
        """How many pieces of output are done."""
        ...

    @property
    def tokens(self) -> int:
        """How many tokens were used, by this attempt and the earlier ones."""
        ...

    @property
    def room(self) -> int:
        """How many characters the model can be given to read at one time, with space left for its answer."""
        ...

    def seconds(self) -> float:
        """How long ago the interaction began."""
        ...

    def offers(self, type: str) -> bool:
        """Whether a tool of this type, as the request spells it, can be used."""
        ...

    async def functions(self) -> Mapping[str, Sequence[wire.Function]]:
        """What the tools can be used for, by the types of the tools."""
        ...

    async def done(self, name: str, result: str, summary: str) -> None:
        """Record a stage: `result` is JSON, `summary` what a client that asked for summaries is told (Markdown)."""
        ...

    async def ask(self, question: Question) -> Answer:
        """Ask the model. Several may be asked at the same time. Raises ApiError."""
        ...

    async def use(self, name: str, arguments: Mapping[str, Any], *, about: str = "") -> Outcome:
        """Use a function of a tool, by its name. What goes wrong is an outcome whose step has `is_error`.

        Nothing is written of it. With `about` it is used by itself, with these words as what the user wants to know.
        """
        ...

    async def write(self, text: str, annotations: Sequence[wire.Annotation] = ()) -> None:
        """Write a piece of the output, as one step; the annotations' indices are bytes of `text`."""
        ...

    async def show(self, figures: Sequence[wire.ImageContent]) -> None:
        """Write pictures into the output, as one step."""
        ...


class Agent(Protocol):
    """Answers an interaction in its own way. It keeps nothing of it: all that is known stands at the desk."""

    def check(self, request: wire.CreateInteraction, steps: Sequence[wire.Step]) -> None:
        """Refuse what it cannot do; `steps` is the input. Raises ApiError with the place of the fault."""
        ...

    def tools(self, request: wire.CreateInteraction) -> Sequence[wire.Tool]:
        """What it works with where it can be had; what the request names must be there."""
        ...

    async def run(self, desk: Desk) -> wire.InteractionStatus:
        """Do the work, from where `desk.stages` ends. An ApiError ends the interaction as failed."""
        ...
