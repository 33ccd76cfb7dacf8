"""The numbers of the report on a transfer map."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from prefixbank.artifacts.json_files import number_or_none
from prefixbank.core.stats.convergence import ratio_of_steps
from prefixbank.core.stats.transfer import relative_error_reduction
from prefixbank.reports.table import LEVEL, MEAN, RESAMPLES_PER_TEST
from prefixbank.reports.transfer_map.retrieval import comparisons, regimes_of, retrieval
from prefixbank.reports.transfer_map.scores import TargetScores, target_scores
from prefixbank.reports.transfer_map.similarity import (
    MEASURES,
    SOURCE_ALONE,
    TaskEmbeddings,
    correlations,
    readings_of,
)
from prefixbank.reports.transfer_map.study import TransferMap
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.transfer.task_embeddings import Comparison


def tabulate(study: TransferMap, bootstrap_samples: int) -> JSON:
    """Return the whole report as JSON values; None where a number is undefined."""
    bootstrap_samples = max(
        bootstrap_samples, RESAMPLES_PER_TEST * comparisons(study.ks, list(study.combined))
    )
    found = {
        target: target_scores(study, target, bootstrap_samples, number)
        for number, target in enumerate(study.cold)
    }
    embeddings = {reading: TaskEmbeddings.of(study, reading) for reading in readings_of(study)}
    compared = [
        Comparison(similarity=measure, compare=reading)
        for reading in embeddings
        for measure in MEASURES
    ]
    similarities = {one: embeddings[one.compare].compared(one.similarity) for one in compared}
    ranking = similarities[study.comparison].whole
    rows = [(asdict(one), found_by) for one, found_by in similarities.items()]
    rows += [(SOURCE_ALONE, embeddings["movement"].stillness())] if "movement" in embeddings else []
    places = {source: place for place, source in enumerate(study.sources)}
    near = {
        target: ranking[:, [places[source] for source in scores.sources], place]
        for place, (target, scores) in enumerate(found.items())
    }
    gains, reductions = _pairs(study, found)
    regimes = regimes_of(study.facts.seeds)
    return {
        **asdict(study.facts),
        **asdict(study.comparison),
        "ranked_by": f"{study.comparison.similarity} of {study.comparison.compare}",
        "ks": list(study.ks),
        "compared_sources": list(study.sources),
        "targets": list(study.cold),
        "combined": {
            name: sorted(next(iter(by_target.values())))
            for name, by_target in study.combined.items()
        },
        "target_facts": {
            target: {**scores.facts, "sources": len(scores.sources)}
            for target, scores in found.items()
        },
        "scores": {target: _scores(scores) for target, scores in found.items()},
        "gains": _by_source(study, gains),
        "error_reductions": _by_source(study, reductions),
        "headline": regimes[0],
        "regimes": {regime: retrieval(found, near, regime, study.ks) for regime in regimes},
        "similarity": _by_source(study, ranking.mean(axis=0)),
        "correlations": correlations(rows, reductions, gains, study, bootstrap_samples),
        "between": embeddings[study.comparison.compare].between(study.comparison.similarity),
        "speed": speed(study, gains),
        "level": LEVEL,
        "bootstrap_samples": bootstrap_samples,
    }


def _pairs(study: TransferMap, found: Mapping[str, TargetScores]) -> tuple[np.ndarray, np.ndarray]:
    """Return gains over a cold start and relative error reductions, both [S, T].

    They are of means over seeds; NaN where a target lacks a source.
    """
    places = {source: place for place, source in enumerate(study.sources)}
    gains, reductions = (np.full((len(places), len(found)), np.nan) for _ in range(2))
    for column, scores in enumerate(found.values()):
        rows = [places[source] for source in scores.sources]
        warm, cold = scores.test.mean(axis=1), scores.cold_test.mean()
        gains[rows, column] = warm - cold
        reductions[rows, column] = relative_error_reduction(warm, cold)
    return gains, reductions


def _by_source(study: TransferMap, values: np.ndarray) -> JSON:
    """Return source to target to values [S, T], and to the mean over its targets."""
    found: JSON = {}
    for source, row in zip(study.sources, values, strict=True):
        there = row[np.isfinite(row)]
        cells = {
            target: number_or_none(value)
            for target, value in zip(study.cold, row.tolist(), strict=True)
        }
        found[source] = {**cells, MEAN: float(there.mean()) if len(there) else None}
    return found


def _scores(scores: TargetScores) -> JSON:
    """Return every training's scores on validation and test rows, in the order of seeds."""
    warm = zip(scores.sources, scores.validation.tolist(), scores.test.tolist(), strict=True)
    return {
        "seeds": list(scores.seeds),
        "cold": {"validation": scores.cold_validation.tolist(), "test": scores.cold_test.tolist()},
        "warm": {
            source: {"validation": validation, "test": test} for source, validation, test in warm
        },
        "combined": {
            name: {str(seed): sampled.scores[seed] for seed in sampled.seeds}
            for name, sampled in scores.combined.items()
        },
    }


NEVER = math.inf


def speed(study: TransferMap, gains: np.ndarray) -> JSON:
    """Return ratios of steps for all pairs, and for those with positive transfer.

    Args:
        study: the map.
        gains: [S, T], NaN where a target lacks a source.
    """
    sources = list(study.sources)
    everything: list[list[float | None]] = []
    positive: list[list[float | None]] = []
    for place, target in enumerate(study.cold):
        cold = {seed: _curve(one.prefix) for seed, one in study.cold[target].items()}
        for source, by_seed in study.warm[target].items():
            ratios = [_ratio(_curve(one.prefix), cold[seed]) for seed, one in by_seed.items()]
            everything.append(ratios)
            if gains[sources.index(source), place] > 0:
                positive.append(ratios)
    return {"positive": _summary(positive), "all": _summary(everything)}


def _ratio(warm: list[Any], cold: list[Any]) -> float | None:
    """Return the ratio of steps.

    NEVER where the warm start does not get there, None where the cold start was there before any
    step.
    """
    if ratio_of_steps(cold, cold) is None:
        return None
    ratio = ratio_of_steps(warm, cold)
    return NEVER if ratio is None else ratio


def _summary(pairs: Sequence[Sequence[float | None]]) -> JSON:
    """Count the trainings that can be compared, and take the median over them.

    One that never gets there is slower than any other.
    """
    ratios = [ratio for of_pair in pairs for ratio in of_pair]
    known = [ratio for ratio in ratios if ratio is not None]
    median = float(np.median(known)) if known else None
    return {
        "pairs": len(pairs),
        "never_pairs": sum(all(ratio == NEVER for ratio in of_pair) for of_pair in pairs),
        "trainings": len(ratios),
        "never": known.count(NEVER),
        "undefined": len(ratios) - len(known),
        "median": None if median == NEVER else median,
    }


def _curve(entry: Entry) -> list[Any]:
    return [
        json.loads(line)
        for line in entry.file("curve.jsonl").read_text(encoding="utf-8").splitlines()
    ]
