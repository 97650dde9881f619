"""One interaction under way: its log is appended to here and nowhere else.

`Run` knows when an event may be shown: one of a durable run (a background one, say) when it is on disk (written
together every 30 ms and at each step's end), one of a foreground run at once, save the last, which waits until the whole
is on disk. A step's stop is written together with what follows it, so that a log which breaks off shows where. `Writer`
turns what a model says into steps. What to do next is not decided here (`decide.py`).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec

from antiphon import ids, log, resource, signature, wire
from antiphon.decide import RESULTS
from antiphon.ports import Call, Channel, Made, Noted, Record, Segment, Store, Text, Thought, Tokens, ToolChoice, Turn
from antiphon.readings import Readings
from antiphon.toolbox import Toolbox
from antiphon.toolsteps import payload

T = TypeVar("T")

FLUSH_SECONDS = 0.03
LONGEST_PAUSE = 2.0  # seconds between two tries to write
_READINGS = 4  # how many whole results a model is given to read at one time
PATIENCE = 120.0  # seconds after which a store that is away counts as gone for good


class Limits(msgspec.Struct, frozen=True):
    """What ends a run that would not end by itself.

    In seconds: `silence` is how long a model may say nothing, `tool` how long one call of a tool may take, `time` how
    long a run with tools may take in all. `room` is how many characters one tool's result may give a model to read,
    where the model has no limit of its own.
    """

    silence: float = 600.0
    tool: float = 120.0
    time: float = 3600.0
    room: int = 24_000
    rounds: int = 32
    attempts: int = 5
    retention: float = 55 * 86400.0


class Run:
    """One interaction under way: the only writer of its log."""

    def __init__(self, record: Record, turn: Turn, channel: Channel, *, durable: bool = False) -> None:
        self.record = record
        self.durable = durable  # each event is on disk before it is seen, and the run outlives its server
        self.turn = turn  # what the model is asked, this interaction's own steps aside
        self.channel = channel
        self.state = log.State()
        self.tools: Toolbox | None = None
        self.readings = Readings(b"")
        self.attempt = 1
        self.usage = Tokens()
        self.error: wire.ApiError | None = None
        self.cancelled = False
        self.updated = record.created
        self.task: asyncio.Task[None] | None = None
        self.silence: Callable[[], None] = lambda: None  # ends the answering for it on the bus
        self._held: list[bytes] = []
        self._waiting: list[bytes] = []
        self._shown: list[bytes] = []  # of a stored foreground run, to be written when it ends
        self._written = 0  # the number of the last event that followers have been told
        self._timer: asyncio.TimerHandle | None = None
        self._unseen: asyncio.Task[None] | None = None
        self._fault: Exception | None = None  # what keeps this run from writing anything more
        self._lock = asyncio.Lock()

    def take_over(self, state: log.State, attempt: int) -> None:
        """Go on from where an earlier attempt came to."""
        self.state = state
        self.attempt = attempt
        self.usage = resource.tokens(state.usage, agent=self.record.request.agent is not None)
        self._written = state.seq

    def question(self, room: int) -> Turn:
        """The turn as it stands now: with what was said since, and what the tools offer and gave.

        `room` is how many characters one tool's result may give the model to read.
        """
        turn = self.turn
        said = [step for step in self.state.steps if step.error is None]
        changed: dict[str, Any] = {"steps": [*turn.steps, *said]} if said else {}
        if self.readings.texts:
            kept = self.readings.within(_READINGS * room)
            changed |= {"calls": self.readings.calls, "readings": kept, "media": self.readings.shown(kept)}
        if self.readings.digests:
            changed["digests"] = self.readings.digests
        if self.tools is not None:
            changed["functions"] = self.tools.offered(turn.functions, [*turn.steps, *said])
            if turn.tool_choice.mode == "any" and any(type(step) in RESULTS for step in said):
                changed["tool_choice"] = ToolChoice("auto", turn.tool_choice.names)  # it has called what it had to
        return msgspec.structs.replace(turn, **changed) if changed else turn

    @property
    def kept(self) -> bool:
        """Whether it has ended, and all of it is written."""
        return self.state.ended and not self._waiting and self._fault is None

    async def open(self, store: Store) -> None:
        """The events that every log begins with."""
        record = self.record
        await self.append(store, wire.InteractionCreated(interaction=resource.created(record)), hold=True)
        id = record.id if record.store else ""
        await self.append(store, wire.InteractionStatusUpdate(interaction_id=id, status="in_progress"))

    async def append(self, store: Store, event: wire.InteractionEvent, *, hold: bool = False) -> None:
        """Add one event. With `hold` it is not shown or written before the next one is."""
        seq = self.state.seq + 1
        log.advance(self.state, event, seq)
        self._held.append(log.encode(event, seq if self.record.store else None))
        if hold:
            return
        self._waiting += self._held
        self._held = []
        if not self.durable:
            # The end is shown by `finish`, once it is written; of an answer that nobody follows, so is all the rest.
            if self.turn.followed and not self.state.ended:
                segment = self._segment()
                self._advance(segment)
                self._shown.append(segment.frames)
                self.channel.publish(segment)
        elif isinstance(event, wire.StepDelta):
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush_soon, store)
        else:
            await self.flush(store)

    def _flush_soon(self, store: Store) -> None:
        self._timer = None
        self._unseen = asyncio.create_task(self._write(store))

    async def flush(self, store: Store) -> None:
        """Write what waits, then show it. Raises Fenced where another attempt has taken over, Unavailable in the end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.durable:
            return
        # Shielded: a run that is cancelled meanwhile must still show what is being written.
        await asyncio.shield(asyncio.create_task(self._write(store)))

    async def _write(self, store: Store) -> None:
        """Write what waits."""
        async with self._lock:
            while self._waiting and self._fault is None:
                segment = self._segment()
                status = self.state.status if self.state.ended else "in_progress"
                try:
                    await patiently(partial(store.append, self.record.id, self.attempt, status, segment))
                except Exception as fault:  # noqa: BLE001 - kept for whoever writes next: nobody may be waiting for this
                    self._fault = fault
                else:
                    self._advance(segment)
                    self.channel.publish(segment)
        if self._fault is not None:
            raise self._fault

    async def finish(self, store: Store) -> None:
        """Write and show the end."""
        if self.durable:
            await self.flush(store)
        else:
            segment = self._segment()
            if self.record.store:
                whole = Segment(1, self.state.seq, b"".join([*self._shown, segment.frames]))
                await patiently(partial(store.create, self.record, self.state.status, whole))
            self._advance(segment)
            self.channel.publish(segment)
        self.channel.close(ended=True)

    def give_up(self) -> None:
        """The end cannot be kept. Who follows a foreground run is told so; a background run can be gone on with later."""
        if self._unseen is not None and self._unseen.done() and not self._unseen.cancelled():
            self._unseen.exception()  # looked at, so that nobody is told that it was not
        if not self.durable and self.error is not None:
            shown = wire.Error(code=self.error.code, message=self.error.message)
            last = self.state.seq + 1
            self.channel.publish(Segment(last, last, log.encode(wire.ErrorEvent(error=shown), None)))
            self.channel.close(ended=True)

    def _segment(self) -> Segment:
        return Segment(self._written + 1, self._written + len(self._waiting), b"".join(self._waiting))

    def _advance(self, segment: Segment) -> None:
        del self._waiting[: segment.last - self._written]
        self._written = segment.last


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Read or write; a store that is away is waited for, since nothing must be lost. Raises Unavailable in the end."""
    pause, waited = 0.05, 0.0
    while True:
        try:
            return await work()
        except wire.Unavailable:
            if waited > PATIENCE:
                raise
        await asyncio.sleep(pause)
        waited += pause
        pause = min(2 * pause, LONGEST_PAUSE)


class Silence:
    """Raises TimeoutError in its block after `seconds` in which nobody called `broken`.

    asyncio's own timeout can be put off as well, at the price of a new timer each time: too much for every token.
    """

    __slots__ = ("_fired", "_last", "_loop", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._fired = False

    def broken(self) -> None:
        """Something was heard."""
        self._last = self._loop.time()

    def _look(self) -> None:
        left = self._last + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._fired = True
            self._task.cancel()

    def __enter__(self) -> Silence:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._loop = task, asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer = self._loop.call_later(self._seconds, self._look)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        self._timer.cancel()
        # Cancelled from elsewhere at the same time, it stays cancelled.
        if self._fired and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError


Cite = Callable[[str], Sequence[wire.Annotation]]
Kept = Callable[[bytes, str], Awaitable[str]]
Said = Text | Made | Noted | Thought | Call


class Writer:
    """Turns what a model says into steps: the one place where a back-end's deltas become events.

    `cite` gives the annotations of a finished text; None where there is nothing that it could cite. `keep` takes what was
    made and is to be fetched, and gives its address.
    """

    def __init__(
        self, run: Run, store: Store, key: bytes, *, summaries: bool, cite: Cite | None = None, keep: Kept | None = None
    ) -> None:
        self._run = run
        self._store = store
        self._key = key
        self._summaries = summaries
        self._cite = cite
        self._keep = keep
        self._notes: list[wire.Annotation] = []  # of the text that is open: they come once, at its end (recorded)
        self._sound: list[wire.AudioContent] = []  # that is to be fetched when it is whole
        self._open: Literal["thought", "text", "call", "tool"] | None = None
        self._call = -1  # the model's own number of the call that is open
        self._name = ""
        self._called = False  # whether a tool of the server has been called
        self._pieces: list[str] = []  # a thought's text, a call's arguments, or what may be cited

    async def take(self, delta: Said) -> None:
        """Write one delta, opening and closing steps as it needs."""
        if isinstance(delta, Text):
            await self._end_sound()
            if self._open != "text":
                await self._start("text", wire.ModelOutputStep())
            if self._cite is not None:
                self._pieces.append(delta.text)
            await self._delta(wire.TextDelta(text=delta.text))
        elif isinstance(delta, Thought):
            if self._open != "thought":
                await self._start("thought", wire.ThoughtStep())
            self._pieces.append(delta.text)
            if self._summaries:
                await self._delta(wire.ThoughtSummaryDelta(content=wire.TextContent(text=delta.text)))
        elif isinstance(delta, Noted):
            self._notes += delta.annotations
        elif isinstance(delta, Made):
            await self._show(delta.content)
        else:
            await self._take_call(delta)

    async def _show(self, made: wire.ImageContent | wire.AudioContent) -> None:
        """A picture or a piece of sound, or where it can be fetched; it stands beside the text in one step."""
        if self._open != "text":
            await self._start("text", wire.ModelOutputStep())
        await self._annotate()
        if isinstance(made, wire.AudioContent) and self._to_fetch(made):
            self._sound.append(made)
            return
        await self._end_sound()
        if isinstance(made, wire.AudioContent):
            await self._delta(
                wire.AudioDelta(
                    data=made.data, mime_type=made.mime_type, channels=made.channels, sample_rate=made.sample_rate
                )
            )
        elif self._keep is not None and self._to_fetch(made):
            uri = await self._keep(base64.b64decode(made.data or ""), made.mime_type or "image/png")
            await self._delta(wire.ImageDelta(uri=uri, mime_type=made.mime_type))
        else:
            await self._delta(wire.ImageDelta(data=made.data, mime_type=made.mime_type))

    def _to_fetch(self, made: wire.ImageContent | wire.AudioContent) -> bool:
        turn = self._run.turn
        format = turn.audio if isinstance(made, wire.AudioContent) else turn.image
        return self._keep is not None and format is not None and format.delivery == "uri"

    async def _end_sound(self) -> None:
        """Sound that is to be fetched is whole: where it can be."""
        if not self._sound or self._keep is None:
            return
        pieces, self._sound = self._sound, []
        first = pieces[0]
        whole = b"".join(base64.b64decode(piece.data or "") for piece in pieces)
        uri = await self._keep(whole, first.mime_type or "audio/wav")
        await self._delta(
            wire.AudioDelta(uri=uri, mime_type=first.mime_type, channels=first.channels, sample_rate=first.sample_rate)
        )

    async def _annotate(self) -> None:
        """What there is to say of the text so far."""
        if self._cite is not None and self._pieces:
            pieces, self._pieces = self._pieces, []
            self._notes += await asyncio.to_thread(self._cite, "".join(pieces))
        if self._notes:
            notes, self._notes = self._notes, []
            await self._delta(wire.TextAnnotationDelta(annotations=notes))

    async def _take_call(self, delta: Call) -> None:
        if self._open not in ("call", "tool") or delta.index != self._call:
            await self._stop()  # what is open is still to be closed under its own name
            self._call, self._name = delta.index, delta.name
            id = ids.call_id()
            tools = self._run.tools
            if tools is not None and delta.name in tools:
                self._called = True
                await self._start("tool", tools.started(id, delta.name))
            else:
                step = wire.FunctionCallStep(id=id, name=delta.name, arguments={}, signature="")
                await self._start("call", step)
        self._pieces.append(delta.arguments)
        if self._open == "call" and delta.arguments:
            await self._delta(wire.ArgumentsDelta(arguments=delta.arguments))

    async def end(self, used: Tokens) -> None:
        """Close what is open. An answer without a word still has its step, so that every timeline ends in one.

        Where tools follow, the stop tells what has been `used` so far: a run that is cut short there must not forget it.
        """
        if self._open in (None, "thought"):
            await self._start("text", wire.ModelOutputStep())
            await self._delta(wire.TextDelta(text=""))
        await self._stop(resource.usage(used, self._run.state.steps) if self._called else None)

    async def _start(self, kind: Literal["thought", "text", "call", "tool"], step: wire.Step) -> None:
        await self._stop()
        self._open, self._pieces = kind, []
        await self._run.append(self._store, wire.StepStart(index=len(self._run.state.steps), step=step))

    async def _stop(self, used: wire.Usage | None = None) -> None:
        if self._open == "thought":
            await self._delta(wire.ThoughtSignatureDelta(signature=signature.seal(self._key, "".join(self._pieces))))
        elif self._open == "text":
            await self._annotate()
            await self._end_sound()
        elif self._open in ("call", "tool"):
            arguments = _arguments(self._name, "".join(self._pieces))
            if self._open == "tool" and self._run.tools is not None:
                started: Any = self._run.state.open
                await self._delta(payload(self._run.tools.call(started.id, self._name, arguments)))
        if self._open is not None:
            self._open = None
            stop = wire.StepStop(index=len(self._run.state.steps), usage=used)
            await self._run.append(self._store, stop, hold=True)
            self._run.readings.add(self._run.state.steps[-1])

    async def _delta(self, delta: Any) -> None:
        await self._run.append(self._store, wire.StepDelta(index=len(self._run.state.steps), delta=delta))


def _arguments(name: str, text: str) -> dict[str, Any]:
    """A call's arguments. Raises MalformedFunctionCall where the model wrote no JSON object."""
    try:
        value = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        value = None
    if not isinstance(value, dict):
        raise wire.MalformedFunctionCall(f"The model called '{name}' with arguments that are no JSON object: {text!r}")
    return value
