"""Python's compiled files of the packages that boxes import: a box can read them, and never write them.

Some installers leave them out. An ordinary program then writes them at its first import; every box would compile anew,
for seconds each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import cache_from_source, find_spec
from pathlib import Path

PACKAGES = ("numpy", "pandas", "dateutil", "matplotlib", "scipy", "sympy", "mpmath", "PIL")


def missing(names: Iterable[str] = PACKAGES) -> list[Path]:
    """The folders of those packages that are here and not compiled."""
    found = []
    for name in names:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None and not Path(cache_from_source(spec.origin)).exists():
            found.append(Path(spec.origin).parent)
    return found


def begin(folders: list[Path]) -> subprocess.Popen[bytes] | None:
    """Compile them in a process of its own; None where they cannot be written into."""
    if not all(os.access(folder, os.W_OK) for folder in folders):
        return None
    command = [sys.executable, "-I", "-m", "compileall", "-q", *map(str, folders)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
