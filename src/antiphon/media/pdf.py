"""The text of PDF documents, page by page, and pages as pictures, by pdfium. Runs in the worker's child process only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from antiphon.media import pdf_tables
from antiphon.ports import Document, Leaf, Unreadable

if TYPE_CHECKING:
    from PIL import Image

_MOST_PAGES = 5000
_MOST_OBJECTS = 200  # of a page without words that are looked at for what it shows
_FEW = 40  # characters: what a scanner's program adds to a page that is a picture
_IMAGE, _FORM = 3, 5  # FPDF_PAGEOBJ_*


class PdfPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page: its text; and whether it is `bare`: shows something, and has no text for it."""

    number: int
    text: str = ""
    bare: bool = False


def prepare() -> None:
    """Load what is needed, before there is a document. Raises Unreadable."""
    try:
        import pypdfium2  # noqa: F401 - so that a process per document need not
    except ImportError:
        raise Unreadable("The server has no pypdfium2 for it: pip install 'antiphon[documents]'.") from None


def read_pdf(body: bytes) -> Document:
    """A leaf per page that has text, with the page's number. Raises Unreadable."""
    with opened(body) as document:
        pages = len(document)
        if pages > _MOST_PAGES:
            raise Unreadable(f"It has {pages} pages; at most {_MOST_PAGES} are read.")
        texts = ((index + 1, _text(document, index)) for index in range(pages))
        leaves = tuple(Leaf(text, number) for number, text in texts if text)
        title = title_of(document)
    if not leaves:
        raise Unreadable(f"Its {pages} pages are pictures without text.")
    return Document(title=title, leaves=leaves)


def title_of(document: Any) -> str | None:
    """What it says its title is."""
    title: str = document.get_metadata_value("Title").strip()
    return title if title.lower() not in ("", "untitled") else None


def pages_of(document: Any, numbers: Sequence[int], room: int) -> list[PdfPage]:
    """These pages (from 1). Where they have more than `room` characters, they are there to be counted. Raises Unreadable."""
    if len(numbers) > _MOST_PAGES:
        raise Unreadable(
            f"It has {len(numbers)} pages; at most {_MOST_PAGES} are read: choose some (processing.page_options)."
        )
    pages: list[PdfPage] = []
    size = 0
    for number in numbers:
        text = _text(document, number - 1, tables=size <= room)
        size += len(text)
        bare = len(text) < _FEW and _shows_more(document, number - 1, bool(text))
        pages.append(PdfPage(number=number, text=text, bare=bare))
    return pages


@contextmanager
def opened(body: bytes) -> Iterator[Any]:
    """The document. Raises Unreadable, also for what pdfium cannot do with it afterwards."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(body)
        if len(document) == 0:
            raise Unreadable("It is a PDF document without pages.")
        yield document
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise Unreadable("It is locked with a password." if locked else "It is no whole PDF document.") from None


def drawn(body: bytes, number: int, side: int) -> Image.Image:
    """A page (from 1) as a picture, its longer side `side` pixels. Raises Unreadable."""
    with opened(body) as document:
        return draw(document, number, side)


def draw(document: Any, number: int, side: int) -> Image.Image:
    """The same of an open document."""
    import pypdfium2

    try:
        page = document[number - 1]
        longest = max(page.get_size())
        if not 0 < longest < 1e6:
            raise Unreadable(f"Page {number} has no size that could be drawn.")
        picture: Image.Image = page.render(scale=side / longest, may_draw_forms=False).to_pil()
    except (pypdfium2.PdfiumError, ValueError, ZeroDivisionError):
        raise Unreadable(f"Page {number} is broken.") from None
    return picture.convert("RGB")


def _text(document: Any, index: int, *, tables: bool = False) -> str:
    """One page's text; empty for a page that is broken: the others can still be read."""
    import pypdfium2

    try:
        page = document[index]
        found = pdf_tables.tables_of(page) if tables and page.get_rotation() in (0, 180) else []
        if found:
            return pdf_tables.text_with(page, found)
        words = page.get_textpage()
        text: str = words.get_text_bounded()
        words.close()
        page.close()
    except pypdfium2.PdfiumError:
        return ""
    # pdfium writes U+FFFE where a word is broken at the end of a line.
    return text.replace("\ufffe\r\n", "").replace("\ufffe", "").replace("\r\n", "\n").strip()


def _shows_more(document: Any, index: int, has_text: bool) -> bool:
    """Whether a page shows what its text does not say: anything at all, or beside a few words a picture of half its size."""
    import pypdfium2

    try:
        page = document[index]
        width, height = page.get_size()
        for count, found in enumerate(page.get_objects(max_depth=3)):
            if not has_text and found.type != _FORM:
                return True
            if found.type == _IMAGE:
                left, bottom, right, top = found.get_bounds()
                if (right - left) * (top - bottom) * 2 > width * height:
                    return True
            if count > _MOST_OBJECTS:
                return False
    except pypdfium2.PdfiumError:
        return False
    return False
