"""A request's bytes as the type they should be, or an error that names the place of the fault."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from antiphon import wire
from antiphon.faults import explain

T = TypeVar("T")
_create = msgspec.json.Decoder(wire.CreateInteraction)
_DEEPEST = 128
# Possessive: a byte is never looked at twice, whatever a hostile body has; a string that does not end is one all the same.
_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


class Malformed(Exception):
    """Not JSON at all; the service answers those in google.rpc's form."""


def check_depth(body: bytes) -> None:
    """Refuse JSON that is nested deeper than anything sensible: what is kept must be readable from any depth of calls.

    Raises Malformed.
    """
    if body.count(b"[") + body.count(b"{") <= _DEEPEST:
        return
    depth = 0
    for found in _BRACKETS.finditer(body):
        kind = found[0][0]
        if kind in b"[{":
            depth += 1
            if depth > _DEEPEST:
                raise Malformed(f"It is nested more than {_DEEPEST} deep.")
        elif kind in b"]}":
            depth -= 1


def decode(body: bytes, kind: type[T]) -> T:
    """JSON as a type, spelled as the type has it. Raises Malformed, InvalidRequest."""
    check_depth(body)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise wire.InvalidRequest(explain(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from None


def create_interaction(body: bytes) -> wire.CreateInteraction:
    """The body of POST /interactions. Raises Malformed, InvalidRequest."""
    check_depth(body)
    try:
        return _create.decode(body)
    except msgspec.ValidationError as error:
        if b'"role"' in body:
            turned = _from_role_turns(body)
            if turned is not None:
                return create_interaction(turned)
        raise wire.InvalidRequest(explain(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from None


def _from_role_turns(body: bytes) -> bytes | None:
    """Turns as google-genai 2.0.0 sends them, `{"role": "user", "content": …}`, become the steps that took their place."""
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the first fault found was not the only one
    given = request.get("input") if isinstance(request, dict) else None
    turns: list[Any] = given if isinstance(given, list) else [given]
    if not turns or not all(isinstance(turn, dict) and set(turn) == {"role", "content"} for turn in turns):
        return None
    request["input"] = [_step(turn) for turn in turns]
    return msgspec.json.encode(request)


def _step(turn: dict[str, Any]) -> dict[str, Any]:
    if turn["role"] not in ("user", "model"):
        raise wire.InvalidRequest(f"The role {turn['role']!r} is not supported at 'input'. Supported: 'user', 'model'.")
    content = turn["content"]
    contents = [{"type": "text", "text": content}] if isinstance(content, str) else content
    contents = [contents] if isinstance(contents, dict) else contents
    return {"type": "user_input" if turn["role"] == "user" else "model_output", "content": contents}
