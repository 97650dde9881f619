"""The text of Office Open XML documents: Word, PowerPoint, Excel."""

from __future__ import annotations

from collections.abc import Mapping

from antiphon.media.blocks import Blocks
from antiphon.media.package import Package
from antiphon.media.sheets import read_workbook
from antiphon.ports import Document, Leaf, Unreadable

_MAIN = ("word/document.xml", "ppt/presentation.xml", "xl/workbook.xml")


def read_office(package: Package) -> Document | None:
    """A document of one of the three kinds; None where the package is something else. Raises Unreadable."""
    main = next(
        (part for part in package.targets("").values() if part.startswith(("word/", "ppt/", "xl/"))),
        next((part for part in _MAIN if part in package.names), None),
    )
    if main is None or main not in package.names:
        return None
    title = package.title("docProps/core.xml")
    if main.startswith("word/"):
        return Document(title=title, leaves=_words(package, main))
    if main.startswith("ppt/"):
        return Document(title=title, leaves=_slides(package, main))
    return Document(title=title, leaves=read_workbook(package, main))


class _Paragraphs:
    """Collects the text of a part that is written in paragraphs, runs and tables, in Word's words or DrawingML's."""

    def __init__(self) -> None:
        self.blocks = Blocks()
        self._in_text = False
        self._vanished = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = tag.rpartition(":")[2]
        self._in_text = name == "t"
        match name:
            case "tab" if "w:pos" not in attributes:  # with a place it is a stop of the ruler's
                self.blocks.write("\t")
            case "br" | "cr":
                self.blocks.write("\n")
            case "r":
                self._vanished = False
            case "vanish":
                self._vanished = attributes.get("w:val", "1") not in ("0", "false")
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
                self.blocks.end_paragraph()
            case "tc":
                self.blocks.end_cell()
            case "tr":
                self.blocks.end_row()


def _level(style: str) -> int:
    """How deep a heading a style's id names: Title 1, Heading1 1, Heading2 2 …; 0 for a style of the text."""
    if style == "Title":
        return 1
    digits = style.lower().removeprefix("heading")
    return min(int(digits), 6) if digits != style.lower() and digits.isdecimal() and len(digits) < 3 else 0


def _blocks(package: Package, part: str) -> list[str]:
    collected = _Paragraphs()
    package.parse(part, collected.start, collected.end, collected.text)
    return collected.blocks.take()


def _words(package: Package, main: str) -> tuple[Leaf, ...]:
    folder = main.rpartition("/")[0]
    blocks = _blocks(package, main)
    for part in ("footnotes.xml", "endnotes.xml"):
        blocks += _blocks(package, f"{folder}/{part}")
    return (Leaf("\n\n".join(blocks)),)


def _slides(package: Package, main: str) -> tuple[Leaf, ...]:
    targets = package.targets(main)
    order: list[str] = []

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        if tag.rpartition(":")[2] == "sldId":
            order.append(targets.get(attributes.get("r:id", ""), ""))

    package.parse(main, start)
    if len(order) > 10_000:
        raise Unreadable(f"It has {len(order)} slides.")
    leaves: list[Leaf] = []
    for number, part in enumerate(order, 1):
        blocks = _blocks(package, part)
        for target in package.targets(part).values():
            if "/notesSlides/" in target and (notes := _blocks(package, target)):
                # The last field of a page of notes is the slide's number.
                blocks += ["Notes:", *(one for one in notes if not one.isdecimal())]
        if blocks:
            leaves.append(Leaf("\n\n".join(blocks), number))
    return tuple(leaves)
