"""Arithmetic over what was found: the model writes an expression, this file checks its numbers and works it out. Pure.

Nothing is run: an expression is read as a tree of numbers, dates and the signs + - * / ** // %, and every number in it must
stand in a note or in the question, but for those that turn one unit into another.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import msgspec

from antiphon.agents.research_prompts import KINDS
from antiphon.agents.research_state import Note
from antiphon.agents.support import numbers
from antiphon.words import plain

# What turns units into each other, counts from or to, or makes a percentage.
_UNITS = frozenset(
    (1, 2, 7, 8, 10, 12, 24, 28, 29, 30, 31, 52, 60, 100, 365, 366, 1000, 1024, 3600, 86400, 10**6, 10**9)
)
_LONGEST = 200
_LARGEST = 1e30
_DIGITS = 12
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
_GROUPED = re.compile(r"(?<=\d)[,_\u00a0\u202f](?=\d{3}(?!\d))")


class Calculation(msgspec.Struct, frozen=True):
    """What was worked out, as `80 / 16 = 5`, what it means, and the passages that its numbers come from."""

    about: str
    text: str
    result: str
    sources: tuple[str, ...]


class Calculations(msgspec.Struct, frozen=True):
    """The calculations of a report."""

    calculations: tuple[Calculation, ...] = ()


def calculations_of(found: Mapping[str, Any], notes: Sequence[Note], question: str) -> tuple[Calculation, ...]:
    """Those of a model's calculations whose numbers are all known."""
    given = found.get("calculations")
    kept: dict[str, Calculation] = {}
    for item in given if isinstance(given, list) else ():
        if not isinstance(item, dict):
            continue
        expression = _expression(item)
        about = plain(item.get("about") if isinstance(item.get("about"), str) else "", 120)
        try:
            # What an earlier one came to is known, too.
            made = _made(expression.partition("=")[0], about, notes, "\n".join([question, *kept]))
        except (_Wrong, ArithmeticError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            continue
        kept.setdefault(made.text, made)
    return tuple(kept.values())[:3]


def _expression(item: Mapping[str, Any]) -> str:
    """The expression that a model wrote, or that its numbers and its kind of calculation make."""
    if isinstance(item.get("expression"), str):
        return str(item["expression"])
    values, dates, kind = item.get("numbers"), item.get("dates"), str(item.get("kind"))
    if kind == "days":
        found = [_ISO.search(str(day)) for day in (dates if isinstance(dates, list) else ())]
        parts = [f"date({int(day[1])}, {int(day[2])}, {int(day[3])})" for day in found if day is not None]
        parts.sort(key=lambda part: [int(number) for number in re.findall(r"\d+", part)], reverse=True)
    else:
        numbers = [value for value in (values if isinstance(values, list) else ()) if isinstance(value, int | float)]
        parts = [_plain_number(value) for value in numbers]
    return f" {KINDS[kind]} ".join(parts) if kind in KINDS and len(parts) > 1 else ""


def _made(expression: str, about: str, notes: Sequence[Note], question: str) -> Calculation:
    expression = _GROUPED.sub("", expression.translate(_SAME)).strip()
    if not expression or len(expression) > _LONGEST:
        raise _Wrong
    tree = ast.parse(expression, mode="eval").body
    sources = _sources(tree, notes, question)
    value = _worked_out(tree)
    written = _DATE.sub(lambda found: date(*map(int, found.groups())).isoformat(), ast.unparse(tree))
    unit = " days" if isinstance(value, timedelta) else ""
    return Calculation(about, f"{written} = {_shown(value)}{unit}", _shown(value), sources)


def _sources(tree: ast.expr, notes: Sequence[Note], question: str) -> tuple[str, ...]:
    """The passages that the numbers of an expression come from. Raises _Wrong for a number that was made up."""
    found = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    literals = [value for value in found if isinstance(value, int | float)]
    if isinstance(tree, ast.Constant) or not literals or len(literals) < len(found):
        raise _Wrong  # nothing is worked out
    free = _UNITS.union(_months(tree))
    sources: list[str] = []
    for literal in sorted(literals, reverse=True):
        having = next((note for note in notes if stands_among(literal, note.text)), None)
        if having is not None:
            sources += () if literal in _UNITS else having.sources
        elif literal not in free and not stands_among(literal, question):
            raise _Wrong
    return tuple(dict.fromkeys(sources))


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
