"""The server as its users have it: a process of its own, spoken to over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 60.0  # seconds: no test waits longer for anything
READY = re.compile(r"Antiphon is listening on (http://\S+)")


@dataclass(frozen=True)
class Answer:
    """One whole HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error it carries; fails where it carries none."""
        assert self.status >= 400, self.body
        return self.json()["error"]


class Server:
    """`antiphon serve` with these arguments, on a free port that it keeps when it is restarted."""

    def __init__(self, arguments: Sequence[str], data: Path, environment: dict[str, str] | None = None) -> None:
        self.data = data
        self.port = 0
        self._arguments = arguments
        self._environment = environment or {}
        self._log = data.parent / f"{data.name}.log"
        self._process: subprocess.Popen[str] | None = None
        self.restart()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that it has written to standard error."""
        return self._log.read_text(encoding="utf-8")

    def told(self, words: str, times: int = 1) -> str:
        """Wait until these words stand in the log; all of it."""
        until = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as pause:  # nothing is registered: it only waits
            while self.log.count(words) < times:
                assert time.monotonic() < until, f"{words!r} is not in the log: {self.log}"
                pause.select(0.05)
        return self.log

    # ------------------------------------------------------------------ the process

    def send(self, how: signal.Signals) -> None:
        """A signal."""
        assert self._process is not None
        self._process.send_signal(how)

    @property
    def ended(self) -> bool:
        """Whether it has ended, by itself or not."""
        return self._process is None or self._process.poll() is not None

    def restart(self) -> None:
        """Start it, or start it again: on the same data, and on the same port."""
        self.stop()
        command = [sys.executable, "-m", "antiphon", "serve", "--port", str(self.port), "--data", str(self.data)]
        with self._log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [*command, *self._arguments],
                env={**os.environ, **self._environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        found = READY.match(self._first_line())
        if found is None:
            self.stop()
        assert found is not None, f"the server did not start: {self.log}"
        self.port = urlsplit(found[1]).port or 0

    def _first_line(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda out: lines.put(out.readline()), args=[self._process.stdout], daemon=True).start()
        try:
            return lines.get(timeout=PATIENCE)
        except queue.Empty:
            return ""

    def stop(self) -> None:
        """End it as an operator would; nothing happens where it has ended."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def wait(self) -> int:
        """Wait until it has ended by itself; its exit status."""
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            self._process.wait(PATIENCE)
        finally:
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    # ------------------------------------------------------------------ plain HTTP

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request, one whole answer. A body that is not bytes is sent as JSON."""
        connection = self._send(method, path, body, headers)
        try:
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def create(self, input: Any, **fields: Any) -> Any:
        """POST /v1beta/interactions; the interaction, or a failure with the server's words."""
        answer = self.request("POST", "/v1beta/interactions", {"model": "scripted", "input": input} | fields)
        assert answer.status == 200, answer.body
        return answer.json()

    def get(self, id: str) -> Any:
        """GET /v1beta/interactions/{id}; the interaction, or a failure with the server's words."""
        answer = self.request("GET", f"/v1beta/interactions/{id}")
        assert answer.status == 200, answer.body
        return answer.json()

    def frames(self, method: str, path: str, body: Any = None) -> Iterator[bytes]:
        """The frames of a stream, each as it comes. Closing the iterator hangs up."""
        connection = self._send(method, path, body, None)
        try:
            response = connection.getresponse()
            assert response.status == 200, response.read()
            frame = b""
            while line := response.readline():
                frame += line
                if line == b"\n":
                    if not frame.startswith(b":"):  # a comment, for what stands between
                        yield frame
                    frame = b""
            assert not frame, f"a stream that breaks off within a frame: {frame!r}"
        finally:
            connection.close()

    def events(self, method: str, path: str, body: Any = None) -> Iterator[Any]:
        """The events of a stream, each as it comes, without the closing `done`."""
        for frame in self.frames(method, path, body):
            _, _, data = frame.partition(b"\ndata: ")
            if data.startswith(b"{"):
                yield json.loads(data)

    def follow(self, input: Any, **fields: Any) -> Iterator[Any]:
        """The events of a new interaction."""
        body = {"model": "scripted", "input": input, "stream": True} | fields
        return self.events("POST", "/v1beta/interactions", body)

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str] | None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if body is None else {"content-type": "application/json"}
        connection.request(method, path, data, kind | (headers or {}))
        return connection


ServerFactory = Callable[..., Server]  # see the fixture `server` in conftest.py
