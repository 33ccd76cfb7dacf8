"""The retrieval table of a transfer map: what choosing sources by similarity gains.

Each way to choose is a probability for each source, seed by seed. So its score, and its score on
resampled rows, is a weighted sum over sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

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
from prefixbank.reports.cells import (
    MEAN,
    Cell,
    CorrectedDifference,
    Difference,
    Rows,
    add_mean,
    correct,
    difference,
    score_cell,
)
from prefixbank.reports.samples import shared_seeds
from prefixbank.reports.transfer_map.scores import TargetScores

Regime = Literal["held-out seeds", "same seed"]
COLD, ORACLE, BOUND = "cold start", "best of all by validation", "best of all by test"

Chances = dict[str, dict[int, np.ndarray]]
"""Row of the table to seed to the probability of each source, [S]."""


@dataclass(frozen=True, kw_only=True)
class RetrievalRow(Cell):
    """One way to choose a source, its score a mean over targets and seeds.

    Args:
        minus_cold: difference to the cold start; corrected, but for the upper bound, which is not
            tested; None for the cold start itself.
        error_reduction: mean over targets of the gain as a share of the cold start's error; None
            where no target has one.
        error_reduction_targets: how many targets have one.
        share_of_oracle_gain: gain over the cold start as a share of the oracle's; None where the
            oracle gains nothing.
    """

    minus_cold: Difference | None
    error_reduction: float | None
    error_reduction_targets: int
    share_of_oracle_gain: float | None


@dataclass(frozen=True, kw_only=True)
class RetrievalTable:
    """All ways to choose a source under one regime.

    Args:
        rows: way to choose to its row.
        against_random: k to the difference of the best of the k most similar sources to the best
            of k random ones.
        family: how many differences are corrected together.
        targets: target to way to choose to score.
        chosen: target to way to choose to seed to the chosen source.
    """

    rows: dict[str, RetrievalRow]
    against_random: dict[int, CorrectedDifference]
    family: int
    targets: dict[str, dict[str, Cell]]
    chosen: dict[str, dict[str, dict[int, str]]]


def top(k: int) -> str:
    """Return the row of the best of the k most similar sources."""
    return f"best of top-{k}"


def random(k: int) -> str:
    """Return the row of the best of k random sources."""
    return f"best of random {k}"


def regimes_of(seeds: Sequence[int]) -> tuple[Regime, ...]:
    """Return which seeds can choose and which can be scored; the first is the headline."""
    return ("held-out seeds", "same seed") if len(seeds) > 1 else ("same seed",)


def comparisons(ks: Sequence[int], combined: Sequence[str]) -> int:
    """Return how many differences a regime tests."""
    return 3 * len(ks) + len(combined) + 1


def retrieval(
    scores: Mapping[str, TargetScores],
    similarities: Mapping[str, np.ndarray],
    regime: Regime,
    ks: Sequence[int],
) -> RetrievalTable:
    """Return a regime's table.

    Args:
        scores: target to scores.
        similarities: target to the similarities of its sources, seed by seed, [N, S].
        regime: see `_choosing`.
        ks: sizes of the short lists.
    """
    rows: Rows = {}
    chosen: dict[str, dict[str, dict[int, str]]] = {}
    for target, one in scores.items():
        chances = choices(one, similarities[target], regime, ks)
        picked = {name: one.weighted(by_seed) for name, by_seed in chances.items()}
        ends = {name: picked.pop(name) for name in (ORACLE, BOUND)}
        rows[target] = {COLD: one.cold, **picked, **one.combined, **ends}
        chosen[target] = {
            name: _names(one, chances[name]) for name in (*map(top, ks), ORACLE, BOUND)
        }
    add_mean(rows)
    mean = rows[MEAN]
    minus_cold = {name: difference(mean[name], mean[COLD]) for name in mean if name != COLD}
    against_random = {k: difference(mean[top(k)], mean[random(k)]) for k in ks}
    tested: dict[str | int, Difference] = {
        name: one
        for name, one in (minus_cold | against_random).items()
        if one is not None and name != BOUND
    }
    corrected = correct(tested)
    return RetrievalTable(
        rows={name: _row(rows, name, corrected.get(name, minus_cold.get(name))) for name in mean},
        against_random={k: corrected[k] for k in ks},
        family=len(tested),
        targets={
            target: {name: score_cell(sampled) for name, sampled in row.items()}
            for target, row in rows.items()
            if target != MEAN
        },
        chosen=chosen,
    )


def choices(
    scores: TargetScores, similarities: np.ndarray, regime: Regime, ks: Sequence[int]
) -> Chances:
    """Choose a source for each seed in each way.

    Args:
        scores: of one target.
        similarities: [N, S] of its sources.
        regime: which seeds choose.
        ks: sizes of the short lists; one longer than S is S long.
    """
    one_hot = np.eye(len(scores.sources))
    chances: Chances = {}
    for index, seed in enumerate(scores.seeds):
        choosing = _choosing(regime, index, len(scores.seeds))
        candidates = candidates_of_seeds(
            scores.validation, scores.test, choosing=choosing, scoring=[index]
        )
        for k in ks:
            size = min(k, len(scores.sources))
            chances.setdefault(top(k), {})[seed] = one_hot[
                best_of_k(similarities[choosing].mean(axis=0), candidates, size).source
            ]
            chances.setdefault(random(k), {})[seed] = chances_of_k_random(candidates, size)
        chances.setdefault(ORACLE, {})[seed] = one_hot[oracle_by_validation(candidates).source]
        chances.setdefault(BOUND, {})[seed] = one_hot[oracle_by_test(candidates).source]
    return chances


def _choosing(regime: Regime, index: int, seeds: int) -> list[int]:
    """Return the seeds that choose a source for one seed: all others, or that seed itself."""
    match regime:
        case "held-out seeds":
            return [other for other in range(seeds) if other != index]
        case "same seed":
            return [index]
    assert_never(regime)


def _names(scores: TargetScores, by_seed: Mapping[int, np.ndarray]) -> dict[int, str]:
    return {seed: scores.sources[int(chances.argmax())] for seed, chances in by_seed.items()}


def _row(rows: Rows, name: str, minus_cold: Difference | None) -> RetrievalRow:
    mean = rows[MEAN]
    seeds = shared_seeds(mean[name], mean[COLD])
    values = {
        each: np.array([row[each].value(seeds) for target, row in rows.items() if target != MEAN])
        for each in (name, COLD, ORACLE)
    }
    reductions = relative_error_reduction(values[name], values[COLD])
    defined = reductions[np.isfinite(reductions)]
    return RetrievalRow(
        **vars(score_cell(mean[name])),
        minus_cold=minus_cold,
        error_reduction=float(defined.mean()) if len(defined) else None,
        error_reduction_targets=len(defined),
        share_of_oracle_gain=number_or_none(
            share_of_oracle_gain(values[name], values[COLD], values[ORACLE])
        ),
    )
