"""A server as a process: started, killed, frozen, and started again on the same port."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE = 60.0  # seconds: no server takes longer to start or to stop
# What we start is not to outlive us, however we end.
_WITH_US = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
_READY = re.compile(rb"listening on http://[^\s:]+:(\d+)")


class NotStarted(Exception):
    """A server that did not come up; what it wrote is in the message."""


class Server:
    """`command` is what starts it, but for its port, which is chosen at its first start and kept."""

    def __init__(self, name: str, role: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.role = role
        self.port = 0
        self.frozen = False
        self.starts = 0
        self._command = command
        self._environment = environment
        self._log = log
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Where it is spoken to."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of its process; 0 where none runs."""
        return self._process.pid if self._process is not None and self.alive else 0

    @property
    def alive(self) -> bool:
        """Whether its process runs, frozen or not."""
        return self._process is not None and self._process.returncode is None

    @property
    def serves(self) -> bool:
        """Whether a balancer with a health check would send it something."""
        return self.alive and not self.frozen and self.port > 0

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    async def start(self) -> None:
        """Start it, and wait until it says that it listens. Raises NotStarted."""
        command = [*_WITH_US, *self._command, "--port", str(self.port)]
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=PIPE, stderr=log, env={**os.environ, **self._environment}
            )
        self._process, self.frozen = process, False
        self.starts += 1
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE):
                while line := await process.stdout.readline():
                    if found := _READY.search(line):
                        self.port = int(found[1])
                        return
        except TimeoutError:
            pass
        await self.kill()
        raise NotStarted(f"{self.name} did not start: {self.log[-3000:]}")

    async def kill(self) -> None:
        """SIGKILL."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, as an operator would; one that does not go is killed, and that is a finding of its own."""
        await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        self.thaw()
        with suppress(ProcessLookupError):
            process.send_signal(how)
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        finally:
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP."""
        if self.alive:
            assert self._process is not None
            self._process.send_signal(signal.SIGSTOP)
            self.frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        if self.frozen and self.alive:
            assert self._process is not None
            self._process.send_signal(signal.SIGCONT)
        self.frozen = False


class Supervisor:
    """Starts servers again that died by themselves, as an init system would. `busy` says whom the harness has in hand."""

    def __init__(self, servers: Sequence[Server], busy: Callable[[Server], bool]) -> None:
        self._servers = servers
        self._busy = busy
        self.restarts = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            for server in self._servers:
                if not server.alive and not self._busy(server) and server.starts:
                    self.restarts += 1
                    with suppress(NotStarted):
                        await server.start()
            await asyncio.sleep(0.2)
