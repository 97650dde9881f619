"""Sites for the local index: the pages below one address, as their `robots.txt` and their own marks allow.

Breadth first, a few at a time, never off the host or above the folder it began in. `crawl-delay` is kept to. Pages are
fetched anew each time and compared by their content.
"""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit
from urllib.robotparser import RobotFileParser

from antiphon.ports import Fetch, Fetched, FetchError
from antiphon.search.provider import is_page
from antiphon.search.sources import Keeper, Source

AGENT = "Antiphon"
_AT_ONCE = 4
_LONGEST_DELAY = 10.0
_LARGEST = 10 * 10**6
_READABLE = re.compile(r"text/(html|plain|markdown)|application/(xhtml\+xml|pdf|vnd\.openxmlformats.*|vnd\.oasis.*)")
_NO_ROBOTS = re.compile(r"HTTP 4\d\d|refuses")  # RFC 9309: a robots.txt that is not there forbids nothing


async def gather(source: Source, keeper: Keeper, fetch: Fetch) -> None:
    """Bring a site up to date. Raises ValueError where its first page cannot be had."""
    start = urldefrag(source.place)[0]
    rules = await _rules(start, fetch)
    if not rules.can_fetch(AGENT, start):
        raise ValueError(f"the robots.txt of {urlsplit(start).netloc} does not allow {start}")
    waiting, seen = [start], {start}
    count = 0
    while waiting and count < source.pages:
        batch, waiting = waiting[: min(_AT_ONCE, source.pages - count)], waiting[_AT_ONCE:]
        delay = min(float(rules.crawl_delay(AGENT) or 0), _LONGEST_DELAY)
        pages = await _fetched(batch, fetch, delay)
        for url, page in zip(batch, pages, strict=True):
            count += 1
            keeper.tell(url)
            if isinstance(page, FetchError):
                if url == start:
                    raise ValueError(f"{start}: {page}")
                keeper.failed(url, str(page))
                continue
            links = await _take(page, url, start, keeper)
            new = [link for link in links if link not in seen and rules.can_fetch(AGENT, link)]
            waiting += dict.fromkeys(new)
            seen.update(new)
    if not waiting:  # all of it was seen
        await keeper.forget_the_rest()


async def _fetched(urls: list[str], fetch: Fetch, delay: float) -> list[Fetched | FetchError]:
    if not delay:
        return list(await asyncio.gather(*(_page(url, fetch) for url in urls)))
    pages = []
    for url in urls:
        pages.append(await _page(url, fetch))
        await asyncio.sleep(delay)
    return pages


async def _page(url: str, fetch: Fetch) -> Fetched | FetchError:
    try:
        return await fetch(url, largest=_LARGEST)
    except FetchError as error:
        return error


async def _take(page: Fetched, url: str, start: str, keeper: Keeper) -> list[str]:
    """Put a page into the index; the addresses it links to that belong to the site."""
    where = urldefrag(page.url)[0]
    if not within(where, start):
        keeper.failed(url, "it leads away from the site")
        return []
    if not _READABLE.fullmatch(page.mime_type):
        return []
    marks = _Marks(where)
    if "html" in page.mime_type:
        text = page.body.decode(page.charset if _is_charset(page.charset) else "utf-8", "replace")  # type: ignore[arg-type]
        await asyncio.to_thread(marks.feed, text)
    if not marks.noindex:
        kind = f"{page.mime_type}; charset={page.charset}" if page.charset else page.mime_type
        await keeper.keep(where, where, page.body, kind)
    return [] if marks.nofollow else [link for link in marks.links if is_page(link) and within(link, start)]


def within(url: str, start: str) -> bool:
    """Whether an address is on the same host as another, in the same folder or below."""
    try:
        one, other = urlsplit(url), urlsplit(start)
        folder = other.path.rpartition("/")[0] + "/"
        return (one.scheme, one.netloc) == (other.scheme, other.netloc) and (one.path or "/").startswith(folder)
    except ValueError:
        return False


async def _rules(start: str, fetch: Fetch) -> RobotFileParser:
    rules = RobotFileParser()
    try:
        text = (await fetch(urljoin(start, "/robots.txt"), largest=2**19)).body.decode("utf-8", "replace")
    except FetchError as error:
        text = "" if _NO_ROBOTS.search(str(error)) else "User-agent: *\nDisallow: /"
    rules.parse(text.splitlines())
    rules.modified()
    return rules


def _is_charset(name: str | None) -> bool:
    try:
        "".encode(name or "?")
    except (LookupError, ValueError):
        return False
    return True


class _Marks(HTMLParser):
    """The links of a page, and what it asks of robots."""

    def __init__(self, url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.noindex = self.nofollow = False
        self._base = url

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at `a`, `base` and `meta`."""
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in given and "nofollow" not in given.get("rel", ""):
            self._link(given["href"])
        elif tag == "base" and given.get("href"):
            self._base = urljoin(self._base, given["href"])
        elif tag == "meta" and given.get("name", "").lower() == "robots":
            wishes = given.get("content", "").lower()
            self.noindex |= "noindex" in wishes or "none" in wishes
            self.nofollow |= "nofollow" in wishes or "none" in wishes

    def _link(self, href: str) -> None:
        try:
            self.links.append(urldefrag(urljoin(self._base, href.strip()))[0])
        except ValueError:
            return
