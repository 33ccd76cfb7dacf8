from __future__ import annotations

import numpy as np
import pytest

from prefixbank.core.stats.holm import holm


def step_down(p_values: list[float], level: float) -> list[bool]:
    """Which hypotheses Holm's procedure rejects.

    From the smallest p-value on, until one is above level / (tests left).
    """
    rejected = [False] * len(p_values)
    left = len(p_values)
    for place in sorted(range(len(p_values)), key=lambda place: p_values[place]):
        if p_values[place] > level / left:
            break
        rejected[place] = True
        left -= 1
    return rejected


@pytest.mark.parametrize("seed", range(5))
def test_corrected_p_values_reject_what_the_step_down_procedure_rejects(seed):
    generator = np.random.default_rng(seed)
    p_values = generator.random(12) ** 3
    for level in generator.random(40):
        assert (holm(p_values) <= level).tolist() == step_down(p_values.tolist(), level)


def test_corrected_p_values_are_those_of_r():
    # p.adjust(..., "holm")
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def test_equal_p_values_stay_equal():
    np.testing.assert_allclose(holm(np.array([0.02, 0.5, 0.02])), [0.06, 0.5, 0.06])


def test_corrected_p_value_is_at_most_one():
    np.testing.assert_array_equal(holm(np.array([0.6, 0.7, 1.0])), [1.0, 1.0, 1.0])


def test_single_test_needs_no_correction():
    np.testing.assert_array_equal(holm(np.array([0.03])), [0.03])


def test_family_may_be_empty():
    assert holm(np.array([])).shape == (0,)
