"""The processes that look at what came from outside, as this server holds them: started when wanted, ended when late."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import sys
from typing import TypeVar

import msgspec

from antiphon.media.jobs import LENGTH, Answer, Job
from antiphon.ports import Unreadable

_GRACE = 5.0  # seconds that a worker may take beyond a document's own: to start, and to pass the answer on
_BROKEN = (OSError, EOFError, msgspec.DecodeError, struct.error)  # TimeoutError and IncompleteReadError are among them


_Value = TypeVar("_Value")


class Workers:
    """`workers` jobs are done at once; further ones wait `patience` seconds at most for their turn.

    A job may take `seconds`. Processes start when they are needed and live until `aclose`.
    """

    def __init__(self, workers: int, seconds: int, patience: float) -> None:
        self._places = asyncio.Semaphore(workers)
        self._idle: list[asyncio.subprocess.Process] = []
        self._seconds = seconds
        self._patience = patience

    async def _do(
        self, task: str, body: bytes, asked: msgspec.Struct, made: type[_Value], *, memory: int, largest: int
    ) -> _Value:
        """What comes of a job (`media/jobs.py`). Raises Unreadable, in words for the user."""
        question = msgspec.Raw(msgspec.msgpack.encode(asked))
        job = Job(task=task, body=body, asked=question, seconds=self._seconds, memory=memory, largest=largest)
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise Unreadable("Too many documents are being read; try again.") from None
        try:
            answer = await self._ask(msgspec.msgpack.encode(job))
        except _BROKEN:
            raise Unreadable("It takes too long to read, or ends its reader.") from None
        finally:
            self._places.release()
        if answer.reason:
            raise Unreadable(answer.reason)
        return msgspec.msgpack.decode(answer.value, type=made)

    async def aclose(self) -> None:
        """End the workers."""
        while self._idle:
            await end(self._idle.pop())

    async def _ask(self, job: bytes) -> Answer:
        """One exchange with a worker. One that does not answer in time, or is left alone with its work, is ended."""
        self._idle = [worker for worker in self._idle if worker.returncode is None]  # others died meanwhile
        worker = self._idle.pop() if self._idle else await start("antiphon.media.worker")
        whole = False
        try:
            async with asyncio.timeout(self._seconds + _GRACE):
                answer = await _exchange(worker, job)
            whole = True
        finally:
            if whole:
                self._idle.append(worker)
            else:
                await end(worker)
        return msgspec.msgpack.decode(answer, type=Answer)


async def start(module: str, *more: str) -> asyncio.subprocess.Process:
    """A process of its own that runs a module of ours, asked through its input, answering through its output.

    Of this process's environment it has what it needs to start, and `more`.
    """
    # -P: no module is taken from the folder this server happens to stand in. The keys in its environment stay here.
    names = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", *more)
    keep = {name: os.environ[name] for name in names if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**keep, "LANG": "C.UTF-8"},
        start_new_session=True,
    )


async def _exchange(worker: asyncio.subprocess.Process, job: bytes) -> bytes:
    assert worker.stdin is not None and worker.stdout is not None, "it was started with both"
    worker.stdin.write(LENGTH.pack(len(job)))
    worker.stdin.write(job)
    await worker.stdin.drain()
    header = await worker.stdout.readexactly(LENGTH.size)
    return await worker.stdout.readexactly(LENGTH.unpack(header)[0])


async def end(worker: asyncio.subprocess.Process) -> None:
    """Kill it and what it started."""
    if worker.returncode is None:
        os.killpg(worker.pid, signal.SIGKILL)
    await worker.wait()
