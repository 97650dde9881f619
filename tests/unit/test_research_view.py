"""What is shown of a research while it goes on."""

from __future__ import annotations

import io
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from antiphon.agents import research_told as told
from antiphon.agents.research_state import Lead, Leads, Looked, Note, Notes, Plan, Read, Section, Sentence
from antiphon.research_view import Limits, Progress, Screen, cut


def event(summary: str) -> dict[str, object]:
    return {
        "event_type": "step.delta",
        "delta": {"type": "thought_summary", "content": {"type": "text", "text": summary}},
    }


def page(number: int, status: str = "success") -> Read:
    place = f"https://example.org/{number}"
    return Read(place=place, title=f"Page {number}", tool="url_context", at=0.0, status=status)


def told_of(*summaries: str) -> Progress:
    progress = Progress("How high are they?", Limits(1200, 400_000, 40, 40))
    for summary in summaries:
        progress.take(event(summary))
    return progress


STAGES = [
    told.plan(Plan("Towers", "How high?", (Lead("How high is Ostra?"), Lead("How high is Vara?")))),
    told.search(Looked(("ostra high", "ostra"), (page(1), page(2)))),
    told.reading(Looked(("a", "b"), (page(1), page(2, "error")))),
    told.notes(Notes("How high is Ostra?", (Note("41 metres.", ("x",)),))),
    told.leads(Leads((Lead("How old is Vara?"),))),
    told.section(Section("Heights", (Sentence("41 metres."),))),
]


def test_the_view_has_the_plan_what_was_done_and_what_is_left() -> None:
    progress = told_of(*STAGES)
    progress.take({"event_type": "step.stop", "usage": {"total_tokens": 12_345}})
    assert progress.lines(100, 40, 62.0) == [
        "How high are they?",
        "✓ How high is Ostra?",
        "○ How high is Vara?",
        "○ How old is Vara?",
        "",
        "Searched: ostra high",
        "Searched: ostra",
        "  2 sources found.",
        "Read: Page 1 (https://example.org/1)",
        "Read: https://example.org/2: could not be read",
        "Taking notes: How high is Ostra?",
        "  41 metres.",
        "Looking for what is missing: 1 question more",
        "Writing “Heights”: 1 sentence with sources.",
        "",
        "⠋ 1:02, 18:58 left · 2/40 searches · 2/40 pages · 12,345/400,000 tokens",
    ]
    assert progress.total(62.0) == "1:02 · 2 searches · 2 pages (1 could not be read) · 12,345 tokens"


def test_what_is_not_known_of_a_budget_is_not_shown() -> None:
    assert Progress("x", Limits()).spent(5) == "0:05 · 0 searches · 0 pages · 0 tokens"


def test_elsewhere_than_on_a_terminal_each_stage_is_a_few_lines() -> None:
    progress = Progress("x", Limits())
    assert progress.take(event(STAGES[3])) == ["Taking notes", "  *How high is Ostra?*", "  - 41 metres."]
    assert progress.take(event("**Something new**\n\nOf another server.")) == ["Something new", "  Of another server."]
    assert progress.take({"event_type": "step.delta", "delta": {"type": "text", "text": "x"}}) == []
    assert progress.take({"event_type": "step.delta", "delta": {"type": "thought_summary", "content": None}}) == []


def test_titles_of_pages_steer_no_terminal() -> None:
    progress = told_of(told.reading(Looked((), (Read(place="x", title="a\x1b[2J\x9b1m\rb\u202e", tool="t", at=0.0),))))
    assert not set("\x1b\x9b\r\u202e") & set("".join(progress.lines(80, 24, 0)))


@given(st.integers(1, 60), st.integers(1, 40))
def test_the_view_fits_into_the_terminal(width: int, height: int) -> None:
    lines = told_of(*STAGES, *STAGES[:3]).lines(width, height, 0)
    assert len(lines) <= height
    assert all(columns(line) <= width for line in lines)


@given(st.text(), st.integers(1, 20))
def test_a_line_is_cut_by_columns(text: str, width: int) -> None:
    assert columns(cut(text, width)) <= width
    assert cut(text, width) == text or cut(text, width)[-1:] in ("", "…")


def columns(text: str) -> int:
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def test_a_screen_is_drawn_over_and_left_empty() -> None:
    out = io.StringIO()
    screen = Screen(out)
    screen.draw(["a", "b"])
    screen.draw(["c"])
    screen.clear()
    assert out.getvalue() == "a\nb\n\x1b[2F\x1b[Jc\n\x1b[1F\x1b[J"
