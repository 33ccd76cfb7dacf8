"""Log loss, Brier score and calibration error against scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk

from prefixbank.core.stats.probabilities import BINS, calibration_error, probability_metrics


def problem(classes: int, rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, C] and classes that are drawn nearly from them."""
    generator = np.random.default_rng(classes)
    odds = generator.dirichlet(np.ones(classes), rows)
    drawn = [generator.choice(classes, p=row**2 / (row**2).sum()) for row in odds]
    return odds, np.array(drawn)


def looped_error(odds: np.ndarray, classes: np.ndarray) -> float:
    """The definition, bin by bin."""
    total = 0.0
    for number in range(1, BINS + 1):
        rows = [
            row
            for row in range(len(classes))
            if (number - 1) / BINS < max(odds[row]) <= number / BINS
        ]
        if rows:
            right = np.mean([int(np.argmax(odds[row])) == classes[row] for row in rows])
            total += len(rows) / len(classes) * abs(right - np.mean([max(odds[r]) for r in rows]))
    return total


@pytest.mark.parametrize("classes", [2, 4])
def test_figures_of_classes_equal_those_of_sklearn(classes):
    odds, labels = problem(classes)
    found, names = probability_metrics(odds, labels), list(range(classes))
    brier = (
        sk.brier_score_loss(labels, odds[:, 1])
        if classes == 2
        else sk.brier_score_loss(labels, odds, labels=names)
    )
    assert found == {
        "log_loss": pytest.approx(sk.log_loss(labels, odds, labels=names)),
        "brier": pytest.approx(brier),
        "ece": pytest.approx(looped_error(odds, labels)),
    }


def test_figures_of_labels_are_means_over_labels():
    generator = np.random.default_rng(0)
    odds = generator.random((150, 3))
    labels = (generator.random((150, 3)) < odds**2).astype(np.uint8)
    pairs = [
        (np.column_stack([1 - odds[:, one], odds[:, one]]), labels[:, one]) for one in range(3)
    ]
    assert probability_metrics(odds, labels) == {
        "log_loss": pytest.approx(np.mean([sk.log_loss(truth, two) for two, truth in pairs])),
        "brier": pytest.approx(
            np.mean([sk.brier_score_loss(truth, two[:, 1]) for two, truth in pairs])
        ),
        "ece": pytest.approx(np.mean([looped_error(two, truth) for two, truth in pairs])),
    }


def test_impossible_class_has_the_finite_loss_of_sklearn():
    odds, labels = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([1, 1])
    found = probability_metrics(odds, labels)["log_loss"]
    assert found == pytest.approx(sk.log_loss(labels, odds, labels=[0, 1]))
    assert np.isfinite(found)


@pytest.mark.parametrize("confidence", [1 / 2, 8 / 15, 1.0])
def test_confidence_at_the_end_of_a_bin_belongs_to_it(confidence):
    odds, labels = np.array([[confidence, 1 - confidence]] * 4), np.array([0, 0, 0, 1])
    assert calibration_error(odds, labels) == pytest.approx(abs(0.75 - confidence))


def test_probabilities_that_come_true_have_no_error():
    odds, labels = np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1])
    assert calibration_error(odds, labels) == 0.0
