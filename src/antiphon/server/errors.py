"""The one place where errors become answers."""

from __future__ import annotations

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from antiphon import wire
from antiphon.server.decoding import Malformed

JSON = "application/json; charset=UTF-8"


def answer(error: wire.ApiError) -> Response:
    """An error in the API's shape."""
    headers = {"retry-after": f"{error.retry_after:.0f}"} if error.retry_after is not None else None
    body = {"error": {"message": error.message, "code": error.code}}
    return Response(msgspec.json.encode(body), error.status, headers, JSON)


async def on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, wire.ApiError)
    return answer(error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Paths and methods that do not exist."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        wrong = wire.InvalidRequest(f"{request.method} is not supported at '{request.url.path}'.")
        wrong.status = 405
        return answer(wrong)
    return answer(wire.NotFound(f"There is nothing at '{request.url.path}'."))


async def on_malformed(request: Request, error: Exception) -> Response:
    """What is not JSON gets google.rpc's form, as from the service (recorded by third parties)."""
    body = {
        "error": {
            "code": 400,
            "message": f"Invalid JSON payload received. {error}",
            "status": "INVALID_ARGUMENT",
        }
    }
    return Response(msgspec.json.encode(body), 400, media_type=JSON)


async def on_fault(request: Request, error: Exception) -> Response:
    """A fault of ours: the traceback is logged by the server, the caller learns no more than that."""
    return answer(wire.Internal("Internal error encountered."))


HANDLERS = {
    wire.ApiError: on_api_error,
    HTTPException: on_http_error,
    Malformed: on_malformed,
    Exception: on_fault,
}
