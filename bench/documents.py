"""How well documents and pictures become text: rendered pages by OCR, Debian's manuals out of their PDFs.

    python -m bench.documents --write        some ten minutes; writes docs/performance.md
    python -m bench.documents --manuals DIR  with .pdf and .txt or .txt.gz of the same names already there

OCR: pages of our own sentences, rendered by Pillow in six typefaces and three sizes, saved as JPEG as a scanner would; the
share of characters that are right (edit distance), spaces included. Extraction: manuals of Debian's that are shipped both as
PDF and as text, which two programs made of one source. Each paragraph of the text is looked for in what came of the PDF; of
one that is there but for some characters the edit distance counts, and one that is not found counts as all wrong. White
space, quotation marks and hyphens differ between the two by design and do not count. Tables: each row of the text's tables
has to be a row of one table of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import io
import random
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from PIL import Image, ImageDraw, ImageFont

from antiphon import wire
from antiphon.media.digest import DigestPages
from antiphon.ports import Medium, Wanted
from bench.report import Row, publish, rows_table
from bench.servers import Neighbours

PACKAGES = ("debian-reference-en", "debmake-doc", "developers-reference", "maint-guide")
FONTS = Path("/usr/share/fonts/truetype")
FACES = (
    *("dejavu/DejaVuSans", "dejavu/DejaVuSerif", "dejavu/DejaVuSansMono"),
    *(f"liberation/Liberation{name}-Regular" for name in ("Sans", "Serif", "Mono")),
)
SIZES = (16, 22, 32)  # pixels: at 150 to the inch, 8, 11 and 15 points
LINES = 6
SENTENCES = """the of and to in that was with for on as by at from his her they which this have not are but had all were when
there been one who will more no if out so what up about into than them can only other time new some these two may first then
any like our over such man even most made after also did many before must through years where much your way well down should
Zürich café naïve façade señor Größe Øresund (2026) 3.14159 1,234.56 €99.90 50% No. 7 e.g. §12 Fig. 3: A/B x=y+1 "quoted"
'single' user@example.org https://example.org/a_b?c=1 ISBN 978-0-306-40615-7 Mr. O'Neill re-enter well-known"""
WORDS = SENTENCES.split()
_SAME = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "`": "'", "–": "-", "—": "-", "−": "-", "…": "...", "­": None}
)
# What only the text has: the marks of its notes and lists, and the titles of sections in references to them.
_MARKS = re.compile(
    r"\^\[\d+\]|^ *[+o•*] +|((?:Section|Chapter|Appendix)\s+[\w.]+),\s+[\"“][^\"”]{3,80}[\"”]", re.MULTILINE
)
_CONTENTS = re.compile(r"^ *\d+\.(?:\d+\.)* ", re.MULTILINE)
PIECE = 200  # characters that are looked for at once
_ROOM = 100_000_000


def distance(one: str, other: str) -> int:
    """The characters to put in, take out or change to make one of the other."""
    while one and other and one[0] == other[0]:  # most of both is the same
        same = next(
            (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        one, other = one[same:], other[same:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, other_letter in enumerate(other, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (letter != other_letter))
    return row[-1]


# ---------------------------------------------------------------------------------------------------- OCR


def pages() -> Iterator[tuple[str, int, str, bytes]]:
    """Typeface, size, text and the picture."""
    dice = random.Random(1741)
    for face in FACES:
        for size in SIZES:
            font = ImageFont.truetype(str(FONTS / f"{face}.ttf"), size)
            picture = Image.new("RGB", (1240, LINES * size * 3 // 2 + 40), "white")
            draw = ImageDraw.Draw(picture)
            lines = []
            for number in range(LINES):
                line = dice.choice(WORDS)
                while draw.textlength(f"{line} {(word := dice.choice(WORDS))}", font) < 1160:
                    line += f" {word}"
                draw.text((40, 20 + number * size * 3 // 2), line, fill="black", font=font)
                lines.append(line)
            target = io.BytesIO()
            picture.save(target, "JPEG", quality=75)
            yield face, size, "\n".join(lines), target.getvalue()


async def read_pages(digests: DigestPages) -> list[Row]:
    right: dict[int, list[tuple[int, int]]] = {size: [] for size in SIZES}
    times = []
    for face, size, text, body in pages():
        medium = Medium(kind="image", body=body, mime_type="image/jpeg", content=wire.ImageContent())
        began = time.perf_counter()
        (part,) = (await digests(medium, Wanted(room=_ROOM))).parts
        times.append(time.perf_counter() - began)
        found = part.text.partition("\n")[2]
        wrong = distance(text, found)
        right[size].append((wrong, len(text)))
        print(f"  {face} {size}: {1 - wrong / len(text):.4f} of {len(text)} characters, {times[-1]:.1f} s", flush=True)
    every = [one for found in right.values() for one in found]
    rows = [Row("OCR: characters that are right, all pages", _share(every), "%", more_is_better=True, at_least=98)]
    rows += [Row(f"OCR: of letters {size} pixels high", _share(right[size]), "%") for size in SIZES]
    return [*rows, Row(f"OCR: time for a page of {LINES} lines, median", median(times), "s")]


def _share(found: list[tuple[int, int]]) -> float:
    return 100 * (1 - sum(wrong for wrong, _ in found) / sum(size for _, size in found))


# ---------------------------------------------------------------------------------------------------- manuals


def manuals(folder: Path) -> Iterator[tuple[str, bytes, str]]:
    """Name, PDF and text of each manual that is there as both."""
    for path in sorted(folder.rglob("*.pdf")):
        text = next((found for end in (".txt.gz", ".txt") if (found := path.with_suffix(end)).exists()), None)
        if text is not None and not re.search(r"\.(de|ja|ru|zh-..)\.pdf$", path.name):
            body = text.read_bytes()
            yield path.stem, path.read_bytes(), (gzip.decompress(body) if text.suffix == ".gz" else body).decode()


def fetch(folder: Path) -> None:
    """Debian's packages, unpacked; nothing is installed."""
    for name in PACKAGES:
        subprocess.run(["apt-get", "download", "-q", name], cwd=folder, check=True, capture_output=True)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package.name, "."], cwd=folder, check=True)


def plain(text: str) -> str:
    return re.sub(r"[\s\-|*#•]+|(?<=\w)\[\d+\]", "", text.translate(_SAME)).lower()


def paragraphs(text: str) -> Iterator[str]:
    """Those of running text, in pieces: neither tables, trees of folders nor tables of contents."""
    text = _MARKS.sub(r"\1", text)
    for paragraph in re.split(r"\n\s*\n", text):
        is_drawn = any(sign in paragraph for sign in ("|", "├", "└", "+--", "---"))
        if len(paragraph) > 120 and not is_drawn and len(_CONTENTS.findall(paragraph)) < 4:
            whole = plain(paragraph)
            for at in range(0, len(whole), PIECE):
                yield whole[at : at + PIECE]


def wrong_in(paragraph: str, whole: str) -> int:
    """How many characters of a paragraph are not as it is in the whole."""
    if paragraph in whole:
        return 0
    size = len(paragraph)
    for at in range(0, size - 24, 24):  # a piece of it that is there says where it is
        place = whole.find(paragraph[at : at + 24])
        if place >= 0:
            begin = max(0, place - at)
            window = whole[begin : begin + size]
            return min(size, distance(paragraph, window))
    return size


def table_rows(text: str) -> Iterator[list[str]]:
    """The rows of the text's tables that have two cells at least: `|a |b |`, some over several lines."""
    cells: list[str] = []
    for line in text.splitlines():
        row = line.strip()
        if row.startswith("|") and row.endswith("|") and not row.startswith("|--"):
            found = [cell.strip() for cell in row.strip("|").split("|")]
            cells = [f"{a}{b}" for a, b in zip(cells, found, strict=True)] if len(cells) == len(found) else found
        else:
            if len(cells) > 1 and all(cells):
                yield cells
            cells = []


async def read_manuals(digests: DigestPages, folder: Path) -> list[Row]:
    wrong = size = rows = kept = count = 0
    times = []
    for name, body, text in manuals(folder):
        medium = Medium(kind="document", body=body, mime_type=None, content=wire.DocumentContent(), name=f"{name}.pdf")
        began = time.perf_counter()
        digest = await digests(medium, Wanted(modalities=frozenset({"text", "image"}), room=_ROOM))
        taken = time.perf_counter() - began
        found = "\n".join(part.text for part in digest.parts if isinstance(part, wire.TextContent))
        number = len(re.findall(r"^\[page \d+", found, re.MULTILINE))
        times.append(1000 * taken / number)
        whole = plain(re.sub(r"^\[page \d+[^\n]*\n[^\n]*\n", "", found, flags=re.MULTILINE))  # and the page's headline
        these = [(wrong_in(one, whole), len(one)) for one in paragraphs(text)]
        lines = [plain(line) for line in found.splitlines() if line.startswith("|")]
        there = [any(plain("".join(cells)) in line for line in lines) for cells in table_rows(text)]
        count, wrong, size = count + number, wrong + sum(w for w, _ in these), size + sum(s for _, s in these)
        rows, kept = rows + len(there), kept + sum(there)
        print(
            f"  {name}: {number} pages, {_share(these):.2f} %, rows {sum(there)}/{len(there)}, {times[-1]:.0f} ms a page"
        )
    if not size:
        return []
    return [
        Row(f"PDF: characters of {count} pages' paragraphs that are right", _share([(wrong, size)]), "%", at_least=98),
        *([Row(f"PDF: rows of tables kept as rows, of {rows}", 100 * kept / rows, "%")] if rows else []),
        Row("PDF: time a page, median of the manuals", median(times), "ms"),
    ]


async def measure(folder: Path) -> list[Row]:
    digests = DigestPages(workers=1, seconds=300)
    try:
        rows = [*await read_manuals(digests, folder), *await read_pages(digests)]
    finally:
        await digests.aclose()
    # Of all processes that ended: the worker and its children.
    return [
        *rows,
        Row(
            "memory of the process that reads, at most",
            resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3,
            "MB",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manuals", type=Path, help="a folder with the manuals; else Debian's packages are fetched")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.manuals or Path(temporary)
        if arguments.manuals is None:
            fetch(folder)
        neighbours = Neighbours()
        rows = asyncio.run(measure(folder))
    note = f"- One process reads. Other work took {neighbours.share():.0%} of the machine meanwhile."
    print(rows_table(rows), note, sep="\n\n")
    if arguments.write:
        publish("documents", "Documents and pictures as text", "make bench-documents", f"{rows_table(rows)}\n\n{note}")


if __name__ == "__main__":
    main()
