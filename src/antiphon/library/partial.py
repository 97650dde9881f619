"""What is being uploaded, on the disk of this server: a file that grows, under the upload's secret name."""

from __future__ import annotations

import re
from pathlib import Path

_SECRET = re.compile(r"[A-Za-z0-9_-]+")
AT_ONCE = 2**20  # bytes that are gathered before they are written


class Partial:
    """One folder. Every method touches the disk and is for a thread; OSError is whatever the disk says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "uploads"

    def begin(self, upload: str) -> None:
        """Make room for what comes."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path(upload).touch(mode=0o600)

    def received(self, upload: str) -> int:
        """How many bytes have come; 0 where the upload is unknown."""
        try:
            return self.path(upload).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, upload: str, data: bytes) -> None:
        """Write more. FileNotFoundError where the upload is over."""
        with self.path(upload).open("r+b") as file:  # "ab" would make it again
            file.seek(0, 2)
            file.write(data)

    def drop(self, upload: str) -> None:
        """Forget what has come."""
        self.path(upload).unlink(missing_ok=True)

    def uploads(self) -> dict[str, tuple[int, float]]:
        """The uploads that have begun: how many bytes have come, and when the last of them did."""
        found: dict[str, tuple[int, float]] = {}
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            try:
                about = path.stat()
            except FileNotFoundError:
                continue
            found[path.name] = (about.st_size, about.st_mtime)
        return found

    def path(self, upload: str) -> Path:
        """Where they are."""
        assert _SECRET.fullmatch(upload), "an upload's name is ours"
        return self._folder / upload
