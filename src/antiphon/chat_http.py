"""Speaks the chat-completions dialect over HTTP: one body out, an answer's deltas back, whole or as it is written.

It knows a server's answers and nothing of turns: what a body says and what an answer means is in `chat.py` and
`chat_answer.py`. The connections are those of `http1.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from antiphon import wire
from antiphon.chat import Body
from antiphon.chat_answer import Chunks, failure
from antiphon.http1 import Answer, Failed, Origin, Silent
from antiphon.ports import Delta

_LONGEST_EVENT = 1 << 26  # bytes


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
        self._host = urlsplit(base).netloc.rpartition("@")[2] or base
        kept = {"content-type": "application/json", **(headers or {})}
        if api_key:
            kept["authorization"] = f"Bearer {api_key}"
        self._origin = Origin(base, kept, silence=silence)
        path = "chat/completions" if urlsplit(base).path else "v1/chat/completions"
        self._opening = self._origin.opening("POST", f"{base}/{path}")
        self._calls_as_text = calls_as_text

    async def ask(self, body: Body, names: Collection[str] = ()) -> AsyncGenerator[Delta, None]:
        """Send `body` and yield the answer; `names` are the functions on offer. Raises ApiError."""
        chunks = Chunks(names, calls_as_text=self._calls_as_text)
        data = msgspec.json.encode(body)
        try:
            with await self._origin.send(self._opening, data) as answer:
                if answer.status >= 300:
                    raise await self._refusal(answer)
                if not body.get("stream") or _type(answer) == b"application/json":
                    for delta in chunks.whole(await answer.read()):
                        yield delta
                    return
                events, piece = _Events(), b"at least one"
                while piece:
                    piece = await answer.piece()
                    for event in events.feed(piece or b"\n"):  # the last line may lack its end
                        for delta in chunks.feed(event):
                            yield delta
            for delta in chunks.close():
                yield delta
        except Failed as error:
            raise self._disconnected(error) from error

    async def completion(self, body: Body) -> bytes:
        """Send `body`, which asks for no stream, and give the whole answer as it came. Raises ApiError."""
        try:
            with await self._origin.send(self._opening, msgspec.json.encode(body)) as answer:
                if answer.status >= 300:
                    raise await self._refusal(answer)
                return await answer.read()
        except Failed as error:
            raise self._disconnected(error) from error

    async def read(self, path: str) -> Any:
        """The JSON that the server gives at `path` (from its root). Raises ApiError."""
        try:
            with await self._origin.send(self._origin.opening("GET", self._root + path)) as answer:
                if answer.status >= 300:
                    raise await self._refusal(answer)
                return msgspec.json.decode(await answer.read())
        except Failed as error:
            raise self._disconnected(error) from error
        except msgspec.DecodeError as error:
            raise wire.Unavailable(f"The connection to {self._host} failed: {error}") from error

    async def aclose(self) -> None:
        """Close the connections."""
        self._origin.close()

    async def _refusal(self, answer: Answer) -> wire.ApiError:
        """Our error for an answer that is none."""
        if answer.status < 400:
            place = answer.headers.get(b"location", b"elsewhere").decode(errors="replace")
            return wire.Unavailable(f"{self._host} points to {place} (HTTP {answer.status}), which is not followed.")
        return failure(answer.status, await answer.read(), self._host, retry_after=_retry_after(answer))

    def _disconnected(self, error: Failed) -> wire.ApiError:
        if isinstance(error, Silent):
            return wire.DeadlineExceeded(f"{self._host} {error}.")
        return Disconnected(f"The connection to {self._host} failed: {error}")


class _Events:
    """The `data:` of each event. These servers write each on one line, so events need no further parsing."""

    __slots__ = ("_length", "_rest")

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # of a line whose end has not come
        self._length = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The events that end in `piece`, without `[DONE]`. Raises Failed for one that does not end."""
        self._rest.append(piece)
        self._length += len(piece)
        if b"\n" not in piece:
            if self._length > _LONGEST_EVENT:
                raise Failed(f"an event of more than {_LONGEST_EVENT} bytes")
            return []
        *lines, rest = b"".join(self._rest).split(b"\n")
        self._rest, self._length = [rest], len(rest)
        found = [line[5:].strip() for line in lines if line.startswith(b"data:")]
        return [data for data in found if data != b"[DONE]"]


def _type(answer: Answer) -> bytes:
    """The media type, without its parameters."""
    return answer.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


def _retry_after(answer: Answer) -> float | None:
    try:
        return float(answer.headers[b"retry-after"])
    except (KeyError, ValueError):
        return None
