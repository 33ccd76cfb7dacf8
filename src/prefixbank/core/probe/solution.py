"""Weights of probes on standardised vectors and their predictions; ridge regression. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
from scipy.special import expit, softmax

from prefixbank.choices import Kind, Metric
from prefixbank.core.stats.metrics import RANKING
from prefixbank.errors import UsageError

ABSENT_CLASS_LOGIT = -1e30
"""Bias of a class or label that no train row has. It is finite, so that it can be written as JSON,
and below any decision value of another class. A label that every train row has gets minus that."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Weights [F, C] and bias [C] at one strength, on standardised vectors.

    With a hidden layer ([F, H] and [H]), weights are [H, C].
    """

    weights: np.ndarray
    bias: np.ndarray
    hidden_weights: np.ndarray | None = None
    hidden_bias: np.ndarray | None = None
    unconverged: int = 0

    def decision(self, x: np.ndarray) -> np.ndarray:
        """Return decision values, float64 [N, C], of standardised vectors [N, F]."""
        if self.hidden_weights is not None:
            x = np.tanh(x @ self.hidden_weights + self.hidden_bias)
        decision: np.ndarray = x @ self.weights + self.bias
        return decision


def predictions_from(kind: Kind, decision: np.ndarray) -> np.ndarray:
    """Turn decision values [N, C] into classes int64 [N], labels uint8 [N, C] or values [N]."""
    match kind:
        case "classification":
            classes: np.ndarray = decision.argmax(axis=1)
            return classes
        case "multilabel":
            chosen: np.ndarray = decision > 0
            return chosen.astype(np.uint8)
        case "regression":
            return decision[:, 0]
    assert_never(kind)


def probabilities_from(kind: Kind, decision: np.ndarray) -> np.ndarray:
    """Turn decision values into the probability of each class or label, float64 [N, C].

    Those of the classes of a row sum to 1; each label of a multilabel task has its own.

    Raises:
        UsageError: a regression has no probabilities.
    """
    match kind:
        case "classification":
            of_class: np.ndarray = softmax(decision, axis=1)
            return of_class
        case "multilabel":
            of_label: np.ndarray = expit(decision)
            return of_label
        case "regression":
            raise UsageError(
                "probabilities of a regression",
                expected="a classification or a multilabel task",
                fix="predict(vectors)",
            )
    assert_never(kind)


def scorable_from(metric: Metric, kind: Kind, decision: np.ndarray) -> np.ndarray:
    """Turn decision values into what a metric scores: probabilities, or predictions."""
    if metric in RANKING:
        return probabilities_from(kind, decision)
    return predictions_from(kind, decision)


def mean_and_scale(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation, float64 [F] each.

    A constant feature gets its value and 1, so that it becomes exactly 0.
    """
    values = vectors.astype(np.float64)
    deviation = values.std(axis=0)
    varies = (values.max(axis=0) > values.min(axis=0)) & (deviation > 0)
    return np.where(varies, values.mean(axis=0), values[0]), np.where(varies, deviation, 1.0)


def standardise(vectors: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return float64 `(vectors - mean) / scale` of vectors [N, F]."""
    standard: np.ndarray = (vectors.astype(np.float64) - mean) / scale
    return standard


def spread_classes(fitted: Solution, classes: np.ndarray, num_outputs: int) -> Solution:
    """Return a solution with a column for every class.

    The column of a binary fit becomes two opposite halves. Classes without a train row get
    `ABSENT_CLASS_LOGIT`.
    """
    weights, bias = fitted.weights, fitted.bias
    if len(classes) == 2:
        weights, bias = weights * [-0.5, 0.5], bias * [-0.5, 0.5]
    all_weights, all_bias = (
        np.zeros((len(weights), num_outputs)),
        np.full(num_outputs, ABSENT_CLASS_LOGIT),
    )
    all_weights[:, classes], all_bias[classes] = weights, bias
    return replace(fitted, weights=all_weights, bias=all_bias)


def join_columns(columns: Sequence[Solution]) -> Solution:
    """Concatenate solutions of one column each."""
    return Solution(
        weights=np.hstack([column.weights for column in columns]),
        bias=np.concatenate([column.bias for column in columns]),
        unconverged=sum(column.unconverged for column in columns),
    )


def ridge_path(x: np.ndarray, labels: np.ndarray, path: list[float]) -> list[Solution]:
    """Solve ridge exactly at each strength, for x whose columns have mean 0.

    One eigendecomposition, of the smaller of x'x and xx', serves all strengths.
    """
    target = labels - labels.mean()
    tall = x.shape[0] >= x.shape[1]
    eigenvalues, basis = np.linalg.eigh(x.T @ x if tall else x @ x.T)
    projected = basis.T @ (x.T @ target if tall else target)
    solutions = []
    for strength in path:
        shrunk = basis @ (projected / (np.maximum(eigenvalues, 0) + 1 / strength))
        weights = (shrunk if tall else x.T @ shrunk)[:, None]
        solutions.append(Solution(weights=weights, bias=labels.mean(keepdims=True)))
    return solutions
