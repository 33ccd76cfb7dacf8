"""Scores of predictions. numpy only.

Every metric is written once, as a function of row weights `[R, N]`. The plain score gives each row
a weight of 1 (R = 1). A bootstrap resample weighs each row by how often it was drawn: a multinomial
draw of N out of N rows is the same as drawing rows with replacement. Class metrics need only the
confusion matrix, so equal (label, prediction) rows are merged first, and the draw is over the
merged rows.

Degenerate cases follow scikit-learn with `zero_division=0`; correlations with a constant are 0.0.
Nothing warns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never, get_args

import numpy as np

from prefixbank.choices import ClassMetric, Kind, Metric, RankingMetric
from prefixbank.core.stats.probabilities import probability_metrics
from prefixbank.core.stats.ranking import ranking_scores
from prefixbank.errors import DataError, UsageError, did_you_mean

METRICS_OF: dict[Kind, tuple[Metric, ...]] = {
    "classification": (
        "accuracy",
        "macro_f1",
        "micro_f1",
        "f1",
        "matthews",
        "macro_recall",
        "average_precision",
        "roc_auc",
    ),
    "multilabel": ("accuracy", "macro_f1", "micro_f1", "f1", "average_precision", "roc_auc"),
    "regression": ("pearson", "spearman", "r2"),
}
"""The metrics that are defined for each kind of task. Of all a larger value is better."""

RANKING: tuple[RankingMetric, ...] = get_args(RankingMetric)
"""Metrics that score probabilities, in place of predictions."""


def score(metric: Metric, predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """Score predictions against labels.

    With one-dimensional labels, `macro_f1` and `macro_recall` average over the classes that occur
    in labels or predictions, `micro_f1` pools all classes, which makes it the accuracy, and `f1` is
    the F1 of class 1. With two-dimensional (multilabel) labels, `accuracy` is the share of rows
    that are right in every column, `macro_f1` averages over all columns, and `micro_f1` and `f1`
    pool them. `average_precision` and `roc_auc` are those of class 1 of two classes, else the mean
    over classes, each against the rest, or over labels; see `ranking_scores`.

    `spearman` gives ties their average rank. A correlation is 0.0 if either side is constant. `r2`
    of constant labels is 1.0 for exact predictions, else 0.0.

    Args:
        metric: the metric to compute.
        predictions: int [N] classes, uint8 [N, C] (multilabel) or float [N] (regression); for a
            metric of `RANKING` probabilities, float [N, C].
        labels: the truth, int [N], uint8 [N, C] or float [N].
        num_classes: C; ignored for regression.

    Raises:
        UsageError: the metric is not defined for such labels.
        DataError: shapes or values cannot be those of predictions and labels.
    """
    check_scorable(metric, (predictions,), labels, num_classes)
    merged = merge_rows(metric, (predictions,), labels, num_classes)
    return float(
        weighted_score(
            metric,
            merged.counts[None].astype(np.float64),
            merged.predictions[0],
            merged.labels,
            num_classes,
        )[0]
    )


def constant_score(
    metric: Metric, train: np.ndarray, labels: np.ndarray, num_classes: int
) -> float:
    """Return the score of one answer for all rows, which needs no text.

    It is the most frequent class of the train rows, of each label of a multilabel task whether more
    than half of them have it, or the mean of a regression. A metric of `RANKING` scores
    probabilities: the share of each class or label among the train rows.

    Args:
        metric: the metric to compute.
        train: labels of train rows.
        labels: labels of the rows that are scored.
        num_classes: C; ignored for regression.
    """
    answer: np.ndarray
    if metric in RANKING:
        several = train if train.ndim == 2 else np.eye(num_classes)[train]
        odds = np.broadcast_to(several.mean(axis=0), (len(labels), num_classes))
        return score(metric, odds, labels, num_classes)
    if train.ndim == 2:
        answer = (train.mean(axis=0) > 0.5).astype(train.dtype)
    elif metric in METRICS_OF["regression"]:
        answer = np.asarray(train.mean())
    else:
        answer = np.asarray(np.bincount(train).argmax())
    return score(metric, np.broadcast_to(answer, labels.shape), labels, num_classes)


def all_metrics(
    kind: Kind,
    predictions: np.ndarray,
    probabilities: np.ndarray | None,
    labels: np.ndarray,
    num_classes: int,
) -> dict[str, float]:
    """Return every metric that fits the kind, by name; F1 of class 1 only for two classes.

    Probabilities, None for a regression, add the figures of `probability_metrics`.
    """
    scores: dict[str, float] = {
        name: score(name, scorable(name, predictions, probabilities), labels, num_classes)
        for name in METRICS_OF[kind]
        if kind != "classification" or name != "f1" or num_classes == 2
    }
    return scores if probabilities is None else scores | probability_metrics(probabilities, labels)


def scorable(
    metric: Metric, predictions: np.ndarray, probabilities: np.ndarray | None
) -> np.ndarray:
    """Return what a metric scores: probabilities for a metric of `RANKING`, else predictions."""
    return predictions if metric not in RANKING or probabilities is None else probabilities


def check_metric(kind: Kind, metric: Metric) -> None:
    """Raise UsageError unless the metric is defined for the kind."""
    known = METRICS_OF[kind]
    if metric not in known:
        raise UsageError(
            f"metric '{metric}' is not defined for {kind} tasks{did_you_mean(metric, known)}",
            expected=f"one of {', '.join(known)}",
            fix=f"set task.metric={known[0]}",
        )


def check_values(kind: Kind, values: np.ndarray, num_outputs: int, *, name: str) -> None:
    """Raise DataError unless values can be labels or predictions of a task of this kind.

    Args:
        kind: kind of the task.
        values: int [N] in 0..C-1 (classification), 0 or 1 [N, C] (multilabel), finite [N]
            (regression); N >= 1.
        num_outputs: C.
        name: name of the values in the error.
    """
    match kind:
        case "classification":
            right = values.ndim == 1 and np.issubdtype(values.dtype, np.integer)
            right = right and values.size > 0 and 0 <= values.min() and values.max() < num_outputs
            expected = f"at least one row of whole numbers from 0 to {num_outputs - 1}, shape [N]"
        case "multilabel":
            right = (
                values.ndim == 2
                and values.shape[1] == num_outputs
                and len(values) > 0
                and bool(np.isin(values, (0, 1)).all())
            )
            expected = f"at least one row of zeros and ones, shape [N, {num_outputs}]"
        case "regression":
            right = values.ndim == 1 and values.size > 0 and bool(np.isfinite(values).all())
            expected = "at least one row of finite numbers, shape [N]"
        case _:
            assert_never(kind)
    if not right:
        what = (
            f"{name} of shape {list(values.shape)} and type {values.dtype} do not fit a {kind} "
            f"task with {num_outputs} outputs"
        )
        raise DataError(
            what,
            expected=expected,
            fix=f"check task.kind and the number of labels against the {name}",
        )


@dataclass(frozen=True, kw_only=True)
class MergedRows:
    """Distinct rows: counts [K], predictions of each model [K, ...], labels [K, ...]."""

    counts: np.ndarray
    predictions: tuple[np.ndarray, ...]
    labels: np.ndarray


def check_scorable(
    metric: Metric, predictions: tuple[np.ndarray, ...], labels: np.ndarray, num_classes: int
) -> None:
    """Raise UsageError or DataError unless `score` can score each of the predictions."""
    one_dimensional: Kind = "regression" if metric in METRICS_OF["regression"] else "classification"
    kind: Kind = "multilabel" if labels.ndim == 2 else one_dimensional
    check_metric(kind, metric)
    check_values(kind, labels, num_classes, name="labels")
    for values in predictions:
        if metric in RANKING:
            _check_probabilities(values, num_classes)
        else:
            check_values(kind, values, num_classes, name="predictions")
        if len(values) != len(labels):
            what = f"{len(values)} predictions for {len(labels)} labels"
            raise DataError(
                what,
                expected="one prediction for each label",
                fix="score predictions against the rows they were made from",
            )
    if metric == "f1" and kind == "classification" and num_classes < 2:
        raise UsageError(
            "metric 'f1' with one class",
            expected="two or more classes",
            fix="set task.metric=accuracy",
        )


def _check_probabilities(values: np.ndarray, num_classes: int) -> None:
    """Raise DataError unless values are numbers that rank rows, float [N, C]."""
    if values.ndim != 2 or values.shape[1] != num_classes or not np.isfinite(values).all():
        raise DataError(
            f"probabilities of shape {list(values.shape)} for {num_classes} classes",
            expected=f"finite numbers, shape [N, {num_classes}]",
            fix="score the probabilities of all classes",
        )


def merge_rows(
    metric: Metric, predictions: tuple[np.ndarray, ...], labels: np.ndarray, num_classes: int
) -> MergedRows:
    """Merge equal rows of class labels; other rows are not merged, and become float64.

    Classes that probabilities are scored against stay whole numbers.
    """
    if labels.ndim == 2 or metric in (*RANKING, *METRICS_OF["regression"]):
        return MergedRows(
            counts=np.ones(len(labels), dtype=np.int64),
            predictions=tuple(values.astype(np.float64) for values in predictions),
            labels=labels if metric in RANKING else labels.astype(np.float64),
        )
    code: np.ndarray = labels.astype(np.int64)
    for values in predictions:
        # Codes are renumbered, so that many models do not overflow them.
        code = np.unique(code, return_inverse=True)[1] * num_classes + values
    _, first, counts = np.unique(code, return_index=True, return_counts=True)
    return MergedRows(
        counts=counts,
        predictions=tuple(values[first] for values in predictions),
        labels=labels[first],
    )


def weighted_score(
    metric: Metric,
    weights: np.ndarray,
    predictions: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
) -> np.ndarray:
    """Return [R] scores of K rows under weights [R, K]."""
    match metric:
        case "pearson":
            return _correlation(weights, predictions[None], labels[None])
        case "spearman":
            return _correlation(
                weights, _average_ranks(weights, predictions), _average_ranks(weights, labels)
            )
        case "r2":
            return _determination(weights, predictions, labels)
        case "average_precision" | "roc_auc":
            of_two = labels.ndim == 1 and num_classes == 2
            columns = slice(1, 2) if of_two else slice(None)
            actual = indicators(labels, num_classes)
            return ranking_scores(metric, weights, predictions[:, columns], actual[:, columns])
        case "accuracy" | "macro_f1" | "micro_f1" | "f1" | "matthews" | "macro_recall":
            return _class_score(
                metric,
                weights,
                indicators(predictions, num_classes),
                indicators(labels, num_classes),
                labels.ndim == 2,
            )
    assert_never(metric)


def _class_score(
    metric: ClassMetric,
    weights: np.ndarray,
    predicted: np.ndarray,
    actual: np.ndarray,
    multilabel: bool,
) -> np.ndarray:
    """Return [R] scores from weights [R, K] and indicators [K, C] of both sides' classes."""
    if metric == "accuracy":
        return _ratio(weights @ (predicted == actual).all(axis=1), weights.sum(axis=1))
    hits, claims, support = weights @ (predicted * actual), weights @ predicted, weights @ actual
    occurs = np.ones_like(hits) if multilabel else (claims + support > 0).astype(np.float64)
    match metric:
        case "macro_f1":
            return _ratio(_ratio(2 * hits, claims + support).sum(axis=1), occurs.sum(axis=1))
        case "macro_recall":
            return _ratio(_ratio(hits, support).sum(axis=1), occurs.sum(axis=1))
        case "micro_f1" | "f1":
            columns = slice(None) if multilabel or metric == "micro_f1" else slice(1, 2)
            return _ratio(
                2 * hits[:, columns].sum(axis=1), (claims + support)[:, columns].sum(axis=1)
            )
        case "matthews":
            return _matthews(hits, claims, support)
    assert_never(metric)


def _matthews(hits: np.ndarray, claims: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Return [R] Matthews coefficients for any number of classes from [R, C] counts.

    Source: Gorodkin 2004, R_K.
    """
    total = support.sum(axis=1)
    covariance = hits.sum(axis=1) * total - (claims * support).sum(axis=1)
    spread = (total**2 - (claims**2).sum(axis=1)) * (total**2 - (support**2).sum(axis=1))
    return _ratio(covariance, np.sqrt(spread))


def indicators(values: np.ndarray, num_classes: int) -> np.ndarray:
    """Return float64 [K, C]: one-hot rows of classes [K], or label columns [K, C] as they are."""
    chosen: np.ndarray = values if values.ndim == 2 else values[:, None] == np.arange(num_classes)
    return chosen.astype(np.float64)


def _correlation(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return [R] weighted Pearson correlations of x and y, each [R or 1, K]; 0.0 for constants."""
    x_gap, y_gap = _gap_from_mean(weights, x), _gap_from_mean(weights, y)
    spread = np.sqrt(_weighted_sum(weights, x_gap**2)) * np.sqrt(_weighted_sum(weights, y_gap**2))
    correlation: np.ndarray = _ratio(_weighted_sum(weights, x_gap * y_gap), spread).clip(-1.0, 1.0)
    return correlation


def _determination(weights: np.ndarray, predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return [R] coefficients of determination.

    If the labels are constant, it is 1.0 for exact predictions, else 0.0.
    """
    error = weights @ (labels - predictions) ** 2
    spread = _weighted_sum(weights, _gap_from_mean(weights, labels[None]) ** 2)
    return np.where(spread > 0, 1 - _ratio(error, spread), (error == 0).astype(np.float64))


def _gap_from_mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return [R, K] differences of values [R or 1, K] from their weighted mean.

    They are exactly 0 where all drawn values are equal.
    """
    drawn = weights > 0
    constant = np.where(drawn, values, -np.inf).max(axis=1) == np.where(drawn, values, np.inf).min(
        axis=1
    )
    mean = _weighted_sum(weights, values) / weights.sum(axis=1)
    return np.where(constant[:, None], 0.0, values - mean[:, None])


def _average_ranks(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return [R, K] ranks of values [K], of which value k occurs weights[r, k] times.

    Ties get their average rank.
    """
    distinct, which = np.unique(values, return_inverse=True)
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], np.arange(len(distinct)))
    occurrences = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: np.ndarray = occurrences.cumsum(axis=1) - (occurrences - 1) / 2
    return ranks[:, which]


def _weighted_sum(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return [R] sums over K of weights [R, K] times values [R or 1, K]."""
    total: np.ndarray = (weights * values).sum(axis=1)
    return total


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return above / below; 0 where `below` is 0."""
    quotient = np.zeros(below.shape)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
