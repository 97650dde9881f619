"""The questions of the evaluation of Deep Research: well formed, and their gold answers stand where they are said to."""

from __future__ import annotations

import html
import re

import pytest
from bench.research.corpus import BASE, CACHE
from bench.research.questions import Question, drawn, load
from bench.research.score import has_all, is_right, plain

QUESTIONS = load()
PAGES = CACHE / "pages"


def words_of(place: str) -> str:
    """A page as plain text, all that stands on it."""
    source = (PAGES / place).read_text(encoding="utf-8", errors="replace")
    source = re.sub(r"(?s)<(script|style)\b.*?</\1>", " ", source)
    return plain(
        html.unescape(re.sub(r"<[^>]+>", "", re.sub(r"</(p|div|li|tr|td|dt|dd|h\d|pre|a)>|<br/?>", " ", source)))
    )


def squeezed(text: str) -> str:
    """Without blanks, which tags put in or take out."""
    return re.sub(r"\s", "", text)


def test_there_are_enough_and_each_needs_two_pages() -> None:
    assert len(QUESTIONS) >= 40
    assert len({question.id for question in QUESTIONS}) == len(QUESTIONS)
    for question in QUESTIONS:
        assert len({page.url for page in question.pages}) >= 2, question.id
        assert question.answer and all(question.answer), question.id


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_a_gold_answer_is_right_and_the_question_alone_is_not(question: Question) -> None:
    for group in range(len(question.answer)):
        for form in question.answer[group]:
            parts = [forms[0] if place != group else form for place, forms in enumerate(question.answer)]
            assert is_right(question, " and ".join(parts) + ".")
    assert not has_all(question, question.ask) or question.wrong


def test_a_short_form_is_spread_over_the_file() -> None:
    assert drawn(QUESTIONS, len(QUESTIONS) + 1) == QUESTIONS
    some = drawn(QUESTIONS, 4)
    assert [QUESTIONS.index(question) for question in some] == [0, 13, 26, 39]


@pytest.mark.skipif(not PAGES.exists(), reason="the corpus is not here: python -m bench.research.corpus fetches it")
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_what_a_gold_page_says_stands_on_it(question: Question) -> None:
    for page in question.pages:
        assert squeezed(plain(page.says)) in squeezed(words_of(page.url.removeprefix(BASE))), page.url
        for other in page.also:
            assert (PAGES / other.removeprefix(BASE)).exists(), other
