"""Asks a service that the operator configured for one JSON document: with a limit on its time and on its size.

Not for addresses that users or models name: those go through `fetch.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec

from antiphon import __version__

T = TypeVar("T")
SECONDS = 10.0
LARGEST = 4 * 2**20
AGENT = f"Antiphon/{__version__}"
_REASONS = {
    401: "the key is missing or wrong",
    402: "the account has no more credit",
    403: "it is forbidden: the key or the settings of the service do not allow it",
    404: "there is nothing at that address",
    429: "too many requests",
}


class ServiceFault(Exception):
    """Why a service gave no answer, in words without its address's query, where keys may stand."""


class JsonService:
    """One service. `name` is what errors call it, `headers` go with every request; errors are ServiceFault."""

    def __init__(self, name: str, headers: Mapping[str, str] | None = None) -> None:
        self._name = name
        self._headers = {"user-agent": AGENT, "accept": "application/json", **(headers or {})}
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        kind: type[T],
        url: str,
        parameters: Mapping[str, str] | None = None,
        *,
        body: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> T:
        """GET, or POST of a JSON `body` or a `form`; the answer as `kind`."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=SECONDS)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        method = "GET" if body is None and form is None else "POST"
        try:
            # A redirect is not followed: it would take the key along.
            async with self._session.request(
                method, url, params=parameters, json=body, data=form, allow_redirects=False
            ) as response:
                if response.status >= 300:
                    reason = _REASONS.get(response.status, "a redirect" if response.status < 400 else "an error")
                    raise ServiceFault(f"{self._name} answered {response.status}: {reason}.")
                raw = await self._whole(response)
        except TimeoutError:
            raise ServiceFault(f"{self._name} did not answer within {SECONDS:g} seconds.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ServiceFault(f"{self._name} cannot be reached: {error.__class__.__name__}.") from None
        try:
            return msgspec.json.decode(raw, type=kind, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ServiceFault(f"{self._name} answered with something that is not its JSON.") from None

    async def _whole(self, response: aiohttp.ClientResponse) -> bytes:
        raw = bytearray()
        async for piece in response.content.iter_chunked(1 << 16):
            raw += piece
            if len(raw) > LARGEST:
                raise ServiceFault(f"{self._name} answered with more than {LARGEST >> 20} MB.")
        return bytes(raw)

    async def aclose(self) -> None:
        """Close its connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
