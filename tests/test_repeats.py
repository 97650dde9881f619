"""An SDK sends a POST again when it cannot know what came of the first: one run, whatever happened to the answer."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon import log
from serving import Server, ServerFactory

SCRIPT = 'tokens_per_second = 50\n[[turns]]\ntext = "one two three four five six seven eight nine ten"\n'
BODY: dict[str, Any] = {"model": "scripted", "input": "count", "background": True}
PATH = "/v1beta/interactions"


def ids(server: Server) -> list[str]:
    """All interactions that there are."""
    return [made["id"] for made in server.request("GET", PATH).json().get("interactions", [])]


def post_and_hang_up(server: Server, body: dict[str, Any]) -> None:
    """Send a request, and be gone before its answer."""
    data = json.dumps(body).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(data)}\r\n\r\n".encode()
    with closing(socket.create_connection(("127.0.0.1", server.port))) as connection:
        connection.sendall(head + data)
        ids(server)  # it has answered another request since: so it has taken in this one


def wait_for(server: Server, count: int) -> list[str]:
    """Until there are so many."""
    while len(found := ids(server)) < count:
        pass
    return found


@contextmanager
def nothing_is_written(data: Path) -> Iterator[None]:
    """As when another program holds the database: what is to be written waits."""
    with closing(sqlite3.connect(data / "antiphon.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def test_a_request_whose_answer_was_not_sent_finds_its_run_again(server: ServerFactory) -> None:
    one = server(SCRIPT)
    with nothing_is_written(one.data):
        post_and_hang_up(one, BODY)
    (first,) = wait_for(one, 1)
    one.kill()  # whatever it may have thought of the connection, it told nobody
    one.restart()
    # An SDK waits half a second before it comes again; a stop and a start take longer.
    again = one.request("POST", PATH, BODY)
    assert again.json()["id"] == first
    assert ids(one) == [first]


def test_who_asks_the_same_again_after_an_answer_gets_another_run(server: ServerFactory) -> None:
    one = server(SCRIPT)
    made = [one.request("POST", PATH, BODY).json()["id"] for _ in range(3)]
    assert len(set(made)) == 3


@pytest.mark.parametrize("more", [{}, {"background": True}], ids=["foreground", "background"])
def test_a_named_request_is_one_run_however_often_it_comes(server: ServerFactory, more: dict[str, Any]) -> None:
    one, body = server(SCRIPT), {"model": "scripted", "input": "count"} | more
    name = {"idempotency-key": "order 17"}
    first, second = (one.request("POST", PATH, body, name).json() for _ in range(2))
    assert first["id"] == second["id"]
    assert one.request("POST", PATH, body, {"idempotency-key": "order 18"}).json()["id"] != first["id"]


def test_a_named_request_whose_client_left_is_answered_to_the_one_that_comes_back(server: ServerFactory) -> None:
    one = server(SCRIPT)
    body, name = {"model": "scripted", "input": "count"}, {"idempotency-key": "once"}
    data = json.dumps(body).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\nidempotency-key: once\r\ncontent-length: {len(data)}\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", one.port))) as connection:
        connection.sendall(head.encode() + data)
        wait_for(one, 1)
    made = one.request("POST", PATH, body, name).json()
    assert made["status"] == "completed" and ids(one) == [made["id"]]


def test_a_named_stream_is_played_again(server: ServerFactory) -> None:
    one, body = server(SCRIPT), {"model": "scripted", "input": "count", "stream": True}
    name = {"idempotency-key": "stream"}
    first, second = (one.request("POST", PATH, body, name).body for _ in range(2))
    assert first == second and first.endswith(log.DONE)


def test_a_name_that_stood_for_something_else_is_refused(server: ServerFactory) -> None:
    one, name = server(SCRIPT), {"idempotency-key": "once"}
    one.request("POST", PATH, BODY, name)
    answer = one.request("POST", PATH, BODY | {"input": "other"}, name)
    assert answer.status == 400 and "Idempotency-Key" in answer.error["message"]
    unkept = {"model": "scripted", "input": "x", "store": False}
    assert one.request("POST", PATH, unkept, {"idempotency-key": "x"}).status == 400


def test_a_deleted_interaction_is_begun_anew_under_its_name(server: ServerFactory) -> None:
    one, name = server(SCRIPT), {"idempotency-key": "once"}
    first = one.request("POST", PATH, BODY, name).json()["id"]
    assert one.request("DELETE", f"{PATH}/{first}").status == 200
    again = one.request("POST", PATH, BODY, name)
    assert again.status == 200 and ids(one) == [again.json()["id"]]


@pytest.mark.parametrize("more", [{}, {"background": True}, {"stream": True}], ids=["unary", "background", "stream"])
def test_named_requests_that_come_at_once_are_one_run(server: ServerFactory, more: dict[str, Any]) -> None:
    one, body = server(SCRIPT), {"model": "scripted", "input": "count"} | more
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: one.request("POST", PATH, body, {"idempotency-key": "once"}), range(8)))
    assert {answer.status for answer in answers} == {200}
    assert len(ids(one)) == 1


def test_a_named_request_that_was_refused_may_be_sent_anew(server: ServerFactory) -> None:
    one, name = server(SCRIPT), {"idempotency-key": "once"}
    assert one.request("POST", PATH, BODY | {"model": "nobody"}, name).status == 404
    assert one.request("POST", PATH, BODY, name).status == 200
