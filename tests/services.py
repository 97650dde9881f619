"""Little JSON services on this machine: they answer what a test says, and remember what they were asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Any]


class Service:
    """A running service: `asked` are its requests, as method, path, parameters, headers and body."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str], str]] = []
        self.url = ""

    @property
    def parameters(self) -> dict[str, str]:
        """What the last request asked."""
        return self.asked[-1][2]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        self.asked.append((request.method, request.path, dict(request.query), dict(request.headers), body))
        answer = self._answer(request) if callable(self._answer) else self._answer
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, web.StreamResponse):
            return answer
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        return web.Response(text=json.dumps(answer), content_type="application/json")


@asynccontextmanager
async def service(answer: Any) -> AsyncIterator[Service]:
    """A service that gives this answer to everything: JSON, bytes, a response, or a function of the request."""
    it = Service(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", it.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        it.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield it
    finally:
        await runner.cleanup()


def status(code: int, body: str = "no") -> Answer:
    """Answers with an error."""
    return lambda request: web.Response(status=code, text=body)


async def never(request: web.Request) -> web.Response:
    """Says nothing for as long as the client stays."""
    await asyncio.Event().wait()
    return web.Response()
