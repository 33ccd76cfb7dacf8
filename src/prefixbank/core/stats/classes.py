"""Scores of single classes or labels, and which classes are taken for which. numpy only."""

from __future__ import annotations

import numpy as np

from prefixbank.core.stats.metrics import indicators


def class_scores(
    predictions: np.ndarray, labels: np.ndarray, num_classes: int
) -> dict[str, np.ndarray]:
    """Return `precision`, `recall`, `f1` and `support`, each [C], of each class or label.

    A share of nothing is 0, as in scikit-learn with `zero_division=0`.

    Args:
        predictions: int [N] classes, or 0 or 1 [N, C].
        labels: the truth, like predictions.
        num_classes: C.
    """
    predicted, actual = (indicators(one, num_classes) for one in (predictions, labels))
    hits, claims, support = (predicted * actual).sum(0), predicted.sum(0), actual.sum(0)
    pairs = {
        "precision": (hits, claims),
        "recall": (hits, support),
        "f1": (2 * hits, claims + support),
    }
    shares = {
        name: np.divide(above, below, out=np.zeros(num_classes), where=below > 0)
        for name, (above, below) in pairs.items()
    }
    return {**shares, "support": support.astype(np.int64)}


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return int64 [C, C], how often class i was predicted as class j.

    Args:
        predictions: int [N] classes.
        labels: the truth, int [N].
        num_classes: C.
    """
    counts = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)
