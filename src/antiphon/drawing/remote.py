"""An image server of the operator's: any OpenAI-compatible one, stable-diffusion.cpp's server among them.

`POST {url}/images/generations` with JSON, and `POST {url}/images/edits` as a form where there are pictures to work from.
Asked for are `b64_json` and a size in pixels; what comes back is made over where its type or size is another one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from antiphon import __version__, wire
from antiphon.drawing.sizes import nearest, wanted
from antiphon.drawing.studio import Studio
from antiphon.drawing.svg import Unusable
from antiphon.media.headers import header_of

_LARGEST = 64 * 2**20  # bytes of an answer
_MOST_PICTURES = 10
_LONGEST_PROMPT = 30_000  # characters


class _Picture(msgspec.Struct):
    b64_json: str | None = None
    url: str | None = None


class _Drawn(msgspec.Struct):
    data: list[_Picture] = []


class RemoteDraw:
    """The server at `url` (with or without `/v1`), asked for `model` where it has several.

    `sizes` are those it can draw, such as `1024x1024`; the nearest one is asked for and made over. Without any, it is
    asked for the very size that is wanted. `edits` says whether it can work from pictures. `options` go into every
    request (`steps`, `quality`), `seconds` is how long a picture may take.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        model: str | None = None,
        *,
        sizes: Sequence[str] = (),
        edits: bool = True,
        options: Mapping[str, Any] | None = None,
        seconds: float = 600.0,
    ) -> None:
        base = url.rstrip("/")
        self._url = base if urlsplit(base).path else f"{base}/v1"
        self._host = urlsplit(base).netloc.rpartition("@")[2] or base
        self._headers = {"user-agent": f"Antiphon/{__version__}", "accept": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._fields: dict[str, Any] = {**({"model": model} if model else {}), **(options or {})}
        self._sizes = [_size(size) for size in sizes]
        self._seconds = seconds
        self._says_form = True  # whether the server takes `response_format`: some models refuse it
        self._session: aiohttp.ClientSession | None = None
        self._studio = Studio()
        self.edits = edits

    async def __call__(
        self, prompt: str, format: wire.ImageFormat, pictures: Sequence[bytes] = ()
    ) -> wire.ImageContent:
        """A picture of what is asked. Raises InvalidRequest, Unavailable, DeadlineExceeded."""
        if pictures and not self.edits:
            raise wire.InvalidRequest("The image server here draws, but cannot edit pictures.")
        if len(pictures) > _MOST_PICTURES:
            raise wire.InvalidRequest(f"At most {_MOST_PICTURES} pictures can be edited at once.")
        size = nearest(wanted(format), self._sizes) if self._sizes else wanted(format)
        fields = {"prompt": prompt[:_LONGEST_PROMPT], "n": 1, "size": "{}x{}".format(*size), **self._fields}
        body = await self._picture(await self._asked(fields, pictures))
        mime_type = format.mime_type or "image/jpeg"
        try:
            made = await self._studio.make_over(body, format)
        except Unusable as error:
            raise wire.Unavailable(f"{self._host} sent what is no picture that can be used. {error}") from None
        return wire.ImageContent(data=base64.b64encode(made).decode(), mime_type=mime_type)

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _asked(self, fields: dict[str, Any], pictures: Sequence[bytes]) -> _Picture:
        path = f"{self._url}/images/{'edits' if pictures else 'generations'}"
        status, raw = 400, b""
        if self._says_form:
            status, raw = await self._post(path, {**fields, "response_format": "b64_json"}, pictures)
            self._says_form = status != 400 or b"response_format" not in raw
        if not self._says_form:
            status, raw = await self._post(path, fields, pictures)
        if status >= 300:
            raise self._refused(status, raw)
        try:
            return msgspec.json.decode(raw, type=_Drawn).data[0]
        except (msgspec.DecodeError, UnicodeDecodeError, IndexError):
            raise wire.Unavailable(f"{self._host} answered with something that holds no picture.") from None

    async def _post(self, url: str, fields: dict[str, Any], pictures: Sequence[bytes]) -> tuple[int, bytes]:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._seconds)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        sent: dict[str, Any] = {"data": _form(fields, pictures)} if pictures else {"json": fields}
        try:
            # A redirect is not followed: it would take the key along.
            async with self._session.post(url, allow_redirects=False, **sent) as response:
                return response.status, await self._whole(response)
        except TimeoutError:
            raise wire.DeadlineExceeded(f"{self._host} drew nothing within {self._seconds:g} seconds.") from None
        except (aiohttp.ClientError, OSError) as error:
            raise wire.Unavailable(f"The image server {self._host} cannot be reached: {error}") from None

    async def _whole(self, response: aiohttp.ClientResponse) -> bytes:
        raw = bytearray()
        async for piece in response.content.iter_chunked(1 << 16):
            raw += piece
            if len(raw) > _LARGEST:
                raise wire.Unavailable(f"{self._host} answered with more than {_LARGEST >> 20} MB.")
        return bytes(raw)

    async def _picture(self, drawn: _Picture) -> bytes:
        if drawn.b64_json:
            try:
                return base64.b64decode(drawn.b64_json.partition("base64,")[2] or drawn.b64_json)
            except (binascii.Error, ValueError):
                raise wire.Unavailable(f"{self._host} sent a picture that is no base64.") from None
        if not drawn.url:
            raise wire.Unavailable(f"{self._host} answered with something that holds no picture.")
        return await self._fetched(drawn.url)

    async def _fetched(self, url: str) -> bytes:
        """A picture that the server only names: taken from itself, and from nowhere else it may point to."""
        if urlsplit(url)[:2] != urlsplit(self._url)[:2]:
            raise wire.Unavailable(f"{self._host} gave a link to elsewhere; set it to answer with 'b64_json'.")
        assert self._session is not None
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise wire.Unavailable(f"{self._host} does not give what it drew (HTTP {response.status}).")
                return await self._whole(response)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise wire.Unavailable(f"{self._host} does not give what it drew: {error}") from None

    def _refused(self, status: int, raw: bytes) -> wire.ApiError:
        said = _said(raw) or f"HTTP {status}"
        if status in (401, 403):
            return wire.Internal(f"{self._host} refused this server's own key for it (HTTP {status}): {said}")
        if status == 404:
            return wire.Unavailable(f"{self._host} has no such model or address: {said}")
        if status == 429:
            return wire.RateLimited(f"{self._host}: {said}")
        if status in (400, 413, 422):
            return wire.InvalidRequest(f"The image server refused this: {said}")
        return wire.Unavailable(f"{self._host}: {said}")


def _form(fields: dict[str, Any], pictures: Sequence[bytes]) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for name, value in fields.items():
        form.add_field(name, value if isinstance(value, str) else msgspec.json.encode(value).decode())
    # Of one picture all servers know the name; several are written as the dialect's own clients do.
    name = "image" if len(pictures) == 1 else "image[]"
    for number, picture in enumerate(pictures, 1):
        header = header_of(picture)
        kind = header.mime_type if header is not None else "image/png"
        filename = f"picture{number}.{kind.removeprefix('image/')}"
        form.add_field(name, picture, filename=filename, content_type=kind)
    return form


def _said(raw: bytes) -> str:
    """The server's own words, in the forms that such servers use."""
    try:
        given = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return raw[:300].decode(errors="replace").strip()
    fault = given.get("error", given) if isinstance(given, dict) else given
    words = (fault.get("message") or fault.get("detail")) if isinstance(fault, dict) else fault
    return str(words or "")[:500]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise ValueError(f"{text!r} is no size such as 1024x1024")
    return int(width), int(height)
