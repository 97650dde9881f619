"""What the engine asks of the parts around it: models, tools, stores, the bus. Shapes and promises only.

A part is one file in its folder and one row in `app.py`; its contract test runs over every row.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from antiphon import wire

# ---------------------------------------------------------------------------------------------------- models


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
    results of the server's own tools; where they are silent, a step is shown as it is.
    """

    model: str
    steps: Sequence[wire.Step]
    conversation: str
    followed: bool = True
    system_instruction: str | None = None
    functions: tuple[wire.Function, ...] = ()
    calls: Mapping[str, Asked] = {}
    readings: Mapping[str, str] = {}
    tool_choice: ToolChoice = ToolChoice()
    schema: Mapping[str, Any] | None = None
    json_object: bool = False
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_output_tokens: int | None = None
    stop_sequences: tuple[str, ...] = ()
    thinking_level: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class Text(msgspec.Struct, frozen=True):
    """A piece of the answer's text."""

    text: str


class Thought(msgspec.Struct, frozen=True):
    """A piece of the model's own reasoning."""

    text: str


class Call(msgspec.Struct, frozen=True):
    """A piece of a function call: a new `index` begins a new call and then has its `name`; `arguments` is JSON text."""

    index: int
    name: str = ""
    arguments: str = ""


class Tokens(msgspec.Struct, frozen=True):
    """What was used, in tokens. `input` counts cached ones too; `thought` is not part of `output`."""

    input: int = 0
    output: int = 0
    thought: int = 0
    cached: int = 0
    tool_use: int = 0

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
        )


class Finish(msgspec.Struct, frozen=True):
    """The last delta of every answer: `length` when the token limit cut it short, else `stop`."""

    reason: Literal["stop", "length"] = "stop"
    tokens: Tokens = Tokens()


Delta = Text | Thought | Call | Finish


class Model(Protocol):
    """A back-end: one method. Errors are raised as `wire.errors.ApiError`."""

    modalities: frozenset[str]  # what it reads: 'text', and 'image', 'audio', 'video', 'document' where it can

    def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        """Yield the answer to `turn` piece by piece, `Finish` last."""
        ...

    async def aclose(self) -> None:
        """Free what the back-end holds."""
        ...


class Resolution(Protocol):
    """Which configured model answers to an asked name (`catalog.py`), and the withdrawn name it stands in for."""

    @property
    def target(self) -> str: ...

    @property
    def served_as(self) -> str: ...

    @property
    def substituted_for(self) -> str | None: ...


# ---------------------------------------------------------------------------------------------------- tools


class Passage(msgspec.Struct, frozen=True):
    """Words from outside that an answer may cite, and the citation that names their place (without indices)."""

    text: str
    citation: wire.UrlCitation | wire.FileCitation | wire.PlaceCitation


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call.

    `step` is what clients see. The model reads `reading` and then the numbered `passages`; where there is neither, it
    reads the step's own result. Both travel sealed in the step's signature, so that a later turn, a recovered run and a
    client that replays its steps all have them. `figures` are shown in the model's output. `trusted` is False for words
    that somebody outside wrote: the model is told so.
    """

    step: wire.ToolResultStep
    reading: str = ""
    passages: tuple[Passage, ...] = ()
    figures: tuple[wire.ImageContent, ...] = ()
    trusted: bool = False


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One interaction's use of a tool: what the tool may know of it.

    `steps` is the conversation before the model's answer, this request's input included; `functions` are the caller's
    own; `room` is how many characters one result may give the model to read.
    """

    project: str
    interaction: str
    declared: wire.Tool
    steps: Sequence[wire.Step] = ()
    functions: tuple[wire.Function, ...] = ()
    room: int = 16_000


class Session(Protocol):
    """A tool in use by one interaction, from its first model call to its end."""

    @property
    def functions(self) -> Sequence[wire.Function]:
        """What the model is told it can call."""
        ...

    @property
    def instructions(self) -> str:
        """What the model is told beside; '' for nothing."""
        ...

    def call(self, id: str, name: str, arguments: Mapping[str, Any]) -> wire.ToolCallStep:
        """The step that shows the model's call. Never raises: what does not fit is left out, and `run` says so."""
        ...

    def owns(self, call: wire.ToolCallStep) -> bool:
        """Whether `run` is to be asked for this call, of this tool's type (there may be several MCP servers)."""
        ...

    async def run(self, call: wire.ToolCallStep) -> Outcome:
        """Do it. What goes wrong is a result with `is_error` that the model sees, not an exception."""
        ...

    async def aclose(self) -> None:
        """The interaction has ended, or this server is stopping."""
        ...


class Tool(Protocol):
    """A tool that the server runs. The model sees it as functions; clients see `type`_call and `type`_result steps."""

    type: str  # as in the request: 'google_search'

    @property
    def rerunnable(self) -> bool:
        """Whether a call that a crash cut short may be made again."""
        ...

    async def check(self, declared: wire.Tool, project: str, path: str) -> None:
        """Refuse what a request declares and this tool cannot do. Raises ApiError that names the place, `path`."""
        ...

    async def open(self, use: Use) -> Session:
        """Begin to use it. What cannot be reached is told to the model by the session, not raised."""
        ...

    async def aclose(self) -> None:
        """The server is stopping."""
        ...


# ---------------------------------------------------------------------------------------------------- what tools use


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """One resource of the web: the URL it finally came from, its media type in lower case, and its bytes, decompressed."""

    url: str
    mime_type: str
    body: bytes
    charset: str | None = None


class FetchError(Exception):
    """Why something was not fetched; `status` is the API's word for it."""

    def __init__(self, status: Literal["error", "paywall", "unsafe"], message: str) -> None:
        super().__init__(message)
        self.status: Literal["error", "paywall", "unsafe"] = status


class Fetch(Protocol):
    """The guarded way to the web, the only one for what users and models name (`fetch.py`)."""

    async def __call__(self, url: str, *, largest: int = 34 * 10**6, seconds: float = 20.0) -> Fetched:
        """GET, redirects followed and each address checked. Raises FetchError."""
        ...


class Leaf(msgspec.Struct, frozen=True):
    """One page, sheet or slide of a document; `number` counts from 1, None where the kind of document has none."""

    text: str
    number: int | None = None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document as text."""

    title: str | None = None
    leaves: tuple[Leaf, ...] = ()


class Unreadable(Exception):
    """Why no text could be had from a document."""


class Read(Protocol):
    """Makes text of documents (`media/`)."""

    async def __call__(self, body: bytes, mime_type: str | None = None, name: str | None = None) -> Document:
        """The text of a PDF, HTML, Office, CSV, JSON … document. Raises Unreadable."""
        ...


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What untrusted code printed (both streams, in order), whether it ended well, and the pictures it drew."""

    output: str
    ok: bool
    figures: tuple[tuple[str, bytes], ...] = ()  # media type and bytes


class Box(Protocol):
    """A place for untrusted code that keeps its state from one run to the next."""

    async def put(self, name: str, content: bytes) -> None:
        """Lay a file into the working folder. Raises ValueError for a name that is no plain one."""
        ...

    async def run(self, code: str, language: Literal["python", "bash"] = "python", seconds: float = 30.0) -> Ran:
        """Run it. Time, memory and disk limits end in a `Ran` that says so."""
        ...

    async def aclose(self) -> None:
        """Nothing of it is left."""
        ...


class Sandbox(Protocol):
    """Makes boxes."""

    async def probe(self, *, warm: bool = True) -> str:
        """The name of the jail that holds on this machine, tried out once; with `warm` a box is soon wanted.

        Raises wire.Unavailable with what is missing.
        """
        ...

    async def open(self) -> Box:
        """A fresh one. Raises wire.Unavailable where none can be had."""
        ...

    async def aclose(self) -> None:
        """End all of them."""
        ...


# ---------------------------------------------------------------------------------------------------- stores


class Record(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is kept of an interaction beside its events. Times are seconds since 1970.

    `conversation` is the id of the chain's first interaction, `tools` what the run may use (its own, or the parent's
    for an answer to a call), `target` the configured model and `model` the name it answers under.
    """

    id: str
    project: str
    conversation: str
    created: float
    expires: float
    model: str
    target: str
    input: list[wire.Step]
    request: wire.CreateInteraction
    tools: list[wire.Tool] | None = None
    previous_interaction_id: str | None = None
    substitution: str | None = None
    background: bool = False
    store: bool = True


class Stored(msgspec.Struct):
    """A record as the store has it, with its frames (see `log.py`)."""

    record: Record
    status: wire.InteractionStatus
    updated: float
    attempt: int
    frames: bytes
    compacted: bool = False
    hidden: bool = False  # deleted or expired, and only still there as the past of a later turn


class Segment(msgspec.Struct):
    """Frames that follow one another, and the numbers of the first and the last."""

    first: int
    last: int
    frames: bytes


class Fenced(Exception):
    """An append by an attempt that is no longer the current one, or to an interaction that is gone: nothing was written."""


class Store(Protocol):
    """Where interactions are kept. Every method is atomic and on disk when it returns."""

    async def create(self, record: Record, status: wire.InteractionStatus, segment: Segment | None = None) -> None:
        """Keep a new interaction, with the events it may already have. Its attempt is 1."""
        ...

    async def append(self, id: str, attempt: int, status: wire.InteractionStatus, segment: Segment) -> None:
        """Keep more events. Raises Fenced."""
        ...

    async def claim(self, id: str) -> Stored | None:
        """Begin a new attempt at an interaction that has not ended: older attempts can write nothing more."""
        ...

    async def release(self, id: str, attempt: int) -> None:
        """Give an attempt back that was stopped in good order: the next claim gets its number again."""
        ...

    async def bring_in(self, chain: Sequence[Stored]) -> None:
        """Keep ended interactions from elsewhere, all or none. Raises AlreadyExists where one of the ids is taken."""
        ...

    async def exists(self, id: str) -> bool:
        """Whether an id is taken, by whomever."""
        ...

    async def unfinished(self) -> list[str]:
        """The ids of interactions that have not ended, oldest first."""
        ...

    async def get(self, project: str, id: str) -> Stored | None:
        """One interaction; None where it is unknown, deleted, expired or another project's."""
        ...

    async def lineage(self, project: str, id: str) -> list[Stored]:
        """The chain that ends with `id`, oldest first; deleted ancestors are in it. Empty where `get` gives None."""
        ...

    async def page(self, project: str, before: str | None, size: int) -> list[Stored]:
        """Up to `size` interactions, newest first, older than `before`."""
        ...

    async def delete(self, project: str, id: str) -> bool:
        """Hide an interaction, and erase it with the ancestors that were only kept for it. False where `get` gives None.

        While something still chains onto it, its content stays, unseen, as that conversation's past.
        """
        ...

    async def sweep(self, now: float, compact_before: float) -> int:
        """Delete what expired by `now`, compact what ended before `compact_before`. How many were touched."""
        ...

    async def alone(self) -> None:
        """Keep other servers away, as long as this one runs: it goes on with every run. Raises FailedPrecondition."""
        ...

    async def secret(self) -> bytes:
        """32 random bytes, made once: the key that seals thoughts."""
        ...

    async def aclose(self) -> None:
        """Free what the store holds."""
        ...


# ---------------------------------------------------------------------------------------------------- the bus


class Channel(Protocol):
    """The live end of one run: frames go in once, and come out to everyone who follows."""

    def publish(self, segment: Segment) -> None:
        """Tell the followers. Numbers must go up by one."""
        ...

    def follow(self, after: int) -> AsyncIterator[bytes]:
        """Frames after number `after`, many at a time, until the run ends; then `log.DONE`, if it ended its log."""
        ...

    def close(self, *, ended: bool = False) -> None:
        """No more will come; `ended` where the log has its last event. Only the first call counts."""
        ...


class Bus(Protocol):
    """Live events, from whoever runs an interaction to whoever follows it; and who runs what, where there are several."""

    shared: bool  # whether other servers may be asked for what is run here

    def open(self, id: str, log: Segment | None = None) -> Channel:
        """The channel of a run that begins here; `log` is what it already wrote before."""
        ...

    async def submit(self, id: str) -> bool:
        """Find somebody to run a background interaction that is in the store; True where the asker is to run it itself."""
        ...

    def watch(self, id: str) -> AsyncGenerator[Segment | None, None]:
        """What a run elsewhere writes, as it comes; None, first of all, whenever something may have been missed.

        At None the store is to be looked into. It ends where nothing more can come, as where there is no elsewhere.
        """
        ...
