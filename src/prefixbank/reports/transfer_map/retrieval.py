"""The retrieval table of a transfer map.

What choosing sources by similarity is worth, seed by seed.

A choice is one chance for each source, so what a choice scores, and what it scores on resampled
rows, is a sum over sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, assert_never

import numpy as np

from prefixbank.artifacts.json_files import number_or_none
from prefixbank.core.stats.retrieval import (
    best_of_k,
    candidates_of_seeds,
    chances_of_k_random,
    oracle_by_test,
    oracle_by_validation,
    share_of_oracle_gain,
)
from prefixbank.core.stats.transfer import relative_error_reduction
from prefixbank.reports.samples import shared_seeds
from prefixbank.reports.table import MEAN, Rows, add_mean, cell, correct, difference
from prefixbank.reports.transfer_map.scores import TargetScores
from prefixbank.store.key import JSON

Regime = Literal["held-out seeds", "same seed"]
COLD, ORACLE, BOUND = "cold start", "best of all by validation", "best of all by test"

Chances = dict[str, dict[int, np.ndarray]]
"""Row of the table to seed to the chance of each source, [S]."""


def top(k: int) -> str:
    """Return the row of the best of the k most similar sources."""
    return f"best of top-{k}"


def random(k: int) -> str:
    """Return the row of the best of k sources at random."""
    return f"best of random {k}"


def regimes_of(seeds: Sequence[int]) -> tuple[Regime, ...]:
    """Return how choosing and scoring can divide the seeds; the first is the one to believe."""
    return ("held-out seeds", "same seed") if len(seeds) > 1 else ("same seed",)


def comparisons(ks: Sequence[int], combined: Sequence[str]) -> int:
    """Return how many differences a regime tests."""
    return 3 * len(ks) + len(combined) + 1


def retrieval(
    found: Mapping[str, TargetScores],
    near: Mapping[str, np.ndarray],
    regime: Regime,
    ks: Sequence[int],
) -> JSON:
    """Return a regime's table.

    Args:
        found: target to scores.
        near: target to the similarities of its sources, seed by seed, [N, S].
        regime: see `_choosing`.
        ks: sizes of the short lists.
    """
    rows: Rows = {}
    chosen: dict[str, JSON] = {}
    for target, scores in found.items():
        chances = choices(scores, near[target], regime, ks)
        picked = {name: scores.weighted(by_seed) for name, by_seed in chances.items()}
        ends = {name: picked.pop(name) for name in (ORACLE, BOUND)}
        rows[target] = {COLD: scores.cold, **picked, **scores.combined, **ends}
        chosen[target] = {
            name: _names(scores, chances[name]) for name in (*map(top, ks), ORACLE, BOUND)
        }
    add_mean(rows)
    table = {name: _row(rows, name) for name in rows[MEAN]}
    against_random = {str(k): difference(rows[MEAN][top(k)], rows[MEAN][random(k)]) for k in ks}
    family: list[Any] = [
        row["minus_cold"] for name, row in table.items() if name not in (COLD, BOUND)
    ] + list(against_random.values())
    correct(family)
    return {
        "rows": table,
        "against_random": against_random,
        "family": len(family),
        "targets": {
            target: {name: cell(sampled) for name, sampled in row.items()}
            for target, row in rows.items()
            if target != MEAN
        },
        "chosen": chosen,
    }


def choices(scores: TargetScores, near: np.ndarray, regime: Regime, ks: Sequence[int]) -> Chances:
    """Choose a source for each seed in each way.

    Args:
        scores: of one target.
        near: [N, S] similarities of its sources.
        regime: which seeds choose.
        ks: sizes of the short lists; one longer than S is S long.
    """
    one_hot = np.eye(len(scores.sources))
    found: Chances = {}
    for place, seed in enumerate(scores.seeds):
        choosing = _choosing(regime, place, len(scores.seeds))
        candidates = candidates_of_seeds(
            scores.validation, scores.test, choosing=choosing, scoring=[place]
        )
        for k in ks:
            size = min(k, len(scores.sources))
            found.setdefault(top(k), {})[seed] = one_hot[
                best_of_k(near[choosing].mean(axis=0), candidates, size).source
            ]
            found.setdefault(random(k), {})[seed] = chances_of_k_random(candidates, size)
        found.setdefault(ORACLE, {})[seed] = one_hot[oracle_by_validation(candidates).source]
        found.setdefault(BOUND, {})[seed] = one_hot[oracle_by_test(candidates).source]
    return found


def _choosing(regime: Regime, place: int, seeds: int) -> list[int]:
    """Return the seeds that choose a source for the one at `place`: all others, or itself."""
    match regime:
        case "held-out seeds":
            return [other for other in range(seeds) if other != place]
        case "same seed":
            return [place]
    assert_never(regime)


def _names(scores: TargetScores, by_seed: Mapping[int, np.ndarray]) -> JSON:
    return {str(seed): scores.sources[int(chances.argmax())] for seed, chances in by_seed.items()}


def _row(rows: Rows, name: str) -> JSON:
    """Return a row of the table; its difference to a cold start is not yet corrected."""
    mean = rows[MEAN]
    seeds = shared_seeds(mean[name], mean[COLD])
    values = {
        each: np.array([row[each].value(seeds) for target, row in rows.items() if target != MEAN])
        for each in (name, COLD, ORACLE)
    }
    reductions = relative_error_reduction(values[name], values[COLD])
    there = reductions[np.isfinite(reductions)]
    return {
        **cell(mean[name]),
        "minus_cold": None if name == COLD else difference(mean[name], mean[COLD]),
        "error_reduction": float(there.mean()) if len(there) else None,
        "error_reduction_targets": len(there),
        "share_of_oracle_gain": number_or_none(
            share_of_oracle_gain(values[name], values[COLD], values[ORACLE])
        ),
    }
