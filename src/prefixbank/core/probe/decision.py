"""How logits become probabilities and predictions: calibration and thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prefixbank.choices import CalibrationMethod, Kind, ThresholdRule
from prefixbank.core.probe.calibration import Calibration, Isotonic, Temperature, fit_calibration
from prefixbank.core.probe.solution import predictions_from, probabilities_from
from prefixbank.core.probe.thresholds import choose_thresholds


@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionRule:
    """Turns the logits of a probe into probabilities and predictions.

    Args:
        kind: what is predicted.
        calibration: None: probabilities are the softmax or the sigmoid of the logits.
        thresholds: [C], the least probability of each label that is predicted, or [1], that of the
            second of two classes. None: the most probable class, and labels above 0.5.
    """

    kind: Kind
    calibration: Calibration | None = None
    thresholds: np.ndarray | None = None

    def probabilities(self, decision: np.ndarray) -> np.ndarray:
        """Return the probability of each class, or of each label alone, float64 [N, C].

        Raises:
            UsageError: a regression has none.
        """
        if self.calibration is None:
            return probabilities_from(self.kind, decision)
        return self.calibration.probabilities(self.kind, decision)

    def predictions(self, decision: np.ndarray) -> np.ndarray:
        """Return classes int64 [N], labels uint8 [N, C] or values float64 [N]."""
        if self.thresholds is None and not isinstance(self.calibration, Isotonic):
            return predictions_from(self.kind, decision)  # a temperature keeps the order
        return self.named(self.probabilities(decision))

    def named(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the classes int64 [N], or labels uint8 [N, C], that probabilities [N, C] name."""
        if self.kind == "multilabel":
            least = np.nextafter(0.5, 1) if self.thresholds is None else self.thresholds
            flags: np.ndarray = (probabilities >= least).astype(np.uint8)
            return flags
        classes: np.ndarray = (
            probabilities.argmax(axis=1)
            if self.thresholds is None
            else (probabilities[:, 1] >= self.thresholds[0]).astype(np.int64)
        )
        return classes

    def arrays(self) -> dict[str, np.ndarray]:
        """Return its arrays by name, from which `rule_from` makes it again."""
        named = {} if self.calibration is None else dict(vars(self.calibration))
        return named if self.thresholds is None else named | {"thresholds": self.thresholds}

    @property
    def calibration_method(self) -> CalibrationMethod:
        """How it was calibrated."""
        match self.calibration:
            case None:
                return "none"
            case Temperature():
                return "temperature"
            case Isotonic():
                return "isotonic"


def rule_from(kind: Kind, arrays: Mapping[str, np.ndarray]) -> DecisionRule:
    """Return the rule whose arrays these are; others are passed over."""
    calibration: Calibration | None = None
    if "temperature" in arrays:
        calibration = Temperature(temperature=arrays["temperature"])
    elif "knots" in arrays:
        calibration = Isotonic(knots=arrays["knots"], values=arrays["values"])
    return DecisionRule(kind=kind, calibration=calibration, thresholds=arrays.get("thresholds"))


def fit_rule(
    kind: Kind,
    decision: np.ndarray,
    labels: np.ndarray,
    *,
    calibration: CalibrationMethod,
    threshold: ThresholdRule,
    precision: float,
) -> DecisionRule:
    """Fit a calibration, and choose thresholds of calibrated probabilities on the same rows.

    Args:
        kind: classification or multilabel.
        decision: float64 [N, C], logits of rows that the probe was not fitted on.
        labels: of these rows, as in `fit_probe`.
        calibration: see `fit_calibration`.
        threshold: see `choose_thresholds`.
        precision: what `threshold=precision` wants.
    """
    rule = DecisionRule(kind=kind, calibration=fit_calibration(calibration, kind, decision, labels))
    thresholds = choose_thresholds(threshold, kind, rule.probabilities(decision), labels, precision)
    return DecisionRule(kind=kind, calibration=rule.calibration, thresholds=thresholds)
