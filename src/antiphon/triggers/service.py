"""What callers do with triggers: make them, read them, pause and resume them, delete them, run them now."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from msgspec.structs import replace

from antiphon import ids, wire
from antiphon.ports import Ledger
from antiphon.triggers import schedule
from antiphon.triggers.kept import (
    TRIGGER,
    Held,
    StoredTrigger,
    execution_id,
    held,
    shown_execution,
    shown_trigger,
    trigger_id,
)
from antiphon.triggers.runs import Interactions, Runs
from antiphon.triggers.scheduler import Scheduler
from antiphon.wire import triggers as types

_TIMEOUT, _MOST_FAILURES = 600, 5  # what the service takes where a trigger says nothing (its documents)
_LONGEST_FILTER = 1000  # characters
_MOST = 100  # triggers of a project
_TERM = re.compile(r'\s*(status|state|display_name)\s*=\s*(?:"([^"]*)"|([\w.-]+))\s*', re.ASCII)
_AND = re.compile(r"\sAND\s(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)")  # not within a text
Test = Callable[[StoredTrigger], bool]


class Triggers:
    """The triggers of all projects. `scheduler` runs them; it is a task of whoever has made this."""

    def __init__(
        self,
        ledger: Ledger,
        interactions: Interactions,
        *,
        clock: Callable[[], float] = time.time,
        look: float = 5.0,
        retention: float = 55 * 86400.0,
    ) -> None:
        self._runs = Runs(ledger, interactions, clock=clock, look=look, retention=retention)
        self._shelf = self._runs.shelf
        self._interactions = interactions
        self._clock = clock
        self.scheduler = Scheduler(self._runs, clock=clock)

    async def create(self, project: str, request: types.CreateTrigger, key: str = "") -> types.Trigger:
        """Make one; it is active. Raises ApiError with the place of the fault."""
        schedule.check(request.schedule, request.time_zone)
        if request.environment_id is not None:
            raise wire.InvalidRequest(
                "'environment_id' is not supported on this server: it has no sandboxes for agents."
            )
        template = _template(request.interaction)
        try:
            await self._interactions.check(project, template)
        except wire.ApiError as error:
            error.message = f"In 'interaction': {error.message}"
            raise
        now = self._clock()
        trigger = StoredTrigger(
            created=now,
            updated=now,
            schedule=request.schedule,
            time_zone=request.time_zone,
            interaction=template,
            timeout=request.execution_timeout_seconds or _TIMEOUT,
            most_failures=request.max_consecutive_failures or _MOST_FAILURES,
            key=key,
            display_name=request.display_name,
            next_run=schedule.after(request.schedule, request.time_zone, now),
        )
        await self._check_room(project, 1)
        id = trigger_id(now)
        await self._shelf.add(project, id, trigger)
        try:
            await self._check_room(project, 0)  # others may have come at the same moment
        except wire.FailedPrecondition:
            await self._shelf.ledger.remove(TRIGGER, project, id)
            raise
        return shown_trigger(id, trigger)

    async def _check_room(self, project: str, more: int) -> None:
        if len(await self._shelf.ledger.entries(TRIGGER, project, size=_MOST + 1)) + more > _MOST:
            raise wire.FailedPrecondition(f"A project has at most {_MOST} triggers: delete one first.")

    async def page(self, project: str, filter: str, size: int, after: str) -> types.TriggerList:
        """Up to `size` of a project's triggers, the newest first, after the one with the id `after`."""
        wanted = _filter(filter)
        found: list[Held] = []
        while len(found) <= size:
            entries = await self._shelf.ledger.entries(TRIGGER, project, after=after, size=size + 1)
            read = [held(entry) for entry in entries]
            found += [one for one in read if not one.trigger.deleted and wanted(one.trigger)]
            if len(entries) <= size:
                break
            after = entries[-1].id
        shown = [shown_trigger(one.entry.id, one.trigger) for one in found[:size]]
        token = found[size - 1].entry.id if len(found) > size else None
        return types.TriggerList(triggers=shown or None, next_page_token=token)

    async def get(self, project: str, id: str) -> types.Trigger:
        """One trigger. Raises NotFound."""
        found = await self._there(project, id)
        return shown_trigger(id, (await self._runs.glance(found) or found).trigger)

    async def update(self, project: str, id: str, change: types.UpdateTrigger) -> types.Trigger:
        """Name it, pause it, resume it. Raises NotFound."""
        now = self._clock()

        def step(trigger: StoredTrigger) -> StoredTrigger | None:
            if trigger.deleted:
                return None
            changed = _with_status(trigger, change.status or trigger.status, now)
            if change.display_name is not None:
                changed = replace(changed, display_name=change.display_name)
            return changed if changed == trigger else replace(changed, updated=now)

        done = await self._shelf.update(project, id, step)
        if done is None:
            raise _unknown(id)
        return shown_trigger(id, done.trigger)

    async def delete(self, project: str, id: str) -> None:
        """Delete it; a run goes on to its end, and what was run stays listed. Raises NotFound."""
        while True:
            found = await self._there(project, id)
            if found.trigger.run is None:
                if await self._shelf.ledger.remove(TRIGGER, project, id, found.entry.version):
                    return
            elif await self._shelf.change(found, replace(found.trigger, deleted=True, next_run=None)) is not None:
                return

    async def run(self, project: str, id: str) -> types.TriggerExecution:
        """Run it now, paused or not. While a run goes on there is no other: the execution says that it was skipped."""
        while True:
            found: Held | None = await self._there(project, id)
            if found is not None and found.trigger.run is not None:
                found = await self._runs.observe(found)
            if found is None:
                continue  # somebody else has changed it: look again
            now = self._clock()
            name = execution_id(id, now) + ids.call_id()  # apart from a tick at the same moment
            if found.trigger.run is not None:
                await self._runs.skip(project, name, id, now)
            elif await self._runs.begin(found, found.trigger, name, now) is None and (
                await self._shelf.execution(project, name) is None
            ):
                continue
            execution = await self._shelf.execution(project, name)
            assert execution is not None
            return shown_execution(name, execution)

    async def executions(self, project: str, id: str, size: int, after: str) -> types.TriggerExecutionList:
        """Up to `size` of a trigger's runs, the newest first; a deleted one's too, while they are kept. Raises NotFound."""
        trigger = await self._shelf.read(project, id)
        if trigger is not None:
            await self._runs.glance(trigger)  # its end is told as soon as it is there, not at the next look
        found = await self._shelf.executions(project, id, after, size + 1)
        if not found and (trigger is None or trigger.trigger.deleted):
            raise _unknown(id)
        shown = [shown_execution(name, execution) for name, execution in found[:size]]
        token = found[size - 1][0] if len(found) > size else None
        return types.TriggerExecutionList(trigger_executions=shown or None, next_page_token=token)

    async def _there(self, project: str, id: str) -> Held:
        found = await self._shelf.read(project, id)
        if found is None or found.trigger.deleted:
            raise _unknown(id)
        return found


def _unknown(id: str) -> wire.NotFound:
    return wire.NotFound(f"Trigger '{id[:200]}' was not found.")


def _template(request: wire.CreateInteraction) -> wire.CreateInteraction:
    """What each run asks for: it is in the background, so it is stored and nobody waits for its stream."""
    if request.store is not None:
        raise wire.InvalidRequest("'interaction.store' is not allowed: what a trigger runs is stored.")
    if request.stream:
        raise wire.InvalidRequest("'interaction.stream' is not allowed: what a trigger runs is followed by its id.")
    if request.background is False:
        raise wire.InvalidRequest("'interaction.background' cannot be false: what a trigger runs is in the background.")
    return replace(request, stream=None, background=True)


def _with_status(trigger: StoredTrigger, status: types.TriggerStatus, now: float) -> StoredTrigger:
    """A trigger paused or resumed; its own status changes nothing. One that is resumed has its failures forgiven."""
    if status == trigger.status:
        return trigger
    if status == "error":
        raise wire.InvalidRequest("'error' cannot be set at 'status': it is where failures lead. Pause it instead.")
    if status == "paused":
        return replace(trigger, status="paused", paused=now, next_run=None)
    tick = schedule.after(trigger.schedule, trigger.time_zone, now)
    return replace(trigger, status="active", resumed=now, next_run=tick, failures=0)


def _filter(text: str) -> Test:
    """`status = "active"`, `display_name = "x"`, both with AND. Raises InvalidRequest."""
    if len(text) > _LONGEST_FILTER:
        raise wire.InvalidRequest(f"The text at 'filter' is longer than {_LONGEST_FILTER} characters.")
    tests = [_term(term) for term in _AND.split(text)] if text.strip() else []
    return lambda trigger: all(test(trigger) for test in tests)


def _term(text: str) -> Test:
    found = _TERM.fullmatch(text)
    if found is None:
        raise wire.InvalidRequest(
            f"{text.strip()[:100]!r} at 'filter' is not understood. "
            'Supported: status=active, display_name="a name", and several of them joined with AND.'
        )
    name, value = found[1], found[2] if found[2] is not None else found[3]
    if name == "display_name":
        return lambda trigger: trigger.display_name == value
    if value.lower() not in ("active", "paused", "error"):
        raise wire.InvalidRequest(
            f"Invalid enum value {value[:100]!r} at 'filter'. Supported values: 'active', 'error', 'paused'."
        )
    return lambda trigger: trigger.status == value.lower()
