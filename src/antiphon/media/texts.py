"""Text files of all sorts: their characters, and those with a form of their own as text that reads well."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re

from antiphon.ports import Document, Leaf

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Names that Python takes for text encodings and no document means: some cost time that grows with the square of length.
_NOT_MEANT = {"punycode", "idna", "unicode_escape", "raw_unicode_escape", "utf-7", "undefined"}
_DECLARED = re.compile(
    rb"""(?:<meta[^>]{0,200}?charset=|<\?xml[^>]{0,200}?encoding=)["'\s]*([\w.:-]{1,40})""", re.IGNORECASE
)
_LONG_LINE = 400
_HEADING = re.compile(r"^(?:# +(.+?)[ #]*|(.+)\n=+)$", re.MULTILINE)


def decoded(body: bytes, declared: str | None = None) -> str:
    """The characters: by the byte order mark, what is declared outside, what is declared inside, UTF-8, Windows' Latin."""
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    inside = _DECLARED.search(body, 0, 4096)
    candidates = [declared, inside[1].decode("ascii", "replace") if inside else None, "utf-8"]
    for encoding in filter(None, candidates):
        try:
            if codecs.lookup(encoding).name not in _NOT_MEANT:
                return body.decode(encoding)
        except (LookupError, UnicodeDecodeError, ValueError):
            continue
    # The five bytes that Windows' page leaves open become a mark for "unknown".
    return body.decode("cp1252", "replace")


def read_text(text: str) -> Document:
    """Plain text, code, Markdown, XML: as it is. The first heading of Markdown is the title."""
    heading = _HEADING.search(text[:20_000])
    title = (heading[1] or heading[2]).strip() if heading and not text.lstrip().startswith(("#!", "<")) else None
    return Document(title=title, leaves=(Leaf(text),))


def read_json(text: str) -> Document:
    """JSON, broken into lines where it has none."""
    lines = text.count("\n") + 1
    if len(text) < _LONG_LINE * lines:
        return Document(leaves=(Leaf(text),))
    try:
        spread = json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    except (ValueError, RecursionError):
        return Document(leaves=(Leaf(text),))
    return Document(leaves=(Leaf(spread if len(spread) < 4 * len(text) else text),))


def read_table(text: str, delimiter: str | None = None) -> Document:
    """CSV and TSV as rows of `a | b`; the separator is looked for where it is not known."""
    delimiter = delimiter or separator(text)
    rows: list[str] = []
    csv.field_size_limit(1 << 27)
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            rows.append(" | ".join(" ".join(cell.split()) for cell in row))
    except csv.Error:
        return Document(leaves=(Leaf(text),))
    return Document(leaves=(Leaf("\n".join(rows)),))


def separator(text: str) -> str:
    """What stands between the cells, by the first line."""
    first = text[:4096].partition("\n")[0]
    return max(",;\t|", key=first.count)
