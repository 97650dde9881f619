"""The tools a request may declare, and how it may steer them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .base import JsonObject, Wire

FunctionName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_.:-]*$")]
ToolChoiceMode = Literal["auto", "any", "none", "validated"]
SearchType = Literal["web_search", "image_search", "enterprise_web_search"]
RetrievalType = Literal["vertex_ai_search", "rag_store", "exa_ai_search", "parallel_ai_search"]


class Function(Wire, kw_only=True, tag_field="type", tag="function"):
    """A function of the caller's; `parameters` is a JSON schema of an object."""

    name: FunctionName | None = None
    description: str | None = None
    parameters: JsonObject | None = None
    defer_loading: bool | None = None
    short_description: str | None = None


class CodeExecution(Wire, kw_only=True, tag_field="type", tag="code_execution"):
    pass


class UrlContext(Wire, kw_only=True, tag_field="type", tag="url_context"):
    pass


class GoogleSearch(Wire, kw_only=True, tag_field="type", tag="google_search"):
    search_types: list[SearchType] | None = None


class GoogleMaps(Wire, kw_only=True, tag_field="type", tag="google_maps"):
    enable_widget: bool | None = None
    latitude: float | None = None
    longitude: float | None = None


class FileSearch(Wire, kw_only=True, tag_field="type", tag="file_search"):
    file_search_store_names: list[str] | None = None
    metadata_filter: str | None = None
    top_k: int | None = None


class ComputerUse(Wire, kw_only=True, tag_field="type", tag="computer_use"):
    environment: Literal["browser", "mobile", "desktop"] | None = None
    excluded_predefined_functions: list[str] | None = None
    enable_prompt_injection_detection: bool | None = None
    disabled_safety_policies: (
        list[
            Literal[
                "financial_transactions", "sensitive_data_modification", "communication_tool", "account_creation",
                "data_modification", "user_consent_management", "legal_terms_and_agreements",
            ]
        ]
        | None
    ) = None  # fmt: skip


class AllowedTools(Wire, kw_only=True):
    mode: ToolChoiceMode | None = None
    tools: list[str] | None = None


class McpServer(Wire, kw_only=True, tag_field="type", tag="mcp_server"):
    """A remote MCP server. The documents give `allowed_tools` as names, the types as a list of `AllowedTools`."""

    name: str | None = None
    url: str | None = None
    headers: dict[str, str] | None = None
    allowed_tools: list[AllowedTools | str] | None = None


class ToolSearch(Wire, kw_only=True, tag_field="type", tag="tool_search"):
    execution: Literal["server", "client"] | None = None
    name: str | None = None
    description: str | None = None
    parameters: JsonObject | None = None


class ExaSearch(Wire, kw_only=True):
    api_key: str
    custom_config: JsonObject | None = None


class ParallelSearch(Wire, kw_only=True):
    api_key: str | None = None
    custom_config: JsonObject | None = None


class RagResource(Wire, kw_only=True):
    rag_corpus: str | None = None
    rag_file_ids: list[str] | None = None


class RagFilter(Wire, kw_only=True):
    metadata_filter: str | None = None
    vector_distance_threshold: float | None = None
    vector_similarity_threshold: float | None = None


class HybridSearch(Wire, kw_only=True):
    alpha: float | None = None


class RankService(Wire, kw_only=True):
    model_name: str | None = None


class Ranking(Wire, kw_only=True):
    model_name: str | None = None
    rank_service: RankService | None = None
    ranking_config: Literal["rank_service"] | None = None


class RagRetrieval(Wire, kw_only=True):
    filter: RagFilter | None = None
    hybrid_search: HybridSearch | None = None
    ranking: Ranking | None = None
    top_k: int | None = None


class RagStore(Wire, kw_only=True):
    rag_resources: list[RagResource] | None = None
    rag_retrieval_config: RagRetrieval | None = None
    similarity_top_k: int | None = None
    vector_distance_threshold: float | None = None


class VertexSearch(Wire, kw_only=True):
    datastores: list[str] | None = None
    engine: str | None = None


class Retrieval(Wire, kw_only=True, tag_field="type", tag="retrieval"):
    retrieval_types: list[RetrievalType] | None = None
    vertex_ai_search_config: VertexSearch | None = None
    rag_store_config: RagStore | None = None
    exa_ai_search_config: ExaSearch | None = None
    parallel_ai_search_config: ParallelSearch | None = None


Tool = (
    Function
    | CodeExecution
    | UrlContext
    | GoogleSearch
    | GoogleMaps
    | FileSearch
    | ComputerUse
    | McpServer
    | ToolSearch
    | Retrieval
)


class ToolChoiceConfig(Wire, kw_only=True):
    allowed_tools: AllowedTools | None = None
