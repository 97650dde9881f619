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
from antiphon.ports import Outcome, Passage, Session, Use

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
    """What the tool answers.

    `result` is in its type's own form, `passages` are what the model reads and may cite, `figures` base64 of PNGs that
    it draws; `delay` is in seconds.
    """

    result: Any = None
    is_error: bool = False
    reading: str = ""
    passages: tuple[Passage, ...] = ()
    figures: tuple[str, ...] = ()
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

    async def check(self, declared: wire.Tool, project: str, path: str) -> None:
        """Everything is fine."""

    async def open(self, use: Use) -> Session:
        """A session that plays the script."""
        return ScriptedSession(self.type, self._script)

    async def aclose(self) -> None:
        """Nothing to do."""


class ScriptedSession:
    """One function, named like the tool; every call of it gets the scripted result."""

    instructions = ""

    def __init__(self, type: str, script: ToolScript) -> None:
        self._type = type
        self._script = script
        self.functions = (wire.Function(name=type, parameters=_PARAMETERS.get(type, {"type": "object"})),)

    def call(self, id: str, name: str, arguments: Mapping[str, Any]) -> wire.ToolCallStep:
        """The model's call as a step; arguments that do not fit the type are left out."""
        kind = _CALLS[self._type]
        try:
            given = {"arguments": dict(arguments)} if "arguments" in kind.__struct_fields__ else {}
            step: wire.ToolCallStep = msgspec.convert({"id": id, "type": f"{self._type}_call", **given}, kind)
        except msgspec.ValidationError:
            step = msgspec.convert({"id": id, "type": f"{self._type}_call"}, kind)
        return step

    def owns(self, call: wire.ToolCallStep) -> bool:
        """Every call of the type."""
        return True

    async def run(self, call: wire.ToolCallStep) -> Outcome:
        """The scripted result."""
        script = self._script
        await asyncio.sleep(script.delay)
        kind = _RESULTS[self._type]
        fields: dict[str, Any] = {"call_id": call.id, "type": f"{self._type}_result"}
        if script.result is not None:
            fields["result"] = script.result
        if script.is_error or "is_error" in kind.__struct_fields__:
            fields["is_error"] = script.is_error
        return Outcome(
            step=msgspec.convert(fields, kind),
            reading=script.reading,
            passages=script.passages,
            figures=tuple(wire.ImageContent(data=data, mime_type="image/png") for data in script.figures),
        )

    async def aclose(self) -> None:
        """Nothing to do."""
