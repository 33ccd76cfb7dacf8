"""Fitted probes and their scores. numpy only: a stored probe is used without scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from prefixbank.choices import Kind, Metric
from prefixbank.core.probe.solution import Solution, predictions_from, standardise
from prefixbank.core.stats.bootstrap import bootstrap_interval
from prefixbank.core.stats.metrics import all_metrics, check_metric, scorable, score
from prefixbank.errors import DataError


class Decider(Protocol):
    """Anything that turns vectors into decision values."""

    def decision(self, vectors: np.ndarray) -> np.ndarray:
        """Return the logits (for regression: the values) of vectors [N, F], float64 [N, C]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeModel:
    """A fitted probe: `decision = hidden @ weights + bias`.

    With x = `(vectors - mean) / scale`, `hidden` is x for a linear probe and
    `tanh(x @ hidden_weights + hidden_bias)` for an MLP. Arrays are float64 and the rest is JSON, so
    that a probe can be stored without pickle.
    """

    kind: Kind
    weights: np.ndarray
    """[F, C] on standardised features, [H, C] for an MLP; C is 1 for regression and 2 for a task
    with two classes."""
    bias: np.ndarray
    """[C]; `ABSENT_CLASS_LOGIT` for a class that no train row has."""
    hidden_weights: np.ndarray | None = None
    """[F, H] for an MLP."""
    hidden_bias: np.ndarray | None = None
    """[H] for an MLP."""
    mean: np.ndarray
    """[F], mean of the train rows."""
    scale: np.ndarray
    """[F], standard deviation of the train rows; 1 for a constant feature."""
    strength: float
    """The chosen inverse regularisation strength S."""
    cv_scores: dict[str, float]
    """Cross-validation score of each strength, by `repr(strength)`; empty if there were too few
    rows to cross-validate."""
    unconverged_fits: int
    """Number of iterative fits, cross-validation included, that stopped before they converged."""

    @property
    def cv_score(self) -> float | None:
        """The cross-validation score of the chosen strength, if there is one."""
        return self.cv_scores.get(repr(self.strength))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name; those of the hidden layer only if there is one."""
        named = {
            name: getattr(self, name)
            for name in ("weights", "bias", "hidden_weights", "hidden_bias", "mean", "scale")
        }
        return {name: array for name, array in named.items() if array is not None}

    @property
    def solution(self) -> Solution:
        """The weights on standardised vectors."""
        return Solution(
            weights=self.weights,
            bias=self.bias,
            hidden_weights=self.hidden_weights,
            hidden_bias=self.hidden_bias,
        )

    def decision(self, vectors: np.ndarray) -> np.ndarray:
        """Return the logits (for regression: the values) of vectors [N, F], float64 [N, C]."""
        return self.solution.decision(standardise(vectors, self.mean, self.scale))

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return predictions for vectors [N, F].

        They are classes int64 [N], labels uint8 [N, C] or values float64 [N].
        """
        return predictions_from(self.kind, self.decision(vectors))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The score of a probe on n rows, its 95 % bootstrap interval, and all metrics of the kind."""

    score: float
    low: float
    high: float
    metrics: dict[str, float]
    n: int


def evaluate_predictions(
    kind: Kind,
    predictions: np.ndarray,
    labels: np.ndarray,
    num_outputs: int,
    *,
    probabilities: np.ndarray | None,
    metric: Metric,
    bootstrap_samples: int,
    seed: int,
) -> Evaluation:
    """Score predictions of rows that the probe was not fitted on.

    Args:
        kind: kind of the task.
        predictions: as `ProbeModel.predict` returns them.
        labels: the truth, as in `fit_probe`.
        num_outputs: C, 1 for regression.
        probabilities: of the classes or labels, float64 [N, C]; None for a regression.
        metric: the score that gets the interval.
        bootstrap_samples: resamples behind the interval.
        seed: of the resamples.

    Raises:
        UsageError: the metric is not defined for the kind.
        DataError: as `metrics.score`.
    """
    check_metric(kind, metric)
    scored = scorable(metric, predictions, probabilities)
    low, high = bootstrap_interval(
        metric, scored, labels, num_outputs, bootstrap_samples=bootstrap_samples, seed=seed
    )
    return Evaluation(
        score=score(metric, scored, labels, num_outputs),
        low=low,
        high=high,
        metrics=all_metrics(kind, predictions, probabilities, labels, num_outputs),
        n=len(labels),
    )


def check_vectors(vectors: np.ndarray, rows: int) -> None:
    """Raise DataError unless there are `rows` finite vectors with one or more features."""
    if vectors.ndim != 2 or len(vectors) != rows or not vectors.shape[1]:
        what = f"vectors of shape {list(vectors.shape)} for {rows} rows"
        raise DataError(
            what,
            expected="one vector for each row, shape [N, F]",
            fix="embed the texts of these rows",
        )
    if not np.isfinite(vectors).all():
        bad_rows = int((~np.isfinite(vectors)).any(axis=1).sum())
        what = f"{bad_rows} of {rows} vectors hold infinities or NaN"
        raise DataError(what, expected="finite vectors", fix="embed again with precision=fp32")
