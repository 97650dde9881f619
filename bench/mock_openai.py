"""A mock of an OpenAI-compatible server, so cheap that what a bench measures is the server in front of it.

It answers `POST /v1/chat/completions` (whole or streamed), `POST /v1/responses` (whole; LiteLLM's bridge asks there)
and `GET /v1/models`, and knows nothing of prompts.
How a stream behaves is written in the model's name, so that one mock serves every bench:

    mock-200tps-100            100 tokens, 200 a second (without `tps`: as fast as the reader takes them)
    mock-20tps-100-wait3       the same kind, the first token after 3 seconds
    mock-10000-hold30          10,000 tokens at once, then 30 seconds of silence before the end

Each streamed token is `@<CLOCK_MONOTONIC in ns>@`: whoever reads it on the same machine knows how old it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import httptools
import uvloop

# How many tokens an unpaced stream writes before other connections get their turn.
BURST = 100

_HEAD = b"HTTP/1.1 %s\r\ncontent-type: %s\r\n"
_STREAM_HEAD = _HEAD % (b"200 OK", b"text/event-stream") + b"transfer-encoding: chunked\r\n\r\n"
_COMMON = {"id": "chatcmpl-mock", "created": 1700000000, "model": "mock"}


@dataclass(frozen=True)
class Plan:
    """What one request asked for."""

    streamed: bool = False
    with_usage: bool = False
    tokens: int = 100
    per_second: float = 0.0
    wait: float = 0.0
    hold: float = 0.0


@lru_cache(maxsize=1024)  # a load generator sends the same bytes again and again
def read_plan(body: bytes) -> Plan:
    request = json.loads(body)
    name = request.get("model", "")

    def number(pattern: str, otherwise: float) -> float:
        found = re.search(rf"-{pattern}(?=-|$)", name)
        return float(found[1]) if found else otherwise

    return Plan(
        streamed=bool(request.get("stream")),
        with_usage=bool((request.get("stream_options") or {}).get("include_usage")),
        tokens=int(number(r"(\d+)", 100)),
        per_second=number(r"([\d.]+)tps", 0),
        wait=number(r"wait([\d.]+)", 0),
        hold=number(r"hold([\d.]+)", 0),
    )


def whole_reply(body: dict[str, object], status: bytes = b"200 OK") -> bytes:
    payload = json.dumps(body).encode()
    return _HEAD % (status, b"application/json") + b"content-length: %d\r\n\r\n" % len(payload) + payload


def http_chunk(payload: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(payload), payload)


def stream_event(choices: list[dict[str, object]], **more: object) -> bytes:
    return (
        b"data: "
        + json.dumps({**_COMMON, "object": "chat.completion.chunk", "choices": choices, **more}).encode()
        + b"\n\n"
    )


def usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}


ANSWER = whole_reply(
    {
        **_COMMON,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "The quick brown fox jumps over the lazy dog."},
                "finish_reason": "stop",
            }
        ],
        "usage": usage(10),
    }
)
RESPONSE = whole_reply(
    {
        "id": "resp_mock",
        "object": "response",
        "created_at": 1700000000,
        "status": "completed",
        "model": "mock",
        "output": [
            {
                "type": "message",
                "id": "msg_mock",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "The quick brown fox jumps over the lazy dog.", "annotations": []}
                ],
            }
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {"input_tokens": 9, "output_tokens": 10, "total_tokens": 19},
    }
)
MODELS = whole_reply({"object": "list", "data": [{"id": "mock", "object": "model", "created": 1, "owned_by": "bench"}]})
NOT_FOUND = whole_reply({"error": {"message": "no such path", "type": "not_found"}}, b"404 Not Found")
FIXED = {b"/v1/models": MODELS, b"/v1/responses": RESPONSE}

_ROLE = http_chunk(stream_event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]))
_BEFORE, _AFTER = stream_event([{"index": 0, "delta": {"content": "@@"}, "finish_reason": None}]).split(b"@@")
_STOP = http_chunk(stream_event([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
_END = http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def token_chunk() -> bytes:
    return http_chunk(b"%s@%d@%s" % (_BEFORE, time.monotonic_ns(), _AFTER))


class Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)
        self.stream: asyncio.Task[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.stream:
            self.stream.cancel()

    # The parser calls these.
    def on_message_begin(self) -> None:
        self.path, self.body = b"", b""

    def on_url(self, url: bytes) -> None:
        self.path += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.path == b"/v1/chat/completions":
            plan = read_plan(self.body)
            if plan.streamed:
                self.stream = asyncio.get_running_loop().create_task(self.send_stream(plan))
            else:
                self.transport.write(ANSWER)
        else:
            self.transport.write(FIXED.get(self.path, NOT_FOUND))

    async def send_stream(self, plan: Plan) -> None:
        self.transport.write(_STREAM_HEAD + _ROLE)
        await asyncio.sleep(plan.wait)
        await (self.send_paced(plan) if plan.per_second else self.send_unpaced(plan))
        await asyncio.sleep(plan.hold)
        last = http_chunk(stream_event([], usage=usage(plan.tokens))) if plan.with_usage else b""
        self.transport.write(_STOP + last + _END)

    async def send_paced(self, plan: Plan) -> None:
        """Keep to the schedule from the stream's start: a late token does not make the next one late too."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for sent in range(plan.tokens):
            ahead = start + sent / plan.per_second - loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            await self.writable.wait()
            self.transport.write(token_chunk())

    async def send_unpaced(self, plan: Plan) -> None:
        for sent in range(plan.tokens):
            self.transport.write(token_chunk())
            if sent % BURST == BURST - 1:
                await asyncio.sleep(0)
                await self.writable.wait()


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9099)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
