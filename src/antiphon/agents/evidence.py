"""Looking things up: what the tools give becomes passages, with the record of what was read, when, and with which hash."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from antiphon import wire
from antiphon.agents.research_prompts import call
from antiphon.agents.research_state import Budget, Lead, Looked, Read, hashed, place_of, title_of
from antiphon.agents.stages import Stages
from antiphon.agents.subjects import carried
from antiphon.citations import Citation
from antiphon.excerpts import GAP, relevance
from antiphon.ports import Outcome, Passage
from antiphon.words import terms

_PASSAGE = 900  # characters: a few of them fit into what a small model reads
_MOST_PASSAGES = 24  # of one look
# Where a text is cut, the best places first, and what joins two parts that stay together.
_PLACES = (
    (re.compile(r"\n\s*\n"), "\n\n"),
    (re.compile(r"\n"), "\n"),
    (re.compile(r"(?<=[。！？])\s*|(?<=[.!?…])\s+"), " "),
    (re.compile(r"\s+"), " "),
)


class Evidence:
    """The tools of one run. Counts what it looked up, as the log has it: an attempt after a crash goes on counting."""

    def __init__(self, stages: Stages, budget: Budget, clock: Callable[[], float] = time.time) -> None:
        self._stages = stages
        self._desk = stages.desk
        self._budget = budget
        self._clock = clock
        self._searches = 0
        self._pages = 0
        self._seen: set[str] = set()

    def can_begin(self, urls: Sequence[str]) -> bool:
        """Whether there is a way to find anything, or to read what the user names."""
        searching = any(map(self._desk.offers, ("google_search", "file_search", "mcp_server")))
        return searching or (bool(urls) and self._desk.offers("url_context"))

    def searched(self, looked: Looked) -> None:
        """Take in a search that was done before a crash."""
        self._searches += len(looked.asked)

    def visited(self, looked: Looked) -> None:
        """Take in pages that were read before a crash."""
        self._pages += len(looked.asked)
        self._seen.update(looked.asked)

    # ------------------------------------------------------------------ search

    async def search(self, lead: Lead, beginning: str, *, calls: bool) -> Looked:
        """What searches of the web and of stores, and with `calls` other servers' tools, have on a lead.

        Those tools may do something, so that only leads may call them that were made before any page was read.
        """
        queries = tuple(dict.fromkeys([*lead.queries, lead.question]))[: max(0, self._budget.searches - self._searches)]
        self._searches += len(queries)
        looks = self._lookups(queries)
        if calls and self._desk.offers("mcp_server"):
            looks += [("mcp_server", name, given) for name, given in await self._calls(lead, beginning)]
        outcomes = await self._stages.within(self._desk.use(name, given) for _, name, given in looks)
        done = [(tool, outcome) for (tool, _, _), outcome in zip(looks, outcomes, strict=True) if outcome is not None]
        found = [read for tool, outcome in done for read in self._reads(tool, outcome, lead.question)]
        faults = [outcome.reading or "a tool failed" for _, outcome in done if getattr(outcome.step, "is_error", False)]
        return Looked(queries, tuple(found), "\n".join(fault[:300] for fault in faults))

    def _lookups(self, queries: Sequence[str]) -> list[tuple[str, str, Mapping[str, Any]]]:
        """Searches as the type of a tool, the name of its function and the arguments."""
        looks: list[tuple[str, str, Mapping[str, Any]]] = []
        if queries and self._desk.offers("google_search"):
            looks.append(("google_search", "google_search", {"queries": list(queries)}))
        if queries and self._desk.offers("file_search"):  # by meaning: the whole question finds most
            looks.append(("file_search", "file_search", {"query": queries[-1]}))
        return looks

    async def _calls(self, lead: Lead, beginning: str) -> list[tuple[str, Mapping[str, Any]]]:
        functions = (await self._desk.functions()).get("mcp_server", ())
        if not functions:
            return []
        found = await self._stages.ask(call(beginning, lead.question, functions))
        known = {function.name for function in functions}
        given = found.get("calls")
        calls = [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []
        return [
            (str(item["name"]), item["arguments"])
            for item in calls[:2]
            if item.get("name") in known and isinstance(item.get("arguments"), dict)
        ]

    # ------------------------------------------------------------------ pages

    def unread(self, passages: Iterable[Passage]) -> list[Passage]:
        """One passage of each page of the web that was found and not read."""
        pages: dict[str, Passage] = {}
        for passage in passages:
            place = place_of(passage)
            if place.startswith(("http://", "https://")) and place not in self._seen:
                pages.setdefault(place, passage)
        return list(pages.values())

    async def read(self, urls: Sequence[str], about: str) -> Looked:
        """What pages have on a question; each is read by itself, so that each has the room of one result."""
        if not self._desk.offers("url_context"):
            return Looked()
        urls = [url for url in dict.fromkeys(urls) if url not in self._seen]
        urls = urls[: max(0, self._budget.pages - self._pages)]
        self._pages += len(urls)
        self._seen.update(urls)
        found = await self._stages.within(self._page(url, about) for url in urls)
        late = [[Read(place=url, title=url, tool="url_context", at=self._clock(), status="error")] for url in urls]
        return Looked(
            tuple(urls), tuple(read for reads, none in zip(found, late, strict=True) for read in reads or none)
        )

    async def _page(self, url: str, about: str) -> list[Read]:
        outcome = await self._desk.use("url_context", {"urls": [url]}, about=about)
        reads = self._reads("url_context", outcome, about)
        if reads:
            return reads
        items = outcome.step.result if isinstance(outcome.step, wire.UrlContextResultStep) else None
        status = next((item.status for item in items or () if item.status), "error")
        return [Read(place=url, title=url, tool="url_context", at=self._clock(), status=status)]

    # ------------------------------------------------------------------ what came of it

    def _reads(self, tool: str, outcome: Outcome, about: str) -> list[Read]:
        """What an outcome gives to read on a question, by page."""
        pages: dict[str, list[Passage]] = {}
        passages = outcome.passages or (self._said(outcome) if tool == "mcp_server" else ())
        pieces = list(_pieces(passages, whole=tool == "url_context"))
        for piece in _closest(pieces, about):
            pages.setdefault(place_of(piece), []).append(piece)
        return [
            Read(
                place=place,
                title=title_of(kept[0]),
                tool=tool,
                at=self._clock(),
                sha256=hashed(*(passage.text for passage in kept)),
                passages=tuple(kept),
            )
            for place, kept in pages.items()
        ]

    def _said(self, outcome: Outcome) -> tuple[Passage, ...]:
        """What another server's tool said: it is cited by the server's address and the tool's name."""
        step = outcome.step
        if not isinstance(step, wire.McpServerToolResultStep) or step.is_error:
            return ()
        text = (outcome.reading or (step.result if isinstance(step.result, str) else "")).strip()
        declared = self._desk.record.tools or ()
        servers = {tool.name: tool.url for tool in declared if isinstance(tool, wire.McpServer)}
        title = ": ".join(filter(None, (step.server_name, step.name)))
        citation = wire.UrlCitation(url=servers.get(step.server_name), title=title or "mcp_server")
        return (Passage(text, citation),) if text else ()


def _pieces(passages: Sequence[Passage], *, whole: bool) -> Iterator[Passage]:
    """Passages in pieces, each with its heading. Those of a `whole` page stand one behind the other there."""
    cut = [(_sound(passage.citation), list(pieces_of(_whole(passage.text)))) for passage in passages]
    texts = iter(carried([text for _, texts in cut for text in texts]))
    for citation, own in cut:
        made = [next(texts) for _ in own]
        yield from (Passage(text, citation) for text in (made if whole else carried(own)))


def _whole(text: str) -> str:
    """Text that can be written down: half of a character is replaced."""
    return text.encode("utf-8", "replace").decode()


def _sound(citation: Citation) -> Citation:
    """A citation that can be written down."""
    fields = {name: getattr(citation, name) for name in citation.__struct_fields__}
    changed = {name: _whole(value) for name, value in fields.items() if isinstance(value, str)}
    return msgspec.structs.replace(citation, **changed)


def pieces_of(
    text: str, size: int = _PASSAGE, places: Sequence[tuple[re.Pattern[str], str]] = _PLACES
) -> Iterator[str]:
    """A text in pieces of at most `size` characters, as large as can be, cut between paragraphs, else lines, else sentences.

    What a search has left out between two parts (`[…]`) ends a piece too.
    """
    if GAP in text:
        for part in text.split(GAP):
            yield from pieces_of(part, size)
        return
    text = text.strip()
    if len(text) <= size or not places:
        yield from (text[start : start + size] for start in range(0, len(text), size))
        return
    (pattern, joint), *finer = places
    held = ""
    for part in pattern.split(text):
        joined = f"{held}{joint}{part}" if held else part
        if len(joined) <= size:
            held = joined
            continue
        if held.strip():
            yield held.strip()
        held = ""
        if len(part) > size:
            yield from pieces_of(part, size, finer)
        else:
            held = part
    if held.strip():
        yield held.strip()


def _closest(passages: Sequence[Passage], about: str) -> list[Passage]:
    """Those that have most to do with a question, in their order; the first, which mostly says what it is, among them."""
    if len(passages) <= _MOST_PASSAGES:
        return list(passages)
    weights = relevance([passage.text for passage in passages], terms(about))
    order = sorted(range(len(passages)), key=lambda place: (place != 0, -weights[place], place))
    return [passages[place] for place in sorted(order[:_MOST_PASSAGES])]
