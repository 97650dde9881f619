"""The process in which a picture is drawn or made another: `python -m antiphon.drawing.easel`, started by `studio.py`.

One job comes on standard input, one answer leaves on standard output, and the process ends. It is in the jail that parsers
of documents are in (`media/jail.py`) from before the job is looked at; no secret of the server's is in reach.
"""

from __future__ import annotations

import io
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from antiphon.drawing.sources import KEYWORD, LONGEST
from antiphon.drawing.svg import Clean, Unusable, cleaned
from antiphon.media.headers import header_of
from antiphon.media.jail import Jail

if TYPE_CHECKING:
    from PIL import Image

_QUALITY = 90
_PIXELS = 64 * 10**6
_FONTS = {"font_family": "DejaVu Sans", "sans_serif_family": "DejaVu Sans", "monospace_family": "DejaVu Sans Mono"}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A vector picture that a model wrote, or the bytes of a picture; and what is to be made of it.

    `width` and `height` in pixels; `seconds` of work and `memory` in bytes.
    """

    svg: str | None = None
    body: bytes = b""
    width: int
    height: int
    mime_type: str
    seconds: int
    memory: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The picture; or why there is none."""

    body: bytes = b""
    reason: str = ""


def main() -> None:
    """Do one job."""
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job)
    try:
        _confine(job)
        body = _drawn(job) if job.svg is not None else _made_over(job)
        answer = Answer(body=body)
    except Unusable as error:
        answer = Answer(reason=str(error))
    except (MemoryError, RecursionError):
        answer = Answer(reason="It takes too much memory to draw.")
    except ImportError as error:
        answer = Answer(reason=f"The server has no {error.name} to draw with: pip install 'antiphon[drawing]'.")
    sys.stdout.buffer.write(msgspec.msgpack.encode(answer))
    sys.stdout.buffer.flush()
    os._exit(0)  # nothing is left to be closed


def _confine(job: Job) -> None:
    import PIL.Image  # before the jail: loading takes memory of its own
    import resvg_py

    assert PIL.Image and resvg_py
    PIL.Image.preinit()
    Jail().enter(job.seconds, job.memory)


def _drawn(job: Job) -> bytes:
    """The vector picture in pixels; its safe source is kept in it where it is short enough."""
    from PIL import Image

    assert job.svg is not None
    clean = cleaned(job.svg, job.width, job.height)
    picture = Image.open(io.BytesIO(_rendered(clean, job)), formats=["PNG"]).convert("RGB")
    channels = (picture.getchannel(name).getextrema() for name in "RGB")
    if all(low == high for low, high in channels):
        raise Unusable("Nothing of it can be seen: it is all of one colour.")
    return _written(picture, job.mime_type, clean.text)


def _rendered(clean: Clean, job: Job) -> bytes:
    import resvg_py

    fonts: dict[str, Any] = {"font_dirs": _font_folders(), **_FONTS} if clean.has_text else {}
    try:
        drawn = resvg_py.svg_to_bytes(
            svg_string=clean.text,
            width=job.width,
            height=job.height,
            background="#ffffff",
            skip_system_fonts=not clean.has_text,
            **fonts,
        )
    except ValueError as error:
        raise Unusable(f"It cannot be drawn: {str(error)[:200]}.") from None
    return bytes(drawn)


def _font_folders() -> list[str]:
    """Fonts that come with a package, for machines that have none."""
    found = find_spec("matplotlib")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" if found and found.origin else None
    return [str(folder)] if folder is not None and folder.is_dir() else []


def _made_over(job: Job) -> bytes:
    """A picture in another type or size: cut to the shape where it has another one."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    header = header_of(job.body)
    if header is None or not 0 < header.width * header.height <= _PIXELS:
        raise Unusable("It is no picture that is known here, or too large.")
    Image.MAX_IMAGE_PIXELS = header.width * header.height
    try:
        with Image.open(io.BytesIO(job.body), formats=[header.mime_type.removeprefix("image/").upper()]) as opened:
            picture = opened.convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError):
        raise Unusable("It is broken.") from None
    size = (job.width, job.height)
    fitted = picture if picture.size == size else ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    return _written(fitted, job.mime_type, "")


def _written(picture: Image.Image, mime_type: str, source: str) -> bytes:
    from PIL import PngImagePlugin

    target = io.BytesIO()
    kept = source if len(source) <= LONGEST else ""
    if mime_type == "image/png":
        notes = PngImagePlugin.PngInfo()
        if kept:
            notes.add_text(KEYWORD, kept)
        picture.save(target, "PNG", pnginfo=notes)
    else:
        comment = f"{KEYWORD}:{kept}".encode() if kept else None
        picture.save(target, "JPEG", quality=_QUALITY, subsampling=0, comment=comment)
    return target.getvalue()


if __name__ == "__main__":
    main()
