"""`mcp_server`: the tools of remote MCP servers, called by this server. Each declaration is a session of its own.

Everything that a server says of itself comes from outside: its listing is held to limits and its schemas to what can be
checked, its results are cut to what a model can read, its pictures are made small, and whatever goes wrong is told to the
model in words.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args
from urllib.parse import SplitResult, urlsplit

import msgspec

from antiphon import schemas, wire
from antiphon.addresses import Guard
from antiphon.excerpts import pictures_in
from antiphon.mcp_client import Link, McpFault, McpTool, Resolve, Times
from antiphon.ports import FetchError, Look, Outcome, Picture, Unreadable, Use

_MOST_TOOLS = 64
_DESCRIPTION = 1_000  # characters of a tool's description
_INNER_DESCRIPTION = 300  # of an argument's
_LARGEST_SCHEMA = 16_000  # characters of JSON; a tool with a larger one is not offered
_LARGEST_OFFER = 64_000  # of all that one server offers
_MOST_MEDIA = 4_000_000  # characters of base64 in one result
_LOOKUP = 2.0  # seconds for the address of a server, when a request is checked

_NAME = re.compile(r"[A-Za-z0-9_\- ]{1,64}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
# What belongs to the connection, or to the protocol, and is set here.
_OWN_HEADERS = re.compile(
    "host|connection|content-(length|type|encoding)|transfer-encoding|te|trailer|upgrade|expect|accept(-encoding)?|"
    "keep-alive|proxy-.*|mcp-.*|last-event-id",
    re.IGNORECASE,
)
_MOST_HEADERS = 32
_IMAGES = frozenset(get_args(wire.ImageMimeType))
_AUDIO = frozenset(get_args(wire.AudioMimeType))
_CUT = "\n[Cut here: {} of {} characters.]"

_LOOKING_SECONDS = 20.0  # for the pictures of one result
_TRIES = 3  # images that are looked at for each that may be shown: some are none


class McpServers:
    """The tool. `allow` opens places that are not public, as `addresses.Guard` takes them: `127.0.0.1:8000`, `*.corp` …

    Without `look` the model is shown no pictures of results; the client has them in the step either way.
    """

    type = "mcp_server"
    rerunnable = False  # a call may have done something; the servers' own hints are nothing to rely on

    def __init__(
        self,
        source: str = "",
        *,
        allow: tuple[str, ...] = (),
        resolve: Resolve | None = None,
        look: Look | None = None,
        times: Times | None = None,
    ) -> None:
        if source:
            raise ValueError("The tool 'mcp_server' takes no source: requests name their servers.")
        if importlib.util.find_spec("mcp") is None:
            raise ImportError("The tool 'mcp_server' needs the MCP SDK: pip install 'antiphon[mcp]'")
        self._resolve = resolve or Guard(allow).resolve
        self._look = look
        self._times = times or Times()

    async def check(self, declared: wire.Tool, project: str, path: str) -> None:
        """Refuse a server that cannot be asked, and settings that nothing here obeys. Raises InvalidRequest."""
        assert isinstance(declared, wire.McpServer)
        if not declared.name:
            raise wire.InvalidRequest(f"Missing required parameter 'name' at '{path}'.")
        if not _NAME.fullmatch(declared.name):
            allowed = "up to 64 letters, digits, '_', '-' and blanks"
            raise wire.InvalidRequest(f"A server's name may hold only {allowed} at '{path}.name'.")
        _check_headers(declared.headers or {}, f"{path}.headers")
        _check_allowed(declared, f"{path}.allowed_tools")
        url = _checked_url(declared.url, path)
        try:
            async with asyncio.timeout(_LOOKUP):
                await self._resolve(url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
        except FetchError as error:
            if error.status == "unsafe":
                raise wire.InvalidRequest(f"The server at '{path}.url' cannot be asked: {error}") from None
        except TimeoutError:
            pass  # a server that cannot be found is the model's to know, as one that does not answer

    async def open(self, use: Use) -> McpSession:
        """Connect and list the tools."""
        assert isinstance(use.declared, wire.McpServer)
        session = McpSession(use.declared, use.room, self._resolve, self._look, self._times)
        await session.start()
        return session

    async def aclose(self) -> None:
        """Nothing is held between interactions."""


def _checked_url(url: str | None, path: str) -> SplitResult:
    if not url:
        raise wire.InvalidRequest(f"Missing required parameter 'url' at '{path}'.")
    try:
        found = urlsplit(url)
        found.port  # noqa: B018  # raises for a port that is none
    except ValueError as error:
        raise wire.InvalidRequest(f"Invalid URL at '{path}.url': {error}.") from None
    if found.scheme not in ("http", "https") or not found.hostname:
        raise wire.InvalidRequest(f"'{path}.url' must be an http or https URL.")
    if found.username is not None:
        raise wire.InvalidRequest(f"'{path}.url' must hold no credentials; 'headers' are for them.")
    if len(url) > 2048 or not url.isascii() or not url.isprintable() or " " in url:
        raise wire.InvalidRequest(f"'{path}.url' must be at most 2,048 printable ASCII characters.")
    return found


def _check_headers(headers: Mapping[str, str], path: str) -> None:
    if len(headers) > _MOST_HEADERS:
        raise wire.InvalidRequest(f"At most {_MOST_HEADERS} headers are sent at '{path}'.")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise wire.InvalidRequest(f"Invalid header name {name[:128]!r} at '{path}'.")
        if _OWN_HEADERS.fullmatch(name):
            raise wire.InvalidRequest(f"The header '{name}' at '{path}' is this server's to set.")
        if not _HEADER_VALUE.fullmatch(value):
            raise wire.InvalidRequest(f"The value of the header '{name}' at '{path}' cannot be sent.")


def _check_allowed(declared: wire.McpServer, path: str) -> None:
    for place, entry in enumerate(declared.allowed_tools or ()):
        if isinstance(entry, wire.AllowedTools) and entry.mode == "any":
            raise wire.InvalidRequest(
                f"mode 'any' is not supported at '{path}[{place}]': a call is required by 'generation_config.tool_choice'."
            )


# ---------------------------------------------------------------------------------------------------- a session


class McpSession:
    """One server in use by one interaction. `start` before anything else; it raises nothing."""

    def __init__(self, declared: wire.McpServer, room: int, resolve: Resolve, look: Look | None, times: Times) -> None:
        self.functions: Sequence[wire.Function] = ()
        self.instructions = ""
        self._declared = declared
        self._name = declared.name or ""
        self._room = room
        self._resolve = resolve
        self._look = look
        self._times = times
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._tools: dict[str, McpTool] = {}  # by the server's own names
        self._named: dict[str, str] = {}  # the server's names by the model's

    async def start(self) -> None:
        """List the tools, as functions; where that fails, instructions that say why."""
        try:
            await self._connected()
        except McpFault as fault:
            self.instructions = (
                f"The MCP server '{self._name}' cannot be used now: {fault}. "
                "Tell the user so if its tools are needed for the answer."
            )
            return
        self._named = names(self._name, self._tools)
        self.functions = tuple(
            wire.Function(name=name, description=tool.description, parameters=tool.schema)
            for name, tool in zip(self._named, self._tools.values(), strict=True)
        )

    def call(self, id: str, name: str, arguments: Mapping[str, Any]) -> wire.McpServerToolCallStep:
        """The call under the server's own name for the tool."""
        own = self._named.get(name, name)
        return wire.McpServerToolCallStep(id=id, name=own, server_name=self._name, arguments=dict(arguments))

    def owns(self, call: wire.ToolCallStep) -> bool:
        """Whether the call is to this server."""
        return isinstance(call, wire.McpServerToolCallStep) and call.server_name == self._name

    async def run(self, call: wire.ToolCallStep) -> Outcome:
        """Have the server do it."""
        assert isinstance(call, wire.McpServerToolCallStep)
        name, arguments = call.name or "", call.arguments or {}
        try:
            link = await self._connected()
            tool = self._tools.get(name)
            if tool is None:
                there = ", ".join(self._tools) or "none at all"
                return await self._outcome(call, f"There is no such tool; there are: {there[:500]}.", failed=True)
            if (fault := schemas.violation(arguments, tool.schema)) is not None:
                return await self._outcome(call, f"The arguments do not fit. {fault}.", failed=True)
            answer = await link.call(name, arguments)
        except McpFault as error:
            return await self._outcome(call, f"The MCP server '{self._name}' failed: {error}.", failed=True)
        return await self._outcome(call, shaped(answer, self._room), failed=answer.get("isError") is True)

    async def _outcome(self, call: wire.McpServerToolCallStep, result: Any, *, failed: bool) -> Outcome:
        step = wire.McpServerToolResultStep(
            call_id=call.id, name=call.name, server_name=call.server_name, result=result, is_error=failed
        )
        if isinstance(result, str):
            return Outcome(step=step)
        words, pictures = await self._reading(result)
        return Outcome(step=step, reading="\n".join(words), pictures=tuple(pictures))

    async def _reading(self, result: Sequence[Any]) -> tuple[list[str], list[wire.ImageContent]]:
        """What the model reads of a result with media: its text, what the media are, and the pictures it is shown."""
        most = pictures_in(self._room)
        images = [part for part in result if isinstance(part, wire.ImageContent)]
        looked = await _looked(images[: _TRIES * most], self._look) if self._look is not None else {}
        words: list[str] = []
        pictures: list[wire.ImageContent] = []
        for part in result:
            seen = looked.get(id(part))
            if isinstance(part, wire.TextContent):
                words.append(part.text)
            elif isinstance(part, wire.ImageContent) and looked and (seen is None or len(pictures) == most):
                words.append(f"[{part.mime_type}, not shown: too many pictures]")
            else:
                words.append(f"[{seen or part.mime_type}]")
                if isinstance(seen, Picture):
                    pictures.append(seen.content())
        return words, pictures

    async def _connected(self) -> Link:
        """The connection, made again where it has ended. Raises McpFault."""
        async with self._connecting:
            if self._link is None or self._link.ended:
                await self.aclose()
                link = Link(self._declared.url or "", self._declared.headers or {}, self._resolve, self._times)
                listed = await link.open()
                self._link = link
                self._tools = {tool.name: tool for tool in offered(listed, self._declared.allowed_tools)}
            return self._link

    async def aclose(self) -> None:
        """Close the connection."""
        if self._link is not None:
            link, self._link = self._link, None
            await link.aclose()


# ---------------------------------------------------------------------------------------------------- what is offered


def names(server: str, tools: Iterable[str]) -> dict[str, str]:
    """The tools' own names by what the model calls them: `<server>_<tool>` in the letters that a function may have."""
    found: dict[str, str] = {}
    for tool in tools:
        wanted = re.sub(r"[^A-Za-z0-9_-]", "_", f"{server}_{tool}")
        if not (wanted[0].isalpha() or wanted[0] == "_"):
            wanted = f"_{wanted}"
        name, count = wanted[:64], 1
        while name in found:
            count += 1
            name = f"{wanted[: 63 - len(str(count))]}_{count}"
        found[name] = tool
    return found


def offered(listed: Iterable[McpTool], allowed: Sequence[wire.AllowedTools | str] | None) -> list[McpTool]:
    """The first tools of a listing that are allowed, and that a model can be told of and a call be checked against."""
    found: dict[str, McpTool] = {}
    size = 0
    for tool in listed:
        if tool.name in found or not tool.name or len(tool.name) > 256 or not is_allowed(tool.name, allowed):
            continue
        if (schema := _usable(tool.schema)) is None:
            continue
        tool = McpTool(tool.name, cut(tool.description, _DESCRIPTION), schema)
        size += len(tool.description) + len(msgspec.json.encode(schema))
        if len(found) == _MOST_TOOLS or size > _LARGEST_OFFER:
            break
        found[tool.name] = tool
    return list(found.values())


def is_allowed(name: str, allowed: Sequence[wire.AllowedTools | str] | None) -> bool:
    """Whether `allowed_tools` lets a tool be called: named by a name or an entry, and by no entry of mode `none`."""
    if not allowed:
        return True
    listed = False
    for entry in allowed:
        if isinstance(entry, str):
            listed |= entry == name
        elif entry.tools is None or name in entry.tools:
            if entry.mode == "none":
                return False
            listed = True
    only_refused = all(isinstance(entry, wire.AllowedTools) and entry.mode == "none" for entry in allowed)
    return listed or only_refused


def _usable(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of a tool's arguments as a model is shown it; None for one that is none, or too large."""
    schema = {"type": "object", "properties": {}} | {key: value for key, value in schema.items() if key != "$schema"}
    if schema["type"] != "object":
        return None
    try:
        if schemas.malformed(schema) is not None:
            return None
        schema = _shortened(schema)
        return schema if len(msgspec.json.encode(schema)) <= _LARGEST_SCHEMA else None
    except RecursionError:
        return None  # nested where a schema has no business to be: in a default, or in a keyword nobody knows


def _shortened(value: Any) -> Any:
    """A schema with its descriptions cut, and without the titles that generators give everything."""
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if key == "description" and isinstance(inner, str):
            found[key] = cut(inner, _INNER_DESCRIPTION)
        elif key in ("default", "const", "enum", "examples"):
            found[key] = inner
        elif key != "title" or not isinstance(inner, str):
            found[key] = _shortened(inner)
    return found


# ---------------------------------------------------------------------------------------------------- what comes back


def cut(text: str, room: int) -> str:
    """At most `room` characters and a word that more was there; cut at a line or a blank where one is near."""
    if len(text) <= room:
        return text
    mark = _CUT.format(f"{room:,}", f"{len(text):,}") if room > 500 else " …"
    room = max(0, room - len(mark))
    near = max(text.rfind("\n", room - room // 8, room), text.rfind(" ", room - room // 16, room))
    return text[: near if near > 0 else room].rstrip() + mark


def shaped(answer: Mapping[str, Any], room: int) -> str | list[Any]:
    """A tool's answer as the wire's result: its text in one piece, or with media a list of both.

    Structured content is shown where there is no text: the protocol asks servers to give it as text too.
    """
    parts = [_part(block) for block in answer.get("content") or ()]
    if not any(isinstance(part, str) and part.strip() for part in parts) and "structuredContent" in answer:
        parts.append(msgspec.json.encode(answer["structuredContent"]).decode())
    words, media = _sorted(parts)
    text = cut("\n".join(words), room)
    if not media:
        return text or "(an empty result)"
    return [*([wire.TextContent(text=text)] if text else []), *media]


def _sorted(parts: Sequence[Any]) -> tuple[list[str], list[Any]]:
    """The words and the media of an answer; media beyond what one answer may hold are words that say so."""
    left = _MOST_MEDIA
    words: list[str] = []
    media: list[Any] = []
    for part in parts:
        if isinstance(part, str):
            words.append(part)
        elif len(part.data or "") > left:
            words.append(f"[{part.mime_type} of {len(part.data or '') * 3 // 4:,} bytes, left out: too large]")
        else:
            left -= len(part.data or "")
            media.append(part)
    return words, media


async def _looked(images: Sequence[wire.ImageContent], look: Look) -> dict[int, Picture | str]:
    """The pictures, or why not, by the `id` of each image.

    The call has had its effect: what takes too long here must not lose its result.
    """
    tasks = {id(part): asyncio.create_task(_seen(part, look)) for part in images}
    if tasks:
        _, late = await asyncio.wait(tasks.values(), timeout=_LOOKING_SECONDS)
        for task in late:
            task.cancel()
    kinds = {id(part): part.mime_type for part in images}
    done = {place: task for place, task in tasks.items() if task.done() and not task.cancelled()}
    return {
        place: done[place].result() if place in done else f"{kinds[place]}, not shown: it took too long"
        for place in tasks
    }


async def _seen(part: wire.ImageContent, look: Look) -> Picture | str:
    """A picture of a result as a model can be shown it, or the words for why not: servers say what they like of it."""
    try:
        picture = await look(base64.b64decode(part.data or ""))
    except Unreadable as error:
        return f"{part.mime_type}, not shown: {error}"
    return picture or f"{part.mime_type}, not shown: it does not begin like a picture"


def _part(block: Mapping[str, Any]) -> Any:
    """One block of an answer: text, or media that the wire has a place for."""
    kind, type = block.get("type"), str(block.get("mimeType", "")).lower()
    if kind == "text":
        return str(block.get("text", ""))
    if kind == "image" and type in _IMAGES and _is_base64(block):
        return wire.ImageContent(data=block["data"], mime_type=type)  # type: ignore[arg-type]  # looked up above
    if kind == "audio" and type in _AUDIO and _is_base64(block):
        return wire.AudioContent(data=block["data"], mime_type=type)  # type: ignore[arg-type]  # looked up above
    if kind == "resource_link":
        about = block.get("description") or block.get("title") or block.get("name") or ""
        return f"[{about}]({block.get('uri', '')})"
    if kind == "resource":
        return _resource(block.get("resource") or {})
    return f"[{kind} {type}, not shown]"


def _resource(resource: Mapping[str, Any]) -> Any:
    type = str(resource.get("mimeType", "")).lower()
    if "text" in resource:
        return f"{resource.get('uri', '')}\n{resource['text']}"
    if type in _IMAGES and _is_base64({"data": resource.get("blob")}):
        return wire.ImageContent(data=resource["blob"], mime_type=type)  # type: ignore[arg-type]  # looked up above
    return f"[{resource.get('uri', '')} {type}, not shown]"


def _is_base64(block: Mapping[str, Any]) -> bool:
    try:
        return bool(base64.b64decode(block.get("data") or "", validate=True))
    except (binascii.Error, ValueError, TypeError):
        return False
