"""What clients are told of each stage, where they ask for summaries: a title, and what came of it. Pure."""

from __future__ import annotations

from antiphon.agents.calculations import Calculations
from antiphon.agents.charts import Charts
from antiphon.agents.report import Report
from antiphon.agents.research_state import Leads, Looked, Notes, Outline, Plan, Section


def _told(title: str, *lines: str) -> str:
    return "\n".join([f"***{title}***", "", *lines]) + "\n\n"


def material(found: str) -> str:
    """What was given with the question."""
    return _told("Looking at what was given", found)


def plan(found: Plan) -> str:
    """The plan."""
    return _told(
        "Generating research plan", *(f"{place}. {lead.question}" for place, lead in enumerate(found.leads, 1))
    )


def leads(found: Leads) -> str:
    """What is looked into next."""
    if not found.leads:
        return _told("Looking for what is missing", "Nothing is missing.")
    return _told("Looking for what is missing", *(f"- {lead.question}" for lead in found.leads))


def search(found: Looked) -> str:
    """What was searched for, and how much there was."""
    if not found.asked:
        return ""
    pages = len(found.read)
    result = f"{pages} source{'s' * (pages != 1)} found." if pages or not found.fault else found.fault.splitlines()[0]
    return _told("Searching", *(f"- {query}" for query in found.asked), "", result)


def reading(found: Looked) -> str:
    """The pages that were read, and those that could not be."""
    if not found.read:
        return ""
    lines = (
        f"- {read.title} ({read.place})" if read.status == "success" else f"- {read.place}: could not be read"
        for read in found.read
    )
    return _told("Reading", *lines)


def notes(found: Notes) -> str:
    """What was learned on a part."""
    lines = [f"- {note.text}" for note in found.notes] or ["Nothing was found on this."]
    return _told("Taking notes", f"*{found.question}*", "", *lines)


def calculations(found: Calculations) -> str:
    """What was worked out."""
    if not found.calculations:
        return ""
    return _told("Calculating", *(f"- {sum.about}: {sum.text}" for sum in found.calculations))


def outline(found: Outline) -> str:
    """The sections to come."""
    titles = [heading.title for heading in found.headings if heading.title]
    return _told("Outlining the report", *(f"- {title}" for title in titles)) if titles else ""


def answer(found: Section) -> str:
    """How the direct answer came out."""
    return _written("Writing the answer", found)


def section(found: Section) -> str:
    """How a section came out."""
    return _written(f"Writing “{found.title}”" if found.title else "Writing the rest", found)


def _written(title: str, found: Section) -> str:
    kept, dropped = len(found.sentences), len(found.dropped)
    left_out = f", {dropped} left out that no source supports" if dropped else ""
    return _told(title, f"{kept} sentence{'s' * (kept != 1)} with sources{left_out}.")


def charts(found: Charts) -> str:
    """What is drawn."""
    return _told("Drawing charts", *(f"- {chart.title}" for chart in found.charts)) if found.charts else ""


def report(found: Report) -> str:
    """What the report rests on."""
    return _told(
        "Checking citations",
        f"Sentences with sources: {found.sentences}. Sources: {len(found.sources)}. Sentences left out: {found.dropped}.",
    )
