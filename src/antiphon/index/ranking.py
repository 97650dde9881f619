"""Several orders of the same things made into one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

# Cormack, Clarke and Büttcher (SIGIR 2009) have 60 for many orders of a thousand. For two of a few dozen that gives the
# first places too little: 10 finds 3 of 100 more answers among the first five (bench/retrieval.py).
_K = 10


def fuse(orders: Sequence[Sequence[T]], weights: Sequence[float] = ()) -> list[tuple[T, float]]:
    """Reciprocal rank fusion: each order gives weight / (10 + place) to what is in it; best first, equals as they came.

    An order without a weight has 1.
    """
    scores: dict[T, float] = {}
    for number, order in enumerate(orders):
        weight = weights[number] if number < len(weights) else 1.0
        for place, thing in enumerate(order, 1):
            scores[thing] = scores.get(thing, 0.0) + weight / (_K + place)
    return sorted(scores.items(), key=lambda item: -item[1])
