"""A conversation as JSON lines: one interaction to a line, its request and its events. Pure.

What is exported is the log itself, so that what comes back in folds to just what went out.
"""

from __future__ import annotations

import re

import msgspec

from antiphon import log, wire
from antiphon.ports import Record, Stored

_ID = re.compile(r"v1_[A-Za-z0-9_-]{8,120}")


class Line(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One interaction. `numbers` are those of the events, which have gaps once a log is compacted."""

    antiphon: int = 1
    record: Record
    updated: float
    numbers: list[int]
    events: list[wire.InteractionEvent]


def line(stored: Stored) -> bytes:
    """One interaction as a line."""
    numbered = list(log.decode(stored.frames))
    return (
        msgspec.json.encode(
            Line(
                record=msgspec.structs.replace(stored.record, project=""),
                updated=stored.updated,
                numbers=[number for number, _ in numbered],
                events=[event for _, event in numbered],
            )
        )
        + b"\n"
    )


def read(lines: bytes, project: str, expires: float) -> list[Stored]:
    """The interactions of exported lines, now `project`'s. Raises InvalidRequest with the line at fault."""
    chain: list[Stored] = []
    known: set[str] = set()
    for place, text in enumerate(filter(None, lines.split(b"\n")), 1):
        try:
            stored = _stored(msgspec.json.decode(text, type=Line), project, expires)
        except (msgspec.DecodeError, log.IllegalMove, UnicodeDecodeError) as error:
            raise wire.InvalidRequest(f"Line {place} is not an exported interaction: {error}") from None
        record = stored.record
        if not _ID.fullmatch(record.id) or record.id in known:
            raise wire.InvalidRequest(f"Line {place} has an id that cannot be taken: '{record.id}'.")
        if record.previous_interaction_id is not None and record.previous_interaction_id not in known:
            raise wire.InvalidRequest(f"Line {place} follows an interaction that no line before it has.")
        known.add(record.id)
        chain.append(stored)
    if not chain:
        raise wire.InvalidRequest("There is no line to import.")
    return chain


def _stored(given: Line, project: str, expires: float) -> Stored:
    if given.antiphon != 1:
        raise log.IllegalMove(f"version {given.antiphon} is not known here")
    if len(given.numbers) != len(given.events):
        raise log.IllegalMove("its events are not numbered one for one")
    numbered = list(zip(given.numbers, given.events, strict=True))
    state = log.fold(numbered)
    if not state.ended:
        raise log.IllegalMove("it has not ended")
    record = msgspec.structs.replace(given.record, project=project, expires=expires, store=True)
    return Stored(record, state.status, given.updated, 1, b"".join(log.encode(event, seq) for seq, event in numbered))
