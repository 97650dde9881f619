"""The Files API: what was uploaded, for two days. Uploading itself is in `uploads.py`."""

from __future__ import annotations

import base64

from starlette.requests import Request
from starlette.responses import Response

from antiphon import wire
from antiphon.library import Library
from antiphon.library.files import StoredFile, id_of
from antiphon.library.stores import StoredDocument
from antiphon.server import rest
from antiphon.server.ranges import download
from antiphon.server.rest import Handler
from antiphon.wire import files as types

_MOST = 100  # files of a page


def table(library: Library) -> list[tuple[str, str, Handler]]:
    """The routes, in the order in which they are tried."""
    routes = Routes(library)
    return [
        ("GET", "/files", rest.rpc(routes.page)),
        ("GET", "/files/{id}:download", rest.rpc(routes.download)),
        ("GET", "/files/{id}", rest.rpc(routes.get)),
        ("DELETE", "/files/{id}", rest.rpc(routes.delete)),
        # The clients put a file's address in the place of its id, unless it begins with https://: then they take it out.
        ("GET", "/files/http{id:path}:download", rest.rpc(routes.download)),
        ("GET", "/files/http{id:path}", rest.rpc(routes.get)),
        ("DELETE", "/files/http{id:path}", rest.rpc(routes.delete)),
    ]


def resource(file: StoredFile, base: str) -> types.File:
    """A file as callers see it. Unlike the service's, it can be downloaded again."""
    uri = f"{base}/files/{file.id}"
    return types.File(
        name=f"files/{file.id}",
        display_name=file.display_name,
        mime_type=file.mime_type,
        size_bytes=str(file.size),
        create_time=rest.timestamp(file.created),
        update_time=rest.timestamp(file.created),
        expiration_time=rest.timestamp(file.expires),
        # The service encodes the hexadecimal digits, not the bytes, of the digest: what its answers are found to have
        # (googleapis/js-genai, issue 381) is 88 characters that decode to 64 digits. Its documentation says only "base64".
        sha256_hash=base64.b64encode(file.sha256.encode()).decode(),
        uri=uri,
        download_uri=f"{uri}:download?alt=media",
        state="ACTIVE",
        source=file.source,
    )


class Routes:
    """One method a route."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def page(self, request: Request) -> Response:
        """GET /files: the newest first."""
        size, before = rest.page(rest.query(request, "pageSize", "pageToken"), _MOST)
        files = await self._library.files.page(request.scope["project"], before, size + 1)
        base = rest.base_url(request)
        shown = [resource(file, base) for file in files[:size]]
        return rest.answer(types.Files(files=shown or None, next_page_token=rest.token(files, size)))

    async def get(self, request: Request) -> Response:
        """GET /files/{id}."""
        rest.query(request)
        file = await self._library.files.get(request.scope["project"], _id(request))
        return rest.answer(resource(file, rest.base_url(request)))

    async def delete(self, request: Request) -> Response:
        """DELETE /files/{id}."""
        rest.query(request)
        await self._library.files.delete(request.scope["project"], _id(request))
        return rest.answer({})

    async def download(self, request: Request) -> Response:
        """GET /files/{id}:download?alt=media: the bytes."""
        if request.query_params.get("alt") != "media":
            raise wire.InvalidRequest("A download is asked for with alt=media.")
        file = await self._library.files.get(request.scope["project"], _id(request))
        return await file_of(self._library, request, file, file.shown)


def _id(request: Request) -> str:
    given: str = request.path_params["id"]
    return id_of(given) or given if "/" in given else given


async def file_of(library: Library, request: Request, kept: StoredFile | StoredDocument, name: str) -> Response:
    """The bytes of a file or of a document. What cannot be read at all is said before the answer begins."""

    async def part(first: int, size: int) -> bytes:
        return await library.part(kept.sha256, first, size)

    if request.method != "HEAD":
        await part(0, 1)
    return download(request, part, size=kept.size, sha256=kept.sha256, mime_type=kept.mime_type, name=name)
