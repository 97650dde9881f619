import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import signature

KEY = b"k" * 32


@given(st.text())
def test_a_sealed_thought_comes_back(thought: str) -> None:
    assert signature.unseal(KEY, signature.seal(KEY, thought)) == thought


def test_another_servers_signature_is_refused() -> None:
    with pytest.raises(ValueError, match="not made by this server"):
        signature.unseal(b"x" * 32, signature.seal(KEY, "a thought"))


@given(st.integers(0, 40), st.integers(1, 255))
def test_a_signature_with_one_changed_byte_is_refused(place: int, change: int) -> None:
    raw = bytearray(base64.b64decode(signature.seal(KEY, "thoughts that fill more than forty bytes of the signature")))
    raw[place % len(raw)] ^= change
    with pytest.raises(ValueError):
        signature.unseal(KEY, base64.b64encode(raw).decode())


@given(st.text())
def test_what_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        signature.unseal(KEY, text)
