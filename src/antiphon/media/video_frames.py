"""Frames of a video from outside, as small JPEGs. `look` runs in the worker's child process only."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec

from antiphon.media.jobs import Task
from antiphon.media.sound import MISSING, Cut, can_decode, decoded, known, opened
from antiphon.ports import Unreadable

if TYPE_CHECKING:
    import av
    from PIL import Image

_PIXELS = 36 * 10**6  # of a frame, as it comes
_HURRY = 0.5  # the share of its time after which only keyframes are looked at
_NEAR = 10.0  # seconds that are decoded rather than jumped over
_NO_WAY = {"flv", "mpegvideo", "m4v"}  # formats in which a place can only be reached by reading what is before it
_QUALITY = 80
_SMALLEST = 32  # pixels a side: models refuse less


class Shots(msgspec.Struct, frozen=True, kw_only=True):
    """Which frames are wanted: `fps` a second from `start` to `end` seconds, at most `most`, spread over the length.

    They are made to fit into a square of `side` pixels; it takes `seconds` at most, or a little more.
    """

    start: float = 0.0
    end: float | None = None
    fps: float = 1.0
    most: int = 16
    side: int = 512
    seconds: float = 30.0


class Shot(msgspec.Struct, frozen=True):
    """A frame, and when it is shown, in seconds."""

    at: float
    jpeg: bytes


class Film(msgspec.Struct, frozen=True, kw_only=True):
    """The frames of a video in order; how long all of it is, its size in pixels, and whether there is sound."""

    shots: tuple[Shot, ...]
    seconds: float
    width: int
    height: int
    sound: bool
    format: str
    broken: bool = False


def prepare(body: bytes, wanted: Shots) -> None:
    """Load what is needed, before there is a video. Raises Unreadable without it."""
    if not can_decode() or find_spec("PIL") is None:
        raise Unreadable(MISSING)
    import av.video.reformatter  # noqa: F401 - so that a process per job need not, nor could
    import numpy  # noqa: F401
    from PIL import Image, JpegImagePlugin  # noqa: F401


def look(body: bytes, wanted: Shots) -> Film:
    """The wanted frames of a video. Raises Unreadable."""
    import av

    try:
        with opened(body, Cut()) as container:
            said = container.duration
            length = said / 1_000_000 if said and said > 0 else _measured(body)
            return _film(container, wanted, length)
    except (av.FFmpegError, ValueError, OverflowError, IndexError, EOFError) as error:
        if isinstance(error, MemoryError):  # the decoder's own
            raise MemoryError from None
        raise Unreadable("It is broken, or not of a kind that can be looked at.") from None


def _measured(body: bytes) -> float:
    """How long a video is that does not say so, in seconds, by reading all of it."""
    import av

    last = 0.0
    with opened(body, Cut()) as container:
        zero = (container.start_time or 0) / 1_000_000
        try:
            for packet in container.demux(container.streams.video[:1]):
                if packet.pts is not None and packet.time_base:
                    last = max(last, float(packet.pts * packet.time_base) - zero)
        except (av.FFmpegError, ValueError):
            pass  # so long, then
    return last


def _film(container: av.container.InputContainer, wanted: Shots, length: float) -> Film:
    if not container.streams.video:
        raise Unreadable("It holds no moving picture.")
    stream = known(container.streams.video)
    width, height = stream.codec_context.width, stream.codec_context.height
    if not 0 < width * height <= _PIXELS:
        raise Unreadable(
            f"Its frames have {width} x {height} pixels; at most {_PIXELS // 10**6} million are looked at."
        )
    reel = _Reel(container, stream, wanted.seconds * _HURRY)
    end = min(length, wanted.end) if wanted.end is not None else length
    if wanted.start and wanted.start >= end:
        raise Unreadable(f"It is {length:.1f} s long: there is nothing behind {wanted.start:g} s.")
    shots: list[Shot] = []
    for at in times(wanted.start, end, wanted.fps, wanted.most):
        frame = reel.frame(at)
        if frame is not None:
            shots.append(Shot(round(frame[0], 3), _jpeg(_picture(frame[1], wanted.side))))
    if not shots:
        raise Unreadable(
            "No frame could be decoded of it: it is broken, encrypted, or of a codec that is not known here."
        )
    return Film(
        shots=tuple(shots),
        seconds=length,
        width=width,
        height=height,
        sound=bool(container.streams.audio),
        format=container.format.name.partition(",")[0],
        broken=reel.broken,
    )


def times(start: float, end: float, fps: float, most: int) -> list[float]:
    """When frames are taken: `fps` a second from the start, or `most` in the middles of as many equal parts."""
    length = max(0.0, end - start)
    count = max(1, int(length * fps + 0.999))
    if count <= most:
        return [start + number / fps for number in range(count)]
    return [start + (number + 0.5) * length / most for number in range(most)]


class _Reel:
    """A stream's frames at increasing times. `broken` says that some could not be decoded."""

    def __init__(self, container: av.container.InputContainer, stream: Any, seconds: float) -> None:
        self._container = container
        self._stream = stream
        self._zero = (container.start_time or 0) / 1_000_000
        self._frames: Iterator[Any] = iter(())
        self._last: tuple[float, Any] | None = None  # as yet not given away
        self._given = -1.0
        self._hurry = time.monotonic() + seconds
        self._position = float("inf")
        self.broken = False
        stream.codec_context.thread_count = 1  # a process apart may start no others

    def frame(self, at: float) -> tuple[float, Any] | None:
        """The first frame from that time on, or the last one before it; None where it was given before."""
        if at <= self._given:
            return None
        if self._position - at > 0 or at - self._position > _NEAR or self._late():
            self._go(at)
        found = self._last
        for frame in self._frames:
            if frame.time is None:
                continue
            self._position = float(frame.time) - self._zero
            found = self._last = (self._position, frame)
            if self._position >= at - 0.001 or self._late():
                break
        if found is None or found[0] <= self._given:
            return None
        self._given = found[0]
        return found

    def _broke(self) -> None:
        self.broken = True

    def _late(self) -> bool:
        return time.monotonic() > self._hurry

    def _go(self, at: float) -> None:
        import av

        if self._late():
            self._stream.codec_context.skip_frame = "NONKEY"
        if at and self._container.format.name.partition(",")[0] not in _NO_WAY:
            try:
                self._container.seek(int((at + self._zero) * 1_000_000))
            except (av.FFmpegError, ValueError):
                self.broken = True
        self._position = min(at, self._position)
        self._frames = decoded(self._container, self._stream, self._broke)


def _picture(frame: Any, side: int) -> Image.Image:
    """Within `side` pixels, turned as the video says."""
    from av.video.reformatter import VideoReformatter
    from PIL import Image

    scale = min(1.0, side / max(frame.width, frame.height))
    width, height = (max(_SMALLEST, round(size * scale)) for size in (frame.width, frame.height))
    made: Any = VideoReformatter().reformat(frame, width, height, "rgb24", threads=1)
    picture: Image.Image = made.to_image()
    turned = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
    way = turned.get(int(frame.rotation) % 360)
    return picture.transpose(way) if way is not None else picture


def _jpeg(picture: Image.Image) -> bytes:
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=_QUALITY)
    return target.getvalue()


TASK = Task(Shots, prepare, look)
