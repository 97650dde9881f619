"""A trigger and its executions as the ledger keeps them, and how a trigger is changed by several servers at once.

What a trigger does next stands in the trigger's own entry, its run under way included, and an entry changes only from
the version that was read: so of two servers that would begin a run, one does. Executions are what was written of it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from antiphon import ids, resource, wire
from antiphon.ports import Entry, Ledger
from antiphon.wire import triggers as types

TRIGGER, EXECUTION = "trigger", "execution"
_LATEST = 2**44  # milliseconds; counted down from, so that what is newest is listed first


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run under way: `interaction` is an id that was chosen before there was anything of that name.

    `confirmed` is whether the interaction is known to have been made, `timed_out` whether it is to be cancelled. Where
    it could not be made yet, `again` is when to try.
    """

    execution: str
    interaction: str
    scheduled: float
    started: float
    deadline: float
    confirmed: bool = False
    timed_out: bool = False
    again: float = 0.0


class StoredTrigger(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A trigger. Times are seconds since 1970; `key` is the id of the API key that made it, and that pays for it."""

    created: float
    updated: float
    schedule: str
    time_zone: str
    interaction: wire.CreateInteraction
    timeout: int
    most_failures: int
    key: str = ""
    display_name: str | None = None
    status: types.TriggerStatus = "active"
    failures: int = 0
    next_run: float | None = None
    last_run: float | None = None
    paused: float | None = None
    resumed: float | None = None
    previous: str | None = None
    run: Run | None = None
    deleted: bool = False  # and only still there until its run has ended

    def due(self, now: float, look: float) -> float | None:
        """When there is something to do about it: the next tick, or the next look at a run, every `look` seconds."""
        times = [] if self.next_run is None else [self.next_run]
        if self.run is None:
            times += [now] if self.deleted else []
        else:
            until = self.run.deadline - now
            soon = now + (min(look, until) if until > 0 else look)
            times.append(soon if self.deleted else max(soon, min(self.run.again, self.run.deadline)))
        return min(times, default=None)


class StoredExecution(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a trigger. An ended one's entry is due when it may be forgotten."""

    trigger: str
    status: types.TriggerExecutionStatus
    scheduled: float
    started: float | None = None
    ended: float | None = None
    interaction: str | None = None
    error: str | None = None


class Held(msgspec.Struct, frozen=True):
    """A trigger, and the entry it was read from."""

    entry: Entry
    trigger: StoredTrigger


_encode = msgspec.json.Encoder().encode
_trigger = msgspec.json.Decoder(StoredTrigger).decode
_execution = msgspec.json.Decoder(StoredExecution).decode


def held(entry: Entry) -> Held:
    """A trigger out of its entry."""
    return Held(entry, _trigger(entry.body))


def trigger_id(now: float) -> str:
    """A name for a new trigger."""
    return f"trigger_{_countdown(now)}{ids.call_id()}{ids.call_id()}"


def execution_id(trigger: str, time: float) -> str:
    """The name of the run of a tick: there is one, whoever makes it."""
    return f"{executions_of(trigger)}{_countdown(time)}"


def executions_of(trigger: str) -> str:
    """What the names of a trigger's executions begin with."""
    return f"{trigger}-"


def _countdown(time: float) -> str:
    return f"{_LATEST - int(time * 1000):011x}"


class Shelf:
    """Triggers and executions in a ledger."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float], look: float) -> None:
        self.ledger = ledger
        self._clock = clock
        self._look = look

    async def add(self, project: str, id: str, trigger: StoredTrigger) -> Held:
        """Keep a new trigger."""
        entry = Entry(kind=TRIGGER, project=project, id=id, body=_encode(trigger), due=trigger.next_run)
        if not await self.ledger.put(entry):
            raise wire.AlreadyExists(f"Trigger '{id}' exists.")
        return Held(entry, trigger)

    async def read(self, project: str, id: str) -> Held | None:
        """One trigger, a deleted one whose run goes on included."""
        entry = await self.ledger.read(TRIGGER, project, id)
        return None if entry is None else held(entry)

    async def change(self, old: Held, trigger: StoredTrigger, due: float | None = None) -> Held | None:
        """Put a trigger in the place of what was read; None where somebody else has changed it since."""
        when = trigger.due(self._clock(), self._look) if due is None else due
        entry = replace(old.entry, body=_encode(trigger), due=when)
        if not await self.ledger.change(entry):
            return None
        return Held(replace(entry, version=entry.version + 1), trigger)

    async def update(self, project: str, id: str, step: Callable[[StoredTrigger], StoredTrigger | None]) -> Held | None:
        """Change what is there by `step`, whatever others do meanwhile. None where it is gone, or `step` has none."""
        while (found := await self.read(project, id)) is not None:
            changed = step(found.trigger)
            if changed is None:
                return None
            if changed == found.trigger:
                return found
            if (done := await self.change(found, changed)) is not None:
                return done
        return None

    async def rest(self, found: Held) -> None:
        """Let a trigger that was taken come up again in time. Nothing is written where it does so anyhow."""
        due, lease = found.trigger.due(self._clock(), self._look), found.entry.due
        if due is None or lease is None or lease > due:
            await self.change(found, found.trigger)

    # ------------------------------------------------------------------ executions

    async def execution(self, project: str, id: str) -> StoredExecution | None:
        """One execution."""
        entry = await self.ledger.read(EXECUTION, project, id)
        return None if entry is None else _execution(entry.body)

    async def executions(self, project: str, trigger: str, after: str, size: int) -> list[tuple[str, StoredExecution]]:
        """A trigger's executions with their ids, the newest first."""
        prefix = executions_of(trigger)
        found = await self.ledger.entries(EXECUTION, project, prefix=prefix, after=after, size=size)
        return [(entry.id, _execution(entry.body)) for entry in found]

    async def record(self, project: str, id: str, execution: StoredExecution, forget: float | None = None) -> None:
        """Write what is known of a run, but not over how it has ended; and that there was none, over nothing.

        A tick that was skipped by a server that had lost the trigger meanwhile may stand where its run is to stand.
        """
        entry = Entry(kind=EXECUTION, project=project, id=id, body=_encode(execution), due=forget)
        while not await self.ledger.put(entry) and execution.status != "skipped":
            there = await self.ledger.read(EXECUTION, project, id)
            if there is None:
                continue
            known = _execution(there.body)
            if known == execution or known.status not in ("in_progress", "skipped"):
                return
            if await self.ledger.change(replace(entry, version=there.version)):
                return


# ---------------------------------------------------------------------------------------------------- as callers see them


def shown_trigger(id: str, trigger: StoredTrigger) -> types.Trigger:
    """A trigger as callers see it."""
    return types.Trigger(
        id=id,
        interaction=trigger.interaction,
        schedule=trigger.schedule,
        time_zone=trigger.time_zone,
        status=trigger.status,
        display_name=trigger.display_name,
        execution_timeout_seconds=trigger.timeout,
        max_consecutive_failures=trigger.most_failures,
        consecutive_failure_count=trigger.failures,
        previous_interaction_id=trigger.previous,
        create_time=_time(trigger.created),
        update_time=_time(trigger.updated),
        next_run_time=_time(trigger.next_run),
        last_run_time=_time(trigger.last_run),
        last_pause_time=_time(trigger.paused),
        last_resume_time=_time(trigger.resumed),
    )


def shown_execution(id: str, execution: StoredExecution) -> types.TriggerExecution:
    """An execution as callers see it."""
    return types.TriggerExecution(
        id=id,
        trigger_id=execution.trigger,
        status=execution.status,
        scheduled_time=_time(execution.scheduled),
        start_time=_time(execution.started),
        end_time=_time(execution.ended),
        interaction_id=execution.interaction,
        error=execution.error,
    )


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else resource.timestamp(seconds)
