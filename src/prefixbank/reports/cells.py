"""Scores with intervals, and differences of scores: the cells of a report's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from prefixbank.core.stats.bootstrap import percentile_interval, two_sided_p
from prefixbank.core.stats.holm import holm
from prefixbank.reports.samples import Sampled, mean_over_targets, shared_seeds

MEAN = "mean"
"""Name of the row, and of the column, with means over targets."""
LEVEL = 0.05
"""A difference whose corrected p-value is below this is significant."""
RESAMPLES_PER_TEST = 80
"""Resamples for each test of a family: the smallest p-value, 2 / (R + 1), then stays below half the
level after correction."""

Rows = dict[str, dict[str, Sampled]]
"""Target, or `MEAN`, to name to scores."""

K = TypeVar("K")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number with its 95 % percentile interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Cell(Interval):
    """A mean test score over training seeds.

    Args:
        scores: the score of each seed.
        seeds: ascending; empty if nothing was trained, and then `scores` has one entry.
    """

    scores: tuple[float, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Difference(Interval):
    """A difference of two mean scores over the seeds that both have.

    Args:
        p: two-sided p-value, not corrected.
        seeds: that both have; empty if neither was trained.
    """

    p: float
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CorrectedDifference(Difference):
    """A difference that was tested together with others.

    Args:
        p_holm: p-value corrected over the family, after Holm.
        significant: whether `p_holm` is below `LEVEL`.
    """

    p_holm: float
    significant: bool


def score_cell(sampled: Sampled) -> Cell:
    """Return the mean over seeds, its interval, and the score of each seed."""
    return Cell(
        **_interval(sampled.value(sampled.seeds), sampled.drawn(sampled.seeds)),
        scores=tuple(sampled.scores[seed] for seed in sampled.seeds),
        seeds=_trained_seeds(sampled, sampled.seeds),
    )


def difference(one: Sampled, other: Sampled) -> Difference | None:
    """Return one minus other over the seeds that both have; None if they share none."""
    seeds = shared_seeds(one, other)
    if not seeds:
        return None
    samples = one.drawn(seeds) - other.drawn(seeds)
    return Difference(
        **_interval(one.value(seeds) - other.value(seeds), samples),
        p=two_sided_p(samples),
        seeds=_trained_seeds(one if other.seedless else other, seeds),
    )


def correct(family: Mapping[K, Difference]) -> dict[K, CorrectedDifference]:
    """Correct the p-values of all differences of one family together."""
    p_values = holm(np.array([one.p for one in family.values()]))
    return {
        name: CorrectedDifference(
            **vars(one), p_holm=float(p_value), significant=bool(p_value < LEVEL)
        )
        for (name, one), p_value in zip(family.items(), p_values, strict=True)
    }


def add_mean(rows: Rows) -> None:
    """Add a row with the means over targets."""
    names = list(next(iter(rows.values()), {}))
    if names:
        rows[MEAN] = {
            name: mean_over_targets([row[name] for row in rows.values()]) for name in names
        }


def _interval(value: float, samples: np.ndarray) -> dict[str, float]:
    low, high = percentile_interval(samples)
    return {"value": value, "low": low, "high": high}


def _trained_seeds(sampled: Sampled, seeds: Sequence[int]) -> tuple[int, ...]:
    return () if sampled.seedless else tuple(seeds)
