"""What tools are made from, and the tools: each made when it is first wanted, since what it needs takes a while to load."""

from __future__ import annotations

import asyncio
import re
import tomllib
from contextlib import AsyncExitStack
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec

from antiphon import wire
from antiphon.app.tables import NEEDS, SANDBOX, SOURCES, TOOLS, UNSET, load, named
from antiphon.blobs import Depot
from antiphon.library import Library
from antiphon.ports import Document, Fetched, Session, Tool, Unreadable, Use
from antiphon.settings import Settings, SettingsError, ToolSetting


class Unread:
    """Stands for the reader of documents where it is not installed: files can be kept, and not indexed."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def __call__(self, body: bytes, mime_type: str | None = None, name: str | None = None) -> Document:
        """Read nothing."""
        raise Unreadable(self._why)


class Parts:
    """What tools are made from, each made when the first tool wants it."""

    def __init__(self, settings: Settings, stack: AsyncExitStack, blobs: Depot) -> None:
        self._blobs = blobs
        self._settings = settings
        self._stack = stack  # of their own: they are closed after what uses them, however late they are made
        self.making = asyncio.Lock()

    @cached_property
    def guard(self) -> Any:
        """Which addresses may be reached."""
        return load({}, "parts", "antiphon.addresses:Guard")(self._settings.reachable)

    @cached_property
    def resolve(self) -> Any:
        """A host's addresses, those that may not be reached refused."""
        return self.guard.resolve

    @cached_property
    def fetch(self) -> Any:
        """The guarded way to the web."""
        return load({}, "parts", "antiphon.fetch:Fetcher")(self._settings.reachable)

    @cached_property
    def read(self) -> Any:
        """What makes text of documents."""
        return self.kept(load({}, "parts", "antiphon.media.reader:Reader")())

    @cached_property
    def look(self) -> Any:
        """What makes pictures fit for a model."""
        return self.kept(load({}, "parts", "antiphon.media.pictures:Pictures")())

    @cached_property
    def sandbox(self) -> Any:
        """Where untrusted code runs; its settings stand beside those of its tool."""
        setting = self._settings.tools.get("code_execution", ToolSetting())
        own = {name: value for name, value in setting.options.items() if name in SANDBOX}
        limits = load({}, "parts", "antiphon.sandbox.jails:Limits")
        sizes = {name: own.pop(name) for name in ("memory", "disk") if name in own}
        return self.kept(load({}, "parts", "antiphon.sandbox.boxes:Boxes")(**own, limits=limits(**sizes)))

    def provider(self, source: str, options: dict[str, Any]) -> Any:
        """Where google_search looks; takes its own options out of the tool's."""
        own: dict[str, Any] = {name: options.pop(name) for name in ("url", "proxy", "path") if name in options}
        if "api_key" in options:
            own["key"] = options.pop("api_key")
        if source == "local" and self._settings.data is not None:
            own.setdefault("path", self._settings.data / "search.db")
        return load({}, "parts", "antiphon.search.providers:make")(source, **own)

    @cached_property
    def library(self) -> Any:
        """Files and file search stores."""
        try:
            read = self.read
        except ImportError as error:
            read = Unread(str(error))
        embedder = load({}, "parts", "antiphon.index.embedders:embedder")(self._settings.embedder)
        return self.kept(
            Library(self._settings.data, read, embedder=embedder, blobs=self._blobs, fetch=self._fetch_lazily)
        )

    async def _fetch_lazily(self, url: str, *, largest: int = 34 * 10**6, seconds: float = 20.0) -> Fetched:
        """The guarded way to the web, made with its first use."""
        got: Fetched = await self.fetch(url, largest=largest, seconds=seconds)
        return got

    async def files(self, project: str, uri: str) -> tuple[str, bytes]:
        """Name and content of an uploaded file, by its URI."""
        name, _, content = await self.library.content(project, uri)
        return name, content

    def kept(self, part: Any) -> Any:
        """Have a part closed at the end."""
        self._stack.push_async_callback(part.aclose)
        return part


def tools_of(settings: Settings, parts: Parts) -> dict[str, Tool]:
    """Every tool there is. One whose parts are missing is there to say so, unless it was asked for by name."""
    chosen = dict(settings.tools)
    if settings.data is not None and (settings.data / "search.db").exists():
        chosen.setdefault(
            "google_search", ToolSetting("local")
        )  # an index that somebody has filled is there to be used
    tools: dict[str, Tool] = {}
    for type in dict.fromkeys([*NEEDS, *UNSET, "tool_search", *chosen]):
        if type in chosen:
            if chosen[type].source != "off":
                tools[type] = _tool(type, chosen[type], parts)
        elif type in UNSET:
            tools[type] = _absent(type, UNSET[type])
        else:
            tools[type] = Untried(type, parts)
    return tools


class Untried:
    """A tool that nobody configured: it is made when it is first asked for, since what it needs takes a while to load.

    Where something is missing, it is an absent tool from then on.
    """

    def __init__(self, type: str, parts: Parts) -> None:
        self.type = type
        self._parts = parts
        self._made: Tool | None = None

    @property
    def rerunnable(self) -> bool:
        """As the tool says."""
        return self._tool().rerunnable

    async def check(self, declared: wire.Tool, project: str, path: str) -> None:
        """As the tool does."""
        await (await self._ready()).check(declared, project, path)

    async def open(self, use: Use) -> Session:
        """As the tool does."""
        return await (await self._ready()).open(use)

    async def aclose(self) -> None:
        """As the tool does, where there is one."""
        if self._made is not None:
            await self._made.aclose()

    async def _ready(self) -> Tool:
        if self._made is not None:
            return self._made
        async with self._parts.making:
            return await asyncio.to_thread(self._tool)

    def _tool(self) -> Tool:
        if self._made is None:
            try:
                self._made = _tool(self.type, ToolSetting(), self._parts)
            except SettingsError as error:
                self._made = _absent(self.type, str(error.__cause__ or error))
        return self._made


def _absent(type: str, why: str) -> Tool:
    tool: Tool = load(TOOLS, "tools", "absent")(type, why)
    return tool


def _tool(type: str, setting: ToolSetting, parts: Parts) -> Tool:
    """One tool: `SCRIPT.toml` plays it from a script's [tools.TYPE], `module:Class` is a stranger's, else it is ours."""
    source = setting.source
    options = {
        name: value for name, value in setting.options.items() if type != "code_execution" or name not in SANDBOX
    }
    with named(f"The tool '{type}'"):
        tool: Tool
        if source.endswith(".toml"):
            script = load({}, "tools", "antiphon.tools.scripted:ToolScript")
            table = tomllib.loads(Path(source).read_text(encoding="utf-8")).get("tools", {}).get(type, {})
            tool = load(TOOLS, "tools", "scripted")(type, msgspec.convert(table, script))
        elif source == "scripted":
            tool = load(TOOLS, "tools", "scripted")(type)
        elif _is_foreign(type, source):
            tool = load({}, "tools", source)(**options)
        else:
            given = {name: getattr(parts, name) for name in NEEDS.get(type, ())}
            if type == "google_search":
                given["provider"] = parts.provider(source, options)
                source = ""
            tool = load(TOOLS, "tools", type)(source, **given, **options)
        if tool.type != type:
            raise ValueError(f"{source} is the tool '{tool.type}'")
        return tool


def _is_foreign(type: str, source: str) -> bool:
    """Whether a source names a class of somebody else's: `package.module:Class`, or an entry point."""
    if type not in TOOLS or (source and entry_points(group="antiphon.tools", name=source)):
        return True
    ours = load(SOURCES, "tools", type) if type in SOURCES else {}
    is_path = re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", source) is not None
    return is_path and source.partition(":")[0] not in ours
