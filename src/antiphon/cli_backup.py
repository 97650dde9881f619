"""`antiphon backup`: a copy of a data directory that is one moment of it, made while a server writes.

Databases are copied with SQLite's own online backup, which neither waits for the server nor holds it up. Other files
never change once they have their name, so they are copied before the databases and again after: whatever a database
names is there, even if it came or went meanwhile. A copy is used by starting a server on it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from antiphon.settings import data_directory

_NOT_KEPT = frozenset({"lock"})
_BESIDE = ("-wal", "-shm", "-journal")  # of a database: its copy needs none of them
_PAGES = 4096  # copied at a time, so that a long copy can be interrupted


class BackupError(Exception):
    """Why there is no backup."""


def run(options: argparse.Namespace) -> int:
    """Carry the command out; its exit status."""
    try:
        size = backup(options.data or data_directory(), options.to)
    except (BackupError, OSError, sqlite3.Error) as error:
        print(f"antiphon: {error}", file=sys.stderr)
        return 1
    print(f"{options.to}: {size / 1e6:.1f} MB. antiphon serve --data {options.to} goes on from it.")
    return 0


def backup(data: Path, to: Path) -> int:
    """Copy `data` into the new directory `to`, which is there only once it is whole. Its size in bytes."""
    if to.exists():
        raise BackupError(f"{to} is there already.")
    if not (databases := sorted(data.rglob("*.db"))):
        raise BackupError(f"There is nothing to back up in {data}.")
    to.absolute().parent.mkdir(parents=True, exist_ok=True)
    begun = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.absolute().parent))
    try:
        _copy_files(data, begun)
        for path in sorted(databases, key=lambda path: len(path.parts)):  # those of single stores after what lists them
            _copy_database(path, begun / path.relative_to(data))
        _copy_files(data, begun)
        size = sum(_on_disk(path) for path in begun.rglob("*"))
        _on_disk(begun)
        begun.rename(to)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise
    _on_disk(to.absolute().parent)
    return size


def _files(data: Path) -> Iterator[Path]:
    for path in data.rglob("*"):
        if path.is_file() and path.name not in _NOT_KEPT and not path.name.endswith((".db", *_BESIDE)):
            yield path


def _copy_files(data: Path, to: Path) -> None:
    """Copy what is not there yet, or has grown since, as an upload does."""
    for path in _files(data):
        target = to / path.relative_to(data)
        try:
            if target.exists() and target.stat().st_size == path.stat().st_size:
                continue
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy2(path, target)
        except FileNotFoundError:
            continue  # it was removed meanwhile


def _copy_database(path: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=60)) as source, closing(sqlite3.connect(target)) as copy:
        target.chmod(0o600)
        # A transaction that reads pins the moment: a writer would otherwise make a copy in parts begin again.
        source.execute("BEGIN").close()
        source.execute("SELECT count(*) FROM sqlite_schema").close()
        source.backup(copy, pages=_PAGES)
        (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise BackupError(f"The copy of {path} is damaged: {verdict}.")
        copy.execute("PRAGMA journal_mode=DELETE").close()  # so that the copy is one file


def _on_disk(path: Path) -> int:
    """Have the disk keep it. Its size, where it is a file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return path.stat().st_size if path.is_file() else 0
