"""The sandbox: finds a jail that holds on this machine, keeps spare boxes ready, and ends them all.

`auto` takes the first of bubblewrap and Landlock that passes a trial: code is run in it, and tries to get out.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import logging
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

from antiphon import wire
from antiphon.sandbox import compiled
from antiphon.sandbox.box import Box, begun, warmed
from antiphon.sandbox.jails import Bubblewrap, Jail, Landlock, Limits, bubblewraps
from antiphon.sandbox.process import Gone, Process

_log = logging.getLogger(__name__)
WARM = ("numpy", "pandas", "matplotlib.pyplot")
_TRIAL = """
import socket
def outcome(attempt):
    try:
        return attempt()
    except OSError:
        return "kept in"
print(outcome(lambda: open({secret!r}).read()))
print(outcome(lambda: open("/proc/sys/kernel/core_pattern", "r+") and "wrote to the kernel"))
print(outcome(lambda: socket.create_connection(("127.0.0.1", {port}), 2) and "reached the network"))
open("ordinary.txt", "w").write("work")
print(open("ordinary.txt").read())
"""
_HELD = ["kept in"] * 3 + ["work"]


class Boxes:
    """`ports.Sandbox`. `spares` boxes are ready at any time, with the modules `warm` imported; `most` may be open."""

    def __init__(
        self,
        jail: Literal["auto", "bubblewrap", "landlock"] = "auto",
        *,
        spares: int = 1,
        most: int = 32,
        limits: Limits | None = None,
        warm: tuple[str, ...] = WARM,
    ) -> None:
        self._wanted = jail
        self._limits = limits or Limits()
        self._spares, self._warm = spares, warm
        self._most = most
        self._ready: collections.deque[Process] = collections.deque()
        self._open: set[Box] = set()
        self._jail: Jail | None = None
        self._reason = ""
        self._trying = asyncio.Lock()
        self._refill: asyncio.Task[None] | None = None
        # A thread of its own that lives as long as the boxes: the kernel ends a bwrap when the thread that started it ends.
        self._starter = ThreadPoolExecutor(1, "sandbox")
        self._compiling: subprocess.Popen[bytes] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._over = False

    async def probe(self, *, warm: bool = True) -> str:
        """The name of the jail that holds here. Raises wire.Unavailable that says why none does; tries only once.

        With `warm`, spares are started beside: somebody will want one.
        """
        async with self._trying:
            if self._jail is None and not self._reason:
                await self._find()
        if self._jail is None:
            raise wire.Unavailable(self._reason)
        if warm:
            self._fill()
        return self._jail.name

    async def open(self) -> Box:
        """A fresh one. Raises wire.Unavailable where none can be had."""
        await self.probe()
        if self._over or len(self._open) >= self._most:
            raise wire.Unavailable("The sandbox is closed." if self._over else f"{self._most} sandboxes are in use.")
        box = Box(self._fresh, self._limits, self._open.discard)
        self._open.add(box)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(box.aclose)
            await box.begin()
            stack.pop_all()
        return box

    async def aclose(self) -> None:
        """End all of them."""
        self._over = True
        if self._refill is not None:
            self._refill.cancel()
            await asyncio.gather(self._refill, return_exceptions=True)
        await asyncio.gather(*(box.aclose() for box in tuple(self._open)), *(each.aclose() for each in self._ready))
        self._ready.clear()
        await asyncio.to_thread(self._starter.shutdown)
        await asyncio.gather(*self._ending)
        if self._compiling is not None:
            self._compiling.kill()
            self._compiling.wait()

    # ------------------------------------------------------------------------------------------------ jails

    async def _find(self) -> None:
        reasons = []
        for name, make in self._candidates():
            try:
                jail = make()
                await self._try(jail)
            except (OSError, subprocess.SubprocessError, NotImplementedError, Gone) as error:
                reasons.append(f"{name}: {error}")
            else:
                self._jail = jail
                self._compile()
                return
        self._reason = f"No sandbox holds on this machine ({'; '.join(reasons) or 'there is none to try'})."

    def _compile(self) -> None:
        folders = compiled.missing()
        if folders:
            self._compiling = compiled.begin(folders)
            names = ", ".join(folder.name for folder in folders)
            what = (
                "being compiled"
                if self._compiling
                else "not compiled, which costs each sandbox seconds (see compileall)"
            )
            _log.warning("Python packages are %s: %s", what, names)

    def _candidates(self) -> list[tuple[str, Callable[[], Jail]]]:
        found: list[tuple[str, Callable[[], Jail]]] = []
        if sys.platform != "linux":
            return found
        if self._wanted != "landlock":
            found += [(str(program), functools.partial(Bubblewrap, program)) for program in bubblewraps()]
        if self._wanted != "bubblewrap":
            found.append(("Landlock", Landlock))
        return found

    async def _try(self, jail: Jail) -> None:
        """Run code that reads a file of the server's, opens the kernel's settings and calls the server. Raises Gone."""
        with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listening:
            code = _TRIAL.format(secret=_secret(folder), port=listening.getsockname()[1])
            box = Box(functools.partial(self._start, jail), self._limits, self._open.discard)
            try:
                await box.begin()
                ran = await box.run(code)
            finally:
                await box.aclose()
        if ran.output.splitlines() != _HELD:
            raise Gone(f"its trial went wrong: {ran.output.strip()[-500:]}")

    # ------------------------------------------------------------------------------------------------ drivers

    async def _start(self, jail: Jail) -> Process:
        starting = asyncio.get_running_loop().run_in_executor(self._starter, jail.start, self._limits)
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._abandon)  # its thread goes on
            raise
        return await begun(process)

    def _abandon(self, starting: asyncio.Future[Process]) -> None:
        """End what was started for nobody."""
        if not starting.cancelled() and starting.exception() is None:
            ending = asyncio.create_task(starting.result().aclose())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def _fresh(self) -> Process:
        """A driver: a spare one, or else a new one. Raises wire.Unavailable."""
        while self._ready:
            process = self._ready.popleft()
            self._fill()
            if process.usable:
                return process
            await process.aclose()
        assert self._jail is not None
        try:
            return await self._start(self._jail)
        except (OSError, subprocess.SubprocessError, Gone) as error:
            raise wire.Unavailable(f"The sandbox cannot be started: {error}") from error

    def _fill(self) -> None:
        """See to the spares, in the background."""
        if not self._over and len(self._ready) < self._spares and (self._refill is None or self._refill.done()):
            self._refill = asyncio.create_task(self._make_spares())

    async def _make_spares(self) -> None:
        assert self._jail is not None
        try:
            while len(self._ready) < self._spares:
                self._ready.append(await warmed(await self._start(self._jail), self._warm))
        except (OSError, subprocess.SubprocessError, Gone) as error:
            _log.warning("No spare sandbox: %s", error)


def _secret(folder: str) -> str:
    """A file that anyone may read: the jail, not its mode, is on trial."""
    file = Path(folder, "secret")
    file.write_text("read the server's files", encoding="utf-8")
    file.chmod(0o644)
    Path(folder).chmod(0o755)
    return str(file)
