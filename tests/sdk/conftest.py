"""Programs of the official clients, each a process of its own, and one scripted server for all of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import sdk_versions

from serving import PATIENCE, Server

HERE = Path(__file__).parent
KEY = "a-key-of-no-account"


@pytest.fixture(scope="session")
def sdk_server(session_server: Callable[..., Server]) -> Server:
    """The server that the programs talk to."""
    return session_server((HERE / "script.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def server_with_keys(session_server: Callable[..., Server]) -> Server:
    """One that does not know the programs' key."""
    return session_server("", "--api-key", "another-key")


@pytest.fixture(scope="session")
def run_program(sdk_server: Server) -> Callable[..., str]:
    """`run_program(version, "quick_start.py", *arguments)`: what the program prints. Fails where it fails."""

    def run(version: str, program: str, *arguments: str) -> str:
        done = _run(version, program, arguments, sdk_server)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def failing_program() -> Callable[..., str]:
    """What a program prints that is expected to fail."""

    def run(version: str, program: str, *, server: Server) -> str:
        done = _run(version, program, (), server)
        assert done.returncode != 0, done.stdout
        return done.stderr

    return run


def _run(version: str, program: str, arguments: tuple[str, ...], server: Server) -> subprocess.CompletedProcess[str]:
    """Run it in an environment of a URL and a key and nothing else."""
    environment = {"GOOGLE_GEMINI_BASE_URL": server.url, "GEMINI_API_KEY": KEY}
    command = [*_command(version, HERE / "programs" / program), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)


def _command(version: str, program: Path) -> list[str]:
    if program.suffix == ".py":
        return [str(sdk_versions.python(version)), str(program)]
    node, folder = sdk_versions.node(version)
    return [str(node), shutil.copy(program, folder)]  # Node looks for packages beside the program
