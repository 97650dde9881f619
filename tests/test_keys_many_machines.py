"""Keys and their limits on several servers: one asks, another runs, and one of them dies."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from jetstream import Nats
from serving import PATIENCE, Answer, Server, ServerFactory

SCRIPT = """
[[turns]]
when = "for ever"
text = "Well, "
fault = { kind = "stall", after = 1 }
"""
PATH = "/v1beta/interactions"


@pytest.fixture
def start(server: ServerFactory, database: str, nats: Nats) -> Iterator[Callable[..., Server]]:
    """`start("api")` starts one more server on this test's database."""
    yield lambda role: server(SCRIPT, "--database", database, "--nats", nats.url, "--role", role)


@pytest.fixture
def key(database: str) -> str:
    """One that may run one interaction at once."""
    command = [sys.executable, "-m", "antiphon", "keys", "create", "p", "--concurrent-runs", "1"]
    return subprocess.check_output([*command, "--database", database], text=True, timeout=PATIENCE).strip()


def ask(server: Server, key: str, text: str = "Hello", **fields: Any) -> Answer:
    return server.request("POST", PATH, {"model": "scripted", "input": text} | fields, {"x-goog-api-key": key})


def status(server: Server, key: str, id: str) -> str:
    answer = server.request("GET", f"{PATH}/{id}", headers={"x-goog-api-key": key})
    assert answer.status == 200, answer.body
    return str(answer.json()["status"])


def until(condition: Callable[[], bool]) -> float:
    """How many seconds it takes to become true."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + PATIENCE
    return time.monotonic() - began


def test_a_run_counts_wherever_it_runs_until_it_ends_there(start: Callable[..., Server], key: str) -> None:
    one, other, _ = start("api"), start("api"), start("worker")
    id = ask(one, key, "for ever", background=True).json()["id"]
    assert ask(one, key).status == ask(other, key).status == 429
    with closing(other.events("GET", f"{PATH}/{id}?stream=true&key={key}")) as events:
        assert next(event for event in events if event["event_type"] == "step.delta")
    cancel = f"{PATH}/{id}/cancel"
    assert other.request("POST", cancel, {}, {"x-goog-api-key": key}).json()["status"] == "cancelled"
    until(lambda: ask(other, key).status == 200)
    short = ask(one, key, background=True).json()["id"]
    until(lambda: status(other, key, short) == "completed")
    until(lambda: ask(one, key).status == 200)


def test_a_run_that_another_worker_takes_over_still_counts(start: Callable[..., Server], key: str) -> None:
    one, first = start("api"), start("worker")
    id = ask(one, key, "for ever", background=True).json()["id"]
    with closing(one.events("GET", f"{PATH}/{id}?stream=true&key={key}")) as events:
        starts = (event["index"] for event in events if event["event_type"] == "step.start")
        assert next(starts) == 0
        first.kill()
        start("worker")
        assert next(starts) == 1  # the other worker's
    assert ask(one, key).status == 429
    one.kill()  # it asked for the place, which the second worker holds by now
    late = start("api")
    assert ask(late, key).status == 429
    assert late.request("POST", f"{PATH}/{id}/cancel", {}, {"x-goog-api-key": key}).status == 200
    until(lambda: ask(late, key).status == 200)


def test_a_key_that_one_server_made_opens_the_others_and_revoked_none(
    server: ServerFactory, database: str, nats: Nats
) -> None:
    admin = {"x-goog-api-key": "the-key-of-the-operator"}
    servers = [
        server(SCRIPT, "--database", database, "--nats", nats.url, ANTIPHON_ADMIN_KEY="the-key-of-the-operator")
        for _ in range(2)
    ]
    made = servers[0].request("POST", "/admin/keys", {"project": "p"}, admin).json()
    assert ask(servers[1], made["key"]).status == 200
    servers[0].request("DELETE", f"/admin/keys/{made['id']}", headers=admin)
    assert ask(servers[0], made["key"]).status == 401
    assert until(lambda: ask(servers[1], made["key"]).status == 401) < 2.5
