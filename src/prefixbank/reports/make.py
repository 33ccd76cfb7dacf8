"""A report's files: `report.json`, `report.md`, and a PNG for each part that the study has."""

from __future__ import annotations

from pathlib import Path

from prefixbank.artifacts.json_files import write_json
from prefixbank.reports.charts.costs import update_chart
from prefixbank.reports.charts.curves import curves_chart, has_points
from prefixbank.reports.charts.heatmap import heat_map
from prefixbank.reports.charts.scores import scores_chart
from prefixbank.reports.charts.style import save, styled
from prefixbank.reports.text import markdown
from prefixbank.store.key import JSON


def write_report(out: Path, table: JSON) -> None:
    """Write the files; the same table gives the same bytes."""
    write_json(out / "report.json", table)
    parts = (
        (
            table["targets"],
            "report.png",
            "Scores with intervals, on each target and their mean",
            scores_chart,
        ),
        (
            table["singles"]["sources"],
            "heatmap.png",
            "What each single prefix brings to each target",
            heat_map,
        ),
        (
            table["update_ratios"],
            "update.png",
            "Cost of a change by prefixes as a share of multi-task training",
            update_chart,
        ),
        (
            any(map(has_points, table["curves"].values())),
            "curves.png",
            "Validation scores during training",
            curves_chart,
        ),
    )
    charts = [(name, shown, draw) for there, name, shown, draw in parts if there]
    (out / "report.md").write_text(
        markdown(table, [(name, shown) for name, shown, _ in charts]), encoding="utf-8"
    )
    with styled():
        for name, _, draw in charts:
            save(draw(table), out / name)
