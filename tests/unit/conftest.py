"""Unit tests are many and must stay quick: fewer examples each than hypothesis would take."""

from hypothesis import settings

settings.register_profile("unit", max_examples=40, deadline=None)
settings.load_profile("unit")
