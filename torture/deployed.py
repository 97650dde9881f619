"""A deployment that somebody else runs: what can be done to its clients is done, and what its operator's commands do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random

from torture import effects
from torture.faults import Fault, Mend
from torture.processes import Server
from torture.topology import Topology


class Remote(Server):
    """A server that is only spoken to."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "all", (), {}, Path(os.devnull))
        self._url = url.rstrip("/")

    @property
    def url(self) -> str:
        """Where it is spoken to."""
        return self._url

    @property
    def alive(self) -> bool:
        """As far as anybody here knows."""
        return True

    @property
    def serves(self) -> bool:
        """As far as anybody here knows."""
        return True


class Deployed(Topology):
    """The servers at these URLs, which have the suite's scripts and one store. Nothing is started, nothing is mended."""

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__("deployed")
        self.servers = [Remote(url) for url in urls]
        traces = os.environ.get(effects.VARIABLE)
        self._traces = Path(traces) if traces else None
        if self._traces is None:
            self.notes.append(
                f"tools' effects were not counted: {effects.VARIABLE} names no file that all servers write"
            )

    @property
    def many(self) -> bool:
        """Foreground runs are kept as well, where there are several."""
        return len(self.servers) > 1

    @property
    def there(self) -> frozenset[str]:
        """Its clients; the operator's commands are a fault of their own."""
        return frozenset({"clients"})

    def effects(self) -> dict[str, int] | None:
        """How often each call of a tool was begun, if that is known."""
        return dict(effects.count(self._traces)) if self._traces is not None else None

    async def mend(self) -> None:
        """That is for its operator."""

    async def _open(self) -> None:
        """It is there."""


def commanded(strike: str, mend: str, lasts: float) -> Fault:
    """A fault that the operator's own commands make."""

    async def run(command: str) -> None:
        process = await asyncio.create_subprocess_shell(command)
        if await process.wait():
            raise AssertionError(f"'{command}' ended with {process.returncode}")

    async def struck(topology: Topology, chance: Random) -> Mend:
        await run(strike)

        async def mended() -> None:
            if mend:
                await run(mend)

        return mended

    return Fault(strike, "clients", (lasts, lasts), struck, ends_runs=True)
