"""The steps of a tool's call and its result, in the pieces that a stream shows them in. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon import wire

_DELTA_OF: dict[Any, type[Any]] = {
    kind.__struct_config__.tag: kind for kind in wire.SignedDelta.__subclasses__() if kind.__struct_config__.tag
}
_RESULT_OF: dict[str, type[Any]] = {
    str(kind.__struct_config__.tag).removesuffix("_result"): kind for kind in wire.ToolResultStep.__args__
}


def bare(step: Any) -> Any:
    """A step as streams start it: only its ids, and the signature's place (recorded)."""
    ids = {name: getattr(step, name) for name in ("id", "call_id") if hasattr(step, name)}
    return type(step)(**ids, signature="")


def payload(step: Any) -> Any:
    """The typed delta that carries everything else of a step."""
    kind = _DELTA_OF[step.__struct_config__.tag]
    names = [name for name in kind.__struct_fields__ if name != "call_id"]
    return kind(**{name: value for name in names if (value := getattr(step, name, None)) is not None})


def result_of(call: wire.ToolCallStep, **fields: Any) -> Any:
    """The result step of a call; without `fields` as streams start it."""
    kind = _RESULT_OF[str(call.__struct_config__.tag).removesuffix("_call")]
    return kind(call_id=call.id, **(fields or {"signature": ""}))


def tool_type(step: wire.ToolCallStep | wire.ToolResultStep) -> str:
    """The type of the tool that a call or a result belongs to: `mcp_server` alone is not called as its steps are."""
    type = str(step.__struct_config__.tag).removesuffix("_call").removesuffix("_result")
    return "mcp_server" if type == "mcp_server_tool" else type


def lost(result: Any, why: str) -> Any:
    """A result that will never come, with the reason where the type has room for words."""
    words = isinstance(result, wire.CodeExecutionResultStep | wire.McpServerToolResultStep)
    said = {"result": why} if words else {}
    return type(result)(call_id=result.call_id, is_error=True, **said)


def queries_of(arguments: Mapping[str, Any], *, most: int, longest: int) -> list[str]:
    """The queries that a model asks for, each once; what is beyond `most` or `longest`, empty or no text is left out."""
    given = arguments.get("queries", arguments.get("query"))
    queries = [given] if isinstance(given, str) else given if isinstance(given, list | tuple) else []
    texts = (" ".join(query.split())[:longest] for query in queries if isinstance(query, str))
    return list(dict.fromkeys(filter(None, texts)))[:most]
