"""code_execution: the model writes Python, the server runs it in a sandbox and shows what it printed and drew.

One box per interaction, opened when the model first wants it: variables and files are there for its next call. The
user's files lie in the working folder. What code prints was decided outside, so the model is told not to obey it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import mimetypes
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

from antiphon import wire
from antiphon.ports import Box, Outcome, Ran, Sandbox, Session, Use

LONGEST = 16_000  # characters of a result
MOST_FIGURES = 10
LARGEST_FIGURE = 4 * 2**20
_NAME = "code_execution"
_FETCH_SECONDS = 20.0
_FENCE = re.compile(r"\A\s*```[ \t]*[A-Za-z0-9]*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")
_ENDINGS = {
    "text/plain": ".txt",
    "text/markdown": ".md",
    "image/jpeg": ".jpg",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
}
_TOLD = (
    "You can run Python with code_execution: use it for calculations, data and charts instead of guessing. "
    "Print what you want to see. Variables and files are kept from one call to the next. There is no network and nothing "
    "can be installed; numpy, pandas, matplotlib, scipy, sympy and pillow may be there. Charts that matplotlib shows are "
    "shown to the user; do not link to files."
)
_TOLD_BASH = "With language 'bash' you can run shell commands."

Language = Literal["python", "bash"]
Files = Callable[[str, str], Awaitable[tuple[str, bytes]]]


class CodeExecution:
    """`files` gives the name and the content of a URI of this server's, for a project; `bash` is for agents."""

    type = "code_execution"
    rerunnable = True  # code reaches nothing outside of its box

    def __init__(
        self,
        source: str = "",
        *,
        sandbox: Sandbox,
        files: Files | None = None,
        bash: bool = False,
        seconds: float = 30.0,
    ) -> None:
        if source:
            raise ValueError("it has no settings")
        self._sandbox = sandbox
        self._files = files
        self._bash = bash
        self._seconds = seconds

    async def check(self, declared: wire.Tool, project: str, path: str) -> None:
        """Refuse where there is no sandbox: code is never run without."""
        try:
            await self._sandbox.probe()
        except wire.Unavailable as error:
            raise wire.InvalidRequest(f"'{path}': code_execution is not available here. {error.message}") from error

    async def open(self, use: Use) -> Session:
        """A session that knows the user's files."""
        given = await _given(use, self._files)
        return CodeExecutionSession(self._sandbox, given, bash=self._bash, seconds=self._seconds, room=use.room)

    async def aclose(self) -> None:
        """Nothing to do: the sandbox is its owner's."""


class CodeExecutionSession:
    """One function, and one box."""

    def __init__(self, sandbox: Sandbox, given: Sequence[Given], *, bash: bool, seconds: float, room: int) -> None:
        self._sandbox = sandbox
        self._given = given
        self._bash = bash
        self._seconds = seconds
        self._room = min(room, LONGEST)
        self._box: Box | None = None
        self._notes: list[str] = []
        self._opening = asyncio.Lock()
        self.instructions = "\n".join([_TOLD, *([_TOLD_BASH] if bash else []), *_about(given)])
        code = {"type": "string", "description": "The program. Print its results."}
        language = {"type": "string", "enum": ["python", "bash"]}
        self.functions = (
            wire.Function(
                name=_NAME,
                description=f"Run {'Python or bash' if bash else 'Python'} code and get what it prints.",
                parameters={
                    "type": "object",
                    "properties": {"code": code, **({"language": language} if bash else {})},
                    "required": ["code"],
                },
            ),
        )

    def call(self, id: str, name: str, arguments: Mapping[str, Any]) -> wire.ToolCallStep:
        """The code, without the fence that models like to put around it."""
        code, language = arguments.get("code"), arguments.get("language", "python")
        return wire.CodeExecutionCallStep(
            id=id,
            arguments=wire.CodeExecutionArguments(
                code=_FENCE.sub(r"\1", code) if isinstance(code, str) else None,
                language=language if language in ("python", "bash") else None,
            ),
        )

    def owns(self, call: wire.ToolCallStep) -> bool:
        """Every one."""
        return True

    async def run(self, call: wire.ToolCallStep) -> Outcome:
        """What the code printed and drew; what went wrong is in it, as Python says it."""
        assert isinstance(call, wire.CodeExecutionCallStep)
        arguments = call.arguments or wire.CodeExecutionArguments()
        if not arguments.code or not arguments.code.strip():
            return _refused(call, "There is no code: give the program as 'code'.")
        language = arguments.language or "python"
        if language == "bash" and not self._bash:
            return _refused(call, "Only Python can be run.")
        try:
            box = await self._opened()
        except wire.Unavailable as error:
            return _refused(call, f"No code can be run now. {error.message}")
        return self._outcome(call, await box.run(arguments.code, language, self._seconds))

    def _outcome(self, call: wire.CodeExecutionCallStep, ran: Ran) -> Outcome:
        notes, self._notes = self._notes, []
        fitting = [(kind, image) for kind, image in ran.figures if len(image) <= LARGEST_FIGURE][:MOST_FIGURES]
        if len(fitting) < len(ran.figures):
            notes.append(f"[{len(ran.figures) - len(fitting)} pictures are left out: too many, or too large]")
        result = bounded("\n".join([*notes, ran.output]) if notes else ran.output, self._room)
        words = [result or "(It printed nothing.)"]
        if fitting:
            words.append(f"[Shown to the user: {len(fitting)} picture{'s' * (len(fitting) > 1)}.]")
        return Outcome(
            step=wire.CodeExecutionResultStep(call_id=call.id, result=result, is_error=not ran.ok),
            reading="\n".join(words),
            figures=tuple(
                wire.ImageContent(data=base64.b64encode(image).decode(), mime_type=cast(Any, kind))
                for kind, image in fitting
            ),
        )

    async def _opened(self) -> Box:
        async with self._opening:
            if self._box is None:
                self._box = await self._sandbox.open()
                for file in self._given:
                    if file.fault is None:
                        await self._lay(self._box, file)
            return self._box

    async def _lay(self, box: Box, file: Given) -> None:
        try:
            await box.put(file.name, file.content())
        except ValueError as error:
            self._notes.append(f"[The file {file.name} is not there: {error}]")

    async def aclose(self) -> None:
        """End the box."""
        async with self._opening:
            box, self._box = self._box, None
            if box is not None:
                await box.aclose()


def _refused(call: wire.CodeExecutionCallStep, why: str) -> Outcome:
    return Outcome(step=wire.CodeExecutionResultStep(call_id=call.id, result=why, is_error=True), trusted=True)


def bounded(text: str, most: int) -> str:
    """At most `most` characters: the middle is cut out, at ends of lines where there are any, and that is said."""
    if len(text) <= most:
        return text
    half = max(0, most - 60) // 2
    head, tail = text[:half], text[len(text) - half :]
    head = head[: head.rfind("\n", half // 2) + 1] or head
    after = tail.find("\n", 0, half // 2)
    tail = tail[after + 1 :] if after >= 0 else tail
    return f"{head}\n[… {len(text) - len(head) - len(tail)} characters left out …]\n{tail}"


# ---------------------------------------------------------------------------------------------------- files


class Given(msgspec.Struct, frozen=True):
    """A file of the user's: its name in the working folder, its type, and its content, or why it cannot be had."""

    name: str
    mime_type: str
    data: str | bytes = b""
    fault: str | None = None

    def content(self) -> bytes:
        """Its bytes. Raises ValueError where it was not base64."""
        if isinstance(self.data, bytes):
            return self.data
        try:
            return base64.b64decode(self.data)
        except binascii.Error as error:
            raise ValueError(f"its data is not base64: {error}") from error


async def _given(use: Use, files: Files | None) -> list[Given]:
    """The files of a conversation, in its order; two of the same name get numbers."""
    found: list[Given] = []
    taken: set[str] = set()
    contents = [content for content in _contents(use.steps) if content.data is not None or content.uri is not None]
    seen: set[str] = set()
    for content in contents:
        same = content.uri or content.data or ""
        if same in seen:
            continue
        seen.add(same)
        file = await _one(content, use.project, files)
        name = _free(file.name, taken)
        taken.add(name)
        found.append(msgspec.structs.replace(file, name=name))
    return found


_Media = wire.ImageContent | wire.AudioContent | wire.DocumentContent | wire.VideoContent


def _contents(steps: Sequence[wire.Step]) -> Iterator[_Media]:
    for step in steps:
        if isinstance(step, wire.UserInputStep) and isinstance(step.content, list):
            for content in step.content:
                if isinstance(content, _Media):
                    yield content


async def _one(content: _Media, project: str, files: Files | None) -> Given:
    kind = content.mime_type or ""
    name = content.name if isinstance(content, wire.VideoContent) and content.name else ""
    if content.data is not None:
        return Given(plain(name or f"{_word(content)}{_ending(kind)}"), kind, content.data)
    assert content.uri is not None
    name = plain(name or content.uri.rpartition("/")[2] or _word(content))
    if files is None:
        return Given(name, kind, fault="files by URI cannot be read here")
    try:
        async with asyncio.timeout(_FETCH_SECONDS):
            named, body = await files(project, content.uri)
    except (wire.ApiError, OSError) as error:  # a time-out is an OSError
        return Given(name, kind, fault=str(error) or "it took too long")
    return Given(plain(named), kind, body)


def _word(content: _Media) -> str:
    return str(content.__struct_config__.tag)


def _ending(kind: str) -> str:
    return _ENDINGS.get(kind) or mimetypes.guess_extension(kind) or ""


def plain(name: str) -> str:
    """A name that is one on every system: letters, digits, `_`, `.` and `-`, not too long, and no hidden file."""
    stem, dot, ending = _NOT_PLAIN.sub("_", name.replace("\\", "/").rpartition("/")[2]).strip("._-").rpartition(".")
    if not dot:
        stem, ending = ending, ""
    return f"{stem[:60] or 'file'}{dot}{ending[:12]}"


def _free(name: str, taken: set[str]) -> str:
    stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{stem}_{number}{dot}{ending}"
    return free


def _about(given: Sequence[Given]) -> list[str]:
    if not given:
        return []
    there = [
        f"- {file.name} ({file.mime_type})" if file.mime_type else f"- {file.name}" for file in given if not file.fault
    ]
    lost = [f"- {file.name} could not be had: {file.fault}" for file in given if file.fault]
    return ["The user's files are in the working folder:", *there, *lost]
