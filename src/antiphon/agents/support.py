"""Whether sources say what a sentence says, as far as words can tell. Pure.

`ruling` compares a sentence with the passages that it points at: "yes" where nearly all that it says stands in one or two
sentences there, numbers and names among it; "no" where one of its numbers stands nowhere in them, or no word does; else
"doubt", which the model is asked about. `elsewhere` finds the passages that say it, whoever was pointed at. What stands
between quotation marks must stand in a source, word for word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Literal, NamedTuple

from antiphon.agents.research_state import Library, title_of
from antiphon.agents.subjects import parted
from antiphon.agents.units import other_units
from antiphon.citations import cite
from antiphon.ports import Passage
from antiphon.words import TOKEN, terms, values

Ruling = Literal["yes", "no", "doubt"]

_WORDS_TO_ONE = 8  # so many words of a sentence may have one among them that its source lacks
_LONGEST_GAP = 200  # characters that a quotation may leave out at once
_MOST_COMPARED = 24  # passages that a sentence without a source is compared with
_QUOTES = re.compile(
    r"“(?P<a>[^“”]+)”|„(?P<b>[^„“”]+)[“”]|«(?P<c>[^«»]+)»|»(?P<d>[^«»]+)«|「(?P<e>[^「」]+)」|『(?P<f>[^『』]+)』"
    r"|(?<![\w\"])\"(?P<g>[^\"]+)\"(?!\w)|(?<!\w)[‘‚](?P<h>[^‘’‚]+)[’‘](?!\w)|‹(?P<i>[^‹›]+)›|《(?P<j>[^《》]+)》"
    r"|＂(?P<k>[^＂]+)＂|&quot;(?P<l>.+?)&quot;|(?<!\w)'(?P<m>[^']{3,})'(?!\w)"
)
_MARKS = frozenset('“”„«»「」『』"‹›《》＂')
_CODE = re.compile(r"`[^`]*`")
_LEFT_OUT = re.compile(r"\s*(?:\[\s*(?:…|\.\.\.)\s*\]|…|\.\.\.)\s*")
# A sign that is no dash between two numbers, nor a hyphen within a word.
_BELOW_ZERO = re.compile(r"(?:(?<![\w)\]])[-−–]|(?<!\w)minus\s)\s?[$€£]?$", re.IGNORECASE)
_SAME = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "‑": "-", "\u00ad": None})


def ruling(sentence: str, passages: Sequence[Passage], given: str = "") -> Ruling:
    """Whether the passages say it. What is about nothing that can be compared is in doubt.

    A number that the passages lack is in doubt where it stands in `given`: what the question says, what was worked out.
    """
    texts = [f"{title_of(passage)}\n{passage.text}" for passage in passages]
    there = _readings(*texts)
    foreign = [number for number in numbers(sentence) if not number & there]
    if not texts or not all(number & _readings(given) for number in foreign):
        return "no"
    said, words = _words(sentence), _said_by(*passages)
    if said and said.isdisjoint(words):  # of two scripts, no word is shared
        return "no" if sentence.isascii() and "".join(texts).isascii() else "doubt"
    # One word can make a sentence false ("built by elves"): the comparison that cites would let it pass.
    if foreign or not _has_nearly_all(words, said):
        return "doubt"
    return _compared(" ".join(sentence.split()), passages)


def _compared(sentence: str, passages: Sequence[Passage]) -> Ruling:
    if other_units(sentence, "\n".join(passage.text for passage in passages)):
        return "doubt"
    if " | " in sentence and not stands_in(sentence, passages):
        return "doubt"  # cells of a table, of two of its rows
    if any(cite(sentence, [passage]) for passage in passages):
        return "yes"
    # What stands below a heading is said of it, and of nothing else.
    said = _words(sentence)
    parts = (part for passage in passages for part in parted(passage))
    return "yes" if any(_has_nearly_all(_said_by(part), said) and cite(sentence, [part]) for part in parts) else "doubt"


def _said_by(*passages: Passage) -> set[str]:
    """All terms of passages and of their titles."""
    return set(terms("\n".join(f"{title_of(passage)}\n{passage.text}" for passage in passages)))


def _has_nearly_all(words: Set[str], said: Set[str]) -> bool:
    return len(said - words) <= len(said) // _WORDS_TO_ONE


def _words(sentence: str) -> set[str]:
    """The terms of a sentence that are no numbers."""
    return {term for term in terms(sentence) if not term[0].isdecimal()}


def elsewhere(sentence: str, library: Library, ids: Iterable[str], given: str = "") -> list[str]:
    """The passages, among these, that say what a sentence says, the best first; three at most."""
    compared = library.nearest(sentence, ids)[:_MOST_COMPARED]
    return [id for id in compared if ruling(sentence, [library[id]], given) == "yes"][:3]


def numbers(text: str) -> set[frozenset[str]]:
    """The numbers of a text that are written in digits, each with its readings."""
    tokens = TOKEN.findall(text)
    return {
        values(token, tokens[place + 1].lower() if place + 1 < len(tokens) else "")
        for place, token in enumerate(tokens)
        if token[0].isdecimal()
    }


def _readings(*texts: str) -> frozenset[str]:
    """All readings of all numbers of texts."""
    return frozenset().union(*(number for text in texts for number in numbers(text)))


def shares_words(sentence: str, texts: str, enough: float = 0.5) -> bool:
    """Whether so much of what a sentence says, numbers apart, stands somewhere in texts."""
    said = _words(sentence)
    return len(said & set(terms(texts))) >= enough * len(said)


# ---------------------------------------------------------------------------------------------------- figures


def has_number(value: float, passage: Passage) -> bool:
    """Whether a number stands in a passage; one below zero with its sign."""
    wanted = format(abs(value), "f").rstrip("0").rstrip(".") if "." in format(value, "f") else format(abs(value), "f")
    text = f"{title_of(passage)}\n{passage.text}"
    if value >= 0:
        return any(wanted in number for number in numbers(text))
    tokens = [found for found in TOKEN.finditer(text) if found[0][0].isdecimal()]
    return any(wanted in values(found[0]) and _BELOW_ZERO.search(text[: found.start()][-12:]) for found in tokens)


def speaks_of(label: str, passage: Passage) -> bool:
    """Whether a passage has a word or a number of a label."""
    said = set(terms(label))
    return not said or not said.isdisjoint(terms(f"{title_of(passage)}\n{passage.text}"))


# ---------------------------------------------------------------------------------------------------- quotations


class Quotation(NamedTuple):
    """What stands between quotation marks, and where, with them."""

    start: int
    end: int
    text: str


def quotations(sentence: str) -> Iterator[Quotation]:
    """All quoted strings of a sentence; code between backticks is none."""
    code = [found.span() for found in _CODE.finditer(sentence)]
    for found in _QUOTES.finditer(sentence):
        if not any(start <= found.start() < end for start, end in code):
            text = next(filter(None, found.groups()))
            yield Quotation(found.start(), found.end(), text)


def stands_in(quoted: str, passages: Iterable[Passage]) -> bool:
    """Whether a quoted string stands in one of the passages, word for word: blanks, case and dashes may differ.

    Where it marks that something is left out, its pieces must stand there in their order.
    """
    pieces = [piece for part in _LEFT_OUT.split(quoted) if (piece := _plain(part).strip(" .,;:!?\"'"))]
    places = (_plain(text) for passage in passages for text in (title_of(passage), passage.text))
    return bool(pieces) and any(_in_order(pieces, text) for text in places)


def _in_order(pieces: Sequence[str], text: str) -> bool:
    place = 0
    for piece in pieces:
        found = re.compile(rf"(?<!\w){re.escape(piece)}(?!\w)").search(text, place)
        if found is None or (place and found.start() - place > _LONGEST_GAP):
            return False
        place = found.end()
    return True


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).translate(_SAME).casefold().split())


def unquoted(sentence: str, passages: Sequence[Passage]) -> str:
    """The sentence without the marks around what stands in no passage."""
    for quotation in reversed(list(quotations(sentence))):
        if not stands_in(quotation.text, passages):
            sentence = f"{sentence[: quotation.start]}{quotation.text}{sentence[quotation.end :]}"
    return _unpaired(sentence)


def _unpaired(sentence: str) -> str:
    """The sentence without marks that open or close nothing: a quotation may go over two sentences."""
    paired = [place for found in quotations(sentence) for place in (found.start, found.end - 1)]
    code = [place for found in _CODE.finditer(sentence) for place in range(*found.span())]
    kept = {*paired, *code}
    return "".join(sign for place, sign in enumerate(sentence) if sign not in _MARKS or place in kept)
