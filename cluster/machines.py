"""What stands for the machines of a cluster: processes on free ports of this one, gone at the end."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from torture.processes import Server

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))  # PostgreSQL and NATS as the tests have them

if TYPE_CHECKING:
    from jetstream import Nats
    from postgres import Postgres

ROLES = ("api", "api", "worker", "worker")


class Cluster:
    """`async with Cluster(["--model=scripted"]) as it`: `arguments` are those of every server.

    Without NATS or PostgreSQL on this machine it raises their `NotHere`.
    """

    def __init__(
        self, arguments: Sequence[str], *, roles: Sequence[str] = ROLES, environment: Mapping[str, str] | None = None
    ) -> None:
        self.servers: list[Server] = []
        self.postgres: Postgres
        self.nats: Nats
        self.database = ""
        self._arguments = arguments
        self._roles = roles
        self._environment = environment or {}
        self._stack = AsyncExitStack()

    @property
    def apis(self) -> list[Server]:
        """Those that take requests."""
        return [server for server in self.servers if server.role != "worker"]

    @property
    def workers(self) -> list[Server]:
        """Those that run what is asked for in the background."""
        return [server for server in self.servers if server.role != "api"]

    async def __aenter__(self) -> Cluster:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        import jetstream
        import postgres

        self.folder = Path(tempfile.mkdtemp(prefix="antiphon-cluster-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.postgres = self._stack.enter_context(postgres.cluster())
        self.nats = self._stack.enter_context(jetstream.server())
        self.database = await asyncio.to_thread(self.postgres.database)
        await self.add(self._roles[0])  # it brings the database up to date
        await asyncio.gather(*(self.add(role) for role in self._roles[1:]))

    async def add(self, role: str) -> Server:
        """One server more."""
        name = f"{role}-{len(self.servers) + 1}"
        shared = ["--database", self.database, "--nats", self.nats.url, "--role", role]
        command = [sys.executable, "-m", "antiphon", "serve", "--data", str(self.folder / name), *shared]
        python = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {"PYTHONPATH": python, **self._environment}
        server = Server(name, role, [*command, *self._arguments], environment, self.folder / f"{name}.log")
        self.servers.append(server)
        self._stack.push_async_callback(server.kill)
        await server.start()
        return server
