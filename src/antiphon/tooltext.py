"""Function calling for a model whose chat template knows nothing of it: functions, calls and results as plain text.

The functions stand in the system message, a call in the assistant's message in the form that the system message asks
for, and results in a user's message. `toolforms.py` reads the calls that come back. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.json import encode

from antiphon import wire

# Measured (bench/tool_calling.py): fenced JSON is what small models write anyway; asked for tags instead, or shown an
# example of two calls, the 1.5B made fewer right calls, and a grammar for the first words made it call where it should not.
_RULES = """\
To call a function, answer with nothing but one such block for each call:
```json
{"name": "<function>", "arguments": {"<argument>": <value>}}
```
Call a function only when the user's request needs it. If none of the functions helps, answer the user in plain words."""


def functions_text(functions: Iterable[wire.Function], system: str | None) -> str:
    """The system message: `system`, the functions on offer, and how to call them."""
    lines = [
        encode(
            {
                "name": function.name,
                "description": function.description or "",
                "parameters": function.parameters or {"type": "object", "properties": {}},
            }
        ).decode()
        for function in functions
    ]
    head = system or "You are a helpful assistant."
    return "\n".join([head, "", "# Functions", "", "You can call these functions:", *lines, "", _RULES])


def call_text(calls: Iterable[tuple[str, str]]) -> str:
    """Calls, each a name and the JSON text of its arguments, as the model is asked to write them."""
    return "\n".join(
        f'```json\n{{"name": {encode(name).decode()}, "arguments": {arguments}}}\n```' for name, arguments in calls
    )


def result_text(results: Iterable[tuple[str, str]]) -> str:
    """Results, each the name of the function and what it gave, as a user's message."""
    return "\n".join(f"The function {name} returned:\n{text}" for name, text in results)


_MEDIA = (wire.ImageContent, wire.AudioContent, wire.VideoContent, wire.DocumentContent)


def result_words(step: wire.ResultStep) -> str:
    """What a result step says, as text; its media are not in it."""
    result = getattr(step, "result", None)
    if isinstance(result, str):
        return result
    if isinstance(result, list) and any(isinstance(part, (wire.TextContent, *_MEDIA)) for part in result):
        text = "\n".join(_words(part) for part in result if not isinstance(part, _MEDIA))
        return text or "The result is in the next message."
    return encode(result if result is not None else {}).decode()


def _words(part: object) -> str:
    return part.text if isinstance(part, wire.TextContent) else encode(part).decode()
