"""What a model with little room is shown of what was found: single sentences, with what they are about. Pure.

A page says in one place what a thing is, and some lines below what its value is: a sentence is weighed by its own words, its
heading's, those of the part it stands in, and its page's title.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple

import msgspec

from antiphon.agents.research_state import Library, title_of
from antiphon.agents.subjects import parts_of
from antiphon.excerpts import GAP
from antiphon.ports import Passage
from antiphon.words import sentences, terms

# What a word of the question counts where it stands: found by trying, see docs/research.md.
_IN_SUBJECT, _IN_SENTENCE, _IN_TITLE, _IN_PART = 1.2, 1.0, 0.8, 0.7
_WITH_A_NUMBER = 1.2
_LONGEST = 500  # characters of a sentence
_ENOUGH = 100  # characters of room in which no sentence is worth showing


class _Line(NamedTuple):
    """A sentence of a passage: its passage's number, its own, its subject and its text."""

    passage: int
    place: int
    subject: str
    text: str


def condensed(question: str, library: Library, ids: Iterable[str], room: int) -> dict[str, Passage]:
    """The sentences that have most to do with a question, `room` characters of them, by their passages, the best first.

    Each passage has its place and its title, and of its text what is shown.
    """
    known = [id for id in dict.fromkeys(ids) if id in library]
    weights = _weights(set(terms(question)), [_said(library[id]) for id in known])
    scored = sorted(
        (-score, line) for number, id in enumerate(known) for score, line in _lines(number, library[id], weights)
    )
    chosen: dict[int, list[_Line]] = {}
    shown: set[str] = set()
    for _, line in scored:
        passage = library[known[line.passage]]
        cost = len(line.text) + 1 + (0 if line.passage in chosen else len(title_of(passage)) + 30 + len(line.subject))
        if line.text not in shown and (cost <= room or not chosen):
            chosen.setdefault(line.passage, []).append(line)
            shown.add(line.text)
            room -= cost
            if room < _ENOUGH:
                break
    return {
        known[number]: msgspec.structs.replace(library[known[number]], text=_joined(sorted(lines)))
        for number, lines in chosen.items()
    }


def split(shown: Mapping[str, Passage], room: int) -> list[dict[str, Passage]]:
    """What is shown in batches of `room` characters, in order; a passage that is longer is one by itself."""
    batches: list[dict[str, Passage]] = []
    left = 0
    for id, passage in shown.items():
        cost = len(passage.text) + len(title_of(passage)) + 30
        if not batches or cost > left:
            batches.append({})
            left = room
        batches[-1][id] = passage
        left -= cost
    return batches


def _said(passage: Passage) -> frozenset[str]:
    return frozenset(terms(f"{title_of(passage)}\n{passage.text}"))


def _weights(question: Set[str], said: Sequence[Set[str]]) -> dict[str, float]:
    """How much each word of a question tells, those found least the most; together 1."""
    having = {term: sum(term in words for words in said) for term in question}
    weights = {term: math.log(1 + (len(said) - n + 0.5) / (n + 0.5)) for term, n in having.items() if n}
    whole = sum(weights.values())
    return {term: weight / whole for term, weight in weights.items()}


def _lines(number: int, passage: Passage, weights: dict[str, float]) -> list[tuple[float, _Line]]:
    """The sentences of a passage with what each is worth."""
    title = set(terms(title_of(passage)))
    found: list[tuple[float, _Line]] = []
    for part in parts_of(passage.text):
        subject, around = set(terms(part.subject)), set(terms(part.text))
        for span in sentences(part.text):
            text = " ".join(part.text[span.start : span.end].split())[:_LONGEST]
            if GAP in text or text.strip("`*_ ") == part.subject:
                continue
            own = set(terms(text))
            score = sum(
                weight
                * max(
                    _IN_SUBJECT * (term in subject),
                    _IN_SENTENCE * (term in own),
                    _IN_TITLE * (term in title),
                    _IN_PART * (term in around),
                )
                for term, weight in weights.items()
            )
            figure = _WITH_A_NUMBER if any(sign.isdecimal() for sign in text) else 1.0
            found.append((score * figure, _Line(number, len(found), part.subject, text)))
    return found


def _joined(lines: Sequence[_Line]) -> str:
    """Sentences in their order, each subject once above its own, and a mark where something is left out."""
    parts: list[str] = []
    before: _Line | None = None
    for line in lines:
        if line.subject and (before is None or before.subject != line.subject):
            parts.append(f"{line.subject}\n{line.text}")
        else:
            beside = before is None or before.place + 1 == line.place
            parts.append(line.text if beside else f"{GAP}\n{line.text}")
        before = line
    return "\n".join(parts)
