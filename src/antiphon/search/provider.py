"""What a search provider is: a query in, pages out. Errors are `SearchFault`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from antiphon.json_http import ServiceFault
from antiphon.words import plain

SearchFault = ServiceFault  # why there are no results, in words that the model may read

_LONGEST_URL = 2048
_NOT_IN_A_LINK = re.compile(r"[\x00-\x20\x7f<>\"\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


class Hit(msgspec.Struct, frozen=True):
    """One page that was found; `text` is what it says, where the provider has it and the page need not be read."""

    title: str
    url: str
    snippet: str = ""
    text: str = ""


class Provider(Protocol):
    """One source of pages."""

    async def ready(self) -> str:
        """Why it cannot be used, in words for whoever sent the request; '' where it can."""
        ...

    async def search(self, query: str, count: int) -> list[Hit]:
        """Up to `count` pages, best first. Raises SearchFault."""
        ...

    async def aclose(self) -> None:
        """Free what it holds."""
        ...


def hits(found: Iterable[tuple[str | None, str | None, str | None]], count: int) -> list[Hit]:
    """Titles, addresses and snippets as a service gave them; what is no page of the web is left out."""
    made: list[Hit] = []
    for title, url, snippet in found:
        if len(made) == count:
            break
        if url and is_page(url):
            made.append(Hit(plain(title, 300) or url, url, plain(snippet, 1000)))
    return made


def is_page(url: str) -> bool:
    """Whether an address is one of the web, and can stand in a link."""
    if len(url) > _LONGEST_URL or _NOT_IN_A_LINK.search(url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
