"""Thresholds against trying all of them."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from prefixbank.core.probe.thresholds import NEVER, choose_threshold, choose_thresholds

few = settings(max_examples=30, deadline=None, derandomize=True, database=None)
scored_rows = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=14)


def arrays_of(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([rank / 6 for rank, _ in rows]), np.array([int(flag) for _, flag in rows])


@few
@given(scored_rows)
def test_no_threshold_has_a_larger_f1(rows):
    odds, truth = arrays_of(rows)
    found = choose_threshold("f1", odds, truth, 0.9)

    def f1(threshold: float) -> float:
        return sk.f1_score(truth, odds >= threshold, zero_division=0)

    if not truth.any():
        assert found == 0.5
        return
    best = max(f1(one) for one in odds)
    assert f1(found) == pytest.approx(best)
    assert found == max(one for one in odds if f1(one) >= best - 1e-12)


@few
@given(scored_rows, st.sampled_from([0.3, 0.5, 0.75, 1.0]))
def test_threshold_is_the_lowest_with_the_wanted_precision(rows, wanted):
    odds, truth = arrays_of(rows)
    enough = [one for one in odds if truth[odds >= one].mean() >= wanted]
    assert choose_threshold("precision", odds, truth, wanted) == min(enough, default=NEVER)


@pytest.mark.parametrize("rule", ["f1", "precision"])
def test_second_of_two_classes_has_the_threshold(rule):
    odds = np.random.default_rng(0).random(50)
    labels = (odds + np.random.default_rng(1).normal(size=50) / 3 > 0.6).astype(int)
    two = np.column_stack([1 - odds, odds])
    found = choose_thresholds(rule, "classification", two, labels, 0.8)
    assert found.tolist() == [choose_threshold(rule, odds, labels, 0.8)]


def test_labels_have_a_threshold_each():
    generator = np.random.default_rng(2)
    odds, labels = generator.random((40, 3)), generator.integers(0, 2, (40, 3))
    found = choose_thresholds("f1", "multilabel", odds, labels, 0.9)
    assert found.tolist() == [
        choose_threshold("f1", odds[:, one], labels[:, one], 0.9) for one in range(3)
    ]


def test_default_chooses_none():
    assert choose_thresholds("default", "multilabel", np.ones((2, 1)), np.ones((2, 1)), 0.9) is None
