"""Which providers there are, and how the words of a setting become one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from antiphon.search.brave import Brave
from antiphon.search.ddgs import Ddgs
from antiphon.search.google_cse import GoogleCse
from antiphon.search.local import Local
from antiphon.search.provider import Provider
from antiphon.search.searxng import Searxng
from antiphon.search.tavily import Tavily

PROVIDERS: dict[str, Callable[..., Provider]] = {
    "local": Local,
    "searxng": Searxng,
    "brave": Brave,
    "tavily": Tavily,
    "google_cse": GoogleCse,
    "ddgs": Ddgs,
}


def make(source: str, **options: Any) -> Provider:
    """The provider of `NAME` or `NAME:PLACE`, such as `searxng:https://search.example.org`.

    Options are `key`, and for `local` the `path` of its index. Raises ValueError for what cannot be, ImportError for
    what is not installed.
    """
    name, _, place = source.partition(":")
    if name not in PROVIDERS:
        raise ValueError(f"there is no search provider '{name}': {', '.join(PROVIDERS)}")
    try:
        return PROVIDERS[name](place, **{name: value for name, value in options.items() if value is not None})
    except TypeError:
        raise ValueError(f"the search provider '{name}' does not take {', '.join(options)}") from None
