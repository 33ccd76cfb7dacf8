"""Light models on frozen vectors: logistic and ridge regression with cross-validated strength. The only user of scikit-learn in core.

Objectives, on vectors standardised with the mean and standard deviation of the train rows, S the strength, biases never penalised:

* classification: sum over rows of the softmax cross-entropy + |W|^2 / (2 S);
* multilabel: the same with one independent logistic model for each label;
* regression: sum over rows of squared errors + |w|^2 / S, that is ridge with alpha = 1 / S. Both sides scale with the square of the
  labels' unit, so the choice of unit does not matter.

All linear algebra runs on one thread: results then do not depend on the number of threads, and matrices of this size are no slower.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from prefixbank.core.bootstrap import bootstrap_interval
from prefixbank.core.linear import NEVER, Solution, join_columns, mean_and_scale, predictions_from, ridge_path, spread_classes, standardise
from prefixbank.core.metrics import Kind, Metric, all_metrics, check_metric, check_values, score
from prefixbank.errors import DataError, UsageError

MAX_ITERATIONS = 5000
"""Limit of one logistic fit. Well-scaled vectors need tens to hundreds."""

SEARCH_TOLERANCE = 1e-4
"""Largest gradient component (of the mean loss) at which a cross-validation fit, in float32, stops."""

REFIT_TOLERANCE = 1e-5
"""The same for the last fit, in float64."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeModel:
    """A fitted probe: `decision = ((vectors - mean) / scale) @ weights + bias`.

    Arrays are float64 and the rest is JSON, so that a probe is stored without pickle.
    """

    kind: Kind
    weights: np.ndarray
    """[F, C] on standardised features; C is 1 for regression and 2 for a task of two classes."""
    bias: np.ndarray
    """[C]; `NEVER` for a class that no train row has."""
    mean: np.ndarray
    """[F] of the train rows."""
    scale: np.ndarray
    """[F] standard deviation of the train rows; 1 for a constant feature."""
    strength: float
    """The chosen inverse regularisation strength S."""
    cv_scores: dict[str, float]
    """Cross-validation score of each strength, by `repr(strength)`; empty when there were too few rows to cross-validate."""
    unconverged_fits: int
    """How many logistic fits, cross-validation included, stopped before they converged."""

    def decision(self, vectors: np.ndarray) -> np.ndarray:
        """Return float64 [N, C]: logits (classification, multilabel) or the predicted value (regression) of vectors [N, F]."""
        decision: np.ndarray = standardise(vectors, self.mean, self.scale) @ self.weights + self.bias
        return decision

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return int64 [N] classes, uint8 [N, C] labels or float64 [N] values for vectors [N, F]."""
        return predictions_from(self.kind, self.decision(vectors))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Score of a probe on n rows, its 95 % bootstrap interval, and all metrics that fit the kind."""

    score: float
    low: float
    high: float
    metrics: dict[str, float]
    n: int


def fit_probe(
    vectors: np.ndarray,
    labels: np.ndarray,
    *,
    kind: Kind,
    metric: Metric,
    num_outputs: int,
    strengths: Sequence[float],
    folds: int,
    seed: int,
) -> ProbeModel:
    """Choose the strength by cross-validation on the train rows, then fit all of them.

    The score of a strength is the metric over all train rows, each predicted by the fit that did not see it. The highest score wins, a tie
    goes to the stronger regularisation. Folds are stratified by class (classification); there are at most as many as the largest class
    has rows (else: as there are rows); a rarer class is missing from some folds. When that is fewer than two, nothing can be
    cross-validated: the middle strength is taken (the stronger of two) and `cv_scores` stays empty, which the caller should tell the user.

    Args:
        vectors: float [N, F], finite.
        labels: int64 [N] (classification), uint8 [N, C] (multilabel) or float [N] (regression). Classes may be missing: a missing class
            is never predicted.
        kind: kind of the task.
        metric: what cross-validation maximises.
        num_outputs: C; 1 for regression.
        strengths: inverse regularisation strengths to choose from, all > 0.
        folds: wanted number of folds.
        seed: of the assignment of rows to folds.

    Raises:
        DataError: vectors or labels have the wrong shape or values.
        UsageError: the metric does not fit the kind, or no strength is given, or one is not positive.
    """
    _check_fit(vectors, labels, kind, metric, num_outputs, strengths)
    path = sorted({float(strength) for strength in strengths})
    fold_of = _assign_folds(labels, kind, folds, seed)
    with threadpool_limits(1):
        cv_scores, unconverged = _cross_validate(vectors, labels, fold_of, kind, metric, num_outputs, path)
        strength = max(path, key=lambda one: (cv_scores[one], -one)) if cv_scores else path[(len(path) - 1) // 2]
        mean, scale = mean_and_scale(vectors)
        solution = _solve(kind, standardise(vectors, mean, scale), labels, [strength], num_outputs, REFIT_TOLERANCE)[0]
    return ProbeModel(
        kind=kind,
        weights=solution.weights,
        bias=solution.bias,
        mean=mean,
        scale=scale,
        strength=strength,
        cv_scores={repr(one): value for one, value in cv_scores.items()},
        unconverged_fits=unconverged + solution.unconverged,
    )


def sample_shots(labels: np.ndarray, *, kind: Kind, shots: int, seed: int) -> np.ndarray:
    """Draw rows without replacement: `shots` of each class that occurs, or `shots` in all (multilabel, regression).

    With one seed, the rows of fewer shots are among the rows of more shots.

    Args:
        labels: [N] or [N, C], as in `fit_probe`.
        kind: kind of the task.
        shots: rows to draw, at least 1.
        seed: of the draw.

    Returns:
        int64 row numbers, ascending.

    Raises:
        ValueError: shots < 1, or a class (or the whole) has fewer rows.
    """
    groups = labels if kind == "classification" else np.zeros(len(labels), dtype=np.int64)
    names, sizes = np.unique(groups, return_counts=True)
    if shots < 1:
        raise ValueError(f"{shots} shots; at least 1 is needed")
    if not len(names) or sizes.min() < shots:
        where = f"class {names[sizes.argmin()]} has" if kind == "classification" and len(names) else "there are"
        raise ValueError(f"{where} only {sizes.min(initial=len(labels))} rows, {shots} shots were asked for")
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    return np.sort(np.concatenate([shuffled[groups[shuffled] == name][:shots] for name in names]))


def evaluate(model: ProbeModel, vectors: np.ndarray, labels: np.ndarray, *, metric: Metric, resamples: int, seed: int) -> Evaluation:
    """Score a probe on rows it was not fitted on.

    Args:
        model: the probe.
        vectors: float [N, F].
        labels: the truth, as in `fit_probe`.
        metric: the score that gets the interval.
        resamples: bootstrap draws behind the interval.
        seed: of the draws.

    Raises:
        UsageError, DataError: as `metrics.score`.
    """
    _check_vectors(vectors, len(labels))
    check_metric(model.kind, metric)
    predictions, outputs = model.predict(vectors), len(model.bias)
    low, high = bootstrap_interval(metric, predictions, labels, outputs, resamples=resamples, seed=seed)
    return Evaluation(
        score=score(metric, predictions, labels, outputs),
        low=low,
        high=high,
        metrics=all_metrics(model.kind, predictions, labels, outputs),
        n=len(labels),
    )


def _check_fit(vectors: np.ndarray, labels: np.ndarray, kind: Kind, metric: Metric, num_outputs: int, strengths: Sequence[float]) -> None:
    check_metric(kind, metric)
    check_values(kind, labels, num_outputs, name="labels")
    _check_vectors(vectors, len(labels))
    if not strengths or not all(0 < strength < np.inf for strength in strengths):
        what = f"strengths {list(strengths)}"
        raise UsageError(what, expected="one or more finite numbers above 0", fix="set 'probe.strengths=[0.01,1.0]'")


def _check_vectors(vectors: np.ndarray, rows: int) -> None:
    if vectors.ndim != 2 or len(vectors) != rows or not vectors.shape[1]:
        what = f"vectors of shape {list(vectors.shape)} for {rows} labels"
        raise DataError(what, expected="one vector for each label, shape [N, F]", fix="embed the texts that the labels belong to")
    if not np.isfinite(vectors).all():
        rows_hit = int((~np.isfinite(vectors)).any(axis=1).sum())
        what = f"{rows_hit} of {rows} vectors hold infinities or are not numbers"
        raise DataError(what, expected="finite vectors", fix="embed again with precision=fp32")


def _assign_folds(labels: np.ndarray, kind: Kind, folds: int, seed: int) -> np.ndarray:
    """Return [N] fold numbers 0..n-1 with n <= folds, classes dealt out evenly; all 0 when nothing can be held out."""
    groups = labels if kind == "classification" else np.zeros(len(labels), dtype=np.int64)
    count = max(1, min(folds, int(np.unique(groups, return_counts=True)[1].max())))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(groups[shuffled], kind="stable")]
    fold_of = np.empty(len(labels), dtype=np.int64)
    fold_of[by_class] = np.arange(len(labels)) % count
    return fold_of


def _cross_validate(
    vectors: np.ndarray, labels: np.ndarray, fold_of: np.ndarray, kind: Kind, metric: Metric, num_outputs: int, path: list[float]
) -> tuple[dict[float, float], int]:
    """Return the score of each strength over held-out predictions (empty with a single fold) and the number of unconverged fits."""
    if not fold_of.any():
        return {}, 0
    predicted = np.zeros((len(path), *labels.shape), dtype=np.float64 if kind == "regression" else np.int64)
    unconverged = 0
    for fold in range(int(fold_of.max()) + 1):
        held = fold_of == fold
        mean, scale = mean_and_scale(vectors[~held])
        solutions = _solve(kind, standardise(vectors[~held], mean, scale), labels[~held], path, num_outputs, SEARCH_TOLERANCE)
        held_vectors = standardise(vectors[held], mean, scale)
        for row, solution in zip(predicted, solutions, strict=True):
            row[held] = predictions_from(kind, held_vectors @ solution.weights + solution.bias)
            unconverged += solution.unconverged
    return {strength: score(metric, row, labels, num_outputs) for strength, row in zip(path, predicted, strict=True)}, unconverged


def _solve(kind: Kind, x: np.ndarray, labels: np.ndarray, path: list[float], num_outputs: int, tolerance: float) -> list[Solution]:
    """Fit standardised x [N, F] at every strength of the ascending path."""
    match kind:
        case "classification":
            return [spread_classes(one, np.unique(labels), num_outputs) for one in _logistic_path(x, labels, path, tolerance)]
        case "multilabel":
            columns = [_label_path(x, labels[:, column], path, tolerance) for column in range(num_outputs)]
            return [join_columns(at_one_strength) for at_one_strength in zip(*columns, strict=True)]
        case "regression":
            return ridge_path(x, labels.astype(np.float64), path)
    assert_never(kind)


def _logistic_path(x: np.ndarray, labels: np.ndarray, path: list[float], tolerance: float) -> list[Solution]:
    """Fit the classes that occur, in order, each fit starting from the one before; one column for two classes, zeros for one class."""
    if len(np.unique(labels)) == 1:
        return [Solution(weights=np.zeros((x.shape[1], 1)), bias=np.zeros(1))] * len(path)
    x = x.astype(np.float64 if tolerance < SEARCH_TOLERANCE else np.float32)
    model = LogisticRegression(warm_start=True, max_iter=MAX_ITERATIONS, tol=tolerance)
    solutions = []
    for strength in path:
        unconverged = _fit_quietly(model.set_params(C=strength), x, labels)
        weights, bias = np.array(model.coef_.T, dtype=np.float64), np.array(model.intercept_, dtype=np.float64)
        solutions.append(Solution(weights=weights, bias=bias, unconverged=unconverged))
    return solutions


def _fit_quietly(model: LogisticRegression, x: np.ndarray, labels: np.ndarray) -> int:
    """Fit in place; return 1 instead of a warning when it does not converge. Other warnings pass through."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, labels)
    for warning in caught:
        if not issubclass(warning.category, ConvergenceWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return int(any(issubclass(warning.category, ConvergenceWarning) for warning in caught))


def _label_path(x: np.ndarray, labels: np.ndarray, path: list[float], tolerance: float) -> list[Solution]:
    """Fit one label [N] of a multilabel task; a label that no row or every row has gets a bias of `NEVER` or `-NEVER`."""
    if labels.min() == labels.max():
        constant = -NEVER if labels[0] else NEVER
        return [Solution(weights=np.zeros((x.shape[1], 1)), bias=np.full(1, constant))] * len(path)
    return _logistic_path(x, labels, path, tolerance)
