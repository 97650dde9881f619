"""The vector source of a picture, kept in the picture itself, so that a later turn can change what was drawn.

PNG: a chunk `tEXt` whose keyword is `Antiphon-SVG`. JPEG: a comment that begins with it. Reading walks over lengths and
decodes nothing, as `media/headers.py` does. What is read may come from anywhere: it is shown to a model, which could be
shown any text, and is never drawn.
"""

from __future__ import annotations

import struct

from antiphon.media.headers import header_of

KEYWORD = "Antiphon-SVG"
LONGEST = 24_000  # characters: what a model can be shown of it, and less than the 65,533 bytes of a JPEG's comment
_MOST_PARTS = 10_000
_JPEG_MARK = f"{KEYWORD}:".encode()
_PNG_MARK = KEYWORD.encode() + b"\0"


def source_of(body: bytes) -> str | None:
    """The vector source in a PNG or JPEG; None where there is none."""
    header = header_of(body)
    try:
        if header is not None and header.mime_type == "image/png":
            return _png(body)
        if header is not None and header.mime_type == "image/jpeg":
            return _jpeg(body)
    except (struct.error, IndexError):
        pass  # cut off
    return None


def _png(body: bytes) -> str | None:
    place = 8
    for _ in range(_MOST_PARTS):
        length, kind = struct.unpack_from(">I4s", body, place)
        if kind == b"tEXt" and body.startswith(_PNG_MARK, place + 8):
            return _text(body[place + 8 + len(_PNG_MARK) : place + 8 + length])
        place += 12 + length
    return None


def _jpeg(body: bytes) -> str | None:
    place = 2
    for _ in range(_MOST_PARTS):
        mark, kind, length = struct.unpack_from(">BBH", body, place)
        if mark != 0xFF or kind == 0xDA:  # the pixels begin
            return None
        if kind == 0xFE and body.startswith(_JPEG_MARK, place + 4):
            return _text(body[place + 4 + len(_JPEG_MARK) : place + 2 + length])
        place += 2 + length
    return None


def _text(raw: bytes) -> str | None:
    text = raw.decode("ascii", "replace")
    return text if len(text) <= LONGEST and text.startswith("<svg") else None
