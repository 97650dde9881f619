"""Signatures as Standard Webhooks has them (https://www.standardwebhooks.com), and the secrets they are made with.

No secret is kept. It is derived, from the key of the store and from random bytes that are kept in its place: a copy of
the ledger without that key signs nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
_PURPOSE = b"antiphon: the secret of a webhook\0"


def secret(key: bytes, seed: str) -> str:
    """The secret that `seed`, the hexadecimal digits of random bytes, stands for: 256 bits."""
    return PREFIX + base64.b64encode(hmac.digest(key, _PURPOSE + bytes.fromhex(seed), hashlib.sha256)).decode()


def truncated(secret: str) -> str:
    """As much of a secret as is shown again."""
    return f"{PREFIX}...{secret.rstrip('=')[-4:]}"


def sign(secrets: Sequence[str], message: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: a signature for each secret, separated by spaces."""
    signed = b"%s.%d.%s" % (message.encode(), timestamp, body)
    keys = [base64.b64decode(secret.removeprefix(PREFIX)) for secret in secrets]
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)
