"""A report's numbers.

Mean scores, differences to the baselines with corrected p-values, what each source brings, learning
curves, and what a change of the sources costs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from prefixbank.artifacts.json_files import read_json
from prefixbank.core.break_even import break_even, head_operations, total
from prefixbank.reports.cells import (
    LEVEL,
    MEAN,
    RESAMPLES_PER_TEST,
    Cell,
    CorrectedDifference,
    Difference,
    Rows,
    add_mean,
    correct,
    difference,
    score_cell,
)
from prefixbank.reports.samples import Sampled, TargetFacts, sample_target
from prefixbank.reports.study import Facts, Method, ReportColumn, Seeds, Study, UpdateCost
from prefixbank.store.artifact import Entry

Cost = Literal["examples", "flops", "seconds"]
COSTS: tuple[Cost, ...] = get_args(Cost)
TASKS = (1, 2, 4, 8, 16, 32)
"""Numbers of tasks whose cost is reported."""
OUTPUTS = 2
"""Of the linear heads whose operations are counted."""
Points = tuple[tuple[float, float], ...]
"""(share of training, validation score) of each evaluation of a training."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The scores on one target, or their means over targets.

    Args:
        columns: column to score.
        differences: baseline to column to the difference; only columns that share a seed with the
            baseline have one.
    """

    columns: dict[str, Cell]
    differences: dict[str, dict[str, CorrectedDifference]]


@dataclass(frozen=True, kw_only=True)
class TargetRow(Row, TargetFacts):
    """The scores on one target, with what its probes have in common."""


@dataclass(frozen=True, kw_only=True)
class Families:
    """How many differences are corrected together: of means over targets, and of single targets."""

    mean: int
    targets: int


@dataclass(frozen=True, kw_only=True)
class SourceScore(Cell):
    """A score of a bank that was made for one source, and its difference to a column, if any."""

    difference: Difference | None


@dataclass(frozen=True, kw_only=True)
class SourceScores:
    """Banks that were made for one source each.

    Args:
        compared_with: the column that all are compared with; None without sources.
        sources: in order.
        rows: source to target, and to `MEAN`, to score.
    """

    compared_with: str | None
    sources: tuple[str, ...]
    rows: dict[str, dict[str, SourceScore]]


@dataclass(frozen=True, kw_only=True)
class LeftOut(SourceScores):
    """Banks that lack one source each, and the column of the bank that has all."""

    bank: str


@dataclass(frozen=True, kw_only=True)
class CostShares:
    """The cost of a change by prefixes over that of multi-task training.

    A cost that multi-task training does not have, or that was not measured, is None.
    """

    change: str
    examples: float | None
    flops: float | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class TextCost:
    """What a representation costs for one text.

    Args:
        tokens: of the text.
        operations: until there is its vector.
        features: of the vector.
        bytes: of the vector as it is stored.
        by_tasks: operations until there are the predictions of so many tasks, one linear head each.
        break_even: N*, the number of tasks from which the first representation that serves all
            tasks costs less; None: this one serves all tasks, or never.
    """

    tokens: int
    operations: int
    features: int
    bytes: int
    by_tasks: dict[int, int]
    break_even: float | None


@dataclass(frozen=True, kw_only=True)
class ExperimentReport(Facts):
    """All numbers of a report, as `report.json` holds them.

    Args:
        columns: names of the representations, in order; empty without targets.
        column_facts: column to title and passes.
        baseline: the first column; None without columns.
        baselines: columns that the others are compared with.
        targets: in order.
        rows: target, and `MEAN`, to scores.
        families: sizes of the families of tests.
        level: of significance.
        bootstrap_samples: R, resamples behind each interval.
        singles: banks of a single prefix.
        without: banks that lack one source.
        curves: what was trained to seed to its learning curve.
        update: what a change of the sources costs, one row for each change and method.
        update_ratios: of the changes that both methods were measured on.
        validation: column to its mean validation score over targets and seeds, to choose by; None
            where probes have none.
        costs: column to what it costs for one text, if that was counted.
    """

    columns: tuple[str, ...]
    column_facts: dict[str, ReportColumn]
    baseline: str | None
    baselines: tuple[str, ...]
    targets: tuple[str, ...]
    rows: dict[str, Row]
    families: Families
    level: float
    bootstrap_samples: int
    singles: SourceScores
    without: LeftOut
    curves: dict[str, dict[int, Points]]
    update: tuple[UpdateCost, ...]
    update_ratios: tuple[CostShares, ...]
    validation: dict[str, float | None]
    costs: dict[str, TextCost]

    @property
    def target_rows(self) -> dict[str, TargetRow]:
        """Target to its row."""
        return {name: row for name, row in self.rows.items() if isinstance(row, TargetRow)}

    def title(self, column: str) -> str:
        """Return how a column is shown."""
        return self.column_facts[column].title


def tabulate(study: Study, bootstrap_samples: int) -> ExperimentReport:
    """Return all numbers of the report.

    Each score is a mean over seeds. Its interval comes from drawing seeds and test rows with
    replacement: the same seeds for all columns that have them, the same rows for all columns and
    seeds, and rows of each target on their own.
    """
    pairs = _pairs(study)
    bootstrap_samples = max(bootstrap_samples, RESAMPLES_PER_TEST * len(pairs) * len(study.probes))
    first = next(iter(study.columns), None)
    untrained = {name for name, column in study.columns.items() if not column.trained}
    columns: Rows = {}
    singles: Rows = {}
    without: Rows = {}
    facts: dict[str, TargetFacts] = {}
    for number, target in enumerate(study.probes):
        groups = [group.get(target, {}) for group in (study.probes, study.singles, study.without)]
        facts[target], scored = sample_target(
            target,
            [entry for group in groups for entry in _entries(group)],
            bootstrap_samples,
            number,
        )
        for rows, group in zip((columns, singles, without), groups, strict=True):
            rows[target] = {
                name: Sampled.of(
                    {seed: entry.digest for seed, entry in by_seed.items()},
                    scored,
                    seedless=name in untrained,
                )
                for name, by_seed in group.items()
            }
    for rows in (columns, singles, without):
        add_mean(rows)
    table, families = _rows(columns, facts, pairs)
    return ExperimentReport(
        **vars(study.facts),
        columns=tuple(study.columns) if study.probes else (),
        column_facts=dict(study.columns),
        baseline=first,
        baselines=study.baselines,
        targets=tuple(study.probes),
        rows=table,
        families=families,
        level=LEVEL,
        bootstrap_samples=bootstrap_samples,
        singles=_sources(singles, columns, first or ""),
        without=LeftOut(**vars(_sources(without, columns, study.bank)), bank=study.bank),
        curves={
            name: {seed: curve(entry) for seed, entry in by_seed.items()}
            for name, by_seed in study.curves.items()
        },
        update=tuple(study.update),
        update_ratios=ratios(study.update),
        validation={name: _validation(study, name) for name in study.columns if study.probes},
        costs=_text_costs(study),
    )


def _validation(study: Study, column: str) -> float | None:
    """Return the mean validation score of a column over targets and seeds, if all have one."""
    scores = [
        read_json(entry, "probe.json")["validation"]
        for by_column in study.probes.values()
        for entry in by_column[column].values()
    ]
    known = [one for one in scores if one is not None]
    return sum(known) / len(known) if known and len(known) == len(scores) else None


def _text_costs(study: Study) -> dict[str, TextCost]:
    """Return what each column costs for one text."""
    counted = {name: read_json(entry, "cost.json") for name, entry in study.costs.items()}
    shared = next((counted[name] for name in counted if study.columns[name].shared), None)
    costs = {}
    for name, one in counted.items():
        head, is_shared = head_operations(one["features"], OUTPUTS), study.columns[name].shared
        costs[name] = TextCost(
            **one,
            by_tasks={
                tasks: int(total(one["operations"], head, tasks, is_shared=is_shared))
                for tasks in TASKS
            },
            break_even=None
            if is_shared or shared is None
            else break_even(
                shared["operations"],
                head_operations(shared["features"], OUTPUTS),
                one["operations"],
                head,
            ),
        )
    return costs


def _pairs(study: Study) -> list[tuple[str, str]]:
    """Return (baseline, column) of every comparison; two baselines are compared once."""
    pairs = []
    for index, baseline in enumerate(study.baselines):
        done = study.baselines[: index + 1]
        pairs += [(baseline, column) for column in study.columns if column not in done]
    return pairs


def _entries(group: Mapping[str, Seeds]) -> list[Entry]:
    return [entry for by_seed in group.values() for entry in by_seed.values()]


def _rows(
    columns: Rows, facts: Mapping[str, TargetFacts], pairs: Sequence[tuple[str, str]]
) -> tuple[dict[str, Row], Families]:
    """Return the rows by target and `MEAN`, and the sizes of the families of tests.

    Differences of means are one family, differences on single targets another.
    """
    families: dict[bool, dict[tuple[str, str, str], Difference]] = {True: {}, False: {}}
    for name, row in columns.items():
        for baseline, column in pairs:
            if one := difference(row[column], row[baseline]):
                families[name == MEAN][name, baseline, column] = one
    corrected = correct(families[False]) | correct(families[True])
    table: dict[str, Row] = {}
    for name, row in columns.items():
        differences: dict[str, dict[str, CorrectedDifference]] = {}
        for (of, baseline, column), one in corrected.items():
            if of == name:
                differences.setdefault(baseline, {})[column] = one
        cells = {column: score_cell(sampled) for column, sampled in row.items()}
        table[name] = (
            Row(columns=cells, differences=differences)
            if name == MEAN
            else TargetRow(**asdict(facts[name]), columns=cells, differences=differences)
        )
    return table, Families(mean=len(families[True]), targets=len(families[False]))


def _sources(rows: Rows, columns: Rows, compared: str) -> SourceScores:
    """Return the scores of banks of one source each, and their differences to a column."""
    names = tuple(rows.get(MEAN, {}))
    return SourceScores(
        compared_with=compared if names else None,
        sources=names,
        rows={
            name: {
                target: SourceScore(
                    **vars(score_cell(row[name])),
                    difference=difference(row[name], columns[target][compared]),
                )
                for target, row in rows.items()
            }
            for name in names
        },
    )


def curve(entry: Entry) -> Points:
    """Return the learning curve of a training, whose last step is 1."""
    lines = [
        json.loads(line)
        for line in entry.file("curve.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    last = max((line["step"] for line in lines), default=0)
    return tuple(
        (line["step"] / last, line["validation"])
        for line in lines
        if last and math.isfinite(line.get("validation", math.nan))
    )


def ratios(rows: Sequence[UpdateCost]) -> tuple[CostShares, ...]:
    """Return for each change the cost of prefixes over that of multi-task training.

    Only changes that both methods were measured on.
    """
    shares = []
    for change in dict.fromkeys(row.change for row in rows):
        by_method: dict[Method, UpdateCost] = {
            row.method: row for row in rows if row.change == change
        }
        if len(by_method) == 2:
            ours, theirs = by_method["prefixes"], by_method["multi-task"]
            shares.append(
                CostShares(
                    change=change,
                    examples=_ratio(ours.examples, theirs.examples),
                    flops=_ratio(ours.flops, theirs.flops),
                    seconds=_ratio(ours.seconds, theirs.seconds),
                )
            )
    return tuple(shares)


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or not theirs else ours / theirs
