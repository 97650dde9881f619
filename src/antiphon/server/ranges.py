"""Bytes in an answer: all of them or one range, as RFC 9110 has it, a piece at a time."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

Part = Callable[[int, int], Awaitable[bytes]]  # first and size
_PIECE = 2**20  # bytes
_RANGE = re.compile(r"bytes\s*=\s*(?:(\d{1,18})\s*-\s*(\d{1,18})?|-\s*(\d{1,18}))\s*", re.I)


def download(request: Request, part: Part, *, size: int, sha256: str, mime_type: str, name: str) -> Response:
    """What a caller left, or the range of it that is asked for; `part` reads it.

    It is never shown as a page of this server: the caller may have written a program. Several ranges at once, and ranges in
    other units, are answered with all of it.
    """
    tag = f'"{sha256}"'  # a name's bytes never change; another file under the name has another digest
    headers = {
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": f"attachment; filename*=utf-8''{quote(name, safe='')}",
        "content-type": mime_type,
        "etag": tag,
        "x-content-type-options": "nosniff",
    }
    if _names(request.headers.get("if-none-match"), tag):
        return Response(None, 304, headers)
    first, last, status = 0, size - 1, 200
    if request.headers.get("if-range", tag).strip() == tag and (asked := _asked(request.headers.get("range"), size)):
        first, last = asked
        status = 206
        if not first <= last:
            return Response(b"", 416, headers | {"content-range": f"bytes */{size}"})
        headers["content-range"] = f"bytes {first}-{last}/{size}"
    headers["content-length"] = str(last - first + 1)
    if request.method == "HEAD":
        return Response(None, status, headers)
    return StreamingResponse(_pieces(part, first, last), status, headers)


def _names(given: str | None, tag: str) -> bool:
    """Whether `If-None-Match` has a tag, or any."""
    tags = [word.strip().removeprefix("W/") for word in (given or "").split(",")]
    return tag in tags or "*" in tags


def _asked(given: str | None, size: int) -> tuple[int, int] | None:
    """The first and the last byte of a range; the first is behind the last where there is none of it to be had."""
    found = _RANGE.fullmatch(given.strip()) if given else None
    if found is None:
        return None
    if found[3] is not None:  # the last so many
        return max(size - int(found[3]), 0), size - 1 if int(found[3]) else -1
    first, last = int(found[1]), size - 1 if found[2] is None else int(found[2])
    if found[2] is not None and last < first:
        return None  # no range at all, says the RFC
    return first, min(last, size - 1)


async def _pieces(part: Part, first: int, last: int) -> AsyncIterator[bytes]:
    while first <= last:
        piece = await part(first, min(_PIECE, last - first + 1))
        if not piece:
            raise EOFError("the bytes end before they should")
        yield piece
        first += len(piece)
