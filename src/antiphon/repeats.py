"""One run for one request, however often the request comes.

The SDKs send a POST again after a 5xx, a time-out or a cut, and give no sign that they do. So the server keeps note of
every interaction it began whose answer it does not know to have gone out; the same bytes from the same key, a moment
later, are then taken for the same request, and answered with the interaction that there is. As soon as an answer has been
handed to a connection that was still open, its note goes, and the same bytes are a new request: asking the same thing many
times over is something people do.

What no server can see is an answer that was lost further on. Who must be sure sends a header, `Idempotency-Key`: its note
stays for a day.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import msgspec

from antiphon import wire
from antiphon.ports import Entry, Ledger

_KIND = "repeat"
_MOMENT = 0.4  # seconds: no SDK comes again sooner, and two that ask the same at once are two
_WHILE = 300.0  # seconds, after which nobody comes again by himself
_DAY = 86400.0
_LONGEST_KEY = 255


class Note(msgspec.Struct, frozen=True):
    """`id` is the interaction, `body` what was asked for (its digest), `at` when it was last answered."""

    id: str
    body: str
    at: float


class Request(msgspec.Struct, frozen=True):
    """What tells requests apart: `name` is the note's, `body` a digest of the bytes; `lasting` where the caller named it."""

    name: str
    body: str
    lasting: bool


def request_of(key: str, body: bytes, header: str | None) -> Request:
    """What a POST is known by: its header, or its bytes and whose they are. Raises InvalidRequest."""
    digest = hashlib.sha256(body).hexdigest()
    if header is None:
        return Request(hashlib.sha256(f"{key} {digest}".encode()).hexdigest(), digest, False)
    if not 1 <= len(header) <= _LONGEST_KEY or not header.isprintable():
        raise wire.InvalidRequest(f"'Idempotency-Key' is 1 to {_LONGEST_KEY} printable characters.")
    return Request("key " + hashlib.sha256(header.encode()).hexdigest(), digest, True)


class Repeats:
    """The notes, in the ledger that all servers share."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._clock = clock

    async def begin(self, project: str, request: Request, id: str) -> str:
        """The interaction that this request stands for: `id`, to be created now, or an earlier one.

        Raises InvalidRequest where an Idempotency-Key has stood for another request.
        """
        now = self._clock()
        if not request.lasting:
            return await self._again(project, request, now) or await self._put(project, request, id, now)
        entry = Entry(kind=_KIND, project=project, id=request.name, body=_note(id, request.body, now), due=now + _DAY)
        while not await self._ledger.put(entry):
            found = await self._ledger.read(_KIND, project, request.name)
            if found is not None:
                note = msgspec.json.decode(found.body, type=Note)
                if note.body != request.body:
                    raise wire.InvalidRequest("This 'Idempotency-Key' has already been used with another request.")
                return note.id
        return id

    async def _again(self, project: str, request: Request, now: float) -> str | None:
        """The interaction of an earlier request like this one, whose answer may never have arrived."""
        for entry in await self._ledger.entries(_KIND, project, prefix=request.name):
            note = msgspec.json.decode(entry.body, type=Note)
            if not now - _WHILE < note.at <= now - _MOMENT:
                continue
            taken = msgspec.structs.replace(entry, body=_note(note.id, note.body, now))
            if await self._ledger.change(taken):  # of two that come at once, one takes it
                return note.id
        return None

    async def _put(self, project: str, request: Request, id: str, now: float) -> str:
        body = _note(id, request.body, now)
        await self._ledger.put(
            Entry(kind=_KIND, project=project, id=f"{request.name}/{id}", body=body, due=now + _WHILE)
        )
        return id

    async def forget(self, project: str, request: Request, id: str) -> None:
        """There is no such interaction: it was never begun, or is deleted."""
        name = request.name if request.lasting else f"{request.name}/{id}"
        await self._ledger.remove(_KIND, project, name)

    async def answered(self, project: str, request: Request, id: str) -> None:
        """The answer has gone out."""
        if not request.lasting:
            await self.forget(project, request, id)

    async def sweep(self, now: float) -> int:
        """Forget what nobody comes back for. How many."""
        count = 0
        while old := await self._ledger.due(_KIND, now, lease=60.0, size=1000):
            for entry in old:
                await self._ledger.remove(entry.kind, entry.project, entry.id)
            count += len(old)
        return count


def _note(id: str, body: str, at: float) -> bytes:
    return msgspec.json.encode(Note(id, body, at))
