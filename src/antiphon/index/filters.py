"""Filters over a document's metadata, as AIP-160 writes them: `author = "Ann" AND (year >= 2020 OR tags:draft)`.

    filter     = [ expression ]
    expression = sequence { AND sequence }
    sequence   = factor { factor }                  side by side means AND
    factor     = term { OR term }                   OR binds closer than AND, as the AIP has it
    term       = [ NOT | - ] ( "(" expression ")" | name operator value )
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":"
    value      = a number, a quoted string, or a word; `*` in a text stands for anything, `name:*` asks whether it is set

`:` asks whether a text contains the value, and whether a list has it. A number is compared with numbers and a text with
texts (`code = 42` finds the text `42` too); a list has a value where one of its items does. A name that a document does
not have makes every comparison false, `!=` too; `NOT` turns that round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import ge, gt, le, lt
from typing import Any

import msgspec

Metadata = Mapping[str, str | float | Sequence[str]]
Filter = Callable[[Metadata], bool]

_LEXEME = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      |(?P<sign><=|>=|!=|[=<>:()])
      |(?P<word>(?:[^\s()<>=!:"',\\-]|-(?=[\d.]))[^\s()<>=!:"',\\]*)
      |(?P<minus>-))""",
    re.VERBOSE | re.DOTALL,
)
_OPERATORS = {"=", "!=", "<", "<=", ">", ">=", ":"}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
_NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_RESERVED = re.compile(r"AND|OR|NOT|-.*")  # no names, unless quoted
_DEEPEST = 32
LONGEST = 4096


class BadFilter(ValueError):
    """What is wrong with a filter, and at which character, counted from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message} at character {position}")
        self.position = position


class _Lexeme(msgspec.Struct, frozen=True):
    kind: str  # 'quoted', 'sign', 'word', 'minus' or 'end'
    text: str
    place: int


def parse(text: str) -> Filter:
    """The filter that a text means; an empty one lets everything through. Raises BadFilter."""
    if len(text) > LONGEST:
        raise BadFilter(f"A filter has at most {LONGEST} characters; it is cut off", LONGEST)
    return _Parser(list(_lexemes(text))).whole()


def _lexemes(text: str) -> Iterator[_Lexeme]:
    place = 0
    while rest := text[place:].lstrip():
        start = len(text) - len(rest)
        found = _LEXEME.match(text, place)
        if found is None:
            raise BadFilter("A quote that is not closed" if rest[0] in "\"'" else f"Unexpected {rest[0]!r}", start)
        assert found.lastgroup is not None
        yield _Lexeme(found.lastgroup, found[found.lastgroup], start)
        place = found.end()
    yield _Lexeme("end", "", len(text))


class _Parser:
    """One method a rule of the grammar."""

    def __init__(self, lexemes: list[_Lexeme]) -> None:
        self._lexemes = lexemes
        self._next = 0
        self._depth = 0

    @property
    def _lexeme(self) -> _Lexeme:
        return self._lexemes[self._next]

    def _take(self) -> _Lexeme:
        lexeme = self._lexeme
        self._next += 1
        return lexeme

    def _is(self, text: str) -> bool:
        return self._lexeme.kind in ("word", "sign", "minus") and self._lexeme.text == text

    def whole(self) -> Filter:
        if self._lexeme.kind == "end":
            return lambda metadata: True
        found = self._expression()
        if self._lexeme.kind != "end":
            raise self._unexpected("AND, OR or the end")
        return found

    def _expression(self) -> Filter:
        parts = [self._factor()]
        while self._is("AND") or self._begins_term():
            if self._is("AND"):
                self._take()
            parts.append(self._factor())
        return _all(parts)

    def _begins_term(self) -> bool:
        return (self._lexeme.kind in ("word", "quoted", "minus") and not self._is("OR")) or self._is("(")

    def _factor(self) -> Filter:
        parts = [self._term()]
        while self._is("OR"):
            self._take()
            parts.append(self._term())
        return _any(parts)

    def _term(self) -> Filter:
        if self._is("NOT") or self._lexeme.kind == "minus":
            self._take()
            return _not(self._simple())
        return self._simple()

    def _simple(self) -> Filter:
        if not self._is("("):
            return self._comparison()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise BadFilter(f"Parentheses more than {_DEEPEST} deep", self._lexeme.place)
        self._take()
        found = self._expression()
        if not self._is(")"):
            raise self._unexpected("')'")
        self._take()
        self._depth -= 1
        return found

    def _comparison(self) -> Filter:
        if self._lexeme.kind not in ("word", "quoted") or _RESERVED.fullmatch(self._lexeme.text):
            raise self._unexpected("the name of a metadata key")
        name = _plain(self._take())
        if self._lexeme.kind != "sign" or self._lexeme.text not in _OPERATORS:
            raise self._unexpected(f"one of {' '.join(sorted(_OPERATORS))} after {name!r}")
        operator = self._take().text
        if self._lexeme.kind not in ("word", "quoted"):
            raise self._unexpected(f"a value after {operator!r}")
        return _comparison(name, operator, self._take())

    def _unexpected(self, wanted: str) -> BadFilter:
        lexeme = self._lexeme
        seen = "the end" if lexeme.kind == "end" else repr(lexeme.text)
        return BadFilter(f"Expected {wanted}, found {seen}", lexeme.place)


def _plain(lexeme: _Lexeme) -> str:
    return _ESCAPE.sub(r"\1", lexeme.text[1:-1]) if lexeme.kind == "quoted" else lexeme.text


# ---------------------------------------------------------------------------------------------------- meaning


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else lambda metadata: all(part(metadata) for part in parts)


def _any(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else lambda metadata: any(part(metadata) for part in parts)


def _not(part: Filter) -> Filter:
    return lambda metadata: not part(metadata)


def _comparison(name: str, operator: str, value: _Lexeme) -> Filter:
    text = _plain(value)
    if operator == ":" and text == "*" and value.kind == "word":
        return lambda metadata: name in metadata
    number = float(text) if value.kind == "word" and _NUMBER.fullmatch(text) else None
    test = _test(operator, text, number)
    if operator == "!=":
        return lambda metadata: name in metadata and not any(map(test, _items(metadata[name])))
    if operator == ":":
        return lambda metadata: _has(metadata.get(name, ()), text.casefold(), test)
    return lambda metadata: any(map(test, _items(metadata.get(name, ()))))


def _has(value: str | float | Sequence[str], text: str, test: Callable[[str | float], bool]) -> bool:
    return text in value.casefold() if isinstance(value, str) else any(map(test, _items(value)))


def _items(value: str | float | Sequence[str]) -> Sequence[str | float]:
    return (value,) if isinstance(value, str | int | float) else value


def _test(operator: str, text: str, number: float | None) -> Callable[[str | float], bool]:
    """Whether one item of a value compares so; what is of another kind does not."""
    if operator not in _ORDER and "*" in text:
        return lambda item: isinstance(item, str) and _like(item, text.split("*"))
    if operator not in _ORDER:
        return lambda item: item == (text if isinstance(item, str) else number)
    order, value = _ORDER[operator], text if number is None else number
    return lambda item: isinstance(item, str) == isinstance(value, str) and order(item, value)


def _like(text: str, parts: list[str]) -> bool:
    """Whether a text is these parts with anything between them; each is looked for once, from left to right."""
    first, *middle, last = parts
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    place, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True
