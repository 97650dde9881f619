"""Places from a file of OpenStreetMap: XML (`.osm`), or JSON with `elements`. Needs no network.

The whole file is held in memory: made for a town or a test, not for a continent.
"""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from antiphon.maps.categories import category, split
from antiphon.maps.spots import MapFault, Point, Spot, distance, spot
from antiphon.words import terms

LARGEST = 200 * 10**6
_NEAR_METRES = 5000.0  # at this distance a place is worth half
_KINDS = ("amenity", "shop", "tourism", "leisure", "historic", "railway", "natural", "place", "highway", "cuisine")


class _Element(msgspec.Struct):
    type: str
    id: int
    lat: float | None = None
    lon: float | None = None
    center: dict[str, float] | None = None
    nodes: list[int] = []
    tags: dict[str, str] = {}


class _File(msgspec.Struct):
    elements: list[_Element]


class Extract:
    """The file `place`, read when it is first searched."""

    def __init__(self, place: str) -> None:
        self._path = Path(place).expanduser()
        if not place or not self._path.is_file():
            raise ValueError(f"there is no map extract '{place}': extract:/path/to/town.osm")
        if self._path.stat().st_size > LARGEST:
            raise ValueError(f"the map extract '{place}' has more than {LARGEST // 10**6} MB")
        self._reading: asyncio.Task[list[Spot]] | None = None

    async def search(self, query: str, near: Point | None, count: int) -> list[Spot]:
        """Places whose name, kind and address have the query's words; near ones are worth more."""
        if self._reading is None:
            self._reading = asyncio.create_task(asyncio.to_thread(_read, self._path))
        try:
            spots = await asyncio.shield(self._reading)
        except (OSError, ValueError, ElementTree.ParseError, msgspec.MsgspecError) as error:
            raise MapFault(f"The map extract cannot be read: {error.__class__.__name__}.") from None
        what, where = split(query)
        centre = near
        if where:
            # A place of that name in the file; else the words stay part of what is looked for.
            best = _best(spots, where, None, 1)
            centre, what = (best[0].point, what) if best else (near, query)
        return _best(spots, what, centre, count)

    async def aclose(self) -> None:
        """Nothing to do."""


def _best(spots: Sequence[Spot], query: str, near: Point | None, count: int) -> list[Spot]:
    kind = category(query)
    wanted = set(terms(query))
    scored: list[tuple[float, str, Spot]] = []
    for one in spots:
        score = _score(one, wanted)
        if kind is not None and one.tags.get(kind.key) == kind.value:
            score += 1.0
        if score < 0.5:
            continue
        if near is not None:
            score /= 1 + distance(near, one.point) / _NEAR_METRES
        scored.append((-score, one.place_id, one))
    return [one for _, _, one in sorted(scored, key=lambda item: item[:2])[:count]]


def _score(one: Spot, wanted: set[str]) -> float:
    """The share of the query's words that a place has, those of its name counted in full."""
    if not wanted:
        return 0.0
    name = set(terms(one.name))
    other = set(terms(" ".join((one.address, *(one.tags.get(key, "").replace("_", " ") for key in _KINDS)))))
    return sum(1.0 if word in name else 0.6 if word in other else 0.0 for word in wanted) / len(wanted)


def _read(path: Path) -> list[Spot]:
    raw = path.read_bytes()
    elements = _json(raw) if raw.lstrip()[:1] == b"{" else _xml(path)
    points: dict[int, Point] = {}
    found: list[Spot] = []
    for element in elements:  # nodes come first in both forms
        point = _point(element, points)
        if element.type == "node" and point is not None:
            points[element.id] = point
        made = spot(element.type, element.id, point, element.tags) if point is not None else None
        if made is not None:
            found.append(made)
    return found


def _json(raw: bytes) -> Iterator[_Element]:
    yield from sorted(msgspec.json.decode(raw, type=_File).elements, key=lambda element: element.type != "node")


def _xml(path: Path) -> Iterator[_Element]:
    for _, node in ElementTree.iterparse(path, events=("end",)):  # noqa: S314 - the operator's own file
        if node.tag in ("node", "way", "relation"):
            tags = {tag.get("k", ""): tag.get("v", "") for tag in node.iter("tag")}
            members = [int(inner.get("ref", "0")) for inner in node.iter() if _is_node(inner.tag, inner.attrib)]
            yield _Element(
                node.tag, int(node.get("id", "0")), _number(node, "lat"), _number(node, "lon"), None, members, tags
            )
            node.clear()


def _is_node(tag: str, attributes: Mapping[str, str]) -> bool:
    return tag == "nd" or (tag == "member" and attributes.get("type") == "node")


def _number(node: ElementTree.Element, name: str) -> float | None:
    value = node.get(name)
    return float(value) if value is not None else None


def _point(element: _Element, points: Mapping[int, Point]) -> Point | None:
    """Where an element is: a way is in the middle of its nodes."""
    if element.lat is not None and element.lon is not None:
        return Point(element.lat, element.lon)
    if element.center:
        return Point(element.center.get("lat", 999.0), element.center.get("lon", 999.0))
    known = [points[number] for number in element.nodes if number in points]
    if not known:
        return None
    return Point(sum(p.latitude for p in known) / len(known), sum(p.longitude for p in known) / len(known))
