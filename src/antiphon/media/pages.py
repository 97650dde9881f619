"""What is asked of a document and what comes of it: its pages, slides or sheets, the ones that were asked for. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from antiphon.ports import Picture, Unreadable

Unit = Literal["page", "slide", "sheet", ""]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of a document: the pages or slides from `first` to `last`; or `sheet`, and of it the `cells`.

    `layers` are the API's content_layers, none for what suits best; `options` names what of the processing was given, for
    errors. A model that `sees` is shown pages without text as they are, within `side` pixels and `largest` bytes. At most
    `room` characters.
    """

    mime_type: str | None = None
    name: str | None = None
    first: int | None = None
    last: int | None = None
    sheet: int | None = None
    cells: str | None = None
    layers: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    sees: bool = False
    side: int = 1536
    largest: int = 2**22
    room: int


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page, a sheet or a slide. `bare`: it shows something, and has no text for it."""

    number: int | None = None
    name: str = ""
    text: str = ""
    bare: bool = False
    picture: Picture | None = None


class Digested(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for of a document, and how many units it has in all; `kind` in words."""

    kind: str
    unit: Unit = ""
    count: int = 1
    title: str | None = None
    pages: tuple[Page, ...]


def many(count: int, what: str) -> str:
    """`1 page`, `2 pages`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def too_long(size: int, room: int, unit: Unit, count: int) -> str:
    """What to say of a document with more text than there is room for."""
    ways = ["put it into a file_search store", "use a model with a larger context"]
    if unit == "sheet":
        ways.insert(0, "ask for a sheet or some cells of it (processing.spreadsheet_options)")
    elif unit and count > 1:
        ways.insert(0, f"ask for some of its {count} {unit}s (processing.page_options)")
    return f"It has {size} characters of text, and there is room for {room}: {', '.join(ways[:-1])} or {ways[-1]}."


def chosen(asked: Asked, count: int, unit: Unit) -> range:
    """The numbers of the pages or slides that were asked for. Raises Unreadable."""
    if "spreadsheet_options" in asked.options:
        raise Unreadable("processing.spreadsheet_options are for spreadsheets; it is none: use page_options.")
    first, last = asked.first if asked.first is not None else 1, asked.last if asked.last is not None else count
    if first > count:
        raise Unreadable(f"It has {many(count, unit)}, and processing.page_options.start_page is {first}.")
    if first < 1 or last < first:
        raise Unreadable("processing.page_options: start_page is at least 1, and end_page no less than start_page.")
    return range(first, min(last, count) + 1)


def undrawn(asked: Asked, kind: str) -> None:
    """Raises Unreadable where pictures of pages are asked for that cannot be drawn."""
    if "page_image" in asked.layers:
        raise Unreadable(
            f"processing.page_options asks for page_image: only the pages of PDF documents are drawn, and it is {kind}. "
            "Send it as a PDF, or ask for page_text."
        )


def paged(asked: Asked, kind: str, pages: list[str], title: str | None) -> Digested:
    """A document of text, whose pages are known by the marks that its program left; one `page` where it left none."""
    undrawn(asked, kind)
    if len(pages) == 1:
        if asked.first not in (None, 1) or asked.last not in (None, 1) or "spreadsheet_options" in asked.options:
            if "spreadsheet_options" in asked.options:
                raise Unreadable("processing.spreadsheet_options are for spreadsheets; it is none.")
            raise Unreadable(
                "It does not say where its pages begin, so processing.page_options cannot choose any: send it as a PDF, or "
                "whole."
            )
        return Digested(kind=kind, title=title, pages=(Page(text=pages[0]),))
    numbers = chosen(asked, len(pages), "page")
    found = tuple(Page(number=number, text=pages[number - 1]) for number in numbers)
    return Digested(kind=kind, unit="page", count=len(pages), title=title, pages=found)
