"""A report as Markdown and as a page: its tables, and what its sentences need to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prefixbank.reports.cells import MEAN, Cell, Interval
from prefixbank.reports.grid import (
    MISSING,
    Grid,
    GridCell,
    amount_cell,
    change_cell,
    count_cell,
    difference_cell,
    mean_cell,
    number,
    score_cell,
    share_cell,
    text_cell,
    width_share,
)
from prefixbank.reports.render import Chart, render_markdown, render_page
from prefixbank.reports.table import (
    COSTS,
    ExperimentReport,
    Row,
    SourceScore,
    SourceScores,
    TargetRow,
)

TEMPLATE = "experiment.md.j2"


def markdown(report: ExperimentReport, charts: Sequence[Chart]) -> str:
    """Return the report as Markdown, with links to its charts."""
    return render_markdown(TEMPLATE, charts, **_values(report))


def page(report: ExperimentReport, charts: Sequence[Chart], pictures: Mapping[str, bytes]) -> str:
    """Return the report as a page that holds its charts, PNGs by name."""
    return render_page(TEMPLATE, charts, pictures, **_values(report))


def _values(report: ExperimentReport) -> dict[str, object]:
    """Return what the template prints. Without targets, nothing of scores."""
    values: dict[str, object] = {
        "report": report,
        "costs": costs_grid(report) if report.update else None,
        "cost_shares": cost_shares_grid(report) if report.update_ratios else None,
        "text_costs": text_costs_grid(report) if report.costs else None,
        "first_shared": next(
            (report.title(name) for name in report.costs if report.column_facts[name].shared), ""
        ),
        "of_tokens": next((one.tokens for one in report.costs.values()), 0),
    }
    if not report.targets:
        return values
    rows = report.target_rows.values()
    seeds = [len(cell.seeds) for cell in report.rows[MEAN].columns.values() if cell.seeds]
    return values | {
        "means": means_grid(report),
        "scores": scores_grid(report),
        "by_seed": {
            report.title(column): by_seed(cell)
            for column, cell in report.rows[MEAN].columns.items()
        },
        "differences": {
            report.title(baseline): differences_grid(report, baseline)
            for baseline in report.baselines
            if baseline in report.rows[MEAN].differences
        },
        "scored": tuple(dict.fromkeys((row.split, row.outer_folds) for row in rows)),
        "draws": max(row.draws for row in rows),
        "most_seeds": max(seeds, default=0),
        "fewest_seeds": min(seeds, default=0),
        "width_share": width_share(max(seeds, default=0)),
        "singles": singles_grid(report) if report.singles.sources else None,
        "singles_seeds": _seeds(report.singles),
        "without": without_grid(report) if report.without.sources else None,
        "without_seeds": _seeds(report.without),
    }


def means_grid(report: ExperimentReport) -> Grid:
    """Return the table that matters most.

    Each representation's mean over targets, and its differences to the baselines.
    """
    mean = report.rows[MEAN]
    return Grid(
        header=(
            "representation",
            "passes",
            "seeds",
            "mean score",
            "on validation",
            *(f"minus {report.title(name)}" for name in report.baselines),
        ),
        rows=tuple(
            (
                text_cell(report.title(column)),
                count_cell(report.column_facts[column].passes),
                _seed_count(mean.columns[column]),
                score_cell(mean.columns[column]),
                mean_cell(report.validation[column]),
                *(_difference(mean, baseline, column) for baseline in report.baselines),
            )
            for column in report.columns
        ),
    )


def scores_grid(report: ExperimentReport) -> Grid:
    """Return the score of each representation on each target, and their means."""
    titles = (report.title(column) for column in report.columns)
    return Grid(
        header=("target", "metric", "train rows", "test rows", *titles),
        rows=tuple(
            (
                text_cell(name),
                *_sizes(row),
                *(score_cell(row.columns[column]) for column in report.columns),
            )
            for name, row in report.rows.items()
        ),
        has_total=True,
    )


def _sizes(row: Row) -> tuple[GridCell, GridCell, GridCell]:
    if not isinstance(row, TargetRow):
        return (text_cell(""), text_cell(""), text_cell(""))
    return (text_cell(row.metric), count_cell(row.train_rows), count_cell(row.test_rows))


def differences_grid(report: ExperimentReport, baseline: str) -> Grid:
    """Return the difference of each representation to a baseline on each target."""
    compared = report.rows[MEAN].differences[baseline]
    columns = [column for column in report.columns if column in compared]
    return Grid(
        header=("target", *map(report.title, columns)),
        rows=tuple(
            (text_cell(name), *(_difference(row, baseline, column) for column in columns))
            for name, row in report.rows.items()
        ),
        has_total=True,
    )


def _difference(row: Row, baseline: str, column: str) -> GridCell:
    return difference_cell(row.differences.get(baseline, {}).get(column))


def _seed_count(cell: Cell) -> GridCell:
    return count_cell(len(cell.seeds)) if cell.seeds else text_cell("none")


def by_seed(cell: Cell) -> str:
    """Return `0.712 (seed 0), 0.704 (seed 1)`."""
    if not cell.seeds:
        return f"{number(cell.scores[0])} (no seed)"
    return ", ".join(
        f"{number(score)} (seed {seed})"
        for score, seed in zip(cell.scores, cell.seeds, strict=True)
    )


def singles_grid(report: ExperimentReport) -> Grid:
    """Return what a bank of each single prefix gains or loses on each target."""
    rows = report.singles.rows
    return Grid(
        header=("source", *report.targets, MEAN),
        rows=tuple(
            (
                text_cell(source),
                *(change_cell(_change(rows[source][target])) for target in report.targets),
                difference_cell(_change(rows[source][MEAN])),
            )
            for source in report.singles.sources
        ),
    )


def without_grid(report: ExperimentReport) -> Grid:
    """Return what the bank loses on each target without each source."""
    rows = report.without.rows
    return Grid(
        header=("left out", MEAN, *report.targets),
        rows=tuple(
            (
                text_cell(source),
                difference_cell(_change(rows[source][MEAN], lost=True)),
                *(
                    change_cell(_change(rows[source][target], lost=True))
                    for target in report.targets
                ),
            )
            for source in report.without.sources
        ),
    )


def _change(score: SourceScore, *, lost: bool = False) -> Interval | None:
    """Return the interval of a difference without its p-value; with `lost`, the other way round."""
    one = score.difference
    if one is None:
        return None
    if lost:
        return Interval(value=-one.value, low=-one.high, high=-one.low)
    return Interval(value=one.value, low=one.low, high=one.high)


def _seeds(sources: SourceScores) -> str:
    """Return how many seeds the differences of a section are means over: `3 seeds`."""
    differences = (row[MEAN].difference for row in sources.rows.values())
    counts = sorted({len(one.seeds) for one in differences if one is not None})
    return f"{' or '.join(map(str, counts))} {'seed' if counts == [1] else 'seeds'}"


def costs_grid(report: ExperimentReport) -> Grid:
    """Return what each change of the sources costs with each method."""
    unchanged = {True: text_cell("yes"), False: text_cell("no"), None: MISSING}
    return Grid(
        header=(
            "change",
            "method",
            "units",
            *COSTS,
            "others unchanged",
            "passes again",
            "vectors again",
            "other sources to fit again",
        ),
        rows=tuple(
            (
                text_cell(row.change),
                text_cell(row.method),
                amount_cell(row.units),
                amount_cell(row.examples),
                amount_cell(row.flops),
                amount_cell(row.seconds),
                unchanged[row.others_unchanged],
                amount_cell(row.passes),
                text_cell(f"{row.vectors[0]} of {row.vectors[1]}"),
                amount_cell(row.others_refitted),
            )
            for row in report.update
        ),
    )


def text_costs_grid(report: ExperimentReport) -> Grid:
    """Return what one text costs with 1 to 32 tasks, beside the mean score."""
    numbers = next(iter(report.costs.values())).by_tasks
    return Grid(
        header=(
            "representation",
            "mean score",
            "serves",
            "operations",
            "bytes of a vector",
            "N*",
            *(f"{tasks} {'task' if tasks == 1 else 'tasks'}" for tasks in numbers),
        ),
        rows=tuple(
            (
                text_cell(report.title(name)),
                mean_cell(report.rows[MEAN].columns[name].value),
                text_cell("all tasks" if report.column_facts[name].shared else "one task"),
                amount_cell(float(cost.operations)),
                amount_cell(cost.bytes),
                amount_cell(cost.break_even),
                *(amount_cell(float(operations)) for operations in cost.by_tasks.values()),
            )
            for name, cost in report.costs.items()
        ),
    )


def cost_shares_grid(report: ExperimentReport) -> Grid:
    """Return the cost of each change by prefixes as a share of multi-task training."""
    return Grid(
        header=("change", *COSTS),
        rows=tuple(
            (
                text_cell(row.change),
                share_cell(row.examples),
                share_cell(row.flops),
                share_cell(row.seconds),
            )
            for row in report.update_ratios
        ),
    )
