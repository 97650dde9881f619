"""What the engine asks of those who make media readable, fetch them, keep them, and make them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from hashlib import sha256
from typing import Literal, Protocol

import msgspec

from antiphon import wire

Kind = Literal["image", "audio", "video", "document"]


class Medium(msgspec.Struct, frozen=True, kw_only=True):
    """A medium of a conversation, its bytes in hand.

    `content` is how it was sent: its resolution, its processing, its sampling rate. `mime_type` is what was said of it, or
    what its source said; whoever reads it believes the bytes. `path` names its place in the request, for errors.
    """

    kind: Kind
    body: bytes
    mime_type: str | None
    content: wire.Media
    name: str | None = None
    path: str = "input"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a medium is made readable for: the kinds of content that the model reads, and how many characters at most."""

    modalities: frozenset[str] = frozenset({"text"})
    room: int = 16_000


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a medium's place for the model: texts and pictures, in order; and, in words, what was done."""

    parts: tuple[wire.TextContent | wire.ImageContent | wire.AudioContent, ...]
    how: str = ""


class Digester(Protocol):
    """Makes media of some kinds readable (`media/`). Parsing is bounded in time and memory, in a process apart."""

    async def __call__(self, medium: Medium, wanted: Wanted) -> Digest:
        """What the model is shown instead. Raises Unreadable, in words for the user that say what to configure."""
        ...

    async def aclose(self) -> None:
        """End the processes."""
        ...


class Obtain(Protocol):
    """Gets the bytes behind a `uri`: of an uploaded file (`files/ID`, however its address begins), or from the web."""

    async def __call__(self, project: str, uri: str) -> tuple[bytes, str | None, str | None]:
        """Body, media type and name. Raises Unreadable, in words for the user."""
        ...


class Keep(Protocol):
    """Keeps what a model made as a file of the Files API, for `delivery: uri`."""

    async def __call__(self, project: str, body: bytes, mime_type: str, name: str) -> str:
        """The file's URI. Raises ApiError."""
        ...


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """A voice that can be asked for: `id` is what `speech_config.voice` names."""

    id: str
    language_code: str
    display_name: str = ""
    description: str = ""
    gender: str = ""


class Speak(Protocol):
    """Reads texts aloud (`speech/`)."""

    def __call__(
        self, text: str | AsyncIterable[str], voices: Sequence[wire.SpeechConfig], format: wire.AudioFormat
    ) -> AsyncIterator[wire.AudioContent]:
        """Pieces of one sound, in order, as they are made; of a text that may still be coming.

        The pieces' `data`, decoded and joined, are the whole file.

        The first says `mime_type`, `sample_rate` and `channels`. Raises InvalidRequest for a voice or a format that it has
        not, Unavailable where it cannot be had.
        """
        ...

    async def voices(self) -> Sequence[Voice]:
        """All of them."""
        ...

    async def aclose(self) -> None:
        """End what runs."""
        ...


class Draw(Protocol):
    """Draws (`drawing/`)."""

    async def __call__(
        self, prompt: str, format: wire.ImageFormat, pictures: Sequence[bytes] = ()
    ) -> wire.ImageContent:
        """A picture of what is asked, in the format's type, size and shape; `pictures` are to be edited or drawn from.

        Raises InvalidRequest for what it cannot do, Unavailable where it cannot be had.
        """
        ...

    async def aclose(self) -> None:
        """End what runs."""
        ...


class Blobs(Protocol):
    """Where large bytes are kept, once for each content, by their SHA-256 in hex (`blobs/`)."""

    async def put(self, owner: str, bodies: Sequence[bytes]) -> list[str]:
        """Keep them, on disk when it returns; `owner` holds them until `drop`. Their names, in order."""
        ...

    async def get(self, names: Sequence[str]) -> list[bytes]:
        """Them, in order. Raises Unavailable where one is gone."""
        ...

    async def drop(self, owners: Sequence[str]) -> None:
        """These hold nothing any more; what nobody holds is deleted."""
        ...

    async def aclose(self) -> None:
        """Free what it holds."""
        ...


def media_key(part: wire.Media) -> str:
    """What a medium is known by in its conversation: the same content in the same words has the same key."""
    return sha256(msgspec.json.encode(part)).hexdigest()[:32]
