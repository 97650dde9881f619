"""Speech by a server that speaks the OpenAI-compatible `POST {url}/audio/speech`, local or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from antiphon import wire
from antiphon.ports import Voice
from antiphon.speech.formats import Encoder, content, format_of
from antiphon.speech.script import Script, parts, pieces
from antiphon.speech.voices import PATH, PREBUILT, check_speakers

if TYPE_CHECKING:
    import aiohttp

_RATE = 24000  # what such servers give as `pcm`: 16 bits, one channel, little-endian
_LONGEST = 4000  # characters of a request; the dialect allows 4096
_USUAL = ("alloy", "echo", "fable", "onyx", "nova", "shimmer")
_STEP = 24000  # bytes of sound that are passed on together: half a second
_HEAD = 44


class RemoteSpeech:
    """The model `model` of the server at `url`, an address that ends like `/v1`.

    `voices` are the server's names for its voices; a mapping gives them further names, such as the service's. `languages`
    are those it speaks: it goes by the text, so one can only be asked for where this says that it is spoken.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        model: str = "tts-1",
        voices: Mapping[str, str] | Sequence[str] = (),
        languages: Sequence[str] = (),
        seconds: float = 60.0,
    ) -> None:
        self._url = f"{url.rstrip('/')}/audio/speech"
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._model = model
        self._names = dict(voices) if isinstance(voices, Mapping) else {}
        own = dict.fromkeys(self._names.values() if isinstance(voices, Mapping) else voices)
        self._own = list(own) or list(_USUAL)
        self._languages = list(languages)
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def __call__(
        self, text: str | AsyncIterable[str], voices: Sequence[wire.SpeechConfig], format: wire.AudioFormat
    ) -> AsyncGenerator[wire.AudioContent, None]:
        """Pieces of one sound as the server sends them. Raises InvalidRequest, FailedPrecondition, Unavailable."""
        wanted = format_of(format)
        cast = self._cast(voices)
        script = Script([config.speaker for config in voices])
        encoder = Encoder(wanted)
        async for part in parts(text):
            for line in script.lines(part):
                for portion in _portions(line.text):
                    async with aclosing(self._sound(portion, cast[line.speaker])) as sounds:
                        async for samples, rate in sounds:
                            if data := await asyncio.to_thread(encoder.add, samples, rate):
                                yield content(data, wanted)
        if data := await asyncio.to_thread(encoder.end):
            yield content(data, wanted)

    async def voices(self) -> Sequence[Voice]:
        """The server's own, then the other names for them."""
        language = self._languages[0] if self._languages else ""
        own = [Voice(id=name, language_code=language, display_name=name) for name in self._own]
        names = {name: self._named(name) for name in [*self._names, *PREBUILT] if name not in self._own}
        return own + [
            Voice(id=name, language_code=language, display_name=name, description=f"Spoken by {voice}.")
            for name, voice in names.items()
        ]

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _cast(self, asked: Sequence[wire.SpeechConfig]) -> list[str]:
        check_speakers(asked)
        cast = []
        for place, config in enumerate(asked):
            path = f"{PATH}[{place}]"
            voice = self._named(config.voice) if config.voice else self._own[place % len(self._own)]
            if voice is None:
                known = ", ".join([*self._own, *self._names, *PREBUILT])
                raise wire.InvalidRequest(f"There is no voice '{config.voice}' at '{path}.voice'. There are: {known}.")
            if config.language is not None and not self._speaks(config.language):
                spoken = ", ".join(self._languages) or "none, as its settings name none"
                raise wire.InvalidRequest(
                    f"'{config.language[:50]}' at '{path}.language' is not among the languages that this server asks for: "
                    f"{spoken}."
                )
            cast.append(voice)
        return cast or [self._own[0]]

    def _named(self, name: str) -> str | None:
        if name in self._own:
            return name
        if given := {known.casefold(): voice for known, voice in self._names.items()}.get(name.casefold()):
            return given
        order = list(PREBUILT)
        known = name.capitalize()
        return self._own[order.index(known) % len(self._own)] if known in order else None

    def _speaks(self, language: str) -> bool:
        wanted = language.lower().replace("_", "-")
        return any(wanted == one.lower() or wanted.partition("-")[0] == one.lower() for one in self._languages)

    async def _sound(self, text: str, voice: str) -> AsyncGenerator[tuple[bytes, int], None]:
        """Samples and their rate, as they come. Raises ApiError."""
        import aiohttp

        if self._session is None:
            patience = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self._seconds)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=patience)
        body = {"model": self._model, "input": text, "voice": voice, "response_format": "pcm"}
        try:
            # A redirect is not followed: it would take the key along.
            async with self._session.post(self._url, json=body, allow_redirects=False) as response:
                if response.status != 200:
                    raise _refusal(response.status, (await response.content.read(2000)).decode(errors="replace"))
                reading = _Samples()
                async for chunk in response.content.iter_any():
                    if samples := reading.add(chunk):
                        yield samples, reading.rate
                if samples := reading.end():
                    yield samples, reading.rate
        except TimeoutError:
            raise wire.Unavailable(f"The speech server stayed silent for {self._seconds:g} seconds.") from None
        except (aiohttp.ClientError, OSError) as error:
            raise wire.Unavailable(f"The speech server cannot be reached: {error.__class__.__name__}.") from None


class _Samples:
    """Whole samples out of what a server sends: it is asked for bare ones, and some put a WAV file's head before them."""

    def __init__(self) -> None:
        self.rate = _RATE
        self._rest = b""
        self._begun = False

    def add(self, data: bytes) -> bytes:
        self._rest += data
        if len(self._rest) < max(_STEP, _HEAD):
            return b""
        return self._taken()

    def end(self) -> bytes:
        return self._taken()

    def _taken(self) -> bytes:
        data = self._rest if self._begun else self._without_head(self._rest)
        self._begun = True
        even = len(data) // 2 * 2
        self._rest = data[even:]
        return data[:even]

    def _without_head(self, data: bytes) -> bytes:
        if data[:4] != b"RIFF":
            if data[:3] in (b"ID3", b"Ogg", b"fLa") or data[:1] == b"{":
                raise wire.Unavailable("The speech server sends something else than the 'pcm' that it is asked for.")
            return data
        place = data.find(b"data", 36, 4096)
        if place < 0 or data[20:24] != b"\x01\x00\x01\x00" or data[34:36] != b"\x10\x00":
            raise wire.Unavailable("The speech server sends WAV that is not of 16 bits and one channel.")
        self.rate = int.from_bytes(data[24:28], "little")
        if not 8000 <= self.rate <= 192_000:
            raise wire.Unavailable("The speech server sends WAV of a strange rate.")
        return data[place + 8 :]


def _refusal(status: int, text: str) -> wire.ApiError:
    said = " ".join(text.split())[:300]
    if status in (400, 413, 422):
        return wire.InvalidRequest(f"The speech server refuses this: {said}")
    if status in (401, 403, 404, 405) or status < 400:
        return wire.FailedPrecondition(f"The speech server answered {status}; its settings here are wrong: {said}")
    return wire.Unavailable(f"The speech server answered {status}: {said}")


def _portions(text: str) -> Iterator[str]:
    """Sentences together, as many as one request takes: the more of them, the better it reads them."""
    portion = ""
    for sentence in pieces(text):
        if portion and len(portion) + len(sentence) >= _LONGEST:
            yield portion
            portion = ""
        portion = f"{portion} {sentence}".strip()
    if portion:
        yield portion
