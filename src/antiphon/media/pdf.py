"""The text of PDF documents, page by page, by pdfium."""

from __future__ import annotations

from typing import Any

from antiphon.ports import Document, Leaf, Unreadable

_MOST_PAGES = 5000


def prepare() -> None:
    """Load what is needed, before there is a document."""
    import pypdfium2  # noqa: F401 - so that a process per document need not


def read_pdf(body: bytes) -> Document:
    """A leaf per page that has text, with the page's number. Raises Unreadable."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(body)
        pages = len(document)
        if pages > _MOST_PAGES:
            raise Unreadable(f"It has {pages} pages; at most {_MOST_PAGES} are read.")
        leaves = tuple(leaf for index in range(pages) if (leaf := _page(document, index)) is not None)
        title: str = document.get_metadata_value("Title").strip()
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise Unreadable("It is locked with a password." if locked else "It is no whole PDF document.") from None
    if not leaves:
        raise Unreadable(f"Its {pages} pages are pictures without text.")
    return Document(title=title if title.lower() not in ("", "untitled") else None, leaves=leaves)


def _page(document: Any, index: int) -> Leaf | None:
    """One page's text; None for a page without, or one that is broken: the others can still be read."""
    import pypdfium2

    try:
        page = document[index]
        words = page.get_textpage()
        text: str = words.get_text_bounded()
        words.close()
        page.close()
    except pypdfium2.PdfiumError:
        return None
    # pdfium writes U+FFFE where a word is broken at the end of a line.
    text = text.replace("\ufffe\r\n", "").replace("\ufffe", "").replace("\r\n", "\n").strip()
    return Leaf(text, index + 1) if text else None
