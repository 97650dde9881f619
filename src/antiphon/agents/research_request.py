"""What Deep Research takes: requests that ask for anything else are refused, in the service's words where they are known."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon import wire
from antiphon.agents.talk import talk_of

_SOURCES = (wire.GoogleSearch, wire.UrlContext, wire.FileSearch, wire.McpServer)


def check(request: wire.CreateInteraction, steps: Sequence[wire.Step]) -> None:
    """Raises InvalidRequest with the place of the fault."""
    _check_fields(request)
    _check_config(request.agent_config)
    _check_tools(request)
    _check_input(request, steps)


def _check_fields(request: wire.CreateInteraction) -> None:
    agent = request.agent
    if request.system_instruction is not None:
        raise wire.InvalidRequest(
            f"'system_instruction' is not supported for the {agent} agent. Please include any specific instructions in "
            "the input prompt instead."
        )
    for name in ("generation_config", "response_format", "response_mime_type"):
        if getattr(request, name) is not None:
            raise wire.InvalidRequest(f"'{name}' is not supported for the {agent} agent.")
    if not request.background:
        raise wire.InvalidRequest(f"background=true is required for the {agent} agent.")


def _check_config(config: wire.AgentConfig | None) -> None:
    if config is None:
        return
    if not isinstance(config, wire.DeepResearchConfig):
        kind = config.__struct_config__.tag
        raise wire.InvalidRequest(f"The value '{kind}' is not supported for 'agent_config.type'. Use 'deep-research'.")
    if config.enable_bigquery_tool:
        raise wire.InvalidRequest(
            "'agent_config.enable_bigquery_tool' is only supported on the Gemini Enterprise Agent Platform."
        )


def _check_input(request: wire.CreateInteraction, steps: Sequence[wire.Step]) -> None:
    for step in steps:
        if not isinstance(step, wire.UserInputStep | wire.ModelOutputStep | wire.ThoughtStep):
            kind = step.__struct_config__.tag
            raise wire.InvalidRequest(f"A step '{kind}' at 'input' is not supported for the {request.agent} agent.")
        content = getattr(step, "content", None)
        for part in content if isinstance(content, list) else ():
            if isinstance(part, wire.AudioContent | wire.VideoContent):
                kind = part.__struct_config__.tag
                raise wire.InvalidRequest(
                    f"Input of type '{kind}' is not supported for the {request.agent} agent; it takes text, images and "
                    "documents."
                )
    if not talk_of(steps).wish.strip():
        raise wire.InvalidRequest("Missing input: there is no question in 'input'.")


def _check_tools(request: wire.CreateInteraction) -> None:
    for place, tool in enumerate(request.tools or ()):
        if isinstance(tool, wire.Function | wire.ComputerUse | wire.ToolSearch | wire.GoogleMaps):
            kind = tool.__struct_config__.tag
            raise wire.InvalidRequest(f"'{kind}' at 'tools[{place}]' is not supported for the {request.agent} agent.")
    if request.tools is not None and not any(isinstance(tool, _SOURCES) for tool in request.tools):
        raise wire.InvalidRequest(
            f"The {request.agent} agent needs something to look up: one of google_search, url_context, file_search and "
            "mcp_server at 'tools'. Without 'tools' it has those that this server can do."
        )
