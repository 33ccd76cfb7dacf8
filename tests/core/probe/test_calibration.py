"""Calibration against scikit-learn's and against the definitions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from prefixbank.core.probe.calibration import Isotonic, Temperature, fit_calibration
from prefixbank.core.probe.solution import ABSENT_CLASS_LOGIT


class Logits(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose logits are its inputs; of two classes the difference."""

    def __init__(self, classes: int = 2) -> None:
        self.classes = classes
        self.classes_ = np.arange(classes)

    def fit(self, logits: np.ndarray, labels: np.ndarray) -> Logits:
        return self

    def predict(self, logits: np.ndarray) -> np.ndarray:
        return logits.argmax(axis=1)

    def decision_function(self, logits: np.ndarray) -> np.ndarray:
        return logits[:, 1] - logits[:, 0] if self.classes == 2 else logits


def problem(classes: int, rows: int = 300, sharper: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `sharper` times too large, and classes."""
    generator = np.random.default_rng(classes)
    logits = generator.normal(size=(rows, classes))
    odds = scipy.special.softmax(logits, axis=1)
    return sharper * logits, np.array([generator.choice(classes, p=row) for row in odds])


def of_sklearn(method: str, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    model = CalibratedClassifierCV(FrozenEstimator(Logits(logits.shape[1])), method=method)
    return model.fit(logits, labels).predict_proba(logits)


@pytest.mark.parametrize("classes", [2, 4])
def test_temperature_gives_the_probabilities_of_sklearn(classes):
    logits, labels = problem(classes)
    found = fit_calibration("temperature", "classification", logits, labels)
    assert isinstance(found, Temperature) and 2 < found.temperature[0] < 4.5
    np.testing.assert_allclose(
        found.probabilities("classification", logits),
        of_sklearn("temperature", logits, labels),
        atol=1e-4,
    )


def test_no_other_temperature_has_a_lower_log_loss():
    logits, labels = problem(3)
    found = fit_calibration("temperature", "classification", logits, labels)

    def loss(temperature: float) -> float:
        return log_loss(labels, scipy.special.softmax(logits / temperature, axis=1))

    best = loss(found.temperature[0])
    assert all(best <= loss(found.temperature[0] * factor) for factor in (0.5, 0.99, 1.01, 2))


def test_labels_have_a_temperature_each():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(400, 2)) * [4.0, 0.25]
    labels = (generator.random((400, 2)) < scipy.special.expit(logits / [4.0, 0.25])).astype(int)
    found = fit_calibration("temperature", "multilabel", logits, labels)
    for column in range(2):
        two = np.column_stack([np.zeros(400), logits[:, column]])
        alone = fit_calibration("temperature", "classification", two, labels[:, column])
        assert found.temperature[column] == pytest.approx(alone.temperature[0])
    assert found.temperature[0] > 2 > 0.5 > found.temperature[1]


def test_temperature_has_bounds():
    labels = np.arange(40) % 2
    right, wrong = (
        fit_calibration("temperature", "classification", np.eye(2)[one], labels)
        for one in (labels, 1 - labels)
    )
    assert wrong.temperature[0] == pytest.approx(100)
    assert 0.0099 < right.temperature[0] < 0.03  # the loss is 0 before the end of the range


def test_isotonic_gives_the_probabilities_of_sklearn_on_two_classes():
    logits, labels = problem(2)
    found = fit_calibration("isotonic", "classification", logits, labels)
    assert isinstance(found, Isotonic) and len(found.knots) == 1
    np.testing.assert_allclose(
        found.probabilities("classification", logits),
        of_sklearn("isotonic", logits, labels),
        atol=1e-9,
    )


def looped(logits: np.ndarray, labels: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Isotonic regression of each class, divided by the sum."""
    odds, of_new = (scipy.special.softmax(one, axis=1) for one in (logits, new))
    columns = [
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        .fit(odds[:, one], labels == one)
        .predict(of_new[:, one])
        for one in range(odds.shape[1])
    ]
    mapped = np.column_stack(columns)
    total = mapped.sum(axis=1)
    return np.array(
        [
            row / row.sum() if sum_of_row > 0 else np.full(len(row), 1 / len(row))
            for row, sum_of_row in zip(mapped, total, strict=True)
        ]
    )


def test_isotonic_of_more_classes_maps_each_and_divides_by_the_sum():
    logits, labels = problem(4)
    new = np.random.default_rng(9).normal(size=(50, 4)) * 6
    found = fit_calibration("isotonic", "classification", logits, labels)
    odds = found.probabilities("classification", new)
    np.testing.assert_allclose(odds, looped(logits, labels, new), atol=1e-9)
    np.testing.assert_allclose(odds.sum(axis=1), 1)


def test_isotonic_of_labels_maps_each_alone():
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(300, 3)) * 3
    labels = (generator.random((300, 3)) < scipy.special.expit(logits / 3)).astype(np.uint8)
    found = fit_calibration("isotonic", "multilabel", logits, labels)
    odds = scipy.special.expit(logits)
    expected = [
        IsotonicRegression(y_min=0, y_max=1).fit_transform(odds[:, one], labels[:, one])
        for one in range(3)
    ]
    np.testing.assert_allclose(
        found.probabilities("multilabel", logits), np.transpose(expected), atol=1e-9
    )


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
@pytest.mark.parametrize("flag", [0, 1])
def test_label_that_tells_nothing_keeps_its_probabilities(method, flag):
    logits = np.random.default_rng(2).normal(size=(60, 2))
    labels = np.column_stack([np.full(60, flag), (logits[:, 1] > 0.3).astype(int)])
    found = fit_calibration(method, "multilabel", logits, labels)
    np.testing.assert_allclose(
        found.probabilities("multilabel", logits)[:, 0], scipy.special.expit(logits[:, 0])
    )


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_class_without_train_rows_stays_impossible(method):
    logits, labels = problem(3)
    logits[:, 2] = ABSENT_CLASS_LOGIT
    found = fit_calibration(method, "classification", logits, labels)
    odds = found.probabilities("classification", logits)
    assert np.isfinite(odds).all()
    np.testing.assert_allclose(odds.sum(axis=1), 1)
    seen = labels < 2
    alone = fit_calibration("temperature", "classification", logits[seen, :2], labels[seen])
    if method == "temperature":
        assert (odds[:, 2] == 0).all()
        assert found.temperature[0] == pytest.approx(alone.temperature[0])


def test_no_calibration_is_none():
    assert fit_calibration("none", "classification", *problem(2)) is None
