"""API keys: who may use the server, as which project, and how much.

A key reads `ak_<when and which>_<secret>`. What comes before the secret is its id, which says nothing and may be shown;
of the whole only the SHA-256 is kept. The secret has 256 random bits, so there is nothing that a slower digest would
make harder to guess. Keys of the settings stand beside those of the store, and have no limits; their ids are made from
them, slowly, since people may have thought them up.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Annotated, NamedTuple

import msgspec

from antiphon import wire
from antiphon.ports import Entry, Ledger

KIND = "key"
FRESH_SECONDS = 1.0  # how long what was read of a key is believed: a revoked one is refused after that, on every server
_KNOWN = 10_000  # keys that are remembered, those that nobody has included
_KEY = re.compile(r"(ak_[0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_ID = len("ak_") + 16
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MANY = 1000  # in a page of a listing
_SALT = b"antiphon: the id of a key of the settings"

Amount = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
Runs = Annotated[int, msgspec.Meta(ge=1, le=1000)]


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def static_id(key: str) -> str:
    """The id of a key of the settings. It says which it is, and costs whoever would guess keys some work for each."""
    return f"static-{hashlib.scrypt(key.encode(), salt=_SALT, n=2**12, r=8, p=1, dklen=4).hex()}"


class Limits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """How much a key may do; None for as much as it likes. Tokens are those that models read and write."""

    requests_per_minute: Amount | None = None
    tokens_per_minute: Amount | None = None
    tokens_per_day: Amount | None = None
    concurrent_runs: Runs | None = None


UNLIMITED = Limits()


class Key(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A key as it is kept. Times are seconds since 1970; a revoked one stays, so that its id is never unknown."""

    id: str
    project: str
    digest: str
    created: float
    name: str = ""
    limits: Limits = UNLIMITED
    revoked: float | None = None


class Access(NamedTuple):
    """What a key opens: a project; and the key's id, which is kept with what it does."""

    project: str
    key: str


class _Read(NamedTuple):
    key: Key | None
    until: float  # of `ticks`


_decode = msgspec.json.Decoder(Key).decode
_encode = msgspec.json.Encoder().encode


class Keyring:
    """The keys there are: `static` ones are key to project, in clear, the others are in the ledger.

    `closed` asks for a key even where there is none. `clock` tells the time of day, `ticks` how long something takes.
    """

    def __init__(
        self,
        ledger: Ledger,
        static: Mapping[str, str] | None = None,
        *,
        closed: bool = False,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        given, for_ever = (static or {}).items(), float("inf")
        # What keys open, by their digests, and until when that is believed.
        self._opened = {digest(key): (Access(project, static_id(key)), for_ever) for key, project in given}
        self._static = frozenset(access.key for access, _ in self._opened.values())
        self._ledger = ledger
        self._clock = clock
        self._ticks = ticks
        self._known: dict[str, _Read] = {}
        self._reading: dict[str, asyncio.Task[Key | None]] = {}
        self._looking: asyncio.Task[None] | None = None  # held, since the loop holds no task
        self._looked = float("-inf")  # when it was last seen whether the store has any key
        self.required = closed or bool(static)  # whether a request needs a key

    # ------------------------------------------------------------------ what a request asks

    def at_once(self, key: str) -> Access | None:
        """What a key opens, where that is known well enough without asking the store."""
        # A digest is looked up, never a key compared: how long that takes says nothing about the keys there are.
        found = self._opened.get(digest(key))
        return found[0] if found is not None and found[1] > self._ticks() else None

    async def access(self, key: str) -> Access:
        """What a key opens. Raises Unauthenticated, and Unavailable where the store cannot be asked."""
        found = self.at_once(key)
        if found is not None:
            return found
        hashed = digest(key)
        known = await self.get(key[:_ID]) if _KEY.fullmatch(key) else None
        if known is None or known.revoked is not None or not hmac.compare_digest(known.digest, hashed):
            raise wire.Unauthenticated("This API key is not known here.")
        found = Access(known.project, known.id)
        if known.id in self._known:
            self._opened[hashed] = found, self._known[known.id].until
        return found

    async def look(self) -> None:
        """See, once in a while, whether a key has been made since: from the first one on, requests need one.

        Only the very first look is waited for: who asks for no key shall not wait for a store that is away.
        """
        now, first = self._ticks(), self._looked == float("-inf")
        looks = self._looking is not None and not self._looking.done()
        if self.required or looks or now < self._looked + FRESH_SECONDS:
            return
        self._looked = now
        self._looking = asyncio.create_task(self._look())
        if first:
            await self._looking

    async def _look(self) -> None:
        with contextlib.suppress(wire.Unavailable):  # while the store is away nobody can have made one
            self.required = bool(await self._ledger.entries(KIND, "", size=1)) or self.required

    async def is_revoked(self, id: str) -> bool:
        """Whether nothing may be asked any more with the key of this id, also as it was taken out of the settings.

        "" is what was asked before there were keys; and while no keys are asked for, none of the settings is missed.
        """
        if not id.startswith("ak_"):
            return id != "" and self.required and id not in self._static
        key = await self.get(id)
        return key is None or key.revoked is not None

    async def get(self, id: str) -> Key | None:
        """A key by its id, as it was at most a moment ago; None for those of the settings."""
        read = self._known.get(id)
        if read is not None and read.until > self._ticks():
            return read.key
        if not id.startswith("ak_"):
            return None
        task = self._reading.get(id)
        if task is None:  # many requests may be waiting for the same answer
            task = self._reading[id] = asyncio.create_task(self._read(id))
            task.add_done_callback(lambda _: self._reading.pop(id, None))
        return await asyncio.shield(task)

    def is_unlimited(self, id: str) -> bool:
        """Whether a key is known to have no limits, as have those of the settings. A key's limits never change."""
        read = self._known.get(id)
        return not id.startswith("ak_") or (read is not None and read.key is not None and read.key.limits == UNLIMITED)

    async def _read(self, id: str) -> Key | None:
        asked = self._ticks()  # what is read is at least as new as the question
        entry = await self._ledger.read(KIND, "", id)
        key = _decode(entry.body) if entry is not None else None
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[id] = _Read(key, asked + FRESH_SECONDS)
        return key

    # ------------------------------------------------------------------ what an operator asks

    async def create(self, project: str, name: str = "", limits: Limits = UNLIMITED) -> tuple[Key, str]:
        """Make a key; it and, this once, what its user must send. Raises InvalidRequest."""
        if not _PROJECT.fullmatch(project):
            raise wire.InvalidRequest(
                f"{project[:100]!r} at 'project' is no name of a project: up to 63 letters, digits, '.', '_' and '-'."
            )
        if len(name) > 200:
            raise wire.InvalidRequest("The text at 'name' is longer than 200 characters.")
        now = self._clock()
        while True:
            id = f"ak_{int(now * 1000):012x}{secrets.token_hex(2)}"  # so that listings are in the order of time
            text = f"{id}_{secrets.token_urlsafe(32)}"
            key = Key(id=id, project=project, digest=digest(text), created=now, name=name, limits=limits)
            if await self._ledger.put(Entry(kind=KIND, project="", id=id, body=_encode(key))):
                break
        self.required = True
        self._known.pop(id, None)
        return key, text

    async def page(self, after: str = "", size: int = _MANY) -> list[Key]:
        """Up to `size` keys, those that were revoked too, from the oldest on."""
        return [_decode(entry.body) for entry in await self._ledger.entries(KIND, "", after=after, size=size)]

    async def all(self) -> list[Key]:
        """Every key, the oldest first."""
        found: list[Key] = []
        while page := await self.page(found[-1].id if found else ""):
            found += page
        return found

    async def revoke(self, id: str) -> Key:
        """Let a key open nothing from now on; nothing changes where it already does not. Raises NotFound."""
        while True:
            entry = await self._ledger.read(KIND, "", id)
            if entry is None:
                raise wire.NotFound(f"There is no key '{id[:100]}'.")
            key = _decode(entry.body)
            if key.revoked is not None:
                return key
            key = msgspec.structs.replace(key, revoked=self._clock())
            if await self._ledger.change(msgspec.structs.replace(entry, body=_encode(key))):
                self._known.pop(id, None)
                self._opened.pop(key.digest, None)
                return key
