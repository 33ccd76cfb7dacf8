"""Linear probes: logistic and ridge regression at each strength of an ascending path.

Objectives on standardised vectors, with strength S; biases are not penalised:

* classification: sum over rows of the softmax cross-entropy + |W|^2 / (2 S);
* multilabel: the same, with one independent logistic model for each label;
* regression: sum over rows of squared errors + |w|^2 / S, which is ridge with alpha = 1 / S. Both
  terms scale with the square of the labels' unit, so the unit does not matter.

With balanced class weights, the loss of a row counts n / (C * n_c) times: n rows, C classes that
occur, n_c rows of its class; for each label of a multilabel task these are the rows with and
without it.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from prefixbank.choices import ClassWeight, Kind
from prefixbank.core.probe.solution import (
    ABSENT_CLASS_LOGIT,
    Solution,
    join_columns,
    ridge_path,
    spread_classes,
)
from prefixbank.errors import DataError

MAX_ITERATIONS = 5000
"""Limit of one logistic fit. Well-scaled vectors need tens to hundreds."""

SEARCH_TOLERANCE = 1e-4
"""A cross-validation fit, in float32, stops when no component of the gradient of the mean loss is
larger."""

REFIT_TOLERANCE = 1e-5
"""The same for the final fit, in float64."""


def solve_linear(
    kind: Kind,
    x: np.ndarray,
    labels: np.ndarray,
    path: list[float],
    num_outputs: int,
    *,
    class_weight: ClassWeight,
    search: bool,
) -> list[Solution]:
    """Fit standardised x [N, F] at each strength of the ascending path.

    `search`: the fits only serve to compare strengths, and are less exact.
    """
    if kind == "regression":
        return ridge_path(x, labels.astype(np.float64), path)
    logistic = partial(_logistic, kind, class_weight=class_weight, search=search)
    if x.shape[1] <= x.shape[0] or not x.any():
        return logistic(x, labels, path, num_outputs)
    coordinates, basis = _in_row_space(x)
    solutions = logistic(coordinates, labels, path, num_outputs)
    return [replace(one, weights=basis @ one.weights) for one in solutions]


def _in_row_space(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x [N, F] in R <= N coordinates, [N, R], and their orthonormal basis [F, R].

    The basis spans the rows of x. The best weights lie in it, and their penalty is that of their
    coordinates, so a fit on the coordinates is the fit on all F features at R / F of its cost.
    Source: Hastie & Tibshirani 2004, "Efficient quadratic regularization for expression arrays".
    """
    eigenvalues, vectors = np.linalg.eigh(x @ x.T)
    used = eigenvalues > len(x) * np.finfo(np.float64).eps * eigenvalues[-1]
    lengths = np.sqrt(eigenvalues[used])
    return vectors[:, used] * lengths, x.T @ (vectors[:, used] / lengths)


def _logistic(
    kind: Kind,
    x: np.ndarray,
    labels: np.ndarray,
    path: list[float],
    num_outputs: int,
    *,
    class_weight: ClassWeight,
    search: bool,
) -> list[Solution]:
    """Fit one softmax, or one logistic model for each label, at each strength."""
    tolerance = SEARCH_TOLERANCE if search else REFIT_TOLERANCE
    if kind == "classification":
        return [
            spread_classes(one, np.unique(labels), num_outputs)
            for one in _logistic_path(x, labels, path, tolerance, class_weight)
        ]
    columns = [
        _label_path(x, labels[:, column], path, tolerance, class_weight)
        for column in range(num_outputs)
    ]
    return [join_columns(at_one_strength) for at_one_strength in zip(*columns, strict=True)]


def fit_quietly(
    model: Any, x: np.ndarray, labels: np.ndarray, row_weights: np.ndarray | None = None
) -> int:
    """Fit a scikit-learn model in place; return 1 if it does not converge, instead of warning.

    Other warnings pass through, but for that of numpy for invalid values: products of small float32
    matrices have raised it now and then with finite factors and results. So the weights are looked
    at instead.

    Raises:
        DataError: some weight is not a finite number.
    """
    with warnings.catch_warnings(record=True) as caught, np.errstate(invalid="ignore"):
        warnings.simplefilter("always")
        model.fit(x, labels, sample_weight=row_weights)
    weights = model.coefs_ if hasattr(model, "coefs_") else [model.coef_]
    if not all(np.isfinite(one).all() for one in weights):
        raise DataError(
            "a probe whose weights are not finite numbers",
            expected="vectors that a probe can be fitted on",
            fix="normalize=true    or smaller strengths: 'probe.Cs=[0.01,0.1,1]'",
        )
    for warning in caught:
        if not issubclass(warning.category, ConvergenceWarning):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return int(any(issubclass(warning.category, ConvergenceWarning) for warning in caught))


def _logistic_path(
    x: np.ndarray,
    labels: np.ndarray,
    path: list[float],
    tolerance: float,
    class_weight: ClassWeight,
) -> list[Solution]:
    """Fit the classes that occur, each strength starting from the solution of the one before.

    Two classes give one column; one class gives zeros.
    """
    if len(np.unique(labels)) == 1:
        return [Solution(weights=np.zeros((x.shape[1], 1)), bias=np.zeros(1))] * len(path)
    x = x.astype(np.float64 if tolerance < SEARCH_TOLERANCE else np.float32)
    model = LogisticRegression(
        warm_start=True,
        max_iter=MAX_ITERATIONS,
        tol=tolerance,
        class_weight=None if class_weight == "none" else class_weight,
    )
    solutions = []
    for strength in path:
        unconverged = fit_quietly(model.set_params(C=strength), x, labels)
        weights, bias = (
            np.array(model.coef_.T, dtype=np.float64),
            np.array(model.intercept_, dtype=np.float64),
        )
        solutions.append(Solution(weights=weights, bias=bias, unconverged=unconverged))
    return solutions


def _label_path(
    x: np.ndarray,
    labels: np.ndarray,
    path: list[float],
    tolerance: float,
    class_weight: ClassWeight,
) -> list[Solution]:
    """Fit one label [N] of a multilabel task.

    The bias is `ABSENT_CLASS_LOGIT` for a label that no row has, and minus that for a label that
    every row has.
    """
    if labels.min() == labels.max():
        constant = -ABSENT_CLASS_LOGIT if labels[0] else ABSENT_CLASS_LOGIT
        return [Solution(weights=np.zeros((x.shape[1], 1)), bias=np.full(1, constant))] * len(path)
    return _logistic_path(x, labels, path, tolerance, class_weight)
