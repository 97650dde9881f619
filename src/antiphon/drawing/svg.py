"""A vector picture that a model wrote, made safe to draw: what may stand is copied into a new one, all else is left out.

Only shapes, text, gradients, clips and their attributes are copied: no scripts, no pictures, no filters, nothing that
refers to anything outside. How much is drawn is bounded, with what `use` repeats counted each time. Runs in the process
of `easel.py` only. A picture that breaks off or breaks the rules of XML is taken as far as it goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from antiphon.drawing.values import checked, numbers, styles

LONGEST = 200_000  # characters
_MOST = 2_000  # elements as written
_DRAWN = 5_000  # and as drawn
_DEEPEST = 40
_TEXT = 2_000  # characters of one element
_SHAPES = {"path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "use"}
_GROUPS = {"svg", "g", "a", "defs", "symbol", "tspan", "linearGradient", "radialGradient", "stop", "clipPath", "style"}
_GRADIENTS = {"linearGradient", "radialGradient"}
_REFER = _GRADIENTS | {"use"}
_WRITTEN_AS = {"svg": "g", "a": "g"}  # within the picture neither has a view or a link of its own
_PLACED = {"x", "y", "width", "height"}  # of a group: they would mean nothing
_BARE = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d{1,6}|#x[0-9a-fA-F]{1,5});)")
_UNPRINTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_RULE = re.compile(r"([^{}]{1,200})\{([^{}]{0,2000})\}")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_BEGINNING = re.compile(r"<svg[\s>]", re.IGNORECASE)


class Unusable(Exception):
    """Why there is nothing to draw, in words for the model that wrote it."""


class Clean(NamedTuple):
    """A picture that is safe to draw, and whether text is in it."""

    text: str
    has_text: bool


@dataclass
class _Node:
    name: str
    attributes: dict[str, str]
    children: list[_Node] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    tail: str = ""
    classes: tuple[str, ...] = ()
    own: dict[str, str] = field(default_factory=dict)  # of its `style`, which is stronger than a sheet

    def all(self) -> Iterator[_Node]:
        yield self
        for child in self.children:
            yield from child.all()


def found(answer: str) -> str:
    """The picture in a model's answer: from the first `<svg` to its `</svg>`, or to the end. Raises Unusable."""
    beginning = _BEGINNING.search(answer)
    if beginning is None:
        raise Unusable("There is no <svg> in it.")
    end = answer.rfind("</svg>")
    text = answer[beginning.start() : end + 6 if end > beginning.start() else len(answer)]
    if len(text) > LONGEST:
        raise Unusable(f"It has more than {LONGEST} characters.")
    return text


def cleaned(source: str, width: int, height: int) -> Clean:
    """The picture made safe, to be drawn at this size in pixels. Raises Unusable."""
    reader = _Reader()
    root = reader.read(_UNPRINTED.sub("", _BARE.sub("&amp;", found(source))))
    _style(root, reader.sheet)
    _settle(root)
    nodes = list(root.all())
    if not any(node.name in _SHAPES for node in _shown(root)):
        raise Unusable("It draws no shape.")
    view = reader.view or (0.0, 0.0, float(width), float(height))
    ground = [] if reader.ground is None else [_Node("rect", _box(view) | {"fill": reader.ground})]
    root.children[:0] = ground
    opening = " ".join(f"{value:g}" for value in view)
    near = 0.9 < view[2] * height / (view[3] * width) < 1.1  # then a little is cut off, rather than a margin left
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{opening}" width="{width}" height="{height}"'
    fit = f' preserveAspectRatio="xMidYMid {"slice" if near else "meet"}"'
    outer = "".join(f" {name}={quoteattr(value)}" for name, value in root.attributes.items() if name not in _PLACED)
    body = "".join(_written(child) for child in root.children)
    text = f"{head}{fit}{outer}>{body}</svg>".encode("ascii", "xmlcharrefreplace").decode()
    return Clean(text, any(node.name == "text" for node in nodes))


class _Reader:
    """Reads a picture into a tree of what may stand."""

    def __init__(self) -> None:
        self.sheet: list[str] = []
        self.view: tuple[float, float, float, float] | None = None
        self.ground: str | None = None
        self._open: list[_Node] = []
        self._root: _Node | None = None
        self._left_out = 0  # how deep inside an element that is left out
        self._count = 0

    def read(self, text: str) -> _Node:
        """The tree. What comes after a fault of the XML is left out. Raises Unusable."""
        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._said
        parser.StartDoctypeDeclHandler = self._refused
        parser.EntityDeclHandler = self._refused
        fault = "It is no XML."
        try:
            parser.Parse(text.encode("utf-8", "replace"), True)
        except expat.ExpatError as error:
            fault = f"It is no XML: {expat.errors.messages[error.code]} in line {error.lineno}."
        if self._root is None:
            raise Unusable(fault)
        return self._root

    def _refused(self, *declared: object) -> None:
        raise Unusable("It declares a document type or an entity.")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > _MOST:
            raise Unusable(f"It has more than {_MOST} elements.")
        if len(self._open) + self._left_out > _DEEPEST:
            raise Unusable(f"It is nested more than {_DEEPEST} deep.")
        name = name.removeprefix("svg:")
        if self._left_out or (name not in _SHAPES and name not in _GROUPS):
            self._left_out += 1
            return
        node = _node(name, attributes)
        if self._root is None:
            self._root = node
            self.view = _view(attributes)
            self.ground = _ground(attributes.get("style", ""))
        elif name != "style":
            self._open[-1].children.append(node)
        self._open.append(node)

    def _end(self, name: str) -> None:
        if self._left_out:
            self._left_out -= 1
        elif self._open:
            node = self._open.pop()
            if node.name == "style":
                self.sheet.append("".join(node.text))

    def _said(self, text: str) -> None:
        if self._left_out or not self._open:
            return
        node = self._open[-1]
        if node.name == "style" or sum(map(len, node.text)) < _TEXT:
            if node.name in ("text", "tspan") and node.children:
                node.children[-1].tail = (node.children[-1].tail + text)[:_TEXT]
            elif node.name in ("text", "tspan", "style"):
                node.text.append(text if node.name == "style" else text[:_TEXT])


def _node(name: str, given: dict[str, str]) -> _Node:
    attributes = {}
    for key, value in given.items():
        key = key.removeprefix("xlink:")
        if (good := checked(key, value)) is not None and (key != "href" or name in _REFER):
            attributes[key] = good
    classes = tuple(given.get("class", "")[:1000].split()[:20])
    return _Node(_WRITTEN_AS.get(name, name), attributes, classes=classes, own=styles(given.get("style", "")))


def _view(attributes: dict[str, str]) -> tuple[float, float, float, float] | None:
    """The part of the plane that is shown: of `viewBox`, else of the width and height."""
    given = numbers(attributes.get("viewBox", "")) or []
    if len(given) != 4:
        sides = [numbers(attributes.get(side, "")) for side in ("width", "height")]
        given = [0.0, 0.0, *(side[0] for side in sides if side and len(side) == 1)]
    if len(given) != 4 or min(given[2:]) < 1 or not 1 / 50 <= given[2] / given[3] <= 50:
        return None
    return given[0], given[1], given[2], given[3]


def _ground(style: str) -> str | None:
    """The colour behind the picture, which models like to give in the root's style."""
    for declaration in style[:2000].split(";"):
        name, _, value = declaration.partition(":")
        if name.strip().lower() in ("background", "background-color"):
            return checked("stop-color", value)
    return None


def _box(view: tuple[float, float, float, float]) -> dict[str, str]:
    return dict(zip(("x", "y", "width", "height"), (f"{value:g}" for value in view), strict=True))


def _style(root: _Node, sheets: list[str]) -> None:
    """Make the rules of style sheets attributes: those for elements, classes and ids, in their order."""
    rules = [
        (selector.strip(), styles(declared))
        for sheet in sheets
        for selectors, declared in _RULE.findall(_COMMENT.sub("", sheet[:20_000]))[:200]
        for selector in selectors.split(",")[:20]
    ]
    strength = sorted((rule for rule in rules if rule[1]), key=lambda rule: {".": 1, "#": 2}.get(rule[0][:1], 0))
    for node in root.all():
        names = {node.name, f"#{node.attributes.get('id')}", *(f".{one}" for one in node.classes)}
        names |= {f"{node.name}.{one}" for one in node.classes}
        for selector, declared in strength:
            if selector in names:
                node.attributes.update(declared)
        node.attributes.update(node.own)


def _settle(root: _Node) -> None:
    """Leave out what refers to nothing, to itself, or from where it may not; count what is drawn. Raises Unusable."""
    named: dict[str, _Node] = {}
    for node in root.all():
        if id := node.attributes.get("id"):
            named.setdefault(id, node)
    _plain_clips(root)
    costs: dict[int, int] = {}
    if _cost(root, named, costs, ()) > _DRAWN:
        raise Unusable(f"It draws more than {_DRAWN} elements.")
    for node in root.all():
        _unhook(node, named)


def _unhook(node: _Node, named: dict[str, _Node]) -> None:
    """Leave out the references of one element that lead to nothing, or to what they may not."""
    for key in ("fill", "stroke", "clip-path"):
        value = node.attributes.get(key, "")
        if value.startswith("url(#"):
            target = named.get(value[5 : value.index(")")])
            if target is None or target.name not in ({"clipPath"} if key == "clip-path" else _GRADIENTS):
                del node.attributes[key]
    if node.name in _GRADIENTS and (href := node.attributes.get("href")):
        target = named.get(href[1:])
        if target is None or target.name not in _GRADIENTS or "href" in target.attributes:
            del node.attributes["href"]


def _plain_clips(root: _Node) -> None:
    """A clip holds shapes only: one that is clipped, or repeats others, would be drawn many times over."""
    for node in root.all():
        if node.name == "clipPath":
            for inner in node.all():
                inner.attributes.pop("clip-path", None)
                inner.children = [child for child in inner.children if child.name not in ("use", "clipPath")]


def _cost(node: _Node, named: dict[str, _Node], costs: dict[int, int], within: tuple[int, ...]) -> int:
    """How many elements are drawn for one; a `use` of something around it, or of nothing, is left out."""
    if id(node) in costs:
        return costs[id(node)]
    within = (*within, id(node))
    total = 1
    for child in list(node.children):
        if child.name == "use":
            target = named.get(child.attributes.get("href", "#")[1:])
            if target is None or id(target) in within or len(within) > 2 * _DEEPEST:
                node.children.remove(child)
                continue
            total += _cost(target, named, costs, within)
        total += _cost(child, named, costs, within)
    costs[id(node)] = total
    return total


def _shown(node: _Node) -> Iterator[_Node]:
    """The elements that are drawn where they stand."""
    if node.name in ("defs", "symbol", "clipPath"):
        return
    yield node
    for child in node.children:
        yield from _shown(child)


def _written(node: _Node) -> str:
    dropped = _PLACED if node.name in ("g", "defs") else set()
    attributes = "".join(
        f" {name}={quoteattr(value)}" for name, value in node.attributes.items() if name not in dropped
    )
    inner = escape("".join(node.text)) + "".join(_written(child) for child in node.children)
    closed = f"<{node.name}{attributes}>{inner}</{node.name}>" if inner else f"<{node.name}{attributes}/>"
    return closed + escape(node.tail)
