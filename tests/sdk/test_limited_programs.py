"""What the official client makes of a key's limits: it waits as long as it is told, and else says what it was told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sdk_versions

from serving import PATIENCE, Server, ServerFactory

pytestmark = pytest.mark.sdk
SCRIPT = """
[[turns]]
when = "for ever"
text = "Well, "
fault = { kind = "stall", after = 1 }
"""


def made(server: Server, *limits: str) -> str:
    command = [sys.executable, "-m", "antiphon", "keys", "create", "p", *limits, "--data", str(server.data)]
    return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL, timeout=PATIENCE).strip()


@contextmanager
def asking(server: Server, version: str, key: str) -> Iterator[subprocess.Popen[str]]:
    """The program, while it runs."""
    program = Path(__file__).parent / "programs" / "limited.py"
    command = [str(sdk_versions.python(version)), str(program), key]
    environment = {"GOOGLE_GEMINI_BASE_URL": server.url, "PATH": os.environ["PATH"]}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("version", sdk_versions.PYTHON)
def test_the_python_client_waits_until_a_run_has_ended(
    session_server: ServerFactory, tmp_path: Path, version: str
) -> None:
    audit = tmp_path / "audit"
    server = session_server(SCRIPT, "--audit", str(audit))
    key = made(server, "--concurrent-runs", "1")
    headers = {"x-goog-api-key": key}
    body = {"model": "scripted", "input": "for ever", "background": True}
    id = server.request("POST", "/v1beta/interactions", body, headers).json()["id"]
    with asking(server, version, key) as program:
        while '"outcome":429' not in audit.read_text(encoding="utf-8"):
            assert program.poll() is None
        server.request("POST", f"/v1beta/interactions/{id}/cancel", {}, headers)
        assert program.communicate(timeout=PATIENCE)[0] == "completed\n"


@pytest.mark.parametrize("version", sdk_versions.PYTHON)
def test_the_python_client_says_that_the_day_is_over(session_server: ServerFactory, version: str) -> None:
    server = session_server("")
    key = made(server, "--tokens-per-day", "1")
    with asking(server, version, key) as program:
        assert program.communicate(timeout=PATIENCE)[0] == "completed\n"
    with asking(server, version, key) as program:
        kind, words = program.communicate(timeout=PATIENCE)[0].splitlines()
    assert kind == "RateLimitError 429" and "This API key may use 1 tokens a day." in words
