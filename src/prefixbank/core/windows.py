"""Vectors of texts that are read in several windows."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from prefixbank.choices import WindowPooling


class WindowedVectors:
    """One vector for each text, made from those of its windows as they come.

    No more than the sums or maxima so far are kept, however long a text is.

    Args:
        first: [N, F] float32 vectors of the first windows; a text of one window keeps its bytes.
        pooling: `mean` of the windows' vectors, or the `max` of each feature.
    """

    def __init__(self, first: np.ndarray, pooling: WindowPooling) -> None:
        self._vectors, self._pooling = first.copy(), pooling
        self._windows = np.ones(len(first), dtype=np.float32)

    def add(self, texts: np.ndarray, vectors: np.ndarray) -> None:
        """Add further windows.

        Args:
            texts: int64 [W], index of the text of each.
            vectors: [W, F] float32.
        """
        match self._pooling:
            case "mean":
                np.add.at(self._vectors, texts, vectors)
            case "max":
                np.maximum.at(self._vectors, texts, vectors)
            case _:
                assert_never(self._pooling)
        np.add.at(self._windows, texts, 1)

    def vectors(self) -> np.ndarray:
        """Return the vectors of the texts, [N, F] float32."""
        if self._pooling == "max":
            return self._vectors
        return self._vectors / self._windows[:, None]
