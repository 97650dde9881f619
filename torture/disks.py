"""A small disk of our own, that can be filled: a file system in memory, mounted for as long as it is needed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = bytes(65536)


class NoDisk(Exception):
    """Why no small disk can be had."""


class Disk:
    """Mounted at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave not one block."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (len(_BLOCK), 4096, 512):
                try:
                    while file.write(_BLOCK[:size]) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Room again."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[Disk]:
    """A disk for as long as the block lasts. Raises NoDisk."""
    folder.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        raise NoDisk("a small disk can be mounted by root only")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoDisk(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)
