"""How sure a score is: percentile bootstrap over test rows, for one prediction and for the difference of two. numpy only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from prefixbank.core.metrics import Metric, check_scorable, merge_rows, score, weighted_score
from prefixbank.errors import UsageError

CELLS_AT_ONCE = 1 << 21
"""Weights (resamples x rows) held in memory at a time; 16 MiB for each array of them."""


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """How much better a is than b on the same rows.

    `difference` is score(a) - score(b); `low` and `high` bound its 95 % percentile interval; `p_value` is two-sided.
    """

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap_interval(
    metric: Metric,
    predictions: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval (low, high) of a score over test rows.

    Args:
        metric: see `score`, as are predictions, labels and num_classes.
        predictions: [N] or [N, C].
        labels: [N] or [N, C].
        num_classes: C.
        resamples: R, number of draws of N rows with replacement.
        seed: of the draws.
        confidence: share of resampled scores between low and high.

    Raises:
        UsageError, DataError: as `score`; also when resamples < 1.
    """
    scores = resampled_scores(metric, (predictions,), labels, num_classes, resamples, seed)
    low, high = np.quantile(scores[0], [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_bootstrap(
    metric: Metric,
    predictions_a: np.ndarray,
    predictions_b: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    resamples: int,
    seed: int,
) -> PairedDifference:
    """Compare two predictions of the same rows, drawing each row together with both of its predictions.

    The p-value inverts the percentile interval: twice the smaller share of resampled differences on one side of zero (zeros count on both),
    with one added to numerator and denominator, at most 1. Equal predictions give difference 0 and p-value 1.

    Raises:
        UsageError, DataError: as `bootstrap_interval`.
    """
    scores = resampled_scores(metric, (predictions_a, predictions_b), labels, num_classes, resamples, seed)
    differences = scores[0] - scores[1]
    low, high = np.quantile(differences, [0.025, 0.975])
    one_side = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return PairedDifference(
        difference=score(metric, predictions_a, labels, num_classes) - score(metric, predictions_b, labels, num_classes),
        low=float(low),
        high=float(high),
        p_value=min(1.0, 2 * (one_side + 1) / (resamples + 1)),
    )


def resampled_scores(
    metric: Metric, predictions: tuple[np.ndarray, ...], labels: np.ndarray, num_classes: int, resamples: int, seed: int
) -> np.ndarray:
    """Score every resample of the rows, each row drawn together with the predictions of all models.

    Args:
        metric: see `score`, as are labels and num_classes.
        predictions: one array [N] or [N, C] for each of M models.
        labels: [N] or [N, C].
        num_classes: C.
        resamples: R.
        seed: of the draws.

    Returns:
        float64 [M, R].

    Raises:
        UsageError, DataError: as `score`; also when resamples < 1.
    """
    check_scorable(metric, predictions, labels, num_classes)
    if resamples < 1:
        raise UsageError(f"{resamples} bootstrap resamples", expected="1 or more", fix="set probe.resamples=2000")
    merged = merge_rows(metric, predictions, labels, num_classes)
    chunks = [
        [weighted_score(metric, weights, values, merged.labels, num_classes) for values in merged.predictions]
        for weights in _draw_weights(merged.counts, resamples, seed)
    ]
    return np.concatenate(chunks, axis=1)


def _draw_weights(counts: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield [r, K] weights of r resamples at a time, r as large as memory allows. The draws do not depend on r."""
    generator = np.random.default_rng(seed)
    total = int(counts.sum())
    at_once = max(1, CELLS_AT_ONCE // len(counts))
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        yield generator.multinomial(total, counts / total, size=size).astype(np.float64)
