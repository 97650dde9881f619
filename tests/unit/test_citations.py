"""Citations point at the words that a passage supports, and at nothing else."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import wire
from antiphon.citations import cite
from antiphon.ports import Passage
from antiphon.words import sentences, terms, values

TOWER = "The Eiffel Tower is 330 metres tall. It was completed in 1889 by the company of Gustave Eiffel."
BEES = "The queen of a honey bee colony can lay up to 1,500 eggs a day. Workers live about six weeks in summer."


def page(text: str, number: int = 1, title: str = "") -> Passage:
    return Passage(text, wire.UrlCitation(url=f"https://example.org/{number}", title=title))


PAGES = [page(TOWER, 1), page(BEES, 2)]


def cited(text: str, passages: list[Passage] | None = None) -> list[tuple[str, str]]:
    """What is cited of `text`, and the end of the page's address."""
    raw = text.encode()
    found = cite(text, PAGES if passages is None else passages)
    return [(raw[c.start_index : c.end_index].decode(), str(c.url).rpartition("/")[2]) for c in found]


# ---------------------------------------------------------------------------------------------------- without markers


def test_a_sentence_that_a_passage_says_is_cited():
    assert cited("Hello! The Eiffel Tower is 330 metres tall. Nice, isn't it?") == [
        ("The Eiffel Tower is 330 metres tall.", "1")
    ]


def test_a_number_that_stands_nowhere_in_the_passage_is_not_cited():
    assert cited("The Eiffel Tower is 324 metres tall.") == []


@pytest.mark.parametrize("said", ["1500", "1,500", "1 500", "1.500"])
def test_the_same_number_written_otherwise_is_the_same(said):
    assert len(cited(f"The queen of a colony can lay up to {said} eggs a day.")) == 1


def test_a_million_is_not_a_billion():
    pages = [page("The company earned 4.2 billion euros in its last year.")]
    assert cited("The company earned 4.2 million euros in its last year.", pages) == []
    assert len(cited("The company earned 4,200 million euros in its last year.", pages)) == 1


def test_a_number_that_is_said_of_somebody_else_is_not_cited():
    pages = [page("Alice keeps three dogs in her garden. Bob keeps five cats in his house.")]
    assert cited("Alice keeps five cats in her house.", pages) == []
    assert len(cited("Bob keeps five cats in his house.", pages)) == 1


def test_another_name_is_not_cited():
    assert cited("It was completed in 1889 by the company of Thomas Edison.") == []


def test_the_contrary_is_not_cited():
    assert cited("The Eiffel Tower is not 330 metres tall.") == []
    assert cited("Workers live at least six weeks in summer, and seldom longer.", [page("Bees fly slower.")]) == []
    assert (
        cited("The bees fly faster in summer than in winter.", [page("The bees fly slower in summer than in winter.")])
        == []
    )


def test_a_question_is_not_cited():
    assert cited("Is the Eiffel Tower 330 metres tall?") == []


def test_a_name_may_stand_in_the_title():
    pages = [page("It lies on the Tagus and has 567,131 inhabitants.", title="Lisbon")]
    assert len(cited("Lisbon lies on the Tagus and has 567,131 inhabitants.", pages)) == 1
    assert cited("Madrid lies on the Tagus and has 567,131 inhabitants.", pages) == []


def test_a_title_alone_supports_nothing():
    assert (
        cited("Lisbon metro tickets explained.", [page("Page not found.", title="Lisbon metro tickets explained")])
        == []
    )


def test_neighbouring_sentences_with_the_same_source_are_one_place():
    text = "The Eiffel Tower is 330 metres tall. It was completed in 1889 by Gustave Eiffel."
    assert cited(text) == [(text, "1")]


def test_paragraphs_stay_apart():
    text = "The Eiffel Tower is 330 metres tall.\n\nIt was completed in 1889 by the company of Gustave Eiffel."
    assert len(cited(text)) == 2


def test_the_same_page_is_cited_once_for_one_place():
    assert len(cited("The Eiffel Tower is 330 metres tall.", [page(TOWER), page(TOWER)])) == 1


def test_two_pages_that_say_the_same_are_both_cited():
    assert cited("The Eiffel Tower is 330 metres tall.", [page(TOWER, 1), page(TOWER, 2)]) == [
        ("The Eiffel Tower is 330 metres tall.", "1"),
        ("The Eiffel Tower is 330 metres tall.", "2"),
    ]


def test_all_kinds_of_citation_keep_their_fields():
    file = wire.FileCitation(file_name="tower.pdf", page_number=3)
    place = wire.PlaceCitation(name="Eiffel Tower", place_id="osm:way/5013364")
    found = cite("The Eiffel Tower is 330 metres tall.", [Passage(TOWER, file), Passage(TOWER, place)])
    assert found == [
        wire.FileCitation(file_name="tower.pdf", page_number=3, start_index=0, end_index=36),
        wire.PlaceCitation(name="Eiffel Tower", place_id="osm:way/5013364", start_index=0, end_index=36),
    ]


# ---------------------------------------------------------------------------------------------------- markers


@pytest.mark.parametrize(
    "marker",
    ["[1]", "[^1]", "(source 1)", "[Source: 1]", "【1】", "【1†page】", "[1](https://example.org/a.b)", "[1, 9]"],
)
def test_a_marker_cites_the_words_before_it_without_itself(marker):
    assert cited(f"The height is 330 metres {marker}. It rains.") == [("The height is 330 metres", "1")]


def test_a_marker_behind_the_full_stop_belongs_to_the_sentence_before():
    assert cited("The height is 330 metres. [1] It rains.") == [("The height is 330 metres.", "1")]


def test_each_clause_has_its_own_marker():
    text = "The tower is 330 metres tall [1], while a queen can lay 1,500 eggs [2]."
    assert cited(text) == [("The tower is 330 metres tall", "1"), ("while a queen can lay 1,500 eggs", "2")]


@pytest.mark.parametrize("markers", ["[1][2]", "[1, 2]", "[1-2]", "[1] [2]", "(sources 1 and 2)"])
def test_several_markers_cite_several_passages(markers):
    pages = [page(TOWER, 1), page("The height of the tower is 330 metres with its antenna.", 2)]
    assert [number for _, number in cited(f"Its height is 330 metres {markers}.", pages)] in (["1", "2"], ["2"])
    assert [number for _, number in cited(f"The tower is 330 metres tall {markers}.", pages)] == ["1", "2"]


def test_a_marker_in_front_speaks_of_what_follows():
    assert cited("According to [1], the tower is 330 metres tall.") == [("the tower is 330 metres tall.", "1")]


def test_a_marker_of_a_passage_that_was_never_retrieved_is_dropped():
    assert cited("The moon is made of green cheese [7].") == []


def test_a_marker_of_a_passage_that_says_nothing_of_it_is_dropped():
    assert cited("The moon is made of green cheese [1].") == []
    assert cited("The tower is 324 metres tall [1].") == []


def test_a_list_of_sources_is_not_cited():
    pages = [page(TOWER, 1, title="The Eiffel Tower"), page(BEES, 2, title="Honey bees | Encyclopedia")]
    text = "Sources:\n[1] The Eiffel Tower\n- [2] [Honey bees | Encyclopedia](https://example.org/2)\n1. https://example.org/1"
    assert cited(text, pages) == []


def test_a_wrong_marker_does_not_keep_the_right_passage_from_being_found():
    assert cited("The Eiffel Tower is 330 metres tall [2].") == [("The Eiffel Tower is 330 metres tall", "1")]


# ---------------------------------------------------------------------------------------------------- forms of text


def test_lists_tables_headings_and_code_are_read_for_what_they_are():
    text = """# The Eiffel Tower is 330 metres tall

- The Eiffel Tower is **330 metres** tall
1. It was completed in 1889 by Gustave Eiffel

| what | how much |
|---|---|
| Eiffel Tower, tall | 330 metres |

```
The Eiffel Tower is 330 metres tall.
```
"""
    assert cited(text) == [
        ("The Eiffel Tower is **330 metres** tall", "1"),
        ("It was completed in 1889 by Gustave Eiffel", "1"),
        ("Eiffel Tower, tall | 330 metres", "1"),
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("It costs 3.50 euros. See www.example.org/a.b for more.", 2),
        ("Dr. Smith and J. R. R. Tolkien met, e.g. in Oxford. They talked.", 2),
        ("Is it so? Yes! It is… The end.", 4),
        ("東京は首都です。人口は多い！本当？", 3),
        ("It is called “The End.” They left.", 2),
        ("One line\nthat goes on. Next", 2),
        ("- a\n- b\n\n> c", 3),
        ("", 0),
    ],
)
def test_sentences_end_where_they_end(text, parts):
    found = [text[span.start : span.end] for span in sentences(text)]
    assert len(found) == parts, found


def test_offsets_are_bytes():
    text = "Zürich 🙂 ist schön. Der Turm von Zürich ist 330 Meter hoch, größer als andere Türme."
    found = cite(text, [page("Der Turm von Zürich ist 330 Meter hoch und größer als andere Türme.")])
    raw = text.encode()
    assert [raw[c.start_index : c.end_index].decode()[:8] for c in found] == ["Der Turm"]
    assert found[0].end_index == len(raw)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (
            "富士山の標高は3776メートルです。",
            "富士山は静岡県と山梨県に跨る活火山である。標高は3776メートルで、日本最高峰である。",
        ),
        ("长城于1987年被列入世界遗产。", "长城是中国古代的军事防御工程。长城于1987年被联合国教科文组织列入世界遗产。"),
        ("한라산의 높이는 1,947미터이다.", "한라산은 제주도에 있는 화산이다. 한라산의 높이는 1,947미터로 가장 높다."),
        ("Наибольшая глубина озера 1642 метра.", "Байкал — озеро в Сибири. Наибольшая глубина озера — 1642 метра."),
        ("برج إيفل ارتفاعه 330 مترا في باريس.", "برج إيفل يقع في باريس. برج إيفل ارتفاعه 330 مترا."),
        ("ताज महल आगरा शहर में 1653 में बना।", "ताज महल आगरा शहर में है। ताज महल 1653 में आगरा शहर में बना।"),
    ],
)
def test_every_script_is_compared(text, source):
    assert len(cite(text, [page(source)])) == 1
    digits = "".join(str(9 - int(c)) if c.isdigit() else c for c in text)
    assert cite(digits, [page(source)]) == []


def test_values_of_numbers():
    assert values("1,500") == {"1500", "1.5"}
    assert values("3.50") == {"3.5"}
    assert values("1.2", "million") == {"1200000"}
    assert values("007") == {"7"}
    assert values("3.11.7") == {"3.11.7"}
    assert values("9" * 1000) == {"9" * 1000}


def test_terms_are_the_same_for_forms_of_a_word():
    assert terms("The cities were visited") == terms("city visits") or terms("visited") == terms("visits")
    assert terms("Zürich") == terms("zurich") == terms("ZÜRICH")


# ---------------------------------------------------------------------------------------------------- laws

PIECES = st.sampled_from(
    [TOWER, BEES, " [1]", "[2, 1]", " (source 2)", "\n", "\n\n- ", "```\n", "| a | b |\n|---|---|\n", ". ", "。", "🙂", "é",
     "富士山は3776", "[999]", "1,500", "https://example.org/a.b?c=1", "Dr. ", "x" * 50, "[", "]", "`", "\u0301", " "]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join))


@given(TEXTS, st.lists(TEXTS, max_size=5))
def test_every_citation_is_a_place_of_the_text_and_a_passage_that_was_given(text, sources):
    passages = [page(source, number) for number, source in enumerate(sources)]
    raw = text.encode()
    found = cite(text, passages)
    places = [(c.start_index, c.end_index) for c in found]
    assert places == sorted(places)
    for (start, end), citation in zip(places, found, strict=True):
        assert 0 <= start < end <= len(raw)
        words = raw[start:end].decode()  # fails where it would cut a character
        assert words == words.strip()
        assert citation.url in {passage.citation.url for passage in passages}
    assert len({(c.start_index, c.end_index, c.url) for c in found}) == len(found)


@given(TEXTS, st.lists(TEXTS, max_size=4))
def test_the_same_text_is_cited_the_same_way(text, sources):
    passages = [page(source, number) for number, source in enumerate(sources)]
    assert cite(text, passages) == cite(text, passages)


@given(TEXTS)
def test_sentences_are_in_order_and_do_not_overlap(text):
    spans = list(sentences(text))
    assert all(span.start < span.end for span in spans)
    assert all(one.end <= two.start for one, two in pairwise(spans))


def test_nothing_is_cited_of_nothing():
    assert cite("", PAGES) == cite("   \n", PAGES) == cite("The Eiffel Tower is 330 metres tall.", []) == []
    assert cite("The Eiffel Tower is 330 metres tall.", [page("")]) == []


HOSTILE = ["[", "a", ". ", "[1]", "`", "|", "1,", "(source 1", "1 234 ", "#", "- ", "\n> ", "A. ", "é", "。", "http://"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_no_longer_than_its_length(piece):
    text = piece * (50_000 // len(piece))
    began = time.process_time()
    cite(text, [page(TOWER), page(text[:20_000])])
    assert time.process_time() - began < 2
