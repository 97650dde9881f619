"""The operator's routes: keys. They stand apart from the API, below /admin, and open with the admin key only.

    POST   /admin/keys        {"project": "kitchen", "name": "the oven", "limits": {"requests_per_minute": 60}}
    GET    /admin/keys        the oldest first; page_size, page_token
    GET    /admin/keys/{id}
    DELETE /admin/keys/{id}   revokes it

Errors are in the API's form.
"""

from __future__ import annotations

import hmac

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon import wire
from antiphon.keyring import UNLIMITED, Key, Keyring, Limits, digest
from antiphon.resource import timestamp
from antiphon.server import decoding, rest
from antiphon.server.edge import key_of
from antiphon.server.errors import JSON
from antiphon.server.routes import Endpoint, Handler

_LARGEST = 2**16  # bytes of a request
_MOST = 1000  # keys in a page
_WHO = "admin"  # what is noted as the key


class CreateKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a new key is to be."""

    project: str
    name: str = ""
    limits: Limits = UNLIMITED


class ShownKey(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A key as operators see it; `key` is what its user sends, shown once, when it is made."""

    id: str
    project: str
    name: str = ""
    create_time: str
    revoke_time: str | None = None
    limits: Limits = UNLIMITED
    key: str | None = None


class ShownKeys(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A page of them."""

    keys: list[ShownKey]
    next_page_token: str | None = None


def shown(key: Key, text: str | None = None) -> ShownKey:
    """A key as operators see it; with `text` when it has just been made."""
    return ShownKey(
        id=key.id,
        project=key.project,
        name=key.name,
        create_time=timestamp(key.created),
        revoke_time=timestamp(key.revoked) if key.revoked is not None else None,
        limits=key.limits,
        key=text,
    )


class Admin:
    """The application below /admin, for whoever sends `admin_key`."""

    def __init__(self, keyring: Keyring, admin_key: str) -> None:
        self._digest = digest(admin_key)
        routes = Routes(keyring)
        table: list[tuple[str, str, Handler]] = [
            ("POST", "/admin/keys", routes.create),
            ("GET", "/admin/keys", routes.page),
            ("GET", "/admin/keys/{id}", routes.get),
            ("DELETE", "/admin/keys/{id}", routes.revoke),
        ]
        self.router: ASGIApp = Router(
            [Route(path, Endpoint(handler), methods=[method]) for method, path, handler in table],
            redirect_slashes=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises Unauthenticated, PermissionDenied."""
        if not hmac.compare_digest(digest(key_of(scope, dict(scope["headers"]))), self._digest):
            raise wire.PermissionDenied("This needs the admin key.")
        scope["key"] = _WHO
        await self.router(scope, receive, send)


class Routes:
    """One method a route."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def create(self, request: Request) -> Response:
        """POST /admin/keys."""
        asked = decoding.decode(await rest.received(request, _LARGEST), CreateKey)
        key, text = await self._keyring.create(asked.project, asked.name, asked.limits)
        request.scope["resource"] = key.id
        return _answer(shown(key, text))

    async def page(self, request: Request) -> Response:
        """GET /admin/keys."""
        size = rest.count(request.query_params.get("page_size", "100"), _MOST)
        keys = await self._keyring.page(request.query_params.get("page_token", ""), size + 1)
        more = keys[size - 1].id if len(keys) > size else None
        return _answer(ShownKeys(keys=[shown(key) for key in keys[:size]], next_page_token=more))

    async def get(self, request: Request) -> Response:
        """GET /admin/keys/{id}."""
        id = request.path_params["id"]
        key = await self._keyring.get(id)
        if key is None:
            raise wire.NotFound(f"There is no key '{id[:100]}'.")
        return _answer(shown(key))

    async def revoke(self, request: Request) -> Response:
        """DELETE /admin/keys/{id}."""
        return _answer(shown(await self._keyring.revoke(request.path_params["id"])))


def _answer(value: msgspec.Struct) -> Response:
    # A key that has just been made stands in it: nothing on the way is to keep that.
    return Response(msgspec.json.encode(value), headers={"cache-control": "no-store"}, media_type=JSON)
