"""The text of OpenDocument files: text, presentations, spreadsheets."""

from __future__ import annotations

import re
from collections.abc import Mapping

from antiphon.media.blocks import Blocks, lines, markdown
from antiphon.media.grid import Cell, Grid, digested
from antiphon.media.package import Package
from antiphon.media.pages import Asked, Digested, Page, chosen, paged, undrawn
from antiphon.ports import Document, Leaf, Unreadable

_LEAVES = {"presentation": "draw:page", "spreadsheet": "table:table"}  # what begins a new one
_MOST_REPEATED = 30  # of one cell; a file says "16,384 empty ones" in a few bytes
_ASIDE = {"text:tracked-changes", "office:annotation", "text:note-citation", "svg:title", "svg:desc"}
_CELLS = {"table:table-cell", "table:covered-table-cell"}


_MOST_ROWS_REPEATED = 1000  # of rows with cells that hold something
_KINDS = {
    "text": "OpenDocument text",
    "presentation": "OpenDocument presentation",
    "spreadsheet": "OpenDocument sheets",
}
_REFERENCE = re.compile(r"\[\$?([^\].]*)\.([^\]]*)\]")


def read_odf(package: Package) -> Document | None:
    """None where the package is something else. Raises Unreadable."""
    kind = _kind(package)
    if kind is None:
        return None
    content = _Content(_LEAVES.get(kind))
    package.parse("content.xml", content.start, content.end, content.text)
    content.end_leaf()
    return Document(title=package.title("meta.xml"), leaves=tuple(content.leaves))


def digest_odf(package: Package, asked: Asked) -> Digested | None:
    """The pages, slides or sheets that were asked for; None where the package is something else. Raises Unreadable."""
    kind = _kind(package)
    if kind is None:
        return None
    title, words = package.title("meta.xml"), _KINDS.get(kind, "OpenDocument")
    if kind == "spreadsheet":
        sheets = _Sheets()
        package.parse("content.xml", sheets.start, sheets.end, sheets.text)
        return digested(asked, words, sheets.grids, title)
    content = _Content(_LEAVES.get(kind), digest=True)
    package.parse("content.xml", content.start, content.end, content.text)
    if kind != "presentation":
        return paged(asked, words, content.pages(), title)
    undrawn(asked, words)
    content.end_leaf()
    slides = {leaf.number: leaf.text for leaf in content.leaves}
    if not content.count:
        raise Unreadable("It has no slides.")
    numbers = chosen(asked, content.count, "slide")
    pages = tuple(Page(number=number, text=slides.get(number, "")) for number in numbers)
    return Digested(kind=words, unit="slide", count=content.count, title=title, pages=pages)


def _kind(package: Package) -> str | None:
    kind = package.read("mimetype")[:200].decode("ascii", "replace").strip()
    if not kind.startswith("application/vnd.oasis.opendocument."):
        return None
    if b"manifest:encryption-data" in package.read("META-INF/manifest.xml"):
        raise Unreadable("It is locked with a password.")
    return kind.removesuffix("-template").rpartition(".")[2]


class _Content:
    """Collects leaves; `leaf` is the element that begins a new one, None where there is just one."""

    def __init__(self, leaf: str | None, *, digest: bool = False) -> None:
        self.leaves: list[Leaf] = []
        self.count = 0
        self._leaf = leaf
        self._name = ""
        self._digest = digest
        self._blocks = Blocks(markdown if digest else lines)
        self._breaks: list[int] = []  # before which blocks a page begins
        self._begin: set[str] = set()  # styles whose paragraphs begin one
        self._style = ""
        self._depth = 0  # of paragraphs: notes stand inside of them
        self._aside = 0
        self._times: list[int] = []  # how often the cell under way is repeated

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._aside += tag in _ASIDE
        if tag == self._leaf:
            self.end_leaf()
            self.count += 1
            self._name = attributes.get("table:name", "")
        elif tag in _CELLS:
            times = attributes.get("table:number-columns-repeated", "1")
            self._times.append(min(_number(times), _MOST_REPEATED))
            self._blocks.begin_cell()
        if self._digest:
            self._mark(tag, attributes)
        match tag:
            case "text:p" | "text:h":
                self._depth += 1
                if tag == "text:h":
                    self._blocks.heading = min(_number(attributes.get("text:outline-level", "1")), 6)
            case "text:s":
                self._blocks.write(" ")
            case "text:tab" | "text:line-break":
                self._blocks.write("\t" if tag == "text:tab" else "\n")
            case "table:table-row":
                self._blocks.begin_row()

    def text(self, data: str) -> None:
        if self._depth and not self._aside:
            self._blocks.write(data)

    def end(self, tag: str) -> None:
        self._aside -= tag in _ASIDE
        if tag in _CELLS:
            self._blocks.end_cell(self._times.pop())
        match tag:
            case "text:p" | "text:h":
                self._depth -= 1
                self._blocks.end_paragraph()
            case "table:table-row":
                self._blocks.end_row()
            case "table:table":
                self._blocks.end_table()

    def pages(self) -> list[str]:
        """The text page by page, as its program last drew it; one where it left no marks."""
        blocks = self._blocks.take()
        pairs = zip([0, *self._breaks], [*self._breaks, len(blocks)], strict=True)
        return ["\n\n".join(blocks[begin:end]) for begin, end in pairs]

    def _mark(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Where pages begin, and where pictures stand."""
        match tag:
            case "style:style":
                self._style = attributes.get("style:name", "")
            case "style:paragraph-properties" if attributes.get("fo:break-before") == "page":
                self._begin.add(self._style)
            case "text:p" | "text:h" if attributes.get("text:style-name", "") in self._begin and len(self._blocks):
                self._breaks.append(len(self._blocks))
            case "text:soft-page-break":
                if not self._blocks.inside_table:
                    self._blocks.end_paragraph()
                self._breaks.append(len(self._blocks) + self._blocks.inside_table)
            case "draw:image":
                self._blocks.write("[picture]")
                if not self._depth:
                    self._blocks.end_paragraph()

    def end_leaf(self) -> None:
        """What was collected since the last leaf is one."""
        if blocks := self._blocks.take():
            heading = [f"Sheet: {self._name}"] if self._leaf == "table:table" else []
            separator = "\n" if heading else "\n\n"
            self.leaves.append(Leaf(separator.join([*heading, *blocks]), self.count or None))


class _Sheets:
    """Collects the cells of a spreadsheet with their formulas."""

    def __init__(self) -> None:
        self.grids: list[Grid] = []
        self._row = self._column = 0
        self._rows: tuple[int, int] = (0, 1)  # where the row under way begins, and how often it is repeated
        self._cell: Mapping[str, str] | None = None
        self._words: list[str] = []
        self._depth = 0
        self._aside = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._aside += tag in _ASIDE
        match tag:
            case "table:table":
                self.grids.append(Grid(name=" ".join(attributes.get("table:name", "").split())))
                self._row = 0
            case "table:table-row":
                self._rows = (self._row, max(1, _number(attributes.get("table:number-rows-repeated", "1"))))
                self._column = 0
            case "text:p":
                self._depth += 1
            case "text:s":
                self._words.append(" ")
            case _ if tag in _CELLS:
                self._cell = attributes
                self._words.clear()

    def text(self, data: str) -> None:
        if self._depth and not self._aside:
            self._words.append(data)

    def end(self, tag: str) -> None:
        self._aside -= tag in _ASIDE
        if tag == "text:p":
            self._depth -= 1
            self._words.append(" ")
        elif tag == "table:table-row":
            self._row = sum(self._rows)
        elif tag in _CELLS and self._cell is not None and self.grids:
            self._put(self._cell)
            self._cell = None

    def _put(self, cell: Mapping[str, str]) -> None:
        times = max(1, _number(cell.get("table:number-columns-repeated", "1")))
        formula = cell.get("table:formula", "").partition(":")[2]
        found = Cell(" ".join("".join(self._words).split()), _REFERENCE.sub(_plain_reference, formula))
        if found.value or found.formula:
            begin, rows = self._rows
            for row in range(begin, begin + min(rows, _MOST_ROWS_REPEATED)):
                for column in range(self._column, self._column + min(times, _MOST_ROWS_REPEATED)):
                    self.grids[-1].put(row, column, found)
        self._column += times


def _plain_reference(found: re.Match[str]) -> str:
    """`[.A1:.B2]` as A1:B2, `[$Costs.A1]` as Costs!A1."""
    cells = found[2].replace(":.", ":")
    return f"{found[1]}!{cells}" if found[1] else cells


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else 1
