"""Arithmetic over what was found: the model writes an expression, this file checks its numbers and works it out. Pure.

Nothing is run: an expression is read as a tree of numbers, dates and the signs + - * / ** // %, and every number in it must
stand in a note or in the question, but for those that turn one unit into another.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from itertools import chain, combinations, permutations
from typing import Any

import msgspec

from antiphon.agents.research_state import Note
from antiphon.agents.support import numbers
from antiphon.agents.units import in_seconds
from antiphon.words import plain

# What turns units into each other, counts from or to, or makes a percentage.
_UNITS = frozenset(
    (1, 2, 7, 8, 10, 12, 24, 28, 29, 30, 31, 52, 60, 100, 365, 366, 1000, 1024, 3600, 86400, 10**6, 10**9)
)
_LONGEST = 200
_LARGEST = 1e30
_DIGITS = 12
_MOST_NUMBERS = 12  # of notes, that are tried with each other
_SIGNS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


class _Wrong(Exception):
    """An expression that is none, or whose numbers were made up."""


def _round(value: float, digits: int = 0) -> float:
    """As Python's, for as many digits as somebody reads: others take for ever."""
    if not isinstance(digits, int) or not 0 <= digits <= _DIGITS:
        raise _Wrong
    return round(value, digits)


_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "round": _round, "abs": abs}
_SAME = str.maketrans({"×": "*", "÷": "/", "−": "-", "–": "-", "·": "*"})
_DATE = re.compile(r"date\((\d+), (\d+), (\d+)\)")
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_IN_WORDS = re.compile(
    rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th)? (?P<month>{_MONTH}),? (?P<year>\d{{4}})\b"
    rf"|\b(?P<first>{_MONTH})\.? (?P<second>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<last>\d{{4}})\b"
)
# A number with perhaps a unit, or a date; several of them with signs between; and what they are said to come to.
_NUMBER = r"\d[\d,_]*(?:\.\d+)?"
_OPERAND = re.compile(rf"date\([\d, ]+\)|(?<![\w.]){_NUMBER}")
_UNIT = r"%?(?:[ \u00a0]?[A-Za-z][A-Za-z()]{0,20}){0,3}?"
_SIGNED = r"(?:\s+[-+*/]\s+|[+*/])"
_ONE = rf"(?:date\([\d, ]+\)|(?<![\w.]){_NUMBER}){_UNIT}"
_STATED = re.compile(rf"(?P<left>{_ONE}(?:{_SIGNED}{_ONE})+)(?:{_UNIT}\s*=\s*(?P<right>{_NUMBER}))?")
_SIGN = re.compile(rf"({_SIGNED})#")
_GROUPED = re.compile(r"(?<=\d)[,_\u00a0\u202f](?=\d{3}(?!\d))")


class Calculation(msgspec.Struct, frozen=True):
    """What was worked out, as `80 / 16 = 5`, what it means, and the passages that its numbers come from."""

    about: str
    text: str
    result: str
    sources: tuple[str, ...]


class Calculations(msgspec.Struct, frozen=True, omit_defaults=True):
    """The calculations of a report; of a model that thinks and answers at once, what it thought and the answer, too."""

    calculations: tuple[Calculation, ...] = ()
    thought: str = ""
    answer: str = ""


def calculations_of(
    found: Mapping[str, Any], notes: Sequence[Note], question: str, most: int = 3
) -> tuple[Calculation, ...]:
    """Those of a model's calculations whose numbers are all known."""
    given = found.get("calculations")
    notes = _with_seconds(notes)
    kept: dict[str, Calculation] = {}
    for item in given if isinstance(given, list) else ():
        if not isinstance(item, dict):
            continue
        expression = item.get("expression")
        if not isinstance(expression, str):
            continue
        about = plain(item.get("about") if isinstance(item.get("about"), str) else "", 120)
        try:
            # What an earlier one came to is known, too.
            earlier = list(kept)[:most] if most <= _MOST_NUMBERS else ()
            made = _made(expression.partition("=")[0], about, notes, "\n".join([question, *earlier]))
        except (_Wrong, ArithmeticError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            continue
        kept.setdefault(made.text, made)
    return tuple(kept.values())[:most]


def between(notes: Sequence[Note]) -> tuple[Calculation, ...]:
    """The days between the dates of notes, where there are two or three of them."""
    dates: dict[date, tuple[str, ...]] = {}
    for note in notes:
        for day in _dates_in(note.text):
            dates.setdefault(day, note.sources)
    found = sorted(dates) if len(dates) in (2, 3) else []
    return tuple(
        Calculation("days", f"{late} - {early} = {(late - early).days} days", str((late - early).days), sources)
        for early, late in combinations(found, 2)
        if (sources := tuple(dict.fromkeys((*dates[late], *dates[early]))))
    )


def _dates_in(text: str) -> Iterator[date]:
    """The dates of a text that are written as 2021-03-12, or in English words."""
    for found in _ISO.finditer(text):
        with suppress(ValueError):
            yield date(*map(int, found.groups()))
    for found in _IN_WORDS.finditer(text):
        with suppress(ValueError):
            month = _MONTHS.index((found["month"] or found["first"])[:3].lower()) + 1
            yield date(int(found["year"] or found["last"]), month, int(found["day"] or found["second"]))


def stated(text: str) -> Iterator[tuple[str, str]]:
    """The calculations of a text, such as "80 MB / 16 MB = 5 files": the expression, and what it is said to come to."""
    text = _ISO.sub(lambda day: f"date({int(day[1])}, {int(day[2])}, {int(day[3])})", text.translate(_SAME))
    for found in _STATED.finditer(text):
        operands = [operand.rstrip(",") for operand in _OPERAND.findall(found["left"])]
        signs = [sign.strip() for sign in _SIGN.findall(_OPERAND.sub("#", found["left"]))]
        if len(operands) == len(signs) + 1:
            rest = (f" {sign} {operand}" for sign, operand in zip(signs, operands[1:], strict=True))
            yield operands[0] + "".join(rest), (found["right"] or "").rstrip(",")


def put_right(text: str, made: Sequence[Calculation], said: Sequence[tuple[str, str]]) -> str:
    """A text with what calculations come to, in the place of what a model thought that they do."""
    results = {calculation.text.rpartition(" = ")[0]: calculation.result for calculation in made}
    for expression, claimed in said:
        try:
            known = results.get(_written(_tree(expression)))
        except (_Wrong, SyntaxError, ValueError):
            continue
        if known is not None and claimed and claimed != known and claimed not in expression:
            text = re.sub(rf"(?<![\w.,]){re.escape(claimed)}(?![\w]|[.,]\d)", known, text)
    return text


def thought_of(found: Mapping[str, Any], notes: Sequence[Note], question: str) -> Calculations:
    """What a model thought aloud, its calculations worked out, and its answer with what they come to."""
    thought, answer = (_text(found.get(name)) for name in ("thinking", "answer"))
    said = list(stated(f"{thought}\n{answer}"))
    made = calculations_of({"calculations": [{"expression": expression} for expression, _ in said]}, notes, question)
    thought, answer = (put_right(text, made, said) for text in (thought, answer))
    known = {calculation.result for calculation in made}
    others = [*between(notes), *_derived(answer, notes, question)]
    return Calculations((*made, *(other for other in others if other.result not in known)), thought, answer)


def _derived(answer: str, notes: Sequence[Note], question: str) -> tuple[Calculation, ...]:
    """How the one number of an answer comes from two numbers of the notes, where the model did not say it and it does."""
    wanted = _unknown(answer, "\n".join([question, *(note.text for note in notes)]))
    known = {min(value): note.sources for note in _with_seconds(notes) for value in numbers(note.text)}
    if len(wanted) != 1 or len(known) > _MOST_NUMBERS:
        return ()
    lines = [f"{one} {sign} {other}" for one, other in _pairs(known) for sign in "-/*+"]
    made = calculations_of({"calculations": [{"expression": line} for line in lines]}, notes, question, most=len(lines))
    found = next((one for one in made if one.result in wanted[0]), None)
    if found is None:
        return ()
    used = (known[operand] for operand in _OPERAND.findall(found.text.partition(" = ")[0]) if operand in known)
    return (msgspec.structs.replace(found, sources=tuple(dict.fromkeys(chain(*used)))),)


def _unknown(answer: str, texts: str) -> list[frozenset[str]]:
    """The numbers of an answer that do not stand in texts."""
    there = frozenset().union(*numbers(texts))
    return [number for number in numbers(answer) if not number & there]


def _pairs(known: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Two numbers each: those of one source seldom are what is to be compared."""
    return (pair for pair in permutations(known, 2) if known[pair[0]] != known[pair[1]])


def _text(given: Any) -> str:
    return " ".join(given.split()) if isinstance(given, str) else ""


def _made(expression: str, about: str, notes: Sequence[Note], question: str) -> Calculation:
    tree = _tree(expression)
    sources = _sources(tree, notes, question)
    value = _worked_out(tree)
    unit = " days" if isinstance(value, timedelta) else ""
    return Calculation(about, f"{_written(tree)} = {_shown(value)}{unit}", _shown(value), sources)


def _tree(expression: str) -> ast.expr:
    expression = _GROUPED.sub("", expression.translate(_SAME)).strip()
    if not expression or len(expression) > _LONGEST:
        raise _Wrong
    return ast.parse(expression, mode="eval").body


def _written(tree: ast.expr) -> str:
    return _DATE.sub(lambda found: date(*map(int, found.groups())).isoformat(), ast.unparse(tree))


def _sources(tree: ast.expr, notes: Sequence[Note], question: str) -> tuple[str, ...]:
    """The passages that the numbers of an expression come from. Raises _Wrong for a number that was made up."""
    having = {literal: _having(literal, notes) for literal in _literals(tree)}
    free = _UNITS.union(_months(tree))
    if any(not named and number not in free and not stands_among(number, question) for number, named in having.items()):
        raise _Wrong
    sources = [id for number, named in having.items() if number not in _UNITS for id in named]
    if len(sources) < 2:  # what may be a unit as well is one of the two
        sources += [id for named in having.values() for id in named]
    return tuple(dict.fromkeys(sources))


def _literals(tree: ast.expr) -> list[Any]:
    """The numbers of an expression, the largest first. Raises _Wrong where there is nothing to work out."""
    found = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    literals = [value for value in found if isinstance(value, int | float)]
    if isinstance(tree, ast.Constant) or not literals or len(literals) < len(found):
        raise _Wrong
    return sorted(literals, reverse=True)


def _having(number: Any, notes: Sequence[Note]) -> tuple[str, ...]:
    """The passages of the first note that has a number."""
    return next((note.sources for note in notes if stands_among(number, note.text)), ())


def _with_seconds(notes: Sequence[Note]) -> list[Note]:
    """Notes, with their times in seconds, too, where they have them in different units."""
    told = in_seconds("\n".join(note.text for note in notes))
    return [
        Note("\n".join([note.text, *(line for line in told if line.partition(" = ")[0] in note.text)]), note.sources)
        for note in notes
    ]


def _months(tree: ast.expr) -> list[Any]:
    """The months of dates: a page mostly writes them as words."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) == 3)
    return [node.args[1].value for node in calls if isinstance(node.args[1], ast.Constant)]


def stands_among(value: Any, text: str) -> bool:
    """Whether a number stands in a text, in any of the ways of writing it."""
    return isinstance(value, int | float) and any(_plain_number(value) in number for number in numbers(text))


def _plain_number(value: float) -> str:
    text = format(value, "f") if isinstance(value, float) else str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _worked_out(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and abs(value) < _LARGEST:
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_worked_out(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _SIGNS:
            return _combined(type(sign), _worked_out(left), _worked_out(right))
        case ast.Call(func=ast.Name(id="date"), args=[_, _, _] as parts, keywords=[]):
            return date(*map(_worked_out, parts))
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as parts, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*map(_worked_out, parts))
    raise _Wrong


def _combined(sign: type[ast.operator], left: Any, right: Any) -> Any:
    if sign is ast.Pow and not (abs(left) < 10**6 and 0 <= right <= 64):
        raise _Wrong
    if isinstance(left, date) and not isinstance(right, date):
        right = timedelta(days=right)
    found = _SIGNS[sign](left, right)
    if not isinstance(found, date | timedelta) and abs(found) > _LARGEST:
        raise _Wrong
    return found


def _shown(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value.days)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) else format(value, ".6g")
