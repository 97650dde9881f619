"""The audit log: who did what, when, from where, and how it came out. Never what was said.

A line is put aside in memory and written by a thread, at the latest after a second and at the end: a request does not
wait for the disk. The file is opened anew each time, so it may be moved away while the server runs.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

import msgspec

logger = logging.getLogger("antiphon.audit")

_EVERY_SECONDS = 1.0
_MOST = 100_000  # lines that wait while the disk takes none; what comes after them is counted, and lost
_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One thing that was done. `key` is a key's id, "" without one; `action` a route or a command; `outcome` HTTP's.

    `resource` is the id it was done to, `address` where the request came from, `forwarded` whom a proxy says it is for.
    """

    time: str = ""
    project: str = ""
    key: str = ""
    action: str
    resource: str = ""
    outcome: int
    address: str = ""
    forwarded: str = ""


class Audit:
    """Lines into the file `path`, made for its owner alone, or with `-` to `standard`, else standard output."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time, *, standard: TextIO | None = None) -> None:
        self._path = path
        self._standard = standard
        self._clock = clock
        self._waiting: deque[tuple[float, Line]] = deque()
        self._lost = 0
        self._failing = False
        self._cut = False  # whether the file ends within a line
        self._over = threading.Event()
        self._writing = threading.Lock()
        _, fault = self._write(b"")
        if fault is not None:
            raise fault  # a path that cannot be written to is told at once
        self._thread = threading.Thread(target=self._go_on, name="audit", daemon=True)
        self._thread.start()

    def note(self, line: Line) -> None:
        """Keep a line. It neither waits nor raises."""
        if len(self._waiting) < _MOST:
            self._waiting.append((self._clock(), line))
        else:
            self._lost += 1

    def close(self) -> None:
        """Write what waits, and stop."""
        self._over.set()
        self._thread.join()
        self.flush()

    def _go_on(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            self.flush()

    def flush(self) -> None:
        """Write what waits. Where that fails, it goes on waiting."""
        with self._writing:
            self._write_all()

    def _write_all(self) -> None:
        taken: list[tuple[float, Line]] = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        if not taken:
            return
        for when, line in taken:
            line.time = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = b"".join(_encode(line) + b"\n" for _, line in taken)
        # After a line that was cut short, the next begins on a line of its own.
        done, fault = self._write(b"\n" + text if self._cut else text)
        if done:
            text = text[: done - self._cut]
            self._cut = not text.endswith(b"\n")
        if fault is None:
            if self._failing or self._lost:
                logger.warning("the audit log is written again; %d lines were lost", self._lost)
            self._failing, self._lost = False, 0
            return
        self._waiting.extendleft(reversed(taken[text.count(b"\n") if done else 0 :]))
        if not self._failing:
            logger.error("the audit log cannot be written: %s; up to %d lines wait", fault, _MOST)
        self._failing = True

    def _write(self, text: bytes) -> tuple[int, OSError | None]:
        """How many bytes were written, and what stood in the way of the rest."""
        done = 0
        try:
            if self._path == "-":
                output = (self._standard or sys.stdout).buffer
                output.write(text)
                output.flush()
                return len(text), None
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                while done < len(text):
                    done += os.write(file, text[done:])
            finally:
                os.close(file)
        except OSError as fault:
            return done, fault
        return done, None
