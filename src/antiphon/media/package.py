"""The packages that Office and OpenDocument files are: a zip archive with XML in it, opened with nothing trusted.

Only members asked for are unpacked, never a path of the archive's on a disk. What comes out is counted, as it comes, and
XML with entities of its own is refused, since nothing that writes these files declares any.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Mapping
from xml.parsers import expat

from antiphon.ports import Unreadable

_LARGEST = 300 * 10**6  # bytes unpacked, in all
_MOST_MEMBERS = 20_000
_RATIO = 300  # how many times smaller a member may be packed; deflate's end is 1,032
_SMALL = 10**6  # below which a ratio says nothing
_DEEPEST = 300
_PIECE = 1 << 16

Start = Callable[[str, Mapping[str, str]], None]


class Package:
    """An archive's members, by name. Raises Unreadable where it is none, or is locked."""

    def __init__(self, body: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(body))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError):
            raise Unreadable("It is no whole archive.") from None
        members = self._zip.infolist()
        if len(members) > _MOST_MEMBERS:
            raise Unreadable(f"It is an archive of {len(members)} files.")
        self.names = frozenset(member.filename for member in members)
        self._unpacked = 0

    def read(self, name: str) -> bytes:
        """A member, whole; b'' where there is none."""
        pieces: list[bytes] = []
        self._unpack(name, pieces.append)
        return b"".join(pieces)

    def parse(
        self,
        name: str,
        start: Start,
        end: Callable[[str], None] | None = None,
        text: Callable[[str], None] | None = None,
    ) -> None:
        """Tell of a member's elements, as `namespace:name` or just `name`; nothing where there is no such member."""
        depth = 0

        def opened(tag: str, attributes: Mapping[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > _DEEPEST:
                raise Unreadable("Its elements are nested too deeply.")
            start(tag, attributes)

        def closed(tag: str) -> None:
            nonlocal depth
            depth -= 1
            if end is not None:
                end(tag)

        def declared(*_: object) -> None:
            raise Unreadable("It declares entities of its own.")

        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = opened
        parser.EndElementHandler = closed
        if text is not None:
            parser.CharacterDataHandler = text
        parser.EntityDeclHandler = declared
        try:
            if self._unpack(name, parser.Parse):
                parser.Parse(b"", True)
        except (expat.ExpatError, LookupError, ValueError):  # the latter two: an encoding that Python does not know
            raise Unreadable("A part of it is no valid XML.") from None

    def title(self, part: str) -> str | None:
        """The title (Dublin Core) in the part that tells of the document."""
        words: list[str] = []
        inside = False

        def start(tag: str, _: Mapping[str, str]) -> None:
            nonlocal inside
            inside = tag == "dc:title"

        def end(_: str) -> None:
            nonlocal inside
            inside = False

        def text(data: str) -> None:
            if inside:
                words.append(data)

        self.parse(part, start, end, text)
        return " ".join("".join(words).split()) or None

    def targets(self, part: str) -> dict[str, str]:
        """What a part's relations lead to inside the archive: names of members by the relations' ids."""
        folder, name = posixpath.split(part)
        found: dict[str, str] = {}

        def start(tag: str, attributes: Mapping[str, str]) -> None:
            if tag.endswith("Relationship") and attributes.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, attributes.get("Target", "")))
                found[attributes.get("Id", "")] = target.lstrip("/")

        self.parse(f"{folder}/_rels/{name}.rels", start)
        return found

    def _unpack(self, name: str, take: Callable[[bytes], object]) -> bool:
        if name not in self.names:
            return False
        member = self._zip.getinfo(name)
        if member.flag_bits & 1:
            raise Unreadable("It is locked with a password.")
        got = 0
        try:
            with self._zip.open(member) as file:
                while piece := file.read(_PIECE):
                    got += len(piece)
                    self._unpacked += len(piece)
                    if self._unpacked > _LARGEST or (got > _SMALL and got > _RATIO * max(member.compress_size, 1)):
                        raise Unreadable("It unpacks to far more than it is: a bomb, or too large.")
                    take(piece)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError):
            raise Unreadable("It is no whole archive.") from None
        return True
