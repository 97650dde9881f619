"""The bytes behind a URI that a request names: of a file of this server, or of the web."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from antiphon import wire
from antiphon.library.files import Files
from antiphon.library.shelf import Shelf
from antiphon.ports import Fetch, FetchError, Unreadable

# A file of the API by its name, or by its address at whatever host the caller reaches the server under.
_FILE = re.compile(r"(?:https?://[^/?#]+(?:/[^?#]*)?/v\d\w*/)?/?files/([a-z0-9-]{1,40})(?::download)?(?:[?#].*)?", re.I)
_VIDEOS = re.compile(r"(?:(?:www|m|music)\.)?(?:youtube\.com|youtube-nocookie\.com|youtu\.be)")
_SECONDS = 60.0  # to fetch a medium of the web


class Obtaining:
    """`ports.Obtain`. A medium has at most `largest` bytes; without `fetch` nothing is had from the web."""

    def __init__(self, shelf: Shelf, files: Files, fetch: Fetch | None, largest: int) -> None:
        self._shelf = shelf
        self._files = files
        self._fetch = fetch
        self._largest = largest

    async def __call__(self, project: str, uri: str) -> tuple[bytes, str | None, str | None]:
        """Body, media type and name. Raises Unreadable, in words for the user."""
        uri = uri.strip()
        if (found := _FILE.fullmatch(uri)) is not None:
            return await self._of_file(project, found[1].lower())
        shown = f"'{uri[:200]}'"
        try:
            parts = urlsplit(uri)
            host = (parts.hostname or "").rstrip(".")
        except ValueError:
            raise Unreadable(f"{shown} is no URI.") from None
        if parts.scheme == "gs":
            raise Unreadable(
                f"{shown} is in Google's storage, which this server does not reach. Upload it to the Files API, or name an "
                "https address of it."
            )
        if parts.scheme not in ("http", "https") or not host:
            raise Unreadable(f"{shown} is neither a file of the Files API ('files/ID') nor an https address.")
        if _VIDEOS.fullmatch(host):
            raise Unreadable(
                f"{shown} is a page of YouTube's: its videos cannot be had from there. Upload the video to the Files API."
            )
        return await self._of_web(uri, shown, parts.path)

    async def _of_file(self, project: str, id: str) -> tuple[bytes, str | None, str | None]:
        try:
            file = await self._files.get(project, id)
        except wire.NotFound:
            raise Unreadable(f"The file 'files/{id}' was not found: files are kept for 48 hours.") from None
        if file.size > self._largest:
            raise Unreadable(f"The file 'files/{id}' has {file.size} bytes; at most {self._largest} can be read here.")
        try:
            (body,) = await self._shelf.blobs.get([file.sha256])
        except wire.Unavailable as error:
            raise Unreadable(f"The file 'files/{id}' cannot be read at present: {error.message}") from None
        return body, file.mime_type, file.shown

    async def _of_web(self, uri: str, shown: str, path: str) -> tuple[bytes, str | None, str | None]:
        if self._fetch is None:
            raise Unreadable(f"{shown} is on the web, which this server does not reach. Upload it to the Files API.")
        try:
            got = await self._fetch(uri, largest=self._largest, seconds=_SECONDS)
        except FetchError as error:
            raise Unreadable(f"{shown} cannot be fetched. {error}") from None
        mime_type = None if got.mime_type == "application/octet-stream" else got.mime_type
        return got.body, mime_type, unquote(path.rpartition("/")[2])[:200] or None
