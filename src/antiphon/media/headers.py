"""What a picture is and how large, by its header alone: nothing is decoded, so nothing can be a bomb. Pure."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Header(NamedTuple):
    """A picture's media type, and its size in pixels as it claims it."""

    mime_type: str
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.mime_type}, {self.width} x {self.height} pixels"


_MOST_MARKERS = 1000  # of a JPEG before its size: profiles and previews are in pieces of 64 KB
_NO_SIZE = {0xC4, 0xC8, 0xCC}  # among the JPEG markers C0 to CF, those that begin no frame


def header_of(body: bytes) -> Header | None:
    """The header of a PNG, JPEG, GIF, WebP or BMP; None for what is none of these, or is cut off in its header."""
    try:
        if body.startswith(b"\x89PNG\r\n\x1a\n") and body[12:16] == b"IHDR":
            return Header("image/png", *struct.unpack_from(">II", body, 16))
        if body.startswith((b"GIF87a", b"GIF89a")):
            return Header("image/gif", *struct.unpack_from("<HH", body, 6))
        if body.startswith(b"\xff\xd8\xff"):
            return _jpeg(body)
        if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
            return _webp(body)
        if body.startswith(b"BM") and body[6:10] == bytes(4):  # reserved: few texts begin so
            width, height = struct.unpack_from("<ii", body, 18)
            return Header("image/bmp", abs(width), abs(height))  # a height below nothing: from the top down
    except (struct.error, IndexError):
        pass
    return None


def _jpeg(body: bytes) -> Header | None:
    """Its size stands in the frame's header, behind segments of any number and known length."""
    place = 2
    filling = 0
    for _ in range(_MOST_MARKERS):
        while body[place] != 0xFF or body[place + 1] == 0xFF:  # filling
            filling += 1
            if body[place] != 0xFF or filling > _MOST_MARKERS:
                return None
            place += 1
        marker = body[place + 1]
        (length,) = struct.unpack_from(">H", body, place + 2)
        if 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE:
            height, width = struct.unpack_from(">HH", body, place + 5)
            return Header("image/jpeg", width, height)
        place += 2 + max(2, length)
    return None


def _webp(body: bytes) -> Header | None:
    kind = body[12:16]
    if kind == b"VP8X":
        wide, high = body[24:27], body[27:30]
        return Header("image/webp", int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 21)
        return Header("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 26)
        return Header("image/webp", width & 0x3FFF, height & 0x3FFF)
    return None
