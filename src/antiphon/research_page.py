"""A report as one page of HTML: footnotes, pictures and sources in it, and nothing of it anywhere else. Pure.

What the report says was written by a model out of strangers' pages. So its Markdown may hold no HTML and no pictures, its
links lead to http and https only, and the page itself forbids the browser to load or to run anything.

A citation says with byte offsets which words it stands for. At their end a mark is put into the Markdown, of signs that
are taken out of the text itself; the parser sees it as text, and its tokens of text are searched for it. Wherever else a
mark came to stand, in an address or in code, it is taken out again.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from antiphon.research_report import Annotation, Part, Research, caption, picture, seen, title

_OPEN, _CLOSE = "\ue000", "\ue001"
# The numbers that stand behind the words in the text itself: the footnotes take their place.
_NUMBERS = re.compile(r"^(\*{0,3})(?: ?\[\d{1,4}\])+(?![(\[:\d])")
_LISTED = re.compile(r"(?:\A|\n)(?:#+ +|\*\*)Sources:?(?:\*\*)?:?\s*\n((?:\s*\d{1,4}\. [^\n]*(?:\n|\Z))+)\s*\Z")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fff; --faint: #5c5f66; --line: #d8dade; --link: #0b57d0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e9; --paper: #16171a; --faint: #a0a4ab; --line: #3a3d42; --link: #8ab4f8; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.6 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 1.5rem 1.1rem 4rem; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.25; text-wrap: balance; }
h1 { font-size: 1.8rem; margin: .4rem 0 1rem; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; }
a { color: var(--link); }
.about { color: var(--faint); font-size: .88rem; margin: 0; white-space: pre-line; }
figure { margin: 1.4rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
pre, table { display: block; overflow-x: auto; }
pre, code { font: .9em/1.5 ui-monospace, monospace; }
pre { padding: .8rem; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left; }
blockquote { margin: 1rem 0; padding-left: 1rem; border-left: 3px solid var(--line); color: var(--faint); }
sup { line-height: 0; font-size: .72em; }
sup a { text-decoration: none; padding: 0 .1em; }
#sources { border-top: 1px solid var(--line); margin-top: 2.5rem; font-size: .92rem; }
#sources li { margin: .5rem 0; padding: .1rem .3rem; }
#sources .place { color: var(--faint); display: block; }
:target { background: color-mix(in srgb, var(--link) 16%, transparent); border-radius: 4px; }
@media print {
  :root { --ink: #000; --paper: #fff; --faint: #444; --line: #bbb; --link: #000; color-scheme: light; }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; }
  figure, pre, tr, li { break-inside: avoid; }
  .back { display: none; }
}
"""


class _Markdown(MarkdownIt):
    """Markdown as strangers may write it."""

    def __init__(self) -> None:
        super().__init__("js-default", {"html": False, "linkify": False})
        self.disable("image")

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        """Whether a link may stand; otherwise its text stays as it was written."""
        return _WEB.match(url) is not None


class _Source:
    """A page, a file or a place that is cited, and how often."""

    def __init__(self, number: int, cited: Annotation) -> None:
        address = seen(cited.url or cited.document_uri or "").strip()
        self.number = number
        self.address = address if _WEB.match(address) else ""
        named = cited.title or cited.file_name or cited.name
        self.title = seen(named or address or "Unnamed")
        where = _host(self.address) or (address if named else "")
        page = f"page {cited.page_number}" if cited.page_number is not None else ""
        self.place = ", ".join(filter(None, (where, page)))
        self.cited = 0

    def footnote(self) -> str:
        """The number behind words that it supports."""
        self.cited += 1
        about = f"{self.title}, {self.place}" if self.place else self.title
        return (
            f'<a href="#source-{self.number}" id="cited-{self.number}-{self.cited}" title="{escape(about)}">'
            f"{self.number}</a>"
        )

    def entry(self) -> str:
        """Its line in the list of sources."""
        named = escape(self.title)
        if self.address:
            named = f'<a href="{escape(self.address)}" rel="noopener noreferrer">{named}</a>'
        back = "".join(
            f' <a class="back" href="#cited-{self.number}-{time}" aria-label="cited here, {time}">↩</a>'
            for time in range(1, self.cited + 1)
        )
        place = f'<span class="place">{escape(self.place)}</span>' if self.place else ""
        return f'<li id="source-{self.number}" value="{self.number}">{named}{back}{place}</li>'


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


class _Sources:
    """What is cited, numbered in the order of the first citation, as the report's own list is."""

    def __init__(self) -> None:
        # Marks stand in text that others wrote: nobody can write one that is taken for this page's.
        self.nonce = secrets.token_hex(8)
        self.mark = re.compile(f"{_OPEN}{self.nonce}:([0-9,]+){_CLOSE}")
        self._known: dict[tuple[Any, ...], _Source] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[_Source]:
        return iter(self._known.values())

    def __getitem__(self, number: int) -> _Source:
        return list(self._known.values())[number - 1]

    def cite(self, cited: Annotation) -> int:
        """The number of what a citation points at."""
        key = (cited.url or cited.document_uri or cited.file_name or cited.name, cited.page_number)
        source = self._known.get(key)
        if source is None:
            source = self._known[key] = _Source(len(self._known) + 1, cited)
        return source.number


def page(research: Research, question: str = "") -> str:
    """The page. `question` is what was asked, where the interaction's own input is no more than a word of approval."""
    parts, sources = research.parts, _Sources()
    chunks = _chunks(parts, sources)
    body = "\n".join(_rendered(chunk, sources) for chunk in chunks)
    asked = seen(question or research.question).strip()
    heading = title(parts)
    named = heading or asked.partition("\n")[0] or "Research"
    opening = "" if heading else f"<h1>{escape(named)}</h1>\n"
    about = " · ".join(filter(None, (seen(research.agent or ""), seen(research.updated or "")[:10], seen(research.id))))
    listed = "\n".join(source.entry() for source in sources)
    ending = f'\n<section id="sources"><h2>Sources</h2>\n<ol>\n{listed}\n</ol></section>' if listed else ""
    return (
        '<!doctype html>\n<html>\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(named)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<p class="about">{escape(asked)}</p>\n{opening}<article>\n{body}</article>{ending}\n'
        f'<p class="about">{escape(about)}</p>\n</main>\n</body>\n</html>\n'
    )


# ---------------------------------------------------------------------------------------------------- text


def _chunks(parts: Sequence[Part], sources: _Sources) -> list[str | tuple[str, str]]:
    """The report as Markdown with marks, cut where pictures stand: those as their addresses and what they show."""
    chunks: list[str | tuple[str, str]] = [""]
    for part in parts:
        last = chunks[-1]
        if part.type == "text":
            text = _marked(part, sources)
            if isinstance(last, str):
                chunks[-1] = last + text
            else:
                chunks.append(text)
        elif address := picture(part):
            chunks.append((address, caption(sources.mark.sub("", last)) if isinstance(last, str) else "Chart"))
    if isinstance(chunks[-1], str):
        chunks[-1] = _without_list(chunks[-1], len(sources))
    return chunks


def _marked(part: Part, sources: _Sources) -> str:
    """A piece of text with marks at the ends of what is cited."""
    data = (part.text or "").encode("utf-8", "surrogatepass")
    ends: dict[int, dict[int, None]] = {}
    for cited in part.annotations or ():
        if cited.type in ("url_citation", "file_citation", "place_citation"):
            number = sources.cite(cited)
            if cited.end_index is not None:
                ends.setdefault(_end(data, cited.end_index), {})[number] = None
    pieces: list[str] = []
    at = 0
    for end in sorted(ends):
        pieces.append(_text(data[at:end]))
        at = end
        pieces.append(f"{_OPEN}{sources.nonce}:{','.join(map(str, sorted(ends[end])))}{_CLOSE}")
    pieces.append(_text(data[at:]))
    return "".join(_placed(pieces))


def _end(data: bytes, index: int) -> int:
    """An offset that stands between two characters, and behind no blank."""
    end = min(max(index, 0), len(data))
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return len(data[:end].rstrip())


def _text(data: bytes) -> str:
    return seen(data.decode("utf-8", "replace"))


def _placed(pieces: Sequence[str]) -> Iterator[str]:
    """Text and marks by turns; a mark takes the place of the numbers behind it, outside of the words' emphasis."""
    yield pieces[0]
    for mark, text in zip(pieces[1::2], pieces[2::2], strict=True):
        found = _NUMBERS.match(text)
        yield f"{found[1]}{mark}{text[found.end() :]}" if found else mark + text


def _without_list(text: str, known: int) -> str:
    """The text without the list of sources at its end, where the page's own says as much."""
    found = _LISTED.search(text)
    if found is None or len(re.findall(r"^\s*\d+\. ", found[1], re.MULTILINE)) > known:
        return text
    return f"{text[: found.start()]}\n"


# ---------------------------------------------------------------------------------------------------- HTML


def _rendered(chunk: str | tuple[str, str], sources: _Sources) -> str:
    if isinstance(chunk, tuple):
        address, shown = chunk
        return f'<figure><img src="{address}" alt="{escape(shown)}"></figure>\n'
    markdown = _Markdown()
    environment: dict[str, Any] = {}
    tokens = markdown.parse(chunk, environment)
    for token in tokens:
        if token.children:
            token.children = [new for child in token.children for new in _footnoted(child, sources)]
    html: str = markdown.renderer.render(tokens, markdown.options, environment)
    return sources.mark.sub("", html)


def _footnoted(token: Token, sources: _Sources) -> Iterator[Token]:
    """A token; a text by its parts, with footnotes where marks stand."""
    if token.type == "link_open":
        token.attrSet("rel", "noopener noreferrer")
    if token.type != "text":
        yield token
        return
    for place, piece in enumerate(sources.mark.split(token.content)):
        if place % 2:
            notes = ", ".join(sources[int(number)].footnote() for number in piece.split(","))
            yield Token("html_inline", "", 0, content=f"<sup>{notes}</sup>")
        elif piece:
            yield token.copy(content=piece)
