"""The request that makes an interaction, and the interaction itself."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .base import JsonObject, Timestamp, Wire
from .content import Content, Error, Labels, ResponseModality, Usage
from .steps import Step
from .tools import Tool, ToolChoiceConfig, ToolChoiceMode

InteractionStatus = Literal[
    "in_progress", "requires_action", "completed", "failed", "cancelled", "incomplete", "budget_exceeded", "queued",
    "requires_continuation",
]  # fmt: skip
ServiceTier = Literal["flex", "standard", "priority", "deferred"]
ThinkingLevel = Literal["minimal", "low", "medium", "high", "xhigh"]
ThinkingSummaries = Literal["auto", "none"]
AspectRatio = Literal[
    "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9", "1:8", "8:1", "1:4", "4:1"
]  # fmt: skip
ImageSize = Literal["512", "1K", "2K", "4K"]
Delivery = Literal["inline", "uri"]


class SpeechConfig(Wire, kw_only=True):
    voice: str | None = None
    language: str | None = None
    speaker: str | None = None


class SpeakerConfig(Wire, kw_only=True):
    speakers: list[SpeechConfig] | None = None


class ImageConfig(Wire, kw_only=True):
    aspect_ratio: AspectRatio | None = None
    image_size: ImageSize | None = None


class VideoConfig(Wire, kw_only=True):
    task: Literal["text_to_video", "image_to_video", "reference_to_video", "edit", "extend", "upscale"] | None = None


class VerbatimMode(Wire, kw_only=True, tag_field="type", tag="verbatim"):
    diarization_mode: str | None = None
    timestamp_granularities: list[str] | None = None


class SmartMode(Wire, kw_only=True, tag_field="type", tag="smart"):
    source_text: str | None = None


class TranscriptionConfig(Wire, kw_only=True):
    mode: VerbatimMode | SmartMode | Literal["verbatim", "smart"] | None = None
    custom_vocabulary: list[str] | None = None
    language_codes: list[str] | None = None
    language_hints: list[str] | None = None
    adaptation_phrases: list[str] | None = None
    diarization_mode: str | None = None
    timestamp_granularities: list[str] | None = None


class GenerationConfig(Wire, kw_only=True):
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop_sequences: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=16)] | None = None
    thinking_level: ThinkingLevel | None = None
    thinking_summaries: ThinkingSummaries | None = None
    tool_choice: ToolChoiceMode | ToolChoiceConfig | None = None
    speech_config: list[SpeechConfig] | SpeakerConfig | None = None
    image_config: ImageConfig | None = None
    video_config: VideoConfig | None = None
    transcription_config: TranscriptionConfig | None = None


class TextFormat(Wire, kw_only=True, tag_field="type", tag="text"):
    mime_type: Literal["application/json", "text/plain"] | None = None
    schema: JsonObject | None = None


class AudioFormat(Wire, kw_only=True, tag_field="type", tag="audio"):
    mime_type: Literal["audio/mp3", "audio/ogg_opus", "audio/l16", "audio/wav", "audio/alaw", "audio/mulaw"] | None = (
        None
    )
    sample_rate: int | None = None
    bit_rate: int | None = None
    delivery: Delivery | None = None


class ImageFormat(Wire, kw_only=True, tag_field="type", tag="image"):
    mime_type: Literal["image/jpeg", "image/png"] | None = None
    aspect_ratio: AspectRatio | None = None
    image_size: ImageSize | None = None
    delivery: Delivery | None = None


class VideoFormat(Wire, kw_only=True, tag_field="type", tag="video"):
    aspect_ratio: Literal["16:9", "9:16"] | None = None
    duration: str | None = None
    resolution: Literal["360p", "720p", "1080p", "4k"] | None = None
    delivery: Delivery | None = None
    gcs_uri: str | None = None


ResponseFormat = TextFormat | AudioFormat | ImageFormat | VideoFormat


class DeepResearchConfig(Wire, kw_only=True, tag_field="type", tag="deep-research"):
    thinking_summaries: ThinkingSummaries | None = None
    visualization: Literal["off", "auto"] | None = None
    collaborative_planning: bool | None = None
    enable_bigquery_tool: bool | None = None


class AntigravityConfig(Wire, kw_only=True, tag_field="type", tag="antigravity"):
    model: str | None = None
    max_total_tokens: int | None = None


class DynamicConfig(Wire, kw_only=True, tag_field="type", tag="dynamic"):
    pass


class FileContent(Wire, kw_only=True):
    path: str | None = None
    content: str | None = None


class FindRequest(Wire, kw_only=True):
    description: str | None = None
    finding_id: str | None = None
    mode: Literal["scan", "verify"] | None = None
    source_files: list[FileContent] | None = None


class FixRequest(Wire, kw_only=True):
    description: str | None = None
    finding_id: str | None = None
    source_files: list[FileContent] | None = None


class SessionConfig(Wire, kw_only=True):
    max_rounds: int | None = None


class CodeMenderConfig(Wire, kw_only=True, tag_field="type", tag="code-mender"):
    model: str | None = None
    session_id: str | None = None
    session_config: SessionConfig | None = None
    find_request: FindRequest | None = None
    fix_request: FixRequest | None = None


AgentConfig = DeepResearchConfig | AntigravityConfig | DynamicConfig | CodeMenderConfig


class EnvironmentVariable(Wire, kw_only=True):
    value: str | None = None
    credential: str | None = None


class AllowlistEntry(Wire, kw_only=True):
    domain: str
    credential: str | None = None
    transform: dict[str, str] | list[dict[str, str]] | None = None


class NetworkAllowlist(Wire, kw_only=True):
    allowlist: list[AllowlistEntry] | Literal["disabled"] | None = None


class Source(Wire, kw_only=True):
    type: Literal["gcs", "inline", "repository", "skill_registry"] | None = None
    source: str | None = None
    target: str | None = None
    content: str | None = None
    encoding: str | None = None


class Environment(Wire, kw_only=True, tag_field="type", tag="remote"):
    environment_id: str | None = None
    sources: list[Source] | None = None
    network: NetworkAllowlist | Literal["disabled"] | None = None
    env: dict[str, EnvironmentVariable | str] | None = None


class WebhookConfig(Wire, kw_only=True):
    uris: list[str] | None = None
    user_metadata: JsonObject | None = None


class SafetySetting(Wire, kw_only=True):
    type: Literal[
        "hate_speech", "dangerous_content", "harassment", "sexually_explicit", "civic_integrity", "image_hate",
        "image_dangerous_content", "image_harassment", "image_sexually_explicit", "jailbreak",
    ]  # fmt: skip
    threshold: Literal["block_low_and_above", "block_medium_and_above", "block_only_high", "block_none", "off"]
    method: Literal["severity", "probability"] | None = None


InputItem = Content | Step
Input = str | InputItem | list[InputItem]


class CreateInteraction(Wire, kw_only=True):
    """The body of POST /interactions, for a model or for an agent. Exactly one of `model` and `agent` is given.

    `response_format` is one format, a list of them, or a bare JSON schema; which one is decided where the request's
    meaning is read (`intake.py`), since a schema's own `type` cannot be told from a format's by its place.
    """

    model: str | None = None
    agent: str | None = None
    input: Input | None = None
    previous_interaction_id: str | None = None
    system_instruction: str | None = None
    tools: list[Tool] | None = None
    generation_config: GenerationConfig | None = None
    response_format: JsonObject | list[JsonObject] | None = None
    response_mime_type: str | None = None
    response_modalities: list[ResponseModality] | None = None
    agent_config: AgentConfig | None = None
    environment: Environment | str | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    service_tier: ServiceTier | None = None
    labels: Labels | None = None
    webhook_config: WebhookConfig | None = None
    safety_settings: list[SafetySetting] | None = None
    cached_content: str | None = None
    continuation_token: str | None = None


class Interaction(Wire, kw_only=True):
    """The resource. POST shows the steps that were generated, GET the whole timeline from `user_input` on (documents).

    `error` repeats `errors[0]`, since programs in circulation read it; `model_substitution` says why another model's
    name answers than the one asked for. Both are ours.
    """

    status: InteractionStatus
    object: Literal["interaction"]
    id: str | None = None
    usage: Usage | None = None
    created: Timestamp | None = None
    updated: Timestamp | None = None
    service_tier: ServiceTier | None = None
    steps: list[Step] | None = None
    model: str | None = None
    agent: str | None = None
    previous_interaction_id: str | None = None
    input: Input | None = None
    system_instruction: str | None = None
    tools: list[Tool] | None = None
    generation_config: GenerationConfig | None = None
    response_format: JsonObject | list[JsonObject] | None = None
    labels: Labels | None = None
    webhook_config: WebhookConfig | None = None
    agent_config: AgentConfig | None = None
    environment: Environment | str | None = None
    environment_id: str | None = None
    continuation_token: str | None = None
    errors: list[Error] | None = None
    error: Error | None = None
    model_substitution: str | None = None


class InteractionList(Wire, kw_only=True):
    """A page of GET /interactions, newest first. The service has no such call; the shape is that of its other lists."""

    interactions: list[Interaction] | None = None
    next_page_token: str | None = None
