"""What those who run a server ask of it: whether it may be sent work, and its metrics. And what watches its requests."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from ipaddress import ip_address
from typing import NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon import wire
from antiphon.logs import Journal
from antiphon.ports import Store, Watcher
from antiphon.server.edge import key_of
from antiphon.server.errors import JSON
from antiphon.telemetry import Figures, Metrics, Telemetry, Traces, counted, method_of, route_of

logger = logging.getLogger("antiphon.server")

PATHS = frozenset({"/healthz", "/readyz", "/metrics"})  # asked so often that nobody wants a trace of each
_LOOK_SECONDS = 2.0  # a part that takes longer to answer is away
_KEEP_SECONDS = 1.0  # however many ask, the parts are asked this often

Handler = Callable[[Request], Awaitable[Response]]


class Part(NamedTuple):
    """Something that a server needs: `look` raises, or takes too long, where it is away.

    One that is not `needed` is told of, and the server goes on without it: taking every server out of a balancer for
    something that all of them share would turn slow into down.
    """

    name: str
    look: Callable[[], Awaitable[object]]
    needed: bool = True


class Health:
    """Whether a server may be sent work: while all of `parts` that it needs can be used, and it is not about to stop."""

    def __init__(self, parts: Sequence[Part] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self.parts = list(parts)
        self._clock = clock
        self._up: dict[str, bool] = {}
        self._seen = float("-inf")
        self._looking = asyncio.Lock()
        self.draining = False

    def drain(self) -> None:
        """From now on it may not: it works off what it has."""
        self.draining = True

    async def look(self) -> dict[str, bool]:
        """Which parts can be used; what was found a moment ago still counts."""
        async with self._looking:
            if self._clock() - self._seen >= _KEEP_SECONDS:
                self._up = dict(await asyncio.gather(*map(self._is_up, self.parts)))
                self._seen = self._clock()
            return self._up

    async def ready(self) -> bool:
        """Whether it may be sent work."""
        up = await self.look()
        return not self.draining and all(up[part.name] for part in self.parts if part.needed)

    async def _is_up(self, part: Part) -> tuple[str, bool]:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await part.look()
        except (wire.ApiError, OSError, TimeoutError) as error:
            if self._up.get(part.name, True):
                logger.warning("%s cannot be used: %s", part.name, error or type(error).__name__)
            return part.name, False
        if not self._up.get(part.name, True):
            logger.info("%s can be used again", part.name)
        return part.name, True


async def any_model(models: Mapping[str, object]) -> None:
    """Return where one of the models can be used, as far as it can tell (its `ready`, if it has one). Raises Unavailable."""
    for model in models.values():
        ready = getattr(model, "ready", None)
        if ready is None or await ready():
            return
    raise wire.Unavailable("No model can be used.")


def administrators(admin_key: str | None, closed: Callable[[], bool]) -> Callable[[Scope], bool]:
    """Who is one: whoever sends the admin key; and while no keys are asked for (`closed`), this machine itself.

    With keys there may be a proxy on this machine, whose callers would all seem to be on it.
    """

    def may(scope: Scope) -> bool:
        if not closed() and scope.get("client") and is_here(scope["client"][0]):
            return True
        given = key_of(scope, dict(scope["headers"]))
        return admin_key is not None and hmac.compare_digest(given.encode(), admin_key.encode())

    return may


def is_here(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Operations:
    """All of it, as one server has it. Whoever is to stop the server tells `health` so."""

    def __init__(self, *, content: bool = False) -> None:
        try:
            self._metrics: Metrics | None = Metrics()
        except ImportError:
            self._metrics = None
        self._traces = Traces.exported(content=content)
        self._figures: Figures | None = None
        self.health = Health()
        self.watchers: list[Watcher] = [Journal(content=content)]
        if self._metrics is not None or self._traces is not None:
            self.watchers.append(Telemetry(self._metrics, self._traces))

    def counted(self, store: Store) -> Store:
        """The store, with its calls counted where there are metrics."""
        return counted(store, self._metrics) if self._metrics is not None else store

    def watch(
        self, parts: Sequence[Part], *, running: Callable[[], int], queue: Callable[[], Awaitable[int]] | None = None
    ) -> None:
        """What to look at: the parts, how many interactions run here, and how many wait for a worker."""
        self.health.parts += parts
        if self._metrics is not None:
            self._figures = Figures(self._metrics, running=running, health=self.health, queue=queue)

    def table(self, admin: Callable[[Scope], bool]) -> list[tuple[str, str, Handler]]:
        """The routes. `admin` says who may see the metrics."""
        routes = Routes(self.health, self._figures, admin)
        return [("GET", "/readyz", routes.readyz), ("GET", "/metrics", routes.metrics)]

    def around(self, app: ASGIApp) -> Watched:
        """The application, with its requests watched where there is anything to tell them to."""
        return Watched(app, self._metrics, self._traces, self.health)

    def close(self) -> None:
        """Send what has not been sent yet."""
        if self._traces is not None:
            self._traces.aclose()


class Routes:
    """One method a route."""

    def __init__(
        self, health: Health, figures: Callable[[], Awaitable[bytes]] | None, admin: Callable[[Scope], bool]
    ) -> None:
        self._health = health
        self._figures = figures
        self._admin = admin

    async def readyz(self, request: Request) -> Response:
        """GET /readyz: whether work may be sent here. Anybody may ask, so it names the parts and says no more."""
        ready = await self._health.ready()
        up = await self._health.look()
        status = "draining" if self._health.draining else "ready" if ready else "not_ready"
        body = {"status": status, "parts": {name: "ok" if is_up else "away" for name, is_up in up.items()}}
        return Response(msgspec.json.encode(body), 200 if ready else 503, media_type=JSON)

    async def metrics(self, request: Request) -> Response:
        """GET /metrics: they tell who uses what, so they are for those who run the server."""
        if not self._admin(request.scope):
            raise wire.PermissionDenied("The metrics are for administrators: send an admin key.")
        if self._figures is None:
            raise wire.NotFound("Metrics are not installed here: pip install 'antiphon[metrics]'.")
        return Response(await self._figures(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})


class Watched:
    """Counts, times and traces the requests of an application: by route, never by what stands in the path."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics | None, traces: Traces | None = None, health: Health | None = None
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._traces = traces
        self.health = health or Health()  # for whoever stops the server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http" or (self._metrics is None and self._traces is None):
            return await self._app(scope, receive, send)
        traces = self._traces if scope["path"] not in PATHS else None
        seen = _Answer(scope, send, self._metrics)
        try:
            with traces.request(scope) if traces is not None else nullcontext() as span:
                try:
                    await self._app(scope, receive, seen.send)
                finally:
                    if traces is not None:
                        traces.answered(span, method_of(scope), route_of(scope), seen.status)
        finally:
            seen.end()


class _Answer:
    """What is seen of one answer as it is sent."""

    def __init__(self, scope: Scope, send: Send, metrics: Metrics | None) -> None:
        self.status = 500  # what nobody answers is a fault of ours
        self._scope = scope
        self._send = send
        self._metrics = metrics
        self._began = time.perf_counter()
        self._streams = False
        self._waits = True

    async def send(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._streams = any(
                name == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"]
            )
            if self._streams and self._metrics is not None:
                self._metrics.of("antiphon_open_streams").inc()
        elif self._streams and self._waits:
            self._waits = False
            if self._metrics is not None:
                took = time.perf_counter() - self._began
                self._metrics.of("antiphon_stream_first_event_seconds", route_of(self._scope)).observe(took)
        await self._send(message)

    def end(self) -> None:
        """Count it."""
        if self._metrics is None:
            return
        method, route = method_of(self._scope), route_of(self._scope)
        self._metrics.of("antiphon_http_requests_total", method, route, str(self.status)).inc()
        if self._streams:
            self._metrics.of("antiphon_open_streams").dec()
        else:
            took = time.perf_counter() - self._began
            self._metrics.of("antiphon_http_request_seconds", method, route).observe(took)
