"""The load generator: raw asyncio protocols and ready-made request bytes, so that its own cost stays small.

`hammer` sends one request again and again over keep-alive connections, each client waiting for its answer before
the next request; `open_stream` reads one stream of server-sent events and notes when its tokens came. It knows HTTP,
SSE framing and the mock's token stamps (see mock_openai.py), and nothing of any API.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
import zlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httptools
import uvloop

STAMP = re.compile(rb"@(\d+)@")
EVENT_ID = re.compile(rb'"event_id":\s?"([^"]+)"')
DONE = b"data: [DONE]"


class LoadError(Exception):
    """The server did not answer as a bench needs it to."""


def request_bytes(method: str, path: str, body: dict[str, object] | None = None, *, key: str = "x") -> bytes:
    payload = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\nx-goog-api-key: {key}\r\n"
        f"authorization: Bearer {key}\r\n"
    )
    if body is not None:
        head += f"content-type: application/json\r\ncontent-length: {len(payload)}\r\n"
    return head.encode() + b"\r\n" + payload


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


@dataclass
class Unary:
    """What `hammer` saw. Latencies in seconds, in order of arrival; `answered` counts the warm-up too."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    answered: int = 0
    failures: int = 0
    first_failure: str = ""

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def p50_ms(self) -> float:
        return quantile(self.latencies, 0.50) * 1e3

    @property
    def p99_ms(self) -> float:
        return quantile(self.latencies, 0.99) * 1e3

    def add(self, other: Unary) -> None:
        self.seconds += other.seconds
        self.latencies += other.latencies
        self.answered += other.answered


class Caller(asyncio.Protocol):
    """One client of `hammer`: ask, wait, ask again until told to stop."""

    def __init__(self, request: bytes, counted: Unary, running: Callable[[], bool]) -> None:
        self.request, self.counted, self.running = request, counted, running
        self.finished = asyncio.get_running_loop().create_future()
        self.parser = httptools.HttpResponseParser(self)
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.ask()

    def ask(self) -> None:
        self.body = b""
        self.asked = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        took = time.perf_counter() - self.asked
        if self.parser.get_status_code() == 200:
            self.counted.latencies.append(took)
            self.counted.answered += 1
        else:
            self.counted.failures += 1
            self.counted.first_failure = self.counted.first_failure or self.body[:300].decode(errors="replace")
        if self.running() and self.parser.should_keep_alive():
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_result(None)


async def keep_calling(port: int, request: bytes, counted: Unary, running: Callable[[], bool]) -> None:
    """A server may close a connection between two answers; the client then opens the next one."""
    while running():
        _, caller = await asyncio.get_running_loop().create_connection(
            lambda: Caller(request, counted, running), "127.0.0.1", port
        )
        await caller.finished


async def hammer(port: int, request: bytes, *, clients: int = 16, seconds: float = 5.0, warm_up: float = 1.0) -> Unary:
    """Closed loop: `clients` connections, each with one request in flight. The warm-up is not counted."""
    counted = Unary()
    stop_at = time.perf_counter() + warm_up + seconds

    def running() -> bool:
        return time.perf_counter() < stop_at

    callers = [asyncio.create_task(keep_calling(port, request, counted, running)) for _ in range(clients)]
    await asyncio.sleep(warm_up)
    counted.latencies.clear()
    began = time.perf_counter()
    await asyncio.gather(*callers)
    counted.seconds = time.perf_counter() - began
    if counted.failures or not counted.latencies:
        raise LoadError(f"{counted.failures} failures, {len(counted.latencies)} answers: {counted.first_failure}")
    return counted


@dataclass
class Streamed:
    """What one stream brought. Times are CLOCK_MONOTONIC, in seconds since `asked`; ages of tokens in seconds."""

    asked: float = 0.0
    status: int = 0
    first_byte: float = 0.0
    first_token: float = 0.0
    ended: float = 0.0
    events: int = 0
    size: int = 0
    checksum: int = 0
    done: bool = False
    last_event_id: str = ""
    ages: array[float] = field(default_factory=lambda: array("d"))

    @property
    def tokens(self) -> int:
        return len(self.ages)


class Reader(asyncio.Protocol):
    """Reads one stream to its end, or until `enough(streamed)`."""

    def __init__(self, request: bytes, enough: Callable[[Streamed], bool]) -> None:
        self.request, self.enough = request, enough
        self.got = Streamed()
        self.rest = b""
        self.parser = httptools.HttpResponseParser(self)
        self.finished: asyncio.Future[Streamed] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.got.asked = time.monotonic()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        now = time.monotonic()
        got = self.got
        got.first_byte = got.first_byte or now - got.asked
        got.size += len(body)
        *events, self.rest = (self.rest + body).split(b"\n\n")
        for event in events:
            self.take(event, now)
        if events and self.enough(got):
            self.finish()

    def take(self, event: bytes, now: float) -> None:
        if b"data:" not in event:  # a comment: the server keeps the connection warm
            return
        got = self.got
        got.events += 1
        got.checksum = zlib.crc32(event, got.checksum)
        for stamp in STAMP.findall(event):
            got.first_token = got.first_token or now - got.asked
            got.ages.append(now - int(stamp) / 1e9)
        if DONE in event:
            got.done = True
        elif found := EVENT_ID.search(event):
            got.last_event_id = found[1].decode()

    def on_message_complete(self) -> None:
        self.finish()

    def finish(self) -> None:
        self.got.status = self.parser.get_status_code()
        self.got.ended = time.monotonic() - self.got.asked
        if not self.finished.done():
            self.finished.set_result(self.got)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_exception(LoadError(f"connection lost after {self.got.events} events: {exc}"))


def never(_: Streamed) -> bool:
    return False


async def open_stream(
    port: int, request: bytes, enough: Callable[[Streamed], bool] = never
) -> asyncio.Future[Streamed]:
    """Connect and ask; the future that comes back holds the stream when it is over."""
    loop = asyncio.get_running_loop()
    _, reader = await loop.create_connection(lambda: Reader(request, enough), "127.0.0.1", port)
    return reader.finished


async def read_stream(port: int, request: bytes, enough: Callable[[Streamed], bool] = never) -> Streamed:
    return await (await open_stream(port, request, enough))


async def fetch(port: int, request: bytes) -> tuple[int, dict[str, object]]:
    """One request, one JSON answer: for the steps around a measurement."""
    answer = bytearray()
    status = 0
    done = False

    class Parts:
        def on_body(self, body: bytes) -> None:
            answer.extend(body)

        def on_message_complete(self) -> None:
            nonlocal done
            done = True

    parser = httptools.HttpResponseParser(Parts())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    while not done and (data := await reader.read(65536)):
        parser.feed_data(data)
        status = parser.get_status_code()
    writer.close()
    return status, json.loads(answer or b"{}")


def main() -> None:
    parser = argparse.ArgumentParser(description="send one JSON body again and again")
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("body", help="JSON")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    chosen = parser.parse_args()
    request = request_bytes("POST", chosen.path, json.loads(chosen.body))
    seen = uvloop.run(hammer(chosen.port, request, clients=chosen.clients, seconds=chosen.seconds))
    print(f"{seen.rate:,.0f} requests/s, p50 {seen.p50_ms:.2f} ms, p99 {seen.p99_ms:.2f} ms")


if __name__ == "__main__":
    main()
