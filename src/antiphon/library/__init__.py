"""What callers leave with the server: files for two days, and documents that can be searched for as long as they stay."""

from antiphon.index.collection import Hit
from antiphon.library.service import Library
from antiphon.library.shelf import Quotas

__all__ = ["Hit", "Library", "Quotas"]
