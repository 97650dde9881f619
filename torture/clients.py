"""A client: asks for a run, follows it wherever it is served, comes back whenever it is cut off, and keeps every byte."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from torture import invariants
from torture.jobs import Job
from torture.processes import Server
from torture.topology import Topology

_PAUSE = 0.1
_AGAIN = 0.5  # seconds before a request is sent again: no SDK comes sooner
_SILENCE = 20.0  # seconds: longer than the pause between two comments of a live stream
_SLOW_BYTES, _SLOW_PAUSE = 8192, 0.04
_UNCERTAIN = (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError)


class Finding(Exception):
    """Something that must not be."""


@dataclass
class Outcome:
    """What a client saw of its run. Times are of the monotonic clock."""

    job: Job
    id: str | None = None
    asked: float = 0.0
    frames: list[bytes] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    done: bool = False
    ended: float = 0.0
    connections: int = 0
    requests: int = 0
    empty: int = 0  # streams that ended without one event
    refused: str = ""  # why nothing was begun
    gone: bool = False  # it was unknown to the server that began it, which keeps a foreground run in memory
    cancelled: bool = False
    findings: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.job.kind} {self.job.mark} ({self.job.way}, {self.id})"


class Client:
    """One job's client. `strike` is awaited at the event that the job names."""

    def __init__(
        self,
        topology: Topology,
        session: aiohttp.ClientSession,
        job: Job,
        chance: random.Random,
        strike: Callable[[], Awaitable[None]],
    ) -> None:
        self._topology = topology
        self._session = session
        self._job = job
        self._chance = chance
        self._strike = strike
        self._drops = set(job.drops)
        self._tasks: list[asyncio.Task[None]] = []
        self._struck = job.strike_at is None
        self._cancelling = job.cancel_at is not None
        self.saw = Outcome(job)

    async def run(self) -> Outcome:
        """Until the run has ended; cancelled where that takes too long."""
        self.saw.asked = time.monotonic()
        try:
            await self._ask()
            while not self.saw.done and self.saw.id is not None:
                await self._follow()
        except Finding as finding:
            self.saw.findings.append(str(finding))
        finally:
            if not self._struck:  # the run never came to that event
                self._struck = True
                await self._strike()
            for task in self._tasks:
                await asyncio.gather(task, return_exceptions=True)
        self.saw.ended = time.monotonic()
        return self.saw

    # ------------------------------------------------------------------ asking

    async def _server(self) -> Server:
        while (server := self._topology.pick(self._chance)) is None:  # noqa: ASYNC110 - a balancer tells nobody
            await asyncio.sleep(_PAUSE)
        return server

    async def _ask(self) -> None:
        """POST, and again as the SDKs do, until there is an answer."""
        headers = {"idempotency-key": f"torture-{self._job.mark}"} if self._job.keyed else {}
        while self.saw.id is None and not self.saw.done:
            server = await self._server()
            self.saw.requests += 1
            url = f"{server.url}/v1beta/interactions"
            patience = self._job.patience if self.saw.requests == 1 else None
            with suppress(*_UNCERTAIN):
                async with (
                    asyncio.timeout(patience),
                    self._session.post(url, json=self._job.body(), headers=headers) as response,
                ):
                    if response.status == 200:
                        await self._take_answer(response)
                        if self.saw.id is not None:
                            return
                        # It broke off before its first event: nobody knows what it began.
                        self.saw.empty += 1
                        await asyncio.sleep(_AGAIN)
                        continue
                    said = await response.text()
                    if response.status == 400 and self._job.way == "foreground":
                        self.saw.refused = said  # a run that failed has its error for an answer
                    if response.status < 500 and response.status not in (408, 409, 429):
                        raise Finding(f"POST was refused by {server.name}: {response.status} {said}")
                    if self._job.kind == "broken":
                        self.saw.refused = said
                        self.saw.done = True
                        return
            if self.saw.id is None:
                await asyncio.sleep(_AGAIN)

    async def _take_answer(self, response: aiohttp.ClientResponse) -> None:
        if self._job.streamed:
            await self._read(response)
            return
        made = json.loads(await response.read())
        self.saw.id = made["id"]
        if not self._job.background and made["status"] == "in_progress":
            raise Finding(f"POST of a foreground run was answered with {made['status']}")

    # ------------------------------------------------------------------ following

    async def _follow(self) -> None:
        """GET the stream after the last event, from any server."""
        server = await self._server()
        after = len(self.saw.frames)
        query = {"stream": "true"} | ({"last_event_id": f"evt_{after}"} if after else {})
        url = f"{server.url}/v1beta/interactions/{self.saw.id}"
        with suppress(*_UNCERTAIN):
            async with self._session.get(url, params=query) as response:
                if response.status == 200:
                    await self._read(response)
                elif response.status == 404 and not self._job.background and not self._topology.many:
                    self.saw.gone = self.saw.done = True
                elif response.status < 500 and response.status != 429:
                    said = await response.text()
                    raise Finding(f"GET after event {after} was refused by {server.name}: {response.status} {said}")
        if not self.saw.done:
            await asyncio.sleep(_PAUSE / 2)

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        """Take the frames of a stream as they come, until it ends, breaks, or it is time to hang up."""
        self.saw.connections += 1
        rest = b""
        hanging_up = asyncio.ensure_future(self._topology.hung_up.wait())
        tasks: list[asyncio.Future[Any]] = [hanging_up]
        try:
            while True:
                slow = self._job.slow
                reading = asyncio.ensure_future(
                    response.content.read(_SLOW_BYTES) if slow else response.content.readany()
                )
                tasks[1:] = [reading]
                await asyncio.wait({reading, hanging_up}, return_when=asyncio.FIRST_COMPLETED, timeout=_SILENCE)
                if not reading.done() or not (piece := reading.result()):
                    return
                frames, rest = invariants.split(rest + piece)
                for frame in frames:
                    if await self._take(frame):
                        return
                if slow:
                    await asyncio.sleep(_SLOW_PAUSE)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            response.close()

    async def _take(self, frame: bytes) -> bool:
        """Keep one frame; True where the client is to hang up."""
        if frame == invariants.DONE:
            self.saw.done = True
            return True
        expected = len(self.saw.frames) + 1
        number = invariants.number(frame)
        if number != expected:
            raise Finding(f"event {expected} should come, and {number} came: {frame!r}")
        self.saw.frames.append(frame)
        self.saw.arrivals.append(time.monotonic())
        if number == 1:
            self.saw.id = invariants.event(frame)["interaction"]["id"]
        if not self._struck and number >= (self._job.strike_at or 0):
            self._struck = True
            await self._strike()
        if self._cancelling and number >= (self._job.cancel_at or 0):
            self._cancelling = False
            self._tasks.append(asyncio.create_task(self._cancel()))
        if number in self._drops:
            self._drops.discard(number)
            return True
        return False

    async def _cancel(self) -> None:
        while not self.saw.cancelled:
            server = await self._server()
            url = f"{server.url}/v1beta/interactions/{self.saw.id}/cancel"
            with suppress(*_UNCERTAIN):
                async with self._session.post(url) as response:
                    if response.status < 500:
                        self.saw.cancelled = True
                        said: Any = await response.json()
                        if response.status != 200 and "is not running" not in json.dumps(said):
                            self.saw.findings.append(f"cancelling was answered with {response.status} {said}")
                        elif response.status == 200 and said["status"] != "cancelled":
                            self.saw.findings.append(f"cancelling left it {said['status']}")
            await asyncio.sleep(_PAUSE)


async def whole_stream(session: aiohttp.ClientSession, server: Server, id: str, after: int = 0) -> list[bytes]:
    """The stored frames after an event, as one server gives them. Raises Finding."""
    query = {"stream": "true"} | ({"last_event_id": f"evt_{after}"} if after else {})
    async with session.get(f"{server.url}/v1beta/interactions/{id}", params=query) as response:
        body = await response.read()
    if response.status != 200:
        raise Finding(f"{server.name} answers {response.status} to the stream after event {after}: {body!r}")
    frames, rest = invariants.split(body)
    if rest or not frames or frames[-1] != invariants.DONE:
        raise Finding(f"{server.name}: the stream after event {after} has no end: {(frames or [b''])[-1] + rest!r}")
    return frames[:-1]
