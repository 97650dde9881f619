"""What every place for large bytes promises."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from antiphon import wire
from antiphon.ports import Blobs

OWNER = r"[A-Za-z0-9._~:-]{1,200}"  # what owners look like: they are names of files and of objects too


class Gone(wire.Unavailable):
    """Bytes that are not there (any more)."""


class Depot(Blobs, Protocol):
    """`ports.Blobs`, and what files need: bytes that come from a file, and are read a part at a time.

    A name is the SHA-256 in hexadecimal. Everything is safe for several processes at once: bytes that somebody begins to
    hold while their last holder lets them go stay. Errors of the place are Unavailable. A crash may leave an owner that
    nobody knows of, never a name that somebody was given without its bytes: `owners` finds the first.
    """

    async def take(self, owner: str, path: Path) -> str:
        """Keep the bytes of a file, as `put` does, without having them in memory; the file is gone afterwards."""
        ...

    async def hold(self, owner: str, names: Sequence[str]) -> None:
        """Let `owner` hold what somebody has put. Raises Gone, and nothing is done, where one is not there."""
        ...

    async def part(self, name: str, first: int, size: int) -> bytes:
        """Up to `size` bytes from `first` on. Raises Gone."""
        ...

    async def owners(self, prefix: str, before: float, after: str = "", size: int = 1000) -> list[str]:
        """Up to `size` owners that begin with `prefix` and come after `after`, in order.

        Only those that have held all that they hold since `before` (seconds since 1970), at least.
        """
        ...


def name_of(body: bytes) -> str:
    """The name of some bytes."""
    return hashlib.sha256(body).hexdigest()


def name_of_file(path: Path) -> str:
    """The name of what is in a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def gone(name: str) -> Gone:
    """The error for a name whose bytes are not there."""
    return Gone(f"The bytes with the SHA-256 {name[:16]}… are not where media are kept.")
