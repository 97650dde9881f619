"""What every request passes first: any version's prefix, keys, and browsers' questions about origins."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon import wire
from antiphon.server.errors import translate

# /v1/…, /v1beta/…, none, Vertex's form; slashes doubled and prefixes repeated by base URLs that already had one.
_PREFIX = re.compile(r"^(?:/+v\d[a-z0-9]*(?=/))*(?:/+projects/[^/]+/locations/[^/]+(?=/))?/+")
_UPLOAD = "/upload"
_OPEN = frozenset({"/healthz", "/openapi.json"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ALLOWED_HEADERS = (
    "authorization, content-type, x-goog-api-client, x-goog-api-key, x-goog-user-project, x-server-timeout, "
    "x-goog-upload-command, x-goog-upload-file-name, x-goog-upload-header-content-length, "
    "x-goog-upload-header-content-type, x-goog-upload-offset, x-goog-upload-protocol"
)
_EXPOSED_HEADERS = "x-goog-upload-size-received, x-goog-upload-status, x-goog-upload-url"
DEFAULT_PROJECT = "default"


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


class Edge:
    """The outermost layer. `keys` maps digests to projects; without any, everybody is the default project.

    With keys any Origin may read, as with the service. Without them the browser is the only guard there is: only pages
    of this machine, and those of `origins`, may, and only under a name of this machine, so that no web site can read
    what is kept here.
    """

    def __init__(self, app: ASGIApp, keys: Mapping[str, str], origins: Sequence[str]) -> None:
        self._app = app
        self._keys = keys
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one request on, or answer it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        scope["path"] = _without_version(scope["path"].rstrip("/") or "/")
        headers = dict(scope["headers"])  # of one that is sent twice, the last counts
        origin = headers[b"origin"].decode("latin-1") if b"origin" in headers else None
        try:
            self._check_site(origin, headers.get(b"host", b"").decode("latin-1"))
            if origin is not None:
                send = _reflecting(send, origin)
                if scope["method"] == "OPTIONS":
                    return await _preflight()(scope, receive, send)
            scope["project"] = DEFAULT_PROJECT if _is_open(scope) else self._project(scope, headers)
            scope["app"] = self  # asks the router for exceptions where a path or a method does not exist
            await self._app(scope, receive, send)
        except (wire.ApiError, HTTPException) as error:
            await translate(error, scope["method"], scope["path"])(scope, receive, send)

    def _check_site(self, origin: str | None, host: str) -> None:
        """Without keys: refuse pages from elsewhere, and names from elsewhere that were made to mean this machine."""
        if self._keys or "*" in self._origins:
            return
        if origin is not None and origin not in self._origins and _name(origin) not in _LOOPBACK:
            raise wire.PermissionDenied(f"Pages of {origin} may not use this server without keys; see --allow-origin.")
        name = _name(f"//{host}")
        if host and name not in _LOOPBACK and name not in map(_name, self._origins):
            raise wire.PermissionDenied(f"This server is not known as '{host}' without keys; see --allow-origin.")

    def _project(self, scope: Scope, headers: dict[bytes, bytes]) -> str:
        if not self._keys:
            return DEFAULT_PROJECT
        key = headers[b"x-goog-api-key"].decode("latin-1") if b"x-goog-api-key" in headers else None
        if key is None and (bearer := headers.get(b"authorization", b"")).lower().startswith(b"bearer "):
            key = bearer[7:].strip().decode("latin-1")
        if key is None and scope["query_string"]:
            key = next(iter(parse_qs(scope["query_string"].decode("latin-1")).get("key", ())), None)
        if key is None:
            raise wire.Unauthenticated("No API key: send x-goog-api-key, Authorization: Bearer, or ?key=.")
        # A digest is looked up, never a key compared: how long that takes says nothing about the keys there are.
        project = self._keys.get(digest(key))
        if project is None:
            raise wire.Unauthenticated("This API key is not known here.")
        return project


def _without_version(path: str) -> str:
    """/v1beta/files and /upload/v1beta/files become /files and /upload/files."""
    path = _PREFIX.sub("/", path, count=1)
    return _UPLOAD + _PREFIX.sub("/", path[len(_UPLOAD) :], count=1) if path.startswith(f"{_UPLOAD}/") else path


def _is_open(scope: Scope) -> bool:
    """Whether no key is asked for. Clients send none with the bytes of an upload: its secret name stands for one."""
    if not scope["path"].startswith(f"{_UPLOAD}/"):
        return scope["path"] in _OPEN
    return "upload_id" in parse_qs(scope["query_string"].decode("latin-1"))


@lru_cache(maxsize=256)
def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _reflecting(send: Send, origin: str) -> Send:
    async def with_origin(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["access-control-allow-origin"] = origin
            headers["access-control-expose-headers"] = _EXPOSED_HEADERS
            headers.add_vary_header("origin")
        await send(message)

    return with_origin


def _preflight() -> Response:
    return Response(
        status_code=200,
        headers={
            "access-control-allow-methods": "GET, POST, PUT, DELETE, OPTIONS",
            "access-control-allow-headers": _ALLOWED_HEADERS,
            "access-control-max-age": "3600",
        },
    )
