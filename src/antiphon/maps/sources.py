"""Which sources of places there are, and how the words of a setting become one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from antiphon.maps.extract import Extract
from antiphon.maps.nominatim import Nominatim
from antiphon.maps.spots import Gazetteer

SOURCES: dict[str, Callable[..., Gazetteer]] = {"nominatim": Nominatim, "extract": Extract}


def make(source: str, **options: Any) -> Gazetteer:
    """The source of `NAME` or `NAME:PLACE`: a server's URL, or a file. Raises ValueError for what cannot be."""
    name, _, place = source.partition(":")
    if name not in SOURCES:
        raise ValueError(f"there is no source of places '{name}': {', '.join(SOURCES)}")
    try:
        return SOURCES[name](place, **options)
    except TypeError:
        raise ValueError(f"the source of places '{name}' does not take {', '.join(options)}") from None
