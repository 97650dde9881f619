"""The Brave Search API: GET `/res/v1/web/search` with `q` and `count`, the key in `X-Subscription-Token`.

The form of the answer is that of its reference, "Web search": `web.results` with `title`, `url`, `description` and
`extra_snippets`. A query has 400 characters and 50 words at most, a page 20 results.
"""

from __future__ import annotations

import msgspec

from antiphon.json_http import JsonService
from antiphon.search.provider import Hit, hits


class _Result(msgspec.Struct):
    title: str | None = None
    url: str | None = None
    description: str | None = None
    extra_snippets: list[str] | None = None


class _Web(msgspec.Struct):
    results: list[_Result] = []


class _Answer(msgspec.Struct):
    web: _Web | None = None


class Brave:
    """The service at `place`, or its public address."""

    def __init__(self, place: str = "", *, key: str = "") -> None:
        if not key:
            raise ValueError("brave needs a key")
        self._url = f"{(place or 'https://api.search.brave.com').rstrip('/')}/res/v1/web/search"
        self._service = JsonService("Brave Search", {"X-Subscription-Token": key})

    async def ready(self) -> str:
        """Always."""
        return ""

    async def search(self, query: str, count: int) -> list[Hit]:
        """One page of results."""
        words = " ".join(query.split()[:50])[:400]
        answer = await self._service.ask(_Answer, self._url, {"q": words, "count": str(min(count, 20))})
        found = answer.web.results if answer.web else []
        return hits(
            ((one.title, one.url, " ".join([one.description or "", *(one.extra_snippets or ())])) for one in found),
            count,
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._service.aclose()
