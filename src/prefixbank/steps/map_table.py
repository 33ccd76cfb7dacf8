"""The numbers of the report on a transfer map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from prefixbank.core.transfer_stats import relative_error_reduction
from prefixbank.steps.json_files import number_or_none
from prefixbank.steps.map_report import TransferMap
from prefixbank.steps.map_retrieval import comparisons, regimes_of, retrieval
from prefixbank.steps.map_scores import TargetScores, target_scores
from prefixbank.steps.map_similarity import MEASURES, SOURCE_ALONE, TaskEmbeddings, correlations, readings_of
from prefixbank.steps.map_speed import speed
from prefixbank.steps.report_table import LEVEL, MEAN, RESAMPLES_PER_TEST
from prefixbank.steps.task_embeddings import Comparison
from prefixbank.store.key import JSON


def tabulate(study: TransferMap, resamples: int) -> JSON:
    """Return the whole report as JSON values; None where a number is undefined."""
    resamples = max(resamples, RESAMPLES_PER_TEST * comparisons(study.tops, list(study.combined)))
    found = {target: target_scores(study, target, resamples, number) for number, target in enumerate(study.cold)}
    embeddings = {reading: TaskEmbeddings.of(study, reading) for reading in readings_of(study)}
    compared = [Comparison(measure=measure, reading=reading) for reading in embeddings for measure in MEASURES]
    similarities = {one: embeddings[one.reading].compared(one.measure) for one in compared}
    ranking = similarities[study.comparison].whole
    rows = [(asdict(one), found_by) for one, found_by in similarities.items()]
    rows += [(SOURCE_ALONE, embeddings["movement"].stillness())] if "movement" in embeddings else []
    places = {source: place for place, source in enumerate(study.sources)}
    near = {
        target: ranking[:, [places[source] for source in scores.sources], place] for place, (target, scores) in enumerate(found.items())
    }
    gains, reductions = _pairs(study, found)
    regimes = regimes_of(study.facts.seeds)
    return {
        **asdict(study.facts),
        **asdict(study.comparison),
        "ranked_by": f"{study.comparison.measure} of {study.comparison.reading}",
        "tops": list(study.tops),
        "compared_sources": list(study.sources),
        "targets": list(study.cold),
        "combined": {name: sorted(next(iter(of_target.values()))) for name, of_target in study.combined.items()},
        "target_facts": {target: {**scores.facts, "sources": len(scores.sources)} for target, scores in found.items()},
        "scores": {target: _scores(scores) for target, scores in found.items()},
        "gains": _by_source(study, gains),
        "error_reductions": _by_source(study, reductions),
        "headline": regimes[0],
        "regimes": {regime: retrieval(found, near, regime, study.tops) for regime in regimes},
        "similarity": _by_source(study, ranking.mean(axis=0)),
        "correlations": correlations(rows, reductions, gains, study, resamples),
        "between": embeddings[study.comparison.reading].between(study.comparison.measure),
        "speed": speed(study, gains),
        "level": LEVEL,
        "resamples": resamples,
    }


def _pairs(study: TransferMap, found: Mapping[str, TargetScores]) -> tuple[np.ndarray, np.ndarray]:
    """Return gains over a cold start and relative error reductions, both [S, T] of means over seeds; NaN where a target lacks a source."""
    places = {source: place for place, source in enumerate(study.sources)}
    gains, reductions = (np.full((len(places), len(found)), np.nan) for _ in range(2))
    for column, scores in enumerate(found.values()):
        rows = [places[source] for source in scores.sources]
        warm, cold = scores.test.mean(axis=1), scores.cold_test.mean()
        gains[rows, column] = warm - cold
        reductions[rows, column] = relative_error_reduction(warm, cold, scale="share")
    return gains, reductions


def _by_source(study: TransferMap, values: np.ndarray) -> JSON:
    """Return source to target, and to the mean over the targets that have the source, to values [S, T]."""
    found: JSON = {}
    for source, row in zip(study.sources, values, strict=True):
        there = row[np.isfinite(row)]
        cells = {target: number_or_none(value) for target, value in zip(study.cold, row.tolist(), strict=True)}
        found[source] = {**cells, MEAN: float(there.mean()) if len(there) else None}
    return found


def _scores(scores: TargetScores) -> JSON:
    """Return every training's scores on validation and test rows, in the order of seeds."""
    warm = zip(scores.sources, scores.validation.tolist(), scores.test.tolist(), strict=True)
    return {
        "seeds": list(scores.seeds),
        "cold": {"validation": scores.cold_validation.tolist(), "test": scores.cold_test.tolist()},
        "warm": {source: {"validation": validation, "test": test} for source, validation, test in warm},
        "combined": {name: {str(seed): sampled.scores[seed] for seed in sampled.seeds} for name, sampled in scores.combined.items()},
    }
