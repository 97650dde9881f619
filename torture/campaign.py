"""Rounds: several runs at once, a fault at a certain event of one of them, and then every check."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from torture import invariants, jobs
from torture.checks import Checks
from torture.clients import Client, Finding, Outcome
from torture.faults import FAULTS, POISON, Fault, Mend
from torture.jobs import Job
from torture.processes import NotStarted
from torture.topology import Topology

_LONG = 8.0  # seconds: a pause worth a line
_RECEIVE_BUFFER = 8192  # of a slow reader's socket


@dataclass
class Round:
    """What a round does: `fault` at event `place` of its first job."""

    number: int
    fault: Fault
    jobs: list[Job]
    lasts: float
    then: Fault | None = None  # a second fault, struck before the first is mended


@dataclass
class Tally:
    """All that was counted."""

    seed: int
    topology: str
    rounds: int = 0
    runs: int = 0
    events: int = 0
    resumes: int = 0
    connections: int = 0
    requests: int = 0
    gone: int = 0
    empty: int = 0  # streams that ended before their first event
    strays: int = 0
    restarts: int = 0
    effects: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    places: set[tuple[str, int]] = field(default_factory=set)  # the faults, and the events at which they were struck
    statuses: Counter[str] = field(default_factory=Counter)
    takeovers: dict[str, list[float]] = field(default_factory=dict)
    pauses: dict[str, list[float]] = field(default_factory=dict)  # the longest of each run that saw the fault
    notes: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def planned(
    there: Collection[str], seed: int, size: int, chosen: Sequence[Fault] = (), *, sweep: bool = False
) -> Iterator[Round]:
    """Rounds without end, the same for the same seed; with `sweep` every fault at every event of an agent, once.

    `there` is what a deployment has, and faults may need.
    """
    chance = random.Random(f"{seed}")
    faults = [fault for fault in chosen or FAULTS.values() if fault.needs in there]
    seconds = [fault for fault in faults if fault.name not in (POISON, "nothing")]
    if sweep:
        places = list(itertools.product(range(1, jobs.EVENTS["agent"] + 1), faults))
        chance.shuffle(places)
        order: Iterator[tuple[int | None, Fault]] = iter(places)
    else:
        order = ((None, fault) for fault in _without_end(faults, chance))
    for count, (place, fault) in enumerate(order, 1):
        drawn = [jobs.draw(chance, f"m{seed}x{count}x{each}") for each in range(size)]
        mark = drawn[0].mark
        kind = "agent" if place is not None else chance.choice(("agent", "agent", "talk"))
        place = place if place is not None else chance.randint(1, jobs.EVENTS[kind])
        way = chance.choice(("background", "background stream", "background stream", "foreground stream"))
        drawn[0] = Job(kind, way, mark, strike_at=place, drops=drawn[0].drops if kind == drawn[0].kind else frozenset())
        if fault.name == POISON:
            drawn.append(Job("poison", "background", f"{mark}p"))
        then = chance.choice(seconds) if seconds and not sweep and chance.random() < 0.2 else None
        yield Round(count, fault, drawn, chance.uniform(*fault.lasts), then)


def _without_end(faults: list[Fault], chance: random.Random) -> Iterator[Fault]:
    """Each as often as the others."""
    while True:
        yield from chance.sample(faults, len(faults))


class Campaign:
    """Plays rounds against a deployment. `bound` is how long a run may take to end once everything was mended.

    `key` is the API key of its requests.
    """

    def __init__(
        self, topology: Topology, seed: int, bound: float, say: Callable[[str], None], key: str = "any"
    ) -> None:
        self._topology = topology
        self._key = key
        self._bound = bound
        self._say = say
        self._chance = random.Random(f"{seed} at play")
        self.tally = Tally(seed, topology.name, notes=list(topology.notes))
        self._strikes: list[tuple[float, str]] = []
        self._longest = (0.0, "")  # the longest pause of this round, and whose

    async def play(self, rounds: Iterator[Round], enough: Callable[[Tally], bool]) -> Tally:
        """Play until it is enough."""
        began = time.monotonic()
        async with _session(None, self._key) as session, _session(_RECEIVE_BUFFER, self._key) as slow:
            checks = Checks(self._topology, session, self._chance)
            for planned in rounds:
                await self._round(planned, checks, {False: session, True: slow})
                self.tally.seconds = time.monotonic() - began
                self.tally.resumes = checks.resumes
                self.tally.restarts = sum(max(0, server.starts - 1) for server in self._topology.servers)
                self.tally.effects = sum((self._topology.effects() or {}).values())
                if enough(self.tally):
                    break
        return self.tally

    # ------------------------------------------------------------------ one round

    async def _round(self, planned: Round, checks: Checks, sessions: dict[bool, aiohttp.ClientSession]) -> None:
        began = time.monotonic()
        self._strikes, self._longest = [], (0.0, "")
        struck: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()

        async def strike() -> None:
            struck.set_result(asyncio.create_task(self._afflict(planned)))

        playing = self._begin(planned.jobs, sessions, strike)
        findings: list[str] = []
        try:
            await (await struck)
            await self._topology.mend()
            saws = await self._ended(playing)
            await checks.settled()
            saws += await self._ended(self._begin(list(filter(None, map(_answer, saws))), sessions, _no_strike))
        except (Finding, NotStarted, AssertionError) as finding:
            findings.append(f"{type(finding).__name__}: {finding}")
            saws = await self._ended(playing)
        self._excuse(planned)
        excused = planned.fault.ends_runs or (planned.then is not None and planned.then.ends_runs)
        for saw in saws:
            findings += [f"{saw.name}: {finding}" for finding in await checks.of(saw)]
            findings += [f"{saw.name} is unknown, and no server has died"] if saw.gone and not excused else []
            self._count(saw, timed=planned.then is None)
        try:
            found, strays = await checks.strays(saws, self._bound)
            findings += found
            self.tally.strays += strays
        except (Finding, aiohttp.ClientError, OSError) as finding:
            findings.append(f"{type(finding).__name__}: {finding}")
        self._tell(planned, saws, findings, time.monotonic() - began)

    def _excuse(self, planned: Round) -> None:
        """On one server all runs die with the one that kills it, and none can be told from it."""
        if planned.fault.name == POISON and not self._topology.many:
            for job in planned.jobs:
                job.may_fall = True

    def _begin(
        self, work: Sequence[Job], sessions: dict[bool, aiohttp.ClientSession], strike: Callable[[], Awaitable[None]]
    ) -> dict[Client, asyncio.Task[Outcome]]:
        clients = [
            Client(self._topology, sessions[job.slow], job, random.Random(f"{job.mark} {job.kind}"), strike)
            for job in work
        ]
        return {client: asyncio.create_task(client.run()) for client in clients}

    async def _ended(self, playing: dict[Client, asyncio.Task[Outcome]]) -> list[Outcome]:
        """Wait for clients; what does not end within the bound is a finding."""
        if not playing:
            return []
        _, late = await asyncio.wait(playing.values(), timeout=self._bound)
        for task in late:
            task.cancel()
        await asyncio.gather(*playing.values(), return_exceptions=True)
        for client, task in playing.items():
            if task in late:
                client.saw.findings.append(f"it has not ended {self._bound:g} s after everything was mended")
            elif (error := task.exception()) is not None:
                client.saw.findings.append(f"its client failed: {error!r}")
        return [client.saw for client in playing]

    async def _afflict(self, planned: Round) -> None:
        """Strike, wait, mend; a second fault lies within the first."""
        mends = [await self._strike(planned.fault, planned)]
        if planned.then is not None:
            await asyncio.sleep(min(1.0, planned.lasts / 2))
            with suppress(AssertionError):  # what it is to strike may be down already
                mends.append(await self._strike(planned.then, planned))
        await asyncio.sleep(planned.lasts)
        for mend in mends:
            with suppress(AssertionError):  # one may need what the other has broken: all is mended after this
                await mend()

    async def _strike(self, fault: Fault, planned: Round) -> Mend:
        self._strikes.append((time.monotonic(), fault.name))
        mend = await fault.strike(self._topology, self._chance)
        self.tally.faults[fault.name] += 1
        self.tally.places.add((fault.name, planned.jobs[0].strike_at or 0))
        return mend

    # ------------------------------------------------------------------ counting

    def _count(self, saw: Outcome, *, timed: bool) -> None:
        tally = self.tally
        tally.runs += saw.id is not None
        tally.events += len(saw.frames)
        tally.connections += saw.connections
        tally.requests += saw.requests
        tally.gone += saw.gone
        tally.empty += saw.empty
        tally.statuses[
            invariants.status(saw.frames) or ("gone" if saw.gone else "refused" if saw.refused else "?")
        ] += 1
        at, name = self._strikes[0] if self._strikes else (0.0, "")
        if timed and saw.asked < at:  # of two faults at once nobody could say which it was
            self._time(saw, at, name)

    def _time(self, saw: Outcome, at: float, name: str) -> None:
        """How long the run stood still, and when another server went on with it."""
        later = [arrived for arrived in saw.arrivals if arrived > at]
        if later:
            pause = max(after - before for before, after in itertools.pairwise([at, *later]))
            self.tally.pauses.setdefault(name, []).append(pause)
            self._longest = max(self._longest, (pause, saw.name))
        # The log says where a run was taken up: the step that was cut short ends with an error.
        for frame, arrived in zip(saw.frames, saw.arrivals, strict=True):
            said = invariants.event(frame) if b"step.stop" in frame and arrived > at else {}
            if (said.get("error") or {}).get("code") == invariants.CUT:
                self.tally.takeovers.setdefault(name, []).append(arrived - at)

    def _tell(self, planned: Round, saws: list[Outcome], findings: list[str], seconds: float) -> None:
        self.tally.rounds += 1
        self.tally.findings += [f"round {planned.number} ({title(planned)}): {finding}" for finding in findings]
        verdict = "ok" if not findings else f"{len(findings)} FINDINGS"
        self._say(f"round {planned.number:4} {verdict:>4}  {len(saws)} runs in {seconds:4.1f} s: {title(planned)}")
        if self._longest[0] > _LONG:
            self._say(f"    {self._longest[1]} stood still for {self._longest[0]:.1f} s")
        for finding in findings:
            self._say(f"    {finding}")


def title(planned: Round) -> str:
    """A round in words."""
    first = planned.jobs[0]
    then = f", then {planned.then.name}" if planned.then else ""
    return f"{planned.fault.name} at event {first.strike_at} of {first.kind} ({first.way}), {planned.lasts:.1f} s{then}"


def _answer(saw: Outcome) -> Job | None:
    """The next turn of a run that waits for the result of its call."""
    if invariants.status(saw.frames) != "requires_action" or saw.findings:
        return None
    calls = [step for step in invariants.steps(saw.frames) if step.type == "function_call" and step.error is None]
    call = str(calls[-1].fields["id"])
    return Job("told", saw.job.way, f"{saw.job.mark}a", previous=saw.id, call=call)


async def _no_strike() -> None:
    """Nothing more is done in this round."""


def _session(receive_buffer: int | None = None, key: str = "any") -> aiohttp.ClientSession:
    """Each request on a connection of its own, so that each can go to another server."""

    def made(address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        if receive_buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        return made

    headers = {"x-goog-api-key": key}
    connector = aiohttp.TCPConnector(force_close=True, limit=0, socket_factory=made)
    return aiohttp.ClientSession(
        connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
    )
