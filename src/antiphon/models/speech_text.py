"""What of a text is said aloud: without the directions of a prompt, without the signs of Markdown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from antiphon.words import MARKER, sentences

# The service's prompts say first how something is to be said. A direction is a line of its own, or ends at the colon.
_DIRECTION = re.compile(
    r"\s*(?:please\s+)?(?:(?:say|read|speak|tts|narrate|recite|whisper|shout)\b[^:\n]{0,200}:(?!//)\s*"
    r"|(?:make|generate|convert|synthesi[sz]e|turn|perform|use|in)\b[^\n]{0,400}:[ \t]*\n\s*)",
    re.IGNORECASE,
)
# In long prompts the words to be said stand below this heading.
_TRANSCRIPT = re.compile(r"^#+[ \t]*(?:the[ \t]+)?transcript[ \t:]*$", re.MULTILINE | re.IGNORECASE)
_TAG = re.compile(r"\[[a-z][a-z ,'-]{1,40}\](?!\()")  # [whispers]: how it is to be said, not what

_HEADING = re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+([^\n]*?)[ \t#]*\n", re.MULTILINE)
_NUMBER = re.compile(r"^([ \t]*)(\d{1,3})[.)](?=[ \t])", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)")
_ADDRESS = re.compile(r"<?https?://[^\s>)\]]+>?")
_HTML = re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>")
_GAP = re.compile(r"[ \t]+(?=[,.;:!?](?:\s|$))")  # what was taken out leaves one
_SIGNS = re.compile(r"\*+|~~|`+|(?<!\w)_+|_+(?!\w)|^\s*>+\s*", re.MULTILINE)


def transcript(prompt: str) -> str:
    """The words of a prompt that are to be said: what stands behind its direction, if it begins with one."""
    headings = list(_TRANSCRIPT.finditer(prompt))
    text = prompt[headings[-1].end() :] if headings else prompt
    direction = _DIRECTION.match(text)
    if direction is not None and text[direction.end() :].strip():
        text = text[direction.end() :]
    return _TAG.sub(" ", text).strip()


def is_sayable(text: str) -> bool:
    """Whether there is a letter or a digit in it."""
    return any(character.isalnum() for character in text)


def plain(markdown: str) -> str:
    """A sentence of Markdown as it is said: no signs, no addresses, no marks of sources; the cells of a row in turn."""
    text = MARKER.sub("", _LINK.sub(r"\1", markdown))
    text = _SIGNS.sub("", _HTML.sub("", _ADDRESS.sub("", text)))
    text = _GAP.sub("", text)
    return ", ".join(filter(None, (cell.strip() for cell in text.split("|")))) if "|" in text else text.strip()


class Sayings:
    """Cuts an answer that comes in pieces into sentences to be said. Code is left out, headings are said."""

    def __init__(self) -> None:
        self._rest = ""

    def add(self, text: str) -> Iterator[str]:
        """The sentences that are whole by now."""
        self._rest += text
        if any(sign in text for sign in ".!?…。！？｡\n"):
            yield from self._taken(whole=False)

    def end(self) -> Iterator[str]:
        """What is left."""
        self._rest += "\n"
        yield from self._taken(whole=True)

    def _taken(self, *, whole: bool) -> Iterator[str]:
        rest = _HEADING.sub(_as_item, self._rest)
        rest = _NUMBER.sub(r"\1- \2,", rest)  # else the number would be taken for a mark, and not be said
        found = list(sentences(rest))
        done = 0
        # The last one may go on with the next piece; what lies between two sentences belongs to neither.
        for place in found if whole else found[:-1]:
            done = place.end
            if is_sayable(said := plain(rest[place.start : place.end])):
                yield said
        self._rest = rest[done:]


def _as_item(heading: re.Match[str]) -> str:
    title = heading[1]
    return f"- {title}\n" if title[-1:] in (*".!?:…。！？",) else f"- {title}.\n"
