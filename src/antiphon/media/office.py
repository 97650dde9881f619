"""The text of Office Open XML documents: Word, PowerPoint, Excel."""

from __future__ import annotations

from collections.abc import Mapping

from antiphon.media.blocks import Blocks, lines, markdown
from antiphon.media.grid import digested
from antiphon.media.package import Package
from antiphon.media.pages import Asked, Digested, Page, chosen, paged, undrawn
from antiphon.media.sheets import grids, read_workbook
from antiphon.ports import Document, Leaf, Unreadable

_MAIN = ("word/document.xml", "ppt/presentation.xml", "xl/workbook.xml")


_MOST_SLIDES = 10_000


def read_office(package: Package) -> Document | None:
    """A document of one of the three kinds; None where the package is something else. Raises Unreadable."""
    main = _main(package)
    if main is None:
        return None
    title = package.title("docProps/core.xml")
    if main.startswith("word/"):
        (words,) = _words(package, main)
        return Document(title=title, leaves=(Leaf(words),))
    if main.startswith("ppt/"):
        slides = _slides(package, main)
        leaves = (Leaf(text, number) for number, part in enumerate(slides, 1) if (text := _slide(package, part)))
        return Document(title=title, leaves=tuple(leaves))
    return Document(title=title, leaves=read_workbook(package, main))


def digest_office(package: Package, asked: Asked) -> Digested | None:
    """The pages, slides or sheets that were asked for; None where the package is something else. Raises Unreadable."""
    main = _main(package)
    if main is None:
        return None
    title = package.title("docProps/core.xml")
    if main.startswith("word/"):
        return paged(asked, "Word", _words(package, main, digest=True), title)
    if main.startswith("xl/"):
        return digested(asked, "Excel", grids(package, main, asked.sheet), title)
    undrawn(asked, "PowerPoint")
    slides = _slides(package, main)
    if not slides:
        raise Unreadable("It has no slides.")
    numbers = chosen(asked, len(slides), "slide")
    found = tuple(Page(number=number, text=_slide(package, slides[number - 1], digest=True)) for number in numbers)
    return Digested(kind="PowerPoint", unit="slide", count=len(slides), title=title, pages=found)


def _main(package: Package) -> str | None:
    """The part that leads to all others."""
    main = next(
        (part for part in package.targets("").values() if part.startswith(("word/", "ppt/", "xl/"))),
        next((part for part in _MAIN if part in package.names), None),
    )
    return main if main in package.names else None


class _Paragraphs:
    """Collects the text of a part that is written in paragraphs, runs and tables, in Word's words or DrawingML's."""

    def __init__(self, *, digest: bool = False) -> None:
        self.blocks = Blocks(markdown if digest else lines)
        self.breaks: dict[str, list[int]] = {
            "drawn": [],
            "asked": [],
        }  # before which blocks a page began when it was drawn
        self._digest = digest
        self._in_text = False
        self._vanished = False
        self._said = ""  # of the drawing under way
        self._depth = 0  # of paragraphs

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = tag.rpartition(":")[2]
        self._in_text = name == "t"
        match name:
            case "tab" if "w:pos" not in attributes:  # with a place it is a stop of the ruler's
                self.blocks.write("\t")
            case "br" if attributes.get("w:type") == "page":
                self._break("asked")
            case "br" | "cr":
                self.blocks.write("\n")
            case "lastRenderedPageBreak":
                self._break("drawn")
            case "blip" | "docPr" | "cNvPr" | "ph" if self._digest:
                self._drawing(name, attributes)
            case "r":
                self._vanished = False
            case "vanish":
                self._vanished = attributes.get("w:val", "1") not in ("0", "false")
            case "p":
                self._depth += 1
            case "pStyle":
                self.blocks.heading = _level(attributes.get("w:val", ""))
            case "tr":
                self.blocks.begin_row()
            case "tc":
                self.blocks.begin_cell()

    def text(self, data: str) -> None:
        if self._in_text and not self._vanished:
            self.blocks.write(data)

    def end(self, tag: str) -> None:
        self._in_text = False
        match tag.rpartition(":")[2]:
            case "p":
                self._depth -= 1
                self.blocks.end_paragraph()
            case "tc":
                self.blocks.end_cell()
            case "tr":
                self.blocks.end_row()
            case "tbl":
                self.blocks.end_table()

    def _break(self, why: str) -> None:
        """A page begins; one that begins in a table is taken to begin behind its row."""
        if not self.blocks.inside_table:
            self.blocks.end_paragraph()
        self.breaks[why].append(len(self.blocks) + self.blocks.inside_table)

    def _drawing(self, name: str, attributes: Mapping[str, str]) -> None:
        """A slide's title becomes a heading, a picture what is said of it for those who do not see it."""
        if name == "ph":
            self.blocks.heading = 1 if attributes.get("type") in ("title", "ctrTitle") else 0
        elif name == "blip":
            self.blocks.write(f"[picture{self._said}]")
            self._said = ""
            if self._depth < 1:
                self.blocks.end_paragraph()
        else:
            said = " ".join(attributes.get("descr", "").split())[:500]
            self._said = f": {said}" if said else ""


def _level(style: str) -> int:
    """How deep a heading a style's id names: Title 1, Heading1 1, Heading2 2 …; 0 for a style of the text."""
    if style == "Title":
        return 1
    digits = style.lower().removeprefix("heading")
    return min(int(digits), 6) if digits != style.lower() and digits.isdecimal() and len(digits) < 3 else 0


def _blocks(package: Package, part: str, *, digest: bool = False) -> _Paragraphs:
    collected = _Paragraphs(digest=digest)
    package.parse(part, collected.start, collected.end, collected.text)
    return collected


def _words(package: Package, main: str, *, digest: bool = False) -> list[str]:
    """The text; for a digest page by page, where its program left marks. Notes stand at the end."""
    folder = main.rpartition("/")[0]
    body = _blocks(package, main, digest=digest)
    blocks = body.blocks.take()
    notes = [
        note
        for part in ("footnotes.xml", "endnotes.xml")
        for note in _blocks(package, f"{folder}/{part}", digest=digest).blocks.take()
    ]
    # A program that says where pages began says so of all; else those are known that somebody asked for.
    breaks = (body.breaks["drawn"] or body.breaks["asked"]) if digest else []
    pages = [blocks[begin:end] for begin, end in zip([0, *breaks], [*breaks, len(blocks)], strict=True)]
    pages[-1] += notes
    return ["\n\n".join(page) for page in pages]


def _slides(package: Package, main: str) -> list[str]:
    """The slides' parts, in order. Raises Unreadable."""
    targets = package.targets(main)
    order: list[str] = []

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        if tag.rpartition(":")[2] == "sldId":
            order.append(targets.get(attributes.get("r:id", ""), ""))

    package.parse(main, start)
    if len(order) > _MOST_SLIDES:
        raise Unreadable(f"It has {len(order)} slides.")
    return order


def _slide(package: Package, part: str, *, digest: bool = False) -> str:
    blocks = _blocks(package, part, digest=digest).blocks.take()
    for target in package.targets(part).values():
        if "/notesSlides/" in target and (notes := _blocks(package, target).blocks.take()):
            # The last field of a page of notes is the slide's number.
            blocks += ["Notes:", *(one for one in notes if not one.isdecimal())]
    return "\n\n".join(blocks)
