"""Whatever is done to them, and in whatever order, all stores give the same answers."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from antiphon import app, log, wire
from antiphon.blobs.memory import MemoryBlobs
from antiphon.ports import Fenced, Record, Segment, Store, Stored
from antiphon.stores.apart import Apart
from records import STORES, WHOLE, Clock, ending, opening, record, segment, words

which = st.integers(0, 4)  # one of the interactions made so far, counted from the last
operations = st.lists(
    st.one_of(
        st.tuples(
            st.just("create"), st.none() | which, st.sampled_from(["in_progress", "completed"]), st.integers(1, 300)
        ),
        st.tuples(st.just("append"), which, st.integers(-1, 0), st.booleans()),
        st.tuples(st.just("claim"), which),
        st.tuples(st.just("release"), which, st.integers(-1, 0)),
        st.tuples(st.just("delete"), which, st.sampled_from(["p", "q"])),
        st.tuples(st.just("bring_in"), which, st.booleans()),
        st.tuples(st.just("sweep"), st.integers(0, 120), st.integers(0, 120)),
        st.tuples(st.just("page"), st.none() | which, st.integers(1, 5)),
    ),
    max_size=30,
)


def reading(stored: Stored | None) -> Any:
    """What two stores must agree on; when they compact is their own business."""
    if stored is None:
        return None
    seen = log.fold(log.decode(stored.frames))
    return (stored.record, stored.status, stored.updated, stored.attempt, stored.hidden, seen)


class History:
    """What has been done so far, to fill in the next operation."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.made: list[Record] = []
        self.last: dict[str, int] = {}
        self.attempts: dict[str, int] = {}

    def one(self, place: int | None) -> Record | None:
        return None if place is None or not self.made else self.made[-1 - place % len(self.made)]

    def fresh(self, parent: Record | None, lives: float) -> Record:
        made = record(parent, expires=self.clock.now + lives)
        self.made.append(made)
        self.attempts[made.id] = 1
        return made

    def next(self, id: str, ends: bool) -> Segment:
        last = self.last.get(id, 0)
        events = [*(opening(id) if last == 0 else words("a", "b")), *(ending(id) if ends else ())]
        return segment(last + 1, *events)


async def answers(stores: list[Store], operation: tuple[Any, ...], past: History) -> list[Any]:
    """What each store says to one operation; then, beside it, how each of the interactions stands."""
    name, *values = operation
    if name == "create":
        parent, status, lives = values
        made = past.fresh(past.one(parent), lives)
        piece = WHOLE if status == "completed" else None
        past.last[made.id] = piece.last if piece is not None else 0
        return [await store.create(made, status, piece) for store in stores]
    if name == "sweep":
        past.clock.now += values[0]
        for store in stores:
            await store.sweep(past.clock.now, past.clock.now - values[1])
        return []
    if name == "page":
        before = past.one(values[0])
        pages = [await store.page("p", before.id if before else None, values[1]) for store in stores]
        return [[reading(stored) for stored in page] for page in pages]
    if not past.made:
        return []
    return await answers_about(stores, name, past.one(values[0]) or past.made[0], values[1:], past)


async def answers_about(stores: list[Store], name: str, one: Record, values: list[Any], past: History) -> list[Any]:
    attempt = past.attempts[one.id] + (values[0] if values and name in ("append", "release") else 0)
    if name == "append":
        piece = past.next(one.id, values[1])
        done = [await outcome(store.append(one.id, attempt, status_of(values[1]), piece)) for store in stores]
        if done[0] is None:
            past.last[one.id] = piece.last
        return done
    if name == "claim":
        claims = [reading(await store.claim(one.id)) for store in stores]
        past.attempts[one.id] += claims[0] is not None
        return claims
    if name == "release":
        for store in stores:
            await store.release(one.id, attempt)
        return []
    if name == "delete":
        return [await store.delete(values[0], one.id) for store in stores]
    stranger = past.fresh(None, 300)
    following = record(stranger, id=one.id) if values[0] else past.fresh(stranger, 300)
    chain = [Stored(each, "completed", past.clock.now, 1, WHOLE.frames) for each in (stranger, following)]
    return [await outcome(store.bring_in([msgspec.structs.replace(each) for each in chain])) for store in stores]


def status_of(ended: bool) -> wire.InteractionStatus:
    return "completed" if ended else "in_progress"


async def outcome(doing: Any) -> Any:
    try:
        return await doing
    except (Fenced, wire.AlreadyExists) as refusal:
        return type(refusal)


async def standing(store: Store, past: History) -> Any:
    each = [
        (
            await store.exists(made.id),
            reading(await store.get("p", made.id)),
            [reading(stored) for stored in await store.lineage("p", made.id)],
        )
        for made in past.made
    ]
    return each, await store.unfinished()


# Nobody may go on with what is deleted, though it is still there as another's past.
HIDDEN_UNDER_WAY: list[tuple[Any, ...]] = [
    ("create", None, "in_progress", 100),
    ("create", 0, "completed", 100),
    ("delete", 1, "p"),
    ("append", 1, 0, False),
    ("claim", 1),
    ("append", 1, 0, True),
    ("delete", 0, "p"),
]
numbers = itertools.count()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(done=operations)
@example(done=HIDDEN_UNDER_WAY)
def test_stores_cannot_be_told_apart(database: str, tmp_path: Path, done: list[tuple[Any, ...]]) -> None:
    async def body() -> None:
        past = History(Clock())
        places = {"memory": (), "sqlite": (tmp_path / f"{next(numbers)}.db",), "postgres": (database,)}
        async with AsyncExitStack() as stack:
            stores: list[Store] = []
            for name, place in places.items():
                stores.append(app.load(STORES, "stores", name)(*place, past.clock))
                stack.push_async_callback(stores[-1].aclose)
            blobs = MemoryBlobs(past.clock)
            stores.append(Apart(app.load(STORES, "stores", "memory")(past.clock), blobs, least=1))
            await stores[2].secret()
            connection = await asyncpg.connect(database)
            await connection.execute("TRUNCATE antiphon.interaction CASCADE")
            await connection.close()
            for operation in done:
                said = await answers(stores, operation, past)
                assert all(answer == said[0] for answer in said), operation
                how = [await standing(store, past) for store in stores]
                assert all(each == how[0] for each in how), operation
                there = [made.id for made in past.made if await stores[-1].exists(made.id)]
                assert await blobs.owners("", past.clock.now) == sorted(there), (
                    "bytes go with their rows, and not before"
                )

    asyncio.run(body())
