"""A request's bytes as the type they should be, or an error that names the place of the fault."""

from __future__ import annotations

import re
from typing import Any, TypeVar, get_args

import msgspec

from antiphon import wire

T = TypeVar("T")
_create = msgspec.json.Decoder(wire.CreateInteraction)
_UNKNOWN = re.compile(r"Object contains unknown field `(.+?)`(?: - at `\$\.?(.*)`)?$", re.DOTALL)
_ENUM = re.compile(r"Invalid enum value (.+?)(?: - at `\$\.?(.*)`)?$", re.DOTALL)
_TAG = re.compile(r"Invalid value (.+?) - at `\$\.?(.*?)\.?type`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.+?)`(?: - at `\$\.?(.*)`)?$")
_OTHER = re.compile(r"(.+?)(?: - at `\$\.?(.*)`)?$", re.DOTALL)


class Malformed(Exception):
    """Not JSON at all; the service answers those in google.rpc's form."""


def create_interaction(body: bytes) -> wire.CreateInteraction:
    """The body of POST /interactions. Raises Malformed, InvalidRequest."""
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


def explain(message: str) -> str:
    """msgspec's words in the API's: ``Unknown parameter 'x' at 'tools[0]'`` (documents and third parties)."""
    if found := _UNKNOWN.match(message):
        return f"Unknown parameter '{found[1]}'{_at(found[2])}.{_did_you_mean(found[1])}"
    if found := _ENUM.match(message):
        return f"Invalid enum value {found[1]}{_at(found[2])}."
    if found := _TAG.match(message):
        return f"The value {found[1]} is not supported for 'type'{_at(found[2])}.{_supported(found[2])}"
    if found := _MISSING.match(message):
        return f"Missing required parameter '{found[1]}'{_at(found[2])}."
    found = _OTHER.match(message)
    assert found is not None
    return f"{found[1]}{_at(found[2])}.".replace("`", "'")


def _at(path: str | None) -> str:
    return f" at '{path}'" if path else ""


def _did_you_mean(name: str) -> str:
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
    return f" Did you mean '{snake}'?" if snake != name else ""


def _tags(union: Any) -> list[str]:
    return [str(kind.__struct_config__.tag) for kind in get_args(union)]


def _supported(path: str) -> str:
    """The tags that could stand at a path; empty where they would not help."""
    union: Any = None
    if re.fullmatch(r"tools\[\d+\]", path):
        union = wire.Tool
    elif re.fullmatch(r"input(\[\d+\])?", path):
        union = wire.InputItem
    elif re.fullmatch(r"input(\[\d+\])?\.(content|result)\[\d+\]", path):
        union = wire.Content
    elif path == "agent_config":
        union = wire.AgentConfig
    return f" Supported values: {', '.join(repr(tag) for tag in _tags(union))}." if union is not None else ""
