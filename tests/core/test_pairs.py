"""Features of two vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefixbank.core.pairs import pair_features, side_by_side
from prefixbank.core.shapes import ShapeError


def test_features_are_both_vectors_their_difference_and_their_product():
    found = pair_features(np.array([[1.0, -2.0]]), np.array([[3.0, -5.0]]))
    assert found.tolist() == [[1.0, -2.0, 3.0, -5.0, 2.0, 3.0, 3.0, 10.0]]


def test_order_of_the_texts_changes_only_whose_vector_comes_first():
    u, v = np.random.default_rng(0).normal(size=(2, 4, 3))
    forth, back = pair_features(u, v), pair_features(v, u)
    assert np.array_equal(forth[:, 6:], back[:, 6:])
    assert np.array_equal(forth[:, :6], np.hstack([back[:, 3:6], back[:, :3]]))


def test_single_precision_stays():
    assert (
        pair_features(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)).dtype == np.float32
    )


def test_uneven_vectors_are_refused():
    with pytest.raises(ShapeError, match=r"\[2, 3\], second of \[2, 4\]"):
        pair_features(np.ones((2, 3)), np.ones((2, 4)))


def test_head_gets_what_a_probe_reads():
    u, v = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    found = side_by_side(torch.cat([u, v]))
    assert np.array_equal(found.numpy(), pair_features(u.numpy(), v.numpy()))
