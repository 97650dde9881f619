"""A place that forgets everything when the process ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from antiphon.blobs.depot import gone, name_of


class MemoryBlobs:
    """The same promises as the others, over dictionaries."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._bodies: dict[str, bytes] = {}
        self._holds: dict[str, dict[str, float]] = {}  # owner -> name -> since
        self._holders: dict[str, set[str]] = {}

    async def put(self, owner: str, bodies: Sequence[bytes]) -> list[str]:
        names = [name_of(body) for body in bodies]
        self._bodies.update(zip(names, map(bytes, bodies), strict=True))
        self._hold(owner, names)
        return names

    def _hold(self, owner: str, names: Sequence[str]) -> None:
        for name in names:
            self._holds.setdefault(owner, {})[name] = self._clock()
            self._holders.setdefault(name, set()).add(owner)

    async def take(self, owner: str, path: Path) -> str:
        body = await asyncio.to_thread(path.read_bytes)
        await asyncio.to_thread(path.unlink)
        return (await self.put(owner, [body]))[0]

    async def hold(self, owner: str, names: Sequence[str]) -> None:
        for name in names:
            self._body(name)
        self._hold(owner, names)

    def _body(self, name: str) -> bytes:
        if name not in self._bodies:
            raise gone(name)
        return self._bodies[name]

    async def get(self, names: Sequence[str]) -> list[bytes]:
        return [self._body(name) for name in names]

    async def part(self, name: str, first: int, size: int) -> bytes:
        return self._body(name)[first : first + size]

    async def drop(self, owners: Sequence[str]) -> None:
        for owner in owners:
            for name in self._holds.pop(owner, {}):
                self._holders[name].discard(owner)
                if not self._holders[name]:
                    del self._holders[name], self._bodies[name]

    async def owners(self, prefix: str, before: float, after: str = "", size: int = 1000) -> list[str]:
        old = (owner for owner, held in self._holds.items() if max(held.values()) <= before)
        return sorted(owner for owner in old if owner.startswith(prefix) and owner > after)[:size]

    async def aclose(self) -> None:
        self._bodies.clear()
        self._holds.clear()
        self._holders.clear()
