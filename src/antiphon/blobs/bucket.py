"""A bucket of any S3-compatible store: objects put, read, listed and deleted over HTTP. It knows nothing of blobs.

Buckets are named in the path (`https://host/bucket/key`), which every such store understands.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import io
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from antiphon import __version__, wire
from antiphon.blobs.sigv4 import NOTHING, Keys, encoded, query_of, signed

if TYPE_CHECKING:
    from aiohttp import ClientSession

_TRIES = 4
SECONDS = 30.0  # for a request that sends and gets little; what is large has this much to begin, and between two pieces
_PIECE = 2**18
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_KEY = re.compile(r"<Key>(.*?)</Key>", re.S)
_MORE = re.compile(r"<NextContinuationToken>(.*?)</NextContinuationToken>", re.S)
_LATER = (408, 429)  # the same may be asked again
_CODE = re.compile(r"<Code>(.*?)</Code>", re.S)


class Bucket:
    """What `s3://BUCKET/PREFIX?endpoint=URL&region=NAME` names; keys are below the prefix.

    What the URL does not say is taken from the variables of AWS's own tools. Raises ValueError, in words for the operator.
    Errors of the store are Unavailable, after some tries with a `pause` of some seconds before the second.
    """

    def __init__(self, source: str, environment: Mapping[str, str] = os.environ, *, pause: float = 0.25) -> None:
        parts = urlsplit(source)
        said = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if unknown := said.keys() - {"endpoint", "region"}:
            raise ValueError(f"The place of media has unknown options: {', '.join(sorted(unknown))}.")
        if not _BUCKET.fullmatch(parts.netloc):
            raise ValueError(
                "The place of media names no bucket: s3://BUCKET/PREFIX?endpoint=URL. Keys stand in no URL."
            )
        of = environment.get
        region = said.get("region") or of("AWS_REGION") or of("AWS_DEFAULT_REGION") or "us-east-1"
        endpoint = said.get("endpoint") or of("AWS_ENDPOINT_URL_S3") or of("AWS_ENDPOINT_URL")
        server = urlsplit(endpoint or f"https://s3.{region}.amazonaws.com")
        if (
            server.scheme not in ("http", "https")
            or not server.hostname
            or server.username
            or not server.netloc.isascii()
        ):
            raise ValueError("The endpoint of the store of media must look like https://host:port.")
        self._origin = f"{server.scheme}://{server.netloc}"
        self._host = server.netloc.removesuffix({"http": ":80", "https": ":443"}[server.scheme])
        self._region = region
        self._pause = pause  # doubled for each try that follows
        self._keys = _keys(environment)
        prefix = parts.path.strip("/")
        self._path = f"{server.path.rstrip('/')}/{parts.netloc}"
        self._prefix = f"{prefix}/" if prefix else ""
        import aiohttp  # loaded by those who use it
        import yarl

        self._http, self._url = aiohttp, yarl.URL
        self._session: ClientSession | None = None

    async def put(self, key: str, body: bytes) -> None:
        """Make an object, or make it anew."""
        await self._ask("PUT", key, body=body, payload=hashlib.sha256(body).hexdigest())

    async def put_file(self, key: str, path: Path, sha256: str) -> None:
        """The same with the content of a file."""
        await self._ask("PUT", key, body=path, payload=sha256)

    async def get(self, key: str, first: int | None = None, size: int = 0) -> bytes | None:
        """An object, or a part of it; None where there is none."""
        headers = {} if first is None else {"range": f"bytes={first}-{first + size - 1}"}
        status, body = await self._ask("GET", key, headers=headers, fine=(404, 416))
        return None if status == 404 else b"" if status == 416 else body

    async def has(self, key: str) -> bool:
        """Whether there is such an object."""
        return (await self._ask("HEAD", key, fine=(404,)))[0] != 404

    async def delete(self, key: str) -> None:
        """Take an object away, if there is one."""
        await self._ask("DELETE", key, fine=(404,))

    async def keys(self, prefix: str, after: str = "", most: int = 1000) -> AsyncIterator[str]:
        """The keys that begin with a prefix and come after another key, in order; `most` are asked for at a time."""
        values = {"list-type": "2", "max-keys": str(most), "prefix": self._prefix + prefix}
        if after:
            values["start-after"] = self._prefix + after
        while True:
            _, body = await self._ask("GET", None, values)
            text = body.decode()
            for found in _KEY.finditer(text):
                yield html.unescape(found[1])[len(self._prefix) :]
            if (more := _MORE.search(text)) is None:
                return
            values["continuation-token"] = html.unescape(more[1])

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # ------------------------------------------------------------------ HTTP

    async def _ask(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Path = b"",
        payload: str = NOTHING,
        fine: tuple[int, ...] = (),
    ) -> tuple[int, bytes]:
        """Status and body of an answer. All requests may be sent twice, so they are, where the store stumbles."""
        path = self._path if key is None else f"{self._path}/{encoded(self._prefix + key, '/')}"
        pause, said = self._pause, query_of(query or {})
        for left in reversed(range(_TRIES)):
            try:
                status, answer = await self._once(method, path, said, headers or {}, body, payload)
            except (self._http.ClientError, TimeoutError, OSError) as error:
                if not left:
                    raise wire.Unavailable(f"The store of media cannot be reached ({type(error).__name__}).") from error
            else:
                if 200 <= status < 300 or status in fine:
                    return status, answer
                if not left or not (status >= 500 or status in _LATER):
                    raise _refused(status, answer)
            await asyncio.sleep(pause)
            pause *= 2
        raise AssertionError("the last try returns or raises")

    async def _once(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes | Path, payload: str
    ) -> tuple[int, bytes]:
        sent = signed(self._keys, self._region, method, self._host, path, query, headers, payload, time.time())
        url = self._url(f"{self._origin}{path}" + (f"?{query}" if query else ""), encoded=True)
        data: io.BytesIO | AsyncIterator[bytes] | None = None
        if isinstance(body, Path):
            sent["content-length"] = str((await asyncio.to_thread(body.stat)).st_size)
            data = _read(body)
        elif method == "PUT":
            data = io.BytesIO(body)  # sent in pieces
        if self._session is None:
            self._session = self._open()
        async with self._session.request(method, url, headers=sent, data=data, allow_redirects=False) as answer:
            return answer.status, await answer.read()

    def _open(self) -> ClientSession:
        return self._http.ClientSession(
            connector=self._http.TCPConnector(limit=32),
            headers={"user-agent": f"Antiphon/{__version__}", "accept-encoding": "identity"},
            skip_auto_headers=("content-type",),
            cookie_jar=self._http.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=self._http.ClientTimeout(total=None, sock_connect=SECONDS, sock_read=SECONDS),
        )


def _refused(status: int, answer: bytes) -> wire.Unavailable:
    code = _CODE.search(answer.decode(errors="replace"))
    why = html.unescape(code[1])[:100] if code else "no reason given"
    return wire.Unavailable(f"The store of media refuses: {why} (HTTP {status}).")


def _keys(environment: Mapping[str, str]) -> Keys:
    id, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not id or not secret:
        raise ValueError("The keys of the store of media are missing: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    return Keys(id, secret, environment.get("AWS_SESSION_TOKEN") or None)


async def _read(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
    finally:
        file.close()
