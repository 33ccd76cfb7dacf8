from __future__ import annotations

import warnings
from typing import get_args

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier

from prefixbank.config import schema
from prefixbank.core.stats import metrics
from prefixbank.core.stats.metrics import (
    METRICS_OF,
    RANKING,
    all_metrics,
    check_values,
    constant_score,
    score,
    weighted_score,
)
from prefixbank.errors import DataError, UsageError

CLASS_METRICS = tuple(name for name in METRICS_OF["classification"] if name not in RANKING)
CLASSES = 4
few = settings(max_examples=40, deadline=None, derandomize=True, database=None)
class_rows = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=25
)
small_numbers = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=25)


def reference(metric: str, predictions: np.ndarray, labels: np.ndarray) -> float:
    """scikit-learn's value for one-dimensional classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match metric:
            case "accuracy":
                return sk.accuracy_score(labels, predictions)
            case "macro_f1":
                return sk.f1_score(labels, predictions, average="macro", zero_division=0)
            case "micro_f1":
                return sk.f1_score(labels, predictions, average="micro", zero_division=0)
            case "f1":
                return sk.f1_score(
                    labels, predictions, labels=[1], average="macro", zero_division=0
                )
            case "matthews":
                return sk.matthews_corrcoef(labels, predictions)
            case "macro_recall":
                return sk.recall_score(labels, predictions, average="macro", zero_division=0)
    raise AssertionError(metric)


def random_labels(rows: int, columns: int, seed: int) -> np.ndarray:
    return (
        np.random.default_rng(seed).random((rows, columns)) < np.linspace(0.0, 0.7, columns)
    ).astype(np.uint8)


@pytest.mark.parametrize("metric", CLASS_METRICS)
@few
@given(rows=class_rows)
def test_class_metric_equals_sklearn(metric, rows):
    predictions, labels = np.array(rows).T
    assert score(metric, predictions, labels, CLASSES) == pytest.approx(
        reference(metric, predictions, labels), abs=1e-12
    )


@pytest.mark.parametrize("metric", CLASS_METRICS)
def test_class_metric_equals_sklearn_when_there_are_two_classes(metric):
    labels = np.random.default_rng(0).integers(0, 2, 200)
    predictions = np.where(np.random.default_rng(1).random(200) < 0.7, labels, 1 - labels)
    assert score(metric, predictions, labels, 2) == pytest.approx(
        reference(metric, predictions, labels), abs=1e-12
    )


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("accuracy", lambda p, y: sk.accuracy_score(y, p)),
        ("macro_f1", lambda p, y: sk.f1_score(y, p, average="macro", zero_division=0)),
        ("f1", lambda p, y: sk.f1_score(y, p, average="micro", zero_division=0)),
        ("micro_f1", lambda p, y: sk.f1_score(y, p, average="micro", zero_division=0)),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_multilabel_metric_equals_sklearn(metric, reference, seed):
    labels, predictions = random_labels(60, 5, seed), random_labels(60, 5, seed + 100)
    predictions[:20] = labels[:20]
    assert score(metric, predictions, labels, 5) == pytest.approx(
        reference(predictions, labels), abs=1e-12
    )


@few
@given(rows=small_numbers)
def test_pearson_equals_scipy(rows):
    predictions, labels = np.array(rows, dtype=float).T
    expected = (
        0.0
        if np.ptp(predictions) == 0 or np.ptp(labels) == 0
        else scipy.stats.pearsonr(predictions, labels).statistic
    )
    assert score("pearson", predictions, labels, 1) == pytest.approx(expected, abs=1e-12)


@few
@given(rows=small_numbers)
def test_spearman_equals_scipy_when_values_are_tied(rows):
    predictions, labels = np.array(rows, dtype=float).T
    expected = (
        0.0
        if np.ptp(predictions) == 0 or np.ptp(labels) == 0
        else scipy.stats.spearmanr(predictions, labels).statistic
    )
    assert score("spearman", predictions, labels, 1) == pytest.approx(expected, abs=1e-12)


@few
@given(rows=small_numbers)
def test_r2_equals_sklearn(rows):
    predictions, labels = np.array(rows, dtype=float).T
    assert score("r2", predictions, labels, 1) == pytest.approx(
        sk.r2_score(labels, predictions), abs=1e-12
    )


@pytest.mark.parametrize("labels", [np.arange(3.0), np.full(3, 0.1)], ids=["varying", "constant"])
@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_correlation_is_zero_when_predictions_are_constant_up_to_rounding_of_the_mean(
    metric, labels
):
    predictions = np.full(3, 0.1)
    assert predictions.mean() != 0.1, "the case is only hard when the mean is rounded"
    assert score(metric, predictions, labels, 1) == 0.0


@pytest.mark.parametrize(("prediction", "expected"), [(0.1, 1.0), (0.2, 0.0)])
def test_r2_of_constant_labels_tells_exact_from_inexact(prediction, expected):
    assert score("r2", np.full(10, prediction), np.full(10, 0.1), 1) == expected


def test_pearson_ignores_a_large_common_offset():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=50), generator.normal(size=50)
    assert score("pearson", x + 1e6, y, 1) == pytest.approx(
        scipy.stats.pearsonr(x, y).statistic, abs=1e-8
    )


def test_macro_f1_leaves_out_classes_that_occur_nowhere():
    labels = np.array([0, 0, 2, 2])
    assert score("macro_f1", labels, labels, 5) == 1.0


def test_macro_f1_counts_a_multilabel_column_without_positives_as_zero():
    labels = np.array([[1, 0], [1, 0]], dtype=np.uint8)
    assert score("macro_f1", labels, labels, 2) == 0.5


@pytest.mark.parametrize("metric", CLASS_METRICS)
def test_weighted_class_score_equals_score_of_repeated_rows(metric):
    generator = np.random.default_rng(3)
    labels, predictions, times = (
        generator.integers(0, 3, 30),
        generator.integers(0, 3, 30),
        generator.integers(0, 4, (5, 30)),
    )
    expected = [
        reference(metric, np.repeat(predictions, row), np.repeat(labels, row)) for row in times
    ]
    np.testing.assert_allclose(
        weighted_score(metric, times.astype(float), predictions, labels, 3), expected, atol=1e-12
    )


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("pearson", lambda p, y: scipy.stats.pearsonr(p, y).statistic),
        ("spearman", lambda p, y: scipy.stats.spearmanr(p, y).statistic),
        ("r2", lambda p, y: sk.r2_score(y, p)),
    ],
)
def test_weighted_regression_score_equals_score_of_repeated_rows(metric, reference):
    generator = np.random.default_rng(4)
    labels, predictions, times = (
        generator.normal(size=30).round(),
        generator.normal(size=30),
        generator.integers(0, 4, (5, 30)),
    )
    expected = [reference(np.repeat(predictions, row), np.repeat(labels, row)) for row in times]
    np.testing.assert_allclose(
        weighted_score(metric, times.astype(float), predictions, labels, 1), expected, atol=1e-12
    )


@pytest.mark.parametrize("name", ["Metric", "Kind"])
def test_names_equal_those_of_the_configuration(name):
    assert get_args(getattr(metrics, name)) == get_args(getattr(schema, name))


@pytest.mark.parametrize(("num_classes", "extra"), [(2, {"f1"}), (3, set())])
def test_all_metrics_gives_f1_of_class_one_only_when_there_are_two_classes(num_classes, extra):
    labels = np.array([0, 1, 1, 0])
    odds = np.eye(num_classes)[labels]
    of_labels = {"accuracy", "macro_f1", "micro_f1", "matthews", "macro_recall"}
    of_odds = {"average_precision", "roc_auc", "log_loss", "brier", "ece"}
    found = all_metrics("classification", labels, odds, labels, num_classes)
    assert found.keys() == of_labels | of_odds | extra


def test_all_metrics_of_regression_equal_the_single_scores():
    predictions, labels = np.array([1.0, 2.0, 4.0, 3.0]), np.array([1.0, 3.0, 4.0, 2.0])
    assert all_metrics("regression", predictions, None, labels, 1) == {
        name: score(name, predictions, labels, 1) for name in ("pearson", "spearman", "r2")
    }


@pytest.mark.parametrize("metric", ["matthews", "macro_recall", "pearson", "spearman", "r2"])
def test_metric_is_refused_when_labels_are_multilabel(metric):
    labels = random_labels(5, 3, 0)
    with pytest.raises(UsageError, match=f"'{metric}' is not defined for multilabel"):
        score(metric, labels, labels, 3)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("classification", np.array([0, 3])),
        ("classification", np.array([-1, 0])),
        ("classification", np.array([0.0, 1.0])),
        ("classification", np.array([], dtype=np.int64)),
        ("multilabel", np.array([[0, 1]])),
        ("multilabel", np.array([[0, 1, 2]])),
        ("multilabel", np.zeros((0, 3), dtype=np.uint8)),
        ("regression", np.array([0.0, np.nan])),
        ("regression", np.array([])),
    ],
)
def test_values_that_do_not_fit_the_kind_are_refused(kind, values):
    with pytest.raises(DataError, match="do not fit"):
        check_values(kind, values, 3, name="labels")


def test_score_is_refused_when_predictions_are_missing():
    with pytest.raises(DataError, match="2 predictions for 3 labels"):
        score("accuracy", np.array([0, 1]), np.array([0, 1, 1]), 2)


def test_f1_is_refused_when_there_is_no_class_one():
    with pytest.raises(UsageError, match="one class"):
        score("f1", np.array([0, 0]), np.array([0, 0]), 1)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "macro_recall", "matthews"])
def test_constant_score_of_classes_is_that_of_a_dummy_classifier(metric):
    train, labels = np.array([2, 0, 2, 1, 2]), np.array([0, 2, 2, 1])
    dummy = DummyClassifier(strategy="most_frequent").fit(train[:, None], train)
    predictions = dummy.predict(labels[:, None])
    assert constant_score(metric, train, labels, 3) == pytest.approx(
        reference(metric, predictions, labels)
    )


@pytest.mark.parametrize("metric", RANKING)
@pytest.mark.parametrize("classes", [2, 3])
def test_constant_score_of_a_ranking_is_that_of_one_probability_for_all_rows(metric, classes):
    train, labels = np.arange(12) % classes, np.arange(9) % classes
    of_class = {"roc_auc": 0.5, "average_precision": 1 / classes}
    if metric == "average_precision" and classes == 2:
        of_class[metric] = labels.mean()  # of the second class alone
    assert constant_score(metric, train, labels, classes) == pytest.approx(of_class[metric])


def test_constant_score_of_a_ranking_of_labels():
    labels = np.array([[1, 0], [0, 1], [0, 1], [0, 0]], dtype=np.uint8)
    assert constant_score("roc_auc", labels, labels, 2) == pytest.approx(0.5)
    assert constant_score("average_precision", labels, labels, 2) == pytest.approx(0.375)


@pytest.mark.parametrize("metric", ["r2", "pearson", "spearman"])
def test_constant_score_of_numbers_is_that_of_their_mean(metric):
    train, labels = np.array([1.0, 2.0, 6.0]), np.array([0.0, 4.0])
    wanted = sk.r2_score(labels, np.full(2, 3.0)) if metric == "r2" else 0.0
    assert constant_score(metric, train, labels, 1) == pytest.approx(wanted)


def test_constant_score_of_labels_takes_each_that_most_rows_have():
    train = np.array([[1, 0, 1], [1, 0, 0], [1, 1, 0]], dtype=np.uint8)
    labels = np.array([[1, 0, 0], [0, 0, 0]], dtype=np.uint8)
    assert constant_score("accuracy", train, labels, 3) == 0.5
