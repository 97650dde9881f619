"""What the engine asks of the place where interactions are kept, and of what stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from antiphon import wire

InputForm = Literal["content", "contents", "steps"]


class Record(msgspec.Struct, kw_only=True):
    """What is kept of an interaction beside its events. Times are seconds since 1970.

    Fields that it does not have are passed over: a newer server beside this one may have written them.

    `conversation` is the id of the chain's first interaction, `tools` what the run may use (its own, or the parent's
    for an answer to a call), `target` the configured model and `model` the name it answers under. `form` is what `input`
    was sent as: a fault in it is told with the place that it has for the caller.
    """

    id: str
    project: str
    conversation: str
    created: float
    expires: float
    model: str
    target: str
    input: list[wire.Step]
    request: wire.CreateInteraction
    tools: list[wire.Tool] | None = None
    previous_interaction_id: str | None = None
    substitution: str | None = None
    background: bool = False
    store: bool = True
    key: str = ""  # the id of the API key that asked for it
    trace: str = ""  # the W3C traceparent of the request that asked for it
    form: InputForm = "steps"


class Stored(msgspec.Struct):
    """A record as the store has it, with its frames (see `log.py`)."""

    record: Record
    status: wire.InteractionStatus
    updated: float
    attempt: int  # who may write: raised by every claim and every release, never lowered
    frames: bytes
    compacted: bool = False
    hidden: bool = False  # deleted or expired, and only still there as the past of a later turn
    crashes: int = 0  # how many attempts began after one that was not given back


class Segment(msgspec.Struct):
    """Frames that follow one another, and the numbers of the first and the last."""

    first: int
    last: int
    frames: bytes


class Fenced(Exception):
    """An append by an attempt that is no longer the current one, or to an interaction that is gone: nothing was written."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept beside interactions: a key, a webhook, a delivery, a trigger … `body` is JSON, as its `kind` has it.

    `id` is unique within kind and project; listings are in its order. `version` counts the changes. `due` is when
    something is to be done about it, in seconds since 1970; None for never.
    """

    kind: str
    project: str
    id: str
    body: bytes
    version: int = 1
    due: float | None = None


class Ledger(Protocol):
    """Where entries are kept. Every method is atomic and on disk when it returns; errors of the place are Unavailable."""

    async def put(self, entry: Entry) -> bool:
        """Keep a new one, as version 1. False, and nothing is done, where its kind, project and id are taken."""
        ...

    async def read(self, kind: str, project: str, id: str) -> Entry | None:
        """One of them."""
        ...

    async def change(self, entry: Entry) -> bool:
        """Put `entry.body` and `entry.due` in the place of what was read as `entry.version`; the version goes up by one.

        False, and nothing is done, where somebody else has changed or removed it since: read it again.
        """
        ...

    async def remove(self, kind: str, project: str, id: str, version: int | None = None) -> bool:
        """Remove one; with `version` only if it is still that. False where there was nothing to remove."""
        ...

    async def entries(
        self, kind: str, project: str | None = None, *, prefix: str = "", after: str = "", size: int = 100
    ) -> list[Entry]:
        """Up to `size` of a kind whose ids begin with `prefix` and come after `after`, in the order of ids.

        Without a project, of all projects (in the order of id, then project).
        """
        ...

    async def due(self, kind: str, now: float, lease: float, size: int = 100) -> list[Entry]:
        """Take up to `size` that were due by `now`, the longest due first, as they are after it; of any project.

        Their `due` is then `now + lease`, their version one more: of several servers that ask at once each gets others,
        and what a server that dies has taken comes up again. Done is: `change` or `remove`.
        """
        ...

    async def add(self, kind: str, project: str, id: str, amount: float, expires: float) -> float:
        """Add to a counter, and say what it comes to; it is made at its first time, and forgotten after `expires`."""
        ...

    async def sweep(self, now: float) -> int:
        """Forget counters that expired by `now`. How many."""
        ...


class Store(Protocol):
    """Where interactions are kept. Every method is atomic and on disk when it returns."""

    async def create(
        self,
        record: Record,
        status: wire.InteractionStatus,
        segment: Segment | None = None,
        *,
        waits: bool = False,
    ) -> None:
        """Keep a new interaction, with the events it may already have. Its attempt is 1.

        One that `waits` is run by nobody yet: its first claim is after no crash. Raises AlreadyExists.
        """
        ...

    async def append(self, id: str, attempt: int, status: wire.InteractionStatus, segment: Segment) -> None:
        """Keep more events. Raises Fenced."""
        ...

    async def claim(self, id: str) -> Stored | None:
        """Begin a new attempt at an interaction that has not ended: older attempts can write nothing more."""
        ...

    async def release(self, id: str, attempt: int) -> None:
        """Give an attempt back that was stopped in good order: it writes nothing more, and the next is after no crash."""
        ...

    async def bring_in(self, chain: Sequence[Stored]) -> None:
        """Keep ended interactions from elsewhere, all or none. Raises AlreadyExists where one of the ids is taken."""
        ...

    async def exists(self, id: str) -> bool:
        """Whether an id is taken, by whomever."""
        ...

    async def unfinished(self, quiet_since: float | None = None) -> list[str]:
        """The ids of interactions that have not ended, oldest first; with `quiet_since` those not written to since then."""
        ...

    async def reached(self, ids: Sequence[str]) -> dict[str, tuple[int, bool]]:
        """How far logs have come: the number of the last event, and whether it is the end. Unknown ids are not in it."""
        ...

    async def get(self, project: str, id: str, after: int = 0) -> Stored | None:
        """One interaction; None where it is unknown, deleted, expired or another project's.

        Of its frames those up to number `after` may be left out.
        """
        ...

    async def lineage(self, project: str, id: str) -> list[Stored]:
        """The chain that ends with `id`, oldest first; deleted ancestors are in it. Empty where `get` gives None."""
        ...

    async def page(self, project: str, before: str | None, size: int) -> list[Stored]:
        """Up to `size` interactions, newest first, older than `before`."""
        ...

    async def delete(self, project: str, id: str) -> bool:
        """Hide an interaction, and erase it with the ancestors that were only kept for it. False where `get` gives None.

        While something still chains onto it, its content stays, unseen, as that conversation's past.
        """
        ...

    async def sweep(self, now: float, compact_before: float) -> int:
        """Delete what expired by `now`, compact what ended before `compact_before`. How many were touched."""
        ...

    async def alone(self, *, shared: bool = False) -> None:
        """Keep other servers away, as long as this one runs: it goes on with every run. Raises FailedPrecondition.

        With `shared` those may come that say the same.
        """
        ...

    async def secret(self) -> bytes:
        """32 random bytes, made once: the key that seals thoughts."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What is kept beside the interactions, in the same place."""
        ...

    async def aclose(self) -> None:
        """Free what the store holds."""
        ...
