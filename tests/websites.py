"""Little web sites on this machine that answer exactly what a test says, byte for byte, and remember what was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes | str = b"", status: str = "200 OK", mime_type: str = "text/html", **headers: str) -> bytes:
    """A whole HTTP answer; `content_encoding="gzip"` becomes a header."""
    body = body.encode() if isinstance(body, str) else body
    fields = {"content-type": mime_type, "content-length": str(len(body)), "connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(to: str, status: str = "302 Found", **headers: str) -> bytes:
    return answer("", status, location=to, **headers)


class Website:
    """A running site: where it is, and the heads of the requests it got."""

    def __init__(self, pages: Mapping[str, bytes | Handler]) -> None:
        self.pages = dict(pages)
        self.heads: list[str] = []
        self.asked = asyncio.Event()
        self.port = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def allow(self) -> tuple[str, ...]:
        """What makes it reachable."""
        return (f"127.0.0.1:{self.port}",)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            self.asked.set()
            page = self.pages.get(head.split()[1], answer("no such page", "404 Not Found"))
            if isinstance(page, bytes):
                writer.write(page)
                await writer.drain()
            else:
                await page(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has seen enough
        finally:
            writer.close()


@asynccontextmanager
async def website(pages: Mapping[str, bytes | Handler], tls: ssl.SSLContext | None = None) -> AsyncIterator[Website]:
    """A site of pages by path: answers, or functions that write one."""
    site = Website(pages)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()


def endless(piece: bytes, head: bytes = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n") -> Handler:
    """Sends `piece` until the client leaves."""

    async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return write


def dribbling(head: bytes, pause: float = 0.01) -> Handler:
    """Sends `head` and then a byte at a time, for as long as the client stays."""

    async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        gone = asyncio.ensure_future(reader.read())
        while not (await asyncio.wait((gone,), timeout=pause))[0]:
            writer.write(b"x")

    return write


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says nothing until the client leaves."""
    await reader.read()
