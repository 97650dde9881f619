"""The Webhooks API, and the public keys of what is sent for a request's `webhook_config`."""

from __future__ import annotations

import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from antiphon.server import rest
from antiphon.server.rest import Handler
from antiphon.webhooks.deliveries import Deliveries
from antiphon.wire import webhooks as types

_LARGEST = 1 << 16  # bytes of a request
_PAGE, _MOST = 50, 1000
_CAMEL = re.compile(r"(?<=[a-z])([A-Z])")


def table(deliveries: Deliveries) -> list[tuple[str, str, Handler]]:
    """The routes, in the order in which they are tried."""
    routes = Routes(deliveries)
    return [
        ("POST", "/webhooks", routes.create),
        ("GET", "/webhooks", routes.page),
        ("POST", "/webhooks/{id}:ping", routes.ping),
        ("POST", "/webhooks/{id}:rotateSigningSecret", routes.rotate),
        ("POST", "/webhooks/{id}/rotate_secret", routes.rotate),
        ("GET", "/webhooks/{id}", routes.get),
        ("PATCH", "/webhooks/{id}", routes.update),
        ("DELETE", "/webhooks/{id}", routes.delete),
        ("GET", "/.well-known/jwks.json", routes.jwks),
    ]


class Routes:
    """One method a route."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._webhooks = deliveries.webhooks

    async def create(self, request: Request) -> Response:
        """POST /webhooks."""
        rest.query(request)
        body = await rest.plain_body(request, types.CreateWebhook, _LARGEST)
        made = await self._webhooks.create(request.scope["project"], body)
        request.scope["resource"] = made.id  # for the audit log
        return rest.answer(made)

    async def page(self, request: Request) -> Response:
        """GET /webhooks: the oldest first."""
        query = rest.query(request, "pageSize", "pageToken")
        size = rest.count(query.get("pageSize") or str(_PAGE), _MOST)
        page = await self._webhooks.page(request.scope["project"], rest.after(query), size)
        return rest.answer(msgspec.structs.replace(page, next_page_token=rest.token_after(page.next_page_token)))

    async def get(self, request: Request) -> Response:
        """GET /webhooks/{id}."""
        rest.query(request)
        return rest.answer(await self._webhooks.get(request.scope["project"], request.path_params["id"]))

    async def update(self, request: Request) -> Response:
        """PATCH /webhooks/{id}: what `update_mask` names, or all that is given."""
        mask = rest.query(request, "updateMask").get("updateMask")
        names = [_CAMEL.sub(r"_\1", name.strip()).lower() for name in mask.split(",")] if mask else None
        body = await rest.plain_body(request, types.UpdateWebhook, _LARGEST)
        project, id = request.scope["project"], request.path_params["id"]
        return rest.answer(await self._webhooks.update(project, id, body, names))

    async def delete(self, request: Request) -> Response:
        """DELETE /webhooks/{id}."""
        rest.query(request)
        await self._webhooks.delete(request.scope["project"], request.path_params["id"])
        return rest.answer({})

    async def ping(self, request: Request) -> Response:
        """POST /webhooks/{id}:ping."""
        rest.query(request)
        await rest.plain_body(request, types.PingWebhook, _LARGEST)
        await self._deliveries.ping(request.scope["project"], request.path_params["id"])
        return rest.answer(types.PingedWebhook())

    async def rotate(self, request: Request) -> Response:
        """POST /webhooks/{id}:rotateSigningSecret: the previous secrets hold for a day more, unless it is said."""
        rest.query(request)
        behavior = (await rest.plain_body(request, types.RotateSigningSecret, _LARGEST)).revocation_behavior or ""
        at_once = behavior.lower() == "revoke_previous_secrets_immediately"
        project, id = request.scope["project"], request.path_params["id"]
        return rest.answer(types.RotatedSigningSecret(secret=await self._webhooks.rotate(project, id, at_once=at_once)))

    async def jwks(self, request: Request) -> Response:
        """GET /.well-known/jwks.json: anybody may know them."""
        return rest.answer(await self._deliveries.tokens.jwks(), {"cache-control": "public, max-age=300"})
