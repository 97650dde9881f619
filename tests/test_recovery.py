"""A server killed at every event of a run: the run goes on by itself, and its streams stay legal."""

import contextlib
import itertools
import signal
from contextlib import closing
from typing import Any

import pytest

from antiphon import log, wire
from serving import Server, ServerFactory

# A run with a thought, words, a server tool and an answer, slow enough to be killed between any two events.
SCRIPT = """
tokens_per_second = 40
[[turns]]
after = "google_search"
text = "Here it is."
[[turns]]
thought = "I should look."
text = "One moment."
calls = [{ name = "google_search", arguments = { queries = ["a"] } }]
[tools.google_search]
result = [{ title = "T", url = "https://a.example/" }]
delay = 0.02
"""
BODY = {
    "model": "gemini-3-flash-preview",
    "input": "Where is it?",
    "background": True,
    "stream": True,
    "tools": [{"type": "google_search"}],
    "generation_config": {"thinking_summaries": "auto"},
}
EVENTS = 24  # of the whole run, when nothing interrupts it


def frames_of(server: Server, id: str, after: int = 0) -> list[bytes]:
    """The frames of an interaction's stream after an event, to the end."""
    resume = f"&last_event_id=evt_{after}" if after else ""
    *frames, done = server.frames("GET", f"/v1beta/interactions/{id}?stream=true{resume}")
    assert done == log.DONE
    return frames


def begin(server: Server, body: dict[str, Any], stop_at: int) -> list[bytes]:
    """Start a background run, and read its stream up to and with event `stop_at`."""
    with closing(server.frames("POST", "/v1beta/interactions", body)) as stream:
        return list(itertools.islice(stream, stop_at))


def numbers(frames: list[bytes]) -> list[int]:
    return [log.number(frame) for frame in frames]


def id_of(frame: bytes) -> str:
    (_, event), *_ = log.decode(frame)
    assert isinstance(event, wire.InteractionCreated)
    return event.interaction.id


@pytest.mark.parametrize("number", range(1, EVENTS + 1))
def test_a_run_killed_at_an_event_is_continued_and_resumes_from_every_event_seen(
    server: ServerFactory, number: int
) -> None:
    one = server(SCRIPT)
    seen = begin(one, BODY, stop_at=number)
    one.kill()
    one.restart()
    id = id_of(seen[0])
    rest = frames_of(one, id, after=number)
    whole = [*seen, *rest]
    assert numbers(whole) == list(range(1, len(whole) + 1)), "nothing lost, nothing repeated"
    state = log.fold(log.decode(b"".join(whole)))
    assert state.status == "completed"
    answer = state.steps[-1]
    assert isinstance(answer, wire.ModelOutputStep) and answer.content == [wire.TextContent(text="Here it is.")]
    for earlier in {1, number // 2, number} - {0}:
        assert frames_of(one, id, after=earlier) == whole[earlier:], "what clients were sent is what is kept"
    stored = one.get(id)
    assert stored["status"] == "completed" and stored["steps"][0]["type"] == "user_input"
    said = [step for step in stored["steps"][1:] if step["type"] == "model_output"]
    assert not any(step.get("content") for step in said if "error" in step), "what is said anew stands once"
    assert [step["content"][0]["text"] for step in said if "error" not in step][-1] == "Here it is."


def test_the_run_has_as_many_events_as_these_tests_kill_it_at(server: ServerFactory) -> None:
    *frames, done = server(SCRIPT).frames("POST", "/v1beta/interactions", BODY)
    assert numbers(frames) == list(range(1, EVENTS + 1)) and done == log.DONE


def test_a_server_that_a_run_kills_again_and_again_ends_it_failed(server: ServerFactory) -> None:
    one = server('[[turns]]\ntext = "a b c"\nfault = { kind = "kill", after = 1 }\n')
    body = {"model": "gemini-3-flash-preview", "input": "x", "background": True, "stream": True}
    id = id_of(begin(one, body, stop_at=1)[0])
    one.wait()
    for _ in range(4):
        with contextlib.suppress(AssertionError):  # it may die before it can say that it listens
            one.restart()
            assert one.wait() == -signal.SIGKILL
    one.restart()
    made = one.get(id)
    assert made["status"] == "failed" and "stopped 5 times" in made["error"]["message"]


def test_two_servers_do_not_share_a_data_directory(server: ServerFactory) -> None:
    one = server()
    with pytest.raises(AssertionError, match="Another server is using"):
        server(data=one.data)
