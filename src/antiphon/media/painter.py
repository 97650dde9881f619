"""A picture decoded, made as small as a model needs it, and written anew. Runs in the worker's child process only.

What leaves here was written by Pillow's own encoder: whatever a picture from outside held beside its pixels (places where
it was taken, tricks on other decoders, data behind its end) stays behind.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

import msgspec

from antiphon.media.headers import header_of
from antiphon.media.jobs import Task
from antiphon.ports import Picture, Unreadable

if TYPE_CHECKING:
    from PIL import Image

PIXELS = 64 * 10**6  # as it comes: the largest cameras' pictures, and 200 to 500 MB decoded

_Kind = Literal["image/png", "image/jpeg"]
_SMALLEST = 32  # pixels a side: models refuse less
_QUALITIES = (85, 70, 50)
_LOSSLESS = {"PNG", "GIF", "BMP", "TIFF"}
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "HEIF")
_ORIENTATION = 0x0112  # its number in EXIF
_WIDE = {"I", "I;16", "I;16B", "I;16L"}  # one channel of sixteen bits and more


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """How large a picture may be shown: `side` in pixels, `largest` in bytes."""

    side: int
    largest: int


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A picture as it may be shown, and of how many it is the first."""

    picture: Picture
    frames: int = 1


def prepare() -> None:
    """Load what is needed, before there is a picture. Raises Unreadable without Pillow."""
    try:
        from PIL import Image
    except ImportError:
        raise Unreadable("The server has no pillow for it: pip install 'antiphon[documents]'.") from None
    Image.preinit()
    Image.init()
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.options.DECODE_THREADS = 0  # none beside its own
        pillow_heif.register_heif_opener()


def paint(body: bytes, side: int, largest: int) -> Picture:
    """The picture within `side` pixels and `largest` bytes, as PNG or JPEG. Raises Unreadable."""
    header = header_of(body)
    assert header is not None, "the caller has looked"
    with opened(body) as picture:
        if picture.width * picture.height > header.width * header.height:
            raise Unreadable("It is larger than it says.")
        small = _small(picture, side)
        mime_type, written = _written(_padded(small), largest, lossless=picture.format in _LOSSLESS)
    return Picture(body=written, mime_type=mime_type, kind=header.mime_type, width=header.width, height=header.height)


def show(body: bytes, asked: Frame) -> Shown:
    """The same for a picture of any kind that Pillow opens, with the number of pictures in its file. Raises Unreadable."""
    with opened(body) as picture:
        width, height = picture.size
        kind = f"image/{(picture.format or '').lower()}"
        frames = frames_of(picture)
        small = _small(picture, asked.side)
        mime_type, written = _written(_padded(small), asked.largest, lossless=picture.format in _LOSSLESS)
    return Shown(
        picture=Picture(body=written, mime_type=mime_type, kind=kind, width=width, height=height), frames=frames
    )


def decoded(body: bytes, side: int) -> tuple[Image.Image, str, tuple[int, int], int]:
    """The picture itself within `side` pixels, what it was, its size then, and how many there are. Raises Unreadable."""
    with opened(body) as picture:
        return _small(picture, side), picture.format or "", picture.size, frames_of(picture)


@contextmanager
def opened(body: bytes) -> Iterator[Image.Image]:
    """A picture of a known kind and of a size that may be decoded. Raises Unreadable, also for what is wrong within."""
    from PIL import Image, UnidentifiedImageError

    if other := _other(body):
        raise Unreadable(other)
    Image.MAX_IMAGE_PIXELS = PIXELS  # Pillow looks before it decodes anything
    try:
        with Image.open(io.BytesIO(body), formats=[kind for kind in _FORMATS if kind in Image.OPEN]) as picture:
            if not 0 < picture.width * picture.height <= PIXELS:
                raise Unreadable(
                    f"It has {picture.width} x {picture.height} pixels; at most {PIXELS // 10**6} million are looked at."
                )
            yield picture
    except Image.DecompressionBombError:
        raise Unreadable(f"It has more than {PIXELS // 10**6} million pixels; no more are looked at.") from None
    except UnidentifiedImageError:
        raise Unreadable(
            "It is broken, or no picture of a kind that is read here: PNG, JPEG, WebP, GIF, BMP, TIFF, HEIC."
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, ArithmeticError, KeyError, IndexError):
        raise Unreadable("It is broken.") from None
    except (TypeError, AttributeError, RuntimeError) as error:  # faults of decoders on odd files
        if isinstance(error, RecursionError):
            raise
        raise Unreadable("It is broken.") from None


def _other(body: bytes) -> str:
    """Words for what is no picture of points."""
    head = body[:1024]
    if b"%PDF-" in head:
        return "It is a PDF document: send it as content of type document."
    if b"<svg" in head.lower():
        return "It is a drawing (SVG), which is not drawn here: send it as PNG or JPEG."
    if not body:
        return "It is empty."
    return ""


def frames_of(picture: Image.Image) -> int:
    """How many pictures a file has; one where it cannot say."""
    try:
        return min(int(getattr(picture, "n_frames", 1)), 10_000)
    except (OSError, ValueError, SyntaxError, EOFError):
        return 1


def encoded(picture: Image.Image, largest: int, *, lossless: bool = True) -> tuple[_Kind, bytes]:
    """A picture of our own making, as PNG or JPEG of at most `largest` bytes."""
    return _written(_padded(picture), largest, lossless=lossless)


def _small(picture: Image.Image, side: int) -> Image.Image:
    """Within `side` pixels, red, green and blue, on white where it can be seen through, turned as its EXIF says."""
    from PIL import Image, ImageOps

    picture.draft("RGB", (side, side))  # JPEG: decoded no larger than needed
    turned = picture.getexif().get(_ORIENTATION, 1)
    if picture.mode in _WIDE:
        picture = picture.convert("I").point(lambda value: value / 256).convert("L")
    elif picture.mode == "PA" or "transparency" in picture.info:
        picture = picture.convert("RGBA")
    elif picture.mode not in ("L", "LA", "RGB", "RGBA"):
        picture = picture.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)  # before what takes memory
    if picture.mode in ("LA", "RGBA"):
        clear = picture.convert("RGBA")
        picture = Image.new("RGB", clear.size, "white")
        picture.paste(clear, mask=clear.getchannel("A"))
    plain = picture.convert("RGB")
    plain.info = {}
    plain.getexif()[_ORIENTATION] = turned
    return ImageOps.exif_transpose(plain)


def _padded(picture: Image.Image) -> Image.Image:
    """On white where a side is too small for a model."""
    from PIL import Image

    if min(picture.size) >= _SMALLEST:
        return picture
    canvas = Image.new("RGB", (max(picture.width, _SMALLEST), max(picture.height, _SMALLEST)), "white")
    canvas.paste(picture)
    return canvas


def _written(picture: Image.Image, largest: int, *, lossless: bool) -> tuple[_Kind, bytes]:
    """As PNG where it was lossless and is small so, else as JPEG, in the end with fewer pixels."""
    from PIL import Image

    if lossless:
        body = _saved(picture, "PNG", optimize=True)
        if len(body) <= largest:
            return "image/png", body
    while True:
        for quality in _QUALITIES:
            body = _saved(picture, "JPEG", quality=quality)
            if len(body) <= largest or max(picture.size) <= 2 * _SMALLEST:
                return "image/jpeg", body
        half = (max(_SMALLEST, picture.width // 2), max(_SMALLEST, picture.height // 2))
        picture = picture.resize(half, Image.Resampling.LANCZOS)


def _saved(picture: Image.Image, kind: str, **options: int | bool) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


TASK = Task(Frame, lambda _body, _asked: prepare(), lambda body, asked: paint(body, asked.side, asked.largest))
SHOW = Task(Frame, lambda _body, _asked: prepare(), show)
