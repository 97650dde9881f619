"""The torture suite in its short form: a few faults of each kind, on one machine and on many (docs/torture.md)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import jetstream
import postgres

ROOT = Path(__file__).parents[1]
LONGEST = 240.0  # seconds: usually it takes less than one


def tortured(folder: Path, topology: str, seed: int, *arguments: str) -> dict[str, Any]:
    """What a short campaign counted. Fails with its report where it found anything."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "torture", "--topology", topology, "--seed", str(seed), "--json", str(report)]
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    assert figures["findings"] == [] and figures["runs"] > 0 and figures["resumes"] > 0
    return figures


def of(*faults: str) -> list[str]:
    return ["--rounds", str(len(faults)), *(part for fault in faults for part in ("--fault", fault))]


def test_one_server_loses_nothing(tmp_path):
    figures = tortured(tmp_path, "sqlite", 1, *of("kill a server", "stop a server", "hang up on every client"))
    assert figures["restarts"] >= 1


def test_many_servers_lose_nothing(tmp_path):
    try:
        postgres.programs()
        jetstream.program()
    except (postgres.NotHere, jetstream.NotHere) as why:
        pytest.skip(str(why))
    faults = of("kill every worker", "kill an api server", "kill NATS and lose its disk", "restart PostgreSQL")
    figures = tortured(tmp_path, "cluster", 11, *faults)
    assert figures["takeovers"]["kill every worker"]["max"] <= 10, "the issue's bound"


def test_the_same_seed_plays_the_same_rounds(tmp_path):
    reports = [
        subprocess.run(
            [sys.executable, "-m", "torture", "--plan", "--seed", "7", "--rounds", "20"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert reports[0] == reports[1] and reports[0].count("\n") == 20
