"""The tables: a back-end, a tool or a store is a row here, short name to import path; it is imported when it is chosen.

Strangers register theirs as entry points (`antiphon.models`, `antiphon.tools`), or name an import path.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import msgspec

from antiphon import wire
from antiphon.settings import SettingsError

MODELS = {
    "scripted": "antiphon.models.scripted:Scripted",
    "openai_chat": "antiphon.models.openai_chat:OpenAIChat",
    "llamacpp": "antiphon.models.llamacpp:LlamaCpp",
}
TOOLS = {
    "scripted": "antiphon.tools.scripted:ScriptedTool",
    "absent": "antiphon.tools.absent:AbsentTool",
    "code_execution": "antiphon.tools.code_execution:CodeExecution",
    "file_search": "antiphon.tools.file_search:FileSearch",
    "google_maps": "antiphon.tools.google_maps:GoogleMaps",
    "google_search": "antiphon.tools.google_search:GoogleSearch",
    "mcp_server": "antiphon.tools.mcp_server:McpServers",
    "tool_search": "antiphon.tools.tool_search:ToolSearch",
    "url_context": "antiphon.tools.url_context:UrlContext",
}
# What a tool is made from beside its own settings.
NEEDS = {
    "code_execution": ("sandbox", "files"),
    "file_search": ("library",),
    "google_search": ("fetch", "read"),
    "mcp_server": ("resolve", "look"),
    "url_context": ("fetch", "read", "look"),
}
SOURCES = {  # the names that a source of these may begin with
    "google_search": "antiphon.search.providers:PROVIDERS",
    "google_maps": "antiphon.maps.sources:SOURCES",
}
SANDBOX = frozenset({"jail", "spares", "most", "memory", "disk"})  # settings of code_execution that are the sandbox's
UNSET = {  # these have no source of their own: somebody must say where to look
    "google_search": "set where to search, for example with --tool google_search=local or ddgs.",
    "google_maps": "set where places are looked up, for example with --tool google_maps=nominatim.",
}
AGENTS = {
    "deep-research-preview-04-2026": "antiphon.agents.deep_research:fast",
    "deep-research-max-preview-04-2026": "antiphon.agents.deep_research:exhaustive",
    "deep-research-pro-preview-12-2025": "antiphon.agents.deep_research:fast",
}
STORES = {
    "memory": "antiphon.stores.memory:MemoryStore",
    "sqlite": "antiphon.stores.sqlite:SqliteStore",
    "postgres": "antiphon.stores.postgres:PostgresStore",
}


def load(table: dict[str, str], group: str, name: str) -> Any:
    """What a short name, an entry point's name or an import path `package.module:thing` stands for."""
    path = table.get(name, name)
    if ":" not in path:  # the entry points of every package that is installed take 20 ms to read
        path = next((entry.value for entry in entry_points(group=f"antiphon.{group}", name=name)), name)
    module, separator, thing = path.partition(":")
    if not separator:
        raise SettingsError(f"'{name}' is none of the {group}: {', '.join(table)}.")
    return getattr(import_module(module), thing)


@contextlib.contextmanager
def named(what: str) -> Iterator[None]:
    """Whatever is wrong with a setting is told with its name."""
    try:
        yield
    except (OSError, ValueError, TypeError, ImportError, AttributeError, msgspec.MsgspecError, wire.ApiError) as error:
        raise SettingsError(f"{what}: {error}") from error
