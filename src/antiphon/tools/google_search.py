"""google_search: finds pages with whatever provider the operator chose, reads the best of them, and shows the words that
match the queries, numbered, so that the answer can cite them.

The steps are the API's: `google_search_call` with the queries, `google_search_result` with title, URL and snippet of
each page, and one item with `search_suggestions`, a small piece of HTML with the queries in it.
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from antiphon import wire
from antiphon.excerpts import Excerpt, excerpts
from antiphon.ports import Fetch, FetchError, Outcome, Passage, Read, Unreadable, Use
from antiphon.search.provider import Hit, Provider, SearchFault
from antiphon.toolsteps import queries_of
from antiphon.words import terms

QUERIES = 5
RESULTS = 10  # of one query
_LONGEST_QUERY = 400
_MOST_HITS = 20  # of one call
_SHOWN = 12  # passages of one call
_SEARCH_SECONDS = 12.0
_PAGE_SECONDS = 8.0
_LARGEST_PAGE = 4 * 10**6
_LONGEST_TEXT = 200_000  # characters of a page that are looked at
_OVERHEAD = 40  # what a passage's number and the brackets around its address add, at most
_FUNCTION = wire.Function(
    name="google_search",
    description=(
        "Search the web. Use it for facts you are not sure of, for recent events, and whenever the user asks to look "
        "something up. The results are numbered: cite them as [1] or [2] behind the words they support."
    ),
    parameters={
        "type": "object",
        "properties": {
            "queries": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "maxItems": QUERIES,
                "description": "One to three short queries, as one would type them into a search box.",
            }
        },
        "required": ["queries"],
    },
)
_STYLE = (
    "<style>.chips{display:flex;flex-wrap:wrap;gap:8px;font:14px sans-serif}"
    ".chip{border:1px solid #8886;border-radius:16px;padding:4px 12px}</style>"
)


class GoogleSearch:
    """The tool, over one `provider`. With `fetch` and `read`, the first `pages` results of a call are read."""

    type = "google_search"
    rerunnable = True

    def __init__(
        self,
        source: str = "",
        *,
        provider: Provider,
        fetch: Fetch | None = None,
        read: Read | None = None,
        pages: int = 3,
    ) -> None:
        if source:
            raise ValueError(f"google_search takes its provider, not '{source}'")
        self._provider = provider
        self._pages = _Pages(fetch, read, pages) if fetch is not None and read is not None else None

    async def check(self, declared: wire.Tool, project: str, path: str) -> None:
        """Refuse searches for anything but pages, and an index with nothing in it."""
        assert isinstance(declared, wire.GoogleSearch)
        for place, kind in enumerate(declared.search_types or ()):
            if kind != "web_search":
                raise wire.InvalidRequest(
                    f"The value '{kind}' is not supported for '{path}.search_types[{place}]' on this server. "
                    "Supported values: 'web_search'."
                )
        if why := await self._provider.ready():
            raise wire.FailedPrecondition(f"{path}: {why}")

    async def open(self, use: Use) -> GoogleSearchSession:
        """Begin to use it."""
        return GoogleSearchSession(self._provider, self._pages, use.room)

    async def aclose(self) -> None:
        """Close the provider."""
        await self._provider.aclose()


class GoogleSearchSession:
    """One function, named like the tool."""

    functions = (_FUNCTION,)
    instructions = ""

    def __init__(self, provider: Provider, pages: _Pages | None, room: int) -> None:
        self._provider = provider
        self._pages = pages
        self._room = room

    def call(self, id: str, name: str, arguments: Mapping[str, Any]) -> wire.GoogleSearchCallStep:
        """The call's step; queries past the fifth, empty ones and what is no text are left out."""
        kept = queries_of(arguments, most=QUERIES, longest=_LONGEST_QUERY)
        return wire.GoogleSearchCallStep(id=id, arguments=wire.QueryArguments(queries=kept), search_type="web_search")

    def owns(self, call: wire.ToolCallStep) -> bool:
        """Every call of this type."""
        return True

    async def run(self, call: wire.ToolCallStep) -> Outcome:
        """Search for all queries at once, then read the best pages."""
        assert isinstance(call, wire.GoogleSearchCallStep)
        queries = ((call.arguments.queries if call.arguments else None) or [])[:QUERIES]
        if not queries:
            return _failed(call.id, "No query was given: `queries` is a list of at least one text.")
        found = await asyncio.gather(*(self._search(query) for query in queries))
        faults = [answer for answer in found if isinstance(answer, str)]
        hits = _merged([answer for answer in found if not isinstance(answer, str)])
        if faults and len(faults) == len(queries):
            return _failed(call.id, f"The search failed: {faults[0]} Say that you could not look it up.")
        texts = await self._pages.texts(hits) if self._pages is not None else {}
        reading = _reading(queries, hits, faults)
        passages = await asyncio.to_thread(_passages, queries, hits, texts, self._room - len(reading))
        items = [wire.GoogleSearchItem(title=hit.title, url=hit.url, snippet=hit.snippet) for hit in hits]
        items.append(wire.GoogleSearchItem(search_suggestions=_suggestions(queries)))
        step = wire.GoogleSearchResultStep(call_id=call.id, result=items, is_error=False)
        return Outcome(step=step, reading=reading, passages=passages)

    async def _search(self, query: str) -> list[Hit] | str:
        """The pages for one query, or why there are none."""
        try:
            async with asyncio.timeout(_SEARCH_SECONDS):
                return (await self._provider.search(query, RESULTS))[:RESULTS]
        except SearchFault as fault:
            return str(fault)
        except TimeoutError:
            return f"There was no answer within {_SEARCH_SECONDS:g} seconds."

    async def aclose(self) -> None:
        """Nothing to do."""


class _Pages:
    """Reads pages that were found: a search's snippets are too short to answer from."""

    def __init__(self, fetch: Fetch, read: Read, count: int) -> None:
        self._fetch = fetch
        self._read = read
        self._count = count

    async def texts(self, hits: Sequence[Hit]) -> dict[str, str]:
        """What the first pages say, by their address; those that cannot be read in time are left out."""
        wanted = [hit.url for hit in hits if not hit.text and hit.url.startswith(("http://", "https://"))]
        texts = await asyncio.gather(*(self._text(url) for url in wanted[: self._count]))
        return {url: text for url, text in zip(wanted, texts, strict=False) if text}

    async def _text(self, url: str) -> str:
        try:
            async with asyncio.timeout(_PAGE_SECONDS):
                page = await self._fetch(url, largest=_LARGEST_PAGE, seconds=_PAGE_SECONDS)
                name = urlsplit(page.url).path.rpartition("/")[2]
                kind = f"{page.mime_type}; charset={page.charset}" if page.charset else page.mime_type
                document = await self._read(page.body, kind, name)
        except (FetchError, Unreadable, TimeoutError, ValueError):
            return ""
        return "\n\n".join(leaf.text for leaf in document.leaves)[:_LONGEST_TEXT].strip()


# ---------------------------------------------------------------------------------------------------- results


def _merged(answers: Sequence[Sequence[Hit]]) -> list[Hit]:
    """The pages of several queries, the best of each first, no page twice."""
    merged: dict[str, Hit] = {}
    for rank in range(max(map(len, answers), default=0)):
        for answer in answers:
            if rank < len(answer) and answer[rank].url.startswith(("http://", "https://", "file:")):
                merged.setdefault(_same(answer[rank].url), answer[rank])
    return list(merged.values())[:_MOST_HITS]


def _same(url: str) -> str:
    """An address as it is compared: without its fragment, its last slash and the marks of advertisers."""
    try:
        _, host, path, query, _ = urlsplit(url)
    except ValueError:
        return url
    kept = "&".join(part for part in query.split("&") if not part.startswith(("utm_", "gclid=", "fbclid=")))
    return urlunsplit(("", host.lower().removeprefix("www."), path.rstrip("/"), kept, ""))


class _Source(NamedTuple):
    hit: Hit
    text: str


def _passages(queries: Sequence[str], hits: Sequence[Hit], texts: Mapping[str, str], room: int) -> tuple[Passage, ...]:
    """What the model reads: of pages that were read the parts that fit the queries, of the others their snippets."""
    wanted = set(terms(" ".join(queries)))
    sources = [_Source(hit, hit.text or _telling(texts.get(hit.url, ""), wanted) or hit.snippet) for hit in hits]
    sources = [source for source in sources if source.text][:_SHOWN]
    heads = sum(len(source.hit.title) + len(source.hit.url) + _OVERHEAD for source in sources)
    while sources and heads > room // 2:  # many results and little room: fewer of them
        last = sources.pop().hit
        heads -= len(last.title) + len(last.url) + _OVERHEAD
    cut: list[Excerpt] = excerpts(" ".join(queries), [source.text for source in sources], room - heads)
    return tuple(
        Passage(part.text, wire.UrlCitation(url=source.hit.url, title=source.hit.title))
        for source, part in zip(sources, cut, strict=True)
        if part.text
    )


def _telling(text: str, wanted: set[str]) -> str:
    """A page's text, unless it has no word of the queries: then it is a wall or a form, and its snippet says more."""
    return "" if wanted and wanted.isdisjoint(terms(text)) else text


def _reading(queries: Sequence[str], hits: Sequence[Hit], faults: Sequence[str]) -> str:
    asked = ", ".join(f"“{query}”" for query in queries)
    said = [f"Search results for {asked}:" if hits else f"Nothing was found for {asked}."]
    said += [f"One query failed: {fault}" for fault in dict.fromkeys(faults)]
    return "\n".join(said)


def _suggestions(queries: Sequence[str]) -> str:
    chips = "".join(f'<span class="chip">{html.escape(query)}</span>' for query in queries)
    return f'{_STYLE}<div class="chips">{chips}</div>'


def _failed(id: str, why: str) -> Outcome:
    return Outcome(step=wire.GoogleSearchResultStep(call_id=id, result=[], is_error=True), reading=why)
