"""Named queries and numbered migrations from .sql files. What they say and who runs them is the stores' business."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from importlib.resources import files

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


def statements(script: str) -> Iterator[str]:
    """Those of a script for SQLite, one after another, since `executescript` would commit between them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
