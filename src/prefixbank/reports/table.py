"""A report's numbers.

Mean scores, differences to the baselines with corrected p-values, and what each source brings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Literal, get_args

import numpy as np

from prefixbank.core.stats.bootstrap import percentile_interval, two_sided_p
from prefixbank.core.stats.holm import holm
from prefixbank.reports.samples import Sampled, mean_over_targets, sample_target, shared_seeds
from prefixbank.reports.study import Seeds, Study
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON

MEAN = "mean"
LEVEL = 0.05
RESAMPLES_PER_TEST = 80
"""Resamples for each test of a family: the smallest p-value, 2 / (R + 1), then stays below half the
level after correction."""

Rows = dict[str, dict[str, Sampled]]
"""Target, or `MEAN`, to name to scores."""


def tabulate(study: Study, bootstrap_samples: int) -> JSON:
    """Return the whole report as JSON values.

    Each cell is the mean test score over seeds. Its interval comes from drawing seeds and test rows
    with replacement: the same seeds for all that have them, the same rows for all columns and
    seeds, the rows of each target apart.
    """
    pairs = _pairs(study)
    bootstrap_samples = max(bootstrap_samples, RESAMPLES_PER_TEST * len(pairs) * len(study.probes))
    columns: Rows = {}
    singles: Rows = {}
    without: Rows = {}
    facts: dict[str, JSON] = {}
    for number, target in enumerate(study.probes):
        groups = [group.get(target, {}) for group in (study.probes, study.singles, study.without)]
        facts[target], sampled = sample_target(
            target,
            [entry for group in groups for entry in _entries(group)],
            bootstrap_samples,
            number,
        )
        for rows, group in zip((columns, singles, without), groups, strict=True):
            rows[target] = {
                name: _sampled(by_seed, sampled, name, study) for name, by_seed in group.items()
            }
    for rows in (columns, singles, without):
        add_mean(rows)
    table = {name: {**facts.get(name, {}), **_row(row, pairs)} for name, row in columns.items()}
    return {
        **asdict(study.facts),
        "columns": list(study.columns) if study.probes else [],
        "column_facts": {name: asdict(column) for name, column in study.columns.items()},
        "baseline": next(iter(study.columns), None),
        "baselines": list(study.baselines),
        "targets": list(study.probes),
        "rows": table,
        "families": _correct(table),
        "level": LEVEL,
        "bootstrap_samples": bootstrap_samples,
        "singles": _sources(singles, columns, next(iter(study.columns), "")),
        "without": {**_sources(without, columns, study.bank), "bank": study.bank},
        "curves": {
            name: {str(seed): curve(entry) for seed, entry in by_seed.items()}
            for name, by_seed in study.curves.items()
        },
        "update": list(study.update),
        "update_ratios": ratios(study.update),
    }


def _pairs(study: Study) -> list[tuple[str, str]]:
    """Return (baseline, column) of every comparison; two baselines are compared once."""
    found = []
    for place, baseline in enumerate(study.baselines):
        before = study.baselines[: place + 1]
        found += [(baseline, column) for column in study.columns if column not in before]
    return found


def _entries(group: Mapping[str, Seeds]) -> list[Entry]:
    return [entry for by_seed in group.values() for entry in by_seed.values()]


def _sampled(
    by_seed: Seeds, sampled: Mapping[str, tuple[float, np.ndarray]], name: str, study: Study
) -> Sampled:
    return Sampled(
        scores={seed: sampled[entry.digest][0] for seed, entry in by_seed.items()},
        samples={seed: sampled[entry.digest][1] for seed, entry in by_seed.items()},
        seedless=name == next(iter(study.columns)) and len(by_seed) == 1,
    )


def add_mean(rows: Rows) -> None:
    """Add the mean over targets of what every target has."""
    names = list(next(iter(rows.values()), {}))
    if names:
        rows[MEAN] = {
            name: mean_over_targets([row[name] for row in rows.values()]) for name in names
        }


def _row(row: Mapping[str, Sampled], pairs: Sequence[tuple[str, str]]) -> JSON:
    """Return the cells of a target, and by baseline the difference of each column.

    Only columns that share a seed with the baseline have one.
    """
    differences: dict[str, dict[str, JSON]] = {}
    for baseline, column in pairs:
        if found := difference(row[column], row[baseline]):
            differences.setdefault(baseline, {})[column] = found
    return {
        "columns": {name: cell(sampled) for name, sampled in row.items()},
        "differences": differences,
    }


def cell(sampled: Sampled) -> JSON:
    """Return mean over seeds, interval, and the score of each seed.

    Nothing that was trained has no seeds.
    """
    low, high = percentile_interval(sampled.drawn(sampled.seeds))
    scores = [sampled.scores[seed] for seed in sampled.seeds]
    return {
        "value": sampled.value(sampled.seeds),
        "low": low,
        "high": high,
        "scores": scores,
        "seeds": _named(sampled, sampled.seeds),
    }


def difference(one: Sampled, other: Sampled) -> JSON | None:
    """Return one minus other over the seeds that both have, with interval and p-value.

    None if they share none.
    """
    seeds = shared_seeds(one, other)
    if not seeds:
        return None
    samples = one.drawn(seeds) - other.drawn(seeds)
    low, high = percentile_interval(samples)
    value = one.value(seeds) - other.value(seeds)
    return {
        "value": value,
        "low": low,
        "high": high,
        "p": two_sided_p(samples),
        "seeds": _named(one if other.seedless else other, seeds),
    }


def _named(sampled: Sampled, seeds: Sequence[int]) -> list[int]:
    return [] if sampled.seedless else list(seeds)


def _correct(table: Mapping[str, JSON]) -> JSON:
    """Correct all differences: those of means are one family, those of single targets another.

    Return the sizes.
    """
    sizes = {}
    for family, names in (("mean", [MEAN]), ("targets", [name for name in table if name != MEAN])):
        found = [
            one
            for name in names
            if name in table
            for of in table[name]["differences"].values()
            for one in of.values()
        ]
        correct(found)
        sizes[family] = len(found)
    return sizes


def correct(family: Sequence[JSON]) -> None:
    """Add corrected p-values to the differences of one family."""
    for one, corrected in zip(family, holm(np.array([one["p"] for one in family])), strict=True):
        one["p_holm"] = float(corrected)
        one["significant"] = bool(corrected < LEVEL)


def _sources(rows: Rows, columns: Rows, compared: str) -> JSON:
    """Return source to target, and to the mean, to the score and its difference to a column."""
    names = list(rows.get(MEAN, {}))
    return {
        "compared_with": compared if names else None,
        "sources": names,
        "rows": {
            name: {
                target: {
                    **cell(row[name]),
                    "difference": difference(row[name], columns[target][compared]),
                }
                for target, row in rows.items()
            }
            for name in names
        },
    }


def curve(entry: Entry) -> list[list[float]]:
    """Return [share of training, validation score] of each evaluation of a training.

    The last step is 1.
    """
    lines = [
        json.loads(line)
        for line in entry.file("curve.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    last = max((line["step"] for line in lines), default=0)
    return [
        [line["step"] / last, line["validation"]]
        for line in lines
        if last and math.isfinite(line.get("validation", math.nan))
    ]


Cost = Literal["examples", "flops", "seconds"]
COSTS: tuple[Cost, ...] = get_args(Cost)
PREFIXES, MULTITASK = "prefixes", "multi-task"


def ratios(rows: Sequence[JSON]) -> list[JSON]:
    """Return for each change the cost of prefixes over that of multi-task training.

    Only changes that both methods were measured on.

    A cost of which multi-task training has none, or that was not measured, is None.
    """
    found = []
    for change in dict.fromkeys(row["change"] for row in rows):
        of_method: dict[str, JSON] = {row["method"]: row for row in rows if row["change"] == change}
        if {PREFIXES, MULTITASK} <= of_method.keys():
            ours, theirs = of_method[PREFIXES], of_method[MULTITASK]
            shares: JSON = {cost: _ratio(ours.get(cost), theirs.get(cost)) for cost in COSTS}
            found.append({"change": change, **shares})
    return found


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or not theirs else ours / theirs
