"""Files and stores as the official clients call them, over the real routes. Only a URL and a key are set."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sdk_versions

from antiphon.library import Quotas
from library_server import KEY, LibraryServer, serving
from serving import PATIENCE

pytestmark = pytest.mark.sdk
PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibraryServer]:
    with serving(tmp_path_factory.mktemp("data"), Quotas()) as started:
        yield started


def said(server: LibraryServer, command: list[str]) -> list[str]:
    """What a program prints, line by line. Fails where it fails."""
    environment = {"GOOGLE_GEMINI_BASE_URL": server.url, "GEMINI_API_KEY": KEY}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("version", ["2.34.0", "3.4.0"])
def test_the_python_client_uploads_imports_lists_and_deletes(server, version):
    assert said(server, [str(sdk_versions.python(version)), str(PROGRAMS / "files.py")]) == [
        "On cats text/plain 60 ACTIVE True",
        "10000000 True",
        "True True",
        "True True UPLOADED",
        "True",
        "None True",
        "['Cats again', 'On cats'] ['STATE_ACTIVE', 'STATE_ACTIVE']",
        "('year', 2020.0)",
        "2",
        "400 FAILED_PRECONDITION Cannot delete non-empty FileSearchStore.",
        "404 NOT_FOUND",
        "[]",
    ]


@pytest.mark.parametrize("version", sdk_versions.JAVASCRIPT)
def test_the_javascript_client_uploads_imports_lists_and_deletes(server, version):
    node, folder = sdk_versions.node(version)
    assert said(server, [str(node), shutil.copy(PROGRAMS / "files.mjs", folder)]) == [
        "On cats text/plain 60 ACTIVE",
        "10000000 true",
        "true",
        "true",
        "undefined true",
        "Cats again STATE_ACTIVE, On cats STATE_ACTIVE",
        "400 true",
        "true",
    ]
