"""Notes: joined, the closest to a question, and made from passages' own words where no model made any. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import lru_cache
from typing import NamedTuple

import msgspec

from antiphon.agents.research_state import Library, Note, Notes, Section, Sentence, similar
from antiphon.agents.subjects import Part, parts_of, with_subject
from antiphon.excerpts import GAP, relevance
from antiphon.ports import Passage
from antiphon.words import sentences, terms

_SHORTEST, _LONGEST = 30, 400  # characters of a sentence that can be a note
_VERBATIM = 3  # sentences of one look
_OF_ENTRY = 3  # and of what stands below one name
# A name alone, or with its type or its arguments: a heading that goes on in words is no entry.
_ENTRY = re.compile(
    r"(?:(?:class|exception|function|method)\s+)?(?:\w+\.)*(?P<name>[^\s(,:;.]+)"
    r"(?P<type>\s*\([\w ]+\))?(?:\s+\w+|\s*[^\w\s].*)?"
)
_VALUE = re.compile(r"[^\d.,;]{0,20}(?<![\w-])\d")  # behind a name
_NEARLY = 0.8  # of a sentence's words: a note that has so many is that sentence
_ALIKE = 0.6  # sentences as similar as this say the same
# Words that are no words of a language: with underscores or digits in them, or capitals within; a version with its name.
_NAME = re.compile(
    r"(?<![\w.])(?:[A-Z][\w+-]* \d+\.\d+(?:\.\d+)+|[A-Za-z]\w*(?:[_-]\w+)*_\w+|[A-Za-z]+(?:-[A-Za-z]+)*-\d+\w*"
    r"|[A-Z]+[a-z]+(?:-?[A-Z][a-z]+)+)(?!\w)"
)


class Known(NamedTuple):
    """What the research has come to: its notes, each fact once, and the questions that something was found on."""

    notes: list[Note]
    answered: frozenset[str]


def known(found: Sequence[Notes]) -> Known:
    """The notes of several looks together; those that say less than another, or the same, are added to its sources."""
    notes: list[Note] = []
    for note in (note for look in found for note in look.notes):
        notes = _with(notes, note)
    return Known(notes, frozenset(look.question for look in found if look.notes))


def _with(notes: list[Note], new: Note) -> list[Note]:
    said = _said(new.text)
    same = [note for note in notes if said <= _said(note.text) or said > _said(note.text)]
    if not same:
        return [*notes, new]
    fullest = max([*same, new], key=lambda note: len(_said(note.text)))
    one = Note(fullest.text, tuple(dict.fromkeys(id for note in (*same, new) for id in note.sources)))
    return [one if note is same[0] else note for note in notes if note is same[0] or note not in same]


@lru_cache(maxsize=1024)
def _said(text: str) -> frozenset[str]:
    return frozenset(terms(text))


def by_number(notes: Sequence[Note]) -> dict[str, int]:
    """The passages of notes, numbered from 1 in the order in which they are first named."""
    return {id: number for number, id in enumerate(dict.fromkeys(id for note in notes for id in note.sources), 1)}


def unexplained(notes: Sequence[Note], asked: Sequence[str]) -> list[str]:
    """Names in notes that nobody asked about, and that no note is headed by or gives the value of: settings, standards.

    A note that only names what has the answer ("the regular vacuum_cost_limit value is used") leads on to it.
    """
    known = "\n".join([*asked, *(note.text.partition(": ")[0] for note in notes if ": " in note.text)]).casefold()
    found = (name[0] for note in notes for name in _NAME.finditer(note.text) if not _VALUE.match(note.text, name.end()))
    return [name for name in dict.fromkeys(found) if not _within(name.casefold(), known)]


def _within(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def closest(notes: Sequence[Note], question: str, room: int) -> list[Note]:
    """As many notes as there is room for, in their order; those go first that have least to do with the question.

    Without room for any, all of them, the closest first.
    """
    costs = [len(note.text) + 12 for note in notes]
    if sum(costs) <= room:
        return list(notes)
    weights = relevance([note.text for note in notes], terms(question))
    order = sorted(range(len(notes)), key=lambda place: (-weights[place], place))
    if room <= 0:
        return [notes[place] for place in order]
    kept: set[int] = set()
    for place in order:
        if costs[place] <= room:
            kept.add(place)
            room -= costs[place]
    return [notes[place] for place in sorted(kept)]


def verbatim(question: str, ids: Sequence[str], library: Library, most: int = _VERBATIM) -> list[Note]:
    """The sentences of passages that have most to do with a question."""
    found = [
        Note(with_subject(" ".join(library[id].text[span.start : span.end].split()), library[id]), (id,))
        for id in ids
        for span in sentences(library[id].text)
        if _SHORTEST <= span.end - span.start <= _LONGEST and GAP not in library[id].text[span.start : span.end]
    ]
    weights = relevance([note.text for note in found], terms(question))
    order = sorted((place for place in range(len(found)) if weights[place] > 0), key=lambda place: -weights[place])
    return [found[place] for place in order[:most]]


def entry_of(name: str) -> str:
    """What is asked about a name that led on."""
    return f"What is {name}, and what is its value?"


def defined(question: str, ids: Iterable[str], library: Library) -> list[Note]:
    """What passages say below the names that a question has: the entry of a setting says best what its value is.

    Three sentences on each name, those with a number and with words of the question first.
    """
    wanted = set(terms(question))
    told: dict[str, dict[str, tuple[float, Note]]] = {}
    for id in ids:
        for part in parts_of(library[id].text):
            name = _named(part.subject, question)
            for score, text in _telling(part, wanted - set(terms(name))) if name else ():
                told.setdefault(name, {}).setdefault(text, (score, Note(text, (id,))))
    notes: list[Note] = []
    for found in told.values():
        best = sorted(found.values(), key=lambda item: -item[0])
        notes += known([Notes(question, tuple(note for _, note in best))]).notes[:_OF_ENTRY]
    return notes


def _named(subject: str, question: str) -> str:
    """The name that a heading begins with, where the question has it: no word of a language, or one with its type."""
    found = _ENTRY.fullmatch(subject)
    if found is None or not (_NAME.fullmatch(found["name"]) or found["type"]):
        return ""
    return found["name"] if _within(found["name"].casefold(), question.casefold()) else ""


def _telling(part: Part, wanted: Set[str]) -> Iterator[tuple[float, str]]:
    """The sentences of an entry, each with what it is about, and how much it tells."""
    for span in sentences(part.text):
        text = " ".join(part.text[span.start : span.end].split())
        if len(text) <= _LONGEST and GAP not in text and text.replace("`", "") != part.subject:
            shared = len(wanted & set(terms(text))) / (len(wanted) or 1)
            yield shared + (0.5 if has_figure(text) else 0.0), f"{part.subject}: {text}"


def whole(note: Note, library: Library, subject: bool, number: bool) -> Note:
    """A note with the `subject` that its passage has above it, and with the `number` that stands behind it."""
    passage = library[note.sources[0]]
    if subject:
        note = Note(with_subject(note.text, passage), note.sources)
    return continued(note, passage) if number else note


def continued(note: Note, passage: Passage) -> Note:
    """A note without a number, together with the sentence behind it that has one: "It limits X. It defaults to 5."."""
    if has_figure(note.text):
        return note
    for part in parts_of(passage.text):
        texts = [" ".join(part.text[span.start : span.end].split()) for span in sentences(part.text)]
        for text, following in itertools.pairwise(texts):
            own = _said(text)
            stands = len(own & _said(note.text)) >= _NEARLY * len(own) > 0
            if stands and has_figure(following) and len(following) <= _LONGEST and GAP not in following:
                return Note(f"{note.text} {following}", note.sources)
    return note


def has_figure(text: str) -> bool:
    """Whether there is a number in it that is no part of a name."""
    return any(map(str.isdecimal, _NAME.sub("", text)))


def not_said(sentences: Sequence[Sentence], said: Sequence[Sentence]) -> tuple[Sentence, ...]:
    """Sentences that say something else than those that were said."""
    return tuple(new for new in sentences if all(similar(new.text, old.text) < _ALIKE for old in said))


def unrepeated(sections: Sequence[Section], answer: Section) -> list[Section]:
    """Sections without the sentences that an earlier one has; one that is then empty is left out.

    What goes on behind the answer without a title does not repeat it either.
    """
    first = answer.sentences if any(not section.title for section in sections) else ()
    said = {frozenset(terms(sentence.text)) for sentence in first}
    kept: list[Section] = []
    for section in sections:
        new = [sentence for sentence in section.sentences if frozenset(terms(sentence.text)) not in said]
        said |= {frozenset(terms(sentence.text)) for sentence in new}
        if new:
            kept.append(msgspec.structs.replace(section, sentences=tuple(new)))
    return kept
