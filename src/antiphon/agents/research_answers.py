"""What models answer to Deep Research's questions, read leniently: what is cut short is taken as far as it goes. Pure.

A number that was not shown names nothing, and what is no sentence is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeGuard

import msgspec

from antiphon.agents.research_state import Heading, Lead, Note, Sentence, similar
from antiphon.ports import Answer
from antiphon.words import MARKER, plain, sentences, terms

_LONGEST_QUERY = 200
_ALIKE = 0.7  # questions that are alike to this degree are one
_LONGEST_QUESTION = 400
_LONGEST_TEXT = 1000
_BEGINS = re.compile(r"[\"'“‘«„]([^\W\d_]{2,20}:)[\"'”’»“]")  # how the user wants a line to begin
_CODE = re.compile(r"(`[^`]*`)")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")


def read(answer: Answer) -> dict[str, Any]:
    """The object that a model wrote; what is there of one that was cut short, {} where that is nothing."""
    text = answer.text[answer.text.find("{") :] if "{" in answer.text else ""
    for attempt in _attempts(text):
        try:
            found = msgspec.json.decode(attempt)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return {}


def _attempts(text: str) -> list[str]:
    """The text, without what stands behind its end, and closed behind each of its last complete values."""
    ends: list[str] = []
    stack: list[str] = []
    quoted = escaped = False
    for place, sign in enumerate(text):
        if quoted:
            quoted, escaped = escaped or sign != '"', not escaped and sign == "\\"
        elif sign == '"':
            quoted = True
        elif sign in "{[":
            stack.append("}" if sign == "{" else "]")
        elif sign in "}]" and stack:
            stack.pop()
            ends.append(text[: place + 1] + "".join(reversed(stack)))
            if not stack:
                return [ends[-1]]
    return ends[:-4:-1]


def leads_of(found: Mapping[str, Any], name: str, most: int) -> tuple[Lead, ...]:
    """Questions and their queries, each question once."""
    leads: dict[str, Lead] = {}
    for item in _items(found.get(name)):
        question = plain(_text(item.get("question")), _LONGEST_QUESTION)
        if question and question.casefold() not in leads:
            leads[question.casefold()] = Lead(question, queries_of(item))
    return tuple(leads.values())[:most]


def distinct(leads: Sequence[Lead]) -> tuple[Lead, ...]:
    """Leads without those that ask what an earlier one asks: in nearly the same words, and of the same numbers."""
    kept: list[Lead] = []
    for lead in leads:
        figures = _figures(lead.question)
        if all(_figures(one.question) != figures or similar(one.question, lead.question) < _ALIKE for one in kept):
            kept.append(lead)
    return tuple(kept)


def _figures(question: str) -> set[str]:
    return {term for term in terms(question) if any(map(str.isdecimal, term))}


def queries_of(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Queries, each once."""
    given = found.get("queries")
    texts = [plain(_text(query), _LONGEST_QUERY) for query in (given if isinstance(given, list) else ())]
    return tuple(dict.fromkeys(filter(None, texts)))[:3]


def title_in(found: Mapping[str, Any]) -> str:
    """A title, without marks of headings."""
    return plain(_text(found.get("title")), 160).strip('#*"“” ')


def closing_in(found: Mapping[str, Any], question: str) -> str:
    """The line that is to stand last; where the question says how it begins ("Answer:"), a sentence that begins so."""
    given = bare(_text(found.get("closing")))
    wanted = _BEGINS.search(question)
    if wanted is None:
        return given
    beginning = str(wanted[1])
    texts = [given, *(bare(_text(item.get("text"))) for item in _items(found.get("sentences")))]
    lines = [text[place:] for text in filter(None, texts) if (place := text.lower().find(beginning.lower())) >= 0]
    return lines[0] if lines else f"{beginning} {given}" if given else ""


def without_form(question: str) -> str:
    """A question without the sentence that says how the last line is to begin."""
    kept = [question[span.start : span.end] for span in sentences(question)]
    return " ".join(text for text in kept if not _BEGINS.search(text)) or question


def wants_a_line(question: str) -> bool:
    """Whether a question says how a line is to begin."""
    return _BEGINS.search(question) is not None


def unlabelled(sentences: Sequence[Sentence], question: str) -> tuple[Sentence, ...]:
    """Sentences without the words that the user wants the last line to begin with."""
    wanted = _BEGINS.search(question)
    beginning = str(wanted[1]) if wanted else ""
    return tuple(
        msgspec.structs.replace(sentence, text=sentence.text[len(beginning) :].strip())
        if beginning and sentence.text.lower().startswith(beginning.lower())
        else sentence
        for sentence in sentences
    )


def numbers_in(found: Mapping[str, Any], name: str, most: int) -> list[int]:
    """The numbers that were given, from 0, each once; what was not shown is left out."""
    given = found.get(name)
    kept = [number - 1 for number in given if _is_number(number)] if isinstance(given, list) else []
    return [number for number in dict.fromkeys(kept) if 0 <= number < most]


def notes_of(found: Mapping[str, Any], ids: Sequence[str]) -> tuple[Note, ...]:
    """Notes, each tied to the passage whose number it names."""
    notes: list[Note] = []
    for item in _items(found.get("notes")):
        source, fact = item.get("source"), bare(_text(item.get("fact")))
        if fact and _is_number(source) and 0 < source <= len(ids):
            notes.append(Note(fact, (ids[source - 1],)))
    return tuple(notes)


def sentences_of(found: Mapping[str, Any], ids: Sequence[str]) -> tuple[Sentence, ...]:
    """Sentences with the passages whose numbers they name; markers that the model wrote into them are taken out."""
    written: list[Sentence] = []
    for item in _items(found.get("sentences")):
        text = bare(_text(item.get("text")))
        form = item.get("form")
        named = tuple(ids[number] for number in numbers_in(item, "sources", len(ids)))
        for place, span in enumerate(sentences(text)):  # several in one are checked one by one
            stands: Literal["run", "paragraph", "item"] = "run"
            if not place and form in ("paragraph", "item"):
                stands = "paragraph" if form == "paragraph" else "item"
            written.append(Sentence(text[span.start : span.end], named, stands))
    return tuple(written)


def headings_of(found: Mapping[str, Any], places: Sequence[int], most: int) -> tuple[Heading, ...]:
    """Sections with their notes, by `places`; a note belongs to the first that names it, and one without is no section."""
    headings: list[Heading] = []
    taken: set[int] = set()
    for item in _items(found.get("sections")):
        own = tuple(number for number in numbers_in(item, "notes", len(places)) if number not in taken)
        title = title_in(item)
        if own and title:
            taken.update(own)
            headings.append(Heading(title, tuple(places[number] for number in own)))
    return tuple(headings[:most])


def _without_markers(text: str) -> str:
    """Text without markers, those too that appear where another is taken out."""
    while (less := MARKER.sub("", text)) != text:
        text = less
    return text


def bare(text: str) -> str:
    """A sentence as one line, without markers of sources and marks of lists or headings."""
    kept = [part if place % 2 else _without_markers(part) for place, part in enumerate(_CODE.split(text))]
    text = " ".join(_UNSEEN.sub(" ", "".join(kept)).split())[:_LONGEST_TEXT]
    return re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"^(?:[-*•#>]+\s+|\d{1,2}[.)]\s+)", "", text)).strip()


def _items(given: Any) -> list[dict[str, Any]]:
    return [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []


def _text(given: Any) -> str:
    return given if isinstance(given, str) else ""


def _is_number(given: Any) -> TypeGuard[int]:
    return isinstance(given, int) and not isinstance(given, bool)
