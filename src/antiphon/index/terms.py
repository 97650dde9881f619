"""Words as the full-text index knows them. A caller's text becomes quoted words here, and is never query syntax."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from antiphon.index.chunks import UNSPACED

_WORD = re.compile(r"\w+")
_UNSPACED_CHARACTER = re.compile(rf"([{UNSPACED}])")
_UNSPACED_RUN = re.compile(rf"[{UNSPACED}]+")
_MOST_WORDS = 32  # of one query; what a model writes is rarely a tenth of it
_WORDS_OF_NO_SUBJECT = """
a about an and any are as at be been but by can could did do does for from had has have how i if in into is it its may
me my of on or our should so such than that the their them then there these they this to was we were what when where
which while who why will with would you your
"""
_STOP = frozenset(_WORDS_OF_NO_SUBJECT.split())


def spaced(text: str) -> str:
    """Text for the index: scripts without spaces get one around each character, so that parts of a run are found."""
    return _UNSPACED_CHARACTER.sub(r" \1 ", text)


def words(query: str) -> list[str]:
    """The words worth looking for, each once, in order; all of them where there is no other."""
    found = dict.fromkeys(_parts(query.lower()))
    telling = [word for word in found if word not in _STOP]
    return (telling or list(found))[:_MOST_WORDS]


def _parts(query: str) -> list[str]:
    """Words; a run of a script without spaces is taken two characters at a time."""
    parts: list[str] = []
    for word in _WORD.findall(query):
        place = 0
        for run in _UNSPACED_RUN.finditer(word):
            parts += [word[place : run.start()], *_pairs(run[0])]
            place = run.end()
        parts.append(word[place:])
    return [part for part in parts if part.strip("_")]


def _pairs(run: str) -> list[str]:
    return [run[place : place + 2] for place in range(max(1, len(run) - 1))]


def telling(words: Sequence[str], occurrences: Callable[[str], int], common: int) -> list[str]:
    """Without the words that stand almost everywhere, unless there are no others: they find nothing and cost the most."""
    rare = [word for word in words if occurrences(word) < common]
    return rare or list(words)


def match(words: Sequence[str]) -> str:
    """Any of these words, as a MATCH expression: each is a string of FTS5, in which only the quote has a meaning."""
    return " OR ".join(f'"{spaced(word)}"' for word in words)
