"""Uploads to the Files API and to file search stores: resumable, raw and multipart.

The protocol is the service's: `X-Goog-Upload-Protocol` says which form it is, `X-Goog-Upload-Command` what a request of
a resumable upload wants. A request that goes on with an upload is known by the secret in its URL and needs no key.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from antiphon import wire
from antiphon.library import Library
from antiphon.library.files import StoredFile, check_name
from antiphon.library.stores import Operation
from antiphon.library.uploads import About, Upload
from antiphon.server import file_stores, files, multipart, rest
from antiphon.server.rest import Handler
from antiphon.wire import files as types

_PROTOCOLS = {"media": "raw", "multipart": "multipart", "resumable": "resumable"}  # the values of `uploadType`
_COMMANDS = {"upload", "finalize", "query", "cancel"}


def table(library: Library) -> list[tuple[str, str, Handler]]:
    """The routes, in the order in which they are tried."""
    routes = Routes(library)
    paths = ("/upload/files", "/upload/fileSearchStores/{store}:uploadToFileSearchStore")
    return [(method, path, rest.rpc(routes.upload)) for path in paths for method in ("POST", "PUT")]


_MEDIA_TYPE = re.compile(r"[\x20-\x7e]{1,255}")


def _media_type(given: str | None) -> str | None:
    """What downloads will be sent as, so it must be able to stand in a header. Raises InvalidRequest."""
    if given and not _MEDIA_TYPE.fullmatch(given):
        raise wire.InvalidRequest(f"{given[:100]!r} at 'mimeType' is no media type.")
    return given


class Routes:
    """One handler for all, since every upload begins at the same URL."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._uploads = library.uploads

    async def upload(self, request: Request) -> Response:
        """POST or PUT /upload/…: begin an upload, go on with one, or do all of it at once."""
        query = rest.query(request, "uploadId", "uploadProtocol", "uploadType")
        if "uploadId" in query:
            return await self._go_on(request, query["uploadId"])
        asked = request.headers.get("x-goog-upload-protocol") or _PROTOCOLS.get(query.get("uploadType", ""), "")
        match asked.lower():
            case "resumable":
                return await self._start(request)
            case "raw":
                return await self._raw(request)
            case "multipart":
                return await self._multipart(request)
        raise wire.InvalidRequest("X-Goog-Upload-Protocol must be 'resumable', 'raw' or 'multipart'.")

    # ------------------------------------------------------------------ resumable

    async def _start(self, request: Request) -> Response:
        command = request.headers.get("x-goog-upload-command", "start")
        if command.lower() != "start":
            raise wire.InvalidRequest(f"An upload begins with the command 'start', not '{command[:100]}'.")
        announced = _number(request, "x-goog-upload-header-content-length")
        kind = request.headers.get("x-goog-upload-header-content-type")
        about = await self._about(request, await _body(request), kind)
        id = await self._begin(request, about, announced)
        url = str(
            request.url.include_query_params(upload_id=id, upload_protocol="resumable").remove_query_params("key")
        )
        headers = {"x-goog-upload-url": _with_version(url), "x-goog-upload-control-url": _with_version(url)}
        return Response(b"", 200, _status("active", 0) | headers)

    async def _go_on(self, request: Request, id: str) -> Response:
        commands = {word.strip().lower() for word in request.headers.get("x-goog-upload-command", "").split(",")}
        try:
            upload = await self._uploads.get(id)
            if not commands <= _COMMANDS or not commands:
                raise wire.InvalidRequest("X-Goog-Upload-Command must be 'upload', 'finalize', 'query' or 'cancel'.")
            return await self._obey(request, upload, commands)
        except wire.ApiError as error:
            # A status tells the official clients that trying the same again is of no use.
            return rest.error_answer(error, await self._state(id))

    async def _obey(self, request: Request, upload: Upload, commands: set[str]) -> Response:
        if "cancel" in commands:
            await self._uploads.cancel(upload.id)
            return Response(b"", 200, await self._state(upload.id))
        if "upload" in commands and upload.state == "active":
            await self._uploads.receive(upload.id, _number(request, "x-goog-upload-offset"), request.stream())
        if "finalize" in commands:
            made = await self._uploads.finish(upload.id)
            return self._made(request, upload.store, made, _status("final"))
        return Response(b"", 200, await self._state(upload.id))

    async def _state(self, id: str) -> dict[str, str]:
        try:
            upload = await self._uploads.get(id)
        except wire.ApiError:
            return _status("cancelled")
        if upload.state != "active":
            return _status(upload.state)
        return _status("active", await self._uploads.received(id))

    # ------------------------------------------------------------------ all at once

    async def _raw(self, request: Request) -> Response:
        kind = request.headers.get("x-goog-upload-header-content-type") or request.headers.get("content-type")
        about = await self._about(request, b"", kind)
        return await self._whole(request, about, request.stream(), size=_number(request, "content-length"))

    async def _multipart(self, request: Request) -> Response:
        """Two parts: JSON about the bytes, and the bytes."""
        parts = multipart.parts(request.headers.get("content-type", ""), request.stream())
        try:
            said = await anext(parts)
            about = await self._about(request, await multipart.whole(said, 2**20), None)
            content = await anext(parts)
            if about.mime_type is None:
                about = msgspec.structs.replace(about, mime_type=_media_type(content.mime_type))
            return await self._whole(request, about, content.data, content.file_name)
        except StopAsyncIteration:
            raise wire.InvalidRequest(
                "A multipart upload has two parts: JSON about the bytes, and the bytes."
            ) from None

    async def _whole(
        self,
        request: Request,
        about: About,
        data: AsyncIterator[bytes],
        file_name: str | None = None,
        size: int | None = None,
    ) -> Response:
        id = await self._begin(request, about, size, file_name)
        try:
            await self._uploads.receive(id, 0, data)
            made = await self._uploads.finish(id)
        except (wire.ApiError, ClientDisconnect):
            await self._uploads.cancel(id)
            raise
        return self._made(request, request.path_params.get("store"), made, {})

    # ------------------------------------------------------------------ both

    async def _begin(self, request: Request, about: About, size: int | None, file_name: str | None = None) -> str:
        name = file_name or request.headers.get("x-goog-upload-file-name")
        project, store = request.scope["project"], request.path_params.get("store")
        return await self._uploads.start(project, store, about, size=size, file_name=_plain(name))

    async def _about(self, request: Request, body: bytes, kind: str | None) -> About:
        """What the JSON beside the bytes says; `kind` is the media type that the headers name."""
        if "store" in request.path_params:
            document = rest.decode(body, types.UploadToFileSearchStore)
            chunks = file_stores.chunking(document.chunking_config)
            return About(
                display_name=document.display_name,
                mime_type=_media_type(document.mime_type or kind),
                metadata=file_stores.metadata(document.custom_metadata),
                max_tokens=chunks.max_tokens,
                overlap=chunks.overlap,
            )
        file = rest.decode(body, types.CreateFile).file or types.File()
        await self._check_free(request, id := check_name(file.name))
        return About(id=id, display_name=file.display_name, mime_type=_media_type(file.mime_type or kind))

    async def _check_free(self, request: Request, id: str | None) -> None:
        """A name that is taken is refused before the bytes come."""
        if id is None:
            return
        try:
            await self._library.files.get(request.scope["project"], id)
        except wire.NotFound:
            return
        raise wire.AlreadyExists(f"There is a file 'files/{id}' already.")

    def _made(
        self, request: Request, store: str | None, made: StoredFile | Operation, headers: dict[str, str]
    ) -> Response:
        if isinstance(made, StoredFile):
            return rest.answer({"file": files.resource(made, rest.base_url(request))}, headers)
        assert store is not None
        return rest.answer(file_stores.operation(store, made), headers)


def _status(state: str, received: int | None = None) -> dict[str, str]:
    headers = {"x-goog-upload-status": state}
    if received is not None:
        headers |= {"x-goog-upload-size-received": str(received), "x-goog-upload-chunk-granularity": "1"}
    return headers


def _with_version(url: str) -> str:
    """The URL of an upload with the version that was taken off the path."""
    return url.replace("/upload/", "/upload/v1beta/", 1) if "/upload/v" not in url else url


def _number(request: Request, header: str) -> int | None:
    value = request.headers.get(header)
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise wire.InvalidRequest(f"{header} must be a number of bytes, not '{value[:100]}'.")
    return int(value)


def _plain(name: str | None) -> str | None:
    """A file's name without its folders, and not endless."""
    return name.replace("\\", "/").rpartition("/")[2][:512] or None if name else None


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    async for part in request.stream():
        parts.append(part)
        if sum(map(len, parts)) > 2**20:
            raise wire.InvalidRequest("What is said about an upload is larger than 1 MiB.")
    return b"".join(parts)
