"""A model that says what a script tells it to: the test double for programs written against this API.

Deterministic and instant unless told otherwise. A script is a list of turns, each with the condition under which it is
spoken (docs/scripted.md shows the file); the first that fits answers. Without one that fits, it repeats what it was
told, calls the function it must call, or makes up the smallest JSON that fits the schema. Faults come on demand.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Literal

import msgspec

from antiphon import wire
from antiphon.judging import Weighed
from antiphon.ports import Call, Delta, Finish, Text, Thought, Tokens, Turn, media_key

_PIECE = re.compile(r"\S+\s*|\s+")


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """What goes wrong after `after` pieces: an error with `code`, silence for ever, a call that is no JSON, an end
    without a finish, or the death of the whole server process (for tests of recovery)."""

    kind: Literal["error", "stall", "malformed_call", "break", "kill"]
    after: int = 0
    code: str = "service_unavailable"
    message: str = "The scripted model was told to fail."


class ScriptedCall(msgspec.Struct, forbid_unknown_fields=True):
    """A call of a function, or of a server tool by its type's name."""

    name: str
    arguments: dict[str, Any] = {}


class ScriptedTurn(msgspec.Struct, forbid_unknown_fields=True):
    """One answer. All conditions that are given must hold.

    `when` is searched in the user's last words, `after` names the call whose result came last, `turn` is the number of the
    user's turn, counted from 1. `recall` is searched in all the user said; its groups fill `{0}`, `{1}` … of `text`.
    """

    when: str | None = None
    after: str | None = None
    turn: int | None = None
    recall: str | None = None
    thought: str = ""
    text: str = ""
    calls: list[ScriptedCall] = []
    length: bool = False
    fault: Fault | None = None


class Script(msgspec.Struct, forbid_unknown_fields=True):
    """A whole script. `delay` is seconds before the first piece, `tokens_per_second` 0 for no waiting at all.

    `modalities` is what it reads: without one of them it is a model that cannot, and the server makes it text.
    """

    turns: list[ScriptedTurn] = []
    modalities: frozenset[str] = frozenset({"text", "image", "audio", "video", "document"})
    tokens_per_second: float = 0
    delay: float = 0


class Scripted:
    """The back-end `scripted`. What it reads beside text it knows by its name only."""

    def __init__(self, script: Script | None = None) -> None:
        self._script = script or Script()
        self.modalities = self._script.modalities
        self._seen: dict[str, int] = {}  # tokens of each conversation so far: what a real model would have cached

    async def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        """Yield the answer. Raises ApiError where the script says so."""
        spoken = self._choose(turn)
        read = sum(len(_PIECE.findall(text)) for text in _texts(turn))
        tokens = Tokens(input=read, cached=min(self._seen.get(turn.conversation, 0), read))
        if self._script.delay:
            await asyncio.sleep(self._script.delay)
        for said, delta in enumerate(self._speak(turn, spoken)):
            _go_wrong(spoken.fault, said)
            if self._script.tokens_per_second:
                await asyncio.sleep(1 / self._script.tokens_per_second)
            if spoken.fault is not None and spoken.fault.kind == "stall" and said == spoken.fault.after:
                await asyncio.Event().wait()
            if isinstance(delta, Finish):
                tokens = msgspec.structs.replace(delta.tokens, input=tokens.input, cached=tokens.cached)
                self._seen[turn.conversation] = read + tokens.output
                delta = Finish(delta.reason, tokens)
            yield delta

    async def weigh(self, turn: Turn, options: Sequence[str]) -> Weighed:
        """An option that the answer begins with gets 0.9, the others share the rest; without one all are alike."""
        said = self._choose(turn).text.split()
        first = said[0].strip(".,:!").lower() if said else ""
        chosen = [option.lower() == first for option in options]
        likely = (
            [0.9 if one else 0.1 / max(1, len(options) - 1) for one in chosen] if any(chosen) else [1.0] * len(chosen)
        )
        read = sum(len(_PIECE.findall(text)) for text in _texts(turn))
        cached = min(self._seen.get(turn.conversation, 0), read)
        self._seen[turn.conversation] = read
        return Weighed(tuple(math.log(one / sum(likely)) for one in likely), Tokens(read, 1, 0, cached))

    async def aclose(self) -> None:
        """Nothing is held."""

    # ------------------------------------------------------------------ what is said

    def _choose(self, turn: Turn) -> ScriptedTurn:
        inputs = [step for step in turn.steps if isinstance(step, wire.UserInputStep)]
        users = [text for step in inputs for text in _contents(step.content, turn)]
        result = _last_result(turn.steps)
        for candidate in self._script.turns:
            recalled = _fits(candidate, users, result)
            if recalled is not None:
                text = candidate.text.format(*recalled) if candidate.recall is not None else candidate.text
                return msgspec.structs.replace(candidate, text=text)
        return _improvised(turn, users[-1] if users else "", result)

    def _speak(self, turn: Turn, spoken: ScriptedTurn) -> Iterator[Delta]:
        thoughts = _PIECE.findall(spoken.thought) if turn.thinking_level != "minimal" else []
        yield from map(Thought, thoughts)
        text, stopped = _until_stop(spoken.text, turn.stop_sequences)
        pieces = _PIECE.findall(text)
        room = turn.max_output_tokens if turn.max_output_tokens is not None else len(pieces)
        yield from map(Text, pieces[:room])
        said = min(room, len(pieces))
        cut = spoken.length or len(pieces) > room
        if not cut and not stopped:
            malformed = spoken.fault is not None and spoken.fault.kind == "malformed_call"
            for index, call in enumerate(spoken.calls):
                arguments = msgspec.json.encode(call.arguments).decode()
                yield Call(index, call.name, "")
                for piece in _PIECE.findall(arguments.replace(",", ", ")):
                    yield Call(index, "", piece[:-1] if malformed else piece)
                    said += 1
        yield Finish("length" if cut else "stop", Tokens(output=said, thought=len(thoughts)))


def _fits(candidate: ScriptedTurn, users: Sequence[str], result: str | None) -> tuple[str, ...] | None:
    """What a turn recalls of what the user said, if it is to be spoken now; () where it recalls nothing, else None."""
    if candidate.after != result or candidate.turn not in (None, len(users)):
        return None
    if candidate.when is not None and not re.search(candidate.when, users[-1] if users else ""):
        return None
    if candidate.recall is None:
        return ()
    found = re.search(candidate.recall, "\n".join(users))
    return found.groups() if found is not None else None


def _go_wrong(fault: Fault | None, said: int) -> None:
    if fault is None or said != fault.after:
        return
    if fault.kind == "error":
        raise _error(fault)
    if fault.kind == "break":
        raise wire.Internal("The model's answer broke off.")
    if fault.kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def _error(fault: Fault) -> wire.ApiError:
    kinds = {
        kind.code: kind for kind in (wire.Unavailable, wire.RateLimited, wire.DeadlineExceeded, wire.InvalidRequest)
    }
    return kinds.get(fault.code, wire.Internal)(fault.message, code=fault.code)


def _improvised(turn: Turn, last: str, result: str | None) -> ScriptedTurn:
    if result is None and turn.tool_choice.mode == "any" and turn.functions:
        allowed = [f for f in turn.functions if turn.tool_choice.names is None or f.name in turn.tool_choice.names]
        function = allowed[0]
        return ScriptedTurn(calls=[ScriptedCall(function.name or "", _smallest(function.parameters or {}) or {})])
    if turn.schema is not None or turn.json_object:
        return ScriptedTurn(text=msgspec.json.encode(_smallest(turn.schema or {"type": "object"})).decode())
    if result is not None:
        return ScriptedTurn(text=f"The result of {result} is in.")
    return ScriptedTurn(text=f"You said: {last}")


def _smallest(schema: Any) -> Any:
    """The smallest value that fits a schema of the documented subset."""
    if isinstance(schema, bool):
        return ""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _smallest(schema["anyOf"][0])
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        wanted = schema.get("required") or list(schema.get("properties", {}))
        return {name: _smallest(schema.get("properties", {}).get(name, {})) for name in wanted}
    if kind == "array":
        return [_smallest(schema.get("items", {})) for _ in range(schema.get("minItems", 0))]
    number = schema.get("minimum", 0)
    return {"string": "", "integer": number, "number": number, "boolean": False, "null": None}.get(kind.lower(), "")


def _until_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    places = [text.index(stop) for stop in stops if stop in text]
    return (text[: min(places)], True) if places else (text, False)


def _contents(content: Any, turn: Turn) -> list[str]:
    if isinstance(content, str):
        return [content]
    shown = [one for item in content or () for one in turn.digests.get(_key(item, turn), (item,))]
    return [item.text for item in shown if isinstance(item, wire.TextContent)]


def _key(item: Any, turn: Turn) -> str:
    return "" if isinstance(item, wire.TextContent) or not turn.digests else media_key(item)


def _texts(turn: Turn) -> Iterator[str]:
    """All a model would read, as far as it is text."""
    yield turn.system_instruction or ""
    for step in turn.steps:
        if isinstance(step, wire.UserInputStep | wire.ModelOutputStep):
            yield from _contents(step.content, turn)
        else:
            yield msgspec.json.encode(step).decode()


def _last_result(steps: Sequence[wire.Step]) -> str | None:
    """The name of the call whose result came last, if nothing came after it but what a tool drew."""
    made_readable = wire.ProcessingCallStep | wire.ProcessingResultStep
    words = [step for step in steps if not _is_figure(step) and not isinstance(step, made_readable)]
    last: Any = words[-1] if words else None
    if not isinstance(last, wire.ResultStep):
        return None
    tag = str(last.__struct_config__.tag)
    return (
        last.name
        if isinstance(last, wire.FunctionResultStep) and last.name
        else (
            _called(steps, last.call_id) if isinstance(last, wire.FunctionResultStep) else tag.removesuffix("_result")
        )
    )


def _is_figure(step: wire.Step) -> bool:
    content = step.content if isinstance(step, wire.ModelOutputStep) else None
    return bool(content) and all(isinstance(part, wire.ImageContent) for part in content or ())


def _called(steps: Sequence[wire.Step], call_id: str) -> str:
    names = [step.name for step in steps if isinstance(step, wire.FunctionCallStep) and step.id == call_id]
    return names[-1] if names else call_id
