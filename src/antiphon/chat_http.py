"""Speaks the chat-completions dialect over HTTP: one body out, an answer's deltas back, whole or as it is written.

It knows connections and nothing of turns: what a body says and what an answer means is in `chat.py` and
`chat_answer.py`. aiohttp is used since a request costs it a seventh of what httpx2 needs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from antiphon import wire
from antiphon.chat import Body
from antiphon.chat_answer import Chunks, failure
from antiphon.ports import Delta

_BROKEN = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError)


class Disconnected(wire.Unavailable):
    """The server is not there, or went away before its answer ended."""


class ChatServer:
    """One OpenAI-compatible server at `url` (with or without `/v1`).

    `silence` is how long it may send nothing, in seconds, while an answer is awaited.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        silence: float = 600.0,
        calls_as_text: bool = True,
    ) -> None:
        base = url.rstrip("/")
        self._root = base.removesuffix("/v1")
        self._completions = URL(f"{base}/chat/completions" if urlsplit(base).path else f"{base}/v1/chat/completions")
        self._host = urlsplit(base).netloc or base
        self._headers = {"content-type": "application/json", **(headers or {})}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._silence = silence
        self._calls_as_text = calls_as_text
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, body: Body, names: Collection[str] = ()) -> AsyncGenerator[Delta, None]:
        """Send `body` and yield the answer; `names` are the functions on offer. Raises ApiError."""
        chunks = Chunks(names, calls_as_text=self._calls_as_text)
        data = msgspec.json.encode(body)
        try:
            async with await self._post(data) as response:
                if response.status >= 400:
                    raise failure(
                        response.status, await response.read(), self._host, retry_after=_retry_after(response)
                    )
                if not body.get("stream") or response.content_type == "application/json":
                    for delta in chunks.whole(await response.read()):
                        yield delta
                    return
                async with aclosing(_events(response.content)) as events:
                    async for event in events:
                        for delta in chunks.feed(event):
                            yield delta
            for delta in chunks.close():
                yield delta
        except TimeoutError as error:
            raise wire.DeadlineExceeded(f"{self._host} sent nothing for {self._silence:g} seconds.") from error
        except _BROKEN as error:
            raise Disconnected(f"The connection to {self._host} failed: {error}") from error

    async def read(self, path: str) -> Any:
        """The JSON that the server gives at `path` (from its root). Raises ApiError."""
        try:
            async with self._open().get(self._root + path) as response:
                data = await response.read()
                if response.status >= 400:
                    raise failure(response.status, data, self._host)
                return msgspec.json.decode(data)
        except TimeoutError as error:
            raise wire.DeadlineExceeded(f"{self._host} sent nothing for {self._silence:g} seconds.") from error
        except (*_BROKEN, msgspec.DecodeError) as error:
            raise wire.Unavailable(f"The connection to {self._host} failed: {error}") from error

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, data: bytes) -> aiohttp.ClientResponse:
        try:
            return await self._open().post(self._completions, data=data)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A kept connection that the server had just given up; nothing was answered, so it may be asked anew.
            return await self._open().post(self._completions, data=data)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                # How many run at once is the engine's business, and the server's.
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=self._silence),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=True,
                read_bufsize=2**18,
            )
        return self._session


async def _events(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """The `data:` of each event. These servers write each on one line, so events need no further parsing.

    What follows `[DONE]` is read to its end, since the connection can be used again only then.
    """
    rest = b""
    async for piece in content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data = line[5:].strip()
                if data != b"[DONE]":
                    yield data
    if rest.startswith(b"data:") and (data := rest[5:].strip()) != b"[DONE]":
        yield data


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    try:
        return float(response.headers["retry-after"])
    except (KeyError, ValueError):
        return None
