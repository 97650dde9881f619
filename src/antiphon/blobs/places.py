"""A place for large bytes from what the operator says of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from antiphon.blobs.depot import Depot
from antiphon.blobs.disk import DiskBlobs
from antiphon.blobs.memory import MemoryBlobs
from antiphon.blobs.postgres import PostgresBlobs
from antiphon.blobs.s3 import S3Blobs

PLACES = {"memory": MemoryBlobs, "disk": DiskBlobs, "s3": S3Blobs, "postgres": PostgresBlobs}


def make(source: str, *, database: str | None = None, clock: Callable[[], float] = time.time) -> Depot:
    """`memory`, `postgres` (the server's own `database`, a URL), `s3://bucket/prefix?endpoint=…&region=…`, or a folder.

    Nothing is connected before it is first used. Raises ValueError, in words for the operator; ImportError where a package
    is missing.
    """
    if source == "memory":
        return MemoryBlobs(clock)
    if source == "postgres" or source.startswith(("postgres://", "postgresql://")):
        url = database if source == "postgres" else source
        if url is None:
            raise ValueError("Media are kept in PostgreSQL only where conversations are: set --database as well.")
        return PostgresBlobs(url, clock)
    if source.startswith("s3://"):
        return S3Blobs(source, clock)
    if "://" in source or not source:
        raise ValueError(
            f"Media cannot be kept at {source!r}: name a folder, s3://BUCKET/PREFIX?endpoint=URL, postgres or memory."
        )
    return DiskBlobs(Path(source).expanduser(), clock)
