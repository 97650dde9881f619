"""A sheet's cells as a table, or as far as they were asked for. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from antiphon.media.blocks import markdown
from antiphon.media.pages import Asked, Digested, Page, many
from antiphon.ports import Unreadable

MOST_CELLS = 2_000_000
_RANGE = re.compile(r"(?:.*!)?\$?([A-Za-z]{1,3})\$?(\d{1,7})(?::\$?([A-Za-z]{1,3})\$?(\d{1,7}))?")
_REFERENCE = re.compile(r'("[^"]*")|(?<![\w.$])(\$?)([A-Z]{1,3})(\$?)([1-9]\d{0,6})(?![\w(.])')


class Cell(NamedTuple):
    """What a cell shows, and the formula that made it, which begins with `=`."""

    value: str
    formula: str = ""


class Area(NamedTuple):
    """Rows and columns from 0, the last ones included."""

    top: int
    left: int
    bottom: int
    right: int


class Grid(msgspec.Struct, kw_only=True):
    """A sheet: its cells that hold something, by row and column from 0."""

    name: str
    hidden: bool = False
    cells: dict[tuple[int, int], Cell] = msgspec.field(default_factory=dict)

    def put(self, row: int, column: int, cell: Cell) -> None:
        """Raises Unreadable where there are too many."""
        if cell.value or cell.formula:
            self.cells[row, column] = cell
            if len(self.cells) > MOST_CELLS:
                raise Unreadable(f"A sheet has more than {MOST_CELLS} cells.")


def area_of(text: str) -> Area:
    """`B2:D10`. Raises Unreadable."""
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise Unreadable("processing.spreadsheet_options: visible_cells are written as A1:D20.")
    left, top, right, bottom = found.groups()
    first = (int(top) - 1, column_of(left))
    last = (int(bottom) - 1, column_of(right)) if bottom else first
    if min(first) < 0 or last[0] < first[0] or last[1] < first[1]:
        raise Unreadable("processing.spreadsheet_options: visible_cells go from the top left to the bottom right.")
    return Area(first[0], first[1], last[0], last[1])


def column_of(letters: str) -> int:
    """The column of `BC`, from 0."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number - 1


def letters_of(column: int) -> str:
    """`BC` of a column from 0."""
    letters = ""
    column += 1
    while column:
        column, digit = divmod(column - 1, 26)
        letters = chr(65 + digit) + letters
    return letters


def moved(formula: str, rows: int, columns: int) -> str:
    """A formula as it is where it was copied to: so many rows down and columns to the right."""

    def shift(found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        column = found[3] if found[2] else letters_of(max(0, column_of(found[3]) + columns))
        row = found[5] if found[4] else str(max(1, int(found[5]) + rows))
        return f"{found[2]}{column}{found[4]}{row}"

    return _REFERENCE.sub(shift, formula)


def digested(asked: Asked, kind: str, grids: Sequence[Grid], title: str | None) -> Digested:
    """The sheets that were asked for. Raises Unreadable."""
    if "page_options" in asked.options:
        raise Unreadable(
            "processing.page_options are for documents with pages; it has sheets: use spreadsheet_options."
        )
    area = area_of(asked.cells) if asked.cells else None
    count = len(grids)
    if asked.sheet is not None and not 1 <= asked.sheet <= count:
        names = ", ".join(grid.name for grid in grids[:20])
        raise Unreadable(
            f"It has {many(count, 'sheet')} ({names}), and sheet_index is {asked.sheet}: it counts from 1."
        )
    pages = []
    for number, grid in enumerate(grids, 1):
        if asked.sheet in (None, number):
            name = f"{grid.name} (hidden)" if grid.hidden else grid.name
            if area is not None:
                name += f", cells {asked.cells}"
            pages.append(Page(number=number, name=name, text=written(grid, asked.layers, area)))
    return Digested(kind=kind, unit="sheet", count=count, title=title, pages=tuple(pages))


def written(grid: Grid, layers: Sequence[str] = (), area: Area | None = None) -> str:
    """The cells as a Markdown table; with the names of rows and columns where they matter: for formulas, and for gaps."""
    formulas, data = "formulas" in layers, "data" in layers or "formulas" not in layers
    inside = {place: cell for place, cell in grid.cells.items() if area is None or _is_in(area, place)}
    cells = {place: text for place, cell in inside.items() if (text := _shown(cell, formulas, data))}
    return _table(cells, is_named=formulas or area is not None) if cells else ""


def _table(cells: dict[tuple[int, int], str], *, is_named: bool) -> str:
    """Markdown, with the names of rows and columns where they are wanted or some are left out."""
    rows = sorted({row for row, _ in cells})
    columns = sorted({column for _, column in cells})
    if len(rows) * len(columns) > 4 * len(cells) + 1000:  # few cells far apart
        return "\n".join(f"{letters_of(column)}{row + 1}: {cells[row, column]}" for row, column in sorted(cells))
    table = [[cells.get((row, column), "") for column in columns] for row in rows]
    if is_named or rows[-1] >= len(rows) or columns[-1] >= len(columns):
        table = [
            ["", *map(letters_of, columns)],
            *([str(row + 1), *line] for row, line in zip(rows, table, strict=True)),
        ]
    return markdown(table)


def _is_in(area: Area, place: tuple[int, int]) -> bool:
    return area.top <= place[0] <= area.bottom and area.left <= place[1] <= area.right


def _shown(cell: Cell, formulas: bool, data: bool) -> str:
    if not cell.formula or (cell.value and not formulas):
        return cell.value
    return f"{cell.value} ({cell.formula})" if data and cell.value else cell.formula
