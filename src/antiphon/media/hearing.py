"""Audio made readable: decoded in a process apart, and transcribed by Whisper or a transcription server.

`Hearing` is what listens; `DigestAudio` (`ports.Digester`), `DigestVideo` and the model `transcriber` share one.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Literal

import msgspec

from antiphon import wire
from antiphon.media.hearing_languages import name_of
from antiphon.media.hearing_process import Piece, Said, Segment, Word
from antiphon.media.hearing_server import TranscriptionServer, as_wav
from antiphon.media.hearing_whisper import Weights, Whisper
from antiphon.media.sound import RATE, WIDTH, Cut, Sound
from antiphon.media.video_frames import Film, Shots
from antiphon.media.workers import Workers
from antiphon.ports import Digest, Medium, Unreadable, Wanted

_OFFSET = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")
_BESIDE = 2**20  # bytes of an answer beside the samples
_SURE = 0.5  # a language that is this probable is that of the pieces that follow, too
_DEAF = (
    "Nothing here listens to speech: pip install 'antiphon[hearing]', or name a transcription server in the settings "
    "(hearing)."
)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """How speech is to be written down: the `languages` it may be in (Whisper's codes), and words to expect."""

    languages: tuple[str, ...] = ()
    vocabulary: str = ""


_ANYHOW = Asked()


class Hearing:
    """Decodes what is audible and hears what is said.

    `weights` gives the folder of a Whisper for CTranslate2, and is called when the first sound comes; with `url` an
    OpenAI-compatible transcription server is asked instead, by `model` with `api_key`. `longest` is how many seconds of one
    medium are listened to, on `threads` of `device` (cpu, cuda). Decoding takes `seconds` and `memory` bytes at most, for
    `workers` media at once; others wait `patience` seconds for their turn.
    """

    def __init__(
        self,
        weights: Weights | None = None,
        *,
        url: str | None = None,
        api_key: str | None = None,
        model: str | None = None,
        longest: float = 3600.0,
        threads: int | None = None,
        device: Literal["cpu", "cuda"] = "cpu",
        workers: int = 2,
        seconds: int = 180,
        memory: int = 3 * 2**29,
        patience: float = 120.0,
    ) -> None:
        self.longest = longest
        self._ear: Whisper | TranscriptionServer | None = None
        if url is not None:
            self._ear = TranscriptionServer(url, api_key=api_key, model=model)
        elif weights is not None and find_spec("faster_whisper") is not None:
            self._ear = Whisper(weights, threads=threads, device=device)
        self._decoding = _Decoding(workers, seconds, memory, patience)

    @property
    def pid(self) -> int | None:
        """The id of Whisper's process, while there is one."""
        return self._ear.pid if isinstance(self._ear, Whisper) else None

    async def decode(self, body: bytes, cut: Cut) -> Sound:
        """The sound of some audio or video. Raises Unreadable, in words for the user."""
        return await self._decoding.sound(body, cut)

    async def frames(self, body: bytes, wanted: Shots) -> Film:
        """Frames of a video. Raises Unreadable, in words for the user."""
        return await self._decoding.film(body, wanted)

    async def transcribe(self, sound: Sound, asked: Asked = _ANYHOW) -> AsyncIterator[Said]:
        """What is said, half a minute at a time; times are those of the whole medium. Raises Unreadable, ApiError."""
        if self._ear is None:
            raise Unreadable(_DEAF)
        languages = asked.languages
        for start, samples in sound.pieces():
            piece = Piece(samples=samples, languages=languages, vocabulary=asked.vocabulary)
            said = await self._ear.hear(piece)
            if len(languages) != 1 and said.segments and said.sure >= _SURE:
                languages = (said.language,)
            yield _moved(said, start)

    async def aclose(self) -> None:
        """End the processes; whatever comes next starts them anew."""
        await self._decoding.aclose()
        if self._ear is not None:
            await self._ear.aclose()


class DigestAudio:
    """Audio as text, or for a model that hears as WAV or MP3: `ports.Digester`."""

    def __init__(self, hearing: Hearing) -> None:
        self._hearing = hearing

    async def __call__(self, medium: Medium, wanted: Wanted) -> Digest:
        """The transcript with its times. Raises Unreadable, in words for the user; ApiError where no answer came."""
        cut = cut_of(medium, self._hearing.longest)
        if "audio" in wanted.modalities:
            return await as_heard(self._hearing, medium, cut)
        sound = await self._hearing.decode(medium.body, cut)
        text, language = await transcript(self._hearing, sound, "audio", wanted.room)
        how = f"{sound.seconds:.1f} s of audio ({sound.format}) written down; {language or 'no speech'}"
        return Digest(parts=(wire.TextContent(text=text),), how=how)

    async def aclose(self) -> None:
        """End the processes."""
        await self._hearing.aclose()


async def as_heard(hearing: Hearing, medium: Medium, cut: Cut) -> Digest:
    """Audio for a model that hears: as it is where it is whole WAV or MP3, which all of them take, else as WAV."""
    given = None if cut.start or cut.end is not None else _taken(medium.body)
    if given is not None:
        return Digest(parts=(wire.AudioContent(data=b64encode(medium.body).decode(), mime_type=given),), how="as it is")
    sound = await hearing.decode(medium.body, cut)
    data = b64encode(as_wav(sound.samples)).decode()
    part = wire.AudioContent(data=data, mime_type="audio/wav", sample_rate=16_000, channels=1)
    return Digest(parts=(part,), how=f"{sound.seconds:.1f} s of audio ({sound.format}) as WAV")


def cut_of(medium: Medium, longest: float) -> Cut:
    """What is wanted of a medium's sound, as its content says. Raises Unreadable."""
    content = medium.content
    start, end = span_of(medium)
    audio = content if isinstance(content, wire.AudioContent) else None
    return Cut(
        mime_type=medium.mime_type or (audio.mime_type if audio else None),
        sample_rate=audio.sample_rate if audio else None,
        channels=audio.channels if audio else None,
        start=start,
        end=end,
        longest=longest,
    )


def span_of(medium: Medium) -> tuple[float, float | None]:
    """From when to when, in seconds; an end of None is the medium's own. Raises Unreadable."""
    given = getattr(medium.content, "processing", None)
    start = _seconds(getattr(given, "start_offset", None), "start_offset") or 0.0
    end = _seconds(getattr(given, "end_offset", None), "end_offset")
    if end is not None and end <= start:
        raise Unreadable("`processing.end_offset` must be greater than `start_offset`.")
    return start, end


async def transcript(hearing: Hearing, sound: Sound, what: str, room: int) -> tuple[str, str]:
    """A transcript with the times of its sentences, in `room` characters or little more, and its language's name."""
    lines: list[str] = []
    language, size, at = "", 0, sound.start + sound.seconds
    async for said in hearing.transcribe(sound):
        language = language or (name_of(said.language) if said.segments else "")
        for segment in said.segments:
            lines.append(f"[{clock(segment.start)}] {segment.text.strip()}")
            size += len(lines[-1]) + 1
            at = segment.end
        if size > room:
            rest = (
                f"[The transcript ends here, at {clock(at)}, because it is long. What is said later can be asked for with "
                f'`processing`: {{type: static, start_offset: "{at:.0f}s"}}.]'
            )
            lines.append(rest)
            break
    begin = f"[{what}, {_length(sound)}, {language or 'no speech in it'}]"
    return "\n".join([begin, *lines]), language


def clock(seconds: float) -> str:
    """A time as 1:05 or 1:02:05."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _length(sound: Sound) -> str:
    end = sound.start + sound.seconds
    length = f"{sound.seconds:.1f} s" if not sound.start else f"from {sound.start:g} s to {end:.1f} s"
    return f"{length} (parts of it are broken)" if sound.broken else length


def _seconds(text: str | None, name: str) -> float | None:
    if text is None:
        return None
    found = _OFFSET.fullmatch(text)
    if found is None:
        raise Unreadable(f'`processing.{name}` is {text!r}; it is written in seconds, such as "1.5s".')
    return float(found[1])


def _taken(body: bytes) -> Literal["audio/wav", "audio/mp3"] | None:
    if body.startswith(b"RIFF") and body[8:12] == b"WAVE":
        return "audio/wav"
    if body.startswith(b"ID3") or (body[:1] == b"\xff" and len(body) > 1 and body[1] & 0xE6 == 0xE2):
        return "audio/mp3"
    return None


def _moved(said: Said, by: float) -> Said:
    return msgspec.structs.replace(said, segments=tuple(_later(segment, by) for segment in said.segments))


def _later(segment: Segment, by: float) -> Segment:
    words = tuple(Word(word.text, word.start + by, word.end + by) for word in segment.words)
    return Segment(segment.text, segment.start + by, segment.end + by, words)


class _Decoding(Workers):
    """The processes that decode."""

    def __init__(self, workers: int, seconds: int, memory: int, patience: float) -> None:
        super().__init__(workers, seconds, patience)
        self._memory = memory

    async def sound(self, body: bytes, cut: Cut) -> Sound:
        largest = int((cut.longest + 1) * RATE * WIDTH) + _BESIDE
        return await self._do("listen", body, cut, Sound, memory=self._memory, largest=largest)

    async def film(self, body: bytes, wanted: Shots) -> Film:
        largest = wanted.most * wanted.side**2 * 3 + _BESIDE
        return await self._do("look", body, wanted, Film, memory=self._memory, largest=largest)
