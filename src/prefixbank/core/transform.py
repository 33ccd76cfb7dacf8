"""Linear transforms of vectors, applied; `core/fit_transform.py` fits them. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROWS = 1024
"""Rows transformed at a time, so that their float64 copies stay small."""


@dataclass(frozen=True, kw_only=True)
class LinearTransform:
    """x -> (x - mean) @ matrix.

    Args:
        mean: [F] float32, of the vectors that the transform was fitted on.
        matrix: [F, D] float32.
    """

    mean: np.ndarray
    matrix: np.ndarray

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Return the D features of vectors [N, F], float32 [N, D].

        Products are taken in float64, so that hardly a bit depends on the other rows of a batch.
        """
        matrix = self.matrix.astype(np.float64)
        return np.concatenate(
            [
                ((vectors[start : start + ROWS] - self.mean.astype(np.float64)) @ matrix).astype(
                    np.float32
                )
                for start in range(0, max(1, len(vectors)), ROWS)
            ]
        )


def transformed(vectors: np.ndarray, transforms: tuple[LinearTransform, ...]) -> np.ndarray:
    """Return what transforms of consecutive features make of vectors, side by side.

    Args:
        vectors: [N, F] float32, F being the features of all transforms together.
        transforms: one for each piece of the vector; none: the vectors as given.
    """
    if not transforms:
        return vectors
    ends = np.cumsum([len(one.mean) for one in transforms])
    if vectors.shape[1] != ends[-1]:
        raise ValueError(f"vectors of size {vectors.shape[1]}, a transform of {ends[-1]} features")
    pieces = np.split(vectors, ends[:-1], axis=1)
    return np.concatenate(
        [one(piece) for one, piece in zip(transforms, pieces, strict=True)], axis=1
    )
