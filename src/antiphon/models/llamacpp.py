"""The embedded model: a GGUF file served by llama.cpp in a child process, watched and started again when it dies.

The child speaks the chat dialect, so that this file is about processes only, and about what this one server needs told:
how functions are put before a model whose template knows none, and the grammar that holds its calls to their schemas.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from antiphon import wire
from antiphon.chat import Dialect, ThoughtText, request
from antiphon.chat_answer import answer
from antiphon.chat_http import ChatServer, Disconnected
from antiphon.judging import Weighed, weighed
from antiphon.models.llamacpp_process import Config
from antiphon.ports import Delta, Turn

logger = logging.getLogger("antiphon.llamacpp")

_QUICK = 10.0  # a process that lived for less, in seconds, has crashed quickly
_CRASHES = 3  # quick ones in a row, after which it is not started again
_BACKOFF = 0.5  # seconds before the first start anew; doubled each time
# How long threads that wait for each other spin before they sleep. Measured with the 1.5B on two cores, tokens a second on
# an idle machine and beside one busy program: no limit 17 and 2 to 4, 10,000 turns 17 and 4, 1,000 turns 14 and 8, none
# 10 and 8.
_SPINNING = {"GOMP_SPINCOUNT": "10000"}
_LIKELIEST = 200  # tokens whose probabilities are told: 26 options stand among them, however a model writes them
_SMALL = 3e9  # parameters; below, templates' own call forms are obeyed badly (see bench/tool_calling.py)


class LlamaCpp:
    """The model in the GGUF file at `path`, in a process of its own that starts with the first turn, or with `start`.

    `context` is in tokens and for each of the `slots` (conversations answered at the same time), `cache_mib` the memory
    that keeps idle conversations read. `projector` is the file that lets a model see or hear. `room` is how many
    characters one tool's result may give it to read. With `repeatable` the same question and seed have the same answer,
    whether they were read before or not, and later turns of long conversations begin more slowly. `tools` says how
    functions are put before the model (see `chat.Dialect`); `auto` decides by its template and size. `progress` is told in
    words how a start goes.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        context: int = 8192,
        slots: int = 4,
        threads: int | None = None,
        cache_mib: int = 2048,
        gpu_layers: int = -1,
        repeatable: bool = False,
        projector: str | Path | None = None,
        room: int | None = None,
        tools: Literal["auto", "template", "text"] = "auto",
        thought_text: ThoughtText = lambda step: "",
        progress: Callable[[str], None] = logger.info,
    ) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"There is no model file {path}.")
        self.modalities = frozenset({"text"} if projector is None else {"text", "image"})
        self.context = context
        self.room = room or context // 2  # an eighth of the context or so: on a processor that is read in half a minute
        self._config = Config(
            path=str(path),
            api_key="",
            parent=os.getpid(),
            context=context,
            slots=slots,
            threads=threads or _cores(),
            cache_mib=cache_mib,
            gpu_layers=gpu_layers,
            repeatable=repeatable,
            projector=None if projector is None else str(projector),
        )
        self._tools = tools
        self._thought_text = thought_text
        self._progress = progress
        self._supervisor: asyncio.Task[None] | None = None
        self._coming: asyncio.Future[_Child] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, when one is ready."""
        coming = self._coming
        ready = coming is not None and coming.done() and not coming.cancelled() and coming.exception() is None
        return coming.result().pid if ready and coming is not None else None

    async def start(self) -> None:
        """Be ready for turns; also begins anew after too many crashes. Raises Unavailable, InvalidRequest."""
        if self._supervisor is not None and self._supervisor.done():
            self._supervisor = None
        await self._ready()

    async def stream(self, turn: Turn) -> AsyncGenerator[Delta, None]:
        """Yield the answer to `turn`. Raises Unavailable when the process dies under it."""
        child = await self._ready()
        try:
            async with aclosing(
                answer(turn, child.dialect, self._thought_text, child.server.ask, model="default")
            ) as deltas:
                async for delta in deltas:
                    yield delta
        except Disconnected as error:
            if obituary := await child.obituary():
                raise wire.Unavailable(f"{obituary}; it is being started again.") from error
            raise

    async def weigh(self, turn: Turn, options: Sequence[str]) -> Weighed:
        """How likely each option is as the answer's first token. Raises Unavailable when the process dies under it."""
        child = await self._ready()
        body = request(turn, child.dialect, self._thought_text, model="default")
        body |= {"logprobs": True, "top_logprobs": _LIKELIEST}
        try:
            return weighed(await child.server.completion(body), options)
        except Disconnected as error:
            if obituary := await child.obituary():
                raise wire.Unavailable(f"{obituary}; it is being started again.") from error
            raise

    async def aclose(self) -> None:
        """End the process."""
        supervisor, self._supervisor = self._supervisor, None
        coming, self._coming = self._coming, None
        if coming is not None and not coming.done():
            coming.set_exception(wire.Unavailable("The model has been closed."))
            coming.exception()  # seen: perhaps nobody waits for it
        if supervisor is not None:
            supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await supervisor

    async def _ready(self) -> _Child:
        if self._supervisor is None:
            self._coming = asyncio.get_running_loop().create_future()
            self._supervisor = asyncio.create_task(self._supervise())
        assert self._coming is not None
        # Shielded: a caller that gives up must not cancel the start that others wait for.
        return await asyncio.shield(self._coming)

    async def _supervise(self) -> None:
        """Keep a child running, until it has crashed quickly too often or the model is closed."""
        crashes = 0
        while True:
            coming = self._coming
            assert coming is not None
            child = _Child(self._config, self._progress)
            try:
                await child.start(self._tools)
            except _StartFailed as error:
                fault, crashes = str(error), crashes + 1
            else:
                coming.set_result(child)
                began = time.monotonic()
                fault = await child.ended()
                crashes = crashes + 1 if time.monotonic() - began < _QUICK else 1
                coming = self._coming = asyncio.get_running_loop().create_future()
            finally:
                await child.close()
            logger.error("%s. Its last words:\n%s", fault, child.last_words())
            if crashes >= _CRASHES:
                words = f" Its last words:\n{child.last_words()}" if child.last_words() else ""
                coming.set_exception(wire.Unavailable(f"{fault}, {crashes} times in a row; it is left so.{words}"))
                coming.exception()  # seen: perhaps nobody waits for it
                return
            await asyncio.sleep(_BACKOFF * 2 ** (crashes - 1))


class _StartFailed(Exception):
    """The process ended before it was ready; the message says how."""


class _Child:
    """One run of the process."""

    server: ChatServer
    dialect: Dialect

    def __init__(self, config: Config, progress: Callable[[str], None]) -> None:
        self._config = msgspec.structs.replace(config, api_key=secrets.token_urlsafe(32))
        self._name = Path(config.path).name
        self._progress = progress
        self._stderr: deque[str] = deque(maxlen=20)
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None
        self._server: ChatServer | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self, tools: Literal["auto", "template", "text"]) -> None:
        """Start the process and wait until it answers. Raises _StartFailed."""
        began = time.monotonic()
        try:
            size = await asyncio.to_thread(os.path.getsize, self._config.path)
            self._progress(f"loading {self._name} ({size / 1e9:.1f} GB)")
            self._process = process = await self._spawn()
        except OSError as error:
            raise _StartFailed(f"The model's process could not be started: {error}") from error
        assert process.stdin is not None
        assert process.stdout is not None
        self._listener = asyncio.create_task(self._listen())
        with suppress(ConnectionError):  # it may already have died; how is told below
            process.stdin.write(msgspec.json.encode(self._config) + b"\n")
            await process.stdin.drain()
        report = await process.stdout.readline()
        if not report:
            raise _StartFailed(await self.ended())
        address = msgspec.json.decode(report)["address"]
        self._server = self.server = ChatServer(address, api_key=self._config.api_key)
        try:
            self.dialect = _dialect(await self.server.read("/props"), await self.server.read("/v1/models"), tools)
        except wire.ApiError as error:
            raise _StartFailed(f"The model's process did not answer: {error}") from error
        self._progress(f"{self._name} is ready after {time.monotonic() - began:.1f} s")

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "antiphon.models.llamacpp_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # A Ctrl-C in the terminal is for this process, which then ends the child when its answers are done.
            start_new_session=True,
            env=_SPINNING | os.environ,
        )

    async def ended(self) -> str:
        """Wait for the end and say how it came."""
        assert self._process is not None
        code = await self._process.wait()
        how = f"signal {-code} {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return f"The model's process ended ({how})"

    async def obituary(self) -> str | None:
        """How the process ended, if it has; a connection may break a moment before its process is gone."""
        try:
            return await asyncio.wait_for(self.ended(), 2)
        except TimeoutError:
            return None

    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        return "\n".join(self._stderr)

    async def close(self) -> None:
        """End the process: kindly, then not."""
        process, listener = self._process, self._listener
        if self._server is not None:
            await self._server.aclose()
        if process is None:
            return
        if process.returncode is None and process.stdin is not None:
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 2)
            except TimeoutError:
                process.kill()
        await process.wait()
        if listener is not None:
            await listener

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        rest = ""
        while data := await self._process.stderr.read(2**16):
            # Cut, since a line that never ends must neither fill the memory nor stop the reading.
            *lines, rest = (rest[-1000:] + data.decode(errors="replace")).split("\n")
            for line in lines:
                self._stderr.append(line)
                logger.debug("%s", line)


def _dialect(props: Any, models: Any, tools: Literal["auto", "template", "text"]) -> Dialect:
    """What the loaded model can do, from what its server tells of it."""
    caps = props.get("chat_template_caps") or {}
    thinks = "think" in props.get("chat_template", "")
    if tools == "auto":
        size = ((models.get("data") or [{}])[0].get("meta") or {}).get("n_params") or _SMALL
        tools = "text" if not caps.get("supports_tools") or (size < _SMALL and not thinks) else "template"
    senses = props.get("modalities") or {}
    read = {kind for sense, kind in (("vision", "image"), ("audio", "audio"), ("video", "video")) if senses.get(sense)}
    # Its `required` leaves some templates free to write text; a schema for the whole answer does not.
    return Dialect(
        modalities=frozenset({"text", *read}),
        tools=tools,
        force="schema",
        # A grammar holds from the first token on, and would not let a model think first.
        schemas="response_format" if thinks else "grammar",
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
