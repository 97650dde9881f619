"""Numbers with their units: which unit stands behind a number, and times in seconds, so that they can be compared. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from antiphon.words import NUMBER_WORDS, TOKEN, values

_GROUPS = """m metre metres meter meters|km kilometre kilometres kilometer kilometers|cm centimetres centimeters
    |mm millimetres millimeters|µm μm micrometres|nm nanometres nanometers|mi mile miles|ft foot feet|kg kilograms kilogram
    |g gram grams|mg milligrams|t tonne tonnes|l litre litres liter liters|ml millilitres milliliters|s sec second seconds
    |ms millisecond milliseconds|µs μs us microseconds|min mins minute minutes|h hour hours|d day days|week weeks
    |month months|year years|B byte bytes|bit bits|kB KB kilobyte kilobytes|KiB kibibytes|MB megabyte megabytes
    |MiB mebibytes|GB gigabyte gigabytes|GiB gibibytes|TB terabyte terabytes|TiB tebibytes|Hz hertz|kHz|MHz|GHz|V volts
    |A amperes|W watt watts|kW kilowatts|MW megawatts|GW gigawatts|% percent|$ dollars dollar USD|€ euros euro EUR
    |£ pounds GBP|°C|°F"""
# What is written in small letters is looked up in small letters, too.
_UNITS = {sign: group.split()[0] for group in _GROUPS.split("|") for sign in group.split()}
_SECONDS = {
    unit: Decimal(size)
    for unit, size in {"ms": "0.001", "s": "1", "min": "60", "h": "3600", "d": "86400", "week": "604800"}.items()
}

_MINUTES = re.compile(r"\d+m")


class Measured(NamedTuple):
    """A number as it is written, its readings, and the sign of its unit: "" where none is known."""

    written: str
    values: frozenset[str]
    unit: str


def measured(text: str, *, words: bool = False) -> Iterator[Measured]:
    """The numbers of a text that are written in digits; with `words` those in words, too."""
    found = list(TOKEN.finditer(text))
    for place, token in enumerate(found):
        digits = token[0][0].isdecimal()
        if not digits and not (words and token[0] in NUMBER_WORDS):
            continue
        following = found[place + 1] if place + 1 < len(found) else None
        unit, end = _unit_behind(text, token.end(), following)
        if digits:
            there = values(token[0], following[0].lower() if following is not None else "")
        else:
            there = frozenset((NUMBER_WORDS[token[0]],))
        yield Measured(text[token.start() : end], there, unit)


def _unit_behind(text: str, end: int, following: re.Match[str] | None) -> tuple[str, int]:
    """The unit that stands behind a number, and where it ends: a sign, or the next word."""
    sign = text[end : end + 2].strip()[:1]
    if not sign.isalpha() and sign in _UNITS:
        return _UNITS[sign], end
    if following is None or text[end : following.start()].strip(" \u00a0\u202f-"):
        return "", end
    unit = _UNITS.get(following[0]) or _UNITS.get(following[0].lower(), "")
    return unit, following.end() if unit else end


def other_units(sentence: str, text: str) -> bool:
    """Whether a number of a sentence has a unit that it nowhere has in a text, where it has others: 300 km beside 300 m."""
    there = list(measured(text))
    for number in measured(sentence):
        units = {other.unit for other in there if other.values & number.values}
        if number.unit and units and "" not in units and number.unit not in units:
            return True
    return False


def in_seconds(texts: str) -> list[str]:
    """Times of texts in seconds, as "5 minutes = 300 seconds", where they are in different units; else nothing."""
    found = list(measured(texts, words=True))
    timed = any(one.unit in _SECONDS for one in found)
    # "5m" beside "30s" are minutes.
    found = [one._replace(unit="min") if timed and _MINUTES.fullmatch(one.written) else one for one in found]
    times = [one for one in found if one.unit in _SECONDS]
    if len({one.unit for one in times}) < 2:
        return []
    told: dict[str, None] = {}
    for one in times:
        try:
            seconds = Decimal(min(one.values)) * _SECONDS[one.unit]
        except InvalidOperation:
            continue  # a version, or a date
        if one.unit != "s":
            told[f"{one.written} = {format(seconds.normalize(), 'f')} seconds"] = None
    return list(told)[:8]
