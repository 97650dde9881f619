"""The processes that draw, as this server holds them: one for each picture, under limits, ended when late."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

import msgspec

from antiphon import wire
from antiphon.drawing.easel import Answer, Job
from antiphon.drawing.sizes import wanted
from antiphon.drawing.svg import Unusable
from antiphon.media.headers import header_of
from antiphon.media.workers import start

_GRACE = 5.0  # seconds that a process may take beyond its work: to start, and to pass the picture on
_JPEG = "image/jpeg"


class Studio:
    """`easels` pictures are worked at together; each may take `seconds` of a processor and `memory` bytes.

    A picture of 4K is some 80 MB as pixels, and is held a few times while it is drawn.
    """

    def __init__(self, *, easels: int = 2, seconds: int = 20, memory: int = 3 * 2**29) -> None:
        self._places = asyncio.Semaphore(easels)
        self._seconds = seconds
        self._memory = memory

    async def draw(self, svg: str, format: wire.ImageFormat) -> bytes:
        """A vector picture that a model wrote, as the format has it. Raises Unusable."""
        return await self._work(format, svg=svg)

    async def make_over(self, body: bytes, format: wire.ImageFormat) -> bytes:
        """A picture in the type and the size of the format; one that has them already is left alone. Raises Unusable."""
        header = header_of(body)
        if header is None:
            raise Unusable("It is no picture that is known here.")
        if (header.mime_type, (header.width, header.height)) == (format.mime_type or _JPEG, wanted(format)):
            return body
        return await self._work(format, body=body)

    async def _work(self, format: wire.ImageFormat, *, svg: str | None = None, body: bytes = b"") -> bytes:
        width, height = wanted(format)
        job = Job(
            svg=svg,
            body=body,
            width=width,
            height=height,
            mime_type=format.mime_type or _JPEG,
            seconds=self._seconds,
            memory=self._memory,
        )
        async with self._places:
            answer = await self._ask(msgspec.msgpack.encode(job))
        if answer.reason:
            raise Unusable(answer.reason)
        return answer.body

    async def _ask(self, job: bytes) -> Answer:
        process = await start("antiphon.drawing.easel")
        try:
            async with asyncio.timeout(self._seconds + _GRACE):
                written, _ = await process.communicate(job)
            return msgspec.msgpack.decode(written, type=Answer)
        except (TimeoutError, msgspec.DecodeError, OSError):
            raise Unusable("It takes too long or too much memory to draw.") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
