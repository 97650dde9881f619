"""Names for things: random, so that they cannot be guessed, and in the order of time, so that stores keep them in order.

Random bytes are taken from the system some thousands at a time: a call for each name would cost more than the name.
"""

from __future__ import annotations

import os

_POOL = 4096
_bytes = b""
_used = _POOL


def _random(length: int) -> str:
    global _bytes, _used
    if _used + length > _POOL:
        _bytes, _used = os.urandom(_POOL), 0
    start, _used = _used, _used + length
    return _bytes[start:_used].hex()


def _forget() -> None:
    """A forked process must not give out what its parent will."""
    global _used
    _used = _POOL


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def interaction_id(now: float) -> str:
    """`v1_`, as clients know it from the service, the time in milliseconds, and 80 random bits."""
    return f"v1_{int(now * 1000):012x}{_random(10)}"


def call_id() -> str:
    """Eight lower-case letters and digits, as the service's are (recorded)."""
    return _random(4)
