"""A box: code goes in, what came of it comes out; state is kept from one run to the next.

Where a run takes too much of anything, its processes are ended, and the next run begins in a fresh box with the same
files as were given. Knows nothing of jails.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Literal

import msgspec

from antiphon import wire
from antiphon.ports import Ran
from antiphon.sandbox.jails import Limits
from antiphon.sandbox.process import NO_ANSWER, Gone, Process
from antiphon.sandbox.watch import overuse

_PLAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_. -]{0,98}[A-Za-z0-9_-])?")
_START = 20.0  # seconds for a driver to be there
_WARMING = 60.0
_LOST = "Its variables and files are lost; only the files given by the user are there again."


class _End(msgspec.Struct):
    number: int
    ok: bool


async def begun(process: Process) -> Process:
    """A driver that is ready. Raises Gone, having ended it."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.aclose)
        process.attach()
        try:
            async with asyncio.timeout(_START):
                await process.answer()
        except (Gone, TimeoutError) as error:
            words = process.printed().strip() or str(error) or "It does not answer."
            raise Gone(words) from error
        stack.pop_all()
    return process


async def warmed(process: Process, modules: tuple[str, ...]) -> Process:
    """The same driver, with modules imported. Raises Gone, having ended it."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.aclose)
        await process.ask({"do": "warm", "number": 0, "modules": modules})
        try:
            async with asyncio.timeout(_WARMING):
                await process.answer()
        except TimeoutError as error:
            raise Gone("It does not get its modules imported.") from error
        stack.pop_all()
    return process


class Box:
    """`ports.Box`. `fresh` gives a driver that is ready; `closed` is told when this box is done."""

    def __init__(self, fresh: Callable[[], Awaitable[Process]], limits: Limits, closed: Callable[[Box], None]) -> None:
        self._fresh = fresh
        self._limits = limits
        self._closed = closed
        self._process: Process | None = None
        self._files: dict[str, bytes] = {}
        self._notes: list[str] = []
        self._number = 0
        self._one_at_a_time = asyncio.Lock()
        self._over = False

    async def begin(self) -> None:
        """Have a driver. Raises wire.Unavailable."""
        self._process = await self._fresh()

    async def put(self, name: str, content: bytes) -> None:
        """Lay a file into the working folder. Raises ValueError for a name that is no plain one, or too much content."""
        if not _PLAIN.fullmatch(name):
            raise ValueError(f"no plain file name: {name!r}")
        if sum(map(len, self._files.values())) + len(content) > self._limits.disk:
            raise ValueError(f"more than {self._limits.disk >> 20} MiB of files")
        async with self._one_at_a_time:
            if self._process is not None and self._process.usable:  # else it is laid when there is one
                fault = await self._lay(self._process, name, content)
                if fault is not None:
                    raise ValueError(fault)
            self._files[name] = content

    async def run(self, code: str, language: Literal["python", "bash"] = "python", seconds: float = 30.0) -> Ran:
        """Run it. Time, memory and disk limits end in a `Ran` that says so."""
        async with self._one_at_a_time:
            try:
                process = await self._ready()
            except (wire.Unavailable, Gone) as error:
                return Ran(output=f"[The sandbox cannot be started: {error}]", ok=False)
            notes, self._notes = self._notes, []
            ran = await self._cell(process, {"do": language, "code": code}, seconds)
            return msgspec.structs.replace(ran, output="".join([*notes, ran.output])) if notes else ran

    async def aclose(self) -> None:
        """Nothing of it is left."""
        self._over = True
        await self._drop()
        self._files.clear()
        self._closed(self)

    # ------------------------------------------------------------------------------------------------ inside

    async def _ready(self) -> Process:
        """A driver that has the given files. Raises Gone, wire.Unavailable."""
        if self._over:
            raise Gone("It has been closed.")
        if self._process is not None and not self._process.usable:
            self._notes.append(f"[The sandbox ended between two calls. {_LOST}]\n")
            await self._drop()
        if self._process is None:
            process = self._process = await self._fresh()
            for name, content in self._files.items():
                fault = await self._lay(process, name, content)
                self._notes += [f"[The file {fault}]\n"] if fault is not None else []
            if self._process is None:
                raise Gone("The given files cannot be laid.")
        self._process.go()
        return self._process

    async def _lay(self, process: Process, name: str, content: bytes) -> str | None:
        """What is wrong with a file, if anything."""
        process.go()
        ran = await self._cell(process, {"do": "put", "name": name}, _START, content)
        return None if ran.ok else f"{name} cannot be written: {ran.output.strip().rpartition(chr(10))[2]}"

    async def _drop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.aclose()

    async def _cell(self, process: Process, asked: dict[str, Any], seconds: float, content: bytes = b"") -> Ran:
        figures: list[tuple[str, bytes]] = []
        answer = asyncio.create_task(self._answer(process, asked, content, figures))
        watch = asyncio.create_task(overuse(process, self._limits))
        fault: str | None = "Nobody waits for it any more."
        try:
            await asyncio.wait({answer, watch}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            ok, fault = _ending(answer, watch, seconds)
            if ok is not None:
                await process.stop()
            output = process.printed()
        finally:
            for task in (answer, watch):
                task.cancel()
            await asyncio.gather(answer, watch, return_exceptions=True)
            if fault is not None:
                await self._drop()
        if fault is not None:
            output = f"{output.rstrip()}\n[{fault} {_LOST}]".lstrip()
        return Ran(output=output, ok=bool(ok), figures=tuple(figures))

    async def _answer(
        self, process: Process, asked: dict[str, Any], content: bytes, figures: list[tuple[str, bytes]]
    ) -> bool:
        self._number += 1
        await process.ask({**asked, "number": self._number}, content)
        while True:
            kind, payload = await process.answer()
            if kind == "f":
                figures.append(("image/png", payload))
                continue
            try:
                end = msgspec.json.decode(payload, type=_End)
            except msgspec.DecodeError as error:
                raise Gone(NO_ANSWER) from error
            if kind != "e" or end.number != self._number:
                raise Gone(NO_ANSWER)
            return end.ok


def _ending(answer: asyncio.Task[bool], watch: asyncio.Task[str], seconds: float) -> tuple[bool | None, str | None]:
    """Whether the code ended well, and if it did not end, why that is the end of it."""
    if answer.done():
        error = answer.exception()
        if error is None:
            return answer.result(), None
        if isinstance(error, Gone):
            return None, str(error)
        raise error
    if watch.done():
        return None, f"{watch.result()} It was ended."
    return None, f"The code ran longer than {seconds:g} seconds. It was ended."
