"""A report's files: `report.json`, `report.md`, `report.html`, and a PNG for each chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure

from prefixbank.artifacts.json_files import write_json
from prefixbank.reports.charts.costs import update_chart
from prefixbank.reports.charts.curves import curves_chart, has_points
from prefixbank.reports.charts.heatmap import heat_map
from prefixbank.reports.charts.scores import scores_chart
from prefixbank.reports.charts.style import save, styled
from prefixbank.reports.charts.text_costs import text_cost_chart
from prefixbank.reports.render import Chart
from prefixbank.reports.study import Facts
from prefixbank.reports.table import ExperimentReport
from prefixbank.reports.text import markdown, page

R = TypeVar("R", bound=Facts)

SCORES = Chart(name="report.png", caption="Scores with intervals, on each target and their mean")
SINGLES = Chart(name="heatmap.png", caption="What each single prefix brings to each target")
COSTS = Chart(
    name="update.png", caption="Cost of a change by prefixes as a share of multi-task training"
)
TEXT_COSTS = Chart(
    name="cost.png", caption="Mean score over the operations for one text, with 1 to 32 tasks"
)
CURVES = Chart(name="curves.png", caption="Validation scores during training")


def write_report(out: Path, report: ExperimentReport) -> None:
    """Write the files, with the charts that have something to show.

    The same report gives the same bytes.
    """
    has_curves = any(map(has_points, report.curves.values()))
    charts = (
        (report.targets, SCORES, scores_chart),
        (report.singles.sources, SINGLES, heat_map),
        (report.costs, TEXT_COSTS, text_cost_chart),
        (report.update_ratios, COSTS, update_chart),
        (has_curves, CURVES, curves_chart),
    )
    write_files(
        out, report, [(chart, draw) for there, chart, draw in charts if there], markdown, page
    )


def write_files(
    out: Path,
    report: R,
    charts: Sequence[tuple[Chart, Callable[[R], Figure]]],
    markdown: Callable[[R, Sequence[Chart]], str],
    page: Callable[[R, Sequence[Chart], dict[str, bytes]], str],
) -> None:
    """Write a report's numbers and charts, and both forms of its text.

    Args:
        out: the folder.
        report: all numbers.
        charts: each with the function that draws it.
        markdown: returns `report.md`.
        page: returns `report.html`, given the charts' PNGs by name.
    """
    write_json(out / "report.json", asdict(report))
    pictures: dict[str, bytes] = {}
    with styled():
        for chart, draw in charts:
            save(draw(report), out / chart.name)
            pictures[chart.name] = (out / chart.name).read_bytes()
    shown = [chart for chart, _ in charts]
    (out / "report.md").write_text(markdown(report, shown), encoding="utf-8")
    (out / "report.html").write_text(page(report, shown, pictures), encoding="utf-8")
