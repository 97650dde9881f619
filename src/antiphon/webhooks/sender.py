"""Posts one body to one address that a user named: guarded as in `fetch.py`, and bounded in time and size."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import msgspec
from yarl import URL

from antiphon import __version__, wire
from antiphon.addresses import Pinned
from antiphon.ports import FetchError

_LONGEST = 2048  # characters of an address
_PATIENCE = 2.0  # seconds for a name's addresses, where they are only looked at to say early what will not do
_READ = 1 << 14  # bytes of an answer's body that are read, so that its sender is not cut off; nobody looks at them
_AGENT = f"Antiphon/{__version__}"

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Outcome(msgspec.Struct, frozen=True):
    """What came of it: the HTTP status, or None and why there is none."""

    status: int | None
    why: str = ""

    @property
    def ok(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300

    def __str__(self) -> str:
        return self.why or f"HTTP {self.status}"


class Sender:
    """`resolve` is that of a Guard: the addresses that may be connected to."""

    def __init__(self, resolve: Resolve, *, seconds: float) -> None:
        self._resolve = resolve
        self._seconds = seconds

    async def check(self, uri: str, path: str) -> None:
        """Refuse what can never be delivered to. Raises InvalidRequest, with the place of the fault."""
        try:
            url = _url(uri)
        except ValueError as error:
            raise wire.InvalidRequest(f"{error} at '{path}'.") from None
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._resolve(url.raw_host or "", url.port or 0)
        except FetchError as error:
            if error.status == "unsafe":
                raise wire.InvalidRequest(f"{str(error).rstrip('.')}, at '{path}'. See --reachable.") from None
        except TimeoutError:
            pass  # a name may have its address by the time something is delivered

    async def post(self, uri: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send it once. Redirects are answers like others: who may not be reached could be behind them."""
        import aiohttp  # here and below: it takes longer to load than the rest of the server, which begins without it

        answered: list[int] = []
        why = ""
        try:
            async with asyncio.timeout(self._seconds):
                url = _url(uri)
                addresses = await self._resolve(url.raw_host or "", url.port or 0)
                await self._send(url, addresses, headers, body, answered)
        except TimeoutError:
            why = f"no answer within {self._seconds:g} s"
        except FetchError as error:
            why = str(error)
        except aiohttp.ClientConnectorCertificateError:
            why = "the host's certificate is not valid"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = f"the connection failed ({type(error).__name__})"
        return Outcome(answered[0]) if answered else Outcome(None, why)

    async def _send(
        self, url: URL, addresses: Sequence[str], headers: Mapping[str, str], body: bytes, answered: list[int]
    ) -> None:
        import aiohttp

        pinned = Pinned(tuple(addresses))
        connector = aiohttp.TCPConnector(
            resolver=cast(Any, pinned), socket_factory=pinned.socket, use_dns_cache=False, force_close=True
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                headers={"user-agent": _AGENT, "content-type": "application/json", **headers},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            ) as session,
            session.post(url, data=body, allow_redirects=False) as response,
        ):
            answered.append(response.status)  # whatever becomes of the rest of the answer
            await response.content.read(_READ)


def _url(uri: str) -> URL:
    """Raises ValueError."""
    if len(uri) > _LONGEST:
        raise ValueError(f"A URI of more than {_LONGEST} characters is not supported")
    try:
        url = URL(uri)
        url.port  # noqa: B018 - is read only here
    except ValueError:
        raise ValueError(f"{uri!r} is not a URI") from None
    if url.scheme not in ("http", "https") or not url.raw_host or not url.port:
        raise ValueError(f"{uri!r} is not a URI that begins with https:// or http://, and a host")
    if url.raw_user is not None or url.raw_password is not None:
        raise ValueError("A URI with a name and password in it is not supported")
    if url.raw_fragment:
        raise ValueError("A URI with a fragment is not supported")
    return url
