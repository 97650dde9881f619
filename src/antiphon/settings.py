"""What the operator decides, from the command line, the environment and a file; checked before anything starts.

A model is `[NAME=]SPEC`. SPEC is `scripted` or `scripted:script.toml`, the URL of an OpenAI-compatible server with the
model's name behind `#`, or weights: a path to a .gguf file, a known name, or `hf:owner/repository/file.gguf`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from antiphon.weights import STARTER

PORT = 8484
ROLES = ("all", "api", "worker")
MEDIA_PARTS = {
    "hearing": "what writes down speech: a folder of Whisper, or a server's URL",
    "speech": "what speaks: a folder of Piper voices, or a server's URL",
    "drawing": "what draws: an image server's URL",
}
_PLAIN: dict[str, Any] = {
    "host": str,
    "port": int,
    "silence": int | float,
    "largest_body": int,
    "default": str,
    "embedder": str,
    "role": str,
    "audit": str,
    "media": str,
    "log_content": bool,
    "drain": int | float,
    "slots": int,
    "grace": int | float,
}
_CONVERTED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "data": ("data", lambda path: Path(path).expanduser()),
    "retention_days": ("retention", lambda days: float(days) * 86400),
    "allow_origins": ("origins", tuple),
    "reachable": ("reachable", tuple),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class SettingsError(Exception):
    """A setting that cannot be; the message says which and what to do."""


@dataclass(frozen=True)
class ModelSetting:
    """One configured model: its short name, the back-end that runs it, and what that back-end is given."""

    name: str
    backend: str  # a row of `app.MODELS`, an entry point's name, or an import path
    source: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolSetting:
    """One configured tool: where it gets what it gives (each has its own forms), or `off`; and what else it is given."""

    source: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """All of it. Durations in seconds, sizes in bytes; `keys` are API keys in clear, by project.

    `grace` is how long answers that nobody could ask for again may still take when the server is told to stop.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    data: Path | None = None  # None keeps nothing beyond the process
    models: tuple[ModelSetting, ...] = ()
    default: str | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    tools: dict[str, ToolSetting] = field(default_factory=dict)
    reachable: tuple[str, ...] = ()  # private hosts and networks that tools may fetch from all the same
    embedder: str = "auto"
    media: str | None = None  # where media and uploaded files are kept: a folder, s3://…, postgres, memory
    media_parts: dict[str, ToolSetting] = field(default_factory=dict)  # what hears, speaks and draws, as tools are set
    database: str | None = None  # the URL of a PostgreSQL that keeps the interactions instead of a file in `data`
    nats: str | None = None  # the URL of a NATS: this server is one of several on the same database
    admin_key: str | None = None  # opens the routes that make and revoke keys, and no others
    log_content: bool = False  # let questions stand in logs and traces
    drain: float = 0.0  # how long /readyz says no before the server stops
    audit: str | None = None  # where it is noted who did what: a file, or `-`
    role: str = "all"  # of many servers: `api` answers, `worker` runs what was submitted, `all` does both
    slots: int = 32  # how much of what was submitted a worker runs at once
    grace: float = 10.0
    retention: float = 55 * 86400.0
    compact_after: float = 86400.0
    sweep_every: float = 600.0
    silence: float = 600.0
    largest_body: int = 100 * 2**20

    def check(self) -> None:
        """Refuse what would be unsafe or could not work. Raises SettingsError."""
        if self.admin_key is not None and len(self.admin_key) < 16:
            raise SettingsError("An admin key has at least 16 characters.")
        if self.admin_key is not None and self.admin_key in self.keys:
            raise SettingsError("The admin key is also an API key: whoever uses the API could make keys.")
        names = [model.name for model in self.models]
        if len(set(names)) != len(names):
            raise SettingsError(f"Two models have the same name: {', '.join(names)}.")
        if not 0 < self.retention < 1e10:
            raise SettingsError("Interactions must be kept for some time, and not for ever: --retention-days.")
        if not 0 < self.silence < 1e10:
            raise SettingsError("A model must be given some time: --silence.")
        self._check_sharing()
        if self.default is not None and self.default not in names:
            raise SettingsError(f"The default model '{self.default}' is not configured; there are: {', '.join(names)}.")

    def _check_sharing(self) -> None:
        if self.role not in ROLES:
            raise SettingsError(f"There is no role '{self.role}'; there are: {', '.join(ROLES)}.")
        if self.nats is not None and self.database is None:
            raise SettingsError("Several servers need one database: --nats goes with --database.")
        if self.nats is None and self.role != "all":
            raise SettingsError("Only one of several servers has a role: --role goes with --nats.")
        if not 1 <= self.slots <= 10_000:
            raise SettingsError("A worker runs at least one interaction at once, and at most 10,000: --slots.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def data_directory() -> Path:
    """Where conversations are kept when nothing is said."""
    home = os.environ.get("ANTIPHON_HOME")
    if home:
        return Path(home).expanduser() / "data"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "antiphon"


def parse_model(text: str, options: dict[str, Any] | None = None) -> ModelSetting:
    """One `[NAME=]SPEC`. Raises SettingsError."""
    name, separator, spec = text.partition("=")
    if not separator or not _NAME.fullmatch(name):
        name, spec = "", text
    if not spec:
        raise SettingsError(f"No model in '{text}'.")
    found = _model_at(spec, dict(options or {}))
    return replace(found, name=name) if name else found


def _model_at(spec: str, options: dict[str, Any]) -> ModelSetting:
    if spec.split(":")[0] == "scripted":
        return ModelSetting("scripted", "scripted", spec.partition(":")[2], options)
    if spec.startswith(("http://", "https://")):
        url, _, upstream = spec.partition("#")
        options.setdefault("model", upstream or None)
        return ModelSetting(_short(upstream or "upstream"), "openai_chat", url, options)
    return ModelSetting(_short(Path(spec).name.removesuffix(".gguf")), "llamacpp", spec, options)


def _short(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name.rpartition("/")[2]).strip("-.").lower() or "model"


def from_file(path: Path) -> dict[str, Any]:
    """The fields of `Settings` that a TOML file sets. Raises SettingsError."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    server, fields = given.pop("server", {}), {}
    for name, kind in _PLAIN.items():
        if name in server:
            fields[name] = server.pop(name)
            if not isinstance(fields[name], kind):
                raise SettingsError(f"{path}: server.{name} cannot be {fields[name]!r}.")
    for name, (field_name, convert) in _CONVERTED.items():
        if name in server:
            fields[field_name] = convert(server.pop(name))
    fields["aliases"] = given.pop("aliases", {})
    fields["tools"] = {type: _tool_of(f"tools.{type}", value) for type, value in given.pop("tools", {}).items()}
    fields["media_parts"] = {name: _tool_of(name, given.pop(name)) for name in MEDIA_PARTS if name in given}
    fields["models"] = tuple(_model_of(name, dict(table)) for name, table in given.pop("models", {}).items())
    unknown = [*given, *(f"server.{name}" for name in server)]
    if unknown:
        raise SettingsError(f"{path}: unknown settings: {', '.join(unknown)}.")
    return fields


def _model_of(name: str, table: dict[str, Any]) -> ModelSetting:
    source, backend = table.pop("source", ""), table.pop("backend", None)
    if not source and backend is None:
        raise SettingsError(f"models.{name} has no 'source'.")
    _take_key(f"models.{name}", table)
    if backend is not None:
        return ModelSetting(name, backend, source, table)
    return replace(_model_at(source, table), name=name)


def _tool_of(place: str, value: Any) -> ToolSetting:
    """`TYPE = "SOURCE"` or a table `[tools.TYPE]`, and the same for what hears, speaks and draws."""
    if isinstance(value, str):
        return ToolSetting(value)
    if not isinstance(value, dict):
        raise SettingsError(f"{place} is neither a text nor a table.")
    _take_key(place, value)
    return ToolSetting(str(value.pop("source", "")), value)


def _take_key(place: str, table: dict[str, Any]) -> None:
    """An API key is named by the variable that holds it, so that it stands in no file."""
    variable = table.pop("api_key_env", None)
    if variable is None:
        return
    if variable not in os.environ:
        raise SettingsError(f"{place}: the environment has no {variable}.")
    table["api_key"] = os.environ[variable]


def keys_of(texts: Sequence[str]) -> dict[str, str]:
    """`KEY` or `PROJECT:KEY`, as given on the command line or, with commas between, in ANTIPHON_API_KEYS."""
    keys: dict[str, str] = {}
    for text in texts:
        project, _, key = text.strip().rpartition(":")
        if len(key) < 8:
            raise SettingsError("An API key has at least 8 characters.")
        keys[key] = project or "default"
    return keys


STARTER_MODEL = parse_model(STARTER)
