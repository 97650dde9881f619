"""A picture decoded, made as small as a model needs it, and written anew. Runs in the worker's child process only.

What leaves here was written by Pillow's own encoder: whatever a picture from outside held beside its pixels (places where
it was taken, tricks on other decoders, data behind its end) stays behind.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

from antiphon.media.headers import header_of
from antiphon.ports import Picture, Unreadable

if TYPE_CHECKING:
    from PIL import Image

_Kind = Literal["image/png", "image/jpeg"]
_SMALLEST = 32  # pixels a side: models refuse less
_QUALITIES = (85, 70, 50)
_LOSSLESS = {"image/png", "image/gif", "image/bmp"}
_ORIENTATION = 0x0112  # its number in EXIF
_WIDE = {"I", "I;16", "I;16B", "I;16L"}  # one channel of sixteen bits and more


def prepare() -> None:
    """Load what is needed, before there is a picture. Raises Unreadable without Pillow."""
    try:
        from PIL import Image
    except ImportError:
        raise Unreadable("The server has no pillow for it: pip install 'antiphon[documents]'.") from None
    Image.preinit()
    Image.init()


def paint(body: bytes, side: int, largest: int) -> Picture:
    """The picture within `side` pixels and `largest` bytes, as PNG or JPEG. Raises Unreadable."""
    from PIL import Image, UnidentifiedImageError

    header = header_of(body)
    assert header is not None, "the caller has looked"
    kind = header.mime_type.removeprefix("image/").upper()
    # Another size than the header's would be a trick; Pillow says so before it decodes anything.
    Image.MAX_IMAGE_PIXELS = header.width * header.height
    try:
        with Image.open(io.BytesIO(body), formats=[kind]) as opened:
            if opened.width * opened.height > header.width * header.height:
                raise Unreadable("It is larger than it says.")
            opened.draft("RGB", (side, side))  # JPEG: decoded no larger than needed
            picture = _small(opened, side)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError):
        raise Unreadable("It is broken.") from None
    mime_type, small = _written(_padded(picture), largest, lossless=header.mime_type in _LOSSLESS)
    return Picture(body=small, mime_type=mime_type, kind=header.mime_type, width=header.width, height=header.height)


def _small(picture: Image.Image, side: int) -> Image.Image:
    """Within `side` pixels, red, green and blue, on white where it can be seen through, turned as its EXIF says."""
    from PIL import Image, ImageOps

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
