"""What `antiphon research` shows while a research goes on: lines of a log, or a view of a terminal drawn again and again.

What is shown comes from the stream alone: summaries of thoughts, each a title and lines under it, and counts of tokens.
Titles that are not known here are shown as they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from antiphon.research_report import seen
from antiphon.words import plain

_LONGEST = 300
_SHOWN = 10  # of what was done last
_PART = re.compile(r"^\d{1,3}\. +(.+)$", re.MULTILINE)
_ITEM = re.compile(r"^[-*•] +(.+)$", re.MULTILINE)
_UNREAD = ": could not be read"
_TURNING = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Limits:
    """What a run may use at most; 0 where that is not known."""

    def __init__(self, seconds: float = 0, tokens: int = 0, searches: int = 0, pages: int = 0) -> None:
        self.seconds = seconds
        self.tokens = tokens
        self.searches = searches
        self.pages = pages


class Progress:
    """How far a research is, as far as its stream has told."""

    def __init__(self, question: str, limits: Limits) -> None:
        self._question = _line(question)
        self._limits = limits
        self._plan: dict[str, bool] = {}  # what is asked, and whether notes were taken on it
        self._done: list[str] = []
        self._searches = 0
        self._read = 0
        self._unread = 0
        self._tokens = 0

    # ------------------------------------------------------------------ what is told

    def take(self, event: Mapping[str, Any]) -> list[str]:
        """Take in an event of the stream; what is new as lines of a log."""
        used = event.get("usage") or event.get("interaction", {}).get("usage") or {}
        self._tokens = max(self._tokens, used.get("total_tokens") or 0)
        delta = event.get("delta") or {}
        if delta.get("type") != "thought_summary":
            return []
        lines = [line for line in map(_line, ((delta.get("content") or {}).get("text") or "").splitlines()) if line]
        if not lines:
            return []
        title, rest = lines[0].strip("*# "), lines[1:]
        self._note(title, rest)
        return [title, *(f"  {line}" for line in rest)]

    def _note(self, title: str, lines: Sequence[str]) -> None:
        items = _ITEM.findall("\n".join(lines))
        match title:
            case "Generating research plan":
                self._plan |= dict.fromkeys(_PART.findall("\n".join(lines)), False)
            case "Looking for what is missing":
                self._plan = self._plan | {item: False for item in items if item not in self._plan}
                self._done.append(f"{title}: {_count('question', 'questions', len(items))} more")
            case "Searching":
                self._searches += len(items)
                self._done += (f"Searched: {item}" for item in items)
                self._done += (f"  {line}" for line in lines[len(items) :])
            case "Reading":
                self._read += len(items)
                self._unread += sum(item.endswith(_UNREAD) for item in items)
                self._done += (f"Read: {item}" for item in items)
            case _:
                self._other(title, lines)

    def _other(self, title: str, lines: Sequence[str]) -> None:
        asked = lines[0].strip("*") if title == "Taking notes" and lines else ""
        if asked in self._plan:
            self._plan[asked] = True
        said = [found[1] if (found := _ITEM.match(line)) else line.strip("*") for line in lines]
        self._done += [f"{title}: {said[0]}" if said else title, *(f"  {line}" for line in said[1:])]

    # ------------------------------------------------------------------ what is shown

    def spent(self, seconds: float) -> str:
        """What was used up, and of how much, in one line."""
        limits = self._limits
        time = _clock(seconds)
        if limits.seconds:
            time += f", {_clock(max(0.0, limits.seconds - seconds))} left"
        counts = [
            _of("search", "searches", self._searches, limits.searches),
            _of("page", "pages", self._read, limits.pages),
            _of("token", "tokens", self._tokens, limits.tokens),
        ]
        return " · ".join([time, *counts])

    def total(self, seconds: float) -> str:
        """What it took in the end."""
        unread = f" ({self._unread} could not be read)" if self._unread else ""
        pages = f"{_count('page', 'pages', self._read)}{unread}"
        return " · ".join(
            [
                _clock(seconds),
                _count("search", "searches", self._searches),
                pages,
                _count("token", "tokens", self._tokens),
            ]
        )

    def lines(self, width: int, height: int, seconds: float, turn: int = 0) -> list[str]:
        """The view: the plan, what was done last, and what is left; at most so many lines of so many columns."""
        status = f"{_TURNING[turn % len(_TURNING)]} {self.spent(seconds)}"
        plan = [f"{'✓' if done else '○'} {asked}" for asked, done in self._plan.items()]
        room = max(0, height - 4)  # the question, two blank lines, the status
        plan = plan[: max(room // 2, room - _SHOWN)]
        last = self._done[-min(_SHOWN, max(0, room - len(plan))) :] if room > len(plan) else []
        lines = [self._question, *plan, *([""] if plan and last else []), *last, "", status]
        return [cut(line, width) for line in lines[-height:]]


def _line(text: str) -> str:
    return plain(seen(text), _LONGEST)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


def _count(one: str, many: str, count: int) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _of(one: str, many: str, count: int, most: int) -> str:
    return f"{count:,}/{most:,} {many}" if most else _count(one, many, count)


def cut(text: str, width: int) -> str:
    """As much of a text as fits into so many columns of a terminal; wide signs take two, accents none."""
    taken = 0
    for place, sign in enumerate(text):
        columns = 0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        if taken + columns > width:
            return _shorter(text[:place])
        taken += columns
    return text


def _shorter(text: str) -> str:
    while text and unicodedata.combining(text[-1]):
        text = text[:-1]
    return text[:-1] + "…" if text else ""


class Screen:
    """A few lines at the end of a terminal that are drawn over."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._drawn = 0

    def draw(self, lines: Sequence[str]) -> None:
        """Show these in the place of the last ones."""
        self._out.write(f"{self._up()}{''.join(f'{line}{chr(10)}' for line in lines)}")
        self._out.flush()
        self._drawn = len(lines)

    def clear(self) -> None:
        """Leave nothing."""
        self.draw(())

    def _up(self) -> str:
        return f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
