"""A lone server's claim to its database: a lock that goes with a connection of its own, and is taken again with a new one.

A database that restarts forgets its locks. Until the claim is held again another server might start beside this one; then
this one says so, and both go on: who may write an interaction is known by its attempt, so that nothing is written twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from antiphon import wire

logger = logging.getLogger("antiphon.stores.postgres")

_PATIENCE = 10.0  # seconds for an answer
_LOOK_SECONDS = 1.0  # how often it is seen whether the connection still lives


class Alone:
    """Keeps what `take` asks for on a connection from `connect`, which may fail with any of `faults`."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        take: str,
        refusal: str,
        faults: tuple[type[Exception], ...],
    ) -> None:
        self._connect = connect
        self._take = take
        self._refusal = refusal
        self._faults = faults
        self._connection: Any = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises FailedPrecondition where others are in the way."""
        if not await self._taken():
            raise wire.FailedPrecondition(self._refusal)
        self._keeping = asyncio.create_task(self._keep())

    async def _taken(self) -> bool:
        connection = await self._connect()
        with contextlib.ExitStack() as failing:
            failing.callback(connection.terminate)
            if await connection.fetchval(self._take, timeout=_PATIENCE):
                self._connection = connection
                failing.pop_all()
                return True
        return False

    async def _keep(self) -> None:
        told = False
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._connection.is_closed():
                continue
            with contextlib.suppress(*self._faults):
                if await self._taken():
                    told = False
                elif not told:
                    told = True
                    logger.error("%s This one had the database before it was away, and goes on.", self._refusal)

    async def aclose(self) -> None:
        """Let others have it."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._connection is not None:
            self._connection.terminate()
