"""AWS Signature Version 4, as S3 wants it: the headers that prove that a request is from whoever has the secret key."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

NOTHING = hashlib.sha256(b"").hexdigest()


class Keys(msgspec.Struct, frozen=True):
    """What a server is known by; `session` comes with temporary keys."""

    id: str
    secret: str
    session: str | None = None


def encoded(text: str, safe: str = "") -> str:
    """Percent-encoded as S3 encodes when it checks: all but letters, digits and `-_.~`, and what is in `safe`."""
    return quote(text, safe=safe + "-_.~")


def query_of(values: Mapping[str, str]) -> str:
    """A query string in the order in which it is signed."""
    return "&".join(f"{encoded(name)}={encoded(value)}" for name, value in sorted(values.items()))


def signed(
    keys: Keys,
    region: str,
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    payload: str,
    now: float,
) -> dict[str, str]:
    """The headers to send, those given among them.

    `path` and `query` are as they are sent, `host` as in the Host header, `payload` is the SHA-256 of the body in
    hexadecimal, `now` in seconds since 1970.
    """
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    sent = {name.lower(): value.strip() for name, value in headers.items()}
    sent |= {"host": host, "x-amz-content-sha256": payload, "x-amz-date": moment}
    if keys.session is not None:
        sent["x-amz-security-token"] = keys.session
    names = ";".join(sorted(sent))
    lines = "".join(f"{name}:{sent[name]}\n" for name in sorted(sent))
    request = "\n".join([method, path, query, lines, names, payload])
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}".encode(), "sha256").hex()
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return sent
