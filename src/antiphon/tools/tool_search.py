"""tool_search: functions that the model is only told of when it asks for them.

A request may declare hundreds of functions with `defer_loading`. The model sees their names and short descriptions, asks
for some by name, and from then on, also in later turns, has them whole. With `execution: client` the search is the
caller's: the call goes out as a step, and the caller answers with a `tool_search_result` that holds the functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.json import encode

from antiphon import wire
from antiphon.ports import Outcome, Session, Use

_LONGEST = 160  # characters of a description that the model is shown before it asks
_NAME = "tool_search"


class ToolSearch:
    """Finds functions among the request's own."""

    type = "tool_search"
    rerunnable = True

    def __init__(self, source: str = "") -> None:
        if source:
            raise ValueError("it has no settings")

    async def check(self, declared: wire.Tool, project: str, path: str) -> None:
        """Refuse what this search cannot have: its own parameters, on the server its own name."""
        assert isinstance(declared, wire.ToolSearch)
        if declared.parameters is not None:
            raise wire.InvalidRequest(f"'{path}.parameters' is not supported: a search names functions.")
        if declared.name is not None and declared.execution != "client":
            raise wire.InvalidRequest(f"'{path}.name' is for a search with execution 'client'.")

    async def open(self, use: Use) -> Session:
        """A search over the functions that the request declares with `defer_loading`."""
        assert isinstance(use.declared, wire.ToolSearch)
        return ToolSearchSession(use.declared, use.functions)

    async def aclose(self) -> None:
        """Nothing to do."""


class ToolSearchSession:
    """One function: ask for functions by their names."""

    instructions = ""

    def __init__(self, declared: wire.ToolSearch, functions: tuple[wire.Function, ...]) -> None:
        self._deferred = {function.name or "": function for function in functions if function.defer_loading}
        told = declared.description or "Get functions by their names, to call them afterwards."
        lines = [f"- {name}: {_short(function)}" for name, function in self._deferred.items()]
        names: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "minItems": 1}
        self.functions = (
            wire.Function(
                name=declared.name or _NAME,
                description="\n".join([told, "These can be had:", *lines]) if lines else told,
                parameters={
                    "type": "object",
                    "properties": {"function_names": names},
                    "required": ["function_names"],
                },
            ),
        )

    def call(self, id: str, name: str, arguments: Mapping[str, Any]) -> wire.ToolCallStep:
        """The names that the model asks for."""
        given = arguments.get("function_names", [])
        names = [str(name) for name in given] if isinstance(given, list) else [str(given)]
        return wire.ToolSearchCallStep(id=id, arguments=wire.ToolSearchArguments(function_names=names))

    def owns(self, call: wire.ToolCallStep) -> bool:
        """Every search."""
        return True

    async def run(self, call: wire.ToolCallStep) -> Outcome:
        """The functions of those names; names that there are not are told to the model."""
        assert isinstance(call, wire.ToolSearchCallStep)
        names = (call.arguments.function_names if call.arguments is not None else None) or []
        found = [self._deferred[name] for name in dict.fromkeys(names) if name in self._deferred]
        unknown = [name for name in names if name not in self._deferred]
        lines = _told(found)
        if unknown or not names:
            there = ", ".join(self._deferred)
            lines.append(f"There is no function {', '.join(unknown) or 'without a name'}. There are: {there}.")
        step = wire.ToolSearchResultStep(call_id=call.id, result=found, is_error=not found)
        return Outcome(step=step, reading="\n".join(lines), trusted=True)

    async def aclose(self) -> None:
        """Nothing to do."""


def _told(found: Sequence[wire.Function]) -> list[str]:
    if not found:
        return []
    lines = [f"You can call these now: {', '.join(function.name or '' for function in found)}."]
    return [*lines, *(encode({"name": f.name, "parameters": f.parameters or {}}).decode() for f in found)]


def _short(function: wire.Function) -> str:
    text = function.short_description or function.description or ""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
