"""The indexes of the stores, a file each, a few of them open."""

from __future__ import annotations

import asyncio
from pathlib import Path

from antiphon.index.collection import Index
from antiphon.index.embedders import Embedder

_OPEN = 32


class Indexes:
    """Indexes below `folder`. One that is not used for long is closed, and opened again when it is asked."""

    def __init__(self, folder: Path, embedder: Embedder | None) -> None:
        self._folder = folder
        self.embedder = embedder
        self._known: dict[str, Index] = {}  # the last used is the last

    def of(self, store: str) -> Index:
        """The index of a store."""
        index = self._known.pop(store, None) or Index(self._path(store), self.embedder)
        self._known[store] = index
        return index

    async def trim(self) -> None:
        """Close what was not used for the longest, where many are open."""
        while len(self._known) > _OPEN:
            store = next(iter(self._known))
            await self._known.pop(store).aclose()

    async def erase(self, store: str) -> None:
        """The index of a store that is gone goes from the disk."""
        await self.of(store).aclose()
        self._known.pop(store, None)
        for ending in ("", "-wal", "-shm"):
            await asyncio.to_thread(self._path(store).with_suffix(f".db{ending}").unlink, missing_ok=True)

    def kept(self) -> set[str]:
        """The stores that there is an index of on the disk. For a thread."""
        return {path.stem for path in self._folder.glob("*.db")}

    async def aclose(self) -> None:
        """Close all."""
        for index in self._known.values():
            await index.aclose()
        if self.embedder is not None:
            await self.embedder.aclose()

    def _path(self, store: str) -> Path:
        return self._folder / f"{store}.db"
