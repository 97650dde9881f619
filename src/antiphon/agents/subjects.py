"""What the parts of a passage are about: a heading, or the term of a definition, said once above what is said of it. Pure.

"The default is 80 MB." says nothing by itself; under "`min_wal_size`" it does. So a passage is compared and shown in parts,
each with its subject, and a note that lost its subject gets it back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from antiphon.agents.research_state import title_of
from antiphon.excerpts import GAP
from antiphon.ports import Passage
from antiphon.words import plain, terms

_LONGEST = 100  # characters of a subject
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(?P<said>\S.*)")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+(?P<said>\S.*)")
_NUMBER = re.compile(r"^(?:[A-Z]\.)?\d+(?:\.\d+)*\.?\s+")  # of a section
_TERM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+(?P<said>[`*_]\S.*)")
_BARE = re.compile(r"[`*#¶]+|(?<!\w)_+|_+(?!\w)")


class Part(NamedTuple):
    """A part of a text, and what stands above it: nothing where the text begins without a subject."""

    subject: str
    text: str


def parts_of(text: str) -> Iterator[Part]:
    """The parts of a text, in order; a subject stands at the beginning of its part, too. What is left out ends a part."""
    subject, held = "", list[str]()
    lines = text.split("\n")
    for place, line in enumerate(lines):
        following = lines[place + 1] if place + 1 < len(lines) else None
        found = _subject(line, following)
        if found or line.strip() == GAP:
            if any(map(str.strip, held)):
                yield Part(subject, "\n".join(held).strip())
            subject, held = found, []
        if line.strip() != GAP:
            held.append(line)
    if any(map(str.strip, held)):
        yield Part(subject, "\n".join(held).strip())


def _subject(line: str, following: str | None) -> str:
    """What a line says that stands above others; "" of any other line."""
    heading = _HEADING.fullmatch(line)
    item = _TERM.fullmatch(line)
    below = _ITEM.fullmatch(following or "")
    # A term of a definition is set apart as code or in italics, and what it means is not: else it is a list of things.
    if heading is None and (item is None or below is None or _TERM.fullmatch(following or "")):
        return ""
    marked = heading or item
    assert marked is not None
    said = plain(_BARE.sub("", marked["said"]), _LONGEST + 1)
    return said if len(said) <= _LONGEST and not said.endswith((".", "!", "?", ";")) else ""


def parted(passage: Passage) -> Iterator[Passage]:
    """The parts of a passage as passages of their own, whose titles say what they are about."""
    for part in parts_of(passage.text):
        if part.subject and getattr(passage.citation, "title", None) is not None:
            citation = msgspec.structs.replace(passage.citation, title=f"{title_of(passage)} {part.subject}")
            yield Passage(part.text, citation)


def with_subject(text: str, passage: Passage) -> str:
    """A note with what it is about, where it does not say that itself and its passage does: "min_wal_size: It is 80 MB."."""
    said = set(terms(text))
    parts = list(parts_of(passage.text))
    if not said or not parts:
        return text
    best = max(parts, key=lambda part: len(said & set(terms(part.text))))
    for subject, enough in ((best.subject, 0.5), (title_of(passage), 0.0)):
        subject = _NUMBER.sub("", plain(_BARE.sub("", subject), _LONGEST)).rstrip(" :")
        own = set(terms(subject))
        if own and not subject.startswith(("http:", "https:")):
            return text if len(own & said) > enough * len(own) else f"{subject}: {text}"
    return text


def carried(pieces: Sequence[str]) -> list[str]:
    """Pieces of one text in order, where those that go on below a subject of an earlier one begin with it."""
    subject = ""
    made: list[str] = []
    for piece in pieces:
        parts = list(parts_of(piece))
        begins = bool(parts) and bool(parts[0].subject)
        made.append(piece if begins or not subject else f"{subject}\n\n{GAP}\n\n{piece}")
        subject = next((part.subject for part in reversed(parts) if part.subject), subject)
    return made
