"""Google's Custom Search JSON API: GET `/customsearch/v1` with `key`, `cx` (the search engine's id), `q` and `num`.

The form of the answer is that of its reference, "cse.list": `items` with `title`, `link` and `snippet`; a page has 10.
"""

from __future__ import annotations

import msgspec

from antiphon.json_http import JsonService
from antiphon.search.provider import Hit, hits


class _Item(msgspec.Struct):
    title: str | None = None
    link: str | None = None
    snippet: str | None = None


class _Answer(msgspec.Struct):
    items: list[_Item] = []


class GoogleCse:
    """The search engine with the id `place`; `url` is where the service is."""

    def __init__(self, place: str, *, key: str = "", url: str = "https://www.googleapis.com") -> None:
        if not place or not key:
            raise ValueError("google_cse needs a search engine's id, google_cse:ID, and a key")
        self._url = f"{url.rstrip('/')}/customsearch/v1"
        self._fixed = {"key": key, "cx": place}
        self._service = JsonService("Google Custom Search")

    async def ready(self) -> str:
        """Always."""
        return ""

    async def search(self, query: str, count: int) -> list[Hit]:
        """One page of results."""
        answer = await self._service.ask(_Answer, self._url, self._fixed | {"q": query, "num": str(min(count, 10))})
        return hits(((item.title, item.link, item.snippet) for item in answer.items), count)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._service.aclose()
