"""Any OpenAI-compatible transcription server instead of the embedded Whisper: POST /audio/transcriptions."""

from __future__ import annotations

import io
import secrets
import wave
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from antiphon import wire
from antiphon.chat_answer import failure
from antiphon.http1 import Failed, Origin, Silent
from antiphon.media.hearing_languages import code_of
from antiphon.media.hearing_process import Piece, Said, Segment, Word
from antiphon.media.sound import RATE, WIDTH

_SILENCE = 300.0  # seconds


class _Word(msgspec.Struct):
    word: str = ""
    start: float = 0.0
    end: float = 0.0


class _Segment(msgspec.Struct):
    text: str = ""
    start: float = 0.0
    end: float = 0.0


class _Transcript(msgspec.Struct):
    text: str = ""
    language: str | None = None
    segments: list[_Segment] | None = None
    words: list[_Word] | None = None


class TranscriptionServer:
    """The server at `url` (with or without `/v1`); `model` is its name for the model that transcribes."""

    def __init__(self, url: str, *, api_key: str | None = None, model: str | None = None) -> None:
        base = url.rstrip("/")
        self._host = urlsplit(base).netloc.rpartition("@")[2] or base
        self._boundary = secrets.token_hex(16)
        headers = {"content-type": f"multipart/form-data; boundary={self._boundary}", "accept": "application/json"}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        self._origin = Origin(base, headers, silence=_SILENCE)
        path = "audio/transcriptions" if urlsplit(base).path else "v1/audio/transcriptions"
        self._opening = self._origin.opening("POST", f"{base}/{path}")
        self._model = model or "whisper-1"

    async def hear(self, piece: Piece) -> Said:
        """What is said in a piece. Raises ApiError."""
        try:
            with await self._origin.send(self._opening, self._form(piece)) as answer:
                raw = await answer.read()
        except Silent as error:
            raise wire.DeadlineExceeded(f"{self._host} {error}.") from error
        except Failed as error:
            raise wire.Unavailable(f"The connection to {self._host} failed: {error}") from error
        if answer.status >= 300:
            raise failure(answer.status, raw, self._host)
        try:
            found = msgspec.json.decode(raw, type=_Transcript, strict=False)
        except msgspec.MsgspecError as error:
            raise wire.Unavailable(f"{self._host} answered with something that is no transcript: {error}") from None
        seconds = len(piece.samples) / (RATE * WIDTH)
        return Said(segments=tuple(_segments(found, seconds)), language=code_of(found.language or ""))

    async def aclose(self) -> None:
        """Close the connections."""
        self._origin.close()

    def _form(self, piece: Piece) -> bytes:
        fields = [("model", self._model), ("response_format", "verbose_json")]
        fields += [("timestamp_granularities[]", "segment"), ("timestamp_granularities[]", "word")]
        if len(piece.languages) == 1:
            fields += [("language", piece.languages[0])]
        if piece.vocabulary:
            fields += [("prompt", piece.vocabulary)]
        begin = f"--{self._boundary}\r\ncontent-disposition: form-data; name="
        parts = [f'{begin}"{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields]
        parts += [f'{begin}"file"; filename="sound.wav"\r\ncontent-type: audio/wav\r\n\r\n'.encode()]
        return b"".join([*parts, as_wav(piece.samples), f"\r\n--{self._boundary}--\r\n".encode()])


def as_wav(samples: bytes) -> bytes:
    """Samples of 16 kHz as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(WIDTH)
        target.setframerate(RATE)
        target.writeframes(samples)
    return file.getvalue()


def _segments(found: _Transcript, seconds: float) -> Iterator[Segment]:
    """What was said; as one where the server does not say from when to when."""
    given = found.segments or [_Segment(found.text, 0.0, seconds)]
    said = list(found.words or ())
    for segment in given:
        text = segment.text.strip()
        if not text:
            continue
        inside = [word for word in said if segment.start <= (word.start + word.end) / 2 < segment.end]
        if segment is given[-1]:
            inside = said
        said = [word for word in said if word not in inside]
        placed = tuple(Word(f" {word.word.strip()}", word.start, word.end) for word in inside)
        yield Segment(f" {text}", segment.start, segment.end, placed)
