"""The examples as their readers run them: a program, a URL and a key, and the scripted model of `examples/`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import PATIENCE, Server

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
JAVASCRIPT = ROOT / ".sdk" / "js-3"


@pytest.fixture(scope="session")
def example_server(session_server: Callable[..., Server]) -> Server:
    """The server that the examples talk to."""
    return session_server((EXAMPLES / "scripted.toml").read_text(encoding="utf-8"))


@pytest.fixture
def run_example(example_server: Server, tmp_path: Path) -> Callable[..., str]:
    """`run_example("quickstart.py")`: what it prints. Fails where it fails."""

    def run(name: str, *, server: Server = example_server) -> str:
        variables = {
            "GOOGLE_GEMINI_BASE_URL": server.url,
            "GEMINI_API_KEY": "any-key-at-all",
            "PATH": os.environ["PATH"],
        }
        command = _command(EXAMPLES / name, tmp_path)
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def _command(example: Path, folder: Path) -> list[str]:
    if example.suffix == ".py":
        return [sys.executable, str(example)]
    if example.suffix == ".sh":
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        return ["bash", str(example)]
    node = shutil.which("node")
    if node is None or not (JAVASCRIPT / "node_modules").is_dir():
        pytest.skip("@google/genai is not here yet: tests/sdk fetches it into .sdk/js-3")
    (folder / "node_modules").symlink_to(JAVASCRIPT / "node_modules")
    return [node, shutil.copy(example, folder)]  # Node looks for packages beside the program
