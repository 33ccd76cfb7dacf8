"""A sweep over layers: which part of a vector belongs to which layer, and which layer is chosen."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from prefixbank.core.probe.fit import fit_probe
from prefixbank.core.probe.layers import LayerBlocks, best_index, fit_layers
from prefixbank.core.shapes import ShapeError
from tests.core.problems import classification

ROWS, SIZE = 80, 12
BLOCKS = LayerBlocks(layers=(4, 5, 6), size=SIZE)
FIT = partial(
    fit_probe,
    kind="classification",
    metric="accuracy",
    num_outputs=3,
    Cs=(0.1, 1.0),
    folds=3,
    seed=0,
)


def layered(useful: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of three layers of which one tells the classes apart."""
    vectors, labels = classification(ROWS)
    noise = np.random.default_rng(9).normal(size=(3, ROWS, SIZE))
    noise[useful] = vectors
    return np.hstack(list(noise)), labels


@pytest.mark.parametrize("outer", [1, 2, 6])
def test_every_layer_gets_its_block_of_each_repetition(outer):
    """Blocks as they are laid: for each pass or pair feature, for each layer, E numbers.

    Each number here says where it stands.
    """
    whole = [
        100 * repetition + 10 * layer + feature
        for repetition in range(outer)
        for layer in (4, 5, 6)
        for feature in range(2)
    ]
    found = LayerBlocks(layers=(4, 5, 6), size=2).split(np.array([whole, whole]))
    for layer, block in zip((4, 5, 6), found, strict=True):
        expected = [
            100 * repetition + 10 * layer + feature
            for repetition in range(outer)
            for feature in range(2)
        ]
        assert block.tolist() == [expected, expected]


def test_vectors_of_another_size_are_refused():
    with pytest.raises(ShapeError, match="vectors of size 35"):
        BLOCKS.split(np.zeros((2, 35)))


@pytest.mark.parametrize("useful", [0, 1, 2])
def test_layer_with_the_best_cross_validation_score_is_chosen(useful):
    probe = fit_layers(*layered(useful), BLOCKS, FIT)
    assert (probe.index, probe.layer) == (useful, (4, 5, 6)[useful])
    assert probe.chosen.cv_score == max(model.cv_score for model in probe.models)


def test_probe_of_a_layer_is_that_of_its_block_alone():
    vectors, labels = layered(1)
    probe = fit_layers(vectors, labels, BLOCKS, FIT)
    for place, model in enumerate(probe.models):
        alone = FIT(vectors[:, place * SIZE : (place + 1) * SIZE], labels)
        assert (model.weights.tobytes(), model.cv_scores) == (
            alone.weights.tobytes(),
            alone.cv_scores,
        )


def test_predictions_are_those_of_the_chosen_layer():
    vectors, labels = layered(1)
    probe = fit_layers(vectors, labels, BLOCKS, FIT)
    np.testing.assert_array_equal(
        probe.predict(vectors), probe.models[1].predict(vectors[:, SIZE : 2 * SIZE])
    )


def test_other_layers_change_no_prediction():
    vectors, labels = layered(1)
    probe = fit_layers(vectors, labels, BLOCKS, FIT)
    other = vectors.copy()
    other[:, :SIZE], other[:, 2 * SIZE :] = 7, -7
    np.testing.assert_array_equal(probe.predict(other), probe.predict(vectors))


def test_last_layer_is_chosen_when_scores_tie():
    vectors, labels = classification(ROWS)
    assert best_index([FIT(vectors, labels)] * 3) == 2


def test_last_layer_is_chosen_when_nothing_can_be_cross_validated():
    vectors, _ = classification(3)
    models = [FIT(vectors, np.arange(3))] * 2
    assert (models[0].cv_score, best_index(models)) == (None, 1)
