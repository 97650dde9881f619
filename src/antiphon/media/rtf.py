"""The words of an RTF document. What is beside the text (fonts, pictures, fields' codes) is left out."""

from __future__ import annotations

import re

from antiphon.ports import Document, Leaf, Unreadable

_TOKEN = re.compile(
    r"\\u(?P<unicode>-?\d{1,6}) ?"
    r"|\\'(?P<byte>[0-9a-fA-F]{2})"
    r"|\\(?P<word>[a-zA-Z]{1,32})(?P<number>-?\d{1,10})? ?"
    r"|\\(?P<sign>[^a-zA-Z])"
    r"|(?P<brace>[{}])"
    r"|(?P<plain>[^\\{}\r\n]+)"
    r"|[\r\n]+|\\"
)
_PIECES = {
    "par": "\n", "line": "\n", "row": "\n", "page": "\n", "sect": "\n", "tab": "\t", "cell": " | ", "emdash": "—",
    "endash": "–", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "bullet": "•",
}  # fmt: skip
_SIGNS = {"~": "\N{NO-BREAK SPACE}", "_": "-", "\\": "\\", "{": "{", "}": "}", "\n": "\n", "\r": "\n"}
_ASIDE = {"fonttbl", "colortbl", "stylesheet", "info", "pict", "object", "header", "footer", "themedata", "fldinst"}
_DEEPEST = 1000


def read_rtf(body: bytes) -> Document:
    """Raises Unreadable where its groups are nested without end."""
    text = body.decode("latin-1")
    reader = _Reader()
    position = 0
    while match := _TOKEN.match(text, position):
        position = match.end()
        # Binary data stands in the text as it is, so many characters long.
        if match["word"] == "bin" and match["number"]:
            position += max(0, int(match["number"]))
        reader.take(match)
    return Document(leaves=(Leaf("".join(reader.out)),))


class _Reader:
    """What was read so far, and where in the document's groups that was."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self._groups: list[tuple[bool, int]] = []
        self._shown = True
        self._instead = 1  # how many characters follow a \\u for readers that do not know it
        self._skip = 0
        self._page = "cp1252"

    def take(self, token: re.Match[str]) -> None:
        if token["brace"]:
            self._group(token["brace"])
        elif token["word"]:
            self._word(token["word"], token["number"])
        elif token["sign"] == "*":
            self._shown = False  # a destination that only some readers know
        elif token["unicode"]:
            code = int(token["unicode"]) % 0x10000
            self._put(chr(code))
            self._skip = self._instead
        elif token["byte"]:
            self._put(self._characters(bytes.fromhex(token["byte"])), stands_in=True)
        elif token["sign"]:
            self._put(_SIGNS.get(token["sign"], ""))
        elif token["plain"]:
            self._put(token["plain"], stands_in=True)

    def _group(self, brace: str) -> None:
        self._skip = 0
        if brace == "{":
            if len(self._groups) == _DEEPEST:
                raise Unreadable("Its groups are nested too deeply.")
            self._groups.append((self._shown, self._instead))
        elif self._groups:
            self._shown, self._instead = self._groups.pop()

    def _word(self, word: str, number: str | None) -> None:
        if word in _ASIDE:
            self._shown = False
        elif word == "ansicpg" and number:
            self._page = f"cp{number}"
        elif word == "uc" and number:
            self._instead = max(0, int(number))
        else:
            self._put(_PIECES.get(word, ""))

    def _put(self, piece: str, *, stands_in: bool = False) -> None:
        """Add to the text; of what may stand in for a \\u before it, as much is skipped."""
        if stands_in and self._skip:
            skipped = min(self._skip, len(piece))
            self._skip -= skipped
            piece = piece[skipped:]
        if self._shown and piece:
            self.out.append(piece)

    def _characters(self, byte: bytes) -> str:
        try:
            return byte.decode(self._page, "replace")
        except LookupError:
            return byte.decode("cp1252", "replace")
