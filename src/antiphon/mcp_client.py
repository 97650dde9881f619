"""A connection to one MCP server over streamable HTTP. Servers belong to somebody else: time, size and place are bounded.

This module is loaded only where the tool is configured. The SDK takes almost two seconds to import, so that is done in
a thread when the first connection is made; what it says about a server is told in words here, and not logged.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from antiphon.ports import FetchError

try:
    import httpcore2
    import httpx2
except ImportError as error:
    raise ImportError("The tool 'mcp_server' needs the MCP SDK: pip install 'antiphon[mcp]'") from error

if TYPE_CHECKING:
    from mcp.client import Client

# Bytes of one answer to a call, and of one page of a listing: the SDK reads JSON on the event loop, and everybody waits.
LARGEST, LARGEST_LISTING = 5 * 2**20, 2 * 2**20
_MOST_PAGES = 50  # of a listing
_MOST_RESUMPTIONS = 50  # of broken streams, in one connection: a server may ask to come back at once, for ever
_WORDS = 300  # characters of a server's own error message

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
T = TypeVar("T")


class McpFault(Exception):
    """Why a server could not be used, in words for the model: they say nothing of headers or of the URL's query."""


class Times(msgspec.Struct, frozen=True):
    """How long a server may take, in seconds: to accept a connection, to connect and list its tools, to do one call."""

    connect: float = 5.0
    listing: float = 10.0
    call: float = 60.0


class McpTool(msgspec.Struct, frozen=True):
    """A tool as its server describes it; nothing of it is checked yet."""

    name: str
    description: str
    schema: dict[str, Any]


def _load() -> ssl.SSLContext:
    """Import the SDK. It logs each malformed message with its content, and httpx2 every URL: neither is for our log."""
    import mcp.client  # noqa: F401

    for name in ("mcp", "client"):  # the second is its session's own name for itself
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    return _tls()


@cache
def _tls() -> ssl.SSLContext:
    """What certificates are held against; SSL_CERT_FILE may name an organisation's own. Takes 30 ms to make."""
    return httpx2.create_ssl_context()


# ---------------------------------------------------------------------------------------------------- the way out


class _Network(httpcore2.AsyncNetworkBackend):
    """Connects to the addresses that were checked, and to no others: a name is looked up once for each connection."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the signature is httpcore2's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        async with asyncio.timeout(timeout):
            addresses = await self._resolve(host, port)
        last: Exception = httpcore2.ConnectError("no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                last = error
        raise last


class _Body(httpx2.AsyncByteStream):
    """An answer's bytes, up to the limit."""

    def __init__(self, stream: AsyncIterable[bytes], transport: _Transport) -> None:
        self._stream = stream
        self._transport = transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for part in self._stream:
                size += len(part)
                if size > self._transport.largest:
                    self._transport.trouble = f"its answer is larger than {self._transport.largest // 2**20} MB"
                    raise httpx2.StreamError(self._transport.trouble)
                yield part
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
            self._transport.trouble = "it broke off its answer"
            raise httpx2.ReadError(self._transport.trouble) from error

    async def aclose(self) -> None:
        if (close := getattr(self._stream, "aclose", None)) is not None:
            await close()


class _Transport(httpx2.AsyncBaseTransport):
    """HTTP to checked addresses.

    `trouble` says what went wrong with the last request, '' for nothing. `lost` is set for good where the server is gone
    or has forgotten the connection: the SDK ends it then, but not at once.
    """

    def __init__(self, resolve: Resolve, context: ssl.SSLContext) -> None:
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=context, network_backend=_Network(resolve))
        self._resumptions = 0
        self.largest = LARGEST_LISTING
        self.trouble = ""
        self.lost = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" and not self._resumes(request):
            return httpx2.Response(405)
        if request.method == "POST":
            self.trouble = ""
        try:
            answer = await self._pool.handle_async_request(_plain(request))
        except FetchError as error:
            said = str(error).rstrip(".")
            raise self._gone(said[:1].lower() + said[1:]) from error
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout, TimeoutError) as error:
            raise self._gone("it could not be reached") from error
        except httpcore2.TimeoutException as error:
            raise self._gone("it gave no answer in time") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise self._gone("the connection broke") from error
        return self._bounded(request.headers, answer)

    def _gone(self, trouble: str) -> httpx2.TransportError:
        self.trouble, self.lost = trouble, True
        return httpx2.TransportError(trouble)

    def _resumes(self, request: httpx2.Request) -> bool:
        """Whether a GET goes on with a stream that broke. The other kind waits for what a server says unasked, which
        nobody here listens to."""
        self._resumptions += "last-event-id" in request.headers
        return "last-event-id" in request.headers and self._resumptions <= _MOST_RESUMPTIONS

    def _bounded(self, sent: httpx2.Headers, answer: httpcore2.Response) -> httpx2.Response:
        headers = httpx2.Headers(answer.headers)
        if answer.status >= 400:
            hint = ": it wants other 'headers' in its declaration" if answer.status in (401, 403) else ""
            self.trouble = f"it answered with HTTP status {answer.status}{hint}"
            self.lost |= answer.status == 404 and "mcp-session-id" in sent
        if headers.get("content-encoding", "identity").lower() != "identity":
            # It was asked for plain bytes: a few of these could be gigabytes when unpacked.
            raise self._gone("it sent a compressed answer")
        assert isinstance(answer.stream, AsyncIterable)
        body = _Body(answer.stream, self)
        return httpx2.Response(answer.status, headers=headers, stream=body, extensions=answer.extensions)

    async def aclose(self) -> None:
        await self._pool.aclose()


def _plain(request: httpx2.Request) -> httpcore2.Request:
    url = request.url
    assert isinstance(request.stream, httpx2.AsyncByteStream)
    return httpcore2.Request(
        method=request.method,
        url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


# ---------------------------------------------------------------------------------------------------- the connection


class Link:
    """One connection to one server, which a task of its own holds: the SDK's scopes must end in the task they began in.

    Calls may run at the same time. What goes wrong is raised as `McpFault`.
    """

    def __init__(self, url: str, headers: Mapping[str, str], resolve: Resolve, times: Times) -> None:
        self._url = url
        self._headers = {**headers, "accept-encoding": "identity"}
        self._resolve = resolve
        self._times = times
        self._transport: _Transport
        self._stop = asyncio.Event()
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._holder: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing can be asked of it any more."""
        return self._holder is None or self._holder.done() or self._transport.lost

    async def open(self) -> list[McpTool]:
        """Connect; the tools of all pages of the server's listing."""
        self._transport = _Transport(self._resolve, await asyncio.to_thread(_load))
        self._holder = asyncio.create_task(self._hold())
        listed: list[McpTool] | None = None
        try:
            listed = await self._done(self._list(), self._times.listing)
        finally:
            if listed is None:
                await self.aclose()
        self._transport.largest = LARGEST
        return listed

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool; the result as the protocol writes it: `content`, `structuredContent`, `isError`."""
        return await self._done(self._call(name, arguments), self._times.call)

    async def aclose(self) -> None:
        """Say goodbye, if the server listens."""
        self._stop.set()
        self._client.cancel()
        if self._holder is None:
            return
        for patience in (2.0, 1.0):
            await asyncio.wait({self._holder}, timeout=patience)
            if self._holder.done():
                _look(self._holder)
                return
            self._holder.cancel()

    async def _hold(self) -> None:
        from mcp.client import Client
        from mcp.client.streamable_http import streamable_http_client

        times = httpx2.Timeout(self._times.call, connect=self._times.connect)
        async with httpx2.AsyncClient(
            transport=self._transport, headers=self._headers, timeout=times, trust_env=False
        ) as http:
            streams = streamable_http_client(self._url, http_client=http, max_sse_event_size=LARGEST)
            async with Client(streams, cache=None) as client:
                if not self._client.done():
                    self._client.set_result(client)
                await self._stop.wait()

    async def _list(self) -> list[McpTool]:
        client = await asyncio.shield(self._client)
        found: list[McpTool] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            found += [McpTool(tool.name, tool.description or "", tool.input_schema) for tool in page.tools]
            cursor = page.next_cursor
            if not cursor:
                break
        return found

    async def _call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        from mcp import types

        client = await asyncio.shield(self._client)
        # Not `client.call_tool`, which holds the result against the server's own schema with a validator that knows
        # regular expressions: one of those can stop this whole process.
        params = types.CallToolRequestParams(name=name, arguments=arguments)
        result = await client.session.send_request(types.CallToolRequest(params=params), types.CallToolResult)
        return result.model_dump(by_alias=True, mode="json", exclude_none=True)

    async def _done(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """The result of `work`, if it comes in time and before the connection ends."""
        assert self._holder is not None
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task, self._holder}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                ended = self._transport.trouble or "the connection ended"
                raise McpFault(ended if self._holder.done() else f"it gave no answer within {seconds:g} s")
            if (error := _look(task)) is not None:
                raise McpFault(self._words(error)) from error
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=1.0)
                if task.done():
                    _look(task)

    def _words(self, error: BaseException) -> str:
        from mcp.shared.exceptions import MCPError

        if self._transport.trouble:
            return self._transport.trouble
        if isinstance(error, MCPError):
            return f"it answered with an error: {error.message[:_WORDS]}"
        return "its answer is not what the protocol prescribes"


def _look(task: asyncio.Task[Any]) -> BaseException | None:
    """What a task that is done failed with: looked at, it is not reported as never looked at."""
    return asyncio.CancelledError() if task.cancelled() else task.exception()
