"""HTTP/1.1 towards a server that the operator has named: kept connections, answers whole or piece by piece.

A general client takes several times as long. A model is asked by one request to one host with headers that never change:
those are bytes from the start, a request is one write, an answer is parsed in C as it arrives, and one timer watches all
connections. Redirects are not followed; there are no cookies, no proxies, and no compression.

When a request is sent twice: a server may give up a kept connection while a request is on its way to it. Mostly that is
noticed before, and the connection is not used. Else it looks like this: the connection was used before, and it ends
without a byte of an answer, within `_CROSSING` of the write. Then, and only then, the request is sent once more, on a new
connection. A server that took it and fell over that soon looks the same, so this is for requests that change nothing but
the server's load, as generating does. What breaks later, or on a new connection, is the caller's to know.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Mapping
from socket import SOCK_STREAM
from ssl import SSLContext, create_default_context
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from yarl import URL

from antiphon import __version__

_CONNECT = 10.0  # seconds, for the name, the connection and its TLS
_CROSSING = 1.0  # seconds: many times what a packet needs, and no generation that would be lost is longer
_LARGEST_HEAD = 1 << 16  # bytes that belong to no body: headers, trailers, interim answers
_LARGEST_BODY = 1 << 27  # bytes of an answer that is read whole
_AHEAD = 1 << 18  # bytes that are held of an answer read in pieces before its server must wait
_MOST_FREE = 512  # connections
_LINE = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+: [^\r\n\0]*\r\n")


class Failed(Exception):
    """No connection could be made, it ended before the answer did, or what came is no such answer."""


class Silent(Failed):
    """The server was waited for in vain. The message is what comes after its name."""


class _Crossed(Failed):
    """The connection was being given up when the request was sent."""


class Origin:
    """The server that `url` begins with, and the connections to it.

    `headers` go with every request. While it is waited for, the server may be silent for `silence` seconds; a connection
    that is not used is kept for `idle` seconds. `tls` is how a https server is checked. Raises ValueError.
    """

    __slots__ = ("_headers", "_host", "_port", "_timer", "_tls", "free", "idle", "open", "silence")

    def __init__(
        self, url: str, headers: Mapping[str, str], *, silence: float, idle: float = 15, tls: SSLContext | None = None
    ) -> None:
        at = URL(url)
        if at.scheme not in ("http", "https") or not at.raw_host or at.port is None:
            raise ValueError("the URL of an HTTP server begins with http:// or https:// and a host")
        self._host, self._port = at.raw_host, at.port
        self._tls = (tls or create_default_context()) if at.scheme == "https" else None
        self._headers = _lines(at, headers)
        self.idle, self.silence = idle, silence
        self._timer: asyncio.TimerHandle | None = None
        self.open: set[_Connection] = set()
        self.free: dict[_Connection, None] = {}  # in the order in which they became so

    def opening(self, method: str, url: str) -> bytes:
        """What each request of `method` to `url`, which is on this server, begins with; for `send`."""
        return f"{method} {URL(url).raw_path_qs} HTTP/1.1\r\n".encode("ascii") + self._headers

    async def send(self, opening: bytes, body: bytes | None = None) -> Answer:
        """Send a request; its answer, once its headers are there. Close it, as `with` does. Raises Failed, Silent."""
        head = opening + (b"\r\n" if body is None else b"content-length: %d\r\n\r\n" % len(body))
        if self.free:
            try:
                return await self.free.popitem()[0].exchange(head, body)
            except _Crossed:
                pass
        return await (await self._connect()).exchange(head, body)

    def close(self) -> None:
        """End all connections; answers that are awaited fail."""
        for connection in list(self.open):
            connection.end()
        self.look()

    def look(self) -> None:
        """End what is overdue, and look again in a while, as long as there are connections."""
        for connection in [one for one in self.open if one.overdue()]:
            connection.end(Silent(f"sent nothing for {self.silence:g} seconds"))
        if self._timer is not None:
            self._timer.cancel()
        between, loop = min(1.0, self.idle / 4, self.silence / 4), asyncio.get_running_loop()
        self._timer = loop.call_later(between, self.look) if self.open else None

    async def _connect(self) -> _Connection:
        """A connection to the first of the host's addresses that takes one; they share the time."""
        loop = asyncio.get_running_loop()
        name = self._host if self._tls else None
        why: Exception = OSError(f"{self._host} has no address")
        try:
            async with asyncio.timeout(_CONNECT):
                found = await loop.getaddrinfo(self._host, self._port, type=SOCK_STREAM)
                for *_, (host, *_) in found:
                    try:
                        async with asyncio.timeout(_CONNECT / len(found)):
                            _, connection = await loop.create_connection(
                                lambda: _Connection(self), str(host), self._port, ssl=self._tls, server_hostname=name
                            )
                            return connection
                    except OSError as error:
                        why = error
        except (OSError, UnicodeError) as error:
            why = error
        if isinstance(why, TimeoutError):
            raise Silent(f"could not be reached within {_CONNECT:g} seconds") from why
        raise Failed(str(why)) from why


class _Connection(asyncio.Protocol):
    """One connection. What comes goes to the answer that is being read."""

    __slots__ = ("answer", "clock", "lost", "origin", "reused", "since", "transport")
    transport: asyncio.Transport

    def __init__(self, origin: Origin) -> None:
        self.origin, self.clock = origin, asyncio.get_running_loop().time
        self.answer: Answer | None = None
        self.since = self.clock()  # when something last happened on it
        self.reused = self.lost = False

    async def exchange(self, head: bytes, body: bytes | None) -> Answer:
        """Send a request, and wait for the headers of its answer."""
        if self.lost:
            raise Failed("it was closed as soon as it was there")
        self.answer = answer = Answer(self)
        self.since = self.clock()
        self.transport.writelines((head, body) if body else (head,))
        try:
            while not answer.status:
                await answer.more()
        except (Failed, asyncio.CancelledError, GeneratorExit):
            answer.close()
            raise
        return answer

    def free(self) -> None:
        """Its answer has been read: it may be used again, unless it is gone."""
        self.answer, self.reused, self.since = None, True, self.clock()
        if not self.lost:
            self.origin.free[self] = None
            if len(self.origin.free) > _MOST_FREE:
                next(iter(self.origin.free)).end()

    def overdue(self) -> bool:
        """Whether it has been free, or the server silent, for too long."""
        limit = self.origin.idle if self.answer is None else self.origin.silence
        awaited = self.answer is None or self.answer.waiter is not None  # else it is the reader who takes so long
        return awaited and self.clock() - self.since >= limit

    def end(self, why: Failed | None = None) -> None:
        """Close it at once, so that the server stops working for it; an answer that is not complete fails."""
        if not self._forgotten():
            self.transport.abort()
        if self.answer is not None:
            self.answer.fail(why or Failed("it was closed here"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.origin.open.add(self)
        self.origin.look()

    def data_received(self, data: bytes) -> None:
        if self.answer is None:
            self.end()  # nobody has asked for anything
        else:
            self.since = self.clock()
            self.answer.feed(data)

    def eof_received(self) -> None:  # the transport then closes itself
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._forgotten() and self.answer is not None:
            self.answer.cut_off(exc, crossed=self.reused and self.clock() - self.since < _CROSSING)

    def _forgotten(self) -> bool:
        """Let it not be used any more; whether it was so before."""
        before, self.lost = self.lost, True
        self.origin.open.discard(self)
        self.origin.free.pop(self, None)
        return before


class Answer:
    """One answer: status, headers (names in small letters), and the body by `read` or by `piece`.

    If it is closed before its end, the connection is, too.
    """

    __slots__ = (
        "_closed", "_connection", "_done", "_dry", "_error", "_held", "_keep", "_parser", "_paused", "_pieces", "_whole",
        "headers", "status", "waiter",
    )  # fmt: skip

    def __init__(self, connection: _Connection) -> None:
        self.status = 0  # until the headers are there
        self.headers: dict[bytes, bytes] = {}
        self.waiter: asyncio.Future[None] | None = None
        self._connection = connection
        self._parser = HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._held = 0  # bytes in these
        self._dry = 0  # bytes that came since the last of a body
        self._done = self._keep = self._whole = self._paused = self._closed = False
        self._error: Failed | None = None

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back, or end it where the answer is not complete."""
        if self._closed:
            return
        self._closed, connection = True, self._connection
        del self._parser  # the two refer to each other
        # A server may answer before it has taken all of a request; the rest would then be in front of the next.
        if not self._keep or self._paused or connection.transport.get_write_buffer_size():
            connection.end()
        connection.free()

    async def read(self) -> bytes:
        """The whole body. Raises Failed, Silent."""
        self._whole = True
        self._bound()
        while not self._done:
            await self.more()
        return b"".join(self._pieces)

    async def piece(self) -> bytes:
        """What has come since the last piece, or will come next; nothing at the end. Raises Failed, Silent."""
        while not self._pieces:
            if self._done:
                return b""
            await self.more()
        data = b"".join(self._pieces)
        self._pieces, self._held = [], 0
        self._bound()
        return data

    async def more(self) -> None:
        """Wait until something has come. Raises Failed, Silent."""
        if self._error is not None:
            raise self._error
        self.waiter = asyncio.get_running_loop().create_future()
        self._connection.since = self._connection.clock()
        try:
            await self.waiter
        finally:
            self.waiter = None

    def feed(self, data: bytes) -> None:
        """Take in what the connection received."""
        if self._closed or self._error is not None:
            return
        self._dry += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._connection.end(Failed(f"what it sent is not HTTP: {error}"))
        self._bound()
        if self._done or (self.status and not self._whole):
            self._wake()

    def cut_off(self, error: Exception | None, *, crossed: bool) -> None:
        """The connection is gone. `crossed`: perhaps it was so before the request came."""
        framed = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        if error is None and self.status and not framed:
            self._done = True
            self._wake()
        else:
            begun = self.status or self._dry or not crossed
            self.fail(Failed(str(error or "") or "it ended before the answer did") if begun else _Crossed())

    def fail(self, why: Failed) -> None:
        """Nothing more will come; a complete answer stays one."""
        if not self._done and self._error is None:
            self._error = why
            self._wake()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def _bound(self) -> None:
        """Hold what has come within its bounds."""
        connection, full = self._connection, self._held > _AHEAD and not (self._whole or self._done)
        if self._dry > _LARGEST_HEAD or self._held > _LARGEST_BODY:
            connection.end(Failed("its answer, or the head of it, is too large"))
        elif full is not self._paused and not connection.lost:
            self._paused = full
            (connection.transport.pause_reading if full else connection.transport.resume_reading)()

    # The parser calls what follows.
    def on_message_begin(self) -> None:
        if self._done:
            raise Failed("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # else it is a trailer
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self.status, self._dry = status, 0

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)
        self._held += len(data)
        self._dry = 0

    def on_message_complete(self) -> None:
        if self.status:
            self._done, self._keep = True, self._parser.should_keep_alive()
        else:  # an interim answer: the real one is still to come
            self.headers.clear()


def _lines(at: URL, given: Mapping[str, str]) -> bytes:
    """The headers of every request to `at`, as they are sent."""
    host, agent = at.host_port_subcomponent or "", f"Antiphon/{__version__}"
    lines = {"host": host, "user-agent": agent, "accept-encoding": "identity"}
    if at.user is not None:
        lines["authorization"] = "Basic " + b64encode(f"{at.user}:{at.password or ''}".encode()).decode()
    lines |= {name.lower(): value for name, value in given.items()}
    for name, value in lines.items():
        lines[name] = line = f"{name}: {value}\r\n"
        if not _LINE.fullmatch(line) or name in ("content-length", "transfer-encoding"):
            raise ValueError(f"the header {name!r} cannot be sent")
    return "".join(lines.values()).encode()
