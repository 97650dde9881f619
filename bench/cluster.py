"""A cluster on this machine: live events between servers, many streams, many subscribers, sustained load, takeovers.

    python -m bench.cluster                  all of it, fifteen minutes; writes its section of docs/performance.md
    python -m bench.cluster --minutes 2      a shorter sustained load
    python -m bench.cluster --quick          shorter and rougher, writes nothing
    python -m bench.cluster --only between   one or more of: between concurrent fan slow rates takeover sustained

PostgreSQL, NATS, two api servers, two workers, the mock model and the load generator share the machine's cores.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from cluster.machines import Cluster
from torture.processes import Server

from bench import cluster_measures as measures
from bench import servers
from bench.cluster_measures import Rates, Slow, Sustained, milliseconds
from bench.load import Streamed
from bench.report import Row, figure, filesystem, publish, rows_table, table

COMMAND = "python -m bench.cluster"
PARTS = ("between", "concurrent", "fan", "slow", "rates", "takeover", "sustained")
NOTES = """\
- Two api servers, two workers, PostgreSQL ({filesystem}, `fsync` on), NATS with JetStream, the mock model and the load
  generator share {cores} cores: on machines of their own none of them waits for the others.
- The age of a token is the time from the mock's writing it to the client's reading it. In between a worker reads it,
  keeps it in PostgreSQL together with what else comes within 30 ms, and tells NATS; an api server sends it on.
- PostgreSQL and all other work on the machine took {near:.0%} of its processor time meanwhile.
"""


@dataclass
class Findings:
    """What was seen."""

    between: list[float] = field(default_factory=list)
    nats: list[float] = field(default_factory=list)
    commit_ms: float = 0.0
    commits: float = 0.0
    sqlite_commits: float = 0.0
    concurrent: list[Streamed] = field(default_factory=list)
    opened: float = 0.0
    fan: list[Streamed] = field(default_factory=list)
    slow: Slow | None = None
    rates: list[Rates] = field(default_factory=list)
    takeovers: list[float] = field(default_factory=list)
    sustained: Sustained | None = None
    near: float = 0.0


@dataclass(frozen=True)
class Effort:
    """How long everything takes."""

    runs: int
    streams: int
    subscribers: int
    readers: int
    seconds: float
    kills: int


FULL = Effort(runs=8, streams=500, subscribers=1000, readers=100, seconds=5, kills=4)
QUICK = Effort(runs=1, streams=100, subscribers=200, readers=20, seconds=1.5, kills=1)


def say(text: str) -> None:
    """Progress, beside the report."""
    print(text, file=sys.stderr, flush=True)


def arguments_of(port: int) -> list[str]:
    """Every server's: the mock behind each of the names."""
    model = f"http://127.0.0.1:{port}/v1#"
    return [f"--model={name}{'=' * bool(name)}{model}{how}" for name, how in measures.UPSTREAMS.items()]


async def of_cluster(found: Findings, port: int, parts: set[str], effort: Effort, minutes: float) -> None:
    """Everything that needs a cluster."""
    async with Cluster([*arguments_of(port), "--slots", "512", "--log-level", "warning"]) as cluster:
        ports = [server.port for server in cluster.apis]
        found.nats = await measures.nats_floor(cluster.nats.url)
        found.commits, found.commit_ms = await measures.postgres_floor(cluster.database, effort.seconds)
        if "between" in parts:
            say("one run at a time, asked for at one server, worked by another, followed at a third")
            found.between = await measures.between(ports[0], ports[1], effort.runs)
        if "concurrent" in parts:
            say(f"{effort.streams} streams at once")
            found.concurrent, found.opened = await measures.concurrent(ports, effort.streams)
        if "fan" in parts:
            say(f"{effort.subscribers} subscribers of one run")
            found.fan = await measures.fan_out(ports, effort.subscribers)
        if "slow" in parts:
            say(f"{effort.readers} readers that do not read")
            api = cluster.apis[0]
            found.slow = await measures.slow_readers(api.port, api.pid, effort.readers)
        if "rates" in parts:
            say("requests and events a second: the cluster")
            found.rates.append(await measures.rates("the cluster", ports, effort.seconds))
        if "takeover" in parts:
            await takeovers(found, cluster, ports, effort)
        if "sustained" in parts:
            say(f"mixed load for {minutes:g} minutes")
            pids = {server.name: server.pid for server in cluster.servers}
            found.sustained = await measures.sustained(ports, pids, minutes * 60)


async def takeovers(found: Findings, cluster: Cluster, ports: list[int], effort: Effort) -> None:
    """Kill one worker after the other, each time with runs under way."""
    for turn in range(effort.kills):
        worker = cluster.workers[turn % len(cluster.workers)]
        say(f"kill -9 {worker.name}")
        found.takeovers += await measures.takeover(ports[0], ports[1], worker.kill)
        await worker.start()


@asynccontextmanager
async def one_server(name: str, arguments: list[str], folder: Path) -> AsyncIterator[list[int]]:
    """A server by itself, with the database of that name."""
    with ExitStack() as stack:
        if name == "PostgreSQL":
            sys.path.append(str(servers.ROOT / "tests"))
            from postgres import cluster

            arguments = [*arguments, "--database", stack.enter_context(cluster()).database()]
        command = [sys.executable, "-m", "antiphon", "serve", "--data", str(folder / "data"), *arguments]
        server = Server("one", "all", command, {}, folder / "log")
        await server.start()
        try:
            yield [server.port]
        finally:
            await server.kill()


async def of_one(found: Findings, port: int, effort: Effort) -> None:
    """One server, first with SQLite, then with PostgreSQL."""
    for name in ("SQLite", "PostgreSQL"):
        say(f"requests and events a second: one server with {name}")
        with tempfile.TemporaryDirectory() as folder:
            if name == "SQLite":
                found.sqlite_commits = measures.sqlite_floor(Path(folder), effort.seconds)
            async with one_server(name, arguments_of(port), Path(folder)) as ports:
                found.rates.append(await measures.rates(f"one server, {name}", ports, effort.seconds))


def rows(found: Findings) -> list[Row]:
    """Each figure with its aim."""
    lines: list[Row] = []
    if found.between:
        floor = milliseconds(found.nats, 0.5) + found.commit_ms
        median = milliseconds(found.between, 0.5)
        beside = "a commit and a message of NATS alone"
        lines.append(Row("age of a token at another server, p50", median, "ms", beside, floor, at_most=50))
        lines.append(Row("age of a token at another server, p99", milliseconds(found.between, 0.99), "ms"))
    for name, seen in (("streams at once", found.concurrent), ("subscribers of one run", found.fan)):
        if seen:
            ages = [age for stream in seen for age in stream.ages]
            lines.append(Row(f"{len(seen)} {name}: tokens a second", len(ages) / max(s.ended for s in seen), "/s"))
            for share in (0.5, 0.99):
                lines.append(Row(f"{len(seen)} {name}: age p{share * 100:.0f}", milliseconds(ages, share), "ms"))
    if found.slow:
        slow = found.slow
        what = f"memory for {slow.readers} readers that do not read {slow.size:.1f} MB"
        all_of_it = slow.readers * slow.size
        lines.append(Row(what, slow.most - slow.before, "MB", "all of it in memory", all_of_it, at_most=64))
    if found.takeovers:
        for name, value in (("p50", milliseconds(found.takeovers, 0.5)), ("max", max(found.takeovers) * 1e3)):
            lines.append(Row(f"takeover after kill -9, {name}, of {len(found.takeovers)}", value, "ms", at_most=10_000))
    if found.sustained:
        lines += sustained_rows(found.sustained)
    return lines


def sustained_rows(seen: Sustained) -> list[Row]:
    """Memory must not grow."""
    lines = [
        Row(f"mixed load for {seen.seconds / 60:.1f} minutes: answered", seen.requests / seen.seconds, "/s"),
        Row("mixed load: failures", seen.failures, "", at_most=0),
    ]
    for name, weights in seen.memory.items():
        grown = f"mixed load: growth of {name} (of {weights[-1][1]:.0f} MB)"
        lines.append(Row(grown, seen.slope(name), "MB/min", at_most=1.0))
    return lines


def rates_table(found: Findings) -> str:
    """Requests and events a second of each deployment, beside what its database could do alone."""
    titles = ["", "stored creates /s", "p50 / p99 ms", "events persisted /s", "commits of the database alone /s"]
    floors = {"one server, SQLite": found.sqlite_commits}
    lines = [
        [
            seen.name,
            figure(seen.requests),
            f"{figure(seen.p50_ms)} / {figure(seen.p99_ms)}",
            figure(seen.events),
            figure(floors.get(seen.name, found.commits)),
        ]
        for seen in found.rates
    ]
    return table(titles, lines)


def report(found: Findings) -> str:
    """The section."""
    where = Path(tempfile.gettempdir())
    notes = NOTES.format(filesystem=filesystem(where), cores=os.cpu_count(), near=found.near)
    parts = [rows_table(rows(found)), rates_table(found) if found.rates else "", notes]
    return "\n\n".join(filter(None, parts))


def main() -> None:
    """Measure, print, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of sustained load (default: 10)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART")
    chosen = parser.parse_args()
    parts = set(chosen.only or PARTS)
    effort = QUICK if chosen.quick else FULL
    minutes = min(chosen.minutes, 0.3) if chosen.quick else chosen.minutes
    found = Findings()
    near = servers.Neighbours()
    gc.freeze()
    with servers.mock() as upstream:
        if "rates" in parts:
            uvloop.run(of_one(found, upstream.port, effort))
        uvloop.run(of_cluster(found, upstream.port, parts, effort, minutes))
    found.near = near.share()
    print(report(found))
    if not chosen.quick and not chosen.only:
        publish("cluster", "A cluster on one machine", COMMAND, report(found))


if __name__ == "__main__":
    main()
