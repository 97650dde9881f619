"""Sound from outside as samples: decoded, cut to the wanted segment, and made one channel of 16 kHz.

`listen` runs in the worker's child process only; what it says of itself here is read without any decoder.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec

from antiphon.media.jobs import Task
from antiphon.ports import Unreadable

if TYPE_CHECKING:
    import av
    from numpy.typing import NDArray

RATE = 16_000  # samples a second, as speech is listened to
WIDTH = 2  # bytes a sample: signed, the lower byte first
MISSING = "The server has nothing to decode sound and video with: pip install 'antiphon[hearing]'."

# What may be opened: the formats that the API names. Others lead to more files than the one (playlists, lists of parts).
FORMATS = (
    "wav,w64,mp3,aiff,aac,ogg,flac,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,mpegvideo,m4v,au,caf,amr,"
    "s16le,s16be,alaw,mulaw"
)
_HEADS = (b"RIFF", b"RF64", b"ID3", b"FORM", b"OggS", b"fLaC", b"\x1a\x45\xdf\xa3", b".snd")
_RAW = {
    "audio/l16": "s16le", "audio/pcm": "s16le", "audio/alaw": "alaw", "audio/pcma": "alaw", "audio/mulaw": "mulaw",
    "audio/pcmu": "mulaw", "audio/basic": "mulaw",
}  # fmt: skip
_TELEPHONE = 8_000  # the rate of A-law and mu-law that say none
_EXACT = {"wav", "flac", "matroska", "mov"}  # here a place in time is found without reading what is before it
_FAR = 60.0  # seconds that are read rather than jumped over
_FAULTS = 200  # broken packets in a row, after which the rest is not looked at
_LONGEST_PIECE, _SHORTEST_PIECE = 28.0, 16.0  # seconds: a model that hears looks at 30 at once
_STEP = 320  # samples: 20 ms
_HUSH = 10  # steps that must be quiet for a cut


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of a sound: from `start` to `end`, in seconds, and no more than `longest` of it.

    `sample_rate` and `channels` are those of raw samples, which do not say them.
    """

    mime_type: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    start: float = 0.0
    end: float | None = None
    longest: float = 3600.0


class Sound(msgspec.Struct, frozen=True, kw_only=True):
    """Samples (`RATE`, one channel, `WIDTH` bytes each), which begin at `start` seconds of the whole.

    `cuts` are the bytes before which it is quiet: where it can be taken apart into pieces of half a minute. `format` is
    the container's name, `broken` says that it ended before its end.
    """

    samples: bytes
    start: float
    cuts: tuple[int, ...]
    format: str
    broken: bool = False

    @property
    def seconds(self) -> float:
        return len(self.samples) / (RATE * WIDTH)

    def pieces(self) -> Iterator[tuple[float, bytes]]:
        """The pieces, each with the time of its beginning in the whole."""
        begin = 0
        for end in (*self.cuts, len(self.samples)):
            if end > begin:
                yield self.start + begin / (RATE * WIDTH), self.samples[begin:end]
            begin = end


def can_decode() -> bool:
    """Whether the decoders are installed."""
    return find_spec("av") is not None and find_spec("numpy") is not None


def prepare(body: bytes, cut: Cut) -> None:
    """Load what is needed, before there is a sound. Raises Unreadable without it."""
    if not can_decode():
        raise Unreadable(MISSING)
    import av  # noqa: F401 - so that a process per job need not, nor could
    import numpy  # noqa: F401


def listen(body: bytes, cut: Cut) -> Sound:
    """The sound of some audio or video. Raises Unreadable."""
    import av

    try:
        with opened(body, cut) as container:
            if not container.streams.audio:
                raise Unreadable("It holds no sound.")
            return _decoded(container, known(container.streams.audio), cut)
    except (av.FFmpegError, ValueError, OverflowError, IndexError, EOFError) as error:
        if isinstance(error, MemoryError):  # the decoder's own
            raise MemoryError from None
        raise Unreadable("It is broken, or not of a kind that can be listened to.") from None


def opened(body: bytes, cut: Cut) -> av.container.InputContainer:
    """The container that some bytes are, with none but the formats that are known, and no way to other files."""
    import av

    options = {"format_whitelist": FORMATS, "protocol_whitelist": "", "enable_drefs": "0"}
    format = None
    if (raw := raw_format(body, cut.mime_type)) is not None:
        format = _in_order(raw, body)
        options |= _raw_options(format, cut)
    return av.open(io.BytesIO(body), "r", format=format, container_options=options, metadata_errors="replace")


def known(streams: Iterable[Any]) -> Any:
    """The first stream that there is a decoder for. Raises Unreadable."""
    found = next((stream for stream in streams if stream.codec_context is not None), None)
    if found is None:
        raise Unreadable("It is encrypted, or of a codec that is not known here.")
    return found


def raw_format(body: bytes, mime_type: str | None) -> str | None:
    """The name of raw samples' format, if that is what these bytes are: said to be so, and not looking otherwise."""
    said = (mime_type or "").partition(";")[0].strip().lower()
    return None if body.startswith(_HEADS) or body[4:8] == b"ftyp" else _RAW.get(said)


def _raw_options(format: str, cut: Cut) -> dict[str, str]:
    said = dict(re.findall(r";\s*(rate|channels)\s*=\s*\"?(\d{1,6})", (cut.mime_type or "").lower()))
    rate = cut.sample_rate or int(said.get("rate", 0)) or (0 if format.startswith("s16") else _TELEPHONE)
    channels = cut.channels or int(said.get("channels", 0)) or 1
    if not rate:
        raise Unreadable("Raw samples (audio/l16) do not say how fast they are: set `sample_rate`, and `channels`.")
    if not (1_000 <= rate <= 384_000 and 1 <= channels <= 8):
        raise Unreadable(f"{rate} samples a second in {channels} channels cannot be listened to.")
    return {"sample_rate": str(rate), "ch_layout": f"{channels}c"}


def _in_order(format: str, body: bytes) -> str:
    """L16 has its higher byte first in its standard, and its lower in this API: the smoother of both is the sound."""
    if format != "s16le":
        return format
    import numpy as np

    some = body[: 2 * RATE * 10 & ~1]
    little, big = (np.frombuffer(some[: len(some) & ~1], kind).astype(np.int32) for kind in ("<i2", ">i2"))
    rough = [int(np.abs(np.diff(samples)).sum()) for samples in (little, big)]
    return "s16be" if rough[1] < rough[0] else "s16le"


def _decoded(container: av.container.InputContainer, stream: Any, cut: Cut) -> Sound:
    import numpy as np

    format = container.format.name.partition(",")[0]
    tape = _Tape(container, stream)
    tape.wind(cut.start if format in _EXACT else 0.0)
    length = cut.longest + 1 if cut.end is None else cut.end - cut.start
    pieces: list[NDArray[Any]] = []
    heard = taken = 0
    for samples in tape.samples():
        heard += len(samples)
        behind = heard - round((cut.start - tape.began) * RATE)  # samples that stand behind the start
        if behind > 0:
            pieces.append(samples[-behind:])
            taken += len(pieces[-1])
        if taken > min(length, cut.longest) * RATE:
            break
    whole = np.concatenate(pieces)[: round(length * RATE)] if taken else np.zeros(0, np.int16)
    if len(whole) > cut.longest * RATE:
        raise Unreadable(
            f"It is longer than {cut.longest / 60:g} minutes, and no more is listened to at once: choose a segment with "
            "`processing`: {type: static, start_offset, end_offset}."
        )
    if not len(whole):
        raise Unreadable(_nothing(tape.began + heard / RATE if heard else 0.0, cut))
    return Sound(
        samples=whole.tobytes(),
        start=cut.start,
        cuts=tuple(place * WIDTH for place in _cuts(whole)),
        format=format,
        broken=tape.broken,
    )


def _nothing(seconds: float, cut: Cut) -> str:
    if not seconds:
        return "No sound could be decoded of it: it is empty, broken, encrypted, or of a codec that is not known here."
    return f"It is {seconds:.1f} s long: there is nothing behind {cut.start:g} s."


class _Tape:
    """A stream's samples as they are decoded. `began` is the time of the first, `broken` that not all could be had."""

    def __init__(self, container: av.container.InputContainer, stream: Any) -> None:
        self._container = container
        self._stream = stream
        self._zero = (container.start_time or 0) / 1_000_000
        self._wound = False
        self.began = 0.0
        self.broken = False
        stream.codec_context.thread_count = 1  # a process apart may start no others

    def wind(self, seconds: float) -> None:
        """Go to some place before that time, if it is far."""
        if seconds > _FAR:
            self._container.seek(int((seconds - 1 + self._zero) * 1_000_000))
            self._wound = True

    def samples(self) -> Iterator[NDArray[Any]]:
        """All of them from here on."""
        import av

        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        first = self._wound
        for frame in decoded(self._container, self._stream, self._broke):
            if first:
                first, self.began = False, (frame.time or 0.0) - self._zero
            try:
                made = resampler.resample(frame)
            except (av.FFmpegError, ValueError):  # it changes its form on the way
                self.broken = True
                break
            for part in made:
                yield part.to_ndarray().reshape(-1)
        for part in resampler.resample(None):
            yield part.to_ndarray().reshape(-1)

    def _broke(self) -> None:
        self.broken = True


def decoded(container: Any, stream: Any, broke: Callable[[], None]) -> Iterator[Any]:
    """The frames of a stream from where its container stands; `broke` is told of packets that are not decoded."""
    import av

    faults = 0
    packets = container.demux(stream)
    while faults < _FAULTS:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, ValueError):
            break
        try:
            yield from packet.decode()
            faults = 0
        except (av.FFmpegError, ValueError):
            broke()
            faults += 1
    broke()


def _cuts(samples: NDArray[Any]) -> Iterator[int]:
    """Where it is quiet, so that no piece is longer than `_LONGEST_PIECE`."""
    import numpy as np

    begin = 0
    while len(samples) - begin > _LONGEST_PIECE * RATE:
        first, last = begin + int(_SHORTEST_PIECE * RATE), begin + int(_LONGEST_PIECE * RATE)
        steps = samples[first : first + (last - first) // _STEP * _STEP].reshape(-1, _STEP)
        loud = np.abs(steps.astype(np.float32)).mean(axis=1)
        hush = np.convolve(loud, np.ones(_HUSH) / _HUSH, mode="valid")
        # Of places that are as quiet the last: fewer pieces.
        quiet = np.flatnonzero(hush <= hush.min() * 1.2 + 1)[-1]
        begin = first + (int(quiet) + _HUSH // 2) * _STEP
        yield begin


TASK = Task(Cut, prepare, listen)
