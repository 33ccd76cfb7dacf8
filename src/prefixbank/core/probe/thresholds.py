"""Thresholds: how probable a label has to be to be predicted, chosen on rows with known labels."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from prefixbank.choices import Kind, ThresholdRule

NEVER = np.inf
"""Threshold of a label that is not predicted."""


def choose_thresholds(
    rule: ThresholdRule,
    kind: Kind,
    probabilities: np.ndarray,
    labels: np.ndarray,
    precision: float,
) -> np.ndarray | None:
    """Choose a threshold for each label, or for the second of two classes.

    Args:
        rule: `default` gives None; for the others see `choose_threshold`.
        kind: multilabel, or classification with two classes.
        probabilities: float64 [N, C] of rows that the probe was not fitted on.
        labels: their classes int [N], or labels 0 or 1 [N, C].
        precision: what `precision` wants.

    Returns:
        float64 [C], or [1] of two classes.
    """
    if rule == "default":
        return None
    if kind == "classification":
        probabilities, labels = probabilities[:, 1:], labels[:, None]
    columns = zip(probabilities.T, labels.T, strict=True)
    return np.array([choose_threshold(rule, *column, precision) for column in columns])


def choose_threshold(
    rule: ThresholdRule, probabilities: np.ndarray, truth: np.ndarray, precision: float
) -> float:
    """Return the threshold of one label, one of its probabilities.

    Args:
        rule: `f1`: the largest F1, of several the highest threshold; 0.5 if no row has the label.
            `precision`: the lowest threshold with at least the wanted precision, `NEVER` if there
            is none. `default`: 0.5.
        probabilities: [N].
        truth: [N], 1 where a row has the label, else 0.
        precision: what `precision` wants.
    """
    if rule == "default" or (rule == "f1" and not truth.any()):
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(probabilities[order])), len(order) - 1)
    candidates = probabilities[order][ends]
    hits, claims = truth[order].cumsum(dtype=np.int64)[ends], ends + 1
    match rule:
        case "f1":
            return float(candidates[np.argmax(2 * hits / (claims + truth.sum()))])
        case "precision":
            enough = np.flatnonzero(hits / claims >= precision)
            return float(candidates[enough[-1]]) if len(enough) else NEVER
    assert_never(rule)
