"""Bodies of several parts (RFC 2046), read as they come: no part is ever whole in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from email.message import Message

import msgspec

from antiphon import wire

_LONGEST_HEADER = 16 * 1024


class Part(msgspec.Struct):
    """One part: its media type, its file name where it has one, and its bytes."""

    mime_type: str | None
    file_name: str | None
    data: AsyncIterator[bytes]


async def parts(content_type: str, body: AsyncIterator[bytes]) -> AsyncIterator[Part]:
    """The parts of a body. Each must be read before the next is asked for. Raises InvalidRequest."""
    kind = _header("content-type", content_type)
    boundary = _said(kind.get_boundary)
    if not content_type.lower().startswith("multipart/") or not boundary or len(boundary) > 70:
        raise wire.InvalidRequest("The Content-Type of a multipart upload is 'multipart/related; boundary=…'.")
    reading = _Reading(body, f"--{boundary}".encode("latin-1", "replace"))
    await reading.skip_to_first()
    while not await reading.at_end():
        headers = await reading.headers()
        yield Part(
            headers.get_content_type() if "content-type" in headers else None,
            _said(headers.get_filename),
            reading.data(),
        )


async def whole(part: Part, most: int) -> bytes:
    """All bytes of a part that has at most `most`. Raises InvalidRequest."""
    found = b""
    async for data in part.data:
        found += data
        if len(found) > most:
            raise wire.InvalidRequest(f"The first part of the upload is larger than {most} bytes.")
    return found


def _said(get: Callable[[], str | None]) -> str | None:
    """A parameter of a header. Its sender may name any of Python's codecs; some raise, and some give half characters."""
    try:
        found = get()
    except (ValueError, LookupError):
        return None
    return found.encode("utf-8", "replace").decode() if found else found


def _header(name: str, value: str) -> Message:
    message = Message()
    message[name] = re.sub(r"[\r\n]+", " ", value)
    return message


class _Reading:
    """A body with what has been read of it and is not used yet."""

    def __init__(self, body: AsyncIterator[bytes], delimiter: bytes) -> None:
        self._body = body
        self._delimiter = delimiter
        self._buffer = b""

    async def _more(self) -> None:
        try:
            self._buffer += await anext(self._body)
        except StopAsyncIteration:
            raise wire.InvalidRequest("The multipart body ends before its last boundary.") from None

    async def _until(self, mark: bytes) -> bytes:
        while (place := self._buffer.find(mark)) < 0:
            if len(self._buffer) > _LONGEST_HEADER:
                raise wire.InvalidRequest("The multipart body has no boundary where one should be.")
            await self._more()
        found, self._buffer = self._buffer[:place], self._buffer[place + len(mark) :]
        return found

    async def skip_to_first(self) -> None:
        await self._until(self._delimiter)

    async def at_end(self) -> bool:
        """Behind a delimiter: whether it was the last. What is left of its line is passed over."""
        while len(self._buffer) < 2:
            await self._more()
        if self._buffer.startswith(b"--"):
            return True
        await self._until(b"\r\n")
        return False

    async def headers(self) -> Message:
        message = Message()
        left = _LONGEST_HEADER
        while line := await self._until(b"\r\n"):
            left -= len(line)
            if left < 0:
                raise wire.InvalidRequest("A part of the multipart body has too many headers.")
            name, colon, value = line.decode("utf-8", "replace").partition(":")
            if not colon:
                raise wire.InvalidRequest("A part of the multipart body has a header that is none.")
            message[name.strip()] = value.strip()
        return message

    async def data(self) -> AsyncIterator[bytes]:
        """Bytes up to the next delimiter, which is passed over."""
        mark = b"\r\n" + self._delimiter
        while (place := self._buffer.find(mark)) < 0:
            ready = len(self._buffer) - len(mark)  # the rest may be the beginning of a delimiter
            if ready > 0:
                data, self._buffer = self._buffer[:ready], self._buffer[ready:]
                yield data
            await self._more()
        data, self._buffer = self._buffer[:place], self._buffer[place + len(mark) :]
        if data:
            yield data
