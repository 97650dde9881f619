"""Antiphon's speed over a mock model, beside LiteLLM's proxy over the same mock, in one run.

    python -m bench.run                     all of it, four minutes; writes docs/performance.md if the machine was quiet
    python -m bench.run --noisy             writes it whatever else ran on the machine
    python -m bench.run --quick             shorter and rougher, writes nothing
    python -m bench.run --only creates      one or more of: start creates streams fan resume litellm

One core is the server's, the rest are the mock's and the load's. Antiphon and LiteLLM never run at the same time.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench import measures, peer_litellm, servers
from bench.measures import Fan, Resumed, Side
from bench.report import Row, figure, filesystem, publish, rows_table, table

COMMAND = "make bench"
CLIENTS = 16
PARTS = ("start", "creates", "streams", "fan", "resume", "litellm")
NOTES = """\
- The server has one core to itself ({server_core}); the mock and the load generator share the rest ({load_cores}).
- "Added" is the time through a server less the time to the mock directly, same client, same number of clients. With
  {clients} clients each asking as fast as it is answered, the server is saturated and latency is the queue; with one
  client it is the server's own time.
- Antiphon stores every interaction (SQLite on {filesystem}, flushed before the answer); LiteLLM stores nothing. It has
  one worker, one key, no database, no logging. Memory is the resident memory of the process and its children.
- The age of a token is the time from the mock's writing it to the client's reading it; with many subscribers, the
  load generator's own reading of all of them is in it.
- A stream of 100 tokens takes 500 ms at the mock. Where much is added to that whole, the server fell behind the
  tokens, and its other figures there are its queue, not its overhead.
- Other work on the machine took {near_antiphon:.0%} of its processor time beside Antiphon, {near_litellm:.0%} beside
  LiteLLM. One flush of 4 KB to the disk took {flush} ms (median): a stored create with one client waits for it.
"""
# Above this share of other work, latencies show the scheduler and not the server.
QUIET = 0.10
STREAM_FIGURES = (
    ("time to first token", Side.first_token_ms, 0.5),
    ("time to first token", Side.first_token_ms, 0.99),
    ("age of a token", Side.token_age_ms, 0.5),
    ("age of a token", Side.token_age_ms, 0.99),
    ("time for 100 tokens", Side.whole_ms, 0.5),
)


@dataclass
class Findings:
    direct: Side = field(default_factory=lambda: Side("the mock, directly"))
    antiphon: Side = field(default_factory=lambda: Side("Antiphon `/v1beta/interactions`, stored"))
    peers: list[Side] = field(default_factory=list)
    fan: Fan | None = None
    burst: Fan | None = None
    resumed: Resumed | None = None
    after_all: float = 0.0
    near_antiphon: float = 0.0
    near_litellm: float = 0.0
    flush: float = 0.0

    @property
    def noisy(self) -> bool:
        return max(self.near_antiphon, self.near_litellm) > QUIET


@dataclass(frozen=True)
class Effort:
    """How long everything takes."""

    rounds: int
    seconds: float
    stream_rounds: int
    subscribers: int
    resumes: int
    starts: int


FULL = Effort(rounds=3, seconds=4, stream_rounds=4, subscribers=1000, resumes=5, starts=5)
QUICK = Effort(rounds=1, seconds=2, stream_rounds=1, subscribers=1000, resumes=2, starts=1)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def creates(found: Findings, port: int, server: servers.Server, effort: Effort) -> None:
    """The mock and Antiphon take turns, so that a slow minute of the machine is a slow minute for both."""
    for clients in (1, CLIENTS):
        for _ in range(effort.rounds):
            for side, at, request, own in (
                (found.direct, port, measures.CHAT, None),
                (found.antiphon, server.port, measures.CREATE, server),
            ):
                await measures.creates(side, at, request, clients=clients, seconds=effort.seconds, server=own)
    found.antiphon.loaded = server.memory()


async def streams(found: Findings, port: int, server: servers.Server, effort: Effort) -> None:
    asked = ((found.direct, port, measures.chat_stream("mock-200tps-100")), (found.antiphon, server.port, None))
    for side, at, request in asked:
        request = request or measures.CREATE_STREAM
        await paced_streams(side, at, request, effort)


async def paced_streams(side: Side, port: int, request: bytes, effort: Effort) -> None:
    """The same for every side. One client alone opens more streams, to have some to count."""
    await measures.streams(side, port, request, clients=1, rounds=4 * effort.stream_rounds)
    await measures.streams(side, port, request, clients=CLIENTS, rounds=effort.stream_rounds)


async def measure_antiphon(found: Findings, port: int, server: servers.Server, parts: set[str], effort: Effort) -> None:
    found.antiphon.idle = server.memory()
    if "creates" in parts:
        say("creates")
        await creates(found, port, server, effort)
    if "streams" in parts:
        say("streams")
        await streams(found, port, server, effort)
    if "fan" in parts:
        say(f"{effort.subscribers} subscribers of one run, twice")
        found.fan = await measures.fan_out(server.port, measures.FAN, measures.FAN_LENGTH, effort.subscribers)
        found.burst = await measures.fan_out(server.port, measures.BURST, measures.BURST_LENGTH, effort.subscribers)
    if "resume" in parts:
        say("resume")
        found.resumed = await measures.resume(server.port, effort.resumes)
    found.after_all = server.memory()


async def measure_litellm(found: Findings, server: servers.Server, effort: Effort) -> None:
    idle = server.memory()
    for path in await peer_litellm.doors(server.port):
        side = Side(f"LiteLLM `{path}`", start=server.start_seconds, idle=idle)
        for clients in (1, CLIENTS):
            request = peer_litellm.REQUESTS[path]
            seconds = effort.rounds * effort.seconds
            await measures.creates(side, server.port, request, clients=clients, seconds=seconds, server=server)
        if path == peer_litellm.CHAT:
            request = measures.chat_stream(peer_litellm.PACED, peer_litellm.KEY)
            await paced_streams(side, server.port, request, effort)
        side.loaded = server.memory()
        found.peers.append(side)


def starts(found: Findings, sources: dict[str, str], effort: Effort) -> None:
    """Into an empty directory each time: the first start is the one that makes the database."""
    taken = []
    for _ in range(effort.starts):
        with tempfile.TemporaryDirectory() as data, servers.antiphon(Path(data), sources) as server:
            taken.append(server.start_seconds)
    found.antiphon.start = sorted(taken)[len(taken) // 2]


def measure(parts: set[str], effort: Effort) -> Findings:
    found = Findings(flush=servers.flush_ms(Path(tempfile.gettempdir())))
    with servers.mock() as upstream:
        beside = servers.Neighbours()
        sources = {
            name: f"http://127.0.0.1:{upstream.port}/v1#{behaviour}" for name, behaviour in measures.UPSTREAMS.items()
        }
        if "start" in parts:
            say("start")
            starts(found, sources, effort)
        if parts & {"creates", "streams", "fan", "resume"}:
            with tempfile.TemporaryDirectory() as data, servers.antiphon(Path(data), sources) as server:
                uvloop.run(measure_antiphon(found, upstream.port, server, parts, effort))
        found.near_antiphon = beside.share()
        if "litellm" in parts:
            say("LiteLLM")
            beside = servers.Neighbours()
            with peer_litellm.litellm(upstream.port) as server:
                uvloop.run(measure_litellm(found, server, effort))
            found.near_litellm = beside.share()
    return found


def side_line(side: Side, direct: Side) -> list[str]:
    line = [side.name]
    for clients in (1, CLIENTS):
        seen, floor = side.at.get(clients), direct.at.get(clients)
        if not seen or not floor:
            line += ["", "", ""]
            continue
        line += [figure(seen.rate), f"{figure(seen.p50_ms)} / {figure(seen.p99_ms)}"]
        added = side is not direct
        line.append(f"{figure(seen.p50_ms - floor.p50_ms)} / {figure(seen.p99_ms - floor.p99_ms)}" if added else "")
    memory = f"{figure(side.idle)} / {figure(side.loaded)}" if side.idle else ""
    return [*line, figure(side.cpu_ms) if side.cpu else "", memory, figure(side.start) if side.start else ""]


def sides_table(found: Findings) -> str:
    titles = ["", "1 client: requests/s", "p50 / p99 ms", "added ms"]
    titles += [f"{CLIENTS} clients: requests/s", "p50 / p99 ms", "added ms"]
    titles += ["CPU ms a request", "MB idle / loaded", "start s"]
    return table(titles, [side_line(side, found.direct) for side in (found.direct, found.antiphon, *found.peers)])


def create_rows(found: Findings) -> list[Row]:
    ours, floor = found.antiphon.at, found.direct.at
    if not ours:
        return []
    rows = [Row(f"stored creates, {CLIENTS} clients", ours[CLIENTS].rate, "requests/s", at_least=1500)]
    rows.append(Row("added p50, stored, 1 client", ours[1].p50_ms - floor[1].p50_ms, "ms", at_most=1))
    for peer in found.peers:
        rows.append(
            Row(
                f"creates, {CLIENTS} clients", ours[CLIENTS].rate, "requests/s",
                peer.name, peer.at[CLIENTS].rate, more_is_better=True, times=10,
            )
        )  # fmt: skip
        rows.append(Row("CPU a create", found.antiphon.cpu_ms, "ms", peer.name, peer.cpu_ms, times=10))
        for clients in (1, CLIENTS):
            for name in ("p50_ms", "p99_ms"):
                added = [getattr(side[clients], name) - getattr(floor[clients], name) for side in (ours, peer.at)]
                what = f"added {name[:3]}, {clients} client{'s' * (clients > 1)}"
                rows.append(Row(what, added[0], "ms", peer.name, added[1], times=10))
    return rows


def stream_rows(found: Findings) -> list[Row]:
    if not found.antiphon.streams:
        return []
    floor, rows = found.direct, []
    peer = next((side for side in found.peers if side.streams), None)
    for clients in found.antiphon.streams:
        for what, read, share in STREAM_FIGURES:
            added = read(found.antiphon, clients, share) - read(floor, clients, share)
            other = read(peer, clients, share) - read(floor, clients, share) if peer else None
            name = f"streams of 200 tokens/s, {clients} at a time: added {what}, p{share * 100:.0f}"
            rows.append(Row(name, added, "ms", peer.name if peer else "", other))
    return rows


def fan_rows(fan: Fan | None, burst: Fan | None) -> list[Row]:
    if not fan or not burst:
        return []
    who = f"{fan.subscribers:,} subscribers of one run"
    return [
        Row(f"{who}, 10 tokens/s: with every event, the same bytes", fan.complete, "", at_least=fan.subscribers),
        Row(f"{who}, 10 tokens/s: age of a token, p50", fan.age_ms(0.5), "ms"),
        Row(f"{who}, 10 tokens/s: age of a token, p99", fan.age_ms(0.99), "ms"),
        Row(
            f"{who}, {burst.expected} tokens at once: with every event, the same bytes",
            burst.complete, "", at_least=burst.subscribers,
        ),
        Row(f"{who}, {burst.expected} tokens at once: events delivered", burst.deliveries / burst.seconds, "a second"),
        Row("time for all of them to subscribe", fan.subscribing, "s", at_most=measures.SUBSCRIBING_TIME),
    ]  # fmt: skip


def resume_rows(seen: Resumed | None) -> list[Row]:
    if not seen:
        return []
    middle, ended = f"running log of {seen.live_events:,} events, resumed from the middle", seen.ended[0].events
    over = f"ended log of {measures.LOG_LENGTH:,} tokens, from the start ({ended:,} events)"
    return [
        Row(f"{middle}: first byte", seen.median([s.first_byte for s in seen.middle]) * 1e3, "ms", at_most=20),
        Row(f"{middle}: whole", seen.median([s.ended for s in seen.middle]) * 1e3, "ms"),
        Row(f"{over}: first byte", seen.median([s.first_byte for s in seen.ended]) * 1e3, "ms", at_most=20),
        Row(f"{over}: whole", seen.median([s.ended for s in seen.ended]) * 1e3, "ms"),
    ]


def process_rows(found: Findings) -> list[Row]:
    # The last peer's figures: both doors belong to one process, weighed after all its load.
    ours, peer = found.antiphon, found.peers[-1] if found.peers else Side("")

    def row(what: str, value: float, unit: str, other: float, most: float | None) -> Row:
        return Row(what, value, unit, "LiteLLM" if other else "", other or None, at_most=most)

    rows = [
        row("memory, idle", ours.idle, "MB", peer.idle, 100),
        row("memory after the creates", ours.loaded, "MB", peer.loaded, 100),
        row("memory after everything in this run", found.after_all, "MB", 0, None),
        row("start to first answer, no model to load", ours.start, "s", peer.start, 1),
    ]
    return [measured for measured in rows if measured.value]


def write_up(found: Findings) -> str:
    rows = create_rows(found) + stream_rows(found) + fan_rows(found.fan, found.burst)
    rows += resume_rows(found.resumed) + process_rows(found)
    notes = NOTES.format(
        server_core=f"core {servers.SERVER_CORE}",
        load_cores=f"cores {servers.LOAD_CORES}" if "," in servers.LOAD_CORES else f"core {servers.LOAD_CORES}",
        clients=CLIENTS,
        filesystem=filesystem(Path(tempfile.gettempdir())),
        near_antiphon=found.near_antiphon,
        near_litellm=found.near_litellm,
        flush=figure(found.flush),
    )
    return f"{sides_table(found)}\n\n{rows_table(rows)}\n\n{notes}"


def prepare() -> None:
    """Before anything starts, so that the servers inherit the limit and not the core."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {int(core) for core in servers.LOAD_CORES.split(",")})
    gc.disable()  # a collection in the load generator would be a slow answer of the server's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter and rougher; writes nothing")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given several times; writes nothing")
    parser.add_argument("--noisy", action="store_true", help="write the page even if other work disturbed the run")
    chosen = parser.parse_args()
    prepare()
    found = measure(set(chosen.only or PARTS), QUICK if chosen.quick else FULL)
    text = write_up(found)
    print(text)
    if found.noisy:
        say(f"NOISY: other work took {found.near_antiphon:.0%} and {found.near_litellm:.0%} of the machine.")
    if not chosen.quick and not chosen.only and (chosen.noisy or not found.noisy):
        publish("mock", "The server itself, over a mock model", COMMAND, text)


if __name__ == "__main__":
    main()
