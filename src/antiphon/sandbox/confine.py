"""The jail without namespaces, from inside: Landlock, seccomp and limits; and the warden that ends a box's processes.

Runs as a process of its own (its text is given to `python -c`, so it imports the standard library only and nothing of
ours). It splits in two: the warden stays outside of the jail and watches the box's folder; its child locks itself in and
becomes the driver. All processes of the box stay descendants of the warden, also those whose parents died, so that it
can end every one of them: when the driver ends, when the server wants it, and when the server is gone.
Landlock: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _SECCOMP_FILTER, _CHILD_SUBREAPER, _PARENT_DEATH = 38, 22, 2, 36, 1
_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_ALL_1 = (1 << 13) - 1  # the rights of ABI 1; then came one each:
_REFER, _TRUNCATE, _DEVICE_IOCTL = 1 << 13, 1 << 14, 1 << 15
_MAKE_CHARACTER, _MAKE_SOCKET, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_OF_A_FILE = _EXECUTE | _WRITE | _READ | _TRUNCATE
DISK, ENTRIES, DEPTH = 251, 252, 253  # what a warden ends with that had to end its box
_BETWEEN = 0.25  # seconds between two looks at the folder
_DEEPEST = 64
_COMING_AND_GOING = 256
_TCP, _SCOPES = 3, 3  # bind and connect; abstract unix sockets and signals


def main() -> None:
    """`argv[1]` is JSON: `readable`, `folder`, `alive` (a pipe the server holds open), `landlock`, `filter`, `driver` and
    what the driver is told: `limits`, `answers`.
    """
    asked = json.loads(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.umask(0o077)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    child = os.fork()
    if child == 0:
        libc.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for pipe in (woken, wake, asked["alive"]):
            os.close(pipe)
        _become_the_driver(libc, asked)
    nothing = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):  # the pipes are the driver's alone, so that its end is seen
        os.dup2(nothing, standard)
    os.close(asked["answers"])
    code = 1
    try:
        code = _wait(child, asked["alive"], woken, lambda: overfull(asked["folder"], child, asked["limits"]))
    finally:  # whatever happened to the warden, the box does not outlive it
        end_descendants(os.getpid())
        remove(asked["folder"])
        os._exit(code)


def _wait(child: int, alive: int, woken: int, overfull: Callable[[], int]) -> int:
    """Until the driver ends (its exit status, as a shell gives it), takes too much disk, or the server is gone."""
    while True:
        ready, _, _ = select.select([alive, woken], [], [], _BETWEEN)
        if alive in ready:
            return 0
        if woken in ready:
            os.read(woken, 4096)
        code = _reap(child)
        if code is None and not ready:
            code = overfull() or None
        if code is not None:
            return code


def _reap(child: int) -> int | None:
    """Take leave of all that ended; the status of `child` where it did."""
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if ended == 0:
            return None
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become_the_driver(libc: Any, asked: dict[str, Any]) -> None:
    folder = asked["folder"]
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")  # a machine short of memory ends boxes first
    os.chdir(f"{folder}/workspace")
    # The limit counts all processes of the user. With a user of its own a box has these two; else others come and go,
    # and the server counts as well (`watch.py`).
    known = _processes_of(os.getuid())
    asked["limits"]["processes"] += known if known == 2 else known + _COMING_AND_GOING
    restrict(libc, asked["landlock"], asked["readable"], [folder])
    install(libc, bytes.fromhex(asked["filter"]))
    sys.argv = ["-c", json.dumps({"limits": asked["limits"], "answers": asked["answers"]})]
    exec(compile(asked["driver"], "<driver>", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own text
    os._exit(0)


def _processes_of(user: int) -> int:
    """Threads are what the kernel counts."""
    found = 0
    for name in filter(str.isdigit, _listed("/proc")):
        try:
            if os.stat(f"/proc/{name}").st_uid == user:  # noqa: PTH116
                found += len(_listed(f"/proc/{name}/task"))
        except OSError:
            continue  # it ended
    return found


# ---------------------------------------------------------------------------------------------------- the jail


def landlock_version(libc: Any) -> int:
    """The kernel's Landlock ABI. Raises OSError where there is none."""
    return _checked(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1)))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def restrict(libc: Any, abi: int, readable: Iterable[str], writable: Iterable[str]) -> None:
    """From here on this process and its children reach `readable` and `writable`, and nothing else of the files."""
    rules, handled = _ruleset(libc, abi)

    def allow(path: str, rights: int) -> None:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if not os.path.isdir(path):  # noqa: PTH112
            rights &= _OF_A_FILE
        rule = struct.pack("=Qi", rights & handled, handle)
        _checked(libc.syscall(_ADD_RULE, rules, 1, rule, ctypes.c_uint(0)))
        os.close(handle)

    for path in readable:
        allow(path, _EXECUTE | _READ | _LIST)
    for path in writable:
        allow(path, handled & ~(_MAKE_CHARACTER | _MAKE_BLOCK | _MAKE_SOCKET | _DEVICE_IOCTL))
    allow("/dev/null", _READ | _WRITE)
    for path in ("/dev/urandom", "/dev/random"):
        allow(path, _READ)
    forbid_privileges(libc)
    _checked(libc.syscall(_RESTRICT_SELF, rules, ctypes.c_uint(0)))
    os.close(rules)


def forbid_privileges(libc: Any) -> None:
    """No program that this process becomes has more rights than it: what filters ask for before they are put in force."""
    _checked(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))


def _ruleset(libc: Any, abi: int) -> tuple[int, int]:
    """An empty set of rules, and the rights to files that it takes away: all that this kernel can."""
    later = {2: _REFER, 3: _TRUNCATE, 5: _DEVICE_IOCTL}
    handled = _ALL_1 | sum(right for since, right in later.items() if abi >= since)
    attributes = struct.pack("=QQQ", handled, _TCP if abi >= 4 else 0, _SCOPES if abi >= 6 else 0)
    size = ctypes.c_size_t(24 if abi >= 6 else 16 if abi >= 4 else 8)
    return _checked(libc.syscall(_CREATE_RULESET, attributes, size, ctypes.c_uint(0))), handled


def install(libc: Any, program: bytes) -> None:
    """Put a seccomp filter in force, for this process and its children."""
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    _checked(libc.prctl(_SET_SECCOMP, _SECCOMP_FILTER, described, 0, 0))


# ---------------------------------------------------------------------------------------------------- the disk


class _TooMuch(Exception):
    """`status` is what the warden ends with."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


def overfull(folder: str, driver: int, limits: dict[str, int]) -> int:
    """What the box has too much of in its folder, as the status to end with; 0 where all is well or nothing runs.

    Files that are deleted and still held take room as well. What lies there may be made to mislead whoever looks.
    """
    if state(driver) in "TtZX":
        return 0
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return DISK  # somebody has taken it away
    try:
        used, _ = _walk(top, limits["entries"], _DEEPEST, (0, 0))
        used += _deleted(descendants(os.getpid()), os.fstat(top).st_dev)
    except _TooMuch as found:
        return found.status
    finally:
        os.close(top)
    return DISK if used > limits["disk"] else 0


def _walk(folder: int, most: int, depth: int, so_far: tuple[int, int]) -> tuple[int, int]:
    """Bytes and entries in an open folder. By handles: a folder that becomes a link meanwhile leads nowhere."""
    used, entries = so_far
    folders = []
    with os.scandir(folder) as found:
        for entry in found:
            try:
                seen = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            used, entries = used + seen.st_blocks * 512, entries + 1
            if entries > most:
                raise _TooMuch(ENTRIES)
            if stat.S_ISDIR(seen.st_mode):
                folders.append(entry.name)
    if folders and depth == 0:
        raise _TooMuch(DEPTH)
    for name in folders:
        handle = _enter(name, folder)
        if handle is not None:
            try:
                used, entries = _walk(handle, most, depth - 1, (used, entries))
            finally:
                os.close(handle)
    return used, entries


def _enter(name: str, folder: int) -> int | None:
    how = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        try:
            return os.open(name, how, dir_fd=folder)
        except PermissionError:  # made so that only those who know the names in it can use it
            handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            try:
                os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101
                return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY)
            finally:
                os.close(handle)
    except OSError:
        return None  # it is gone, or no folder any more


def _deleted(processes: list[int], device: int) -> int:
    """Bytes of files on `device` that have no name any more and that a process holds, open or mapped."""
    sizes: dict[int, int] = {}
    for process in processes:
        for handle in _listed(f"/proc/{process}/fd"):
            try:
                seen = os.stat(f"/proc/{process}/fd/{handle}")  # noqa: PTH116
            except OSError:
                continue
            if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 0 and seen.st_dev == device:
                sizes[seen.st_ino] = seen.st_blocks * 512
        for line in _read(f"/proc/{process}/maps").splitlines():
            if line.endswith(" (deleted)"):
                addresses, _, _, place, inode, *_ = line.split()
                major, _, minor = place.partition(":")
                first, _, last = addresses.partition("-")
                if os.makedev(int(major, 16), int(minor, 16)) == device:
                    sizes[int(inode)] = max(sizes.get(int(inode), 0), int(last, 16) - int(first, 16))
    return sum(sizes.values())


# ---------------------------------------------------------------------------------------------------- the end


def descendants(root: int) -> list[int]:
    """All processes below `root`, parents first."""
    found = [root]
    for process in found:
        for thread in _listed(f"/proc/{process}/task"):
            found += map(int, _read(f"/proc/{process}/task/{thread}/children").split())
    return found[1:]


def end_descendants(root: int, seconds: float = 10.0) -> None:
    """End them all. They are stopped first: what is stopped makes no new ones, and still counts for the limit."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if root == os.getpid():
            _reap(-1)
        below = descendants(root)
        living = [process for process in below if state(process) not in "ZX"]
        if not living:
            return
        for each in (signal.SIGSTOP, signal.SIGKILL):
            for process in living:
                tell(process, each)
        time.sleep(0.002)


def state(process: int) -> str:
    """The kernel's letter for what a process does; X where there is none."""
    return _read(f"/proc/{process}/stat").rpartition(")")[2].strip()[:1] or "X"


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return []  # it ended, or it is another's


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


def tell(process: int, what: int) -> None:
    """Send a signal; one that has ended hears nothing."""
    try:
        os.kill(process, what)
    except ProcessLookupError:
        return


def remove(folder: str) -> None:
    """With the system's own programs: they follow no links, and folders in folders have no depth that stops them."""
    remove = ["/bin/rm", "-rf", "--", folder]
    # A folder may have been made so that nobody may enter it, its owner included.
    for command in (remove, ["/bin/chmod", "-R", "u+rwX", "--", folder], remove):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        if command is remove and done.returncode == 0:
            return


if __name__ == "__main__":
    main()
