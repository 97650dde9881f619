"""The words in a picture, or on a page that is one: OCR by RapidOCR. Runs in the worker's child process only.

Its models are part of its package: nothing is downloaded. They are loaded before the jail closes, and run in one thread.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from antiphon.media import layout, painter, pdf
from antiphon.media.jobs import Task
from antiphon.media.parsing import seen
from antiphon.ports import Unreadable

if TYPE_CHECKING:
    from PIL import Image

MISSING = "The server has nothing to read the words in pictures with: pip install 'antiphon[ocr]'."
SURE = 0.5  # of 1: lines that the reader is less sure of are left out
_DOUBTFUL = 0.87  # a page below is tried upside down
_SPACES = 50.0  # measured: 27 of 700 spaces were missed with 1, none with 50, and none was too many
_FAINT = 24  # of 255: what differs less from the background is no writing
_MARGIN = 24  # pixels that are left around
_LEAST = 100  # pixels a side that are worth a second look
_SMALL = 700  # pixels of the longer side: a smaller picture is read at twice its size
_SIDE = 2000  # pixels of the longer side: an A4 page at 170 to the inch


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be read: a picture, or with `page` (from 1) that page of a PDF document."""

    page: int | None = None


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What was read: lines in reading order, and how sure the reader is of them on the whole, 0 to 1.

    `left_out` counts the lines that it was too unsure of. `width` and `height` are those of the picture, as it came.
    """

    text: str
    sure: float
    left_out: int = 0
    kind: str = ""
    width: int = 0
    height: int = 0
    frames: int = 1


def prepare(asked: Scan) -> None:
    """Load the models. Raises Unreadable without the extra."""
    painter.prepare()
    if asked.page is not None:
        pdf.prepare()
    engine()


@cache
def engine() -> Any:
    """The reader, its three models loaded. Raises Unreadable without the extra."""
    try:
        import cv2
        import numpy
        from rapidocr import RapidOCR
    except ImportError:
        raise Unreadable(MISSING) from None
    cv2.setNumThreads(1)
    one = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}  # a child of a fork has one
    params: dict[str, float] = {f"EngineConfig.onnxruntime.{name}": value for name, value in one.items()}
    params |= {"Global.text_score": 0.0, "Det.limit_side_len": _SIDE}
    # Lines are looked for in the picture as it is given here, which bounds the time that takes.
    made: Any = RapidOCR(params={**params, "Det.limit_type": "max", "Global.log_level": "critical"})
    # Models are loaded with the first picture that they see; each is shown one.
    blank = numpy.full((48, 320, 3), 255, dtype=numpy.uint8)
    made(blank, use_det=False, use_cls=False, use_rec=True)
    made(blank, use_det=True, use_cls=False, use_rec=False)
    decode = made.text_rec.postprocess_op

    def spaced(odds: Any, *others: Any, **options: Any) -> Any:
        """Spaces are weighed up: they are faint beside letters, and one that is missed joins two words."""
        odds = odds.copy()
        odds[:, :, -1] = numpy.minimum(odds[:, :, -1] * _SPACES, 1.0)
        return decode(odds, *others, **options)

    made.text_rec.postprocess_op = spaced
    return made


def read(body: bytes, asked: Scan) -> Words:
    """The words of a picture or a page. Raises Unreadable."""
    if asked.page is not None:
        return words_of(pdf.drawn(body, asked.page, _SIDE))
    picture, kind, (width, height), frames = painter.decoded(body, _SIDE)
    if max(picture.size) < _SMALL:
        picture = picture.resize((picture.width * 2, picture.height * 2))
    found = words_of(picture)
    return msgspec.structs.replace(found, kind=kind, width=width, height=height, frames=frames)


def words_of(picture: Image.Image) -> Words:
    """The words in a decoded picture, whichever way it is turned: read again where what was read makes no sense."""
    trimmed = _trimmed(picture)
    if trimmed is None:
        return Words(text="", sure=0.0)
    picture = trimmed
    found, is_lying = _once(picture)
    if not found.text and min(picture.size) > 2 * _LEAST:  # what is small in much emptiness is seen from afar
        found, is_lying = _once(picture.resize((picture.width // 2, picture.height // 2)))
    turns = (90, 270) if is_lying else (180,) if 0 < found.sure < _DOUBTFUL or found.left_out else ()
    tried = [found, *(_once(picture.rotate(turn, expand=True))[0] for turn in turns)]
    return max(tried[1:] if is_lying else tried, key=lambda words: words.sure * (len(words.text) + 1))


def _trimmed(picture: Image.Image) -> Image.Image | None:
    """Without the empty margins, in which few words are easily missed; None where nothing is but emptiness."""
    from PIL import ImageChops

    gray = picture.convert("L")
    histogram = gray.histogram()
    empty = histogram.index(max(histogram))
    box = ImageChops.difference(gray, gray.point(lambda _: empty)).point(lambda value: 255 * (value > _FAINT)).getbbox()
    if box is None:
        return None
    left, top, right, bottom = box
    return picture.crop((
        max(0, left - _MARGIN), max(0, top - _MARGIN), min(picture.width, right + _MARGIN),
        min(picture.height, bottom + _MARGIN),
    ))  # fmt: skip


def _once(picture: Image.Image) -> tuple[Words, bool]:
    """The words of a picture that stands upright; and whether most of its lines stand on end."""
    import numpy

    pixels = numpy.asarray(picture.convert("RGB"))[:, :, ::-1]  # blue first, as its models were shown pictures
    # Which way up a line is, is not asked for each line: single ones were turned that stood right.
    result = engine()(numpy.ascontiguousarray(pixels), use_det=True, use_cls=False, use_rec=True)
    if result.boxes is None or not result.txts:
        return Words(text="", sure=0.0), False
    lines = [
        (layout.Word(seen(text), *_around(box)), float(score))
        for box, text, score in zip(result.boxes, result.txts, result.scores, strict=True)
    ]
    on_end = sum(word.bottom - word.top > 1.5 * (word.right - word.left) for word, _ in lines)
    kept = [(word, score) for word, score in lines if score >= SURE and word.text]
    size = sum(len(word.text) for word, _ in kept)
    sure = sum(score * len(word.text) for word, score in kept) / size if size else 0.0
    text = layout.text_of([word for word, _ in kept])
    return Words(text=text, sure=round(sure, 3), left_out=len(lines) - len(kept)), 2 * on_end > len(lines) > 2


def _around(box: Any) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a box that may stand askew."""
    across, down = box[:, 0], box[:, 1]
    return float(across.min()), float(down.min()), float(across.max()), float(down.max())


TASK = Task(Scan, lambda _body, asked: prepare(asked), read)
