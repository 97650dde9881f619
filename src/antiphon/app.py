"""The one file that knows everyone: settings become wired objects.

A back-end, a tool or a store is a row in a table here, short name to import path; it is imported when it is chosen.
Strangers register theirs as entry points (`antiphon.models`, `antiphon.tools`), or name an import path.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any

import msgspec
from starlette.types import ASGIApp

from antiphon import weights, wire
from antiphon.bus.local import LocalBus
from antiphon.catalog import Catalog, Served
from antiphon.engine import Engine, Limits
from antiphon.ports import Model, Store, Tool
from antiphon.server.edge import Edge, digest
from antiphon.server.routes import application
from antiphon.settings import ModelSetting, Settings, SettingsError

logger = logging.getLogger("antiphon")

MODELS = {
    "scripted": "antiphon.models.scripted:Scripted",
    "openai_chat": "antiphon.models.openai_chat:OpenAIChat",
    "llamacpp": "antiphon.models.llamacpp:LlamaCpp",
}
TOOLS = {
    "scripted": "antiphon.tools.scripted:ScriptedTool",
}
STORES = {
    "memory": "antiphon.stores.memory:MemoryStore",
    "sqlite": "antiphon.stores.sqlite:SqliteStore",
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


def _tool(type: str, source: str) -> Tool:
    """`SCRIPT.toml` plays the tool from a script's [tools.TYPE]; anything else is the name of a tool that is made so."""
    with _named(f"The tool '{type}'"):
        if source.endswith(".toml"):
            script = load({}, "tools", "antiphon.tools.scripted:ToolScript")
            table = tomllib.loads(Path(source).read_text(encoding="utf-8")).get("tools", {}).get(type, {})
            tool: Tool = load(TOOLS, "tools", "scripted")(type, msgspec.convert(table, script))
        else:
            tool = load(TOOLS, "tools", source)(*([type] if source == "scripted" else []))
        if tool.type != type:
            raise ValueError(f"{source} is the tool '{tool.type}'")
        return tool


def _store(data: Path | None) -> Store:
    name, place = ("memory", ()) if data is None else ("sqlite", (data / "antiphon.db",))
    store: Store = load(STORES, "stores", name)(*place)
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
        store = _store(settings.data)
        stack.push_async_callback(store.aclose)
        served = {name: Served(context_length=getattr(model, "context", None)) for name, model in models.items()}
        with _named("aliases"):
            catalog = Catalog(served, settings.default or next(iter(models)), settings.aliases)
        engine = Engine(
            store=store,
            bus=LocalBus(),
            models=models,
            resolve=catalog.resolve,
            key=await store.secret(),
            tools={type: _tool(type, source) for type, source in settings.tools.items()},
            limits=Limits(silence=settings.silence, retention=settings.retention),
        )
        thoughts.read = engine.thought_text
        starting = asyncio.create_task(_warm(models))
        stack.push_async_callback(_stop, starting)
        stack.push_async_callback(engine.aclose)
        recovered = await engine.recover()
        if recovered:
            logger.info("going on with %d interactions that the last stop cut short", recovered)
        sweeping = asyncio.create_task(_sweep(engine, settings))
        stack.push_async_callback(_stop, sweeping)
        keys = {digest(key): project for key, project in settings.keys.items()}
        yield Edge(application(engine, catalog, largest_body=settings.largest_body), keys, settings.origins)


async def _warm(models: dict[str, Model]) -> None:
    """Start what takes a while to be ready, before it is first asked; a failure is told again to whoever asks."""
    for name, model in models.items():
        if start := getattr(model, "start", None):
            try:
                await start()
            except Exception:
                logger.exception("the model %s did not start", name)


async def _sweep(engine: Engine, settings: Settings) -> None:
    while True:
        try:
            touched = await engine.sweep(settings.compact_after)
        except Exception:  # retention goes on: the next round may have more luck
            logger.exception("the sweep failed")
        else:
            if touched:
                logger.info("swept %d interactions", touched)
        await asyncio.sleep(settings.sweep_every)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
