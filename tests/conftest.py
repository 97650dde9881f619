"""What all tests share: a server as a process, and no network but this machine's own."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import jetstream
from antiphon.settings import is_loopback
from postgres import NotHere, Postgres, cluster
from serving import Server, ServerFactory

# In CI the same examples each time: a change fails for what it changed, and new examples are found at a developer's desk.
settings.register_profile("antiphon", max_examples=40, deadline=None, derandomize="CI" in os.environ)
settings.load_profile("antiphon")


@contextmanager
def servers(folder: Path) -> Iterator[ServerFactory]:
    """`server(script, *arguments, data=None)` starts one; all that it started are stopped at the end.

    `script` is the TOML text of a scripted model, which is the first model unless a `--model` is among the arguments;
    each of its tables [tools.TYPE] becomes a tool of the server. Further names are variables of its environment.
    """
    with ExitStack() as stack:
        count = 0

        def server(script: str = "", *arguments: str, data: Path | None = None, **environment: str) -> Server:
            nonlocal count
            count += 1
            file = folder / f"script{count}.toml"
            file.write_text(script, encoding="utf-8")
            model = [] if "--model" in arguments else ["--model", f"scripted:{file}"]
            tools = [f"--tool={type}={file}" for type in tomllib.loads(script).get("tools", {})]
            started = Server([*model, *tools, *arguments], data or folder / f"data{count}", environment)
            stack.callback(started.stop)
            return started

        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerFactory]:
    """A factory of servers that live as long as the test."""
    with servers(tmp_path) as factory:
        yield factory


@pytest.fixture(scope="session")
def session_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFactory]:
    """The same for servers that many tests share."""
    with servers(tmp_path_factory.mktemp("servers")) as factory:
        yield factory


# ---------------------------------------------------------------------------------------------------- no network

_online = False


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Only what fetches the weights of a model may leave this machine."""
    global _online
    _online = item.get_closest_marker("model") is not None


def _stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect" or _online or not isinstance(arguments[1], tuple):
        return
    if not is_loopback(arguments[1][0]):
        raise ConnectionRefusedError(f"A test tried to reach {arguments[1][0]}: tests stay on this machine.")


sys.addaudithook(_stay_here)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this session's own."""
    try:
        with cluster() as started:
            yield started
    except NotHere as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def _database(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture
def database(postgres: Postgres, _database: str) -> Iterator[str]:
    """The URL of an empty database."""
    yield _database
    postgres.empty(_database)


@pytest.fixture(scope="session")
def nats() -> Iterator[jetstream.Nats]:
    """A NATS of this session's own. Databases keep apart what is in it."""
    try:
        with jetstream.server() as started:
            yield started
    except jetstream.NotHere as error:
        pytest.skip(str(error))
