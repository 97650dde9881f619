"""Makes pictures from outside fit to be shown to a model, in processes apart: `ports.Look`. Needs Pillow.

Only the header is read here. What is too large is refused by it; the rest `media/painter.py` decodes, in the process that
`media/worker.py` is, and makes small. Nothing that was not decoded there reaches a model.
"""

from __future__ import annotations

from antiphon.media.headers import header_of
from antiphon.media.painter import Frame
from antiphon.media.workers import Workers
from antiphon.ports import Picture, Unreadable

_SIDE = 1024  # pixels: some thousand tokens for most models
_LARGEST = 128 * 2**10  # bytes as shown: it travels with the conversation from then on
_PIXELS = 64 * 10**6  # as it comes: the largest cameras' pictures, and 200 to 500 MB decoded


class Pictures(Workers):
    """Looks at `workers` pictures at once; each may take `seconds` and `memory` bytes."""

    def __init__(self, *, workers: int = 2, seconds: int = 15, memory: int = 3 * 2**29, patience: float = 30.0) -> None:
        super().__init__(workers, seconds, patience)
        self._memory = memory

    async def __call__(self, body: bytes) -> Picture | None:
        """The picture as a model can be shown it; None for what is no picture. Raises Unreadable, in words for the user."""
        header = header_of(body)
        if header is None:
            return None
        if not 0 < header.width * header.height <= _PIXELS:
            raise Unreadable(f"It is a picture ({header}); at most {_PIXELS // 10**6} million pixels are looked at.")
        frame = Frame(side=_SIDE, largest=_LARGEST)
        try:
            return await self._do("paint", body, frame, Picture, memory=self._memory, largest=2**20 + 8 * _LARGEST)
        except Unreadable as error:
            raise Unreadable(f"It is a picture ({header}) that cannot be shown. {error}") from None
