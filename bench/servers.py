"""Servers as the benches need them: started on a chosen core, waited for, weighed, and stopped again."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[1]
LOGS = ROOT / ".sdk" / "bench-logs"


def cores() -> tuple[str, str]:
    """One core for the server under test, the others for the mock and the load. With one core they share it."""
    usable = sorted(os.sched_getaffinity(0))
    return str(usable[0]), ",".join(map(str, usable[1:] or usable))


# Read once: the bench itself moves to the second set, and would then see only that.
SERVER_CORE, LOAD_CORES = cores()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, path: str) -> bool:
    """Whether GET `path` gives 200 now. No HTTP client: this is polled every few milliseconds beside the server."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
            return connection.recv(64).startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
    except OSError:
        return False


def process_tree(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += process_tree(int(child))
    return found


def memory_mb(pid: int) -> float:
    """Resident memory of a process and its children, in MB of 10^6 bytes. Pages they share are counted in each."""
    pages = 0
    for process in process_tree(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_seconds(pid: int) -> float:
    """Processor time used so far by a process and its children: on a shared machine steadier than the clock."""
    ticks = 0
    for process in process_tree(pid):
        with contextlib.suppress(OSError):
            after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(after_name[11]) + int(after_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Neighbours:
    """What other processes took of the machine since this was made, as a share of all its cores. Where it is not
    near nothing, every clock in the run is wrong: the scheduler hands out slices longer than what is measured."""

    def __init__(self) -> None:
        self.began, self.before = time.monotonic(), self.others()

    @staticmethod
    def others() -> float:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
        busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return busy - cpu_seconds(os.getpid()) - ended.ru_utime - ended.ru_stime

    def share(self) -> float:
        cores = os.cpu_count() or 1
        return max(0.0, (self.others() - self.before) / (time.monotonic() - self.began) / cores)


def flush_ms(folder: Path) -> float:
    """How long this disk takes to make 4 KB durable (median): no stored create can be answered sooner."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(100):
            os.pwrite(file.fileno(), b"x" * 4096, 0)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return sorted(taken)[50] * 1e3


class Server:
    """A context manager: inside it the server answers, after it the server is gone."""

    def __init__(
        self,
        name: str,
        command: list[str],
        port: int,
        ready: str,
        *,
        core: str = SERVER_CORE,
        environment: Mapping[str, str] | None = None,
        patience: float = 30.0,
    ) -> None:
        self.name, self.port, self.ready, self.patience = name, port, ready, patience
        self.command = ["taskset", "-c", core, *command]
        self.environment = {**os.environ, **(environment or {})}
        self.start_seconds = 0.0

    def __enter__(self) -> Self:
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = LOGS / f"{self.name}.log"
        began = time.perf_counter()
        with self.log.open("wb") as output:
            # taskset replaces itself with the server, so this pid is the server's own; the session of its own lets
            # stop() reach any workers it starts.
            self.process = subprocess.Popen(
                self.command, stdout=output, stderr=output, env=self.environment, cwd=ROOT, start_new_session=True
            )
        try:
            self.wait(began)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.perf_counter() - began
        return self

    def wait(self, began: float) -> None:
        while not answers(self.port, self.ready):
            if self.process.poll() is not None or time.perf_counter() - began > self.patience:
                tail = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not start ({' '.join(self.command)}):\n{tail}")
            time.sleep(0.002)

    def memory(self) -> float:
        return memory_mb(self.process.pid)

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    def stop(self) -> None:
        for sign, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            try:
                self.process.wait(seconds)
                return
            except subprocess.TimeoutExpired:
                continue

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def mock() -> Server:
    port = free_port()
    command = [sys.executable, "-m", "bench.mock_openai", "--port", str(port)]
    return Server("mock", command, port, "/v1/models", core=LOAD_CORES)


def antiphon(data: Path, models: Mapping[str, str]) -> Server:
    """`models`: name -> source, as `antiphon serve --model` takes them; the empty name is the default model."""
    port = free_port()
    command = [str(ROOT / ".venv/bin/antiphon"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--data", str(data)]
    for name, source in models.items():
        command += ["--model", f"{name}={source}" if name else source]
    return Server("antiphon", command, port, "/healthz")
