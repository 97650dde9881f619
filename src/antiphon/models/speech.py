"""Models that speak: one that reads aloud what it is told, and any model of text whose answers are read aloud."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec

from antiphon import wire
from antiphon.models.speech_text import Sayings, is_sayable, transcript
from antiphon.ports import Delta, Finish, Made, Model, Speak, Text, Tokens, Turn, gives_of

_SECOND = 32  # tokens, as the API counts sound
_LETTERS = 4  # characters of a token of text, about
_PACE = 15  # characters said in a second, about
_WIDTH = {"audio/l16": 2, "audio/wav": 2, "audio/alaw": 1, "audio/mulaw": 1}  # bytes of a sample
_WAV_HEAD = 44
_LONGEST = 32_768  # characters: the tokens that the service's models of speech take


class SpeechModel:
    """Reads the last input aloud: what the names of the service's text-to-speech models reach. See `transcript`.

    `speak` is closed by whoever made it.
    """

    modalities = frozenset({"text"})
    gives = frozenset({"audio"})

    def __init__(self, speak: Speak) -> None:
        self._speak = speak

    async def stream(self, turn: Turn) -> AsyncGenerator[Delta, None]:
        """Yield the sound piece by piece. Raises InvalidRequest for what cannot be spoken."""
        format = turn.audio
        _check(turn)
        assert format is not None, "it was checked just now"
        text = transcript(_last_input(turn))
        if not is_sayable(text):
            raise wire.InvalidRequest("There is no text to speak in 'input'.")
        if len(text) > _LONGEST:
            raise wire.InvalidRequest(
                f"The text in 'input' has {len(text)} characters; at most {_LONGEST} are read aloud."
            )
        if turn.text:
            yield Text(text)
        counted = _Counted()
        async with aclosing(_sound(self._speak, text, turn, format, counted)) as pieces:
            async for piece in pieces:
                yield Made(piece)
        spoken = counted.tokens(len(text))
        yield Finish("stop", Tokens(input=_tokens(_last_input(turn)), output=spoken, made=(("audio", spoken),)))

    async def aclose(self) -> None:
        """Nothing is held."""


class Spoken:
    """Any model of text that also speaks: where sound is asked for, its answer is read aloud sentence by sentence.

    In everything else it is the model. Where text is asked for too, that comes first; calls and thoughts that follow on
    the first words come behind the sound. `speak` is closed by whoever made it.
    """

    modalities: frozenset[str]

    def __init__(self, model: Model, speak: Speak) -> None:
        self._model = model
        self._speak = speak

    @property
    def gives(self) -> frozenset[str]:
        """What it answers with: what the model does, and sound."""
        return gives_of(self._model) | {"audio"}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        """Yield the answer to `turn` piece by piece, Finish last."""
        if turn.audio is None:
            return self._model.stream(turn)  # itself: what stands between costs every token
        return _Reading(self._model, self._speak, turn, turn.audio).deltas()

    async def aclose(self) -> None:
        """Free what the model holds."""
        await self._model.aclose()


class _Reading:
    """One answer read aloud while it is written."""

    def __init__(self, model: Model, speak: Speak, turn: Turn, format: wire.AudioFormat) -> None:
        self._turn = turn
        self._answer = model.stream(msgspec.structs.replace(turn, audio=None, voices=(), text=True))
        self._counted = _Counted()
        self._sound = _sound(speak, self._sentences(), turn, format, self._counted)
        self._said: asyncio.Queue[str | None] = asyncio.Queue()
        self._given: asyncio.Queue[Delta | None] = asyncio.Queue()  # None: a task has ended
        self._whole = asyncio.Event()  # the answer's text is
        self._later: list[Delta] = []  # what comes behind the sound
        self._finish = Finish()
        self._letters = 0

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]
        for task in tasks:
            task.add_done_callback(lambda _: self._given.put_nowait(None))
        try:
            running = len(tasks)
            while running:
                if (given := await self._given.get()) is not None:
                    yield given
                    continue
                running -= 1
                for task in tasks:
                    if task.done():
                        task.result()  # or what it raised
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for delta in self._later:
            yield delta
        tokens = self._finish.tokens
        spoken = self._counted.tokens(self._letters)
        made = (*tokens.made, ("audio", spoken)) if spoken else tokens.made
        yield Finish(self._finish.reason, msgspec.structs.replace(tokens, output=tokens.output + spoken, made=made))

    async def _write(self) -> None:
        """Take the answer as it is written, and hand over its sentences."""
        sayings, begun = Sayings(), False
        async with _closing(self._answer):
            async for delta in self._answer:
                if isinstance(delta, Text):
                    begun = True
                    for sentence in sayings.add(delta.text):
                        self._said.put_nowait(sentence)
                if isinstance(delta, Finish):
                    self._finish = delta
                elif not isinstance(delta, Text):
                    self._later.append(delta) if begun else self._given.put_nowait(delta)
                elif self._turn.text:
                    self._given.put_nowait(delta)
        for sentence in sayings.end():
            self._said.put_nowait(sentence)
        self._said.put_nowait(None)
        self._whole.set()

    async def _read(self) -> None:
        """Hand over the sound as it is made, behind the text where that is wanted too: neighbours are one sound."""
        held: list[Delta] = []
        async with aclosing(self._sound) as pieces:
            async for piece in pieces:
                held.append(Made(piece))
                if self._whole.is_set() or not self._turn.text:
                    self._hand_over(held)
        await self._whole.wait()
        self._hand_over(held)

    def _hand_over(self, held: list[Delta]) -> None:
        for delta in held:
            self._given.put_nowait(delta)
        held.clear()

    async def _sentences(self) -> AsyncIterator[str]:
        while (sentence := await self._said.get()) is not None:
            self._letters += len(sentence)
            yield sentence


class _Counted:
    """How much was spoken."""

    def __init__(self) -> None:
        self._bytes = 0
        self._first: wire.AudioContent | None = None

    def add(self, piece: wire.AudioContent, size: int) -> None:
        self._first = self._first or piece
        self._bytes += size

    def tokens(self, characters: int) -> int:
        """Of the sound; of what was compressed it is told by the text."""
        if self._first is None:
            return 0
        width = _WIDTH.get(self._first.mime_type or "")
        seconds = self._bytes / width / self._first.sample_rate if width and self._first.sample_rate else None
        return max(1, round(_SECOND * (characters / _PACE if seconds is None else seconds)))


async def _sound(
    speak: Speak, text: str | AsyncIterable[str], turn: Turn, format: wire.AudioFormat, counted: _Counted
) -> AsyncGenerator[wire.AudioContent, None]:
    """The pieces; as one where nobody listens while they are made, as then a WAV file can say how long it is."""
    known = not turn.followed or format.delivery == "uri"
    parts: list[bytes] = []
    first: wire.AudioContent | None = None
    pieces = speak(text, turn.voices, format)
    async with _closing(pieces):
        async for piece in pieces:
            data = base64.b64decode(piece.data or "")
            counted.add(piece, len(data))
            first = first or piece
            if known:
                parts.append(data)
            else:
                yield piece
    if known and first is not None:
        whole = b"".join(parts)
        whole = with_length(whole) if first.mime_type == "audio/wav" else whole
        yield msgspec.structs.replace(first, data=base64.b64encode(whole).decode("ascii"))


@asynccontextmanager
async def _closing(iterator: AsyncIterator[Any]) -> AsyncIterator[None]:
    """Whoever stops listening in the middle ends what is made for it at once, not when it is swept up."""
    try:
        yield
    finally:
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()


def with_length(wav: bytes) -> bytes:
    """A WAV file that did not know its length when it began, with its length."""
    if wav[36:40] != b"data":
        return wav
    length = struct.pack("<I", len(wav) - _WAV_HEAD)
    return wav[:4] + struct.pack("<I", len(wav) - 8) + wav[8:40] + length + wav[_WAV_HEAD:]


def _check(turn: Turn) -> None:
    """Refuse what reading aloud cannot do. Raises InvalidRequest."""
    if turn.audio is None:
        raise wire.InvalidRequest(
            f"The model '{turn.model}' speaks: ask for it with 'response_format' of the type 'audio', or with "
            "'response_modalities': ['audio']."
        )
    asked = {
        "tools": turn.functions,
        "system_instruction": turn.system_instruction,
        "generation_config.stop_sequences": turn.stop_sequences,
        "response_format": turn.schema or turn.json_object or turn.image,
    }
    for path, value in asked.items():
        if value:
            raise wire.InvalidRequest(f"The model '{turn.model}' reads its input aloud: it has no use for '{path}'.")


def _last_input(turn: Turn) -> str:
    for step in reversed(turn.steps):
        if isinstance(step, wire.UserInputStep):
            if isinstance(step.content, str):
                return step.content
            return "\n".join(part.text for part in step.content or () if isinstance(part, wire.TextContent))
    return ""


def _tokens(text: str) -> int:
    return max(1, round(len(text) / _LETTERS))
