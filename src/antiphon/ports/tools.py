"""What the engine asks of the tools it runs, and what they are made from: the web, documents, a sandbox."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from antiphon import wire


class Passage(msgspec.Struct, frozen=True):
    """Words from outside that an answer may cite, and the citation that names their place (without indices)."""

    text: str
    citation: wire.UrlCitation | wire.FileCitation | wire.PlaceCitation


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call.

    `step` is what clients see. The model reads `reading` and then the numbered `passages`; where there is neither, it
    reads the step's own result. Both travel sealed in the step's signature, so that a later turn, a recovered run and a
    client that replays its steps all have them. `figures` are shown in the model's output. `trusted` is False for words
    that somebody outside wrote: the model is told so. `pictures` are what a model that can see is shown with the reading,
    in place of the images in the step's result; they travel sealed too. None: it is shown those of the result.
    """

    step: wire.ToolResultStep
    reading: str = ""
    passages: tuple[Passage, ...] = ()
    figures: tuple[wire.ImageContent, ...] = ()
    pictures: tuple[wire.ImageContent, ...] | None = None
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


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture as a model is shown it (`body`, `mime_type`), and what it was: its media type, its size in pixels."""

    body: bytes
    mime_type: Literal["image/png", "image/jpeg"]
    kind: str
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.kind}, {self.width} x {self.height} pixels"

    def content(self) -> wire.ImageContent:
        """The picture as content."""
        return wire.ImageContent(data=base64.b64encode(self.body).decode(), mime_type=self.mime_type)


class Look(Protocol):
    """Makes pictures from outside fit to be shown to a model (`media/`)."""

    async def __call__(self, body: bytes) -> Picture | None:
        """The picture, decoded and made small; None for what is no picture. Raises Unreadable."""
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
