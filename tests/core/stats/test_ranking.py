"""Average precision and ROC AUC against scikit-learn and against counting pairs."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from prefixbank.choices import RankingMetric
from prefixbank.core.stats.bootstrap import bootstrap_interval
from prefixbank.core.stats.metrics import RANKING, score, weighted_score
from prefixbank.errors import DataError

REFERENCE = {"average_precision": sk.average_precision_score, "roc_auc": sk.roc_auc_score}
both = pytest.mark.parametrize("metric", REFERENCE)


def odds_of(rows: int, classes: int, seed: int) -> np.ndarray:
    """Probabilities with many ties, [N, C]."""
    odds = np.random.default_rng(seed).integers(1, 6, (rows, classes)).astype(float)
    return odds / odds.sum(axis=1, keepdims=True)


def test_ranking_metrics_are_those_of_the_choices():
    assert get_args(RankingMetric) == RANKING == tuple(REFERENCE)


@both
@pytest.mark.parametrize("seed", range(3))
def test_two_classes_have_the_score_of_the_second(metric, seed):
    labels, odds = np.random.default_rng(seed).integers(0, 2, 80), odds_of(80, 2, seed + 10)
    assert score(metric, odds, labels, 2) == pytest.approx(REFERENCE[metric](labels, odds[:, 1]))


@both
def test_more_classes_have_the_macro_score_of_each_against_the_rest(metric):
    labels, odds = np.random.default_rng(1).integers(0, 4, 90), odds_of(90, 4, 2)
    expected = (
        sk.roc_auc_score(labels, odds, multi_class="ovr", average="macro")
        if metric == "roc_auc"
        else sk.average_precision_score(np.eye(4)[labels], odds, average="macro")
    )
    assert score(metric, odds, labels, 4) == pytest.approx(expected)


@both
def test_labels_have_their_macro_score(metric):
    labels = (np.random.default_rng(3).random((70, 3)) < [0.1, 0.5, 0.8]).astype(np.uint8)
    odds = odds_of(70, 3, 4)
    expected = REFERENCE[metric](labels, odds, average="macro")
    assert score(metric, odds, labels, 3) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=12))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_area_is_the_share_of_pairs_in_the_right_order(rows):
    ranks = np.array([rank for rank, _ in rows], dtype=float)
    labels = np.array([int(positive) for _, positive in rows])
    pairs = [
        (high > low) + (high == low) / 2
        for high in ranks[labels == 1]
        for low in ranks[labels == 0]
    ]
    expected = np.mean(pairs) if pairs else 0.5
    assert score("roc_auc", np.column_stack([-ranks, ranks]), labels, 2) == pytest.approx(expected)


@both
@pytest.mark.parametrize("classes", [2, 3])
def test_weighted_score_equals_score_of_repeated_rows(metric, classes):
    generator = np.random.default_rng(5)
    labels, odds = generator.integers(0, classes, 40), odds_of(40, classes, 6)
    times = generator.integers(0, 4, (5, 40))
    found = weighted_score(metric, times.astype(float), odds, labels, classes)
    columns = [1] if classes == 2 else range(classes)
    expected = [
        np.mean(
            [
                REFERENCE[metric](np.repeat(labels == one, row), np.repeat(odds[:, one], row))
                for one in columns
            ]
        )
        for row in times
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@both
def test_class_without_rows_is_left_out(metric):
    labels, odds = np.random.default_rng(7).integers(0, 2, 60), odds_of(60, 3, 8)
    each = [REFERENCE[metric](labels == one, odds[:, one]) for one in (0, 1)]
    assert score(metric, odds, labels, 3) == pytest.approx(np.mean(each))


@pytest.mark.parametrize(("metric", "expected"), [("average_precision", 0.0), ("roc_auc", 0.5)])
def test_score_without_a_positive_row_says_nothing(metric, expected):
    assert score(metric, odds_of(5, 2, 0), np.zeros(5, dtype=int), 2) == expected


@both
def test_interval_encloses_the_score(metric):
    labels, odds = np.random.default_rng(9).integers(0, 2, 80), odds_of(80, 2, 10)
    low, high = bootstrap_interval(metric, odds, labels, 2, bootstrap_samples=200, seed=0)
    assert low < score(metric, odds, labels, 2) < high


@pytest.mark.parametrize("odds", [np.ones((4, 3)), np.ones(4), np.full((4, 2), np.nan)])
def test_probabilities_of_another_shape_are_refused(odds):
    with pytest.raises(DataError, match="for 2 classes"):
        score("roc_auc", odds, np.array([0, 1, 0, 1]), 2)


def test_probabilities_of_other_rows_are_refused():
    with pytest.raises(DataError, match="3 predictions for 4 labels"):
        score("roc_auc", odds_of(3, 2, 0), np.array([0, 1, 0, 1]), 2)
