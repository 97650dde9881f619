"""The one place where errors become answers."""

from __future__ import annotations

import logging

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from antiphon import wire
from antiphon.server.decoding import Malformed

JSON = "application/json; charset=UTF-8"
logger = logging.getLogger("antiphon.server")


def answer(error: wire.ApiError, status: int | None = None) -> Response:
    """An error in the API's shape."""
    headers = {"retry-after": f"{error.retry_after:.0f}"} if error.retry_after is not None else None
    body = {"error": {"message": error.message, "code": error.code}}
    return Response(msgspec.json.encode(body), status or error.status, headers, JSON)


def translate(error: Exception, method: str, path: str) -> Response:
    """Any error as an answer. One that is a fault of ours is logged, and says no more than that to the caller."""
    if isinstance(error, wire.ApiError):
        return answer(error)
    if isinstance(error, Malformed):
        return _malformed(error)
    if isinstance(error, HTTPException) and error.status_code == 405:
        return answer(wire.InvalidRequest(f"{method} is not supported at '{path}'."), 405)
    if isinstance(error, HTTPException):
        return answer(wire.NotFound(f"There is nothing at '{path}'."))
    logger.error("%s %s", method, path, exc_info=error)
    return answer(wire.Internal("Internal error encountered."))


def _malformed(error: Malformed) -> Response:
    """What is not JSON gets google.rpc's form, as from the service (third parties)."""
    message = f"Invalid JSON payload received. {error}"
    body = {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
    return Response(msgspec.json.encode(body), 400, media_type=JSON)
