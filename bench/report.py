"""Figures as rows, printed and written into docs/performance.md.

The page is made of sections between markers, one for each bench, and a bench replaces only its own: the figures of
`bench.run` and of a bench with a real model can be taken on different days. It knows nothing of what was measured.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from bench.servers import ROOT

PAGE = ROOT / "docs" / "performance.md"

INTRODUCTION = """\
# Performance

Every figure here was written by the command named above its table, in one run on one machine; ratios are against a
peer measured in that same run. A virtual machine that other work shares changes them, ratios too; each section says
how much of the machine other work took. Run it on your own machine before you rely on a figure.
"""


@dataclass(frozen=True)
class Row:
    """One figure, what it is held against, and what it should be. `times` is an aim for the ratio."""

    what: str
    value: float
    unit: str
    beside: str = ""
    other: float | None = None
    more_is_better: bool = False
    at_least: float | None = None
    at_most: float | None = None
    times: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better than the other one."""
        better, worse = (self.value, self.other) if self.more_is_better else (self.other, self.value)
        # An added latency of nothing has no ratio; nor has one that the noise made negative.
        return better / worse if better and worse and min(better, worse) > 0 else None

    @property
    def aim(self) -> str:
        parts = []
        if self.at_least is not None:
            parts.append(f"≥ {figure(self.at_least)}")
        if self.at_most is not None:
            parts.append(f"≤ {figure(self.at_most)}")
        if self.times is not None:
            parts.append(f"{figure(self.times)} times better")
        return ", ".join(parts)

    @property
    def met(self) -> str:
        if not self.aim or (self.times is not None and self.other is None):
            return ""
        held = [
            self.at_least is None or self.value >= self.at_least,
            self.at_most is None or self.value <= self.at_most,
            self.times is None or (self.ratio or 0) >= self.times or self.value <= 0,
        ]
        return "yes" if all(held) else "**no**"

    def cells(self) -> list[str]:
        beside = f"{figure(self.other)} ({self.beside})" if self.other is not None else ""
        ratio = f"{figure(self.ratio)}x" if self.ratio is not None else ""
        return [self.what, f"{figure(self.value)} {self.unit}".strip(), beside, ratio, self.aim, self.met]


ROW_TITLES = ["figure", "measured", "beside", "better by", "aim", "met"]


def figure(value: float | None) -> str:
    """Three figures that mean something, no more."""
    if value is None:
        return ""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.3f}"


def table(titles: list[str], lines: list[list[str]]) -> str:
    """A Markdown table whose columns line up in a terminal too."""
    widths = [max(len(line[column]) for line in [titles, *lines]) for column in range(len(titles))]

    def written(line: list[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"

    return "\n".join([written(titles), written(["-" * width for width in widths]), *map(written, lines)])


def rows_table(rows: list[Row]) -> str:
    return table(ROW_TITLES, [row.cells() for row in rows])


def processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def filesystem(path: Path) -> str:
    """The kind of file system below a path: a log on tmpfs would flatter every stored figure."""
    mounts = (line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines())
    inside = [(mount, kind) for mount, kind in mounts if path.resolve().is_relative_to(mount)]
    return max(inside, key=lambda found: len(found[0]))[1]


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    today = datetime.datetime.now(datetime.UTC).date()
    return (
        f"{today}: {os.cpu_count()} cores ({processor()}), {memory:.0f} GB of memory, Linux {platform.release()},"
        f" Python {platform.python_version()}"
    )


def publish(name: str, title: str, command: str, body: str) -> None:
    """Write one bench's section, leaving the others as they are."""
    begin, end = f"<!-- bench {name}: begin (written by {command}) -->", f"<!-- bench {name}: end -->"
    section = f"{begin}\n## {title}\n\nTaken with `{command}` on {machine()}.\n\n{body.strip()}\n{end}"
    page = PAGE.read_text() if PAGE.exists() else INTRODUCTION
    old = re.compile(rf"<!-- bench {name}: begin.*?<!-- bench {name}: end -->", re.DOTALL)
    # A function, because a replacement text would have its backslashes read.
    page = old.sub(lambda _: section, page) if old.search(page) else f"{page.rstrip()}\n\n{section}\n"
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page)
