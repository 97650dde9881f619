"""Text that is written in paragraphs and tables, as it is collected from the elements of an XML document."""

from __future__ import annotations


class Blocks:
    """Paragraphs, headings with `#` in front, and tables with lines of `a | b`."""

    def __init__(self) -> None:
        self.heading = 0  # the level of the paragraph under way, 0 for text
        self._blocks: list[str] = []
        self._line: list[str] = []
        self._rows: list[list[str]] = []  # the cells of the row under way, and of the rows around it
        self._cells: list[int] = []  # where the cell under way begins in the blocks, and those around it
        self._table_ends = (
            -1
        )  # how many blocks there were after the last row: one more row at that place goes on with it

    def take(self) -> list[str]:
        """What is there, which is then forgotten."""
        taken, self._blocks, self._table_ends = self._blocks, [], -1
        return taken

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
        """The cell's paragraphs become one line of its row."""
        if self._cells and self._rows:
            begin = self._cells.pop()
            cell = " ".join(" ".join(self._blocks[begin:]).split())
            del self._blocks[begin:]
            self._rows[-1] += [cell] * times

    def end_row(self) -> None:
        cells = self._rows.pop() if self._rows else []
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            return
        row = " | ".join(cells)
        if self._table_ends == len(self._blocks) and self._blocks:
            self._blocks[-1] += f"\n{row}"
        else:
            self._blocks.append(row)
        self._table_ends = len(self._blocks)
