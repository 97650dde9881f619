"""The typed steps of an interaction's timeline. A call has an `id`, its result the same as `call_id`.

A step that was cut short carries `error`. The published types have it on `model_output` alone; here any step may,
since any step may be cut short, and clients keep fields they do not know.
"""

from __future__ import annotations

from typing import Literal

from .base import JsonObject, Wire
from .content import (
    AudioContent,
    Content,
    DocumentContent,
    ImageContent,
    ReviewSnippet,
    Status,
    TextContent,
    VideoContent,
)
from .tools import Function, RetrievalType, SearchType


class StepBase(Wire, tag_field="type"):
    """What all steps share."""

    error: Status | None = None


class Signed(StepBase):
    """A step whose origin can be checked when it comes back from a client."""

    signature: str | None = None


FunctionResultContent = TextContent | ImageContent | AudioContent | DocumentContent | VideoContent | Function
Result = str | JsonObject | list[FunctionResultContent]


class FunctionCallStep(Signed, kw_only=True, tag="function_call"):
    id: str
    name: str
    arguments: JsonObject


class FunctionResultStep(Signed, kw_only=True, tag="function_result"):
    call_id: str
    result: Result
    name: str | None = None
    is_error: bool | None = None


class UserInputStep(StepBase, kw_only=True, tag="user_input"):
    """The documents' samples give `content` as a string; one client puts function results into it. Both are read."""

    content: str | list[Content | FunctionResultStep] | None = None


class ModelOutputStep(StepBase, kw_only=True, tag="model_output"):
    content: list[Content] | None = None


class ThoughtStep(Signed, kw_only=True, tag="thought"):
    summary: list[TextContent | ImageContent] | None = None


class CodeExecutionArguments(Wire, kw_only=True):
    code: str | None = None
    language: Literal["python", "bash"] | None = None


class CodeExecutionCallStep(Signed, kw_only=True, tag="code_execution_call"):
    id: str
    arguments: CodeExecutionArguments | None = None


class CodeExecutionResultStep(Signed, kw_only=True, tag="code_execution_result"):
    call_id: str
    result: str | list[Content] | None = None
    is_error: bool | None = None


class UrlContextArguments(Wire, kw_only=True):
    urls: list[str] | None = None


class UrlContextItem(Wire, kw_only=True):
    url: str | None = None
    status: Literal["success", "error", "paywall", "unsafe"] | None = None


class UrlContextCallStep(Signed, kw_only=True, tag="url_context_call"):
    id: str
    arguments: UrlContextArguments | None = None


class UrlContextResultStep(Signed, kw_only=True, tag="url_context_result"):
    call_id: str
    result: list[UrlContextItem] | None = None
    is_error: bool | None = None


class QueryArguments(Wire, kw_only=True):
    queries: list[str] | None = None


class GoogleSearchItem(Wire, kw_only=True):
    """The service sends `search_suggestions` alone; its reference shows the others, and this server sends them."""

    search_suggestions: str | None = None
    title: str | None = None
    url: str | None = None
    snippet: str | None = None


class GoogleSearchCallStep(Signed, kw_only=True, tag="google_search_call"):
    id: str
    arguments: QueryArguments | None = None
    search_type: SearchType | None = None


class GoogleSearchResultStep(Signed, kw_only=True, tag="google_search_result"):
    call_id: str
    result: list[GoogleSearchItem] | None = None
    is_error: bool | None = None


class Place(Wire, kw_only=True):
    name: str | None = None
    place_id: str | None = None
    url: str | None = None
    review_snippets: list[ReviewSnippet] | None = None


class GoogleMapsItem(Wire, kw_only=True):
    places: list[Place] | None = None
    widget_context_token: str | None = None


class GoogleMapsCallStep(Signed, kw_only=True, tag="google_maps_call"):
    id: str
    arguments: QueryArguments | None = None


class GoogleMapsResultStep(Signed, kw_only=True, tag="google_maps_result"):
    call_id: str
    result: list[GoogleMapsItem] | None = None
    is_error: bool | None = None


class FileSearchCallStep(Signed, kw_only=True, tag="file_search_call"):
    id: str


class FileSearchResultStep(Signed, kw_only=True, tag="file_search_result"):
    call_id: str
    result: list[JsonObject] | None = None
    is_error: bool | None = None


class McpServerToolCallStep(Signed, kw_only=True, tag="mcp_server_tool_call"):
    id: str
    name: str | None = None
    server_name: str | None = None
    arguments: JsonObject | None = None


class McpServerToolResultStep(Signed, kw_only=True, tag="mcp_server_tool_result"):
    call_id: str
    name: str | None = None
    server_name: str | None = None
    result: Result | None = None
    is_error: bool | None = None


class RetrievalCallStep(Signed, kw_only=True, tag="retrieval_call"):
    id: str
    arguments: QueryArguments | None = None
    retrieval_type: RetrievalType | None = None


class RetrievalResultStep(Signed, kw_only=True, tag="retrieval_result"):
    call_id: str
    is_error: bool | None = None


class ToolSearchArguments(Wire, kw_only=True):
    function_names: list[str] | None = None


class ToolSearchCallStep(Signed, kw_only=True, tag="tool_search_call"):
    id: str
    arguments: ToolSearchArguments | None = None


class ToolSearchResultStep(Signed, kw_only=True, tag="tool_search_result"):
    call_id: str
    result: list[Function] | None = None
    is_error: bool | None = None


class ProcessingCallStep(Signed, kw_only=True, tag="processing_call"):
    id: str


class ProcessingResultStep(Signed, kw_only=True, tag="processing_result"):
    call_id: str
    is_error: bool | None = None


ToolCallStep = (
    CodeExecutionCallStep
    | UrlContextCallStep
    | GoogleSearchCallStep
    | GoogleMapsCallStep
    | FileSearchCallStep
    | McpServerToolCallStep
    | RetrievalCallStep
    | ToolSearchCallStep
    | ProcessingCallStep
)
ToolResultStep = (
    CodeExecutionResultStep
    | UrlContextResultStep
    | GoogleSearchResultStep
    | GoogleMapsResultStep
    | FileSearchResultStep
    | McpServerToolResultStep
    | RetrievalResultStep
    | ToolSearchResultStep
    | ProcessingResultStep
)
CallStep = FunctionCallStep | ToolCallStep
ResultStep = FunctionResultStep | ToolResultStep
Step = UserInputStep | ModelOutputStep | ThoughtStep | CallStep | ResultStep
