"""How often Deep Research answers questions that need several pages, beside three plain ways with the same model.

    make eval-research                                    12 questions; writes its part of docs/research.md
    python -m bench.research --questions 52               all of them
    python -m bench.research --ways bare,search,react     without the agents
    python -m bench.research --model FILE.gguf            another model (as `antiphon serve --model` has it)
    python -m bench.research --report                     the table of what has been answered so far
    python -m bench.research --ways agent:without-missing with a part of the loop left out (bench/research/server.py)

Nothing reaches out of this machine but the download of the corpus, once. Questions are asked one after the other, each
in every way before the next; every answer is a line of a file in the cache, and what is there is not asked again
(`--again` asks anew). So a run that was stopped goes on where it was.

Reckoned from what the starter model reads and writes on two idle cores, a question takes the plain ways two minutes
together; Deep Research has up to 20 minutes, and the exhaustive one up to 55: it is asked one question in four, unless it
is the only way. So the short form takes seven hours at most, and half an hour without the agents.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sqlite3
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from statistics import fmean, median

from antiphon.search.local import FILE
from bench.embedded import ALL_CORES
from bench.report import Row, machine, rows_table, table
from bench.research.corpus import CACHE, PORT, Corpus, prepare, served
from bench.research.questions import Question, drawn, load
from bench.research.score import Answer, Page, Pages, Score, score
from bench.research.ways import AGENTS, WAYS, Asker, NotServed
from bench.servers import ROOT, Neighbours, Server, free_port

DOCUMENT = ROOT / "docs" / "research.md"
FEWEST = 10  # questions, below which nothing is said of an aim
LONGEST, ONE_IN = "deep-research-max", 4
STARTER = "the starter model (Qwen2.5-Coder 1.5B, Q4)"
FIGURES = re.compile(r"<!-- figures -->.*?<!-- /?figures -->", re.DOTALL)
TITLES = [
    "way", "questions", "right", "somewhere in the text", "gold pages read", "gold pages cited", "citations that hold",
    "claims without one", "invented URLs", "quotes not found", "searches", "tokens", "seconds",
]  # fmt: skip

NOTES = """\
- Each question needs two pages or more; `bench/research/questions.toml` has them all, with the gold answers, the gold
  pages and what stands there. A question is asked in every way before the next one.
- *Right*: the line that begins with "Answer:" (all are asked for one; else the first and the last paragraph) has the gold
  answer, whole, in one of its listed forms. *Somewhere in the text* is the same of all that was said.
- *Bare*: the model alone. *Search*: one search with the question's words, what it found put into one prompt. *React*: the
  model with google_search and url_context, one of which it must call first; then it goes on by itself. All three at
  temperature 0 with at most 512 tokens a turn.
- *Gold pages read*: retrieved, by a search or by reading. *Citations that hold*: the comparison of words that Antiphon
  cites with (`antiphon.citations`) finds the cited sentence in a passage of the cited page. The plain ways are also cited
  by it, so that there this figure says little; it sees neither synonyms nor what follows from two sentences.
- *Invented URLs* are cited and were not retrieved in that run; a quote not found stands word for word in no page that its
  sentence is cited with. Tokens are the mean of all that the model read and wrote, seconds the median."""


def read_pages(data: Path) -> Pages:
    """The texts of the corpus as the index has them: title and passages of an address."""
    connection = sqlite3.connect(f"file:{data / FILE}?mode=ro", uri=True)

    @lru_cache(maxsize=64)
    def page(url: str) -> Page | None:
        query = "SELECT title, text FROM document JOIN chunk ON document = document.id WHERE url = ? ORDER BY chunk.id"
        rows = connection.execute(query, (url,)).fetchall()
        return (rows[0][0], [text for _, text in rows]) if rows else None

    return page


# ---------------------------------------------------------------------------------------------------- answers kept


class Kept:
    """The answers of all runs, as lines of JSON. A later line of the same question, way and model counts."""

    def __init__(self, cache: Path) -> None:
        self._path = cache / "answers.jsonl"
        self.answers: dict[tuple[str, str, str], Answer] = {}
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            self._take(Answer.of_json(json.loads(line)))

    def add(self, answer: Answer) -> None:
        self._take(answer)
        with self._path.open("a") as file:
            file.write(json.dumps(answer.as_json(), ensure_ascii=False) + "\n")

    def _take(self, answer: Answer) -> None:
        self.answers[answer.model, answer.way, answer.question] = answer


# ---------------------------------------------------------------------------------------------------- the table


def share(part: int, whole: int) -> str:
    return f"{part}/{whole}" + (f" ({part / whole:.0%})" if whole else "")


def row(way: str, answers: list[Answer], scores: list[Score]) -> list[str]:
    total = {name: sum(int(getattr(one, name)) for one in scores) for name in Score.__dataclass_fields__}
    return [
        way,
        str(len(answers)),
        share(total["right"], len(answers)),
        share(total["somewhere"], len(answers)),
        share(total["gold_read"], total["gold"]),
        share(total["gold_cited"], total["gold"]),
        share(total["supported"], total["judged"]),
        share(total["uncited"], total["claims"]),
        share(total["invented"], total["cited"]),
        share(total["misquoted"], total["quoted"]),
        f"{fmean(one.searches for one in answers):.1f}",
        f"{fmean(one.tokens for one in answers):,.0f}",
        f"{median(one.seconds for one in answers):.0f}",
    ]


def report(kept: Kept, questions: list[Question], pages: Pages) -> str:
    """A table for each model: what each way made of the questions that it has been asked."""
    parts = []
    for model in dict.fromkeys(model for model, _, _ in kept.answers):
        lines = []
        for way in sorted({way for _, way, _ in kept.answers}, key=lambda way: WAYS.index(way) if way in WAYS else 99):
            asked = [(q, kept.answers[model, way, q.id]) for q in questions if (model, way, q.id) in kept.answers]
            if asked:
                scores = [score(question, answer, pages) for question, answer in asked]
                lines.append(row(way, [answer for _, answer in asked], scores))
        parts.append(f"### {model}\n\n{table(TITLES, lines)}")
    return "\n\n".join(parts)


def aims(kept: Kept, questions: list[Question], pages: Pages) -> str:
    """Each agent beside one search, on the questions that both were asked, and what must never be."""
    rows = []
    for model in dict.fromkeys(model for model, _, _ in kept.answers):
        for way in AGENTS:
            both = [q for q in questions if {(model, way, q.id), (model, "search", q.id)} <= kept.answers.keys()]
            if not both:
                continue
            ours = [score(question, kept.answers[model, way, question.id], pages) for question in both]
            theirs = [score(question, kept.answers[model, "search", question.id], pages) for question in both]
            right, other = (100 * fmean(one.right for one in scores) for scores in (ours, theirs))
            beside = f"one search, the same {len(both)} questions"
            if len(both) >= FEWEST:
                aim = max(2 * other, 100 / len(both))  # twice nothing is something
                rows.append(Row(f"{way}: right", right, "%", beside, other, more_is_better=True, at_least=aim))
            rows += [
                Row(f"{way}: URLs that were not retrieved", sum(one.invented for one in ours), "", at_most=0),
                Row(f"{way}: quotes that stand nowhere", sum(one.misquoted for one in ours), "", at_most=0),
            ]
    return f"\n\n{rows_table(rows)}" if rows else ""


def publish(body: str) -> None:
    """Put the figures between their markers in docs/research.md, where that page has them."""
    page = DOCUMENT.read_text() if DOCUMENT.exists() else ""
    if not FIGURES.search(page):
        print(f"{DOCUMENT} has no figures to replace", file=sys.stderr)
        return
    DOCUMENT.write_text(FIGURES.sub(lambda _: f"<!-- figures -->\n{body}\n<!-- /figures -->", page))


def described(corpus: Corpus, busy: list[float]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in corpus.versions.items())
    seconds, size = corpus.indexed["seconds"], corpus.indexed["bytes"] / 1e6
    return (
        f"Taken with `make eval-research` on {machine()}. Other work took {fmean(busy or [0]):.0%} of the processor\n"
        f"meanwhile, on average.\n\n"
        f"The corpus: {corpus.size:,} pages, indexed in {seconds / 60:.0f} minutes into {size:.0f} MB ({versions}).\n\n"
        f"{NOTES}"
    )


# ---------------------------------------------------------------------------------------------------- a run


async def ask_all(
    asker: Asker, questions: list[Question], ways: Iterable[str], kept: Kept, model: str, pages: Pages
) -> None:
    left = list(ways)
    for number, question in enumerate(questions, 1):
        for way in list(left):
            spared = way == LONGEST and len(left) > 1 and number % ONE_IN != 1
            if spared or (model, way, question.id) in kept.answers:
                continue
            near = Neighbours()
            try:
                answer = await asker.ask(question, way)
            except NotServed as error:
                print(f"{way} is not served here: {error}", file=sys.stderr, flush=True)
                left.remove(way)
                continue
            answer.busy = round(near.share(), 2)
            kept.add(answer)
            found = score(question, answer, pages)
            told = "right" if found.right else "somewhere" if found.somewhere else "wrong"
            print(
                f"{number}/{len(questions)} {question.id}, {way}: {told}; {found.gold_read}/{found.gold} pages, "
                f"{answer.searches} searches, {answer.tokens} tokens, {answer.seconds:.0f} s"
                + (f"; {answer.status} {answer.error}" if answer.status != "completed" else ""),
                file=sys.stderr,
                flush=True,
            )


def run(given: argparse.Namespace, corpus: Corpus, questions: list[Question], kept: Kept) -> None:
    port = free_port()
    command = [sys.executable, "-m", "bench.research.server", "serve", "--port", str(port), "--data", str(corpus.data)]
    command += ["--tool", "google_search=local", "--reachable", f"127.0.0.1:{PORT}"]
    command += ["--model", given.model] if given.model else []
    model = Path(given.model).name if given.model else STARTER
    server = Server("research", command, port, "/healthz", core=ALL_CORES, patience=900)
    if given.again:
        kept.answers.clear()
    for old in corpus.data.glob("antiphon.db*"):  # a run that was stopped would go on beside the first question
        old.unlink()
    with served(corpus.pages), server:
        asker = Asker(f"http://127.0.0.1:{port}", corpus.data, model, room=given.room, limit=given.limit)

        async def all_of_it() -> None:
            try:
                await ask_all(asker, questions, given.ways.split(","), kept, model, read_pages(corpus.data))
            finally:
                await asker.aclose()

        asyncio.run(all_of_it())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=12, metavar="N", help="how many, spread over the file")
    parser.add_argument("--ways", default=",".join(WAYS), help="which, with commas between; also agent:NAME")
    parser.add_argument("--model", default="", help="as `antiphon serve --model` has it; else the starter model")
    parser.add_argument("--room", type=int, default=4000, help="characters of search results in the one prompt")
    parser.add_argument("--limit", type=float, default=3700, help="seconds after which a background run is cancelled")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--write", action="store_true", help="write docs/research.md also after a partial run")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped too
    corpus, questions, kept = prepare(given.cache), load(), Kept(given.cache)
    if not given.report:
        run(given, corpus, drawn(questions, given.questions), kept)
    pages = read_pages(corpus.data)
    busy = [one.busy for one in kept.answers.values() if one.busy]
    body = f"{described(corpus, busy)}\n\n{report(kept, questions, pages)}{aims(kept, questions, pages)}"
    print(body)
    if given.write or (not given.report and set(given.ways.split(",")) == set(WAYS)):
        publish(body)


if __name__ == "__main__":
    main()
