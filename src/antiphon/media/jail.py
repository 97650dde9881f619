"""The jail around whoever parses what came from outside: no network, no files to write, no programs, few files to read.

Linux holds it, by seccomp and Landlock; where a kernel has one of them only, or another system runs this, what is there is
taken, and the limits of time and memory hold anyway. It closes behind what is loaded: models and libraries are in memory.
"""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from antiphon.sandbox import confine, filters, paths

_FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "/etc/fonts")  # for documents that bring none of theirs
_OURS = Path(__file__).parents[1]


class Jail:
    """Put together once, entered by each child."""

    def __init__(self) -> None:
        self._libc: Any = None
        self._landlock = 0
        self._filter = b""
        self._readable: list[str] = []
        if sys.platform != "linux":
            return
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._landlock = confine.landlock_version(self._libc)
        except OSError:
            self._landlock = 0  # a kernel before 5.13, or started without it
        try:
            self._filter = filters.parsing(self._landlock)
        except NotImplementedError:
            self._filter = b""  # another processor: its system calls have numbers that nobody wrote down here
        places = [_OURS, *paths.python(), *map(Path, _FONTS)]
        self._readable = [str(path) for path in places if path.exists()]

    def enter(self, seconds: int, memory: int) -> None:
        """From here on this process has so much time and memory, and reaches nothing outside. Raises OSError."""
        signal.alarm(seconds)
        limits = {
            resource.RLIMIT_CPU: seconds,
            resource.RLIMIT_AS: memory,
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_CORE: 0,
        }
        if not self._filter:  # it lets threads be, which the system counts as processes
            limits[resource.RLIMIT_NPROC] = 0
        for kind, limit in limits.items():
            resource.setrlimit(kind, (limit, limit))
        if self._landlock:
            confine.restrict(self._libc, self._landlock, self._readable, ())
        if self._filter:
            confine.forbid_privileges(self._libc)
            confine.install(self._libc, self._filter)
