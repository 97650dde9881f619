"""Names that strangers give are looked up apart from the operator's own, whatever their name servers do."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvloop

from antiphon import addresses
from antiphon.addresses import LookUps
from antiphon.ports import FetchError

MANY = 12  # more than the threads that uvloop looks names up in


class NameServers:
    """Those of names that begin with `silent` say nothing until a test lets them; the others answer at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.speak = threading.Event()
        self._silent = threading.Semaphore(0)

    def __call__(self, host: str, port: int) -> addresses.Found:
        self.asked.append(host)
        if host.startswith("silent"):
            self._silent.release()
            self.speak.wait(60)
        if host.endswith("nowhere"):
            raise OSError("no such name")
        return [(0, 0, 0, "", ("93.184.216.34", port))]

    async def are_asked(self, count: int) -> None:
        """Wait until so many silent ones have been asked."""
        for _ in range(count):
            assert await asyncio.to_thread(self._silent.acquire, timeout=20)


@contextmanager
def name_servers() -> Iterator[NameServers]:
    servers = NameServers()
    try:
        yield servers
    finally:
        servers.speak.set()


def going(body: Any) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await body

    uvloop.run(limited())


def test_silent_name_servers_keep_nobody_from_the_operators_own_names() -> None:
    async def body(servers: NameServers) -> None:
        look_up = LookUps(servers)
        waiting = [asyncio.create_task(look_up(f"silent{n}.example", 80)) for n in range(MANY)]
        await servers.are_asked(MANY)
        for task in waiting:  # who asked has given up; the threads have not
            task.cancel()
        began = time.monotonic()
        assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        assert await look_up("quick.example", 80) == ["93.184.216.34"]
        assert time.monotonic() - began < 5

    with name_servers() as servers:
        going(body(servers))


def test_a_place_is_free_when_its_thread_is_not_when_somebody_gave_up() -> None:
    async def body(servers: NameServers) -> None:
        look_up = LookUps(servers, at_once=2)
        waiting = [asyncio.create_task(look_up(f"silent{n}.example", 80)) for n in range(2)]
        await servers.are_asked(2)
        given_up = asyncio.create_task(look_up("given-up.example", 80))
        last = asyncio.create_task(look_up("last.example", 80))
        await asyncio.sleep(0)
        for task in (*waiting, given_up):
            task.cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(last), 0.2)
        assert len(servers.asked) == 2
        servers.speak.set()
        assert await last == ["93.184.216.34"]
        assert "given-up.example" not in servers.asked  # nobody wants to know any more

    with name_servers() as servers:
        going(body(servers))


def test_the_line_has_an_end_and_a_name_that_has_no_address_is_told() -> None:
    async def body(servers: NameServers) -> None:
        look_up = LookUps(servers, at_once=1, line=1)
        with pytest.raises(FetchError, match="has no address"):
            await look_up("nowhere", 80)
        first = asyncio.create_task(look_up("silent.example", 80))
        await servers.are_asked(1)
        second = asyncio.create_task(look_up("second.example", 80))
        await asyncio.sleep(0)
        with pytest.raises(FetchError, match="Too many names"):
            await look_up("third.example", 80)
        servers.speak.set()
        await asyncio.gather(first, second)

    with name_servers() as servers:
        going(body(servers))


def test_names_are_looked_up_by_the_system() -> None:
    async def body() -> None:
        assert set(await addresses.look_up("localhost", 80)) <= {"127.0.0.1", "::1"}
        with pytest.raises(FetchError):
            await addresses.look_up("a" * 64 + ".example", 80)  # a label that is too long

    going(body())
