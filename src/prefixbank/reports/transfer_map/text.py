"""The report on a transfer map as Markdown and as a page.

Its tables, and what its sentences need to know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prefixbank.reports.cells import MEAN, Interval
from prefixbank.reports.grid import (
    MISSING,
    Grid,
    GridCell,
    change_cell,
    count_cell,
    difference_cell,
    percent_cell,
    score_cell,
    text_cell,
    width_share,
)
from prefixbank.reports.render import Chart, render_markdown, render_page
from prefixbank.reports.transfer_map.retrieval import (
    BOUND,
    COLD,
    ORACLE,
    Regime,
    RetrievalRow,
    random,
    top,
)
from prefixbank.reports.transfer_map.similarity import (
    LEAST_MOVEMENT,
    SOURCE_ALONE,
    Correlation,
    WithinTargets,
)
from prefixbank.reports.transfer_map.table import MapReport, Speed

TEMPLATE = "transfer_map.md.j2"


def markdown(report: MapReport, charts: Sequence[Chart]) -> str:
    """Return the report as Markdown, with links to its charts."""
    return render_markdown(TEMPLATE, charts, **_values(report))


def page(report: MapReport, charts: Sequence[Chart], pictures: Mapping[str, bytes]) -> str:
    """Return the report as a page that holds its charts, PNGs by name."""
    return render_page(TEMPLATE, charts, pictures, **_values(report))


def _values(report: MapReport) -> dict[str, object]:
    """Return what the template prints."""
    gains = {
        (source, target): gain
        for source, by_target in report.gains.items()
        for target, gain in by_target.items()
        if target != MEAN and gain is not None
    }
    ranking = report.ranking_row
    signs = [value for value in ranking.within.by_target.spearman.values() if value is not None]
    correlations = correlations_grid(report)
    return {
        "report": report,
        "COLD": COLD,
        "ORACLE": ORACLE,
        "BOUND": BOUND,
        "LEAST_MOVEMENT": LEAST_MOVEMENT,
        "SOURCE_ALONE": SOURCE_ALONE,
        "top": top,
        "random": random,
        "short_lists": {
            k: [target for target, facts in report.target_facts.items() if facts.sources < k]
            for k in report.ks
        },
        "choices": {regime: choices_grid(report, regime) for regime in report.regimes},
        "targets": targets_grid(report),
        "cold_is_best": _cold_is_best(report),
        "gains": gains_grid(report),
        "gain_values": tuple(gains.values()),
        "most": max(gains.items(), key=lambda item: item[1]),
        "least": min(gains.items(), key=lambda item: item[1]),
        "pairs": len(report.gains) * len(report.targets),
        "correlations": correlations,
        "has_control": any(row.similarity == LEAST_MOVEMENT for row in report.correlations),
        "has_undefined": any(MISSING in row for row in correlations.rows),
        "ranking": ranking,
        "within_signs": signs,
        "speed": speed_grid(report),
        "width_share": width_share(len(report.seeds)),
        "family": report.regimes[report.headline].family,
    }


def choices_grid(report: MapReport, regime: Regime) -> Grid:
    """Return what each way to choose a source scores under a regime."""
    table = report.regimes[regime]
    against = {top(k): difference for k, difference in table.against_random.items()}
    return Grid(
        header=(
            "source",
            "mean score",
            "minus cold start",
            "minus random, same k",
            "error reduction",
            "share of oracle's gain",
        ),
        rows=tuple(
            (
                text_cell(_title(report, name)),
                score_cell(row),
                _minus_cold(name, row),
                difference_cell(against.get(name)),
                percent_cell(row.error_reduction),
                percent_cell(row.share_of_oracle_gain, decimals=0),
            )
            for name, row in table.rows.items()
        ),
    )


def _title(report: MapReport, name: str) -> str:
    """Return a row's name, with what sets it apart from the others."""
    seeds = report.combined.get(name, report.seeds)
    if name == BOUND:
        return f"{name} (upper bound)"
    if len(seeds) < len(report.seeds):
        return f"{name} (seeds {', '.join(map(str, seeds))})"
    return name


def _minus_cold(name: str, row: RetrievalRow) -> GridCell:
    cell = difference_cell(row.minus_cold)
    if name == BOUND:
        return GridCell(text=f"{cell.text} not tested", value=cell.value)
    return cell


def targets_grid(report: MapReport) -> Grid:
    """Return a row for each target, in the headline regime."""
    cells = report.regimes[report.headline].targets
    names = _columns(report)
    return Grid(
        header=("target", "metric", "test rows", *names),
        rows=tuple(
            (
                text_cell(target),
                text_cell(facts.metric),
                count_cell(facts.test_rows),
                *(score_cell(cells[target][name]) for name in names),
            )
            for target, facts in report.target_facts.items()
        ),
    )


def _columns(report: MapReport) -> tuple[str, ...]:
    return (COLD, *(name for k in report.ks for name in (top(k), random(k))), ORACLE)


def _cold_is_best(report: MapReport) -> int:
    """Return on how many targets no column has a higher mean than the cold start."""
    rows = report.regimes[report.headline].targets.values()
    return sum(all(row[COLD].value >= row[name].value for name in _columns(report)) for row in rows)


def gains_grid(report: MapReport) -> Grid:
    """Return what each source's prefix brings to each target."""
    columns = (*report.targets, MEAN)
    return Grid(
        header=("source", *columns),
        rows=tuple(
            (text_cell(source), *(change_cell(by_target[target]) for target in columns))
            for source, by_target in report.gains.items()
        ),
    )


def correlations_grid(report: MapReport) -> Grid:
    """Return how the similarity of tasks goes with what transfer brings."""
    return Grid(
        header=(
            "similarity",
            "of",
            "layer",
            "Pearson",
            "Spearman",
            "Spearman within a target",
        ),
        rows=tuple(
            (
                text_cell(row.similarity),
                text_cell(row.compare),
                text_cell(str(row.layer)),
                _correlation(row.pearson),
                _correlation(row.spearman),
                _within(row.within),
            )
            for row in report.correlations
        ),
    )


def _correlation(one: Correlation) -> GridCell:
    if one.value is None or one.low is None or one.high is None:
        return change_cell(one.value)
    return difference_cell(Interval(value=one.value, low=one.low, high=one.high))


def _within(within: WithinTargets) -> GridCell:
    cell = change_cell(within.spearman)
    if within.spearman is None:
        return cell
    return GridCell(text=f"{cell.text} ({within.targets} targets)", value=cell.value)


def speed_grid(report: MapReport) -> Grid:
    """Return how soon trainings reach the cold start's final score."""
    rows = (
        ("pairs that gain on test rows", report.speed.positive),
        ("all pairs", report.speed.all),
    )
    return Grid(
        header=(
            "of",
            "pairs",
            "never, with any seed",
            "trainings",
            "never",
            "not comparable",
            "median ratio of steps",
        ),
        rows=tuple(
            (
                text_cell(title),
                count_cell(speed.pairs),
                count_cell(speed.never_pairs),
                count_cell(speed.trainings),
                count_cell(speed.never),
                count_cell(speed.undefined),
                _median(speed),
            )
            for title, speed in rows
        ),
    )


def _median(speed: Speed) -> GridCell:
    if speed.median is not None:
        return GridCell(text=f"{speed.median:.2f}", value=speed.median)
    return text_cell("never") if speed.never else MISSING
