"""All vectors of an index in memory, compared one by one with a query's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from antiphon.index.embedders import Vectors


class Matrix:
    """A row for each piece; rows are (number of the piece, number of its document, its vector as float16)."""

    def __init__(self, rows: list[tuple[int, int, bytes]]) -> None:
        import numpy as np

        self._pieces = np.array([piece for piece, _, _ in rows], np.int64)
        self._documents = np.array([document for _, document, _ in rows], np.int64)
        vectors = np.frombuffer(b"".join(vector for _, _, vector in rows), np.float16)
        self._vectors = vectors.reshape(len(rows), -1).astype(np.float32) if rows else vectors.astype(np.float32)

    def nearest(self, vector: Vectors, most: int, documents: str | None = None) -> list[tuple[float, int]]:
        """The pieces nearest to a vector of length 1, as (cosine, number), the nearest first.

        `documents` is a JSON list of the documents that count, None for all.
        """
        import numpy as np

        if not len(self._pieces) or self._vectors.shape[1] != len(vector):
            return []
        cosines = self._vectors @ vector
        if documents is not None:
            counts = np.isin(self._documents, np.array(msgspec.json.decode(documents), np.int64))
            cosines = np.where(counts, cosines, -np.inf)
        most = min(most, len(cosines))
        best = np.argpartition(-cosines, most - 1)[:most]
        best = best[np.argsort(-cosines[best], kind="stable")]
        return [(float(cosines[place]), int(self._pieces[place])) for place in best if np.isfinite(cosines[place])]
