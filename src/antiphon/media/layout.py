"""Words with their places on a page, as text in reading order. Pure; places count from the top left."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf
from statistics import median
from typing import NamedTuple

_WIDE = 2.5  # heights of a line: what stands so far apart in a line stands in different columns
_BETWEEN = 0.8  # heights of a line: so far apart are columns of running text at least
_FEWEST = 4  # lines on each side
_PROSE = 9.0  # heights of a line: so long are lines of running text on the whole; those of tables are shorter

_Span = tuple[float, float]


class Word(NamedTuple):
    """A word, or some in a line, and the box around it."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        """Of the box."""
        return self.bottom - self.top


def text_of(words: Sequence[Word]) -> str:
    """The words line by line; columns of running text one after the other, what else stands far apart with a tab."""
    lines = lines_of(words)
    height = median(word.height for word in words) if words else 1.0
    written: list[str] = []
    at = 0
    while at < len(lines):
        end, gap = _columns(lines, at, height)
        if gap is None:
            written.append(_line(lines[at], height))
            at += 1
            continue
        inside = [word for line in lines[at:end] for word in line]
        written.append(text_of([word for word in inside if word.right <= gap]))
        written.append(text_of([word for word in inside if word.right > gap]))
        at = end
    return "\n".join(filter(None, written))


def lines_of(words: Sequence[Word]) -> list[list[Word]]:
    """Words that stand beside one another, from left to right; lines from top to bottom."""
    lines: list[list[Word]] = []
    for word in sorted(words, key=lambda word: (word.top + word.bottom) / 2):
        middle = (word.top + word.bottom) / 2
        if lines and any(other.top <= middle <= other.bottom for other in lines[-1]):
            lines[-1].append(word)
        else:
            lines.append([word])
    return [sorted(line, key=lambda word: word.left) for line in lines]


def _line(line: Sequence[Word], height: float) -> str:
    text = line[0].text
    for before, word in pairwise(line):
        text += ("\t" if word.left - before.right > _WIDE * height else " ") + word.text
    return text


def _columns(lines: Sequence[Sequence[Word]], first: int, height: float) -> tuple[int, float | None]:
    """How far from `first` on the lines stand in two columns of running text, and a place between these; None for none."""
    free: list[_Span] = [(-inf, inf)]
    end, found = first, None
    for at in range(first, len(lines)):
        free = _common(free, _gaps(lines[at]), _BETWEEN * height)
        if not free:
            break
        for gap in free:
            place = gap[1] - _BETWEEN * height / 2 if gap[0] == -inf else gap[0] + _BETWEEN * height / 2
            if _parts_prose([word for line in lines[first : at + 1] for word in line], place, height):
                end, found = at + 1, place
    return end, found


def _gaps(line: Sequence[Word]) -> list[_Span]:
    gaps: list[_Span] = []
    begin = -inf
    for word in line:
        if word.left > begin:
            gaps.append((begin, word.left))
        begin = max(begin, word.right)
    return [*gaps, (begin, inf)]


def _common(some: Sequence[_Span], others: Sequence[_Span], least: float) -> list[_Span]:
    pairs = ((max(a[0], b[0]), min(a[1], b[1])) for a in some for b in others)
    return [pair for pair in pairs if pair[1] - pair[0] >= least]


def _parts_prose(words: Sequence[Word], place: float, height: float) -> bool:
    sides = [word for word in words if word.right <= place], [word for word in words if word.right > place]
    return all(
        len(side) >= _FEWEST and median(word.right - word.left for word in side) > _PROSE * height for side in sides
    )
