"""Filters over metadata: what they mean, and that what cannot be read is told with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.index.filters import LONGEST, BadFilter, parse

BOOK = {"author": "Ann Lee", "year": 2021.0, "tags": ["draft", "Q3 report"], "rating": -1.5, "empty": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        'author = "Ann Lee"',
        "author = 'Ann Lee'",
        'author = "Ann*"',
        'author = "*nn*L*e"',
        "author:lee",
        "year = 2021",
        "year=2021.0",
        "year > 2020 AND year <= 2021",
        "year > 2020 year <= 2021",
        "rating < 0",
        "rating = -1.5",
        'tags:"Q3 report"',
        'tags = "draft"',
        "tags:*",
        "NOT tags:final",
        "-tags:final",
        "year < 1990 OR tags:draft",
        'author != "Bob"',
        '(author = "Bob" OR year >= 2000) AND NOT (tags:final)',
        'empty = ""',
        "NOT missing = 1",
        'year = 1 OR "author" = "Ann Lee"',
    ],
)
def test_a_filter_lets_through_what_it_means(text):
    assert parse(text)(BOOK)


@pytest.mark.parametrize(
    "text",
    [
        'author = "ann lee"',
        'author = "*Bob"',
        'author = "A*A*e"',
        'year = "2021"',
        "year = twenty",
        "author = 2021",
        "author > 5 AND year > 5000",
        "missing = 1",
        "missing != 1",
        "missing:*",
        'tags != "draft"',
        "NOT (year = 2021)",
        'tags:"Q3"',
        "tags:draft AND tags:final",
    ],
)
def test_a_filter_keeps_out_what_it_does_not_mean(text):
    assert not parse(text)(BOOK)


def test_or_binds_closer_than_and():
    """As AIP-160 has it: `a AND b OR c` is `a AND (b OR c)`."""
    assert not parse("year = 1 AND year = 2 OR year = 2021")(BOOK)
    assert parse("year = 2021 OR year = 1 AND year = 2021")(BOOK)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("author", 6),
        ("author =", 8),
        ("= 5", 0),
        ('author = "Ann', 9),
        ("(year = 1", 9),
        ("year = 1)", 8),
        ("year = 1 AND", 12),
        ("AND year = 1", 0),
        ("year = 1 OR OR year = 2", 12),
        ("NOT NOT year = 1", 4),
        ("year ~ 1", 5),
        ("year = (1)", 7),
        ("a = 1, b = 2", 5),
        ("(" * 40 + "a = 1" + ")" * 40, 32),
        ("x" * (LONGEST + 1), LONGEST),
    ],
)
def test_a_malformed_filter_is_refused_with_the_place_of_the_fault(text, position):
    with pytest.raises(BadFilter) as refused:
        parse(text)
    assert refused.value.position == position and f"at character {position}" in str(refused.value)


# ---------------------------------------------------------------------------------------------------- laws

values = st.one_of(st.integers(-3, 3).map(float), st.sampled_from(["a", "b c", 'd"e', "\\"]))
comparisons = st.tuples(st.sampled_from("xyz"), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), values)
trees = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(st.just("NOT"), inner),
        st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=8,
)
metadata = st.dictionaries(
    st.sampled_from("xyz"), st.one_of(values, st.lists(st.sampled_from(["a", "b c"]), max_size=2))
)
_COMPARED = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def written(tree: object) -> str:
    match tree:
        case ("NOT", inner):
            return f"NOT ({written(inner)})"
        case ("AND" | "OR" as word, list(parts)):
            return "(" + f" {word} ".join(map(written, parts)) + ")"
        case (name, operator, float(number)):
            return f"{name} {operator} {number:g}"
        case (name, operator, str(text)):
            escaped = text.replace("\\", "\\\\").replace('"', '\\"')
            return f'{name}{operator}"{escaped}"'
    raise AssertionError(tree)


def meant(tree: object, book: dict[str, object]) -> bool:
    match tree:
        case ("NOT", inner):
            return not meant(inner, book)
        case ("AND", list(parts)):
            return all(meant(part, book) for part in parts)
        case ("OR", list(parts)):
            return any(meant(part, book) for part in parts)
        case (name, "!=", value):
            return name in book and not meant((name, "=", value), book)
        case (name, operator, value):
            found = book.get(name, [])
            items = found if isinstance(found, list) else [found]
            return any(type(item) is type(value) and _COMPARED[operator](item, value) for item in items)
    raise AssertionError(tree)


@given(trees, metadata)
def test_a_filter_means_what_its_tree_means(tree, book):
    assert parse(written(tree))(book) == meant(tree, book)


@given(st.text(alphabet="ab5\"'\\ ()=<>!:*-.,\n\tANDORT", max_size=40))
def test_any_text_is_a_filter_or_is_refused_with_a_place_in_it(text):
    try:
        found = parse(text)
    except BadFilter as refused:
        assert 0 <= refused.position <= len(text)
    else:
        assert found({"a": "b", "b": 5.0}) in (True, False)


def test_a_pattern_of_many_stars_is_not_slow():
    assert not parse('a = "' + "*a" * 1000 + '*b"')({"a": "a" * 5000})
