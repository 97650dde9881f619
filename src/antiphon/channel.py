"""The live end of a run: its frames where it runs, and what is heard of them elsewhere; with a wake-up for followers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from antiphon import log
from antiphon.ports import Segment

_RING = 256  # segments kept for followers that are a little behind
_RING_BYTES = 2**20


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
                if frames := b"".join(_cut(segment, after) for segment in fresh if segment.last > after):
                    yield frames
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


class Tail:
    """What was heard of a run elsewhere: the latest segments, for all its followers here; None where one must look."""

    def __init__(self) -> None:
        self.followers = 0
        self.heard = 0  # the number of the last event that followers have been told of, one way or another
        self.ended = False
        self.subscription: Any = None
        self.subscribing = asyncio.Lock()
        self._ring: deque[Segment | None] = deque()
        self._bytes = 0
        self._first = 0  # the place of the ring's first entry
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def next(self) -> int:
        """The place of what is heard next."""
        return self._first + len(self._ring)

    def at(self, place: int) -> Segment | None:
        """What was heard at a place; None, too, where that is no longer known."""
        return self._ring[place - self._first] if place >= self._first else None

    def hear(self, segment: Segment | None) -> None:
        """Keep one more, and wake the followers."""
        if segment is not None:
            self.heard = max(self.heard, segment.last)
            self._bytes += len(segment.frames)
        self._ring.append(segment)
        while len(self._ring) > _RING or (self._bytes > _RING_BYTES and len(self._ring) > 1):
            oldest = self._ring.popleft()
            self._first += 1
            self._bytes -= len(oldest.frames) if oldest is not None else 0
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def more(self) -> None:
        """Wait until something is heard."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            if future in self._waiting:
                self._waiting.remove(future)
