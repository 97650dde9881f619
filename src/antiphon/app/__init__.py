"""The part that knows everyone: settings become wired objects."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon import signature, weights, wire
from antiphon.app.media import MediaParts
from antiphon.app.parts import Parts, tools_of
from antiphon.app.tables import AGENTS, MODELS, STORES, TOOLS, load, named
from antiphon.audit import Audit
from antiphon.blobs import Depot, make
from antiphon.bus.local import LocalBus
from antiphon.catalog import Catalog, Served
from antiphon.dispatch import Dispatch
from antiphon.engine import Engine
from antiphon.keyring import Keyring
from antiphon.library import Library
from antiphon.limits import Allowance
from antiphon.ports import Bus, Model, Sandbox, Store, Watcher
from antiphon.repeats import Repeats
from antiphon.run import Limits
from antiphon.server import decisions, triggers, voices, webhooks
from antiphon.server.admin import Admin
from antiphon.server.edge import Edge, Noting
from antiphon.server.operations import Health, Operations, Part, administrators, any_model
from antiphon.server.routes import application
from antiphon.settings import ModelSetting, Settings, SettingsError, ToolSetting, is_loopback
from antiphon.stores.apart import Apart, Telling
from antiphon.triggers import EngineInteractions, Triggers
from antiphon.webhooks.deliveries import Deliveries

__all__ = ["MODELS", "STORES", "TOOLS", "Application", "load", "running"]

logger = logging.getLogger("antiphon")


class Unsealed:
    """Gives back the thought that a step seals; the key comes with the store, after the models are made."""

    def __init__(self) -> None:
        self.key = b""

    def __call__(self, step: Any) -> str:
        try:
            return signature.unseal(self.key, step.signature or "")
        except ValueError:
            return ""  # none, or not ours


def _model(setting: ModelSetting, thoughts: Unsealed, progress: weights.Progress) -> Model:
    with named(f"The model '{setting.name}'"):
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


async def _models(
    settings: Settings, thoughts: Unsealed, progress: weights.Progress, stack: AsyncExitStack
) -> dict[str, Model]:
    models: dict[str, Model] = {}
    for setting in settings.models:
        models[setting.name] = await asyncio.to_thread(_model, setting, thoughts, progress)
        stack.push_async_callback(models[setting.name].aclose)
    return models


def _script(path: str) -> Any:
    script = load({}, "models", "antiphon.models.scripted:Script")
    if not path:
        return script()
    table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    table.pop("tools", None)
    return msgspec.convert(table, script)


def _store(settings: Settings) -> Telling:
    store: Telling
    if settings.database is not None:
        with named("The database"):
            store = load(STORES, "stores", "postgres")(settings.database)
    elif settings.data is None:
        store = load(STORES, "stores", "memory")()
    else:
        store = load(STORES, "stores", "sqlite")(settings.data / "antiphon.db")
    return store


def _media(settings: Settings) -> Depot:
    """Where large bytes are kept: those of conversations, and uploaded files."""
    kept = str(settings.data / "blobs") if settings.data is not None else "memory"
    with named("--media"):
        return make(settings.media or ("postgres" if settings.database else kept), database=settings.database)


async def _bus(settings: Settings, store: Store, key: bytes) -> Bus:
    if settings.nats is None:
        return LocalBus()
    with named("NATS"):
        name = sha256(b"bus" + key).hexdigest()[:12]  # of one database: others may use the same NATS
        bus = load({}, "buses", "antiphon.bus.nats:NatsBus")(settings.nats, name=name, reached=store.reached)
        await bus.start()
    return bus  # type: ignore[no-any-return]


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


class Beside:
    """What stands beside the engine and is told what it does: webhooks, triggers, limits, metrics."""

    def __init__(
        self, settings: Settings, store: Store, key: bytes, parts: Parts, keyring: Keyring, operations: Operations
    ) -> None:
        self._operations = operations
        self._keyring = keyring
        self._admin_key = settings.admin_key
        self._deliveries = Deliveries(store.ledger, key, parts.guard.resolve)
        self._interactions = EngineInteractions(keyring.is_revoked)
        self._triggers = Triggers(store.ledger, self._interactions, retention=settings.retention)
        self._allowance = Allowance(store, keyring)
        # The last one refuses: nothing is left over from those before it that would hold a place.
        self.watchers: tuple[Watcher, ...] = (
            *operations.watchers,
            self._deliveries,
            self._triggers.scheduler,
            self._allowance,
        )

    def start(self, engine: Engine, stack: AsyncExitStack) -> None:
        """Begin; what runs of it ends before the engine does, save what must hear of the engine's last ends."""
        self._interactions.engine = engine
        stack.push_async_callback(self._deliveries.aclose)
        stack.push_async_callback(self._allowance.aclose)
        stack.push_async_callback(engine.aclose)
        self._deliveries.start(engine.archive.get)
        self._allowance.start(engine.is_live)
        self._scheduling = asyncio.create_task(self._triggers.scheduler.run())
        stack.push_async_callback(self.drain)

    async def drain(self) -> None:
        """Begin nothing more."""
        await _stop(self._scheduling)

    def table(self) -> list[Any]:
        """Their routes."""
        admin = administrators(self._admin_key, lambda: self._keyring.required)
        return [*webhooks.table(self._deliveries), *triggers.table(self._triggers), *self._operations.table(admin)]


@asynccontextmanager
async def running(settings: Settings, progress: weights.Progress = weights.silent) -> AsyncIterator[Application]:
    """The application, from its first request to its last; unfinished runs go on before the first."""
    settings.check()
    async with AsyncExitStack() as stack:
        if settings.data is not None:
            stack.enter_context(await asyncio.to_thread(_alone, settings.data))
        operations = Operations(content=settings.log_content)
        stack.callback(operations.close)
        thoughts = Unsealed()
        models = await _models(settings, thoughts, progress, stack)
        blobs = _media(settings)
        stack.push_async_callback(blobs.aclose)
        store = operations.counted(Apart(_store(settings), blobs))
        stack.push_async_callback(store.aclose)
        with named("The database"):
            key = thoughts.key = await store.secret()
            await store.alone(shared=settings.nats is not None)
        keyring = Keyring(store.ledger, settings.keys, closed=not is_loopback(settings.host))
        await _check_keys(keyring, settings)
        parts = Parts(settings, await stack.enter_async_context(AsyncExitStack()), blobs)
        with named("The embedder"):
            library: Library = parts.library
        await library.start()
        media = MediaParts(settings, parts.kept, progress)
        catalog = _catalog(settings, models, media)
        models = media.models(models)
        tools = tools_of(settings, parts)
        for tool in tools.values():
            stack.push_async_callback(tool.aclose)
        bus = await _bus(settings, store, key)
        stack.push_async_callback(bus.aclose)
        beside = Beside(settings, store, key, parts, keyring, operations)
        engine = Engine(
            store=store,
            bus=bus,
            models=models,
            resolve=catalog.resolve,
            key=key,
            tools=tools,
            agents={name: load(AGENTS, "agents", name)() for name in AGENTS},
            watchers=beside.watchers,
            processing=media.processing(library.obtain),
            keep=library.keep,
            limits=Limits(silence=settings.silence, retention=settings.retention),
        )
        stack.push_async_callback(_stop, asyncio.create_task(_tell(parts, settings)))
        stack.push_async_callback(_stop, asyncio.create_task(_warm(models)))
        beside.start(engine, stack)
        dispatch = Dispatch(engine, store, bus, slots=0 if settings.role == "api" else settings.slots)
        stack.push_async_callback(dispatch.aclose)
        _watch(operations, engine, settings.role == "worker", bus)
        await _go_on(engine, dispatch, bus)
        stack.push_async_callback(_stop, asyncio.create_task(_sweep(engine, library, settings)))
        deciding = decisions.table(models, catalog.resolve, beside.watchers, largest_body=settings.largest_body)
        more = [*beside.table(), *voices.table(media.speak), *deciding]
        repeats = Repeats(store.ledger)
        routes = application(engine, catalog, more, repeats, largest_body=settings.largest_body, library=library)
        edge = operations.around(_edge(routes, keyring, settings, stack))
        yield Application(edge, operations.health, partial(_drain, beside, dispatch, engine, bus))


class Application:
    """The server as an ASGI application. Before it stops, `drain` gives away what others can go on with."""

    def __init__(self, edge: ASGIApp, health: Health, drain: Callable[[], Awaitable[None]]) -> None:
        self._edge = edge
        self.health = health
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._edge(scope, receive, send)


async def _go_on(engine: Engine, dispatch: Dispatch, bus: Bus) -> None:
    """With what others submit, or with what the last stop cut short."""
    if bus.shared:
        dispatch.start()
    elif recovered := await engine.recover():
        logger.info("going on with %d interactions that the last stop cut short", recovered)


async def _drain(beside: Beside, dispatch: Dispatch, engine: Engine, bus: Bus) -> None:
    await beside.drain()
    await dispatch.aclose()
    await engine.hand_over()
    await bus.aclose()


def _watch(operations: Operations, engine: Engine, worker: bool, bus: Bus) -> None:
    looked_at = [Part("store", partial(engine.store.exists, "v1_0")), Part("models", partial(any_model, engine.models))]
    if bus.shared:
        looked_at.append(Part("bus", bus.look, needed=worker))
    operations.watch(looked_at, running=engine.running, queue=bus.depth if bus.shared else None)


def _catalog(settings: Settings, models: dict[str, Model], media: MediaParts) -> Catalog:
    served = {name: Served(context_length=getattr(model, "context", None)) for name, model in models.items()}
    with named("aliases"):
        return Catalog(served, settings.default or next(iter(models)), settings.aliases, AGENTS, media.others())


def _edge(routes: ASGIApp, keyring: Keyring, settings: Settings, stack: AsyncExitStack) -> ASGIApp:
    admin = Admin(keyring, settings.admin_key) if settings.admin_key is not None else None
    edge: ASGIApp = Edge(routes, keyring, settings.origins, admin=admin)
    if settings.audit is not None:
        with named("The audit log"):
            audit = Audit(settings.audit)
        stack.callback(audit.close)
        edge = Noting(edge, audit)
    return edge


async def _check_keys(keyring: Keyring, settings: Settings) -> None:
    """Whoever can be reached from elsewhere asks for keys, and so must have some, or be able to make some."""
    if await keyring.page(size=1):
        keyring.required = True  # known before the first request, whatever becomes of the store then
    elif not is_loopback(settings.host) and not settings.keys and settings.admin_key is None:
        raise SettingsError(
            f"{settings.host} can be reached from other machines, and there are no API keys. Make one with "
            "antiphon keys create, set ANTIPHON_API_KEYS (or --api-key), or listen on 127.0.0.1."
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
            touched += await engine.store.ledger.sweep(time.time()) + await Repeats(engine.store.ledger).sweep(
                time.time()
            )
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
