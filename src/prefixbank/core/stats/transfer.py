"""The gain of a target from a source, and its correlation with similarity. numpy only.

Scores are those of a pair of tasks, already averaged over training seeds: seeds of one pair are not
new evidence about tasks. Pairs share tasks, so intervals come from drawing tasks, not pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prefixbank.choices import CorrelationKind
from prefixbank.core.shapes import ShapeError
from prefixbank.core.stats.bootstrap import draw_weights, percentile_interval
from prefixbank.core.stats.metrics import weighted_score
from prefixbank.errors import DataError, UsageError


def relative_error_reduction(transfer: np.ndarray | float, cold: np.ndarray | float) -> np.ndarray:
    """Return the share of the cold start's error that transfer removes.

    (transfer - cold) / (1 - cold): negative where transfer hurts; NaN where the cold start has no
    error, and where a score is NaN.

    Args:
        transfer: scores of at most 1 of training that starts from a source, any shape, for example
            [S, T].
        cold: scores of training from a random start, of a shape that broadcasts, for example [T].

    Returns:
        float64 of the broadcast shape.

    Raises:
        DataError: a score is above 1.
    """
    above, below = np.broadcast_arrays(
        np.asarray(transfer, dtype=np.float64), np.asarray(cold, dtype=np.float64)
    )
    highest = np.fmax.reduce(np.fmax(above, below), axis=None, initial=-np.inf)
    if highest > 1:
        raise DataError(
            f"score {highest:g} is above 1",
            expected="scores of at most 1",
            fix="divide percentages by 100",
        )
    reduction = np.full(above.shape, np.nan)
    np.divide(above - below, 1 - below, out=reduction, where=below < 1)
    return reduction


@dataclass(frozen=True, kw_only=True)
class TaskCorrelation:
    """A correlation over pairs of tasks, with its interval.

    `value` is NaN if there are fewer than two pairs or one side is constant. `low` and `high` bound
    the percentile interval over `bootstrap_samples` draws of tasks; they are NaN if no draw has a
    correlation. `pairs` is the number of pairs.
    """

    value: float
    low: float
    high: float
    pairs: int
    bootstrap_samples: int


def correlation(kind: CorrelationKind, x: np.ndarray, y: np.ndarray) -> float:
    """Return the correlation of x [N] and y [N]; ties get their average rank.

    It is NaN if N < 2 or either side is constant.
    """
    weights = np.ones((1, len(x)))
    if not _defined(weights, x, y)[0]:
        return math.nan
    return float(weighted_score(kind, weights, x, y, 1)[0])


def correlation_over_tasks(
    kind: CorrelationKind,
    x: np.ndarray,
    y: np.ndarray,
    source_tasks: Sequence[str],
    target_tasks: Sequence[str],
    *,
    bootstrap_samples: int,
    seed: int,
    confidence: float = 0.95,
) -> TaskCorrelation:
    """Correlate two values of pairs of tasks, with a percentile interval bootstrapped over tasks.

    A resample draws as many tasks as there are, with replacement, from all that are a source or a
    target, and takes all pairs of drawn tasks. A pair's weight is the number of times its source
    was drawn, times that of its target. Draws without a correlation (no pair, or one side constant)
    are left out. So are pairs of a task with itself, which are no transfer, and pairs with NaN in x
    or y.

    Args:
        kind: `pearson` or `spearman`.
        x: [S, T], for example similarities of sources and targets.
        y: [S, T], for example relative error reductions, averaged over seeds.
        source_tasks: S names.
        target_tasks: T names; equal names are the same task.
        bootstrap_samples: R.
        seed: of the draws.
        confidence: share of resampled correlations between low and high.

    Raises:
        ShapeError: x or y is not [S, T].
        UsageError: a name occurs twice among sources or among targets, or R < 1.
        DataError: a value is infinite.
    """
    _check_pairs(x, y, source_tasks, target_tasks, bootstrap_samples)
    tasks = list(dict.fromkeys((*source_tasks, *target_tasks)))
    index_of = {task: index for index, task in enumerate(tasks)}
    left, right = np.meshgrid(
        [index_of[task] for task in source_tasks],
        [index_of[task] for task in target_tasks],
        indexing="ij",
    )
    kept = (left != right) & ~np.isnan(x) & ~np.isnan(y)
    left, right, x_kept, y_kept = left[kept], right[kept], x[kept], y[kept]
    samples = [np.empty(0)]
    for drawn in draw_weights(np.ones(len(tasks), dtype=np.int64), bootstrap_samples, seed):
        weights = drawn[:, left] * drawn[:, right]
        defined = _defined(weights, x_kept, y_kept)
        if defined.any():
            samples.append(weighted_score(kind, weights[defined], x_kept, y_kept, 1))
    resampled = np.concatenate(samples)
    low, high = (
        percentile_interval(resampled, confidence) if len(resampled) else (math.nan, math.nan)
    )
    return TaskCorrelation(
        value=correlation(kind, x_kept, y_kept),
        low=low,
        high=high,
        pairs=len(x_kept),
        bootstrap_samples=len(resampled),
    )


def _defined(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return bool [R]: whether x [N] and y [N] both vary among the pairs of weights [R, N] > 0."""
    defined: np.ndarray = _varies(weights, x) & _varies(weights, y)
    return defined


def _varies(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return bool [R]: whether values [N] differ where weights [R, N] are above 0."""
    drawn = weights > 0
    highest = np.where(drawn, values, -np.inf).max(axis=1, initial=-np.inf)
    lowest = np.where(drawn, values, np.inf).min(axis=1, initial=np.inf)
    varies: np.ndarray = highest > lowest
    return varies


def _check_pairs(
    x: np.ndarray,
    y: np.ndarray,
    source_tasks: Sequence[str],
    target_tasks: Sequence[str],
    bootstrap_samples: int,
) -> None:
    """Raise ShapeError, UsageError or DataError unless x and y can be correlated over tasks."""
    shape = (len(source_tasks), len(target_tasks))
    if x.shape != shape or y.shape != shape or 0 in shape:
        raise ShapeError(
            f"values of shapes {list(x.shape)} and {list(y.shape)} for {shape[0]} sources and "
            f"{shape[1]} targets",
            expected=f"[S, T] = {list(shape)}, at least one of each",
            fix="give both values for each pair, NaN for a missing one",
        )
    for name, tasks in (("source", source_tasks), ("target", target_tasks)):
        if len(set(tasks)) < len(tasks):
            raise UsageError(
                f"{name} tasks {list(tasks)}",
                expected="each task once",
                fix="average over seeds first",
            )
    if bootstrap_samples < 1:
        raise UsageError(
            f"{bootstrap_samples} bootstrap resamples",
            expected="1 or more",
            fix="bootstrap_samples=2000",
        )
    if np.isinf(x).any() or np.isinf(y).any():
        raise DataError(
            "a value of a pair is infinite",
            expected="finite numbers, NaN for a pair left out",
            fix="check scores and prefixes",
        )
