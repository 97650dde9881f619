"""What a step holds: text, media, citations, and the counts of tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .base import Base64, ByteOffset, JsonObject, Wire

MediaResolution = Literal["low", "medium", "high", "ultra_high"]
ResponseModality = Literal["text", "image", "audio", "video", "document"]

ImageMimeType = Literal[
    "image/png", "image/jpeg", "image/webp", "image/heic", "image/heif", "image/gif", "image/bmp", "image/tiff"
]
AudioMimeType = Literal[
    "audio/wav", "audio/mp3", "audio/aiff", "audio/aac", "audio/ogg", "audio/flac", "audio/mpeg", "audio/m4a",
    "audio/l16", "audio/opus", "audio/alaw", "audio/mulaw", "audio/webm",
]  # fmt: skip
VideoMimeType = Literal[
    "video/mp4", "video/mpeg", "video/mpg", "video/mov", "video/avi", "video/x-flv", "video/webm", "video/wmv",
    "video/3gpp",
]  # fmt: skip
DocumentMimeType = Literal[
    "application/pdf",
    "text/csv",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.ms-powerpoint",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/msword",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.ms-excel",
    "application/vnd.oasis.opendocument.spreadsheet",
]


class UrlCitation(Wire, kw_only=True, tag_field="type", tag="url_citation"):
    """The words from `start_index` to `end_index` are supported by a page."""

    url: str | None = None
    title: str | None = None
    start_index: ByteOffset | None = None
    end_index: ByteOffset | None = None


class FileCitation(Wire, kw_only=True, tag_field="type", tag="file_citation"):
    """The same for a file of a store. `custom_metadata` is an object in the types, a list of pairs in the documents."""

    file_name: str | None = None
    document_uri: str | None = None
    source: str | None = None
    page_number: int | None = None
    media_id: str | None = None
    custom_metadata: JsonObject | list[JsonObject] | None = None
    start_index: ByteOffset | None = None
    end_index: ByteOffset | None = None


class ReviewSnippet(Wire, kw_only=True):
    title: str | None = None
    url: str | None = None
    review_id: str | None = None


class PlaceCitation(Wire, kw_only=True, tag_field="type", tag="place_citation"):
    name: str | None = None
    place_id: str | None = None
    url: str | None = None
    review_snippets: list[ReviewSnippet] | None = None
    start_index: ByteOffset | None = None
    end_index: ByteOffset | None = None


class SpeechAnnotation(Wire, kw_only=True, tag_field="type", tag="speech_metadata"):
    speaker: str | None = None
    style: str | None = None
    start_index: ByteOffset | None = None
    end_index: ByteOffset | None = None


class WordInfo(Wire, kw_only=True, tag_field="type", tag="word_info"):
    """A transcribed word; the offsets are durations such as `1.2s`, the indices bytes of the text."""

    text: str | None = None
    speaker: str | None = None
    start_offset: str | None = None
    end_offset: str | None = None
    start_index: ByteOffset | None = None
    end_index: ByteOffset | None = None


Annotation = UrlCitation | FileCitation | PlaceCitation | SpeechAnnotation | WordInfo


class AudioStaticProcessing(Wire, kw_only=True, tag_field="type", tag="static"):
    start_offset: str | None = None
    end_offset: str | None = None


class PageOptions(Wire, kw_only=True):
    start_page: int | None = None
    end_page: int | None = None
    content_layers: list[Literal["page_image", "page_text"]] | None = None


class SpreadsheetOptions(Wire, kw_only=True):
    sheet_index: int | None = None
    visible_cells: str | None = None
    content_layers: list[Literal["visual", "data", "formulas"]] | None = None


class DocumentStaticProcessing(Wire, kw_only=True, tag_field="type", tag="static"):
    page_options: PageOptions | None = None
    spreadsheet_options: SpreadsheetOptions | None = None


class VideoStaticProcessing(Wire, kw_only=True, tag_field="type", tag="static"):
    start_offset: str | None = None
    end_offset: str | None = None
    fps: float | None = None
    content_layers: list[Literal["frames", "audio", "transcript"]] | None = None


class TextContent(Wire, kw_only=True, tag_field="type", tag="text"):
    text: str
    annotations: list[Annotation] | None = None


class ImageContent(Wire, kw_only=True, tag_field="type", tag="image"):
    data: Base64 | None = None
    uri: str | None = None
    mime_type: ImageMimeType | None = None
    resolution: MediaResolution | None = None


class AudioContent(Wire, kw_only=True, tag_field="type", tag="audio"):
    data: Base64 | None = None
    uri: str | None = None
    mime_type: AudioMimeType | None = None
    channels: int | None = None
    sample_rate: int | None = None
    processing: AudioStaticProcessing | Literal["static"] | None = None


class DocumentContent(Wire, kw_only=True, tag_field="type", tag="document"):
    data: Base64 | None = None
    uri: str | None = None
    mime_type: DocumentMimeType | None = None
    resolution: MediaResolution | None = None
    processing: DocumentStaticProcessing | Literal["static"] | None = None


class VideoContent(Wire, kw_only=True, tag_field="type", tag="video"):
    data: Base64 | None = None
    uri: str | None = None
    mime_type: VideoMimeType | None = None
    name: str | None = None
    resolution: MediaResolution | None = None
    processing: VideoStaticProcessing | Literal["static", "agentic"] | None = None


Media = ImageContent | AudioContent | DocumentContent | VideoContent
Content = TextContent | Media


class Status(Wire, kw_only=True):
    """google.rpc.Status: how a step ended when it did not end well. `code` is gRPC's number (13 is internal)."""

    code: int | None = None
    message: str | None = None
    details: list[JsonObject] | None = None


class Error(Wire, kw_only=True):
    """Why an interaction failed; `code` is one of the API's words."""

    code: str | None = None
    message: str | None = None


class ModalityTokens(Wire, kw_only=True):
    modality: ResponseModality | None = None
    tokens: int | None = None


class GroundingToolCount(Wire, kw_only=True):
    type: Literal["google_search", "google_maps", "retrieval"] | None = None
    count: int | None = None


class Usage(Wire, kw_only=True):
    """Counts of tokens: total is input + output + thought + tool use; cached ones are part of the input (recorded)."""

    total_tokens: int | None = None
    total_input_tokens: int | None = None
    input_tokens_by_modality: list[ModalityTokens] | None = None
    total_cached_tokens: int | None = None
    cached_tokens_by_modality: list[ModalityTokens] | None = None
    total_output_tokens: int | None = None
    output_tokens_by_modality: list[ModalityTokens] | None = None
    total_tool_use_tokens: int | None = None
    tool_use_tokens_by_modality: list[ModalityTokens] | None = None
    total_thought_tokens: int | None = None
    grounding_tool_count: list[GroundingToolCount] | None = None
    initial_input_tokens: int | None = None


Label = Annotated[str, Meta(max_length=63)]
Labels = dict[Label, Label]
