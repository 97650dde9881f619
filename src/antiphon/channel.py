"""The live end of a run within its own process: its frames in a list, and a wake-up for whoever follows them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from antiphon import log
from antiphon.ports import Segment


class LocalChannel:
    """One run's frames, kept while it is under way. A reader that is slow costs its place in the list, no copy."""

    def __init__(self, earlier: Segment | None) -> None:
        self._segments: list[Segment] = [] if earlier is None else [earlier]
        self._waiting: list[asyncio.Future[None]] = []
        self._closed = False
        self._ended = False

    def publish(self, segment: Segment) -> None:
        """Tell the followers."""
        self._segments.append(segment)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def follow(self, after: int) -> AsyncIterator[bytes]:
        """Frames after number `after`, as many at a time as there are, until the run ends; then `log.DONE`."""
        place = 0
        while True:
            fresh = self._segments[place:]
            if fresh:
                place += len(fresh)
                yield b"".join(_cut(segment, after) for segment in fresh if segment.last > after)
            elif self._closed:
                if self._ended:
                    yield log.DONE
                return
            else:
                future = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
                try:
                    await future
                finally:  # a follower that leaves is not waited for
                    if future in self._waiting:
                        self._waiting.remove(future)

    def close(self, *, ended: bool = False) -> None:
        """No more will come; followers end when they have read what there is."""
        self._ended = self._ended or (ended and not self._closed)
        self._closed = True
        self._wake()


def _cut(segment: Segment, after: int) -> bytes:
    if segment.first > after:
        return segment.frames
    return b"".join(log.split(segment.frames)[after - segment.last :])
