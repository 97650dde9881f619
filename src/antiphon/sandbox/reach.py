"""Runs as root, as a process of its own, before a box: becomes the box's user, who may then still read the interpreter.

Where that lies below a folder that only root may enter (/root, mostly), the folder is covered, in a mount namespace
of this process's own, by an empty one that anyone may enter and that holds the interpreter alone. Its text is given
to `python -c`: it imports the standard library only and nothing of ours.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

_NEW_MOUNTS, _BIND, _RECURSIVE, _PRIVATE, _READ_ONLY, _REMOUNT = 0x20000, 4096, 16384, 1 << 18, 1, 32
_NO_SUID, _NO_DEVICES = 2, 4


def main() -> None:
    """`argv[1]` is JSON: `covers` ({folder: [paths below it]}), `user`, and the
    `command` with its `environment`, which takes this process over.
    """
    asked = json.loads(sys.argv[1])
    os.umask(0o022)
    _uncover(asked["covers"])
    os.setgroups([])
    os.setresgid(asked["user"], asked["user"], asked["user"])
    os.setresuid(asked["user"], asked["user"], asked["user"])
    os.execve(asked["command"][0], asked["command"], asked["environment"])  # noqa: S606 - our own command


def _uncover(covers: dict[str, list[str]]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
        words = [word if word is None else os.fsencode(word) for word in (source, target, kind)]
        if libc.mount(*words, ctypes.c_ulong(flags), None if data is None else data.encode()) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)

    if libc.unshare(_NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare")
    mount("none", "/", None, _RECURSIVE | _PRIVATE)
    for folder, paths in covers.items():
        held = [(path, os.open(path, os.O_PATH)) for path in paths]
        mount("none", folder, "tmpfs", _NO_SUID | _NO_DEVICES, "mode=755,size=1m")
        for path, handle in held:
            if os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112 - a folder that has no path any more
                os.makedirs(path, 0o755, exist_ok=True)  # noqa: PTH103
            else:
                os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)  # noqa: PTH103, PTH120
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
            mount(f"/proc/self/fd/{handle}", path, None, _BIND | _RECURSIVE)
            os.close(handle)
        mount("none", folder, None, _REMOUNT | _READ_ONLY | _NO_SUID | _NO_DEVICES, "mode=755,size=1m")


if __name__ == "__main__":
    main()
