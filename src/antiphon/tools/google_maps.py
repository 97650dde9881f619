"""google_maps: places out of OpenStreetMap, from a server or from a file.

The steps are the API's: `google_maps_call` with the queries, `google_maps_result` with the places; `place_id` is
`osm:node/123`, `url` the place's page on openstreetmap.org. There are no reviews in this data, and there is no widget.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from antiphon import wire
from antiphon.maps import sources
from antiphon.maps.spots import Gazetteer, MapFault, Point, Spot, distance
from antiphon.ports import Outcome, Passage, Use
from antiphon.toolsteps import queries_of

QUERIES = 5
PLACES = 8  # of one query
_SECONDS = 25.0
_LONGEST_QUERY = 300
# What of a place's tags is told, and in which words.
_TOLD = {
    "cuisine": "Cuisine", "opening_hours": "Opening hours", "phone": "Phone", "contact:phone": "Phone",
    "website": "Website", "contact:website": "Website", "wheelchair": "Wheelchair access",
    "outdoor_seating": "Outdoor seating", "internet_access": "Internet",
    "fee": "Fee", "charge": "Price", "stars": "Stars", "operator": "Operator",
    "brand": "Brand", "takeaway": "Takeaway", "diet:vegetarian": "Vegetarian", "diet:vegan": "Vegan",
    "population": "Population", "ele": "Height above sea level in metres", "description": "Description",
}  # fmt: skip
_KINDS = ("amenity", "shop", "tourism", "leisure", "historic", "railway", "aeroway", "natural", "place", "boundary")
_FUNCTION = wire.Function(
    name="google_maps",
    description=(
        "Look up places on the map: addresses, shops, restaurants, sights, opening hours. "
        "The results are numbered: cite them as [1] or [2] behind the words they support."
    ),
    parameters={
        "type": "object",
        "properties": {
            "queries": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "maxItems": QUERIES,
                "description": "One to three short queries, such as: cafes near the castle in Lindau",
            }
        },
        "required": ["queries"],
    },
)


class GoogleMaps:
    """The tool over a source of `maps/sources.py`: `NAME` or `NAME:PLACE`; options are those of the source."""

    type = "google_maps"
    rerunnable = True

    def __init__(self, source: str, **options: Any) -> None:
        self._gazetteer = sources.make(source, **options)

    async def check(self, declared: wire.Tool, project: str, path: str) -> None:
        """Refuse the widget, and positions that are nowhere."""
        assert isinstance(declared, wire.GoogleMaps)
        if declared.enable_widget:
            raise wire.InvalidRequest(f"'{path}.enable_widget' must be false: this server has no widget.")
        for name, value, most in (("latitude", declared.latitude, 90), ("longitude", declared.longitude, 180)):
            if value is not None and not (math.isfinite(value) and -most <= value <= most):
                raise wire.InvalidRequest(f"'{path}.{name}' must be between -{most} and {most}.")
        if (declared.latitude is None) != (declared.longitude is None):
            missing = "latitude" if declared.latitude is None else "longitude"
            raise wire.InvalidRequest(f"'{path}.{missing}' is missing: a position has both.")

    async def open(self, use: Use) -> GoogleMapsSession:
        """Begin to use it."""
        assert isinstance(use.declared, wire.GoogleMaps)
        latitude, longitude = use.declared.latitude, use.declared.longitude
        near = Point(latitude, longitude) if latitude is not None and longitude is not None else None
        return GoogleMapsSession(self._gazetteer, near, use.room)

    async def aclose(self) -> None:
        """Close the source."""
        await self._gazetteer.aclose()


class GoogleMapsSession:
    """One function, named like the tool."""

    functions = (_FUNCTION,)

    def __init__(self, gazetteer: Gazetteer, near: Point | None, room: int) -> None:
        self._gazetteer = gazetteer
        self._near = near
        self._room = room
        at = f"latitude {near.latitude:g}, longitude {near.longitude:g}" if near is not None else ""
        self.instructions = f"The user is at {at}; google_maps prefers places near there." if at else ""

    def call(self, id: str, name: str, arguments: Mapping[str, Any]) -> wire.GoogleMapsCallStep:
        """The call's step; queries past the fifth, empty ones and what is no text are left out."""
        kept = queries_of(arguments, most=QUERIES, longest=_LONGEST_QUERY)
        return wire.GoogleMapsCallStep(id=id, arguments=wire.QueryArguments(queries=kept))

    def owns(self, call: wire.ToolCallStep) -> bool:
        """Every call of this type."""
        return True

    async def run(self, call: wire.ToolCallStep) -> Outcome:
        """Look all queries up."""
        assert isinstance(call, wire.GoogleMapsCallStep)
        queries = ((call.arguments.queries if call.arguments else None) or [])[:QUERIES]
        if not queries:
            return _failed(call.id, "No query was given: `queries` is a list of at least one text.")
        found = await asyncio.gather(*(self._search(query) for query in queries))
        faults = [answer for answer in found if isinstance(answer, str)]
        if len(faults) == len(queries):
            return _failed(call.id, f"The search failed: {faults[0]} Say that you could not look it up.")
        spots = list(
            {spot.place_id: spot for answer in found if not isinstance(answer, str) for spot in answer}.values()
        )
        places = [wire.Place(name=spot.name, place_id=spot.place_id, url=spot.url) for spot in spots]
        step = wire.GoogleMapsResultStep(call_id=call.id, result=[wire.GoogleMapsItem(places=places)], is_error=False)
        reading = _reading(queries, spots, faults)
        return Outcome(step=step, reading=reading, passages=self._passages(spots, self._room - len(reading)))

    async def _search(self, query: str) -> list[Spot] | str:
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._gazetteer.search(query, self._near, PLACES)
        except MapFault as fault:
            return str(fault)
        except TimeoutError:
            return f"There was no answer within {_SECONDS:g} seconds."

    def _passages(self, spots: Sequence[Spot], room: int) -> tuple[Passage, ...]:
        """What is known of each place, as many as there is room for."""
        passages: list[Passage] = []
        for spot in spots:
            text = _words(spot, self._near)
            room -= len(text) + len(spot.name) + len(spot.url) + 20
            if room < 0:
                break
            citation = wire.PlaceCitation(name=spot.name, place_id=spot.place_id, url=spot.url)
            passages.append(Passage(text, citation))
        return tuple(passages)

    async def aclose(self) -> None:
        """Nothing to do."""


def _words(spot: Spot, near: Point | None) -> str:
    """A place as text: a sentence for each thing that is known of it."""
    kinds = [spot.tags[key].replace("_", " ") for key in _KINDS if spot.tags.get(key, "yes") != "yes"]
    lines = [f"{spot.name}{f' is a {kinds[0]}' if kinds else ''}."]
    if spot.address:
        lines.append(f"Address: {spot.address}.")
    told: dict[str, str] = {}
    for key, label in _TOLD.items():
        if value := spot.tags.get(key):
            told.setdefault(label, value.replace(";", ", "))
    lines += (f"{label}: {value}." for label, value in told.items())
    lines.append(f"Position: {spot.point.latitude:.5f}, {spot.point.longitude:.5f}.")
    if near is not None:
        lines.append(f"Distance from the user: {_metres(distance(near, spot.point))}.")
    return "\n".join(lines)


def _metres(metres: float) -> str:
    return f"{round(metres, -1):.0f} m" if metres < 1000 else f"{metres / 1000:.1f} km"


def _reading(queries: Sequence[str], spots: Sequence[Spot], faults: Sequence[str]) -> str:
    asked = ", ".join(f"“{query}”" for query in queries)
    said = [f"Places for {asked} (© OpenStreetMap contributors):" if spots else f"No place was found for {asked}."]
    said += [f"One query failed: {fault}" for fault in dict.fromkeys(faults)]
    return "\n".join(said)


def _failed(id: str, why: str) -> Outcome:
    return Outcome(step=wire.GoogleMapsResultStep(call_id=id, result=[], is_error=True), reading=why)
