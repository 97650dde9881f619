"""Runs of triggers: begun once for each tick, watched, and ended, by whichever server has the trigger.

The order of what is written is what makes it exactly one, wherever a server stops:

1. the trigger, from the version that was read: its next tick, and the run with the id of an interaction to be;
2. the execution, under a name that the tick gives it;
3. the interaction, under that id; one that exists was made by whoever stopped after this line;
4. the trigger again: the interaction is there.

Whoever finds a run that did not get to 4 goes on from 2. At its end the execution is written first, then the trigger,
which counts the failure and forgets the run in one change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from msgspec.structs import replace

from antiphon import ids, wire
from antiphon.ports import Ledger
from antiphon.triggers import schedule
from antiphon.triggers.kept import TRIGGER, Held, Run, Shelf, StoredExecution, StoredTrigger, execution_id
from antiphon.wire import triggers as types

_GOING = ("in_progress", "queued")
# An interaction that stopped where its caller may go on has done what it could; its own status says how far it came.
_WELL = ("completed", "incomplete", "requires_action")

_STARTING = 10.0  # seconds that a start may take before the others have their turn
_LATER = 60.0  # seconds until a start that was refused for a limit is tried again, where nobody says when
_HERE = 10_000  # interactions whose triggers are known without a look, at most: many end on another server


class Interactions(Protocol):
    """What triggers ask of the engine."""

    async def check(self, project: str, request: wire.CreateInteraction) -> None:
        """Refuse what could not be started. Raises ApiError."""
        ...

    async def start(self, project: str, request: wire.CreateInteraction, *, id: str, key: str) -> None:
        """Start it in the background under this id, for this API key. Raises ApiError, AlreadyExists where it is there."""
        ...

    async def look(self, project: str, id: str) -> wire.Interaction | None:
        """How it stands; None where there is none."""
        ...

    async def cancel(self, project: str, id: str) -> None:
        """Stop it; nothing happens where it has ended or is gone."""
        ...


class Runs:
    """Begins, watches and ends runs. `look` is how often a run is looked at, in seconds; `retention` of what ended."""

    def __init__(
        self,
        ledger: Ledger,
        interactions: Interactions,
        *,
        clock: Callable[[], float],
        look: float,
        retention: float,
    ) -> None:
        self.shelf = Shelf(ledger, clock, look)
        self.look = look
        self.woken = asyncio.Event()  # there may be something to do before its time
        self.ended: set[tuple[str, str]] = set()  # triggers of which an interaction that began here has ended
        self._here: dict[str, tuple[str, str]] = {}  # by the id of the interaction
        self._interactions = interactions
        self._clock = clock
        self._retention = retention

    def tell(self, interaction: str) -> None:
        """An interaction has ended, of a trigger or not."""
        if (of := self._here.pop(interaction, None)) is not None:
            self.ended.add(of)
            self.woken.set()

    # ------------------------------------------------------------------ what is to be done

    async def handle(self, held: Held) -> None:
        """Do what is due about a trigger, and let it come up again in time."""
        found: Held | None = held
        if held.trigger.run is not None:
            found = await self.observe(held)
        if found is None:
            return  # somebody else has it
        trigger, now = found.trigger, self._clock()
        if trigger.deleted and trigger.run is None:
            await self.shelf.ledger.remove(TRIGGER, found.entry.project, found.entry.id)
        elif trigger.next_run is not None and trigger.next_run <= now:
            await self._tick(found, trigger.next_run, now)
        else:
            await self.shelf.rest(found)

    async def _tick(self, held: Held, due: float, now: float) -> None:
        """A tick has come; of several that came while no server ran it is the last, and the others are left out."""
        trigger, project, name = held.trigger, held.entry.project, held.entry.id
        tick = due
        if now >= due + schedule.CLOSEST:
            tick = max(due, schedule.latest(trigger.schedule, trigger.time_zone, now) or due)
        id = execution_id(name, tick)
        later = replace(trigger, next_run=schedule.after(trigger.schedule, trigger.time_zone, max(now, tick)))
        if trigger.run is not None:
            await self.skip(project, id, name, tick)
        elif await self.shelf.execution(project, id) is None:
            await self.begin(held, later, id, tick)
            return
        await self.shelf.change(held, later)

    async def skip(self, project: str, id: str, trigger: str, scheduled: float) -> None:
        """Write down that there was no run, since the one before it goes on."""
        now = self._clock()
        why = "The run before this one was still in progress."
        skipped = StoredExecution(trigger=trigger, status="skipped", scheduled=scheduled, ended=now, error=why)
        await self.shelf.record(project, id, skipped, now + self._retention)

    # ------------------------------------------------------------------ the beginning

    async def begin(self, held: Held, trigger: StoredTrigger, id: str, scheduled: float) -> Held | None:
        """Begin a run of a trigger that has none. None, and nothing was begun, where somebody else has changed it."""
        now = self._clock()
        run = Run(
            execution=id,
            interaction=ids.interaction_id(now),
            scheduled=scheduled,
            started=now,
            deadline=now + trigger.timeout,
        )
        # Should this server stop now, the run is due again at the next look.
        changed = await self.shelf.change(held, replace(trigger, run=run, last_run=now), now + self.look)
        return None if changed is None else await self._start(changed, run)

    async def _start(self, held: Held, run: Run) -> Held | None:
        """Make the interaction of a run, unless a server that stopped has made it."""
        project, trigger = held.entry.project, held.trigger
        await self.shelf.record(project, run.execution, _execution(held, run))
        self._here.pop(run.interaction, None)
        while len(self._here) >= _HERE:
            del self._here[next(iter(self._here))]  # the oldest: its end is seen at a look
        self._here[run.interaction] = (project, held.entry.id)
        try:
            late = self._clock() >= run.deadline
            if late or trigger.deleted:  # nothing is begun any more; what a server that stopped has begun goes on
                if await self._interactions.look(project, run.interaction) is None:
                    why = (
                        "It could not be started in time." if late else "The trigger was deleted before it was started."
                    )
                    return await self._end(held, run, "timed_out" if late else "failed", why)
            else:
                async with asyncio.timeout(_STARTING):
                    await self._interactions.start(project, trigger.interaction, id=run.interaction, key=trigger.key)
        except wire.AlreadyExists:
            pass
        except wire.RateLimited as error:  # tried before, it would only be refused again, and be counted
            return await self._mark(held, run, again=self._clock() + (error.retry_after or _LATER))
        except (wire.Unavailable, TimeoutError):
            return held  # not now: again at the next look, for as long as the run may take
        except wire.ApiError as error:
            return await self._end(held, run, "failed", error.message)
        return await self._mark(held, run, confirmed=True, again=0.0)

    async def _mark(self, held: Held, run: Run, **what: bool | float) -> Held | None:
        """Remember something of a run, as long as it is the trigger's."""

        def step(trigger: StoredTrigger) -> StoredTrigger | None:
            if trigger.run is None or trigger.run.execution != run.execution:
                return None
            marked = replace(trigger.run, **what)
            return replace(trigger, run=marked, previous=run.interaction if marked.confirmed else trigger.previous)

        return await self.shelf.update(held.entry.project, held.entry.id, step)

    # ------------------------------------------------------------------ the end

    async def glance(self, held: Held) -> Held | None:
        """End a run whose interaction has ended; the trigger as it is then, None where somebody else has it."""
        run, project = held.trigger.run, held.entry.project
        if run is None or not run.confirmed:
            return held
        seen = await self._interactions.look(project, run.interaction)
        if seen is None:
            return await self._end(held, run, "failed", "The interaction was deleted.")
        return held if seen.status in _GOING else await self._end(held, run, *_outcome(seen, run), seen.updated)

    async def observe(self, held: Held) -> Held | None:
        """The same, and begin what a server that stopped did not come to, and stop what takes too long."""
        found: Held | None = held
        run, now = held.trigger.run, self._clock()
        if run is not None and not run.confirmed and (now >= min(run.again, run.deadline) or held.trigger.deleted):
            found = await self._start(held, run)
        if found is not None:
            found = await self.glance(found)
        run = found.trigger.run if found is not None else None
        if found is None or run is None or not run.confirmed or self._clock() < run.deadline:
            return found
        return await self._time_out(found, run)

    async def _time_out(self, held: Held, run: Run) -> Held | None:
        """Stop what takes too long. That it did is written first: a caller's own cancellation is another outcome."""
        marked = await self._mark(held, run, timed_out=True)
        if marked is None or marked.trigger.run is None:
            return None
        run = marked.trigger.run
        await self._interactions.cancel(held.entry.project, run.interaction)
        seen = await self._interactions.look(held.entry.project, run.interaction)
        if seen is not None and seen.status not in _GOING:
            return await self._end(marked, run, *_outcome(seen, run), seen.updated)
        return await self._end(marked, run, "timed_out", _too_long(run))

    async def _end(
        self, held: Held, run: Run, status: types.TriggerExecutionStatus, error: str | None, updated: str | None = None
    ) -> Held | None:
        """Write how a run ended, and free its trigger for the next. `updated` is when its interaction did."""
        project, now = held.entry.project, self._clock()
        self._here.pop(run.interaction, None)
        at = now if updated is None else max(run.started, min(now, datetime.fromisoformat(updated).timestamp()))
        ended = replace(_execution(held, run), status=status, ended=at, error=error)
        if not run.confirmed:
            ended = replace(ended, interaction=None)  # there is none
        await self.shelf.record(project, run.execution, ended, now + self._retention)

        def step(trigger: StoredTrigger) -> StoredTrigger | None:
            if trigger.run is None or trigger.run.execution != run.execution:
                return None
            return _freed(trigger, status, now)

        return await self.shelf.update(project, held.entry.id, step)


def _execution(held: Held, run: Run) -> StoredExecution:
    return StoredExecution(
        trigger=held.entry.id,
        status="in_progress",
        scheduled=run.scheduled,
        started=run.started,
        interaction=run.interaction,
    )


def _freed(trigger: StoredTrigger, status: types.TriggerExecutionStatus, now: float) -> StoredTrigger:
    """A trigger after its run, which it counts: too many failures in a row, and it waits until it is resumed."""
    failures = 0 if status == "completed" else trigger.failures + 1
    freed = replace(trigger, run=None, failures=failures)
    if failures >= trigger.most_failures and trigger.status == "active":
        return replace(freed, status="error", next_run=None, updated=now)
    return freed


def _outcome(seen: wire.Interaction, run: Run) -> tuple[types.TriggerExecutionStatus, str | None]:
    """What an ended interaction is as the end of a run."""
    if seen.status in _WELL:
        return "completed", None
    if seen.status == "cancelled":
        return ("timed_out", _too_long(run)) if run.timed_out else ("failed", "The interaction was cancelled.")
    errors = seen.errors or ([seen.error] if seen.error is not None else [])
    return "failed", errors[0].message if errors else f"The interaction ended with status '{seen.status}'."


def _too_long(run: Run) -> str:
    return f"It took longer than {run.deadline - run.started:g} s and was cancelled."
