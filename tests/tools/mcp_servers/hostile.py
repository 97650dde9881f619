"""A little MCP server that can be told to misbehave: each method is a function of the test's."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Method = Callable[[Any, BaseHTTPRequestHandler], Any]
TOOL = {"name": "look", "description": "Look.", "inputSchema": {"type": "object", "properties": {}}}


class Raw(Exception):
    """Raised by a method that has written its own response."""


def write(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, type: str = "application/json", **more: str
) -> None:
    """One whole response."""
    handler.send_response(status)
    handler.send_header("content-type", type)
    handler.send_header("content-length", str(len(body)))
    for name, value in more.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def raw(status: int, body: bytes, type: str = "application/json", **more: str) -> Method:
    """A method that answers with these bytes."""

    def method(request: Any, handler: BaseHTTPRequestHandler) -> Any:
        write(handler, status, body, type, **more)
        raise Raw

    return method


def refusing(message: str) -> Method:
    """A method that answers with an error of the protocol."""

    def method(request: Any, handler: BaseHTTPRequestHandler) -> Any:
        error = {"code": -32602, "message": message}
        write(handler, 200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}).encode())
        raise Raw

    return method


def stream(pieces: Callable[[Any], Iterator[bytes]]) -> Method:
    """A method that answers with an event stream, until the client goes away."""

    def method(request: Any, handler: BaseHTTPRequestHandler) -> Any:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        for piece in pieces(request):
            handler.wfile.write(piece)
            handler.wfile.flush()
        raise Raw

    return method


def initialized(request: Any, handler: BaseHTTPRequestHandler) -> Any:
    """The handshake, with a session's id."""
    info = {"name": "hostile", "version": "1"}
    result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
    body = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()
    write(handler, 200, body, mcp_session_id="s1")
    raise Raw


GOOD: dict[str, Method] = {
    "initialize": initialized,
    "tools/list": lambda request, handler: {"tools": [TOOL]},
    "tools/call": lambda request, handler: {"content": [{"type": "text", "text": "A wall."}]},
}


class Hostile:
    """It is at `url`; `seen` has all requests, each its HTTP method, its JSON and its headers."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self.methods = {**GOOD, **methods}
        self.seen: list[tuple[str, Any, Mapping[str, str]]] = []
        self.over = threading.Event()
        hostile = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                hostile.answer(self, json.loads(body or b"null"))

            do_GET = do_DELETE = do_POST  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"

    def answer(self, handler: BaseHTTPRequestHandler, request: Any) -> None:
        self.seen.append((handler.command, request, dict(handler.headers)))
        name = request["method"] if request else handler.command
        try:
            if request and "id" not in request:
                return write(handler, 202, b"")
            if name not in self.methods:
                return write(handler, 404, b"")
            result = self.methods[name](request, handler)
            write(handler, 200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode())
        except Raw:
            handler.close_connection = True
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True

    def asked(self, name: str) -> list[Any]:
        """The requests of one method."""
        return [request for _, request, _ in self.seen if request and request["method"] == name]


@contextmanager
def hostile(methods: Mapping[str, Method] | None = None) -> Iterator[Hostile]:
    """A server, for as long as the block lasts. What waits for `over` goes on at its end."""
    made = Hostile(methods or {})
    thread = threading.Thread(target=made.server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        made.server.shutdown()
        made.server.server_close()
        thread.join()
