"""The programs that listen and watch, against a server that asks a transcription server on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving import Server
from sounds import Ear, ear, film, heard, tone

SCRIPT = """
modalities = ["text"]
[[turns]]
when = "] The blue one."
text = "It says: The blue one."
"""
PRINTS = {
    "audio.py": r"It says: The blue one\. \| \['processing_call', 'processing_result', 'model_output'\]\n"
    r"It says: The blue one\.",
    "audio.mjs": r"It says: The blue one\.\nIt says: The blue one\.",
    "transcribe.py": r"The blue one\.\n0s 0\.5s The\n0\.5s 1s blue\n1s 1\.5s one\.",
    "transcribe.mjs": r"0s The\n0\.5s blue\n1s one\.",
    "video.py": r"It says: The blue one\.",
}


@pytest.fixture(scope="module")
def listening() -> Iterator[Ear]:
    with ear(heard("The blue one.", seconds=1.5)) as server:
        yield server


@pytest.fixture(scope="module")
def hearing_server(session_server: Callable[..., Server], listening: Ear) -> Server:
    return session_server(SCRIPT, f"--hearing={listening.url}")


@pytest.mark.sdk
@pytest.mark.parametrize("name", PRINTS)
def test_a_program_that_listens_prints_what_its_page_promises(run_example, hearing_server, tmp_path: Path, name):
    (tmp_path / "talk.wav").write_bytes(tone(3.0))
    (tmp_path / "clip.mp4").write_bytes(film(3.0, sound="aac"))
    printed = run_example(name, server=hearing_server)
    assert re.fullmatch(PRINTS[name], printed.strip(), re.DOTALL), printed
