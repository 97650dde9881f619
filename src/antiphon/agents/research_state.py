"""What Deep Research knows at each point: plan, what was read, notes, sections. All of it is JSON in the log.

A passage is known by the hash of its place and its text: whatever the order in which pages came in, before or after a
crash, a note points at the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Literal

import msgspec

from antiphon.excerpts import relevance
from antiphon.ports import Passage
from antiphon.words import terms


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How much one run may use. When `seconds` or `tokens` are nearly used up it writes what it has.

    `rounds` of research of `parts` questions at first and `follow_ups` afterwards; `searches` and `pages` in all, and
    `pages_each` for one question; what was read of it is shown in `batches` at most, with `notes` from each. The report has
    `sections` and `charts`. The model is asked `doubts` times whether a source says something, with `thorough` also of
    sentences whose words all stand there, and for `rewrites` of what no source says.
    """

    seconds: float
    tokens: int
    searches: int
    pages: int
    rounds: int
    parts: int
    follow_ups: int
    pages_each: int
    notes: int
    sections: int
    doubts: int
    rewrites: int
    batches: int = 1
    charts: int = 1
    thorough: bool = False


FAST = Budget(
    seconds=20 * 60,
    tokens=400_000,
    searches=40,
    pages=40,
    rounds=2,
    parts=4,
    follow_ups=2,
    pages_each=2,
    notes=5,
    sections=4,
    doubts=16,
    rewrites=6,
)
EXHAUSTIVE = Budget(
    seconds=55 * 60,
    tokens=2_000_000,
    searches=160,
    pages=160,
    rounds=5,
    parts=8,
    follow_ups=4,
    pages_each=4,
    notes=8,
    sections=8,
    doubts=160,
    rewrites=40,
    batches=3,
    charts=3,
    thorough=True,
)


# What can be left out of the loop, to see what it is worth: the choice of pages by the model, pages read at all, further
# rounds, the model asked whether a source says something, sentences written anew, calculations, and the outline; of what is
# done for small models: thinking aloud, the subjects of notes that lost theirs, names in notes as the next question where
# no gap is seen, and single sentences shown in the place of passages.
PARTS = (
    "choice", "pages", "missing", "entailment", "rewriting", "calculations", "outline",
    "thinking", "subjects", "names", "sentences", "entries",
)  # fmt: skip


class Lead(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question to look into, and what to type into a search box for it."""

    question: str
    queries: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """The title of the report, the question in full, and its parts."""

    title: str
    question: str
    leads: tuple[Lead, ...]


class Read(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was read, or could not be: where, by which tool, when, and the passages that were kept of it.

    `sha256` is of the passages' texts as they stand here, in order: who keeps the record can show that nothing was changed.
    """

    place: str
    title: str
    tool: str
    at: float
    status: str = "success"
    sha256: str = ""
    passages: tuple[Passage, ...] = ()


class Looked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of one look: the queries or addresses asked for, what was read, and what went wrong."""

    asked: tuple[str, ...] = ()
    read: tuple[Read, ...] = ()
    fault: str = ""


class Note(msgspec.Struct, frozen=True):
    """A fact, and the passages that say it, by their ids."""

    text: str
    sources: tuple[str, ...]


class Notes(msgspec.Struct, frozen=True):
    """What one look at sources gave."""

    question: str
    notes: tuple[Note, ...] = ()


class Leads(msgspec.Struct, frozen=True):
    """What is to be looked into next; nothing where enough is known."""

    leads: tuple[Lead, ...] = ()


class Sentence(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sentence of the report, the passages it points at, and how it stands: after others, first, or as an item."""

    text: str
    sources: tuple[str, ...] = ()
    form: Literal["run", "paragraph", "item"] = "run"


class Dropped(msgspec.Struct, frozen=True):
    """A sentence that was written and is not in the report, and why."""

    text: str
    why: str


class Section(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of the report; the first one, the direct answer, has no title, and may have the line the user wants last."""

    title: str
    sentences: tuple[Sentence, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    closing: str = ""


class Heading(msgspec.Struct, frozen=True):
    """A section to be written: its title and its notes, by number from 0."""

    title: str
    notes: tuple[int, ...]


class Outline(msgspec.Struct, frozen=True):
    """The report's sections in order."""

    headings: tuple[Heading, ...] = ()


# ---------------------------------------------------------------------------------------------------- passages


def hashed(*texts: str) -> str:
    """The SHA-256 of texts, as hexadecimal digits."""
    return sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def place_of(passage: Passage) -> str:
    """Where a passage stands, as one text: two passages of one page have the same."""
    citation = passage.citation
    match citation.__struct_config__.tag:
        case "file_citation":
            page = getattr(citation, "page_number", None)
            name = getattr(citation, "document_uri", None) or getattr(citation, "file_name", None) or ""
            return f"{name}#page={page}" if page is not None else str(name)
        case _:
            return str(getattr(citation, "url", None) or getattr(citation, "name", None) or "")


def title_of(passage: Passage) -> str:
    """What a passage's page is called; its place where it has no name."""
    citation = passage.citation
    for field in ("title", "file_name", "name"):
        if named := getattr(citation, field, None):
            return str(named)
    return place_of(passage)


def id_of(passage: Passage) -> str:
    """A passage's id."""
    return hashed(place_of(passage), passage.text)[:16]


class Library:
    """The passages that were fetched in this run: nothing else can be cited."""

    def __init__(self) -> None:
        self._passages: dict[str, Passage] = {}
        self._terms: dict[str, frozenset[str]] = {}

    def add(self, looked: Looked) -> list[str]:
        """Take in what was read; the ids of its passages."""
        ids = []
        for read in looked.read:
            for passage in read.passages:
                ids.append(id_of(passage))
                self._passages.setdefault(ids[-1], passage)
        return ids

    def __getitem__(self, id: str) -> Passage:
        return self._passages[id]

    def __contains__(self, id: str) -> bool:
        return id in self._passages

    def __iter__(self) -> Iterator[str]:
        return iter(self._passages)

    def __len__(self) -> int:
        return len(self._passages)

    def of_pages(self, ids: Iterable[str]) -> list[str]:
        """All passages of the pages that some passages are of."""
        places = {place_of(self._passages[id]) for id in ids}
        return [id for id, passage in self._passages.items() if place_of(passage) in places]

    def nearest(self, sentence: str, ids: Iterable[str]) -> list[str]:
        """The passages that have at least half of the words of a sentence, those with the most of them first."""
        said = set(terms(sentence))
        found: list[tuple[int, str]] = []
        for id in ids:
            if id not in self._terms:
                self._terms[id] = _said_in(self._passages[id])
            shared = len(said & self._terms[id])
            if 2 * shared >= len(said) > 0:
                found.append((shared, id))
        return [id for _, id in sorted(found, key=lambda item: -item[0])]

    def ranked(self, question: str, ids: Iterable[str]) -> list[str]:
        """Passages by how much they have to do with a question, the best first."""
        known = [id for id in dict.fromkeys(ids) if id in self._passages]
        texts = [f"{title_of(self._passages[id])}\n{self._passages[id].text}" for id in known]
        scores = relevance(texts, terms(question))
        return [id for _, id in sorted(zip(scores, known, strict=True), key=lambda item: -item[0])]


def _said_in(passage: Passage) -> frozenset[str]:
    return frozenset(terms(f"{title_of(passage)}\n{passage.text}"))


def fitting(library: Library, ids: Iterable[str], room: int, most: int = 99) -> list[str]:
    """The first passages that fit into so many characters together; one at least."""
    chosen: list[str] = []
    for id in ids:
        passage = library[id]
        cost = len(passage.text) + len(title_of(passage)) + len(place_of(passage)) + 40
        if chosen and (cost > room or len(chosen) >= most):
            continue
        chosen.append(id)
        room -= cost
    return chosen


def batched(library: Library, ids: Sequence[str], room: int, size: int, most: int) -> list[list[str]]:
    """Passages in batches that fit into so many characters each, the first ones first."""
    left, found = list(ids), list[list[str]]()
    while left and len(found) < most:
        found.append(fitting(library, left, room, size))
        left = [id for id in left if id not in found[-1]]
    return found


def similar(one: str, other: str) -> float:
    """How much of what two texts say both of them say, from 0 to 1."""
    first, second = set(terms(one)), set(terms(other))
    return len(first & second) / len(first | second) if first and second else 0.0
