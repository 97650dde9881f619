"""Function calling for a model whose chat template knows nothing of it: functions, calls and results as plain text.

The functions stand in the system message, a call in the assistant's message in the form that the system message asks
for, and results in a user's message. `toolforms.py` reads the calls that come back. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.json import encode

from antiphon import wire

_RULES = """\
When a function helps with the user's request, answer with one block like this for each call, and nothing else:
<tool_call>
{"name": "function_name", "arguments": {"argument": "value"}}
</tool_call>
Several calls are several blocks. For anything else (greetings, questions you can answer yourself, writing, code), do \
not call a function: answer the user directly in plain words."""


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
        f'<tool_call>\n{{"name": {encode(name).decode()}, "arguments": {arguments}}}\n</tool_call>'
        for name, arguments in calls
    )


def result_text(results: Iterable[tuple[str, str]]) -> str:
    """Results, each the name of the function and what it gave, as a user's message."""
    return "\n".join(f"The function {name} returned:\n{text}" for name, text in results)
