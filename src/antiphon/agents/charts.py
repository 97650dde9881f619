"""Charts from figures that were found: the model says which numbers, this file checks them and writes the code. Pure.

Every value must stand in the passage that it points at, beside a word of its label. The code is made here, from values
alone: no word of a model's or a page's is ever run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from antiphon.agents.research_answers import bare
from antiphon.agents.research_state import Library, title_of
from antiphon.agents.support import has_number, numbers, shares_words, speaks_of
from antiphon.words import plain

_FEWEST = {"bar": 2, "line": 3}
_LONGEST_LABEL = 40
_LARGEST = 1e15
_CODE = """
import json
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt

chart = json.loads({data!r})
figure, axes = plt.subplots(figsize=(8, 4.5), dpi=120)
labels, values = chart["labels"], chart["values"]
if chart["kind"] == "line":
    axes.plot(range(len(values)), values, marker="o", color="#3366aa")
    axes.set_xticks(range(len(values)), labels)
else:
    axes.bar(range(len(values)), values, color="#3366aa")
    axes.set_xticks(range(len(values)), labels)
if max(map(len, labels)) * len(labels) > 70:
    plt.setp(axes.get_xticklabels(), rotation=30, ha="right")
axes.set_title(chart["title"].replace("$", r"\\$"))
axes.set_ylabel(chart["unit"].replace("$", r"\\$"))
axes.spines[["top", "right"]].set_visible(False)
axes.grid(axis="y", alpha=0.3)
figure.tight_layout()
plt.show()
"""


class Point(msgspec.Struct, frozen=True):
    """One value, and the id of the passage it stands in."""

    label: str
    value: float
    source: str


class Chart(msgspec.Struct, frozen=True):
    """What a chart shows."""

    title: str
    kind: Literal["bar", "line"]
    unit: str
    points: tuple[Point, ...]


class Charts(msgspec.Struct, frozen=True):
    """The charts of a report."""

    charts: tuple[Chart, ...] = ()


def charts_of(found: Mapping[str, Any], ids: Sequence[str], library: Library, most: int) -> tuple[Chart, ...]:
    """The charts that a model asked for, as far as their values stand in the passages they point at."""
    given = found.get("charts")
    kept: list[Chart] = []
    for item in given if isinstance(given, list) else ():
        if not isinstance(item, dict) or item.get("kind") not in _FEWEST:
            continue
        points = _points(item.get("points"), ids, library)
        title = _title(item.get("title"), points, library)
        unit = plain(item.get("unit") if isinstance(item.get("unit"), str) else "", _LONGEST_LABEL)
        if title and len(points) >= _FEWEST[item["kind"]] and len({point.value for point in points}) > 1:
            kept.append(Chart(title, item["kind"], unit, points))
    return tuple(kept[:most])


def _title(given: Any, points: Sequence[Point], library: Library) -> str:
    """A title that says no more than the passages do: it is cited as they are. Else the labels."""
    title = bare(plain(given, 120)) if isinstance(given, str) else ""
    passages = [library[point.source] for point in points]
    texts = "\n".join(f"{title_of(passage)}\n{passage.text}" for passage in passages)
    if title and numbers(title) <= numbers(texts) and shares_words(title, texts):
        return title
    return ", ".join(point.label for point in points)


def _points(given: Any, ids: Sequence[str], library: Library) -> tuple[Point, ...]:
    points: dict[str, Point] = {}
    for item in given if isinstance(given, list) else ():
        if not isinstance(item, dict):
            continue
        label, value, source = item.get("label"), item.get("value"), item.get("source")
        if not isinstance(label, str) or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not abs(value) < _LARGEST:
            continue
        if not isinstance(source, int) or not 0 < source <= len(ids):
            continue
        passage = library[ids[source - 1]]
        label = bare(plain(label, _LONGEST_LABEL))
        if label and has_number(value, passage) and speaks_of(label, passage):
            points.setdefault(label, Point(label, float(value), ids[source - 1]))
    return tuple(points.values())


def code(chart: Chart) -> str:
    """The program that draws it."""
    data = {
        "title": chart.title,
        "kind": chart.kind,
        "unit": chart.unit,
        "labels": [point.label for point in chart.points],
        "values": [point.value for point in chart.points],
    }
    return _CODE.format(data=json.dumps(data))


def table(chart: Chart) -> str:
    """The same as a Markdown table, for where nothing can be drawn."""
    rows = [f"| {_cell(point.label)} | {point.value:g} |" for point in chart.points]
    return "\n".join([f"| | {_cell(chart.unit)} |", "|---|--:|", *rows]) + "\n\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
