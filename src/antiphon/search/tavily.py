"""The Tavily API: POST `/search` with `query` and `max_results`, the key as a bearer token.

The form of the answer is that of its reference, "Tavily Search": `results` with `title`, `url`, `content` and `score`.
"""

from __future__ import annotations

import msgspec

from antiphon.json_http import JsonService
from antiphon.search.provider import Hit, hits


class _Result(msgspec.Struct):
    title: str | None = None
    url: str | None = None
    content: str | None = None


class _Answer(msgspec.Struct):
    results: list[_Result] = []


class Tavily:
    """The service at `place`, or its public address."""

    def __init__(self, place: str = "", *, key: str = "") -> None:
        if not key:
            raise ValueError("tavily needs a key")
        self._url = f"{(place or 'https://api.tavily.com').rstrip('/')}/search"
        self._service = JsonService("Tavily", {"authorization": f"Bearer {key}"})

    async def ready(self) -> str:
        """Always."""
        return ""

    async def search(self, query: str, count: int) -> list[Hit]:
        """One page of results."""
        body = {"query": query[:400], "max_results": min(count, 20), "search_depth": "basic"}
        answer = await self._service.ask(_Answer, self._url, body=body)
        return hits(((found.title, found.url, found.content) for found in answer.results), count)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._service.aclose()
