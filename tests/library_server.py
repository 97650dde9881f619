"""A library behind the real routes and the real edge, served from a thread of the test's process."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import uvicorn

from antiphon.engine import Engine
from antiphon.keyring import Keyring
from antiphon.library import Library, Quotas
from antiphon.ports import Document, Leaf, Unreadable
from antiphon.server.edge import Edge
from antiphon.server.routes import application
from antiphon.stores.memory_ledger import MemoryLedger
from serving import PATIENCE, Answer

KEY, OTHER_KEY = "a-key-of-one-project", "a-key-of-another"
QUOTAS = Quotas(file=40_000, document=30_000, project=100_000, store=60_000)


async def read(body: bytes, mime_type: str | None = None, name: str | None = None) -> Document:
    """Text, a page for each form feed."""
    if mime_type == "application/zip":
        raise Unreadable("The archive unpacks to more than 100 MB.")
    if body == b"a fault":
        raise RuntimeError("nobody expected this")
    if body == b"endless":
        await asyncio.Event().wait()
    pages = body.decode(errors="replace").split("\f")
    return Document(leaves=tuple(Leaf(page, number) for number, page in enumerate(pages, 1)))


class LibraryServer:
    """`with LibraryServer(folder) as server`: two keys, two projects."""

    def __init__(self, data: Path | None, quotas: Quotas = QUOTAS) -> None:
        self._data = data
        self._quotas = quotas
        self._started = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        library = Library(self._data, read, quotas=self._quotas, reading=2.0)
        await library.start()
        app = application(cast(Engine, None), cast(Any, None), library=library)
        keyring = Keyring(MemoryLedger(time.time), {KEY: "one", OTHER_KEY: "two"})
        edge = Edge(app, keyring, ())
        config = uvicorn.Config(edge, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await self._server.serve([self._socket])
        await library.aclose()

    def __enter__(self) -> LibraryServer:
        self._thread.start()
        assert self._started.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        self._socket.close()

    # ------------------------------------------------------------------ plain HTTP

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, key: str | None = KEY
    ) -> Answer:
        """One request, one whole answer. A body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        named = {"x-goog-api-key": key} if key is not None else {}
        try:
            connection.request(method, path.removeprefix(self.url), data, named | (headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def raw(self, path: str, body: bytes, kind: str = "text/plain", **headers: str) -> Answer:
        """An upload in one request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, body, {"x-goog-upload-protocol": "raw", "content-type": kind} | named)

    def start(self, path: str, body: Any = None, size: int | None = None, kind: str = "text/plain") -> str:
        """Begin a resumable upload; its URL."""
        headers = {
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-upload-header-content-type": kind,
        }
        if size is not None:
            headers["x-goog-upload-header-content-length"] = str(size)
        answer = self.request("POST", path, body, headers)
        assert answer.status == 200 and answer.headers["x-goog-upload-status"] == "active", answer.body
        return answer.headers["x-goog-upload-url"]

    def go_on(self, url: str, command: str, body: bytes = b"", offset: int | None = None) -> Answer:
        """The next request of a resumable upload, without a key, as the official clients send it."""
        headers = {"x-goog-upload-command": command}
        if offset is not None:
            headers["x-goog-upload-offset"] = str(offset)
        return self.request("POST", url, body, headers, key=None)

    def store(self, **fields: Any) -> str:
        """The name of a new store."""
        answer = self.request("POST", "/v1beta/fileSearchStores", fields)
        assert answer.status == 200, answer.body
        return cast(str, answer.json()["name"])

    def done(self, operation: Any) -> Any:
        """An operation when it is done."""
        while not operation.get("done"):
            operation = self.request("GET", f"/v1beta/{operation['name']}").json()
        return operation


@contextlib.contextmanager
def serving(data: Path | None, quotas: Quotas = QUOTAS) -> Iterator[LibraryServer]:
    """One that lives as long as the block."""
    with LibraryServer(data, quotas) as server:
        yield server
