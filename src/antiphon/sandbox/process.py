"""One box's process as the server sees it: three pipes, an end, and signals to all that it started.

What comes out of the pipes was written by whoever wrote the code: it is bounded here, and what is no answer ends the
process. Must be used in the event loop that `attach` was called in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from antiphon.sandbox import confine

KEPT = 100_000  # bytes of the beginning and of the end of what a call prints
FLOOD = 64 * 2**20
MOST_ANSWERS, LARGEST_ANSWER = 12, 4 * 2**20  # the driver sends at most 10 figures of that size, and an end
NO_ANSWER = "The interpreter sent what is no answer."
_WARDEN = {
    confine.DISK: "The code used too much of the disk.",
    confine.ENTRIES: "The code made too many files.",
    confine.DEPTH: "The code made too many folders in one another.",
}
_HEAD = 5  # bytes before an answer's own: its letter and its length
_CHUNK = 1 << 16
_END_SEEN, _TIDIED = 0.5, 20.0  # seconds in which the end of a process is seen after the end of its pipes


class Gone(Exception):
    """The process has ended or is to be ended; the message says why, for whoever reads the result."""


class Pipes(msgspec.Struct, frozen=True):
    """The server's ends, not blocking; `alive` is held open as long as the box is to be."""

    requests: int
    answers: int
    output: int
    alive: int


class Process:
    """A driver in its jail. `folder` is its place on the disk, where it has one."""

    def __init__(self, popen: subprocess.Popen[bytes], pipes: Pipes, folder: Path | None = None) -> None:
        self.folder = folder
        self.popen = popen
        self._pipes = pipes
        self._answers: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue()
        self._unread = bytearray()
        self._counted = 0
        self._fault: str | None = None
        self._printed = Printed()
        self._ended = -1
        self._writable: asyncio.Future[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    def attach(self) -> None:
        """Begin to listen, in the running loop; once."""
        loop = asyncio.get_running_loop()
        self._ended = os.pidfd_open(self.popen.pid)
        loop.add_reader(self._ended, self._on_end)
        loop.add_reader(self._pipes.answers, self._on_answer)
        loop.add_reader(self._pipes.output, self._on_output)

    # ------------------------------------------------------------------------------------------------ listening

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._ended)
        self._on_answer()  # what it said before
        self.fail(_how(self.popen.wait(), self.folder is not None))

    def _on_answer(self) -> None:
        try:
            read = os.read(self._pipes.answers, _CHUNK)
        except BlockingIOError:
            return
        self._unread += read
        while len(self._unread) >= _HEAD:
            kind, length = struct.unpack_from("=cI", self._unread)
            if kind not in (b"r", b"f", b"e") or length > LARGEST_ANSWER or self._counted >= MOST_ANSWERS:
                asyncio.get_running_loop().remove_reader(self._pipes.answers)
                self.fail(NO_ANSWER)
                return
            if len(self._unread) < _HEAD + length:
                break
            self._answers.put_nowait((kind.decode(), bytes(self._unread[_HEAD : _HEAD + length])))
            self._counted += 1
            del self._unread[: _HEAD + length]
        if not read:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._pipes.answers)
            # Mostly it has ended, and how it did is the better thing to say; a warden says it when it has tidied up.
            loop.call_later(
                _END_SEEN if self.folder is None else _TIDIED, self.fail, "The interpreter closed its connection."
            )

    def _on_output(self) -> None:
        try:
            read = os.read(self._pipes.output, _CHUNK)
        except BlockingIOError:
            return
        if not read:
            asyncio.get_running_loop().remove_reader(self._pipes.output)
        self._printed.add(read)
        if self._printed.total > FLOOD:
            asyncio.get_running_loop().remove_reader(self._pipes.output)
            self.fail(f"The code printed more than {FLOOD >> 20} MiB.")

    def fail(self, fault: str) -> None:
        """Nothing more is expected of it."""
        if self._fault is None:
            self._fault = fault
            self._answers.put_nowait(None)

    @property
    def usable(self) -> bool:
        """Whether it can be asked."""
        return self._fault is None

    # ------------------------------------------------------------------------------------------------ asking

    async def ask(self, asked: dict[str, Any], content: bytes = b"") -> None:
        """Send a request. What came since the last one is dropped. Raises Gone."""
        while not self._answers.empty() and self.usable:
            self._answers.get_nowait()
        self._counted = 0
        self._printed = Printed()
        head = json.dumps({**asked, "size": len(content)}).encode()
        await self._write(struct.pack("=I", len(head)) + head)
        await self._write(content)

    async def _write(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            if self._fault is not None:
                raise Gone(self._fault)
            try:
                left = left[os.write(self._pipes.requests, left) :]
            except BlockingIOError:
                self._writable = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().add_writer(self._pipes.requests, self._on_writable)
                await asyncio.wait({self._writable}, timeout=1.0)
                self._on_writable()
            except BrokenPipeError:
                return  # that it ended is seen elsewhere

    def _on_writable(self) -> None:
        if self._ending is None:
            asyncio.get_running_loop().remove_writer(self._pipes.requests)
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    async def answer(self) -> tuple[str, bytes]:
        """The next answer: its letter and its bytes. Raises Gone."""
        got = await self._answers.get()
        if got is None:
            self._answers.put_nowait(None)
            raise Gone(self._fault or "")
        return got

    def printed(self) -> str:
        """What was printed since the last request, up to now."""
        for _ in range(_CHUNK // 4096):  # a pipe holds no more; what is still being written is not waited for
            before = self._printed.total
            if self._ending is None:
                self._on_output()
            if self._printed.total == before:
                break
        return self._printed.text()

    # ------------------------------------------------------------------------------------------------ signals

    async def stop(self) -> None:
        """Let nothing of it run until `go`: what code left in the background must not work between two calls."""
        for _ in range(200):
            running = [each for each in confine.descendants(self.popen.pid) if confine.state(each) not in "TtZX"]
            for each in running:
                _tell(each, signal.SIGSTOP)
            if not running:
                return
            await asyncio.sleep(0.001)
        self.fail("Its processes could not be stopped.")

    def go(self) -> None:
        """Go on."""
        for each in confine.descendants(self.popen.pid):
            _tell(each, signal.SIGCONT)

    async def aclose(self) -> None:
        """End all of it. Nothing of it runs and nothing of it is on the disk when this returns."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self, seconds: float = 5.0) -> None:
        if self._ended < 0:
            self.attach()
        loop = asyncio.get_running_loop()
        for end in (self._ended, self._pipes.answers, self._pipes.output):
            loop.remove_reader(end)
        loop.remove_writer(self._pipes.requests)
        self.fail("It has been closed.")
        below = confine.descendants(self.popen.pid)
        for end in (self._pipes.requests, self._pipes.answers, self._pipes.output, self._pipes.alive):
            os.close(end)
        if self.folder is None and below:
            _tell(below[0], signal.SIGKILL)  # the first process of the box's own numbers: all others end with it
        await self._until_gone(below, seconds)
        os.close(self._ended)

    async def _until_gone(self, below: list[int], seconds: float) -> None:
        if not await _readable(self._ended, seconds):
            await asyncio.to_thread(confine.end_descendants, self.popen.pid)
            self.popen.kill()
        self.popen.wait()
        # What had a number of ours may be a moment behind its first process.
        for _ in range(int(seconds / 0.002)):
            if all(confine.state(each) == "X" for each in below):
                break
            await asyncio.sleep(0.002)
        if self.folder is not None and self.folder.exists():  # its warden was killed
            await asyncio.to_thread(confine.remove, str(self.folder))


class Printed:
    """The beginning and the end of what was printed."""

    def __init__(self) -> None:
        self.total = 0
        self._head, self._tail = bytearray(), bytearray()

    def add(self, read: bytes) -> None:
        """More of it."""
        self.total += len(read)
        room = KEPT - len(self._head)
        self._head += read[:room]
        self._tail += read[room:] if room < len(read) else b""
        if len(self._tail) > 2 * KEPT:
            del self._tail[:-KEPT]

    def text(self) -> str:
        """As text; bytes that are none are replaced, and what is left out is said."""
        tail = self._tail[-KEPT:]
        left_out = self.total - len(self._head) - len(tail)
        if left_out == 0:
            return (self._head + tail).decode(errors="replace")
        between = f"\n[… {left_out} bytes left out …]\n"
        return self._head.decode(errors="replace") + between + tail.decode(errors="replace")


def _how(status: int, warden: bool) -> str:
    """What an exit status means, as a shell and a warden give it."""
    if warden and status in _WARDEN:
        return _WARDEN[status]
    if 0 <= status <= 128:
        return f"The interpreter exited with status {status}."
    return f"The interpreter was ended by signal {-status if status < 0 else status - 128}."


async def _readable(handle: int, seconds: float) -> bool:
    """Wait for it; False where it took longer."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(handle, readable.set)
    try:
        async with asyncio.timeout(seconds):
            await readable.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(handle)
    return True


def _tell(process: int, what: int) -> None:
    with contextlib.suppress(PermissionError):  # a number that has come to be another's
        confine.tell(process, what)
