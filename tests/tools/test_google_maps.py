"""google_maps: places from a Nominatim, an Overpass and a file, all of them here; its steps, and what goes wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon import json_http, wire
from antiphon.citations import cite
from antiphon.maps.categories import Category, category, split
from antiphon.maps.nominatim import Nominatim, _Turns
from antiphon.maps.spots import MapFault, Point, distance, spot
from antiphon.ports import Outcome, Use
from antiphon.tools.google_maps import GoogleMaps
from services import Service, never, service, status
from serving import ServerFactory

# A town that is not there. Its castle is a way, its old town a relation without a position.
TOWN = """<?xml version="1.0" encoding="UTF-8"?>
<osm version="0.6">
  <node id="1" lat="47.5000" lon="9.7000"><tag k="name" v="Café Möwe"/><tag k="amenity" v="cafe"/>
    <tag k="addr:street" v="Seestraße"/><tag k="addr:housenumber" v="4"/><tag k="addr:city" v="Ostra"/>
    <tag k="opening_hours" v="Tu-Su 09:00-18:00"/><tag k="cuisine" v="coffee_shop;cake"/></node>
  <node id="2" lat="47.5300" lon="9.7000"><tag k="name" v="Café Berg"/><tag k="amenity" v="cafe"/></node>
  <node id="3" lat="47.5001" lon="9.7001"><tag k="name" v="Museum of Ostra"/><tag k="tourism" v="museum"/>
    <tag k="fee" v="yes"/><tag k="website" v="https://museum.example"/></node>
  <node id="4" lat="47.5010" lon="9.7010"/><node id="5" lat="47.5020" lon="9.7020"/>
  <node id="6" lat="95" lon="9"><tag k="name" v="Nowhere Café"/><tag k="amenity" v="cafe"/></node>
  <node id="7" lat="47.53" lon="9.70"><tag k="amenity" v="cafe"/></node>
  <way id="10"><nd ref="4"/><nd ref="5"/><tag k="name" v="Ostra Castle"/><tag k="historic" v="castle"/></way>
  <relation id="20"><member type="way" ref="10"/><tag k="name" v="Old Town"/></relation>
</osm>
"""
ELEMENTS: list[dict[str, Any]] = [
    {"type": "way", "id": 10, "center": {"lat": 47.5015, "lon": 9.7015},
     "tags": {"name": "Ostra Castle", "historic": "castle"}},
    {"type": "node", "id": 1, "lat": 47.5, "lon": 9.7, "tags": {"name": "Café Möwe", "amenity": "cafe"}},
    {"type": "node", "id": 2, "lat": 47.53, "lon": 9.7, "tags": {"name": "Café Berg", "amenity": "cafe"}},
    {"type": "node", "id": 8, "lat": 47.5, "lon": 9.7, "tags": {"amenity": "cafe"}},
]  # fmt: skip
FOUND: list[dict[str, Any]] = [
    {"place_id": 7, "osm_type": "way", "osm_id": 10, "lat": "47.5015", "lon": "9.7015", "category": "historic",
     "type": "castle", "name": "Ostra Castle", "display_name": "Ostra Castle, Ostra, Nowhere", "extratags": {"fee": "no"}},
    {"place_id": 8, "osm_type": "way", "osm_id": 10, "lat": "47.5", "lon": "9.7", "display_name": "Ostra Castle again"},
    {"place_id": 9, "osm_type": "node", "osm_id": 0, "lat": "95", "lon": "0", "display_name": "Nowhere"},
]  # fmt: skip
HERE = {"latitude": 47.53, "longitude": 9.7}


def run(test: Coroutine[Any, Any, Any]) -> Any:
    """Nothing here may take long: a hang is a failure."""

    async def limited() -> Any:
        async with asyncio.timeout(20):
            return await test

    return asyncio.run(limited())


@pytest.fixture(params=["osm", "json"])
def town(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The town as a file, in both forms."""
    path = tmp_path / f"town.{request.param}"
    path.write_bytes(TOWN.encode() if request.param == "osm" else msgspec.json.encode({"elements": ELEMENTS}))
    return path


async def outcome(tool: GoogleMaps, queries: Any, *, room: int = 16_000, **declared: Any) -> Outcome:
    use = Use(project="p", interaction="i", declared=wire.GoogleMaps(**declared), room=room)
    session = await tool.open(use)
    call = session.call("c1", "google_maps", {"queries": queries})
    again = msgspec.json.decode(msgspec.json.encode(call), type=wire.GoogleMapsCallStep)
    assert session.owns(again)
    result = await session.run(again)
    await session.aclose()
    await tool.aclose()
    return result


def names(result: Outcome) -> list[str]:
    return [place.name for item in result.step.result for place in item.places]


def looked_up(town: Path, query: str, **declared: Any) -> Outcome:
    return run(outcome(GoogleMaps(f"extract:{town}"), [query], **declared))


# ---------------------------------------------------------------------------------------------------- from a file


def test_the_steps_are_the_apis(tmp_path):
    town = tmp_path / "town.osm"
    town.write_text(TOWN)
    session = run(GoogleMaps(f"extract:{town}").open(Use(project="p", interaction="i", declared=wire.GoogleMaps())))
    assert msgspec.to_builtins(session.call("c1", "google_maps", {"queries": ["x"]})) == {
        "type": "google_maps_call",
        "id": "c1",
        "arguments": {"queries": ["x"]},
    }
    result = looked_up(town, "Café Möwe")
    url = "https://www.openstreetmap.org/node/1"
    place = {"name": "Café Möwe", "place_id": "osm:node/1", "url": url}
    assert msgspec.to_builtins(result.step)["result"][0]["places"][0] == place
    assert result.step.is_error is False and "OpenStreetMap contributors" in result.reading
    passage = result.passages[0]
    assert passage.citation == wire.PlaceCitation(name="Café Möwe", place_id="osm:node/1", url=url)
    assert passage.text.splitlines() == [
        "Café Möwe is a cafe.",
        "Address: Seestraße 4, Ostra.",
        "Cuisine: coffee_shop, cake.",
        "Opening hours: Tu-Su 09:00-18:00.",
        "Position: 47.50000, 9.70000.",
    ]
    (citation,) = cite("Café Möwe is at Seestraße 4 in Ostra.", result.passages)
    assert citation.place_id == "osm:node/1"


def test_a_kind_of_place_is_found_near_another(town):
    assert names(looked_up(town, "cafes near Ostra Castle")) == ["Café Möwe", "Café Berg"]
    assert names(looked_up(town, "castle")) == ["Ostra Castle"]


def test_a_position_brings_what_is_near_it_first(town):
    assert names(looked_up(town, "best coffee nearby", **HERE)) == ["Café Berg", "Café Möwe"]
    result = looked_up(town, "Café Möwe", **HERE)
    assert "Distance from the user: 3.3 km." in result.passages[names(result).index("Café Möwe")].text


def test_a_position_is_told_to_the_model(town):
    use = Use(project="p", interaction="i", declared=wire.GoogleMaps(**HERE))
    assert "latitude 47.53, longitude 9.7" in run(GoogleMaps(f"extract:{town}").open(use)).instructions
    use = Use(project="p", interaction="i", declared=wire.GoogleMaps())
    assert run(GoogleMaps(f"extract:{town}").open(use)).instructions == ""


def test_nothing_found_is_no_error(town):
    result = looked_up(town, "volcano")
    assert result.step.is_error is False and names(result) == [] and "No place was found" in result.reading


def test_what_the_model_reads_keeps_to_its_room(town):
    result = run(outcome(GoogleMaps(f"extract:{town}"), ["cafe"], room=260))
    assert len(names(result)) == 2 and len(result.passages) == 1


@pytest.mark.parametrize("content", ["", "<osm>", "not a map", '{"elements": 3}', "<osm><node id='x' lat='y'/></osm>"])
def test_a_broken_file_is_an_error_that_the_model_reads(tmp_path, content):
    (tmp_path / "town.osm").write_text(content)
    result = looked_up(tmp_path / "town.osm", "cafe")
    assert result.step.is_error is True and "cannot be read" in result.reading


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("google", "no source of places 'google': nominatim, extract"),
        ("extract", "no map extract ''"),
        ("extract:/nowhere", "no map extract"),
        ("nominatim:ftp://x", "not the URL of a map server"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(source, words):
    with pytest.raises(ValueError, match=words):
        GoogleMaps(source)
    with pytest.raises(ValueError, match="does not take colour"):
        GoogleMaps("nominatim", colour="red")


# ---------------------------------------------------------------------------------------------------- over the network


async def online(reply: Any, query: str, over: Any = None, **declared: Any) -> tuple[Outcome, Service, Service]:
    async with service(reply) as nominatim, service(over if over is not None else {"elements": []}) as overpass:
        options = {"overpass": f"{overpass.url}/api/interpreter"} if over is not None else {}
        tool = GoogleMaps(f"nominatim:{nominatim.url}", contact="me@example.org", **options)
        return await outcome(tool, [query], **declared), nominatim, overpass


def test_nominatim_is_asked_as_its_manual_says():
    result, nominatim, _ = run(online(FOUND, "Ostra castle", **HERE))
    method, path, parameters, headers, _ = nominatim.asked[0]
    assert (method, path) == ("GET", "/search")
    assert parameters["q"] == "Ostra castle" and parameters["format"] == "jsonv2" and parameters["limit"] == "8"
    assert parameters["viewbox"] == "9.45000,47.78000,9.95000,47.28000" and "bounded" not in parameters
    assert headers["User-Agent"].startswith("Antiphon/") and "me@example.org" in headers["User-Agent"]
    assert names(result) == ["Ostra Castle"]
    assert result.passages[0].text.splitlines()[:3] == [
        "Ostra Castle is a castle.",
        "Address: Ostra Castle, Ostra, Nowhere.",
        "Fee: no.",
    ]


def test_overpass_is_asked_for_a_kind_of_place_nearby():
    result, nominatim, overpass = run(online(FOUND, "cafes near Ostra castle", {"elements": ELEMENTS}))
    assert [asked[2]["q"] for asked in nominatim.asked] == ["Ostra castle"]
    method, path, _, _, body = overpass.asked[0]
    assert (method, path) == ("POST", "/api/interpreter")
    assert "amenity%22%3D%22cafe" in body and "around%3A2000%2C47.501500%2C9.701500" in body
    assert names(result) == ["Ostra Castle", "Café Möwe", "Café Berg"]  # nearest first


def test_where_overpass_knows_nothing_nominatim_is_asked():
    result, nominatim, _ = run(online(FOUND, "cafe", {"elements": []}, **HERE))
    assert [asked[2]["q"] for asked in nominatim.asked] == ["cafe"]
    assert names(result) == ["Ostra Castle"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (status(429), "too many requests"),
        (status(500), "500"),
        (b"<html>", "not its JSON"),
        (b"[" * 100_000, "not its JSON"),
        (b'["' + b"a" * (5 * 2**20) + b'"]', "more than 4 MB"),
    ],
)
def test_a_fault_of_the_server_is_an_error_that_the_model_reads(reply, words):
    result, _, _ = run(online(reply, "x"))
    assert result.step.is_error is True and result.step.result == [] and words in result.reading


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(json_http, "SECONDS", 0.2)
    result, _, _ = run(online(never, "x"))
    assert result.step.is_error is True and "within" in result.reading


def test_a_fault_of_overpass_is_told_too():
    result, _, _ = run(online(FOUND, "cafe", {"elements": [], "remark": "runtime error: timeout"}, **HERE))
    assert "Overpass could not" in result.reading


def test_requests_to_a_public_server_wait_for_their_turn():
    async def test() -> float:
        async with service(FOUND) as little:
            tool = Nominatim(little.url, pause=0.1)
            began = time.monotonic()
            await asyncio.gather(*(tool.search("x", None, 3) for _ in range(4)))
            await tool.aclose()
            return time.monotonic() - began

    assert run(test()) >= 0.3
    assert Nominatim()._turns._pause == 1.0 and Nominatim("http://127.0.0.1:9")._turns._pause == 0.0


def test_nobody_waits_too_long_for_a_turn():
    async def test() -> None:
        turns = _Turns(20.0)
        await turns.wait()
        await turns.wait()

    with pytest.raises(MapFault, match="too often"):
        run(test())


# ---------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"enable_widget": True}, r"'tools\[1\].enable_widget' must be false: this server has no widget"),
        ({"latitude": 91.0, "longitude": 0.0}, r"'tools\[1\].latitude' must be between -90 and 90"),
        ({"latitude": 0.0, "longitude": -181.0}, r"'tools\[1\].longitude'"),
        ({"latitude": float("nan"), "longitude": 0.0}, r"'tools\[1\].latitude'"),
        ({"latitude": 1.0}, r"'tools\[1\].longitude' is missing"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_place(town, declared, words):
    with pytest.raises(wire.InvalidRequest, match=words):
        run(GoogleMaps(f"extract:{town}").check(wire.GoogleMaps(**declared), "p", "tools[1]"))


def test_what_can_be_served_is_not_refused(town):
    for declared in ({}, {"enable_widget": False}, HERE):
        run(GoogleMaps(f"extract:{town}").check(wire.GoogleMaps(**declared), "p", "tools[0]"))


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5)))
@settings(max_examples=50, deadline=None)
def test_a_call_is_never_an_error(arguments):
    session = run(GoogleMaps("nominatim").open(Use(project="p", interaction="i", declared=wire.GoogleMaps())))
    msgspec.json.encode(session.call("c1", "google_maps", arguments))


def test_no_query_is_an_error_that_the_model_reads(town):
    assert looked_up(town, "").step.is_error is True


# ---------------------------------------------------------------------------------------------------- small parts


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("cafes", Category("amenity", "cafe")),
        ("the best coffee shops nearby", Category("amenity", "cafe")),
        ("Bakeries", Category("shop", "bakery")),
        ("train station", Category("railway", "station")),
        ("Apotheke", Category("amenity", "pharmacy")),
        ("Café Möwe", None),
        ("", None),
    ],
)
def test_kinds_of_places(query, kind):
    assert category(query) == kind


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ("cafes near the castle", ("cafes", "the castle")),
        ("museums in Bad Ostra", ("museums", "Bad Ostra")),
        ("cafes near me", ("cafes", "")),
        ("Stratford upon Avon", ("Stratford upon Avon", "")),
    ],
)
def test_what_and_where(query, parts):
    assert split(query) == parts


def test_distances():
    assert distance(Point(48.8583, 2.2945), Point(51.5007, -0.1246)) == pytest.approx(340_600, rel=0.01)
    assert distance(Point(0, 0), Point(0, 180)) == pytest.approx(20_015_000, rel=0.001)


def test_data_that_is_no_place_is_left_out():
    assert spot("node", 1, Point(0, 0), {}) is None
    assert spot("changeset", 1, Point(0, 0), {"name": "x"}) is None
    assert spot("node", 1, Point(float("nan"), 0), {"name": "x"}) is None
    made = spot("node", 1, Point(0, 0), {"name": "a\n b" * 500, "description": "x" * 10_000})
    assert made is not None and len(made.name) == 200 and len(made.tags["description"]) == 300


# ---------------------------------------------------------------------------------------------------- over the wire

SCRIPT = """
[[turns]]
after = "google_maps"
text = "Café Möwe is at Seestraße 4 in Ostra [1]."
[[turns]]
calls = [{ name = "google_maps", arguments = { queries = ["Café Möwe"] } }]
"""


def test_an_answer_cites_a_place_that_was_found(server: ServerFactory, tmp_path: Path):
    town = tmp_path / "town.osm"
    town.write_text(TOWN)
    started = server(SCRIPT, f"--tool=google_maps=extract:{town}")
    done = started.create("Where is it?", tools=[{"type": "google_maps", **HERE}])
    kinds = [step["type"] for step in done["steps"] if step["type"] != "thought"]
    assert kinds == ["google_maps_call", "google_maps_result", "model_output"]
    content = done["steps"][-1]["content"][0]
    (annotation,) = content["annotations"]
    words = content["text"].encode()[annotation["start_index"] : annotation["end_index"]].decode()
    assert (annotation["type"], annotation["place_id"]) == ("place_citation", "osm:node/1")
    assert words == "Café Möwe is at Seestraße 4 in Ostra"
    body = {"model": "scripted", "input": "x", "tools": [{"type": "google_maps", "enable_widget": True}]}
    refused = started.request("POST", "/v1beta/interactions", body)
    assert refused.status == 400 and "tools[0].enable_widget" in refused.error["message"]
