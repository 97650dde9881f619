"""The command line: starts the server, and is otherwise a client of the public API like any other."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec
import uvicorn
import uvloop

from antiphon import __version__, app, logs, settings, weights
from antiphon.settings import PORT, Settings, SettingsError

if TYPE_CHECKING:
    import aiohttp  # the commands that need it import it themselves: the server need not wait for it

_VARIABLES = ("database", "nats", "audit", "media", "admin_key")  # also of the environment; the last one only
READY = "Antiphon is listening on "


class CommandError(Exception):
    """A command that could not be carried out; the message is for whoever typed it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Carry out one command; the exit status is 1 where it could not be."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (CommandError, SettingsError, weights.WeightsError) as error:
        print(f"antiphon: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="antiphon", description="The Gemini Interactions API on your own models.")
    parser.add_argument("--version", action="version", version=f"antiphon {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    ask = _add(commands, "ask", _ask, "ask a running server, and print the answer as it comes")
    ask.add_argument("prompt", help="what to ask; - reads standard input")
    ask.add_argument("--model", default="gemini-3-flash-preview", help="the model's name (default: %(default)s)")
    ask.add_argument("--previous", metavar="ID", help="go on with this interaction")
    ask.add_argument("--system", metavar="TEXT", help="a system instruction")
    _add_research(commands)
    models = _add(commands, "models", _models, "list, fetch or remove weights")
    models.add_argument("action", choices=("list", "pull", "rm"))
    models.add_argument("name", nargs="?", help="a known name, or hf:owner/repository/file.gguf")
    export = _add(commands, "export", _export, "write a conversation as JSON lines")
    export.add_argument("id", help="the last interaction of the conversation")
    bring = _add(commands, "import", _import, "read such lines back")
    bring.add_argument("file", type=Path)
    _add_index(commands)
    _add_keys(commands)
    _add_backup(commands)
    _add(commands, "demo", _demo, "start a server with the starter model and ask it through google-genai")
    return parser


def _add(commands: Any, name: str, command: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    if name not in ("models", "demo", "serve", "index", "keys", "backup"):
        url = os.environ.get("ANTIPHON_URL") or f"http://127.0.0.1:{PORT}"
        parser.add_argument("--url", default=url, help="the server (default: $ANTIPHON_URL or %(default)s)")
        parser.add_argument("--key", default=os.environ.get("ANTIPHON_API_KEY", "none"), help="its API key")
    return parser


# ---------------------------------------------------------------------------------------------------- serve


def _add_serve(commands: Any) -> None:
    serve = _add(commands, "serve", _serve, "start the server")
    serve.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with the same settings and more")
    serve.add_argument("--host", help="the address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help=f"the port (default: {PORT}; 0 takes a free one)")
    serve.add_argument("--data", type=Path, help="where conversations are kept (default: your data directory)")
    serve.add_argument("--database", metavar="URL", help="a PostgreSQL for conversations; or ANTIPHON_DATABASE")
    serve.add_argument("--nats", metavar="URL", help="a NATS: one of several servers; or ANTIPHON_NATS")
    serve.add_argument("--role", choices=settings.ROLES, help="what one of several servers does (default: all)")
    serve.add_argument("--slots", type=int, help="submitted interactions that a worker runs at once (default: 32)")
    serve.add_argument("--grace", type=float, help="seconds that answers may still take at the end (default: 10)")
    serve.add_argument("--memory", action="store_true", help="keep nothing beyond the process")
    serve.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[NAME=]SPEC",
        help="weights, a server's URL#model, or scripted[:FILE]",
    )
    serve.add_argument(
        "--default", metavar="NAME", help="the model that answers to the API's names (default: the first)"
    )
    serve.add_argument("--alias", action="append", metavar="NAME=MODEL", help="one more name for a configured model")
    serve.add_argument("--tool", action="append", metavar="TYPE=SOURCE", help="a tool that the server runs")
    serve.add_argument("--media", metavar="PLACE", help="where media are kept: a folder, s3://…, postgres, memory")
    for part, what in settings.MEDIA_PARTS.items():
        serve.add_argument(f"--{part}", metavar="SOURCE", help=f"{what}; off for none (default: what is installed)")
    serve.add_argument(
        "--reachable", action="append", default=[], metavar="HOST", help="a private host that tools may fetch from"
    )
    serve.add_argument("--api-key", action="append", metavar="[PROJECT:]KEY", help="or ANTIPHON_API_KEYS, with commas")
    serve.add_argument(
        "--allow-origin", action="append", default=[], metavar="ORIGIN", help="pages that may read without a key"
    )
    serve.add_argument("--retention-days", type=float, help="how long interactions are kept (default: 55)")
    serve.add_argument("--silence", type=float, help="seconds a model may say nothing (default: 600)")
    serve.add_argument("--audit", metavar="FILE", help="note who did what, as JSON lines; - for standard output")
    serve.add_argument("--drain", type=float, help="seconds that /readyz says no before the server stops (default: 0)")
    serve.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    serve.add_argument("--log-format", default="text", choices=logs.FORMATS)
    serve.add_argument("--log-content", action="store_true", help="let questions stand in logs and traces")


def _settings(options: argparse.Namespace) -> Settings:
    fields: dict[str, Any] = settings.from_file(options.config) if options.config else {}
    given = {
        "host": options.host,
        "port": options.port,
        "data": options.data,
        "default": options.default,
        "silence": options.silence,
        **{name: getattr(options, name, None) or os.environ.get(f"ANTIPHON_{name.upper()}") for name in _VARIABLES},
        "role": options.role,
        "drain": options.drain,
        "log_content": options.log_content or None,
        "slots": options.slots,
        "grace": options.grace,
        "retention": None if options.retention_days is None else options.retention_days * 86400,
        "models": tuple(map(settings.parse_model, options.model)),
        "origins": tuple(options.allow_origin),
        "reachable": tuple(options.reachable),
    }
    fields |= {name: value for name, value in given.items() if value not in (None, ())}
    fields["aliases"] = fields.get("aliases", {}) | _pairs(options.alias)
    fields |= _sources(options, fields)
    keys = [*(options.api_key or ()), *filter(None, os.environ.get("ANTIPHON_API_KEYS", "").split(","))]
    fields["keys"] = settings.keys_of(keys)
    if not fields.get("models"):
        fields["models"] = (settings.STARTER_MODEL,)
    fields["data"] = None if options.memory else fields.get("data") or settings.data_directory()
    return Settings(**fields)


def _sources(options: argparse.Namespace, fields: dict[str, Any]) -> dict[str, Any]:
    """Tools, and what hears, speaks and draws: the command line's beside the file's."""
    chosen = {
        "tools": _pairs(options.tool),
        "media_parts": {name: getattr(options, name) for name in settings.MEDIA_PARTS},
    }
    found = {}
    for field, sources in chosen.items():
        given = {name: settings.ToolSetting(source) for name, source in sources.items() if source}
        found[field] = fields.get(field, {}) | given
    return found


def _pairs(texts: Sequence[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or ():
        name, separator, value = text.partition("=")
        if not separator:
            raise SettingsError(f"'{text}' is not NAME=VALUE.")
        pairs[name] = value
    return pairs


def _serve(options: argparse.Namespace) -> None:
    chosen = _settings(options)
    chosen.check()
    logs.configure(options.log_level, options.log_format)
    for told in uvloop.run(_listen(chosen)):
        signal.raise_signal(told)  # it ends as it was told to, now that everything is closed


async def _listen(chosen: Settings) -> list[int]:
    """Serve. Which signals have ended it."""
    try:
        listener = _socket(chosen)
    except OSError as error:
        raise SettingsError(f"Cannot listen on {chosen.host}:{chosen.port}: {error.strerror}.") from error
    bar = weights.Bar()
    async with app.running(chosen, bar) as application:
        bar.close()
        config = uvicorn.Config(
            application,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=math.ceil(chosen.grace),
        )
        # What is there now stays: the collector need not look at it again, nor so often at what comes and goes.
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        host, port = listener.getsockname()[:2]
        names = ", ".join(model.name for model in chosen.models)
        ready = f"{READY}http://{f'[{host}]' if ':' in host else host}:{port} (models: {names})"
        server = _Server(config, application, chosen.drain, ready)
        await server.serve(sockets=[listener])
    return server.told


class _Server(uvicorn.Server):
    """One that, told to stop, first gives away what others can go on with: their streams end, and need not be waited for."""

    def __init__(self, config: uvicorn.Config, application: app.Application, seconds: float, ready: str) -> None:
        super().__init__(config)
        self._application = application
        self._seconds = seconds
        self._ready = ready
        self.told: list[int] = []
        self._loop = asyncio.get_running_loop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but that it does not raise them again here: the process would end with everything still open."""
        with super().capture_signals():
            try:
                yield
            finally:
                self.told = self._captured_signals
                self._captured_signals = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and then say so: who reads the line may tell it to stop, and is heard."""
        await super().startup(sockets)
        print(self._ready, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Say that it stops, to whoever asks before sending work; and stop in a while, or told again, at once."""
        again = self._application.health.draining
        self._application.health.drain()
        if again or not self._seconds:
            return super().handle_exit(sig, frame)
        stop = super().handle_exit
        self._loop.call_soon_threadsafe(self._loop.call_later, self._seconds, stop, sig, frame)
        return None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, give away, and work off the rest."""
        for server in self.servers:
            server.close()
        await self._application.drain()
        await super().shutdown(sockets)


def _socket(chosen: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
    return socket.create_server((chosen.host, chosen.port), family=family, backlog=2048)


def _add_index(commands: Any) -> None:
    index = _add(commands, "index", _index, "the pages that google_search finds with no network")
    index.add_argument("action", choices=("add", "list", "refresh", "remove"))
    index.add_argument("place", nargs="?", metavar="PATH|URL", help="a folder, a file or a site")
    index.add_argument("--url", default="", help="the address that a folder's files are cited by")
    index.add_argument("--pages", type=int, default=500, help="at most so many pages of a site (default: %(default)s)")
    index.add_argument("--data", type=Path, help="the server's data directory (default: your data directory)")


def _index(options: argparse.Namespace) -> None:
    # Loaded when it is wanted: what it needs takes a while.
    sys.exit(app.load({}, "commands", "antiphon.cli_index:run")(options))


def _add_keys(commands: Any) -> None:
    keys = _add(commands, "keys", _keys, "API keys that are kept in the store")
    keys.add_argument("action", choices=("create", "list", "revoke"))
    keys.add_argument("name_or_id", nargs="?", metavar="PROJECT|ID", help="a project, or the id of the key to revoke")
    keys.add_argument("--name", default="", metavar="TEXT", help="what the key is for")
    for name in ("requests-per-minute", "tokens-per-minute", "tokens-per-day", "concurrent-runs"):
        keys.add_argument(f"--{name}", type=int, metavar="N", help=f"at most N {name.replace('-', ' ')}")
    keys.add_argument("--data", type=Path, help="the server's data directory (default: your data directory)")
    keys.add_argument("--database", metavar="URL", help="the server's PostgreSQL; or ANTIPHON_DATABASE")
    keys.add_argument("--audit", metavar="FILE", help="note it there; or ANTIPHON_AUDIT")


def _keys(options: argparse.Namespace) -> None:
    sys.exit(app.load({}, "commands", "antiphon.cli_keys:run")(options))


def _add_backup(commands: Any) -> None:
    backup = _add(commands, "backup", _backup, "copy a data directory, while a server uses it")
    backup.add_argument("to", type=Path, metavar="DIR", help="where to; it must not be there yet")
    backup.add_argument("--data", type=Path, help="the server's data directory (default: your data directory)")


def _backup(options: argparse.Namespace) -> None:
    sys.exit(app.load({}, "commands", "antiphon.cli_backup:run")(options))


# ---------------------------------------------------------------------------------------------------- a client


def _ask(options: argparse.Namespace) -> None:
    asyncio.run(_print_answer(options))


async def _print_answer(options: argparse.Namespace) -> None:
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    body = {"model": options.model, "input": prompt, "stream": True}
    if options.previous:
        body["previous_interaction_id"] = options.previous
    if options.system:
        body["system_instruction"] = options.system
    last: dict[str, Any] = {}
    async for event in _events(options, body):
        if event.get("delta", {}).get("type") == "text":
            print(event["delta"]["text"], end="", flush=True)
        last = event.get("interaction", last)
    print()
    if last.get("status") == "failed":
        raise CommandError(f"The interaction failed: {last.get('error', {}).get('message')}")
    print(f"{last.get('status')} {last.get('id')}", file=sys.stderr)


async def _events(options: argparse.Namespace, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    async with _session(options) as session, session.post("/v1beta/interactions", json=body) as response:
        await _check(response)
        async for line in response.content:
            if line.startswith(b"data: {"):
                yield msgspec.json.decode(line[6:])


def _session(options: argparse.Namespace) -> aiohttp.ClientSession:
    import aiohttp

    return aiohttp.ClientSession(
        options.url,
        headers={"x-goog-api-key": options.key},
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=2**24,
        middlewares=[_reachable],
    )


async def _reachable(request: aiohttp.ClientRequest, handler: Any) -> Any:
    import aiohttp

    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        where = request.url.origin()
        raise CommandError(f"No server at {where}. Start one with: antiphon serve") from None


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        text = await response.text()
        raise CommandError(f"{response.status}: {text}")


def _add_research(commands: Any) -> None:
    research = _add(commands, "research", _research, "have a question researched, and print the report as Markdown")
    research.add_argument("question", nargs="?", help="what to find out; - reads standard input")
    research.add_argument("--max", action="store_true", help="exhaustive: up to an hour, and several times the tokens")
    research.add_argument("--plan", action="store_true", help="show the plan first, to be changed or approved")
    research.add_argument("--html", type=Path, metavar="FILE", help="write the report as a page of HTML, too")
    research.add_argument("--previous", metavar="ID", help="go on with this interaction")
    research.add_argument("--follow", metavar="ID", help="no new question: go on watching this one, or show its report")


def _research(options: argparse.Namespace) -> None:
    sys.exit(app.load({}, "commands", "antiphon.cli_research:run")(options))


def _export(options: argparse.Namespace) -> None:
    async def fetch() -> bytes:
        async with _session(options) as session, session.get(f"/v1beta/interactions/{options.id}/export") as response:
            await _check(response)
            return await response.read()

    sys.stdout.buffer.write(asyncio.run(fetch()))


def _import(options: argparse.Namespace) -> None:
    async def send() -> str:
        data = options.file.read_bytes()
        async with _session(options) as session, session.post("/v1beta/interactions:import", data=data) as response:
            await _check(response)
            return await response.text()

    print(asyncio.run(send()))


# ---------------------------------------------------------------------------------------------------- weights


def _models(options: argparse.Namespace) -> None:
    if options.action == "list":
        here = {item.name: item for item in weights.installed()}
        listed: dict[str, weights.Weights | weights.Folder] = {**weights.KNOWN, **weights.FOLDERS}
        for name, known in listed.items():
            print(f"{name:24} {'here' if name in here else 'not fetched':12} {known.title}")
        for name in here.keys() - listed.keys():
            print(f"{name:24} {'here':12} {here[name].path}")
        return
    if options.name is None:
        raise CommandError(f"Which model? antiphon models {options.action} NAME")
    if options.action == "pull":
        bar = weights.Bar()
        path = weights.fetch(options.name, bar)
        bar.close()
        print(path)
    else:
        print(f"freed {weights.remove(options.name) / 1e6:.0f} MB")


# ---------------------------------------------------------------------------------------------------- demo


def _demo(options: argparse.Namespace) -> None:
    """The main job in one command: a server, the official client, an answer."""
    try:
        from google import genai  # the client is a stranger to this package: only the demonstration needs it
    except ImportError:
        raise CommandError("The demonstration needs the official client: pip install google-genai") from None
    bar = weights.Bar()
    weights.fetch(weights.STARTER, bar)
    bar.close()
    command = [sys.executable, "-m", "antiphon", "serve", "--port", "0", "--memory", "--log-level", "warning"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line.startswith(READY):
            raise CommandError("The server did not start.")
        url = line.removeprefix(READY).split()[0]
        print(f"{line}> Tell me a short joke about programming.\n")
        client = genai.Client(api_key="any", http_options={"base_url": url})
        stream = client.interactions.create(
            model="gemini-3-flash-preview", input="Tell me a short joke about programming.", stream=True
        )
        for event in stream:
            if event.event_type == "step.delta" and event.delta.type == "text":
                print(event.delta.text, end="", flush=True)
            elif event.event_type == "interaction.completed":
                print(f"\n\n{event.interaction.status}: {event.interaction.usage.total_tokens} tokens")
    finally:
        server.terminate()
        server.wait(10)
