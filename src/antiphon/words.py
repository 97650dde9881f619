"""Sentences and terms of text in any language: where sentences stand, and what they are about. Pure.

Terms are what two texts are compared by: words in one case, without accents and endings; pairs of characters where a
script has no blanks between words; numbers by their value. Nothing here knows grammar; it is made to be the same for
everybody rather than right for one language.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Literal, NamedTuple


class Span(NamedTuple):
    """A place in a text, in characters; the end is exclusive."""

    start: int
    end: int


# ---------------------------------------------------------------------------------------------------- sentences

_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_HEADING = re.compile(r" {0,3}#{1,6}(\s|$)")
_RULE = re.compile(r"\s*(?:[-=*_]\s*){3,}$|\s*\|?[\s:|-]*--[\s:|-]*$")
_ROW = re.compile(r"\s*\|")
_ITEM = re.compile(r"[\s>]*(?:[-*+•‣]|\d{1,3}[.)])\s+|\s*>\s*")
# Where a sentence may end: a full stop and a blank, or a full stop of a script that sets no blanks.
_STOP = re.compile(r"[.!?…؟۔।॥։።]+[\"'”’»)\]*_]*(?=\s|$)|[。！？｡]+[”’」』）]*")
MARKER = re.compile(
    r"""\[\^?(?P<square>\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*)\](?:\(\s*<?https?://[^\s)]*\))?
      | 【(?P<lens>\d{1,3})[^】]{0,40}】
      | [(\[](?:sources?|passages?|ref(?:erence)?s?|results?)[:.]?\s*\#?\[?
        (?P<named>\d{1,3}(?:\s*(?:[,;&–-]|and)\s*\d{1,3})*)\]?[)\]]
    """,
    re.VERBOSE | re.IGNORECASE,
)
_AFTER = re.compile(rf"(?:[ \t]*(?:{MARKER.pattern}))+", re.VERBOSE | re.IGNORECASE)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'„“])(?:[^\W\d_]|(?:[^\W\d_]\.)+[^\W\d_]|e\.?g|i\.?e|vs|etc|cf|ca|approx|no|nos|fig|vol|pp?|eds?|al"
    r"|mrs?|ms|dr|prof|st|jr|sr|gen|gov|rep|sen|inc|ltd|co|corp|dept|est|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
    r"|z\.\s?b|d\.\s?h|u\.\s?a|bzw|usw|nr|str|bd|mme|mlle|sra?|núm|págs?)$",
    re.IGNORECASE,
)


def sentences(text: str) -> Iterator[Span]:
    """The sentences of prose and Markdown, in order, each with the source markers behind it.

    A row of a table and an item of a list without a full stop are sentences. Headings, rules, a table's head and code
    blocks are not.
    """
    for block in _blocks(text):
        yield from _sentences_of(text, block)


def _blocks(text: str) -> Iterator[Span]:
    """Paragraphs, items of lists and rows of tables, without what marks them."""
    begun: int | None = None
    last = 0
    for line, kind, mark in _kinds(text):
        if begun is not None and kind != "text":
            yield Span(begun, last)
            begun = None
        if kind == "row":
            yield line
        elif kind != "nothing":
            begun = line.start + mark if begun is None else begun
            last = line.end
    if begun is not None:
        yield Span(begun, last)


def _kinds(text: str) -> Iterator[tuple[Span, Literal["text", "item", "row", "nothing"], int]]:
    """What each line is, and how many characters mark it as that; code and headings are nothing."""
    fence = ""
    lines = _lines(text)
    for number, line in enumerate(lines):
        words = text[line.start : line.end]
        mark = _FENCE.match(words)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        if fence or mark or not words.strip() or _HEADING.match(words) or _RULE.match(words):
            yield line, "nothing", 0
        elif _ROW.match(words):
            yield line, "nothing" if _is_head(text, lines, number) else "row", 0
        elif item := _ITEM.match(words):
            yield line, "item", item.end()
        else:
            yield line, "text", 0


def _lines(text: str) -> list[Span]:
    found, start = [], 0
    for line in text.split("\n"):
        found.append(Span(start, start + len(line)))
        start += len(line) + 1
    return found


def _is_head(text: str, lines: list[Span], number: int) -> bool:
    below = lines[number + 1] if number + 1 < len(lines) else None
    return below is not None and _RULE.match(text, below.start, below.end) is not None


def _sentences_of(text: str, block: Span) -> Iterator[Span]:
    start = block.start
    for stop in _STOP.finditer(text, block.start, block.end):
        if stop.start() < start or not _ends(text, start, stop, block.end):
            continue
        behind = _AFTER.match(text, stop.end(), block.end)
        end = behind.end() if behind else stop.end()
        yield from _trimmed(text, start, end)
        start = end
    yield from _trimmed(text, start, block.end)


def _ends(text: str, start: int, stop: re.Match[str], end: int) -> bool:
    if stop[0][0] != ".":
        return True
    behind = text[stop.end() : min(stop.end() + 3, end)].lstrip()
    if behind[:1].islower():
        return False
    before = text[max(start, stop.start() - 12) : stop.start()]
    return before.strip() != "" and not (len(stop[0]) == 1 and _ABBREVIATION.search(before))


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    span = trimmed(text, start, end)
    if span.start < span.end:
        yield span


def trimmed(text: str, start: int, end: int, also: str = "|") -> Span:
    """The same place without blanks (and the characters of `also`) at its ends."""
    while start < end and (text[start].isspace() or text[start] in also):
        start += 1
    while end > start and (text[end - 1].isspace() or text[end - 1] in also):
        end -= 1
    return Span(start, end)


_TAG = re.compile(r"<[a-zA-Z/!][^<>]{0,300}>")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")


def plain(text: str | None, longest: int) -> str:
    """Text of somebody else's as one line: no tags, no entities, no signs that are not seen."""
    bare = html.unescape(_TAG.sub("", (text or "")[: 4 * longest]))
    return " ".join(_UNSEEN.sub(" ", bare).split())[:longest]


# ---------------------------------------------------------------------------------------------------- terms

# Scripts that set no blanks between words, or glue much to them: Thai to Myanmar, Khmer, kana, Han, Hangul.
_DENSE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
# A number; dense text; a word. The signs of Indian scripts are no letters to `re`, and belong to words.
TOKEN = re.compile(
    r"[A-Za-z]++(?![^\W_]|[\u0900-\u0dff])"
    r"|(?<![^\W_])\d{1,3}(?:[ \u00a0\u202f'’]\d{3})+(?!\d)"
    rf"|(?:(?<![^\W\d_])|(?<=[{_DENSE}]))\d+(?:[.,]\d+)*"
    rf"|[{_DENSE}]+|(?:(?![{_DENSE}])[^\W_]|[\u0900-\u0963\u0970-\u0dff])+"
)
_DENSE_RUN = re.compile(rf"[{_DENSE}]")
# Hiragana mostly writes endings and particles, and so do these few Chinese signs: no pair with one says much.
_GLUE = re.compile("[\u3040-\u309f的了是在於于和與与為为被]")
_HAN = re.compile("[\u30a0-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]")
_GROUPED = re.compile(r"\d{1,3}([.,])\d{3}(?:\1\d{3})*")
_MAGNITUDES = {
    "thousand": 10**3, "million": 10**6, "mio": 10**6, "mn": 10**6, "millones": 10**6, "millionen": 10**6,
    "billion": 10**9, "bn": 10**9, "milliard": 10**9, "milliarden": 10**9, "mrd": 10**9, "trillion": 10**12,
    "millions": 10**6, "billions": 10**9, "milliards": 10**9, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8,
}  # fmt: skip
_TO_TWENTY = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty"""
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth"
_VALUES = {word: str(10 * n) for n, word in enumerate(_TENS.split())} | {
    word: str(n) for n, word in enumerate(_TO_TWENTY.split())
}
_VALUES |= {word: str(n) for n, word in enumerate(_ORDINALS.split(), 1) if n > 1}
# English words for numbers, small and with a capital, and their values: `three` and `third` are 3.
NUMBER_WORDS = _VALUES | {word.capitalize(): value for word, value in _VALUES.items()}
_ENDINGS = ("ing", "ed", "es", "s")
_WORD_LENGTH = 6  # letters that are kept of a word: the rest is an ending in most languages that have them
_LONGEST_NUMBER = 30


def stem(word: str) -> str:
    """A word as it is compared: one case, no accents, no plural, no ending."""
    if word.isascii():
        word = word.lower()
    else:
        bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", word.casefold()))
        word = unicodedata.normalize("NFC", bare)
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"[:_WORD_LENGTH]
    for ending in () if word.endswith("ss") else _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= (4 if len(ending) > 1 else 3):
            word = word[: -len(ending)]
            break
    if len(word) > 4 and word[-1] == "e":
        word = word[:-1]
    return word[:_WORD_LENGTH]


def stems(token: str) -> tuple[str, ...]:
    """The terms of one token that is no number: its stem, or its pairs of characters."""
    if not _DENSE_RUN.match(token):
        return (stem(token),)
    token = unicodedata.normalize("NFKC", token)
    pairs = tuple(token[i : i + 2] for i in range(len(token) - 1)) or (token,)
    telling = tuple(pair for pair in pairs if not _GLUE.search(pair))
    return telling if telling or _HAN.search(token) else pairs


@lru_cache(4096)
def values(number: str, following: str = "") -> frozenset[str]:
    """What a number can mean: `1,500` is 1500 and 1.5; with `million` behind it, that many times as much."""
    number = re.sub(r"[\s'’]", "", number)
    if len(number) > _LONGEST_NUMBER:
        return frozenset((number,))
    readings = {number.replace(",", ".")}
    if _GROUPED.fullmatch(number):
        readings |= {re.sub(r"[.,]", "", number)}
    found = set()
    for reading in readings:
        if reading.count(".") > 1:  # a version, or a date
            found.add(reading)
            continue
        value = Decimal(reading) * _MAGNITUDES.get(following[:1] if _DENSE_RUN.match(following) else following, 1)
        found.add(format(value.normalize(), "f"))
    return frozenset(found)


def terms(text: str) -> list[str]:
    """All terms of a text in order, stop words left out; numbers stand as one of their values."""
    found: list[str] = []
    for token in TOKEN.findall(text if text.isascii() else unicodedata.normalize("NFC", text)):
        if token[0].isdecimal():
            found.append(min(values(token)))
        else:
            found += (term for term in stems(token) if not is_stop(term))
    return found


# ---------------------------------------------------------------------------------------------------- stop words

_STOP_WORDS = {
    "en": """a about above after again all also although am among an and another any are as at be became because been
        before being below between both but by can could did do does doing down during each either even every few for
        from further had has have having he her here hers him himself his how however i if in into is it its itself
        just like may me might more most much must my near now of off often on only onto or other others our out over
        own per same she should since so some such than that the their them then there therefore these they this those
        though through thus to together too under until up upon us very was we well were what when where whether which
        while who whom whose why will with within would yet you your according said says one source found known called
        many several well made make used use using include including first""",
    "de": """aber alle als also am an auch auf aus bei beim bis da damit dann das dass dem den der des die dies diese
        dieser dieses doch durch ein eine einem einen einer eines er es etwa für gegen hat haben hatte ihm ihn ihr im in
        ist ja jede jeder kann man mehr mit nach noch nun nur ob oder ohne sehr sein seine sich sie sind so sowie um und
        uns unter vom von vor war waren was wegen weil wenn werden wie wieder wird wir wurde wurden zu zum zur über""",
    "fr": """alors après au aussi autre aux avait avec car ce ces cet cette comme dans de depuis des deux dont du elle
        elles en entre est et été être fut il ils la le les leur leurs lors lui mais même on ont ou où par plus pour
        près qu que qui sa sans se ses si son sont sous sur un une vers était""",
    "es": """al algo antes aunque como con cual cuando de del desde donde durante el ella ellos en entre era es esa ese
        eso esta este esto fue fueron ha han hasta la las le les lo los muy más o para pero por porque que se ser si sin
        sobre son su sus también tiene un una uno y ya está""",
    "it": """alla alle anche che chi come con cui da dal dalla degli dei del della delle di dove e ed era essere fu gli
        ha hanno il in la le lo ma nei nel nella non o per più quale quando quanto questa questo se si sono stato su sua
        suo sul tra un una uno è""",
    "pt": """ao aos as até com como da das de do dos e ela ele em entre era esta este foi foram há isso já mais mas na
        nas no nos num numa não o os ou para pela pelo por quando que se sem ser seu sua são também tem um uma é""",
    "nl": """aan als bij dan dat de deze die dit door een en er haar heeft het hij hun ik in is maar met naar niet of om
        ook op te tot uit van voor was wat werd wordt worden zich zijn zij ze""",
}
_BY_LANGUAGE = {language: frozenset(map(stem, words.split())) for language, words in _STOP_WORDS.items()}
# What is a function word in one language and a word like others in English stays one.
_ALL_STOP_WORDS = frozenset().union(*_BY_LANGUAGE.values()) - {"hat", "man", "mit", "sin", "son", "tot", "war"}
_OPPOSITE_WORDS = """higher/lower high/low highest/lowest faster/slower fast/slow more/less/fewer most/least older/younger
oldest/youngest/newest largest/smallest larger/smaller biggest/smallest longest/shortest longer/shorter first/last
first/second best/worst better/worse north/south east/west northern/southern eastern/western increase/decrease rise/fall
rose/fell grew/shrank up/down above/below before/after open/closed opens/closes won/lost win/lose legal/illegal
allowed/forbidden accepted/rejected import/export profit/loss male/female hot/cold warmer/colder left/right
minimum/maximum earlier/later earliest/latest true/false safe/dangerous cheaper/dearer richer/poorer"""
# The words, in small letters, that say the contrary of a word: `lower` for `higher`.
OPPOSITES: dict[str, frozenset[str]] = {}
for _group in _OPPOSITE_WORDS.split():
    for _word in _group.split("/"):
        OPPOSITES[_word] = OPPOSITES.get(_word, frozenset()) | set(_group.split("/")) - {_word}
_NEGATION_WORDS = """not no never neither nor cannot without nicht kein keine keinen keiner nie niemals pas jamais sans
nunca niet geen nooit não"""
# Words that turn their sentence into the contrary.
NEGATIONS = frozenset(_NEGATION_WORDS.split())
NEGATION_SUFFIX = re.compile(r"n['’]t\b", re.IGNORECASE)


def is_stop(term: str) -> bool:
    """Whether a term says nothing by itself: a function word, or a single letter of an alphabet."""
    return term in _ALL_STOP_WORDS or (len(term) == 1 and not _DENSE_RUN.match(term))


def capitalizes_nouns(tokens: Iterable[str]) -> bool:
    """Whether a text is in a language that writes every noun with a capital (German), by its function words."""
    counts = dict.fromkeys(_BY_LANGUAGE, 0)
    for token in tokens:
        term = stem(token)
        for language, stops in _BY_LANGUAGE.items():
            counts[language] += term in stops
    return counts["de"] > max(count for language, count in counts.items() if language != "de")
