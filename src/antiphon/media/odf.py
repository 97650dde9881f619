"""The text of OpenDocument files: text, presentations, spreadsheets."""

from __future__ import annotations

from collections.abc import Mapping

from antiphon.media.blocks import Blocks
from antiphon.media.package import Package
from antiphon.ports import Document, Leaf

_LEAVES = {"presentation": "draw:page", "spreadsheet": "table:table"}  # what begins a new one
_MOST_REPEATED = 30  # of one cell; a file says "16,384 empty ones" in a few bytes
_ASIDE = {"text:tracked-changes", "office:annotation", "text:note-citation", "svg:title", "svg:desc"}
_CELLS = {"table:table-cell", "table:covered-table-cell"}


def read_odf(package: Package) -> Document | None:
    """None where the package is something else. Raises Unreadable."""
    kind = package.read("mimetype")[:200].decode("ascii", "replace").strip()
    if not kind.startswith("application/vnd.oasis.opendocument."):
        return None
    content = _Content(_LEAVES.get(kind.removesuffix("-template").rpartition(".")[2]))
    package.parse("content.xml", content.start, content.end, content.text)
    content.end_leaf()
    return Document(title=package.title("meta.xml"), leaves=tuple(content.leaves))


class _Content:
    """Collects leaves; `leaf` is the element that begins a new one, None where there is just one."""

    def __init__(self, leaf: str | None) -> None:
        self.leaves: list[Leaf] = []
        self._leaf = leaf
        self._number = 0
        self._name = ""
        self._blocks = Blocks()
        self._depth = 0  # of paragraphs: notes stand inside of them
        self._aside = 0
        self._times: list[int] = []  # how often the cell under way is repeated

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._aside += tag in _ASIDE
        if tag == self._leaf:
            self.end_leaf()
            self._number += 1
            self._name = attributes.get("table:name", "")
        elif tag in _CELLS:
            times = attributes.get("table:number-columns-repeated", "1")
            self._times.append(min(_number(times), _MOST_REPEATED))
            self._blocks.begin_cell()
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

    def end_leaf(self) -> None:
        """What was collected since the last leaf is one."""
        if blocks := self._blocks.take():
            heading = [f"Sheet: {self._name}"] if self._leaf == "table:table" else []
            separator = "\n" if heading else "\n\n"
            self.leaves.append(Leaf(separator.join([*heading, *blocks]), self._number or None))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else 1
