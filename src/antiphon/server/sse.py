"""A response that is a stream of frames, with a comment now and then so that nothing between thinks it dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PING_SECONDS = 15.0
PING = b": ping\n\n"  # the SDKs skip comments (tried with 2.0.0, 2.34.0 and 3.4.0)
HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would otherwise collect the stream
}


class EventStream(Response):
    """Frames as they come, `done` among them. A stream that ends without it has not ended: the client may come back.

    `gone` is awaited when the client leaves before the end.
    """

    def __init__(self, frames: AsyncIterator[bytes], gone: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._frames = frames
        self._gone = gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until nobody reads any more."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(left(receive))
        pinging = asyncio.create_task(_ping(send))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done() and self._gone is not None:
                await self._gone()
            elif sending.done():
                sending.result()  # a fault while sending is a fault of ours: it is logged, and the connection ends
        finally:
            for task in (sending, leaving, pinging):
                task.cancel()
            await asyncio.gather(sending, leaving, pinging, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        async for frames in self._frames:
            await send({"type": "http.response.body", "body": frames, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def left(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ping(send: Send) -> None:
    while True:
        await asyncio.sleep(PING_SECONDS)
        await send({"type": "http.response.body", "body": PING, "more_body": True})
