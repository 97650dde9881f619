"""A SearXNG of the operator's own: GET `/search` with `format=json`.

The form of the answer is that of SearXNG's page "Search API" and of its result templates: `results` with `title`, `url`
and `content`, and `unresponsive_engines`. The server's settings must name `json` among `search.formats`.
"""

from __future__ import annotations

import msgspec

from antiphon.json_http import JsonService
from antiphon.search.provider import Hit, SearchFault, hits
from antiphon.words import plain


class _Result(msgspec.Struct):
    title: str | None = None
    url: str | None = None
    content: str | None = None


class _Answer(msgspec.Struct):
    results: list[_Result] = []
    unresponsive_engines: list[list[str | None]] = []


class Searxng:
    """The server at `place`, its URL."""

    def __init__(self, place: str) -> None:
        if not place.startswith(("http://", "https://")):
            raise ValueError("searxng needs the URL of your server: searxng:https://search.example.org")
        self._url = f"{place.rstrip('/').removesuffix('/search')}/search"
        self._service = JsonService("SearXNG")

    async def ready(self) -> str:
        """Always."""
        return ""

    async def search(self, query: str, count: int) -> list[Hit]:
        """One page of results, which has about twenty. Raises SearchFault where all engines refused."""
        answer = await self._service.ask(_Answer, self._url, {"q": query, "format": "json"})
        if not answer.results and answer.unresponsive_engines:
            refused = ", ".join(" ".join(word or "" for word in pair[:2]) for pair in answer.unresponsive_engines[:5])
            raise SearchFault(f"SearXNG found nothing, since its engines did not answer: {plain(refused, 200)}.")
        return hits(((found.title, found.url, found.content) for found in answer.results), count)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._service.aclose()
