"""What is measured of a cluster, and the floors it is held against. Nothing here starts a server, prints or judges."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import nats
from torture.invariants import CUT

from bench.load import LoadError, Streamed, fetch, hammer, open_stream, quantile, read_stream, request_bytes
from bench.measures import INTERACTIONS, MODEL, TEXT, follow, start_run
from bench.servers import memory_mb

# Configured model name -> how the mock behaves behind it (see mock_openai.py).
ONE, MANY, FAN, FAST, BIG, KILLED = "one", "many", "fan", "fast", "big", "killed"
FAN_LENGTH, FAST_LENGTH, BIG_LENGTH, MANY_LENGTH, KILLED_LENGTH = 60, 500, 20_000, 20, 120
SUBSCRIBING_TIME = 8
UPSTREAMS = {
    "": "mock-100",
    ONE: "mock-20tps-100",
    MANY: f"mock-2tps-{MANY_LENGTH}",
    FAN: f"mock-10tps-{FAN_LENGTH}-wait{SUBSCRIBING_TIME}",
    FAST: f"mock-{FAST_LENGTH}",
    BIG: f"mock-{BIG_LENGTH}",
    KILLED: f"mock-10tps-{KILLED_LENGTH}",
}


def milliseconds(values: Sequence[float], share: float) -> float:
    """A quantile of seconds, in ms."""
    return quantile(list(values), share) * 1e3


def checked(stream: Streamed, tokens: int) -> Streamed:
    """The stream, if it is whole."""
    if stream.status != 200 or not stream.done or stream.tokens != tokens:
        raise LoadError(f"a stream of {stream.tokens} tokens, not {tokens}, with status {stream.status}")
    return stream


# ---------------------------------------------------------------------------------------------------- streams


async def between(asked: int, followed: int, runs: int) -> list[float]:
    """How old tokens are when a client of another server has them; one run at a time, worked by a third server."""
    ages: list[float] = []
    for _ in range(runs):
        run = await start_run(asked, ONE)
        ages += checked(await read_stream(followed, follow(run)), 100).ages
    return ages


async def concurrent(ports: Sequence[int], streams: int) -> tuple[list[Streamed], float]:
    """So many at once, half of them background runs, spread over the servers. And how long until all were open."""
    began = time.monotonic()

    async def one(place: int) -> asyncio.Future[Streamed]:
        port = ports[place % len(ports)]
        body: dict[str, object] = {"model": MANY, "input": TEXT, "stream": True, "background": place % 4 < 2}
        return await open_stream(port, request_bytes("POST", INTERACTIONS, body))

    waiting: list[asyncio.Future[Streamed]] = []
    for first in range(0, streams, 50):
        waiting += await asyncio.gather(*(one(place) for place in range(first, min(first + 50, streams))))
    opened = time.monotonic() - began
    return [checked(stream, MANY_LENGTH) for stream in await asyncio.gather(*waiting)], opened


async def fan_out(ports: Sequence[int], subscribers: int) -> list[Streamed]:
    """One run, and its subscribers on every server; all of them there before its first token."""
    run = await start_run(ports[0], FAN)
    waiting: list[asyncio.Future[Streamed]] = []
    for first in range(0, subscribers, 50):
        places = range(first, min(first + 50, subscribers))
        waiting += await asyncio.gather(*(open_stream(ports[place % len(ports)], follow(run)) for place in places))
    seen = [checked(stream, FAN_LENGTH) for stream in await asyncio.gather(*waiting)]
    if len({stream.checksum for stream in seen}) != 1:
        raise LoadError("the subscribers were not sent the same bytes")
    return seen


@dataclass
class Slow:
    """What readers that do not read cost: memory in MB, before they came and at the most."""

    readers: int
    size: float  # of the stream, MB
    before: float
    most: float


async def slow_readers(port: int, pid: int, readers: int) -> Slow:
    """Readers that ask for a long log, take its first bytes and no more, for as long as this lasts."""
    run = await start_run(port, BIG)
    whole = checked(await read_stream(port, follow(run)), BIG_LENGTH)
    before = most = memory_mb(pid)
    writers = []
    for _ in range(readers):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**12)
        writer.write(follow(run))
        await reader.read(1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writers.append(writer)
        most = max(most, memory_mb(pid))
    for _ in range(20):
        await asyncio.sleep(0.1)
        most = max(most, memory_mb(pid))
    for writer in writers:
        writer.transport.abort()
    return Slow(readers, whole.size / 1e6, before, most)


# ---------------------------------------------------------------------------------------------------- rates


@dataclass
class Rates:
    """What one deployment keeps in a second."""

    name: str
    requests: float
    p50_ms: float
    p99_ms: float
    events: float


async def rates(name: str, ports: Sequence[int], seconds: float, clients: int = 16) -> Rates:
    """Stored creates, then events of background runs that the model writes as fast as they are taken."""
    create = request_bytes("POST", INTERACTIONS, {"model": MODEL, "input": TEXT})
    each = clients // len(ports)
    seen = await asyncio.gather(*(hammer(port, create, clients=each, seconds=seconds) for port in ports))
    latencies = [latency for unary in seen for latency in unary.latencies]
    events, began = 0, time.monotonic()

    async def runs(port: int) -> None:
        nonlocal events
        while time.monotonic() < began + seconds:
            run = await start_run(port, FAST)
            events += checked(await read_stream(port, follow(run)), FAST_LENGTH).events

    await asyncio.gather(*(runs(ports[place % len(ports)]) for place in range(clients)))
    took = time.monotonic() - began
    rate = sum(unary.rate for unary in seen)
    return Rates(name, rate, milliseconds(latencies, 0.5), milliseconds(latencies, 0.99), events / took)


# ---------------------------------------------------------------------------------------------------- takeover


async def takeover(asked: int, followed: int, kill: Any, runs: int = 8) -> list[float]:
    """`kill()` ends a worker in the middle of several runs: how long each that it ran stood still."""
    ids = [await start_run(asked, KILLED) for _ in range(runs)]
    speaking = [asyncio.Event() for _ in ids]
    struck = 0.0

    async def watch(id: str, speaks: asyncio.Event) -> float | None:
        reader, writer = await asyncio.open_connection("127.0.0.1", followed, limit=2**20)
        writer.write(follow(id))
        found: float | None = None
        cut = b'"error":{"code":%d' % CUT
        while line := await reader.readline():
            if b"@" in line:
                speaks.set()
            if found is None and cut in line:
                found = time.monotonic() - struck
            if b"[DONE]" in line:
                break
        writer.close()
        return found

    watching = [asyncio.create_task(watch(*each)) for each in zip(ids, speaking, strict=True)]
    await asyncio.gather(*(speaks.wait() for speaks in speaking))
    struck = time.monotonic()
    await kill()
    return [silence for silence in await asyncio.gather(*watching) if silence is not None]


# ---------------------------------------------------------------------------------------------------- sustained


@dataclass
class Sustained:
    """Mixed load for a while: memory of each server over time, in MB."""

    seconds: float = 0.0
    requests: int = 0
    failures: int = 0
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def slope(self, name: str) -> float:
        """MB a minute, by least squares, the first third (warm-up) left out."""
        points = self.memory[name][len(self.memory[name]) // 3 :]
        mean_x = sum(x for x, _ in points) / len(points)
        mean_y = sum(y for _, y in points) / len(points)
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        return 60 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


async def sustained(ports: Sequence[int], pids: dict[str, int], seconds: float, clients: int = 12) -> Sustained:
    """Creates, streams, background runs followed elsewhere, and reads, all at once, for as long as is said."""
    found = Sustained(memory={name: [] for name in pids})
    began = time.monotonic()

    async def once(place: int, turn: int) -> None:
        here, there = ports[place % len(ports)], ports[(place + 1) % len(ports)]
        kind = (place + turn) % 4
        if kind == 0:
            status, _ = await fetch(here, request_bytes("POST", INTERACTIONS, {"model": MODEL, "input": TEXT}))
            if status != 200:
                raise LoadError(f"a create was answered with {status}")
        elif kind == 1:
            body: dict[str, object] = {"model": MODEL, "input": TEXT, "stream": True}
            checked(await read_stream(here, request_bytes("POST", INTERACTIONS, body)), 100)
        elif kind == 2:
            checked(await read_stream(there, follow(await start_run(here, FAST))), FAST_LENGTH)
        else:
            checked(await read_stream(there, follow(await start_run(here, ONE))), 100)

    async def client(place: int) -> None:
        turn = 0
        while time.monotonic() < began + seconds:
            turn += 1
            try:
                await once(place, turn)
                found.requests += 1
            except (LoadError, OSError):
                found.failures += 1

    async def weigh() -> None:
        while True:
            for name, pid in pids.items():
                found.memory[name].append((time.monotonic() - began, memory_mb(pid)))
            await asyncio.sleep(max(1.0, seconds / 200))

    weighing = asyncio.create_task(weigh())
    await asyncio.gather(*map(client, range(clients)))
    weighing.cancel()
    found.seconds = time.monotonic() - began
    return found


# ---------------------------------------------------------------------------------------------------- floors


async def nats_floor(url: str, messages: int = 400) -> list[float]:
    """From publishing to receiving, over two connections of one process."""
    one, other = await nats.connect(url), await nats.connect(url)
    taken: list[float] = []
    arrived = asyncio.Event()

    async def take(message: Any) -> None:
        taken.append(time.monotonic() - float(message.data[:20]))
        arrived.set()

    await other.subscribe("floor", cb=take)
    await other.flush()
    for _ in range(messages):
        arrived.clear()
        await one.publish("floor", f"{time.monotonic():020.9f}".encode() + b"x" * 300)
        await arrived.wait()
        await asyncio.sleep(0.002)
    await one.close()
    await other.close()
    return taken


async def postgres_floor(url: str, seconds: float, clients: int = 16) -> tuple[float, float]:
    """One row of 1 KB a commit: a second's worth with many clients, and the median of one commit with one, in ms."""
    pool = await asyncpg.create_pool(url, min_size=clients, max_size=clients)
    await pool.execute("CREATE TABLE IF NOT EXISTS public.floor (body bytea)")
    alone: list[float] = []
    for _ in range(200):
        began = time.monotonic()
        await pool.execute("INSERT INTO public.floor VALUES ($1)", b"x" * 1024)
        alone.append(time.monotonic() - began)
    count, began = 0, time.monotonic()

    async def client() -> None:
        nonlocal count
        async with pool.acquire() as connection:
            while time.monotonic() < began + seconds:
                await connection.execute("INSERT INTO public.floor VALUES ($1)", b"x" * 1024)
                count += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    rate = count / (time.monotonic() - began)
    await pool.execute("DROP TABLE public.floor")
    await pool.close()
    return rate, milliseconds(alone, 0.5)


def sqlite_floor(folder: Path, seconds: float) -> float:
    """Commits of one row of 1 KB in a second, flushed each."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE floor (body BLOB)")
    count, began = 0, time.monotonic()
    while time.monotonic() < began + seconds:
        connection.execute("INSERT INTO floor VALUES (?)", (b"x" * 1024,))
        count += 1
    connection.close()
    return count / (time.monotonic() - began)
