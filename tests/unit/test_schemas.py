"""Our judge of JSON schemas, against a foreign one and on what only ours does."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.schemas import malformed, violation

_scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from([0.5, 2.0]), st.sampled_from("ab"))
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=6,
)
_types = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
_leaves = st.fixed_dictionaries(
    {},
    optional={
        "type": st.one_of(_types, st.lists(_types, min_size=1, max_size=2, unique=True)),
        "enum": st.lists(_scalars, min_size=1, max_size=3),
        "minimum": st.integers(-3, 3),
        "exclusiveMaximum": st.integers(-3, 3),
        "minItems": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
        "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
    },
)
_schemas: st.SearchStrategy[Any] = st.recursive(
    _leaves,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": _types,
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "additionalProperties": st.one_of(st.booleans(), inner),
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=6,
)


@given(_values, _schemas)
def test_it_agrees_with_the_reference(value: Any, schema: Any) -> None:
    assert (violation(value, schema) is None) == jsonschema.Draft202012Validator(schema).is_valid(value)


def test_the_place_and_the_fault_are_named() -> None:
    schema = {"properties": {"people": {"items": {"required": ["name"], "properties": {"age": {"type": "integer"}}}}}}
    assert violation({"people": [{"name": "A", "age": "x"}]}, schema) == "people[0].age: must be integer"
    assert violation({"people": [{}]}, schema) == "people[0]: 'name' is missing"


def test_references_are_followed() -> None:
    schema = {
        "$ref": "#/$defs/tree",
        "$defs": {"tree": {"type": "object", "additionalProperties": {"$ref": "#/$defs/tree"}}},
    }
    assert violation({"a": {"b": {}}}, schema) is None
    assert violation({"a": {"b": 1}}, schema) == "a.b: must be object"


@pytest.mark.parametrize("schema", [{"type": "STRING"}, {"type": "string", "nullable": True}])
def test_the_vendors_own_spelling_is_understood(schema: dict[str, Any]) -> None:
    assert violation("x", schema) is None
    assert (violation(None, schema) is None) == ("nullable" in schema)
    assert violation(1, schema) is not None


def test_keywords_outside_the_subset_judge_nothing() -> None:
    assert violation("x", {"type": "string", "format": "date", "pattern": "^y", "minLength": 9}) is None


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]},
        {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
        {"$ref": "#/$defs/node", "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"enum": [1, 2]}]}, "minItems": 1},
        {"additionalProperties": False, "unknown keyword": 1},
    ],
)
def test_a_schema_is_taken_for_one(schema: Any) -> None:
    assert malformed(schema) is None


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "strnig"}, "type"),
        ({"properties": "a"}, "properties"),
        ({"properties": {"a": {"type": 3}}}, "properties.a"),
        ({"required": "a"}, "required"),
        ({"items": 5}, "items"),
        ({"anyOf": []}, "anyOf"),
        ({"anyOf": [{"enum": []}]}, "anyOf[0]"),
        ({"minimum": "1"}, "minimum"),
        ({"$ref": "#/$defs/none"}, "$ref"),
        ({"allOf": [{"$ref": "#"}]}, "lead back"),
        (
            {
                "$ref": "#/$defs/a0",
                "$defs": {
                    **{f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)},
                    "a40": {"type": "string"},
                },
            },
            "too many schemas",
        ),
        ({"minItems": 10**8}, "minItems"),
        ({"$ref": "https://elsewhere.example/schema"}, "$ref"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "$ref"),
    ],
)
def test_what_is_no_schema_is_named_with_its_place(schema: Any, place: str) -> None:
    assert place in (malformed(schema) or "")
