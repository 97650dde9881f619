"""The routes: what each request asks of the engine, and how its answer is written."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon import ids, log, repeats, resource, wire
from antiphon.catalog import Catalog
from antiphon.engine import Engine
from antiphon.library import Library
from antiphon.run import Run
from antiphon.server import decoding, file_stores, files, openapi, uploads
from antiphon.server.errors import JSON, translate
from antiphon.server.sse import EventStream, left

_encode = msgspec.json.Encoder().encode
_COMMON: dict[str, set[str] | None] = {  # what may stand in any query, with the values it may have
    "key": None,
    "alt": {"json", "sse"},
    "$alt": {"json"},
    "fields": {"*"},
    "prettyPrint": {"false"},
}
_WATCH_SECONDS = 1.0  # how long an answer may take before it is worth watching whether anybody still waits for it


Handler = Callable[[Request], Awaitable[Any]]


def application(
    engine: Engine,
    catalog: Catalog,
    more: Sequence[tuple[str, str, Handler]] = (),
    repeated: repeats.Repeats | None = None,
    *,
    largest_body: int = 100 * 2**20,
    library: Library | None = None,
) -> ASGIApp:
    """The ASGI application of the API, any version's prefix already taken off (`edge.py`)."""
    routes = Routes(engine, catalog, largest_body, repeated)
    table: list[tuple[str, str, Handler]] = [
        ("POST", "/interactions", routes.create),
        ("GET", "/interactions", routes.page),
        ("POST", "/interactions:import", routes.bring_in),
        ("POST", "/interactions/{id}:cancel", routes.cancel),
        ("POST", "/interactions/{id}/cancel", routes.cancel),
        ("GET", "/interactions/{id}/export", routes.export),
        ("GET", "/interactions/{id}", routes.get),
        ("DELETE", "/interactions/{id}", routes.delete),
        ("GET", "/models", routes.models),
        ("GET", "/models/{name:path}", routes.model),
        ("GET", "/openapi.json", routes.openapi),
        ("GET", "/healthz", routes.healthz),
        *more,
    ]
    if library is not None:
        table += [*files.table(library), *file_stores.table(library), *uploads.table(library)]
    return Router(
        [Route(path, Endpoint(handler), methods=[method]) for method, path, handler in table], redirect_slashes=False
    )


class Endpoint:
    """A handler as an ASGI application: its answer, or its error as one."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            response = await self._handler(request)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:  # noqa: BLE001 - the edge of a request: whatever goes wrong has an answer
            response = translate(error, request.method, request.url.path)
        await response(scope, receive, send)


class Routes:
    """One method a route."""

    def __init__(self, engine: Engine, catalog: Catalog, largest_body: int, repeated: repeats.Repeats | None) -> None:
        self._repeats: Any = repeated
        self._engine = engine
        self._catalog = catalog
        self._largest_body = largest_body

    async def create(self, request: Request) -> Response | Answered:
        """POST /interactions."""
        _query(request)
        raw = await self._body(request)
        body = decoding.create_interaction(raw)
        header = request.headers.get("idempotency-key")
        if header is None and not self._engine.outlives(body):
            return await self._begin(request, body)
        if body.store is False:
            raise wire.InvalidRequest("'Idempotency-Key' cannot be used with store=false: there is nothing to find.")
        project = request.scope["project"]
        asked = repeats.request_of(request.scope["key"], raw, header)
        fresh = ids.interaction_id(time.time())
        id = await self._repeats.begin(project, asked, fresh)
        response = await self._earlier(project, id, body) if id != fresh else None
        if response is None:
            try:
                # An id that was noted and never begun is begun now; of two that do so, one comes too late.
                response = await self._begin(request, body, id)
            except wire.AlreadyExists:
                response = await self._earlier(project, id, body)
            except wire.ApiError as error:
                if "resource" not in request.scope and not isinstance(error, wire.Unavailable):
                    await self._repeats.forget(project, asked, id)  # it was refused: there is nothing to find
                raise
        if response is None:
            await self._repeats.forget(project, asked, id)
            raise wire.Unavailable("The interaction of this request is being deleted: send it again.")
        request.scope["resource"] = id
        return Answered(response, request, partial(self._repeats.answered, project, asked, id))

    async def _begin(self, request: Request, body: wire.CreateInteraction, id: str | None = None) -> Response:
        """Start an interaction; with an `id` one that a repeated request finds again."""
        project, key = request.scope["project"], request.scope["key"]
        run = await self._engine.create(project, body, key=key, id=id, lasting=id is not None)
        request.scope["resource"] = run.record.id
        if body.stream:
            gone = None if run.record.store else _abandon(self._engine, run)
            # What outlives this server may be taken over even before its first event: the archive knows where it is.
            lasts = run.durable or run.task is None
            frames = await self._engine.archive.follow(project, run.record.id) if lasts else run.channel.follow(0)
            return EventStream(frames, gone)
        if run.record.background:
            return _json(resource.interaction(run.record, log.State(), run.updated))
        await self._finished(request, run, lasting=id is not None)
        if run.error is not None:
            raise run.error
        if not run.state.ended:
            raise wire.Unavailable("The server is stopping.")
        return _json(resource.interaction(run.record, run.state, run.updated))

    async def _earlier(self, project: str, id: str, body: wire.CreateInteraction) -> Response | None:
        """The answer to a request that came before; None where nothing came of it."""
        archive = self._engine.archive
        try:
            if body.stream:
                return EventStream(await archive.follow(project, id))
            if not body.background:
                async for _ in await archive.follow(project, id):
                    pass  # it is being answered: wait for the end
            stored = await archive.stored(project, id)
        except wire.NotFound:
            return None
        if not body.background and stored.status == "in_progress":  # another server goes on with it: come again
            raise wire.Unavailable("The server is stopping.")
        return _json(resource.interaction(stored.record, log.fold(log.decode(stored.frames)), stored.updated))

    async def _finished(self, request: Request, run: Run, *, lasting: bool) -> None:
        """Wait for a run; give it up when nobody waits for its answer any more, nor may come back for it."""
        assert run.task is not None
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        run.task.add_done_callback(lambda _: _settle(ended))
        late = asyncio.get_running_loop().call_later(_WATCH_SECONDS, _watch, request, ended)
        await ended
        late.cancel()
        if not run.task.done() and not lasting:
            await self._engine.abandon(run)

    async def _body(self, request: Request) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._largest_body:
                raise wire.InvalidRequest(f"The request is larger than {self._largest_body} bytes.")
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def get(self, request: Request) -> Response:
        """GET /interactions/{id}, with `stream` and `last_event_id` as a stream."""
        query = _query(request, "stream", "last_event_id", "include_input")
        project, id = request.scope["project"], request.path_params["id"]
        include_input = _flag(query, "include_input")
        if not _flag(query, "stream"):
            if "last_event_id" in query:
                raise wire.InvalidRequest("'last_event_id' can only be used with stream=true.")
            return _json(await self._engine.archive.get(project, id, include_input=include_input))
        if include_input:
            raise wire.InvalidRequest(
                "'include_input' is not supported with stream=true: a stream is the answer's events."
            )
        after = 0
        if query.get("last_event_id"):
            try:
                after = log.position(query["last_event_id"])
            except ValueError:
                raise wire.InvalidRequest(f"{query['last_event_id']!r} at 'last_event_id' is no event_id.") from None
        return EventStream(await self._engine.archive.follow(project, id, after))

    async def page(self, request: Request) -> Response:
        """GET /interactions: ours, newest first."""
        query = _query(request, "page_size", "page_token", "pageSize", "pageToken")
        size = _size(query.get("page_size", query.get("pageSize", "50")))
        before = query.get("page_token", query.get("pageToken"))
        return _json(await self._engine.archive.page(request.scope["project"], before, size))

    async def cancel(self, request: Request) -> Response:
        """POST /interactions/{id}/cancel."""
        _query(request)
        return _json(await self._engine.cancel(request.scope["project"], request.path_params["id"]))

    async def delete(self, request: Request) -> Response:
        """DELETE /interactions/{id}."""
        _query(request)
        await self._engine.delete(request.scope["project"], request.path_params["id"])
        return Response(b"{}", media_type=JSON)

    async def export(self, request: Request) -> Response:
        """GET /interactions/{id}/export: the conversation as JSON lines."""
        _query(request)
        lines = await self._engine.archive.export(request.scope["project"], request.path_params["id"])
        return Response(lines, media_type="application/x-ndjson")

    async def bring_in(self, request: Request) -> Response:
        """POST /interactions:import: such lines, back again."""
        _query(request)
        body = await self._body(request)
        decoding.check_depth(body)
        ids = await self._engine.bring_in(request.scope["project"], body)
        return Response(_encode({"interaction_ids": ids}), media_type=JSON)

    async def models(self, request: Request) -> Response:
        """GET /models."""
        query = _query(request, "page_size", "page_token", "pageSize", "pageToken")
        size = query.get("pageSize", query.get("page_size"))
        page = self._catalog.page(_size(size) if size else None, query.get("pageToken", query.get("page_token")))
        return Response(_encode(page), media_type=JSON)

    async def model(self, request: Request) -> Response:
        """GET /models/{name}."""
        return Response(_encode(self._catalog.describe_one(request.path_params["name"])), media_type=JSON)

    async def openapi(self, request: Request) -> Response:
        """GET /openapi.json."""
        return Response(openapi.document(), media_type="application/json")

    async def healthz(self, request: Request) -> Response:
        """GET /healthz: the process answers."""
        return Response(b'{"status":"ok"}', media_type=JSON)


class Answered:
    """A response; and what is done once its first bytes were handed to a connection that was still open."""

    def __init__(self, response: Response, request: Request, done: Callable[[], Awaitable[None]]) -> None:
        self._response = response
        self._request = request
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        waiting = not await self._request.is_disconnected()
        streams = isinstance(self._response, EventStream)

        async def noting(message: Message) -> None:
            nonlocal waiting
            await send(message)
            # Of a stream the head is the answer: no client sends a request again after that.
            if waiting and (streams or message.get("body")):
                waiting = False
                with contextlib.suppress(wire.ApiError):  # then it is noted as unanswered for a while: no harm
                    await self._done()

        await self._response(scope, receive, noting)


def _settle(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


def _watch(request: Request, ended: asyncio.Future[None]) -> None:
    """End the wait when the client leaves; most answers are there before it is worth looking."""
    leaving = asyncio.ensure_future(left(request.receive))
    leaving.add_done_callback(lambda _: _settle(ended))
    ended.add_done_callback(lambda _: leaving.cancel())


def _abandon(engine: Engine, run: Run) -> Callable[[], Awaitable[None]]:
    return lambda: engine.abandon(run)


def _json(value: wire.Wire) -> Response:
    return Response(_encode(value), media_type=JSON)


def _query(request: Request, *names: str) -> dict[str, Any]:
    """The query's values; a name that is not known here is refused, as is a subset of fields."""
    if not request.scope["query_string"]:
        return {}
    query = dict(request.query_params)
    for name, value in query.items():
        if name not in names and name not in _COMMON:
            raise wire.InvalidRequest(f"Unknown parameter '{name}' in the query.")
        if (allowed := _COMMON.get(name)) is not None and value not in allowed:
            served = ", ".join(map(repr, sorted(allowed)))
            raise wire.InvalidRequest(f"The value {value!r} is not supported for '{name}'. Supported values: {served}.")
    return query


def _flag(query: dict[str, Any], name: str) -> bool:
    value = query.get(name, "false").lower()
    if value not in ("true", "false"):
        raise wire.InvalidRequest(f"{value!r} at '{name}' is neither 'true' nor 'false'.")
    return bool(value == "true")


def _size(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:9]) <= 1000:
        raise wire.InvalidRequest(f"{value!r} at 'page_size' is not a number from 1 to 1000.")
    return int(value)
