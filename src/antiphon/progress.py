"""How far a long piece of work is: what is told, and a bar for people."""

import sys
from collections.abc import Callable
from typing import TextIO

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many bytes of it are done, and how many there are."""


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


class Bar:
    """Progress for people: one line kept up to date on a terminal, a line every ten percent anywhere else."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        live = self._stream.isatty()
        share = min(done / total, 1.0) if total else 0.0
        line = what
        if total:
            line = (self._live_line if live else self._plain_line)(what, share, total)
        if line == self._shown:
            return
        self._stream.write(f"\r\x1b[2K{line}" if live else f"{line}\n")
        self._stream.flush()
        self._shown = line

    def close(self) -> None:
        """End the live line, so that what is printed next starts on its own."""
        if self._shown and self._stream.isatty():
            self._stream.write("\n")
        self._shown = ""

    @staticmethod
    def _live_line(what: str, share: float, total: int) -> str:
        filled = round(24 * share)
        return f"{what} [{'#' * filled}{'.' * (24 - filled)}] {share:4.0%} of {total / 1e6:,.0f} MB"

    @staticmethod
    def _plain_line(what: str, share: float, total: int) -> str:
        return f"{what}: {int(share * 10) * 10}% of {total / 1e6:,.0f} MB"
