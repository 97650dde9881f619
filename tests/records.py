"""Interactions as stores are given them, the clock that stores are given, and where each store keeps its things."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon import app, log, wire
from antiphon.blobs.disk import DiskBlobs
from antiphon.blobs.memory import MemoryBlobs
from antiphon.ports import Record, Segment, Store
from antiphon.stores.apart import Apart
from antiphon.stores.memory import MemoryStore
from antiphon.stores.sqlite import SqliteStore


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


counter = itertools.count()
PICTURE = wire.ImageContent(data=base64.b64encode(bytes(150)).decode(), mime_type="image/png")


def record(previous: Record | None = None, **fields: Any) -> Record:
    id = f"v1_{next(counter):012d}"
    values: dict[str, Any] = {
        "id": id,
        "project": "p",
        "conversation": previous.conversation if previous else id,
        "created": 1_800_000_000.0,
        "expires": 1_800_000_100.0,
        "model": "m",
        "target": "m",
        "input": [wire.UserInputStep(content=[wire.TextContent(text="hi"), PICTURE])],
        "request": wire.CreateInteraction(model="m"),
        "previous_interaction_id": previous.id if previous else None,
    }
    return Record(**(values | fields))


def segment(first: int, *events: wire.InteractionEvent) -> Segment:
    frames = b"".join(log.encode(event, seq) for seq, event in enumerate(events, first))
    return Segment(first, first + len(events) - 1, frames)


def opening(id: str = "v1_x") -> list[wire.InteractionEvent]:
    shown = wire.StreamInteraction(id=id, status="in_progress")
    return [wire.InteractionCreated(interaction=shown), wire.StepStart(index=0, step=wire.ModelOutputStep())]


def words(*texts: str) -> list[wire.InteractionEvent]:
    return [wire.StepDelta(index=0, delta=wire.TextDelta(text=text)) for text in texts]


def ending(id: str = "v1_x") -> list[wire.InteractionEvent]:
    shown = wire.StreamInteraction(id=id, status="completed")
    return [wire.StepStop(index=0), wire.InteractionCompleted(interaction=shown)]


def memory_apart(clock: Clock) -> Store:
    """A store whose media are kept apart, down to the smallest."""
    return Apart(MemoryStore(clock), MemoryBlobs(clock), least=1)


def sqlite_apart(path: Path, clock: Clock) -> Store:
    """The same with a file, and a folder beside it."""
    return Apart(SqliteStore(path, clock), DiskBlobs(path.with_suffix(".blobs"), clock), least=1)


WHOLE = segment(1, *opening(), *words("a", "b"), *ending())


# What each store is made with beside its clock: a line for every row of `app.STORES`.
PLACES: dict[str, Callable[[pytest.FixtureRequest], tuple[Any, ...]]] = {
    "memory": lambda request: (),
    "sqlite": lambda request: (request.getfixturevalue("tmp_path") / "a.db",),
    "postgres": lambda request: (request.getfixturevalue("database"),),
    "memory-apart": lambda request: (),
    "sqlite-apart": lambda request: (request.getfixturevalue("tmp_path") / "a.db",),
}
STORES = {
    "postgres": "antiphon.stores.postgres:PostgresStore",
    "memory-apart": "records:memory_apart",
    "sqlite-apart": "records:sqlite_apart",
} | app.STORES
Use = Callable[[Callable[[Store, Clock], Awaitable[None]]], None]
