"""Text that is written in paragraphs and tables, as it is collected from the elements of an XML document."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Rows = Sequence[Sequence[str]]
Table = Callable[[Rows], str]  # how a table is written


def lines(rows: Rows) -> str:
    """A line of `a | b` for each row: few characters, for what is searched."""
    return "\n".join(" | ".join(row) for row in rows)


def markdown(rows: Rows) -> str:
    """A table as Markdown has it: the first row is its head, and all rows are equally long."""
    columns = max(map(len, rows))
    written = [f"| {' | '.join([*map(_cell, row), *[''] * (columns - len(row))])} |" for row in rows]
    return "\n".join([written[0], f"|{' --- |' * columns}", *written[1:]])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


class Blocks:
    """Paragraphs, headings with `#` in front, and tables as `table` writes them."""

    def __init__(self, table: Table = lines) -> None:
        self.heading = 0  # the level of the paragraph under way, 0 for text
        self._table = table
        self._blocks: list[str | list[list[str]]] = []
        self._line: list[str] = []
        self._rows: list[list[str]] = []  # the cells of the row under way, and of the rows around it
        self._is_closed = False
        self._cells: list[int] = []  # where the cell under way begins in the blocks, and those around it

    @property
    def inside_table(self) -> bool:
        """Whether a row is under way."""
        return bool(self._rows)

    def __len__(self) -> int:
        """How many paragraphs and tables are done; the table under way is one of them."""
        return len(self._blocks)

    def take(self) -> list[str]:
        """What is there, which is then forgotten."""
        taken, self._blocks = self._blocks, []
        return [block if isinstance(block, str) else self._table(block) for block in taken]

    def write(self, text: str) -> None:
        """Add to the paragraph under way."""
        self._line.append(text)

    def end_paragraph(self) -> None:
        text = "".join(self._line).strip()
        if text:
            self._blocks.append(f"{'#' * self.heading} {text}" if self.heading else text)
        self._line.clear()
        self.heading = 0

    def begin_row(self) -> None:
        self._rows.append([])

    def begin_cell(self) -> None:
        self._cells.append(len(self._blocks))

    def end_cell(self, times: int = 1) -> None:
        """The cell's paragraphs become one line of its row; a table in it stays in that line."""
        if self._cells and self._rows:
            begin = self._cells.pop()
            inner = (block if isinstance(block, str) else lines(block) for block in self._blocks[begin:])
            cell = " ".join(" ".join(inner).split())
            del self._blocks[begin:]
            self._rows[-1] += [cell] * times

    def end_row(self) -> None:
        """Rows that follow on one another are one table."""
        cells = self._rows.pop() if self._rows else []
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            return
        last = self._blocks[-1] if self._blocks else ""
        # A table in a cell begins with that cell.
        if self._is_closed or isinstance(last, str) or (self._cells and self._cells[-1] == len(self._blocks)):
            self._blocks.append([cells])
        else:
            last.append(cells)
        self._is_closed = False

    def end_table(self) -> None:
        """The next row is another table's."""
        self._is_closed = True
