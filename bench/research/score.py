"""What an answer is worth. Pure: questions, answers and the texts of pages in, figures out.

`right`: the conclusion has every part of the gold answer in one of its forms, whole, and nothing that is wrong. The
conclusion is what follows the last "Answer:"; where there is none, the first and the last paragraph. `somewhere` is the
same of the whole text, which a long text finds easier: it is reported beside it and is not the accuracy.

Citations are judged by `antiphon.citations`, the comparison of words that Antiphon cites with: a cited page supports a
sentence if that comparison finds the sentence in a passage of the page, markers not counted. It cannot see that another
word means the same, so it errs towards "not supported"; sentences of fewer than three terms are not judged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urldefrag

from antiphon import wire
from antiphon.citations import cite
from antiphon.ports import Passage
from antiphon.words import MARKER, sentences, terms
from bench.research.questions import Question

Page = tuple[str, list[str]]  # title and passages
Pages = Callable[[str], Page | None]

FEWEST_TERMS = 3
_ANSWER = re.compile(r"^[\W_]*(?:final |short )?answer[\W_]*:[\W_]*(?=\w|$)", re.IGNORECASE | re.MULTILINE)
_SOURCES = re.compile(r"^[#*_\s]*(?:sources|references|citations)\b[^\n]{0,20}$", re.IGNORECASE | re.MULTILINE)
_QUOTED = re.compile(r"“([^“”]+)”|(?<![\w\"])\"([^\"\n]+)\"(?!\w)")
_UNIT = r"(?=(?:s|x|sec|th)\b)"
_SAME = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "‑": "-", "‐": "-", "*": None, "`": None}
)


@dataclass
class Cited:
    """A citation: bytes of the answer's text, and the address."""

    start: int
    end: int
    url: str


@dataclass
class Answer:
    """What one way of answering made of one question; `read` are the addresses of what it retrieved."""

    question: str
    way: str
    model: str
    text: str
    cited: list[Cited] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    searches: int = 0
    tokens: int = 0
    seconds: float = 0.0
    busy: float = 0.0  # the share of the machine that other work took meanwhile
    status: str = "completed"
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, said: dict[str, Any]) -> Answer:
        return cls(**{**said, "cited": [Cited(**one) for one in said["cited"]]})


@dataclass
class Score:
    """What one answer is worth; shares are kept as numbers of things, so that they can be added up."""

    right: bool = False
    somewhere: bool = False
    gold: int = 0
    gold_read: int = 0
    gold_cited: int = 0
    judged: int = 0
    supported: int = 0
    cited: int = 0
    invented: int = 0
    quoted: int = 0
    misquoted: int = 0
    claims: int = 0
    uncited: int = 0


def score(question: Question, answer: Answer, pages: Pages) -> Score:
    """All figures of one answer."""
    found = Score(right=is_right(question, conclusion(answer.text)))
    found.somewhere = found.right or has_all(question, answer.text)
    read = {_bare(url) for url in answer.read}
    cited = {_bare(one.url) for one in answer.cited}
    found.gold = len(question.pages)
    found.gold_read = sum(not page.urls.isdisjoint(read) for page in question.pages)
    found.gold_cited = sum(not page.urls.isdisjoint(cited) for page in question.pages)
    found.cited, found.invented = len(cited), len(cited - read)
    claims(answer, pages, found)
    return found


# ---------------------------------------------------------------------------------------------------- the answer


def conclusion(text: str) -> str:
    """Where the answer is to stand; a list of sources is none of it."""
    text = body(text)
    marks = list(_ANSWER.finditer(text))
    if marks:
        rest = text[marks[-1].end() :].lstrip()
        return rest.partition("\n\n")[0].strip()
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if part.strip() and not part.lstrip().startswith("#")]
    return "\n".join([paragraphs[0].strip(), paragraphs[-1].strip()]) if paragraphs else ""


def body(text: str) -> str:
    """A text without the list of sources at its end."""
    marks = list(_SOURCES.finditer(text))
    return text[: marks[-1].start()] if marks and marks[-1].start() > 0 else text


def is_right(question: Question, text: str) -> bool:
    return has_all(question, text) and not any(has(text, form) for form in question.wrong)


def has_all(question: Question, text: str) -> bool:
    return all(any(has(text, form) for form in group) for group in question.answer)


def has(text: str, form: str) -> bool:
    """Whether a form stands in a text as a whole: no part of a longer word, number or version."""
    wanted = plain(form)
    before = r"(?<!\w)(?<!\d[.,])" + (r"(?<!-)" if wanted[0].isdigit() else "")
    after = rf"(?:(?!\w|[.,]\d)|{_UNIT})" if wanted[-1].isdigit() else r"(?!\w)"
    return re.search(f"{before}{re.escape(wanted)}{after}", plain(text)) is not None


def plain(text: str) -> str:
    """One form for what is written differently: case, blanks, dashes, quotation marks, emphasis."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_SAME).casefold().split())


# ---------------------------------------------------------------------------------------------------- its claims


def claims(answer: Answer, pages: Pages, found: Score) -> None:
    """Count the sentences that say something, which of them are cited, what supports them, and what they quote."""
    at = _bytes(answer.text)
    text = body(answer.text)
    cut = _ANSWER.search(text)
    for span in sentences(text):
        said = text[span.start : span.end]
        bare = " ".join(MARKER.sub(" ", said).split())
        if (cut and span.end > cut.start()) or bare.endswith("?"):
            continue
        urls = _cited_at(answer.cited, at[span.start], at[span.end])
        if len(set(terms(bare))) >= FEWEST_TERMS:
            found.claims += 1
            found.uncited += not urls
            found.judged += len(urls)
            found.supported += sum(supports(pages(url), bare) for url in urls)
        for quoted in quotations(bare):
            found.quoted += 1
            sources = [page for url in urls or answer.read if (page := pages(_bare(url))) is not None]
            found.misquoted += not any(stands_in(quoted, page) for page in sources)


def supports(page: Page | None, sentence: str) -> bool:
    """Whether a passage of the page says what the sentence says, as far as words can tell."""
    if page is None:
        return False
    title, passages = page
    return bool(cite(sentence, [Passage(text, wire.UrlCitation(url="page", title=title)) for text in passages]))


def quotations(sentence: str) -> list[str]:
    """What stands between quotation marks and is long enough to be somebody's words: three words and more."""
    found = ("".join(filter(None, match.groups())) for match in _QUOTED.finditer(sentence))
    return [quoted for quoted in found if len(quoted.split()) >= 3]


def stands_in(quoted: str, page: Page) -> bool:
    """Whether a quotation stands in a page, word for word."""
    title, passages = page
    wanted = plain(quoted).strip(" .,;:!?\"'")
    return any(wanted in plain(text) for text in (title, " ".join(passages), *passages))


def _cited_at(cited: Sequence[Cited], start: int, end: int) -> list[str]:
    """The addresses that a sentence is cited with: those whose bytes overlap its own."""
    return list(dict.fromkeys(_bare(one.url) for one in cited if one.start < end and one.end > start))


def _bytes(text: str) -> list[int]:
    """The byte at which each character begins, and the text's end."""
    places = [0]
    for character in text:
        places.append(places[-1] + len(character.encode("utf-8", "surrogatepass")))
    return places


def _bare(url: str) -> str:
    return urldefrag(url)[0]
