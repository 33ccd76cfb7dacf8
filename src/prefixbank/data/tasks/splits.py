"""Seeded, stratified choice of rows.

To split validation and test from train, and to sample train.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prefixbank.choices import Kind
from prefixbank.core.apportion import largest_remainders

SEED = 0
"""Seed of every choice of rows made while loading, so that the same source always gives the same
task."""

SHARES = {"validation": 0.1, "test": 0.2}
"""Share of the source's train rows that a missing split receives."""

QUANTILES = 10
"""Strata of a regression target."""


def strata_of(labels: NDArray[np.generic], kind: Kind) -> NDArray[np.int64]:
    """Return the stratum of each row.

    Args:
        labels: int64 [N], float64 [N] or uint8 [N, C].
        kind: classification: the class; regression: the quantile (of at most ten, at least ten rows
            in each); multilabel: the row's rarest label, or C for a row without label.

    Returns:
        int64 [N], values from 0.
    """
    if kind == "classification":
        return np.asarray(labels, dtype=np.int64)
    if kind == "regression":
        bins = max(1, min(QUANTILES, len(labels) // 10))
        ranks = np.argsort(np.argsort(labels, kind="stable"), kind="stable")
        return np.asarray(ranks * bins // max(1, len(labels)), dtype=np.int64)
    counts = labels.sum(axis=0, dtype=np.int64)
    rarity = np.where(labels != 0, counts, len(labels) + 1)
    return np.asarray(
        np.where(labels.any(axis=1), rarity.argmin(axis=1), labels.shape[1]), dtype=np.int64
    )


def hold_out(strata: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Choose the rows that leave train for another split.

    Every stratum of two rows or more gives at least one and keeps at least one; a stratum of one
    row stays in train.

    Args:
        strata: int64 [N] stratum of each row.
        share: wished share of all rows, in (0, 1).

    Returns:
        int64 [M] row indices, ascending; empty when no stratum has two rows.
    """
    _, inverse, counts = np.unique(strata, return_inverse=True, return_counts=True)
    sizes = _sizes(counts, round(share * len(strata)), most=counts - 1)
    return _choose(inverse, np.maximum(sizes, np.minimum(counts - 1, 1)))


def sample(strata: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Choose a sample with the strata in proportion, each represented as long as `rows` suffices.

    Args:
        strata: int64 [N] stratum of each row.
        rows: size of the sample, at least 1.

    Returns:
        int64 [min(rows, N)] row indices, ascending.
    """
    _, inverse, counts = np.unique(strata, return_inverse=True, return_counts=True)
    return _choose(inverse, _sizes(counts, min(rows, len(strata)), most=counts))


def _sizes(counts: NDArray[np.int64], total: int, *, most: NDArray[np.int64]) -> NDArray[np.int64]:
    """Divide `total` rows over strata in proportion to `counts`, at least one to each."""
    total = min(total, int(most.sum()))
    return largest_remainders(total * counts / counts.sum(), total, least=1, most=most)


def _choose(inverse: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose `sizes[s]` rows of each stratum s.

    `RandomState` is frozen by numpy's policy: the stream never changes.
    """
    order = np.random.RandomState(SEED).permutation(len(inverse))
    shuffled = order[np.argsort(inverse[order], kind="stable")]
    starts = np.concatenate(([0], np.cumsum(np.bincount(inverse, minlength=len(sizes)))[:-1]))
    chosen = [shuffled[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    return np.asarray(np.sort(np.concatenate(chosen)), dtype=np.int64)
