"""What one request to a model server costs in processor time: our client and aiohttp, against the same mock.

    python -m bench.http_client [--quick]

Both run in this process in turns, so that whatever else the machine does is spread over both, and only this process's
own processor time is counted. `one write` is a protocol that writes the same bytes and looks for the answer's end only:
the least that an event loop and the kernel leave to anybody.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import cast

import aiohttp
import uvloop

from antiphon.http1 import Origin
from bench.report import Row, rows_table
from bench.servers import LOAD_CORES, SERVER_CORE, Neighbours, Server, free_port

HEADERS = {"content-type": "application/json", "authorization": "Bearer a-key-of-the-usual-length-0123456789"}
BODY = b'{"model":"mock-100","messages":[{"role":"user","content":"%s"}],"stream":%s}'
WHOLE, STREAM = BODY % (b"Hello! " * 40, b"false"), BODY % (b"Hello! " * 40, b"true")

Ask = Callable[[bytes], Awaitable[int]]  # sends one body, reads all of the answer, gives its length


def of_ours(url: str) -> Ask:
    origin = Origin(url, HEADERS, silence=600)
    opening = origin.opening("POST", f"{url}/v1/chat/completions")

    async def ask(body: bytes) -> int:
        with await origin.send(opening, body) as answer:
            if body is WHOLE:
                return len(await answer.read())
            length = 0
            while piece := await answer.piece():
                length += len(piece)
            return length

    return ask


def of_aiohttp(session: aiohttp.ClientSession, url: str) -> Ask:
    async def ask(body: bytes) -> int:
        async with session.post(f"{url}/v1/chat/completions", data=body) as response:
            if body is WHOLE:
                return len(await response.read())
            length = 0
            async for piece in response.content.iter_any():
                length += len(piece)
            return length

    return ask


class Least(asyncio.Protocol):
    """Writes what it is given, and waits for `end`."""

    def __init__(self) -> None:
        self.seen = b""
        self.end = b""
        self.waiter: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.seen = data[-8:]
        if self.waiter is not None and self.seen.endswith(self.end):
            self.waiter.set_result(len(data))


def of_least(url: str) -> Ask:
    free: list[Least] = []
    port = int(url.rpartition(":")[2])
    heads = {
        body: Origin(url, HEADERS, silence=600).opening("POST", f"{url}/v1/chat/completions")
        + b"content-length: %d\r\n\r\n" % len(body)
        for body in (WHOLE, STREAM)
    }

    async def ask(body: bytes) -> int:
        loop = asyncio.get_running_loop()
        protocol = free.pop() if free else (await loop.create_connection(Least, "127.0.0.1", port))[1]
        protocol.end = b"}}" if body is WHOLE else b"0\r\n\r\n"
        protocol.waiter = loop.create_future()
        protocol.transport.writelines((heads[body], body))
        length = await protocol.waiter
        free.append(protocol)
        return length

    return ask


async def cost(ask: Ask, body: bytes, requests: int, at_once: int) -> float:
    """µs of this process's time for each request."""

    async def several() -> None:
        for _ in range(requests // at_once):
            assert await ask(body)

    began = time.process_time()
    await asyncio.gather(*(several() for _ in range(at_once)))
    return (time.process_time() - began) / requests * 1e6


async def compare(url: str, rounds: int, requests: int) -> list[Row]:
    rows = []
    async with aiohttp.ClientSession(
        headers=HEADERS,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=600.0),
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=2**18,
    ) as session:
        asks = {"ours": of_ours(url), "aiohttp": of_aiohttp(session, url), "one write": of_least(url)}
        for what, body, share, at_once in (
            ("a whole answer, one at a time", WHOLE, 1, 1),
            ("a whole answer, 32 at a time", WHOLE, 1, 32),
            ("a stream of 100 tokens, 8 at a time", STREAM, 10, 8),
        ):
            taken: dict[str, list[float]] = {name: [] for name in asks}
            for turn in range(rounds + 1):
                for name, ask in asks.items():
                    figure = await cost(ask, body, requests // share, at_once)
                    if turn:  # the first makes the connections
                        taken[name].append(figure)
            ours, theirs, least = (statistics.median(taken[name]) for name in asks)
            above = f"{what}: above one write"
            # One at a time, each wait puts the process to sleep, which costs more than all else and nobody can save.
            rows.append(Row(what, ours, "µs", "aiohttp", theirs, at_most=50 if at_once == 32 else None))
            rows.append(Row(above, ours - least, "µs", "aiohttp", theirs - least, at_most=50 if share == 1 else None))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Processor time of a request to a model server.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--asyncio", action="store_true", help="the event loop of the standard library")
    options = parser.parse_args()
    port = free_port()
    mock = Server(
        "mock", [sys.executable, "-m", "bench.mock_openai", "--port", str(port)], port, "/v1/models", core=LOAD_CORES
    )
    near = Neighbours()
    with mock:
        os.sched_setaffinity(0, {int(SERVER_CORE)})
        run = asyncio.run if options.asyncio else uvloop.run
        rows = run(compare(f"http://127.0.0.1:{port}", *(3, 320) if options.quick else (11, 960)))
    print(rows_table(rows), f"\nOther work took {near.share():.0%} of the processor.")


if __name__ == "__main__":
    main()
