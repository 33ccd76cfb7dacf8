"""Choosing sources, against enumeration of all sets of sources and plain sorting."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefixbank.core.shapes import ShapeError
from prefixbank.core.stats.retrieval import (
    Candidates,
    Choice,
    best_of_k,
    candidates_of_seeds,
    chances_of_k_random,
    oracle_by_test,
    oracle_by_validation,
    share_of_oracle_gain,
)
from prefixbank.errors import DataError, UsageError

VALIDATION = np.array([0.5, 0.9, 0.7, 0.6])
TEST = np.array([0.4, 0.3, 0.8, 0.9])
SIMILARITIES = np.array([0.9, -0.2, 0.3, 0.8])
FOUR = Candidates(validation=VALIDATION, test=TEST)

tied_scores = st.sampled_from([0.1, 0.2, 0.3, 0.4])  # few values, so that ties are common
tables = st.integers(1, 6).flatmap(
    lambda count: st.lists(
        st.tuples(tied_scores, tied_scores, tied_scores), min_size=count, max_size=count
    )
)


def split(table: list[tuple[float, float, float]]) -> tuple[np.ndarray, Candidates]:
    similarities, validation, test = (np.array(column) for column in zip(*table, strict=True))
    return similarities, Candidates(validation=validation, test=test)


def validation_best(candidates: Candidates, members: tuple[int, ...]) -> int:
    """Member with the best validation score, the first of equal ones."""
    return max(sorted(members), key=lambda source: (candidates.validation[source], -source))


@pytest.mark.parametrize(("k", "source"), [(1, 0), (2, 3), (3, 2), (4, 1)])
def test_best_of_k_reports_the_test_score_of_the_validation_best_among_the_most_similar(
    k: int, source: int
):
    assert best_of_k(SIMILARITIES, FOUR, k) == Choice(
        source=source, validation=VALIDATION[source], test=TEST[source]
    )


@settings(deadline=None)
@given(tables, st.data())
def test_best_of_k_equals_sorting_the_sources(
    table: list[tuple[float, float, float]], data: st.DataObject
):
    similarities, candidates = split(table)
    k = data.draw(st.integers(1, len(table)))
    nearest = tuple(
        sorted(range(len(table)), key=lambda source: (-similarities[source], source))[:k]
    )
    assert best_of_k(similarities, candidates, k).source == validation_best(candidates, nearest)


@settings(deadline=None)
@given(tables, st.permutations(range(6)))
def test_test_scores_choose_nothing(table: list[tuple[float, float, float]], order: list[int]):
    similarities, candidates = split(table)
    other = Candidates(
        validation=candidates.validation, test=np.array(order[: len(table)], dtype=np.float64)
    )
    for k in range(1, len(table) + 1):
        assert (
            best_of_k(similarities, candidates, k).source
            == best_of_k(similarities, other, k).source
        )


@settings(deadline=None)
@given(tables)
def test_best_of_all_is_the_oracle_by_validation(table: list[tuple[float, float, float]]):
    similarities, candidates = split(table)
    assert best_of_k(similarities, candidates, len(table)) == oracle_by_validation(candidates)


@settings(deadline=None)
@given(tables, st.data())
def test_chances_of_k_random_equal_the_share_of_all_sets(
    table: list[tuple[float, float, float]], data: st.DataObject
):
    _, candidates = split(table)
    k = data.draw(st.integers(1, len(table)))
    chosen = [
        validation_best(candidates, members)
        for members in itertools.combinations(range(len(table)), k)
    ]
    shares = np.bincount(chosen, minlength=len(table)) / len(chosen)
    np.testing.assert_allclose(chances_of_k_random(candidates, k), shares, atol=1e-12)


def test_one_at_random_is_any_source_and_the_best_of_all_the_oracle_by_validation():
    np.testing.assert_allclose(chances_of_k_random(FOUR, 1), np.full(4, 1 / 4))
    best = oracle_by_validation(FOUR).source
    np.testing.assert_array_equal(chances_of_k_random(FOUR, 4), np.arange(4) == best)


def test_oracles_choose_by_what_their_names_say():
    assert oracle_by_validation(FOUR) == Choice(source=1, validation=0.9, test=0.3)
    assert oracle_by_test(FOUR) == Choice(source=3, validation=0.6, test=0.9)


def test_seeds_that_choose_and_seeds_that_score_are_averaged_apart():
    generator = np.random.default_rng(0)
    validation, test = generator.random((5, 4)), generator.random((5, 4))
    found = candidates_of_seeds(validation, test, choosing=[0, 2], scoring=[3])
    np.testing.assert_allclose(found.validation, [(row[0] + row[2]) / 2 for row in validation])
    np.testing.assert_array_equal(found.test, test[:, 3])


def test_held_out_seeds_do_not_report_the_luck_of_the_runs_that_chose():
    # 200 targets, 8 sources of equal worth, 2 seeds; scores on validation and on test rows share
    # the luck of a run.
    luck = np.random.default_rng(0).normal(size=(200, 8, 2))
    same = [
        oracle_by_validation(candidates_of_seeds(each, each, choosing=[0], scoring=[0])).test
        for each in luck
    ]
    held_out = [
        oracle_by_validation(candidates_of_seeds(each, each, choosing=[0], scoring=[1])).test
        for each in luck
    ]
    assert np.mean(same) > 1 and abs(np.mean(held_out)) < 0.2


@pytest.mark.parametrize("seeds", [[], [2], [-1], [0, 0]], ids=str)
def test_seeds_that_are_not_there_or_named_twice_are_refused(seeds: list[int]):
    scores = np.ones((3, 2))
    for choosing, scoring in ((seeds, [0]), ([0], seeds)):
        with pytest.raises(UsageError) as caught:
            candidates_of_seeds(scores, scores, choosing=choosing, scoring=scoring)
        assert str(seeds) in caught.value.what and "2" in caught.value.expected and caught.value.fix


def test_share_of_oracle_gain_is_that_of_the_definition():
    assert share_of_oracle_gain(0.75, 0.7, 0.8) == pytest.approx(0.5)
    assert share_of_oracle_gain(0.65, 0.7, 0.8) == pytest.approx(-0.5)


def test_share_of_oracle_gain_over_targets_sums_gains_first():
    chosen, cold, oracle = np.array([0.8, 0.69]), np.array([0.6, 0.7]), np.array([0.9, 0.71])
    assert share_of_oracle_gain(chosen, cold, oracle) == pytest.approx((0.2 - 0.01) / (0.3 + 0.01))


def test_one_score_stands_for_all_targets():
    assert share_of_oracle_gain(0.8, 0.7, np.array([0.9, 0.9])) == pytest.approx(0.5)


@pytest.mark.parametrize("oracle", [0.7, 0.6])
def test_share_of_no_gain_is_nan(oracle: float):
    assert math.isnan(share_of_oracle_gain(0.7, 0.7, oracle))


@pytest.mark.parametrize("k", [0, -1, 5])
def test_k_out_of_range_is_refused(k: int):
    for choose in (lambda: best_of_k(SIMILARITIES, FOUR, k), lambda: chances_of_k_random(FOUR, k)):
        with pytest.raises(UsageError, match=f"best of {k} out of 4") as caught:
            choose()
        assert "1 to 4" in caught.value.expected and caught.value.fix == f"k={4 if k == 5 else 1}"


def test_no_candidates_are_refused():
    with pytest.raises(UsageError, match="no source to choose from"):
        Candidates(validation=np.array([]), test=np.array([]))
    with pytest.raises(UsageError, match="no source to choose from"):
        candidates_of_seeds(np.ones((0, 2)), np.ones((0, 2)), choosing=[0], scoring=[1])


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"\[3\].*\[4\]"):
        Candidates(validation=VALIDATION[:3], test=TEST)
    with pytest.raises(ShapeError, match=r"\[2, 3\].*\[2, 4\]"):
        candidates_of_seeds(np.ones((2, 3)), np.ones((2, 4)), choosing=[0], scoring=[0])
    with pytest.raises(ShapeError, match=r"\[3\] for 4 sources"):
        best_of_k(SIMILARITIES[:3], FOUR, 1)


def test_scores_and_similarities_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="score is not finite"):
        Candidates(validation=np.array([0.5, math.nan]), test=np.ones(2))
    with pytest.raises(DataError, match="similarity is not finite"):
        best_of_k(np.array([0.5, math.nan, 0.1, 0.2]), FOUR, 1)
