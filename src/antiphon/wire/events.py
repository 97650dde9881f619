"""The events of a stream, and the deltas that fill a step between its start and its stop.

Every event may carry `event_id`, from which a stream can be resumed. Two spellings of an event's kind are in circulation:
`event_type` is the service's; `type` is sent beside it, with the older word `interaction.complete` for the last event.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .base import Event, JsonObject
from .content import (
    Annotation,
    AudioMimeType,
    Content,
    DocumentMimeType,
    Error,
    ImageMimeType,
    MediaResolution,
    Status,
    Usage,
    VideoMimeType,
)
from .interaction import InteractionStatus, ServiceTier
from .steps import (
    CodeExecutionArguments,
    GoogleMapsItem,
    GoogleSearchItem,
    QueryArguments,
    Result,
    Step,
    ToolSearchArguments,
    UrlContextArguments,
    UrlContextItem,
)
from .tools import Function, RetrievalType


class Delta(Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    """What all deltas share. A typed delta's fields are set on the step; the others add to it (see `log.py`)."""


class TextDelta(Delta, kw_only=True, tag="text"):
    text: str


class TextAnnotationDelta(Delta, kw_only=True, tag="text_annotation_delta"):
    annotations: list[Annotation] | None = None


class ImageDelta(Delta, kw_only=True, tag="image"):
    data: str | None = None
    uri: str | None = None
    mime_type: ImageMimeType | None = None
    resolution: MediaResolution | None = None


class AudioDelta(Delta, kw_only=True, tag="audio"):
    data: str | None = None
    uri: str | None = None
    mime_type: AudioMimeType | None = None
    channels: int | None = None
    sample_rate: int | None = None
    rate: int | None = None


class DocumentDelta(Delta, kw_only=True, tag="document"):
    data: str | None = None
    uri: str | None = None
    mime_type: DocumentMimeType | None = None


class VideoDelta(Delta, kw_only=True, tag="video"):
    data: str | None = None
    uri: str | None = None
    mime_type: VideoMimeType | Literal["video/jpeg2000"] | None = None
    resolution: MediaResolution | None = None


class ThoughtSummaryDelta(Delta, kw_only=True, tag="thought_summary"):
    content: Content | None = None


class ThoughtSignatureDelta(Delta, kw_only=True, tag="thought_signature"):
    signature: str | None = None


class ArgumentsDelta(Delta, kw_only=True, tag="arguments_delta"):
    """A piece of a function call's arguments, as JSON text."""

    arguments: str | None = None


class SignedDelta(Delta, kw_only=True):
    """A typed delta: the whole payload of a step of the same type."""

    signature: str | None = None


class FunctionResultDelta(SignedDelta, kw_only=True, tag="function_result"):
    result: Result
    call_id: str | None = None
    name: str | None = None
    is_error: bool | None = None


class CodeExecutionCallDelta(SignedDelta, kw_only=True, tag="code_execution_call"):
    arguments: CodeExecutionArguments


class CodeExecutionResultDelta(SignedDelta, kw_only=True, tag="code_execution_result"):
    result: str | list[Content]
    is_error: bool | None = None


class UrlContextCallDelta(SignedDelta, kw_only=True, tag="url_context_call"):
    arguments: UrlContextArguments


class UrlContextResultDelta(SignedDelta, kw_only=True, tag="url_context_result"):
    result: list[UrlContextItem] | None = None
    is_error: bool | None = None


class GoogleSearchCallDelta(SignedDelta, kw_only=True, tag="google_search_call"):
    arguments: QueryArguments


class GoogleSearchResultDelta(SignedDelta, kw_only=True, tag="google_search_result"):
    """The documents' samples leave `result` out."""

    result: list[GoogleSearchItem] | None = None
    is_error: bool | None = None


class GoogleMapsCallDelta(SignedDelta, kw_only=True, tag="google_maps_call"):
    arguments: QueryArguments | None = None


class GoogleMapsResultDelta(SignedDelta, kw_only=True, tag="google_maps_result"):
    result: list[GoogleMapsItem] | None = None
    is_error: bool | None = None


class FileSearchCallDelta(SignedDelta, kw_only=True, tag="file_search_call"):
    pass


class FileSearchResultDelta(SignedDelta, kw_only=True, tag="file_search_result"):
    result: list[JsonObject] | None = None
    is_error: bool | None = None


class McpServerToolCallDelta(SignedDelta, kw_only=True, tag="mcp_server_tool_call"):
    name: str
    server_name: str
    arguments: JsonObject


class McpServerToolResultDelta(SignedDelta, kw_only=True, tag="mcp_server_tool_result"):
    result: Result
    name: str | None = None
    server_name: str | None = None
    is_error: bool | None = None


class RetrievalCallDelta(SignedDelta, kw_only=True, tag="retrieval_call"):
    arguments: QueryArguments
    retrieval_type: RetrievalType | None = None


class RetrievalResultDelta(SignedDelta, kw_only=True, tag="retrieval_result"):
    is_error: bool | None = None


class ToolSearchCallDelta(SignedDelta, kw_only=True, tag="tool_search_call"):
    arguments: ToolSearchArguments | None = None


class ToolSearchResultDelta(SignedDelta, kw_only=True, tag="tool_search_result"):
    result: list[Function] | None = None
    is_error: bool | None = None


class ProcessingCallDelta(SignedDelta, kw_only=True, tag="processing_call"):
    pass


class ProcessingResultDelta(SignedDelta, kw_only=True, tag="processing_result"):
    is_error: bool | None = None


StepDeltaData = (
    TextDelta
    | TextAnnotationDelta
    | ImageDelta
    | AudioDelta
    | DocumentDelta
    | VideoDelta
    | ThoughtSummaryDelta
    | ThoughtSignatureDelta
    | ArgumentsDelta
    | FunctionResultDelta
    | CodeExecutionCallDelta
    | CodeExecutionResultDelta
    | UrlContextCallDelta
    | UrlContextResultDelta
    | GoogleSearchCallDelta
    | GoogleSearchResultDelta
    | GoogleMapsCallDelta
    | GoogleMapsResultDelta
    | FileSearchCallDelta
    | FileSearchResultDelta
    | McpServerToolCallDelta
    | McpServerToolResultDelta
    | RetrievalCallDelta
    | RetrievalResultDelta
    | ToolSearchCallDelta
    | ToolSearchResultDelta
    | ProcessingCallDelta
    | ProcessingResultDelta
)


class StreamInteraction(Struct, kw_only=True, omit_defaults=True):
    """The interaction as the first and the last event show it: without steps, the last one with its usage (recorded)."""

    id: str
    status: InteractionStatus
    usage: Usage | None = None
    created: str | None = None
    updated: str | None = None
    service_tier: ServiceTier | None = None
    object: str | None = None
    model: str | None = None
    agent: str | None = None
    continuation_token: str | None = None
    environment_id: str | None = None
    steps: list[Step] | None = None
    error: Error | None = None
    errors: list[Error] | None = None
    model_substitution: str | None = None


class InteractionCreated(Event, kw_only=True, tag="interaction.created"):
    interaction: StreamInteraction
    event_id: str | None = None


class InteractionStatusUpdate(Event, kw_only=True, tag="interaction.status_update"):
    interaction_id: str
    status: InteractionStatus
    event_id: str | None = None
    usage: Usage | None = None
    continuation_token: str | None = None


class StepStart(Event, kw_only=True, tag="step.start"):
    index: int
    step: Step
    event_id: str | None = None


class StepDeltaMetadata(Struct, kw_only=True, omit_defaults=True):
    total_usage: Usage | None = None


class StepDelta(Event, kw_only=True, tag="step.delta"):
    index: int
    delta: StepDeltaData
    event_id: str | None = None
    metadata: StepDeltaMetadata | None = None


class StepStop(Event, kw_only=True, tag="step.stop"):
    """`error` is ours: the step was cut short, what it holds is not part of the answer."""

    index: int
    event_id: str | None = None
    usage: Usage | None = None
    step_usage: Usage | None = None
    error: Status | None = None


class ErrorEvent(Event, kw_only=True, tag="error"):
    error: Error | None = None
    event_id: str | None = None


class InteractionCompleted(Event, kw_only=True, tag="interaction.completed"):
    """The last event, whatever the status: completed, requires_action, incomplete, failed, cancelled … (recorded)."""

    interaction: StreamInteraction
    event_id: str | None = None


InteractionEvent = (
    InteractionCreated | InteractionStatusUpdate | StepStart | StepDelta | StepStop | ErrorEvent | InteractionCompleted
)
