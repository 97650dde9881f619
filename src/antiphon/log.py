"""The interaction as a list of events: which may follow which, what they add up to, and how they look as bytes.

This is the core. It does no I/O and knows no clock, no ids, no model, no store: whatever varies is passed in. A stream is
this list from the start, a resumed stream the list after N, the resource is `fold` of the list, and a crashed run is
the list, folded and gone on with. The bytes kept on disk are the very frames that clients are sent.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from antiphon import wire

# ---------------------------------------------------------------------------------------------------- legal moves

ENDED = "ended"
MOVES: dict[str, dict[type[wire.Event], str]] = {
    "new": {wire.InteractionCreated: "between"},
    "between": {  # no step is open
        wire.InteractionStatusUpdate: "between",
        wire.StepStart: "within",
        wire.ErrorEvent: "between",
        wire.InteractionCompleted: ENDED,
    },
    "within": {  # one step is open: steps do not overlap in any recording
        wire.StepDelta: "within",
        wire.StepStop: "between",
        wire.InteractionStatusUpdate: "within",
    },
    ENDED: {},
}


class IllegalMove(Exception):
    """An event that cannot stand here: a fault of this program, never of a caller."""


# ---------------------------------------------------------------------------------------------------- one step


class _Draft:
    """A step under construction. Text is kept in pieces until it ends, so that a long answer is built in linear time."""

    __slots__ = ("arguments", "content", "fields", "sound", "step", "text")

    def __init__(self, step: wire.Step) -> None:
        self.step = step
        self.sound: list[bytes] = []  # of the last content, where more of it came
        self.fields: dict[str, Any] = {}
        self.content: list[Any] = list(
            getattr(step, "content", None) or getattr(step, "summary", None) or ()  # only one step type has either
        )
        self.text: list[str] = []
        self.arguments: list[str] = []

    def end_text(self) -> None:
        if self.sound:
            whole = base64.b64encode(b"".join(self.sound)).decode()
            self.content[-1] = msgspec.structs.replace(self.content[-1], data=whole)
            self.sound = []
        if self.text:
            self.content.append(wire.TextContent(text="".join(self.text)))
            self.text = []

    def finish(self) -> wire.Step:
        self.end_text()
        fields = self.fields
        if self.content:
            fields["summary" if isinstance(self.step, wire.ThoughtStep) else "content"] = self.content
        if self.arguments:
            fields["arguments"] = read_arguments("".join(self.arguments))
        if fields.get("signature", getattr(self.step, "signature", None)) == "":
            fields["signature"] = None  # streams announce the field empty; the resource leaves it out (recorded)
        return msgspec.structs.replace(self.step, **fields) if fields else self.step


def _add_text(draft: _Draft, delta: wire.TextDelta) -> None:
    draft.text.append(delta.text)


def _annotate(draft: _Draft, delta: wire.TextAnnotationDelta) -> None:
    """Annotations come once, at the end of the text they annotate (recorded)."""
    draft.end_text()
    if not draft.content or not isinstance(draft.content[-1], wire.TextContent):
        draft.content.append(wire.TextContent(text=""))
    text = draft.content[-1]
    draft.content[-1] = wire.TextContent(
        text=text.text, annotations=[*(text.annotations or ()), *(delta.annotations or ())]
    )


def _add_medium(content: type[Any]) -> Callable[[_Draft, Any], None]:
    def add(draft: _Draft, delta: Any) -> None:
        draft.end_text()
        names = set(content.__struct_fields__) & set(delta.__struct_fields__)
        draft.content.append(content(**{name: getattr(delta, name) for name in names}))

    return add


def _add_sound(draft: _Draft, delta: wire.AudioDelta) -> None:
    """Sound that follows on sound of the same kind is more of it."""
    last = draft.content[-1] if draft.content and not draft.text else None
    if isinstance(last, wire.AudioContent) and last.data and delta.data and last.mime_type == delta.mime_type:
        with suppress(binascii.Error):  # of a log from elsewhere: then it stands by itself
            piece = base64.b64decode(delta.data)
            draft.sound = draft.sound or [base64.b64decode(last.data)]
            draft.sound.append(piece)
            return
    draft.end_text()
    draft.content.append(
        wire.AudioContent(
            data=delta.data,
            uri=delta.uri,
            mime_type=delta.mime_type,
            channels=delta.channels,
            sample_rate=delta.sample_rate or delta.rate,
        )
    )


def _add_summary(draft: _Draft, delta: wire.ThoughtSummaryDelta) -> None:
    if isinstance(delta.content, wire.TextContent):
        draft.text.append(delta.content.text)
    elif delta.content is not None:
        draft.end_text()
        draft.content.append(delta.content)


def _add_arguments(draft: _Draft, delta: wire.ArgumentsDelta) -> None:
    draft.arguments.append(delta.arguments or "")


def _set_fields(draft: _Draft, delta: Any) -> None:
    for name in delta.__struct_fields__:
        value = getattr(delta, name)
        if value is not None:
            draft.fields[name] = value


# What each delta does to its step. One that is not listed carries the whole payload: its fields are set.
DELTAS: dict[type[Any], Callable[[_Draft, Any], None]] = {
    wire.TextDelta: _add_text,
    wire.TextAnnotationDelta: _annotate,
    wire.ImageDelta: _add_medium(wire.ImageContent),
    wire.AudioDelta: _add_sound,
    wire.DocumentDelta: _add_medium(wire.DocumentContent),
    wire.VideoDelta: _add_medium(wire.VideoContent),
    wire.ThoughtSummaryDelta: _add_summary,
    wire.ArgumentsDelta: _add_arguments,
}


def read_arguments(text: str) -> dict[str, Any]:
    """The arguments of a call from their JSON text; {} while the text is not yet (or never) an object."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def assemble(step: wire.Step, deltas: Iterable[Any], error: wire.Status | None = None) -> wire.Step:
    """The step that `step`, as it was started, becomes with its deltas."""
    draft = _Draft(step)
    for delta in deltas:
        DELTAS.get(type(delta), _set_fields)(draft, delta)
    if error is not None:
        draft.fields["error"] = error
    return draft.finish()


# ---------------------------------------------------------------------------------------------------- fold


class State:
    """What a list of events adds up to. `seq` is the number of the last event, `steps` those that have stopped."""

    __slots__ = ("deltas", "errors", "interaction", "open", "position", "seq", "status", "steps", "usage")

    def __init__(self) -> None:
        self.position = "new"
        self.seq = 0
        self.status: wire.InteractionStatus = "in_progress"
        self.interaction: wire.StreamInteraction | None = None  # as the latest created or completed event shows it
        self.usage: wire.Usage | None = None  # as far as a stop has told it
        self.errors: list[wire.Error] = []
        self.steps: list[wire.Step] = []
        self.open: wire.Step | None = None
        self.deltas: list[Any] = []

    @property
    def ended(self) -> bool:
        return self.position == ENDED

    def timeline(self) -> list[wire.Step]:
        """Every step, the one still open as far as it has come."""
        if self.open is None:
            return list(self.steps)
        return [*self.steps, assemble(self.open, self.deltas)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self._key() == other._key()

    __hash__ = None  # type: ignore[assignment]  # it changes as events come

    def _key(self) -> tuple[Any, ...]:
        return self.position, self.seq, self.status, self.interaction, self.errors, self.timeline()


def advance(state: State, event: wire.InteractionEvent, seq: int) -> None:
    """Let `state` take in one more event, numbered `seq`."""
    kind = type(event)
    try:
        position = MOVES[state.position][kind]
    except KeyError:
        raise IllegalMove(f"{kind.__name__} after event {state.seq} ({state.position})") from None
    if seq <= state.seq:
        raise IllegalMove(f"event {seq} after event {state.seq}")
    if kind is wire.StepDelta:
        state.deltas.append(event.delta)  # type: ignore[union-attr]  # the commonest event, kept cheap
    else:
        _TAKE[kind](state, event)
    state.position = position
    state.seq = seq


def _take_interaction(state: State, event: wire.InteractionCreated | wire.InteractionCompleted) -> None:
    state.interaction = event.interaction
    state.status = event.interaction.status


def _take_status(state: State, event: wire.InteractionStatusUpdate) -> None:
    state.status = event.status


def _take_start(state: State, event: wire.StepStart) -> None:
    if event.index != len(state.steps):
        raise IllegalMove(f"step {event.index} starts where step {len(state.steps)} should")
    state.open, state.deltas = event.step, []


def _take_stop(state: State, event: wire.StepStop) -> None:
    assert state.open is not None
    state.steps.append(assemble(state.open, state.deltas, event.error))
    state.usage = event.usage or state.usage
    state.open, state.deltas = None, []


def _take_error(state: State, event: wire.ErrorEvent) -> None:
    if event.error is not None:  # the service also sends empty ones, which mean nothing (third parties)
        state.errors.append(event.error)


_TAKE: dict[type[Any], Callable[[State, Any], None]] = {
    wire.InteractionCreated: _take_interaction,
    wire.InteractionCompleted: _take_interaction,
    wire.InteractionStatusUpdate: _take_status,
    wire.StepStart: _take_start,
    wire.StepStop: _take_stop,
    wire.ErrorEvent: _take_error,
}


def fold(entries: Iterable[tuple[int, wire.InteractionEvent]]) -> State:
    """The state that numbered events add up to."""
    state = State()
    for seq, event in entries:
        advance(state, event, seq)
    return state


# ---------------------------------------------------------------------------------------------------- compact


def compact(
    entries: Iterable[tuple[int, wire.InteractionEvent]],
) -> Iterator[tuple[int, wire.InteractionEvent]]:
    """The same list with neighbouring deltas of one kind merged under the last one's number.

    The law: `fold(compact(log)) == fold(log)`. Only for a list that nobody can be in the middle of.
    """
    run: list[wire.StepDelta] = []
    last = 0
    for seq, event in entries:
        if isinstance(event, wire.StepDelta) and _mergeable(event.delta):
            if run and type(run[0].delta) is not type(event.delta):
                yield last, _merge(run)
                run = []
            run.append(event)
        else:
            if run:
                yield last, _merge(run)
                run = []
            yield seq, event
        last = seq
    if run:
        yield last, _merge(run)


def _mergeable(delta: Any) -> bool:
    if isinstance(delta, wire.ThoughtSummaryDelta):
        return isinstance(delta.content, wire.TextContent) and delta.content.annotations is None
    return isinstance(delta, wire.TextDelta | wire.ArgumentsDelta)


def _merge(run: list[wire.StepDelta]) -> wire.StepDelta:
    if len(run) == 1:
        return run[0]
    deltas: list[Any] = [event.delta for event in run]
    first = deltas[0]
    merged: Any
    if isinstance(first, wire.TextDelta):
        merged = wire.TextDelta(text="".join(delta.text for delta in deltas))
    elif isinstance(first, wire.ArgumentsDelta):
        merged = wire.ArgumentsDelta(arguments="".join(delta.arguments or "" for delta in deltas))
    else:
        text = "".join(delta.content.text for delta in deltas)
        merged = wire.ThoughtSummaryDelta(content=wire.TextContent(text=text))
    return wire.StepDelta(index=run[0].index, delta=merged)


# ---------------------------------------------------------------------------------------------------- bytes

DONE = b"event: done\ndata: [DONE]\n\n"
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(wire.InteractionEvent)
_EVENT_ID = re.compile(rb'"event_id":"evt_(\d+)"')


def _opening(tag: str) -> tuple[int, bytes]:
    """How many bytes msgspec writes up to the kind, and what stands there instead: both spellings of it."""
    older = "interaction.complete" if tag == "interaction.completed" else tag
    written = f'{{"event_type":"{tag}"'
    return len(written), f'event: {tag}\ndata: {{"event_type":"{tag}","type":"{older}"'.encode()


_OPENING: dict[type[Any], tuple[int, bytes]] = {kind: _opening(str(kind.__struct_config__.tag)) for kind in _TAKE}
_OPENING[wire.StepDelta] = _opening("step.delta")


def encode(event: wire.InteractionEvent, seq: int | None) -> bytes:
    """The frame of one event: an `event:` line, a `data:` line, an empty line. Without `seq` it has no `event_id`."""
    length, opening = _OPENING[type(event)]
    body = _encoder.encode(event)
    if seq is None:
        return b"%b%b\n\n" % (opening, body[length:])
    return b'%b,"event_id":"evt_%d"%b\n\n' % (opening, seq, body[length:])


def split(frames: bytes) -> list[bytes]:
    """Many frames as they lie one behind the other, each by itself."""
    return [frame + b"\n\n" for frame in frames.split(b"\n\n") if frame]


def number(frame: bytes) -> int:
    """The number of a frame's event."""
    found = _EVENT_ID.search(frame)
    if found is None:
        raise ValueError("a frame without an event_id")
    return int(found[1])


def behind(frames: bytes, after: int) -> bytes:
    """Those of some frames whose numbers are above `after`."""
    if not frames or number(frames) > after:  # the first of them is
        return frames
    return b"".join(frame for frame in split(frames) if number(frame) > after)


def decode(frames: bytes) -> Iterator[tuple[int, wire.InteractionEvent]]:
    """The numbered events of frames that `encode` made."""
    for frame in split(frames):
        event = _decoder.decode(frame[frame.index(b"\ndata: ") + 7 :])
        event.event_id = None  # the number says it; written again, it would stand there twice
        yield number(frame), event


def last(frames: bytes) -> wire.InteractionEvent | None:
    """The last event of some frames."""
    found = list(decode(_last_frame(frames)))
    return found[-1][1] if found else None


def ends(frames: bytes) -> bool:
    """Whether the last of some frames is the end of its log."""
    return _last_frame(frames).startswith(b"event: interaction.completed\n")


def reach(frames: bytes) -> int:
    """The number of the last event of some frames; 0 where there is none."""
    return number(_last_frame(frames)) if frames else 0


def _last_frame(frames: bytes) -> bytes:
    start = frames.rfind(b"\n\n", 0, -2)
    return frames[start + 2 if start >= 0 else 0 :]


def position(event_id: str) -> int:
    """The number in an `event_id` that a client sends back; ValueError if this server never made it."""
    prefix, _, digits = event_id.partition("_")
    if prefix != "evt" or len(digits) > 18 or not re.fullmatch(r"[1-9][0-9]*", digits):
        raise ValueError(event_id)
    return int(digits)
