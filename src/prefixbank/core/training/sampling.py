"""Which rows of which task an epoch shows when several tasks are trained together. numpy only.

An epoch shows as many rows as the tasks have together, whatever the share of each task. No state is
kept between epochs: a task's rows come from an endless sequence of shuffles of its train rows, and
the epoch's number determines where in that sequence it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from prefixbank.choices import Sampling
from prefixbank.core.apportion import largest_remainders

BUCKET_BATCHES = 50


def rows_each_epoch(
    sizes: Sequence[int], sampling: Sampling, *, temperature: float, size_cap: int
) -> tuple[int, ...]:
    """Return how many rows of each task an epoch shows; their sum is that of all train rows.

    The share of a task is proportional to n (`proportional`; without a cap each row is shown once),
    the same for all (`uniform`), or proportional to n ** (1 / temperature) (`temperature`).

    Args:
        sizes: train rows of each task.
        sampling: the rule.
        temperature: 1 is proportional, larger values are closer to uniform.
        size_cap: upper bound of n; 0 is no bound.
    Source: Du et al. 2020 (2004.14287), section 3.
    """
    counted = [min(size, size_cap or size) for size in sizes]
    weights = [_weight(size, sampling, temperature) for size in counted]
    total = sum(sizes)
    quotas = np.array([weight * total / sum(weights) for weight in weights])
    return tuple(largest_remainders(quotas, total).tolist())


def _weight(size: int, sampling: Sampling, temperature: float) -> float:
    match sampling:
        case "proportional":
            return size
        case "uniform":
            return 1
        case "temperature":
            return float(size ** (1 / temperature))
    assert_never(sampling)


def rows_shown(size: int, count: int, *, seed: int, task: int, epoch: int) -> np.ndarray:
    """Return the rows [count] of one task in one epoch.

    They are the next ones in an endless sequence of shuffles of 0..size-1.
    """
    start, stop = epoch * count, (epoch + 1) * count
    first = start // size
    shuffles = [
        np.random.default_rng([seed, cycle, task, 1]).permutation(size)
        for cycle in range(first, stop // size + 1)
    ]
    return np.concatenate(shuffles)[start - first * size : stop - first * size]


def epoch_plan(
    lengths: Sequence[np.ndarray], counts: Sequence[int], *, batch_size: int, seed: int, epoch: int
) -> list[tuple[int, np.ndarray]]:
    """Return one epoch's batches in order, each as a task's index and rows of this task.

    Args:
        lengths: tokens [N] in each row, for each task.
        counts: rows of each task to show.
        batch_size: rows in a batch; a task's last one may have fewer.
        seed: with the epoch's number, determines rows and order.
        epoch: number of the epoch, from 0.
    """
    batches: list[tuple[int, np.ndarray]] = []
    for task, (tokens, count) in enumerate(zip(lengths, counts, strict=True)):
        rows = rows_shown(len(tokens), count, seed=seed, task=task, epoch=epoch)
        batches += [(task, group) for group in length_groups(tokens, rows, batch_size)]
    order = np.random.default_rng([seed, epoch, 0, 2]).permutation(len(batches))
    return [batches[index] for index in order.tolist()]


def length_groups(lengths: np.ndarray, order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Split rows into batches of similar length, by sorting within each `BUCKET_BATCHES` batches.

    Args:
        lengths: [N] tokens in each row of the data set.
        order: [M] row numbers.
        batch_size: rows in a batch; the last one may have fewer.
    """
    run = batch_size * BUCKET_BATCHES
    runs = [order[start : start + run] for start in range(0, len(order), run)]
    ordered = [part[np.argsort(lengths[part], kind="stable")] for part in runs]
    return [
        part[start : start + batch_size]
        for part in ordered
        for start in range(0, len(part), batch_size)
    ]
