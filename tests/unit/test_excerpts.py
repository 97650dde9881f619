"""Excerpts are the parts that match, within the room there is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.excerpts import GAP, excerpts, shortened

FILLER = "\n\n".join(
    f"Paragraph {n} speaks at length of nothing in particular, and of {n} other things." for n in range(200)
)
NEEDLE = "The queen lays 1,500 eggs a day."


def test_what_fits_is_left_whole():
    assert [part.text for part in excerpts("x", ["One.", "Two."], 100)] == ["One.", "Two."]


def test_the_part_that_matches_is_found_wherever_it_is():
    (part,) = excerpts("how many eggs does a queen lay", [f"{FILLER}\n\n{NEEDLE}\n\n{FILLER}"], 1000)
    assert NEEDLE in part.text and part.cut and part.text.startswith(GAP) and part.text.endswith(GAP)
    assert len(part.text) <= 1000


def test_where_nothing_matches_the_beginning_is_shown():
    (part,) = excerpts("zebra", [FILLER], 500)
    assert part.text.startswith("Paragraph 0") and part.text.endswith(GAP)


def test_room_is_shared_fairly():
    short, *long = excerpts("eggs", [NEEDLE, f"{FILLER} {NEEDLE}", f"{NEEDLE} {FILLER}"], 3000)
    assert short.text == NEEDLE
    assert all(800 < len(part.text) <= 1500 and NEEDLE in part.text for part in long)


def test_one_long_line_without_a_full_stop_is_cut_by_size():
    (part,) = excerpts("needle", ["word " * 20_000 + "needle " + "word " * 20_000], 2000)
    assert "needle" in part.text and len(part.text) <= 2000


def test_a_text_is_cut_at_the_end_of_a_sentence():
    assert shortened("One is short. Two is longer than that.", 24) == f"One is short. {GAP}"
    assert shortened("wordwordword", 8) == f"word {GAP}"
    assert shortened("abc", 3) == "abc" and shortened("abcd", 3) == ""


@given(st.text(), st.lists(st.text(max_size=300) | st.just(FILLER[:2000]), max_size=5), st.integers(-5, 3000))
def test_there_are_as_many_excerpts_as_texts_and_never_more_than_the_room(query, texts, room):
    found = excerpts(query, texts, room)
    assert len(found) == len(texts)
    assert sum(len(part.text) for part in found) <= max(room, 0)
    assert found == excerpts(query, texts, room)


@pytest.mark.parametrize("piece", ["a", " ", "\n", ". ", "。", "\n\n", "a\n\n"])
def test_hostile_text_takes_no_longer_than_its_length(piece):
    began = time.process_time()
    excerpts("a b", [piece * (50_000 // len(piece))], 2000)
    assert time.process_time() - began < 2
