"""Bodies that are made to be hard to read."""

from __future__ import annotations

import pytest

from antiphon import wire
from antiphon.server import decoding


@pytest.mark.parametrize(
    "body",
    [
        b"[]" * 200 + b'\\"' * 500_000,  # a scan that began anew at each quote would go on for hours
        b'"' + b"\\" * 1_000_001,
        b'{"input":"' + b"[" * 1_000_000,
    ],
)
def test_a_body_that_never_ends_a_string_is_refused_at_once(body: bytes) -> None:
    with pytest.raises((decoding.Malformed, wire.InvalidRequest)):
        decoding.create_interaction(body)


def test_brackets_within_a_string_do_not_count_as_depth() -> None:
    text = "[{" * 500 + '\\"' + "]" * 100
    assert decoding.create_interaction(b'{"model":"m","input":"' + text.encode() + b'"}').model == "m"


def test_what_is_nested_too_deep_is_refused() -> None:
    with pytest.raises((decoding.Malformed, wire.InvalidRequest)):
        decoding.create_interaction(b'{"model":"m","input":' + b"[" * 500 + b"]" * 500 + b"}")
