"""What the evaluation of Deep Research makes of an answer."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from bench.research.questions import Gold, Question
from bench.research.score import Answer, Cited, Page, conclusion, has, score
from bench.research.ways import take_in

HEIGHT = Question(
    id="towers",
    ask="How much taller is the tower of Ostra than the mill of Brenn?",
    answer=(("40 metres", "40 m", "40"),),
    pages=(Gold("http://docs/ostra", "72 metres"), Gold("http://docs/brenn", "32 metres", also=("http://docs/mills",))),
    wrong=("39",),
)
TEXTS: dict[str, Page] = {
    "http://docs/ostra": ("Ostra", ["The tower of Ostra was built in 1832.", "The tower of Ostra is 72 metres tall."]),
    "http://docs/mills": ("Mills", ["The mill of Brenn reaches a height of 32 metres above the harbour."]),
}


def answered(text: str, *cited: tuple[str, str], read: tuple[str, ...] = ()) -> Answer:
    """An answer in which each of these words is cited with that address."""
    places = []
    for words, url in cited:
        start = text.encode().index(words.encode())
        places.append(Cited(start, start + len(words.encode()), url))
    return Answer("towers", "react", "model", text, cited=places, read=list(read))


@pytest.mark.parametrize(
    ("text", "form", "there"),
    [
        ("It is 3.18 or later.", "3.18", True),
        ("It is 3.18.1.", "3.18", False),
        ("It is 13.18.", "3.18", False),
        ("Python 3.11", "3.1", False),
        ("Python **3.1**.", "3.1", True),
        ("after 60s", "60", True),
        ("about 10x", "10", True),
        ("1,200 connections", "200", False),
        ("1,200 connections", "1,200", True),
        ("-200", "200", False),
        ("0x2d and 0x2e", "0x2e", True),
        ("0x2ef", "0x2e", False),
        ("the `CMAKE_INSTALL_MODE` variable", "CMAKE_INSTALL_MODE", True),
        ("RFC\u00a07677", "RFC 7677", True),
        ("binary‑targets", "binary-targets", True),
    ],
)
def test_a_form_stands_in_a_text_whole_or_not_at_all(text: str, form: str, there: bool) -> None:
    assert has(text, form) is there


def test_the_conclusion_is_what_follows_the_last_answer_line() -> None:
    assert conclusion("It may be 39.\n\n**Answer:** 40 metres\n\n## Sources\n1. http://docs/40") == "40 metres"
    assert conclusion("Answer: 39\n\nNo:\n\nFinal answer:\n40 m") == "40 m"


def test_without_an_answer_line_it_is_the_first_and_the_last_paragraph() -> None:
    assert (
        conclusion("# Towers\n\nThe first.\n\nThe second.\n\nThe third.\n\n# Sources\n[1] x")
        == "The first.\nThe third."
    )
    assert conclusion("") == ""


def test_an_answer_that_is_only_on_the_way_is_not_right() -> None:
    found = score(HEIGHT, answered("One is 40 m taller, some say.\n\nAnswer: 50 m"), TEXTS.get)
    assert (found.right, found.somewhere) == (False, True)


def test_an_answer_with_something_wrong_in_it_is_not_right() -> None:
    assert not score(HEIGHT, answered("Answer: 39 or 40 metres"), TEXTS.get).right
    assert score(HEIGHT, answered("Answer: 40 metres"), TEXTS.get).right


def test_gold_pages_count_once_by_any_of_their_addresses() -> None:
    text = "The mill of Brenn reaches a height of 32 metres."
    found = score(HEIGHT, answered(text, (text, "http://docs/mills#top"), read=tuple(TEXTS)), TEXTS.get)
    assert (found.gold, found.gold_read, found.gold_cited, found.invented) == (2, 2, 1, 0)


def test_a_citation_holds_if_a_passage_of_the_page_says_it() -> None:
    true, false = "The tower of Ostra is 72 metres tall [1].", "The tower of Ostra is 75 metres tall [1]."
    for text, supported in ((true, 1), (false, 0)):
        found = score(HEIGHT, answered(text, (text[:-5], "http://docs/ostra"), read=tuple(TEXTS)), TEXTS.get)
        assert (found.judged, found.supported, found.claims, found.uncited) == (1, supported, 1, 0), text


def test_an_address_that_was_not_retrieved_is_invented_and_supports_nothing() -> None:
    text = "The tower of Ostra is 72 metres tall."
    found = score(HEIGHT, answered(text, (text, "http://docs/castles"), read=tuple(TEXTS)), TEXTS.get)
    assert (found.cited, found.invented, found.supported) == (1, 1, 0)


def test_claims_are_sentences_but_no_headings_questions_answers_or_sources() -> None:
    text = "# The towers of Ostra and Brenn\n\nThe tower of Ostra stands there. How tall is the tower of Ostra?\n\n"
    text += "Answer: the tower of Ostra is taller\n\n## Sources\n\n1. Ostra, the tower of the harbour"
    found = score(HEIGHT, answered(text), TEXTS.get)
    assert (found.claims, found.uncited) == (1, 1)


def test_indices_of_citations_are_bytes() -> None:
    text = "Ä€😀. The tower of Ostra is 72 metres tall. The mill is nice and very old."
    found = score(HEIGHT, answered(text, ("The tower of Ostra is", "http://docs/ostra"), read=tuple(TEXTS)), TEXTS.get)
    assert (found.claims, found.uncited, found.supported) == (2, 1, 1)


def test_a_quotation_stands_in_its_source_word_for_word() -> None:
    for quoted, missing in (("was built in 1832", 0), ("was built in 1833", 1), ("built", 0)):
        text = f"They say that it “{quoted}” by the people of Ostra."
        found = score(HEIGHT, answered(text, (text, "http://docs/ostra"), read=tuple(TEXTS)), TEXTS.get)
        assert found.misquoted == missing, quoted


def test_steps_tell_what_was_searched_read_and_cited() -> None:
    stage = {"name": "look", "at": 1.0, "result": json.dumps([{"asked": ["a", "b"], "read": [
        {"place": "http://docs/brenn", "tool": "google_search", "title": "", "at": 1.0},
        {"place": "http://docs/gone", "tool": "url_context", "title": "", "at": 1.0, "status": "error"},
    ]}])}  # fmt: skip
    sealed = base64.b64encode(b"\x01" + 16 * b"m" + zlib.compress(json.dumps(stage).encode())).decode()
    note = {"type": "url_citation", "url": "http://docs/ostra", "start_index": 0, "end_index": 3}
    answer = Answer("towers", "react", "model", "")
    take_in(
        [
            {"type": "google_search_call", "arguments": {"queries": ["ostra tower"]}},
            {"type": "google_search_result", "result": [{"url": "http://docs/ostra"}, {"search_suggestions": "<div>"}]},
            {"type": "url_context_result", "result": [{"url": "http://docs/x", "status": "error"}]},
            {"type": "thought", "signature": sealed},
            {"type": "thought", "signature": "bm8="},
            {"type": "model_output", "content": [{"type": "text", "text": "Ä. "}]},
            {"type": "model_output", "content": [{"type": "text", "text": "Yes.", "annotations": [note]}]},
        ],
        answer,
    )
    assert answer.text == "Ä. Yes."
    assert answer.cited == [Cited(4, 7, "http://docs/ostra")]
    assert answer.read == ["http://docs/ostra", "http://docs/brenn"]
    assert answer.searches == 3


def test_an_answer_is_kept_as_json() -> None:
    answer = answered("The tower.", ("The", "http://docs/ostra"), read=("http://docs/ostra",))
    assert Answer.of_json(json.loads(json.dumps(answer.as_json()))) == answer
