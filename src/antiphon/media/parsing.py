"""Documents as plain text: the job behind `media/reader.py`. Runs in the worker's child process only."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import msgspec

from antiphon.media import html, pdf
from antiphon.media.jobs import Task
from antiphon.media.kinds import Kind, kind_of
from antiphon.media.odf import read_odf
from antiphon.media.office import read_office
from antiphon.media.package import Package
from antiphon.media.rtf import read_rtf
from antiphon.media.texts import decoded, read_json, read_table, read_text
from antiphon.ports import Document, Leaf, Unreadable

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
# Control characters, and those that turn or hide text without being seen: what the model reads is what a reader sees.
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f\ud800-\udfff]")
_PREPARE: dict[Kind, Callable[[], None]] = {"html": html.prepare, "pdf": pdf.prepare}
_TEXTS: dict[Kind, Callable[[str], Document]] = {
    "html": html.read_html,
    "json": read_json,
    "csv": read_table,
    "tsv": partial(read_table, delimiter="\t"),
    "text": read_text,
}


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A document to read as text, of at most `largest` characters."""

    mime_type: str | None = None
    name: str | None = None
    largest: int


def prepare(body: bytes, asked: Reading) -> None:
    """Load what reads it. Raises Unreadable."""
    _PREPARE.get(kind_of(body, asked.mime_type, asked.name), lambda: None)()


def read(body: bytes, asked: Reading) -> Document:
    """Its text. Raises Unreadable."""
    return cleaned(parse(body, asked.mime_type, asked.name), asked.largest)


def parse(body: bytes, mime_type: str | None, name: str | None) -> Document:
    """The text of a document, by its kind. Raises Unreadable."""
    kind = kind_of(body, mime_type, name)
    if kind == "pdf":
        return pdf.read_pdf(body)
    if kind == "rtf":
        return read_rtf(body)
    if kind == "zip":
        package = Package(body)
        document = read_office(package) or read_odf(package)
        if document is None:
            raise Unreadable("It is an archive, not a document.")
        return document
    return _TEXTS[kind](decoded(body, charset(mime_type)))


def charset(mime_type: str | None) -> str | None:
    """What a media type says of the text's encoding."""
    found = _CHARSET.search(mime_type or "")
    return found[1] if found else None


def seen(text: str) -> str:
    """Only characters that can be seen, and lines that end in one way."""
    return _UNSEEN.sub("", text.replace("\r\n", "\n")).strip()


def cleaned(document: Document, largest: int) -> Document:
    """The same with only characters that can be seen. Raises Unreadable where nothing is left, or too much."""
    size = sum(len(leaf.text) for leaf in document.leaves)
    if size > largest:
        raise Unreadable(f"It holds {size} characters of text; at most {largest} are read.")
    leaves = [Leaf(seen(leaf.text), leaf.number) for leaf in document.leaves]
    leaves = [leaf for leaf in leaves if leaf.text]
    if not leaves:
        raise Unreadable("It holds no text.")
    title = " ".join(_UNSEEN.sub("", document.title or "").split())[:300] or None
    return Document(title=title, leaves=tuple(leaves))


TASK = Task(Reading, prepare, read)
