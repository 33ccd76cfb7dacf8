"""How far probabilities can be trusted: log loss, Brier score, calibration error. numpy only.

Of each a smaller value is better. Figures of a multilabel task are means over its labels.
"""

from __future__ import annotations

import numpy as np

BINS = 15
"""Number of bins of confidence of the calibration error."""


def probability_metrics(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return `log_loss`, `brier` and `ece` of probabilities.

    Args:
        probabilities: float64 [N, C], of the classes of a row, which sum to 1, or of each label.
        labels: int [N] classes, or 0 or 1 [N, C].
    """
    figures = {"log_loss": log_loss, "brier": brier_score, "ece": calibration_error}
    if labels.ndim == 1:
        return {name: figure(probabilities, labels) for name, figure in figures.items()}
    columns = [
        (np.column_stack([1 - probability, probability]), label.astype(np.int64))
        for probability, label in zip(probabilities.T, labels.T, strict=True)
    ]
    return {
        name: float(np.mean([figure(*column) for column in columns]))
        for name, figure in figures.items()
    }


def log_loss(probabilities: np.ndarray, classes: np.ndarray) -> float:
    """Return the mean of -ln of the probability of each row's class.

    As in scikit-learn, a probability is at least the smallest e with 1 + e > 1.

    Args:
        probabilities: float64 [N, C].
        classes: int [N].
    """
    epsilon = np.finfo(np.float64).eps
    right = probabilities[np.arange(len(classes)), classes].clip(epsilon, 1 - epsilon)
    return float(-np.log(right).mean())


def brier_score(probabilities: np.ndarray, classes: np.ndarray) -> float:
    """Return the mean squared error of probabilities: 0 to 1 of two classes, else 0 to 2.

    As in scikit-learn, the error of a row is that of the second of two classes, and the sum over
    classes if there are more. Source: Brier 1950, "Verification of forecasts expressed in terms of
    probability".

    Args:
        probabilities: float64 [N, C].
        classes: int [N].
    """
    errors = ((probabilities - np.eye(probabilities.shape[1])[classes]) ** 2).sum(axis=1)
    return float(errors.mean() / (2 if probabilities.shape[1] == 2 else 1))


def calibration_error(probabilities: np.ndarray, classes: np.ndarray) -> float:
    """Return the expected calibration error over 15 bins.

    The confidence of a row is its largest probability. Bin b of 1..15 holds the rows whose
    confidence is above (b - 1) / 15 and at most b / 15. The error is the mean over bins, weighted
    by their rows, of the difference between the share of rows whose most probable class is right
    and the mean confidence. Source: Guo et al. 2017 (1706.04599).

    Args:
        probabilities: float64 [N, C].
        classes: int [N].
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == classes
    bin_of = np.ceil(confidence * BINS).astype(np.int64).clip(1, BINS)
    gaps = np.bincount(bin_of, weights=right - confidence)
    return float(np.abs(gaps).sum() / len(classes))
