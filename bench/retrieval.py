"""How well and how fast the hybrid index finds the right piece of real documentation.

    python -m bench.retrieval --cache DIR --write    a machine-hour; writes docs/performance.md
    python -m bench.retrieval --cache DIR --embedders none,wordllama --pieces 5000

The corpus is Debian's documentation as packages of the archive bring it (`apt-get download` into the cache, nothing is
installed). The questions come from the documentation itself, and what a question is made of is taken out of the texts:

- `heading`: a section's heading; it is in no text and in no title. Right is a piece that lies in that section.
- `purpose`: the line that says what a command is for ("Use binary search to find the commit that introduced a bug");
  the line is not in the text. Right is a piece of that page.
- `index`: an entry of PostgreSQL's subject index, which is not in the corpus. Right is a piece of a page it points to.

Pages that mention the same words elsewhere stay in: they are what makes it hard. Questions are drawn with a fixed seed.
"""

from __future__ import annotations

import argparse
import asyncio
import html.parser
import random
import re
import resource
import statistics
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from antiphon.index.chunks import Chunking, split
from antiphon.index.collection import Hit, Index, Mode
from antiphon.index.embedders import embedder
from antiphon.ports import Leaf
from bench.report import publish, table
from bench.servers import Neighbours

PACKAGES = {  # package: where its pages are
    "postgresql-doc-15": "usr/share/doc/postgresql-doc-15/html",
    "python3.11-doc": "usr/share/doc/python3.11/html",
    "git-doc": "usr/share/doc/git-doc",
    "debian-policy": "usr/share/doc/debian-policy",
    "developers-reference": "usr/share/developers-reference",
    "debian-reference-en": "usr/share/debian-reference",
    "debian-handbook": "usr/share/doc/debian-handbook/html/en-US",
    "linux-doc-6.1": "usr/share/doc/linux-doc-6.1/html/admin-guide",
    "sqlite3-doc": "usr/share/doc/sqlite3",
}
SEED = 3
OF_EACH_KIND = 160
TOP = 10
WORDS: dict[Mode, str] = {"lexical": "words", "dense": "meaning", "hybrid": "both"}
TITLES = ["p50 ms", "p95 ms", "indexing s", "processor s", "MiB on disk"]
ABOUT = """\
{pages} pages of Debian's documentation packages in {pieces} pieces of at most {tokens} tokens, {questions} questions that
the documentation itself gives: section headings, the lines that say what a command is for, the entries of PostgreSQL's
subject index, each taken out of the texts. Times are of a whole search, with the embedding of the question.

{table}

- Questions of this kind repeat words of their answers, which favours the search by words.
- The process had at most {memory} MB. Other work took {near:.0%} of the processor, and this ran behind it: the times are
  those of a busy machine.
"""

_LEFT_OUT = re.compile(
    r"sphinxsidebar|related|navheader|navfooter|mobile-nav|menu|footer|breadcrumb|\btoc|contents\b|refnamediv|titlepage"
    r"|rst-footer|wy-nav|wy-side|headerlink|searchbox|list-of"
)
_NOT_PAGES = re.compile(r"(genindex|bookindex|search|index|contents|py-modindex|release-|changelog|news)[^/]*$")
_BLOCKS = {"p", "div", "li", "dt", "dd", "tr", "pre", "table", "ul", "ol", "dl", "section", "br", "blockquote"}
_EMPTY = {"br", "hr", "img", "input", "link", "meta", "col", "area", "base", "wbr", "source"}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_UNSEEN = {"script", "style", "nav", "header", "footer", "form", "svg", "head"}


@dataclass
class Section:
    """What follows a heading up to the next; `start` and `end` are characters of the page's text."""

    heading: str
    level: int
    start: int
    end: int = 0


@dataclass
class Page:
    """A page without its headings."""

    key: str
    title: str
    text: str
    sections: list[Section]


@dataclass
class Question:
    """What is asked, and where the right pieces are: pages, or the characters of one."""

    kind: str
    text: str
    pages: frozenset[str]
    section: Section | None = None


@dataclass
class Reading(html.parser.HTMLParser):
    """Text and sections of one page, without navigation, tables of contents and headings."""

    parts: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    title: str = ""
    _length: int = 0
    _open: list[tuple[str, bool]] = field(default_factory=list)
    _heading: list[str] | None = None
    _in_title: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def _add(self, text: str) -> None:
        self.parts.append(text)
        self._length += len(text)

    @property
    def _unseen(self) -> bool:
        return bool(self._open) and self._open[-1][1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._in_title = True
        marks = " ".join(value or "" for name, value in attrs if name in ("class", "id", "role"))
        unseen = (
            self._unseen or tag in _UNSEEN or bool(tag != "body" and _LEFT_OUT.search(marks) and "sect" not in marks)
        )
        if tag not in _EMPTY:
            self._open.append((tag, unseen))
        if unseen:
            return
        if tag in _HEADINGS:
            self._heading = []
        elif tag in _BLOCKS:
            self._add("\n\n" if tag in ("p", "pre", "section") else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if tag in _HEADINGS and self._heading is not None:
            heading = " ".join("".join(self._heading).replace("¶", "").split())
            if self.sections:
                self.sections[-1].end = self._length
            self.sections.append(Section(re.sub(r"^([A-Z]?\d*\.)+\d*\.?\s*", "", heading), int(tag[1]), self._length))
            self._heading = None
            self._add("\n\n")
        for place in range(len(self._open) - 1, -1, -1):
            if self._open[place][0] == tag:
                del self._open[place:]
                break

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif self._unseen:
            return
        elif self._heading is not None:
            self._heading.append(data)
        else:
            self._add(data)

    def page(self, key: str) -> Page:
        if self.sections:
            self.sections[-1].end = self._length
        title = re.split(r" — | &#8212; ", " ".join(self.title.split()))[0]
        return Page(key, title, "".join(self.parts), self.sections)


# ---------------------------------------------------------------------------------------------------- the corpus


def fetch(cache: Path, packages: Iterable[str]) -> None:
    """The packages' files below the cache, each downloaded once."""
    cache.mkdir(parents=True, exist_ok=True)
    for package in packages:
        if not (cache / package).is_dir():
            subprocess.run(["apt-get", "download", package], cwd=cache, check=True, capture_output=True)
            (deb,) = cache.glob(f"{package}_*.deb")
            subprocess.run(["dpkg", "-x", deb, cache / package], check=True)
            deb.unlink()


def pages(cache: Path, packages: Iterable[str]) -> Iterator[Page]:
    for package in packages:
        root = cache / package / PACKAGES[package]
        for path in sorted(root.rglob("*.html")):
            if path.is_file() and not _NOT_PAGES.search(path.name.removesuffix(".html")):
                reading = Reading()
                source = path.read_text(encoding="utf-8", errors="replace")
                reading.feed(_without_purpose(source))
                page = reading.page(f"{package}/{path.relative_to(root).as_posix()}")
                if len(page.text.split()) >= 30:
                    yield page


_PURPOSE_OF_GIT = re.compile(r"<h2[^>]*>NAME</h2>\s*<div class=\"sectionbody\">\s*<p>[^<]*? -\s+([^<]+?)\s*</p>")
_PURPOSE_OF_SQL = re.compile(r'<div class="refnamediv">.*?<p>.*?— ([^<]+)</p>', re.DOTALL)
_NOT_A_TERM = re.compile(r"[()_]|^[^a-z]|^(in|with|for|of|on|to|as|and|from|referencing|using|by|vs|within|during) ")


def _without_purpose(source: str) -> str:
    return _PURPOSE_OF_GIT.sub("", source)


# ---------------------------------------------------------------------------------------------------- the questions


def questions(cache: Path, corpus: list[Page], of_each: int = OF_EACH_KIND) -> list[Question]:
    drawn = random.Random(SEED)
    found = []
    for kind in (headings(corpus), purposes(cache, corpus), index_entries(cache, corpus)):
        kind = sorted(kind, key=lambda question: (question.text, sorted(question.pages)))
        found += drawn.sample(kind, min(of_each, len(kind)))
    return found


def headings(corpus: list[Page]) -> list[Question]:
    """Headings of at least three words that stand over one section only and do not repeat their page's title."""
    seen = Counter(section.heading.lower() for page in corpus for section in page.sections)
    return [
        Question("heading", section.heading, frozenset({page.key}), section)
        for page in corpus
        for section in page.sections
        if seen[section.heading.lower()] == 1
        if section.level > 1 and len(re.findall(r"[A-Za-z]{3,}", section.heading)) >= 3
        if section.heading.lower() not in page.title.lower() and page.title.lower() not in section.heading.lower()
        if len(page.text[section.start : section.end].split()) >= 40
    ]


def purposes(cache: Path, corpus: list[Page]) -> list[Question]:
    found = []
    for page in corpus:
        package, _, path = page.key.partition("/")
        if package in ("git-doc", "postgresql-doc-15"):
            source = (cache / package / PACKAGES[package] / path).read_text(encoding="utf-8", errors="replace")
            said = (_PURPOSE_OF_GIT if package == "git-doc" else _PURPOSE_OF_SQL).search(source)
            if said and len(said[1].split()) >= 4:
                found.append(Question("purpose", " ".join(said[1].split()), frozenset({page.key})))
    return found


def index_entries(cache: Path, corpus: list[Page]) -> list[Question]:
    """Entries of two words and more, without functions and commands, which are their pages' names."""
    package = "postgresql-doc-15"
    source = (cache / package / PACKAGES[package] / "bookindex.html").read_text(encoding="utf-8")
    known = {page.key: page.title.lower() for page in corpus}
    targets: dict[str, set[str]] = defaultdict(set)
    for entry in re.finditer(r"<dt[^>]*>([^<,]+), (<a.*?)</dt>", source):
        term = html.unescape(entry[1])
        if len(term.split()) >= 2 and not _NOT_A_TERM.search(term):
            targets[term] |= {f"{package}/{link}" for link in re.findall(r'href="([^"#]+)', entry[2])} & known.keys()
    return [Question("index", term, frozenset(keys)) for term, keys in targets.items() if keys]


# ---------------------------------------------------------------------------------------------------- measuring


def right(hit: Hit, question: Question, corpus: dict[str, Page]) -> bool:
    """Whether a piece answers: it is of a right page and, where a section is right, a good part of it is in that."""
    if hit.key not in question.pages:
        return False
    if question.section is None:
        return True
    start = corpus[hit.key].text.find(hit.text)
    section = question.section
    shared = min(start + len(hit.text), section.end) - max(start, section.start)
    return shared >= min(len(hit.text) / 4, (section.end - section.start) / 2)


def some(corpus: dict[str, Page], asked: list[Question], chunking: Chunking, most: int) -> dict[str, Page]:
    """The pages with the answers and, drawn, as many of the others as make `most` pieces."""
    needed = {key for question in asked for key in question.pages}
    others = sorted(corpus.keys() - needed)
    random.Random(SEED).shuffle(others)
    kept: dict[str, Page] = {}
    room = most
    for key in [*sorted(needed), *others]:
        if room > 0:
            kept[key] = corpus[key]
            room -= len(list(split([Leaf(corpus[key].text)], chunking)))
    return kept


async def ask(index: Index, mode: Mode, asked: list[Question], corpus: dict[str, Page]) -> dict[str, list[float]]:
    """For each kind, and for `time`: the place of the first right hit (0 for none), and milliseconds."""
    found: dict[str, list[float]] = defaultdict(list)
    await index.search("warm up", mode=mode)
    for question in asked:
        start = time.perf_counter()
        hits = await index.search(question.text, TOP, mode=mode)
        found["time"].append((time.perf_counter() - start) * 1000)
        place = next((place for place, hit in enumerate(hits, 1) if right(hit, question, corpus)), 0)
        found[question.kind].append(place)
    return found


def line(found: dict[str, list[float]]) -> list[str]:
    """What an embedder and a mode found, as cells."""
    kinds = [kind for kind in found if kind != "time"]
    places = [place for kind in kinds for place in found[kind]]
    cells = [f"{_recall(places):.3f}", f"{statistics.fmean(1 / place if place else 0 for place in places):.3f}"]
    cells += [f"{_recall(found[kind]):.3f}" for kind in kinds]
    times = sorted(found["time"])
    return [*cells, f"{times[len(times) // 2]:.0f}", f"{times[int(len(times) * 0.95)]:.0f}"]


def _recall(places: list[float]) -> float:
    return statistics.fmean(0 < place <= 5 for place in places)


async def indexed(index: Index, corpus: Iterable[Page], chunking: Chunking) -> list[str]:
    """Seconds that it took to put all in, by the clock and of processor."""
    start, used = time.perf_counter(), time.process_time()
    for page in corpus:
        await index.add(page.key, title=page.title, leaves=[Leaf(page.text)], chunking=chunking)
    return [f"{time.perf_counter() - start:.0f}", f"{time.process_time() - used:.0f}"]


async def measure(
    cache: Path, names: list[str], packages: list[str], chunking: Chunking, most: int, of_each: int
) -> str:
    """What is found and how fast, as Markdown. An index that is in the cache already has no time of its own."""
    near = Neighbours()
    corpus = {page.key: page for page in pages(cache, packages)}
    asked = questions(cache, list(corpus.values()), of_each)
    corpus = some(corpus, asked, chunking, most)
    pieces = sum(len(list(split([Leaf(page.text)], chunking))) for page in corpus.values())
    counts = Counter(question.kind for question in asked)
    print(f"{len(corpus)} pages, {pieces:,} pieces; questions: {dict(counts)}", flush=True)
    rows = []
    for name in names:
        made = embedder(name)
        path = cache / f"{name.rpartition('#')[2]}-{len(corpus)}-{chunking.max_tokens}-{chunking.overlap}.db"
        index = Index(path, made)
        spent = ["", ""] if path.exists() else await indexed(index, corpus.values(), chunking)
        print(f"{name}: indexed, {' and '.join(spent)} s", flush=True)
        modes: tuple[Mode, ...] = ("lexical", "dense", "hybrid") if made is not None else ("lexical",)
        for mode in modes:
            cells = line(await ask(index, mode, asked, corpus))
            rows.append([f"`{name}`", WORDS[mode], *cells, *spent, f"{path.stat().st_size / 2**20:.0f}"])
        await index.aclose()
    titles = ["embedder", "found by", "recall@5", "MRR@10", *(f"{kind}: recall@5" for kind in counts), *TITLES]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return ABOUT.format(
        pages=f"{len(corpus):,}",
        pieces=f"{pieces:,}",
        tokens=chunking.max_tokens,
        questions=len(asked),
        table=table(titles, rows),
        memory=f"{memory:.0f}",
        near=near.share(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--embedders", default="none,wordllama,minilm")
    parser.add_argument("--write", action="store_true", help="write the figures to docs/performance.md")
    parser.add_argument("--packages", default=",".join(PACKAGES))
    parser.add_argument("--chunk", type=int, default=Chunking().max_tokens)
    parser.add_argument("--overlap", type=int, default=Chunking().overlap)
    parser.add_argument("--pieces", type=int, default=20_000, help="about how many to index, right pages first")
    parser.add_argument("--questions", type=int, default=OF_EACH_KIND, help="of each kind, at most")
    given = parser.parse_args()
    packages = given.packages.split(",")
    fetch(given.cache, packages)
    chunking = Chunking(given.chunk, given.overlap)
    found = measure(given.cache, given.embedders.split(","), packages, chunking, given.pieces, given.questions)
    body = asyncio.run(found)
    print(body)
    if given.write:
        command = f"python -m bench.retrieval --embedders {given.embedders} --pieces {given.pieces}"
        publish("retrieval", "Finding passages of documentation", command, body)


if __name__ == "__main__":
    main()
