"""What a request means: its input as steps, its format and tool settings in one form, and what is refused and why.

Pure: no I/O, no store. Below is `wire`, which has already refused what is malformed; above is `engine`, which knows the
conversation. A field that this server does not act on is refused here, never ignored.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from antiphon import computer_use, outputs, readings, schemas, signature, wire
from antiphon.ports import Agent, InputForm, Record, Resolution, Tool, ToolChoice, Turn

_CONTENT = (wire.TextContent, wire.ImageContent, wire.AudioContent, wire.DocumentContent, wire.VideoContent)


def check(request: wire.CreateInteraction) -> None:
    """Refuse what no state of this server could carry out. Raises InvalidRequest with the place of the fault."""
    if (request.model is None) == (request.agent is None):
        given = "neither was" if request.model is None else "both were"
        raise wire.InvalidRequest(f"Exactly one of 'model' and 'agent' is required; {given} given.")
    if request.store is False and request.background:
        raise wire.InvalidRequest("store=true is required for background interactions")
    if request.webhook_config is not None and not request.background:
        raise wire.InvalidRequest("background=true is required when webhook_config is specified.")
    if request.agent is not None:
        _refuse(request, "generation_config", "is not allowed with 'agent'.")
    else:
        _refuse(request, "agent_config", "needs an 'agent'.")
    for name, why in _NOT_SERVED.items():
        _refuse(request, name, why)
    outputs.check(request)
    _check_labels(request.labels or {})


def agent_of(request: wire.CreateInteraction, agents: Mapping[str, Agent]) -> Agent | None:
    """Who is asked, where it is no model. Raises NotFound."""
    if request.agent is not None and request.agent not in agents:
        served = ", ".join(map(repr, agents)) or "none"
        raise wire.NotFound(f"Agent '{request.agent}' is not served here. Agents: {served}.")
    return agents[request.agent] if request.agent is not None else None


def check_model(resolved: Resolution, agent: Agent | None, agents: Mapping[str, Agent]) -> None:
    """Refuse an agent's name where a model's belongs."""
    if agent is None and resolved.served_as in agents:
        raise wire.InvalidRequest(f"'{resolved.served_as}' at 'model' is an agent: ask for it with 'agent'.")


def _check_labels(labels: dict[str, str]) -> None:
    """Lower-case letters, digits, `_` and `-`; keys begin with a letter (the SDK's description of the field)."""
    for key, value in labels.items():
        for text in (key, value):
            if text != text.lower() or not all(char.isalnum() or char in "_-" for char in text):
                allowed = "lower-case letters, digits, '_' and '-'"
                raise wire.InvalidRequest(f"Labels may hold only {allowed} at 'labels': {text!r}.")
        if not key[:1].isalpha():
            raise wire.InvalidRequest(f"A label's key begins with a letter at 'labels': {key!r}.")


_NOT_SERVED = {
    "environment": "is not supported on this server: it has no sandboxes for agents.",
    "safety_settings": "is not available on the Gemini API, nor on this server.",
    "cached_content": "is not supported: chain interactions with 'previous_interaction_id', their prefix is cached.",
    "continuation_token": "is not supported: this server never answers with status 'requires_continuation'.",
}


def _refuse(struct: msgspec.Struct, name: str, why: str, prefix: str = "") -> None:
    if getattr(struct, name) is not None:
        raise wire.InvalidRequest(f"'{prefix}{name}' {why}")


# ---------------------------------------------------------------------------------------------------- input


def steps(given: wire.Input | None) -> list[wire.Step]:
    """The input as steps, whichever of its forms it came in. Raises InvalidRequest for an empty one."""
    if given is None or given == []:
        raise wire.InvalidRequest("Missing input.")
    if isinstance(given, str):
        return _user([wire.TextContent(text=given)], "input")
    if not isinstance(given, list):
        return _item(given, "input")
    found: list[wire.Step] = []
    loose: list[Any] = []  # neighbouring contents without a step around them are one user_input
    for place, item in enumerate(given):
        if isinstance(item, _CONTENT):
            _check_content(item, f"input[{place}]")
            loose.append(item)
            continue
        if loose:
            found += _user(loose, "input")
            loose = []
        found += _item(item, f"input[{place}]")
    return found + (_user(loose, "input") if loose else [])


def form(given: wire.Input | None) -> InputForm:
    """What an input was sent as: one content, a list of contents with no step around them, or steps."""
    if isinstance(given, list):
        return "contents" if all(isinstance(item, _CONTENT) for item in given) else "steps"
    return "content" if isinstance(given, _CONTENT) else "steps"


def _item(item: Any, path: str) -> list[wire.Step]:
    if isinstance(item, _CONTENT):
        _check_content(item, path)
        return _user([item], path)
    if isinstance(item, wire.UserInputStep):
        if item.error is not None:
            raise wire.InvalidRequest(f"Unknown parameter 'error' at '{path}'.")
        content = item.content
        if isinstance(content, str):
            return _user([wire.TextContent(text=content)], path)
        return _user(content or [], path)
    _check_contents(item, path)
    return [item]


def _user(contents: list[Any], path: str) -> list[wire.Step]:
    """A user_input; function results that a client put among its content become the steps they are."""
    if not contents or all(isinstance(item, wire.TextContent) and not item.text for item in contents):
        raise wire.InvalidRequest(f"Request has empty input. (at '{path}')")
    found: list[wire.Step] = []
    own: list[Any] = []
    for place, item in enumerate(contents):
        if isinstance(item, wire.FunctionResultStep):
            if own:
                found.append(wire.UserInputStep(content=own))
                own = []
            _check_contents(item, f"{path}.content[{place}]")
            found.append(item)
        else:
            _check_content(item, f"{path}.content[{place}]")
            own.append(item)
    if own:
        found.append(wire.UserInputStep(content=own))
    return found


def _check_contents(step: wire.Step, path: str) -> None:
    for name in ("content", "summary", "result"):
        items = getattr(step, name, None)
        for place, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, _CONTENT):
                _check_content(item, f"{path}.{name}[{place}]")


def _check_content(item: Any, path: str) -> None:
    if isinstance(item, wire.TextContent):
        return
    if (not item.data) == (not item.uri):
        raise wire.InvalidRequest(f"Exactly one of 'data' and 'uri' is required at '{path}'.")
    if item.data:
        if item.mime_type is None:
            raise wire.InvalidRequest(f"'mime_type' is required beside 'data' at '{path}'.")
        try:
            base64.b64decode(item.data, validate=True)
        except (binascii.Error, ValueError):
            raise wire.InvalidRequest(f"Invalid base64 at '{path}.data'.") from None
    _check_processing(item, path)


def _check_processing(item: Any, path: str) -> None:
    """Refuse spans that end before they begin, and what no reader here does."""
    wanted = getattr(item, "processing", None)
    if wanted == "agentic":
        raise wire.InvalidRequest(f"'agentic' is not supported at '{path}.processing' on this server: use 'static'.")
    if not isinstance(wanted, msgspec.Struct):
        return
    place = f"{path}.processing"
    _check_span(wanted, place)
    pages = getattr(wanted, "page_options", None)
    if pages is not None and not 1 <= (pages.start_page or 1) <= (pages.end_page or pages.start_page or 1):
        raise wire.InvalidRequest(
            f"Pages count from 1, and 'end_page' is not before 'start_page', at '{place}.page_options'."
        )
    sheets = getattr(wanted, "spreadsheet_options", None)
    if sheets is not None and sheets.sheet_index is not None and sheets.sheet_index < 1:
        raise wire.InvalidRequest(f"'sheet_index' at '{place}.spreadsheet_options' counts from 1.")


def _check_span(wanted: Any, place: str) -> None:
    begin, end = (_seconds(getattr(wanted, name, None), f"{place}.{name}") for name in ("start_offset", "end_offset"))
    if begin is not None and end is not None and end <= begin:
        raise wire.InvalidRequest(f"'end_offset' at '{place}' is not after 'start_offset'.")
    fps = getattr(wanted, "fps", None)
    if fps is not None and not 0 < fps <= 60:
        raise wire.InvalidRequest(f"'fps' at '{place}' must be above 0 and at most 60.")


def _seconds(text: str | None, path: str) -> float | None:
    """A duration as the API writes it: `90s`, `1.5s`."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)s", text)
    if found is None:
        raise wire.InvalidRequest(f"'{path}' must be seconds such as '1.5s'.")
    return float(found[1])


# ---------------------------------------------------------------------------------------------------- settings


def tool_choice(
    request: wire.CreateInteraction, functions: Sequence[wire.Function], tools: Sequence[wire.Tool]
) -> ToolChoice:
    """The mode and the allowed names from `generation_config.tool_choice`. Raises InvalidRequest."""
    choice = _asked_choice(request)
    known = {function.name for function in functions}
    unknown = [name for name in choice.names or () if name not in known]
    if unknown:
        place = "generation_config.tool_choice.allowed_tools.tools"
        raise wire.InvalidRequest(f"The function '{unknown[0]}' at '{place}' is not declared in 'tools'.")
    if choice.mode == "any" and not (tools if choice.names is None else choice.names):
        raise wire.InvalidRequest("tool_choice 'any' at 'generation_config.tool_choice' needs a function in 'tools'.")
    return choice


def _asked_choice(request: wire.CreateInteraction) -> ToolChoice:
    given = request.generation_config.tool_choice if request.generation_config is not None else None
    if not isinstance(given, wire.ToolChoiceConfig):
        return ToolChoice(given or "auto")
    allowed = given.allowed_tools or wire.AllowedTools()
    return ToolChoice(allowed.mode or "auto", None if allowed.tools is None else tuple(allowed.tools))


def check_tools(tools: Sequence[wire.Tool] | None) -> None:
    """Refuse what is declared twice, functions without a name, and parameters that are no object's schema."""
    seen: set[str] = set()
    searched = any(isinstance(tool, wire.ToolSearch) for tool in tools or ())
    for place, tool in enumerate(tools or ()):
        path = f"tools[{place}]"
        kind = str(tool.__struct_config__.tag)
        if isinstance(tool, wire.Function):
            _check_function(tool, path, searched=searched)
        # Servers of tools may be several; everything else goes by its name, the model's name for it included.
        name = tool.name if isinstance(tool, wire.Function | wire.McpServer) else kind
        if name in seen:
            raise wire.InvalidRequest(f"'{name}' at '{path}' is declared twice.")
        seen.add(name or "")


def _check_function(function: wire.Function, path: str, *, searched: bool) -> None:
    if function.name is None:
        raise wire.InvalidRequest(f"Missing required parameter 'name' at '{path}'.")
    _check_parameters(function.parameters, path)
    if function.defer_loading and not searched:
        raise wire.InvalidRequest(f"'{path}.defer_loading' needs a 'tool_search' in 'tools' that finds it.")
    if not function.defer_loading:
        _refuse(function, "short_description", "is for functions with 'defer_loading'.", f"{path}.")


def _check_parameters(parameters: dict[str, Any] | None, path: str) -> None:
    if not parameters:
        return
    if fault := schemas.malformed(parameters):
        raise wire.InvalidRequest(f"The schema at '{path}.parameters' cannot be read: {fault}.")
    if parameters.get("type", "object") not in ("object", "OBJECT"):
        raise wire.InvalidRequest(f"'{path}.parameters' must be the schema of an object.")


def check_results(found: Sequence[wire.Step], conversation: Sequence[wire.Step]) -> None:
    """Refuse a result whose call is nowhere before it, or already has one."""
    if not any(hasattr(step, "call_id") for step in found):
        return
    calls: set[str] = set()
    answered: set[str] = set()
    for step in conversation:
        _note(step, calls, answered)
    for step in found:
        call_id = getattr(step, "call_id", None)
        if call_id is not None and call_id not in calls:
            raise wire.InvalidRequest(f"call_id '{call_id}' at 'input' does not answer any call of this conversation.")
        if call_id is not None and call_id in answered:
            raise wire.InvalidRequest(f"call_id '{call_id}' at 'input' was answered before.")
        _note(step, calls, answered)


def _note(step: Any, calls: set[str], answered: set[str]) -> None:
    if step.error is None:
        if (call := getattr(step, "id", None)) is not None:
            calls.add(call)
        if (call_id := getattr(step, "call_id", None)) is not None:
            answered.add(call_id)


def check_signatures(found: Sequence[wire.Step], key: bytes) -> None:
    """Refuse a thought or a tool's result whose signature another made; one without any is tolerated."""
    for place, step in enumerate(found):
        given = getattr(step, "signature", None)
        if not given or given in signature.PLACEHOLDERS or not isinstance(step, wire.ThoughtStep | wire.ToolResultStep):
            continue
        if not (_own_thought(step, key) if isinstance(step, wire.ThoughtStep) else readings.ours(key, step)):
            what = str(step.__struct_config__.tag)
            raise wire.InvalidRequest(
                f"The {what} signature at 'input[{place}].signature' was not issued by this server. "
                f"Replay a {what} unchanged, or leave its signature out."
            )


def _own_thought(step: wire.ThoughtStep, key: bytes) -> bool:
    return any(signature.sealed(key, step.signature or "", purpose) for purpose in ("", signature.STAGE))


# ---------------------------------------------------------------------------------------------------- the turn


def turn(
    record: Record,
    past: Sequence[wire.Step],
    tools: Mapping[str, Tool],
    *,
    followed: bool,
    gives: frozenset[str] = outputs.TEXT,
) -> Turn:
    """What the model is asked: the conversation and this request's settings. `gives` is what it can answer with.

    Raises InvalidRequest.
    """
    request = record.request
    functions = _functions(record.tools or (), tools)
    wanted = outputs.wanted(request, record.model, gives)
    config = request.generation_config or wire.GenerationConfig()
    return Turn(
        model=record.target,
        steps=[*past, *record.input],
        conversation=record.conversation,
        followed=followed,
        system_instruction=_system(request, record.tools or ()),
        functions=functions,
        tool_choice=tool_choice(request, functions, record.tools or ()),
        schema=wanted.schema,
        json_object=wanted.json and wanted.schema is None,
        temperature=config.temperature,
        top_p=config.top_p,
        seed=config.seed,
        max_output_tokens=config.max_output_tokens,
        stop_sequences=tuple(config.stop_sequences or ()),
        thinking_level=config.thinking_level,
        text=wanted.text,
        audio=wanted.audio,
        image=wanted.image,
        voices=outputs.voices(request),
        transcription=config.transcription_config,
    )


def _functions(declared: Sequence[wire.Tool], tools: Mapping[str, Tool]) -> tuple[wire.Function, ...]:
    """The functions that the caller runs. Raises InvalidRequest for a tool that is not served."""
    check_tools(declared)
    functions: list[wire.Function] = []
    for place, tool in enumerate(declared):
        kind = str(tool.__struct_config__.tag)
        if isinstance(tool, wire.Function):
            functions.append(tool)
        elif isinstance(tool, wire.ComputerUse):
            own = {function.name for function in declared if isinstance(function, wire.Function)}
            functions += [
                action for action in computer_use.functions(tool, f"tools[{place}]") if action.name not in own
            ]
        elif isinstance(tool, wire.Retrieval):
            raise wire.InvalidRequest(
                f"The value 'retrieval' is not supported for 'tools[{place}].type' on the Gemini API, "
                "it is allowed on the Gemini Enterprise Agent Platform."
            )
        elif kind not in tools:
            served = ", ".join(repr(name) for name in ("function", "computer_use", *tools))
            raise wire.InvalidRequest(
                f"The value '{kind}' is not supported for 'type' at 'tools[{place}]' on this server. "
                f"Supported values: {served}."
            )
    return tuple(functions)


def _system(request: wire.CreateInteraction, declared: Sequence[wire.Tool]) -> str | None:
    told = computer_use.INSTRUCTIONS if any(isinstance(tool, wire.ComputerUse) for tool in declared) else None
    return "\n\n".join(filter(None, [request.system_instruction, told])) or None


def effective_tools(
    request: wire.CreateInteraction, found: Sequence[wire.Step], parent: Record | None
) -> list[wire.Tool] | None:
    """A request's own tools. Only an answer to a call that names none keeps those of the call (documents' samples)."""
    answers = any(isinstance(step, wire.FunctionResultStep | wire.ToolSearchResultStep) for step in found)
    if request.tools is None and answers and parent is not None:
        return parent.tools
    return request.tools


def substitution(resolved: Resolution) -> str | None:
    """What the caller is told of a name that has been withdrawn."""
    if resolved.substituted_for is None:
        return None
    return f"'{resolved.substituted_for}' has been withdrawn; '{resolved.served_as}' answers in its place."


def check_answer(steps: Sequence[wire.Step], schema: Mapping[str, Any]) -> None:
    """Refuse an answer that does not fit the schema asked for: not every back-end can enforce one. Raises Internal."""
    last = steps[-1]
    if not isinstance(last, wire.ModelOutputStep):
        return  # a call, whose arguments have a schema of their own
    text = "".join(item.text for item in last.content or () if isinstance(item, wire.TextContent))
    try:
        fault = schemas.violation(msgspec.json.decode(text), schema)
    except msgspec.DecodeError:
        fault = "it is no JSON"
    if fault is not None:
        raise wire.Internal(f"The model's answer does not fit 'response_format': {fault}.")
