"""Features of two vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefixbank.core.pairs import pair_features, side_by_side
from prefixbank.core.shapes import ShapeError


def test_features_are_difference_and_product():
    found = pair_features(np.array([[1.0, -2.0, 0.5]]), np.array([[3.0, -5.0, 0.5]]))
    assert found.tolist() == [[2.0, 3.0, 0.0, 3.0, 10.0, 0.25]]


def test_order_of_the_texts_changes_nothing():
    u, v = np.random.default_rng(0).normal(size=(2, 4, 3))
    assert np.array_equal(pair_features(u, v), pair_features(v, u))


def test_single_precision_stays():
    assert (
        pair_features(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)).dtype == np.float32
    )


def test_uneven_vectors_are_refused():
    with pytest.raises(ShapeError, match=r"\[2, 3\], second of \[2, 4\]"):
        pair_features(np.ones((2, 3)), np.ones((2, 4)))


def test_head_gets_both_vectors_their_difference_and_their_product():
    found = side_by_side(torch.tensor([[1.0, -2.0], [0.5, 4.0], [3.0, -5.0], [0.5, 1.0]]))
    assert found.tolist() == [
        [1.0, -2.0, 3.0, -5.0, 2.0, 3.0, 3.0, 10.0],
        [0.5, 4.0, 0.5, 1.0, 0.0, 3.0, 0.25, 4.0],
    ]
