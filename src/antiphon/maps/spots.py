"""What a place is here, and what a source of places promises. Coordinates are degrees of WGS 84, distances metres."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

import msgspec

from antiphon.json_http import ServiceFault
from antiphon.words import plain

MapFault = ServiceFault  # why there are no places, in words that the model may read

Element = Literal["node", "way", "relation"]
_RADIUS = 6_371_000.0


class Point(NamedTuple):
    """A position."""

    latitude: float
    longitude: float


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """One element of OpenStreetMap: `tags` are its own, `address` words for where it is."""

    name: str
    element: Element
    number: int
    point: Point
    tags: Mapping[str, str] = {}
    address: str = ""

    @property
    def place_id(self) -> str:
        """`osm:node/123`."""
        return f"osm:{self.element}/{self.number}"

    @property
    def url(self) -> str:
        """Its page on openstreetmap.org."""
        return f"https://www.openstreetmap.org/{self.element}/{self.number}"


class Gazetteer(Protocol):
    """A source of places."""

    async def search(self, query: str, near: Point | None, count: int) -> list[Spot]:
        """Up to `count` places, best first; near ones first where `near` is given. Raises MapFault."""
        ...

    async def aclose(self) -> None:
        """Free what it holds."""
        ...


def distance(one: Point, other: Point) -> float:
    """Metres along the ground."""
    lat1, lon1, lat2, lon2 = map(math.radians, (*one, *other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * _RADIUS * math.asin(math.sqrt(min(1.0, half)))


def spot(element: str, number: int, point: Point, tags: Mapping[str, str], address: str = "") -> Spot | None:
    """A place out of somebody else's data; None where it has no name or cannot be."""
    name = plain(tags.get("name:en") or tags.get("name"), 200)
    sensible = -90 <= point.latitude <= 90 and -180 <= point.longitude <= 180
    if not name or not sensible or element not in ("node", "way", "relation"):
        return None
    kept = {key[:60]: plain(value, 300) for key, value in tags.items()}
    kind: Element = element  # type: ignore[assignment]
    return Spot(
        name=name, element=kind, number=number, point=point, tags=kept, address=plain(address, 300) or _address(kept)
    )


def _address(tags: Mapping[str, str]) -> str:
    street = " ".join(filter(None, (tags.get("addr:street"), tags.get("addr:housenumber"))))
    town = " ".join(filter(None, (tags.get("addr:postcode"), tags.get("addr:city"))))
    return ", ".join(filter(None, (street, town, tags.get("addr:country"))))
