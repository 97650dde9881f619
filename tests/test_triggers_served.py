"""Triggers over real servers: what is refused, whose they are, and what a server that is killed leaves to others."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from antiphon import app, wire
from antiphon.triggers import Triggers
from antiphon.wire import triggers as types
from jetstream import Nats
from records import STORES
from serving import PATIENCE, Server, ServerFactory
from triggering import Interactions

PATH = "/v1beta/triggers"
BODY: dict[str, Any] = {
    "interaction": {"model": "scripted", "input": "long"},
    "schedule": "0 9 * * *",
    "time_zone": "UTC",
}
SCRIPT = """
tokens_per_second = 20
[[turns]]
when = "long"
text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
[[turns]]
when = "stall"
text = "Well, "
fault = { kind = "stall", after = 1 }
[[turns]]
when = "fail"
text = "Well, "
fault = { kind = "error", after = 1, code = "service_unavailable", message = "The model has left." }
"""


def make(server: Server, **fields: Any) -> str:
    """A new trigger's id."""
    answer = server.request("POST", PATH, BODY | fields)
    assert answer.status == 200, answer.body
    return str(answer.json()["id"])


def run(server: Server, id: str) -> Any:
    """A run that is asked for."""
    answer = server.request("POST", f"{PATH}/{id}/executions")
    assert answer.status == 200, answer.body
    return answer.json()


def runs(server: Server, id: str) -> list[Any]:
    """A trigger's executions, the newest first."""
    answer = server.request("GET", f"{PATH}/{id}/executions?page_size=1000")
    assert answer.status == 200, answer.body
    return list(answer.json().get("trigger_executions", []))


def follow(server: Server, id: str) -> None:
    """Read an interaction's stream to its end."""
    for _ in server.frames("GET", f"/v1beta/interactions/{id}?stream=true"):
        pass


@pytest.fixture(scope="module")
def shared(session_server: ServerFactory) -> Server:
    return session_server(SCRIPT, "--api-key", "kitchen:a-long-secret-1", "--api-key", "garden:a-long-secret-2")


KITCHEN, GARDEN = {"x-goog-api-key": "a-long-secret-1"}, {"x-goog-api-key": "a-long-secret-2"}


# ---------------------------------------------------------------------------------------------------- the wire


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"schedule": None}, "'schedule'"),
        ({"schedule": "every day"}, "'every day' at 'schedule' is no cron expression of five fields"),
        ({"time_zone": 1}, "at 'time_zone'"),
        ({"time_zone": "CEST"}, "'CEST' at 'time_zone' is no time zone known here."),
        ({"status": "paused"}, "Unknown parameter 'status'."),
        ({"displayName": "x"}, "Unknown parameter 'displayName'. Did you mean 'display_name'?"),
        ({"execution_timeout_seconds": 0}, "at 'execution_timeout_seconds'"),
        ({"max_consecutive_failures": 0}, "at 'max_consecutive_failures'"),
        ({"environment_id": "e"}, "'environment_id' is not supported"),
        ({"interaction": {"model": "scripted"}}, "In 'interaction': Missing input."),
        ({"interaction": {"model": "scripted", "input": "Hi", "spoon": 1}}, "'spoon' at 'interaction'"),
        ({"interaction": {"model": "scripted", "input": "Hi", "store": True}}, "'interaction.store'"),
        ({"interaction": {"model": "scripted", "input": "Hi", "stream": True}}, "'interaction.stream'"),
        ({"interaction": {"model": "scripted", "input": "Hi", "background": False}}, "'interaction.background'"),
        ({"interaction": {"agent": "a", "model": "b", "input": "Hi"}}, "In 'interaction': Exactly one of"),
        ({"interaction": {"model": "scripted", "input": "Hi", "tools": [{"type": "x"}]}}, "'interaction.tools[0]'"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_place(shared, changed, says):
    body = {name: value for name, value in (BODY | changed).items() if value is not None}
    answer = shared.request("POST", PATH, body, KITCHEN)
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert says in answer.error["message"]


def test_an_agent_and_a_model_that_are_not_there_are_not_found(shared):
    for interaction in ({"agent": "deep-research", "input": "Hi"}, {"model": "nobody-1", "input": "Hi"}):
        answer = shared.request("POST", PATH, BODY | {"interaction": interaction}, KITCHEN)
        assert answer.status == 404 and answer.error["message"].startswith("In 'interaction': ")


def test_queries_and_changes_are_as_strict(shared):
    id = shared.request("POST", PATH, BODY, KITCHEN).json()["id"]
    for method, path, body in (
        ("GET", f"{PATH}?page_size=0", None),
        ("GET", f"{PATH}?page_token=%21", None),
        ("GET", f"{PATH}?filter=schedule%3D1", None),
        ("GET", f"{PATH}?order_by=x", None),
        ("GET", f"{PATH}/{id}?view=x", None),
        ("GET", f"{PATH}/{id}/executions?filter=x", None),
        ("PATCH", f"{PATH}/{id}", {"schedule": "* * * * *"}),
        ("PATCH", f"{PATH}/{id}", {"status": "disabled"}),
        ("PATCH", f"{PATH}/{id}", {"status": "error"}),
        ("PATCH", f"{PATH}/{id}", b"[1]"),
        ("POST", f"{PATH}/{id}/executions", {"when": "now"}),
        ("POST", PATH, b"{"),
        ("POST", PATH, b"[" * 1000),
        ("POST", PATH, json.dumps(BODY | {"display_name": "x" * 2**20}).encode()),
    ):
        assert shared.request(method, path, body, KITCHEN).status == 400, path
    assert shared.request("PATCH", f"{PATH}/{id}", {}, KITCHEN).json()["status"] == "active"
    assert shared.request("DELETE", f"{PATH}/{id}", None, KITCHEN).json() == {}
    assert shared.request("PUT", f"{PATH}/{id}", {}, KITCHEN).status == 405


def test_one_projects_triggers_are_not_there_for_another(shared):
    id = shared.request("POST", PATH, BODY, KITCHEN).json()["id"]
    assert shared.request("POST", f"{PATH}/{id}/executions", None, KITCHEN).status == 200
    assert shared.request("GET", PATH, None, GARDEN).json() == {}
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/executions"), ("GET", "/executions")):
        body = {} if method == "PATCH" else None
        assert shared.request(method, f"{PATH}/{id}{path}", body, GARDEN).status == 404
    assert shared.request("GET", f"{PATH}/{id}", None, KITCHEN).status == 200


def test_a_run_that_fails_says_what_its_interaction_says(server):
    one = server(SCRIPT)
    id = make(one, interaction={"model": "scripted", "input": "fail"})
    begun = run(one, id)
    follow(one, begun["interaction_id"])
    (execution,) = runs(one, id)
    assert (execution["status"], execution["error"]) == ("failed", "The model has left.")


def test_a_run_that_takes_too_long_is_cancelled(server):
    one = server(SCRIPT)
    id = make(one, interaction={"model": "scripted", "input": "stall"}, execution_timeout_seconds=1)
    begun = run(one, id)
    assert run(one, id)["status"] == "skipped"
    follow(one, begun["interaction_id"])
    assert one.get(begun["interaction_id"])["status"] == "cancelled"
    assert [execution["status"] for execution in runs(one, id)] == ["skipped", "timed_out"]


# ---------------------------------------------------------------------------------------------------- crashes


def test_a_run_whose_server_is_killed_goes_on_and_completes(server):
    one = server(SCRIPT)
    id = make(one)
    begun = run(one, id)
    with closing(one.frames("GET", f"/v1beta/interactions/{begun['interaction_id']}?stream=true")) as stream:
        list(itertools.islice(stream, 6))
    one.kill()
    one.restart()
    follow(one, begun["interaction_id"])
    (execution,) = runs(one, id)
    assert (execution["status"], execution["interaction_id"]) == ("completed", begun["interaction_id"])


async def come_due(database: str, count: int) -> list[str]:
    """Triggers whose tick, one a day, is the minute that has just begun: whoever looks finds them due."""
    now = time.time()
    tick = datetime.fromtimestamp(now - now % 60, UTC)
    store = app.load(STORES, "stores", "postgres")(database)
    try:
        triggers = Triggers(store.ledger, Interactions(), clock=lambda: now - 61)
        request = types.CreateTrigger(
            interaction=wire.CreateInteraction(model="scripted", input="long"),
            schedule=f"{tick.minute} {tick.hour} * * *",
            time_zone="UTC",
        )
        return [(await triggers.create("default", request)).id for _ in range(count)]
    finally:
        await store.aclose()


def until(found: Callable[[], bool]) -> None:
    """Ask again and again: each question goes over HTTP, and takes its time."""
    give_up = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < give_up


@pytest.mark.parametrize("killed", [False, True])
def test_two_servers_on_one_postgresql_run_every_tick_once(server, database: str, nats: Nats, killed):
    machines = [server(SCRIPT, "--database", database, "--nats", nats.url) for _ in range(2)]
    made = asyncio.run(come_due(database, 30))
    first, second = machines
    if killed:
        until(lambda: any(runs(second, id) for id in made))
        first.kill()
    done = {"completed"}
    until(lambda: all({execution["status"] for execution in runs(second, id)} == done for id in made))
    executions = [runs(second, id) for id in made]
    assert [len(found) for found in executions] == [1] * len(made)
    listed = second.request("GET", "/v1beta/interactions?page_size=1000").json()["interactions"]
    assert sorted(one["id"] for one in listed) == sorted(found[0]["interaction_id"] for found in executions)
    assert {one["status"] for one in listed} == {"completed"}


def test_what_is_asked_of_both_servers_at_once_runs_once(server, database: str, nats: Nats):
    machines = [server(SCRIPT, "--database", database, "--nats", nats.url) for _ in range(2)]
    id = make(machines[0], interaction={"model": "scripted", "input": "stall"})

    async def asked() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(run, machines[number % 2], id) for number in range(10)))

    statuses = sorted(execution["status"] for execution in asyncio.run(asked()))
    assert statuses == ["in_progress", *["skipped"] * 9]
    assert len(machines[1].request("GET", "/v1beta/interactions").json()["interactions"]) == 1
    (begun,) = [execution for execution in runs(machines[1], id) if execution["status"] == "in_progress"]
    machines[1].request("POST", f"/v1beta/interactions/{begun['interaction_id']}/cancel")
    assert {"failed", "skipped"} == {execution["status"] for execution in runs(machines[0], id)}


def test_nothing_runs_for_a_key_that_was_revoked(server):
    one = server(SCRIPT, "--api-key", "kitchen:a-long-secret-1", ANTIPHON_ADMIN_KEY="the-key-of-the-operator")
    operator = {"authorization": "Bearer the-key-of-the-operator"}
    made = one.request("POST", "/admin/keys", {"project": "kitchen"}, operator).json()
    id = one.request("POST", PATH, BODY, {"x-goog-api-key": made["key"]}).json()["id"]
    assert one.request("DELETE", f"/admin/keys/{made['id']}", None, operator).status == 200
    execution = one.request("POST", f"{PATH}/{id}/executions", None, KITCHEN).json()
    assert (execution["status"], execution.get("interaction_id")) == ("failed", None)
    assert execution["error"] == "The API key that made this trigger was revoked."
