"""The cells of Excel workbooks as rows of `a | b`, a leaf per sheet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from antiphon.media.grid import Cell, Grid, moved
from antiphon.media.package import Package
from antiphon.ports import Leaf, Unreadable

_WIDEST_GAP = 30  # empty cells that are kept between two full ones
_DATES = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})  # ECMA-376, 18.8.30
_CODE = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.|_.|\*.')  # of a number's format, what is no placeholder
_MOST_SHEETS = 1000
_COLUMN = re.compile(r"[A-Z]{1,3}")


def read_workbook(package: Package, main: str) -> tuple[Leaf, ...]:
    """All sheets that have cells, in the workbook's order."""
    book = _Book(package, main)
    leaves: list[Leaf] = []
    for number, (name, part, _) in enumerate(book.sheets, 1):
        sheet = _Sheet(book.strings, book.dates, book.first)
        package.parse(part, sheet.start, sheet.end, sheet.text)
        if sheet.rows:
            leaves.append(Leaf("\n".join([f"Sheet: {name}", *sheet.rows]), number))
    return tuple(leaves)


def grids(package: Package, main: str, wanted: int | None = None) -> list[Grid]:
    """All sheets in the workbook's order; `wanted` (from 1) is the only one whose cells are read. Raises Unreadable."""
    book = _Book(package, main)
    found: list[Grid] = []
    for number, (name, part, hidden) in enumerate(book.sheets, 1):
        sheet = _Cells(book.strings, book.dates, book.first, Grid(name=" ".join(name.split()), hidden=hidden))
        if wanted in (None, number):
            package.parse(part, sheet.start, sheet.end, sheet.text)
        found.append(sheet.grid)
    return found


class _Book:
    """What sheets share: names and parts, strings, and how dates are told from numbers."""

    def __init__(self, package: Package, main: str) -> None:
        self.sheets: list[tuple[str, str, bool]] = []  # name, part, whether it is hidden
        targets = package.targets(main)
        since_1904 = False

        def start(tag: str, attributes: Mapping[str, str]) -> None:
            nonlocal since_1904
            match tag.rpartition(":")[2]:
                case "sheet":
                    part = targets.get(attributes.get("r:id", ""), "")
                    hidden = attributes.get("state", "visible") != "visible"
                    self.sheets.append((attributes.get("name", ""), part, hidden))
                case "workbookPr":
                    since_1904 = attributes.get("date1904") in ("1", "true")

        package.parse(main, start)
        if len(self.sheets) > _MOST_SHEETS:
            raise Unreadable(f"It has {len(self.sheets)} sheets.")
        folder = main.rpartition("/")[0]
        self.strings = _strings(package, f"{folder}/sharedStrings.xml")
        self.dates = _date_styles(package, f"{folder}/styles.xml")
        self.first = datetime(1904, 1, 1) if since_1904 else datetime(1899, 12, 30)  # noqa: DTZ001 - cells have no zone


def _strings(package: Package, part: str) -> list[str]:
    """The strings that cells share. Phonetic readings (`rPh`) are not part of them."""
    strings: list[str] = []
    words: list[str] = []
    inside, aside = False, False

    def start(tag: str, _: Mapping[str, str]) -> None:
        nonlocal inside, aside
        name = tag.rpartition(":")[2]
        inside = name == "t"
        aside = aside or name == "rPh"

    def text(data: str) -> None:
        if inside and not aside:
            words.append(data)

    def end(tag: str) -> None:
        nonlocal inside, aside
        inside = False
        match tag.rpartition(":")[2]:
            case "rPh":
                aside = False
            case "si":
                strings.append(" ".join("".join(words).split()))
                words.clear()

    package.parse(part, start, end, text)
    return strings


def _date_styles(package: Package, part: str) -> set[str]:
    """The numbers of the cell styles that show a number as a date or time."""
    codes: dict[str, str] = {}
    styles: list[str] = []
    inside = False

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal inside
        match tag.rpartition(":")[2]:
            case "numFmt":
                codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
            case "cellXfs":
                inside = True
            case "xf" if inside:
                styles.append(attributes.get("numFmtId", ""))

    def end(tag: str) -> None:
        nonlocal inside
        inside = inside and not tag.endswith("cellXfs")

    package.parse(part, start, end)
    own = {number for number, code in codes.items() if re.search("[ymdhs]", _CODE.sub("", code.lower()))}
    return {str(index) for index, number in enumerate(styles) if number in own or number in map(str, _DATES)}


class _Sheet:
    """Collects the rows of one sheet."""

    def __init__(self, strings: list[str], dates: set[str], first: datetime) -> None:
        self.rows: list[str] = []
        self._strings = strings
        self._dates = dates
        self._first = first
        self._row: list[str] = []
        self._column = -1
        self._cell: Mapping[str, str] = {}
        self._value: list[str] = []
        self._inside = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        match tag.rpartition(":")[2]:
            case "row":
                self._row, self._column = [], -1
            case "c":
                self._cell = attributes
                self._value.clear()
            case "v" | "t":
                self._inside = True

    def text(self, data: str) -> None:
        if self._inside:
            self._value.append(data)

    def end(self, tag: str) -> None:
        self._inside = False
        match tag.rpartition(":")[2]:
            case "c":
                self._put("".join(self._value))
            case "row" if self._row:
                self.rows.append(" | ".join(self._row))

    def _put(self, value: str) -> None:
        column = _column(self._cell.get("r", ""), self._column + 1)
        if not value:
            return
        gap = min(max(0, column - self._column - 1), _WIDEST_GAP)
        self._row += [""] * gap
        self._row.append(self._shown(value))
        self._column = column

    def _shown(self, value: str) -> str:
        match self._cell.get("t", "n"):
            case "s":
                index = int(value) if value.isdecimal() and len(value) < 9 else len(self._strings)
                return self._strings[index] if index < len(self._strings) else ""
            case "b":
                return "TRUE" if value == "1" else "FALSE"
            case "n":
                return self._date(value) if self._cell.get("s") in self._dates else _number(value)
            case _:
                return " ".join(value.split())

    def _date(self, value: str) -> str:
        try:
            moment = self._first + timedelta(days=round(float(value) * 86400) / 86400)
        except (ValueError, OverflowError):
            return value
        if moment.time() == datetime.min.time():
            return moment.date().isoformat()
        if float(value) < 1:
            return moment.time().isoformat()
        return moment.replace(microsecond=0).isoformat(" ")


class _Cells(_Sheet):
    """Collects the cells of one sheet with their places and formulas."""

    def __init__(self, strings: list[str], dates: set[str], first: datetime, grid: Grid) -> None:
        super().__init__(strings, dates, first)
        self.grid = grid
        self._at = -1  # the row under way
        self._is_formula = False
        self._formula: list[str] = []
        self._attributes: Mapping[str, str] = {}  # of the formula under way
        self._shared: dict[str, tuple[str, int, int]] = {}  # formulas that cells share, and where they stand themselves

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        super().start(tag, attributes)
        match tag.rpartition(":")[2]:
            case "row":
                number = attributes.get("r", "")
                self._at = int(number) - 1 if number.isdecimal() and len(number) < 8 else self._at + 1
            case "c":
                self._formula.clear()
                self._attributes = {}
            case "f":
                self._is_formula = True
                self._attributes = attributes

    def text(self, data: str) -> None:
        if self._is_formula:
            self._formula.append(data)
        else:
            super().text(data)

    def end(self, tag: str) -> None:
        self._is_formula = False
        super().end(tag)

    def _put(self, value: str) -> None:
        column = _column(self._cell.get("r", ""), self._column + 1)
        self._column = column
        shown = self._shown(value) if value else ""
        self.grid.put(max(0, self._at), column, Cell(shown, self._formula_at(column)))

    def _formula_at(self, column: int) -> str:
        formula = "".join(self._formula)
        if self._attributes.get("t") == "shared":
            shared = self._attributes.get("si", "")
            if formula:
                self._shared[shared] = (formula, self._at, column)
            elif shared in self._shared:
                formula, row, first = self._shared[shared]
                formula = moved(formula, self._at - row, column - first)
        return f"={formula}" if formula else ""


def _number(value: str) -> str:
    """A number as a reader would see it: 0.30000000000000004 is 0.3, as Excel itself shows fifteen digits."""
    try:
        return f"{float(value):.15g}" if "." in value or "E" in value.upper() else value
    except ValueError:
        return value


def _column(reference: str, otherwise: int) -> int:
    """The column of `BC12`, from 0."""
    match = _COLUMN.match(reference)
    if match is None:
        return otherwise
    number = 0
    for letter in match[0]:
        number = number * 26 + ord(letter) - 64
    return number - 1
