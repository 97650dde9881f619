"""Whether a server may be sent work, and who may see its metrics."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from antiphon import wire
from antiphon.server.operations import Health, Part, Routes, administrators, any_model
from records import Clock


class Ground:
    """A part that is there until it is taken away, and counts how often it was looked at."""

    def __init__(self) -> None:
        self.up = True
        self.looks = 0

    async def __call__(self) -> None:
        self.looks += 1
        if not self.up:
            raise wire.Unavailable("gone")


def request(path: str = "/readyz") -> Request:
    return Request({"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""})


def readyz(health: Health) -> Any:
    return Routes(health, None, lambda scope: True).readyz(request())


def test_a_server_is_ready_while_all_that_it_needs_is_there() -> None:
    async def body() -> None:
        store, bus, clock = Ground(), Ground(), Clock()
        health = Health([Part("store", store), Part("bus", bus, needed=False)], clock)
        answer = await readyz(health)
        assert answer.status_code == 200
        assert answer.body == b'{"status":"ready","parts":{"store":"ok","bus":"ok"}}'
        bus.up = False
        clock.now += 2
        answer = await readyz(health)
        assert answer.status_code == 200 and b'"bus":"away"' in answer.body, "it goes on without"
        store.up = False
        clock.now += 2
        answer = await readyz(health)
        assert answer.status_code == 503
        assert answer.body == b'{"status":"not_ready","parts":{"store":"away","bus":"away"}}'
        store.up = True
        clock.now += 2
        assert (await readyz(health)).status_code == 200

    asyncio.run(body())


def test_a_server_that_drains_is_not_ready_at_once() -> None:
    async def body() -> None:
        health = Health([Part("store", Ground())], Clock())
        assert (await readyz(health)).status_code == 200
        health.drain()
        answer = await readyz(health)
        assert answer.status_code == 503 and b'"status":"draining"' in answer.body

    asyncio.run(body())


def test_however_many_ask_the_parts_are_looked_at_once_a_second() -> None:
    async def body() -> None:
        store, clock = Ground(), Clock()
        health = Health([Part("store", store)], clock)
        await asyncio.gather(*(health.ready() for _ in range(20)))
        assert store.looks == 1
        clock.now += 1
        await health.ready()
        assert store.looks == 2

    asyncio.run(body())


def test_it_goes_without_saying_why_to_strangers_and_with_saying_it_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body() -> None:
        store, clock = Ground(), Clock()
        health = Health([Part("store", store)], clock)
        store.up = False
        for _ in range(3):
            answer = await readyz(health)
            assert b"gone" not in answer.body
            clock.now += 2
        store.up = True
        await health.look()

    with caplog.at_level("INFO", "antiphon.server"):
        asyncio.run(body())
    assert [line.getMessage() for line in caplog.records] == [
        "store cannot be used: gone",
        "store can be used again",
    ], "once each, however often it is asked"


def test_one_model_that_can_be_used_is_enough() -> None:
    class Asleep:
        async def ready(self) -> bool:
            return False

    async def body() -> None:
        await any_model({"asleep": Asleep(), "silent": object()})
        with pytest.raises(wire.Unavailable):
            await any_model({"asleep": Asleep()})

    asyncio.run(body())


def test_metrics_are_for_administrators() -> None:
    async def figures() -> bytes:
        return b"antiphon_info 1\n"

    async def body() -> None:
        refused = Routes(Health(), figures, lambda scope: False)
        with pytest.raises(wire.PermissionDenied):
            await refused.metrics(request("/metrics"))
        allowed = await Routes(Health(), figures, lambda scope: True).metrics(request("/metrics"))
        assert allowed.body == b"antiphon_info 1\n"
        assert allowed.headers["content-type"].startswith("text/plain; version=")
        with pytest.raises(wire.NotFound, match="antiphon\\[metrics\\]"):
            await Routes(Health(), None, lambda scope: True).metrics(request("/metrics"))

    asyncio.run(body())


@pytest.mark.parametrize(
    ("admin_key", "closed", "peer", "given", "may"),
    [
        (None, False, "127.0.0.1", None, True),
        (None, False, "::1", None, True),
        (None, False, "10.0.0.7", "some-key", False),
        (None, True, "127.0.0.1", "some-key", False),
        ("the-admins-own-key", True, "127.0.0.1", "some-key", False),
        ("the-admins-own-key", True, "10.0.0.7", "the-admins-own-key", True),
        ("the-admins-own-key", False, "10.0.0.7", "the-admins-own-key", True),
    ],
)
def test_administrators_bring_the_admin_key_and_without_keys_are_on_this_machine(
    admin_key: str | None, closed: bool, peer: str, given: str | None, may: bool
) -> None:
    headers = [(b"authorization", f"Bearer {given}".encode())] if given else []
    scope = {"client": (peer, 1), "headers": headers, "query_string": b""}
    assert administrators(admin_key, lambda: closed)(scope) is may


def test_who_brings_no_key_where_one_is_asked_for_is_told_so() -> None:
    with pytest.raises(wire.Unauthenticated):
        administrators("the-admins-own-key", lambda: True)({"client": ("::1", 1), "headers": [], "query_string": b""})
