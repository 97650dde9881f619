"""Which of this machine's folders a box can read: the system's programs and libraries, and the server's own Python.

Not readable are, with all else, the server's data, homes, and the checkout that a virtual environment may lie in.
"""

from __future__ import annotations

import os
import site
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

# Programs and libraries for `bash` and for what Python loads; never all of /usr, where operators keep things as well.
_SYSTEM = ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/share")
_TOP = ("/bin", "/lib", "/lib32", "/lib64")  # links into /usr, or on older systems folders
_SETTINGS = ("/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/localtime")
_OF_A_PREFIX = ("bin", "lib", "lib64", "pyvenv.cfg")


def python() -> tuple[Path, ...]:
    """The interpreter, its library and its packages: parts of the virtual environment and of what it was made from."""
    found: dict[Path, None] = {}
    for prefix in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix):
        for name in _OF_A_PREFIX:
            path = Path(prefix, name)
            if path.exists():
                # Links are kept as they are named and where they lead: a launcher's path may go through either.
                found |= {path: None, path.resolve(): None}
    found |= {Path(folder): None for folder in site.getsitepackages() if Path(folder).is_dir()}
    return tuple(path for path in found if not _is_below(path, [*map(Path, _SYSTEM), *(set(found) - {path})]))


def _is_below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def system() -> tuple[Path, ...]:
    """Folders and files of the system, at their own places."""
    real = (Path(name) for name in _TOP if not Path(name).is_symlink())
    return tuple(path for path in (*map(Path, _SYSTEM), *real, *map(Path, _SETTINGS)) if path.exists())


def links() -> tuple[tuple[str, Path], ...]:
    """(target, link): the links that make /bin of /usr/bin."""
    return tuple((str(Path(name).readlink()), Path(name)) for name in _TOP if Path(name).is_symlink())


def barriers(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Folders that another user cannot enter, and which of `paths` lie below each; by their real places."""
    found: dict[str, list[str]] = {}
    for path in paths:
        folder = _barrier(path)
        if folder is not None:
            real = folder.resolve()
            found.setdefault(str(real), []).append(str(real / path.relative_to(folder)))
    return found


def _barrier(path: Path) -> Path | None:
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def is_root() -> bool:
    """Whether boxes can, and so must, have a user of their own."""
    return os.geteuid() == 0
