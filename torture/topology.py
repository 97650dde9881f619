"""What is tortured: servers, and what they stand on; each on free ports of this machine, gone at the end."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from torture import effects, jobs
from torture.disks import Disk, NoDisk, mounted
from torture.lines import Line
from torture.processes import Server, Supervisor

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))  # PostgreSQL and NATS as the tests have them

if TYPE_CHECKING:
    from jetstream import Nats
    from postgres import Postgres

# What each consists of: the roles of its servers.
TOPOLOGIES = {
    "sqlite": ("all",),
    "postgres": ("all",),
    "cluster": ("api", "api", "worker", "worker"),
}
# What faults may need, and each has.
THERE = {
    "sqlite": frozenset({"clients", "server", "disk"}),
    "postgres": frozenset({"clients", "server", "postgres", "disk"}),
    "cluster": frozenset({"clients", "server", "workers", "apis", "postgres", "nats", "disk"}),
}
_DISK = {"sqlite": 64, "postgres": 400, "cluster": 400}  # MB


class Topology:
    """`async with Topology("cluster", tokens_per_second=15) as it`. `notes` say what could not be had, and why."""

    def __init__(self, name: str, *, tokens_per_second: float = 15, small_disk: bool = True) -> None:
        self.name = name
        self.servers: list[Server] = []
        self.postgres: Postgres | None = None
        self.nats: Nats | None = None
        self.disk: Disk | None = None
        self.lines: dict[tuple[str, str], Line] = {}  # by the server's name, and what the line leads to
        self.notes: list[str] = []
        self.in_hand: set[Server] = set()  # whom a fault has in hand: not to be started again by the supervisor
        self.hung_up = asyncio.Event()  # set for a moment: every client is to hang up
        self._pace = tokens_per_second
        self._small_disk = small_disk
        self._stack = AsyncExitStack()

    @property
    def apis(self) -> list[Server]:
        """The servers that clients may speak to."""
        return [server for server in self.servers if server.role != "worker"]

    @property
    def workers(self) -> list[Server]:
        """The servers that run what is asked for in the background."""
        return [server for server in self.servers if server.role != "api"]

    @property
    def many(self) -> bool:
        """Whether there are several servers, of which any can serve any stream."""
        return len(self.servers) > 1

    @property
    def there(self) -> frozenset[str]:
        """What faults may need, and it has."""
        return THERE[self.name] - ({"disk"} if self.disk is None else set())

    def pick(self, chance: random.Random) -> Server | None:
        """A server for a request, as a balancer with a health check and no memory would choose it."""
        return chance.choice(found) if (found := [server for server in self.apis if server.serves]) else None

    def effects(self) -> dict[str, int] | None:
        """How often each call of a tool was begun, if that is known."""
        return dict(effects.count(self.folder / "effects"))

    def keep_logs(self, folder: Path) -> None:
        """Copy what everybody has written to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for server in self.servers:
            (folder / f"{server.name}.log").write_text(server.log, encoding="utf-8")
        if self.nats is not None:
            (folder / "nats.log").write_text(self.nats.log, encoding="utf-8")
        if self.postgres is not None:
            shutil.copy(self._postgres_log, folder / "postgres.log")

    # ------------------------------------------------------------------ up and down

    async def __aenter__(self) -> Topology:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="antiphon-torture-"))
        self.folder.chmod(0o755)
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        if self._small_disk:
            try:
                self.disk = self._stack.enter_context(mounted(self.folder / "disk", _DISK[self.name]))
            except NoDisk as why:
                self.notes.append(f"no full disk: {why}")
        database = await self._open_postgres() if self.name != "sqlite" else None
        if self.name == "cluster":
            import jetstream

            self.nats = self._stack.enter_context(jetstream.server())
        scripts = jobs.write_scripts(self.folder, self._pace)
        for place, role in enumerate(TOPOLOGIES[self.name]):
            self.servers.append(await self._server(f"{role}-{place}", role, scripts, database))
        self._stack.push_async_callback(self._kill)
        # Not at once: the first brings the database up to date, and two processors are not many.
        for server in self.servers:
            await server.start()
        supervisor = Supervisor(self.servers, lambda server: server in self.in_hand)
        running = asyncio.create_task(supervisor.run())
        self._stack.push_async_callback(_end, running)

    async def _open_postgres(self) -> str:
        from postgres import Postgres

        where = Path(tempfile.mkdtemp(prefix="postgres-", dir=self.disk.folder if self.disk else None))
        self._stack.callback(shutil.rmtree, where, ignore_errors=True)
        self._postgres_log = where / "log"
        self.postgres = await asyncio.to_thread(Postgres, where)
        self._stack.callback(_stop, self.postgres)
        self._stack.enter_context(self.postgres.watched())
        return await asyncio.to_thread(self.postgres.database)

    async def _server(self, name: str, role: str, scripts: list[str], database: str | None) -> Server:
        where = self.disk.folder if self.disk and self.name == "sqlite" else self.folder
        command = [sys.executable, "-m", "antiphon", "serve", "--data", str(where / name), *scripts]
        if database is not None:
            assert self.postgres is not None
            line = self.lines[name, "postgres"] = await self._stack.enter_async_context(Line(self.postgres.port))
            command += ["--database", database.replace(f":{self.postgres.port}/", f":{line.port}/")]
        if self.nats is not None:
            line = self.lines[name, "nats"] = await self._stack.enter_async_context(Line(self.nats.port))
            command += ["--nats", f"nats://127.0.0.1:{line.port}", "--role", role]
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]  # the tools that leave traces are here
        environment = {effects.VARIABLE: str(self.folder / "effects"), "PYTHONPATH": os.pathsep.join(paths)}
        return Server(name, role, command, environment, self.folder / f"{name}.log")

    async def _kill(self) -> None:
        self.in_hand.update(self.servers)
        await asyncio.gather(*(server.kill() for server in self.servers))

    # ------------------------------------------------------------------ made whole

    async def mend(self) -> None:
        """Everything runs again, whatever was done to it."""
        for line in self.lines.values():
            line.mend()
        if self.disk is not None:
            self.disk.free()
        if self.postgres is not None and not await self._answers():
            await asyncio.to_thread(_restart, self.postgres)
        if self.nats is not None:
            await asyncio.to_thread(_raise_nats, self.nats)
        for server in self.servers:
            server.thaw()
        for server in self.servers:
            if not server.alive:
                await server.start()
        self.in_hand.clear()

    async def _answers(self) -> bool:
        import asyncpg

        assert self.postgres is not None
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            connection = await asyncpg.connect(self.postgres.url("postgres"), timeout=10)
            await connection.close()
            return True
        return False


def _stop(postgres: Postgres) -> None:
    with suppress(AssertionError):  # it may have ended by itself, of a full disk
        postgres.stop("immediate")


def _restart(postgres: Postgres) -> None:
    _stop(postgres)
    postgres.start()


def _raise_nats(nats: Nats) -> None:
    nats.thaw()
    if not nats.runs:
        nats.start()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
