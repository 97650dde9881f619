"""Draws with a text model alone: it writes a vector picture, which is made safe and rendered. The built-in way.

What a model can draw so depends on the model; that it is a vector picture is said where the answer has text. A picture
that was drawn so keeps its source (`sources.py`), and can be changed by showing the model that.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence

from antiphon import wire
from antiphon.drawing.sizes import wanted
from antiphon.drawing.sources import source_of
from antiphon.drawing.studio import Studio
from antiphon.drawing.svg import Unusable, found

Ask = Callable[[str, str], Awaitable[str]]  # an instruction and a question to a text model; its answer

_TRIES = 2
_SIDE = 400  # of the shorter side, in the units that the model draws in: small numbers are written with fewer faults
_LONGEST_PROMPT = 6_000  # characters

_INSTRUCTION = """\
You draw pictures as SVG. You answer with one SVG document and with nothing else.
Begin with <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"> and end with </svg>.
First a <rect> in a colour for the whole background, then what is large and far away, then what is near, then details.
Use rect, circle, ellipse, line, polyline, polygon, path, text, g, linearGradient and radialGradient. Give every shape a \
fill or a stroke, in colours that fit what it shows. Use {width} x {height} well: the main thing is large and in the middle.
Use whole numbers. At most 40 shapes. No <style>, no script, no picture, no link, no comments.

Example, a house on a meadow (viewBox 0 0 400 400):
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400">
<rect width="400" height="400" fill="#bfe3ff"/>
<circle cx="330" cy="70" r="35" fill="#ffd23f"/>
<rect y="290" width="400" height="110" fill="#6abf4b"/>
<rect x="120" y="190" width="160" height="130" fill="#f2e3c6" stroke="#7a5c3a" stroke-width="3"/>
<polygon points="100,190 300,190 200,110" fill="#b5423c"/>
<rect x="180" y="250" width="40" height="70" fill="#7a5c3a"/>
<rect x="140" y="215" width="35" height="35" fill="#8fd0f5" stroke="#7a5c3a" stroke-width="3"/>
</svg>"""
_FORMER = """\


This picture has been drawn before:
{svg}

Where a change of it is asked for, write the whole picture again with that change, and leave all else as it is. Where \
something new is asked for, draw that instead."""
_AGAIN = "\n\nYour first picture could not be used: {reason} Write a simpler one, complete, and correct as XML."


class VectorDraw:
    """Has `ask` write the pictures. A source of more than `longest` characters is not shown to it to be changed."""

    edits = False  # pictures in general: those that it drew itself it can

    def __init__(self, ask: Ask, studio: Studio | None = None, *, longest: int = 8_000) -> None:
        self._ask = ask
        self._longest = longest
        self._studio = studio or Studio()

    async def __call__(
        self, prompt: str, format: wire.ImageFormat, pictures: Sequence[bytes] = ()
    ) -> wire.ImageContent:
        """A picture of what is asked. Raises InvalidRequest for a picture it did not draw, FailedPrecondition `no_image`."""
        width, height = _plane(format)
        question = f"Draw: {prompt[:_LONGEST_PROMPT]}{_former(pictures, self._longest)}"
        reason = ""
        for _ in range(_TRIES):
            again = _AGAIN.format(reason=reason) if reason else ""
            answer = await self._ask(_INSTRUCTION.format(width=width, height=height), question + again)
            try:
                body = await self._studio.draw(found(answer), format)
            except Unusable as error:
                reason = str(error)
                continue
            return wire.ImageContent(data=base64.b64encode(body).decode(), mime_type=format.mime_type or "image/jpeg")
        # Not a 5xx: clients would have it drawn again, with the same model and the same end.
        words = "Ask for something simpler, or configure a larger model or an image server."
        raise wire.FailedPrecondition(f"The model drew nothing that can be shown: {reason} {words}", code="no_image")

    async def aclose(self) -> None:
        """Nothing is held."""


def _plane(format: wire.ImageFormat) -> tuple[int, int]:
    """The units that the model draws in, in the shape of the picture."""
    width, height = wanted(format)
    scale = _SIDE / min(width, height)
    return round(width * scale / 10) * 10, round(height * scale / 10) * 10


def _former(pictures: Sequence[bytes], longest: int) -> str:
    if not pictures:
        return ""
    sources = [source for picture in pictures if (source := source_of(picture)) is not None]
    if not sources:
        raise wire.InvalidRequest(
            "This picture cannot be edited here: a text model draws, and changes only what it has drawn itself. "
            "Configure an image server for that."
        )
    if len(sources[-1]) > longest:
        raise wire.InvalidRequest(
            f"This picture has a source of {len(sources[-1])} characters; the model can change {longest} at most. "
            "Ask for it anew, in a conversation of its own, or configure a model that reads more."
        )
    return _FORMER.format(svg=sources[-1])
