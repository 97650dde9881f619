"""The Triggers API: interactions on a schedule."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from antiphon.server import rest
from antiphon.server.rest import Handler
from antiphon.triggers import Triggers
from antiphon.wire import triggers as types

_MOST, _USUAL = 1000, 50  # items of a page


def table(triggers: Triggers) -> list[tuple[str, str, Handler]]:
    """The routes, in the order in which they are tried."""
    routes = Routes(triggers)
    return [
        ("POST", "/triggers", routes.create),
        ("GET", "/triggers", routes.page),
        ("POST", "/triggers/{id}/executions", routes.run),
        ("GET", "/triggers/{id}/executions", routes.executions),
        ("GET", "/triggers/{id}", routes.get),
        ("PATCH", "/triggers/{id}", routes.update),
        ("DELETE", "/triggers/{id}", routes.delete),
    ]


class Routes:
    """One method a route."""

    def __init__(self, triggers: Triggers) -> None:
        self._triggers = triggers

    async def create(self, request: Request) -> Response:
        """POST /triggers."""
        rest.query(request)
        body = await rest.plain_body(request, types.CreateTrigger)
        made = await self._triggers.create(request.scope["project"], body, request.scope["key"])
        request.scope["resource"] = made.id  # for the audit log
        return rest.answer(made)

    async def page(self, request: Request) -> Response:
        """GET /triggers: the newest first."""
        query = rest.query(request, "filter", "pageSize", "pageToken")
        filter = query.get("filter", "")
        page = await self._triggers.page(
            request.scope["project"], filter, rest.count(query.get("pageSize") or str(_USUAL), _MOST), rest.after(query)
        )
        return rest.answer(msgspec.structs.replace(page, next_page_token=rest.token_after(page.next_page_token)))

    async def get(self, request: Request) -> Response:
        """GET /triggers/{id}."""
        rest.query(request)
        return rest.answer(await self._triggers.get(request.scope["project"], request.path_params["id"]))

    async def update(self, request: Request) -> Response:
        """PATCH /triggers/{id}: a name, or a status to pause or resume it."""
        rest.query(request)
        body = await rest.plain_body(request, types.UpdateTrigger)
        return rest.answer(await self._triggers.update(request.scope["project"], request.path_params["id"], body))

    async def delete(self, request: Request) -> Response:
        """DELETE /triggers/{id}."""
        rest.query(request)
        await self._triggers.delete(request.scope["project"], request.path_params["id"])
        return rest.answer({})

    async def run(self, request: Request) -> Response:
        """POST /triggers/{id}/executions: run it now."""
        rest.query(request)
        await rest.plain_body(request, types.RunTrigger)
        return rest.answer(await self._triggers.run(request.scope["project"], request.path_params["id"]))

    async def executions(self, request: Request) -> Response:
        """GET /triggers/{id}/executions: the newest first."""
        query = rest.query(request, "pageSize", "pageToken")
        project, id = request.scope["project"], request.path_params["id"]
        page = await self._triggers.executions(
            project, id, rest.count(query.get("pageSize") or str(_USUAL), _MOST), rest.after(query)
        )
        return rest.answer(msgspec.structs.replace(page, next_page_token=rest.token_after(page.next_page_token)))
