"""A PostgreSQL of the tests' own: a cluster in a temporary directory, on a free port, stopped and removed at the end.

The system's own cluster, where there is one, is neither used nor touched. And a line to it that can be cut.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

PATIENCE = 60.0  # seconds: nothing here takes longer
_INSTALLING = 300.0
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 100
shared_buffers = 64MB
fsync = on
synchronous_commit = on
full_page_writes = on
"""


class NotHere(Exception):
    """Why no PostgreSQL can be had."""


def programs() -> Path:
    """Where PostgreSQL's programs are: Debian keeps them apart from other commands. Raises NotHere."""
    found = _find()
    if found is None:
        _install()
        found = _find()
    if found is None:
        raise NotHere("PostgreSQL's initdb is not on this machine: install the package 'postgresql'.")
    return found


def _find() -> Path | None:
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    if newest is None and (initdb := shutil.which("initdb")):
        newest = Path(initdb)
    return newest.parent if newest is not None else None


def _install() -> None:
    """Debian's package, where we may, without the cluster that it would make and start. Raises NotHere."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NotHere("PostgreSQL is not on this machine, and these tests may not install it.")
    common = Path("/etc/postgresql-common")
    common.mkdir(exist_ok=True)
    (common / "createcluster.conf").write_text("create_main_cluster = false\n", encoding="utf-8")
    command = ["apt-get", "install", "--yes", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run([*command, "postgresql"], env=environment, check=True, capture_output=True, timeout=_INSTALLING)
    except (subprocess.SubprocessError, OSError) as error:
        raise NotHere(f"PostgreSQL cannot be installed: {error}") from error


class Postgres:
    """A running cluster. `url(name)` is a database in it."""

    def __init__(self, folder: Path) -> None:
        self._bin = programs()
        self._folder = folder
        self._data = folder / "data"
        # It refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._password = secrets.token_urlsafe(12)
        self._numbers = itertools.count(1)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        if self._user is not None:
            shutil.chown(folder, self._user)
        folder.chmod(0o700)
        secret = folder / "password"
        secret.write_text(self._password, encoding="utf-8")
        if self._user is not None:
            shutil.chown(secret, self._user)
        locale = ("--locale=C", "--encoding=UTF8")
        self._do(
            "initdb",
            "--no-sync",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--username=tests",
            *locale,
            str(self._data),
        )
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(_CONFIGURATION.format(port=self.port, folder=folder))
        self.start()

    def _do(self, program: str, *arguments: str) -> None:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PGPASSWORD": self._password}
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            user=self._user,
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._do("pg_ctl", "start", "-w", "-s", "-D", str(self._data), "-l", str(self._folder / "log"))

    def stop(self, how: str = "fast") -> None:
        """Stop it: `fast` as an operator would, `immediate` as a crash would. Nothing happens where it does not run."""
        if (self._data / "postmaster.pid").exists():
            self._do("pg_ctl", "stop", "-w", "-s", "-D", str(self._data), "-m", how)

    def restart(self, how: str = "fast") -> None:
        """Stop it and start it again, on the same port."""
        self.stop(how)
        self.start()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Should this process be killed within the block, the cluster does not outlive it."""
        # `read` ends when the other end of the pipe does, whatever ended it.
        watch = 'read -r over; [ -n "$over" ] || { kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")"; rm -rf "$0"; }'
        command = ["sh", "-c", watch, str(self._folder)]
        # In a session of its own: what ends this one must not end it.
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True) as watcher:
            try:
                yield
            finally:
                watcher.communicate("over\n")

    def url(self, name: str, port: int | None = None) -> str:
        """How clients name a database of this cluster; with `port` through a line (see `Line`)."""
        return f"postgresql://tests:{self._password}@127.0.0.1:{port or self.port}/{name}"

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test{next(self._numbers)}"
        self._do("createdb", *self._address(), "--template=template0", name)
        return self.url(name)

    def empty(self, url: str) -> None:
        """Leave nothing of Antiphon's in a database: faster than a new one."""
        name = urlsplit(url).path.removeprefix("/")
        self._do("psql", *self._address(), "--quiet", "--command=DROP SCHEMA IF EXISTS antiphon CASCADE", name)

    def copy(self, url: str) -> str:
        """The URL of a new database, restored from a backup of this one's Antiphon that is made now."""
        name, copy, file = urlsplit(url).path.removeprefix("/"), self.database(), self._folder / "backup"
        self._do("pg_dump", *self._address(), "--schema=antiphon", f"--file={file}", name)
        there = urlsplit(copy).path.removeprefix("/")
        self._do("psql", *self._address(), "--quiet", "--set=ON_ERROR_STOP=1", f"--file={file}", there)
        return copy

    def _address(self) -> tuple[str, ...]:
        return "--host=127.0.0.1", f"--port={self.port}", "--username=tests"


@contextmanager
def cluster() -> Iterator[Postgres]:
    """A cluster for as long as the block lasts. Raises NotHere."""
    with ExitStack() as stack:
        # Not below pytest's own folder, which other users may not enter.
        folder = Path(tempfile.mkdtemp(prefix="antiphon-postgres-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        started = Postgres(folder)
        stack.callback(started.stop, "immediate")
        stack.enter_context(started.watched())
        yield started


class Line:
    """A way to a database that passes everything on, until it is told to lose what the database answers.

    `async with Line(postgres) as line`, then `line.url(name)`.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._given = url
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._losing: bytes | None = None
        self._freezing: bytes | None = None
        self.lost = 0  # answers

    @property
    def url(self) -> str:
        """The database, through this line."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return self._given.replace(f":{self._port}/", f":{port}/")

    def lose(self, answer: bytes) -> None:
        """The next answer with these bytes in it does not arrive, and the connection breaks."""
        self._losing = answer

    def freeze(self, answer: bytes = b"") -> None:
        """No answer with these bytes in it arrives any more, nor any after it, and no connection breaks."""
        self._freezing = answer

    def thaw(self) -> None:
        """Answers arrive again, on new connections."""
        self._freezing = None

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(ConnectionError, asyncio.CancelledError):
            up, down = await asyncio.open_connection(self._host, self._port)
            with suppress(ConnectionError):
                asking = asyncio.create_task(self._ask(reader, down))
                await self._answer(up, writer)
                asking.cancel()
            down.close()
        writer.close()

    async def _ask(self, reader: StreamReader, down: StreamWriter) -> None:
        with suppress(ConnectionError):
            while said := await reader.read(65536):
                down.write(said)
                await down.drain()
        down.close()

    async def _answer(self, up: StreamReader, writer: StreamWriter) -> None:
        while said := await up.read(65536):
            if self._losing is not None and self._losing in said:
                self._losing = None
                self.lost += 1
                return
            if self._freezing is not None and self._freezing in said:
                self.lost += 1
                await asyncio.Event().wait()
            writer.write(said)
            await writer.drain()
