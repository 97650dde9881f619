"""The parts of texts that match a query, within a number of characters: BM25 over paragraphs, in plain Python. Pure.

Room is shared fairly: what a short text leaves goes to the others. What is left out is marked by `[…]`, and a part is
cut at the end of a sentence or a line where there is one.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple

from antiphon.words import sentences, terms

GAP = "[…]"
_PIECE = 700  # characters of a part, about
_LONGEST_PIECE = 1400
_LOOKED_AT = 50  # parts of one text
_K, _B = 1.2, 0.75
_PICTURE = 4000  # characters of room that a picture counts as: some thousand tokens
_MOST_PICTURES = 6
_BREAK = re.compile(r"\n\s*\n")


class Excerpt(NamedTuple):
    """Parts of a text, and whether something was left out."""

    text: str
    cut: bool


def pictures_in(room: int) -> int:
    """How many pictures a result may show a model that is given `room` characters of it: one at least."""
    return min(_MOST_PICTURES, max(1, room // _PICTURE))


def excerpts(query: str, texts: Sequence[str], room: int) -> list[Excerpt]:
    """For each text the parts that match `query` best, in their order; together `room` characters at most."""
    given = shares([len(text) for text in texts], room)
    pieces = [list(_pieces(text)) if len(text) > share else [text] for text, share in zip(texts, given, strict=True)]
    scores = iter(relevance([piece for parts in pieces for piece in parts], terms(query)))
    return [_fitted(parts, [next(scores) for _ in parts], share) for parts, share in zip(pieces, given, strict=True)]


def shortened(text: str, room: int) -> str:
    """The beginning of a text, cut at the end of a sentence or line where one is near; the cut is marked."""
    if len(text) <= room:
        return text
    room -= len(GAP) + 1
    if room <= 0:
        return ""
    ends = [span.end for span in sentences(text[: room + _PIECE]) if span.end <= room]
    end = ends[-1] if ends and ends[-1] > room // 2 else max(text.rfind("\n", 0, room), text.rfind(" ", 0, room))
    return f"{text[: end if end > 0 else room].rstrip()} {GAP}"


def shares(wanted: Sequence[int], room: int) -> list[int]:
    """`room` among those who want some of it: all get the same, but for what they do not want, which goes to the others."""
    given = [0] * len(wanted)
    left = max(room, 0)
    for done, place in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        given[place] = min(wanted[place], left // (len(wanted) - done))
        left -= given[place]
    return given


def _pieces(text: str) -> Iterator[str]:
    """Short paragraphs together with their neighbours; long ones by sentences, or by size where there are none."""
    held = ""
    for paragraph in _BREAK.split(text):
        for part in [paragraph] if len(paragraph) <= _LONGEST_PIECE else _broken(paragraph):
            if held and len(held) + len(part) > _PIECE:
                yield held
                held = ""
            held = f"{held}\n{part}" if held else part
    if held.strip():
        yield held


def _broken(paragraph: str) -> Iterator[str]:
    held, start = "", 0
    ends = [span.end for span in sentences(paragraph)]
    for end in [*ends, len(paragraph)]:
        held += paragraph[start:end]
        start = end
        while len(held) > _PIECE:
            cut = held.rfind(" ", _PIECE // 2, _PIECE) if len(held) > _LONGEST_PIECE else len(held)
            yield held[: cut if cut > 0 else _PIECE].strip()
            held = held[cut if cut > 0 else _PIECE :]
    if held.strip():
        yield held.strip()


def relevance(pieces: Sequence[str], query: Sequence[str]) -> list[float]:
    """BM25 of each piece for the query's terms, with these pieces as the collection."""
    wanted = set(query)
    counts = [Counter(terms(piece)) for piece in pieces]
    lengths = [sum(count.values()) for count in counts]
    mean = sum(lengths) / len(lengths) if lengths else 0.0
    having = Counter(term for count in counts for term in wanted & count.keys())
    weights = {term: math.log(1 + (len(pieces) - n + 0.5) / (n + 0.5)) for term, n in having.items()}
    return [
        sum(
            weights[term] * count[term] * (_K + 1) / (count[term] + _K * (1 - _B + _B * length / (mean or 1)))
            for term in weights.keys() & count.keys()
        )
        for count, length in zip(counts, lengths, strict=True)
    ]


def _fitted(parts: Sequence[str], scores: Sequence[float], room: int) -> Excerpt:
    """The best parts that fit, in their order; the first ones where none matches."""
    if len(parts) < 2:
        whole = parts[0].strip() if parts else ""
        text = shortened(whole, room)
        return Excerpt(text, text != whole)
    order = heapq.nsmallest(_LOOKED_AT, range(len(parts)), key=lambda place: (-scores[place], place))
    matching = [place for place in order if scores[place] > 0] or order[:1]
    # What stands beside a part that matches often belongs to it.
    beside = [near for place in matching for near in (place + 1, place - 1) if 0 <= near < len(parts)]
    chosen: set[int] = set()
    for place in dict.fromkeys([*matching, *beside]):
        cost = len(parts[place]) + 2 * len(GAP) + 2
        if cost <= room:
            chosen.add(place)
            room -= cost
    if not chosen:
        return Excerpt(shortened(parts[order[0]].strip(), room), True)
    return Excerpt(_with_gaps(parts, chosen), len(chosen) < len(parts))


def _with_gaps(parts: Sequence[str], chosen: Set[int]) -> str:
    lines: list[str] = []
    before = -1
    for place in sorted(chosen):
        if place != before + 1:
            lines.append(GAP)
        lines.append(parts[place].strip())
        before = place
    if before != len(parts) - 1:
        lines.append(GAP)
    return "\n".join(lines)
