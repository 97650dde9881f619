"""A place for large bytes from what the operator says of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from antiphon.blobs.depot import Depot

# Their modules are imported when they are chosen: two of them need packages of their own.
PLACES = {
    "memory": "antiphon.blobs.memory:MemoryBlobs",
    "disk": "antiphon.blobs.disk:DiskBlobs",
    "s3": "antiphon.blobs.s3:S3Blobs",
    "postgres": "antiphon.blobs.postgres:PostgresBlobs",
}


def make(source: str, *, database: str | None = None, clock: Callable[[], float] = time.time) -> Depot:
    """`memory`, `postgres` (the server's own `database`, a URL), `s3://bucket/prefix?endpoint=…&region=…`, or a folder.

    Nothing is connected before it is first used. Raises ValueError, in words for the operator; ImportError where a package
    is missing.
    """
    if source == "memory":
        place = _load("memory")(clock)
    elif source == "postgres" or source.startswith(("postgres://", "postgresql://")):
        url = database if source == "postgres" else source
        if url is None:
            raise ValueError("Media are kept in PostgreSQL only where conversations are: set --database as well.")
        place = _load("postgres")(url, clock)
    elif source.startswith("s3://"):
        place = _load("s3")(source, clock)
    elif "://" in source or not source:
        raise ValueError(
            f"Media cannot be kept at {source!r}: name a folder, s3://BUCKET/PREFIX?endpoint=URL, postgres or memory."
        )
    else:
        place = _load("disk")(Path(source).expanduser(), clock)
    found: Depot = place
    return found


def _load(name: str) -> Any:
    module, _, thing = PLACES[name].partition(":")
    return getattr(import_module(module), thing)
