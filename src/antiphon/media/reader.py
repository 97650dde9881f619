"""Makes text of documents in processes apart, so that no document can hang or crash this server: `ports.Read`.

Text, code, HTML, PDF, Word, PowerPoint, Excel, OpenDocument, RTF, CSV and JSON are read; `media/worker.py` does it. Needs
the extra `documents`.
"""

from __future__ import annotations

from importlib.util import find_spec

from antiphon.media.parsing import Reading
from antiphon.media.workers import Workers
from antiphon.ports import Document

_NEEDED = ("pypdfium2", "trafilatura")


class Reader(Workers):
    """Reads `workers` documents at once; further ones wait `patience` seconds at most for their turn.

    A document may take `seconds` and `memory` bytes, and hold `largest` characters. Raises ImportError without the
    extra `documents`. Worker processes start when they are needed and live until `aclose`.
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        seconds: int = 30,
        memory: int = 3 * 2**29,
        largest: int = 50_000_000,
        patience: float = 60.0,
    ) -> None:
        if missing := [name for name in _NEEDED if find_spec(name) is None]:
            raise ImportError(f"Reading documents needs {' and '.join(missing)}: pip install 'antiphon[documents]'")
        super().__init__(workers, seconds, patience)
        self._memory = memory
        self._largest = largest

    async def __call__(self, body: bytes, mime_type: str | None = None, name: str | None = None) -> Document:
        """The text of a document; `mime_type` may carry a charset. Raises Unreadable, in words for the user."""
        asked = Reading(mime_type=mime_type, name=name, largest=self._largest)
        most = 8 * self._largest + 2**20  # bytes, as it is encoded
        return await self._do("read", body, asked, Document, memory=self._memory, largest=most)
