"""The formats of speech: what may be asked, and sound written in them as it is made.

The parts that an encoder gives, joined, are one file. Only our own sound is handled here.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import msgspec

from antiphon import wire

if TYPE_CHECKING:
    import av

MimeType = Literal["audio/l16", "audio/wav", "audio/mp3", "audio/ogg", "audio/alaw", "audio/mulaw"]

_PATH = "response_format"
_PLAIN = range(8000, 48001)  # samples a second
# By asked type: what the content is called, the usual rate, the rates there are, the codec, and its container.
_KINDS: dict[str, tuple[MimeType, int, range | tuple[int, ...], str, str]] = {
    "audio/l16": ("audio/l16", 24000, _PLAIN, "", ""),
    "audio/wav": ("audio/wav", 24000, _PLAIN, "", ""),
    "audio/alaw": ("audio/alaw", 8000, _PLAIN, "pcm_alaw", "alaw"),
    "audio/mulaw": ("audio/mulaw", 8000, _PLAIN, "pcm_mulaw", "mulaw"),
    "audio/mp3": (
        "audio/mp3",
        24000,
        (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
        "libmp3lame",
        "mp3",
    ),
    "audio/ogg_opus": ("audio/ogg", 24000, (8000, 12000, 16000, 24000, 48000), "libopus", "ogg"),
}
_OPUS_BITS = (6000, 256_000)  # of one channel
_USUAL_BITS = 64_000  # of mp3; 32_000 of Opus, which needs fewer
_UNKNOWN = 0xFFFFFFFF  # a length that is not known yet, as players of streams understand it
_OPTIONS = {
    "mp3": {"write_xing": "0", "id3v2_version": "0"},  # both would have to be written again at the end
    "ogg": {"page_duration": "200000"},  # microseconds: a page is sent when it is full
}


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """A format that can be written: `rate` in samples a second, `bits` a second where it is compressed."""

    mime_type: MimeType
    rate: int
    bits: int | None = None
    codec: str = ""
    container: str = ""


def format_of(asked: wire.AudioFormat) -> Format:
    """What is asked for, 24 kHz of 16-bit samples where nothing is said. Raises InvalidRequest, FailedPrecondition."""
    kind = asked.mime_type or "audio/l16"
    mime_type, rate, rates, codec, container = _KINDS[kind]
    if asked.sample_rate is not None:
        rate = asked.sample_rate
    if rate not in rates:
        known = "from 8000 to 48000" if isinstance(rates, range) else f"one of {', '.join(map(str, rates))}"
        raise wire.InvalidRequest(f"{rate} at '{_PATH}.sample_rate' is not {known}, which {kind} has.")
    bits = asked.bit_rate
    if bits is not None:
        if kind not in ("audio/mp3", "audio/ogg_opus"):
            raise wire.InvalidRequest(
                f"'{_PATH}.bit_rate' is for audio/mp3 and audio/ogg_opus: {kind} has the bit rate of its samples."
            )
        least, most = _OPUS_BITS if codec == "libopus" else _mp3_bits(rate)
        if not least <= bits <= most:
            raise wire.InvalidRequest(f"{bits} at '{_PATH}.bit_rate' is not from {least} to {most}.")
    elif codec == "libmp3lame":
        bits = min(_USUAL_BITS, _mp3_bits(rate)[1])
    elif codec == "libopus":
        bits = _USUAL_BITS // 2
    if find_spec("av") is None:
        raise wire.FailedPrecondition("Speech cannot be written here: pip install 'antiphon[speech]'.")
    return Format(mime_type=mime_type, rate=rate, bits=bits, codec=codec, container=container)


def _mp3_bits(rate: int) -> tuple[int, int]:
    """Least and most bits a second: MPEG 2.5, 2 and 1 have their own."""
    return (32_000, 320_000) if rate >= 32000 else (8_000, 160_000) if rate >= 16000 else (8_000, 64_000)


def content(data: bytes, format: Format) -> wire.AudioContent:
    """A piece of sound; each says what it is, as clients look at any of them."""
    encoded = base64.b64encode(data).decode("ascii")
    return wire.AudioContent(data=encoded, mime_type=format.mime_type, sample_rate=format.rate, channels=1)


class Encoder:
    """Writes one sound. It is given samples of 16 bits, one channel, little-endian, of whatever rate; see `Format`.

    Its calls take time of the processor: make them in a thread, one after the other.
    """

    def __init__(self, format: Format) -> None:
        self._format = format
        self._resampler: av.AudioResampler | None = None
        self._rate = 0  # of what the resampler is fed
        self._target = _Container(format) if format.codec else None
        self._begun = False
        self.seconds = 0.0  # of sound written so far

    def add(self, samples: bytes, rate: int) -> bytes:
        """Go on with these samples; what can be given away by now."""
        if rate != self._rate:
            rest = self._flushed()
            self._rate = rate
        else:
            rest = b""
        return self._written(rest + self._at_rate(samples))

    def pause(self, seconds: float) -> bytes:
        """Go on with silence."""
        rest, self._rate = self._flushed(), 0
        return self._written(rest + bytes(2 * round(seconds * self._format.rate)))

    def end(self) -> bytes:
        """The rest of the file; nothing where there was no sound."""
        if not self._begun:
            return b""
        rest = self._written(self._flushed())
        return rest + self._target.end() if self._target else rest

    def _written(self, samples: bytes) -> bytes:
        self.seconds += len(samples) / 2 / self._format.rate
        begun, self._begun = self._begun, True
        if self._target is not None:
            return self._target.add(samples)
        head = b"" if begun or self._format.mime_type != "audio/wav" else wav_head(self._format.rate)
        return head + samples

    def _at_rate(self, samples: bytes) -> bytes:
        import av

        if self._rate == self._format.rate or not samples:
            return samples
        if self._resampler is None:
            self._resampler = av.AudioResampler("s16", "mono", self._format.rate)
        return b"".join(map(_samples_of, self._resampler.resample(_frame(samples, self._rate))))

    def _flushed(self) -> bytes:
        resampler, self._resampler = self._resampler, None
        return b"".join(map(_samples_of, resampler.resample(None))) if resampler is not None else b""


class _Container:
    """A coder and what it writes into, which cannot go back."""

    def __init__(self, format: Format) -> None:
        import av

        self._parts: list[bytes] = []
        self._rate = format.rate
        self._file = av.open(self, "w", format=format.container, options=_OPTIONS.get(format.container, {}))
        stream = self._file.add_stream(format.codec, rate=format.rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        self._stream = stream
        if format.bits is not None:
            self._stream.bit_rate = format.bits
        self._stream.codec_context.open()
        self._sample_format = self._stream.codec_context.format.name
        self._size = self._stream.codec_context.frame_size or 0
        self._fifo = av.AudioFifo()
        self._samples = 0

    def write(self, data: bytes) -> int:
        """What the container calls to write."""
        self._parts.append(bytes(data))
        return len(data)

    def add(self, samples: bytes) -> bytes:
        for frame in self._frames(samples):
            self._encode(frame)
        return self._taken()

    def end(self) -> bytes:
        if self._fifo.samples and (frame := self._fifo.read()) is not None:
            self._encode(frame)
        self._encode(None)
        self._file.close()
        return self._taken()

    def _frames(self, samples: bytes) -> Iterator[av.AudioFrame]:
        import av

        if not samples:
            return
        resampler = av.AudioResampler(self._sample_format, "mono", self._rate)  # only what a sample is, not how many
        for frame in resampler.resample(_frame(samples, self._rate)):
            frame.pts = None
            self._fifo.write(frame)
        if self._size:
            yield from self._fifo.read_many(self._size)
        elif (all_of_it := self._fifo.read()) is not None:
            yield all_of_it

    def _encode(self, frame: av.AudioFrame | None) -> None:
        if frame is not None:
            frame.pts = self._samples
            self._samples += frame.samples
        self._file.mux(self._stream.encode(frame))

    def _taken(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _frame(samples: bytes, rate: int) -> av.AudioFrame:
    import av

    frame = av.AudioFrame("s16", "mono", len(samples) // 2)
    frame.sample_rate = rate
    frame.planes[0].update(samples.ljust(frame.planes[0].buffer_size, b"\0"))
    return frame


def _samples_of(frame: av.AudioFrame) -> bytes:
    return bytes(frame.planes[0])[: 2 * frame.samples]


def wav_head(rate: int) -> bytes:
    """The head of a WAV file of 16-bit samples, one channel, whose length is not known yet."""
    about = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF" + struct.pack("<I", _UNKNOWN) + b"WAVEfmt " + about + b"data" + struct.pack("<I", _UNKNOWN)
