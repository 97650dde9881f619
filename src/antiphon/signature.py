"""Signatures: a thought, or what a tool gave the model, sealed, so that clients can carry it and give it back unchanged.

The real service's signatures are opaque; ours are base64 of a version byte, 16 bytes of HMAC-SHA256 and the deflated
text. They prove origin and hide nothing: who holds one can read the thought. A stateless client that replays its
steps thereby gives the model its reasoning back, which templates of reasoning models want between tool calls.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import zlib

_VERSION = b"\x01"
_MAC = 16
_LONGEST = 64 * 2**20
# The documents tell clients who bring steps from elsewhere to send these words instead of a signature.
PLACEHOLDERS = frozenset({"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"})


STAGE = "stage"  # what is sealed of an agent's work


def _mac(key: bytes, body: bytes, purpose: str) -> bytes:
    return hmac.digest(key, _VERSION + purpose.encode() + body, hashlib.sha256)[:_MAC]


def seal(key: bytes, text: str, purpose: str = "") -> str:
    """A signature that holds `text`. What is sealed for one purpose does not pass for another; '' is a thought's."""
    body = zlib.compress(text.encode(), 6)
    return base64.b64encode(_VERSION + _mac(key, body, purpose) + body).decode()


def sealed(key: bytes, signature: str, purpose: str = "") -> bool:
    """Whether this server, or one with its key, made it for this purpose."""
    try:
        unseal(key, signature, purpose)
    except ValueError:
        return False
    return True


def unseal(key: bytes, signature: str, purpose: str = "") -> str:
    """The text in a signature; ValueError where this server (or one with its key) did not make it for this purpose."""
    try:
        raw = base64.b64decode(signature, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    body = raw[1 + _MAC :]
    if raw[:1] != _VERSION or not hmac.compare_digest(raw[1 : 1 + _MAC], _mac(key, body, purpose)):
        raise ValueError("not made by this server")
    # Bounded even though only our own text gets this far: a leaked key must not become a way to fill memory.
    return zlib.decompressobj().decompress(body, _LONGEST).decode()
