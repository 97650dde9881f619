"""What is done to a deployment. Each fault is struck, lasts a while, and is then mended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from torture.processes import NotStarted, Server
from torture.topology import Topology

Mend = Callable[[], Awaitable[None]]
Strike = Callable[[Topology, Random], Awaitable[Mend]]


@dataclass(frozen=True)
class Fault:
    """`needs` is what a deployment must have for it (see `topology.THERE`).

    `lasts` are the seconds from the strike to the mending, at least and at most; `ends_runs` that the interactions of
    the connections which it breaks may be gone with them, where one server keeps those that are not in the background.
    """

    name: str
    needs: str
    lasts: tuple[float, float]
    strike: Strike
    ends_runs: bool = False


FAULTS: dict[str, Fault] = {}
POISON = "a run that kills its server"  # the round has such a run beside the others


def _fault(name: str, needs: str, lasts: tuple[float, float], *, ends_runs: bool = False) -> Callable[[Strike], Strike]:
    def add(strike: Strike) -> Strike:
        FAULTS[name] = Fault(name, needs, lasts, strike, ends_runs)
        return strike

    return add


async def _nothing() -> None:
    """There is nothing to mend."""


@_fault("nothing", "clients", (0, 0))
async def _rest(topology: Topology, chance: Random) -> Mend:
    return _nothing


@_fault(POISON, "server", (0, 0), ends_runs=True)
async def _poison(topology: Topology, chance: Random) -> Mend:
    return _nothing


# ---------------------------------------------------------------------------------------------------- servers


async def _kill(topology: Topology, *servers: Server) -> Mend:
    topology.in_hand.update(servers)
    await asyncio.gather(*(server.kill() for server in servers))
    return _starting(topology, servers)


def _starting(topology: Topology, servers: tuple[Server, ...]) -> Mend:
    async def start() -> None:
        for server in servers:
            if not server.alive:
                with suppress(NotStarted):  # what it needs may be away as well: the supervisor goes on trying
                    await server.start()
            topology.in_hand.discard(server)

    return start


@_fault("kill a server", "server", (0.2, 3), ends_runs=True)
async def _kill_any(topology: Topology, chance: Random) -> Mend:
    return await _kill(topology, chance.choice(topology.servers))


@_fault("kill a worker", "workers", (8, 12))
async def _kill_worker(topology: Topology, chance: Random) -> Mend:
    return await _kill(topology, chance.choice(topology.workers))


@_fault("kill every worker", "workers", (0.5, 3))
async def _kill_workers(topology: Topology, chance: Random) -> Mend:
    return await _kill(topology, *topology.workers)


@_fault("kill an api server", "apis", (1, 6))
async def _kill_api(topology: Topology, chance: Random) -> Mend:
    return await _kill(topology, chance.choice(topology.apis))


@_fault("kill all servers", "server", (0.2, 2), ends_runs=True)
async def _kill_all(topology: Topology, chance: Random) -> Mend:
    return await _kill(topology, *topology.servers)


@_fault("stop a server", "server", (0.2, 3), ends_runs=True)
async def _stop(topology: Topology, chance: Random) -> Mend:
    server = chance.choice(topology.servers)
    topology.in_hand.add(server)
    await server.stop()
    return _starting(topology, (server,))


def _freeze(topology: Topology, server: Server) -> Mend:
    topology.in_hand.add(server)
    server.freeze()

    async def thaw() -> None:
        server.thaw()
        topology.in_hand.discard(server)

    return thaw


@_fault("freeze a server for a moment", "server", (0.2, 3))
async def _freeze_briefly(topology: Topology, chance: Random) -> Mend:
    return _freeze(topology, chance.choice(topology.servers))


@_fault("freeze a worker until it is replaced", "workers", (9, 14))
async def _freeze_worker(topology: Topology, chance: Random) -> Mend:
    return _freeze(topology, chance.choice(topology.workers))


@_fault("freeze an api server", "apis", (9, 14))
async def _freeze_api(topology: Topology, chance: Random) -> Mend:
    return _freeze(topology, chance.choice(topology.apis))


# ---------------------------------------------------------------------------------------------------- lines


def _line_fault(name: str, to: str, how: str, lasts: tuple[float, float]) -> None:
    @_fault(name, to, lasts)
    async def strike(topology: Topology, chance: Random) -> Mend:
        line = topology.lines[chance.choice(topology.servers).name, to]
        getattr(line, how)()

        async def mend() -> None:
            line.mend()

        return mend


_line_fault("cut a line to PostgreSQL", "postgres", "cut", (0.0, 8))
_line_fault("hold up a line to PostgreSQL", "postgres", "hold", (0.5, 12))
_line_fault("cut a line to NATS", "nats", "cut", (0.0, 12))
_line_fault("hold up a line to NATS", "nats", "hold", (0.5, 12))


# ---------------------------------------------------------------------------------------------------- PostgreSQL


def _postgres_fault(name: str, how: str, lasts: tuple[float, float]) -> None:
    @_fault(name, "postgres", lasts)
    async def strike(topology: Topology, chance: Random) -> Mend:
        postgres = topology.postgres
        assert postgres is not None
        await asyncio.to_thread(postgres.stop, how)

        async def mend() -> None:
            await asyncio.to_thread(postgres.start)

        return mend


_postgres_fault("restart PostgreSQL", "fast", (0, 2))
_postgres_fault("crash PostgreSQL", "immediate", (0, 2))
_postgres_fault("PostgreSQL is away for half a minute", "fast", (30, 31))


# ---------------------------------------------------------------------------------------------------- NATS


def _nats_fault(name: str, lasts: tuple[float, float], *, empty: bool) -> None:
    @_fault(name, "nats", lasts)
    async def strike(topology: Topology, chance: Random) -> Mend:
        nats = topology.nats
        assert nats is not None
        await asyncio.to_thread(nats.kill)

        async def mend() -> None:
            await asyncio.to_thread(nats.start, empty=empty)

        return mend


_nats_fault("kill NATS", (0, 10), empty=False)
_nats_fault("kill NATS and lose its disk", (0, 10), empty=True)


@_fault("freeze NATS", "nats", (0.5, 10))
async def _freeze_nats(topology: Topology, chance: Random) -> Mend:
    nats = topology.nats
    assert nats is not None
    nats.freeze()

    async def thaw() -> None:
        nats.thaw()

    return thaw


# ---------------------------------------------------------------------------------------------------- the rest


@_fault("fill the disk", "disk", (1, 6))
async def _fill(topology: Topology, chance: Random) -> Mend:
    disk = topology.disk
    assert disk is not None
    await asyncio.to_thread(disk.fill)

    async def free() -> None:
        await asyncio.to_thread(disk.free)

    return free


@_fault("hang up on every client", "clients", (0, 0))
async def _hang_up(topology: Topology, chance: Random) -> Mend:
    topology.hung_up.set()
    topology.hung_up.clear()
    return _nothing
