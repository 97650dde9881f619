"""`antiphon index`: fills the index that google_search reads with `local`. Works on the data directory, not on a server.

antiphon index add ~/handbook --url https://intranet.example/handbook/
antiphon index add https://docs.example.org/guide/
antiphon index list | refresh [PATH|URL] | remove PATH|URL
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from urllib.parse import urlsplit

from antiphon.fetch import Fetcher
from antiphon.index.collection import Index
from antiphon.media.reader import Reader
from antiphon.search import folders, sites, sources
from antiphon.search.local import FILE
from antiphon.search.sources import Keeper, Source
from antiphon.settings import data_directory


class IndexFault(Exception):
    """What cannot be done; the message is for whoever typed the command."""


def run(arguments: argparse.Namespace) -> int:
    """Carry out one command; 1 where it could not be, with the reason on standard error."""
    folder = arguments.data or data_directory()
    try:
        return asyncio.run(_run(arguments, folder))
    except (IndexFault, ImportError, ValueError, OSError) as error:
        print(f"antiphon: {error}", file=sys.stderr)
        return 1


async def _run(arguments: argparse.Namespace, folder: Path) -> int:
    known = {source.place: source for source in sources.load(folder)}
    if arguments.action == "list":
        return await _list(folder, known)
    place = _place(arguments.place)
    if arguments.action == "add":
        if not place:
            raise IndexFault("Which folder or site? antiphon index add PATH|URL")
        known[place] = Source(place=place, url=arguments.url, pages=arguments.pages)
        return await _refresh(folder, [known[place]], known)
    if place and place not in known:
        raise IndexFault(f"{place} is not in the index: antiphon index list")
    if arguments.action == "refresh":
        return await _refresh(folder, [known[place]] if place else list(known.values()), known)
    if not place:
        raise IndexFault("Which one? antiphon index remove PATH|URL")
    index = Index(folder / FILE)
    try:
        print(f"removed {await sources.forget(index, place)} documents")
    finally:
        await index.aclose()
    sources.save(folder, [source for source in known.values() if source.place != place])
    return 0


def _place(given: str | None) -> str:
    """A URL as it is, a path from the root, so that the command means the same everywhere."""
    if not given:
        return ""
    if given.startswith(("http://", "https://")):
        return given if urlsplit(given).path else f"{given}/"
    return str(Path(given).expanduser().resolve())


async def _list(folder: Path, known: dict[str, Source]) -> int:
    if not known:
        print("nothing yet: antiphon index add PATH|URL")
        return 0
    index = Index(folder / FILE)
    try:
        entries = await index.entries()
    finally:
        await index.aclose()
    for place, source in known.items():
        count = sum(entry.metadata.get("source") == place for entry in entries)
        print(f"{count:6} documents  {place}{f'  as {source.url}' if source.url else ''}")
    return 0


async def _refresh(folder: Path, wanted: list[Source], known: dict[str, Source]) -> int:
    index, read = Index(folder / FILE), Reader()
    failures = 0
    try:
        for source in wanted:
            if await _gather(source, index, read):
                sources.save(folder, list(known.values()))
            else:
                failures += 1
    finally:
        await read.aclose()
        await index.aclose()
    return 1 if failures else 0


async def _gather(source: Source, index: Index, read: Reader) -> bool:
    """Bring one source up to date, and say what became of it; whether it could be looked at."""
    line = _Line()
    keeper = Keeper(index, read, source, await index.entries(), line.tell)
    try:
        if source.is_site:
            # The operator named this host: it may be one of the intranet. Where its pages lead to may not.
            await sites.gather(source, keeper, Fetcher((_host(source.place),)))
        else:
            await folders.gather(source, keeper)
    except ValueError as error:
        line.close()
        print(f"antiphon: {error}", file=sys.stderr)
        return False
    line.close()
    tally = keeper.tally
    for failure in tally.failed[:20]:
        print(f"  not read: {failure}", file=sys.stderr)
    if len(tally.failed) > 20:
        print(f"  and {len(tally.failed) - 20} more", file=sys.stderr)
    print(
        f"{source.place}: {tally.added} added, {tally.changed} changed, {tally.same} unchanged, "
        f"{tally.removed} removed, {len(tally.failed)} not read"
    )
    return True


def _host(url: str) -> str:
    """The host of a site and its port, as the fetcher's list of what may be reached has them."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{host}:{parts.port}" if parts.port else host


class _Line:
    """What is looked at, on one line of a terminal; elsewhere nothing."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._count = 0

    def tell(self, name: str) -> None:
        """Show one more."""
        self._count += 1
        if self._shown:
            print(f"\r\033[K{self._count} {name[-70:]}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the line empty."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
