from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk

from prefixbank.choices import Metric
from prefixbank.core.stats import bootstrap
from prefixbank.core.stats.bootstrap import (
    bootstrap_interval,
    draw_seeds,
    percentile_interval,
    resampled_scores,
    two_sided_p,
)
from prefixbank.errors import UsageError

ROWS = 300


def classes(right: float, seed: int, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels of three classes.

    About a share `right` agrees by design, the rest at random.
    """
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, rows)
    return np.where(generator.random(rows) < right, labels, generator.integers(0, 3, rows)), labels


def numbers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.normal(size=ROWS).round(1)
    return labels + generator.normal(size=ROWS), labels


def several(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = (generator.random((ROWS, 4)) < 0.4).astype(np.uint8)
    return np.where(generator.random((ROWS, 4)) < 0.8, labels, 1 - labels).astype(np.uint8), labels


CASES = [
    ("accuracy", classes(0.6, 0), 3, lambda p, y: sk.accuracy_score(y, p)),
    ("macro_f1", classes(0.6, 1), 3, lambda p, y: sk.f1_score(y, p, average="macro")),
    ("matthews", classes(0.6, 2), 3, lambda p, y: sk.matthews_corrcoef(y, p)),
    ("accuracy", several(3), 4, lambda p, y: sk.accuracy_score(y, p)),
    ("f1", several(4), 4, lambda p, y: sk.f1_score(y, p, average="micro")),
    ("pearson", numbers(5), 1, lambda p, y: np.corrcoef(p, y)[0, 1]),
    ("spearman", numbers(6), 1, lambda p, y: scipy.stats.spearmanr(p, y).statistic),
    ("r2", numbers(7), 1, lambda p, y: sk.r2_score(y, p)),
]
CASE_NAMES = [f"{case[0]}-{case[1][0].ndim}d" for case in CASES]


@pytest.mark.parametrize(("metric", "rows", "num_classes", "reference"), CASES, ids=CASE_NAMES)
def test_interval_equals_that_of_drawing_rows_one_by_one(metric, rows, num_classes, reference):
    predictions, labels = rows
    generator = np.random.default_rng(11)
    draws = [generator.integers(0, ROWS, ROWS) for _ in range(600)]
    scores = [reference(predictions[draw], labels[draw]) for draw in draws]
    low, high = bootstrap_interval(
        metric, predictions, labels, num_classes, bootstrap_samples=4000, seed=0
    )
    # The quantile of 600 draws has a standard error of about sqrt(.025 * .975 / 600) / (density
    # .058 per sd) = 0.11 sd.
    np.testing.assert_allclose(
        [low, high], np.quantile(scores, [0.025, 0.975]), atol=0.4 * np.std(scores)
    )


def test_accuracy_interval_has_the_quantiles_of_the_binomial():
    predictions, labels = classes(0.6, 8)
    right = int((predictions == labels).sum())
    low, high = bootstrap_interval(
        "accuracy", predictions, labels, 3, bootstrap_samples=20000, seed=0
    )
    expected = scipy.stats.binom(ROWS, right / ROWS).ppf([0.025, 0.975])
    np.testing.assert_allclose(np.array([low, high]) * ROWS, expected, atol=1.001)


@pytest.mark.parametrize("counts", [np.array([5, 1, 14]), np.ones(20, dtype=np.int64)])
def test_every_draw_has_as_many_rows_as_there_are(counts):
    weights = np.concatenate(list(bootstrap.draw_weights(counts, 50, 0)))
    np.testing.assert_array_equal(weights.sum(axis=1), np.full(50, 20.0))


@pytest.mark.parametrize(("metric", "rows", "num_classes", "reference"), CASES, ids=CASE_NAMES)
def test_interval_does_not_depend_on_how_much_is_held_in_memory(
    metric, rows, num_classes, reference, monkeypatch
):
    at_once = bootstrap_interval(metric, *rows, num_classes, bootstrap_samples=40, seed=0)
    monkeypatch.setattr(bootstrap, "CELLS_AT_ONCE", 7)
    np.testing.assert_allclose(
        bootstrap_interval(metric, *rows, num_classes, bootstrap_samples=40, seed=0),
        at_once,
        atol=1e-12,
    )


def test_interval_is_a_function_of_the_seed():
    predictions, labels = numbers(9)
    intervals = [
        bootstrap_interval("pearson", predictions, labels, 1, bootstrap_samples=200, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert intervals[0] == intervals[1] != intervals[2]


def test_interval_is_one_point_when_predictions_are_perfect():
    labels = np.array([0, 1, 2, 2])
    assert bootstrap_interval("accuracy", labels, labels, 3, bootstrap_samples=50, seed=0) == (
        1.0,
        1.0,
    )


def test_interval_of_less_confidence_lies_inside():
    predictions, labels = classes(0.6, 10)
    wide = bootstrap_interval(
        "macro_f1", predictions, labels, 3, bootstrap_samples=500, seed=0, confidence=0.95
    )
    narrow = bootstrap_interval(
        "macro_f1", predictions, labels, 3, bootstrap_samples=500, seed=0, confidence=0.5
    )
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_correlation_interval_is_finite_when_a_resample_can_be_constant():
    low, high = bootstrap_interval(
        "pearson", np.array([0.1, 0.2]), np.array([1.0, 2.0]), 1, bootstrap_samples=200, seed=0
    )
    assert (low, high) == pytest.approx((0.0, 1.0))


def test_bootstrap_is_refused_when_there_are_no_resamples():
    with pytest.raises(UsageError, match="0 bootstrap resamples"):
        bootstrap_interval(
            "accuracy", np.array([0, 1]), np.array([0, 1]), 2, bootstrap_samples=0, seed=0
        )


def paired_samples(
    metric: Metric,
    a: np.ndarray,
    b: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    bootstrap_samples: int,
) -> np.ndarray:
    """Differences of the scores of a and b, each resample drawing the rows of both."""
    scores = resampled_scores(metric, (a, b), labels, num_classes, bootstrap_samples, 0)
    return np.asarray(scores[0] - scores[1])


def test_paired_differences_are_null_when_predictions_are_equal():
    predictions, labels = classes(0.6, 12)
    samples = paired_samples("accuracy", predictions, predictions.copy(), labels, 3, 100)
    assert not samples.any() and two_sided_p(samples) == 1


def test_paired_differences_change_sign_when_sides_are_swapped():
    (a, labels), b = numbers(15), numbers(16)[0]
    one, other = (paired_samples("spearman", *pair, labels, 1, 200) for pair in ((a, b), (b, a)))
    np.testing.assert_allclose(-other, one)


def test_paired_p_value_is_the_smallest_possible_when_one_side_always_wins():
    labels = np.arange(200) % 3
    samples = paired_samples("accuracy", labels, np.zeros(200, dtype=np.int64), labels, 3, 99)
    assert two_sided_p(samples) == pytest.approx(2 / 100)


def test_paired_interval_has_the_width_of_differences_of_joint_rows():
    labels = np.zeros(1000, dtype=np.int64)
    a, b = labels.copy(), labels.copy()
    # 40 rows only a has right, 20 only b, 300 neither.
    a[:300], b[:300], b[300:340], a[340:360] = 1, 1, 1, 1
    interval = percentile_interval(paired_samples("accuracy", a, b, labels, 2, 20000))
    gain = np.concatenate([np.ones(40), -np.ones(20), np.zeros(940)])
    expected = scipy.stats.norm(gain.mean(), gain.std() / np.sqrt(1000)).ppf([0.025, 0.975])
    np.testing.assert_allclose(interval, expected, atol=0.0015)


def test_paired_p_value_is_near_that_of_the_sign_test():
    labels = np.zeros(1000, dtype=np.int64)
    a, b = labels.copy(), labels.copy()
    b[:40], a[40:60] = 1, 1
    samples = paired_samples("accuracy", a, b, labels, 2, 20000)
    assert two_sided_p(samples) == pytest.approx(scipy.stats.binomtest(40, 60).pvalue, abs=0.006)


def test_rows_stay_apart_when_there_are_many_models():
    labels = np.repeat([0, 1], [50, 150])
    zeros = np.zeros(200, dtype=np.int64)
    scores = resampled_scores("accuracy", (zeros,) * 70, labels, 2, 2000, 0)
    np.testing.assert_allclose(scores.mean(axis=1), np.full(70, 0.25), atol=0.005)


def test_models_share_their_draws():
    predictions, labels = classes(0.6, 17)
    first, second = resampled_scores(
        "matthews", (predictions, predictions.copy()), labels, 3, 50, 0
    )
    np.testing.assert_array_equal(first, second)


def test_percentile_interval_leaves_the_same_share_on_both_sides():
    samples = np.random.default_rng(0).normal(size=999)
    low, high = percentile_interval(samples, 0.9)
    assert (samples < low).mean() == pytest.approx(0.05, abs=0.002) and (
        samples > high
    ).mean() == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0, 2.0, 3.0], 2 / 4),
        ([-1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 4 / 8),
        ([-1.0, -2.0, 3.0], 1.0),
        ([0.0, 0.0], 1.0),
    ],
)
def test_two_sided_p_counts_the_smaller_side(differences, expected):
    assert two_sided_p(np.array(differences)) == pytest.approx(expected)


def test_two_sided_p_does_not_know_which_side_is_which():
    differences = np.random.default_rng(0).normal(0.5, 1, 300)
    assert two_sided_p(differences) == two_sided_p(-differences) > 0.3


def test_seeds_are_drawn_with_replacement():
    shares = draw_seeds((3, 8), 20000)
    found = [(shares[:, 0] == share).mean() for share in (0.0, 0.5, 1.0)]
    # Both, either, none of two draws.
    np.testing.assert_allclose(found, [0.25, 0.5, 0.25], atol=0.015)


def test_every_draw_of_seeds_has_as_many_as_there_are():
    shares = draw_seeds((0, 1, 2), 100)
    np.testing.assert_allclose(shares.sum(axis=1), np.ones(100))
    np.testing.assert_allclose(shares * 3, (shares * 3).round(), atol=1e-12)


def test_seed_that_is_alone_is_always_drawn():
    np.testing.assert_array_equal(draw_seeds((7,), 5), np.ones((5, 1)))


def test_draw_of_seeds_is_a_function_of_the_seeds():
    same, other = draw_seeds((0, 1, 2), 50), draw_seeds((0, 1, 3), 50)
    np.testing.assert_array_equal(same, draw_seeds((0, 1, 2), 50))
    assert not np.array_equal(same, other)
