"""url_context: the model names pages of the web, and reads them.

Getting a page and reading it are others' work (`ports.Fetch`, `ports.Read`, `ports.Look`). This file decides which pages,
how many, and what part of them fits into what the model can read: the passages that have most to do with the user's
question, and a few pictures.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from yarl import URL

from antiphon import wire
from antiphon.excerpts import pictures_in, relevance, shares
from antiphon.ports import (
    Document,
    Fetch,
    Fetched,
    FetchError,
    Look,
    Outcome,
    Passage,
    Picture,
    Read,
    Unreadable,
    Use,
)
from antiphon.words import terms

_MOST_URLS = 20  # of one interaction, and of each the bytes, as in the API's documents
_LARGEST = 34 * 10**6
_AT_ONCE = 4
_LONGEST_URL = 2048
_PASSAGE = 1200  # characters; about what one citation can support
_URL = re.compile(r"https?://[^\s<>\"'`\\{}|^\[\]]+", re.IGNORECASE)
_CLOSING = ".,;:!?)*_"  # what follows a URL in a sentence rather than ends it
# Where a text is cut, best places first, and what joins two pieces that stay together.
_CUTS = (
    (re.compile(r"\n\s*\n"), "\n\n"),
    (re.compile(r"\n"), "\n"),
    (re.compile(r"(?<=[.!?…。！？])\s+"), " "),
    (re.compile(r"\s+"), " "),
)
_MOST_PASSAGES = 2000  # of one call are compared with the question, which takes a millisecond each
# Whose words can name a page: the user's, and results of others. What the model wrote, or made a tool print, cannot.
_NAMING = (
    wire.UserInputStep,
    wire.FunctionResultStep,
    wire.GoogleSearchResultStep,
    wire.GoogleMapsResultStep,
    wire.FileSearchResultStep,
    wire.McpServerToolResultStep,
)

Status = Literal["success", "error", "paywall", "unsafe"]


class UrlContext:
    """The tool. `seconds` bounds one call, however many pages it names.

    With `named_only` a page must have been named by the user or by an earlier result: a page that talks the model into
    sending what it knows away, as part of a URL, then does not get it. Without `look` pictures are only named.
    """

    type = "url_context"
    rerunnable = True  # it only reads

    def __init__(
        self,
        source: str = "",
        *,
        fetch: Fetch,
        read: Read,
        look: Look | None = None,
        named_only: bool = False,
        seconds: float = 60.0,
    ) -> None:
        if source:
            raise ValueError(f"url_context takes no source, and was given '{source}'")
        if not isinstance(named_only, bool) or not 0 < seconds < 3600:  # they come from a file
            raise ValueError("named_only is true or false, and seconds a number below 3600")
        self._fetch = fetch
        self._read = read
        self._look = look
        self._named_only = named_only
        self._seconds = seconds

    async def check(self, declared: wire.Tool, project: str, path: str) -> None:
        """Nothing can be wrong: the declaration has no fields."""

    async def open(self, use: Use) -> Reading:
        """A session with its own count of pages."""
        return Reading(use, self._fetch, self._read, self._look, named_only=self._named_only, seconds=self._seconds)

    async def aclose(self) -> None:
        """Nothing is held."""


class Page(msgspec.Struct, kw_only=True):
    """One URL of a call, and what came of it. `why` is in words that no page wrote."""

    asked: str
    status: Status = "error"
    why: str = ""
    url: str = ""
    title: str | None = None
    passages: list[str] = []
    picture: Picture | None = None


class Reading:
    """The tool's session (`ports.Session`)."""

    functions: Sequence[wire.Function] = (
        wire.Function(
            name="url_context",
            description="Read web pages, documents or pictures on the web. Returns their text.",
            parameters={
                "type": "object",
                "properties": {
                    "urls": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "The full URLs, such as https://example.com/page. All that are needed, at once.",
                    }
                },
                "required": ["urls"],
            },
        ),
    )

    def __init__(
        self, use: Use, fetch: Fetch, read: Read, look: Look | None, *, named_only: bool, seconds: float
    ) -> None:
        self._fetch = fetch
        self._read = read
        self._look = look
        self._room = use.room
        self._seconds = seconds
        self._left = _MOST_URLS
        self._pictures_left = pictures_in(use.room)
        self._places = asyncio.Semaphore(_AT_ONCE)
        question = _question(use.steps)
        self._terms = terms(_URL.sub(" ", question))
        self._known = _named(use.steps) if named_only else None
        urls = _urls(question)[:_MOST_URLS]
        self.instructions = (
            f"The user names {'this page' if len(urls) == 1 else 'these pages'}: {' '.join(urls)}\n"
            "You have not seen what is there. Call url_context to read before you answer."
            if urls
            else ""
        )

    def call(self, id: str, name: str, arguments: Mapping[str, Any]) -> wire.UrlContextCallStep:
        """The call as a step. Small models give one string where a list is asked for: it is taken apart."""
        given = arguments.get("urls", arguments.get("url"))
        words = given.split() if isinstance(given, str) else given if isinstance(given, list | tuple) else []
        urls = [word.strip() for word in words if isinstance(word, str) and 0 < len(word.strip()) <= _LONGEST_URL]
        return wire.UrlContextCallStep(id=id, arguments=wire.UrlContextArguments(urls=list(dict.fromkeys(urls))))

    def owns(self, call: wire.ToolCallStep) -> bool:
        """There is one tool of this type."""
        return isinstance(call, wire.UrlContextCallStep)

    async def run(self, call: wire.ToolCallStep) -> Outcome:
        """Fetch and read all pages, within the time; then choose what of them is shown."""
        assert isinstance(call, wire.UrlContextCallStep), "the engine asks whose call it is"
        asked = (call.arguments.urls if call.arguments else None) or []
        if not asked:
            return Outcome(
                step=wire.UrlContextResultStep(call_id=call.id, result=[], is_error=True),
                reading="No URL was given. Call url_context with full URLs in `urls`.",
                trusted=True,
            )
        pages = [Page(asked=url) for url in dict.fromkeys(asked)]
        taken, surplus = pages[: self._left], pages[self._left :]
        self._left -= len(taken)
        await self._all(taken)
        self._count_pictures(taken)
        # In a thread: the comparison of a book's passages with the question takes longer than others can wait.
        return await asyncio.to_thread(self._outcome, call.id, taken, surplus)

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _all(self, pages: Sequence[Page]) -> None:
        tasks = {asyncio.create_task(self._one(page)): page for page in pages}
        if not tasks:
            return
        try:
            _, late = await asyncio.wait(tasks, timeout=self._seconds)
        finally:
            for task in tasks:
                task.cancel()
        for task in late:
            tasks[task].why = "Not read: the time for all pages together was over."
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome  # a fault of ours

    async def _one(self, page: Page) -> None:
        url = page.asked if "://" in page.asked else f"https://{page.asked}"
        if self._known is not None and _plain(url) not in self._known:
            page.status = "unsafe"
            page.why = "Not read: only pages that the user or an earlier result named are read here."
            return
        async with self._places:
            try:
                fetched = await self._fetch(url, largest=_LARGEST)
                await self._take(page, fetched)
            except FetchError as error:
                page.status, page.why = error.status, str(error)
            except Unreadable as error:
                page.why = str(error)
            else:
                page.status, page.url = "success", fetched.url

    async def _take(self, page: Page, fetched: Fetched) -> None:
        """What a page shows or says. Raises Unreadable."""
        if self._look is not None and (picture := await self._look(fetched.body)) is not None:
            page.picture, page.why = picture, f"It is a picture ({picture})."
            return
        mime_type = f"{fetched.mime_type}; charset={fetched.charset}" if fetched.charset else fetched.mime_type
        document = await self._read(fetched.body, mime_type, fetched.url.partition("?")[0])
        page.passages = await asyncio.to_thread(list, passages_of(document))
        page.title = _one_line(document.title)
        if self._known is not None:
            self._known |= {_plain(found) for found in _urls(" ".join(page.passages))}

    def _count_pictures(self, pages: Sequence[Page]) -> None:
        """Take those away that are too many for one answer."""
        for page in pages:
            if page.picture is None:
                continue
            if self._pictures_left > 0:
                self._pictures_left -= 1
            else:
                page.status, page.picture = "error", None
                page.why += " It is not shown: too many pictures for one answer."

    def _outcome(self, call_id: str, pages: Sequence[Page], surplus: Sequence[Page]) -> Outcome:
        """The result, and what the model reads of it: every page's fate, and of those that were read a fair share."""
        read = [page for page in pages if page.passages]
        told = {page.asked: f"{page.asked[:_LONGEST_TOLD]}: {page.status}. {page.why}".strip() for page in pages}
        if surplus:
            told[""] = f"Not read: {len(surplus)} more. At most {_MOST_URLS} pages are read for one answer."
        room = self._room - sum(map(len, told.values())) - len(read) * len(_LEFT_OUT)
        wanted = [sum(len(text) + _heading(page) for text in page.passages) for page in read]
        shown: list[Passage] = []
        for page, share in zip(read, shares(wanted, room), strict=True):
            chosen = best(page.passages, self._terms, share, _heading(page), _MOST_PASSAGES // len(read))
            citation = wire.UrlCitation(url=page.url, title=page.title)
            shown += (Passage(text, citation) for text in chosen)
            if chosen != page.passages:
                told[page.asked] += _LEFT_OUT.format(len(chosen), len(page.passages))
        return Outcome(
            step=wire.UrlContextResultStep(
                call_id=call_id,
                result=[wire.UrlContextItem(url=page.asked, status=page.status) for page in (*pages, *surplus)],
                is_error=all(page.status != "success" for page in pages),
            ),
            reading="\n".join(told.values())[: self._room],
            passages=tuple(shown),
            pictures=tuple(page.picture.content() for page in pages if page.picture is not None),
            trusted=not shown,  # without passages it holds no word that a page could have written
        )


_LONGEST_TOLD = 200  # characters of a URL; what it was in full the model knows
_LEFT_OUT = " Only {} of its {} passages had room: those closest to the question. "


def _heading(page: Page) -> int:
    """The characters that the model reads above each passage of a page: number, title, URL."""
    return len(page.title or "") + len(page.url) + 12


# ---------------------------------------------------------------------------------------------------- passages


def passages_of(document: Document, size: int = _PASSAGE) -> Iterator[str]:
    """A document in passages of at most `size` characters, each with the page it stands on, where there are pages."""
    for leaf in document.leaves:
        place = f"(page {leaf.number}) " if leaf.number is not None else ""
        for text in cut(leaf.text, size - len(place)):
            yield place + text


def cut(text: str, size: int, places: Sequence[tuple[re.Pattern[str], str]] = _CUTS) -> Iterator[str]:
    """Pieces of at most `size` characters, as large as can be, cut between paragraphs, else lines, else sentences."""
    text = text.strip()
    if len(text) <= size or not places:
        yield from (text[start : start + size] for start in range(0, len(text), size))
        return
    (pattern, joint), *finer = places
    held = ""
    for part in map(str.strip, pattern.split(text)):
        if held and len(held) + len(joint) + len(part) > size:
            yield held
            held = ""
        if len(part) > size:
            yield from cut(part, size, finer)
        elif part:
            held = f"{held}{joint}{part}" if held else part
    if held:
        yield held


def best(
    passages: Sequence[str], question: Sequence[str], room: int, beside: int, most: int = _MOST_PASSAGES
) -> list[str]:
    """The passages that have most to do with the question's terms and fit into `room`, in their order.

    The first one is among them, since it mostly says what the page is. `beside` is what each takes up beyond its text.
    Only the first `most` are looked at. Where not one fits, the first is cut.
    """
    if sum(map(len, passages)) + beside * len(passages) <= room:
        return list(passages)
    weights = relevance(passages[:most], question)
    order = sorted(range(len(weights)), key=lambda index: (index != 0, -weights[index], index))
    chosen: list[int] = []
    left = room
    for index in order:
        if len(passages[index]) + beside <= left:
            chosen.append(index)
            left -= len(passages[index]) + beside
    if not chosen and room > beside:
        piece = next(cut(passages[order[0]], room - beside - 2), "")
        return [f"{piece} …"] if piece else []
    return [passages[index] for index in sorted(chosen)]


# ---------------------------------------------------------------------------------------------------- what was said


def _question(steps: Sequence[wire.Step]) -> str:
    """The words of the user's last input that has any."""
    for step in reversed(steps):
        if isinstance(step, wire.UserInputStep):
            content = step.content or ""
            parts = (
                [content] if isinstance(content, str) else [p.text for p in content if isinstance(p, wire.TextContent)]
            )
            if any(part.strip() for part in parts):
                return "\n".join(parts)
    return ""


def _urls(text: str) -> list[str]:
    """The URLs in a text, in order, each once."""
    return list(dict.fromkeys(found for url in _URL.findall(text) if len(found := _unclosed(url)) <= _LONGEST_URL))


def _unclosed(url: str) -> str:
    """A URL without what the sentence around it added; a bracket that was opened in it is its own."""
    while url[-1] in _CLOSING and not (url[-1] == ")" and url.count("(") >= url.count(")")):
        url = url[:-1]
    return url


def _named(steps: Iterable[wire.Step]) -> set[str]:
    """The URLs that the conversation names, but for those that the model itself brought in."""
    found: list[str] = []
    for step in steps:
        if isinstance(step, wire.UrlContextResultStep):
            found += (item.url for item in step.result or [] if item.status == "success" and item.url)
        elif isinstance(step, _NAMING):
            found += _urls(msgspec.json.encode(step).decode())
    return set(map(_plain, found))


def _plain(url: str) -> str:
    """A URL in the form in which two of the same page are equal."""
    try:
        return str(URL(url).with_fragment(None))
    except ValueError:
        return url


def _one_line(title: str | None) -> str | None:
    return " ".join((title or "").split())[:200] or None
