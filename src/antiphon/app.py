"""The one file that knows everyone: settings become wired objects.

A back-end, a tool or a store is a row in a table here, short name to import path; it is imported when it is chosen.
Strangers register theirs as entry points (`antiphon.models`, `antiphon.tools`), or name an import path.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import re
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any

import msgspec
from starlette.types import ASGIApp

from antiphon import weights, wire
from antiphon.bus.local import LocalBus
from antiphon.catalog import Catalog, Served
from antiphon.engine import Engine
from antiphon.library import Library
from antiphon.ports import Document, Model, Sandbox, Session, Store, Tool, Unreadable, Use
from antiphon.run import Limits
from antiphon.server.edge import Edge, digest
from antiphon.server.routes import application
from antiphon.settings import ModelSetting, Settings, SettingsError, ToolSetting

logger = logging.getLogger("antiphon")

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
    "mcp_server": ("resolve",),
    "url_context": ("fetch", "read"),
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
STORES = {
    "memory": "antiphon.stores.memory:MemoryStore",
    "sqlite": "antiphon.stores.sqlite:SqliteStore",
    "postgres": "antiphon.stores.postgres:PostgresStore",
}


def load(table: dict[str, str], group: str, name: str) -> Any:
    """What a short name, an entry point's name or an import path `package.module:thing` stands for."""
    path = table.get(name)
    if path is None:
        path = next((entry.value for entry in entry_points(group=f"antiphon.{group}", name=name)), name)
    module, separator, thing = path.partition(":")
    if not separator:
        raise SettingsError(f"'{name}' is none of the {group}: {', '.join(table)}.")
    return getattr(import_module(module), thing)


class Unread:
    """Stands for the reader of documents where it is not installed: files can be kept, and not indexed."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def __call__(self, body: bytes, mime_type: str | None = None, name: str | None = None) -> Document:
        """Read nothing."""
        raise Unreadable(self._why)


class Unsealed:
    """Gives back the thought that a step seals; the key comes with the store, after the models are made."""

    def __init__(self) -> None:
        self.read: Callable[[Any], str] = lambda step: ""

    def __call__(self, step: Any) -> str:
        return self.read(step)


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    """Whatever is wrong with a setting is told with its name."""
    try:
        yield
    except (OSError, ValueError, TypeError, ImportError, AttributeError, msgspec.MsgspecError, wire.ApiError) as error:
        raise SettingsError(f"{what}: {error}") from error


def _model(setting: ModelSetting, thoughts: Unsealed, progress: weights.Progress) -> Model:
    with _named(f"The model '{setting.name}'"):
        kind = load(MODELS, "models", setting.backend)
        model: Model
        if setting.backend == "scripted":
            model = kind(_script(setting.source), **setting.options)
        elif setting.backend == "openai_chat":
            model = kind(setting.source, thought_text=thoughts, **setting.options)
        elif setting.backend == "llamacpp":
            model = kind(weights.fetch(setting.source, progress), thought_text=thoughts, **setting.options)
        else:
            model = kind(*filter(None, [setting.source]), **setting.options)
        return model


def _script(path: str) -> Any:
    script = load({}, "models", "antiphon.models.scripted:Script")
    if not path:
        return script()
    table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    table.pop("tools", None)
    return msgspec.convert(table, script)


class Parts:
    """What tools are made from, each made when the first tool wants it."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
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
        return self._kept(load({}, "parts", "antiphon.media.reader:Reader")())

    @cached_property
    def sandbox(self) -> Any:
        """Where untrusted code runs; its settings stand beside those of its tool."""
        setting = self._settings.tools.get("code_execution", ToolSetting())
        own = {name: value for name, value in setting.options.items() if name in SANDBOX}
        limits = load({}, "parts", "antiphon.sandbox.jails:Limits")
        sizes = {name: own.pop(name) for name in ("memory", "disk") if name in own}
        return self._kept(load({}, "parts", "antiphon.sandbox.boxes:Boxes")(**own, limits=limits(**sizes)))

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
        return self._kept(Library(self._settings.data, read, embedder=embedder))

    async def files(self, project: str, uri: str) -> tuple[str, bytes]:
        """Name and content of an uploaded file, by its URI."""
        name, _, content = await self.library.content(project, uri)
        return name, content

    def _kept(self, part: Any) -> Any:
        self._stack.push_async_callback(part.aclose)
        return part


def _tools(settings: Settings, parts: Parts) -> dict[str, Tool]:
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
    with _named(f"The tool '{type}'"):
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


def _store(settings: Settings) -> Store:
    store: Store
    if settings.database is not None:
        with _named("The database"):
            store = load(STORES, "stores", "postgres")(settings.database)
    elif settings.data is None:
        store = load(STORES, "stores", "memory")()
    else:
        store = load(STORES, "stores", "sqlite")(settings.data / "antiphon.db")
    return store


def _alone(data: Path) -> IO[str]:
    """One server to a data directory: two would run the same interactions. Raises SettingsError."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (data / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise SettingsError(f"Another server is using {data}.") from None
    return lock


@asynccontextmanager
async def running(settings: Settings, progress: weights.Progress = weights.silent) -> AsyncIterator[ASGIApp]:
    """The application, from its first request to its last; unfinished runs go on before the first."""
    settings.check()
    async with AsyncExitStack() as stack:
        if settings.data is not None:
            stack.enter_context(await asyncio.to_thread(_alone, settings.data))
        thoughts = Unsealed()
        models: dict[str, Model] = {}
        for setting in settings.models:
            models[setting.name] = await asyncio.to_thread(_model, setting, thoughts, progress)
            stack.push_async_callback(models[setting.name].aclose)
        store = _store(settings)
        stack.push_async_callback(store.aclose)
        with _named("The database"):
            key = await store.secret()
            await store.alone()
        served = {name: Served(context_length=getattr(model, "context", None)) for name, model in models.items()}
        with _named("aliases"):
            catalog = Catalog(served, settings.default or next(iter(models)), settings.aliases)
        parts = Parts(settings, await stack.enter_async_context(AsyncExitStack()))
        with _named("The embedder"):
            library: Library = parts.library
        tools = _tools(settings, parts)
        for tool in tools.values():
            stack.push_async_callback(tool.aclose)
        engine = Engine(
            store=store,
            bus=LocalBus(),
            models=models,
            resolve=catalog.resolve,
            key=key,
            tools=tools,
            limits=Limits(silence=settings.silence, retention=settings.retention),
        )
        thoughts.read = engine.thought_text
        starting = asyncio.create_task(_warm(models))
        stack.push_async_callback(_stop, asyncio.create_task(_tell(parts, settings)))
        stack.push_async_callback(_stop, starting)
        stack.push_async_callback(engine.aclose)
        recovered = await engine.recover()
        if recovered:
            logger.info("going on with %d interactions that the last stop cut short", recovered)
        await library.start()
        sweeping = asyncio.create_task(_sweep(engine, library, settings))
        stack.push_async_callback(_stop, sweeping)
        keys = {digest(key): project for key, project in settings.keys.items()}
        yield Edge(
            application(engine, catalog, largest_body=settings.largest_body, library=library), keys, settings.origins
        )


async def _warm(models: dict[str, Model]) -> None:
    """Start what takes a while to be ready, before it is first asked; a failure is told again to whoever asks."""
    for name, model in models.items():
        if start := getattr(model, "start", None):
            try:
                await start()
            except Exception:
                logger.exception("the model %s did not start", name)


async def _tell(parts: Parts, settings: Settings) -> None:
    """Say at the start where code will run, or why it will not."""
    if settings.tools.get("code_execution", ToolSetting()).source:
        return  # switched off, or somebody else's
    try:
        async with parts.making:
            sandbox: Sandbox = await asyncio.to_thread(lambda: parts.sandbox)
        logger.info("code_execution: %s holds here", await sandbox.probe(warm=False))
    except (wire.Unavailable, ImportError, TypeError) as error:
        logger.warning("code_execution is not available: %s", error)


async def _sweep(engine: Engine, library: Library, settings: Settings) -> None:
    while True:
        try:
            touched = await engine.sweep(settings.compact_after) + await library.sweep(time.time())
        except Exception:  # retention goes on: the next round may have more luck
            logger.exception("the sweep failed")
        else:
            if touched:
                logger.info("swept %d interactions and files", touched)
        await asyncio.sleep(settings.sweep_every)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
