"""What transfer gains and whether similarity foretells it, against scipy and resampling pair by
pair.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from prefixbank.choices import CorrelationKind
from prefixbank.core.shapes import ShapeError
from prefixbank.core.stats.transfer import (
    correlation,
    correlation_over_tasks,
    relative_error_reduction,
)
from prefixbank.errors import DataError, UsageError

SOURCES = ("mnli", "qqp", "squad", "cola", "sst2")
TARGETS = ("rte", "mrpc", "cola", "copa")
REFERENCES = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}
both_kinds = pytest.mark.parametrize("kind", ["pearson", "spearman"])


def pairs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two values of all pairs, related, with ties."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(len(SOURCES), len(TARGETS))).round(1)
    return x, (x + generator.normal(size=x.shape)).round(1)


def drawn_pairs(draw: list[str]) -> list[tuple[int, int]]:
    """Row and column of each pair of drawn tasks, copies of a task counted apart, no task with
    itself.
    """
    return [
        (SOURCES.index(source), TARGETS.index(target))
        for source in draw
        for target in draw
        if source in SOURCES and target in TARGETS and source != target
    ]


def test_error_reduction_is_the_share_of_the_error_taken_away():
    assert relative_error_reduction(0.9, 0.8) == pytest.approx(0.5)
    assert relative_error_reduction(0.7, 0.8) == pytest.approx(-0.5)


def test_error_reduction_to_the_ceiling_is_one():
    assert relative_error_reduction(1.0, 0.2) == 1


def test_error_reduction_of_sources_and_targets_pairs_each_target_with_its_cold_start():
    transfer, cold = np.array([[0.9, 0.7], [0.8, 0.4]]), np.array([0.8, 0.6])
    np.testing.assert_allclose(relative_error_reduction(transfer, cold), [[0.5, 0.25], [0.0, -0.5]])


def test_error_reduction_is_nan_where_the_cold_start_is_at_the_ceiling_or_a_score_is_missing():
    found = relative_error_reduction(
        np.array([1.0, 0.5, math.nan, 0.9]), np.array([1.0, 1.0, 0.5, 0.8])
    )
    np.testing.assert_allclose(found, [math.nan, math.nan, math.nan, 0.5])


def test_error_reduction_of_missing_scores_alone_is_nan():
    assert math.isnan(relative_error_reduction(math.nan, math.nan))


@pytest.mark.parametrize(("transfer", "cold"), [(84.0, 0.8), (0.8, 84.0)])
def test_score_above_the_ceiling_is_refused(transfer: float, cold: float):
    with pytest.raises(DataError, match="84 is above 1") as caught:
        relative_error_reduction(transfer, cold)
    assert "at most 1" in caught.value.expected and "percent" in caught.value.fix


@both_kinds
@pytest.mark.parametrize("seed", range(5))
def test_correlation_equals_scipy(kind: CorrelationKind, seed: int):
    x, y = (values.ravel() for values in pairs(seed))
    assert correlation(kind, x, y) == pytest.approx(REFERENCES[kind](x, y).statistic, abs=1e-12)


@both_kinds
def test_correlation_with_a_constant_is_nan(kind: CorrelationKind):
    assert math.isnan(correlation(kind, np.full(4, 0.1), np.arange(4.0)))
    assert math.isnan(correlation(kind, np.array([1.0]), np.array([2.0])))
    assert math.isnan(correlation(kind, np.array([]), np.array([])))


@both_kinds
def test_correlation_over_tasks_equals_scipy_without_pairs_of_a_task_with_itself(
    kind: CorrelationKind,
):
    x, y = pairs(0)
    apart = np.array([[source != target for target in TARGETS] for source in SOURCES])
    found = correlation_over_tasks(kind, x, y, SOURCES, TARGETS, bootstrap_samples=50, seed=0)
    assert found.value == pytest.approx(REFERENCES[kind](x[apart], y[apart]).statistic, abs=1e-12)
    assert found.pairs == len(SOURCES) * len(TARGETS) - 1


@both_kinds
def test_interval_equals_that_of_drawing_tasks_and_listing_their_pairs(kind: CorrelationKind):
    x, y = pairs(2)
    tasks = sorted({*SOURCES, *TARGETS})
    generator = np.random.default_rng(5)
    expected = []
    for _ in range(3000):
        rows = drawn_pairs(list(generator.choice(tasks, len(tasks))))
        drawn_x, drawn_y = np.array([x[row] for row in rows]), np.array([y[row] for row in rows])
        if len(set(drawn_x)) > 1 and len(set(drawn_y)) > 1:
            expected.append(REFERENCES[kind](drawn_x, drawn_y).statistic)
    found = correlation_over_tasks(
        kind, x, y, SOURCES, TARGETS, bootstrap_samples=6000, seed=0, confidence=0.8
    )
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(expected, [0.1, 0.9])), abs=0.03
    )
    assert found.bootstrap_samples / 6000 == pytest.approx(len(expected) / 3000, abs=0.02)


@both_kinds
def test_one_resample_counts_a_pair_by_the_draws_of_both_tasks(
    kind: CorrelationKind, monkeypatch: pytest.MonkeyPatch
):
    draw = ["mnli", "mnli", "qqp", "cola", "cola", "rte", "rte", "rte"]
    tasks = list(dict.fromkeys((*SOURCES, *TARGETS)))
    counts = np.array([[draw.count(task) for task in tasks]], dtype=np.float64)
    monkeypatch.setattr("prefixbank.core.stats.transfer.draw_weights", lambda *_: iter([counts]))
    x, y = pairs(2)
    rows = drawn_pairs(draw)
    expected = REFERENCES[kind]([x[row] for row in rows], [y[row] for row in rows]).statistic
    found = correlation_over_tasks(kind, x, y, SOURCES, TARGETS, bootstrap_samples=1, seed=0)
    assert (found.low, found.high) == pytest.approx((expected, expected), abs=1e-12)


def test_pair_without_a_value_is_left_out():
    x, y = pairs(3)
    x[0, 0], y[1, 1] = math.nan, math.nan
    found = correlation_over_tasks("pearson", x, y, SOURCES, TARGETS, bootstrap_samples=200, seed=0)
    kept = ~(np.isnan(x) | np.isnan(y)) & np.array(
        [[source != target for target in TARGETS] for source in SOURCES]
    )
    assert found.pairs == kept.sum() and found.value == pytest.approx(
        scipy.stats.pearsonr(x[kept], y[kept]).statistic
    )
    assert found.low <= found.value <= found.high


@both_kinds
def test_correlation_without_pairs_is_nan(kind: CorrelationKind):
    found = correlation_over_tasks(
        kind, np.ones((1, 1)), np.ones((1, 1)), ["rte"], ["rte"], bootstrap_samples=20, seed=0
    )
    assert math.isnan(found.value) and math.isnan(found.low) and math.isnan(found.high)
    assert (found.pairs, found.bootstrap_samples) == (0, 0)


@both_kinds
def test_exact_relation_has_an_interval_of_one_point(kind: CorrelationKind):
    x, _ = pairs(4)
    found = correlation_over_tasks(
        kind, x, 2 * x + 1, SOURCES, TARGETS, bootstrap_samples=300, seed=0
    )
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))


def test_interval_is_a_function_of_the_seed():
    x, y = pairs(5)
    first, again, other = (
        correlation_over_tasks("pearson", x, y, SOURCES, TARGETS, bootstrap_samples=100, seed=seed)
        for seed in (0, 0, 1)
    )
    assert first == again and first != other


def test_values_of_other_shapes_are_refused():
    with pytest.raises(ShapeError, match="5 sources and 4 targets"):
        correlation_over_tasks(
            "pearson",
            np.ones((4, 5)),
            np.ones((5, 4)),
            SOURCES,
            TARGETS,
            bootstrap_samples=10,
            seed=0,
        )


def test_task_named_twice_is_refused():
    with pytest.raises(UsageError, match="source tasks") as caught:
        correlation_over_tasks(
            "pearson",
            np.ones((2, 1)),
            np.ones((2, 1)),
            ["rte", "rte"],
            ["cola"],
            bootstrap_samples=10,
            seed=0,
        )
    assert "seeds" in caught.value.fix


def test_no_resample_is_refused():
    with pytest.raises(UsageError, match="0 bootstrap resamples"):
        correlation_over_tasks("pearson", *pairs(0), SOURCES, TARGETS, bootstrap_samples=0, seed=0)


def test_infinite_value_is_refused():
    x, y = pairs(0)
    x[0, 0] = math.inf
    with pytest.raises(DataError, match="infinite"):
        correlation_over_tasks("pearson", x, y, SOURCES, TARGETS, bootstrap_samples=10, seed=0)
