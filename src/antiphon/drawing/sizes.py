"""How large a picture is, by its `aspect_ratio` and `image_size`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from math import log
from typing import get_args

from antiphon import wire
from antiphon.wire.interaction import AspectRatio, ImageSize

_SIDES = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
_STEP = 64  # what image models' latent pictures are made of, whichever they are
RATIOS: tuple[str, ...] = get_args(AspectRatio)
SIZES: tuple[str, ...] = get_args(ImageSize)


@cache
def pixels(ratio: str = "1:1", size: str = "1K") -> tuple[int, int]:
    """Width and height: multiples of 64, near the ratio, with about as many pixels as the square of that size."""
    wide, high = map(int, ratio.split(":"))
    area = _SIDES[size] ** 2
    most = int((area * max(wide / high, high / wide)) ** 0.5 * 1.2)

    def fault(pair: tuple[int, int]) -> tuple[float, int]:
        width, height = pair
        return 4 * abs(log(width * high / (height * wide))) + abs(log(width * height / area)), width

    steps = range(_STEP, most + _STEP, _STEP)
    return min(((width, height) for width in steps for height in _near(width * high / wide)), key=fault)


def wanted(format: wire.ImageFormat) -> tuple[int, int]:
    """Width and height of what a format asks for; a square of 1K where it says nothing."""
    return pixels(format.aspect_ratio or "1:1", format.image_size or "1K")


def nearest(size: tuple[int, int], offered: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Of the sizes that a server offers, the one nearest in shape, and of those the nearest in pixels."""
    width, height = size

    def fault(pair: tuple[int, int]) -> tuple[float, float]:
        ratio = abs(log(pair[0] * height / (pair[1] * width)))
        return round(ratio, 2), abs(log(pair[0] * pair[1] / (width * height)))

    return min(offered, key=fault)


def _near(height: float) -> list[int]:
    below = max(_STEP, int(height // _STEP) * _STEP)
    return [below, below + _STEP]
