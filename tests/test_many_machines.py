"""Several servers on one PostgreSQL and one NATS: any of them serves any request, and none is needed."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from antiphon import log, wire
from jetstream import Nats
from serving import Server, ServerFactory

SCRIPT = """
tokens_per_second = 40
[[turns]]
after = "google_search"
text = "Here it is."
[[turns]]
when = "long"
text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
[[turns]]
thought = "I should look."
text = "One moment."
calls = [{ name = "google_search", arguments = { queries = ["a"] } }]
[tools.google_search]
result = [{ title = "T", url = "https://a.example/" }]
delay = 0.02
"""
BODY: dict[str, Any] = {
    "model": "gemini-3-flash-preview",
    "input": "Where is it?",
    "stream": True,
    "tools": [{"type": "google_search"}],
    "generation_config": {"thinking_summaries": "auto"},
}
LONG = {"model": "gemini-3-flash-preview", "input": "long", "stream": True}
PATH = "/v1beta/interactions"

Start = Callable[..., Server]


@pytest.fixture
def start(server: ServerFactory, database: str, nats: Nats) -> Iterator[Start]:
    """`start("api")` starts one more server on this test's database."""

    def one(role: str = "all", script: str = SCRIPT, *more: str) -> Server:
        return server(script, "--database", database, "--nats", nats.url, "--role", role, *more)

    yield one
    if not nats.runs:
        nats.start()


def whole(server: Server, id: str, after: int = 0) -> list[bytes]:
    """The frames of an interaction's stream after an event, to the end."""
    resume = f"&last_event_id=evt_{after}" if after else ""
    *frames, done = server.frames("GET", f"{PATH}/{id}?stream=true{resume}")
    assert done == log.DONE
    return frames


def begin(server: Server, body: dict[str, Any], stop_at: int) -> tuple[str, list[bytes]]:
    """Start a run, and read its stream up to and with event `stop_at`."""
    with closing(server.frames("POST", PATH, body)) as stream:
        seen = list(itertools.islice(stream, stop_at))
    return id_of(seen[0]), seen


def id_of(frame: bytes) -> str:
    (_, event), *_ = log.decode(frame)
    assert isinstance(event, wire.InteractionCreated)
    return event.interaction.id


def numbers(frames: list[bytes]) -> list[int]:
    return [log.number(frame) for frame in frames]


def state_of(frames: list[bytes]) -> log.State:
    assert numbers(frames) == list(range(1, len(frames) + 1)), "nothing lost, nothing repeated"
    return log.fold(log.decode(b"".join(frames)))


def test_what_one_server_is_asked_another_runs_and_a_third_tells(start: Start) -> None:
    asked, other, _ = start("api"), start("api"), start("worker")
    id, seen = begin(asked, BODY | {"background": True}, stop_at=3)
    rest = whole(other, id, after=3)
    assert state_of([*seen, *rest]).status == "completed"
    assert whole(asked, id) == whole(other, id) == [*seen, *rest]
    assert other.get(id)["status"] == "completed"
    following = other.create("long, now", model="gemini-3-flash-preview", previous_interaction_id=id)
    assert following["status"] == "completed"


def test_a_stream_in_the_foreground_is_resumed_on_another_server_while_it_goes_on(start: Start) -> None:
    asked, other = start("api"), start("api")
    with closing(asked.frames("POST", PATH, LONG)) as stream:
        seen = list(itertools.islice(stream, 6))
        with closing(other.frames("GET", f"{PATH}/{id_of(seen[0])}?stream=true&last_event_id=evt_6")) as resumed:
            rest = list(resumed)
    assert rest.pop() == log.DONE
    assert state_of([*seen, *rest]).status == "completed"


def test_a_stream_in_the_foreground_whose_server_is_killed_is_gone_on_with_elsewhere(start: Start) -> None:
    asked, other = start("api"), start("all")
    id, seen = begin(asked, LONG, stop_at=6)
    asked.kill()
    rest = whole(other, id, after=6)
    assert state_of([*seen, *rest]).status == "completed"


def test_a_run_is_cancelled_on_a_server_that_does_not_run_it(start: Start) -> None:
    asked, other, _ = start("api"), start("api"), start("worker")
    with closing(asked.frames("POST", PATH, LONG | {"background": True})) as stream:
        seen = list(itertools.islice(stream, 5))
        id = id_of(seen[0])
        answer = other.request("POST", f"{PATH}/{id}/cancel")
        assert answer.status == 200 and answer.json()["status"] == "cancelled"
        rest = list(stream)
    assert rest.pop() == log.DONE
    assert state_of([*seen, *rest]).status == "cancelled"
    assert whole(other, id) == [*seen, *rest]


def test_a_run_is_deleted_on_a_server_that_does_not_run_it(start: Start) -> None:
    asked, other, _ = start("api"), start("api"), start("worker")
    with closing(asked.frames("POST", PATH, LONG | {"background": True})) as stream:
        id = id_of(next(stream))
        assert other.request("DELETE", f"{PATH}/{id}").status == 200
        assert log.DONE not in list(stream), "it did not end: it is gone"
    assert asked.request("GET", f"{PATH}/{id}").status == 404


@pytest.mark.parametrize("number", [1, 4, 9])
def test_the_run_of_a_worker_that_is_killed_goes_on_at_another(start: Start, number: int) -> None:
    asked, first = start("api"), start("worker")
    with closing(asked.frames("POST", PATH, BODY | {"background": True})) as stream:
        seen = list(itertools.islice(stream, number))
        start("worker")
        first.kill()
        rest = list(stream)
    assert rest.pop() == log.DONE
    assert state_of([*seen, *rest]).status == "completed"


def test_a_frozen_worker_can_change_nothing_when_it_wakes(start: Start) -> None:
    asked, first = start("api"), start("worker")
    with closing(asked.frames("POST", PATH, LONG | {"background": True})) as stream:
        seen = list(itertools.islice(stream, 6))
        first.send(signal.SIGSTOP)
        start("worker")
        rest = list(stream)
    first.send(signal.SIGCONT)
    assert rest.pop() == log.DONE
    id = id_of(seen[0])
    assert state_of([*seen, *rest]).status == "completed"
    assert "another attempt has taken over" in first.told("taken over")
    assert whole(asked, id) == [*seen, *rest]


def test_a_worker_that_is_told_to_stop_hands_its_runs_over(start: Start) -> None:
    asked, first = start("api"), start("worker")
    with closing(asked.frames("POST", PATH, LONG | {"background": True})) as stream:
        seen = list(itertools.islice(stream, 6))
        second = start("worker")
        first.stop()
        rest = list(stream)
    assert rest.pop() == log.DONE
    assert state_of([*seen, *rest]).status == "completed"
    assert "nobody runs" not in second.log, "it was handed over, not found"


def test_a_run_that_kills_its_workers_again_and_again_ends_failed(start: Start) -> None:
    poison = '[[turns]]\ntext = "a b c"\nfault = { kind = "kill", after = 1 }\n'
    asked = start("api")
    workers = [start("worker", poison) for _ in range(6)]
    made = asked.create("x", model="scripted", background=True)
    frames = whole(asked, made["id"])
    assert state_of(frames).status == "failed"
    assert "stopped 5 times" in asked.get(made["id"])["error"]["message"]
    assert sum(worker.ended for worker in workers) == 5


def test_without_nats_streams_are_read_from_the_store_and_work_is_done_where_it_comes_in(
    start: Start, nats: Nats
) -> None:
    asked, other, _ = start("api"), start("api"), start("worker")
    with closing(asked.frames("POST", PATH, LONG | {"background": True})) as stream:
        seen = list(itertools.islice(stream, 4))
        nats.kill()
        rest = list(stream)
    assert rest.pop() == log.DONE
    assert state_of([*seen, *rest]).status == "completed"
    id, seen = begin(other, BODY | {"background": True}, stop_at=4)
    assert state_of([*seen, *whole(asked, id, after=4)]).status == "completed"


@pytest.mark.parametrize("empty", [False, True], ids=["with its disk", "emptied"])
def test_a_nats_that_comes_back_is_used_again(start: Start, nats: Nats, empty: bool) -> None:
    asked, worker = start("api"), start("worker")
    nats.restart(empty=empty, crash=True)
    asked.told("NATS is here", times=2)
    worker.told("NATS is here", times=2)
    id, seen = begin(asked, BODY | {"background": True}, stop_at=4)
    assert state_of([*seen, *whole(asked, id, after=4)]).status == "completed"


def test_a_server_that_shares_a_database_does_not_go_on_with_the_runs_of_others(start: Start) -> None:
    asked = start("all")
    with closing(asked.frames("POST", PATH, LONG | {"background": True})) as stream:
        seen = list(itertools.islice(stream, 3))
        start("all")
        rest = list(stream)
    assert rest.pop() == log.DONE
    assert "taken over" not in asked.log and "stopped" not in b"".join([*seen, *rest]).decode()


def test_a_server_without_nats_and_others_keep_out_of_each_others_way(
    start: Start, server: ServerFactory, database: str
) -> None:
    start("api")
    with pytest.raises(AssertionError, match="several need --nats"):
        server(SCRIPT, "--database", database)


def test_a_run_that_waits_for_a_worker_can_be_cancelled(start: Start) -> None:
    asked = start("api")
    made = asked.create("long", model="scripted", background=True)
    answer = asked.request("POST", f"{PATH}/{made['id']}/cancel")
    assert answer.status == 200 and answer.json()["status"] == "cancelled"
    assert state_of(whole(asked, made["id"])).status == "cancelled"
    start("worker")
    assert asked.get(made["id"])["status"] == "cancelled"


def test_a_follower_on_a_server_that_is_told_to_stop_is_sent_nothing_twice(start: Start) -> None:
    first = start("all")
    id, seen = begin(first, LONG | {"background": True}, stop_at=5)
    with closing(first.frames("GET", f"{PATH}/{id}?stream=true&last_event_id=evt_5")) as stream:
        first.send(signal.SIGTERM)
        rest = [frame for frame in stream if frame != log.DONE]
    assert numbers([*seen, *rest]) == list(range(1, 6 + len(rest)))
    other = start("all")
    assert state_of([*seen, *rest, *whole(other, id, after=5 + len(rest))]).status == "completed"
