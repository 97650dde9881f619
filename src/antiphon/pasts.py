"""What was said in a conversation up to an interaction's end, kept in memory between one turn and the next.

The store has it all; decoding a long chain for each of its turns would make the thousandth slow. What was said does not
change, so nothing here is ever stale, save what is deleted, which is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from antiphon import log, wire
from antiphon.ports import Record, Store, Stored

_LONG = 32  # turns: a longer chain is decoded beside the event loop
_HEAVIEST = 16 * 2**20  # bytes or so, of all conversations together
_STEP = 1000  # bytes or so that a step takes besides its text


class Pasts:
    """The conversations of late, by the id of the interaction they end with; the oldest go when they grow too heavy."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, tuple[Sequence[wire.Step], int]] = {}
        self._weight = 0

    async def before(self, project: str, id: str) -> tuple[Record, Sequence[wire.Step]]:
        """The interaction that a request goes on from, and all that was said up to its end.

        Raises NotFound, and InvalidRequest for one that has not ended.
        """
        head = await self._store.get(project, id)
        if head is None:
            raise wire.NotFound(f"Interaction '{id}' at 'previous_interaction_id' was not found.")
        if head.status == "in_progress":
            raise wire.InvalidRequest(f"Interaction '{id}' at 'previous_interaction_id' is still in progress.")
        if id not in self._kept:
            chain = await self._store.lineage(project, id)
            past = await asyncio.to_thread(said_by, chain) if len(chain) > _LONG else said_by(chain)
            self.remember(id, past)
            return head.record, past
        return head.record, self._kept[id][0]

    def remember(self, id: str, past: Sequence[wire.Step], previous: str | None = None) -> None:
        """Keep a past; that of the turn before it, where it is known, has been weighed already."""
        earlier, weight = self._kept.get(previous or "", ((), 0))
        weight += sum(map(_weight, past[len(earlier) :]))
        if weight > _HEAVIEST // 8:
            return
        self.forget(id)
        self._kept[id] = (past, weight)
        self._weight += weight
        while self._weight > _HEAVIEST:
            self.forget(next(iter(self._kept)))

    def forget(self, id: str) -> None:
        """Keep it no longer."""
        self._weight -= self._kept.pop(id, ((), 0))[1]


def said_by(chain: Sequence[Stored]) -> tuple[wire.Step, ...]:
    """What a chain of interactions adds up to: inputs, and what came of them; not what was cut short."""
    return tuple(step for stored in chain for step in _said(stored))


def _said(stored: Stored) -> list[wire.Step]:
    generated = log.fold(log.decode(stored.frames)).timeline()
    return [*stored.record.input, *(step for step in generated if step.error is None)]


def _weight(step: Any) -> int:
    """About how many bytes of memory a step keeps."""
    items = getattr(step, "content", None) or getattr(step, "result", None) or ()
    weight = _STEP + len(getattr(step, "signature", None) or "")  # what a tool gave the model is in there
    if not isinstance(items, list):
        return weight + len(items)
    for item in items:
        weight += len(getattr(item, "text", None) or getattr(item, "data", None) or "")
    return weight
