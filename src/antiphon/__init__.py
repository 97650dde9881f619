"""Antiphon: the Gemini Interactions API on your own machines and your own models."""

__version__ = "0.1.0"
