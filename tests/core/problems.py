"""Small problems for probes: vectors and labels of each kind."""

from __future__ import annotations

import numpy as np

FEATURES = 12


def vectors_of(rows: int, seed: int) -> np.ndarray:
    """float32 [N, F] with correlated features of very different means and scales."""
    generator = np.random.default_rng(seed)
    mixed = generator.normal(size=(rows, FEATURES)) @ generator.normal(size=(FEATURES, FEATURES))
    return (mixed * np.logspace(-2, 2, FEATURES) + np.linspace(-5, 5, FEATURES)).astype(np.float32)


def logits_of(vectors: np.ndarray, columns: int, seed: int) -> np.ndarray:
    """Noisy linear functions of the vectors, [N, columns]."""
    generator = np.random.default_rng(seed)
    standard = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    return standard @ generator.normal(size=(FEATURES, columns)) + generator.normal(
        size=(len(vectors), columns)
    )


def classification(
    rows: int = 200, num_classes: int = 3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    vectors = vectors_of(rows, seed)
    return vectors, logits_of(vectors, num_classes, seed + 1).argmax(axis=1)


def multilabel(rows: int = 200, columns: int = 3) -> tuple[np.ndarray, np.ndarray]:
    vectors = vectors_of(rows, 2)
    return vectors, (logits_of(vectors, columns, 3) > 1).astype(np.uint8)


def regression(rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    vectors = vectors_of(rows, 4)
    return vectors, logits_of(vectors, 1, 5)[:, 0]
