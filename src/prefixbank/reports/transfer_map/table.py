"""The numbers of the report on a transfer map."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefixbank.artifacts.json_files import number_or_none
from prefixbank.choices import Metric
from prefixbank.core.stats.convergence import ratio_of_steps
from prefixbank.core.stats.transfer import relative_error_reduction
from prefixbank.reports.cells import LEVEL, MEAN, RESAMPLES_PER_TEST
from prefixbank.reports.study import Facts
from prefixbank.reports.transfer_map.retrieval import (
    Regime,
    RetrievalTable,
    comparisons,
    regimes_of,
    retrieval,
)
from prefixbank.reports.transfer_map.scores import TargetScores, target_scores
from prefixbank.reports.transfer_map.similarity import (
    ALL_LAYERS,
    LEAST_MOVEMENT,
    SIMILARITIES,
    SOURCE_ALONE,
    CorrelationRow,
    TaskEmbeddings,
    TaskSimilarities,
    comparable,
    correlations,
)
from prefixbank.reports.transfer_map.study import TransferMap
from prefixbank.store.artifact import Entry
from prefixbank.transfer.task_embeddings import Comparison

BySource = dict[str, dict[str, float | None]]
"""Source to target, and to `MEAN`, to a number; None where it is undefined or not trained."""

NEVER = math.inf
"""Ratio of steps of a training that does not reach the cold start's final score."""


@dataclass(frozen=True, kw_only=True)
class MapTarget:
    """A target's metric, and how many test rows and sources it has."""

    metric: Metric
    test_rows: int
    sources: int


@dataclass(frozen=True, kw_only=True)
class SplitScores:
    """Scores of trainings on validation and on test rows, in the order of seeds."""

    validation: tuple[float, ...]
    test: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingScores:
    """The score of every training on one target.

    Args:
        seeds: ascending.
        cold: from a cold start.
        warm: source to the trainings from its prefix.
        combined: combination of sources to seed to test score.
    """

    seeds: tuple[int, ...]
    cold: SplitScores
    warm: dict[str, SplitScores]
    combined: dict[str, dict[int, float]]


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Steps to the cold start's final validation score, as a ratio to the cold start's own.

    Args:
        pairs: of a source and a target.
        never_pairs: pairs that do not reach that score with any seed.
        trainings: of these pairs.
        never: trainings that do not reach that score.
        undefined: trainings whose cold start had that score before its first step.
        median: ratio of steps over trainings, one that never reaches the score being the slowest;
            None where it is one of these, or without trainings.
    """

    pairs: int
    never_pairs: int
    trainings: int
    never: int
    undefined: int
    median: float | None


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Of the pairs that gain on test rows, and of all pairs."""

    positive: Speed
    all: Speed


@dataclass(frozen=True, kw_only=True)
class MapReport(Facts):
    """All numbers of the report on a transfer map, as `report.json` holds them.

    Args:
        comparison: the similarity that ranks sources.
        ranked_by: the same in words.
        ks: sizes of the short lists.
        compared_sources: in order.
        targets: in order.
        combined: combination of sources to its seeds.
        target_facts: target to its facts.
        scores: target to the scores of its trainings.
        gains: test score from a source's prefix minus cold start, means over seeds.
        error_reductions: gains as shares of the cold start's error.
        headline: the first regime.
        regimes: which seeds choose a source and which are scored, to the table of choices.
        similarity: by which sources are ranked, mean over seeds.
        correlations: of similarity and error reduction, for each comparison and layer.
        between: similarities of all tasks with each other.
        speed: steps to the cold start's final score.
        level: of significance.
        bootstrap_samples: R, resamples behind each interval.
    """

    comparison: Comparison
    ranked_by: str
    ks: tuple[int, ...]
    compared_sources: tuple[str, ...]
    targets: tuple[str, ...]
    combined: dict[str, tuple[int, ...]]
    target_facts: dict[str, MapTarget]
    scores: dict[str, TrainingScores]
    gains: BySource
    error_reductions: BySource
    headline: Regime
    regimes: dict[Regime, RetrievalTable]
    similarity: BySource
    correlations: tuple[CorrelationRow, ...]
    between: TaskSimilarities
    speed: Speeds
    level: float
    bootstrap_samples: int

    @property
    def ranking_row(self) -> CorrelationRow:
        """The correlations of the similarity that ranks sources, over all layers."""
        ranking = (self.comparison.similarity, self.comparison.compare, ALL_LAYERS)
        return next(
            row for row in self.correlations if (row.similarity, row.compare, row.layer) == ranking
        )


def tabulate(study: TransferMap, bootstrap_samples: int) -> MapReport:
    """Return all numbers of the report; None where a number is undefined."""
    bootstrap_samples = max(
        bootstrap_samples, RESAMPLES_PER_TEST * comparisons(study.ks, list(study.combined))
    )
    scores = {
        target: target_scores(study, target, bootstrap_samples, number)
        for number, target in enumerate(study.cold)
    }
    embeddings = {compare: TaskEmbeddings.of(study, compare) for compare in comparable(study)}
    similarities = {
        (similarity, compare): tasks.source_to_target(similarity)
        for compare, tasks in embeddings.items()
        for similarity in SIMILARITIES
    }
    ranked_by = (study.comparison.similarity, study.comparison.compare)
    ranking = similarities[ranked_by].whole
    index = {source: number for number, source in enumerate(study.sources)}
    by_target = {
        target: ranking[:, [index[source] for source in one.sources], number]
        for number, (target, one) in enumerate(scores.items())
    }
    gains, reductions = _pairs(study, scores)
    compared = [(*names, one) for names, one in similarities.items()]
    control = (
        [(LEAST_MOVEMENT, SOURCE_ALONE, embeddings["movement"].least_movement())]
        if "movement" in embeddings
        else []
    )
    regimes = regimes_of(study.facts.seeds)
    return MapReport(
        **vars(study.facts),
        comparison=study.comparison,
        ranked_by=f"{ranked_by[0]} of {ranked_by[1]}",
        ks=study.ks,
        compared_sources=tuple(study.sources),
        targets=tuple(study.cold),
        combined={
            name: tuple(sorted(next(iter(by_target.values()))))
            for name, by_target in study.combined.items()
        },
        target_facts={
            target: MapTarget(metric=one.metric, test_rows=one.test_rows, sources=len(one.sources))
            for target, one in scores.items()
        },
        scores={target: _training_scores(one) for target, one in scores.items()},
        gains=_by_source(study, gains),
        error_reductions=_by_source(study, reductions),
        headline=regimes[0],
        regimes={regime: retrieval(scores, by_target, regime, study.ks) for regime in regimes},
        similarity=_by_source(study, ranking.mean(axis=0)),
        correlations=tuple(
            row
            for names_and_values in (*compared, *control)
            for row in correlations(*names_and_values, reductions, gains, study, bootstrap_samples)
        ),
        between=embeddings[study.comparison.compare].between(study.comparison.similarity),
        speed=speed(study, gains),
        level=LEVEL,
        bootstrap_samples=bootstrap_samples,
    )


def _pairs(study: TransferMap, scores: Mapping[str, TargetScores]) -> tuple[np.ndarray, np.ndarray]:
    """Return gains over a cold start and relative error reductions, both [S, T].

    They are of means over seeds; NaN where a target lacks a source.
    """
    index = {source: number for number, source in enumerate(study.sources)}
    gains, reductions = (np.full((len(index), len(scores)), np.nan) for _ in range(2))
    for column, one in enumerate(scores.values()):
        rows = [index[source] for source in one.sources]
        warm, cold = one.test.mean(axis=1), one.cold_test.mean()
        gains[rows, column] = warm - cold
        reductions[rows, column] = relative_error_reduction(warm, cold)
    return gains, reductions


def _by_source(study: TransferMap, values: np.ndarray) -> BySource:
    """Return values [S, T] by source and target, with each source's mean over its targets."""
    by_source: BySource = {}
    for source, row in zip(study.sources, values, strict=True):
        defined = row[np.isfinite(row)]
        by_source[source] = {
            target: number_or_none(value)
            for target, value in zip(study.cold, row.tolist(), strict=True)
        }
        by_source[source][MEAN] = float(defined.mean()) if len(defined) else None
    return by_source


def _training_scores(scores: TargetScores) -> TrainingScores:
    warm = zip(scores.sources, scores.validation.tolist(), scores.test.tolist(), strict=True)
    return TrainingScores(
        seeds=scores.seeds,
        cold=SplitScores(
            validation=tuple(scores.cold_validation.tolist()), test=tuple(scores.cold_test.tolist())
        ),
        warm={
            source: SplitScores(validation=tuple(validation), test=tuple(test))
            for source, validation, test in warm
        },
        combined={
            name: {seed: sampled.scores[seed] for seed in sampled.seeds}
            for name, sampled in scores.combined.items()
        },
    )


def speed(study: TransferMap, gains: np.ndarray) -> Speeds:
    """Return ratios of steps for all pairs, and for those with positive transfer.

    Args:
        study: the map.
        gains: [S, T], NaN where a target lacks a source.
    """
    sources = list(study.sources)
    everything: list[list[float | None]] = []
    positive: list[list[float | None]] = []
    for column, target in enumerate(study.cold):
        cold = {seed: _curve(one.prefix) for seed, one in study.cold[target].items()}
        for source, by_seed in study.warm[target].items():
            ratios = [_ratio(_curve(one.prefix), cold[seed]) for seed, one in by_seed.items()]
            everything.append(ratios)
            if gains[sources.index(source), column] > 0:
                positive.append(ratios)
    return Speeds(positive=_summary(positive), all=_summary(everything))


def _ratio(warm: list[Any], cold: list[Any]) -> float | None:
    """Return the ratio of steps.

    NEVER where the warm start does not reach the score, None where the cold start had it before
    any step.
    """
    if ratio_of_steps(cold, cold) is None:
        return None
    ratio = ratio_of_steps(warm, cold)
    return NEVER if ratio is None else ratio


def _summary(pairs: Sequence[Sequence[float | None]]) -> Speed:
    """Count the trainings that can be compared, and take the median over them."""
    ratios = [ratio for by_seed in pairs for ratio in by_seed]
    known = [ratio for ratio in ratios if ratio is not None]
    median = float(np.median(known)) if known else None
    return Speed(
        pairs=len(pairs),
        never_pairs=sum(all(ratio == NEVER for ratio in by_seed) for by_seed in pairs),
        trainings=len(ratios),
        never=known.count(NEVER),
        undefined=len(ratios) - len(known),
        median=None if median == NEVER else median,
    )


def _curve(entry: Entry) -> list[Any]:
    return [
        json.loads(line)
        for line in entry.file("curve.jsonl").read_text(encoding="utf-8").splitlines()
    ]
