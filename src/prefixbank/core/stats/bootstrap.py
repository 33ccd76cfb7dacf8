"""Percentile bootstrap of scores over test rows and training seeds. numpy only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from prefixbank.choices import Metric
from prefixbank.core.stats.metrics import check_scorable, merge_rows, weighted_score
from prefixbank.errors import UsageError

CELLS_AT_ONCE = 1 << 18
"""Weights (resamples x rows) in memory at a time. Their 2 MiB stay in the processor's cache while
every model is scored with them."""


def bootstrap_interval(
    metric: Metric,
    predictions: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    bootstrap_samples: int,
    seed: int,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval (low, high) of a score over test rows.

    Args:
        metric: see `score`, as are predictions, labels and num_classes.
        predictions: [N] or [N, C].
        labels: [N] or [N, C].
        num_classes: C.
        bootstrap_samples: R, number of draws of N rows with replacement.
        seed: of the draws.
        confidence: share of resampled scores between low and high.

    Raises:
        UsageError, DataError: as `score`; also if R < 1.
    """
    scores = resampled_scores(metric, (predictions,), labels, num_classes, bootstrap_samples, seed)
    return percentile_interval(scores[0], confidence)


def percentile_interval(samples: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Return (low, high) such that a share `confidence` of samples [R] lies between them.

    Half of the rest lies below, half above.
    """
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def two_sided_p(differences: np.ndarray) -> float:
    """Return the p-value of resampled differences [R]: twice the smaller share on a side of zero.

    It inverts the percentile interval. Zeros count on both sides. One is added to numerator and
    denominator, so the smallest p-value is 2 / (R + 1); the largest is 1.
    """
    one_side = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (one_side + 1) / (len(differences) + 1))


def resampled_scores(
    metric: Metric,
    predictions: tuple[np.ndarray, ...],
    labels: np.ndarray,
    num_classes: int,
    bootstrap_samples: int,
    seed: int,
) -> np.ndarray:
    """Score resamples of the rows; all models are scored on the same draws.

    Args:
        metric: see `score`, as are labels and num_classes.
        predictions: one array [N] or [N, C] for each of M models.
        labels: [N] or [N, C].
        num_classes: C.
        bootstrap_samples: R.
        seed: of the draws.

    Returns:
        float64 [M, R].

    Raises:
        UsageError, DataError: as `score`; also if R < 1.
    """
    check_scorable(metric, predictions, labels, num_classes)
    if bootstrap_samples < 1:
        raise UsageError(
            f"{bootstrap_samples} bootstrap resamples",
            expected="1 or more",
            fix="set probe.bootstrap_samples=2000",
        )
    merged = merge_rows(metric, predictions, labels, num_classes)
    chunks = [
        [
            weighted_score(metric, weights, values, merged.labels, num_classes)
            for values in merged.predictions
        ]
        for weights in draw_weights(merged.counts, bootstrap_samples, seed)
    ]
    return np.concatenate(chunks, axis=1)


def draw_weights(counts: np.ndarray, bootstrap_samples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw as many rows as there are, with replacement, from K kinds of rows.

    Args:
        counts: int [K], number of rows of each kind.
        bootstrap_samples: R.
        seed: of the draws.

    Yields:
        float64 [r, K], how often each kind was drawn in the next r resamples, with r limited by
        `CELLS_AT_ONCE`. The draws do not depend on r.
    """
    generator = np.random.default_rng(seed)
    total = int(counts.sum())
    at_once = max(1, CELLS_AT_ONCE // len(counts))
    for start in range(0, bootstrap_samples, at_once):
        size = min(at_once, bootstrap_samples - start)
        yield generator.multinomial(total, counts / total, size=size).astype(np.float64)


def draw_seeds(seeds: tuple[int, ...], bootstrap_samples: int) -> np.ndarray:
    """Draw as many training seeds as there are, with replacement.

    This is the upper level of a bootstrap over seeds and test rows. The draw is a function of the
    seeds alone. So everything trained with the same seeds shares it, on every target, and
    differences are paired.

    Args:
        seeds: S seeds, at least one, none negative.
        bootstrap_samples: R.

    Returns:
        float64 [R, S], the share of each seed in each draw. Rows sum to 1.
    """
    generator = np.random.default_rng([len(seeds), *seeds])
    counts = generator.multinomial(
        len(seeds), np.full(len(seeds), 1 / len(seeds)), size=bootstrap_samples
    )
    return counts / len(seeds)
