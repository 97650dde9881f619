"""What a box's processes use together. The kernel's limits are for each alone.

The folder of a box without namespaces is watched by its warden (`confine.py`), who has the rights of the box's user.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from antiphon.sandbox import confine
from antiphon.sandbox.jails import Limits
from antiphon.sandbox.process import Process

_BETWEEN = 0.05  # seconds between two looks at the memory
_LOOKS = 5  # at the memory, for one at the files
_INSIDE = ("workspace", "tmp", "dev/shm")  # file systems of a box with namespaces, in memory and of limited size


async def overuse(process: Process, limits: Limits) -> str:
    """Waits until the box uses more than it may, and says what of."""
    root = process.popen.pid
    while True:
        for _ in range(_LOOKS):
            processes = confine.descendants(root)
            if memory(processes) > limits.memory and (await asyncio.to_thread(memory, processes, True)) > limits.memory:
                return f"The code used more than {limits.memory >> 20} MiB of memory."
            if len(processes) > 2 * limits.processes:
                return f"The code started more than {limits.processes} processes."
            await asyncio.sleep(_BETWEEN)
        if process.folder is None and _entries(processes) > limits.entries:
            return f"The code made more than {limits.entries} files."


# ---------------------------------------------------------------------------------------------------- memory


def memory(processes: list[int], shared_once: bool = False) -> int:
    """Bytes of these processes that are no file's. Exact where pages shared among them are counted once, and slower."""
    return sum(_shares(process) if shared_once else _resident(process) for process in processes)


def _resident(process: int) -> int:
    return _sum(f"/proc/{process}/status", (b"RssAnon", b"RssShmem", b"VmSwap")) or 0


def _shares(process: int) -> int:
    found = _sum(f"/proc/{process}/smaps_rollup", (b"Pss_Anon", b"Pss_Shmem", b"SwapPss"))
    return _resident(process) if found is None else found


def _sum(path: str, names: tuple[bytes, ...]) -> int | None:
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError:
        return None  # it ended, or is not ours to read
    pairs = (line.split(b":", 1) for line in lines if b":" in line)
    return sum(int(value.split()[0]) for name, value in pairs if name in names) * 1024


def _entries(processes: list[int]) -> int:
    """Files and folders in the file systems of a box with namespaces; their size the kernel limits, but not their number."""
    found = 0
    for name in _INSIDE if processes else ():
        try:
            seen = os.statvfs(f"/proc/{processes[0]}/root/{name}")
        except OSError:
            continue  # it ended
        found += seen.f_files - seen.f_ffree
    return found
