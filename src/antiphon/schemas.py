"""Does a JSON value fit a JSON schema? The subset of JSON Schema that the API documents, plus references and unions.

Keywords outside that subset are let through, as the API says: a grammar or a model may obey them, nothing here judges
them. No I/O; nothing of the wire is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

type_names: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "number": lambda value: _is_number(value),
}


def violation(value: Any, schema: Mapping[str, Any] | bool) -> str | None:
    """Say where `value` breaks `schema` and how, as `city: must be string`; None when it fits."""
    root = _Root(schema if isinstance(schema, Mapping) else {})
    try:
        return next(_faults(value, schema, root, ""), None)
    except (_TooMuch, RecursionError):
        return "its schema is too much work to check"


class _TooMuch(Exception):
    """The work that one check may take is used up."""


class _Root(dict[str, Any]):
    """The whole schema, and how many more checks may be made under it: references can multiply beyond all bounds."""

    left = 200_000


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _faults(value: Any, schema: Any, root: Mapping[str, Any], path: str) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        if schema is False:
            yield _at(path, "is not allowed")
        return
    if isinstance(root, _Root):
        root.left -= 1
        if root.left < 0:
            raise _TooMuch
    for keyword, check in _CHECKS.items():
        if keyword in schema:
            yield from check(value, schema, root, path)


def _at(path: str, fault: str) -> str:
    return f"{path or 'the value'}: {fault}"


def _fits(value: Any, schema: Any, root: Mapping[str, Any], path: str) -> bool:
    return next(_faults(value, schema, root, path), None) is None


def _reference(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
    target = _target(schema["$ref"], root)
    if target is not None and target is not schema:
        yield from _faults(value, target, root, path)


def _type(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
    allowed = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    # The vendor's own schemas write the names in capitals.
    names = [str(name).lower() for name in allowed]
    if value is None and schema.get("nullable") is True:
        return
    if not any(type_names.get(name, lambda _: True)(value) for name in names):
        yield _at(path, f"must be {' or '.join(names)}")


def _enum(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
    if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in schema["enum"]):
        yield _at(path, f"must be one of {', '.join(map(repr, schema['enum']))}")


def _const(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
    if value != schema["const"]:
        yield _at(path, f"must be {schema['const']!r}")


def _properties(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in schema["properties"].items():
            if name in value:
                yield from _faults(value[name], inner, root, f"{path}.{name}" if path else name)


def _required(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name in schema["required"] or ():
            if name not in value:
                yield _at(path, f"{name!r} is missing")


def _additional(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name in value.keys() - (schema.get("properties") or {}).keys():
            yield from _faults(value[name], schema["additionalProperties"], root, f"{path}.{name}" if path else name)


def _items(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, list):
        for place, one in enumerate(value[len(schema.get("prefixItems", ())) :], len(schema.get("prefixItems", ()))):
            yield from _faults(one, schema["items"], root, f"{path}[{place}]")


def _prefix_items(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, list):
        for place, (one, inner) in enumerate(zip(value, schema["prefixItems"], strict=False)):
            yield from _faults(one, inner, root, f"{path}[{place}]")


def _bound(keyword: str, kind: Callable[[Any], bool], breaks: Callable[[Any, Any], bool], words: str) -> Check:
    def check(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
        if kind(value) and breaks(value, schema[keyword]):
            yield _at(path, f"{words} {schema[keyword]}")

    return check


def _any_of(keyword: str) -> Check:
    def check(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
        if not any(_fits(value, one, root, path) for one in schema[keyword]):
            yield _at(path, "fits none of the allowed forms")

    return check


def _all_of(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
    for one in schema["allOf"]:
        yield from _faults(value, one, root, path)


Check = Callable[[Any, Mapping[str, Any], Mapping[str, Any], str], Iterator[str]]
_CHECKS: dict[str, Check] = {
    "$ref": _reference,
    "type": _type,
    "enum": _enum,
    "const": _const,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "prefixItems": _prefix_items,
    "items": _items,
    "minItems": _bound("minItems", type_names["array"], lambda v, n: len(v) < n, "must have at least as many items as"),
    "maxItems": _bound("maxItems", type_names["array"], lambda v, n: len(v) > n, "must have at most as many items as"),
    "minimum": _bound("minimum", _is_number, lambda v, n: v < n, "must be at least"),
    "maximum": _bound("maximum", _is_number, lambda v, n: v > n, "must be at most"),
    "exclusiveMinimum": _bound("exclusiveMinimum", _is_number, lambda v, n: v <= n, "must be more than"),
    "exclusiveMaximum": _bound("exclusiveMaximum", _is_number, lambda v, n: v >= n, "must be less than"),
    "anyOf": _any_of("anyOf"),
    # One of several overlapping forms is a mistake of the schema's author more often than of the model.
    "oneOf": _any_of("oneOf"),
    "allOf": _all_of,
}


# ------------------------------------------------------------------------------------------------ well-formedness

_DEEPEST = 64
_WIDEST = 5_000  # schemas that one and the same value has to be held against
_LARGEST_COUNT = 100_000


def malformed(schema: Any) -> str | None:
    """Say what keeps a schema from being one, as `properties.age: 'type' must be a type's name`; None when it is one."""
    root = schema if isinstance(schema, Mapping) else {}
    return next(_flaws(schema, root, "", 0), None)


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name.lower() in type_names for name in names)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_COUNT


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_is_type, "a type's name, or a list of them"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "a list of values"),
    "required": (lambda value: isinstance(value, list) and all(isinstance(n, str) for n in value), "a list of names"),
    "properties": (lambda value: isinstance(value, dict), "an object of schemas"),
    "$defs": (lambda value: isinstance(value, dict), "an object of schemas"),
    "definitions": (lambda value: isinstance(value, dict), "an object of schemas"),
    "minItems": (_is_count, f"a count up to {_LARGEST_COUNT}"),
    "maxItems": (_is_count, f"a count up to {_LARGEST_COUNT}"),
    **{name: (_is_number, "a number") for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")},
    **{
        name: (lambda value: isinstance(value, list) and bool(value), "a list of schemas")
        for name in ("anyOf", "oneOf", "allOf", "prefixItems")
    },
}


def _flaws(schema: Any, root: Mapping[str, Any], path: str, depth: int) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    flaw = "must be an object" if not isinstance(schema, Mapping) else _flaw(schema, root)
    if depth > _DEEPEST:
        flaw = "is nested too deeply"
    if flaw is not None:
        yield _at(path, flaw)
        return
    for name, inner in _inner(schema):
        yield from _flaws(inner, root, f"{path}.{name}" if path else name, depth + 1)


def _flaw(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str | None:
    """What is wrong with a schema itself, those within it aside."""
    for keyword, (fits, form) in _FORMS.items():
        if keyword in schema and not fits(schema[keyword]):
            return f"{keyword!r} must be {form}"
    if "$ref" in schema and not _resolves(schema, root):
        return "'$ref' leads nowhere"
    return _spread(schema, root)


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schemas in a schema, with their places."""
    for keyword in ("properties", "$defs", "definitions"):
        for name, inner in schema.get(keyword, {}).items():
            yield f"{keyword}.{name}", inner
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for place, inner in enumerate(schema.get(keyword, ())):
            yield f"{keyword}[{place}]", inner
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield keyword, schema[keyword]


def _target(reference: Any, root: Mapping[str, Any]) -> Any:
    """What a reference within the schema points to; None where it points to nothing."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    target: Any = root
    for name in filter(None, reference[1:].split("/")):
        target = target.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
    return target


def _resolves(schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    """Whether a chain of references comes to a schema at last, instead of back to itself."""
    seen: list[Any] = []
    current: Any = schema
    while isinstance(current, Mapping) and "$ref" in current:
        if any(current is earlier for earlier in seen):
            return False
        seen.append(current)
        current = _target(current["$ref"], root)
    return isinstance(current, Mapping | bool)


def _spread(schema: Any, root: Mapping[str, Any]) -> str | None:
    """Say so where references and unions hold a value against too many schemas, or against the same ones for ever."""
    todo = [schema]
    for _ in range(_WIDEST):
        if not todo:
            return None
        current = todo.pop()
        if isinstance(current, Mapping):
            todo += [one for keyword in ("anyOf", "oneOf", "allOf") for one in current.get(keyword, ())]
            if "$ref" in current:
                todo.append(_target(current["$ref"], root))
    return "its references lead back to themselves, or to too many schemas"
