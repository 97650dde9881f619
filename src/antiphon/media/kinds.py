"""What kind of document some bytes are: by how they begin, then by their media type, then by their name.

The first bytes are believed before what a server or a user says of them, since those are wrong more often.
"""

from __future__ import annotations

import re
from typing import Literal

from antiphon.ports import Unreadable

Kind = Literal["pdf", "zip", "html", "rtf", "csv", "tsv", "json", "text"]

_HEAD = 2048
_STARTS: tuple[tuple[bytes, Kind], ...] = ((b"%PDF-", "pdf"), (b"PK\x03\x04", "zip"), (b"{\\rtf", "rtf"))
# What is no text, and the word for it.
_PICTURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"),
    (b"GIF8", "an image (GIF)"),
    (b"BM", "an image (BMP)"),
    (b"RIFF", "an image, a sound or a film (RIFF)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document of before 2007"),
    (b"PK\x05\x06", "an empty archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"ID3", "a sound (MP3)"),
    (b"OggS", "a sound (Ogg)"),
    (b"\x7fELF", "a program"),
)
_TYPES: dict[str, Kind] = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/json": "json",
    "application/rtf": "rtf",
    "text/rtf": "rtf",
    "application/pdf": "pdf",
}
_ENDINGS: dict[str, Kind] = {
    "html": "html", "htm": "html", "xhtml": "html", "csv": "csv", "tsv": "tsv", "json": "json", "pdf": "pdf",
}  # fmt: skip
_PAGE = re.compile(
    rb"\s*(<!--.*?-->\s*|<\?xml[^>]*>\s*)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # UTF-16 and UTF-32 say so at their beginning


def kind_of(body: bytes, mime_type: str | None = None, name: str | None = None) -> Kind:
    """The kind of a document. Raises Unreadable, with what it is instead, where it is none."""
    head = body[:_HEAD]
    said = (mime_type or "").partition(";")[0].strip().lower()
    ending = (name or "").rpartition(".")[2].lower()
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    # Some bytes may stand before a PDF's mark; a text about PDF may have the mark in it.
    if b"%PDF-" in head[:1024] and (said == "application/pdf" or ending == "pdf"):
        return "pdf"
    if _is_binary(head):
        raise Unreadable(f"It is {_named(head, mime_type)} of {len(body)} bytes, not a document with text.")
    if _PAGE.match(head):
        return "html"
    kind = _TYPES.get(said) or _ENDINGS.get(ending) or "text"
    return "text" if kind in ("pdf", "rtf") else kind  # it says so, and does not begin so


def _is_binary(head: bytes) -> bool:
    if head.startswith(_WIDE):
        return False
    odd = sum(byte < 32 and byte not in b"\t\n\v\f\r\x1b" for byte in head)
    return b"\0" in head or odd * 20 > len(head)


def _named(head: bytes, mime_type: str | None) -> str:
    for start, words in _PICTURES:
        if head.startswith(start):
            return words
    if head[4:8] == b"ftyp":
        return "a film, a sound or an image (MP4 family)"
    family = (mime_type or "").partition("/")[0].strip().lower()
    return {"image": "an image", "audio": "a sound", "video": "a film"}.get(family, "a file of binary data")
