"""What stores keep in a second: SQLite and PostgreSQL, by the same loop, in one process.

    python -m bench.stores                          SQLite beside a PostgreSQL that is started for it, on the same disk
    python -m bench.stores --database postgresql://…    beside that one, whose data stays where it is: give it an empty one
    python -m bench.stores --seconds 5              how long each figure is measured (2)

Both flush to the disk before a call returns. The loop, the driver and (with SQLite) the database share one process; a
PostgreSQL on the same machine shares its cores too.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvloop

from antiphon import app, ids, log, wire
from antiphon.ports import Record, Segment, Store
from bench.load import quantile
from bench.servers import ROOT

CLIENTS = (1, 16, 64, 256)
EVENTS = 10  # in an append: what a model says within 30 ms, when it is fast
TURNS = 8  # of the conversation that is read
Doing = Callable[[Store], Awaitable[int]]


@contextmanager
def own_postgres() -> Iterator[str]:
    """A database in a cluster that lives as long as the block."""
    sys.path.insert(0, str(ROOT / "tests"))
    from postgres import cluster

    with cluster() as started:
        yield started.database()


def record(previous: Record | None = None, *more: wire.Content) -> Record:
    now = time.time()
    id = ids.interaction_id(now)
    return Record(
        id=id,
        project="default",
        conversation=previous.conversation if previous else id,
        created=now,
        expires=now + 86400.0,
        model="gemini-3-flash-preview",
        target="starter",
        input=[wire.UserInputStep(content=[wire.TextContent(text="Say hello. " * 20), *more])],
        request=wire.CreateInteraction(model="gemini-3-flash-preview"),
        previous_interaction_id=previous.id if previous else None,
    )


def segment(first: int, *events: wire.InteractionEvent) -> Segment:
    frames = b"".join(log.encode(event, seq) for seq, event in enumerate(events, first))
    return Segment(first, first + len(events) - 1, frames)


def opening(id: str) -> tuple[wire.InteractionEvent, ...]:
    shown = wire.StreamInteraction(id=id, status="in_progress")
    return wire.InteractionCreated(interaction=shown), wire.StepStart(index=0, step=wire.ModelOutputStep())


def words(count: int) -> list[wire.InteractionEvent]:
    return [wire.StepDelta(index=0, delta=wire.TextDelta(text=" word")) for _ in range(count)]


def ending(id: str) -> tuple[wire.InteractionEvent, ...]:
    shown = wire.StreamInteraction(id=id, status="completed")
    return wire.StepStop(index=0), wire.InteractionCompleted(interaction=shown)


# ---------------------------------------------------------------------------------------------------- what is measured


async def create(store: Store) -> int:
    """One stored answer, kept whole, as a request in the foreground ends."""
    made = record()
    await store.create(made, "completed", segment(1, *opening(made.id), *words(1), *ending(made.id)))
    return 1


class Appending:
    """One background run: each call appends what it said within 30 ms."""

    def __init__(self) -> None:
        self._made: Record | None = None
        self._last = 0

    async def __call__(self, store: Store) -> int:
        if self._made is None:
            self._made = record()
            first = segment(1, *opening(self._made.id))
            await store.create(self._made, "in_progress", first)
            self._last = first.last
        piece = segment(self._last + 1, *words(EVENTS))
        await store.append(self._made.id, 1, "in_progress", piece)
        self._last = piece.last
        return EVENTS


class Reading:
    """The past of a conversation, as its next turn needs it."""

    def __init__(self) -> None:
        self._leaf: Record | None = None

    async def __call__(self, store: Store) -> int:
        if self._leaf is None:
            for _ in range(TURNS):
                self._leaf = record(self._leaf)
                whole = segment(1, *opening(self._leaf.id), *words(30), *ending(self._leaf.id))
                await store.create(self._leaf, "completed", whole)
        assert self._leaf is not None
        assert len(await store.lineage("default", self._leaf.id)) == TURNS
        return 1


WORK: dict[str, tuple[str, Callable[[], Doing]]] = {
    "creates": ("a second", lambda: create),
    "events appended": ("a second", Appending),
    f"conversations of {TURNS} turns read": ("a second", Reading),
}


async def measure(store: Store, make: Callable[[], Doing], clients: int, seconds: float) -> tuple[float, float]:
    """How much was done in a second by so many at once, and the median time of one call in milliseconds."""
    took: list[float] = []
    doings = [make() for _ in range(clients)]
    await asyncio.gather(*(doing(store) for doing in doings))  # what is made once is made
    gc.collect()
    done, began = 0, time.perf_counter()

    async def client(doing: Doing) -> None:
        nonlocal done
        now = time.perf_counter()
        while now - began < seconds:
            count = await doing(store)
            done += count  # not in one line: others count while this one waits
            before, now = now, time.perf_counter()
            took.append(now - before)

    await asyncio.gather(*(client(doing) for doing in doings))
    return done / (time.perf_counter() - began), quantile(took, 0.5) * 1e3


async def all_of(make: Callable[[], Store], seconds: float) -> dict[tuple[str, int], tuple[float, float]]:
    store = make()
    try:
        await store.secret()
        return {
            (what, clients): await measure(store, work, clients, seconds)
            for what, (_, work) in WORK.items()
            for clients in CLIENTS
        }
    finally:
        await store.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", help="a PostgreSQL to measure instead of one that is started for it")
    parser.add_argument("--seconds", type=float, default=2.0)
    chosen = parser.parse_args()
    tables = {"postgres": "antiphon.stores.postgres:PostgresStore"} | app.STORES
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = chosen.database or stack.enter_context(own_postgres())
        sqlite = uvloop.run(all_of(lambda: app.load(tables, "stores", "sqlite")(folder / "a.db"), chosen.seconds))
        postgres = uvloop.run(all_of(lambda: app.load(tables, "stores", "postgres")(url), chosen.seconds))
    print("| what | at once | SQLite /s | PostgreSQL /s | ratio | SQLite ms | PostgreSQL ms |")
    print("|---|---|---|---|---|---|---|")
    for (what, clients), (rate, median) in sqlite.items():
        other, slower = postgres[what, clients]
        shown = f"{rate:,.0f} | {other:,.0f} | {other / rate:.2f} | {median:.2f} | {slower:.2f}"
        print(f"| {what} | {clients} | {shown} |")


if __name__ == "__main__":
    main()
