"""A report as Markdown with citations: numbers of passages become places in the text, and a list of sources. Pure.

The numbers in the text are those of the list at its end; a page has one, however many of its passages are cited. An
annotation covers the bytes of the sentence that its source supports, in the piece of text that it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from antiphon import wire
from antiphon.agents.charts import Chart
from antiphon.agents.research_answers import bare
from antiphon.agents.research_state import Lead, Library, Plan, Section, Sentence, hashed, place_of, title_of
from antiphon.excerpts import shortened

Citation = wire.UrlCitation | wire.FileCitation | wire.PlaceCitation

_PLAN = "# Research plan: "
_CODE = re.compile(r"(`[^`]+`)")
_LINKED = re.compile(r"!?\[([^\[\]]*)\]\s?(?:\([^()]*\)|\[[^\[\]]*\])")
_DEFINES = re.compile(r"^\s*(\[[^\]]*\]:)")
_UNQUOTED = re.compile(r"[\s<>\"\\|()\x00-\x1f\x7f]")
_LONGEST_HEADING = 160
_LONGEST_PART, _MOST_PARTS = 400, 20
_PLAN_END = "*Say what to change, or approve the plan to have the research done.*"
_PART = re.compile(r"^\s*\d{1,2}\.\s+(.+)$", re.MULTILINE)


class Piece(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of the output: text with its annotations, or a chart."""

    text: str = ""
    annotations: tuple[Citation, ...] = ()
    chart: Chart | None = None


class Cited(msgspec.Struct, frozen=True):
    """An entry of the list of sources: its number, its place, and the hashes of the passages that are cited of it."""

    number: int
    title: str
    place: str
    sha256: tuple[str, ...]


class Report(msgspec.Struct, frozen=True):
    """All of it, as it is given out, and what was left out on the way."""

    pieces: tuple[Piece, ...]
    sources: tuple[Cited, ...]
    sentences: int
    dropped: int


class Ending(NamedTuple):
    """What is said before the sources: parts that nothing was found on, why the work stopped early, the user's last line."""

    open: Sequence[str] = ()
    stopped: str = ""
    closing: str = ""


def report(
    plan: Plan, sections: Sequence[Section], charts: Sequence[Chart], library: Library, ending: Ending
) -> Report:
    """The report's pieces: the title and the answer, a section each, charts behind the section they belong to."""
    sources = _Sources(library)
    places = [_home(chart, sections) for chart in charts]
    pieces: list[Piece] = []
    for number, section in enumerate(sections):
        title = f"# {_heading(plan.title or plan.question)}\n\n" if number == 0 else ""
        pieces += _section(title, section, sources)
        for chart in (chart for chart, place in zip(charts, places, strict=True) if place == number):
            pieces += [_caption(chart, sources), Piece(chart=chart)]
    title = "" if pieces else f"# {_heading(plan.title or plan.question)}\n\n"
    pieces.append(Piece(title + _end(ending, sources)))
    return Report(
        pieces=tuple(pieces),
        sources=sources.listed(),
        sentences=sum(len(section.sentences) for section in sections),
        dropped=sum(len(section.dropped) for section in sections),
    )


def _section(title: str, section: Section, sources: _Sources) -> list[Piece]:
    text = _Text(sources)
    text.add(title)
    if section.title:
        text.add(f"## {_heading(section.title)}\n\n")
    text.sentences(section.sentences)
    return [text.piece()] if text.size else []


def _caption(chart: Chart, sources: _Sources) -> Piece:
    caption = _Text(sources)
    caption.cited(chart.title, dict.fromkeys(point.source for point in chart.points), bold=True)
    caption.add("\n\n")
    return caption.piece()


def _home(chart: Chart, sections: Sequence[Section]) -> int:
    """The section that has most of a chart's sources; the direct answer is none."""
    own = {point.source for point in chart.points}
    shares = [len(own & {id for said in section.sentences for id in said.sources}) for section in sections]
    return max(range(len(sections)), key=lambda number: (number > 0, shares[number], -number), default=0)


def _end(ending: Ending, sources: _Sources) -> str:
    parts: list[str] = []
    if ending.open:
        parts.append("**Not found**\n\n" + "\n".join(f"- {_safe(question)}" for question in ending.open))
    if ending.stopped:
        parts.append(f"*{ending.stopped}*")
    if ending.closing:
        parts.append(_safe(ending.closing))
    lines = [f"{source.number}. {_link(source)}" for source in sources.listed()]
    if lines:
        parts.append("**Sources**\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _link(source: Cited) -> str:
    title = re.sub(r"([\[\]\\`])", r"\\\1", " ".join(source.title.split())).replace("<", "&lt;")
    if source.place.startswith(("http://", "https://")):
        address = _UNQUOTED.sub(lambda found: quote(found[0]), source.place)
        return f"[{title}]({address})"
    return title if title == source.place else f"{title} ({source.place})"


def _heading(title: str) -> str:
    return _safe(shortened(" ".join(title.split()), _LONGEST_HEADING))


def _safe(text: str) -> str:
    """Words of models and pages as Markdown that is nothing but text: no markers, links, pictures, tags, definitions.

    Code between backticks stays as it is.
    """
    parts = _CODE.split(bare(text))
    for place in range(0, len(parts), 2):
        part = parts[place]
        while (less := _LINKED.sub(r"\1", part)) != part:
            part = less
        parts[place] = part.replace("<", "&lt;")
    return _DEFINES.sub(r"\\\1", "".join(parts))


class _Sources:
    """Numbers the places that are cited, in the order of their first citation."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._numbers: dict[str, int] = {}
        self._cited: dict[str, dict[str, None]] = {}
        self._titles: dict[str, str] = {}

    def cite(self, id: str) -> tuple[int, Citation]:
        """The number and the citation of a passage that was fetched. KeyError for any other."""
        passage = self._library[id]
        place = place_of(passage)
        number = self._numbers.setdefault(place, len(self._numbers) + 1)
        self._titles.setdefault(place, title_of(passage))
        self._cited.setdefault(place, {})[hashed(passage.text)] = None
        return number, passage.citation

    def listed(self) -> tuple[Cited, ...]:
        """The list of sources, as far as it goes."""
        return tuple(
            Cited(number, self._titles[place], place, tuple(self._cited[place]))
            for place, number in self._numbers.items()
        )


class _Text:
    """One piece of text while it is written, with its length in bytes."""

    def __init__(self, sources: _Sources) -> None:
        self._sources = sources
        self._parts: list[str] = []
        self._annotations: list[Citation] = []
        self.size = 0

    def add(self, text: str) -> None:
        """Text that needs no source."""
        self._parts.append(text)
        self.size += len(text.encode("utf-8", "surrogatepass"))

    def cited(self, text: str, ids: Iterable[str], *, bold: bool = False) -> None:
        """Text with the numbers of its sources behind it."""
        found: dict[int, Citation] = {}
        for id in ids:
            number, citation = self._sources.cite(id)
            found.setdefault(number, citation)
        mark = "**" if bold else ""
        self.add(mark)
        start = self.size
        self.add(_safe(text))
        self._annotations += (
            msgspec.structs.replace(citation, start_index=start, end_index=self.size)
            for _, citation in sorted(found.items())
        )
        self.add(mark)
        if found:
            self.add(" " + "".join(f"[{number}]" for number in sorted(found)))

    def sentences(self, sentences: Sequence[Sentence]) -> None:
        """Sentences in paragraphs and lists."""
        before = ""
        for sentence in sentences:
            if sentence.form == "item":
                self.add({"": "", "item": "\n"}.get(before, "\n\n"))
                self.add("- ")
            elif before:
                self.add("\n\n" if sentence.form == "paragraph" or before == "item" else " ")
            self.cited(sentence.text, sentence.sources)
            before = sentence.form
        if sentences:
            self.add("\n\n")

    def piece(self) -> Piece:
        """What was written."""
        return Piece("".join(self._parts), tuple(self._annotations))


# ---------------------------------------------------------------------------------------------------- plans


def plan_text(plan: Plan) -> str:
    """A plan as the user reads it."""
    parts = "\n".join(f"{number}. {_safe(lead.question)}" for number, lead in enumerate(plan.leads, 1))
    return f"{_PLAN}{_heading(plan.title or plan.question)}\n\n{parts}\n\n{_PLAN_END}\n"


def read_plan(text: str, question: str) -> Plan | None:
    """The plan that a text of ours holds; None where it is no plan."""
    if not text.startswith(_PLAN) or not text.rstrip().endswith(_PLAN_END):
        return None
    title, _, rest = text.removeprefix(_PLAN).partition("\n")
    leads = tuple(Lead(part.strip()[:_LONGEST_PART]) for part in _PART.findall(rest)[:_MOST_PARTS])
    return Plan(title.strip(), question, leads) if leads else None
