"""A text as it is spoken: who says which part of it, and the pieces in which it is made. Pure."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from typing import NamedTuple

from antiphon.words import sentences

_LONGEST = 240  # characters of a piece: some 16 s of sound
_FIRST = 90  # of the first piece: the shorter it is, the sooner there is something to hear
_SHORTEST = 25  # of a part of a sentence: what is cut off shorter sounds cut off
_CLAUSE = re.compile(r"[,;:–—、，；：][\"'”’»)\]]*(?=\s)|[、，；：]")
_HEADING = re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+(.*?)[ \t#]*$", re.MULTILINE)
_NUMBER = re.compile(r"^([ \t]*)(\d{1,3})[.)](?=[ \t])", re.MULTILINE)  # an item's: it is said, and looks like a mark
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u20e3]+")  # their names would be said


class Line(NamedTuple):
    """What one speaker says without a break; `speaker` is a place in the list of voices."""

    speaker: int
    text: str


class Script:
    """Gives each part of a text to its speaker: those of whom lines begin `Name:` speak until the next such line.

    It remembers who speaks, so that a text may come in parts. What stands before the first name is the first voice's.
    """

    def __init__(self, speakers: Sequence[str | None]) -> None:
        self._places = {name.casefold(): place for place, name in enumerate(speakers) if name}
        names = "|".join(re.escape(name) for name in sorted(self._places, key=len, reverse=True))
        self._cue = (
            re.compile(rf"^[\s>*_]*({names})[\s*_]*[:：][\s*_]*", re.MULTILINE | re.IGNORECASE) if names else None
        )
        self._speaking = 0

    def lines(self, text: str) -> Iterator[Line]:
        """The parts of a text, in order, without the names."""
        start = 0
        for cue in self._cue.finditer(text) if self._cue else ():
            yield from self._line(text[start : cue.start()])
            self._speaking, start = self._places[cue[1].casefold()], cue.end()
        yield from self._line(text[start:])

    def _line(self, text: str) -> Iterator[Line]:
        if text.strip():
            yield Line(self._speaking, text)


def pieces(text: str, *, first: bool = False) -> Iterator[str]:
    """The sentences of a text, long ones cut where they breathe; `first` cuts the first one shorter.

    What has no letter and no digit is left out: it cannot be said.
    """
    text = _NUMBER.sub(r"\1- \2,", _HEADING.sub(_as_sentence, _EMOJI.sub(" ", _UNSEEN.sub("", text))))
    for place in sentences(text):
        sentence = " ".join(text[place.start : place.end].split())
        for piece in _cut(sentence, first):
            if any(character.isalnum() for character in piece):
                yield piece
                first = False


def _as_sentence(heading: re.Match[str]) -> str:
    title = heading[1]
    return f"{title}\n" if title[-1:] in (*".!?:…。！？",) else f"{title}.\n"


def _cut(sentence: str, first: bool) -> Iterator[str]:
    digits = sum(character.isdigit() for character in sentence)
    usual = _LONGEST // 4 if 4 * digits > len(sentence) else _LONGEST  # a digit is a word
    longest = min(_FIRST, usual) if first else usual
    while len(sentence) > longest:
        end = _breath(sentence, longest)
        if not end and longest < usual:
            longest = usual
            continue
        end = end or sentence.rfind(" ", _SHORTEST, usual) + 1 or usual
        yield sentence[:end].strip()
        sentence, longest = sentence[end:].strip(), usual
    yield sentence


def _breath(sentence: str, longest: int) -> int:
    """Behind the last comma or the like that leaves parts long enough; 0 where there is none."""
    ends = [stop.end() for stop in _CLAUSE.finditer(sentence, _SHORTEST, longest)]
    return next((end for end in reversed(ends) if len(sentence) - end >= _SHORTEST), 0)


async def parts(text: str | AsyncIterable[str]) -> AsyncIterator[str]:
    """A text that is here as a text that comes in parts."""
    if isinstance(text, str):
        yield text
    else:
        async for part in text:
            yield part
