"""Media made readable for a model that cannot take them as they are.

At the beginning of a run each such medium becomes a pair of steps, `processing_call` and `processing_result`, whose
signature carries what the model is shown in the medium's place (`readings.py`). So a later turn, a recovered run and a
client that replays its steps have it without the work being done again.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from antiphon import wire
from antiphon.ports import Digest, Digester, Medium, Model, Obtain, Record, Turn, Unreadable, Wanted, media_key

logger = logging.getLogger("antiphon.media")

MOST = 64  # media in one conversation that are made readable
_KINDS: dict[type[Any], str] = {
    wire.ImageContent: "image",
    wire.AudioContent: "audio",
    wire.VideoContent: "video",
    wire.DocumentContent: "document",
}
_FIELDS: dict[type[Any], str] = {wire.UserInputStep: "content", wire.FunctionResultStep: "result"}
# What models take as it is, where they take the kind at all.
_NATIVE = {
    "image": {"image/png", "image/jpeg", "image/webp", "image/gif"},
    "audio": {"audio/wav", "audio/mp3", "audio/mpeg"},
    "video": {"video/mp4", "video/mpeg", "video/webm", "video/mov"},
    "document": {"application/pdf"},
}
_PRESENT = {"image": "look at images", "audio": "hear", "video": "watch videos", "document": "read documents"}


def kind_of(part: Any) -> str | None:
    """`image`, `audio`, `video` or `document`; None for what is no medium."""
    return _KINDS.get(type(part))


def media(steps: Sequence[wire.Step], path: str = "") -> Iterator[tuple[str, Any]]:
    """The media that users and their functions gave, and where they stand (`input[0].content[1]`)."""
    for place, step in enumerate(steps):
        field = _FIELDS.get(type(step))
        items = getattr(step, field, None) if field and step.error is None else None
        for number, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, wire.FunctionResultStep):
                yield from media([item], f"{path}[{place}].content[{number}]")
            elif type(item) in _KINDS:
                yield f"{path}[{place}].{field}[{number}]", item


def given(record: Record) -> Iterator[tuple[str, Any]]:
    """The media of a request, and where they stand in it: contents may have come without a step around them."""
    within = re.compile(r"input\[\d+\]\.content\[(\d+)\]")
    for path, part in media(record.input, "input"):
        match record.form:
            case "contents":
                path = within.sub(r"input[\1]", path)
            case "content":
                path = within.sub("input", path)
        yield path, part


def is_native(part: Any, modalities: frozenset[str]) -> bool:
    """Whether a model that reads `modalities` can be given a medium as it was sent."""
    kind = _KINDS[type(part)]
    fits = (part.mime_type is None or part.mime_type in _NATIVE[kind]) and getattr(part, "resolution", None) is None
    return kind in modalities and bool(part.data) and fits and getattr(part, "processing", None) in (None, "static")


def reads(model: Model, turn: Turn) -> frozenset[str]:
    """What a model takes in this turn: who is to draw is given the pictures."""
    return model.modalities | {"image"} if turn.image is not None else model.modalities


class Processing:
    """Makes media readable with `digesters`, by kind; `obtain` gets what stands behind a `uri`.

    `missing` says, by kind, why there is none. A medium may take `seconds`.
    """

    def __init__(
        self,
        digesters: Mapping[str, Digester] | None = None,
        obtain: Obtain | None = None,
        *,
        missing: Mapping[str, str] | None = None,
        seconds: float = 1800.0,
    ) -> None:
        self._digesters = dict(digesters or {})
        self._obtain = obtain
        self._missing = dict(missing or {})
        self._seconds = seconds

    def unread(
        self,
        past: Sequence[wire.Step],
        record: Record,
        modalities: frozenset[str],
        read: Mapping[str, Any],
    ) -> list[tuple[str, Any]]:
        """The media that a model of these modalities cannot take as they are, and of which nothing is `read` yet."""
        found: dict[str, tuple[str, Any]] = {}
        for path, part in (*media(past, "previous_interaction_id"), *given(record)):
            if not is_native(part, modalities) and (key := media_key(part)) not in read:
                found.setdefault(key, (path, part))
        return list(found.values())

    def check(self, record: Record, modalities: frozenset[str]) -> None:
        """Refuse media that can neither be given to the model nor be made readable. Raises InvalidRequest."""
        number = 0
        for path, part in given(record):
            if is_native(part, modalities):
                continue
            number += 1
            kind = _KINDS[type(part)]
            if kind not in self._digesters:
                why = self._missing.get(kind, "nothing here makes it readable")
                raise wire.InvalidRequest(
                    f"The model '{record.model}' cannot {_PRESENT[kind]}, and the {kind} at '{path}' "
                    f"cannot be made readable: {why}."
                )
            if number > MOST:
                raise wire.InvalidRequest(
                    f"At most {MOST} media are made readable in one request; '{path}' is one more."
                )

    async def digest(self, project: str, path: str, part: Any, wanted: Wanted) -> Digest:
        """What the model is shown instead of a medium. Raises InvalidRequest with its place and what to do."""
        kind = _KINDS[type(part)]
        try:
            async with asyncio.timeout(self._seconds):
                body, mime_type, name = await self._bytes(project, part)
                medium = Medium(kind=kind, body=body, mime_type=mime_type, content=part, name=name, path=path)  # type: ignore[arg-type]
                digester = self._digesters.get(kind)
                if digester is None:
                    raise Unreadable(self._missing.get(kind, "Nothing here makes it readable."))
                digest = await digester(medium, wanted)
        except Unreadable as error:
            raise wire.InvalidRequest(f"The {kind} at '{path}' cannot be read. {error}") from None
        except TimeoutError:
            raise wire.InvalidRequest(
                f"The {kind} at '{path}' takes longer than {self._seconds:g} s to read."
            ) from None
        logger.info("the %s at '%s' was made readable: %s", kind, path, digest.how or "as text")
        return digest

    async def _bytes(self, project: str, part: Any) -> tuple[bytes, str | None, str | None]:
        name = getattr(part, "name", None)
        if part.data:
            return await asyncio.to_thread(base64.b64decode, part.data), part.mime_type, name
        if self._obtain is None:
            raise Unreadable("Files and addresses are not fetched here.")
        body, mime_type, called = await self._obtain(project, part.uri)
        return body, part.mime_type or mime_type, name or called


Digested = tuple[str, Any, "asyncio.Future[Digest]"]


def begun(unread: Sequence[tuple[str, Any]], digest: Callable[[str, Any], Awaitable[Digest]]) -> list[Digested]:
    """All of them at the same time, to be awaited in order."""
    return [(path, part, asyncio.ensure_future(digest(path, part))) for path, part in unread]
