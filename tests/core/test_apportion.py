"""Whole numbers in proportion: bounds, sums and the method's definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prefixbank.core.apportion import largest_remainders

sizes = st.lists(st.integers(1, 50), min_size=1, max_size=12)


@given(sizes, st.integers(0, 300))
def test_unbounded_counts_are_rounded_quotas_and_the_largest_fractions_are_rounded_up(
    weights: list[int], total: int
):
    quotas = total * np.array(weights) / sum(weights)
    counts = largest_remainders(quotas, total)
    assert counts.sum() == total
    up = counts - np.floor(quotas)
    assert set(up) <= {0, 1}
    fractions = quotas - np.floor(quotas)
    assert not up.any() or up.all() or fractions[up == 1].min() >= fractions[up == 0].max()


def test_first_of_equal_fractions_is_rounded_up():
    assert largest_remainders(np.array([0.5, 1.5, 2.0]), 4).tolist() == [1, 1, 2]


@given(sizes, st.data())
def test_bounded_counts_keep_their_bounds(most: list[int], data: st.DataObject):
    total = data.draw(st.integers(0, sum(most)))
    quotas = total * np.array(most) / sum(most)
    counts = largest_remainders(quotas, total, least=1, most=np.array(most))
    assert counts.sum() == total and (counts <= most).all()
    assert (counts >= (1 if total >= len(most) else 0)).all()


def test_smallest_quotas_go_without_where_there_are_fewer_than_one_each():
    quotas = 2 * np.array([1, 5, 3]) / 9
    counts = largest_remainders(quotas, 2, least=1, most=np.array([1, 5, 3]))
    assert counts.tolist() == [0, 1, 1]
