"""Holm's correction of the p-values of a family of tests. numpy only.

It keeps the probability of one or more false positives below the level.
"""

from __future__ import annotations

import numpy as np


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return corrected p-values; comparing one with a level is the step-down test at that level.

    The i-th smallest of m (from 0) is multiplied by m - i. None is smaller than the one before it,
    and none is above 1. Nothing is assumed about how the tests depend on each other.

    Args:
        p_values: float [m]; m may be 0.

    Returns:
        float64 [m], in the order of `p_values`.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=np.float64)[order] * (count - np.arange(count))
    corrected = np.empty(count)
    corrected[order] = np.maximum.accumulate(steps).clip(max=1.0)
    return corrected
