"""Backups of a server that is being written to: whatever was acknowledged before is in them, and goes on from there."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from antiphon import cli_backup, log, wire
from postgres import NotHere, Postgres, cluster
from serving import Server, ServerFactory

SCRIPT = """
tokens_per_second = 20
[[turns]]
when = "slow"
text = "one two three four five six seven eight nine ten"
[[turns]]
when = "who"
recall = "I am (\\\\w+)"
text = "You are {0}."
[[turns]]
text = "ok"
"""
WRITERS = 4
BEFORE = 40  # interactions that are acknowledged before the backup begins


def ask(server: Server, text: str, **fields: Any) -> dict[str, Any]:
    answer = server.request("POST", "/v1beta/interactions", {"model": "scripted", "input": text} | fields)
    assert answer.status == 200, answer.body
    return answer.json()


class Writing:
    """Clients that make interactions for as long as the block lasts; `acknowledged` are those they have an answer of."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._enough = threading.Semaphore(0)
        self.acknowledged: list[str] = []
        self._threads = [threading.Thread(target=self._write) for _ in range(WRITERS)]

    def _write(self) -> None:
        while not self._over.is_set():
            self.acknowledged.append(ask(self._server, "hello")["id"])
            self._enough.release()

    def wait(self, count: int) -> list[str]:
        """Wait for so many more; all that are acknowledged now."""
        for _ in range(count):
            assert self._enough.acquire(timeout=60)
        return list(self.acknowledged)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()


def check(
    one: Server, copied: Callable[[], Server], more: Callable[[Server], Callable[[Server], None]] | None = None
) -> None:
    """Back up `one` while it is written to; the server that goes on from it has all that was acknowledged before."""
    first = ask(one, "I am Ada")
    also = more(one) if more is not None else None
    with closing(one.follow("slow", background=True)) as stream:
        seen = list(islice(stream, 4))
        running = seen[0]["interaction"]["id"]
        writing = Writing(one)
        with writing.going_on():
            before = writing.wait(BEFORE)
            two = copied()
            writing.wait(2)  # the backup has held nobody up
    for id in (first["id"], *before):
        assert two.get(id) == one.get(id)
    said = ask(two, "who am I?", previous_interaction_id=first["id"])
    assert said["steps"][-1]["content"][0]["text"] == "You are Ada."
    *frames, done = two.frames("GET", f"/v1beta/interactions/{running}?stream=true")
    assert done == log.DONE and [log.number(frame) for frame in frames] == list(range(1, len(frames) + 1))
    state = log.fold(log.decode(b"".join(frames)))
    assert state.status == "completed", "it was gone on with from where the backup had it"
    last = state.steps[-1]
    assert isinstance(last, wire.ModelOutputStep) and last.content is not None
    assert last.content[0] == wire.TextContent(text="one two three four five six seven eight nine ten")
    if also is not None:
        also(two)


def uploaded(server: Server) -> Callable[[Server], None]:
    """Upload a file; what comes back checks that a server has it."""
    content = b"The tower of Ostra was built in 1832.\n" * 1000
    start = {
        "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": str(len(content)),
        "x-goog-upload-header-content-type": "text/plain",
    }
    begun = server.request("POST", "/upload/v1beta/files", {"file": {"displayName": "tower.txt"}}, start)
    assert begun.status == 200, begun.body
    path = "/upload" + begun.headers["x-goog-upload-url"].partition("/upload")[2]
    finish = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
    file = server.request("POST", path, content, finish).json()["file"]

    def look(other: Server) -> None:
        there = other.request("GET", f"/v1beta/{file['name']}:download?alt=media")
        assert there.status == 200 and there.body == content
        assert other.request("GET", f"/v1beta/{file['name']}").json()["sha256Hash"] == file["sha256Hash"]

    return look


def test_a_backup_of_a_data_directory_that_is_written_to_is_one_moment_of_it(
    server: ServerFactory, tmp_path: Path
) -> None:
    one = server(SCRIPT)

    def copied() -> Server:
        cli_backup.backup(one.data, tmp_path / "copy")
        return server(SCRIPT, data=tmp_path / "copy")

    check(one, copied, uploaded)
    assert not (tmp_path / "copy.part").exists()
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700


def test_a_backup_of_a_database_that_is_written_to_is_one_moment_of_it(
    server: ServerFactory, postgres: Postgres
) -> None:
    database = postgres.database()
    one = server(SCRIPT, ANTIPHON_DATABASE=database)
    check(one, lambda: server(SCRIPT, ANTIPHON_DATABASE=postgres.copy(database)))


@contextmanager
def archiving() -> Iterator[tuple[Postgres, Path]]:
    """A PostgreSQL that archives its WAL; and the folder that it does so into."""
    try:
        with cluster() as one:
            archive = one._folder / "archive"
            archive.mkdir()
            if one._user is not None:
                shutil.chown(archive, one._user)
            with (one._data / "postgresql.conf").open("a", encoding="utf-8") as file:
                file.write(f"archive_mode = on\narchive_command = 'cp %p {archive}/%f'\n")
            one.restart()
            yield one, archive
    except NotHere as error:
        pytest.skip(str(error))


def test_a_database_goes_back_to_the_moment_before_a_mistake(server: ServerFactory) -> None:
    with archiving() as (there, archive):
        url = there.database()
        name = urlsplit(url).path.removeprefix("/")
        base = there._folder / "base"
        one = server(SCRIPT, ANTIPHON_DATABASE=url)
        earlier = ask(one, "I am Ada")
        writing = Writing(one)
        with writing.going_on():
            writing.wait(5)
            there._do("pg_basebackup", *there._address(), f"--pgdata={base}", "--checkpoint=fast")
            before = writing.wait(5)
        there._do("psql", *there._address(), "--command=SELECT pg_create_restore_point('before')", name)
        for id in before:
            assert one.request("DELETE", f"/v1beta/interactions/{id}").status == 200
        one.stop()
        there._do("psql", *there._address(), "--command=SELECT pg_switch_wal()", name)
        there.stop()  # in good order, it archives what it has first
        with (base / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"restore_command = 'cp {archive}/%f %p'\nrecovery_target_name = 'before'\n")
            file.write("recovery_target_action = 'promote'\narchive_mode = off\n")
        (base / "recovery.signal").touch()
        there._do("pg_ctl", "start", "-w", "-s", "-D", str(base), "-l", str(there._folder / "restored"))
        try:
            two = server(SCRIPT, ANTIPHON_DATABASE=url)
            for id in before:
                assert two.get(id)["status"] == "completed"
            said = ask(two, "who am I?", previous_interaction_id=earlier["id"])
            assert said["steps"][-1]["content"][0]["text"] == "You are Ada."
            two.stop()
        finally:
            there._do("pg_ctl", "stop", "-w", "-s", "-D", str(base), "-m", "immediate")


def test_no_backup_takes_the_place_of_another_and_none_is_made_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with closing(sqlite3.connect(tmp_path / "there" / "a.db")):
        pass
    with pytest.raises(cli_backup.BackupError, match="already"):
        cli_backup.backup(tmp_path / "there", tmp_path / "there")
    (tmp_path / "empty").mkdir()
    with pytest.raises(cli_backup.BackupError, match="nothing"):
        cli_backup.backup(tmp_path / "empty", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_was_deleted_is_in_no_backup_that_is_made_later(server: ServerFactory, tmp_path: Path) -> None:
    one = server(SCRIPT)
    secret = "swordfish"
    made = ask(one, secret)
    assert one.request("DELETE", f"/v1beta/interactions/{made['id']}").status == 200
    cli_backup.backup(one.data, tmp_path / "copy")
    held = b"".join(path.read_bytes() for path in (tmp_path / "copy").rglob("*") if path.is_file())
    assert secret.encode() not in held and base64.b64encode(secret.encode()) not in held
    assert json.dumps(made["id"]).encode() not in held
