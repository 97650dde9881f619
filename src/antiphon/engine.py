"""decide → perform → append: how an interaction runs.

`decide` is pure: from what the log adds up to, what comes next. The engine does it, and appends what happens; nothing
else writes to a log. A run that a crash cut short is loaded, folded and decided again. The engine knows neither HTTP nor
which models, tools and stores there are: they are given to it (`ports` says what they promise).

A step's stop is written together with what follows it (`run.py`): in a log that breaks off the last step is open,
so a recovered run knows which step was cut short, and that nothing before it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from antiphon import intake, log, logs, resource, transfer, wire
from antiphon.admission import Admission
from antiphon.archive import Archive
from antiphon.decide import CallModel, Done, RunTools, clients_of, decide
from antiphon.desk import RunDesk
from antiphon.pasts import Pasts, said_by
from antiphon.perform import Performer
from antiphon.ports import (
    Agent,
    Bus,
    Fenced,
    Keep,
    Model,
    Record,
    Resolution,
    Segment,
    Store,
    Stored,
    Tool,
    Turn,
    Watcher,
    gives_of,
)
from antiphon.processing import Processing
from antiphon.readings import Readings
from antiphon.recovery import Turns, close_cut
from antiphon.run import Limits, Run, patiently
from antiphon.toolbox import Toolbox
from antiphon.watchers import Watchers

logger = logging.getLogger("antiphon.engine")

HELD_SECONDS = 6.0  # after which it is seen whether whoever runs an interaction still does
SUSPECT = 2  # crashes, after which a run may be what crashes the server
ALONE_SECONDS = 60.0  # for how long the next suspect waits for one that has not ended
NEWEST = 2**31 - 1  # an attempt after all others


# ---------------------------------------------------------------------------------------------------- perform


class Engine:
    """Runs interactions and reads them back. `models` and `tools` are by name; `resolve` turns an asked name into one."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        models: Mapping[str, Model],
        resolve: Callable[[str], Resolution],
        key: bytes,
        tools: Mapping[str, Tool] | None = None,
        watchers: Sequence[Watcher] = (),
        limits: Limits | None = None,
        agents: Mapping[str, Agent] | None = None,
        processing: Processing | None = None,
        keep: Keep | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.limits = limits or Limits()
        self._bus = bus
        self.models = models
        self._key = key
        self._tools = dict(tools or {})
        self._agents = dict(agents or {})
        self._watchers = Watchers(watchers)
        self._processing = processing or Processing()
        self._performer = Performer(
            store=store,
            models=models,
            watchers=self._watchers,
            limits=self.limits,
            key=key,
            processing=self._processing,
            keep=keep,
        )
        self._clock = clock
        self._live: dict[str, Run] = {}
        self._stopping = False
        self._suspects = Turns(ALONE_SECONDS)
        self._tasks: set[asyncio.Task[None]] = set()  # of runs, until their tools are closed too
        self._pasts = Pasts(store)
        self._admission = Admission(
            models=models,
            resolve=resolve,
            tools=self._tools,
            agents=self._agents,
            processing=self._processing,
            pasts=self._pasts,
            live=self._live,
            key=key,
            retention=self.limits.retention,
            clock=clock,
        )
        self._beginning: dict[str, asyncio.Event] = {}  # what is being kept, and not yet run
        self.archive = Archive(store, bus, self._live, self._beginning)

    # ------------------------------------------------------------------ create

    async def create(
        self,
        project: str,
        request: wire.CreateInteraction,
        *,
        key: str = "",
        id: str | None = None,
        lasting: bool = False,
    ) -> Run:
        """Check a request, and start it; a run without a task is another server's. Raises ApiError before it is kept.

        `key` is the id of the API key that asks, `id` one that was chosen before: AlreadyExists where it is taken.
        `lasting`: it is kept from its first event, though nobody could ask for it elsewhere.
        """
        if self._stopping:
            raise wire.Unavailable("The server is stopping.")
        record, turn = await self.prepare(project, request, key, id)
        if record.id in self._beginning:
            raise wire.AlreadyExists(f"Interaction '{id}' exists.")
        begun = self._beginning[record.id] = asyncio.Event()
        try:
            if id is not None and await self.store.exists(id):
                raise wire.AlreadyExists(f"Interaction '{id}' exists.")
            return await self._begin(record, turn, durable=lasting or self.outlives(request))
        finally:
            del self._beginning[record.id]
            begun.set()

    async def _begin(self, record: Record, turn: Turn, *, durable: bool) -> Run:
        await self._watchers.begins(record)
        if durable:
            try:
                await self.store.create(record, "in_progress", waits=record.background and self._bus.shared)
            except wire.ApiError:
                self._watchers.refused(record)
                raise
        run = Run(record, turn, self._bus.open(record.id), durable=durable)
        if not record.background or await self._bus.submit(record.id):
            self._equip(run)
            self._start(run)
        return run

    def outlives(self, request: wire.CreateInteraction) -> bool:
        """Whether what it asks for goes on without the server that it came to, and so is kept from its first event.

        Where several servers may be asked for a stream, streams are like background runs.
        """
        return request.store is not False and bool(request.background or (request.stream and self._bus.shared))

    async def prepare(
        self, project: str, request: wire.CreateInteraction, key: str = "", id: str | None = None
    ) -> tuple[Record, Turn]:
        """What a request asks for, checked; nothing is begun or kept. Raises ApiError."""
        return await self._admission.record(project, request, key, id)

    # ------------------------------------------------------------------ run

    def _equip(self, run: Run) -> None:
        """Give a run its tools, and what it and its conversation have read so far."""
        run.readings = Readings(self._key, [*run.turn.steps, *run.state.steps])
        if run.record.tools and run.turn.tool_choice.mode != "none":
            run.tools = Toolbox(self._tools, self._key, self.limits.tool)

    def _start(self, run: Run) -> None:
        task = self._launch(run, self._guard(run))
        if run.durable:
            # Told so by a newer attempt, it stops at once, not only when it next writes; it can write nothing anyway.
            run.silence = self._bus.answer(run.record.id, run.attempt, task.cancel)

    def _launch(self, run: Run, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._live[run.record.id] = run
        run.task = task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._ended(run))  # also where it was cancelled before it began
        return task

    def _ended(self, run: Run) -> None:
        if self._live.get(run.record.id) is run:
            del self._live[run.record.id]
        run.silence()
        run.channel.close()

    async def _guard(self, run: Run) -> None:
        """Whatever happens to a run ends in its log, once, with a status."""
        record = run.record
        logs.bind(interaction=record.id, project=record.project, key=record.key, attempt=run.attempt)
        try:
            await self._attempt(run)
        finally:
            self._ended(run)  # at once: who reads the last event may already go on from it
            if run.tools is not None:
                await run.tools.aclose()

    async def _attempt(self, run: Run) -> None:
        try:
            await self._advance(run)
        except asyncio.CancelledError:
            if not run.cancelled:
                raise  # the server is stopping: the log stays open, and the next start goes on from it
            await self._close(run, "cancelled")
        except Fenced:
            logger.warning("another attempt has taken over %s", run.record.id)
        except wire.ApiError as error:
            await self._close(run, "failed", error)
        except Exception as error:  # the edge of a run: a fault of ours must not leave it open
            logger.exception("run %s failed", run.record.id)
            await self._close(run, "failed", wire.Internal(f"Internal error: {type(error).__name__}."))

    async def _advance(self, run: Run) -> None:
        record, state = run.record, run.state
        if state.position == "new":
            await run.open(self.store)
        await self._performer.process(run)
        if record.request.agent is not None:
            desk = RunDesk(run, self._performer, self.store, self._watchers, self._key, self._clock)
            try:
                status = await self._agents[record.request.agent].run(desk)
            finally:
                await desk.aclose()  # what it asked for beside, and did not wait for, ends with it and is counted
            return await self._end(run, status)
        clients = clients_of(record.tools or ())
        draws = run.turn.image is not None
        until = self._clock() + self.limits.time
        cut = False
        while True:
            match decide(state.steps, cut=cut, rounds=self.limits.rounds, clients=clients, draws=draws):
                case Done(status):
                    return await self._end(run, status)
                case _ if state.steps and self._clock() > until:
                    raise wire.DeadlineExceeded(f"The interaction took longer than {self.limits.time:g} s.")
                case CallModel():
                    cut = await self._performer.call_model(run)
                case RunTools(calls):
                    for call in calls:
                        if self._clock() > until:
                            break  # and out: the look at the time comes next
                        await self._performer.run_tool(run, call)

    async def _end(self, run: Run, status: wire.InteractionStatus) -> None:
        run.updated = self._clock()
        last = resource.completed(run.record, run.state, status, run.usage, run.updated)
        await run.append(self.store, wire.InteractionCompleted(interaction=last))
        await run.finish(self.store)
        self._watchers.ends(run.record, status, last.usage)
        if run.record.store:
            said = (step for step in run.state.steps if step.error is None)
            self._pasts.remember(run.record.id, (*run.turn.steps, *said), run.record.previous_interaction_id)

    async def _close(self, run: Run, status: wire.InteractionStatus, error: wire.ApiError | None = None) -> None:
        """End a run that could not end by itself."""
        run.error = error
        if run.state.ended:
            return run.give_up()  # its end could not be written, and nobody was told otherwise
        try:
            if run.state.position == "new":
                await run.open(self.store)  # every log begins so, also that of a run that nobody came to
            cause = wire.Status(code=13, message=error.message) if error is not None else None
            if run.state.open is not None:
                await run.append(self.store, wire.StepStop(index=len(run.state.steps), error=cause), hold=True)
            if error is not None:
                shown = wire.Error(code=error.code, message=error.message)
                await run.append(self.store, wire.ErrorEvent(error=shown), hold=True)
            await self._end(run, status)
        except Exception:
            logger.exception("the end of %s could not be written", run.record.id)
            run.give_up()

    # ------------------------------------------------------------------ recover

    async def recover(self) -> int:
        """Go on with every run that a stop of the server cut short. How many there were."""
        unfinished = await self.store.unfinished()
        for id in unfinished:
            try:
                stored = await self.store.claim(id)
                if stored is not None and SUSPECT <= stored.crashes < self.limits.attempts:
                    await self.store.release(id, stored.attempt)
                    run = self._adopt(stored)
                    self._launch(run, self._take_turn(run))
                elif stored is not None:
                    await self._resume(stored)
            except Exception:  # one that cannot be read must not keep the others, and the server, from going on
                logger.exception("interaction %s cannot be gone on with", id)
        return len(unfinished)

    async def _take_turn(self, run: Run) -> None:
        """Go on with one that may be what stopped the server, by itself: so it is told from the others."""
        try:
            async with self._suspects.turn():
                stored = await patiently(partial(self.store.claim, run.record.id))
                if stored is not None:
                    run.attempt = stored.attempt
                    if await self._ready(run, stored):
                        await self._guard(run)
        except asyncio.CancelledError:
            if not run.cancelled:
                raise
            if (stored := await self.store.claim(run.record.id)) is not None:
                run.attempt = stored.attempt
                await self._close(run, "cancelled")
        except Exception:  # as in `recover`: it stays open, and the next start comes back to it
            logger.exception("interaction %s cannot be gone on with", run.record.id)

    async def work(self, id: str) -> float | None:
        """Run an interaction that was handed over. Cancelled, it is given back for another to go on with.

        None when it is over; else in how many seconds to see whether whoever runs it still does.
        """
        if id in self._live or await self._bus.running(id):
            return HELD_SECONDS
        try:
            await self._take_up(id)
            run = self._live.get(id)
            if run is None or run.task is None:
                return None
            await asyncio.wait([run.task])
        except asyncio.CancelledError:
            if (run := self._live.get(id)) is not None:
                await self._give_back(run)
            raise
        return None if run.kept else HELD_SECONDS

    async def _take_up(self, id: str) -> None:
        stored = await self.store.claim(id)
        if stored is not None and SUSPECT <= stored.crashes < self.limits.attempts:
            # It may be what stops servers: those go one by one, and until its turn a crash is none of this one's.
            await self.store.release(id, stored.attempt)
            async with self._suspects.turn():
                if (stored := await self.store.claim(id)) is not None:
                    await self._resume(stored)
                    if (run := self._live.get(id)) is not None and run.task is not None:
                        await asyncio.wait([run.task])
        elif stored is not None:
            await self._resume(stored)

    async def _give_back(self, run: Run) -> None:
        """Stop a run in good order. It stays open in the store, and whoever goes on does not count it as a crash."""
        if run.task is not None and not run.state.ended:
            run.task.cancel()
            await asyncio.wait([run.task])
        if run.durable and not run.state.ended:
            await self.store.release(run.record.id, run.attempt)

    async def _hand_on(self, run: Run) -> None:
        await self._give_back(run)
        if run.durable and not run.state.ended:
            await self._bus.submit(run.record.id)

    def _adopt(self, stored: Stored) -> Run:
        """A run that goes on from what an earlier attempt wrote."""
        record = stored.record
        state = log.fold(log.decode(stored.frames))
        channel = self._bus.open(record.id, Segment(1, state.seq, stored.frames) if state.seq else None)
        run = Run(record, Turn(model=record.target, steps=(), conversation=record.conversation), channel, durable=True)
        run.take_over(state, stored.attempt)
        return run

    async def _resume(self, stored: Stored) -> None:
        run = self._adopt(stored)
        if await self._ready(run, stored):
            self._start(run)

    async def _ready(self, run: Run, stored: Stored) -> bool:
        """Whether it can go on; where it cannot, it is ended with the reason."""
        record = stored.record
        chain = await patiently(partial(self.store.lineage, record.project, record.id))
        past = said_by(chain[:-1])
        try:
            await close_cut(run, self.store, self._tools)
            if not chain:
                raise wire.Internal("The interaction expired while the server was stopped.")
            if stored.crashes >= self.limits.attempts:
                raise wire.Internal(f"The server stopped {stored.crashes} times during this interaction.")
            if record.request.agent is not None and record.request.agent not in self._agents:
                raise wire.NotFound(f"The agent '{record.request.agent}' is no longer served.")
            if record.target not in self.models:
                raise wire.ModelNotFound(f"The model '{record.target}' is no longer configured.")
            gives = gives_of(self.models[record.target])
            run.turn = intake.turn(record, past, self._tools, followed=True, gives=gives)
            self._equip(run)
        except wire.ApiError as error:
            await self._close(run, "failed", error)
            run.channel.close()
            return False
        return True

    # ------------------------------------------------------------------ bring in

    async def bring_in(self, project: str, lines: bytes) -> list[str]:
        """Keep an exported conversation as it was, under its own ids. Raises InvalidRequest, and AlreadyExists."""
        chain = transfer.read(lines, project, self._clock(), self.limits.retention)
        for stored in chain:
            self._pasts.forget(stored.record.id)
        await self.store.bring_in(chain)
        return [stored.record.id for stored in chain]

    # ------------------------------------------------------------------ stop

    async def cancel(self, project: str, id: str) -> wire.Interaction:
        """Stop a background run. Raises NotFound, and FailedPrecondition for one that is not running."""
        running = self.archive.unkept(project, id) or await self.archive.stored(project, id)
        if not isinstance(running, Stored) or running.status == "in_progress":
            if not running.record.background:
                raise wire.FailedPrecondition(f"Interaction '{id}' is not a background interaction.")
            await self._stop(id)
            if id not in self._live:
                await self._close_elsewhere(id)
        made = await self.archive.get(project, id)
        if made.status == "in_progress":
            raise wire.Unavailable(f"Interaction '{id}' could not be cancelled at present.")
        if made.status != "cancelled":  # already, or meanwhile
            raise wire.FailedPrecondition(f"Interaction '{id}' is not running: its status is '{made.status}'.")
        return made

    async def _close_elsewhere(self, id: str) -> None:
        """End what another server runs, or nobody, since its end could not be written."""
        stored = await self.store.claim(id)
        if stored is not None:
            run = self._adopt(stored)
            await self._close(run, "cancelled")
            run.channel.close()
            await self._bus.stop(id, stored.attempt)

    async def delete(self, project: str, id: str) -> None:
        """Stop an interaction if it runs, and delete it. Raises NotFound."""
        run = self._live.get(id)
        if run is not None and run.record.store and run.record.project == project:
            await self._stop(id)
        self._pasts.forget(id)
        if not await self.store.delete(project, id):
            raise wire.NotFound(f"Interaction '{id}' was not found.")
        await self._bus.stop(id, NEWEST)

    async def _stop(self, id: str) -> None:
        run = self._live.get(id)
        if run is not None and run.task is not None:
            if not run.state.ended:
                run.cancelled = True
                run.task.cancel()
            await asyncio.wait([run.task])

    async def abandon(self, run: Run) -> None:
        """Nobody waits for this run any more, and nobody could come back to it."""
        await self._stop(run.record.id)

    async def sweep(self, compact_after: float = 86400.0) -> int:
        """Delete what has expired; compact what ended more than `compact_after` seconds ago."""
        now = self._clock()
        return await self.store.sweep(now, now - compact_after)

    def running(self) -> int:
        """How many interactions run in this process."""
        return len(self._live)

    def is_live(self, id: str) -> bool:
        """Whether it runs in this process."""
        return id in self._live

    async def hand_over(self) -> None:
        """Begin nothing more, and give away what outlives this server: to another, or to the next start."""
        self._stopping = True
        lasting = [run for run in self._live.values() if run.durable]
        await asyncio.gather(*map(self._hand_on, lasting), return_exceptions=True)

    async def aclose(self) -> None:
        """Stop. Background runs stay open in the store, and go on at the next start; that counts as no crash."""
        await asyncio.gather(*(self._hand_on(run) for run in list(self._live.values())), return_exceptions=True)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=15)
