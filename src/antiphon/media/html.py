"""HTML as text: what a reader of the page would read, without menus, scripts and what is hidden.

trafilatura finds the main text. Where it finds little, as on lists and front pages, the whole page is read instead, with
a pass of our own that keeps nothing in memory but the text, and so bears pages that no tree can be built of.
"""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

from antiphon.ports import Document, Leaf, Unreadable

_SILENT = {"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "select", "datalist"}
_VOID = {
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
}  # fmt: skip
_BLOCKS = {
    "address", "article", "aside", "blockquote", "br", "caption", "dd", "details", "div", "dl", "dt", "fieldset",
    "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav",
    "ol", "option", "p", "pre", "section", "summary", "table", "tbody", "thead", "title", "tr", "ul",
}  # fmt: skip
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0*\.?0*\s*(;|$|!)|font-size\s*:\s*0*\.?0*(px|em|rem|pt|%)?\s*(;|$|!)",
    re.IGNORECASE,
)
_UNCLOSED = {"p", "li", "tr", "td", "th", "dt", "dd", "option"}  # these end where the next begins
_DEEPEST = 250  # libxml2 builds no deeper tree, and what walks it is recursive
_LARGEST_TREE = 8_000_000  # characters; a tree takes some fifty times as much
_FEW = 300
# Where Markdown has code; what was given backslashes elsewhere so that it would not be taken for Markdown, and what at
# the beginning of a line.
_ESCAPED = re.compile(
    r"(?P<code>```.*?```|`[^`\n]*`)|(?P<slashes>\\+)(?P<sign>[*_`~\[\]<])|^(?P<before> *\d*)\\(?P<mark>[#>+.)-])",
    re.DOTALL | re.MULTILINE,
)


def prepare() -> None:
    """Load what is needed, before there is a document. Raises Unreadable."""
    try:
        import trafilatura  # noqa: F401 - so that a process per document need not
    except ImportError:
        raise Unreadable("The server has no trafilatura for it: pip install 'antiphon[documents]'.") from None


def read_html(text: str) -> Document:
    """The text of a page and its title."""
    plain = _Plain()
    plain.feed(text)
    plain.close()
    whole = plain.text()
    main = ""
    if plain.deepest <= _DEEPEST and len(text) <= _LARGEST_TREE:
        main = _main_text(text)
    # A page whose main text is a tenth of it is a list, a forum or an application.
    chosen = main if len(main) >= min(_FEW, len(whole)) and len(main) * 10 >= len(whole) else whole
    return Document(title=plain.title(), leaves=(Leaf(chosen),))


def _main_text(text: str) -> str:
    import lxml.etree
    import trafilatura

    try:
        tree = _shown(text)
        markdown = trafilatura.extract(tree, favor_recall=True, include_tables=True, include_formatting=True) or ""
    except (lxml.etree.LxmlError, RecursionError, ValueError, TypeError, AttributeError, IndexError, KeyError):
        return ""  # faults of theirs on odd pages; the whole page is read instead
    # The page's own characters are wanted: they are quoted and compared.
    return _ESCAPED.sub(_unescaped, markdown)


def _shown(text: str) -> Any:
    """The tree of a page, without what it does not show."""
    import lxml.etree
    import lxml.html

    # As bytes: a declaration of an encoding in a string is an error to lxml.
    parser = lxml.html.HTMLParser(encoding="utf-8", remove_comments=True, no_network=True)
    tree = lxml.html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    for element in list(tree.iter(lxml.etree.Element)):
        hidden = element.tag in _SILENT or element.tag == "title" or _is_hidden(dict(element.attrib))
        if hidden and element.getparent() is not None:
            element.drop_tree()
    return tree


def _unescaped(found: re.Match[str]) -> str:
    if found["code"]:
        return found["code"]
    if found["sign"]:
        # Backslashes that stood there before were doubled.
        return "\\" * (len(found["slashes"]) // 2) + found["sign"]
    return found["before"] + found["mark"]


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    style = attributes.get("style")
    return (
        "hidden" in attributes
        or (attributes.get("aria-hidden") or "").lower() == "true"
        or (style is not None and _HIDDEN.search(style) is not None)
    )


class _Plain(HTMLParser):
    """The text of a page in one pass, and how deeply its elements are nested."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.deepest = 0
        self._out: list[str] = []
        self._title: list[str] = []
        self._open: list[str] = []
        self._counts: Counter[str] = Counter()  # of the open ones: an end tag without a start is found at once
        self._silent_until: int | None = None  # the depth at which what is not shown ends

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS:
            self._show("\n")
        elif tag in ("td", "th"):
            self._show(" | ")
        if tag in _VOID:
            return
        if tag in _UNCLOSED and self._open and self._open[-1] == tag:
            self._close()
        self._open.append(tag)
        self._counts[tag] += 1
        self.deepest = max(self.deepest, len(self._open))
        if self._silent_until is None and (tag in _SILENT or _is_hidden(dict(attrs))):
            self._silent_until = len(self._open) - 1

    def handle_endtag(self, tag: str) -> None:
        while self._counts[tag]:
            if self._close() == tag:
                break
        if tag in _BLOCKS:
            self._show("\n")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "title":
            if "svg" not in self._open[-3:]:
                self._title.append(data)
        else:
            self._show(data)

    def title(self) -> str | None:
        return " ".join("".join(self._title).split()) or None

    def text(self) -> str:
        lines = (" ".join(line.split()).strip("| ") for line in "".join(self._out).split("\n"))
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()

    def _close(self) -> str:
        tag = self._open.pop()
        self._counts[tag] -= 1
        if self._silent_until is not None and len(self._open) <= self._silent_until:
            self._silent_until = None
        return tag

    def _show(self, data: str) -> None:
        if self._silent_until is None:
            self._out.append(data)
