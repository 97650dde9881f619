"""A server tool that answers from a script: the test double for every built-in tool.

It stands in for the tool of the type it is given (`google_search`, `code_execution` …), so that steps, streams, limits
and recovery can be tried with no network and no sandbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from antiphon import wire

_CALLS: dict[str, Any] = {
    str(kind.__struct_config__.tag).removesuffix("_call"): kind for kind in wire.ToolCallStep.__args__
}
_RESULTS: dict[str, Any] = {
    str(kind.__struct_config__.tag).removesuffix("_result"): kind for kind in wire.ToolResultStep.__args__
}
_LIST_OF_TEXT = {"type": "array", "items": {"type": "string"}}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "code_execution": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
    "url_context": {"type": "object", "properties": {"urls": _LIST_OF_TEXT}, "required": ["urls"]},
    "google_search": {"type": "object", "properties": {"queries": _LIST_OF_TEXT}, "required": ["queries"]},
    "google_maps": {"type": "object", "properties": {"queries": _LIST_OF_TEXT}, "required": ["queries"]},
}


class ToolScript(msgspec.Struct, forbid_unknown_fields=True):
    """What the tool answers, in its type's own form; `delay` is in seconds."""

    result: Any = None
    is_error: bool = False
    delay: float = 0
    rerunnable: bool = True


class ScriptedTool:
    """The tool `type`, played from a script."""

    def __init__(self, type: str, script: ToolScript | None = None) -> None:
        if type not in _CALLS:
            raise ValueError(f"no such tool type: {type}")
        self.type = type
        self._script = script or ToolScript()
        self.rerunnable = self._script.rerunnable

    def functions(self, declared: wire.Tool) -> tuple[wire.Function, ...]:
        """One function, named like the tool."""
        return (wire.Function(name=self.type, parameters=_PARAMETERS.get(self.type, {"type": "object"})),)

    def call(self, id: str, name: str, arguments: Mapping[str, Any]) -> wire.ToolCallStep:
        """The model's call as a step; arguments that do not fit the type are left out."""
        fields: dict[str, Any] = {"id": id}
        if "arguments" in _CALLS[self.type].__struct_fields__:
            fields["arguments"] = dict(arguments)
        step: wire.ToolCallStep = msgspec.convert(
            fields | {"type": f"{self.type}_call"}, _CALLS[self.type], strict=False
        )
        return step

    async def run(self, call: wire.ToolCallStep) -> wire.ToolResultStep:
        """The scripted result."""
        await asyncio.sleep(self._script.delay)
        fields: dict[str, Any] = {"call_id": call.id, "type": f"{self.type}_result"}
        if self._script.result is not None:
            fields["result"] = self._script.result
        if self._script.is_error or "is_error" in _RESULTS[self.type].__struct_fields__:
            fields["is_error"] = self._script.is_error
        step: wire.ToolResultStep = msgspec.convert(fields, _RESULTS[self.type])
        return step
