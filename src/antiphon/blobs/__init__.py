"""Where large bytes are kept, once for each content, by the SHA-256 of it. Knows no interaction, no file and no project."""

from antiphon.blobs.depot import Depot, Gone
from antiphon.blobs.places import make

__all__ = ["Depot", "Gone", "make"]
