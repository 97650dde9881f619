"""Places from a Nominatim server, and kinds of places nearby from an Overpass server where one is configured.

Forms as in Nominatim's manual, "Search queries" (`format=jsonv2`, `viewbox`, `addressdetails`, `extratags`), and in the
OpenStreetMap wiki, "Overpass API" (`[out:json]`, `nwr(around:…)`, `out center`). The public servers' policies want one
request a second at most and a name: requests to one of them wait for their turn, and carry this program's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from antiphon.json_http import AGENT, JsonService
from antiphon.maps.categories import Category, category, split
from antiphon.maps.spots import MapFault, Point, Spot, distance, spot

PUBLIC = "https://nominatim.openstreetmap.org"
_NEAR_DEGREES = 0.25  # half the side of the box that is preferred around a position
_AROUND_METRES = 2000
_LONGEST_WAIT = 8.0


class _Place(msgspec.Struct):
    osm_type: str = ""
    osm_id: int = 0
    lat: float = 999.0
    lon: float = 999.0
    name: str | None = None
    display_name: str = ""
    category: str | None = None
    type: str | None = None
    extratags: dict[str, str] | None = None


class _Center(msgspec.Struct):
    lat: float = 999.0
    lon: float = 999.0


class _Element(msgspec.Struct):
    type: str = ""
    id: int = 0
    lat: float | None = None
    lon: float | None = None
    center: _Center | None = None
    tags: dict[str, str] = {}


class _Elements(msgspec.Struct):
    elements: list[_Element] = []
    remark: str = ""


class Nominatim:
    """The server at `place`, or the public one; `contact` is an address for those who run it.

    `overpass` is the URL of an interpreter. `pause` is how many seconds lie between two requests, by default 1 where
    the server is the public one.
    """

    def __init__(self, place: str = "", *, overpass: str = "", contact: str = "", pause: float | None = None) -> None:
        self._url = f"{(place or PUBLIC).rstrip('/').removesuffix('/search')}/search"
        for url in filter(None, (self._url, overpass)):
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"'{url}' is not the URL of a map server")
        headers = {"user-agent": f"{AGENT} ({contact})" if contact else AGENT}
        self._overpass_url = overpass
        self._nominatim = JsonService("Nominatim", headers)
        self._overpass = JsonService("Overpass", headers)
        public = (urlsplit(self._url).hostname or "").endswith("openstreetmap.org")
        self._turns = _Turns((1.0 if public else 0.0) if pause is None else pause)

    async def search(self, query: str, near: Point | None, count: int) -> list[Spot]:
        """A kind of place near something by Overpass, everything else by Nominatim."""
        what, where = split(query)
        kind = category(what) if self._overpass_url else None
        if kind is not None and (where or near):
            centre = (await self._named(where, near, 1))[0:1] if where else []
            around = centre[0].point if centre else near
            if around is not None and (found := await self._around(kind, around, count)):
                return found
        return await self._named(query, near, count)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._nominatim.aclose()
        await self._overpass.aclose()

    async def _named(self, query: str, near: Point | None, count: int) -> list[Spot]:
        parameters = {"q": query, "format": "jsonv2", "limit": str(count), "addressdetails": "0", "extratags": "1"}
        if near is not None:
            west, east = near.longitude - _NEAR_DEGREES, near.longitude + _NEAR_DEGREES
            south, north = max(near.latitude - _NEAR_DEGREES, -90), min(near.latitude + _NEAR_DEGREES, 90)
            parameters["viewbox"] = f"{west:.5f},{north:.5f},{east:.5f},{south:.5f}"
        await self._turns.wait()
        places = await self._nominatim.ask(list[_Place], self._url, parameters)
        found: dict[str, Spot] = {}
        for one in map(_spot_of, places):
            if one is not None:
                found.setdefault(one.place_id, one)
        return list(found.values())[:count]

    async def _around(self, kind: Category, centre: Point, count: int) -> list[Spot]:
        area = f"(around:{_AROUND_METRES},{centre.latitude:.6f},{centre.longitude:.6f})"
        query = f'[out:json][timeout:8];nwr["{kind.key}"="{kind.value}"]["name"]{area};out center tags {4 * count};'
        answer = await self._overpass.ask(_Elements, self._overpass_url, form={"data": query})
        if not answer.elements and "error" in answer.remark:
            raise MapFault("Overpass could not carry out the search.")
        made = (spot(one.type, one.id, _point(one), one.tags) for one in answer.elements)
        found = [one for one in made if one is not None]
        return sorted(found, key=lambda one: (distance(centre, one.point), one.place_id))[:count]


class _Turns:
    """Lets one request begin every `pause` seconds, in the order they came; none waits for too long."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._next = 0.0

    async def wait(self) -> None:
        """Wait for a turn. Raises MapFault where too many wait already."""
        now = time.monotonic()
        wait = self._next - now
        if wait > _LONGEST_WAIT:
            raise MapFault("Nominatim is asked too often by others here; try again in a moment.")
        self._next = max(now, self._next) + self._pause
        if wait > 0:
            await asyncio.sleep(wait)


def _spot_of(place: _Place) -> Spot | None:
    name = place.name or place.display_name.partition(",")[0]
    tags: Mapping[str, str] = {
        **(place.extratags or {}),
        **({place.category: place.type} if place.category and place.type else {}),
        "name": name,
    }
    return spot(place.osm_type, place.osm_id, Point(place.lat, place.lon), tags, place.display_name)


def _point(element: _Element) -> Point:
    if element.lat is not None and element.lon is not None:
        return Point(element.lat, element.lon)
    return Point(element.center.lat, element.center.lon) if element.center else Point(999, 999)
