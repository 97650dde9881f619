"""Gets pages of the web for users and models, who are trusted with nothing: the only way out for the URLs they name.

Every host is judged by `addresses.Guard` before it is connected to, after each redirect anew, and a socket goes to an
address that was judged or nowhere. What comes back is bounded as it streams: in size (as it is after decompression), in
time, in speed, in redirects and headers. Nothing is sent but GET, the URL and this program's name: no cookies, no keys,
no proxy of the environment. What is in a page is not looked at here, but for the mark of a paywall.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, cast

import aiohttp
from yarl import URL

from antiphon import __version__
from antiphon.addresses import Guard, LookUp, Pinned, look_up
from antiphon.ports import Fetched, FetchError

_REDIRECTS = 10
_LONGEST_URL = 8192
_HEADERS = {
    "user-agent": f"Antiphon/{__version__}",
    "accept": "text/html, application/xhtml+xml, application/pdf, text/*;q=0.9, */*;q=0.5",
    "accept-encoding": "gzip, deflate",
}
_PIECE = 1 << 16
# schema.org's mark of text that is only for those who paid, as search engines ask publishers to set it.
_PAID = re.compile(rb"[\"']isAccessibleForFree[\"']\s*:\s*[\"']?false", re.IGNORECASE)


class Fetcher:
    """`ports.Fetch` over HTTP. `allow` is as in `Guard`; `at_once` bounds what all users together fetch at one time.

    A host must answer, and go on answering, within `patience` seconds, and send at least `slowest` bytes a second after
    them. `look_up` gives the addresses of a name.
    """

    def __init__(
        self,
        allow: Iterable[str] = (),
        *,
        look_up: LookUp = look_up,
        at_once: int = 16,
        patience: float = 10.0,
        slowest: float = 1000.0,
    ) -> None:
        self._guard = Guard(allow, look_up=look_up)
        self._places = asyncio.Semaphore(at_once)
        self._patience = patience
        self._slowest = slowest

    async def __call__(self, url: str, *, largest: int = 34 * 10**6, seconds: float = 20.0) -> Fetched:
        """GET `url`: at most `largest` bytes, within `seconds` in all. Raises FetchError."""
        try:
            async with asyncio.timeout(seconds), self._places:
                return await self._walk(_checked(url), largest)
        except TimeoutError:
            raise FetchError("error", "The host did not answer in time.") from None
        except aiohttp.ClientConnectorCertificateError:
            raise FetchError("error", "The host cannot prove who it is: its certificate is not valid.") from None
        except aiohttp.ClientConnectorError:
            raise FetchError("error", "The host cannot be reached.") from None
        except (aiohttp.ClientResponseError, ValueError):
            raise FetchError("error", "The host's answer is not valid HTTP.") from None
        except (aiohttp.ClientError, OSError):
            raise FetchError("error", "The connection broke off.") from None

    async def _walk(self, url: URL, largest: int) -> Fetched:
        """From redirect to redirect, to a page."""
        seen: set[URL] = set()
        while len(seen) <= _REDIRECTS:
            if url in seen:
                raise FetchError("error", "The page redirects in a circle.")
            seen.add(url)
            addresses = await self._guard.resolve(url.raw_host or "", url.port or 0)
            async with self._session(addresses) as session, session.get(url, allow_redirects=False) as response:
                location = response.headers.get("location")
                if location is None or response.status not in (301, 302, 303, 307, 308):
                    return await self._page(url, response, largest)
                url = _checked(location, url)
        raise FetchError("error", f"The page redirects more than {_REDIRECTS} times.")

    def _session(self, addresses: tuple[str, ...]) -> aiohttp.ClientSession:
        """One that connects to these addresses only and is used for one request: nothing is carried to the next."""
        pinned = Pinned(addresses)
        connector = aiohttp.TCPConnector(
            resolver=cast(Any, pinned), socket_factory=pinned.socket, use_dns_cache=False, force_close=True
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # done here, where it is counted
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._patience, sock_read=self._patience),
        )

    async def _page(self, url: URL, response: aiohttp.ClientResponse, largest: int) -> Fetched:
        status = response.status
        if status == 402:
            raise FetchError("paywall", "The page is only for those who paid (HTTP 402).")
        if status in (401, 403, 407):
            raise FetchError("error", f"The host refuses to show the page (HTTP {status}).")
        if not 200 <= status < 300:
            raise FetchError("error", f"The host answers HTTP {status}.")
        if (response.content_length or 0) > largest:
            raise _too_large(largest)
        encoding = response.headers.get("content-encoding", "")
        body = bytearray()
        async for piece in _decoded(self._raw(response, largest), encoding):
            body += piece
            if len(body) > largest:
                raise _too_large(largest)
        mime_type = response.content_type.lower() if "content-type" in response.headers else "application/octet-stream"
        if "html" in mime_type and _PAID.search(body):
            raise FetchError("paywall", "The page says that it is only for those who paid.")
        return Fetched(url=str(url), mime_type=mime_type, body=bytes(body), charset=response.charset)

    async def _raw(self, response: aiohttp.ClientResponse, largest: int) -> AsyncIterator[bytes]:
        """The body as it was sent, as long as it comes fast enough; compressed it may be no larger than unpacked."""
        clock = asyncio.get_running_loop().time
        start, got = clock(), 0
        async for piece in response.content.iter_chunked(_PIECE):
            got += len(piece)
            elapsed = clock() - start
            if elapsed > self._patience and got < self._slowest * elapsed:
                raise FetchError("error", "The host sends the page too slowly.")
            if got > largest:
                raise _too_large(largest)
            yield piece


def _checked(text: str, base: URL | None = None) -> URL:
    """The URL that `text` is, seen from `base`, as it is fetched: only what is in it is looked at."""
    if len(text) > _LONGEST_URL:
        raise FetchError("error", "The URL is too long.")
    try:
        url = URL(text.strip())
        url = url if base is None else base.join(url)
        port = url.port
    except ValueError:
        raise FetchError("error", "That is not a URL.") from None
    if url.scheme not in ("http", "https"):
        raise FetchError("unsafe", "Only http and https are fetched.")
    if url.raw_user is not None or url.raw_password is not None:
        raise FetchError("unsafe", "A URL with a name and password in it is never fetched.")
    if not url.raw_host or not port:
        raise FetchError("error", "The URL names no host.")
    return url.with_fragment(None)


async def _decoded(pieces: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """A body without its content encoding, in pieces of bounded size: a bomb shows while it is small."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        async for piece in pieces:
            yield piece
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise FetchError("error", "The page is packed in a way that was not asked for.")
    unpack = _Unpack(gzip=encoding != "deflate")
    try:
        async for piece in pieces:
            for part in unpack.feed(piece):
                yield part
    except zlib.error:
        raise FetchError("error", "The page is packed in a way that cannot be unpacked.") from None
    if not unpack.whole:
        raise FetchError("error", "The page broke off before its end.")


class _Unpack:
    """gzip (several members one after the other) or deflate (with zlib's header, or as some servers do without)."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._stream: Any = zlib.decompressobj(31) if gzip else None
        self._begun = False

    @property
    def whole(self) -> bool:
        """Whether the stream is at its end, or never began."""
        return not self._begun or self._stream.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` adds, in pieces of 64 KiB at most."""
        full = False  # a full piece may leave output behind even when no input is left
        while data or full:
            if self._stream is None:
                # RFC 1950: the low half of the first byte is 8. A raw stream may only look so by chance, and rarely.
                self._stream = zlib.decompressobj(15 if data[0] & 15 == 8 else -15)
            elif self._stream.eof:
                if not self._gzip or not data.startswith(b"\x1f"):
                    return  # rubbish behind the end, which browsers overlook as well
                self._stream = zlib.decompressobj(31)
            self._begun = True
            piece = self._stream.decompress(data, _PIECE)
            yield piece
            full = len(piece) == _PIECE and not self._stream.eof
            data = self._stream.unconsumed_tail or self._stream.unused_data


def _too_large(largest: int) -> FetchError:
    return FetchError("error", f"The page is larger than {largest / 1e6:g} MB.")
