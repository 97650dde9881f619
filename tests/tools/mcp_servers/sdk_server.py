"""A server made with the official SDK, as a process: prints its port, then serves until it is ended."""

from __future__ import annotations

import socket
import sys
from typing import TypedDict

import uvicorn
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.types import ToolAnnotations

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415478da63f8cfc000000301"
    "01001bb6ee560000000049454e44ae426082"
)

server = MCPServer("Weather station")


class Weather(TypedDict):
    """The weather of a place."""

    place: str
    degrees: int


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def weather(place: str) -> Weather:
    """The weather of a place."""
    return {"place": place, "degrees": 21}


@server.tool()
def picture(caption: str = "One pixel") -> list[str | Image]:
    """Draw a picture."""
    return [caption, Image(data=PIXEL, format="png")]


@server.tool()
def fail(reason: str) -> str:
    """Fail."""
    raise ValueError(reason)


@server.tool(name="who.am i?")
def who(ctx: Context) -> str:
    """Say what key the request had."""
    return (ctx.headers or {}).get("x-station-key", "none")


@server.tool()
def long_text(lines: int) -> str:
    """Write many lines."""
    return "\n".join(f"This is line {number}." for number in range(lines))


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    print(listening.getsockname()[1], flush=True)
    app = server.streamable_http_app()
    uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)).run(sockets=[listening])
