"""decide → perform → append: how an interaction runs.

`decide` is pure: from what the log adds up to, what comes next. The engine does it, and appends what happens; nothing
else writes to a log. A run that a crash cut short is loaded, folded and decided again. The engine knows neither HTTP nor
which models, tools and stores there are: they are given to it (`ports.py` says what they promise).

A step's stop is written together with what follows it (`run.py`): in a log that breaks off the last step is open,
so a recovered run knows which step was cut short, and that nothing before it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from antiphon import ids, intake, log, resource, signature, transfer, wire
from antiphon.archive import Archive
from antiphon.citations import cite
from antiphon.decide import RESULTS, CallModel, Done, RunTools, clients_of, decide
from antiphon.pasts import Pasts, said_by
from antiphon.ports import (
    Bus,
    Fenced,
    Finish,
    Model,
    Record,
    Resolution,
    Segment,
    Store,
    Stored,
    Tool,
    ToolChoice,
    Turn,
)
from antiphon.readings import Readings
from antiphon.run import Limits, Run, Silence, Writer
from antiphon.toolbox import Toolbox
from antiphon.toolsteps import lost, payload, result_of, tool_type

logger = logging.getLogger("antiphon.engine")

_READINGS = 4  # how many whole results a model is given to read at one time


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
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.limits = limits or Limits()
        self._bus = bus
        self._models = models
        self._resolve = resolve
        self._key = key
        self._tools = dict(tools or {})
        self._clock = clock
        self._live: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # of runs, until their tools are closed too
        self._pasts = Pasts(store)
        self.archive = Archive(store, bus, self._live)

    # ------------------------------------------------------------------ create

    async def create(self, project: str, request: wire.CreateInteraction) -> Run:
        """Check a request, and start it; a run without a task is another server's. Raises ApiError before it is kept."""
        intake.check(request)
        if request.agent is not None:
            raise wire.NotFound(f"Agent '{request.agent}' is not served here.")
        assert request.model is not None
        resolved = self._resolve(request.model)
        parent, past = await self._past(project, request.previous_interaction_id)
        found = intake.steps(request.input)
        intake.check_results(found, past)
        intake.check_signatures(found, self._key)
        intake.check_modalities(found, self._models[resolved.target].modalities, resolved.served_as)
        now = self._clock()
        id = ids.interaction_id(now)
        record = Record(
            id=id,
            project=project,
            conversation=parent.conversation if parent is not None else id,
            created=now,
            expires=now + self.limits.retention,
            model=resolved.served_as,
            target=resolved.target,
            input=found,
            request=msgspec.structs.replace(request, input=None),
            tools=intake.effective_tools(request, found, parent),
            previous_interaction_id=request.previous_interaction_id,
            substitution=intake.substitution(resolved),
            background=bool(request.background),
            store=request.store is not False,
        )
        turn = intake.turn(record, past, self._tools, followed=bool(request.stream or request.background))
        for place, declared in enumerate(record.tools or ()):
            if (tool := self._tools.get(str(declared.__struct_config__.tag))) is not None:
                await tool.check(declared, project, f"tools[{place}]")
        # Where others may be asked for a stream, it is kept from its first event, as a background run is.
        durable = record.background or (record.store and bool(request.stream) and self._bus.shared)
        if durable:
            await self.store.create(record, "in_progress")
        run = Run(record, turn, self._bus.open(id), durable=durable)
        if not record.background or await self._bus.submit(id):
            self._equip(run)
            self._start(run)
        return run

    async def _past(self, project: str, id: str | None) -> tuple[Record | None, Sequence[wire.Step]]:
        """The interaction that a request goes on from, and all that was said up to its end."""
        if id is None:
            return None, ()
        live = self._live.get(id)
        if live is not None and live.record.project == project and live.record.store:
            raise wire.InvalidRequest(f"Interaction '{id}' at 'previous_interaction_id' is still in progress.")
        return await self._pasts.before(project, id)

    def thought_text(self, step: wire.ThoughtStep) -> str:
        """The thought sealed in a step; '' where it has none, or one that is not ours."""
        try:
            return signature.unseal(self._key, step.signature or "")
        except ValueError:
            return ""

    # ------------------------------------------------------------------ run

    def _equip(self, run: Run) -> None:
        """Give a run its tools, and what it and its conversation have read so far."""
        run.readings = Readings(self._key, [*run.turn.steps, *run.state.steps])
        if run.record.tools and run.turn.tool_choice.mode != "none":
            run.tools = Toolbox(self._tools, self._key, self.limits.tool)

    def _start(self, run: Run) -> None:
        self._live[run.record.id] = run
        run.task = asyncio.create_task(self._guard(run))
        self._tasks.add(run.task)
        run.task.add_done_callback(self._tasks.discard)
        run.task.add_done_callback(lambda _: self._ended(run))  # also where it was cancelled before it began

    def _ended(self, run: Run) -> None:
        self._live.pop(run.record.id, None)
        run.channel.close()

    async def _guard(self, run: Run) -> None:
        """Whatever happens to a run ends in its log, once, with a status."""
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
            await run.append(self.store, wire.InteractionCreated(interaction=resource.created(record)), hold=True)
            id = record.id if record.store else ""
            await run.append(self.store, wire.InteractionStatusUpdate(interaction_id=id, status="in_progress"))
        clients = clients_of(record.tools or ())
        until = self._clock() + self.limits.time
        cut = False
        while True:
            match decide(state.steps, cut=cut, rounds=self.limits.rounds, clients=clients):
                case Done(status):
                    return await self._end(run, status)
                case _ if state.steps and self._clock() > until:
                    raise wire.DeadlineExceeded(f"The interaction took longer than {self.limits.time:g} s.")
                case CallModel():
                    cut = await self._call_model(run)
                case RunTools(calls):
                    for call in calls:
                        if self._clock() > until:
                            break  # and out: the look at the time comes next
                        await self._run_tool(run, call)

    async def _call_model(self, run: Run) -> bool:
        """Let the model go on; True when a token limit cut it short."""
        if run.tools is not None:
            run.turn = await run.tools.open(run.record, run.turn, self._room(run))
        turn = self._question(run)
        config = run.record.request.generation_config
        summaries = config is not None and config.thinking_summaries == "auto"
        passages = tuple(run.readings.passages)
        sources = partial(cite, passages=passages) if passages and not (turn.schema or turn.json_object) else None
        writer = Writer(run, self.store, self._key, summaries=summaries, cite=sources)
        finish: Finish | None = None
        try:
            with Silence(self.limits.silence) as silence:
                async for delta in self._models[turn.model].stream(turn):
                    silence.broken()
                    if isinstance(delta, Finish):
                        finish = delta
                    else:
                        await writer.take(delta)
        except TimeoutError:
            raise wire.DeadlineExceeded(f"The model said nothing for {self.limits.silence:g} s.") from None
        if finish is None:
            raise wire.Internal("The model's answer broke off.")
        run.usage = run.usage.then(finish.tokens)
        await writer.end(run.usage)
        cut = finish.reason == "length"
        if turn.schema is not None and not cut:
            intake.check_answer(run.state.steps, turn.schema)
        return cut

    def _room(self, run: Run) -> int:
        return int(getattr(self._models[run.turn.model], "room", self.limits.room))

    def _question(self, run: Run) -> Turn:
        """The turn as it stands now: with what was said since, and what the tools offer and gave."""
        turn = run.turn
        said = [step for step in run.state.steps if step.error is None]
        changed: dict[str, Any] = {"steps": [*turn.steps, *said]} if said else {}
        if run.readings.texts:
            changed |= {"calls": run.readings.calls, "readings": run.readings.within(_READINGS * self._room(run))}
        if run.tools is not None:
            changed["functions"] = run.tools.offered(turn.functions, [*turn.steps, *said])
            if turn.tool_choice.mode == "any" and any(type(step) in RESULTS for step in said):
                changed["tool_choice"] = ToolChoice("auto", turn.tool_choice.names)  # it has called what it had to
        return msgspec.structs.replace(turn, **changed) if changed else turn

    async def _run_tool(self, run: Run, call: wire.ToolCallStep) -> None:
        assert run.tools is not None
        index = len(run.state.steps)
        await run.append(self.store, wire.StepStart(index=index, step=result_of(call)))
        await run.flush(self.store)  # what may have effects has left its trace before it begins
        run.turn = await run.tools.open(run.record, run.turn, self._room(run))
        result, figures = await run.tools.run(call)
        await run.append(self.store, wire.StepDelta(index=index, delta=payload(result)), hold=bool(figures))
        await run.append(self.store, wire.StepStop(index=index), hold=True)
        run.readings.add(run.state.steps[index])
        if figures:
            await self._show(run, figures)

    async def _show(self, run: Run, figures: Sequence[wire.ImageContent]) -> None:
        """What a tool drew, as output of the model.

        Held back, so that it is written in one piece with the result: a log that breaks off has all of it or none.
        """
        index = len(run.state.steps)
        await run.append(self.store, wire.StepStart(index=index, step=wire.ModelOutputStep()), hold=True)
        for figure in figures:
            shown = wire.ImageDelta(data=figure.data, mime_type=figure.mime_type)
            await run.append(self.store, wire.StepDelta(index=index, delta=shown), hold=True)
        await run.append(self.store, wire.StepStop(index=index), hold=True)

    async def _end(self, run: Run, status: wire.InteractionStatus) -> None:
        run.updated = self._clock()
        last = resource.completed(run.record, run.state, status, run.usage, run.updated)
        await run.append(self.store, wire.InteractionCompleted(interaction=last))
        await run.finish(self.store)
        if run.record.store:
            said = (step for step in run.state.steps if step.error is None)
            self._pasts.remember(run.record.id, (*run.turn.steps, *said), run.record.previous_interaction_id)

    async def _close(self, run: Run, status: wire.InteractionStatus, error: wire.ApiError | None = None) -> None:
        """End a run that could not end by itself."""
        run.error = error
        if run.state.ended:
            return run.give_up()  # its end could not be written, and nobody was told otherwise
        try:
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
                await self._take_up(id)
            except Exception:  # one that cannot be read must not keep the others, and the server, from going on
                logger.exception("interaction %s cannot be gone on with", id)
        return len(unfinished)

    async def work(self, id: str) -> None:
        """Run an interaction that was handed over, to its end. Cancelled, it is given back for another to go on with."""
        if id not in self._live:
            await self._take_up(id)
        run = self._live.get(id)
        if run is not None and run.task is not None:
            try:
                await asyncio.wait([run.task])
            except asyncio.CancelledError:
                await self._give_back(run)
                raise

    async def _take_up(self, id: str) -> None:
        stored = await self.store.claim(id)
        if stored is not None:
            await self._resume(stored)

    async def _give_back(self, run: Run) -> None:
        """Stop a run in good order. It stays open in the store, and whoever goes on does not count it as a crash."""
        if run.task is not None and not run.state.ended:
            run.task.cancel()
            await asyncio.wait([run.task])
        if run.record.background and not run.state.ended:
            await self.store.release(run.record.id, run.attempt)

    def _adopt(self, stored: Stored) -> Run:
        """A run that goes on from what an earlier attempt wrote."""
        record = stored.record
        state = log.fold(log.decode(stored.frames))
        channel = self._bus.open(record.id, Segment(1, state.seq, stored.frames) if state.seq else None)
        run = Run(record, Turn(model=record.target, steps=(), conversation=record.conversation), channel, durable=True)
        run.take_over(state, stored.attempt)
        return run

    async def _resume(self, stored: Stored) -> None:
        record = stored.record
        chain = await self.store.lineage(record.project, record.id)
        past = said_by(chain[:-1])
        run = self._adopt(stored)
        try:
            await self._close_cut(run)
            if not chain:
                raise wire.Internal("The interaction expired while the server was stopped.")
            if stored.attempt > self.limits.attempts:
                raise wire.Internal(f"The server stopped {stored.attempt - 1} times during this interaction.")
            if record.target not in self._models:
                raise wire.ModelNotFound(f"The model '{record.target}' is no longer configured.")
            run.turn = intake.turn(record, past, self._tools, followed=True)
            self._equip(run)
        except wire.ApiError as error:
            await self._close(run, "failed", error)
            run.channel.close()
            return
        self._start(run)

    async def _close_cut(self, run: Run) -> None:
        """Close the step that a crash cut short, with its error: clients that saw it see a legal continuation."""
        step = run.state.open
        if step is None:
            return
        index = len(run.state.steps)
        error: wire.Status | None = wire.Status(
            code=14, message="The server stopped while this step was being written."
        )
        tool = self._tools.get(tool_type(step)) if isinstance(step, wire.ToolResultStep) else None
        if isinstance(step, wire.ToolResultStep) and run.state.deltas:
            error = None  # all that it has to say is there: only its stop is not
        elif isinstance(step, wire.ToolResultStep) and (tool is None or not tool.rerunnable):
            # It may have had its effect, so it is not run again: the model is told that the outcome is unknown.
            why = "The server stopped while this was running: whether it had its effect is not known."
            await run.append(self.store, wire.StepDelta(index=index, delta=payload(lost(step, why))))
            error = None
        await run.append(self.store, wire.StepStop(index=index, error=error), hold=error is None)

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
        status = running.status if isinstance(running, Stored) else "in_progress"
        if status == "in_progress":
            if not running.record.background:
                raise wire.FailedPrecondition(f"Interaction '{id}' is not a background interaction.")
            await self._stop(id)
            await self._close_orphan(id)
        elif status != "cancelled":
            raise wire.FailedPrecondition(f"Interaction '{id}' is not running: its status is '{status}'.")
        return await self.archive.get(project, id)

    async def _close_orphan(self, id: str) -> None:
        """End what is in progress and run by nobody, since its end could not be written."""
        stored = await self.store.claim(id) if id not in self._live else None
        if stored is not None:
            run = self._adopt(stored)
            await self._close(run, "cancelled")
            run.channel.close()

    async def delete(self, project: str, id: str) -> None:
        """Stop an interaction if it runs, and delete it. Raises NotFound."""
        run = self._live.get(id)
        if run is not None and run.record.store and run.record.project == project:
            await self._stop(id)
        self._pasts.forget(id)
        if not await self.store.delete(project, id):
            raise wire.NotFound(f"Interaction '{id}' was not found.")

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

    async def aclose(self) -> None:
        """Stop. Background runs stay open in the store, and go on at the next start; that counts as no crash."""
        await asyncio.gather(*(self._give_back(run) for run in list(self._live.values())), return_exceptions=True)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=15)
