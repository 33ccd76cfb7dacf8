"""Scores of probes, resampled over rows and seeds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from prefixbank.core.stats.bootstrap import draw_seeds
from prefixbank.errors import DataError
from prefixbank.reports.samples import Sampled, mean_over_targets, sample_target, shared_seeds
from tests.reports.studies import answers, labels_of, put_probe


def sampled(*seeds: int, seedless: bool = False, bootstrap_samples: int = 6) -> Sampled:
    generator = np.random.default_rng(seeds)
    return Sampled(
        scores={seed: float(generator.random()) for seed in seeds},
        samples={seed: generator.random(bootstrap_samples) for seed in seeds},
        seedless=seedless,
    )


def test_value_is_the_mean_over_the_seeds_asked_for():
    one = sampled(0, 1, 2)
    assert one.value((0, 2)) == pytest.approx((one.scores[0] + one.scores[2]) / 2)


def test_draws_weigh_each_seed_by_how_often_it_was_drawn():
    one = sampled(0, 1, 2)
    shares = draw_seeds((0, 1, 2), 6)
    expected = [
        sum(shares[r, place] * one.samples[seed][r] for place, seed in enumerate((0, 1, 2)))
        for r in range(6)
    ]
    np.testing.assert_allclose(one.drawn((0, 1, 2)), expected)


def test_seedless_scores_stand_for_every_seed():
    plain = sampled(5, seedless=True)
    assert plain.value((0, 1)) == pytest.approx(plain.scores[5])
    np.testing.assert_allclose(plain.drawn((0, 1)), plain.samples[5])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (sampled(2, 0, 1), sampled(1, 2, 3), (1, 2)),
        (sampled(0), sampled(1), ()),
        (sampled(0, 1), sampled(7, seedless=True), (0, 1)),
        (sampled(7, seedless=True), sampled(0, 1), (0, 1)),
    ],
)
def test_representations_share_the_seeds_that_both_have(one, other, expected):
    assert shared_seeds(one, other) == expected


def test_mean_over_targets_is_taken_seed_by_seed():
    one, other = (
        sampled(0, 1),
        Sampled(scores={0: 1.0, 1: 0.0}, samples={0: np.zeros(6), 1: np.ones(6)}),
    )
    mean = mean_over_targets([one, other])
    assert mean.scores == {
        0: pytest.approx((one.scores[0] + 1) / 2),
        1: pytest.approx(one.scores[1] / 2),
    }
    np.testing.assert_allclose(mean.samples[1], (one.samples[1] + 1) / 2)


def test_probes_of_a_target_share_their_rows(put):
    labels = labels_of("mood")
    right, wrong = put_probe(put, labels, labels), put_probe(put, labels, 1 - labels)
    half = put_probe(put, labels, answers("mood", "bank", 0, 0.5))
    other = put_probe(put, labels, 1 - answers("mood", "bank", 0, 0.5))
    _, found = sample_target("mood", [right, wrong, half, other], 50, 0)
    np.testing.assert_array_equal(found[right.digest][1], np.ones(50))
    np.testing.assert_array_equal(found[wrong.digest][1], np.zeros(50))
    np.testing.assert_allclose(found[half.digest][1] + found[other.digest][1], np.ones(50))


def test_targets_draw_their_rows_apart(put):
    entry = put_probe(put, labels_of("mood"), answers("mood", "bank", 0, 0.5))
    first, second = (
        sample_target("mood", [entry], 50, number)[1][entry.digest][1] for number in (0, 1)
    )
    assert not np.array_equal(first, second)


def test_draws_of_a_few_shot_probe_are_averaged(put):
    labels, (one, other) = (
        labels_of("mood"),
        (answers("mood", "bank", seed, 0.7) for seed in (0, 1)),
    )
    both, single = (
        put_probe(put, labels, one, other),
        [put_probe(put, labels, draw) for draw in (one, other)],
    )
    facts, found = sample_target("mood", [both, *single], 20, 0)
    assert facts.draws == 2
    assert found[both.digest][0] == pytest.approx(
        np.mean([(draw == labels).mean() for draw in (one, other)])
    )
    np.testing.assert_allclose(
        found[both.digest][1], np.mean([found[entry.digest][1] for entry in single], axis=0)
    )


def test_regression_is_scored_by_its_metric(put):
    generator = np.random.default_rng(0)
    labels = generator.normal(size=60)
    predictions = labels + generator.normal(size=60)
    entry = put_probe(put, labels, predictions, metric="pearson")
    facts, found = sample_target("mood", [entry], 10, 0)
    assert facts.metric == "pearson" and found[entry.digest][0] == pytest.approx(
        np.corrcoef(labels, predictions)[0, 1]
    )


def test_order_is_scored_by_probabilities(put):
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 60)
    odds = generator.random(60)
    entry = put_probe(
        put,
        labels,
        (odds > 0.9).astype(int),
        metric="roc_auc",
        probabilities=np.column_stack([1 - odds, odds]),
    )
    _, found = sample_target("mood", [entry], 40, 0)
    value, samples = found[entry.digest]
    assert value == pytest.approx(roc_auc_score(labels, odds))
    assert samples.min() < value < samples.max()


def test_probes_scored_on_other_rows_are_refused(put):
    labels = labels_of("mood")
    one, other = put_probe(put, labels, labels), put_probe(put, 1 - labels, labels)
    with pytest.raises(
        DataError, match="predictions for 'mood' were scored on different test rows"
    ):
        sample_target("mood", [one, other], 10, 0)
