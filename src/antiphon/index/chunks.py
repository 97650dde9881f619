"""Documents cut into pieces that can be found and cited one by one.

A token is what white space separates, as in the API's `white_space_config`; what has no white space (Chinese and
Japanese, minified code, base64) is counted in short runs, so that no piece grows without bound. A piece never reaches
over a page, so that a citation can name the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from antiphon.ports import Leaf

# Scripts that put no space between words; two of their characters count as a token.
UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{UNSPACED}]{{1,2}}|[^\s{UNSPACED}]{{1,40}}")
_SENTENCE_END = re.compile(r"[.!?…。！？｡][\"'”’)\]»」』]*$")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n|\f")
_PARAGRAPH, _SENTENCE, _LINE, _SPACE, _NOTHING = 4, 3, 2, 1, 0
_EARLIEST = 0.6  # a piece is at least this full before a good border ends it


class Chunking(msgspec.Struct, frozen=True):
    """How large pieces are and how much of one is repeated in the next, in tokens. Raises ValueError."""

    max_tokens: int = 200
    overlap: int = 20

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or not 0 <= self.overlap < self.max_tokens:
            raise ValueError("the overlap must be smaller than the chunk, and neither negative")


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a page, exactly as it stands there; `page` counts from 1."""

    text: str
    page: int | None = None


def split(leaves: Iterable[Leaf], chunking: Chunking = Chunking()) -> Iterator[Chunk]:  # noqa: B008 - frozen
    """The pieces of a document, in order. Every token is in at least one of them."""
    for leaf in leaves:
        for start, end in _ranges(leaf.text, chunking):
            yield Chunk(leaf.text[start:end], leaf.number)


def _ranges(text: str, chunking: Chunking) -> Iterator[tuple[int, int]]:
    tokens = [found.span() for found in _TOKEN.finditer(text)]
    first = cut = 0
    while first < len(tokens):
        if len(tokens) - first <= chunking.max_tokens:
            yield tokens[first][0], tokens[-1][1]
            return
        cut = _cut(text, tokens, first, cut, chunking.max_tokens)
        yield tokens[first][0], tokens[cut - 1][1]
        first = max(first + 1, _resume(text, tokens, cut, chunking.overlap))


def _cut(text: str, tokens: list[tuple[int, int]], first: int, covered: int, most: int) -> int:
    """The token before which to cut: the best border in the last part of the piece, the latest of equals.

    Behind `covered`, the cut before: what is repeated alone is no piece.
    """
    earliest = max(covered + 1, first + max(1, int(most * _EARLIEST)))
    return max(range(earliest, first + most + 1), key=lambda place: (_border(text, tokens, place), place))


def _resume(text: str, tokens: list[tuple[int, int]], cut: int, overlap: int) -> int:
    """Where the next piece begins: at a sentence within the overlap, as far back as there is one."""
    back = range(cut - overlap, cut)
    return next((place for place in back if _border(text, tokens, place) >= _SENTENCE), cut - overlap)


def _border(text: str, tokens: list[tuple[int, int]], place: int) -> int:
    """How good a place the one before this token is to cut at."""
    before, after = tokens[place - 1][1], tokens[place][0]
    gap = text[before:after]
    if _BLANK_LINE.search(gap) or (text[after] == "#" and "\n" in gap):
        return _PARAGRAPH
    if _SENTENCE_END.search(text, max(0, before - 4), before):
        return _SENTENCE
    if "\n" in gap:
        return _LINE
    return _SPACE if gap else _NOTHING
