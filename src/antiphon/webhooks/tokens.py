"""Signatures of what is sent to the addresses of a request's `webhook_config`: JSON Web Tokens, RS256.

The key pair is made when it is first needed, once for all servers of a store; what is kept of it is sealed with a key
that is derived from the store's. The packages are loaded then, and asked for by the extra `webhooks`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import msgspec

from antiphon import wire
from antiphon.ports import Entry, Ledger
from antiphon.wire.webhooks import WebhookPayload

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

KIND = "webhook_key"
ISSUER = "antiphon"
_ID = "1"
_BITS = 2048
_PURPOSE = b"antiphon: the private key of webhooks\0"
_SECONDS = 300  # how long a token holds: as long as Standard Webhooks has receivers accept a timestamp


class KeyPair(msgspec.Struct, frozen=True):
    """What is kept: the sealed private key as PEM, and the public one as it is published."""

    private: str
    public: dict[str, str]


class Tokens:
    """Signs, and says with which key."""

    def __init__(self, ledger: Ledger, key: bytes) -> None:
        self._ledger = ledger
        self._password = hmac.digest(key, _PURPOSE, hashlib.sha256).hex().encode()
        self._pair: KeyPair | None = None
        self._private: RSAPrivateKey | None = None

    async def ready(self) -> None:
        """See to it that there is a key pair. Raises FailedPrecondition where the packages are missing."""
        if self._private is None:
            pair = await self._kept() or await self._made()
            self._private = await asyncio.to_thread(_opened, pair, self._password)

    async def jwks(self) -> dict[str, Any]:
        """The public keys, as a JSON Web Key Set; none before one is needed."""
        pair = await self._kept()
        return {"keys": [pair.public] if pair is not None else []}

    async def sign(self, uri: str, message: str, timestamp: int, body: bytes) -> str:
        """The header `webhook-signature`: a token for one address, with the event and the digest of the whole body."""
        await self.ready()
        assert self._pair is not None and self._private is not None
        import jwt

        claims = {
            "iss": ISSUER,
            "aud": uri,
            "iat": timestamp,
            "exp": timestamp + _SECONDS,
            "jti": message,
            "payload_sha256": hashlib.sha256(body).hexdigest(),
            # Without the caller's own words, which may be longer than servers let a header be.
            **msgspec.to_builtins(msgspec.structs.replace(_payload(body), user_metadata=None)),
        }
        return jwt.encode(claims, self._private, "RS256", headers={"kid": self._pair.public["kid"]})

    async def _kept(self) -> KeyPair | None:
        if self._pair is None and (entry := await self._ledger.read(KIND, "", _ID)) is not None:
            self._pair = msgspec.json.decode(entry.body, type=KeyPair)
        return self._pair

    async def _made(self) -> KeyPair:
        """A new pair, or that of the server that was first."""
        try:
            pair = await asyncio.to_thread(_generated, self._password)
        except ImportError:
            raise wire.FailedPrecondition(
                "'webhook_config.uris' needs packages that this server does not have: pip install 'antiphon[webhooks]'."
            ) from None
        await self._ledger.put(Entry(kind=KIND, project="", id=_ID, body=msgspec.json.encode(pair)))
        kept = await self._kept()
        assert kept is not None
        return kept


_payload = msgspec.json.Decoder(WebhookPayload).decode


def _generated(password: bytes) -> KeyPair:
    import jwt.algorithms
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )
    numbers = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    public = {"kty": "RSA", "n": numbers["n"], "e": numbers["e"]}
    # RFC 7638: the digest of the key's own members, in this order and without spaces.
    canonical = msgspec.json.encode({name: public[name] for name in ("e", "kty", "n")})
    kid = jwt.utils.base64url_encode(hashlib.sha256(canonical).digest()).decode()
    return KeyPair(pem.decode(), public | {"alg": "RS256", "use": "sig", "kid": kid})


def _opened(pair: KeyPair, password: bytes) -> RSAPrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    key = serialization.load_pem_private_key(pair.private.encode(), password)
    assert isinstance(key, RSAPrivateKey)
    return key
