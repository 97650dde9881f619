"""What must hold of every run, whatever happened to the servers meanwhile. Pure, and its own reading of the protocol.

Every function gives its findings as sentences; none is good. Nothing here imports the server's code: a fault of that
code cannot hide itself.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DONE = b"event: done\ndata: [DONE]\n\n"
ENDS = frozenset({"completed", "failed", "cancelled", "incomplete", "requires_action"})
_EVENT_ID = re.compile(rb'"event_id":"evt_(\d+)"')
CUT = 14  # the code of the error that closes a step which a stop of the server cut short


# ---------------------------------------------------------------------------------------------------- reading


def split(body: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames of a piece of a stream, comments left out, and what is begun at its end."""
    *whole, rest = body.split(b"\n\n")
    return [frame + b"\n\n" for frame in whole if not frame.startswith(b":")], rest


def number(frame: bytes) -> int | None:
    """The number of a frame's event; None where it has none."""
    found = _EVENT_ID.search(frame)
    return int(found[1]) if found else None


def event(frame: bytes) -> dict[str, Any]:
    """What a frame says."""
    _, _, data = frame.partition(b"\ndata: ")
    value = json.loads(data)
    assert isinstance(value, dict)
    return value


@dataclass
class Step:
    """A step as its events tell it."""

    type: str
    text: str = ""
    error: int | None = None
    stopped: bool = False
    fields: dict[str, Any] = field(default_factory=dict)


def steps(frames: Iterable[bytes]) -> list[Step]:
    """The steps of a log, in order; nothing is refused here."""
    found: list[Step] = []
    for said in map(event, frames):
        kind = said["event_type"]
        if kind == "step.start":
            step = dict(said["step"])
            found.append(Step(step.pop("type"), fields=step))
        elif kind == "step.delta" and found:
            _add(found[-1], said["delta"])
        elif kind == "step.stop" and found:
            found[-1].stopped = True
            found[-1].error = (said.get("error") or {}).get("code")
    return found


def _add(step: Step, delta: Mapping[str, Any]) -> None:
    if delta["type"] == "text":
        step.text += delta["text"]
    elif delta["type"] == "thought_summary":
        step.text += delta["content"].get("text", "")
    else:
        step.fields |= {name: value for name, value in delta.items() if name != "type"}


def status(frames: Sequence[bytes]) -> str | None:
    """The status that a log ends with; None where it has not ended."""
    last = event(frames[-1]) if frames else {}
    if last.get("event_type") != "interaction.completed":
        return None
    return str(last["interaction"]["status"])


def cuts(frames: Iterable[bytes]) -> int:
    """How many steps a stop of a server cut short: each is a takeover that the log shows."""
    return sum(step.error == CUT for step in steps(frames))


# ---------------------------------------------------------------------------------------------------- one log


def numbering(frames: Sequence[bytes]) -> list[str]:
    """From 1, one by one: nothing lost, nothing doubled, nothing out of order."""
    for expected, frame in enumerate(frames, 1):
        seen = number(frame)
        if seen != expected:
            return [f"event {expected} should come, and {'one without a number' if seen is None else seen} came"]
    return []


def moves(frames: Sequence[bytes]) -> list[str]:
    """Created first, completed last, each once; steps one after the other, each begun, told and stopped once."""
    kinds = [event(frame)["event_type"] for frame in frames]
    found = [
        f"{kinds.count(kind)} times {kind}"
        for kind in ("interaction.created", "interaction.completed")
        if kinds.count(kind) != 1
    ]
    if kinds and kinds[0] != "interaction.created":
        found.append(f"it begins with {kinds[0]}")
    if kinds and kinds[-1] != "interaction.completed":
        found.append(f"it ends with {kinds[-1]}")
    return found + _step_moves(frames)


def _step_moves(frames: Sequence[bytes]) -> list[str]:
    begun, open = 0, False
    for frame in frames:
        said = event(frame)
        kind, index = said["event_type"], said.get("index")
        if kind == "step.start":
            if open or index != begun:
                return [f"event {number(frame)}: step {index} starts after {begun} steps, {'one open' * open}"]
            begun, open = begun + 1, True
        elif kind in ("step.delta", "step.stop"):
            if not open or index != begun - 1:
                return [f"event {number(frame)}: {kind} of step {index}, while {begun - 1 if open else 'none'} is open"]
            open = kind == "step.delta"
        elif kind == "interaction.completed" and open:
            return [f"event {number(frame)}: the interaction ends within step {begun - 1}"]
    return []


def ending(frames: Sequence[bytes], allowed: Iterable[str]) -> list[str]:
    """It has ended, with one of these statuses."""
    found = status(frames)
    if found is not None and found in allowed:
        return []
    errors = [said["error"] for said in map(event, frames) if said["event_type"] == "error"]
    return [f"it ended {found}, not {' or '.join(allowed)}: {errors}" if found else "it has not ended"]


# ---------------------------------------------------------------------------------------------------- two logs


def same(assembled: Sequence[bytes], stored: Sequence[bytes], where: str) -> list[str]:
    """What a client put together is, byte for byte, what a server has."""
    for place, (one, other) in enumerate(zip(assembled, stored, strict=False), 1):
        if one != other:
            return [f"event {place} is {other!r} at {where}, and was sent as {one!r}"]
    if len(assembled) != len(stored):
        return [f"{len(stored)} events at {where}, and {len(assembled)} were sent"]
    return []


def resumed(whole: Sequence[bytes], after: int, rest: Sequence[bytes], where: str) -> list[str]:
    """A stream that was resumed after an event brings all that follows it, and nothing else."""
    return [f"resumed after {after}: {finding}" for finding in same(whole[after:], rest, where)]


def shown(frames: Sequence[bytes], resource: Mapping[str, Any]) -> list[str]:
    """The resource says what the log says."""
    found = []
    if resource.get("status") != status(frames):
        found.append(f"the resource is {resource.get('status')}, its log {status(frames)}")
    told = [step.type for step in steps(frames)]
    listed = [step["type"] for step in resource.get("steps") or ()]
    asked = listed[: len(listed) - len(told)]  # what was asked stands before what was answered
    if listed != asked + told or not set(asked) <= {"user_input", "function_result"}:
        found.append(f"the resource has the steps {listed}, its log {told}")
    return found


# ---------------------------------------------------------------------------------------------------- what is said


@dataclass(frozen=True)
class Said:
    """One thing that the script says: a step's type, and its text, where that is in the script."""

    type: str
    text: str | None = None


def script(frames: Sequence[bytes], turns: Sequence[Sequence[Said]], *, whole: bool = True) -> list[str]:
    """The log is the script, turn by turn, said once: what is begun again must have been cut short by a stop.

    Between two turns stand the results of the calls of the first. Without `whole` it may break off anywhere: it was
    cancelled, or failed as the script says.
    """
    reader = _Script(turns)
    told = steps(frames)
    for place, step in enumerate(told):
        finding = reader.take(step, last=not whole and place == len(told) - 1)
        if finding:
            return [f"step {place}: {finding}"]
    return [f"the script goes on after {len(told)} steps"] if whole and not reader.ended else []


class _Script:
    """Where a log is in its script."""

    def __init__(self, turns: Sequence[Sequence[Said]]) -> None:
        self._turns = turns
        self._turn = self._said = 0
        self._calls: list[str] = []  # whose results are to come

    @property
    def ended(self) -> bool:
        return self._turn == len(self._turns) - 1 and self._said == len(self._turns[-1]) and not self._awaited

    @property
    def _awaited(self) -> bool:
        return bool(self._calls)

    def take(self, step: Step, *, last: bool) -> str:
        """What is wrong with the next step; '' for nothing."""
        if step.type.endswith("_result"):
            return self._take_result(step, last)
        if self._said == len(self._turns[self._turn]):
            if self._awaited:
                return f"{step.type}, while the result of {self._calls} is awaited"
            if self._turn == len(self._turns) - 1:
                return f"{step.type} after the end of the script"
            self._turn, self._said = self._turn + 1, 0
        expected = self._turns[self._turn][self._said]
        if step.type != expected.type:
            return f"{step.type} where {expected.type} is in the script"
        cut = step.error is not None or not step.stopped or last
        if (
            expected.text is not None
            and step.text != expected.text
            and not (cut and expected.text.startswith(step.text))
        ):
            return f"{step.text!r} is said where the script has {expected.text!r}"
        if step.error is not None:
            self._said, self._calls = 0, []  # the turn is said again from its start
            return ""
        self._said += 1
        if step.type.endswith("_call") and step.type != "function_call":
            self._calls.append(str(step.fields.get("id")))
        return ""

    def _take_result(self, step: Step, last: bool) -> str:
        call = str(step.fields.get("call_id"))
        if call not in self._calls or self._said != len(self._turns[self._turn]):
            return f"a result of call {call} that nothing awaits"
        if step.error is None and not last:
            self._calls.remove(call)
        return ""


# ---------------------------------------------------------------------------------------------------- effects


def effects(frames: Sequence[bytes], begun: Mapping[str, int], once: Iterable[str]) -> list[str]:
    """Calls of the tools in `once` had their effect at most once, and exactly once where a result says so.

    `begun` counts, by the id of the call, how often a tool began to do it.
    """
    found = []
    limited = tuple(f"{type}_call" for type in once)
    told = steps(frames)
    results = Counter(
        str(step.fields.get("call_id")) for step in told if step.type.endswith("_result") and not step.error
    )
    for step in told:
        if not step.type.endswith("_call") or step.type == "function_call" or step.error is not None:
            continue
        id = str(step.fields.get("id"))
        times = begun.get(id, 0)
        if step.type in limited and times > 1:
            found.append(f"call {id} of {step.type} had its effect {times} times")
        if results[id] > 1:
            found.append(f"call {id} has {results[id]} results")
        if results[id] and not times and not _lost(told, id):
            found.append(f"call {id} has a result and had no effect")
    return found


def _lost(told: Iterable[Step], id: str) -> bool:
    """Whether a call's result says that its outcome is not known: the server stopped around it."""
    return any("is not known" in json.dumps(step.fields) for step in told if step.fields.get("call_id") == id)


def once(made: Iterable[tuple[str, str]]) -> list[str]:
    """Each request made one interaction at most. `made` pairs the mark of a request with the id of what it made."""
    ids: dict[str, set[str]] = {}
    for mark, id in made:
        ids.setdefault(mark, set()).add(id)
    return [f"request {mark} made {sorted(several)}" for mark, several in sorted(ids.items()) if len(several) > 1]
