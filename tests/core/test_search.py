"""Nearest neighbours against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from prefixbank.core.search import Neighbours, nearest, nearest_bits, rescored

RNG = np.random.default_rng(0)
ROWS, QUERIES = (
    RNG.normal(size=(30, 16)).astype(np.float32),
    RNG.normal(size=(4, 16)).astype(np.float32),
)
BITS, BIT_QUERIES = (
    RNG.integers(0, 256, (30, 3), dtype=np.uint8),
    RNG.integers(0, 256, (4, 3), dtype=np.uint8),
)


def pieces(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[:7], rows[7:8], rows[8:]]


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(
        sum(a * b for a, b in zip(first, second, strict=True))
        / (sum(first**2) ** 0.5 * sum(second**2) ** 0.5)
    )


@pytest.mark.parametrize("k", [1, 5, 30])
def test_nearest_are_those_of_the_greatest_cosine(k: int):
    found = nearest(QUERIES, pieces(ROWS), k)
    for query, rows, scores in zip(QUERIES, found.rows, found.scores, strict=True):
        cosines = sorted(
            ((cosine(query, row), number) for number, row in enumerate(ROWS)), reverse=True
        )[:k]
        assert rows.tolist() == [number for _, number in cosines]
        np.testing.assert_allclose(scores, [value for value, _ in cosines], atol=1e-5)


def test_fewer_rows_than_asked_for_leave_places_empty():
    found = nearest(QUERIES, pieces(ROWS), 32)
    assert (found.rows[:, 30:] == -1).all() and np.isneginf(found.scores[:, 30:]).all()
    assert all(sorted(rows) == list(range(30)) for rows in found.rows[:, :30].tolist())


def test_vector_of_zeros_is_near_nothing():
    assert nearest(QUERIES, [np.zeros((1, 16), np.float32)], 1).scores.tolist() == [[0.0]] * 4


def test_nearest_bits_are_those_of_the_fewest_differences():
    found = nearest_bits(BIT_QUERIES, pieces(BITS), 30)
    for query, rows, scores in zip(
        BIT_QUERIES.tolist(), found.rows.tolist(), found.scores.tolist(), strict=True
    ):
        differing = [
            sum((a ^ b).bit_count() for a, b in zip(query, bits, strict=True))
            for bits in BITS.tolist()
        ]
        assert scores == sorted(-number for number in differing)[::-1] and [
            differing[row] for row in rows
        ] == [-score for score in scores]


def test_rescored_candidates_are_in_order_of_cosine():
    candidates = Neighbours(
        rows=np.array([[3, 12, 29, -1], [0, 1, 2, 7]]), scores=np.zeros((2, 4), np.float32)
    )
    found = rescored(QUERIES[:2], pieces(ROWS), candidates, 3)
    for query, rows, scores, allowed in zip(
        QUERIES[:2], found.rows, found.scores, ([3, 12, 29], [0, 1, 2, 7]), strict=True
    ):
        expected = sorted(((cosine(query, ROWS[row]), row) for row in allowed), reverse=True)[:3]
        assert rows.tolist() == [row for _, row in expected]
        np.testing.assert_allclose(scores, [value for value, _ in expected], atol=1e-5)
