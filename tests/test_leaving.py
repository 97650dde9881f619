"""Clients that leave before the end, and bodies that never end."""

from contextlib import closing
from itertools import islice

from serving import ServerFactory

SLOW = '[[turns]]\nwhen = "slow"\ntext = "one two three four five six"\n'


def test_a_stored_stream_goes_on_without_its_reader_and_can_be_resumed(server: ServerFactory) -> None:
    one = server("tokens_per_second = 20\n" + SLOW)
    with closing(one.follow("slow")) as events:
        seen = list(islice(events, 4))
    id, last = seen[0]["interaction"]["id"], seen[-1]["event_id"]
    rest = list(one.events("GET", f"/v1beta/interactions/{id}?stream=true&last_event_id={last}"))
    said = "".join(event["delta"]["text"] for event in [*seen, *rest] if event["event_type"] == "step.delta")
    assert said == "one two three four five six"
    assert rest[-1]["interaction"]["status"] == "completed"


def test_a_stream_that_is_not_stored_ends_with_its_reader(server: ServerFactory) -> None:
    one = server('[[turns]]\nwhen = "stall"\ntext = "a b"\nfault = { kind = "stall", after = 1 }\n', "--silence", "30")
    with closing(one.follow("stall", store=False)) as events:
        assert len(list(islice(events, 4))) == 4
    one.stop()  # would not end in time if the run still held it
    assert "Traceback" not in one.log


def test_an_interaction_in_progress_is_read_like_any_other(server: ServerFactory) -> None:
    one = server('[[turns]]\ntext = "a b"\nfault = { kind = "stall", after = 1 }\n')
    with closing(one.follow("x")) as events:
        created, *_, delta = islice(events, 4)
        assert delta["event_type"] == "step.delta"
        made = one.get(created["interaction"]["id"])
        assert (made["status"], made["steps"][-1]["content"][0]["text"]) == ("in_progress", "a ")
        listed = one.request("GET", "/v1beta/interactions").json()
        assert "interactions" not in listed, "a foreground run is listed once it is on disk"
