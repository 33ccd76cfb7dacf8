"""Metrics of how well probabilities rank rows: average precision and ROC AUC. numpy only.

Both are those of scikit-learn, one column of probabilities at a time, as functions of row weights.
Rows of equal probability are one step of the ranking.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np

from prefixbank.choices import RankingMetric

UNDEFINED: dict[RankingMetric, float] = {"average_precision": 0.0, "roc_auc": 0.5}
"""Score where no column has what it takes."""


def ranking_scores(
    metric: RankingMetric, weights: np.ndarray, probabilities: np.ndarray, actual: np.ndarray
) -> np.ndarray:
    """Return the mean score over columns.

    A column without positive rows is left out, for `roc_auc` also one without negative rows. If
    none is left, the score is that of `UNDEFINED`.

    Args:
        metric: which one.
        weights: [R, K], how often each row counts.
        probabilities: [K, C], or anything that ranks the rows of a column.
        actual: [K, C], 1 for a positive row, else 0.

    Returns:
        float64 [R].
    """
    total, defined = np.zeros(len(weights)), np.zeros(len(weights))
    for ranks, truth in zip(probabilities.T, actual.T, strict=True):
        hits, misses = _steps(weights, ranks, truth)
        positives, negatives = hits[:, -1], misses[:, -1]
        match metric:
            case "average_precision":
                above, below = _precision_sum(hits, misses), positives
            case "roc_auc":
                above, below = _area(hits, misses), positives * negatives
            case _:
                assert_never(metric)
        exists = below > 0
        total[exists] += above[exists] / below[exists]
        defined += exists
    scores = np.full(len(total), UNDEFINED[metric])
    np.divide(total, defined, out=scores, where=defined > 0)
    return scores


def _steps(
    weights: np.ndarray, ranks: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positive and the negative rows among the first ones, each [R, G].

    There is a step for each of G distinct ranks, the highest first.
    """
    order = np.argsort(-ranks, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(ranks[order])), len(ranks) - 1)
    positive, ordered = truth[order] > 0, weights[:, order]
    hits, misses = (np.where(one, ordered, 0.0) for one in (positive, ~positive))
    return hits.cumsum(axis=1)[:, ends], misses.cumsum(axis=1)[:, ends]


def _precision_sum(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """Return [R], the precision at each step times its positive rows."""
    gained, claims = np.diff(hits, axis=1, prepend=0.0), hits + misses
    precision = np.divide(hits, claims, out=np.zeros(hits.shape), where=claims > 0)
    total: np.ndarray = (gained * precision).sum(axis=1)
    return total


def _area(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """Return [R], the pairs of positive and negative rows in the right order; ties count half."""
    before = hits - np.diff(hits, axis=1, prepend=0.0)
    area: np.ndarray = (np.diff(misses, axis=1, prepend=0.0) * (before + hits) / 2).sum(axis=1)
    return area
