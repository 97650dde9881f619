"""Tables of PDF pages: found by the lines that are drawn around their cells. Runs in the worker's child process only.

A PDF knows no tables, only lines and letters. Tables without lines between their columns stay text.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from antiphon.media.blocks import markdown

_MOST_OBJECTS = 20_000
_MOST_LINES = 3000
_THIN = 2.5  # points
_SHORTEST = 6.0
_NEAR = 3.0  # points between lines that are meant to meet
_PATH, _LINE_TO, _MOVE_TO = 2, 0, 2  # FPDF_PAGEOBJ_PATH, FPDF_SEGMENT_*
_BROKEN = (0x2, 0xFFFE)  # what pdfium says for a hyphen at the end of a line


class Box(NamedTuple):
    """A rectangle in points, from the lower left."""

    left: float
    bottom: float
    right: float
    top: float


class Table:
    """A grid of lines: `rows` from the top, in each the cells from the left."""

    def __init__(self, across: Sequence[Box], down: Sequence[Box]) -> None:
        # The outer lines are often left out.
        sides = [min(line.left for line in across), max(line.right for line in across)]
        ends = [min(line.bottom for line in down), max(line.top for line in down)]
        self._heights = _levels([*ends, *((line.bottom + line.top) / 2 for line in across)])  # ascending
        self._widths = _levels([*sides, *((line.left + line.right) / 2 for line in down)])
        # A cell may span columns: in its row there is no line between them.
        self._borders = [
            [0, *(at for at in range(1, len(self._widths) - 1) if self._has_border(down, at, row))]
            for row in range(len(self._heights) - 1)
        ]
        self.cells = [["" for _ in range(len(self._widths) - 1)] for _ in self._borders]

    @property
    def is_table(self) -> bool:
        """Whether it has two rows and two columns at least."""
        return len(self._heights) > 2 and len(self._widths) > 2 and any(len(row) > 1 for row in self._borders)

    def place(self, x: float, y: float) -> tuple[int, int] | None:
        """The cell that a place lies in: its row from the bottom, its column."""
        row, column = bisect_right(self._heights, y) - 1, bisect_right(self._widths, x) - 1
        if not (0 <= row < len(self._borders) and 0 <= column < len(self._widths) - 1):
            return None
        borders = self._borders[row]
        return row, borders[bisect_right(borders, column) - 1]

    def written(self) -> str:
        """As Markdown, rows without any text left out; what has text in one column only was a frame, and is text."""
        if sum(any(column) for column in zip(*self.cells, strict=True)) < 2:
            return "\n".join(text for row in reversed(self.cells) if (text := "".join(row).strip()))
        rows = [[" ".join(cell.split()) for cell in row] for row in reversed(self.cells)]
        return markdown([row for row in rows if any(row)])

    def _has_border(self, down: Sequence[Box], at: int, row: int) -> bool:
        middle = (self._heights[row] + self._heights[row + 1]) / 2
        place = self._widths[at]
        return any(
            line.left - _NEAR <= place <= line.right + _NEAR and line.bottom <= middle <= line.top for line in down
        )


def tables_of(page: Any) -> list[Table]:
    """The tables of a page of pdfium's."""
    edges: list[Box] = []
    for count, found in enumerate(page.get_objects(filter=[_PATH], max_depth=1)):
        if count >= _MOST_OBJECTS or len(edges) > _MOST_LINES:
            return []  # a drawing
        edges += _edges(found)
    across = [box for box in edges if box.top - box.bottom <= _THIN and box.right - box.left >= _SHORTEST]
    down = [box for box in edges if box.right - box.left <= _THIN and box.top - box.bottom >= _SHORTEST]
    if len(across) < 2 or not down:
        return []
    tables = [Table(*group) for group in _groups(across, down)]
    return [table for table in tables if table.is_table]


def text_with(page: Any, tables: Sequence[Table]) -> str:
    """The text of a page with its tables as Markdown, each where its first letter stood."""
    out: list[str] = []
    begun: dict[int, int] = {}  # by table: where in `out` it stands
    row: tuple[Table, int, int] | None = None
    for letter, box in _letters(page):
        if box is not None:
            row = _cell(tables, box)
            if row is not None and id(row[0]) not in begun:
                begun[id(row[0])] = len(out)
                out.append("")
        if row is None:
            out.append(letter)
        else:
            table, line, column = row
            table.cells[line][column] += letter
    for table in tables:
        if id(table) in begun:
            out[begun[id(table)]] = f"\n\n{table.written()}\n\n"
    text = "".join(out).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\r\n", "\n").strip()


def _cell(tables: Sequence[Table], box: Box) -> tuple[Table, int, int] | None:
    for table in tables:
        found = table.place((box.left + box.right) / 2, (box.bottom + box.top) / 2)
        if found is not None:
            return table, *found
    return None


def _letters(page: Any) -> Iterator[tuple[str, Box | None]]:
    """Letters in pdfium's order, and where they stand; None for what it adds between words and lines."""
    import pypdfium2.raw as pdfium

    words = page.get_textpage()
    sides = [ctypes.c_double() for _ in range(4)]
    is_broken = False
    for at in range(words.count_chars()):
        code = pdfium.FPDFText_GetUnicode(words, at)
        if code in _BROKEN:
            is_broken = True
            continue
        if is_broken and code in (10, 13):
            continue
        is_broken = False
        box = None
        if code > 32 and pdfium.FPDFText_GetCharBox(words, at, *map(ctypes.byref, sides)):
            left, right, bottom, top = (side.value for side in sides)
            box = Box(left, bottom, right, top)
        yield chr(code) if code < 0x110000 else "\N{REPLACEMENT CHARACTER}", box
    words.close()


def _edges(found: Any) -> Iterator[Box]:
    """The straight edges of a path; a thin rectangle is one."""
    import pypdfium2.raw as pdfium

    bounds = Box(*found.get_bounds())
    if min(bounds.right - bounds.left, bounds.top - bounds.bottom) <= _THIN:
        yield bounds
        return
    matrix = found.get_matrix()
    x, y = ctypes.c_float(), ctypes.c_float()
    points: list[tuple[float, float]] = []
    for at in range(min(pdfium.FPDFPath_CountSegments(found), _MOST_LINES)):
        segment = pdfium.FPDFPath_GetPathSegment(found, at)
        kind = pdfium.FPDFPathSegment_GetType(segment)
        if kind not in (_LINE_TO, _MOVE_TO) or not pdfium.FPDFPathSegment_GetPoint(segment, x, y):
            points = []
            continue
        point = matrix.on_point(x.value, y.value)
        if kind == _MOVE_TO:
            points = []
        points.append(point)
        if len(points) > 1:
            yield _between(points[-2], point)
        if len(points) > 2 and pdfium.FPDFPathSegment_GetClose(segment):
            yield _between(point, points[0])


def _between(one: tuple[float, float], other: tuple[float, float]) -> Box:
    return Box(min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1]))


def _groups(across: Sequence[Box], down: Sequence[Box]) -> list[tuple[list[Box], list[Box]]]:
    """Lines that meet, directly or by way of others: one table's."""
    lines = [*across, *down]
    heads = list(range(len(lines)))

    def head(at: int) -> int:
        while heads[at] != at:
            heads[at] = heads[heads[at]]
            at = heads[at]
        return at

    by_left = sorted(range(len(lines)), key=lambda at: lines[at].left)
    active: list[int] = []
    for at in by_left:
        line = lines[at]
        active = [other for other in active if lines[other].right + _NEAR >= line.left]
        for other in active:
            if lines[other].bottom - _NEAR <= line.top and line.bottom <= lines[other].top + _NEAR:
                heads[head(other)] = head(at)
        active.append(at)
    groups: dict[int, tuple[list[Box], list[Box]]] = {}
    for at, line in enumerate(lines):
        groups.setdefault(head(at), ([], []))[at >= len(across)].append(line)
    return [group for group in groups.values() if all(group)]


def _levels(places: Sequence[float]) -> list[float]:
    """Places, ascending, those that are one but for a line's breadth as one."""
    levels: list[float] = []
    for place in sorted(places):
        if not levels or place - levels[-1] > _NEAR:
            levels.append(place)
    return levels
