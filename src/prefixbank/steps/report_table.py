"""The table of an experiment: mean test scores with 95 % intervals, and differences to the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prefixbank.core.bootstrap import resampled_scores
from prefixbank.core.metrics import score
from prefixbank.steps.json_files import read_json
from prefixbank.steps.tensors import read_tensors
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON

MEAN = "mean"


def tabulate(facts: dict[str, Any], probes: Mapping[str, Mapping[str, Sequence[Entry]]], resamples: int) -> JSON:
    """Return the whole report as JSON values.

    Each cell is the mean over seeds (and few-shot draws) of the test score. Its interval comes from drawing test rows with replacement,
    the same rows for all columns and seeds, so that differences are paired; the mean over targets draws the rows of each target apart.
    """
    columns = list(next(iter(probes.values())))
    rows: dict[str, Any] = {}
    drawn: dict[str, list[np.ndarray]] = {column: [] for column in columns}
    for number, (target, of_column) in enumerate(probes.items()):
        rows[target], samples = _target(of_column, resamples, seed=number)
        for column in columns:
            drawn[column].append(samples[column])
    scores = {column: np.array([rows[target]["columns"][column]["scores"] for target in probes]) for column in columns}
    means = {column: np.mean(drawn[column], axis=0) for column in columns}
    rows[MEAN] = _row({column: scores[column].mean(axis=0) for column in columns}, means)
    return {**facts, "columns": columns, "baseline": columns[0], "targets": list(probes), "rows": rows, "resamples": resamples}


def _target(of_column: Mapping[str, Sequence[Entry]], resamples: int, seed: int) -> tuple[JSON, dict[str, np.ndarray]]:
    """Return one target's row and the resampled scores [R] of each column."""
    first = read_json(next(iter(of_column.values()))[0], "probe.json")
    metric, classes = first["metric"], len(first["labels"]) or 1
    predictions: dict[str, list[np.ndarray]] = {}
    labels = np.empty(0)
    for column, entries in of_column.items():
        tensors = [read_tensors(entry, "predictions.safetensors") for entry in entries]
        labels = tensors[0]["labels"].numpy()
        predictions[column] = [one[name].numpy() for one in tensors for name in sorted(one) if name.endswith(".predictions")]
    flat = tuple(one for several in predictions.values() for one in several)
    joint = resampled_scores(metric, flat, labels, classes, resamples=resamples, seed=seed)
    samples, start = {}, 0
    for column, several in predictions.items():
        samples[column] = joint[start : start + len(several)].mean(axis=0)
        start += len(several)
    scores = {column: np.array([score(metric, one, labels, classes) for one in several]) for column, several in predictions.items()}
    return {"metric": metric, "test_rows": len(labels), **_row(scores, samples)}, samples


def _row(scores: Mapping[str, np.ndarray], samples: Mapping[str, np.ndarray]) -> JSON:
    """Return cells, and the difference of each column to the first."""
    baseline = next(iter(scores))
    cells = {column: _cell(scores[column], samples[column]) for column in scores}
    differences = {
        column: _interval(float(scores[column].mean() - scores[baseline].mean()), samples[column] - samples[baseline])
        for column in scores
        if column != baseline
    }
    return {"columns": cells, "differences": differences}


def _cell(scores: np.ndarray, samples: np.ndarray) -> JSON:
    """Return mean, interval, and the score of each seed."""
    return {**_interval(float(scores.mean()), samples), "scores": scores.tolist()}


def _interval(value: float, samples: np.ndarray) -> JSON:
    low, high = np.quantile(samples, [0.025, 0.975])
    return {"value": value, "low": float(low), "high": float(high)}
