"""Writes that arrive together go to the database together: one statement, one commit, one wait for the disk.

While a batch is being written the next one gathers, so batches grow with the load and a single write waits for nobody.
This file knows no SQL and no connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

W = TypeVar("W")
R = TypeVar("R")

_MOST = 256  # writes in a batch
_HEAVIEST = 4 * 2**20  # bytes of a batch: what waits behind a longer one would wait too long


class _Batch(Generic[W, R]):
    """What is written together. Once `sealed` it takes no more."""

    def __init__(self) -> None:
        self.items: list[W] = []
        self.keys: set[str] = set()
        self.weight = 0
        self.sealed = False
        self.task: asyncio.Task[list[R]]

    def takes(self, key: str, weight: int) -> bool:
        return (
            not self.sealed
            and key not in self.keys
            and len(self.items) < _MOST
            and (not self.items or self.weight + weight <= _HEAVIEST)
        )


class Lane(Generic[W, R]):
    """Hands batches of writes to `commit`, one after the other; it answers with an outcome for each, or raises for all.

    Two writes of the same key are never in one batch, and are written in the order in which they came.
    """

    def __init__(self, commit: Callable[[list[W]], Awaitable[list[R]]]) -> None:
        self._commit = commit
        self._newest: _Batch[W, R] | None = None

    async def write(self, key: str, item: W, weight: int) -> R:
        """What came of it. Who stops waiting does not stop the write."""
        batch = self._newest
        if batch is None or not batch.takes(key, weight):
            before, batch = batch, _Batch()
            batch.task = asyncio.create_task(self._run(batch, None if before is None else before.task))
            self._newest = batch
        place = len(batch.items)
        batch.items.append(item)
        batch.keys.add(key)
        batch.weight += weight
        return (await asyncio.shield(batch.task))[place]

    async def _run(self, batch: _Batch[W, R], before: asyncio.Task[list[R]] | None) -> list[R]:
        if before is not None:
            await asyncio.wait([before])
        batch.sealed = True
        try:
            return await self._commit(batch.items)
        finally:
            if self._newest is batch:
                self._newest = None

    async def settle(self) -> None:
        """Wait until all that was handed over so far has been written or refused."""
        if self._newest is not None:
            await asyncio.wait([self._newest.task])
