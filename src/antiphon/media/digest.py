"""Makes documents and images readable for a model, in processes apart: `ports.Digester` for both.

Documents become text with the numbers of their pages; pages that are pictures, and pictures themselves, become their words
(OCR) for a model that does not see, and pictures of a kind and size that it can be shown for one that does. Nothing is left
out unsaid.
"""

from __future__ import annotations

import asyncio
import re
from importlib.util import find_spec

from antiphon import wire
from antiphon.media import digesting, ocr
from antiphon.media.ocr import Scan, Words
from antiphon.media.pages import Asked, Digested, Page, many, too_long
from antiphon.media.painter import Frame, Shown
from antiphon.media.workers import Workers
from antiphon.ports import Digest, Medium, Unreadable, Wanted

SIDES: dict[wire.MediaResolution | None, int] = {
    "low": 512,
    "medium": 1024,
    "high": 1536,
    "ultra_high": 3072,
    None: 1536,
}
MOST_SCANNED = 30  # pages that are read by OCR, of one document

_LARGEST_PICTURE = 4 * 2**20  # bytes, each
_ODD = re.compile(r"[\x00-\x1f\x7f\[\]\u2028-\u202e\u2066-\u2069]")

_Parts = tuple[wire.TextContent | wire.ImageContent | wire.AudioContent, ...]


class DigestPages(Workers):
    """Reads `workers` files at once; further ones wait `patience` seconds at most for their turn.

    A document, a picture, or a page that is read by OCR may each take `seconds` and `memory` bytes. Processes start when
    they are needed and live until `aclose`.
    """

    kinds = frozenset({"document", "image"})

    def __init__(
        self, *, workers: int = 2, seconds: int = 120, memory: int = 3 * 2**30, patience: float = 300.0
    ) -> None:
        super().__init__(workers, seconds, patience)
        self._memory = memory

    async def __call__(self, medium: Medium, wanted: Wanted) -> Digest:
        """What the model is shown instead. Raises Unreadable, in words for the user."""
        if isinstance(medium.content, wire.DocumentContent):
            return await self._document(medium, medium.content, wanted)
        if "image" in wanted.modalities:
            return await self._shown(medium)
        return await self._read(medium, wanted)

    async def _shown(self, medium: Medium) -> Digest:
        frame = Frame(side=SIDES[_resolution(medium)], largest=_LARGEST_PICTURE)
        most = 2 * _LARGEST_PICTURE + 2**20
        shown = await self._do("show", medium.body, frame, Shown, memory=self._memory, largest=most)
        parts: _Parts = (shown.picture.content(),)
        if shown.frames > 1:
            parts = (
                wire.TextContent(text=f"[{_named('image', medium)}: the first of {shown.frames} pictures in it]"),
                *parts,
            )
        return Digest(parts=parts, how=f"{shown.picture}, shown as {shown.picture.mime_type}")

    async def _read(self, medium: Medium, wanted: Wanted) -> Digest:
        words = await self._do("recognise", medium.body, Scan(), Words, memory=self._memory, largest=2**24)
        size = f"{words.width} x {words.height} pixels"
        first = f", the first of {words.frames} pictures in it" if words.frames > 1 else ""
        if not words.text:
            text = f"[{_named('image', medium)}, {size}{first}, no text found]"
            return Digest(parts=(wire.TextContent(text=text),), how="OCR found no text")
        if len(words.text) > wanted.room:
            raise Unreadable(too_long(len(words.text), wanted.room, "", 1))
        text = f"[{_named('image', medium)}, {size}{first}, its text as read by OCR{_unsure(words)}]\n{words.text}"
        return Digest(parts=(wire.TextContent(text=text),), how=f"OCR read {words.text.count(chr(10)) + 1} lines")

    async def _document(self, medium: Medium, content: wire.DocumentContent, wanted: Wanted) -> Digest:
        asked = _asked(medium, content, wanted)
        most = 8 * wanted.room + 2 * _LARGEST_PICTURE * digesting.MOST_PICTURES + 2**20
        digested = await self._do("digest", medium.body, asked, Digested, memory=self._memory, largest=most)
        bare = [page.number for page in digested.pages if page.bare and page.number is not None]
        words: dict[int, Words | str] = {}
        if bare:
            words = await self._scanned(medium, digested, bare, wanted.room)
        return _composed(medium, digested, words)

    async def _scanned(self, medium: Medium, digested: Digested, bare: list[int], room: int) -> dict[int, Words | str]:
        """The words of pages that are pictures; or, by their numbers, why there are none."""
        has_text = any(page.text and not page.bare for page in digested.pages)
        if find_spec("rapidocr") is None:
            if not has_text:
                raise Unreadable(f"Its pages are pictures without text. {ocr.MISSING}")
            return dict.fromkeys(bare, f"not read. {ocr.MISSING}")
        if len(bare) > MOST_SCANNED:
            raise Unreadable(
                f"{len(bare)} of its pages are pictures of text; at most {MOST_SCANNED} are read at once: "
                "ask for some of them (processing.page_options)."
            )
        read = await asyncio.gather(*(self._page(medium.body, number) for number in bare))
        size = sum(len(page.text) for page in digested.pages)
        size += sum(len(words.text) for words in read if isinstance(words, Words))
        if size > room:
            raise Unreadable(too_long(size, room, digested.unit, digested.count))
        return dict(zip(bare, read, strict=True))

    async def _page(self, body: bytes, number: int) -> Words | str:
        try:
            return await self._do("recognise", body, Scan(page=number), Words, memory=self._memory, largest=2**24)
        except Unreadable as error:
            return f"not read. {error}"


def _asked(medium: Medium, content: wire.DocumentContent, wanted: Wanted) -> Asked:
    """The question to the worker. Raises Unreadable for layers that cannot be made."""
    processing = content.processing
    pages = sheets = None
    if isinstance(processing, wire.DocumentStaticProcessing):
        pages, sheets = processing.page_options, processing.spreadsheet_options
    sees = "image" in wanted.modalities
    layers = tuple((pages.content_layers if pages else None) or (sheets.content_layers if sheets else None) or ())
    if "page_image" in layers and not sees:
        raise Unreadable(
            "processing.page_options asks for page_image, and the model does not look at images: ask for page_text "
            "(pages that are pictures are read by OCR), or choose a model that sees."
        )
    if "visual" in layers:
        raise Unreadable(
            "processing.spreadsheet_options asks for visual: sheets are not drawn here. Ask for data or formulas, or send "
            "the sheet as a PDF."
        )
    return Asked(
        mime_type=medium.mime_type,
        name=medium.name,
        first=pages.start_page if pages else None,
        last=pages.end_page if pages else None,
        sheet=sheets.sheet_index if sheets else None,
        cells=sheets.visible_cells if sheets else None,
        layers=layers,
        options=frozenset(["page_options"] * bool(pages) + ["spreadsheet_options"] * bool(sheets)),
        sees=sees,
        side=SIDES[content.resolution],
        largest=_LARGEST_PICTURE,
        room=wanted.room,
    )


def _composed(medium: Medium, digested: Digested, words: dict[int, Words | str]) -> Digest:
    """Texts and pictures in the document's order; what stands between two pictures is one text."""
    parts: list[wire.TextContent | wire.ImageContent | wire.AudioContent] = []
    lines = [_headline(medium, digested)]
    for page in digested.pages:
        read = words.get(page.number) if page.number is not None else None
        lines += _page_lines(digested, page, read)
        if page.picture is not None:
            parts += [wire.TextContent(text="\n".join(lines)), page.picture.content()]
            lines = []
    if lines:
        parts.append(wire.TextContent(text="\n".join(lines)))
    drawn = sum(page.picture is not None for page in digested.pages)
    recognised = sum(isinstance(read, Words) for read in words.values())
    how = f"text of {many(len(digested.pages), digested.unit or 'part')}"
    how += f", {many(recognised, 'page')} read by OCR" * bool(recognised) + f", {many(drawn, 'picture')}" * bool(drawn)
    return Digest(parts=tuple(parts), how=how)


def _headline(medium: Medium, digested: Digested) -> str:
    said = [_named("document", medium)]
    if digested.kind:
        said.append(digested.kind)
    if digested.unit:
        numbers = [page.number for page in digested.pages if page.number is not None]
        whole = many(digested.count, digested.unit)
        if numbers and len(numbers) < digested.count:
            span = (
                f"{digested.unit} {numbers[0]}"
                if len(numbers) == 1
                else f"{digested.unit}s {numbers[0]} to {numbers[-1]}"
            )
            whole = f"{span} of {digested.count}"
        said.append(whole)
    return f"[{', '.join(said)}]"


def _page_lines(digested: Digested, page: Page, read: Words | str | None) -> list[str]:
    mark = f"{digested.unit or 'page'} {page.number}{f': {page.name}' if page.name else ''}" if page.number else ""
    if isinstance(read, Words):
        mark += f", a picture; its text as read by OCR{_unsure(read)}" if read.text else ", a picture, no text found"
    elif read is not None:
        mark += f", a picture, {read}"
    elif mark and not page.text and page.picture is None:
        mark += ", empty"
    text = "\n".join(filter(None, (page.text, read.text if isinstance(read, Words) else "")))
    return [*([f"[{mark}]"] if mark else []), *([text] if text else [])]


def _unsure(words: Words) -> str:
    """What is to be known of how sure the reader was."""
    said = f", {words.sure:.0%} sure" if words.text and words.sure < 0.9 else ""
    if words.left_out:
        said += f", {many(words.left_out, 'line')} that could not be made out left out"
    return said


def _named(what: str, medium: Medium) -> str:
    name = " ".join(_ODD.sub(" ", medium.name or "").split())[:120]
    return f"{what} {name}".strip()


def _resolution(medium: Medium) -> wire.MediaResolution | None:
    return medium.content.resolution if isinstance(medium.content, wire.ImageContent) else None
