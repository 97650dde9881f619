"""Somebody who is told by webhooks: a little HTTP server in a thread, which keeps what it was sent."""

from __future__ import annotations

import contextlib
import json
import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serving import PATIENCE

Answer = int | bytes | None  # a status, a whole answer as bytes, or nothing at all until the receiver is closed


@dataclass(frozen=True)
class Told:
    """One request."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """`answer` is what everybody gets, or says so for each request and its number."""

    def __init__(self, answer: Answer | Callable[[Told, int], Answer] = 200, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.told: list[Told] = []
        self.closing = threading.Event()
        self._arrived: queue.Queue[Told] = queue.Queue()
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                told = Told(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                receiver._answer(told, self)

            def handle(self) -> None:
                with contextlib.suppress(ssl.SSLError, ConnectionError):  # who does not trust it leaves
                    super().handle()

            def log_message(self, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 512  # that many may knock at once

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self.thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def allow(self) -> str:
        """What makes it reachable."""
        return f"127.0.0.1:{self.port}"

    def next(self) -> Told:
        """The next request, as it comes."""
        return self._arrived.get(timeout=PATIENCE)

    def _answer(self, told: Told, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.told.append(told)
            number = len(self.told)
        self._arrived.put(told)
        answer = self.answer(told, number) if callable(self.answer) else self.answer
        if answer is None:
            self.closing.wait(PATIENCE)
            return
        if isinstance(answer, bytes):
            handler.wfile.write(answer)
            return
        handler.send_response(answer)
        handler.send_header("content-length", "0")
        handler.end_headers()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self.thread.join(PATIENCE)


@contextmanager
def receiving(
    answer: Answer | Callable[[Told, int], Answer] = 200, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """One that lives as long as the block."""
    receiver = Receiver(answer, tls)
    receiver.thread.start()
    try:
        yield receiver
    finally:
        receiver.close()
