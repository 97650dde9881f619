"""Triggers: interactions on a schedule, once for each tick however many servers there are."""

from .interactions import EngineInteractions
from .runs import Interactions
from .service import Triggers

__all__ = ["EngineInteractions", "Interactions", "Triggers"]
