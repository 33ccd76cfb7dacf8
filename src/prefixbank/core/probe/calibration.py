"""Calibration: probabilities that come true as often as they say, on rows that the fit did not see.

Nothing can be learned about a class or label that none of these rows has, or all of them have: it
keeps its probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from prefixbank.choices import CalibrationMethod, Kind
from prefixbank.core.probe.solution import ABSENT_CLASS_LOGIT, probabilities_from

LEAST_TEMPERATURE, LARGEST_TEMPERATURE = 0.01, 100.0
HALVINGS = 60
"""Of the range of inverse temperatures, which leave no two numbers between its ends."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Temperature:
    """Logits are divided by a temperature. Source: Guo et al. 2017 (1706.04599), section 4.2."""

    temperature: np.ndarray
    """[1], or [C] with one for each label of a multilabel task."""

    def probabilities(self, kind: Kind, decision: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, float64 [N, C], of logits [N, C]."""
        return probabilities_from(kind, decision / self.temperature)


@dataclass(frozen=True, kw_only=True, eq=False)
class Isotonic:
    """The probability of each class or label is mapped by a function that never falls.

    Of two classes it is the probability of the second. Those of more classes are then divided by
    their sum, as in scikit-learn. Source: Zadrozny & Elkan 2002, "Transforming classifier scores
    into accurate multiclass probability estimates".
    """

    knots: np.ndarray
    """[C, K], or [1, K] for two classes: ascending probabilities; the last one may be repeated."""
    values: np.ndarray
    """[C, K], or [1, K]: the calibrated probability at each knot, linear in between."""

    def probabilities(self, kind: Kind, decision: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, float64 [N, C], of logits [N, C]."""
        plain = probabilities_from(kind, decision)[:, -len(self.knots) :]
        mapped = np.column_stack(
            [
                np.interp(column, knots, values)
                for column, knots, values in zip(plain.T, self.knots, self.values, strict=True)
            ]
        )
        if kind == "multilabel":
            return mapped
        if mapped.shape[1] == 1:
            return np.hstack([1 - mapped, mapped])
        total = mapped.sum(axis=1, keepdims=True)
        even = np.full(mapped.shape, 1 / mapped.shape[1])  # where all are 0
        np.divide(mapped, total, out=even, where=total > 0)
        return even


Calibration = Temperature | Isotonic


def fit_calibration(
    method: CalibrationMethod, kind: Kind, decision: np.ndarray, labels: np.ndarray
) -> Calibration | None:
    """Fit a calibration.

    Args:
        method: `none` gives None; `temperature` minimises the log loss, between 0.01 and 100;
            `isotonic` the squared error of each class or label.
        kind: classification or multilabel.
        decision: float64 [N, C], logits of rows that the probe was not fitted on.
        labels: their classes int [N], or labels 0 or 1 [N, C].
    """
    match method:
        case "none":
            return None
        case "temperature":
            return Temperature(temperature=np.array(_temperatures(kind, decision, labels)))
        case "isotonic":
            return _isotonic(kind, decision, labels)
    assert_never(method)


def _temperatures(kind: Kind, decision: np.ndarray, labels: np.ndarray) -> list[float]:
    if kind == "classification":
        return [_temperature(decision, labels)]
    columns = zip(decision.T, labels.T, strict=True)
    return [
        _temperature(np.column_stack([np.zeros(len(logit)), logit]), flags.astype(np.int64))
        for logit, flags in columns
    ]


def _temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """Return the temperature with the least log loss of logits [N, C] for classes [N].

    The loss is convex in the inverse temperature, so its slope is halved in on. Rows of a class
    that no train row has are left out, since they are lost at every temperature.
    """
    possible = logits[np.arange(len(classes)), classes] > ABSENT_CLASS_LOGIT / 2
    logits, classes = logits[possible], classes[possible]
    if len(np.unique(classes)) < 2:
        return 1.0
    right = logits[np.arange(len(classes)), classes]

    def slope(inverse: float) -> float:
        expected = (probabilities_from("classification", inverse * logits) * logits).sum(axis=1)
        return float((expected - right).sum())

    low, high = np.log(1 / LARGEST_TEMPERATURE), np.log(1 / LEAST_TEMPERATURE)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(float(np.exp(middle))) < 0 else (low, middle)
    return float(np.exp(-high))


def _isotonic(kind: Kind, decision: np.ndarray, labels: np.ndarray) -> Isotonic:
    plain = probabilities_from(kind, decision)
    truth = labels if kind == "multilabel" else np.eye(plain.shape[1])[labels]
    if kind == "classification" and plain.shape[1] == 2:
        plain, truth = plain[:, 1:], truth[:, 1:]
    curves = [_curve(*column) for column in zip(plain.T, truth.T, strict=True)]
    longest = max(len(knots) for knots, _ in curves)
    knots, values = (
        np.stack([np.pad(curve[part], (0, longest - len(curve[part])), "edge") for curve in curves])
        for part in (0, 1)
    )
    return Isotonic(knots=knots, values=values)


def _curve(probability: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return knots and values of one class or label."""
    if truth.min() == truth.max():
        return np.array([0.0, 1.0]), np.array([0.0, 1.0])
    from sklearn.isotonic import IsotonicRegression  # a stored calibration is used without it

    model = IsotonicRegression(y_min=0.0, y_max=1.0).fit(probability, truth.astype(np.float64))
    return model.X_thresholds_, model.y_thresholds_
