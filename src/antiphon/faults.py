"""What a decoder finds wrong, in the API's words: ``Unknown parameter 'x' at 'tools[0]'`` (documents and third parties)."""

from __future__ import annotations

import re
from typing import Any, get_args

from antiphon import wire

_UNKNOWN = re.compile(r"Object contains unknown field `(.+?)`(?: - at `\$\.?(.*)`)?$", re.DOTALL)
_ENUM = re.compile(r"Invalid enum value (.+?)(?: - at `\$\.?(.*)`)?$", re.DOTALL)
_TAG = re.compile(r"Invalid value (.+?) - at `\$\.?(.*?)\.?type`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.+?)`(?: - at `\$\.?(.*)`)?$")
_OTHER = re.compile(r"(.+?)(?: - at `\$\.?(.*)`)?$", re.DOTALL)


def explain(message: str, within: str = "") -> str:
    """msgspec's message about a value that stands at `within` in the request."""
    if within:
        head, separator, path = message.partition(" - at `$")
        message = f"{head} - at `$.{within}{path}" if separator else f"{head} - at `$.{within}`"
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
