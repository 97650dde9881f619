"""What is read back of interactions: the resource, streams, lists and exports. Nothing is written here.

A run that is under way in this process is in its memory; every other is in the store. Of one that another server runs the
bus brings what is new, and where it may have missed something, the store is read again: it is never behind the bus.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial

from antiphon import log, resource, transfer, wire
from antiphon.ports import Bus, Store, Stored
from antiphon.run import Run, patiently


class Archive:
    """Reads what `store` keeps, what `live` holds by id, and what `bus` brings."""

    def __init__(
        self, store: Store, bus: Bus, live: Mapping[str, Run], beginning: Mapping[str, asyncio.Event] | None = None
    ) -> None:
        self._beginning = beginning if beginning is not None else {}
        self._store = store
        self._bus = bus
        self._live = live
        self._reads: dict[tuple[str, str, int], asyncio.Task[Stored | None]] = {}  # those that have not begun

    async def get(self, project: str, id: str, *, include_input: bool = False) -> wire.Interaction:
        """The resource as it stands, the whole timeline. Raises NotFound."""
        run = self.unkept(project, id)
        if run is not None:
            return resource.interaction(run.record, run.state, run.updated, whole=True, include_input=include_input)
        stored = await self.stored(project, id)
        state = log.fold(log.decode(stored.frames))
        return resource.interaction(stored.record, state, stored.updated, whole=True, include_input=include_input)

    async def follow(self, project: str, id: str, after: int = 0) -> AsyncIterator[bytes]:
        """The frames after number `after`: those there are, then the live ones until the end, then `log.DONE`.

        Raises NotFound, and OutOfRange where `after` is no place to resume from.
        """
        await self._begun(id)
        live = self._live.get(id)
        if live is not None and live.record.store and live.record.project == project:
            if after > live.state.seq:
                raise wire.OutOfRange(f"Event {after} is after the last event of interaction '{id}'.")
            return self._along(live, after) if self._bus.shared and live.durable else live.channel.follow(after)
        stored = await self.stored(project, id)
        if stored.status != "in_progress":
            return _at_once(_replay(stored, after))
        _replay(stored, after)  # refuses what is no place to resume from
        return self._trail(project, id, after)

    async def _along(self, run: Run, after: int) -> AsyncIterator[bytes]:
        """The frames of a run here and, should another server take it over, of its going on there."""
        async for frames in run.channel.follow(after):
            yield frames
            if frames is log.DONE:
                return
            after = log.reach(frames) or after
        async for frames in self._trail(run.record.project, run.record.id, after):
            yield frames

    async def _trail(self, project: str, id: str, after: int) -> AsyncIterator[bytes]:
        """The frames after number `after` of a run elsewhere. Where nobody runs it, the stream ends without its `done`."""
        async with aclosing(self._bus.watch(id)) as watch:
            async for segment in watch:
                if segment is not None and segment.last <= after:
                    continue
                if segment is not None and segment.first <= after + 1:
                    frames, ended = log.behind(segment.frames, after), log.ends(segment.frames)
                else:
                    stored = await self._news(project, id, after)
                    if stored is None:
                        return  # deleted meanwhile
                    frames, ended = log.behind(stored.frames, after), stored.status != "in_progress"
                after = log.reach(frames) or after
                if frames or ended:
                    yield frames + log.DONE if ended else frames
                if ended:
                    return

    async def _news(self, project: str, id: str, after: int) -> Stored | None:
        """What the store has after a number. Of many followers that are told of it at once, one reads for all."""
        place = project, id, after

        async def read() -> Stored | None:
            del self._reads[place]  # who comes from now on may have been told of something newer
            return await patiently(partial(self._store.get, project, id, after))

        if (task := self._reads.get(place)) is None:
            task = self._reads[place] = asyncio.create_task(read())
        return await asyncio.shield(task)  # one of them that leaves must not take it from the others

    def unkept(self, project: str, id: str) -> Run | None:
        """A run that is in this process's memory alone until it ends; then, like all others, it is in the store."""
        run = self._live.get(id)
        if run is None or run.durable or not run.record.store or run.record.project != project:
            return None
        return run

    async def stored(self, project: str, id: str) -> Stored:
        """What the store has. Raises NotFound."""
        await self._begun(id)
        stored = await self._store.get(project, id)
        if stored is None:
            raise wire.NotFound(f"Interaction '{id}' was not found.")
        return stored

    async def _begun(self, id: str) -> None:
        """What is being kept at this moment is in the store soon, or is there already and run by nobody yet."""
        if (begun := self._beginning.get(id)) is not None:
            await begun.wait()

    async def page(self, project: str, before: str | None, size: int) -> wire.InteractionList:
        """A page of interactions, newest first, without their steps."""
        found = await self._store.page(project, before, size + 1)
        shown = [resource.summary(stored.record, log.last(stored.frames), stored.updated) for stored in found[:size]]
        more = found[size - 1].record.id if len(found) > size else None
        return wire.InteractionList(interactions=shown or None, next_page_token=more)

    async def export(self, project: str, id: str) -> bytes:
        """The conversation that ends with `id`, as JSON lines, oldest first. Raises NotFound."""
        chain = await self._store.lineage(project, id)
        if not chain:
            raise wire.NotFound(f"Interaction '{id}' was not found.")
        return transfer.lines(chain)


def _replay(stored: Stored, after: int) -> list[bytes]:
    """The frames of a stored log after number `after`. Raises OutOfRange."""
    frames = log.split(stored.frames)
    if not after:
        return frames
    numbers = [log.number(frame) for frame in frames]
    if after not in numbers:
        raise wire.OutOfRange(
            f"Interaction '{stored.record.id}' cannot be resumed after event {after}: "
            + ("its events have been compacted; read it with GET." if stored.compacted else "it has no such event.")
        )
    return frames[numbers.index(after) + 1 :]


async def _at_once(frames: list[bytes]) -> AsyncIterator[bytes]:
    yield b"".join([*frames, log.DONE])
