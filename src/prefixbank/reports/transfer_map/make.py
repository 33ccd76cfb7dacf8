"""The files of the report on a transfer map."""

from __future__ import annotations

from pathlib import Path

from prefixbank.reports.charts.clusters import similarity_chart
from prefixbank.reports.charts.heatmap import gains_map
from prefixbank.reports.charts.scatter import scatter_chart
from prefixbank.reports.make import write_files
from prefixbank.reports.render import Chart
from prefixbank.reports.transfer_map.table import MapReport
from prefixbank.reports.transfer_map.text import markdown, page

CHARTS = (
    (
        Chart(
            name="gains.png", caption="Gain on each target from starting at each source's prefix"
        ),
        gains_map,
    ),
    (Chart(name="similarity.png", caption="Similarity of all tasks, clustered"), similarity_chart),
    (
        Chart(name="scatter.png", caption="Similarity and gain of the sources of each target"),
        scatter_chart,
    ),
)


def write_map(out: Path, report: MapReport) -> None:
    """Write the files; the same report gives the same bytes."""
    write_files(out, report, CHARTS, markdown, page)
