"""What comes next: from what an interaction has generated so far, and nothing else. Pure, and tested as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from antiphon import wire

# A union's isinstance asks each of its members in turn.
# Media are made readable before the model is first asked (`processing.py`): nobody calls for that.
_CALLS = frozenset(get_args(wire.CallStep)) - {wire.ProcessingCallStep}
RESULTS = frozenset(get_args(wire.ResultStep)) - {wire.ProcessingResultStep}

Callers = tuple[type[Any], ...]


class CallModel(msgspec.Struct, frozen=True):
    """Ask the model to go on."""


class RunTools(msgspec.Struct, frozen=True):
    """Run these calls on the server."""

    calls: tuple[wire.ToolCallStep, ...]


class Done(msgspec.Struct, frozen=True):
    """End with this status; `requires_action` waits for the caller's results in a next interaction."""

    status: wire.InteractionStatus


def decide(
    steps: Sequence[wire.Step],
    *,
    cut: bool = False,
    rounds: int = 32,
    clients: Callers = (wire.FunctionCallStep,),
    draws: bool = False,
) -> CallModel | RunTools | Done:
    """What comes after `steps`, which this interaction has generated so far.

    `cut` when a token limit ended the last; `clients` are the kinds of call that the caller answers; `draws` where the
    model itself answers with pictures.
    """
    if cut:
        return Done("incomplete")
    pending, answered = _pending(steps)
    tools: tuple[Any, ...] = tuple(step for step in pending if not isinstance(step, clients))
    if tools:
        if answered + len(tools) > rounds:
            raise wire.TooManyToolCalls(f"The model called tools more than {rounds} times.")
        return RunTools(tools)
    if pending:
        return Done("requires_action")
    last = steps[-1] if steps else None
    if isinstance(last, wire.ModelOutputStep) and last.error is None and (draws or not _drawn(steps)):
        return Done("completed")
    return CallModel()


def _drawn(steps: Sequence[wire.Step]) -> bool:
    """Whether the last output is the figures that a tool drew, shown behind its result; the model has not spoken yet."""
    last, before = steps[-1], steps[-2] if len(steps) > 1 else None
    content = last.content if isinstance(last, wire.ModelOutputStep) else None
    figures = bool(content) and all(isinstance(part, wire.ImageContent) for part in content or ())
    return figures and type(before) in RESULTS


def _pending(steps: Sequence[wire.Step]) -> tuple[list[wire.CallStep], int]:
    """The calls that have no result yet, and how many have one; what was cut short counts as neither."""
    sound: list[Any] = [step for step in steps if step.error is None]
    answered = {step.call_id for step in sound if type(step) in RESULTS}
    return [step for step in sound if type(step) in _CALLS and step.id not in answered], len(answered)


def clients_of(tools: Sequence[wire.Tool]) -> Callers:
    """The kinds of call that the caller answers."""
    searches = any(isinstance(tool, wire.ToolSearch) and tool.execution == "client" for tool in tools)
    return (wire.FunctionCallStep, wire.ToolSearchCallStep) if searches else (wire.FunctionCallStep,)
