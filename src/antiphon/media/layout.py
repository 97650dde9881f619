"""Words with their places on a page, as text in reading order. Pure; places count from the top left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Word(NamedTuple):
    """A word, or some in a line, and the box around it."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


def text_of(words: Sequence[Word]) -> str:
    """The words line by line."""
    return "\n".join(" ".join(word.text for word in line) for line in lines_of(words))


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
