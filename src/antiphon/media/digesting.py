"""Documents with their structure: pages, sheets and slides, the ones asked for. Runs in the worker's child process only."""

from __future__ import annotations

import csv
import io

import msgspec

from antiphon.media import grid, painter, parsing, pdf, texts
from antiphon.media.grid import Cell, Grid
from antiphon.media.headers import header_of
from antiphon.media.html import read_html
from antiphon.media.jobs import Task
from antiphon.media.kinds import Kind, kind_of
from antiphon.media.odf import digest_odf
from antiphon.media.office import digest_office
from antiphon.media.package import Package
from antiphon.media.pages import Asked, Digested, Page, chosen, paged, too_long
from antiphon.media.rtf import read_rtf
from antiphon.ports import Document, Picture, Unreadable

MOST_PICTURES = 20  # of pages in one document

_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # the container of Office before 2007, and of what Office locks
_LOCKED = "EncryptedPackage".encode("utf-16-le")
_KINDS: dict[Kind, str] = {"html": "HTML", "rtf": "RTF", "json": "JSON", "text": "text"}


def prepare(body: bytes, asked: Asked) -> None:
    """Load what reads it. Raises Unreadable."""
    if body.startswith(_OLD):
        if _LOCKED in body:
            raise Unreadable("It is locked with a password.")
        raise Unreadable(
            "It is an Office document of before 2007 (DOC, XLS, PPT), which is not read: save it as DOCX, XLSX, PPTX or PDF."
        )
    if picture := header_of(body):
        raise Unreadable(f"It is a picture ({picture}): send it as content of type image.")
    parsing.prepare(body, parsing.Reading(mime_type=asked.mime_type, name=asked.name, largest=0))
    if asked.sees:
        painter.prepare()


def digest(body: bytes, asked: Asked) -> Digested:
    """The document, as far as it was asked for. Raises Unreadable."""
    kind = kind_of(body, asked.mime_type, asked.name)
    found = {"pdf": _pdf, "zip": _package, "csv": _table, "tsv": _table}.get(kind, _text)(body, asked)
    pages = tuple(msgspec.structs.replace(page, text=parsing.seen(page.text)) for page in found.pages)
    size = sum(len(page.text) for page in pages)
    if size > asked.room:
        raise Unreadable(too_long(size, asked.room, found.unit, found.count))
    if not any(page.text or page.bare or page.picture for page in pages) and not found.unit:
        raise Unreadable("It holds no text.")
    return msgspec.structs.replace(found, pages=pages)


def _pdf(body: bytes, asked: Asked) -> Digested:
    with pdf.opened(body) as document:
        count = len(document)
        numbers = chosen(asked, count, "page")
        wants_text = not asked.layers or "page_text" in asked.layers
        pages = []
        for page in pdf.pages_of(document, numbers, asked.room) if wants_text else map(_unread, numbers):
            is_drawn = "page_image" in asked.layers or (asked.sees and page.bare and not asked.layers)
            pages.append(
                Page(
                    number=page.number,
                    text=page.text,
                    bare=page.bare and not is_drawn,
                    picture=_drawn(document, page.number, asked) if is_drawn else None,
                )
            )
            if sum(page.picture is not None for page in pages) > MOST_PICTURES:
                raise Unreadable(
                    f"More than {MOST_PICTURES} of its {count} pages would be shown as pictures: "
                    "ask for some of them (processing.page_options)."
                )
        return Digested(kind="PDF", unit="page", count=count, title=pdf.title_of(document), pages=tuple(pages))


def _unread(number: int) -> pdf.PdfPage:
    return pdf.PdfPage(number=number)


def _drawn(document: object, number: int, asked: Asked) -> Picture:
    picture = pdf.draw(document, number, asked.side)
    mime_type, written = painter.encoded(picture, asked.largest)
    width, height = picture.size
    return Picture(body=written, mime_type=mime_type, kind="application/pdf", width=width, height=height)


def _package(body: bytes, asked: Asked) -> Digested:
    package = Package(body)
    found = digest_office(package, asked) or digest_odf(package, asked)
    if found is None:
        raise Unreadable("It is an archive, not a document.")
    return found


def _table(body: bytes, asked: Asked) -> Digested:
    """CSV and TSV are a sheet."""
    kind = kind_of(body, asked.mime_type, asked.name)
    text = texts.decoded(body, parsing.charset(asked.mime_type))
    separator = "\t" if kind == "tsv" else texts.separator(text)
    sheet = Grid(name="")
    csv.field_size_limit(1 << 27)
    try:
        for row, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=separator)):
            for column, value in enumerate(cells):
                sheet.put(row, column, Cell(" ".join(value.split())))
    except csv.Error:
        return paged(asked, kind.upper(), [text], None)
    found = grid.digested(asked, kind.upper(), [sheet], None)
    return msgspec.structs.replace(found, pages=(msgspec.structs.replace(found.pages[0], number=None),))


def _text(body: bytes, asked: Asked) -> Digested:
    kind = kind_of(body, asked.mime_type, asked.name)
    document = _read(kind, body, asked)
    return paged(asked, _KINDS[kind], ["\n\n".join(leaf.text for leaf in document.leaves)], document.title)


def _read(kind: Kind, body: bytes, asked: Asked) -> Document:
    if kind == "rtf":
        return read_rtf(body)
    text = texts.decoded(body, parsing.charset(asked.mime_type))
    if kind == "html":
        return read_html(text)
    return texts.read_json(text) if kind == "json" else texts.read_text(text)


TASK = Task(Asked, prepare, digest)
