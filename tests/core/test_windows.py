"""Vectors of texts that are read in several windows."""

from __future__ import annotations

import numpy as np
import pytest

from prefixbank.core.windows import WindowedVectors

FIRST = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
FURTHER = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
OF_TEXT = np.array([0, 0, 2, 2, 2])


@pytest.mark.parametrize(("pooling", "combine"), [("mean", np.mean), ("max", np.max)])
def test_vector_is_the_mean_or_maximum_of_all_windows_however_they_come(pooling, combine):
    expected = [
        combine([FIRST[text], *FURTHER[text == OF_TEXT]], axis=0) for text in range(len(FIRST))
    ]
    windowed = WindowedVectors(FIRST, pooling)
    for some in (slice(0, 1), slice(1, 4), slice(4, 5)):
        windowed.add(OF_TEXT[some], FURTHER[some])
    np.testing.assert_allclose(windowed.vectors(), expected, rtol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_text_of_one_window_keeps_its_bytes(pooling):
    windowed = WindowedVectors(FIRST, pooling)
    windowed.add(OF_TEXT, FURTHER)
    assert windowed.vectors()[1].tobytes() == FIRST[1].tobytes()
