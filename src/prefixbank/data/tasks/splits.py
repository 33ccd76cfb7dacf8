"""Seeded, stratified choice of rows: to take splits from train, and to sample rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prefixbank.choices import Kind
from prefixbank.core.apportion import largest_remainders

SEED = 0
"""Seed of all choices of rows in loading, so that the same data always give the same task."""

SHARES = {"validation": 0.1, "test": 0.2}
"""Share of the train rows that a missing split gets."""

QUANTILES = 10
"""Number of strata of a regression."""


def strata_of(labels: NDArray[np.generic], kind: Kind) -> NDArray[np.int64]:
    """Return the stratum of each row.

    Args:
        labels: int64 [N], float64 [N] or uint8 [N, C].
        kind: the stratum is, for classification, the class; for regression, the quantile (at most
            ten, with at least ten rows each); for multilabel, the row's rarest label, or C for a
            row without labels.

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
    """Choose the train rows of another split.

    A stratum with two or more rows gives at least one and keeps at least one. A stratum with one
    row stays in train.

    Args:
        strata: int64 [N] stratum of each row.
        share: approximate share of all rows, in (0, 1).

    Returns:
        int64 [M] row indices, ascending; empty if no stratum has two rows.
    """
    _, inverse, counts = np.unique(strata, return_inverse=True, return_counts=True)
    sizes = _sizes(counts, round(share * len(strata)), most=counts - 1)
    return _choose(inverse, np.maximum(sizes, np.minimum(counts - 1, 1)))


def sample(strata: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Choose a sample in proportion to the strata, with each in it if `rows` is large enough.

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

    By numpy's policy the stream of `RandomState` never changes.
    """
    order = np.random.RandomState(SEED).permutation(len(inverse))
    shuffled = order[np.argsort(inverse[order], kind="stable")]
    starts = np.concatenate(([0], np.cumsum(np.bincount(inverse, minlength=len(sizes)))[:-1]))
    chosen = [shuffled[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    return np.asarray(np.sort(np.concatenate(chosen)), dtype=np.int64)
