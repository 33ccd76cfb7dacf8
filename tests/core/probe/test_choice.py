"""What of a vector a probe reads: which candidates there are, and which is chosen."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from prefixbank.core.layout import Layout, layout_of, layout_of_block, side_by_side
from prefixbank.core.pooling import Pooling
from prefixbank.core.probe.choice import Candidate, best_index, candidates_in, fit_best
from prefixbank.core.probe.fit import fit_probe
from prefixbank.errors import DataError
from tests.core.problems import classification

ROWS, SIZE = 80, 12
CONCAT = Pooling(position="mean", layers="concat_last", last_k=3, layer=0)
LAYERS = layout_of(CONCAT, pairs="joint", layers=6, hidden_size=SIZE)
WHOLE = layout_of(
    Pooling(position=("mean", "cls"), layers=(2, 6), last_k=1, layer=0),
    pairs="both",
    layers=6,
    hidden_size=SIZE,
)
"""Two readings, the separate one with four segments for each of two layers x two positions."""

FIT = partial(
    fit_probe,
    kind="classification",
    metric="accuracy",
    num_outputs=3,
    Cs=(0.1, 1.0),
    folds=3,
    seed=0,
)
EACH_LAYER = candidates_in(LAYERS, choose_reading=False, layers="best", positions="joined")


def vectors_with(layout: Layout, *useful: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors in which only these segments tell the classes apart, and the classes."""
    vectors, labels = classification(ROWS)
    noise = np.random.default_rng(9).normal(size=(len(layout.segments), ROWS, SIZE))
    noise[list(useful)] = vectors
    return np.hstack(list(noise)), labels


def axes(candidates: tuple[Candidate, ...]) -> list[tuple]:
    return [(one.readings, one.layers, one.positions) for one in candidates]


def test_without_a_choice_everything_is_read():
    (only,) = candidates_in(WHOLE, choose_reading=False, layers="joined", positions="joined")
    assert only.segments(WHOLE) == WHOLE.segments


def test_readings_are_compared_alone_and_together():
    found = candidates_in(WHOLE, choose_reading=True, layers="joined", positions="joined")
    assert [one.readings for one in found] == [("joint",), ("separate",), ("joint", "separate")]
    places = [[WHOLE.segments.index(part) for part in one.segments(WHOLE)] for one in found]
    assert places == [list(range(4)), list(range(4, 20)), list(range(20))]


def test_single_reading_leaves_no_choice():
    assert candidates_in(LAYERS, choose_reading=True, layers="joined", positions="joined") == (
        Candidate(readings=("joint",), layers=(4, 5, 6), positions=("mean",)),
    )


def test_last_layer_is_the_one_with_the_highest_number():
    mixed = layout_of(
        Pooling(position="mean", layers=(6, 2), last_k=1, layer=0),
        pairs="joint",
        layers=6,
        hidden_size=SIZE,
    )
    (only,) = candidates_in(mixed, choose_reading=False, layers="last", positions="joined")
    assert only.layers == (6,)


def test_candidates_are_all_combinations_the_preferred_first():
    found = candidates_in(WHOLE, choose_reading=True, layers="best", positions="best")
    readings = (("joint",), ("separate",), ("joint", "separate"))
    assert axes(found) == [
        (reading, (layer,), (position,))
        for reading in readings
        for layer in (6, 2)
        for position in ("mean", "cls")
    ]


def test_separate_reading_of_a_layer_has_both_vectors_difference_and_product():
    candidate = Candidate(readings=("separate",), layers=(6,), positions=("cls",))
    assert [one.start // SIZE for one in candidate.segments(WHOLE)] == [7, 11, 15, 19]


@pytest.mark.parametrize("useful", [0, 1, 2])
def test_layer_with_the_best_cross_validation_score_is_chosen(useful):
    probe = fit_best(*vectors_with(LAYERS, useful), LAYERS, EACH_LAYER, FIT)
    assert probe.chosen.layers == ((4, 5, 6)[useful],)
    assert probe.model.cv_score == max(model.cv_score for model in probe.models)


@pytest.mark.parametrize(
    ("useful", "chosen"),
    [
        ((2,), (("joint",), (6,), ("mean",))),
        ((5,), (("separate",), (2,), ("cls",))),
        ((10,), (("separate",), (6,), ("mean",))),
    ],
)
def test_reading_layer_and_position_are_chosen_together(useful, chosen):
    candidates = candidates_in(WHOLE, choose_reading=True, layers="best", positions="best")
    probe = fit_best(*vectors_with(WHOLE, *useful), WHOLE, candidates, FIT)
    found = probe.chosen
    assert (found.layers, found.positions) == chosen[1:] and chosen[0][0] in found.readings


def test_probe_of_a_candidate_is_that_of_its_segments_alone():
    vectors, labels = vectors_with(LAYERS, 1)
    probe = fit_best(vectors, labels, LAYERS, EACH_LAYER, FIT)
    for place, model in zip((2, 1, 0), probe.models, strict=True):
        alone = FIT(vectors[:, place * SIZE : (place + 1) * SIZE], labels)
        assert model.cv_scores == alone.cv_scores
        np.testing.assert_allclose(model.weights, alone.weights, atol=1e-9)


def test_predictions_are_those_of_the_chosen_candidate():
    vectors, labels = vectors_with(LAYERS, 1)
    probe = fit_best(vectors, labels, LAYERS, EACH_LAYER, FIT)
    np.testing.assert_array_equal(
        probe.decision(vectors), probe.model.decision(vectors[:, SIZE : 2 * SIZE])
    )


def test_other_segments_change_no_prediction():
    vectors, labels = vectors_with(LAYERS, 1)
    probe = fit_best(vectors, labels, LAYERS, EACH_LAYER, FIT)
    other = vectors.copy()
    other[:, :SIZE], other[:, 2 * SIZE :] = 7, -7
    np.testing.assert_array_equal(probe.decision(other), probe.decision(vectors))


def test_vectors_of_another_size_are_not_predicted():
    probe = fit_best(*vectors_with(LAYERS, 1), LAYERS, EACH_LAYER, FIT)
    with pytest.raises(DataError, match="vectors of size 35"):
        probe.decision(np.zeros((2, 35)))


def test_first_candidate_is_chosen_when_scores_tie():
    vectors, labels = classification(ROWS)
    assert best_index([FIT(vectors, labels)] * 3) == 0


def test_first_candidate_is_chosen_when_nothing_can_be_cross_validated():
    vectors, _ = classification(3)
    models = [FIT(vectors, np.arange(3))] * 2
    assert (models[0].cv_score, best_index(models)) == (None, 0)


def test_blocks_are_read_whatever_layer_and_position_are_chosen():
    layout = side_by_side([WHOLE, layout_of_block(6, "both")])
    found = candidates_in(layout, choose_reading=True, layers="best", positions="best")
    assert len(found) == 3 * 2 * 2
    for one in found:
        blocks = [part.reading for part in one.segments(layout) if part.readouts]
        joint, separate = ("joint" in one.readings), ("separate" in one.readings)
        assert blocks == ["joint"] * joint + ["separate"] * 4 * separate


@pytest.mark.parametrize("layers", ["joined", "last", "best"])
def test_nothing_but_blocks_leaves_readings_to_choose(layers):
    layout = layout_of_block(6, "both")
    found = candidates_in(layout, choose_reading=True, layers=layers, positions="best")
    assert [len(one.segments(layout)) for one in found] == [1, 4, 5]
