"""What the local index is made of: folders, files and sites, and how each is brought up to date.

The list of sources is a file beside the index. A document keeps the mark of what it was made from, so that what has not
changed is not read again, and what is gone is taken out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from antiphon.index.collection import Entry, Index
from antiphon.ports import Document, Read, Unreadable

FILE = "search.sources.json"  # in the data directory
Tell = Callable[[str], None]  # is told each place that is looked at


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A folder, file or site. `url` is the address that a folder's files are cited by, `pages` a site's limit."""

    place: str
    url: str = ""
    pages: int = 500

    @property
    def is_site(self) -> bool:
        return self.place.startswith(("http://", "https://"))


class Tally(msgspec.Struct):
    """What became of the documents of a source; `failed` says which could not be read, and why."""

    added: int = 0
    changed: int = 0
    same: int = 0
    removed: int = 0
    failed: list[str] = []


def load(folder: Path) -> list[Source]:
    """The sources of the index in a data directory. Raises ValueError where their file is broken."""
    path = folder / FILE
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Source])
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} is broken: {error}") from None


def save(folder: Path, sources: Sequence[Source]) -> None:
    """Keep the list, in one step."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = folder / f"{FILE}.new"
    new.write_bytes(msgspec.json.format(msgspec.json.encode(sources), indent=2) + b"\n")
    new.replace(folder / FILE)


class Keeper:
    """Puts the documents of one source into the index: the new and the changed ones."""

    def __init__(self, index: Index, read: Read, source: Source, entries: Sequence[Entry], tell: Tell) -> None:
        self.tally = Tally()
        self.tell = tell
        self._index = index
        self._read = read
        self._source = source
        self._known = {entry.key: entry for entry in entries if entry.metadata.get("source") == source.place}
        self._seen: set[str] = set()

    def unchanged(self, name: str, stamp: str) -> bool:
        """Whether a document is there with this stamp (a time and a size); it then stays."""
        entry = self._known.get(self._key(name))
        if entry is None or not stamp or entry.metadata.get("stamp") != stamp:
            return False
        self._seen.add(entry.key)
        self.tally.same += 1
        return True

    async def keep(self, name: str, url: str, body: bytes, kind: str | None, stamp: str = "") -> None:
        """Read a document and put it in, unless it is there already. `name` is unique within the source."""
        key = self._key(name)
        if key in self._seen:
            return
        self._seen.add(key)
        mark = hashlib.sha256(body).hexdigest()
        entry = self._known.get(key)
        if entry is not None and entry.metadata.get("sha256") == mark and entry.url == url:
            self.tally.same += 1
            return
        try:
            document = await self._read(body, kind, name.rpartition("/")[2])
        except Unreadable as error:
            self.tally.failed.append(f"{name}: {error}")
            return
        metadata: dict[str, str | float | list[str]] = {"source": self._source.place, "sha256": mark, "stamp": stamp}
        title = _title(document, name)
        await self._index.add(key, title=title, url=url, leaves=document.leaves, metadata=metadata)
        self.tally.added += entry is None
        self.tally.changed += entry is not None

    def failed(self, name: str, why: str) -> None:
        """A document could not be had: what is in the index of it stays."""
        self._seen.add(self._key(name))
        self.tally.failed.append(f"{name}: {why}")

    async def forget_the_rest(self) -> None:
        """Take out what the source no longer has."""
        for key in self._known.keys() - self._seen:
            await self._index.remove(key)
            self.tally.removed += 1

    def _key(self, name: str) -> str:
        return f"{self._source.place} {name}"


async def forget(index: Index, place: str) -> int:
    """Take all documents of a source out; how many there were."""
    entries = [entry for entry in await index.entries() if entry.metadata.get("source") == place]
    for entry in entries:
        await index.remove(entry.key)
    return len(entries)


def _title(document: Document, name: str) -> str:
    if document.title and document.title.strip():
        return " ".join(document.title.split())[:300]
    for leaf in document.leaves[:1]:
        for line in leaf.text.splitlines()[:5]:
            if line.startswith("# "):
                return line[2:].strip()[:300]
    return name.rstrip("/").rpartition("/")[2] or name
