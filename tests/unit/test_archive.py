"""Following a run elsewhere: what the bus brings, and what is read of the store."""

import asyncio
from collections.abc import AsyncGenerator

from antiphon import log
from antiphon.archive import Archive
from antiphon.bus.local import LocalBus
from antiphon.ports import Segment, Stored
from antiphon.stores.memory import MemoryStore
from records import ending, opening, record, segment, words


class Counting(MemoryStore):
    """Counts how often it is read."""

    reads = 0

    async def get(self, project: str, id: str, after: int = 0) -> Stored | None:
        self.reads += 1
        await asyncio.sleep(0)
        return await super().get(project, id, after)


class Deaf(LocalBus):
    """A bus that hears nothing: it only says, to all at once, that the store is to be looked into."""

    def __init__(self) -> None:
        super().__init__()
        self.told = asyncio.Condition()

    async def tell(self) -> None:
        async with self.told:
            self.told.notify_all()

    async def watch(self, id: str) -> AsyncGenerator[Segment | None, None]:
        while True:
            yield None
            async with self.told:
                await self.told.wait()


def test_of_a_hundred_followers_that_are_told_to_look_one_reads_for_all() -> None:
    async def body() -> None:
        store, bus = Counting(), Deaf()
        archive, made = Archive(store, bus, {}), record()
        await store.create(made, "in_progress", segment(1, *opening(made.id)))
        got: list[list[bytes]] = [[] for _ in range(100)]

        async def follow(pieces: list[bytes]) -> None:
            async for piece in await archive.follow("p", made.id):
                pieces.append(piece)

        async def all_have(count: int) -> None:
            while any(len(pieces) < count for pieces in got):  # noqa: ASYNC110 - it only lets them go first
                await asyncio.sleep(0)

        async with asyncio.timeout(10):
            tasks = [asyncio.create_task(follow(pieces)) for pieces in got]
            await all_have(1)
            at_first = store.reads
            await store.append(made.id, 1, "in_progress", segment(3, *words("a")))
            await bus.tell()
            await all_have(2)
            await store.append(made.id, 1, "completed", segment(4, *words("b"), *ending(made.id)))
            await bus.tell()
            await asyncio.gather(*tasks)
        whole = await store.get("p", made.id)
        assert whole is not None and {b"".join(pieces) for pieces in got} == {whole.frames + log.DONE}
        assert store.reads - at_first <= 2 * 3, "two looks of a hundred, where each would have read for itself"

    asyncio.run(body())
