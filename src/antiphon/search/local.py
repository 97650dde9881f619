"""The operator's own pages: an index of folders and sites, filled by `antiphon index add`. Needs no network.

A page of a site is cited by its address. A file is cited by its place below the address that its folder was given
(`--url`), and else as `file:FOLDER/PLACE`, which names no directory of the server.
"""

from __future__ import annotations

from pathlib import Path

from antiphon.index.collection import Hit as Piece
from antiphon.index.collection import Index
from antiphon.search.provider import Hit, SearchFault
from antiphon.wire import Unavailable
from antiphon.words import plain

FILE = "search.db"  # in the data directory
_PIECES_OF_A_PAGE = 4
_PIECES = 4  # are looked at for each page that is wanted: a page may have several good ones
_EMPTY = "The search index is empty. Whoever runs this server fills it with: antiphon index add PATH|URL"


class Local:
    """The index in the file `path` (or `place`)."""

    def __init__(self, place: str = "", *, path: Path | str | None = None) -> None:
        if not place and path is None:
            raise ValueError("local needs a data directory, which holds its index")
        self._path = Path(place) if place else Path(path or "")
        self._index = Index(self._path)
        self._filled = False

    async def ready(self) -> str:
        """Says how to fill the index where it is empty."""
        if not self._filled:
            try:
                self._filled = self._path.exists() and bool(await self._index.entries())
            except Unavailable:
                return "The search index cannot be read."
        return "" if self._filled else _EMPTY

    async def search(self, query: str, count: int) -> list[Hit]:
        """The pages with the best pieces; `text` is those pieces."""
        if not self._path.exists():
            raise SearchFault(_EMPTY)
        try:
            pieces = await self._index.search(query, count * _PIECES)
        except Unavailable as error:
            raise SearchFault("The search index cannot be read.") from error
        pages: dict[str, list[Piece]] = {}
        for piece in pieces:
            pages.setdefault(piece.key, []).append(piece)
        return [_hit(found[:_PIECES_OF_A_PAGE]) for found in list(pages.values())[:count]]

    async def aclose(self) -> None:
        """Close the file."""
        await self._index.aclose()


def _hit(pieces: list[Piece]) -> Hit:
    best = pieces[0]
    page = f"#page={best.page}" if best.page is not None and best.url.lower().endswith(".pdf") else ""
    text = "\n[…]\n".join(piece.text for piece in pieces)
    return Hit(plain(best.title, 300) or best.url, best.url + page, plain(best.text, 300), text)
