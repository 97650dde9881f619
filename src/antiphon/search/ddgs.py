"""Public search engines without a key, by the `ddgs` package: `DDGS.text` gives `title`, `href` and `body`.

It reads the engines' pages as a browser would. They may refuse it at any time, and it is for one user's own questions.
"""

from __future__ import annotations

import asyncio
from typing import Any

from antiphon.search.provider import Hit, SearchFault, hits

_SECONDS = 10


class Ddgs:
    """The engines that `place` names (`duckduckgo,mojeek`), or those the package chooses; `proxy` is a URL."""

    def __init__(self, place: str = "", *, proxy: str | None = None) -> None:
        try:
            import ddgs
        except ImportError as error:
            raise ImportError("The search provider ddgs needs: pip install 'antiphon[ddgs]'") from error
        self._package: Any = ddgs
        self._engines = place or "auto"
        self._proxy = proxy

    async def ready(self) -> str:
        """Always."""
        return ""

    async def search(self, query: str, count: int) -> list[Hit]:
        """What the engines give, on a thread of its own: the package waits."""
        try:
            async with asyncio.timeout(_SECONDS):
                found = await asyncio.to_thread(self._ask, query, count)
        except TimeoutError:
            raise SearchFault(f"The search engines did not answer within {_SECONDS} seconds.") from None
        except self._package.exceptions.DDGSException as error:
            if "No results" in str(error):
                return []
            raise SearchFault(f"The search engines gave no results: {error.__class__.__name__}.") from None
        return hits(((one.get("title"), one.get("href"), one.get("body")) for one in found), count)

    def _ask(self, query: str, count: int) -> list[dict[str, str]]:
        with self._package.DDGS(proxy=self._proxy, timeout=_SECONDS - 2) as engines:
            found: list[dict[str, str]] = engines.text(query, max_results=count, backend=self._engines)
            return found

    async def aclose(self) -> None:
        """Nothing to do."""
