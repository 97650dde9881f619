"""What the engine asks of a model: a turn goes in, deltas come out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from antiphon import wire


class ToolChoice(msgspec.Struct, frozen=True):
    """Which functions the model may or must call: `mode` is the API's word, `names` an allowed subset or None for all."""

    mode: Literal["auto", "any", "none", "validated"] = "auto"
    names: tuple[str, ...] | None = None


class Asked(msgspec.Struct, frozen=True):
    """A call of a server's tool as the model wrote it: the function's name and the JSON text of its arguments."""

    name: str
    arguments: str


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a model: everything a back-end may know.

    `steps` is the whole conversation, oldest first, this request's input included. `conversation` is the same string for
    every turn of one chain, so that a back-end can keep a cache for it. `followed` is False when nobody reads the
    answer as it is written; a back-end may then fetch it in one piece. `schema` asks for JSON of that shape,
    `json_object` for any JSON object. `calls` and `readings` say, by call id, how the model is to see the calls and the
    results of the server's own tools, `media` what such results show beside; where they are silent, a step is shown as
    it is. `digests` says, by `media_key`, what stands in the place of media that the model cannot read. The answer is text
    where `text` says so, and is spoken or drawn where `audio` or `image` give the format; `voices` are the speakers, and
    `transcription` how speech is to be written down.
    """

    model: str
    steps: Sequence[wire.Step]
    conversation: str
    followed: bool = True
    system_instruction: str | None = None
    functions: tuple[wire.Function, ...] = ()
    calls: Mapping[str, Asked] = {}
    readings: Mapping[str, str] = {}
    media: Mapping[str, Sequence[wire.Media]] = {}
    digests: Mapping[str, Sequence[wire.Content]] = {}
    tool_choice: ToolChoice = ToolChoice()
    schema: Mapping[str, Any] | None = None
    json_object: bool = False
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_output_tokens: int | None = None
    stop_sequences: tuple[str, ...] = ()
    thinking_level: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None
    text: bool = True
    audio: wire.AudioFormat | None = None
    image: wire.ImageFormat | None = None
    voices: tuple[wire.SpeechConfig, ...] = ()
    transcription: wire.TranscriptionConfig | None = None


class Text(msgspec.Struct, frozen=True):
    """A piece of the answer's text."""

    text: str


class Made(msgspec.Struct, frozen=True):
    """A picture that the model made, or a piece of sound: what follows on one another is one sound (see `Speak`)."""

    content: wire.ImageContent | wire.AudioContent


class Noted(msgspec.Struct, frozen=True):
    """What is to be known of the text said just now: the times of its words, say."""

    annotations: tuple[wire.Annotation, ...]


class Thought(msgspec.Struct, frozen=True):
    """A piece of the model's own reasoning."""

    text: str


class Call(msgspec.Struct, frozen=True):
    """A piece of a function call: a new `index` begins a new call and then has its `name`; `arguments` is JSON text."""

    index: int
    name: str = ""
    arguments: str = ""


class Tokens(msgspec.Struct, frozen=True):
    """What was used, in tokens. `input` counts cached ones too; `thought` is not part of `output`.

    `media` is how many of the input were no text, by kind; `made` the same of the output. `searched` is how many queries an
    agent sent to google_search, which stand in no step.
    """

    input: int = 0
    output: int = 0
    thought: int = 0
    cached: int = 0
    tool_use: int = 0
    media: tuple[tuple[str, int], ...] = ()
    made: tuple[tuple[str, int], ...] = ()
    searched: int = 0

    def then(self, call: Tokens) -> Tokens:
        """The counts of an interaction after one more model call.

        What the model has read before is counted once. A later call reads all of it again and, new, what the tools
        gave: that is tool use.
        """
        if not self.input:
            return call
        known = self.input + self.tool_use + self.output + self.thought
        return Tokens(
            self.input,
            self.output + call.output,
            self.thought + call.thought,
            self.cached,
            self.tool_use + max(0, call.input - known),
            self.media,
            self.made or call.made,
            self.searched,
        )


class Finish(msgspec.Struct, frozen=True):
    """The last delta of every answer: `length` when the token limit cut it short, else `stop`."""

    reason: Literal["stop", "length"] = "stop"
    tokens: Tokens = Tokens()


Delta = Text | Made | Noted | Thought | Call | Finish


class Model(Protocol):
    """A back-end: one method. Errors are raised as `wire.errors.ApiError`."""

    modalities: frozenset[str]  # what it reads: 'text', and 'image', 'audio', 'video', 'document' where it can

    # Optional: `gives`, what it answers with where that is not text alone ('text', 'audio', 'image', 'transcription').

    def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        """Yield the answer to `turn` piece by piece, `Finish` last."""
        ...

    async def aclose(self) -> None:
        """Free what the back-end holds."""
        ...


def gives_of(model: Model) -> frozenset[str]:
    """What a model can answer with."""
    return getattr(model, "gives", None) or frozenset({"text"})


class Resolution(Protocol):
    """Which configured model answers to an asked name (`catalog.py`), and the withdrawn name it stands in for."""

    @property
    def target(self) -> str: ...

    @property
    def served_as(self) -> str: ...

    @property
    def substituted_for(self) -> str | None: ...
