"""The audit log: lines that are written beside what is going on, and what becomes of them where they cannot be."""

import json
import resource
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from antiphon.audit import Audit, Line
from records import Clock


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def line(resource: str = "", **fields: Any) -> Line:
    return Line(action="GET /interactions/{id}", resource=resource, outcome=200, **fields)


def test_a_line_says_who_did_what_when_and_how_it_came_out(tmp_path: Path) -> None:
    path, clock = tmp_path / "audit", Clock()
    audit = Audit(str(path), clock)
    audit.note(line("v1_1", key="ak_1", project="kitchen", address="127.0.0.1"))
    clock.now += 0.25
    audit.note(line("v1_2"))
    audit.close()
    assert lines(path) == [
        {
            "time": "2027-01-15T08:00:00.000Z",
            "project": "kitchen",
            "key": "ak_1",
            "action": "GET /interactions/{id}",
            "resource": "v1_1",
            "outcome": 200,
            "address": "127.0.0.1",
        },
        {
            "time": "2027-01-15T08:00:00.250Z",
            "action": "GET /interactions/{id}",
            "resource": "v1_2",
            "outcome": 200,
        },
    ]


def test_the_file_is_its_owners_alone_and_is_written_on(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    for turn in range(3):
        audit = Audit(str(path))
        audit.note(line(f"{turn}"))
        audit.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one["resource"] for one in lines(path)] == ["0", "1", "2"]


def test_lines_of_many_threads_are_whole_and_all_there(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    audits = [Audit(str(path)) for _ in range(2)]  # as two servers with one file

    def note(audit: Audit, name: str) -> None:
        for number in range(2000):
            audit.note(line(f"{name}{number}"))

    threads = [threading.Thread(target=note, args=(audits[n % 2], f"{n}/")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for audit in audits:
        audit.close()
    assert sorted(one["resource"] for one in lines(path)) == sorted(f"{n}/{k}" for n in range(4) for k in range(2000))


def test_a_file_that_is_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    audit = Audit(str(path))
    audit.note(line("before"))
    audit.flush()
    path.rename(tmp_path / "audit.1")
    audit.note(line("after"))
    audit.close()
    assert [one["resource"] for one in lines(tmp_path / "audit.1")] == ["before"]
    assert [one["resource"] for one in lines(path)] == ["after"]


def test_what_cannot_be_written_waits_until_it_can(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    audit = Audit(str(folder / "audit"))
    folder.rename(tmp_path / "away")
    audit.note(line("1"))
    audit.flush()
    audit.flush()
    assert [record.message.split(":")[0] for record in caplog.records] == ["the audit log cannot be written"]
    (tmp_path / "away").rename(folder)
    audit.note(line("2"))
    audit.close()
    assert [one["resource"] for one in lines(folder / "audit")] == ["1", "2"]


def test_on_a_full_disk_no_line_is_lost_or_doubled(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    audit = Audit(str(path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for number in range(100):
        audit.note(line(f"{number}"))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        audit.flush()
        assert path.stat().st_size == 1000, "in the middle of a line"
        audit.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    audit.note(line("100"))
    audit.close()
    texts = path.read_text(encoding="utf-8").splitlines()
    whole = [json.loads(text)["resource"] for text in texts if text.endswith("}")]
    assert whole == [f"{number}" for number in range(101)]
    assert len(texts) == 102  # and the one that was cut, which was written again


def test_a_place_that_cannot_be_written_to_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        Audit(str(tmp_path / "nowhere" / "audit"))


def test_a_dash_is_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    audit = Audit("-")
    audit.note(line("v1_1"))
    audit.close()
    assert json.loads(capfdbinary.readouterr().out)["resource"] == "v1_1"
