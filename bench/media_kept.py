"""What it costs to keep media apart from the rows: the same store with and without, one after the other, in turns.

    python -m bench.media_kept                  SQLite and a folder, PostgreSQL and its tables
    python -m bench.media_kept --write          the figures into docs/performance.md

A picture is 1 MiB of random bytes, another for each interaction unless it says "the same". Both flush to the disk before a
call returns.
"""

from __future__ import annotations

import argparse
import base64
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from antiphon import app, wire
from antiphon.blobs import Depot, make
from antiphon.ports import Record, Store
from antiphon.stores.apart import Apart
from bench import stores
from bench.report import publish
from bench.stores import ending, opening, own_postgres, segment, words

SIZE = 2**20  # bytes of a picture
TURNS = 8
Two = tuple[list[float], list[float]]


def record(picture: bytes | None, previous: Record | None = None) -> Record:
    if picture is None:
        return stores.record(previous)
    shown = wire.ImageContent(data=base64.b64encode(picture).decode(), mime_type="image/png")
    return stores.record(previous, shown)


async def took(store: Store, made: list[Record]) -> list[float]:
    """Milliseconds of each create."""
    times = []
    for each in made:
        whole = segment(1, *opening(each.id), *words(5), *ending(each.id))
        began = time.perf_counter()
        await store.create(each, "completed", whole)
        times.append((time.perf_counter() - began) * 1000)
    return times


async def conversation(store: Store) -> str:
    previous = None
    for _ in range(TURNS):
        previous = record(os.urandom(SIZE), previous)
        await took(store, [previous])
    assert previous is not None
    return previous.id


async def read(store: Store, id: str) -> float:
    began = time.perf_counter()
    assert len(await store.lineage("default", id)) == TURNS
    return (time.perf_counter() - began) * 1000


async def rows(plain: Store, apart: Store, name: str) -> list[str]:
    same = os.urandom(SIZE)
    kinds: dict[str, Callable[[], list[Record]]] = {
        "a create without media": lambda: [record(None) for _ in range(50)],
        "a create with a picture": lambda: [record(os.urandom(SIZE)) for _ in range(5)],
        "a create with the same picture": lambda: [record(same) for _ in range(5)],
    }
    said = []
    for what, make_some in kinds.items():
        found: tuple[list[float], list[float]] = ([], [])
        work: tuple[list[float], list[float]] = ([], [])
        for _ in range(6):
            for place, store in enumerate((plain, apart)):
                made, began = make_some(), time.process_time()
                found[place].extend(await took(store, made))
                work[place].append((time.process_time() - began) / len(made) * 1000)
        said.append(_row(name, what, found, work))
    there = [await conversation(store) for store in (plain, apart)]
    found, work = ([], []), ([], [])
    for _ in range(8):
        for place, store in enumerate((plain, apart)):
            began = time.process_time()
            found[place].append(await read(store, there[place]))
            work[place].append((time.process_time() - began) * 1000)
    said.append(_row(name, f"a conversation of {TURNS} pictures read", found, work))
    return said


def _row(name: str, what: str, found: Two, work: Two) -> str:
    plain, apart = map(statistics.median, found)
    one, other = map(statistics.median, work)
    return f"| {name} | {what} | {plain:.2f} | {apart:.2f} | {one:.2f} | {other:.2f} |"


async def measure(url: str) -> str:
    lines = [
        "| store | what | in the row, ms | apart, ms | in the row, ms of the processor | apart, ms of the processor |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        pairs: list[tuple[str, Store, Any, Depot]] = [
            ("SQLite, folder", _sqlite(here / "plain.db"), _sqlite(here / "apart.db"), make(str(here / "media"))),
            ("PostgreSQL, its tables", _postgres(url), _postgres(url), make("postgres", database=url)),
        ]
        for name, plain, inner, blobs in pairs:
            apart = Apart(inner, blobs)
            lines += await rows(plain, apart, name)
            for each in (plain, apart, blobs):
                await each.aclose()
        for file in ("plain.db", "apart.db"):
            sizes.append((here / file).stat().st_size / 2**20)
        media = sum(path.stat().st_size for path in (here / "media").glob("??/*")) / 2**20
    note = (
        "Medians, of creates one after the other and of 8 reads; the processor's time is that of this process, in which\n"
        "SQLite is and PostgreSQL is not. Where 68 interactions had 39 different pictures of 1 MiB each, SQLite's file had\n"
        f"{sizes[0]:.0f} MiB with them and {sizes[1]:.1f} MiB without; the folder had {media:.0f} MiB.\n"
        f"The machine's load was {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores meanwhile."
    )
    return "\n".join(lines) + "\n\n" + note


def _sqlite(path: Path) -> Any:
    return app.load(app.STORES, "stores", "sqlite")(path)


def _postgres(url: str) -> Any:
    return app.load(app.STORES, "stores", "postgres")(url)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the figures to docs/performance.md")
    given = parser.parse_args()
    with own_postgres() as url:
        body = uvloop.run(measure(url))
    print(body)
    if given.write:
        publish("media_kept", "Media apart from the rows", "python -m bench.media_kept", body)


if __name__ == "__main__":
    main()
