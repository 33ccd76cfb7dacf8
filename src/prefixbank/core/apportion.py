"""Whole numbers in proportion to shares. numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def largest_remainders(
    quotas: NDArray[np.float64],
    total: int,
    *,
    least: int = 0,
    most: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Divide `total` into whole numbers near their quotas.

    Each gets its quota rounded down, within its bounds. What is left goes to the largest fractions,
    the first of equals.

    Args:
        quotas: [n] exact shares, which sum up to `total`.
        total: what is divided.
        least: each gets at least this many while `total` lasts; the smallest quotas are the first
            to go without.
        most: [n] each gets at most this many; None: no bound. They sum up to `total` or more.

    Returns:
        int64 [n], which sum up to `total`.

    Source: the method of Hamilton, or of largest remainders.
    """
    ceiling = np.full(len(quotas), total, dtype=np.int64) if most is None else most
    counts = np.minimum(np.maximum(np.floor(quotas).astype(np.int64), least), ceiling)
    by_size = np.argsort(-quotas, kind="stable")
    while counts.sum() > total:
        if (counts > least).any():
            counts[int(np.where(counts > least, counts - quotas, -np.inf).argmax())] -= 1
        else:
            counts[by_size[counts[by_size] > 0][-1]] -= 1
    while counts.sum() < total:
        counts[int(np.where(counts < ceiling, quotas - counts, -np.inf).argmax())] += 1
    return counts
