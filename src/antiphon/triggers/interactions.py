"""The engine, as triggers ask for it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from antiphon import wire
from antiphon.engine import Engine


class EngineInteractions:
    """Interactions of an engine (`runs.Interactions`), which is given when it is there: it tells triggers what ends.

    `is_revoked` says of an API key's id whether nothing may be asked with it any more.
    """

    engine: Engine

    def __init__(self, is_revoked: Callable[[str], Awaitable[bool]] | None = None) -> None:
        self._is_revoked = is_revoked

    async def check(self, project: str, request: wire.CreateInteraction) -> None:
        """Refuse what could not be started."""
        await self.engine.prepare(project, request)

    async def start(self, project: str, request: wire.CreateInteraction, *, id: str, key: str) -> None:
        """Start it in the background, as long as the key that made the trigger may ask for it."""
        if key and self._is_revoked is not None and await self._is_revoked(key):
            raise wire.PermissionDenied("The API key that made this trigger was revoked.")
        await self.engine.create(project, request, id=id, key=key)

    async def look(self, project: str, id: str) -> wire.Interaction | None:
        """How it stands."""
        try:
            return await self.engine.archive.get(project, id)
        except wire.NotFound:
            return None

    async def cancel(self, project: str, id: str) -> None:
        """Stop it."""
        with contextlib.suppress(wire.FailedPrecondition, wire.NotFound):
            await self.engine.cancel(project, id)
