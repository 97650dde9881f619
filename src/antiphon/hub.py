"""Files of the Hugging Face hub over plain HTTP: look at one, then download it, going on where it stopped.

The hub announces a file's SHA-256 and size in the headers of its first answer, before it redirects to the bytes. This
module reads the settings that the hub's own tools read (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE); it does not know which
hash is the right one, nor where files belong.
"""

import http.client
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO

_CHUNK = 1 << 20
_QUICK, _PATIENT = 5.0, 30.0  # seconds until the first answer: with another origin to try, and without
_READ_TIMEOUT = 30.0
_STALLS = 3


class HubError(Exception):
    """The hub does not give the file; the message says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the hub, as its headers announce it."""

    url: str
    size: int
    sha256: str | None


def look(repository: str, file: str, *, patient: bool = False) -> Found:
    """Ask for a file and read only what is said about it."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise HubError("HF_HUB_OFFLINE is set")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if not endpoint.startswith(("https://", "http://")):
        raise HubError(f"HF_ENDPOINT is {endpoint!r}, which is not an http address")
    url = f"{endpoint}/{repository}/resolve/main/{file}"
    return _answer_within(_PATIENT if patient else _QUICK, lambda: _announcement(url))


def download(found: Found, part: Path, progress: Callable[[int], None]) -> None:
    """Bring `part` to the file's full size, from the size it already has. Breaks are picked up while bytes arrive."""
    stalls = 0
    while (have := part.stat().st_size if part.exists() else 0) < found.size:
        reason = "the connection ended early"
        try:
            _append(found.url, part, have, progress)
        except urllib.error.HTTPError as error:
            reason = _refusal(error)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error)
        stalls = 0 if part.exists() and part.stat().st_size > have else stalls + 1
        if stalls == _STALLS:
            raise HubError(f"the download broke off at {have} of {found.size} bytes: {reason}")
        if stalls:
            time.sleep(stalls)


class _Announcements(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and keeps what the redirecting answers said about the file."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        self.hear(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]

    def hear(self, headers: Message) -> None:
        for name in ("X-Linked-ETag", "X-Linked-Size"):
            if value := headers.get(name):
                self.said.setdefault(name, value.strip('W/"'))


def _request(url: str, start: int = 0) -> urllib.request.Request:
    request = urllib.request.Request(url, headers={"User-Agent": "antiphon"})  # noqa: S310 - http(s), checked in look
    if start:
        request.add_header("Range", f"bytes={start}-")
    if token := os.environ.get("HF_TOKEN"):
        # Unredirected: the token is the hub's and must not reach the host that keeps the bytes.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


def _announcement(url: str) -> Found:
    heard = _Announcements()
    try:
        with urllib.request.build_opener(heard).open(_request(url), timeout=_READ_TIMEOUT) as answer:
            heard.hear(answer.headers)
            size = heard.said.get("X-Linked-Size") or answer.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        raise HubError(_refusal(error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise HubError(f"cannot be reached ({getattr(error, 'reason', error)})") from error
    if not size:
        raise HubError("the hub does not say how large the file is")
    announced = heard.said.get("X-Linked-ETag", "")
    # A file outside the hub's large-file storage is announced by a git hash, which says nothing about its SHA-256.
    return Found(url, int(size), announced if re.fullmatch("[0-9a-f]{64}", announced) else None)


def _append(url: str, part: Path, have: int, progress: Callable[[int], None]) -> None:
    with urllib.request.urlopen(_request(url, have), timeout=_READ_TIMEOUT) as answer:  # noqa: S310 - as in _request
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        done = have if goes_on else 0
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress(done)


def _refusal(error: urllib.error.HTTPError) -> str:
    with error:
        if error.code in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
            return f"the hub refuses (HTTP {error.code}): set HF_TOKEN, or accept the model's terms on its page"
        if error.code == http.HTTPStatus.NOT_FOUND:
            return "the hub has no such file (HTTP 404)"
        return f"the hub answers HTTP {error.code}"


def _answer_within(seconds: float, ask: Callable[[], Found]) -> Found:
    """The answer, or a HubError when it takes too long.

    A socket's timeout counts for each address of a host and not for the look-up of its name, which is how an
    unreachable hub costs a minute; a deadline in another thread holds for all of it.
    """
    outcome: list[Found | HubError] = []

    def run() -> None:
        try:
            outcome.append(ask())
        except HubError as error:
            outcome.append(error)

    thread = threading.Thread(target=run, name="antiphon-hub", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise HubError(f"no answer within {seconds:.0f} s")
    if isinstance(outcome[0], HubError):
        raise outcome[0]
    return outcome[0]
