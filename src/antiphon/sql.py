"""Named queries and numbered migrations from .sql files, and connections to files of SQLite: what stores have in common."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

_PRAGMAS = (
    "busy_timeout=10000",
    "journal_mode=WAL",  # readers see the last commit and do not wait for the writer
    "foreign_keys=ON",
    "secure_delete=ON",  # what is deleted is overwritten, not only forgotten
)
_NAME = re.compile(r"^-- (\w+): .+$", re.MULTILINE)


def queries(name: str, package: str = "antiphon.stores") -> dict[str, str]:
    """The queries of `NAME.sql` in a package; each begins with a line `-- its_name: what it does`."""
    text = files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {parts[place]: parts[place + 1].strip() for place in range(0, len(parts), 2)}


def migrations(name: str) -> list[tuple[int, str]]:
    """The migrations of `stores/NAME_migrations/`, numbered from 1, in order."""
    folder = files("antiphon.stores").joinpath(f"{name}_migrations")
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(entry.split("_")[0]), folder.joinpath(entry).read_text(encoding="utf-8")) for entry in found]


def connected(path: Path, *pragmas: str) -> sqlite3.Connection:
    """A connection to a file of SQLite, for any thread; transactions begin and end where its user says so.

    The file is made where it is not there yet. Raises sqlite3.Error and OSError.
    """
    # One at a time among all processes: SQLite does not wait, as it does elsewhere, for the lock that WAL is switched on
    # under; and whoever closes a file (as `touch` does) drops the locks that its process has on it.
    turn = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        path.touch(mode=0o600)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (*_PRAGMAS, *pragmas):
                connection.execute(f"PRAGMA {pragma}").close()
        except sqlite3.Error:
            connection.close()
            raise
        return connection
    finally:
        os.close(turn)


def statements(script: str) -> Iterator[str]:
    """Those of a script for SQLite, one after another, since `executescript` would commit between them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
