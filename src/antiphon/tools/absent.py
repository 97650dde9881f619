"""A tool that this server could run and does not: it says why, and what to do about it."""

from __future__ import annotations

from antiphon import wire
from antiphon.ports import Session, Use


class AbsentTool:
    """Stands for the tool `type` where something that it needs is missing; `why` is a sentence for whoever asks."""

    rerunnable = True

    def __init__(self, type: str, why: str) -> None:
        self.type = type
        self.why = why

    async def check(self, declared: wire.Tool, project: str, path: str) -> None:
        """Refuse every request that declares it."""
        raise wire.InvalidRequest(f"The tool '{self.type}' at '{path}' is not available on this server: {self.why}")

    async def open(self, use: Use) -> Session:
        """A run that began when the tool was still there."""
        raise wire.Unavailable(f"The tool '{self.type}' is not available on this server any more: {self.why}")

    async def aclose(self) -> None:
        """Nothing to do."""
