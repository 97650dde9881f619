"""Bytes on the disk: what is being uploaded under the upload's name, what has arrived once under its SHA-256."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_SECRET = re.compile(r"[A-Za-z0-9_-]+")
AT_ONCE = 2**20  # bytes that are gathered before they are written


class Blobs:
    """Two folders. Every method touches the disk and is for a thread; OSError is whatever the disk says."""

    def __init__(self, folder: Path) -> None:
        self._partial = folder / "uploads"
        self._whole = folder / "blobs"

    def begin(self, upload: str) -> None:
        """Make room for what comes."""
        self._partial.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._at(upload).touch(mode=0o600)

    def received(self, upload: str) -> int:
        """How many bytes have come; 0 where the upload is unknown."""
        try:
            return self._at(upload).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, upload: str, data: bytes) -> None:
        """Write more."""
        with self._at(upload).open("ab") as file:
            file.write(data)

    def keep(self, upload: str) -> tuple[str, int]:
        """What has come is all: it goes under its name. Its SHA-256 in hexadecimal, and its size."""
        path = self._at(upload)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        target = self.path(sha256)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.replace(target)
        return sha256, size

    def drop(self, upload: str) -> None:
        """Forget what has come."""
        self._at(upload).unlink(missing_ok=True)

    def uploads(self) -> set[str]:
        """The uploads that something has come of."""
        return {path.name for path in self._partial.iterdir()} if self._partial.is_dir() else set()

    def kept(self) -> set[str]:
        """The SHA-256s of all bytes that have arrived."""
        return {path.name for path in self._whole.glob("*/*")}

    def path(self, sha256: str) -> Path:
        """Where bytes are that have arrived."""
        return self._whole / sha256[:2] / sha256

    def remove(self, sha256: str) -> None:
        """Take bytes from the disk."""
        self.path(sha256).unlink(missing_ok=True)

    def _at(self, upload: str) -> Path:
        assert _SECRET.fullmatch(upload), "an upload's name is ours"
        return self._partial / upload
