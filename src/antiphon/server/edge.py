"""What every request passes first: any version's prefix, keys, and browsers' questions about origins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon import logs, wire
from antiphon.audit import Audit, Line
from antiphon.keyring import Access, Keyring
from antiphon.server.errors import translate

# /v1/…, /v1beta/…, none, Vertex's form; slashes doubled and prefixes repeated by base URLs that already had one.
_PREFIX = re.compile(r"^(?:/+v\d[a-z0-9]*(?=/))*(?:/+projects/[^/]+/locations/[^/]+(?=/))?/+")
_UPLOAD = "/upload"
# No key is asked for, and nobody notes it. (/metrics asks for the admin key itself.)
OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/.well-known/jwks.json"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ALLOWED_HEADERS = (
    "authorization, content-type, x-goog-api-client, x-goog-api-key, x-goog-user-project, x-server-timeout, "
    "x-goog-upload-command, x-goog-upload-file-name, x-goog-upload-header-content-length, "
    "x-goog-upload-header-content-type, x-goog-upload-offset, x-goog-upload-protocol"
)
_EXPOSED_HEADERS = "x-goog-upload-size-received, x-goog-upload-status, x-goog-upload-url"
DEFAULT_PROJECT = "default"
_ANYBODY = Access(DEFAULT_PROJECT, "")
_GONE = 499  # noted of who left before there was an answer, as others write it
_LONGEST = 200  # characters of what a caller may have made up


class Edge:
    """The outermost layer: puts `project` and `key`, the key's id, into the scope. Without keys all is the default project.

    With keys any Origin may read, as with the service. Without them the browser is the only guard there is: only pages
    of this machine, and those of `origins`, may, and only under a name of this machine, so that no web site can read
    what is kept here. What is below /admin is `admin`'s, which asks for a key of its own.
    """

    def __init__(
        self,
        app: ASGIApp,
        keyring: Keyring,
        origins: Sequence[str],
        *,
        admin: ASGIApp | None = None,
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._origins = frozenset(origins)
        self._admin = admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one request on, or answer it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        scope["path"] = _without_version(scope["path"].rstrip("/") or "/")
        headers = dict(scope["headers"])  # of one that is sent twice, the last counts
        origin = _text(headers.get(b"origin"))
        try:
            if not self._keyring.required:
                await self._keyring.look()
            self._check_site(origin, headers.get(b"host", b"").decode("latin-1"))
            if origin is not None:
                send = _reflecting(send, origin)
                if scope["method"] == "OPTIONS":
                    return await _preflight()(scope, receive, send)
            scope["app"] = self  # asks the router for exceptions where a path or a method does not exist
            if self._admin is not None and _is_admins(scope["path"]):
                return await self._admin(scope, receive, send)
            access = _ANYBODY
            if self._keyring.required and not _is_open(scope):
                key = key_of(scope, headers)
                access = self._keyring.at_once(key) or await self._keyring.access(key)
                logs.bind(project=access.project, key=access.key)
            scope["project"], scope["key"] = access
            await self._app(scope, receive, send)
        except (wire.ApiError, HTTPException) as error:
            await translate(error, scope["method"], scope["path"])(scope, receive, send)

    def _check_site(self, origin: str | None, host: str) -> None:
        """Without keys: refuse pages from elsewhere, and names from elsewhere that were made to mean this machine."""
        if self._keyring.required or "*" in self._origins:
            return
        if origin is not None and origin not in self._origins and _name(origin) not in _LOOPBACK:
            raise wire.PermissionDenied(f"Pages of {origin} may not use this server without keys; see --allow-origin.")
        name = _name(f"//{host}")
        if host and name not in _LOOPBACK and name not in map(_name, self._origins):
            raise wire.PermissionDenied(f"This server is not known as '{host}' without keys; see --allow-origin.")


class Noting:
    """Around the edge, where there is an audit log: notes what every request came to, and where it came from."""

    def __init__(self, edge: ASGIApp, audit: Audit) -> None:
        self._edge = edge
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the edge answer one request, and note it."""
        noted = scope["type"] != "http"

        async def heard(message: Message) -> None:
            nonlocal noted
            if not noted:  # before its first byte leaves, so that a stream is noted when it begins
                noted = True
                self._note(scope, message["status"])
            await send(message)

        try:
            await self._edge(scope, receive, heard)
        finally:
            if not noted:
                self._note(scope, _GONE)

    def _note(self, scope: Scope, outcome: int) -> None:
        if scope["path"] in OPEN:
            return
        headers = dict(scope["headers"])
        route = scope["route"].path if "route" in scope else scope["path"][:_LONGEST]
        self._audit.note(
            Line(
                project=scope.get("project", ""),
                key=scope.get("key", ""),
                action=f"{scope['method']} {route}",
                resource=scope.get("resource") or "/".join(map(str, scope.get("path_params", {}).values()))[:_LONGEST],
                outcome=outcome,
                address=scope["client"][0] if scope.get("client") else "",
                forwarded=headers.get(b"x-forwarded-for", b"").decode("latin-1")[:_LONGEST],
            )
        )


def key_of(scope: Scope, headers: dict[bytes, bytes]) -> str:
    """The key that a request brings. Raises Unauthenticated where it brings none."""
    key = _text(headers.get(b"x-goog-api-key"))
    if key is None and (bearer := headers.get(b"authorization", b"")).lower().startswith(b"bearer "):
        key = bearer[7:].strip().decode("latin-1")
    if key is None and scope["query_string"]:
        key = next(iter(parse_qs(scope["query_string"].decode("latin-1")).get("key", ())), None)
    if key is None:
        raise wire.Unauthenticated("No API key: send x-goog-api-key, Authorization: Bearer, or ?key=.")
    return key


def _text(header: bytes | None) -> str | None:
    return header.decode("latin-1") if header is not None else None


def _is_admins(path: str) -> bool:
    return path == "/admin" or path.startswith("/admin/")


def _without_version(path: str) -> str:
    """/v1beta/files and /upload/v1beta/files become /files and /upload/files."""
    path = _PREFIX.sub("/", path, count=1)
    return _UPLOAD + _PREFIX.sub("/", path[len(_UPLOAD) :], count=1) if path.startswith(f"{_UPLOAD}/") else path


def _is_open(scope: Scope) -> bool:
    """Whether no key is asked for. Clients send none with the bytes of an upload: its secret name stands for one."""
    if not scope["path"].startswith(f"{_UPLOAD}/"):
        return scope["path"] in OPEN
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
            "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
            "access-control-allow-headers": _ALLOWED_HEADERS,
            "access-control-max-age": "3600",
        },
    )
