"""Fit a probe on frozen vectors and choose its regularisation strength by cross-validation.

Probes are linear, or MLPs with one hidden layer; `linear.py` and `mlp.py` have their objectives.
Vectors are standardised with the mean and standard deviation of the train rows.

All linear algebra runs on one thread. So results do not depend on the number of threads, and
matrices of this size are no slower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import assert_never

import numpy as np
from threadpoolctl import threadpool_limits

from prefixbank.choices import ClassWeight, Kind, Metric, ProbeType
from prefixbank.core.probe.linear import solve_linear
from prefixbank.core.probe.mlp import solve_mlp
from prefixbank.core.probe.model import ProbeModel, check_vectors
from prefixbank.core.probe.rows import assign_folds
from prefixbank.core.probe.solution import Solution, mean_and_scale, scorable_from, standardise
from prefixbank.core.stats.metrics import RANKING, check_metric, check_values, score
from prefixbank.errors import UsageError

Solver = Callable[[np.ndarray, np.ndarray, list[float], bool], list[Solution]]
"""Takes standardised vectors [N, F], labels, ascending strengths, and whether the fits only serve
to compare strengths. Returns one solution for each strength."""


def fit_probe(
    vectors: np.ndarray,
    labels: np.ndarray,
    *,
    kind: Kind,
    metric: Metric,
    num_outputs: int,
    Cs: Sequence[float],
    folds: int,
    seed: int,
    model: ProbeType = "linear",
    hidden_size: int = 64,
    class_weight: ClassWeight = "none",
) -> ProbeModel:
    """Choose the strength by cross-validation on the train rows, then fit on all of them.

    The score of a strength is the metric over all train rows, each predicted by the fit that did
    not see it. The highest score wins; a tie goes to the stronger regularisation. For the folds see
    `assign_folds`. With fewer than two folds nothing can be cross-validated. Then the middle
    strength is taken (the stronger of two) and `cv_scores` is empty, which the caller should report
    to the user.

    Args:
        vectors: float [N, F], finite.
        labels: int64 [N] (classification), uint8 [N, C] (multilabel) or float [N] (regression).
            Classes may be missing: a missing class is never predicted.
        kind: kind of the task.
        metric: what cross-validation maximises.
        num_outputs: C; 1 for regression.
        Cs: inverse regularisation strengths to choose from, all > 0.
        folds: number of folds, if there are rows enough.
        seed: of the assignment of rows to folds, and of an MLP's start weights.
        model: `linear`, or `mlp` with one hidden layer.
        hidden_size: H of an MLP.
        class_weight: of the rows of each class in the loss; a regression has none.

    Raises:
        DataError: vectors or labels have the wrong shape or values.
        UsageError: the metric does not fit the kind, or no strength is given, or one is not
            positive.
    """
    _check_fit(vectors, labels, kind, metric, num_outputs, Cs)
    path = sorted({float(strength) for strength in Cs})
    fold_of = assign_folds(labels, kind=kind, folds=folds, seed=seed)
    solve = partial(_solve, model, kind, num_outputs, class_weight, hidden_size, seed)
    with threadpool_limits(1):
        cv_scores, unconverged = _cross_validate(
            vectors, labels, fold_of, kind, metric, num_outputs, path, solve
        )
        strength = (
            max(path, key=lambda one: (cv_scores[one], -one))
            if cv_scores
            else path[(len(path) - 1) // 2]
        )
        mean, scale = mean_and_scale(vectors)
        solution = solve(standardise(vectors, mean, scale), labels, [strength], False)[0]
    return ProbeModel(
        kind=kind,
        weights=solution.weights,
        bias=solution.bias,
        hidden_weights=solution.hidden_weights,
        hidden_bias=solution.hidden_bias,
        mean=mean,
        scale=scale,
        strength=strength,
        cv_scores={repr(one): value for one, value in cv_scores.items()},
        unconverged_fits=unconverged + solution.unconverged,
    )


def _check_fit(
    vectors: np.ndarray,
    labels: np.ndarray,
    kind: Kind,
    metric: Metric,
    num_outputs: int,
    Cs: Sequence[float],
) -> None:
    check_metric(kind, metric)
    check_values(kind, labels, num_outputs, name="labels")
    check_vectors(vectors, len(labels))
    if not Cs or not all(0 < strength < np.inf for strength in Cs):
        what = f"strengths {list(Cs)}"
        raise UsageError(
            what, expected="one or more finite numbers above 0", fix="set 'probe.Cs=[0.01,1.0]'"
        )


def _cross_validate(
    vectors: np.ndarray,
    labels: np.ndarray,
    fold_of: np.ndarray,
    kind: Kind,
    metric: Metric,
    num_outputs: int,
    path: list[float],
    solve: Solver,
) -> tuple[dict[float, float], int]:
    """Return each strength's score over held-out predictions, and the number of unconverged fits.

    With a single fold there are no scores.
    """
    if not fold_of.any():
        return {}, 0
    numbers = metric in RANKING or kind == "regression"
    shape = (len(labels), num_outputs) if metric in RANKING else labels.shape
    predicted = np.zeros((len(path), *shape), dtype=np.float64 if numbers else np.int64)
    unconverged = 0
    for fold in range(int(fold_of.max()) + 1):
        held = fold_of == fold
        mean, scale = mean_and_scale(vectors[~held])
        solutions = solve(standardise(vectors[~held], mean, scale), labels[~held], path, True)
        held_vectors = standardise(vectors[held], mean, scale)
        for row, solution in zip(predicted, solutions, strict=True):
            row[held] = scorable_from(metric, kind, solution.decision(held_vectors))
            unconverged += solution.unconverged
    return {
        strength: score(metric, row, labels, num_outputs)
        for strength, row in zip(path, predicted, strict=True)
    }, unconverged


def _solve(
    model: ProbeType,
    kind: Kind,
    num_outputs: int,
    class_weight: ClassWeight,
    hidden_size: int,
    seed: int,
    x: np.ndarray,
    labels: np.ndarray,
    path: list[float],
    search: bool,
) -> list[Solution]:
    """Fit standardised x [N, F] at each strength of the ascending path."""
    match model:
        case "linear":
            return solve_linear(
                kind, x, labels, path, num_outputs, class_weight=class_weight, search=search
            )
        case "mlp":
            return solve_mlp(
                kind,
                x,
                labels,
                path,
                num_outputs,
                class_weight=class_weight,
                hidden_size=hidden_size,
                seed=seed,
            )
    assert_never(model)
