"""One address for several servers: each connection goes to the next that takes it. It knows no HTTP."""

from __future__ import annotations

import asyncio
import itertools
from asyncio import StreamReader, StreamWriter
from collections.abc import Sequence
from contextlib import suppress

from torture.processes import Server


class Front:
    """`async with Front(servers) as front`, then `front.url`."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers
        self._turn = itertools.cycle(range(len(servers)))
        self._listening: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where clients come in."""
        assert self._listening is not None
        return f"http://127.0.0.1:{self._listening.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Front:
        self._listening = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._listening is not None
        self._listening.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(asyncio.CancelledError):
            reached = await self._reach()
            if reached is not None:
                up, down = reached
                ways = [asyncio.create_task(_pass(reader, down)), asyncio.create_task(_pass(up, writer))]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                down.close()
        writer.close()

    async def _reach(self) -> tuple[StreamReader, StreamWriter] | None:
        """A connection to the next server that takes one."""
        for _ in self._servers:
            server = self._servers[next(self._turn)]
            if server.serves:
                with suppress(OSError):
                    return await asyncio.open_connection("127.0.0.1", server.port)
        return None


async def _pass(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(ConnectionError):
        while said := await reader.read(65536):
            writer.write(said)
            await writer.drain()
