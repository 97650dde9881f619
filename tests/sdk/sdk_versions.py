"""The official clients, each version in a folder of its own under .sdk/, made on first use."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PYTHON = ("2.0.0", "2.34.0", "3.4.0")
JAVASCRIPT = ("2.32.0", "3.1.0")
SDK = Path(__file__).parents[2] / ".sdk"
MINUTES = 10 * 60.0


def python(version: str) -> Path:
    """The interpreter of a virtual environment with google-genai of this version."""
    requirement = f"google-genai=={version}"

    def make(folder: Path) -> None:
        _run(sys.executable, "-m", "venv", folder)
        pip = (folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
        _run(*pip, requirement)

    return _made(f"google-genai-{version}", requirement, make) / "bin" / "python"


def node(version: str) -> tuple[Path, Path]:
    """Node, and a folder with @google/genai of this version; skips the test where there is no Node."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("node and npm are not installed")
    requirement = f"@google/genai@{version}"

    def make(folder: Path) -> None:
        folder.mkdir()
        _run(npm, "install", "--prefix", folder, "--no-fund", "--no-audit", "--ignore-scripts", requirement)

    return Path(found), _made(f"js-{version.partition('.')[0]}", requirement, make)


def _made(name: str, requirement: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` makes once. What an interruption left is thrown away; two processes do not meet in it."""
    SDK.mkdir(exist_ok=True)
    folder = SDK / name
    stamp = folder / "installed"
    with (SDK / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != requirement:
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            stamp.write_text(requirement, encoding="utf-8")
    return folder


def _run(*command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=MINUTES)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
