"""A research as `antiphon research` reads it from the server: what was answered, and its report as Markdown. Pure.

The types are lenient: what a newer server says beyond them is passed over.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

import msgspec

# With two of the signs that mean what anybody wants: the page uses them for marks of its own.
_UNSEEN = re.compile("[\ue000\ue001\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_HEADING = re.compile(r"^# +(.+)$", re.MULTILINE)
_MARKS = re.compile(r"\*\*|__|`|(?: ?\[\d{1,4}\])+|^#+ *|^[-*] +")
_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})


class Annotation(msgspec.Struct, kw_only=True):
    """A citation: the bytes of the text that it stands for, and a page, a file or a place."""

    type: str = ""
    url: str | None = None
    title: str | None = None
    file_name: str | None = None
    document_uri: str | None = None
    page_number: int | None = None
    name: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class Part(msgspec.Struct, kw_only=True):
    """A piece of what was said: text with its citations, or a picture."""

    type: str = ""
    text: str | None = None
    annotations: list[Annotation] | None = None
    data: str | None = None
    mime_type: str | None = None
    uri: str | None = None


class Step(msgspec.Struct, kw_only=True):
    """One step of the interaction."""

    type: str = ""
    content: list[Part] | str | None = None
    error: Any = None


class Fault(msgspec.Struct, kw_only=True):
    """Why it failed."""

    code: str | int | None = None
    message: str | None = None


class Usage(msgspec.Struct, kw_only=True):
    """What it took."""

    total_tokens: int | None = None


class Research(msgspec.Struct, kw_only=True):
    """The interaction, as GET shows it."""

    id: str = ""
    status: str = ""
    agent: str | None = None
    created: str | None = None
    updated: str | None = None
    steps: list[Step] | None = None
    usage: Usage | None = None
    error: Fault | None = None

    @property
    def question(self) -> str:
        """What the user said last."""
        asked = [step.content for step in self.steps or () if step.type == "user_input"]
        if not asked:
            return ""
        content = asked[-1]
        return content if isinstance(content, str) else "\n".join(part.text or "" for part in content or ())

    @property
    def parts(self) -> list[Part]:
        """What was answered to it, piece by piece."""
        parts: list[Part] = []
        for step in self.steps or ():
            if step.type == "user_input":
                parts = []
            elif step.type == "model_output" and step.error is None:
                content = step.content
                parts += [Part(type="text", text=content)] if isinstance(content, str) else content or ()
        return parts


def decode(body: bytes) -> Research:
    """The interaction out of a response. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(body, type=Research)


def seen(text: str) -> str:
    """Text without signs that steer a terminal, or turn the order of what is read."""
    return _UNSEEN.sub("", text)


def title(parts: Sequence[Part]) -> str:
    """The report's first heading."""
    found = _HEADING.search("".join(part.text or "" for part in parts))
    return seen(found[1]).rstrip(" #") if found else ""


def picture(part: Part) -> str | None:
    """A picture as an address that holds all of it; None where it is no picture, or none of a kind known to be safe."""
    if part.type != "image" or part.mime_type not in _PICTURES or not part.data:
        return None
    try:
        data = base64.b64decode(part.data, validate=True)
    except (binascii.Error, ValueError):
        return None
    return f"data:{part.mime_type};base64,{base64.b64encode(data).decode()}"


def caption(before: str) -> str:
    """What a picture shows: the last line before it."""
    lines = [line.strip() for line in seen(before).splitlines() if line.strip()]
    return " ".join(_MARKS.sub("", lines[-1]).split())[:200] if lines else "Chart"


def markdown(parts: Sequence[Part], *, pictures: bool = True) -> str:
    """The report as Markdown; without `pictures` a line says where one stands."""
    pieces: list[str] = []
    for part in parts:
        if part.type == "text":
            pieces.append(seen(part.text or ""))
        elif address := picture(part):
            name = re.sub(r"([\[\]\\])", r"\\\1", caption("".join(pieces)))
            shown = f"![{name}]({address})" if pictures else f"*(chart: {name})*"
            pieces.append(f"{_gap(pieces)}{shown}\n\n")
    return "".join(pieces).strip("\n") + "\n" if pieces else ""


def _gap(pieces: Sequence[str]) -> str:
    """What is wanted before a paragraph of its own."""
    return "" if not pieces or pieces[-1].endswith("\n\n") else "\n\n"
