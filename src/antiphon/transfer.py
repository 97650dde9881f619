"""A conversation as JSON lines: one interaction to a line, its request and its events. Pure.

What is exported is the log itself, so that what comes back in folds to just what went out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from antiphon import log, wire
from antiphon.ports import Record, Stored

_DAY = 86400.0
_ENDINGS = frozenset({"completed", "requires_action", "incomplete", "failed", "cancelled", "budget_exceeded"})
_ID = re.compile(r"v1_[A-Za-z0-9_-]{8,120}")


class Line(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One interaction. `numbers` are those of the events, which have gaps once a log is compacted."""

    antiphon: int = 1
    record: Record
    updated: float
    numbers: list[int]
    events: list[wire.InteractionEvent]


class _Record(Record, kw_only=True, forbid_unknown_fields=True):
    """A record as a caller may give it: with nothing that would be lost."""


class _Given(Line, kw_only=True, forbid_unknown_fields=True):
    record: _Record


def lines(chain: Iterable[Stored]) -> bytes:
    """A chain as lines, without the turns that have been deleted: they are only still there for the later ones."""
    kept = [stored for stored in chain if not stored.hidden]
    known = {stored.record.id for stored in kept}
    return b"".join(_line(stored, known) for stored in kept)


def _line(stored: Stored, known: set[str]) -> bytes:
    previous = stored.record.previous_interaction_id
    numbered = list(log.decode(stored.frames))
    return (
        msgspec.json.encode(
            Line(
                record=msgspec.structs.replace(
                    stored.record,
                    project="",
                    key="",
                    trace="",
                    previous_interaction_id=previous if previous in known else None,
                ),
                updated=stored.updated,
                numbers=[number for number, _ in numbered],
                events=[event for _, event in numbered],
            )
        )
        + b"\n"
    )


def read(text: bytes, project: str, now: float, retention: float) -> list[Stored]:
    """The interactions of exported lines, now `project`'s. Raises InvalidRequest with the line at fault."""
    chain: list[Stored] = []
    conversations: dict[str, str] = {}  # by the ids of the lines so far
    for place, line in enumerate(filter(None, text.split(b"\n")), 1):
        try:
            stored = _stored(msgspec.json.decode(line, type=_Given), now)
        except (
            msgspec.DecodeError,
            log.IllegalMove,
            UnicodeDecodeError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise wire.InvalidRequest(f"Line {place} is not an exported interaction: {error}") from None
        record = Record(**msgspec.structs.asdict(stored.record))
        if not _ID.fullmatch(record.id) or record.id in conversations:
            raise wire.InvalidRequest(f"Line {place} has an id that cannot be taken: '{record.id}'.")
        previous = record.previous_interaction_id
        if previous is not None and previous not in conversations:
            raise wire.InvalidRequest(f"Line {place} follows an interaction that no line before it has.")
        # Never as given: a conversation's name is what back-ends keep its cache under.
        conversations[record.id] = conversations[previous] if previous is not None else record.id
        stored.record = msgspec.structs.replace(
            record,
            conversation=conversations[record.id],
            expires=now + retention,
            project=project,
            store=True,
            key="",
            trace="",
        )
        chain.append(stored)
    if not chain:
        raise wire.InvalidRequest("There is no line to import.")
    return chain


def _stored(given: Line, now: float) -> Stored:
    if given.antiphon != 1:
        raise ValueError(f"version {given.antiphon} is not known here")
    if len(given.numbers) != len(given.events) or not all(0 < number < 2**53 for number in given.numbers):
        raise ValueError("its events are not numbered one for one")
    if not (0 <= given.record.created <= now + _DAY and 0 <= given.updated <= now + _DAY):
        raise ValueError("its times cannot be")
    for event in given.events:
        event.event_id = None  # told by the number
    numbered = list(zip(given.numbers, given.events, strict=True))
    state = log.fold(numbered)
    if not state.ended or state.status not in _ENDINGS:
        raise ValueError("it has not ended")
    frames = b"".join(log.encode(event, seq) for seq, event in numbered)
    return Stored(given.record, state.status, given.updated, 1, frames)
