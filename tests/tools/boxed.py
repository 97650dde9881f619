"""A program: opens a sandbox as whoever runs it, lets code into it, and prints as JSON what came of it.

`argv[1]` is JSON: `jail`, `cells` ({name: [code, seconds]}), `container`: whether system calls are to be refused as a
container engine's default profile refuses them, and `landlock`, the version to make do with, or null. Beside the boxes
there are things to be reached: a file, a port, two sockets, a secret in the environment.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import antiphon
from antiphon import wire
from antiphon.sandbox import confine, filters
from antiphon.sandbox.boxes import Boxes
from antiphon.sandbox.jails import Limits

LIMITS = Limits(memory=400 * 2**20, disk=32 * 2**20, processes=24, entries=2000)
# What Docker's and containerd's default profiles refuse to a container without CAP_SYS_ADMIN.
_CONTAINED = (
    "unshare", "setns", "mount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr", "pidfd_getfd", "process_madvise", "kcmp", "bpf", "perf_event_open", "quotactl", "syslog",
    "init_module", "finit_module", "open_by_handle_at", "userfaultfd", "keyctl", "add_key", "request_key",
    "io_uring_setup", "io_uring_enter", "io_uring_register",
)  # fmt: skip


def main() -> None:
    asked = json.loads(sys.argv[1])
    if asked["container"]:
        contain()
    if asked["landlock"] is not None:
        confine.landlock_version = lambda _: asked["landlock"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)  # as /tmp is
        tempfile.tempdir = folder
        json.dump(asyncio.run(look(asked)), sys.stdout)


def contain() -> None:
    """No new namespaces, from here on."""
    made = filters.Filter()
    made.refuse({name: filters._DENIED[name] for name in _CONTAINED})
    made.refuse({"clone3": filters._CLONE3}, 38)
    made.refuse_bits(filters._CLONE, 0, filters._NEW_NAMESPACES)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    confine.install(libc, made.program())


async def look(asked: dict[str, Any]) -> dict[str, Any]:
    boxes = Boxes(asked["jail"], spares=0, limits=LIMITS)
    try:
        jail = await boxes.probe()
    except wire.Unavailable as error:
        return {"jail": None, "reason": error.message}
    with outside() as things:
        file = things["outside"]
        before = state(file)
        ran = await cells(boxes, asked["cells"], things)
        await boxes.aclose()
        own = [resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 8, os.getpriority(os.PRIO_PROCESS, 0) < 19]
        intact = [state(file) == before, *own, len(os.sched_getaffinity(0)) == os.cpu_count()]
    return {
        "jail": jail,
        "ran": ran,
        "intact": intact,
        "processes": confine.descendants(os.getpid()),
        "places": places(),
    }


def places() -> list[str]:
    """The folders of boxes that are still there."""
    return [path.name for path in Path(tempfile.gettempdir()).iterdir()]


def state(file: Path) -> tuple[object, ...]:
    seen = file.stat()
    return file.read_text(), seen.st_mode, seen.st_mtime, seen.st_uid, seen.st_size


@contextmanager
def outside() -> Iterator[dict[str, Any]]:
    """What there is to be reached."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        Path(folder).chmod(0o755)
        file = Path(folder, "server.db")
        file.write_text("the server's own words")
        file.chmod(0o644)
        port = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        local, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        local.bind(f"{folder}/socket")
        Path(folder, "socket").chmod(0o777)
        abstract.bind(f"\0{folder}")
        local.listen()
        abstract.listen()
        yield {
            "port": port.getsockname()[1],
            "outside": file,
            "folder": folder,
            "socket": f"{folder}/socket",
            "abstract": folder,
            "server": os.getpid(),
            "parent": os.getppid(),
            "secret": os.environ["SECRET"],
            "python": os.__file__,
            "source": Path(antiphon.__file__).parents[2] / "pyproject.toml",
        }


async def cells(boxes: Boxes, wanted: dict[str, Any], filled: dict[str, Any]) -> dict[str, str]:
    box = await boxes.open()
    ran = {}
    for name, (code, seconds) in wanted.items():
        for word, value in filled.items():
            code = code.replace(f"<<{word}>>", str(value))
        ran[name] = (await box.run(code, seconds=seconds)).output
    await box.aclose()
    return ran


if __name__ == "__main__":
    main()
