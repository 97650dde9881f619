"""Recordings of the real service, held against our types, our log and our own output. Skipped where they are not."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antiphon import log, wire

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"{RECORDINGS} is not here")

UNARY = sorted(path.name for path in RECORDINGS.glob("*.json"))
STREAMED = sorted(path.name for path in RECORDINGS.glob("*.chunks.txt"))

SCRIPT = """
[[turns]]
when = "think"
thought = "Let me see what to say."
text = "Hello! How are you?"

[[turns]]
when = "weather"
thought = "I need the weather."
calls = [{ name = "getWeather", arguments = { location = "San Francisco" } }]

[[turns]]
when = "two tools"
calls = [
  { name = "google_search", arguments = { queries = ["Paris"] } },
  { name = "code_execution", arguments = { code = "1 + 1" } },
]

[tools.google_search]
result = [{ title = "Paris" }]

[tools.code_execution]
result = "2"
"""
WEATHER = {"type": "function", "name": "getWeather", "parameters": {"type": "object", "properties": {}}}


def payloads(name: str) -> list[bytes]:
    lines = (RECORDINGS / name).read_bytes().splitlines()
    return [line for line in lines if line.strip()]


def events_of(name: str) -> list[wire.InteractionEvent]:
    return [msgspec.json.decode(line, type=wire.InteractionEvent) for line in payloads(name)]


def numbered(name: str) -> list[tuple[int, wire.InteractionEvent]]:
    return list(enumerate(events_of(name), 1))


def twin(name: str) -> wire.Interaction:
    return msgspec.json.decode((RECORDINGS / name).read_bytes(), type=wire.Interaction)


def plain(steps: Iterable[wire.Step]) -> list[dict[str, Any]]:
    return msgspec.to_builtins(list(steps))


# ---------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("name", UNARY)
def test_a_recorded_interaction_is_read_and_written_without_loss(name):
    recorded = (RECORDINGS / name).read_bytes()
    read = msgspec.json.decode(recorded, type=wire.Interaction)
    assert json.loads(msgspec.json.encode(read)) == json.loads(recorded)


@pytest.mark.parametrize("name", STREAMED)
def test_every_recorded_event_is_read_and_written_without_loss(name):
    for line, event in zip(payloads(name), events_of(name), strict=True):
        assert json.loads(msgspec.json.encode(event)) == json.loads(line)


@pytest.mark.parametrize("name", STREAMED)
def test_recorded_steps_are_taken_back_as_input(name):
    """What a client without state sends with its next question: the steps, as they came."""
    steps = json.dumps(plain(log.fold(numbered(name)).timeline()))
    read = msgspec.json.decode(f'{{"model":"m","input":{steps}}}', type=wire.CreateInteraction)
    assert plain(read.input) == json.loads(steps)


# ---------------------------------------------------------------------------------------------------- folding


@pytest.mark.parametrize("name", STREAMED)
def test_a_recorded_stream_folds_to_the_shape_of_its_unstreamed_twin(name):
    """The two are answers to separate requests, so only their shapes can be compared."""
    state = log.fold(numbered(name))
    unary = twin(name.replace(".chunks.txt", ".json"))
    assert state.ended and state.status == unary.status
    folded, expected = plain(state.timeline()), plain(unary.steps or ())
    assert [step["type"] for step in folded] == [step["type"] for step in expected]
    for step, other in zip(folded, expected, strict=True):
        assert fields(step) == fields(other)


def fields(step: dict[str, Any]) -> set[str]:
    """The names a step and its stream have in common: some signatures and search types are in one of them only."""
    uneven = {"signature", "search_type"} if step["type"] != "thought" else set()
    return step.keys() - uneven


def test_a_recorded_call_folds_to_its_arguments():
    (call,) = [step for step in log.fold(numbered("tool-call-step1.chunks.txt")).timeline() if step.error is None][1:]
    assert isinstance(call, wire.FunctionCallStep)
    assert call.arguments == {"location": "San Francisco"} and call.signature is None


def test_recorded_citations_fold_onto_the_text_they_came_after():
    steps = log.fold(numbered("google-search.chunks.txt")).timeline()
    (output,) = [step for step in steps if isinstance(step, wire.ModelOutputStep)]
    (text,) = output.content
    for citation in text.annotations:
        assert 0 <= citation.start_index < citation.end_index <= len(text.text.encode())


# ---------------------------------------------------------------------------------------------------- framing


@pytest.mark.parametrize("name", STREAMED)
def test_recorded_events_survive_as_frames(name):
    frames = [log.encode(event, seq) for seq, event in numbered(name)]
    assert log.split(b"".join(frames)) == frames
    assert [log.number(frame) for frame in frames] == list(range(1, len(frames) + 1))
    again = list(log.decode(b"".join(frames)))
    assert log.fold(again) == log.fold(numbered(name))
    assert [log.encode(event, seq) for seq, event in again] == frames


@pytest.mark.parametrize("name", STREAMED)
def test_a_compacted_recording_means_the_same(name):
    entries = numbered(name)
    compacted = list(log.compact(entries))
    assert len(compacted) <= len(entries)
    assert log.fold(compacted) == log.fold(entries)
    assert list(log.compact(compacted)) == compacted


# ---------------------------------------------------------------------------------------------------- our own output


def keys(value: Any, *ours: str) -> Any:
    """The names in a value, at every depth: what remains of it when its content is forgotten."""
    if isinstance(value, dict):
        return {name: keys(item, *ours) for name, item in value.items() if name not in ours}
    if isinstance(value, list):
        return [keys(item) for item in value[:1]]
    return None


def story(events: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """The order of events and the names in each; deltas of one kind in a row count as one, `type` and `event_id` not."""
    told = []
    for event in events:
        named = keys(event, "type", "event_id")
        named.get("step", {}).pop("arguments", None), named.get("interaction", {}).pop("object", None)
        told.append((event["event_type"], event.get("delta", {}).get("type"), json.dumps(named, sort_keys=True)))
    return [next(group) for _, group in itertools.groupby(told)]


OURS = [
    ("think", {}, "basic"),
    ("weather", {"tools": [WEATHER]}, "tool-call-step1"),
]


@pytest.fixture(scope="module")
def scripted(session_server):
    return session_server(SCRIPT)


@pytest.mark.parametrize(("input", "fields", "name"), OURS)
def test_our_stream_has_the_events_and_the_names_of_the_recording(scripted, input, fields, name):
    recorded = [json.loads(line) for line in payloads(f"{name}.chunks.txt")]
    assert story(list(scripted.follow(input, **fields))) == story(recorded)


@pytest.mark.parametrize(("input", "fields", "name"), OURS)
def test_our_stored_stream_has_the_events_and_the_names_of_the_recording(scripted, input, fields, name):
    created = scripted.create(input, **fields)
    again = scripted.events("GET", f"/v1beta/interactions/{created['id']}?stream=true")
    assert story(list(again)) == story([json.loads(line) for line in payloads(f"{name}.chunks.txt")])


@pytest.mark.parametrize(("input", "fields", "name"), OURS)
def test_our_interaction_has_the_names_of_the_recording(scripted, input, fields, name):
    recorded = json.loads((RECORDINGS / f"{name}.json").read_bytes())
    ours = scripted.create(input, **fields)
    assert ours.keys() == recorded.keys()
    assert ours["usage"].keys() == recorded["usage"].keys()
    assert [step.keys() for step in ours["steps"]] == [step.keys() for step in recorded["steps"]]
    assert ours["status"] == recorded["status"] and ours["object"] == "interaction"
    assert ours["id"].startswith("v1_")


@pytest.mark.parametrize(("input", "fields", "name"), OURS)
def test_our_interaction_without_store_has_no_id(scripted, input, fields, name):
    recorded = json.loads((RECORDINGS / "multi-turn-stateless-turn1.json").read_bytes())
    ours = scripted.create(input, store=False, **fields)
    assert ours.keys() == recorded.keys() and "id" not in ours
    events = list(scripted.follow(input, store=False, **fields))
    assert not any("event_id" in event for event in events)
    assert {event["interaction"]["id"] for event in events if "interaction" in event} == {""}


def test_our_frames_are_framed_as_the_service_frames_them(scripted):
    """`event:`, `data:`, an empty line; and `done` at the end. Nothing else: no `id:`, no `retry:`."""
    body = {"model": "scripted", "input": "think", "stream": True}
    answer = scripted.request("POST", "/v1beta/interactions", body)
    assert answer.status == 200 and answer.headers["content-type"] == "text/event-stream"
    *frames, done, rest = answer.body.split(b"\n\n")
    assert (done, rest) == (b"event: done\ndata: [DONE]", b"")
    for frame in frames:
        first, second = frame.split(b"\n")
        event = json.loads(second.removeprefix(b"data: "))
        assert first == b"event: " + event["event_type"].encode()
        assert next(iter(event)) == "event_type"


def test_one_answer_may_call_several_tools_of_the_server(scripted):
    made = scripted.create("two tools", tools=[{"type": "google_search"}, {"type": "code_execution"}])
    calls = [step for step in made["steps"] if step["type"].endswith("_call")]
    results = [step for step in made["steps"] if step["type"].endswith("_result")]
    assert [call["arguments"] for call in calls] == [{"queries": ["Paris"]}, {"code": "1 + 1"}]
    assert [result["call_id"] for result in results] == [call["id"] for call in calls]
    assert made["steps"][-1]["type"] == "model_output"
