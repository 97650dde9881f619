"""`antiphon research`, as typed: progress, the report, a page of it, a plan to approve, a server that goes away, Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.index.collection import Index
from antiphon.ports import Leaf
from serving import PATIENCE, Server, ServerFactory
from test_research import PAGES, QUESTION, REPORT, SCRIPT

STALLED = '[[turns]]\nwhen = "something still missing"\nfault = { kind = "stall" }\n'


@pytest.fixture
def search(tmp_path: Path) -> str:
    """A tool that finds two pages of an index."""

    async def fill() -> None:
        index = Index(tmp_path / "search.db")
        for name, text in PAGES.items():
            await index.add(name, title=f"About {name}", url=f"file:towers/{name}.md", leaves=[Leaf(text)])
        await index.aclose()

    asyncio.run(fill())
    return f"--tool=google_search=local:{tmp_path / 'search.db'}"


def command(of: Server, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "antiphon", "research", "--url", of.url, *arguments]


def research(of: Server, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(of, *arguments), input=stdin, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def begun(of: Server, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(of, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


def told(process: subprocess.Popen[str], words: str) -> list[str]:
    """What it says up to these words."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"{words!r} is not in {lines}")


def last_id(stderr: str) -> str:
    return stderr.split()[-1]


def test_standard_output_is_the_report_and_a_page_holds_it_too(
    server: ServerFactory, search: str, tmp_path: Path
) -> None:
    one, file = server(SCRIPT, search), tmp_path / "report.html"
    done = research(one, QUESTION, "--html", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stdout == REPORT
    assert "Generating research plan\n  1. How high is the tower of Ostra?\n" in done.stderr
    assert "  - tower Ostra high\n" in done.stderr and re.search(r"· 4 searches · 0 pages · [\d,]+ tokens", done.stderr)
    assert re.search(r"^completed v1_\w+\Z", done.stderr.strip(), re.MULTILINE)
    html = file.read_text(encoding="utf-8")
    assert QUESTION in html and "<h1>Two towers</h1>" in html
    assert "41 metres high.<sup>" in html and "[1]" not in html
    assert html.count('<li id="source-') == 2 and html.count("About ostra <a") == 1
    again = research(one, "--follow", last_id(done.stderr))
    assert (again.returncode, again.stdout) == (0, done.stdout)


def test_a_plan_is_shown_changed_and_approved_before_anything_is_looked_up(server: ServerFactory, search: str) -> None:
    one = server(SCRIPT, search)
    waits = research(one, "--plan", QUESTION)
    assert (waits.returncode, waits.stdout) == (0, "")
    assert "1. How high is the tower of Ostra?" in waits.stderr and "Searching" not in waits.stderr
    found = re.search(r"The plan waits: antiphon research --previous (\S+) '(.+)'", waits.stderr)
    assert found is not None
    assert "3 metres higher" in research(one, "--previous", found[1], found[2]).stdout
    done = research(one, "--plan", QUESTION, stdin="Leave out Vara.\nok\n")
    assert done.stderr.count("Enter starts the research; or say what to change: ") == 2
    assert "3 metres higher" in done.stdout


def test_a_server_that_is_killed_is_come_back_to(server: ServerFactory, search: str) -> None:
    one = server(SCRIPT.replace("delay = 0.05", "delay = 0.3"), search)
    with begun(one, QUESTION) as process:
        before = told(process, "Searching")
        one.kill()
        before += told(process, "going back to it")
        one.restart()
        report, rest = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "3 metres higher" in report
    stages = "".join(before) + rest
    assert stages.count("Generating research plan") == 1 and stages.count("Checking citations") == 1


def test_ctrl_c_cancels_the_research_at_the_server(server: ServerFactory, search: str) -> None:
    one = server(f"{STALLED}{SCRIPT.partition(chr(10))[2]}", search)
    with begun(one, QUESTION) as process:
        told(process, "Taking notes")
        told(process, "Taking notes")
        process.send_signal(signal.SIGINT)
        report, rest = process.communicate(timeout=PATIENCE)
    assert (process.returncode, report) == (130, "")
    assert "cancelled " in rest and one.get(last_id(rest))["status"] == "cancelled"
    assert "Traceback" not in rest


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal of 80 columns and 24 lines."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


def drawn(ours: int) -> str:
    """All that is written to a terminal until nobody is there any more."""
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            piece = b""
        if not piece:
            return b"".join(pieces).decode()
        pieces.append(piece)


def test_a_terminal_shows_the_plan_and_ticks_off_what_is_done(
    server: ServerFactory, search: str, terminal: tuple[int, int]
) -> None:
    one, (ours, theirs) = server(SCRIPT, search), terminal
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(
        command(one, QUESTION), stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL, env=environment
    ) as process:
        os.close(theirs)
        seen = drawn(ours)
        assert process.stdout is not None and b"3 metres higher" in process.stdout.read()
    views = re.split(r"\x1b\[\d+F\x1b\[J", seen)
    assert any("○ How high is the tower of Ostra?" in view for view in views)
    assert any("✓ How high is the tower of Ostra?" in view for view in views)
    assert any("4/40 searches" in view for view in views)
    assert all(len(line) < 80 for view in views[:-1] for line in view.splitlines())
    assert "completed v1_" in views[-1] and "✓" not in views[-1], "nothing of the view stays"


@pytest.fixture(scope="module")
def idle(session_server: ServerFactory) -> Server:
    """A server that is asked nothing it can answer."""
    return session_server()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "antiphon research"),
        (["--follow", "v1_none", "and a question"], "antiphon research"),
        (["--follow", "v1_none"], "404"),
        (["x", "--html", "/nowhere/at/all.html"], "cannot be written"),
        (["x", "--html", "/"], "cannot be written"),
        (["x", "--previous", "v1_none"], "v1_none"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(idle: Server, arguments: list[str], words: str) -> None:
    refused = research(idle, *arguments)
    assert refused.returncode == 1 and refused.stdout == ""
    assert words in refused.stderr and "Traceback" not in refused.stderr


def test_a_research_that_failed_is_an_error_of_the_command(server: ServerFactory) -> None:
    refused = research(server(SCRIPT, "--tool=google_search=off", "--tool=url_context=off"), "x")
    assert refused.returncode == 1 and "The research failed: " in refused.stderr
    assert "google_search=local" in refused.stderr


def test_without_a_server_the_command_says_how_to_start_one() -> None:
    asked = [sys.executable, "-m", "antiphon", "research", "--url", "http://127.0.0.1:9", "x"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1 and "antiphon serve" in done.stderr


def test_without_the_extra_a_page_is_refused_before_anything_is_asked() -> None:
    program = "import sys; sys.modules['markdown_it'] = None; from antiphon.cli import main; main(sys.argv[1:])"
    typed = [sys.executable, "-c", program, "research", "--url", "http://127.0.0.1:9", "x", "--html", "x.html"]
    done = subprocess.run(typed, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1 and "antiphon[research]" in done.stderr
