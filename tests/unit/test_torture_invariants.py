"""The torture suite's invariants find what they are there to find: each is fed logs that are wrong in one way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torture import invariants
from torture.invariants import Said

CALL = Said("google_search_call")
TURNS = [
    [Said("thought", "I look."), Said("model_output", "One moment."), CALL],
    [Said("model_output", "Here it is.")],
]


def numbered(events: list[dict[str, Any]]) -> list[bytes]:
    """Frames as servers write them."""
    return [
        f"event: {event['event_type']}\ndata: {json.dumps(_with_id(event, number), separators=(',', ':'))}\n\n".encode()
        for number, event in enumerate(events, 1)
    ]


def _with_id(event: dict[str, Any], number: int) -> dict[str, Any]:
    kind, rest = event["event_type"], {name: value for name, value in event.items() if name != "event_type"}
    return {"event_type": kind, "event_id": f"evt_{number}", **rest}


def start(index: int, type: str, **fields: Any) -> dict[str, Any]:
    return {"event_type": "step.start", "index": index, "step": {"type": type, **fields}}


def text(index: int, text: str) -> dict[str, Any]:
    return {"event_type": "step.delta", "index": index, "delta": {"type": "text", "text": text}}


def stop(index: int, code: int | None = None) -> dict[str, Any]:
    error = {"error": {"code": code, "message": "cut"}} if code is not None else {}
    return {"event_type": "step.stop", "index": index, **error}


def thought(index: int, said: str) -> list[dict[str, Any]]:
    delta = {"type": "thought_summary", "content": {"type": "text", "text": said}}
    return [start(index, "thought"), {"event_type": "step.delta", "index": index, "delta": delta}, stop(index)]


def words(index: int, *said: str, code: int | None = None) -> list[dict[str, Any]]:
    return [start(index, "model_output"), *(text(index, piece) for piece in said), stop(index, code)]


def call(index: int, id: str, code: int | None = None) -> list[dict[str, Any]]:
    return [start(index, "google_search_call", id=id), stop(index, code)]


def result(index: int, id: str, code: int | None = None) -> list[dict[str, Any]]:
    return [start(index, "google_search_result", call_id=id), stop(index, code)]


CREATED = {"event_type": "interaction.created", "interaction": {"id": "v1_a", "status": "in_progress"}}


def completed(status: str = "completed") -> dict[str, Any]:
    return {"event_type": "interaction.completed", "interaction": {"id": "v1_a", "status": status}}


GOOD = [
    CREATED,
    *thought(0, "I look."),
    *words(1, "One ", "moment."),
    *call(2, "c1"),
    *result(3, "c1"),
    *words(4, "Here ", "it is."),
    completed(),
]
# The same, by a server that died while it said the last words, and one that died before while it wrote the call.
TAKEN_OVER = [
    CREATED,
    *thought(0, "I look."),
    *words(1, "One ", "moment."),
    *call(2, "c0", code=14),
    *thought(3, "I look."),
    *words(4, "One ", "moment."),
    *call(5, "c1"),
    *result(6, "c1", code=14),
    *result(7, "c1"),
    *words(8, "Here ", code=14),
    *words(9, "Here ", "it is."),
    completed(),
]


def findings(frames: list[bytes], begun: dict[str, int] | None = None) -> list[str]:
    """All that is said about one log."""
    return [
        *invariants.numbering(frames),
        *invariants.moves(frames),
        *invariants.ending(frames, ["completed"]),
        *invariants.script(frames, TURNS),
        *invariants.effects(frames, {"c1": 1} if begun is None else begun, ["google_search"]),
    ]


@pytest.mark.parametrize("events", [GOOD, TAKEN_OVER], ids=["undisturbed", "taken over"])
def test_a_good_log_has_no_findings(events):
    frames = numbered(events)
    assert findings(frames) == []
    assert invariants.same(frames, list(frames), "a") == []
    assert invariants.resumed(frames, 3, frames[3:], "a") == []


def test_a_takeover_is_counted_where_the_log_shows_it():
    assert invariants.cuts(numbered(GOOD)) == 0
    assert invariants.cuts(numbered(TAKEN_OVER)) == 3


# ---------------------------------------------------------------------------------------------------- they can fail


@pytest.mark.parametrize("place", range(len(GOOD)))
def test_a_lost_event_is_found(place):
    frames = numbered(GOOD)
    lost = frames[:place] + frames[place + 1 :]
    assert invariants.same(lost, frames, "a")
    assert findings(lost)


@pytest.mark.parametrize("place", range(len(GOOD)))
def test_a_lost_event_is_found_where_the_numbers_hide_it(place):
    assert findings(numbered(GOOD[:place] + GOOD[place + 1 :]))


@pytest.mark.parametrize("place", range(len(GOOD)))
def test_a_doubled_event_is_found_with_its_old_number_and_with_a_new_one(place):
    frames = numbered(GOOD)
    assert invariants.numbering([*frames[:place], frames[place], *frames[place:]])
    assert findings(numbered([*GOOD[:place], GOOD[place], *GOOD[place:]]))


@given(st.data())
def test_events_out_of_order_are_found(data):
    one = data.draw(st.integers(0, len(GOOD) - 2))
    other = data.draw(st.integers(one + 1, len(GOOD) - 1))
    frames, events = numbered(GOOD), list(GOOD)
    frames[one], frames[other] = frames[other], frames[one]
    events[one], events[other] = events[other], events[one]
    assert invariants.numbering(frames)
    assert findings(numbered(events))


@given(st.data())
def test_one_changed_byte_is_found(data):
    frames = numbered(GOOD)
    place = data.draw(st.integers(0, len(frames) - 1))
    byte = data.draw(st.integers(0, len(frames[place]) - 1))
    changed = list(frames)
    changed[place] = frames[place][:byte] + bytes([frames[place][byte] ^ 1]) + frames[place][byte + 1 :]
    assert invariants.same(frames, changed, "a")


def test_a_log_that_breaks_off_or_goes_on_is_found():
    frames = numbered(GOOD)
    assert invariants.same(frames, frames[:-1], "a") and invariants.same(frames[:-1], frames, "a")
    assert invariants.ending(frames[:-1], ["completed"]) == ["it has not ended"]
    assert invariants.moves([*frames, frames[-1]])
    assert invariants.resumed(frames, 3, frames[4:], "a") and invariants.resumed(frames, 3, frames[2:], "a")


def test_a_wrong_end_is_found():
    frames = numbered([*GOOD[:-1], completed("failed")])
    assert invariants.ending(frames, ["completed", "cancelled"])
    assert invariants.shown(frames, {"status": "completed", "steps": []})


@pytest.mark.parametrize(
    "steps",
    [
        [*words(0, "Here ", "it is."), *words(1, "Here ", "it is.")],
        [*words(0, "Here ", "Here ", "it is.")],
        [*words(0, "Here ")],
        [*words(0, "Here ", "it was.", code=14), *words(1, "Here ", "it is.")],
        [*words(0, "Here ", "it is."), *call(1, "c1"), *result(2, "c1")],
    ],
    ids=["a step twice", "a word twice", "too little", "other words, cut", "a call too many"],
)
def test_what_the_script_does_not_say_is_found(steps):
    assert invariants.script(numbered([CREATED, *steps, completed()]), TURNS[1:])


def test_a_call_that_was_made_twice_is_found():
    frames = numbered(GOOD)
    assert invariants.effects(frames, {"c1": 2}, ["google_search"])
    assert invariants.effects(frames, {"c1": 2}, ["code_execution"]) == [], "one that may be made again"
    assert invariants.effects(frames, {}, ["google_search"]), "a result of nothing"


def test_two_results_of_a_call_are_found():
    twice = [*GOOD[:9], *call(2, "c1"), *result(3, "c1"), *result(4, "c1"), *words(5, "Here it is."), completed()]
    assert findings(numbered(twice))


def test_a_request_that_made_two_interactions_is_found():
    assert invariants.once([("m1", "a"), ("m2", "b"), ("m1", "a")]) == []
    assert invariants.once([("m1", "a"), ("m2", "b"), ("m1", "c")]) == ["request m1 made ['a', 'c']"]


# ---------------------------------------------------------------------------------------------------- reading


def test_a_stream_is_read_frame_by_frame_without_its_comments():
    frames = numbered(GOOD)
    body = b": ping\n\n".join(frames) + b"event: step.de"
    assert invariants.split(body) == (frames, b"event: step.de")
    assert [invariants.number(frame) for frame in frames] == list(range(1, len(frames) + 1))
    assert invariants.number(invariants.DONE) is None


def test_what_was_cancelled_may_break_off_anywhere():
    for steps in ([*words(0, "He")], [*words(0, "Here ", "it is.")], []):
        frames = numbered([CREATED, *steps, completed("cancelled")])
        assert invariants.script(frames, TURNS[1:], whole=False) == []
    said = numbered([CREATED, *words(0, "Hello"), completed("cancelled")])
    assert invariants.script(said, TURNS[1:], whole=False)
