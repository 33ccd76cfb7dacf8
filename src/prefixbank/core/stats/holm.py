"""Holm's correction for p-values of a family of tests.

With it the chance of even one false alarm stays below the level. Needs only numpy.
"""

from __future__ import annotations

import numpy as np


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values corrected for being a family.

    Comparing one with the level is the step-down test at that level.

    The i-th smallest of m (from 0) is multiplied by m - i; none is smaller than one before it, none
    above 1. No assumption on how the tests depend on each other.

    Args:
        p_values: float [m]; m may be 0.

    Returns:
        float64 [m], in the order given.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=np.float64)[order] * (count - np.arange(count))
    corrected = np.empty(count)
    corrected[order] = np.maximum.accumulate(steps).clip(max=1.0)
    return corrected
