"""The types of the Files and File Search Stores APIs. On the wire they are camelCase; 64-bit numbers are texts there."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from .base import JsonObject, Timestamp

DisplayName = Annotated[str, Meta(max_length=512)]
Number64 = int | str  # clients send either, this server texts


class Camel(Struct, omit_defaults=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A type that a caller may send: a field it does not have is refused, not ignored."""


class FileStatus(Camel):
    """google.rpc.Status: why something failed. `code` is gRPC's number (3 is an invalid argument, 13 internal)."""

    code: int | None = None
    message: str | None = None
    details: list[JsonObject] | None = None


class File(Camel):
    """A file of a project; a caller sends `name`, `display_name` and `mime_type`, the rest comes back."""

    name: str | None = None
    display_name: DisplayName | None = None
    mime_type: str | None = None
    size_bytes: Number64 | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None
    expiration_time: Timestamp | None = None
    sha256_hash: str | None = None  # the digest in base64
    uri: str | None = None
    download_uri: str | None = None
    state: Literal["PROCESSING", "ACTIVE", "FAILED"] | None = None
    source: Literal["UPLOADED", "GENERATED"] | None = None
    error: FileStatus | None = None


class CreateFile(Camel):
    """What stands beside the bytes of an uploaded file."""

    file: File | None = None


class Files(Camel):
    """A page of files, the newest first."""

    files: list[File] | None = None
    next_page_token: str | None = None


class StringList(Camel):
    """Several texts under one key."""

    values: list[str]


class CustomMetadata(Camel):
    """One key of a document's metadata, with one of the three kinds of value."""

    key: Annotated[str, Meta(min_length=1, max_length=256)]
    string_value: str | None = None
    numeric_value: float | None = None
    string_list_value: StringList | None = None


class WhiteSpaceConfig(Camel):
    """How large the pieces of a document are, in tokens that white space separates."""

    max_tokens_per_chunk: Annotated[int, Meta(ge=1, le=512)] | None = None
    max_overlap_tokens: Annotated[int, Meta(ge=0, le=511)] | None = None


class ChunkingConfig(Camel):
    """How a document is cut; there is one way."""

    white_space_config: WhiteSpaceConfig | None = None


class FileSearchStore(Camel):
    """A collection of documents that can be searched."""

    name: str | None = None
    display_name: DisplayName | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None
    active_documents_count: Number64 | None = None
    pending_documents_count: Number64 | None = None
    failed_documents_count: Number64 | None = None
    size_bytes: Number64 | None = None
    embedding_model: str | None = None


class CreateFileSearchStore(Camel):
    """The body of POST /fileSearchStores."""

    display_name: DisplayName | None = None
    embedding_model: str | None = None


class FileSearchStores(Camel):
    """A page of stores, the oldest first."""

    file_search_stores: list[FileSearchStore] | None = None
    next_page_token: str | None = None


class UploadToFileSearchStore(Camel):
    """What stands beside the bytes of a document."""

    display_name: DisplayName | None = None
    mime_type: str | None = None
    custom_metadata: Annotated[list[CustomMetadata], Meta(max_length=20)] | None = None
    chunking_config: ChunkingConfig | None = None


class ImportFile(Camel):
    """The body of POST …:importFile: a file of the Files API becomes a document."""

    file_name: str
    custom_metadata: Annotated[list[CustomMetadata], Meta(max_length=20)] | None = None
    chunking_config: ChunkingConfig | None = None


class StoredDocument(Camel):
    """A document of a store. `error`, why it failed, is ours."""

    name: str | None = None
    display_name: str | None = None
    state: Literal["STATE_PENDING", "STATE_ACTIVE", "STATE_FAILED"] | None = None
    size_bytes: Number64 | None = None
    mime_type: str | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None
    custom_metadata: list[CustomMetadata] | None = None
    error: FileStatus | None = None


class Documents(Camel):
    """A page of documents, the oldest first."""

    documents: list[StoredDocument] | None = None
    next_page_token: str | None = None


class OperationResponse(Camel):
    """Which document an operation makes."""

    parent: str | None = None
    document_name: str | None = None


class Operation(Camel):
    """google.longrunning.Operation: `done` with an error, or done with a document that can be searched."""

    name: str
    done: bool | None = None
    error: FileStatus | None = None
    response: OperationResponse | None = None
