"""Which words of an answer which passage supports. Pure: text and passages in, annotations out.

Two ways together. A marker that the model wrote (`[2]`, `[1, 3]`, `(source 2)`) cites passage 2 for the words before it,
if that passage has anything to do with them. Words without such a marker are compared with the passages: most of what
they say must stand in one or two sentences of a passage, every number and every name among them, and neither may deny
what the other says. What matches nothing gets nothing: better no citation than a wrong one, and never one of a page
that was not retrieved.

This is a comparison of words. It cannot see that `rose` contradicts `fell`, nor that another word means the same.
`bench/citations.py` measures how often it is right.
"""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import chain, islice
from typing import NamedTuple

import msgspec

from antiphon import wire
from antiphon.ports import Passage
from antiphon.words import (
    MARKER,
    NEGATION_SUFFIX,
    NEGATIONS,
    NUMBER_WORDS,
    OPPOSITES,
    TOKEN,
    Span,
    capitalizes_nouns,
    is_stop,
    sentences,
    stems,
    trimmed,
    values,
)

Citation = wire.UrlCitation | wire.FileCitation | wire.PlaceCitation

ENOUGH = 0.64  # the share of a sentence that a passage must have in it, by weight
ENOUGH_IN_DOUBT = 0.8  # the same where the sentence begins with a word that stands in no passage
ENOUGH_BESIDE_TITLE = 0.5  # the share of what the title does not say
ENOUGH_BY_MARKER = 0.45  # the same where the model itself named the passage
NEARLY_AS_GOOD = 0.92  # other passages are cited beside the best one if they have this share of its support
_MOST_SOURCES = 3
_CANDIDATES = 4
_LANE = 60_000  # the whole of a sentence, as a whole number that fits into sixteen bits
_FEWEST_TERMS = 3
_LONGEST_SENTENCE = 2000  # characters that are compared; nobody writes longer ones
_DIGIT = re.compile(r"\d")
_ADDRESS = re.compile(r"\]\(\s*<?[^)\s]*>?\s*\)|<?(?:https?://|www\.)[^\s>)\]]+>?|`[^`]*`")


class Words(NamedTuple):
    """What is compared of a sentence: its terms, each number with its readings, its names, and what would deny it.

    `lead` is a sentence's first word where that is never written small, and `first` the same where no other name follows:
    it may be a name or not.
    """

    terms: frozenset[str]
    numbers: tuple[frozenset[str], ...]
    names: frozenset[str] = frozenset()
    first: str | None = None
    lead: str | None = None
    denies: bool = False
    words: frozenset[str] = frozenset()
    opposites: tuple[tuple[str, frozenset[str]], ...] = ()


class _Reader:
    """Reads sentences, and knows which words are names in what it was given: those that are never written small."""

    def __init__(self, answer: str) -> None:
        self._stems: dict[str, tuple[str, ...]] = {}
        self._small: set[str] = set()
        tokens = TOKEN.findall(_plain(answer))
        self.names_count = not capitalizes_nouns(tokens[:2000])
        self._learn(set(tokens))

    def _learn(self, tokens: Set[str]) -> None:
        self._small |= {found[0] for token in tokens if token[0].islower() and (found := self._terms(token))}

    def _terms(self, token: str) -> tuple[str, ...]:
        """The terms of a token: none of a number, or of a word that says nothing by itself."""
        found = self._stems.get(token)
        if found is None:
            numeric = token[0].isdecimal() or token in NUMBER_WORDS
            found = () if numeric else tuple(term for term in stems(token) if not is_stop(term))
            self._stems[token] = found
        return found

    def survey(self, text: str) -> Words:
        """The terms and numbers of a whole passage, and nothing more."""
        tokens = TOKEN.findall(_plain(text))
        different = set(tokens)
        self._learn(different)
        terms = frozenset(chain.from_iterable(map(self._terms, different)))
        return Words(terms, tuple(_numbers_in(tokens)))

    def read(self, text: str) -> Words:
        """All that is compared of one sentence."""
        text = _plain(text)
        tokens = TOKEN.findall(text)
        terms: set[str] = set()
        names: set[str] = set()
        lead: str | None = None
        first: str | None = None
        for place, token in enumerate(tokens):
            found = self._stems.get(token) or self._terms(token)
            terms.update(found)
            if found and token[0].isupper() and found[0] not in self._small:
                following = tokens[place + 1] if place + 1 < len(tokens) else ""
                lead = found[0] if place == 0 else lead
                if place or following[:1].isupper():  # a first word is a name where a second one follows
                    names.add(found[0])
                else:
                    first = found[0]
        small = frozenset(map(str.lower, tokens))
        denies = not NEGATIONS.isdisjoint(small) or NEGATION_SUFFIX.search(text) is not None
        contrary = tuple((word, OPPOSITES[word]) for word in small & OPPOSITES.keys())
        numbers = tuple(_numbers_in(tokens)) if _has_numbers(text, small) else ()
        return Words(frozenset(terms), numbers, frozenset(names), first, lead, denies, small, contrary)


def _has_numbers(text: str, small: Set[str]) -> bool:
    return _DIGIT.search(text) is not None or not small.isdisjoint(NUMBER_WORDS)


def _numbers_in(tokens: Sequence[str]) -> Iterator[frozenset[str]]:
    for place, token in enumerate(tokens):
        if token[0].isdecimal():
            yield values(token, tokens[place + 1].lower() if place + 1 < len(tokens) else "")
        elif token in NUMBER_WORDS:
            yield frozenset((NUMBER_WORDS[token], token.lower()))


def _plain(text: str) -> str:
    text = text if text.isascii() else unicodedata.normalize("NFC", text)
    return _ADDRESS.sub(" ", text) if "/" in text or "`" in text else text


class _Source:
    """One passage, read: its terms at once, its sentences when they are asked for."""

    def __init__(self, passage: Passage, reader: _Reader) -> None:
        self.citation = passage.citation
        self.key = _key(passage.citation)
        self._text = passage.text
        self._reader = reader
        self.body = reader.survey(passage.text)
        self.title = reader.read(_title(passage.citation))
        self.terms = self.body.terms | self.title.terms
        self.numbers = frozenset().union(*self.body.numbers, *self.title.numbers)
        self._sentences: list[Words] | None = None

    @property
    def sentences(self) -> list[Words]:
        if self._sentences is None:
            read, text = self._reader.read, self._text
            self._sentences = [read(text[a : min(b, a + _LONGEST_SENTENCE)]) for a, b in sentences(text)]
        return self._sentences


def cite(text: str, passages: Sequence[Passage]) -> list[Citation]:
    """The citations of `text`, by place. Indices are bytes of its UTF-8; the same page is cited once for one place.

    `passages` are numbered from 1 by their order: that is what a marker in `text` means.
    """
    if not text.strip() or not passages:
        return []
    matcher = _Matcher(text, passages)
    found: list[tuple[Span, _Source]] = []
    for sentence in sentences(text):
        found += matcher.sentence(Span(sentence.start, min(sentence.end, sentence.start + _LONGEST_SENTENCE)))
    return _annotations(text, _joined(text, found))


class _Matcher:
    """Compares the sentences of one text with its passages."""

    def __init__(self, text: str, passages: Sequence[Passage]) -> None:
        self._text = text
        self._reader = _Reader(text)
        self._sources = [_Source(passage, self._reader) for passage in passages]
        self._titles = frozenset().union(*(source.title.terms for source in self._sources))
        counts = Counter(term for source in self._sources for term in source.terms)
        size = len(passages)
        scale = math.log(size + 2)
        # From 1 for what stands in every passage to 2 for what stands in none: new words count against a match.
        self._weights = {term: 1 + math.log((size + 1) / (count + 1)) / scale for term, count in counts.items()}
        self._unknown = 1 + math.log(size + 1) / scale
        # The passages that have a term, as one number with sixteen bits for each of them: a product and a sum weigh all.
        self._lanes: dict[str, int] = dict.fromkeys(counts, 0)
        for number, source in enumerate(self._sources):
            for term in source.terms:
                self._lanes[term] |= 1 << (16 * number)

    def sentence(self, span: Span) -> Iterator[tuple[Span, _Source]]:
        """The places of one sentence that are supported, and by what."""
        text = self._text[span.start : span.end]
        markers = [found for found in MARKER.finditer(text) if text.count("`", 0, found.start()) % 2 == 0]
        if not markers:
            yield from self._unmarked(span)
            return
        for clause, numbers in _clauses(self._text, span, markers):
            words = self._reader.read(self._text[clause.start : clause.end])
            named = [self._sources[n - 1] for n in numbers if 0 < n <= len(self._sources)]
            supported = [source for source in named if self._supports_marked(words, source)]
            if supported:
                yield from ((clause, source) for source in _distinct(supported))
            else:
                yield from self._unmarked(clause)

    def _supports_marked(self, words: Words, source: _Source) -> bool:
        required = _required(words)
        if words.terms <= source.title.terms and not required:
            return False  # a line of a list of sources: it says no more than the title
        if not words.terms or not all(number & source.numbers for number in required):
            return False
        weights = self._weigh(words)
        share = sum(weights[term] for term in words.terms & source.terms)
        enough = _of_terms(ENOUGH_BY_MARKER, weights, required)
        return share >= enough and not words.terms.isdisjoint(source.body.terms)

    def _unmarked(self, span: Span) -> Iterator[tuple[Span, _Source]]:
        text = self._text[span.start : span.end]
        if text.rstrip("*_\"'”’)").endswith(("?", "？", "؟")):
            return
        words = self._reader.read(text)
        if len(words.terms) + len(words.numbers) < _FEWEST_TERMS or not words.terms:
            return
        weights = self._weigh(words)
        scored = [(self._support(words, weights, source), source) for source in self._candidates(words, weights)]
        best = max((score for score, _ in scored), default=0.0)
        if best:
            good = sorted((item for item in scored if item[0] >= NEARLY_AS_GOOD * best), key=lambda item: -item[0])
            yield from ((span, source) for source in _distinct([source for _, source in good])[:_MOST_SOURCES])

    # ------------------------------------------------------------------ one sentence, one passage

    def _weigh(self, words: Words) -> dict[str, float]:
        """What part each term is of what a sentence says; together 1."""
        weights = {term: self._weights.get(term, self._unknown) for term in words.terms}
        whole = sum(weights.values())
        return {term: weight / whole for term, weight in weights.items()}

    def _candidates(self, words: Words, weights: Mapping[str, float]) -> list[_Source]:
        """The passages that have enough of a sentence somewhere, best first."""
        total = sum(int(weight * _LANE) * self._lanes.get(term, 0) for term, weight in weights.items())
        shares = memoryview(total.to_bytes(2 * len(self._sources), sys.byteorder)).cast("H").tolist()
        if sys.byteorder == "big":
            shares.reverse()
        required = _required(words)
        fewest = _LANE * _of_terms(ENOUGH, weights, required) - len(weights)
        enough = sorted((-share, number) for number, share in enumerate(shares) if share >= fewest)
        found = (self._sources[number] for _, number in enough)
        fitting = (source for source in found if all(number & source.numbers for number in required))
        return list(islice(fitting, _CANDIDATES))

    def _support(self, words: Words, weights: Mapping[str, float], source: _Source) -> float:
        """How well one or two neighbouring sentences of a passage support a sentence; 0 where they do not."""
        in_doubt = words.first is not None and words.first not in self._lanes
        doubted = in_doubt or not self._reader.names_count
        enough = _of_terms(ENOUGH_IN_DOUBT if doubted else ENOUGH, weights, _required(words))
        by_title = words.terms & source.title.terms
        title = sum(weights[term] for term in by_title)
        # A title says what a page is about: half of the rest must stand in the page itself.
        enough = max(enough - title, ENOUGH_BESIDE_TITLE * (1 - title))
        rest = words.terms - by_title
        if not (rest - source.terms).isdisjoint(self._titles):
            return 0.0  # it has a word of what another page is about, and this one does not
        fewest = max(1, enough / max(weights.values()) - 1e-9)
        best = 0.0
        for window, there in _windows(rest, source.sentences):
            if len(there) < fewest:
                continue
            share = sum([weights[term] for term in there])
            if share > best and share >= enough and self._agree(words, rest, window, source):
                best = share
        return best and best + title

    def _agree(self, words: Words, rest: Set[str], window: Sequence[Words], source: _Source) -> bool:
        """Whether numbers, names and denials say nothing against it; `rest` is what the title does not have."""
        main = max(window, key=lambda part: len(rest & part.terms))
        if main.denies != words.denies:
            return False
        numbers = frozenset().union(*source.title.numbers, *(n for part in window for n in part.numbers))
        if not all(number & numbers for number in _required(words)):
            return False
        if _contrary(words, window):
            return False
        return not self._reader.names_count or self._same_names(words, window, source)

    def _same_names(self, words: Words, window: Sequence[Words], source: _Source) -> bool:
        """Whether it speaks of the same: a name may stand elsewhere in the passage where no other name is near."""
        if _another_subject(words, window):
            return False
        there = source.title.terms.union(*(part.terms for part in window))
        names = words.names | ({words.first} if words.first in self._lanes else frozenset())
        missing = names - there
        others = frozenset().union(*(part.names for part in window)) - names
        title = source.title.names | ({source.title.lead} if source.title.lead else frozenset())
        elsewhere = missing <= source.terms and not others and not (title and title.isdisjoint(names))
        if missing and not elsewhere:
            return False
        return not any(_of_another(number, names, part, source) for part in window for number in _required(words))


def _windows(terms: Set[str], read: Sequence[Words]) -> Iterator[tuple[Sequence[Words], Set[str]]]:
    """Sentences that have some of the terms, alone and with the one before, and which of the terms they have."""
    before: Set[str] = frozenset()
    for place, words in enumerate(read):
        there = terms & words.terms
        if there:
            yield (words,), there
        if place and (there or before):
            yield (read[place - 1], words), before | there
        before = there


def _of_terms(share: float, weights: Mapping[str, float], required: Sequence[object]) -> float:
    """A share of a sentence as a share of its terms: its numbers, which must all agree, count as terms that do."""
    return share - (1 - share) * len(required) / len(weights)


def _required(words: Words) -> list[frozenset[str]]:
    """The numbers that must agree; `one` and `two` are often no more than a turn of phrase."""
    return [number for number in words.numbers if not number & {"one", "two"}]


def _another_subject(words: Words, window: Sequence[Words]) -> bool:
    """Whether both sentences begin with a name, and not with the same."""
    main = max(window, key=lambda part: len(words.terms & part.terms))
    return bool(words.lead and main.lead and words.lead != main.lead and main.lead not in words.terms)


def _contrary(words: Words, window: Sequence[Words]) -> bool:
    """Whether a word of the sentence is missing and one that says the opposite stands there."""
    said = frozenset().union(*(part.words for part in window))
    return any(word not in said and not opposite.isdisjoint(said) for word, opposite in words.opposites)


def _of_another(number: frozenset[str], names: frozenset[str], part: Words, source: _Source) -> bool:
    """Whether a sentence says this number of somebody else: it has names, and none of those that are asked for."""
    if not names or not any(number & there for there in part.numbers):
        return False
    theirs = part.names | ({part.first} if part.first else frozenset())
    return bool(theirs) and not names & (theirs | part.terms | source.title.terms)


# ---------------------------------------------------------------------------------------------------- markers


def _clauses(text: str, span: Span, markers: Sequence[re.Match[str]]) -> Iterator[tuple[Span, list[int]]]:
    """The clauses of a sentence, each with the passages that the markers behind it name.

    A marker with nothing to speak of before it ("According to [2], …") stands for what follows it.
    """
    start, pending = span.start, list[int]()
    groups = [*_groups(text, span, markers), (Span(span.end, span.end), list[int]())]
    for place, numbers in groups:
        clause = trimmed(text, start, place.start, " \t|,;:(*_-–—")
        start = place.end
        if _letters(text[clause.start : clause.end]) < 16 and place.end < span.end:
            pending += numbers
            continue
        if clause.start < clause.end and any(c.isalnum() for c in text[clause.start : clause.end]):
            yield clause, [*numbers, *(n for n in pending if n not in numbers)] if numbers else pending
        pending = []


def _letters(text: str) -> int:
    """How much is said; a character of a dense script counts as three."""
    return sum(1 if c < "\u0e00" else 3 for c in text if c.isalnum())


def _groups(text: str, span: Span, markers: Sequence[re.Match[str]]) -> list[tuple[Span, list[int]]]:
    groups: list[tuple[Span, list[int]]] = []
    for marker in markers:
        place = Span(span.start + marker.start(), span.start + marker.end())
        numbers = _numbers(marker["square"] or marker["lens"] or marker["named"])
        if groups and not text[groups[-1][0].end : place.start].strip(" \t,;"):
            numbers = [*groups[-1][1], *(n for n in numbers if n not in groups[-1][1])]
            groups[-1] = (Span(groups[-1][0].start, place.end), numbers)
        else:
            groups.append((place, numbers))
    return groups


def _numbers(words: str) -> list[int]:
    """`1, 3` is 1 and 3; `2-4` is 2, 3 and 4."""
    numbers: list[int] = []
    for part in re.split(r"\s*(?:[,;&]|and)\s*", words.lower()):
        first, _, last = re.sub(r"\s*[–-]\s*", "-", part).partition("-")
        numbers += range(int(first), min(int(last or first), int(first) + 9) + 1)
    return list(dict.fromkeys(numbers))


# ---------------------------------------------------------------------------------------------------- annotations


def _title(citation: Citation) -> str:
    match citation:
        case wire.UrlCitation():
            return citation.title or ""
        case wire.FileCitation():
            return citation.file_name or citation.source or ""
        case _:
            return citation.name or ""


def _key(citation: Citation) -> str:
    """What makes two citations the same source."""
    match citation:
        case wire.UrlCitation():
            return citation.url or citation.title or ""
        case wire.FileCitation():
            return f"{citation.document_uri or citation.source or citation.file_name} {citation.page_number}"
        case _:
            return citation.place_id or citation.url or citation.name or ""


def _distinct(sources: Sequence[_Source]) -> list[_Source]:
    return list({source.key: source for source in reversed(sources)}.values())[::-1]


def _joined(text: str, found: Sequence[tuple[Span, _Source]]) -> list[tuple[Span, _Source]]:
    """Neighbouring sentences of one paragraph with the same source become one place."""
    joined: list[tuple[Span, _Source]] = []
    latest: dict[str, int] = {}
    for span, source in found:
        number = latest.get(source.key)
        if number is not None:
            before = joined[number][0]
            between = text[before.end : span.start]
            if span.start >= before.end and not between.strip() and "\n" not in between:
                joined[number] = (Span(before.start, span.end), joined[number][1])
                continue
        latest[source.key] = len(joined)
        joined.append((span, source))
    return joined


def _annotations(text: str, found: Sequence[tuple[Span, _Source]]) -> list[Citation]:
    """The same with bytes for characters, by place."""
    places = sorted({place for span, _ in found for place in span})
    at: dict[int, int] = {}
    character = byte = 0
    for place in places:
        byte += len(text[character:place].encode("utf-8", "surrogatepass"))
        character = place
        at[place] = byte
    ordered = sorted(found, key=lambda item: item[0])
    return [
        msgspec.structs.replace(source.citation, start_index=at[span.start], end_index=at[span.end])
        for span, source in ordered
    ]
