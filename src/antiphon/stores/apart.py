"""Media apart from the rows: large base64 goes to where bytes are kept (`blobs/`), and the store keeps what it is called.

What the stores are given is JSON that msgspec wrote, so a medium is found by its bytes: `"data":"` and base64. It becomes
`"data":"@blob:SHA256"`. No base64 has an `@`; where something else of a caller's begins with one (`data` may also be a
name in the arguments of a function), it gets a second, so that what is read back is what was written, byte for byte.
Base64 that would not come back the same (line breaks, another alphabet, no padding) stays where it is.

The bytes are kept before the row is written, under the interaction's id, and let go when the row has been erased. A crash
between the two leaves bytes that belong to nobody; `sweep` looks for those.
"""

from __future__ import annotations

import asyncio
import binascii
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from antiphon import wire
from antiphon.blobs import Depot, Gone
from antiphon.ports import Fenced, Ledger, Record, Segment, Store, Stored

logger = logging.getLogger("antiphon.stores.apart")

_MARK = b'"data":"'
_TAKEN = b'"data":"@'
_BACK = re.compile(rb'"data":"@(?:@|blob:([0-9a-f]{64})(?="))')
_LONG = 2**18  # bytes from which on work is done on a thread
_OURS = "v1_"  # what ids of interactions begin with
_UNKNOWN_SECONDS = 3600.0  # what was put before this and has no row will get none any more
_LOOK_SECONDS = 86400.0  # between two looks for those
_FEW = 200  # owners that are looked at before others have their turn
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode
_read_base64 = msgspec.json.Decoder(bytes).decode


class Telling(Store, Protocol):
    """A store that tells what it has erased."""

    def on_erased(self, tell: Callable[[Sequence[str]], None]) -> None:
        """Let `tell` know the ids of interactions that a delete or a sweep has erased, once they are gone."""
        ...


class Apart:
    """`store`, whose rows have no media of `least` characters or more: `blobs` has them. Close both, this one first."""

    def __init__(self, store: Telling, blobs: Depot, least: int = 16 * 1024) -> None:
        self._store = store
        self._blobs = blobs
        self._least = max(least, 100)  # what stands in its place must be shorter
        self._erased: list[str] = []
        self._letting_go = asyncio.Lock()
        self._looked = float("-inf")
        store.on_erased(self._erased.extend)

    # ------------------------------------------------------------------ writing

    async def create(
        self,
        record: Record,
        status: wire.InteractionStatus,
        segment: Segment | None = None,
        *,
        waits: bool = False,
    ) -> None:
        record, frames = await self._apart(record, segment.frames if segment is not None else b"")
        await self._store.create(record, status, _with(segment, frames) if segment else None, waits=waits)

    async def append(self, id: str, attempt: int, status: wire.InteractionStatus, segment: Segment) -> None:
        if not self._plain(segment.frames):
            (frames,) = await self._taken_out(id, [segment.frames])
            segment = _with(segment, frames)
        try:
            await self._store.append(id, attempt, status, segment)
        except Fenced:
            self._erased.append(id)  # perhaps: it is looked at before anything is let go of
            raise

    async def bring_in(self, chain: Sequence[Stored]) -> None:
        try:
            async with self._letting_go:  # one of the ids may have been erased a moment ago
                kept: list[Stored] = []
                for stored in chain:
                    record, frames = await self._apart(stored.record, stored.frames)
                    kept.append(msgspec.structs.replace(stored, record=record, frames=frames))
                await self._store.bring_in(kept)
        except wire.AlreadyExists:
            self._erased += [stored.record.id for stored in chain]
            await self._let_go()
            raise

    async def _apart(self, record: Record, frames: bytes) -> tuple[Record, bytes]:
        told = _encode(record)
        if self._plain(told) and self._plain(frames):
            return record, frames
        without, frames = await self._taken_out(record.id, [told, frames])
        return (_decode(without) if without is not told else record), frames

    def _plain(self, text: bytes) -> bool:
        """Whether there is nothing to do, which most often is seen without looking for words."""
        return (len(text) < self._least and b"@" not in text) or _MARK not in text

    async def _taken_out(self, owner: str, texts: Sequence[bytes]) -> list[bytes]:
        """The texts without large base64; the bytes are on disk then."""
        if sum(map(len, texts)) < _LONG:
            cuts = [Cut(text, self._least) for text in texts]
        else:
            cuts = await asyncio.to_thread(lambda: [Cut(text, self._least) for text in texts])
        bodies = [body for cut in cuts for body in cut.bodies]
        names = iter(await self._blobs.put(owner, bodies) if bodies else ())
        return [cut.joined(names) for cut in cuts]

    # ------------------------------------------------------------------ reading

    async def get(self, project: str, id: str, after: int = 0) -> Stored | None:
        return await self._whole(await self._store.get(project, id, after))

    async def claim(self, id: str) -> Stored | None:
        return await self._whole(await self._store.claim(id))

    async def lineage(self, project: str, id: str) -> list[Stored]:
        return await self._put_back(await self._store.lineage(project, id))

    async def page(self, project: str, before: str | None, size: int) -> list[Stored]:
        found = await self._store.page(project, before, size)
        try:
            return await self._put_back(found)
        except Gone as error:  # one that has lost its media must not hide all others
            logger.warning("an interaction is listed without its media: %s", error)
            return [await self._as_far_as_there(stored) for stored in found]

    async def _as_far_as_there(self, stored: Stored) -> Stored:
        try:
            return (await self._put_back([stored]))[0]
        except Gone:
            return stored

    async def _whole(self, stored: Stored | None) -> Stored | None:
        return None if stored is None else (await self._put_back([stored]))[0]

    async def _put_back(self, found: list[Stored]) -> list[Stored]:
        records = [_encode(stored.record) for stored in found]
        texts = [text for text in (*records, *(stored.frames for stored in found)) if _TAKEN in text]
        if not texts:
            return found
        names = sorted({name for text in texts for name in names_in(text)})
        bodies = await self._blobs.get(names) if names else []

        def work() -> list[Stored]:
            media = {name: _base64(body) for name, body in zip(names, bodies, strict=True)}
            return [_filled(stored, told, media) for stored, told in zip(found, records, strict=True)]

        return await asyncio.to_thread(work) if sum(map(len, bodies)) >= _LONG else work()

    # ------------------------------------------------------------------ letting go

    async def delete(self, project: str, id: str) -> bool:
        deleted = await self._store.delete(project, id)
        await self._let_go()
        return deleted

    async def sweep(self, now: float, compact_before: float) -> int:
        touched = await self._store.sweep(now, compact_before)
        await self._let_go()
        if now >= self._looked + _LOOK_SECONDS:
            await self._look(now - _UNKNOWN_SECONDS)
            self._looked = now
        return touched

    async def _let_go(self) -> None:
        """Bytes that cannot be let go of now are let go of later: nobody can see them any more."""
        async with self._letting_go:
            erased = self._erased[:]
            try:
                gone = [id for id in erased if not await self._store.exists(id)]
                if gone:
                    await self._blobs.drop(gone)
            except wire.Unavailable as error:
                logger.warning("media of %d erased interactions stay for now: %s", len(erased), error)
            else:
                del self._erased[: len(erased)]

    async def _look(self, before: float) -> None:
        """Let go of what belongs to interactions that are not there: the process ended before it wrote or erased them."""
        last = ""
        while owners := await self._blobs.owners(_OURS, before, last, _FEW):
            last = owners[-1]
            known = await self._store.reached(owners)
            lost = [id for id in owners if id not in known and not await self._store.exists(id)]
            if lost:
                logger.info("media of %d interactions that never came to be are deleted", len(lost))
                await self._blobs.drop(lost)

    # ------------------------------------------------------------------ as the store has it

    async def release(self, id: str, attempt: int) -> None:
        await self._store.release(id, attempt)

    async def exists(self, id: str) -> bool:
        return await self._store.exists(id)

    async def unfinished(self, quiet_since: float | None = None) -> list[str]:
        return await self._store.unfinished(quiet_since)

    async def reached(self, ids: Sequence[str]) -> dict[str, tuple[int, bool]]:
        return await self._store.reached(ids)

    async def alone(self, *, shared: bool = False) -> None:
        await self._store.alone(shared=shared)

    async def secret(self) -> bytes:
        return await self._store.secret()

    @property
    def ledger(self) -> Ledger:
        return self._store.ledger

    async def aclose(self) -> None:
        await self._store.aclose()


class Cut:
    """A text of JSON without its large base64: `bodies` are the bytes, in order."""

    def __init__(self, text: bytes, least: int) -> None:
        self._text = text
        self._pieces: list[bytes | None] = []  # None where a name belongs
        self.bodies: list[bytes] = []
        done = 0
        place = text.find(_MARK)
        while place >= 0:
            start = place + len(_MARK)
            if text.startswith(b"@", start):
                self._pieces += [text[done:start], b"@"]
                done = start
            elif (end := text.find(b'"', start)) - start >= least and (body := _bytes(text[start:end])) is not None:
                self._pieces += [text[done:start], None]
                self.bodies.append(body)
                done = start = end
            place = text.find(_MARK, start)
        self._pieces.append(text[done:])

    def joined(self, names: Iterable[str]) -> bytes:
        """The text, with names in the places of the bytes."""
        if len(self._pieces) == 1:
            return self._text
        names = iter(names)
        return b"".join(b"@blob:" + next(names).encode() if piece is None else piece for piece in self._pieces)


def names_in(text: bytes) -> set[str]:
    """The names that stand in a text for bytes."""
    return {found[1].decode() for found in _BACK.finditer(text) if found[1] is not None}


def put_back(text: bytes, media: dict[str, bytes]) -> bytes:
    """What was cut, as it was; `media` has base64."""
    if _TAKEN not in text:
        return text
    return _BACK.sub(lambda found: _TAKEN if found[1] is None else _MARK + media[found[1].decode()], text)


def _filled(stored: Stored, told: bytes, media: dict[str, bytes]) -> Stored:
    record = _decode(put_back(told, media)) if _TAKEN in told else stored.record
    return msgspec.structs.replace(stored, record=record, frames=put_back(stored.frames, media))


def _with(segment: Segment, frames: bytes) -> Segment:
    return segment if frames is segment.frames else msgspec.structs.replace(segment, frames=frames)


def _bytes(text: bytes) -> bytes | None:
    """What base64 says; None where it is none, or would not be written the same again."""
    if b"\\" in text:  # to be read as JSON it must be the same as it stands
        return None
    try:
        body = _read_base64(b'"%b"' % text)  # five times as fast as binascii, and as strict
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    # Of one alphabet and whole: only bits that the end does not need may still differ.
    last = len(body) % 3 or 3
    return body if len(text) == (len(body) + 2) // 3 * 4 and _base64(body[-last:]) == text[-4:] else None


def _base64(body: bytes) -> bytes:
    return binascii.b2a_base64(body, newline=False)
