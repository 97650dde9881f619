"""The Decisions API: questions with closed answers, answered by a model's own probabilities."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from antiphon import ids, judging, resource, wire
from antiphon.ports import Record, Resolution, Watcher
from antiphon.server import rest
from antiphon.server.rest import Handler
from antiphon.watchers import Watchers
from antiphon.wire import decisions as types


def table(
    models: Mapping[str, Any],
    resolve: Callable[[str], Resolution],
    watchers: Sequence[Watcher] = (),
    *,
    largest_body: int = 2**20,
) -> list[tuple[str, str, Handler]]:
    """The route. `watchers` are told of a decision as of an interaction that is not kept: it counts against limits."""
    routes = Routes(models, resolve, Watchers(watchers), largest_body)
    return [("POST", "/decisions", routes.create)]


class Routes:
    """One method a route."""

    def __init__(
        self, models: Mapping[str, Any], resolve: Callable[[str], Resolution], watchers: Watchers, largest_body: int
    ) -> None:
        self._models = models
        self._resolve = resolve
        self._watchers = watchers
        self._largest_body = largest_body

    async def create(self, request: Request) -> Response:
        """POST /decisions."""
        rest.query(request)
        body = await rest.plain_body(request, types.CreateDecision, self._largest_body)
        shared = judging.checked(body)
        resolution = self._resolve(body.model)
        judge = self._models[resolution.target]
        if getattr(judge, "weigh", None) is None:
            raise wire.InvalidRequest(f"The model '{resolution.target}' tells no probabilities: choose another one.")
        record = _record(request, body, resolution, shared)
        request.scope["resource"] = record.id  # for the audit log
        await self._watchers.begins(record)
        status: wire.InteractionStatus = "failed"
        usage: wire.Usage | None = None
        try:
            with self._watchers.around(record, "chat", resolution.target) as told:
                decision, spent = await judging.decide(
                    body, judge, resolution.target, record.id, partial(_waiting, request)
                )
                told |= {"input_tokens": spent.input, "output_tokens": spent.output, "finish_reason": "stop"}
            usage, status = resource.usage(spent), "completed"
        except (asyncio.CancelledError, ClientDisconnect):
            status = "cancelled"
            raise
        finally:
            self._watchers.ends(record, status, usage)
        return rest.answer(msgspec.structs.replace(decision, usage=usage))


async def _waiting(request: Request) -> None:
    """Raises ClientDisconnect where the client has left: the questions that are left are not asked."""
    if await request.is_disconnected():
        raise ClientDisconnect


def _record(request: Request, body: types.CreateDecision, resolution: Resolution, shared: str) -> Record:
    """What watchers know an interaction by. It is kept nowhere."""
    now = time.time()
    id = ids.interaction_id(now)
    content: list[Any] = [wire.TextContent(text=shared)]
    return Record(
        id=id,
        project=request.scope["project"],
        conversation=id,
        created=now,
        expires=now,
        model=resolution.served_as,
        target=resolution.target,
        input=[wire.UserInputStep(content=content)],
        request=wire.CreateInteraction(model=body.model, store=False),
        store=False,
        key=request.scope["key"],
    )
