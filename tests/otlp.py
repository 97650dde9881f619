"""A collector of traces: takes what OTLP over HTTP sends, and keeps it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE = 60.0


class Collector:
    """The spans that have come, by name; `raw` is all that was sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.raw = b""
        self.resources: list[dict[str, str]] = []
        self._spans: list[Any] = []
        self._more = threading.Condition()

    def take(self, body: bytes) -> None:
        """Keep what one request brings."""
        sent = ExportTraceServiceRequest.FromString(body)
        with self._more:
            self.raw += body
            for resource in sent.resource_spans:
                self.resources.append({one.key: one.value.string_value for one in resource.resource.attributes})
                for scope in resource.scope_spans:
                    self._spans += scope.spans
            self._more.notify_all()

    def spans(self, name: str, times: int = 1) -> list[Any]:
        """Wait for so many spans of a name."""
        with self._more:
            found = lambda: [span for span in self._spans if span.name == name]  # noqa: E731
            assert self._more.wait_for(lambda: len(found()) >= times, PATIENCE), [span.name for span in self._spans]
            return found()

    def names(self) -> list[str]:
        """The names of all that have come."""
        with self._more:
            return [span.name for span in self._spans]


def attributes(span: Any) -> dict[str, Any]:
    """A span's attributes as plain values."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@contextmanager
def collector() -> Iterator[Collector]:
    """One on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            here.take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()
