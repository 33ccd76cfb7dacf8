"""Scores of single classes against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk

from prefixbank.core.stats.classes import class_scores, confusion_matrix

GENERATOR = np.random.default_rng(0)


def check(predictions: np.ndarray, labels: np.ndarray, classes: int) -> None:
    found = class_scores(predictions, labels, classes)
    expected = sk.precision_recall_fscore_support(
        labels, predictions, labels=range(classes), zero_division=0
    )
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(found[name], values)


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_of_classes_equal_those_of_sklearn(classes):
    check(GENERATOR.integers(0, classes, 60), GENERATOR.integers(0, classes, 60), classes)


def test_scores_of_labels_equal_those_of_sklearn():
    check(GENERATOR.integers(0, 2, (40, 3)), GENERATOR.integers(0, 2, (40, 3)), 3)


def test_class_that_never_occurs_scores_zero():
    check(np.array([0, 1, 1]), np.array([0, 0, 1]), 4)


def test_confusion_matrix_equals_that_of_sklearn():
    labels, predictions = GENERATOR.integers(0, 4, (2, 80))
    expected = sk.confusion_matrix(labels, predictions, labels=range(5))
    assert np.array_equal(confusion_matrix(predictions, labels, 5), expected)
