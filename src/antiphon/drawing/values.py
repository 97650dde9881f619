"""Which values an attribute of a vector picture may have: numbers within bounds, colours, words of a list. Pure.

`checked` gives a value as it may stand, or None for what may not. A reference is to a name of the same picture, never
to anything outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_LONGEST = 20_000  # characters of a path
_WIDEST = 1e5  # a number's size: far outside any picture, and no trouble for who draws it
_NUMBER = r"[+-]?(?:\d{1,12}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,2})?"
_NUMBERS = re.compile(_NUMBER)
_LENGTH = re.compile(rf"\s*({_NUMBER})\s*(px|pt|em|ex|%|in|cm|mm)?\s*")
_PATH = re.compile(r"[MmZzLlHhVvCcSsQqTtAa0-9eE+\-.,\s]*")
_LIST = re.compile(r"[0-9eE+\-.,\s]*")
_TRANSFORM = re.compile(r"\s*(?:(matrix|translate|scale|rotate|skewX|skewY)\s*\(([0-9eE+\-.,\s]*)\)[\s,]*)+")
_FUNCTION = re.compile(r"([a-zA-Z]+)\s*\(([^)]*)\)")
_COLOUR = re.compile(
    r"#[0-9a-fA-F]{3,8}|[a-zA-Z]{3,30}|(?:rgb|hsl)a?\(\s*[\d.]{1,8}(?:deg)?%?(?:[\s,/]+[\d.]{1,8}%?){2,3}\s*\)"
)
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}")
_LOCAL = re.compile(r"url\(\s*['\"]?#([A-Za-z_][\w.-]{0,63})['\"]?\s*\)\s*(none|#[0-9a-fA-F]{3,8}|[a-zA-Z]{3,30})?")
_FONTS = re.compile(r"[\w ,'\"-]{1,120}")
_SMALLEST_DASH = 0.25  # a line of many tiny dashes would be drawn for minutes
_LARGEST_SCALE = 1e3


def numbers(text: str) -> list[float] | None:
    """All numbers of a text; None where one is out of bounds."""
    found = [float(number) for number in _NUMBERS.findall(text)]
    return found if all(abs(number) <= _WIDEST for number in found) else None


def _length(text: str) -> str | None:
    found = _LENGTH.fullmatch(text)
    return text.strip() if found is not None and abs(float(found[1])) <= _WIDEST else None


def _lengths(text: str) -> str | None:
    parts = re.split(r"[\s,]+", text.strip())
    return " ".join(parts) if len(parts) <= 200 and all(_length(part) for part in parts) else None


def _dashes(text: str) -> str | None:
    if text.strip() == "none":
        return "none"
    lengths = _lengths(text)
    found = numbers(text)
    return lengths if lengths is not None and found and min(found) >= 0 and max(found) >= _SMALLEST_DASH else None


def _within(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    def check(text: str) -> str | None:
        return text if pattern.fullmatch(text) and numbers(text) is not None else None

    return check


def _transform(text: str) -> str | None:
    if not _TRANSFORM.fullmatch(text):
        return None
    for name, inside in _FUNCTION.findall(text):
        found = numbers(inside)
        most = _LARGEST_SCALE if name in ("scale", "matrix") else _WIDEST
        first = found[:4] if name == "matrix" and found else found
        if not first or max(map(abs, first)) > most:
            return None
    return text


def _colour(text: str) -> str | None:
    text = text.strip()
    return text if _COLOUR.fullmatch(text) else None


def _paint(text: str) -> str | None:
    """A colour, or a gradient of the same picture."""
    found = _LOCAL.fullmatch(text.strip())
    return f"url(#{found[1]}) {found[2] or ''}".strip() if found is not None else _colour(text)


def _local(text: str) -> str | None:
    found = _LOCAL.fullmatch(text.strip())
    return f"url(#{found[1]})" if found is not None else None


def _name(text: str) -> str | None:
    return text.strip() if _NAME.fullmatch(text.strip()) else None


def _reference(text: str) -> str | None:
    text = text.strip()
    return text if text.startswith("#") and _NAME.fullmatch(text[1:]) else None


def _fonts(text: str) -> str | None:
    return text if _FONTS.fullmatch(text) else None


def _word(*allowed: str) -> Callable[[str], str | None]:
    return lambda text: text.strip() if text.strip() in allowed else None


_CHECKS: dict[str, Callable[[str], str | None]] = {
    **dict.fromkeys(
        ("x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "ry", "fx", "fy", "width", "height", "offset"), _length
    ),
    **dict.fromkeys(("opacity", "fill-opacity", "stroke-opacity", "stop-opacity", "stroke-width"), _length),
    **dict.fromkeys(("stroke-miterlimit", "stroke-dashoffset", "letter-spacing", "textLength"), _length),
    **dict.fromkeys(("x", "y", "dx", "dy", "rotate"), _lengths),  # of text, one for each letter
    "points": _within(_LIST),
    "d": _within(_PATH),
    "stroke-dasharray": _dashes,
    **dict.fromkeys(("transform", "gradientTransform"), _transform),
    **dict.fromkeys(("stop-color", "color"), _colour),
    **dict.fromkeys(("fill", "stroke"), _paint),
    "clip-path": _local,
    "id": _name,
    "href": _reference,
    "font-family": _fonts,
    "font-size": lambda text: _length(text) or _word("small", "medium", "large", "x-large", "xx-large")(text),
    "font-weight": _word("normal", "bold", "bolder", "lighter", *(str(hundred) for hundred in range(100, 1000, 100))),
    "font-style": _word("normal", "italic", "oblique"),
    "text-anchor": _word("start", "middle", "end"),
    "text-decoration": _word("none", "underline", "overline", "line-through"),
    **dict.fromkeys(
        ("dominant-baseline", "alignment-baseline"),
        _word("auto", "middle", "central", "hanging", "alphabetic", "baseline", "text-before-edge", "text-after-edge"),
    ),
    **dict.fromkeys(("fill-rule", "clip-rule"), _word("nonzero", "evenodd")),
    "stroke-linecap": _word("butt", "round", "square"),
    "stroke-linejoin": _word("miter", "round", "bevel"),
    "paint-order": _word("normal", "fill", "stroke", "stroke fill"),
    **dict.fromkeys(("gradientUnits", "clipPathUnits"), _word("userSpaceOnUse", "objectBoundingBox")),
    "spreadMethod": _word("pad", "reflect", "repeat"),
    "lengthAdjust": _word("spacing", "spacingAndGlyphs"),
    "visibility": _word("visible", "hidden"),
    "display": _word("none", "inline", "block"),
}
# What a style sheet may say of an element: how it is painted, not where it stands nor what it names.
STYLES = frozenset(name for name in _CHECKS if "-" in name or name in ("fill", "stroke", "opacity", "display")) - {
    "clip-path"
}


def checked(name: str, value: str) -> str | None:
    """The value as it may stand in an attribute of this name; None for one that may not."""
    check = _CHECKS.get(name)
    return check(value) if check is not None and len(value) <= _LONGEST else None


def styles(text: str) -> dict[str, str]:
    """What may stand of the declarations of a style, `fill: red; stroke: none`."""
    found = {}
    for declaration in text[:_LONGEST].split(";"):
        name, _, value = declaration.partition(":")
        name = name.strip().lower()
        value = value.replace("!important", "").strip()
        if name in STYLES and (good := checked(name, value)) is not None:
            found[name] = good
    return found
