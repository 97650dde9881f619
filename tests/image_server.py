"""A little image server as OpenAI-compatible ones are: it draws one colour, and remembers what it was asked."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from PIL import Image


def picture(width: int, height: int, colour: str = "red", kind: str = "PNG") -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(target, kind)
    return target.getvalue()


class ImageServer:
    """`asked` are its requests: the path, the fields, and the pictures that came with them."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any] | None = None) -> None:
        self.asked: list[tuple[str, dict[str, Any], list[bytes]]] = []
        self.headers: dict[str, str] = {}
        self.url = ""
        self._answer = answer or self.draws

    @staticmethod
    def draws(fields: dict[str, Any]) -> Any:
        width, _, height = fields["size"].partition("x")
        return {"data": [{"b64_json": base64.b64encode(picture(int(width), int(height))).decode()}]}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.headers = dict(request.headers)
        fields: dict[str, Any] = {}
        pictures = []
        if request.content_type == "multipart/form-data":
            for name, value in (await request.post()).items():
                if isinstance(value, web.FileField):
                    assert name in ("image", "image[]")
                    pictures.append(value.file.read())
                else:
                    fields[name] = value
        elif request.method == "POST":
            fields = await request.json()
        self.asked.append((request.path, fields, pictures))
        answer = self._answer(fields)
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


@asynccontextmanager
async def image_server(answer: Callable[[dict[str, Any]], Any] | None = None) -> AsyncIterator[ImageServer]:
    """One that draws, or gives this answer."""
    it = ImageServer(answer)
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", it.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        it.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield it
    finally:
        await runner.cleanup()
