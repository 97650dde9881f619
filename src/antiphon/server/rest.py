"""What the routes of files and stores share: strict JSON in either spelling, pages, and errors as google.rpc has them.

These APIs answer errors as `{"error": {"code": 404, "message": "…", "status": "NOT_FOUND"}}`, the interactions do not.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from antiphon import wire
from antiphon.faults import explain
from antiphon.server import decoding
from antiphon.server.decoding import Malformed, check_depth
from antiphon.server.errors import JSON

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
_encode = msgspec.json.Encoder().encode
_SPELLING = re.compile(r"_([a-z0-9])")
_COMMON = {"key", "alt", "$alt", "prettyPrint", "fields"}
_LARGEST = 2**20  # bytes of JSON
_STATUS = {
    "invalid_request": "INVALID_ARGUMENT",
    "authentication": "UNAUTHENTICATED",
    "rate_limit_exceeded": "RESOURCE_EXHAUSTED",
    "api_error": "INTERNAL",
    "service_unavailable": "UNAVAILABLE",
}
GRPC = {"INVALID_ARGUMENT": 3, "NOT_FOUND": 5, "INTERNAL": 13, "CANCELLED": 1}


def rpc(handler: Handler) -> Handler:
    """A handler whose errors are answered in google.rpc's form. What is a fault of ours goes on to whoever logs it."""

    @wraps(handler)
    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except wire.ApiError as error:
            return error_answer(error)
        except Malformed as error:
            return error_answer(wire.InvalidRequest(f"Invalid JSON payload received. {error}"))

    return answered


def error_answer(error: wire.ApiError, headers: dict[str, str] | None = None) -> Response:
    """An error in google.rpc's form."""
    status = _STATUS.get(error.code, error.code.upper())
    body = {"error": {"code": error.status, "message": error.message, "status": status}}
    return Response(_encode(body), error.status, headers, JSON)


def answer(value: Any, headers: dict[str, str] | None = None) -> Response:
    """A resource."""
    return Response(_encode(value), 200, headers, JSON)


def query(request: Request, *names: str) -> dict[str, str]:
    """The query's values in camelCase; a name that is not known here is refused, as are parts of resources."""
    found = {}
    for name, value in request.query_params.items():
        if name in _COMMON:
            if name in ("alt", "$alt", "fields") and value not in ("json", "*"):
                raise wire.InvalidRequest(f"The value {value[:100]!r} is not supported for '{name}'.")
        elif (camel := _camel(name)) in names:
            found[camel] = value
        else:
            raise wire.InvalidRequest(f"Unknown parameter '{name[:100]}' in the query.")
    return found


def flag(query: dict[str, str], name: str) -> bool:
    """A truth in the query; the Python client writes it with a capital."""
    value = query.get(name, "false").lower()
    if value not in ("true", "false"):
        raise wire.InvalidRequest(f"{value[:100]!r} at '{name}' is neither 'true' nor 'false'.")
    return value == "true"


def count(text: str, most: int, place: str = "page_size") -> int:
    """How many a page has, at most `most`. Raises InvalidRequest."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        raise wire.InvalidRequest(f"{text[:100]!r} at '{place}' is not a number from 1 to {most}.")
    return int(text)


def page(query: dict[str, str], most: int) -> tuple[int, int | None]:
    """How many a page has, at most `most`, and the number it begins after. Raises InvalidRequest."""
    size = count(query.get("pageSize") or "10", most, "pageSize")
    if not (token := query.get("pageToken")):
        return size, None
    try:
        number = int(base64.urlsafe_b64decode(token))
        if not 0 <= number < 2**63:
            raise ValueError
        return size, number
    except ValueError:
        raise wire.InvalidRequest(f"{token[:100]!r} at 'pageToken' is none of ours.") from None


def token(items: Sequence[Any], size: int) -> str | None:
    """The token of the page after these items, which were asked for one more than there is room for."""
    return base64.urlsafe_b64encode(str(items[size - 1].seq).encode()).decode() if len(items) > size else None


def token_after(id: str | None) -> str | None:
    """The token of the page after the item with this id; nothing that a caller should read anything out of."""
    return None if id is None else base64.urlsafe_b64encode(id.encode()).decode()


def after(query: dict[str, str]) -> str:
    """The id that a page begins after, "" for the first. Raises InvalidRequest for a token that is not one of ours."""
    token = query.get("pageToken", "")
    try:
        id = base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii")
        if id.isprintable() and token_after(id) == token:
            return id
    except ValueError:
        pass
    raise wire.InvalidRequest(f"{token[:100]!r} at 'page_token' is none of ours.")


async def received(request: Request, largest: int = _LARGEST) -> bytes:
    """The request's bytes. Raises InvalidRequest for more than `largest`."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > largest:
            raise wire.InvalidRequest(f"The request is larger than {largest} bytes.")
    return b"".join(parts)


async def body(request: Request, kind: type[T]) -> T:
    """The request's JSON, in camelCase or, as the Python client sends it, in snake_case. Raises InvalidRequest."""
    return decode(await received(request), kind)


async def plain_body(request: Request, kind: type[T], largest: int = _LARGEST) -> T:
    """The request's JSON, in snake_case only; nothing at all is an empty object. Raises InvalidRequest, Malformed."""
    data = await received(request, largest)
    return decoding.decode(data if data.strip() else b"{}", kind)


def decode(data: bytes, kind: type[T]) -> T:
    """JSON as a type; nothing at all is an empty object. Raises InvalidRequest, Malformed."""
    check_depth(data)
    try:
        given = msgspec.json.decode(data) if data.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from None
    try:
        return msgspec.convert(_spelled(given), kind)
    except msgspec.ValidationError as error:
        raise wire.InvalidRequest(explain(str(error))) from None


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {_camel(name): _spelled(inner) for name, inner in value.items()}
    return [_spelled(inner) for inner in value] if isinstance(value, list) else value


def _camel(name: str) -> str:
    return _SPELLING.sub(lambda found: found[1].upper(), name)


def timestamp(seconds: float) -> str:
    """RFC 3339 with microseconds, as these APIs have it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def base_url(request: Request) -> str:
    """Where the caller reached this server, with the version that the URIs of resources have."""
    return f"{str(request.base_url).rstrip('/')}/v1beta"
